/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkout's reactions; checkout.h has the drawing.
 *
 * Invariants
 *   1. Each reaction is one append: what the process says that it holds, and the events of stock, payments and
 *      fulfillments that hold it, are there together or not at all.
 *   2. What is held for a line is in the state's line, so that compensation gives back that, and no more.
 *   3. An event whose effect is already in the state changes nothing.
 *
 * A reaction works on a copy of the state with room for its lists; it is too large to be on the heap of a pure
 * function, so it is on the stack (some 80 KB).
 */
#include "checkout.h"

#include <inttypes.h>
#include <stdio.h>

#include "commerce.h"
#include "fulfillment.h"
#include "order.h"
#include "payment.h"
#include "stock.h"

struct work {
    struct banyan_reaction *out;
    struct banyan_time now;
    struct checkout checkout; /* its lists are the arrays below */
    struct checkout_line lines[CHECKOUT_LINES_MAX];
    struct checkout_payment payments[CHECKOUT_PAYMENTS_MAX];
    struct checkout_fulfillment fulfillments[CHECKOUT_LINES_MAX];
};

/* ---- keys ---- */

enum {
    KEY_TEXT_MAX = 24,
};

static struct banyan_str key_text(int64_t key, char text[KEY_TEXT_MAX])
{
    return (struct banyan_str){text, (size_t)snprintf(text, KEY_TEXT_MAX, "%" PRId64, key)};
}

int64_t checkout_payment_id(int64_t order_id)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "checkout-%" PRId64 "/payment", order_id);

    return banyan_key_of_text((struct banyan_str){text, (size_t)size});
}

int64_t checkout_fulfillment_id(int64_t order_id, int64_t number)
{
    char text[96];
    int size = snprintf(text, sizeof(text), "checkout-%" PRId64 "/fulfillment/%" PRId64, order_id, number);

    return banyan_key_of_text((struct banyan_str){text, (size_t)size});
}

/* ---- commands ---- */

static bool send(struct work *work, enum commerce_aggregate aggregate, int64_t key, unsigned type, const void *fields,
                 struct banyan_refusal *ret)
{
    char text[KEY_TEXT_MAX];
    struct banyan_process_command command = {
        .category = commerce_aggregates[aggregate].category,
        .key = key_text(key, text),
        .type = type,
        .fields = fields,
    };
    struct banyan_refusal refusal = {NULL, {NULL, 0}};
    bool accepted = banyan_react_command(work->out, &command, &refusal);

    if (!accepted && ret != NULL)
        *ret = refusal;
    return accepted;
}

static const void *state_of(struct work *work, enum commerce_aggregate aggregate, int64_t key)
{
    char text[KEY_TEXT_MAX];

    return banyan_react_state(work->out, commerce_aggregates[aggregate].category, key_text(key, text));
}

static bool reserve(struct work *work, const struct checkout_line *line, int64_t quantity, struct banyan_refusal *ret)
{
    struct move_stock move = {work->checkout.order_id, line->line_id, quantity};

    return send(work, AGGREGATE_STOCK, line->stock_id, STOCK_RESERVE, &move, ret);
}

/* A refusal would mean that somebody else gave back what the process holds: then there is nothing to give back. */
static void release(struct work *work, const struct checkout_line *line, int64_t quantity)
{
    struct release_stock release = {work->checkout.order_id, line->line_id, quantity,
                                    text_is(line->held, CHECKOUT_HELD_ALLOCATED)};

    if (!text_is(line->held, CHECKOUT_HELD_NOTHING) && !text_is(line->held, CHECKOUT_HELD_SHIPPED))
        (void)send(work, AGGREGATE_STOCK, line->stock_id, STOCK_RELEASE, &release, NULL);
}

static void release_line(struct work *work, struct checkout_line *line)
{
    release(work, line, line->quantity);
    if (!text_is(line->held, CHECKOUT_HELD_SHIPPED))
        line->held = BANYAN_STR(CHECKOUT_HELD_NOTHING);
}

