/* SPDX-License-Identifier: Apache-2.0 */
/* A store on a bad disk, and a batch larger than the memory that it may use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/random.h"
#include "store/store.h"
#include "support/head_version.h"

enum {
    APPEND_EVENTS = 5,
    BATCH_EVENTS = 300000,
    BATCH_PAYLOAD = 1000,
    MEMORY_KIB_MAX = 128 * 1024, /* of a batch of 300 MB: index and what waits for the disk */
};

static struct store *must_open(const char *folder, struct os_files *files)
{
    struct store_options options = {.folder = folder, .files = files, .segment_bytes = 64 * 1024};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store = NULL;

    if (store_open(&options, &store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return store;
}

static void make_events(struct store_event events[APPEND_EVENTS], struct banyan_str stream)
{
    static char payload[400];

    memset(payload, 'x', sizeof(payload));
    for (int i = 0; i < APPEND_EVENTS; i++) {
        events[i] = (struct store_event){
            .id = os_uuid_new(), .stream = stream, .type = BANYAN_STR("T"), .payload = {payload, sizeof(payload)}};
    }
}

/* Each event is in its stream once, whatever was repeated on the way. */
static void check_dense(struct store *store, uint64_t events)
{
    struct store_reader *reader = store_reader_open(store);
    struct store_read_event event;
    uint64_t count = 0;

    while (store_reader_next(reader, &event, NULL) == BANYAN_OK) {
        count++;
        assert_int_equal(event.position.value, count);
        assert_int_equal(event.version.value, count);
    }
    assert_int_equal(count, events);
    store_reader_close(reader);
}

/* An append that meets a full disk is repeated until it succeeds: it is there once, the stream has no gap. */
static void test_disk_full(void **state)
{
    struct store_event events[APPEND_EVENTS];
    struct os_files_test files;
    struct os_random random;
    char folder[FOLDER_PATH_MAX];
    uint64_t refused = 0, appends = 0;
    struct store *store;

    (void)state;
    os_random_seed(&random, test_seed());
    folder_make_quick(folder);
    os_files_test_init(&files);
    store = must_open(folder, &files.base);
    for (int round = 0; round < 300; round++) {
        struct store_condition condition = {BANYAN_STR("s-1"), STORE_EXPECT_VERSION, {appends * APPEND_EVENTS}};
        struct store_append append = {
            .events = events, .event_count = APPEND_EVENTS, .conditions = &condition, .condition_count = 1};
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct store_appended appended;
        enum banyan_status status;

        make_events(events, BANYAN_STR("s-1"));
        __atomic_store_n(&files.bytes_left, os_random_below(&random, 6000), __ATOMIC_SEQ_CST);
        status = store_append(store, &append, &appended, &err);
        __atomic_store_n(&files.bytes_left, UINT64_MAX, __ATOMIC_SEQ_CST);
        if (status != BANYAN_OK) {
            assert_int_equal(status, BANYAN_NO_SPACE);
            assert_true(err.hint[0] != 0);
            assert_int_equal(store_health(store, NULL), BANYAN_OK);
            refused++;
            assert_int_equal(store_append(store, &append, &appended, NULL), BANYAN_OK);
        }
        appends++;
        assert_int_equal(appended.last.value, appends * APPEND_EVENTS);
        if (round % 50 == 49) {
            store_close(store);
            store = must_open(folder, &files.base);
        }
    }
    assert_true(refused > 10);
    check_dense(store, appends * APPEND_EVENTS);
    store_close(store);
    folder_remove(folder);
}

/* A batch that meets a full disk is given up and leaves nothing, in memory or on the disk. */
static void test_batch_on_full_disk(void **state)
{
    struct store_event events[APPEND_EVENTS];
    struct store_append append = {.events = events, .event_count = APPEND_EVENTS};
    struct os_files_test files;
    struct os_random random;
    char folder[FOLDER_PATH_MAX];
    struct store *store;

    (void)state;
    os_random_seed(&random, test_seed());
    folder_make_quick(folder);
    os_files_test_init(&files);
    store = must_open(folder, &files.base);
    for (uint64_t round = 0; round < 20; round++) {
        struct store_appended appended;
        enum banyan_status status;

        __atomic_store_n(&files.bytes_left, os_random_below(&random, 1000000), __ATOMIC_SEQ_CST);
        status = store_batch_begin(store, NULL);
        assert_int_equal(status, BANYAN_OK);
        while (status == BANYAN_OK) { /* until it is full */
            make_events(events, BANYAN_STR("s-1"));
            status = store_batch_add(store, &events[0], NULL);
        }
        assert_int_equal(status, BANYAN_NO_SPACE);
        store_batch_abort(store);
        __atomic_store_n(&files.bytes_left, UINT64_MAX, __ATOMIC_SEQ_CST);
        assert_int_equal(store_tail(store).value, round * APPEND_EVENTS);
        assert_int_equal(head_version(store, BANYAN_STR("s-1")), round * APPEND_EVENTS);
        make_events(events, BANYAN_STR("s-1"));
        assert_int_equal(store_append(store, &append, &appended, NULL), BANYAN_OK);
        if (round % 5 == 4) {
            store_close(store);
            store = must_open(folder, &files.base);
        }
    }
    check_dense(store, 20 * APPEND_EVENTS);
    store_close(store);
    folder_remove(folder);
}

static void test_failed_flush(void **state)
{
    struct store_event events[APPEND_EVENTS];
    struct store_append append = {.events = events, .event_count = APPEND_EVENTS};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    struct os_files_test files;
    char folder[FOLDER_PATH_MAX];
    struct store *store;

    (void)state;
    folder_make_quick(folder);
    os_files_test_init(&files);
    store = must_open(folder, &files.base);
    make_events(events, BANYAN_STR("s-1"));
    assert_int_equal(store_append(store, &append, &appended, &err), BANYAN_OK);
    files.sync_fails_at = files.syncs + 1;
    make_events(events, BANYAN_STR("s-1"));
    assert_int_equal(store_append(store, &append, &appended, &err), BANYAN_BROKEN);
    assert_true(err.hint[0] != 0);
    assert_int_equal(store_append(store, &append, &appended, NULL), BANYAN_BROKEN); /* for ever, not once */
    assert_int_equal(store_batch_begin(store, NULL), BANYAN_BROKEN);
    assert_int_equal(store_health(store, NULL), BANYAN_BROKEN);
    check_dense(store, APPEND_EVENTS); /* what is durable is still read */
    store_close(store);
    store = must_open(folder, NULL);
    assert_true(store_durable(store).value >= APPEND_EVENTS);
    assert_int_equal(store_append(store, &append, &appended, NULL), BANYAN_OK); /* the unsure one is settled */
    check_dense(store, 2 * APPEND_EVENTS);
    store_close(store);
    folder_remove(folder);
}

/* Peak resident memory of this process so far. */
static long memory_kib(void)
{
    char line[200];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "re");

    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    }
    (void)fclose(file);
    return kib;
}

