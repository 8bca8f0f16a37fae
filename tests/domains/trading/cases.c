/* SPDX-License-Identifier: Apache-2.0 */
/* Single cases of the mapping, each with the rows that make it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "harness.h"
#include "trading/mapping.h"

#define NONE BANYAN_TIME_NULL

static struct banyan_arena arena;
static struct banyan_emitter out;
static struct order_row row;
static struct audit_row audits[8];
static struct trade_row trades[8];
static const void *audit_rows[8], *trade_rows[8];
static struct banyan_history history;
static struct banyan_change changes[8];
static size_t change_count;

/* An order of 10 at 100, placed at 1000, of which nothing else is known. */
static int prepare(void **unused)
{
    (void)unused;
    banyan_arena_reset(&arena);
    harness_init(&out, &arena);
    row = (struct order_row){.order_id = 7,
                             .trader_id = 3,
                             .symbol = BANYAN_STR("AAPL"),
                             .side = BANYAN_STR("BUY"),
                             .quantity = amount("10"),
                             .price = amount("100"),
                             .status = STATUS_NEW,
                             .filled_quantity = amount("0"),
                             .avg_fill_price = banyan_decimal_null(),
                             .created_at = {1000},
                             .updated_at = {1000}};
    change_count = 0;
    history = (struct banyan_history){.key = 7, .root = &row};
    for (size_t i = 0; i < 8; i++) {
        audit_rows[i] = &audits[i];
        trade_rows[i] = &trades[i];
    }
    history.rows[TABLE_AUDIT_LOG] = audit_rows;
    history.rows[TABLE_TRADES] = trade_rows;
    return 0;
}

static int finish(void **unused)
{
    (void)unused;
    banyan_arena_release(&arena);
    return 0;
}

static void audit(int64_t at, const char *field, const char *old_value, const char *new_value)
{
    size_t i = history.row_count[TABLE_AUDIT_LOG]++;

    audits[i] = (struct audit_row){(int64_t)i + 1,           7,   banyan_str_of(field), banyan_str_of(old_value),
                                   banyan_str_of(new_value), {at}};
}

static void trade(int64_t at, const char *quantity, const char *price)
{
    size_t i = history.row_count[TABLE_TRADES]++;

    trades[i] = (struct trade_row){(int64_t)i + 1, 7, amount(quantity), amount(price), {at}};
}

/* The row after fills of *filled* at *average*. */
static void filled(const char *quantity, const char *average, const char *status, int64_t at)
{
    row.filled_quantity = amount(quantity);
    row.avg_fill_price = amount(average);
    row.status = banyan_str_of(status);
    row.updated_at.us = at;
}

static void expect(size_t i, unsigned type, int64_t at, enum banyan_provenance provenance)
{
    if (i < out.count && out.events[i].type == type && out.events[i].at.us == at &&
        out.events[i].provenance == provenance)
        return;
    harness_print(&out);
    fail_msg("event %zu is not a type %u at %lld of provenance %d", i, type, (long long)at, provenance);
}

static void expect_count(size_t count)
{
    if (out.count == count)
        return;
    harness_print(&out);
    fail_msg("%zu events are not %zu", out.count, count);
}

static void expect_modified(size_t i, const char *field, const char *old_value, const char *new_value)
{
    const struct order_modified *modified = out.events[i].payload;

    assert_true(banyan_str_equal(modified->field, banyan_str_of(field)));
    assert_int_equal(banyan_decimal_compare(modified->old_value, amount(old_value)), 0);
    assert_int_equal(banyan_decimal_compare(modified->new_value, amount(new_value)), 0);
}

/* ---- histories ---- */

static void placed_only(void **unused)
{
    const struct order_created *created;

    harness_history(&out, &history);
    expect_count(1);
    expect(0, ORDER_CREATED, 1000, BANYAN_EXACT);
    created = out.events[0].payload;
    assert_int_equal(created->trader_id, 3);
    assert_int_equal(created->updated_at.us, BANYAN_TIME_NULL);
}

