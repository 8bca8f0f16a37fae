/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields → binary cells, for COPY FROM STDIN.
 *
 * Invariants:
 *   1. pg_cell_decode() of what is written here gives the same field.
 *   2. What the type cannot hold exactly is refused here: the server would only say so at the end of the COPY.
 */
#include <limits.h>

#include "banyan/uuid.h"
#include "pg/cell.h"
#include "pg/wire.h"

enum {
    NUMERIC_GROUPS_MAX = 24, /* of four digits: 38 digits on either side of the point and their padding */
};

/* One piece of room for both: every cell of a bulk load comes by here. */
static inline void add_sized(struct banyan_buf *ret, const void *data, size_t size)
{
    char *room = banyan_buf_extend(ret, 4 + size);

    if (room == NULL)
        return;
    pg_put_u32(room, (uint32_t)size);
    if (size > 0)
        memcpy(room + 4, data, size);
}

static void add_null(struct banyan_buf *ret)
{
    banyan_buf_add(ret, "\xff\xff\xff\xff", 4);
}

static enum banyan_status add_int(const struct banyan_field *field, uint32_t oid, int64_t value, struct banyan_buf *ret,
                                  struct banyan_error *err)
{
    char bytes[8];

    switch (oid) {
    case PG_TYPE_INT8:
        pg_put_u64(bytes, (uint64_t)value);
        add_sized(ret, bytes, 8);
        return BANYAN_OK;
    case PG_TYPE_INT4:
        if (value != (int32_t)value)
            return pg_cell_inexact(field, "the value does not fit an integer", err);
        pg_put_u32(bytes, (uint32_t)value);
        add_sized(ret, bytes, 4);
        return BANYAN_OK;
    case PG_TYPE_INT2:
        if (value != (int16_t)value)
            return pg_cell_inexact(field, "the value does not fit a smallint", err);
        pg_put_u16(bytes, (uint16_t)value);
        add_sized(ret, bytes, 2);
        return BANYAN_OK;
    default:
        return pg_cell_unfit(field, oid, err);
    }
}

/* ---- numeric ---- */

/* Base-10000 digits, lowest first, of a magnitude; gives their number. */
static unsigned split(unsigned __int128 value, uint16_t *digits)
{
    unsigned count = 0;

    for (; value > UINT64_MAX; value /= 10000)
        digits[count++] = (uint16_t)(value % 10000);
    for (uint64_t small = (uint64_t)value; small > 0; small /= 10000)
        digits[count++] = (uint16_t)(small % 10000);
    return count;
}

static unsigned __int128 power_of_ten(int32_t exponent)
{
    unsigned __int128 power = 1;

    while (exponent-- > 0)
        power *= 10;
    return power;
}

/* Units and scale as the groups around the point.  digits[0] is the lowest of the last group behind the point. */
static unsigned numeric_digits(unsigned __int128 units, int32_t scale, uint16_t *digits)
{
    unsigned __int128 power = power_of_ten(scale), fraction = units % power, whole = units / power;
    unsigned count = 0, groups = (unsigned)(scale + 3) / 4;
    int32_t last = scale % 4; /* digits in the last group behind the point; 0: all four */

    if (last != 0) {
        unsigned __int128 in_last = power_of_ten(last);

        digits[count++] = (uint16_t)((fraction % in_last) * power_of_ten(4 - last));
        fraction /= in_last;
    }
    for (; count < groups; fraction /= 10000)
        digits[count++] = (uint16_t)(fraction % 10000);
    return count + split(whole, digits + count);
}

static void add_numeric(struct banyan_decimal value, struct banyan_buf *ret)
{
    uint16_t digits[NUMERIC_GROUPS_MAX];
    char cell[8 + 2 * NUMERIC_GROUPS_MAX] = {0};
    unsigned count, low = 0, groups = (unsigned)(value.scale + 3) / 4;
    bool negative = value.units < 0;
    int weight;

    count = numeric_digits(negative ? -(unsigned __int128)value.units : (unsigned __int128)value.units, value.scale,
                           digits);
    while (count > 0 && digits[count - 1] == 0)
        count--;
    weight = (int)count - (int)groups - 1;
    while (low < count && digits[low] == 0)
        low++;
    pg_put_u16(cell, (uint16_t)(count - low));
    pg_put_u16(cell + 2, count == 0 ? 0 : (uint16_t)(int16_t)weight);
    pg_put_u16(cell + 4, negative ? 0x4000 : 0);
    pg_put_u16(cell + 6, (uint16_t)value.scale);
    for (unsigned i = count; i > low; i--)
        pg_put_u16(cell + 8 + 2 * (count - i), digits[i - 1]);
    add_sized(ret, cell, 8 + 2 * (count - low));
}

static enum banyan_status add_decimal(const struct banyan_field *field, uint32_t oid, struct banyan_decimal value,
                                      struct banyan_buf *ret, struct banyan_error *err)
{
    struct banyan_decimal whole;

