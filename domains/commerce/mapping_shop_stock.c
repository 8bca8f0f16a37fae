/* SPDX-License-Identifier: Apache-2.0 */
/* Stock of the shop: each movement is an event, before and after the migration alike. */
#include "mapping.h"
#include "mapping_shop.h"
#include "stock.h"

enum { TABLE_STOCK, TABLE_MOVEMENTS = SHOP_STOCK_MOVEMENTS, TABLE_COUNT = SHOP_STOCK_TABLE_COUNT };

static const struct banyan_field movement_fields[] = {
    BANYAN_FIELD_INT(struct shop_movement, movement_id, 0),
    BANYAN_FIELD_INT(struct shop_movement, stock_id, 0),
    BANYAN_FIELD_INT(struct shop_movement, order_id, 0),
    BANYAN_FIELD_STRING(struct shop_movement, kind, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct shop_movement, quantity, 0),
    BANYAN_FIELD_TIME(struct shop_movement, occurred_at, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_record movement_record = {"StockMovement", sizeof(struct shop_movement), movement_fields,
                                                     COMMERCE_COUNT(movement_fields)};

static const char *const movement_order[] = {"occurred_at", "movement_id", NULL};

const struct banyan_legacy_table shop_stock_tables[TABLE_COUNT] = {
    [TABLE_STOCK] = {"stock", &commerce_stock_row, "stock_id", NULL},
    [TABLE_MOVEMENTS] = {"stock_movements", &movement_record, "stock_id", movement_order,
                         .generated_column = "movement_id"},
};

static void receive(struct banyan_emitter *out, const struct stock_row *row, int64_t quantity, struct banyan_time at,
                    const char *reason)
{
    struct stock_received received = {row->stock_id, row->product_id, row->seller_id, row->warehouse_id, quantity, {0}};

    mapping_emit(out, STOCK_RECEIVED, &received, at, reason);
}

/* *row* tells what the stock is of. */
static void move(struct banyan_emitter *out, const struct stock_row *row, const struct shop_movement *movement)
{
    /* The four payloads begin alike. */
    struct stock_released moved = {row->stock_id, movement->order_id, 0, movement->quantity, false};
    struct stock_reserved reserved = {moved.stock_id, moved.order_id, moved.line_id, moved.quantity};
    struct stock_allocated allocated = {moved.stock_id, moved.order_id, moved.line_id, moved.quantity};
    struct stock_shipped shipped = {moved.stock_id, moved.order_id, moved.line_id, moved.quantity};
    struct banyan_time at = time_or(movement->occurred_at, row->updated_at);
    const char *reason = time_is_known(movement->occurred_at) ? NULL : "the movement has no time";

    if (text_is(movement->kind, "receive")) {
        receive(out, row, movement->quantity, at, reason);
    } else if (text_is(movement->kind, "reserve")) {
        mapping_emit(out, STOCK_RESERVED, &reserved, at, reason);
    } else if (text_is(movement->kind, "allocate")) {
        mapping_emit(out, STOCK_ALLOCATED, &allocated, at, reason);
    } else if (text_is(movement->kind, "ship")) {
        mapping_emit(out, STOCK_SHIPPED, &shipped, at, reason);
    } else if (text_is(movement->kind, "release") || text_is(movement->kind, "return")) {
        moved.allocated = text_is(movement->kind, "return");
        mapping_emit(out, STOCK_RELEASED, &moved, at, reason);
    }
}

/* Stock that no receipt speaks of has to come from somewhere, or nothing that follows would be of any product. */
static bool is_received_first(const struct shop_movement *first)
{
    return first != NULL && text_is(first->kind, "receive");
}

void shop_stock_history(const struct banyan_history *rows, struct banyan_emitter *out)
{
    const struct stock_row *row = rows->root;
    const struct shop_movement *first = rows->row_count[TABLE_MOVEMENTS] == 0 ? NULL : rows->rows[TABLE_MOVEMENTS][0];

    if (row == NULL)
        return;
    if (!is_received_first(first)) {
        int64_t missing = row->received;

        for (size_t i = 0; i < rows->row_count[TABLE_MOVEMENTS]; i++) {
            const struct shop_movement *movement = rows->rows[TABLE_MOVEMENTS][i];

            if (text_is(movement->kind, "receive"))
                missing = count_sub(missing, movement->quantity);
        }
        receive(out, row, missing, first == NULL ? row->updated_at : time_or(first->occurred_at, row->updated_at),
                "no receipt of it was recorded");
    }
    for (size_t i = 0; i < rows->row_count[TABLE_MOVEMENTS]; i++)
        move(out, row, rows->rows[TABLE_MOVEMENTS][i]);
}

/* The row that the stock has at the end of the transaction, or had before it. */
static struct stock_row row_of(const struct stock *stock, const struct banyan_change *changes, size_t count)
{
    for (size_t i = count; i-- > 0;)
        if (changes[i].table == TABLE_STOCK && changes[i].new != NULL)
            return *(const struct stock_row *)changes[i].new;
    return stock->row;
}

void shop_stock_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes, size_t count,
                        struct banyan_emitter *out)
{
    const struct stock *stock = state;
    struct stock_row row = row_of(stock, changes, count);
    bool known = exists && stock->exists;

    (void)key; /* it is in the row */
    for (size_t i = 0; i < count; i++) {
        const struct shop_movement *movement = changes[i].new;

        if (changes[i].table != TABLE_MOVEMENTS || changes[i].kind != BANYAN_CHANGE_INSERT)
            continue;
        if (!known && !text_is(movement->kind, "receive"))
            receive(out, &row, 0, movement->occurred_at, "no receipt of it was recorded");
        known = true;
        move(out, &row, movement);
    }
    for (size_t i = 0; i < count && !known; i++)
        if (changes[i].table == TABLE_STOCK && changes[i].kind == BANYAN_CHANGE_INSERT) {
            receive(out, &row, row.received, row.updated_at, "no receipt of it was recorded");
            known = true;
        }
}

bool shop_stock_row(const void *state, void *ret_row)
{
    const struct stock *stock = state;

    if (stock->exists)
        *(struct stock_row *)ret_row = stock->row;
    return stock->exists;
}

void shop_stock_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                          struct banyan_emitter *out)
{
    const struct stock *stock = state;
    struct stock_reconciled reconciled = {.row = stock->row, .fields = BANYAN_STR(""), .removed = legacy == NULL};

    if (legacy == NULL) {
        reconciled.row.stock_id = key;
        mapping_emit_reconciled(out, STOCK_RECONCILED, &reconciled, now, "the legacy table has no such row any more");
        return;
    }
    reconciled.row = *(const struct stock_row *)legacy;
    if (stock->exists) {
        uint64_t columns = banyan_record_diff(&commerce_stock_row, &stock->row, legacy);

        reconciled.fields = mapping_columns(&commerce_stock_row, columns, banyan_emitter_arena(out));
    }
    mapping_emit_reconciled(out, STOCK_RECONCILED, &reconciled,
                            mapping_difference_time(stock->row.updated_at, reconciled.row.updated_at, now), NULL);
}
