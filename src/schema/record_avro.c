/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored form of records: Avro binary (docs/FORMATS.md).
 *
 * Invariants:
 * 1. One value is written in exactly one form: integers and decimals in their shortest, lists as one block without a
 *    size.  So equal bytes mean equal content, which idempotency relies on.  Anything else is refused when read, but
 * for the blocks of lists: payloads of other writers may have them in any way that Avro knows.
 * 2. Decoding reads no byte outside the input, whatever the bytes are, and reserves no items that the bytes could not
 *    hold: each takes a byte for each of its fields at least.
 * 3. Encoding reserves the most that the record can need once, so that fields are written without a check each;
 *    FIELD_BYTES_MAX covers every field but the bytes of strings, and the words stored past a short decimal.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "schema/record_int.h"
#include "schema/wire.h"

enum {
    FIELD_BYTES_MAX = 1 + WIRE_LONG_BYTES_MAX + WIRE_DECIMAL_BYTES_MAX, /* branch, length, bytes */
};

/* ---- writing -------------------------------------------------------------------------------------------------- */

static const char *decimal_fault(struct banyan_decimal d, int32_t scale)
{
    const __int128 limit = (__int128)10000000000000000000u * 10000000000000000000u; /* 10^38 */
    if (d.scale != scale)
        return "the decimal does not have the field's scale";
    if (d.units >= limit || d.units <= -limit)
        return "the decimal has more than 38 digits";
    return NULL;
}

/* Write one field; NULL and *ret_fault* when its value is not allowed. */
static inline unsigned char *put_field(unsigned char *to, const struct banyan_field *field, const void *value,
                                       const char **ret_fault)
{
    bool optional = (field->flags & BANYAN_FIELD_OPTIONAL) != 0;
    bool absent = false;
    switch (field->kind) {
    case BANYAN_FIELD_STRING: {
        struct banyan_str text = *field_string(field, value);
        absent = text.data == NULL;
        if (absent)
            break;
        if (optional)
            *to++ = 2;
        to = wire_put_long(to, (int64_t)text.size);
        memcpy(to, text.data, text.size);
        return to + text.size;
    }
    case BANYAN_FIELD_INT:
        return wire_put_long(to, *field_int(field, value));
    case BANYAN_FIELD_BOOL:
        *to++ = *field_bool(field, value);
        return to;
    case BANYAN_FIELD_TIME: {
        int64_t us = field_time(field, value)->us;
        absent = us == BANYAN_TIME_NULL;
        if (absent)
            break;
        if (optional)
            *to++ = 2;
        return wire_put_long(to, us);
    }
    case BANYAN_FIELD_DECIMAL: {
        struct banyan_decimal d = *field_decimal(field, value);
        absent = d.scale == BANYAN_DECIMAL_NULL;
        if (absent)
            break;
        if (optional)
            *to++ = 2;
        if (d.scale == BANYAN_DECIMAL_NAN) {
            *to++ = 0;
            return to;
        }
        *ret_fault = decimal_fault(d, field->scale);
        return *ret_fault == NULL ? wire_put_units(to, d.units) : NULL;
    }
    case BANYAN_FIELD_LIST: /* see put_list() */
    case BANYAN_FIELD_NONE:
        *ret_fault = "the field has no kind";
        return NULL;
    }
    if (absent && optional) {
        *to++ = 0;
        return to;
    }
    *ret_fault = "a required field has no value";
    return NULL;
}

static unsigned char *put_record(unsigned char *to, const struct banyan_record *record, const void *value,
                                 unsigned depth, struct banyan_error *err);

static const char *list_fault(const struct banyan_field *field, const struct banyan_list *list, unsigned depth)
{
    if (depth == 0)
        return "lists nest too deep";
    if (field->item == NULL || field->item->field_count == 0)
        return "the items of the list have no fields";
    return list->count > 0 && list->items == NULL ? "the list has a count but no items" : NULL;
}

/* Write a list as one block; the end, or NULL with *err* filled. */
static unsigned char *put_list(unsigned char *to, const struct banyan_record *record, const struct banyan_field *field,
                               const struct banyan_list *list, unsigned depth, struct banyan_error *err)
{
    const char *fault = list_fault(field, list, depth);
    if (fault != NULL) {
        (void)banyan_error_set(err, BANYAN_INVALID, "record %s, field %s: %s", record->name, field->name,
                               fault); /* the caller returns the status */
        return NULL;
    }
    if (list->count > 0)
        to = wire_put_long(to, (int64_t)list->count);
    for (size_t i = 0; i < list->count && to != NULL; i++) {
        to = put_record(to, field->item, list_item(field, list, i), depth - 1, err);
        if (to == NULL)
            banyan_error_context(err, "record %s, field %s, item %zu", record->name, field->name, i);
    }
    if (to != NULL)
        *to++ = 0;
    return to;
}

