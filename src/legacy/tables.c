/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mapped tables really are, asked of the catalog once a connection.
 *
 * Everything that could make the mapping read something else than it thinks is refused here, before a row is read: a
 * missing or generated column (the stream does not carry generated ones), a type or scale that a field cannot hold
 * exactly, a key that is no integer or may be NULL, a root whose key is not unique, inheritance (children are streamed
 * under their own name).  Domains over a type count as that type: COPY and the stream send them alike.
 *
 * The replica identity is only noted: whether an append-only child may live with a weak one is decided by legacy_check
 * and by capture, which knows whether a DELETE ever comes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "legacy/tables.h"
#include "pg/copy.h"

enum {
    SQL_MAX = 64 * 1024,
};

static const char table_sql[] =
    "SELECT c.oid, c.relkind::text, c.relreplident::text, c.relpersistence::text,"
    " c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)"
    " FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)";

/* Columns with their types, domains followed down to what they are made of. */
static const char columns_sql[] =
    "WITH RECURSIVE base (attnum, type, modifier) AS ("
    " SELECT a.attnum, a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped"
    " UNION ALL"
    " SELECT b.attnum, t.typbasetype, t.typtypmod FROM base b"
    " JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype = 'd')"
    "SELECT a.attname::text, b.type, b.modifier, t.typtype = 'e', a.attnotnull, a.attgenerated <> '',"
    " pg_catalog.format_type(a.atttypid, a.atttypmod)"
    " FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type AND t.typtype <> 'd'"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = $1::oid AND a.attnum = b.attnum ORDER BY a.attnum";

/* Is the key unique by itself, and is it part of the replica identity (of every partition)? */
static const char key_sql[] =
    "WITH leaf (oid) AS ("
    " SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid = $1::oid AND c.relkind = 'r'"
    " UNION SELECT p.relid FROM pg_catalog.pg_partition_tree($1::oid::regclass) p WHERE p.isleaf),"
    "identity (oid, has_key) AS ("
    " SELECT c.oid, CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false ELSE EXISTS ("
    "  SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])"
    "  AND i.indisvalid AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END) END"
    " FROM leaf JOIN pg_catalog.pg_class c ON c.oid = leaf.oid"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND NOT a.attisdropped)"
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a"
    " ON a.attrelid = i.indrelid AND a.attname = $2 WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid"
    " AND i.indimmediate AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum),"
    " coalesce((SELECT bool_and(has_key) FROM identity), false)";

static const char *kind_needs(enum banyan_field_kind kind)
{
    switch (kind) {
    case BANYAN_FIELD_STRING:
        return "text, varchar, char(n), an enum, uuid or json";
    case BANYAN_FIELD_INT:
        return "smallint, integer or bigint";
    case BANYAN_FIELD_BOOL:
        return "boolean";
    case BANYAN_FIELD_TIME:
        return "timestamptz, timestamp or date";
    case BANYAN_FIELD_DECIMAL:
        return "numeric with a fixed scale, an integer, real or double precision";
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        break;
    }
    return "a known type";
}

/* The scale of numeric(p, s); -1 where any scale may come.  PostgreSQL 15 allows negative ones: they fit where 0 does.
 */
static int32_t scale_of(int64_t modifier)
{
    int32_t scale;

    if (modifier < 4)
        return -1;
    scale = (int32_t)(((modifier - 4) & 0x7ff) ^ 1024) - 1024;
    return scale < 0 ? 0 : scale;
}

/* The row of *columns* that has this name, or their count. */
static size_t column_find(const struct pg_result *columns, const char *name)
{
    struct banyan_str wanted = banyan_str_of(name);
    size_t i;

    for (i = 0; i < pg_rows(columns); i++)
        if (banyan_str_equal(pg_text(columns, i, 0), wanted))
            break;
    return i;
}

/* Find the table and what can be said without its columns. */
static enum banyan_status table_find(struct pg_conn *conn, struct legacy_table *table, struct banyan_error *err)
{
    const char *name = table->spec->name;
    struct banyan_buf quoted = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_result *result = NULL;
    struct pg_param param;
    enum banyan_status st;
    char kind;

