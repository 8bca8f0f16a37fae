/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine and its rebuilds: who follows which generation, whatever happens in between.
 *
 * Run with arguments, this program is the child that is killed: it appends, projects and rebuilds until its alarm ends
 * it.
 */
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "world.h"

enum {
    KILLS = 16,
};

static const char *program;

/* ---- rebuilds ---- */

static void wait_rebuilt(struct fixture *f, size_t view, uint32_t generation)
{
    struct os_clock *clock = os_clock_real();
    int64_t began = os_clock_monotonic_us(clock);
    for (;;) {
        struct projection_status status = status_of(f, view);
        if (status.serves && status.checkpoint.generation == generation && status.rebuild.phase == REBUILD_NONE &&
            !status.outdated)
            return;
        if (os_clock_monotonic_us(clock) - began > LIMIT_US)
            fail_msg("generation %u, not %u: %s, %s", status.checkpoint.generation, generation,
                     rebuild_phase_name(status.rebuild.phase), status.error.message);
        (void)os_stop_wait(&f->stop, 1000); /* it is not requested meanwhile */
    }
}

/* A rebuild takes over while events arrive; no wait lies; going back works the same way. */
static void a_rebuild_takes_over_under_load(void **state)
{
    struct fixture f;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_projection parts = partitioned();
    setup(&f);
    add_view(&f, &parts);
    add_view(&f, &test_projections[1]);
    test_append_random(f.store, &f.random, 20000, ACCOUNTS);
    start(&f, false);
    wait_tail(&f);
    for (size_t view = 0; view < 2; view++)
        wait_state(&f, view, PROJECTION_LIVE);
    for (uint32_t round = 0; round < 3; round++) {
        for (size_t view = 0; view < 2; view++)
            if (round < 2)
                must(projections_rebuild(f.engine, view, &err), &err, "rebuild");
            else
                must(projections_rollback(f.engine, view, &err), &err, "roll back");
        uint64_t seen[2] = {0, 0};
        bool over = false;
        while (!over) {
            test_append_random(f.store, &f.random, 50, ACCOUNTS);
            wait_tail(&f);
            over = true;
            for (size_t view = 0; view < 2; view++) {
                struct projection_status status = status_of(&f, view);
                assert_true(status.serves);
                assert_true(status.checkpoint.position.value >= seen[view]); /* never backwards */
                seen[view] = status.checkpoint.position.value;
                check_view(&f, view, store_tail(f.store).value);
                over &= status.rebuild.phase == REBUILD_NONE;
            }
        }
        for (size_t view = 0; view < 2; view++)
            wait_rebuilt(&f, view, round == 0 ? 2 : round == 1 ? 3 : 2);
    }
    assert_int_equal(projections_cancel(f.engine, 0, NULL), BANYAN_NOT_FOUND);
    must(projections_drop(f.engine, 0, 0, &err), &err, "drop");
    struct sink_generation generations[SINK_GENERATIONS_MAX];
    size_t count = 0;
    must(projections_generations(f.engine, 0, generations, &count, &err), &err, "generations");
    assert_int_equal(count, 1);
    assert_int_equal(projections_drop(f.engine, 0, 2, NULL), BANYAN_INVALID);
    assert_int_equal(projections_rollback(f.engine, 0, NULL), BANYAN_NOT_FOUND);
    stop(&f);
    teardown(&f);
}

/* A definition that changed is rebuilt without being asked; what was there serves until then. */
static void a_new_version_is_built_anew(void **state)
{
    struct fixture f;
    struct banyan_projection parts = partitioned();
    setup(&f);
    add_view(&f, &parts);
    test_append_random(f.store, &f.random, 20000, ACCOUNTS);
    start(&f, false);
    wait_tail(&f);
    wait_state(&f, 0, PROJECTION_LIVE);
    stop(&f);
    f.specs[0].version = 2;
    start(&f, false);
    wait_rebuilt(&f, 0, 2);
    test_append_random(f.store, &f.random, 100, ACCOUNTS);
    wait_tail(&f);
    wait_state(&f, 0, PROJECTION_LIVE);
    check_view(&f, 0, store_tail(f.store).value);
    assert_int_equal(status_of(&f, 0).events_applied, 100);
    stop(&f);
    teardown(&f);
}

/* A long log is folded at first; nobody is answered before. */
static void a_long_log_is_not_followed_from_its_beginning(void **state)
{
    struct fixture f;
    setup(&f);
    add_view(&f, &test_projections[0]);
    test_append_random(f.store, &f.random, 60000, ACCOUNTS);
    start(&f, false);
    wait_rebuilt(&f, 0, 1);
    wait_tail(&f);
    wait_state(&f, 0, PROJECTION_LIVE);
    assert_true(status_of(&f, 0).events_applied < 60000);
    stop(&f);
    check_view(&f, 0, 60000);
    teardown(&f);
}

