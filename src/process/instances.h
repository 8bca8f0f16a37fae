/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instances of a process that something is known of: a time at which to wake them, or events put aside.  Others are not
 * here, so that memory follows from what is open and not from the past.
 *
 * By key: a hash map.  By time: a heap.  Not for two threads.
 */
#ifndef PROCESS_INSTANCES_H
#define PROCESS_INSTANCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/types.h"

enum {
    INSTANCE_NO_TIMER = -1, /* heap_at of an instance without */
};

struct instance {
    struct instance *next; /* in its bucket */
    uint64_t hash;
    int64_t wake_us;   /* when react() is to be called; BANYAN_TIME_NULL: never */
    int64_t asked_us;  /* what wake() said; earlier than wake_us when that reaction changed nothing */
    uint64_t position; /* of the last event of its stream */
    int64_t heap_at;
    uint64_t *aside; /* positions of events that wait, in order; 0: a time-out; owned */
    size_t aside_count, aside_capacity;
    char *error; /* why the first of them waits; owned */
    size_t key_size;
    char key[];
};

struct instances {
    struct instance **buckets; /* owned */
    size_t bucket_count, count;
    struct instance **heap; /* owned; the nearest time first */
    size_t heap_count, heap_capacity;
    size_t aside_count, held_count; /* instances, events */
};

void instances_release(struct instances *instances);
/* NULL when nothing is known of it. */
struct instance *instances_find(const struct instances *instances, struct banyan_str key);
/* Wake it at *wake_us* (BANYAN_TIME_NULL: never); its stream's last event is at *position*. */
void instances_wake_at(struct instances *instances, struct banyan_str key, int64_t wake_us, int64_t asked_us,
                       uint64_t position);
/* The nearest; NULL: none. */
struct instance *instances_first(const struct instances *instances);
/* The lowest last position of those with a time; *fallback* without any. */
uint64_t instances_oldest(const struct instances *instances, uint64_t fallback);
/* The event at *position* waits; *error*: why, of the first, else NULL. */
void instances_put_aside(struct instances *instances, struct banyan_str key, uint64_t position, const char *error);
/* The event at *position* does not wait any more. */
void instances_done(struct instances *instances, struct banyan_str key, uint64_t position);
/* Those that are put aside, at most *limit*; the array is in *arena*, and good until the next change. */
size_t instances_list_aside(const struct instances *instances, size_t limit, struct banyan_arena *arena,
                            struct instance ***ret);

static inline struct banyan_str instance_key(const struct instance *instance)
{
    return (struct banyan_str){instance->key, instance->key_size};
}

#endif
