/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that a cutover moves, in one process: the trading tables at a server, store, owner, keys, commands, read model,
 * capture, mirror, and a door in front of both sides that does what the gateway does: it sends a write to its owner,
 * and keeps writes while it is told to.
 *
 * An order counts: its quantity goes 1, 2, 3 …, each step one write, on whichever side; so a write that is lost,
 * doubled or out of order shows in the rows, in the audit rows, and in the log.
 *
 * Threads: rig_door_write() by any, the rest by one.
 */
#ifndef SUPPORT_CUTOVER_RIG_H
#define SUPPORT_CUTOVER_RIG_H

#include <pthread.h>

#include "legacy/legacy.h"
#include "legacy/mirror.h"
#include "os/stop.h"
#include "projection/engine.h"
#include "rollout/controller.h"
#include "rollout/cutover.h"
#include "rollout/cutover_postgres.h"
#include "rollout/keys.h"
#include "rollout/owner.h"
#include "store/aggregate.h"

struct pg_conn;

struct rig_door {
    pthread_mutex_t lock; /* guards all of this */
    pthread_cond_t changed;
    int64_t held_until_us; /* 0: nobody has to wait */
    unsigned inside;
    uint64_t held; /* writes that had to wait */
};

struct cutover_rig {
    char *folder, *conninfo; /* owned */
    struct os_stop stop;
    struct store *store;
    struct owner *owner;
    struct keys *keys;
    struct aggregates *aggregates;
    struct projections *projections;
    struct legacy *legacy;
    struct legacy_mirror *mirror;
    struct rig_door door;
    struct controller_gateway gateway;
    /* Handed on to the world of a run. */
    void (*at)(void *context, enum cutover_step step);
    void *at_context;
    struct cutover_postgres_verified verified; /* of the last run */
};

/* The tables, and orders 1 … *orders*, each at 1. */
void cutover_rig_tables(struct pg_conn *conn, unsigned orders);

/* The store and who owns what; capture and mirror not yet. */
BANYAN_MUST_CHECK enum banyan_status cutover_rig_open(struct cutover_rig *rig, const char *conninfo, const char *folder,
                                                      struct banyan_error *err);
/* Read model, capture with its backfill, mirror. */
BANYAN_MUST_CHECK enum banyan_status cutover_rig_start(struct cutover_rig *rig, struct banyan_error *err);
void cutover_rig_close(struct cutover_rig *rig);

/* cutover_run(), or cutover_recover(). */
BANYAN_MUST_CHECK enum banyan_status cutover_rig_move(struct cutover_rig *rig, const struct cutover_options *options,
                                                      bool recover, struct cutover_report *ret,
                                                      struct banyan_error *err);
/* Nobody writes: are rows, log and read model the same?  MISMATCH. */
BANYAN_MUST_CHECK enum banyan_status cutover_rig_equal(struct cutover_rig *rig, struct banyan_error *err);

/* ---- writes ---- */

enum rig_wrote {
    RIG_WROTE = 1,
    RIG_HELD,    /* it waited until its time was over: nothing was written */
    RIG_REFUSED, /* somebody said no: nothing was written */
    RIG_UNKNOWN, /* the server or the log was lost: maybe */
    RIG_MOVED,   /* not given out: the owner is another one by now, nothing was written */
};
/* The step of *key* to *number* by its owner; the same again is harmless.  *conn* is the legacy application's. */
enum rig_wrote rig_door_write(struct cutover_rig *rig, struct pg_conn *conn, int64_t key, int64_t number,
                              int64_t *ret_waited_us, struct banyan_error *err);
/* The same past the door, as an application that knows nothing of it.  REFUSED by the fence. */
enum rig_wrote rig_legacy_write(struct pg_conn *conn, int64_t key, int64_t number, struct banyan_error *err);
/* A new order through the door. */
enum rig_wrote rig_door_create(struct cutover_rig *rig, struct pg_conn *conn, int64_t *ret_key,
                               struct banyan_error *err);

#endif
