/* SPDX-License-Identifier: Apache-2.0 */
/* Statements from records: see sink_sql.h.  Pure. */
#include "sink/sink_sql.h"

#include <string.h>

#include "pg/conn.h"

enum {
    POSTGRES_NAME_MAX = 64, /* bytes of a name, with a NUL; what is longer is cut */
};

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

void sink_sql_add_name(const struct sink_sql *sql, const char *name, struct banyan_buf *ret)
{
    if (sql->schema != NULL) {
        add_identifier(ret, sql->schema);
        banyan_buf_add_char(ret, '.');
    }
    add_identifier(ret, name);
}

void sink_sql_add_table(const struct sink_sql *sql, struct banyan_buf *ret)
{
    sink_sql_add_name(sql, sql->name, ret);
}

/* ---- tables ---- */

/* The words of the searched columns, the first the weightiest.  PostgreSQL's parser would see hosts, numbers with signs
 * and the like: punctuation is taken away before.  A tsvector has at most 1 MB: texts are cut. */
static void add_words_column(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, ", " SINK_SQL_WORDS " tsvector GENERATED ALWAYS AS (");
    for (size_t i = 0; sql->table->search[i] != NULL; i++) {
        banyan_buf_add_text(ret, i == 0 ? "" : " || ");
        banyan_buf_add_text(ret, "setweight(to_tsvector('simple'::regconfig, regexp_replace(left(coalesce(");
        add_identifier(ret, sql->table->search[i]);
        banyan_buf_printf(ret, ", ''), %d), '[^[:alnum:]\\u0080-\\U0010FFFF]+', ' ', 'g')), '%c')",
                          SINK_SQL_SEARCHED_MAX, "ABCD"[i < 3 ? i : 3]);
    }
    banyan_buf_add_text(ret, ") STORED");
}

void sink_sql_make_table(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "CREATE TABLE ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, " (");
    for (size_t i = 0; i < sql->table->row->field_count; i++) {
        const struct banyan_field *field = &sql->table->row->fields[i];
        banyan_buf_add_text(ret, i == 0 ? "" : ", ");
        add_identifier(ret, field->name);
        banyan_buf_printf(ret, " %s", type_of(sql, field->kind));
        if (strcmp(field->name, sql->table->key_column) == 0)
            banyan_buf_add_text(ret, sql->dialect == SINK_SQL_SQLITE ? " PRIMARY KEY" : " NOT NULL");
        else if ((field->flags & BANYAN_FIELD_OPTIONAL) == 0)
            banyan_buf_add_text(ret, " NOT NULL");
    }
    if (sql->dialect == SINK_SQL_POSTGRES && sql->table->search != NULL)
        add_words_column(sql, ret);
    banyan_buf_add_text(ret, ");");
}

void sink_sql_make_key(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "ALTER TABLE ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, " ADD PRIMARY KEY (");
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, ");");
}

/* "<table>_<name>" */
static void add_index_name(const struct sink_sql *sql, const char *index, struct banyan_buf *ret)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    banyan_buf_printf(&name, "%s_%s", sql->name, index);
    pg_add_identifier(ret, banyan_buf_str(&name));
    banyan_buf_release(&name);
}

static const char key_name[] = "pkey"; /* as PostgreSQL names it */

bool sink_sql_has_key_index(const struct sink_sql *sql)
{
    bool has = strlen(sql->name) + sizeof("_pkey") <= POSTGRES_NAME_MAX; /* with the NUL */
    for (size_t i = 0; i < sql->table->index_count; i++)
        has &= strcmp(sql->table->indexes[i].name, key_name) != 0;
    return has;
}

void sink_sql_make_key_index(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "CREATE UNIQUE INDEX ");
    add_index_name(sql, key_name, ret);
    banyan_buf_add_text(ret, " ON ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, " (");
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, ");");
}

void sink_sql_take_key_index(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "ALTER TABLE ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, " ADD PRIMARY KEY USING INDEX ");
    add_index_name(sql, key_name, ret);
    banyan_buf_add_char(ret, ';');
}

