/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way back to the shop's tables: what the shop would have written beside the root row for an event, with the
 * event's time.  The root rows are the engine's, rows of payments those of the payments' own events.
 *
 *     order        order_items, order_status_history
 *     payment      payment_events
 *     fulfillment  order_items.shipment_id: the lines come to the shipment
 *     stock        stock_movements
 *
 * A reconciled row has no children: the application never said what happened.  Where the shop has no word for a status
 * it gets the nearest: rejected is canceled, declined is voided, created (a fulfillment without a warehouse) is
 * assigned.
 */
#include "events.h"
#include "fulfillment.h"
#include "mapping_shop.h"
#include "order.h"
#include "payment.h"
#include "stock.h"

/* ---- order ---- */

/* Of a line that no shipment has yet: 0. */
static struct shop_item item_of(int64_t order_id, const struct order_line *line)
{
    return (struct shop_item){
        .item_id = line->line_id,
        .order_id = order_id,
        .product_id = line->product_id,
        .product = line->product,
        .category = line->category,
        .seller_id = line->seller_id,
        .stock_id = line->stock_id,
        .quantity = line->quantity,
        .unit_price = line->unit_price,
        .freight = line->freight,
    };
}

static const struct order_line *find_line(const struct banyan_list *lines, int64_t line_id)
{
    const struct order_line *items = lines->items;

    for (size_t i = 0; i < lines->count; i++)
        if (items[i].line_id == line_id)
            return &items[i];
    return NULL;
}

/* From the lines of *before* to those of *after*. */
static void mirror_lines(int64_t order_id, const struct banyan_list *before, const struct banyan_list *after,
                         struct banyan_mirror *out)
{
    const struct order_line *olds = before->items, *news = after->items;

    for (size_t i = 0; i < before->count; i++) {
        struct shop_item item = item_of(order_id, &olds[i]);

        if (find_line(after, olds[i].line_id) == NULL)
            banyan_mirror_row(out, SHOP_ORDER_ITEMS, &item, NULL);
    }
    for (size_t i = 0; i < after->count; i++) {
        const struct order_line *old = find_line(before, news[i].line_id);
        struct shop_item new_item = item_of(order_id, &news[i]), old_item;

        if (old == NULL) {
            banyan_mirror_row(out, SHOP_ORDER_ITEMS, NULL, &new_item);
            continue;
        }
        old_item = item_of(order_id, old);
        if (banyan_record_diff(&shop_item_record, &old_item, &new_item) != 0)
            banyan_mirror_row(out, SHOP_ORDER_ITEMS, &old_item, &new_item);
    }
}

static void mirror_status(const struct banyan_seen *event, struct banyan_str status, struct banyan_mirror *out)
{
    struct shop_status row = {.order_id = event->key, .status = status, .changed_at = event->at};

    banyan_mirror_row(out, SHOP_ORDER_STATUSES, NULL, &row);
}

void shop_order_mirror(const struct banyan_seen *event, const void *before, const void *after,
                       struct banyan_mirror *out)
{
    static const struct banyan_list none = {NULL, 0};
    const struct order *old = before, *new = after;

    switch ((enum commerce_event)event->type) {
    case ORDER_PLACED:
        mirror_lines(event->key, old->exists ? &old->lines : &none, &new->lines, out);
        mirror_status(event, BANYAN_STR(ORDER_STATUS_CREATED), out);
        break;
    case ORDER_LINES_CHANGED:
        mirror_lines(event->key, &old->lines, &new->lines, out);
        break;
    case ORDER_CONFIRMED:
    case ORDER_SHIPPED:
    case ORDER_COMPLETED:
    case ORDER_CANCELED:
    case ORDER_REJECTED:
    case ORDER_STATUS_NOTED:
        mirror_status(event, shop_order_status(new->row.status), out);
        break;
    default:
        break;
    }
}

/* ---- payment ---- */

static void mirror_payment(const struct banyan_seen *event, const char *kind, struct banyan_decimal amount,
                           struct banyan_mirror *out)
{
    struct shop_payment_event row = {
        .payment_id = event->key, .kind = banyan_str_of(kind), .amount = amount, .occurred_at = event->at};

