/* SPDX-License-Identifier: Apache-2.0 */
/* Each rule of the hand-over by itself; handover_sim.c has them all together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "legacy/handover.h"

#define ONE BANYAN_STR("one")
#define TWO BANYAN_STR("two")

static const uint64_t running[] = {12, 15};
/* Sees everything below 12, and 13, 14, 16 … 19. */
static const struct pg_snapshot snapshot = {.xmin = 12, .xmax = 20, .xip = running, .xip_count = 2};
static const struct pg_snapshot later = {.xmin = 30, .xmax = 30};

static void assert_text(struct banyan_str text, const char *expected)
{
    assert_int_equal(text.size, strlen(expected));
    assert_memory_equal(text.data, expected, text.size);
}

static void assert_unread(const struct handover *handover, int64_t expected_lo, int64_t expected_hi)
{
    int64_t lo = 1, hi = 0;
    assert_true(handover_unread(handover, &lo, &hi));
    assert_int_equal(lo, expected_lo);
    assert_int_equal(hi, expected_hi);
}

static void all_is_unread_at_first(void **state)
{
    struct handover *handover = handover_new();
    assert_unread(handover, INT64_MIN, INT64_MAX);
    assert_false(handover_complete(handover));
    assert_int_equal(handover_decide(handover, 5, 0), HANDOVER_HOLD);
    assert_int_equal(handover_decide(handover, 5, INT64_MIN), HANDOVER_HOLD);
    assert_int_equal(handover_decide(handover, 5, INT64_MAX), HANDOVER_HOLD);
    handover_free(handover);
}

static void done_chunk_decides_by_its_snapshot(void **state)
{
    struct handover *handover = handover_new();
    struct handover_chunk chunk = handover_chunk_begin(handover, 100, INT64_MAX);
    assert_int_equal(chunk.id, 1);
    assert_int_equal(handover_decide(handover, 11, 100), HANDOVER_HOLD);
    size_t count;
    handover_chunk_end(handover, chunk.id, &snapshot, &count);
    assert_int_equal(count, 0);
    assert_int_equal(handover_decide(handover, 11, 100), HANDOVER_DROP);
    assert_int_equal(handover_decide(handover, 12, 100), HANDOVER_APPLY);
    assert_int_equal(handover_decide(handover, 13, INT64_MAX), HANDOVER_DROP);
    assert_int_equal(handover_decide(handover, 15, INT64_MAX), HANDOVER_APPLY);
    assert_int_equal(handover_decide(handover, 20, 100), HANDOVER_APPLY);
    assert_int_equal(handover_decide(handover, 11, 99), HANDOVER_HOLD);
    assert_unread(handover, INT64_MIN, 100);
    handover_free(handover);
}

static void held_changes_are_decided_at_the_end_in_order(void **state)
{
    struct handover *handover = handover_new();
    struct handover_chunk chunk = handover_chunk_begin(handover, 100, INT64_MAX);
    handover_hold(handover, 15, 101, ONE);
    handover_hold(handover, 13, 101, ONE); /* seen: in the rows */
    handover_hold(handover, 12, 50, ONE);  /* of another chunk */
    handover_hold(handover, 21, 100, TWO);
    size_t count;
    const struct handover_held *held = handover_chunk_end(handover, chunk.id, &snapshot, &count);
    assert_int_equal(count, 2);
    assert_int_equal(held[0].xid, 15);
    assert_int_equal(held[0].key, 101);
    assert_text(held[0].change, "one");
    assert_int_equal(held[1].xid, 21);
    assert_text(held[1].change, "two");
    struct handover_stats stats;
    handover_stats(handover, &stats);
    assert_int_equal(stats.held, 1);
    assert_int_equal(stats.held_max, 4);
    assert_int_equal(stats.dropped, 1);
    assert_int_equal(stats.applied_late, 2);
    assert_int_equal(stats.chunks_done, 1);
    handover_free(handover);
}

