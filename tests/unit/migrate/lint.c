/* SPDX-License-Identifier: Apache-2.0 */
/* src/migrate/lint.c and lint_print.c without a server: which rules speak, how hard, and that the formats are formats.
 */
#include "migrate/lint.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

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

/* What ends the transaction of a lock, and what ends waiting, is said by the statement, not by its first letters. */
static void test_session(void **state)
{
    (void)state;
    check("BEGIN;\nALTER TABLE t ADD z int;\nSAVEPOINT a;\nROLLBACK TO a;\nUPDATE t SET z = 1",
          "data-in-ddl-transaction", 5, LINT_ERROR);
    check("BEGIN;\nALTER TABLE t ADD z int;\nCOMMIT AND CHAIN;\nUPDATE t SET z = 1", "data-in-ddl-transaction", 4,
          LINT_NONE);
    check("BEGIN;\nCOMMIT AND CHAIN;\nCREATE INDEX CONCURRENTLY x ON t (a)", "not-in-transaction", 3, LINT_ERROR);
    check("SET deadlock_timeout = '1s';\nALTER TABLE t ADD z int", "strong-lock", 2, LINT_NOTE);
    check("SET lock_timeout = 0;\nALTER TABLE t ADD z int", "strong-lock", 2, LINT_NOTE);
    check("SET lock_timeout = '1s';\nRESET lock_timeout;\nALTER TABLE t ADD z int", "strong-lock", 3, LINT_NOTE);
    check("SET LOCAL lock_timeout TO 500;\nALTER TABLE t ADD z int", "strong-lock", 2, LINT_NONE);
}

static const json_t *at(const json_t *value, const char *path)
{
    char name[64];

    for (size_t size; value != NULL && *path != '\0'; path += size + (path[size] != '\0')) {
        size = strcspn(path, ".");
        memcpy(name, path, size);
        name[size] = '\0';
        value = json_is_array(value) ? json_array_get(value, strtoul(name, NULL, 10)) : json_object_get(value, name);
    }
    return value;
}

/* As GitHub's code scanning asks for it: rules with texts, a URI, a region with its end; places in characters. */
static void test_sarif(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_buf text = BANYAN_BUF_INIT(1 << 20);
    struct linted all = {.catalog = catalog_offline(0)};
    const json_t *result;
    json_t *document;

    (void)state;
    if (migration_parse("db dir/\xC3\xA4 100%,a:b#\"q\".sql",
                        BANYAN_STR("/* \xC3\xA4 */ CREATE INDEX ON \"a\nb\" (a,\n  \"\xC3\xA4\");"), &all.migration,
                        &err) != BANYAN_OK ||
        lint_migration(all.migration, all.catalog, &all.arena, &all.report, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    struct lint_of item = {.migration = all.migration, .report = &all.report};

    lint_print(&item, 1, LINT_SARIF, &text);
    document = json_loads(text.data, 0, NULL);
    assert_non_null(document);
    result = at(document, "runs.0.results.0");
    assert_string_equal(json_string_value(at(result, "ruleId")), "index-build-under-lock");
    assert_string_equal(json_string_value(at(result, "level")), "error");
    assert_non_null(strstr(json_string_value(at(result, "message.text")), "writes"));
    result = at(result, "locations.0.physicalLocation");
    assert_string_equal(json_string_value(at(result, "artifactLocation.uri")),
                        "db%20dir/%C3%A4%20100%25%2Ca%3Ab%23%22q%22.sql");
    assert_int_equal(json_integer_value(at(result, "region.startLine")), 1);
    assert_int_equal(json_integer_value(at(result, "region.startColumn")), 9);
    assert_int_equal(json_integer_value(at(result, "region.endLine")), 3);
    assert_int_equal(json_integer_value(at(result, "region.endColumn")), 7);
    for (size_t i = 0; i < all.report.count; i++) {
        const json_t *rules = at(document, "runs.0.tool.driver.rules"), *found = NULL;

        for (size_t k = 0; k < json_array_size(rules); k++)
            if (strcmp(json_string_value(at(json_array_get(rules, k), "id")), all.report.findings[i].rule) == 0)
                found = json_array_get(rules, k);
        assert_non_null(found);
        assert_true(strlen(json_string_value(at(found, "shortDescription.text"))) > 0);
        assert_true(strlen(json_string_value(at(found, "fullDescription.text"))) > 0);
        assert_true(strlen(json_string_value(at(found, "help.text"))) > 0);
    }
    json_decref(document);
    banyan_buf_reset(&text);
    lint_print(&item, 1, LINT_TEXT, &text);
    assert_null(strstr(text.data, "a\nb"));
    banyan_buf_reset(&text);
    lint_print(&item, 1, LINT_GITHUB, &text);
    assert_non_null(strstr(text.data, "file=db dir/\xC3\xA4 100%25%2Ca%3Ab#\"q\".sql,line=1,col=9,"));
    banyan_buf_release(&text);
    release(&all);
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
        cmocka_unit_test(test_rules), cmocka_unit_test(test_never_called_safe),
        cmocka_unit_test(test_order), cmocka_unit_test(test_session),
        cmocka_unit_test(test_sarif), cmocka_unit_test(test_formats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
