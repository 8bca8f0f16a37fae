/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random histories of a few dozen orders, corrected and removed ones too, shown to all read models; then each row, sum
 * and answer is computed again from the states of the aggregates, the slow and simple way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "commerce/events.h"
#include "commerce/order.h"
#include "commerce/payment.h"
#include "commerce/read_models.h"
#include "commerce/stock.h"
#include "fake_unit.h"
#include "harness.h"
#include "support/seed.h"

enum {
    ROUNDS = 12,
    ORDERS = 24,
    PARTS = 2, /* payments and fulfillments of an order, each */
    STEPS = 1500,
    STOCKS = 5,
};

#define DAY INT64_C(86400000000)

struct world {
    struct os_random random;
    struct banyan_arena arena;
    struct banyan_unit units[PROJECTION_COUNT];
    struct subject orders[ORDERS], payments[ORDERS * PARTS], fulfillments[ORDERS * PARTS], stock[STOCKS];
};

static int64_t below(struct world *world, int64_t bound)
{
    return (int64_t)os_random_below(&world->random, (uint64_t)bound);
}

/* ---- history ---- */

static void show(struct world *world, struct subject *subject, unsigned type, const void *payload)
{
    struct banyan_seen seen = {
        .type = type, .payload = payload, .key = subject->key, .at = subject->now, .provenance = BANYAN_EXACT};

    for (size_t i = 0; i < PROJECTION_COUNT; i++)
        fake_apply(&world->units[i], &seen, commerce_aggregates[subject->aggregate].category);
}

static void send(struct world *world, struct subject *subject, unsigned command, const void *fields)
{
    struct decided decided;

    subject->now.us = INT64_C(1700000000000000) + below(world, 40 * DAY);
    decided = subject_send(subject, command, fields);
    for (size_t i = 0; i < decided.count; i++)
        show(world, subject, decided.types[i], decided.payloads[i]);
}

/* An event that no command made. */
static void tell(struct world *world, struct subject *subject, unsigned type, const void *payload)
{
    subject->now.us = INT64_C(1700000000000000) + below(world, 40 * DAY);
    subject_fold(subject, type, payload);
    subject_check(subject);
    show(world, subject, type, payload);
}

static struct banyan_str any_of(struct world *world, const char *const *texts, size_t count)
{
    return banyan_str_of(texts[below(world, (int64_t)count)]);
}

static const char *const states[] = {"SP", "RJ", "MG"};
static const char *const cities[] = {"Recife", "Olinda", "Natal"};
static const char *const categories[] = {"toys", "books", "", "home\ngarden"};
static const char *const statuses[] = {"created", "approved", "shipped", "delivered", "canceled", "unavailable"};

#define ANY(world, texts) any_of(world, texts, COMMERCE_COUNT(texts))

static struct banyan_list any_lines(struct world *world, int64_t order_id)
{
    struct banyan_list list = {NULL, (size_t)below(world, 4) + 1};
    struct order_line *lines = banyan_arena_zalloc(&world->arena, list.count * sizeof(*lines));

    for (size_t i = 0; i < list.count; i++)
        lines[i] = (struct order_line){order_id * 1000 + (int64_t)i + 1,
                                       1 + below(world, 9),
                                       BANYAN_STR("Lamp"),
                                       ANY(world, categories),
                                       1,
                                       1 + below(world, STOCKS),
                                       1 + below(world, 4),
                                       money_of(below(world, 10000)),
                                       money_of(below(world, 900))};
    list.items = lines;
    return list;
}

