/* SPDX-License-Identifier: Apache-2.0 */
/* Dates and times as text.  Strict: a day that the month does not have, or a second 60, is no time. */
#include "schema/time_text.h"

#include <assert.h>
#include <stdlib.h>

#include "base/civil.h"
#include "base/scan.h"

/* ---- writing ---- */

char *time_put_digits(char *to, uint64_t value, int width)
{
    char memory[24];
    char *end = memory + sizeof(memory);
    char *at = end;
    assert(width < (int)sizeof(memory));
    while (value > 0 || end - at < width) {
        *--at = (char)('0' + value % 10);
        value /= 10;
    }
    memcpy(to, at, (size_t)(end - at));
    return to + (end - at);
}

static char *put_two(char *to, unsigned value)
{
    to[0] = (char)('0' + value / 10);
    to[1] = (char)('0' + value % 10);
    return to + 2;
}

char *time_put_date(char *to, int64_t days)
{
    struct civil_day civil = civil_of_days(days);
    if (civil.year >= 0 && civil.year <= 9999) {
        to = put_two(to, (unsigned)civil.year / 100);
        to = put_two(to, (unsigned)civil.year % 100);
    } else {
        *to++ = civil.year < 0 ? '-' : '+';
        to = time_put_digits(to, (uint64_t)llabs(civil.year), 6);
    }
    *to++ = '-';
    to = put_two(to, civil.month);
    *to++ = '-';
    return put_two(to, civil.day);
}

static int64_t ticks_a_second(int digits)
{
    return digits == TIME_DIGITS_MILLIS ? 1000 : 1000000;
}

char *time_put_clock(char *to, int64_t ticks, int digits)
{
    unsigned seconds = (unsigned)(ticks / ticks_a_second(digits));
    unsigned fraction = (unsigned)(ticks % ticks_a_second(digits));
    to = put_two(to, seconds / 3600);
    *to++ = ':';
    to = put_two(to, seconds / 60 % 60);
    *to++ = ':';
    to = put_two(to, seconds % 60);
    *to++ = '.';
    for (int i = digits - 1; i >= 0; i--, fraction /= 10)
        to[i] = (char)('0' + fraction % 10);
    return to + digits;
}

char *time_put_local(char *to, int64_t ticks, int digits)
{
    int64_t day = 86400 * ticks_a_second(digits);
    int64_t days = ticks / day;
    int64_t rest = ticks % day;
    if (rest < 0) {
        rest += day;
        days--;
    }
    to = time_put_date(to, days);
    *to++ = 'T';
    return time_put_clock(to, rest, digits);
}

/* The words of the two infinities, which only microseconds have; data NULL for every other value. */
static struct banyan_str infinity_word(int64_t ticks, int digits)
{
    if (digits != TIME_DIGITS_MICROS)
        return (struct banyan_str){NULL, 0};
    return ticks == BANYAN_TIME_INFINITY         ? BANYAN_STR("infinity")
           : ticks == BANYAN_TIME_MINUS_INFINITY ? BANYAN_STR("-infinity")
                                                 : (struct banyan_str){NULL, 0};
}

char *time_put_moment(char *to, int64_t ticks, int digits)
{
    struct banyan_str word = infinity_word(ticks, digits);
    if (word.data != NULL) {
        memcpy(to, word.data, word.size);
        return to + word.size;
    }
    to = time_put_local(to, ticks, digits);
    *to++ = 'Z';
    return to;
}

/* ---- reading ---- */

static bool scan_date(struct scan *scan, int64_t *ret_days)
{
    int64_t year, month, day;
    bool minus = scan_char(scan, '-');
    bool sign = minus || scan_char(scan, '+');
    if (!scan_digits(scan, sign ? 6 : 4, sign ? 9 : 4, &year) || !scan_char(scan, '-') ||
        !scan_digits(scan, 2, 2, &month) || !scan_char(scan, '-') || !scan_digits(scan, 2, 2, &day))
        return false;
    struct civil_day civil = {minus ? -year : year, (unsigned)month, (unsigned)day};
    return civil_to_days(civil, ret_days);
}

