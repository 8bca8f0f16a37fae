/* SPDX-License-Identifier: Apache-2.0 */
/* src/migrate/rehearse_copy.c and rehearse_keys.c, on a real server: what arrives, what is left out, and that nothing
 * of the schema is lost on the way. */
#include "migrate/rehearse_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct pg_conn *from, *to;
static struct banyan_arena arena;

static const char schema[] =
    "CREATE TABLE parent (a int, b text, PRIMARY KEY (a, b));"
    "CREATE TABLE \"Child t\" (id int PRIMARY KEY, a int, \"B b\" text, sum int GENERATED ALWAYS AS (id * 2) STORED,"
    " CONSTRAINT up FOREIGN KEY (a, \"B b\") REFERENCES parent (a, b) ON DELETE CASCADE);"
    "CREATE TABLE grandchild (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, child int REFERENCES \"Child t\" (id));"
    "CREATE TABLE other (id int PRIMARY KEY, parent_a int, alone int);"
    "CREATE TABLE alone (id int PRIMARY KEY);"
    "CREATE TABLE parts (k int, v text) PARTITION BY RANGE (k);"
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);"
    "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);"
    "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''fired''; END';"
    "CREATE TRIGGER on_row BEFORE INSERT ON grandchild FOR EACH ROW EXECUTE FUNCTION no();"
    "ALTER TABLE grandchild ENABLE ALWAYS TRIGGER on_row;"
    "CREATE TRIGGER off BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION no();"
    "ALTER TABLE other DISABLE TRIGGER off";
static const char rows[] =
    "ALTER TABLE grandchild DISABLE TRIGGER USER;"
    "INSERT INTO parent SELECT i, 'p' || i FROM generate_series(1, 100) i;"
    "INSERT INTO \"Child t\" (id, a, \"B b\") SELECT i, 101 - i, 'p' || (101 - i) FROM generate_series(1, 100) i;"
    "INSERT INTO \"Child t\" (id, a) VALUES (0, NULL);"
    "INSERT INTO grandchild (child) SELECT i FROM generate_series(1, 100) i;"
    "INSERT INTO alone VALUES (1), (2);"
    "INSERT INTO other SELECT i, i, 1 + i % 3 FROM generate_series(1, 9) i;"
    "INSERT INTO parts SELECT i, 'x' || chr(9) || chr(10) || '\\' || i FROM generate_series(0, 19) i;"
    "ALTER TABLE grandchild ENABLE ALWAYS TRIGGER on_row";

