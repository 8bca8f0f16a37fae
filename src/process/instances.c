/* SPDX-License-Identifier: Apache-2.0 */
/* See instances.h. */
#include "process/instances.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"

enum {
    BUCKETS_FIRST = 64, /* a power of two */
};

static void instance_free(struct instance *instance)
{
    free(instance->aside);
    free(instance->error);
    free(instance);
}

void instances_release(struct instances *instances)
{
    for (size_t i = 0; i < instances->bucket_count; i++) {
        for (struct instance *instance = instances->buckets[i], *next; instance != NULL; instance = next) {
            next = instance->next;
            instance_free(instance);
        }
    }
    free(instances->buckets);
    free(instances->heap);
    *instances = (struct instances){.buckets = NULL};
}

/* ---- by key ---- */

static struct instance **bucket_of(const struct instances *instances, uint64_t hash)
{
    return &instances->buckets[hash & (instances->bucket_count - 1)];
}

static struct instance *find(const struct instances *instances, struct banyan_str key, uint64_t hash)
{
    struct instance *instance = instances->count == 0 ? NULL : *bucket_of(instances, hash);

    while (instance != NULL && !(instance->hash == hash && banyan_str_equal(instance_key(instance), key)))
        instance = instance->next;
    return instance;
}

struct instance *instances_find(const struct instances *instances, struct banyan_str key)
{
    return instances->count == 0 ? NULL : find(instances, key, XXH3_64bits(key.data, key.size));
}

static void grow(struct instances *instances)
{
    struct instance **old = instances->buckets;
    size_t old_count = instances->bucket_count;

    instances->bucket_count = old_count == 0 ? BUCKETS_FIRST : 2 * old_count;
    instances->buckets = alloc_zeroed(instances->bucket_count, sizeof(struct instance *));
    for (size_t i = 0; i < old_count; i++) {
        for (struct instance *instance = old[i], *next; instance != NULL; instance = next) {
            struct instance **bucket = bucket_of(instances, instance->hash);

            next = instance->next;
            instance->next = *bucket;
            *bucket = instance;
        }
    }
    free(old);
}

static struct instance *make(struct instances *instances, struct banyan_str key)
{
    uint64_t hash = XXH3_64bits(key.data, key.size);
    struct instance *instance = find(instances, key, hash);
    struct instance **bucket;

    if (instance != NULL)
        return instance;
    if (instances->count == instances->bucket_count)
        grow(instances);
    instance = alloc_zeroed(1, sizeof(*instance) + key.size + 1);
    instance->hash = hash;
    instance->wake_us = instance->asked_us = BANYAN_TIME_NULL;
    instance->heap_at = INSTANCE_NO_TIMER;
    instance->key_size = key.size;
    memcpy(instance->key, key.data, key.size);
    bucket = bucket_of(instances, hash);
    instance->next = *bucket;
    *bucket = instance;
    instances->count++;
    return instance;
}

/* Nothing is known of it any more: forget it. */
static void forget_idle(struct instances *instances, struct instance *instance)
{
    struct instance **link = bucket_of(instances, instance->hash);

    if (instance->heap_at != INSTANCE_NO_TIMER || instance->aside_count > 0)
        return;
    while (*link != instance)
        link = &(*link)->next;
    *link = instance->next;
    instances->count--;
    instance_free(instance);
}

/* ---- by time ---- */

static void place(struct instances *instances, struct instance *instance, size_t at)
{
    instances->heap[at] = instance;
    instance->heap_at = (int64_t)at;
}

static void sift(struct instances *instances, struct instance *instance, size_t at)
{
    while (at > 0 && instances->heap[(at - 1) / 2]->wake_us > instance->wake_us) {
        place(instances, instances->heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < instances->heap_count && instances->heap[child + 1]->wake_us < instances->heap[child]->wake_us)
            child++;
        if (child >= instances->heap_count || instances->heap[child]->wake_us >= instance->wake_us)
            break;
        place(instances, instances->heap[child], at);
        at = child;
    }
    place(instances, instance, at);
}

