/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bound.h against the server in use: with a CHECK of the condition on the table, and one of its contrary on the default
 * partition, ATTACH reads neither; without them it reads both.
 */
#include "migrate/bound.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "migrate/oracle.h"
#include "migrate/sql.h"

struct bound_case {
    const char *columns, *key, *spec;
    bool has_default;
};

static const struct bound_case cases[] = {
    {"\"K\" int", "RANGE (\"K\")", "FROM (10) TO (20)", true},
    {"k int", "RANGE (k)", "FROM (MINVALUE) TO (20)", true},
    {"k bigint", "RANGE (k)", "FROM (-5) TO (MAXVALUE)", true},
    {"k smallint", "RANGE (k)", "FROM (1) TO (2)", true},
    {"k date", "RANGE (k)", "FROM ('2024-01-01') TO ('2024-02-01')", true},
    {"k timestamp", "RANGE (k)", "FROM ('2024-01-01') TO ('2024-02-01')", true},
    {"k timestamptz", "RANGE (k)", "FROM ('2024-01-01') TO ('2024-02-01 12:00')", true},
    {"k numeric(10,2)", "RANGE (k)", "FROM (1.5) TO (2)", true},
    {"k text", "RANGE (k)", "FROM ('a''b') TO ('c')", true},
    {"k text COLLATE \"C\"", "RANGE (k)", "FROM ('a') TO ('c')", true},
    {"k varchar(10)", "RANGE (k)", "FROM ('a') TO ('c')", true},
    {"k uuid", "RANGE (k)", "FROM ('00000000-0000-0000-0000-000000000000') TO ('10000000-0000-0000-0000-000000000000')",
     true},
    {"a int, b int", "RANGE (a, b)", "FROM (1, 5) TO (3, 2)", true},
    {"a int, b int", "RANGE (a, b)", "FROM (1, 5) TO (1, 9)", true},
    {"a int, b int", "RANGE (a, b)", "FROM (1, MINVALUE) TO (3, MAXVALUE)", true},
    {"a int, b int", "RANGE (b, a)", "FROM (MINVALUE, MINVALUE) TO (3, 5)", true},
    {"a int, b int", "RANGE (a, b)", "FROM (3, 5) TO (MAXVALUE, MAXVALUE)", true},
    {"a int, b text, c date", "RANGE (a, b, c)", "FROM (1, 'x', '2024-01-01') TO (1, 'y', '2023-01-01')", true},
    {"a int, b text, c date", "RANGE (a, b, c)", "FROM (1, 'x', '2024-01-01') TO (2, 'a', MAXVALUE)", true},
    {"k text", "LIST (k)", "IN ('a', 'b''c')", true},
    {"k text", "LIST (k)", "IN ('a')", true},
    {"k text", "LIST (k)", "IN ('a', NULL)", true},
    {"k text", "LIST (k)", "IN (NULL)", true},
    {"k varchar(5)", "LIST (k)", "IN ('a', 'b')", true},
    {"k int", "LIST (k)", "IN (1, 2, 3, 4, 5, 6, 7, 8)", true},
    {"k mood", "LIST (k)", "IN ('a', 'b')", true},
    {"k int", "HASH (k)", "WITH (MODULUS 4, REMAINDER 1)", false},
    {"a uuid, b int", "HASH (b, a)", "WITH (MODULUS 4, REMAINDER 3)", false},
};

static struct pg_conn *conn;
static struct banyan_arena arena;

