/* SPDX-License-Identifier: Apache-2.0 */
/* The domain's table of contents. */
#include "trading.h"
#include "current_orders.h"
#include "events.h"
#include "facade.h"
#include "mapping.h"
#include "order.h"

static const struct banyan_legacy_mapping legacy = {
    .tables = trading_tables,
    .table_count = TABLE_COUNT,
    .aggregate = &order_aggregate,
    .history = trading_history,
    .changes = trading_changes,
    .row = trading_row,
    .reconcile = trading_reconcile,
    .mirror = trading_mirror,
    .key_sequence = "orders_order_id_seq",
};

const struct banyan_domain banyan_domain_trading = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "trading",
    .events = order_events,
    .event_count = ORDER_EVENT_COUNT,
    .aggregates = &order_aggregate,
    .aggregate_count = 1,
    .projections = &current_orders,
    .projection_count = 1,
    .mappings = &legacy,
    .mapping_count = 1,
    .facade = &trading_facade,
};
