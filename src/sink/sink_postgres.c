/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read model in PostgreSQL: a table in a schema of ours, beside those of other views.
 *
 * Invariants
 *   1. Checkpoint, rows and streams put aside change together or not at all.  The checkpoint row is moved first and
 * only where it carries our epoch: whoever moved it has it locked, so that a second writer cannot interleave.
 *   2. A list or a range reads rows and checkpoint in one REPEATABLE READ transaction.
 *   3. After any failure the connection is given up and the next call makes a new one: nothing of a transaction that
 *      failed can be left.
 *
 * A flush is one statement over arrays: one round trip.  A large one has COPY bring its rows instead, which is up to
 * twice as fast from some thousand rows on.
 *
 * Commits are asynchronous (synchronous_commit = off): after a crash of the server the newest flushes may be missing
 * whole, and the projection goes on from the checkpoint that is left.
 *
 * Threads: one a handle; sink_ops.reader may be called by any.
 */
#include <stdlib.h>
#include <string.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/record.h"
#include "base/alloc.h"
#include "pg/conn.h"
#include "pg/copy.h"
#include "sink/sink_sql.h"
#include "sink/sinks.h"

enum {
    PARAMETERS_MAX = SINK_SQL_FLUSH_COLUMNS_AT + BANYAN_FIELDS_MAX,
    ARRAY_BYTES_MAX = 1000 * 1000 * 1000, /* PostgreSQL takes no value above 1 GB */
    INT_TEXT_MAX = 24,
    COPY_ROWS = 2000,                            /* a flush of so many brings its rows by COPY */
    READER_CONNECT_TIMEOUT_US = 2 * 1000 * 1000, /* somebody waits for the answer */
};

struct sink_postgres {
    struct sink base;
    struct sink_sql sql;
    char *conninfo, *schema;
    bool reading; /* a reader: no flush */
    int64_t epoch;
    uint32_t oids[BANYAN_FIELDS_MAX]; /* of the columns: we made them */
    struct pg_conn *conn;             /* NULL: to be made */
    struct banyan_buf text;           /* of the statement at hand */
    struct banyan_buf arrays[PARAMETERS_MAX];
};

static uint32_t oid_of(enum banyan_field_kind kind)
{
    static const uint32_t oids[] = {0, 25, 20, 16, 1184, 1700}; /* text, bigint, boolean, timestamptz, numeric */
    return oids[kind];
}

/* ---- connections ---- */

static enum banyan_status connect_sink(struct sink_postgres *sink, struct banyan_error *err)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    if (sink->conn != NULL)
        return BANYAN_OK;
    banyan_buf_printf(&name, "banyan view %s", sink->base.projection->name);
    enum banyan_status st =
        pg_connect(&(struct pg_options){.conninfo = sink->conninfo,
                                        .application_name = name.data,
                                        .connect_timeout_us = sink->reading ? READER_CONNECT_TIMEOUT_US : 0},
                   &sink->conn, err);
    banyan_buf_release(&name);
    if (st == BANYAN_OK && !sink->reading)
        st = pg_run(sink->conn, "SET synchronous_commit = off", err);
    return st;
}

/* Every operation ends here: invariant 3. */
static enum banyan_status done(struct sink_postgres *sink, enum banyan_status st)
{
    if (st != BANYAN_OK && st != BANYAN_NOT_FOUND) {
        pg_close(sink->conn);
        sink->conn = NULL;
    }
    return st;
}

static struct banyan_buf *fresh_text(struct sink_postgres *sink)
{
    banyan_buf_reset(&sink->text);
    return &sink->text;
}

static struct pg_param text_param(struct banyan_str text)
{
    return (struct pg_param){text};
}

static struct pg_param name_param(const struct sink_postgres *sink)
{
    return text_param(banyan_str_of(sink->base.projection->name));
}

static struct pg_param int_param(int64_t value, char memory[INT_TEXT_MAX])
{
    static const struct banyan_field field = {.name = "int", .kind = BANYAN_FIELD_INT};
    struct banyan_buf text = BANYAN_BUF_INIT(INT_TEXT_MAX);
    banyan_field_text(&field, &value, &text);
    memcpy(memory, text.data, text.size);
    struct pg_param param = {{memory, text.size}};
    banyan_buf_release(&text);
    return param;
}

