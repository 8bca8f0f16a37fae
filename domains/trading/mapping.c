/* SPDX-License-Identifier: Apache-2.0 */
/* What history.c and changes.c share: making events, reading audit rows; and the two ends of the proof. */
#include <string.h>

#include "mapping.h"
#include "order.h"
#include "values.h"

/* ---- making events ---- */

static void emit(struct banyan_emitter *out, enum order_event type, const void *payload,
                 const struct order_stamp *stamp)
{
    struct banyan_emit event = {
        .type = type,
        .payload = payload,
        .at = stamp->at,
        .provenance = stamp->reason == NULL ? BANYAN_EXACT : BANYAN_INFERRED,
        .reason = stamp->reason,
    };

    banyan_emit(out, &event);
}

bool emit_created(struct banyan_emitter *out, const struct order_row *row, struct banyan_decimal quantity,
                  struct banyan_decimal price, const struct order_stamp *stamp)
{
    struct order_created created = {row->order_id, row->trader_id, row->symbol,      row->side,
                                    quantity,      price,          stamp->updated_at};

    if (row->symbol.data == NULL || row->side.data == NULL || !value_is_number(quantity) || !value_is_number(price))
        return false;
    emit(out, ORDER_CREATED, &created, stamp);
    return true;
}

void emit_modified(struct banyan_emitter *out, struct banyan_str field, struct banyan_decimal old_value,
                   struct banyan_decimal new_value, const struct order_stamp *stamp)
{
    struct order_modified modified = {field, old_value, new_value, stamp->updated_at};

    if (value_is_number(old_value) && value_is_number(new_value))
        emit(out, ORDER_MODIFIED, &modified, stamp);
}

void emit_filled(struct banyan_emitter *out, enum order_event type, const struct trade_row *trade,
                 struct banyan_decimal filled, struct banyan_decimal quantity, const struct order_stamp *stamp)
{
    struct order_partially_filled partially = {trade->quantity, trade->price, filled, value_sub(quantity, filled),
                                               stamp->updated_at};
    struct order_filled whole = {trade->quantity, trade->price, filled, stamp->updated_at};

    if (!value_is_number(filled))
        return;
    if (type == ORDER_FILLED)
        emit(out, ORDER_FILLED, &whole, stamp);
    else if (value_is_number(partially.remaining))
        emit(out, ORDER_PARTIALLY_FILLED, &partially, stamp);
}

void emit_canceled(struct banyan_emitter *out, struct banyan_decimal filled, struct banyan_decimal quantity,
                   const struct order_stamp *stamp)
{
    struct order_canceled canceled = {value_sub(quantity, filled), stamp->updated_at};

    if (value_is_number(canceled.remaining))
        emit(out, ORDER_CANCELED, &canceled, stamp);
}

/* ---- reading the children ---- */

struct audit_change audit_read(const struct audit_row *row)
{
    struct audit_change change = {AUDIT_NOTHING, banyan_decimal_null(), banyan_decimal_null()};

    if (banyan_str_equal(row->field_changed, BANYAN_STR("price"))) {
        change.meaning = AUDIT_PRICE;
    } else if (banyan_str_equal(row->field_changed, BANYAN_STR("quantity"))) {
        change.meaning = AUDIT_QUANTITY;
    } else {
        if (banyan_str_equal(row->field_changed, BANYAN_STR("status")) &&
            banyan_str_equal(row->new_value, STATUS_CANCELED))
            change.meaning = AUDIT_CANCELED;
        return change;
    }
    if (!value_parse(row->new_value, &change.new_value))
        change.meaning = AUDIT_NOTHING;
    else if (!value_parse(row->old_value, &change.old_value))
        change.old_value = banyan_decimal_null();
    return change;
}

bool trade_counts(const struct trade_row *trade)
{
    return value_is_number(trade->quantity) && trade->quantity.units > 0 && value_is_number(trade->price);
}

enum order_event fill_type(struct banyan_decimal filled, struct banyan_decimal quantity)
{
    return value_is_number(quantity) && filled.units < quantity.units ? ORDER_PARTIALLY_FILLED : ORDER_FILLED;
}

/* ---- the proof ---- */

bool trading_row(const void *state, void *ret_row)
{
    const struct order *order = state;

    if (!order->exists)
        return false;
    *(struct order_row *)ret_row = order->row;
    return true;
}

/* The names of *columns*, comma-separated. */
static struct banyan_str column_names(uint64_t columns, struct banyan_arena *arena)
{
    char *text = banyan_arena_alloc(arena, BANYAN_FIELDS_MAX * 16), *at = text;

    for (size_t i = 0; i < order_row_record.field_count; i++) {
        const char *name = order_row_record.fields[i].name;

        if ((columns >> i & 1) == 0)
            continue;
        if (at != text)
            *at++ = ',';
        at = stpcpy(at, name);
    }
    return (struct banyan_str){text, (size_t)(at - text)};
}

static uint64_t column_bit(const char *name)
{
    const struct banyan_field *field = banyan_record_field(&order_row_record, banyan_str_of(name));

    return UINT64_C(1) << (field - order_row_record.fields);
}

void trading_reconcile(const void *state, int64_t key, const void *row, struct banyan_time now,
                       struct banyan_emitter *out)
{
    const struct order *order = state;
    struct order_reconciled reconciled = {.row = order->row, .fields = BANYAN_STR("")};
    struct banyan_emit event = {
        .type = ORDER_RECONCILED, .payload = &reconciled, .at = now, .provenance = BANYAN_RECONCILED};
    uint64_t columns;

    if (row == NULL) {
        reconciled.removed = true;
        reconciled.row.order_id = key;
        event.reason = "the legacy table has no such row any more";
        banyan_emit(out, &event);
        return;
    }
    reconciled.row = *(const struct order_row *)row;
    if (!order->exists) {
        event.reason = "no recorded change explains this row";
        banyan_emit(out, &event);
        return;
    }
    columns = banyan_record_diff(&order_row_record, &order->row, row);
    reconciled.fields = column_names(columns, banyan_emitter_arena(out));
    if ((columns & column_bit("updated_at")) != 0 && time_is_known(reconciled.row.updated_at))
        event.at = reconciled.row.updated_at;
    event.reason = columns == column_bit("updated_at") ? "no audit row explains updated_at"
                                                       : "no recorded change explains these columns";
    banyan_emit(out, &event);
}
