/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan store export: all events into a file, as NDJSON or as an Avro object container file; beside a running writer,
 * too.
 *
 * The file has its name only when it is whole: it is written under another one and renamed.  What became durable after
 * the export began is not in it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd_store.h"
#include "cli/out_file.h"
#include "cli/output.h"
#include "os/clock.h"
#include "store/event_file.h"
#include "store/event_line.h"

enum {
    OPTION_OUT = 0x700,
    OPTION_FORMAT,
    OPTION_CODEC,
    OPTION_FROM,
    OUT_BYTES = 1024 * 1024,
};

enum export_format {
    EXPORT_NDJSON = 1,
    EXPORT_AVRO,
};

struct export_command {
    struct store_target target;
    const char *out;           /* NULL: standard output */
    enum export_format format; /* 0: by the ending of *out* */
    enum avro_codec codec;
    uint64_t from;
};

static const struct argp_option export_options[] = {
    {"out", OPTION_OUT, "FILE", 0, "Where to write (default: standard output)", 0},
    {"format", OPTION_FORMAT, "NAME", 0, "ndjson or avro (default: by the file's ending, else ndjson)", 0},
    {"codec", OPTION_CODEC, "NAME", 0, "Compression of avro: null, deflate or zstandard (default: zstandard)", 0},
    {"from", OPTION_FROM, "POSITION", 0, "Begin with this event (default: 1)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child export_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static bool has_ending(const char *name, const char *ending)
{
    size_t size = name == NULL ? 0 : strlen(name);

    return size >= strlen(ending) && strcmp(name + size - strlen(ending), ending) == 0;
}

static error_t parse_export(int key, char *argument, struct argp_state *state)
{
    struct export_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_OUT:
        command->out = argument;
        return 0;
    case OPTION_FORMAT:
        if (strcmp(argument, "ndjson") != 0 && strcmp(argument, "avro") != 0)
            argp_error(state, "--format: ndjson or avro");
        command->format = strcmp(argument, "avro") == 0 ? EXPORT_AVRO : EXPORT_NDJSON;
        return 0;
    case OPTION_CODEC:
        command->codec = avro_codec_of(banyan_str_of(argument));
        if (command->codec == 0)
            argp_error(state, "--codec: null, deflate or zstandard");
        return 0;
    case OPTION_FROM:
        command->from = options_number(state, "--from", argument, 1, INT64_MAX);
        return 0;
    case ARGP_KEY_END:
        if (command->format == 0)
            command->format = has_ending(command->out, ".avro") ? EXPORT_AVRO : EXPORT_NDJSON;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Where the events go, and how far it is. */
struct export
{
    const struct export_command *command;
    struct out_file *file;
    struct banyan_buf out;
    struct event_file_writer writer;
    struct output_progress progress;
    uint64_t total, done;
    int64_t started_us;
};

static enum banyan_status drain(struct export *export, size_t above, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    if (export->out.overflow)
        return banyan_error_set(err, BANYAN_LIMIT, "an event is too large to be exported");
    if (export->out.size > above) {
        status = out_file_write(export->file, banyan_buf_str(&export->out), err);
        banyan_buf_reset(&export->out);
    }
    return status;
}

static void show_progress(struct export *export, bool finished)
{
    int64_t took_us = os_clock_monotonic_us(os_clock_real()) - export->started_us;
    double rate = took_us <= 0 ? 0 : (double)export->done * 1e6 / (double)took_us;
    int64_t eta_us = rate <= 0 ? 0 : (int64_t)((double)(export->total - export->done) / rate * 1e6);

    output_progress_draw(&export->progress, "export", export->done, export->total, rate, eta_us, finished);
}

static enum banyan_status write_events(struct export *export, struct store_reader *reader, struct banyan_error *err)
{
    bool avro = export->command->format == EXPORT_AVRO;
    struct store_read_event event;
    enum banyan_status status = BANYAN_OK;

    if (avro)
        event_file_writer_begin(&export->writer, export->command->codec, &export->out);
    while (status == BANYAN_OK && export->done < export->total) {
        status = store_reader_next(reader, &event, err);
        if (status != BANYAN_OK)
            break;
        if (avro)
            status = event_file_writer_add(&export->writer, &event, &export->out, err);
        else
            event_line_write(&event, &export->out);
        if (status == BANYAN_OK)
            status = drain(export, OUT_BYTES, err);
        if (++export->done % 65536 == 0)
            show_progress(export, false);
    }
    if (avro && status == BANYAN_OK)
        status = event_file_writer_finish(&export->writer, &export->out, err);
    if (avro)
        event_file_writer_end(&export->writer);
    return status == BANYAN_OK ? drain(export, 0, err) : status;
}

static enum banyan_status run(struct export *export, struct store *store, struct banyan_error *err)
{
    uint64_t durable = store_durable(store).value, from = export->command->from;
    struct store_reader *reader = store_reader_open(store);
    enum banyan_status status = BANYAN_OK;

    export->total = durable < from ? 0 : durable - from + 1;
    if (export->total > 0)
        status = store_reader_seek(reader, (struct banyan_position){from}, err);
    if (status == BANYAN_OK)
        status = out_file_open(export->command->out, &export->file, err);
    if (status == BANYAN_OK)
        status = write_events(export, reader, err);
    if (status == BANYAN_OK)
        status = out_file_commit(export->file, err);
    if (status == BANYAN_OK)
        show_progress(export, true);
    output_progress_end(&export->progress);
    out_file_close(export->file);
    store_reader_close(reader);
    return status;
}

enum banyan_status cmd_store_export(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct export_command command = {.target = STORE_TARGET_INIT, .codec = AVRO_CODEC_ZSTANDARD, .from = 1};
    const struct argp argp = {export_options,
                              parse_export,
                              NULL,
                              "Write all events into a file: NDJSON, one event a line, or an Avro object container "
                              "file.  `banyan store import` reads both.",
                              export_children,
                              NULL,
                              NULL};
    struct export export = {.command = &command, .out = BANYAN_BUF_INIT((size_t)1 << 30)};
    struct store *store = NULL;
    char text[OUTPUT_TEXT_SIZE];
    enum banyan_status status;

    options_parse(&argp, "banyan store export", argc, argv, &command);
    (void)cli;
    export.started_us = os_clock_monotonic_us(os_clock_real());
    output_progress_init(&export.progress, stderr);
    status = store_target_open(&command.target, true, &store, err);
    if (status == BANYAN_OK)
        status = run(&export, store, err);
    if (status == BANYAN_OK && command.out != NULL && command.target.common.json)
        printf("{\"exported\":%" PRIu64 "}\n", export.done);
    else if (status == BANYAN_OK && command.out != NULL)
        printf("exported %s events to %s\n", output_count(export.done, text), command.out);
    banyan_buf_release(&export.out);
    store_close(store);
    return status;
}
