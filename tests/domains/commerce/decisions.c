/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random commands, good and bad ones, against small models: which steps an order and a fulfillment may take, where the
 * money of a payment and the pieces of stock are, who has a job.  And: any event may be folded at any time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "commerce/events.h"
#include "commerce/fulfillment.h"
#include "commerce/order.h"
#include "commerce/payment.h"
#include "commerce/stock.h"
#include "harness.h"
#include "support/seed.h"

enum {
    SEEDS = 3000, /* sequences of each test */
    COMMANDS = 40,
    KEY = 4711,
};

typedef void sequence_fn(struct os_random *random, struct banyan_arena *arena);

static void run(const char *name, sequence_fn *sequence)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct os_random random;

    seed_start(&random, name);
    for (unsigned i = 0; i < seed_rounds(SEEDS); i++) {
        sequence(&random, &arena);
        banyan_arena_reset(&arena);
    }
    banyan_arena_release(&arena);
}

static int64_t below(struct os_random *random, int64_t bound)
{
    return (int64_t)os_random_below(random, (uint64_t)bound);
}

/* ---- orders ---- */

static struct place_order any_order(struct os_random *random, struct banyan_arena *arena)
{
    struct place_order place = {.customer_id = 1 + below(random, 5),
                                .customer = BANYAN_STR("Ana"),
                                .city = BANYAN_STR("Recife"),
                                .promised_at = COMMERCE_NO_TIME};
    struct order_line *lines;

    place.lines.count = 1 + (size_t)below(random, 4);
    place.lines.items = lines = banyan_arena_zalloc(arena, place.lines.count * sizeof(*lines));
    for (size_t i = 0; i < place.lines.count; i++)
        lines[i] = (struct order_line){.product_id = 1 + below(random, 9),
                                       .product = BANYAN_STR("Lamp"),
                                       .category = BANYAN_STR("light"),
                                       .seller_id = 1,
                                       .stock_id = 1 + below(random, 9),
                                       .quantity = 1 + below(random, 5),
                                       .unit_price = money_of(below(random, 10000)),
                                       .freight = money_of(below(random, 1000))};
    if (below(random, 10) == 0)
        lines[0].quantity = 0;
    if (below(random, 10) == 0)
        lines[0].unit_price = money_of(-1);
    if (below(random, 20) == 0)
        place.lines.count = 0;
    return place;
}

/* The rows of a table of who may follow whom; a status is an index. */
static const char *const order_statuses[] = {"", "created", "approved", "shipped", "delivered", "canceled", "rejected"};
static const char *const order_follow[] = {"created",
                                           "created approved canceled rejected",
                                           "approved shipped canceled",
                                           "shipped delivered",
                                           "delivered",
                                           "canceled",
                                           "rejected"};

static bool may_follow(struct banyan_str before, struct banyan_str after)
{
    for (size_t i = 0; i < COMMERCE_COUNT(order_statuses); i++) {
        if (text_is(text_or_empty(before), order_statuses[i]))
            return memmem(order_follow[i], strlen(order_follow[i]), after.data, after.size) != NULL;
    }
    return false;
}

static void check_order(const struct order *order)
{
    struct banyan_decimal items, freight;
    const struct order_line *lines = order->lines.items;

    assert_true(order->lines.count > 0);
    assert_true(order_totals(&order->lines, &items, &freight));
    assert_true(items.units == order->row.items_total.units && freight.units == order->row.freight_total.units);
    for (size_t i = 0; i < order->lines.count; i++)
        assert_true(lines[i].quantity > 0 && lines[i].line_id > 0);
    assert_true(time_is_null(order->row.canceled_at) ==
                !(text_is(order->row.status, "canceled") || text_is(order->row.status, "rejected")));
    assert_true(!text_is(order->row.status, "delivered") || !time_is_null(order->row.approved_at));
}

static void any_modification(struct os_random *random, const struct order *order, struct modify_order *ret)
{
    const struct order_line *lines = order->lines.items;

    *ret = (struct modify_order){.quantity = below(random, 6) - 1};
    if (below(random, 4) == 0)
        ret->city = BANYAN_STR("Olinda");
    else if (order->lines.count > 0)
        ret->line_id = lines[below(random, (int64_t)order->lines.count)].line_id + (below(random, 9) == 0 ? 5000 : 0);
}

