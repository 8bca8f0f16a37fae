/* SPDX-License-Identifier: Apache-2.0 */
/* Statements from records: see sink_sql.h.  Pure. */
#include "sink/sink_sql.h"

#include <string.h>

#include "banyan/decimal.h"
#include "pg/conn.h"

static const char *const sqlite_types[] = {"", "TEXT", "INTEGER", "INTEGER", "INTEGER", "TEXT"};
static const char *const postgres_types[] = {"", "text", "bigint", "boolean", "timestamptz", "numeric"};

static void add_identifier(struct banyan_buf *ret, const char *name)
{
    pg_add_identifier(ret, banyan_str_of(name)); /* SQLite quotes in the same way */
}

static const char *type_of(const struct sink_sql *sql, enum banyan_field_kind kind)
{
    return (sql->dialect == SINK_SQL_SQLITE ? sqlite_types : postgres_types)[kind];
}

/* Parameter *number* (from 1), of the kind's type. */
static void add_parameter(const struct sink_sql *sql, unsigned number, enum banyan_field_kind kind,
                          struct banyan_buf *ret)
{
    if (sql->dialect == SINK_SQL_SQLITE)
        banyan_buf_printf(ret, "?%u", number);
    else
        banyan_buf_printf(ret, "$%u::%s", number, type_of(sql, kind));
}

void sink_sql_form(const struct banyan_projection *projection, struct banyan_buf *ret)
{
    banyan_buf_printf(ret, "%u %s ", projection->version, projection->tables[0].key_column);
    banyan_record_schema(projection->tables[0].row, ret);
    for (size_t i = 0; i < projection->tables[0].index_count; i++)
        banyan_buf_printf(ret, " %s(%s,%s)", projection->tables[0].indexes[i].name,
                          projection->tables[0].indexes[i].equal, projection->tables[0].indexes[i].range);
}

enum banyan_status sink_sql_check(const struct banyan_projection *projection, struct banyan_error *err)
{
    const struct banyan_field *key =
        banyan_record_field(projection->tables[0].row, banyan_str_of(projection->tables[0].key_column));
    if (key == NULL || key->kind != BANYAN_FIELD_INT)
        return banyan_error_set(err, BANYAN_INVALID, "view %s: the key column %s is no integer of its row",
                                projection->name, projection->tables[0].key_column);
    if (strncmp(projection->name, "banyan_", 7) == 0 || strncmp(projection->name, "sqlite_", 7) == 0)
        return banyan_error_set(err, BANYAN_INVALID, "view %s: names with this beginning are not for views",
                                projection->name);
    if (banyan_record_refuse_lists(projection->tables[0].row, err) != BANYAN_OK) {
        banyan_error_context(err, "view %s", projection->name);
        return BANYAN_INVALID;
    }
    return BANYAN_OK;
}

void sink_sql_add_table(const struct sink_sql *sql, const char *table, struct banyan_buf *ret)
{
    if (sql->schema != NULL) {
        add_identifier(ret, sql->schema);
        banyan_buf_add_char(ret, '.');
    }
    add_identifier(ret, table);
}

static void add_view(const struct sink_sql *sql, struct banyan_buf *ret)
{
    sink_sql_add_table(sql, sql->projection->name, ret);
}

/* ---- tables ---- */

void sink_sql_make_engine_tables(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "CREATE TABLE IF NOT EXISTS ");
    sink_sql_add_table(sql, SINK_SQL_CHECKPOINT_TABLE, ret);
    banyan_buf_add_text(ret, " (\"view\" text NOT NULL PRIMARY KEY, \"position\" bigint NOT NULL, "
                             "\"at\" bigint NOT NULL, \"source_lsn\" bigint NOT NULL, \"epoch\" bigint NOT NULL, "
                             "\"form\" text NOT NULL); CREATE TABLE IF NOT EXISTS ");
    sink_sql_add_table(sql, SINK_SQL_ASIDE_TABLE, ret);
    banyan_buf_add_text(ret, " (\"view\" text NOT NULL, \"stream\" text NOT NULL, \"position\" bigint NOT NULL, "
                             "\"reason\" text NOT NULL, PRIMARY KEY (\"view\", \"stream\"));");
}

