/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of one chunk in memory.
 *
 * Invariants
 *   1. Once read, the rows of a table are in order: key first, so that the rows of one key are neighbours in each table
 *      and one walk over all tables merges them.
 *   2. Rows do not move once they are read: histories point to them.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "legacy/backfill_rows.h"
#include "pg/copy.h"

enum {
    BLOCK_ROWS = 512,
    ROWS_FIRST = 4096,
    SQL_BYTES_MAX = 256 * 1024,
};

void backfill_rows_init(struct backfill_rows *rows, const struct legacy_tables *source, struct banyan_arena *arena)
{
    *rows = (struct backfill_rows){.source = source, .arena = arena};
}

static void *row_new(struct backfill_rows *rows, struct backfill_table *table, size_t size)
{
    if (table->block_left == 0) {
        table->block = banyan_arena_alloc(rows->arena, BLOCK_ROWS * size);
        table->block_left = BLOCK_ROWS;
    }
    return table->block; /* taken by row_keep() */
}

static void row_keep(struct backfill_rows *rows, struct backfill_table *table, size_t size)
{
    if (table->count == table->capacity) {
        size_t capacity = table->capacity == 0 ? ROWS_FIRST : 2 * table->capacity;
        const void **larger = banyan_arena_alloc(rows->arena, capacity * sizeof(*larger));
        if (table->count > 0)
            memcpy(larger, table->rows, table->count * sizeof(*larger));
        table->rows = larger;
        table->capacity = capacity;
    }
    table->rows[table->count++] = table->block;
    rows->row_count++;
    table->block += size;
    table->block_left--;
}

static enum banyan_status too_many(const struct legacy_table *table, int64_t key, struct banyan_error *err)
{
    banyan_error_set(err, BANYAN_LIMIT, "table %s: key %" PRId64 " has more than %d rows", table->spec->name, key,
                     BACKFILL_KEY_ROWS_MAX);
    banyan_error_hint(err, "one key is one stream and is mapped at once; a key with so many rows is probably not one "
                           "aggregate");
    return BANYAN_LIMIT;
}

static enum banyan_status too_large(const struct legacy_table *table, struct banyan_error *err)
{
    banyan_error_set(err, BANYAN_LIMIT, "table %s: a chunk has more than %zu bytes of rows", table->spec->name,
                     BACKFILL_CHUNK_BYTES_MAX);
    banyan_error_hint(err, "set a smaller number of rows for a chunk");
    return BANYAN_LIMIT;
}

/* The limit of rows a key, over rows in order. */
static enum banyan_status check_keys(const struct backfill_table *table, const struct legacy_table *source,
                                     struct banyan_error *err)
{
    if (table->count <= BACKFILL_KEY_ROWS_MAX)
        return BANYAN_OK;
    for (size_t i = BACKFILL_KEY_ROWS_MAX; i < table->count; i++) {
        int64_t key = legacy_table_key(source, table->rows[i]);
        if (key == legacy_table_key(source, table->rows[i - BACKFILL_KEY_ROWS_MAX]))
            return too_many(source, key, err);
    }
    return BANYAN_OK;
}

static enum banyan_status read_copy(struct backfill_rows *rows, size_t at, struct pg_copy_out *copy,
                                    struct banyan_error *err)
{
    const struct legacy_table *source = &rows->source->tables[at];
    struct backfill_table *table = &rows->tables[at];
    size_t size = (source->spec->row->size + 15) & ~(size_t)15;
    for (;;) {
        void *row = row_new(rows, table, size);
        enum banyan_status status = pg_copy_out_row(copy, rows->arena, row, err);
        if (status != BANYAN_OK)
            return status == BANYAN_NOT_FOUND ? BANYAN_OK : status;
        row_keep(rows, table, size);
        if (rows->arena->bytes > BACKFILL_CHUNK_BYTES_MAX)
            return too_large(source, err);
    }
}

/* Sorting the children here takes a quarter of the server's work away: it would sort wide rows, we sort pointers, and
 * by a radix.  The root comes in the order of its unique index anyway. */
enum banyan_status backfill_rows_read(struct backfill_rows *rows, size_t at, struct pg_conn *conn, int64_t lo,
                                      int64_t hi, struct banyan_error *err)
{
    const struct legacy_table *source = &rows->source->tables[at];
    struct backfill_table *table = &rows->tables[at];
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_BYTES_MAX);
    bool sorted_here = at > 0 && backfill_rows_sortable(source->spec);
    struct pg_copy_out copy;
    if (sorted_here)
        legacy_tables_select_unordered(source, lo, hi, &sql);
    else
        legacy_tables_select(source, lo, hi, &sql);
    assert(!sql.overflow);
    enum banyan_status status = pg_copy_out_begin(&copy, conn, sql.data, source->spec->row, source->column_oids, err);
    banyan_buf_release(&sql);
    if (status != BANYAN_OK)
        return status;
    status = read_copy(rows, at, &copy, err);
    pg_copy_out_end(&copy);
    if (status == BANYAN_OK && sorted_here)
        backfill_rows_sort(source, table->rows, table->count, rows->arena);
    return status == BANYAN_OK ? check_keys(table, source, err) : status;
}

/* Behind the rows of *key*, which begin at table->next. */
static size_t end_of_key(const struct backfill_table *table, const struct legacy_table *source, int64_t key)
{
    size_t end = table->next;
    while (end < table->count && legacy_table_key(source, table->rows[end]) == key)
        end++;
    return end;
}

bool backfill_rows_next(struct backfill_rows *rows, struct banyan_history *ret)
{
    bool any = false;
    int64_t key = 0;
    for (size_t i = 0; i < rows->source->count; i++) {
        const struct backfill_table *table = &rows->tables[i];
        if (table->next == table->count)
            continue;
        int64_t first = legacy_table_key(&rows->source->tables[i], table->rows[table->next]);
        if (!any || first < key)
            key = first;
        any = true;
    }
    *ret = (struct banyan_history){.key = key};
    for (size_t i = 0; any && i < rows->source->count; i++) {
        struct backfill_table *table = &rows->tables[i];
        size_t end = end_of_key(table, &rows->source->tables[i], key);
        if (i == 0 && end > table->next) {
            assert(end == table->next + 1); /* the key is unique: legacy_tables_resolve() has seen to it */
            ret->root = table->rows[table->next];
        } else if (i > 0) {
            ret->rows[i] = table->rows + table->next;
            ret->row_count[i] = end - table->next;
        }
        table->next = end;
    }
    return any;
}
