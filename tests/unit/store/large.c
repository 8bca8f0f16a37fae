/* SPDX-License-Identifier: Apache-2.0 */
/* Events of the largest size, from many writers in bounded memory; and a store whose old segments are cold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/random.h"
#include "os/thread.h"
#include "store/store_int.h"
#include "store/verify.h"

enum {
    WRITERS = 16,
    WRITER_EVENTS = 3,
    WRITER_BYTES = 8 * 1024 * 1024,
};

static struct store *must_open(const char *folder, uint64_t segment_bytes)
{
    struct store_options options = {.folder = folder, .segment_bytes = segment_bytes};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store = NULL;

    if (store_open(&options, &store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return store;
}

static enum banyan_status append(struct store *store, uint64_t stream, struct banyan_str payload,
                                 struct store_appended *ret, struct banyan_error *err)
{
    char name[32];
    struct store_event event = {
        .id = os_uuid_new(),
        .stream = {name, (size_t)snprintf(name, sizeof(name), "large-%llu", (unsigned long long)stream)},
        .type = BANYAN_STR("Large"),
        .at = {1},
        .payload = payload,
    };

    return store_append(store, &(struct store_append){.events = &event, .event_count = 1}, ret, err);
}

/* 64 MiB fit, one byte more does not, and what was refused leaves nothing. */
static void test_limit(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char folder[FOLDER_PATH_MAX], *payload;
    struct store_read_event event;
    struct store_appended appended;
    struct store_reader *reader;
    struct store *store;

    (void)state;
    folder_make_quick(folder);
    payload = malloc(STORE_PAYLOAD_BYTES_MAX + 1u);
    for (size_t i = 0; i < STORE_PAYLOAD_BYTES_MAX + 1u; i += sizeof(i))
        memcpy(payload + i, &i, i + sizeof(i) <= STORE_PAYLOAD_BYTES_MAX + 1u ? sizeof(i) : 1);
    store = must_open(folder, 0);
    assert_int_equal(append(store, 1, (struct banyan_str){payload, STORE_PAYLOAD_BYTES_MAX + 1u}, &appended, &err),
                     BANYAN_LIMIT);
    assert_non_null(strstr(err.message, "67108865"));
    assert_int_equal(store_tail(store).value, 0);
    banyan_error_clear(&err);
    if (append(store, 1, (struct banyan_str){payload, STORE_PAYLOAD_BYTES_MAX}, &appended, &err) != BANYAN_OK ||
        append(store, 1, BANYAN_STR("small"), &appended, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    store_close(store);
    store = must_open(folder, 0);
    reader = store_reader_open(store);
    assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_OK);
    assert_int_equal(event.event.payload.size, STORE_PAYLOAD_BYTES_MAX);
    assert_memory_equal(event.event.payload.data, payload, STORE_PAYLOAD_BYTES_MAX);
    assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_OK);
    assert_int_equal(event.event.payload.size, 5);
    store_reader_close(reader);
    store_close(store);
    free(payload);
    folder_remove(folder);
}

/* ---- many writers of large events ---- */

static struct store *shared_store;
static char *shared_payload;
static uint64_t pending_max;

static void write_large(void *argument)
{
    uint64_t number = (uint64_t)(uintptr_t)argument;

    for (int i = 0; i < WRITER_EVENTS; i++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct store_appended appended;
        struct log_stats stats;
        uint64_t pending;

        if (append(shared_store, number, (struct banyan_str){shared_payload, WRITER_BYTES}, &appended, &err) !=
            BANYAN_OK)
            fail_msg("%s", err.message);
        log_stats(shared_store->log, &stats);
        pending = stats.pending_bytes;
        for (uint64_t was = __atomic_load_n(&pending_max, __ATOMIC_SEQ_CST);
             pending > was &&
             !__atomic_compare_exchange_n(&pending_max, &was, pending, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);)
            ;
    }
}

static void test_bounded(void **state)
{
    struct os_thread threads[WRITERS] = {{.started = false}};
    char folder[FOLDER_PATH_MAX];

    (void)state;
    folder_make_quick(folder);
    shared_payload = calloc(1, WRITER_BYTES);
    shared_store = must_open(folder, 0);
    for (uint64_t i = 0; i < WRITERS; i++)
        os_thread_start(&threads[i], "writer", write_large, (void *)(uintptr_t)i); // NOLINT
    for (uint64_t i = 0; i < WRITERS; i++)
        os_thread_join(&threads[i]);
    assert_int_equal(store_durable(shared_store).value, WRITERS * WRITER_EVENTS);
    /* The bound is soft by one event: all writers together never have more on its way. */
    assert_true(pending_max <= 32 * 1024 * 1024 + WRITER_BYTES + 65536);
    store_close(shared_store);
    free(shared_payload);
    folder_remove(folder);
}

/* ---- cold ---- */

static void test_cold(void **state)
{
    char folder[FOLDER_PATH_MAX], name[FOLDER_PATH_MAX + 32];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log_archived archived = {.segments = 1};
    struct store_verify_report report;
    struct store_appended appended;
    struct store_read_event event;
    struct store_reader *reader;
    struct store *store;
    char payload[400];
    uint64_t count = 0;

    (void)state;
    folder_make_quick(folder);
    store = must_open(folder, 64 * 1024);
    for (uint64_t i = 0; i < 1000; i++) {
        int size = snprintf(payload, sizeof(payload), "{\"number\":%llu,\"text\":\"%0200llu\"}", (unsigned long long)i,
                            (unsigned long long)i * 7919);

        assert_int_equal(append(store, i % 7, (struct banyan_str){payload, (size_t)size}, &appended, &err), BANYAN_OK);
    }
    store_close(store);
    store = must_open(folder, 64 * 1024); /* then all but the last segment can be archived */
    while (archived.segments > 0) {
        if (log_segment_archive(store->log, store_durable(store), &archived, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        count += archived.segments;
    }
    assert_true(count > 3);
    store_close(store);
    (void)snprintf(name, sizeof(name), "%s/index", folder); /* made anew from cold segments */
    folder_remove(name);
    store = must_open(folder, 64 * 1024);
    reader = store_reader_open(store);
    assert_int_equal(store_reader_stream(reader, BANYAN_STR("large-3"), (struct banyan_version){0}, &err), BANYAN_OK);
    for (uint64_t i = 3; i < 1000; i += 7) {
        int size = snprintf(payload, sizeof(payload), "{\"number\":%llu,\"text\":\"%0200llu\"}", (unsigned long long)i,
                            (unsigned long long)i * 7919);

        assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_OK);
        assert_int_equal(event.event.payload.size, size);
        assert_memory_equal(event.event.payload.data, payload, (size_t)size);
    }
    assert_int_equal(append(store, 3, BANYAN_STR("one more"), &appended, &err), BANYAN_OK);
    store_reader_close(reader);
    store_close(store);
    assert_int_equal(store_verify(&(struct store_verify_options){.folder = folder}, &report, &err), BANYAN_OK);
    assert_int_equal(report.log.damages, 0);
    assert_int_equal(report.log.records, 1001);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_cold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
