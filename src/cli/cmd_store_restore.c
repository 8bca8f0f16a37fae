/* SPDX-License-Identifier: Apache-2.0 */
/* banyan store restore FOLDER: a new store from a backup, whole or up to a position or a time. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd_store.h"
#include "schema/time_text.h"
#include "store/backup.h"

enum {
    OPTION_FROM = 0x820,
    OPTION_POSITION,
    OPTION_TIME,
};

struct restore_command {
    struct store_target target;
    const char *from;
    struct store_restore_until until;
};

static const struct argp_option restore_options[] = {
    {"position", OPTION_POSITION, "N", 0, "Up to this event, or to the end of the last whole batch before it", 0},
    {"time", OPTION_TIME, "TIME", 0, "Only what was recorded before, like 2015-05-01T12:00:00Z", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child restore_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_restore(int key, char *argument, struct argp_state *state)
{
    struct restore_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_POSITION:
        command->until.position.value = options_number(state, "--position", argument, 1, INT64_MAX);
        return 0;
    case OPTION_TIME:
        if (!time_get_moment(banyan_str_of(argument), TIME_DIGITS_MICROS, &command->until.time.us))
            argp_error(state, "--time: like 2015-05-01T12:00:00Z");
        return 0;
    case ARGP_KEY_ARG:
        if (command->from != NULL)
            argp_error(state, "one backup at a time");
        command->from = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->from == NULL)
            argp_error(state, "which backup? For example: banyan store restore /backup/orders --data orders");
        if (command->until.position.value != 0 && command->until.time.us != BANYAN_TIME_NULL)
            argp_error(state, "--position or --time, not both");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

enum banyan_status cmd_store_restore(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct restore_command command = {.target = STORE_TARGET_INIT, .until = {.time = {BANYAN_TIME_NULL}}};
    const struct argp argp = {
        restore_options,
        parse_restore,
        "BACKUP",
        "Make a new store (--data) from a backup, or from any store: all of it, or up to a position "
        "or a time.  Batches stay whole.",
        restore_children,
        NULL,
        NULL};
    struct log_copied copied;
    char *folder = NULL;
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store restore", argc, argv, &command);
    status = store_target_folder(&command.target, &folder, err);
    if (status == BANYAN_OK)
        status = store_restore(&(struct store_copy_options){.from = command.from, .to = folder}, &command.until,
                               &copied, err);
    if (status == BANYAN_OK)
        store_copied_print("restored", folder, &copied, command.target.common.json);
    free(folder);
    return status;
}
