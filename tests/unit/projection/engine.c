/* SPDX-License-Identifier: Apache-2.0 */
/* The engine over a real store: rows equal a fold from scratch; failures, pauses, priorities. */
#include "projection/engine.h"

#include <string.h>

#include "os/clock.h"
#include "world.h"

/* ---- following ---- */

static void views_equal_the_fold(bool sqlite)
{
    struct fixture f;
    struct banyan_projection parts = partitioned();
    setup(&f);
    f.sqlite = sqlite;
    add_view(&f, &test_projections[0]);
    add_view(&f, &test_projections[1]);
    add_view(&f, &parts);
    test_append_random(f.store, &f.random, 5000, ACCOUNTS);
    start(&f, false);
    for (size_t i = 0; i < f.count; i++)
        wait_state(&f, i, PROJECTION_LIVE);
    for (size_t i = 0; i < f.count; i++)
        check_view(&f, i, 5000);
    for (int round = 0; round < 20; round++) { /* live */
        test_append_random(f.store, &f.random, 1 + os_random_below(&f.random, 100), ACCOUNTS);
        wait_tail(&f);
    }
    for (size_t i = 0; i < f.count; i++) {
        struct projection_status status = status_of(&f, i);
        assert_int_equal(status.state, PROJECTION_LIVE);
        assert_true(status.serves);
        assert_int_equal(status.checkpoint.position.value, store_tail(f.store).value);
        assert_int_equal(status.checkpoint.generation, 1);
        assert_int_equal(status.events_applied, store_tail(f.store).value);
        assert_int_equal(status.eta_us, 0);
        assert_true(status.lag_us_p50 > 0 && status.lag_us_p50 <= status.lag_us_p99);
        assert_true(status.lag_us_p99 <= status.lag_us_max);
    }
    stop(&f);
    test_append_random(f.store, &f.random, 1000, ACCOUNTS);
    start(&f, false); /* goes on, with a cold cache */
    wait_tail(&f);
    for (size_t i = 0; i < f.count; i++)
        assert_int_equal(status_of(&f, i).events_applied, 1000);
    stop(&f);
    for (size_t i = 0; i < f.count; i++)
        check_view(&f, i, store_tail(f.store).value);
    teardown(&f);
}

static void views_in_memory_equal_the_fold(void **state)
{
    views_equal_the_fold(false);
}

static void views_in_files_equal_the_fold(void **state)
{
    views_equal_the_fold(true);
}

static void a_held_view_is_not_live(void **state)
{
    struct fixture f;
    setup(&f);
    add_view(&f, &test_projections[0]);
    for (int round = 0; round < 2; round++) { /* the second goes on with what the first has left unfinished */
        start(&f, true);
        test_append_random(f.store, &f.random, 3000, ACCOUNTS);
        wait_tail(&f);
        struct projection_status status = status_of(&f, 0);
        assert_int_equal(status.state, PROJECTION_BUILDING);
        assert_int_equal(status.events_applied, 3000);
        assert_false(projections_serving(f.engine, 0, NULL));
        assert_int_equal(status.eta_us, INT64_MAX);
        assert_int_equal(projections_rebuild(f.engine, 0, NULL), BANYAN_CONFLICT);
        if (round == 0)
            stop(&f);
    }
    projections_release(f.engine);
    wait_state(&f, 0, PROJECTION_LIVE);
    assert_true(projections_serving(f.engine, 0, NULL));
    stop(&f);
    check_view(&f, 0, 6000);
    start(&f, false);
    assert_int_equal(projections_wait(f.engine, 0, (struct banyan_position){6000}, LIMIT_US, NULL), BANYAN_OK);
    assert_true(projections_serving(f.engine, 0, NULL)); /* at once: a generation serves */
    stop(&f);
    teardown(&f);
}

