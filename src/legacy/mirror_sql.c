/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements of the mirror.  An UPDATE or DELETE that does not find exactly its row divides by zero: so that a whole
 * batch can be one round trip, and the first that fails undoes all.
 */
#include "legacy/mirror_int.h"

#include <inttypes.h>
#include <string.h>

#include "pg/copy.h"

struct statement {
    struct banyan_buf *sql;
    struct banyan_arena *arena;
    struct pg_param *params;
    size_t count;
};

/* "$n" for the value of a field. */
static void add_value(struct statement *statement, const struct banyan_field *field, const void *row)
{
    struct banyan_buf text = BANYAN_BUF_INIT(STORE_PAYLOAD_BYTES_MAX);
    struct pg_param *param = &statement->params[statement->count++];
    param->text = (struct banyan_str){NULL, 0};
    if (banyan_field_has_value(field, row)) {
        banyan_field_text(field, row, &text);
        param->text = banyan_arena_str(statement->arena, banyan_buf_str(&text));
    }
    banyan_buf_release(&text);
    banyan_buf_printf(statement->sql, "$%zu", statement->count);
}

static void add_column(struct banyan_buf *sql, const struct banyan_field *field)
{
    pg_add_identifier(sql, banyan_str_of(field->name));
}

static bool is_column(const struct banyan_field *field, const char *name)
{
    return name != NULL && strcmp(field->name, name) == 0;
}

/* "key = …" */
static void add_key(struct statement *statement, const struct banyan_legacy_table *table, int64_t key)
{
    struct pg_param *param = &statement->params[statement->count++];
    param->text = banyan_arena_printf(statement->arena, "%" PRId64, key);
    pg_add_identifier(statement->sql, banyan_str_of(table->key_column));
    banyan_buf_printf(statement->sql, " = $%zu", statement->count);
}

static void add_same(struct statement *statement, const struct banyan_field *field, uint32_t oid, const void *row)
{
    banyan_buf_add_text(statement->sql, " AND ");
    add_column(statement->sql, field);
    if (oid == PG_TYPE_JSON) /* has no equality */
        banyan_buf_add_text(statement->sql, "::text");
    banyan_buf_add_text(statement->sql, " IS NOT DISTINCT FROM ");
    add_value(statement, field, row);
}

/* The row as it is expected: of the root all columns, of a child those that tell it apart. */
static void add_where(struct statement *statement, const struct mirror_mapping *mapping, unsigned at, int64_t key,
                      const void *old)
{
    const struct banyan_legacy_table *table = &mapping->spec->tables[at];
    const struct banyan_field *column = banyan_record_field(table->row, banyan_str_of(table->key_column));
    banyan_buf_add_text(statement->sql, " WHERE ");
    /* A child may have been another aggregate's before. */
    add_key(statement, table, at == 0 ? key : *(const int64_t *)((const char *)old + column->offset));
    for (size_t i = 0; i < table->row->field_count; i++) {
        const struct banyan_field *field = &table->row->fields[i];
        bool wanted = at == 0;
        for (const char *const *name = table->row_columns; at > 0 && name != NULL && *name != NULL; name++)
            wanted |= is_column(field, *name);
        if (wanted && !is_column(field, table->key_column))
            add_same(statement, field, mapping->column_oids[at][i], old);
    }
}

static void add_insert(struct statement *statement, const struct banyan_legacy_table *table, const void *row)
{
    struct banyan_buf *sql = statement->sql;
    const struct banyan_record *record = table->row;
    const char *before = "";
    banyan_buf_add_text(sql, "INSERT INTO ");
    pg_add_table(sql, banyan_str_of(table->name));
    banyan_buf_add_text(sql, " (");
    for (size_t i = 0; i < record->field_count; i++) {
        if (is_column(&record->fields[i], table->generated_column))
            continue;
        banyan_buf_add_text(sql, before);
        add_column(sql, &record->fields[i]);
        before = ", ";
    }
    banyan_buf_add_text(sql, ") OVERRIDING SYSTEM VALUE VALUES (");
    before = "";
    for (size_t i = 0; i < record->field_count; i++) {
        if (is_column(&record->fields[i], table->generated_column))
            continue;
        banyan_buf_add_text(sql, before);
        add_value(statement, &record->fields[i], row);
        before = ", ";
    }
    banyan_buf_add_char(sql, ')');
}

