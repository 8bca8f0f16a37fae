/* SPDX-License-Identifier: Apache-2.0 */
/* The mapper over a real store: ids, meta, proof and reconciling, states from cache and streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "legacy/mapper_int.h"
#include "support/baskets.h"
#include "support/test_domain.h"

struct world {
    char *folder;
    struct store *store;
    struct mapper *mapper;
    struct banyan_arena arena;
    struct mapper_events events;
    struct banyan_error err;
    uint64_t lsn;
};

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != BANYAN_OK)                                                                                       \
            fail_msg("%s: %s (%s)", #call, world->err.message, world->err.detail);                                     \
    } while (0)

static const struct mapper_origin backfill = {.time = {5}};

static struct mapper *new_mapper(struct world *world, size_t keys_max)
{
    struct mapper_options options = {.domain = &baskets_domain,
                                     .store = world->store,
                                     .source_id = BANYAN_STR("42/shop"),
                                     .cached_keys_max = keys_max};
    return mapper_new(&options);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->folder = test_folder_new();
    struct store_options options = {.folder = world->folder};
    OK(store_open(&options, &world->store, &world->err));
    world->mapper = new_mapper(world, 0);
    world->lsn = 0x16B374D848;
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    mapper_free(world->mapper);
    store_close(world->store);
    banyan_arena_release(&world->arena);
    test_folder_remove(world->folder);
    free(world);
    return 0;
}

/* ---- helpers ---- */

static void assert_text(struct banyan_str text, const char *expected)
{
    if (text.size != strlen(expected) || memcmp(text.data, expected, text.size) != 0)
        fail_msg("\"%.*s\" is not \"%s\"", (int)text.size, text.data, expected);
}

static enum banyan_status map_history(struct world *world, int64_t key, const char *name, size_t items)
{
    struct basket_row root = {key, banyan_str_of(name)};
    struct item_row rows[16];
    const void *pointers[16];
    for (size_t i = 0; i < items; i++) {
        rows[i] = (struct item_row){(int64_t)i, key, BANYAN_STR("item")};
        pointers[i] = &rows[i];
    }
    struct banyan_history history = {.key = key, .root = name == NULL ? NULL : &root};
    history.rows[1] = pointers;
    history.row_count[1] = items;
    return mapper_history(world->mapper, &history, &backfill, &world->arena, &world->events, &world->err);
}

static enum banyan_status map_change(struct world *world, int64_t key, enum banyan_change_kind kind, const char *name)
{
    struct basket_row row = {key, banyan_str_of(name)};
    struct banyan_change change = {.kind = kind, .new = kind == BANYAN_CHANGE_DELETE ? NULL : &row};
    struct mapper_origin origin = {.xid = 7, .commit_lsn = world->lsn++, .time = {9}};
    uint64_t index = 0;
    return mapper_changes(world->mapper, key, &change, 1, &origin, &index, &world->arena, &world->events, &world->err);
}

static void append(struct world *world)
{
    struct store_append request = {.events = world->events.items, .event_count = world->events.count};
    struct store_appended appended;
    OK(store_submit(world->store, &request, &appended, &world->err));
    world->events = (struct mapper_events){.items = NULL};
}

static void assert_row(struct world *world, int64_t key, const char *name)
{
    struct basket_row row;
    bool exists;
    OK(mapper_row(world->mapper, key, &world->arena, &row, &exists, &world->err));
    assert_int_equal(exists, name != NULL);
    if (!exists)
        return;
    assert_int_equal(row.id, key);
    assert_text(row.name, name);
}

/* ---- tests ---- */

static void history_gives_events_with_spans(void **state)
{
    struct world *world = *state;
    OK(map_history(world, 5, "fruit", 2));
    OK(map_history(world, 6, NULL, 0));
    OK(map_history(world, -7, NULL, 1));
    struct mapper_events *events = &world->events;
    assert_int_equal(events->count, 4);
    assert_int_equal(events->exact, 4);
    assert_int_equal(events->span_count, 2);
    assert_int_equal(events->spans[0].key, 5);
    assert_int_equal(events->spans[0].count, 3);
    assert_int_equal(events->spans[1].key, -7);
    assert_int_equal(events->spans[1].first, 3);
    assert_text(events->items[0].stream, "basket-5");
    assert_text(events->items[3].stream, "basket--7");
    assert_text(events->items[0].type, "Opened");
    assert_text(events->items[3].type, "Added");
    assert_int_equal(events->items[0].schema, 1);
    assert_int_equal(events->items[0].meta.size, 0);
    struct basket_opened opened;
    OK(banyan_record_decode(baskets_domain.events[BASKET_OPENED].record, events->items[0].payload, &opened,
                            &world->err));
    assert_int_equal(opened.id, 5);
    assert_text(opened.name, "fruit");
}

