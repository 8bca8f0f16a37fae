/* SPDX-License-Identifier: Apache-2.0 */
/* Time: the wall clock and a monotone one.  clock_real.c asks the system; clock_test.c is moved by tests. */
#ifndef OS_CLOCK_H
#define OS_CLOCK_H

#include <stdint.h>

#include "banyan/types.h"

struct os_clock {
    struct banyan_time (*now)(struct os_clock *clock);    /* wall clock */
    int64_t (*monotonic_us)(struct os_clock *clock);      /* never goes back; its zero means nothing */
    void (*sleep_us)(struct os_clock *clock, int64_t us); /* the only sleep of the tree: see os/retry.h */
};

/* The system's clock; a constant. */
struct os_clock *os_clock_real(void);

/* A clock that stands still until moved; sleeping moves it. */
struct os_clock_test {
    struct os_clock base;
    int64_t now_us;
};
void os_clock_test_init(struct os_clock_test *clock, struct banyan_time now);
/* Forwards or backwards, under running threads. */
void os_clock_test_move(struct os_clock_test *clock, int64_t us);

static inline struct banyan_time os_clock_now(struct os_clock *clock)
{
    return clock->now(clock);
}
static inline int64_t os_clock_monotonic_us(struct os_clock *clock)
{
    return clock->monotonic_us(clock);
}

#endif