    banyan_mirror_row(out, SHOP_PAYMENT_EVENTS, NULL, &row);
}

void shop_payment_mirror(const struct banyan_seen *event, const void *before, const void *after,
                         struct banyan_mirror *out)
{
    const struct payment *old = before, *new = after;
    const void *payload = event->payload;

    switch ((enum commerce_event)event->type) {
    case PAYMENT_REQUESTED:
        mirror_payment(event, "requested", new->row.amount, out);
        break;
    case PAYMENT_AUTHORIZED:
        if (!old->exists) /* the shop has no payment that was not asked for */
            mirror_payment(event, "requested", new->row.amount, out);
        mirror_payment(event, "authorized", new->row.amount, out);
        break;
    case PAYMENT_CAPTURED:
        mirror_payment(event, "captured", ((const struct payment_captured *)payload)->amount, out);
        break;
    case PAYMENT_REFUNDED:
        mirror_payment(event, "refunded", ((const struct payment_refunded *)payload)->amount, out);
        break;
    case PAYMENT_VOIDED:
        /* What the shop voids was asked for and no more: it names all of it. */
        mirror_payment(event, "voided",
                       time_is_null(old->row.authorized_at) ? new->row.amount
                                                            : ((const struct payment_voided *)payload)->amount,
                       out);
        break;
    case PAYMENT_DECLINED:
        mirror_payment(event, "voided", new->row.amount, out);
        break;
    default:
        break;
    }
}

/* ---- fulfillment ---- */

void shop_fulfillment_mirror(const struct banyan_seen *event, const void *before, const void *after,
                             struct banyan_mirror *out)
{
    const struct fulfillment *fulfillment = after;
    const struct fulfillment_line *lines = fulfillment->lines.items;

    (void)before;
    if (event->type != FULFILLMENT_CREATED)
        return;
    for (size_t i = 0; i < fulfillment->lines.count; i++) {
        struct shop_item old = {
            .item_id = lines[i].line_id,
            .order_id = fulfillment->row.order_id,
            .product_id = lines[i].product_id,
            .stock_id = lines[i].stock_id,
            .quantity = lines[i].quantity,
        };
        struct shop_item new = old;

        new.shipment_id = event->key;
        banyan_mirror_row(out, SHOP_FULFILLMENT_ITEMS, &old, &new);
    }
}

/* ---- stock ---- */

static void mirror_movement(const struct banyan_seen *event, int64_t order_id, const char *kind, int64_t quantity,
                            struct banyan_mirror *out)
{
    struct shop_movement row = {.stock_id = event->key,
                                .order_id = order_id,
                                .kind = banyan_str_of(kind),
                                .quantity = quantity,
                                .occurred_at = event->at};

    banyan_mirror_row(out, SHOP_STOCK_MOVEMENTS, NULL, &row);
}

void shop_stock_mirror(const struct banyan_seen *event, const void *before, const void *after,
                       struct banyan_mirror *out)
{
    const struct stock_received *received = event->payload;
    const struct stock_reserved *reserved = event->payload;
    const struct stock_allocated *allocated = event->payload;
    const struct stock_released *released = event->payload;
    const struct stock_shipped *shipped = event->payload;

    (void)before, (void)after;
    switch ((enum commerce_event)event->type) {
    case STOCK_RECEIVED:
        mirror_movement(event, 0, "receive", received->quantity, out);
        break;
    case STOCK_RESERVED:
        mirror_movement(event, reserved->order_id, "reserve", reserved->quantity, out);
        break;
    case STOCK_ALLOCATED:
        mirror_movement(event, allocated->order_id, "allocate", allocated->quantity, out);
        break;
    case STOCK_RELEASED:
        mirror_movement(event, released->order_id, released->allocated ? "return" : "release", released->quantity, out);
        break;
    case STOCK_SHIPPED:
        mirror_movement(event, shipped->order_id, "ship", shipped->quantity, out);
        break;
    default:
        break;
    }
}
