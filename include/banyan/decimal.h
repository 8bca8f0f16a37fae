/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact decimals: units * 10^-scale, 38 digits.  Money never meets a double.
 *
 * Two specials share the scale field: "no value" (NULL) and not-a-number (PostgreSQL's numeric has one).
 */
#ifndef BANYAN_DECIMAL_H
#define BANYAN_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/attributes.h"
#include "banyan/buf.h"
#include "banyan/types.h"

enum {
    BANYAN_DECIMAL_DIGITS_MAX = 38,
    BANYAN_DECIMAL_SCALE_MAX = 38,
    BANYAN_DECIMAL_NULL = -1, /* scale of "no value" */
    BANYAN_DECIMAL_NAN = -2,  /* scale of not-a-number */
    BANYAN_DECIMAL_TEXT_MAX = 48,
};

struct banyan_decimal {
    __int128 units;
    int32_t scale; /* digits behind the point, or one of the specials (then units is 0) */
};

static inline struct banyan_decimal banyan_decimal_of(int64_t units, int32_t scale)
{
    return (struct banyan_decimal){units, scale};
}

static inline struct banyan_decimal banyan_decimal_null(void)
{
    return (struct banyan_decimal){0, BANYAN_DECIMAL_NULL};
}

static inline bool banyan_decimal_is_null(struct banyan_decimal d)
{
    return d.scale == BANYAN_DECIMAL_NULL;
}

/* "-12.500", "1e3", "NaN" → value with the scale as written.  False when it is no number or has too many digits. */
BANYAN_API BANYAN_MUST_CHECK bool banyan_decimal_parse(struct banyan_str text, struct banyan_decimal *ret);
/* Writes the text with exactly scale digits behind the point, NUL-terminated; returns its length.  NULL → "". */
BANYAN_API size_t banyan_decimal_format(struct banyan_decimal d, char text[BANYAN_DECIMAL_TEXT_MAX]);
BANYAN_API void banyan_buf_add_decimal(struct banyan_buf *buf, struct banyan_decimal d);

/* The same value with another scale; NULL and NaN stay as they are.  False when digits other than 0 would be lost, or
 * it does not fit. */
BANYAN_API BANYAN_MUST_CHECK bool banyan_decimal_rescale(struct banyan_decimal d, int32_t scale,
                                                         struct banyan_decimal *ret);
/* The same, rounded half away from zero (as PostgreSQL's round(numeric)).  False when it does not fit. */
BANYAN_API BANYAN_MUST_CHECK bool banyan_decimal_round(struct banyan_decimal d, int32_t scale,
                                                       struct banyan_decimal *ret);
/* Exact; false on overflow or a special operand.  Scale of add and sub: the larger; of mul: the sum. */
BANYAN_API BANYAN_MUST_CHECK bool banyan_decimal_add(struct banyan_decimal a, struct banyan_decimal b,
                                                     struct banyan_decimal *ret);
BANYAN_API BANYAN_MUST_CHECK bool banyan_decimal_sub(struct banyan_decimal a, struct banyan_decimal b,
                                                     struct banyan_decimal *ret);
BANYAN_API BANYAN_MUST_CHECK bool banyan_decimal_mul(struct banyan_decimal a, struct banyan_decimal b,
                                                     struct banyan_decimal *ret);
/* a / b rounded half away from zero to *scale*.  False on overflow, division by 0 or a special operand. */
BANYAN_API BANYAN_MUST_CHECK bool banyan_decimal_div(struct banyan_decimal a, struct banyan_decimal b, int32_t scale,
                                                     struct banyan_decimal *ret);
/* Is it a number of at most *precision* digits, those behind the point included? */
BANYAN_API bool banyan_decimal_fits(struct banyan_decimal d, int32_t precision);
/* By value: 1.50 equals 1.5.  NULL < numbers < NaN; each equals itself.  Returns <0, 0, >0. */
BANYAN_API int banyan_decimal_compare(struct banyan_decimal a, struct banyan_decimal b);

#endif
