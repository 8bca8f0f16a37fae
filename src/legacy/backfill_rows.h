/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of one chunk: read table by table, put in order, then walked key by key as histories. */
#ifndef LEGACY_BACKFILL_ROWS_H
#define LEGACY_BACKFILL_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "legacy/tables.h"
#include "pg/conn.h"

enum {
    BACKFILL_KEY_ROWS_MAX = 4 * 1000 * 1000, /* of one table */
};
#define BACKFILL_CHUNK_BYTES_MAX ((size_t)4 << 30)

struct backfill_table {
    const void **rows; /* in the arena, in the order of the query: by key */
    size_t count, capacity;
    size_t next; /* first row that was not walked */
    char *block; /* free rows */
    size_t block_left;
};

struct backfill_rows {
    const struct legacy_tables *source; /* borrowed */
    struct banyan_arena *arena;         /* borrowed; all rows and their strings */
    struct backfill_table tables[BANYAN_LEGACY_TABLES_MAX];
    size_t row_count; /* of all tables */
};

void backfill_rows_init(struct backfill_rows *rows, const struct legacy_tables *source, struct banyan_arena *arena);
/* All rows of table *table* with lo <= key < hi, in order.  LIMIT when one key has too many, or the chunk too many
 * bytes. */
BANYAN_MUST_CHECK enum banyan_status backfill_rows_read(struct backfill_rows *rows, size_t table, struct pg_conn *conn,
                                                        int64_t lo, int64_t hi, struct banyan_error *err);
/* Can rows of the table be sorted here as the server would?  Text cannot: its order is the server's collation. */
bool backfill_rows_sortable(const struct banyan_legacy_table *table);
/* Sort *count* rows by key and order columns, NULL last, as ORDER BY does.  Scratch memory from *arena*. */
void backfill_rows_sort(const struct legacy_table *table, const void **rows, size_t count, struct banyan_arena *arena);
/* The next key that has a row in any table; false at the end.  Borrowed until the arena is reset. */
bool backfill_rows_next(struct backfill_rows *rows, struct banyan_history *ret);

#endif
