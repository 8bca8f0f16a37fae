/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event ids in memory: hash of the id → position, 16 bytes a slot.
 *
 * Only a hint: whoever finds a position reads the event there and compares.  Split in 256 tables, so that growing one
 * holds nobody up.  Not for two threads: the store's lock.
 */
#ifndef STORE_IDS_H
#define STORE_IDS_H

#include <stdint.h>

#include "banyan/uuid.h"

struct ids_slot {
    uint64_t hash;
    uint64_t position; /* 0: free */
};

struct ids_table {
    struct ids_slot *slots; /* owned; NULL when empty */
    uint64_t slot_count, count;
};

enum {
    IDS_TABLES = 256,
};

struct ids {
    struct ids_table tables[IDS_TABLES];
    uint64_t seed;
};

void ids_init(struct ids *ids, uint64_t seed);
void ids_release(struct ids *ids);
uint64_t ids_hash(const struct ids *ids, struct banyan_uuid id);
void ids_prefetch(const struct ids *ids, uint64_t hash);
/* The positions under a hash, one a call: start with *cursor* 0; 0 at the end. */
uint64_t ids_next(const struct ids *ids, uint64_t hash, uint64_t *cursor);
void ids_add(struct ids *ids, uint64_t hash, uint64_t position);
void ids_remove(struct ids *ids, uint64_t hash, uint64_t position);
uint64_t ids_bytes(const struct ids *ids);

#endif
