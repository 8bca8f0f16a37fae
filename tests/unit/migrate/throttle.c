/* SPDX-License-Identifier: Apache-2.0 */
/* src/migrate/throttle.c, on a real server: each reason, told, and gone again.  Replicas: tests/fault/replica_lag.c. */
#include "migrate/throttle.h"

#include <pthread.h>
#include <unistd.h>

#include "../pg/pg_test.h"

static struct pg_conn *conn;
static struct throttle_state asked;

static void holds(const struct throttle_options *options, const char *reason)
{
    throttle_ask(options, conn, &asked);
    assert_true(asked.hold);
    if (strstr(asked.reason.data, reason) == NULL)
        fail_msg("the reason is \"%s\", not \"%s\"", asked.reason.data, reason);
}

static void goes_on(const struct throttle_options *options)
{
    throttle_ask(options, conn, &asked);
    if (asked.hold)
        fail_msg("it holds: %s", asked.reason.data);
    assert_int_equal(asked.reason.size, 0);
}

/* A statement on a connection of its own. */
struct session {
    pthread_t thread;
    struct pg_conn *conn;
    const char *sql;
};

static void *run_session(void *context)
{
    struct session *session = context;

    test_run(session->conn, session->sql);
    return NULL;
}

static void session_start(struct session *session, const char *sql)
{
    *session = (struct session){.conn = test_connect(false), .sql = sql};
    assert_int_equal(pthread_create(&session->thread, NULL, run_session, session), 0);
}

static void session_end(struct session *session)
{
    assert_int_equal(pthread_join(session->thread, NULL), 0);
    pg_close(session->conn);
}

static void test_nothing(void **state)
{
    struct throttle_options options = {.flag_file = NULL};

    (void)state;
    goes_on(&options);
    assert_int_equal(asked.replica_lag_us, -1);
    assert_int_equal(asked.lock_waiters, 0);
}

static void test_flag_file(void **state)
{
    char folder[] = "/tmp/throttle-test.XXXXXX", path[64], below[80];
    struct throttle_options options = {.flag_file = path};
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/stop", folder);
    goes_on(&options);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    holds(&options, path);
    (void)snprintf(below, sizeof(below), "%s/stop/loop", folder); /* below a file there is none */
    options.flag_file = below;
    goes_on(&options);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("stop", path), 0); /* a loop: nobody knows */
    options.flag_file = path;
    holds(&options, "cannot be looked for");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void test_query(void **state)
{
    struct throttle_options options = {.query = "SELECT count(*) > 0 FROM night"};

    (void)state;
    holds(&options, "cannot be asked for: relation \"night\" does not exist");
    test_run(conn, "CREATE TABLE night (x int)");
    goes_on(&options);
    test_run(conn, "INSERT INTO night VALUES (1)");
    holds(&options, "the throttle query says so");
    options.query = "SELECT NULL::boolean";
    holds(&options, "answers NULL");
    options.query = "SELECT true WHERE false";
    holds(&options, "answers nothing");
    options.query = "DELETE FROM night RETURNING false";
    holds(&options, "read-only transaction");
    options.query = "SELECT false FROM pg_sleep(30)";
    holds(&options, "cannot be asked for");
    test_value_is(conn, "SELECT count(*) FROM night", "1");
}

static void test_kept_wal(void **state)
{
    struct throttle_options options = {.kept_wal_bytes_max = 4 << 20};

    (void)state;
    test_run(conn, "SELECT pg_create_physical_replication_slot('lazy', true)");
    goes_on(&options);
    test_run(conn, "CREATE TABLE much AS SELECT repeat('x', 1000) FROM generate_series(1, 10000)");
    holds(&options, "slot lazy keeps ");
    assert_true(asked.kept_wal_bytes > 4 << 20);
    test_run(conn, "SELECT pg_drop_replication_slot('lazy')");
    goes_on(&options);
}

