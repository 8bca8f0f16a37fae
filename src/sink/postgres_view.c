/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to a view in PostgreSQL.  A question is one statement, hence of one snapshot and one round trip:
 *
 *   SELECT checkpoint, rows FROM the generation's row LEFT JOIN (its rows) … WHERE it is the one that serves
 *
 * Which one that is we remember from before; when the statement says that it serves no more (no row), or its tables are
 * gone, we look it up and ask again.  begin() and a range are REPEATABLE READ transactions; begin() locks the tables
 * against being dropped.
 *
 * Threads: one a view.
 */
#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"
#include "base/alloc.h"
#include "pg/copy.h"
#include "sink/postgres_place.h"
#include "sink/sink_value.h"

enum {
    LOOKS_MAX = 100, /* switches in the time of one question */
    CHECKPOINT_COLUMNS = 3,
    PARAMS_MAX = 16,
};

struct postgres_view {
    struct sink_view base;
    struct postgres_place place;
    struct pg_conn *conn;   /* NULL: to be made */
    uint32_t generation;    /* that served when we looked; 0: look */
    struct sink_mark ready; /* of it */
    bool held;              /* between begin and end */
};

struct params {
    struct banyan_buf memory[PARAMS_MAX];
    struct pg_param params[PARAMS_MAX];
    size_t count;
};

/* A question about one table: what to select in a statement of its own, *select* NULL: only the checkpoint. */
struct question {
    const struct banyan_table *table;
    unsigned number; /* of the table */
    void (*select)(const struct sink_sql *sql, const void *about, struct banyan_buf *ret);
    const void *about;
    const char *order; /* "" or of the whole, over columns of t */
    const struct params *params;
    sink_row_fn fn;
    void *context;
};

/* ---- connections ---- */

static enum banyan_status use(struct postgres_view *view, struct banyan_error *err)
{
    return view->conn != NULL ? BANYAN_OK : postgres_connect(&view->place, true, &view->conn, err);
}

/* Every question ends here: after a failure the connection is given up. */
static enum banyan_status done(struct postgres_view *view, enum banyan_status st)
{
    if (st != BANYAN_OK) {
        pg_close(view->conn);
        view->conn = NULL;
        view->held = false;
    }
    return st;
}

/* Which one serves: view->generation.  NOT_FOUND: none that we can read. */
static enum banyan_status look(struct postgres_view *view, struct sink_checkpoint *ret, struct banyan_error *err)
{
    char form[SINK_FORM_SIZE];
    struct banyan_error problem = BANYAN_ERROR_INIT;
    struct pg_param param = postgres_text(banyan_str_of(view->place.view));
    struct pg_result *result = NULL;
    view->generation = 0;
    sink_form(view->base.projection, form);
    enum banyan_status st = postgres_exec(&view->place, view->conn,
                                          "SELECT number, form, position, at, lsn FROM @generation WHERE view = $1 AND "
                                          "state = 'serving'",
                                          &param, 1, &result, &problem);
    if (st == BANYAN_TABLE) /* nothing was ever made there */
        return sink_not_built(view->base.projection, err);
    if (st != BANYAN_OK) {
        if (err != NULL && err->status == BANYAN_OK)
            *err = problem;
        return st;
    }
    if (pg_rows(result) == 0 || !sink_form_readable(pg_text(result, 0, 1).data, form)) {
        st = sink_not_built(view->base.projection, err);
    } else {
        view->generation = (uint32_t)pg_int(result, 0, 0);
        view->ready = sink_form_mark(pg_text(result, 0, 1).data);
        *ret = (struct sink_checkpoint){.position = {(uint64_t)pg_int(result, 0, 2)},
                                        .at = {pg_int(result, 0, 3)},
                                        .source_lsn = (uint64_t)pg_int(result, 0, 4),
                                        .generation = view->generation,
                                        .ready = view->ready};
    }
    pg_result_free(result);
    return st;
}

/* ---- one statement ---- */

