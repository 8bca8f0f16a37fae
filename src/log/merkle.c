/* SPDX-License-Identifier: Apache-2.0 */
/* See merkle.h. */
#include "log/merkle.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static struct merkle_hash digest(uint8_t first, const void *a, size_t a_size, const void *b, size_t b_size)
{
    /* Fetched once: a lookup by name costs more than hashing two nodes. */
    static EVP_MD *sha256;
    EVP_MD *mine = __atomic_load_n(&sha256, __ATOMIC_ACQUIRE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    struct merkle_hash hash;
    int ok;

    if (mine == NULL) {
        EVP_MD *expected = NULL;

        mine = EVP_MD_fetch(NULL, "SHA256", NULL);
        if (!__atomic_compare_exchange_n(&sha256, &expected, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            EVP_MD_free(mine);
            mine = expected;
        }
    }
    ok = mine != NULL && context != NULL && EVP_DigestInit_ex2(context, mine, NULL) == 1 &&
         EVP_DigestUpdate(context, &first, 1) == 1 && EVP_DigestUpdate(context, a, a_size) == 1 &&
         EVP_DigestUpdate(context, b, b_size) == 1 && EVP_DigestFinal_ex(context, hash.bytes, NULL) == 1;
    assert(ok); /* SHA-256 of memory cannot fail */
    (void)ok;
    EVP_MD_CTX_free(context);
    return hash;
}

struct merkle_hash merkle_leaf(const void *data, size_t size)
{
    return digest(0x00, data, size, "", 0);
}

struct merkle_hash merkle_node(const struct merkle_hash *left, const struct merkle_hash *right)
{
    return digest(0x01, left->bytes, MERKLE_BYTES, right->bytes, MERKLE_BYTES);
}

void merkle_add(struct merkle *tree, const struct merkle_hash *leaf)
{
    struct merkle_hash hash = *leaf;
    size_t level = 0;

    for (; (tree->count >> level & 1) != 0; level++)
        hash = merkle_node(&tree->peaks[level], &hash);
    tree->peaks[level] = hash;
    tree->count++;
}

struct merkle_hash merkle_root(const struct merkle *tree)
{
    struct merkle_hash hash;
    bool any = false;

    if (tree->count == 0) {
        unsigned size = MERKLE_BYTES;
        int ok = EVP_Digest("", 0, hash.bytes, &size, EVP_sha256(), NULL);

        assert(ok == 1);
        (void)ok;
        return hash;
    }
    for (size_t level = 0; level < MERKLE_PATH_MAX; level++) {
        if ((tree->count >> level & 1) == 0)
            continue;
        hash = any ? merkle_node(&tree->peaks[level], &hash) : tree->peaks[level];
        any = true;
    }
    return hash;
}

static struct merkle_hash root_of(const struct merkle_hash *leaves, uint64_t count)
{
    struct merkle tree = {.count = 0};

    for (uint64_t i = 0; i < count; i++)
        merkle_add(&tree, &leaves[i]);
    return merkle_root(&tree);
}

/* The leaves of the left side of a tree of *count* > 1. */
static uint64_t left_count(uint64_t count)
{
    return UINT64_C(1) << (63 - __builtin_clzll(count - 1));
}

size_t merkle_path(const struct merkle_hash *leaves, uint64_t count, uint64_t index,
                   struct merkle_hash ret[MERKLE_PATH_MAX])
{
    struct merkle_hash down[MERKLE_PATH_MAX];
    size_t size = 0;

    while (count > 1) { /* from the root down; the path is told from the leaf up */
        uint64_t left = left_count(count);

        if (index < left) {
            down[size++] = root_of(leaves + left, count - left);
            count = left;
        } else {
            down[size++] = root_of(leaves, left);
            leaves += left;
            index -= left;
            count -= left;
        }
    }
    for (size_t i = 0; i < size; i++)
        ret[i] = down[size - 1 - i];
    return size;
}

bool merkle_follow(const struct merkle_hash *leaf, uint64_t count, uint64_t index, const struct merkle_hash *path,
                   size_t path_count, struct merkle_hash *ret)
{
    bool right[MERKLE_PATH_MAX]; /* from the root down: is the leaf on the right side? */
    struct merkle_hash hash = *leaf;
    size_t depth = 0;

    if (index >= count || count > UINT64_C(1) << 62)
        return false;
    for (uint64_t left; count > 1; depth++) {
        left = left_count(count);
        right[depth] = index >= left;
        count = right[depth] ? count - left : left;
        index -= right[depth] ? left : 0;
    }
    if (depth != path_count)
        return false;
    for (size_t i = 0; i < depth; i++)
        hash = right[depth - 1 - i] ? merkle_node(&path[i], &hash) : merkle_node(&hash, &path[i]);
    *ret = hash;
    return true;
}
