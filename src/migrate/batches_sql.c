/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statements of a backfill.
 *
 * Both forms read a range of pages (TID range scan), never the table:
 *
 *   DIRECT   UPDATE ONLY table t SET set WHERE t.ctid >= … AND t.ctid < … AND (needs) IS TRUE
 *   SKIP     WITH due AS (SELECT t.ctid AS at FROM ONLY table t WHERE … FOR NO KEY UPDATE SKIP LOCKED), kept AS (keep)
 *            UPDATE ONLY table t SET set FROM due WHERE t.ctid = due.at
 *
 * IS TRUE keeps the planner from an index on what is needed, whose statistics are those of before the backfill; the
 * settings keep it from reading the whole table for a join.
 *
 * A batch's commit does not wait for the disk: its rows and its place are lost together, or not at all, and whoever
 * waits for one of its rows waits less.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/batches_int.h"
#include "migrate/node.h"
#include "migrate/sql.h"

enum {
    SQL_MAX = 16 * 1024 * 1024,
};

/* ---- what the role may, what the table is ---- */

/* Which columns *set* writes, as an array literal of PostgreSQL; data NULL: not understood. */
static struct banyan_str written_columns(struct batches *b)
{
    struct banyan_str sql = sql_make(&b->arena, "UPDATE t SET %S", b->plan->set), ret = {NULL, 0};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct migration *parsed = NULL;
    struct banyan_buf list = BANYAN_BUF_INIT(SQL_MAX);
    const PgQuery__Node *tree;

    if (migration_parse("backfill", sql, &parsed, &err) != BANYAN_OK)
        goto out;
    tree = parsed->statement_count == 1 ? parsed->statements[0].tree : NULL;
    if (tree == NULL || tree->node_case != PG_QUERY__NODE__NODE_UPDATE_STMT)
        goto out;
    for (size_t i = 0; i < tree->update_stmt->n_target_list; i++) {
        const PgQuery__Node *target = tree->update_stmt->target_list[i];

        if (target->node_case != PG_QUERY__NODE__NODE_RES_TARGET)
            goto out;
        if (i > 0)
            banyan_buf_add_text(&list, ", ");
        pg_add_literal(&list, banyan_str_of(target->res_target->name));
    }
    if (list.overflow)
        goto out;
    ret = sql_make(&b->arena, "ARRAY[%S]::text[]", banyan_buf_str(&list));
out:
    banyan_buf_release(&list);
    migration_free(parsed);
    return ret;
}

/* Foreign keys are triggers, too: where a valid one has a written column they have to fire, and so do the user's. */
static enum banyan_status may_silence_triggers(struct batches *b, bool *ret, struct banyan_error *err)
{
    struct banyan_str columns = written_columns(b);
    struct pg_result *result = NULL;
    struct banyan_str sql;
    enum banyan_status st;

    *ret = false;
    if (columns.data == NULL || b->plan->keep.size > 0)
        return BANYAN_OK;
    sql = sql_make(&b->arena,
                   "SELECT %s AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c, pg_catalog.pg_attribute a"
                   " WHERE c.contype = 'f' AND c.convalidated AND a.attrelid = %d AND a.attname = ANY (%S)"
                   " AND (c.conrelid = a.attrelid AND a.attnum = ANY (c.conkey)"
                   " OR c.confrelid = a.attrelid AND a.attnum = ANY (c.confkey)))",
                   pg_server_version(b->conn) >= 150000
                       ? "pg_catalog.has_parameter_privilege('session_replication_role', 'SET')"
                       : "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)",
                   b->oid, columns);
    st = pg_exec(b->conn, sql.data, NULL, 0, &result, err);
    if (st == BANYAN_OK)
        *ret = pg_rows(result) == 1 && pg_bool(result, 0, 0);
    pg_result_free(result);
    return st;
}

enum banyan_status batches_look(struct batches *b, int64_t *ret_pages, bool *ret_gone, struct banyan_error *err)
{
    struct pg_param params[] = {{b->plan->table}, {BANYAN_STR("0")}};
    struct pg_result *result = NULL;
    enum banyan_status st;
    char kind;

