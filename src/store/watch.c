/* SPDX-License-Identifier: Apache-2.0 */
/* See watch.h.  Whoever leaves while others wait and nobody leads wakes one of them, so that there is a leader. */
#include "store/watch.h"

#include "os/thread.h"

enum {
    PAUSE_US = 25, /* between two wake-ups, for each that waits: what a switch of threads costs, some times over */
    PAUSE_US_MAX = 2500,
    FULL_US = 100000, /* between two looks while the disk is full */
};

void watch_init(struct watch *watch)
{
    *watch = (struct watch){.led = false};
    (void)pthread_mutex_init(&watch->lock, NULL);
    os_cond_init(&watch->moved);
    os_cond_init(&watch->pause);
}

void watch_release(struct watch *watch)
{
    (void)pthread_mutex_destroy(&watch->lock);
    (void)pthread_cond_destroy(&watch->moved);
    (void)pthread_cond_destroy(&watch->pause);
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* With the lock: stay for *us* without it. */
static void rest(struct watch *watch, int64_t us)
{
    if (us > 0)
        (void)os_cond_wait(&watch->pause, &watch->lock, us);
}

/* With the lock: wait in the log, for all. */
static enum banyan_status lead(struct watch *watch, struct log *log, struct os_clock *clock,
                               struct banyan_position position, int64_t left_us)
{
    int64_t pause_us = watch->waiting < 2 ? 0 : smaller((int64_t)watch->waiting * PAUSE_US, PAUSE_US_MAX);
    int64_t started = os_clock_monotonic_us(clock);
    enum banyan_status status;

    watch->led = true;
    rest(watch, smaller(watch->woken_at + pause_us - started, left_us));
    if (left_us < INT64_MAX / 2) {
        left_us -= os_clock_monotonic_us(clock) - started;
        left_us = left_us < 0 ? 0 : left_us;
    }
    (void)pthread_mutex_unlock(&watch->lock);
    status = log_wait_durable(log, position, left_us, NULL);
    (void)pthread_mutex_lock(&watch->lock);
    if (status == BANYAN_NO_SPACE)
        rest(watch, smaller(FULL_US, left_us));
    watch->led = false;
    watch->woken_at = os_clock_monotonic_us(clock);
    if (status == BANYAN_OK || status == BANYAN_BROKEN)
        (void)pthread_cond_broadcast(&watch->moved);
    return status;
}

enum banyan_status watch_wait(struct watch *watch, struct log *log, struct os_clock *clock,
                              struct banyan_position position, int64_t timeout_us, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    int64_t deadline_us = INT64_MAX;

    if (log_durable(log).value >= position.value)
        return BANYAN_OK;
    if (timeout_us <= 0)
        return log_health(log, err) != BANYAN_OK ? BANYAN_BROKEN : BANYAN_TIMEOUT;
    if (timeout_us < INT64_MAX / 2)
        deadline_us = os_clock_monotonic_us(clock) + timeout_us;
    (void)pthread_mutex_lock(&watch->lock);
    watch->waiting++;
    while (status == BANYAN_OK && log_durable(log).value < position.value) {
        int64_t left_us = INT64_MAX;

        if (deadline_us != INT64_MAX)
            left_us = deadline_us - os_clock_monotonic_us(clock);
        if (log_health(log, NULL) != BANYAN_OK)
            status = BANYAN_BROKEN;
        else if (left_us <= 0)
            status = BANYAN_TIMEOUT;
        else if (!watch->led)
            (void)lead(watch, log, clock, position, left_us); /* the loop looks again whatever it was */
        else if (left_us == INT64_MAX)
            (void)pthread_cond_wait(&watch->moved, &watch->lock);
        else
            (void)os_cond_wait(&watch->moved, &watch->lock, left_us);
    }
    watch->waiting--;
    if (!watch->led && watch->waiting > 0)
        (void)pthread_cond_signal(&watch->moved);
    (void)pthread_mutex_unlock(&watch->lock);
    if (status == BANYAN_BROKEN)
        return log_health(log, err);
    return status;
}
