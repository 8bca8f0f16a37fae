/* SPDX-License-Identifier: Apache-2.0 */
/* The read model inventory: how much there is of each product, of each seller, in each warehouse. */
#include "read_models.h"
#include "stock.h"

#define ROW_FIELD(kind, name, flags, scale)                                                                            \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct inventory_row, stock.name), scale, NULL},

static const struct banyan_field fields[] = {
    STOCK_ROW_COLUMNS(ROW_FIELD) BANYAN_FIELD_INT(struct inventory_row, on_hand, 0),
};

static const struct banyan_record record = {"Inventory", sizeof(struct inventory_row), fields, COMMERCE_COUNT(fields)};

static const struct banyan_view_index indexes[] = {
    {"by_product", "product_id", "updated_at"},
    {"by_seller", "seller_id", "updated_at"},
};

const struct banyan_table commerce_inventory_tables[1] = {
    {"inventory", &record, "stock_id", indexes, COMMERCE_COUNT(indexes), NULL},
};

void commerce_inventory_apply(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct inventory_row *before = banyan_unit_get(unit, 0, event->key);
    struct inventory_row row;
    struct stock stock;

    banyan_record_init(&commerce_stock_state, &stock);
    if (before != NULL) {
        stock.row = before->stock;
        stock.exists = true;
    }
    commerce_stock_evolve(&stock, event->type, event->payload, event->at);
    row = (struct inventory_row){stock.row,
                                 count_add(count_add(stock.row.available, stock.row.reserved), stock.row.allocated)};
    if (stock.exists)
        banyan_unit_put(unit, 0, event->key, &row);
    else if (before != NULL)
        banyan_unit_delete(unit, 0, event->key);
}
