/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkout over a real store, run by the engine: each way that an order can go, many at once with restarts in
 * between, and threads that reserve the same stock.  In the end nothing may be held that no order holds.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../unit/log/folder.h"
#include "commerce/checkout.h"
#include "commerce/commerce.h"
#include "commerce/fulfillment.h"
#include "commerce/order.h"
#include "commerce/payment.h"
#include "commerce/stock.h"
#include "follow.h"
#include "os/random.h"
#include "os/thread.h"
#include "process/process.h"
#include "store/aggregate.h"
#include "support/seed.h"

enum {
    LIMIT_US = 20 * 1000 * 1000,
    STOCKS = 6,
    RANDOM_ORDERS = 40,
    RANDOM_STEPS = 240,
    RACE_THREADS = 4,
    RACE_COMMANDS = 200, /* of each thread */
    RACE_PIECES = 300,
};

#define MINUTE_US INT64_C(60000000)

struct rig {
    char folder[FOLDER_PATH_MAX];
    struct store *store;
    struct aggregates *aggregates;
    struct process *process;
    struct os_stop stop;
    struct os_clock_test clock;
    struct banyan_arena arena;
};

static void check(enum banyan_status status, const struct banyan_error *err)
{
    if (status != BANYAN_OK)
        fail_msg("%s: %s", banyan_status_name(status), err->message);
}

static void open_rig(struct rig *rig)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    check(store_open(&(struct store_options){.folder = rig->folder, .segment_bytes = 1024 * 1024}, &rig->store, &err),
          &err);
    rig->aggregates = aggregates_new(&(struct aggregates_options){
        .store = rig->store, .domain = &banyan_domain_commerce, .clock = &rig->clock.base});
    check(os_stop_open(&rig->stop, &err), &err);
    check(process_start(&(struct process_options){.domain = &banyan_domain_commerce,
                                                  .process = &commerce_checkout_process,
                                                  .store = rig->store,
                                                  .aggregates = rig->aggregates,
                                                  .stop = &rig->stop,
                                                  .clock = &rig->clock.base},
                        &rig->process, &err),
          &err);
}

static void close_rig(struct rig *rig)
{
    os_stop_request(&rig->stop);
    process_stop(rig->process);
    aggregates_free(rig->aggregates);
    store_close(rig->store);
    os_stop_close(&rig->stop);
}

/* ---- asking ---- */

static const char *send(struct rig *rig, enum commerce_aggregate aggregate, int64_t key, unsigned type,
                        const void *fields)
{
    struct aggregate_command command = {.id = os_uuid_new(),
                                        .category = banyan_str_of(commerce_aggregates[aggregate].category),
                                        .key = banyan_arena_printf(&rig->arena, "%" PRId64, key),
                                        .name = banyan_str_of(commerce_aggregates[aggregate].commands[type].name),
                                        .fields = fields};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct aggregate_answer answer;

    check(aggregates_execute(rig->aggregates, &command, &rig->arena, &answer, &err), &err);
    return answer.accepted ? NULL : answer.code;
}

static void must(struct rig *rig, enum commerce_aggregate aggregate, int64_t key, unsigned type, const void *fields)
{
    const char *code = send(rig, aggregate, key, type, fields);

    if (code != NULL)
        fail_msg("%s: refused: %s", commerce_aggregates[aggregate].commands[type].name, code);
}

/* What the process appends leads to more that it sees: until nothing is left. */
static void settle(struct rig *rig)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_position tail = {0};
    struct process_status status;

    while (tail.value != store_tail(rig->store).value) {
        tail = store_tail(rig->store);
        check(process_wait(rig->process, tail, LIMIT_US, &err), &err);
    }
    process_status(rig->process, &status);
    assert_int_equal(status.aside, 0);
}

