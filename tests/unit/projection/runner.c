/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runner over a real store and SQLite: rows equal a fold from scratch, whatever happens in between.
 *
 * Run with arguments, this program is the child that is killed: it appends and projects until its alarm ends it.
 */
#include "projection/runner.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/clock.h"
#include "sink/sinks.h"
#include "support/test_domain.h"

enum {
    LIMIT_US = 30 * 1000 * 1000, /* for anything that must happen */
    ACCOUNTS = 300,
    KILLS = 12, /* of each view */
};

static const char *program;

struct fixture {
    char *folder; /* owned where it was made here */
    char store_folder[256], path[256];
    struct store *store;
    struct os_stop stop;
    struct projection_runner *runner;
    struct os_random random;
};

static void must(enum banyan_status st, const struct banyan_error *err, const char *what)
{
    if (st != BANYAN_OK) {
        fprintf(stderr, "%s: %s: %s (%s)\n", what, banyan_status_name(st), err->message, err->detail);
        fail();
    }
}

static void open_store(struct fixture *f)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    snprintf(f->store_folder, sizeof(f->store_folder), "%s/store", f->folder);
    snprintf(f->path, sizeof(f->path), "%s/view.db", f->folder);
    must(store_open(&(struct store_options){.folder = f->store_folder}, &f->store, &err), &err, "open the store");
}

static void setup(struct fixture *f)
{
    *f = (struct fixture){.folder = test_folder_new()};
    os_random_seed(&f->random, test_seed());
    open_store(f);
}

static void start(struct fixture *f, const struct banyan_projection *projection, bool held)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink *sink = NULL;
    must(os_stop_open(&f->stop, &err), &err, "stop token");
    must(sink_sqlite_open(projection, f->path, &sink, &err), &err, "open the sink");
    must(projection_start(&(struct projection_options){.domain = &test_domain,
                                                       .projection = projection,
                                                       .store = f->store,
                                                       .sink = sink,
                                                       .stop = &f->stop,
                                                       .flush_events = 200,
                                                       .held = held},
                          &f->runner, &err),
         &err, "start");
}

static void stop(struct fixture *f)
{
    os_stop_request(&f->stop);
    projection_stop(f->runner);
    os_stop_close(&f->stop);
    f->runner = NULL;
}

static void teardown(struct fixture *f)
{
    store_close(f->store);
    test_folder_remove(f->folder);
}

static void wait_state(struct fixture *f, enum projection_state wanted)
{
    struct os_clock *clock = os_clock_real();
    int64_t began = os_clock_monotonic_us(clock);
    while (projection_state(f->runner, NULL) != wanted) {
        if (os_clock_monotonic_us(clock) - began > LIMIT_US) {
            struct projection_status status;
            projection_status(f->runner, &status);
            fail_msg("still %s, not %s: %s", projection_state_name(status.state), projection_state_name(wanted),
                     status.error.message);
        }
        (void)os_stop_wait(&f->stop, 1000); /* it is not requested meanwhile */
    }
}

static void wait_tail(struct fixture *f)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    must(projection_wait(f->runner, store_tail(f->store), LIMIT_US, &err), &err, "wait");
}

/* ---- what the view must say ---- */

struct compare {
    const struct banyan_projection *projection;
    const struct test_model *model;
    size_t seen;
};

static enum banyan_status compare_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct compare *compare = context;
    const void *wanted = compare->projection->tables[0].row->size == sizeof(struct test_account)
                             ? (const void *)compare->model->accounts[key]
                             : (const void *)compare->model->branches[key];
    if (wanted == NULL || banyan_record_diff(compare->projection->tables[0].row, row, wanted) != 0)
        return banyan_error_set(err, BANYAN_MISMATCH, "key %" PRId64 " %s", key,
                                wanted == NULL ? "should not be there" : "differs");
    compare->seen++;
    return BANYAN_OK;
}