static void step_order(struct world *world, struct subject *subject)
{
    const struct order *order = subject->state;
    struct place_order place = {.customer_id = 1 + below(world, 5),
                                .customer = BANYAN_STR("Ana"),
                                .city = ANY(world, cities),
                                .state = ANY(world, states),
                                .external_id = BANYAN_STR("x-77"),
                                .promised_at = COMMERCE_NO_TIME,
                                .lines = any_lines(world, subject->key)};
    struct modify_order modify = {.line_id = subject->key * 1000 + 1 + below(world, 3), .quantity = below(world, 4)};
    struct confirm_order confirm = {banyan_decimal_null()};
    struct order_end end = {BANYAN_STR("no")};
    struct order_status_noted noted = {subject->key, ANY(world, statuses)};
    struct order_reconciled reconciled = {.row = order->row, .lines = order->lines, .fields = BANYAN_STR("state")};
    const void *fields[ORDER_COMMAND_COUNT] = {&place, &modify, &confirm, NULL, NULL, &end, &end};
    unsigned command = (unsigned)below(world, ORDER_CANCEL + 1);

    if (!order->exists) {
        command = ORDER_PLACE;
        if (subject->version > 0)
            return; /* removed */
    } else if (below(world, 8) == 0) {
        tell(world, subject, ORDER_STATUS_NOTED, &noted);
        return;
    } else if (below(world, 12) == 0) {
        reconciled.row.state = ANY(world, states);
        reconciled.row.placed_at.us += DAY * (below(world, 3) - 1);
        reconciled.removed = below(world, 6) == 0;
        if (!reconciled.removed && below(world, 3) == 0)
            reconciled.row.delivered_at.us = reconciled.row.placed_at.us - DAY / 2;
        tell(world, subject, ORDER_RECONCILED, &reconciled);
        return;
    }
    send(world, subject, command, fields[command]);
}

static void step_payment(struct world *world, struct subject *subject, int64_t order_id)
{
    const struct payment *payment = subject->state;
    struct request_payment request = {order_id, 0, BANYAN_STR("card"), 0, money_of(1 + below(world, 5000))};
    struct authorize_payment authorize = {.order_id = order_id, .amount = money_of(1 + below(world, 5000))};
    struct capture_payment capture = {money_of(1 + below(world, 3000))};
    struct refund_payment refund = {money_of(1 + below(world, 2000)), BANYAN_STR("broken")};
    struct payment_end end = {BANYAN_STR("no")};
    const void *fields[PAYMENT_COMMAND_COUNT] = {&request, &authorize, &end, &capture, &refund, &end};
    unsigned command = (unsigned)below(world, PAYMENT_COMMAND_COUNT);
    struct payment_reconciled reconciled;
    struct payment_row row = payment->row;

    if (below(world, 9) > 0 || !payment->exists) {
        send(world, subject, command, fields[command]);
        return;
    }
    row.captured = money_of(below(world, 3000));
    row.refunded = money_of(below(world, 3000));
    row.amount = money_of(below(world, 9000));
    if (!text_is(row.status, PAYMENT_STATUS_REQUESTED)) /* which is authorized later, and counts then */
        row.authorized_at.us = 5;
    payment_reconcile(payment, below(world, 5) == 0 ? NULL : &row, &reconciled);
    tell(world, subject, PAYMENT_RECONCILED, &reconciled);
}

static void step_fulfillment(struct world *world, struct subject *subject, int64_t order_id)
{
    const struct fulfillment *fulfillment = subject->state;
    struct fulfillment_line lines[] = {{order_id * 1000 + 1, 1, 1, 1 + below(world, 5)},
                                       {order_id * 1000 + 2, 1, 1, 1}};
    struct create_fulfillment create = {order_id, 1, {lines, 1 + (size_t)below(world, 2)}};
    struct assign_warehouse assign = {1 + below(world, 2)};
    struct pack_fulfillment pack = {1};
    struct ship_fulfillment ship = {BANYAN_STR("post"), {NULL, 0}};
    struct cancel_fulfillment cancel = {BANYAN_STR("lost")};
    struct lease_job lease = {BANYAN_STR("w1"), {INT64_C(1700000000000000) + below(world, 60 * DAY)}};
    struct acknowledge_job done = {BANYAN_STR("w1")};
    struct release_job release = {BANYAN_STR("w1"), BANYAN_STR(""), {INT64_C(1700000000000000) + below(world, DAY)}};
    const void *fields[FULFILLMENT_COMMAND_COUNT] = {&create, &assign, &pack, &ship,   NULL,
                                                     &cancel, &lease,  &done, &release};
    static const unsigned usual[] = {FULFILLMENT_CREATE, FULFILLMENT_ASSIGN, JOB_LEASE,   JOB_LEASE,
                                     FULFILLMENT_PACK,   FULFILLMENT_SHIP,   JOB_RELEASE, FULFILLMENT_DELIVER,
                                     FULFILLMENT_CANCEL, JOB_ACKNOWLEDGE};
    unsigned command = usual[below(world, (int64_t)COMMERCE_COUNT(usual))];
    struct fulfillment_reconciled reconciled = {.row = fulfillment->row, .fields = BANYAN_STR("status")};

    if (below(world, 9) > 0 || !fulfillment->exists) {
        send(world, subject, fulfillment->exists ? command : FULFILLMENT_CREATE,
             fulfillment->exists ? fields[command] : &create);
        return;
    }
    reconciled.status_before = fulfillment->row.status;
    reconciled.removed = below(world, 6) == 0;
    reconciled.row.status = ANY(world, statuses);
    tell(world, subject, FULFILLMENT_RECONCILED, &reconciled);
}