static void order_sequence(struct os_random *random, struct banyan_arena *arena)
{
    struct subject subject;

    subject_init(&subject, AGGREGATE_ORDER, KEY, arena);
    for (int i = 0; i < COMMANDS; i++) {
        unsigned type = (unsigned)below(random, ORDER_COMMAND_COUNT + 4);
        struct order before = *(const struct order *)subject.state;
        struct place_order place = any_order(random, arena);
        struct modify_order modify;
        struct confirm_order confirm = {banyan_decimal_null()};
        struct order_end end = {BANYAN_STR("changed my mind")};
        const void *fields[ORDER_COMMAND_COUNT] = {&place, &modify, &confirm, NULL, NULL, &end, &end};
        const struct order *order;
        struct decided decided;

        type = type < ORDER_COMMAND_COUNT ? type : (before.exists ? ORDER_MODIFY : ORDER_PLACE);
        any_modification(random, &before, &modify);
        subject.now.us++;
        decided = subject_send(&subject, type, fields[type]);
        order = subject.state;
        if (decided.count == 0) {
            assert_true(banyan_record_diff(&commerce_order_state, &before, order) == 0);
            continue;
        }
        check_order(order);
        if (!may_follow(before.row.status, order->row.status))
            fail_msg("%.*s after %.*s", (int)order->row.status.size, order->row.status.data,
                     (int)before.row.status.size, before.row.status.data);
        if (type != ORDER_MODIFY) /* once more: nothing is left to do */
            subject_expect(&subject, type, fields[type], 0);
    }
}

static void orders_take_possible_steps(void **state)
{
    (void)state;
    run("orders", order_sequence);
}

/* ---- payments ---- */

struct money {
    int64_t requested, authorized, captured, refunded, voided;
    bool is_requested, is_authorized, is_closed; /* closed: declined, voided or all refunded */
};

static int64_t open_money(const struct money *money)
{
    return money->authorized - money->captured - money->voided;
}

/* Is the command accepted, and what does it do? */
static bool model_payment(struct money *money, unsigned type, int64_t amount)
{
    bool valid = amount > 0;

    switch (type) {
    case PAYMENT_REQUEST:
        if (money->is_requested || money->is_authorized)
            return amount == (money->is_authorized ? money->authorized : money->requested);
        money->is_requested = valid;
        money->requested = amount;
        return valid;
    case PAYMENT_AUTHORIZE:
        if (money->is_authorized)
            return money->captured == 0 && !money->is_closed && amount == money->authorized;
        if (money->is_closed || !valid)
            return false;
        money->is_authorized = true;
        money->authorized = amount;
        return true;
    case PAYMENT_DECLINE:
        if (money->is_authorized || !money->is_requested)
            return false;
        if (money->is_closed)
            return money->voided == 0; /* declined before, not given up */
        money->is_closed = true;
        return true;
    case PAYMENT_CAPTURE:
        if (!money->is_authorized || money->is_closed || !valid || amount > open_money(money))
            return false;
        money->captured += amount;
        return true;
    case PAYMENT_REFUND:
        if (money->captured == 0 || !valid || amount > money->captured - money->refunded)
            return false;
        money->refunded += amount;
        money->is_closed = money->refunded == money->captured;
        return true;
    default:
        return false;
    }
}

static void compare_payment(const struct payment *payment, const struct money *money)
{
    int64_t authorized = money->is_authorized ? money->authorized : money->requested;

    if (!payment->exists)
        return;
    assert_true(payment->row.amount.units == authorized);
    assert_true(payment->row.captured.units == money->captured);
    assert_true(payment->row.refunded.units == money->refunded);
    assert_true(payment->voided.units == money->voided);
    assert_true(money->captured + money->voided <= authorized && money->refunded <= money->captured);
    assert_true(money->refunded >= 0 && money->voided >= 0);
}

