/* SPDX-License-Identifier: Apache-2.0 */
/* The unit of work against a simple model, over the sink in memory. */
#include "projection/unit.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sink/sinks.h"
#include "support/test_domain.h"

enum {
    KEYS = 200,
};

struct fixture {
    struct sink_home *home;
    struct sink *sink;
    struct banyan_unit *unit;
    struct banyan_arena arena;
};

static const struct banyan_projection *const view = &test_projections[TEST_VIEW_ACCOUNTS];

static void open_fixture(struct fixture *f, size_t cache_bytes_max)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    uint32_t number = 0;
    *f = (struct fixture){.home = NULL};
    if (sink_memory_home(view, &f->home, &err) != BANYAN_OK ||
        f->home->ops->make(f->home, (struct sink_mark){.partial = false}, &number, &err) != BANYAN_OK ||
        f->home->ops->open(f->home, number, &f->sink, &err) != BANYAN_OK ||
        f->sink->ops->claim(f->sink, &checkpoint, &err) != BANYAN_OK ||
        f->sink->ops->seal(f->sink, &(struct sink_flush){.row_count = 0}, &err) != BANYAN_OK ||
        f->home->ops->serve(f->home, 0, number, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    f->unit = unit_new(view, f->sink, true, cache_bytes_max);
}

static void close_fixture(struct fixture *f)
{
    unit_free(f->unit);
    sink_close(f->sink);
    sink_home_close(f->home);
    banyan_arena_release(&f->arena);
}

static void flush(struct fixture *f, uint64_t position)
{
    struct sink_flush flush = {.checkpoint = {.position = {position}}};
    struct banyan_error err = BANYAN_ERROR_INIT;
    flush.rows = unit_rows(f->unit, &flush.row_count);
    for (size_t i = 1; i < flush.row_count; i++)
        assert_true(flush.rows[i - 1].key < flush.rows[i].key);
    if (f->sink->ops->flush(f->sink, &flush, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    unit_flushed(f->unit);
    assert_int_equal(unit_changed(f->unit), 0);
}

static struct test_account random_account(struct os_random *random, int64_t key, struct banyan_arena *arena)
{
    return (struct test_account){
        .id = key,
        .owner = banyan_arena_printf(arena, "%.*s", (int)os_random_below(random, 40),
                                     "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrst"),
        .note = os_random_below(random, 3) == 0 ? (struct banyan_str){NULL, 0} : BANYAN_STR("note"),
        .balance = banyan_decimal_of((int64_t)os_random_next(random), 2),
        .credit = os_random_below(random, 2) == 0 ? banyan_decimal_null() : banyan_decimal_of(-1, 4),
        .moves = (int64_t)os_random_next(random),
        .open = os_random_below(random, 2) == 0,
        .opened_at = {(int64_t)os_random_below(random, 1000)},
        .closed_at = {os_random_below(random, 2) == 0 ? BANYAN_TIME_NULL : BANYAN_TIME_INFINITY},
    };
}

static void check_row(const void *got, const struct test_account *wanted, int64_t key)
{
    if ((got == NULL) != (wanted == NULL))
        fail_msg("key %" PRId64 ": %s", key, got == NULL ? "missing" : "should not be there");
    if (got != NULL)
        assert_int_equal(banyan_record_diff(view->tables[0].row, got, wanted), 0);
}

struct rows {
    struct test_account **wanted;
    size_t seen;
};

static enum banyan_status see_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct rows *rows = context;
    check_row(row, rows->wanted[key], key);
    rows->seen++;
    return BANYAN_OK;
}

static void check_sink(struct fixture *f, struct test_account **wanted)
{
    struct rows rows = {.wanted = wanted};
    struct sink_checkpoint checkpoint;
    size_t count = 0;
    for (size_t i = 0; i < KEYS; i++)
        count += wanted[i] != NULL;
    struct sink_view *asker = NULL;
    assert_int_equal(f->home->ops->view(f->home, &asker, NULL), BANYAN_OK);
    assert_int_equal(asker->ops->range(asker, 0, INT64_MIN, INT64_MAX, &checkpoint, see_row, &rows, NULL), BANYAN_OK);
    sink_view_close(asker);
    assert_int_equal(rows.seen, count);
}

/* A seeded run of everything that can be done with a unit; *now* is what it must say, *flushed* what the sink must. */
static void random_run(uint64_t seed, size_t cache_bytes_max)
{
    struct os_random random;
    struct fixture f;
    struct test_account *now[KEYS] = {NULL}, *flushed[KEYS] = {NULL};
    struct unit_stats stats;

    os_random_seed(&random, seed);
    open_fixture(&f, cache_bytes_max);
    for (int step = 0; step < 20000; step++) {
        int64_t key = (int64_t)os_random_below(&random, KEYS);
        uint64_t dice = os_random_below(&random, 1000);
        if (dice < 400) {
            check_row(banyan_unit_get(f.unit, 0, key), now[key], key);
        } else if (dice < 800) {
            const struct test_account *old = banyan_unit_get(f.unit, 0, key);
            now[key] = banyan_arena_alloc(&f.arena, sizeof(**now));
            *now[key] = random_account(&random, key, &f.arena);
            if (old != NULL && os_random_below(&random, 2) == 0) { /* strings that point into the old row */
                struct test_account changed = *old;
                changed.moves = now[key]->moves;
                if (os_random_below(&random, 2) == 0)
                    changed.note = old->owner;
                banyan_record_copy(view->tables[0].row, now[key], &changed, &f.arena);
                banyan_unit_put(f.unit, 0, key, &changed);
            } else {
                banyan_unit_put(f.unit, 0, key, now[key]);
            }
        } else if (dice < 900) {
            banyan_unit_delete(f.unit, 0, key);
            now[key] = NULL;
        } else if (dice < 980) {
            int64_t keys[32];
            for (size_t i = 0; i < 32; i++)
                keys[i] = (int64_t)os_random_below(&random, KEYS);
            assert_int_equal(unit_read_ahead(f.unit, 0, keys, 32, NULL), BANYAN_OK);
        } else if (dice < 995) {
            flush(&f, (uint64_t)step + 1);
            memcpy(flushed, now, sizeof(now));
            check_sink(&f, flushed);
        } else {
            unit_forget(f.unit, false);
            memcpy(now, flushed, sizeof(now));
        }
        assert_int_equal(unit_failed(f.unit, NULL), BANYAN_OK);
    }
    unit_stats(f.unit, &stats);
    if (cache_bytes_max > 0)
        assert_true(stats.evictions > 0 && stats.reads > 0);
    close_fixture(&f);
}

static void random_runs_agree_with_the_model(void **state)
{
    uint64_t seed = test_seed();
    for (uint64_t i = 0; i < 4; i++) {
        random_run(seed + i, 4096);
        random_run(seed + i, 0);
    }
}

static void rows_in_memory_need_no_read(void **state)
{
    struct fixture f;
    struct os_random random;
    struct unit_stats stats;
    os_random_seed(&random, 1);
    open_fixture(&f, 0);
    for (int64_t key = 0; key < 100; key++) {
        struct test_account account = random_account(&random, key, &f.arena);
        assert_null(banyan_unit_get(f.unit, 0, key));
        banyan_unit_put(f.unit, 0, key, &account);
    }
    flush(&f, 1);
    for (int64_t key = 0; key < 200; key++)
        assert_true((banyan_unit_get(f.unit, 0, key) != NULL) == (key < 100));
    unit_stats(f.unit, &stats);
    assert_int_equal(stats.reads, 0); /* the sink was empty at first: nothing can be there that is not in memory */
    close_fixture(&f);
}

static void what_did_not_change_is_not_flushed(void **state)
{
    struct fixture f;
    struct os_random random;
    size_t count;
    os_random_seed(&random, 1);
    open_fixture(&f, 0);
    struct test_account account = random_account(&random, 5, &f.arena);
    banyan_unit_put(f.unit, 0, 5, &account);
    flush(&f, 1);
    banyan_unit_put(f.unit, 0, 5, &account);
    assert_int_equal(unit_changed(f.unit), 0);
    account.moves++;
    banyan_unit_put(f.unit, 0, 5, &account);
    const struct sink_row *rows = unit_rows(f.unit, &count);
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].changed, 1 << 5); /* only the moves */
    banyan_unit_put(f.unit, 0, 6, &account);
    assert_int_equal(((const struct test_account *)banyan_unit_get(f.unit, 0, 6))->id, 6);
    banyan_unit_delete(f.unit, 0, 6);
    (void)unit_rows(f.unit, &count); /* the count is what matters */
    assert_int_equal(count, 1);      /* 6 came and went */
    close_fixture(&f);
}

