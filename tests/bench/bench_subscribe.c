/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers of a store; JSON lines on stdout.
 *
 *   subscribers_N    N subscriptions follow appends of 100,000 events a second; value: events delivered a second, the
 *                    reference is what was appended times N; on stderr how late they were
 *   filter_sparse    one event of 10,000, filtered, over 4 million; the reference is reading all of them
 *   stream_middle    one event out of the middle of a stream of 1 million, cold; value: µs
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../unit/log/folder.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"
#include "store/subscribe.h"

enum {
    SECOND_US = 1000000,
    TICK_US = 2000,
    TICK_EVENTS = 200, /* 100,000 a second */
    TICKS = 1500,
    SUBSCRIBERS_MAX = 100,
    LATE_STEPS = 20000, /* of 100 µs */
    SPARSE_EVENTS = 4000000,
    SPARSE = 10000,
    STREAM_EVENTS = 1000000,
    BATCH = 1000,
    PROBES = 400,
};

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

static struct store *open_store(const char *folder, const char *name)
{
    char path[FOLDER_PATH_MAX + 32];
    struct store_options options = {.folder = path};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store = NULL;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    must(store_open(&options, &store, &err) == BANYAN_OK, "open", &err);
    return store;
}

/* *count* events; every *rare*-th is of another type and category; *streams* 1: all in one stream. */
static void append(struct store *store, size_t count, uint64_t rare, unsigned streams)
{
    static struct store_event events[BATCH];
    static char names[BATCH][32], payload[120];
    struct store_append append = {.events = events, .event_count = count};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    uint64_t first = store_tail(store).value + 1;

    for (size_t i = 0; i < count; i++) {
        bool seldom = rare != 0 && (first + i) % rare == 0;
        struct banyan_str name = {names[i], (size_t)snprintf(names[i], 32, seldom ? "seldom-%llu" : "often-%llu",
                                                             (unsigned long long)((first + i) % streams))};

        events[i] = (struct store_event){.id = os_uuid_new(),
                                         .stream = name,
                                         .type = seldom ? BANYAN_STR("Rare") : BANYAN_STR("Usual"),
                                         .at = {now_us()},
                                         .payload = {payload, sizeof(payload)}};
    }
    must(store_submit(store, &append, &appended, &err) == BANYAN_OK, "append", &err);
}

/* ---- subscribers ---- */

struct subscriber {
    struct store *store;
    struct os_thread thread;
    uint64_t events;
    uint32_t *late; /* counts by 100 µs, owned */
};

static void subscribe(void *argument)
{
    struct subscriber *subscriber = argument;
    struct store_subscribe from = {.since = {BANYAN_TIME_NULL}};
    struct store_subscription *subscription = NULL;
    struct store_subscription_item item;
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t last = 0;

    must(store_subscription_open(subscriber->store, &from, &subscription, &err) == BANYAN_OK, "subscribe", &err);
    while (subscriber->events < (uint64_t)TICKS * TICK_EVENTS) {
        enum banyan_status status = store_subscription_next(subscription, SECOND_US, &item, &err);

        if (status == BANYAN_TIMEOUT)
            continue;
        must(status == BANYAN_OK, "next", &err);
        if (item.kind != STORE_SUBSCRIPTION_EVENT)
            continue;
        must(item.position.value == ++last, "in order", NULL);
        if (subscriber->events++ % 16 == 0) {
            int64_t step = (now_us() - item.event.event.at.us) / 100;

            subscriber->late[step < 0 ? 0 : step >= LATE_STEPS ? LATE_STEPS - 1 : step]++;
        }
    }
    store_subscription_close(subscription);
}

static double percentile_ms(const struct subscriber *subscribers, unsigned count, double part)
{
    uint64_t all = 0, seen = 0;

    for (unsigned i = 0; i < count; i++)
        for (int step = 0; step < LATE_STEPS; step++)
            all += subscribers[i].late[step];
    for (int step = 0; step < LATE_STEPS; step++) {
        for (unsigned i = 0; i < count; i++)
            seen += subscribers[i].late[step];
        if ((double)seen >= (double)all * part)
            return step / 10.0;
    }
    return LATE_STEPS / 10.0;
}