/* VoidPayment is told apart from the others: what it gives up is all that is open. */
static void give_up(struct subject *subject, struct money *money)
{
    struct payment_end end = {BANYAN_STR("no more")};
    struct decided decided = subject_send(subject, PAYMENT_VOID, &end);

    if (decided.count == 0)
        return;
    assert_int_equal(decided.types[0], PAYMENT_VOIDED);
    if (money->is_authorized) {
        assert_true(open_money(money) > 0);
        money->voided += open_money(money);
    }
    if (money->captured == 0)
        money->is_closed = true;
}

static void payment_sequence(struct os_random *random, struct banyan_arena *arena)
{
    struct money money = {.requested = 0};
    bool gave_up_request = false;
    struct subject subject;

    subject_init(&subject, AGGREGATE_PAYMENT, KEY, arena);
    for (int i = 0; i < COMMANDS; i++) {
        unsigned type = (unsigned)below(random, PAYMENT_COMMAND_COUNT);
        int64_t amount = below(random, 12) == 0 ? -below(random, 3) : 1 + below(random, 40);
        struct request_payment request = {7, 0, BANYAN_STR("boleto"), 0, money_of(amount)};
        struct authorize_payment authorize = {.order_id = 7, .amount = money_of(amount)};
        struct capture_payment capture = {money_of(amount)};
        struct refund_payment refund = {money_of(amount), BANYAN_STR("broken")};
        struct payment_end end = {BANYAN_STR("no")};
        const void *fields[PAYMENT_COMMAND_COUNT] = {&request, &authorize, &end, &capture, &refund, &end};

        if (type == PAYMENT_VOID) {
            gave_up_request |= money.is_requested && !money.is_authorized && !money.is_closed;
            give_up(&subject, &money);
        } else if (type == PAYMENT_DECLINE && gave_up_request) {
            subject_refused(&subject, type, fields[type], "payment-voided");
        } else if (model_payment(&money, type, amount)) {
            struct decided decided = subject_send(&subject, type, fields[type]);

            if (decided.code != NULL)
                fail_msg("command %u of %lld is refused: %s", type, (long long)amount, decided.code);
        } else if (subject_send(&subject, type, fields[type]).code == NULL) {
            fail_msg("command %u of %lld is accepted", type, (long long)amount);
        }
        compare_payment(subject.state, &money);
    }
}

static void money_is_conserved(void **state)
{
    (void)state;
    run("payments", payment_sequence);
}

/* ---- stock ---- */

static void stock_sequence(struct os_random *random, struct banyan_arena *arena)
{
    int64_t available = 0, reserved = 0, allocated = 0, shipped = 0, received = 0;
    struct subject subject;

    subject_init(&subject, AGGREGATE_STOCK, KEY, arena);
    for (int i = 0; i < COMMANDS; i++) {
        unsigned type = (unsigned)below(random, STOCK_COMMAND_COUNT);
        int64_t quantity = below(random, 12) == 0 ? -below(random, 3) : 1 + below(random, 9);
        struct receive_stock receive = {.product_id = 3, .quantity = quantity};
        struct move_stock move = {1, 2, quantity};
        struct release_stock release = {1, 2, quantity, below(random, 2) == 0};
        const void *fields[STOCK_COMMAND_COUNT] = {&receive, &move, &move, &release, &move};
        int64_t *from[STOCK_COMMAND_COUNT] = {NULL, &available, &reserved, release.allocated ? &allocated : &reserved,
                                              &allocated};
        int64_t *to[STOCK_COMMAND_COUNT] = {&available, &reserved, &allocated, &available, &shipped};
        bool right = quantity > 0 && (type == STOCK_RECEIVE || *from[type] >= quantity);
        struct decided decided = subject_send(&subject, type, fields[type]);
        const struct stock_row *row = &((const struct stock *)subject.state)->row;

        assert_int_equal(decided.code == NULL, right);
        assert_int_equal(decided.count, right ? 1 : 0);
        if (right && from[type] != NULL)
            *from[type] -= quantity;
        if (right)
            *to[type] += quantity;
        received += right && type == STOCK_RECEIVE ? quantity : 0;
        assert_true(row->available == available && row->reserved == reserved && row->allocated == allocated &&
                    row->shipped == shipped && row->received == received);
        assert_true(available >= 0 && reserved >= 0 && allocated >= 0);
        assert_int_equal(available + reserved + allocated + shipped, received);
    }
}