static void postgres_close(struct sink *base)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    pg_close(sink->conn);
    banyan_buf_release(&sink->text);
    for (size_t i = 0; i < PARAMETERS_MAX; i++)
        banyan_buf_release(&sink->arrays[i]);
    free(sink->conninfo);
    free(sink->schema);
    free(sink);
}

static const struct sink_ops postgres_ops;

static enum banyan_status open_handle(const struct banyan_projection *projection, const char *conninfo,
                                      const char *schema, bool reading, struct sink **ret, struct banyan_error *err)
{
    struct sink_postgres *sink = alloc_zeroed(1, sizeof(*sink));
    sink->base.ops = &postgres_ops;
    sink->base.projection = projection;
    sink->conninfo = conninfo == NULL ? NULL : alloc_text(conninfo);
    sink->schema = alloc_text(schema == NULL ? "banyan" : schema);
    sink->sql = (struct sink_sql){.dialect = SINK_SQL_POSTGRES, .schema = sink->schema, .projection = projection};
    sink->reading = reading;
    sink->text.size_max = SINK_SQL_BYTES_MAX;
    for (size_t i = 0; i < PARAMETERS_MAX; i++)
        sink->arrays[i].size_max = ARRAY_BYTES_MAX;
    for (size_t i = 0; i < projection->tables[0].row->field_count; i++)
        sink->oids[i] = oid_of(projection->tables[0].row->fields[i].kind);
    enum banyan_status st = connect_sink(sink, err);
    if (st != BANYAN_OK) {
        postgres_close(&sink->base);
        return st;
    }
    *ret = &sink->base;
    return BANYAN_OK;
}

enum banyan_status sink_postgres_open(const struct banyan_projection *projection, const char *conninfo,
                                      const char *schema, struct sink **ret, struct banyan_error *err)
{
    enum banyan_status st = sink_sql_check(projection, err);
    return st == BANYAN_OK ? open_handle(projection, conninfo, schema, false, ret, err) : st;
}

static enum banyan_status postgres_reader(struct sink *base, struct sink **ret, struct banyan_error *err)
{
    const struct sink_postgres *sink = (const struct sink_postgres *)base;
    return open_handle(base->projection, sink->conninfo, sink->schema, true, ret, err);
}

/* ---- checkpoint ---- */

struct stored {
    struct sink_checkpoint checkpoint;
    int64_t epoch;
    bool same_form; /* made for this projection as it is */
};

static enum banyan_status read_stored(struct sink_postgres *sink, struct stored *ret, struct banyan_error *err)
{
    struct pg_param view = name_param(sink);
    struct pg_result *result = NULL;
    struct banyan_buf *sql = fresh_text(sink);
    sink_sql_checkpoint(&sink->sql, sql);
    enum banyan_status st = pg_exec(sink->conn, sql->data, &view, 1, &result, err);
    if (st != BANYAN_OK)
        return st;
    *ret = (struct stored){.epoch = 0};
    if (pg_rows(result) > 0) {
        struct banyan_buf form = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
        sink_sql_form(sink->base.projection, &form);
        ret->checkpoint.position.value = (uint64_t)pg_int(result, 0, 0);
        ret->checkpoint.at.us = pg_int(result, 0, 1);
        ret->checkpoint.source_lsn = (uint64_t)pg_int(result, 0, 2);
        ret->epoch = pg_int(result, 0, 3);
        ret->same_form = banyan_str_equal(pg_text(result, 0, 4), banyan_buf_str(&form));
        banyan_buf_release(&form);
    }
    pg_result_free(result);
    return BANYAN_OK;
}

static enum banyan_status postgres_checkpoint(struct sink *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    struct stored stored;
    enum banyan_status st = connect_sink(sink, err);
    if (st == BANYAN_OK)
        st = read_stored(sink, &stored, err);
    if (st == BANYAN_OK)
        *ret = stored.checkpoint;
    return done(sink, st);
}

/* ---- start ---- */

/* The schema and the engine's tables.  A lock keeps views that start at the same time apart: CREATE … IF NOT EXISTS
 * alone does not.  An existing schema is not created, which would need a right on the database. */
