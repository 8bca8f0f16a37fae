/* SPDX-License-Identifier: Apache-2.0 */
/* Open transactions: sub-transactions, spools, groups; by the numbers of docs/CAPTURE.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "legacy/transaction.h"
#include "os/random.h"
#include "support/doc_domain.h"
#include "support/test_domain.h"

enum {
    SMALL = 64 * 1024,
    KEYS_MAX = 5000,
};

struct rig {
    char *folder;
    struct transaction tx;
};

static int rig_up(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    rig->folder = test_folder_new();
    transaction_init(&rig->tx, doc_domain.mappings, 1, rig->folder, SMALL);
    *state = rig;
    return 0;
}

static int rig_down(void **state)
{
    struct rig *rig = *state;
    transaction_release(&rig->tx);
    test_folder_remove(rig->folder);
    free(rig);
    return 0;
}

static void add(struct transaction *tx, uint32_t subxid, int64_t key, int64_t number, size_t text_bytes)
{
    struct banyan_arena *arena = transaction_arena(tx);
    struct doc_row *row = banyan_arena_alloc(arena, sizeof(*row));
    banyan_record_init(doc_domain.mappings->tables[0].row, row);
    char *text = banyan_arena_alloc(arena, text_bytes + 1);
    memset(text, 'a' + (int)(number % 26), text_bytes);
    row->id = key;
    row->title = (struct banyan_str){text, text_bytes};
    row->amount = banyan_decimal_of(number, 4);
    row->changed_at.us = number;
    struct row_change change = {
        .subxid = subxid,
        .kind = BANYAN_CHANGE_INSERT,
        .key = key,
        .new_row = row,
        .new_fields = row_change_all_fields(doc_domain.mappings->tables[0].row),
    };
    assert_int_equal(transaction_add(tx, &change, 1, NULL), BANYAN_OK);
}

/* What came out of the groups. */
struct seen {
    struct hash keys; /* key → this: each key has one group */
    int64_t numbers[1 << 16];
    int64_t first_keys[KEYS_MAX];
    size_t count, groups;
    uint64_t order; /* of all, as a hash */
};

static enum banyan_status see(void *context, int64_t key, struct row_change *rows, size_t count,
                              struct banyan_error *err)
{
    struct seen *seen = context;
    (void)err;
    assert_null(hash_put(&seen->keys, key, seen));
    if (seen->groups < KEYS_MAX)
        seen->first_keys[seen->groups] = key;
    seen->groups++;
    int64_t before = INT64_MIN;
    for (size_t i = 0; i < count; i++) {
        const struct doc_row *row = rows[i].new_row;
        assert_int_equal(rows[i].key, key);
        assert_int_equal(row->id, key);
        assert_true(row->changed_at.us > before); /* in the order in which they were made */
        assert_int_equal((int64_t)row->amount.units, row->changed_at.us);
        if (row->title.size > 0)
            assert_int_equal(row->title.data[row->title.size - 1], 'a' + (int)(row->changed_at.us % 26));
        before = row->changed_at.us;
        seen->numbers[seen->count++] = before;
        seen->order = hash_mix(seen->order ^ (uint64_t)before);
    }
    return BANYAN_OK;
}

static struct seen *groups_of(struct transaction *tx)
{
    struct seen *seen = calloc(1, sizeof(*seen));
    assert_int_equal(transaction_finish(tx, NULL), BANYAN_OK);
    assert_int_equal(transaction_each_group(tx, see, NULL, seen, NULL), BANYAN_OK);
    return seen;
}

static void seen_free(struct seen *seen)
{
    hash_release(&seen->keys);
    free(seen);
}

static void test_small_groups_in_order_of_first_change(void **state)
{
    struct rig *rig = *state;
    const int64_t keys[] = {7, 3, 7, -1, 3, 7, 9};
    transaction_reset(&rig->tx, 100);
    for (size_t i = 0; i < 7; i++)
        add(&rig->tx, 0, keys[i], (int64_t)i, 10);
    struct seen *seen = groups_of(&rig->tx);
    assert_false(transaction_is_large(&rig->tx));
    const int64_t groups[] = {7, 3, -1, 9}, numbers[] = {0, 2, 5, 1, 4, 3, 6};
    assert_int_equal(seen->groups, 4);
    assert_memory_equal(seen->first_keys, groups, sizeof(groups));
    assert_memory_equal(seen->numbers, numbers, sizeof(numbers));
    seen_free(seen);
}