/* Let the time pass, until the process has nothing to wake for before *us* from now. */
static void pass(struct rig *rig, int64_t us)
{
    struct process_status status;

    os_clock_test_move(&rig->clock, us);
    for (int64_t waited_us = 0;; waited_us += 1000) {
        process_status(rig->process, &status);
        if (status.timers == 0 || status.next_wake.us > rig->clock.now_us)
            break;
        if (waited_us > LIMIT_US)
            fail_msg("the process does not wake");
        os_clock_real()->sleep_us(os_clock_real(), 1000);
    }
    settle(rig);
}

static const void *state_of(struct rig *rig, const char *category, int64_t key, const struct banyan_record *record)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    void *state = banyan_arena_zalloc(&rig->arena, record->size);
    struct banyan_version version;

    check(aggregates_state(rig->aggregates, banyan_str_of(category), banyan_arena_printf(&rig->arena, "%" PRId64, key),
                           &rig->arena, state, &version, &err),
          &err);
    return state;
}

static const struct order *order_of(struct rig *rig, int64_t key)
{
    return state_of(rig, "order", key, &commerce_order_state);
}

static const struct payment *payment_of(struct rig *rig, int64_t key)
{
    return state_of(rig, "payment", key, &commerce_payment_state);
}

static const struct fulfillment *fulfillment_of(struct rig *rig, int64_t key)
{
    return state_of(rig, "fulfillment", key, &commerce_fulfillment_state);
}

static const struct stock_row *stock_of(struct rig *rig, int64_t key)
{
    return &((const struct stock *)state_of(rig, "stock", key, &commerce_stock_state))->row;
}

static const struct checkout *checkout_of(struct rig *rig, int64_t key)
{
    return state_of(rig, "checkout", key, &commerce_checkout);
}

/* ---- what is usual: stock 1 to STOCKS, ten pieces each, odd ones in warehouse 1, even ones in 2 ---- */

static void start(struct rig *rig)
{
    *rig = (struct rig){.store = NULL};
    folder_make_quick(rig->folder);
    os_clock_test_init(&rig->clock, (struct banyan_time){INT64_C(1700000000000000)});
    open_rig(rig);
    for (int64_t key = 1; key <= STOCKS; key++) {
        struct receive_stock receive = {.product_id = key, .seller_id = 1, .warehouse_id = 2 - key % 2, .quantity = 10};

        must(rig, AGGREGATE_STOCK, key, STOCK_RECEIVE, &receive);
    }
}

static void finish(struct rig *rig)
{
    for (int64_t key = 1; key <= STOCKS; key++) {
        const struct stock_row *row = stock_of(rig, key);

        assert_true(row->available >= 0 && row->reserved >= 0 && row->allocated >= 0 && row->shipped >= 0);
        assert_int_equal(row->available + row->reserved + row->allocated + row->shipped, row->received);
    }
    close_rig(rig);
    banyan_arena_release(&rig->arena);
    folder_remove(rig->folder);
}

/* A piece costs 10.00, its freight 1.00 a line. */
static void place(struct rig *rig, int64_t order_id, int64_t stock_a, int64_t stock_b, int64_t quantity,
                  const char *authorization)
{
    struct order_line lines[2] = {
        {0, stock_a, BANYAN_STR("Lamp"), BANYAN_STR("light"), 1, stock_a, quantity, money_of(1000), money_of(100)},
        {0, stock_b, BANYAN_STR("Desk"), BANYAN_STR("office"), 1, stock_b, quantity, money_of(1000), money_of(100)},
    };
    struct place_order place = {.customer_id = 1,
                                .customer = BANYAN_STR("Ana"),
                                .authorization = banyan_str_of(authorization),
                                .promised_at = COMMERCE_NO_TIME,
                                .lines = {lines, 2}};

    must(rig, AGGREGATE_ORDER, order_id, ORDER_PLACE, &place);
}

static void pay(struct rig *rig, int64_t order_id)
{
    struct authorize_payment authorize = {.amount = banyan_decimal_null()};

    must(rig, AGGREGATE_PAYMENT, checkout_payment_id(order_id), PAYMENT_AUTHORIZE, &authorize);
}

