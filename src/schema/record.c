/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records in memory: empty values, copies, differences, and the Avro schema that describes them.
 *
 * The stored form is in record_avro.c, the texts are in record_text.c.
 */
#include "banyan/record.h"

#include <assert.h>

#include "schema/record_int.h"

void banyan_record_init(const struct banyan_record *record, void *value)
{
    memset(value, 0, record->size);
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        bool optional = (field->flags & BANYAN_FIELD_OPTIONAL) != 0;
        char *at = (char *)value + field->offset;
        switch (field->kind) {
        case BANYAN_FIELD_STRING:
            *(struct banyan_str *)at = (struct banyan_str){optional ? NULL : "", 0};
            break;
        case BANYAN_FIELD_TIME:
            *(struct banyan_time *)at = (struct banyan_time){optional ? BANYAN_TIME_NULL : 0};
            break;
        case BANYAN_FIELD_DECIMAL:
            *(struct banyan_decimal *)at = banyan_decimal_of(0, optional ? BANYAN_DECIMAL_NULL : field->scale);
            break;
        case BANYAN_FIELD_INT:
        case BANYAN_FIELD_BOOL:
        case BANYAN_FIELD_LIST:
        case BANYAN_FIELD_NONE:
            break;
        }
    }
}

void banyan_record_copy(const struct banyan_record *record, void *ret, const void *value, struct banyan_arena *arena)
{
    memcpy(ret, value, record->size);
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        if (field->kind != BANYAN_FIELD_STRING)
            continue;
        struct banyan_str *text = (struct banyan_str *)((char *)ret + field->offset);
        *text = banyan_arena_str(arena, *text);
    }
}

static bool field_differs(const struct banyan_field *field, const void *a, const void *b)
{
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        return !banyan_str_equal(*field_string(field, a), *field_string(field, b));
    case BANYAN_FIELD_INT:
        return *field_int(field, a) != *field_int(field, b);
    case BANYAN_FIELD_BOOL:
        return *field_bool(field, a) != *field_bool(field, b);
    case BANYAN_FIELD_TIME:
        return field_time(field, a)->us != field_time(field, b)->us;
    case BANYAN_FIELD_DECIMAL:
        return banyan_decimal_compare(*field_decimal(field, a), *field_decimal(field, b)) != 0;
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        break;
    }
    return false;
}

uint64_t banyan_record_diff(const struct banyan_record *record, const void *a, const void *b)
{
    uint64_t differing = 0;
    assert(record->field_count <= BANYAN_FIELDS_MAX);
    for (size_t i = 0; i < record->field_count; i++)
        differing |= (uint64_t)field_differs(&record->fields[i], a, b) << i;
    return differing;
}

const struct banyan_field *banyan_record_field(const struct banyan_record *record, struct banyan_str name)
{
    for (size_t i = 0; i < record->field_count; i++) {
        if (banyan_str_equal(banyan_str_of(record->fields[i].name), name))
            return &record->fields[i];
    }
    return NULL;
}

static void add_type(const struct banyan_field *field, struct banyan_buf *ret)
{
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        banyan_buf_add_text(ret, "\"string\"");
        break;
    case BANYAN_FIELD_INT:
        banyan_buf_add_text(ret, "\"long\"");
        break;
    case BANYAN_FIELD_BOOL:
        banyan_buf_add_text(ret, "\"boolean\"");
        break;
    case BANYAN_FIELD_TIME:
        banyan_buf_add_text(ret, "{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}");
        break;
    case BANYAN_FIELD_DECIMAL:
        banyan_buf_printf(ret, "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":%d,\"scale\":%d}",
                          BANYAN_DECIMAL_DIGITS_MAX, (int)field->scale);
        break;
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        banyan_buf_add_text(ret, "\"null\"");
        break;
    }
}

void banyan_record_schema(const struct banyan_record *record, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "{\"type\":\"record\",\"name\":");
    banyan_buf_add_json(ret, banyan_str_of(record->name));
    banyan_buf_add_text(ret, ",\"fields\":[");
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        banyan_buf_add_text(ret, i == 0 ? "{\"name\":" : ",{\"name\":");
        banyan_buf_add_json(ret, banyan_str_of(field->name));
        if (field_is_union(field)) {
            banyan_buf_add_text(ret, ",\"type\":[\"null\",");
            add_type(field, ret);
            banyan_buf_add_text(ret, "],\"default\":null}");
        } else {
            banyan_buf_add_text(ret, ",\"type\":");
            add_type(field, ret);
            banyan_buf_add_char(ret, '}');
        }
    }
    banyan_buf_add_text(ret, "]}");
}
