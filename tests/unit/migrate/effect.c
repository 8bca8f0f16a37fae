/* SPDX-License-Identifier: Apache-2.0 */
/*
 * effect_of() against the server in use: every line of locks_statements.txt is foretold from the catalog, then measured
 * by the oracle on the tables of locks_schema.sql; locks, rewrites, scans of tables, builds and refusals have to be
 * equal.  Scans of indexes are a matter of plans and not compared.  "Perhaps" is no answer here but for the scan of a
 * table that the planner decides on (a query with a condition, the referenced side of a foreign key); how many lines
 * have one is printed.
 *
 * make test looks at every fourth line; BANYAN_TEST_ALL=1 (make fault, make migrate-on FULL=1) at each,
 * BANYAN_LOCKS_ONLY=TEXT at those with that text.
 */
#include "migrate/effect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "migrate/oracle.h"
#include "unit/migrate/locks_paths.h"

enum {
    LINE_MAX_BYTES = 4096,
    SQL_MAX_BYTES = 64 * 1024,
    REPORT_MAX_BYTES = 8 * 1024,
};

/* Lines whose difference is known and told; none may be here without its reason. */
static const struct {
    const char *statement, *reason;
} known_differences[] = {
    {"ALTER TABLE q ADD COLUMN z int DEFAULT 7 UNIQUE CHECK (z > 0)", "rows decide: two of them have the same value"},
    {"ALTER TABLE q ALTER c TYPE json USING c::json", "rows decide: a value is no JSON"},
    {"ALTER TABLE q ALTER c TYPE mood USING c::mood", "rows decide: a value is no member"},
    {"ALTER TABLE q ADD FOREIGN KEY (id, a) REFERENCES p(id, k)", "rows decide: the referenced one is not there"},
    {"ALTER TABLE t ALTER vb TYPE bit(8)", "rows decide: a value is too short"},
};

static char template_sql[SQL_MAX_BYTES];
static struct pg_conn *admin, *plain;

static struct pg_conn *connect_to(const char *database)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char conninfo[LINE_MAX_BYTES];
    struct pg_options options = {.conninfo = conninfo};
    struct pg_conn *conn = NULL;
    const char *base = getenv("BANYAN_TEST_CONNINFO");

    (void)snprintf(conninfo, sizeof(conninfo), "%s%s%s", base == NULL ? "" : base,
                   database[0] == '\0' ? "" : " dbname=", database);
    if (pg_connect(&options, &conn, &err) != BANYAN_OK)
        fail_msg("%s: %s", database, err.message);
    return conn;
}

