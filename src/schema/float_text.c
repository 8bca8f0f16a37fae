/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floats and doubles as text.
 *
 * Most values that people write have few digits: m / 10^k with m below 2^53 (2^24) and a small power, where one
 * division of two exact numbers rounds once, so m and k give the value again.  The others go the slow, exact way
 * through the C library: more and more digits until reading them gives the value again.
 */
#include "schema/float_text.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

enum {
    SINGLE_DIGITS_MAX = 9,
    DOUBLE_DIGITS_MAX = 17,
    PLACES_MAX = 6,        /* behind the point, on the short way */
    SINGLE_POWER_MAX = 10, /* 5^10 is below 2^24 */
    DOUBLE_POWER_MAX = 22, /* 5^22 is below 2^53 */
    TEXT_MAX = 1024,       /* of a number that is read the slow way from the stack */
};

static const double single_exact_max = 16777216.0;         /* 2^24 */
static const double double_exact_max = 9007199254740992.0; /* 2^53 */

/* ---- writing ---- */

/* *units* / 10^places, at least one digit on each side of the point. */
static char *put_places(char *to, uint64_t units, int places)
{
    char memory[FLOAT_TEXT_MAX];
    char *end = memory + sizeof(memory), *at = end;
    if (places == 0)
        *--at = '0';
    for (int i = 0; i < places; i++, units /= 10)
        *--at = (char)('0' + units % 10);
    *--at = '.';
    do {
        *--at = (char)('0' + units % 10);
        units /= 10;
    } while (units > 0);
    memcpy(to, at, (size_t)(end - at));
    return to + (end - at);
}

/* The C library's digits, its decimal point, whatever the locale has, made a point. */
static char *put_slow(char *to, double value, int digits)
{
    char text[FLOAT_TEXT_MAX];
    int size = snprintf(text, sizeof(text), "%.*g", digits, value);
    bool whole = true;
    char *start = to;
    for (int i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool digit = (c >= '0' && c <= '9') || c == '-' || c == '+';
        whole = whole && digit;
        if (digit || c == 'e')
            *to++ = (char)c;
        else if (to == start || to[-1] != '.')
            *to++ = '.';
    }
    if (whole) {
        *to++ = '.';
        *to++ = '0';
    }
    return to;
}

char *float_put_double(char *to, double value)
{
    double size = fabs(value);
    for (int places = 0; places <= PLACES_MAX && size < 1e15; places++) {
        double units = rint(size * powers[places]);
        if (units > double_exact_max || units / powers[places] != size)
            continue;
        if (signbit(value))
            *to++ = '-';
        return put_places(to, (uint64_t)units, places);
    }
    for (int digits = DOUBLE_DIGITS_MAX - 2;; digits++) {
        double back;
        char *end = put_slow(to, value, digits);
        if (digits == DOUBLE_DIGITS_MAX ||
            (float_get_double((struct banyan_str){to, (size_t)(end - to)}, &back) && back == value))
            return end;
    }
}

char *float_put_single(char *to, float value)
{
    float size = fabsf(value);
    for (int places = 0; places <= PLACES_MAX && size < 1e7F; places++) {
        float units = (float)rint((double)size * powers[places]);
        if ((double)units > single_exact_max || units / (float)powers[places] != size)
            continue;
        if (signbit(value))
            *to++ = '-';
        return put_places(to, (uint64_t)units, places);
    }
    for (int digits = SINGLE_DIGITS_MAX - 3;; digits++) {
        float back;
        char *end = put_slow(to, (double)value, digits);
        if (digits == SINGLE_DIGITS_MAX ||
            (float_get_single((struct banyan_str){to, (size_t)(end - to)}, &back) && back == value))
            return end;
    }
}

/* ---- reading ---- */

/* A JSON number as sign, digits and power of ten; false when it has too many digits for the short way. */
struct parts {
    bool negative;
    uint64_t units;
    int power;
};

static bool take_apart(struct banyan_str text, struct parts *ret)
{
    const char *at = text.data, *end = at + text.size;
    bool point = false;
    int digits = 0, exponent = 0;
    *ret = (struct parts){.negative = *at == '-'};
    for (at += ret->negative; at < end && (*at | 0x20) != 'e'; at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        if (++digits > 18)
            return false;
        ret->units = ret->units * 10 + (uint64_t)(*at - '0');
        ret->power -= point;
    }
    if (at == end)
        return true;
    at++;
    bool minus = *at == '-';
    for (at += *at == '-' || *at == '+'; at < end; at++) {
        exponent = exponent * 10 + (*at - '0');
        if (exponent > 1000)
            return false;
    }
    ret->power += minus ? -exponent : exponent;
    return true;
}

/* The text with a NUL behind it, for the C library: *memory* where it fits, else the heap. */
static char *ended(struct banyan_str text, char memory[TEXT_MAX])
{
    char *copy = text.size < TEXT_MAX ? memory : malloc(text.size + 1);
    if (copy != NULL) {
        memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
    }
    return copy;
}

/* Through the C library in the locale "C", which costs nothing to name. */
static bool get_slow(struct banyan_str text, float *ret_single, double *ret_double)
{
    char memory[TEXT_MAX];
    char *copy = ended(text, memory);
    if (copy == NULL)
        return false;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    bool finite = false;
    if (c != (locale_t)0 && ret_single != NULL) {
        *ret_single = strtof_l(copy, NULL, c);
        finite = isfinite(*ret_single);
    } else if (c != (locale_t)0) {
        *ret_double = strtod_l(copy, NULL, c);
        finite = isfinite(*ret_double);
    }
    if (c != (locale_t)0)
        freelocale(c);
    if (copy != memory)
        free(copy);
    return finite;
}

bool float_get_double(struct banyan_str text, double *ret)
{
    struct parts parts;
    if (!take_apart(text, &parts) || (double)parts.units > double_exact_max || abs(parts.power) > DOUBLE_POWER_MAX)
        return get_slow(text, NULL, ret);
    double value = (double)parts.units;
    value = parts.power < 0 ? value / powers[-parts.power] : value * powers[parts.power];
    *ret = parts.negative ? -value : value;
    return true;
}

bool float_get_single(struct banyan_str text, float *ret)
{
    struct parts parts;
    if (!take_apart(text, &parts) || (double)parts.units > single_exact_max || abs(parts.power) > SINGLE_POWER_MAX)
        return get_slow(text, ret, NULL);
    float value = (float)parts.units;
    float power = (float)powers[abs(parts.power)];
    value = parts.power < 0 ? value / power : value * power;
    *ret = parts.negative ? -value : value;
    return true;
}
