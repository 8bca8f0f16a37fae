/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks: the real one moves and never goes back; the test clock moves only when told. */
#include "os/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static void the_real_clock_runs(void **state)
{
    (void)state;
    struct os_clock *clock = os_clock_real();
    int64_t seconds = (int64_t)time(NULL);
    assert_in_range(os_clock_now(clock).us / 1000000, seconds - 1, seconds + 60);
    int64_t before = os_clock_monotonic_us(clock);
    for (int i = 0; i < 1000; i++) {
        int64_t now = os_clock_monotonic_us(clock);
        assert_true(now >= before);
        before = now;
    }
    clock->sleep_us(clock, 2000);
    assert_true(os_clock_monotonic_us(clock) - before >= 2000);
    clock->sleep_us(clock, -5);
}

static void the_test_clock_stands_still(void **state)
{
    (void)state;
    struct os_clock_test test;
    os_clock_test_init(&test, (struct banyan_time){1000});
    struct os_clock *clock = &test.base;
    assert_int_equal(os_clock_now(clock).us, 1000);
    assert_int_equal(os_clock_monotonic_us(clock), os_clock_monotonic_us(clock));
    clock->sleep_us(clock, 500);
    assert_int_equal(os_clock_now(clock).us, 1500);
    assert_int_equal(os_clock_monotonic_us(clock), 1500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_real_clock_runs),
        cmocka_unit_test(the_test_clock_stands_still),
    };
    return cmocka_run_group_tests_name("os-clock", tests, NULL, NULL);
}
