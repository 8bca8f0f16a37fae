/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a backfill has to wait: asked between two batches, over a connection of its own.  The first reason that holds is
 * told; what cannot be known counts as a reason.
 *
 *   flag file › replica not streaming › replica lag › WAL kept › lock waiters › active sessions › the user's query
 *
 * Replicas: rows of pg_stat_replication that are no logical stream and no base backup; names can be given, then each of
 * them has to be there and to stream.  A replica's lag is the greatest of
 *
 *   replay_lag          what it says
 *   the age             of the oldest WAL that it has not replayed, by our own clock: a replica that answers nothing
 *                       does not look near
 *   the time to drain   what it has not replayed / how fast it replayed of late: a slow replica is seen before it is
 *                       late
 *
 * While it holds for a replica each question writes a message of some bytes into the WAL: a replica with nothing to
 * receive answers only every 10 s.
 *
 * Threads: a state belongs to one at a time.
 */
#ifndef MIGRATE_THROTTLE_H
#define MIGRATE_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "pg/conn.h"

struct throttle_options {
    int64_t replica_lag_us_max;  /* 0: 1 s; negative: not looked at; it holds from half of it */
    const char *const *replicas; /* application names that have to be there; NULL: those that are */
    size_t replica_count;
    int64_t kept_wal_bytes_max;  /* by the slots; 0: not looked at */
    int64_t lock_waiters_max;    /* sessions that wait for a lock; 0: 4; negative: not looked at */
    int64_t active_sessions_max; /* 0: not looked at */
    const char *flag_file;       /* while it is there; NULL: none */
    const char *query;           /* while it answers true; NULL: none */
    bool look;                   /* only to be shown: every question is asked, whatever holds, and nothing is written */
};
struct throttle_memory;
struct throttle_state { /* all zero at first; given to each question again, which remembers what was before */
    bool hold;
    struct banyan_buf reason;     /* "replica r1 is 0.6 s behind (limit 1.0 s, held from half of it)" */
    int64_t replica_lag_us;       /* of the slowest; -1: none is there */
    int64_t replica_behind_bytes; /* of the one with the most to replay */
    bool replicas_hidden;         /* one at least is there, and the role may not see how far it is */
    int64_t kept_wal_bytes;       /* these three: what is not looked at is 0 */
    int64_t lock_waiters;
    int64_t active_sessions;        /* -1: the role may not see them */
    struct throttle_memory *memory; /* owned */
};

/* A failure to ask is not a failure: hold, with the reason. */
void throttle_ask(const struct throttle_options *options, struct pg_conn *conn, struct throttle_state *state);
void throttle_state_release(struct throttle_state *state);

#endif
