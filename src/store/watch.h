/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for the durable position to move, for many readers at once.
 *
 * One of them leads: it alone waits in the log, and wakes the others when there is something new.  The more there are,
 * the longer the pause between two wake-ups, so that a hundred readers at the tail do not take the processors from the
 * appender that they follow; a reader alone is woken at once.
 *
 * Threads: any.  Lock order: watch.lock is not held over a call of the log that waits.
 */
#ifndef STORE_WATCH_H
#define STORE_WATCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "log/log.h"
#include "os/clock.h"

struct watch {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t moved; /* the durable position did, or somebody has to lead */
    pthread_cond_t pause; /* never signalled: a pause that gives up the lock */
    bool led;
    unsigned waiting;
    int64_t woken_at; /* monotone µs; when all were woken last */
};

void watch_init(struct watch *watch);
void watch_release(struct watch *watch);
/* Wait until *position* is durable.  TIMEOUT without a text; BROKEN.  While the disk is full nothing moves: it waits.
 */
BANYAN_MUST_CHECK enum banyan_status watch_wait(struct watch *watch, struct log *log, struct os_clock *clock,
                                                struct banyan_position position, int64_t timeout_us,
                                                struct banyan_error *err);

#endif
