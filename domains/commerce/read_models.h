/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read models: five for those who use the shop, and five mirrors of legacy tables.
 *
 *   order_status       for the customer: how far is my order, what did I pay
 *   order_search       for support: find orders by text, city, status, time
 *   analytics          for the business: revenue, funnel, delivery times
 *   fulfillment_queue  for the warehouses: what is to be done next
 *   inventory          for the shop's pages: how much is there
 *   legacy_…           rows that must equal those of the legacy tables
 *
 * Questions with a name, where key, lists and search are not enough:
 *
 *   order_search       find(city, state, status, from, to, limit)
 *   analytics          revenue(from, to, state, category), funnel(from, to), delivery-times(state)
 *   fulfillment_queue  next(warehouse_id, now, limit)
 *
 * Each has a file of its own; read_models.c is the list.
 */
#ifndef COMMERCE_READ_MODELS_H
#define COMMERCE_READ_MODELS_H

#include "banyan/domain.h"
#include "fulfillment.h"
#include "rows.h"

/* Index in commerce_projections. */
enum commerce_projection {
    PROJECTION_ORDER_STATUS,
    PROJECTION_ORDER_SEARCH,
    PROJECTION_ANALYTICS,
    PROJECTION_FULFILLMENT_QUEUE,
    PROJECTION_INVENTORY,
    PROJECTION_LEGACY_ORDERS,
    PROJECTION_LEGACY_PAYMENTS,
    PROJECTION_LEGACY_SHIPMENTS,
    PROJECTION_LEGACY_STOCK,
    PROJECTION_LEGACY_ITEMS,
    PROJECTION_COUNT,
};

extern const struct banyan_projection commerce_projections[PROJECTION_COUNT];

/* ---- order_status ---- */

struct order_status_row {
    struct order_row order; /* its columns are the row's; status "no value" while only its payments are known */
    int64_t lines;
    int64_t units;
    int64_t payments; /* authorized ones */
    struct banyan_decimal authorized;
    struct banyan_decimal captured;
    struct banyan_decimal refunded;
    int64_t shipments;
    int64_t shipments_shipped; /* and perhaps delivered */
    int64_t shipments_delivered;
    int64_t shipments_canceled;
    struct banyan_time first_shipped_at;
    struct banyan_time last_delivered_at;
};

extern const struct banyan_table commerce_order_status_tables[1];
void commerce_order_status_apply(const struct banyan_seen *event, struct banyan_unit *unit);

/* ---- order_search ---- */

struct order_search_row {
    int64_t order_id;
    struct banyan_str reference; /* number and external id */
    int64_t customer_id;
    struct banyan_str customer;
    struct banyan_str products;   /* names, one after the other */
    struct banyan_str categories; /* each once */
    struct banyan_str city;
    struct banyan_str state;
    struct banyan_str status;
    struct banyan_decimal total;
    struct banyan_time placed_at;
    struct banyan_time updated_at;
};

extern const struct banyan_record commerce_order_search_row;
extern const struct banyan_table commerce_order_search_tables[1];
extern const struct banyan_query commerce_order_search_queries[1];
void commerce_order_search_apply(const struct banyan_seen *event, struct banyan_unit *unit);

/* ---- analytics ---- */

enum analytics_table {
    ANALYTICS_FACTS,
    ANALYTICS_REVENUE,
    ANALYTICS_FUNNEL,
    ANALYTICS_DELIVERY,
    ANALYTICS_TABLE_COUNT,
};

/* What an order adds to the sums, so that it can be taken back. */
struct fact_row {
    struct order_row order;
    struct banyan_str parts; /* units, money and freight by category, for analytics.c only */
};

struct revenue_row {
    int64_t revenue_id; /* of day, state and category */
    struct banyan_time day;
    struct banyan_str state;
    struct banyan_str category;
    int64_t orders; /* that have the category, and are not canceled, rejected or unavailable */
    int64_t units;
    struct banyan_decimal items;
    struct banyan_decimal freight;
};

struct funnel_row {
    int64_t funnel_id;      /* of day and status */
    struct banyan_time day; /* of the placement */
    struct banyan_str status;
    int64_t orders;
};

struct delivery_row {
    int64_t delivery_id; /* of state and days */
    struct banyan_str state;
    int64_t days; /* whole ones, from placement to delivery */
    int64_t orders;
};

struct revenue_arguments {
    struct banyan_time from, to; /* days; optional */
    struct banyan_str state;     /* optional */
    struct banyan_str category;  /* optional */
};

struct funnel_arguments {
    struct banyan_time from, to;
};

struct funnel_answer {
    struct banyan_str status;
    int64_t orders;
};

struct delivery_arguments {
    struct banyan_str state; /* "no value": all */
};

/* Percentiles by nearest rank: the least number of days that so many per cent of the orders did not exceed. */
struct delivery_answer {
    int64_t orders;
    int64_t p50, p90, p99;
    int64_t least, most;
};

enum {
    ANALYTICS_QUERY_COUNT = 3,
};

extern const struct banyan_record commerce_revenue_record;
extern const struct banyan_table commerce_analytics_tables[ANALYTICS_TABLE_COUNT];
extern const struct banyan_query commerce_analytics_queries[ANALYTICS_QUERY_COUNT];
void commerce_analytics_apply(const struct banyan_seen *event, struct banyan_unit *unit);

/* ---- fulfillment_queue ---- */

struct queue_row {
    struct fulfillment state; /* but for its lines */
    int64_t lines;
    int64_t units;
    struct banyan_str queue; /* the warehouse's id while the job is open: ready or leased; else "no value" */
};

extern const struct banyan_record commerce_queue_row;
extern const struct banyan_table commerce_fulfillment_queue_tables[1];
extern const struct banyan_query commerce_fulfillment_queue_queries[1];
void commerce_fulfillment_queue_apply(const struct banyan_seen *event, struct banyan_unit *unit);

/* ---- inventory ---- */

struct inventory_row {
    struct stock_row stock;
    int64_t on_hand; /* available + reserved + allocated */
};

extern const struct banyan_table commerce_inventory_tables[1];
void commerce_inventory_apply(const struct banyan_seen *event, struct banyan_unit *unit);

/* ---- mirrors ---- */

extern const struct banyan_table commerce_mirror_tables[LEGACY_TABLE_COUNT];
void commerce_mirror_order(const struct banyan_seen *event, struct banyan_unit *unit);
void commerce_mirror_items(const struct banyan_seen *event, struct banyan_unit *unit);
void commerce_mirror_payment(const struct banyan_seen *event, struct banyan_unit *unit);
void commerce_mirror_shipment(const struct banyan_seen *event, struct banyan_unit *unit);
void commerce_mirror_stock(const struct banyan_seen *event, struct banyan_unit *unit);

/* ---- shared ---- */

/* The lines that an event says an order has now; NULL: it says nothing of them. */
const struct banyan_list *commerce_lines_of(const struct banyan_seen *event);
/* Fold an order's event into its row; false: there is no such order any more. */
bool commerce_fold_order(struct order_row *row, const struct banyan_seen *event);

#endif