/* Case 16: 501 rows, savepoint, 501 rows, back to it, 1 row: 502, and the later row carries a third id. */
static void case_16(struct transaction *tx, bool streamed, size_t text_bytes)
{
    transaction_reset(tx, 500);
    tx->streamed = streamed;
    for (int64_t i = 0; i < 501; i++)
        add(tx, 500, i, i, text_bytes);
    for (int64_t i = 501; i < 1002; i++)
        add(tx, 501, i, i, text_bytes);
    transaction_abort_sub(tx, 501);
    add(tx, 502, 1002, 1002, text_bytes);
    struct seen *seen = groups_of(tx);
    assert_int_equal(seen->count, 502);
    assert_int_equal(tx->total_count, 502);
    for (size_t i = 0; i < seen->count; i++)
        assert_true(seen->numbers[i] < 501 || seen->numbers[i] == 1002);
    seen_free(seen);
}

static void test_case_16_savepoint_rollback(void **state)
{
    struct rig *rig = *state;
    case_16(&rig->tx, true, 1);
    case_16(&rig->tx, true, 2000);
    case_16(&rig->tx, false, 2000);
}

/* Invariant 2: the same content in another packing gives the same groups, also around the limit. */
static void test_grouping_depends_on_content_only(void **state)
{
    struct rig *rig = *state;
    struct os_random random;
    uint64_t seed = test_seed();
    os_random_seed(&random, seed);
    for (int round = 0; round < 60; round++) {
        size_t rows = 1 + os_random_below(&random, 600), text = os_random_below(&random, 400);
        int64_t keys = 1 + (int64_t)os_random_below(&random, 200);
        uint64_t content = os_random_next(&random);
        uint64_t order[3];
        for (int packing = 0; packing < 3; packing++) {
            struct os_random inner;
            os_random_seed(&inner, content);
            transaction_reset(&rig->tx, 1);
            rig->tx.streamed = packing > 0;
            for (size_t i = 0; i < rows; i++) {
                int64_t key = (int64_t)os_random_below(&inner, (uint64_t)keys);
                add(&rig->tx, 0, key, (int64_t)i, text);
                if (packing == 2) /* a roll back that leaves nothing but its traces in the spool */
                    add(&rig->tx, 77, key, (int64_t)i, text);
            }
            if (packing == 2)
                transaction_abort_sub(&rig->tx, 77);
            struct seen *seen = groups_of(&rig->tx);
            assert_int_equal(seen->count, rows);
            order[packing] = seen->order;
            seen_free(seen);
        }
        assert_int_equal(order[0], order[1]);
        assert_int_equal(order[0], order[2]);
    }
}

static void test_large_transaction_stays_within_its_memory(void **state)
{
    struct rig *rig = *state;
    transaction_reset(&rig->tx, 9);
    size_t arena_max = 0;
    for (int64_t i = 0; i < 20000; i++) {
        add(&rig->tx, 0, i % KEYS_MAX, i, 200);
        arena_max = rig->tx.arena.bytes > arena_max ? rig->tx.arena.bytes : arena_max;
    }
    assert_true(rig->tx.total_bytes > 100 * SMALL / 2);
    struct seen *seen = groups_of(&rig->tx);
    assert_true(transaction_is_large(&rig->tx));
    assert_int_equal(seen->count, 20000);
    assert_int_equal(seen->groups, KEYS_MAX);
    assert_true(arena_max < 4 * SMALL);
    seen_free(seen);
}

