/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Merkle tree as in RFC 6962, section 2.1, that grows at its end: leaf hashes have 0x00 in front, nodes 0x01, and the
 * left side of a node is the largest full tree.
 *
 * Growing needs only the peaks: the full trees that the leaves make, one for each bit of their count.
 */
#ifndef LOG_MERKLE_H
#define LOG_MERKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MERKLE_BYTES = 32, /* of a hash: SHA-256 */
    MERKLE_PATH_MAX = 64,
};

struct merkle_hash {
    uint8_t bytes[MERKLE_BYTES];
};

struct merkle {
    uint64_t count;                            /* leaves */
    struct merkle_hash peaks[MERKLE_PATH_MAX]; /* peaks[i] holds 2^i leaves; meaningful where bit i of count is set */
};

struct merkle_hash merkle_leaf(const void *data, size_t size);
struct merkle_hash merkle_node(const struct merkle_hash *left, const struct merkle_hash *right);

/* All zeros is an empty tree. */
void merkle_add(struct merkle *tree, const struct merkle_hash *leaf);
/* Of no leaves: the hash of nothing. */
struct merkle_hash merkle_root(const struct merkle *tree);

/* The audit path of leaf number *index* (from 0) of *count*, from the leaf up; returns its length. */
size_t merkle_path(const struct merkle_hash *leaves, uint64_t count, uint64_t index,
                   struct merkle_hash ret[MERKLE_PATH_MAX]);
/* The root that *path* leads to; false when the path has another length than this place has. */
bool merkle_follow(const struct merkle_hash *leaf, uint64_t count, uint64_t index, const struct merkle_hash *path,
                   size_t path_count, struct merkle_hash *ret);

#endif
