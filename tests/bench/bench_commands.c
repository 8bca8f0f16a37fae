/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on the trading domain, in process: fold, decide, append, wait until durable; JSON lines on stdout.
 *
 *   commands_64_writers     each of 64 threads sends a command and waits for its answer
 *   commands_pipelined      each has up to 32 under way; an answer is taken only when it is durable
 *   commands_decide         one thread, store in memory, nobody waits: what a command costs the processor
 *
 * What bounds them is told on stderr: flushes a second beside the disk's own (fdatasync of the same bytes, in the same
 * run), commands a flush, processor time a command.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../unit/log/folder.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"
#include "store/aggregate.h"
#include "trading/commands.h"
#include "trading/trading.h"

enum {
    WRITERS = 64,
    ORDERS = 256, /* of each writer */
    SECOND_US = 1000000,
    RUN_US = 4 * SECOND_US,
    PIPELINE_MAX = 32,
    SAMPLES_MAX = 1 << 20,
    SYNCS = 1000,
};

#define ONE INT64_C(100000000)

static void must(bool ok, const char *what, const struct banyan_error *err)
{
    if (!ok) {
        (void)fprintf(stderr, "%s: %s\n", what, err == NULL ? "" : err->message);
        abort();
    }
}

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static int64_t processor_us(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * (int64_t)SECOND_US + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

static int compare_times(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* ---- writers ---- */

struct pending {
    struct banyan_position position;
    int64_t started;
};

struct writer {
    struct store *store;
    struct aggregates *aggregates;
    struct os_thread thread;
    struct os_random random;
    unsigned number, depth; /* depth: commands under way at once */
    int64_t until_us;
    uint64_t next_order;
    uint64_t orders[ORDERS]; /* open ones; 0: none */
    unsigned fills[ORDERS];
    uint64_t commands, refused, events;
    uint32_t *samples; /* µs, owned */
    size_t sample_count;
    struct banyan_arena arena;
};

/* Send one command about one of the writer's orders: it is placed, changed, filled in three, and replaced. */
static struct aggregate_answer send(struct writer *writer)
{
    static const struct place_order place = {
        7, {"BTCUSD", 6}, {"BUY", 3}, {3 * (__int128)ONE, 8}, {250 * (__int128)ONE, 8}};
    unsigned at = (unsigned)os_random_below(&writer->random, ORDERS);
    struct fill_order fill = {banyan_decimal_of(ONE, 8), banyan_decimal_of(249 * ONE, 8)};
    struct modify_order modify = {banyan_decimal_null(),
                                  banyan_decimal_of((int64_t)(1 + os_random_below(&writer->random, 500)) * ONE, 8)};
    struct aggregate_command command = {.category = BANYAN_STR("order")};
    uint64_t random[2] = {os_random_next(&writer->random), os_random_next(&writer->random)};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct aggregate_answer answer;
    char key[24];

    if (writer->orders[at] == 0 || writer->fills[at] == 3) {
        writer->orders[at] = ++writer->next_order * WRITERS + writer->number;
        writer->fills[at] = 0;
        command.name = BANYAN_STR("PlaceOrder");
        command.fields = &place;
    } else if (os_random_below(&writer->random, 2) == 0) {
        command.name = BANYAN_STR("ModifyOrder");
        command.fields = &modify;
    } else {
        writer->fills[at]++;
        command.name = BANYAN_STR("FillOrder");
        command.fields = &fill;
    }
    command.id = banyan_uuid_v8((const uint8_t *)random);
    command.key =
        (struct banyan_str){key, (size_t)snprintf(key, sizeof(key), "%llu", (unsigned long long)writer->orders[at])};
    must(aggregates_submit(writer->aggregates, &command, &writer->arena, &answer, &err) == BANYAN_OK, "submit", &err);
    writer->refused += !answer.accepted;
    writer->events += answer.event_count;
    banyan_arena_reset(&writer->arena);
    return answer;
}

static void take_answer(struct writer *writer, const struct pending *pending)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    must(store_wait(writer->store, pending->position, INT64_MAX, &err) == BANYAN_OK, "wait", &err);
    writer->commands++;
    if (writer->sample_count < SAMPLES_MAX)
        writer->samples[writer->sample_count++] = (uint32_t)(now_us() - pending->started);
}

static void run_writer(void *argument)
{
    struct pending pending[PIPELINE_MAX];
    struct writer *writer = argument;
    uint64_t sent = 0, taken = 0;

    for (;;) {
        int64_t started = now_us();

        if (started >= writer->until_us)
            break;
        if (sent - taken == writer->depth)
            take_answer(writer, &pending[taken++ % PIPELINE_MAX]);
        pending[sent++ % PIPELINE_MAX] = (struct pending){send(writer).position, started};
    }
    while (taken < sent)
        take_answer(writer, &pending[taken++ % PIPELINE_MAX]);
    banyan_arena_release(&writer->arena);
}

/* ---- the disk ---- */

/* fdatasync calls a second, each after a pwrite of *size* bytes at the end of what is reserved. */
static double sync_rate(const char *folder, size_t size)
{
    char path[FOLDER_PATH_MAX + 16];
    char *bytes = calloc(1, size);
    int64_t started;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/reference", folder);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0 && posix_fallocate(fd, 0, (off_t)(size * SYNCS)) == 0 && fsync(fd) == 0, "reference", NULL);
    started = now_us();
    for (int i = 0; i < SYNCS; i++)
        must(pwrite(fd, bytes, size, (off_t)(size * (size_t)i)) == (ssize_t)size && fdatasync(fd) == 0, "sync", NULL);
    double rate = SYNCS * (double)SECOND_US / (double)(now_us() - started);
    (void)close(fd);
    (void)unlink(path);
    free(bytes);
    return rate;
}

/* ---- runs ---- */

struct facts {
    double rate, flushes, a_flush, processor_us, p50, p99;
    size_t bytes_a_flush;
};

static struct facts run(const char *folder, unsigned writer_count, unsigned depth)
{
    struct writer *writers = calloc(writer_count, sizeof(*writers));
    struct store_options options = {.folder = folder};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_stats before, after;
    struct store *store = NULL;
    struct aggregates *aggregates;
    uint32_t *samples;
    struct facts facts = {0};
    uint64_t commands = 0, refused = 0, events = 0;
    size_t sample_count = 0;
    int64_t started, took, processor;

    must(store_open(&options, &store, &err) == BANYAN_OK, "open", &err);
    aggregates = aggregates_new(&(struct aggregates_options){.store = store, .domain = &banyan_domain_trading});
    store_stats(store, &before);
    processor = processor_us();
    started = now_us();
    for (unsigned i = 0; i < writer_count; i++) {
        writers[i] = (struct writer){.store = store,
                                     .aggregates = aggregates,
                                     .number = i,
                                     .depth = depth,
                                     .until_us = started + RUN_US,
                                     .samples = calloc(SAMPLES_MAX, sizeof(uint32_t))};
        os_random_seed(&writers[i].random, (uint64_t)i + 1);
        os_thread_start(&writers[i].thread, "writer", run_writer, &writers[i]);
    }
    for (unsigned i = 0; i < writer_count; i++) {
        os_thread_join(&writers[i].thread);
        commands += writers[i].commands;
        refused += writers[i].refused;
        events += writers[i].events;
        sample_count += writers[i].sample_count;
    }
    took = now_us() - started;
    processor = processor_us() - processor;
    store_stats(store, &after);
    must(refused == 0 && after.events - before.events == events, "every accepted event is there, once", NULL);
    samples = malloc(sample_count * sizeof(*samples));
    sample_count = 0;
    for (unsigned i = 0; i < writer_count; i++) {
        memcpy(samples + sample_count, writers[i].samples, writers[i].sample_count * sizeof(*samples));
        sample_count += writers[i].sample_count;
        free(writers[i].samples);
    }
    qsort(samples, sample_count, sizeof(*samples), compare_times);
    uint64_t groups = after.log.groups - before.log.groups;
    facts.rate = (double)commands * SECOND_US / (double)took;
    facts.flushes = (double)groups * SECOND_US / (double)took;
    facts.a_flush = (double)commands / (double)groups;
    facts.processor_us = (double)processor / (double)commands;
    facts.p50 = samples[sample_count / 2];
    facts.p99 = samples[sample_count * 99 / 100];
    facts.bytes_a_flush = (size_t)((after.log.bytes - before.log.bytes) / groups);
    free(samples);
    free(writers);
    aggregates_free(aggregates);
    store_close(store);
    return facts;
}

static void report(const char *name, const struct facts *facts, double disk, double bar)
{
    const char *ok = bar <= 0 ? "null" : facts->rate >= bar ? "true" : "false";
    char bar_text[24] = "null";

    if (bar > 0)
        (void)snprintf(bar_text, sizeof(bar_text), "%.0f", bar);
    (void)printf("{\"name\":\"%s\",\"value\":%.0f,\"unit\":\"commands/s\",\"reference\":%.0f,\"ratio\":%.3f,"
                 "\"bar\":%s,\"ok\":%s}\n",
                 name, facts->rate, disk, facts->rate / disk, bar_text, ok);
    (void)printf("{\"name\":\"%s_p99\",\"value\":%.0f,\"unit\":\"us\",\"reference\":null,\"ratio\":null,\"bar\":null,"
                 "\"ok\":null}\n",
                 name, facts->p99);
    (void)fflush(stdout);
    (void)fprintf(stderr,
                  "%s: %.0f flushes/s of %.0f that the disk does with the same %zu bytes; %.1f commands a flush; "
                  "%.2f µs of processor a command (%.2f processors busy); p50 %.0f µs, p99 %.0f µs\n",
                  name, facts->flushes, disk, facts->bytes_a_flush, facts->a_flush, facts->processor_us,
                  facts->processor_us * facts->rate / SECOND_US, facts->p50, facts->p99);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        unsigned writers, depth;
        bool memory;
        double bar;
    } runs[] = {
        {"commands_64_writers", WRITERS, 1, false, 100000},
        {"commands_pipelined", WRITERS, PIPELINE_MAX, false, 100000},
        {"commands_decide", 1, PIPELINE_MAX, true, 0},
    };

    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        char folder[FOLDER_PATH_MAX], store[FOLDER_PATH_MAX + 8];
        struct facts facts;

        if (argc > 2 && strcmp(argv[2], runs[i].name) != 0) /* one of them alone, for a profile */
            continue;
        if (runs[i].memory)
            folder_make_quick(folder);
        else
            folder_make(folder);
        (void)snprintf(store, sizeof(store), "%s/store", folder);
        facts = run(store, runs[i].writers, runs[i].depth);
        report(runs[i].name, &facts, sync_rate(folder, facts.bytes_a_flush), runs[i].bar);
        folder_remove(folder);
    }
    return 0;
}