static struct pg_conn *connect_to(const char *database)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {
        .conninfo = banyan_arena_printf(&arena, "%s dbname=%s", getenv("BANYAN_TEST_CONNINFO"), database).data};
    struct pg_conn *conn = NULL;

    if (pg_connect(&options, &conn, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return conn;
}

static void run(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (pg_run(conn, sql, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
}

static int64_t ask(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    int64_t answer;

    if (pg_exec(conn, sql, NULL, 0, &result, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
    answer = pg_int(result, 0, 0);
    pg_result_free(result);
    return answer;
}

static int make_databases(void **state)
{
    struct pg_conn *conn = connect_to("postgres");

    (void)state;
    run(conn, "DROP DATABASE IF EXISTS rows_from");
    run(conn, "CREATE DATABASE rows_from");
    run(conn, "DROP DATABASE IF EXISTS rows_to");
    run(conn, "CREATE DATABASE rows_to");
    pg_close(conn);
    from = connect_to("rows_from");
    to = connect_to("rows_to");
    run(from, schema);
    run(to, schema);
    run(from, rows);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    pg_close(from);
    pg_close(to);
    banyan_arena_release(&arena);
    return 0;
}

static int64_t copy(int64_t rows_max, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct rehearse_copy_options options = {.rows = rows_max};
    struct migration *migration = NULL;
    struct banyan_str *deletes = NULL;
    int64_t copied = -1;

    run(to, "TRUNCATE parent, \"Child t\", grandchild, other, alone, parts");
    assert_int_equal(migration_parse("m.sql", banyan_str_of(sql), &migration, &err), BANYAN_OK);
    rehearse_keys_find(migration, &arena, &deletes, &options.delete_count);
    options.deletes = deletes;
    if (rehearse_copy_rows(from, to, &options, &arena, &copied, &err) != BANYAN_OK)
        fail_msg("%s: %s", err.message, err.detail);
    migration_free(migration);
    return copied;
}

static void test_all(void **state)
{
    (void)state;
    assert_int_equal(copy(1000, ""), 100 + 101 + 100 + 9 + 2 + 20);
    assert_int_equal(ask(to, "SELECT count(*) FROM \"Child t\" WHERE sum = id * 2"), 101);
    assert_int_equal(ask(to, "SELECT count(*) FROM parts_2"), 10);
    assert_int_equal(ask(to, "SELECT count(*) FROM parts WHERE v = 'x' || chr(9) || chr(10) || '\\' || k"), 20);
    assert_int_equal(ask(to, "SELECT nextval('grandchild_id_seq')"), 101);
}

static void test_children_without_parents(void **state)
{
    (void)state;
    /* Parents 1…60, children 1…60, of which 41…60 have theirs among them; then the children of those. */
    copy(60, "");
    assert_int_equal(ask(to, "SELECT count(*) FROM parent"), 60);
    assert_int_equal(ask(to, "SELECT count(*) FROM \"Child t\" WHERE a > 60"), 0);
    assert_int_equal(ask(to, "SELECT count(*) FROM \"Child t\""), 20);
    assert_int_equal(ask(to, "SELECT count(*) FROM grandchild"), 20);
}

static void test_keys_to_come(void **state)
{
    (void)state;
    copy(2, "ALTER TABLE other ADD CONSTRAINT k FOREIGN KEY (alone) REFERENCES alone");
    assert_int_equal(ask(to, "SELECT count(*) FROM other"), 1); /* 1: alone 2; 2: alone 3, which is nobody */
    copy(2, "ALTER TABLE public.other ADD FOREIGN KEY (alone) REFERENCES public.alone (id)");
    assert_int_equal(ask(to, "SELECT count(*) FROM other"), 1);
    copy(2, "ALTER TABLE other ADD FOREIGN KEY (later) REFERENCES later (id)");
    assert_int_equal(ask(to, "SELECT count(*) FROM other"), 2);
}

static void test_schema_is_as_it_was(void **state)
{
    (void)state;
    copy(10, "");
    assert_int_equal(ask(to, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated"), 2);
    assert_int_equal(ask(to, "SELECT count(*) FROM pg_constraint WHERE conname = 'up' AND confdeltype = 'c'"), 1);
    assert_int_equal(ask(to, "SELECT count(*) FROM pg_trigger WHERE tgname = 'on_row' AND tgenabled = 'A'"), 1);
    assert_int_equal(ask(to, "SELECT count(*) FROM pg_trigger WHERE tgname = 'off' AND tgenabled = 'D'"), 1);
}

static void test_values(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct rehearse_values *values = NULL;
    struct banyan_str differs = {NULL, 0};
    size_t count = 0;

    (void)state;
    copy(10, "");
    assert_int_equal(rehearse_values_read(to, &arena, &values, &count, &err), BANYAN_OK);
    assert_int_equal(rehearse_values_compare(to, values, count, &arena, &differs, &err), BANYAN_OK);
    assert_int_equal(differs.size, 0);
    run(to, "UPDATE alone SET id = 3 WHERE id = 2; DELETE FROM parts WHERE k = 1");
    assert_int_equal(rehearse_values_compare(to, values, count, &arena, &differs, &err), BANYAN_OK);
    assert_string_equal(differs.data, "public.alone, public.parts_1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),          cmocka_unit_test(test_children_without_parents),
        cmocka_unit_test(test_keys_to_come), cmocka_unit_test(test_schema_is_as_it_was),
        cmocka_unit_test(test_values),
    };

    return cmocka_run_group_tests(tests, make_databases, close_all);
}
