/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mappings of the shop's tables (examples/legacy-shop/schema.sql), one an aggregate.
 *
 *     order        orders (root), order_items, order_status_history, payments
 *     payment      payments (root), payment_events
 *     fulfillment  shipments (root), order_items
 *     stock        stock (root), stock_movements
 *
 * The roots are read as rows.h has them.  Children are read as below; all but the integer columns may be NULL.
 */
#ifndef COMMERCE_MAPPING_SHOP_H
#define COMMERCE_MAPPING_SHOP_H

#include "banyan/domain.h"
#include "events.h"

struct shop_item {
    int64_t item_id;
    int64_t order_id;
    int64_t product_id;
    struct banyan_str product;
    struct banyan_str category;
    int64_t seller_id;
    int64_t stock_id;
    int64_t shipment_id;
    int64_t quantity;
    struct banyan_decimal unit_price;
    struct banyan_decimal freight;
};

/* A row of order_status_history. */
struct shop_status {
    int64_t id;
    int64_t order_id;
    struct banyan_str status;
    struct banyan_time changed_at;
};

/* What an order looks at in its payments. */
struct shop_paid {
    int64_t payment_id;
    int64_t order_id;
    struct banyan_str status;
    struct banyan_decimal amount;
    struct banyan_decimal refunded;
};

struct shop_payment_event {
    int64_t payment_event_id;
    int64_t payment_id;
    struct banyan_str kind; /* requested, authorized, captured, voided, refunded */
    struct banyan_decimal amount;
    struct banyan_time occurred_at;
};

struct shop_movement {
    int64_t movement_id;
    int64_t stock_id;
    int64_t order_id;
    struct banyan_str kind; /* receive, reserve, release, allocate, return, ship */
    int64_t quantity;
    struct banyan_time occurred_at;
};

extern const struct banyan_record shop_item_record;

enum {
    SHOP_MAPPING_COUNT = 4,
    SHOP_ORDER_TABLE_COUNT = 4,
    SHOP_PAYMENT_TABLE_COUNT = 2,
    SHOP_FULFILLMENT_TABLE_COUNT = 2,
    SHOP_STOCK_TABLE_COUNT = 2,
};

/* Indexes in the tables of the mappings; 0 is the root. */
enum {
    SHOP_ORDER_ITEMS = 1,
    SHOP_ORDER_STATUSES,
    SHOP_ORDER_PAYMENTS,
    SHOP_PAYMENT_EVENTS = 1,
    SHOP_FULFILLMENT_ITEMS = 1,
    SHOP_STOCK_MOVEMENTS = 1,
};

/* ---- the way back ---- */

/* A status as the shop's CHECK constraints allow it; mirror_shop.c says which are not its own. */
struct banyan_str shop_order_status(struct banyan_str status);

/* See banyan_legacy_mapping. */
void shop_order_mirror(const struct banyan_seen *event, const void *before, const void *after,
                       struct banyan_mirror *out);
void shop_payment_mirror(const struct banyan_seen *event, const void *before, const void *after,
                         struct banyan_mirror *out);
void shop_fulfillment_mirror(const struct banyan_seen *event, const void *before, const void *after,
                             struct banyan_mirror *out);
void shop_stock_mirror(const struct banyan_seen *event, const void *before, const void *after,
                       struct banyan_mirror *out);

/* ---- the past, and capture ---- */

extern const struct banyan_legacy_mapping shop_mappings[SHOP_MAPPING_COUNT];

/* See banyan_legacy_mapping. */
extern const struct banyan_legacy_table shop_order_tables[SHOP_ORDER_TABLE_COUNT];
void shop_order_history(const struct banyan_history *rows, struct banyan_emitter *out);
void shop_order_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes, size_t count,
                        struct banyan_emitter *out);
bool shop_order_row(const void *state, void *ret_row);
void shop_order_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                          struct banyan_emitter *out);

extern const struct banyan_legacy_table shop_payment_tables[SHOP_PAYMENT_TABLE_COUNT];
void shop_payment_history(const struct banyan_history *rows, struct banyan_emitter *out);
void shop_payment_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes,
                          size_t count, struct banyan_emitter *out);
bool shop_payment_row(const void *state, void *ret_row);
void shop_payment_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                            struct banyan_emitter *out);

extern const struct banyan_legacy_table shop_fulfillment_tables[SHOP_FULFILLMENT_TABLE_COUNT];
void shop_fulfillment_history(const struct banyan_history *rows, struct banyan_emitter *out);
void shop_fulfillment_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes,
                              size_t count, struct banyan_emitter *out);
bool shop_fulfillment_row(const void *state, void *ret_row);
void shop_fulfillment_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                                struct banyan_emitter *out);

extern const struct banyan_legacy_table shop_stock_tables[SHOP_STOCK_TABLE_COUNT];
void shop_stock_history(const struct banyan_history *rows, struct banyan_emitter *out);
void shop_stock_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes, size_t count,
                        struct banyan_emitter *out);
bool shop_stock_row(const void *state, void *ret_row);
void shop_stock_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                          struct banyan_emitter *out);

#endif
