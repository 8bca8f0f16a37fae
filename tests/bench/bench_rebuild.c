/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rebuilds of a read model of orders (one for every 5 events, and a row of a second table); JSON lines on stdout.
 * EVENTS says how many (20 M, or 5 M where there is not enough room on the disk).  FOLD_ONLY: fold them once, with one
 * worker, and nothing else: to count instructions.  NO_SWITCH: no switches, to look at rebuilds alone.
 *
 *   rebuild_fold          log → rows in memory, 2 workers, events/s; the reference is a one-thread loop over the same
 *                         events in memory, decoded before
 *   rebuild_fold_cores    2 workers against 1
 *   rebuild_postgres      until the new generation serves, events/s; the reference is COPY of the same rows, binary,
 *                         without an index: what a rebuild could be if reading, folding and indexing cost nothing
 *   rebuild_sqlite        the same into SQLite, without a reference
 *   rebuild_eta_error     largest error of its ETA after the first tenth, in percent of the whole, second rebuild
 *   rebuild_switch_read   longest read of 4 readers over 40 switches, ms; the reference is the same without a switch
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "../unit/log/folder.h"
#include "os/clock.h"
#include "os/thread.h"
#include "projection/rebuild.h"
#include "projection/rebuild_fold.h"
#include "sink/sinks.h"
#include "support/tally.h"

enum {
    EVENTS = 20000000,
    EVENTS_FEW = 5000000,
    DISK_GB = 24, /* for all of them: the log, two generations, the server's own log */
    EVENTS_A_ROW = 5,
    REFERENCE_EVENTS = 2000000,
    READERS = 4,
    SWITCHES = 40,
    SWITCH_PAUSE_US = 50 * 1000,
    SAMPLES_MAX = 100000,
    SAMPLE_US = 10 * 1000,
    COPY_BYTES = 1 << 16,
};

struct bench {
    struct store *store;
    struct os_stop stop;
    const struct banyan_projection *projection;
    const char *conninfo;
    char folder[FOLDER_PATH_MAX];
    char learned[FOLDER_PATH_MAX + 16];
    uint64_t events;
    struct sink *follower; /* of the generation that serves */
    struct sink_checkpoint checkpoint;
};

static void must(bool ok, const char *what, const char *why)
{
    if (ok)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, why == NULL ? "" : why);
    abort();
}

static double now_s(void)
{
    return (double)os_clock_monotonic_us(os_clock_real()) / 1e6;
}

