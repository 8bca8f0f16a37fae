/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Amounts and times as this domain uses them.
 *
 * Every quantity and price has eight decimal places, as the legacy columns: sums and differences are plain integer
 * arithmetic on the units.  A special (NULL, NaN) or a sum that does not fit is "no number", and no business event is
 * made of it: what the legacy row then holds is named by OrderReconciled.
 */
#ifndef TRADING_VALUES_H
#define TRADING_VALUES_H

#include <stdbool.h>

#include "banyan/decimal.h"
#include "banyan/types.h"

enum {
    TRADING_SCALE = 8,
};

/* 10^38: one more than the largest that fits. */
#define TRADING_UNITS_END ((__int128)10000000000000000000ULL * (__int128)10000000000000000000ULL)

static inline bool value_is_number(struct banyan_decimal d)
{
    return d.scale == TRADING_SCALE;
}

static inline bool value_equal(struct banyan_decimal a, struct banyan_decimal b)
{
    return a.scale == b.scale && a.units == b.units;
}

/* a + sign * b, for sign 1 and -1; "no value" when one is no number or the result does not fit. */
static inline struct banyan_decimal value_sum(struct banyan_decimal a, struct banyan_decimal b, int sign)
{
    __int128 units;

    if (!value_is_number(a) || !value_is_number(b) || __builtin_add_overflow(a.units, sign * b.units, &units) ||
        units >= TRADING_UNITS_END || units <= -TRADING_UNITS_END)
        return banyan_decimal_null();
    return (struct banyan_decimal){units, TRADING_SCALE};
}

static inline struct banyan_decimal value_add(struct banyan_decimal a, struct banyan_decimal b)
{
    return value_sum(a, b, 1);
}

static inline struct banyan_decimal value_sub(struct banyan_decimal a, struct banyan_decimal b)
{
    return value_sum(a, b, -1);
}

/* The amount that *text* of an audit row says; false when it says none that eight places hold. */
bool value_parse(struct banyan_str text, struct banyan_decimal *ret);

/* Neither "no value" nor one of PostgreSQL's infinities. */
static inline bool time_is_known(struct banyan_time t)
{
    return t.us != BANYAN_TIME_NULL && t.us != BANYAN_TIME_INFINITY && t.us != BANYAN_TIME_MINUS_INFINITY;
}

static inline struct banyan_time time_later(struct banyan_time a, struct banyan_time b)
{
    return a.us >= b.us ? a : b;
}

#endif