    pg_add_table(&quoted, banyan_str_of(name));
    param.text = banyan_buf_str(&quoted);
    st = pg_exec(conn, table_sql, &param, 1, &result, err);
    if (st != BANYAN_OK)
        goto out;
    if (pg_rows(result) == 0) {
        st = banyan_error_set(err, BANYAN_TABLE, "table %s does not exist", name);
        banyan_error_hint(err, "Check the database of the connection and its search_path, or name the schema.");
        goto out;
    }
    kind = pg_text(result, 0, 1).data[0];
    if (kind != 'r' && kind != 'p') {
        st = banyan_error_set(err, BANYAN_TABLE, "%s is not a table", name);
        banyan_error_detail(err, "Its kind is '%c' in pg_class.relkind; an ordinary or partitioned table is needed.",
                            kind);
        goto out;
    }
    if (pg_text(result, 0, 3).data[0] != 'p') {
        st = banyan_error_set(err, BANYAN_TABLE, "table %s is unlogged or temporary: its changes are not in the WAL",
                              name);
        banyan_error_hint(err, "ALTER TABLE … SET LOGGED.");
        goto out;
    }
    if (pg_bool(result, 0, 4)) {
        st = banyan_error_set(err, BANYAN_TABLE, "table %s has tables that inherit from it", name);
        banyan_error_hint(err, "Their rows are streamed under their own names; use partitions, or map each table.");
        goto out;
    }
    table->oid = (uint32_t)pg_int(result, 0, 0);
    table->identity = pg_text(result, 0, 2).data[0];
out:
    pg_result_free(result);
    banyan_buf_release(&quoted);
    return st;
}

/* One field against its column. */
static enum banyan_status field_check(struct legacy_table *table, size_t index, const struct pg_result *columns,
                                      struct banyan_error *err)
{
    const struct banyan_field *field = &table->spec->row->fields[index];
    const char *name = table->spec->name;
    size_t row = column_find(columns, field->name);
    struct banyan_str type;
    enum banyan_status st;
    uint32_t oid;

    if (row == pg_rows(columns)) {
        st = banyan_error_set(err, BANYAN_TABLE, "table %s has no column %s", name, field->name);
        banyan_error_hint(err, "The mapping needs it as %s.", kind_needs(field->kind));
        return st;
    }
    oid = (uint32_t)pg_int(columns, row, 1);
    type = pg_text(columns, row, 6);
    if (!pg_type_fits(oid, pg_bool(columns, row, 3), field->kind)) {
        st = banyan_error_set(err, BANYAN_TABLE, "table %s: column %s is %.*s, but the mapping needs %s", name,
                              field->name, (int)type.size, type.data, kind_needs(field->kind));
        banyan_error_hint(err, "Change the column's type, or the kind of the field in the domain's record.");
        return st;
    }
    if (field->kind == BANYAN_FIELD_DECIMAL && !pg_scale_fits(oid, scale_of(pg_int(columns, row, 2)), field)) {
        st = banyan_error_set(err, BANYAN_TABLE, "table %s: column %s is %.*s, but the mapping holds %d decimal places",
                              name, field->name, (int)type.size, type.data, (int)field->scale);
        banyan_error_hint(err, "Give the column a scale of at most %d, or raise the scale of the domain's field.",
                          (int)field->scale);
        return st;
    }
    if (pg_bool(columns, row, 5)) {
        st = banyan_error_set(err, BANYAN_TABLE, "table %s: column %s is generated, so the stream does not carry it",
                              name, field->name);
        banyan_error_hint(err, "Leave it out of the mapping and compute it from the columns that it is made of.");
        return st;
    }
    table->column_oids[index] = oid;
    return BANYAN_OK;
}