/* Write all fields, lists at most *depth* levels deep; the end, or NULL with *err* filled. */
static unsigned char *put_record(unsigned char *to, const struct banyan_record *record, const void *value,
                                 unsigned depth, struct banyan_error *err)
{
    const char *fault = NULL;
    for (size_t i = 0; i < record->field_count; i++) {
        if (record->fields[i].kind == BANYAN_FIELD_LIST) {
            to = put_list(to, record, &record->fields[i], field_list(&record->fields[i], value), depth, err);
            if (to == NULL)
                return NULL;
            continue;
        }
        to = put_field(to, &record->fields[i], value, &fault);
        if (to == NULL) {
            (void)banyan_error_set(err, BANYAN_INVALID, "record %s, field %s: %s", record->name, record->fields[i].name,
                                   fault); /* the caller returns the status */
            return NULL;
        }
    }
    return to;
}

/* The most that the record can need. */
static size_t bytes_max(const struct banyan_record *record, const void *value)
{
    size_t size = record->field_count * FIELD_BYTES_MAX;
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        if (field->kind == BANYAN_FIELD_STRING)
            size += field_string(field, value)->size;
        const struct banyan_list *list = field->kind == BANYAN_FIELD_LIST ? field_list(field, value) : NULL;
        bool sound = list != NULL && list->items != NULL && field->item != NULL; /* or put_list() refuses it */
        for (size_t k = 0; sound && k < list->count; k++)
            size += bytes_max(field->item, list_item(field, list, k));
    }
    return size;
}

/* The buffer has no room for the most: the record may still fit. */
static enum banyan_status encode_tight(const struct banyan_record *record, const void *value, size_t size,
                                       struct banyan_buf *ret, struct banyan_error *err)
{
    unsigned char *memory = alloc_try(size);
    if (memory == NULL)
        return banyan_error_set(err, BANYAN_LIMIT, "record %s: no memory for %zu bytes", record->name, size);
    unsigned char *end = put_record(memory, record, value, BANYAN_RECORD_DEPTH_MAX, err);
    enum banyan_status st = end == NULL ? BANYAN_INVALID : BANYAN_OK;
    if (st == BANYAN_OK) {
        banyan_buf_add(ret, memory, (size_t)(end - memory));
        if (ret->overflow)
            st = banyan_error_set(err, BANYAN_LIMIT, "record %s: %zu bytes are more than the %zu that fit",
                                  record->name, (size_t)(end - memory), ret->size_max);
    }
    free(memory);
    return st;
}

enum banyan_status banyan_record_encode(const struct banyan_record *record, const void *value, struct banyan_buf *ret,
                                        struct banyan_error *err)
{
    size_t size = bytes_max(record, value);
    size_t before = ret->size;
    if (ret->overflow || size > ret->size_max || before > ret->size_max - size)
        return encode_tight(record, value, size, ret, err);
    unsigned char *to = (unsigned char *)banyan_buf_extend(ret, size);
    if (to == NULL)
        return banyan_error_set(err, BANYAN_LIMIT, "record %s: no memory for %zu bytes", record->name, size);
    unsigned char *end = put_record(to, record, value, BANYAN_RECORD_DEPTH_MAX, err);
    ret->size = end == NULL ? before : before + (size_t)(end - to);
    ret->data[ret->size] = '\0';
    return end == NULL ? BANYAN_INVALID : BANYAN_OK;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

static inline const char *get_decimal(struct wire_input *in, int32_t scale, struct banyan_decimal *ret)
{
    struct banyan_str bytes = {NULL, 0};
    const char *fault = wire_get_bytes(in, &bytes);
    if (fault != NULL)
        return fault;
    if (bytes.size == 0) {
        *ret = banyan_decimal_of(0, BANYAN_DECIMAL_NAN);
        return NULL;
    }
    if (bytes.size > WIRE_DECIMAL_BYTES_MAX)
        return "the decimal has more than 16 bytes";
    struct banyan_decimal d = {0, scale};
    fault = wire_units(in, bytes, &d.units);
    if (fault == NULL && bytes.size == WIRE_DECIMAL_BYTES_MAX)
        fault = decimal_fault(d, scale);
    *ret = d;
    return fault;
}

/* The branch of a union: whether there is a value. */
static inline const char *get_branch(struct wire_input *in, bool *ret_present)
{
    if (in->at == in->end)
        return wire_cut_off();
    unsigned char branch = *in->at++;
    if (branch != 0 && branch != 2)
        return "the union has no such branch";
    *ret_present = branch == 2;
    return NULL;
}

static inline const char *get_field(struct wire_input *in, const struct banyan_field *field, void *value)
{
    bool present = true;
    if (field_is_union(field)) {
        const char *fault = get_branch(in, &present);
        if (fault != NULL)
            return fault;
    }
    char *to = (char *)value + field->offset;
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        *(struct banyan_str *)to = (struct banyan_str){NULL, 0};
        return present ? wire_get_bytes(in, (struct banyan_str *)to) : NULL;
    case BANYAN_FIELD_INT:
        return wire_get_long(in, (int64_t *)to);
    case BANYAN_FIELD_BOOL:
        return wire_get_boolean(in, (bool *)to);
    case BANYAN_FIELD_TIME: {
        int64_t us = BANYAN_TIME_NULL;
        const char *fault = present ? wire_get_long(in, &us) : NULL;
        if (fault == NULL && present && us == BANYAN_TIME_NULL)
            return "the time is the one that means \"no value\"";
        *(struct banyan_time *)to = (struct banyan_time){us};
        return fault;
    }
    case BANYAN_FIELD_DECIMAL:
        *(struct banyan_decimal *)to = banyan_decimal_null();
        return present ? get_decimal(in, field->scale, (struct banyan_decimal *)to) : NULL;
    case BANYAN_FIELD_LIST: /* see get_list() */
    case BANYAN_FIELD_NONE:
        break;
    }
    return "the field has no kind";
}

