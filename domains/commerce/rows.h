/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root rows of the four aggregates, as the legacy tables orders, payments, shipments and stock have them, and the
 * rows of order_items.
 *
 * Each column once: kind, name, flags, scale.  Legacy row, state of the aggregate, mirror and the …Reconciled event are
 * made from it, so that folding the events can give the legacy row exactly.  All but the integer columns may be NULL
 * even where a sane application never leaves them so.
 */
#ifndef COMMERCE_ROWS_H
#define COMMERCE_ROWS_H

#include "banyan/domain.h"
#include "values.h"

#define ORDER_ROW_COLUMNS(X)                                                                                           \
    X(INT, order_id, 0, 0)                                                                                             \
    X(STRING, external_id, BANYAN_FIELD_OPTIONAL, 0)                                                                   \
    X(INT, customer_id, 0, 0)                                                                                          \
    X(STRING, customer, BANYAN_FIELD_OPTIONAL, 0)                                                                      \
    X(STRING, city, BANYAN_FIELD_OPTIONAL, 0)                                                                          \
    X(STRING, state, BANYAN_FIELD_OPTIONAL, 0)                                                                         \
    X(STRING, status, BANYAN_FIELD_OPTIONAL, 0)                                                                        \
    X(DECIMAL, items_total, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE)                                                     \
    X(DECIMAL, freight_total, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE)                                                   \
    X(TIME, placed_at, BANYAN_FIELD_OPTIONAL, 0)                                                                       \
    X(TIME, approved_at, BANYAN_FIELD_OPTIONAL, 0)                                                                     \
    X(TIME, shipped_at, BANYAN_FIELD_OPTIONAL, 0)                                                                      \
    X(TIME, delivered_at, BANYAN_FIELD_OPTIONAL, 0)                                                                    \
    X(TIME, canceled_at, BANYAN_FIELD_OPTIONAL, 0)                                                                     \
    X(TIME, promised_at, BANYAN_FIELD_OPTIONAL, 0)                                                                     \
    X(TIME, updated_at, BANYAN_FIELD_OPTIONAL, 0)

#define PAYMENT_ROW_COLUMNS(X)                                                                                         \
    X(INT, payment_id, 0, 0)                                                                                           \
    X(INT, order_id, 0, 0)                                                                                             \
    X(INT, sequence, 0, 0)                                                                                             \
    X(STRING, method, BANYAN_FIELD_OPTIONAL, 0)                                                                        \
    X(INT, installments, 0, 0)                                                                                         \
    X(STRING, status, BANYAN_FIELD_OPTIONAL, 0)                                                                        \
    X(DECIMAL, amount, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE)                                                          \
    X(DECIMAL, captured, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE)                                                        \
    X(DECIMAL, refunded, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE)                                                        \
    X(TIME, created_at, BANYAN_FIELD_OPTIONAL, 0)                                                                      \
    X(TIME, authorized_at, BANYAN_FIELD_OPTIONAL, 0)                                                                   \
    X(TIME, captured_at, BANYAN_FIELD_OPTIONAL, 0)                                                                     \
    X(TIME, updated_at, BANYAN_FIELD_OPTIONAL, 0)

#define SHIPMENT_ROW_COLUMNS(X)                                                                                        \
    X(INT, shipment_id, 0, 0)                                                                                          \
    X(INT, order_id, 0, 0)                                                                                             \
    X(INT, seller_id, 0, 0)                                                                                            \
    X(INT, warehouse_id, 0, 0)                                                                                         \
    X(STRING, status, BANYAN_FIELD_OPTIONAL, 0)                                                                        \
    X(STRING, carrier, BANYAN_FIELD_OPTIONAL, 0)                                                                       \
    X(STRING, tracking, BANYAN_FIELD_OPTIONAL, 0)                                                                      \
    X(TIME, created_at, BANYAN_FIELD_OPTIONAL, 0)                                                                      \
    X(TIME, packed_at, BANYAN_FIELD_OPTIONAL, 0)                                                                       \
    X(TIME, shipped_at, BANYAN_FIELD_OPTIONAL, 0)                                                                      \
    X(TIME, delivered_at, BANYAN_FIELD_OPTIONAL, 0)                                                                    \
    X(TIME, canceled_at, BANYAN_FIELD_OPTIONAL, 0)                                                                     \
    X(TIME, updated_at, BANYAN_FIELD_OPTIONAL, 0)

