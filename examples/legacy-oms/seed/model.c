// SPDX-License-Identifier: Apache-2.0
/* Invents the past.  Invariants of what comes out, whatever the faults:
 *  1. filled is the sum of the order's trades, average follows from them by the server's formula;
 *  2. the status agrees with filled and quantity;
 *  3. rows are sorted by the time of their commit;
 *  4. without faults, an order's timestamps strictly increase.
 * The rates below give, with all faults, about 1.7 audit rows and 1.4 trades an order, and 65 % of the changes after
 * the placing fully recorded. */
#include "model.h"

#include "../common/faults.h"
#include "../common/market.h"
#include "../common/money.h"
#include "../common/random.h"

#include <stdbool.h>
#include <stdlib.h>

#define PAST_DAYS 30
#define CHANGES_MAX 24 /* of one order */
#define TICK (MONEY_ONE / 100)

#define MODIFY_SHARE 0.48
#define FILL_SHARE 0.33 /* the rest cancels */
#define FILL_COMPLETES 0.12
#define RESTING_SHARE 0.12

#define SECOND_US INT64_C(1000000)
#define DAY_US (86400 * SECOND_US)

struct maker {
    struct past *past;
    struct past_options options;
    struct rng rng;
};

const char *order_status_name(enum order_status status)
{
    static const char *const names[STATUS_COUNT] = {"NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED"};

    return names[status];
}

static void row_add(struct past *past, struct past_row row)
{
    if (past->row_count == past->row_room) {
        past->row_room = past->row_room ? past->row_room * 2 : 65536;
        past->rows = realloc(past->rows, past->row_room * sizeof(past->rows[0]));
        if (!past->rows)
            abort();
    }
    row.number = past->row_count;
    past->rows[past->row_count++] = row;
}

/* The timestamp that a transaction of this commit time carries.  A request about an order cannot have arrived before
 * the order was there, which is *earliest_us*. */
static int64_t timestamp_of(struct maker *maker, int64_t commit_us, int64_t earliest_us)
{
    int64_t at_us = commit_us - faults_linger_us(maker->options.faults, &maker->rng);

    if (at_us < earliest_us)
        at_us = earliest_us;
    if (maker->options.faults & FAULT_TIES)
        at_us -= at_us % 1000;
    return at_us;
}

static void order_place(struct maker *maker, struct past_order *order, int64_t commit_us)
{
    struct rng *rng = &maker->rng;
    int symbol = market_symbol_pick(rng);

    order->trader_id = market_trader_pick(rng);
    order->symbol = market_symbol_name(symbol);
    order->is_buy = rng_chance(rng, 0.5);
    order->quantity = market_quantity_pick(rng);
    order->price = market_price_near(rng, market_symbol_price(symbol), 100);
    order->placed_us = commit_us;
    order->created_us = order->updated_us = timestamp_of(maker, commit_us, 0);
}

static void order_modify(struct maker *maker, struct past_order *order, int64_t commit_us)
{
    struct rng *rng = &maker->rng;
    int64_t at_us = timestamp_of(maker, commit_us, order->placed_us), price = order->price, quantity = order->quantity;
    double kind = rng_unit(rng);
    bool audited = !faults_skip_audit(maker->options.faults, rng);
    struct past_row row = {.commit_us = commit_us, .at_us = at_us, .order_id = order->order_id};

    while (kind < 0.75 && price == order->price)
        price = market_price_near(rng, order->price, 20);
    while (kind >= 0.5 && quantity == order->quantity)
        quantity = order->filled + market_quantity_pick(rng);
    if (audited && price != order->price) {
        row.kind = PAST_AUDIT_PRICE, row.a = order->price, row.b = price;
        row_add(maker->past, row);
    }
    if (audited && quantity != order->quantity) {
        row.kind = PAST_AUDIT_QUANTITY, row.a = order->quantity, row.b = quantity;
        row_add(maker->past, row);
    }
    order->price = price;
    order->quantity = quantity;
    order->updated_us = at_us;
    maker->past->truth.modifications++;
    maker->past->truth.modifications_audited += audited;
}