/* The file's rows equal the fold of all events up to its checkpoint; *position* 0: whatever that is. */
static uint64_t check_view(struct fixture *f, const struct banyan_projection *projection, uint64_t position)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink *sink = NULL, *reader = NULL;
    struct sink_checkpoint checkpoint = {.source_lsn = 0};
    struct test_model *model = calloc(1, sizeof(*model));
    must(sink_sqlite_open(projection, f->path, &sink, &err), &err, "open the sink");
    must(sink->ops->reader(sink, &reader, &err), &err, "open a reader");
    must(reader->ops->checkpoint(reader, &checkpoint, &err), &err, "checkpoint");
    if (position != 0)
        assert_int_equal(checkpoint.position.value, position);
    test_model_fold(model, f->store, checkpoint.position);
    struct compare compare = {.projection = projection, .model = model};
    must(reader->ops->range(reader, INT64_MIN, INT64_MAX, &checkpoint, compare_row, &compare, &err), &err, "compare");
    size_t wanted = 0;
    for (size_t i = 0; i < TEST_MODEL_KEYS; i++)
        wanted += projection->tables[0].row->size == sizeof(struct test_account)
                      ? model->accounts[i] != NULL
                      : i < TEST_BRANCHES && model->branches[i] != NULL;
    assert_int_equal(compare.seen, wanted);
    test_model_release(model);
    free(model);
    sink_close(reader);
    sink_close(sink);
    return checkpoint.position.value;
}

/* ---- tests ---- */

static void a_view_equals_the_fold(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        setup(&f);
        test_append_random(f.store, &f.random, 5000, ACCOUNTS);
        start(&f, &test_projections[i], false);
        wait_state(&f, PROJECTION_LIVE);
        check_view(&f, &test_projections[i], 5000);
        for (int round = 0; round < 20; round++) { /* live */
            test_append_random(f.store, &f.random, 1 + os_random_below(&f.random, 100), ACCOUNTS);
            wait_tail(&f);
        }
        struct projection_status status;
        projection_status(f.runner, &status);
        assert_int_equal(status.state, PROJECTION_LIVE);
        assert_int_equal(status.checkpoint.position.value, store_tail(f.store).value);
        assert_int_equal(status.events_applied, store_tail(f.store).value);
        assert_int_equal(status.eta_us, 0);
        assert_true(status.lag_us_p50 > 0 && status.lag_us_p50 <= status.lag_us_p99);
        assert_true(status.lag_us_p99 <= status.lag_us_max);
        stop(&f);
        test_append_random(f.store, &f.random, 1000, ACCOUNTS);
        start(&f, &test_projections[i], false); /* goes on, with a cold cache */
        wait_tail(&f);
        projection_status(f.runner, &status);
        assert_int_equal(status.events_applied, 1000);
        stop(&f);
        check_view(&f, &test_projections[i], store_tail(f.store).value);
        teardown(&f);
    }
}

static void a_new_version_builds_the_view_anew(void **state)
{
    struct fixture f;
    struct banyan_projection next = test_projections[TEST_VIEW_ACCOUNTS];
    next.version = 2;
    setup(&f);
    test_append_random(f.store, &f.random, 2000, ACCOUNTS);
    start(&f, &test_projections[TEST_VIEW_ACCOUNTS], false);
    wait_tail(&f);
    stop(&f);
    start(&f, &next, false);
    wait_tail(&f);
    struct projection_status status;
    projection_status(f.runner, &status);
    assert_int_equal(status.events_applied, 2000);
    stop(&f);
    check_view(&f, &next, 2000);
    teardown(&f);
}

static void a_held_view_is_not_live(void **state)
{
    struct fixture f;
    setup(&f);
    start(&f, &test_projections[TEST_VIEW_ACCOUNTS], true);
    test_append_random(f.store, &f.random, 3000, ACCOUNTS);
    wait_tail(&f);
    assert_int_equal(projection_state(f.runner, NULL), PROJECTION_CATCHING_UP);
    struct projection_status status;
    projection_status(f.runner, &status);
    assert_int_equal(status.eta_us, INT64_MAX);
    projection_release(f.runner);
    wait_state(&f, PROJECTION_LIVE);
    stop(&f);
    check_view(&f, &test_projections[TEST_VIEW_ACCOUNTS], 3000);
    teardown(&f);
}

static void append(struct fixture *f, struct store_event *events, size_t count)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    must(store_append(f->store, &(struct store_append){.events = events, .event_count = count}, &appended, &err), &err,
         "append");
}

