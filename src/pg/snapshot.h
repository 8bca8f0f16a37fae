/* SPDX-License-Identifier: Apache-2.0 */
/* A transaction snapshot as pg_current_snapshot() prints it, and the visibility of a transaction in it. */
#ifndef PG_SNAPSHOT_H
#define PG_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/types.h"

/* Only TOP-LEVEL transaction ids may be asked for: a snapshot does not list sub-transactions, so that a running one
 * would look finished. */
struct pg_snapshot {
    uint64_t xmin;       /* all before are finished */
    uint64_t xmax;       /* this and all after are not */
    const uint64_t *xip; /* running ones in between, ascending */
    size_t xip_count;
};

/* "10:20:10,14,15"; the ids go into *arena*.  False when it is none. */
BANYAN_MUST_CHECK bool pg_snapshot_parse(struct banyan_str text, struct banyan_arena *arena, struct pg_snapshot *ret);
void pg_snapshot_format(const struct pg_snapshot *snapshot, struct banyan_buf *ret);
/* Did top-level transaction *xid* end before the snapshot was taken? */
bool pg_snapshot_sees(const struct pg_snapshot *snapshot, uint64_t xid);
/* The full id of a 32-bit one that is less than 2^31 away from *reference*. */
uint64_t pg_xid_widen(uint32_t xid, uint64_t reference);

#endif
