/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All projections of a process: who runs, who waits, who is rebuilt, what readers may ask.
 *
 *                    ┌───────── rebuild (a generation beside it, rebuild.h) ─────────┐
 *   building ──▶ live ──pause──▶ paused ──resume──▶ live                             ▼
 *      ▲          │ ▲                                                             switched: the new one is live
 *      │          ▼ │ (retries with pauses; the reason is shown)
 *      └─────── failed
 *
 * One scan of the log feeds all projections that are near its end (scan.h); one that is far behind reads by itself.
 * Each has its own thread, checkpoint, errors: none waits for another, but for priorities: BACKGROUND ones pause while
 * a CRITICAL one is behind.
 *
 * A projection whose stored form (sink_form()) is not that of the program is rebuilt without being asked: the old
 * generation goes on to serve (and no longer follows: its apply() is gone) until the new one takes over; where there is
 * none, readers are told "not built" with the time that it will take.
 *
 * Threads: any for all functions here.
 */
#ifndef PROJECTION_ENGINE_H
#define PROJECTION_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "os/stop.h"
#include "projection/sink.h"
#include "store/store.h"

struct projections;

/* Reads a legacy position out of a store cursor's value (rooms above know its form); 0 when it has none. */
typedef uint64_t (*projection_cursor_lsn_fn)(struct store_cursor cursor);

struct projections_options {
    const struct banyan_domain *domain;
    struct store *store;                 /* borrowed */
    struct os_stop *stop;                /* borrowed */
    projection_cursor_lsn_fn cursor_lsn; /* may be NULL */
    unsigned workers;                    /* threads of a rebuild; 0: as many as processors */
    size_t memory_bytes;                 /* of a rebuild; 0: 512 MiB */
    const char *folder; /* for small files that may be lost: "<view>.learned", how fast a rebuild was; NULL: none */
    bool held;          /* history is still being brought in: none is live before projections_release() */
};

struct projection_options {
    const char *name; /* of the view; borrowed */
    const struct banyan_projection *projection;
    struct sink_home *home;         /* taken */
    uint64_t events_per_second_max; /* of a rebuild; 0: no limit */
    unsigned keep;                  /* generations kept for going back; 0: 1 */
};

enum projection_state {
    PROJECTION_NONE = 0,
    PROJECTION_BUILDING,    /* has not been live yet: not served */
    PROJECTION_CATCHING_UP, /* served, and late */
    PROJECTION_LIVE,
    PROJECTION_PAUSED,
    PROJECTION_FAILED, /* trying again */
    PROJECTION_STOPPED,
};

enum rebuild_phase {
    REBUILD_NONE = 0, /* none runs */
    REBUILD_WAITING,  /* for a critical one, or for its turn */
    REBUILD_FOLD,
    REBUILD_LOAD,
    REBUILD_INDEX,
    REBUILD_VERIFY,
    REBUILD_CATCH_UP,
    REBUILD_SWITCH,
    REBUILD_PHASES,
};

struct rebuild_status {
    enum rebuild_phase phase;
    uint32_t generation; /* that is being built */
    int64_t elapsed_us;
    int64_t eta_us; /* until the switch, of all phases left; never 0 before it; INT64_MAX: appends outrun it, or
                     * not known yet */
    int64_t eta_us_low, eta_us_high;
    double done;                           /* 0 … below 1 until the switch */
    uint64_t events_done, events_expected; /* of the fold */
    uint64_t rows_done, rows_expected;
    struct banyan_time last_event_at; /* of the newest event folded: recorded_at */
    uint64_t rounds;                  /* of catching up */
    uint64_t backlog;                 /* events behind */
    const char *reason;               /* "asked for", "form changed", "first build" */
};

struct projection_status {
    enum projection_state state;
    struct sink_checkpoint checkpoint; /* of the generation that serves */
    struct banyan_position tail;       /* of the log */
    uint64_t events_applied, rows_written, flushes;
    double events_per_second;                   /* over the last seconds */
    int64_t eta_us;                             /* until live; 0: is live; INT64_MAX: never, or not known */
    int64_t lag_us_p50, lag_us_p99, lag_us_max; /* event recorded → row committed, live only, last 10 000 */
    uint64_t aside;                             /* keys put aside */
    bool serves, paused, outdated;              /* outdated: the form of what serves is not the program's */
    struct rebuild_status rebuild;
    struct banyan_error error; /* last one; status OK: none */
};