    params[1].text = banyan_arena_printf(&b->arena, "%" PRId64, b->oid);
    *ret_gone = false;
    st = pg_exec(b->conn,
                 "SELECT c.oid, c.relkind, pg_catalog.pg_relation_filenode(c.oid),"
                 " coalesce(pg_catalog.pg_relation_size(c.oid), 0)"
                 " / pg_catalog.current_setting('block_size')::bigint,"
                 " EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = $2::oid)"
                 " FROM (VALUES (pg_catalog.to_regclass($1))) AS given (oid)"
                 " LEFT JOIN pg_catalog.pg_class c ON c.oid = given.oid",
                 params, 2, &result, err);
    if (st != BANYAN_OK)
        return st;
    kind = pg_text(result, 0, 1).size > 0 ? pg_text(result, 0, 1).data[0] : '\0';
    if (kind == '\0' && b->oid != 0 && !pg_bool(result, 0, 4)) {
        *ret_gone = true; /* dropped as a whole: nothing needs work any more */
    } else if (kind == '\0' || (b->oid != 0 && b->oid != pg_int(result, 0, 0))) {
        st = banyan_error_set(err, BANYAN_TABLE, "table %.*s is not there any more, or is another one",
                              (int)b->plan->table.size, b->plan->table.data);
        banyan_error_hint(err, "Somebody renamed or replaced it: give it its name back, then resume.");
    } else if (kind != 'r') {
        st = banyan_error_set(err, BANYAN_INVALID, "%.*s has no rows of its own: a backfill is of a table or a leaf",
                              (int)b->plan->table.size, b->plan->table.data);
    } else {
        b->oid = pg_int(result, 0, 0);
        b->filenode = pg_int(result, 0, 2);
        *ret_pages = pg_int(result, 0, 3);
    }
    pg_result_free(result);
    return st;
}

static void make_parts(struct batches *b)
{
    const struct plan_batches *plan = b->plan;

    b->needs = sql_make(&b->arena, "(%S) IS TRUE", plan->needs);
    b->update_direct = sql_make(&b->arena, "UPDATE ONLY %S t SET %S WHERE ", plan->table, plan->set);
    b->update_skip = sql_make(&b->arena, "%s%S%s UPDATE ONLY %S t SET %S FROM due WHERE t.ctid = due.at",
                              plan->keep.size > 0 ? ", kept AS (" : "", plan->keep, plan->keep.size > 0 ? ")" : "",
                              plan->table, plan->set);
}

enum banyan_status batches_prepare(struct batches *b, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(
        b->conn, "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'", NULL, 0, &result, err);

    if (st == BANYAN_OK)
        b->deadlock_us = pg_rows(result) == 1 ? pg_int(result, 0, 0) * 1000 : 1000000;
    pg_result_free(result);
    if (st == BANYAN_OK)
        st = may_silence_triggers(b, &b->replica_role, err);
    if (st == BANYAN_OK)
        make_parts(b);
    return st;
}

/* ---- one transaction ---- */

static long milliseconds(int64_t us)
{
    return us <= 0 ? 0 : (long)((us + 999) / 1000);
}

static enum banyan_status begin(struct batches *b, bool write, int64_t lock_us, int64_t statement_us,
                                struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(4096);
    enum banyan_status st;

    banyan_buf_printf(&sql,
                      "BEGIN ISOLATION LEVEL READ COMMITTED, READ %s; SET LOCAL lock_timeout = %ld;"
                      " SET LOCAL statement_timeout = %ld; SET LOCAL row_security = off; SET LOCAL jit = off;"
                      " SET LOCAL enable_seqscan = off; SET LOCAL enable_tidscan = on; SET LOCAL enable_nestloop = on;"
                      " SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
                      " SET LOCAL synchronous_commit = off",
                      write ? "WRITE" : "ONLY", milliseconds(lock_us), milliseconds(statement_us));
    if (write && b->replica_role)
        banyan_buf_add_text(&sql, "; SET LOCAL session_replication_role = replica");
    st = pg_run(b->conn, sql.data, err);
    banyan_buf_release(&sql);
    return st;
}

static void add_range(struct batches *b, struct banyan_buf *sql, int64_t first, int64_t last)
{
    banyan_buf_printf(sql, "t.ctid >= '(%" PRId64 ",0)' AND t.ctid < '(%" PRId64 ",0)' AND ", first, last);
    banyan_buf_add_str(sql, b->needs);
}

static void add_due(struct batches *b, struct banyan_buf *sql, int64_t first, int64_t last)
{
    banyan_buf_add_text(sql, "WITH due AS (SELECT t.ctid AS at FROM ONLY ");
    banyan_buf_add_str(sql, b->plan->table);
    banyan_buf_add_text(sql, " t WHERE ");
    add_range(b, sql, first, last);
    banyan_buf_add_text(sql, " FOR NO KEY UPDATE");
}