static void send_out(struct rig *rig, int64_t order_id, int64_t number)
{
    struct pack_fulfillment pack = {1};
    struct ship_fulfillment ship = {BANYAN_STR("post"), BANYAN_STR("RR1")};
    int64_t key = checkout_fulfillment_id(order_id, number);

    must(rig, AGGREGATE_FULFILLMENT, key, FULFILLMENT_PACK, &pack);
    must(rig, AGGREGATE_FULFILLMENT, key, FULFILLMENT_SHIP, &ship);
}

static void assert_step(struct rig *rig, int64_t order_id, const char *step, const char *status)
{
    const struct checkout *checkout = checkout_of(rig, order_id);
    const struct order *order = order_of(rig, order_id);

    if (!text_is(checkout->step, step) || !text_is(order->row.status, status))
        fail_msg("order %" PRId64 " is %.*s at %.*s, not %s at %s (%.*s)", order_id, (int)order->row.status.size,
                 order->row.status.data, (int)checkout->step.size, checkout->step.data, status, step,
                 (int)checkout->reason.size, checkout->reason.data);
}

static void assert_payment(struct rig *rig, int64_t order_id, const char *status, int64_t captured, int64_t refunded)
{
    const struct payment *payment = payment_of(rig, checkout_payment_id(order_id));

    assert_true(text_is(payment->row.status, status));
    assert_int_equal(payment->row.captured.units, captured);
    assert_int_equal(payment->row.refunded.units, refunded);
}

static void assert_stock(struct rig *rig, int64_t key, int64_t available, int64_t reserved, int64_t allocated)
{
    const struct stock_row *row = stock_of(rig, key);

    assert_int_equal(row->available, available);
    assert_int_equal(row->reserved, reserved);
    assert_int_equal(row->allocated, allocated);
}

/* ---- the ways of an order ---- */

static void is_paid_and_delivered_in_two_parts(void **context)
{
    struct rig rig;

    (void)context;
    start(&rig);
    place(&rig, 1, 1, 2, 3, NULL);
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_RESERVED, ORDER_STATUS_CREATED);
    assert_stock(&rig, 1, 7, 3, 0);
    pay(&rig, 1);
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_CONFIRMED, ORDER_STATUS_APPROVED);
    assert_payment(&rig, 1, PAYMENT_STATUS_CAPTURED, 6200, 0);
    assert_stock(&rig, 2, 7, 0, 3);
    assert_int_equal(checkout_of(&rig, 1)->fulfillments.count, 2);
    assert_int_equal(fulfillment_of(&rig, checkout_fulfillment_id(1, 1))->row.warehouse_id, 1);
    assert_true(text_is(fulfillment_of(&rig, checkout_fulfillment_id(1, 2))->job, JOB_STATUS_READY));
    send_out(&rig, 1, 2);
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_CONFIRMED, ORDER_STATUS_SHIPPED);
    assert_stock(&rig, 1, 7, 0, 3);
    assert_stock(&rig, 2, 7, 0, 0);
    send_out(&rig, 1, 1);
    must(&rig, AGGREGATE_FULFILLMENT, checkout_fulfillment_id(1, 1), FULFILLMENT_DELIVER, NULL);
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_CONFIRMED, ORDER_STATUS_SHIPPED);
    must(&rig, AGGREGATE_FULFILLMENT, checkout_fulfillment_id(1, 2), FULFILLMENT_DELIVER, NULL);
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_COMPLETED, ORDER_STATUS_DELIVERED);
    assert_payment(&rig, 1, PAYMENT_STATUS_CAPTURED, 6200, 0);
    pass(&rig, 1000 * MINUTE_US);
    assert_step(&rig, 1, CHECKOUT_STEP_COMPLETED, ORDER_STATUS_DELIVERED);
    finish(&rig);
}

