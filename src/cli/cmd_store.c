/* SPDX-License-Identifier: Apache-2.0 */
/* banyan store VERB: the table of verbs, their help, and how they find their store. */
#include "cli/cmd_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/config.h"
#include "os/file.h"

enum {
    OPTION_DATA = 0x600,
};

static const struct cli_command verbs[] = {
    {"append", "one event by hand", cmd_store_append},
    {"archive", "old segments, compressed, into the cold folder", cmd_store_archive},
    {"backup", "a copy while it is written to", cmd_store_backup},
    {"bench", "how fast durable appends are on this disk", cmd_store_bench},
    {"create", "an empty store", cmd_store_create},
    {"export", "all events into a file, NDJSON or Avro", cmd_store_export},
    {"import", "the events of a file, NDJSON or Avro", cmd_store_import},
    {"mark", "from when on a stream is done with", cmd_store_mark},
    {"read", "events in order, filtered", cmd_store_read},
    {"restore", "a new store from a backup, up to a position or time", cmd_store_restore},
    {"stats", "how much is in the store, and where", cmd_store_stats},
    {"tail", "the last events, and what comes", cmd_store_tail},
    {"verify", "read every byte of the store and check it", cmd_store_verify},
    {"keygen", "make a key pair for signing", cmd_store_keygen},
    {"sign", "sign all that the log holds", cmd_store_sign},
    {"prove", "write a proof that an event belongs to a signed head", cmd_store_prove},
    {"check-proof", "check a proof without the store, print its event", cmd_store_check_proof},
};

enum {
    VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]),
};

static const struct argp_option target_options[] = {
    {"data", OPTION_DATA, "FOLDER", 0, "The store's folder (default: what the configuration says)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child target_children[] = {{&options_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_target(int key, char *argument, struct argp_state *state)
{
    struct store_target *target = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &target->common;
        return 0;
    case OPTION_DATA:
        target->data = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp store_target_argp = {target_options, parse_target, NULL, NULL, target_children, NULL, NULL};

enum banyan_status store_target_folder(const struct store_target *target, char **ret, struct banyan_error *err)
{
    struct config *config = NULL;
    enum banyan_status status;

    if (target->data != NULL) {
        *ret = alloc_text(target->data);
        return BANYAN_OK;
    }
    status = config_load(target->common.config, &config, err);
    if (status == BANYAN_NOT_FOUND && err != NULL)
        (void)snprintf(err->hint, sizeof(err->hint), "say which store: --data FOLDER, or --config FILE");
    if (status == BANYAN_OK)
        *ret = alloc_text(config->data);
    config_free(config);
    return status;
}

enum banyan_status store_target_existing(const struct store_target *target, char **ret, struct banyan_error *err)
{
    struct os_files *files = os_files_real();
    struct banyan_error why = BANYAN_ERROR_INIT;
    char *folder = NULL, *log = NULL, **names = NULL;
    enum banyan_status status = store_target_folder(target, &folder, err);
    size_t size;

    if (status != BANYAN_OK)
        return status;
    size = strlen(folder) + sizeof("/log");
    log = alloc_zeroed(1, size);
    (void)snprintf(log, size, "%s/log", folder); /* fits: counted above */
    if (files->list(files, log, &names, &why) == BANYAN_NOT_FOUND) {
        status = banyan_error_set(err, BANYAN_NOT_FOUND, "there is no store in %s", folder);
        banyan_error_hint(err, "a store's folder holds `log`; --data FOLDER names another one");
        goto out;
    }
    for (size_t i = 0; names != NULL && names[i] != NULL; i++)
        free(names[i]);
    *ret = folder; /* whatever else is wrong with it is for the verb to say */
    folder = NULL;
out:
    free(names);
    free(log);
    free(folder);
    return status;
}

enum banyan_status store_target_open(const struct store_target *target, bool read_only, struct store **ret,
                                     struct banyan_error *err)
{
    char *folder = NULL;
    enum banyan_status status = store_target_existing(target, &folder, err);

    if (status == BANYAN_OK)
        status = store_open(&(struct store_options){.folder = folder, .read_only = read_only}, ret, err);
    free(folder);
    return status;
}

enum banyan_status cmd_store(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    return cli_verb(cli, "store", "Works on the event store itself.", verbs, VERB_COUNT, argc, argv, err);
}
