/* SPDX-License-Identifier: Apache-2.0 */
/* The file of blocks.h, byte by byte: pages, one behind the other.  Numbers are little-endian. */
#ifndef STORE_BLOCKS_FORMAT_H
#define STORE_BLOCKS_FORMAT_H

#include <assert.h>
#include <stdint.h>

#include "store/blocks.h"

#define BLOCKS_MAGIC "BANYBLK" /* with its NUL: 8 bytes */

enum {
    BLOCKS_PAGE_POSITIONS = BLOCK_POSITIONS * BLOCKS_A_PAGE,
};

struct blocks_entry {
    uint64_t types, categories;
};

struct blocks_stored_page {
    char magic[8];
    uint32_t crc; /* of all behind it */
    uint32_t format;
    uint64_t number;
    uint64_t covered; /* last position that it knows of */
    uint64_t event;   /* hash of the id of the event there */
    struct blocks_entry entries[BLOCKS_A_PAGE];
};
static_assert(sizeof(struct blocks_stored_page) == 40 + 4096, "stored layout");

#endif