static double processor_s(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* *bar*: of the value, or of the ratio where that has one; *verdict*: "true", "false" or, without a bar (0), "null". */
static void tell(const char *name, double value, const char *unit, double reference, double ratio, double bar,
                 const char *verdict)
{
    char bound[32] = "null";
    if (bar > 0)
        (void)snprintf(bound, sizeof(bound), "%g", bar);
    (void)printf("{\"name\":\"%s\",\"value\":%.3f,\"unit\":\"%s\",\"reference\":%.3f,\"ratio\":%.3f,\"bar\":%s,"
                 "\"ok\":%s}\n",
                 name, value, unit, reference, ratio, bound, verdict);
    (void)fflush(stdout);
}

/* ---- the fold ---- */

/* Events decoded before, in memory: what is left is the loop. */
static double loop_rate(const struct bench *bench, const struct seen_rules *rules)
{
    size_t count = bench->events < REFERENCE_EVENTS ? bench->events : REFERENCE_EVENTS, decoded = 0;
    struct banyan_seen *events = calloc(count, sizeof(*events));
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_reader *reader = store_reader_open(bench->store);
    struct store_read_event event;
    bool keyed;
    must(events != NULL && store_reader_seek(reader, (struct banyan_position){1}, &err) == BANYAN_OK, "seek",
         err.message);
    while (decoded < count && store_reader_next(reader, &event, &err) == BANYAN_OK)
        if (seen_event(rules, &event, &arena, false, &events[decoded], &keyed, &err) == SEEN_WANTED)
            decoded++;
    struct rebuild_table *table = rebuild_table_new(bench->projection);
    double processor = processor_s(), began = now_s();
    for (size_t i = 0; i < decoded; i++)
        must(rebuild_table_apply(table, &events[i], &err) == BANYAN_OK, "apply", err.message);
    double rate = (double)decoded / (now_s() - began);
    (void)fprintf(stderr, "loop: processor %.3f us an event\n", (processor_s() - processor) * 1e6 / (double)decoded);
    rebuild_table_free(table);
    store_reader_close(reader);
    banyan_arena_release(&arena);
    free(events);
    return rate;
}

static double fold_rate(const struct bench *bench, const struct seen_rules *rules, unsigned workers)
{
    struct rebuild_fold_options options = {
        .projection = bench->projection,
        .rules = rules,
        .store = bench->store,
        .last = store_durable(bench->store),
        .workers = workers,
        .slices = 1,
        .bytes_max = SIZE_MAX,
    };
    struct rebuild_folded folded;
    struct banyan_position reached;
    struct banyan_error err = BANYAN_ERROR_INIT;
    double processor = processor_s(), began = now_s();
    must(rebuild_fold(&options, &folded, &reached, &err) == BANYAN_OK, "fold", err.message);
    double took = now_s() - began;
    processor = processor_s() - processor;
    (void)fprintf(stderr, "fold, %u workers: %.2f s, processor %.2f s, %.3f us an event\n", workers, took, processor,
                  processor * 1e6 / (double)bench->events);
    rebuild_folded_release(&folded);
    return (double)bench->events / took;
}

static const char *verdict(bool ok)
{
    return ok ? "true" : "false";
}

static void bench_fold(const struct bench *bench, bool only)
{
    struct seen_rules *rules = seen_rules_new(bench->store, &tally_domain, bench->projection);
    if (only) {
        (void)fold_rate(bench, rules, 1);
        seen_rules_free(rules);
        return;
    }
    double loop = loop_rate(bench, rules), one = fold_rate(bench, rules, 1), two = fold_rate(bench, rules, 2);
    tell("rebuild_fold", two, "events/s", loop, two / loop, 5e6, verdict(two >= 5e6));
    tell("rebuild_fold_cores", two, "events/s", one, two / one, 1.6, verdict(two / one >= 1.6));
    seen_rules_free(rules);
}

/* ---- into PostgreSQL ---- */

static enum banyan_status hold(void *context, struct sink_checkpoint *ret, struct banyan_error *err)
{
    *ret = ((struct bench *)context)->checkpoint;
    return BANYAN_OK;
}

static void release(void *context, struct sink *sink, const struct sink_checkpoint *checkpoint,
                    const struct sink_aside *asides, size_t aside_count)
{
    struct bench *bench = context;
    if (sink == NULL)
        return;
    sink_close(bench->follower);
    bench->follower = sink;
    bench->checkpoint = *checkpoint;
}

static void forget_follower(struct bench *bench)
{
    sink_close(bench->follower);
    bench->follower = NULL;
    bench->checkpoint = (struct sink_checkpoint){.position = {0}};
}

static const struct rebuild_host host = {.hold = hold, .release = release};

struct eta_sample {
    double at_s, said_s;
    enum rebuild_phase phase;
};

/* The largest error of what was said after the first tenth, of the whole. */
static double eta_error(const struct eta_sample *samples, size_t count, double began_s, double ended_s)
{
    double total = ended_s - began_s, worst = 0;
    const struct eta_sample *of = NULL;
    for (size_t i = 0; i < count; i++) {
        double left = ended_s - samples[i].at_s;
        if (samples[i].at_s - began_s < total / 10)
            continue;
        double error = fabs(samples[i].said_s - left) / total;
        if (error > worst) {
            worst = error;
            of = &samples[i];
        }
    }
    if (of != NULL)
        (void)fprintf(stderr, "eta: worst in %s: said %.2f s, %.2f s were left of %.2f s\n",
                      of->phase == REBUILD_FOLD   ? "fold"
                      : of->phase == REBUILD_LOAD ? "load"
                                                  : "the end",
                      of->said_s, ended_s - of->at_s, total);
    return worst;
}

static double rebuild_s(struct bench *bench, struct sink_home *home, uint32_t generation, double *ret_eta_error)
{
    struct rebuild *rebuild = rebuild_new(&(struct rebuild_options){
        .domain = &tally_domain,
        .projection = bench->projection,
        .store = bench->store,
        .home = home,
        .stop = &bench->stop,
        .workers = 2,
        .memory_bytes = (size_t)4 << 30,
        .generation = generation,
        .learned_path = bench->learned,
        .host = &host,
        .context = bench,
    });
    struct eta_sample *samples = calloc(SAMPLES_MAX, sizeof(*samples));
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum rebuild_phase phase = REBUILD_NONE;
    size_t count = 0;
    double processor = processor_s(), began = now_s();
    rebuild_start(rebuild);
    while (!rebuild_wait(rebuild, SAMPLE_US) && samples != NULL) {
        struct rebuild_status status;
        rebuild_status(rebuild, &status);
        if (status.phase == REBUILD_NONE)
            continue;
        must(status.eta_us > 0 && status.done < 1, "an ETA of 0 before the switch", NULL);
        if (status.phase != phase && generation == 0)
            (void)fprintf(stderr, "%.2f s, processor %.2f s: %s, eta %.2f s\n", now_s() - began,
                          processor_s() - processor, rebuild_phase_name(status.phase), (double)status.eta_us / 1e6);
        phase = status.phase;
        if (count < SAMPLES_MAX)
            samples[count++] = (struct eta_sample){now_s(), (double)status.eta_us / 1e6, status.phase};
    }
    double ended = now_s();
    must(rebuild_outcome(rebuild, &err) == REBUILD_SWITCHED, "rebuild", err.message);
    rebuild_free(rebuild);
    *ret_eta_error = eta_error(samples, count, began, ended);
    free(samples);
    return ended - began;
}

static void exec(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    must(PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK, sql,
         PQerrorMessage(conn));
    PQclear(result);
}

/* The rows of a table as binary COPY gives them. */
static char *copy_out(PGconn *conn, const char *sql, size_t *ret_size)
{
    PGresult *result = PQexec(conn, sql);
    size_t size = 0, capacity = 1 << 20;
    char *bytes = malloc(capacity), *part;
    int got;
    must(PQresultStatus(result) == PGRES_COPY_OUT && bytes != NULL, sql, PQerrorMessage(conn));
    PQclear(result);
    while ((got = PQgetCopyData(conn, &part, 0)) > 0) {
        while (size + (size_t)got > capacity)
            capacity *= 2;
        bytes = realloc(bytes, capacity);
        must(bytes != NULL, "memory", NULL);
        memcpy(bytes + size, part, (size_t)got);
        size += (size_t)got;
        PQfreemem(part);
    }
    PQclear(PQgetResult(conn));
    *ret_size = size;
    return bytes;
}

/* COPY of what the view holds into a table like it, alone. */
static double copy_s(PGconn *conn, const char *view)
{
    char sql[256];
    size_t size;
    (void)snprintf(sql, sizeof(sql), "copy (select * from bench.%s) to stdout (format binary)", view);
    char *bytes = copy_out(conn, sql, &size);
    (void)snprintf(sql, sizeof(sql), "create table bench.copied as select * from bench.%s limit 0", view);
    exec(conn, sql);
    double began = now_s();
    PGresult *result = PQexec(conn, "copy bench.copied from stdin (format binary)");
    must(PQresultStatus(result) == PGRES_COPY_IN, "copy", PQerrorMessage(conn));
    PQclear(result);
    for (size_t at = 0; at < size; at += COPY_BYTES)
        must(PQputCopyData(conn, bytes + at, (int)(size - at < COPY_BYTES ? size - at : COPY_BYTES)) == 1, "copy",
             PQerrorMessage(conn));
    must(PQputCopyEnd(conn, NULL) == 1, "copy", PQerrorMessage(conn));
    result = PQgetResult(conn);
    must(PQresultStatus(result) == PGRES_COMMAND_OK, "copy", PQerrorMessage(conn));
    PQclear(result);
    PQclear(PQgetResult(conn));
    double took = now_s() - began;
    exec(conn, "drop table bench.copied");
    free(bytes);
    return took;
}

static void bench_postgres(struct bench *bench, struct sink_home *home)
{
    PGconn *conn = PQconnectdb(bench->conninfo);
    double error, took = rebuild_s(bench, home, 0, &error), copied = 0;
    must(PQstatus(conn) == CONNECTION_OK, "connect", PQerrorMessage(conn));
    for (size_t i = 0; i < bench->projection->table_count; i++)
        copied += copy_s(conn, bench->projection->tables[i].name);
    tell("rebuild_postgres", (double)bench->events / took, "events/s", (double)bench->events / copied, copied / took,
         2e6, verdict((double)bench->events / took >= 2e6));
    tell("rebuild_postgres_copy", took, "s", copied, copied / took, 0.5, verdict(copied / took >= 0.5));
    (void)rebuild_s(bench, home, 0, &error);
    tell("rebuild_eta_error", error * 100, "%", 0, 0, 25, verdict(error <= 0.25));
    PQfinish(conn);
}

/* ---- into SQLite ---- */

static void bench_sqlite(struct bench *bench)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = NULL;
    char folder[FOLDER_PATH_MAX + 16];
    double error;
    (void)snprintf(folder, sizeof(folder), "%s/views", bench->folder);
    (void)snprintf(bench->learned, sizeof(bench->learned), "%s/sqlite", bench->folder);
    must(mkdir(folder, 0700) == 0, "mkdir", folder);
    must(sink_sqlite_home(bench->projection, folder, bench->projection->name, &home, &err) == BANYAN_OK, "home",
         err.message);
    double took = rebuild_s(bench, home, 0, &error);
    tell("rebuild_sqlite", (double)bench->events / took, "events/s", 0, 0, 0, "null");
    forget_follower(bench);
    sink_home_close(home);
}

