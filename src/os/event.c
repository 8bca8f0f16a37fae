/* SPDX-License-Identifier: Apache-2.0 */
/* Events on a futex. */
#include "os/event.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

uint32_t os_event_now(const struct os_event *event)
{
    return __atomic_load_n(&event->count, __ATOMIC_SEQ_CST);
}

bool os_event_wait(struct os_event *event, uint32_t seen, int64_t timeout_us)
{
    struct timespec limit = {.tv_sec = timeout_us / 1000000, .tv_nsec = timeout_us % 1000000 * 1000};
    bool limited = timeout_us != INT64_MAX, in_time = true;

    if (limited && timeout_us <= 0)
        return false;
    (void)__atomic_add_fetch(&event->waiters, 1, __ATOMIC_SEQ_CST);
    if (os_event_now(event) == seen)
        in_time = syscall(SYS_futex, &event->count, FUTEX_WAIT_PRIVATE, seen, limited ? &limit : NULL, NULL, 0) == 0 ||
                  errno != ETIMEDOUT;
    (void)__atomic_sub_fetch(&event->waiters, 1, __ATOMIC_SEQ_CST);
    return in_time;
}

void os_event_wake(struct os_event *event)
{
    (void)__atomic_add_fetch(&event->count, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&event->waiters, __ATOMIC_SEQ_CST) > 0)
        (void)syscall(SYS_futex, &event->count, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); /* cannot fail */
}
