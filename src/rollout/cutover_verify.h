/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparing what changed since a full verification: each key that the log names behind a position, its legacy row with
 * the row that its state stands for.
 *
 *   a round:   log ──keys──▶ rows of them in the tables ── the two sides meet ── states of them ──▶ equal? done with it
 *                                                                                         └─ no: once more in the next
 *
 * While both sides move, an unequal key is only suspected: it changed meanwhile, and then the log names it again.  When
 * nothing can be written any more the next round is exact.
 *
 * Threads: one.
 */
#ifndef ROLLOUT_CUTOVER_VERIFY_H
#define ROLLOUT_CUTOVER_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "pg/conn.h"
#include "store/aggregate.h"
#include "store/store.h"

struct cutover_verify;

struct cutover_verify_options {
    const struct banyan_domain *domain; /* borrowed, as all below */
    struct store *store;
    struct aggregates *aggregates;
    struct banyan_position from; /* what changed behind it is compared */
    struct os_stop *stop;
    /* At rest: may the two sides of this key differ nevertheless, for the mirror has not written it yet?  May be NULL.
     */
    bool (*exempt)(void *context, struct banyan_str category, int64_t key);
    void *exempt_context;
};

struct cutover_verify *cutover_verify_new(const struct cutover_verify_options *options);
void cutover_verify_free(struct cutover_verify *verify); /* NULL allowed */
/* Look at the tables; TABLE. */
BANYAN_MUST_CHECK enum banyan_status cutover_verify_resolve(struct cutover_verify *verify, struct pg_conn *conn,
                                                            struct banyan_error *err);

struct cutover_verify_round {
    struct pg_conn *conn; /* reads the tables; may be in a transaction */
    bool at_rest;         /* nothing moves: what differs is a MISMATCH */
    /* Let the side that follows come up to the one that leads; not called at rest. */
    bool rows_first; /* the tables lead: called behind their reading; else before it */
    enum banyan_status (*meet)(void *context, struct banyan_position seen, struct banyan_error *err);
    void *context;
};
BANYAN_MUST_CHECK enum banyan_status
cutover_verify_round(struct cutover_verify *verify, const struct cutover_verify_round *round, struct banyan_error *err);

struct cutover_verify_figures {
    uint64_t rounds, keys; /* in all */
    uint64_t keys_last;    /* of the last round */
    uint64_t suspected;    /* unequal in the last one */
    unsigned looks_most;   /* so often in a row one of them was unequal, and the log did not name it in between */
};
void cutover_verify_figures(const struct cutover_verify *verify, struct cutover_verify_figures *ret);
/* Say which keys are suspected. */
enum banyan_status cutover_verify_refuse(const struct cutover_verify *verify, struct banyan_error *err);

#endif