static void events_of_others_move_the_checkpoint(void **state)
{
    struct fixture f;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    static const char *const names[] = {"accounts-1", "acc-1", "$account-1", "account", "x-account-1"};
    setup(&f);
    start(&f, &test_projections[TEST_VIEW_ACCOUNTS], false);
    for (size_t i = 0; i < 5; i++) {
        struct store_event event = test_event_random(&f.random, 1, &arena);
        event.stream = banyan_str_of(names[i]);
        append(&f, &event, 1);
    }
    wait_tail(&f);
    struct projection_status status;
    projection_status(f.runner, &status);
    assert_int_equal(status.events_applied + status.poisoned + status.rows_written, 0);
    assert_int_equal(projection_wait(f.runner, (struct banyan_position){6}, 1000, &err), BANYAN_TIMEOUT);
    assert_non_null(strstr(err.message, "accounts"));
    stop(&f);
    teardown(&f);
    banyan_arena_release(&arena);
}

static uint64_t lsn_of(struct store_cursor cursor)
{
    return banyan_str_equal(cursor.name, BANYAN_STR("source")) ? (uint64_t)cursor.value.size : 0;
}

static void legacy_positions_can_be_waited_for(void **state)
{
    struct fixture f;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    struct sink *sink = NULL;
    setup(&f);
    must(os_stop_open(&f.stop, &err), &err, "stop token");
    must(sink_sqlite_open(&test_projections[0], f.path, &sink, &err), &err, "open");
    must(projection_start(&(struct projection_options){.domain = &test_domain,
                                                       .projection = &test_projections[0],
                                                       .store = f.store,
                                                       .sink = sink,
                                                       .stop = &f.stop,
                                                       .cursor_lsn = lsn_of},
                          &f.runner, &err),
         &err, "start");
    for (size_t i = 1; i <= 9; i++) {
        struct store_event events[2] = {test_event_random(&f.random, 1, &arena),
                                        test_event_random(&f.random, 2, &arena)};
        struct store_append batch = {
            .events = events, .event_count = 2, .cursor = {BANYAN_STR("source"), {"123456789", i}}};
        must(store_append(f.store, &batch, &appended, &err), &err, "append");
        must(projection_wait_lsn(f.runner, i, LIMIT_US, &err), &err, "wait");
        struct sink_checkpoint checkpoint;
        (void)projection_state(f.runner, &checkpoint); /* only the checkpoint matters */
        assert_int_equal(checkpoint.source_lsn, i);
        assert_true(checkpoint.position.value >= i * 2);
    }
    assert_int_equal(projection_wait_lsn(f.runner, 10, 1000, NULL), BANYAN_TIMEOUT);
    stop(&f);
    teardown(&f);
    banyan_arena_release(&arena);
}

/* Streams of which an event cannot be understood stand still; all others go on; a restart remembers. */
static void what_cannot_be_understood_is_put_aside(void **state)
{
    struct fixture f;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct test_opened opened = {BANYAN_STR("x"), {NULL, 0}, 1, banyan_decimal_null()};
    struct banyan_time at = {1};
    setup(&f);
    for (int64_t key = 1; key <= 6; key++) {
        struct store_event event = test_event_of(TEST_OPENED, &opened, key, at, &f.random, &arena);
        append(&f, &event, 1);
    }
    struct test_renamed renamed = {BANYAN_STR("y")};
    struct store_event bad[5];
    for (int64_t key = 1; key <= 5; key++)
        bad[key - 1] = test_event_of(TEST_RENAMED, &renamed, key, at, &f.random, &arena);
    bad[0].payload.size--;                    /* a cut payload */
    bad[1].schema = 9;                        /* a version of the future */
    bad[2].type = BANYAN_STR("Invented");     /* an unknown type */
    bad[3].stream = BANYAN_STR("account-4x"); /* no key */
    bad[4].payload = BANYAN_STR("\x06"
                                "a\0b"); /* text that no sink keeps */
    append(&f, bad, 5);
    for (int64_t key = 1; key <= 6; key++) {
        struct store_event event = test_event_of(TEST_RENAMED, &renamed, key, at, &f.random, &arena);
        append(&f, &event, 1);
    }
    start(&f, &test_projections[TEST_VIEW_ACCOUNTS], false);
    wait_tail(&f);
    wait_state(&f, PROJECTION_LIVE);
    for (int round = 0; round < 2; round++) {
        struct projection_status status;
        struct sink *reader = NULL;
        projection_status(f.runner, &status);
        assert_int_equal(status.state, PROJECTION_LIVE);
        assert_int_equal(status.poisoned, 5);
        assert_int_equal(projection_reader(f.runner, &reader, NULL), BANYAN_OK);
        for (int64_t key = 1; key <= 6; key++) {
            struct test_account row;
            assert_int_equal(reader->ops->get(reader, key, &arena, &row, NULL), BANYAN_OK);
            bool stands_still = key <= 3 || key == 5;
            assert_true(banyan_str_equal(row.owner, stands_still ? BANYAN_STR("x") : BANYAN_STR("y")));
        }
        struct sink_aside *asides;
        size_t count;
        assert_int_equal(reader->ops->asides(reader, &arena, &asides, &count, NULL), BANYAN_OK);
        assert_int_equal(count, 5);
        for (size_t i = 0; i < count; i++)
            assert_true(asides[i].reason.size > 10 && asides[i].position.value >= 7 && asides[i].position.value <= 11);
        sink_close(reader);
        stop(&f);
        if (round == 1)
            break;
        for (int64_t key = 1; key <= 6; key++) {
            struct store_event event = test_event_of(TEST_RENAMED, &renamed, key, at, &f.random, &arena);
            append(&f, &event, 1);
        }
        start(&f, &test_projections[TEST_VIEW_ACCOUNTS], false);
        wait_tail(&f);
        wait_state(&f, PROJECTION_LIVE);
    }
    teardown(&f);
    banyan_arena_release(&arena);
}

