/* SPDX-License-Identifier: Apache-2.0 */
/* The common body, third part: lists and searches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "body_int.h"

static const struct test_account *account_at(const struct collected *all, size_t at)
{
    return all->rows[at];
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

static void check_pages(struct sink_view *view, struct sink_list query, struct test_account **wanted, size_t count,
                        bool by_closed)
{
    size_t at = 0, limit = query.limit;
    for (;;) {
        struct collected *page = body_collected(0);
        struct sink_checkpoint checkpoint;
        struct banyan_error err = BANYAN_ERROR_INIT;
        body_must(view->ops->list(view, &query, &checkpoint, body_collect, page, &err), &err);
        assert_int_equal(checkpoint.position.value, 1);
        assert_int_equal(page->count, count - at < limit ? count - at : limit);
        for (size_t i = 0; i < page->count; i++)
            assert_int_equal(page->keys[i], wanted[at + i]->id);
        at += page->count;
        size_t last = page->count;
        if (last > 0) {
            query.after = true;
            query.after_key = page->keys[last - 1];
            query.after_range =
                by_closed ? account_at(page, last - 1)->closed_at : account_at(page, last - 1)->opened_at;
        }
        body_release(page);
        if (last < limit)
            break;
    }
    assert_int_equal(at, count);
}

static size_t wanted_rows(struct test_account *rows, size_t rows_count, const struct sink_list *query, bool by_closed,
                          struct test_account **ret)
{
    size_t count = 0;
    for (size_t i = 0; i < rows_count; i++) {
        int64_t us = by_closed ? rows[i].closed_at.us : rows[i].opened_at.us;
        bool in = banyan_str_equal(rows[i].owner, query->equal) &&
                  (query->from.us == BANYAN_TIME_NULL || us >= query->from.us) &&
                  (query->to.us == BANYAN_TIME_NULL || (us != BANYAN_TIME_NULL && us < query->to.us));
        if (in)
            ret[count++] = &rows[i];
    }
    qsort_r(ret, count, sizeof(ret[0]), list_order, by_closed ? &by_closed : NULL);
    return count;
}

void lists_page_without_loss_or_repeat(void **state)
{
    struct os_random random;
    struct test_account rows[300];
    struct sink_row changes[300];
    static const char *const owners[] = {"a", "b", "it's"};
    os_random_seed(&random, test_seed());
    for (int64_t i = 0; i < 300; i++) {
        rows[i] = body_account(i + 1);
        rows[i].owner = banyan_str_of(owners[os_random_below(&random, 3)]);
        rows[i].opened_at.us = (int64_t)os_random_below(&random, 6); /* many ties */
        if (os_random_below(&random, 2) == 0)
            rows[i].closed_at.us = (int64_t)os_random_below(&random, 6);
        changes[i] = (struct sink_row){0, i + 1, &rows[i], UINT64_MAX};
    }
    struct sink *sink;
    struct sink_view *view;
    struct sink_home *home = body_served(&sink, &view);
    body_must_flush(sink, changes, 300, 1);

    for (int round = 0; round < 150; round++) {
        bool by_closed = os_random_below(&random, 2) == 0;
        struct sink_list query = {
            .index = &body_projection()->tables[0].indexes[by_closed ? TEST_BY_OWNER_CLOSED : TEST_BY_OWNER],
            .equal = banyan_str_of(owners[os_random_below(&random, 3)]),
            .from = {os_random_below(&random, 2) == 0 ? BANYAN_TIME_NULL : (int64_t)os_random_below(&random, 6)},
            .to = {os_random_below(&random, 2) == 0 ? BANYAN_TIME_NULL : (int64_t)os_random_below(&random, 8)},
            .limit = 1 + os_random_below(&random, 30),
        };
        struct test_account *wanted[300];
        size_t count = wanted_rows(rows, 300, &query, by_closed, wanted);
        check_pages(view, query, wanted, count, by_closed);
    }
    body_close(home, sink, view);
}

