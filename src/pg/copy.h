/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COPY in the binary format, straight from and to records.
 *
 * Types that a field kind accepts: STRING text, varchar, char(n), name, enums, uuid, json, jsonb · INT int2, int4, int8
 * · BOOL bool · TIME timestamptz, timestamp, date · DECIMAL numeric, int2, int4, int8.
 */
#ifndef PG_COPY_H
#define PG_COPY_H

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/error.h"
#include "banyan/record.h"
#include "pg/conn.h"

/* Types whose cells can be read and written (pg_type.oid of PostgreSQL's own types never changes). */
enum {
    PG_TYPE_BOOL = 16,
    PG_TYPE_NAME = 19,
    PG_TYPE_INT8 = 20,
    PG_TYPE_INT2 = 21,
    PG_TYPE_INT4 = 23,
    PG_TYPE_TEXT = 25,
    PG_TYPE_JSON = 114,
    PG_TYPE_FLOAT4 = 700,
    PG_TYPE_FLOAT8 = 701,
    PG_TYPE_BPCHAR = 1042,
    PG_TYPE_VARCHAR = 1043,
    PG_TYPE_DATE = 1082,
    PG_TYPE_TIMESTAMP = 1114,
    PG_TYPE_TIMESTAMPTZ = 1184,
    PG_TYPE_NUMERIC = 1700,
    PG_TYPE_UUID = 2950,
    PG_TYPE_JSONB = 3802,
};

/* Can a column of type *oid* (pg_type.oid, typtype 'e' as is_enum) be read into a field of *kind*? */
bool pg_type_fits(uint32_t oid, bool is_enum, enum banyan_field_kind kind);
/* Does the column's scale (numeric(p,s): s; -1: unconstrained) always fit the field's? */
bool pg_scale_fits(uint32_t oid, int32_t column_scale, const struct banyan_field *field);

/* One binary cell → the field in *row*.  Strings are copied to *arena* where it is not NULL, else they borrow; a uuid
 * needs the arena.  data NULL is NULL.  INVALID when the field cannot hold the value exactly. */
BANYAN_MUST_CHECK enum banyan_status pg_cell_decode(const struct banyan_field *field, uint32_t oid,
                                                    struct banyan_str cell, struct banyan_arena *arena, void *row,
                                                    struct banyan_error *err);
/* One text cell → the field (where the stream or a server sends text); the same value as from the binary form. */
BANYAN_MUST_CHECK enum banyan_status pg_cell_parse(const struct banyan_field *field, uint32_t oid,
                                                   struct banyan_str cell, struct banyan_arena *arena, void *row,
                                                   struct banyan_error *err);

/* Append the field's value as a binary cell of type *oid*, its length in front.  INVALID when the type cannot hold it
 * exactly, or has no such form. */
BANYAN_MUST_CHECK enum banyan_status pg_cell_encode(const struct banyan_field *field, uint32_t oid, const void *row,
                                                    struct banyan_buf *ret, struct banyan_error *err);

/* ---- out ---- */

struct pg_copy_out {
    struct pg_conn *conn;               /* borrowed */
    const struct banyan_record *record; /* one field a column, in the order of the SELECT */
    const uint32_t *oids;               /* column types, one a field; borrowed */
    char *message;                      /* of libpq; freed at the next row */
    size_t message_size, message_at;    /* bytes; what is read of it */
    struct banyan_arena scratch;        /* strings that cannot borrow, where the caller gives no arena */
    bool header_seen;
    bool done;
    uint64_t rows, bytes;
};

/* *select* is the query inside COPY ( … ) TO STDOUT. */
BANYAN_MUST_CHECK enum banyan_status pg_copy_out_begin(struct pg_copy_out *copy, struct pg_conn *conn,
                                                       const char *select, const struct banyan_record *record,
                                                       const uint32_t *oids, struct banyan_error *err);
/* The next row into *ret_row*; strings are copied to *arena*, or borrow until the next call where it is NULL.
 * NOT_FOUND (no error text) at the end. */
BANYAN_MUST_CHECK enum banyan_status pg_copy_out_row(struct pg_copy_out *copy, struct banyan_arena *arena,
                                                     void *ret_row, struct banyan_error *err);
/* Ends it, also in the middle (the rest is cancelled). */
void pg_copy_out_end(struct pg_copy_out *copy);

/* ---- in ---- */

struct pg_copy_in {
    struct pg_conn *conn;
    const struct banyan_record *record;
    const uint32_t *oids;
    struct banyan_buf buf;
    uint64_t rows;
};

BANYAN_MUST_CHECK enum banyan_status pg_copy_in_begin(struct pg_copy_in *copy, struct pg_conn *conn,
                                                      const char *table_and_columns, const struct banyan_record *record,
                                                      const uint32_t *oids, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status pg_copy_in_row(struct pg_copy_in *copy, const void *row, struct banyan_error *err);
/* Flush and end; the server's verdict.  Releases the buffer in any case. */
BANYAN_MUST_CHECK enum banyan_status pg_copy_in_end(struct pg_copy_in *copy, struct banyan_error *err);
void pg_copy_in_abort(struct pg_copy_in *copy);

/* ---- from one server into another ---- */

/* *out_sql* is a whole COPY … TO STDOUT, *in_sql* a COPY … FROM STDIN of the same format; rows are counted as the
 * server sends them, one a message in the text format. */
BANYAN_MUST_CHECK enum banyan_status pg_copy_pass(struct pg_conn *from, const char *out_sql, struct pg_conn *to,
                                                  const char *in_sql, uint64_t *ret_rows, struct banyan_error *err);

#endif
