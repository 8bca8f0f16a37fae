/* SPDX-License-Identifier: Apache-2.0 */
/*
 * src/migrate/run*.c on a real server: a migration with a step of every kind there and back; who is in the way, and for
 * how long others wait behind us; indexes that fail, are left over, or are somebody else's; a server that goes away.
 */
#include <unistd.h>

#include "os/clock.h"
#include "os/thread.h"
#include "run_test.h"

/* ---- there and back ---- */

static void test_all_the_way(void **state)
{
    struct run_options options = plain();
    struct banyan_str before = text(every_step_print), ready, completed;
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct books_migration books;

    OK(run_start(&options, &every.migration, &every.plan, &err));
    assert_int_equal(state_of("v1"), BOOKS_READY);
    assert_string_equal(text("SELECT count(*) FROM t WHERE b = a || '!'").data, "4000");
    assert_string_equal(text("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_b'::regclass").data, "t");
    ready = text(every_step_print);
    OK(run_complete(&options, BANYAN_STR("v1"), &err));
    assert_int_equal(state_of("v1"), BOOKS_COMPLETED);
    completed = text(every_step_print);
    assert_string_not_equal(completed.data, ready.data);
    OK(run_complete(&options, BANYAN_STR("v1"), &err)); /* once more is nothing */
    OK(run_resume(&options, BANYAN_STR("v1"), &err));
    OK(run_rollback(&options, BANYAN_STR("v1"), &err));
    assert_int_equal(state_of("v1"), BOOKS_ROLLED_BACK);
    assert_string_equal(text(every_step_print).data, before.data);
    assert_int_equal(run_complete(&options, BANYAN_STR("v1"), &why), BANYAN_CONFLICT);
    OK(run_start(&options, &every.migration, &every.plan, &err));
    assert_string_equal(text(every_step_print).data, ready.data);
    OK(run_rollback(&options, BANYAN_STR("v1"), &err));
    assert_string_equal(text(every_step_print).data, before.data);
    OK(run_start(&options, &every.migration, &every.plan, &err));
    OK(run_complete(&options, BANYAN_STR("v1"), &err));
    assert_string_equal(text(every_step_print).data, completed.data);
    OK(run_cleanup(&options, BANYAN_STR("v1"), &err));
    assert_int_equal(state_of("v1"), BOOKS_DONE);
    assert_string_equal(text("SELECT count(*) FROM pg_attribute WHERE attname = '_kept_a'").data, "0");
    assert_int_equal(run_rollback(&options, BANYAN_STR("v1"), NULL), BANYAN_CONFLICT);
    OK(books_read(conn, BANYAN_STR("v1"), &arena, &books, &err));
    for (size_t i = 0; i < books.step_count; i++) {
        assert_int_equal(books.steps[i].state, BOOKS_STEP_DONE);
        assert_true(books.steps[i].started_us > 0 && books.steps[i].ended_us >= books.steps[i].started_us);
    }
    assert_int_equal(books.steps[3].rows, 4000);
    assert_true(books.execution_ms > 0);
}

static void test_refused(void **state)
{
    struct run_options options = plain();
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct plan_check *check = plan_check_add(&every.work, PLAN_CONTRACT);

    check->sql = BANYAN_STR("SELECT count(*) FROM t WHERE n > 990");
    check->message = BANYAN_STR("rows of t.n do not fit");
    check->hint = BANYAN_STR("make them smaller");
    assert_int_equal(run_start(&options, &every.migration, &every.plan, &why), BANYAN_NOT_MET);
    assert_string_equal(why.message, "36 rows of t.n do not fit");
    assert_string_equal(why.hint, "make them smaller");
    assert_int_equal(books_read(conn, BANYAN_STR("v1"), &arena, &(struct books_migration){.paused = false}, NULL),
                     BANYAN_NOT_FOUND);
    /* What came meanwhile is found before contract. */
    check->sql = BANYAN_STR("SELECT count(*) FROM t WHERE n < 0");
    OK(run_start(&options, &every.migration, &every.plan, &err));
    OK(pg_run(conn, "UPDATE t SET n = -1 WHERE id = 1", &err));
    banyan_error_clear(&why);
    assert_int_equal(run_complete(&options, BANYAN_STR("v1"), &why), BANYAN_NOT_MET);
    assert_int_equal(state_of("v1"), BOOKS_READY);
    OK(pg_run(conn, "UPDATE t SET n = 1 WHERE id = 1", &err));
    OK(run_complete(&options, BANYAN_STR("v1"), &err));
}

