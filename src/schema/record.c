/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records in memory: what is no record, empty values, copies, differences, and the Avro schema that describes them.
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

static void copy_list(const struct banyan_field *field, struct banyan_list *list, struct banyan_arena *arena)
{
    struct banyan_list from = *list;
    *list = (struct banyan_list){NULL, from.count};
    if (from.count == 0)
        return;
    list->items = banyan_arena_alloc(arena, from.count * field->item->size);
    for (size_t i = 0; i < from.count; i++)
        banyan_record_copy(field->item, (char *)list->items + i * field->item->size, list_item(field, &from, i), arena);
}

void banyan_record_copy(const struct banyan_record *record, void *ret, const void *value, struct banyan_arena *arena)
{
    memcpy(ret, value, record->size);
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        char *at = (char *)ret + field->offset;
        if (field->kind == BANYAN_FIELD_STRING)
            *(struct banyan_str *)at = banyan_arena_str(arena, *(struct banyan_str *)at);
        else if (field->kind == BANYAN_FIELD_LIST)
            copy_list(field, (struct banyan_list *)at, arena);
    }
}

static bool list_differs(const struct banyan_field *field, const struct banyan_list *a, const struct banyan_list *b)
{
    if (a->count != b->count)
        return true;
    for (size_t i = 0; i < a->count; i++) {
        if (banyan_record_diff(field->item, list_item(field, a, i), list_item(field, b, i)) != 0)
            return true;
    }
    return false;
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
        return list_differs(field, field_list(field, a), field_list(field, b));
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

/* ---- one block ------------------------------------------------------------------------------------------------- */

/* What *value* takes behind its struct; an array of structs is aligned for any type, which takes some bytes more. */
static size_t size_behind(const struct banyan_record *record, const void *value)
{
    size_t size = 0;
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        if (field->kind == BANYAN_FIELD_STRING)
            size += field_string(field, value)->size;
        if (field->kind != BANYAN_FIELD_LIST)
            continue;
        const struct banyan_list *list = field_list(field, value);
        size += list->count * field->item->size + _Alignof(max_align_t) - 1;
        for (size_t k = 0; k < list->count; k++)
            size += size_behind(field->item, list_item(field, list, k));
    }
    return size;
}

size_t banyan_record_packed_size(const struct banyan_record *record, const void *value)
{
    return record->size + size_behind(record, value);
}

static char *pack(const struct banyan_record *record, void *at, char *next);

static char *pack_list(const struct banyan_field *field, struct banyan_list *list, char *next)
{
    const size_t mask = _Alignof(max_align_t) - 1;
    size_t bytes = list->count * field->item->size;
    if (list->count == 0) {
        list->items = NULL;
        return next;
    }
    next += -(uintptr_t)next & mask;
    memcpy(next, list->items, bytes);
    list->items = next;
    next += bytes;
    for (size_t k = 0; k < list->count; k++)
        next = pack(field->item, (char *)list->items + k * field->item->size, next);
    return next;
}

/* Take what the struct *at*, a copy already, still has elsewhere to *next*; returns the end. */
static char *pack(const struct banyan_record *record, void *at, char *next)
{
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        if (field->kind == BANYAN_FIELD_LIST)
            next = pack_list(field, (struct banyan_list *)((char *)at + field->offset), next);
        if (field->kind != BANYAN_FIELD_STRING)
            continue;
        struct banyan_str *text = (struct banyan_str *)((char *)at + field->offset);
        if (text->data == NULL)
            continue;
        if (text->size > 0)
            memcpy(next, text->data, text->size);
        text->data = next;
        next += text->size;
    }
    return next;
}

void banyan_record_pack(const struct banyan_record *record, const void *value, void *memory)
{
    memcpy(memory, value, record->size);
    (void)pack(record, memory, (char *)memory + record->size);
}

/* ---- what is no record ----------------------------------------------------------------------------------------- */