static void is_rejected_without_stock(void **context)
{
    struct rig rig;

    (void)context;
    start(&rig);
    place(&rig, 1, 1, 2, 11, NULL);
    place(&rig, 2, 1, 99, 1, "card-77");
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_COMPENSATED, ORDER_STATUS_REJECTED);
    assert_step(&rig, 2, CHECKOUT_STEP_COMPENSATED, ORDER_STATUS_REJECTED);
    assert_true(text_is(checkout_of(&rig, 1)->reason, "11 asked for, 10 available"));
    assert_payment(&rig, 1, PAYMENT_STATUS_VOIDED, 0, 0);
    assert_payment(&rig, 2, PAYMENT_STATUS_VOIDED, 0, 0);
    assert_int_equal(payment_of(&rig, checkout_payment_id(2))->voided.units, 2200);
    assert_stock(&rig, 1, 10, 0, 0);
    finish(&rig);
}

static void is_confirmed_at_once_when_authorized_before(void **context)
{
    struct rig rig;

    (void)context;
    start(&rig);
    place(&rig, 1, 1, 3, 5, "card-77");
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_CONFIRMED, ORDER_STATUS_APPROVED);
    assert_payment(&rig, 1, PAYMENT_STATUS_CAPTURED, 10200, 0);
    assert_int_equal(checkout_of(&rig, 1)->fulfillments.count, 1);
    finish(&rig);
}

static void runs_out_of_time(void **context)
{
    struct authorize_payment late = {.order_id = 1, .amount = money_of(2200)};
    struct rig rig;

    (void)context;
    start(&rig);
    place(&rig, 1, 1, 2, 1, NULL);
    settle(&rig);
    pass(&rig, CHECKOUT_PAYMENT_MINUTES * MINUTE_US - 1);
    assert_step(&rig, 1, CHECKOUT_STEP_RESERVED, ORDER_STATUS_CREATED);
    pass(&rig, 1);
    assert_step(&rig, 1, CHECKOUT_STEP_COMPENSATED, ORDER_STATUS_REJECTED);
    assert_stock(&rig, 1, 10, 0, 0);
    must(&rig, AGGREGATE_PAYMENT, 555, PAYMENT_AUTHORIZE, &late);
    settle(&rig);
    assert_true(text_is(payment_of(&rig, 555)->row.status, PAYMENT_STATUS_VOIDED));
    finish(&rig);
}

static void is_paid_in_parts(void **context)
{
    struct authorize_payment voucher = {.order_id = 1, .sequence = 2, .amount = money_of(2000)};
    struct authorize_payment card = {.order_id = 1, .sequence = 3, .amount = money_of(900)};
    struct rig rig;

    (void)context;
    start(&rig);
    place(&rig, 1, 1, 2, 1, NULL);
    must(&rig, AGGREGATE_PAYMENT, 55, PAYMENT_AUTHORIZE, &voucher);
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_RESERVED, ORDER_STATUS_CREATED);
    must(&rig, AGGREGATE_PAYMENT, 56, PAYMENT_AUTHORIZE, &card);
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_CONFIRMED, ORDER_STATUS_APPROVED);
    assert_int_equal(payment_of(&rig, 55)->row.captured.units, 2000);
    assert_int_equal(payment_of(&rig, 56)->row.captured.units, 200);
    assert_int_equal(payment_of(&rig, 56)->voided.units, 700);
    assert_payment(&rig, 1, PAYMENT_STATUS_VOIDED, 0, 0);
    finish(&rig);
}