static void add_statement(const struct postgres_view *view, const struct question *question, struct banyan_buf *ret)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    postgres_add_sql(&view->place, "SELECT g.position, g.at, g.lsn", ret);
    if (question->select != NULL) {
        struct sink_sql sql = postgres_sql(&view->place, question->number, view->generation, &name);
        banyan_buf_add_text(ret, ", t.* FROM ");
        postgres_add_sql(&view->place, "@generation g LEFT JOIN (", ret);
        question->select(&sql, question->about, ret);
        banyan_buf_add_text(ret, ") t ON true");
    } else {
        postgres_add_sql(&view->place, " FROM @generation g", ret);
    }
    banyan_buf_add_text(ret, " WHERE g.state = 'serving' AND g.view = ");
    pg_add_literal(ret, banyan_str_of(view->place.view));
    banyan_buf_printf(ret, " AND g.number = %u%s", view->generation, question->order);
    banyan_buf_release(&name);
}

static enum banyan_status give_rows(const struct question *question, const struct pg_result *result,
                                    struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    const struct banyan_record *record = question->table->row;
    const struct banyan_field *key = banyan_record_field(record, banyan_str_of(question->table->key_column));
    size_t key_at = CHECKPOINT_COLUMNS + (size_t)(key - record->fields);
    void *row = banyan_arena_zalloc(&arena, record->size);
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < pg_rows(result) && st == BANYAN_OK; i++) {
        if (pg_text(result, i, key_at).data == NULL)
            break; /* the one row of a join with nothing */
        st = postgres_row(record, result, i, CHECKPOINT_COLUMNS, NULL, row, err);
        if (st == BANYAN_OK)
            st = question->fn(question->context, sink_key_of(question->table, row), row, err);
    }
    banyan_arena_release(&arena);
    return st;
}

/* Ask the one that we know; *ret_result* NULL: it serves no more. */
static enum banyan_status try_ask(struct postgres_view *view, const struct question *question,
                                  struct pg_result **ret_result, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    struct banyan_error problem = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    const struct params *params = question->params;
    add_statement(view, question, &sql);
    enum banyan_status st = pg_exec(view->conn, sql.data, params == NULL ? NULL : params->params,
                                    params == NULL ? 0 : params->count, &result, &problem);
    banyan_buf_release(&sql);
    if (st == BANYAN_OK && pg_rows(result) > 0) {
        *ret_result = result;
        return BANYAN_OK;
    }
    pg_result_free(result);
    *ret_result = NULL;
    if (st == BANYAN_OK || (st == BANYAN_TABLE && !view->held))
        return BANYAN_OK;
    if (err != NULL && err->status == BANYAN_OK)
        *err = problem;
    return st;
}

static enum banyan_status ask_once(struct postgres_view *view, const struct question *question,
                                   struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_checkpoint checkpoint;
    enum banyan_status st = use(view, err);
    for (int looks = 0; st == BANYAN_OK && looks < LOOKS_MAX; looks++) {
        struct pg_result *result = NULL;
        if (view->generation == 0)
            st = look(view, &checkpoint, err);
        if (st == BANYAN_OK)
            st = try_ask(view, question, &result, err);
        if (result != NULL) {
            *ret = (struct sink_checkpoint){.position = {(uint64_t)pg_int(result, 0, 0)},
                                            .at = {pg_int(result, 0, 1)},
                                            .source_lsn = (uint64_t)pg_int(result, 0, 2),
                                            .generation = view->generation,
                                            .ready = view->ready};
            if (question->select != NULL)
                st = give_rows(question, result, err);
            pg_result_free(result);
            /* What the receiver of rows has to say is no failure of the connection. */
            return st;
        }
        view->generation = 0;
    }
    if (st == BANYAN_OK)
        st = banyan_error_set(err, BANYAN_BUSY, "view %s is switched all the time", view->base.projection->name);
    return st == BANYAN_NOT_FOUND ? st : done(view, st);
}

/* A connection that was at rest may have ended with a server that is back by now: that is no reader's problem. */
static bool ask_again(const struct postgres_view *view, bool rested, enum banyan_status st)
{
    return st == BANYAN_UNAVAILABLE && rested && view->conn == NULL;
}

static enum banyan_status ask(struct postgres_view *view, const struct question *question, struct sink_checkpoint *ret,
                              struct banyan_error *err)
{
    struct banyan_error problem = BANYAN_ERROR_INIT;
    bool rested = view->conn != NULL && !view->held;
    enum banyan_status st = ask_once(view, question, ret, &problem);
    if (ask_again(view, rested, st)) {
        banyan_error_clear(&problem);
        st = ask_once(view, question, ret, &problem);
    }
    if (st != BANYAN_OK && err != NULL && err->status == BANYAN_OK)
        *err = problem;
    return st;
}

