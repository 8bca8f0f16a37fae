/* SPDX-License-Identifier: Apache-2.0 */
/* Archive marks, across a restart; segments that become cold below a store that is read and written. */
#include "store/archive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/clock.h"
#include "os/random.h"

enum {
    WAIT_US = 10000000,
};

static char folder[FOLDER_PATH_MAX];

static struct store *open_store(void)
{
    struct store *store = NULL;

    assert_int_equal(store_open(&(struct store_options){.folder = folder, .segment_bytes = 128 * 1024}, &store, NULL),
                     BANYAN_OK);
    return store;
}

static uint64_t append(struct store *store, const char *stream, size_t size)
{
    static char payload[4096];
    struct store_event event = {
        .id = os_uuid_new(), .stream = banyan_str_of(stream), .type = BANYAN_STR("T"), .payload = {payload, size}};
    struct store_appended appended;

    assert_int_equal(store_append(store, &(struct store_append){.events = &event, .event_count = 1}, &appended, NULL),
                     BANYAN_OK);
    return appended.last.value;
}

static void marks_are_kept(void **state)
{
    (void)state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_archive_mark mark;
    struct store *store;
    char name[STORE_STREAM_NAME_BYTES_MAX + 1];

    folder_make_quick(folder);
    store = open_store();
    (void)append(store, "order-1", 10);
    (void)append(store, "order-1", 10);
    assert_int_equal(store_archive_get(store, BANYAN_STR("order-1"), &mark, NULL), BANYAN_OK);
    assert_false(mark.marked);
    assert_int_equal(store_archive_set(store, BANYAN_STR("order-9"), (struct banyan_time){5}, &err), BANYAN_NOT_FOUND);
    assert_int_equal(store_archive_set(store, BANYAN_STR("order-1"), (struct banyan_time){1500000}, NULL), BANYAN_OK);
    store_close(store);
    store = open_store();
    assert_int_equal(store_archive_get(store, BANYAN_STR("order-1"), &mark, NULL), BANYAN_OK);
    assert_true(mark.marked);
    assert_int_equal(mark.from.us, 1500000);
    assert_int_equal(mark.version.value, 2);
    assert_int_equal(store_archive_set(store, BANYAN_STR("order-1"), (struct banyan_time){BANYAN_TIME_NULL}, NULL),
                     BANYAN_OK);
    assert_int_equal(store_archive_get(store, BANYAN_STR("order-1"), &mark, NULL), BANYAN_OK);
    assert_false(mark.marked);
    assert_int_equal(mark.version.value, 2);
    memset(name, 'x', sizeof(name));
    banyan_error_clear(&err);
    assert_int_equal(
        store_archive_set(store, (struct banyan_str){name, STORE_STREAM_NAME_BYTES_MAX}, (struct banyan_time){5}, &err),
        BANYAN_LIMIT);
    store_close(store);
    folder_remove(folder);
}

static void count_segments(void *context, const struct log_archived *segment)
{
    assert_true(segment->bytes_after < segment->bytes_before);
    ++*(uint64_t *)context;
}

static void old_segments_become_cold(void **state)
{
    (void)state;
    struct store *store;
    struct store_reader *reader;
    struct store_read_event event;
    struct log_archived archived;
    struct store_stats stats;
    uint64_t told = 0, limit = 0, last = 0;

    folder_make_quick(folder);
    store = open_store();
    for (int i = 0; i < 400; i++) {
        last = append(store, i % 2 == 0 ? "a-1" : "b-1", 2000);
        if (i == 250)
            limit = last;
    }
    reader = store_reader_open(store);
    assert_int_equal(store_reader_seek(reader, (struct banyan_position){1}, NULL), BANYAN_OK);
    assert_int_equal(store_reader_next(reader, &event, NULL), BANYAN_OK);
    /* A segment can be archived once its marks are in their file, which the flusher does when it has time. */
    int64_t until = os_clock_monotonic_us(os_clock_real()) + WAIT_US;
    while (told < 3 && os_clock_monotonic_us(os_clock_real()) < until) {
        uint64_t before = told;

        assert_int_equal(
            store_archive_segments(store, (struct banyan_position){limit}, count_segments, &told, &archived, NULL),
            BANYAN_OK);
        assert_int_equal(archived.segments, told - before);
        if (before == 0 && told > 0)
            assert_int_equal(archived.first_position, 1);
        assert_true(archived.last_position <= limit);
        os_clock_real()->sleep_us(os_clock_real(), 1000);
    }
    assert_true(told > 2);
    store_stats(store, &stats);
    assert_int_equal(stats.log.cold_segments, told);
    for (uint64_t position = 2; position <= last; position++) { /* with the file of before still open */
        assert_int_equal(store_reader_next(reader, &event, NULL), BANYAN_OK);
        assert_int_equal(event.position.value, position);
        assert_int_equal(event.event.payload.size, 2000);
    }
    store_reader_close(reader);
    store_close(store);
    store = open_store();
    reader = store_reader_open(store);
    assert_int_equal(store_reader_stream(reader, BANYAN_STR("b-1"), (struct banyan_version){0}, NULL), BANYAN_OK);
    for (uint64_t version = 1; version <= 200; version++) {
        assert_int_equal(store_reader_next(reader, &event, NULL), BANYAN_OK);
        assert_int_equal(event.version.value, version);
    }
    store_reader_close(reader);
    store_close(store);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_are_kept),
        cmocka_unit_test(old_segments_become_cold),
    };
    return cmocka_run_group_tests_name("store-archive", tests, NULL, NULL);
}
