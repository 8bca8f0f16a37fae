/* SPDX-License-Identifier: Apache-2.0 */
/* src/migrate/node.c, sql.c: trees become SQL again; what is put into SQL is quoted. */
#include "migrate/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "migrate/sql.h"

static struct banyan_arena arena;

static void assert_text(struct banyan_str text, const char *expected)
{
    if (!banyan_str_equal(text, banyan_str_of(expected)))
        fail_msg("'%.*s' is not '%s'", (int)text.size, text.data, expected);
}

static const PgQuery__Node *column_of(struct migration **migration, const char *source)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (migration_parse("1_a.sql", banyan_str_of(source), migration, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return (*migration)->statements[0].tree->alter_table_stmt->cmds[0]->alter_table_cmd->def;
}

static void trees_become_sql_again(void **unused)
{
    struct migration *migration;
    const PgQuery__Node *column = column_of(
        &migration,
        "ALTER TABLE \"Or der\".\"Line\" ADD \"Pri ce\" numeric(18, 8)[] DEFAULT least(1, now_of('a''b')) NOT NULL");

    (void)unused;
    assert_text(node_deparse(migration->statements[0].tree, &arena),
                "ALTER TABLE \"Or der\".\"Line\" ADD COLUMN \"Pri ce\" numeric(18, 8)[] DEFAULT LEAST(1, "
                "now_of('a''b')) NOT NULL");
    assert_text(node_deparse_type(column->column_def->type_name, &arena), "numeric(18, 8)[]");
    assert_text(node_deparse_expression(column->column_def->constraints[0]->constraint->raw_expr, &arena),
                "LEAST(1, now_of('a''b'))");
    migration_free(migration);
}

/* Which the library forgets: what was a name before would be a mistake of syntax, or another name. */
static void names_of_constraints_are_quoted(void **unused)
{
    static const char *const same[] = {
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
        "ALTER TABLE t ADD CONSTRAINT \"C k\" CHECK (a > 0)",
        "ALTER TABLE t ADD CONSTRAINT \"Ck\" UNIQUE (a)",
        "ALTER TABLE t ADD CONSTRAINT \"a\"\"b\" FOREIGN KEY (a) REFERENCES u (b)",
        "ALTER TABLE t ADD COLUMN a int CONSTRAINT \"check\" NOT NULL CONSTRAINT \"1\" CHECK (a > 0)",
        "CREATE TABLE t (a int CONSTRAINT \"N n\" NOT NULL, CONSTRAINT \"P k\" PRIMARY KEY (a))",
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct migration *migration = NULL;

        if (migration_parse("1_a.sql", banyan_str_of(same[i]), &migration, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        assert_text(node_deparse(migration->statements[0].tree, &arena), same[i]);
        migration_free(migration);
    }
}

static void parts_are_quoted(void **unused)
{
    struct catalog_table table = {.schema = BANYAN_STR("a b"), .name = BANYAN_STR("c\"; DROP")};

    (void)unused;
    assert_text(sql_make(&arena, "ALTER TABLE %T ADD %I %S DEFAULT %L, %s %i %d%%", &table, BANYAN_STR("x\"y"),
                         BANYAN_STR("int"), BANYAN_STR("it's"), "DROP", "Z", INT64_C(-5)),
                "ALTER TABLE \"a b\".\"c\"\"; DROP\" ADD \"x\"\"y\" int DEFAULT 'it''s', DROP \"Z\" -5%");
    table.schema = BANYAN_STR("");
    assert_text(sql_make(&arena, "%T", &table), "\"c\"\"; DROP\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_become_sql_again),
        cmocka_unit_test(names_of_constraints_are_quoted),
        cmocka_unit_test(parts_are_quoted),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    banyan_arena_release(&arena);
    return failed;
}