/* ---- parameters ---- */

static void add_param(struct params *params, const struct banyan_field *field, const void *row)
{
    struct banyan_buf *memory = &params->memory[params->count];
    *memory = (struct banyan_buf)BANYAN_BUF_INIT(POSTGRES_VALUE_MAX);
    banyan_field_text(field, row, memory);
    params->params[params->count++] = postgres_text(banyan_buf_str(memory));
}

static void add_int(struct params *params, int64_t value)
{
    static const struct banyan_field field = {.name = "int", .kind = BANYAN_FIELD_INT};
    add_param(params, &field, &value);
}

static void add_time(struct params *params, struct banyan_time value)
{
    static const struct banyan_field field = {.name = "time", .kind = BANYAN_FIELD_TIME};
    if (value.us != BANYAN_TIME_NULL)
        add_param(params, &field, &value);
}

static void release_params(struct params *params)
{
    for (size_t i = 0; i < params->count; i++)
        banyan_buf_release(&params->memory[i]);
}

/* ---- questions ---- */

static enum banyan_status view_checkpoint(struct sink_view *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    const struct question question = {.order = ""};
    return ask((struct postgres_view *)base, &question, ret, err);
}

static void select_get(const struct sink_sql *sql, const void *about, struct banyan_buf *ret)
{
    sink_sql_get(sql, ret);
}

static enum banyan_status view_get(struct sink_view *base, unsigned table, int64_t key,
                                   struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                   struct banyan_error *err)
{
    struct params params = {.count = 0};
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st != BANYAN_OK)
        return st;
    add_int(&params, key);
    const struct question question = {
        &base->projection->tables[table], table, select_get, NULL, "", &params, fn, context};
    st = ask((struct postgres_view *)base, &question, ret_checkpoint, err);
    release_params(&params);
    return st;
}

static void select_list(const struct sink_sql *sql, const void *about, struct banyan_buf *ret)
{
    const struct sink_list *query = about;
    sink_sql_list(sql, query->index, sink_sql_list_form(query), ret);
}

static void add_order(const struct banyan_table *table, const char *first, struct banyan_buf *ret)
{
    banyan_buf_printf(ret, " ORDER BY %s", first);
    banyan_buf_add_text(ret, "t.");
    pg_add_identifier(ret, banyan_str_of(table->key_column));
    banyan_buf_add_text(ret, " DESC");
}

static enum banyan_status view_list(struct sink_view *base, const struct sink_list *query,
                                    struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                    struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_buf first = BANYAN_BUF_INIT(4096), order = BANYAN_BUF_INIT(8192);
    struct params params = {.count = 0};
    const void *value = NULL;
    enum banyan_status st = sink_list_value(base->projection, query, &arena, &value, err);
    if (st == BANYAN_OK) {
        const struct banyan_table *table = &base->projection->tables[query->table];
        add_param(&params, banyan_record_field(table->row, banyan_str_of(query->index->equal)), value);
        add_time(&params, query->from);
        add_time(&params, query->to);
        if (query->after) {
            add_time(&params, query->after_range);
            add_int(&params, query->after_key);
        }
        add_int(&params, query->limit > INT64_MAX ? INT64_MAX : (int64_t)query->limit);
        banyan_buf_add_text(&first, "t.");
        pg_add_identifier(&first, banyan_str_of(query->index->range));
        banyan_buf_add_text(&first, " DESC NULLS LAST, ");
        add_order(table, first.data, &order);
        const struct question question = {table, query->table, select_list, query, order.data, &params, fn, context};
        st = ask((struct postgres_view *)base, &question, ret_checkpoint, err);
    }
    release_params(&params);
    banyan_buf_release(&first);
    banyan_buf_release(&order);
    banyan_arena_release(&arena);
    return st;
}

struct searching {
    const struct sink_search *query;
    const struct sink_search_plan *plan;
};

static void select_search(const struct sink_sql *sql, const void *about, struct banyan_buf *ret)
{
    const struct searching *searching = about;
    sink_sql_search(sql, searching->query, searching->plan, ret);
}