/* "CREATE INDEX <table>_<name> ON <table> " */
static void add_create_index(const struct sink_sql *sql, const char *index, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, " CREATE INDEX IF NOT EXISTS ");
    add_index_name(sql, index, ret);
    banyan_buf_add_text(ret, " ON ");
    sink_sql_add_table(sql, ret);
}

static void add_index(const struct sink_sql *sql, const struct banyan_view_index *index, struct banyan_buf *ret)
{
    add_create_index(sql, index->name, ret);
    banyan_buf_add_text(ret, " (");
    add_identifier(ret, index->equal);
    banyan_buf_add_text(ret, ", ");
    add_identifier(ret, index->range);
    banyan_buf_add_text(ret, sql->dialect == SINK_SQL_POSTGRES ? " DESC NULLS LAST, " : " DESC, ");
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, " DESC);");
}

/* "banyan_search_<table>" */
static void add_search_name(const struct sink_sql *sql, const char *suffix, struct banyan_buf *ret)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    banyan_buf_printf(&name, "banyan_search_%s%s", sql->name, suffix);
    pg_add_identifier(ret, banyan_buf_str(&name));
    banyan_buf_release(&name);
}

/* The searched columns with *prefix* in front of each and a comma behind. */
static void add_searched(const struct sink_sql *sql, const char *prefix, struct banyan_buf *ret)
{
    for (size_t i = 0; sql->table->search[i] != NULL; i++) {
        banyan_buf_printf(ret, ", %s", prefix);
        add_identifier(ret, sql->table->search[i]);
    }
}

/* FTS5 keeps what belongs to the row *which* ("old" or "new") of a trigger: forget it, or learn it. */
static void add_search_step(const struct sink_sql *sql, bool forget, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "INSERT INTO ");
    add_search_name(sql, "", ret);
    banyan_buf_add_text(ret, " (");
    if (forget) {
        add_search_name(sql, "", ret);
        banyan_buf_add_text(ret, ", ");
    }
    banyan_buf_add_text(ret, "rowid");
    add_searched(sql, "", ret);
    banyan_buf_add_text(ret, forget ? ") VALUES ('delete', old." : ") VALUES (new.");
    add_identifier(ret, sql->table->key_column);
    add_searched(sql, forget ? "old." : "new.", ret);
    banyan_buf_add_text(ret, "); ");
}

static void add_search_trigger(const struct sink_sql *sql, const char *suffix, bool forgets, bool learns,
                               struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "CREATE TRIGGER ");
    add_search_name(sql, suffix, ret);
    banyan_buf_printf(ret, " AFTER %s", forgets && learns ? "UPDATE OF " : forgets ? "DELETE" : "INSERT");
    for (size_t i = 0; forgets && learns && sql->table->search[i] != NULL; i++) {
        banyan_buf_add_text(ret, i == 0 ? "" : ", ");
        add_identifier(ret, sql->table->search[i]);
    }
    banyan_buf_add_text(ret, " ON ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, " BEGIN ");
    if (forgets)
        add_search_step(sql, true, ret);
    if (learns)
        add_search_step(sql, false, ret);
    banyan_buf_add_text(ret, "END; ");
}

void sink_sql_make_search(const struct sink_sql *sql, struct banyan_buf *ret)
{
    if (sql->table->search == NULL)
        return;
    if (sql->dialect == SINK_SQL_POSTGRES) {
        add_create_index(sql, "words", ret);
        banyan_buf_add_text(ret, " USING gin (" SINK_SQL_WORDS ");");
        return;
    }
    banyan_buf_add_text(ret, "CREATE VIRTUAL TABLE ");
    add_search_name(sql, "", ret);
    banyan_buf_add_text(ret, " USING fts5(");
    for (size_t i = 0; sql->table->search[i] != NULL; i++) {
        add_identifier(ret, sql->table->search[i]);
        banyan_buf_add_text(ret, ", ");
    }
    banyan_buf_add_text(ret, "content=");
    pg_add_literal(ret, banyan_str_of(sql->name));
    banyan_buf_add_text(ret, ", content_rowid=");
    pg_add_literal(ret, banyan_str_of(sql->table->key_column));
    banyan_buf_add_text(ret, ", tokenize='unicode61 remove_diacritics 0'); INSERT INTO ");
    add_search_name(sql, "", ret);
    banyan_buf_add_text(ret, " (");
    add_search_name(sql, "", ret);
    banyan_buf_add_text(ret, ") VALUES ('rebuild'); ");
    add_search_trigger(sql, "_i", false, true, ret);
    add_search_trigger(sql, "_d", true, false, ret);
    add_search_trigger(sql, "_u", true, true, ret);
}

