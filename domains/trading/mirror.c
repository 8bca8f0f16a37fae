/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way back: the audit rows and trades that the legacy application would have written for an event, with its texts
 * and the event's time, which is also the row's updated_at.  The row of orders itself is the engine's.
 *
 * A reconciled row has no children: the application never said what happened.
 */
#include "events.h"
#include "mapping.h"
#include "order.h"
#include "values.h"

static void audit(struct banyan_mirror *out, const struct banyan_seen *event, struct banyan_str field,
                  struct banyan_str old_value, struct banyan_str new_value)
{
    struct audit_row row = {
        .entity_id = event->key,
        .field_changed = field,
        .old_value = old_value,
        .new_value = new_value,
        .timestamp = event->at,
    };

    banyan_mirror_row(out, TABLE_AUDIT_LOG, NULL, &row);
}

static void trade(struct banyan_mirror *out, const struct banyan_seen *event, struct banyan_decimal quantity,
                  struct banyan_decimal price)
{
    struct trade_row row = {.order_id = event->key, .quantity = quantity, .price = price, .executed_at = event->at};

    banyan_mirror_row(out, TABLE_TRADES, NULL, &row);
}

void trading_mirror(const struct banyan_seen *event, const void *before, const void *after, struct banyan_mirror *out)
{
    char old_text[BANYAN_DECIMAL_TEXT_MAX], new_text[BANYAN_DECIMAL_TEXT_MAX];
    const struct order *order = before;
    const struct order_modified *modified = event->payload;
    const struct order_partially_filled *partially = event->payload;
    const struct order_filled *filled = event->payload;
    size_t old_size, new_size;

    (void)after;
    switch ((enum order_event)event->type) {
    case ORDER_MODIFIED:
        old_size = banyan_decimal_format(modified->old_value, old_text);
        new_size = banyan_decimal_format(modified->new_value, new_text);
        audit(out, event, modified->field, (struct banyan_str){old_text, old_size},
              (struct banyan_str){new_text, new_size});
        break;
    case ORDER_PARTIALLY_FILLED:
        trade(out, event, partially->quantity, partially->price);
        break;
    case ORDER_FILLED:
        trade(out, event, filled->quantity, filled->price);
        break;
    case ORDER_CANCELED:
        audit(out, event, BANYAN_STR("status"), order->row.status, STATUS_CANCELED);
        break;
    case ORDER_CREATED:
    case ORDER_RECONCILED:
    case ORDER_EVENT_COUNT:
        break;
    }
}