static enum banyan_status make_engine_tables(struct sink_postgres *sink, struct banyan_error *err)
{
    struct pg_param schema = text_param(banyan_str_of(sink->schema));
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(
        sink->conn, "SELECT pg_advisory_xact_lock(hashtext('banyan views in ' || $1::text))", &schema, 1, NULL, err);
    if (st == BANYAN_OK)
        st = pg_exec(sink->conn, "SELECT FROM pg_namespace WHERE nspname = $1::text", &schema, 1, &result, err);
    if (st != BANYAN_OK)
        return st;
    bool missing = pg_rows(result) == 0;
    pg_result_free(result);
    struct banyan_buf *sql = fresh_text(sink);
    if (missing) {
        banyan_buf_add_text(sql, "CREATE SCHEMA ");
        pg_add_identifier(sql, banyan_str_of(sink->schema));
        banyan_buf_add_text(sql, ";");
    }
    sink_sql_make_engine_tables(&sink->sql, sql);
    return pg_run(sink->conn, sql->data, err);
}

static enum banyan_status claim(struct sink_postgres *sink, const struct stored *stored, struct banyan_error *err)
{
    char memory[4][INT_TEXT_MAX];
    struct banyan_buf form = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
    sink_sql_form(sink->base.projection, &form);
    struct pg_param params[] = {name_param(sink),
                                int_param(stored->epoch + 1, memory[0]),
                                text_param(banyan_buf_str(&form)),
                                int_param((int64_t)stored->checkpoint.position.value, memory[1]),
                                int_param(stored->checkpoint.at.us, memory[2]),
                                int_param((int64_t)stored->checkpoint.source_lsn, memory[3])};
    struct banyan_buf *sql = fresh_text(sink);
    sink_sql_claim(&sink->sql, sql);
    enum banyan_status st = pg_exec(sink->conn, sql->data, params, 6, NULL, err);
    banyan_buf_release(&form);
    if (st == BANYAN_OK)
        sink->epoch = stored->epoch + 1;
    return st;
}

/* Within one transaction; the lock of make_engine_tables() keeps a second claimer out until its end. */
static enum banyan_status make_and_claim(struct sink_postgres *sink, struct stored *stored, struct banyan_error *err)
{
    enum banyan_status st = make_engine_tables(sink, err);
    if (st == BANYAN_OK)
        st = read_stored(sink, stored, err);
    if (st == BANYAN_OK && !stored->same_form) {
        struct banyan_buf *sql = fresh_text(sink);
        sink_sql_make_view(&sink->sql, sql);
        st = pg_run(sink->conn, sql->data, err);
        stored->checkpoint = (struct sink_checkpoint){.source_lsn = 0};
    }
    return st == BANYAN_OK ? claim(sink, stored, err) : st;
}

static enum banyan_status postgres_start(struct sink *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    struct stored stored;
    enum banyan_status st = connect_sink(sink, err);
    if (st == BANYAN_OK)
        st = pg_run(sink->conn, "BEGIN", err);
    if (st == BANYAN_OK)
        st = make_and_claim(sink, &stored, err);
    if (st == BANYAN_OK)
        st = pg_run(sink->conn, "COMMIT", err);
    if (st == BANYAN_OK)
        *ret = stored.checkpoint;
    else
        banyan_error_context(err, "view %s in schema %s", base->projection->name, sink->schema);
    return done(sink, st);
}

static enum banyan_status postgres_finish(struct sink *base, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    enum banyan_status st = connect_sink(sink, err);
    if (st != BANYAN_OK)
        return done(sink, st);
    struct banyan_buf *sql = fresh_text(sink);
    sink_sql_make_indexes(&sink->sql, sql);
    banyan_buf_add_text(sql, " ANALYZE ");
    sink_sql_add_table(&sink->sql, base->projection->name, sql);
    return done(sink, pg_run(sink->conn, sql->data, err));
}

/* ---- flush ---- */

/* Add one element to an array in its text form; every text is quoted, so that none is taken for NULL. */
static void add_element(struct banyan_buf *array, struct banyan_str text, bool quoted)
{
    banyan_buf_add_char(array, array->size == 0 ? '{' : ',');
    if (text.data == NULL) {
        banyan_buf_add_text(array, "NULL");
        return;
    }
    if (!quoted) {
        banyan_buf_add_str(array, text);
        return;
    }
    banyan_buf_add_char(array, '"');
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] == '"' || text.data[i] == '\\') {
            banyan_buf_add(array, text.data + from, i - from);
            banyan_buf_add_char(array, '\\');
            from = i;
        }
    banyan_buf_add(array, text.data + from, text.size - from);
    banyan_buf_add_char(array, '"');
}

