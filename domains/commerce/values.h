/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Money, counts, texts and times as this domain uses them.
 *
 * Money has two decimal places, so sums are integer arithmetic on the units.  History may hold anything: the helpers
 * that fold it never overflow, they stop at the ends of what can be stored.
 */
#ifndef COMMERCE_VALUES_H
#define COMMERCE_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/decimal.h"
#include "banyan/domain.h"
#include "banyan/types.h"

enum {
    COMMERCE_SCALE = 2,
};

#define COMMERCE_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define COMMERCE_NO_TIME ((struct banyan_time){BANYAN_TIME_NULL})

/* What one amount may be at most in a command, in units: numeric(12,2). */
#define MONEY_UNITS_END INT64_C(1000000000000)
/* Where folding stops: 36 digits, so that a sum of two still fits. */
#define MONEY_UNITS_LIMIT ((__int128)1000000000000000000LL * (__int128)1000000000000000000LL)

static inline struct banyan_decimal money_of(int64_t units)
{
    return banyan_decimal_of(units, COMMERCE_SCALE);
}

static inline bool money_is_number(struct banyan_decimal d)
{
    return d.scale == COMMERCE_SCALE;
}

/* What is no number counts as 0. */
static inline __int128 money_units(struct banyan_decimal d)
{
    __int128 units = money_is_number(d) ? d.units : 0;

    if (units > MONEY_UNITS_LIMIT)
        return MONEY_UNITS_LIMIT;
    return units < -MONEY_UNITS_LIMIT ? -MONEY_UNITS_LIMIT : units;
}

static inline struct banyan_decimal money_from_units(__int128 units)
{
    return (struct banyan_decimal){units, COMMERCE_SCALE};
}

static inline struct banyan_decimal money_add(struct banyan_decimal a, struct banyan_decimal b)
{
    struct banyan_decimal sum = money_from_units(money_units(a) + money_units(b));

    return money_from_units(money_units(sum));
}

static inline struct banyan_decimal money_sub(struct banyan_decimal a, struct banyan_decimal b)
{
    struct banyan_decimal difference = money_from_units(money_units(a) - money_units(b));

    return money_from_units(money_units(difference));
}

/* An amount that a command may name: more than nothing, and not absurd. */
static inline bool money_is_amount(struct banyan_decimal d)
{
    return money_is_number(d) && d.units > 0 && d.units < MONEY_UNITS_END;
}

/* a + b, stopping at the ends. */
static inline int64_t count_add(int64_t a, int64_t b)
{
    int64_t sum;

    if (!__builtin_add_overflow(a, b, &sum))
        return sum;
    return b > 0 ? INT64_MAX : INT64_MIN;
}

static inline int64_t count_sub(int64_t a, int64_t b)
{
    int64_t difference;

    if (!__builtin_sub_overflow(a, b, &difference))
        return difference;
    return b > 0 ? INT64_MIN : INT64_MAX;
}

static inline bool time_is_null(struct banyan_time t)
{
    return t.us == BANYAN_TIME_NULL;
}

static inline bool text_is(struct banyan_str a, const char *b)
{
    return banyan_str_equal(a, banyan_str_of(b));
}

/* "No value" becomes the empty text: for the required fields of events. */
static inline struct banyan_str text_or_empty(struct banyan_str text)
{
    return text.data == NULL ? BANYAN_STR("") : text;
}

/* The key of a stream: digits, no zero in front. */
bool commerce_parse_key(struct banyan_str key, int64_t *ret);

/* Fill *ret* and return false; texts are static. */
bool commerce_refuse(struct banyan_refusal *ret, const char *code, const char *text);

/* Emit what a command decided: exact, at the command's time. */
void commerce_emit(struct banyan_emitter *out, const struct banyan_command *command, unsigned type,
                   const void *payload);

#endif