static void fill_search(const struct sink_search *query, const struct sink_search_plan *plan, struct params *ret)
{
    static const struct sink_sql dialect = {.dialect = SINK_SQL_POSTGRES};
    if (plan->words.count > 0) {
        struct banyan_buf *memory = &ret->memory[ret->count];
        *memory = (struct banyan_buf)BANYAN_BUF_INIT(POSTGRES_VALUE_MAX);
        sink_sql_words(&dialect, plan, memory);
        ret->params[ret->count++] = postgres_text(banyan_buf_str(memory));
    }
    for (size_t i = 0; i < plan->equal_count; i++)
        add_param(ret, plan->equal[i], plan->values);
    if (plan->range != NULL) {
        add_time(ret, query->from);
        add_time(ret, query->to);
    }
    add_int(ret, query->limit > INT64_MAX ? INT64_MAX : (int64_t)query->limit);
    add_int(ret, (int64_t)query->skip);
}

static enum banyan_status view_search(struct sink_view *base, const struct sink_search *query,
                                      struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                      struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_buf order = BANYAN_BUF_INIT(8192);
    struct params params = {.count = 0};
    struct sink_search_plan plan;
    enum banyan_status st = sink_search_plan(base->projection, query, &arena, &plan, err);
    if (st == BANYAN_OK && plan.empty) {
        st = view_checkpoint(base, ret_checkpoint, err);
    } else if (st == BANYAN_OK) {
        const struct searching searching = {query, &plan};
        fill_search(query, &plan, &params);
        add_order(plan.table, "t.banyan_rank, ", &order);
        const struct question question = {plan.table, query->table, select_search, &searching, order.data,
                                          &params,    fn,           context};
        st = ask((struct postgres_view *)base, &question, ret_checkpoint, err);
    }
    release_params(&params);
    banyan_buf_release(&order);
    banyan_arena_release(&arena);
    return st;
}

/* ---- transactions ---- */

/* Begin one that sees one instant, on the generation that serves then; *locks*: nobody drops it until the end. */
static enum banyan_status begin_once(struct postgres_view *view, bool locks, struct sink_checkpoint *ret,
                                     struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX), name = BANYAN_BUF_INIT(4096);
    enum banyan_status st = use(view, err);
    for (int looks = 0; st == BANYAN_OK; looks++) {
        struct banyan_error problem = BANYAN_ERROR_INIT;
        st = pg_run(view->conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);
        if (st == BANYAN_OK)
            st = look(view, ret, err);
        if (st != BANYAN_OK || !locks)
            break;
        banyan_buf_reset(&sql);
        for (unsigned i = 0; i < view->base.projection->table_count; i++) {
            struct sink_sql table = postgres_sql(&view->place, i, view->generation, &name);
            banyan_buf_add_text(&sql, "LOCK TABLE ");
            sink_sql_add_table(&table, &sql);
            banyan_buf_add_text(&sql, " IN ACCESS SHARE MODE;");
        }
        st = pg_run(view->conn, sql.data, &problem);
        if (st == BANYAN_TABLE && looks < LOOKS_MAX) { /* dropped meanwhile */
            st = pg_run(view->conn, "ROLLBACK", err);
            continue;
        }
        if (st != BANYAN_OK && err != NULL && err->status == BANYAN_OK)
            *err = problem;
        break;
    }
    banyan_buf_release(&name);
    banyan_buf_release(&sql);
    return done(view, st);
}

static enum banyan_status begin(struct postgres_view *view, bool locks, struct sink_checkpoint *ret,
                                struct banyan_error *err)
{
    struct banyan_error problem = BANYAN_ERROR_INIT;
    bool rested = view->conn != NULL;
    enum banyan_status st = begin_once(view, locks, ret, &problem);
    if (ask_again(view, rested, st)) {
        banyan_error_clear(&problem);
        st = begin_once(view, locks, ret, &problem);
    }
    if (st != BANYAN_OK && err != NULL && err->status == BANYAN_OK)
        *err = problem;
    return st;
}

static void view_end(struct sink_view *base)
{
    struct postgres_view *view = (struct postgres_view *)base;
    if (view->held && view->conn != NULL)
        (void)done(view, pg_run(view->conn, "COMMIT", NULL)); /* it only read; the next question tells what is wrong */
    view->held = false;
}

