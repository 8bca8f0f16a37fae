/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the legacy rows, and how the engine finds and orders them. */
#include "rows.h"
#include "values.h"

#define ROW_FIELD(kind, name, flags, scale)                                                                            \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct order_row, name), scale, NULL},

static const struct banyan_field order_fields[] = {ORDER_COLUMNS(ROW_FIELD)};

static const struct banyan_field audit_fields[] = {
    BANYAN_FIELD_INT(struct audit_row, id, 0),
    BANYAN_FIELD_INT(struct audit_row, entity_id, 0),
    BANYAN_FIELD_STRING(struct audit_row, field_changed, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct audit_row, old_value, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct audit_row, new_value, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct audit_row, timestamp, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field trade_fields[] = {
    BANYAN_FIELD_INT(struct trade_row, id, 0),
    BANYAN_FIELD_INT(struct trade_row, order_id, 0),
    BANYAN_FIELD_DECIMAL(struct trade_row, quantity, BANYAN_FIELD_OPTIONAL, TRADING_SCALE),
    BANYAN_FIELD_DECIMAL(struct trade_row, price, BANYAN_FIELD_OPTIONAL, TRADING_SCALE),
    BANYAN_FIELD_TIME(struct trade_row, executed_at, BANYAN_FIELD_OPTIONAL),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct banyan_record order_row_record = {"Order", sizeof(struct order_row), order_fields, COUNT(order_fields)};
const struct banyan_record audit_row_record = {"AuditLog", sizeof(struct audit_row), audit_fields, COUNT(audit_fields)};
const struct banyan_record trade_row_record = {"Trade", sizeof(struct trade_row), trade_fields, COUNT(trade_fields)};

/* The numbers of audit rows and trades grow with time; timestamps tie. */
static const char *const audit_order[] = {"timestamp", "id", NULL};
static const char *const trade_order[] = {"executed_at", "id", NULL};

const struct banyan_legacy_table trading_tables[TABLE_COUNT] = {
    [TABLE_ORDERS] = {"orders", &order_row_record, "order_id", NULL},
    [TABLE_AUDIT_LOG] = {"audit_log", &audit_row_record, "entity_id", audit_order, .generated_column = "id"},
    [TABLE_TRADES] = {"trades", &trade_row_record, "order_id", trade_order, .generated_column = "id"},
};
