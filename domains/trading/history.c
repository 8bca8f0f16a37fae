/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of an order that existed before anybody listened, from its row, its audit rows and its trades.
 *
 *     audit rows (by time, number) ──┐
 *                                    ├─ arranged in one line of facts ─▶ walked, emitting ─▶ loose ends from the row
 *     trades (by time, number) ──────┘        (several lines are tried where times tie or contradict)
 *
 * A fact gives an exact event.  What the facts presuppose but nobody recorded gives an inferred one:
 *   - an audit row whose old value is not the value known then: something changed in between;
 *   - a last new value that is not the row's: something changed afterwards;
 *   - a canceled order without an audit row that says so.
 * What is left, an updated_at later than everything recorded, a filled quantity that no trades make up, is not guessed
 * at: the engine sees the row differ and has it reconciled.
 *
 * Choosing a line.  Time decides, and only where it cannot (ties between a trade and a change, or times that contradict
 * the numbers or the row because commits overtook each other) other lines are walked silently and scored by how much
 * they would have to infer and how far the end is from the row; the first best wins.  At most a dozen, so that absurd
 * data costs a constant factor.
 */
#include <stdlib.h>
#include <string.h>

#include "mapping.h"
#include "values.h"

enum {
    FACTS_FEW = 16, /* of most orders: they fit on the stack */
};

static const char reason_creation_time[] = "the row has no creation time";
static const char reason_no_time[] = "the row that records it has no time";
static const char reason_gap[] = "no audit row says when this value changed, only a later row presupposes it";
static const char reason_gap_at_end[] = "no audit row says when this value changed; the order has it now";
static const char reason_old_value[] = "the audit row's old value cannot be read";
static const char reason_tie[] = "recorded at the same time as a trade, so their order is a guess";
static const char reason_status[] = "the order's status says otherwise than its quantity";
static const char reason_cancel[] = "legacy keeps no cancellation time";

/* One audit row or trade. */
struct fact {
    struct banyan_time at;
    const struct trade_row *trade; /* NULL: an audit row */
    struct audit_change change;    /* of an audit row */
    int64_t id;                    /* of the row, within its table */
    bool timeless;                 /* *at* is not the row's own */
    bool tied;                     /* a change with the same time as a trade */
};

/* What comes last whatever its time. */
enum tail {
    TAIL_NONE,
    TAIL_CANCELED, /* nothing happens to a canceled order */
    TAIL_UPDATED,  /* the facts of the row's updated_at: their transaction wrote the row last */
};

/* How to line the facts up. */
struct arrangement {
    bool by_number;    /* within a table: by id instead of by time */
    bool trades_first; /* where times tie */
    enum tail tail;
};

struct rebuild {
    const struct order_row *row;
    struct fact *audits, *trades; /* as read; sorted by id for by_number */
    size_t audit_count, trade_count;
    struct fact *line; /* the arrangement that is walked */
    size_t count;
    bool guess; /* tied changes could as well be elsewhere */
};

/* ---- reading ---- */

static struct banyan_time time_or(struct banyan_time wanted, struct banyan_time otherwise, bool *ret_missing)
{
    *ret_missing = !time_is_known(wanted);
    return *ret_missing ? otherwise : wanted;
}

/* When nothing better is known. */
static struct banyan_time fallback_time(const struct order_row *row)
{
    if (time_is_known(row->updated_at))
        return row->updated_at;
    return time_is_known(row->created_at) ? row->created_at : (struct banyan_time){0};
}

/* *fact* has room for all rows twice: as read, and lined up. */
static void read_facts(struct rebuild *rebuild, const struct banyan_history *history, struct fact *fact)
{
    size_t audits = history->row_count[TABLE_AUDIT_LOG], trades = history->row_count[TABLE_TRADES];
    struct banyan_time otherwise = fallback_time(rebuild->row);

    rebuild->line = fact + audits + trades;
    rebuild->audits = fact;
    for (size_t i = 0; i < audits; i++) {
        const struct audit_row *audit = history->rows[TABLE_AUDIT_LOG][i];

        *fact = (struct fact){.change = audit_read(audit), .id = audit->id};
        fact->at = time_or(audit->timestamp, otherwise, &fact->timeless);
        fact += fact->change.meaning != AUDIT_NOTHING;
    }
    rebuild->audit_count = (size_t)(fact - rebuild->audits);
    rebuild->trades = fact;
    for (size_t i = 0; i < trades; i++) {
        const struct trade_row *trade = history->rows[TABLE_TRADES][i];

        if (!trade_counts(trade))
            continue;
        *fact = (struct fact){.trade = trade, .id = trade->id};
        fact->at = time_or(trade->executed_at, otherwise, &fact->timeless);
        fact++;
    }
    rebuild->trade_count = (size_t)(fact - rebuild->trades);
}

