/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binary cells → fields.  The hot path of backfill and capture.
 *
 * Invariants:
 *   1. A value is taken exactly or refused: no rounding, no clamping, no replacement of what a field cannot hold.
 *      (A floating point number is what PostgreSQL prints of it: cell_float.c.)
 *   2. The length of every cell is checked before its bytes are read: they come from outside.
 *   3. The binary and the text form (cell_text.c) of a value give the same field.
 *
 * A numeric travels as base-10000 digits.  Up to four of them (16 decimal digits) are gathered in 64 bits; the rest
 * takes 128 bits with overflow checks.
 */
#include "pg/cell.h"

#include <limits.h>

#include "pg/wire.h"

enum {
    SMALL_MAX = 18, /* 10^18 fits 64 bits */
};

static const int64_t small_powers[SMALL_MAX + 1] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
};

/* 10^exponent for 0 … 38, which fits 128 bits. */
static __int128 power_of_ten(int exponent)
{
    __int128 power = 1;

    for (; exponent > SMALL_MAX; exponent -= SMALL_MAX)
        power *= small_powers[SMALL_MAX];
    return power * small_powers[exponent];
}

/* ---- which types fit ---- */

bool pg_type_fits(uint32_t oid, bool is_enum, enum banyan_field_kind kind)
{
    if (is_enum)
        return kind == BANYAN_FIELD_STRING;
    switch (oid) {
    case PG_TYPE_TEXT:
    case PG_TYPE_VARCHAR:
    case PG_TYPE_BPCHAR:
    case PG_TYPE_NAME:
    case PG_TYPE_UUID:
    case PG_TYPE_JSON:
    case PG_TYPE_JSONB:
        return kind == BANYAN_FIELD_STRING;
    case PG_TYPE_INT2:
    case PG_TYPE_INT4:
    case PG_TYPE_INT8:
        return kind == BANYAN_FIELD_INT || kind == BANYAN_FIELD_DECIMAL;
    case PG_TYPE_BOOL:
        return kind == BANYAN_FIELD_BOOL;
    case PG_TYPE_TIMESTAMPTZ:
    case PG_TYPE_TIMESTAMP:
    case PG_TYPE_DATE:
        return kind == BANYAN_FIELD_TIME;
    case PG_TYPE_NUMERIC:
    case PG_TYPE_FLOAT4:
    case PG_TYPE_FLOAT8:
        return kind == BANYAN_FIELD_DECIMAL;
    default:
        return false;
    }
}

bool pg_scale_fits(uint32_t oid, int32_t column_scale, const struct banyan_field *field)
{
    if (field->kind != BANYAN_FIELD_DECIMAL || oid != PG_TYPE_NUMERIC)
        return true;
    return column_scale != -1 && column_scale <= field->scale;
}

/* ---- failures ---- */

enum banyan_status pg_cell_bad_size(const struct banyan_field *field, uint32_t oid, struct banyan_str cell,
                                    struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_PROTOCOL, "column \"%s\": %zu bytes are no value of type %u", field->name,
                            cell.size, oid);
}

enum banyan_status pg_cell_unfit(const struct banyan_field *field, uint32_t oid, struct banyan_error *err)
{
    enum banyan_status st =
        banyan_error_set(err, BANYAN_TABLE, "column \"%s\": type %u does not fit the field", field->name, oid);

    banyan_error_hint(err, "SELECT %u::regtype says which type it is; the mapping has to change with the table.", oid);
    return st;
}

enum banyan_status pg_cell_inexact(const struct banyan_field *field, const char *what, struct banyan_error *err)
{
    enum banyan_status st = banyan_error_set(err, BANYAN_INVALID, "column \"%s\": %s", field->name, what);

    if (field->kind == BANYAN_FIELD_DECIMAL)
        banyan_error_hint(err,
                          "The field takes %d digits behind the point and %d in all: give it a larger scale, or "
                          "constrain the column.",
                          field->scale, BANYAN_DECIMAL_DIGITS_MAX);
    return st;
}

