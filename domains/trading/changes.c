/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of one captured transaction for one order.
 *
 * Each change of the orders row says by itself what happened; the audit rows and trades of the same transaction say the
 * rest: in which order two columns were changed, by which trades an order was filled.  Within one UPDATE the order is
 * modifications, fills, cancellation: the same that history.c gives to rows of one time.
 *
 * What has no event type, a trader that changes, a status that comes back, an updated_at that moves alone, gives no
 * event here: the engine sees the row differ and has it reconciled.  So does a DELETE.
 */
#include "mapping.h"
#include "order.h"
#include "values.h"

enum {
    /* Rows that explain another update are passed over, but not for ever: a transaction may change an order often. */
    PASSED_OVER_MAX = 16,
};

/* A child row is the explanation of one update only. */
struct children {
    const struct banyan_change *changes;
    size_t count;
    bool *used; /* one a change, made when the first child is needed */
    size_t first_unused[TABLE_COUNT];
};

struct capture {
    struct banyan_emitter *out;
    struct children children;
};

/* The next unused insert into *table* from *from* on, or the count. */
static size_t child_next(struct children *children, enum trading_table table, size_t from)
{
    size_t i = from > children->first_unused[table] ? from : children->first_unused[table];

    for (; i < children->count; i++) {
        const struct banyan_change *change = &children->changes[i];

        if (change->table == table && change->kind == BANYAN_CHANGE_INSERT && change->new != NULL &&
            (children->used == NULL || !children->used[i]))
            break;
    }
    if (from <= children->first_unused[table])
        children->first_unused[table] = i;
    return i;
}

static void child_use(struct capture *capture, size_t index)
{
    struct children *children = &capture->children;

    if (children->used == NULL)
        children->used = banyan_arena_zalloc(banyan_emitter_arena(capture->out), children->count);
    children->used[index] = true;
}

/* The row's own time, or the best that the row has. */
static struct order_stamp stamp_of(const struct order_row *row)
{
    struct order_stamp stamp = {row->updated_at, {BANYAN_TIME_NULL}, NULL};

    if (time_is_known(stamp.at))
        return stamp;
    stamp.updated_at = stamp.at;
    stamp.at = time_is_known(row->created_at) ? row->created_at : (struct banyan_time){0};
    return stamp;
}

/* ---- modifications ---- */

static void modify(struct capture *capture, const struct order_row *old, const struct order_row *new)
{
    struct children *children = &capture->children;
    struct order_stamp stamp = stamp_of(new);
    bool price_open = !value_equal(old->price, new->price);
    bool quantity_open = !value_equal(old->quantity, new->quantity);
    unsigned passed_over = 0;
    size_t i;

    if (old->updated_at.us == new->updated_at.us && !price_open && !quantity_open)
        return;
    for (i = child_next(children, TABLE_AUDIT_LOG, 0); i < children->count && passed_over < PASSED_OVER_MAX;
         i = child_next(children, TABLE_AUDIT_LOG, i + 1)) {
        struct audit_change change = audit_read(children->changes[i].new);
        bool price = change.meaning == AUDIT_PRICE;

        if ((!price && change.meaning != AUDIT_QUANTITY) ||
            !value_equal(change.old_value, price ? old->price : old->quantity) ||
            !value_equal(change.new_value, price ? new->price : new->quantity)) {
            passed_over++;
            continue;
        }
        emit_modified(capture->out, price ? BANYAN_STR("price") : BANYAN_STR("quantity"), change.old_value,
                      change.new_value, &stamp);
        child_use(capture, i);
        *(price ? &price_open : &quantity_open) = false;
    }
    if (price_open)
        emit_modified(capture->out, BANYAN_STR("price"), old->price, new->price, &stamp);
    if (quantity_open)
        emit_modified(capture->out, BANYAN_STR("quantity"), old->quantity, new->quantity, &stamp);
}

/* ---- fills ---- */

static void fill(struct capture *capture, size_t index, const struct order_row *new, bool last,
                 struct banyan_decimal filled)
{
    const struct trade_row *trade = capture->children.changes[index].new;
    struct order_stamp stamp = stamp_of(new);
    enum order_event type = fill_type(filled, new->quantity);

