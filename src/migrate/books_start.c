/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A migration comes into the books: one transaction, in which nothing of its tables is touched.
 *
 * The migrator's lock is held, so that nobody else starts one meanwhile.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "migrate/books_int.h"
#include "migrate/difference.h"

enum {
    SCRIPT_BYTES_MAX = 64 * 1024 * 1024,
};

/* ---- what it is ---- */

static void add_action(struct banyan_buf *script, const struct plan_action *action)
{
    for (size_t i = 0; i < action->statement_count && action->kind != PLAN_INDEX_DROP; i++) {
        banyan_buf_add_str(script, action->statements[i]);
        banyan_buf_add_text(script, ";\n");
    }
    if (action->kind == PLAN_INDEX_DROP) {
        banyan_buf_add_text(script, "DROP INDEX CONCURRENTLY IF EXISTS ");
        banyan_buf_add_str(script, action->index);
        banyan_buf_add_text(script, ";\n");
    }
    if (action->kind != PLAN_BATCHES)
        return;
    banyan_buf_add_text(script, "UPDATE ");
    banyan_buf_add_str(script, action->batches.table);
    banyan_buf_add_text(script, " t SET ");
    banyan_buf_add_str(script, action->batches.set);
    banyan_buf_add_text(script, " WHERE ");
    banyan_buf_add_str(script, action->batches.needs);
    banyan_buf_add_text(script, ";\n");
}

/* The undo of every step, last first. */
static void add_script(struct banyan_buf *script, const struct plan *plan)
{
    for (size_t i = plan->step_count; i-- > 0;) {
        const struct plan_step *step = &plan->steps[i];

        if (step->undo_count == 0 && !step->final)
            continue;
        if (step->phase == PLAN_CLEANUP)
            continue;
        banyan_buf_printf(script, "-- %zu %s%s\n", i + 1, step->name, step->final ? ": cannot be undone" : "");
        for (size_t k = 0; k < step->undo_count; k++)
            add_action(script, &step->undo[k]);
    }
}

static void add_tables(struct banyan_buf *json, const struct plan *plan)
{
    banyan_buf_add_text(json, "[");
    for (size_t i = 0; i < plan->table_count; i++) {
        banyan_buf_add_text(json, i == 0 ? "" : ",");
        banyan_buf_add_json(json, plan->tables[i]);
    }
    banyan_buf_add_text(json, "]");
}

/* ---- may it start? ---- */

static enum banyan_status there_already(const struct books_migration *books, const struct migration *migration,
                                        struct banyan_error *err)
{
    struct banyan_error drift = BANYAN_ERROR_INIT;
    const char *state = books_state_name(books->state);
    enum banyan_status st;

    if (books_same(books, migration, &drift) != BANYAN_OK) {
        st = banyan_error_set(err, BANYAN_CONFLICT,
                              "migration %.*s is there already (%s), and its file was edited since",
                              (int)books->version.size, books->version.data, state);
        banyan_error_detail(err, "%s", drift.detail);
        banyan_error_hint(err, "%s", drift.hint);
        return st;
    }
    st = banyan_error_set(err, BANYAN_CONFLICT, "migration %.*s is there already: %s", (int)books->version.size,
                          books->version.data, state);
    if (books->state == BOOKS_DONE || books->state == BOOKS_COMPLETED)
        banyan_error_hint(err, "There is nothing to do.  Its story: banyan migrate status %.*s.",
                          (int)books->version.size, books->version.data);
    else
        banyan_error_hint(err, "Go on with it: banyan migrate %s %.*s.",
                          books->state == BOOKS_READY ? "complete" : "resume", (int)books->version.size,
                          books->version.data);
    return st;
}

static enum banyan_status tables_are_free(struct pg_conn *conn, struct banyan_str version, struct banyan_str tables,
                                          struct banyan_error *err)
{
    static const char sql[] =
        "SELECT m.version, m.state, string_agg(mine, ', ') FROM banyan.schema_migrations m, "
        "jsonb_array_elements_text(m.tables) theirs, jsonb_array_elements_text($2::jsonb) mine "
        "WHERE mine = theirs AND m.version <> $1 AND (m.state NOT IN ('done', 'rolled_back', 'completed') "
        "OR m.state = 'completed' AND EXISTS (SELECT FROM banyan.schema_migration_steps s "
        "WHERE s.version = m.version AND s.phase = 'cleanup')) GROUP BY m.version, m.state, m.applied_at "
        "ORDER BY m.applied_at LIMIT 1";
    struct pg_param params[] = {{version}, {tables}};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn, sql, params, 2, &result, err);
    struct banyan_str other, state, names;

    if (st != BANYAN_OK || pg_rows(result) == 0) {
        pg_result_free(result);
        return st;
    }
    other = pg_text(result, 0, 0), state = pg_text(result, 0, 1), names = pg_text(result, 0, 2);
    st = banyan_error_set(err, BANYAN_CONFLICT, "%.*s: migration %.*s is not finished (%.*s)", (int)names.size,
                          names.data, (int)other.size, other.data, (int)state.size, state.data);
    if (banyan_str_equal(state, BANYAN_STR("completed")))
        banyan_error_hint(err,
                          "What it keeps for a way back has to go first: banyan migrate cleanup %.*s (or rollback).",
                          (int)other.size, other.data);
    else
        banyan_error_hint(err, "Finish it (banyan migrate resume, complete, cleanup) or undo it (rollback) first.");
    pg_result_free(result);
    return st;
}

/* ---- writing it ---- */