static void test_two_migrators(void **state)
{
    struct run_options options = plain();
    struct pg_conn *other = connect_as("the other migrator");
    struct banyan_error why = BANYAN_ERROR_INIT;

    OK(books_prepare(other, &err));
    OK(books_lock(other, &err));
    assert_int_equal(run_start(&options, &every.migration, &every.plan, &why), BANYAN_BUSY);
    assert_non_null(strstr(why.message, "the other migrator"));
    pg_close(other);
    OK(run_start(&options, &every.migration, &every.plan, &err));
}

/* ---- pause ---- */

static void pause_at_index(void *context, const struct run_progress *progress)
{
    if (progress->step == *(size_t *)context && progress->migration->step_count > 0)
        OK(books_pause(conn, BANYAN_STR("v1"), true, &err));
}

static void test_pause(void **state)
{
    struct run_options options = plain(), unpaused = plain();
    struct banyan_error why = BANYAN_ERROR_INIT;

    for (size_t step = 0; step < 3; step++) {
        options.progress = pause_at_index;
        options.context = &step;
        assert_int_equal(step == 0 ? run_start(&options, &every.migration, &every.plan, &why)
                                   : run_resume(&options, BANYAN_STR("v1"), &why),
                         BANYAN_BUSY);
        assert_non_null(strstr(why.message, "is paused"));
        banyan_error_clear(&why);
    }
    OK(run_resume(&unpaused, BANYAN_STR("v1"), &err));
    assert_int_equal(state_of("v1"), BOOKS_READY);
}

/* ---- who is in the way ---- */

struct reader {
    struct os_thread thread;
    bool stop; /* atomic */
    int64_t longest_us, count;
};

static void read_on(void *argument)
{
    struct reader *reader = argument;
    struct pg_conn *own = connect_as("reader");

    while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED)) {
        int64_t begun_us = os_clock_monotonic_us(os_clock_real()), took_us;

        OK(pg_run(own, "SELECT count(*) FROM t WHERE id = 5", &err));
        took_us = os_clock_monotonic_us(os_clock_real()) - begun_us;
        reader->longest_us = took_us > reader->longest_us ? took_us : reader->longest_us;
        reader->count++;
        usleep(2000);
    }
    pg_close(own);
}

static void reader_stop(struct reader *reader)
{
    __atomic_store_n(&reader->stop, true, __ATOMIC_RELAXED);
    os_thread_join(&reader->thread);
}

struct holder {
    struct pg_conn *conn;
    struct os_thread thread;
    int64_t hold_us;
    char seen[4096]; /* what the run told of waiting */
    uint32_t tries;
};

static void let_go(void *argument)
{
    struct holder *holder = argument;

    usleep((useconds_t)holder->hold_us);
    OK(pg_run(holder->conn, "COMMIT", &err));
}

static void see(void *context, const struct run_progress *progress)
{
    struct holder *holder = context;

    /* A look may fall between two waits: who was seen once was seen. */
    if (progress->waiting.size > 0 && memmem(progress->waiting.data, progress->waiting.size, "pid ", 4) != NULL)
        (void)snprintf(holder->seen, sizeof(holder->seen), "%.*s", (int)progress->waiting.size, progress->waiting.data);
    if (progress->tries > holder->tries)
        holder->tries = progress->tries;
}

static void hold(struct holder *holder, const char *sql, int64_t hold_us)
{
    holder->conn = connect_as("the holder");
    OK(pg_run(holder->conn, "BEGIN", &err));
    OK(pg_run(holder->conn, sql, &err));
    holder->hold_us = hold_us;
    if (hold_us > 0)
        os_thread_start(&holder->thread, "holder", let_go, holder);
}

static void expect_seen(const struct holder *holder)
{
    char pid[64];

    (void)snprintf(pid, sizeof(pid), "pid %d (the holder, user postgres, idle in transaction for",
                   pg_backend_pid(holder->conn));
    if (strstr(holder->seen, pid) == NULL)
        fail_msg("'%s' does not tell of %s", holder->seen, pid);
}