/* ---- reads during switches ---- */

struct reading {
    const struct bench *bench;
    struct sink_home *home;
    struct os_thread thread;
    bool *ends; /* atomic */
    int64_t longest_us;
    uint64_t count;
};

static enum banyan_status take_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    return BANYAN_OK;
}

static void read_rows(void *argument)
{
    struct reading *reading = argument;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct sink_view *view = NULL;
    struct os_random random;
    os_random_seed(&random, (uint64_t)(uintptr_t)reading);
    must(reading->home->ops->view(reading->home, &view, &err) == BANYAN_OK, "view", err.message);
    while (!__atomic_load_n(reading->ends, __ATOMIC_RELAXED)) {
        int64_t key = 1 + (int64_t)os_random_below(&random, reading->bench->events / EVENTS_A_ROW);
        int64_t began = os_clock_monotonic_us(os_clock_real());
        must(view->ops->get(view, 0, key, &checkpoint, take_row, NULL, &err) == BANYAN_OK, "get", err.message);
        int64_t took = os_clock_monotonic_us(os_clock_real()) - began;
        reading->longest_us = took > reading->longest_us ? took : reading->longest_us;
        reading->count++;
    }
    sink_view_close(view);
}

/* The longest read, while both generations take turns; *switches* false: while nothing happens, for as long. */
static double longest_ms(struct bench *bench, struct sink_home *home, bool switches)
{
    struct reading readings[READERS];
    bool ends = false;
    double error, longest = 0;
    uint64_t count = 0;
    for (int i = 0; i < READERS; i++) {
        readings[i] = (struct reading){.bench = bench, .home = home, .ends = &ends};
        os_thread_start(&readings[i].thread, "read", read_rows, &readings[i]);
    }
    for (int i = 0; i < SWITCHES; i++) {
        struct sink_generation generations[SINK_GENERATIONS_MAX];
        size_t generation_count = 0;
        os_clock_real()->sleep_us(os_clock_real(), SWITCH_PAUSE_US);
        must(home->ops->generations(home, generations, &generation_count, NULL) == BANYAN_OK, "generations", NULL);
        for (size_t j = 0; j < generation_count && switches; j++)
            if (generations[j].state == SINK_KEPT) {
                (void)rebuild_s(bench, home, generations[j].number, &error);
                break;
            }
    }
    __atomic_store_n(&ends, true, __ATOMIC_RELAXED);
    for (int i = 0; i < READERS; i++) {
        os_thread_join(&readings[i].thread);
        longest = (double)readings[i].longest_us / 1e3 > longest ? (double)readings[i].longest_us / 1e3 : longest;
        count += readings[i].count;
    }
    (void)fprintf(stderr, "%" PRIu64 " reads, the longest %.1f ms, %s\n", count, longest,
                  switches ? "with switches" : "without");
    return longest;
}

