/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events of commerce.
 *
 * An event's time (`at` of its envelope) is when it happened in the business; the folds take approved_at, shipped_at
 * and the like from it.  History is told in the order in which it is known, times may go backwards: an order that was
 * shipped before it was approved, or even placed, has such events in such an order, and every fold bears it.
 *
 * Events of a payment or a fulfillment name their order, so that read models and processes find it.  Required texts may
 * be empty, not "no value".  Lists of lines are always whole: what the aggregate has after the event.
 */
#ifndef COMMERCE_EVENTS_H
#define COMMERCE_EVENTS_H

#include "banyan/domain.h"
#include "rows.h"

/* Index in banyan_domain_commerce.events. */
enum commerce_event {
    ORDER_PLACED,
    ORDER_LINES_CHANGED,
    ORDER_ADDRESS_CHANGED,
    ORDER_CONFIRMED,
    ORDER_SHIPPED,
    ORDER_COMPLETED,
    ORDER_CANCELED,
    ORDER_REJECTED,
    ORDER_STATUS_NOTED,
    ORDER_ANOMALY_NOTED,
    ORDER_RECONCILED,
    PAYMENT_REQUESTED,
    PAYMENT_AUTHORIZED,
    PAYMENT_DECLINED,
    PAYMENT_CAPTURED,
    PAYMENT_REFUNDED,
    PAYMENT_VOIDED,
    PAYMENT_RECONCILED,
    FULFILLMENT_CREATED,
    FULFILLMENT_ASSIGNED,
    FULFILLMENT_PACKED,
    FULFILLMENT_SHIPPED,
    FULFILLMENT_DELIVERED,
    FULFILLMENT_CANCELED,
    FULFILLMENT_RECONCILED,
    JOB_LEASED,
    JOB_ACKNOWLEDGED,
    JOB_RELEASED,
    STOCK_RECEIVED,
    STOCK_RESERVED,
    STOCK_ALLOCATED,
    STOCK_RELEASED,
    STOCK_SHIPPED,
    STOCK_RECONCILED,
    CHECKOUT_RESERVED,
    CHECKOUT_CHANGED,
    CHECKOUT_CONFIRMED,
    CHECKOUT_COMPLETED,
    CHECKOUT_COMPENSATED,
    COMMERCE_EVENT_COUNT,
};

/* ---- order-<order_id> ---- */

/* A line of an order; items of the lists below. */
struct order_line {
    int64_t line_id; /* unique among the lines of all orders */
    int64_t product_id;
    struct banyan_str product; /* its name */
    struct banyan_str category;
    int64_t seller_id;
    int64_t stock_id; /* where it is taken from; 0: unknown */
    int64_t quantity;
    struct banyan_decimal unit_price;
    struct banyan_decimal freight; /* of the line, not of a piece */
};

struct order_placed {
    int64_t order_id;
    int64_t customer_id;
    struct banyan_str customer; /* name */
    struct banyan_str city;
    struct banyan_str state;         /* optional: region */
    struct banyan_str address;       /* optional: street and number */
    struct banyan_str postal_code;   /* optional */
    struct banyan_str country;       /* optional */
    struct banyan_str external_id;   /* optional */
    struct banyan_str authorization; /* optional: a payment that was authorized before, as its provider calls it */
    struct banyan_time placed_at;
    struct banyan_time promised_at; /* optional */
    bool checkout;                  /* the process takes it from here; false: history, nobody is to react */
    struct banyan_list lines;       /* of order_line */
    struct banyan_decimal items_total;
    struct banyan_decimal freight_total;
};

struct order_lines_changed {
    int64_t order_id;
    struct banyan_list lines;   /* of order_line: all that there are now */
    struct banyan_list removed; /* of order_line: those that are gone, as they were */
    struct banyan_decimal items_total;
    struct banyan_decimal freight_total;
};

struct order_address_changed {
    int64_t order_id;
    struct banyan_str customer;
    struct banyan_str city;
    struct banyan_str state; /* optional, as the others below */
    struct banyan_str address;
    struct banyan_str postal_code;
    struct banyan_str country;
};

/* Approved: paid for, stock is held. */
struct order_confirmed {
    int64_t order_id;
    struct banyan_decimal paid; /* optional */
};

/* The first of its shipments left. */
struct order_shipped {
    int64_t order_id;
};

