/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One generation of a read model in PostgreSQL: tables beside those of other generations and views.
 *
 * Invariants
 *   1. Checkpoint, rows and asides change together or not at all.  The generation's row is moved first and only where
 *      it carries our epoch: whoever moved it has it locked, so that a second writer cannot interleave.
 *   2. After any failure the connection is given up and the next call makes a new one: nothing of a transaction that
 *      failed can be left.
 *
 * A flush is a pipeline of statements over arrays: one round trip.  A large one has COPY bring its rows instead, which
 * is up to twice as fast from some thousand rows on.  A generation that is not sealed has no keys: loads bring rows by
 * COPY on connections of their own, and the first flush makes the keys (of what postgres_index.c made before).
 *
 * Commits are asynchronous (synchronous_commit = off) but for the first: after a crash of the server the newest flushes
 * may be missing whole, and the projection goes on from the checkpoint that is left.
 *
 * Threads: one a handle, but for loads and steps of indexes.
 */
#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"
#include "base/alloc.h"
#include "pg/copy.h"
#include "sink/postgres_place.h"
#include "sink/sink_value.h"

enum {
    COPY_ROWS = 2000, /* a flush of so many to one table brings them by COPY */
    LOAD_AHEAD = 8,   /* rows of a load: prefetching */
};

struct sink_postgres {
    struct sink base;
    struct postgres_place place;
    int64_t epoch; /* 0: not claimed */
    bool sealed;
    bool keyed[BANYAN_PROJECTION_TABLES_MAX]; /* the key's index is there, and not yet the key */
    struct pg_conn *conn;                     /* NULL: to be made */
    struct banyan_buf arrays[BANYAN_FIELDS_MAX];
};

struct sink_load {
    struct sink_postgres *sink;
    unsigned table;
    struct pg_conn *conn; /* its own */
    struct pg_copy_in copy;
    uint32_t oids[BANYAN_FIELDS_MAX];
};

static enum banyan_status use(struct sink_postgres *sink, struct banyan_error *err)
{
    if (sink->conn != NULL)
        return BANYAN_OK;
    enum banyan_status st = postgres_connect(&sink->place, false, &sink->conn, err);
    return st == BANYAN_OK ? pg_run(sink->conn, "SET synchronous_commit = off", err) : st;
}

/* Every operation ends here: invariant 2. */
static enum banyan_status done(struct sink_postgres *sink, enum banyan_status st)
{
    if (st != BANYAN_OK) {
        pg_close(sink->conn);
        sink->conn = NULL;
    }
    return st;
}

static void postgres_close(struct sink *base)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    pg_close(sink->conn);
    for (size_t i = 0; i < BANYAN_FIELDS_MAX; i++)
        banyan_buf_release(&sink->arrays[i]);
    postgres_place_release(&sink->place);
    free(sink);
}

/* ---- claim and checkpoint ---- */

static enum banyan_status read_checkpoint(struct sink_postgres *sink, struct sink_checkpoint *ret,
                                          struct banyan_error *err)
{
    char memory[POSTGRES_INT_MAX];
    struct pg_param params[] = {postgres_text(banyan_str_of(sink->place.view)),
                                postgres_int(sink->base.generation, memory)};
    struct pg_result *result = NULL;
    enum banyan_status st = postgres_exec(
        &sink->place, sink->conn, "SELECT position, at, lsn FROM @generation WHERE view = $1 AND number = $2::int",
        params, 2, &result, err);
    if (st == BANYAN_OK && pg_rows(result) == 0)
        st = sink_no_generation(sink->base.projection, sink->base.generation, err);
    if (st == BANYAN_OK)
        *ret = (struct sink_checkpoint){.position = {(uint64_t)pg_int(result, 0, 0)},
                                        .at = {pg_int(result, 0, 1)},
                                        .source_lsn = (uint64_t)pg_int(result, 0, 2),
                                        .generation = sink->base.generation};
    pg_result_free(result);
    return st;
}

static enum banyan_status postgres_checkpoint(struct sink *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    enum banyan_status st = use(sink, err);
    return done(sink, st == BANYAN_OK ? read_checkpoint(sink, ret, err) : st);
}