enum banyan_status pg_cell_null(const struct banyan_field *field, void *value, struct banyan_error *err)
{
    enum banyan_status st;

    if ((field->flags & BANYAN_FIELD_OPTIONAL) != 0) {
        switch (field->kind) {
        case BANYAN_FIELD_STRING:
            *(struct banyan_str *)value = (struct banyan_str){NULL, 0};
            return BANYAN_OK;
        case BANYAN_FIELD_TIME:
            ((struct banyan_time *)value)->us = BANYAN_TIME_NULL;
            return BANYAN_OK;
        case BANYAN_FIELD_DECIMAL:
            *(struct banyan_decimal *)value = banyan_decimal_null();
            return BANYAN_OK;
        default:
            break;
        }
    }
    st = banyan_error_set(err, BANYAN_INVALID, "column \"%s\" is NULL, but the field needs a value", field->name);
    banyan_error_hint(err, "Make the column NOT NULL, or the field optional.");
    return st;
}

/* ---- numbers ---- */

/* value * 10^shift into the field, exactly; any size. */
static enum banyan_status put_scaled_wide(const struct banyan_field *field, __int128 value, int shift, void *ret,
                                          struct banyan_error *err)
{
    __int128 limit = power_of_ten(BANYAN_DECIMAL_DIGITS_MAX);

    if (value != 0 && shift > 0) {
        if (shift > BANYAN_DECIMAL_SCALE_MAX || __builtin_mul_overflow(value, power_of_ten(shift), &value))
            return pg_cell_inexact(field, "the value is too large", err);
    } else if (value != 0 && shift < 0) {
        if (shift < -BANYAN_DECIMAL_SCALE_MAX || value % power_of_ten(-shift) != 0)
            return pg_cell_inexact(field, "the value has more digits behind the point than the field", err);
        value /= power_of_ten(-shift);
    }
    if (value >= limit || value <= -limit)
        return pg_cell_inexact(field, "the value is too large", err);
    *(struct banyan_decimal *)ret = (struct banyan_decimal){value, field->scale};
    return BANYAN_OK;
}

/* The same; what fits 64 bits, as money nearly always does, needs no arithmetic in 128. */
static enum banyan_status put_scaled(const struct banyan_field *field, __int128 value, int shift, void *ret,
                                     struct banyan_error *err)
{
    struct banyan_decimal *decimal = ret;
    int64_t small = (int64_t)value;

    if (value != small || shift > SMALL_MAX || shift < -SMALL_MAX)
        return put_scaled_wide(field, value, shift, ret, err);
    if (shift >= 0) { /* below 2^63 * 10^18, which is below 10^38 */
        *decimal = (struct banyan_decimal){(__int128)small * small_powers[shift], field->scale};
        return BANYAN_OK;
    }
    if (small % small_powers[-shift] != 0)
        return pg_cell_inexact(field, "the value has more digits behind the point than the field", err);
    *decimal = (struct banyan_decimal){small / small_powers[-shift], field->scale};
    return BANYAN_OK;
}

/* The digits of a numeric as one integer. */
static bool gather(const char *digits, unsigned count, __int128 *ret)
{
    uint64_t small = 0;
    __int128 large;
    unsigned i, first = count < 4 ? count : 4;

    for (i = 0; i < first; i++) {
        uint16_t digit = pg_get_u16(digits + 2 * i);

        if (digit > 9999)
            return false;
        small = small * 10000 + digit;
    }
    for (large = small; i < count; i++) {
        uint16_t digit = pg_get_u16(digits + 2 * i);

        if (digit > 9999 || __builtin_mul_overflow(large, (__int128)10000, &large) ||
            __builtin_add_overflow(large, (__int128)digit, &large))
            return false;
    }
    *ret = large;
    return true;
}

static enum banyan_status decode_numeric(const struct banyan_field *field, struct banyan_str cell, void *value,
                                         struct banyan_error *err)
{
    enum { POSITIVE = 0x0000, NEGATIVE = 0x4000, NAN_SIGN = 0xC000, HEADER = 8 };
    unsigned count, sign;
    __int128 number;
    int weight;