/* Everything was delivered. */
struct order_completed {
    int64_t order_id;
};

struct order_canceled {
    int64_t order_id;
    struct banyan_str reason;
};

/* It never came to be: no stock, no payment. */
struct order_rejected {
    int64_t order_id;
    struct banyan_str reason;
};

/* A status of the legacy application that no event of ours stands for: processing, invoiced, unavailable. */
struct order_status_noted {
    int64_t order_id;
    struct banyan_str status;
};

/* What an order_anomaly_noted names. */
#define ORDER_ANOMALY_SHIPPED_BEFORE_APPROVAL "shipped-before-approval"
#define ORDER_ANOMALY_SHIPPED_BEFORE_PLACEMENT "shipped-before-placement"
#define ORDER_ANOMALY_SHIPPED_LATE "shipped-late" /* after the day that was asked for */
#define ORDER_ANOMALY_NEVER_SHIPPED "never-shipped"
#define ORDER_ANOMALY_CANCELED_BUT_PAID "canceled-but-paid"
#define ORDER_ANOMALY_UNAVAILABLE_BUT_PAID "unavailable-but-paid"
#define ORDER_ANOMALY_SEVERAL_PAYMENTS "several-payments"
#define ORDER_ANOMALY_NO_PAYMENT "no-payment"
#define ORDER_ANOMALY_NO_LINES "no-lines"
#define ORDER_ANOMALY_PAID_DIFFERS "paid-differs-from-total"
#define ORDER_ANOMALY_SEVERAL_SELLERS "several-sellers"

/* The legacy rows of an order contradict each other, or are not what one would expect.  Changes nothing. */
struct order_anomaly_noted {
    int64_t order_id;
    struct banyan_str kind; /* ORDER_ANOMALY_… */
};

/* The legacy row as it is, where no recorded change explains it. */
struct order_reconciled {
    struct order_row row;     /* of a removed order: the last that was known */
    struct banyan_list lines; /* of order_line: as the state has them */
    struct banyan_str fields; /* columns that differed, comma-separated; empty for a removed or unknown order */
    bool removed;             /* legacy has no such row any more */
};

/* ---- payment-<payment_id> ---- */

/* Somebody is asked for money. */
struct payment_requested {
    int64_t payment_id;
    int64_t order_id;
    int64_t sequence;
    struct banyan_str method;
    int64_t installments;
    struct banyan_decimal amount;
};

/* The money is held for us. */
struct payment_authorized {
    int64_t payment_id;
    int64_t order_id;
    int64_t sequence;
    struct banyan_str method;
    int64_t installments;
    struct banyan_decimal amount;
    struct banyan_str reference; /* optional: as the provider calls it */
};

struct payment_declined {
    int64_t payment_id;
    int64_t order_id;
    struct banyan_str reason;
};

struct payment_captured {
    int64_t payment_id;
    int64_t order_id;
    struct banyan_decimal amount;   /* this time */
    struct banyan_decimal captured; /* in all, after it */
};

struct payment_refunded {
    int64_t payment_id;
    int64_t order_id;
    struct banyan_decimal amount;   /* this time */
    struct banyan_decimal refunded; /* in all, after it */
    struct banyan_str reason;
};

/* What is authorized and not captured is given up. */
struct payment_voided {
    int64_t payment_id;
    int64_t order_id;
    struct banyan_decimal amount; /* that is given up */
    struct banyan_str reason;
};

/* The changes are what read models of the order add up; payment_reconcile() of payment.h fills all but *fields* in. */
struct payment_reconciled {
    struct payment_row row;
    struct banyan_str fields;
    bool removed;
    int64_t count_change; /* of authorized payments: 1, 0, -1 */
    struct banyan_decimal authorized_change;
    struct banyan_decimal captured_change;
    struct banyan_decimal refunded_change;
};

/* ---- fulfillment-<fulfillment_id> ---- */

/* Part of a line that is sent with a fulfillment; items of its list. */
struct fulfillment_line {
    int64_t line_id;
    int64_t product_id;
    int64_t stock_id;
    int64_t quantity;
};

struct fulfillment_created {
    int64_t fulfillment_id;
    int64_t order_id;
    int64_t seller_id;        /* 0: several or unknown */
    struct banyan_list lines; /* of fulfillment_line */
};

