/* SPDX-License-Identifier: Apache-2.0 */
/* src/migrate/source.c, through migration_parse(): what no server would take, how it is told, and that what is taken
 * does not end the stack. */
#include "migrate/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pg_query.h>

#include "migrate/lint.h"
#include "migrate/node.h"

enum {
    TEXT_MAX = 16 * 1024 * 1024,
};

static enum banyan_status parse(struct banyan_str source, struct migration **ret, struct banyan_error *err)
{
    *ret = NULL;
    *err = (struct banyan_error)BANYAN_ERROR_INIT;
    return migration_parse("a.sql", source, ret, err);
}

static void assert_refused_bytes(const char *source, size_t size, const char *message)
{
    struct banyan_error err;
    struct migration *migration;

    if (parse((struct banyan_str){source, size}, &migration, &err) != BANYAN_INVALID)
        fail_msg("'%s' is taken", source);
    if (strncmp(err.message, message, strlen(message)) != 0)
        fail_msg("'%s' does not say '%s'", err.message, message);
    assert_true(err.hint[0] != '\0');
}

static void assert_refused(const char *source, const char *message)
{
    assert_refused_bytes(source, strlen(source), message);
}

static void assert_taken(const char *source)
{
    struct banyan_error err;
    struct migration *migration;

    if (parse(banyan_str_of(source), &migration, &err) != BANYAN_OK)
        fail_msg("'%s': %s", source, err.message);
    migration_free(migration);
}

static void test_bytes(void **state)
{
    (void)state;
    assert_refused_bytes("SELECT 1;\n\0", 11, "a.sql:2:1: a NUL byte");
    assert_refused_bytes("\xFF\xFES\0E\0", 6, "a.sql:1:1: the text is UTF-16");
    assert_refused("SELECT 'ä';\nSELECT 'ä\xE4';", "a.sql:2:10: the text is not UTF-8: byte 0xE4");
    assert_refused("SELECT '\xED\xA0\x80'", "a.sql:1:9: the text is not UTF-8");
    assert_taken("");
    assert_taken("-- nothing\n/* at all */;;\n");
    assert_taken("\xEF\xBB\xBF");
}

/* A byte order mark is no part of the first word, and has no column. */
static void test_mark(void **state)
{
    struct banyan_error err;
    struct migration *migration;

    (void)state;
    assert_int_equal(parse(BANYAN_STR("\xEF\xBB\xBF/* ä */ ALTER TABLE t ADD a int"), &migration, &err), BANYAN_OK);
    assert_int_equal(migration->statement_count, 1);
    assert_int_equal(migration->statements[0].kind, STATEMENT_DDL);
    assert_int_equal(migration->statements[0].place.line, 1);
    assert_int_equal(migration->statements[0].place.column, 9);
    assert_memory_equal(migration->source.data, "\xEF\xBB\xBF", 3);
    migration_free(migration);
}

static void test_lines(void **state)
{
    struct banyan_error err;
    struct migration *migration;

    (void)state;
    assert_int_equal(parse(BANYAN_STR("-- banyan: lossy t.a\r\n-- banyan: allow\r\nALTER TABLE t\r\nADD a int;\r\n"
                                      "SELECT 'ä', 1;  SELECT 2\r\n"),
                           &migration, &err),
                     BANYAN_OK);
    assert_int_equal(migration->directive_count, 1);
    assert_int_equal(migration->directives[0].column.size, 1);
    assert_int_equal(migration->statement_count, 3);
    assert_true(migration->statements[0].allowed);
    assert_int_equal(migration->statements[0].place.line, 3);
    assert_int_equal(migration->statements[2].place.line, 5);
    assert_int_equal(migration->statements[2].place.column, 17);
    migration_free(migration);
}

static void test_psql(void **state)
{
    (void)state;
    assert_refused("SELECT 1;\n\\i other.sql\n", "a.sql:2:1: \\i is a command of psql");
    assert_refused("\\copy t from 'x'", "a.sql:1:1: \\copy is a command of psql");
    assert_refused("SELECT 1 \\gexec\n", "a.sql:1:10: \\gexec is");
    assert_refused("\\", "a.sql:1:1: \\ is");
    assert_refused("SELECT 1;\\q;", "a.sql:1:10: \\q is");
    assert_refused("ALTER TABLE t ADD a int DEFAULT :x", "a.sql:1:33: a variable of psql");
    assert_refused("ALTER TABLE :\"t\" ADD a int", "a.sql:1:13: a variable of psql");
    assert_refused("SELECT :'x'", "a.sql:1:8: a variable of psql");
    assert_refused("-- banyan: backfill t.a = :x\n", "a.sql:1:1: a variable of psql");
    assert_taken("SELECT a[1:2], a[:n], a[n:], a::int, '\\i', $$ \\i :x $$ -- \\i :x\n");
    assert_taken("SELECT E'\\\\', \"\\i :x\", x := 1");
}