static void stock_is_conserved(void **state)
{
    (void)state;
    run("stock", stock_sequence);
}

/* ---- jobs ---- */

struct job {
    int64_t worker; /* 0: nobody */
    int64_t until;
    int64_t ready;
    int64_t attempts;
    bool done;
};

static bool held(const struct job *job, int64_t now)
{
    return job->worker != 0 && job->until > now;
}

static void try_lease(struct os_random *random, struct subject *subject, struct job *job)
{
    char name[2] = {0};
    int64_t worker = 1 + below(random, 3), now = subject->now.us, until = now + below(random, 20) - 2;
    struct lease_job lease = {{name, 1}, {until}};
    bool own = held(job, now) && job->worker == worker, right;

    name[0] = (char)('a' + worker);
    right = !job->done && (own || (!held(job, now) && job->ready <= now && job->attempts < JOB_ATTEMPTS_MAX)) &&
            (until > now || (own && until == job->until));
    assert_int_equal(subject_send(subject, JOB_LEASE, &lease).code == NULL, right);
    if (!right)
        return;
    job->attempts += !own;
    job->worker = worker;
    job->until = until;
}

static void try_end(struct os_random *random, struct subject *subject, struct job *job, bool acknowledge)
{
    char name[2] = {0};
    int64_t worker = 1 + below(random, 3), now = subject->now.us;
    struct acknowledge_job done = {{name, 1}};
    struct release_job give_back = {{name, 1}, BANYAN_STR("no boxes"), {now + below(random, 10)}};
    bool right = held(job, now) && job->worker == worker && !job->done;
    bool repeated = acknowledge && job->done && job->worker == worker;

    name[0] = (char)('a' + worker);
    assert_int_equal(subject_send(subject, acknowledge ? JOB_ACKNOWLEDGE : JOB_RELEASE,
                                  acknowledge ? (const void *)&done : (const void *)&give_back)
                             .code == NULL,
                     right || repeated);
    if (!right)
        return;
    if (acknowledge) {
        job->done = true;
    } else {
        job->worker = 0;
        job->ready = give_back.retry_at.us;
    }
}

static void job_sequence(struct os_random *random, struct banyan_arena *arena)
{
    struct fulfillment_line line = {1, 2, 3, 4};
    struct create_fulfillment create = {7, 1, {&line, 1}};
    struct assign_warehouse assign = {5};
    struct job job = {.worker = 0};
    struct subject subject;

    subject_init(&subject, AGGREGATE_FULFILLMENT, KEY, arena);
    subject_expect(&subject, FULFILLMENT_CREATE, &create, 1);
    subject_expect(&subject, FULFILLMENT_ASSIGN, &assign, 1);
    job.ready = subject.now.us;
    for (int i = 0; i < COMMANDS; i++) {
        subject.now.us += below(random, 6);
        switch (below(random, 8)) {
        case 0:
            try_end(random, &subject, &job, true);
            break;
        case 1:
        case 2:
            try_end(random, &subject, &job, false);
            break;
        default:
            try_lease(random, &subject, &job);
            break;
        }
    }
}

static void no_job_is_given_twice(void **state)
{
    (void)state;
    run("jobs", job_sequence);
}

/* ---- fulfillments ---- */

static void fulfillments_go_forward(void **state)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct fulfillment_line line = {1, 2, 3, 4};
    struct create_fulfillment create = {7, 1, {&line, 1}};
    struct assign_warehouse assign = {5};
    struct pack_fulfillment pack = {0};
    struct ship_fulfillment ship = {BANYAN_STR("post"), BANYAN_STR("RR1")};
    struct cancel_fulfillment cancel = {BANYAN_STR("lost")};
    const void *fields[FULFILLMENT_COMMAND_COUNT] = {&create, &assign, &pack, &ship, NULL, &cancel};
    struct subject subject;

    (void)state;
    subject_init(&subject, AGGREGATE_FULFILLMENT, KEY, &arena);
    for (unsigned step = FULFILLMENT_CREATE; step <= FULFILLMENT_DELIVER; step++) {
        for (unsigned later = step + 1; later <= FULFILLMENT_DELIVER; later++)
            assert_non_null(subject_send(&subject, later, fields[later]).code);
        subject_expect(&subject, step, fields[step], 1);
        subject_expect(&subject, step, fields[step], 0);
    }
    subject_refused(&subject, FULFILLMENT_CANCEL, &cancel, "fulfillment-delivered");
    for (unsigned until = FULFILLMENT_CREATE; until <= FULFILLMENT_PACK; until++) {
        subject_init(&subject, AGGREGATE_FULFILLMENT, KEY, &arena);
        for (unsigned step = FULFILLMENT_CREATE; step <= until; step++)
            subject_expect(&subject, step, fields[step], 1);
        subject_expect(&subject, FULFILLMENT_CANCEL, &cancel, 1);
        subject_expect(&subject, FULFILLMENT_CANCEL, &cancel, 0);
        for (unsigned step = FULFILLMENT_ASSIGN; step <= FULFILLMENT_DELIVER; step++)
            subject_refused(&subject, step, fields[step], "fulfillment-canceled");
    }
    banyan_arena_release(&arena);
}

