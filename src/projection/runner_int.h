/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One projection of the engine: its thread, and what other threads see of it.
 *
 *   engine.c         all of them: add, find, act
 *   runner.c         the thread: read, fold, flush, wait
 *   runner_attach.c  which generation it works on; the host of its rebuild
 *   runner_ask.c     for other threads: status, waits, pause
 *   retry.c          a key that is aside, tried again
 *
 *              ┌───────────── adopt a new sink (after a switch) ──────────────┐
 *   start ─▶ attach ─▶ follow: step, step, … ◀─── nothing to follow (a rebuild makes it, or it is paused): idle
 *              ▲          │ error
 *              └──────────┴─▶ failed (pauses; memory is thrown away, the sink says where it is)
 *
 *   from          to            by              what holds
 *   attach        follow        attach()        the sink is claimed; memory is empty
 *   attach        idle          attach()        nothing serves, or what serves is of another form
 *   follow        idle          rest()          nothing is read that is not flushed; hold() returns
 *   idle          follow        rest()          it was not held or paused any more, or there is a sink to adopt
 *   any           failed        run()           nothing of the session is in memory
 *   failed        attach        forget_lost()   the store does not have the generation any more (a Redis without a
 * disk)
 *
 * A crash leaves only what the sink has: everything begins at attach again.
 *
 * Thread note: all fields before `shared` belong to the thread.  `shared.lock` is taken alone, or before that of the
 * rebuild that it guards; no callback runs under it.
 */
#ifndef PROJECTION_RUNNER_INT_H
#define PROJECTION_RUNNER_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/retry.h"
#include "os/thread.h"
#include "projection/engine.h"
#include "projection/fold.h"
#include "projection/progress.h"
#include "projection/rebuild.h"
#include "projection/scan.h"
#include "projection/unit.h"

/* What all projections of an engine share. */
struct runner_engine {
    struct projections_options options;
    struct scan *scan;
    atomic_bool held;            /* the history is still being brought in */
    atomic_uint critical_behind; /* CRITICAL projections that have a backlog */
};

/* A request to try a key again; on the stack of who waits. */
struct runner_retry {
    int64_t key;
    struct banyan_str stream;
    bool taken, done;
    enum banyan_status status;
    struct banyan_error err;
};

struct runner {
    struct runner_engine *engine;      /* borrowed */
    struct projection_options options; /* the home is owned */
    struct os_thread thread;
    struct os_retry retry;

    /* What it works on. */
    bool attached;
    struct sink *sink; /* owned; NULL: follows none */
    struct banyan_unit *unit;
    struct fold *fold;
    struct scan_reader *reader;
    /* The rebuild that attach() found to be necessary; it begins when the history is complete. */
    bool rebuild_due;
    uint32_t rebuild_resume;
    const char *rebuild_reason;

    /* The session. */
    struct sink_checkpoint written; /* what the sink has */
    struct sink_checkpoint read;    /* what was read from the log */
    struct banyan_position target;  /* live from here on */
    bool live, held, behind;
    bool at_batch_end;
    bool settle;                  /* read to the end of a batch and flush: somebody waits for it */
    size_t events_pending;        /* read since the last flush, wanted or not */
    size_t applied_pending;       /* of them applied */
    size_t rows_soft;             /* flush at so many: steered by how long flushes take */
    int64_t pending_since_us;     /* monotone: when the first of them was read */
    struct banyan_time *recorded; /* of the newest pending events: PROGRESS_LAGS_MAX, a ring */
    size_t recorded_count;
    int64_t free_at_us; /* monotone: the limit of events a second allows no more before */

    struct {
        pthread_mutex_t lock;
        pthread_cond_t moved; /* anything below changed */
        struct projection_status status;
        struct progress progress;
        uint64_t passed; /* events that the checkpoint moved over since the start */
        struct banyan_position target;
        bool held, paused, failed, live, stopped;
        bool resting; /* nothing is pending, and nothing will be flushed */
        unsigned holds, waiting;
        uint32_t serving;           /* generation; 0: none */
        bool readable;              /* it has the columns of the program: an outdated one need not */
        struct sink *adopt;         /* owned; to be followed from now on */
        struct runner_retry *asked; /* borrowed */
        struct rebuild *rebuild;    /* owned; NULL: none runs */
        uint64_t events_per_second_max;
    } shared;
};

/* ---- runner.c ---- */

/* Takes options->home.  Starts the thread. */
struct runner *runner_start(struct runner_engine *engine, const struct projection_options *options, bool paused);
/* After the stop was requested. */
void runner_stop(struct runner *runner);
/* Flush what is folded. */
BANYAN_MUST_CHECK enum banyan_status runner_flush(struct runner *runner, struct banyan_error *err);
/* Begin from what the sink says, with nothing in memory. */
BANYAN_MUST_CHECK enum banyan_status runner_resume(struct runner *runner, struct banyan_error *err);

/* ---- runner_attach.c ---- */

BANYAN_MUST_CHECK enum banyan_status runner_attach(struct runner *runner, struct banyan_error *err);
/* After a failure: attach again where the store has lost what we follow. */
void runner_forget_lost(struct runner *runner);
/* Follow *sink* (taken; NULL: none) from now on. */
void runner_follow(struct runner *runner, struct sink *sink);
/* Begin the rebuild that is due, end the one that is over. */
void runner_tend_rebuild(struct runner *runner);
/* Does one run?  Under the lock of `shared`. */
bool runner_is_rebuilt(struct runner *runner);
/* CONFLICT when one runs, or the history is still being brought in. */
BANYAN_MUST_CHECK enum banyan_status runner_rebuild(struct runner *runner, uint32_t generation, const char *reason,
                                                    struct banyan_error *err);

/* ---- runner_ask.c ---- */

void runner_status(struct runner *runner, struct projection_status *ret);
/* Both are reached. */
BANYAN_MUST_CHECK enum banyan_status runner_wait(struct runner *runner, uint64_t position, uint64_t lsn,
                                                 int64_t timeout_us, struct banyan_error *err);
/* Was it paused when the log was written last? */
BANYAN_MUST_CHECK enum banyan_status runner_was_paused(struct store *store, const char *name, bool *ret,
                                                       struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status runner_pause(struct runner *runner, bool pause, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status runner_ask_retry(struct runner *runner, int64_t key, struct banyan_str stream,
                                                      struct banyan_error *err);

/* ---- retry.c ---- */

/* On the thread, with nothing pending.  INVALID: it failed again, with the reason; NOT_FOUND; else the session is over.
 */
BANYAN_MUST_CHECK enum banyan_status runner_try_again(struct runner *runner, int64_t key, struct banyan_str stream,
                                                      bool *ret_session_over, struct banyan_error *err);

/* ---- flush_size.c: pure ---- */

enum {
    FLUSH_ROWS_MIN = 500,
    FLUSH_ROWS = 20000, /* at first */
    FLUSH_ROWS_MAX = 200000,
};
/* Rows after which to flush, from how long the last flush of *rows* took; towards *wanted_us*. */
size_t flush_size_next(size_t rows_soft, size_t rows, int64_t took_us, int64_t wanted_us);

#endif
