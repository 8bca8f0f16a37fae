/* SPDX-License-Identifier: Apache-2.0 */
/* banyan store archive: old segments into the cold folder; banyan store mark: streams that are done with. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd_store.h"
#include "cli/output.h"
#include "os/clock.h"
#include "schema/time_text.h"
#include "store/archive.h"

enum {
    OPTION_BEFORE = 0x840,
    OPTION_FROM,
    OPTION_CLEAR,
};

/* ---- archive ---- */

struct archive_command {
    struct store_target target;
    struct banyan_time before;
};

static const struct argp_option archive_options[] = {
    {"before", OPTION_BEFORE, "TIME", 0, "Only what was recorded before, like 2015-05-01T12:00:00Z (default: all)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child archive_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static void parse_time(const char *option, const char *text, struct banyan_time *ret, struct argp_state *state)
{
    if (!time_get_moment(banyan_str_of(text), TIME_DIGITS_MICROS, &ret->us))
        argp_error(state, "%s: a time like 2015-05-01T12:00:00Z", option);
}

static error_t parse_archive(int key, char *argument, struct argp_state *state)
{
    struct archive_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_BEFORE:
        parse_time("--before", argument, &command->before, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void tell_segment(void *context, const struct log_archived *segment)
{
    char before[OUTPUT_TEXT_SIZE], after[OUTPUT_TEXT_SIZE];

    if (*(const bool *)context)
        return;
    fprintf(stderr, "positions %" PRIu64 " to %" PRIu64 ": %s to %s\n", segment->first_position, segment->last_position,
            output_bytes((int64_t)segment->bytes_before, before), output_bytes((int64_t)segment->bytes_after, after));
}

static void print_archived(const struct log_archived *archived, bool json)
{
    char before[OUTPUT_TEXT_SIZE], after[OUTPUT_TEXT_SIZE];

    if (json)
        printf("{\"segments\":%" PRIu64 ",\"first_position\":%" PRIu64 ",\"last_position\":%" PRIu64
               ",\"bytes_before\":%" PRIu64 ",\"bytes_after\":%" PRIu64 "}\n",
               archived->segments, archived->first_position, archived->last_position, archived->bytes_before,
               archived->bytes_after);
    else if (archived->segments == 0)
        printf("nothing to archive: no sealed segment is that old\n");
    else
        printf("archived %" PRIu64 " segments: %s to %s\n", archived->segments,
               output_bytes((int64_t)archived->bytes_before, before),
               output_bytes((int64_t)archived->bytes_after, after));
}

enum banyan_status cmd_store_archive(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct archive_command command = {.target = STORE_TARGET_INIT, .before = {BANYAN_TIME_NULL}};
    const struct argp argp = {archive_options,
                              parse_archive,
                              NULL,
                              "Compress segments that are full into the cold folder (cold/).  They stay readable, "
                              "verifiable and part of backups.  The store must not be served meanwhile.",
                              archive_children,
                              NULL,
                              NULL};
    struct log_archived archived = {.segments = 0};
    struct banyan_position limit;
    struct store *store = NULL;
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store archive", argc, argv, &command);
    status = store_target_open(&command.target, false, &store, err);
    if (status != BANYAN_OK)
        return status;
    limit = store_durable(store);
    if (command.before.us != BANYAN_TIME_NULL) {
        status = store_position_at(store, command.before, &limit, err);
        if (status == BANYAN_OK)
            limit.value--;
    }
    if (status == BANYAN_OK)
        status = store_archive_segments(store, limit, tell_segment, &command.target.common.json, &archived, err);
    if (status == BANYAN_OK)
        print_archived(&archived, command.target.common.json);
    store_close(store);
    return status;
}

/* ---- mark ---- */

struct mark_command {
    struct store_target target;
    const char *stream;
    struct banyan_time from;
    bool clear, has_from;
};

static const struct argp_option mark_options[] = {
    {"from", OPTION_FROM, "TIME", 0, "Mark the stream archivable from this date on, like 2015-05-01T12:00:00Z", 0},
    {"clear", OPTION_CLEAR, NULL, 0, "Take the mark away", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_mark(int key, char *argument, struct argp_state *state)
{
    struct mark_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_FROM:
        parse_time("--from", argument, &command->from, state);
        command->has_from = true;
        return 0;
    case OPTION_CLEAR:
        command->clear = true;
        return 0;
    case ARGP_KEY_ARG:
        if (command->stream != NULL)
            argp_error(state, "one stream at a time");
        command->stream = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->stream == NULL)
            argp_error(state, "which stream? For example: banyan store mark order-1 --from 2015-05-01T00:00:00Z");
        if (command->clear && command->has_from)
            argp_error(state, "--from or --clear, not both");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_mark(const struct mark_command *command, const struct store_archive_mark *mark)
{
    char when[TIME_TEXT_MAX] = "";

    if (mark->marked)
        *time_put_moment(when, mark->from.us, TIME_DIGITS_MICROS) = '\0';
    if (command->target.common.json)
        printf("{\"archivable\":%s,\"from\":%s%s%s,\"version\":%" PRIu64 "}\n", mark->marked ? "true" : "false",
               mark->marked ? "\"" : "", mark->marked ? when : "null", mark->marked ? "\"" : "", mark->version.value);
    else if (mark->marked)
        printf("%s is archivable from %s on, up to its version %" PRIu64 "\n", command->stream, when,
               mark->version.value);
    else
        printf("%s is not marked\n", command->stream);
}

enum banyan_status cmd_store_mark(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct mark_command command = {.target = STORE_TARGET_INIT, .from = {BANYAN_TIME_NULL}};
    const struct argp argp = {
        mark_options,
        parse_mark,
        "STREAM",
        "Say or show from when on a stream is archivable: done with, so that projections may leave "
        "it out.  Nothing is removed.",
        archive_children,
        NULL,
        NULL};
    bool changes;
    struct store_archive_mark mark;
    struct store *store = NULL;
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store mark", argc, argv, &command);
    changes = command.clear || command.has_from;
    status = store_target_open(&command.target, !changes, &store, err);
    if (status == BANYAN_OK && changes)
        status = store_archive_set(store, banyan_str_of(command.stream), command.from, err);
    if (status == BANYAN_OK)
        status = store_archive_get(store, banyan_str_of(command.stream), &mark, err);
    if (status == BANYAN_OK)
        print_mark(&command, &mark);
    store_close(store);
    return status;
}
