/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backfill: a table is walked from its first page to its last, some pages a transaction, pass after pass until a pass
 * finds nothing to do.
 *
 *   UPDATE ONLY table t SET set WHERE t.ctid >= first AND t.ctid < last AND (needs) IS TRUE
 *   + the place in the books, one transaction, which lasts less than deadlock_timeout
 *
 * Pages need no key and cost one read (TID range scan, PostgreSQL 14).  Where somebody else was met within a few
 * milliseconds, and where original values are kept, the next batches lock first and skip what is held:
 *
 *   WITH due AS (SELECT t.ctid AS at FROM … FOR NO KEY UPDATE SKIP LOCKED), kept AS (keep)
 *   UPDATE ONLY table t SET set FROM due WHERE t.ctid = due.at
 *
 * so a backfill never makes a foreground statement a victim of a deadlock.  What was skipped is tried again behind the
 * walk, then waited for, page by page, and who holds it is told.  Rows that move meanwhile were written by others, and
 * the sync trigger filled them.  A pass that only reads proves the end.
 *
 * The size of a batch follows the time that it takes (decaying average), within bounds.  Where others work in the
 * database, batches are short and each is followed by a rest as long (with a throttle only).
 *
 * Triggers of the user do not fire where the role may set session_replication_role and no valid foreign key has a
 * written column; with *keep* they fire, as for any UPDATE.  row_security is off: a policy that would hide rows is an
 * error.
 *
 * Checkpoint: pass, page, rows in the batch's own transaction.  kill -9 costs the batch that was under way.  Its commit
 * does not wait for the disk: rows and place are lost together.
 */
#ifndef MIGRATE_BATCHES_H
#define MIGRATE_BATCHES_H

#include "migrate/books.h"
#include "migrate/throttle.h"
#include "os/stop.h"

enum {
    BATCHES_PAGES_FIRST = 32,
    BATCHES_PAGES_LEAST = 16, /* below, the round trips of a batch cost more than its rows */
    BATCHES_PAGES_MAX = 8192,
};

struct batches_progress {
    const struct books_step *step;
    uint32_t pages_a_batch;
    double rows_a_second; /* of the last seconds */
    int64_t eta_us;       /* CATALOG_UNKNOWN: not yet known */
    const char *reason;   /* why it waits; NULL: it does not */
};
struct batches_options {
    struct banyan_str version;
    size_t number;    /* of the step, in the books */
    int64_t batch_us; /* that a batch should take; 0: 50 ms */
    int64_t lock_timeout_us;
    const struct throttle_options *throttle; /* NULL: none */
    struct os_stop *stop;
    void (*progress)(void *context, const struct batches_progress *progress); /* at most each 100 ms; may be NULL */
    void *context;
};

/* Go on from *step* (which is kept up to date) to the end.  *conn* does the work, *watch* asks for pauses and
 * throttles. STOPPED, or BUSY when it was paused in the books: go on later. */
BANYAN_MUST_CHECK enum banyan_status batches_run(struct pg_conn *conn, struct pg_conn *watch,
                                                 const struct plan_batches *batches,
                                                 const struct batches_options *options, struct books_step *step,
                                                 struct banyan_error *err);

#endif
