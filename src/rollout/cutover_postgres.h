/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real world of cutover.h: PostgreSQL behind the legacy application, the store, the mirror, the gateway.
 *
 *   what changed since the last full verification:   log ──keys──▶ rows by key = state by key?
 *     preflight   rounds, each over what changed during the one before, until one is small and quick
 *     verify      what is left: milliseconds of writes, compared while nobody can write
 *
 * Connections: one for locks and commit, one for messages and reads, both made by preflight, none while it does not
 * run.  Their names at the server are "banyan/<source> cutover"; who makes sure that an earlier try has ended looks for
 * them and ends them.
 *
 * Threads: one object, one thread; make one for a run or a recovery and drop it then.
 */
#ifndef ROLLOUT_CUTOVER_POSTGRES_H
#define ROLLOUT_CUTOVER_POSTGRES_H

#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "os/stop.h"
#include "rollout/cutover.h"

struct aggregates;
struct controller_gateway;
struct keys;
struct legacy;
struct legacy_mirror;
struct projections;
struct store;

struct cutover_postgres;

struct cutover_postgres_options {
    const struct banyan_domain *domain;
    const char *source;   /* its name */
    const char *conninfo; /* of the legacy database */
    struct store *store;  /* borrowed, as all below */
    struct projections *projections;
    struct aggregates *aggregates;
    struct owner *owner;
    struct keys *keys;                        /* NULL: sequences are left as they are */
    struct legacy *legacy;                    /* NULL: not running, and only recovery can work */
    struct legacy_mirror *mirror;             /* NULL: the same */
    const struct controller_gateway *gateway; /* NULL: there is none */
    /* Up to here a full verification found no differences; 0: all keys are compared. */
    struct banyan_position verified;
    int64_t pause_us_max;        /* as in cutover_options; 0: 1 s */
    int64_t lock_timeout_us;     /* 0: 100 ms */
    int64_t lag_us_max;          /* of capture, p99, at preflight; 0: 1 s */
    uint64_t mirror_backlog_max; /* events, at preflight; 0: 1,000 */
    int64_t older_us;            /* transactions on mapped tables that are open for longer are blockers; 0: 1 s */
    /* Told before each step; may be NULL. */
    void (*at)(void *context, enum cutover_step step);
    void *at_context;
    struct os_stop *stop; /* ends waits, but for those of the transaction and of cleaning up; needed */
};

/* Connects to nothing yet. */
struct cutover_postgres *cutover_postgres_new(const struct cutover_postgres_options *options);
void cutover_postgres_free(struct cutover_postgres *postgres); /* NULL allowed */
/* *ret borrows *postgres*. */
void cutover_postgres_world(struct cutover_postgres *postgres, struct cutover_world *ret);

/* What the last verification inside a run had to do; for status and benchmarks. */
struct cutover_postgres_verified {
    uint64_t keys_before; /* compared in the rounds of preflight */
    uint64_t keys_inside; /* compared in the pause */
    unsigned rounds;
};
void cutover_postgres_verified(const struct cutover_postgres *postgres, struct cutover_postgres_verified *ret);

#endif