/* ---- arranging ---- */

static bool audit_comes_first(const struct fact *audit, const struct fact *trade, struct arrangement how)
{
    if (audit->at.us != trade->at.us)
        return audit->at.us < trade->at.us;
    return audit->change.meaning != AUDIT_CANCELED && !how.trades_first;
}

/* Changes that share their time with a trade. */
static void mark_ties(struct rebuild *rebuild)
{
    size_t begin = 0;

    for (size_t end = 1; end <= rebuild->count; end++) {
        bool trade = false;

        if (end < rebuild->count && rebuild->line[end].at.us == rebuild->line[begin].at.us)
            continue;
        for (size_t i = begin; i < end; i++)
            trade |= rebuild->line[i].trade != NULL;
        for (size_t i = begin; trade && i < end; i++)
            rebuild->line[i].tied = rebuild->line[i].trade == NULL && rebuild->line[i].change.meaning != AUDIT_CANCELED;
        begin = end;
    }
}

static bool in_tail(const struct rebuild *rebuild, const struct fact *fact, enum tail tail)
{
    if (tail == TAIL_CANCELED)
        return fact->trade == NULL && fact->change.meaning == AUDIT_CANCELED;
    return tail == TAIL_UPDATED && fact->at.us == rebuild->row->updated_at.us;
}

static void arrange(struct rebuild *rebuild, struct arrangement how)
{
    const struct fact *audit = rebuild->audits, *audits_end = audit + rebuild->audit_count;
    const struct fact *trade = rebuild->trades, *trades_end = trade + rebuild->trade_count;
    size_t kept = 0, count = 0;

    while (audit < audits_end || trade < trades_end)
        if (trade == trades_end || (audit < audits_end && audit_comes_first(audit, trade, how)))
            rebuild->line[count++] = *audit++;
        else
            rebuild->line[count++] = *trade++;
    rebuild->count = count;
    mark_ties(rebuild);
    if (how.tail == TAIL_NONE)
        return;
    /* The inputs are still there: take the tail's facts from them, in their order. */
    for (size_t i = 0; i < count; i++)
        if (!in_tail(rebuild, &rebuild->line[i], how.tail))
            rebuild->line[kept++] = rebuild->line[i];
    for (audit = rebuild->audits; audit < audits_end; audit++)
        if (audit->change.meaning != AUDIT_CANCELED && in_tail(rebuild, audit, how.tail))
            rebuild->line[kept++] = *audit;
    for (trade = rebuild->trades; trade < trades_end; trade++)
        if (in_tail(rebuild, trade, how.tail))
            rebuild->line[kept++] = *trade;
    for (audit = rebuild->audits; audit < audits_end; audit++)
        if (audit->change.meaning == AUDIT_CANCELED && in_tail(rebuild, audit, how.tail))
            rebuild->line[kept++] = *audit;
}

/* ---- walking ---- */

/* The order while its facts are walked.  With *out* NULL only the score is kept. */
struct walk {
    const struct rebuild *rebuild;
    struct banyan_emitter *out;
    struct banyan_decimal price, quantity, filled;
    struct banyan_str status;
    struct banyan_time at; /* of the last event */
    const struct fact *last_trade;
    unsigned score; /* events that must be inferred, columns that stay wrong */
};

static struct order_stamp stamp(struct walk *walk, struct banyan_time at, const char *reason)
{
    walk->at = at;
    walk->score += reason != NULL;
    return (struct order_stamp){at, {BANYAN_TIME_NULL}, reason};
}

static void walk_modified(struct walk *walk, enum audit_meaning what, struct banyan_decimal new_value,
                          struct order_stamp with)
{
    struct banyan_decimal *value = what == AUDIT_PRICE ? &walk->price : &walk->quantity;

    if (walk->out != NULL)
        emit_modified(walk->out, what == AUDIT_PRICE ? BANYAN_STR("price") : BANYAN_STR("quantity"), *value, new_value,
                      &with);
    *value = new_value;
}

