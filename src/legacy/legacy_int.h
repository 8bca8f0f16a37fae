/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share.
 *
 *   backfill.c   workers: take a chunk, read it in one snapshot, map it, legacy_chunk_commit()
 *   capture.c    the stream thread: assembles transactions (transaction.c), legacy_transaction_apply()
 *   poll.c       the watcher: snapshots for the hand-over, heartbeat, slot health
 *   apply.c      the order lock, the appends: the only file that decides and submits
 *   engine.c     start and stop, the state machine, figures
 *   recovery.c   what the streams of this source say at a start
 *   source.c     what is done at the server: publication, slot, proofs
 *   records.c    the bytes of our own events and of the cursor
 *
 * Locks, in this order: plan (which chunk next) → order (decide and submit) → shared.lock (figures).
 * No SQL and no waiting under the order lock, but for mapper's wait until a stream's head is durable.
 */
#ifndef LEGACY_LEGACY_INT_H
#define LEGACY_LEGACY_INT_H

#include <pthread.h>

#include "banyan/buf.h"
#include "legacy/handover.h"
#include "legacy/legacy.h"
#include "legacy/mapper.h"
#include "legacy/tables.h"
#include "os/thread.h"
#include "pg/conn.h"
#include "pg/replication.h"

enum {
    LEGACY_WORKERS_MAX = 16,
    LEGACY_LAGS_MAX = 10000,
};

/* Roots read at two moments, some seconds apart: the rate of late. */
struct backfill_rate {
    int64_t older_us, newer_us; /* monotone; 0: none yet */
    uint64_t older_roots, newer_roots;
};

/* One mapping of the domain: an aggregate with a key space and a hand-over of its own. */
struct legacy_mapping {
    const struct banyan_legacy_mapping *spec;
    struct banyan_str category;
    struct handover *handover; /* of its keys; order lock */
    struct mapper *mapper;     /* of capture; order lock */
    bool begun;                /* the log knows it: its keys are read or unread, but none of its changes was missed */
};

struct legacy {
    struct legacy_options options; /* defaults filled in; strings borrowed */
    struct banyan_arena arena;     /* strings of this struct; lives as long as it */
    struct legacy_mapping *mappings;
    struct legacy_tables *tables; /* one a mapping; read-only once started */
    size_t mapping_count;

    /* Where our own events go: streams "$legacy-<name>" (SlotCreating, HandoverStarted, MappingStarted, ChunkRead,
     * BackfillCompleted), "$held-<name>" (ChangeHeld), "$fence-<name>" (Fence), "$conflict-<name>" (conflict.h). */
    struct banyan_str system_stream, held_stream, fence_stream, conflict_stream, cursor_name;
    struct banyan_str application_name; /* of our connections: "banyan/<name>" */
    struct banyan_str source_id;        /* "<system identifier>/<name>" */
    struct banyan_str system_id;
    uint32_t timeline;
    uint64_t consistent_lsn;
    struct banyan_str cursor_front; /* of the cursor's value, up to the position */

    pthread_mutex_t plan;   /* one worker at a time looks for a border */
    pthread_mutex_t order;  /* guards everything down to the threads */
    uint64_t cursor_lsn;    /* end of the last transaction that was submitted */
    uint64_t processed_lsn; /* end of the last transaction that was looked at: also of those that gave nothing */
    uint64_t xid_reference; /* newest full transaction id seen */
    uint64_t backfill_lsn;  /* from here on the log is consistent at each commit; 0: the backfill is not completed */
    bool retired;           /* the hand-over no longer has a say */

    struct os_thread capture, watcher, workers[LEGACY_WORKERS_MAX];

    struct {
        pthread_mutex_t lock; /* guards all of this struct */
        pthread_cond_t changed;
        struct legacy_status status;
        struct backfill_rate rate;
        uint64_t polls;     /* snapshots that the hand-over was given */
        bool failed;        /* status.error says why; everybody ends */
        bool stopping;      /* legacy_stop() was called, or a backfill_only is done */
        int64_t started_us; /* monotone; of the backfill */
        int64_t *lags_us;   /* ring of LEGACY_LAGS_MAX */
        size_t lag_count, lag_next;
    } shared;
};

/* ---- apply.c ---- */

struct transaction;

/* What became of a transaction. */
struct legacy_applied {
    bool appended;               /* else nothing of it is in the log */
    struct banyan_position last; /* durable when this is */
};
/* A transaction has committed: decide, map and submit it.  Memory of the call from *arena*, which it resets. */
BANYAN_MUST_CHECK enum banyan_status legacy_transaction_apply(struct legacy *legacy, struct transaction *tx,
                                                              struct banyan_arena *arena, struct legacy_applied *ret,
                                                              struct banyan_error *err);
/* The stream has nothing up to *lsn* that is not in the log or of no interest: move the cursor there. */
BANYAN_MUST_CHECK enum banyan_status legacy_move_cursor(struct legacy *legacy, uint64_t lsn, struct banyan_arena *arena,
                                                        struct legacy_applied *ret, struct banyan_error *err);
/* A chunk of a mapping (an index) was read: decide its held changes, append everything as one batch, mark it done.
 * *events* are the mapped rows, keys ascending (spans); what is appended with them is added to their items.  Memory of
 * the call from *arena*. */
BANYAN_MUST_CHECK enum banyan_status legacy_chunk_commit(struct legacy *legacy, size_t mapping,
                                                         const struct handover_chunk *chunk,
                                                         const struct pg_snapshot *snapshot,
                                                         struct mapper_events *events, struct banyan_arena *arena,
                                                         struct banyan_error *err);

/* ---- engine.c ---- */

/* Are all keys of all mappings read?  Under the order lock. */
bool legacy_complete(const struct legacy *legacy);
/* The index of the mapping of a category; an empty one means the first (records.h).  mapping_count: there is none. */
size_t legacy_mapping_of(const struct legacy *legacy, struct banyan_str category);
/* Somebody failed for good: remember the first error, stop everybody. */
void legacy_fail(struct legacy *legacy, const struct banyan_error *err);
/* End now?  Stop requested or failed. */
bool legacy_ending(struct legacy *legacy);
/* Not for good: shown in the status until legacy_working(). */
void legacy_retrying(struct legacy *legacy, const struct banyan_error *err);
void legacy_working(struct legacy *legacy);
/* Append one event of ours and wait until it is durable; *cursor_lsn* 0: without a cursor. */
BANYAN_MUST_CHECK enum banyan_status legacy_note(struct legacy *legacy, struct banyan_str stream, const char *type,
                                                 struct banyan_str payload, uint64_t cursor_lsn,
                                                 struct banyan_error *err);

/* ---- capture.c, poll.c ---- */

/* Thread mains; argument: struct legacy. */
void capture_main(void *argument);
void poll_main(void *argument);

/* ---- backfill.c ---- */

/* Thread main of a worker; argument: struct legacy.  Connects, works until nothing is unread, retries what is
 * retryable; the last one out finds legacy_complete(). */
void backfill_worker(void *argument);

#endif
