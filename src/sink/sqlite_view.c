/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to a view in SQLite files.  At the start of each the link is read, which is one system call; a connection
 * is made when it says another file than before.
 *
 * A generation is dropped only after the link says another one.  So a file that the link names after our first
 * transaction has begun is whole; else we look again:
 *
 *   reader: link → 1, open 1           begin: 1 has no WAL any more     link → 2: open that one
 *   others:            switch to 2, drop 1
 *
 * Threads: one a view.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sink/sink_sql.h"
#include "sink/sink_value.h"
#include "sink/sqlite_db.h"
#include "sink/sqlite_home.h"

enum {
    LOOKS_MAX = 100, /* switches and drops in the time of one question */
};

struct sqlite_view {
    struct sink_view base;
    struct sqlite_place place;
    struct sqlite_db *db;              /* NULL: none */
    uint32_t generation;               /* that it is of */
    struct sink_mark ready;            /* of it */
    bool held;                         /* between begin and end, in a transaction */
    struct sink_checkpoint checkpoint; /* of the transaction */
};

static void forget(struct sqlite_view *view)
{
    sqlite_db_close(view->db);
    view->db = NULL;
    view->generation = 0;
}

/* Can we read what it was made for?  Within a transaction. */
static enum banyan_status check_form(struct sqlite_view *view, struct banyan_error *err)
{
    char form[SINK_FORM_SIZE];
    sqlite3_stmt *stmt = NULL;
    enum banyan_status st = BANYAN_OK;
    sink_form(view->base.projection, form);
    int rc = sqlite3_prepare_v2(view->db->db, "SELECT form FROM banyan_checkpoint", -1, &stmt, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *stored = (const char *)sqlite3_column_text(stmt, 0);
        if (stored == NULL || !sink_form_readable(stored, form))
            st = sink_not_built(view->base.projection, err);
        else
            view->ready = sink_form_mark(stored);
    } else {
        st = sqlite_db_fail(view->db->db, view->db->path, rc, "read the form", err);
    }
    (void)sqlite3_finalize(stmt); /* repeats rc */
    return st;
}

static enum banyan_status begin_transaction(struct sqlite_view *view, bool fresh, struct banyan_error *err)
{
    enum banyan_status st = sqlite_db_run(view->db, DB_BEGIN_READ, "begin", err);
    if (st == BANYAN_OK)
        st = sqlite_db_checkpoint(view->db, view->generation, &view->checkpoint, NULL, err);
    if (st == BANYAN_OK && fresh)
        st = check_form(view, err);
    view->checkpoint.ready = view->ready;
    return st;
}

/* A transaction on the generation that serves; sqlite_db_roll_back() ends it. */
static enum banyan_status ask(struct sqlite_view *view, struct banyan_error *err)
{
    if (view->held)
        return BANYAN_OK;
    for (int look = 0; look < LOOKS_MAX; look++) {
        struct banyan_error problem = BANYAN_ERROR_INIT;
        uint32_t serving = sqlite_place_serving(&view->place);
        bool fresh = serving != view->generation;
        enum banyan_status st = BANYAN_OK;
        if (fresh)
            forget(view);
        if (serving == 0)
            return sink_not_built(view->base.projection, err);
        if (fresh) {
            char *path = sqlite_place_file(&view->place, serving);
            st = sqlite_db_open(view->base.projection, path, SQLITE_READING, &view->db, &problem);
            free(path);
            view->generation = st == BANYAN_OK ? serving : 0;
        }
        if (st == BANYAN_OK)
            st = begin_transaction(view, fresh, &problem);
        if (fresh && sqlite_place_serving(&view->place) != serving) {
            forget(view);
            continue;
        }
        if (st == BANYAN_OK)
            return BANYAN_OK;
        forget(view);
        if (err != NULL && err->status == BANYAN_OK)
            *err = problem;
        return st;
    }
    return banyan_error_set(err, BANYAN_BUSY, "view %s is switched all the time", view->base.projection->name);
}

static enum banyan_status answered(struct sqlite_view *view, enum banyan_status st, struct sink_checkpoint *ret)
{
    if (st == BANYAN_OK && ret != NULL)
        *ret = view->checkpoint;
    if (!view->held && view->db != NULL)
        sqlite_db_roll_back(view->db);
    return st;
}

static void view_end(struct sink_view *base)
{
    struct sqlite_view *view = (struct sqlite_view *)base;
    view->held = false;
    if (view->db != NULL)
        sqlite_db_roll_back(view->db);
}