/* Whatever was loaded before is not worth keeping. */
static enum banyan_status begin_anew(struct sink_postgres *sink, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    banyan_buf_add_text(&sql, "SET LOCAL lock_timeout = '10s';");
    postgres_drop_tables(&sink->place, sink->base.generation, &sql);
    postgres_add_tables(&sink->place, sink->base.generation, &sql);
    enum banyan_status st = pg_run(sink->conn, sql.data, err);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status claim(struct sink_postgres *sink, int64_t *ret_epoch, bool *ret_sealed,
                                struct banyan_error *err)
{
    char memory[POSTGRES_INT_MAX];
    struct pg_param params[] = {postgres_text(banyan_str_of(sink->place.view)),
                                postgres_int(sink->base.generation, memory)};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_run(sink->conn, "BEGIN", err);
    if (st == BANYAN_OK)
        st = postgres_exec(&sink->place, sink->conn,
                           "UPDATE @generation SET epoch = epoch + 1 WHERE view = $1 AND number = $2::int RETURNING "
                           "epoch, sealed, form",
                           params, 2, &result, err);
    if (st == BANYAN_OK && pg_rows(result) == 0)
        st = sink_no_generation(sink->base.projection, sink->base.generation, err);
    if (st == BANYAN_OK) {
        *ret_epoch = pg_int(result, 0, 0);
        *ret_sealed = pg_bool(result, 0, 1);
        st = sink_form_check(sink->base.projection, sink->base.generation, pg_text(result, 0, 2).data, err);
        sink->base.ready = sink_form_mark(pg_text(result, 0, 2).data);
    }
    if (st == BANYAN_OK && !*ret_sealed)
        st = begin_anew(sink, err);
    pg_result_free(result);
    return st == BANYAN_OK ? pg_run(sink->conn, "COMMIT", err) : st;
}

static enum banyan_status postgres_claim(struct sink *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    int64_t epoch = 0;
    bool sealed = false;
    enum banyan_status st = use(sink, err);
    if (st == BANYAN_OK)
        st = claim(sink, &epoch, &sealed, err);
    if (st == BANYAN_OK)
        st = read_checkpoint(sink, ret, err);
    if (st == BANYAN_OK) {
        sink->epoch = epoch;
        sink->sealed = sealed;
        memset(sink->keyed, 0, sizeof(sink->keyed));
    }
    return done(sink, st);
}

/* ---- flush ---- */

/* One statement of a flush: at once, or in the pipeline. */
struct flushing {
    struct sink_postgres *sink;
    bool pipeline;
};

static enum banyan_status run(const struct flushing *how, const char *sql, const struct pg_param *params, size_t count,
                              struct banyan_error *err)
{
    return how->pipeline ? pg_pipeline_add(how->sink->conn, sql, params, count, err)
                         : pg_exec(how->sink->conn, sql, params, count, NULL, err);
}

/* Also the fence: dividing by the rows that carry our epoch fails where there is none, and with it all the rest. */
static enum banyan_status move_checkpoint(const struct flushing *how, const struct sink_checkpoint *checkpoint,
                                          struct banyan_error *err)
{
    struct sink_postgres *sink = how->sink;
    char memory[5][POSTGRES_INT_MAX];
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    struct pg_param params[] = {
        postgres_text(banyan_str_of(sink->place.view)), postgres_int(sink->base.generation, memory[0]),
        postgres_int(sink->epoch, memory[1]),           postgres_int((int64_t)checkpoint->position.value, memory[2]),
        postgres_int(checkpoint->at.us, memory[3]),     postgres_int((int64_t)checkpoint->source_lsn, memory[4])};
    postgres_add_sql(&sink->place,
                     "WITH moved AS (UPDATE @generation SET position = $4::bigint, at = $5::bigint, lsn = $6::bigint, "
                     "sealed = true WHERE view = $1 AND number = $2::int AND epoch = $3::bigint RETURNING 1) "
                     "SELECT 1 / count(*) FROM moved",
                     &sql);
    enum banyan_status st = run(how, sql.data, params, 6, err);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status fenced(const struct sink_postgres *sink, enum banyan_status st, struct banyan_error *err)
{
    static const char division_by_zero[] = "22012";
    if (st == BANYAN_OK || err == NULL || strcmp(err->sqlstate, division_by_zero) != 0)
        return st;
    banyan_error_clear(err);
    return sink_taken_over(sink->base.projection, sink->base.generation, err);
}

static enum banyan_status end_array(struct banyan_buf *array, size_t rows, struct banyan_error *err)
{
    banyan_buf_add_text(array, array->size == 0 ? "{}" : "}");
    return array->overflow ? banyan_error_set(err, BANYAN_LIMIT, "a flush of %zu rows is too large", rows) : BANYAN_OK;
}

static enum banyan_status delete_rows(const struct flushing *how, const struct sink_sql *table,
                                      const struct sink_row *rows, size_t count, struct banyan_error *err)
{
    struct banyan_buf *keys = &how->sink->arrays[0], sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    char memory[POSTGRES_INT_MAX];
    enum banyan_status st = BANYAN_OK;
    banyan_buf_reset(keys);
    for (size_t i = 0; i < count; i++)
        if (rows[i].row == NULL)
            postgres_add_element(keys, postgres_int(rows[i].key, memory).text, false);
    if (keys->size > 0) {
        st = end_array(keys, count, err);
        sink_sql_delete_many(table, &sql);
        struct pg_param param = postgres_text(banyan_buf_str(keys));
        if (st == BANYAN_OK)
            st = run(how, sql.data, &param, 1, err);
    }
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status write_arrays(const struct flushing *how, const struct sink_sql *table,
                                       const struct sink_row *rows, size_t count, struct banyan_error *err)
{
    const struct banyan_record *record = table->table->row;
    struct banyan_buf *arrays = how->sink->arrays, sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    struct pg_param params[BANYAN_FIELDS_MAX];
    enum banyan_status st = BANYAN_OK;
    size_t written = 0;
    for (size_t f = 0; f < record->field_count; f++)
        banyan_buf_reset(&arrays[f]);
    for (size_t i = 0; i < count; i++) {
        for (size_t f = 0; f < record->field_count && rows[i].row != NULL; f++)
            postgres_add_field(&arrays[f], &record->fields[f], rows[i].row);
        written += rows[i].row != NULL;
    }
    for (size_t f = 0; f < record->field_count && st == BANYAN_OK; f++) {
        st = end_array(&arrays[f], count, err);
        params[f] = postgres_text(banyan_buf_str(&arrays[f]));
    }
    sink_sql_write_many(table, &sql);
    if (st == BANYAN_OK && written > 0)
        st = run(how, sql.data, params, record->field_count, err);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status copy_incoming(struct sink_postgres *sink, const struct sink_sql *table,
                                        const struct sink_row *rows, size_t count, struct banyan_error *err)
{
    struct pg_copy_in copy;
    uint32_t oids[BANYAN_FIELDS_MAX];
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    postgres_oids(table->table->row, oids);
    sink_sql_add_incoming(table, &sql);
    enum banyan_status st = pg_copy_in_begin(&copy, sink->conn, sql.data, table->table->row, oids, err);
    banyan_buf_release(&sql);
    if (st != BANYAN_OK)
        return st;
    for (size_t i = 0; i < count && st == BANYAN_OK; i++)
        if (rows[i].row != NULL)
            st = pg_copy_in_row(&copy, rows[i].row, err);
    if (st == BANYAN_OK)
        return pg_copy_in_end(&copy, err);
    pg_copy_in_abort(&copy);
    return st;
}

/* Within a transaction: COPY into a temporary table, then its rows into ours. */
static enum banyan_status write_copied(struct sink_postgres *sink, const struct sink_sql *table,
                                       const struct sink_row *rows, size_t count, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    sink_sql_make_incoming(table, &sql);
    enum banyan_status st = pg_run(sink->conn, sql.data, err);
    if (st == BANYAN_OK)
        st = copy_incoming(sink, table, rows, count, err);
    banyan_buf_reset(&sql);
    sink_sql_merge_incoming(table, &sql);
    if (st == BANYAN_OK)
        st = pg_run(sink->conn, sql.data, err);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status write_rows(const struct flushing *how, const struct sink_flush *flush,
                                     struct banyan_error *err)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    enum banyan_status st = BANYAN_OK;
    for (size_t at = 0, end; at < flush->row_count && st == BANYAN_OK; at = end) {
        unsigned number = flush->rows[at].table;
        for (end = at; end < flush->row_count && flush->rows[end].table == number;)
            end++;
        struct sink_sql table = postgres_sql(&how->sink->place, number, how->sink->base.generation, &name);
        st = delete_rows(how, &table, flush->rows + at, end - at, err);
        if (st == BANYAN_OK)
            st = !how->pipeline && end - at >= COPY_ROWS
                     ? write_copied(how->sink, &table, flush->rows + at, end - at, err)
                     : write_arrays(how, &table, flush->rows + at, end - at, err);
    }
    banyan_buf_release(&name);
    return st;
}

static enum banyan_status write_aside(const struct flushing *how, const struct sink_aside *aside, bool put,
                                      struct banyan_error *err)
{
    const struct postgres_place *place = &how->sink->place;
    char memory[5][POSTGRES_INT_MAX];
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    struct pg_param params[] = {postgres_text(banyan_str_of(place->view)),
                                postgres_int(how->sink->base.generation, memory[0]),
                                postgres_text(aside->by_stream ? BANYAN_STR("t") : BANYAN_STR("f")),
                                postgres_int(aside->key, memory[1]),
                                postgres_text(aside->stream),
                                postgres_int((int64_t)aside->position.value, memory[2]),
                                postgres_int(aside->at.us, memory[3]),
                                postgres_int((int64_t)aside->held, memory[4]),
                                postgres_text(aside->reason)};
    postgres_add_sql(place,
                     put ? "INSERT INTO @aside (view, generation, by_stream, key, stream, position, at, held, reason) "
                           "VALUES ($1, $2::int, $3::boolean, $4::bigint, $5, $6::bigint, $7::bigint, $8::bigint, $9) "
                           "ON CONFLICT (view, generation, by_stream, key, stream) DO UPDATE SET position = "
                           "excluded.position, at = excluded.at, held = excluded.held, reason = excluded.reason"
                         : "DELETE FROM @aside WHERE view = $1 AND generation = $2::int AND by_stream = $3::boolean "
                           "AND key = $4::bigint AND stream = $5",
                     &sql);
    enum banyan_status st = run(how, sql.data, params, put ? 9 : 5, err);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status write_all(const struct flushing *how, const struct sink_flush *flush,
                                    struct banyan_error *err)
{
    enum banyan_status st = write_rows(how, flush, err);
    for (size_t i = 0; i < flush->released_count && st == BANYAN_OK; i++)
        st = write_aside(how, &flush->released[i], false, err);
    for (size_t i = 0; i < flush->aside_count && st == BANYAN_OK; i++)
        st = write_aside(how, &flush->asides[i], true, err);
    return st;
}

/* One round trip; between two syncs all is one transaction. */
static enum banyan_status flush_small(struct sink_postgres *sink, const struct sink_flush *flush,
                                      struct banyan_error *err)
{
    const struct flushing how = {sink, true};
    enum banyan_status st = pg_pipeline_begin(sink->conn, err);
    if (st == BANYAN_OK)
        st = move_checkpoint(&how, &flush->checkpoint, err);
    if (st == BANYAN_OK)
        st = write_all(&how, flush, err);
    return st == BANYAN_OK ? pg_pipeline_end(sink->conn, err) : st;
}

static enum banyan_status make_keys(struct sink_postgres *sink, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX), name = BANYAN_BUF_INIT(4096);
    banyan_buf_add_text(&sql, "SET LOCAL synchronous_commit = on;");
    postgres_add_sort_memory(&sql);
    for (unsigned i = 0; i < sink->base.projection->table_count; i++) {
        struct sink_sql table = postgres_sql(&sink->place, i, sink->base.generation, &name);
        if (sink->keyed[i])
            sink_sql_take_key_index(&table, &sql);
        else
            sink_sql_make_key(&table, &sql);
    }
    enum banyan_status st = pg_run(sink->conn, sql.data, err);
    banyan_buf_release(&name);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status flush_large(struct sink_postgres *sink, const struct sink_flush *flush,
                                      struct banyan_error *err)
{
    const struct flushing how = {sink, false};
    enum banyan_status st = pg_run(sink->conn, "BEGIN", err);
    if (st == BANYAN_OK)
        st = move_checkpoint(&how, &flush->checkpoint, err);
    if (st == BANYAN_OK && !sink->sealed)
        st = make_keys(sink, err);
    if (st == BANYAN_OK)
        st = write_all(&how, flush, err);
    if (st == BANYAN_OK)
        st = pg_run(sink->conn, "COMMIT", err);
    if (st == BANYAN_OK)
        sink->sealed = true;
    return st;
}

static enum banyan_status postgres_flush(struct sink *base, const struct sink_flush *flush, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    struct banyan_error problem = BANYAN_ERROR_INIT;
    enum banyan_status st = use(sink, &problem);
    if (st == BANYAN_OK)
        st = sink->sealed && flush->row_count < COPY_ROWS ? flush_small(sink, flush, &problem)
                                                          : flush_large(sink, flush, &problem);
    st = fenced(sink, st, &problem);
    if (st != BANYAN_OK && err != NULL && err->status == BANYAN_OK)
        *err = problem;
    for (size_t i = 0; i < BANYAN_FIELDS_MAX; i++)
        banyan_buf_reset(&sink->arrays[i]);
    return done(sink, st);
}

/* Has the table been looked at before?  From then on the server does it by itself. */
static enum banyan_status has_statistics(struct sink_postgres *sink, const struct sink_sql *table, bool *ret,
                                         struct banyan_error *err)
{
    struct pg_param params[] = {postgres_text(banyan_str_of(table->schema)), postgres_text(banyan_str_of(table->name))};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(
        sink->conn, "SELECT count(*) FROM pg_stats WHERE schemaname = $1 AND tablename = $2", params, 2, &result, err);
    if (st == BANYAN_OK)
        *ret = pg_int(result, 0, 0) > 0;
    pg_result_free(result);
    return st;
}

static enum banyan_status postgres_finish(struct sink *base, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX), name = BANYAN_BUF_INIT(4096);
    enum banyan_status st = use(sink, err);
    postgres_add_sort_memory(&sql);
    for (unsigned i = 0; i < base->projection->table_count && st == BANYAN_OK; i++) {
        struct sink_sql table = postgres_sql(&sink->place, i, base->generation, &name);
        bool known = false;
        st = has_statistics(sink, &table, &known, err);
        sink_sql_make_indexes(&table, &sql);
        sink_sql_make_search(&table, &sql);
        if (known)
            continue;
        banyan_buf_add_text(&sql, " ANALYZE ");
        sink_sql_add_table(&table, &sql);
        banyan_buf_add_char(&sql, ';');
    }
    if (st == BANYAN_OK)
        st = pg_run(sink->conn, sql.data, err);
    banyan_buf_release(&name);
    banyan_buf_release(&sql);
    return done(sink, st);
}

/* ---- read ---- */

static enum banyan_status sink_asides(struct sink *base, struct banyan_arena *arena, struct sink_aside **ret,
                                      size_t *ret_count, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    enum banyan_status st = use(sink, err);
    if (st == BANYAN_OK)
        st = postgres_asides(&sink->place, sink->conn, base->generation, arena, ret, ret_count, err);
    return done(sink, st);
}

static enum banyan_status postgres_get_many(struct sink *base, unsigned table, const int64_t *keys, size_t count,
                                            struct banyan_arena *arena, void **rows, bool *found,
                                            struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    struct banyan_buf *array = &sink->arrays[0], sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX), name = BANYAN_BUF_INIT(4096);
    struct pg_result *result = NULL;
    char memory[POSTGRES_INT_MAX];
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st != BANYAN_OK)
        return st;
    struct sink_sql about = postgres_sql(&sink->place, table, base->generation, &name);
    sink_sql_get_many(&about, &sql);
    banyan_buf_reset(array);
    for (size_t i = 0; i < count; i++) {
        postgres_add_element(array, postgres_int(keys[i], memory).text, false);
        found[i] = false;
    }
    st = end_array(array, count, err);
    struct pg_param param = postgres_text(banyan_buf_str(array));
    if (st == BANYAN_OK)
        st = use(sink, err);
    if (st == BANYAN_OK)
        st = pg_exec(sink->conn, sql.data, &param, 1, &result, err);
    for (size_t i = 0; st == BANYAN_OK && i < pg_rows(result); i++) {
        size_t place = (size_t)pg_int(result, i, 0) - 1;
        found[place] = true;
        st = postgres_row(about.table->row, result, i, 1, arena, rows[place], err);
    }
    pg_result_free(result);
    banyan_buf_reset(array);
    banyan_buf_release(&name);
    banyan_buf_release(&sql);
    return done(sink, st);
}

static enum banyan_status postgres_count(struct sink *base, unsigned table, uint64_t *ret, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX), name = BANYAN_BUF_INIT(4096);
    struct pg_result *result = NULL;
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st != BANYAN_OK)
        return st;
    struct sink_sql about = postgres_sql(&sink->place, table, base->generation, &name);
    banyan_buf_add_text(&sql, "SELECT count(*) FROM ");
    sink_sql_add_table(&about, &sql);
    st = use(sink, err);
    if (st == BANYAN_OK)
        st = pg_exec(sink->conn, sql.data, NULL, 0, &result, err);
    if (st == BANYAN_OK)
        *ret = (uint64_t)pg_int(result, 0, 0);
    pg_result_free(result);
    banyan_buf_release(&name);
    banyan_buf_release(&sql);
    return done(sink, st);
}

