/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event that many threads wait for without a lock.
 *
 * A condition variable sends everybody whom it wakes to its mutex: after a wake of sixty threads each of them runs,
 * finds the mutex taken and sleeps again.  Here a woken thread looks at what it waits for (an atomic) and goes.
 *
 *     waiter: seen = os_event_now(e); if (!condition) os_event_wait(e, seen, …)     waker: make it true;
 * os_event_wake(e)
 *
 * What happens between now() and wait() ends the wait, so nothing is missed.  Waits may end without reason.
 */
#ifndef OS_EVENT_H
#define OS_EVENT_H

#include <stdbool.h>
#include <stdint.h>

/* All zero is ready for use.  Atomic. */
struct os_event {
    uint32_t count;
    uint32_t waiters;
};

uint32_t os_event_now(const struct os_event *event);
/* Wait for a wake since *seen* was asked for; INT64_MAX: no limit.  False on time-out. */
bool os_event_wait(struct os_event *event, uint32_t seen, int64_t timeout_us);
/* A system call only where somebody waits. */
void os_event_wake(struct os_event *event);

#endif
