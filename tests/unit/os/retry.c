/* SPDX-License-Identifier: Apache-2.0 */
/* Retrying: pauses grow to their cap, the total is kept, a stop ends it at once. */
#include "os/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/clock.h"

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static void pauses_grow_up_to_the_cap(void **state)
{
    (void)state;
    struct os_retry retry = {.first_us = 1000, .pause_us_max = 4000};
    static const int64_t least[] = {750, 1500, 3000, 3000, 3000};
    for (int i = 0; i < 5; i++) {
        int64_t before = now_us();
        assert_true(os_retry_pause(&retry, NULL));
        assert_true(now_us() - before >= least[i]);
    }
    assert_int_equal(retry.attempts, 5);
    os_retry_reset(&retry);
    assert_int_equal(retry.attempts, 0);
}

static void the_total_is_kept(void **state)
{
    (void)state;
    struct os_retry retry = {.first_us = 500, .pause_us_max = 2000, .total_us_max = 8000};
    int64_t before = now_us();
    int attempts = 0;
    while (os_retry_pause(&retry, NULL))
        assert_in_range(++attempts, 1, 12);
    assert_true(attempts >= 1);
    assert_true(now_us() - before >= 8000);
    assert_false(os_retry_pause(&retry, NULL)); /* it stays used up until reset */
    os_retry_reset(&retry);
    assert_true(os_retry_pause(&retry, NULL));
}

static void a_stop_ends_it_at_once(void **state)
{
    (void)state;
    struct os_stop stop;
    assert_int_equal(os_stop_open(&stop, NULL), BANYAN_OK);
    os_stop_request(&stop);
    struct os_retry retry = {.first_us = INT64_C(3600) * 1000000, .pause_us_max = INT64_C(3600) * 1000000};
    assert_false(os_retry_pause(&retry, &stop));
    os_stop_close(&stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses_grow_up_to_the_cap),
        cmocka_unit_test(the_total_is_kept),
        cmocka_unit_test(a_stop_ends_it_at_once),
    };
    return cmocka_run_group_tests_name("os-retry", tests, NULL, NULL);
}