/* The key column's own demands. */
static enum banyan_status key_check(struct pg_conn *conn, struct legacy_table *table, bool root,
                                    const struct pg_result *columns, struct banyan_error *err)
{
    const char *name = table->spec->name, *key = table->spec->key_column;
    size_t row = column_find(columns, key);
    char oid[16] = "";
    struct pg_param params[2] = {{banyan_str_of(oid)}, {banyan_str_of(key)}};
    struct pg_result *result = NULL;
    enum banyan_status st;

    if (!pg_bool(columns, row, 4)) {
        st = banyan_error_set(err, BANYAN_TABLE, "table %s: the key column %s may be NULL", name, key);
        banyan_error_hint(err, "A row without a key belongs to nothing: ALTER TABLE … ALTER COLUMN %s SET NOT NULL.",
                          key);
        return st;
    }
    params[0].text.size = (size_t)snprintf(oid, sizeof(oid), "%" PRIu32, table->oid);
    st = pg_exec(conn, key_sql, params, 2, &result, err);
    if (st != BANYAN_OK)
        goto out;
    if (root && !pg_bool(result, 0, 0)) {
        st = banyan_error_set(err, BANYAN_TABLE, "table %s: nothing makes the key column %s unique", name, key);
        banyan_error_hint(err, "It needs a primary key or an immediate unique index on exactly (%s).", key);
        goto out;
    }
    table->key_in_identity = pg_bool(result, 0, 1);
out:
    pg_result_free(result);
    return st;
}

enum banyan_status legacy_table_resolve(struct pg_conn *conn, const struct banyan_legacy_table *spec, bool root,
                                        struct legacy_table *ret, struct banyan_error *err)
{
    struct legacy_table found = {.spec = spec}, *table = &found;
    const char *const *order;
    struct pg_result *columns = NULL;
    const struct banyan_field *key;
    char oid[16] = "";
    struct pg_param param = {banyan_str_of(oid)};
    enum banyan_status st;

    key = banyan_record_field(spec->row, banyan_str_of(spec->key_column));
    if (key == NULL || key->kind != BANYAN_FIELD_INT)
        return banyan_error_set(err, BANYAN_INVALID, "mapping of table %s: key column %s is no INT field of its record",
                                spec->name, spec->key_column);
    if (banyan_record_refuse_lists(spec->row, err) != BANYAN_OK) {
        banyan_error_context(err, "mapping of table %s", spec->name);
        return BANYAN_INVALID;
    }
    table->key_field = (size_t)(key - spec->row->fields);
    st = table_find(conn, table, err);
    if (st != BANYAN_OK)
        goto out;
    param.text.size = (size_t)snprintf(oid, sizeof(oid), "%" PRIu32, table->oid);
    st = pg_exec(conn, columns_sql, &param, 1, &columns, err);
    for (size_t i = 0; st == BANYAN_OK && i < spec->row->field_count; i++)
        st = field_check(table, i, columns, err);
    for (order = spec->order_columns; st == BANYAN_OK && order != NULL && *order != NULL; order++)
        if (column_find(columns, *order) == pg_rows(columns))
            st = banyan_error_set(err, BANYAN_TABLE, "table %s has no column %s, by which its rows are ordered",
                                  spec->name, *order);
    if (st == BANYAN_OK)
        st = key_check(conn, table, root, columns, err);
    if (st == BANYAN_OK)
        *ret = found;
out:
    pg_result_free(columns);
    return st;
}

enum banyan_status legacy_tables_resolve(struct pg_conn *conn, const struct banyan_legacy_mapping *mapping,
                                         struct legacy_tables *ret, struct banyan_error *err)
{
    struct legacy_tables found = {.mapping = mapping, .count = mapping->table_count};
    enum banyan_status st;

    if (mapping->table_count == 0 || mapping->table_count > BANYAN_LEGACY_TABLES_MAX)
        return banyan_error_set(err, BANYAN_INVALID, "the mapping has %zu tables; 1 to %d are possible",
                                mapping->table_count, BANYAN_LEGACY_TABLES_MAX);
    for (size_t i = 0; i < mapping->table_count; i++) {
        st = legacy_table_resolve(conn, &mapping->tables[i], i == 0, &found.tables[i], err);
        if (st != BANYAN_OK)
            return st;
    }
    *ret = found;
    return BANYAN_OK;
}