static void audit_rows_are_undone_to_the_beginning(void **unused)
{
    const struct order_created *created;

    row.price = amount("102");
    row.updated_at.us = 3000;
    audit(2000, "price", "100.00000000", "101.5");
    audit(3000, "price", "101.50000000", "1.02e2");
    harness_history(&out, &history);
    expect_count(3);
    created = out.events[0].payload;
    assert_int_equal(banyan_decimal_compare(created->price, amount("100")), 0);
    expect(1, ORDER_MODIFIED, 2000, BANYAN_EXACT);
    expect_modified(1, "price", "100", "101.5");
    expect(2, ORDER_MODIFIED, 3000, BANYAN_EXACT);
    expect_modified(2, "price", "101.5", "102");
}

static void gap_between_audit_rows(void **unused)
{
    row.price = amount("105");
    row.updated_at.us = 3000;
    audit(2000, "price", "100", "101");
    audit(3000, "price", "104", "105");
    harness_history(&out, &history);
    expect_count(4);
    expect(2, ORDER_MODIFIED, 3000, BANYAN_INFERRED);
    expect_modified(2, "price", "101", "104");
    expect(3, ORDER_MODIFIED, 3000, BANYAN_EXACT);
}

static void gap_at_the_end_explains_updated_at(void **unused)
{
    row.price = amount("105");
    row.updated_at.us = 9000;
    audit(2000, "price", "100", "101");
    harness_history(&out, &history);
    expect_count(3);
    expect(2, ORDER_MODIFIED, 9000, BANYAN_INFERRED);
    expect_modified(2, "price", "101", "105");
}

static void unexplained_updated_at_is_reconciled(void **unused)
{
    const struct order_reconciled *reconciled;

    row.updated_at.us = 9000;
    harness_history(&out, &history);
    expect_count(2);
    expect(1, ORDER_RECONCILED, 9000, BANYAN_RECONCILED);
    assert_string_equal(out.events[1].reason, "no audit row explains updated_at");
    reconciled = out.events[1].payload;
    assert_true(banyan_str_equal(reconciled->fields, BANYAN_STR("updated_at")));
    assert_false(reconciled->removed);
}

static void unreadable_audit_rows(void **unused)
{
    row.price = amount("105");
    row.updated_at.us = 4000;
    audit(2000, "price", "a hundred", "101");
    audit(2500, "price", NULL, NULL);
    audit(3000, "symbol", "IBM", "AAPL");
    audit(3500, NULL, "1", "2");
    audit(4000, "price", "", "105");
    harness_history(&out, &history);
    expect_count(3);
    expect(1, ORDER_MODIFIED, 2000, BANYAN_INFERRED);
    expect_modified(1, "price", "101", "101");
    expect(2, ORDER_MODIFIED, 4000, BANYAN_INFERRED);
    expect_modified(2, "price", "101", "105");
}

static void fills_and_their_average(void **unused)
{
    const struct order_partially_filled *partially;
    const struct order_filled *whole;

    trade(2000, "3", "100");
    trade(3000, "7", "101");
    filled("10", "100.7", "FILLED", 3000);
    harness_history(&out, &history);
    expect_count(3);
    expect(1, ORDER_PARTIALLY_FILLED, 2000, BANYAN_EXACT);
    partially = out.events[1].payload;
    assert_int_equal(banyan_decimal_compare(partially->remaining, amount("7")), 0);
    expect(2, ORDER_FILLED, 3000, BANYAN_EXACT);
    whole = out.events[2].payload;
    assert_int_equal(banyan_decimal_compare(whole->filled, amount("10")), 0);
}

static void cancellation_without_audit_row(void **unused)
{
    const struct order_canceled *canceled;

    trade(2000, "3", "100");
    filled("3", "100", "CANCELED", 2000);
    harness_history(&out, &history);
    expect_count(3);
    expect(2, ORDER_CANCELED, 2000, BANYAN_INFERRED);
    assert_string_equal(out.events[2].reason, "legacy keeps no cancellation time");
    canceled = out.events[2].payload;
    assert_int_equal(banyan_decimal_compare(canceled->remaining, amount("7")), 0);
}

