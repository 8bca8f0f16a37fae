/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small store with everything in it, for tests that damage it: several segments and openings, batches of many sizes,
 * one that spans segments, a large record, long streams (with jumps), cursors, metadata, all provenances.
 */
#ifndef SUPPORT_STORE_CONTENT_H
#define SUPPORT_STORE_CONTENT_H

#include <stdint.h>

#include "banyan/uuid.h"

struct store_content {
    uint64_t segment_bytes; /* of a segment */
    unsigned rounds;        /* openings */
    unsigned batches;       /* small ones of each */
    unsigned large_batch;   /* events of the one that spans segments; 0: none */
    unsigned large_record;  /* bytes; 0: none */
    uint64_t index_events;  /* of a run of the index, about; 0: the store's default */
};

/* Some 250 KiB. */
#define STORE_CONTENT_SMALL                                                                                            \
    {                                                                                                                  \
        .segment_bytes = 48 * 1024, .rounds = 4, .batches = 40, .large_batch = 500, .large_record = 20000,             \
        .index_events = 200                                                                                            \
    }

/* Make a store in *folder*; closed in good order.  Same seed, same content but for times. */
void store_content_build(const char *folder, const struct store_content *content, uint64_t seed);

/* The bytes of a segment file of a log, changed in place by *change*; then every checksum and the chain of the whole
 * log are computed anew, as somebody would who wants nobody to see it. */
typedef void (*store_content_change_fn)(void *context, char *segment, uint64_t size, uint64_t number);
void store_content_rewrite(const char *log_folder, store_content_change_fn change, void *context);

#endif