static void bench_switch(struct bench *bench, struct sink_home *home)
{
    double without = longest_ms(bench, home, false), with = longest_ms(bench, home, true);
    tell("rebuild_switch_read", with, "ms", without, with / without, 50, verdict(with <= 50));
}

static uint64_t events_that_fit(const char *folder)
{
    struct statvfs disk;
    must(statvfs(folder, &disk) == 0, "statvfs", folder);
    return (uint64_t)disk.f_bavail * disk.f_frsize >> 30 >= DISK_GB ? EVENTS : EVENTS_FEW;
}

static void open_store(struct bench *bench)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    must(store_open(&(struct store_options){.folder = bench->folder}, &bench->store, &err) == BANYAN_OK, "open",
         err.message);
}

int main(void)
{
    static struct bench bench;
    const char *events = getenv("EVENTS");
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = NULL;
    struct os_random random;
    bench.projection = &tally_projections[TALLY_VIEW_ORDERS];
    bench.conninfo = getenv("BANYAN_TEST_CONNINFO");
    folder_make(bench.folder);
    bench.events = events == NULL ? events_that_fit(bench.folder) : strtoull(events, NULL, 10);
    (void)snprintf(bench.learned, sizeof(bench.learned), "%s/learned", bench.folder);
    must(os_stop_open(&bench.stop, &err) == BANYAN_OK, "stop", err.message);
    open_store(&bench);
    os_random_seed(&random, 1);
    double began = now_s();
    tally_append(bench.store, &random,
                 &(struct tally_append){.count = bench.events, .keys = (int64_t)(bench.events / EVENTS_A_ROW)});
    (void)fprintf(stderr, "%" PRIu64 " events appended in %.1f s\n", bench.events, now_s() - began);
    /* What the appends left to be done in the background is done when it is closed. */
    store_close(bench.store);
    open_store(&bench);
    bool only = getenv("FOLD_ONLY") != NULL;
    bench_fold(&bench, only);
    if (bench.conninfo != NULL && !only) {
        must(sink_postgres_home(bench.projection, bench.conninfo, "bench", bench.projection->name, &home, &err) ==
                 BANYAN_OK,
             "home", err.message);
        bench_postgres(&bench, home);
        if (getenv("NO_SWITCH") == NULL)
            bench_switch(&bench, home);
        forget_follower(&bench);
        sink_home_close(home);
    }
    if (!only)
        bench_sqlite(&bench);
    store_close(bench.store);
    os_stop_close(&bench.stop);
    folder_remove(bench.folder);
    return 0;
}
