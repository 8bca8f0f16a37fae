/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing and asking a store: one writer, readers beside it, what survives. */
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

static struct store *must_open(const char *folder, bool read_only)
{
    struct store_options options = {.folder = folder, .read_only = read_only, .segment_bytes = 256 * 1024};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store = NULL;

    if (store_open(&options, &store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return store;
}

static struct store_event event_of(const char *stream, const char *payload)
{
    return (struct store_event){
        .id = os_uuid_new(),
        .stream = banyan_str_of(stream),
        .type = BANYAN_STR("Happened"),
        .schema = 3,
        .provenance = BANYAN_INFERRED,
        .at = {1234567890},
        .payload = banyan_str_of(payload),
        .meta = BANYAN_STR("{\"a\":1}"),
    };
}

static void must_append(struct store *store, const char *stream, const char *payload)
{
    struct store_event event = event_of(stream, payload);
    struct store_append append = {.events = &event, .event_count = 1};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;

    if (store_append(store, &append, &appended, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void test_first_event(void **state)
{
    struct store_event event = event_of("order-1", "{}");
    struct store_condition absent = {.stream = event.stream, .expect = STORE_EXPECT_ABSENT};
    struct store_append append = {
        .events = &event,
        .event_count = 1,
        .conditions = &absent,
        .condition_count = 1,
        .cursor = {BANYAN_STR("wal"), BANYAN_STR("0/1")},
    };
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct store_appended appended;
    struct store_read_event got;
    struct store_reader *reader;
    char folder[FOLDER_PATH_MAX];
    struct store *store;

    (void)state;
    folder_make(folder);
    store = must_open(folder, false);
    assert_int_equal(store_append(store, &append, &appended, &err), BANYAN_OK);
    assert_int_equal(appended.first.value, 1);
    assert_false(appended.repeated);
    assert_int_equal(store_append(store, &append, &appended, &err), BANYAN_OK);
    assert_int_equal(appended.last.value, 1);
    assert_true(appended.repeated);
    store_close(store);

    store = must_open(folder, false);
    assert_int_equal(head_version(store, event.stream), 1);
    assert_int_equal(head_version(store, BANYAN_STR("order-2")), 0);
    assert_true(banyan_str_equal(store_cursor(store, BANYAN_STR("wal"), &arena), BANYAN_STR("0/1")));
    assert_null(store_cursor(store, BANYAN_STR("none"), &arena).data);
    reader = store_reader_open(store);
    assert_int_equal(store_reader_stream(reader, BANYAN_STR("order-2"), (struct banyan_version){0}, &err),
                     BANYAN_NOT_FOUND);
    banyan_error_clear(&err);
    assert_int_equal(store_reader_stream(reader, event.stream, (struct banyan_version){0}, &err), BANYAN_OK);
    assert_int_equal(store_reader_next(reader, &got, &err), BANYAN_OK);
    assert_memory_equal(&got.event.id, &event.id, sizeof(event.id));
    assert_true(banyan_str_equal(got.event.stream, event.stream));
    assert_true(banyan_str_equal(got.event.type, event.type));
    assert_true(banyan_str_equal(got.event.payload, event.payload));
    assert_true(banyan_str_equal(got.event.meta, event.meta));
    assert_true(banyan_str_equal(got.cursor.value, BANYAN_STR("0/1")));
    assert_int_equal(got.event.schema, 3);
    assert_int_equal(got.event.provenance, BANYAN_INFERRED);
    assert_int_equal(got.event.at.us, 1234567890);
    assert_int_equal(got.version.value, 1);
    assert_true(got.ends_batch);
    assert_int_equal(store_reader_next(reader, &got, &err), BANYAN_NOT_FOUND);
    store_reader_close(reader);
    store_close(store);
    banyan_arena_release(&arena);
    folder_remove(folder);
}

static void test_one_writer(void **state)
{
    struct store_options options;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store, *second = NULL, *beside;
    char folder[FOLDER_PATH_MAX];
    struct stat info;

    (void)state;
    folder_make(folder);
    options = (struct store_options){.folder = folder};
    store = must_open(folder, false);
    must_append(store, "a-1", "x");
    assert_int_equal(store_open(&options, &second, &err), BANYAN_BUSY);
    assert_true(err.hint[0] != 0);
    beside = must_open(folder, true);
    assert_int_equal(store_durable(beside).value, 1);
    must_append(store, "a-1", "y");
    assert_int_equal(store_durable(beside).value, 1); /* what was durable at open */
    {
        struct store_event event = event_of("a-1", "z");
        struct store_append append = {.events = &event, .event_count = 1};
        struct store_appended appended;

        assert_int_equal(store_append(beside, &append, &appended, NULL), BANYAN_INVALID);
        assert_int_equal(store_batch_begin(beside, NULL), BANYAN_INVALID);
    }
    store_close(beside);
    store_close(store);
    store = must_open(folder, false);
    assert_int_equal(store_durable(store).value, 2);
    store_close(store);
    assert_int_equal(stat(folder, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_event),
        cmocka_unit_test(test_one_writer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