    if (cell.size < HEADER)
        return pg_cell_bad_size(field, PG_TYPE_NUMERIC, cell, err);
    count = pg_get_u16(cell.data);
    weight = (int16_t)pg_get_u16(cell.data + 2);
    sign = pg_get_u16(cell.data + 4);
    if (cell.size != HEADER + 2 * (size_t)count)
        return pg_cell_bad_size(field, PG_TYPE_NUMERIC, cell, err);
    if (sign == NAN_SIGN) {
        *(struct banyan_decimal *)value = (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
        return BANYAN_OK;
    }
    if (sign != POSITIVE && sign != NEGATIVE)
        return pg_cell_inexact(field, "infinity cannot be represented", err);
    if (!gather(cell.data + HEADER, count, &number))
        return pg_cell_inexact(field, "the value has too many digits", err);
    return put_scaled(field, sign == NEGATIVE ? -number : number, 4 * (weight - (int)count + 1) + field->scale, value,
                      err);
}

/* An integer of 2, 4 or 8 bytes. */
static bool get_int(uint32_t oid, struct banyan_str cell, int64_t *ret)
{
    switch (oid) {
    case PG_TYPE_INT8:
        if (cell.size != 8)
            return false;
        *ret = (int64_t)pg_get_u64(cell.data);
        return true;
    case PG_TYPE_INT4:
        if (cell.size != 4)
            return false;
        *ret = (int32_t)pg_get_u32(cell.data);
        return true;
    default:
        if (cell.size != 2)
            return false;
        *ret = (int16_t)pg_get_u16(cell.data);
        return true;
    }
}

static bool is_int(uint32_t oid)
{
    return oid == PG_TYPE_INT8 || oid == PG_TYPE_INT4 || oid == PG_TYPE_INT2;
}

static enum banyan_status decode_decimal(const struct banyan_field *field, uint32_t oid, struct banyan_str cell,
                                         void *value, struct banyan_error *err)
{
    char text[PG_CELL_FLOAT_TEXT_MAX];
    enum banyan_status st;
    int64_t number;

    if (oid == PG_TYPE_NUMERIC)
        return decode_numeric(field, cell, value, err);
    if (pg_cell_is_float(oid)) {
        st = pg_cell_float_text(field, oid, cell, text, err);
        return st == BANYAN_OK ? pg_cell_put_decimal(field, banyan_str_of(text), value, err) : st;
    }
    if (!is_int(oid))
        return pg_cell_unfit(field, oid, err);
    if (!get_int(oid, cell, &number))
        return pg_cell_bad_size(field, oid, cell, err);
    return put_scaled(field, number, field->scale, value, err);
}

/* ---- times ---- */

enum banyan_status pg_cell_put_time(const struct banyan_field *field, int64_t us, void *value, struct banyan_error *err)
{
    int64_t shifted;

    if (us == INT64_MAX)
        shifted = BANYAN_TIME_INFINITY;
    else if (us == INT64_MIN)
        shifted = BANYAN_TIME_MINUS_INFINITY;
    else if (__builtin_add_overflow(us, PG_EPOCH_US, &shifted) || shifted == BANYAN_TIME_INFINITY)
        return pg_cell_inexact(field, "the time is too far away", err);
    ((struct banyan_time *)value)->us = shifted;
    return BANYAN_OK;
}

static enum banyan_status decode_time(const struct banyan_field *field, uint32_t oid, struct banyan_str cell,
                                      void *value, struct banyan_error *err)
{
    int64_t us;

    if (oid == PG_TYPE_DATE) {
        int32_t days;

        if (cell.size != 4)
            return pg_cell_bad_size(field, oid, cell, err);
        days = (int32_t)pg_get_u32(cell.data);
        if (days == INT32_MAX || days == INT32_MIN)
            us = days == INT32_MAX ? INT64_MAX : INT64_MIN;
        else if (__builtin_mul_overflow((int64_t)days, PG_DAY_US, &us))
            return pg_cell_inexact(field, "the date is too far away", err);
        return pg_cell_put_time(field, us, value, err);
    }
    if (oid != PG_TYPE_TIMESTAMPTZ && oid != PG_TYPE_TIMESTAMP)
        return pg_cell_unfit(field, oid, err);
    if (cell.size != 8)
        return pg_cell_bad_size(field, oid, cell, err);
    return pg_cell_put_time(field, (int64_t)pg_get_u64(cell.data), value, err);
}

/* ---- text ---- */

static enum banyan_status decode_uuid(const struct banyan_field *field, struct banyan_str cell,
                                      struct banyan_arena *arena, struct banyan_str *ret, struct banyan_error *err)
{
    static const char hex[] = "0123456789abcdef";
    char *text;
    size_t at = 0;

