/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every form of constraint, index, partition, rows and other statements, planned and run on a real server, beside plain
 * DDL on a twin: after complete both have the same schema (pg_dump) and the same rows; after a rollback both are as
 * they were; after cleanup nothing of Banyan is left in the user's schemas.
 *
 * What the grammar of 15 does not know runs only when it is allowed.
 *
 * make test looks at one of each family and way through the planner, and not at a rollback from "ready".
 * BANYAN_TEST_ALL=1 (make fault) looks at all, BANYAN_FORMS_ONLY=TEXT at those with that text, BANYAN_FORMS_SHOW=1
 * prints each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "migrate/program.h"
#include "migrate/run.h"
#include "unit/migrate/locks_paths.h"

enum {
    TEXT_MAX = 8192,
    DUMP_MAX = 16 * 1024 * 1024,
};

struct form {
    const char *given; /* SQL on top of the schema of all */
    const char *migration;
    const char *plain; /* what the twin does; NULL: the same */
};

static struct pg_conn *admin;
static unsigned failures;

static const char *conninfo_of(const char *database)
{
    static char texts[4][TEXT_MAX];
    static unsigned turn;
    const char *base = getenv("BANYAN_TEST_CONNINFO");
    char *text = texts[turn++ % 4];

    (void)snprintf(text, TEXT_MAX, "%s%s%s", base == NULL ? "" : base, database[0] == '\0' ? "" : " dbname=", database);
    return text;
}

static struct pg_conn *connect_to(const char *database)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {.conninfo = conninfo_of(database)};
    struct pg_conn *conn = NULL;

    if (pg_connect(&options, &conn, &err) != BANYAN_OK)
        fail_msg("%s: %s", database, err.message);
    return conn;
}

