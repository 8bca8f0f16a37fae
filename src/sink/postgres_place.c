/* SPDX-License-Identifier: Apache-2.0 */
/* Names, connections and rows of a view in PostgreSQL: see postgres_place.h. */
#include "sink/postgres_place.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/decimal.h"
#include "banyan/record.h"
#include "base/alloc.h"
#include "pg/copy.h"

struct postgres_place postgres_place_copy(const struct postgres_place *place)
{
    return (struct postgres_place){place->projection, place->conninfo == NULL ? NULL : alloc_text(place->conninfo),
                                   alloc_text(place->schema), alloc_text(place->view)};
}

void postgres_place_release(struct postgres_place *place)
{
    free(place->conninfo);
    free(place->schema);
    free(place->view);
}

enum banyan_status postgres_connect(const struct postgres_place *place, bool reads, struct pg_conn **ret,
                                    struct banyan_error *err)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    banyan_buf_printf(&name, "banyan view %s", place->view);
    enum banyan_status st =
        pg_connect(&(struct pg_options){.conninfo = place->conninfo,
                                        .application_name = name.data,
                                        .connect_timeout_us = reads ? POSTGRES_READER_TIMEOUT_US : 0},
                   ret, err);
    banyan_buf_release(&name);
    return st;
}

/* ---- statements ---- */

struct sink_sql postgres_sql(const struct postgres_place *place, unsigned table, uint32_t generation,
                             struct banyan_buf *memory)
{
    const struct banyan_table *about = &place->projection->tables[table];
    banyan_buf_reset(memory);
    banyan_buf_printf(memory, "%s_g%u", about->name, generation);
    return (struct sink_sql){SINK_SQL_POSTGRES, place->schema, memory->data, about};
}

void postgres_add_name(const struct postgres_place *place, const char *name, struct banyan_buf *ret)
{
    pg_add_identifier(ret, banyan_str_of(place->schema));
    banyan_buf_add_char(ret, '.');
    pg_add_identifier(ret, banyan_str_of(name));
}

void postgres_add_sql(const struct postgres_place *place, const char *sql, struct banyan_buf *ret)
{
    for (const char *at = sql; *at != '\0';) {
        size_t plain = strcspn(at, "@"), size = 0;
        banyan_buf_add(ret, at, plain);
        at += plain;
        if (*at != '@')
            break;
        at++;
        while (islower((unsigned char)at[size]))
            size++;
        pg_add_identifier(ret, banyan_str_of(place->schema));
        banyan_buf_printf(ret, ".banyan_%.*s", (int)size, at);
        at += size;
    }
}

enum banyan_status postgres_exec(const struct postgres_place *place, struct pg_conn *conn, const char *sql,
                                 const struct pg_param *params, size_t count, struct pg_result **ret,
                                 struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    postgres_add_sql(place, sql, &text);
    enum banyan_status st = pg_exec(conn, text.data, params, count, ret, err);
    banyan_buf_release(&text);
    return st;
}

struct pg_param postgres_int(int64_t value, char memory[POSTGRES_INT_MAX])
{
    static const struct banyan_field field = {.name = "int", .kind = BANYAN_FIELD_INT};
    struct banyan_buf text = BANYAN_BUF_INIT(POSTGRES_INT_MAX);
    banyan_field_text(&field, &value, &text);
    memcpy(memory, text.data, text.size);
    struct pg_param param = {{memory, text.size}};
    banyan_buf_release(&text);
    return param;
}

void postgres_add_tables(const struct postgres_place *place, uint32_t generation, struct banyan_buf *ret)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    for (unsigned i = 0; i < place->projection->table_count; i++) {
        struct sink_sql sql = postgres_sql(place, i, generation, &name);
        sink_sql_make_table(&sql, ret);
    }
    banyan_buf_release(&name);
}

void postgres_drop_tables(const struct postgres_place *place, uint32_t generation, struct banyan_buf *ret)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    for (unsigned i = 0; i < place->projection->table_count; i++) {
        struct sink_sql sql = postgres_sql(place, i, generation, &name);
        banyan_buf_add_text(ret, "DROP TABLE IF EXISTS ");
        sink_sql_add_table(&sql, ret);
        banyan_buf_add_text(ret, ";");
    }
    banyan_buf_release(&name);
}