static void poll_drops_what_unread_keys_will_show(void **state)
{
    struct handover *handover = handover_new();
    struct handover_chunk chunk = handover_chunk_begin(handover, 100, INT64_MAX);
    handover_hold(handover, 13, 101, ONE); /* its snapshot may be older than the poll */
    handover_hold(handover, 13, 50, ONE);
    handover_hold(handover, 15, 50, TWO);
    handover_poll(handover, &snapshot);
    struct handover_stats stats;
    handover_stats(handover, &stats);
    assert_int_equal(stats.held, 2);
    assert_int_equal(handover_decide(handover, 13, 50), HANDOVER_DROP);
    assert_int_equal(handover_decide(handover, 15, 50), HANDOVER_HOLD);
    assert_int_equal(handover_decide(handover, 13, 101), HANDOVER_HOLD);
    size_t count;
    static const struct pg_snapshot early = {.xmin = 13, .xmax = 13};
    const struct handover_held *held = handover_chunk_end(handover, chunk.id, &early, &count);
    assert_int_equal(count, 1);
    assert_int_equal(held[0].key, 101);
    handover_free(handover);
}

static void abandoned_chunk_is_unread_again_and_keeps_what_it_held(void **state)
{
    struct handover *handover = handover_new();
    struct handover_chunk first = handover_chunk_begin(handover, 100, INT64_MAX);
    struct handover_chunk second = handover_chunk_begin(handover, 50, 100);
    handover_hold(handover, 15, 101, ONE);
    assert_unread(handover, INT64_MIN, 50);
    handover_chunk_abandon(handover, first.id);
    assert_unread(handover, 100, INT64_MAX);
    handover_chunk_abandon(handover, second.id);
    assert_unread(handover, INT64_MIN, INT64_MAX);
    struct handover_chunk all = handover_chunk_begin(handover, INT64_MIN, INT64_MAX);
    assert_int_equal(all.id, 3);
    int64_t lo, hi;
    assert_false(handover_unread(handover, &lo, &hi));
    size_t count;
    handover_chunk_end(handover, all.id, &snapshot, &count);
    assert_int_equal(count, 1);
    assert_true(handover_complete(handover));
    handover_free(handover);
}

static void recovery_in_either_order(void **state)
{
    for (int chunks_first = 0; chunks_first < 2; chunks_first++) {
        struct handover *handover = handover_new();
        if (chunks_first)
            handover_chunk_restore(handover, 100, INT64_MAX, &snapshot);
        handover_hold(handover, 15, 101, ONE); /* was decided when the chunk ended */
        handover_hold(handover, 15, 50, ONE);
        handover_hold_range(handover, 16, INT64_MIN, INT64_MAX, TWO);
        if (!chunks_first)
            handover_chunk_restore(handover, 100, INT64_MAX, &snapshot);
        struct handover_stats stats;
        handover_stats(handover, &stats);
        assert_int_equal(stats.held, 2);
        assert_int_equal(handover_decide(handover, 15, 100), HANDOVER_APPLY);
        struct handover_chunk chunk = handover_chunk_begin(handover, INT64_MIN, 100);
        static const struct pg_snapshot none = {.xmin = 3, .xmax = 3};
        size_t count;
        const struct handover_held *held = handover_chunk_end(handover, chunk.id, &none, &count);
        assert_int_equal(count, 2);
        assert_false(held[0].is_range);
        assert_true(held[1].is_range);
        assert_int_equal(held[1].key, INT64_MIN);
        assert_int_equal(held[1].range_hi, 100);
        assert_true(handover_complete(handover));
        handover_free(handover);
    }
}

static void count_range(void *context, int64_t lo, int64_t hi, enum handover_decision decision)
{
    unsigned *counts = context;
    counts[decision]++;
    assert_true(lo < hi);
}

