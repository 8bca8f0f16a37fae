/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fold.  Invariants:
 *
 * 1. Any event is accepted at any time: the log is not argued with.
 * 2. The average fill price follows the legacy application's statement
 *        round((coalesce(avg_fill_price, 0) * filled_quantity + price * quantity) / (filled_quantity + quantity), 8)
 *    digit by digit, as PostgreSQL computes it.
 */
#include "order.h"
#include "commands.h"
#include "events.h"
#include "values.h"

#define STATE_FIELD(kind, name, flags, scale)                                                                          \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct order, row.name), scale, NULL},

static const struct banyan_field state_fields[] = {
    ORDER_COLUMNS(STATE_FIELD) BANYAN_FIELD_BOOL(struct order, exists, 0),
};

static const struct banyan_record state_record = {"OrderState", sizeof(struct order), state_fields,
                                                  sizeof(state_fields) / sizeof(state_fields[0])};

const struct banyan_aggregate order_aggregate = {
    .category = "order",
    .state = &state_record,
    .evolve = order_evolve,
    .version = 1,
    .commands = order_commands,
    .command_count = ORDER_COMMAND_COUNT,
    .decide = order_decide,
};

/* Weight of the leading base-10,000 digit of *units*, of which *fraction* such digits are behind the point. */
static int leading(unsigned __int128 units, int fraction, unsigned *ret_digit)
{
    int count = 0;

    for (*ret_digit = 0; units > 0; units /= 10000, count++)
        *ret_digit = (unsigned)(units % 10000);
    return count - 1 - fraction;
}

/* PostgreSQL divides to a scale of its own choice (numeric.c: at least 16 significant digits, and never less than the
 * operands') and rounds twice.  The first rounding lifts a fraction that is just below one half onto it.  *missing* of
 * *divisor* is how much twice the fraction lacks to one. */
static bool lifted_to_half(unsigned __int128 dividend, unsigned __int128 divisor, unsigned __int128 missing)
{
    unsigned digit1, digit2;
    int weight, places;

    /* The dividend has 16 decimal places, the divisor 8. */
    weight = leading(dividend, 4, &digit1) - leading(divisor, 2, &digit2);
    weight -= digit1 <= digit2;
    places = (weight < 0 ? 16 - 4 * weight : 16) - TRADING_SCALE;
    for (; places > 0 && divisor > 0; places--)
        divisor /= 10;
    return missing <= divisor;
}

/* The average after a fill; "no value" where PostgreSQL would fail or a number is missing. */
static struct banyan_decimal average(struct banyan_decimal before, struct banyan_decimal filled,
                                     struct banyan_decimal quantity, struct banyan_decimal price)
{
    struct banyan_decimal after = value_add(filled, quantity);
    __int128 old_cost, new_cost, cost;
    unsigned __int128 dividend, divisor, result, rest;

    if (banyan_decimal_is_null(before))
        before = banyan_decimal_of(0, TRADING_SCALE);
    if (!value_is_number(before) || !value_is_number(after) || !value_is_number(price) || after.units <= 0 ||
        __builtin_mul_overflow(before.units, filled.units, &old_cost) ||
        __builtin_mul_overflow(price.units, quantity.units, &new_cost) ||
        __builtin_add_overflow(old_cost, new_cost, &cost))
        return banyan_decimal_null();
    dividend = cost < 0 ? -(unsigned __int128)cost : (unsigned __int128)cost;
    divisor = (unsigned __int128)after.units;
    result = dividend / divisor;
    rest = dividend - result * divisor;
    if (rest >= divisor - rest ||
        (divisor - 2 * rest <= divisor / 100000000 && lifted_to_half(dividend, divisor, divisor - 2 * rest)))
        result++;
    if (result >= (unsigned __int128)TRADING_UNITS_END)
        return banyan_decimal_null();
    return (struct banyan_decimal){cost < 0 ? -(__int128)result : (__int128)result, TRADING_SCALE};
}

static void fill(struct order_row *row, struct banyan_decimal quantity, struct banyan_decimal price,
                 struct banyan_decimal filled, struct banyan_str status)
{
    row->avg_fill_price = average(row->avg_fill_price, row->filled_quantity, quantity, price);
    row->filled_quantity = filled;
    row->status = status;
}

static void create(struct order *order, const struct order_created *created, struct banyan_time at)
{
    order->row = (struct order_row){
        .order_id = created->order_id,
        .trader_id = created->trader_id,
        .symbol = created->symbol,
        .side = created->side,
        .quantity = created->quantity,
        .price = created->price,
        .status = STATUS_NEW,
        .filled_quantity = banyan_decimal_of(0, TRADING_SCALE),
        .avg_fill_price = banyan_decimal_null(),
        .created_at = at,
    };
    order->exists = true;
}

/* The row was touched by an event at *at* that says *updated_at*. */
static void touch(struct order_row *row, struct banyan_time updated_at, struct banyan_time at)
{
    row->updated_at = updated_at.us == BANYAN_TIME_NULL ? at : updated_at;
}

void order_evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    struct order *order = state;
    const struct order_modified *modified;
    const struct order_partially_filled *partially;
    const struct order_filled *filled;
    const struct order_reconciled *reconciled;

    switch ((enum order_event)type) {
    case ORDER_CREATED:
        create(order, payload, at);
        touch(&order->row, ((const struct order_created *)payload)->updated_at, at);
        break;
    case ORDER_MODIFIED:
        modified = payload;
        if (banyan_str_equal(modified->field, BANYAN_STR("price")))
            order->row.price = modified->new_value;
        else if (banyan_str_equal(modified->field, BANYAN_STR("quantity")))
            order->row.quantity = modified->new_value;
        touch(&order->row, modified->updated_at, at);
        break;
    case ORDER_PARTIALLY_FILLED:
        partially = payload;
        fill(&order->row, partially->quantity, partially->price, partially->filled, STATUS_PARTIALLY_FILLED);
        touch(&order->row, partially->updated_at, at);
        break;
    case ORDER_FILLED:
        filled = payload;
        fill(&order->row, filled->quantity, filled->price, filled->filled, STATUS_FILLED);
        touch(&order->row, filled->updated_at, at);
        break;
    case ORDER_CANCELED:
        order->row.status = STATUS_CANCELED;
        touch(&order->row, ((const struct order_canceled *)payload)->updated_at, at);
        break;
    case ORDER_RECONCILED:
        reconciled = payload;
        order->row = reconciled->row;
        order->exists = !reconciled->removed;
        break;
    case ORDER_EVENT_COUNT:
        break;
    }
}