static void ship_line(struct work *work, struct checkout_line *line)
{
    struct move_stock move = {work->checkout.order_id, line->line_id, line->quantity};

    if (!text_is(line->held, CHECKOUT_HELD_ALLOCATED))
        return;
    (void)send(work, AGGREGATE_STOCK, line->stock_id, STOCK_SHIP, &move, NULL);
    line->held = BANYAN_STR(CHECKOUT_HELD_SHIPPED);
}

/* ---- the copy ---- */

static void load(struct work *work, const struct checkout *state)
{
    struct checkout *checkout = &work->checkout;

    *checkout = *state;
    for (size_t i = 0; i < checkout->lines.count; i++)
        work->lines[i] = ((const struct checkout_line *)state->lines.items)[i];
    for (size_t i = 0; i < checkout->payments.count; i++)
        work->payments[i] = ((const struct checkout_payment *)state->payments.items)[i];
    for (size_t i = 0; i < checkout->fulfillments.count; i++)
        work->fulfillments[i] = ((const struct checkout_fulfillment *)state->fulfillments.items)[i];
    checkout->lines.items = work->lines;
    checkout->payments.items = work->payments;
    checkout->fulfillments.items = work->fulfillments;
}

static void tell(struct work *work, enum commerce_event type)
{
    struct banyan_emit event = {
        .type = type,
        .payload = &work->checkout,
        .at = work->now,
        .provenance = BANYAN_EXACT,
    };

    banyan_react_emit(work->out, &event);
}

static struct checkout_payment *find_payment(struct work *work, int64_t payment_id)
{
    for (size_t i = 0; i < work->checkout.payments.count; i++) {
        if (work->payments[i].payment_id == payment_id)
            return &work->payments[i];
    }
    return NULL;
}

static struct checkout_fulfillment *find_fulfillment(struct work *work, int64_t fulfillment_id)
{
    for (size_t i = 0; i < work->checkout.fulfillments.count; i++) {
        if (work->fulfillments[i].fulfillment_id == fulfillment_id)
            return &work->fulfillments[i];
    }
    return NULL;
}

/* ---- money ---- */

/* Authorized and neither captured nor given up, as it is now. */
static struct banyan_decimal open_amount(struct work *work, int64_t payment_id)
{
    const struct payment *payment = state_of(work, AGGREGATE_PAYMENT, payment_id);

    if (!payment->exists || !text_is(payment->row.status, PAYMENT_STATUS_AUTHORIZED))
        return money_of(0);
    return money_sub(payment->row.amount, payment->voided);
}

static bool is_paid(struct work *work)
{
    struct banyan_decimal sum = money_of(0);

    for (size_t i = 0; i < work->checkout.payments.count; i++)
        sum = money_add(sum, open_amount(work, work->payments[i].payment_id));
    return money_units(sum) >= money_units(work->checkout.total);
}

static void void_payment(struct work *work, int64_t payment_id, const char *reason)
{
    struct payment_end end = {banyan_str_of(reason)};

    (void)send(work, AGGREGATE_PAYMENT, payment_id, PAYMENT_VOID, &end, NULL); /* refused: nothing is held */
}

/* Take the total from the payments in their order, and give up what is not needed. */
static bool capture(struct work *work, struct banyan_refusal *ret)
{
    struct banyan_decimal left = work->checkout.total;

    for (size_t i = 0; i < work->checkout.payments.count; i++) {
        int64_t payment_id = work->payments[i].payment_id;
        struct banyan_decimal open = open_amount(work, payment_id);
        struct capture_payment take = {money_units(open) < money_units(left) ? open : left};

        if (money_units(take.amount) > 0 && !send(work, AGGREGATE_PAYMENT, payment_id, PAYMENT_CAPTURE, &take, ret))
            return false;
        if (money_units(take.amount) < money_units(open))
            void_payment(work, payment_id, "more was authorized than the order costs");
        left = money_sub(left, take.amount);
    }
    return true;
}