static void run(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (pg_run(conn, sql, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
}

static int prepare(void **state)
{
    FILE *file = fopen(MIGRATE_LOCKS_SCHEMA, "r");

    (void)state;
    if (file == NULL)
        return -1;
    template_sql[fread(template_sql, 1, sizeof(template_sql) - 1, file)] = '\0';
    (void)fclose(file);
    admin = connect_to("");
    run(admin, "CREATE DATABASE locks_template");
    plain = connect_to("locks_template");
    run(plain, template_sql);
    pg_close(plain);
    run(admin, "CREATE DATABASE locks_plain TEMPLATE locks_template");
    plain = connect_to("locks_plain");
    return 0;
}

static int end(void **state)
{
    (void)state;
    pg_close(plain);
    pg_close(admin);
    return 0;
}

/* ---- comparing ---- */

struct row {
    const char *given, *statement;
    struct banyan_arena arena;
    struct effect effect;
    struct oracle_result truth;
    struct banyan_buf difference;
    bool perhaps;
};

static void differ(struct row *row, const char *what, struct banyan_str name, const char *said, const char *is)
{
    banyan_buf_printf(&row->difference, "    %s of %.*s: said %s, is %s\n", what, (int)name.size, name.data, said, is);
}

static const char *certainty_name(enum effect_certainty certainty)
{
    return certainty == EFFECT_NO ? "no" : certainty == EFFECT_YES ? "yes" : "perhaps";
}

static const struct oracle_relation *truth_of(const struct row *row, struct banyan_str name)
{
    for (size_t i = 0; i < row->truth.relation_count; i++)
        if (banyan_str_equal(row->truth.relations[i].name, name))
            return &row->truth.relations[i];
    return NULL;
}

static bool has_work(const struct row *row, const char *kind, struct banyan_str name)
{
    for (size_t i = 0; i < row->truth.work_count; i++) {
        struct banyan_str work = row->truth.work[i];
        size_t size = strlen(kind);

        if (work.size == size + 1 + name.size && memcmp(work.data, kind, size) == 0 &&
            memcmp(work.data + size + 1, name.data, name.size) == 0)
            return true;
    }
    return false;
}

static void compare_relation(struct row *row, const struct effect_relation *said)
{
    static const struct oracle_relation nothing;
    const struct oracle_relation *is = truth_of(row, said->name);

    if (is == NULL)
        is = &nothing;
    if (said->lock != is->lock)
        differ(row, "lock", said->name, effect_lock_name(said->lock), effect_lock_name(is->lock));
    if (said->rewrite != (is->rewritten ? EFFECT_YES : EFFECT_NO))
        differ(row, "rewrite", said->name, certainty_name(said->rewrite), is->rewritten ? "yes" : "no");
    if (said->build != (has_work(row, "build", said->name) ? EFFECT_YES : EFFECT_NO))
        differ(row, "build", said->name, certainty_name(said->build),
               has_work(row, "build", said->name) ? "yes" : "no");
    if (said->is_index || said->made_here)
        return;
    if (said->scan == EFFECT_PERHAPS && said->scan_by_plan)
        row->perhaps = true;
    else if (said->scan != (is->scans > 0 ? EFFECT_YES : EFFECT_NO))
        differ(row, "scan", said->name, certainty_name(said->scan), is->scans > 0 ? "yes" : "no");
}

static const struct effect_relation *said_of(const struct row *row, struct banyan_str name)
{
    for (size_t i = 0; i < row->effect.relation_count; i++)
        if (banyan_str_equal(row->effect.relations[i].name, name))
            return &row->effect.relations[i];
    return NULL;
}

/* What is true and was not said at all. */
static void compare_missing(struct row *row)
{
    for (size_t i = 0; i < row->truth.relation_count; i++) {
        const struct oracle_relation *is = &row->truth.relations[i];

        if (said_of(row, is->name) == NULL && is->lock != EFFECT_LOCK_NONE)
            differ(row, "lock", is->name, "none", effect_lock_name(is->lock));
    }
    for (size_t i = 0; i < row->truth.work_count; i++) {
        struct banyan_str work = row->truth.work[i];

        if (work.size < 6 || memcmp(work.data, "build ", 6) != 0)
            continue;
        work = (struct banyan_str){work.data + 6, work.size - 6};
        if (said_of(row, work) == NULL)
            differ(row, "build", work, "no", "yes");
    }
}

static void compare(struct row *row)
{
    struct banyan_str none = BANYAN_STR("the statement");
    bool fails = row->effect.verdict == EFFECT_FAILS || row->effect.outside_transaction;

    if (row->effect.verdict == EFFECT_NOT_UNDERSTOOD) {
        differ(row, "meaning", none, "not understood", row->effect.why.data);
        return;
    }
    if (fails != row->truth.failed) {
        differ(row, "refusal", none, fails ? row->effect.why.data : "no",
               row->truth.failed ? row->truth.failure.data : "no");
        return;
    }
    if (fails)
        return;
    for (size_t i = 0; i < row->effect.relation_count; i++)
        compare_relation(row, &row->effect.relations[i]);
    compare_missing(row);
}

/* ---- one line ---- */

static void foretell(struct row *row, struct pg_conn *conn)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct migration *migration = NULL;
    struct catalog *catalog = NULL;

    if (migration_parse("line", banyan_str_of(row->statement), &migration, &err) != BANYAN_OK ||
        catalog_open(conn, &catalog, &err) != BANYAN_OK)
        fail_msg("%s: %s", row->statement, err.message);
    assert_int_equal(migration->statement_count, 1);
    if (effect_of(&migration->statements[0], catalog, &row->arena, &row->effect, &err) != BANYAN_OK)
        fail_msg("%s: %s", row->statement, err.message);
    /* Names that were borrowed. */
    for (size_t i = 0; i < row->effect.relation_count; i++)
        row->effect.relations[i].name = banyan_arena_str(&row->arena, row->effect.relations[i].name);
    catalog_free(catalog);
    migration_free(migration);
}

static void look_at(struct row *row)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = plain;
    bool own = row->given[0] != '\0';

    if (own) {
        run(admin, "CREATE DATABASE locks_copy TEMPLATE locks_template");
        conn = connect_to("locks_copy");
        run(conn, row->given);
    }
    foretell(row, conn);
    if (oracle_measure(conn, BANYAN_STR(""), banyan_str_of(row->statement), &row->arena, &row->truth, &err) !=
        BANYAN_OK)
        fail_msg("%s: %s", row->statement, err.message);
    compare(row);
    if (own) {
        pg_close(conn);
        run(admin, "DROP DATABASE locks_copy WITH (FORCE)");
    }
}