static void step_stock(struct world *world, struct subject *subject)
{
    struct receive_stock receive = {.product_id = subject->key, .seller_id = 1, .quantity = 1 + below(world, 9)};
    struct move_stock move = {1, 2, 1 + below(world, 5)};
    struct release_stock release = {1, 2, 1 + below(world, 5), below(world, 2) == 0};
    const void *fields[STOCK_COMMAND_COUNT] = {&receive, &move, &move, &release, &move};
    unsigned command = (unsigned)below(world, STOCK_COMMAND_COUNT);

    send(world, subject, command, fields[command]);
}

static void begin(struct world *world)
{
    for (size_t i = 0; i < PROJECTION_COUNT; i++)
        world->units[i] = (struct banyan_unit){.projection = &commerce_projections[i], .arena = &world->arena};
    for (int64_t i = 0; i < ORDERS; i++)
        subject_init(&world->orders[i], AGGREGATE_ORDER, i + 1, &world->arena);
    for (int64_t i = 0; i < ORDERS * PARTS; i++) {
        subject_init(&world->payments[i], AGGREGATE_PAYMENT, 100 + i, &world->arena);
        subject_init(&world->fulfillments[i], AGGREGATE_FULFILLMENT, 500 + i, &world->arena);
    }
    for (int64_t i = 0; i < STOCKS; i++)
        subject_init(&world->stock[i], AGGREGATE_STOCK, i + 1, &world->arena);
}

static void live(struct world *world)
{
    for (int i = 0; i < STEPS; i++) {
        int64_t order = below(world, ORDERS), part = order * PARTS + below(world, PARTS);

        switch (below(world, 6)) {
        case 0:
        case 1:
            step_order(world, &world->orders[order]);
            break;
        case 2:
            step_payment(world, &world->payments[part], order + 1);
            break;
        case 3:
            step_stock(world, &world->stock[below(world, STOCKS)]);
            break;
        default:
            step_fulfillment(world, &world->fulfillments[part], order + 1);
            break;
        }
    }
}

/* ---- mirrors and inventory ---- */

static void same_row(const struct banyan_unit *unit, int64_t key, const struct banyan_record *record, const void *row)
{
    const void *found = fake_row(unit, 0, key);

    assert_int_equal(found == NULL, row == NULL);
    if (row != NULL && banyan_record_diff(record, found, row) != 0)
        fail_msg("%s, key %lld: the row is not the state's", unit->projection->name, (long long)key);
}

/* The row is what the mapping makes of the state. */
static void same_as_told(struct world *world, enum commerce_projection projection, enum commerce_aggregate aggregate,
                         const struct subject *subject)
{
    const struct banyan_legacy_mapping *mapping = &banyan_domain_commerce.mappings[aggregate];
    const struct banyan_record *record = mapping->tables[0].row;
    void *row = banyan_arena_zalloc(subject->arena, record->size);
    bool exists;

    banyan_record_init(record, row);
    exists = mapping->row(subject->state, row);
    same_row(&world->units[projection], subject->key, record, exists ? row : NULL);
}

