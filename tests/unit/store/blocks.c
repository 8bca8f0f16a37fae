/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of blocks: a filtered reader skips what cannot match, and finds all that does, whatever happened to the
 * table's file: closed in order, never closed, missing, damaged byte by byte, of another past of the same log.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "base/alloc.h"
#include "os/random.h"
#include "store/store.h"

enum {
    BATCH = 1000,
    BATCHES = 200, /* three pages of the table and a bit */
    EVENTS = BATCH * BATCHES,
    RARE = 9973, /* one of so many is rare */
    FLIPS = 16,
    PAGE_BYTES = 40 + 4096, /* of the file */
};

static uint64_t bytes_read; /* atomic */

static enum banyan_status counting_read(struct os_file *file, uint64_t offset, void *data, size_t size,
                                        size_t *ret_size, struct banyan_error *err)
{
    (void)__atomic_fetch_add(&bytes_read, size, __ATOMIC_RELAXED);
    return os_files_real()->read(file, offset, data, size, ret_size, err);
}

static struct store *open_store(const char *folder)
{
    static struct os_files files;
    struct store_options options = {.folder = folder, .files = &files, .segment_bytes = 4 * 1024 * 1024};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store = NULL;

    files = *os_files_real();
    files.read = counting_read;
    if (store_open(&options, &store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return store;
}

/* Which events are rare: a rule of the position, so that nothing has to be remembered.  *past* makes different ones. */
static bool is_rare(uint64_t position, unsigned past)
{
    return (position + past * 4321) % RARE == 17;
}

static void append_batch(struct store *store, unsigned past)
{
    static struct store_event events[BATCH];
    struct store_append append = {.events = events, .event_count = BATCH};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    uint64_t first = store_tail(store).value + 1;

    for (unsigned i = 0; i < BATCH; i++) {
        bool rare = is_rare(first + i, past);

        events[i] = (struct store_event){
            .id = os_uuid_new(),
            .stream = rare ? BANYAN_STR("seldom-1") : BANYAN_STR("often-1"),
            .type = rare ? BANYAN_STR("Rare") : BANYAN_STR("Usual"),
            .payload = BANYAN_STR("a payload that takes some room in the log, as they do"),
        };
    }
    if (store_append(store, &append, &appended, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

/* Read the rare events, by type or by category, and compare with the rule; returns the bytes that were read. */
static uint64_t check(struct store *store, unsigned past, bool by_type)
{
    struct banyan_str type = BANYAN_STR("Rare"), category = BANYAN_STR("seldom");
    struct store_filter filter = {&type, by_type, &category, !by_type};
    struct store_reader *reader = store_reader_open(store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t before = __atomic_load_n(&bytes_read, __ATOMIC_RELAXED), end = store_durable(store).value;
    struct store_read_event event;

    store_reader_filter(reader, &filter);
    for (uint64_t position = 1; position <= end; position++) {
        if (!is_rare(position, past))
            continue;
        assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_OK);
        assert_int_equal(event.position.value, position);
    }
    assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_NOT_FOUND);
    assert_int_equal(store_reader_passed(reader).value, end);
    store_reader_close(reader);
    return __atomic_load_n(&bytes_read, __ATOMIC_RELAXED) - before;
}

static uint64_t log_bytes(struct store *store)
{
    struct store_reader *reader = store_reader_open(store);
    uint64_t before = __atomic_load_n(&bytes_read, __ATOMIC_RELAXED);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;

    while (store_reader_next(reader, &event, &err) == BANYAN_OK) {
    }
    store_reader_close(reader);
    return __atomic_load_n(&bytes_read, __ATOMIC_RELAXED) - before;
}

struct place {
    char base[FOLDER_PATH_MAX], folder[FOLDER_PATH_MAX + 16], copy[FOLDER_PATH_MAX + 16], file[FOLDER_PATH_MAX + 32];
};

static void make_place(struct place *place)
{
    folder_make_quick(place->base);
    (void)snprintf(place->copy, sizeof(place->copy), "%s/copy", place->base);
    (void)snprintf(place->folder, sizeof(place->folder), "%s/store", place->base);
    (void)snprintf(place->file, sizeof(place->file), "%s/store/blocks", place->base);
}

static void remove_place(struct place *place)
{
    folder_remove(place->base);
}

static void test_skips(void **state)
{
    struct place place;
    struct store *store;
    uint64_t all;

    (void)state;
    make_place(&place);
    store = open_store(place.folder);
    for (int i = 0; i < BATCHES; i++)
        append_batch(store, 0);
    all = log_bytes(store);
    assert_true(check(store, 0, true) < all / 2);
    assert_true(check(store, 0, false) < all / 2);

    /* Another process sees the store as it is now: it was not closed, the end of the table is not in the file. */
    folder_copy(place.folder, place.copy);
    store_close(store);
    store = open_store(place.copy);
    (void)check(store, 0, true); /* learns what is missing */
    assert_true(check(store, 0, false) < all / 2);
    store_close(store);

    store = open_store(place.folder); /* closed in order */
    assert_true(check(store, 0, true) < all / 2);
    for (int i = 0; i < 20; i++) /* and goes on in the block that was open, and behind it */
        append_batch(store, 0);
    (void)check(store, 0, true);
    folder_remove(place.copy);
    folder_copy(place.folder, place.copy); /* killed: the file's last page is of the close before */
    store_close(store);
    store = open_store(place.copy);
    (void)check(store, 0, true);
    store_close(store);

    assert_int_equal(unlink(place.file), 0);
    store = open_store(place.folder);
    assert_true(check(store, 0, true) > all / 4 * 3); /* nothing is known, until it was read once */
    assert_true(check(store, 0, false) < all / 2);
    store_close(store);
    store = open_store(place.folder); /* what was learnt is kept */
    assert_true(check(store, 0, true) < all / 2);
    store_close(store);
    remove_place(&place);
}

/* Any flipped bit, any cut: what is answered stays the same. */
static void test_damage(void **state)
{
    struct os_random random;
    struct place place;
    struct store *store;
    size_t size = 0;
    char *table;

    (void)state;
    os_random_seed(&random, test_seed());
    make_place(&place);
    store = open_store(place.folder);
    for (int i = 0; i < BATCHES; i++)
        append_batch(store, 0);
    store_close(store);
    table = file_load(place.file, &size);
    for (int i = 0; i < FLIPS; i++) {
        char *damaged = alloc_resized(NULL, size, 1);
        size_t keep = i % 4 == 0 ? os_random_below(&random, size) : size;

        memcpy(damaged, table, size);
        if (i % 4 == 1) /* a page that says that there is nothing in its blocks */
            memset(damaged + os_random_below(&random, size / PAGE_BYTES) * PAGE_BYTES + PAGE_BYTES - 4096, 0, 4096);
        else
            damaged[os_random_below(&random, size)] ^= (char)(1 << os_random_below(&random, 8));
        file_save(place.file, damaged, keep);
        store = open_store(place.folder);
        (void)check(store, 0, i % 2 == 0);
        (void)check(store, 0, i % 2 == 1);
        store_close(store);
        free(damaged);
    }
    free(table);
    remove_place(&place);
}

/* The log is put back to a copy of earlier and goes on differently, with the table of what it was. */
static void test_other_past(void **state)
{
    struct place place;
    struct store *store;
    size_t size = 0;
    char *table;

    (void)state;
    make_place(&place);
    store = open_store(place.folder);
    for (int i = 0; i < BATCHES; i++) {
        append_batch(store, 0);
        if (i == 0)
            folder_copy(place.folder, place.copy);
    }
    store_close(store);
    table = file_load(place.file, &size);

    /* The table of the long past beside the short log: pages of what is not there any more. */
    (void)snprintf(place.file, sizeof(place.file), "%s/blocks", place.copy);
    file_save(place.file, table, size);
    store = open_store(place.copy);
    assert_int_equal(store_durable(store).value, BATCH);
    for (int i = 1; i < BATCHES; i++)
        append_batch(store, 7);
    struct banyan_str type = BANYAN_STR("Rare");
    struct store_filter filter = {&type, 1, NULL, 0};
    for (int round = 0; round < 3; round++) {
        struct store_reader *reader = store_reader_open(store);
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct store_read_event event;

        store_reader_filter(reader, &filter);
        for (uint64_t position = 1; position <= EVENTS; position++) {
            if (!is_rare(position, position <= BATCH ? 0 : 7))
                continue;
            assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_OK);
            assert_int_equal(event.position.value, position);
        }
        assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_NOT_FOUND);
        store_reader_close(reader);
        /* Once as it was left, once with the whole table of the other past, as long as the log is now. */
        store_close(store);
        if (round == 1)
            file_save(place.file, table, size);
        store = open_store(place.copy);
    }
    store_close(store);
    free(table);
    remove_place(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_skips),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_other_past),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