static void bench_subscribers(const char *folder, unsigned count)
{
    static struct subscriber subscribers[SUBSCRIBERS_MAX];
    char name[32];
    struct store *store;
    int64_t started, processor;

    (void)snprintf(name, sizeof(name), "subscribers_%u", count);
    store = open_store(folder, name);
    for (unsigned i = 0; i < count; i++) {
        subscribers[i] = (struct subscriber){.store = store, .late = calloc(LATE_STEPS, sizeof(uint32_t))};
        os_thread_start(&subscribers[i].thread, "subscriber", subscribe, &subscribers[i]);
    }
    processor = processor_us();
    started = now_us();
    for (int tick = 0; tick < TICKS; tick++) {
        int64_t early = started + (int64_t)tick * TICK_US - now_us();

        if (early > 0)
            os_clock_real()->sleep_us(os_clock_real(), early);
        append(store, TICK_EVENTS, 0, 1000);
    }
    int64_t appended_us = now_us() - started;
    for (unsigned i = 0; i < count; i++)
        os_thread_join(&subscribers[i].thread);
    int64_t took = now_us() - started;
    double events = (double)TICKS * TICK_EVENTS, rate = events * count * SECOND_US / (double)took;
    double wanted = events * count * SECOND_US / (double)appended_us;
    (void)printf("{\"name\":\"%s\",\"value\":%.0f,\"unit\":\"events/s\",\"reference\":%.0f,\"ratio\":%.3f,\"bar\":null,"
                 "\"ok\":null}\n",
                 name, rate, wanted, rate / wanted);
    (void)fflush(stdout);
    (void)fprintf(stderr,
                  "%s: %.0f appended/s; late p50 %.1f ms, p99 %.1f ms; %.2f µs of processor an event delivered\n", name,
                  events * SECOND_US / (double)appended_us, percentile_ms(subscribers, count, 0.5),
                  percentile_ms(subscribers, count, 0.99), (double)(processor_us() - processor) / events / count);
    for (unsigned i = 0; i < count; i++)
        free(subscribers[i].late);
    store_close(store);
}

/* ---- filters and streams ---- */

static int64_t time_read(struct store *store, const struct store_filter *filter, uint64_t *ret_events)
{
    struct store_reader *reader = store_reader_open(store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    int64_t started = now_us();

    *ret_events = 0;
    store_reader_filter(reader, filter);
    while (store_reader_next(reader, &event, &err) == BANYAN_OK)
        ++*ret_events;
    store_reader_close(reader);
    return now_us() - started;
}

static void bench_filter(const char *folder)
{
    struct store *store = open_store(folder, "filter");
    struct banyan_str type = BANYAN_STR("Rare");
    struct store_filter filter = {&type, 1, NULL, 0};
    struct banyan_error err = BANYAN_ERROR_INIT;
    int64_t all_us, sparse_us;
    uint64_t events;

    for (int i = 0; i < SPARSE_EVENTS / BATCH; i++)
        append(store, BATCH, SPARSE, 1000);
    must(store_wait(store, store_tail(store), INT64_MAX, &err) == BANYAN_OK, "wait", &err);
    all_us = time_read(store, NULL, &events);
    must(events == SPARSE_EVENTS, "all", NULL);
    sparse_us = time_read(store, &filter, &events);
    must(events == SPARSE_EVENTS / SPARSE, "sparse", NULL);
    (void)printf("{\"name\":\"filter_sparse\",\"value\":%.1f,\"unit\":\"ms\",\"reference\":%.1f,\"ratio\":%.3f,"
                 "\"bar\":null,\"ok\":null}\n",
                 (double)sparse_us / 1000, (double)all_us / 1000, (double)all_us / (double)sparse_us);
    (void)fflush(stdout);
    store_close(store);
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void bench_stream(const char *folder)
{
    struct store *store = open_store(folder, "stream");
    struct banyan_error err = BANYAN_ERROR_INIT;
    int64_t forward[PROBES], backward[PROBES];
    struct store_read_event event;
    struct os_random random;

    os_random_seed(&random, 1);
    for (int i = 0; i < STREAM_EVENTS / BATCH; i++)
        append(store, BATCH, 0, 1);
    must(store_wait(store, store_tail(store), INT64_MAX, &err) == BANYAN_OK, "wait", &err);
    for (int i = 0; i < PROBES; i++) {
        struct banyan_version version = {STREAM_EVENTS / 4 + os_random_below(&random, STREAM_EVENTS / 2)};

        for (int back = 0; back < 2; back++) {
            struct store_reader *reader = store_reader_open(store);
            int64_t started = now_us();

            must((back ? store_reader_stream_backward : store_reader_stream)(reader, BANYAN_STR("often-0"), version,
                                                                             &err) == BANYAN_OK &&
                     store_reader_next(reader, &event, &err) == BANYAN_OK && event.version.value == version.value,
                 "stream", &err);
            (back ? backward : forward)[i] = now_us() - started;
            store_reader_close(reader);
        }
    }
    qsort(forward, PROBES, sizeof(forward[0]), compare_times);
    qsort(backward, PROBES, sizeof(backward[0]), compare_times);
    (void)printf("{\"name\":\"stream_middle_p50\",\"value\":%lld,\"unit\":\"us\",\"reference\":%lld,\"ratio\":null,"
                 "\"bar\":null,\"ok\":null}\n",
                 (long long)backward[PROBES / 2], (long long)forward[PROBES / 2]);
    (void)fprintf(stderr, "stream_middle: one event %lld µs, the first of 256 to come %lld µs (p99 %lld, %lld)\n",
                  (long long)backward[PROBES / 2], (long long)forward[PROBES / 2],
                  (long long)backward[PROBES * 99 / 100], (long long)forward[PROBES * 99 / 100]);
    store_close(store);
}

int main(void)
{
    char folder[FOLDER_PATH_MAX];

    folder_make(folder);
    bench_stream(folder);
    bench_subscribers(folder, 1);
    bench_subscribers(folder, 10);
    bench_subscribers(folder, 100);
    bench_filter(folder);
    folder_remove(folder);
    return 0;
}
