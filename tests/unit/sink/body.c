/* SPDX-License-Identifier: Apache-2.0 */
/* One body of tests for all stores: see body.h.  Those of crashes and of switches under readers are in body_world.c. */
#include "body.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "body_int.h"
#include "os/thread.h"
#include "sink/sinks.h"

enum {
    KEYS = 120,
};

const struct body_place *body_place;

static struct banyan_table tables[2];
static const char *const searched[] = {"owner", "note", NULL};
static struct banyan_projection projection; /* body_projection before it is const */

int body_clear(void **state)
{
    body_place->clear();
    return 0;
}

static void make_projection(void)
{
    tables[0] = test_projections[TEST_VIEW_ACCOUNTS].tables[0];
    tables[1] = test_projections[TEST_VIEW_BRANCHES].tables[0];
    tables[0].search = body_place->search ? searched : NULL;
    projection = test_projections[TEST_VIEW_ACCOUNTS];
    projection.tables = tables;
    projection.table_count = 2;
}

const struct banyan_projection *body_projection(void)
{
    return &projection;
}

void body_must(enum banyan_status st, const struct banyan_error *err)
{
    if (st != BANYAN_OK)
        fail_msg("%s: %s (%s)", banyan_status_name(st), err->message, err->detail);
}

struct sink_home *body_home_of(const struct banyan_projection *of)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = NULL;
    body_must(body_place->home(of, &home, &err), &err);
    return home;
}

struct sink_home *body_home(void)
{
    return body_home_of(&projection);
}

struct sink *body_claim(struct sink_home *home, uint32_t number, struct sink_checkpoint *ret)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct sink *sink = NULL;
    if (number == 0)
        body_must(home->ops->make(home, (struct sink_mark){.partial = false}, &number, &err), &err);
    body_must(home->ops->open(home, number, &sink, &err), &err);
    body_must(sink->ops->claim(sink, ret == NULL ? &checkpoint : ret, &err), &err);
    assert_int_equal(sink->generation, number);
    return sink;
}

void body_serve(struct sink_home *home, uint32_t expected, uint32_t number)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    body_must(home->ops->serve(home, expected, number, &err), &err);
}

enum banyan_status body_flush(struct sink *sink, const struct sink_row *rows, size_t count, uint64_t position,
                              struct banyan_error *err)
{
    struct sink_flush flush = {
        .rows = rows,
        .row_count = count,
        .checkpoint = {.position = {position}, .at = {(int64_t)position * 10}, .source_lsn = position * 100},
    };
    return sink->ops->flush(sink, &flush, err);
}

void body_must_flush(struct sink *sink, const struct sink_row *rows, size_t count, uint64_t position)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    body_must(body_flush(sink, rows, count, position, &err), &err);
}

struct sink_view *body_view(struct sink_home *home)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_view *view = NULL;
    body_must(home->ops->view(home, &view, &err), &err);
    return view;
}

/* A home with one generation that serves. */
struct sink_home *body_served(struct sink **ret_sink, struct sink_view **ret_view)
{
    struct sink_home *home = body_home();
    *ret_sink = body_claim(home, 0, NULL);
    body_must_flush(*ret_sink, NULL, 0, 0);
    struct banyan_error err = BANYAN_ERROR_INIT;
    body_must((*ret_sink)->ops->finish(*ret_sink, &err), &err);
    body_serve(home, 0, (*ret_sink)->generation);
    *ret_view = body_view(home);
    return home;
}

void body_close(struct sink_home *home, struct sink *sink, struct sink_view *view)
{
    sink_view_close(view);
    sink_close(sink);
    sink_home_close(home);
}

struct test_account body_account(int64_t key)
{
    return (struct test_account){
        .id = key,
        .owner = BANYAN_STR("o"),
        .balance = banyan_decimal_of(0, 2),
        .credit = banyan_decimal_null(),
        .closed_at = {BANYAN_TIME_NULL},
    };
}

