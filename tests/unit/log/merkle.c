/* SPDX-License-Identifier: Apache-2.0 */
/* The Merkle tree: roots of small trees computed by another program from the definition, and every path of many trees.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "log/merkle.h"

enum {
    LEAVES_MAX = 70,
};

static struct merkle_hash from_hex(const char *text)
{
    struct merkle_hash hash;

    for (size_t i = 0; i < MERKLE_BYTES; i++)
        assert_int_equal(sscanf(text + 2 * i, "%2hhx", &hash.bytes[i]), 1);
    return hash;
}

/* The inputs that Certificate Transparency's tests use; the first root is that of nothing. */
static const struct {
    const char *bytes;
    size_t size;
    const char *root; /* with this leaf and those before it */
} known[] = {
    {"", 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
    {"\x00", 1, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
    {"\x10", 1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
    {"\x20\x21", 2, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
    {"\x30\x31", 2, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
    {"\x40\x41\x42\x43", 4, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
    {"\x50\x51\x52\x53\x54\x55\x56\x57", 8, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
    {"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16,
     "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
};

static void test_known_roots(void **state)
{
    struct merkle tree = {.count = 0};
    struct merkle_hash root = merkle_root(&tree), wanted;

    (void)state;
    wanted = from_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_memory_equal(&root, &wanted, sizeof(root));
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct merkle_hash leaf = merkle_leaf(known[i].bytes, known[i].size);

        merkle_add(&tree, &leaf);
        root = merkle_root(&tree);
        wanted = from_hex(known[i].root);
        assert_memory_equal(&root, &wanted, sizeof(root));
    }
}

static void test_known_path(void **state)
{
    struct merkle_hash leaves[7], path[MERKLE_PATH_MAX], wanted;

    (void)state;
    for (size_t i = 0; i < 7; i++)
        leaves[i] = merkle_leaf(known[i].bytes, known[i].size);
    assert_int_equal(merkle_path(leaves, 3, 2, path), 1);
    wanted = from_hex(known[1].root);
    assert_memory_equal(&path[0], &wanted, sizeof(wanted));
    /* Leaf 5 of 7: leaf 4, leaf 6, the root of the first four. */
    assert_int_equal(merkle_path(leaves, 7, 5, path), 3);
    assert_memory_equal(&path[0], &leaves[4], sizeof(wanted));
    assert_memory_equal(&path[1], &leaves[6], sizeof(wanted));
    wanted = from_hex(known[3].root);
    assert_memory_equal(&path[2], &wanted, sizeof(wanted));
}

/* Every leaf of every small tree: its path leads to the root, and nothing that is wrong about it does. */
static void test_all_paths(void **state)
{
    struct merkle_hash leaves[LEAVES_MAX], path[MERKLE_PATH_MAX], root, got;
    struct merkle tree = {.count = 0};

    (void)state;
    for (uint64_t count = 1; count <= LEAVES_MAX; count++) {
        leaves[count - 1] = merkle_leaf(&count, sizeof(count));
        merkle_add(&tree, &leaves[count - 1]);
        root = merkle_root(&tree);
        for (uint64_t i = 0; i < count; i++) {
            size_t size = merkle_path(leaves, count, i, path);

            assert_true(merkle_follow(&leaves[i], count, i, path, size, &got));
            assert_memory_equal(&got, &root, sizeof(root));
            assert_false(merkle_follow(&leaves[i], count, i, path, size + 1, &got));
            assert_false(merkle_follow(&leaves[i], count, count, path, size, &got));
            if (size == 0)
                continue;
            assert_false(merkle_follow(&leaves[i], count, i, path, size - 1, &got));
            assert_true(merkle_follow(&leaves[(i + 1) % count], count, i, path, size, &got));
            assert_memory_not_equal(&got, &root, sizeof(root));
            path[i % size].bytes[i % MERKLE_BYTES] ^= 1;
            assert_true(merkle_follow(&leaves[i], count, i, path, size, &got));
            assert_memory_not_equal(&got, &root, sizeof(root));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_roots),
        cmocka_unit_test(test_known_path),
        cmocka_unit_test(test_all_paths),
    };

    return cmocka_run_group_tests_name("log merkle", tests, NULL, NULL);
}
