/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read model order_status: an order with what was paid for it and how much of it is on its way.
 *
 * Events of payments and fulfillments may come before those of their order (history is read table by table): the row
 * begins with the first event of any of them.
 */
#include "events.h"
#include "fulfillment.h"
#include "read_models.h"

#define ROW_FIELD(kind, name, flags, scale)                                                                            \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct order_status_row, order.name), scale, NULL},

static const struct banyan_field fields[] = {
    ORDER_ROW_COLUMNS(ROW_FIELD) BANYAN_FIELD_INT(struct order_status_row, lines, 0),
    BANYAN_FIELD_INT(struct order_status_row, units, 0),
    BANYAN_FIELD_INT(struct order_status_row, payments, 0),
    BANYAN_FIELD_DECIMAL(struct order_status_row, authorized, 0, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_status_row, captured, 0, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_status_row, refunded, 0, COMMERCE_SCALE),
    BANYAN_FIELD_INT(struct order_status_row, shipments, 0),
    BANYAN_FIELD_INT(struct order_status_row, shipments_shipped, 0),
    BANYAN_FIELD_INT(struct order_status_row, shipments_delivered, 0),
    BANYAN_FIELD_INT(struct order_status_row, shipments_canceled, 0),
    BANYAN_FIELD_TIME(struct order_status_row, first_shipped_at, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct order_status_row, last_delivered_at, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_record record = {"OrderStatus", sizeof(struct order_status_row), fields,
                                            COMMERCE_COUNT(fields)};

static const struct banyan_view_index indexes[] = {
    {"by_customer", "customer_id", "placed_at"},
    {"by_status", "status", "placed_at"},
};

const struct banyan_table commerce_order_status_tables[1] = {
    {"order_status", &record, "order_id", indexes, COMMERCE_COUNT(indexes), NULL},
};

static void count_lines(struct order_status_row *row, const struct banyan_list *lines)
{
    row->lines = (int64_t)lines->count;
    row->units = 0;
    for (size_t i = 0; i < lines->count; i++)
        row->units = count_add(row->units, ((const struct order_line *)lines->items)[i].quantity);
}

static void apply_payment(struct order_status_row *row, const struct banyan_seen *event)
{
    const struct payment_reconciled *reconciled = event->payload;

    switch ((enum commerce_event)event->type) {
    case PAYMENT_AUTHORIZED:
        row->payments = count_add(row->payments, 1);
        row->authorized = money_add(row->authorized, ((const struct payment_authorized *)event->payload)->amount);
        break;
    case PAYMENT_CAPTURED:
        row->captured = money_add(row->captured, ((const struct payment_captured *)event->payload)->amount);
        break;
    case PAYMENT_REFUNDED:
        row->refunded = money_add(row->refunded, ((const struct payment_refunded *)event->payload)->amount);
        break;
    case PAYMENT_VOIDED:
        row->authorized = money_sub(row->authorized, ((const struct payment_voided *)event->payload)->amount);
        break;
    case PAYMENT_RECONCILED:
        row->payments = count_add(row->payments, reconciled->count_change);
        row->authorized = money_add(row->authorized, reconciled->authorized_change);
        row->captured = money_add(row->captured, reconciled->captured_change);
        row->refunded = money_add(row->refunded, reconciled->refunded_change);
        break;
    default:
        break;
    }
}

/* A shipment counts, or does not count any more, among those of a status. */
static void count_shipment(struct order_status_row *row, struct banyan_str status, int64_t by)
{
    bool delivered = text_is(status, FULFILLMENT_STATUS_DELIVERED);

    row->shipments = count_add(row->shipments, by);
    if (delivered || text_is(status, FULFILLMENT_STATUS_SHIPPED))
        row->shipments_shipped = count_add(row->shipments_shipped, by);
    if (delivered)
        row->shipments_delivered = count_add(row->shipments_delivered, by);
    if (text_is(status, FULFILLMENT_STATUS_CANCELED))
        row->shipments_canceled = count_add(row->shipments_canceled, by);
}

static void ship(struct order_status_row *row, struct banyan_time at)
{
    if (!time_is_null(at) && (time_is_null(row->first_shipped_at) || at.us < row->first_shipped_at.us))
        row->first_shipped_at = at;
}

/* "No value" is the smallest time. */
static void deliver(struct order_status_row *row, struct banyan_time at)
{
    if (at.us > row->last_delivered_at.us)
        row->last_delivered_at = at;
}

static void apply_fulfillment(struct order_status_row *row, const struct banyan_seen *event)
{
    const struct fulfillment_reconciled *reconciled = event->payload;

    switch ((enum commerce_event)event->type) {
    case FULFILLMENT_CREATED:
        row->shipments = count_add(row->shipments, 1);
        break;
    case FULFILLMENT_SHIPPED:
        row->shipments_shipped = count_add(row->shipments_shipped, 1);
        ship(row, event->at);
        break;
    case FULFILLMENT_DELIVERED:
        row->shipments_delivered = count_add(row->shipments_delivered, 1);
        deliver(row, event->at);
        break;
    case FULFILLMENT_CANCELED:
        row->shipments_canceled = count_add(row->shipments_canceled, 1);
        break;
    case FULFILLMENT_RECONCILED:
        if (reconciled->status_before.size > 0)
            count_shipment(row, reconciled->status_before, -1);
        if (!reconciled->removed) {
            count_shipment(row, text_or_empty(reconciled->row.status), 1);
            ship(row, reconciled->row.shipped_at);
            deliver(row, reconciled->row.delivered_at);
        }
        break;
    default:
        break;
    }
}

void commerce_order_status_apply(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct order_status_row *before = banyan_unit_get(unit, 0, event->key);
    struct order_status_row row;
    const struct banyan_list *lines = commerce_lines_of(event);
    bool exists = true;

    banyan_record_init(&record, &row);
    if (before != NULL)
        row = *before;
    else
        row.authorized = row.captured = row.refunded = money_of(0);
    if (event->type <= ORDER_RECONCILED)
        exists = commerce_fold_order(&row.order, event);
    if (lines != NULL)
        count_lines(&row, lines);
    apply_payment(&row, event);
    apply_fulfillment(&row, event);
    row.order.order_id = event->key;
    if (exists)
        banyan_unit_put(unit, 0, event->key, &row);
    else if (before != NULL)
        banyan_unit_delete(unit, 0, event->key);
}
