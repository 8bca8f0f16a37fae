/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The legacy tables orders, audit_log and trades, as far as the mapping reads them.
 *
 * All but the integer columns may be NULL here even where a sane application never leaves them so: a row that cannot be
 * read would stop a whole migration, a strange row is only reconciled.
 */
#ifndef TRADING_ROWS_H
#define TRADING_ROWS_H

#include "banyan/domain.h"
#include "values.h"

/* Each column of orders once: kind, name, scale.  Row, state, read model and OrderReconciled are made from it. */
#define ORDER_COLUMNS(X)                                                                                               \
    X(INT, order_id, 0, 0)                                                                                             \
    X(INT, trader_id, 0, 0)                                                                                            \
    X(STRING, symbol, BANYAN_FIELD_OPTIONAL, 0)                                                                        \
    X(STRING, side, BANYAN_FIELD_OPTIONAL, 0)                                                                          \
    X(DECIMAL, quantity, BANYAN_FIELD_OPTIONAL, TRADING_SCALE)                                                         \
    X(DECIMAL, price, BANYAN_FIELD_OPTIONAL, TRADING_SCALE)                                                            \
    X(STRING, status, BANYAN_FIELD_OPTIONAL, 0)                                                                        \
    X(DECIMAL, filled_quantity, BANYAN_FIELD_OPTIONAL, TRADING_SCALE)                                                  \
    X(DECIMAL, avg_fill_price, BANYAN_FIELD_OPTIONAL, TRADING_SCALE)                                                   \
    X(TIME, created_at, BANYAN_FIELD_OPTIONAL, 0)                                                                      \
    X(TIME, updated_at, BANYAN_FIELD_OPTIONAL, 0)

struct order_row {
    int64_t order_id;
    int64_t trader_id;
    struct banyan_str symbol;
    struct banyan_str side; /* BUY, SELL */
    struct banyan_decimal quantity;
    struct banyan_decimal price;
    struct banyan_str status; /* NEW, PARTIALLY_FILLED, FILLED, CANCELED */
    struct banyan_decimal filled_quantity;
    struct banyan_decimal avg_fill_price; /* NULL before the first fill */
    struct banyan_time created_at;
    struct banyan_time updated_at;
};

/* One changed column of an order. */
struct audit_row {
    int64_t id;
    int64_t entity_id;               /* the order */
    struct banyan_str field_changed; /* price, quantity, status */
    struct banyan_str old_value;
    struct banyan_str new_value;
    struct banyan_time timestamp;
};

struct trade_row {
    int64_t id;
    int64_t order_id;
    struct banyan_decimal quantity;
    struct banyan_decimal price;
    struct banyan_time executed_at;
};

/* Index in the mapping's tables. */
enum trading_table {
    TABLE_ORDERS,
    TABLE_AUDIT_LOG,
    TABLE_TRADES,
    TABLE_COUNT,
};

extern const struct banyan_record order_row_record;
extern const struct banyan_record audit_row_record;
extern const struct banyan_record trade_row_record;
extern const struct banyan_legacy_table trading_tables[TABLE_COUNT];

/* What the legacy application writes into orders.status. */
#define STATUS_NEW BANYAN_STR("NEW")
#define STATUS_PARTIALLY_FILLED BANYAN_STR("PARTIALLY_FILLED")
#define STATUS_FILLED BANYAN_STR("FILLED")
#define STATUS_CANCELED BANYAN_STR("CANCELED")

#endif
