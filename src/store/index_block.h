/* SPDX-License-Identifier: Apache-2.0 */
/* What the reader and the writer of runs share: blocks and filters. */
#ifndef STORE_INDEX_BLOCK_H
#define STORE_INDEX_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "store/index_format.h"

enum {
    INDEX_FILTER_KEYS = 6, /* bits of a key in its line, nine bits each of index_filter_bits() */
};

bool index_block_check(const char *block, uint64_t sequence, uint64_t number, enum index_section section);

uint64_t index_filter_lines(uint64_t count, uint32_t level);
/* Never falls when *hash* grows. */
uint64_t index_filter_line(uint64_t hash, uint64_t line_count);

static inline uint64_t index_filter_bits(uint64_t hash)
{
    hash *= 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

#endif
