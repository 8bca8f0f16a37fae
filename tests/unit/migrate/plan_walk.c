/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every plan of plans/ that is not refused (make test: every second one), walked on a real server, statement by
 * statement:
 *
 *   forth to "ready" and back (with BANYAN_TEST_ALL=1: make fault) · forth to "completed" and back · forth to the end
 *
 * What a step locks is measured by the oracle and has to be what the plan says; no step that the planner made may write
 * or read a big table while its writers wait.  Behind a rollback the schema is what it was, as pg_dump tells it, and so
 * are the rows; behind cleanup nothing of ours is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "migrate/books.h"
#include "migrate/oracle.h"
#include "support/golden_plan.h"
#include "unit/migrate/plans_path.h"

enum {
    SQL_MAX = 1024 * 1024,
    PASSES_MAX = 4,
};

/* Plans whose rollback leaves something, and why that is told to the user. */
static const struct {
    const char *name, *reason;
} leaves_rows[] = {
    {"not_null_backfill", "NULLs that were filled stay filled"},
};

static const char *base;
static struct pg_conn *admin;
static char names[GOLDEN_MAX][GOLDEN_NAME_MAX];
static size_t name_count;

struct walk {
    const char *name;
    struct golden golden;
    struct pg_conn *conn;
    struct banyan_arena arena;
    struct banyan_str big;
    unsigned wrong;
};

static void wrong(struct walk *walk, const char *what, struct banyan_str text)
{
    print_message("# %s: %s: %.*s\n", walk->name, what, (int)text.size, text.data);
    walk->wrong++;
}

static bool run(struct walk *walk, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (pg_run(walk->conn, sql, &err) == BANYAN_OK)
        return true;
    print_message("# %s: %s\n  %s\n", walk->name, err.message, sql);
    walk->wrong++;
    return false;
}

static int prepare(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char *schema = golden_read(MIGRATE_PLANS, "schema", ".sql");
    struct pg_conn *conn;

    (void)state;
    base = getenv("BANYAN_TEST_CONNINFO");
    admin = golden_connect(base, "");
    if (admin == NULL || schema == NULL || pg_run(admin, "CREATE DATABASE walk_template", &err) != BANYAN_OK)
        return -1;
    conn = golden_connect(base, "walk_template");
    if (conn == NULL || pg_run(conn, schema, &err) != BANYAN_OK || books_prepare(conn, &err) != BANYAN_OK) {
        (void)fprintf(stderr, "schema.sql: %s\n", err.message);
        return -1;
    }
    pg_close(conn);
    free(schema);
    name_count = golden_list(MIGRATE_PLANS, names);
    return name_count == 0;
}

static int end(void **state)
{
    (void)state;
    pg_close(admin);
    return 0;
}

/* ---- what is there ---- */

static struct banyan_str schema_of(struct walk *walk)
{
    struct banyan_str command = banyan_arena_printf(
        &walk->arena, "pg_dump --schema-only --exclude-schema=banyan --dbname='%s dbname=walk'", base);
    struct banyan_buf text = BANYAN_BUF_INIT(SQL_MAX);
    FILE *pipe = popen(command.data, "r");
    char line[4096];

    assert_non_null(pipe);
    while (fgets(line, sizeof(line), pipe) != NULL)
        if (line[0] != '\\') /* a random key of newer releases */
            banyan_buf_add_text(&text, line);
    assert_int_equal(pclose(pipe), 0);
    struct banyan_str kept = banyan_arena_str(&walk->arena, banyan_buf_str(&text));
    banyan_buf_release(&text);
    return kept;
}

/* Rows of all tables, in one text a table. */
static struct banyan_str rows_of(struct walk *walk)
{
    static const char sql[] =
        "SELECT string_agg(c.oid::regclass || ' ' || (xpath('/row/x/text()', query_to_xml(format('SELECT "
        "md5(coalesce(string_agg(t::text, E''\\n'' ORDER BY t::text COLLATE \"C\"), '''')) AS x FROM ONLY %s t', "
        "c.oid::regclass), false, true, '')))[1]::text, E'\\n' ORDER BY c.oid::regclass::text) FROM pg_class c WHERE "
        "c.relkind = 'r' AND c.oid >= 16384 AND c.relnamespace::regnamespace::text NOT IN ('banyan', 'pg_toast', "
        "'information_schema')";
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    struct banyan_str text = BANYAN_STR("");

