/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decimals against a model of digit strings: slow and simple, with as many digits as wanted, done as on paper.
 */
#include "banyan/decimal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/seed.h"

enum {
    DIGITS = 256, /* of the model */
};

/* A natural number; digits[0] is the last one. */
struct number {
    int digits[DIGITS];
};

/* value = (negative ? -1 : 1) * units * 10^-scale */
struct model {
    bool negative;
    struct number units;
    int scale;
};

static struct number number_of(unsigned __int128 value)
{
    struct number n = {{0}};
    for (int i = 0; value > 0; i++, value /= 10)
        n.digits[i] = (int)(value % 10);
    return n;
}

static int number_size(const struct number *n)
{
    int size = DIGITS;
    while (size > 0 && n->digits[size - 1] == 0)
        size--;
    return size;
}

static int number_compare(const struct number *a, const struct number *b)
{
    for (int i = DIGITS - 1; i >= 0; i--) {
        if (a->digits[i] != b->digits[i])
            return a->digits[i] < b->digits[i] ? -1 : 1;
    }
    return 0;
}

static struct number number_shift(const struct number *a, int places)
{
    struct number r = {{0}};
    for (int i = 0; i < DIGITS; i++) {
        if (a->digits[i] != 0)
            assert_in_range(i + places, 0, DIGITS - 1);
        if (i + places >= 0 && i + places < DIGITS)
            r.digits[i + places] = a->digits[i];
    }
    return r;
}

static struct number number_add(const struct number *a, const struct number *b)
{
    struct number r;
    int carry = 0;
    for (int i = 0; i < DIGITS; i++) {
        int sum = a->digits[i] + b->digits[i] + carry;
        r.digits[i] = sum % 10;
        carry = sum / 10;
    }
    return r;
}

/* a >= b */
static struct number number_sub(const struct number *a, const struct number *b)
{
    struct number r;
    int borrow = 0;
    for (int i = 0; i < DIGITS; i++) {
        int rest = a->digits[i] - b->digits[i] - borrow;
        borrow = rest < 0;
        r.digits[i] = rest + (borrow ? 10 : 0);
    }
    assert_int_equal(borrow, 0);
    return r;
}

static struct number number_mul(const struct number *a, const struct number *b)
{
    struct number r = {{0}};
    for (int i = 0; i < DIGITS; i++) {
        int carry = 0;
        for (int j = 0; a->digits[i] != 0 && i + j < DIGITS; j++) {
            int sum = r.digits[i + j] + a->digits[i] * b->digits[j] + carry;
            r.digits[i + j] = sum % 10;
            carry = sum / 10;
        }
    }
    return r;
}

/* a / b rounded half up. */
static struct number number_div(const struct number *a, const struct number *b)
{
    struct number quotient = {{0}};
    struct number rest = {{0}};
    for (int i = DIGITS - 1; i >= 0; i--) {
        rest = number_shift(&rest, 1);
        rest.digits[0] = a->digits[i];
        while (number_compare(&rest, b) >= 0) {
            rest = number_sub(&rest, b);
            quotient.digits[i]++;
        }
    }
    struct number twice = number_add(&rest, &rest);
    struct number one = number_of(1);
    return number_compare(&twice, b) >= 0 ? number_add(&quotient, &one) : quotient;
}

static struct model model_of(struct banyan_decimal d)
{
    unsigned __int128 units = d.units < 0 ? -(unsigned __int128)d.units : (unsigned __int128)d.units;
    return (struct model){d.units < 0, number_of(units), d.scale};
}

static bool model_fits(const struct model *m)
{
    return number_size(&m->units) <= BANYAN_DECIMAL_DIGITS_MAX && m->scale <= BANYAN_DECIMAL_SCALE_MAX;
}

/* The text as the header promises it. */
static void model_format(const struct model *m, char *text)
{
    int size = number_size(&m->units);
    int first = size > m->scale + 1 ? size : m->scale + 1;
    if (m->negative && size > 0)
        *text++ = '-';
    for (int i = first - 1; i >= 0; i--) {
        *text++ = (char)('0' + m->units.digits[i]);
        if (i == m->scale && i > 0)
            *text++ = '.';
    }
    *text = '\0';
}

