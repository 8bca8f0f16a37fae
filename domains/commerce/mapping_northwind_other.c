/* SPDX-License-Identifier: Apache-2.0 */
/* Shipments and stock of Northwind. */
#include "fulfillment.h"
#include "mapping.h"
#include "mapping_northwind.h"
#include "stock.h"

enum { TABLE_ORDERS, TABLE_DETAILS, TABLE_COUNT = NORTHWIND_SHIPMENT_TABLE_COUNT };

/* What a count is while its column is NULL. */
#define COUNT_NULL INT64_MIN

static const struct banyan_field shipment_fields[] = {
    BANYAN_FIELD_INT(struct northwind_shipment, order_id, 0),
    BANYAN_FIELD_TIME(struct northwind_shipment, order_date, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct northwind_shipment, shipped_date, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_DECIMAL(struct northwind_shipment, ship_via, BANYAN_FIELD_OPTIONAL, 0),
};

static const struct banyan_field product_fields[] = {
    BANYAN_FIELD_INT(struct northwind_product, product_id, 0),
    BANYAN_FIELD_DECIMAL(struct northwind_product, supplier_id, BANYAN_FIELD_OPTIONAL, 0),
    BANYAN_FIELD_DECIMAL(struct northwind_product, units_in_stock, BANYAN_FIELD_OPTIONAL, 0),
};

const struct banyan_record northwind_shipment_record = {"NorthwindShipment", sizeof(struct northwind_shipment),
                                                        shipment_fields, COMMERCE_COUNT(shipment_fields)};
const struct banyan_record northwind_product_record = {"NorthwindProduct", sizeof(struct northwind_product),
                                                       product_fields, COMMERCE_COUNT(product_fields)};

static const char *const detail_order[] = {"product_id", NULL};

const struct banyan_legacy_table northwind_shipment_tables[TABLE_COUNT] = {
    [TABLE_ORDERS] = {"orders", &northwind_shipment_record, "order_id", NULL},
    [TABLE_DETAILS] = {"order_details", &northwind_detail_record, "order_id", detail_order},
};
const struct banyan_legacy_table northwind_product_table = {"products", &northwind_product_record, "product_id", NULL};

static int64_t count_of(struct banyan_decimal number)
{
    return number.scale == 0 && number.units == (int64_t)number.units ? (int64_t)number.units : COUNT_NULL;
}

static struct banyan_decimal number_of(int64_t count)
{
    return count == COUNT_NULL ? banyan_decimal_null() : banyan_decimal_of(count, 0);
}

/* ---- shipments ---- */

static void tell_shipped(const struct northwind_shipment *row, struct banyan_emitter *out)
{
    struct fulfillment_shipped shipped = {.fulfillment_id = row->order_id, .order_id = row->order_id};

    if (time_is_known(row->shipped_date))
        mapping_emit(out, FULFILLMENT_SHIPPED, &shipped, row->shipped_date, NULL);
}

static void tell(const struct northwind_shipment *row, const struct northwind_detail *const *details, size_t count,
                 struct banyan_emitter *out)
{
    struct fulfillment_line *lines = banyan_arena_alloc(banyan_emitter_arena(out), (count + 1) * sizeof(*lines));
    struct fulfillment_created created = {row->order_id, row->order_id, 0, {lines, count}};
    struct fulfillment_assigned assigned = {row->order_id, row->order_id, count_of(row->ship_via)};

    for (size_t i = 0; i < count; i++)
        lines[i] = (struct fulfillment_line){northwind_line_id(details[i]->order_id, details[i]->product_id),
                                             details[i]->product_id, details[i]->product_id, details[i]->quantity};
    mapping_emit(out, FULFILLMENT_CREATED, &created, row->order_date, NULL);
    mapping_emit(out, FULFILLMENT_ASSIGNED, &assigned, row->order_date, NULL);
    tell_shipped(row, out);
}

void northwind_shipment_history(const struct banyan_history *rows, struct banyan_emitter *out)
{
    if (rows->root != NULL)
        tell(rows->root, (const struct northwind_detail *const *)rows->rows[TABLE_DETAILS],
             rows->row_count[TABLE_DETAILS], out);
}

void northwind_shipment_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes,
                                size_t count, struct banyan_emitter *out)
{
    const struct fulfillment *fulfillment = state;
    const struct northwind_detail **details =
        banyan_arena_alloc(banyan_emitter_arena(out), (count + 1) * sizeof(struct northwind_detail *));
    const struct northwind_shipment *last = NULL;
    size_t detail_count = 0;

    (void)key; /* it is in the row */
    for (size_t i = 0; i < count; i++)
        if (changes[i].table == TABLE_ORDERS)
            last = changes[i].new;
        else if (changes[i].kind == BANYAN_CHANGE_INSERT)
            details[detail_count++] = changes[i].new;
    if (last == NULL)
        return;
    if (!exists || !fulfillment->exists)
        tell(last, details, detail_count, out);
    else if (fulfillment->row.shipped_at.us != last->shipped_date.us)
        tell_shipped(last, out);
}

