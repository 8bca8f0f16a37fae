/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backfills beside a real streaming replica that is slow, silent, paused, late on purpose, or gone.
 *
 *   with-postgres with-replica r1 replica_lag
 *
 * True lag is measured from outside: a row that a thread writes each 20 ms at the primary with the time, and reads at
 * the replica.  The replica is slowed by stopping its startup process again and again.
 */
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "../unit/pg/pg_test.h"
#include "migrate/batches.h"

extern char **environ;

enum {
    LIMIT_US = 1000000,
    ROWS = 120000,
};

static struct pg_conn *conn, *watch, *replica;
static struct banyan_error err;

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static void sleep_us(int64_t us)
{
    os_clock_real()->sleep_us(os_clock_real(), us);
}

static struct pg_conn *connect_to_replica(void)
{
    struct pg_options options = {.conninfo = getenv("BANYAN_TEST_REPLICA")};
    struct pg_conn *ret = NULL;
    int64_t limit_us = now_us() + 30000000;

    assert_non_null(options.conninfo);
    while (pg_connect(&options, &ret, NULL) != BANYAN_OK) {
        assert_true(now_us() < limit_us);
        sleep_us(50000);
    }
    return ret;
}

static void control(const char *verb)
{
    char *arguments[] = {getenv("BANYAN_TEST_REPLICA_CTL"), strdup(verb), NULL};
    pid_t pid;
    int state = 0;

    assert_non_null(arguments[0]);
    assert_int_equal(posix_spawn(&pid, arguments[0], NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(pid, &state, 0), pid);
    assert_int_equal(state, 0);
    free(arguments[1]);
}

/* A process of the replica. */
static pid_t process_of(const char *kind)
{
    char sql[128];
    char *text;
    pid_t pid;

    (void)snprintf(sql, sizeof(sql), "SELECT pid FROM pg_stat_activity WHERE backend_type = '%s'", kind);
    text = test_value(replica, sql);
    pid = (pid_t)atoi(text);
    free(text);
    assert_true(pid > 1);
    return pid;
}

/* ---- the truth about lag, and a brake ---- */

struct observer {
    pthread_t thread;
    int stop;           /* atomic */
    pid_t brake;        /* of the startup process: stopped most of the time; 0: not at all */
    int64_t lag_us_max; /* of the thread until it ends */
};

/* What was written before it began says nothing: wait until the replica has the first beat. */
static void first_beat(struct pg_conn *here, struct pg_conn *there)
{
    char *at, sql[128];

    test_run(here, "UPDATE beat SET at = clock_timestamp()");
    at = test_value(here, "SELECT at FROM beat");
    (void)snprintf(sql, sizeof(sql), "SELECT at >= '%s' FROM beat", at);
    test_wait_value(there, sql, "t");
    free(at);
}

static void *observe(void *context)
{
    struct observer *observer = context;
    struct pg_conn *here = test_connect(false), *there = connect_to_replica();

    first_beat(here, there);
    while (__atomic_load_n(&observer->stop, __ATOMIC_RELAXED) == 0) {
        char *text;
        int64_t lag_us;

        if (observer->brake > 0)
            (void)kill(observer->brake, SIGSTOP); /* it lives as long as the replica */
        test_run(here, "UPDATE beat SET at = clock_timestamp()");
        text = test_value(there, "SELECT (extract(epoch FROM clock_timestamp() - at) * 1000000)::bigint FROM beat");
        lag_us = atoll(text);
        free(text);
        sleep_us(120000);
        if (observer->brake > 0)
            (void)kill(observer->brake, SIGCONT);
        sleep_us(10000);
        if (lag_us > observer->lag_us_max)
            observer->lag_us_max = lag_us;
    }
    pg_close(here);
    pg_close(there);
    return NULL;
}

static void observer_start(struct observer *observer, bool brake)
{
    *observer = (struct observer){.brake = brake ? process_of("startup") : 0};
    assert_int_equal(pthread_create(&observer->thread, NULL, observe, observer), 0);
}

static int64_t observer_end(struct observer *observer)
{
    __atomic_store_n(&observer->stop, 1, __ATOMIC_RELAXED);
    assert_int_equal(pthread_join(observer->thread, NULL), 0);
    return observer->lag_us_max;
}

/* ---- a backfill ---- */

struct told {
    unsigned reasons;
    char reason[1024]; /* the last one */
    int64_t first_us;  /* when it was told first */
    int64_t rows_then, rows_moved;
    int64_t hold_us;       /* after so long with a reason: */
    void (*release)(void); /* once */
};

static void on_progress(void *context, const struct batches_progress *progress)
{
    struct told *told = context;

    if (progress->reason == NULL)
        return;
    (void)snprintf(told->reason, sizeof(told->reason), "%s", progress->reason);
    if (told->reasons++ == 0) {
        told->first_us = now_us();
        told->rows_then = progress->step->rows;
        fprintf(stderr, "# held: %s\n", told->reason);
    }
    if (told->release != NULL && now_us() - told->first_us > told->hold_us) {
        told->rows_moved = progress->step->rows - told->rows_then;
        told->release();
        told->release = NULL;
    }
}

static void wait_until_replayed(void)
{
    char *lsn = test_value(conn, "SELECT pg_current_wal_lsn()"), sql[128];

    (void)snprintf(sql, sizeof(sql), "SELECT pg_last_wal_replay_lsn() >= '%s'", lsn);
    test_wait_value(replica, sql, "t");
    free(lsn);
}

/* All is to be done again, and the replica knows it. */
static void empty(void)
{
    test_run(conn, "UPDATE t SET b = NULL");
    test_run(conn, "VACUUM t");
    test_wait_value(conn, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1");
    wait_until_replayed();
}

static void fill(const struct throttle_options *throttle, struct told *told)
{
    static const struct plan_batches plan = {.table = BANYAN_STR("public.t"),
                                             .set = BANYAN_STR("b = t.a + 1, pad = t.pad || 'y'"),
                                             .needs = BANYAN_STR("t.b IS NULL")};
    struct batches_options options = {
        .version = BANYAN_STR("v1"), .throttle = throttle, .progress = on_progress, .context = told};
    struct books_step step = {0};
    int64_t start_us = now_us();

    OK(batches_run(conn, watch, &plan, &options, &step, &err));
    assert_int_equal(step.rows, ROWS);
    test_value_is(conn, "SELECT count(*) FROM t WHERE b IS DISTINCT FROM a + 1", "0");
    fprintf(stderr, "# %.1f s, told %u times why it waits, last: %s\n", (double)(now_us() - start_us) / 1e6,
            told->reasons, told->reason);
}

static void reason_has(const struct told *told, const char *text)
{
    if (strstr(told->reason, text) == NULL)
        fail_msg("the reason is \"%s\"", told->reason);
}

/* ---- the tests ---- */

/* What it is worth: without the throttle the same replica falls back further than the limit. */
static void test_slow(void **state)
{
    struct throttle_options off = {.replica_lag_us_max = -1}, on = {.replica_lag_us_max = LIMIT_US};
    struct told told = {0};
    struct observer observer;
    int64_t without_us, with_us;

    (void)state;
    empty();
    observer_start(&observer, true);
    fill(&off, &told);
    without_us = observer_end(&observer);
    empty();
    observer_start(&observer, true);
    fill(&on, &told);
    with_us = observer_end(&observer);
    fprintf(stderr, "# greatest lag of a slow replica: %.2f s without the throttle, %.2f s with (limit %.1f s)\n",
            (double)without_us / 1e6, (double)with_us / 1e6, LIMIT_US / 1e6);
    assert_true(told.reasons > 0);
    reason_has(&told, "replica r1 ");
    assert_true(with_us < LIMIT_US);
    if (without_us < LIMIT_US) /* the machine wrote too slowly */
        fprintf(stderr, "# the brake was too weak: nothing is shown\n");
}

static void resume_replay(void)
{
    test_run(replica, "SELECT pg_wal_replay_resume()");
}

static void test_paused(void **state)
{
    struct throttle_options throttle = {.replica_lag_us_max = LIMIT_US};
    struct told told = {.hold_us = 2000000, .release = resume_replay};

    (void)state;
    empty();
    test_run(replica, "SELECT pg_wal_replay_pause()");
    fill(&throttle, &told);
    assert_null(told.release);
    assert_int_equal(told.rows_moved, 0);
    reason_has(&told, "replica r1 ");
}

static pid_t stopped;
static void go_on(void)
{
    assert_int_equal(kill(stopped, SIGCONT), 0);
}

/* It is connected, takes nothing, says nothing. */
static void test_silent(void **state)
{
    struct throttle_options throttle = {.replica_lag_us_max = LIMIT_US};
    struct told told = {.hold_us = 2000000, .release = go_on};

    (void)state;
    empty();
    stopped = process_of("walreceiver");
    assert_int_equal(kill(stopped, SIGSTOP), 0);
    fill(&throttle, &told);
    assert_null(told.release);
    assert_int_equal(told.rows_moved, 0);
    reason_has(&told, "replica r1 is ");
}

/* A replica that is meant to be late: within the limit it does not matter. */
static void test_late_on_purpose(void **state)
{
    struct throttle_options throttle = {.replica_lag_us_max = LIMIT_US};
    struct told told = {0};
    struct observer observer;
    int64_t lag_us;

    (void)state;
    test_run(replica, "ALTER SYSTEM SET recovery_min_apply_delay = '300ms'");
    test_run(replica, "SELECT pg_reload_conf()");
    empty();
    observer_start(&observer, false);
    fill(&throttle, &told);
    lag_us = observer_end(&observer);
    fprintf(stderr, "# greatest lag of a replica that is late by 0.3 s: %.2f s\n", (double)lag_us / 1e6);
    assert_true(lag_us >= 250000 && lag_us < LIMIT_US);
    test_run(replica, "ALTER SYSTEM RESET recovery_min_apply_delay");
    test_run(replica, "SELECT pg_reload_conf()");
}

static void start_again(void)
{
    control("start");
}

/* A named replica that cannot be reached; one that nobody named is not missed. */
static void test_gone(void **state)
{
    static const char *const names[] = {"r1"};
    struct throttle_options throttle = {.replica_lag_us_max = LIMIT_US, .replicas = names, .replica_count = 1};
    struct throttle_state asked = {0};
    struct told told = {.hold_us = 2000000, .release = start_again};
    struct throttle_options unnamed = {.replica_lag_us_max = LIMIT_US};

    (void)state;
    test_run(conn, "UPDATE t SET b = NULL");
    pg_close(replica);
    control("immediate");
    throttle_ask(&unnamed, watch, &asked);
    assert_false(asked.hold);
    assert_int_equal(asked.replica_lag_us, -1);
    throttle_ask(&throttle, watch, &asked);
    assert_true(asked.hold);
    assert_string_equal(asked.reason.data, "replica r1 is not connected");
    throttle_state_release(&asked);

    static const struct plan_batches plan = {
        .table = BANYAN_STR("public.t"), .set = BANYAN_STR("b = t.a + 1"), .needs = BANYAN_STR("t.b IS NULL")};
    struct batches_options options = {
        .version = BANYAN_STR("v1"), .throttle = &throttle, .progress = on_progress, .context = &told};
    struct books_step step = {0};

    OK(batches_run(conn, watch, &plan, &options, &step, &err));
    assert_null(told.release);
    assert_int_equal(told.rows_moved, 0);
    assert_int_equal(told.rows_then, 0); /* it did not even begin */
    assert_int_equal(step.rows, ROWS);
    replica = connect_to_replica();
}

static int up(void **state)
{
    char sql[512];

    (void)state;
    conn = test_connect(false);
    watch = test_connect(false);
    replica = connect_to_replica();
    banyan_error_clear(&err);
    OK(books_prepare(conn, &err));
    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO banyan.schema_migrations (version, description, state, rollback_script, tables, source,"
                   " plan) VALUES ('v1', '', 'backfilling', '', '[]', '', '');"
                   "INSERT INTO banyan.schema_migration_steps (version, number, phase, name, title)"
                   " VALUES ('v1', 0, 'backfill', 'fill', '');"
                   "CREATE TABLE beat (at timestamptz); INSERT INTO beat VALUES (clock_timestamp());"
                   "CREATE TABLE t (id int PRIMARY KEY, a int, b int, pad text);"
                   "INSERT INTO t SELECT i, i, NULL, repeat('x', 300) FROM generate_series(1, %d) i",
                   ROWS);
    test_run(conn, sql);
    return 0;
}

static int down(void **state)
{
    (void)state;
    pg_close(conn);
    pg_close(watch);
    pg_close(replica);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow),   cmocka_unit_test(test_paused),
        cmocka_unit_test(test_silent), cmocka_unit_test(test_late_on_purpose),
        cmocka_unit_test(test_gone),
    };

    return cmocka_run_group_tests(tests, up, down);
}
