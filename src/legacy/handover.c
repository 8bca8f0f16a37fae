/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which captured changes apply: see handover.h for the rule.
 *
 *      ranges[0]              ranges[1]         ranges[2]           ranges[3]
 *      [90, +inf) done S1     [70, 90) done S2  [50, 70) reading    (-inf, 50) unread
 *
 * Invariants
 *   1. The ranges cover every key exactly once, newest keys first; chunks are cut from the top, so that new ranges
 *      come at the end of the array.
 *   2. Only a done range has a snapshot.  Neighbouring unread ranges are one.
 *   3. Held changes are in stream order and belong to unread or reading ranges, each to one.
 *   4. A poll only drops changes of unread ranges: their chunk's snapshot will be later than the poll's.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "legacy/handover.h"

enum range_state {
    RANGE_NONE = 0,
    RANGE_UNREAD,
    RANGE_READING,
    RANGE_DONE,
};

struct range {
    int64_t lo, hi; /* as in a chunk */
    enum range_state state;
    uint64_t id;                  /* of the chunk; 0: unread */
    struct pg_snapshot *snapshot; /* owned, ids included; NULL unless done */
};

struct handover {
    struct range *ranges;
    size_t range_count, range_capacity;
    size_t unread_count;
    uint64_t last_id;

    struct handover_held *held;
    size_t held_count, held_capacity;
    struct handover_held *given; /* by the last handover_chunk_end() */
    size_t given_count, given_capacity;

    struct pg_snapshot *polled; /* owned; NULL: none yet */
    bool retired;
    struct handover_stats stats;
};

/* ---- ranges ---- */

static struct pg_snapshot *snapshot_copy(const struct pg_snapshot *snapshot)
{
    size_t ids = snapshot->xip_count * sizeof(uint64_t);
    struct pg_snapshot *copy = alloc_zeroed(1, sizeof(*copy) + ids);
    *copy = *snapshot;
    copy->xip = (const uint64_t *)(copy + 1);
    if (ids > 0)
        memcpy(copy + 1, snapshot->xip, ids);
    return copy;
}

/* Is *key* below the end *hi*? */
static bool below(int64_t key, int64_t hi)
{
    return key < hi || hi == INT64_MAX;
}

/* The range of *key*: the first one that begins at or below it. */
static size_t range_of(const struct handover *handover, int64_t key)
{
    size_t low = 0, high = handover->range_count - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (handover->ranges[middle].lo <= key)
            high = middle;
        else
            low = middle + 1;
    }
    assert(handover->ranges[low].lo <= key && below(key, handover->ranges[low].hi));
    return low;
}

static size_t range_of_chunk(const struct handover *handover, uint64_t id)
{
    for (size_t i = handover->range_count; i-- > 0;)
        if (handover->ranges[i].id == id)
            return i;
    assert(!"no such chunk");
    abort();
}

static void range_insert(struct handover *handover, size_t at, struct range range)
{
    if (handover->range_count == handover->range_capacity) {
        handover->range_capacity = handover->range_capacity == 0 ? 64 : 2 * handover->range_capacity;
        handover->ranges = alloc_resized(handover->ranges, handover->range_capacity, sizeof(struct range));
    }
    memmove(&handover->ranges[at + 1], &handover->ranges[at], (handover->range_count - at) * sizeof(struct range));
    handover->ranges[at] = range;
    handover->range_count++;
}

static void range_remove(struct handover *handover, size_t at)
{
    handover->range_count--;
    memmove(&handover->ranges[at], &handover->ranges[at + 1], (handover->range_count - at) * sizeof(struct range));
}

/* ---- life ---- */

struct handover *handover_new(void)
{
    struct handover *handover = alloc_zeroed(1, sizeof(*handover));
    range_insert(handover, 0, (struct range){.lo = INT64_MIN, .hi = INT64_MAX, .state = RANGE_UNREAD});
    handover->unread_count = 1;
    return handover;
}

static void given_release(struct handover *handover)
{
    for (size_t i = 0; i < handover->given_count; i++)
        free((char *)handover->given[i].change.data);
    handover->given_count = 0;
}

void handover_free(struct handover *handover)
{
    if (handover == NULL)
        return;
    given_release(handover);
    for (size_t i = 0; i < handover->held_count; i++)
        free((char *)handover->held[i].change.data);
    for (size_t i = 0; i < handover->range_count; i++)
        free(handover->ranges[i].snapshot);
    free(handover->ranges);
    free(handover->held);
    free(handover->given);
    free(handover->polled);
    free(handover);
}

/* ---- held changes ---- */

static void held_push(struct handover_held **items, size_t *count, size_t *capacity, struct handover_held held)
{
    if (*count == *capacity) {
        *capacity = *capacity == 0 ? 64 : 2 * *capacity;
        *items = alloc_resized(*items, *capacity, sizeof(**items));
    }
    (*items)[(*count)++] = held;
}