/* Give back *amount*, from the payments in their order. */
static void give_back(struct work *work, struct banyan_decimal amount, struct banyan_str reason)
{
    for (size_t i = 0; i < work->checkout.payments.count && money_units(amount) > 0; i++) {
        const struct payment *payment = state_of(work, AGGREGATE_PAYMENT, work->payments[i].payment_id);
        struct banyan_decimal kept = money_sub(payment->row.captured, payment->row.refunded);
        struct refund_payment refund = {money_units(kept) < money_units(amount) ? kept : amount, reason};

        if (money_units(refund.amount) <= 0)
            continue;
        if (send(work, AGGREGATE_PAYMENT, work->payments[i].payment_id, PAYMENT_REFUND, &refund, NULL))
            amount = money_sub(amount, refund.amount);
    }
}

static void add_payment(struct work *work, int64_t payment_id, struct banyan_decimal amount)
{
    struct banyan_list *payments = &work->checkout.payments;

    if (find_payment(work, payment_id) != NULL)
        return;
    if (payments->count == CHECKOUT_PAYMENTS_MAX)
        void_payment(work, payment_id, "the order has too many payments");
    else
        work->payments[payments->count++] = (struct checkout_payment){payment_id, amount};
}

/* ---- compensation ---- */

static void end_order(struct work *work)
{
    const struct order *order = state_of(work, AGGREGATE_ORDER, work->checkout.order_id);
    struct order_end end = {work->checkout.reason};

    if (text_is(order->row.status, ORDER_STATUS_CANCELED) || text_is(order->row.status, ORDER_STATUS_REJECTED))
        return;
    if (!send(work, AGGREGATE_ORDER, work->checkout.order_id, ORDER_REJECT, &end, NULL))
        (void)send(work, AGGREGATE_ORDER, work->checkout.order_id, ORDER_CANCEL, &end, NULL);
}

/* What left already stays gone; the others end here. */
static void end_fulfillments(struct work *work)
{
    struct cancel_fulfillment cancel = {work->checkout.reason};

    for (size_t i = 0; i < work->checkout.fulfillments.count; i++) {
        struct checkout_fulfillment *fulfillment = &work->fulfillments[i];

        if (send(work, AGGREGATE_FULFILLMENT, fulfillment->fulfillment_id, FULFILLMENT_CANCEL, &cancel, NULL)) {
            fulfillment->status = BANYAN_STR(FULFILLMENT_STATUS_CANCELED);
            continue;
        }
        fulfillment->status = BANYAN_STR(FULFILLMENT_STATUS_SHIPPED);
        for (size_t j = 0; j < work->checkout.lines.count; j++) {
            if (work->lines[j].fulfillment_id == fulfillment->fulfillment_id)
                ship_line(work, &work->lines[j]);
        }
    }
}

static void compensate(struct work *work, struct banyan_str reason)
{
    work->checkout.reason = text_or_empty(reason);
    end_fulfillments(work);
    for (size_t i = 0; i < work->checkout.lines.count; i++)
        release_line(work, &work->lines[i]);
    for (size_t i = 0; i < work->checkout.payments.count; i++) {
        struct refund_payment refund = {banyan_decimal_null(), work->checkout.reason};
        int64_t payment_id = work->payments[i].payment_id;

        (void)send(work, AGGREGATE_PAYMENT, payment_id, PAYMENT_REFUND, &refund, NULL); /* refused: nothing captured */
        void_payment(work, payment_id, "the order came to nothing");
    }
    void_payment(work, work->checkout.payment_id, "the order came to nothing");
    end_order(work);
    work->checkout.step = BANYAN_STR(CHECKOUT_STEP_COMPENSATED);
    work->checkout.deadline = COMMERCE_NO_TIME;
    tell(work, CHECKOUT_COMPENSATED);
}

/* ---- confirming ---- */

static bool allocate(struct work *work, struct banyan_refusal *ret)
{
    for (size_t i = 0; i < work->checkout.lines.count; i++) {
        struct checkout_line *line = &work->lines[i];
        struct move_stock move = {work->checkout.order_id, line->line_id, line->quantity};

        if (!send(work, AGGREGATE_STOCK, line->stock_id, STOCK_ALLOCATE, &move, ret))
            return false;
        line->held = BANYAN_STR(CHECKOUT_HELD_ALLOCATED);
    }
    return true;
}