static void events_of_others_move_the_checkpoint(void **state)
{
    struct fixture f;
    struct banyan_error err = BANYAN_ERROR_INIT;
    static const char *const names[] = {"accounts-1", "acc-1", "$account-1", "account", "x-account-1"};
    static const unsigned types[] = {TEST_PURGED};
    struct banyan_projection sparse = test_projections[0];
    setup(&f);
    sparse.types = types;
    sparse.type_count = 1;
    add_view(&f, &test_projections[0]);
    add_view(&f, &sparse);
    start(&f, false);
    for (size_t i = 0; i < 5; i++) {
        struct store_event event = test_event_random(&f.random, 1, &f.arena);
        event.stream = banyan_str_of(names[i]);
        append(&f, &event, 1);
        wait_tail(&f);
    }
    struct test_renamed renamed = {BANYAN_STR("y")};
    struct store_event event = test_event_of(TEST_RENAMED, &renamed, 7, (struct banyan_time){5}, &f.random, &f.arena);
    append(&f, &event, 1);
    wait_tail(&f);
    struct projection_status status = status_of(&f, 0);
    assert_int_equal(status.events_applied, 1);
    assert_int_equal(status.aside, 0);
    status = status_of(&f, 1);
    assert_int_equal(status.events_applied + status.aside + status.rows_written, 0);
    assert_int_equal(projections_wait(f.engine, 0, (struct banyan_position){7}, 1000, &err), BANYAN_TIMEOUT);
    assert_non_null(strstr(err.message, "accounts0"));
    stop(&f);
    teardown(&f);
}

static uint64_t lsn_of(struct store_cursor cursor)
{
    return banyan_str_equal(cursor.name, BANYAN_STR("source")) ? (uint64_t)cursor.value.size : 0;
}

static void legacy_positions_can_be_waited_for(void **state)
{
    struct fixture f;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    setup(&f);
    f.cursor_lsn = lsn_of;
    add_view(&f, &test_projections[0]);
    add_view(&f, &test_projections[1]);
    start(&f, false);
    for (size_t i = 1; i <= 9; i++) {
        struct store_event events[2] = {test_event_random(&f.random, 1, &f.arena),
                                        test_event_random(&f.random, 2, &f.arena)};
        struct store_append batch = {
            .events = events, .event_count = 2, .cursor = {BANYAN_STR("source"), {"123456789", i}}};
        must(store_append(f.store, &batch, &appended, &err), &err, "append");
        for (size_t view = 0; view < 2; view++) {
            struct sink_checkpoint checkpoint;
            must(projections_wait_lsn(f.engine, view, i, LIMIT_US, &err), &err, "wait");
            (void)projections_serving(f.engine, view, &checkpoint); /* only the checkpoint matters */
            assert_int_equal(checkpoint.source_lsn, i);
            assert_true(checkpoint.position.value >= i * 2);
        }
    }
    assert_int_equal(projections_wait_lsn(f.engine, 0, 10, 1000, NULL), BANYAN_TIMEOUT);
    stop(&f);
    teardown(&f);
}

/* Amounts that move between two accounts in one append: no checkpoint is inside of it. */
static void a_batch_is_seen_whole(void **state)
{
    struct fixture f;
    setup(&f);
    add_view(&f, &test_projections[0]);
    for (int i = 0; i < 12000; i++) {
        struct test_moved moved = {1, banyan_decimal_of(100 + i, 2)}, back = {1, banyan_decimal_of(-100 - i, 2)};
        struct banyan_time at = {1};
        struct store_event events[7];
        for (int64_t e = 0; e < 6; e += 2) {
            events[e] = test_event_of(TEST_MOVED, &moved, 1 + e, at, &f.random, &f.arena);
            events[e + 1] = test_event_of(TEST_MOVED, &back, 2 + e, at, &f.random, &f.arena);
        }
        events[6] = events[0];
        events[6].id = os_uuid_new();
        events[6].stream = BANYAN_STR("other-1");
        struct store_appended appended;
        assert_int_equal(
            store_submit(f.store, &(struct store_append){.events = events, .event_count = 7}, &appended, NULL),
            BANYAN_OK);
        banyan_arena_reset(&f.arena);
    }
    assert_int_equal(store_wait(f.store, store_tail(f.store), LIMIT_US, NULL), BANYAN_OK);
    start(&f, true); /* many flushes on the way to the end */
    struct sink_checkpoint checkpoint = {.source_lsn = 0};
    while (checkpoint.position.value < 84000) {
        (void)projections_serving(f.engine, 0, &checkpoint); /* only the checkpoint matters */
        assert_int_equal(checkpoint.position.value % 7, 0);
        struct banyan_position next = {checkpoint.position.value + 1};
        if (checkpoint.position.value < 84000)
            assert_int_equal(projections_wait(f.engine, 0, next, LIMIT_US, NULL), BANYAN_OK);
    }
    projections_release(f.engine);
    wait_state(&f, 0, PROJECTION_LIVE);
    stop(&f);
    check_view(&f, 0, 84000);
    teardown(&f);
}

