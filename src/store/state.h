/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States of aggregates: folding stored events into them, and keeping them.
 *
 * A state is a plain struct; its strings and lists may lie anywhere (in the payload that was folded last).  To be kept
 * it is packed into one block.
 *
 * Threads: a struct states is constant once made; each caller has its own scratch.
 */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "store/decode.h"
#include "store/store.h"

/* One event type of the domain, prepared. */
struct state_type {
    struct banyan_str name;
    const struct banyan_record *record;
    uint16_t version;
    bool borrows; /* has strings or lists */
};

/* One aggregate of a domain. */
struct states {
    const struct banyan_domain *domain;
    const struct banyan_aggregate *aggregate;
    const struct state_type *types; /* by index in domain->events; in the arena given to states_init() */
    size_t payload_size_max;        /* of the structs of payloads */
    bool has_lists;                 /* the state */
    struct store_decoder *decoder;  /* owned */
};

/* *store*: where the schemas of old versions are; NULL: there are none. */
void states_init(struct states *states, struct store *store, const struct banyan_domain *domain,
                 const struct banyan_aggregate *aggregate, struct banyan_arena *arena);
void states_release(struct states *states);
/* The domain's type of that name; NULL when there is none. */
const struct state_type *states_type(const struct states *states, struct banyan_str name);

/* Copy a kept state to *ret* so that it can be folded into: evolve() may change items of lists where they are, and what
 * is kept must not change when the folding fails.  Lists are copied into *arena*, strings may be shared. */
void states_begin(const struct states *states, void *ret, const void *kept, struct banyan_arena *arena);
/* Fold one stored event into *state*; *scratch* has room for payload_size_max bytes.  Strings and lists of the state
 * may point into the event's payload or *arena* afterwards.  INVALID when the domain does not know the event; CORRUPT.
 */
BANYAN_MUST_CHECK enum banyan_status states_fold(const struct states *states, void *state, void *scratch,
                                                 const struct store_event *event, struct banyan_arena *arena,
                                                 struct banyan_error *err);
/* Fold the events of *stream* from version *after* + 1 up to version *to*, all durable; payloads are copied into
 * *arena*.  *reader* is used. */
BANYAN_MUST_CHECK enum banyan_status states_fold_stream(const struct states *states, void *state, void *scratch,
                                                        struct store_reader *reader, struct banyan_str stream,
                                                        struct banyan_version after, struct banyan_version to,
                                                        struct banyan_arena *arena, struct banyan_error *err);

#endif