static void add_index(const struct sink_sql *sql, const struct banyan_view_index *index, struct banyan_buf *ret)
{
    bool postgres = sql->dialect == SINK_SQL_POSTGRES;
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    banyan_buf_printf(&name, "%s_%s", sql->projection->name, index->name);
    banyan_buf_add_text(ret, " CREATE INDEX IF NOT EXISTS ");
    pg_add_identifier(ret, banyan_buf_str(&name));
    banyan_buf_release(&name);
    banyan_buf_add_text(ret, " ON ");
    add_view(sql, ret);
    banyan_buf_add_text(ret, " (");
    add_identifier(ret, index->equal);
    banyan_buf_add_text(ret, ", ");
    add_identifier(ret, index->range);
    banyan_buf_add_text(ret, postgres ? " DESC NULLS LAST, " : " DESC, ");
    add_identifier(ret, sql->projection->tables[0].key_column);
    banyan_buf_add_text(ret, " DESC);");
}

void sink_sql_make_view(const struct sink_sql *sql, struct banyan_buf *ret)
{
    const struct banyan_projection *projection = sql->projection;
    banyan_buf_add_text(ret, "DROP TABLE IF EXISTS ");
    add_view(sql, ret);
    banyan_buf_add_text(ret, "; CREATE TABLE ");
    add_view(sql, ret);
    banyan_buf_add_text(ret, " (");
    for (size_t i = 0; i < projection->tables[0].row->field_count; i++) {
        const struct banyan_field *field = &projection->tables[0].row->fields[i];
        banyan_buf_add_text(ret, i == 0 ? "" : ", ");
        add_identifier(ret, field->name);
        banyan_buf_printf(ret, " %s", type_of(sql, field->kind));
        if (strcmp(field->name, projection->tables[0].key_column) == 0)
            banyan_buf_add_text(ret, " PRIMARY KEY");
        else if ((field->flags & BANYAN_FIELD_OPTIONAL) == 0)
            banyan_buf_add_text(ret, " NOT NULL");
    }
    banyan_buf_add_text(ret, ");");
    banyan_buf_add_text(ret, " DELETE FROM ");
    sink_sql_add_table(sql, SINK_SQL_ASIDE_TABLE, ret);
    banyan_buf_add_text(ret, " WHERE \"view\" = ");
    pg_add_literal(ret, banyan_str_of(projection->name));
    banyan_buf_add_text(ret, ";");
}

void sink_sql_make_indexes(const struct sink_sql *sql, struct banyan_buf *ret)
{
    for (size_t i = 0; i < sql->projection->tables[0].index_count; i++)
        add_index(sql, &sql->projection->tables[0].indexes[i], ret);
}

/* ---- rows ---- */

uint64_t sink_sql_indexed_fields(const struct banyan_projection *projection)
{
    uint64_t fields = 0;
    for (size_t i = 0; i < projection->tables[0].index_count; i++)
        for (size_t f = 0; f < projection->tables[0].row->field_count; f++)
            if (strcmp(projection->tables[0].row->fields[f].name, projection->tables[0].indexes[i].equal) == 0 ||
                strcmp(projection->tables[0].row->fields[f].name, projection->tables[0].indexes[i].range) == 0)
                fields |= UINT64_C(1) << f;
    return fields;
}

void sink_sql_add_columns(const struct sink_sql *sql, struct banyan_buf *ret)
{
    for (size_t i = 0; i < sql->projection->tables[0].row->field_count; i++) {
        banyan_buf_add_text(ret, i == 0 ? "" : ", ");
        add_identifier(ret, sql->projection->tables[0].row->fields[i].name);
    }
}

/* Update the columns of *fields*; do nothing where that has none but the key. */
static void add_conflict(const struct sink_sql *sql, uint64_t fields, struct banyan_buf *ret)
{
    const struct banyan_record *record = sql->projection->tables[0].row;
    bool any = false;
    banyan_buf_add_text(ret, " ON CONFLICT (");
    add_identifier(ret, sql->projection->tables[0].key_column);
    banyan_buf_add_text(ret, ") DO ");
    for (size_t i = 0; i < record->field_count; i++) {
        const char *name = record->fields[i].name;
        if ((fields & UINT64_C(1) << i) == 0 || strcmp(name, sql->projection->tables[0].key_column) == 0)
            continue;
        banyan_buf_add_text(ret, any ? ", " : "UPDATE SET ");
        add_identifier(ret, name);
        banyan_buf_add_text(ret, " = excluded.");
        add_identifier(ret, name);
        any = true;
    }
    if (!any)
        banyan_buf_add_text(ret, "NOTHING");
}

void sink_sql_upsert(const struct sink_sql *sql, uint64_t fields, struct banyan_buf *ret)
{
    const struct banyan_record *record = sql->projection->tables[0].row;
    banyan_buf_add_text(ret, "INSERT INTO ");
    add_view(sql, ret);
    banyan_buf_add_text(ret, " (");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, ") VALUES (");
    for (size_t i = 0; i < record->field_count; i++) {
        banyan_buf_add_text(ret, i == 0 ? "" : ", ");
        add_parameter(sql, (unsigned)i + 1, record->fields[i].kind, ret);
    }
    banyan_buf_add_text(ret, ")");
    add_conflict(sql, fields, ret);
}

