/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which types and categories occur in which part of the log: what lets a filtered reader skip what cannot match.
 *
 * Of each block of 256 positions there are two sets of 64 bits (filter_bits()), 16 bytes in all: 6 MB for 100 million
 * events.  A set may say too much, never too little: a block that nothing is known of says everything, what was
 * appended and taken back stays in it, and so nothing of this can hide an event.
 *
 * The table is kept in a file, so that open need not read the log.  The file is a convenience: pages of it that are
 * missing, damaged or of another past are not known, and are learnt from the readers that pass.
 *
 *     <store>/blocks   pages of 256 blocks, each with what it covers, the event there, and a checksum
 *
 * Threads: blocks_add() and saving by one at a time (the store's lock); the rest by any, at once.
 */
#ifndef STORE_BLOCKS_H
#define STORE_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "log/log.h"
#include "os/file.h"
#include "store/filter.h"

enum {
    BLOCK_POSITIONS = 256,
    BLOCKS_A_PAGE = 256,
};

struct blocks_page;

struct blocks {
    struct log *log;        /* borrowed */
    struct os_files *files; /* borrowed */
    char *path;             /* owned */
    bool read_only;         /* the file is not written: by request, or after a failure */

    struct blocks_page **pages; /* owned; atomic, the table grows */
    uint64_t page_count;        /* atomic */
    uint64_t page_capacity;
    struct blocks_page ***outgrown; /* former tables, owned: a reader may still look at one */
    size_t outgrown_count;
};

/* Read the file; never fails.  *path* is copied.  The log is open, and stays so until blocks_release(). */
void blocks_init(struct blocks *blocks, struct log *log, struct os_files *files, const char *path, bool read_only);
/* Forget the memory. */
void blocks_release(struct blocks *blocks);
/* Write what is not in the file yet, as far as it is durable. */
void blocks_save(struct blocks *blocks);

/* An event is about to be appended at *position*. */
void blocks_add(struct blocks *blocks, uint64_t position, const struct store_event *event);

/* The first position from *from* to *durable* whose block may hold an event that passes; durable+1: there is none. */
uint64_t blocks_next(const struct blocks *blocks, const struct filter *filter, uint64_t from, uint64_t durable);
/* Is nothing known of the block of *position*? */
bool blocks_unknown(const struct blocks *blocks, uint64_t position);
/* All events of the durable block that ends at *last* were looked at: they have these bits. */
void blocks_learn(struct blocks *blocks, uint64_t last, uint64_t types, uint64_t categories);

uint64_t blocks_bytes(const struct blocks *blocks);

#endif
