/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payments of the shop.  payment_events tells their past; what happens now is told by the row itself, whose old and new
 * values say all that a payment's event says.
 */
#include "mapping.h"
#include "mapping_shop.h"
#include "payment.h"

enum { TABLE_PAYMENTS, TABLE_EVENTS = SHOP_PAYMENT_EVENTS, TABLE_COUNT = SHOP_PAYMENT_TABLE_COUNT };

static const struct banyan_field event_fields[] = {
    BANYAN_FIELD_INT(struct shop_payment_event, payment_event_id, 0),
    BANYAN_FIELD_INT(struct shop_payment_event, payment_id, 0),
    BANYAN_FIELD_STRING(struct shop_payment_event, kind, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_DECIMAL(struct shop_payment_event, amount, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
    BANYAN_FIELD_TIME(struct shop_payment_event, occurred_at, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_record event_record = {"PaymentEvent", sizeof(struct shop_payment_event), event_fields,
                                                  COMMERCE_COUNT(event_fields)};

static const char *const event_order[] = {"occurred_at", "payment_event_id", NULL};

const struct banyan_legacy_table shop_payment_tables[TABLE_COUNT] = {
    [TABLE_PAYMENTS] = {"payments", &commerce_payment_row, "payment_id", NULL},
    [TABLE_EVENTS] = {"payment_events", &event_record, "payment_id", event_order,
                      .generated_column = "payment_event_id"},
};

/* A payment as it is told so far. */
struct teller {
    struct banyan_emitter *out;
    const struct payment_row *row; /* ids, method and amount */
    struct banyan_decimal captured, refunded;
    bool authorized;
};

/* Again with another amount: the order was modified before it was paid. */
static void tell_requested(struct teller *teller, struct banyan_decimal amount, struct banyan_time at)
{
    const struct payment_row *row = teller->row;
    struct payment_requested requested = {row->payment_id,   row->order_id, row->sequence, text_or_empty(row->method),
                                          row->installments, amount};

    mapping_emit(teller->out, PAYMENT_REQUESTED, &requested, at, NULL);
}

static void tell_authorized(struct teller *teller, struct banyan_decimal amount, struct banyan_time at,
                            const char *reason)
{
    const struct payment_row *row = teller->row;
    struct payment_authorized authorized = {
        row->payment_id, row->order_id, row->sequence, text_or_empty(row->method), row->installments, amount, {0}};

    teller->authorized = true;
    mapping_emit(teller->out, PAYMENT_AUTHORIZED, &authorized, at, reason);
}

static void tell_captured(struct teller *teller, struct banyan_decimal amount, struct banyan_time at,
                          const char *reason)
{
    const struct payment_row *row = teller->row;
    struct payment_captured captured = {row->payment_id, row->order_id, amount, money_add(teller->captured, amount)};

    teller->captured = captured.captured;
    mapping_emit(teller->out, PAYMENT_CAPTURED, &captured, at, reason);
}

static void tell_refunded(struct teller *teller, struct banyan_decimal amount, struct banyan_time at,
                          const char *reason)
{
    const struct payment_row *row = teller->row;
    struct payment_refunded refunded = {row->payment_id, row->order_id, amount, money_add(teller->refunded, amount),
                                        BANYAN_STR("")};

    teller->refunded = refunded.refunded;
    mapping_emit(teller->out, PAYMENT_REFUNDED, &refunded, at, reason);
}

/* Of a payment that was only asked for nothing was held, and nothing is given up. */
static void tell_voided(struct teller *teller, struct banyan_time at, const char *reason)
{
    const struct payment_row *row = teller->row;
    struct payment_voided voided = {row->payment_id, row->order_id,
                                    teller->authorized ? money_sub(row->amount, teller->captured) : money_of(0),
                                    BANYAN_STR("")};

    mapping_emit(teller->out, PAYMENT_VOIDED, &voided, at, reason);
}

static void tell_step(struct teller *teller, const struct mapping_step *step)
{
    const struct shop_payment_event *event = step->row;
    struct banyan_decimal amount = event == NULL ? teller->row->amount : event->amount;
    struct banyan_time at = time_or(step->at, teller->row->updated_at);
    const char *reason = time_is_known(step->at) ? NULL : "its row of payment_events has no time";

    if (!money_is_number(amount))
        return;
    if (text_is(step->name, "requested"))
        tell_requested(teller, amount, at);
    else if (text_is(step->name, "authorized"))
        tell_authorized(teller, amount, at, reason);
    else if (text_is(step->name, "captured"))
        tell_captured(teller, amount, at, reason);
    else if (text_is(step->name, "refunded"))
        tell_refunded(teller, amount, at, reason);
    else if (text_is(step->name, "voided"))
        tell_voided(teller, at, reason);
}

static bool has_step(const struct mapping_step *steps, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (text_is(steps[i].name, name))
            return true;
    return false;
}

/* Everything that *row* and *events* say.  A time in a column stands for an event that payment_events does not have. */
static void tell(const struct payment_row *row, const void *const *events, size_t count, struct banyan_emitter *out)
{
    struct teller teller = {out, row, money_of(0), money_of(0), false};
    struct mapping_step *steps = banyan_arena_alloc(banyan_emitter_arena(out), (count + 2) * sizeof(*steps));
    size_t step_count = 0;

    if (!money_is_number(row->amount))
        return;
    for (size_t i = 0; i < count; i++) {
        const struct shop_payment_event *event = events[i];

        steps[step_count++] = (struct mapping_step){event->kind, event->occurred_at, event};
    }
    if (time_is_known(row->authorized_at) && !has_step(steps, count, "authorized"))
        steps[step_count++] = (struct mapping_step){BANYAN_STR("authorized"), row->authorized_at, NULL};
    if (time_is_known(row->captured_at) && !has_step(steps, count, "captured"))
        steps[step_count++] = (struct mapping_step){BANYAN_STR("captured"), row->captured_at, NULL};
    mapping_sort(steps, step_count);
    if (!has_step(steps, count, "requested"))
        tell_requested(&teller, row->amount, row->created_at);
    for (size_t i = 0; i < step_count; i++)
        tell_step(&teller, &steps[i]);
}

void shop_payment_history(const struct banyan_history *rows, struct banyan_emitter *out)
{
    if (rows->root != NULL)
        tell(rows->root, rows->rows[TABLE_EVENTS], rows->row_count[TABLE_EVENTS], out);
}

/* What an UPDATE says by itself. */
static void update(const struct payment_row *old, const struct payment_row *new, struct banyan_emitter *out)
{
    struct teller teller = {out, new, old->captured, old->refunded, time_is_known(old->authorized_at)};
    __int128 captured = money_units(new->captured) - money_units(old->captured);
    __int128 refunded = money_units(new->refunded) - money_units(old->refunded);

    if (!money_is_number(new->amount) || !money_is_number(new->captured) || !money_is_number(new->refunded))
        return;
    if (text_is(new->status, PAYMENT_STATUS_REQUESTED) && money_units(new->amount) != money_units(old->amount))
        tell_requested(&teller, new->amount, new->updated_at);
    if (time_is_known(new->authorized_at) && new->authorized_at.us != old->authorized_at.us)
        tell_authorized(&teller, new->amount, new->authorized_at, NULL);
    if (captured > 0)
        tell_captured(&teller, money_from_units(captured), time_or(new->captured_at, new->updated_at), NULL);
    if (refunded > 0)
        tell_refunded(&teller, money_from_units(refunded), new->updated_at, NULL);
    if (text_is(new->status, PAYMENT_STATUS_VOIDED) && !text_is(old->status, PAYMENT_STATUS_VOIDED))
        tell_voided(&teller, new->updated_at, NULL);
}

/* The row's last form in the transaction, and the events that came with it: for a payment that was not known before. */
static void insert(const struct banyan_change *changes, size_t count, struct banyan_emitter *out)
{
    const void **events = banyan_arena_alloc(banyan_emitter_arena(out), (count + 1) * sizeof(*events));
    const struct payment_row *row = NULL;
    size_t event_count = 0;

    for (size_t i = 0; i < count; i++)
        if (changes[i].table == TABLE_PAYMENTS)
            row = changes[i].new;
        else if (changes[i].kind == BANYAN_CHANGE_INSERT)
            events[event_count++] = changes[i].new;
    if (row != NULL)
        tell(row, events, event_count, out);
}

void shop_payment_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes,
                          size_t count, struct banyan_emitter *out)
{
    const struct payment *payment = state;

    (void)key; /* it is in the row */
    if (!exists || !payment->exists) {
        insert(changes, count, out);
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (changes[i].table == TABLE_PAYMENTS && changes[i].kind == BANYAN_CHANGE_UPDATE)
            update(changes[i].old, changes[i].new, out);
}

bool shop_payment_row(const void *state, void *ret_row)
{
    const struct payment *payment = state;
    struct payment_row *row = ret_row;

    if (!payment->exists)
        return false;
    *row = payment->row;
    if (text_is(row->status, PAYMENT_STATUS_DECLINED)) /* the shop has no such word */
        row->status = BANYAN_STR(PAYMENT_STATUS_VOIDED);
    return true;
}

void shop_payment_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                            struct banyan_emitter *out)
{
    const struct payment *payment = state;
    struct payment_reconciled reconciled;

    payment_reconcile(payment, legacy, &reconciled);
    if (legacy == NULL) {
        reconciled.row.payment_id = key;
        mapping_emit_reconciled(out, PAYMENT_RECONCILED, &reconciled, now, "the legacy table has no such row any more");
        return;
    }
    if (payment->exists) {
        uint64_t columns = banyan_record_diff(&commerce_payment_row, &payment->row, legacy);

        reconciled.fields = mapping_columns(&commerce_payment_row, columns, banyan_emitter_arena(out));
    }
    mapping_emit_reconciled(out, PAYMENT_RECONCILED, &reconciled,
                            mapping_difference_time(payment->row.updated_at, reconciled.row.updated_at, now), NULL);
}
