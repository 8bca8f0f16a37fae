/* SPDX-License-Identifier: Apache-2.0 */
/* Pipelines: order, the first failure, and more data than any buffer holds. */
#include "pg_test.h"

static void many_statements_one_transaction(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = test_connect(false);
    char number[20];

    (void)state;
    test_run(conn, "CREATE TEMP TABLE t (a int PRIMARY KEY)");
    OK(pg_pipeline_begin(conn, &err));
    for (int i = 0; i < 5000; i++) {
        struct pg_param param = {{number, (size_t)snprintf(number, sizeof(number), "%d", i)}};

        OK(pg_pipeline_add(conn, "INSERT INTO t VALUES ($1)", &param, 1, &err));
    }
    OK(pg_pipeline_end(conn, &err));
    test_value_is(conn, "SELECT count(*) FROM t", "5000");
    test_value_is(conn, "SELECT count(DISTINCT xmin::text) FROM t", "1");
    pg_close(conn);
}

static void the_first_failure_counts(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = test_connect(false);

    (void)state;
    test_run(conn, "CREATE TEMP TABLE t (a int PRIMARY KEY)");
    OK(pg_pipeline_begin(conn, &err));
    OK(pg_pipeline_add(conn, "INSERT INTO t VALUES (1)", NULL, 0, &err));
    OK(pg_pipeline_add(conn, "INSERT INTO t VALUES (1)", NULL, 0, &err));
    OK(pg_pipeline_add(conn, "SELECT * FROM no_such_table", NULL, 0, &err));
    FAILS(QUERY, pg_pipeline_end(conn, &err));
    assert_string_equal(err.sqlstate, "23505");
    test_value_is(conn, "SELECT count(*) FROM t", "0"); /* all or nothing */
    OK(pg_pipeline_begin(conn, &err));
    OK(pg_pipeline_end(conn, &err));
    test_value_is(conn, "SELECT 1", "1");
    pg_close(conn);
}

/* Prepared once, whatever the number of uses; and after a failure, which skips what was to be prepared behind it. */
static void prepared_statements(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = test_connect(false);
    char number[20], sql[64];

    (void)state;
    test_run(conn, "CREATE TEMP TABLE t (a int PRIMARY KEY)");
    for (int round = 0; round < 3; round++) {
        struct pg_param param = {{number, 0}};

        OK(pg_pipeline_begin(conn, &err));
        for (int i = 0; i < 100; i++) {
            param.text.size = (size_t)snprintf(number, sizeof(number), "%d", 1000 * round + i);
            OK(pg_pipeline_add_prepared(conn, "INSERT INTO t VALUES ($1)", &param, 1, &err));
        }
        OK(pg_pipeline_end(conn, &err));
        test_value_is(conn, "SELECT count(*) FROM pg_prepared_statements", round == 0 ? "1" : "2");
        OK(pg_pipeline_begin(conn, &err));
        OK(pg_pipeline_add_prepared(conn, "INSERT INTO t VALUES ($1)", &param, 1, &err)); /* there already */
        OK(pg_pipeline_add_prepared(conn, "SELECT count(*) FROM t", NULL, 0, &err));
        FAILS(QUERY, pg_pipeline_end(conn, &err));
        banyan_error_clear(&err);
        OK(pg_pipeline_begin(conn, &err));
        OK(pg_pipeline_add_prepared(conn, "SELECT count(*) FROM t", NULL, 0, &err));
        OK(pg_pipeline_end(conn, &err));
    }
    OK(pg_pipeline_begin(conn, &err));
    for (int i = 0; i < 300; i++) { /* more than are kept */
        snprintf(sql, sizeof(sql), "SELECT %d", i);
        OK(pg_pipeline_add_prepared(conn, sql, NULL, 0, &err));
    }
    OK(pg_pipeline_end(conn, &err));
    test_value_is(conn, "SELECT count(*) FROM t", "300");
    pg_close(conn);
}

/* 64 MB in either direction: if nobody read while sending, both sides would wait for ever. */
static void full_buffers_do_not_lock(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = test_connect(false);
    size_t size = 1 << 20;
    char *text = malloc(size);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', size);
    OK(pg_pipeline_begin(conn, &err));
    for (int i = 0; i < 64; i++) {
        struct pg_param param = {{text, size}};

        OK(pg_pipeline_add(conn, "SELECT $1::text", &param, 1, &err));
    }
    OK(pg_pipeline_end(conn, &err));
    test_value_is(conn, "SELECT 1", "1");
    free(text);
    pg_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_statements_one_transaction),
        cmocka_unit_test(the_first_failure_counts),
        cmocka_unit_test(prepared_statements),
        cmocka_unit_test(full_buffers_do_not_lock),
    };

    return cmocka_run_group_tests_name("pg/pipeline", tests, NULL, NULL);
}