static void is_canceled_by_the_customer(void **context)
{
    struct order_end end = {BANYAN_STR("changed my mind")};
    struct rig rig;

    (void)context;
    start(&rig);
    place(&rig, 1, 1, 2, 1, NULL);
    place(&rig, 2, 1, 2, 2, "card-77");
    settle(&rig);
    assert_stock(&rig, 1, 7, 1, 2);
    must(&rig, AGGREGATE_ORDER, 1, ORDER_CANCEL, &end);
    must(&rig, AGGREGATE_ORDER, 2, ORDER_CANCEL, &end);
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_COMPENSATED, ORDER_STATUS_CANCELED);
    assert_step(&rig, 2, CHECKOUT_STEP_COMPENSATED, ORDER_STATUS_CANCELED);
    assert_payment(&rig, 1, PAYMENT_STATUS_VOIDED, 0, 0);
    assert_payment(&rig, 2, PAYMENT_STATUS_REFUNDED, 4200, 4200);
    assert_stock(&rig, 1, 10, 0, 0);
    assert_true(text_is(fulfillment_of(&rig, checkout_fulfillment_id(2, 1))->row.status, FULFILLMENT_STATUS_CANCELED));
    finish(&rig);
}

static void gives_back_what_cannot_be_sent(void **context)
{
    struct cancel_fulfillment cancel = {BANYAN_STR("flooded")};
    struct rig rig;

    (void)context;
    start(&rig);
    place(&rig, 1, 1, 2, 2, "card-77");
    place(&rig, 2, 1, 2, 3, "card-78");
    settle(&rig);
    must(&rig, AGGREGATE_FULFILLMENT, checkout_fulfillment_id(1, 1), FULFILLMENT_CANCEL, &cancel);
    must(&rig, AGGREGATE_FULFILLMENT, checkout_fulfillment_id(2, 1), FULFILLMENT_CANCEL, &cancel);
    must(&rig, AGGREGATE_FULFILLMENT, checkout_fulfillment_id(2, 2), FULFILLMENT_CANCEL, &cancel);
    settle(&rig);
    assert_payment(&rig, 1, PAYMENT_STATUS_CAPTURED, 4200, 2100);
    assert_step(&rig, 2, CHECKOUT_STEP_COMPENSATED, ORDER_STATUS_CANCELED);
    assert_payment(&rig, 2, PAYMENT_STATUS_REFUNDED, 6200, 6200);
    send_out(&rig, 1, 2);
    must(&rig, AGGREGATE_FULFILLMENT, checkout_fulfillment_id(1, 2), FULFILLMENT_DELIVER, NULL);
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_COMPLETED, ORDER_STATUS_DELIVERED);
    assert_stock(&rig, 1, 10, 0, 0);
    assert_int_equal(stock_of(&rig, 2)->shipped, 2);
    finish(&rig);
}

static void holds_what_the_order_asks_for_now(void **context)
{
    struct modify_order more = {.line_id = 1001, .quantity = 4}, none = {.line_id = 1002, .quantity = 0};
    struct modify_order too_much = {.line_id = 2001, .quantity = 11};
    struct rig rig;

    (void)context;
    start(&rig);
    place(&rig, 1, 1, 2, 1, NULL);
    place(&rig, 2, 3, 4, 1, NULL);
    settle(&rig);
    must(&rig, AGGREGATE_ORDER, 1, ORDER_MODIFY, &more);
    must(&rig, AGGREGATE_ORDER, 1, ORDER_MODIFY, &none);
    must(&rig, AGGREGATE_ORDER, 2, ORDER_MODIFY, &too_much);
    settle(&rig);
    assert_stock(&rig, 1, 6, 4, 0);
    assert_stock(&rig, 2, 10, 0, 0);
    assert_int_equal(checkout_of(&rig, 1)->total.units, 4100);
    assert_step(&rig, 2, CHECKOUT_STEP_COMPENSATED, ORDER_STATUS_REJECTED);
    assert_stock(&rig, 3, 10, 0, 0);
    pay(&rig, 1); /* what was asked for at first: too little now */
    settle(&rig);
    assert_step(&rig, 1, CHECKOUT_STEP_RESERVED, ORDER_STATUS_CREATED);
    pass(&rig, CHECKOUT_PAYMENT_MINUTES * MINUTE_US);
    assert_payment(&rig, 1, PAYMENT_STATUS_VOIDED, 0, 0);
    assert_stock(&rig, 1, 10, 0, 0);
    finish(&rig);
}

/* ---- many at once ---- */