/* Case 15: transactions that are open at once do not touch each other. */
static void test_case_15_open_transactions_interleave(void **state)
{
    struct rig *rig = *state;
    struct transaction other;
    transaction_init(&other, doc_domain.mappings, 1, rig->folder, SMALL);
    transaction_reset(&other, 2);
    transaction_reset(&rig->tx, 1);
    other.streamed = rig->tx.streamed = true;
    for (int64_t i = 0; i < 3000; i++) {
        add(&rig->tx, 1, 2 * i % KEYS_MAX, 2 * i, 100);
        add(&other, 2, (2 * i + 1) % KEYS_MAX, 2 * i + 1, 100);
    }
    struct seen *even = groups_of(&rig->tx), *odd = groups_of(&other);
    assert_int_equal(even->count, 3000);
    assert_int_equal(odd->count, 3000);
    for (size_t i = 0; i < 3000; i++) {
        assert_int_equal(even->numbers[i] % 2, 0);
        assert_int_equal(odd->numbers[i] % 2, 1);
    }
    seen_free(even);
    seen_free(odd);
    transaction_release(&other);
}

static void test_notes_of_rolled_back_parts_are_gone(void **state)
{
    struct rig *rig = *state;
    transaction_reset(&rig->tx, 1);
    transaction_fence(&rig->tx, 1, BANYAN_STR("kept"));
    transaction_fence(&rig->tx, 2, BANYAN_STR("gone"));
    transaction_truncate(&rig->tx, 2, 0, 0);
    transaction_abort_sub(&rig->tx, 2);
    assert_int_equal(transaction_finish(&rig->tx, NULL), BANYAN_OK);
    assert_int_equal(rig->tx.fences.count, 1);
    assert_int_equal(rig->tx.fences.items[0].token.size, 4);
    assert_int_equal(rig->tx.truncations.count, 0);
}

static void test_row_change_survives_its_encoding(void **state)
{
    (void)state;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_buf encoded = BANYAN_BUF_INIT(1 << 20);
    struct doc_row old = {.id = 5, .title = BANYAN_STR("x"), .changed_at = {-7}};
    struct doc_row new = {.id = 5, .title = BANYAN_STR(""), .amount = banyan_decimal_of(-123456789, 4)};
    struct row_change change = {.subxid = 3,
                                .kind = BANYAN_CHANGE_UPDATE,
                                .key = 5,
                                .old_fields = 1,
                                .new_fields = 11,
                                .old_row = &old,
                                .new_row = &new};
    struct row_change back;
    row_change_measure(doc_domain.mappings, &change);
    row_change_encode(doc_domain.mappings, &change, &encoded);
    assert_int_equal(row_change_decode(doc_domain.mappings, banyan_buf_str(&encoded), &arena, &back, NULL), BANYAN_OK);
    const struct doc_row *row = back.new_row;
    assert_int_equal(back.subxid, 3);
    assert_int_equal(back.bytes, change.bytes);
    assert_int_equal(back.old_fields, 1);
    assert_int_equal(((const struct doc_row *)back.old_row)->id, 5);
    assert_null(((const struct doc_row *)back.old_row)->body.data);
    assert_true((int64_t)row->amount.units == -123456789);
    assert_non_null(row->title.data);
    assert_int_equal(row->title.size, 0);
    /* Every shorter or longer one is refused. */
    for (size_t size = 0; size < encoded.size; size++)
        assert_int_equal(
            row_change_decode(doc_domain.mappings, (struct banyan_str){encoded.data, size}, &arena, &back, NULL),
            BANYAN_CORRUPT);
    banyan_buf_add_char(&encoded, 'x');
    assert_int_equal(row_change_decode(doc_domain.mappings, banyan_buf_str(&encoded), &arena, &back, NULL),
                     BANYAN_CORRUPT);
    banyan_buf_release(&encoded);
    banyan_arena_release(&arena);
}

static void test_spool_folder_is_cleaned(void **state)
{
    struct rig *rig = *state;
    char path[512];
    snprintf(path, sizeof(path), "%s/spool-1-1", rig->folder);
    FILE *left = fopen(path, "w");
    assert_non_null(left);
    fclose(left);
    assert_int_equal(spool_clean(rig->folder, NULL), BANYAN_OK);
    assert_null(fopen(path, "r"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_small_groups_in_order_of_first_change, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_case_15_open_transactions_interleave, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_case_16_savepoint_rollback, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_grouping_depends_on_content_only, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_large_transaction_stays_within_its_memory, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_notes_of_rolled_back_parts_are_gone, rig_up, rig_down),
        cmocka_unit_test(test_row_change_survives_its_encoding),
        cmocka_unit_test_setup_teardown(test_spool_folder_is_cleaned, rig_up, rig_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
