/* SPDX-License-Identifier: Apache-2.0 */
/* Arenas: random allocations keep their bytes and do not overlap; a loop with reset settles on one block. */
#include "banyan/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/seed.h"

enum {
    PIECES = 500,
};

static void pieces_keep_their_bytes(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "pieces_keep_their_bytes");
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    for (unsigned round = 0; round < seed_rounds(20); round++) {
        unsigned char *pieces[PIECES];
        size_t sizes[PIECES];
        for (int i = 0; i < PIECES; i++) {
            sizes[i] = os_random_below(&random, os_random_below(&random, 50) == 0 ? 20000 : 100);
            pieces[i] = banyan_arena_alloc(&arena, sizes[i]);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            memset(pieces[i], i & 0xFF, sizes[i]);
        }
        for (int i = 0; i < PIECES; i++) {
            for (size_t at = 0; at < sizes[i]; at++)
                assert_int_equal(pieces[i][at], i & 0xFF);
        }
        banyan_arena_reset(&arena);
    }
    banyan_arena_release(&arena);
    assert_null(arena.blocks);
    assert_int_equal(arena.bytes, 0);
}

static void a_loop_settles_on_one_block(void **state)
{
    (void)state;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    void *block = NULL;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 1000; i++)
            memset(banyan_arena_alloc(&arena, 300), round, 300);
        if (round == 5)
            block = arena.blocks;
        if (round > 5)
            assert_ptr_equal(arena.blocks, block);
        banyan_arena_reset(&arena);
    }
    banyan_arena_release(&arena);
}

static void a_huge_piece_is_given_back_at_reset(void **state)
{
    (void)state;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    (void)banyan_arena_alloc(&arena, 10);       /* its address does not matter */
    (void)banyan_arena_alloc(&arena, 64 << 20); /* as above */
    assert_true(arena.bytes >= 64 << 20);
    banyan_arena_reset(&arena);
    assert_true(arena.bytes <= 4 << 20);
    banyan_arena_release(&arena);
    banyan_arena_release(&arena); /* twice is fine */
    banyan_arena_release(NULL);
}

/* Turns that need the same find all their memory, large pieces too, in what the first one had. */
static void a_keeping_loop_allocates_once(void **state)
{
    (void)state;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    size_t bytes = 0;
    for (int round = 0; round < 10; round++) {
        unsigned char *large = banyan_arena_alloc(&arena, 9 << 20), *last = NULL;
        memset(large, round, 9 << 20);
        for (int i = 0; i < 30000; i++)
            last = memset(banyan_arena_alloc(&arena, 300), 0xFF, 300);
        assert_int_equal(large[0], round);
        assert_int_equal(large[(9 << 20) - 1], round);
        assert_int_equal(last[299], 0xFF);
        if (round == 0)
            bytes = arena.bytes;
        assert_int_equal(arena.bytes, bytes);
        banyan_arena_reset_keeping(&arena, 64 << 20);
        assert_int_equal(arena.bytes, bytes);
    }
    banyan_arena_reset_keeping(&arena, 10 << 20);
    assert_true(arena.bytes <= 10 << 20);
    (void)banyan_arena_alloc(&arena, 100); /* its address does not matter */
    banyan_arena_reset(&arena);
    assert_true(arena.bytes <= 4 << 20);
    banyan_arena_reset_keeping(&arena, 0);
    assert_int_equal(arena.bytes, 0);
    banyan_arena_release(&arena);
}

static void zeroed_memory_is_zero_after_reset(void **state)
{
    (void)state;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    memset(banyan_arena_alloc(&arena, 1000), 0xAA, 1000);
    banyan_arena_reset(&arena);
    const unsigned char *zeroed = banyan_arena_zalloc(&arena, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(zeroed[i], 0);
    banyan_arena_release(&arena);
}

static void texts_are_copied(void **state)
{
    (void)state;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_str copy = banyan_arena_str(&arena, BANYAN_STR("a\0b"));
    assert_int_equal(copy.size, 3);
    assert_memory_equal(copy.data, "a\0b", 4);
    assert_null(banyan_arena_str(&arena, (struct banyan_str){NULL, 0}).data);
    struct banyan_str empty = banyan_arena_str(&arena, (struct banyan_str){"", 0});
    assert_non_null(empty.data);
    assert_int_equal(empty.size, 0);
    struct banyan_str text = banyan_arena_printf(&arena, "%s-%d", "order", 17);
    assert_string_equal(text.data, "order-17");
    assert_int_equal(text.size, 8);
    banyan_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_keep_their_bytes),
        cmocka_unit_test(a_loop_settles_on_one_block),
        cmocka_unit_test(a_huge_piece_is_given_back_at_reset),
        cmocka_unit_test(a_keeping_loop_allocates_once),
        cmocka_unit_test(zeroed_memory_is_zero_after_reset),
        cmocka_unit_test(texts_are_copied),
    };
    return cmocka_run_group_tests_name("base-arena", tests, NULL, NULL);
}