static void walk_audit(struct walk *walk, const struct fact *fact)
{
    const struct audit_change *change = &fact->change;
    const char *reason = fact->timeless ? reason_no_time : NULL;
    struct order_stamp with;

    if (change->meaning == AUDIT_CANCELED) {
        with = stamp(walk, fact->at, reason);
        if (walk->out != NULL)
            emit_canceled(walk->out, walk->filled, walk->quantity, &with);
        walk->status = STATUS_CANCELED;
        return;
    }
    if (!value_is_number(change->old_value))
        reason = reason_old_value;
    else if (!value_equal(change->old_value, change->meaning == AUDIT_PRICE ? walk->price : walk->quantity))
        walk_modified(walk, change->meaning, change->old_value, stamp(walk, fact->at, reason_gap));
    if (fact->tied && walk->rebuild->guess)
        reason = reason_tie;
    walk_modified(walk, change->meaning, change->new_value, stamp(walk, fact->at, reason));
}

static void walk_trade(struct walk *walk, const struct fact *fact)
{
    const struct order_row *row = walk->rebuild->row;
    const char *reason = fact->timeless ? reason_no_time : NULL;
    struct banyan_decimal filled = value_add(walk->filled, fact->trade->quantity);
    enum order_event type, told;
    struct order_stamp with;

    if (!value_is_number(filled))
        return;
    /* A quantity that changed unrecorded, and an order that is full by it: it had changed before the last fill. */
    if (fact == walk->last_trade && walk->last_trade->trade != NULL && banyan_str_equal(row->status, STATUS_FILLED) &&
        value_is_number(row->quantity) && fill_type(filled, walk->quantity) == ORDER_PARTIALLY_FILLED &&
        filled.units >= row->quantity.units)
        walk_modified(walk, AUDIT_QUANTITY, row->quantity, stamp(walk, fact->at, reason_gap));
    type = told = fill_type(filled, walk->quantity);
    if (fact == walk->last_trade && banyan_str_equal(row->status, STATUS_FILLED))
        told = ORDER_FILLED;
    if (fact == walk->last_trade && banyan_str_equal(row->status, STATUS_PARTIALLY_FILLED))
        told = ORDER_PARTIALLY_FILLED;
    if (told != type)
        reason = reason_status;
    with = stamp(walk, fact->at, reason);
    if (walk->out != NULL)
        emit_filled(walk->out, told, fact->trade, filled, walk->quantity, &with);
    walk->filled = filled;
    walk->status = told == ORDER_FILLED ? STATUS_FILLED : STATUS_PARTIALLY_FILLED;
}

/* What the row has and no fact led to.  These events carry the row's updated_at, as nothing comes after them. */
static void walk_loose_ends(struct walk *walk)
{
    const struct order_row *row = walk->rebuild->row;
    struct banyan_time at = time_is_known(row->updated_at) ? time_later(row->updated_at, walk->at) : walk->at;
    bool price = value_is_number(row->price) && !value_equal(row->price, walk->price);
    bool quantity = value_is_number(row->quantity) && !value_equal(row->quantity, walk->quantity);
    bool canceled = banyan_str_equal(row->status, STATUS_CANCELED) && !banyan_str_equal(walk->status, STATUS_CANCELED);
    struct order_stamp with;

    if (price || quantity || canceled) {
        with = stamp(walk, at, reason_gap_at_end);
        if (at.us != row->updated_at.us)
            with.updated_at = row->updated_at;
        if (price)
            walk_modified(walk, AUDIT_PRICE, row->price, with);
        if (quantity)
            walk_modified(walk, AUDIT_QUANTITY, row->quantity, with);
        with.reason = reason_cancel;
        if (canceled && walk->out != NULL)
            emit_canceled(walk->out, walk->filled, walk->quantity, &with);
        walk->score += (unsigned)(price + quantity + canceled) - 1;
        walk->at = row->updated_at;
        if (canceled)
            walk->status = STATUS_CANCELED;
    }
    walk->score += walk->at.us != row->updated_at.us;
    walk->score += !banyan_str_equal(walk->status, row->status);
}

/* The value that a column began with: what the first change of it replaced, else what it has now. */
static struct banyan_decimal original(const struct rebuild *rebuild, enum audit_meaning what, struct banyan_decimal now)
{
    for (size_t i = 0; i < rebuild->count; i++) {
        const struct fact *fact = &rebuild->line[i];

        if (fact->trade == NULL && fact->change.meaning == what)
            return value_is_number(fact->change.old_value) ? fact->change.old_value : fact->change.new_value;
    }
    return now;
}