static bool has_value(const struct banyan_field *field, const void *value)
{
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        return ((const struct banyan_str *)value)->data != NULL;
    case BANYAN_FIELD_TIME:
        return ((const struct banyan_time *)value)->us != BANYAN_TIME_NULL;
    case BANYAN_FIELD_DECIMAL:
        return !banyan_decimal_is_null(*(const struct banyan_decimal *)value);
    default:
        return true;
    }
}

static void add_field(struct banyan_buf *array, const struct banyan_field *field, const void *row)
{
    const void *value = (const char *)row + field->offset;
    if (field->kind == BANYAN_FIELD_STRING || !has_value(field, value)) {
        bool string = field->kind == BANYAN_FIELD_STRING;
        add_element(array, string ? *(const struct banyan_str *)value : (struct banyan_str){NULL, 0}, true);
        return;
    }
    banyan_buf_add_char(array, array->size == 0 ? '{' : ',');
    if (field->kind == BANYAN_FIELD_TIME)
        banyan_buf_add_char(array, '"');
    banyan_field_text(field, row, array);
    if (field->kind == BANYAN_FIELD_TIME)
        banyan_buf_add_char(array, '"');
}

/* *with_rows*: those to write, too, not only the keys to delete. */
static void fill_arrays(struct sink_postgres *sink, const struct sink_flush *flush, bool with_rows)
{
    const struct banyan_record *record = sink->base.projection->tables[0].row;
    char memory[INT_TEXT_MAX];
    for (size_t i = 0; i < flush->aside_count; i++) {
        add_element(&sink->arrays[5], flush->asides[i].stream, true);
        add_element(&sink->arrays[6], int_param((int64_t)flush->asides[i].position.value, memory).text, false);
        add_element(&sink->arrays[7], flush->asides[i].reason, true);
    }
    for (size_t i = 0; i < flush->row_count; i++) {
        const struct sink_row *row = &flush->rows[i];
        if (row->row == NULL) {
            add_element(&sink->arrays[8], int_param(row->key, memory).text, false);
            continue;
        }
        for (size_t f = 0; f < record->field_count && with_rows; f++)
            add_field(&sink->arrays[SINK_SQL_FLUSH_COLUMNS_AT + f], &record->fields[f], row->row);
    }
}

static enum banyan_status run_flush(struct sink_postgres *sink, const struct sink_flush *flush, bool with_rows,
                                    struct banyan_error *err)
{
    char memory[4][INT_TEXT_MAX];
    size_t count = SINK_SQL_FLUSH_COLUMNS_AT + sink->base.projection->tables[0].row->field_count;
    struct pg_param params[PARAMETERS_MAX] = {name_param(sink), int_param(sink->epoch, memory[0]),
                                              int_param((int64_t)flush->checkpoint.position.value, memory[1]),
                                              int_param(flush->checkpoint.at.us, memory[2]),
                                              int_param((int64_t)flush->checkpoint.source_lsn, memory[3])};
    fill_arrays(sink, flush, with_rows);
    for (size_t i = 5; i < count; i++) {
        struct banyan_buf *array = &sink->arrays[i];
        banyan_buf_add_text(array, array->size == 0 ? "{}" : "}");
        if (array->overflow)
            return banyan_error_set(err, BANYAN_LIMIT, "a flush of %zu rows is too large", flush->row_count);
        params[i] = text_param(banyan_buf_str(array));
    }
    struct pg_result *result = NULL;
    struct banyan_buf *sql = fresh_text(sink);
    sink_sql_flush(&sink->sql, sql);
    enum banyan_status st = pg_exec(sink->conn, sql->data, params, count, &result, err);
    if (st == BANYAN_OK && pg_int(result, 0, 0) != 1)
        st = banyan_error_set(err, BANYAN_BROKEN, "%s: another process has taken view %s over", pg_describe(sink->conn),
                              sink->base.projection->name);
    pg_result_free(result);
    return st;
}