/* Every kind at its limits. */
static size_t extreme_accounts(struct test_account *ret)
{
    __int128 large = 1;
    for (int i = 0; i < 37; i++)
        large *= 10;
    size_t count = 0;
    struct test_account a = body_account(INT64_MIN);
    a.balance = banyan_decimal_of(-large, 2);
    a.moves = INT64_MIN;
    a.opened_at.us = BANYAN_TIME_MINUS_INFINITY;
    ret[count++] = a;
    a = body_account(0);
    a.owner = BANYAN_STR("");
    a.note = BANYAN_STR("");
    a.credit = banyan_decimal_of(0, 4);
    ret[count++] = a;
    a = body_account(1);
    a.owner = BANYAN_STR("O'Neill \"x\" \\ \n\t {NULL,\"a\"} \xf0\x9f\x8c\xb3");
    a.note = BANYAN_STR("\\N");
    a.balance = (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
    a.credit = banyan_decimal_of(1, 4);
    a.open = true;
    a.opened_at.us = -1;
    a.closed_at.us = INT64_C(253402300799999999);
    ret[count++] = a;
    a = body_account(INT64_MAX);
    a.balance = banyan_decimal_of(large, 2);
    a.moves = INT64_MAX;
    a.note = BANYAN_STR("NULL");
    a.opened_at.us = BANYAN_TIME_INFINITY;
    a.closed_at.us = INT64_C(-62135596800000000);
    ret[count++] = a;
    return count;
}

enum banyan_status body_collect(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct collected *all = context;
    const struct banyan_record *record = tables[all->table].row;
    if (all->stop_after != 0 && all->count == all->stop_after)
        return banyan_error_set(err, BANYAN_STOPPED, "enough");
    assert_true(all->count < COLLECTED_MAX);
    all->keys[all->count] = key;
    all->rows[all->count] = banyan_arena_alloc(&all->arena, record->size);
    banyan_record_copy(record, all->rows[all->count++], row, &all->arena);
    return BANYAN_OK;
}

struct collected *body_collected(unsigned table)
{
    struct collected *all = calloc(1, sizeof(*all));
    all->table = table;
    return all;
}

void body_release(struct collected *all)
{
    banyan_arena_release(&all->arena);
    free(all);
}

struct collected *body_range(struct sink_view *view, unsigned table, int64_t lo, int64_t hi, uint64_t position)
{
    struct collected *all = body_collected(table);
    struct sink_checkpoint checkpoint = {.source_lsn = 1};
    struct banyan_error err = BANYAN_ERROR_INIT;
    body_must(view->ops->range(view, table, lo, hi, &checkpoint, body_collect, all, &err), &err);
    assert_int_equal(checkpoint.position.value, position);
    assert_int_equal(checkpoint.at.us, position * 10);
    assert_int_equal(checkpoint.source_lsn, position * 100);
    for (size_t i = 1; i < all->count; i++)
        assert_true(all->keys[i - 1] < all->keys[i]);
    return all;
}

/* ---- rows ---- */

static void check_extremes(struct sink *sink, struct sink_view *view, const struct test_account *rows, size_t count,
                           uint64_t position)
{
    struct test_account got[8];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    void *places[8];
    int64_t keys[8];
    bool found[8];
    struct collected *all = body_range(view, 0, INT64_MIN, INT64_MAX, position);
    assert_int_equal(all->count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(banyan_record_diff(tables[0].row, all->rows[i], &rows[i]), 0);
    for (size_t i = 0; i < count; i++) {
        struct sink_checkpoint checkpoint;
        all->count = 0;
        body_must(view->ops->get(view, 0, rows[i].id, &checkpoint, body_collect, all, &err), &err);
        assert_int_equal(all->count, 1);
        assert_int_equal(checkpoint.position.value, position);
        assert_int_equal(checkpoint.generation, sink->generation);
        assert_int_equal(banyan_record_diff(tables[0].row, all->rows[0], &rows[i]), 0);
        all->count = 0;
        body_must(view->ops->get(view, 0, 77, &checkpoint, body_collect, all, &err), &err);
        assert_int_equal(all->count, 0);
    }
    body_release(all);
    for (size_t i = 0; i < 8; i++) {
        keys[i] = i % 2 == 0 ? rows[i / 2].id : 1000 + (int64_t)i;
        places[i] = &got[i];
    }
    body_must(sink->ops->get_many(sink, 0, keys, 8, &arena, places, found, &err), &err);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(found[i], i % 2 == 0);
        if (found[i])
            assert_int_equal(banyan_record_diff(tables[0].row, &got[i], &rows[i / 2]), 0);
    }
    uint64_t rows_there = 0;
    body_must(sink->ops->count(sink, 0, &rows_there, &err), &err);
    assert_int_equal(rows_there, count);
    banyan_arena_release(&arena);
}

static void rows_come_back_as_they_went(void **state)
{
    struct test_account rows[8];
    struct sink_row changes[8];
    struct sink *sink;
    struct sink_view *view;
    struct sink_home *home = body_served(&sink, &view);
    size_t count = extreme_accounts(rows);
    for (size_t i = 0; i < count; i++)
        changes[i] = (struct sink_row){0, rows[i].id, &rows[i], UINT64_MAX};
    for (uint64_t round = 1; round <= 2; round++) { /* inserted, then updated */
        body_must_flush(sink, changes, count, round);
        check_extremes(sink, view, rows, count, round);
    }
    body_close(home, sink, view);
}

struct indexing {
    struct sink *sink;
    struct os_thread thread;
    unsigned table, step;
    enum banyan_status status;
    struct banyan_error err;
};

static void index_step(void *argument)
{
    struct indexing *indexing = argument;
    indexing->status = indexing->sink->ops->index_step(indexing->sink, indexing->table, indexing->step, &indexing->err);
}

/* All steps at once, but for the last of each table. */
static void index_all(struct sink *sink)
{
    static struct indexing all[64];
    size_t count = 0;
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (sink->ops->index_steps == NULL)
        return;
    for (unsigned table = 0; table < 2; table++)
        for (unsigned step = 0; step + 1 < sink->ops->index_steps(sink, table); step++)
            all[count++] = (struct indexing){.sink = sink, .table = table, .step = step};
    assert_true(count > 1);
    for (size_t i = 0; i < count; i++)
        os_thread_start(&all[i].thread, "index", index_step, &all[i]);
    for (size_t i = 0; i < count; i++)
        os_thread_join(&all[i].thread);
    for (size_t i = 0; i < count; i++)
        body_must(all[i].status, &all[i].err);
    for (unsigned table = 0; table < 2; table++)
        body_must(sink->ops->index_step(sink, table, sink->ops->index_steps(sink, table) - 1, &err), &err);
}

static void loaded_rows_come_back_as_they_went(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct test_account rows[8];
    struct sink_load *loads[2];
    struct sink_home *home = body_home();
    struct sink_checkpoint checkpoint = {.source_lsn = 1};
    struct sink *sink = body_claim(home, 0, &checkpoint);
    size_t count = extreme_accounts(rows);
    assert_int_equal(checkpoint.position.value + checkpoint.source_lsn, 0);
    for (size_t i = 0; i < 2; i++)
        body_must(sink->ops->load_open(sink, 0, &loads[i], &err), &err);
    for (size_t i = count; i-- > 0;)
        body_must(sink->ops->load_rows(loads[i % 2], &(struct sink_row){0, rows[i].id, &rows[i], UINT64_MAX}, 1, &err),
                  &err);
    struct sink_load *branches;
    body_must(sink->ops->load_open(sink, 1, &branches, &err), &err);
    struct test_branch branch = {.branch = 3, .moves = 9, .total = banyan_decimal_of(5, 2)};
    body_must(sink->ops->load_rows(branches, &(struct sink_row){1, 3, &branch, UINT64_MAX}, 1, &err), &err);
    for (size_t i = 0; i < 2; i++)
        body_must(sink->ops->load_close(loads[i], true, &err), &err);
    body_must(sink->ops->load_close(branches, true, &err), &err);
    index_all(sink);
    struct sink_generation about[SINK_GENERATIONS_MAX];
    size_t generations = 0;
    body_must(home->ops->generations(home, about, &generations, &err), &err);
    assert_int_equal(generations, 1);
    assert_false(about[0].sealed);
    assert_int_equal(home->ops->serve(home, 0, sink->generation, NULL), BANYAN_INVALID);
    struct sink_aside aside = {
        .key = 4, .stream = BANYAN_STR("account-4"), .position = {2}, .held = 1, .reason = BANYAN_STR("why")};
    struct sink_flush flush = {
        .asides = &aside, .aside_count = 1, .checkpoint = {.position = {7}, .at = {70}, .source_lsn = 700}};
    body_must(sink->ops->seal(sink, &flush, &err), &err);
    assert_int_equal(sink->ops->load_open(sink, 0, &loads[0], NULL), BANYAN_INVALID);
    if (sink->ops->index_step != NULL)
        assert_int_equal(sink->ops->index_step(sink, 0, 0, NULL), BANYAN_INVALID);
    body_must(sink->ops->finish(sink, &err), &err);
    body_must(sink->ops->finish(sink, &err), &err); /* again is no harm */
    body_serve(home, 0, sink->generation);
    struct sink_view *view = body_view(home);
    check_extremes(sink, view, rows, count, 7);
    struct collected *all = body_range(view, 1, INT64_MIN, INT64_MAX, 7);
    assert_int_equal(all->count, 1);
    assert_int_equal(banyan_record_diff(tables[1].row, all->rows[0], &branch), 0);
    body_release(all);
    body_must_flush(sink, &(struct sink_row){0, rows[0].id, &rows[0], UINT64_MAX}, 1, 8); /* flushes go on from there */
    check_extremes(sink, view, rows, count, 8);
    body_close(home, sink, view);
}

static void ranges_have_their_bounds(void **state)
{
    struct test_account rows[8];
    struct sink_row changes[8];
    struct sink *sink;
    struct sink_view *view;
    struct sink_home *home = body_served(&sink, &view);
    size_t count = extreme_accounts(rows);
    for (size_t i = 0; i < count; i++)
        changes[i] = (struct sink_row){0, rows[i].id, &rows[i], UINT64_MAX};
    body_must_flush(sink, changes, count, 1);
    static const struct {
        int64_t lo, hi;
        size_t count;
    } cases[] = {{INT64_MIN, INT64_MAX, 4}, {INT64_MIN, 0, 1},         {0, 1, 1}, {1, 1, 0}, {0, 2, 2},
                 {2, INT64_MAX, 1},         {INT64_MIN, INT64_MIN, 0}, {5, 1, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct collected *all = body_range(view, 0, cases[i].lo, cases[i].hi, 1);
        assert_int_equal(all->count, cases[i].count);
        body_release(all);
    }
    struct collected *some = body_collected(0);
    struct sink_checkpoint checkpoint;
    some->stop_after = 2;
    assert_int_equal(view->ops->range(view, 0, INT64_MIN, INT64_MAX, &checkpoint, body_collect, some, NULL),
                     BANYAN_STOPPED);
    assert_int_equal(some->count, 2);
    body_release(some);
    body_release(body_range(view, 0, 0, 1, 1)); /* the handle works on */
    assert_int_equal(view->ops->range(view, 2, 0, 1, &checkpoint, body_collect, NULL, NULL), BANYAN_INVALID);
    body_close(home, sink, view);
}

/* ---- random flushes ---- */

struct model {
    struct banyan_arena arena;
    struct test_account *accounts[KEYS];
    struct test_branch *branches[KEYS];
};

static const void *random_account(struct os_random *random, struct model *model, int64_t key, uint64_t *ret_changed)
{
    struct test_account *former = model->accounts[key], *row = banyan_arena_alloc(&model->arena, sizeof(*row));
    static const char *const words[] = {"Oak", "oak tree", "O'Neill", "elm-tree", "\xc3\x84rger", "oaks", ""};
    *row = former != NULL ? *former : body_account(key);
    row->moves = (int64_t)os_random_next(random);
    if (os_random_below(random, 2) == 0) {
        row->owner = banyan_arena_printf(&model->arena, "%d", (int)os_random_below(random, 9));
        row->opened_at.us = (int64_t)os_random_below(random, 100);
    }
    if (os_random_below(random, 2) == 0)
        row->note = banyan_str_of(words[os_random_below(random, sizeof(words) / sizeof(words[0]))]);
    if (former != NULL)
        *ret_changed = banyan_record_diff(tables[0].row, former, row);
    return model->accounts[key] = row;
}

static const void *random_branch(struct os_random *random, struct model *model, int64_t key)
{
    struct test_branch *row = banyan_arena_alloc(&model->arena, sizeof(*row));
    *row = (struct test_branch){key, (int64_t)os_random_next(random),
                                banyan_decimal_of((int64_t)(os_random_next(random) >> 1), 2)};
    return model->branches[key] = row;
}

static size_t random_changes(struct os_random *random, struct model *model, struct sink_row *changes)
{
    size_t count = 0;
    for (unsigned table = 0; table < 2; table++) {
        uint64_t share = 1 + os_random_below(random, 100);
        for (int64_t key = 0; key < KEYS; key++) {
            bool there = table == 0 ? model->accounts[key] != NULL : model->branches[key] != NULL;
            const void *row = NULL;
            uint64_t changed = UINT64_MAX;
            if (os_random_below(random, 100) >= share)
                continue;
            if (there && os_random_below(random, 5) == 0) {
                model->accounts[key] = table == 0 ? NULL : model->accounts[key];
                model->branches[key] = table == 1 ? NULL : model->branches[key];
            } else {
                row = table == 0 ? random_account(random, model, key, &changed) : random_branch(random, model, key);
            }
            changes[count++] = (struct sink_row){table, key, row, changed};
        }
    }
    return count;
}

static void check_model(struct sink_view *view, const struct model *model, uint64_t position)
{
    for (unsigned table = 0; table < 2; table++) {
        struct collected *all = body_range(view, table, INT64_MIN, INT64_MAX, position);
        size_t at = 0;
        for (int64_t key = 0; key < KEYS; key++) {
            const void *row = table == 0 ? (const void *)model->accounts[key] : model->branches[key];
            if (row == NULL)
                continue;
            assert_true(at < all->count && all->keys[at] == key);
            assert_int_equal(banyan_record_diff(tables[table].row, all->rows[at++], row), 0);
        }
        assert_int_equal(at, all->count);
        body_release(all);
    }
}

/* The same keys, whatever their rank is. */
static void check_same_hits(struct sink_view *view, struct sink_view *reference, struct os_random *random)
{
    static const char *const texts[] = {"oak",     "OAK TREE", "tree",     "oa", "\xc3\xa4", "oak ",
                                        "neill o", "'",        "tree oak", "3",  ""};
    const char *text = texts[os_random_below(random, sizeof(texts) / sizeof(texts[0]))];
    struct sink_search search = {.text = banyan_str_of(text), .limit = 1000};
    struct sink_checkpoint checkpoint;
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (os_random_below(random, 2) == 0) {
        search.equal[0].column = "owner";
        search.equal[0].value = BANYAN_STR("3");
        search.equal_count = 1;
    }
    if (os_random_below(random, 2) == 0) {
        search.range = "opened_at";
        search.from.us = 10;
        search.to.us = os_random_below(random, 2) == 0 ? 60 : BANYAN_TIME_NULL;
    }
    struct collected *a = body_collected(0), *b = body_collected(0);
    body_must(view->ops->search(view, &search, &checkpoint, body_collect, a, &err), &err);
    body_must(reference->ops->search(reference, &search, &checkpoint, body_collect, b, &err), &err);
    if (a->count != b->count)
        fail_msg("%zu hits for \"%s\" instead of %zu", a->count, text, b->count);
    for (size_t i = 0; i < a->count; i++) {
        bool there = false;
        for (size_t j = 0; j < b->count; j++)
            there = there || a->keys[i] == b->keys[j];
        assert_true(there);
    }
    body_release(a);
    body_release(b);
}

static void random_flushes_agree_with_the_model(void **state)
{
    struct os_random random;
    struct model model = {.arena = BANYAN_ARENA_INIT};
    struct sink_home *reference = NULL;
    struct sink *sink;
    struct sink_view *view;
    os_random_seed(&random, test_seed());
    struct sink_home *home = body_served(&sink, &view);
    struct banyan_error err = BANYAN_ERROR_INIT;
    body_must(sink_memory_home(&projection, &reference, &err), &err);
    struct sink *other = body_claim(reference, 0, NULL);
    struct sink_view *other_view = body_view(reference);
    body_must_flush(other, NULL, 0, 0);
    body_serve(reference, 0, other->generation);

    for (uint64_t position = 1; position <= 40; position++) {
        struct sink_row changes[2 * KEYS];
        size_t count = random_changes(&random, &model, changes);
        body_must_flush(sink, changes, count, position);
        body_must_flush(other, changes, count, position);
        check_model(view, &model, position);
        for (int i = 0; i < 5 && body_place->search; i++)
            check_same_hits(view, other_view, &random);
    }
    body_close(reference, other, other_view);
    body_close(home, sink, view);
    banyan_arena_release(&model.arena);
}

/* More rows than a sink writes one by one: inserted, updated, deleted, with asides, and with every kind's limits. */
static void large_flushes_are_as_small_ones(void **state)
{
    enum { LARGE = 3000 };
    struct os_random random;
    static struct test_account rows[LARGE];
    static struct sink_row changes[LARGE];
    struct sink *sink;
    struct sink_view *view;
    os_random_seed(&random, test_seed());
    struct sink_home *home = body_served(&sink, &view);
    for (uint64_t position = 1; position <= 3; position++) {
        size_t wanted = 0;
        for (int64_t i = 0; i < LARGE; i++) {
            struct test_account extreme[8];
            size_t count = extreme_accounts(extreme);
            rows[i] = extreme[os_random_below(&random, count)];
            rows[i].id = i;
            bool gone = position > 1 && os_random_below(&random, 10) == 0;
            wanted += !gone;
            changes[i] = (struct sink_row){0, i, gone ? NULL : &rows[i], UINT64_MAX};
        }
        body_must_flush(sink, changes, LARGE, position);
        struct collected *all = body_range(view, 0, INT64_MIN, INT64_MAX, position);
        assert_int_equal(all->count, wanted);
        for (size_t i = 0; i < all->count; i++)
            assert_int_equal(banyan_record_diff(tables[0].row, all->rows[i], &rows[all->keys[i]]), 0);
        body_release(all);
    }
    struct sink *second = body_claim(home, sink->generation, NULL); /* the fence holds for large ones, too */
    assert_int_equal(body_flush(sink, changes, LARGE, 9, NULL), BANYAN_BROKEN);
    sink_close(second);
    body_close(home, sink, view);
}

/* ---- asides ---- */

static size_t asides(struct sink *sink, struct sink_view *view, struct banyan_arena *arena, struct sink_aside **ret)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_aside *seen = NULL;
    size_t count = 99, seen_count = 98;
    body_must(sink->ops->asides(sink, arena, ret, &count, &err), &err);
    body_must(view->ops->asides(view, arena, &seen, &seen_count, &err), &err);
    assert_int_equal(count, seen_count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal((*ret)[i].held, seen[i].held);
        assert_true(banyan_str_equal((*ret)[i].reason, seen[i].reason));
    }
    return count;
}

static void asides_are_put_changed_and_released(void **state)
{
    struct sink_aside *got = NULL, all[] = {
                                       {.key = -7,
                                        .stream = BANYAN_STR("account-7"),
                                        .position = {3},
                                        .at = {5},
                                        .held = 1,
                                        .reason = BANYAN_STR("it's broken")},
                                       {.by_stream = true,
                                        .stream = BANYAN_STR("account-x"),
                                        .position = {2},
                                        .at = {6},
                                        .held = 2,
                                        .reason = BANYAN_STR("no \"key\"")},
                                       {.by_stream = true,
                                        .stream = BANYAN_STR("account-7"),
                                        .position = {4},
                                        .at = {7},
                                        .held = 1,
                                        .reason = BANYAN_STR("")},
                                   };
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink *sink;
    struct sink_view *view;
    struct sink_home *home = body_served(&sink, &view);
    struct sink_flush flush = {.asides = all, .aside_count = 3, .checkpoint = {.position = {5}}};
    body_must(sink->ops->flush(sink, &flush, &err), &err);
    assert_int_equal(asides(sink, view, &arena, &got), 3);
    for (size_t i = 0; i < 3; i++) { /* by position */
        const struct sink_aside *wanted = &all[i < 2 ? 1 - i : 2];
        assert_int_equal(got[i].by_stream, wanted->by_stream);
        assert_int_equal(got[i].key, wanted->key);
        assert_int_equal(got[i].position.value, wanted->position.value);
        assert_int_equal(got[i].at.us, wanted->at.us);
        assert_int_equal(got[i].held, wanted->held);
        assert_true(banyan_str_equal(got[i].stream, wanted->stream));
        assert_true(banyan_str_equal(got[i].reason, wanted->reason));
    }
    all[0].held = 9;
    all[0].reason = BANYAN_STR("another");
    flush = (struct sink_flush){
        .asides = all, .aside_count = 1, .released = &all[1], .released_count = 1, .checkpoint = {.position = {6}}};
    body_must(sink->ops->flush(sink, &flush, &err), &err);
    assert_int_equal(asides(sink, view, &arena, &got), 2);
    assert_int_equal(got[0].held, 9);
    assert_true(banyan_str_equal(got[0].reason, BANYAN_STR("another")));
    assert_int_equal(got[1].position.value, 4);
    struct sink *next = body_claim(home, 0, NULL); /* a generation has its own */
    size_t count = 99;
    body_must(next->ops->asides(next, &arena, &got, &count, &err), &err);
    assert_int_equal(count, 0);
    banyan_arena_release(&arena);
    sink_close(next);
    body_close(home, sink, view);
}

/* ---- the ready mark ---- */

static enum banyan_status ignore_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    return BANYAN_OK;
}

