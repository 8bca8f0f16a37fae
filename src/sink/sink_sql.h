/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQL that keeps a read model, made from the projection's record: the same for each SQL store but for types and
 * parameters.
 *
 *   kind      SQLite                        PostgreSQL
 *   STRING    TEXT                          text
 *   INT       INTEGER                       bigint
 *   BOOL      INTEGER (0, 1)                boolean
 *   TIME      INTEGER (µs since 1970, UTC)  timestamptz
 *   DECIMAL   TEXT (fixed scale, exact)     numeric
 *
 * What the engine itself keeps beside them is the business of each store.  Each statement's parameters come in the
 * order that its comment says.
 */
#ifndef SINK_SINK_SQL_H
#define SINK_SINK_SQL_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "banyan/record.h"
#include "projection/sink.h"
#include "sink/sink_value.h"

enum sink_sql_dialect {
    SINK_SQL_NONE = 0,
    SINK_SQL_SQLITE,
    SINK_SQL_POSTGRES,
};

/* One table. */
struct sink_sql {
    enum sink_sql_dialect dialect;
    const char *schema; /* NULL: none */
    const char *name;   /* of the table there */
    const struct banyan_table *table;
};

enum {
    SINK_SQL_BYTES_MAX = 256 * 1024,
    SINK_SQL_SEARCHED_MAX = 20000, /* characters of a text that PostgreSQL's search looks at */
    /* parts of a list */
    SINK_SQL_FROM = 1 << 0,
    SINK_SQL_TO = 1 << 1,
    SINK_SQL_AFTER = 1 << 2,      /* behind a row with a time */
    SINK_SQL_AFTER_NULL = 1 << 3, /* behind a row without */
    SINK_SQL_LIST_FORMS = 1 << 4,
};

#define SINK_SQL_WORDS "banyan_words" /* PostgreSQL: the column with the words of a row */

/* A name in the schema. */
void sink_sql_add_name(const struct sink_sql *sql, const char *name, struct banyan_buf *ret);
void sink_sql_add_table(const struct sink_sql *sql, struct banyan_buf *ret);
void sink_sql_make_table(const struct sink_sql *sql, struct banyan_buf *ret); /* PostgreSQL: without its key */
void sink_sql_make_key(const struct sink_sql *sql, struct banyan_buf *ret);   /* PostgreSQL */
/* PostgreSQL: the key in two steps.  The first takes the time, and may run beside others that make indexes.  Not where
 * its name could be that of a list, too (false). */
bool sink_sql_has_key_index(const struct sink_sql *sql);
void sink_sql_make_key_index(const struct sink_sql *sql, struct banyan_buf *ret);
void sink_sql_take_key_index(const struct sink_sql *sql, struct banyan_buf *ret);
/* Number *index* of the table's lists; idempotent. */
void sink_sql_make_index(const struct sink_sql *sql, size_t index, struct banyan_buf *ret);
/* Several statements, idempotent; nothing where the table has no lists. */
void sink_sql_make_indexes(const struct sink_sql *sql, struct banyan_buf *ret);
/* Several statements; nothing where the table has no search.  SQLite: not idempotent. */
void sink_sql_make_search(const struct sink_sql *sql, struct banyan_buf *ret);

/* All columns, quoted, with commas. */
void sink_sql_add_columns(const struct sink_sql *sql, struct banyan_buf *ret);
/* (a value for each column): insert, or update the columns of *fields*. */
void sink_sql_upsert(const struct sink_sql *sql, uint64_t fields, struct banyan_buf *ret);
void sink_sql_delete(const struct sink_sql *sql, struct banyan_buf *ret); /* (key) */
void sink_sql_get(const struct sink_sql *sql, struct banyan_buf *ret);    /* (key) */
void sink_sql_range(const struct sink_sql *sql, struct banyan_buf *ret);  /* (lowest, highest key), both inclusive */
/* (equal, [from,] [to,] [after time,] [after key,] limit), with the parts that *form* has. */
void sink_sql_list(const struct sink_sql *sql, const struct banyan_view_index *index, unsigned form,
                   struct banyan_buf *ret);
unsigned sink_sql_list_form(const struct sink_list *query);
/* ([words,] equal…, [from,] [to,] limit, skip); PostgreSQL: with banyan_rank as the last column. */
void sink_sql_search(const struct sink_sql *sql, const struct sink_search *search, const struct sink_search_plan *plan,
                     struct banyan_buf *ret);
/* The smaller the better; the words are parameter 1. */
void sink_sql_add_rank(const struct sink_sql *sql, const struct sink_search_plan *plan, struct banyan_buf *ret);
/* The value of its parameter: all words, in the language of FTS5 or of to_tsquery(). */
void sink_sql_words(const struct sink_sql *sql, const struct sink_search_plan *plan, struct banyan_buf *ret);

/* PostgreSQL only: (keys[]). */
void sink_sql_delete_many(const struct sink_sql *sql, struct banyan_buf *ret);
/* PostgreSQL only: (an array for each column): insert, or update all. */
void sink_sql_write_many(const struct sink_sql *sql, struct banyan_buf *ret);
/* PostgreSQL only: for large flushes, a temporary table of the columns that is empty in each transaction, what to copy
 * into, and its rows into the table.  Without parameters. */
void sink_sql_make_incoming(const struct sink_sql *sql, struct banyan_buf *ret);
void sink_sql_add_incoming(const struct sink_sql *sql, struct banyan_buf *ret);
void sink_sql_merge_incoming(const struct sink_sql *sql, struct banyan_buf *ret);
/* PostgreSQL only: (keys[]) → place in the array from 1, columns. */
void sink_sql_get_many(const struct sink_sql *sql, struct banyan_buf *ret);

/* The fields that a list or a search needs, as a set. */
uint64_t sink_sql_indexed_fields(const struct banyan_table *table);

#endif
