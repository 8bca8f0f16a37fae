/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mapper.c (rows and changes → events) and mapper_state.c (states of keys: cache, store) share.
 *
 * A state is a plain struct.  While a key is mapped, its state is a copy whose strings may lie in the cache entry, in
 * the rows and in the arena of the call; mapper_state_keep() makes one compact block of it for the cache.
 */
#ifndef LEGACY_MAPPER_INT_H
#define LEGACY_MAPPER_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "base/hash.h"
#include "legacy/mapper.h"
#include "store/state.h"

enum {
    MAPPER_CACHED_KEYS_DEFAULT = 65536,
    MAPPER_REASONS_MAX = 64, /* remembered texts of meta; more are formatted anew each time */
    MAPPER_STREAM_BYTES_MAX = 1024,
};

/* A state in the cache: one block of memory, its strings behind it. */
struct mapper_entry {
    int64_t key;
    uint64_t version; /* events folded into it: the stream's version once they are in the store */
    uint64_t append;  /* mapper.append when it was kept: earlier ones are in the store */
    size_t slot;      /* in mapper.ring */
    bool used;        /* since the clock's hand last passed */
    _Alignas(16) char state[];
};

struct mapper_reason {
    const char *text; /* static text of the domain's: known by its address */
    struct banyan_str meta;
};

struct mapper {
    const struct banyan_domain *domain;
    const struct banyan_legacy_mapping *legacy;
    const struct banyan_aggregate *aggregate;
    const struct banyan_record *state_record; /* the aggregate's */
    const struct banyan_record *row_record;   /* of the root table */
    struct store *store;                      /* borrowed */
    struct store_reader *reader;              /* owned; opened at the first need */
    struct banyan_arena arena;                /* lives as long as the mapper */
    struct states states;
    size_t category_size;
    uint8_t id_prefix[16]; /* hash of source and category, the first part of what event ids are made of */

    void *fresh;               /* a fresh state */
    void *state;               /* running state of the key that is being mapped */
    void *before;              /* what the domain is shown */
    void *row, *row_before;    /* rows of states */
    void *kept;                /* scratch: the payload that is being folded */
    struct banyan_buf payload; /* scratch */
    struct mapper_reason reasons[MAPPER_REASONS_MAX];
    size_t reason_count;
    struct banyan_error error; /* the first failure of the emitter; empty between calls */

    struct hash cache; /* key → struct mapper_entry */
    uint64_t append;   /* number of the append that is being mapped */
    struct mapper_entry **ring;
    size_t ring_count, ring_capacity, ring_max, hand;
};

/* "<category>-<key>" into *text*. */
struct banyan_str mapper_stream(const struct mapper *mapper, int64_t key, char text[MAPPER_STREAM_BYTES_MAX]);

/* Copy the state of *key* to mapper->state: from the cache or the store.  *ret_version 0: it is fresh.  Its strings
 * live in the cache entry or in *arena*: until the next mapper_state_keep() of any key, and the arena's reset. */
BANYAN_MUST_CHECK enum banyan_status mapper_state_load(struct mapper *mapper, int64_t key, struct banyan_arena *arena,
                                                       uint64_t *ret_version, struct banyan_error *err);
/* mapper->state is the state of *key* from now on. */
void mapper_state_keep(struct mapper *mapper, int64_t key, uint64_t version);
void mapper_state_release(struct mapper *mapper);

#endif