static void run_sql(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (sql != NULL && pg_run(conn, sql, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
}

static void on(const char *database, const char *sql)
{
    struct pg_conn *conn = connect_to(database);

    run_sql(conn, sql);
    pg_close(conn);
}

/* Statement by statement, as psql does. */
static void run_plain(const char *database, const char *source)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct migration *migration = NULL;
    struct pg_conn *conn = connect_to(database);
    struct banyan_arena arena = BANYAN_ARENA_INIT;

    if (migration_parse("1_twin.sql", banyan_str_of(source), &migration, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < migration->statement_count; i++)
        run_sql(conn, banyan_arena_str(&arena, migration->statements[i].text).data);
    migration_free(migration);
    banyan_arena_release(&arena);
    pg_close(conn);
}

/* ---- what a database is ---- */

static char *dump(const char *database)
{
    char command[2 * TEXT_MAX], line[TEXT_MAX];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    const char *program = NULL;
    char *text = calloc(1, DUMP_MAX);
    size_t size = 0;
    FILE *pipe;

    assert_non_null(text);
    if (program_of_server("pg_dump", &arena, &program, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    (void)snprintf(command, sizeof(command), "%s --schema-only -N banyan \"%s\"", program, conninfo_of(database));
    banyan_arena_release(&arena);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    while (fgets(line, sizeof(line), pipe) != NULL) {
        size_t length = strlen(line);

        if (strncmp(line, "\\restrict", 9) == 0 || strncmp(line, "\\unrestrict", 11) == 0 ||
            strncmp(line, "--", 2) == 0 || line[0] == '\n')
            continue;
        assert_true(size + length < DUMP_MAX);
        memcpy(text + size, line, length);
        size += length;
    }
    assert_int_equal(pclose(pipe), 0);
    return text;
}

/* All rows of all tables, whatever their order, and where sequences are. */
static void add_rows(const char *database, char *text)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = connect_to(database);
    struct pg_result *tables = NULL;
    size_t size = strlen(text);

    if (pg_exec(conn,
                "SELECT 'SELECT string_agg(s::text, E''\\n'' ORDER BY s::text) FROM pg_sequences s WHERE schemaname <> "
                "''banyan''' UNION ALL "
                "SELECT format('SELECT %L || count(*) || '' '' || coalesce(sum(hashtextextended(t::text, 0)::numeric), "
                "0) FROM ONLY %s t', oid::regclass::text || ' ', oid::regclass) FROM pg_class WHERE "
                "relkind IN ('r', 'm') AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN "
                "('pg_catalog', 'information_schema', 'banyan', 'pg_toast')) ORDER BY 1",
                NULL, 0, &tables, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < pg_rows(tables); i++) {
        struct pg_result *result = NULL;

        if (strstr(pg_text(tables, i, 0).data, "materialized") != NULL)
            continue;
        if (pg_exec(conn, pg_text(tables, i, 0).data, NULL, 0, &result, &err) != BANYAN_OK)
            continue; /* a materialized view has no ONLY */
        size += (size_t)snprintf(text + size, DUMP_MAX - size, "%.*s\n", (int)pg_text(result, 0, 0).size,
                                 pg_text(result, 0, 0).data);
        pg_result_free(result);
    }
    pg_result_free(tables);
    pg_close(conn);
}

static char *picture(const char *database)
{
    char *text = dump(database);

    add_rows(database, text);
    return text;
}

static bool same(const char *form, const char *when, const char *a, const char *b)
{
    const char *line_a = a, *line_b = b;

    if (strcmp(a, b) == 0)
        return true;
    while (*line_a != '\0' && *line_a == *line_b) {
        line_a++;
        line_b++;
    }
    while (line_a > a && line_a[-1] != '\n') {
        line_a--;
        line_b--;
    }
    print_message("# %s\n#   %s differs: is\n%.600s\n#   should be\n%.600s\n", form, when, line_a, line_b);
    return false;
}

/* ---- a migration ---- */

static bool told(const char *form, const char *when, enum banyan_status st, const struct banyan_error *err)
{
    if (st != BANYAN_OK)
        print_message("# %s\n#   %s: %s%s%s\n", form, when, err->message, err->hint[0] != '\0' ? "; " : "", err->hint);
    return st == BANYAN_OK;
}

static bool start(const struct form *form, const char *path)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct run_options options = {.conninfo = conninfo_of("form_a"), .allow = true};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct pg_conn *conn = connect_to("form_a");
    struct migration *migration = NULL;
    struct catalog *catalog = NULL;
    struct plan plan;
    bool good =
        told(form->migration, "parse", migration_parse(path, banyan_str_of(form->migration), &migration, &err), &err) &&
        told(form->migration, "catalog", catalog_open(conn, &catalog, &err), &err) &&
        told(form->migration, "plan", plan_make(migration, catalog, &arena, &plan, &err), &err);

    for (size_t i = 0; good && i < plan.refusal_count; i++)
        print_message("# %s\n#   refused: %.*s\n", form->migration, (int)plan.refusals[i].size, plan.refusals[i].data);
    good = good && plan.refusal_count == 0 &&
           told(form->migration, "start", run_start(&options, migration, &plan, &err), &err);
    catalog_free(catalog);
    migration_free(migration);
    banyan_arena_release(&arena);
    pg_close(conn);
    return good;
}

typedef enum banyan_status (*run_fn)(const struct run_options *options, struct banyan_str version,
                                     struct banyan_error *err);

static bool go(const struct form *form, const char *when, run_fn run, const char *version)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct run_options options = {.conninfo = conninfo_of("form_a"), .allow = true};

    return told(form->migration, when, run(&options, banyan_str_of(version), &err), &err);
}

static void one(const struct form *form, bool everything)
{
    char *before, *twin, *after = NULL;
    bool good = true;

    run_sql(admin, "CREATE DATABASE form_a TEMPLATE form_template");
    on("form_a", form->given);
    run_sql(admin, "CREATE DATABASE form_b TEMPLATE form_a");
    before = picture("form_a");
    run_plain("form_b", form->plain != NULL ? form->plain : form->migration);
    twin = picture("form_b");
    if (everything) {
        good = start(form, "1_form.sql") && go(form, "rollback", run_rollback, "1") &&
               same(form->migration, "rolled back at once", after = picture("form_a"), before);
        free(after);
        after = NULL;
    }
    good = good && start(form, "2_form.sql") && go(form, "complete", run_complete, "2") &&
           go(form, "rollback", run_rollback, "2") &&
           same(form->migration, "rolled back", after = picture("form_a"), before);
    free(after);
    after = NULL;
    good = good && start(form, "3_form.sql") && go(form, "complete", run_complete, "3") &&
           go(form, "cleanup", run_cleanup, "3") &&
           same(form->migration, "cleaned up", after = picture("form_a"), twin);
    failures += !good;
    if (getenv("BANYAN_FORMS_SHOW") != NULL)
        print_message("# %s: %s\n", good ? "same" : "WRONG", form->migration);
    free(after);
    free(twin);
    free(before);
    run_sql(admin, "DROP DATABASE form_a WITH (FORCE)");
    run_sql(admin, "DROP DATABASE form_b WITH (FORCE)");
}

/* ---- forms ---- */

static const struct form forms[] = {
#include "unit/migrate/plan_forms.inc"
};
static const struct form more_forms[] = {
#include "unit/migrate/plan_forms_more.inc"
};

static const struct form forms_18[] = {
#include "unit/migrate/plan_forms_18.inc"
};

static unsigned look_at(const struct form *list, size_t all, const char *only, bool everything)
{
    unsigned count = 0;

    for (size_t i = 0; i < all; i++) {
        if (only != NULL && strstr(list[i].migration, only) == NULL)
            continue;
        one(&list[i], everything);
        count++;
    }
    return count;
}

static void test_forms(void **state)
{
    const char *only = getenv("BANYAN_FORMS_ONLY");
    bool everything = only != NULL || getenv("BANYAN_TEST_ALL") != NULL;
    unsigned count = look_at(forms, sizeof(forms) / sizeof(forms[0]), only, everything);

    (void)state;
    if (everything)
        count += look_at(more_forms, sizeof(more_forms) / sizeof(more_forms[0]), only, everything);
    if (pg_server_version(admin) >= 180000)
        count += look_at(forms_18, sizeof(forms_18) / sizeof(forms_18[0]), only, everything);
    print_message("# %u forms, %u wrong\n", count, failures);
    assert_true(count > 0);
    assert_int_equal(failures, 0);
}

/* ---- what the grammar of 15 does not know ---- */

static const struct form new_forms[] = {
    {NULL, "ALTER TABLE bare ADD CONSTRAINT \"N n\" NOT NULL a NOT VALID", NULL},
    {NULL, "ALTER TABLE bare ADD NOT NULL a", NULL},
    {NULL, "ALTER TABLE bare ADD COLUMN z int; ALTER TABLE bare ADD NOT NULL a", NULL},
    {NULL, "ALTER TABLE bare ADD COLUMN v int GENERATED ALWAYS AS (a + 1) VIRTUAL", NULL},
    {NULL, "ALTER TABLE bare ADD COLUMN v int GENERATED ALWAYS AS (a + 1)", NULL},
    {NULL, "ALTER TABLE bare ADD CONSTRAINT x CHECK (a > 50) NOT ENFORCED", NULL},
    {NULL, "ALTER TABLE bare ADD FOREIGN KEY (a) REFERENCES \"Sa les\".\"Cu st\" NOT ENFORCED", NULL},
    {"ALTER TABLE bare ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES \"Sa les\".\"Cu st\"",
     "ALTER TABLE bare ALTER CONSTRAINT f NOT ENFORCED", NULL},
    {"ALTER TABLE bare ADD CONSTRAINT n NOT NULL a", "ALTER TABLE bare ALTER CONSTRAINT n NO INHERIT", NULL},
    {NULL, "CREATE TABLE ti (id int4range, at daterange, PRIMARY KEY (id, at WITHOUT OVERLAPS))", NULL},
    {"CREATE TABLE ti (id int4range, at daterange, PRIMARY KEY (id, at WITHOUT OVERLAPS))",
     "CREATE TABLE tj (ti int4range, at daterange, FOREIGN KEY (ti, PERIOD at) REFERENCES ti (id, PERIOD at))", NULL},
    {NULL,
     "MERGE INTO bare USING (VALUES (1, 'z')) s (a, b) ON bare.a = s.a WHEN MATCHED THEN UPDATE SET b = s.b RETURNING "
     "bare.a",
     NULL},
    {NULL, "MERGE INTO bare USING (VALUES (1)) s (a) ON bare.a = s.a WHEN NOT MATCHED BY SOURCE THEN DELETE", NULL},
    {NULL, "UPDATE bare SET b = 'n' RETURNING WITH (OLD AS o) o.b", NULL},
    {"CREATE TABLE vg (a int, b int GENERATED ALWAYS AS (a * 2) STORED)",
     "ALTER TABLE vg ALTER b SET EXPRESSION AS (a * 3)", NULL},
    {NULL, "CREATE TABLE n1 (id int CONSTRAINT y NOT NULL NO INHERIT)", NULL},
};

static bool plan_of(struct pg_conn *conn, const char *path, const char *text, struct migration **migration,
                    struct catalog **catalog, struct banyan_arena *arena, struct plan *plan)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    return told(text, "parse", migration_parse(path, banyan_str_of(text), migration, &err), &err) &&
           told(text, "catalog", catalog_open(conn, catalog, &err), &err) &&
           told(text, "plan", plan_make(*migration, *catalog, arena, plan, &err), &err);
}

/* Nothing runs unless it is allowed; on a server that knows it, it runs then. */
static void new_form(const struct form *form, bool known)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct run_options options = {.conninfo = conninfo_of("form_a")};
    struct migration *migration = NULL;
    struct catalog *catalog = NULL;
    struct pg_conn *conn;
    struct plan plan = {.steps = NULL};
    char *before, *after;
    bool good;

    run_sql(admin, "CREATE DATABASE form_a TEMPLATE form_template");
    on("form_a", known ? form->given : NULL);
    before = picture("form_a");
    conn = connect_to("form_a");
    good = plan_of(conn, "1_new.sql", form->migration, &migration, &catalog, &arena, &plan) &&
           plan.refusal_count == 0 && plan.needs_allow && plan.step_count > 0 &&
           plan.steps[plan.step_count - 1].as_written;
    good = good && run_start(&options, migration, &plan, &err) == BANYAN_NOT_MET;
    good = good && same(form->migration, "not allowed", after = picture("form_a"), before);
    if (good) {
        free(after);
        options.allow = true;
        good = !known || (told(form->migration, "start", run_start(&options, migration, &plan, &err), &err) &&
                          go(form, "complete", run_complete, "1"));
        after = picture("form_a");
        good = good && (!known || strcmp(after, before) != 0);
        free(after);
    }
    if (!good)
        print_message("# WRONG: %s: %zu steps, %zu refusals, allow %d\n", form->migration, plan.step_count,
                      plan.refusal_count, plan.needs_allow);
    failures += !good;
    free(before);
    catalog_free(catalog);
    migration_free(migration);
    banyan_arena_release(&arena);
    pg_close(conn);
    run_sql(admin, "DROP DATABASE form_a WITH (FORCE)");
}

