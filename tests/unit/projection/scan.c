/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many readers over one scan: each sees what it wants, in order, once, wherever it begins and whatever the others do.
 *
 * "scan measure EVENTS" compares the processor time of 8 projections over one scan with that of 8 scans.
 */
#include "projection/scan.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "os/clock.h"
#include "os/thread.h"
#include "projection/engine.h"
#include "sink/sinks.h"
#include "support/test_domain.h"

enum {
    READERS = 6,
    LIMIT_US = 60 * 1000 * 1000,
};

struct walker {
    struct os_thread thread;
    struct scan *scan;
    struct store *store;
    struct store_filter filter;
    bool filtered;
    uint64_t from, until; /* positions */
    uint64_t seed;
    uint64_t given; /* events */
    uint64_t wrong; /* position at which it saw something else; 0: none */
};

/* Slow at times, so that readers lose the ring and find it again. */
static void dawdle(struct os_random *random)
{
    if (os_random_below(random, 2000) == 0)
        os_clock_real()->sleep_us(os_clock_real(), (int64_t)os_random_below(random, 5000));
}

/* Compare what the scan gives with what a reader of its own finds. */
static void walk(void *argument)
{
    struct walker *walker = argument;
    struct scan_reader *reader = scan_reader_open(walker->scan, walker->filtered ? &walker->filter : NULL);
    struct store_reader *plain = store_reader_open(walker->store);
    struct os_random random;
    os_random_seed(&random, walker->seed);
    if (scan_reader_seek(reader, (struct banyan_position){walker->from}, NULL) != BANYAN_OK)
        abort();
    uint64_t passed = walker->from - 1;
    while (passed < walker->until && walker->wrong == 0) {
        struct store_read_event event, wanted;
        enum banyan_status st = scan_reader_next(reader, !walker->filtered, &event, NULL);
        if (st == BANYAN_NOT_FOUND) {
            if (scan_reader_passed(reader).value >= walker->until)
                break;
            st = scan_reader_wait(reader, 1000 * 1000, NULL);
            passed = passed > scan_reader_passed(reader).value ? passed : scan_reader_passed(reader).value;
            continue;
        }
        if (st != BANYAN_OK || event.position.value <= passed)
            abort();
        if (!walker->filtered && event.position.value != passed + 1)
            walker->wrong = event.position.value;
        /* All events in between must be unwanted. */
        if (store_reader_seek(plain, (struct banyan_position){passed + 1}, NULL) != BANYAN_OK)
            abort();
        if (walker->filtered)
            store_reader_filter(plain, &walker->filter);
        st = store_reader_next(plain, &wanted, NULL);
        if (st == BANYAN_NOT_FOUND)
            wanted.position.value = UINT64_MAX; /* what it was given is not wanted, nor is what follows */
        else if (st != BANYAN_OK)
            abort();
        if (wanted.position.value < event.position.value)
            walker->wrong = wanted.position.value;
        if (wanted.position.value == event.position.value &&
            (!banyan_uuid_equal(wanted.event.id, event.event.id) ||
             !banyan_str_equal(wanted.event.payload, event.event.payload) ||
             !banyan_str_equal(wanted.event.stream, event.event.stream) || wanted.ends_batch != event.ends_batch))
            walker->wrong = event.position.value;
        passed = event.position.value;
        walker->given++;
        dawdle(&random);
    }
    store_reader_close(plain);
    scan_reader_close(reader);
}

