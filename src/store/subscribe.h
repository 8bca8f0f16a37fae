/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Catch-up subscriptions: all events from a position or a time on, filtered, for ever.
 *
 *     open ──▶ catching up ──CAUGHT_UP──▶ live ──(falls behind)──▶ catching up …
 *
 * Invariants
 *   1. Nothing is skipped and nothing is given twice: the next event is the first one that passes the filter behind
 *      the position given last.  Who stores that position and opens again with it goes on without a gap.
 *   2. An event is given only when it is durable.
 *   3. A subscription holds no queue of its own: a slow subscriber is behind, and costs nobody memory.
 *
 * Threads: one thread a subscription; different ones at once.
 */
#ifndef STORE_SUBSCRIBE_H
#define STORE_SUBSCRIBE_H

#include "store/store.h"

struct store_subscription;

enum {
    STORE_SUBSCRIPTION_BEHIND = 4096, /* so many positions away from the end is behind: CAUGHT_UP comes once more */
};

/* With both *after* and *since* it begins at the later of the two. */
struct store_subscribe {
    struct banyan_position after; /* begin behind this one; 0: at the first */
    struct banyan_time since; /* with BANYAN_TIME_NULL not used; else begin with the first recorded at or after it */
    const struct store_filter *filter; /* copied; NULL: everything */
};

enum store_subscription_kind {
    STORE_SUBSCRIPTION_EVENT = 1,
    STORE_SUBSCRIPTION_CAUGHT_UP, /* all that is durable up to *position* was given or passed over; once each time */
};

struct store_subscription_item {
    enum store_subscription_kind kind;
    struct store_read_event event;   /* of EVENT; borrowed until the next call */
    struct banyan_position position; /* where to go on: store it as *after* */
};

/* INVALID when *after* is behind the end of the log. */
BANYAN_MUST_CHECK enum banyan_status store_subscription_open(struct store *store, const struct store_subscribe *from,
                                                             struct store_subscription **ret, struct banyan_error *err);
void store_subscription_close(struct store_subscription *subscription); /* NULL allowed */
/* The next item; waits at most *timeout_us* (0: not at all; INT64_MAX: no limit).  TIMEOUT when there is none (no error
 * text); CORRUPT, IO, BROKEN. */
BANYAN_MUST_CHECK enum banyan_status store_subscription_next(struct store_subscription *subscription,
                                                             int64_t timeout_us, struct store_subscription_item *ret,
                                                             struct banyan_error *err);
/* All up to here was given or passed over: a good *after* at any time, also where a filter lets nothing pass. */
struct banyan_position store_subscription_position(const struct store_subscription *subscription);

#endif