/* It is stored with a generation, and told with each answer of it and of no other. */
static void a_mark_is_told_with_each_answer(void **state)
{
    static const int64_t froms[] = {INT64_MIN, -5, 0, 7};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = body_home();
    struct sink_view *view = body_view(home);
    struct sink_generation all[SINK_GENERATIONS_MAX];
    struct sink_checkpoint at = {.generation = 0};
    char form[SINK_FORM_SIZE];
    size_t count = 0;
    uint32_t serving = 0;
    sink_form(&projection, form);
    for (size_t i = 0; i < 5; i++) {
        struct sink_mark ready = {i < 4, i < 4 ? froms[i] : 0};
        struct test_account row = body_account(9);
        struct sink_row rows = {0, 9, &row, UINT64_MAX};
        struct sink *sink = NULL;
        uint32_t number = 0;
        body_must(home->ops->make(home, ready, &number, &err), &err);
        for (int again = 0; again < 2; again++) { /* the second finds it sealed */
            body_must(home->ops->open(home, number, &sink, &err), &err);
            body_must(sink->ops->claim(sink, &at, &err), &err);
            assert_int_equal(sink->ready.partial, ready.partial);
            assert_int_equal(sink->ready.from, ready.from);
            body_must_flush(sink, &rows, 1, 5 + (uint64_t)again);
            if (again == 0)
                sink_close(sink);
        }
        body_serve(home, serving, number);
        serving = number;
        for (int question = 0; question < 4; question++) {
            at = (struct sink_checkpoint){.generation = 0};
            enum banyan_status st = question == 0   ? view->ops->checkpoint(view, &at, &err)
                                    : question == 1 ? view->ops->get(view, 0, 9, &at, ignore_row, NULL, &err)
                                    : question == 2 ? view->ops->range(view, 0, 1, 100, &at, ignore_row, NULL, &err)
                                                    : view->ops->begin(view, &at, &err);
            body_must(st, &err);
            assert_int_equal(at.generation, number);
            assert_int_equal(at.ready.partial, ready.partial);
            assert_int_equal(at.ready.from, ready.from);
        }
        view->ops->end(view);
        body_must(home->ops->generations(home, all, &count, &err), &err);
        assert_int_equal(all[count - 1].checkpoint.ready.partial, ready.partial);
        assert_int_equal(sink_form_mark(all[count - 1].form).partial, ready.partial);
        assert_int_equal(sink_form_mark(all[count - 1].form).from, ready.from);
        assert_true(sink_form_same(all[count - 1].form, form));
        sink_close(sink);
    }
    body_close(home, NULL, view);
}