bool northwind_shipment_row(const void *state, void *ret_row)
{
    const struct fulfillment *fulfillment = state;

    if (!fulfillment->exists)
        return false;
    *(struct northwind_shipment *)ret_row =
        (struct northwind_shipment){fulfillment->row.shipment_id, fulfillment->row.created_at,
                                    fulfillment->row.shipped_at, number_of(fulfillment->row.warehouse_id)};
    return true;
}

void northwind_shipment_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                                  struct banyan_emitter *out)
{
    const struct fulfillment *fulfillment = state;
    const struct northwind_shipment *row = legacy;
    struct fulfillment_reconciled reconciled = {
        .row = fulfillment->row,
        .fields = BANYAN_STR(""),
        .removed = legacy == NULL,
        .status_before = fulfillment->exists ? text_or_empty(fulfillment->row.status) : BANYAN_STR("")};
    struct northwind_shipment told;

    if (legacy == NULL) {
        reconciled.row.shipment_id = key;
        mapping_emit_reconciled(out, FULFILLMENT_RECONCILED, &reconciled, now,
                                "the legacy table has no such row any more");
        return;
    }
    if (northwind_shipment_row(fulfillment, &told))
        reconciled.fields =
            mapping_columns(&northwind_shipment_record, banyan_record_diff(&northwind_shipment_record, &told, legacy),
                            banyan_emitter_arena(out));
    reconciled.row.shipment_id = row->order_id;
    reconciled.row.order_id = row->order_id;
    reconciled.row.created_at = row->order_date;
    reconciled.row.shipped_at = row->shipped_date;
    reconciled.row.warehouse_id = count_of(row->ship_via);
    reconciled.row.status = time_is_known(row->shipped_date) ? BANYAN_STR(FULFILLMENT_STATUS_SHIPPED)
                                                             : BANYAN_STR(FULFILLMENT_STATUS_ASSIGNED);
    reconciled.row.updated_at = now;
    mapping_emit_reconciled(out, FULFILLMENT_RECONCILED, &reconciled, now, NULL);
}

/* ---- products ---- */

void northwind_product_history(const struct banyan_history *rows, struct banyan_emitter *out)
{
    const struct northwind_product *row = rows->root;
    struct stock_received received = {0};

    if (row == NULL || count_of(row->units_in_stock) == COUNT_NULL)
        return;
    received.stock_id = received.product_id = row->product_id;
    received.seller_id = count_of(row->supplier_id);
    received.quantity = count_of(row->units_in_stock);
    mapping_emit(out, STOCK_RECEIVED, &received, COMMERCE_NO_TIME, "the table has the level only, not when it came");
}

/* A level changes without a time: it is reconciled, at the time of the transaction. */
void northwind_product_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes,
                               size_t count, struct banyan_emitter *out)
{
    (void)state;
    (void)exists;
    (void)key;
    (void)changes;
    (void)count;
    (void)out;
}

bool northwind_product_row(const void *state, void *ret_row)
{
    const struct stock *stock = state;

    if (stock->exists)
        *(struct northwind_product *)ret_row = (struct northwind_product){
            stock->row.product_id, number_of(stock->row.seller_id), number_of(stock->row.available)};
    return stock->exists;
}

void northwind_product_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                                 struct banyan_emitter *out)
{
    const struct stock *stock = state;
    const struct northwind_product *row = legacy;
    struct stock_reconciled reconciled = {.row = stock->row, .fields = BANYAN_STR(""), .removed = legacy == NULL};
    struct northwind_product told;

    if (legacy == NULL) {
        reconciled.row.stock_id = key;
        mapping_emit_reconciled(out, STOCK_RECONCILED, &reconciled, now, "the legacy table has no such row any more");
        return;
    }
    if (northwind_product_row(stock, &told))
        reconciled.fields =
            mapping_columns(&northwind_product_record, banyan_record_diff(&northwind_product_record, &told, legacy),
                            banyan_emitter_arena(out));
    reconciled.row.stock_id = reconciled.row.product_id = row->product_id;
    reconciled.row.seller_id = count_of(row->supplier_id);
    reconciled.row.available = count_of(row->units_in_stock);
    reconciled.row.received = reconciled.row.available;
    reconciled.row.updated_at = now;
    mapping_emit_reconciled(out, STOCK_RECONCILED, &reconciled, now, "the table does not tell when a level changes");
}
