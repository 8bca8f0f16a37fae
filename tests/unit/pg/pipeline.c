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
        cmocka_unit_test(full_buffers_do_not_lock),
    };

    return cmocka_run_group_tests_name("pg/pipeline", tests, NULL, NULL);
}
