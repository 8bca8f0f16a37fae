/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buckets, and the decisions that gateway, flags and commands read with each request.
 *
 * The decisions are a sequence lock: one writer at a time makes *sequence* odd, stores the fields, and makes it even
 * again; a reader that saw it odd, or changed, reads once more.  Each field is stored with release and loaded with
 * acquire, so whoever sees a new field also sees that the sequence became odd before it.  Readers take no lock and
 * write nothing.
 *
 * Invariants
 *   1. A bucket depends on seed, flag, category and key only: not on shares, not on the process, not on the machine.
 *      Buckets outlive restarts as long as the seed does; the hash never changes (XXH3 is frozen).
 *   2. What has no key is in no share, not even in that of all: nothing could tell its next request to follow.
 *   3. A hold is over when its clock says so, in every reader, also when nobody is left to end it.
 */
#include "rollout/routing.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "os/clock.h"
#include "os/thread.h"

struct routing {
    uint64_t seed;
    pthread_mutex_t writing;
    struct {
        uint64_t sequence; /* odd: a writer is at it */
        struct routing_decisions decisions;
    } shared; /* by the sequence; written under *writing* */
};

struct routing *routing_new(uint64_t seed)
{
    struct routing *routing = alloc_zeroed(1, sizeof(*routing));
    routing->seed = seed;
    routing->shared.decisions.version = 1;
    if (pthread_mutex_init(&routing->writing, NULL) != 0)
        abort(); /* cannot fail with default attributes */
    return routing;
}

void routing_free(struct routing *routing)
{
    if (routing == NULL)
        return;
    (void)pthread_mutex_destroy(&routing->writing); /* nobody holds it: a bug otherwise */
    free(routing);
}

/* But for the version. */
static bool is_same(const struct routing_decisions *a, const struct routing_decisions *b)
{
    return a->new_share == b->new_share && a->read_share == b->read_share && a->noise_share == b->noise_share &&
           a->shadow_reads == b->shadow_reads && a->hold_writes == b->hold_writes &&
           a->hold_until_us == b->hold_until_us;
}

void routing_set(struct routing *routing, const struct routing_decisions *decisions)
{
    assert(decisions->new_share <= ROUTING_SHARE_ALL && decisions->read_share <= ROUTING_SHARE_ALL &&
           decisions->noise_share <= ROUTING_SHARE_ALL);
    struct routing_decisions *to = &routing->shared.decisions;
    (void)pthread_mutex_lock(&routing->writing); /* cannot fail: no recursion */
    if (is_same(to, decisions)) {
        (void)pthread_mutex_unlock(&routing->writing); /* held by this thread */
        return;
    }
    uint64_t sequence = routing->shared.sequence;
    __atomic_store_n(&routing->shared.sequence, sequence + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&to->new_share, decisions->new_share, __ATOMIC_RELEASE);
    __atomic_store_n(&to->read_share, decisions->read_share, __ATOMIC_RELEASE);
    __atomic_store_n(&to->noise_share, decisions->noise_share, __ATOMIC_RELEASE);
    __atomic_store_n(&to->shadow_reads, decisions->shadow_reads, __ATOMIC_RELEASE);
    __atomic_store_n(&to->hold_writes, decisions->hold_writes, __ATOMIC_RELEASE);
    __atomic_store_n(&to->hold_until_us, decisions->hold_until_us, __ATOMIC_RELEASE);
    __atomic_store_n(&to->version, to->version + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&routing->shared.sequence, sequence + 2, __ATOMIC_RELEASE);
    (void)pthread_mutex_unlock(&routing->writing); /* held by this thread */
}

void routing_get(const struct routing *routing, struct routing_decisions *ret)
{
    const struct routing_decisions *from = &routing->shared.decisions;
    for (;;) {
        uint64_t sequence = __atomic_load_n(&routing->shared.sequence, __ATOMIC_ACQUIRE);
        ret->new_share = __atomic_load_n(&from->new_share, __ATOMIC_ACQUIRE);
        ret->read_share = __atomic_load_n(&from->read_share, __ATOMIC_ACQUIRE);
        ret->noise_share = __atomic_load_n(&from->noise_share, __ATOMIC_ACQUIRE);
        ret->shadow_reads = __atomic_load_n(&from->shadow_reads, __ATOMIC_ACQUIRE);
        ret->hold_writes = __atomic_load_n(&from->hold_writes, __ATOMIC_ACQUIRE);
        ret->hold_until_us = __atomic_load_n(&from->hold_until_us, __ATOMIC_ACQUIRE);
        ret->version = __atomic_load_n(&from->version, __ATOMIC_ACQUIRE);
        if (sequence % 2 == 0 && sequence == __atomic_load_n(&routing->shared.sequence, __ATOMIC_RELAXED))
            break;
        (void)sched_yield(); /* the writer may have been interrupted; it always succeeds on Linux */
    }
    if (ret->hold_writes && os_clock_monotonic_us(os_clock_real()) >= ret->hold_until_us)
        ret->hold_writes = false;
}

uint32_t routing_bucket(const struct routing *routing, enum routing_flag flag, struct banyan_str category,
                        struct banyan_str key)
{
    /* The category's hash is the key's seed: where the one text ends and the other begins cannot be mistaken. */
    uint64_t seed = hash_mix(routing->seed + (uint64_t)flag + 1);
    uint64_t of_category = XXH3_64bits_withSeed(category.data, category.size, seed);
    uint64_t hash = hash_mix(XXH3_64bits_withSeed(key.data, key.size, of_category));
    return (uint32_t)((hash >> 32) * ROUTING_SHARE_ALL >> 32);
}

bool routing_in(const struct routing *routing, enum routing_flag flag, struct banyan_str category,
                struct banyan_str key)
{
    if (key.data == NULL || key.size == 0)
        return false;
    const uint32_t *share =
        flag == ROUTING_NEW ? &routing->shared.decisions.new_share : &routing->shared.decisions.read_share;
    /* One field is never torn: no need for the sequence. */
    return routing_bucket(routing, flag, category, key) < __atomic_load_n(share, __ATOMIC_ACQUIRE);
}