static void cancellation_with_audit_row(void **unused)
{
    row.status = STATUS_CANCELED;
    row.updated_at.us = 2000;
    audit(2000, "status", "NEW", "CANCELED");
    harness_history(&out, &history);
    expect_count(2);
    expect(1, ORDER_CANCELED, 2000, BANYAN_EXACT);
}

/* The fill tied with the cancellation came first: a canceled order is not filled. */
static void fill_and_cancellation_tie(void **unused)
{
    trade(2000, "3", "100");
    audit(2000, "status", "PARTIALLY_FILLED", "CANCELED");
    filled("3", "100", "CANCELED", 2000);
    harness_history(&out, &history);
    expect_count(3);
    expect(1, ORDER_PARTIALLY_FILLED, 2000, BANYAN_EXACT);
    expect(2, ORDER_CANCELED, 2000, BANYAN_EXACT);
}

/* Quantity 10 → 5 and a fill of 5 at one time: the status tells which came first. */
static void status_breaks_a_tie(void **unused)
{
    row.quantity = amount("5");
    audit(2000, "quantity", "10", "5");
    trade(2000, "5", "100");
    filled("5", "100", "PARTIALLY_FILLED", 2000);
    harness_history(&out, &history);
    expect_count(3);
    expect(1, ORDER_PARTIALLY_FILLED, 2000, BANYAN_EXACT);
    expect(2, ORDER_MODIFIED, 2000, BANYAN_EXACT);

    harness_init(&out, &arena);
    filled("5", "100", "FILLED", 2000);
    harness_history(&out, &history);
    expect_count(3);
    expect(1, ORDER_MODIFIED, 2000, BANYAN_EXACT);
    expect(2, ORDER_FILLED, 2000, BANYAN_EXACT);
}

static void tie_that_nothing_breaks(void **unused)
{
    row.price = amount("101");
    audit(2000, "price", "100", "101");
    trade(2000, "5", "100");
    filled("5", "100", "PARTIALLY_FILLED", 2000);
    harness_history(&out, &history);
    expect_count(3);
    expect(1, ORDER_MODIFIED, 2000, BANYAN_INFERRED);
    expect(2, ORDER_PARTIALLY_FILLED, 2000, BANYAN_EXACT);
}

/* The transaction with the earlier time committed last: its time is the row's. */
static void overtaken_commit(void **unused)
{
    row.price = amount("102");
    row.updated_at.us = 2000;
    audit(2000, "price", "101", "102");
    audits[0].id = 2;
    audit(3000, "price", "100", "101");
    audits[1].id = 1;
    harness_history(&out, &history);
    expect_count(3);
    expect(1, ORDER_MODIFIED, 3000, BANYAN_EXACT);
    expect_modified(1, "price", "100", "101");
    expect(2, ORDER_MODIFIED, 2000, BANYAN_EXACT);
}

static void fill_overtaken_by_cancellation(void **unused)
{
    audit(2000, "status", "NEW", "CANCELED");
    trade(3000, "4", "100");
    filled("4", "100", "CANCELED", 2000);
    harness_history(&out, &history);
    expect_count(3);
    expect(1, ORDER_PARTIALLY_FILLED, 3000, BANYAN_EXACT);
    expect(2, ORDER_CANCELED, 2000, BANYAN_EXACT);
}

/* The order is full by a quantity that changed unrecorded after a recorded change. */
static void quantity_changed_before_the_last_fill(void **unused)
{
    row.quantity = amount("8");
    audit(1500, "quantity", "10", "12");
    trade(2000, "8", "100");
    filled("8", "100", "FILLED", 2000);
    harness_history(&out, &history);
    expect_count(4);
    expect(2, ORDER_MODIFIED, 2000, BANYAN_INFERRED);
    expect_modified(2, "quantity", "12", "8");
    expect(3, ORDER_FILLED, 2000, BANYAN_EXACT);
}

static void filled_quantity_without_trades_is_reconciled(void **unused)
{
    filled("4", "100", "PARTIALLY_FILLED", 2000);
    harness_history(&out, &history);
    expect_count(2);
    expect(1, ORDER_RECONCILED, 2000, BANYAN_RECONCILED);
    assert_true(banyan_str_equal(((const struct order_reconciled *)out.events[1].payload)->fields,
                                 BANYAN_STR("status,filled_quantity,avg_fill_price,updated_at")));
}

