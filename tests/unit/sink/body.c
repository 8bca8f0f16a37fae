/* SPDX-License-Identifier: Apache-2.0 */
/* One body of tests for all sinks: see body.h. */
#include "body.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/test_domain.h"

enum {
    KEYS = 120,
};

static const struct body_place *place;
static const struct banyan_projection *const accounts = &test_projections[TEST_VIEW_ACCOUNTS];

static int clear(void **state)
{
    place->clear();
    return 0;
}

struct sink *body_open(const struct banyan_projection *projection, struct sink_checkpoint *ret)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink *sink = NULL;
    struct sink_checkpoint checkpoint;
    if (place->open(projection, &sink, &err) != BANYAN_OK ||
        sink->ops->start(sink, ret == NULL ? &checkpoint : ret, &err) != BANYAN_OK)
        fail_msg("%s (%s)", err.message, err.detail);
    return sink;
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

static void must_flush(struct sink *sink, const struct sink_row *rows, size_t count, uint64_t position)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (body_flush(sink, rows, count, position, &err) != BANYAN_OK)
        fail_msg("%s (%s)", err.message, err.detail);
}

static struct test_account account(int64_t key)
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
    struct test_account a = account(INT64_MIN);
    a.balance = banyan_decimal_of(-large, 2);
    a.moves = INT64_MIN;
    a.opened_at.us = BANYAN_TIME_MINUS_INFINITY;
    ret[count++] = a;
    a = account(0);
    a.owner = BANYAN_STR("");
    a.note = BANYAN_STR("");
    a.credit = banyan_decimal_of(0, 4);
    ret[count++] = a;
    a = account(1);
    a.owner = BANYAN_STR("O'Neill \"x\" \\ \n\t {NULL,\"a\"} \xf0\x9f\x8c\xb3");
    a.note = BANYAN_STR("\\N");
    a.balance = (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
    a.credit = banyan_decimal_of(1, 4);
    a.open = true;
    a.opened_at.us = -1;
    a.closed_at.us = INT64_C(253402300799999999);
    ret[count++] = a;
    a = account(INT64_MAX);
    a.balance = banyan_decimal_of(large, 2);
    a.moves = INT64_MAX;
    a.note = BANYAN_STR("NULL");
    a.opened_at.us = BANYAN_TIME_INFINITY;
    a.closed_at.us = INT64_C(-62135596800000000);
    ret[count++] = a;
    return count;
}

struct collected {
    struct banyan_arena arena;
    const struct banyan_projection *projection;
    size_t count, stop_after;
    int64_t keys[4096];
    struct test_account *rows[4096];
};

static enum banyan_status collect(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct collected *all = context;
    if (all->stop_after != 0 && all->count == all->stop_after)
        return banyan_error_set(err, BANYAN_STOPPED, "enough");
    all->keys[all->count] = key;
    all->rows[all->count] = banyan_arena_alloc(&all->arena, sizeof(struct test_account));
    banyan_record_copy(accounts->tables[0].row, all->rows[all->count++], row, &all->arena);
    return BANYAN_OK;
}

static void release(struct collected *all)
{
    banyan_arena_release(&all->arena);
    free(all);
}