static void any_step(struct rig *rig, struct os_random *random, int64_t order_id)
{
    struct order_end end = {BANYAN_STR("changed my mind")};
    struct cancel_fulfillment cancel = {BANYAN_STR("lost")};
    struct modify_order modify = {.line_id = order_id * 1000 + 1 + (int64_t)os_random_below(random, 2),
                                  .quantity = (int64_t)os_random_below(random, 4)};
    struct authorize_payment authorize = {.amount = banyan_decimal_null()};
    struct payment_end decline = {BANYAN_STR("no money")};
    struct pack_fulfillment pack = {1};
    struct ship_fulfillment ship = {{NULL, 0}, {NULL, 0}};
    int64_t payment = checkout_payment_id(order_id);
    int64_t fulfillment = checkout_fulfillment_id(order_id, 1 + (int64_t)os_random_below(random, 2));

    switch (os_random_below(random, 12)) {
    case 0:
        (void)send(rig, AGGREGATE_ORDER, order_id, ORDER_CANCEL, &end);
        return;
    case 1:
        (void)send(rig, AGGREGATE_FULFILLMENT, fulfillment, FULFILLMENT_CANCEL, &cancel);
        return;
    case 2:
        (void)send(rig, AGGREGATE_ORDER, order_id, ORDER_MODIFY, &modify);
        return;
    case 3:
        (void)send(rig, AGGREGATE_PAYMENT, payment, PAYMENT_DECLINE, &decline);
        return;
    case 4:
    case 5:
    case 6:
        (void)send(rig, AGGREGATE_PAYMENT, payment, PAYMENT_AUTHORIZE, &authorize);
        return;
    case 7:
    case 8:
        (void)send(rig, AGGREGATE_FULFILLMENT, fulfillment, FULFILLMENT_PACK, &pack);
        (void)send(rig, AGGREGATE_FULFILLMENT, fulfillment, FULFILLMENT_SHIP, &ship);
        return;
    case 9:
        (void)send(rig, AGGREGATE_FULFILLMENT, fulfillment, FULFILLMENT_DELIVER, NULL);
        return;
    case 10:
        os_clock_test_move(&rig->clock, (int64_t)os_random_below(random, 3 * MINUTE_US));
        return;
    default:
        if (os_random_below(random, 5) == 0) {
            close_rig(rig);
            open_rig(rig);
        }
        return;
    }
}

/* What one order holds in the end, added to what is held of each stock. */
static void add_held(struct rig *rig, int64_t order_id, int64_t allocated[STOCKS + 1])
{
    const struct checkout *checkout = checkout_of(rig, order_id);
    const struct checkout_line *lines = checkout->lines.items;
    const struct payment *payment = payment_of(rig, checkout_payment_id(order_id));
    bool compensated = text_is(checkout->step, CHECKOUT_STEP_COMPENSATED);

    assert_false(text_is(checkout->step, CHECKOUT_STEP_RESERVED));
    for (size_t i = 0; i < checkout->lines.count; i++) {
        assert_false(text_is(lines[i].held, CHECKOUT_HELD_RESERVED));
        assert_false(compensated && text_is(lines[i].held, CHECKOUT_HELD_ALLOCATED));
        if (text_is(lines[i].held, CHECKOUT_HELD_ALLOCATED))
            allocated[lines[i].stock_id] += lines[i].quantity;
    }
    if (!compensated) {
        assert_int_equal(payment->row.captured.units, checkout->total.units);
        return;
    }
    assert_true(text_is(order_of(rig, order_id)->row.status, ORDER_STATUS_CANCELED) ||
                text_is(order_of(rig, order_id)->row.status, ORDER_STATUS_REJECTED));
    assert_true(payment->row.captured.units == payment->row.refunded.units);
    assert_false(text_is(payment->row.status, PAYMENT_STATUS_AUTHORIZED));
}

