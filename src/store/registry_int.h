/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry in memory, for its own files: a fold of the stream "$schemas".
 *
 *     registry ─▶ subjects, sorted by name ─▶ versions[number - 1] (NULL: none of that number) ─▶ plans to later ones
 *
 * Lock order: registry.lock, then the store's.
 */
#ifndef STORE_REGISTRY_INT_H
#define STORE_REGISTRY_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "store/registry.h"

#define REGISTRY_STREAM BANYAN_STR("$schemas")

/* How values of one version become values of another. */
struct registry_plan {
    struct registry_plan *next;
    uint16_t reader;
    struct avro_plan *plan; /* owned */
};

struct registry_version {
    uint16_t number;
    struct avro_schema *schema; /* owned */
    struct banyan_str text;     /* in the arena */
    struct banyan_time at;
    struct registry_plan *plans; /* in the arena; those made so far */
};

struct registry_subject {
    struct banyan_str name; /* in the arena */
    enum avro_compatibility compatibility;
    struct registry_version **versions; /* owned list of things in the arena; [count - 1] is the newest */
    size_t count, capacity;
};

struct store_registry {
    struct store *store;                /* borrowed */
    const struct banyan_domain *domain; /* borrowed; NULL: no upcasters */

    pthread_mutex_t lock; /* guards all below */
    struct banyan_arena arena;
    struct registry_subject **subjects; /* owned list of things in the arena; sorted by name */
    size_t subject_count, subject_capacity;
    bool frozen;
    uint64_t seen; /* version of the stream up to which all is known */
};

/* ---- registry.c; with the lock ---- */

/* Read what came to the stream since. */
BANYAN_MUST_CHECK enum banyan_status registry_refresh(struct store_registry *registry, struct banyan_error *err);
/* NULL: none. */
struct registry_subject *registry_find(const struct store_registry *registry, struct banyan_str name);
/* Of version *number*; 0: the newest.  NULL: none. */
struct registry_version *registry_version(const struct registry_subject *subject, uint16_t number);
/* NOT_FOUND with the words for it. */
enum banyan_status registry_not_found(const struct registry_subject *subject, struct banyan_str name, uint16_t number,
                                      struct banyan_error *err);

#endif
