/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dates and times as ISO 8601 text, both ways.  Proleptic Gregorian; years outside 0000 … 9999 have a sign and at least
 * six digits.  *Ticks* are thousandths (3 digits) or millionths (6 digits) of a second.
 *
 * The writers write at most TIME_TEXT_MAX bytes and return the end; the readers take the whole text or answer false.
 */
#ifndef SCHEMA_TIME_TEXT_H
#define SCHEMA_TIME_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/types.h"

enum {
    TIME_TEXT_MAX = 48,
    TIME_DIGITS_MILLIS = 3,
    TIME_DIGITS_MICROS = 6,
};

/* A number with at least *width* digits. */
char *time_put_digits(char *to, uint64_t value, int width);

/* Days since 1970-01-01: "2015-05-01". */
char *time_put_date(char *to, int64_t days);
/* Ticks since midnight: "00:00:04.518". */
char *time_put_clock(char *to, int64_t ticks, int digits);
/* Ticks since 1970-01-01, without zone: "2015-05-01T00:00:04.518". */
char *time_put_local(char *to, int64_t ticks, int digits);
/* The same in UTC: "2015-05-01T00:00:04.518Z"; the greatest and least microseconds are "infinity", "-infinity". */
char *time_put_moment(char *to, int64_t ticks, int digits);

bool time_get_date(struct banyan_str text, int64_t *ret_days);
/* Digits of the fraction beyond *digits* must be zeros; the fraction may be left out. */
bool time_get_clock(struct banyan_str text, int digits, int64_t *ret_ticks);
bool time_get_local(struct banyan_str text, int digits, int64_t *ret_ticks);
/* With "Z" or a distance from UTC, "+05:30". */
bool time_get_moment(struct banyan_str text, int digits, int64_t *ret_ticks);

#endif