void sink_sql_make_index(const struct sink_sql *sql, size_t index, struct banyan_buf *ret)
{
    add_index(sql, &sql->table->indexes[index], ret);
}

void sink_sql_make_indexes(const struct sink_sql *sql, struct banyan_buf *ret)
{
    for (size_t i = 0; i < sql->table->index_count; i++)
        sink_sql_make_index(sql, i, ret);
}

/* ---- rows ---- */

uint64_t sink_sql_indexed_fields(const struct banyan_table *table)
{
    uint64_t fields = 0;
    for (size_t f = 0; f < table->row->field_count; f++) {
        const char *name = table->row->fields[f].name;
        for (size_t i = 0; i < table->index_count; i++)
            if (strcmp(name, table->indexes[i].equal) == 0 || strcmp(name, table->indexes[i].range) == 0)
                fields |= UINT64_C(1) << f;
        for (const char *const *column = table->search; column != NULL && *column != NULL; column++)
            if (strcmp(name, *column) == 0)
                fields |= UINT64_C(1) << f;
    }
    return fields;
}

void sink_sql_add_columns(const struct sink_sql *sql, struct banyan_buf *ret)
{
    for (size_t i = 0; i < sql->table->row->field_count; i++) {
        banyan_buf_add_text(ret, i == 0 ? "" : ", ");
        add_identifier(ret, sql->table->row->fields[i].name);
    }
}

/* Update the columns of *fields*; do nothing where that has none but the key. */
static void add_conflict(const struct sink_sql *sql, uint64_t fields, struct banyan_buf *ret)
{
    const struct banyan_record *record = sql->table->row;
    bool any = false;
    banyan_buf_add_text(ret, " ON CONFLICT (");
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, ") DO ");
    for (size_t i = 0; i < record->field_count; i++) {
        const char *name = record->fields[i].name;
        if ((fields & UINT64_C(1) << i) == 0 || strcmp(name, sql->table->key_column) == 0)
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
    const struct banyan_record *record = sql->table->row;
    banyan_buf_add_text(ret, "INSERT INTO ");
    sink_sql_add_table(sql, ret);
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
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, " WHERE ");
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, " = ");
    add_parameter(sql, 1, BANYAN_FIELD_INT, ret);
}

static void add_select(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "SELECT ");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, " FROM ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, " WHERE ");
}

void sink_sql_get(const struct sink_sql *sql, struct banyan_buf *ret)
{
    add_select(sql, ret);
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, " = ");
    add_parameter(sql, 1, BANYAN_FIELD_INT, ret);
}

void sink_sql_range(const struct sink_sql *sql, struct banyan_buf *ret)
{
    add_select(sql, ret);
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, " >= ");
    add_parameter(sql, 1, BANYAN_FIELD_INT, ret);
    banyan_buf_add_text(ret, " AND ");
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, " <= ");
    add_parameter(sql, 2, BANYAN_FIELD_INT, ret);
    banyan_buf_add_text(ret, " ORDER BY ");
    add_identifier(ret, sql->table->key_column);
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
    const struct banyan_field *range = banyan_record_field(sql->table->row, banyan_str_of(index->range));
    bool may_be_null = (range->flags & BANYAN_FIELD_OPTIONAL) != 0 && (form & (SINK_SQL_FROM | SINK_SQL_TO)) == 0;

    banyan_buf_add_text(ret, " AND (");
    if ((form & SINK_SQL_AFTER) != 0) {
        banyan_buf_add_text(ret, "(");
        add_identifier(ret, index->range);
        banyan_buf_add_text(ret, ", ");
        add_identifier(ret, sql->table->key_column);
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
        add_identifier(ret, sql->table->key_column);
        banyan_buf_add_text(ret, " < ");
        add_parameter(sql, number, BANYAN_FIELD_INT, ret);
    }
    banyan_buf_add_text(ret, ")");
}

