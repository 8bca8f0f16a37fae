/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See subscribe.h.
 *
 * A subscription is a reader, a wait, and one bit: was the end of the log told?  What it has given is known from the
 * reader alone, so there is nothing that could run apart.
 *
 *     state         next() finds an event   next() finds the end             next() sees a long way to go
 *     catching up   gives it                says CAUGHT_UP, goes live        –
 *     live          gives it                waits for the durable position   goes to catching up
 */
#include "store/subscribe.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "store/store_int.h"

enum {
    LOOKS_MAX = 65536, /* events passed over before the time is looked at: some 10 ms */
};

struct store_subscription {
    struct store *store;
    struct store_reader *reader; /* owned */
    bool live;
};

/* Where to begin. */
static enum banyan_status first_position(struct store *store, const struct store_subscribe *from,
                                         struct banyan_position *ret, struct banyan_error *err)
{
    struct banyan_position durable = store_durable(store), timed = {1};
    enum banyan_status status = BANYAN_OK;

    if (from->after.value > durable.value) {
        (void)banyan_error_set(err, BANYAN_INVALID, "position %" PRIu64 " is behind the end of the log, %" PRIu64,
                               from->after.value, durable.value);
        banyan_error_hint(err, "the position is of another store, or of one that was restored to a time before it");
        return BANYAN_INVALID;
    }
    if (from->since.us != BANYAN_TIME_NULL)
        status = store_position_at(store, from->since, &timed, err);
    if (status != BANYAN_OK)
        return status;
    ret->value = from->after.value + 1 > timed.value ? from->after.value + 1 : timed.value;
    return BANYAN_OK;
}

enum banyan_status store_subscription_open(struct store *store, const struct store_subscribe *from,
                                           struct store_subscription **ret, struct banyan_error *err)
{
    struct store_subscription *subscription;
    struct banyan_position first = {1};
    enum banyan_status status = first_position(store, from, &first, err);

    if (status != BANYAN_OK)
        return status;
    subscription = alloc_zeroed(1, sizeof(*subscription));
    subscription->store = store;
    subscription->reader = store_reader_open(store);
    store_reader_filter(subscription->reader, from->filter);
    store_reader_look(subscription->reader, LOOKS_MAX);
    status = store_reader_seek(subscription->reader, first, err);
    if (status != BANYAN_OK) {
        store_subscription_close(subscription);
        return status;
    }
    *ret = subscription;
    return BANYAN_OK;
}

void store_subscription_close(struct store_subscription *subscription)
{
    if (subscription == NULL)
        return;
    store_reader_close(subscription->reader);
    free(subscription);
}

struct banyan_position store_subscription_position(const struct store_subscription *subscription)
{
    return store_reader_passed(subscription->reader);
}

/* What is there without waiting; NOT_FOUND: nothing.  TIMEOUT: nothing so far, but not all was looked at. */
static enum banyan_status take(struct store_subscription *subscription, struct store_subscription_item *ret,
                               struct banyan_error *err)
{
    uint64_t passed = store_reader_passed(subscription->reader).value;
    enum banyan_status status;

    if (subscription->live && store_durable(subscription->store).value - passed > STORE_SUBSCRIPTION_BEHIND)
        subscription->live = false;
    status = store_reader_next(subscription->reader, &ret->event, err);
    if (status == BANYAN_NOT_FOUND && !subscription->live) {
        subscription->live = true;
        ret->kind = STORE_SUBSCRIPTION_CAUGHT_UP;
        ret->position = store_reader_passed(subscription->reader);
        return BANYAN_OK;
    }
    if (status == BANYAN_OK) {
        ret->kind = STORE_SUBSCRIPTION_EVENT;
        ret->position = ret->event.position;
    }
    return status;
}

enum banyan_status store_subscription_next(struct store_subscription *subscription, int64_t timeout_us,
                                           struct store_subscription_item *ret, struct banyan_error *err)
{
    struct store *store = subscription->store;
    int64_t deadline_us = INT64_MAX, left_us = timeout_us;
    enum banyan_status status = take(subscription, ret, err);

    if (status != BANYAN_NOT_FOUND && status != BANYAN_TIMEOUT)
        return status; /* the usual way does not ask for the time */
    if (timeout_us < INT64_MAX / 2)
        deadline_us = os_clock_monotonic_us(store->options.clock) + timeout_us;
    for (;;) {
        if (status == BANYAN_NOT_FOUND) {
            struct banyan_position next = {store_reader_passed(subscription->reader).value + 1};

            status = watch_wait(&store->watch, store->log, store->options.clock, next, left_us, err);
            if (status != BANYAN_OK)
                return status;
        } else if (left_us <= 0) {
            return BANYAN_TIMEOUT;
        }
        status = take(subscription, ret, err);
        if (status != BANYAN_NOT_FOUND && status != BANYAN_TIMEOUT)
            return status;
        if (deadline_us != INT64_MAX)
            left_us = deadline_us - os_clock_monotonic_us(store->options.clock);
    }
}