/* ---- recent first ---- */

static enum banyan_status count_wanted(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct test_model *model = ((void **)context)[0];
    size_t *count = ((void **)context)[1];
    assert_non_null(model->accounts[key]);
    assert_int_equal(banyan_record_diff(test_projections[0].tables[0].row, row, model->accounts[key]), 0);
    (*count)++;
    return BANYAN_OK;
}

static enum banyan_status count_any(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    (*(size_t *)context)++;
    return BANYAN_OK;
}

static enum banyan_status any_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    if (context != NULL)
        assert_true(key >= *(int64_t *)context);
    return BANYAN_OK;
}

/* The newest keys equal the fold of all events; whoever asks of others, or of all, is refused. */
static void check_newest(struct fixture *f)
{
    struct sink_view *view = NULL;
    struct sink_checkpoint at;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct test_model *model = calloc(1, sizeof(*model));
    size_t count = 0, wanted = 0;
    void *context[2] = {model, &count};
    const struct banyan_table *table = &f->specs[0].tables[0];
    struct sink_list list = {
        .index = &table->indexes[0], .equal = BANYAN_STR("1"), .from = {BANYAN_TIME_NULL}, .to = {BANYAN_TIME_NULL}};
    struct sink_search search = {.from = {BANYAN_TIME_NULL}, .to = {BANYAN_TIME_NULL}, .limit = 10};
    list.limit = 1000;
    test_model_fold(model, f->store, store_tail(f->store));
    must(projections_view(f->engine, 0, &view, &err), &err, "view");
    must(view->ops->checkpoint(view, &at, &err), &err, "checkpoint");
    assert_true(at.ready.partial);
    int64_t from = at.ready.from;
    assert_in_range(from, 2, ACCOUNTS);
    for (int64_t key = from; key < TEST_MODEL_KEYS; key++)
        wanted += model->accounts[key] != NULL;
    must(view->ops->range(view, 0, from, INT64_MAX, &at, count_wanted, context, &err), &err, "range");
    assert_int_equal(at.position.value, store_tail(f->store).value);
    assert_int_equal(count, wanted);
    assert_true(wanted > 0);
    assert_int_equal(view->ops->range(view, 0, from - 1, INT64_MAX, &at, any_row, NULL, NULL), BANYAN_BUSY);
    assert_int_equal(view->ops->get(view, 0, from - 1, &at, any_row, NULL, NULL), BANYAN_BUSY);
    assert_int_equal(view->ops->get(view, 0, from, &at, any_row, &from, NULL), BANYAN_OK);
    assert_int_equal(view->ops->list(view, &list, &at, any_row, NULL, NULL), BANYAN_BUSY);
    assert_int_equal(view->ops->search(view, &search, &at, any_row, NULL, NULL), BANYAN_BUSY);
    list.ready_only = search.ready_only = true;
    assert_int_equal(view->ops->list(view, &list, &at, any_row, &from, NULL), BANYAN_OK);
    assert_int_equal(view->ops->search(view, &search, &at, any_row, &from, NULL), BANYAN_OK);
    must(view->ops->begin(view, &at, &err), &err, "begin");
    assert_int_equal(view->ops->get(view, 0, from - 1, &at, any_row, NULL, NULL), BANYAN_BUSY);
    view->ops->end(view);
    sink_view_close(view);
    /* Who looks behind the refusal finds nothing that is not right. */
    size_t others = 0;
    must(f->homes[0].real->ops->view(f->homes[0].real, &view, &err), &err, "view");
    must(view->ops->range(view, 0, INT64_MIN, from, &at, count_any, &others, &err), &err, "range");
    assert_int_equal(others, 0);
    sink_view_close(view);
    test_model_release(model);
    free(model);
}

static void wait_partial(struct fixture *f)
{
    for (int i = 0; i < LIMIT_US / 1000; i++) {
        struct projection_status status = status_of(f, 0);
        if (status.serves && status.checkpoint.ready.partial && status.state == PROJECTION_LIVE)
            return;
        (void)os_stop_wait(&f->stop, 1000); /* it is not requested meanwhile */
    }
    fail_msg("the newest keys do not serve");
}