static void rows_that_no_sink_could_keep_are_refused(void **state)
{
    struct fixture f;
    struct os_random random;
    struct banyan_error err = BANYAN_ERROR_INIT;
    os_random_seed(&random, 1);
    open_fixture(&f, 0);
    struct test_account good = random_account(&random, 5, &f.arena);
    struct test_account bad[3] = {good, good, good};
    bad[0].owner.data = NULL;
    bad[1].owner = BANYAN_STR("a\0b");
    bad[2].balance = banyan_decimal_of(1, 3);
    for (size_t i = 0; i < 3; i++) {
        banyan_error_clear(&err);
        unit_begin(f.unit, false, 0);
        banyan_unit_put(f.unit, 0, 5, &bad[i]);
        assert_int_equal(unit_end(f.unit, &err), BANYAN_INVALID);
        assert_non_null(strstr(err.message, i < 2 ? "owner" : "balance"));
        unit_begin(f.unit, false, 0);
        assert_null(banyan_unit_get(f.unit, 0, 5));
        assert_int_equal(unit_end(f.unit, NULL), BANYAN_OK); /* told once */
    }
    close_fixture(&f);
}

/* Two tables of other records, keys that both have. */
static void tables_do_not_mix(void **state)
{
    struct banyan_table tables[2] = {view->tables[0], test_projections[TEST_VIEW_BRANCHES].tables[0]};
    struct banyan_projection both = {.name = "both", .tables = tables, .table_count = 2};
    struct banyan_unit *unit = unit_new(&both, NULL, true, 0);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct os_random random;
    size_t count;
    os_random_seed(&random, 1);
    for (int64_t key = 9; key >= 0; key--) {
        struct test_account account = random_account(&random, key, &arena);
        struct test_branch branch = {.branch = key, .moves = key * 2, .total = banyan_decimal_of(key, 2)};
        banyan_unit_put(unit, 1, key, &branch);
        banyan_unit_put(unit, 0, key, &account);
    }
    banyan_unit_delete(unit, 1, 3);
    assert_null(banyan_unit_get(unit, 1, 3));
    assert_non_null(banyan_unit_get(unit, 0, 3));
    assert_int_equal(((const struct test_branch *)banyan_unit_get(unit, 1, 4))->moves, 8);
    const struct sink_row *rows = unit_rows(unit, &count);
    assert_int_equal(count, 19);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rows[i].table, i >= 10);
        assert_int_equal(rows[i].key, i < 10 ? i : i < 13 ? i - 10 : i - 9);
    }
    unit_free(unit);
    banyan_arena_release(&arena);
}