static struct banyan_str change_copy(struct banyan_str change)
{
    char *copy = alloc_zeroed(change.size + 1, 1);
    if (change.size > 0)
        memcpy(copy, change.data, change.size);
    return (struct banyan_str){copy, change.size};
}

static void held_add(struct handover *handover, struct handover_held held)
{
    held.change = change_copy(held.change);
    held_push(&handover->held, &handover->held_count, &handover->held_capacity, held);
    if (handover->held_count > handover->stats.held_max)
        handover->stats.held_max = handover->held_count;
}

void handover_hold(struct handover *handover, uint64_t xid, int64_t key, struct banyan_str change)
{
    given_release(handover);
    if (handover->ranges[range_of(handover, key)].state == RANGE_DONE)
        return;
    held_add(handover, (struct handover_held){.xid = xid, .key = key, .change = change});
}

void handover_hold_range(struct handover *handover, uint64_t xid, int64_t lo, int64_t hi, struct banyan_str change)
{
    given_release(handover);
    /* By the time of a recovery the range may be cut differently: keep a part for each that is not done. */
    for (size_t i = 0; i < handover->range_count; i++) {
        const struct range *range = &handover->ranges[i];
        int64_t from = lo > range->lo ? lo : range->lo, to = hi < range->hi ? hi : range->hi;
        if (range->state != RANGE_DONE && from < to)
            held_add(handover, (struct handover_held){
                                   .xid = xid, .key = from, .is_range = true, .range_hi = to, .change = change});
    }
}

/* A new border goes through the ranges: what is held for both sides becomes one for each, at the same place. */
static void held_split(struct handover *handover, int64_t border)
{
    size_t across = 0;
    for (size_t i = 0; i < handover->held_count; i++)
        across += handover->held[i].is_range && handover->held[i].key < border && handover->held[i].range_hi > border;
    if (across == 0)
        return;
    struct handover_held *all = handover->held;
    size_t count = handover->held_count;
    handover->held = NULL;
    handover->held_count = handover->held_capacity = 0;
    for (size_t i = 0; i < count; i++) {
        struct handover_held upper = all[i];
        if (upper.is_range && upper.key < border && upper.range_hi > border) {
            struct handover_held lower = upper;
            lower.range_hi = border;
            held_add(handover, lower);
            upper.key = border;
        }
        held_push(&handover->held, &handover->held_count, &handover->held_capacity, upper);
    }
    free(all);
}

/* Decide the held changes of [lo, hi): give what *snapshot* does not see (NULL: give nothing), keep the others. */
static void held_decide(struct handover *handover, int64_t lo, int64_t hi, const struct pg_snapshot *snapshot)
{
    size_t kept = 0;
    for (size_t i = 0; i < handover->held_count; i++) {
        struct handover_held held = handover->held[i];
        if (held.key < lo || !below(held.key, hi)) {
            handover->held[kept++] = held;
        } else if (snapshot != NULL && !pg_snapshot_sees(snapshot, held.xid)) {
            held_push(&handover->given, &handover->given_count, &handover->given_capacity, held);
            handover->stats.applied_late++;
        } else {
            free((char *)held.change.data);
            handover->stats.dropped++;
        }
    }
    handover->held_count = kept;
}

/* ---- chunks ---- */

/* Cut [lo, hi) out of an unread range; what is left above and below stays unread.  Returns its index. */
static size_t range_cut(struct handover *handover, int64_t lo, int64_t hi)
{
    size_t at = range_of(handover, lo);
    struct range whole = handover->ranges[at];
    assert(whole.state == RANGE_UNREAD && lo < hi && hi <= whole.hi);
    handover->unread_count--;
    if (hi < whole.hi) {
        range_insert(handover, at, (struct range){.lo = hi, .hi = whole.hi, .state = RANGE_UNREAD});
        handover->unread_count++;
        at++;
    }
    if (lo > whole.lo) {
        range_insert(handover, at + 1, (struct range){.lo = whole.lo, .hi = lo, .state = RANGE_UNREAD});
        handover->unread_count++;
    }
    handover->ranges[at] = (struct range){.lo = lo, .hi = hi, .state = RANGE_READING, .id = ++handover->last_id};
    held_split(handover, lo);
    held_split(handover, hi);
    return at;
}

bool handover_unread(const struct handover *handover, int64_t *ret_lo, int64_t *ret_hi)
{
    size_t found = 0;
    /* Unread ranges are few and near the end; the one with the newest keys is the last that this walk meets. */
    for (size_t i = handover->range_count; found < handover->unread_count && i-- > 0;) {
        if (handover->ranges[i].state != RANGE_UNREAD)
            continue;
        found++;
        *ret_lo = handover->ranges[i].lo;
        *ret_hi = handover->ranges[i].hi;
    }
    return found > 0;
}

struct handover_chunk handover_chunk_begin(struct handover *handover, int64_t border, int64_t hi)
{
    given_release(handover);
    size_t at = range_cut(handover, border, hi); /* moves the array */
    const struct range *range = &handover->ranges[at];
    handover->stats.chunks_reading++;
    return (struct handover_chunk){.id = range->id, .lo = range->lo, .hi = range->hi};
}

