/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions on orders.
 *
 *     (none) ──Place──▶ NEW ──Fill──▶ PARTIALLY_FILLED ──Fill──▶ FILLED
 *                        └──Cancel──────────┴──Cancel──▶ CANCELED
 *
 * Invariants
 *   1. Filled never exceeds the quantity, and an order that is filled up is FILLED: a change of quantity that would
 *      leave nothing to fill is refused.
 *   2. FILLED and CANCELED take no command any more.
 *   3. Every amount fits the legacy column numeric(18,8), so that the row can be mirrored.
 *
 * An event's time is when the command was decided, and later than the order's last change, as with the legacy
 * application: greatest(clock_timestamp(), updated_at + interval '1 microsecond').
 */
#include "commands.h"
#include "mapping.h"
#include "order.h"
#include "values.h"

enum {
    SYMBOL_BYTES_MAX = 32, /* as the legacy application has it */
};

/* numeric(18,8): ten digits before the point. */
#define AMOUNT_UNITS_END ((__int128)1000000000000000000)

static const struct banyan_field place_fields[] = {
    BANYAN_FIELD_INT(struct place_order, trader_id, 0),
    BANYAN_FIELD_STRING(struct place_order, symbol, 0),
    BANYAN_FIELD_STRING(struct place_order, side, 0),
    BANYAN_FIELD_DECIMAL(struct place_order, quantity, 0, TRADING_SCALE),
    BANYAN_FIELD_DECIMAL(struct place_order, price, 0, TRADING_SCALE),
};

static const struct banyan_field modify_fields[] = {
    BANYAN_FIELD_DECIMAL(struct modify_order, quantity, BANYAN_FIELD_OPTIONAL, TRADING_SCALE),
    BANYAN_FIELD_DECIMAL(struct modify_order, price, BANYAN_FIELD_OPTIONAL, TRADING_SCALE),
};

static const struct banyan_field fill_fields[] = {
    BANYAN_FIELD_DECIMAL(struct fill_order, quantity, 0, TRADING_SCALE),
    BANYAN_FIELD_DECIMAL(struct fill_order, price, 0, TRADING_SCALE),
};

#define RECORD(name, type, fields)                                                                                     \
    {                                                                                                                  \
        name, sizeof(type), fields, sizeof(fields) / sizeof((fields)[0])                                               \
    }

static const struct banyan_record records[ORDER_COMMAND_COUNT] = {
    [ORDER_PLACE] = RECORD("PlaceOrder", struct place_order, place_fields),
    [ORDER_MODIFY] = RECORD("ModifyOrder", struct modify_order, modify_fields),
    [ORDER_CANCEL] = {"CancelOrder", 0, NULL, 0},
    [ORDER_FILL] = RECORD("FillOrder", struct fill_order, fill_fields),
};

const struct banyan_command_type order_commands[ORDER_COMMAND_COUNT] = {
    [ORDER_PLACE] = {"PlaceOrder", &records[ORDER_PLACE]},
    [ORDER_MODIFY] = {"ModifyOrder", &records[ORDER_MODIFY]},
    [ORDER_CANCEL] = {"CancelOrder", &records[ORDER_CANCEL]},
    [ORDER_FILL] = {"FillOrder", &records[ORDER_FILL]},
};

static bool refuse(struct banyan_refusal *ret, const char *code, const char *text)
{
    *ret = (struct banyan_refusal){code, banyan_str_of(text)};
    return false;
}

static bool is_amount(struct banyan_decimal d)
{
    return value_is_number(d) && d.units > 0 && d.units < AMOUNT_UNITS_END;
}

static bool check_quantity(struct banyan_decimal quantity, struct banyan_refusal *ret)
{
    return is_amount(quantity) ||
           refuse(ret, "quantity-invalid", "the quantity has to be more than 0 and less than 10,000,000,000");
}

static bool check_price(struct banyan_decimal price, struct banyan_refusal *ret)
{
    return is_amount(price) ||
           refuse(ret, "price-invalid", "the price has to be more than 0 and less than 10,000,000,000");
}

/* The key is the order's id: digits, no zero in front. */
static bool parse_id(struct banyan_str key, int64_t *ret)
{
    int64_t id = 0;

    if (key.size == 0 || key.data[0] == '0')
        return false;
    for (size_t i = 0; i < key.size; i++) {
        if (key.data[i] < '0' || key.data[i] > '9' || __builtin_mul_overflow(id, 10, &id) ||
            __builtin_add_overflow(id, key.data[i] - '0', &id))
            return false;
    }
    *ret = id;
    return true;
}

static bool place(bool exists, const struct banyan_command *command, struct banyan_emitter *out,
                  struct banyan_refusal *ret)
{
    const struct place_order *place = command->fields;
    struct order_stamp stamp = {command->now, {BANYAN_TIME_NULL}, NULL};
    struct order_row row = {.trader_id = place->trader_id, .symbol = place->symbol, .side = place->side};

