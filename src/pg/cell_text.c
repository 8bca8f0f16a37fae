/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text cells → fields, as a server with DateStyle ISO and TimeZone UTC prints them (pg_connect() sees to that).
 *
 * The form is the server's own, not that of schema/time_text.h: a space before the clock, seconds in the distance from
 * UTC, and BC behind all.
 *
 * Invariant: the same value as from the binary form, or a refusal; no locale, no time zone of ours.
 */
#include <limits.h>

#include "base/civil.h"
#include "base/scan.h"
#include "pg/cell.h"
#include "pg/wire.h"

static bool parse_int(struct banyan_str text, int64_t *ret)
{
    struct scan scan = scan_of(text);
    bool negative = scan_char(&scan, '-');
    int64_t value = 0;

    if (scan.at == scan.end)
        return false;
    for (; scan.at < scan.end; scan.at++) {
        int digit = *scan.at - '0';

        /* Built towards the negative side, which is the longer one. */
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_sub_overflow(value, (int64_t)digit, &value))
            return false;
    }
    return negative ? (*ret = value, true) : !__builtin_sub_overflow((int64_t)0, value, ret);
}

/* ---- times ---- */

/* "04:05:06.789" → microseconds of the day. */
static bool scan_clock(struct scan *scan, int64_t *ret)
{
    int64_t hour, minute, second, micro = 0;

    if (!scan_digits(scan, 2, 2, &hour) || !scan_char(scan, ':') || !scan_digits(scan, 2, 2, &minute) ||
        !scan_char(scan, ':') || !scan_digits(scan, 2, 2, &second) || hour > 23 || minute > 59 || second > 60)
        return false;
    if (scan_char(scan, '.')) {
        const char *start = scan->at;

        if (!scan_digits(scan, 1, 6, &micro))
            return false;
        for (ptrdiff_t digits = scan->at - start; digits < 6; digits++)
            micro *= 10;
    }
    *ret = ((hour * 60 + minute) * 60 + second) * 1000000 + micro;
    return true;
}

/* "+05:30" or nothing → microseconds east of UTC. */
static bool scan_offset(struct scan *scan, int64_t *ret)
{
    int64_t hour = 0, minute = 0, second = 0, sign = 1;

    if (scan_char(scan, '-'))
        sign = -1;
    else if (!scan_char(scan, '+')) {
        *ret = 0;
        return true;
    }
    if (!scan_digits(scan, 2, 2, &hour) || (scan_char(scan, ':') && !scan_digits(scan, 2, 2, &minute)) ||
        (scan_char(scan, ':') && !scan_digits(scan, 2, 2, &second)))
        return false;
    *ret = sign * ((hour * 60 + minute) * 60 + second) * 1000000;
    return true;
}

enum time_answer {
    TIME_OK = 1,
    TIME_BAD,
    TIME_FAR,
};

/* "2024-05-06 07:08:09.5+00 BC" in its parts → microseconds since 2000. */
static enum time_answer parse_time(struct banyan_str text, bool date_only, int64_t *ret)
{
    struct scan scan = scan_of(text);
    int64_t year, month, day, days, clock = 0, offset = 0, us;
    struct civil_day civil;

    if (!scan_digits(&scan, 4, 7, &year) || !scan_char(&scan, '-') || !scan_digits(&scan, 2, 2, &month) ||
        !scan_char(&scan, '-') || !scan_digits(&scan, 2, 2, &day))
        return TIME_BAD;
    if (!date_only && (!scan_char(&scan, ' ') || !scan_clock(&scan, &clock) || !scan_offset(&scan, &offset)))
        return TIME_BAD;
    if (scan_char(&scan, ' ')) {
        if (!scan_char(&scan, 'B') || !scan_char(&scan, 'C'))
            return TIME_BAD;
        year = 1 - year;
    }
    civil = (struct civil_day){year, (unsigned)month, (unsigned)day};
    if (scan.at != scan.end || year < -4800 || !civil_to_days(civil, &days))
        return TIME_BAD;
    if (__builtin_mul_overflow(days - PG_EPOCH_US / PG_DAY_US, PG_DAY_US, &us) ||
        __builtin_add_overflow(us, clock - offset, ret))
        return TIME_FAR;
    return TIME_OK;
}