static enum banyan_status copy_incoming(struct sink_postgres *sink, const struct sink_flush *flush,
                                        struct banyan_error *err)
{
    struct pg_copy_in copy;
    struct banyan_buf *sql = fresh_text(sink);
    sink_sql_add_incoming(&sink->sql, sql);
    enum banyan_status st =
        pg_copy_in_begin(&copy, sink->conn, sql->data, sink->base.projection->tables[0].row, sink->oids, err);
    if (st != BANYAN_OK)
        return st;
    for (size_t i = 0; i < flush->row_count && st == BANYAN_OK; i++)
        if (flush->rows[i].row != NULL)
            st = pg_copy_in_row(&copy, flush->rows[i].row, err);
    if (st == BANYAN_OK)
        return pg_copy_in_end(&copy, err);
    pg_copy_in_abort(&copy);
    return st;
}

/* The same in one transaction of several statements: the first moves the checkpoint, and locks it. */
static enum banyan_status copy_flush(struct sink_postgres *sink, const struct sink_flush *flush,
                                     struct banyan_error *err)
{
    struct banyan_buf *sql = fresh_text(sink);
    banyan_buf_add_text(sql, "BEGIN; ");
    sink_sql_make_incoming(&sink->sql, sql);
    enum banyan_status st = pg_run(sink->conn, sql->data, err);
    if (st == BANYAN_OK)
        st = run_flush(sink, flush, false, err);
    if (st == BANYAN_OK)
        st = copy_incoming(sink, flush, err);
    if (st != BANYAN_OK)
        return st;
    sql = fresh_text(sink);
    sink_sql_merge_incoming(&sink->sql, sql);
    banyan_buf_add_text(sql, "; COMMIT");
    return pg_run(sink->conn, sql->data, err);
}

static enum banyan_status postgres_flush(struct sink *base, const struct sink_flush *flush, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    if (sink->reading)
        return banyan_error_set(err, BANYAN_INVALID, "view %s: this handle is for reading", base->projection->name);
    enum banyan_status st = connect_sink(sink, err);
    if (st == BANYAN_OK)
        st = flush->row_count < COPY_ROWS ? run_flush(sink, flush, true, err) : copy_flush(sink, flush, err);
    for (size_t i = 0; i < PARAMETERS_MAX; i++)
        banyan_buf_reset(&sink->arrays[i]);
    return done(sink, st);
}

/* ---- read ---- */

static enum banyan_status postgres_asides(struct sink *base, struct banyan_arena *arena, struct sink_aside **ret,
                                          size_t *ret_count, struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    struct pg_param view = name_param(sink);
    struct pg_result *result = NULL;
    enum banyan_status st = connect_sink(sink, err);
    if (st != BANYAN_OK)
        return done(sink, st);
    struct banyan_buf *sql = fresh_text(sink);
    sink_sql_asides(&sink->sql, sql);
    st = pg_exec(sink->conn, sql->data, &view, 1, &result, err);
    if (st != BANYAN_OK)
        return done(sink, st);
    size_t count = pg_rows(result);
    struct sink_aside *asides = banyan_arena_alloc(arena, (count + 1) * sizeof(*asides));
    for (size_t i = 0; i < count; i++)
        asides[i] = (struct sink_aside){banyan_arena_str(arena, pg_text(result, i, 0)),
                                        {(uint64_t)pg_int(result, i, 1)},
                                        banyan_arena_str(arena, pg_text(result, i, 2))};
    pg_result_free(result);
    *ret = asides;
    *ret_count = count;
    return BANYAN_OK;
}

/* Row *at* of a result whose columns begin at *column*; strings are copied to *arena*, or borrow where it is NULL. */
static enum banyan_status read_row(struct sink_postgres *sink, const struct pg_result *result, size_t at, size_t column,
                                   struct banyan_arena *arena, void *row, struct banyan_error *err)
{
    const struct banyan_record *record = sink->base.projection->tables[0].row;
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < record->field_count && st == BANYAN_OK; i++)
        st = pg_cell_parse(&record->fields[i], sink->oids[i], pg_text(result, at, column + i), arena, row, err);
    return st;
}