void sink_sql_delete(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "DELETE FROM ");
    add_view(sql, ret);
    banyan_buf_add_text(ret, " WHERE ");
    add_identifier(ret, sql->projection->tables[0].key_column);
    banyan_buf_add_text(ret, " = ");
    add_parameter(sql, 1, BANYAN_FIELD_INT, ret);
}

static void add_select(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "SELECT ");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, " FROM ");
    add_view(sql, ret);
    banyan_buf_add_text(ret, " WHERE ");
}

void sink_sql_get(const struct sink_sql *sql, struct banyan_buf *ret)
{
    add_select(sql, ret);
    add_identifier(ret, sql->projection->tables[0].key_column);
    banyan_buf_add_text(ret, " = ");
    add_parameter(sql, 1, BANYAN_FIELD_INT, ret);
}

void sink_sql_range(const struct sink_sql *sql, struct banyan_buf *ret)
{
    add_select(sql, ret);
    add_identifier(ret, sql->projection->tables[0].key_column);
    banyan_buf_add_text(ret, " >= ");
    add_parameter(sql, 1, BANYAN_FIELD_INT, ret);
    banyan_buf_add_text(ret, " AND ");
    add_identifier(ret, sql->projection->tables[0].key_column);
    banyan_buf_add_text(ret, " <= ");
    add_parameter(sql, 2, BANYAN_FIELD_INT, ret);
    banyan_buf_add_text(ret, " ORDER BY ");
    add_identifier(ret, sql->projection->tables[0].key_column);
}

/* ---- lists ---- */

unsigned sink_sql_list_form(const struct sink_list *query)
{
    unsigned form = 0;
    if (query->from.us != BANYAN_TIME_NULL)
        form |= SINK_SQL_FROM;
    if (query->to.us != BANYAN_TIME_NULL)
        form |= SINK_SQL_TO;
    if (query->after)
        form |= query->after_range.us == BANYAN_TIME_NULL ? SINK_SQL_AFTER_NULL : SINK_SQL_AFTER;
    return form;
}

/* Rows behind (time, key) in the order newest first, those without a time at the end. */
static void add_after(const struct sink_sql *sql, const struct banyan_view_index *index, unsigned form, unsigned number,
                      struct banyan_buf *ret)
{
    const struct banyan_field *range = banyan_record_field(sql->projection->tables[0].row, banyan_str_of(index->range));
    bool may_be_null = (range->flags & BANYAN_FIELD_OPTIONAL) != 0 && (form & (SINK_SQL_FROM | SINK_SQL_TO)) == 0;

    banyan_buf_add_text(ret, " AND (");
    if ((form & SINK_SQL_AFTER) != 0) {
        banyan_buf_add_text(ret, "(");
        add_identifier(ret, index->range);
        banyan_buf_add_text(ret, ", ");
        add_identifier(ret, sql->projection->tables[0].key_column);
        banyan_buf_add_text(ret, ") < (");
        add_parameter(sql, number, BANYAN_FIELD_TIME, ret);
        banyan_buf_add_text(ret, ", ");
        add_parameter(sql, number + 1, BANYAN_FIELD_INT, ret);
        banyan_buf_add_text(ret, ")");
        if (may_be_null) {
            banyan_buf_add_text(ret, " OR ");
            add_identifier(ret, index->range);
            banyan_buf_add_text(ret, " IS NULL");
        }
    } else {
        add_identifier(ret, index->range);
        banyan_buf_add_text(ret, " IS NULL AND ");
        add_identifier(ret, sql->projection->tables[0].key_column);
        banyan_buf_add_text(ret, " < ");
        add_parameter(sql, number, BANYAN_FIELD_INT, ret);
    }
    banyan_buf_add_text(ret, ")");
}

void sink_sql_list(const struct sink_sql *sql, const struct banyan_view_index *index, unsigned form,
                   struct banyan_buf *ret)
{
    const struct banyan_field *equal = banyan_record_field(sql->projection->tables[0].row, banyan_str_of(index->equal));
    unsigned number = 1;

