/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending and reading, each beside its reference in the same run; JSON lines on stdout.
 *
 *   append_1_writer     one event, durable, again and again;  pwrite + fdatasync of the same bytes, in turns
 *   append_bulk         1,000 events a batch, durable;         the same with the same bytes
 *   append_64_writers   one event each;                        single-row INSERTs of 32 clients, where PGHOST is set
 *   read_all            all events forward, checksums on
 *   open_rebuild        open: check the log, rebuild the index
 */
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit/log/folder.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"
#include "store/store.h"

enum {
    PAYLOAD_BYTES = 120, /* with stream, type and id some 200 bytes in the log */
    BLOCKS = 20,
    BLOCK_APPENDS = 100,
    BULK_BLOCKS = 10,
    BULK_BATCHES = 20,
    BULK_EVENTS = 1000,
    WRITERS = 64,
    WRITER_APPENDS = 3000,
    CLIENTS = 32,
    CLIENT_INSERTS = 500,
    STREAMS = 50000,
};

static char folder[FOLDER_PATH_MAX];
static char payload[PAYLOAD_BYTES + 1];

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static void must(bool ok, const char *what, const struct banyan_error *err)
{
    if (ok)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, err == NULL ? strerror(errno) : err->message);
    exit(1);
}

static void report(const char *name, double value, const char *unit, double reference, double ratio, double bar)
{
    char reference_text[32] = "null", ratio_text[32] = "null", bar_text[32] = "null";
    const char *ok = "null";

    if (reference > 0)
        (void)snprintf(reference_text, sizeof(reference_text), "%.1f", reference);
    if (ratio > 0)
        (void)snprintf(ratio_text, sizeof(ratio_text), "%.3f", ratio);
    if (bar > 0) {
        (void)snprintf(bar_text, sizeof(bar_text), "%g", bar);
        ok = (ratio > 0 ? ratio : value) >= bar ? "true" : "false";
    }
    (void)printf(
        "{\"name\":\"%s\",\"value\":%.1f,\"unit\":\"%s\",\"reference\":%s,\"ratio\":%s,\"bar\":%s,\"ok\":%s}\n", name,
        value, unit, reference_text, ratio_text, bar_text, ok);
    (void)fflush(stdout);
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int64_t percentile(int64_t *times, size_t count, unsigned per_mille)
{
    qsort(times, count, sizeof(*times), compare_times);
    return times[(count - 1) * per_mille / 1000];
}

static struct store *open_store(const char *name)
{
    char path[FOLDER_PATH_MAX + 32];
    struct store_options options = {.folder = path};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    must(store_open(&options, &store, &err) == BANYAN_OK, "open", &err);
    return store;
}

static int open_reference(uint64_t size)
{
    char path[FOLDER_PATH_MAX + 32];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/reference", folder);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0 && posix_fallocate(fd, 0, (off_t)size) == 0 && fsync(fd) == 0, "reference", NULL);
    return fd;
}

/* An event of one of many streams; *name* keeps its text. */
static struct store_event make_event(uint64_t number, char name[32])
{
    return (struct store_event){
        .id = os_uuid_new(),
        .stream = {name, (size_t)snprintf(name, 32, "order-%llu", (unsigned long long)(number % STREAMS))},
        .type = BANYAN_STR("OrderModified"),
        .at = {1700000000000000 + (int64_t)number},
        .payload = {payload, PAYLOAD_BYTES},
    };
}

/* ---- one writer ---- */

static void bench_one_writer(void)
{
    static int64_t ours[BLOCKS * BLOCK_APPENDS], theirs[BLOCKS * BLOCK_APPENDS];
    struct store *store = open_store("one");
    int fd = open_reference(64 * 1024 * 1024);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    char bytes[512] = "reference", name[32];
    struct store_stats before, after;
    size_t count = 0, size;
    double our_p50, their_p50;
    uint64_t at = 0;

    store_stats(store, &before);
    for (int block = 0; block < BLOCKS; block++) {
        for (int i = 0; i < BLOCK_APPENDS; i++) {
            struct store_event event = make_event(count, name);
            struct store_append append = {.events = &event, .event_count = 1};
            int64_t started = now_us();

            must(store_append(store, &append, &appended, &err) == BANYAN_OK, "append", &err);
            ours[count + (size_t)i] = now_us() - started;
        }
        store_stats(store, &after);
        size = (size_t)((after.log.bytes - before.log.bytes) / (count + BLOCK_APPENDS));
        for (int i = 0; i < BLOCK_APPENDS; i++) {
            int64_t started = now_us();

            must(pwrite(fd, bytes, size, (off_t)at) == (ssize_t)size && fdatasync(fd) == 0, "reference", NULL);
            theirs[count + (size_t)i] = now_us() - started;
            at += size;
        }
        count += BLOCK_APPENDS;
    }
    our_p50 = (double)percentile(ours, count, 500);
    their_p50 = (double)percentile(theirs, count, 500);
    report("append_1_writer_p50", our_p50, "us", their_p50, their_p50 / our_p50, 0.9);
    report("append_1_writer_p99", (double)percentile(ours, count, 990), "us", (double)percentile(theirs, count, 990), 0,
           0);
    (void)close(fd);
    store_close(store);
}

/* ---- bulk ---- */

static void make_batch(struct store_event events[BULK_EVENTS], char names[BULK_EVENTS][32], uint64_t from)
{
    for (uint64_t i = 0; i < BULK_EVENTS; i++)
        events[i] = make_event(from + i, names[i]);
}

static void bench_bulk(void)
{
    static struct store_event events[BULK_BATCHES][BULK_EVENTS];
    static char names[BULK_BATCHES][BULK_EVENTS][32];
    struct store *store = open_store("bulk");
    int fd = open_reference(256 * 1024 * 1024);
    char *bytes = calloc(1, 1024 * 1024);
    int64_t ours = 0, theirs = 0, started;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    struct store_stats stats;
    uint64_t count = 0, at = 0, size;
    double rate, reference;

    for (int block = 0; block < BULK_BLOCKS; block++) {
        for (uint64_t i = 0; i < BULK_BATCHES; i++)
            make_batch(events[i], names[i], count + i * BULK_EVENTS);
        started = now_us();
        for (int i = 0; i < BULK_BATCHES; i++) {
            struct store_append append = {.events = events[i], .event_count = BULK_EVENTS};

            must(store_append(store, &append, &appended, &err) == BANYAN_OK, "append", &err);
        }
        ours += now_us() - started;
        count += BULK_BATCHES * BULK_EVENTS;
        store_stats(store, &stats);
        size = stats.log.bytes * BULK_EVENTS / count;
        started = now_us();
        for (int i = 0; i < BULK_BATCHES; i++, at += size)
            must(pwrite(fd, bytes, size, (off_t)at) == (ssize_t)size && fdatasync(fd) == 0, "reference", NULL);
        theirs += now_us() - started;
    }
    rate = (double)count * 1e6 / (double)ours;
    reference = (double)count * 1e6 / (double)theirs;
    report("append_bulk_1000", rate, "events/s", reference, rate / reference, 0.6);
    free(bytes);
    (void)close(fd);
    store_close(store);
}

/* Batches that are submitted ahead; what the store itself can do. */
static void bench_stream(void)
{
    static struct store_event events[BULK_BATCHES][BULK_EVENTS];
    static char names[BULK_BATCHES][BULK_EVENTS][32];
    struct store *store = open_store("many");
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended = {.repeated = false};
    int64_t ours = 0, started;
    uint64_t count = 0;

    while (count < 2000000) {
        for (uint64_t i = 0; i < BULK_BATCHES; i++)
            make_batch(events[i], names[i], count + i * BULK_EVENTS);
        started = now_us();
        for (int i = 0; i < BULK_BATCHES; i++) {
            struct store_append append = {.events = events[i], .event_count = BULK_EVENTS};

            must(store_submit(store, &append, &appended, &err) == BANYAN_OK, "submit", &err);
        }
        must(store_wait(store, appended.last, INT64_MAX, &err) == BANYAN_OK, "wait", &err);
        ours += now_us() - started;
        count += BULK_BATCHES * BULK_EVENTS;
    }
    report("append_bulk_submit_ahead", (double)count * 1e6 / (double)ours, "events/s", 0, 0, 0);
    store_close(store);
}

/* ---- many writers ---- */

struct writer {
    struct store *store;
    PGconn *conn;
    uint64_t number;
    int64_t *times;
};

static void write_events(void *argument)
{
    struct writer *writer = argument;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    char name[32];

    for (uint64_t i = 0; i < WRITER_APPENDS; i++) {
        struct store_event event = make_event(writer->number * WRITER_APPENDS + i, name);
        struct store_append append = {.events = &event, .event_count = 1};
        int64_t started = now_us();

        must(store_append(writer->store, &append, &appended, &err) == BANYAN_OK, "append", &err);
        writer->times[i] = now_us() - started;
    }
}

static void insert_rows(void *argument)
{
    struct writer *writer = argument;

    for (uint64_t i = 0; i < CLIENT_INSERTS; i++) {
        char id[BANYAN_UUID_TEXT_SIZE], stream[32], version[32];
        const char *values[] = {id, stream, version, payload};
        int64_t started = now_us();
        PGresult *result;

        banyan_uuid_format(os_uuid_new(), id);
        (void)snprintf(stream, sizeof(stream), "order-%llu-%llu", (unsigned long long)writer->number,
                       (unsigned long long)i % 1000);
        (void)snprintf(version, sizeof(version), "%llu", (unsigned long long)i);
        result = PQexecPrepared(writer->conn, "add", 4, values, NULL, NULL, 0);
        if (PQresultStatus(result) != PGRES_COMMAND_OK) {
            (void)fprintf(stderr, "insert: %s\n", PQerrorMessage(writer->conn));
            exit(1);
        }
        PQclear(result);
        writer->times[i] = now_us() - started;
    }
}

/* Run *count* threads; returns the operations a second, and the 99th percentile. */
static double run_writers(struct writer *writers, size_t count, uint64_t each, os_thread_main work, int64_t *ret_p99)
{
    int64_t *times = calloc(count * each, sizeof(*times)), took = now_us();
    struct os_thread threads[WRITERS] = {{.started = false}};

    for (size_t i = 0; i < count; i++) {
        writers[i].number = i;
        writers[i].times = times + i * each;
        os_thread_start(&threads[i], "writer", work, &writers[i]);
    }
    for (size_t i = 0; i < count; i++)
        os_thread_join(&threads[i]);
    took = now_us() - took;
    *ret_p99 = percentile(times, count * each, 990);
    free(times);
    return (double)(count * each) * 1e6 / (double)took;
}

static double run_inserts(int64_t *ret_p99)
{
    static struct writer writers[CLIENTS];
    static const char *const prepare[] = {
        "set client_min_messages = warning",
        "create table if not exists bench_events (position bigserial primary key, id uuid not null unique, "
        "stream text not null, version bigint not null, payload text not null, unique (stream, version))",
    };
    double rate;

    for (int i = 0; i < CLIENTS; i++) {
        writers[i].conn = PQconnectdb("");
        for (int s = 0; s < 2 && (i == 0 || s == 0); s++)
            PQclear(PQexec(writers[i].conn, prepare[s]));
        PQclear(PQprepare(writers[i].conn, "add",
                          "insert into bench_events (id, stream, version, payload) values ($1, $2, $3, $4)", 4, NULL));
    }
    rate = run_writers(writers, CLIENTS, CLIENT_INSERTS, insert_rows, ret_p99);
    PQclear(PQexec(writers[0].conn, "drop table bench_events"));
    for (int i = 0; i < CLIENTS; i++)
        PQfinish(writers[i].conn);
    return rate;
}

static void bench_writers(void)
{
    static struct writer writers[WRITERS];
    struct store *store = open_store("writers");
    int64_t p99, reference_p99 = 0;
    struct store_stats stats;
    double rate, reference = 0;

    for (int i = 0; i < WRITERS; i++)
        writers[i].store = store;
    rate = run_writers(writers, WRITERS, WRITER_APPENDS, write_events, &p99);
    store_stats(store, &stats);
    (void)fprintf(stderr, "%llu appends in %llu groups, flush %.0f us on average\n",
                  (unsigned long long)stats.log.records, (unsigned long long)stats.log.groups,
                  (double)stats.log.flush_us_total / (double)stats.log.groups);
    store_close(store);
    if (getenv("PGHOST") != NULL)
        reference = run_inserts(&reference_p99);
    report("append_64_writers", rate, "events/s", reference, reference > 0 ? rate / reference : 0,
           reference > 0 ? 10 : 0);
    report("append_64_writers_p99", (double)p99, "us", (double)reference_p99,
           reference > 0 ? (double)reference_p99 / (double)p99 : 0, reference > 0 ? 1 : 0);
}

/* ---- reading ---- */

static void bench_read(void)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    int64_t started = now_us(), took;
    struct store *store = open_store("many");
    struct store_reader *reader = store_reader_open(store);
    struct store_read_event event;
    uint64_t count = store_durable(store).value, sum = 0;

    took = now_us() - started;
    report("open_rebuild", (double)count * 1e6 / (double)took, "events/s", 0, 0, 2000000);
    started = now_us();
    while (store_reader_next(reader, &event, &err) == BANYAN_OK)
        sum += event.event.payload.size;
    took = now_us() - started;
    must(sum == count * PAYLOAD_BYTES, "sum", NULL);
    report("read_all_forward", (double)count * 1e6 / (double)took, "events/s", 0, 0, 5000000);
    store_reader_close(reader);
    store_close(store);
}

int main(void)
{
    memset(payload, 'p', PAYLOAD_BYTES);
    folder_make(folder);
    bench_one_writer();
    bench_bulk();
    bench_writers();
    bench_stream();
    bench_read();
    folder_remove(folder);
    return 0;
}