/* ---- load ---- */

/* Sorting texts for an index takes longer than all else, unless they come sorted.  What a page of a list shows then
 * also lies together; and a row that is updated moves to the end of the table in any case. */
static const struct banyan_view_index *postgres_load_order(const struct sink *base, unsigned table)
{
    const struct banyan_table *about = &base->projection->tables[table];
    for (size_t i = 0; i < about->index_count; i++)
        if (banyan_record_field(about->row, banyan_str_of(about->indexes[i].equal))->kind == BANYAN_FIELD_STRING)
            return &about->indexes[i];
    return about->index_count > 0 ? &about->indexes[0] : NULL;
}

static enum banyan_status begin_copy(struct sink_load *load, struct banyan_error *err)
{
    const struct sink_postgres *sink = load->sink;
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX), name = BANYAN_BUF_INIT(4096);
    struct sink_sql table = postgres_sql(&sink->place, load->table, sink->base.generation, &name);
    postgres_oids(table.table->row, load->oids);
    sink_sql_add_table(&table, &sql);
    banyan_buf_add_text(&sql, " (");
    sink_sql_add_columns(&table, &sql);
    banyan_buf_add_text(&sql, ")");
    enum banyan_status st = pg_run(load->conn, "SET synchronous_commit = off", err);
    if (st == BANYAN_OK)
        st = pg_copy_in_begin(&load->copy, load->conn, sql.data, table.table->row, load->oids, err);
    banyan_buf_release(&name);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status postgres_load_open(struct sink *base, unsigned table, struct sink_load **ret,
                                             struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    enum banyan_status st = sink_load_check(base, table, sink->sealed, err);
    if (st != BANYAN_OK)
        return st;
    struct sink_load *load = alloc_zeroed(1, sizeof(*load));
    load->sink = sink;
    load->table = table;
    st = postgres_connect(&sink->place, false, &load->conn, err);
    if (st == BANYAN_OK)
        st = begin_copy(load, err);
    if (st != BANYAN_OK) {
        pg_close(load->conn);
        free(load);
        return st;
    }
    *ret = load;
    return BANYAN_OK;
}

