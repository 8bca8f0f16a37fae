/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events of an order.
 *
 * An event's time (`at` of its envelope) is when it happened in the business.  The legacy row's updated_at is the time
 * of its last event unless the event says otherwise: updated_at in a payload is "no value" where both are the same.
 * That one optional field is what makes folding the events give the legacy row exactly, column by column.
 *
 * The average fill price is not stored: it is folded from the fills, by the legacy application's own formula.
 */
#ifndef TRADING_EVENTS_H
#define TRADING_EVENTS_H

#include "banyan/domain.h"
#include "rows.h"

/* Index in banyan_domain_trading.events. */
enum order_event {
    ORDER_CREATED,
    ORDER_MODIFIED,
    ORDER_PARTIALLY_FILLED,
    ORDER_FILLED,
    ORDER_CANCELED,
    ORDER_RECONCILED,
    ORDER_EVENT_COUNT,
};

struct order_created {
    int64_t order_id;
    int64_t trader_id;
    struct banyan_str symbol;
    struct banyan_str side;
    struct banyan_decimal quantity;
    struct banyan_decimal price;
    struct banyan_time updated_at; /* optional */
};

struct order_modified {
    struct banyan_str field; /* "price" or "quantity" */
    struct banyan_decimal old_value;
    struct banyan_decimal new_value;
    struct banyan_time updated_at; /* optional */
};

struct order_partially_filled {
    struct banyan_decimal quantity; /* of this fill */
    struct banyan_decimal price;
    struct banyan_decimal filled;    /* in all, after it */
    struct banyan_decimal remaining; /* of the order's quantity then */
    struct banyan_time updated_at;   /* optional */
};

struct order_filled {
    struct banyan_decimal quantity; /* of this fill */
    struct banyan_decimal price;
    struct banyan_decimal filled;  /* in all, after it */
    struct banyan_time updated_at; /* optional */
};

struct order_canceled {
    struct banyan_decimal remaining; /* that will not be filled any more */
    struct banyan_time updated_at;   /* optional */
};

/* The legacy row as it is, where no recorded change explains it. */
struct order_reconciled {
    struct order_row row;     /* of a removed order: the last that was known */
    struct banyan_str fields; /* columns that differed, comma-separated; empty for a removed or unknown order */
    bool removed;             /* legacy has no such row any more */
};

extern const struct banyan_event_type order_events[ORDER_EVENT_COUNT];

#endif