/* The score; emits where *out* is not NULL. */
static unsigned walk_line(const struct rebuild *rebuild, struct banyan_emitter *out)
{
    const struct order_row *row = rebuild->row;
    struct walk walk = {.rebuild = rebuild, .out = out, .status = STATUS_NEW};
    struct order_stamp with;
    bool timeless;

    walk.price = original(rebuild, AUDIT_PRICE, row->price);
    walk.quantity = original(rebuild, AUDIT_QUANTITY, row->quantity);
    walk.filled = banyan_decimal_of(0, TRADING_SCALE);
    with = stamp(&walk, time_or(row->created_at, fallback_time(row), &timeless), NULL);
    with.reason = timeless ? reason_creation_time : NULL;
    if (out != NULL && !emit_created(out, row, walk.quantity, walk.price, &with))
        return 0;
    for (size_t i = 0; i < rebuild->count; i++)
        if (rebuild->line[i].trade != NULL)
            walk.last_trade = &rebuild->line[i];
    for (size_t i = 0; i < rebuild->count; i++)
        if (rebuild->line[i].trade != NULL)
            walk_trade(&walk, &rebuild->line[i]);
        else
            walk_audit(&walk, &rebuild->line[i]);
    walk_loose_ends(&walk);
    return walk.score;
}

/* ---- choosing ---- */

static int compare_ids(const void *a, const void *b)
{
    const struct fact *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static bool ids_ascend(const struct fact *facts, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (facts[i - 1].id > facts[i].id)
            return false;
    return true;
}

/* A copy of both tables' facts, each by number. */
static struct rebuild by_number(const struct rebuild *rebuild, struct banyan_arena *arena)
{
    struct rebuild sorted = *rebuild;
    size_t count = rebuild->audit_count + rebuild->trade_count;

    sorted.audits = banyan_arena_alloc(arena, count * sizeof(struct fact));
    sorted.trades = sorted.audits + rebuild->audit_count;
    memcpy(sorted.audits, rebuild->audits, rebuild->audit_count * sizeof(struct fact));
    memcpy(sorted.trades, rebuild->trades, rebuild->trade_count * sizeof(struct fact));
    qsort(sorted.audits, sorted.audit_count, sizeof(struct fact), compare_ids);
    qsort(sorted.trades, sorted.trade_count, sizeof(struct fact), compare_ids);
    return sorted;
}

static unsigned score_of(struct rebuild *rebuild, struct arrangement how)
{
    arrange(rebuild, how);
    return walk_line(rebuild, NULL);
}

/* Times alone do not give one line: try others, and leave the best arranged in what is returned. */
static struct rebuild choose(struct rebuild *rebuild, bool ties, bool numbers_differ, struct banyan_arena *arena)
{
    struct rebuild sorted = numbers_differ ? by_number(rebuild, arena) : *rebuild;
    struct arrangement best = {.by_number = false};
    unsigned best_score = UINT32_MAX, other;
    struct rebuild *chosen;

    for (enum tail tail = TAIL_NONE; best_score > 0 && tail <= TAIL_UPDATED; tail++)
        for (int numbers = 0; best_score > 0 && numbers <= numbers_differ; numbers++)
            for (int trades = 0; best_score > 0 && trades <= ties; trades++) {
                struct arrangement how = {numbers != 0, trades != 0, tail};
                unsigned score = score_of(numbers != 0 ? &sorted : rebuild, how);

                if (score >= best_score)
                    continue;
                best = how;
                best_score = score;
            }
    chosen = best.by_number ? &sorted : rebuild;
    if (ties) {
        best.trades_first = !best.trades_first;
        other = score_of(chosen, best);
        best.trades_first = !best.trades_first;
        chosen->guess = other == best_score;
    }
    arrange(chosen, best);
    return *chosen;
}

void trading_history(const struct banyan_history *history, struct banyan_emitter *out)
{
    struct rebuild rebuild = {.row = history->root};
    struct banyan_arena *arena = banyan_emitter_arena(out);
    size_t rows = history->row_count[TABLE_AUDIT_LOG] + history->row_count[TABLE_TRADES];
    bool ties = false, numbers_differ, overtaken;
    struct fact few[2 * FACTS_FEW];

    if (history->root == NULL)
        return;
    read_facts(&rebuild, history, rows <= FACTS_FEW ? few : banyan_arena_alloc(arena, 2 * rows * sizeof(struct fact)));
    arrange(&rebuild, (struct arrangement){.by_number = false});
    for (size_t i = 0; i < rebuild.count; i++)
        ties |= rebuild.line[i].tied;
    numbers_differ =
        !ids_ascend(rebuild.audits, rebuild.audit_count) || !ids_ascend(rebuild.trades, rebuild.trade_count);
    overtaken = rebuild.count > 0 && rebuild.line[rebuild.count - 1].at.us > rebuild.row->updated_at.us;
    if (ties || numbers_differ || overtaken)
        rebuild = choose(&rebuild, ties, numbers_differ, arena);
    (void)walk_line(&rebuild, out);
}
