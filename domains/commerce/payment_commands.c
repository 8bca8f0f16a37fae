/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions on payments; payment.h has the drawing.
 *
 * Invariants
 *   1. amount >= captured + voided, captured >= refunded, exactly, and none below 0.
 *   2. declined and voided take no money any more.
 *   3. What has happened already gives no event: a command may be repeated.  "All that is left" of nothing is nothing.
 */
#include "payment.h"

static const struct banyan_field request_fields[] = {
    BANYAN_FIELD_INT(struct request_payment, order_id, 0),
    BANYAN_FIELD_INT(struct request_payment, sequence, 0),
    BANYAN_FIELD_STRING(struct request_payment, method, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct request_payment, installments, 0),
    BANYAN_FIELD_DECIMAL(struct request_payment, amount, 0, COMMERCE_SCALE),
};

static const struct banyan_field authorize_fields[] = {
    BANYAN_FIELD_INT(struct authorize_payment, order_id, 0),
    BANYAN_FIELD_INT(struct authorize_payment, sequence, 0),
    BANYAN_FIELD_STRING(struct authorize_payment, method, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct authorize_payment, installments, 0),
    BANYAN_FIELD_DECIMAL(struct authorize_payment, amount, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
    BANYAN_FIELD_STRING(struct authorize_payment, reference, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field capture_fields[] = {
    BANYAN_FIELD_DECIMAL(struct capture_payment, amount, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
};

static const struct banyan_field refund_fields[] = {
    BANYAN_FIELD_DECIMAL(struct refund_payment, amount, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
    BANYAN_FIELD_STRING(struct refund_payment, reason, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field end_fields[] = {
    BANYAN_FIELD_STRING(struct payment_end, reason, BANYAN_FIELD_OPTIONAL),
};

#define RECORD(name, type, fields)                                                                                     \
    {                                                                                                                  \
        name, sizeof(type), fields, COMMERCE_COUNT(fields)                                                             \
    }

static const struct banyan_record records[PAYMENT_COMMAND_COUNT] = {
    [PAYMENT_REQUEST] = RECORD("RequestPayment", struct request_payment, request_fields),
    [PAYMENT_AUTHORIZE] = RECORD("AuthorizePayment", struct authorize_payment, authorize_fields),
    [PAYMENT_DECLINE] = RECORD("DeclinePayment", struct payment_end, end_fields),
    [PAYMENT_CAPTURE] = RECORD("CapturePayment", struct capture_payment, capture_fields),
    [PAYMENT_REFUND] = RECORD("RefundPayment", struct refund_payment, refund_fields),
    [PAYMENT_VOID] = RECORD("VoidPayment", struct payment_end, end_fields),
};

const struct banyan_command_type commerce_payment_commands[PAYMENT_COMMAND_COUNT] = {
    [PAYMENT_REQUEST] = {"RequestPayment", &records[PAYMENT_REQUEST]},
    [PAYMENT_AUTHORIZE] = {"AuthorizePayment", &records[PAYMENT_AUTHORIZE]},
    [PAYMENT_DECLINE] = {"DeclinePayment", &records[PAYMENT_DECLINE]},
    [PAYMENT_CAPTURE] = {"CapturePayment", &records[PAYMENT_CAPTURE]},
    [PAYMENT_REFUND] = {"RefundPayment", &records[PAYMENT_REFUND]},
    [PAYMENT_VOID] = {"VoidPayment", &records[PAYMENT_VOID]},
};

static bool in(const struct payment *payment, const char *status)
{
    return payment->exists && text_is(payment->row.status, status);
}

/* The payment is in a status that does not allow the command. */
static bool refuse_status(const struct payment *payment, struct banyan_refusal *ret)
{
    static const struct {
        const char *status, *code, *text;
    } refusals[] = {
        {PAYMENT_STATUS_REQUESTED, "payment-not-authorized", "the payment is not authorized yet"},
        {PAYMENT_STATUS_AUTHORIZED, "payment-authorized", "the payment is authorized, and nothing is captured yet"},
        {PAYMENT_STATUS_DECLINED, "payment-declined", "the payment was declined"},
        {PAYMENT_STATUS_CAPTURED, "payment-captured", "the payment is captured already"},
        {PAYMENT_STATUS_REFUNDED, "payment-refunded", "the payment is refunded already"},
        {PAYMENT_STATUS_VOIDED, "payment-voided", "the payment was voided"},
    };

    if (!payment->exists)
        return commerce_refuse(ret, "payment-unknown", "there is no such payment");
    for (size_t i = 0; i < COMMERCE_COUNT(refusals); i++) {
        if (in(payment, refusals[i].status))
            return commerce_refuse(ret, refusals[i].code, refusals[i].text);
    }
    return commerce_refuse(ret, "payment-status-unknown", "the payment has a status that this program does not know");
}

static bool check_amount(struct banyan_decimal amount, struct banyan_refusal *ret)
{
    return money_is_amount(amount) ||
           commerce_refuse(ret, "amount-invalid", "the amount has to be more than 0 and less than 10,000,000,000");
}

/* Authorized, and neither captured nor given up. */
static struct banyan_decimal open_amount(const struct payment *payment)
{
    return money_sub(money_sub(payment->row.amount, payment->row.captured), payment->voided);
}

/* The amount of a command that may leave it out: then all that is left. */
static bool take_amount(struct banyan_decimal asked, struct banyan_decimal left, const char *exceeded,
                        struct banyan_decimal *ret_amount, struct banyan_refusal *ret)
{
    if (banyan_decimal_is_null(asked)) {
        *ret_amount = left;
        return true;
    }
    if (!check_amount(asked, ret))
        return false;
    if (money_units(asked) > money_units(left))
        return commerce_refuse(ret, "amount-exceeded", exceeded);
    *ret_amount = asked;
    return true;
}

static bool request(const struct payment *payment, bool exists, const struct banyan_command *command,
                    struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct request_payment *request = command->fields;
    struct payment_requested requested = {
        .order_id = request->order_id,
        .sequence = request->sequence == 0 ? 1 : request->sequence,
        .method = text_or_empty(request->method),
        .installments = request->installments == 0 ? 1 : request->installments,
        .amount = request->amount,
    };

    if (payment->exists && payment->row.order_id == request->order_id &&
        banyan_decimal_compare(payment->row.amount, request->amount) == 0)
        return true;
    if (exists)
        return commerce_refuse(ret, "payment-exists", "another payment with this id was requested before");
    if (!commerce_parse_key(command->key, &requested.payment_id))
        return commerce_refuse(ret, "payment-id-invalid", "the id of a payment is a positive number of 64 bits");
    if (request->order_id <= 0)
        return commerce_refuse(ret, "order-id-invalid", "a payment belongs to an order");
    if (!check_amount(request->amount, ret))
        return false;
    commerce_emit(out, command, PAYMENT_REQUESTED, &requested);
    return true;
}

static bool authorize(const struct payment *payment, bool exists, const struct banyan_command *command,
                      struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct authorize_payment *asked = command->fields;
    const struct payment_row *row = &payment->row;
    bool stays = banyan_decimal_is_null(asked->amount) && payment->exists;
    struct payment_authorized authorized = {
        .order_id = asked->order_id == 0 ? row->order_id : asked->order_id,
        .sequence = asked->sequence != 0 ? asked->sequence : (row->sequence == 0 ? 1 : row->sequence),
        .method = text_or_empty(asked->method.data == NULL ? row->method : asked->method),
        .installments =
            asked->installments != 0 ? asked->installments : (row->installments == 0 ? 1 : row->installments),
        .amount = stays ? row->amount : asked->amount,
        .reference = asked->reference,
    };

    if (payment->exists && authorized.order_id != row->order_id)
        return commerce_refuse(ret, "payment-exists", "the payment with this id is of another order");
    if (in(payment, PAYMENT_STATUS_AUTHORIZED) && banyan_decimal_compare(authorized.amount, row->amount) == 0)
        return true;
    if (exists && !in(payment, PAYMENT_STATUS_REQUESTED))
        return refuse_status(payment, ret);
    if (!commerce_parse_key(command->key, &authorized.payment_id))
        return commerce_refuse(ret, "payment-id-invalid", "the id of a payment is a positive number of 64 bits");
    if (authorized.order_id <= 0)
        return commerce_refuse(ret, "order-id-invalid", "a payment belongs to an order");
    if (!check_amount(authorized.amount, ret))
        return false;
    commerce_emit(out, command, PAYMENT_AUTHORIZED, &authorized);
    return true;
}

static bool decline(const struct payment *payment, const struct banyan_command *command, struct banyan_emitter *out,
                    struct banyan_refusal *ret)
{
    struct payment_declined declined = {payment->row.payment_id, payment->row.order_id,
                                        text_or_empty(((const struct payment_end *)command->fields)->reason)};

    if (in(payment, PAYMENT_STATUS_DECLINED))
        return true;
    if (!in(payment, PAYMENT_STATUS_REQUESTED))
        return refuse_status(payment, ret);
    commerce_emit(out, command, PAYMENT_DECLINED, &declined);
    return true;
}

static bool capture(const struct payment *payment, const struct banyan_command *command, struct banyan_emitter *out,
                    struct banyan_refusal *ret)
{
    const struct payment_row *row = &payment->row;
    struct payment_captured captured = {row->payment_id, row->order_id, money_of(0), row->captured};

    if (!in(payment, PAYMENT_STATUS_AUTHORIZED) && !in(payment, PAYMENT_STATUS_CAPTURED))
        return refuse_status(payment, ret);
    if (!take_amount(((const struct capture_payment *)command->fields)->amount, open_amount(payment),
                     "more would be captured than is authorized", &captured.amount, ret))
        return false;
    if (money_units(captured.amount) <= 0)
        return true;
    captured.captured = money_add(row->captured, captured.amount);
    commerce_emit(out, command, PAYMENT_CAPTURED, &captured);
    return true;
}

static bool refund(const struct payment *payment, const struct banyan_command *command, struct banyan_emitter *out,
                   struct banyan_refusal *ret)
{
    const struct refund_payment *refund = command->fields;
    const struct payment_row *row = &payment->row;
    struct payment_refunded refunded = {row->payment_id, row->order_id, money_of(0), row->refunded,
                                        text_or_empty(refund->reason)};

    if (!in(payment, PAYMENT_STATUS_CAPTURED) && !in(payment, PAYMENT_STATUS_REFUNDED))
        return refuse_status(payment, ret);
    if (!take_amount(refund->amount, money_sub(row->captured, row->refunded),
                     "more would be refunded than was captured", &refunded.amount, ret))
        return false;
    if (money_units(refunded.amount) <= 0)
        return true;
    refunded.refunded = money_add(row->refunded, refunded.amount);
    commerce_emit(out, command, PAYMENT_REFUNDED, &refunded);
    return true;
}

static bool give_up(const struct payment *payment, const struct banyan_command *command, struct banyan_emitter *out,
                    struct banyan_refusal *ret)
{
    struct payment_voided voided = {payment->row.payment_id, payment->row.order_id, open_amount(payment),
                                    text_or_empty(((const struct payment_end *)command->fields)->reason)};

    if (in(payment, PAYMENT_STATUS_REQUESTED))
        voided.amount = money_of(0); /* nothing was held */
    else if (in(payment, PAYMENT_STATUS_VOIDED))
        return true;
    else if (!in(payment, PAYMENT_STATUS_AUTHORIZED) && !in(payment, PAYMENT_STATUS_CAPTURED) &&
             !in(payment, PAYMENT_STATUS_REFUNDED))
        return refuse_status(payment, ret);
    else if (money_units(voided.amount) <= 0)
        return money_units(payment->voided) > 0 || refuse_status(payment, ret);
    commerce_emit(out, command, PAYMENT_VOIDED, &voided);
    return true;
}

bool commerce_payment_decide(const void *state, bool exists, const struct banyan_command *command,
                             struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct payment *payment = state;

    switch ((enum payment_command)command->type) {
    case PAYMENT_REQUEST:
        return request(payment, exists, command, out, ret);
    case PAYMENT_AUTHORIZE:
        return authorize(payment, exists, command, out, ret);
    case PAYMENT_DECLINE:
        return decline(payment, command, out, ret);
    case PAYMENT_CAPTURE:
        return capture(payment, command, out, ret);
    case PAYMENT_REFUND:
        return refund(payment, command, out, ret);
    case PAYMENT_VOID:
        return give_up(payment, command, out, ret);
    case PAYMENT_COMMAND_COUNT:
        break;
    }
    return commerce_refuse(ret, "command-unknown", "payments have no such command");
}