static const char *known_difference(const char *statement)
{
    for (size_t i = 0; i < sizeof(known_differences) / sizeof(known_differences[0]); i++)
        if (known_differences[i].reason[0] != '\0' && strcmp(known_differences[i].statement, statement) == 0)
            return known_differences[i].reason;
    return NULL;
}

struct totals {
    unsigned rows, equal, known, perhaps, refused;
};

static void count(struct totals *totals, const char *given, const char *statement)
{
    struct row *row = calloc(1, sizeof(*row));
    const char *reason = known_difference(statement);

    assert_non_null(row);
    row->given = given;
    row->statement = statement;
    row->difference.size_max = REPORT_MAX_BYTES;
    look_at(row);
    totals->rows++;
    totals->perhaps += row->perhaps;
    totals->refused += row->truth.failed;
    if (row->difference.size == 0)
        totals->equal++;
    else if (reason != NULL)
        totals->known++;
    else
        print_message("# %s%s%s\n%s", given, given[0] != '\0' ? " ==> " : "", statement, row->difference.data);
    if (reason != NULL && row->difference.size == 0)
        fail_msg("%s: is listed as a difference and is none", statement);
    banyan_buf_release(&row->difference);
    banyan_arena_release(&row->arena);
    free(row);
}

/* The server takes it, and what it does is not claimed to be known. */
static void count_new(struct totals *totals, const char *statement)
{
    struct row *row = calloc(1, sizeof(*row));
    struct banyan_error err = BANYAN_ERROR_INIT;

    assert_non_null(row);
    row->statement = statement;
    foretell(row, plain);
    if (oracle_measure(plain, BANYAN_STR(""), banyan_str_of(statement), &row->arena, &row->truth, &err) != BANYAN_OK)
        fail_msg("%s: %s", statement, err.message);
    totals->rows++;
    if (row->effect.verdict == EFFECT_NOT_UNDERSTOOD && !row->truth.failed)
        totals->equal++;
    else
        print_message("# new: %s: verdict %d, %s\n", statement, row->effect.verdict,
                      row->truth.failed ? row->truth.failure.data : "taken by the server");
    banyan_arena_release(&row->arena);
    free(row);
}

static void every_line_of(const char *path)
{
    const char *only = getenv("BANYAN_LOCKS_ONLY");
    char line[LINE_MAX_BYTES], given[LINE_MAX_BYTES] = "";
    bool all = only != NULL || getenv("BANYAN_TEST_ALL") != NULL;
    unsigned number = 0;
    struct totals totals = {0};
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "given: ", 7) == 0) {
            (void)snprintf(given, sizeof(given), "%s", line + 7);
            continue;
        }
        if (line[0] == '\0' || strncmp(line, "--", 2) == 0)
            continue;
        if (!all && ++number % 4 != 0)
            given[0] = '\0';
        else if (strncmp(line, "new: ", 5) == 0)
            count_new(&totals, line + 5);
        else if (only == NULL || strstr(line, only) != NULL)
            count(&totals, given, line);
        given[0] = '\0';
    }
    (void)fclose(file);
    print_message("# %u statements: %u equal, %u differ for a told reason, %u with a scan that depends on the plan, %u "
                  "refused by the server\n",
                  totals.rows, totals.equal, totals.known, totals.perhaps, totals.refused);
    assert_int_equal(totals.equal + totals.known, totals.rows);
}

static void test_every_line(void **state)
{
    (void)state;
    every_line_of(MIGRATE_LOCKS_STATEMENTS);
}

static void test_every_line_of_18(void **state)
{
    (void)state;
    if (pg_server_version(plain) < 180000)
        skip();
    every_line_of(MIGRATE_LOCKS_STATEMENTS_18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_line),
        cmocka_unit_test(test_every_line_of_18),
    };

    return cmocka_run_group_tests(tests, prepare, end);
}