/* The newest keys of a first build serve and follow while the others cannot be had, over a restart, too. */
static void newest_keys_serve_first(void **state)
{
    struct sink_generation generations[SINK_GENERATIONS_MAX];
    struct banyan_error err = BANYAN_ERROR_INIT;
    size_t count = 0;
    for (int sqlite = 0; sqlite < 2; sqlite++) {
        struct fixture f;
        struct banyan_projection parts = partitioned();
        parts.recent_first = true;
        setup(&f);
        f.sqlite = sqlite != 0;
        add_view(&f, &parts);
        test_append_random(f.store, &f.random, 60000, ACCOUNTS);
        atomic_store(&f.homes[0].fail_seal, true);
        for (int start_number = 0; start_number < 2; start_number++) {
            start(&f, false);
            wait_partial(&f);
            test_append_random(f.store, &f.random, 500, ACCOUNTS);
            wait_tail(&f);
            check_newest(&f);
            if (start_number == 0)
                stop(&f);
        }
        atomic_store(&f.homes[0].fail_seal, false);
        for (int i = 0; i < LIMIT_US / 1000 && status_of(&f, 0).checkpoint.ready.partial; i++)
            (void)os_stop_wait(&f.stop, 1000); /* it is not requested meanwhile */
        wait_rebuilt(&f, 0, status_of(&f, 0).checkpoint.generation);
        test_append_random(f.store, &f.random, 100, ACCOUNTS);
        wait_tail(&f);
        wait_state(&f, 0, PROJECTION_LIVE);
        assert_false(status_of(&f, 0).checkpoint.ready.partial);
        check_view(&f, 0, store_tail(f.store).value);
        must(projections_generations(f.engine, 0, generations, &count, &err), &err, "generations");
        assert_int_equal(count, 1); /* the small one is gone */
        assert_int_equal(projections_rollback(f.engine, 0, NULL), BANYAN_NOT_FOUND);
        /* Where all keys serve, a rebuild serves nothing less. */
        must(projections_rebuild(f.engine, 0, &err), &err, "rebuild");
        while (status_of(&f, 0).rebuild.phase != REBUILD_NONE)
            assert_false(status_of(&f, 0).checkpoint.ready.partial);
        stop(&f);
        teardown(&f);
    }
}

/* ---- many ---- */

/* Random stops, pauses and failures; at the end all views are what a fold gives. */
static void whatever_happens_views_equal_the_fold(void **state)
{
    struct fixture f;
    struct banyan_projection parts = partitioned();
    setup(&f);
    for (size_t i = 0; i < 6; i++)
        add_view(&f, i % 3 == 2 ? &parts : &test_projections[i % 3]);
    start(&f, false);
    for (int round = 0; round < 60; round++) {
        size_t view = os_random_below(&f.random, f.count);
        uint64_t dice = os_random_below(&f.random, 100);
        test_append_random(f.store, &f.random, 1 + os_random_below(&f.random, 3000), ACCOUNTS);
        if (dice < 20)
            atomic_store(&f.homes[view].fail_before, 1 + (unsigned)os_random_below(&f.random, 2));
        else if (dice < 40)
            atomic_store(&f.homes[view].fail_after, 1);
        else if (dice < 60)
            assert_int_equal(projections_pause(f.engine, view, os_random_below(&f.random, 2) == 0, NULL), BANYAN_OK);
        else if (dice < 75) {
            stop(&f);
            start(&f, false);
        }
    }
    for (size_t i = 0; i < f.count; i++)
        assert_int_equal(projections_pause(f.engine, i, false, NULL), BANYAN_OK);
    wait_tail(&f);
    for (size_t i = 0; i < f.count; i++)
        check_view(&f, i, store_tail(f.store).value);
    stop(&f);
    teardown(&f);
}

/* ---- kill -9 ---- */

struct rows {
    struct fixture *f;
    const struct banyan_record *record;
    struct {
        int64_t key;
        void *row;
    } rows[TEST_MODEL_KEYS];
    size_t count;
};

static enum banyan_status keep_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct rows *rows = context;
    rows->rows[rows->count].key = key;
    rows->rows[rows->count].row = banyan_arena_alloc(&rows->f->arena, rows->record->size);
    banyan_record_copy(rows->record, rows->rows[rows->count++].row, row, &rows->f->arena);
    return BANYAN_OK;
}

static struct rows *rows_of(struct fixture *f, size_t view)
{
    struct rows *rows = calloc(1, sizeof(*rows));
    struct sink_home *home = f->homes[view].real;
    struct sink_view *asker = NULL;
    struct sink_checkpoint checkpoint;
    rows->f = f;
    rows->record = f->specs[view].tables[0].row;
    assert_int_equal(home->ops->view(home, &asker, NULL), BANYAN_OK);
    assert_int_equal(asker->ops->range(asker, 0, INT64_MIN, INT64_MAX, &checkpoint, keep_row, rows, NULL), BANYAN_OK);
    assert_int_equal(checkpoint.position.value, store_tail(f->store).value);
    sink_view_close(asker);
    return rows;
}