static void check_items(struct world *world)
{
    const struct banyan_unit *unit = &world->units[PROJECTION_LEGACY_ITEMS];
    size_t count = 0;

    for (size_t i = 0; i < ORDERS; i++) {
        const struct order *order = world->orders[i].state;
        const struct order_line *lines = order->lines.items;

        for (size_t l = 0; order->exists && l < order->lines.count; l++, count++) {
            struct item_row row = {lines[l].line_id,    order->row.order_id, lines[l].product_id, lines[l].product,
                                   lines[l].category,   lines[l].seller_id,  lines[l].stock_id,   lines[l].quantity,
                                   lines[l].unit_price, lines[l].freight};

            same_row(unit, row.item_id, &commerce_item_row, &row);
        }
    }
    assert_int_equal(fake_count(unit, 0), count);
}

static void check_mirrors(struct world *world)
{
    for (size_t i = 0; i < ORDERS; i++)
        same_as_told(world, PROJECTION_LEGACY_ORDERS, AGGREGATE_ORDER, &world->orders[i]);
    for (size_t i = 0; i < (size_t)ORDERS * PARTS; i++) {
        same_as_told(world, PROJECTION_LEGACY_PAYMENTS, AGGREGATE_PAYMENT, &world->payments[i]);
        same_as_told(world, PROJECTION_LEGACY_SHIPMENTS, AGGREGATE_FULFILLMENT, &world->fulfillments[i]);
    }
    for (size_t i = 0; i < STOCKS; i++) {
        const struct stock *stock = world->stock[i].state;
        const struct inventory_row *row = fake_row(&world->units[PROJECTION_INVENTORY], 0, world->stock[i].key);

        same_as_told(world, PROJECTION_LEGACY_STOCK, AGGREGATE_STOCK, &world->stock[i]);
        assert_int_equal(row != NULL, stock->exists);
        assert_true(row == NULL || row->on_hand == stock->row.received - stock->row.shipped);
    }
    check_items(world);
}

/* ---- order_status ---- */

static void add_payments(struct world *world, size_t order, struct order_status_row *sum)
{
    sum->authorized = sum->captured = sum->refunded = money_of(0);
    for (size_t i = order * PARTS; i < (order + 1) * PARTS; i++) {
        const struct payment *payment = world->payments[i].state;

        if (!payment->exists)
            continue;
        sum->captured = money_add(sum->captured, payment->row.captured);
        sum->refunded = money_add(sum->refunded, payment->row.refunded);
        if (time_is_null(payment->row.authorized_at))
            continue;
        sum->payments++;
        sum->authorized = money_add(sum->authorized, money_sub(payment->row.amount, payment->voided));
    }
}

static void add_fulfillments(struct world *world, size_t order, struct order_status_row *sum)
{
    for (size_t i = order * PARTS; i < (order + 1) * PARTS; i++) {
        const struct fulfillment *fulfillment = world->fulfillments[i].state;

        if (!fulfillment->exists)
            continue;
        sum->shipments++;
        sum->shipments_canceled += text_is(fulfillment->row.status, FULFILLMENT_STATUS_CANCELED);
        sum->shipments_delivered += text_is(fulfillment->row.status, FULFILLMENT_STATUS_DELIVERED);
        sum->shipments_shipped += text_is(fulfillment->row.status, FULFILLMENT_STATUS_DELIVERED) ||
                                  text_is(fulfillment->row.status, FULFILLMENT_STATUS_SHIPPED);
    }
}

static void check_status(struct world *world)
{
    for (size_t i = 0; i < ORDERS; i++) {
        const struct order *order = world->orders[i].state;
        const struct order_status_row *row = fake_row(&world->units[PROJECTION_ORDER_STATUS], 0, world->orders[i].key);
        struct order_status_row sum = {.lines = 0};

        if (!order->exists)
            continue; /* removed, or only its parts are known */
        assert_non_null(row);
        add_payments(world, i, &sum);
        add_fulfillments(world, i, &sum);
        assert_true(banyan_record_diff(&commerce_order_row, &order->row, &row->order) == 0);
        assert_int_equal(row->lines, order->lines.count);
        assert_int_equal(row->payments, sum.payments);
        assert_true(row->authorized.units == sum.authorized.units && row->captured.units == sum.captured.units &&
                    row->refunded.units == sum.refunded.units);
        assert_int_equal(row->shipments, sum.shipments);
        assert_int_equal(row->shipments_shipped, sum.shipments_shipped);
        assert_int_equal(row->shipments_delivered, sum.shipments_delivered);
        assert_int_equal(row->shipments_canceled, sum.shipments_canceled);
    }
}

