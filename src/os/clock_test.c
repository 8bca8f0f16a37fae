/* SPDX-License-Identifier: Apache-2.0 */
/* A clock for tests: stands still until moved.  Atomic, so that a test may move it under a running thread. */
#include "os/clock.h"

static struct banyan_time test_now(struct os_clock *clock)
{
    struct os_clock_test *test = (struct os_clock_test *)clock;
    return (struct banyan_time){__atomic_load_n(&test->now_us, __ATOMIC_SEQ_CST)};
}

static int64_t test_monotonic_us(struct os_clock *clock)
{
    return test_now(clock).us;
}

static void test_sleep_us(struct os_clock *clock, int64_t us)
{
    struct os_clock_test *test = (struct os_clock_test *)clock;
    if (us > 0)
        __atomic_fetch_add(&test->now_us, us, __ATOMIC_SEQ_CST);
}

void os_clock_test_init(struct os_clock_test *clock, struct banyan_time now)
{
    *clock = (struct os_clock_test){{test_now, test_monotonic_us, test_sleep_us}, now.us};
}

void os_clock_test_move(struct os_clock_test *clock, int64_t us)
{
    (void)__atomic_fetch_add(&clock->now_us, us, __ATOMIC_SEQ_CST);
}
