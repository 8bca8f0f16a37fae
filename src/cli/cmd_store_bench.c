/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan store bench: how fast a store is on this disk, beside what the disk itself does in the same run.
 *
 * Works in a folder of its own, which is removed at the end.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/cmd_store.h"
#include "cli/output.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/random.h"
#include "os/thread.h"

enum {
    OPTION_WRITERS = 0x780,
    OPTION_BATCH,
    OPTION_SIZE,
    OPTION_SECONDS,
    WRITERS_MAX = 1024,
    BATCH_MAX = 100000,
    SIZE_MAX_BYTES = 1024 * 1024,
    STREAMS_A_WRITER = 1000,
    STREAM_NAME_SIZE = 48,
    LATENCIES_MAX = 1 << 20, /* a writer; what comes after is counted but not timed */
    REFERENCE_BYTES = 4096,
    REFERENCE_FILE_BYTES = 64 * 1024 * 1024, /* reserved, as the log's are */
    REFERENCE_US = 1000000,
};

struct bench_command {
    struct store_target target;
    uint64_t writers, batch, size, seconds;
};

static const struct argp_option bench_options[] = {
    {"writers", OPTION_WRITERS, "N", 0, "Threads that append (default: 16)", 0},
    {"batch", OPTION_BATCH, "N", 0, "Events an append (default: 1)", 0},
    {"size", OPTION_SIZE, "BYTES", 0, "Payload of an event (default: 200)", 0},
    {"seconds", OPTION_SECONDS, "N", 0, "How long (default: 5)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child bench_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_bench(int key, char *argument, struct argp_state *state)
{
    struct bench_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_WRITERS:
        command->writers = options_number(state, "--writers", argument, 1, WRITERS_MAX);
        return 0;
    case OPTION_BATCH:
        command->batch = options_number(state, "--batch", argument, 1, BATCH_MAX);
        return 0;
    case OPTION_SIZE:
        command->size = options_number(state, "--size", argument, 0, SIZE_MAX_BYTES);
        return 0;
    case OPTION_SECONDS:
        command->seconds = options_number(state, "--seconds", argument, 1, 3600);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- one writer ---- */

struct writer {
    const struct bench_command *command;
    struct store *store;
    struct os_thread thread;
    uint64_t number;
    int64_t until_us;
    uint64_t appends;
    uint32_t *latencies_us; /* owned */
    enum banyan_status status;
    struct banyan_error err;
};

static void writer_main(void *argument)
{
    struct writer *writer = argument;
    size_t batch = (size_t)writer->command->batch;
    struct store_event *events = alloc_zeroed(batch, sizeof(*events));
    char(*names)[STREAM_NAME_SIZE] = alloc_zeroed(batch, STREAM_NAME_SIZE);
    char *payload = alloc_zeroed(writer->command->size + 1, 1);
    struct os_clock *clock = os_clock_real();
    struct os_random random;
    int64_t now_us = os_clock_monotonic_us(clock);

    os_random_seed(&random, writer->number);
    for (uint64_t i = 0; i < writer->command->size; i++)
        payload[i] = (char)('a' + os_random_below(&random, 26));
    while (writer->status == BANYAN_OK && now_us < writer->until_us) {
        struct store_append append = {.events = events, .event_count = batch};
        int64_t before_us = now_us;
        struct store_appended appended;

        for (size_t i = 0; i < batch; i++) {
            (void)snprintf(names[i], STREAM_NAME_SIZE, "bench-%" PRIu64 "-%" PRIu64, writer->number,
                           os_random_below(&random, STREAMS_A_WRITER));
            events[i] = (struct store_event){
                .id = os_uuid_new(),
                .stream = banyan_str_of(names[i]),
                .type = BANYAN_STR("Benched"),
                .at = os_clock_now(clock),
                .payload = {payload, writer->command->size},
            };
        }
        writer->status = store_append(writer->store, &append, &appended, &writer->err);
        now_us = os_clock_monotonic_us(clock);
        if (writer->appends < LATENCIES_MAX)
            writer->latencies_us[writer->appends] = (uint32_t)(now_us - before_us);
        writer->appends++;
    }
    free(payload);
    free(names);
    free(events);
}

/* ---- the run ---- */

struct result {
    double flushes_a_second, events_a_second, appends_a_second;
    uint64_t flushes;
    uint32_t p50_us, p99_us, max_us;
};

/* How often the disk makes a block durable in a second. */
static enum banyan_status measure_disk(const char *folder, double *ret, struct banyan_error *err)
{
    struct os_files *files = os_files_real();
    char *path = alloc_path(folder, "reference"), block[REFERENCE_BYTES] = {0};
    int64_t started_us = os_clock_monotonic_us(os_clock_real()), took_us = 0;
    struct os_file *file = NULL;
    enum banyan_status status;
    uint64_t count = 0;

    status = files->open(files, path, true, &file, err);
    if (status == BANYAN_OK)
        status = files->allocate(file, REFERENCE_FILE_BYTES, err);
    while (status == BANYAN_OK && took_us < REFERENCE_US) {
        status = files->write(file, count * sizeof(block) % REFERENCE_FILE_BYTES, block, sizeof(block), err);
        if (status == BANYAN_OK)
            status = files->sync(file, err);
        count++;
        took_us = os_clock_monotonic_us(os_clock_real()) - started_us;
    }
    files->close(file);
    if (status == BANYAN_OK)
        status = files->remove(files, path, err);
    free(path);
    *ret = (double)count * 1e6 / (double)(took_us == 0 ? 1 : took_us);
    return status;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static enum banyan_status measure_store(const struct bench_command *command, struct store *store, struct result *result,
                                        struct banyan_error *err)
{
    struct writer *writers = alloc_zeroed(command->writers, sizeof(*writers));
    int64_t started_us = os_clock_monotonic_us(os_clock_real()), took_us;
    uint32_t *all = alloc_zeroed(1, sizeof(*all));
    enum banyan_status status = BANYAN_OK;
    uint64_t appends = 0, timed = 0;

    for (uint64_t i = 0; i < command->writers; i++) {
        writers[i] = (struct writer){.command = command, .store = store, .number = i + 1};
        writers[i].until_us = started_us + (int64_t)command->seconds * 1000000;
        writers[i].latencies_us = alloc_zeroed(LATENCIES_MAX, sizeof(uint32_t));
        os_thread_start(&writers[i].thread, "bench-writer", writer_main, &writers[i]);
    }
    for (uint64_t i = 0; i < command->writers; i++)
        os_thread_join(&writers[i].thread);
    took_us = os_clock_monotonic_us(os_clock_real()) - started_us;
    for (uint64_t i = 0; i < command->writers; i++) {
        uint64_t count = writers[i].appends < LATENCIES_MAX ? writers[i].appends : LATENCIES_MAX;

        if (writers[i].status != BANYAN_OK && status == BANYAN_OK) {
            status = writers[i].status;
            *err = writers[i].err;
        }
        all = alloc_resized(all, timed + count + 1, sizeof(*all));
        memcpy(all + timed, writers[i].latencies_us, count * sizeof(*all));
        timed += count;
        appends += writers[i].appends;
        free(writers[i].latencies_us);
    }
    if (status == BANYAN_OK && timed > 0) {
        struct store_stats stats;

        store_stats(store, &stats);
        qsort(all, timed, sizeof(*all), by_size);
        result->flushes = stats.log.groups;
        result->appends_a_second = (double)appends * 1e6 / (double)took_us;
        result->events_a_second = result->appends_a_second * (double)command->batch;
        result->p50_us = all[timed / 2];
        result->p99_us = all[timed - 1 - timed / 100];
        result->max_us = all[timed - 1];
    }
    free(all);
    free(writers);
    return status;
}

static void print_result(const struct bench_command *command, const struct result *result)
{
    char text[OUTPUT_TEXT_SIZE];

    if (command->target.common.json) {
        printf("{\"writers\":%" PRIu64 ",\"batch\":%" PRIu64 ",\"size\":%" PRIu64
               ",\"events_per_second\":%.0f,\"appends_per_second\":%.0f,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u,"
               "\"disk_flushes_per_second\":%.0f,\"groups\":%" PRIu64 "}\n",
               command->writers, command->batch, command->size, result->events_a_second, result->appends_a_second,
               result->p50_us, result->p99_us, result->max_us, result->flushes_a_second, result->flushes);
        return;
    }
    printf("%-24s %s\n", "durable events a second", output_count((uint64_t)result->events_a_second, text));
    printf("%-24s %s\n", "appends a second", output_count((uint64_t)result->appends_a_second, text));
    printf("%-24s %s\n", "p50 of an append", output_duration(result->p50_us, text));
    printf("%-24s %s\n", "p99 of an append", output_duration(result->p99_us, text));
    printf("%-24s %s\n", "slowest append", output_duration(result->max_us, text));
    printf("%-24s %s\n", "flushes a second",
           output_count((uint64_t)((double)result->flushes / (double)command->seconds), text));
    printf("%-24s %s\n", "the disk alone", output_count((uint64_t)result->flushes_a_second, text));
}

/* Remove the files of a folder, then the folder; what cannot be removed is left for the user to see. */
static void remove_folder(const char *folder)
{
    struct os_files *files = os_files_real();
    char **names = NULL;

    if (files->list(files, folder, &names, NULL) != BANYAN_OK)
        return;
    for (size_t i = 0; names[i] != NULL; i++) {
        char *path = alloc_path(folder, names[i]);

        (void)remove(path);
        free(path);
        free(names[i]);
    }
    free(names);
    (void)remove(folder);
}

static void remove_store(const char *folder)
{
    static const char *const parts[] = {"log", "index", "cold"};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char *path = alloc_path(folder, parts[i]);

        remove_folder(path);
        free(path);
    }
    remove_folder(folder);
}

enum banyan_status cmd_store_bench(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct bench_command command = {.target = STORE_TARGET_INIT, .writers = 16, .batch = 1, .size = 200, .seconds = 5};
    const struct argp argp = {
        bench_options,
        parse_bench,
        NULL,
        "Measure durable appends on the disk of the store's folder, in a store of its own that is "
        "removed at the end.",
        bench_children,
        NULL,
        NULL};
    struct result result = {0};
    struct store *store = NULL;
    char *folder = NULL, *path = NULL, name[32];
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store bench", argc, argv, &command);
    status = store_target_folder(&command.target, &folder, err);
    if (status != BANYAN_OK)
        return status;
    (void)snprintf(name, sizeof(name), "bench-%08" PRIx32, (uint32_t)os_clock_now(os_clock_real()).us);
    path = alloc_path(folder, name);
    status = store_open(&(struct store_options){.folder = path}, &store, err);
    if (status == BANYAN_OK)
        status = measure_disk(path, &result.flushes_a_second, err);
    if (status == BANYAN_OK)
        status = measure_store(&command, store, &result, err);
    store_close(store);
    remove_store(path);
    if (status == BANYAN_OK)
        print_result(&command, &result);
    free(path);
    free(folder);
    return status;
}