/* ---- analytics ---- */

static bool is_revenue(const struct order *order)
{
    return order->exists && !text_is(order->row.status, "canceled") && !text_is(order->row.status, "rejected") &&
           !text_is(order->row.status, "unavailable");
}

static int64_t day_of(struct banyan_time t)
{
    return t.us / DAY * DAY;
}

/* Money and units over all orders, and over the rows of an answer. */
static void check_revenue(struct world *world, const char *state)
{
    static struct banyan_answer answer;
    struct revenue_arguments arguments = {
        {INT64_C(1700000000000000) + 3 * DAY}, {INT64_C(1700000000000000) + 30 * DAY}, banyan_str_of(state), {NULL, 0}};
    __int128 items = 0, freight = 0;
    int64_t units = 0;

    for (size_t i = 0; i < ORDERS; i++) {
        const struct order *order = world->orders[i].state;
        const struct order_line *lines = order->lines.items;

        if (!is_revenue(order) || day_of(order->row.placed_at) < arguments.from.us ||
            day_of(order->row.placed_at) >= arguments.to.us || (state != NULL && !text_is(order->row.state, state)))
            continue;
        for (size_t l = 0; l < order->lines.count; l++) {
            units += lines[l].quantity;
            items += lines[l].quantity * lines[l].unit_price.units;
            freight += lines[l].freight.units;
        }
    }
    fake_ask(&world->units[PROJECTION_ANALYTICS], &commerce_analytics_queries[0], &arguments, &answer);
    for (size_t i = 0; i < answer.count; i++) {
        const struct revenue_row *row = answer.rows[i];

        assert_true(row->orders > 0);
        units -= row->units;
        items -= row->items.units;
        freight -= row->freight.units;
    }
    assert_int_equal(units, 0);
    assert_true(items == 0 && freight == 0);
}

static void check_funnel(struct world *world)
{
    static struct banyan_answer answer;
    struct funnel_arguments arguments = {COMMERCE_NO_TIME, COMMERCE_NO_TIME};
    int64_t orders = 0;

    fake_ask(&world->units[PROJECTION_ANALYTICS], &commerce_analytics_queries[1], &arguments, &answer);
    for (size_t i = 0; i < answer.count; i++) {
        const struct funnel_answer *row = answer.rows[i];
        int64_t count = 0;

        for (size_t o = 0; o < ORDERS; o++) {
            const struct order *order = world->orders[o].state;

            count += order->exists && banyan_str_equal(order->row.status, row->status);
        }
        assert_int_equal(row->orders, count);
        orders += count;
    }
    for (size_t o = 0; o < ORDERS; o++)
        orders -= ((const struct order *)world->orders[o].state)->exists;
    assert_int_equal(orders, 0);
}