static void assert_same(bool ok, struct banyan_decimal d, const struct model *m, const char *what)
{
    char expected[DIGITS + 4] = "does not fit";
    char text[BANYAN_DECIMAL_TEXT_MAX] = "does not fit";
    if (model_fits(m))
        model_format(m, expected);
    if (ok) {
        size_t size = banyan_decimal_format(d, text);
        assert_int_equal(size, strlen(text));
    }
    if (strcmp(text, expected) != 0)
        fail_msg("%s: %s, but the model says %s", what, text, expected);
}

static unsigned __int128 power(int exponent)
{
    unsigned __int128 result = 1;
    while (exponent-- > 0)
        result *= 10;
    return result;
}

/* Any number of digits is equally likely, round numbers and runs of nines are frequent. */
static struct banyan_decimal random_decimal(struct os_random *random)
{
    int digits = (int)os_random_below(random, 39);
    unsigned __int128 units =
        ((unsigned __int128)os_random_next(random) << 64 | os_random_next(random)) % power(digits);
    switch (os_random_below(random, 6)) {
    case 0:
        units = power(digits) - 1;
        break;
    case 1:
        units = digits < 38 ? power(digits) : power(37);
        break;
    case 2:
        units -= units % power((int)os_random_below(random, (uint64_t)digits + 1));
        break;
    default:
        break;
    }
    struct banyan_decimal d = {(__int128)units, (int32_t)os_random_below(random, 39)};
    if (os_random_below(random, 2) == 0)
        d.units = -d.units;
    if (os_random_below(random, 3) == 0)
        d.scale = (int32_t)os_random_below(random, 5);
    return d;
}

static struct model model_add(const struct model *a, const struct model *b, bool negate_b)
{
    struct model r = {false, {{0}}, a->scale > b->scale ? a->scale : b->scale};
    struct number x = number_shift(&a->units, r.scale - a->scale);
    struct number y = number_shift(&b->units, r.scale - b->scale);
    bool y_negative = b->negative != negate_b;
    if (a->negative == y_negative) {
        r.units = number_add(&x, &y);
        r.negative = a->negative;
    } else if (number_compare(&x, &y) >= 0) {
        r.units = number_sub(&x, &y);
        r.negative = a->negative;
    } else {
        r.units = number_sub(&y, &x);
        r.negative = y_negative;
    }
    return r;
}

static void sums_and_products_match_the_model(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "sums_and_products_match_the_model");
    for (unsigned round = 0; round < seed_rounds(20000); round++) {
        struct banyan_decimal a = random_decimal(&random), b = random_decimal(&random), r = {0, 0};
        struct model x = model_of(a), y = model_of(b);
        struct model sum = model_add(&x, &y, false);
        bool ok = banyan_decimal_add(a, b, &r);
        assert_same(ok, r, &sum, "add");
        sum = model_add(&x, &y, true);
        ok = banyan_decimal_sub(a, b, &r);
        assert_same(ok, r, &sum, "sub");
        struct model product = {x.negative != y.negative, number_mul(&x.units, &y.units), x.scale + y.scale};
        ok = banyan_decimal_mul(a, b, &r);
        assert_same(ok, r, &product, "mul");
    }
}

static void quotients_match_the_model(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "quotients_match_the_model");
    unsigned fitting = 0;
    for (unsigned round = 0; round < seed_rounds(4000); round++) {
        struct banyan_decimal a = random_decimal(&random), b = random_decimal(&random), r = {0, 0};
        int scale = (int)os_random_below(&random, 39);
        bool ok = banyan_decimal_div(a, b, scale, &r);
        if (b.units == 0) {
            assert_false(ok);
            continue;
        }
        struct model x = model_of(a), y = model_of(b);
        int exponent = scale + b.scale - a.scale;
        struct number number = number_shift(&x.units, exponent > 0 ? exponent : 0);
        struct number divisor = number_shift(&y.units, exponent < 0 ? -exponent : 0);
        struct model quotient = {x.negative != y.negative, number_div(&number, &divisor), scale};
        fitting += model_fits(&quotient);
        assert_same(ok, r, &quotient, "div");
    }
    assert_true(fitting > seed_rounds(4000) / 4); /* the test is worth something only if many fit */
}