static int64_t warehouse_of(struct work *work, const struct checkout_line *line)
{
    const struct stock *stock = state_of(work, AGGREGATE_STOCK, line->stock_id);

    return stock->row.warehouse_id;
}

/* One fulfillment with all lines that lie in the warehouse of line *first*. */
static bool fulfill(struct work *work, size_t first, struct banyan_refusal *ret)
{
    struct fulfillment_line lines[CHECKOUT_LINES_MAX];
    struct checkout *checkout = &work->checkout;
    struct create_fulfillment create = {checkout->order_id, work->lines[first].seller_id, {lines, 0}};
    struct assign_warehouse assign = {warehouse_of(work, &work->lines[first])};
    int64_t id = checkout_fulfillment_id(checkout->order_id, (int64_t)checkout->fulfillments.count + 1);

    for (size_t i = first; i < checkout->lines.count; i++) {
        struct checkout_line *line = &work->lines[i];

        if (line->fulfillment_id != 0 || warehouse_of(work, line) != assign.warehouse_id)
            continue;
        line->fulfillment_id = id;
        if (line->seller_id != create.seller_id)
            create.seller_id = 0;
        lines[create.lines.count++] =
            (struct fulfillment_line){line->line_id, line->product_id, line->stock_id, line->quantity};
    }
    if (!send(work, AGGREGATE_FULFILLMENT, id, FULFILLMENT_CREATE, &create, ret))
        return false;
    work->fulfillments[checkout->fulfillments.count++] =
        (struct checkout_fulfillment){id, BANYAN_STR(FULFILLMENT_STATUS_CREATED)};
    return assign.warehouse_id == 0 || send(work, AGGREGATE_FULFILLMENT, id, FULFILLMENT_ASSIGN, &assign, ret);
}

static void confirm(struct work *work)
{
    struct confirm_order confirm = {work->checkout.total};
    struct banyan_refusal refusal = {NULL, {NULL, 0}};
    bool done = capture(work, &refusal) &&
                send(work, AGGREGATE_ORDER, work->checkout.order_id, ORDER_CONFIRM, &confirm, &refusal) &&
                allocate(work, &refusal);

    for (size_t i = 0; done && i < work->checkout.lines.count; i++) {
        if (work->lines[i].fulfillment_id == 0)
            done = fulfill(work, i, &refusal);
    }
    if (!done) {
        compensate(work, refusal.text);
        return;
    }
    if (find_payment(work, work->checkout.payment_id) == NULL)
        void_payment(work, work->checkout.payment_id, "the order is paid otherwise");
    work->checkout.step = BANYAN_STR(CHECKOUT_STEP_CONFIRMED);
    work->checkout.deadline = COMMERCE_NO_TIME;
    tell(work, CHECKOUT_CONFIRMED);
}

/* ---- step by step ---- */

static struct checkout_line line_of(const struct order_line *line)
{
    struct banyan_decimal price = money_of(0);

    (void)order_line_price(line, &price); /* checked when the order was placed */
    return (struct checkout_line){
        .line_id = line->line_id,
        .product_id = line->product_id,
        .seller_id = line->seller_id,
        .stock_id = line->stock_id,
        .quantity = line->quantity,
        .price = money_add(price, line->freight),
        .held = BANYAN_STR(CHECKOUT_HELD_NOTHING),
    };
}

static const struct order_line *find_order_line(const struct order *order, int64_t line_id)
{
    for (size_t i = 0; i < order->lines.count; i++) {
        if (((const struct order_line *)order->lines.items)[i].line_id == line_id)
            return (const struct order_line *)order->lines.items + i;
    }
    return NULL;
}

static struct checkout_line *find_line(struct work *work, int64_t line_id)
{
    for (size_t i = 0; i < work->checkout.lines.count; i++) {
        if (work->lines[i].line_id == line_id)
            return &work->lines[i];
    }
    return NULL;
}

