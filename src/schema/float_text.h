/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binary floating point as JSON numbers, both ways: few digits, but enough to give the same value again, always with
 * a point or an exponent.  No locale matters.  Money never comes here: decimals are exact (banyan/decimal.h).
 */
#ifndef SCHEMA_FLOAT_TEXT_H
#define SCHEMA_FLOAT_TEXT_H

#include <stdbool.h>

#include "banyan/types.h"

enum {
    FLOAT_TEXT_MAX = 32,
};

/* Finite values only.  Return the end; at most FLOAT_TEXT_MAX bytes are written. */
char *float_put_single(char *to, float value);
char *float_put_double(char *to, double value);
/* *text* is a JSON number; rounded to the nearest value.  False when that is infinite. */
bool float_get_single(struct banyan_str text, float *ret);
bool float_get_double(struct banyan_str text, double *ret);

#endif
