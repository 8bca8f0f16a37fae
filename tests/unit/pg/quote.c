/* SPDX-License-Identifier: Apache-2.0 */
/* Names and texts made to break out of their quotes, asked back from a real server. */
#include "pg_test.h"

static const char *const hostile[] = {
    "plain",
    "a\"b",
    "\"",
    "\"\"",
    "a.b",
    "Ünï-çødé 表 🌳",
    "x\"; DROP TABLE victim; --",
    "x'; DROP TABLE victim; --",
    "back\\slash",
    "\\",
    "\\'; DROP TABLE victim; --",
    "new\nline",
    "tab\tand space ",
    "$1",
    "/* c */",
    "%s%n",
    "select",
    "UPPER",
};

static void identifiers(void **state)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(10000);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = test_connect(false);

    (void)state;
    test_run(conn, "CREATE TABLE victim (id int)");
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        struct banyan_str name = banyan_str_of(hostile[i]);
        struct pg_param param = {name};
        struct pg_result *result = NULL;

        banyan_buf_reset(&sql);
        banyan_buf_add_text(&sql, "CREATE TEMP TABLE ");
        pg_add_identifier(&sql, name);
        banyan_buf_add_text(&sql, " (");
        pg_add_identifier(&sql, name);
        banyan_buf_add_text(&sql, " int)");
        assert_false(sql.overflow);
        OK(pg_exec(conn, sql.data, NULL, 0, NULL, &err));
        OK(pg_exec(conn,
                   "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
                   "WHERE c.relname = $1 AND a.attname = $1 AND a.attnum = 1",
                   &param, 1, &result, &err));
        assert_int_equal(pg_int(result, 0, 0), 1);
        pg_result_free(result);
    }
    test_value_is(conn, "SELECT to_regclass('victim') IS NOT NULL", "t");
    test_run(conn, "DROP TABLE victim");
    banyan_buf_release(&sql);
    pg_close(conn);
}

static void literals(void **state)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(10000);
    struct pg_conn *conn = test_connect(false);

    (void)state;
    for (int conforming = 0; conforming < 2; conforming++) {
        test_run(conn, conforming ? "SET standard_conforming_strings = on" : "SET standard_conforming_strings = off");
        for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
            banyan_buf_reset(&sql);
            banyan_buf_add_text(&sql, "SELECT");
            banyan_buf_add_char(&sql, ' ');
            pg_add_literal(&sql, banyan_str_of(hostile[i]));
            test_value_is(conn, sql.data, hostile[i]);
        }
    }
    banyan_buf_reset(&sql);
    banyan_buf_add_text(&sql, "SELECT ");
    pg_add_literal(&sql, (struct banyan_str){NULL, 0});
    test_value_is(conn, sql.data, "(null)");
    banyan_buf_reset(&sql);
    banyan_buf_add_text(&sql, "SELECT ");
    pg_add_literal(&sql, BANYAN_STR(""));
    test_value_is(conn, sql.data, "");
    banyan_buf_release(&sql);
    pg_close(conn);
}

static void tables(void **state)
{
    static const struct {
        const char *name, *sql;
    } cases[] = {
        {"orders", "\"orders\""},
        {"public.orders", "\"public\".\"orders\""},
        {"Public.Orders", "\"Public\".\"Orders\""},
        {"\"a.b\".c", "\"a.b\".\"c\""},
        {"\"a\"\"b\".\"c.d\"", "\"a\"\"b\".\"c.d\""},
        {"a\"b", "\"a\"\"b\""},
        {"\"open", "\"\"\"open\""},
        {"\"a\"b.c", "\"\"\"a\"\"b\".\"c\""},
        {"a.\"; DROP TABLE x; --", "\"a\".\"\"\"; DROP TABLE x; --\""},
        {"\"a\".\"b\";DROP", "\"a\".\"\"\"b\"\";DROP\""},
        {"表.列", "\"表\".\"列\""},
        {"", "\"\""},
        {"a.", "\"a\".\"\""},
    };
    struct banyan_buf sql = BANYAN_BUF_INIT(10000);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        banyan_buf_reset(&sql);
        pg_add_table(&sql, banyan_str_of(cases[i].name));
        assert_string_equal(sql.data, cases[i].sql);
    }
    banyan_buf_release(&sql);
}

/* libpq takes a statement up to its first NUL: what stands behind would silently be missing. */
static void nul_bytes_are_refused(void **state)
{
    struct banyan_str name = {"a\0b", 3}, quoted = {"\"a\0b\"", 5};
    struct banyan_buf sql = BANYAN_BUF_INIT(10000);

    (void)state;
    pg_add_identifier(&sql, name);
    assert_true(sql.overflow);
    banyan_buf_reset(&sql);
    pg_add_literal(&sql, name);
    assert_true(sql.overflow);
    banyan_buf_reset(&sql);
    pg_add_table(&sql, quoted);
    assert_true(sql.overflow);
    banyan_buf_release(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identifiers),
        cmocka_unit_test(literals),
        cmocka_unit_test(tables),
        cmocka_unit_test(nul_bytes_are_refused),
    };

    return cmocka_run_group_tests_name("pg/quote", tests, NULL, NULL);
}
