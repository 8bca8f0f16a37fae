/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mappings of the Northwind sample database: another schema for the same aggregates.
 *
 *     order        orders (root), order_details
 *     fulfillment  orders (root), order_details     the order's own shipment, with its number; ship_via is its
 * warehouse stock        products (root)
 *
 * Northwind knows days only, and of products not even these.  Customers have a code instead of a number: it is the
 * order's external id, and its key of text the customer's number.  Details have no number: the line's is made of those
 * of order and product.  A discount is in the order's total, not in the line.
 */
#ifndef COMMERCE_MAPPING_NORTHWIND_H
#define COMMERCE_MAPPING_NORTHWIND_H

#include "banyan/domain.h"
#include "events.h"

struct northwind_order {
    int64_t order_id;
    struct banyan_str customer_id;
    struct banyan_time order_date;
    struct banyan_time required_date;
    struct banyan_time shipped_date;
    struct banyan_decimal freight;
    struct banyan_str ship_name;
    struct banyan_str ship_address;
    struct banyan_str ship_city;
    struct banyan_str ship_region;
    struct banyan_str ship_postal_code;
    struct banyan_str ship_country;
};

/* The shipping columns of orders. */
struct northwind_shipment {
    int64_t order_id;
    struct banyan_time order_date;
    struct banyan_time shipped_date;
    struct banyan_decimal ship_via; /* whole; NULL: nobody yet */
};

struct northwind_product {
    int64_t product_id;
    struct banyan_decimal supplier_id;    /* whole */
    struct banyan_decimal units_in_stock; /* whole */
};

struct northwind_detail {
    int64_t order_id;
    int64_t product_id;
    struct banyan_decimal unit_price;
    int64_t quantity;
    struct banyan_decimal discount; /* 0.25: a quarter off */
};

extern const struct banyan_record northwind_order_record;
extern const struct banyan_record northwind_shipment_record;
extern const struct banyan_record northwind_product_record;
extern const struct banyan_record northwind_detail_record;

enum {
    NORTHWIND_MAPPING_COUNT = 3,
    NORTHWIND_ORDER_TABLE_COUNT = 2,
    NORTHWIND_SHIPMENT_TABLE_COUNT = 2,
};

extern const struct banyan_legacy_table northwind_order_tables[NORTHWIND_ORDER_TABLE_COUNT];
extern const struct banyan_legacy_table northwind_shipment_tables[NORTHWIND_SHIPMENT_TABLE_COUNT];
extern const struct banyan_legacy_table northwind_product_table;
extern const struct banyan_legacy_mapping northwind_mappings[NORTHWIND_MAPPING_COUNT];

/* The number of an order's line. */
static inline int64_t northwind_line_id(int64_t order_id, int64_t product_id)
{
    return (int64_t)((uint64_t)order_id * 100000 + (uint64_t)product_id);
}

/* ---- see banyan_legacy_mapping ---- */

void northwind_order_history(const struct banyan_history *rows, struct banyan_emitter *out);
void northwind_order_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes,
                             size_t count, struct banyan_emitter *out);
bool northwind_order_row(const void *state, void *ret_row);
void northwind_order_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                               struct banyan_emitter *out);

void northwind_shipment_history(const struct banyan_history *rows, struct banyan_emitter *out);
void northwind_shipment_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes,
                                size_t count, struct banyan_emitter *out);
bool northwind_shipment_row(const void *state, void *ret_row);
void northwind_shipment_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                                  struct banyan_emitter *out);

void northwind_product_history(const struct banyan_history *rows, struct banyan_emitter *out);
void northwind_product_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes,
                               size_t count, struct banyan_emitter *out);
bool northwind_product_row(const void *state, void *ret_row);
void northwind_product_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                                 struct banyan_emitter *out);

#endif
