/* SPDX-License-Identifier: Apache-2.0 */
/* A hash map from int64_t keys to pointers, open addressing, linear probing, backward-shift deletion.
 * Not for two threads.  Iteration order is unspecified but repeatable. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash_entry {
    int64_t key;
    void *value; /* NULL: free slot */
};

struct hash {
    struct hash_entry *entries; /* owned */
    size_t capacity;            /* power of two, or 0 */
    size_t count;
};

#define HASH_INIT                                                                                                      \
    {                                                                                                                  \
        .entries = NULL                                                                                                \
    }

void hash_release(struct hash *hash);
/* Forget all entries, keep the table. */
void hash_reset(struct hash *hash);
void *hash_get(const struct hash *hash, int64_t key);
/* Insert or replace; *value* must not be NULL.  Returns the replaced value or NULL. */
void *hash_put(struct hash *hash, int64_t key, void *value);
void *hash_remove(struct hash *hash, int64_t key);
/* Walk: start with *cursor* = 0; NULL at the end.  No changes meanwhile. */
struct hash_entry *hash_next(const struct hash *hash, size_t *cursor);
/* Well-mixed 64 bits of one. */
uint64_t hash_mix(uint64_t value);

#endif
