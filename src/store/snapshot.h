/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: states of long streams, kept so that they need not be folded from the first event.
 *
 * They can be deleted at any time and change no answer: one names the version, the position and the id of the last
 * event that is folded into it, what kind of state it is, and a checksum; whoever loads it compares the event with the
 * log, and what does not fit is as if it were not there.
 *
 * They are in a SQLite file (`<store>/snapshots.sqlite`): random keys, replaced often, bounded memory, and nothing of
 * it has to survive a power cut, so it is written without a flush.  A damaged file is removed and begun anew.
 *
 * Threads: any.
 */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/uuid.h"

struct snapshots;

struct snapshot {
    uint64_t version, position; /* of the last event that is folded into it */
    struct banyan_uuid event;   /* its id */
    struct banyan_str state;    /* the record's binary form */
};

/* NULL when the file can be neither opened nor made: then there are none, which only costs time. */
struct snapshots *snapshots_open(const char *path);
void snapshots_close(struct snapshots *snapshots); /* NULL allowed */

/* What a state of *aggregate* is: its category, its record's schema and its version. */
uint64_t snapshot_kind(const struct banyan_aggregate *aggregate);
/* Replace the snapshot of *stream*.  A failure is no loss. */
void snapshots_save(struct snapshots *snapshots, struct banyan_str stream, uint64_t kind,
                    const struct snapshot *snapshot);
/* The snapshot of *stream*, its state in *arena*; false when there is none of that kind that is whole. */
bool snapshots_load(struct snapshots *snapshots, struct banyan_str stream, uint64_t kind, struct banyan_arena *arena,
                    struct snapshot *ret);

#endif
