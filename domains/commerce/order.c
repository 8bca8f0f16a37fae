/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fold of an order.  Any event is accepted at any time: the log is not argued with.  What an event says about a
 * time is its `at`; the first confirmation, shipment and delivery count.
 */
#include "order.h"

#define STATE_FIELD(kind, name, flags, scale)                                                                          \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct order, row.name), scale, NULL},

static const struct banyan_field state_fields[] = {
    ORDER_ROW_COLUMNS(STATE_FIELD) BANYAN_FIELD_STRING(struct order, address, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order, postal_code, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order, country, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_LIST_OF(struct order, lines, &commerce_order_line),
    BANYAN_FIELD_BOOL(struct order, exists, 0),
};

const struct banyan_record commerce_order_state = {"OrderState", sizeof(struct order), state_fields,
                                                   COMMERCE_COUNT(state_fields)};

static void place(struct order *order, const struct order_placed *placed)
{
    *order = (struct order){
        .row = {.order_id = placed->order_id,
                .external_id = placed->external_id,
                .customer_id = placed->customer_id,
                .customer = placed->customer,
                .city = placed->city,
                .state = placed->state,
                .status = BANYAN_STR(ORDER_STATUS_CREATED),
                .items_total = placed->items_total,
                .freight_total = placed->freight_total,
                .placed_at = placed->placed_at,
                .approved_at = COMMERCE_NO_TIME,
                .shipped_at = COMMERCE_NO_TIME,
                .delivered_at = COMMERCE_NO_TIME,
                .canceled_at = COMMERCE_NO_TIME,
                .promised_at = placed->promised_at},
        .address = placed->address,
        .postal_code = placed->postal_code,
        .country = placed->country,
        .lines = placed->lines,
        .exists = true,
    };
}

static void move(struct order *order, const struct order_address_changed *changed)
{
    order->row.customer = changed->customer;
    order->row.city = changed->city;
    order->row.state = changed->state;
    order->address = changed->address;
    order->postal_code = changed->postal_code;
    order->country = changed->country;
}

static void step(struct order_row *row, struct banyan_str status, struct banyan_time *ret_at, struct banyan_time at)
{
    row->status = status;
    if (time_is_null(*ret_at))
        *ret_at = at;
}

void commerce_order_evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    struct order *order = state;
    struct order_row *row = &order->row;
    const struct order_lines_changed *changed;
    const struct order_reconciled *reconciled;

    switch ((enum commerce_event)type) {
    case ORDER_PLACED:
        place(order, payload);
        break;
    case ORDER_LINES_CHANGED:
        changed = payload;
        order->lines = changed->lines;
        row->items_total = changed->items_total;
        row->freight_total = changed->freight_total;
        break;
    case ORDER_ADDRESS_CHANGED:
        move(order, payload);
        break;
    case ORDER_CONFIRMED:
        step(row, BANYAN_STR(ORDER_STATUS_APPROVED), &row->approved_at, at);
        break;
    case ORDER_SHIPPED:
        step(row, BANYAN_STR(ORDER_STATUS_SHIPPED), &row->shipped_at, at);
        break;
    case ORDER_COMPLETED:
        step(row, BANYAN_STR(ORDER_STATUS_DELIVERED), &row->delivered_at, at);
        break;
    case ORDER_CANCELED:
        step(row, BANYAN_STR(ORDER_STATUS_CANCELED), &row->canceled_at, at);
        break;
    case ORDER_REJECTED:
        step(row, BANYAN_STR(ORDER_STATUS_REJECTED), &row->canceled_at, at);
        break;
    case ORDER_STATUS_NOTED:
        row->status = ((const struct order_status_noted *)payload)->status;
        break;
    case ORDER_RECONCILED:
        reconciled = payload;
        *row = reconciled->row;
        order->lines = reconciled->lines;
        order->exists = !reconciled->removed;
        return;
    default:
        return;
    }
    row->updated_at = at;
}