/* received = available + reserved + allocated + shipped. */
#define STOCK_ROW_COLUMNS(X)                                                                                           \
    X(INT, stock_id, 0, 0)                                                                                             \
    X(INT, product_id, 0, 0)                                                                                           \
    X(INT, seller_id, 0, 0)                                                                                            \
    X(INT, warehouse_id, 0, 0)                                                                                         \
    X(INT, available, 0, 0)                                                                                            \
    X(INT, reserved, 0, 0)                                                                                             \
    X(INT, allocated, 0, 0)                                                                                            \
    X(INT, shipped, 0, 0)                                                                                              \
    X(INT, received, 0, 0)                                                                                             \
    X(TIME, updated_at, BANYAN_FIELD_OPTIONAL, 0)

struct order_row {
    int64_t order_id;
    struct banyan_str external_id; /* how others call the order */
    int64_t customer_id;
    struct banyan_str customer; /* name */
    struct banyan_str city;
    struct banyan_str state;  /* region */
    struct banyan_str status; /* ORDER_STATUS_… of order.h; any other in history */
    struct banyan_decimal items_total;
    struct banyan_decimal freight_total;
    struct banyan_time placed_at;
    struct banyan_time approved_at;
    struct banyan_time shipped_at; /* the first shipment */
    struct banyan_time delivered_at;
    struct banyan_time canceled_at; /* or rejected */
    struct banyan_time promised_at; /* delivery */
    struct banyan_time updated_at;  /* time of the last event */
};

struct payment_row {
    int64_t payment_id;
    int64_t order_id;
    int64_t sequence; /* of the order's payments, from 1 */
    struct banyan_str method;
    int64_t installments;
    struct banyan_str status;     /* PAYMENT_STATUS_… of payment.h */
    struct banyan_decimal amount; /* requested, then authorized */
    struct banyan_decimal captured;
    struct banyan_decimal refunded;
    struct banyan_time created_at;
    struct banyan_time authorized_at;
    struct banyan_time captured_at; /* the last capture */
    struct banyan_time updated_at;
};

struct shipment_row {
    int64_t shipment_id; /* the fulfillment's id */
    int64_t order_id;
    int64_t seller_id;        /* 0: several or unknown */
    int64_t warehouse_id;     /* 0: none yet */
    struct banyan_str status; /* FULFILLMENT_STATUS_… of fulfillment.h */
    struct banyan_str carrier;
    struct banyan_str tracking;
    struct banyan_time created_at;
    struct banyan_time packed_at;
    struct banyan_time shipped_at;
    struct banyan_time delivered_at;
    struct banyan_time canceled_at;
    struct banyan_time updated_at;
};

struct stock_row {
    int64_t stock_id; /* one product of one seller in one warehouse */
    int64_t product_id;
    int64_t seller_id;
    int64_t warehouse_id;
    int64_t available; /* on hand and free */
    int64_t reserved;  /* on hand, promised to an order that is not confirmed */
    int64_t allocated; /* on hand, for an order that is confirmed */
    int64_t shipped;   /* gone */
    int64_t received;  /* in all */
    struct banyan_time updated_at;
};

/* A line of an order. */
struct item_row {
    int64_t item_id; /* the line's id */
    int64_t order_id;
    int64_t product_id;
    struct banyan_str product; /* its name */
    struct banyan_str category;
    int64_t seller_id;
    int64_t stock_id; /* 0: unknown */
    int64_t quantity;
    struct banyan_decimal unit_price;
    struct banyan_decimal freight;
};

extern const struct banyan_record commerce_order_row;
extern const struct banyan_record commerce_payment_row;
extern const struct banyan_record commerce_shipment_row;
extern const struct banyan_record commerce_stock_row;
extern const struct banyan_record commerce_item_row;

/* The legacy tables whose rows the mirrors must equal. */
enum commerce_legacy_table {
    LEGACY_ORDERS,
    LEGACY_ORDER_ITEMS,
    LEGACY_PAYMENTS,
    LEGACY_SHIPMENTS,
    LEGACY_STOCK,
    LEGACY_TABLE_COUNT,
};

extern const struct banyan_legacy_table commerce_legacy_tables[LEGACY_TABLE_COUNT];

#endif