static void test_data(void **state)
{
    (void)state;
    assert_refused("SELECT 1;\nCOPY t (a) FROM stdin;\n1\t2\n\\.\n", "a.sql:2:12: COPY … FROM stdin");
    assert_refused("COPY t FROM STDIN;\nit's\n\\.\n", "a.sql:1:8: COPY … FROM stdin"); /* the quote does not end */
    assert_refused("COPY (SELECT 1) TO stdout", "a.sql:1:17: COPY … TO stdout");
    assert_taken("COPY t FROM '/tmp/x'; COPY t TO PROGRAM 'cat'; SELECT 1 FROM stdin; SELECT 'copy'");
    assert_refused("-- ä\nSELECT 'ä', 'abc", "a.sql:2:13: unterminated");
}

static void test_parameters(void **state)
{
    (void)state;
    assert_refused("-- banyan: backfill t.a = $1 + 1\n", "a.sql:1:1: a parameter ($1)");
    assert_refused("SELECT 1;\nUPDATE t SET a = $2", "a.sql:2:18: a parameter ($2)");
    assert_taken("CREATE FUNCTION f(int) RETURNS int RETURN $1 + 1; PREPARE p AS SELECT $1");
    assert_taken("CREATE PROCEDURE f(int) BEGIN ATOMIC INSERT INTO t VALUES ($1); END");
    assert_refused("CREATE FUNCTION f(int) RETURNS int RETURN $1 + 1; SELECT $1", "a.sql:1:58: a parameter");
}

/* ---- nesting ---- */

/* front, then n times *open*, *middle*, n times *close*, end */
struct form {
    const char *front, *open, *middle, *close, *end;
};
static const struct form forms[] = {
    {"ALTER TABLE t ADD CHECK (a", " + 1", "", "", " > 0)"},
    {"ALTER TABLE t ADD CHECK (a", "::int", "", "", " > 0)"},
    {"ALTER TABLE t ADD CHECK (a", " COLLATE x", "", "", " > 0)"},
    {"ALTER TABLE t ADD CHECK (a", " AT TIME ZONE x", "", "", " > 0)"},
    {"ALTER TABLE t ADD CHECK (0 < ", "- ", "a", "", ")"},
    {"ALTER TABLE t ADD CHECK (", "NOT ", "a", "", ")"},
    {"ALTER TABLE t ADD CHECK (", "(", "a", ")", ")"},
    {"ALTER TABLE t ADD CHECK (", "f(", "a", ")", ")"},
    {"ALTER TABLE t ADD CHECK (", "f(a, b, ", "a", ")", ")"},
    {"ALTER TABLE t ADD CHECK (", "(a OR b AND ", "a", ")", ")"},
    {"ALTER TABLE t ADD CHECK (a = ", "ARRAY[", "1", "]", ")"},
    {"ALTER TABLE t ADD CHECK (", "CASE WHEN ", "a", " THEN 1 END", ")"},
    {"ALTER TABLE t ADD CHECK (", "CASE WHEN a THEN ", "a", " END", ")"},
    {"ALTER TABLE t ADD CHECK (", "CASE WHEN a THEN b ELSE ", "a", " END", ")"},
    {"ALTER TABLE t ADD CHECK (", "CASE ", "a", " WHEN 1 THEN 1 END", ")"},
    {"CREATE VIEW v AS SELECT ", "(SELECT ", "1", ")", ""},
    {"CREATE VIEW v AS SELECT 1 WHERE ", "1 IN (SELECT 1 WHERE ", "a", ")", ""},
    {"CREATE VIEW v AS ", "SELECT 1 FROM (", "SELECT 1", ") x", ""},
    {"CREATE VIEW v AS ", "WITH x AS (", "SELECT 1", ") SELECT 1", ""},
    {"CREATE VIEW v AS SELECT 1, 2", " UNION SELECT 1, 2", "", "", ""},
    {"CREATE VIEW v AS SELECT 1, 2", " EXCEPT (SELECT 1, 2)", "", "", ""},
    {"CREATE VIEW v AS SELECT 1 FROM a", " JOIN b ON x AND y", "", "", ""},
    {"CREATE VIEW v AS SELECT 1 FROM ", "(a CROSS JOIN ", "b", ")", ""},
    {"-- banyan: backfill t.a = 1", " + 1", "", "", "\nALTER TABLE t ADD a int"},
    {"-- banyan: backfill t.a = 1", " || 'x'", "", "", "\nALTER TABLE t ADD a int"},
};

