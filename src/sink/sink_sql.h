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
 * Beside the view's table there are two of the engine's: one with a checkpoint a view, one with the streams that were
 * put aside.  Each statement's parameters come in the order that its comment says.
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

enum sink_sql_dialect {
    SINK_SQL_NONE = 0,
    SINK_SQL_SQLITE,
    SINK_SQL_POSTGRES,
};

struct sink_sql {
    enum sink_sql_dialect dialect;
    const char *schema; /* NULL: none */
    const struct banyan_projection *projection;
};

enum {
    SINK_SQL_BYTES_MAX = 256 * 1024,
    /* parts of a list */
    SINK_SQL_FROM = 1 << 0,
    SINK_SQL_TO = 1 << 1,
    SINK_SQL_AFTER = 1 << 2,      /* behind a row with a time */
    SINK_SQL_AFTER_NULL = 1 << 3, /* behind a row without */
    SINK_SQL_LIST_FORMS = 1 << 4,
};

#define SINK_SQL_CHECKPOINT_TABLE "banyan_checkpoint"
#define SINK_SQL_ASIDE_TABLE "banyan_aside"

/* What a stored read model must have been made for; another text: it is emptied and made anew. */
void sink_sql_form(const struct banyan_projection *projection, struct banyan_buf *ret);
/* Can the projection be kept at all?  INVALID. */
BANYAN_MUST_CHECK enum banyan_status sink_sql_check(const struct banyan_projection *projection,
                                                    struct banyan_error *err);

void sink_sql_add_table(const struct sink_sql *sql, const char *table, struct banyan_buf *ret);
/* The two tables of the engine; several statements, idempotent. */
void sink_sql_make_engine_tables(const struct sink_sql *sql, struct banyan_buf *ret);
/* Drop and make the view's table, forget what was put aside; several statements. */
void sink_sql_make_view(const struct sink_sql *sql, struct banyan_buf *ret);
/* Several statements, idempotent; nothing where the view has no lists. */
void sink_sql_make_indexes(const struct sink_sql *sql, struct banyan_buf *ret);

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

void sink_sql_checkpoint(const struct sink_sql *sql, struct banyan_buf *ret); /* (view) → position, at, lsn, epoch,
                                                                               * form */
void sink_sql_claim(const struct sink_sql *sql, struct banyan_buf *ret);  /* (view, epoch, form, position, at, lsn) */
void sink_sql_move(const struct sink_sql *sql, struct banyan_buf *ret);   /* (view, epoch, position, at, lsn) */
void sink_sql_asides(const struct sink_sql *sql, struct banyan_buf *ret); /* (view) → stream, position, reason */
void sink_sql_put_aside(const struct sink_sql *sql, struct banyan_buf *ret); /* (view, stream, position, reason) */

/* PostgreSQL only: a whole flush in one statement, which does nothing unless the epoch is ours.  (view, epoch,
 * position, at, lsn, streams[], positions[], reasons[], keys to delete[], then an array for each column) → checkpoints
 * moved */
void sink_sql_flush(const struct sink_sql *sql, struct banyan_buf *ret);
enum {
    SINK_SQL_FLUSH_COLUMNS_AT = 9, /* parameters in front of the columns' */
};
/* PostgreSQL only: for large flushes, a temporary table of the view's columns that is empty in each transaction, what
 * to copy into, and its rows into the view.  Without parameters. */
void sink_sql_make_incoming(const struct sink_sql *sql, struct banyan_buf *ret);
void sink_sql_add_incoming(const struct sink_sql *sql, struct banyan_buf *ret);
void sink_sql_merge_incoming(const struct sink_sql *sql, struct banyan_buf *ret);
/* PostgreSQL only: (keys[]) → place in the array from 1, columns. */
void sink_sql_get_many(const struct sink_sql *sql, struct banyan_buf *ret);

/* The fields that an index needs, as a set. */
uint64_t sink_sql_indexed_fields(const struct banyan_projection *projection);
/* A value that a person wrote → the field in *row*; strings borrow.  INVALID with a hint. */
BANYAN_MUST_CHECK enum banyan_status sink_sql_parse(const struct banyan_field *field, struct banyan_str text, void *row,
                                                    struct banyan_error *err);

#endif