    if (pg_exec(walk->conn, sql, NULL, 0, &result, &err) == BANYAN_OK)
        text = banyan_arena_str(&walk->arena, pg_text(result, 0, 0));
    else
        fail_msg("%s", err.message);
    pg_result_free(result);
    return text;
}

static void compare(struct walk *walk, const char *what, struct banyan_str before, struct banyan_str after)
{
    size_t at = 0, line = 0;

    if (banyan_str_equal(before, after))
        return;
    while (at < before.size && at < after.size && before.data[at] == after.data[at]) {
        line = before.data[at] == '\n' ? at + 1 : line;
        at++;
    }
    print_message("# %s: %s\n  before: %.*s\n  after:  %.*s\n", walk->name, what,
                  (int)strcspn(before.data + line, "\n"), before.data + line, (int)strcspn(after.data + line, "\n"),
                  after.data + line);
    walk->wrong++;
}

/* ---- a step ---- */

/* Names of the big tables that were there at the start, each between line ends. */
static struct banyan_str big_of(struct walk *walk)
{
    static const char sql[] =
        "SELECT E'\\n' || string_agg(CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE "
        "c.relnamespace::regnamespace || '.' || c.relname END, E'\\n') || E'\\n' FROM pg_class c WHERE c.relkind IN "
        "('r', 'p') AND c.oid >= 16384 AND c.relname NOT IN ('archive', 'regions')";
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    struct banyan_str text;

    if (pg_exec(walk->conn, sql, NULL, 0, &result, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    text = banyan_arena_str(&walk->arena, pg_text(result, 0, 0));
    pg_result_free(result);
    return text;
}

static bool is_big(struct walk *walk, struct banyan_str name)
{
    struct banyan_str line = banyan_arena_printf(&walk->arena, "\n%.*s\n", (int)name.size, name.data);

    return memmem(walk->big.data, walk->big.size, line.data, line.size) != NULL;
}

static enum effect_lock told_of(const struct plan_step *step, struct banyan_str name)
{
    for (size_t i = 0; i < step->lock_count && i < PLAN_LOCKS_MAX; i++)
        if (banyan_str_equal(step->locks[i].relation, name))
            return step->locks[i].lock;
    return EFFECT_LOCK_NONE;
}

static void judge(struct walk *walk, const struct plan_step *step, bool undo, const struct oracle_result *truth)
{
    if (truth->failed) {
        wrong(walk, undo ? "its undo fails" : step->name, truth->failure);
        return;
    }
    for (size_t i = 0; i < truth->relation_count; i++) {
        const struct oracle_relation *is = &truth->relations[i];
        enum effect_lock told = told_of(step, is->name);

        if (!is_big(walk, is->name))
            continue;
        if (!step->as_written && (is->rewritten || (is->scans > 0 && is->lock >= EFFECT_SHARE)))
            wrong(walk, is->rewritten ? "a big table is written anew" : "a big table is read under a lock", is->name);
        if (!undo && !step->as_written && is->lock > told && step->lock_count <= PLAN_LOCKS_MAX)
            wrong(walk, "a lock that the plan does not tell",
                  banyan_arena_printf(&walk->arena, "%s: %.*s %s, told %s", step->name, (int)is->name.size,
                                      is->name.data, effect_lock_name(is->lock), effect_lock_name(told)));
    }
}

static struct banyan_str joined(struct walk *walk, const struct plan_action *action)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    struct banyan_str text;

    for (size_t i = 0; i < action->statement_count; i++) {
        banyan_buf_add_str(&sql, action->statements[i]);
        banyan_buf_add_text(&sql, ";\n");
    }
    text = banyan_arena_str(&walk->arena, banyan_buf_str(&sql));
    banyan_buf_release(&sql);
    return text;
}

static void do_transaction(struct walk *walk, const struct plan_step *step, const struct plan_action *action, bool undo)
{
    struct banyan_str sql = joined(walk, action);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct oracle_result truth;

    if (oracle_measure(walk->conn, BANYAN_STR(""), sql, &walk->arena, &truth, &err) != BANYAN_OK) {
        wrong(walk, step->name, banyan_arena_str(&walk->arena, banyan_str_of(err.message)));
        return;
    }
    judge(walk, step, undo, &truth);
    if (!truth.failed)
        (void)run(walk, banyan_arena_printf(&walk->arena, "BEGIN;\n%.*sCOMMIT", (int)sql.size, sql.data).data);
}

static void do_batches(struct walk *walk, const struct plan_batches *batches)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_str sql = banyan_arena_printf(
        &walk->arena,
        "WITH due AS (SELECT t.ctid AS at FROM ONLY %.*s t WHERE (%.*s)), kept AS (%.*s), done AS (UPDATE ONLY %.*s t "
        "SET %.*s FROM due WHERE t.ctid = due.at RETURNING 1) SELECT count(*) FROM done",
        (int)batches->table.size, batches->table.data, (int)batches->needs.size, batches->needs.data,
        batches->keep.size > 0 ? (int)batches->keep.size : 8, batches->keep.size > 0 ? batches->keep.data : "SELECT 1",
        (int)batches->table.size, batches->table.data, (int)batches->set.size, batches->set.data);