/* A long reader is in the way of ALTER; who comes behind the ALTER waits a lock_timeout at most, again and again. */
static void test_short_waits(void **state)
{
    struct run_options options = plain();
    struct holder holder = {.conn = NULL};
    struct reader reader = {.stop = false};

    options.progress = see;
    options.context = &holder;
    hold(&holder, "SELECT count(*) FROM t", 5000000);
    os_thread_start(&reader.thread, "reader", read_on, &reader);
    OK(run_start(&options, &every.migration, &every.plan, &err));
    reader_stop(&reader);
    os_thread_join(&holder.thread);
    expect_seen(&holder);
    assert_true(holder.tries >= 2);
    (void)printf("# %lld reads, longest %lld us, %u tries\n", (long long)reader.count, (long long)reader.longest_us,
                 holder.tries);
    assert_true(reader.longest_us < 2500000); /* of 5 s: a lock_timeout is 200 ms, but the machine may be busy */
    assert_true(reader.longest_us > 50000);   /* else nothing was tested */
    pg_close(holder.conn);
}

static void test_gives_up(void **state)
{
    struct run_options options = plain();
    struct holder holder = {.conn = NULL};
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct books_migration books;

    options.try_us_max = 4000000;
    hold(&holder, "SELECT count(*) FROM t", 0);
    assert_int_equal(run_start(&options, &every.migration, &every.plan, &why), BANYAN_TIMEOUT);
    (void)snprintf(holder.seen, sizeof(holder.seen), "%s", why.detail);
    expect_seen(&holder);
    OK(books_read(conn, BANYAN_STR("v1"), &arena, &books, &err));
    assert_int_equal(books.state, BOOKS_EXPANDING);
    assert_int_equal(books.steps[0].state, BOOKS_STEP_RUNNING);
    (void)snprintf(holder.seen, sizeof(holder.seen), "%s", books.steps[0].message.data);
    expect_seen(&holder);
    /* Ended only when that was asked for, and only when idle for long enough. */
    options.kill_idle_us = 3600 * INT64_C(1000000);
    assert_int_equal(run_resume(&options, BANYAN_STR("v1"), NULL), BANYAN_TIMEOUT);
    options.kill_idle_us = 1000;
    options.try_us_max = 60000000;
    OK(run_resume(&options, BANYAN_STR("v1"), &err));
    assert_int_equal(pg_run(holder.conn, "COMMIT", NULL), BANYAN_UNAVAILABLE);
    pg_close(holder.conn);
}

/* Nobody's session: told by its name, and never ended. */
static void test_prepared(void **state)
{
    static const struct banyan_str relations[] = {{"\"public\".\"t\"", 12}};
    struct run_options options = plain();
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct blocker *list;
    size_t count;

    options.try_us_max = 4000000;
    options.kill_idle_us = 1;
    OK(pg_run(conn, "BEGIN", &err));
    OK(pg_run(conn, "SELECT count(*) FROM t", &err));
    OK(pg_run(conn, "PREPARE TRANSACTION 'stuck one'", &err));
    assert_int_equal(run_start(&options, &every.migration, &every.plan, &why), BANYAN_TIMEOUT);
    if (strstr(why.detail, "prepared transaction 'stuck one' of postgres (for ") == NULL)
        fail_msg("%s", why.detail);
    OK(blockers_on(conn, relations, 1, &arena, &list, &count, &err));
    assert_int_equal(count, 1);
    assert_true(list[0].prepared);
    OK(pg_run(conn, "ROLLBACK PREPARED 'stuck one'", &err));
    options.try_us_max = 60000000;
    OK(run_resume(&options, BANYAN_STR("v1"), &err));
}

/* An index build waits for an old snapshot, however unrelated; another migrator tries its lock meanwhile. */
struct trier {
    struct os_thread thread;
    bool stop;
    int busy;
};

static void try_on(void *argument)
{
    struct trier *trier = argument;
    struct pg_conn *own = connect_as("trier");

    while (!__atomic_load_n(&trier->stop, __ATOMIC_RELAXED)) {
        if (books_lock(own, NULL) == BANYAN_BUSY)
            trier->busy++;
        else
            OK(pg_run(own, "SELECT pg_advisory_unlock_all()", &err));
        usleep(5000);
    }
    pg_close(own);
}

static void add_index(struct every_step *ret, const char *sql)
{
    struct plan_step *step = plan_add(&ret->work, PLAN_BACKFILL, "index", PLAN_INDEX, PLAN_RETRY_WATCH);

    step->act.index = BANYAN_STR("\"public\".\"t_new\"");
    plan_sql(&ret->work, &step->act, sql);
    plan_undo(&ret->work, step, PLAN_INDEX_DROP, PLAN_RETRY_WATCH)->index = step->act.index;
}

