/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of streams are marked archivable when all of them were closed for long enough, and not before. */
#include "projection/archive.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/clock.h"
#include "store/archive.h"
#include "support/test_domain.h"

enum {
    LIMIT_US = 30 * 1000 * 1000,
    KEEP_DAYS = 30,
    ROOTS = 40,
    PARTS = 3, /* of each root, at most */
};

#define DAY_US (INT64_C(24) * 3600 * 1000 * 1000)
#define BEGAN_US INT64_C(1600000000000000)

/* The streams "part-<10 × root + n>" belong to "account-<root>". */
static bool root(const struct banyan_seen *event, int64_t *ret_root)
{
    if (event->stream.data[0] != 'p' || event->type != TEST_OPENED)
        return false;
    *ret_root = event->key / 10;
    return true;
}

static int closes(const struct banyan_seen *event)
{
    return event->type == TEST_CLOSED ? 1 : event->type == TEST_OPENED ? -1 : 0;
}

static const struct banyan_archive_group group = {"account", root, closes, KEEP_DAYS};
static struct banyan_aggregate aggregates[2];
static struct banyan_domain domain;

struct fixture {
    char *folder;
    struct store *store;
    struct scan *scan;
    struct os_stop stop;
    struct os_clock_test clock;
    struct archive *archive;
    struct os_random random;
    struct banyan_arena arena;
};

static void open_archive(struct fixture *f)
{
    assert_int_equal(os_stop_open(&f->stop, NULL), BANYAN_OK);
    f->scan = scan_new(f->store);
    f->archive = archive_new(&(struct archive_options){.domain = &domain,
                                                       .store = f->store,
                                                       .scan = f->scan,
                                                       .stop = &f->stop,
                                                       .clock = &f->clock.base,
                                                       .every_us = 1000});
}

static void close_archive(struct fixture *f)
{
    os_stop_request(&f->stop);
    archive_free(f->archive);
    scan_free(f->scan);
    os_stop_close(&f->stop);
}

static void setup(struct fixture *f)
{
    char path[256];
    *f = (struct fixture){.folder = test_folder_new()};
    os_random_seed(&f->random, test_seed());
    snprintf(path, sizeof(path), "%s/store", f->folder);
    assert_int_equal(store_open(&(struct store_options){.folder = path}, &f->store, NULL), BANYAN_OK);
    os_clock_test_init(&f->clock, (struct banyan_time){BEGAN_US});
    aggregates[0] = aggregates[1] = test_domain.aggregates[0];
    aggregates[1].category = "part";
    domain = test_domain;
    domain.aggregates = aggregates;
    domain.aggregate_count = 2;
    domain.archive = &group;
}

static void teardown(struct fixture *f)
{
    store_close(f->store);
    banyan_arena_release(&f->arena);
    test_folder_remove(f->folder);
}

static void append(struct fixture *f, const char *stream, bool opens, int64_t day)
{
    struct test_opened opened = {BANYAN_STR("x"), {NULL, 0}, 1, banyan_decimal_null()};
    struct test_closed closed = {BANYAN_STR("done")};
    struct banyan_time at = {BEGAN_US + day * DAY_US};
    struct store_event event = opens ? test_event_of(TEST_OPENED, &opened, 1, at, &f->random, &f->arena)
                                     : test_event_of(TEST_CLOSED, &closed, 1, at, &f->random, &f->arena);
    struct store_appended appended;
    event.stream = banyan_str_of(stream);
    assert_int_equal(
        store_append(f->store, &(struct store_append){.events = &event, .event_count = 1}, &appended, NULL), BANYAN_OK);
}

/* Until it has read all, and looked at what is due once more. */
static struct projections_archive_status settle(struct fixture *f)
{
    struct projections_archive_status status;
    int64_t began = os_clock_monotonic_us(os_clock_real());
    uint64_t calm = 0;
    for (uint64_t tail = 0; calm < 30;) {
        (void)os_stop_wait(&f->stop, 5000); /* it is not requested meanwhile */
        archive_status(f->archive, &status);
        assert_int_equal(status.error.status, BANYAN_OK);
        calm = status.position.value == store_tail(f->store).value && tail == status.position.value ? calm + 1 : 0;
        tail = store_tail(f->store).value;
        assert_true(os_clock_monotonic_us(os_clock_real()) - began < LIMIT_US);
    }
    return status;
}

static bool marked(struct fixture *f, const char *stream, int64_t *ret_day)
{
    struct store_archive_mark mark;
    assert_int_equal(store_archive_get(f->store, banyan_str_of(stream), &mark, NULL), BANYAN_OK);
    if (mark.marked)
        *ret_day = (mark.from.us - BEGAN_US) / DAY_US;
    return mark.marked;
}

static void a_group_is_marked_together(void **state)
{
    struct fixture f;
    int64_t day = -1;
    setup(&f);
    append(&f, "account-7", true, 0);
    append(&f, "part-71", true, 0);
    append(&f, "part-72", true, 1);
    append(&f, "account-8", true, 0);
    append(&f, "account-8", false, 2);
    append(&f, "part-73", false, 2); /* closed, but nobody has said to whom it belongs */
    append(&f, "account-7", false, 2);
    append(&f, "part-71", false, 5);
    open_archive(&f);
    os_clock_test_move(&f.clock, 33 * DAY_US);
    (void)settle(&f);
    assert_true(marked(&f, "account-8", &day));
    assert_int_equal(day, 32);
    assert_false(marked(&f, "account-7", &day)); /* part-72 is open */
    append(&f, "part-72", false, 10);
    (void)settle(&f);
    assert_false(marked(&f, "part-72", &day)); /* closed, not for long */
    os_clock_test_move(&f.clock, 7 * DAY_US);
    struct projections_archive_status status = settle(&f);
    assert_true(marked(&f, "account-7", &day) && marked(&f, "part-71", &day) && marked(&f, "part-72", &day));
    assert_int_equal(day, 40);
    assert_int_equal(status.groups, 0);
    assert_int_equal(status.marked, 4);
    assert_false(marked(&f, "part-73", &day));
    close_archive(&f);
    /* A restart marks nothing again; what is opened again is marked again when it is closed again. */
    open_archive(&f);
    assert_int_equal(settle(&f).marked, 0);
    append(&f, "account-8", true, 41);
    os_clock_test_move(&f.clock, 100 * DAY_US);
    assert_int_equal(settle(&f).marked, 0);
    append(&f, "account-8", false, 50);
    assert_int_equal(settle(&f).marked, 1);
    assert_true(marked(&f, "account-8", &day));
    assert_int_equal(day, 80);
    close_archive(&f);
    teardown(&f);
}

static void what_is_not_understood_stays(void **state)
{
    struct fixture f;
    int64_t day;
    setup(&f);
    append(&f, "account-1", true, 0);
    struct test_renamed renamed = {BANYAN_STR("x")};
    struct store_event event =
        test_event_of(TEST_RENAMED, &renamed, 1, (struct banyan_time){BEGAN_US}, &f.random, &f.arena);
    struct store_appended appended;
    event.schema = 9;
    assert_int_equal(store_append(f.store, &(struct store_append){.events = &event, .event_count = 1}, &appended, NULL),
                     BANYAN_OK);
    append(&f, "account-1", false, 1);
    append(&f, "account-2", false, 1);
    os_clock_test_move(&f.clock, 100 * DAY_US);
    open_archive(&f);
    assert_int_equal(settle(&f).marked, 1);
    assert_false(marked(&f, "account-1", &day));
    assert_true(marked(&f, "account-2", &day));
    close_archive(&f);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_is_marked_together),
        cmocka_unit_test(what_is_not_understood_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
