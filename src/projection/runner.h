/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one projection: reads the log from the checkpoint, folds batches in a unit of work, flushes.
 *
 *   start ──▶ catching up ──reached the tail seen at start, and is not held──▶ live ──▶ stopped
 *                 └───────────── failed (retries with pauses; the reason is shown) ◀───┘
 *
 * Threads: one thread of its own; the readers of its state may be any.
 */
#ifndef PROJECTION_RUNNER_H
#define PROJECTION_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "os/stop.h"
#include "projection/sink.h"
#include "store/store.h"

struct projection_runner;

enum projection_state {
    PROJECTION_NONE = 0,
    PROJECTION_CATCHING_UP,
    PROJECTION_LIVE,
    PROJECTION_FAILED, /* trying again */
    PROJECTION_STOPPED,
};

/* Reads a legacy position out of a store cursor's value (rooms above know its form); 0 when it has none. */
typedef uint64_t (*projection_cursor_lsn_fn)(struct store_cursor cursor);

struct projection_options {
    const struct banyan_domain *domain;
    const struct banyan_projection *projection;
    struct store *store;                 /* borrowed */
    struct sink *sink;                   /* taken: closed with the runner */
    struct os_stop *stop;                /* borrowed */
    projection_cursor_lsn_fn cursor_lsn; /* may be NULL */
    size_t flush_events;                 /* soft: a flush after so many; 0: 50,000 */
    bool held; /* history is still being brought in: it is not live before projection_release() */
};

struct projection_status {
    enum projection_state state;
    struct sink_checkpoint checkpoint;
    struct banyan_position tail; /* of the log */
    uint64_t events_applied, rows_written, flushes;
    double events_per_second;                   /* over the last seconds */
    int64_t eta_us;                             /* until live; 0: is live; INT64_MAX: never, or not known */
    int64_t lag_us_p50, lag_us_p99, lag_us_max; /* event recorded → row committed, live only, last 10 000 */
    uint64_t poisoned;                          /* streams put aside */
    struct banyan_error error;                  /* last one; status OK: none */
};

/* Opens the sink and starts the thread. */
BANYAN_MUST_CHECK enum banyan_status projection_start(const struct projection_options *options,
                                                      struct projection_runner **ret, struct banyan_error *err);
/* After os_stop_request(): joins, flushes what is folded, closes the sink. */
void projection_stop(struct projection_runner *runner);
/* The history is complete in the log: go live when there.  Thread-safe, and no harm when it was not held. */
void projection_release(struct projection_runner *runner);
void projection_status(struct projection_runner *runner, struct projection_status *ret);
/* May readers be answered?  From the first time that it was live on: its rows are whole then, if perhaps late. */
bool projection_serves(struct projection_runner *runner);
/* The cheap part of the status. */
enum projection_state projection_state(struct projection_runner *runner, struct sink_checkpoint *ret);
const char *projection_state_name(enum projection_state state); /* "live" */
/* Wait until *position* is in the read model; TIMEOUT, STOPPED. */
BANYAN_MUST_CHECK enum banyan_status projection_wait(struct projection_runner *runner, struct banyan_position position,
                                                     int64_t timeout_us, struct banyan_error *err);
/* Wait until the legacy position *lsn* is in the read model; TIMEOUT. */
BANYAN_MUST_CHECK enum banyan_status projection_wait_lsn(struct projection_runner *runner, uint64_t lsn,
                                                         int64_t timeout_us, struct banyan_error *err);
/* A handle for queries from the calling thread; end it with sink_close(). */
BANYAN_MUST_CHECK enum banyan_status projection_reader(struct projection_runner *runner, struct sink **ret,
                                                       struct banyan_error *err);

#endif
