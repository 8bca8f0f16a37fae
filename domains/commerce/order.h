/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An order: what was bought, by whom, and how far it got.
 *
 *     (none) ─Place─▶ created ─Confirm─▶ approved ─Ship─▶ shipped ─Complete─▶ delivered
 *                        │  └─Reject─▶ rejected  │
 *                        └─────────Cancel────────┴─▶ canceled
 *
 * delivered, canceled and rejected take no command any more.  The status words are those of the legacy shop.
 */
#ifndef COMMERCE_ORDER_H
#define COMMERCE_ORDER_H

#include "banyan/domain.h"
#include "events.h"

#define ORDER_STATUS_CREATED "created"
#define ORDER_STATUS_APPROVED "approved"
#define ORDER_STATUS_SHIPPED "shipped"
#define ORDER_STATUS_DELIVERED "delivered"
#define ORDER_STATUS_CANCELED "canceled"
#define ORDER_STATUS_REJECTED "rejected"
/* Of history only, by OrderStatusNoted. */
#define ORDER_STATUS_PROCESSING "processing"
#define ORDER_STATUS_INVOICED "invoiced"
#define ORDER_STATUS_UNAVAILABLE "unavailable"

struct order {
    struct order_row row;
    struct banyan_str address;
    struct banyan_str postal_code;
    struct banyan_str country;
    struct banyan_list lines; /* of order_line */
    bool exists;              /* placed, and not removed since */
};

/* Index in the commands of commerce_aggregates[AGGREGATE_ORDER]. */
enum order_command {
    ORDER_PLACE,
    ORDER_MODIFY,
    ORDER_CONFIRM,
    ORDER_SHIP,
    ORDER_COMPLETE,
    ORDER_CANCEL,
    ORDER_REJECT,
    ORDER_COMMAND_COUNT,
};

/* All texts are optional.  line_id 0 in a line: the aggregate gives one. */
struct place_order {
    int64_t customer_id;
    struct banyan_str customer;
    struct banyan_str city;
    struct banyan_str state;
    struct banyan_str address;
    struct banyan_str postal_code;
    struct banyan_str country;
    struct banyan_str external_id;
    struct banyan_str authorization; /* the payment is authorized already, as its provider calls it */
    struct banyan_time promised_at;  /* optional */
    struct banyan_list lines;        /* of order_line */
};

/* What changes; "no value" and 0 stay. */
struct modify_order {
    int64_t line_id;               /* whose quantity changes; 0: none */
    int64_t quantity;              /* of that line; 0 removes it */
    struct banyan_str customer;    /* optional */
    struct banyan_str city;        /* optional */
    struct banyan_str state;       /* optional */
    struct banyan_str address;     /* optional */
    struct banyan_str postal_code; /* optional */
    struct banyan_str country;     /* optional */
};

struct confirm_order {
    struct banyan_decimal paid; /* optional */
};

/* ShipOrder and CompleteOrder have no fields. */

/* CancelOrder, RejectOrder. */
struct order_end {
    struct banyan_str reason; /* optional */
};

extern const struct banyan_record commerce_order_state;
extern const struct banyan_command_type commerce_order_commands[ORDER_COMMAND_COUNT];

/* See banyan_aggregate. */
void commerce_order_evolve(void *state, unsigned type, const void *payload, struct banyan_time at);
bool commerce_order_decide(const void *state, bool exists, const struct banyan_command *command,
                           struct banyan_emitter *out, struct banyan_refusal *ret);

/* quantity * unit price; false when it does not fit. */
bool order_line_price(const struct order_line *line, struct banyan_decimal *ret);
/* Sums over the lines; false when they do not fit. */
bool order_totals(const struct banyan_list *lines, struct banyan_decimal *ret_items,
                  struct banyan_decimal *ret_freight);

#endif
