/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Amounts in audit texts.
 *
 * Nearly all are what PostgreSQL prints for numeric(18,8), so plain digits with at most eight places have a way of
 * their own without divisions; everything else ("1e3", longer fractions) goes through the general parser.
 */
#include "values.h"

enum {
    PLAIN_DIGITS_MAX = 18, /* so that the units fit 64 bits */
};

/* False: not plain, which says nothing about being a number. */
static bool parse_plain(struct banyan_str text, struct banyan_decimal *ret)
{
    const char *at = text.data, *end = text.data + text.size;
    bool negative = at < end && *at == '-';
    int digits = 0, places = 0;
    uint64_t units = 0;

    at += negative;
    for (; at < end && *at >= '0' && *at <= '9'; at++, digits++)
        units = units * 10 + (uint64_t)(*at - '0');
    if (digits == 0 || digits > PLAIN_DIGITS_MAX - TRADING_SCALE)
        return false;
    if (at < end && *at == '.')
        for (at++; at < end && *at >= '0' && *at <= '9' && places < TRADING_SCALE; at++, places++)
            units = units * 10 + (uint64_t)(*at - '0');
    if (at < end)
        return false;
    for (; places < TRADING_SCALE; places++)
        units *= 10;
    *ret = banyan_decimal_of(negative ? -(int64_t)units : (int64_t)units, TRADING_SCALE);
    return true;
}

bool value_parse(struct banyan_str text, struct banyan_decimal *ret)
{
    struct banyan_decimal any;

    if (text.data == NULL)
        return false;
    if (parse_plain(text, ret))
        return true;
    return banyan_decimal_parse(text, &any) && any.scale >= 0 && banyan_decimal_rescale(any, TRADING_SCALE, ret);
}