static void order_fill(struct maker *maker, struct past_order *order, int64_t commit_us)
{
    struct rng *rng = &maker->rng;
    int64_t at_us = timestamp_of(maker, commit_us, order->placed_us), left = order->quantity - order->filled,
            quantity = left;
    int64_t price = market_price_near(rng, order->price, 5);

    if (!rng_chance(rng, FILL_COMPLETES))
        quantity = market_part_pick(rng, left);
    if (rng_chance(rng, 0.2))
        price += rng_between(rng, 0, TICK - 1); /* a mid price */
    order->average = money_average(order->average, order->filled, price, quantity);
    order->filled += quantity;
    order->status = order->filled >= order->quantity ? STATUS_FILLED : STATUS_PARTIALLY_FILLED;
    order->updated_us = at_us;
    row_add(maker->past, (struct past_row){.commit_us = commit_us,
                                           .at_us = at_us,
                                           .order_id = order->order_id,
                                           .kind = PAST_TRADE,
                                           .a = quantity,
                                           .b = price});
    maker->past->truth.fills++;
}

static void order_cancel(struct maker *maker, struct past_order *order, int64_t commit_us)
{
    maker->past->truth.cancellations++;
    if (!(maker->options.faults & FAULT_CANCEL_TIME)) {
        order->updated_us = timestamp_of(maker, commit_us, order->placed_us);
        row_add(maker->past, (struct past_row){.commit_us = commit_us,
                                               .at_us = order->updated_us,
                                               .order_id = order->order_id,
                                               .kind = PAST_AUDIT_STATUS,
                                               .a = order->status,
                                               .b = STATUS_CANCELED});
        maker->past->truth.cancellations_timed++;
    }
    order->status = STATUS_CANCELED;
}

/* Changes come in bursts of milliseconds, after minutes, or after half a day; orders that rest wait for days. */
static int64_t gap_pick(struct rng *rng, bool rests)
{
    double mean_minutes = rests ? 5 * 24 * 60 : rng_chance(rng, 0.1) ? 12 * 60 : 20;

    if (rng_chance(rng, 0.25))
        return rng_between(rng, 1, 3000);
    return 1 + (int64_t)rng_exponential(rng, mean_minutes * 60.0 * SECOND_US);
}

static void order_live(struct maker *maker, struct past_order *order, int64_t commit_us)
{
    bool rests = rng_chance(&maker->rng, RESTING_SHARE);

    order_place(maker, order, commit_us);
    for (int i = 0; i < CHANGES_MAX && order->status < STATUS_FILLED; i++) {
        double kind;

        commit_us += gap_pick(&maker->rng, rests);
        if (commit_us > maker->options.end_us)
            break;
        kind = rng_unit(&maker->rng);
        if (kind < MODIFY_SHARE)
            order_modify(maker, order, commit_us);
        else if (kind < MODIFY_SHARE + FILL_SHARE)
            order_fill(maker, order, commit_us);
        else
            order_cancel(maker, order, commit_us);
    }
    maker->past->truth.by_status[order->status]++;
}

static int row_compare(const void *a, const void *b)
{
    const struct past_row *x = a, *y = b;

    if (x->commit_us != y->commit_us)
        return x->commit_us < y->commit_us ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

void past_make(struct past *past, struct past_options options)
{
    struct maker maker = {.past = past, .options = options, .rng = rng_fork(options.seed, 0)};
    int64_t commit_us = options.end_us - PAST_DAYS * DAY_US;
    double gap_us = 0.98 * PAST_DAYS * DAY_US / (double)options.orders;

    past->orders = calloc((size_t)options.orders, sizeof(past->orders[0]));
    if (!past->orders)
        abort();
    for (int64_t i = 0; i < options.orders; i++) {
        /* Half of the orders come in bursts. */
        commit_us += rng_chance(&maker.rng, 0.5) ? rng_between(&maker.rng, 1, 5000)
                                                 : 1 + (int64_t)rng_exponential(&maker.rng, 2 * gap_us);
        if (commit_us > options.end_us)
            commit_us = options.end_us;
        past->orders[i].order_id = i + 1;
        order_live(&maker, &past->orders[i], commit_us);
    }
    past->order_count = (size_t)options.orders;
    qsort(past->rows, past->row_count, sizeof(past->rows[0]), row_compare);
}

void past_release(struct past *past)
{
    free(past->orders);
    free(past->rows);
    *past = (struct past){0};
}