static enum banyan_status postgres_get_many(struct sink *base, const int64_t *keys, size_t count,
                                            struct banyan_arena *arena, void **rows, bool *found,
                                            struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    struct banyan_buf array = BANYAN_BUF_INIT(ARRAY_BYTES_MAX);
    struct pg_result *result = NULL;
    char memory[INT_TEXT_MAX];
    enum banyan_status st = connect_sink(sink, err);
    if (st != BANYAN_OK)
        goto out;
    for (size_t i = 0; i < count; i++) {
        add_element(&array, int_param(keys[i], memory).text, false);
        found[i] = false;
    }
    banyan_buf_add_text(&array, count == 0 ? "{}" : "}");
    struct pg_param param = text_param(banyan_buf_str(&array));
    struct banyan_buf *sql = fresh_text(sink);
    sink_sql_get_many(&sink->sql, sql);
    st = pg_exec(sink->conn, sql->data, &param, 1, &result, err);
    if (st != BANYAN_OK)
        goto out;
    for (size_t i = 0; i < pg_rows(result) && st == BANYAN_OK; i++) {
        size_t place = (size_t)pg_int(result, i, 0) - 1;
        found[place] = true;
        st = read_row(sink, result, i, 1, arena, rows[place], err);
    }
out:
    pg_result_free(result);
    banyan_buf_release(&array);
    return done(sink, st);
}

static enum banyan_status postgres_get(struct sink *base, int64_t key, struct banyan_arena *arena, void *ret_row,
                                       struct banyan_error *err)
{
    bool found = false;
    enum banyan_status st = postgres_get_many(base, &key, 1, arena, &ret_row, &found, err);
    return st == BANYAN_OK && !found ? BANYAN_NOT_FOUND : st;
}

/* Begin a transaction that sees one instant, and read the checkpoint in it. */
static enum banyan_status begin_read(struct sink_postgres *sink, struct stored *ret, struct banyan_error *err)
{
    enum banyan_status st = connect_sink(sink, err);
    if (st == BANYAN_OK)
        st = pg_run(sink->conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);
    return st == BANYAN_OK ? read_stored(sink, ret, err) : st;
}

static int64_t key_of(const struct banyan_projection *projection, const void *row)
{
    const struct banyan_field *key =
        banyan_record_field(projection->tables[0].row, banyan_str_of(projection->tables[0].key_column));
    return *(const int64_t *)((const char *)row + key->offset);
}

static void add_range(struct sink_postgres *sink, int64_t lo, int64_t hi, struct banyan_buf *ret)
{
    /* COPY takes no parameters. */
    banyan_buf_add_text(ret, "SELECT ");
    sink_sql_add_columns(&sink->sql, ret);
    banyan_buf_add_text(ret, " FROM ");
    sink_sql_add_table(&sink->sql, sink->base.projection->name, ret);
    banyan_buf_add_text(ret, " WHERE ");
    pg_add_identifier(ret, banyan_str_of(sink->base.projection->tables[0].key_column));
    banyan_buf_printf(ret, " BETWEEN '%lld' AND '%lld' ORDER BY ", (long long)lo,
                      (long long)(hi == INT64_MAX ? hi : hi - 1));
    pg_add_identifier(ret, banyan_str_of(sink->base.projection->tables[0].key_column));
}

static enum banyan_status copy_rows(struct sink_postgres *sink, int64_t lo, int64_t hi, sink_row_fn fn, void *context,
                                    struct banyan_error *err)
{
    const struct banyan_projection *projection = sink->base.projection;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    void *row = banyan_arena_zalloc(&arena, projection->tables[0].row->size);
    struct pg_copy_out copy;
    struct banyan_buf *sql = fresh_text(sink);
    add_range(sink, lo, hi, sql);
    enum banyan_status st = pg_copy_out_begin(&copy, sink->conn, sql->data, projection->tables[0].row, sink->oids, err);
    if (st == BANYAN_OK) {
        while ((st = pg_copy_out_row(&copy, NULL, row, err)) == BANYAN_OK)
            if ((st = fn(context, key_of(projection, row), row, err)) != BANYAN_OK)
                break;
        pg_copy_out_end(&copy);
    }
    banyan_arena_release(&arena);
    return st == BANYAN_NOT_FOUND ? BANYAN_OK : st;
}

static enum banyan_status postgres_range(struct sink *base, int64_t lo, int64_t hi,
                                         struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                         struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    struct stored stored;
    enum banyan_status st = begin_read(sink, &stored, err);
    if (st == BANYAN_OK && hi > lo)
        st = copy_rows(sink, lo, hi, fn, context, err);
    if (st == BANYAN_OK)
        st = pg_run(sink->conn, "COMMIT", err);
    if (st == BANYAN_OK)
        *ret_checkpoint = stored.checkpoint;
    return done(sink, st);
}

