/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the throttle share. */
#ifndef MIGRATE_THROTTLE_INT_H
#define MIGRATE_THROTTLE_INT_H

#include "migrate/throttle.h"

enum {
    THROTTLE_REPLICA_LAG_US = 1000000,
    THROTTLE_LOCK_WAITERS = 4,
    THROTTLE_REASON_MAX = 1024,
};

/* Hold, and say why; the first reason stays. */
void throttle_hold(struct throttle_state *state, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
/* The same for a question that failed. */
void throttle_unknown(struct throttle_state *state, const char *what, const struct banyan_error *err);

/* ---- throttle_replicas.c ---- */

void throttle_ask_replicas(const struct throttle_options *options, struct pg_conn *conn, struct throttle_state *state);
void throttle_memory_free(struct throttle_memory *memory); /* NULL allowed */

#endif