static struct store *open_store(const char *folder)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store = NULL;
    char path[256];
    snprintf(path, sizeof(path), "%s/store", folder);
    if (store_open(&(struct store_options){.folder = path}, &store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return store;
}

static void each_reader_sees_what_it_wants(void **state)
{
    char *folder = test_folder_new();
    struct store *store = open_store(folder);
    struct scan *scan = scan_new(store);
    struct os_random random;
    static struct walker walkers[READERS];
    static const struct banyan_str types[] = {{"Purged", 6}};
    struct scan_stats stats;
    os_random_seed(&random, test_seed());
    test_append_random(store, &random, 30000, 300);
    for (size_t i = 0; i < READERS; i++) {
        walkers[i] = (struct walker){
            .scan = scan,
            .store = store,
            .filter = {.types = types, .type_count = 1},
            .filtered = i % 3 == 2,
            .from = i < 2 ? 1 : 1 + os_random_below(&random, 30001),
            .until = 40000,
            .seed = os_random_next(&random),
        };
        os_thread_start(&walkers[i].thread, "walk", walk, &walkers[i]);
    }
    for (size_t done = 0; done < 10000; done += 250)
        test_append_random(store, &random, 250, 300);
    for (size_t i = 0; i < READERS; i++) {
        os_thread_join(&walkers[i].thread);
        assert_int_equal(walkers[i].wrong, 0);
        if (!walkers[i].filtered)
            assert_int_equal(walkers[i].given, 40001 - walkers[i].from);
    }
    scan_stats(scan, &stats);
    assert_true(stats.shared > stats.events); /* else nothing was gained */
    scan_free(scan);
    store_close(store);
    test_folder_remove(folder);
}

/* A wait ends when it is told to, long before its time. */
struct sleeper {
    struct os_thread thread;
    struct scan_reader *reader;
    int64_t took_us;
};

static void sleep_at_end(void *argument)
{
    struct sleeper *sleeper = argument;
    int64_t began = os_clock_monotonic_us(os_clock_real());
    if (scan_reader_wait(sleeper->reader, LIMIT_US, NULL) != BANYAN_OK)
        abort();
    sleeper->took_us = os_clock_monotonic_us(os_clock_real()) - began;
}

static void a_wait_can_be_ended(void **state)
{
    char *folder = test_folder_new();
    struct store *store = open_store(folder);
    struct scan *scan = scan_new(store);
    struct sleeper sleepers[3];
    struct os_random random;
    os_random_seed(&random, test_seed());
    test_append_random(store, &random, 10, 3);
    for (size_t i = 0; i < 3; i++) {
        sleepers[i] = (struct sleeper){.reader = scan_reader_open(scan, NULL)};
        assert_int_equal(scan_reader_seek(sleepers[i].reader, (struct banyan_position){11}, NULL), BANYAN_OK);
        assert_int_equal(scan_reader_seek(sleepers[i].reader, (struct banyan_position){12}, NULL), BANYAN_INVALID);
        assert_int_equal(scan_reader_seek(sleepers[i].reader, (struct banyan_position){11}, NULL), BANYAN_OK);
        os_thread_start(&sleepers[i].thread, "sleep", sleep_at_end, &sleepers[i]);
    }
    scan_reader_wake(sleepers[0].reader);
    os_thread_join(&sleepers[0].thread); /* whether it led or followed */
    scan_reader_wake(sleepers[1].reader);
    os_thread_join(&sleepers[1].thread);
    test_append_random(store, &random, 1, 3);
    os_thread_join(&sleepers[2].thread); /* somebody has to lead still */
    for (size_t i = 0; i < 3; i++) {
        assert_true(sleepers[i].took_us < LIMIT_US / 2);
        scan_reader_close(sleepers[i].reader);
    }
    scan_free(scan);
    store_close(store);
    test_folder_remove(folder);
}

/* ---- measuring ---- */

enum {
    VIEWS = 8,
};

static double processor_seconds(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage); /* it cannot fail */
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* VIEWS projections in *engines* engines; each wants all events or, where *sparse*, one in twenty. */
static void measure(struct store *store, size_t engines, bool sparse, uint64_t (*cursor)(struct store_cursor))
{
    static const unsigned types[] = {TEST_PURGED};
    struct banyan_projection specs[VIEWS];
    struct projections *all[VIEWS];
    char names[VIEWS][8];
    struct os_stop stop;
    struct banyan_error err = BANYAN_ERROR_INIT;
    double began = processor_seconds();
    int64_t began_us = os_clock_monotonic_us(os_clock_real());
    if (os_stop_open(&stop, &err) != BANYAN_OK)
        abort();
    for (size_t i = 0; i < engines; i++)
        all[i] = projections_new(&(struct projections_options){
            .domain = &test_domain, .store = store, .stop = &stop, .held = true, .cursor_lsn = cursor});
    for (size_t i = 0; i < VIEWS; i++) {
        struct sink_home *home = NULL;
        specs[i] = test_projections[1];
        specs[i].types = sparse ? types : NULL;
        specs[i].type_count = sparse ? 1 : 0;
        snprintf(names[i], sizeof(names[i]), "v%zu", i);
        if (sink_memory_home(&specs[i], &home, &err) != BANYAN_OK ||
            projections_add(all[i % engines],
                            &(struct projection_options){.name = names[i], .projection = &specs[i], .home = home},
                            &err) != BANYAN_OK)
            abort();
    }
    for (size_t i = 0; i < VIEWS; i++)
        if (projections_wait(all[i % engines], i / engines, store_tail(store), LIMIT_US * 10, &err) != BANYAN_OK)
            abort();
    double took = processor_seconds() - began;
    printf("%d projections, %zu scan(s), %s%s: %.2f s of processor, %.2f s\n", VIEWS, engines,
           sparse ? "1 event in 20 wanted" : "all events wanted", cursor != NULL ? ", nothing left out" : "", took,
           (double)(os_clock_monotonic_us(os_clock_real()) - began_us) / 1e6);
    os_stop_request(&stop);
    for (size_t i = 0; i < engines; i++)
        projections_free(all[i]);
    os_stop_close(&stop);
}

static uint64_t no_lsn(struct store_cursor cursor)
{
    return 0;
}

static void measure_all(size_t events)
{
    char *folder = test_folder_new();
    struct store *store = open_store(folder);
    struct os_random random;
    os_random_seed(&random, 1);
    test_append_random(store, &random, events, 3000);
    for (int sparse = 0; sparse < 2; sparse++)
        for (int round = 0; round < 2; round++) {
            measure(store, VIEWS, sparse != 0, no_lsn);
            measure(store, 1, sparse != 0, no_lsn);
        }
    store_close(store);
    test_folder_remove(folder);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "measure") == 0) {
        measure_all(strtoul(argv[2], NULL, 10));
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reader_sees_what_it_wants),
        cmocka_unit_test(a_wait_can_be_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
