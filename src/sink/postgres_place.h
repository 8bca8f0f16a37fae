/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One view in a PostgreSQL schema, what its home, writer and readers share: names, connections, rows in and out.
 *
 *   banyan_generation   a row a generation: view, number, state, form, version, position, at, lsn, epoch, sealed, times
 *   banyan_view         a row a view: the last number that was given
 *   banyan_aside        keys put aside, of each generation
 *   <table>_g<N>        rows
 *   <table>             a VIEW of the columns of those that serve, for people and their tools
 *
 * Threads: none of its own; one a connection.
 */
#ifndef SINK_POSTGRES_PLACE_H
#define SINK_POSTGRES_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/error.h"
#include "pg/conn.h"
#include "projection/sink.h"
#include "sink/sink_sql.h"

enum {
    POSTGRES_INT_MAX = 24,                        /* a number as text */
    POSTGRES_VALUE_MAX = 1000 * 1000 * 1000,      /* PostgreSQL takes no value above 1 GB */
    POSTGRES_READER_TIMEOUT_US = 2 * 1000 * 1000, /* to connect: somebody waits for the answer */
    POSTGRES_SQL_MAX = 1024 * 1024,
};

struct postgres_place {
    const struct banyan_projection *projection;
    char *conninfo, *schema, *view; /* owned; conninfo may be NULL */
};

struct postgres_place postgres_place_copy(const struct postgres_place *place);
void postgres_place_release(struct postgres_place *place);
/* *reads*: be quick about it. */
BANYAN_MUST_CHECK enum banyan_status postgres_connect(const struct postgres_place *place, bool reads,
                                                      struct pg_conn **ret, struct banyan_error *err);

/* Statements about one table of one generation; the name is in *memory*. */
struct sink_sql postgres_sql(const struct postgres_place *place, unsigned table, uint32_t generation,
                             struct banyan_buf *memory);
/* Append "<schema>.<name>". */
void postgres_add_name(const struct postgres_place *place, const char *name, struct banyan_buf *ret);
/* Append sql where each @name is schema.banyan_name: @generation, @aside, @view. */
void postgres_add_sql(const struct postgres_place *place, const char *sql, struct banyan_buf *ret);
/* Run such a statement; parameters and result as in pg_exec(). */
BANYAN_MUST_CHECK enum banyan_status postgres_exec(const struct postgres_place *place, struct pg_conn *conn,
                                                   const char *sql, const struct pg_param *params, size_t count,
                                                   struct pg_result **ret, struct banyan_error *err);

static inline struct pg_param postgres_text(struct banyan_str text)
{
    return (struct pg_param){text};
}
struct pg_param postgres_int(int64_t value, char memory[POSTGRES_INT_MAX]);

/* ---- rows ---- */

/* The types of a record's columns: we made them. */
void postgres_oids(const struct banyan_record *record, uint32_t ret[BANYAN_FIELDS_MAX]);
/* One more element of an array in its text form; every text is quoted, so that none is taken for NULL. */
void postgres_add_element(struct banyan_buf *array, struct banyan_str text, bool quoted);
void postgres_add_field(struct banyan_buf *array, const struct banyan_field *field, const void *row);
/* Row *at* of a result whose columns begin at *column*; strings are copied to *arena*, or borrow where it is NULL. */
BANYAN_MUST_CHECK enum banyan_status postgres_row(const struct banyan_record *record, const struct pg_result *result,
                                                  size_t at, size_t column, struct banyan_arena *arena, void *row,
                                                  struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status postgres_asides(const struct postgres_place *place, struct pg_conn *conn,
                                                     uint32_t generation, struct banyan_arena *arena,
                                                     struct sink_aside **ret, size_t *ret_count,
                                                     struct banyan_error *err);

/* ---- in postgres_index.c ---- */

/* What finish() and the steps before seal() make; see `index_steps` in projection/sink.h. */
unsigned postgres_index_steps(const struct postgres_place *place, unsigned table);
/* On a connection of its own.  *ret_key: it was the key that was made. */
BANYAN_MUST_CHECK enum banyan_status postgres_index_step(const struct postgres_place *place, uint32_t generation,
                                                         unsigned table, unsigned step, bool *ret_key,
                                                         struct banyan_error *err);
/* Append a statement: the rest of this transaction may sort in memory. */
void postgres_add_sort_memory(struct banyan_buf *ret);

/* ---- in sink_postgres.c and postgres_view.c ---- */

struct sink *postgres_sink_open(const struct postgres_place *place, uint32_t generation);
struct sink_view *postgres_view_open(const struct postgres_place *place);
/* Tables of a generation, without keys. */
void postgres_add_tables(const struct postgres_place *place, uint32_t generation, struct banyan_buf *ret);
void postgres_drop_tables(const struct postgres_place *place, uint32_t generation, struct banyan_buf *ret);

#endif