    for (unsigned pass = 0; pass < PASSES_MAX; pass++) {
        struct pg_result *result = NULL;
        int64_t rows;

        if (pg_exec(walk->conn, sql.data, NULL, 0, &result, &err) != BANYAN_OK) {
            wrong(walk, err.message, sql);
            return;
        }
        rows = pg_int(result, 0, 0);
        pg_result_free(result);
        if (rows == 0)
            return;
    }
    wrong(walk, "a backfill has no end", sql);
}

/* What says of itself that it is done is not done again. */
static bool is_done(struct walk *walk, const struct plan_action *action)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    bool done = false;

    if (action->done.size == 0)
        return false;
    if (pg_exec(walk->conn, banyan_arena_str(&walk->arena, action->done).data, NULL, 0, &result, &err) != BANYAN_OK)
        wrong(walk, err.message, action->done);
    else
        done = pg_rows(result) > 0 && pg_bool(result, 0, 0);
    pg_result_free(result);
    return done;
}

static void do_action(struct walk *walk, const struct plan_step *step, const struct plan_action *action, bool undo)
{
    switch (action->kind) {
    case PLAN_TRANSACTION:
        do_transaction(walk, step, action, undo);
        break;
    case PLAN_BATCHES:
        do_batches(walk, &action->batches);
        break;
    case PLAN_INDEX_DROP:
        (void)run(walk, banyan_arena_printf(&walk->arena, "DROP INDEX CONCURRENTLY IF EXISTS %.*s",
                                            (int)action->index.size, action->index.data)
                            .data);
        break;
    default:
        for (size_t i = 0; i < action->statement_count && !is_done(walk, action); i++)
            (void)run(walk, banyan_arena_str(&walk->arena, action->statements[i]).data);
    }
}

/* ---- a plan ---- */

static size_t forth(struct walk *walk, enum plan_phase last)
{
    const struct plan *plan = &walk->golden.plan;
    size_t i = 0;

    for (; i < plan->step_count && plan->steps[i].phase <= last && walk->wrong == 0; i++)
        do_action(walk, &plan->steps[i], &plan->steps[i].act, false);
    return i;
}

/* False: a step was final. */
static bool back(struct walk *walk, size_t done)
{
    bool whole = true;

    for (; done > 0 && walk->wrong == 0; done--) {
        const struct plan_step *step = &walk->golden.plan.steps[done - 1];

        whole &= !step->final;
        for (size_t i = 0; i < step->undo_count && walk->wrong == 0; i++)
            do_action(walk, step, &step->undo[i], true);
    }
    return whole;
}