/* ---- rows ---- */

void postgres_oids(const struct banyan_record *record, uint32_t ret[BANYAN_FIELDS_MAX])
{
    static const uint32_t oids[] = {0, PG_TYPE_TEXT, PG_TYPE_INT8, PG_TYPE_BOOL, PG_TYPE_TIMESTAMPTZ, PG_TYPE_NUMERIC};
    for (size_t i = 0; i < record->field_count; i++)
        ret[i] = oids[record->fields[i].kind];
}

void postgres_add_element(struct banyan_buf *array, struct banyan_str text, bool quoted)
{
    banyan_buf_add_char(array, array->size == 0 ? '{' : ',');
    if (text.data == NULL) {
        banyan_buf_add_text(array, "NULL");
        return;
    }
    if (!quoted) {
        banyan_buf_add_str(array, text);
        return;
    }
    banyan_buf_add_char(array, '"');
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] == '"' || text.data[i] == '\\') {
            banyan_buf_add(array, text.data + from, i - from);
            banyan_buf_add_char(array, '\\');
            from = i;
        }
    banyan_buf_add(array, text.data + from, text.size - from);
    banyan_buf_add_char(array, '"');
}

void postgres_add_field(struct banyan_buf *array, const struct banyan_field *field, const void *row)
{
    const void *value = (const char *)row + field->offset;
    if (field->kind == BANYAN_FIELD_STRING || !banyan_field_has_value(field, row)) {
        bool string = field->kind == BANYAN_FIELD_STRING;
        postgres_add_element(array, string ? *(const struct banyan_str *)value : (struct banyan_str){NULL, 0}, true);
        return;
    }
    banyan_buf_add_char(array, array->size == 0 ? '{' : ',');
    if (field->kind == BANYAN_FIELD_TIME)
        banyan_buf_add_char(array, '"');
    banyan_field_text(field, row, array);
    if (field->kind == BANYAN_FIELD_TIME)
        banyan_buf_add_char(array, '"');
}

enum banyan_status postgres_row(const struct banyan_record *record, const struct pg_result *result, size_t at,
                                size_t column, struct banyan_arena *arena, void *row, struct banyan_error *err)
{
    uint32_t oids[BANYAN_FIELDS_MAX];
    enum banyan_status st = BANYAN_OK;
    postgres_oids(record, oids);
    for (size_t i = 0; i < record->field_count && st == BANYAN_OK; i++)
        st = pg_cell_parse(&record->fields[i], oids[i], pg_text(result, at, column + i), arena, row, err);
    return st;
}

enum banyan_status postgres_asides(const struct postgres_place *place, struct pg_conn *conn, uint32_t generation,
                                   struct banyan_arena *arena, struct sink_aside **ret, size_t *ret_count,
                                   struct banyan_error *err)
{
    char memory[POSTGRES_INT_MAX];
    struct pg_param params[] = {postgres_text(banyan_str_of(place->view)), postgres_int(generation, memory)};
    struct pg_result *result = NULL;
    enum banyan_status st = postgres_exec(place, conn,
                                          "SELECT by_stream, key, stream, position, at, held, reason FROM @aside WHERE "
                                          "view = $1 AND generation = $2::int ORDER BY position",
                                          params, 2, &result, err);
    if (st != BANYAN_OK)
        return st;
    size_t count = pg_rows(result);
    struct sink_aside *asides = banyan_arena_alloc(arena, (count + 1) * sizeof(*asides));
    for (size_t i = 0; i < count; i++)
        asides[i] = (struct sink_aside){.by_stream = pg_bool(result, i, 0),
                                        .key = pg_int(result, i, 1),
                                        .stream = banyan_arena_str(arena, pg_text(result, i, 2)),
                                        .position = {(uint64_t)pg_int(result, i, 3)},
                                        .at = {pg_int(result, i, 4)},
                                        .held = (uint64_t)pg_int(result, i, 5),
                                        .reason = banyan_arena_str(arena, pg_text(result, i, 6))};
    pg_result_free(result);
    *ret = asides;
    *ret_count = count;
    return BANYAN_OK;
}