void sink_sql_list(const struct sink_sql *sql, const struct banyan_view_index *index, unsigned form,
                   struct banyan_buf *ret)
{
    const struct banyan_field *equal = banyan_record_field(sql->table->row, banyan_str_of(index->equal));
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
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, " DESC LIMIT ");
    add_parameter(sql, number, BANYAN_FIELD_INT, ret);
}

/* ---- search ---- */

/* AND column = parameter…; the number of the next parameter. */
static unsigned add_filters(const struct sink_sql *sql, const struct sink_search *search,
                            const struct sink_search_plan *plan, unsigned number, struct banyan_buf *ret)
{
    for (size_t i = 0; i < plan->equal_count; i++) {
        banyan_buf_add_text(ret, " AND t.");
        add_identifier(ret, plan->equal[i]->name);
        banyan_buf_add_text(ret, " = ");
        add_parameter(sql, number++, plan->equal[i]->kind, ret);
    }
    for (int part = 0; plan->range != NULL && part < 2; part++) {
        if ((part == 0 ? search->from : search->to).us == BANYAN_TIME_NULL)
            continue;
        banyan_buf_add_text(ret, " AND t.");
        add_identifier(ret, plan->range->name);
        banyan_buf_add_text(ret, part == 0 ? " >= " : " < ");
        add_parameter(sql, number++, BANYAN_FIELD_TIME, ret);
    }
    return number;
}

void sink_sql_add_rank(const struct sink_sql *sql, const struct sink_search_plan *plan, struct banyan_buf *ret)
{
    static const char *const weights[] = {"10", "4", "2", "1"};
    if (plan->words.count == 0) {
        banyan_buf_add_text(ret, "0");
    } else if (sql->dialect == SINK_SQL_POSTGRES) {
        banyan_buf_add_text(ret, "-ts_rank(t." SINK_SQL_WORDS ", to_tsquery('simple', $1::text))");
    } else {
        banyan_buf_add_text(ret, "bm25(");
        add_search_name(sql, "", ret);
        for (size_t i = 0; sql->table->search[i] != NULL; i++)
            banyan_buf_printf(ret, ", %s.0", weights[i < 3 ? i : 3]);
        banyan_buf_add_text(ret, ")");
    }
}

void sink_sql_search(const struct sink_sql *sql, const struct sink_search *search, const struct sink_search_plan *plan,
                     struct banyan_buf *ret)
{
    bool words = plan->words.count > 0, sqlite = sql->dialect == SINK_SQL_SQLITE;
    banyan_buf_add_text(ret, "SELECT ");
    for (size_t i = 0; i < sql->table->row->field_count; i++) {
        banyan_buf_add_text(ret, i == 0 ? "t." : ", t.");
        add_identifier(ret, sql->table->row->fields[i].name);
    }
    if (!sqlite) {
        banyan_buf_add_text(ret, ", ");
        sink_sql_add_rank(sql, plan, ret);
        banyan_buf_add_text(ret, " AS banyan_rank");
    }
    banyan_buf_add_text(ret, " FROM ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, " AS t");
    if (words && sqlite) {
        banyan_buf_add_text(ret, " JOIN ");
        add_search_name(sql, "", ret);
        banyan_buf_add_text(ret, " ON ");
        add_search_name(sql, "", ret);
        banyan_buf_add_text(ret, ".rowid = t.");
        add_identifier(ret, sql->table->key_column);
        banyan_buf_add_text(ret, " WHERE ");
        add_search_name(sql, "", ret);
        banyan_buf_add_text(ret, " MATCH ?1");
    } else {
        banyan_buf_add_text(ret,
                            words ? " WHERE t." SINK_SQL_WORDS " @@ to_tsquery('simple', $1::text)" : " WHERE 1 = 1");
    }
    unsigned number = add_filters(sql, search, plan, words ? 2 : 1, ret);
    banyan_buf_add_text(ret, " ORDER BY ");
    if (words) {
        sink_sql_add_rank(sql, plan, ret);
        banyan_buf_add_text(ret, ", ");
    }
    banyan_buf_add_text(ret, "t.");
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, " DESC LIMIT ");
    add_parameter(sql, number, BANYAN_FIELD_INT, ret);
    banyan_buf_add_text(ret, " OFFSET ");
    add_parameter(sql, number + 1, BANYAN_FIELD_INT, ret);
}

