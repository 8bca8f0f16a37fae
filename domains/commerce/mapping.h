/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mappings of legacy tables share: emitting with provenance, steps in order of time, names of columns.
 *
 * An event is exact where a row recorded what happened and when, and inferred, with the reason, where the mapping had
 * to fill something in.  What no event type stands for gives no event: the engine sees the row differ and has it
 * reconciled.
 */
#ifndef COMMERCE_MAPPING_H
#define COMMERCE_MAPPING_H

#include "banyan/domain.h"
#include "events.h"

/* Exact where *reason* is NULL, else inferred.  A time that nobody knows becomes 1970, inferred. */
void mapping_emit(struct banyan_emitter *out, enum commerce_event type, const void *payload, struct banyan_time at,
                  const char *reason);
/* A …Reconciled event.  Its reason is *reason*, or that nothing recorded explains it. */
void mapping_emit_reconciled(struct banyan_emitter *out, enum commerce_event type, const void *payload,
                             struct banyan_time at, const char *reason);

/* Something that happened to a row, before it is told. */
struct mapping_step {
    struct banyan_str name;
    struct banyan_time at; /* "no value": not known */
    const void *row;       /* of the table that recorded it; NULL: a column of the root did */
};

/* By time, steps without one last; steps of one time stay as they are. */
void mapping_sort(struct mapping_step *steps, size_t count);
/* The names of the columns whose bits are set, comma-separated, in *arena*. */
struct banyan_str mapping_columns(const struct banyan_record *record, uint64_t columns, struct banyan_arena *arena);
/* The bit of a column that is there. */
uint64_t mapping_column(const struct banyan_record *record, const char *name);
/* The time of a difference between *old* and *new* (rows of *record*): *updated_at* of the new row where it moved and
 * is a moment, else *now*. */
struct banyan_time mapping_difference_time(struct banyan_time old, struct banyan_time new, struct banyan_time now);

static inline bool time_is_known(struct banyan_time t)
{
    return t.us != BANYAN_TIME_NULL && t.us != BANYAN_TIME_INFINITY && t.us != BANYAN_TIME_MINUS_INFINITY;
}

/* The first of the two that is known. */
static inline struct banyan_time time_or(struct banyan_time first, struct banyan_time second)
{
    return time_is_known(first) ? first : second;
}

#endif