/* Of the marks that streams may be left out, where the domain has an archive group; all zero: it has none. */
struct projections_archive_status {
    struct banyan_position position; /* read up to here */
    uint64_t groups, streams;        /* that are not marked yet */
    uint64_t marked;                 /* streams, since the start */
    struct banyan_error error;       /* last one; status OK: none */
};

/* ---- life ---- */

struct projections *projections_new(const struct projections_options *options);
/* Take one and start it. */
BANYAN_MUST_CHECK enum banyan_status
projections_add(struct projections *projections, const struct projection_options *options, struct banyan_error *err);
/* After os_stop_request(): joins, flushes what is folded, closes homes. */
void projections_free(struct projections *projections);
/* The history is complete in the log: go live when there.  No harm when they were not held. */
void projections_release(struct projections *projections);

/* ---- look ---- */

size_t projections_count(struct projections *projections);
/* Index by name; -1. */
int projections_find(struct projections *projections, struct banyan_str name);
const char *projections_name(struct projections *projections, size_t index);
const struct banyan_projection *projections_spec(struct projections *projections, size_t index);
void projections_status(struct projections *projections, size_t index, struct projection_status *ret);
/* The cheap part of the status: position of the generation that serves, and whether readers may be answered. */
bool projections_serving(struct projections *projections, size_t index, struct sink_checkpoint *ret);
const char *projection_state_name(enum projection_state state); /* "live" */
const char *rebuild_phase_name(enum rebuild_phase phase);       /* "catch up" */
BANYAN_MUST_CHECK enum banyan_status projections_generations(struct projections *projections, size_t index,
                                                             struct sink_generation *ret, size_t *ret_count,
                                                             struct banyan_error *err);
void projections_archive(struct projections *projections, struct projections_archive_status *ret);
/* A handle for questions from the calling thread; end it with sink_view_close(). */
BANYAN_MUST_CHECK enum banyan_status projections_view(struct projections *projections, size_t index,
                                                      struct sink_view **ret, struct banyan_error *err);

/* ---- wait ---- */

/* Until *position* is in the generation that serves; TIMEOUT, STOPPED.  A switch cannot make it lie: the new
 * generation serves only when it is not behind the old one. */
BANYAN_MUST_CHECK enum banyan_status projections_wait(struct projections *projections, size_t index,
                                                      struct banyan_position position, int64_t timeout_us,
                                                      struct banyan_error *err);
/* Until the legacy position *lsn* is in it; TIMEOUT. */
BANYAN_MUST_CHECK enum banyan_status projections_wait_lsn(struct projections *projections, size_t index, uint64_t lsn,
                                                          int64_t timeout_us, struct banyan_error *err);

/* ---- act: each is durable or harmless when repeated ---- */

/* CONFLICT when one runs already. */
BANYAN_MUST_CHECK enum banyan_status projections_rebuild(struct projections *projections, size_t index,
                                                         struct banyan_error *err);
/* Stop a rebuild and drop what it made; NOT_FOUND when none runs. */
BANYAN_MUST_CHECK enum banyan_status projections_cancel(struct projections *projections, size_t index,
                                                        struct banyan_error *err);
/* Let the newest kept generation of the right form serve again, after it caught up; the one that served is kept.
 * NOT_FOUND. */
BANYAN_MUST_CHECK enum banyan_status projections_rollback(struct projections *projections, size_t index,
                                                          struct banyan_error *err);
/* Drop a generation that does not serve; *generation* 0: all of them. */
BANYAN_MUST_CHECK enum banyan_status projections_drop(struct projections *projections, size_t index,
                                                      uint32_t generation, struct banyan_error *err);
/* Paused ones stay so over a restart. */
BANYAN_MUST_CHECK enum banyan_status projections_pause(struct projections *projections, size_t index, bool pause,
                                                       struct banyan_error *err);
/* Try a key (or a stream, where *stream* is not empty) that is aside again: the events that were held are applied in
 * their order, in one flush.  The reason, where it fails again; NOT_FOUND. */
BANYAN_MUST_CHECK enum banyan_status projections_retry(struct projections *projections, size_t index, int64_t key,
                                                       struct banyan_str stream, struct banyan_error *err);
/* Of a rebuild that runs, too; 0: no limit. */
void projections_limit(struct projections *projections, size_t index, uint64_t events_per_second);

#endif
