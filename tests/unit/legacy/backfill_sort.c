/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting rows as ORDER BY would, against a slow and simple sort. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "legacy/backfill_rows.h"
#include "os/random.h"
#include "support/seed.h"

enum {
    ROWS_MAX = 5000,
};

struct row {
    int64_t key;
    struct banyan_time at;
    struct banyan_decimal amount;
    bool flag;
    int64_t id; /* in the order in which they came */
    struct banyan_str text;
};

static const struct banyan_field fields[] = {
    BANYAN_FIELD_INT(struct row, id, 0),
    BANYAN_FIELD_INT(struct row, key, 0),
    BANYAN_FIELD_TIME(struct row, at, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_DECIMAL(struct row, amount, BANYAN_FIELD_OPTIONAL, 2),
    BANYAN_FIELD_BOOL(struct row, flag, 0),
    BANYAN_FIELD_STRING(struct row, text, 0),
};
static const struct banyan_record record = {"Row", sizeof(struct row), fields, 6};
static const char *const order[] = {"at", "amount", "flag", NULL};
static const struct banyan_legacy_table spec = {"rows", &record, "key", order};
static const struct legacy_table table = {.spec = &spec, .key_field = 1};

/* NULL last, as the rank of what is compared first. */
static int compare_simply(const struct row *a, const struct row *b)
{
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    bool a_null = a->at.us == BANYAN_TIME_NULL, b_null = b->at.us == BANYAN_TIME_NULL;
    if (a_null != b_null)
        return a_null ? 1 : -1;
    if (a->at.us != b->at.us)
        return a->at.us < b->at.us ? -1 : 1;
    /* numbers, then NaN, then NULL */
    int a_rank = a->amount.scale >= 0 ? 0 : a->amount.scale == BANYAN_DECIMAL_NAN ? 1 : 2;
    int b_rank = b->amount.scale >= 0 ? 0 : b->amount.scale == BANYAN_DECIMAL_NAN ? 1 : 2;
    if (a_rank != b_rank)
        return a_rank - b_rank;
    if (a_rank == 0 && a->amount.units != b->amount.units)
        return a->amount.units < b->amount.units ? -1 : 1;
    if (a->flag != b->flag)
        return a->flag ? 1 : -1;
    return a->id < b->id ? -1 : a->id > b->id; /* stable */
}

static int compare_pointers(const void *a, const void *b)
{
    return compare_simply(*(const struct row *const *)a, *(const struct row *const *)b);
}

static struct row random_row(struct os_random *random, int64_t id, unsigned keys, int64_t spread)
{
    static const struct banyan_time times[] = {{BANYAN_TIME_NULL},    {BANYAN_TIME_MINUS_INFINITY}, {-5}, {0}, {7},
                                               {BANYAN_TIME_INFINITY}};
    struct row row = {.id = id, .at = times[os_random_below(random, 6)], .flag = os_random_below(random, 2) == 1};
    row.key = (int64_t)((uint64_t)INT64_MIN + os_random_below(random, keys) * (uint64_t)spread);
    uint64_t kind = os_random_below(random, 8);
    row.amount = banyan_decimal_of((int64_t)os_random_below(random, 5) - 2, 2);
    if (kind == 0)
        row.amount = banyan_decimal_null();
    else if (kind == 1)
        row.amount = (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
    return row;
}

static void same_order_as_a_simple_sort(void **state)
{
    static struct row rows[ROWS_MAX];
    static const void *sorted[ROWS_MAX], *expected[ROWS_MAX];
    static const unsigned key_counts[] = {1, 3, 200, 100000};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct os_random random;
    seed_start(&random, "backfill_sort");
    for (unsigned round = 0; round < 60; round++) {
        unsigned keys = key_counts[round % 4];
        int64_t spread = round % 3 == 0 ? 1 : INT64_MAX / keys;
        size_t count = os_random_below(&random, round % 5 == 0 ? 3 : ROWS_MAX);
        for (size_t i = 0; i < count; i++) {
            rows[i] = random_row(&random, (int64_t)i, keys, spread);
            sorted[i] = expected[i] = &rows[i];
        }
        qsort(expected, count, sizeof(*expected), compare_pointers);
        backfill_rows_sort(&table, sorted, count, &arena);
        assert_memory_equal(sorted, expected, count * sizeof(*sorted));
        banyan_arena_reset(&arena);
    }
    banyan_arena_release(&arena);
}

static void text_is_left_to_the_server(void **state)
{
    static const char *const by_text[] = {"text", NULL}, *const by_other[] = {"elsewhere", NULL};
    struct banyan_legacy_table other = spec;
    assert_true(backfill_rows_sortable(&other));
    other.order_columns = NULL;
    assert_true(backfill_rows_sortable(&other));
    other.order_columns = by_text;
    assert_false(backfill_rows_sortable(&other));
    other.order_columns = by_other;
    assert_false(backfill_rows_sortable(&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_order_as_a_simple_sort),
        cmocka_unit_test(text_is_left_to_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
