/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan store import: the events of a file into a store; atomic batches stay atomic, ids and cursors are kept.
 *
 * An event that is there already is not appended again, so that an import that was interrupted is just repeated.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "cli/cmd_store.h"
#include "cli/event_input.h"
#include "cli/output.h"
#include "os/clock.h"

enum {
    OPTION_DRY_RUN = 0x7c0,
    GROUP_EVENTS_MAX = 1000,
    GROUP_BYTES_MAX = 8 * 1024 * 1024,
    PROGRESS_EVENTS = 16384,
};

struct import_command {
    struct store_target target;
    const char *path;
    bool dry_run;
};

static const struct argp_option import_options[] = {
    {"dry-run", OPTION_DRY_RUN, NULL, 0, "Read and check the file, append nothing", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child import_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_import(int key, char *argument, struct argp_state *state)
{
    struct import_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_DRY_RUN:
        command->dry_run = true;
        return 0;
    case ARGP_KEY_ARG:
        if (command->path != NULL)
            argp_error(state, "one file at a time");
        command->path = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct import {
    struct store *store; /* NULL: a dry run */
    struct event_input *input;
    struct banyan_arena arena; /* of the group */
    struct store_event *group; /* owned; room for GROUP_EVENTS_MAX + 1 */
    size_t group_count, group_bytes;
    uint64_t read, appended, repeated;
    struct banyan_position last;
    struct output_progress progress;
    int64_t started_us;
};

static void show_progress(struct import *import, bool finished)
{
    int64_t took_us = os_clock_monotonic_us(os_clock_real()) - import->started_us;
    double rate = took_us <= 0 ? 0 : (double)import->read * 1e6 / (double)took_us;
    uint64_t size = event_input_size(import->input), done = event_input_done(import->input);
    double events = done == 0 ? 0 : (double)import->read * (double)size / (double)done; /* expected in all */
    int64_t eta_us = rate <= 0 ? 0 : (int64_t)((events - (double)import->read) / rate * 1e6);

    output_progress_draw(&import->progress, "import", import->read, finished ? import->read : (uint64_t)events, rate,
                         eta_us < 0 ? 0 : eta_us, finished);
}

/* Append the group as one batch. */
static enum banyan_status append_group(struct import *import, struct store_cursor cursor, struct banyan_error *err)
{
    struct store_append append = {.events = import->group, .event_count = import->group_count, .cursor = cursor};
    struct store_appended appended;
    enum banyan_status status = BANYAN_OK;

    if (import->store != NULL) {
        status = store_submit(import->store, &append, &appended, err);
        if (status == BANYAN_OK && appended.last.value > import->last.value)
            import->last = appended.last;
        if (status == BANYAN_OK)
            *(appended.repeated ? &import->repeated : &import->appended) += import->group_count;
    }
    import->group_count = import->group_bytes = 0;
    banyan_arena_reset(&import->arena);
    return status;
}

/* Events of a batch go on being read into the open batch of the store, or past it when it is there already. */
static enum banyan_status append_large(struct import *import, struct banyan_error *err)
{
    bool writes = import->store != NULL, repeated = false;
    struct store_cursor cursor = {{NULL, 0}, {NULL, 0}};
    enum banyan_status status = writes ? store_batch_begin(import->store, err) : BANYAN_OK;
    struct store_read_event read = {.ends_batch = false};
    struct store_appended appended;
    uint64_t count = 0;

    for (size_t i = 0; i < import->group_count && writes && status == BANYAN_OK && !repeated; i++) {
        status = store_batch_add(import->store, &import->group[i], err);
        if (status == BANYAN_DUPLICATE && i == 0) {
            /* A batch is there whole or not at all. */
            store_batch_abort(import->store);
            banyan_error_clear(err);
            status = BANYAN_OK;
            repeated = true;
        }
    }
    count = import->group_count;
    while (status == BANYAN_OK && !read.ends_batch) {
        banyan_arena_reset(&import->arena);
        status = event_input_next(import->input, &import->arena, &read, err);
        if (status == BANYAN_NOT_FOUND)
            status = banyan_error_set(err, BANYAN_INVALID, "the file ends inside a batch");
        if (status == BANYAN_OK && writes && !repeated)
            status = store_batch_add(import->store, &read.event, err);
        cursor = read.cursor;
        import->read++;
        count++;
        if (import->read % PROGRESS_EVENTS == 0)
            show_progress(import, false);
    }
    if (status == BANYAN_OK && writes && !repeated)
        status = store_batch_commit(import->store, cursor, &appended, err);
    if (status != BANYAN_OK && writes && !repeated)
        store_batch_abort(import->store);
    if (status == BANYAN_OK)
        *(repeated ? &import->repeated : &import->appended) += writes ? count : 0;
    import->group_count = import->group_bytes = 0;
    banyan_arena_reset(&import->arena);
    return status;
}

static enum banyan_status import_events(struct import *import, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    struct store_read_event read;

    while (status == BANYAN_OK) {
        status = event_input_next(import->input, &import->arena, &read, err);
        if (status != BANYAN_OK)
            break;
        import->group[import->group_count++] = read.event;
        import->group_bytes += read.event.payload.size;
        import->read++;
        if (read.ends_batch)
            status = append_group(import, read.cursor, err);
        else if (import->group_count > GROUP_EVENTS_MAX || import->group_bytes > GROUP_BYTES_MAX)
            status = append_large(import, err);
        if (import->read % PROGRESS_EVENTS == 0)
            show_progress(import, false);
    }
    if (status == BANYAN_NOT_FOUND && import->group_count > 0)
        return banyan_error_set(err, BANYAN_INVALID, "the file ends inside a batch");
    if (status == BANYAN_NOT_FOUND)
        status = import->last.value == 0 ? BANYAN_OK : store_wait(import->store, import->last, INT64_MAX, err);
    if (status == BANYAN_OK)
        show_progress(import, true);
    return status;
}

static void print_summary(const struct import *import, const struct import_command *command)
{
    char read[OUTPUT_TEXT_SIZE], appended[OUTPUT_TEXT_SIZE], repeated[OUTPUT_TEXT_SIZE];

    if (command->target.common.json)
        printf("{\"read\":%" PRIu64 ",\"appended\":%" PRIu64 ",\"repeated\":%" PRIu64 "}\n", import->read,
               import->appended, import->repeated);
    else if (command->dry_run)
        printf("read %s events; nothing was appended\n", output_count(import->read, read));
    else
        printf("read %s events, appended %s; %s were there already\n", output_count(import->read, read),
               output_count(import->appended, appended), output_count(import->repeated, repeated));
}

enum banyan_status cmd_store_import(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct import_command command = {.target = STORE_TARGET_INIT};
    const struct argp argp = {import_options,
                              parse_import,
                              "[FILE]",
                              "Append the events of a file (or of standard input): NDJSON or Avro, as `banyan store "
                              "export` writes them.  Events that are there already are left out, so an import may be "
                              "repeated.",
                              import_children,
                              NULL,
                              NULL};
    struct import import = {.arena = BANYAN_ARENA_INIT};
    char *folder = NULL;
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store import", argc, argv, &command);
    import.started_us = os_clock_monotonic_us(os_clock_real());
    output_progress_init(&import.progress, stderr);
    status = event_input_open(command.path, &import.input, err);
    if (status == BANYAN_OK)
        status = store_target_folder(&command.target, &folder, err);
    if (status == BANYAN_OK && !command.dry_run)
        status = store_open(&(struct store_options){.folder = folder}, &import.store, err);
    if (status == BANYAN_OK) {
        import.group = alloc_zeroed(GROUP_EVENTS_MAX + 1, sizeof(*import.group));
        status = import_events(&import, err);
        output_progress_end(&import.progress);
    }
    if (status == BANYAN_OK)
        print_summary(&import, &command);
    event_input_close(import.input);
    store_close(import.store);
    banyan_arena_release(&import.arena);
    free(import.group);
    free(folder);
    return status;
}
