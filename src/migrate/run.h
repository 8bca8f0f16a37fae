/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doing a plan that is in the books: step by step, each marked, each tried again as its class says, never in anybody's
 * way for long, and undone in the reverse order.
 *
 *   run_start       checks, expand, backfill; ends "ready": both codes work
 *   run_complete    checks, contract; what is taken away is kept aside
 *   run_reopen      undo of contract: back to "ready", so that the old code can come back before the new one goes
 *   run_rollback    undo of every step that was done, last first; behind complete too, until cleanup
 *   run_cleanup     drops what was kept aside; no way back from here
 *   run_resume      whatever was under way when it stopped
 *
 * Tries: lock_timeout, then a pause that doubles from 100 ms to 5 s with jitter; the whole transaction again.  While it
 * waits the blockers are asked for and told.  Ended connections are made again, the books tell where it was.
 *
 * Threads: one; run_options.progress is called by it.
 */
#ifndef MIGRATE_RUN_H
#define MIGRATE_RUN_H

#include "migrate/batches.h"
#include "migrate/blockers.h"
#include "migrate/books.h"

struct run_progress {
    const struct books_migration *migration;
    const struct plan *plan;
    size_t step; /* the one at work */
    bool undoing;
    uint32_t tries;
    struct banyan_str waiting;              /* blockers, throttle; empty: at work */
    double fraction;                        /* of the step; negative: not known */
    const struct batches_progress *batches; /* of a backfill; NULL: another step */
};

/* Name of the runner's connections in pg_stat_activity, by which look.c finds them. */
#define RUN_APPLICATION "banyan migrate run"

/* For who wants to see more than progress (rehearse.c); each may be NULL, a failure of one ends the run. */
struct run_hooks {
    /* At the end of each step or undo of it: before the commit, over the connection in whose transaction it was done
     * (its locks are still held); for one that runs outside of transactions after it.  *elapsed_us*: of the try that
     * worked. */
    enum banyan_status (*step)(void *context, struct pg_conn *conn, size_t step, bool undo, int64_t elapsed_us,
                               struct banyan_error *err);
    /* Behind each change of the migration's state, when it is committed and no transaction is open: BACKFILLING tells
     * that expand is done. */
    enum banyan_status (*state)(void *context, enum books_state state, struct banyan_error *err);
    void (*at)(void *context, const char *place); /* tests: named places, where they stop the world */
    void *context;
};

struct run_options {
    const char *conninfo;
    struct throttle_options throttle;
    int64_t lock_timeout_us; /* of strong locks; 0: 200 ms */
    int64_t try_us_max;      /* give up a step that gets no lock for so long; 0: 10 minutes */
    int64_t batch_us;        /* 0: 50 ms */
    bool allow;              /* steps as written, undo that loses values */
    int64_t kill_idle_us;    /* end blockers that are idle in a transaction for longer; 0: never */
    struct os_stop *stop;    /* may be NULL */
    void (*progress)(void *context, const struct run_progress *progress); /* may be NULL */
    void *context;
    const struct run_hooks *hooks; /* may be NULL */
};

/* *plan* was made just now, over the same database.  NOT_MET: a check, a refusal, a step as written that is not
 * allowed. All: BUSY where another migrator is at work, or it was paused in the books (run_resume() takes the pause
 * back); TIMEOUT with the blockers where a lock could not be had; CONFLICT where the state does not allow it. */
BANYAN_MUST_CHECK enum banyan_status run_start(const struct run_options *options, const struct migration *migration,
                                               const struct plan *plan, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status run_complete(const struct run_options *options, struct banyan_str version,
                                                  struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status run_reopen(const struct run_options *options, struct banyan_str version,
                                                struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status run_rollback(const struct run_options *options, struct banyan_str version,
                                                  struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status run_cleanup(const struct run_options *options, struct banyan_str version,
                                                 struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status run_resume(const struct run_options *options, struct banyan_str version,
                                                struct banyan_error *err);

#endif
