/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The domain of the Northwind sample database: the events, aggregates, process and read models of commerce over other
 * tables.  Its mirrors are folded by the aggregates' own evolve(), like those of the shop.
 */
#include "checkout.h"
#include "commerce.h"
#include "fulfillment.h"
#include "mapping_northwind.h"
#include "order.h"
#include "read_models.h"
#include "stock.h"

const struct banyan_legacy_mapping northwind_mappings[NORTHWIND_MAPPING_COUNT] = {
    {.tables = northwind_order_tables,
     .table_count = NORTHWIND_ORDER_TABLE_COUNT,
     .aggregate = &commerce_aggregates[AGGREGATE_ORDER],
     .history = northwind_order_history,
     .changes = northwind_order_changes,
     .row = northwind_order_row,
     .reconcile = northwind_order_reconcile},
    {.tables = northwind_shipment_tables,
     .table_count = NORTHWIND_SHIPMENT_TABLE_COUNT,
     .aggregate = &commerce_aggregates[AGGREGATE_FULFILLMENT],
     .history = northwind_shipment_history,
     .changes = northwind_shipment_changes,
     .row = northwind_shipment_row,
     .reconcile = northwind_shipment_reconcile},
    {.tables = &northwind_product_table,
     .table_count = 1,
     .aggregate = &commerce_aggregates[AGGREGATE_STOCK],
     .history = northwind_product_history,
     .changes = northwind_product_changes,
     .row = northwind_product_row,
     .reconcile = northwind_product_reconcile},
};

/* ---- mirrors ---- */

static const struct banyan_table order_table = {"legacy_orders", &northwind_order_record, "order_id", NULL, 0, NULL};
static const struct banyan_table shipment_table = {
    "legacy_shipments", &northwind_shipment_record, "order_id", NULL, 0, NULL};
static const struct banyan_table product_table = {
    "legacy_products", &northwind_product_record, "product_id", NULL, 0, NULL};

static void put(struct banyan_unit *unit, int64_t key, const void *row, bool exists)
{
    if (exists)
        banyan_unit_put(unit, 0, key, row);
    else if (banyan_unit_get(unit, 0, key) != NULL)
        banyan_unit_delete(unit, 0, key);
}

static void mirror_order(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct northwind_order *before = banyan_unit_get(unit, 0, event->key);
    struct northwind_order row;
    struct order order;
    bool exists;

    banyan_record_init(&commerce_order_state, &order);
    if (before != NULL) {
        order.row.order_id = before->order_id;
        order.row.external_id = before->customer_id;
        order.row.placed_at = before->order_date;
        order.row.promised_at = before->required_date;
        order.row.shipped_at = before->shipped_date;
        order.row.freight_total = before->freight;
        order.row.customer = before->ship_name;
        order.row.city = before->ship_city;
        order.row.state = before->ship_region;
        order.address = before->ship_address;
        order.postal_code = before->ship_postal_code;
        order.country = before->ship_country;
        order.exists = true;
    }
    commerce_order_evolve(&order, event->type, event->payload, event->at);
    exists = northwind_order_row(&order, &row);
    put(unit, event->key, &row, exists);
}

static void mirror_shipment(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct northwind_shipment *before = banyan_unit_get(unit, 0, event->key);
    struct fulfillment fulfillment;
    struct northwind_shipment row;
    bool exists;

    banyan_record_init(&commerce_fulfillment_state, &fulfillment);
    if (before != NULL) {
        fulfillment.row.shipment_id = before->order_id;
        fulfillment.row.created_at = before->order_date;
        fulfillment.row.shipped_at = before->shipped_date;
        fulfillment.row.warehouse_id =
            banyan_decimal_is_null(before->ship_via) ? INT64_MIN : (int64_t)before->ship_via.units;
        fulfillment.exists = true;
    }
    commerce_fulfillment_evolve(&fulfillment, event->type, event->payload, event->at);
    exists = northwind_shipment_row(&fulfillment, &row);
    put(unit, event->key, &row, exists);
}