/* Names that the migration itself has are the user's. */
static void check_nothing_left(struct walk *walk)
{
    static const char sql[] =
        "SELECT x FROM (SELECT relname::text AS x FROM pg_class UNION ALL SELECT attname FROM pg_attribute a WHERE NOT "
        "attisdropped AND (SELECT relkind FROM pg_class c WHERE c.oid = a.attrelid) NOT IN ('i', 'I') UNION ALL SELECT "
        "conname FROM pg_constraint UNION ALL SELECT tgname FROM pg_trigger UNION ALL "
        "SELECT 'banyan_' || proname FROM pg_proc WHERE pronamespace = 'banyan'::regnamespace) all_of_them WHERE x "
        "LIKE "
        "'%banyan\\_%'";
    struct banyan_str source = walk->golden.migration->source;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;

    if (pg_exec(walk->conn, sql, NULL, 0, &result, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < pg_rows(result); i++) {
        struct banyan_str name = pg_text(result, i, 0);

        if (memmem(source.data, source.size, name.data, name.size) == NULL)
            wrong(walk, "something is left behind cleanup", name);
    }
    pg_result_free(result);
}

static bool keeps_rows(const char *name)
{
    for (size_t i = 0; i < sizeof(leaves_rows) / sizeof(leaves_rows[0]); i++)
        if (leaves_rows[i].reason[0] != '\0' && strcmp(leaves_rows[i].name, name) == 0)
            return false;
    return true;
}

static void begin(struct walk *walk, const char *name)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    *walk = (struct walk){.name = name};
    if (pg_run(admin, "CREATE DATABASE walk TEMPLATE walk_template", &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    walk->conn = golden_connect(base, "walk");
    assert_non_null(walk->conn);
    walk->big = big_of(walk);
    assert_true(golden_make(&walk->golden, walk->conn, MIGRATE_PLANS, name));
}

static unsigned finish(struct walk *walk)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    golden_release(&walk->golden);
    pg_close(walk->conn);
    if (pg_run(admin, "DROP DATABASE walk WITH (FORCE)", &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    banyan_arena_release(&walk->arena);
    return walk->wrong;
}

/* Forth to *last* and back; false: it has to begin in a new database. */
static bool there_and_back(struct walk *walk, enum plan_phase last)
{
    struct banyan_str schema = schema_of(walk), rows = rows_of(walk);
    bool whole = back(walk, forth(walk, last));

    if (whole && walk->wrong == 0) {
        compare(walk, "the schema behind a rollback", schema, schema_of(walk));
        if (keeps_rows(walk->name))
            compare(walk, "the rows behind a rollback", rows, rows_of(walk));
    }
    return whole;
}

/* How many mistakes were found; *ret_walked counts the plans that are not refused. */
static unsigned walk_all(const char *name, unsigned *ret_walked)
{
    struct walk walk;
    enum plan_phase last = getenv("BANYAN_TEST_ALL") != NULL ? PLAN_BACKFILL : PLAN_CONTRACT;
    bool refused;

    begin(&walk, name);
    refused = walk.golden.st != BANYAN_OK || walk.golden.plan.refusal_count > 0;
    *ret_walked += !refused;
    for (; last <= PLAN_CONTRACT && !refused && walk.wrong == 0; last++)
        if (!there_and_back(&walk, last) && walk.wrong == 0) {
            (void)finish(&walk);
            begin(&walk, name);
        }
    if (!refused && walk.wrong == 0) {
        (void)forth(&walk, PLAN_CLEANUP);
        check_nothing_left(&walk);
    }
    return finish(&walk);
}

static void test_walk(void **state)
{
    unsigned wrong_plans = 0, walked = 0;
    bool all = getenv("BANYAN_TEST_ALL") != NULL;

    (void)state;
    for (size_t i = 0; i < name_count; i += all ? 1 : 2)
        wrong_plans += walk_all(names[i], &walked) > 0;
    print_message("# %zu plans, %u of them walked\n", name_count, walked);
    assert_int_equal(wrong_plans, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
    };

    return cmocka_run_group_tests(tests, prepare, end);
}
