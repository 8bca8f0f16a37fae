/* SPDX-License-Identifier: Apache-2.0 */
/* The list of the read models, and what several of them use. */
#include "read_models.h"

#include "commerce.h"
#include "events.h"
#include "order.h"

static const char *const orders[] = {"order", NULL};
static const char *const payments[] = {"payment", NULL};
static const char *const fulfillments[] = {"fulfillment", NULL};
static const char *const stock[] = {"stock", NULL};
static const char *const all_of_an_order[] = {"order", "payment", "fulfillment", NULL};

static const unsigned item_types[] = {ORDER_PLACED, ORDER_LINES_CHANGED, ORDER_RECONCILED};

const struct banyan_projection commerce_projections[PROJECTION_COUNT] = {
    [PROJECTION_ORDER_STATUS] = {.name = "order_status",
                                 .version = 1,
                                 .tables = commerce_order_status_tables,
                                 .table_count = 1,
                                 .categories = all_of_an_order,
                                 .key = commerce_order_of,
                                 .apply = commerce_order_status_apply,
                                 .spread = BANYAN_PARTITIONED,
                                 .priority = BANYAN_CRITICAL,
                                 .recent_first = true},
    [PROJECTION_ORDER_SEARCH] = {.name = "order_search",
                                 .version = 1,
                                 .tables = commerce_order_search_tables,
                                 .table_count = 1,
                                 .categories = orders,
                                 .apply = commerce_order_search_apply,
                                 .spread = BANYAN_PARTITIONED,
                                 .archived = BANYAN_ARCHIVED_CARRIED,
                                 .queries = commerce_order_search_queries,
                                 .query_count = 1},
    [PROJECTION_ANALYTICS] = {.name = "analytics",
                              .version = 1,
                              .tables = commerce_analytics_tables,
                              .table_count = ANALYTICS_TABLE_COUNT,
                              .categories = orders,
                              .apply = commerce_analytics_apply,
                              .priority = BANYAN_BACKGROUND,
                              .queries = commerce_analytics_queries,
                              .query_count = ANALYTICS_QUERY_COUNT},
    [PROJECTION_FULFILLMENT_QUEUE] = {.name = "fulfillment_queue",
                                      .version = 1,
                                      .tables = commerce_fulfillment_queue_tables,
                                      .table_count = 1,
                                      .categories = fulfillments,
                                      .apply = commerce_fulfillment_queue_apply,
                                      .spread = BANYAN_PARTITIONED,
                                      .priority = BANYAN_CRITICAL,
                                      .archived = BANYAN_ARCHIVED_DROPPED,
                                      .queries = commerce_fulfillment_queue_queries,
                                      .query_count = 1},
    [PROJECTION_INVENTORY] = {.name = "inventory",
                              .version = 1,
                              .tables = commerce_inventory_tables,
                              .table_count = 1,
                              .categories = stock,
                              .apply = commerce_inventory_apply,
                              .spread = BANYAN_PARTITIONED,
                              .priority = BANYAN_CRITICAL,
                              .in_memory = true},
    [PROJECTION_LEGACY_ORDERS] = {.name = "legacy_orders",
                                  .version = 1,
                                  .tables = &commerce_mirror_tables[LEGACY_ORDERS],
                                  .table_count = 1,
                                  .categories = orders,
                                  .apply = commerce_mirror_order,
                                  .spread = BANYAN_PARTITIONED,
                                  .mirrors = &commerce_legacy_tables[LEGACY_ORDERS]},
    [PROJECTION_LEGACY_PAYMENTS] = {.name = "legacy_payments",
                                    .version = 1,
                                    .tables = &commerce_mirror_tables[LEGACY_PAYMENTS],
                                    .table_count = 1,
                                    .categories = payments,
                                    .apply = commerce_mirror_payment,
                                    .spread = BANYAN_PARTITIONED,
                                    .mirrors = &commerce_legacy_tables[LEGACY_PAYMENTS]},
    [PROJECTION_LEGACY_SHIPMENTS] = {.name = "legacy_shipments",
                                     .version = 1,
                                     .tables = &commerce_mirror_tables[LEGACY_SHIPMENTS],
                                     .table_count = 1,
                                     .categories = fulfillments,
                                     .apply = commerce_mirror_shipment,
                                     .spread = BANYAN_PARTITIONED,
                                     .mirrors = &commerce_legacy_tables[LEGACY_SHIPMENTS]},
    [PROJECTION_LEGACY_STOCK] = {.name = "legacy_stock",
                                 .version = 1,
                                 .tables = &commerce_mirror_tables[LEGACY_STOCK],
                                 .table_count = 1,
                                 .categories = stock,
                                 .apply = commerce_mirror_stock,
                                 .spread = BANYAN_PARTITIONED,
                                 .mirrors = &commerce_legacy_tables[LEGACY_STOCK]},
    [PROJECTION_LEGACY_ITEMS] = {.name = "legacy_items",
                                 .version = 1,
                                 .tables = &commerce_mirror_tables[LEGACY_ORDER_ITEMS],
                                 .table_count = 1,
                                 .categories = orders,
                                 .types = item_types,
                                 .type_count = COMMERCE_COUNT(item_types),
                                 .apply = commerce_mirror_items,
                                 .spread = BANYAN_JOINED,
                                 .mirrors = &commerce_legacy_tables[LEGACY_ORDER_ITEMS]},
};

const struct banyan_list *commerce_lines_of(const struct banyan_seen *event)
{
    switch ((enum commerce_event)event->type) {
    case ORDER_PLACED:
        return &((const struct order_placed *)event->payload)->lines;
    case ORDER_LINES_CHANGED:
        return &((const struct order_lines_changed *)event->payload)->lines;
    case ORDER_RECONCILED:
        return &((const struct order_reconciled *)event->payload)->lines;
    default:
        return NULL;
    }
}

bool commerce_fold_order(struct order_row *row, const struct banyan_seen *event)
{
    struct order order = {.row = *row, .exists = true};

    commerce_order_evolve(&order, event->type, event->payload, event->at);
    *row = order.row;
    return order.exists;
}