    if (value.scale == BANYAN_DECIMAL_NAN && oid == PG_TYPE_NUMERIC) {
        static const char not_a_number[8] = {0, 0, 0, 0, '\xc0', 0, 0, 0};

        add_sized(ret, not_a_number, sizeof(not_a_number));
        return BANYAN_OK;
    }
    if (pg_cell_is_float(oid)) {
        char bytes[8];
        size_t size;

        if (!pg_cell_float_bytes(oid, value, bytes, &size))
            return pg_cell_inexact(field, "the value would not be the same when it is read again", err);
        add_sized(ret, bytes, size);
        return BANYAN_OK;
    }
    if (value.scale < 0 || value.scale > BANYAN_DECIMAL_SCALE_MAX)
        return pg_cell_inexact(field, "the value is no number that the column can hold", err);
    if (oid == PG_TYPE_NUMERIC) {
        add_numeric(value, ret);
        return BANYAN_OK;
    }
    if (!banyan_decimal_rescale(value, 0, &whole) || whole.units != (int64_t)whole.units)
        return pg_cell_inexact(field, "the value does not fit an integer", err);
    return add_int(field, oid, (int64_t)whole.units, ret, err);
}

/* ---- times ---- */

static enum banyan_status add_time(const struct banyan_field *field, uint32_t oid, struct banyan_time time,
                                   struct banyan_buf *ret, struct banyan_error *err)
{
    bool infinite = time.us == BANYAN_TIME_INFINITY || time.us == BANYAN_TIME_MINUS_INFINITY;
    char bytes[8];
    int64_t us;

    if (!infinite && __builtin_sub_overflow(time.us, PG_EPOCH_US, &us))
        return pg_cell_inexact(field, "the time is too far away", err);
    if (infinite)
        us = time.us == BANYAN_TIME_INFINITY ? INT64_MAX : INT64_MIN;
    switch (oid) {
    case PG_TYPE_TIMESTAMPTZ:
    case PG_TYPE_TIMESTAMP:
        pg_put_u64(bytes, (uint64_t)us);
        add_sized(ret, bytes, 8);
        return BANYAN_OK;
    case PG_TYPE_DATE:
        if (!infinite && us % PG_DAY_US != 0)
            return pg_cell_inexact(field, "the time is not the start of a day", err);
        if (infinite)
            pg_put_u32(bytes, us > 0 ? (uint32_t)INT32_MAX : (uint32_t)INT32_MIN);
        else
            pg_put_u32(bytes, (uint32_t)(int32_t)(us / PG_DAY_US));
        add_sized(ret, bytes, 4);
        return BANYAN_OK;
    default:
        return pg_cell_unfit(field, oid, err);
    }
}

/* ---- text ---- */

static enum banyan_status add_uuid(const struct banyan_field *field, struct banyan_str text, struct banyan_buf *ret,
                                   struct banyan_error *err)
{
    struct banyan_uuid id;

    if (!banyan_uuid_parse(text, &id))
        return pg_cell_inexact(field, "the text is no uuid", err);
    add_sized(ret, id.bytes, sizeof(id.bytes));
    return BANYAN_OK;
}

static enum banyan_status add_string(const struct banyan_field *field, uint32_t oid, struct banyan_str text,
                                     struct banyan_buf *ret, struct banyan_error *err)
{
    if (oid == PG_TYPE_UUID)
        return add_uuid(field, text, ret, err);
    if (text.size >= INT32_MAX)
        return pg_cell_inexact(field, "the text is too long", err);
    if (memchr(text.data, '\0', text.size) != NULL)
        return pg_cell_inexact(field, "the text holds a NUL byte, which PostgreSQL cannot store", err);
    if (oid == PG_TYPE_JSONB) {
        char header[5] = {0, 0, 0, 0, 1}; /* length, then the version */

        pg_put_u32(header, (uint32_t)text.size + 1);
        banyan_buf_add(ret, header, sizeof(header));
        banyan_buf_add(ret, text.data, text.size);
        return BANYAN_OK;
    }
    if (pg_type_fits(oid, false, BANYAN_FIELD_INT) || pg_type_fits(oid, false, BANYAN_FIELD_BOOL) ||
        pg_type_fits(oid, false, BANYAN_FIELD_TIME) || pg_type_fits(oid, false, BANYAN_FIELD_DECIMAL))
        return pg_cell_unfit(field, oid, err);
    add_sized(ret, text.data, text.size);
    return BANYAN_OK;
}

/* Does the field hold "no value"? */
static bool holds_null(const struct banyan_field *field, const void *value)
{
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        return ((const struct banyan_str *)value)->data == NULL;
    case BANYAN_FIELD_TIME:
        return ((const struct banyan_time *)value)->us == BANYAN_TIME_NULL;
    case BANYAN_FIELD_DECIMAL:
        return banyan_decimal_is_null(*(const struct banyan_decimal *)value);
    default:
        return false;
    }
}

enum banyan_status pg_cell_encode(const struct banyan_field *field, uint32_t oid, const void *row,
                                  struct banyan_buf *ret, struct banyan_error *err)
{
    const void *value = (const char *)row + field->offset;

    if (holds_null(field, value)) {
        add_null(ret); /* whether the column takes it is for the server to say */
        return BANYAN_OK;
    }
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        return add_string(field, oid, *(const struct banyan_str *)value, ret, err);
    case BANYAN_FIELD_INT:
        return add_int(field, oid, *(const int64_t *)value, ret, err);
    case BANYAN_FIELD_BOOL:
        if (oid != PG_TYPE_BOOL)
            return pg_cell_unfit(field, oid, err);
        add_sized(ret, *(const bool *)value ? "\1" : "\0", 1);
        return BANYAN_OK;
    case BANYAN_FIELD_TIME:
        return add_time(field, oid, *(const struct banyan_time *)value, ret, err);
    case BANYAN_FIELD_DECIMAL:
        return add_decimal(field, oid, *(const struct banyan_decimal *)value, ret, err);
    default:
        return pg_cell_unfit(field, oid, err);
    }
}