static enum banyan_status view_begin(struct sink_view *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct postgres_view *view = (struct postgres_view *)base;
    enum banyan_status st = begin(view, true, ret, err);
    view->held = st == BANYAN_OK;
    return st;
}

static void add_range(struct postgres_view *view, unsigned table, int64_t lo, int64_t hi, struct banyan_buf *ret)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    struct sink_sql sql = postgres_sql(&view->place, table, view->generation, &name);
    /* COPY takes no parameters. */
    banyan_buf_add_text(ret, "SELECT ");
    sink_sql_add_columns(&sql, ret);
    banyan_buf_add_text(ret, " FROM ");
    sink_sql_add_table(&sql, ret);
    banyan_buf_add_text(ret, " WHERE ");
    pg_add_identifier(ret, banyan_str_of(sql.table->key_column));
    banyan_buf_printf(ret, " BETWEEN '%lld' AND '%lld' ORDER BY ", (long long)lo,
                      (long long)(hi == INT64_MAX ? hi : hi - 1));
    pg_add_identifier(ret, banyan_str_of(sql.table->key_column));
    banyan_buf_release(&name);
}

static enum banyan_status copy_rows(struct postgres_view *view, unsigned table, int64_t lo, int64_t hi, sink_row_fn fn,
                                    void *context, struct banyan_error *err)
{
    const struct banyan_table *about = &view->base.projection->tables[table];
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    uint32_t oids[BANYAN_FIELDS_MAX];
    void *row = banyan_arena_zalloc(&arena, about->row->size);
    struct pg_copy_out copy;
    postgres_oids(about->row, oids);
    add_range(view, table, lo, hi, &sql);
    enum banyan_status st = pg_copy_out_begin(&copy, view->conn, sql.data, about->row, oids, err);
    if (st == BANYAN_OK) {
        while ((st = pg_copy_out_row(&copy, NULL, row, err)) == BANYAN_OK)
            if ((st = fn(context, sink_key_of(about, row), row, err)) != BANYAN_OK)
                break;
        pg_copy_out_end(&copy);
    }
    banyan_buf_release(&sql);
    banyan_arena_release(&arena);
    return st == BANYAN_NOT_FOUND ? BANYAN_OK : st;
}

static enum banyan_status view_range(struct sink_view *base, unsigned table, int64_t lo, int64_t hi,
                                     struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                     struct banyan_error *err)
{
    struct postgres_view *view = (struct postgres_view *)base;
    bool own = !view->held;
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st != BANYAN_OK)
        return st;
    st = own ? begin(view, true, ret_checkpoint, err) : view_checkpoint(base, ret_checkpoint, err);
    if (st != BANYAN_OK)
        return st;
    if (hi > lo)
        st = copy_rows(view, table, lo, hi, fn, context, err);
    if (st == BANYAN_OK && own)
        st = pg_run(view->conn, "COMMIT", err);
    return done(view, st);
}

static enum banyan_status view_asides(struct sink_view *base, struct banyan_arena *arena, struct sink_aside **ret,
                                      size_t *ret_count, struct banyan_error *err)
{
    struct postgres_view *view = (struct postgres_view *)base;
    struct sink_checkpoint checkpoint;
    bool own = !view->held;
    enum banyan_status st = own ? begin(view, false, &checkpoint, err) : view_checkpoint(base, &checkpoint, err);
    if (st == BANYAN_OK)
        st = postgres_asides(&view->place, view->conn, view->generation, arena, ret, ret_count, err);
    if (st == BANYAN_OK && own)
        st = pg_run(view->conn, "COMMIT", err);
    return done(view, st);
}

static void view_close(struct sink_view *base)
{
    struct postgres_view *view = (struct postgres_view *)base;
    pg_close(view->conn);
    postgres_place_release(&view->place);
    free(view);
}

static const struct sink_view_ops postgres_view_ops = {
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

struct sink_view *postgres_view_open(const struct postgres_place *place)
{
    struct postgres_view *view = alloc_zeroed(1, sizeof(*view));
    view->base = (struct sink_view){&postgres_view_ops, place->projection};
    view->place = postgres_place_copy(place);
    return &view->base;
}
