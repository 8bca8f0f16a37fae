/* SPDX-License-Identifier: Apache-2.0 */
/* src/migrate/lint.c and lint_print.c without a server: which rules speak, how hard, and that the formats are formats.
 */
#include "migrate/lint.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct linted {
    struct banyan_arena arena;
    struct migration *migration;
    struct catalog *catalog;
    struct lint_report report;
};

static void lint(struct linted *all, const char *source)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    *all = (struct linted){.catalog = catalog_offline(0)};
    if (migration_parse("a,b.sql", banyan_str_of(source), &all->migration, &err) != BANYAN_OK ||
        lint_migration(all->migration, all->catalog, &all->arena, &all->report, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void release(struct linted *all)
{
    catalog_free(all->catalog);
    migration_free(all->migration);
    banyan_arena_release(&all->arena);
}

/* How hard the rule speaks of the statement in that line. */
static enum lint_severity severity(const struct linted *all, const char *rule, unsigned line)
{
    for (size_t i = 0; i < all->report.count; i++)
        if (strcmp(all->report.findings[i].rule, rule) == 0 && all->report.findings[i].place.line == line)
            return all->report.findings[i].severity;
    return LINT_NONE;
}

static void check(const char *source, const char *rule, unsigned line, enum lint_severity expected)
{
    struct linted all;

    lint(&all, source);
    if (severity(&all, rule, line) != expected)
        fail_msg("%s: %s is %d, not %d", source, rule, (int)severity(&all, rule, line), (int)expected);
    release(&all);
}

static void test_rules(void **state)
{
    (void)state;
    check("ALTER TABLE t ADD COLUMN z int", "rewrite-under-lock", 1, LINT_NONE);
    check("ALTER TABLE t ADD COLUMN z int", "strong-lock", 1, LINT_NOTE);
    check("SET lock_timeout = '1s';\nALTER TABLE t ADD COLUMN z int", "strong-lock", 2, LINT_NONE);
    check("ALTER TABLE t ADD COLUMN z uuid DEFAULT gen_random_uuid()", "rewrite-under-lock", 1, LINT_ERROR);
    check("ALTER TABLE t ADD COLUMN z int DEFAULT mine()", "rewrite-under-lock", 1, LINT_WARNING);
    check("ALTER TABLE t ALTER a TYPE bigint", "rewrite-under-lock", 1, LINT_WARNING);
    check("-- banyan: allow\nALTER TABLE t ALTER a TYPE bigint", "rewrite-under-lock", 2, LINT_NOTE);
    check("CREATE INDEX ON t (a)", "index-build-under-lock", 1, LINT_ERROR);
    check("CREATE INDEX CONCURRENTLY x ON t (a)", "index-build-under-lock", 1, LINT_NONE);
    check("BEGIN;\nCREATE INDEX CONCURRENTLY x ON t (a)", "not-in-transaction", 2, LINT_ERROR);
    check("ALTER TABLE t ADD CHECK (a > 0)", "scan-under-lock", 1, LINT_ERROR);
    check("ALTER TABLE t DROP COLUMN a", "removes-data", 1, LINT_WARNING);
    check("ALTER TABLE t RENAME TO u", "breaks-running-code", 1, LINT_WARNING);
    check("BEGIN;\nALTER TABLE t ADD z int;\nUPDATE t SET z = 1", "data-in-ddl-transaction", 3, LINT_ERROR);
    check("BEGIN;\nALTER TABLE t ADD z int;\nCOMMIT;\nUPDATE t SET z = 1", "data-in-ddl-transaction", 4, LINT_NONE);
}

static void test_never_called_safe(void **state)
{
    (void)state;
    check("ALTER TABLE t ADD CONSTRAINT n NOT NULL a NOT VALID", "not-understood", 1, LINT_WARNING);
    check("REPACK t", "not-understood", 1, LINT_WARNING);
    check("CALL anything()", "not-understood", 1, LINT_WARNING);
    check("DROP TYPE mood CASCADE", "not-understood", 1, LINT_WARNING);
    check("DO $$ BEGIN DROP TABLE t; END $$", "not-understood", 1, LINT_WARNING);
}

/* A statement is judged by those before it. */
static void test_order(void **state)
{
    (void)state;
    check("ALTER TABLE t ALTER a SET NOT NULL", "scan-under-lock", 1, LINT_WARNING);
    check("ALTER TABLE t ADD CONSTRAINT n CHECK (a IS NOT NULL) NOT VALID;\nALTER TABLE t ALTER a SET NOT NULL",
          "scan-under-lock", 2, LINT_WARNING);
    check("ALTER TABLE t ADD CONSTRAINT n CHECK (a IS NOT NULL) NOT VALID;\nALTER TABLE t VALIDATE CONSTRAINT n;\n"
          "ALTER TABLE t ALTER a SET NOT NULL",
          "scan-under-lock", 3, LINT_NONE);
    check("CREATE TABLE n (a int);\nCREATE INDEX ON n (a)", "index-build-under-lock", 2, LINT_NONE);
    check("CREATE TABLE IF NOT EXISTS n (a int);\nCREATE INDEX ON n (a)", "index-build-under-lock", 2, LINT_ERROR);
}

static void test_formats(void **state)
{
    struct linted all;
    struct banyan_buf text = BANYAN_BUF_INIT(1 << 20);
    json_t *document;

    (void)state;
    lint(&all, "CREATE INDEX ON \"a\"\"b\" (a)");
    struct lint_of item = {.migration = all.migration, .report = &all.report};

    lint_print(&item, 1, LINT_GITHUB, &text);
    assert_memory_equal(text.data, "::error file=a%2Cb.sql,line=1,col=1,title=index-build-under-lock::", 66);
    for (enum lint_format format = LINT_JSON; format <= LINT_SARIF; format++) {
        banyan_buf_reset(&text);
        lint_print(&item, 1, format, &text);
        document = json_loads(text.data, 0, NULL);
        assert_non_null(document);
        if (format == LINT_SARIF)
            assert_string_equal(json_string_value(json_object_get(document, "version")), "2.1.0");
        else
            assert_int_equal(json_array_size(json_object_get(document, "files")), 1);
        json_decref(document);
    }
    banyan_buf_release(&text);
    release(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_never_called_safe),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_formats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
