/* SPDX-License-Identifier: Apache-2.0 */
/* The read model current_orders: what the legacy table orders holds, folded from the events by the same evolve(). */
#include "current_orders.h"
#include "order.h"
#include "rows.h"

static const struct banyan_view_index indexes[] = {
    {"by_trader", "trader_id", "created_at"},
    {"by_symbol", "symbol", "created_at"},
};

static void apply(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct order_row *before = banyan_unit_get(unit, 0, event->key);
    struct order order;

    if (before != NULL)
        order = (struct order){*before, true};
    else
        banyan_record_init(order_aggregate.state, &order);
    order_evolve(&order, event->type, event->payload, event->at);
    if (order.exists)
        banyan_unit_put(unit, 0, event->key, &order.row);
    else if (before != NULL)
        banyan_unit_delete(unit, 0, event->key);
}

const struct banyan_projection current_orders = {
    .name = "current_orders",
    .version = 1,
    .tables = &(const struct banyan_table){.name = "current_orders",
                                           .row = &order_row_record,
                                           .key_column = "order_id",
                                           .indexes = indexes,
                                           .index_count = sizeof(indexes) / sizeof(indexes[0])},
    .table_count = 1,
    .categories = (const char *const[]){"order", NULL},
    .apply = apply,
    .mirrors = &trading_tables[TABLE_ORDERS],
};
