/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact decimals in 128 bits.
 *
 * Invariants of every value that these functions give:
 * 1. |units| < 10^38, so that the value fits PostgreSQL's and Avro's decimal(38) and sums of two never overflow.
 * 2. 0 <= scale <= 38, or units is 0 and scale is one of the specials.
 *
 * Multiplication by a power of ten can pass 128 bits although the result fits; where that matters (division, rounding)
 * the work is done on 256-bit magnitudes.  Values that fit 64 bits take short ways: money nearly always does.
 */
#include "banyan/decimal.h"

#include <assert.h>

typedef unsigned __int128 u128;

/* An unsigned number of 256 bits. */
struct wide {
    u128 high;
    u128 low;
};

static const uint64_t small_powers[20] = {
    1u,
    10u,
    100u,
    1000u,
    10000u,
    100000u,
    1000000u,
    10000000u,
    100000000u,
    1000000000u,
    10000000000u,
    100000000000u,
    1000000000000u,
    10000000000000u,
    100000000000000u,
    1000000000000000u,
    10000000000000000u,
    100000000000000000u,
    1000000000000000000u,
    10000000000000000000u,
};

/* 10^exponent for 0 … 38. */
static u128 power_of_ten(int exponent)
{
    assert(exponent >= 0 && exponent <= BANYAN_DECIMAL_DIGITS_MAX);
    if (exponent < 20)
        return small_powers[exponent];
    return (u128)small_powers[19] * small_powers[exponent - 19];
}

static bool is_number(struct banyan_decimal d)
{
    return d.scale >= 0 && d.scale <= BANYAN_DECIMAL_SCALE_MAX;
}

static u128 magnitude(__int128 units)
{
    return units < 0 ? -(u128)units : (u128)units;
}

/* Give sign and magnitude as a value; false when it has more than 38 digits. */
static bool give(bool negative, u128 units, int32_t scale, struct banyan_decimal *ret)
{
    if (units >= power_of_ten(BANYAN_DECIMAL_DIGITS_MAX))
        return false;
    ret->units = negative ? -(__int128)units : (__int128)units;
    ret->scale = scale;
    return true;
}

static struct wide wide_mul(u128 a, u128 b)
{
    u128 a0 = (uint64_t)a, a1 = a >> 64, b0 = (uint64_t)b, b1 = b >> 64;
    u128 low = a0 * b0;
    u128 middle = a1 * b0 + (low >> 64); /* cannot overflow: (2^64-1)^2 + 2^64-1 < 2^128 */
    u128 cross = a0 * b1 + (uint64_t)middle;
    return (struct wide){a1 * b1 + (middle >> 64) + (cross >> 64), cross << 64 | (uint64_t)low};
}

/* *value* times a 128-bit number; false on overflow of 256 bits. */
static bool wide_scale(struct wide *value, u128 factor)
{
    struct wide low = wide_mul(value->low, factor);
    struct wide high = wide_mul(value->high, factor);
    if (high.high != 0 || __builtin_add_overflow(low.high, high.low, &low.high))
        return false;
    *value = low;
    return true;
}

/* number / divisor rounded half away from zero; false when the quotient has more than 38 digits.  Long division bit by
 * bit: only numbers beyond 128 bits come here.  divisor <= 2^127, so doubling a rest cannot overflow. */
static bool wide_divide(struct wide number, u128 divisor, u128 *ret)
{
    u128 rest = 0;
    struct wide quotient = {0, 0};
    for (int bit = 255; bit >= 0; bit--) {
        u128 half = bit >= 128 ? number.high : number.low;
        rest = rest << 1 | (half >> (bit & 127) & 1);
        bool fits = rest >= divisor;
        if (fits)
            rest -= divisor;
        quotient = (struct wide){quotient.high << 1 | quotient.low >> 127, quotient.low << 1 | fits};
    }
    if (quotient.high != 0 || quotient.low >= power_of_ten(BANYAN_DECIMAL_DIGITS_MAX))
        return false;
    *ret = quotient.low + (rest >= divisor - rest);
    return true;
}

/* a / b rounded half away from zero, b > 0. */
static u128 divide_rounded(u128 a, u128 b)
{
    if (a <= UINT64_MAX && b <= UINT64_MAX) {
        uint64_t quotient = (uint64_t)a / (uint64_t)b;
        uint64_t rest = (uint64_t)a % (uint64_t)b;
        return (u128)quotient + (rest >= (uint64_t)b - rest);
    }
    u128 quotient = a / b;
    u128 rest = a - quotient * b;
    return quotient + (rest >= b - rest);
}

/* |units| * 10^exponent; false when it passes 128 bits. */
static bool scaled_up(u128 units, int exponent, u128 *ret)
{
    if (units == 0) {
        *ret = 0;
        return true;
    }
    if (exponent > BANYAN_DECIMAL_DIGITS_MAX)
        return false;
    return !__builtin_mul_overflow(units, power_of_ten(exponent), ret);
}