static void row_that_no_order_can_have(void **unused)
{
    row.price = (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
    row.symbol = (struct banyan_str){NULL, 0};
    row.created_at.us = NONE;
    row.updated_at.us = BANYAN_TIME_INFINITY;
    trade(2000, "3", "100");
    audit(NONE, "price", "1", "2");
    harness_history(&out, &history);
    assert_true(out.reconciled == 1);
    assert_int_equal(out.events[out.count - 1].type, ORDER_RECONCILED);
}

static void children_without_an_order(void **unused)
{
    history.root = NULL;
    audit(2000, "price", "1", "2");
    trade(2000, "3", "100");
    harness_history(&out, &history);
    expect_count(0);
}

static void trades_that_cannot_be(void **unused)
{
    trade(2000, "-3", "100");
    trade(2001, "0", "100");
    trade(2002, "25", "100");
    trade(2003, NULL, "100");
    trade(NONE, "1", "NaN");
    filled("25", "100", "FILLED", 2002);
    harness_history(&out, &history);
    expect_count(2);
    expect(1, ORDER_FILLED, 2002, BANYAN_EXACT);
}

/* ---- changes ---- */

static void add_change(enum banyan_change_kind kind, unsigned table, const void *old, const void *new)
{
    changes[change_count++] = (struct banyan_change){kind, table, old, new};
}

/* The order is known as *row* was prepared. */
static void capture_begin(void)
{
    change_count = 0;
    add_change(BANYAN_CHANGE_INSERT, TABLE_ORDERS, NULL, &row);
    harness_changes(&out, 7, changes, change_count, &row);
    expect_count(1);
    expect(0, ORDER_CREATED, 1000, BANYAN_EXACT);
    change_count = 0;
}

static void update_that_changes_nothing(void **unused)
{
    capture_begin();
    add_change(BANYAN_CHANGE_UPDATE, TABLE_ORDERS, &row, &row);
    harness_changes(&out, 7, changes, change_count, &row);
    expect_count(1);
}

static void updated_at_alone(void **unused)
{
    struct order_row new = row;

    capture_begin();
    new.updated_at.us = 2000;
    add_change(BANYAN_CHANGE_UPDATE, TABLE_ORDERS, &row, &new);
    harness_changes(&out, 7, changes, change_count, &new);
    expect_count(2);
    expect(1, ORDER_RECONCILED, 2000, BANYAN_RECONCILED);
}

static void modification_without_audit_row_is_exact(void **unused)
{
    struct order_row new = row;

    capture_begin();
    new.updated_at.us = 2000;
    new.price = amount("101");
    new.quantity = amount("11");
    add_change(BANYAN_CHANGE_UPDATE, TABLE_ORDERS, &row, &new);
    harness_changes(&out, 7, changes, change_count, &new);
    expect_count(3);
    expect(1, ORDER_MODIFIED, 2000, BANYAN_EXACT);
    expect_modified(1, "price", "100", "101");
    expect_modified(2, "quantity", "10", "11");
}

static void two_trades_in_one_update(void **unused)
{
    struct order_row new = row;

    capture_begin();
    new.filled_quantity = amount("10");
    new.avg_fill_price = amount("101.2");
    new.status = STATUS_FILLED;
    new.updated_at.us = 2000;
    trade(2000, "4", "100");
    trade(2000, "6", "102");
    add_change(BANYAN_CHANGE_INSERT, TABLE_TRADES, NULL, &trades[0]);
    add_change(BANYAN_CHANGE_UPDATE, TABLE_ORDERS, &row, &new);
    add_change(BANYAN_CHANGE_INSERT, TABLE_TRADES, NULL, &trades[1]);
    harness_changes(&out, 7, changes, change_count, &new);
    expect_count(3);
    expect(1, ORDER_PARTIALLY_FILLED, 2000, BANYAN_EXACT);
    expect(2, ORDER_FILLED, 2000, BANYAN_EXACT);
}

static void fill_without_a_trade_is_reconciled(void **unused)
{
    struct order_row new = row;

    capture_begin();
    new.filled_quantity = amount("4");
    new.status = STATUS_PARTIALLY_FILLED;
    new.updated_at.us = 2000;
    add_change(BANYAN_CHANGE_UPDATE, TABLE_ORDERS, &row, &new);
    harness_changes(&out, 7, changes, change_count, &new);
    expect_count(2);
    expect(1, ORDER_RECONCILED, 2000, BANYAN_RECONCILED);
}

/* executed_at of the trade is when it happened; the row has its own time. */
static void trade_with_a_time_of_its_own(void **unused)
{
    struct order_row new = row;

    capture_begin();
    trade(1800, "4", "100");
    new.filled_quantity = amount("4");
    new.avg_fill_price = amount("100");
    new.status = STATUS_PARTIALLY_FILLED;
    new.updated_at.us = 2000;
    add_change(BANYAN_CHANGE_INSERT, TABLE_TRADES, NULL, &trades[0]);
    add_change(BANYAN_CHANGE_UPDATE, TABLE_ORDERS, &row, &new);
    harness_changes(&out, 7, changes, change_count, &new);
    expect_count(2);
    expect(1, ORDER_PARTIALLY_FILLED, 1800, BANYAN_EXACT);
}

static void removed_then_placed_again(void **unused)
{
    struct order_row again;

    capture_begin();
    again = row;
    again.created_at.us = again.updated_at.us = 5000;
    add_change(BANYAN_CHANGE_DELETE, TABLE_ORDERS, &row, NULL);
    harness_changes(&out, 7, changes, change_count, NULL);
    expect_count(2);
    assert_true(((const struct order_reconciled *)out.events[1].payload)->removed);
    change_count = 0;
    add_change(BANYAN_CHANGE_INSERT, TABLE_ORDERS, NULL, &again);
    harness_changes(&out, 7, changes, change_count, &again);
    expect_count(3);
    expect(2, ORDER_CREATED, 5000, BANYAN_EXACT);
}

static void order_that_begins_canceled(void **unused)
{
    row.status = STATUS_CANCELED;
    add_change(BANYAN_CHANGE_INSERT, TABLE_ORDERS, NULL, &row);
    harness_changes(&out, 7, changes, change_count, &row);
    expect_count(2);
    expect(0, ORDER_CREATED, 1000, BANYAN_EXACT);
    expect(1, ORDER_CANCELED, 1000, BANYAN_EXACT);
}

static void status_that_comes_back_is_reconciled(void **unused)
{
    struct order_row canceled = row;

    capture_begin();
    canceled.status = STATUS_CANCELED;
    add_change(BANYAN_CHANGE_UPDATE, TABLE_ORDERS, &row, &canceled);
    harness_changes(&out, 7, changes, change_count, &canceled);
    expect_count(2);
    expect(1, ORDER_CANCELED, 1000, BANYAN_EXACT);
    change_count = 0;
    add_change(BANYAN_CHANGE_UPDATE, TABLE_ORDERS, &canceled, &row);
    harness_changes(&out, 7, changes, change_count, &row);
    expect_count(3);
    expect(2, ORDER_RECONCILED, 1, BANYAN_RECONCILED);
}

/* ---- the average ---- */

/* What PostgreSQL 15 answered; plain division gives other digits for the first 3. */
static void average_as_postgresql_computes_it(void **unused)
{
    static const struct {
        const char *average, *filled, *price, *quantity, *result;
    } cases[] = {{"139.78338877", "371.35080773", "0.92670207", "504.40591130", "59.80668740"},
                 {"442.45383453", "342.16457332", "27613.38342203", "70.92291797", "5107.42590688"},
                 {"221.56775411", "526.98629800", "43877.26667845", "152.30337001", "10009.60131246"},
                 {"3380.50349927", "433.29445888", "0.00454075", "799.09749039", "1188.54806202"},
                 {"442.56400686", "18.36429881", "0.50514911", "490.53489546", "16.45742619"}};

    (void)unused;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct order order;
        struct order_filled event = {.quantity = amount(cases[i].quantity),
                                     .price = amount(cases[i].price),
                                     .filled = amount(cases[i].filled),
                                     .updated_at = {NONE}};
        char text[BANYAN_DECIMAL_TEXT_MAX];

        banyan_record_init(order_aggregate.state, &order);
        order.row.avg_fill_price = amount(cases[i].average);
        order.row.filled_quantity = amount(cases[i].filled);
        order_evolve(&order, ORDER_FILLED, &event, (struct banyan_time){1});
        banyan_decimal_format(order.row.avg_fill_price, text);
        assert_string_equal(text, cases[i].result);
    }
}

