/* SPDX-License-Identifier: Apache-2.0 */
/* The mirrors: rows of the shop's tables, folded from the events by the aggregates' own evolve(). */
#include "commerce.h"
#include "events.h"
#include "fulfillment.h"
#include "mapping_shop.h"
#include "order.h"
#include "payment.h"
#include "read_models.h"
#include "stock.h"

static const struct banyan_view_index order_indexes[] = {{"by_customer", "customer_id", "placed_at"}};
static const struct banyan_view_index payment_indexes[] = {{"by_order", "order_id", "created_at"}};
static const struct banyan_view_index shipment_indexes[] = {{"by_order", "order_id", "created_at"}};

const struct banyan_table commerce_mirror_tables[LEGACY_TABLE_COUNT] = {
    [LEGACY_ORDERS] = {"legacy_orders", &commerce_order_row, "order_id", order_indexes, 1, NULL},
    [LEGACY_ORDER_ITEMS] = {"legacy_items", &commerce_item_row, "item_id", NULL, 0, NULL},
    [LEGACY_PAYMENTS] = {"legacy_payments", &commerce_payment_row, "payment_id", payment_indexes, 1, NULL},
    [LEGACY_SHIPMENTS] = {"legacy_shipments", &commerce_shipment_row, "shipment_id", shipment_indexes, 1, NULL},
    [LEGACY_STOCK] = {"legacy_stock", &commerce_stock_row, "stock_id", NULL, 0, NULL},
};

/* The row after the event: there, or not any more. */
static void put(struct banyan_unit *unit, int64_t key, const void *row, bool exists)
{
    if (exists)
        banyan_unit_put(unit, 0, key, row);
    else if (banyan_unit_get(unit, 0, key) != NULL)
        banyan_unit_delete(unit, 0, key);
}

void commerce_mirror_order(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct order_row *before = banyan_unit_get(unit, 0, event->key);
    struct order order;
    struct order_row row;

    banyan_record_init(&commerce_order_state, &order);
    if (before != NULL) {
        order.row = *before;
        order.exists = true;
    }
    commerce_order_evolve(&order, event->type, event->payload, event->at);
    put(unit, event->key, &row, shop_order_row(&order, &row));
}

void commerce_mirror_payment(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct payment_row *before = banyan_unit_get(unit, 0, event->key);
    struct payment payment;
    struct payment_row row;

    banyan_record_init(&commerce_payment_state, &payment);
    if (before != NULL) {
        payment.row = *before;
        payment.exists = true;
    }
    commerce_payment_evolve(&payment, event->type, event->payload, event->at);
    put(unit, event->key, &row, shop_payment_row(&payment, &row));
}

void commerce_mirror_shipment(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct shipment_row *before = banyan_unit_get(unit, 0, event->key);
    struct fulfillment fulfillment;
    struct shipment_row row;

    banyan_record_init(&commerce_fulfillment_state, &fulfillment);
    if (before != NULL) {
        fulfillment.row = *before;
        fulfillment.exists = true;
    }
    commerce_fulfillment_evolve(&fulfillment, event->type, event->payload, event->at);
    put(unit, event->key, &row, shop_fulfillment_row(&fulfillment, &row));
}

void commerce_mirror_stock(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct stock_row *before = banyan_unit_get(unit, 0, event->key);
    struct stock stock;

    banyan_record_init(&commerce_stock_state, &stock);
    if (before != NULL) {
        stock.row = *before;
        stock.exists = true;
    }
    commerce_stock_evolve(&stock, event->type, event->payload, event->at);
    put(unit, event->key, &stock.row, stock.exists);
}

static void drop_lines(struct banyan_unit *unit, const struct banyan_list *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        put(unit, ((const struct order_line *)lines->items)[i].line_id, NULL, false);
}

/* Rows of several keys an event: this one is JOINED. */
void commerce_mirror_items(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct banyan_list *lines = commerce_lines_of(event);
    const struct order_reconciled *reconciled = event->payload;

    if (event->type == ORDER_RECONCILED && reconciled->removed) {
        drop_lines(unit, lines);
        return;
    }
    if (event->type == ORDER_LINES_CHANGED)
        drop_lines(unit, &((const struct order_lines_changed *)event->payload)->removed);
    for (size_t i = 0; i < lines->count; i++) {
        const struct order_line *line = (const struct order_line *)lines->items + i;
        struct item_row row = {line->line_id,   event->key,     line->product_id, line->product,    line->category,
                               line->seller_id, line->stock_id, line->quantity,   line->unit_price, line->freight};

        put(unit, row.item_id, &row, true);
    }
}
