/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transaction snapshots: text form and visibility.
 *
 * Invariants: xmin <= every xip < xmax, xip strictly ascending; a text that breaks this is refused, because the
 * hand-over would silently lose rows with it.
 */
#include "pg/snapshot.h"

#include <inttypes.h>

/* One decimal number from *at on. */
static bool parse_number(struct banyan_str text, size_t *at, uint64_t *ret)
{
    uint64_t value = 0;
    size_t start = *at;

    for (; *at < text.size && text.data[*at] >= '0' && text.data[*at] <= '9'; (*at)++) {
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[*at] - '0'), &value))
            return false;
    }
    *ret = value;
    return *at > start;
}

static bool parse_char(struct banyan_str text, size_t *at, char c)
{
    if (*at >= text.size || text.data[*at] != c)
        return false;
    (*at)++;
    return true;
}

bool pg_snapshot_parse(struct banyan_str text, struct banyan_arena *arena, struct pg_snapshot *ret)
{
    struct pg_snapshot snapshot = {0};
    uint64_t *xip = NULL;
    size_t at = 0, commas = 0;

    if (text.data == NULL || !parse_number(text, &at, &snapshot.xmin) || !parse_char(text, &at, ':') ||
        !parse_number(text, &at, &snapshot.xmax) || !parse_char(text, &at, ':'))
        return false;
    if (snapshot.xmin == 0 || snapshot.xmax < snapshot.xmin)
        return false;
    if (at < text.size) {
        for (size_t i = at; i < text.size; i++)
            commas += text.data[i] == ',';
        xip = banyan_arena_alloc(arena, (commas + 1) * sizeof(*xip));
        do {
            uint64_t xid;

            if (!parse_number(text, &at, &xid) || xid < snapshot.xmin || xid >= snapshot.xmax ||
                (snapshot.xip_count > 0 && xid <= xip[snapshot.xip_count - 1]))
                return false;
            xip[snapshot.xip_count++] = xid;
        } while (parse_char(text, &at, ','));
        if (at != text.size)
            return false;
    }
    snapshot.xip = xip;
    *ret = snapshot;
    return true;
}

void pg_snapshot_format(const struct pg_snapshot *snapshot, struct banyan_buf *ret)
{
    banyan_buf_printf(ret, "%" PRIu64 ":%" PRIu64 ":", snapshot->xmin, snapshot->xmax);
    for (size_t i = 0; i < snapshot->xip_count; i++)
        banyan_buf_printf(ret, i == 0 ? "%" PRIu64 : ",%" PRIu64, snapshot->xip[i]);
}

bool pg_snapshot_sees(const struct pg_snapshot *snapshot, uint64_t xid)
{
    size_t low = 0, high = snapshot->xip_count;

    if (xid < snapshot->xmin)
        return true;
    if (xid >= snapshot->xmax)
        return false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (snapshot->xip[middle] == xid)
            return false;
        if (snapshot->xip[middle] < xid)
            low = middle + 1;
        else
            high = middle;
    }
    return true;
}

uint64_t pg_xid_widen(uint32_t xid, uint64_t reference)
{
    int32_t distance = (int32_t)(xid - (uint32_t)reference);

    return reference + (uint64_t)(int64_t)distance;
}