/* ---- garbage ---- */

static uint64_t random_state;

static uint64_t dice(uint64_t below)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

static struct banyan_decimal garbage_amount(void)
{
    static const int64_t units[] = {0, 1, -1, 300000000, 500000000, 1000000000, INT64_MAX, INT64_MIN};
    struct banyan_decimal huge = {(__int128)INT64_MAX * INT64_MAX, 8};

    switch (dice(12)) {
    case 0:
        return banyan_decimal_null();
    case 1:
        return (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
    case 2:
        return huge;
    case 3:
        huge.units = -huge.units;
        return huge;
    default:
        return banyan_decimal_of(units[dice(8)], 8);
    }
}

static struct banyan_str garbage_text(void)
{
    static const char *const texts[] = {"",
                                        "price",
                                        "quantity",
                                        "status",
                                        "CANCELED",
                                        "NEW",
                                        "FILLED",
                                        "PARTIALLY_FILLED",
                                        "3",
                                        "5.00000000",
                                        "10",
                                        "-1",
                                        "NaN",
                                        "Infinity",
                                        "1e999999999",
                                        "99999999999999999999999999999999999999.9",
                                        ".",
                                        "-",
                                        "1.000000001",
                                        "\xff\xfe",
                                        "0x10",
                                        " 5 ",
                                        "12345678901.5",
                                        "-0.00000001"};