static void rounding_matches_the_model(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "rounding_matches_the_model");
    for (unsigned round = 0; round < seed_rounds(4000); round++) {
        struct banyan_decimal a = random_decimal(&random), r = {0, 0};
        struct model x = model_of(a);
        int scale = (int)os_random_below(&random, 39);
        struct number one = number_of(1);
        struct number divisor = number_shift(&one, scale < a.scale ? a.scale - scale : 0);
        struct number number = number_shift(&x.units, scale > a.scale ? scale - a.scale : 0);
        struct model rounded = {x.negative, number_div(&number, &divisor), scale};
        bool ok = banyan_decimal_round(a, scale, &r);
        assert_same(ok, r, &rounded, "round");
        struct number back = number_mul(&rounded.units, &divisor);
        bool exact = number_compare(&back, &number) == 0;
        assert_int_equal(banyan_decimal_rescale(a, scale, &r), ok && exact);
        if (ok && exact) {
            assert_same(true, r, &rounded, "rescale");
            assert_int_equal(banyan_decimal_compare(a, r), 0);
        }
    }
}

static void order_matches_the_model(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "order_matches_the_model");
    for (unsigned round = 0; round < seed_rounds(20000); round++) {
        struct banyan_decimal a = random_decimal(&random), b = random_decimal(&random);
        if (round % 2 == 0)
            b = (struct banyan_decimal){a.units + (int)os_random_below(&random, 3) - 1, a.scale};
        if (round % 4 == 0 && !banyan_decimal_rescale(b, (int)os_random_below(&random, 39), &b))
            continue;
        struct model x = model_of(a), y = model_of(b);
        struct model difference = model_add(&x, &y, true);
        int expected = number_size(&difference.units) == 0 ? 0 : difference.negative ? -1 : 1;
        int got = banyan_decimal_compare(a, b);
        assert_int_equal((got > 0) - (got < 0), expected);
        got = banyan_decimal_compare(b, a);
        assert_int_equal((got > 0) - (got < 0), -expected);
    }
}

static void text_reads_back(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "text_reads_back");
    for (unsigned round = 0; round < seed_rounds(20000); round++) {
        struct banyan_decimal a = random_decimal(&random), r = {1, 1};
        struct model m = model_of(a);
        char text[BANYAN_DECIMAL_TEXT_MAX];
        (void)banyan_decimal_format(a, text); /* the length is looked at by assert_same() */
        assert_same(true, a, &m, "format");
        assert_true(banyan_decimal_parse(banyan_str_of(text), &r));
        assert_true(r.units == a.units);
        assert_int_equal(r.scale, a.scale);
    }
}

static void texts_and_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected; /* NULL: refused */
    } cases[] = {
        {"0", "0"},
        {"-0", "0"},
        {"-0.00", "0.00"},
        {"+1.50", "1.50"},
        {"-12.500", "-12.500"},
        {".5", "0.5"},
        {"5.", "5"},
        {"1e3", "1000"},
        {"1E+3", "1000"},
        {"1.5e1", "15"},
        {"1.5e-3", "0.0015"},
        {"12.50e1", "125.0"},
        {"NaN", "NaN"},
        {"nan", "NaN"},
        {"0000000000000000000000000000000000000000001", "1"},
        {"0e99", "0"},
        {"99999999999999999999999999999999999999", "99999999999999999999999999999999999999"},
        {"0.00000000000000000000000000000000000001", "0.00000000000000000000000000000000000001"},
        {"1e37", "10000000000000000000000000000000000000"},
        {"1e38", NULL},
        {"999999999999999999999999999999999999999", NULL},
        {"100000000000000000000000000000000000000", NULL},
        {"0.000000000000000000000000000000000000001", NULL},
        {"1e-39", NULL},
        {"", NULL},
        {" 1", NULL},
        {"1 ", NULL},
        {"-", NULL},
        {".", NULL},
        {"e5", NULL},
        {"1e", NULL},
        {"1e+", NULL},
        {"1.2.3", NULL},
        {"0x10", NULL},
        {"1,5", NULL},
        {"Infinity", NULL},
        {"1e99999999999999999999", NULL},
        {"--1", NULL},
        {"1e5x", NULL},
        {"nano", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_decimal d = {7, 7};
        bool ok = banyan_decimal_parse(banyan_str_of(cases[i].text), &d);
        if (ok != (cases[i].expected != NULL))
            fail_msg("%s: parsed %d", cases[i].text, ok);
        char text[BANYAN_DECIMAL_TEXT_MAX];
        size_t size = banyan_decimal_format(d, text);
        assert_int_equal(size, strlen(text));
        assert_string_equal(text, ok ? cases[i].expected : "0.0000007"); /* untouched when refused */
    }
    struct banyan_decimal d;
    assert_false(banyan_decimal_parse((struct banyan_str){NULL, 0}, &d));
}