/* Hold for a line what the order asks for now. */
static bool hold_line(struct work *work, const struct order_line *asked, bool *ret_changed, struct banyan_refusal *ret)
{
    struct checkout_line *line = find_line(work, asked->line_id);
    struct checkout_line wanted = line_of(asked);
    int64_t held = line == NULL ? 0 : line->quantity;

    if (line == NULL)
        line = &work->lines[work->checkout.lines.count];
    if (wanted.quantity > held && !reserve(work, &wanted, wanted.quantity - held, ret))
        return false;
    if (wanted.quantity < held)
        release(work, line, held - wanted.quantity);
    *ret_changed |= wanted.quantity != held;
    wanted.held = BANYAN_STR(CHECKOUT_HELD_RESERVED);
    if (held == 0)
        work->checkout.lines.count++;
    *line = wanted;
    return true;
}

/* Hold what the order asks for now, which may be another thing than when it was placed. */
static bool hold(struct work *work, const struct order *order, bool *ret_changed, struct banyan_refusal *ret)
{
    struct checkout *checkout = &work->checkout;
    size_t kept = 0;

    for (size_t i = 0; i < checkout->lines.count; i++) {
        if (find_order_line(order, work->lines[i].line_id) != NULL) {
            work->lines[kept++] = work->lines[i];
            continue;
        }
        release_line(work, &work->lines[i]);
        *ret_changed = true;
    }
    checkout->lines.count = kept;
    for (size_t i = 0; i < order->lines.count && i < CHECKOUT_LINES_MAX; i++) {
        if (!hold_line(work, (const struct order_line *)order->lines.items + i, ret_changed, ret))
            return false;
    }
    checkout->total = money_add(order->row.items_total, order->row.freight_total);
    return true;
}

static bool is_ended(const struct order *order)
{
    return !order->exists || text_is(order->row.status, ORDER_STATUS_CANCELED) ||
           text_is(order->row.status, ORDER_STATUS_REJECTED);
}

/* Somebody has to be asked for the money, unless that was done before the order was placed. */
static void ask_for_payment(struct work *work, const struct order_placed *placed)
{
    struct checkout *checkout = &work->checkout;
    struct authorize_payment authorize = {.order_id = checkout->order_id,
                                          .sequence = 1,
                                          .method = BANYAN_STR(""),
                                          .amount = checkout->total,
                                          .reference = placed->authorization};
    struct request_payment request = {
        .order_id = checkout->order_id, .sequence = 1, .method = BANYAN_STR(""), .amount = checkout->total};

    if (money_units(checkout->total) <= 0)
        return;
    if (placed->authorization.data == NULL || placed->authorization.size == 0)
        (void)send(work, AGGREGATE_PAYMENT, checkout->payment_id, PAYMENT_REQUEST, &request, NULL);
    else if (send(work, AGGREGATE_PAYMENT, checkout->payment_id, PAYMENT_AUTHORIZE, &authorize, NULL))
        add_payment(work, checkout->payment_id, checkout->total);
}

static void begin(struct work *work, const struct order_placed *placed)
{
    struct checkout *checkout = &work->checkout;
    const struct order *order = state_of(work, AGGREGATE_ORDER, placed->order_id);
    struct banyan_refusal refusal = {NULL, {NULL, 0}};
    bool changed = false, held;

    *checkout = (struct checkout){
        .order_id = placed->order_id,
        .step = BANYAN_STR(CHECKOUT_STEP_RESERVED),
        .reason = BANYAN_STR(""),
        .total = money_add(order->row.items_total, order->row.freight_total),
        .payment_id = checkout_payment_id(placed->order_id),
        .deadline = {work->now.us + CHECKOUT_PAYMENT_MINUTES * INT64_C(60000000)},
        .lines = {work->lines, 0},
        .payments = {work->payments, 0},
        .fulfillments = {work->fulfillments, 0},
    };
    if (is_ended(order)) {
        compensate(work, BANYAN_STR("the order was canceled"));
        return;
    }
    held = hold(work, order, &changed, &refusal);
    ask_for_payment(work, placed); /* also when nothing is held: what is authorized has to be voided */
    if (!held) {
        compensate(work, refusal.text);
        return;
    }
    tell(work, CHECKOUT_RESERVED);
    if (is_paid(work))
        confirm(work);
}