/* Amounts that move between two accounts in one append: a reader never sees one half. */
static void a_batch_is_seen_whole(void **state)
{
    struct fixture f;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    setup(&f);
    for (int i = 0; i < 2000; i++) {
        struct test_moved moved = {1, banyan_decimal_of(100 + i, 2)}, back = {1, banyan_decimal_of(-100 - i, 2)};
        struct banyan_time at = {1};
        struct store_event events[7];
        for (int64_t e = 0; e < 6; e += 2) {
            events[e] = test_event_of(TEST_MOVED, &moved, 1 + e, at, &f.random, &arena);
            events[e + 1] = test_event_of(TEST_MOVED, &back, 2 + e, at, &f.random, &arena);
        }
        events[6] = events[0];
        events[6].id = os_uuid_new();
        events[6].stream = BANYAN_STR("other-1");
        struct store_appended appended;
        assert_int_equal(
            store_submit(f.store, &(struct store_append){.events = events, .event_count = 7}, &appended, NULL),
            BANYAN_OK);
        banyan_arena_reset(&arena);
    }
    assert_int_equal(store_wait(f.store, store_tail(f.store), LIMIT_US, NULL), BANYAN_OK);
    start(&f, &test_projections[TEST_VIEW_ACCOUNTS], false);
    struct sink *reader = NULL;
    struct sink_checkpoint checkpoint = {.source_lsn = 0};
    assert_int_equal(projection_reader(f.runner, &reader, NULL), BANYAN_OK);
    while (checkpoint.position.value < 14000) {
        assert_int_equal(reader->ops->checkpoint(reader, &checkpoint, NULL), BANYAN_OK);
        assert_int_equal(checkpoint.position.value % 7, 0);
        if (checkpoint.position.value < 14000)
            assert_int_equal(
                projection_wait(f.runner, (struct banyan_position){checkpoint.position.value + 1}, LIMIT_US, NULL),
                BANYAN_OK);
    }
    assert_int_equal(checkpoint.position.value, 14000);
    sink_close(reader);
    stop(&f);
    teardown(&f);
    banyan_arena_release(&arena);
}

