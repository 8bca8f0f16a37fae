/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of a legacy mapping as they really are at the server: oids, column types, identity, and the SELECTs that
 * read them.  Found once at a connection; read-only afterwards, so any thread may use it.
 */
#ifndef LEGACY_TABLES_H
#define LEGACY_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "pg/conn.h"
#include "pg/pgoutput.h"

struct legacy_table {
    const struct banyan_legacy_table *spec; /* the domain's */
    uint32_t oid;
    uint32_t column_oids[BANYAN_FIELDS_MAX]; /* type of each field's column */
    size_t key_field;                        /* index in spec->row->fields */
    char identity;                           /* relreplident */
    bool key_in_identity;                    /* a DELETE tells the key */
};

struct legacy_tables {
    const struct banyan_legacy_mapping *mapping;
    struct legacy_table tables[BANYAN_LEGACY_TABLES_MAX];
    size_t count;
};

/* TABLE with the table, the column, what is there and what is needed. */
BANYAN_MUST_CHECK enum banyan_status legacy_tables_resolve(struct pg_conn *conn,
                                                           const struct banyan_legacy_mapping *mapping,
                                                           struct legacy_tables *ret, struct banyan_error *err);
/* One table of it, for whoever wants to hear of each; *root*: its key has to be unique. */
BANYAN_MUST_CHECK enum banyan_status legacy_table_resolve(struct pg_conn *conn, const struct banyan_legacy_table *spec,
                                                          bool root, struct legacy_table *ret,
                                                          struct banyan_error *err);
/* "SELECT … FROM t WHERE key >= lo AND key < hi ORDER BY key, <order columns>" with literal bounds;
 * INT64_MIN and INT64_MAX (as hi: inclusive, open) mean no bound. */
void legacy_tables_select(const struct legacy_table *table, int64_t lo, int64_t hi, struct banyan_buf *ret);
/* The same without ORDER BY: the reader sorts. */
void legacy_tables_select_unordered(const struct legacy_table *table, int64_t lo, int64_t hi, struct banyan_buf *ret);
/* The same for some keys. */
void legacy_tables_select_keys(const struct legacy_table *table, const int64_t *keys, size_t count,
                               struct banyan_buf *ret);
/* "SELECT key FROM t WHERE key >= lo ORDER BY key OFFSET rows LIMIT 1": where a range of that many rows ends. */
void legacy_tables_select_border(const struct legacy_table *table, int64_t lo, uint64_t rows, struct banyan_buf *ret);
/* The key of a decoded row. */
int64_t legacy_table_key(const struct legacy_table *table, const void *row);

#endif