static void ids_are_a_function_of_the_source(void **state)
{
    struct world *world = *state;
    OK(map_history(world, 5, "fruit", 2));
    OK(map_history(world, 6, "fruit", 2));
    OK(map_history(world, 5, "fruit", 2));
    const struct store_event *items = world->events.items;
    for (size_t i = 0; i < 3; i++)
        assert_true(banyan_uuid_equal(items[i].id, items[6 + i].id));
    world->lsn = 77;
    OK(map_change(world, 8, BANYAN_CHANGE_INSERT, "a"));
    OK(map_change(world, 9, BANYAN_CHANGE_INSERT, "a"));
    mapper_forget(world->mapper);
    world->lsn = 77;
    OK(map_change(world, 8, BANYAN_CHANGE_INSERT, "a"));
    items = world->events.items;
    assert_true(banyan_uuid_equal(items[9].id, items[11].id));
    for (size_t i = 0; i < 11; i++) {
        assert_int_equal(items[i].id.bytes[6] >> 4, 8);
        for (size_t j = 0; j < i && (i < 6 || i > 8); j++)
            assert_false(banyan_uuid_equal(items[i].id, items[j].id));
    }
}

static void meta_says_where_it_came_from_and_why(void **state)
{
    struct world *world = *state;
    OK(map_history(world, 1, "old one", 0));
    assert_text(world->events.items[0].meta, "{\"reason\":\"the row is \\\"old\\\"\"}");
    assert_int_equal(world->events.items[0].provenance, BANYAN_INFERRED);
    OK(map_change(world, 2, BANYAN_CHANGE_INSERT, "x"));
    assert_text(world->events.items[1].meta, "{\"xid\":7,\"lsn\":\"16/B374D848\"}");
    OK(map_change(world, 3, BANYAN_CHANGE_INSERT, "old two"));
    assert_text(world->events.items[2].meta,
                "{\"xid\":7,\"lsn\":\"16/B374D849\",\"reason\":\"the row is \\\"old\\\"\"}");
    assert_int_equal(world->events.inferred, 2);
}

static void difference_is_reconciled_and_named(void **state)
{
    struct world *world = *state;
    OK(map_history(world, 1, "drifted", 1));
    assert_int_equal(world->events.count, 3);
    assert_int_equal(world->events.reconciled, 1);
    assert_text(world->events.items[2].type, "Renamed");
    assert_int_equal(world->events.items[2].provenance, BANYAN_RECONCILED);
    assert_text(world->events.items[2].meta, "{\"reason\":\"the row differs\"}");
}

static void difference_that_stays_is_an_error_with_both_values(void **state)
{
    struct world *world = *state;
    assert_int_equal(map_history(world, 12, "stubborn", 0), BANYAN_INVALID);
    assert_non_null(strstr(world->err.message, "table baskets, key 12"));
    assert_non_null(strstr(world->err.message, "name: \"something else\" by the events, \"stubborn\" in the table"));
    assert_true(world->err.hint[0] != '\0');
    banyan_error_clear(&world->err);
    assert_int_equal(map_history(world, 13, "untimed", 0), BANYAN_INVALID);
    assert_non_null(strstr(world->err.message, "table baskets, key 13: the domain emitted Opened without a time"));
    banyan_error_clear(&world->err);
    OK(map_history(world, 14, "fine", 0)); /* a failure does not stick */
}

static void changes_fold_over_the_cache_and_the_store(void **state)
{
    struct world *world = *state;
    OK(map_change(world, 1, BANYAN_CHANGE_INSERT, "one"));
    OK(map_change(world, 1, BANYAN_CHANGE_UPDATE, "two"));
    assert_int_equal(world->events.count, 2);
    append(world);
    OK(map_change(world, 1, BANYAN_CHANGE_UPDATE, "two")); /* a no-op */
    assert_int_equal(world->events.count, 0);
    assert_row(world, 1, "two");
    mapper_forget(world->mapper); /* now from the stream */
    assert_row(world, 1, "two");
    OK(map_change(world, 1, BANYAN_CHANGE_UPDATE, "drift three"));
    assert_int_equal(world->events.reconciled, 1);
    append(world);
    OK(map_change(world, 1, BANYAN_CHANGE_DELETE, NULL));
    assert_text(world->events.items[0].type, "Removed");
    append(world);
    assert_row(world, 1, NULL);
    mapper_forget(world->mapper);
    assert_row(world, 1, NULL);
    OK(map_change(world, 1, BANYAN_CHANGE_INSERT, "again"));
    assert_row(world, 1, "again");
    assert_row(world, 2, NULL);
}

/* Without a backfill the first sight of a row may be an update: there is no row before. */
static void first_sight_of_a_row(void **state)
{
    struct world *world = *state;
    OK(map_change(world, 1, BANYAN_CHANGE_UPDATE, "seen"));
    assert_text(world->events.items[0].type, "Opened");
    OK(map_change(world, 2, BANYAN_CHANGE_DELETE, NULL));
    assert_int_equal(world->events.count, 1);
    assert_row(world, 1, "seen");
}

