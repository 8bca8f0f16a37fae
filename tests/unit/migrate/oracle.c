/* SPDX-License-Identifier: Apache-2.0 */
/* src/migrate/oracle.c, on a real server: what it says of statements whose effect is well known. */
#include "migrate/oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct pg_conn *conn;
static struct banyan_arena arena;

static struct oracle_result measure(const char *given, const char *statement)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct oracle_result result;

    if (oracle_measure(conn, banyan_str_of(given), banyan_str_of(statement), &arena, &result, &err) != BANYAN_OK)
        fail_msg("%s: %s", statement, err.message);
    return result;
}

static const struct oracle_relation *find(const struct oracle_result *result, const char *name)
{
    for (size_t i = 0; i < result->relation_count; i++)
        if (banyan_str_equal(result->relations[i].name, banyan_str_of(name)))
            return &result->relations[i];
    fail_msg("nothing is told of %s", name);
    return NULL;
}

static bool has_work(const struct oracle_result *result, const char *work)
{
    for (size_t i = 0; i < result->work_count; i++)
        if (banyan_str_equal(result->work[i], banyan_str_of(work)))
            return true;
    return false;
}

static int connect_to_server(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO")};

    (void)state;
    if (pg_connect(&options, &conn, &err) != BANYAN_OK ||
        pg_run(conn,
               "CREATE SCHEMA \"Odd\";"
               "CREATE TABLE ref (id int PRIMARY KEY); INSERT INTO ref VALUES (1);"
               "CREATE TABLE t (id int PRIMARY KEY, a int, r int REFERENCES ref (id));"
               "INSERT INTO t VALUES (1, 1, 1); CREATE INDEX t_a ON t (a);"
               "CREATE TABLE \"Odd\".\"T t\" (a int)",
               &err) != BANYAN_OK) {
        (void)fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    return 0;
}

static int disconnect(void **state)
{
    (void)state;
    pg_close(conn);
    banyan_arena_release(&arena);
    return 0;
}

static void test_light(void **state)
{
    struct oracle_result result = measure("", "ALTER TABLE t ADD COLUMN z int DEFAULT 5");

    (void)state;
    assert_false(result.failed);
    assert_int_equal(result.relation_count, 1);
    assert_int_equal(find(&result, "t")->lock, EFFECT_ACCESS_EXCLUSIVE);
    assert_false(find(&result, "t")->rewritten);
    assert_int_equal(find(&result, "t")->scans, 0);
    assert_int_equal(result.work_count, 0);
}

static void test_rewrite(void **state)
{
    struct oracle_result result = measure("", "ALTER TABLE t ALTER a TYPE bigint");

    (void)state;
    assert_true(find(&result, "t")->rewritten);
    assert_true(find(&result, "t_pkey")->rewritten);
    assert_true(has_work(&result, "rewrite t"));
    assert_true(has_work(&result, "build t_a"));
    assert_true(has_work(&result, "build t_pkey"));
    assert_true(find(&result, "t")->scans > 0);
}

static void test_other_tables(void **state)
{
    struct oracle_result result = measure("", "ALTER TABLE t ADD CONSTRAINT again FOREIGN KEY (a) REFERENCES ref (id)");

    (void)state;
    assert_int_equal(find(&result, "t")->lock, EFFECT_SHARE_ROW_EXCLUSIVE);
    assert_int_equal(find(&result, "ref")->lock, EFFECT_SHARE_ROW_EXCLUSIVE);
    assert_true(has_work(&result, "check fk again"));
}

static void test_renamed_and_odd_names(void **state)
{
    struct oracle_result result = measure("", "ALTER TABLE \"Odd\".\"T t\" RENAME TO u");

    (void)state;
    assert_int_equal(find(&result, "Odd.T t")->lock, EFFECT_ACCESS_EXCLUSIVE);
}

static void test_failure_and_nothing_stays(void **state)
{
    struct oracle_result result = measure("", "ALTER TABLE t ADD COLUMN z int NOT NULL");

    (void)state;
    assert_true(result.failed);
    assert_non_null(memmem(result.failure.data, result.failure.size, "contains null values", 20));
    result = measure("", "CREATE INDEX CONCURRENTLY t_b ON t (a)");
    assert_true(result.failed);
    result = measure("", "DROP TABLE t");
    assert_false(result.failed);
    assert_int_equal(find(&result, "ref")->lock, EFFECT_ACCESS_EXCLUSIVE);
    result = measure("", "SELECT * FROM t");
    assert_false(result.failed);
    assert_int_equal(find(&result, "t")->lock, EFFECT_ACCESS_SHARE);
}

static void test_given(void **state)
{
    struct oracle_result result =
        measure("ALTER TABLE t ADD CONSTRAINT nn CHECK (a IS NOT NULL)", "ALTER TABLE t ALTER a SET NOT NULL");

    (void)state;
    assert_int_equal(find(&result, "t")->lock, EFFECT_ACCESS_EXCLUSIVE);
    assert_int_equal(find(&result, "t")->scans, 0);
    result = measure("ALTER TABLE t DROP CONSTRAINT nn", "ALTER TABLE t ALTER a SET NOT NULL");
    assert_true(has_work(&result, "verify t"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_light),
        cmocka_unit_test(test_rewrite),
        cmocka_unit_test(test_other_tables),
        cmocka_unit_test(test_renamed_and_odd_names),
        cmocka_unit_test(test_failure_and_nothing_stays),
        cmocka_unit_test(test_given),
    };

    return cmocka_run_group_tests(tests, connect_to_server, disconnect);
}
