/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binary floating point numbers as decimals: the shortest decimal that reads back as the same number, which is what
 * PostgreSQL prints (extra_float_digits 1, its default).  A price that somebody stored as real 9.8 is 9.8 here, though
 * the bits say 9.80000019.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/cell.h"
#include "pg/wire.h"

enum {
    REAL_DIGITS_MAX = 9, /* as many tell any two apart */
    DOUBLE_DIGITS_MAX = 17,
};

bool pg_cell_is_float(uint32_t oid)
{
    return oid == PG_TYPE_FLOAT4 || oid == PG_TYPE_FLOAT8;
}

/* The shortest decimal that is read as *number*, which came from a real where *is_real*. */
static void shortest(double number, bool is_real, char text[PG_CELL_FLOAT_TEXT_MAX])
{
    int digits = 0, digits_max = is_real ? REAL_DIGITS_MAX : DOUBLE_DIGITS_MAX;
    bool same;

    if (number != number) { /* NaN, whatever its bits */
        memcpy(text, "NaN", sizeof("NaN"));
        return;
    }
    do {
        digits++;
        (void)snprintf(text, PG_CELL_FLOAT_TEXT_MAX, "%.*e", digits - 1, number); /* 17 digits have room */
        same = is_real ? strtof(text, NULL) == (float)number : strtod(text, NULL) == number;
    } while (digits < digits_max && !same);
}

enum banyan_status pg_cell_float_text(const struct banyan_field *field, uint32_t oid, struct banyan_str cell,
                                      char text[PG_CELL_FLOAT_TEXT_MAX], struct banyan_error *err)
{
    bool is_real = oid == PG_TYPE_FLOAT4;
    uint32_t bits32;
    uint64_t bits64;
    double number;
    float single;

    if (cell.size != (is_real ? sizeof(single) : sizeof(number)))
        return pg_cell_bad_size(field, oid, cell, err);
    if (is_real) {
        bits32 = pg_get_u32(cell.data);
        memcpy(&single, &bits32, sizeof(single));
        number = single;
    } else {
        bits64 = pg_get_u64(cell.data);
        memcpy(&number, &bits64, sizeof(number));
    }
    shortest(number, is_real, text);
    return BANYAN_OK;
}

bool pg_cell_float_bytes(uint32_t oid, struct banyan_decimal value, char ret[8], size_t *ret_size)
{
    bool is_real = oid == PG_TYPE_FLOAT4, is_nan = value.scale == BANYAN_DECIMAL_NAN;
    char text[BANYAN_DECIMAL_TEXT_MAX] = "NaN", again[PG_CELL_FLOAT_TEXT_MAX];
    struct banyan_decimal read;
    uint64_t bits64;
    uint32_t bits32;
    double number;
    float single;

    if (!is_nan && (value.scale < 0 || value.scale > BANYAN_DECIMAL_SCALE_MAX))
        return false;
    if (!is_nan)
        banyan_decimal_format(value, text);
    single = strtof(text, NULL);
    number = is_real ? single : strtod(text, NULL);
    shortest(number, is_real, again);
    if (!is_nan && (!banyan_decimal_parse(banyan_str_of(again), &read) || banyan_decimal_compare(read, value) != 0))
        return false;
    if (is_real) {
        memcpy(&bits32, &single, sizeof(bits32));
        pg_put_u32(ret, bits32);
    } else {
        memcpy(&bits64, &number, sizeof(bits64));
        pg_put_u64(ret, bits64);
    }
    *ret_size = is_real ? sizeof(bits32) : sizeof(bits64);
    return true;
}