static void several_changes_of_one_transaction(void **state)
{
    struct world *world = *state;
    struct basket_row rows[] = {{1, BANYAN_STR("a")}, {1, BANYAN_STR("b")}, {1, BANYAN_STR("c")}};
    struct item_row item = {1, 1, BANYAN_STR("apple")};
    struct banyan_change changes[] = {
        {.kind = BANYAN_CHANGE_INSERT, .table = 0, .new = &rows[0]},
        {.kind = BANYAN_CHANGE_INSERT, .table = 1, .new = &item},
        {.kind = BANYAN_CHANGE_UPDATE, .table = 0, .new = &rows[1]},
        {.kind = BANYAN_CHANGE_DELETE, .table = 0},
        {.kind = BANYAN_CHANGE_INSERT, .table = 0, .new = &rows[2]},
    };
    struct mapper_origin origin = {.xid = 3, .commit_lsn = 50, .time = {9}};
    uint64_t index = 10;
    OK(mapper_changes(world->mapper, 1, changes, 5, &origin, &index, &world->arena, &world->events, &world->err));
    assert_int_equal(world->events.count, 5);
    assert_int_equal(index, 15);
    assert_text(((const struct basket_row *)changes[2].old)->name, "a");
    assert_text(((const struct basket_row *)changes[3].old)->name, "b");
    assert_row(world, 1, "c");
}

static void children_alone_leave_the_row_alone(void **state)
{
    struct world *world = *state;
    OK(map_change(world, 1, BANYAN_CHANGE_INSERT, "one"));
    struct item_row item = {1, 1, BANYAN_STR("apple")};
    struct banyan_change change = {.kind = BANYAN_CHANGE_INSERT, .table = 1, .new = &item};
    struct mapper_origin origin = {.xid = 3, .commit_lsn = 50, .time = {9}};
    uint64_t index = 0;
    OK(mapper_changes(world->mapper, 1, &change, 1, &origin, &index, &world->arena, &world->events, &world->err));
    assert_int_equal(world->events.count, 2);
    assert_row(world, 1, "one");
}

static void seeded_key_is_known_before_its_append(void **state)
{
    struct world *world = *state;
    OK(map_history(world, 4, "four", 2));
    OK(mapper_seed(world->mapper, 4, world->events.items, world->events.count, &world->err));
    OK(map_change(world, 4, BANYAN_CHANGE_UPDATE, "five"));
    assert_int_equal(world->events.count, 4);
    assert_text(world->events.items[3].type, "Renamed");
    append(world);
    mapper_forget(world->mapper);
    assert_row(world, 4, "five");
}

/* The cache is smaller than what is under way: entries that the store could not give back must stay. */
static void small_cache_keeps_what_is_not_in_the_store(void **state)
{
    struct world *world = *state;
    mapper_free(world->mapper);
    world->mapper = new_mapper(world, 8);
    char name[32];
    for (int64_t round = 0; round < 6; round++) {
        for (int64_t key = 0; key < 200; key++) {
            snprintf(name, sizeof(name), "n%d of %d", (int)round, (int)key);
            OK(map_change(world, key, round == 0 ? BANYAN_CHANGE_INSERT : BANYAN_CHANGE_UPDATE, name));
        }
        if (round % 2 == 0)
            continue; /* each key is asked for again before its first events are submitted */
        assert_int_equal(world->events.count, 400);
        assert_int_equal(world->events.reconciled, 0);
        append(world);
    }
    size_t grown = world->mapper->ring_count;
    for (int64_t key = 0; key < 200; key++) {
        snprintf(name, sizeof(name), "n5 of %d", (int)key);
        assert_row(world, key, name);
    }
    assert_true(world->mapper->ring_count <= grown);
    assert_int_equal(world->mapper->ring_count, world->mapper->cache.count);
}

static void strange_event_in_the_stream_is_refused(void **state)
{
    struct world *world = *state;
    struct store_event event = {.id = {{1}},
                                .stream = BANYAN_STR("basket-3"),
                                .type = BANYAN_STR("Painted"),
                                .schema = 1,
                                .provenance = BANYAN_EXACT,
                                .at = {1},
                                .payload = BANYAN_STR("x")};
    struct store_append request = {.events = &event, .event_count = 1};
    struct store_appended appended;
    OK(store_submit(world->store, &request, &appended, &world->err));
    assert_int_equal(map_change(world, 3, BANYAN_CHANGE_INSERT, "x"), BANYAN_INVALID);
    assert_non_null(strstr(world->err.message, "Painted"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(history_gives_events_with_spans, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ids_are_a_function_of_the_source, set_up, tear_down),
        cmocka_unit_test_setup_teardown(meta_says_where_it_came_from_and_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(difference_is_reconciled_and_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(difference_that_stays_is_an_error_with_both_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_fold_over_the_cache_and_the_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(first_sight_of_a_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_changes_of_one_transaction, set_up, tear_down),
        cmocka_unit_test_setup_teardown(children_alone_leave_the_row_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(seeded_key_is_known_before_its_append, set_up, tear_down),
        cmocka_unit_test_setup_teardown(small_cache_keeps_what_is_not_in_the_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strange_event_in_the_stream_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