static bool scan_clock(struct scan *scan, int digits, int64_t *ret_ticks)
{
    int64_t hour, minute, second, fraction = 0;
    if (!scan_digits(scan, 2, 2, &hour) || !scan_char(scan, ':') || !scan_digits(scan, 2, 2, &minute) ||
        !scan_char(scan, ':') || !scan_digits(scan, 2, 2, &second) || hour > 23 || minute > 59 || second > 59)
        return false;
    if (scan_char(scan, '.')) {
        const char *start = scan->at;
        if (!scan_digits(scan, 1, digits, &fraction))
            return false;
        for (ptrdiff_t given = scan->at - start; given < digits; given++)
            fraction *= 10;
        while (scan->at < scan->end && *scan->at == '0')
            scan->at++;
    }
    *ret_ticks = ((hour * 60 + minute) * 60 + second) * ticks_a_second(digits) + fraction;
    return true;
}

static bool scan_local(struct scan *scan, int digits, int64_t *ret_days, int64_t *ret_ticks)
{
    return scan_date(scan, ret_days) && (scan_char(scan, 'T') || scan_char(scan, 't')) &&
           scan_clock(scan, digits, ret_ticks);
}

/* "Z" or "+05:30": seconds that the clock is ahead of UTC. */
static bool scan_zone(struct scan *scan, int64_t *ret_seconds)
{
    int64_t hour, minute;
    *ret_seconds = 0;
    if (scan_char(scan, 'Z') || scan_char(scan, 'z'))
        return true;
    bool minus = scan_char(scan, '-');
    if ((!minus && !scan_char(scan, '+')) || !scan_digits(scan, 2, 2, &hour) || !scan_char(scan, ':') ||
        !scan_digits(scan, 2, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *ret_seconds = (hour * 60 + minute) * (minus ? -60 : 60);
    return true;
}

/* Days and ticks of the day as ticks; false when they pass 64 bits.  The sum is made in 128: near the least value,
 * days alone are below what fits. */
static bool join(int64_t days, int64_t ticks, int digits, int64_t *ret)
{
    __int128 sum = (__int128)days * 86400 * ticks_a_second(digits) + ticks;
    *ret = (int64_t)sum;
    return (__int128)*ret == sum;
}

bool time_get_date(struct banyan_str text, int64_t *ret_days)
{
    struct scan scan = scan_of(text);
    return scan_date(&scan, ret_days) && scan.at == scan.end;
}

bool time_get_clock(struct banyan_str text, int digits, int64_t *ret_ticks)
{
    struct scan scan = scan_of(text);
    return scan_clock(&scan, digits, ret_ticks) && scan.at == scan.end;
}

bool time_get_local(struct banyan_str text, int digits, int64_t *ret_ticks)
{
    struct scan scan = scan_of(text);
    int64_t days, ticks;
    return scan_local(&scan, digits, &days, &ticks) && scan.at == scan.end && join(days, ticks, digits, ret_ticks);
}

bool time_get_moment(struct banyan_str text, int digits, int64_t *ret_ticks)
{
    struct scan scan = scan_of(text);
    int64_t days, ticks, zone;
    if (digits == TIME_DIGITS_MICROS && banyan_str_equal(text, BANYAN_STR("infinity"))) {
        *ret_ticks = BANYAN_TIME_INFINITY;
        return true;
    }
    if (digits == TIME_DIGITS_MICROS && banyan_str_equal(text, BANYAN_STR("-infinity"))) {
        *ret_ticks = BANYAN_TIME_MINUS_INFINITY;
        return true;
    }
    return scan_local(&scan, digits, &days, &ticks) && scan_zone(&scan, &zone) && scan.at == scan.end &&
           join(days, ticks - zone * ticks_a_second(digits), digits, ret_ticks) &&
           infinity_word(*ret_ticks, digits).data == NULL;
}