void a_list_refuses_what_is_no_value(void **state)
{
    struct banyan_view_index indexes[] = {{"by_moves", "moves", "opened_at"}, {"by_open", "open", "opened_at"}};
    struct banyan_table table = body_projection()->tables[0];
    struct banyan_projection with = *body_projection();
    with.tables = &table;
    with.table_count = 1;
    table.indexes = indexes;
    table.index_count = 2;
    struct sink_home *home = body_home_of(&with);
    struct sink *sink = body_claim(home, 0, NULL);
    struct sink_view *view = body_view(home);
    struct test_account row = body_account(1);
    row.moves = -12;
    body_must_flush(sink, &(struct sink_row){0, 1, &row, UINT64_MAX}, 1, 1);
    body_serve(home, 0, 1);
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
        struct collected *all = body_collected(0);
        struct sink_checkpoint checkpoint;
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct sink_list query = {.index = &indexes[cases[i].index],
                                  .equal = banyan_str_of(cases[i].value),
                                  .from = {BANYAN_TIME_NULL},
                                  .to = {BANYAN_TIME_NULL},
                                  .limit = 10};
        assert_int_equal(view->ops->list(view, &query, &checkpoint, body_collect, all, &err), cases[i].status);
        assert_int_equal(all->count, cases[i].count);
        assert_true((err.hint[0] != '\0') == (cases[i].status != BANYAN_OK));
        body_release(all);
    }
    body_close(home, sink, view);
}

/* ---- search ---- */

void searches_rank_page_and_refuse(void **state)
{
    struct test_account rows[30];
    struct sink_row changes[30];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    if (!body_place->search)
        skip();
    for (int64_t i = 0; i < 30; i++) {
        rows[i] = body_account(i);
        rows[i].owner = i == 7 ? BANYAN_STR("Birch") : BANYAN_STR("x");
        rows[i].note = i % 2 == 0 ? BANYAN_STR("a (birch) tree") : BANYAN_STR("nothing");
        rows[i].opened_at.us = i;
        changes[i] = (struct sink_row){0, i, &rows[i], UINT64_MAX};
    }
    struct sink *sink;
    struct sink_view *view;
    struct sink_home *home = body_served(&sink, &view);
    body_must_flush(sink, changes, 30, 1);
    struct sink_search search = {.text = BANYAN_STR("bir"), .limit = 4};
    bool seen[30] = {false};
    size_t total = 0;
    for (;; search.skip += 4) {
        struct collected *page = body_collected(0);
        body_must(view->ops->search(view, &search, &checkpoint, body_collect, page, &err), &err);
        if (search.skip == 0)
            assert_int_equal(page->keys[0], 7); /* the first column is the weightiest */
        for (size_t i = 0; i < page->count; i++) {
            assert_false(seen[page->keys[i]]);
            seen[page->keys[i]] = true;
        }
        total += page->count;
        size_t count = page->count;
        body_release(page);
        if (count < 4)
            break;
    }
    assert_int_equal(total, 16);
    static const char *const signs[] = {"\U0001F600 birch", "birch \u20AC", "\u300Cbirch\u300D",
                                        "\U0001F600birch\uFE0F"};
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) { /* signs are no words: in no store */
        struct collected *found = body_collected(0);
        search = (struct sink_search){.text = banyan_str_of(signs[i]), .limit = 100};
        body_must(view->ops->search(view, &search, &checkpoint, body_collect, found, &err), &err);
        assert_int_equal(found->count, 16);
        body_release(found);
    }
    struct collected *all = body_collected(0);
    search = (struct sink_search){.range = "opened_at", .from = {5}, .to = {9}, .limit = 10};
    body_must(view->ops->search(view, &search, &checkpoint, body_collect, all, &err), &err);
    assert_int_equal(all->count, 4);
    assert_int_equal(all->keys[0], 8); /* without words the newest key first */
    body_release(all);
    struct sink_search bad[] = {{.text = BANYAN_STR("x"), .skip = SINK_SKIP_MAX + 1, .limit = 1},
                                {.range = "owner", .limit = 1},
                                {.table = 1, .text = BANYAN_STR("x"), .limit = 1},
                                {.equal = {{"nothing", BANYAN_STR("x")}}, .equal_count = 1, .limit = 1},
                                {.equal = {{"moves", BANYAN_STR("x")}}, .equal_count = 1, .limit = 1}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(view->ops->search(view, &bad[i], &checkpoint, body_collect, NULL, &err), BANYAN_INVALID);
        assert_true(err.hint[0] != '\0');
        banyan_error_clear(&err);
    }
    body_close(home, sink, view);
}
