/* SPDX-License-Identifier: Apache-2.0 */
/* The mappings of the shop's tables. */
#include "mapping_shop.h"
#include "commerce.h"

const struct banyan_legacy_mapping shop_mappings[SHOP_MAPPING_COUNT] = {
    {.tables = shop_order_tables,
     .table_count = SHOP_ORDER_TABLE_COUNT,
     .aggregate = &commerce_aggregates[AGGREGATE_ORDER],
     .history = shop_order_history,
     .changes = shop_order_changes,
     .row = shop_order_row,
     .reconcile = shop_order_reconcile},
    {.tables = shop_payment_tables,
     .table_count = SHOP_PAYMENT_TABLE_COUNT,
     .aggregate = &commerce_aggregates[AGGREGATE_PAYMENT],
     .history = shop_payment_history,
     .changes = shop_payment_changes,
     .row = shop_payment_row,
     .reconcile = shop_payment_reconcile},
    {.tables = shop_fulfillment_tables,
     .table_count = SHOP_FULFILLMENT_TABLE_COUNT,
     .aggregate = &commerce_aggregates[AGGREGATE_FULFILLMENT],
     .history = shop_fulfillment_history,
     .changes = shop_fulfillment_changes,
     .row = shop_fulfillment_row,
     .reconcile = shop_fulfillment_reconcile},
    {.tables = shop_stock_tables,
     .table_count = SHOP_STOCK_TABLE_COUNT,
     .aggregate = &commerce_aggregates[AGGREGATE_STOCK],
     .history = shop_stock_history,
     .changes = shop_stock_changes,
     .row = shop_stock_row,
     .reconcile = shop_stock_reconcile},
};
