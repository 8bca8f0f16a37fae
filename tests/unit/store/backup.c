/* SPDX-License-Identifier: Apache-2.0 */
/* Backups while the store is written to, backups on top of older ones, restores to any position or time, deaths between
 * any two steps. */
#include "store/backup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/random_event.h"
#include "../../support/seed.h"
#include "../log/folder.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "os/random.h"
#include "store/verify.h"

enum {
    SEGMENT_BYTES = 256 * 1024,
    STREAMS = 20,
    PAYLOAD_BYTES = 3000,
};

struct place {
    char folder[FOLDER_PATH_MAX];
    char *store, *backup, *restored; /* owned */
    struct os_random random;
    struct os_clock_test clock;
    struct store *open;
};

static void make_place(struct place *place, const char *test)
{
    *place = (struct place){.open = NULL};
    seed_start(&place->random, test);
    folder_make_quick(place->folder);
    place->store = alloc_path(place->folder, "store");
    place->backup = alloc_path(place->folder, "backup");
    place->restored = alloc_path(place->folder, "restored");
    os_clock_test_init(&place->clock, (struct banyan_time){1000000});
}

static struct store *open_store(struct place *place, const char *folder, bool read_only)
{
    struct store_options options = {
        .folder = folder, .clock = &place->clock.base, .segment_bytes = SEGMENT_BYTES, .read_only = read_only};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store = NULL;

