/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backfill: a table is walked from its first page to its last, some pages a transaction, pass after pass until a pass
 * finds nothing to do.
 *
 *   WITH due AS (SELECT t.ctid AS at FROM table t WHERE t.ctid >= first AND t.ctid < last AND (needs)
 *                FOR NO KEY UPDATE SKIP LOCKED),
 *        kept AS (keep), done AS (UPDATE table t SET set FROM due WHERE t.ctid = due.at RETURNING 1)
 *   + the place in the books, one transaction
 *
 * Pages need no key and cost one read (TID range scan, PostgreSQL 14).  Rows that others hold are skipped, not waited
 * for: a backfill never makes a foreground statement a victim of a deadlock; the next pass finds them.  Rows that move
 * while it runs were written by others, and the sync trigger filled them.  From the third pass on locked rows are
 * waited for, shortly.
 *
 * The size of a batch follows the time that it takes (decaying average), within bounds.  user triggers do not fire
 * where the role may set session_replication_role; row_security is off, so that a policy cannot hide rows silently.
 *
 * Checkpoint: pass, page, rows in the batch's own transaction.  kill -9 costs the batch that was under way.
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