/* The warehouse has work. */
struct fulfillment_assigned {
    int64_t fulfillment_id;
    int64_t order_id;
    int64_t warehouse_id;
};

struct fulfillment_packed {
    int64_t fulfillment_id;
    int64_t order_id;
    int64_t packages;
};

struct fulfillment_shipped {
    int64_t fulfillment_id;
    int64_t order_id;
    struct banyan_str carrier;  /* optional */
    struct banyan_str tracking; /* optional */
};

struct fulfillment_delivered {
    int64_t fulfillment_id;
    int64_t order_id;
};

struct fulfillment_canceled {
    int64_t fulfillment_id;
    int64_t order_id;
    struct banyan_str reason;
};

struct fulfillment_reconciled {
    struct shipment_row row;
    struct banyan_str fields;
    bool removed;
    struct banyan_str status_before; /* empty: there was none */
};

/* A worker has the job of preparing the fulfillment until a time. */
struct job_leased {
    int64_t fulfillment_id;
    int64_t order_id;
    struct banyan_str worker;
    struct banyan_time until;
    int64_t attempt; /* from 1; a lease that is only extended stays at its attempt */
};

struct job_acknowledged {
    int64_t fulfillment_id;
    int64_t order_id;
    struct banyan_str worker;
};

/* The worker gives it back. */
struct job_released {
    int64_t fulfillment_id;
    int64_t order_id;
    struct banyan_str worker;
    struct banyan_str reason;
    struct banyan_time retry_at; /* not leased again before */
};

/* ---- stock-<stock_id> ---- */

struct stock_received {
    int64_t stock_id;
    int64_t product_id;
    int64_t seller_id;
    int64_t warehouse_id;
    int64_t quantity;
    struct banyan_str reference; /* optional: delivery note */
};

/* available to reserved */
struct stock_reserved {
    int64_t stock_id;
    int64_t order_id;
    int64_t line_id;
    int64_t quantity;
};

/* reserved to allocated */
struct stock_allocated {
    int64_t stock_id;
    int64_t order_id;
    int64_t line_id;
    int64_t quantity;
};

/* reserved or allocated to available */
struct stock_released {
    int64_t stock_id;
    int64_t order_id;
    int64_t line_id;
    int64_t quantity;
    bool allocated; /* it was allocated already */
};

/* allocated to shipped */
struct stock_shipped {
    int64_t stock_id;
    int64_t order_id;
    int64_t line_id;
    int64_t quantity;
};

struct stock_reconciled {
    struct stock_row row;
    struct banyan_str fields;
    bool removed;
};

/* ---- checkout-<order_id> ---- */

/* What the process holds for a line; items of its list. */
struct checkout_line {
    int64_t line_id;
    int64_t product_id;
    int64_t seller_id;
    int64_t stock_id;
    int64_t quantity;
    struct banyan_decimal price; /* of the line, freight included */
    struct banyan_str held;      /* CHECKOUT_HELD_… of checkout.h */
    int64_t fulfillment_id;      /* 0: none yet */
};

struct checkout_payment {
    int64_t payment_id;
    struct banyan_decimal authorized;
};

struct checkout_fulfillment {
    int64_t fulfillment_id;
    struct banyan_str status; /* FULFILLMENT_STATUS_… of fulfillment.h */
};

/* The payload of all checkout events, and the state of the process: all that it knows after the event. */
struct checkout {
    int64_t order_id;
    struct banyan_str step;   /* CHECKOUT_STEP_… of checkout.h */
    struct banyan_str reason; /* why it was compensated; else empty */
    struct banyan_decimal total;
    int64_t payment_id;              /* that it asked for */
    struct banyan_time deadline;     /* optional: of the payment */
    struct banyan_list lines;        /* of checkout_line */
    struct banyan_list payments;     /* of checkout_payment */
    struct banyan_list fulfillments; /* of checkout_fulfillment */
};

/* The order that an event of an order, a payment, a fulfillment or a checkout concerns; false: none. */
bool commerce_order_of(const struct banyan_seen *event, int64_t *ret_order_id);

extern const struct banyan_record commerce_order_line;
extern const struct banyan_record commerce_fulfillment_line;
extern const struct banyan_record commerce_checkout;
extern const struct banyan_event_type commerce_events[COMMERCE_EVENT_COUNT];

#endif