static enum banyan_status view_begin(struct sink_view *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sqlite_view *view = (struct sqlite_view *)base;
    enum banyan_status st = ask(view, err);
    if (st == BANYAN_OK) {
        view->held = true;
        *ret = view->checkpoint;
    }
    return st;
}

static void view_close(struct sink_view *base)
{
    struct sqlite_view *view = (struct sqlite_view *)base;
    view_end(base);
    forget(view);
    sqlite_place_release(&view->place);
    free(view);
}

static enum banyan_status view_checkpoint(struct sink_view *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sqlite_view *view = (struct sqlite_view *)base;
    return answered(view, ask(view, err), ret);
}

static enum banyan_status view_asides(struct sink_view *base, struct banyan_arena *arena, struct sink_aside **ret,
                                      size_t *ret_count, struct banyan_error *err)
{
    struct sqlite_view *view = (struct sqlite_view *)base;
    enum banyan_status st = ask(view, err);
    if (st == BANYAN_OK)
        st = sqlite_db_asides(view->db, arena, ret, ret_count, err);
    return answered(view, st, NULL);
}

/* Step through a SELECT of rows, and reset it. */
static enum banyan_status each_row(struct sqlite_view *view, sqlite3_stmt *stmt, unsigned table, sink_row_fn fn,
                                   void *context, struct banyan_error *err)
{
    const struct banyan_table *about = &view->base.projection->tables[table];
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    void *row = banyan_arena_zalloc(&arena, about->row->size);
    enum banyan_status st = BANYAN_OK;
    int rc;

    while (st == BANYAN_OK && (rc = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW)
            st = sqlite_db_fail(view->db->db, view->db->path, rc, "read rows", err);
        if (st == BANYAN_OK)
            st = sqlite_db_row(view->db, stmt, table, NULL, row, err);
        if (st == BANYAN_OK)
            st = fn(context, sink_key_of(about, row), row, err);
    }
    sqlite3_reset(stmt);
    banyan_arena_release(&arena);
    return st;
}

static enum banyan_status view_range(struct sink_view *base, unsigned table, int64_t lo, int64_t hi,
                                     struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                     struct banyan_error *err)
{
    struct sqlite_view *view = (struct sqlite_view *)base;
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st == BANYAN_OK)
        st = ask(view, err);
    if (st == BANYAN_OK && hi > lo) {
        sqlite3_stmt *stmt = sqlite_db_statement(view->db, sqlite_db_of_table(view->db, table, DB_RANGE), err, &st);
        if (stmt != NULL) {
            sqlite_bind_int(stmt, 1, lo);
            sqlite_bind_int(stmt, 2, hi == INT64_MAX ? hi : hi - 1);
            st = each_row(view, stmt, table, fn, context, err);
        }
    }
    return answered(view, st, ret_checkpoint);
}

static enum banyan_status view_get(struct sink_view *base, unsigned table, int64_t key,
                                   struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                   struct banyan_error *err)
{
    struct sqlite_view *view = (struct sqlite_view *)base;
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st == BANYAN_OK)
        st = ask(view, err);
    if (st == BANYAN_OK) {
        sqlite3_stmt *stmt = sqlite_db_statement(view->db, sqlite_db_of_table(view->db, table, DB_GET), err, &st);
        if (stmt != NULL) {
            sqlite_bind_int(stmt, 1, key);
            st = each_row(view, stmt, table, fn, context, err);
        }
    }
    return answered(view, st, ret_checkpoint);
}

static void bind_list(sqlite3_stmt *stmt, const struct sink_list *query, const struct banyan_field *equal,
                      const void *value)
{
    unsigned form = sink_sql_list_form(query);
    int at = 1;
    sqlite_bind_field(stmt, at++, equal, value);
    if ((form & SINK_SQL_FROM) != 0)
        sqlite_bind_int(stmt, at++, query->from.us);
    if ((form & SINK_SQL_TO) != 0)
        sqlite_bind_int(stmt, at++, query->to.us);
    if ((form & SINK_SQL_AFTER) != 0)
        sqlite_bind_int(stmt, at++, query->after_range.us);
    if (query->after)
        sqlite_bind_int(stmt, at++, query->after_key);
    sqlite_bind_int(stmt, at, query->limit > INT64_MAX ? INT64_MAX : (int64_t)query->limit);
}

