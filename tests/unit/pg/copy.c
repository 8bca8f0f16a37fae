/* SPDX-License-Identifier: Apache-2.0 */
/* COPY: what comes out equals what SELECT says, what went in comes out again, and both can be left in the middle. */
#include <inttypes.h>

#include "pg/copy.h"
#include "pg_test.h"

struct order {
    int64_t id;
    struct banyan_str trader, status, note, token;
    bool urgent;
    struct banyan_decimal quantity, price;
    struct banyan_time created_at, day;
    int64_t lot;
};

static const struct banyan_field order_fields[] = {
    BANYAN_FIELD_INT(struct order, id, 0),
    BANYAN_FIELD_STRING(struct order, trader, 0),
    BANYAN_FIELD_STRING(struct order, status, 0),
    BANYAN_FIELD_STRING(struct order, note, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order, token, 0),
    BANYAN_FIELD_BOOL(struct order, urgent, 0),
    BANYAN_FIELD_DECIMAL(struct order, quantity, 0, 8),
    BANYAN_FIELD_DECIMAL(struct order, price, BANYAN_FIELD_OPTIONAL, 8),
    BANYAN_FIELD_TIME(struct order, created_at, 0),
    BANYAN_FIELD_TIME(struct order, day, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct order, lot, 0),
};
static const struct banyan_record order_record = {"order", sizeof(struct order), order_fields, 11};
static const uint32_t order_oids[] = {PG_TYPE_INT8,        PG_TYPE_TEXT, PG_TYPE_VARCHAR, PG_TYPE_TEXT,
                                      PG_TYPE_UUID,        PG_TYPE_BOOL, PG_TYPE_NUMERIC, PG_TYPE_NUMERIC,
                                      PG_TYPE_TIMESTAMPTZ, PG_TYPE_DATE, PG_TYPE_INT2};

static const char columns[] = "id, trader, status, note, token, urgent, quantity, price, created_at, day, lot";

static void make_table(struct pg_conn *conn, int rows)
{
    char sql[2000];

    (void)snprintf(sql, sizeof(sql),
                   "CREATE TABLE orders (id bigint PRIMARY KEY, trader text NOT NULL, status varchar(20) NOT NULL,"
                   " note text, token uuid NOT NULL, urgent bool NOT NULL, quantity numeric(18,8) NOT NULL,"
                   " price numeric(18,8), created_at timestamptz NOT NULL, day date, lot smallint NOT NULL)");
    test_run(conn, sql);
    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO orders SELECT i, 'trader ' || i %% 97, (ARRAY['open','filled','canceled'])[1 + i %% 3],"
                   " CASE WHEN i %% 5 > 0 THEN repeat('ä', i %% 40) END, md5(i::text)::uuid, i %% 7 = 0,"
                   " i * 1.25 / 64, CASE WHEN i %% 11 > 0 THEN -i / 8.0 END,"
                   " '1999-12-31 22:00:00+00'::timestamptz + i * interval '1234.567 s',"
                   " CASE WHEN i %% 13 > 0 THEN date '1999-01-01' + i END, (i %% 30000)::int2"
                   " FROM generate_series(1, %d) AS i",
                   rows);
    test_run(conn, sql);
}

static void out_equals_select(void **state)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct pg_conn *conn = test_connect(false), *other = test_connect(false);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    struct pg_copy_out copy;
    struct order row, same;
    char sql[300];
    size_t rows = 0;

    (void)state;
    make_table(conn, 3000);
    (void)snprintf(sql, sizeof(sql), "SELECT %s FROM orders ORDER BY id", columns);
    OK(pg_exec(other, sql, NULL, 0, &result, &err));
    OK(pg_copy_out_begin(&copy, conn, sql, &order_record, order_oids, &err));
    for (;; rows++) {
        /* Every other row borrows. */
        enum banyan_status st = pg_copy_out_row(&copy, rows % 2 ? &arena : NULL, &row, &err);

        if (st == BANYAN_NOT_FOUND)
            break;
        assert_int_equal(st, BANYAN_OK);
        for (size_t i = 0; i < order_record.field_count; i++)
            OK(pg_cell_parse(&order_fields[i], order_oids[i], pg_text(result, rows, i), NULL, &same, &err));
        if (banyan_record_diff(&order_record, &row, &same) != 0)
            fail_msg("row %zu differs: fields %" PRIx64, rows, banyan_record_diff(&order_record, &row, &same));
    }
    assert_int_equal(rows, 3000);
    assert_int_equal(copy.rows, 3000);
    assert_int_equal(err.status, BANYAN_OK);
    assert_int_equal(pg_copy_out_row(&copy, &arena, &row, &err), BANYAN_NOT_FOUND);
    pg_copy_out_end(&copy);
    test_value_is(conn, "SELECT count(*) FROM orders", "3000");
    pg_result_free(result);
    banyan_arena_release(&arena);
    test_run(conn, "DROP TABLE orders");
    pg_close(conn);
    pg_close(other);
}