/* The same rows, and the same asides with as many events held. */
static void compare_views(struct fixture *f, size_t one, size_t other)
{
    struct sink_aside *asides[2];
    struct rows *rows[2] = {rows_of(f, one), rows_of(f, other)};
    assert_int_equal(rows[0]->count, rows[1]->count);
    for (size_t i = 0; i < rows[0]->count; i++) {
        assert_int_equal(rows[0]->rows[i].key, rows[1]->rows[i].key);
        assert_int_equal(banyan_record_diff(rows[0]->record, rows[0]->rows[i].row, rows[1]->rows[i].row), 0);
    }
    free(rows[0]);
    free(rows[1]);
    size_t count = asides_of(f, one, &asides[0]);
    assert_int_equal(count, asides_of(f, other, &asides[1]));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(asides[0][i].position.value, asides[1][i].position.value);
        assert_int_equal(asides[0][i].by_stream, asides[1][i].by_stream);
        assert_int_equal(asides[0][i].held, asides[1][i].held);
    }
}

static void die(int number)
{
    kill(getpid(), SIGKILL);
}

static void add_three(struct fixture *f)
{
    struct banyan_projection parts = partitioned();
    f->sqlite = true;
    add_view(f, &test_projections[0]);
    add_view(f, &test_projections[1]);
    add_view(f, &parts);
}

/* Appends, projects and rebuilds until the alarm. */
static _Noreturn void child(char **argv)
{
    struct fixture f = {.folder = argv[1]};
    os_random_seed(&f.random, strtoull(argv[2], NULL, 10));
    open_store(&f);
    add_three(&f);
    start(&f, false);
    signal(SIGALRM, die);
    struct itimerval timer = {.it_value = {0, 5000 + (suseconds_t)os_random_below(&f.random, 150000)}};
    setitimer(ITIMER_REAL, &timer, NULL);
    for (;;) {
        test_append_random(f.store, &f.random, 1 + os_random_below(&f.random, 500), ACCOUNTS);
        size_t view = os_random_below(&f.random, 3);
        struct sink_aside *asides;
        if (os_random_below(&f.random, 10) == 0)
            append_bad(&f);
        if (!projections_serving(f.engine, view, NULL))
            continue;
        if (asides_of(&f, view, &asides) > 0 && os_random_below(&f.random, 3) == 0) /* it fails again, and is written */
            if (projections_retry(f.engine, view, asides[0].key,
                                  asides[0].by_stream ? asides[0].stream : BANYAN_STR(""), NULL) == BANYAN_OK)
                abort(); /* it cannot be applied */
        if (os_random_below(&f.random, 3) == 0)
            if (projections_rebuild(f.engine, view, NULL) == BANYAN_INVALID)
                abort(); /* perhaps one runs, but that is all */
    }
}

static void kill_one(struct fixture *f)
{
    extern char **environ;
    char seed[32];
    snprintf(seed, sizeof(seed), "%" PRIu64, os_random_next(&f->random));
    char *arguments[] = {(char *)(uintptr_t)program, f->folder, seed, NULL};
    pid_t pid;
    int status;
    assert_int_equal(posix_spawn(&pid, program, NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void killed_at_any_instant_it_goes_on(void **state)
{
    struct fixture f;
    uint64_t position = 0, moves = 0;
    setup(&f);
    test_append_random(f.store, &f.random, 3000, ACCOUNTS);
    for (int round = 0; round < KILLS; round++) {
        store_close(f.store);
        kill_one(&f);
        open_store(&f);
        moves += store_tail(f.store).value > position;
        position = store_tail(f.store).value;
    }
    assert_true(moves >= KILLS / 4); /* else the kills came too early to mean anything */
    add_three(&f);
    start(&f, false);
    wait_tail(&f);
    for (size_t view = 0; view < 3; view++)
        while (status_of(&f, view).rebuild.phase != REBUILD_NONE)
            (void)os_stop_wait(&f.stop, 1000); /* it is not requested meanwhile */
    wait_tail(&f);
    stop(&f);
    /* A view that never stopped, over the same log, has the same rows and the same keys aside. */
    f.sqlite = false;
    struct banyan_projection parts = partitioned();
    size_t first = f.count;
    add_view(&f, &test_projections[0]);
    add_view(&f, &test_projections[1]);
    add_view(&f, &parts);
    start(&f, true);
    wait_tail(&f);
    projections_release(f.engine);
    for (size_t view = first; view < f.count; view++)
        wait_state(&f, view, PROJECTION_LIVE);
    for (size_t view = 0; view < first; view++)
        compare_views(&f, view, first + view);
    stop(&f);
    teardown(&f);
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc == 3)
        child(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rebuild_takes_over_under_load),
        cmocka_unit_test(a_new_version_is_built_anew),
        cmocka_unit_test(a_long_log_is_not_followed_from_its_beginning),
        cmocka_unit_test(newest_keys_serve_first),
        cmocka_unit_test(whatever_happens_views_equal_the_fold),
        cmocka_unit_test(killed_at_any_instant_it_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