static enum banyan_status check(const struct banyan_record *record, unsigned depth, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    if (record->field_count > BANYAN_FIELDS_MAX)
        return banyan_error_set(err, BANYAN_INVALID, "record %s has %zu fields; at most %d are allowed", record->name,
                                record->field_count, BANYAN_FIELDS_MAX);
    for (size_t i = 0; i < record->field_count && st == BANYAN_OK; i++) {
        const struct banyan_field *field = &record->fields[i];
        if (field->kind != BANYAN_FIELD_LIST)
            continue;
        if (depth == 0)
            st = banyan_error_set(err, BANYAN_INVALID, "record %s, field %s: lists nest deeper than %d levels",
                                  record->name, field->name, BANYAN_RECORD_DEPTH_MAX);
        else if (field->item == NULL || field->item->field_count == 0)
            st = banyan_error_set(err, BANYAN_INVALID, "record %s, field %s: the items of the list have no fields",
                                  record->name, field->name);
        else
            st = check(field->item, depth - 1, err);
    }
    return st;
}

enum banyan_status banyan_record_check(const struct banyan_record *record, struct banyan_error *err)
{
    return check(record, BANYAN_RECORD_DEPTH_MAX, err);
}

enum banyan_status banyan_record_refuse_lists(const struct banyan_record *record, struct banyan_error *err)
{
    for (size_t i = 0; i < record->field_count; i++) {
        if (record->fields[i].kind != BANYAN_FIELD_LIST)
            continue;
        (void)banyan_error_set(err, BANYAN_INVALID, "record %s, field %s: a row cannot have a list", record->name,
                               record->fields[i].name);
        banyan_error_hint(err, "Only payloads, commands and states have lists; give the items a table of their own.");
        return BANYAN_INVALID;
    }
    return BANYAN_OK;
}

/* ---- the schema ------------------------------------------------------------------------------------------------ */

/* The record that is being described: its place is its name. */
struct place {
    const struct place *parent;      /* NULL: this is the outermost */
    const struct banyan_field *list; /* in the parent; whose items these are */
    const struct banyan_record *record;
    unsigned depth; /* lists that may still be entered */
};

static void add_record(const struct place *place, struct banyan_buf *ret);

static void add_type(const struct place *place, const struct banyan_field *field, struct banyan_buf *ret)
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
    case BANYAN_FIELD_LIST: {
        struct place item = {place, field, field->item, place->depth - 1};
        assert(place->depth > 0);
        banyan_buf_add_text(ret, "{\"type\":\"array\",\"items\":");
        add_record(&item, ret);
        banyan_buf_add_char(ret, '}');
        break;
    }
    case BANYAN_FIELD_NONE:
        banyan_buf_add_text(ret, "\"null\"");
        break;
    }
}

/* Names that hold anything a JSON text would escape are no Avro names: what parses the schema says so. */
static void add_namespace(const struct place *place, struct banyan_buf *ret)
{
    if (place->parent == NULL) {
        banyan_buf_add_text(ret, place->record->name);
        return;
    }
    add_namespace(place->parent, ret);
    banyan_buf_printf(ret, ".%s", place->list->name);
}

static void add_name(const struct place *place, struct banyan_buf *ret)
{
    if (place->parent == NULL) {
        banyan_buf_add_json(ret, banyan_str_of(place->record->name));
        return;
    }
    banyan_buf_add_char(ret, '"');
    add_namespace(place, ret);
    banyan_buf_printf(ret, ".%s\"", place->record->name);
}

static void add_record(const struct place *place, struct banyan_buf *ret)
{
    const struct banyan_record *record = place->record;
    banyan_buf_add_text(ret, "{\"type\":\"record\",\"name\":");
    add_name(place, ret);
    banyan_buf_add_text(ret, ",\"fields\":[");
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        banyan_buf_add_text(ret, i == 0 ? "{\"name\":" : ",{\"name\":");
        banyan_buf_add_json(ret, banyan_str_of(field->name));
        if (field_is_union(field)) {
            banyan_buf_add_text(ret, ",\"type\":[\"null\",");
            add_type(place, field, ret);
            banyan_buf_add_text(ret, "],\"default\":null}");
        } else {
            banyan_buf_add_text(ret, ",\"type\":");
            add_type(place, field, ret);
            /* A version of before the list reads as one without items. */
            banyan_buf_add_text(ret, field->kind == BANYAN_FIELD_LIST ? ",\"default\":[]}" : "}");
        }
    }
    banyan_buf_add_text(ret, "]}");
}

void banyan_record_schema(const struct banyan_record *record, struct banyan_buf *ret)
{
    struct place outermost = {NULL, NULL, record, BANYAN_RECORD_DEPTH_MAX};
    add_record(&outermost, ret);
}
