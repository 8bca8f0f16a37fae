/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way back: what commands appended for mapped aggregates is written into the legacy tables, so that the legacy
 * application can take over again at any time.
 *
 *   log ──events that are not the source's own──▶ states before and after ──▶ rows ──▶ one transaction a batch:
 *                                                    rows, checkpoint, replication origin "banyan/<source>"
 *
 * Invariants
 *   1. Exactly once, in the order of the log: rows and checkpoint (table banyan.mirror) are one transaction.
 *   2. Capture drops these transactions by their origin.  session_replication_role is replica: triggers of the
 *      application do not fire, and the fence lets the mirror pass.
 *   3. A root row is changed only where it still is what the state before says, column by column.  Where it is not,
 *      somebody else wrote it: a conflict, recorded in the stream "$conflict-<source>" with both rows, and the row is
 *      left as it is until somebody resolves it; the aggregate's later events wait.
 *   4. The tables of banyan's schema are in no publication.
 *   5. An append is never split: what one command did is one transaction there, too.
 *
 * **Whose event is it?**  The source's own are those that it captured (their metadata begins with {"xid":, which only
 * capture writes) and those of its backfill (the event's id is the one that the mapper makes of source, category, key
 * and ordinal).  Those are in the tables already, and only folded.  Every other event of a mapped category is written,
 * whoever appended it.
 *
 * What the server refuses for good (a constraint, a value out of range, a key that is taken) is a conflict, too: it
 * concerns one aggregate, and the others go on.  Everything else (a lost connection, a lock, a right that was taken
 * away) is tried again with pauses, and told in the status.
 *
 * Foreign keys are not checked either in replica role, and ON DELETE does nothing: a domain's mirror() removes the
 * children itself.
 *
 * Threads: one of its own; the functions below may be called by any.
 */
#ifndef LEGACY_MIRROR_H
#define LEGACY_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "os/stop.h"
#include "store/store.h"

struct legacy_mirror;

struct legacy_mirror_options {
    const struct banyan_domain *domain;
    const char *source; /* its name */
    const char *conninfo;
    struct store *store; /* borrowed */
    struct banyan_position
        from; /* behind it; where the server has no checkpoint yet, or an older one of another attempt */
    uint32_t batch_events_max; /* 0: 500 */
    struct os_stop *stop;      /* borrowed */
};

struct legacy_mirror_status {
    bool running, proven;
    struct banyan_position written;      /* everything up to here is in the tables, or was not for them */
    struct banyan_position tail;         /* of the log */
    uint64_t events, rows, transactions; /* since the start */
    uint64_t conflicts;                  /* aggregates that are put aside now */
    int64_t lag_us_p50, lag_us_p99;      /* event durable → row committed; last 10,000 */
    struct banyan_error error;           /* what it is trying again; status OK: nothing */
};

/* Can it work?  Rights on every table, the origin, the schema banyan (made where missing); one row is written for real
 * under a savepoint that is rolled back, for each table.  PRIVILEGE, TABLE, SETTING with a hint. */
BANYAN_MUST_CHECK enum banyan_status legacy_mirror_prove(const struct legacy_mirror_options *options,
                                                         struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status legacy_mirror_start(const struct legacy_mirror_options *options,
                                                         struct legacy_mirror **ret, struct banyan_error *err);
void legacy_mirror_stop(struct legacy_mirror *mirror); /* joins; NULL allowed */
void legacy_mirror_status(struct legacy_mirror *mirror, struct legacy_mirror_status *ret);
/* Until everything up to *position* is written; TIMEOUT, CONFLICT. */
BANYAN_MUST_CHECK enum banyan_status legacy_mirror_wait(struct legacy_mirror *mirror, struct banyan_position position,
                                                        int64_t timeout_us, struct banyan_error *err);

/* ---- conflicts ---- */

/* One that nobody has resolved yet. */
struct legacy_conflict {
    struct banyan_str category;
    int64_t key;
    bool mirrored;                   /* the mirror has put the aggregate aside; else capture did not apply a change */
    struct banyan_position position; /* mirrored: the first event that is not written */
    struct banyan_position recorded; /* where the log tells of it */
    struct banyan_str details;       /* JSON, with the rows; conflict.h */
};
/* Oldest first, one an aggregate and kind; in *arena*.  Reads the stream. */
BANYAN_MUST_CHECK enum banyan_status legacy_mirror_conflicts(struct store *store, const char *source,
                                                             struct banyan_arena *arena, struct legacy_conflict **ret,
                                                             size_t *ret_count, struct banyan_error *err);
/* Take what the log says: the mirror, running now or later, overwrites the row with it whatever is there, writes the
 * children of the events that waited, and goes on with the aggregate.  Children that somebody else wrote stay.  Durable
 * when it returns; ret_position for legacy_mirror_wait().  NOT_FOUND: there is no such conflict. */
BANYAN_MUST_CHECK enum banyan_status legacy_mirror_resolve(struct store *store, const char *source,
                                                           struct banyan_str category, int64_t key,
                                                           struct banyan_position *ret_position,
                                                           struct banyan_error *err);

#endif