static struct collected *range(struct sink *sink, int64_t lo, int64_t hi, uint64_t position)
{
    struct collected *all = calloc(1, sizeof(*all));
    struct sink_checkpoint checkpoint = {.source_lsn = 1};
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (sink->ops->range(sink, lo, hi, &checkpoint, collect, all, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    assert_int_equal(checkpoint.position.value, position);
    assert_int_equal(checkpoint.at.us, position * 10);
    assert_int_equal(checkpoint.source_lsn, position * 100);
    for (size_t i = 1; i < all->count; i++)
        assert_true(all->keys[i - 1] < all->keys[i]);
    return all;
}

/* ---- rows ---- */

static void rows_come_back_as_they_went(void **state)
{
    struct sink_checkpoint checkpoint = {.source_lsn = 1};
    struct sink *sink = body_open(accounts, &checkpoint);
    struct test_account rows[8], got[8];
    struct sink_row changes[8];
    void *places[8];
    int64_t keys[8];
    bool found[8];
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    size_t count = extreme_accounts(rows);

    assert_int_equal(checkpoint.position.value + checkpoint.source_lsn, 0);
    for (size_t i = 0; i < count; i++)
        changes[i] = (struct sink_row){rows[i].id, &rows[i], UINT64_MAX};
    for (uint64_t round = 1; round <= 2; round++) { /* inserted, then updated */
        must_flush(sink, changes, count, round);
        struct collected *all = range(sink, INT64_MIN, INT64_MAX, round);
        assert_int_equal(all->count, count);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(banyan_record_diff(accounts->tables[0].row, all->rows[i], &rows[i]), 0);
        release(all);
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(sink->ops->get(sink, rows[i].id, &arena, &got[0], NULL), BANYAN_OK);
        assert_int_equal(banyan_record_diff(accounts->tables[0].row, &got[0], &rows[i]), 0);
    }
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_equal(sink->ops->get(sink, 77, &arena, &got[0], &err), BANYAN_NOT_FOUND);
    assert_string_equal(err.message, "");

    for (size_t i = 0; i < 8; i++) {
        keys[i] = i % 2 == 0 ? rows[i / 2].id : 1000 + (int64_t)i;
        places[i] = &got[i];
    }
    assert_int_equal(sink->ops->get_many(sink, keys, 8, &arena, places, found, NULL), BANYAN_OK);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(found[i], i % 2 == 0);
        if (found[i])
            assert_int_equal(banyan_record_diff(accounts->tables[0].row, &got[i], &rows[i / 2]), 0);
    }
    banyan_arena_release(&arena);
    sink_close(sink);
}

static void ranges_have_their_bounds(void **state)
{
    struct sink *sink = body_open(accounts, NULL);
    struct test_account rows[8];
    struct sink_row changes[8];
    size_t count = extreme_accounts(rows);
    for (size_t i = 0; i < count; i++)
        changes[i] = (struct sink_row){rows[i].id, &rows[i], UINT64_MAX};
    must_flush(sink, changes, count, 1);
    static const struct {
        int64_t lo, hi;
        size_t count;
    } cases[] = {{INT64_MIN, INT64_MAX, 4}, {INT64_MIN, 0, 1},         {0, 1, 1}, {1, 1, 0}, {0, 2, 2},
                 {2, INT64_MAX, 1},         {INT64_MIN, INT64_MIN, 0}, {5, 1, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct collected *all = range(sink, cases[i].lo, cases[i].hi, 1);
        assert_int_equal(all->count, cases[i].count);
        release(all);
    }
    struct collected *some = calloc(1, sizeof(*some));
    struct sink_checkpoint checkpoint;
    some->stop_after = 2;
    assert_int_equal(sink->ops->range(sink, INT64_MIN, INT64_MAX, &checkpoint, collect, some, NULL), BANYAN_STOPPED);
    assert_int_equal(some->count, 2);
    release(some);
    must_flush(sink, NULL, 0, 2); /* the handle works on */
    sink_close(sink);
}

static void random_flushes_agree_with_the_model(void **state)
{
    struct os_random random;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct test_account *model[KEYS] = {NULL};
    os_random_seed(&random, test_seed());
    struct sink *sink = body_open(accounts, NULL);

    for (uint64_t position = 1; position <= 60; position++) {
        struct sink_row changes[KEYS];
        size_t count = 0;
        uint64_t share = 1 + os_random_below(&random, 100); /* small and large flushes take different ways */
        for (int64_t key = 0; key < KEYS; key++) {
            if (os_random_below(&random, 100) >= share)
                continue;
            struct test_account *row = NULL;
            uint64_t changed = UINT64_MAX;
            if (model[key] == NULL || os_random_below(&random, 5) > 0) {
                row = banyan_arena_alloc(&arena, sizeof(*row));
                *row = model[key] != NULL ? *model[key] : account(key);
                row->moves = (int64_t)os_random_next(&random);
                if (os_random_below(&random, 2) == 0) {
                    row->owner = banyan_arena_printf(&arena, "%d", (int)os_random_below(&random, 9));
                    row->opened_at.us = (int64_t)os_random_below(&random, 100);
                }
                if (model[key] != NULL)
                    changed = banyan_record_diff(accounts->tables[0].row, model[key], row);
            }
            model[key] = row;
            changes[count++] = (struct sink_row){key, row, changed};
        }
        must_flush(sink, changes, count, position);
        struct collected *all = range(sink, INT64_MIN, INT64_MAX, position);
        size_t at = 0;
        for (int64_t key = 0; key < KEYS; key++) {
            if (model[key] == NULL)
                continue;
            assert_true(at < all->count && all->keys[at] == key);
            assert_int_equal(banyan_record_diff(accounts->tables[0].row, all->rows[at++], model[key]), 0);
        }
        assert_int_equal(at, all->count);
        release(all);
    }
    banyan_arena_release(&arena);
    sink_close(sink);
}

static size_t aside_count(struct sink *sink)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sink_aside *asides = NULL;
    size_t count = 99;
    assert_int_equal(sink->ops->asides(sink, &arena, &asides, &count, NULL), BANYAN_OK);
    if (count == 2) {
        assert_true(banyan_str_equal(asides[0].stream, BANYAN_STR("account-7")));
        assert_true(banyan_str_equal(asides[0].reason, BANYAN_STR("it's broken")));
        assert_int_equal(asides[0].position.value, 3);
        assert_true(banyan_str_equal(asides[1].stream, BANYAN_STR("account-x")));
    }
    banyan_arena_release(&arena);
    return count;
}

/* More rows than a sink writes one by one: inserted, updated, deleted, with asides, and with every kind's limits. */
static void large_flushes_are_as_small_ones(void **state)
{
    enum { LARGE = 3000 };
    struct os_random random;
    static struct test_account rows[LARGE];
    static struct sink_row changes[LARGE];
    static struct collected all;
    struct sink_aside aside = {BANYAN_STR("account-7"), {3}, BANYAN_STR("why")};
    os_random_seed(&random, test_seed());
    struct sink *sink = body_open(accounts, NULL);
    assert_int_equal(sink->ops->finish(sink, NULL), BANYAN_OK);
    for (uint64_t position = 1; position <= 3; position++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        size_t wanted = 0;
        for (int64_t i = 0; i < LARGE; i++) {
            struct test_account extreme[8];
            size_t count = extreme_accounts(extreme);
            rows[i] = extreme[os_random_below(&random, count)];
            rows[i].id = i;
            bool gone = position > 1 && os_random_below(&random, 10) == 0;
            wanted += !gone;
            changes[i] = (struct sink_row){i, gone ? NULL : &rows[i], UINT64_MAX};
        }
        struct sink_flush flush = {.rows = changes,
                                   .row_count = LARGE,
                                   .asides = &aside,
                                   .aside_count = 1,
                                   .checkpoint = {.position = {position}, .source_lsn = position}};
        if (sink->ops->flush(sink, &flush, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        struct sink_checkpoint checkpoint;
        all.count = 0;
        assert_int_equal(sink->ops->range(sink, INT64_MIN, INT64_MAX, &checkpoint, collect, &all, NULL), BANYAN_OK);
        assert_int_equal(checkpoint.position.value, position);
        assert_int_equal(all.count, wanted);
        for (size_t i = 0; i < all.count; i++)
            assert_int_equal(banyan_record_diff(accounts->tables[0].row, all.rows[i], &rows[all.keys[i]]), 0);
    }
    assert_int_equal(aside_count(sink), 1);
    struct sink *second = body_open(accounts, NULL); /* the fence holds for large ones, too */
    assert_int_equal(body_flush(sink, changes, LARGE, 9, NULL), BANYAN_BROKEN);
    sink_close(second);
    sink_close(sink);
    banyan_arena_release(&all.arena);
}

/* ---- life ---- */

static void a_reopened_sink_goes_on(void **state)
{
    struct test_account row = account(1);
    struct sink_checkpoint checkpoint;
    struct sink *sink = body_open(accounts, NULL);
    must_flush(sink, &(struct sink_row){1, &row, UINT64_MAX}, 1, 42);
    sink_close(sink);
    sink = body_open(accounts, &checkpoint);
    assert_int_equal(checkpoint.position.value, 42);
    assert_int_equal(checkpoint.at.us, 420);
    assert_int_equal(checkpoint.source_lsn, 4200);
    release(range(sink, INT64_MIN, INT64_MAX, 42));
    sink_close(sink);
}

static void put_aside(struct sink *sink, uint64_t position)
{
    struct sink_aside asides[] = {{BANYAN_STR("account-7"), {3}, BANYAN_STR("it's broken")},
                                  {BANYAN_STR("account-x"), {5}, BANYAN_STR("no \"key\"")}};
    struct sink_flush flush = {.asides = asides, .aside_count = 2, .checkpoint = {.position = {position}}};
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (sink->ops->flush(sink, &flush, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void another_version_empties_the_view(void **state)
{
    struct banyan_view_index one_index[] = {{"by_owner", "owner", "opened_at"}};
    struct banyan_table tables[3] = {accounts->tables[0], accounts->tables[0], accounts->tables[0]};
    struct banyan_projection others[3] = {*accounts, *accounts, *accounts};
    for (size_t i = 0; i < 3; i++)
        others[i].tables = &tables[i];
    others[0].version = 2;
    tables[1].indexes = one_index;
    tables[1].index_count = 1;
    tables[2].row =
        &(struct banyan_record){"account", accounts->tables[0].row->size, accounts->tables[0].row->fields, 8};
    tables[2].index_count = 1;

    for (size_t i = 0; i < 3; i++) {
        struct test_account row = account(1);
        struct sink_checkpoint checkpoint;
        place->clear();
        struct sink *sink = body_open(accounts, NULL);
        must_flush(sink, &(struct sink_row){1, &row, UINT64_MAX}, 1, 42);
        put_aside(sink, 43);
        assert_int_equal(aside_count(sink), 2);
        sink_close(sink);
        sink = body_open(accounts, &checkpoint); /* the same one keeps everything */
        assert_int_equal(checkpoint.position.value, 43);
        assert_int_equal(aside_count(sink), 2);
        sink_close(sink);
        sink = body_open(&others[i], &checkpoint);
        assert_int_equal(checkpoint.position.value, 0);
        assert_int_equal(aside_count(sink), 0);
        struct collected *all = calloc(1, sizeof(*all));
        assert_int_equal(sink->ops->range(sink, INT64_MIN, INT64_MAX, &checkpoint, collect, all, NULL), BANYAN_OK);
        assert_int_equal(all->count, 0);
        release(all);
        must_flush(sink, &(struct sink_row){1, &row, UINT64_MAX}, 1, 1);
        sink_close(sink);
    }
}

static void the_later_owner_fences_the_earlier(void **state)
{
    struct test_account row = account(1);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink *first = body_open(accounts, NULL);
    must_flush(first, &(struct sink_row){1, &row, UINT64_MAX}, 1, 1);
    struct sink *second = body_open(accounts, NULL);
    row.id = 2;
    assert_int_equal(body_flush(first, &(struct sink_row){2, &row, UINT64_MAX}, 1, 2, &err), BANYAN_BROKEN);
    assert_non_null(strstr(err.message, "taken"));
    struct collected *all = range(second, INT64_MIN, INT64_MAX, 1);
    assert_int_equal(all->count, 1); /* nothing of the late flush */
    release(all);
    must_flush(second, &(struct sink_row){2, &row, UINT64_MAX}, 1, 2);
    sink_close(first);
    sink_close(second);
}

static void readers_read_and_cannot_write(void **state)
{
    struct test_account row = account(1);
    struct sink *reader = NULL, *sink = body_open(accounts, NULL);
    assert_int_equal(sink->ops->reader(sink, &reader, NULL), BANYAN_OK);
    for (uint64_t position = 1; position <= 3; position++) {
        row.moves = (int64_t)position;
        must_flush(sink, &(struct sink_row){1, &row, UINT64_MAX}, 1, position);
        struct collected *all = range(reader, 1, 2, position);
        assert_int_equal(all->count, 1);
        assert_int_equal(all->rows[0]->moves, position);
        release(all);
        struct sink_checkpoint checkpoint;
        assert_int_equal(reader->ops->checkpoint(reader, &checkpoint, NULL), BANYAN_OK);
        assert_int_equal(checkpoint.position.value, position);
    }
    assert_int_equal(body_flush(reader, &(struct sink_row){2, &row, UINT64_MAX}, 1, 9, NULL), BANYAN_INVALID);
    sink_close(reader);
    sink_close(sink);
}

/* ---- lists ---- */

/* The order of a list: newest time first, no time last, then the larger key. */
static int list_order(const void *a, const void *b, void *by_closed)
{
    const struct test_account *x = *(struct test_account *const *)a, *y = *(struct test_account *const *)b;
    int64_t x_us = by_closed != NULL ? x->closed_at.us : x->opened_at.us;
    int64_t y_us = by_closed != NULL ? y->closed_at.us : y->opened_at.us;
    if (x_us != y_us)
        return x_us < y_us ? 1 : -1; /* BANYAN_TIME_NULL is the smallest */
    return (x->id < y->id) - (x->id > y->id);
}

static void check_pages(struct sink *sink, struct sink_list query, struct test_account **wanted, size_t count,
                        bool by_closed)
{
    size_t at = 0, limit = query.limit;
    for (;;) {
        struct collected *page = calloc(1, sizeof(*page));
        struct sink_checkpoint checkpoint;
        struct banyan_error err = BANYAN_ERROR_INIT;
        if (sink->ops->list(sink, &query, &checkpoint, collect, page, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        assert_int_equal(checkpoint.position.value, 1);
        assert_int_equal(page->count, count - at < limit ? count - at : limit);
        for (size_t i = 0; i < page->count; i++)
            assert_int_equal(page->keys[i], wanted[at + i]->id);
        at += page->count;
        size_t last = page->count;
        if (last > 0) {
            query.after = true;
            query.after_key = page->keys[last - 1];
            query.after_range = by_closed ? page->rows[last - 1]->closed_at : page->rows[last - 1]->opened_at;
        }
        release(page);
        if (last < limit)
            break;
    }
    assert_int_equal(at, count);
}

static void lists_page_without_loss_or_repeat(void **state)
{
    struct os_random random;
    struct test_account rows[300];
    struct sink_row changes[300];
    static const char *const owners[] = {"a", "b", "it's"};
    os_random_seed(&random, test_seed());
    for (int64_t i = 0; i < 300; i++) {
        rows[i] = account(i + 1);
        rows[i].owner = banyan_str_of(owners[os_random_below(&random, 3)]);
        rows[i].opened_at.us = (int64_t)os_random_below(&random, 6); /* many ties */
        if (os_random_below(&random, 2) == 0)
            rows[i].closed_at.us = (int64_t)os_random_below(&random, 6);
        changes[i] = (struct sink_row){i + 1, &rows[i], UINT64_MAX};
    }
    struct sink *sink = body_open(accounts, NULL);
    must_flush(sink, changes, 300, 1);

    for (int round = 0; round < 200; round++) {
        bool by_closed = os_random_below(&random, 2) == 0;
        struct sink_list query = {
            .index = &accounts->tables[0].indexes[by_closed ? TEST_BY_OWNER_CLOSED : TEST_BY_OWNER],
            .equal = banyan_str_of(owners[os_random_below(&random, 3)]),
            .from = {os_random_below(&random, 2) == 0 ? BANYAN_TIME_NULL : (int64_t)os_random_below(&random, 6)},
            .to = {os_random_below(&random, 2) == 0 ? BANYAN_TIME_NULL : (int64_t)os_random_below(&random, 8)},
            .limit = 1 + os_random_below(&random, 30),
        };
        struct test_account *wanted[300];
        size_t count = 0;
        for (size_t i = 0; i < 300; i++) {
            int64_t us = by_closed ? rows[i].closed_at.us : rows[i].opened_at.us;
            bool in = banyan_str_equal(rows[i].owner, query.equal) &&
                      (query.from.us == BANYAN_TIME_NULL || us >= query.from.us) &&
                      (query.to.us == BANYAN_TIME_NULL || (us != BANYAN_TIME_NULL && us < query.to.us));
            if (in)
                wanted[count++] = &rows[i];
        }
        qsort_r(wanted, count, sizeof(wanted[0]), list_order, by_closed ? &by_closed : NULL);
        check_pages(sink, query, wanted, count, by_closed);
    }
    sink_close(sink);
}

static void a_list_refuses_what_is_no_value(void **state)
{
    struct banyan_view_index indexes[] = {{"by_moves", "moves", "opened_at"}, {"by_open", "open", "opened_at"}};
    struct banyan_table table = accounts->tables[0];
    struct banyan_projection view = *accounts;
    view.tables = &table;
    table.indexes = indexes;
    table.index_count = 2;
    struct sink *sink = body_open(&view, NULL);
    struct test_account row = account(1);
    row.moves = -12;
    must_flush(sink, &(struct sink_row){1, &row, UINT64_MAX}, 1, 1);
    static const struct {
        size_t index;
        const char *value;
        enum banyan_status status;
        size_t count;
    } cases[] = {
        {0, "-12", BANYAN_OK, 1},   {0, "12", BANYAN_OK, 0},       {0, "1e1", BANYAN_INVALID, 0},
        {0, "", BANYAN_INVALID, 0}, {0, "1.0", BANYAN_INVALID, 0}, {0, "9223372036854775808", BANYAN_INVALID, 0},
        {1, "false", BANYAN_OK, 1}, {1, "true", BANYAN_OK, 0},     {1, "f", BANYAN_INVALID, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct collected *all = calloc(1, sizeof(*all));
        struct sink_checkpoint checkpoint;
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct sink_list query = {.index = &indexes[cases[i].index],
                                  .equal = banyan_str_of(cases[i].value),
                                  .from = {BANYAN_TIME_NULL},
                                  .to = {BANYAN_TIME_NULL},
                                  .limit = 10};
        assert_int_equal(sink->ops->list(sink, &query, &checkpoint, collect, all, &err), cases[i].status);
        assert_int_equal(all->count, cases[i].count);
        assert_true((err.hint[0] != '\0') == (cases[i].status != BANYAN_OK));
        release(all);
    }
    sink_close(sink);
}

int body_run(const struct body_place *under_test, const struct CMUnitTest *own, size_t count)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rows_come_back_as_they_went, clear),
        cmocka_unit_test_setup(ranges_have_their_bounds, clear),
        cmocka_unit_test_setup(random_flushes_agree_with_the_model, clear),
        cmocka_unit_test_setup(large_flushes_are_as_small_ones, clear),
        cmocka_unit_test_setup(a_reopened_sink_goes_on, clear),
        cmocka_unit_test_setup(another_version_empties_the_view, clear),
        cmocka_unit_test_setup(the_later_owner_fences_the_earlier, clear),
        cmocka_unit_test_setup(readers_read_and_cannot_write, clear),
        cmocka_unit_test_setup(lists_page_without_loss_or_repeat, clear),
        cmocka_unit_test_setup(a_list_refuses_what_is_no_value, clear),
    };
    size_t common = sizeof(tests) / sizeof(tests[0]);
    struct CMUnitTest *all = calloc(common + count, sizeof(*all));
    memcpy(all, tests, sizeof(tests));
    memcpy(all + common, own, count * sizeof(*all));
    place = under_test;
    int failed = _cmocka_run_group_tests("sink", all, common + count, NULL, NULL);
    free(all);
    return failed;
}