    if (store_open(&options, &store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return store;
}

static void remove_place(struct place *place)
{
    store_close(place->open);
    free(place->store);
    free(place->backup);
    free(place->restored);
    folder_remove(place->folder);
}

static struct store_event any_event(struct place *place, const char *payload, char *name)
{
    (void)snprintf(name, 16, "s-%u", (unsigned)os_random_below(&place->random, STREAMS));
    return (struct store_event){
        .id = os_uuid_new(),
        .stream = banyan_str_of(name),
        .type = BANYAN_STR("T"),
        .at = {(int64_t)os_random_below(&place->random, 1000)},
        .payload = {payload, os_random_below(&place->random, PAYLOAD_BYTES)},
    };
}

/* Append a batch of some events; now and then a large one, or one with a cursor. */
static void append_some(struct place *place)
{
    static char payload[PAYLOAD_BYTES];
    uint64_t count = 1 + os_random_below(&place->random, 5);
    struct store_cursor cursor = {{NULL, 0}, {NULL, 0}};
    struct store_event events[5];
    struct store_appended appended;
    char names[5][16], name[16];

    os_clock_test_move(&place->clock, (int64_t)os_random_below(&place->random, 3000));
    if (os_random_below(&place->random, 20) == 0) {
        count = os_random_below(&place->random, 300);
        assert_int_equal(store_batch_begin(place->open, NULL), BANYAN_OK);
        for (uint64_t i = 0; i <= count; i++) {
            struct store_event event = any_event(place, payload, name);
            assert_int_equal(store_batch_add(place->open, &event, NULL), BANYAN_OK);
        }
        assert_int_equal(store_batch_commit(place->open, cursor, &appended, NULL), BANYAN_OK);
        return;
    }
    for (uint64_t i = 0; i < count; i++)
        events[i] = any_event(place, payload, names[i]);
    if (os_random_below(&place->random, 3) == 0) {
        cursor.name = BANYAN_STR("source");
        cursor.value = BANYAN_STR("17/4");
    }
    assert_int_equal(store_append(place->open,
                                  &(struct store_append){.events = events, .event_count = count, .cursor = cursor},
                                  &appended, NULL),
                     BANYAN_OK);
}

/* The store in *folder* holds the events of the open one up to *last*, and is sound. */
static void assert_copy(struct place *place, const char *folder, uint64_t last)
{
    struct store *copy = open_store(place, folder, true);
    struct store_reader *expected = store_reader_open(place->open), *got = store_reader_open(copy);
    struct store_read_event a, b;

    assert_int_equal(store_durable(copy).value, last);
    assert_int_equal(store_reader_seek(expected, (struct banyan_position){1}, NULL), BANYAN_OK);
    assert_int_equal(store_reader_seek(got, (struct banyan_position){1}, NULL), BANYAN_OK);
    for (uint64_t i = 1; i <= last; i++) {
        assert_int_equal(store_reader_next(expected, &a, NULL), BANYAN_OK);
        assert_int_equal(store_reader_next(got, &b, NULL), BANYAN_OK);
        assert_same_event(&a, &b);
    }
    assert_int_equal(store_reader_next(got, &b, NULL), BANYAN_NOT_FOUND);
    store_reader_close(expected);
    store_reader_close(got);
    store_close(copy);
}

/* The end of the last whole batch up to *position*, and the first position recorded at or after *time*. */
static uint64_t last_batch(struct place *place, uint64_t position)
{
    struct store_reader *reader = store_reader_open(place->open);
    struct store_read_event event;
    uint64_t last = 0;

    assert_int_equal(store_reader_seek(reader, (struct banyan_position){1}, NULL), BANYAN_OK);
    while (store_reader_next(reader, &event, NULL) == BANYAN_OK && event.position.value <= position) {
        if (event.ends_batch)
            last = event.position.value;
    }
    store_reader_close(reader);
    return last;
}

static void backups_follow_a_store(void **state)
{
    (void)state;
    struct place place;
    struct log_copied copied;
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t linked = 0, present = 0;

    make_place(&place, "backup");
    place.open = open_store(&place, place.store, false);
    for (unsigned round = 0; round < seed_rounds(12); round++) {
        struct store_copy_options options = {
            .from = place.store, .to = place.backup, .link = os_random_below(&place.random, 2) == 0};

        for (uint64_t i = os_random_below(&place.random, 150) + 1; i > 0; i--)
            append_some(&place);
        if (os_random_below(&place.random, 4) == 0) {
            store_close(place.open);
            place.open = open_store(&place, place.store, false);
        }
        if (store_backup(&options, &copied, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        assert_int_equal(copied.last.value, store_durable(place.open).value);
        assert_copy(&place, place.backup, copied.last.value);
        linked += copied.linked;
        present += copied.present;
    }
    assert_true(linked > 0);
    assert_true(present > 0);
    remove_place(&place);
}

static void restores_end_where_they_should(void **state)
{
    (void)state;
    struct place place;
    struct log_copied copied;
    struct banyan_error err = BANYAN_ERROR_INIT;

    make_place(&place, "restore");
    place.open = open_store(&place, place.store, false);
    for (int i = 0; i < 400; i++)
        append_some(&place);
    for (unsigned round = 0; round < seed_rounds(25); round++) {
        uint64_t durable = store_durable(place.open).value, wanted = 1 + os_random_below(&place.random, durable);
        struct store_copy_options options = {
            .from = place.store, .to = place.restored, .link = os_random_below(&place.random, 2) == 0};
        struct store_restore_until until = {{wanted}, {BANYAN_TIME_NULL}};
        struct store_appended appended;
        struct store *restored;
        char name[16];

        if (round % 5 == 4) { /* by time */
            until.position.value = 0;
            until.time.us =
                1000000 + (int64_t)os_random_below(&place.random, (uint64_t)(place.clock.now_us - 1000000)) + 3000;
            struct banyan_position at;
            assert_int_equal(store_position_at(place.open, until.time, &at, NULL), BANYAN_OK);
            wanted = at.value - 1;
        }
        if (last_batch(&place, wanted) == 0)
            continue;
        if (store_restore(&options, &until, &copied, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        assert_int_equal(copied.last.value, last_batch(&place, wanted));
        assert_copy(&place, place.restored, copied.last.value);
        /* It is a store of its own: appends go on, and the old one stays as it was. */
        restored = open_store(&place, place.restored, false);
        struct store_event event = any_event(&place, "x", name);
        event.payload.size = 1;
        assert_int_equal(
            store_append(restored, &(struct store_append){.events = &event, .event_count = 1}, &appended, NULL),
            BANYAN_OK);
        assert_int_equal(appended.last.value, copied.last.value + 1);
        store_close(restored);
        assert_int_equal(store_restore(&options, &until, &copied, &err), BANYAN_CONFLICT);
        banyan_error_clear(&err);
        folder_remove(place.restored);
    }
    struct banyan_position all = store_durable(place.open);
    assert_copy(&place, place.store, all.value);
    remove_place(&place);
}

static void another_store_is_in_the_way(void **state)
{
    (void)state;
    struct place place;
    struct log_copied copied;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_copy_options options;

    make_place(&place, "backup conflict");
    place.open = open_store(&place, place.backup, false);
    append_some(&place);
    store_close(place.open);
    place.open = open_store(&place, place.store, false);
    options = (struct store_copy_options){.from = place.store, .to = place.backup};
    assert_int_equal(store_backup(&options, &copied, &err), BANYAN_NOT_FOUND); /* nothing to back up */
    banyan_error_clear(&err);
    append_some(&place);
    assert_int_equal(store_backup(&options, &copied, &err), BANYAN_CONFLICT);
    assert_non_null(strstr(err.message, "another log"));
    banyan_error_clear(&err);
    options.from = place.restored;
    assert_int_equal(store_backup(&options, &copied, &err), BANYAN_NOT_FOUND);
    remove_place(&place);
}

/* Dies after every possible step: what is there is a store, and the next backup makes it whole. */
static void a_backup_may_die_anywhere(void **state)
{
    (void)state;
    struct place place;
    struct log_copied copied;
    struct os_files_test files;
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_IO;

    make_place(&place, "backup deaths");
    place.open = open_store(&place, place.store, false);
    for (int i = 0; i < 300; i++)
        append_some(&place);
    for (uint64_t step = 1; status != BANYAN_OK; step++) {
        bool link = step % 2 == 0;
        struct store_copy_options options = {
            .from = place.store, .to = place.backup, .files = &files.base, .link = link};

        os_files_test_init(&files);
        files.dies_at = step;
        status = store_backup(&options, &copied, &err);
        banyan_error_clear(&err);
        options.files = NULL;
        if (store_backup(&options, &copied, &err) != BANYAN_OK)
            fail_msg("after step %llu: %s", (unsigned long long)step, err.message);
        assert_copy(&place, place.backup, store_durable(place.open).value);
        folder_remove(place.backup);
    }
    remove_place(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backups_follow_a_store),
        cmocka_unit_test(restores_end_where_they_should),
        cmocka_unit_test(another_store_is_in_the_way),
        cmocka_unit_test(a_backup_may_die_anywhere),
    };
    return cmocka_run_group_tests_name("store-backup", tests, NULL, NULL);
}