static enum banyan_status put_time(const struct banyan_field *field, uint32_t oid, struct banyan_str cell, void *value,
                                   struct banyan_error *err)
{
    int64_t us;

    if (oid != PG_TYPE_TIMESTAMPTZ && oid != PG_TYPE_TIMESTAMP && oid != PG_TYPE_DATE)
        return pg_cell_unfit(field, oid, err);
    if (banyan_str_equal(cell, BANYAN_STR("infinity")))
        return pg_cell_put_time(field, INT64_MAX, value, err);
    if (banyan_str_equal(cell, BANYAN_STR("-infinity")))
        return pg_cell_put_time(field, INT64_MIN, value, err);
    switch (parse_time(cell, oid == PG_TYPE_DATE, &us)) {
    case TIME_OK:
        return pg_cell_put_time(field, us, value, err);
    case TIME_FAR:
        return pg_cell_inexact(field, "the time is too far away", err);
    default:
        return banyan_error_set(err, BANYAN_PROTOCOL, "column \"%s\": \"%.*s\" is no time", field->name,
                                cell.size > 64 ? 64 : (int)cell.size, cell.data);
    }
}

/* ---- numbers ---- */

enum banyan_status pg_cell_put_decimal(const struct banyan_field *field, struct banyan_str cell, void *value,
                                       struct banyan_error *err)
{
    struct banyan_decimal number;

    if (banyan_str_equal(cell, BANYAN_STR("NaN"))) {
        *(struct banyan_decimal *)value = (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
        return BANYAN_OK;
    }
    if (!banyan_decimal_parse(cell, &number))
        return pg_cell_inexact(field, "the value is infinite or has too many digits", err);
    if (!banyan_decimal_rescale(number, field->scale, value))
        return pg_cell_inexact(field, "the value has more digits than the field", err);
    return BANYAN_OK;
}

/* ---- all ---- */

static enum banyan_status put_int(const struct banyan_field *field, uint32_t oid, struct banyan_str cell,
                                  int64_t *value, struct banyan_error *err)
{
    int64_t number;

    if (oid != PG_TYPE_INT2 && oid != PG_TYPE_INT4 && oid != PG_TYPE_INT8)
        return pg_cell_unfit(field, oid, err);
    if (!parse_int(cell, &number))
        return pg_cell_bad_size(field, oid, cell, err);
    *value = number;
    return BANYAN_OK;
}

enum banyan_status pg_cell_parse(const struct banyan_field *field, uint32_t oid, struct banyan_str cell,
                                 struct banyan_arena *arena, void *row, struct banyan_error *err)
{
    void *value = (char *)row + field->offset;

    if (cell.data == NULL)
        return pg_cell_null(field, value, err);
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        *(struct banyan_str *)value = arena == NULL ? cell : banyan_arena_str(arena, cell);
        return BANYAN_OK;
    case BANYAN_FIELD_INT:
        return put_int(field, oid, cell, value, err);
    case BANYAN_FIELD_BOOL:
        if (oid != PG_TYPE_BOOL)
            return pg_cell_unfit(field, oid, err);
        if (cell.size != 1 || (cell.data[0] != 't' && cell.data[0] != 'f'))
            return pg_cell_bad_size(field, oid, cell, err);
        *(bool *)value = cell.data[0] == 't';
        return BANYAN_OK;
    case BANYAN_FIELD_TIME:
        return put_time(field, oid, cell, value, err);
    case BANYAN_FIELD_DECIMAL:
        if (!pg_type_fits(oid, false, BANYAN_FIELD_DECIMAL))
            return pg_cell_unfit(field, oid, err);
        return pg_cell_put_decimal(field, cell, value, err);
    default:
        return pg_cell_unfit(field, oid, err);
    }
}