static void test_batch_larger_than_memory(void **state)
{
    static char payload[BATCH_PAYLOAD];
    struct store_options options = {.segment_bytes = 0};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    struct store_appended appended;
    struct store_reader *reader;
    char folder[FOLDER_PATH_MAX], name[32];
    struct store *store;
    uint64_t count = 0;
    long before;

    (void)state;
    folder_make_quick(folder);
    options.folder = folder;
    assert_int_equal(store_open(&options, &store, &err), BANYAN_OK);
    before = memory_kib();
    assert_int_equal(store_batch_begin(store, &err), BANYAN_OK);
    for (int i = 0; i < BATCH_EVENTS; i++) {
        struct store_event added = {
            .id = os_uuid_new(),
            .stream = {name, (size_t)snprintf(name, sizeof(name), "s-%d", i % 5000)},
            .type = BANYAN_STR("T"),
            .payload = {payload, sizeof(payload)},
        };

        if (store_batch_add(store, &added, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
    }
    assert_int_equal(store_durable(store).value, 0);
    assert_int_equal(
        store_batch_commit(store, (struct store_cursor){BANYAN_STR("c"), BANYAN_STR("v")}, &appended, &err), BANYAN_OK);
    reader = store_reader_open(store);
    while (store_reader_next(reader, &event, &err) == BANYAN_OK) {
        count++;
        assert_int_equal(event.ends_batch, count == BATCH_EVENTS);
        assert_int_equal(event.cursor.value.size, count == BATCH_EVENTS ? 1 : 0);
    }
    assert_int_equal(count, BATCH_EVENTS);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (memory_kib() - before > MEMORY_KIB_MAX)
        fail_msg("the batch took %ld KiB", memory_kib() - before);
#else
    (void)before; /* sanitizers keep freed memory */
#endif
    store_reader_close(reader);
    store_close(store);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_batch_on_full_disk),
        cmocka_unit_test(test_failed_flush),
        cmocka_unit_test(test_batch_larger_than_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
