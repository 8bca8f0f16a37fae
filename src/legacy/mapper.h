/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From legacy rows and changes to events: calls the domain, folds what it emitted, compares with the legacy row, and
 * lets the domain reconcile what is left.  After it, folding the stream gives exactly the legacy row, or it is an error
 * that names table, key and columns.
 *
 * States of keys come from a cache, else from the stream in the store (after waiting until its head is durable). Others
 * append to the same streams, too (commands, while Banyan is the owner): an append of what was mapped has to carry the
 * versions of its spans as conditions, and where it fails, mapper_forget() and map again.
 *
 * Threads: a mapper is of one mapping, and used by one thread at a time.  Backfill workers have their own (history
 * only), and so has capture.
 */
#ifndef LEGACY_MAPPER_H
#define LEGACY_MAPPER_H

#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "store/store.h"

struct mapper;

struct mapper_options {
    const struct banyan_domain *domain;
    size_t mapping;              /* index in the domain */
    struct store *store;         /* borrowed */
    struct banyan_str source_id; /* part of derived event ids: system identifier and source name */
    size_t cached_keys_max;      /* 0: 65,536 */
};

/* Where an event came from: gives it its id and its meta. */
struct mapper_origin {
    uint64_t xid;            /* of the legacy transaction; 0: backfill */
    uint64_t commit_lsn;     /* 0: backfill */
    struct banyan_time time; /* commit time; of the chunk's reading for the backfill */
};

/* The events of one key within a mapper_events. */
struct mapper_span {
    int64_t key;
    size_t first, count; /* in items */
    uint64_t version;    /* of the stream, on which they were decided */
};

/* Events collected for one append; all memory in the arena that was given. */
struct mapper_events {
    struct store_event *items;
    size_t count, capacity;
    struct mapper_span *spans; /* one a key and call, in the order of the calls */
    size_t span_count, span_capacity;
    size_t bytes;
    uint64_t exact, inferred, reconciled;
};

/* The first part of what the ids of a category's events are made of. */
void mapper_id_prefix(struct banyan_str source_id, const char *category, uint8_t ret[16]);
/* The id of event number *index*, from 0, of a key's history. */
struct banyan_uuid mapper_history_id(const uint8_t prefix[16], int64_t key, uint64_t index);

struct mapper *mapper_new(const struct mapper_options *options);
void mapper_free(struct mapper *mapper);

/* The history of one key, from scratch (no look into the store): appended to *events*. */
BANYAN_MUST_CHECK enum banyan_status mapper_history(struct mapper *mapper, const struct banyan_history *history,
                                                    const struct mapper_origin *origin, struct banyan_arena *arena,
                                                    struct mapper_events *events, struct banyan_error *err);
/* One transaction's changes of one key.  *index* numbers the events within the transaction and is advanced: together
 * with the commit LSN it is their identity.  Missing old rows of the root table are filled in from the state.
 * CONFLICT: it came to nothing, but on a state that is not the newest. */
BANYAN_MUST_CHECK enum banyan_status mapper_changes(struct mapper *mapper, int64_t key, struct banyan_change *changes,
                                                    size_t count, const struct mapper_origin *origin, uint64_t *index,
                                                    struct banyan_arena *arena, struct mapper_events *events,
                                                    struct banyan_error *err);
/* The root row that the key's stream stands for now, for filling in unchanged values; strings in *arena*.  *ret_exists*
 * false: there is none. */
BANYAN_MUST_CHECK enum banyan_status mapper_row(struct mapper *mapper, int64_t key, struct banyan_arena *arena,
                                                void *ret_row, bool *ret_exists, struct banyan_error *err);
/* The key's stream is about to get these events as its first (a chunk that is being appended): fold them into the
 * cache, so that changes of the same append see them. */
BANYAN_MUST_CHECK enum banyan_status mapper_seed(struct mapper *mapper, int64_t key, const struct store_event *events,
                                                 size_t count, struct banyan_error *err);
/* What was mapped until now was submitted to the store: the cache may let it go without asking there.  Optional: it
 * only saves time. */
void mapper_submitted(struct mapper *mapper);
/* The append failed: what the cache holds beyond the log is forgotten. */
void mapper_forget(struct mapper *mapper);

#endif
