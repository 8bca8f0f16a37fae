/* SPDX-License-Identifier: Apache-2.0 */
/* The parallel fold against a plain one: rows, counts, keys aside, slices, memory. */
#include "projection/rebuild_fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/tally.h"
#include "support/test_domain.h"

struct world {
    char *folder;
    struct store *store;
    struct os_random random;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    world->folder = test_folder_new();
    os_random_seed(&world->random, test_seed());
    assert_int_equal(store_open(&(struct store_options){.folder = world->folder}, &world->store, NULL), BANYAN_OK);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    store_close(world->store);
    test_folder_remove(world->folder);
    free(world);
    return 0;
}

static enum banyan_status fold(struct world *world, const struct banyan_projection *projection, unsigned workers,
                               unsigned slice, unsigned slices, size_t bytes_max, struct rebuild_folded *ret,
                               struct banyan_position *ret_reached)
{
    struct seen_rules *rules = seen_rules_new(world->store, &tally_domain, projection);
    struct rebuild_fold_options options = {
        .projection = projection,
        .rules = rules,
        .store = world->store,
        .last = store_durable(world->store),
        .workers = workers,
        .slice = slice,
        .slices = slices,
        .bytes_max = bytes_max,
        .chunk_events = 256,
    };
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status st = rebuild_fold(&options, ret, ret_reached, &err);
    seen_rules_free(rules);
    return st;
}

/* Each row is the plain one's; gives how many there are. */
static size_t compare_rows(const struct rebuild_folded *folded, const struct tally_plain *plain,
                           const struct banyan_projection *projection, unsigned table)
{
    size_t count = 0;
    for (size_t i = 0; i < folded->table_count; i++) {
        size_t rows_count = rebuild_table_count(folded->tables[i], table);
        struct sink_row *rows = calloc(rows_count + 1, sizeof(*rows));
        rebuild_table_rows(folded->tables[i], table, rows);
        assert_null(rows[rows_count].row);
        for (size_t j = 0; j < rows_count; j++) {
            const void *want = tally_plain_row(plain, table, rows[j].key);
            assert_non_null(want);
            assert_int_equal(banyan_record_diff(projection->tables[table].row, want, rows[j].row), 0);
        }
        free(rows);
        count += rows_count;
    }
    return count;
}

static const struct sink_aside *find_aside(const struct sink_aside *asides, size_t count, const struct sink_aside *like)
{
    for (size_t i = 0; i < count; i++)
        if (asides[i].by_stream == like->by_stream && asides[i].key == like->key &&
            (!like->by_stream || banyan_str_equal(asides[i].stream, like->stream)))
            return &asides[i];
    return NULL;
}

static void add_asides(struct sink_aside *sum, size_t *count, const struct rebuild_folded *folded)
{
    for (size_t i = 0; i < folded->aside_count; i++) {
        const struct sink_aside *same = find_aside(sum, *count, &folded->asides[i]);
        if (same != NULL)
            sum[same - sum].held += folded->asides[i].held;
        else
            sum[(*count)++] = folded->asides[i];
        assert_true(folded->asides[i].reason.size > 0);
    }
}

static void check(struct world *world, const struct banyan_projection *projection, unsigned workers, unsigned slices)
{
    struct tally_plain *plain = tally_plain_new(world->store, projection, store_durable(world->store));
    size_t counts[BANYAN_PROJECTION_TABLES_MAX] = {0}, aside_count = 0, want_count;
    const struct sink_aside *want = tally_plain_asides(plain, &want_count);
    struct sink_aside *asides = calloc(want_count * slices + 16, sizeof(*asides));
    struct rebuild_folded *folded = calloc(slices, sizeof(*folded));
    for (unsigned slice = 0; slice < slices; slice++) {
        struct banyan_position reached;
        assert_int_equal(fold(world, projection, workers, slice, slices, SIZE_MAX, &folded[slice], &reached),
                         BANYAN_OK);
        assert_int_equal(reached.value, store_durable(world->store).value);
        for (unsigned table = 0; table < projection->table_count; table++)
            counts[table] += compare_rows(&folded[slice], plain, projection, table);
        add_asides(asides, &aside_count, &folded[slice]);
    }
    for (unsigned table = 0; table < projection->table_count; table++)
        assert_int_equal(counts[table], tally_plain_count(plain, table));
    assert_int_equal(aside_count, want_count);
    for (size_t i = 0; i < want_count; i++) {
        const struct sink_aside *have = find_aside(asides, aside_count, &want[i]);
        assert_non_null(have);
        assert_int_equal(have->position.value, want[i].position.value);
        assert_int_equal(have->held, want[i].held);
    }
    for (unsigned slice = 0; slice < slices; slice++)
        rebuild_folded_release(&folded[slice]);
    free(folded);
    free(asides);
    tally_plain_free(plain);
}

static void test_all_views(void **state)
{
    struct world *world = *state;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 30000, .keys = 2000, .elsewhere = 20});
    for (unsigned view = 0; view < TALLY_VIEWS; view++)
        for (unsigned workers = 1; workers <= 4; workers++)
            check(world, &tally_projections[view], workers, 1);
}

static void test_poison(void **state)
{
    struct world *world = *state;
    tally_append(world->store, &world->random,
                 &(struct tally_append){.count = 30000, .keys = 2000, .poison = 40, .elsewhere = 5, .batch = 37});
    for (unsigned view = 0; view < TALLY_VIEWS; view++)
        for (unsigned workers = 1; workers <= 3; workers++)
            check(world, &tally_projections[view], workers, 1);
}

static void test_slices(void **state)
{
    struct world *world = *state;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 20000, .keys = 3000, .poison = 40});
    for (unsigned slices = 2; slices <= 5; slices++) {
        check(world, &tally_projections[TALLY_VIEW_ORDERS], 2, slices);
        check(world, &tally_projections[TALLY_VIEW_SHOPS], 3, slices);
    }
}

static void test_empty(void **state)
{
    struct world *world = *state;
    struct rebuild_folded folded;
    struct banyan_position reached;
    assert_int_equal(fold(world, &tally_projections[0], 2, 0, 1, SIZE_MAX, &folded, &reached), BANYAN_OK);
    assert_int_equal(folded.table_count, 2);
    assert_int_equal(reached.value, 0);
    rebuild_folded_release(&folded);
}

/* Too many rows: told where, or, where keys cannot be sliced, what fits up to where. */
static void test_memory(void **state)
{
    struct world *world = *state;
    struct rebuild_folded folded;
    struct banyan_position reached;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 60000, .keys = 100000});
    assert_int_equal(fold(world, &tally_projections[TALLY_VIEW_ORDERS], 2, 0, 1, 2 << 20, &folded, &reached),
                     BANYAN_LIMIT);
    assert_in_range(reached.value, 1, 59999);
    const struct banyan_projection *joined = &tally_projections[TALLY_VIEW_JOINED];
    assert_int_equal(fold(world, joined, 2, 0, 1, 2 << 20, &folded, &reached), BANYAN_OK);
    assert_in_range(reached.value, 1, 59999);
    assert_int_equal(folded.last.value, reached.value);
    struct tally_plain *plain = tally_plain_new(world->store, joined, reached);
    for (unsigned table = 0; table < 2; table++)
        assert_int_equal(compare_rows(&folded, plain, joined, table), tally_plain_count(plain, table));
    tally_plain_free(plain);
    rebuild_folded_release(&folded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_views, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_poison, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
