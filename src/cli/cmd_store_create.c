/* SPDX-License-Identifier: Apache-2.0 */
/* banyan store create: an empty store, for those who do not come from a legacy database. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd_store.h"

static const struct argp_child create_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_create(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = state->input;
    return 0;
}

enum banyan_status cmd_store_create(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct store_target target = STORE_TARGET_INIT;
    const struct argp argp = {NULL,
                              parse_create,
                              NULL,
                              "Make an empty store.  A store that is there already stays as it is, which is an error.",
                              create_children,
                              NULL,
                              NULL};
    struct store *store = NULL;
    char *folder = NULL, *taken = NULL;
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store create", argc, argv, &target);
    status = store_target_folder(&target, &folder, err);
    if (status != BANYAN_OK)
        return status;
    status = store_target_existing(&target, &taken, err);
    if (status == BANYAN_OK) {
        status = banyan_error_set(err, BANYAN_CONFLICT, "there is a store in %s already", folder);
        banyan_error_hint(err, "banyan store stats shows what it holds");
    } else if (status == BANYAN_NOT_FOUND) {
        banyan_error_clear(err);
        status = store_open(&(struct store_options){.folder = folder}, &store, err);
    }
    if (status == BANYAN_OK && target.common.json)
        printf("{\"created\":true}\n");
    else if (status == BANYAN_OK)
        printf("made an empty store in %s\n", folder);
    store_close(store);
    free(taken);
    free(folder);
    return status;
}