/* ---- failures ---- */

/* Flushes fail, before or after they happened: shown, tried again, and nothing is applied twice. */
static void failed_flushes_are_tried_again(void **state)
{
    struct fixture f;
    struct banyan_projection parts = partitioned();
    setup(&f);
    add_view(&f, &test_projections[0]);
    add_view(&f, &parts);
    start(&f, false);
    for (int round = 0; round < 8; round++) {
        atomic_store(&f.homes[0].fail_before, (unsigned)os_random_below(&f.random, 3));
        atomic_store(&f.homes[0].fail_after, (unsigned)os_random_below(&f.random, 2));
        atomic_store(&f.homes[1].fail_after, (unsigned)os_random_below(&f.random, 2));
        test_append_random(f.store, &f.random, 500, ACCOUNTS);
        wait_tail(&f);
        check_view(&f, 0, store_tail(f.store).value);
        check_view(&f, 1, store_tail(f.store).value);
    }
    wait_state(&f, 0, PROJECTION_LIVE);
    atomic_store(&f.homes[0].fail_before, 1000);
    test_append_random(f.store, &f.random, 10, ACCOUNTS);
    wait_state(&f, 0, PROJECTION_FAILED);
    struct projection_status status = status_of(&f, 0);
    assert_non_null(strstr(status.error.message, "not today"));
    assert_true(status.serves); /* what is there goes on to be read */
    assert_int_equal(projections_wait(f.engine, 1, store_tail(f.store), LIMIT_US, NULL), BANYAN_OK); /* the other one */
    atomic_store(&f.homes[0].fail_before, 0);
    wait_tail(&f);
    wait_state(&f, 0, PROJECTION_LIVE);
    assert_int_equal(status_of(&f, 0).error.status, BANYAN_OK);
    stop(&f);
    check_view(&f, 0, store_tail(f.store).value);
    teardown(&f);
}

static void a_view_of_another_log_is_refused(void **state)
{
    struct fixture f;
    setup(&f);
    add_view(&f, &test_projections[0]);
    test_append_random(f.store, &f.random, 100, ACCOUNTS);
    start(&f, false);
    wait_tail(&f);
    wait_state(&f, 0, PROJECTION_LIVE);
    stop(&f);
    store_close(f.store);
    test_folder_remove(f.folder);
    f.folder = test_folder_new();
    open_store(&f);
    test_append_random(f.store, &f.random, 50, ACCOUNTS);
    start(&f, false);
    wait_state(&f, 0, PROJECTION_FAILED);
    struct projection_status status = status_of(&f, 0);
    assert_int_equal(status.error.status, BANYAN_MISMATCH);
    assert_true(status.error.hint[0] != '\0');
    stop(&f);
    teardown(&f);
}

/* ---- pause, limit, priority ---- */

