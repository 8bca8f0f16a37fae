/* SPDX-License-Identifier: Apache-2.0 */
/* Rates, ETA and percentiles against values that can be checked by hand. */
#include "projection/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct progress progress;

static int clear(void **state)
{
    progress = (struct progress){.lag_count = 0};
    return 0;
}

static void rate_is_over_the_kept_samples(void **state)
{
    assert_true(progress_rate(&progress, 0, 0) == 0);
    progress_sample(&progress, 0, 0);
    assert_true(progress_rate(&progress, 500000, 1000) == 2000);
    progress_sample(&progress, 1000, 5); /* too early: not kept */
    assert_true(progress_rate(&progress, 500000, 1000) == 2000);
    for (int64_t i = 1; i <= 100; i++)
        progress_sample(&progress, i * PROGRESS_SAMPLE_US, (uint64_t)i * 100);
    /* The oldest kept one is 16 samples back: what was before does not count. */
    assert_true(progress_rate(&progress, 100 * PROGRESS_SAMPLE_US, 10000) == 400);
}

static void eta_is_never_when_nothing_moves(void **state)
{
    assert_int_equal(progress_eta_us(10, 0), 0);
    assert_int_equal(progress_eta_us(0, 1), INT64_MAX);
    assert_int_equal(progress_eta_us(1000, 500), 500000);
    assert_int_equal(progress_eta_us(1e-9, UINT64_MAX), INT64_MAX);
}

static void percentiles_are_of_the_newest(void **state)
{
    int64_t p50, p99, max;
    progress_lags(&progress, &p50, &p99, &max);
    assert_int_equal(p50 + p99 + max, 0);
    for (int i = 0; i < PROGRESS_LAGS_MAX; i++)
        progress_lag(&progress, 1000000); /* to be forgotten */
    for (int i = 1; i <= PROGRESS_LAGS_MAX; i++)
        progress_lag(&progress, i);
    progress_lags(&progress, &p50, &p99, &max);
    assert_int_equal(p50, PROGRESS_LAGS_MAX / 2);
    assert_int_equal(p99, PROGRESS_LAGS_MAX / 100 * 99);
    assert_int_equal(max, PROGRESS_LAGS_MAX);
    progress_lag(&progress, -5); /* a clock set back is no lag */
    progress_lags(&progress, &p50, &p99, &max);
    assert_int_equal(max, PROGRESS_LAGS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rate_is_over_the_kept_samples, clear),
        cmocka_unit_test_setup(eta_is_never_when_nothing_moves, clear),
        cmocka_unit_test_setup(percentiles_are_of_the_newest, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