static void half_goes_away_from_zero(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int scale;
        const char *expected;
    } cases[] = {
        {"1", "8", 2, "0.13"},
        {"-1", "8", 2, "-0.13"},
        {"1", "3", 5, "0.33333"},
        {"2", "3", 5, "0.66667"},
        {"-2", "3", 0, "-1"},
        {"1", "2", 0, "1"},
        {"-1", "2", 0, "-1"},
        {"1", "-2", 0, "-1"},
        {"0.49999", "1", 0, "0"},
        {"1e37", "3", 1, "3333333333333333333333333333333333333.3"},
        {"1e37", "0.3", 0, "33333333333333333333333333333333333333"},
        {"1e37", "0.03", 0, NULL},
        {"1", "3", 38, "0.33333333333333333333333333333333333333"},
        {"1e37", "1e37", 37, "1.0000000000000000000000000000000000000"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_decimal a, b, r = {0, 0};
        assert_true(banyan_decimal_parse(banyan_str_of(cases[i].a), &a));
        assert_true(banyan_decimal_parse(banyan_str_of(cases[i].b), &b));
        bool ok = banyan_decimal_div(a, b, cases[i].scale, &r);
        assert_int_equal(ok, cases[i].expected != NULL);
        char text[BANYAN_DECIMAL_TEXT_MAX];
        (void)banyan_decimal_format(r, text); /* compared below */
        if (ok)
            assert_string_equal(text, cases[i].expected);
    }
}

static void specials(void **state)
{
    (void)state;
    struct banyan_decimal null = banyan_decimal_null(), nan = {0, BANYAN_DECIMAL_NAN}, one = {10, 1}, r = {5, 0};
    assert_false(banyan_decimal_add(one, null, &r));
    assert_false(banyan_decimal_sub(nan, one, &r));
    assert_false(banyan_decimal_mul(null, nan, &r));
    assert_false(banyan_decimal_div(one, nan, 2, &r));
    assert_true(banyan_decimal_rescale(nan, 4, &r));
    assert_int_equal(r.scale, BANYAN_DECIMAL_NAN);
    assert_true(banyan_decimal_round(null, 4, &r));
    assert_true(banyan_decimal_is_null(r));
    assert_false(banyan_decimal_rescale(one, -1, &r));
    assert_false(banyan_decimal_rescale(one, 39, &r));
    assert_true(banyan_decimal_compare(null, one) < 0);
    assert_true(banyan_decimal_compare(one, nan) < 0);
    assert_true(banyan_decimal_compare(null, nan) < 0);
    assert_int_equal(banyan_decimal_compare(null, null), 0);
    assert_int_equal(banyan_decimal_compare(nan, nan), 0);
    char text[BANYAN_DECIMAL_TEXT_MAX];
    assert_int_equal(banyan_decimal_format(null, text), 0);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_products_match_the_model),
        cmocka_unit_test(quotients_match_the_model),
        cmocka_unit_test(rounding_matches_the_model),
        cmocka_unit_test(order_matches_the_model),
        cmocka_unit_test(text_reads_back),
        cmocka_unit_test(texts_and_refusals),
        cmocka_unit_test(half_goes_away_from_zero),
        cmocka_unit_test(specials),
    };
    return cmocka_run_group_tests_name("base-decimal", tests, NULL, NULL);
}