static void run_sql(struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* A flush that fails in its middle is taken back whole, shown, and tried again until it works. */
static void a_failed_flush_is_tried_again(void **state)
{
    struct fixture f;
    setup(&f);
    test_append_random(f.store, &f.random, 500, ACCOUNTS);
    start(&f, &test_projections[TEST_VIEW_ACCOUNTS], false);
    wait_tail(&f);
    run_sql(&f, "CREATE TRIGGER no_150 BEFORE UPDATE ON accounts WHEN new.id = 150 BEGIN SELECT raise(ABORT, 'not "
                "today'); END; CREATE TRIGGER no_150_new BEFORE INSERT ON accounts WHEN new.id = 150 BEGIN SELECT "
                "raise(ABORT, 'not today'); END");
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct test_moved moved = {1, banyan_decimal_of(100, 2)}; /* applied twice it would show */
    struct store_event events[3];
    for (int64_t i = 0; i < 3; i++)
        events[i] = test_event_of(TEST_MOVED, &moved, 149 + i, (struct banyan_time){5}, &f.random, &arena);
    append(&f, events, 3);
    wait_state(&f, PROJECTION_FAILED);
    struct projection_status status;
    projection_status(f.runner, &status);
    assert_int_equal(status.checkpoint.position.value, 500);
    assert_non_null(strstr(status.error.message, "not today"));
    check_view(&f, &test_projections[TEST_VIEW_ACCOUNTS], 500);
    run_sql(&f, "DROP TRIGGER no_150; DROP TRIGGER no_150_new");
    wait_tail(&f);
    wait_state(&f, PROJECTION_LIVE);
    projection_status(f.runner, &status);
    assert_int_equal(status.error.status, BANYAN_OK);
    stop(&f);
    check_view(&f, &test_projections[TEST_VIEW_ACCOUNTS], 503);
    teardown(&f);
    banyan_arena_release(&arena);
}

static void a_view_of_another_log_is_refused(void **state)
{
    struct fixture f;
    setup(&f);
    test_append_random(f.store, &f.random, 100, ACCOUNTS);
    start(&f, &test_projections[TEST_VIEW_ACCOUNTS], false);
    wait_tail(&f);
    stop(&f);
    run_sql(&f, "UPDATE banyan_checkpoint SET position = 101");
    start(&f, &test_projections[TEST_VIEW_ACCOUNTS], false);
    wait_state(&f, PROJECTION_FAILED);
    struct projection_status status;
    projection_status(f.runner, &status);
    assert_int_equal(status.error.status, BANYAN_MISMATCH);
    assert_true(status.error.hint[0] != '\0');
    stop(&f);
    teardown(&f);
}

/* ---- kill -9 ---- */

static void die(int number)
{
    kill(getpid(), SIGKILL);
}

/* Appends and projects until the alarm. */
static _Noreturn void child(char **argv)
{
    struct fixture f = {.folder = argv[1]};
    os_random_seed(&f.random, strtoull(argv[2], NULL, 10));
    open_store(&f);
    start(&f, &test_projections[strtol(argv[3], NULL, 10)], false);
    signal(SIGALRM, die);
    struct itimerval timer = {.it_value = {0, 500 + (suseconds_t)os_random_below(&f.random, 60000)}};
    setitimer(ITIMER_REAL, &timer, NULL);
    for (;;)
        test_append_random(f.store, &f.random, 1 + os_random_below(&f.random, 500), ACCOUNTS);
}

/* Each view has a folder of its own below the test's. */
static void kill_one(struct fixture *f, long which)
{
    extern char **environ;
    char seed[32], view[4];
    snprintf(seed, sizeof(seed), "%" PRIu64, os_random_next(&f->random));
    snprintf(view, sizeof(view), "%ld", which);
    char *arguments[] = {(char *)(uintptr_t)program, f->folder, seed, view, NULL};
    pid_t pid;
    int status;
    assert_int_equal(posix_spawn(&pid, program, NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void killed_at_any_instant_it_goes_on(void **state)
{
    for (long which = 0; which < 2; which++) {
        const struct banyan_projection *projection = &test_projections[which];
        struct fixture f;
        uint64_t position = 0, moves = 0;
        setup(&f);
        test_append_random(f.store, &f.random, 10000, ACCOUNTS);
        for (int round = 0; round < KILLS; round++) {
            store_close(f.store);
            kill_one(&f, which);
            open_store(&f);
            uint64_t now = check_view(&f, projection, 0);
            assert_true(now >= position);
            moves += now > position;
            position = now;
        }
        assert_true(moves >= KILLS / 4); /* else the kills came too early to mean anything */
        start(&f, projection, false);
        wait_tail(&f);
        stop(&f);
        check_view(&f, projection, store_tail(f.store).value);
        teardown(&f);
    }
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc == 4)
        child(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_equals_the_fold),
        cmocka_unit_test(a_new_version_builds_the_view_anew),
        cmocka_unit_test(a_held_view_is_not_live),
        cmocka_unit_test(events_of_others_move_the_checkpoint),
        cmocka_unit_test(legacy_positions_can_be_waited_for),
        cmocka_unit_test(what_cannot_be_understood_is_put_aside),
        cmocka_unit_test(a_batch_is_seen_whole),
        cmocka_unit_test(a_failed_flush_is_tried_again),
        cmocka_unit_test(a_view_of_another_log_is_refused),
        cmocka_unit_test(killed_at_any_instant_it_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
