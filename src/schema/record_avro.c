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
#include <byteswap.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "schema/record_int.h"

enum {
    VARINT_BYTES_MAX = 10,
    DECIMAL_BYTES_MAX = 16,
    FIELD_BYTES_MAX = 1 + VARINT_BYTES_MAX + DECIMAL_BYTES_MAX, /* branch, length, bytes */
};

/* ---- writing -------------------------------------------------------------------------------------------------- */

static inline unsigned char *put_varint(unsigned char *to, int64_t value)
{
    uint64_t bits = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    while (bits >= 0x80) {
        *to++ = (unsigned char)(bits | 0x80);
        bits >>= 7;
    }
    *to++ = (unsigned char)bits;
    return to;
}

/* Length and the shortest two's complement, big-endian. */
static inline unsigned char *put_units(unsigned char *to, __int128 units)
{
    int64_t low = (int64_t)units;
    if ((__int128)low == units) {
        unsigned size = (unsigned)(64 - __builtin_clrsbll(low) + 7) / 8;
        uint64_t word = bswap_64((uint64_t)low << (64 - 8 * size));
        *to++ = (unsigned char)(size << 1);
        memcpy(to, &word, sizeof(word)); /* bytes past *size* are overwritten by the next field or cut off */
        return to + size;
    }
    int64_t high = (int64_t)(units >> 64);
    unsigned size = (unsigned)(64 - __builtin_clrsbll(high) + 7) / 8;
    /* high may be nothing but the sign of low: then its one byte is needed just for that sign. */
    uint64_t words[2] = {bswap_64((uint64_t)high << (64 - 8 * size)), bswap_64((uint64_t)low)};
    *to++ = (unsigned char)((size + 8) << 1);
    memcpy(to, &words[0], 8);
    memcpy(to + size, &words[1], 8);
    return to + size + 8;
}

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
        to = put_varint(to, (int64_t)text.size);
        memcpy(to, text.data, text.size);
        return to + text.size;
    }
    case BANYAN_FIELD_INT:
        return put_varint(to, *field_int(field, value));
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
        return put_varint(to, us);
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
        return *ret_fault == NULL ? put_units(to, d.units) : NULL;
    }
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

/* What is left to read. */
struct input {
    const unsigned char *at;
    const unsigned char *end;
};

static const char cut_off[] = "the bytes end inside the field";

static inline const char *get_varint(struct input *in, int64_t *ret)
{
    uint64_t bits = 0;
    const unsigned char *at = in->at;
    for (unsigned shift = 0;; shift += 7) {
        if (at == in->end)
            return cut_off;
        unsigned char byte = *at++;
        if (shift == 63 && byte > 1)
            return "the integer has more than 64 bits";
        bits |= (uint64_t)(byte & 0x7F) << shift;
        if (byte >= 0x80)
            continue;
        if (byte == 0 && shift > 0)
            return "the integer is not in its shortest form";
        in->at = at;
        *ret = (int64_t)(bits >> 1 ^ -(bits & 1));
        return NULL;
    }
}

static inline const char *get_bytes(struct input *in, struct banyan_str *ret)
{
    int64_t size = 0;
    const char *fault = get_varint(in, &size);
    if (fault != NULL)
        return fault;
    if (size < 0)
        return "the length is negative";
    if (size > in->end - in->at)
        return cut_off;
    *ret = (struct banyan_str){(const char *)in->at, (size_t)size};
    in->at += size;
    return NULL;
}

/* Two's complement, big-endian, 1 to 16 bytes. */
static inline __int128 units_of(const unsigned char *at, size_t size, const unsigned char *end)
{
    if (size <= 8 && end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word)); /* some bytes belong to what follows: the shift drops them */
        return (int64_t)bswap_64(word) >> (64 - 8 * size);
    }
    unsigned __int128 units = (at[0] & 0x80) != 0 ? ~(unsigned __int128)0 : 0;
    for (size_t i = 0; i < size; i++)
        units = units << 8 | at[i];
    return (__int128)units;
}

static inline const char *get_decimal(struct input *in, int32_t scale, struct banyan_decimal *ret)
{
    struct banyan_str bytes = {NULL, 0};
    const char *fault = get_bytes(in, &bytes);
    if (fault != NULL)
        return fault;
    if (bytes.size == 0) {
        *ret = banyan_decimal_of(0, BANYAN_DECIMAL_NAN);
        return NULL;
    }
    if (bytes.size > DECIMAL_BYTES_MAX)
        return "the decimal has more than 16 bytes";
    const unsigned char *at = (const unsigned char *)bytes.data;
    if (bytes.size > 1 && (at[0] == 0 ? at[1] < 0x80 : at[0] == 0xFF && at[1] >= 0x80))
        return "the decimal is not in its shortest form";
    struct banyan_decimal d = {units_of(at, bytes.size, in->end), scale};
    if (bytes.size == DECIMAL_BYTES_MAX) {
        fault = decimal_fault(d, scale);
        if (fault != NULL)
            return fault;
    }
    *ret = d;
    return NULL;
}

/* The branch of a union: whether there is a value. */
static inline const char *get_branch(struct input *in, bool *ret_present)
{
    if (in->at == in->end)
        return cut_off;
    unsigned char branch = *in->at++;
    if (branch != 0 && branch != 2)
        return "the union has no such branch";
    *ret_present = branch == 2;
    return NULL;
}

static const char *get_bool(struct input *in, bool *ret)
{
    if (in->at == in->end)
        return cut_off;
    unsigned char byte = *in->at++;
    if (byte > 1)
        return "the truth value is neither 0 nor 1";
    *ret = byte == 1;
    return NULL;
}

static inline const char *get_field(struct input *in, const struct banyan_field *field, void *value)
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
        return present ? get_bytes(in, (struct banyan_str *)to) : NULL;
    case BANYAN_FIELD_INT:
        return get_varint(in, (int64_t *)to);
    case BANYAN_FIELD_BOOL:
        return get_bool(in, (bool *)to);
    case BANYAN_FIELD_TIME: {
        int64_t us = BANYAN_TIME_NULL;
        const char *fault = present ? get_varint(in, &us) : NULL;
        if (fault == NULL && present && us == BANYAN_TIME_NULL)
            return "the time is the one that means \"no value\"";
        *(struct banyan_time *)to = (struct banyan_time){us};
        return fault;
    }
    case BANYAN_FIELD_DECIMAL:
        *(struct banyan_decimal *)to = banyan_decimal_null();
        return present ? get_decimal(in, field->scale, (struct banyan_decimal *)to) : NULL;
    case BANYAN_FIELD_NONE:
        break;
    }
    return "the field has no kind";
}

enum banyan_status banyan_record_decode(const struct banyan_record *record, struct banyan_str data, void *ret,
                                        struct banyan_error *err)
{
    const unsigned char *start = (const unsigned char *)data.data;
    struct input in = {start, start + data.size};
    for (size_t i = 0; i < record->field_count; i++) {
        const char *fault = get_field(&in, &record->fields[i], ret);
        if (fault != NULL)
            return banyan_error_set(err, BANYAN_CORRUPT, "record %s, field %s (near byte %zu of %zu): %s", record->name,
                                    record->fields[i].name, (size_t)(in.at - start), data.size, fault);
    }
    if (in.at != in.end)
        return banyan_error_set(err, BANYAN_CORRUPT, "record %s: %zu bytes follow its last field", record->name,
                                (size_t)(in.end - in.at));
    return BANYAN_OK;
}
