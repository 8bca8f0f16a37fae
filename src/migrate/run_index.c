/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indexes CONCURRENTLY, as a state machine over what the catalog says; nothing else is believed.
 *
 *               ┌────────────── CREATE, ended or failed ──────────────┐
 *               ▼                                                     │
 *   look ──▶ absent ──▶ mark "running" ──▶ CREATE INDEX CONCURRENTLY ─┴─▶ valid ──▶ done
 *    │          ▲
 *    ├──────▶ invalid, of a try before ── DROP INDEX CONCURRENTLY ──┘
 *    ├──────▶ being built by somebody else ──▶ BUSY with his pid
 *    └──────▶ valid ── of a try before: done · never begun by us: CONFLICT, it is somebody's index
 *
 * The name is ours from the mark on; before it an index of that name is not touched, unless it is invalid and nobody
 * builds it.  So a rollback never drops an index that was there before.
 *
 * There is no lock_timeout: it would cancel the waits for old transactions, and leave an invalid index.  What these
 * wait for is watched and told instead (run_conn.c).  A unique index that failed is dropped at once: invalid, it would
 * go on refusing rows.
 *
 * States that survive a crash: the mark, and the index in the catalog.
 */
#include <stdio.h>
#include <string.h>

#include "migrate/run_int.h"

enum {
    SQL_MAX = 64 * 1024,
    ROUNDS_MAX = 4, /* of a look and what it asks for, within one try */
};

enum index_state {
    INDEX_ABSENT = 1,
    INDEX_INVALID,
    INDEX_VALID,
    INDEX_IN_WORK, /* of another session */
    INDEX_NONE,    /* a relation of that name is no index */
};

static enum banyan_status look(struct run *run, struct banyan_str index, enum index_state *ret, int *ret_pid,
                               struct banyan_error *err)
{
    static const char sql[] =
        "SELECT r.oid IS NOT NULL, i.indexrelid IS NOT NULL, i.indisvalid AND i.indisready AND i.indislive, "
        "coalesce((SELECT p.pid FROM pg_stat_progress_create_index p WHERE p.index_relid = r.oid "
        "AND p.pid <> pg_backend_pid() LIMIT 1), 0) "
        "FROM (SELECT to_regclass($1)::oid AS oid) r LEFT JOIN pg_index i ON i.indexrelid = r.oid";
    struct pg_param param = {index};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(run->conn, sql, &param, 1, &result, err);

    if (st != BANYAN_OK)
        return st;
    *ret_pid = (int)pg_int(result, 0, 3);
    if (!pg_bool(result, 0, 0))
        *ret = INDEX_ABSENT;
    else if (!pg_bool(result, 0, 1))
        *ret = INDEX_NONE;
    else if (pg_bool(result, 0, 2))
        *ret = INDEX_VALID;
    else
        *ret = *ret_pid != 0 ? INDEX_IN_WORK : INDEX_INVALID;
    pg_result_free(result);
    return BANYAN_OK;
}

enum banyan_status run_index_drop(struct run *run, struct banyan_str index, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    enum banyan_status st;

    banyan_buf_add_text(&sql, "DROP INDEX CONCURRENTLY IF EXISTS ");
    banyan_buf_add_str(&sql, index);
    st = run_watched(run, sql.data, RUN_LOOK_US / 2, false, err);
    run_at(run, "index dropped");
    banyan_buf_release(&sql);
    return st;
}

enum banyan_status run_index_leftovers(struct run *run, struct banyan_str index, struct banyan_error *err)
{
    static const char sql[] =
        "WITH wanted AS (SELECT parse_ident($1) AS name) "
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM wanted w, pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid "
        "WHERE NOT i.indisvalid AND c.relkind = 'i' "
        "AND CASE WHEN cardinality(w.name) > 1 THEN n.nspname = w.name[1] ELSE pg_table_is_visible(c.oid) END "
        "AND left(c.relname, length(w.name[cardinality(w.name)])) = w.name[cardinality(w.name)] "
        "AND substr(c.relname, length(w.name[cardinality(w.name)]) + 1) ~ '^_cc(new|old)[0-9]*$' "
        "AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.relid = i.indrelid)";
    struct pg_param param = {index};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(run->conn, sql, &param, 1, &result, err);

    for (size_t i = 0; st == BANYAN_OK && i < pg_rows(result); i++)
        st = run_index_drop(run, pg_text(result, i, 0), err);
    pg_result_free(result);
    return st;
}

static enum banyan_status not_ours(const struct run_work *work, struct banyan_error *err)
{
    struct banyan_str index = work->action->index;
    enum banyan_status st = banyan_error_set(err, BANYAN_CONFLICT,
                                             "index %.*s is there already, and this migration "
                                             "did not make it",
                                             (int)index.size, index.data);

    banyan_error_hint(err, "Drop or rename it, or roll back and give the new one another name.");
    return st;
}

static enum banyan_status create(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    struct books_step *step = &run->books.steps[work->number];
    enum books_step_state state = work->undoing ? BOOKS_STEP_UNDOING : BOOKS_STEP_RUNNING;
    struct books_step begun = *step;
    enum banyan_status st = BANYAN_OK;

    begun.state = state;
    if (step->state != state)
        st = run_mark(run, work->number, &begun, err);
    run_at(run, "index begins");
    for (size_t i = 0; i < work->action->statement_count && st == BANYAN_OK; i++)
        st = run_watched(run, banyan_arena_str(&run->arena, work->action->statements[i]).data, RUN_LOOK_US / 2, true,
                         err);
    run_at(run, "index made");
    if (st == BANYAN_QUERY && strncmp(err->sqlstate, "23", 2) == 0) /* what it leaves would refuse rows */
        (void)!run_index_drop(run, work->action->index, NULL);
    return st;
}

enum banyan_status run_index(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    bool ours = work->undoing || run->books.steps[work->number].state == BOOKS_STEP_RUNNING;
    struct banyan_str index = work->action->index;
    enum banyan_status st = run_index_leftovers(run, index, err);

    for (int round = 0; st == BANYAN_OK && round < ROUNDS_MAX; round++) {
        enum index_state state = INDEX_ABSENT;
        int pid = 0;

        st = look(run, index, &state, &pid, err);
        if (st != BANYAN_OK)
            break;
        switch (state) {
        case INDEX_VALID:
            return ours ? BANYAN_OK : not_ours(work, err);
        case INDEX_NONE:
            return not_ours(work, err);
        case INDEX_IN_WORK:
            return banyan_error_set(err, BANYAN_BUSY, "index %.*s is being built by pid %d", (int)index.size,
                                    index.data, pid);
        case INDEX_INVALID:
            st = run_index_drop(run, index, err);
            break;
        case INDEX_ABSENT:
            st = create(run, work, err);
            ours = true;
            break;
        }
    }
    if (st == BANYAN_OK)
        st = banyan_error_set(err, BANYAN_TABLE, "index %.*s is still not valid", (int)index.size, index.data);
    return st;
}
