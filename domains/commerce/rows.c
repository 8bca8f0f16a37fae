/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the legacy rows, and how the engine finds them. */
#include "rows.h"

#define ROW_FIELD(kind, name, flags, scale)                                                                            \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct ROW, name), scale, NULL},

#define ROW order_row
static const struct banyan_field order_fields[] = {ORDER_ROW_COLUMNS(ROW_FIELD)};
#undef ROW
#define ROW payment_row
static const struct banyan_field payment_fields[] = {PAYMENT_ROW_COLUMNS(ROW_FIELD)};
#undef ROW
#define ROW shipment_row
static const struct banyan_field shipment_fields[] = {SHIPMENT_ROW_COLUMNS(ROW_FIELD)};
#undef ROW
#define ROW stock_row
static const struct banyan_field stock_fields[] = {STOCK_ROW_COLUMNS(ROW_FIELD)};
#undef ROW

static const struct banyan_field item_fields[] = {
    BANYAN_FIELD_INT(struct item_row, item_id, 0),
    BANYAN_FIELD_INT(struct item_row, order_id, 0),
    BANYAN_FIELD_INT(struct item_row, product_id, 0),
    BANYAN_FIELD_STRING(struct item_row, product, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct item_row, category, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct item_row, seller_id, 0),
    BANYAN_FIELD_INT(struct item_row, stock_id, 0),
    BANYAN_FIELD_INT(struct item_row, quantity, 0),
    BANYAN_FIELD_DECIMAL(struct item_row, unit_price, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct item_row, freight, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
};

#define RECORD(name, type, fields)                                                                                     \
    {                                                                                                                  \
        name, sizeof(type), fields, COMMERCE_COUNT(fields)                                                             \
    }

const struct banyan_record commerce_order_row = RECORD("Order", struct order_row, order_fields);
const struct banyan_record commerce_payment_row = RECORD("Payment", struct payment_row, payment_fields);
const struct banyan_record commerce_shipment_row = RECORD("Shipment", struct shipment_row, shipment_fields);
const struct banyan_record commerce_stock_row = RECORD("Stock", struct stock_row, stock_fields);
const struct banyan_record commerce_item_row = RECORD("OrderItem", struct item_row, item_fields);

const struct banyan_legacy_table commerce_legacy_tables[LEGACY_TABLE_COUNT] = {
    [LEGACY_ORDERS] = {"orders", &commerce_order_row, "order_id", NULL},
    [LEGACY_ORDER_ITEMS] = {"order_items", &commerce_item_row, "item_id", NULL},
    [LEGACY_PAYMENTS] = {"payments", &commerce_payment_row, "payment_id", NULL},
    [LEGACY_SHIPMENTS] = {"shipments", &commerce_shipment_row, "shipment_id", NULL},
    [LEGACY_STOCK] = {"stock", &commerce_stock_row, "stock_id", NULL},
};