bool banyan_decimal_rescale(struct banyan_decimal d, int32_t scale, struct banyan_decimal *ret)
{
    struct banyan_decimal rounded;
    if (!banyan_decimal_round(d, scale, &rounded))
        return false;
    /* Digits that were dropped must have been zeros. */
    if (rounded.scale < d.scale && magnitude(d.units) % power_of_ten(d.scale - scale) != 0)
        return false;
    *ret = rounded;
    return true;
}

bool banyan_decimal_round(struct banyan_decimal d, int32_t scale, struct banyan_decimal *ret)
{
    if (scale < 0 || scale > BANYAN_DECIMAL_SCALE_MAX)
        return false;
    if (!is_number(d) || d.scale == scale) {
        *ret = d;
        return true;
    }
    u128 units = magnitude(d.units);
    if (scale < d.scale)
        units = divide_rounded(units, power_of_ten(d.scale - scale));
    else if (!scaled_up(units, scale - d.scale, &units))
        return false;
    return give(d.units < 0, units, scale, ret);
}

static bool add_signed(struct banyan_decimal a, struct banyan_decimal b, bool negate_b, struct banyan_decimal *ret)
{
    if (!is_number(a) || !is_number(b))
        return false;
    int32_t scale = a.scale > b.scale ? a.scale : b.scale;
    u128 x, y;
    /* One side past 128 bits cannot come back: the other is below 10^38 < 2^127. */
    if (!scaled_up(magnitude(a.units), scale - a.scale, &x) || !scaled_up(magnitude(b.units), scale - b.scale, &y))
        return false;
    bool x_negative = a.units < 0;
    bool y_negative = (b.units < 0) != negate_b;
    if (x_negative == y_negative) {
        u128 sum;
        return !__builtin_add_overflow(x, y, &sum) && give(x_negative, sum, scale, ret);
    }
    return x >= y ? give(x_negative, x - y, scale, ret) : give(y_negative, y - x, scale, ret);
}

bool banyan_decimal_add(struct banyan_decimal a, struct banyan_decimal b, struct banyan_decimal *ret)
{
    return add_signed(a, b, false, ret);
}

bool banyan_decimal_sub(struct banyan_decimal a, struct banyan_decimal b, struct banyan_decimal *ret)
{
    return add_signed(a, b, true, ret);
}

bool banyan_decimal_mul(struct banyan_decimal a, struct banyan_decimal b, struct banyan_decimal *ret)
{
    if (!is_number(a) || !is_number(b) || a.scale + b.scale > BANYAN_DECIMAL_SCALE_MAX)
        return false;
    u128 product;
    if (__builtin_mul_overflow(magnitude(a.units), magnitude(b.units), &product))
        return false;
    return give((a.units < 0) != (b.units < 0), product, a.scale + b.scale, ret);
}

bool banyan_decimal_div(struct banyan_decimal a, struct banyan_decimal b, int32_t scale, struct banyan_decimal *ret)
{
    if (!is_number(a) || !is_number(b) || b.units == 0 || scale < 0 || scale > BANYAN_DECIMAL_SCALE_MAX)
        return false;
    bool negative = (a.units < 0) != (b.units < 0);
    u128 x = magnitude(a.units);
    u128 y = magnitude(b.units);
    int exponent = scale + b.scale - a.scale; /* the quotient is x * 10^exponent / y units */
    u128 up;
    if (exponent >= 0 ? scaled_up(x, exponent, &up) : scaled_up(y, -exponent, &up)) {
        u128 quotient = exponent >= 0 ? divide_rounded(up, y) : divide_rounded(x, up);
        return give(negative, quotient, scale, ret);
    }
    /* A divisor past 128 bits is more than twice any number: the quotient rounds to 0. */
    if (exponent < 0)
        return give(false, 0, scale, ret);
    struct wide number = {0, x};
    /* exponent <= 76.  A number past 256 bits has a quotient past 38 digits. */
    for (int left = exponent; left > 0; left -= BANYAN_DECIMAL_DIGITS_MAX) {
        int step = left < BANYAN_DECIMAL_DIGITS_MAX ? left : BANYAN_DECIMAL_DIGITS_MAX;
        if (!wide_scale(&number, power_of_ten(step)))
            return false;
    }
    u128 quotient;
    return wide_divide(number, y, &quotient) && give(negative, quotient, scale, ret);
}

bool banyan_decimal_fits(struct banyan_decimal d, int32_t precision)
{
    if (!is_number(d) || precision < 0)
        return false;
    if (precision >= BANYAN_DECIMAL_DIGITS_MAX)
        precision = BANYAN_DECIMAL_DIGITS_MAX;
    return magnitude(d.units) < power_of_ten(precision);
}

