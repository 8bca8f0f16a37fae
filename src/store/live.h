/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live states: a bounded cache from stream to the state of its aggregate, for those who decide on commands.
 *
 * One caller at a time has a state (live_take() … live_give()); others for the same stream wait, others for other
 * streams do not.  The states that were not used for longest make room.
 *
 * Threads: any.  In shards, each with a lock that is held for a lookup only.
 */
#ifndef STORE_LIVE_H
#define STORE_LIVE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/types.h"

/* The fields from version on belong to whoever took it. */
struct live {
    struct live *next;          /* in its bucket */
    struct live *newer, *older; /* in its shard, by use */
    uint64_t hash;
    bool taken;

    uint64_t version, position; /* of the last event folded; 0: none */
    uint64_t saved;             /* version of its last snapshot; 0: none */
    void *state;                /* packed, owned; NULL: not loaded yet */
    size_t stream_size;
    char stream[];
};

enum {
    LIVE_SHARDS = 64,
};

struct live_shard {
    pthread_mutex_t lock; /* guards all below, and the links of its states */
    pthread_cond_t given; /* one was given back while somebody waited */
    unsigned waiting;
    struct live **buckets; /* owned */
    size_t bucket_count, count;
    struct live *newest, *oldest;
} __attribute__((aligned(64)));

struct live_cache {
    struct live_shard shards[LIVE_SHARDS];
    size_t shard_max; /* states in one shard; taken ones may take it above */
};

/* Room for about *states_max* states. */
void live_cache_init(struct live_cache *cache, size_t states_max);
void live_cache_release(struct live_cache *cache);
/* The state of *stream*, perhaps a new one that is not loaded; waits while another caller has it. */
struct live *live_take(struct live_cache *cache, struct banyan_str stream);
void live_give(struct live_cache *cache, struct live *live);
/* States in the cache, roughly. */
size_t live_count(struct live_cache *cache);

#endif
