// SPDX-License-Identifier: Apache-2.0
/* Exact prices and quantities: whole numbers of 1e-8, the scale of numeric(18,8). */
#ifndef LEGACY_OMS_MONEY_H
#define LEGACY_OMS_MONEY_H

#include <stdbool.h>
#include <stdint.h>

#define MONEY_ONE INT64_C(100000000)
#define MONEY_MAX INT64_C(999999999999999999) /* numeric(18,8): 18 digits in all */
#define MONEY_TEXT_MAX 32

/* Reads "12", "12.5" or "12.50000000"; false for anything else, negative numbers and more than 8 decimals too. */
bool money_parse(const char *text, int64_t *ret_units);

/* Writes units with 8 decimals, as PostgreSQL prints a numeric(18,8); returns the length. */
int money_format(char text[MONEY_TEXT_MAX], int64_t units);

/* The average price after one more fill, rounded as
 *   round((avg * filled + price * quantity) / (filled + quantity), 8)
 * is rounded by PostgreSQL for prices of 2 and more: the division to 16 decimals first, then to 8. */
int64_t money_average(int64_t average, int64_t filled, int64_t price, int64_t quantity);

#endif