    if (cell.size != 16)
        return pg_cell_bad_size(field, PG_TYPE_UUID, cell, err);
    if (arena == NULL)
        return banyan_error_set(err, BANYAN_INVALID, "column \"%s\": a uuid needs an arena", field->name);
    text = banyan_arena_alloc(arena, 37);
    for (size_t i = 0; i < 16; i++) {
        uint8_t byte = (uint8_t)cell.data[i];

        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[at++] = '-';
        text[at++] = hex[byte >> 4];
        text[at++] = hex[byte & 15];
    }
    text[at] = '\0';
    *ret = (struct banyan_str){text, at};
    return BANYAN_OK;
}

static enum banyan_status decode_string(const struct banyan_field *field, uint32_t oid, struct banyan_str cell,
                                        struct banyan_arena *arena, struct banyan_str *ret, struct banyan_error *err)
{
    switch (oid) {
    case PG_TYPE_UUID:
        return decode_uuid(field, cell, arena, ret, err);
    case PG_TYPE_JSONB: /* a version, then the text */
        if (cell.size < 1 || cell.data[0] != 1)
            return pg_cell_bad_size(field, oid, cell, err);
        cell.data++;
        cell.size--;
        break;
    case PG_TYPE_BOOL:
    case PG_TYPE_INT2:
    case PG_TYPE_INT4:
    case PG_TYPE_INT8:
    case PG_TYPE_NUMERIC:
    case PG_TYPE_FLOAT4:
    case PG_TYPE_FLOAT8:
    case PG_TYPE_DATE:
    case PG_TYPE_TIMESTAMP:
    case PG_TYPE_TIMESTAMPTZ:
        return pg_cell_unfit(field, oid, err);
    default: /* text types and enums: the bytes are the text */
        break;
    }
    *ret = arena == NULL ? cell : banyan_arena_str(arena, cell);
    return BANYAN_OK;
}

enum banyan_status pg_cell_decode(const struct banyan_field *field, uint32_t oid, struct banyan_str cell,
                                  struct banyan_arena *arena, void *row, struct banyan_error *err)
{
    void *value = (char *)row + field->offset;

    if (cell.data == NULL)
        return pg_cell_null(field, value, err);
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        return decode_string(field, oid, cell, arena, value, err);
    case BANYAN_FIELD_INT:
        if (!is_int(oid))
            return pg_cell_unfit(field, oid, err);
        if (!get_int(oid, cell, value))
            return pg_cell_bad_size(field, oid, cell, err);
        return BANYAN_OK;
    case BANYAN_FIELD_BOOL:
        if (oid != PG_TYPE_BOOL)
            return pg_cell_unfit(field, oid, err);
        if (cell.size != 1)
            return pg_cell_bad_size(field, oid, cell, err);
        *(bool *)value = cell.data[0] != 0;
        return BANYAN_OK;
    case BANYAN_FIELD_TIME:
        return decode_time(field, oid, cell, value, err);
    case BANYAN_FIELD_DECIMAL:
        return decode_decimal(field, oid, cell, value, err);
    default:
        return pg_cell_unfit(field, oid, err);
    }
}