/* ---- any event at any time ---- */

static void event_sequence(struct os_random *random, struct banyan_arena *arena)
{
    struct subject subjects[AGGREGATE_COUNT];

    for (unsigned a = 0; a < AGGREGATE_COUNT; a++)
        subject_init(&subjects[a], (enum commerce_aggregate)a, KEY, arena);
    for (int i = 0; i < COMMANDS; i++) {
        unsigned type = (unsigned)below(random, COMMERCE_EVENT_COUNT);
        const struct banyan_record *record = commerce_events[type].record;
        void *payload = banyan_arena_zalloc(arena, record->size);

        random_value(record, payload, random, arena);
        for (unsigned a = 0; a < AGGREGATE_COUNT; a++) {
            subjects[a].now.us = below(random, INT64_C(2000000000000000));
            subject_fold(&subjects[a], type, payload);
            subject_check(&subjects[a]);
        }
    }
}

static void any_event_at_any_time(void **state)
{
    (void)state;
    run("events", event_sequence);
}

/* ---- what commands say when they are refused ---- */

static void refusals_of_orders(void **state)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct order_line line = {0, 2, BANYAN_STR("Lamp"), BANYAN_STR("light"), 1, 9, 2, money_of(1000), money_of(50)};
    struct place_order place = {
        .customer_id = 1, .customer = BANYAN_STR("Ana"), .promised_at = COMMERCE_NO_TIME, .lines = {&line, 1}};
    struct modify_order modify = {.line_id = KEY * 1000 + 1, .quantity = 0};
    struct confirm_order confirm = {banyan_decimal_null()};
    struct order_end end = {BANYAN_STR("why")};
    struct subject subject;

    (void)state;
    subject_init(&subject, AGGREGATE_ORDER, KEY, &arena);
    subject_refused(&subject, ORDER_CANCEL, &end, "order-unknown");
    place.customer_id = 0;
    subject_refused(&subject, ORDER_PLACE, &place, "customer-invalid");
    place.customer_id = 1;
    subject_expect(&subject, ORDER_PLACE, &place, 1);
    subject_expect(&subject, ORDER_PLACE, &place, 0);
    place.customer_id = 2;
    subject_refused(&subject, ORDER_PLACE, &place, "order-exists");
    subject_refused(&subject, ORDER_MODIFY, &modify, "lines-missing");
    modify.quantity = 3;
    subject_expect(&subject, ORDER_MODIFY, &modify, 1);
    assert_true(((const struct order *)subject.state)->row.items_total.units == 3000);
    subject_refused(&subject, ORDER_SHIP, NULL, "order-not-approved");
    subject_expect(&subject, ORDER_CONFIRM, &confirm, 1);
    modify.quantity = 4;
    subject_refused(&subject, ORDER_MODIFY, &modify, "order-approved");
    subject_refused(&subject, ORDER_REJECT, &end, "order-approved");
    subject_expect(&subject, ORDER_SHIP, NULL, 1);
    subject_refused(&subject, ORDER_CANCEL, &end, "order-shipped");
    subject_expect(&subject, ORDER_COMPLETE, NULL, 1);
    subject_refused(&subject, ORDER_CANCEL, &end, "order-delivered");
    banyan_arena_release(&arena);
}