static void wait_for_payment(struct work *work, const struct banyan_seen *event)
{
    const struct order *order = state_of(work, AGGREGATE_ORDER, work->checkout.order_id);
    struct banyan_refusal refusal = {NULL, {NULL, 0}};
    bool changed = false;

    if (is_ended(order)) {
        compensate(work, BANYAN_STR("the order was canceled"));
        return;
    }
    if (event != NULL && event->type == PAYMENT_AUTHORIZED) {
        const struct payment_authorized *authorized = event->payload;

        changed = find_payment(work, authorized->payment_id) == NULL;
        add_payment(work, authorized->payment_id, authorized->amount);
    }
    if (!hold(work, order, &changed, &refusal))
        compensate(work, refusal.text);
    else if (is_paid(work))
        confirm(work);
    else if (work->checkout.deadline.us <= work->now.us)
        compensate(work, BANYAN_STR("the payment was not authorized in time"));
    else if (changed)
        tell(work, CHECKOUT_CHANGED);
}

/* ---- on the way ---- */

static void ship(struct work *work, struct checkout_fulfillment *fulfillment)
{
    if (text_is(fulfillment->status, FULFILLMENT_STATUS_SHIPPED) ||
        text_is(fulfillment->status, FULFILLMENT_STATUS_DELIVERED))
        return;
    for (size_t i = 0; i < work->checkout.lines.count; i++) {
        if (work->lines[i].fulfillment_id == fulfillment->fulfillment_id)
            ship_line(work, &work->lines[i]);
    }
    (void)send(work, AGGREGATE_ORDER, work->checkout.order_id, ORDER_SHIP, NULL, NULL); /* refused: it is canceled */
    fulfillment->status = BANYAN_STR(FULFILLMENT_STATUS_SHIPPED);
}

/* Its stock is free again, its money goes back. */
static void drop(struct work *work, struct checkout_fulfillment *fulfillment, struct banyan_str reason)
{
    struct banyan_decimal price = money_of(0);

    for (size_t i = 0; i < work->checkout.lines.count; i++) {
        struct checkout_line *line = &work->lines[i];

        if (line->fulfillment_id != fulfillment->fulfillment_id || !text_is(line->held, CHECKOUT_HELD_ALLOCATED))
            continue;
        price = money_add(price, line->price);
        release_line(work, line);
    }
    give_back(work, price, reason);
    fulfillment->status = BANYAN_STR(FULFILLMENT_STATUS_CANCELED);
}

/* How many fulfillments are in *status*. */
static size_t count(const struct work *work, const char *status)
{
    size_t found = 0;

    for (size_t i = 0; i < work->checkout.fulfillments.count; i++)
        found += text_is(work->fulfillments[i].status, status);
    return found;
}

/* A fulfillment went on. */
static void advance(struct work *work, struct banyan_str reason)
{
    size_t delivered = count(work, FULFILLMENT_STATUS_DELIVERED), canceled = count(work, FULFILLMENT_STATUS_CANCELED);

    if (canceled == work->checkout.fulfillments.count) {
        compensate(work, reason);
        return;
    }
    if (delivered + canceled < work->checkout.fulfillments.count) {
        tell(work, CHECKOUT_CHANGED);
        return;
    }
    (void)send(work, AGGREGATE_ORDER, work->checkout.order_id, ORDER_COMPLETE, NULL, NULL); /* refused: canceled */
    work->checkout.step = BANYAN_STR(CHECKOUT_STEP_COMPLETED);
    tell(work, CHECKOUT_COMPLETED);
}