static const char *get_fields(struct wire_input *in, const struct banyan_record *record, struct banyan_arena *arena,
                              unsigned depth, void *ret, const struct banyan_field **ret_field);

/* The head of a block: its items (0: the list ends) and, where it says, its end. */
static const char *get_block(struct wire_input *in, uint64_t *ret_count, const unsigned char **ret_end)
{
    int64_t count = 0, size = 0;
    const char *fault = wire_get_long(in, &count);
    *ret_end = NULL;
    if (fault == NULL && count < 0)
        fault = wire_get_long(in, &size);
    if (fault != NULL)
        return fault;
    if (size < 0 || size > in->end - in->at)
        return "the block's size passes the end";
    *ret_count = count < 0 ? -(uint64_t)count : (uint64_t)count;
    if (count < 0)
        *ret_end = in->at + size;
    return NULL;
}

/* Room for *count* more items; twice what there was at least, so that many small blocks cost no more than a large one.
 */
static void reserve_items(const struct banyan_record *item, struct banyan_arena *arena, size_t count,
                          struct banyan_list *list, size_t *capacity)
{
    if (count <= *capacity - list->count)
        return;
    *capacity = list->count + (count > list->count ? count : list->count);
    void *items = banyan_arena_alloc(arena, *capacity * item->size);
    if (list->count > 0)
        memcpy(items, list->items, list->count * item->size);
    list->items = items;
}

static const char *get_list(struct wire_input *in, const struct banyan_field *field, struct banyan_arena *arena,
                            unsigned depth, struct banyan_list *ret)
{
    const struct banyan_record *item = field->item;
    const struct banyan_field *inner = NULL;
    const char *fault = list_fault(field, ret, depth);
    size_t capacity = 0;
    while (fault == NULL) {
        const unsigned char *block_end = NULL;
        uint64_t count = 0;
        fault = get_block(in, &count, &block_end);
        if (fault != NULL || count == 0)
            break;
        if (count > (size_t)(in->end - in->at) / item->field_count)
            return "the list names more items than there are bytes for";
        reserve_items(item, arena, count, ret, &capacity);
        for (; count > 0 && fault == NULL; count--)
            fault = get_fields(in, item, arena, depth - 1, (char *)ret->items + ret->count++ * item->size, &inner);
        if (fault == NULL && block_end != NULL && in->at != block_end)
            fault = "the block is not of the size that it names";
    }
    return fault;
}

/* Read all fields; on failure *ret_field is the one that is wrong. */
static const char *get_fields(struct wire_input *in, const struct banyan_record *record, struct banyan_arena *arena,
                              unsigned depth, void *ret, const struct banyan_field **ret_field)
{
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        const char *fault;
        if (field->kind == BANYAN_FIELD_LIST) {
            struct banyan_list *list = (struct banyan_list *)((char *)ret + field->offset);
            *list = (struct banyan_list){NULL, 0};
            fault = get_list(in, field, arena, depth, list);
        } else {
            fault = get_field(in, field, ret);
        }
        if (fault == NULL)
            fault = in->irregular;
        if (fault != NULL) {
            *ret_field = field;
            return fault;
        }
    }
    return NULL;
}

enum banyan_status banyan_record_decode_in(const struct banyan_record *record, struct banyan_str data,
                                           struct banyan_arena *arena, void *ret, struct banyan_error *err)
{
    const unsigned char *start = (const unsigned char *)data.data;
    struct wire_input in = {start, start + data.size, NULL};
    const struct banyan_field *field = NULL;
    const char *fault = get_fields(&in, record, arena, BANYAN_RECORD_DEPTH_MAX, ret, &field);
    if (fault != NULL)
        return banyan_error_set(err, BANYAN_CORRUPT, "record %s, field %s (near byte %zu of %zu): %s", record->name,
                                field->name, (size_t)(in.at - start), data.size, fault);
    if (in.at != in.end)
        return banyan_error_set(err, BANYAN_CORRUPT, "record %s: %zu bytes follow its last field", record->name,
                                (size_t)(in.end - in.at));
    return BANYAN_OK;
}

enum banyan_status banyan_record_decode(const struct banyan_record *record, struct banyan_str data, void *ret,
                                        struct banyan_error *err)
{
    for (size_t i = 0; i < record->field_count; i++) {
        if (record->fields[i].kind == BANYAN_FIELD_LIST)
            return banyan_error_set(err, BANYAN_INVALID, "record %s, field %s: lists need memory to be decoded into",
                                    record->name, record->fields[i].name);
    }
    return banyan_record_decode_in(record, data, NULL, ret, err);
}