static void test_not_understood(void **state)
{
    (void)state;
    failures = 0;
    for (size_t i = 0; i < sizeof(new_forms) / sizeof(new_forms[0]); i++)
        new_form(&new_forms[i], pg_server_version(admin) >= 180000);
    assert_int_equal(failures, 0);
}

/* What hangs on a column there and cannot be carried over is told before anything is done. */
static const struct form refused_forms[] = {
    {"ALTER TABLE bare ADD CONSTRAINT n NOT NULL a NOT VALID", "ALTER TABLE bare ALTER a TYPE bigint", NULL},
    {"ALTER TABLE bare ADD CONSTRAINT n NOT NULL a NOT VALID", "ALTER TABLE bare ADD PRIMARY KEY (a)", NULL},
    {"ALTER TABLE bare ADD CONSTRAINT c CHECK (a > 50) NOT ENFORCED", "ALTER TABLE bare VALIDATE CONSTRAINT c", NULL},
    {"ALTER TABLE \"Sa les\".\"Or der\" ADD CONSTRAINT c CHECK (\"Pri ce\" > 50) NOT ENFORCED",
     "ALTER TABLE \"Sa les\".\"Or der\" ALTER \"Pri ce\" TYPE numeric(20,8)", NULL},
    {"ALTER TABLE \"Sa les\".\"Or der\" ADD CONSTRAINT f FOREIGN KEY (\"Am ount\") REFERENCES \"Sa les\".\"Cu st\" NOT "
     "ENFORCED; DROP VIEW \"Sa les\".\"Vi ew\"",
     "ALTER TABLE \"Sa les\".\"Or der\" ALTER \"Am ount\" TYPE bigint", NULL},
    {"CREATE TABLE vg (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL)", "ALTER TABLE vg ALTER a TYPE bigint", NULL},
    {"CREATE TABLE vg (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL)", "CREATE INDEX ON vg (b)", NULL},
    {"CREATE TABLE vg (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL)", "ALTER TABLE vg ALTER b DROP EXPRESSION",
     NULL},
    {"CREATE TABLE ti (id int4range, at daterange, PRIMARY KEY (id, at WITHOUT OVERLAPS)); INSERT INTO ti SELECT "
     "int4range(i, i + 1), '[2024-01-01,2024-02-01)' FROM generate_series(1, 60000) i",
     "ALTER TABLE ti ALTER id TYPE int8range USING int8range(lower(id), upper(id))", NULL},
    {"CREATE TABLE vg (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL)", "ALTER TABLE vg RENAME COLUMN b TO z", NULL},
    {"ALTER TABLE bare ADD PRIMARY KEY (a)", "ALTER TABLE bare DROP CONSTRAINT bare_a_not_null", NULL},
};

