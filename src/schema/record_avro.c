/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored form of records: Avro binary (docs/FORMATS.md).
 *
 * Invariants:
 * 1. One value has exactly one form: integers and decimals are written in their shortest form, and anything else is
 *    refused when read.  So equal bytes mean equal content, which idempotency relies on.
 * 2. Decoding reads no byte outside the input, whatever the bytes are.
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
    case BANYAN_FIELD_LIST:
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

/* Write all fields; the end, or NULL with *err* filled. */
static unsigned char *put_record(unsigned char *to, const struct banyan_record *record, const void *value,
                                 struct banyan_error *err)
{
    const char *fault = NULL;
    for (size_t i = 0; i < record->field_count; i++) {
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
        if (record->fields[i].kind == BANYAN_FIELD_STRING)
            size += field_string(&record->fields[i], value)->size;
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
    unsigned char *end = put_record(memory, record, value, err);
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
    unsigned char *end = put_record(to, record, value, err);
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
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        break;
    }
    return "the field has no kind";
}

enum banyan_status banyan_record_decode(const struct banyan_record *record, struct banyan_str data, void *ret,
                                        struct banyan_error *err)
{
    const unsigned char *start = (const unsigned char *)data.data;
    struct wire_input in = {start, start + data.size, NULL};
    for (size_t i = 0; i < record->field_count; i++) {
        const char *fault = get_field(&in, &record->fields[i], ret);
        if (fault == NULL)
            fault = in.irregular;
        if (fault != NULL)
            return banyan_error_set(err, BANYAN_CORRUPT, "record %s, field %s (near byte %zu of %zu): %s", record->name,
                                    record->fields[i].name, (size_t)(in.at - start), data.size, fault);
    }
    if (in.at != in.end)
        return banyan_error_set(err, BANYAN_CORRUPT, "record %s: %zu bytes follow its last field", record->name,
                                (size_t)(in.end - in.at));
    return BANYAN_OK;
}
