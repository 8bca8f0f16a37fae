/* SPDX-License-Identifier: Apache-2.0 */
/* Chernoff's bound against the binomial distribution itself, summed term by term. */
#include "rollout/chance.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* P(k or more of n) */
static double tail(uint64_t k, uint64_t n, double p)
{
    double sum = 0;
    for (uint64_t i = k; i <= n; i++)
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) + (double)i * log(p) +
                   (double)(n - i) * log(1 - p));
    return sum;
}

static void it_is_never_surer_than_the_truth(void **state)
{
    (void)state;
    const double shares[] = {0.001, 0.01, 0.05, 0.5, 0.95};
    const uint64_t sizes[] = {1, 2, 10, 100, 1000, 5000};
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 6; j++) {
            double p = shares[i];
            uint64_t n = sizes[j];
            uint64_t most = chance_most(n, p, CHANCE_SURE);
            if (most <= n)
                assert_true(tail(most, n, p) <= 1e-5);
            if (most > 0 && most - 1 <= n)
                assert_false(chance_above(most - 1, n, p, CHANCE_SURE));
            uint64_t fewest = chance_fewest(n, p, CHANCE_FAIR);
            if (fewest > 0)
                assert_true(1 - tail(fewest, n, p) <= 1.0 / 40);
            assert_true(fewest <= (uint64_t)((double)n * p) + 1);
        }
    }
}

/* A bound that is never sure would be right, too. */
static void it_is_not_far_from_the_truth(void **state)
{
    (void)state;
    assert_int_equal(chance_most(100, 0.01, CHANCE_SURE), 9);
    assert_true(tail(8, 100, 0.01) < 1e-5 && tail(7, 100, 0.01) > 1e-5); /* the truth is 8 */
    assert_true(chance_most(1000, 0.5, CHANCE_SURE) <= 577);
    assert_true(tail(567, 1000, 0.5) > 1e-5);
    assert_int_equal(chance_fewest(1000, 0.01, CHANCE_FAIR), 3);
}

static void nothing_is_above_in_nothing(void **state)
{
    (void)state;
    assert_false(chance_above(0, 0, 0.01, CHANCE_SURE));
    assert_false(chance_above(1, 1, 0.01, CHANCE_SURE)); /* one is never enough */
    assert_false(chance_above(1, 100, 0.01, CHANCE_SURE));
    assert_true(chance_above(1, 100, 0, CHANCE_SURE)); /* but what cannot happen */
    assert_true(chance_above(100, 100, 0.01, CHANCE_SURE));
    assert_int_equal(chance_most(0, 0.01, CHANCE_SURE), 1);
    assert_int_equal(chance_fewest(0, 0.01, CHANCE_FAIR), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_never_surer_than_the_truth),
        cmocka_unit_test(it_is_not_far_from_the_truth),
        cmocka_unit_test(nothing_is_above_in_nothing),
    };
    return cmocka_run_group_tests_name("rollout/chance", tests, NULL, NULL);
}
