/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rebuilding a read model beside the one that serves.
 *
 *   make ─▶ FOLD ─▶ LOAD ─▶ seal ─▶ INDEX ─▶ VERIFY ─▶ CATCH_UP ─▶ SWITCH ─▶ the engine follows the new generation
 *             ▲       │       ┊                          │    ▲       │
 *             └───────┘       ┊                          └────┘       │ (not short enough: another round)
 *        (states that do not  ┊                            ▲──────────┘
 *         fit: slice by slice)┊
 *   a crash before ◀──────────┊──────────▶ a crash after
 *   drops it and begins anew                goes on from its checkpoint
 *
 * FOLD reads the log up to F0, the durable end when it began, on all workers, and keeps all rows in memory; a row is
 * written once, by LOAD.  The generation's first checkpoint is F0.  What was appended meanwhile follows in rounds that
 * shrink, each one flush after the other, until a round is short.  Then the engine holds the old generation still for
 * the last round, and one row says who serves: a token of the old one is never ahead of the new one.
 *
 * Invariants
 *   1. The result is that of applying all events one by one in log order, with the same keys aside.
 *   2. No event is applied twice or left out: folded up to F0, flushed with its checkpoint after it.
 *   3. It serves only when sealed, indexed, verified and not behind the old one.
 *   4. Whatever ends it before the switch, the old generation goes on as if nothing had been.
 *   5. Memory is bounded, whatever the number of rows: PARTITIONED ones are folded in more slices of their keys; JOINED
 *      ones load what they have and go on in rounds.
 *
 * Threads: a rebuild has its own; all functions here may be called by any, but rebuild_free() once and last.
 */
#ifndef PROJECTION_REBUILD_H
#define PROJECTION_REBUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "os/stop.h"
#include "projection/engine.h"
#include "projection/sink.h"
#include "store/store.h"

struct rebuild;

/* What the engine does for a rebuild.  Each is called on the rebuild's thread, without a lock. */
struct rebuild_host {
    /* Should it pause now?  (A critical projection is behind.)  Asked often. */
    bool (*yields)(void *context);
    /* Hold the generation that serves still: no flush into it from the return on until release().  Gives its
     * checkpoint; position 0: none follows.  Within a moment: readers wait for no event longer than that. */
    enum banyan_status (*hold)(void *context, struct sink_checkpoint *ret, struct banyan_error *err);
    /* Always after hold().  *sink* NULL: it did not come to a switch, go on as before.  Else the new generation serves,
     * *sink* is taken, claimed and at *checkpoint*: follow it from the event after that, with *asides* (borrowed). */
    void (*release)(void *context, struct sink *sink, const struct sink_checkpoint *checkpoint,
                    const struct sink_aside *asides, size_t aside_count);
};

struct rebuild_options {
    const struct banyan_domain *domain;         /* borrowed, like all below */
    const struct banyan_projection *projection; /* its row types are the sink's */
    struct store *store;
    struct sink_home *home;
    struct os_stop *stop;
    projection_cursor_lsn_fn cursor_lsn; /* may be NULL */
    unsigned workers;                    /* 0: as many as processors */
    size_t memory_bytes;                 /* of rows and events in memory; 0: 512 MiB */
    uint64_t events_per_second_max;      /* 0: no limit */
    unsigned keep;                       /* generations kept for going back; 0: 1 */
    uint32_t generation;                 /* go on with this one, sealed before (after a crash, or to go back to it);
                                          * 0: make one */
    const char *reason;                  /* static text, for the status */
    const char *learned_path;            /* file in which it keeps how fast each phase was, for the next estimate; NULL:
                                          * nowhere; copied */
    const struct rebuild_host *host;
    void *context; /* of the host */
};

enum rebuild_outcome {
    REBUILD_RUNNING = 0,
    REBUILD_SWITCHED,
    REBUILD_CANCELLED, /* also when stopped */
    REBUILD_FAILED,    /* for good: another owner, another switch, a result that was not right.  What may pass (a store
                        * that restarts) is tried again without end */
};

struct rebuild *rebuild_new(const struct rebuild_options *options);
/* Begin; returns at once. */
void rebuild_start(struct rebuild *rebuild);
/* Waits for its end (a cancel does not take long), then frees it.  NULL allowed. */
void rebuild_free(struct rebuild *rebuild);

void rebuild_status(struct rebuild *rebuild, struct rebuild_status *ret);
/* *err* (may be NULL): of the last attempt, or why it failed; status OK: none. */
enum rebuild_outcome rebuild_outcome(struct rebuild *rebuild, struct banyan_error *err);
/* True when it ended within *timeout_us*. */
bool rebuild_wait(struct rebuild *rebuild, int64_t timeout_us);
/* Ends it before the switch, and drops what it made (never the generation it was told to go on with, if that served
 * before).  After the switch it does nothing. */
void rebuild_cancel(struct rebuild *rebuild);
/* Also while it runs; 0: no limit. */
void rebuild_limit(struct rebuild *rebuild, uint64_t events_per_second_max);

/* ---- what is to be done with the generations that a process finds when it starts: pure ---- */

enum rebuild_need {
    REBUILD_NEED_NONE = 0, /* what serves is of the right form, and no rebuild was going on */
    REBUILD_NEED_RESUME,   /* a sealed one was being built: go on with it */
    REBUILD_NEED_START,    /* nothing serves, or another form, or one that was not sealed was being built */
};

struct rebuild_plan {
    enum rebuild_need need;
    uint32_t serving; /* 0: none */
    bool outdated;    /* what serves is of another form */
    bool partial;     /* what serves is of the right form, and not all of its keys are ready */
    uint32_t resume;  /* of RESUME */
    const char *reason;
    uint32_t drop[SINK_GENERATIONS_MAX]; /* may go: never one that serves */
    size_t drop_count;
};

/* *keep*: kept ones of the right form that stay, the newest; kept ones of another form go when the serving one is of
 * the right form. */
void rebuild_plan(const struct sink_generation *generations, size_t count, const char form[SINK_FORM_SIZE],
                  unsigned keep, struct rebuild_plan *ret);

#endif