static void add_update(struct statement *statement, const struct mirror_mapping *mapping, int64_t key,
                       const struct mirror_operation *operation)
{
    const struct banyan_legacy_table *table = &mapping->spec->tables[operation->table];
    uint64_t changed = banyan_record_diff(table->row, operation->old, operation->new);
    struct banyan_buf *sql = statement->sql;
    const char *before = " SET ";
    banyan_buf_add_text(sql, "WITH changed AS (UPDATE ");
    pg_add_table(sql, banyan_str_of(table->name));
    for (size_t i = 0; i < table->row->field_count; i++) {
        const struct banyan_field *field = &table->row->fields[i];
        /* Where nothing differs the write is real all the same: that is how rights are proven. */
        if ((changed >> i & 1) == 0 && !(changed == 0 && is_column(field, table->key_column)))
            continue;
        banyan_buf_add_text(sql, before);
        add_column(sql, field);
        banyan_buf_add_text(sql, " = ");
        add_value(statement, field, operation->new);
        before = ", ";
    }
    add_where(statement, mapping, operation->table, key, operation->old);
    banyan_buf_add_text(sql, " RETURNING 1) SELECT 1 / (count(*) = 1)::int FROM changed");
}

static void add_delete(struct statement *statement, const struct mirror_mapping *mapping, int64_t key,
                       const struct mirror_operation *operation)
{
    banyan_buf_add_text(statement->sql, "WITH changed AS (DELETE FROM ");
    pg_add_table(statement->sql, banyan_str_of(mapping->spec->tables[operation->table].name));
    add_where(statement, mapping, operation->table, key, operation->old);
    banyan_buf_add_text(statement->sql, " RETURNING 1) SELECT 1 / (count(*) = 1)::int FROM changed");
}

static void add_overwrite(struct statement *statement, const struct banyan_legacy_table *table, int64_t key,
                          const void *row)
{
    struct banyan_buf *sql = statement->sql;
    const char *before = ") DO UPDATE SET ";
    if (row == NULL) {
        banyan_buf_add_text(sql, "DELETE FROM ");
        pg_add_table(sql, banyan_str_of(table->name));
        banyan_buf_add_text(sql, " WHERE ");
        add_key(statement, table, key);
        return;
    }
    add_insert(statement, table, row);
    banyan_buf_add_text(sql, " ON CONFLICT (");
    pg_add_identifier(sql, banyan_str_of(table->key_column));
    for (size_t i = 0; i < table->row->field_count; i++) {
        banyan_buf_add_text(sql, before);
        add_column(sql, &table->row->fields[i]);
        banyan_buf_add_text(sql, " = excluded.");
        add_column(sql, &table->row->fields[i]);
        before = ", ";
    }
}

void mirror_statement(struct legacy_mirror *mirror, const struct mirror_mapping *mapping, int64_t key,
                      const struct mirror_operation *operation, struct banyan_arena *arena,
                      struct pg_param **ret_params, size_t *ret_count)
{
    const struct banyan_legacy_table *table = &mapping->spec->tables[operation->table];
    struct statement statement = {
        .sql = &mirror->sql,
        .arena = arena,
        .params = banyan_arena_alloc(arena, (2 * table->row->field_count + 2) * sizeof(struct pg_param)),
    };
    banyan_buf_reset(&mirror->sql);
    switch (operation->action) {
    case MIRROR_INSERT:
        add_insert(&statement, table, operation->new);
        break;
    case MIRROR_UPDATE:
        add_update(&statement, mapping, key, operation);
        break;
    case MIRROR_DELETE:
        add_delete(&statement, mapping, key, operation);
        break;
    case MIRROR_OVERWRITE:
        add_overwrite(&statement, table, key, operation->new);
        break;
    }
    banyan_buf_add_char(&mirror->sql, '\0');
    *ret_params = statement.params;
    *ret_count = statement.count;
}

void mirror_select(const struct mirror_mapping *mapping, unsigned at, const int64_t *key, struct banyan_buf *sql)
{
    const struct banyan_legacy_table *table = &mapping->spec->tables[at];
    banyan_buf_reset(sql);
    for (size_t i = 0; i < table->row->field_count; i++) {
        banyan_buf_add_text(sql, i == 0 ? "SELECT " : ", ");
        add_column(sql, &table->row->fields[i]);
    }
    banyan_buf_add_text(sql, " FROM ");
    pg_add_table(sql, banyan_str_of(table->name));
    if (key != NULL) {
        banyan_buf_add_text(sql, " WHERE ");
        pg_add_identifier(sql, banyan_str_of(table->key_column));
        banyan_buf_printf(sql, " = %" PRId64, *key);
    } else {
        banyan_buf_add_text(sql, " LIMIT 1 FOR UPDATE SKIP LOCKED");
    }
    banyan_buf_add_char(sql, '\0');
}

enum banyan_status mirror_row_parse(const struct mirror_mapping *mapping, unsigned at, const struct pg_result *result,
                                    struct banyan_arena *arena, void *ret, struct banyan_error *err)
{
    const struct banyan_record *record = mapping->spec->tables[at].row;
    enum banyan_status status = BANYAN_OK;
    banyan_record_init(record, ret);
    for (size_t i = 0; status == BANYAN_OK && i < record->field_count; i++)
        status = pg_cell_parse(&record->fields[i], mapping->column_oids[at][i], pg_text(result, 0, i), arena, ret, err);
    return status;
}