    add_select(sql, ret);
    add_identifier(ret, index->equal);
    banyan_buf_add_text(ret, " = ");
    add_parameter(sql, number++, equal->kind, ret);
    for (unsigned part = SINK_SQL_FROM; part <= SINK_SQL_TO; part <<= 1) {
        if ((form & part) == 0)
            continue;
        banyan_buf_add_text(ret, " AND ");
        add_identifier(ret, index->range);
        banyan_buf_add_text(ret, part == SINK_SQL_FROM ? " >= " : " < ");
        add_parameter(sql, number++, BANYAN_FIELD_TIME, ret);
    }
    if ((form & (SINK_SQL_AFTER | SINK_SQL_AFTER_NULL)) != 0) {
        add_after(sql, index, form, number, ret);
        number += (form & SINK_SQL_AFTER) != 0 ? 2 : 1;
    }
    banyan_buf_add_text(ret, " ORDER BY ");
    add_identifier(ret, index->range);
    banyan_buf_add_text(ret, " DESC NULLS LAST, ");
    add_identifier(ret, sql->projection->tables[0].key_column);
    banyan_buf_add_text(ret, " DESC LIMIT ");
    add_parameter(sql, number, BANYAN_FIELD_INT, ret);
}

/* ---- the engine's tables ---- */

static void add_numbered(const struct sink_sql *sql, const char *kinds, struct banyan_buf *ret)
{
    for (unsigned i = 0; kinds[i] != '\0'; i++) {
        banyan_buf_add_text(ret, i == 0 ? "" : ", ");
        add_parameter(sql, i + 1, kinds[i] == 's' ? BANYAN_FIELD_STRING : BANYAN_FIELD_INT, ret);
    }
}

void sink_sql_checkpoint(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "SELECT \"position\", \"at\", \"source_lsn\", \"epoch\", \"form\" FROM ");
    sink_sql_add_table(sql, SINK_SQL_CHECKPOINT_TABLE, ret);
    banyan_buf_add_text(ret, " WHERE \"view\" = ");
    add_parameter(sql, 1, BANYAN_FIELD_STRING, ret);
}

void sink_sql_claim(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "INSERT INTO ");
    sink_sql_add_table(sql, SINK_SQL_CHECKPOINT_TABLE, ret);
    banyan_buf_add_text(ret, " (\"view\", \"epoch\", \"form\", \"position\", \"at\", \"source_lsn\") VALUES (");
    add_numbered(sql, "sisiii", ret);
    banyan_buf_add_text(ret, ") ON CONFLICT (\"view\") DO UPDATE SET \"epoch\" = excluded.\"epoch\", "
                             "\"form\" = excluded.\"form\", \"position\" = excluded.\"position\", "
                             "\"at\" = excluded.\"at\", \"source_lsn\" = excluded.\"source_lsn\"");
}

void sink_sql_move(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "UPDATE ");
    sink_sql_add_table(sql, SINK_SQL_CHECKPOINT_TABLE, ret);
    banyan_buf_add_text(ret, " SET \"position\" = ");
    add_parameter(sql, 3, BANYAN_FIELD_INT, ret);
    banyan_buf_add_text(ret, ", \"at\" = ");
    add_parameter(sql, 4, BANYAN_FIELD_INT, ret);
    banyan_buf_add_text(ret, ", \"source_lsn\" = ");
    add_parameter(sql, 5, BANYAN_FIELD_INT, ret);
    banyan_buf_add_text(ret, " WHERE \"view\" = ");
    add_parameter(sql, 1, BANYAN_FIELD_STRING, ret);
    banyan_buf_add_text(ret, " AND \"epoch\" = ");
    add_parameter(sql, 2, BANYAN_FIELD_INT, ret);
}

void sink_sql_asides(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "SELECT \"stream\", \"position\", \"reason\" FROM ");
    sink_sql_add_table(sql, SINK_SQL_ASIDE_TABLE, ret);
    banyan_buf_add_text(ret, " WHERE \"view\" = ");
    add_parameter(sql, 1, BANYAN_FIELD_STRING, ret);
    banyan_buf_add_text(ret, " ORDER BY \"position\"");
}

void sink_sql_put_aside(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "INSERT INTO ");
    sink_sql_add_table(sql, SINK_SQL_ASIDE_TABLE, ret);
    banyan_buf_add_text(ret, " (\"view\", \"stream\", \"position\", \"reason\") VALUES (");
    add_numbered(sql, "ssis", ret);
    banyan_buf_add_text(ret, ") ON CONFLICT (\"view\", \"stream\") DO NOTHING");
}

/* ---- PostgreSQL: many rows in one statement ---- */

