/* SPDX-License-Identifier: Apache-2.0 */
/* src/migrate/statement.c */
#include "migrate/statement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "migrate/node.h"

static struct migration *parse(const char *path, const char *source)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct migration *migration = NULL;

    if (migration_parse(path, banyan_str_of(source), &migration, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return migration;
}

static void assert_text(struct banyan_str text, const char *expected)
{
    if (!banyan_str_equal(text, banyan_str_of(expected)))
        fail_msg("'%.*s' is not '%s'", (int)text.size, text.data, expected);
}

static void assert_named(const char *path, const char *version, const char *description)
{
    struct migration *migration = parse(path, "");

    assert_text(migration->version, version);
    assert_text(migration->description, description);
    migration_free(migration);
}

static void test_names(void **state)
{
    (void)state;
    assert_named("db/2024_11_01_001_add_execution_venue.sql", "2024_11_01_001", "add execution venue");
    assert_named("20241101_add.sql", "20241101", "add");
    assert_named("V7__add_venue.sql", "V7", "add venue");
    assert_named("add_venue.sql", "add_venue", "");
    assert_named("7.sql", "7", "");
    assert_named("12ab_c.sql", "12ab_c", "");
}

static void test_statements_and_places(void **state)
{
    struct migration *m = parse("a.sql", "-- first\n"
                                         "ALTER TABLE t ADD z int; /* ; */ SELECT ';' ;;\n"
                                         "  ALTER TBLE x;\n"
                                         "UPDATE t SET z = 1; BEGIN; SET lock_timeout = '1s'; DO $$ begin; end $$;\n"
                                         "CREATE TABLE u AS SELECT 1 -- no end");

    (void)state;
    assert_int_equal(m->statement_count, 8);
    assert_text(m->statements[0].text, "ALTER TABLE t ADD z int");
    assert_int_equal(m->statements[0].kind, STATEMENT_DDL);
    assert_int_equal(m->statements[0].place.line, 2);
    assert_int_equal(m->statements[0].place.column, 1);
    assert_text(m->statements[1].text, "SELECT ';'");
    assert_int_equal(m->statements[1].kind, STATEMENT_QUERY);
    assert_int_equal(m->statements[2].kind, STATEMENT_UNKNOWN);
    assert_null(m->statements[2].tree);
    assert_true(m->statements[2].why.size > 0);
    assert_int_equal(m->statements[2].place.line, 3);
    assert_int_equal(m->statements[2].place.column, 3);
    assert_int_equal(m->statements[3].kind, STATEMENT_DML);
    assert_int_equal(m->statements[4].kind, STATEMENT_TRANSACTION);
    assert_int_equal(m->statements[5].kind, STATEMENT_SETTING);
    assert_int_equal(m->statements[6].kind, STATEMENT_OTHER);
    assert_int_equal(m->statements[7].kind, STATEMENT_DDL);
    migration_free(m);
}

static void test_directives(void **state)
{
    struct migration *m =
        parse("a.sql", "-- banyan: backfill orders.execution_venue = CASE WHEN side = 'BUY' THEN 'A' ELSE 'B' END\n"
                       "/* banyan: backfill \"My Schema\".\"Or\"\"ders\".X =\n   1 + 2 */\n"
                       "-- banyan: zone orders.at = 'Europe/Berlin'\n"
                       "-- banyan: lossy orders.price\n"
                       "SELECT '-- banyan: nonsense';\n");

    (void)state;
    assert_int_equal(m->directive_count, 4);
    assert_int_equal(m->directives[0].kind, DIRECTIVE_BACKFILL);
    assert_text(m->directives[0].table, "orders");
    assert_text(m->directives[0].column, "execution_venue");
    assert_text(m->directives[0].value, "CASE WHEN side = 'BUY' THEN 'A' ELSE 'B' END");
    assert_text(m->directives[1].schema, "My Schema");
    assert_text(m->directives[1].table, "Or\"ders");
    assert_text(m->directives[1].column, "x");
    assert_text(m->directives[1].value, "1 + 2");
    assert_int_equal(m->directives[1].place.line, 2);
    assert_int_equal(m->directives[2].kind, DIRECTIVE_ZONE);
    assert_text(m->directives[2].value, "Europe/Berlin");
    assert_int_equal(m->directives[3].kind, DIRECTIVE_LOSSY);
    migration_free(m);
}

static void test_allow_and_rollback(void **state)
{
    struct migration *m = parse("a.sql", "SELECT 1;\n-- banyan: allow\nSELECT 2;\nSELECT 3;\n"
                                         "-- banyan: rollback\nSELECT 4;\n-- banyan: allow\nSELECT 5;");

    (void)state;
    assert_int_equal(m->statement_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(m->statements[i].allowed, i == 1 || i == 4);
        assert_int_equal(m->statements[i].of_rollback, i >= 3);
    }
    migration_free(m);
}

/* The server cuts names at 63 bytes, whole characters; so do the parser and the directives. */
static void test_long_names(void **state)
{
    static const char name[] = "a_column_with_a_name_that_is_as_long_as_a_name_can_be_in_here_\xC3\xA4\xC3\xA4";
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct migration *m =
        parse("a.sql",
              banyan_arena_printf(&arena, "-- banyan: backfill t.%s = 1\nALTER TABLE t ADD %s int", name, name).data);
    const PgQuery__ColumnDef *column =
        m->statements[0].tree->alter_table_stmt->cmds[0]->alter_table_cmd->def->column_def;

    (void)state;
    assert_int_equal(strlen(column->colname), 62);
    assert_text(m->directives[0].column, column->colname);
    migration_free(m);
    banyan_arena_release(&arena);
}

static void assert_refused(const char *source, const char *message)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct migration *migration = NULL;

    assert_int_equal(migration_parse("a.sql", banyan_str_of(source), &migration, &err), BANYAN_INVALID);
    if (strstr(err.message, message) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, message);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_refused("SELECT 1;\n  -- banyan: backfil t.a = 1\n", "a.sql:2:3: unknown directive");
    assert_refused("-- banyan: backfill t.a 1\n", "= value");
    assert_refused("-- banyan: backfill a = 1\n", "table.column");
    assert_refused("-- banyan: backfill t.a = 1 +\n", "not one expression");
    assert_refused("-- banyan: backfill t.a = 1); DROP TABLE t; SELECT (1\n", "not one expression");
    assert_refused("-- banyan: backfill t.a = 1 FROM x\n", "not one expression");
    assert_refused("-- banyan: zone t.a = UTC\n", "single quotes");
    assert_refused("-- banyan: lossy t.a now\n", "nothing may stand");
    assert_refused("-- banyan: backfill \"t.a = 1\n", "table.column");
    assert_refused("SELECT 'abc", "a.sql:1:8: unterminated");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),      cmocka_unit_test(test_statements_and_places),
        cmocka_unit_test(test_directives), cmocka_unit_test(test_allow_and_rollback),
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_long_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