/* What is only shown is asked for without a limit, and also behind a reason to wait. */
static void test_look(void **state)
{
    struct throttle_options look = {.look = true};
    struct session session;
    struct pg_conn *holder = test_connect(false);

    (void)state;
    look.query = "SELECT true";
    look.flag_file = "/";
    test_run(conn, "SELECT pg_create_physical_replication_slot('lazy', true)");
    test_run(conn, "CREATE TABLE more AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)");
    test_run(holder, "SELECT pg_advisory_lock(2)");
    session_start(&session, "SELECT pg_advisory_lock_shared(2)");
    test_wait_value(conn, "SELECT count(*) FROM pg_locks WHERE NOT granted", "1");
    holds(&look, "the flag file / is there");
    assert_true(asked.kept_wal_bytes > 1 << 20);
    assert_int_equal(asked.lock_waiters, 1);
    assert_int_equal(asked.active_sessions, 1);
    assert_false(asked.replicas_hidden);
    test_run(conn, "CREATE ROLE blind; SET ROLE blind");
    throttle_ask(&look, conn, &asked);
    assert_int_equal(asked.active_sessions, -1);
    test_run(conn, "RESET ROLE; DROP ROLE blind");
    test_run(holder, "SELECT pg_advisory_unlock(2)");
    session_end(&session);
    pg_close(holder);
    test_run(conn, "SELECT pg_drop_replication_slot('lazy')");
}

static void test_lock_waiters(void **state)
{
    struct throttle_options options = {.lock_waiters_max = 1}, off = {.lock_waiters_max = -1};
    struct pg_conn *holder = test_connect(false);
    struct session sessions[2];

    (void)state;
    test_run(conn, "CREATE TABLE wanted (x int)");
    test_run(holder, "BEGIN; LOCK TABLE wanted");
    for (size_t i = 0; i < 2; i++)
        session_start(&sessions[i], "BEGIN; LOCK TABLE wanted; COMMIT");
    test_wait_value(conn, "SELECT count(*) FROM pg_locks WHERE NOT granted", "2");
    holds(&options, "2 sessions wait for a lock (limit 1)");
    goes_on(&off);
    options.lock_waiters_max = 2;
    goes_on(&options);
    test_run(holder, "COMMIT");
    for (size_t i = 0; i < 2; i++)
        session_end(&sessions[i]);
    options.lock_waiters_max = 1;
    goes_on(&options);
    pg_close(holder);
}

static void test_active_sessions(void **state)
{
    struct throttle_options options = {.active_sessions_max = 1, .lock_waiters_max = -1};
    struct session sessions[2];
    struct pg_conn *idle = test_connect(false);

    (void)state;
    goes_on(&options);
    test_run(idle, "SELECT pg_advisory_lock(1)"); /* active for as long as this test takes */
    for (size_t i = 0; i < 2; i++)
        session_start(&sessions[i], "SELECT pg_advisory_lock_shared(1)");
    test_wait_value(conn,
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_advisory_lock_shared(1)%'"
                    " AND state = 'active'",
                    "2");
    holds(&options, "2 sessions are active (limit 1)");
    test_run(idle, "SELECT pg_advisory_unlock(1)");
    for (size_t i = 0; i < 2; i++)
        session_end(&sessions[i]);
    goes_on(&options);
    /* A role that cannot see them must not take that for calm. */
    test_run(conn, "CREATE ROLE blind; SET ROLE blind");
    holds(&options, "pg_read_all_stats");
    test_run(conn, "RESET ROLE; DROP ROLE blind");
    pg_close(idle);
}

/* Nobody to ask is a reason, not a failure. */
static void test_lost(void **state)
{
    struct throttle_options options = {.flag_file = NULL};
    char sql[64];

    (void)state;
    (void)snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d)", pg_backend_pid(conn));
    struct pg_conn *other = test_connect(false);
    test_run(other, sql);
    pg_close(other);
    holds(&options, "cannot be asked for");
}

static int up(void **state)
{
    (void)state;
    conn = test_connect(false);
    return 0;
}

static int down(void **state)
{
    (void)state;
    throttle_state_release(&asked);
    pg_close(conn);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),         cmocka_unit_test(test_flag_file), cmocka_unit_test(test_query),
        cmocka_unit_test(test_kept_wal),        cmocka_unit_test(test_look),      cmocka_unit_test(test_lock_waiters),
        cmocka_unit_test(test_active_sessions), cmocka_unit_test(test_lost),
    };

    return cmocka_run_group_tests(tests, up, down);
}