static void run(const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (pg_run(conn, sql, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
}

/* How often ATTACH reads the two tables. */
static int64_t scans(const struct bound_case *one, struct banyan_str given, struct banyan_str attach)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct oracle_result truth;
    int64_t count = 0;

    if (oracle_measure(conn, given, attach, &arena, &truth, &err) != BANYAN_OK)
        fail_msg("%s: %s", attach.data, err.message);
    if (truth.failed)
        fail_msg("%s with %s: %s", attach.data, given.data, truth.failure.data);
    for (size_t i = 0; i < truth.relation_count; i++)
        count += truth.relations[i].scans;
    (void)one;
    return count;
}

static struct banyan_str condition_of(struct banyan_str attach)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_str condition = {NULL, 0};
    struct migration *migration = NULL;
    struct catalog *catalog = NULL;
    struct catalog_table *parent = NULL;

    if (migration_parse("1_attach.sql", attach, &migration, &err) != BANYAN_OK ||
        catalog_open(conn, &catalog, &err) != BANYAN_OK ||
        catalog_table(catalog, BANYAN_STR(""), BANYAN_STR("P a"), &parent, &err) != BANYAN_OK ||
        bound_condition(
            catalog, parent,
            migration->statements[0].tree->alter_table_stmt->cmds[0]->alter_table_cmd->def->partition_cmd->bound,
            &arena, &condition, &err) != BANYAN_OK)
        fail_msg("%s: %s", attach.data, err.message);
    catalog_free(catalog);
    migration_free(migration);
    return condition;
}

static void attach_reads_nothing(void **state)
{
    (void)state;
    run("CREATE TYPE mood AS ENUM ('a', 'b', 'c')");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct bound_case *one = &cases[i];
        struct banyan_str attach =
            sql_make(&arena, "ALTER TABLE \"P a\" ATTACH PARTITION \"C h\" FOR VALUES %s", one->spec);
        struct banyan_str condition, given;

        run(sql_make(&arena, "CREATE TABLE \"P a\" (%s) PARTITION BY %s", one->columns, one->key).data);
        run(sql_make(&arena, "CREATE TABLE \"C h\" (%s)", one->columns).data);
        if (one->has_default)
            run("CREATE TABLE \"D e\" PARTITION OF \"P a\" DEFAULT");
        condition = condition_of(attach);
        assert_non_null(condition.data);
        given = sql_make(&arena, "ALTER TABLE \"C h\" ADD CHECK (%S)%s%S%s", condition,
                         one->has_default ? "; ALTER TABLE \"D e\" ADD CHECK (NOT (" : "",
                         one->has_default ? condition : BANYAN_STR(""), one->has_default ? "))" : "");
        if (scans(one, BANYAN_STR(""), attach) != (one->has_default ? 2 : 1))
            fail_msg("%s %s: the test sees no scan without a CHECK", one->key, one->spec);
        if (scans(one, given, attach) != 0)
            fail_msg("%s %s: %s proves nothing", one->key, one->spec, condition.data);
        run("DROP TABLE \"P a\", \"C h\"");
    }
}

static void what_cannot_be_told_is_not(void **state)
{
    static const struct bound_case unknown[] = {
        {"k text", "RANGE (k COLLATE \"C\")", "FOR VALUES FROM ('a') TO ('c')", false},
        {"k text", "HASH (k)", "FOR VALUES WITH (MODULUS 4, REMAINDER 1)", false},
        {"k bool", "LIST (k)", "FOR VALUES IN (true)", false},
        {"k int", "RANGE ((k + 1))", "FOR VALUES FROM (1) TO (2)", false},
        {"k int", "RANGE (k)", "DEFAULT", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        run(sql_make(&arena, "CREATE TABLE \"P a\" (%s) PARTITION BY %s", unknown[i].columns, unknown[i].key).data);
        assert_null(
            condition_of(sql_make(&arena, "ALTER TABLE \"P a\" ATTACH PARTITION \"C h\" %s", unknown[i].spec)).data);
        run("DROP TABLE \"P a\"");
    }
}

static int prepare(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO")};

    (void)state;
    return pg_connect(&options, &conn, &err) == BANYAN_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    pg_close(conn);
    banyan_arena_release(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attach_reads_nothing),
        cmocka_unit_test(what_cannot_be_told_is_not),
    };

    return cmocka_run_group_tests(tests, prepare, end);
}