static void add_columns(const struct legacy_table *table, struct banyan_buf *ret)
{
    const struct banyan_legacy_table *spec = table->spec;

    banyan_buf_add_text(ret, "SELECT ");
    for (size_t i = 0; i < spec->row->field_count; i++) {
        if (i > 0)
            banyan_buf_add_text(ret, ", ");
        pg_add_identifier(ret, banyan_str_of(spec->row->fields[i].name));
    }
    banyan_buf_add_text(ret, " FROM ");
    pg_add_table(ret, banyan_str_of(spec->name));
}

static void add_order(const struct legacy_table *table, struct banyan_buf *ret)
{
    const struct banyan_legacy_table *spec = table->spec;

    banyan_buf_add_text(ret, " ORDER BY ");
    pg_add_identifier(ret, banyan_str_of(spec->key_column));
    for (const char *const *order = spec->order_columns; order != NULL && *order != NULL; order++) {
        if (strcmp(*order, spec->key_column) == 0)
            continue;
        banyan_buf_add_text(ret, ", ");
        pg_add_identifier(ret, banyan_str_of(*order));
    }
}

/* A key as SQL: the smallest one cannot be written plainly, its digits without the sign are out of range. */
static void add_key(int64_t key, struct banyan_buf *ret)
{
    if (key == INT64_MIN)
        banyan_buf_add_text(ret, "(-9223372036854775807 - 1)");
    else
        banyan_buf_printf(ret, "%" PRId64, key);
}

/* " <joint> key <compare> bound" */
static void add_bound(const struct legacy_table *table, const char *joint, const char *compare, int64_t bound,
                      struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, joint);
    pg_add_identifier(ret, banyan_str_of(table->spec->key_column));
    banyan_buf_add_text(ret, compare);
    add_key(bound, ret);
}

void legacy_tables_select_unordered(const struct legacy_table *table, int64_t lo, int64_t hi, struct banyan_buf *ret)
{
    add_columns(table, ret);
    if (lo != INT64_MIN)
        add_bound(table, " WHERE ", " >= ", lo, ret);
    if (hi != INT64_MAX)
        add_bound(table, lo != INT64_MIN ? " AND " : " WHERE ", " < ", hi, ret);
}

void legacy_tables_select(const struct legacy_table *table, int64_t lo, int64_t hi, struct banyan_buf *ret)
{
    legacy_tables_select_unordered(table, lo, hi, ret);
    add_order(table, ret);
}

void legacy_tables_select_keys(const struct legacy_table *table, const int64_t *keys, size_t count,
                               struct banyan_buf *ret)
{
    add_columns(table, ret);
    banyan_buf_add_text(ret, " WHERE ");
    pg_add_identifier(ret, banyan_str_of(table->spec->key_column));
    banyan_buf_add_text(ret, " = ANY (ARRAY[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            banyan_buf_add_char(ret, ',');
        add_key(keys[i], ret);
    }
    banyan_buf_add_text(ret, "]::bigint[])");
    add_order(table, ret);
}

void legacy_tables_select_border(const struct legacy_table *table, int64_t lo, uint64_t rows, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "SELECT ");
    pg_add_identifier(ret, banyan_str_of(table->spec->key_column));
    banyan_buf_add_text(ret, " FROM ");
    pg_add_table(ret, banyan_str_of(table->spec->name));
    if (lo != INT64_MIN)
        add_bound(table, " WHERE ", " >= ", lo, ret);
    banyan_buf_add_text(ret, " ORDER BY ");
    pg_add_identifier(ret, banyan_str_of(table->spec->key_column));
    banyan_buf_printf(ret, " OFFSET %" PRIu64 " LIMIT 1", rows);
}

int64_t legacy_table_key(const struct legacy_table *table, const void *row)
{
    int64_t key;

    memcpy(&key, (const char *)row + table->spec->row->fields[table->key_field].offset, sizeof(key));
    return key;
}
