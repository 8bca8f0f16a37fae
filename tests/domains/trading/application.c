/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "application.h"

uint64_t application_random(struct application *application, uint64_t below)
{
    uint64_t z = (application->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

static bool fault(const struct application *application, unsigned which)
{
    return (application->faults & which) != 0;
}

void application_init(struct application *application, uint64_t seed, int64_t order_id, unsigned faults,
                      struct banyan_arena *arena)
{
    *application = (struct application){.random = seed, .faults = faults, .now = 1700000000000000, .arena = arena};
    application->row.order_id = order_id;
}

/* ---- statements ---- */

static void change(struct application *application, enum banyan_change_kind kind, unsigned table, const void *old,
                   const void *new, size_t size)
{
    struct banyan_change *made = &application->changes[application->change_count++];

    assert_true(application->change_count <= APPLICATION_CHANGES_MAX);
    *made = (struct banyan_change){.kind = kind, .table = table};
    if (old != NULL)
        made->old = memcpy(banyan_arena_alloc(application->arena, size), old, size);
    if (new != NULL)
        made->new = memcpy(banyan_arena_alloc(application->arena, size), new, size);
}

static void update_order(struct application *application, const struct order_row *new)
{
    change(application, BANYAN_CHANGE_UPDATE, TABLE_ORDERS, &application->row, new, sizeof(*new));
    application->row = *new;
}

static void insert_audit(struct application *application, struct banyan_str field, struct banyan_str old_value,
                         struct banyan_str new_value, struct banyan_time at)
{
    struct audit_row *audit = &application->audits[application->audit_count];

    *audit = (struct audit_row){(int64_t)++application->audit_count,
                                application->row.order_id,
                                field,
                                banyan_arena_str(application->arena, old_value),
                                banyan_arena_str(application->arena, new_value),
                                at};
    change(application, BANYAN_CHANGE_INSERT, TABLE_AUDIT_LOG, NULL, audit, sizeof(*audit));
}

static void insert_trade(struct application *application, struct banyan_decimal quantity, struct banyan_decimal price,
                         struct banyan_time at)
{
    struct trade_row *trade = &application->trades[application->trade_count];

    *trade = (struct trade_row){(int64_t)++application->trade_count, application->row.order_id, quantity, price, at};
    change(application, BANYAN_CHANGE_INSERT, TABLE_TRADES, NULL, trade, sizeof(*trade));
}

/* ---- requests ---- */

static struct banyan_decimal random_price(struct application *application)
{
    return banyan_decimal_of((int64_t)(100000000 + application_random(application, 5000000000000)), 8);
}

static struct banyan_decimal random_quantity(struct application *application, int64_t units_max)
{
    uint64_t steps = (uint64_t)units_max / 1000000;

    return banyan_decimal_of((int64_t)(1 + application_random(application, steps == 0 ? 1 : steps)) * 1000000, 8);
}

static void place(struct application *application, struct banyan_time at)
{
    static const char *const symbols[] = {"AAPL", "MSFT", "BRK.B"};

    application->row = (struct order_row){
        .order_id = application->row.order_id,
        .trader_id = (int64_t)application_random(application, 1000),
        .symbol = banyan_str_of(symbols[application_random(application, 3)]),
        .side = banyan_str_of(application_random(application, 2) ? "BUY" : "SELL"),
        .quantity = random_quantity(application, 100000000000),
        .price = random_price(application),
        .status = STATUS_NEW,
        .filled_quantity = banyan_decimal_of(0, 8),
        .avg_fill_price = banyan_decimal_null(),
        .created_at = at,
        .updated_at = at,
    };
    application->exists = true;
    change(application, BANYAN_CHANGE_INSERT, TABLE_ORDERS, NULL, &application->row, sizeof(application->row));
}

static void modify(struct application *application, struct banyan_time at)
{
    struct order_row before = application->row, new = before;
    char old_text[BANYAN_DECIMAL_TEXT_MAX], new_text[BANYAN_DECIMAL_TEXT_MAX];
    uint64_t which = 1 + application_random(application, 3);
    bool quantity_first = application_random(application, 2) != 0;

    if (which & 1)
        new.price = random_price(application);
    if (which & 2)
        new.quantity.units += (int64_t)application_random(application, 100) * 1000000;
    new.updated_at = at;
    update_order(application, &new);
    if (fault(application, FAULT_AUDIT) && application_random(application, 3) == 0)
        return;
    for (int i = 0; i < 2; i++) {
        bool quantity = (i == 0) == quantity_first;

        if ((which & (quantity ? 2 : 1)) == 0)
            continue;
        banyan_decimal_format(quantity ? before.quantity : before.price, old_text);
        banyan_decimal_format(quantity ? new.quantity : new.price, new_text);
        insert_audit(application, banyan_str_of(quantity ? "quantity" : "price"), banyan_str_of(old_text),
                     banyan_str_of(new_text), at);
    }
}

/* round((coalesce(avg, 0) * filled + price * quantity) / (filled + quantity), 8) with a quotient of 16 places. */
static struct banyan_decimal new_average(const struct order_row *row, struct banyan_decimal quantity,
                                         struct banyan_decimal price)
{
    struct banyan_decimal old_cost, cost, sum, wide, ret;
    struct banyan_decimal average =
        banyan_decimal_is_null(row->avg_fill_price) ? banyan_decimal_of(0, 8) : row->avg_fill_price;

    assert_true(banyan_decimal_mul(average, row->filled_quantity, &old_cost));
    assert_true(banyan_decimal_mul(price, quantity, &cost));
    assert_true(banyan_decimal_add(old_cost, cost, &cost));
    assert_true(banyan_decimal_add(row->filled_quantity, quantity, &sum));
    assert_true(banyan_decimal_div(cost, sum, 16, &wide));
    assert_true(banyan_decimal_round(wide, 8, &ret));
    return ret;
}

static void fill(struct application *application, struct banyan_time at)
{
    struct order_row new = application->row;
    int64_t open = (int64_t)(new.quantity.units - new.filled_quantity.units);
    struct banyan_decimal price = random_price(application);
    struct banyan_decimal quantity = application_random(application, 3) == 0 || open < 1000000
                                         ? banyan_decimal_of(open, 8)
                                         : random_quantity(application, open);
    bool trade_last = fault(application, FAULT_MIXED) && application_random(application, 2) != 0;

    if (!trade_last)
        insert_trade(application, quantity, price, at);
    new.avg_fill_price = new_average(&application->row, quantity, price);
    new.filled_quantity.units += quantity.units;
    new.status = new.filled_quantity.units >= new.quantity.units ? STATUS_FILLED : STATUS_PARTIALLY_FILLED;
    new.updated_at = at;
    update_order(application, &new);
    if (trade_last)
        insert_trade(application, quantity, price, at);
}

static void cancel(struct application *application, struct banyan_time at)
{
    struct order_row before = application->row, new = before;

    new.status = STATUS_CANCELED;
    if (!fault(application, FAULT_CANCEL_TIME))
        new.updated_at = at;
    update_order(application, &new);
    if (!fault(application, FAULT_CANCEL_TIME))
        insert_audit(application, BANYAN_STR("status"), before.status, STATUS_CANCELED, at);
}

static void remove_order(struct application *application)
{
    for (size_t i = 0; i < application->trade_count; i++)
        change(application, BANYAN_CHANGE_DELETE, TABLE_TRADES, NULL, NULL, 0);
    application->trade_count = 0;
    change(application, BANYAN_CHANGE_DELETE, TABLE_ORDERS, &application->row, NULL, sizeof(application->row));
    application->exists = false;
}

/* ---- transactions ---- */

static struct banyan_time transaction_time(struct application *application)
{
    int64_t at;

    application->now += 1 + (int64_t)application_random(application, fault(application, FAULT_TIES) ? 900 : 1000000);
    at = application->now;
    if (fault(application, FAULT_ORDER) && application_random(application, 4) == 0)
        at -= (int64_t)application_random(application, 2000000);
    if (fault(application, FAULT_TIES))
        at -= at % 1000;
    return (struct banyan_time){at};
}

static void request(struct application *application, struct banyan_time at)
{
    uint64_t dice = application_random(application, 100);

    if (!application->exists) {
        place(application, at);
        return;
    }
    if (fault(application, FAULT_REMOVALS) && dice < 5) {
        remove_order(application);
        return;
    }
    if (banyan_str_equal(application->row.status, STATUS_FILLED) ||
        banyan_str_equal(application->row.status, STATUS_CANCELED))
        return;
    if (dice < 50)
        modify(application, at);
    else if (dice < 90)
        fill(application, at);
    else
        cancel(application, at);
}

void application_step(struct application *application)
{
    struct banyan_time at = transaction_time(application);
    uint64_t requests = fault(application, FAULT_MIXED) ? 1 + application_random(application, 4) : 1;

    application->change_count = 0;
    while (requests-- > 0)
        request(application, at);
}

static int by_audit_time(const void *a, const void *b)
{
    const struct audit_row *x = *(const void *const *)a, *y = *(const void *const *)b;

    if (x->timestamp.us != y->timestamp.us)
        return x->timestamp.us < y->timestamp.us ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static int by_trade_time(const void *a, const void *b)
{
    const struct trade_row *x = *(const void *const *)a, *y = *(const void *const *)b;

    if (x->executed_at.us != y->executed_at.us)
        return x->executed_at.us < y->executed_at.us ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

void application_history(struct application *application, struct banyan_history *ret)
{
    const void **audits = banyan_arena_alloc(application->arena, APPLICATION_ROWS_MAX * sizeof(void *));
    const void **trades = banyan_arena_alloc(application->arena, APPLICATION_ROWS_MAX * sizeof(void *));

    for (size_t i = 0; i < application->audit_count; i++)
        audits[i] = &application->audits[i];
    for (size_t i = 0; i < application->trade_count; i++)
        trades[i] = &application->trades[i];
    qsort(audits, application->audit_count, sizeof(void *), by_audit_time);
    qsort(trades, application->trade_count, sizeof(void *), by_trade_time);
    *ret = (struct banyan_history){.key = application->row.order_id,
                                   .root = application->exists ? &application->row : NULL};
    ret->rows[TABLE_AUDIT_LOG] = audits;
    ret->row_count[TABLE_AUDIT_LOG] = application->audit_count;
    ret->rows[TABLE_TRADES] = trades;
    ret->row_count[TABLE_TRADES] = application->trade_count;
}
