/* SPDX-License-Identifier: Apache-2.0 */
/* banyan store backup FOLDER: a copy of the store while it is written to; taken again it adds what is new. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd_store.h"
#include "cli/output.h"
#include "store/backup.h"

enum {
    OPTION_COPY = 0x800,
};

struct backup_command {
    struct store_target target;
    const char *to;
    bool copy;
};

static const struct argp_option backup_options[] = {
    {"copy", OPTION_COPY, NULL, 0, "Copy all files, share none with the store (for a disk of the same machine)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child backup_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_backup(int key, char *argument, struct argp_state *state)
{
    struct backup_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_COPY:
        command->copy = true;
        return 0;
    case ARGP_KEY_ARG:
        if (command->to != NULL)
            argp_error(state, "one folder at a time");
        command->to = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->to == NULL)
            argp_error(state, "where to? For example: banyan store backup /backup/orders");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void store_copied_print(const char *what, const char *folder, const struct log_copied *copied, bool json)
{
    char position[OUTPUT_TEXT_SIZE], bytes[OUTPUT_TEXT_SIZE];

    if (json) {
        printf("{\"position\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"chain\":\"", copied->last.value, copied->offset);
        for (int i = 0; i < LOG_CHAIN_BYTES; i++)
            printf("%02x", copied->chain[i]);
        printf("\",\"segments\":%" PRIu64 ",\"linked\":%" PRIu64 ",\"present\":%" PRIu64 ",\"bytes_copied\":%" PRIu64
               "}\n",
               copied->segments, copied->linked, copied->present, copied->bytes);
        return;
    }
    printf("%s up to position %s in %s: %" PRIu64 " segments, %" PRIu64 " linked, %" PRIu64
           " there already, %s copied\n",
           what, output_count(copied->last.value, position), folder, copied->segments, copied->linked, copied->present,
           output_bytes((int64_t)copied->bytes, bytes));
    printf("check it: banyan store verify --data %s\n", folder);
}

enum banyan_status cmd_store_backup(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct backup_command command = {.target = STORE_TARGET_INIT};
    const struct argp argp = {backup_options,
                              parse_backup,
                              "FOLDER",
                              "Copy the store into FOLDER while it is written to.  Files that never change are linked "
                              "where the file system can.  Into the folder of an older backup only what is new goes.  "
                              "A backup is a store: verify reads it, restore makes a new store of it.",
                              backup_children,
                              NULL,
                              NULL};
    struct log_copied copied;
    char *folder = NULL;
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store backup", argc, argv, &command);
    status = store_target_existing(&command.target, &folder, err);
    if (status == BANYAN_OK)
        status = store_backup(&(struct store_copy_options){.from = folder, .to = command.to, .link = !command.copy},
                              &copied, err);
    if (status == BANYAN_OK)
        store_copied_print("backup", command.to, &copied, command.target.common.json);
    free(folder);
    return status;
}