static enum banyan_status put_steps(struct pg_conn *conn, struct banyan_str version, const struct plan *plan,
                                    struct banyan_error *err)
{
    static const char sql[] = "INSERT INTO banyan.schema_migration_steps (version, number, phase, name, title) "
                              "VALUES ($1, $2::bigint, $3, $4, $5)";
    enum banyan_status st = BANYAN_OK;

    for (size_t i = 0; i < plan->step_count && st == BANYAN_OK; i++) {
        const struct plan_step *step = &plan->steps[i];
        char text[24];
        struct pg_param params[] = {
            {version},
            {banyan_str_of(text)},
            {banyan_str_of(plan_phase_name(step->phase))},
            {banyan_str_of(step->name == NULL ? "" : step->name)},
            {step->title.data == NULL ? BANYAN_STR("") : step->title},
        };

        (void)snprintf(text, sizeof(text), "%zu", i); /* fits */
        params[1].text = banyan_str_of(text);
        st = pg_exec(conn, sql, params, 5, NULL, err);
    }
    return st;
}

static enum banyan_status put_migration(struct pg_conn *conn, const struct migration *migration,
                                        const struct plan *plan, struct banyan_str tables, struct banyan_error *err)
{
    static const char sql[] = "INSERT INTO banyan.schema_migrations (version, description, checksum, state, tables, "
                              "rollback_script, source, plan) "
                              "VALUES ($1, $2, decode($3, 'hex'), 'started', $4::jsonb, $5, $6, $7)";
    struct banyan_buf script = BANYAN_BUF_INIT(SCRIPT_BYTES_MAX), json = BANYAN_BUF_INIT(SCRIPT_BYTES_MAX);
    enum banyan_status st;
    char hex[65];

    for (size_t i = 0; i < 32; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", migration->checksum[i]); /* fits */
    add_script(&script, plan);
    plan_json(plan, &json);
    if (script.overflow || json.overflow) {
        st = banyan_error_set(err, BANYAN_LIMIT, "the plan of migration %.*s is larger than %d bytes",
                              (int)migration->version.size, migration->version.data, SCRIPT_BYTES_MAX);
    } else {
        struct pg_param params[] = {
            {migration->version},      {migration->description.data == NULL ? BANYAN_STR("") : migration->description},
            {banyan_str_of(hex)},      {tables},
            {banyan_buf_str(&script)}, {migration->source.data == NULL ? BANYAN_STR("") : migration->source},
            {banyan_buf_str(&json)}};

        st = pg_exec(conn, sql, params, 7, NULL, err);
    }
    banyan_buf_release(&json);
    banyan_buf_release(&script);
    return st;
}

/* One that was rolled back makes room. */
static enum banyan_status make_room(struct pg_conn *conn, const struct migration *migration, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct pg_param param = {migration->version};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct books_migration books;
    enum banyan_status st = books_read(conn, migration->version, &arena, &books, &why);

    if (st == BANYAN_NOT_FOUND) {
        banyan_arena_release(&arena);
        return BANYAN_OK;
    }
    if (st != BANYAN_OK)
        st = books_tell(err, &why, st);
    else if (books.state != BOOKS_ROLLED_BACK)
        st = there_already(&books, migration, err);
    if (st == BANYAN_OK)
        st = pg_exec(conn, "DELETE FROM banyan.schema_migration_steps WHERE version = $1", &param, 1, NULL, err);
    if (st == BANYAN_OK)
        st = pg_exec(conn, "DELETE FROM banyan.schema_migrations WHERE version = $1", &param, 1, NULL, err);
    banyan_arena_release(&arena);
    return st;
}

enum banyan_status books_start(struct pg_conn *conn, const struct migration *migration, const struct plan *plan,
                               struct banyan_error *err)
{
    struct banyan_buf tables = BANYAN_BUF_INIT(SCRIPT_BYTES_MAX);
    enum banyan_status st = pg_run(conn, "BEGIN", err);

    if (st != BANYAN_OK)
        return st;
    add_tables(&tables, plan);
    st = make_room(conn, migration, err);
    if (st == BANYAN_OK)
        st = tables_are_free(conn, migration->version, banyan_buf_str(&tables), err);
    if (st == BANYAN_OK)
        st = put_migration(conn, migration, plan, banyan_buf_str(&tables), err);
    if (st == BANYAN_OK)
        st = put_steps(conn, migration->version, plan, err);
    if (st == BANYAN_OK)
        st = pg_run(conn, "COMMIT", err);
    else
        (void)!pg_run(conn, "ROLLBACK", NULL); /* a lost connection has done it by itself */
    banyan_buf_release(&tables);
    return st;
}

enum banyan_status books_same(const struct books_migration *books, const struct migration *migration,
                              struct banyan_error *err)
{
    static const uint8_t none[32];
    struct banyan_buf text = BANYAN_BUF_INIT(SCRIPT_BYTES_MAX);
    enum banyan_status st;

    if (memcmp(books->checksum, none, 32) == 0 || memcmp(books->checksum, migration->checksum, 32) == 0)
        return BANYAN_OK;
    st = banyan_error_set(err, BANYAN_MISMATCH, "the file of migration %.*s is not the one that was started",
                          (int)books->version.size, books->version.data);
    banyan_buf_add_text(&text, "--- as it was started\n+++ as it is now\n");
    difference_add(&text, books->source, migration->source);
    banyan_error_detail(err, "%s", text.data == NULL ? "" : text.data);
    banyan_error_hint(err, "Put the file back as it was; what is to be changed besides goes into a new migration.");
    banyan_buf_release(&text);
    return st;
}