static void test_refused_on_18(void **state)
{
    (void)state;
    if (pg_server_version(admin) < 180000)
        skip();
    failures = 0;
    for (size_t i = 0; i < sizeof(refused_forms) / sizeof(refused_forms[0]); i++) {
        struct banyan_arena arena = BANYAN_ARENA_INIT;
        struct migration *migration = NULL;
        struct catalog *catalog = NULL;
        struct pg_conn *conn;
        struct plan plan = {.steps = NULL};
        bool good;

        run_sql(admin, "CREATE DATABASE form_a TEMPLATE form_template");
        on("form_a", refused_forms[i].given);
        conn = connect_to("form_a");
        good = plan_of(conn, "1_refused.sql", refused_forms[i].migration, &migration, &catalog, &arena, &plan) &&
               plan.refusal_count > 0;
        if (!good)
            print_message("# not refused: %s\n", refused_forms[i].migration);
        failures += !good;
        for (size_t k = 0; k < plan.refusal_count && getenv("BANYAN_FORMS_SHOW") != NULL; k++)
            print_message("# %s\n#   refused: %.*s\n", refused_forms[i].migration, (int)plan.refusals[k].size,
                          plan.refusals[k].data);
        catalog_free(catalog);
        migration_free(migration);
        banyan_arena_release(&arena);
        pg_close(conn);
        run_sql(admin, "DROP DATABASE form_a WITH (FORCE)");
    }
    assert_int_equal(failures, 0);
}

static int prepare(void **state)
{
    static char sql[64 * 1024];
    FILE *file = fopen(MIGRATE_FORMS_SCHEMA, "r");

    (void)state;
    if (file == NULL)
        return -1;
    sql[fread(sql, 1, sizeof(sql) - 1, file)] = '\0';
    (void)fclose(file);
    admin = connect_to("");
    run_sql(admin, "CREATE DATABASE form_template");
    on("form_template", sql);
    return 0;
}

static int end(void **state)
{
    (void)state;
    pg_close(admin);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_understood),
        cmocka_unit_test(test_refused_on_18),
        cmocka_unit_test(test_forms),
    };

    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* it takes minutes: what is wrong is shown at once */
    return cmocka_run_group_tests(tests, prepare, end);
}