static enum banyan_status postgres_load_rows(struct sink_load *load, const struct sink_row *rows, size_t count,
                                             struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        if (i + LOAD_AHEAD < count) { /* they lie anywhere */
            __builtin_prefetch(rows[i + LOAD_AHEAD].row, 0, 1);
            __builtin_prefetch((const char *)rows[i + LOAD_AHEAD].row + 64, 0, 1);
        }
        if (rows[i].row != NULL)
            st = pg_copy_in_row(&load->copy, rows[i].row, err);
    }
    return st;
}

static enum banyan_status postgres_load_close(struct sink_load *load, bool commit, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    if (commit)
        st = pg_copy_in_end(&load->copy, err);
    else
        pg_copy_in_abort(&load->copy);
    pg_close(load->conn);
    free(load);
    return st;
}

/* ---- index ---- */

static unsigned postgres_steps(const struct sink *base, unsigned table)
{
    return postgres_index_steps(&((const struct sink_postgres *)base)->place, table);
}

static enum banyan_status postgres_step(struct sink *base, unsigned table, unsigned step, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    bool key = false;
    if (sink->sealed)
        return sink_is_sealed(base->projection, base->generation, err);
    enum banyan_status st = postgres_index_step(&sink->place, base->generation, table, step, &key, err);
    if (key)
        sink->keyed[table] = true;
    return st;
}

static const struct sink_ops postgres_ops = {
    .name = "postgres",
    .close = postgres_close,
    .claim = postgres_claim,
    .checkpoint = postgres_checkpoint,
    .flush = postgres_flush,
    .finish = postgres_finish,
    .asides = sink_asides,
    .get_many = postgres_get_many,
    .load_order = postgres_load_order,
    .load_open = postgres_load_open,
    .load_rows = postgres_load_rows,
    .load_close = postgres_load_close,
    .index_steps = postgres_steps,
    .index_step = postgres_step,
    .seal = postgres_flush,
    .count = postgres_count,
};

struct sink *postgres_sink_open(const struct postgres_place *place, uint32_t generation)
{
    struct sink_postgres *sink = alloc_zeroed(1, sizeof(*sink));
    sink->base = (struct sink){&postgres_ops, place->projection, generation};
    sink->place = postgres_place_copy(place);
    for (size_t i = 0; i < BANYAN_FIELDS_MAX; i++)
        sink->arrays[i].size_max = POSTGRES_VALUE_MAX;
    return &sink->base;
}