/* An event that is refused leaves nothing behind, whatever it did before. */
static void what_is_refused_is_taken_back(void **state)
{
    struct os_random random;
    struct fixture f;
    struct test_account *now[KEYS] = {NULL};
    os_random_seed(&random, test_seed());
    open_fixture(&f, 0);
    for (int step = 0; step < 5000; step++) {
        struct test_account *then[KEYS];
        bool refused = false;
        memcpy(then, now, sizeof(now));
        unit_begin(f.unit, false, 0);
        for (uint64_t changes = os_random_below(&random, 6); changes > 0; changes--) {
            int64_t key = (int64_t)os_random_below(&random, 8);
            if (os_random_below(&random, 4) == 0) {
                banyan_unit_delete(f.unit, 0, key);
                then[key] = NULL;
            } else {
                then[key] = banyan_arena_alloc(&f.arena, sizeof(**then));
                *then[key] = random_account(&random, key, &f.arena);
                struct test_account row = *then[key];
                if (os_random_below(&random, 10) == 0) {
                    row.owner.data = NULL;
                    refused = true;
                }
                banyan_unit_put(f.unit, 0, key, &row);
            }
        }
        assert_int_equal(unit_end(f.unit, NULL), refused ? BANYAN_INVALID : BANYAN_OK);
        if (!refused)
            memcpy(now, then, sizeof(now));
        for (int64_t key = 0; key < 8; key++)
            check_row(banyan_unit_get(f.unit, 0, key), now[key], key);
        if (os_random_below(&random, 20) == 0) {
            flush(&f, (uint64_t)step + 1);
            check_sink(&f, now);
        }
    }
    close_fixture(&f);
}

static void a_bound_event_stays_with_its_key(void **state)
{
    struct fixture f;
    struct os_random random;
    struct banyan_error err = BANYAN_ERROR_INIT;
    os_random_seed(&random, 1);
    open_fixture(&f, 0);
    struct test_account account = random_account(&random, 5, &f.arena);
    unit_begin(f.unit, true, 5);
    banyan_unit_put(f.unit, 0, 5, &account);
    assert_int_equal(unit_end(f.unit, NULL), BANYAN_OK);
    for (int what = 0; what < 4; what++) {
        unit_begin(f.unit, true, 5);
        banyan_unit_delete(f.unit, 0, 5);
        if (what == 0)
            banyan_unit_put(f.unit, 0, 6, &account);
        else if (what == 1)
            banyan_unit_delete(f.unit, 0, 6);
        else if (what == 2)
            assert_null(banyan_unit_get(f.unit, 0, 6));
        else
            banyan_unit_put(f.unit, 1, 5, &account); /* no such table */
        banyan_error_clear(&err);
        assert_int_equal(unit_end(f.unit, &err), BANYAN_INVALID);
        assert_non_null(strstr(err.message, what < 3 ? "the event is of key 5" : "no table 1"));
        check_row(banyan_unit_get(f.unit, 0, 5), &account, 5);
        assert_null(banyan_unit_get(f.unit, 0, 6));
    }
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_runs_agree_with_the_model),
        cmocka_unit_test(rows_in_memory_need_no_read),
        cmocka_unit_test(what_did_not_change_is_not_flushed),
        cmocka_unit_test(rows_that_no_sink_could_keep_are_refused),
        cmocka_unit_test(tables_do_not_mix),
        cmocka_unit_test(what_is_refused_is_taken_back),
        cmocka_unit_test(a_bound_event_stays_with_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