static void in_and_out_again(void **state)
{
    struct pg_conn *conn = test_connect(false), *target = test_connect(false);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_copy_out out;
    struct pg_copy_in in;
    struct order row;
    char text[300];

    (void)state;
    make_table(conn, 5000);
    test_run(conn, "CREATE TABLE copied (LIKE orders INCLUDING ALL)");
    (void)snprintf(text, sizeof(text), "SELECT %s FROM orders", columns);
    OK(pg_copy_out_begin(&out, conn, text, &order_record, order_oids, &err));
    (void)snprintf(text, sizeof(text), "copied (%s)", columns);
    OK(pg_copy_in_begin(&in, target, text, &order_record, order_oids, &err));
    while (pg_copy_out_row(&out, NULL, &row, &err) == BANYAN_OK)
        OK(pg_copy_in_row(&in, &row, &err));
    assert_int_equal(err.status, BANYAN_OK);
    pg_copy_out_end(&out);
    OK(pg_copy_in_end(&in, &err));
    test_value_is(conn, "SELECT count(*) FROM (TABLE orders EXCEPT ALL TABLE copied) AS d", "0");
    test_value_is(conn, "SELECT count(*) FROM copied", "5000");
    test_run(conn, "DROP TABLE copied, orders");
    pg_close(conn);
    pg_close(target);
}

static void out_can_be_left(void **state)
{
    struct pg_conn *conn = test_connect(false);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_copy_out copy;
    struct order row;
    char sql[300];

    (void)state;
    make_table(conn, 100);
    (void)snprintf(sql, sizeof(sql), "SELECT %s FROM orders, generate_series(1, 100000) AS s", columns);
    OK(pg_copy_out_begin(&copy, conn, sql, &order_record, order_oids, &err));
    for (int i = 0; i < 10; i++)
        OK(pg_copy_out_row(&copy, NULL, &row, &err));
    pg_copy_out_end(&copy);
    test_value_is(conn, "SELECT count(*) FROM orders", "100");
    test_run(conn, "DROP TABLE orders");
    pg_close(conn);
}

static void out_failures(void **state)
{
    static const struct banyan_field field[] = {BANYAN_FIELD_INT(struct order, id, 0)};
    static const struct banyan_record one = {"one", sizeof(struct order), field, 1};
    static const uint32_t oids[] = {PG_TYPE_INT4};
    struct pg_conn *conn = test_connect(false);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_copy_out copy;
    enum banyan_status st;
    struct order row;
    int rows = 0;

    (void)state;
    FAILS(TABLE, pg_copy_out_begin(&copy, conn, "SELECT 1 FROM no_such_table", &one, oids, &err));
    FAILS(TABLE, pg_copy_out_begin(&copy, conn, "SELECT 1, 2", &one, oids, &err));
    test_value_is(conn, "SELECT 1", "1");
    banyan_error_clear(&err);
    /* A failure of the server's in the middle is no end of data. */
    OK(pg_copy_out_begin(&copy, conn, "SELECT 1000 / (5000 - i) FROM generate_series(1, 6000) AS i", &one, oids, &err));
    while ((st = pg_copy_out_row(&copy, NULL, &row, &err)) == BANYAN_OK)
        rows++;
    assert_int_equal(st, BANYAN_QUERY);
    assert_string_equal(err.sqlstate, "22012");
    assert_true(rows < 5000);
    pg_copy_out_end(&copy);
    test_value_is(conn, "SELECT 1", "1");
    pg_close(conn);
}

