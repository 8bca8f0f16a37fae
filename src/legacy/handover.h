/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hand-over from chunked backfill to capture, as pure state: no I/O, no threads, no clock.
 *
 *                     handover_chunk_begin()            handover_chunk_end(S)
 *      unread (U) ───────────────────────▶ reading (R) ─────────────────────▶ done (D, remembers its snapshot S)
 *          ▲                                   │ handover_chunk_abandon(), or a crash
 *          └───────────────────────────────────┘
 *
 * The key space is cut from the top: what is unread is one interval (-inf, frontier) plus abandoned pieces; each chunk
 * takes the newest keys, so that new keys soon go straight to the stream.
 *
 * The rule.  A captured transaction x applies to key k if and only if x is not visible in the snapshot with which k's
 * chunk was read.  While that is not known the change is held:
 *
 *      D: visible(x, S[chunk]) ? DROP : APPLY
 *      R: HOLD
 *      U: visible(x, P) ? DROP : HOLD          P = last polled snapshot
 *
 * At the end of a chunk the held changes of its keys are decided by its snapshot, in stream order; polls drop held
 * changes of unread keys that have become visible (whoever reads the chunk later will see them in the rows).
 * Invariants, proof and pitfalls: src/legacy/README.md.
 *
 * What survives a crash: D chunks (event ChunkRead), held changes (events ChangeHeld); R becomes U again.
 * Threads: the caller's lock (legacy/engine.c).
 */
#ifndef LEGACY_HANDOVER_H
#define LEGACY_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/types.h"
#include "pg/snapshot.h"

struct handover;

enum handover_decision {
    HANDOVER_NONE = 0,
    HANDOVER_APPLY,
    HANDOVER_DROP,
    HANDOVER_HOLD,
};

/* Keys with lo <= key < hi; INT64_MIN and INT64_MAX are open ends (hi INT64_MAX includes it). */
struct handover_chunk {
    uint64_t id; /* from 1 */
    int64_t lo, hi;
};

/* A change that waits for its chunk: opaque bytes of the caller's.  One of a range (a TRUNCATE) concerns all keys from
 * key to range_hi: where a chunk takes a part of them, it becomes two. */
struct handover_held {
    uint64_t xid;
    int64_t key;
    bool is_range;
    int64_t range_hi;         /* of a range: as in a chunk */
    struct banyan_str change; /* owned by the hand-over */
};

/* Everything unread. */
struct handover *handover_new(void);
void handover_free(struct handover *handover);

/* ---- chunks ---- */

/* The unread interval to take next: [lo, hi) with its newest keys; false when nothing is unread. */
bool handover_unread(const struct handover *handover, int64_t *ret_lo, int64_t *ret_hi);
/* Take [border, hi) of that interval for reading.  Before the chunk's snapshot can be taken.  *border* < hi: a border
 * of INT64_MAX would leave an interval whose end could not be told from the open one. */
struct handover_chunk handover_chunk_begin(struct handover *handover, int64_t border, int64_t hi);
/* It was read with *snapshot* (copied).  Gives the held changes that apply now, in stream order: an array of
 * *ret_count*, borrowed until the next call on the hand-over. */
const struct handover_held *handover_chunk_end(struct handover *handover, uint64_t id,
                                               const struct pg_snapshot *snapshot, size_t *ret_count);
/* Reading failed: unread again. */
void handover_chunk_abandon(struct handover *handover, uint64_t id);
/* Recovery: a chunk known to be done. */
void handover_chunk_restore(struct handover *handover, int64_t lo, int64_t hi, const struct pg_snapshot *snapshot);
bool handover_complete(const struct handover *handover);

/* ---- changes ---- */

/* Decide for top-level transaction *xid* and *key*. */
enum handover_decision handover_decide(const struct handover *handover, uint64_t xid, int64_t key);
/* Keep a change that was told to be held (copied).  Ignored for keys of chunks that are done, so that recovery may
 * bring back chunks and held changes in the order of the log. */
void handover_hold(struct handover *handover, uint64_t xid, int64_t key, struct banyan_str change);
/* The same for all keys of [lo, hi), one of the ranges that handover_each_range() told to hold. */
void handover_hold_range(struct handover *handover, uint64_t xid, int64_t lo, int64_t hi, struct banyan_str change);
/* A later snapshot was polled: drop what it sees of unread keys. */
void handover_poll(struct handover *handover, const struct pg_snapshot *snapshot);
/* All chunks are done, and *snapshot* is so late that every transaction still to come is invisible in all of them:
 * from now on everything applies.  Returns whether that is so.  The stream must have passed the WAL position that was
 * current after *snapshot* was taken: then all that the chunks saw has arrived. */
bool handover_retire(struct handover *handover, const struct pg_snapshot *snapshot);
/* Ranges that a TRUNCATE concerns: calls *fn* for each chunk and unread piece with its decision for *xid*, newest keys
 * first.  *fn* must not call the hand-over. */
void handover_each_range(const struct handover *handover, uint64_t xid,
                         void (*fn)(void *context, int64_t lo, int64_t hi, enum handover_decision decision),
                         void *context);

struct handover_stats {
    uint64_t chunks_done, chunks_reading, held, held_max, dropped, applied_late;
};
void handover_stats(const struct handover *handover, struct handover_stats *ret);

#endif