static void test_index_waits(void **state)
{
    struct run_options options = plain();
    struct holder holder = {.conn = NULL};
    struct trier trier = {.busy = 0};
    struct every_step one;

    every_step_empty(&one, "v2");
    add_index(&one, "CREATE INDEX CONCURRENTLY t_new ON t (a)");
    options.progress = see;
    options.context = &holder;
    hold(&holder, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM c", 2500000);
    os_thread_start(&trier.thread, "trier", try_on, &trier);
    OK(run_start(&options, &one.migration, &one.plan, &err));
    __atomic_store_n(&trier.stop, true, __ATOMIC_RELAXED);
    os_thread_join(&trier.thread);
    os_thread_join(&holder.thread);
    expect_seen(&holder);
    assert_non_null(strstr(holder.seen, "waiting for old snapshots"));
    assert_true(trier.busy > 5);
    assert_int_equal(holder.tries, 0);
    OK(run_rollback(&options, BANYAN_STR("v2"), &err));
    /* The same, ended. */
    pg_close(holder.conn);
    hold(&holder, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM c", 0);
    options.kill_idle_us = 100000;
    OK(run_start(&options, &one.migration, &one.plan, &err));
    assert_int_equal(pg_run(holder.conn, "COMMIT", NULL), BANYAN_UNAVAILABLE);
    pg_close(holder.conn);
    every_step_release(&one);
}

/* An autovacuum gives way only to who waits for longer than we may: the weaker lock in front does that. */
static void test_autovacuum(void **state)
{
    struct run_options options = plain();
    int waited = 0;

    OK(pg_run(conn, "ALTER SYSTEM SET autovacuum_naptime = '1s'", &err));
    OK(pg_run(conn, "SELECT pg_reload_conf()", &err));
    OK(pg_run(conn,
              "ALTER TABLE t SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, "
              "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1); UPDATE t SET n = n + 1",
              &err));
    while (text("SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = 't'::regclass").data[0] == '0') {
        usleep(50000);
        if (++waited > 600)
            fail_msg("no autovacuum comes");
    }
    options.try_us_max = 30000000;
    OK(run_start(&options, &every.migration, &every.plan, &err));
    OK(pg_run(conn, "ALTER SYSTEM RESET autovacuum_naptime", &err));
    OK(pg_run(conn, "SELECT pg_reload_conf()", &err));
}

/* ---- indexes ---- */

static void test_index_fails(void **state)
{
    struct run_options options = plain();
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct every_step one;

    every_step_empty(&one, "v2");
    add_index(&one, "CREATE UNIQUE INDEX CONCURRENTLY t_new ON t (n)");
    assert_int_equal(run_start(&options, &one.migration, &one.plan, &why), BANYAN_QUERY);
    assert_string_equal(why.sqlstate, "23505");
    assert_string_equal(text("SELECT to_regclass('t_new') IS NULL").data, "t"); /* nothing is left */
    OK(pg_run(conn, "UPDATE t SET n = id", &err));
    OK(run_resume(&options, BANYAN_STR("v2"), &err));
    assert_string_equal(text("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_new'::regclass").data, "t");
    OK(run_rollback(&options, BANYAN_STR("v2"), &err));
    assert_string_equal(text("SELECT to_regclass('t_new') IS NULL").data, "t");
    every_step_release(&one);
}

static void test_index_of_others(void **state)
{
    struct run_options options = plain();
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct every_step one;

    every_step_empty(&one, "v2");
    add_index(&one, "CREATE INDEX CONCURRENTLY t_new ON t (a)");
    OK(pg_run(conn, "CREATE INDEX t_new ON t (m)", &err));
    assert_int_equal(run_start(&options, &one.migration, &one.plan, &why), BANYAN_CONFLICT);
    OK(run_rollback(&options, BANYAN_STR("v2"), &err));
    assert_string_equal(text("SELECT pg_get_indexdef('t_new'::regclass)").data,
                        "CREATE INDEX t_new ON public.t USING btree (m)");
    every_step_release(&one);
}

/* Invalid ones of a build that was ended, also those that REINDEX names. */
static void test_index_leftovers(void **state)
{
    struct run_options options = plain();
    struct every_step one;

    every_step_empty(&one, "v2");
    add_index(&one, "CREATE INDEX CONCURRENTLY t_new ON t (a)");
    OK(pg_run(conn,
              "CREATE INDEX t_new ON t (m); CREATE INDEX t_new_ccnew ON t (m); CREATE INDEX t_new_ccold1 ON t (m);"
              "CREATE INDEX t_newer_ccnew ON t (m); CREATE INDEX t_new_ccnew2 ON t (m);"
              "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('t_new'::regclass, 't_new_ccnew'::regclass,"
              "'t_new_ccold1'::regclass, 't_newer_ccnew'::regclass)",
              &err));
    OK(run_start(&options, &one.migration, &one.plan, &err));
    assert_string_equal(text("SELECT string_agg(relname || ' ' || indisvalid, ', ' ORDER BY relname) FROM pg_class "
                             "JOIN pg_index ON indexrelid = oid WHERE relname LIKE 't_new%'")
                            .data,
                        "t_new true, t_new_ccnew2 true, t_newer_ccnew false");
    assert_string_equal(text("SELECT pg_get_indexdef('t_new'::regclass)").data,
                        "CREATE INDEX t_new ON public.t USING btree (a)");
    every_step_release(&one);
}

/* ---- a server that goes away ---- */

struct world {
    int calls, stop_at;
    bool by_session; /* only the session is ended, not the server */
};

static void stop_world(void *context, const char *place)
{
    struct world *world = context;
    char command[512];

    if (++world->calls != world->stop_at)
        return;
    if (world->by_session) {
        struct pg_conn *own = connect_as("the end");

        OK(pg_run(
            own, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'banyan migrate run'",
            &err));
        pg_close(own);
        return;
    }
    (void)snprintf(command, sizeof(command), "%s/ctl restart", getenv("BANYAN_TEST_PG"));
    assert_int_equal(system(command), 0);
}

/* At the places where something can end: the run goes on as if nothing had been.  BANYAN_TEST_ALL=1: at every one. */
static void test_sessions_end(void **state)
{
    struct banyan_str before = text(every_step_print), completed = {.data = NULL};
    struct world world = {.by_session = true};
    struct run_hooks hooks = {.at = stop_world, .context = &world};
    struct run_options options = plain();
    int places = 1, pace = getenv("BANYAN_TEST_ALL") != NULL ? 1 : 20;

    options.hooks = &hooks;
    for (int stop_at = 0; stop_at <= places; stop_at += stop_at < 2 ? 1 : pace) {
        world.calls = 0;
        world.stop_at = stop_at;
        OK(run_start(&options, &every.migration, &every.plan, &err));
        OK(run_complete(&options, BANYAN_STR("v1"), &err));
        if (stop_at == 0)
            completed = text(every_step_print);
        else
            assert_string_equal(text(every_step_print).data, completed.data);
        OK(run_rollback(&options, BANYAN_STR("v1"), &err));
        if (stop_at == 0)
            places = world.calls;
        assert_string_equal(text(every_step_print).data, before.data);
    }
    (void)printf("# %d places\n", places);
}

static void test_server_restarts(void **state)
{
    struct world world = {.stop_at = 12};
    struct run_hooks hooks = {.at = stop_world, .context = &world};
    struct run_options options = plain();

    options.hooks = &hooks;
    OK(run_start(&options, &every.migration, &every.plan, &err));
    world = (struct world){.stop_at = 5};
    OK(run_complete(&options, BANYAN_STR("v1"), &err));
    pg_close(conn);
    conn = connect_as("run test");
    assert_int_equal(state_of("v1"), BOOKS_COMPLETED);
    assert_string_equal(text("SELECT count(*) FROM t WHERE a = _kept_a || '!' AND n >= 1000").data, "4000");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_the_way, fresh, done),
        cmocka_unit_test_setup_teardown(test_refused, fresh, done),
        cmocka_unit_test_setup_teardown(test_two_migrators, fresh, done),
        cmocka_unit_test_setup_teardown(test_pause, fresh, done),
        cmocka_unit_test_setup_teardown(test_short_waits, fresh, done),
        cmocka_unit_test_setup_teardown(test_gives_up, fresh, done),
        cmocka_unit_test_setup_teardown(test_prepared, fresh, done),
        cmocka_unit_test_setup_teardown(test_index_waits, fresh, done),
        cmocka_unit_test_setup_teardown(test_autovacuum, fresh, done),
        cmocka_unit_test_setup_teardown(test_index_fails, fresh, done),
        cmocka_unit_test_setup_teardown(test_index_of_others, fresh, done),
        cmocka_unit_test_setup_teardown(test_index_leftovers, fresh, done),
        cmocka_unit_test_setup_teardown(test_sessions_end, fresh, done),
        cmocka_unit_test_setup_teardown(test_server_restarts, fresh, done),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