/* Rows that need work in the range, now. */
static enum banyan_status count_left(struct batches *b, struct batch *batch, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_result *result = NULL;
    enum banyan_status st;

    banyan_buf_add_text(&sql, "SELECT count(*) FROM ONLY ");
    banyan_buf_add_str(&sql, b->plan->table);
    banyan_buf_add_text(&sql, " t WHERE ");
    add_range(b, &sql, batch->first, batch->last);
    st = pg_exec(b->conn, sql.data, NULL, 0, &result, err);
    if (st == BANYAN_OK)
        batch->left = (uint64_t)pg_int(result, 0, 0);
    pg_result_free(result);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status update(struct batches *b, struct batch *batch, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_result *result = NULL;
    enum banyan_status st;

    if (batch->mode == BATCHES_DIRECT && b->plan->keep.size == 0) {
        banyan_buf_add_str(&sql, b->update_direct);
        add_range(b, &sql, batch->first, batch->last);
    } else {
        add_due(b, &sql, batch->first, batch->last);
        banyan_buf_add_text(&sql, batch->mode == BATCHES_SKIP ? " SKIP LOCKED)" : ")");
        banyan_buf_add_str(&sql, b->update_skip);
    }
    if (sql.overflow)
        st = banyan_error_set(err, BANYAN_LIMIT, "a statement of the backfill has more than %d bytes", SQL_MAX);
    else
        st = pg_exec(b->conn, sql.data, NULL, 0, &result, err);
    if (st == BANYAN_OK)
        batch->written = pg_affected(result);
    pg_result_free(result);
    banyan_buf_release(&sql);
    return st;
}

static void roll_back(struct batches *b)
{
    enum banyan_status ignored = pg_run(b->conn, "ROLLBACK", NULL);

    (void)ignored; /* what led here is told; a lost connection rolls back by itself */
}

enum banyan_status batches_write(struct batches *b, struct batch *batch, struct banyan_error *err)
{
    struct books_step place = *b->step;
    enum banyan_status st;

    batch->written = batch->left = 0;
    st = begin(b, true, batch->lock_us, batch->statement_us, err);
    if (st == BANYAN_OK)
        st = update(b, batch, err);
    if (st == BANYAN_OK && batch->mode == BATCHES_SKIP)
        st = count_left(b, batch, err);
    if (st == BANYAN_OK && batch->written > 0) { /* else there is nothing that could be lost */
        place.rows += (int64_t)batch->written;
        if (!batch->leftover)
            place.page = batch->last;
        place.message = (struct banyan_str){"", 0};
        st = books_step(b->conn, b->options->version, b->options->number, &place, err);
    }
    if (st == BANYAN_OK)
        st = pg_run(b->conn, "COMMIT", err);
    if (st == BANYAN_OK)
        *b->step = place;
    else
        roll_back(b);
    return st;
}

enum banyan_status batches_find(struct batches *b, int64_t first, int64_t last, int64_t *ret_page, char ret_at[32],
                                struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_result *result = NULL;
    enum banyan_status st = begin(b, false, b->deadlock_us / 4, 0, err);

    banyan_buf_add_text(&sql, "SELECT min(t.ctid) FROM ONLY ");
    banyan_buf_add_str(&sql, b->plan->table);
    banyan_buf_add_text(&sql, " t WHERE ");
    add_range(b, &sql, first, last);
    if (st == BANYAN_OK)
        st = pg_exec(b->conn, sql.data, NULL, 0, &result, err);
    if (st == BANYAN_OK) {
        struct banyan_str at = pg_text(result, 0, 0);

        *ret_page = at.data == NULL || at.size == 0 ? -1 : (int64_t)strtoll(at.data + 1, NULL, 10);
        (void)snprintf(ret_at, 32, "%.*s", (int)at.size, at.data == NULL ? "" : at.data); /* a tid fits */
        st = pg_run(b->conn, "COMMIT", err);
    }
    if (st != BANYAN_OK)
        roll_back(b);
    pg_result_free(result);
    banyan_buf_release(&sql);
    return st;
}

enum banyan_status batches_place(struct batches *b, struct banyan_error *err)
{
    b->step->batch_pages = b->pages_write;
    return books_step(b->conn, b->options->version, b->options->number, b->step, err);
}
