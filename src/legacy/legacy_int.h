/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share.
 *
 *   backfill.c   workers: take a chunk, read it in one snapshot, map it, legacy_chunk_commit()
 *   capture.c    the stream thread: assembles transactions (transaction.c), legacy_transaction_apply()
 *   poll.c       the watcher: snapshots for the hand-over, heartbeat, slot health
 *   engine.c     the order lock, the appends, recovery, the state machine: the only file that decides and submits
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
};

struct legacy {
    struct legacy_options options; /* defaults filled in; strings borrowed */
    struct banyan_arena arena;     /* strings of this struct; lives as long as it */
    struct legacy_tables tables;   /* read-only once started */

    /* Where our own events go: streams "$legacy-<name>" (HandoverStarted, ChunkRead, BackfillCompleted, Fence) and
     * "$held-<name>" (ChangeHeld). */
    struct banyan_str system_stream, held_stream, cursor_name;
    struct banyan_str source_id; /* "<system identifier>/<name>" */
    struct banyan_str system_id;
    uint32_t timeline;
    uint64_t consistent_lsn;

    pthread_mutex_t plan;  /* one worker at a time looks for a border */
    pthread_mutex_t order; /* guards: handover, mapper, cursor_lsn, xid_reference */
    struct handover *handover;
    struct mapper *mapper;
    uint64_t cursor_lsn;    /* end of the last transaction that was submitted */
    uint64_t xid_reference; /* newest full transaction id seen */

    struct os_thread capture, watcher, workers[LEGACY_WORKERS_MAX];

    struct {
        pthread_mutex_t lock; /* guards all of this struct */
        pthread_cond_t changed;
        struct legacy_status status;
        bool failed; /* status.error says why; everybody ends */
    } shared;
};

/* ---- engine.c ---- */

/* A chunk was read: decide its held changes, append everything as one batch, mark it done.  *events* are the mapped
 * rows, keys ascending (spans).  Memory of the call from *arena*. */
BANYAN_MUST_CHECK enum banyan_status legacy_chunk_commit(struct legacy *legacy, const struct handover_chunk *chunk,
                                                         const struct pg_snapshot *snapshot,
                                                         const struct mapper_events *events, struct banyan_arena *arena,
                                                         struct banyan_error *err);
/* Somebody failed for good: remember the first error, stop everybody. */
void legacy_fail(struct legacy *legacy, const struct banyan_error *err);
/* End now?  Stop requested or failed. */
bool legacy_ending(struct legacy *legacy);

/* ---- backfill.c ---- */

/* Thread main of a worker; argument: struct legacy.  Connects, works until nothing is unread, retries what is
 * retryable; the last one out finds handover_complete(). */
void backfill_worker(void *argument);

#endif
