/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payload records of the order events.  A field that business needs is required: an event without it is not made (see
 * values.h).  OrderReconciled takes whatever a legacy row may hold.
 */
#include "events.h"
#include "values.h"

static const struct banyan_field created_fields[] = {
    BANYAN_FIELD_INT(struct order_created, order_id, 0),
    BANYAN_FIELD_INT(struct order_created, trader_id, 0),
    BANYAN_FIELD_STRING(struct order_created, symbol, 0),
    BANYAN_FIELD_STRING(struct order_created, side, 0),
    BANYAN_FIELD_DECIMAL(struct order_created, quantity, 0, TRADING_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_created, price, 0, TRADING_SCALE),
    BANYAN_FIELD_TIME(struct order_created, updated_at, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field modified_fields[] = {
    BANYAN_FIELD_STRING(struct order_modified, field, 0),
    BANYAN_FIELD_DECIMAL(struct order_modified, old_value, 0, TRADING_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_modified, new_value, 0, TRADING_SCALE),
    BANYAN_FIELD_TIME(struct order_modified, updated_at, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field partially_filled_fields[] = {
    BANYAN_FIELD_DECIMAL(struct order_partially_filled, quantity, 0, TRADING_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_partially_filled, price, 0, TRADING_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_partially_filled, filled, 0, TRADING_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_partially_filled, remaining, 0, TRADING_SCALE),
    BANYAN_FIELD_TIME(struct order_partially_filled, updated_at, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field filled_fields[] = {
    BANYAN_FIELD_DECIMAL(struct order_filled, quantity, 0, TRADING_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_filled, price, 0, TRADING_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_filled, filled, 0, TRADING_SCALE),
    BANYAN_FIELD_TIME(struct order_filled, updated_at, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field canceled_fields[] = {
    BANYAN_FIELD_DECIMAL(struct order_canceled, remaining, 0, TRADING_SCALE),
    BANYAN_FIELD_TIME(struct order_canceled, updated_at, BANYAN_FIELD_OPTIONAL),
};

#define ROW_FIELD(kind, name, flags, scale)                                                                            \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct order_reconciled, row.name), scale, NULL},

static const struct banyan_field reconciled_fields[] = {
    ORDER_COLUMNS(ROW_FIELD) BANYAN_FIELD_STRING(struct order_reconciled, fields, 0),
    BANYAN_FIELD_BOOL(struct order_reconciled, removed, 0),
};

#define RECORD(name, type, fields)                                                                                     \
    {                                                                                                                  \
        name, sizeof(type), fields, sizeof(fields) / sizeof((fields)[0])                                               \
    }

static const struct banyan_record records[ORDER_EVENT_COUNT] = {
    [ORDER_CREATED] = RECORD("OrderCreated", struct order_created, created_fields),
    [ORDER_MODIFIED] = RECORD("OrderModified", struct order_modified, modified_fields),
    [ORDER_PARTIALLY_FILLED] = RECORD("OrderPartiallyFilled", struct order_partially_filled, partially_filled_fields),
    [ORDER_FILLED] = RECORD("OrderFilled", struct order_filled, filled_fields),
    [ORDER_CANCELED] = RECORD("OrderCanceled", struct order_canceled, canceled_fields),
    [ORDER_RECONCILED] = RECORD("OrderReconciled", struct order_reconciled, reconciled_fields),
};

const struct banyan_event_type order_events[ORDER_EVENT_COUNT] = {
    [ORDER_CREATED] = {"OrderCreated", 1, &records[ORDER_CREATED]},
    [ORDER_MODIFIED] = {"OrderModified", 1, &records[ORDER_MODIFIED]},
    [ORDER_PARTIALLY_FILLED] = {"OrderPartiallyFilled", 1, &records[ORDER_PARTIALLY_FILLED]},
    [ORDER_FILLED] = {"OrderFilled", 1, &records[ORDER_FILLED]},
    [ORDER_CANCELED] = {"OrderCanceled", 1, &records[ORDER_CANCELED]},
    [ORDER_RECONCILED] = {"OrderReconciled", 1, &records[ORDER_RECONCILED]},
};
