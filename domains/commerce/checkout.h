/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkout: the process that ties order, stock, payments and fulfillments together.
 *
 *     OrderPlaced ─ reserve every line ─▶ reserved ─ paid ─▶ confirmed ─ all delivered or canceled ─▶ completed
 *                          │ refused          │ not paid in time,    │ canceled, all fulfillments canceled
 *                          ▼                  ▼ canceled             ▼
 *                       compensated ◀─────────┴──────────────────────┘
 *
 *   reserved     stock is reserved for every line; a payment is asked for, until the deadline
 *   confirmed    the money is captured, stock is allocated, a fulfillment for each warehouse is assigned
 *   completed    the end: everything was delivered, or canceled and refunded
 *   compensated  the end: no stock is held, no money is held or kept, the order is rejected or canceled
 *
 * Only orders with `checkout` in OrderPlaced are taken up: those of history are nobody's business any more.  A payment
 * that comes too late is voided.  A fulfillment that left before the cancellation was seen counts as shipped, its money
 * is given back.
 */
#ifndef COMMERCE_CHECKOUT_H
#define COMMERCE_CHECKOUT_H

#include "banyan/domain.h"
#include "events.h"

#define CHECKOUT_STEP_RESERVED "reserved"
#define CHECKOUT_STEP_CONFIRMED "confirmed"
#define CHECKOUT_STEP_COMPLETED "completed"
#define CHECKOUT_STEP_COMPENSATED "compensated"

#define CHECKOUT_HELD_RESERVED "reserved"
#define CHECKOUT_HELD_ALLOCATED "allocated"
#define CHECKOUT_HELD_SHIPPED "shipped"
#define CHECKOUT_HELD_NOTHING ""

enum {
    CHECKOUT_PAYMENT_MINUTES = 15, /* from the reservation to the authorization */
    CHECKOUT_LINES_MAX = 500,
    CHECKOUT_PAYMENTS_MAX = 32, /* of one order; more are voided */
};

extern const struct banyan_process commerce_checkout_process;

/* The payment that the process asks for: of a number space of its own, so that none of history has the same. */
int64_t checkout_payment_id(int64_t order_id);
/* The fulfillments that it creates, *number* from 1. */
int64_t checkout_fulfillment_id(int64_t order_id, int64_t number);

#endif