void sink_sql_words(const struct sink_sql *sql, const struct sink_search_plan *plan, struct banyan_buf *ret)
{
    bool postgres = sql->dialect == SINK_SQL_POSTGRES;
    for (size_t i = 0; i < plan->words.count; i++) {
        bool open = plan->open && i + 1 == plan->words.count;
        banyan_buf_add_text(ret, i == 0 ? "" : postgres ? " & " : " ");
        if (postgres)
            pg_add_literal(ret, plan->words.words[i]);
        else
            pg_add_identifier(ret, plan->words.words[i]); /* a phrase of FTS5 is quoted like a name */
        if (open)
            banyan_buf_add_text(ret, postgres ? ":*" : " *");
    }
}

/* ---- PostgreSQL: many rows in one statement ---- */

void sink_sql_delete_many(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "DELETE FROM ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, " WHERE ");
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, " = ANY ($1::bigint[])");
}

void sink_sql_write_many(const struct sink_sql *sql, struct banyan_buf *ret)
{
    const struct banyan_record *record = sql->table->row;
    banyan_buf_add_text(ret, "INSERT INTO ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, " (");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, ") SELECT r.* FROM unnest(");
    for (size_t i = 0; i < record->field_count; i++)
        banyan_buf_printf(ret, "%s$%zu::%s[]", i == 0 ? "" : ", ", 1 + i, type_of(sql, record->fields[i].kind));
    banyan_buf_add_text(ret, ") r");
    add_conflict(sql, UINT64_MAX, ret);
}

/* The temporary table of this one. */
static void add_incoming_name(const struct sink_sql *sql, struct banyan_buf *ret)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    banyan_buf_printf(&name, "banyan_in_%s", sql->name);
    banyan_buf_add_text(ret, "pg_temp.");
    pg_add_identifier(ret, banyan_buf_str(&name));
    banyan_buf_release(&name);
}

void sink_sql_make_incoming(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "CREATE TEMPORARY TABLE IF NOT EXISTS ");
    add_incoming_name(sql, ret);
    banyan_buf_add_text(ret, " (LIKE ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, ") ON COMMIT DELETE ROWS");
}

void sink_sql_add_incoming(const struct sink_sql *sql, struct banyan_buf *ret)
{
    add_incoming_name(sql, ret);
    banyan_buf_add_text(ret, " (");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, ")");
}

void sink_sql_merge_incoming(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "INSERT INTO ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, " (");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, ") SELECT ");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, " FROM ");
    add_incoming_name(sql, ret);
    add_conflict(sql, UINT64_MAX, ret);
}

void sink_sql_get_many(const struct sink_sql *sql, struct banyan_buf *ret)
{
    banyan_buf_add_text(
        ret, "SELECT k.place, v.* FROM unnest($1::bigint[]) WITH ORDINALITY AS k (key, place) JOIN (SELECT ");
    sink_sql_add_columns(sql, ret);
    banyan_buf_add_text(ret, " FROM ");
    sink_sql_add_table(sql, ret);
    banyan_buf_add_text(ret, ") v ON v.");
    add_identifier(ret, sql->table->key_column);
    banyan_buf_add_text(ret, " = k.key");
}