    if (dice(10) == 0)
        return (struct banyan_str){NULL, 0};
    return banyan_str_of(texts[dice(sizeof(texts) / sizeof(texts[0]))]);
}

static struct banyan_time garbage_time(void)
{
    static const int64_t times[] = {NONE, BANYAN_TIME_INFINITY, BANYAN_TIME_MINUS_INFINITY, 0, -1, INT64_MAX - 1};

    return (struct banyan_time){dice(4) == 0 ? times[dice(6)] : (int64_t)(1000 + 1000 * dice(6))};
}

static void garbage_row(struct order_row *order)
{
    *order = row;
    if (dice(3) == 0)
        order->symbol = garbage_text();
    if (dice(3) == 0)
        order->side = garbage_text();
    if (dice(2) == 0)
        order->status = garbage_text();
    if (dice(2) == 0)
        order->quantity = garbage_amount();
    if (dice(2) == 0)
        order->price = garbage_amount();
    if (dice(2) == 0)
        order->filled_quantity = garbage_amount();
    if (dice(2) == 0)
        order->avg_fill_price = garbage_amount();
    if (dice(2) == 0)
        order->created_at = garbage_time();
    if (dice(2) == 0)
        order->updated_at = garbage_time();
}

static void garbage_children(void)
{
    history.row_count[TABLE_AUDIT_LOG] = dice(9);
    history.row_count[TABLE_TRADES] = dice(9);
    for (size_t i = 0; i < 8; i++) {
        audits[i] =
            (struct audit_row){(int64_t)dice(5), 7, garbage_text(), garbage_text(), garbage_text(), garbage_time()};
        trades[i] = (struct trade_row){(int64_t)dice(5), 7, garbage_amount(), garbage_amount(), garbage_time()};
    }
}

/* Whatever the rows are: no crash, and the events add up (the harness asserts it). */
static void garbage_histories(void **unused)
{
    for (unsigned i = 0; i < 30000; i++) {
        struct order_row order;

        prepare(NULL);
        garbage_row(&order);
        garbage_children();
        history.root = dice(20) == 0 ? NULL : &order;
        harness_history(&out, &history);
    }
}

static void garbage_changes(void **unused)
{
    struct order_row orders[8];

    for (unsigned i = 0; i < 30000; i++) {
        const struct order_row *before = NULL, *known;

        prepare(NULL);
        garbage_children();
        for (unsigned transaction = 0; transaction < 3; transaction++) {
            size_t count = 1 + dice(7);

            change_count = 0;
            known = before;
            for (size_t c = 0; c < count; c++) {
                uint64_t what = dice(8);

                garbage_row(&orders[c]);
                if (what < 2)
                    add_change(1 + (unsigned)dice(3), TABLE_AUDIT_LOG, NULL, dice(9) == 0 ? NULL : &audits[dice(8)]);
                else if (what < 4)
                    add_change(1 + (unsigned)dice(3), TABLE_TRADES, NULL, dice(9) == 0 ? NULL : &trades[dice(8)]);
                else if (known == NULL)
                    add_change(BANYAN_CHANGE_INSERT, TABLE_ORDERS, NULL, known = &orders[c]);
                else if (what == 4) {
                    add_change(BANYAN_CHANGE_DELETE, TABLE_ORDERS, known, NULL);
                    known = NULL;
                } else {
                    add_change(BANYAN_CHANGE_UPDATE, TABLE_ORDERS, known, &orders[c]);
                    known = &orders[c];
                }
            }
            harness_changes(&out, 7, changes, change_count, known);
            if (known != NULL) {
                struct order_row *kept = banyan_arena_alloc(&arena, sizeof(*kept));

                *kept = *known;
                known = kept;
            }
            before = known;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(placed_only, prepare),
        cmocka_unit_test_setup(audit_rows_are_undone_to_the_beginning, prepare),
        cmocka_unit_test_setup(gap_between_audit_rows, prepare),
        cmocka_unit_test_setup(gap_at_the_end_explains_updated_at, prepare),
        cmocka_unit_test_setup(unexplained_updated_at_is_reconciled, prepare),
        cmocka_unit_test_setup(unreadable_audit_rows, prepare),
        cmocka_unit_test_setup(fills_and_their_average, prepare),
        cmocka_unit_test_setup(cancellation_without_audit_row, prepare),
        cmocka_unit_test_setup(cancellation_with_audit_row, prepare),
        cmocka_unit_test_setup(fill_and_cancellation_tie, prepare),
        cmocka_unit_test_setup(status_breaks_a_tie, prepare),
        cmocka_unit_test_setup(tie_that_nothing_breaks, prepare),
        cmocka_unit_test_setup(overtaken_commit, prepare),
        cmocka_unit_test_setup(fill_overtaken_by_cancellation, prepare),
        cmocka_unit_test_setup(quantity_changed_before_the_last_fill, prepare),
        cmocka_unit_test_setup(filled_quantity_without_trades_is_reconciled, prepare),
        cmocka_unit_test_setup(row_that_no_order_can_have, prepare),
        cmocka_unit_test_setup(children_without_an_order, prepare),
        cmocka_unit_test_setup(trades_that_cannot_be, prepare),
        cmocka_unit_test_setup(update_that_changes_nothing, prepare),
        cmocka_unit_test_setup(updated_at_alone, prepare),
        cmocka_unit_test_setup(modification_without_audit_row_is_exact, prepare),
        cmocka_unit_test_setup(two_trades_in_one_update, prepare),
        cmocka_unit_test_setup(fill_without_a_trade_is_reconciled, prepare),
        cmocka_unit_test_setup(trade_with_a_time_of_its_own, prepare),
        cmocka_unit_test_setup(removed_then_placed_again, prepare),
        cmocka_unit_test_setup(order_that_begins_canceled, prepare),
        cmocka_unit_test_setup(status_that_comes_back_is_reconciled, prepare),
        cmocka_unit_test(average_as_postgresql_computes_it),
        cmocka_unit_test_setup(garbage_histories, prepare),
        cmocka_unit_test_setup(garbage_changes, prepare),
    };

    random_state =
        getenv("BANYAN_TEST_SEED") != NULL ? strtoull(getenv("BANYAN_TEST_SEED"), NULL, 10) : (uint64_t)time(NULL);
    printf("# BANYAN_TEST_SEED=%llu\n", (unsigned long long)random_state);
    return cmocka_run_group_tests(tests, NULL, finish);
}
