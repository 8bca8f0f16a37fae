/* SPDX-License-Identifier: Apache-2.0 */
/* Statements: results, failures by class, time limits, stops. */
#include "os/thread.h"
#include "pg_test.h"

static void results(void **state)
{
    struct pg_param params[] = {{BANYAN_STR("41")}, {{NULL, 0}}, {{"it's\\x", 4}}};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = test_connect(false);
    struct pg_result *result = NULL;

    (void)state;
    OK(pg_exec(conn, "SELECT $1::int + 1, $2::text, $3::text, true, false", params, 3, &result, &err));
    assert_int_equal(pg_rows(result), 1);
    assert_int_equal(pg_columns(result), 5);
    assert_int_equal(pg_int(result, 0, 0), 42);
    assert_null(pg_text(result, 0, 1).data);
    assert_int_equal(pg_int(result, 0, 1), 0);
    assert_true(banyan_str_equal(pg_text(result, 0, 2), BANYAN_STR("it's")));
    assert_true(pg_bool(result, 0, 3));
    assert_false(pg_bool(result, 0, 4));
    assert_null(pg_text(result, 1, 0).data);
    assert_null(pg_text(result, 0, 5).data);
    pg_result_free(result);
    test_run(conn, "CREATE TEMP TABLE t (a int); INSERT INTO t SELECT generate_series(1, 7)");
    OK(pg_exec(conn, "DELETE FROM t WHERE a > 2", NULL, 0, &result, &err));
    assert_int_equal(pg_affected(result), 5);
    pg_result_free(result);
    params[2].text = (struct banyan_str){"a\0b", 3};
    FAILS(INVALID, pg_exec(conn, "SELECT $3::text, $1::text, $2::text", params, 3, NULL, &err));
    FAILS(INVALID, pg_run(conn, "COPY t TO STDOUT", &err));
    FAILS(BROKEN, pg_run(conn, "SELECT 1", &err));
    pg_close(conn);
}

/* Also the ones that the server names itself; then the connection still works. */
static void failures_have_their_class(void **state)
{
    static const struct {
        const char *sql, *sqlstate;
        enum banyan_status status;
    } cases[] = {
        {"SELECT * FROM no_such_table", "42P01", BANYAN_TABLE},
        {"SELECT no_such_column FROM pg_class", "42703", BANYAN_TABLE},
        {"SELEKT", "42601", BANYAN_QUERY},
        {"SELECT 1 / 0", "22012", BANYAN_QUERY},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'x'; END $$", "42501", BANYAN_PRIVILEGE},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'x'; END $$", "53100", BANYAN_NO_SPACE},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '55P03', MESSAGE = 'x'; END $$", "55P03", BANYAN_TIMEOUT},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'x'; END $$", "40001", BANYAN_BUSY},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01', MESSAGE = 'x'; END $$", "40P01", BANYAN_BUSY},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '55006', MESSAGE = 'x'; END $$", "55006", BANYAN_BUSY},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '08006', MESSAGE = 'x'; END $$", "08006", BANYAN_UNAVAILABLE},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P01', MESSAGE = 'x'; END $$", "57P01", BANYAN_UNAVAILABLE},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53300', MESSAGE = 'x'; END $$", "53300", BANYAN_UNAVAILABLE},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '25006', MESSAGE = 'x'; END $$", "25006", BANYAN_SETTING},
        {"SET statement_timeout = 20; SELECT pg_sleep(60)", "57014", BANYAN_TIMEOUT},
    };
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = test_connect(false);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum banyan_status got;

        banyan_error_clear(&err);
        got = pg_run(conn, cases[i].sql, &err);
        if (got != cases[i].status || strcmp(err.sqlstate, cases[i].sqlstate) != 0)
            fail_msg("%s: %s %s %s", cases[i].sql, banyan_status_name(got), err.sqlstate, err.message);
    }
    test_run(conn, "RESET statement_timeout");
    FAILS(QUERY, pg_run(conn, "DO $$ BEGIN RAISE EXCEPTION 'what' USING DETAIL = 'why', HINT = 'how'; END $$", &err));
    assert_string_equal(err.message, "what");
    assert_string_equal(err.detail, "why");
    assert_string_equal(err.hint, "how");
    test_value_is(conn, "SELECT 1", "1");
    pg_close(conn);
}

static void a_lock_that_is_not_had(void **state)
{
    struct pg_conn *holder = test_connect(false), *waiter = test_connect(false);
    struct banyan_error err = BANYAN_ERROR_INIT;

    (void)state;
    test_run(holder, "CREATE TABLE locked (a int)");
    test_run(holder, "BEGIN; LOCK TABLE locked");
    test_run(waiter, "SET lock_timeout = '50ms'");
    FAILS(TIMEOUT, pg_run(waiter, "SELECT * FROM locked", &err));
    assert_string_equal(err.sqlstate, "55P03");
    test_run(holder, "ROLLBACK; DROP TABLE locked");
    pg_close(holder);
    pg_close(waiter);
}

/* The server ends the session: retryable, and it stays so for later calls. */
static void a_connection_that_dies(void **state)
{
    struct pg_conn *victim = test_connect(false), *killer = test_connect(false);
    struct banyan_error err = BANYAN_ERROR_INIT;
    char sql[100];

    (void)state;
    (void)snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d, 20000)", pg_backend_pid(victim));
    test_value_is(killer, sql, "t");
    FAILS(UNAVAILABLE, pg_run(victim, "SELECT 1", &err));
    assert_string_equal(err.sqlstate, "57P01");
    FAILS(UNAVAILABLE, pg_run(victim, "SELECT 1", &err));
    assert_int_equal(banyan_status_class(err.status), BANYAN_CLASS_RETRY);
    pg_close(victim);
    pg_close(killer);
}

static void request_stop(void *argument)
{
    struct pg_conn *watcher = test_connect(false);

    test_wait_value(watcher, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(601)%'", "1");
    os_stop_request(argument);
    pg_close(watcher);
}

static void a_stop_cancels_a_statement(void **state)
{
    struct pg_options options = {.conninfo = test_conninfo()};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL, *watcher = test_connect(false);
    struct os_thread thread = {0};
    struct os_stop stop;

    (void)state;
    OK(os_stop_open(&stop, &err));
    options.stop = &stop;
    OK(pg_connect(&options, &conn, &err));
    os_thread_start(&thread, "stopper", request_stop, &stop);
    FAILS(STOPPED, pg_run(conn, "SELECT pg_sleep(601)", &err));
    os_thread_join(&thread);
    test_value_is(watcher, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sleep(601)'",
                  "0");
    pg_close(conn);
    pg_close(watcher);
    os_stop_close(&stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results),
        cmocka_unit_test(failures_have_their_class),
        cmocka_unit_test(a_lock_that_is_not_had),
        cmocka_unit_test(a_connection_that_dies),
        cmocka_unit_test(a_stop_cancels_a_statement),
    };

    return cmocka_run_group_tests_name("pg/statement", tests, NULL, NULL);
}