static int compare_int(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static void check_delivery(struct world *world, const char *state)
{
    static struct banyan_answer answer;
    struct delivery_arguments arguments = {banyan_str_of(state)};
    const struct delivery_answer *row;
    int64_t days[ORDERS];
    size_t count = 0;

    for (size_t i = 0; i < ORDERS; i++) {
        const struct order *order = world->orders[i].state;
        int64_t us = count_sub(order->row.delivered_at.us, order->row.placed_at.us);

        if (order->exists && !time_is_null(order->row.delivered_at) &&
            (state == NULL || text_is(order->row.state, state)))
            days[count++] = us >= 0 ? us / DAY : -((-us + DAY - 1) / DAY);
    }
    qsort(days, count, sizeof(days[0]), compare_int);
    fake_ask(&world->units[PROJECTION_ANALYTICS], &commerce_analytics_queries[2], &arguments, &answer);
    assert_int_equal(answer.count, 1);
    row = answer.rows[0];
    assert_int_equal(row->orders, count);
    if (count == 0)
        return;
    assert_int_equal(row->p50, days[(count * 50 + 99) / 100 - 1]);
    assert_int_equal(row->p90, days[(count * 90 + 99) / 100 - 1]);
    assert_int_equal(row->p99, days[(count * 99 + 99) / 100 - 1]);
    assert_int_equal(row->least, days[0]);
    assert_int_equal(row->most, days[count - 1]);
}

/* ---- search and queue ---- */

static void check_find(struct world *world)
{
    static struct banyan_answer answer;
    struct {
        struct banyan_str city, state, status;
        struct banyan_time from, to;
        int64_t limit;
    } arguments = {BANYAN_STR("Recife"), {NULL, 0}, BANYAN_STR("created"), COMMERCE_NO_TIME, COMMERCE_NO_TIME, 1000};
    size_t count = 0;

    for (size_t i = 0; i < ORDERS; i++) {
        const struct order *order = world->orders[i].state;

        count += order->exists && text_is(order->row.city, "Recife") && text_is(order->row.status, "created");
    }
    fake_ask(&world->units[PROJECTION_ORDER_SEARCH], &commerce_order_search_queries[0], &arguments, &answer);
    assert_int_equal(answer.count, count);
    arguments.city = arguments.status = (struct banyan_str){NULL, 0};
    fake_ask(&world->units[PROJECTION_ORDER_SEARCH], &commerce_order_search_queries[0], &arguments, &answer);
    assert_true(answer.refused);
}

static bool is_open(const struct fulfillment *fulfillment, int64_t now)
{
    if (!fulfillment->exists || fulfillment->row.warehouse_id != 1 || fulfillment->attempts >= JOB_ATTEMPTS_MAX ||
        fulfillment->ready_at.us > now)
        return false;
    return text_is(fulfillment->job, JOB_STATUS_READY) ||
           (text_is(fulfillment->job, JOB_STATUS_LEASED) && fulfillment->lease_until.us <= now);
}

static void check_queue(struct world *world)
{
    static struct banyan_answer answer;
    struct {
        int64_t warehouse_id;
        struct banyan_time now;
        int64_t limit;
    } arguments = {1, {INT64_C(1700000000000000) + 20 * DAY}, 1000};
    size_t count = 0;
    int64_t before = INT64_MIN;

    for (size_t i = 0; i < (size_t)ORDERS * PARTS; i++)
        count += is_open(world->fulfillments[i].state, arguments.now.us);
    fake_ask(&world->units[PROJECTION_FULFILLMENT_QUEUE], &commerce_fulfillment_queue_queries[0], &arguments, &answer);
    assert_int_equal(answer.count, count);
    for (size_t i = 0; i < answer.count; i++) {
        const struct queue_row *row = answer.rows[i];

        assert_true(row->state.ready_at.us >= before && row->units > 0);
        before = row->state.ready_at.us;
    }
    if (count == 0)
        return;
    arguments.limit = 1;
    before = ((const struct queue_row *)answer.rows[0])->state.ready_at.us;
    fake_ask(&world->units[PROJECTION_FULFILLMENT_QUEUE], &commerce_fulfillment_queue_queries[0], &arguments, &answer);
    assert_int_equal(answer.count, 1);
    assert_int_equal(((const struct queue_row *)answer.rows[0])->state.ready_at.us, before);
}

static void say_what_the_states_say(void **context)
{
    static struct world world;

    (void)context;
    seed_start(&world.random, "say_what_the_states_say");
    for (unsigned round = 0; round < seed_rounds(ROUNDS); round++) {
        begin(&world);
        live(&world);
        check_mirrors(&world);
        check_status(&world);
        check_revenue(&world, NULL);
        check_revenue(&world, "SP");
        check_funnel(&world);
        check_delivery(&world, NULL);
        check_delivery(&world, "RJ");
        check_find(&world);
        check_queue(&world);
        banyan_arena_reset(&world.arena);
    }
    banyan_arena_release(&world.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(say_what_the_states_say)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