static void follow(struct work *work, const struct banyan_seen *event)
{
    const struct fulfillment_shipped *shipped = event->payload;
    const struct fulfillment_delivered *delivered = event->payload;
    const struct fulfillment_canceled *canceled = event->payload;
    struct checkout_fulfillment *fulfillment;

    switch ((enum commerce_event)event->type) {
    case FULFILLMENT_SHIPPED:
        fulfillment = find_fulfillment(work, shipped->fulfillment_id);
        if (fulfillment == NULL || !text_is(fulfillment->status, FULFILLMENT_STATUS_CREATED))
            return;
        ship(work, fulfillment);
        tell(work, CHECKOUT_CHANGED);
        return;
    case FULFILLMENT_DELIVERED:
        fulfillment = find_fulfillment(work, delivered->fulfillment_id);
        if (fulfillment == NULL || text_is(fulfillment->status, FULFILLMENT_STATUS_DELIVERED))
            return;
        ship(work, fulfillment);
        fulfillment->status = BANYAN_STR(FULFILLMENT_STATUS_DELIVERED);
        advance(work, BANYAN_STR(""));
        return;
    case FULFILLMENT_CANCELED:
        fulfillment = find_fulfillment(work, canceled->fulfillment_id);
        if (fulfillment == NULL || !text_is(fulfillment->status, FULFILLMENT_STATUS_CREATED))
            return;
        drop(work, fulfillment, canceled->reason);
        advance(work, canceled->reason);
        return;
    default:
        return;
    }
}

/* A payment that nobody waits for is given up. */
static void refuse_payment(struct work *work, const struct banyan_seen *event)
{
    const struct payment_authorized *authorized = event->payload;

    if (event->type == PAYMENT_AUTHORIZED && find_payment(work, authorized->payment_id) == NULL)
        void_payment(work, authorized->payment_id, "the order needs no payment any more");
}

static void react(const void *state, bool exists, struct banyan_str key, const struct banyan_seen *event,
                  struct banyan_time now, struct banyan_reaction *out)
{
    const struct checkout *checkout = state;
    struct work work;

    work.out = out;
    work.now = now;
    if (!exists) {
        if (event != NULL && event->type == ORDER_PLACED && ((const struct order_placed *)event->payload)->checkout)
            begin(&work, event->payload);
        return;
    }
    load(&work, checkout);
    if (text_is(checkout->step, CHECKOUT_STEP_RESERVED)) {
        wait_for_payment(&work, event);
        return;
    }
    if (event == NULL)
        return;
    refuse_payment(&work, event);
    if (!text_is(checkout->step, CHECKOUT_STEP_CONFIRMED))
        return;
    if (event->type == ORDER_CANCELED)
        compensate(&work, ((const struct order_canceled *)event->payload)->reason);
    else
        follow(&work, event);
}

static struct banyan_time wake(const void *state)
{
    const struct checkout *checkout = state;

    return text_is(checkout->step, CHECKOUT_STEP_RESERVED) ? checkout->deadline : COMMERCE_NO_TIME;
}

/* ---- the definition ---- */

static bool key(const struct banyan_seen *event, struct banyan_arena *arena, struct banyan_str *ret_key)
{
    int64_t order_id;

    if (event->type == ORDER_PLACED && !((const struct order_placed *)event->payload)->checkout)
        return false;
    if (!commerce_order_of(event, &order_id))
        return false;
    *ret_key = banyan_arena_printf(arena, "%" PRId64, order_id);
    return true;
}

static void evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    if (commerce_events[type].record == &commerce_checkout)
        *(struct checkout *)state = *(const struct checkout *)payload;
}

static const struct banyan_aggregate aggregate = {
    .category = "checkout",
    .state = &commerce_checkout,
    .evolve = evolve,
    .version = 1,
};

static const unsigned types[] = {
    ORDER_PLACED,       ORDER_LINES_CHANGED, ORDER_CANCELED,        ORDER_REJECTED,
    PAYMENT_AUTHORIZED, FULFILLMENT_SHIPPED, FULFILLMENT_DELIVERED, FULFILLMENT_CANCELED,
};

const struct banyan_process commerce_checkout_process = {
    .name = "checkout",
    .aggregate = &aggregate,
    .categories = (const char *const[]){"order", "payment", "fulfillment", NULL},
    .types = types,
    .type_count = COMMERCE_COUNT(types),
    .key = key,
    .react = react,
    .wake = wake,
};
