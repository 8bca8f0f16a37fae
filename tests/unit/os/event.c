/* SPDX-License-Identifier: Apache-2.0 */
/* Events: everybody wakes, nothing is missed, waits have a limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "os/clock.h"
#include "os/event.h"
#include "os/thread.h"

enum {
    WAITERS = 8,
    STEPS = 2000,
};

static struct os_event moved, seen_by_all;
static uint32_t step, arrived;

static void follow(void *argument)
{
    (void)argument;
    for (uint32_t wanted = 1; wanted <= STEPS; wanted++) {
        for (;;) {
            uint32_t seen = os_event_now(&moved);

            if (__atomic_load_n(&step, __ATOMIC_SEQ_CST) >= wanted)
                break;
            (void)os_event_wait(&moved, seen, INT64_MAX);
        }
        if (__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST) % WAITERS == 0)
            os_event_wake(&seen_by_all);
    }
}

/* Each step goes on only when all threads have seen the one before: a wake that is missed stops the test. */
static void nothing_is_missed(void **state)
{
    struct os_thread threads[WAITERS] = {{.started = false}};

    (void)state;
    for (int i = 0; i < WAITERS; i++)
        os_thread_start(&threads[i], "waiter", follow, NULL);
    for (uint32_t i = 1; i <= STEPS; i++) {
        __atomic_store_n(&step, i, __ATOMIC_SEQ_CST);
        os_event_wake(&moved);
        for (;;) {
            uint32_t seen = os_event_now(&seen_by_all);

            if (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) == i * WAITERS)
                break;
            assert_true(os_event_wait(&seen_by_all, seen, 60000000));
        }
    }
    for (int i = 0; i < WAITERS; i++)
        os_thread_join(&threads[i]);
}

static void waiting_has_a_limit(void **state)
{
    struct os_event event = {0};
    uint32_t seen = os_event_now(&event);
    int64_t start = os_clock_monotonic_us(os_clock_real());

    (void)state;
    while (os_event_wait(&event, seen, 3000))
        continue; /* without reason */
    assert_true(os_clock_monotonic_us(os_clock_real()) - start >= 3000);
    assert_false(os_event_wait(&event, seen, 0));
    os_event_wake(&event);
    assert_true(os_event_wait(&event, seen, INT64_MAX)); /* it came before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_missed),
        cmocka_unit_test(waiting_has_a_limit),
    };

    return cmocka_run_group_tests_name("os-event", tests, NULL, NULL);
}