static enum banyan_status view_list(struct sink_view *base, const struct sink_list *query,
                                    struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                    struct banyan_error *err)
{
    struct sqlite_view *view = (struct sqlite_view *)base;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    const void *value = NULL;
    enum banyan_status st = sink_list_value(base->projection, query, &arena, &value, err);
    if (st == BANYAN_OK)
        st = ask(view, err);
    if (st == BANYAN_OK) {
        const struct banyan_table *table = &base->projection->tables[query->table];
        size_t which =
            DB_LISTS + (size_t)(query->index - table->indexes) * SINK_SQL_LIST_FORMS + sink_sql_list_form(query);
        sqlite3_stmt *stmt = sqlite_db_statement(view->db, sqlite_db_of_table(view->db, query->table, which), err, &st);
        if (stmt != NULL) {
            bind_list(stmt, query, banyan_record_field(table->row, banyan_str_of(query->index->equal)), value);
            st = each_row(view, stmt, query->table, fn, context, err);
        }
    }
    st = answered(view, st, ret_checkpoint);
    banyan_arena_release(&arena);
    return st;
}

/* ---- search ---- */

static void bind_search(sqlite3_stmt *stmt, const struct sink_search *query, const struct sink_search_plan *plan,
                        struct banyan_str words)
{
    int at = 1;
    if (plan->words.count > 0)
        sqlite_bind_text(stmt, at++, words);
    for (size_t i = 0; i < plan->equal_count; i++)
        sqlite_bind_field(stmt, at++, plan->equal[i], plan->values);
    if (plan->range != NULL && query->from.us != BANYAN_TIME_NULL)
        sqlite_bind_int(stmt, at++, query->from.us);
    if (plan->range != NULL && query->to.us != BANYAN_TIME_NULL)
        sqlite_bind_int(stmt, at++, query->to.us);
    sqlite_bind_int(stmt, at++, query->limit > INT64_MAX ? INT64_MAX : (int64_t)query->limit);
    sqlite_bind_int(stmt, at, (int64_t)query->skip);
}

static enum banyan_status run_search(struct sqlite_view *view, const struct sink_search *query,
                                     const struct sink_search_plan *plan, sink_row_fn fn, void *context,
                                     struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX), words = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
    struct sink_sql sql = sqlite_db_sql(view->db, query->table);
    sqlite3_stmt *stmt = NULL;
    enum banyan_status st = BANYAN_OK;
    sink_sql_search(&sql, query, plan, &text);
    sink_sql_words(&sql, plan, &words);
    int rc = sqlite3_prepare_v2(view->db->db, text.data, (int)text.size, &stmt, NULL);
    if (rc != SQLITE_OK) {
        bool unfinished = strstr(sqlite3_errmsg(view->db->db), "no such table") != NULL;
        st = unfinished ? banyan_error_set(err, BANYAN_BUSY, "the search of view %s is still being made",
                                           view->base.projection->name)
                        : sqlite_db_fail(view->db->db, view->db->path, rc, "search", err);
    } else {
        bind_search(stmt, query, plan, banyan_buf_str(&words));
        st = each_row(view, stmt, query->table, fn, context, err);
    }
    (void)sqlite3_finalize(stmt); /* repeats the error of the last step */
    banyan_buf_release(&words);
    banyan_buf_release(&text);
    return st;
}

static enum banyan_status view_search(struct sink_view *base, const struct sink_search *query,
                                      struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                      struct banyan_error *err)
{
    struct sqlite_view *view = (struct sqlite_view *)base;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sink_search_plan plan;
    enum banyan_status st = sink_search_plan(base->projection, query, &arena, &plan, err);
    if (st == BANYAN_OK)
        st = ask(view, err);
    if (st == BANYAN_OK && !plan.empty)
        st = run_search(view, query, &plan, fn, context, err);
    st = answered(view, st, ret_checkpoint);
    banyan_arena_release(&arena);
    return st;
}

static const struct sink_view_ops sqlite_view_ops = {
    .close = view_close,
    .checkpoint = view_checkpoint,
    .get = view_get,
    .list = view_list,
    .range = view_range,
    .search = view_search,
    .begin = view_begin,
    .end = view_end,
    .asides = view_asides,
};

enum banyan_status sqlite_view_open(const struct sqlite_place *place, struct sink_view **ret)
{
    struct sqlite_view *view = alloc_zeroed(1, sizeof(*view));
    view->base = (struct sink_view){&sqlite_view_ops, place->projection};
    view->place = sqlite_place_copy(place);
    *ret = &view->base;
    return BANYAN_OK;
}