static void heap_remove(struct instances *instances, struct instance *instance)
{
    size_t at = (size_t)instance->heap_at;
    struct instance *last = instances->heap[--instances->heap_count];

    instance->heap_at = INSTANCE_NO_TIMER;
    if (last != instance)
        sift(instances, last, at);
}

void instances_wake_at(struct instances *instances, struct banyan_str key, int64_t wake_us, int64_t asked_us,
                       uint64_t position)
{
    struct instance *instance = wake_us == BANYAN_TIME_NULL ? instances_find(instances, key) : make(instances, key);

    if (instance == NULL)
        return;
    instance->wake_us = wake_us;
    instance->asked_us = asked_us;
    instance->position = position;
    if (wake_us == BANYAN_TIME_NULL) {
        if (instance->heap_at != INSTANCE_NO_TIMER)
            heap_remove(instances, instance);
        forget_idle(instances, instance);
        return;
    }
    if (instance->heap_at == INSTANCE_NO_TIMER) {
        if (instances->heap_count == instances->heap_capacity) {
            instances->heap_capacity = instances->heap_capacity == 0 ? 64 : 2 * instances->heap_capacity;
            instances->heap = alloc_resized(instances->heap, instances->heap_capacity, sizeof(*instances->heap));
        }
        instance->heap_at = (int64_t)instances->heap_count++;
    }
    sift(instances, instance, (size_t)instance->heap_at);
}

struct instance *instances_first(const struct instances *instances)
{
    return instances->heap_count == 0 ? NULL : instances->heap[0];
}

uint64_t instances_oldest(const struct instances *instances, uint64_t fallback)
{
    uint64_t oldest = fallback;

    for (size_t i = 0; i < instances->heap_count; i++) {
        if (instances->heap[i]->position < oldest)
            oldest = instances->heap[i]->position;
    }
    return oldest;
}

/* ---- put aside ---- */

void instances_put_aside(struct instances *instances, struct banyan_str key, uint64_t position, const char *error)
{
    struct instance *instance = make(instances, key);

    instances->aside_count += instance->aside_count == 0;
    instances->held_count++;
    if (instance->aside_count == instance->aside_capacity) {
        instance->aside_capacity = instance->aside_capacity == 0 ? 4 : 2 * instance->aside_capacity;
        instance->aside = alloc_resized(instance->aside, instance->aside_capacity, sizeof(*instance->aside));
    }
    instance->aside[instance->aside_count++] = position;
    if (error != NULL && instance->error == NULL)
        instance->error = alloc_text(error);
}

void instances_done(struct instances *instances, struct banyan_str key, uint64_t position)
{
    struct instance *instance = instances_find(instances, key);
    size_t at = 0;

    if (instance == NULL)
        return;
    while (at < instance->aside_count && instance->aside[at] != position)
        at++;
    if (at == instance->aside_count)
        return;
    memmove(&instance->aside[at], &instance->aside[at + 1],
            (instance->aside_count - at - 1) * sizeof(*instance->aside));
    instance->aside_count--;
    instances->held_count--;
    if (instance->aside_count > 0)
        return;
    instances->aside_count--;
    free(instance->error);
    instance->error = NULL;
    forget_idle(instances, instance);
}

size_t instances_list_aside(const struct instances *instances, size_t limit, struct banyan_arena *arena,
                            struct instance ***ret)
{
    size_t most = instances->aside_count < limit ? instances->aside_count : limit, count = 0;

    *ret = banyan_arena_alloc(arena, (most + 1) * sizeof(**ret));
    for (size_t i = 0; i < instances->bucket_count && count < most; i++) {
        for (struct instance *at = instances->buckets[i]; at != NULL && count < most; at = at->next) {
            if (at->aside_count > 0)
                (*ret)[count++] = at;
        }
    }
    return count;
}
