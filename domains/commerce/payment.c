/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fold of a payment.  Any event is accepted at any time.  Totals are added up from what each event says of itself;
 * captured and refunded are the totals that the event names, so that history that is told in part folds right.
 */
#include "payment.h"

#define STATE_FIELD(kind, name, flags, scale)                                                                          \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct payment, row.name), scale, NULL},

static const struct banyan_field state_fields[] = {
    PAYMENT_ROW_COLUMNS(STATE_FIELD)
        BANYAN_FIELD_DECIMAL(struct payment, voided, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
    BANYAN_FIELD_STRING(struct payment, reference, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_BOOL(struct payment, exists, 0),
};

const struct banyan_record commerce_payment_state = {"PaymentState", sizeof(struct payment), state_fields,
                                                     COMMERCE_COUNT(state_fields)};

static void begin(struct payment *payment, struct banyan_time at)
{
    if (payment->exists)
        return;
    payment->exists = true;
    payment->row.captured = money_of(0);
    payment->row.refunded = money_of(0);
    payment->voided = money_of(0);
    if (time_is_null(payment->row.created_at))
        payment->row.created_at = at;
}

static void request(struct payment *payment, const struct payment_requested *requested, struct banyan_time at)
{
    struct payment_row *row = &payment->row;

    begin(payment, at);
    row->payment_id = requested->payment_id;
    row->order_id = requested->order_id;
    row->sequence = requested->sequence;
    row->method = requested->method;
    row->installments = requested->installments;
    row->amount = requested->amount;
    row->status = BANYAN_STR(PAYMENT_STATUS_REQUESTED);
}

static void authorize(struct payment *payment, const struct payment_authorized *authorized, struct banyan_time at)
{
    struct payment_row *row = &payment->row;

    begin(payment, at);
    row->payment_id = authorized->payment_id;
    row->order_id = authorized->order_id;
    row->sequence = authorized->sequence;
    row->method = authorized->method;
    row->installments = authorized->installments;
    row->amount = authorized->amount;
    row->status = BANYAN_STR(PAYMENT_STATUS_AUTHORIZED);
    row->authorized_at = at;
    payment->reference = authorized->reference;
}

static void refund(struct payment_row *row, const struct payment_refunded *refunded)
{
    row->refunded = refunded->refunded;
    if (money_units(row->refunded) >= money_units(row->captured))
        row->status = BANYAN_STR(PAYMENT_STATUS_REFUNDED);
}

static void end_authorization(struct payment *payment, const struct payment_voided *voided)
{
    payment->voided = money_add(payment->voided, voided->amount);
    if (money_units(payment->row.captured) == 0)
        payment->row.status = BANYAN_STR(PAYMENT_STATUS_VOIDED);
}

/* What a payment adds to the sums of its order. */
static struct banyan_decimal authorized_by(const struct payment_row *row, struct banyan_decimal voided)
{
    return time_is_null(row->authorized_at) ? money_of(0) : money_sub(row->amount, voided);
}

void payment_reconcile(const struct payment *state, const struct payment_row *row, struct payment_reconciled *ret)
{
    static const struct payment_row nothing = {.authorized_at = {BANYAN_TIME_NULL}};
    const struct payment_row *before = state->exists ? &state->row : &nothing, *after = row == NULL ? &nothing : row;

    /* A voided payment keeps its amount in the legacy row: what was given up of it stays given up. */
    *ret = (struct payment_reconciled){
        .row = row == NULL ? state->row : *row,
        .fields = BANYAN_STR(""),
        .removed = row == NULL,
        .count_change = !time_is_null(after->authorized_at) - !time_is_null(before->authorized_at),
        .authorized_change = money_sub(authorized_by(after, row == NULL ? money_of(0) : state->voided),
                                       authorized_by(before, state->voided)),
        .captured_change = money_sub(after->captured, before->captured),
        .refunded_change = money_sub(after->refunded, before->refunded),
    };
}

void commerce_payment_evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    struct payment *payment = state;
    struct payment_row *row = &payment->row;
    const struct payment_reconciled *reconciled;

    switch ((enum commerce_event)type) {
    case PAYMENT_REQUESTED:
        request(payment, payload, at);
        break;
    case PAYMENT_AUTHORIZED:
        authorize(payment, payload, at);
        break;
    case PAYMENT_DECLINED:
        row->status = BANYAN_STR(PAYMENT_STATUS_DECLINED);
        break;
    case PAYMENT_CAPTURED:
        row->captured = ((const struct payment_captured *)payload)->captured;
        row->captured_at = at;
        row->status = BANYAN_STR(PAYMENT_STATUS_CAPTURED);
        break;
    case PAYMENT_REFUNDED:
        refund(row, payload);
        break;
    case PAYMENT_VOIDED:
        end_authorization(payment, payload);
        break;
    case PAYMENT_RECONCILED:
        reconciled = payload;
        *row = reconciled->row;
        payment->exists = !reconciled->removed;
        return;
    default:
        return;
    }
    row->updated_at = at;
}