static void repeat(struct banyan_buf *text, const char *part, unsigned times)
{
    for (unsigned i = 0; i < times && part[0] != '\0'; i++)
        banyan_buf_add_text(text, part);
}

static void make(struct banyan_buf *text, const struct form *form, unsigned times)
{
    banyan_buf_reset(text);
    banyan_buf_add_text(text, form->front);
    repeat(text, form->open, times);
    banyan_buf_add_text(text, form->middle);
    repeat(text, form->close, times);
    banyan_buf_add_text(text, form->end);
    assert_false(text->overflow);
}

/* Parsed, judged, and made a text again. */
static enum banyan_status all_of(struct banyan_str source)
{
    struct banyan_error err;
    struct migration *migration;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct catalog *catalog = catalog_offline(0);
    struct lint_report report;
    enum banyan_status st = parse(source, &migration, &err);

    if (st == BANYAN_OK) {
        assert_int_equal(lint_migration(migration, catalog, &arena, &report, &err), BANYAN_OK);
        if (migration->statements[0].tree != NULL)
            (void)node_deparse(migration->statements[0].tree, &arena); /* it is enough that it comes back */
    }
    catalog_free(catalog);
    migration_free(migration);
    banyan_arena_release(&arena);
    return st;
}

/* By the tokens alone: trees of that depth take their time. */
static bool is_taken(struct banyan_buf *text, const struct form *form, unsigned times)
{
    struct banyan_str expression;
    PgQueryScanResult result;
    PgQuery__ScanResult *scan;
    struct source_complaint found;
    bool directive = form->front[0] == '-';

    make(text, form, times);
    expression = directive ? banyan_str_of(strchr(text->data, '=') + 1) : banyan_buf_str(text);
    result = pg_query_scan(expression.data);
    assert_null(result.error);
    scan = pg_query__scan_result__unpack(NULL, result.pbuf.len, (const uint8_t *)result.pbuf.data);
    assert_non_null(scan);
    found = source_check_tokens(expression, scan, directive ? SOURCE_NESTING_DIRECTIVE_MAX - 8 : SOURCE_NESTING_MAX);
    assert_true(found.st == BANYAN_OK || found.st == BANYAN_LIMIT);
    pg_query__scan_result__free_unpacked(scan, NULL);
    pg_query_free_scan_result(result);
    return found.st == BANYAN_OK;
}

/* The deepest that is taken comes through; deeper is refused, whatever it is made of. */
static void test_nesting(void **state)
{
    struct banyan_buf text = BANYAN_BUF_INIT(TEXT_MAX);

    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        unsigned taken = 128, refused = 2 * SOURCE_NESTING_MAX;

        assert_true(is_taken(&text, &forms[i], taken));
        assert_false(is_taken(&text, &forms[i], refused));
        while (refused - taken > taken / 32) {
            unsigned middle = taken + (refused - taken) / 2;

            *(is_taken(&text, &forms[i], middle) ? &taken : &refused) = middle;
        }
        make(&text, &forms[i], taken);
        assert_int_equal(all_of(banyan_buf_str(&text)), BANYAN_OK);
    }
    banyan_buf_release(&text);
}

/* What is long without being deep is taken. */
static void test_length(void **state)
{
    static const struct form longs[] = {
        {"INSERT INTO t VALUES (1, 2)", ", (1, (2))", "", "", ""},
        {"ALTER TABLE t ADD CHECK (a", " OR a = 1 AND b < 2", "", "", ")"},
        {"-- banyan: backfill t.a = CASE", " WHEN a = 'x' THEN 'y' || b", "", "", " END\nALTER TABLE t ADD a int"},
        {"SELECT 1", "; SELECT 2 + 3", "", "", ""},
        {"CREATE TABLE t (a int", ", b int NOT NULL DEFAULT 1", "", "", ")"},
    };
    struct banyan_buf text = BANYAN_BUF_INIT(TEXT_MAX);

    (void)state;
    for (size_t i = 0; i < sizeof(longs) / sizeof(longs[0]); i++) {
        make(&text, &longs[i], 3000);
        assert_int_equal(all_of(banyan_buf_str(&text)), BANYAN_OK);
    }
    banyan_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),   cmocka_unit_test(test_mark),   cmocka_unit_test(test_lines),
        cmocka_unit_test(test_psql),    cmocka_unit_test(test_data),   cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_nesting), cmocka_unit_test(test_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
