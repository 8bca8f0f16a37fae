/* SPDX-License-Identifier: Apache-2.0 */
/* What the log says about this source at a start.  Reads only. */
#ifndef LEGACY_RECOVERY_H
#define LEGACY_RECOVERY_H

#include <stdbool.h>

#include "banyan/error.h"
#include "legacy/legacy_int.h"

struct recovery {
    bool slot_creating;          /* a slot of our name may have been made and is ours */
    bool handover_started;       /* the slot is ours, and is what the cursor counts on */
    struct banyan_str slot;      /* of the hand-over; in the source's arena */
    struct pg_snapshot snapshot; /* with which the slot was made; in the source's arena */
};

/* Fills the hand-overs, the cursor and the known identity of the server from the streams of this source, and says of
 * each mapping whether it has begun.  CONFIG when the settings name another slot than the log, or the log knows a
 * mapping that the domain has no longer; CORRUPT. */
BANYAN_MUST_CHECK enum banyan_status recovery_run(struct legacy *legacy, struct recovery *ret,
                                                  struct banyan_error *err);

#endif
