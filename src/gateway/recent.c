/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was written shortly before, so that who reads behind it finds it on either side.
 *
 * A table without keys: each place holds the last write of all that fall into it.  So nothing is ever forgotten too
 * early, and two that share a place cost a wait that was not needed.  Threads: any.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "gateway/facade.h"

enum {
    PLACES = 65536,
};

struct recent {
    _Atomic int64_t legacy_us[PLACES];
    _Atomic uint64_t position[PLACES];
};

struct recent *recent_new(void)
{
    return alloc_zeroed(1, sizeof(struct recent));
}

void recent_free(struct recent *recent)
{
    free(recent);
}

static uint64_t hash_text(struct banyan_str text, uint64_t seed)
{
    for (size_t i = 0; i < text.size; i++)
        seed = (seed ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211); /* FNV-1a, mixed below */
    return seed;
}

uint64_t recent_key(struct banyan_str category, int64_t key)
{
    return hash_mix(hash_text(category, UINT64_C(14695981039346656037)) ^ (uint64_t)key);
}

uint64_t recent_user(struct banyan_str user)
{
    return hash_mix(hash_text(user, UINT64_C(1469598103934665603)));
}

void recent_wrote_legacy(struct recent *recent, uint64_t what, int64_t now_us)
{
    atomic_store(&recent->legacy_us[what % PLACES], now_us); /* clocks of one machine: the last one is the latest */
}

void recent_wrote_here(struct recent *recent, uint64_t what, struct banyan_position position)
{
    _Atomic uint64_t *place = &recent->position[what % PLACES];
    uint64_t had = atomic_load(place);
    while (had < position.value && !atomic_compare_exchange_weak(place, &had, position.value))
        ;
}

int64_t recent_legacy_us(struct recent *recent, uint64_t what)
{
    return atomic_load(&recent->legacy_us[what % PLACES]);
}

struct banyan_position recent_position(struct recent *recent, uint64_t what)
{
    return (struct banyan_position){atomic_load(&recent->position[what % PLACES])};
}