static int order(__int128 a, __int128 b)
{
    return (a > b) - (a < b);
}

int banyan_decimal_compare(struct banyan_decimal a, struct banyan_decimal b)
{
    if (a.scale == b.scale)
        return order(a.units, b.units);
    if (!is_number(a) || !is_number(b)) {
        int rank_a = is_number(a) ? 1 : a.scale == BANYAN_DECIMAL_NULL ? 0 : 2;
        int rank_b = is_number(b) ? 1 : b.scale == BANYAN_DECIMAL_NULL ? 0 : 2;
        return rank_a - rank_b;
    }
    /* Whole parts first, then the parts behind the point at the larger scale: neither can overflow. */
    __int128 power_a = (__int128)power_of_ten(a.scale);
    __int128 power_b = (__int128)power_of_ten(b.scale);
    int whole = order(a.units / power_a, b.units / power_b);
    if (whole != 0)
        return whole;
    __int128 rest_a = a.units % power_a;
    __int128 rest_b = b.units % power_b;
    if (a.scale < b.scale)
        rest_a *= (__int128)power_of_ten(b.scale - a.scale);
    else
        rest_b *= (__int128)power_of_ten(a.scale - b.scale);
    return order(rest_a, rest_b);
}

/* The exponent behind 'e' up to the end; false when it is none or could not matter. */
static bool parse_exponent(const char *at, const char *end, int *ret)
{
    bool negative = at < end && *at == '-';
    int exponent = 0;
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (at == end)
        return false;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9' || exponent > 10000)
            return false;
        exponent = exponent * 10 + (*at - '0');
    }
    *ret = negative ? -exponent : exponent;
    return true;
}

static bool is_nan(struct banyan_str text)
{
    return text.size == 3 && (text.data[0] | 0x20) == 'n' && (text.data[1] | 0x20) == 'a' &&
           (text.data[2] | 0x20) == 'n';
}

bool banyan_decimal_parse(struct banyan_str text, struct banyan_decimal *ret)
{
    if (text.data == NULL)
        return false;
    if (is_nan(text)) {
        *ret = (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
        return true;
    }
    const char *at = text.data;
    const char *end = at + text.size;
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    const u128 units_max = power_of_ten(BANYAN_DECIMAL_DIGITS_MAX - 1); /* one more digit still fits */
    u128 units = 0;
    int scale = 0;
    bool any = false;
    bool point = false;
    for (; at < end; at++) {
        if (*at == '.' && !point) {
            point = true;
            continue;
        }
        if (*at < '0' || *at > '9')
            break;
        if (units >= units_max || scale > BANYAN_DECIMAL_SCALE_MAX)
            return false;
        units = units * 10 + (unsigned)(*at - '0');
        scale += point;
        any = true;
    }
    if (!any)
        return false;
    int exponent = 0;
    if (at < end && ((*at | 0x20) != 'e' || !parse_exponent(at + 1, end, &exponent)))
        return false;
    scale -= exponent;
    if (scale < 0) {
        if (!scaled_up(units, -scale, &units))
            return false;
        scale = 0;
    }
    return scale <= BANYAN_DECIMAL_SCALE_MAX && give(negative, units, scale, ret);
}

/* Digits of *units* backwards from *end*; returns the first. */
static char *digits_before(char *end, u128 units)
{
    while (units > UINT64_MAX) {
        uint64_t low = (uint64_t)(units % small_powers[18]);
        units /= small_powers[18];
        for (int i = 0; i < 18; i++, low /= 10)
            *--end = (char)('0' + low % 10);
    }
    uint64_t rest = (uint64_t)units;
    while (rest > 0) {
        *--end = (char)('0' + rest % 10);
        rest /= 10;
    }
    return end;
}

size_t banyan_decimal_format(struct banyan_decimal d, char text[BANYAN_DECIMAL_TEXT_MAX])
{
    if (!is_number(d)) {
        size_t size = d.scale == BANYAN_DECIMAL_NULL ? 0 : 3;
        memcpy(text, "NaN", size);
        text[size] = '\0';
        return size;
    }
    char memory[BANYAN_DECIMAL_TEXT_MAX];
    char *end = memory + sizeof(memory);
    char *at = digits_before(end, magnitude(d.units));
    while (end - at <= d.scale)
        *--at = '0';
    size_t whole = (size_t)(end - at) - (size_t)d.scale;
    char *to = text;
    if (d.units < 0)
        *to++ = '-';
    memcpy(to, at, whole);
    to += whole;
    if (d.scale > 0) {
        *to++ = '.';
        memcpy(to, at + whole, (size_t)d.scale);
        to += d.scale;
    }
    *to = '\0';
    return (size_t)(to - text);
}
