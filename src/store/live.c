/* SPDX-License-Identifier: Apache-2.0 */
/* See live.h.  A taken state is never freed; who waits for one looks it up again, because it may be gone by then. */
#include "store/live.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"

enum {
    BUCKETS_FIRST = 16, /* a power of two */
};

void live_cache_init(struct live_cache *cache, size_t states_max)
{
    memset(cache, 0, sizeof(*cache));
    cache->shard_max = states_max < LIVE_SHARDS ? 1 : states_max / LIVE_SHARDS;
    for (size_t i = 0; i < LIVE_SHARDS; i++) {
        struct live_shard *shard = &cache->shards[i];

        (void)pthread_mutex_init(&shard->lock, NULL);
        (void)pthread_cond_init(&shard->given, NULL);
        shard->bucket_count = BUCKETS_FIRST;
        shard->buckets = alloc_zeroed(BUCKETS_FIRST, sizeof(struct live *));
    }
}

static void live_free(struct live *live)
{
    free(live->state);
    free(live);
}

void live_cache_release(struct live_cache *cache)
{
    for (size_t i = 0; i < LIVE_SHARDS; i++) {
        struct live_shard *shard = &cache->shards[i];

        for (struct live *live = shard->newest, *older; live != NULL; live = older) {
            older = live->older;
            live_free(live);
        }
        free(shard->buckets);
        (void)pthread_mutex_destroy(&shard->lock);
        (void)pthread_cond_destroy(&shard->given);
    }
}

/* The high bits choose the shard, the low ones the bucket. */
static struct live_shard *shard_of(struct live_cache *cache, uint64_t hash)
{
    return &cache->shards[hash >> 58];
}

static struct live **bucket_of(struct live_shard *shard, uint64_t hash)
{
    return &shard->buckets[hash & (shard->bucket_count - 1)];
}

static struct live *find(struct live_shard *shard, struct banyan_str stream, uint64_t hash)
{
    struct live *live = *bucket_of(shard, hash);

    while (live != NULL && !(live->hash == hash && live->stream_size == stream.size &&
                             memcmp(live->stream, stream.data, stream.size) == 0))
        live = live->next;
    return live;
}

static void grow(struct live_shard *shard)
{
    free(shard->buckets);
    shard->bucket_count *= 2;
    shard->buckets = alloc_zeroed(shard->bucket_count, sizeof(struct live *));
    for (struct live *live = shard->newest; live != NULL; live = live->older) {
        struct live **bucket = bucket_of(shard, live->hash);

        live->next = *bucket;
        *bucket = live;
    }
}

static void unlink_use(struct live_shard *shard, struct live *live)
{
    *(live->newer != NULL ? &live->newer->older : &shard->newest) = live->older;
    *(live->older != NULL ? &live->older->newer : &shard->oldest) = live->newer;
}

static void link_newest(struct live_shard *shard, struct live *live)
{
    live->newer = NULL;
    live->older = shard->newest;
    *(shard->newest != NULL ? &shard->newest->newer : &shard->oldest) = live;
    shard->newest = live;
}

static struct live *add(struct live_shard *shard, struct banyan_str stream, uint64_t hash)
{
    struct live *live = alloc_zeroed(1, sizeof(*live) + stream.size);
    struct live **bucket;

    if (shard->count == shard->bucket_count)
        grow(shard);
    bucket = bucket_of(shard, hash);
    live->hash = hash;
    live->stream_size = stream.size;
    memcpy(live->stream, stream.data, stream.size);
    live->next = *bucket;
    *bucket = live;
    link_newest(shard, live);
    shard->count++;
    return live;
}

struct live *live_take(struct live_cache *cache, struct banyan_str stream)
{
    uint64_t hash = XXH3_64bits(stream.data, stream.size);
    struct live_shard *shard = shard_of(cache, hash);
    struct live *live;

    (void)pthread_mutex_lock(&shard->lock);
    while ((live = find(shard, stream, hash)) != NULL && live->taken) {
        shard->waiting++;
        (void)pthread_cond_wait(&shard->given, &shard->lock);
        shard->waiting--;
    }
    if (live == NULL) {
        live = add(shard, stream, hash);
    } else if (live != shard->newest) {
        unlink_use(shard, live);
        link_newest(shard, live);
    }
    live->taken = true;
    (void)pthread_mutex_unlock(&shard->lock);
    return live;
}

/* With the lock: free what is over the limit, the oldest first. */
static void make_room(struct live_shard *shard, size_t count_max)
{
    for (struct live *live = shard->oldest, *newer; live != NULL && shard->count > count_max; live = newer) {
        struct live **link = bucket_of(shard, live->hash);

        newer = live->newer;
        if (live->taken)
            continue;
        while (*link != live)
            link = &(*link)->next;
        *link = live->next;
        unlink_use(shard, live);
        live_free(live);
        shard->count--;
    }
}

void live_give(struct live_cache *cache, struct live *live)
{
    struct live_shard *shard = shard_of(cache, live->hash);

    (void)pthread_mutex_lock(&shard->lock);
    assert(live->taken);
    live->taken = false;
    make_room(shard, cache->shard_max);
    if (shard->waiting > 0)
        (void)pthread_cond_broadcast(&shard->given);
    (void)pthread_mutex_unlock(&shard->lock);
}

size_t live_count(struct live_cache *cache)
{
    size_t count = 0;

    for (size_t i = 0; i < LIVE_SHARDS; i++) {
        (void)pthread_mutex_lock(&cache->shards[i].lock);
        count += cache->shards[i].count;
        (void)pthread_mutex_unlock(&cache->shards[i].lock);
    }
    return count;
}