/* A TRUNCATE that is held for all unread keys is cut where a chunk is: the parts have their own fates. */
static void held_range_is_cut_with_the_chunk(void **state)
{
    struct handover *handover = handover_new();
    handover_hold(handover, 14, 60, ONE);
    handover_hold_range(handover, 15, INT64_MIN, INT64_MAX, TWO);
    handover_hold(handover, 16, 60, ONE);
    struct handover_chunk chunk = handover_chunk_begin(handover, 50, INT64_MAX);
    unsigned counts[4] = {0};
    handover_each_range(handover, 15, count_range, counts);
    assert_int_equal(counts[HANDOVER_HOLD], 2);
    handover_poll(handover, &later); /* sees 15: the unread part goes, that of the chunk being read stays */
    size_t count;
    static const struct pg_snapshot none = {.xmin = 3, .xmax = 3};
    const struct handover_held *held = handover_chunk_end(handover, chunk.id, &none, &count);
    assert_int_equal(count, 3);
    assert_int_equal(held[0].xid, 14);
    assert_true(held[1].is_range);
    assert_int_equal(held[1].key, 50);
    assert_int_equal(held[1].range_hi, INT64_MAX);
    assert_text(held[1].change, "two");
    assert_int_equal(held[2].xid, 16);
    struct handover_stats stats;
    handover_stats(handover, &stats);
    assert_int_equal(stats.held, 0);
    memset(counts, 0, sizeof(counts));
    handover_each_range(handover, 40, count_range, counts);
    assert_int_equal(counts[HANDOVER_APPLY], 1);
    assert_int_equal(counts[HANDOVER_HOLD], 1);
    handover_free(handover);
}

static void retires_only_when_nothing_can_be_seen_any_more(void **state)
{
    struct handover *handover = handover_new();
    static const struct pg_snapshot too_early = {.xmin = 19, .xmax = 40}, enough = {.xmin = 20, .xmax = 40};
    assert_false(handover_retire(handover, &enough));
    struct handover_chunk chunk = handover_chunk_begin(handover, INT64_MIN, INT64_MAX);
    assert_false(handover_retire(handover, &enough));
    size_t count;
    handover_chunk_end(handover, chunk.id, &snapshot, &count);
    assert_false(handover_retire(handover, &too_early));
    assert_int_equal(handover_decide(handover, 13, 1), HANDOVER_DROP);
    assert_true(handover_retire(handover, &enough));
    assert_int_equal(handover_decide(handover, 13, 1), HANDOVER_APPLY);
    assert_true(handover_retire(handover, &too_early));
    handover_free(handover);
}

static void many_chunks_find_their_keys(void **state)
{
    struct handover *handover = handover_new();
    int64_t hi = INT64_MAX;
    for (int64_t border = 990; border >= 0; border -= 10) {
        struct handover_chunk chunk = handover_chunk_begin(handover, border, hi);
        struct pg_snapshot own = {.xmin = (uint64_t)(2000 - border), .xmax = (uint64_t)(2000 - border)};
        size_t count;
        handover_chunk_end(handover, chunk.id, &own, &count);
        hi = border;
    }
    for (int64_t key = 0; key < 1100; key++) {
        uint64_t limit = (uint64_t)(2000 - (key >= 1000 ? 990 : key / 10 * 10));
        assert_int_equal(handover_decide(handover, limit - 1, key), HANDOVER_DROP);
        assert_int_equal(handover_decide(handover, limit, key), HANDOVER_APPLY);
    }
    assert_int_equal(handover_decide(handover, 1, -1), HANDOVER_HOLD);
    handover_free(handover);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_unread_at_first),
        cmocka_unit_test(done_chunk_decides_by_its_snapshot),
        cmocka_unit_test(held_changes_are_decided_at_the_end_in_order),
        cmocka_unit_test(poll_drops_what_unread_keys_will_show),
        cmocka_unit_test(abandoned_chunk_is_unread_again_and_keeps_what_it_held),
        cmocka_unit_test(recovery_in_either_order),
        cmocka_unit_test(held_range_is_cut_with_the_chunk),
        cmocka_unit_test(retires_only_when_nothing_can_be_seen_any_more),
        cmocka_unit_test(many_chunks_find_their_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