    if (time_is_known(trade->executed_at)) {
        if (trade->executed_at.us != new->updated_at.us)
            stamp.updated_at = new->updated_at;
        stamp.at = trade->executed_at;
    }
    if (last && banyan_str_equal(new->status, STATUS_FILLED))
        type = ORDER_FILLED;
    if (last && banyan_str_equal(new->status, STATUS_PARTIALLY_FILLED))
        type = ORDER_PARTIALLY_FILLED;
    emit_filled(capture->out, type, trade, filled, new->quantity, &stamp);
    child_use(capture, index);
}

/* The trade that alone makes *delta*, or the count. */
static size_t trade_of(struct children *children, struct banyan_decimal delta)
{
    size_t i = child_next(children, TABLE_TRADES, 0);

    for (unsigned passed_over = 0; i < children->count && passed_over < PASSED_OVER_MAX; passed_over++) {
        const struct trade_row *trade = children->changes[i].new;

        if (trade_counts(trade) && value_equal(trade->quantity, delta))
            return i;
        i = child_next(children, TABLE_TRADES, i + 1);
    }
    return children->count;
}

/* Behind the last of the trades that make *delta* together, taken in order; 0 where none do. */
static size_t trades_of(struct children *children, struct banyan_decimal delta)
{
    struct banyan_decimal sum = banyan_decimal_of(0, TRADING_SCALE);

    for (size_t i = child_next(children, TABLE_TRADES, 0); i < children->count;
         i = child_next(children, TABLE_TRADES, i + 1)) {
        const struct trade_row *trade = children->changes[i].new;

        if (!trade_counts(trade))
            continue;
        sum = value_add(sum, trade->quantity);
        if (!value_is_number(sum) || sum.units > delta.units)
            return 0;
        if (sum.units == delta.units)
            return i + 1;
    }
    return 0;
}

static void fills(struct capture *capture, const struct order_row *old, const struct order_row *new)
{
    struct children *children = &capture->children;
    struct banyan_decimal delta = value_sub(new->filled_quantity, old->filled_quantity);
    struct banyan_decimal filled = old->filled_quantity;
    size_t i, end;

    if (!value_is_number(delta) || delta.units <= 0)
        return;
    i = trade_of(children, delta);
    if (i < children->count) {
        fill(capture, i, new, true, new->filled_quantity);
        return;
    }
    end = trades_of(children, delta);
    for (i = child_next(children, TABLE_TRADES, 0); i < end; i = child_next(children, TABLE_TRADES, i + 1)) {
        const struct trade_row *trade = children->changes[i].new;

        if (!trade_counts(trade))
            continue;
        filled = value_add(filled, trade->quantity);
        fill(capture, i, new, i + 1 == end, filled);
    }
}

/* ---- rows ---- */

static void update(struct capture *capture, const struct order_row *old, const struct order_row *new)
{
    modify(capture, old, new);
    fills(capture, old, new);
    if (banyan_str_equal(new->status, STATUS_CANCELED) && !banyan_str_equal(old->status, STATUS_CANCELED)) {
        struct order_stamp stamp = stamp_of(new);

        emit_canceled(capture->out, new->filled_quantity, new->quantity, &stamp);
    }
}

/* A row that begins its life filled or canceled gets those events behind its creation. */
static void insert(struct capture *capture, const struct order_row *new)
{
    struct order_stamp stamp = {new->created_at, {BANYAN_TIME_NULL}, NULL};
    struct order_row placed = *new;

    if (new->updated_at.us != new->created_at.us)
        stamp.updated_at = new->updated_at;
    if (!time_is_known(stamp.at))
        stamp.at = stamp_of(new).at;
    if (!emit_created(capture->out, new, new->quantity, new->price, &stamp))
        return;
    placed.status = STATUS_NEW;
    placed.filled_quantity = banyan_decimal_of(0, TRADING_SCALE);
    placed.avg_fill_price = banyan_decimal_null();
    update(capture, &placed, new);
}

void trading_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes, size_t count,
                     struct banyan_emitter *out)
{
    struct capture capture = {.out = out, .children = {.changes = changes, .count = count}};

    (void)state;  /* every root change carries the row before */
    (void)exists; /* an insert after a removal creates the order anew */
    (void)key;    /* the rows carry it */
    for (size_t i = 0; i < count; i++) {
        if (changes[i].table != TABLE_ORDERS || changes[i].new == NULL)
            continue;
        if (changes[i].kind == BANYAN_CHANGE_INSERT)
            insert(&capture, changes[i].new);
        else if (changes[i].kind == BANYAN_CHANGE_UPDATE && changes[i].old != NULL)
            update(&capture, changes[i].old, changes[i].new);
    }
}