static void a_pause_survives_a_restart(void **state)
{
    struct fixture f;
    struct banyan_error err = BANYAN_ERROR_INIT;
    setup(&f);
    add_view(&f, &test_projections[0]);
    add_view(&f, &test_projections[1]);
    start(&f, false);
    test_append_random(f.store, &f.random, 500, ACCOUNTS);
    wait_tail(&f);
    wait_state(&f, 0, PROJECTION_LIVE);
    must(projections_pause(f.engine, 0, true, &err), &err, "pause");
    uint64_t stands = status_of(&f, 0).checkpoint.position.value;
    for (int round = 0; round < 2; round++) {
        test_append_random(f.store, &f.random, 500, ACCOUNTS);
        assert_int_equal(projections_wait(f.engine, 1, store_tail(f.store), LIMIT_US, NULL), BANYAN_OK);
        assert_int_equal(projections_wait(f.engine, 0, store_tail(f.store), 20000, NULL), BANYAN_TIMEOUT);
        struct projection_status status = status_of(&f, 0);
        assert_int_equal(status.state, PROJECTION_PAUSED);
        assert_true(status.paused && status.serves);
        assert_int_equal(status.checkpoint.position.value, stands);
        stop(&f);
        start(&f, false);
        wait_state(&f, 0, PROJECTION_PAUSED);
    }
    must(projections_pause(f.engine, 0, false, &err), &err, "resume");
    wait_tail(&f);
    wait_state(&f, 0, PROJECTION_LIVE);
    stop(&f);
    start(&f, false);
    wait_state(&f, 0, PROJECTION_LIVE);
    stop(&f);
    check_view(&f, 0, store_tail(f.store).value);
    teardown(&f);
}

static void a_limit_holds_and_can_be_lifted(void **state)
{
    struct fixture f;
    struct os_clock *clock = os_clock_real();
    setup(&f);
    add_view(&f, &test_projections[0]);
    test_append_random(f.store, &f.random, 40000, ACCOUNTS);
    start(&f, true);
    projections_limit(f.engine, 0, 20000);
    int64_t began = os_clock_monotonic_us(clock);
    assert_int_equal(projections_wait(f.engine, 0, (struct banyan_position){20000}, LIMIT_US, NULL), BANYAN_OK);
    int64_t slow_us = os_clock_monotonic_us(clock) - began;
    projections_limit(f.engine, 0, 0);
    projections_release(f.engine);
    wait_tail(&f);
    assert_true(slow_us > 300 * 1000); /* a second, but for what it did before the limit was there */
    stop(&f);
    check_view(&f, 0, 40000);
    teardown(&f);
}

/* While the critical one is behind, the one in the background stands still. */
static void the_background_yields(void **state)
{
    struct fixture f;
    struct banyan_projection critical = test_projections[0], background = test_projections[1];
    setup(&f);
    critical.priority = BANYAN_CRITICAL;
    background.priority = BANYAN_BACKGROUND;
    add_view(&f, &critical);
    add_view(&f, &background);
    start(&f, false);
    test_append_random(f.store, &f.random, 100, ACCOUNTS);
    wait_tail(&f);
    wait_state(&f, 0, PROJECTION_LIVE);
    /* It cannot catch up: slowed down to far less than what is appended. */
    stop(&f);
    test_append_random(f.store, &f.random, 120000, ACCOUNTS);
    start(&f, false);
    projections_limit(f.engine, 0, 20000);
    assert_int_equal(projections_wait(f.engine, 0, (struct banyan_position){20000}, LIMIT_US, NULL), BANYAN_OK);
    uint64_t other = status_of(&f, 1).checkpoint.position.value;
    assert_true(other < 100000); /* what it did before the first one was seen to be behind */
    projections_limit(f.engine, 0, 0);
    wait_tail(&f);
    stop(&f);
    check_view(&f, 0, store_tail(f.store).value);
    check_view(&f, 1, store_tail(f.store).value);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_in_memory_equal_the_fold),
        cmocka_unit_test(views_in_files_equal_the_fold),
        cmocka_unit_test(a_held_view_is_not_live),
        cmocka_unit_test(events_of_others_move_the_checkpoint),
        cmocka_unit_test(legacy_positions_can_be_waited_for),
        cmocka_unit_test(a_batch_is_seen_whole),
        cmocka_unit_test(failed_flushes_are_tried_again),
        cmocka_unit_test(a_view_of_another_log_is_refused),
        cmocka_unit_test(a_pause_survives_a_restart),
        cmocka_unit_test(a_limit_holds_and_can_be_lifted),
        cmocka_unit_test(the_background_yields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