/* ---- life ---- */

static void a_generation_lives_as_it_should(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    struct sink_checkpoint checkpoint;
    size_t count = 99;
    struct sink_home *home = body_home();
    struct sink_view *view = body_view(home);
    char form[SINK_FORM_SIZE];
    sink_form(&projection, form);
    body_must(home->ops->generations(home, all, &count, &err), &err);
    assert_int_equal(count, 0);
    assert_int_equal(view->ops->checkpoint(view, &checkpoint, &err), BANYAN_NOT_FOUND);
    assert_non_null(strstr(err.message, "not built"));
    banyan_error_clear(&err);

    struct sink *first = body_claim(home, 0, NULL), *second = body_claim(home, 0, NULL), *none = NULL;
    assert_int_equal(first->generation, 1);
    assert_int_equal(second->generation, 2);
    assert_int_equal(home->ops->open(home, 3, &none, NULL), BANYAN_NOT_FOUND);
    assert_int_equal(home->ops->serve(home, 0, 3, NULL), BANYAN_NOT_FOUND);
    assert_int_equal(home->ops->serve(home, 0, 1, NULL), BANYAN_INVALID);
    struct test_account row = body_account(1);
    body_must_flush(first, &(struct sink_row){0, 1, &row, UINT64_MAX}, 1, 5);
    body_must_flush(second, NULL, 0, 6);
    assert_int_equal(view->ops->checkpoint(view, &checkpoint, NULL), BANYAN_NOT_FOUND);
    assert_int_equal(home->ops->serve(home, 2, 1, NULL), BANYAN_CONFLICT);
    body_serve(home, 0, 1);
    assert_int_equal(home->ops->serve(home, 0, 2, NULL), BANYAN_CONFLICT);
    body_must(view->ops->checkpoint(view, &checkpoint, &err), &err);
    assert_int_equal(checkpoint.position.value, 5);
    assert_int_equal(checkpoint.generation, 1);
    assert_int_equal(home->ops->drop(home, 1, NULL), BANYAN_INVALID);
    body_serve(home, 1, 2);
    body_must(home->ops->generations(home, all, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_int_equal(all[0].state, SINK_KEPT);
    assert_int_equal(all[1].state, SINK_SERVING);
    assert_true(all[0].sealed && all[1].sealed);
    assert_int_equal(all[0].checkpoint.position.value, 5);
    assert_int_equal(all[1].checkpoint.position.value, 6);
    assert_int_equal(all[1].checkpoint.generation, 2);
    assert_string_equal(all[1].form, form);
    assert_int_equal(all[1].version, projection.version);
    assert_true(all[1].made_at.us > 0 && all[1].served_at.us >= all[1].made_at.us);
    assert_int_equal(all[0].served_at.us, BANYAN_TIME_NULL);
    body_serve(home, 2, 1); /* and back */
    body_release(body_range(view, 0, 0, 9, 5));
    body_must(home->ops->drop(home, 2, &err), &err);
    assert_int_equal(home->ops->drop(home, 2, NULL), BANYAN_NOT_FOUND);
    assert_int_equal(body_flush(second, NULL, 0, 7, NULL) == BANYAN_OK, false);
    struct sink *third = body_claim(home, 0, NULL);
    assert_int_equal(third->generation, 3); /* never 2 again */
    sink_close(third);
    sink_close(second);
    body_close(home, first, view);
}

static void there_are_not_too_many(void **state)
{
    struct sink_home *home = body_home();
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint32_t number = 0;
    for (int i = 0; i < SINK_GENERATIONS_MAX; i++)
        body_must(home->ops->make(home, (struct sink_mark){.partial = false}, &number, &err), &err);
    assert_int_equal(home->ops->make(home, (struct sink_mark){.partial = false}, &number, &err), BANYAN_LIMIT);
    assert_true(err.hint[0] != '\0');
    sink_home_close(home);
}

static void a_reopened_generation_goes_on(void **state)
{
    struct test_account row = body_account(1);
    struct sink_checkpoint checkpoint;
    struct sink_home *home = body_home();
    struct sink *sink = body_claim(home, 0, NULL);
    body_must_flush(sink, &(struct sink_row){0, 1, &row, UINT64_MAX}, 1, 42);
    sink_close(sink);
    if (home->ops->durable) {
        sink_home_close(home);
        home = body_home();
    }
    sink = body_claim(home, 1, &checkpoint);
    assert_int_equal(checkpoint.position.value, 42);
    assert_int_equal(checkpoint.at.us, 420);
    assert_int_equal(checkpoint.source_lsn, 4200);
    body_serve(home, 0, 1);
    struct sink_view *view = body_view(home);
    struct collected *all = body_range(view, 0, INT64_MIN, INT64_MAX, 42);
    assert_int_equal(all->count, 1);
    body_release(all);
    body_close(home, sink, view);
}

/* Nothing that was loaded before a crash is taken for more than it is. */
static void what_was_not_sealed_begins_anew(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct test_account row = body_account(1);
    struct sink_checkpoint checkpoint;
    struct sink_load *load;
    struct sink_home *home = body_home();
    if (!home->ops->durable) {
        sink_home_close(home);
        skip();
    }
    struct sink *sink = body_claim(home, 0, NULL);
    body_must(sink->ops->load_open(sink, 0, &load, &err), &err);
    body_must(sink->ops->load_rows(load, &(struct sink_row){0, 1, &row, UINT64_MAX}, 1, &err), &err);
    body_must(sink->ops->load_close(load, true, &err), &err);
    sink_close(sink);
    sink = body_claim(home, 1, &checkpoint);
    assert_int_equal(checkpoint.position.value, 0);
    uint64_t count = 99;
    body_must(sink->ops->count(sink, 0, &count, &err), &err);
    assert_int_equal(count, 0);
    struct sink *second = body_claim(home, 1, NULL); /* the later owner counts here, too */
    body_must_flush(second, &(struct sink_row){0, 1, &row, UINT64_MAX}, 1, 3);
    assert_int_equal(body_flush(sink, NULL, 0, 9, NULL) == BANYAN_OK, false);
    body_must(second->ops->checkpoint(second, &checkpoint, &err), &err);
    assert_int_equal(checkpoint.position.value, 3);
    sink_close(second);
    sink_close(sink);
    sink_home_close(home);
}

static void the_later_owner_fences_the_earlier(void **state)
{
    struct test_account row = body_account(1);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink *first;
    struct sink_view *view;
    struct sink_home *home = body_served(&first, &view);
    body_must_flush(first, &(struct sink_row){0, 1, &row, UINT64_MAX}, 1, 1);
    struct sink *second = body_claim(home, first->generation, NULL);
    row.id = 2;
    assert_int_equal(body_flush(first, &(struct sink_row){0, 2, &row, UINT64_MAX}, 1, 2, &err), BANYAN_BROKEN);
    assert_non_null(strstr(err.message, "taken"));
    struct collected *all = body_range(view, 0, INT64_MIN, INT64_MAX, 1);
    assert_int_equal(all->count, 1); /* nothing of the late flush */
    body_release(all);
    body_must_flush(second, &(struct sink_row){0, 2, &row, UINT64_MAX}, 1, 2);
    sink_close(second);
    body_close(home, first, view);
}

static void another_definition_is_told_apart(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_projection later = projection, wider = projection;
    struct banyan_table wider_tables[2] = {tables[0], tables[1]};
    struct sink_checkpoint checkpoint;
    struct sink *sink = NULL;
    wider.tables = wider_tables;
    wider_tables[0].index_count = 1;
    later.version++;
    struct sink_home *home = body_home();
    if (!home->ops->durable) {
        sink_home_close(home);
        skip();
    }
    sink = body_claim(home, 0, NULL);
    body_must_flush(sink, NULL, 0, 4);
    body_serve(home, 0, 1);
    sink_close(sink);
    sink_home_close(home);
    for (int i = 0; i < 2; i++) {
        home = body_home_of(i == 0 ? &later : &wider);
        body_must(home->ops->open(home, 1, &sink, &err), &err);
        assert_int_equal(sink->ops->claim(sink, &checkpoint, &err), BANYAN_MISMATCH);
        assert_true(err.hint[0] != '\0');
        banyan_error_clear(&err);
        struct sink_view *view = body_view(home);
        assert_int_equal(view->ops->checkpoint(view, &checkpoint, NULL), i == 0 ? BANYAN_OK : BANYAN_NOT_FOUND);
        body_close(home, sink, view);
    }
}

int body_run(const struct body_place *under_test, const struct CMUnitTest *own, size_t count)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rows_come_back_as_they_went, body_clear),
        cmocka_unit_test_setup(loaded_rows_come_back_as_they_went, body_clear),
        cmocka_unit_test_setup(ranges_have_their_bounds, body_clear),
        cmocka_unit_test_setup(random_flushes_agree_with_the_model, body_clear),
        cmocka_unit_test_setup(large_flushes_are_as_small_ones, body_clear),
        cmocka_unit_test_setup(asides_are_put_changed_and_released, body_clear),
        cmocka_unit_test_setup(a_mark_is_told_with_each_answer, body_clear),
        cmocka_unit_test_setup(a_generation_lives_as_it_should, body_clear),
        cmocka_unit_test_setup(there_are_not_too_many, body_clear),
        cmocka_unit_test_setup(a_reopened_generation_goes_on, body_clear),
        cmocka_unit_test_setup(what_was_not_sealed_begins_anew, body_clear),
        cmocka_unit_test_setup(the_later_owner_fences_the_earlier, body_clear),
        cmocka_unit_test_setup(another_definition_is_told_apart, body_clear),
        cmocka_unit_test_setup(lists_page_without_loss_or_repeat, body_clear),
        cmocka_unit_test_setup(a_list_refuses_what_is_no_value, body_clear),
        cmocka_unit_test_setup(searches_rank_page_and_refuse, body_clear),
        cmocka_unit_test_setup(switches_under_readers, body_clear),
        cmocka_unit_test_setup(questions_of_one_instant, body_clear),
        cmocka_unit_test_setup(a_crash_between_two_statements, body_clear),
        cmocka_unit_test_setup(a_crash_at_any_moment, body_clear),
    };
    size_t common = sizeof(tests) / sizeof(tests[0]);
    struct CMUnitTest *all = calloc(common + count, sizeof(*all));
    memcpy(all, tests, sizeof(tests));
    if (count > 0)
        memcpy(all + common, own, count * sizeof(*all));
    body_place = under_test;
    make_projection();
    int failed = _cmocka_run_group_tests("sink", all, common + count, NULL, NULL);
    free(all);
    return failed;
}