const struct handover_held *handover_chunk_end(struct handover *handover, uint64_t id,
                                               const struct pg_snapshot *snapshot, size_t *ret_count)
{
    given_release(handover);
    struct range *range = &handover->ranges[range_of_chunk(handover, id)];
    assert(range->state == RANGE_READING);
    range->state = RANGE_DONE;
    range->snapshot = snapshot_copy(snapshot);
    handover->stats.chunks_reading--;
    handover->stats.chunks_done++;
    held_decide(handover, range->lo, range->hi, snapshot);
    *ret_count = handover->given_count;
    return handover->given;
}

void handover_chunk_abandon(struct handover *handover, uint64_t id)
{
    given_release(handover);
    size_t at = range_of_chunk(handover, id);
    struct range *ranges = handover->ranges;
    assert(ranges[at].state == RANGE_READING);
    ranges[at].state = RANGE_UNREAD;
    ranges[at].id = 0;
    handover->unread_count++;
    handover->stats.chunks_reading--;
    if (at + 1 < handover->range_count && ranges[at + 1].state == RANGE_UNREAD) {
        ranges[at].lo = ranges[at + 1].lo;
        range_remove(handover, at + 1);
        handover->unread_count--;
    }
    if (at > 0 && ranges[at - 1].state == RANGE_UNREAD) {
        ranges[at - 1].lo = ranges[at].lo;
        range_remove(handover, at);
        handover->unread_count--;
    }
}

void handover_chunk_restore(struct handover *handover, int64_t lo, int64_t hi, const struct pg_snapshot *snapshot)
{
    given_release(handover);
    size_t at = range_cut(handover, lo, hi); /* moves the array */
    struct range *range = &handover->ranges[at];
    range->state = RANGE_DONE;
    range->snapshot = snapshot_copy(snapshot);
    handover->stats.chunks_done++;
    held_decide(handover, lo, hi, NULL); /* decided in the same append as the chunk */
}

bool handover_complete(const struct handover *handover)
{
    return handover->unread_count == 0 && handover->stats.chunks_reading == 0;
}

/* ---- changes ---- */

static enum handover_decision decide_range(const struct handover *handover, const struct range *range, uint64_t xid)
{
    switch (range->state) {
    case RANGE_DONE:
        return pg_snapshot_sees(range->snapshot, xid) ? HANDOVER_DROP : HANDOVER_APPLY;
    case RANGE_UNREAD:
        return handover->polled != NULL && pg_snapshot_sees(handover->polled, xid) ? HANDOVER_DROP : HANDOVER_HOLD;
    case RANGE_READING:
        return HANDOVER_HOLD;
    case RANGE_NONE:
        break;
    }
    assert(!"no such state");
    abort();
}

enum handover_decision handover_decide(const struct handover *handover, uint64_t xid, int64_t key)
{
    if (handover->retired)
        return HANDOVER_APPLY;
    return decide_range(handover, &handover->ranges[range_of(handover, key)], xid);
}

void handover_poll(struct handover *handover, const struct pg_snapshot *snapshot)
{
    given_release(handover);
    if (handover->unread_count == 0)
        return;
    free(handover->polled);
    handover->polled = snapshot_copy(snapshot);
    size_t kept = 0;
    uint64_t last_xid = 0;
    bool last_seen = false;
    for (size_t i = 0; i < handover->held_count; i++) {
        struct handover_held *held = &handover->held[i];
        if (i == 0 || held->xid != last_xid)
            last_seen = pg_snapshot_sees(snapshot, held->xid);
        last_xid = held->xid;
        if (last_seen && handover->ranges[range_of(handover, held->key)].state == RANGE_UNREAD) {
            free((char *)held->change.data);
            handover->stats.dropped++;
        } else {
            handover->held[kept++] = *held;
        }
    }
    handover->held_count = kept;
}

bool handover_retire(struct handover *handover, const struct pg_snapshot *snapshot)
{
    given_release(handover);
    if (handover->retired)
        return true;
    if (!handover_complete(handover))
        return false;
    for (size_t i = 0; i < handover->range_count; i++)
        if (handover->ranges[i].snapshot->xmax > snapshot->xmin)
            return false;
    handover->retired = true;
    return true;
}

void handover_each_range(const struct handover *handover, uint64_t xid,
                         void (*fn)(void *context, int64_t lo, int64_t hi, enum handover_decision decision),
                         void *context)
{
    for (size_t i = 0; i < handover->range_count; i++) {
        const struct range *range = &handover->ranges[i];
        fn(context, range->lo, range->hi, handover->retired ? HANDOVER_APPLY : decide_range(handover, range, xid));
    }
}

void handover_stats(const struct handover *handover, struct handover_stats *ret)
{
    *ret = handover->stats;
    ret->held = handover->held_count;
}