static void in_failures(void **state)
{
    static const struct banyan_field field[] = {BANYAN_FIELD_INT(struct order, id, 0)};
    static const struct banyan_record one = {"one", sizeof(struct order), field, 1};
    static const uint32_t oids[] = {PG_TYPE_INT4};
    struct pg_conn *conn = test_connect(false);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct order row = {.id = 1};
    struct pg_copy_in copy;

    (void)state;
    test_run(conn, "CREATE TABLE numbers (n int PRIMARY KEY, m int)");
    FAILS(TABLE, pg_copy_in_begin(&copy, conn, "no_such_table (n)", &one, oids, &err));
    FAILS(TABLE, pg_copy_in_begin(&copy, conn, "numbers (n, m)", &one, oids, &err));
    banyan_error_clear(&err);
    OK(pg_copy_in_begin(&copy, conn, "numbers (n)", &one, oids, &err));
    OK(pg_copy_in_row(&copy, &row, &err));
    OK(pg_copy_in_row(&copy, &row, &err));
    FAILS(QUERY, pg_copy_in_end(&copy, &err));
    assert_string_equal(err.sqlstate, "23505");
    OK(pg_copy_in_begin(&copy, conn, "numbers (n)", &one, oids, &err));
    OK(pg_copy_in_row(&copy, &row, &err));
    pg_copy_in_abort(&copy);
    test_value_is(conn, "SELECT count(*) FROM numbers", "0");
    OK(pg_copy_in_begin(&copy, conn, "numbers (n)", &one, oids, &err));
    OK(pg_copy_in_row(&copy, &row, &err));
    row.id = INT64_C(1) << 40;
    FAILS(INVALID, pg_copy_in_row(&copy, &row, &err)); /* the row before and the one after stay whole */
    row.id = 2;
    OK(pg_copy_in_row(&copy, &row, &err));
    OK(pg_copy_in_end(&copy, &err));
    test_value_is(conn, "SELECT string_agg(n::text, ',' ORDER BY n) FROM numbers", "1,2");
    test_run(conn, "DROP TABLE numbers");
    pg_close(conn);
}

/* From one connection into another, as it comes; a failure of either leaves both usable. */
static void pass_through(void **state)
{
    struct pg_conn *from = test_connect(false), *to = test_connect(false);
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t rows = 0;

    (void)state;
    test_run(to, "CREATE TABLE passed (n int PRIMARY KEY, t text)");
    OK(pg_copy_pass(from, "COPY (SELECT i, repeat('x', 500) FROM generate_series(1, 20000) i) TO STDOUT", to,
                    "COPY passed (n, t) FROM STDIN", &rows, &err));
    assert_int_equal(rows, 20000);
    test_value_is(to, "SELECT sum(n + length(t))::text FROM passed", "210010000");
    OK(pg_copy_pass(from, "COPY (SELECT 1 WHERE false) TO STDOUT", to, "COPY passed (n) FROM STDIN", &rows, &err));
    assert_int_equal(rows, 0);
    FAILS(QUERY, pg_copy_pass(from, "COPY (SELECT 1) TO STDOUT", to, "COPY passed (n) FROM STDIN", &rows, &err));
    assert_string_equal(err.sqlstate, "23505");
    banyan_error_clear(&err);
    FAILS(QUERY, pg_copy_pass(from, "COPY (SELECT 1000 / (5000 - i) FROM generate_series(1, 6000) i) TO STDOUT", to,
                              "COPY passed (n) FROM STDIN", &rows, &err));
    assert_string_equal(err.sqlstate, "22012");
    banyan_error_clear(&err);
    FAILS(TABLE, pg_copy_pass(from, "COPY no_such_table TO STDOUT", to, "COPY passed (n) FROM STDIN", &rows, &err));
    test_value_is(from, "SELECT 1", "1");
    test_value_is(to, "SELECT count(*)::text FROM passed", "20000");
    test_run(to, "DROP TABLE passed");
    pg_close(from);
    pg_close(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(out_equals_select), cmocka_unit_test(in_and_out_again), cmocka_unit_test(out_can_be_left),
        cmocka_unit_test(out_failures),      cmocka_unit_test(in_failures),      cmocka_unit_test(pass_through),
    };

    return cmocka_run_group_tests_name("pg/copy", tests, NULL, NULL);
}