void sink_sql_flush(const struct sink_sql *sql, struct banyan_buf *ret)
{
    const struct banyan_record *record = sql->projection->tables[0].row;

    banyan_buf_add_text(ret, "WITH moved AS (");
    sink_sql_move(sql, ret);
    banyan_buf_add_text(ret, " RETURNING 1), asides AS (INSERT INTO ");
    sink_sql_add_table(sql, SINK_SQL_ASIDE_TABLE, ret);
    banyan_buf_add_text(ret, " (\"view\", \"stream\", \"position\", \"reason\") SELECT $1::text, a.* "
                             "FROM unnest($6::text[], $7::bigint[], $8::text[]) a, moved ON CONFLICT DO NOTHING), "
                             "removed AS (DELETE FROM ");
    add_view(sql, ret);
    banyan_buf_add_text(ret, " USING moved WHERE ");
    add_identifier(ret, sql->projection->tables[0].key_column);
    banyan_buf_add_text(ret, " = ANY ($9::bigint[])), written AS (INSERT INTO ");
    add_view(sql, ret);
    banyan_buf_add_text(ret, " (");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, ") SELECT r.* FROM unnest(");
    for (size_t i = 0; i < record->field_count; i++)
        banyan_buf_printf(ret, "%s$%zu::%s[]", i == 0 ? "" : ", ", SINK_SQL_FLUSH_COLUMNS_AT + 1 + i,
                          type_of(sql, record->fields[i].kind));
    banyan_buf_add_text(ret, ") r, moved");
    add_conflict(sql, UINT64_MAX, ret);
    banyan_buf_add_text(ret, ") SELECT count(*) FROM moved");
}

#define INCOMING "pg_temp.banyan_incoming"

void sink_sql_make_incoming(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "CREATE TEMPORARY TABLE IF NOT EXISTS " INCOMING " (LIKE ");
    add_view(sql, ret);
    banyan_buf_add_text(ret, ") ON COMMIT DELETE ROWS");
}

void sink_sql_add_incoming(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, INCOMING " (");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, ")");
}

void sink_sql_merge_incoming(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "INSERT INTO ");
    add_view(sql, ret);
    banyan_buf_add_text(ret, " (");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, ") SELECT ");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, " FROM " INCOMING);
    add_conflict(sql, UINT64_MAX, ret);
}

void sink_sql_get_many(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(
        ret, "SELECT k.place, v.* FROM unnest($1::bigint[]) WITH ORDINALITY AS k (key, place) JOIN (SELECT ");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, " FROM ");
    add_view(sql, ret);
    banyan_buf_add_text(ret, ") v ON v.");
    add_identifier(ret, sql->projection->tables[0].key_column);
    banyan_buf_add_text(ret, " = k.key");
}

/* ---- values ---- */

static bool parse_int(struct banyan_str text, int64_t *ret)
{
    struct banyan_decimal d;
    if (text.size == 0 || text.size > 20 || memchr(text.data, '.', text.size) != NULL ||
        memchr(text.data, 'e', text.size) != NULL || memchr(text.data, 'E', text.size) != NULL)
        return false;
    if (!banyan_decimal_parse(text, &d) || d.scale != 0 || d.units > INT64_MAX || d.units < INT64_MIN)
        return false;
    *ret = (int64_t)d.units;
    return true;
}

enum banyan_status sink_sql_parse(const struct banyan_field *field, struct banyan_str text, void *row,
                                  struct banyan_error *err)
{
    void *at = (char *)row + field->offset;
    const char *wanted = "a value";
    struct banyan_decimal d;

    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        *(struct banyan_str *)at = text;
        return BANYAN_OK;
    case BANYAN_FIELD_INT:
        if (parse_int(text, at))
            return BANYAN_OK;
        wanted = "a whole number of 64 bits";
        break;
    case BANYAN_FIELD_BOOL:
        if (banyan_str_equal(text, BANYAN_STR("true")) || banyan_str_equal(text, BANYAN_STR("false"))) {
            *(bool *)at = text.data[0] == 't';
            return BANYAN_OK;
        }
        wanted = "true or false";
        break;
    case BANYAN_FIELD_DECIMAL:
        if (banyan_decimal_parse(text, &d) &&
            (d.scale == BANYAN_DECIMAL_NAN || banyan_decimal_rescale(d, field->scale, &d))) {
            *(struct banyan_decimal *)at = d;
            return BANYAN_OK;
        }
        wanted = "a decimal number with no more digits than the column";
        break;
    case BANYAN_FIELD_TIME: /* equality of times is no list that a view offers */
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        break;
    }
    enum banyan_status st = banyan_error_set(err, BANYAN_INVALID, "%.*s is no value of column %s",
                                             text.size > 200 ? 200 : (int)text.size, text.data, field->name);
    banyan_error_hint(err, "give %s", wanted);
    return st;
}
