/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A payment; an order may have several.
 *
 *     (none) ─Request─▶ requested ─Authorize─▶ authorized ─Capture─▶ captured ─Refund─▶ refunded
 *        └────────────Authorize────────────────▲ │   requested ─Decline─▶ declined
 *                                                └─Void─▶ voided
 *
 * Capture and Refund may be for a part, several times.  Void gives up what is authorized and not captured: with nothing
 * captured the payment is voided, else it stays captured.  Always: amount >= captured + voided, captured >= refunded.
 */
#ifndef COMMERCE_PAYMENT_H
#define COMMERCE_PAYMENT_H

#include "banyan/domain.h"
#include "events.h"

#define PAYMENT_STATUS_REQUESTED "requested"
#define PAYMENT_STATUS_AUTHORIZED "authorized"
#define PAYMENT_STATUS_DECLINED "declined"
#define PAYMENT_STATUS_CAPTURED "captured" /* some or all */
#define PAYMENT_STATUS_REFUNDED "refunded" /* all that was captured */
#define PAYMENT_STATUS_VOIDED "voided"

struct payment {
    struct payment_row row;
    struct banyan_decimal voided;
    struct banyan_str reference; /* optional */
    bool exists;
};

/* Index in the commands of commerce_aggregates[AGGREGATE_PAYMENT]. */
enum payment_command {
    PAYMENT_REQUEST,
    PAYMENT_AUTHORIZE,
    PAYMENT_DECLINE,
    PAYMENT_CAPTURE,
    PAYMENT_REFUND,
    PAYMENT_VOID,
    PAYMENT_COMMAND_COUNT,
};

struct request_payment {
    int64_t order_id;
    int64_t sequence;         /* 0: 1 */
    struct banyan_str method; /* optional */
    int64_t installments;     /* 0: 1 */
    struct banyan_decimal amount;
};

/* Of a payment that was requested, order_id, sequence, method and installments may be 0 and "no value": they stay. */
struct authorize_payment {
    int64_t order_id;
    int64_t sequence;
    struct banyan_str method; /* optional */
    int64_t installments;
    struct banyan_decimal amount; /* "no value": what was requested */
    struct banyan_str reference;  /* optional */
};

struct capture_payment {
    struct banyan_decimal amount; /* "no value": all that is left */
};

struct refund_payment {
    struct banyan_decimal amount; /* "no value": all that is left */
    struct banyan_str reason;     /* optional */
};

/* DeclinePayment, VoidPayment. */
struct payment_end {
    struct banyan_str reason; /* optional */
};

extern const struct banyan_record commerce_payment_state;
extern const struct banyan_command_type commerce_payment_commands[PAYMENT_COMMAND_COUNT];

/* PaymentReconciled that makes *state* stand for *row* (NULL: there is none in legacy), all but its *fields*. */
void payment_reconcile(const struct payment *state, const struct payment_row *row, struct payment_reconciled *ret);

/* See banyan_aggregate. */
void commerce_payment_evolve(void *state, unsigned type, const void *payload, struct banyan_time at);
bool commerce_payment_decide(const void *state, bool exists, const struct banyan_command *command,
                             struct banyan_emitter *out, struct banyan_refusal *ret);

#endif