    if (exists)
        return refuse(ret, "order-exists", "an order with this id was placed before");
    if (!parse_id(command->key, &row.order_id))
        return refuse(ret, "order-id-invalid", "the id of an order is a positive number of 64 bits");
    if (place->symbol.size == 0 || place->symbol.size > SYMBOL_BYTES_MAX)
        return refuse(ret, "symbol-invalid", "the symbol of an order has 1 to 32 characters");
    if (!banyan_str_equal(place->side, BANYAN_STR("BUY")) && !banyan_str_equal(place->side, BANYAN_STR("SELL")))
        return refuse(ret, "side-invalid", "the side of an order is BUY or SELL");
    return check_quantity(place->quantity, ret) && check_price(place->price, ret) &&
           emit_created(out, &row, place->quantity, place->price, &stamp);
}

/* An order that can still change. */
static bool check_open(const struct order *order, struct banyan_refusal *ret)
{
    const struct order_row *row = &order->row;

    if (!order->exists)
        return refuse(ret, "order-unknown", "there is no such order");
    if (banyan_str_equal(row->status, STATUS_FILLED))
        return refuse(ret, "order-filled", "the order is filled");
    if (banyan_str_equal(row->status, STATUS_CANCELED))
        return refuse(ret, "order-canceled", "the order is canceled");
    if (!banyan_str_equal(row->status, STATUS_NEW) && !banyan_str_equal(row->status, STATUS_PARTIALLY_FILLED))
        return refuse(ret, "order-status-unknown", "the order has a status that this program does not know");
    if (!value_is_number(row->quantity) || !value_is_number(row->price) || !value_is_number(row->filled_quantity))
        return refuse(ret, "order-incomplete", "the order lacks an amount that a decision needs");
    return true;
}

static struct order_stamp stamp_of(const struct order_row *row, const struct banyan_command *command)
{
    struct order_stamp stamp = {command->now, {BANYAN_TIME_NULL}, NULL};

    if (time_is_known(row->updated_at) && row->updated_at.us >= stamp.at.us)
        stamp.at.us = row->updated_at.us + 1;
    return stamp;
}

static bool modify(const struct order_row *row, const struct banyan_command *command, struct banyan_emitter *out,
                   struct banyan_refusal *ret)
{
    const struct modify_order *modify = command->fields;
    struct order_stamp stamp = stamp_of(row, command);
    bool quantity = !banyan_decimal_is_null(modify->quantity), price = !banyan_decimal_is_null(modify->price);

    if (quantity && !check_quantity(modify->quantity, ret))
        return false;
    if (price && !check_price(modify->price, ret))
        return false;
    if (quantity && modify->quantity.units <= row->filled_quantity.units)
        return refuse(ret, "quantity-filled", "the quantity has to be more than what is filled already");
    if (price && !value_equal(modify->price, row->price)) /* in the order of the application's audit rows */
        emit_modified(out, BANYAN_STR("price"), row->price, modify->price, &stamp);
    if (quantity && !value_equal(modify->quantity, row->quantity))
        emit_modified(out, BANYAN_STR("quantity"), row->quantity, modify->quantity, &stamp);
    return true;
}

static bool fill(const struct order_row *row, const struct banyan_command *command, struct banyan_emitter *out,
                 struct banyan_refusal *ret)
{
    const struct fill_order *fill = command->fields;
    struct order_stamp stamp = stamp_of(row, command);
    struct trade_row trade = {.quantity = fill->quantity, .price = fill->price};
    struct banyan_decimal filled = value_add(row->filled_quantity, fill->quantity);

    if (!check_quantity(fill->quantity, ret) || !check_price(fill->price, ret))
        return false;
    if (!value_is_number(filled) || filled.units > row->quantity.units)
        return refuse(ret, "quantity-exceeded", "more would be filled than the order asks for");
    emit_filled(out, fill_type(filled, row->quantity), &trade, filled, row->quantity, &stamp);
    return true;
}

bool order_decide(const void *state, bool exists, const struct banyan_command *command, struct banyan_emitter *out,
                  struct banyan_refusal *ret)
{
    const struct order *order = state;
    struct order_stamp stamp;

    switch ((enum order_command)command->type) {
    case ORDER_PLACE:
        return place(exists, command, out, ret);
    case ORDER_MODIFY:
        return check_open(order, ret) && modify(&order->row, command, out, ret);
    case ORDER_CANCEL:
        if (!check_open(order, ret))
            return false;
        stamp = stamp_of(&order->row, command);
        emit_canceled(out, order->row.filled_quantity, order->row.quantity, &stamp);
        return true;
    case ORDER_FILL:
        return check_open(order, ret) && fill(&order->row, command, out, ret);
    case ORDER_COMMAND_COUNT:
        break;
    }
    return refuse(ret, "command-unknown", "orders have no such command");
}