/* An order of the past that was shipped before it was approved, before it was placed even, and canceled though paid. */
static void anomalies_are_told_as_they_are(void **state)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct order_placed placed = {.order_id = KEY,
                                  .placed_at = {2000},
                                  .promised_at = COMMERCE_NO_TIME,
                                  .items_total = money_of(0),
                                  .freight_total = money_of(0)};
    struct order_shipped shipped = {KEY};
    struct order_confirmed confirmed = {KEY, money_of(5)};
    struct order_canceled canceled = {KEY, BANYAN_STR("")};
    const struct order *order;
    struct subject subject;

    (void)state;
    subject_init(&subject, AGGREGATE_ORDER, KEY, &arena);
    order = subject.state;
    subject.now.us = 2000;
    subject_fold(&subject, ORDER_PLACED, &placed);
    subject.now.us = 1000;
    subject_fold(&subject, ORDER_SHIPPED, &shipped);
    subject.now.us = 1500;
    subject_fold(&subject, ORDER_CONFIRMED, &confirmed);
    subject_fold(&subject, ORDER_CANCELED, &canceled);
    assert_int_equal(order->row.placed_at.us, 2000);
    assert_int_equal(order->row.shipped_at.us, 1000);
    assert_int_equal(order->row.approved_at.us, 1500);
    assert_true(text_is(order->row.status, ORDER_STATUS_CANCELED));
    assert_int_equal(order->lines.count, 0);
    banyan_arena_release(&arena);
}

/* ---- what is archived together ---- */

static int closes(unsigned type, const void *payload, int64_t *ret_root)
{
    const struct banyan_archive_group *group = banyan_domain_commerce.archive;
    struct banyan_seen seen = {.type = type, .payload = payload, .key = KEY};

    *ret_root = 0;
    (void)group->root(&seen, ret_root);
    return group->closes(&seen);
}

static void an_order_is_over_with_all_its_parts(void **state)
{
    struct payment_captured captured = {.payment_id = 1, .order_id = 77};
    struct fulfillment_delivered delivered = {1, 77};
    struct payment_authorized authorized = {.payment_id = 1, .order_id = 77};
    struct payment_reconciled reconciled = {.row = {.order_id = 77, .status = BANYAN_STR(PAYMENT_STATUS_VOIDED)}};
    struct order_completed completed = {77};
    struct checkout checkout = {.order_id = 77};
    struct stock_received received = {.stock_id = 77};
    int64_t root;

    (void)state;
    assert_int_equal(closes(ORDER_COMPLETED, &completed, &root), 1);
    assert_int_equal(root, KEY);
    assert_int_equal(closes(ORDER_CONFIRMED, &completed, &root), -1);
    assert_int_equal(closes(ORDER_ADDRESS_CHANGED, &completed, &root), 0);
    assert_int_equal(closes(PAYMENT_CAPTURED, &captured, &root), 1);
    assert_int_equal(root, 77);
    assert_int_equal(closes(PAYMENT_AUTHORIZED, &authorized, &root), -1);
    assert_int_equal(closes(PAYMENT_RECONCILED, &reconciled, &root), 1);
    assert_int_equal(root, 77);
    assert_int_equal(closes(FULFILLMENT_DELIVERED, &delivered, &root), 1);
    assert_int_equal(closes(FULFILLMENT_SHIPPED, &delivered, &root), -1);
    assert_int_equal(closes(CHECKOUT_RESERVED, &checkout, &root), -1);
    assert_int_equal(closes(CHECKOUT_COMPENSATED, &checkout, &root), 1);
    assert_int_equal(root, 77);
    assert_int_equal(closes(STOCK_RECEIVED, &received, &root), 0);
    assert_int_equal(root, 0); /* stock belongs to no order */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_take_possible_steps),
        cmocka_unit_test(money_is_conserved),
        cmocka_unit_test(stock_is_conserved),
        cmocka_unit_test(no_job_is_given_twice),
        cmocka_unit_test(fulfillments_go_forward),
        cmocka_unit_test(any_event_at_any_time),
        cmocka_unit_test(refusals_of_orders),
        cmocka_unit_test(anomalies_are_told_as_they_are),
        cmocka_unit_test(an_order_is_over_with_all_its_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