static void mirror_product(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct northwind_product *before = banyan_unit_get(unit, 0, event->key);
    struct northwind_product row;
    struct stock stock;
    bool exists;

    banyan_record_init(&commerce_stock_state, &stock);
    if (before != NULL) {
        stock.row.product_id = before->product_id;
        stock.row.seller_id =
            banyan_decimal_is_null(before->supplier_id) ? INT64_MIN : (int64_t)before->supplier_id.units;
        stock.row.available =
            banyan_decimal_is_null(before->units_in_stock) ? INT64_MIN : (int64_t)before->units_in_stock.units;
        stock.exists = true;
    }
    commerce_stock_evolve(&stock, event->type, event->payload, event->at);
    exists = northwind_product_row(&stock, &row);
    put(unit, event->key, &row, exists);
}

/* ---- the domain ---- */

static const char *const orders[] = {"order", NULL};
static const char *const fulfillments[] = {"fulfillment", NULL};
static const char *const stocks[] = {"stock", NULL};
static const char *const all_of_an_order[] = {"order", "payment", "fulfillment", NULL};

static const struct banyan_projection projections[] = {
    {.name = "order_status",
     .version = 1,
     .tables = commerce_order_status_tables,
     .table_count = 1,
     .categories = all_of_an_order,
     .key = commerce_order_of,
     .apply = commerce_order_status_apply,
     .spread = BANYAN_PARTITIONED,
     .priority = BANYAN_CRITICAL},
    {.name = "order_search",
     .version = 1,
     .tables = commerce_order_search_tables,
     .table_count = 1,
     .categories = orders,
     .apply = commerce_order_search_apply,
     .spread = BANYAN_PARTITIONED},
    {.name = "analytics",
     .version = 1,
     .tables = commerce_analytics_tables,
     .table_count = ANALYTICS_TABLE_COUNT,
     .categories = orders,
     .apply = commerce_analytics_apply,
     .priority = BANYAN_BACKGROUND},
    {.name = "fulfillment_queue",
     .version = 1,
     .tables = commerce_fulfillment_queue_tables,
     .table_count = 1,
     .categories = fulfillments,
     .apply = commerce_fulfillment_queue_apply,
     .spread = BANYAN_PARTITIONED},
    {.name = "inventory",
     .version = 1,
     .tables = commerce_inventory_tables,
     .table_count = 1,
     .categories = stocks,
     .apply = commerce_inventory_apply,
     .spread = BANYAN_PARTITIONED},
    {.name = "legacy_orders",
     .version = 1,
     .tables = &order_table,
     .table_count = 1,
     .categories = orders,
     .apply = mirror_order,
     .spread = BANYAN_PARTITIONED,
     .mirrors = &northwind_order_tables[0]},
    {.name = "legacy_shipments",
     .version = 1,
     .tables = &shipment_table,
     .table_count = 1,
     .categories = fulfillments,
     .apply = mirror_shipment,
     .spread = BANYAN_PARTITIONED,
     .mirrors = &northwind_shipment_tables[0]},
    {.name = "legacy_products",
     .version = 1,
     .tables = &product_table,
     .table_count = 1,
     .categories = stocks,
     .apply = mirror_product,
     .spread = BANYAN_PARTITIONED,
     .mirrors = &northwind_product_table},
};

const struct banyan_domain banyan_domain_northwind = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "commerce-northwind",
    .events = commerce_events,
    .event_count = COMMERCE_EVENT_COUNT,
    .aggregates = commerce_aggregates,
    .aggregate_count = AGGREGATE_COUNT,
    .projections = projections,
    .projection_count = COMMERCE_COUNT(projections),
    .processes = &commerce_checkout_process,
    .process_count = 1,
    .mappings = northwind_mappings,
    .mapping_count = NORTHWIND_MAPPING_COUNT,
};