/* ---- lists ---- */

struct list_params {
    struct banyan_buf memory[6];
    struct pg_param params[6];
    size_t count;
};

static void add_param(struct list_params *list, const struct banyan_field *field, const void *row)
{
    struct banyan_buf *memory = &list->memory[list->count];
    *memory = (struct banyan_buf)BANYAN_BUF_INIT(ARRAY_BYTES_MAX);
    banyan_field_text(field, row, memory);
    list->params[list->count++] = text_param(banyan_buf_str(memory));
}

static void fill_list(const struct sink_list *query, const struct banyan_field *equal, const void *row,
                      struct list_params *ret)
{
    static const struct banyan_field time_field = {.name = "time", .kind = BANYAN_FIELD_TIME};
    static const struct banyan_field int_field = {.name = "int", .kind = BANYAN_FIELD_INT};
    unsigned form = sink_sql_list_form(query);
    int64_t limit = query->limit > INT64_MAX ? INT64_MAX : (int64_t)query->limit;
    add_param(ret, equal, row);
    if ((form & SINK_SQL_FROM) != 0)
        add_param(ret, &time_field, &query->from);
    if ((form & SINK_SQL_TO) != 0)
        add_param(ret, &time_field, &query->to);
    if ((form & SINK_SQL_AFTER) != 0)
        add_param(ret, &time_field, &query->after_range);
    if (query->after)
        add_param(ret, &int_field, &query->after_key);
    add_param(ret, &int_field, &limit);
}

static enum banyan_status read_list(struct sink_postgres *sink, const struct sink_list *query,
                                    const struct list_params *params, sink_row_fn fn, void *context,
                                    struct banyan_error *err)
{
    const struct banyan_projection *projection = sink->base.projection;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    void *row = banyan_arena_zalloc(&arena, projection->tables[0].row->size);
    struct pg_result *result = NULL;
    struct banyan_buf *sql = fresh_text(sink);
    sink_sql_list(&sink->sql, query->index, sink_sql_list_form(query), sql);
    enum banyan_status st = pg_exec(sink->conn, sql->data, params->params, params->count, &result, err);
    for (size_t i = 0; st == BANYAN_OK && i < pg_rows(result); i++) {
        st = read_row(sink, result, i, 0, NULL, row, err);
        if (st == BANYAN_OK)
            st = fn(context, key_of(projection, row), row, err);
    }
    pg_result_free(result);
    banyan_arena_release(&arena);
    return st;
}

static enum banyan_status postgres_list(struct sink *base, const struct sink_list *query,
                                        struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                        struct banyan_error *err)
{
    struct sink_postgres *sink = (struct sink_postgres *)base;
    const struct banyan_projection *projection = base->projection;
    const struct banyan_field *equal =
        banyan_record_field(projection->tables[0].row, banyan_str_of(query->index->equal));
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    void *row = banyan_arena_zalloc(&arena, projection->tables[0].row->size);
    struct list_params params = {.count = 0};
    struct stored stored;

    enum banyan_status st = sink_sql_parse(equal, query->equal, row, err);
    if (st != BANYAN_OK)
        goto out; /* the connection is as it was */
    fill_list(query, equal, row, &params);
    st = begin_read(sink, &stored, err);
    if (st == BANYAN_OK)
        st = read_list(sink, query, &params, fn, context, err);
    if (st == BANYAN_OK)
        st = pg_run(sink->conn, "COMMIT", err);
    if (st == BANYAN_OK)
        *ret_checkpoint = stored.checkpoint;
    st = done(sink, st);
out:
    for (size_t i = 0; i < params.count; i++)
        banyan_buf_release(&params.memory[i]);
    banyan_arena_release(&arena);
    return st;
}

static const struct sink_ops postgres_ops = {
    .name = "postgres",
    .close = postgres_close,
    .start = postgres_start,
    .flush = postgres_flush,
    .finish = postgres_finish,
    .asides = postgres_asides,
    .get = postgres_get,
    .get_many = postgres_get_many,
    .reader = postgres_reader,
    .list = postgres_list,
    .range = postgres_range,
    .checkpoint = postgres_checkpoint,
};
