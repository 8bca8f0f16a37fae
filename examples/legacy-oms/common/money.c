// SPDX-License-Identifier: Apache-2.0
/* Exact prices and quantities.  Nothing here rounds but money_average(), and that as the database does. */
#include "money.h"

#include <inttypes.h>
#include <stdio.h>

bool money_parse(const char *text, int64_t *ret_units)
{
    int64_t units = 0;
    int whole = 0, decimals = -1;

    for (const char *p = text; *p; p++) {
        if (*p == '.' && decimals < 0 && whole > 0) {
            decimals = 0;
            continue;
        }
        if (*p < '0' || *p > '9')
            return false;
        if (decimals >= 0 ? ++decimals > 8 : ++whole > 10)
            return false;
        units = units * 10 + (*p - '0');
    }
    if (whole == 0 || decimals == 0)
        return false;
    for (int i = decimals < 0 ? 0 : decimals; i < 8; i++)
        units *= 10;
    *ret_units = units;
    return true;
}

int money_format(char text[MONEY_TEXT_MAX], int64_t units)
{
    return snprintf(text, MONEY_TEXT_MAX, "%" PRId64 ".%08" PRId64, units / MONEY_ONE, units % MONEY_ONE);
}

int64_t money_average(int64_t average, int64_t filled, int64_t price, int64_t quantity)
{
    __int128 sum = (__int128)average * filled + (__int128)price * quantity;
    __int128 total = (__int128)filled + quantity;
    __int128 scale16 = (sum * MONEY_ONE + total / 2) / total;

    return (int64_t)((scale16 + MONEY_ONE / 2) / MONEY_ONE);
}