static void leaks_nothing(void **context)
{
    int64_t allocated[STOCKS + 1] = {0};
    struct os_random random;
    struct rig rig;
    int64_t orders = 0;

    (void)context;
    seed_start(&random, "leaks_nothing");
    start(&rig);
    for (unsigned i = 0; i < seed_rounds(RANDOM_STEPS); i++) {
        if (orders < RANDOM_ORDERS && os_random_below(&random, 4) == 0)
            place(&rig, ++orders, 1 + (int64_t)os_random_below(&random, STOCKS),
                  1 + (int64_t)os_random_below(&random, STOCKS), 1 + (int64_t)os_random_below(&random, 3),
                  os_random_below(&random, 3) == 0 ? "card" : NULL);
        else if (orders > 0)
            any_step(&rig, &random, 1 + (int64_t)os_random_below(&random, (uint64_t)orders));
        if (os_random_below(&random, 3) == 0)
            settle(&rig);
    }
    settle(&rig);
    pass(&rig, CHECKOUT_PAYMENT_MINUTES * MINUTE_US);
    for (int64_t order_id = 1; order_id <= orders; order_id++)
        add_held(&rig, order_id, allocated);
    for (int64_t key = 1; key <= STOCKS; key++) {
        assert_int_equal(stock_of(&rig, key)->reserved, 0);
        assert_int_equal(stock_of(&rig, key)->allocated, allocated[key]);
    }
    follow_all(rig.store, rig.aggregates, rig.folder);
    finish(&rig);
}

/* ---- threads that want the same pieces ---- */

struct racer {
    struct rig *rig;
    struct os_thread thread;
    int64_t number;
    int64_t reserved; /* pieces that it got */
};

static void race(void *argument)
{
    struct racer *racer = argument;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;

    for (int64_t i = 0; i < RACE_COMMANDS; i++) {
        struct move_stock move = {racer->number, i, 1 + i % 3};
        struct aggregate_command command = {.id = os_uuid_new(),
                                            .category = BANYAN_STR("stock"),
                                            .key = BANYAN_STR("77"),
                                            .name = BANYAN_STR("ReserveStock"),
                                            .fields = &move};
        struct aggregate_answer answer;

        if (aggregates_execute(racer->rig->aggregates, &command, &arena, &answer, &err) != BANYAN_OK)
            abort();
        racer->reserved += answer.accepted ? move.quantity : 0;
    }
    banyan_arena_release(&arena);
}

static void nothing_is_sold_twice(void **context)
{
    struct receive_stock receive = {.product_id = 1, .quantity = RACE_PIECES};
    struct racer racers[RACE_THREADS];
    int64_t reserved = 0;
    struct rig rig;

    (void)context;
    start(&rig);
    must(&rig, AGGREGATE_STOCK, 77, STOCK_RECEIVE, &receive);
    for (int64_t i = 0; i < RACE_THREADS; i++) {
        racers[i] = (struct racer){.rig = &rig, .number = i + 1};
        os_thread_start(&racers[i].thread, "racer", race, &racers[i]);
    }
    for (size_t i = 0; i < RACE_THREADS; i++) {
        os_thread_join(&racers[i].thread);
        reserved += racers[i].reserved;
    }
    assert_int_equal(reserved, RACE_PIECES); /* enough was asked for, a piece at a time too */
    assert_int_equal(stock_of(&rig, 77)->available, 0);
    assert_int_equal(stock_of(&rig, 77)->reserved, RACE_PIECES);
    finish(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_paid_and_delivered_in_two_parts),
        cmocka_unit_test(is_rejected_without_stock),
        cmocka_unit_test(is_confirmed_at_once_when_authorized_before),
        cmocka_unit_test(runs_out_of_time),
        cmocka_unit_test(is_paid_in_parts),
        cmocka_unit_test(is_canceled_by_the_customer),
        cmocka_unit_test(gives_back_what_cannot_be_sent),
        cmocka_unit_test(holds_what_the_order_asks_for_now),
        cmocka_unit_test(leaks_nothing),
        cmocka_unit_test(nothing_is_sold_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
