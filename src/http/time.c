/* SPDX-License-Identifier: Apache-2.0 */
/* Moments as people write them in a URL.  Strict: a day that the month does not have is no moment. */
#include <stdbool.h>
#include <string.h>

#include "http/http_int.h"

/* *digits* digits at *text* as a number; -1 when they are none. */
static int read_digits(const char *text, int digits)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days from 1970-01-01 to that day. */
static int64_t days_since_epoch(int year, int month, int day)
{
    int64_t before = (int64_t)year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400; /* from year 0 */
    for (int m = 1; m < month; m++)
        before += days_of(year, m);
    return before + day - 1 - 719528;
}

/* "Z", or hours and minutes ahead of UTC, up to the end. */
static bool read_zone(const char *text, int *ret_seconds)
{
    *ret_seconds = 0;
    if ((text[0] == 'Z' || text[0] == 'z') && text[1] == '\0')
        return true;
    if (text[0] != '+' && text[0] != ' ' && text[0] != '-')
        return false;
    int hours = read_digits(text + 1, 2);
    if (hours < 0 || hours > 23 || text[3] != ':')
        return false;
    int minutes = read_digits(text + 4, 2);
    if (minutes < 0 || minutes > 59 || text[6] != '\0')
        return false;
    *ret_seconds = (text[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

bool http_parse_time(const char *text, struct banyan_time *ret)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    int zone;
    if (strlen(text) < sizeof(form) - 1)
        return false;
    for (size_t i = 0; form[i] != '\0'; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (form[i] == 'd' ? !digit : text[i] != form[i] && !(form[i] == 'T' && text[i] == 't'))
            return false;
    }
    int year = read_digits(text, 4), month = read_digits(text + 5, 2), day = read_digits(text + 8, 2);
    int hour = read_digits(text + 11, 2), minute = read_digits(text + 14, 2), second = read_digits(text + 17, 2);
    if (month < 1 || month > 12 || day < 1 || day > days_of(year, month) || hour > 23 || minute > 59 || second > 59)
        return false;
    const char *rest = text + sizeof(form) - 1;
    int64_t us = 0, unit = 100000;
    if (*rest == '.') {
        if (read_digits(rest + 1, 1) < 0)
            return false;
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
            us += (*rest - '0') * unit;
    }
    if (!read_zone(rest, &zone))
        return false;
    int64_t seconds = days_since_epoch(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone;
    ret->us = seconds * 1000000 + us;
    return true;
}
