/* SPDX-License-Identifier: Apache-2.0 */
/* A deadline that moves with every request: the event is armed again only where it would fire too late. */
#include "gateway/gateway_int.h"

static void on_time(evutil_socket_t fd, short what, void *context)
{
    struct timer *timer = context;
    int64_t now = gateway_now(timer->gateway), deadline = timer->deadline_us;
    (void)fd, (void)what;
    timer->armed_us = INT64_MAX;
    if (deadline == INT64_MAX)
        return;
    if (now < deadline) {
        timer_set(timer, deadline - now);
        return;
    }
    timer->deadline_us = INT64_MAX;
    timer->fired(timer->context);
}

void timer_init(struct timer *timer, struct loop *loop, void (*fired)(void *context), void *context)
{
    *timer = (struct timer){.gateway = loop->gateway,
                            .event = evtimer_new(loop->base, on_time, timer),
                            .deadline_us = INT64_MAX,
                            .armed_us = INT64_MAX,
                            .fired = fired,
                            .context = context};
}

void timer_set(struct timer *timer, int64_t from_now_us)
{
    if (from_now_us == INT64_MAX) {
        timer->deadline_us = INT64_MAX;
        return;
    }
    struct timeval wait = {from_now_us / 1000000, from_now_us % 1000000};
    timer->deadline_us = gateway_now(timer->gateway) + from_now_us;
    if (timer->deadline_us >= timer->armed_us)
        return; /* it looks again when it fires */
    timer->armed_us = timer->deadline_us;
    (void)evtimer_add(timer->event, &wait); /* fails without memory only: it waits for longer */
}

void timer_release(struct timer *timer)
{
    if (timer->event != NULL)
        event_free(timer->event);
    timer->event = NULL;
}
