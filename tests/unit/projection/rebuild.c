/* SPDX-License-Identifier: Apache-2.0 */
/* Rebuilds against a plain fold: all views, poison, appends meanwhile, memory, cancel, limits, resumption, archives. */
#include "projection/rebuild.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/clock.h"
#include "os/thread.h"
#include "sink/sinks.h"
#include "store/archive.h"
#include "support/tally.h"
#include "support/test_domain.h"

enum {
    WAIT_US = 120 * 1000 * 1000,
};

struct world {
    char *folder;
    struct store *store;
    struct os_random random;
    struct os_stop stop;
    /* the host */
    bool yields, refuses;
    struct sink_checkpoint old; /* what hold() says */
    unsigned holds, releases;
    struct sink *given;
    struct sink_checkpoint checkpoint;
    size_t aside_count;
    /* appends meanwhile */
    bool appending; /* atomic */
    struct os_thread thread;
    struct rebuild *running; /* by run() */
};

static bool yields(void *context)
{
    return __atomic_load_n(&((struct world *)context)->yields, __ATOMIC_RELAXED);
}

static enum banyan_status hold(void *context, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct world *world = context;
    world->holds++;
    if (world->refuses)
        return banyan_error_set(err, BANYAN_CONFLICT, "held by another");
    *ret = world->old;
    return BANYAN_OK;
}

static void release(void *context, struct sink *sink, const struct sink_checkpoint *checkpoint,
                    const struct sink_aside *asides, size_t aside_count)
{
    struct world *world = context;
    world->releases++;
    if (sink == NULL)
        return;
    sink_close(world->given);
    world->given = sink;
    world->checkpoint = *checkpoint;
    world->aside_count = aside_count;
}

static const struct rebuild_host host = {.yields = yields, .hold = hold, .release = release};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    world->folder = test_folder_new();
    os_random_seed(&world->random, test_seed());
    assert_int_equal(os_stop_open(&world->stop, NULL), BANYAN_OK);
    assert_int_equal(store_open(&(struct store_options){.folder = world->folder}, &world->store, NULL), BANYAN_OK);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    /* A test that failed in the middle leaves them at work on the store. */
    __atomic_store_n(&world->appending, false, __ATOMIC_RELAXED);
    os_thread_join(&world->thread);
    if (world->running != NULL)
        rebuild_cancel(world->running);
    rebuild_free(world->running);
    store_close(world->store);
    os_stop_close(&world->stop);
    test_folder_remove(world->folder);
    free(world);
    return 0;
}

static struct sink_home *memory_home(const struct banyan_projection *projection)
{
    struct sink_home *home = NULL;
    assert_int_equal(sink_memory_home(projection, &home, NULL), BANYAN_OK);
    return home;
}

static struct rebuild_options options_of(struct world *world, const struct banyan_projection *projection,
                                         struct sink_home *home)
{
    return (struct rebuild_options){.domain = &tally_domain,
                                    .projection = projection,
                                    .store = world->store,
                                    .home = home,
                                    .stop = &world->stop,
                                    .workers = 2,
                                    .host = &host,
                                    .context = world};
}

/* Runs it to its end. */
static enum rebuild_outcome run(const struct rebuild_options *options, struct rebuild_status *ret)
{
    struct rebuild *rebuild = rebuild_new(options);
    struct world *world = options->context;
    struct banyan_error err;
    rebuild_start(rebuild);
    world->running = rebuild;
    assert_true(rebuild_wait(rebuild, WAIT_US));
    world->running = NULL;
    enum rebuild_outcome outcome = rebuild_outcome(rebuild, &err);
    if (outcome == REBUILD_FAILED)
        print_message("# failed: %s %s\n", err.message, err.detail);
    if (ret != NULL)
        rebuild_status(rebuild, ret);
    rebuild_free(rebuild);
    return outcome;
}

static void close_given(struct world *world)
{
    sink_close(world->given);
    world->given = NULL;
}

/* ---- what serves is what a plain fold gives ---- */

struct comparing {
    const struct tally_plain *plain;
    const struct banyan_record *record;
    unsigned table;
    size_t count;
};

static enum banyan_status compare_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct comparing *comparing = context;
    const void *want = tally_plain_row(comparing->plain, comparing->table, key);
    assert_non_null(want);
    assert_int_equal(banyan_record_diff(comparing->record, want, row), 0);
    comparing->count++;
    return BANYAN_OK;
}

static void check_serving(struct world *world, const struct banyan_projection *projection, struct sink_home *home)
{
    struct sink_view *view = NULL;
    struct sink_checkpoint checkpoint, at;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sink_aside *asides = NULL;
    size_t count = 0, want_count;
    assert_int_equal(home->ops->view(home, &view, NULL), BANYAN_OK);
    assert_int_equal(view->ops->begin(view, &checkpoint, NULL), BANYAN_OK);
    struct tally_plain *plain = tally_plain_new(world->store, projection, checkpoint.position);
    for (unsigned i = 0; i < projection->table_count; i++) {
        struct comparing comparing = {plain, projection->tables[i].row, i, 0};
        assert_int_equal(view->ops->range(view, i, INT64_MIN, INT64_MAX, &at, compare_row, &comparing, NULL),
                         BANYAN_OK);
        assert_int_equal(comparing.count, tally_plain_count(plain, i));
    }
    assert_int_equal(view->ops->asides(view, &arena, &asides, &count, NULL), BANYAN_OK);
    const struct sink_aside *want = tally_plain_asides(plain, &want_count);
    assert_int_equal(count, want_count);
    for (size_t i = 0; i < count; i++) {
        size_t j = 0;
        while (j < count && want[j].position.value != asides[i].position.value)
            j++;
        assert_true(j < count);
        assert_int_equal(asides[i].held, want[j].held);
        assert_int_equal(asides[i].by_stream, want[j].by_stream);
        assert_int_equal(asides[i].key, want[j].key);
    }
    view->ops->end(view);
    tally_plain_free(plain);
    banyan_arena_release(&arena);
    sink_view_close(view);
}

static size_t generations(struct sink_home *home, struct sink_generation ret[SINK_GENERATIONS_MAX])
{
    size_t count = 0;
    assert_int_equal(home->ops->generations(home, ret, &count, NULL), BANYAN_OK);
    return count;
}

static void test_views(void **state)
{
    struct world *world = *state;
    tally_append(world->store, &world->random,
                 &(struct tally_append){.count = 30000, .keys = 2000, .poison = 30, .elsewhere = 10});
    for (unsigned view = 0; view < TALLY_VIEWS; view++) {
        const struct banyan_projection *projection = &tally_projections[view];
        struct sink_home *home = memory_home(projection);
        struct rebuild_options options = options_of(world, projection, home);
        struct rebuild_status status;
        assert_int_equal(run(&options, &status), REBUILD_SWITCHED);
        assert_int_equal(status.done, 1);
        assert_int_equal(world->checkpoint.position.value, store_durable(world->store).value);
        check_serving(world, projection, home);
        close_given(world);
        sink_home_close(home);
    }
}

static void test_sqlite(void **state)
{
    struct world *world = *state;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 60000, .keys = 50000, .poison = 30});
    for (unsigned view = 0; view < TALLY_VIEWS; view++) {
        const struct banyan_projection *projection = &tally_projections[view];
        struct sink_home *home = NULL;
        assert_int_equal(sink_sqlite_home(projection, world->folder, projection->name, &home, NULL), BANYAN_OK);
        struct rebuild_options options = options_of(world, projection, home);
        assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
        check_serving(world, projection, home);
        close_given(world);
        sink_home_close(home);
    }
}

static void test_empty_log(void **state)
{
    struct world *world = *state;
    const struct banyan_projection *projection = &tally_projections[TALLY_VIEW_ORDERS];
    struct sink_home *home = memory_home(projection);
    struct rebuild_options options = options_of(world, projection, home);
    assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
    assert_int_equal(world->checkpoint.position.value, 0);
    check_serving(world, projection, home);
    close_given(world);
    sink_home_close(home);
}

/* ---- appends meanwhile ---- */

static void keep_appending(void *argument)
{
    struct world *world = argument;
    struct os_random random;
    os_random_seed(&random, 7);
    /* So many at the most: a rebuild that is slower than this for good, as an instrumented one is, would never end. */
    for (unsigned i = 0; i < 300 && __atomic_load_n(&world->appending, __ATOMIC_RELAXED); i++) {
        tally_append(world->store, &random,
                     &(struct tally_append){.count = 200, .keys = 2500, .poison = 10, .batch = 20});
        os_clock_real()->sleep_us(os_clock_real(), 2000);
    }
}

static void test_appends(void **state)
{
    struct world *world = *state;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 40000, .keys = 2000, .poison = 20});
    for (unsigned view = 0; view < TALLY_VIEWS; view++) {
        const struct banyan_projection *projection = &tally_projections[view];
        struct sink_home *home = memory_home(projection);
        struct rebuild_options options = options_of(world, projection, home);
        uint64_t before = store_durable(world->store).value;
        world->appending = true;
        os_thread_start(&world->thread, "append", keep_appending, world);
        struct rebuild_status status;
        assert_int_equal(run(&options, &status), REBUILD_SWITCHED);
        __atomic_store_n(&world->appending, false, __ATOMIC_RELAXED);
        os_thread_join(&world->thread);
        assert_in_range(world->checkpoint.position.value, before, store_durable(world->store).value);
        check_serving(world, projection, home);
        close_given(world);
        sink_home_close(home);
    }
}

/* ---- memory ---- */

static void test_memory(void **state)
{
    struct world *world = *state;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 60000, .keys = 60000, .poison = 20});
    for (unsigned view = 0; view < TALLY_VIEWS; view++) {
        const struct banyan_projection *projection = &tally_projections[view];
        struct sink_home *home = memory_home(projection);
        struct rebuild_options options = options_of(world, projection, home);
        options.memory_bytes = 2 << 20;
        assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
        check_serving(world, projection, home);
        close_given(world);
        sink_home_close(home);
    }
}

/* The newest keys are given first, also where all rows do not fit; where all rows are theirs, too. */
static void test_recent(void **state)
{
    struct world *world = *state;
    struct banyan_projection projection = tally_projections[TALLY_VIEW_ORDERS];
    projection.recent_first = true;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 60000, .keys = 60000, .poison = 20});
    for (unsigned round = 0; round < 3; round++) {
        struct sink_home *home = memory_home(&projection);
        struct sink_generation list[SINK_GENERATIONS_MAX];
        struct rebuild_options options = options_of(world, &projection, home);
        options.memory_bytes = round == 0 ? 0 : round == 1 ? 8 << 20 : 1 << 20;
        world->releases = 0;
        assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
        assert_int_equal(world->releases, round == 2 ? 1 : 2); /* the last has no room for half of the keys */
        assert_int_equal(generations(home, list), 1);
        assert_false(sink_form_mark(list[0].form).partial);
        check_serving(world, &projection, home);
        /* All that serves is of use until the switch. */
        world->releases = 0;
        assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
        assert_int_equal(world->releases, 1);
        close_given(world);
        sink_home_close(home);
    }
}

/* ---- generations ---- */

static void test_again(void **state)
{
    struct world *world = *state;
    const struct banyan_projection *projection = &tally_projections[TALLY_VIEW_ORDERS];
    struct sink_home *home = memory_home(projection);
    struct rebuild_options options = options_of(world, projection, home);
    struct sink_generation list[SINK_GENERATIONS_MAX];
    for (unsigned i = 1; i <= 4; i++) {
        tally_append(world->store, &world->random, &(struct tally_append){.count = 3000, .keys = 500});
        assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
        world->old = world->checkpoint;
        assert_int_equal(world->given->generation, i);
        assert_int_equal(generations(home, list), i == 1 ? 1 : 2); /* one is kept */
        check_serving(world, projection, home);
    }
    /* Back to the one before, which has to catch up. */
    tally_append(world->store, &world->random, &(struct tally_append){.count = 3000, .keys = 500});
    options.generation = 3;
    assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
    assert_int_equal(world->given->generation, 3);
    assert_int_equal(world->checkpoint.position.value, store_durable(world->store).value);
    check_serving(world, projection, home);
    close_given(world);
    sink_home_close(home);
}

/* A switch that cannot be: the old one goes on, and what was made goes or stays as it should. */
static void test_refused(void **state)
{
    struct world *world = *state;
    const struct banyan_projection *projection = &tally_projections[TALLY_VIEW_ORDERS];
    struct sink_home *home = memory_home(projection);
    struct rebuild_options options = options_of(world, projection, home);
    struct sink_generation list[SINK_GENERATIONS_MAX];
    tally_append(world->store, &world->random, &(struct tally_append){.count = 3000, .keys = 500});
    world->refuses = true;
    assert_int_equal(run(&options, NULL), REBUILD_FAILED);
    assert_int_equal(world->holds, world->releases);
    assert_null(world->given);
    assert_int_equal(generations(home, list), 1);
    assert_true(list[0].sealed);
    assert_int_equal(list[0].state, SINK_BUILDING);
    /* It is whole: another one goes on with it. */
    world->refuses = false;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 3000, .keys = 500});
    options.generation = list[0].number;
    assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
    check_serving(world, projection, home);
    close_given(world);
    sink_home_close(home);
}

static void wait_for(struct rebuild *rebuild, enum rebuild_phase phase, struct rebuild_status *ret)
{
    for (int i = 0; i < 60000; i++) {
        rebuild_status(rebuild, ret);
        if (ret->phase == phase)
            return;
        os_clock_real()->sleep_us(os_clock_real(), 1000);
    }
    fail_msg("phase %d was not seen", (int)phase);
}

static void test_cancel_and_limit(void **state)
{
    struct world *world = *state;
    const struct banyan_projection *projection = &tally_projections[TALLY_VIEW_ORDERS];
    struct sink_home *home = memory_home(projection);
    struct rebuild_options options = options_of(world, projection, home);
    struct sink_generation list[SINK_GENERATIONS_MAX];
    struct rebuild_status status;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 50000, .keys = 500});
    options.events_per_second_max = 1000; /* 50 s */
    struct rebuild *rebuild = rebuild_new(&options);
    rebuild_start(rebuild);
    wait_for(rebuild, REBUILD_FOLD, &status);
    assert_false(rebuild_wait(rebuild, 100 * 1000));
    rebuild_status(rebuild, &status);
    assert_true(status.eta_us > 10 * 1000 * 1000);
    assert_true(status.done < 0.5);
    rebuild_cancel(rebuild);
    assert_true(rebuild_wait(rebuild, WAIT_US));
    assert_int_equal(rebuild_outcome(rebuild, NULL), REBUILD_CANCELLED);
    assert_int_equal(generations(home, list), 0);
    rebuild_free(rebuild);
    /* A limit that is lifted lets it go on; so does a critical one that has caught up. */
    __atomic_store_n(&world->yields, true, __ATOMIC_RELAXED);
    rebuild = rebuild_new(&options);
    rebuild_start(rebuild);
    wait_for(rebuild, REBUILD_WAITING, &status);
    assert_false(rebuild_wait(rebuild, 100 * 1000));
    rebuild_limit(rebuild, 0);
    assert_false(rebuild_wait(rebuild, 100 * 1000));
    __atomic_store_n(&world->yields, false, __ATOMIC_RELAXED);
    assert_true(rebuild_wait(rebuild, WAIT_US));
    assert_int_equal(rebuild_outcome(rebuild, NULL), REBUILD_SWITCHED);
    rebuild_free(rebuild);
    check_serving(world, projection, home);
    close_given(world);
    sink_home_close(home);
}

/* The estimate, sampled: a limit sets the pace, so that the truth is known on any machine. */
static void test_estimate(void **state)
{
    struct world *world = *state;
    const struct banyan_projection *projection = &tally_projections[TALLY_VIEW_ORDERS];
    struct sink_home *home = memory_home(projection);
    struct rebuild_options options = options_of(world, projection, home);
    struct {
        int64_t at_us, said_us;
    } samples[2000];
    size_t count = 0;
    double done = 0;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 60000, .keys = 500});
    options.events_per_second_max = 20000;
    struct rebuild *rebuild = rebuild_new(&options);
    int64_t began_us = os_clock_monotonic_us(os_clock_real());
    rebuild_start(rebuild);
    world->running = rebuild;
    while (!rebuild_wait(rebuild, 5000) && count < 2000) {
        struct rebuild_status status;
        rebuild_status(rebuild, &status);
        if (status.phase == REBUILD_NONE)
            break;
        assert_true(status.eta_us > 0);
        assert_true(status.eta_us_low <= status.eta_us && status.eta_us <= status.eta_us_high);
        assert_true(status.done < 1 && status.done >= done);
        done = status.done;
        samples[count].at_us = os_clock_monotonic_us(os_clock_real());
        samples[count++].said_us = status.eta_us;
    }
    assert_true(rebuild_wait(rebuild, WAIT_US));
    int64_t ended_us = os_clock_monotonic_us(os_clock_real()), total_us = ended_us - began_us;
    for (size_t i = 0; i < count; i++) {
        int64_t error_us = samples[i].said_us - (ended_us - samples[i].at_us);
        if (samples[i].at_us - began_us > total_us / 10)
            assert_true(error_us < total_us / 3 && error_us > -total_us / 3);
    }
    assert_true(count > 100);
    world->running = NULL;
    rebuild_free(rebuild);
    close_given(world);
    sink_home_close(home);
}

/* ---- archived streams ---- */

static void mark(struct world *world, int64_t from, int64_t to)
{
    char name[32];
    for (int64_t key = from; key < to; key++) {
        int size = snprintf(name, sizeof(name), "order-%lld", (long long)key);
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status st =
            store_archive_set(world->store, (struct banyan_str){name, (size_t)size}, (struct banyan_time){1}, &err);
        assert_true(st == BANYAN_OK || st == BANYAN_NOT_FOUND);
    }
}

static void test_carried(void **state)
{
    struct world *world = *state;
    struct banyan_projection projection = tally_projections[TALLY_VIEW_ORDERS];
    projection.archived = BANYAN_ARCHIVED_CARRIED;
    struct sink_home *home = memory_home(&projection);
    struct rebuild_options options = options_of(world, &projection, home);
    struct rebuild_status status;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 20000, .keys = 1000, .poison = 20});
    mark(world, 1, 500);
    /* Nothing serves yet: they are folded like others. */
    assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
    check_serving(world, &projection, home);
    world->old = world->checkpoint;
    /* Some get events after their mark: those are read again; the rest is carried, and what comes later follows. */
    tally_append(world->store, &world->random, &(struct tally_append){.count = 2000, .keys = 1000, .poison = 20});
    assert_int_equal(run(&options, &status), REBUILD_SWITCHED);
    check_serving(world, &projection, home);
    world->old = world->checkpoint;
    mark(world, 1, 900);
    tally_append(world->store, &world->random, &(struct tally_append){.count = 50, .keys = 1000});
    assert_int_equal(run(&options, &status), REBUILD_SWITCHED);
    check_serving(world, &projection, home);
    close_given(world);
    sink_home_close(home);
}

/* Rows that are carried are copied, not folded: one that was changed by hand shows it. */
static void test_carried_is_copied(void **state)
{
    struct world *world = *state;
    struct banyan_projection projection = tally_projections[TALLY_VIEW_ORDERS];
    projection.archived = BANYAN_ARCHIVED_CARRIED;
    struct sink_home *home = memory_home(&projection);
    struct rebuild_options options = options_of(world, &projection, home);
    tally_append(world->store, &world->random, &(struct tally_append){.count = 4000, .keys = 100});
    mark(world, 1, 50);
    assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
    struct tally_parcels changed = {.id = 7, .parcels = 12345};
    struct sink_row row = {.table = 1, .key = 7, .row = &changed, .changed = UINT64_MAX};
    struct sink_flush flush = {.rows = &row, .row_count = 1, .checkpoint = world->checkpoint};
    flush.checkpoint.position = store_durable(world->store);
    assert_int_equal(world->given->ops->flush(world->given, &flush, NULL), BANYAN_OK);
    world->old = flush.checkpoint;
    assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct tally_parcels found;
    void *rows[] = {&found};
    bool there[1];
    assert_int_equal(world->given->ops->get_many(world->given, 1, &row.key, 1, &arena, rows, there, NULL), BANYAN_OK);
    assert_true(there[0]);
    assert_int_equal(found.parcels, 12345);
    banyan_arena_release(&arena);
    close_given(world);
    sink_home_close(home);
}

static void test_dropped(void **state)
{
    struct world *world = *state;
    struct banyan_projection projection = tally_projections[TALLY_VIEW_ORDERS];
    projection.archived = BANYAN_ARCHIVED_DROPPED;
    struct sink_home *home = memory_home(&projection);
    struct rebuild_options options = options_of(world, &projection, home);
    uint64_t count;
    tally_append(world->store, &world->random, &(struct tally_append){.count = 4000, .keys = 100});
    mark(world, 1, 101);
    assert_int_equal(run(&options, NULL), REBUILD_SWITCHED);
    assert_int_equal(world->given->ops->count(world->given, 0, &count, NULL), BANYAN_OK);
    assert_int_equal(count, 0);
    close_given(world);
    sink_home_close(home);
}

/* ---- what is found at the start ---- */

static void test_plan(void **state)
{
    static const char ours[SINK_FORM_SIZE] = "a", other[SINK_FORM_SIZE] = "b";
    struct rebuild_plan plan;
    struct sink_generation list[5] = {
        {.number = 3, .state = SINK_KEPT, .sealed = true, .served_at = {30}},
        {.number = 4, .state = SINK_KEPT, .sealed = true, .served_at = {40}},
        {.number = 5, .state = SINK_SERVING, .sealed = true, .served_at = {50}},
        {.number = 6, .state = SINK_BUILDING, .sealed = false},
        {.number = 7, .state = SINK_BUILDING, .sealed = true},
    };
    for (size_t i = 0; i < 5; i++)
        memcpy(list[i].form, ours, SINK_FORM_SIZE);
    rebuild_plan(list, 0, ours, 1, &plan);
    assert_int_equal(plan.need, REBUILD_NEED_START);
    rebuild_plan(list, 3, ours, 1, &plan);
    assert_int_equal(plan.need, REBUILD_NEED_NONE);
    assert_int_equal(plan.drop_count, 1);
    assert_int_equal(plan.drop[0], 3);
    rebuild_plan(list, 4, ours, 2, &plan);
    assert_int_equal(plan.need, REBUILD_NEED_START);
    assert_int_equal(plan.drop_count, 1);
    assert_int_equal(plan.drop[0], 6);
    rebuild_plan(list, 5, ours, 2, &plan);
    assert_int_equal(plan.need, REBUILD_NEED_RESUME);
    assert_int_equal(plan.resume, 7);
    rebuild_plan(list, 5, other, 2, &plan);
    assert_int_equal(plan.need, REBUILD_NEED_START);
    assert_true(plan.outdated);
    assert_int_equal(plan.serving, 5);
    assert_int_equal(plan.drop_count, 2); /* both that are being built; those kept stay until a new one serves */

    /* Some keys serve: they go on, and the others are still to come; what was served of some keys only goes. */
    struct sink_generation some[3] = {
        {.number = 3, .state = SINK_KEPT, .sealed = true, .served_at = {30}},
        {.number = 4, .state = SINK_SERVING, .sealed = true, .served_at = {40}},
        {.number = 5, .state = SINK_BUILDING, .sealed = true},
    };
    char whole[SINK_FORM_SIZE];
    sink_form(&tally_projections[0], whole);
    for (size_t i = 0; i < 3; i++)
        sink_form_marked(&tally_projections[0], (struct sink_mark){true, INT64_C(-7)}, some[i].form);
    assert_int_equal(sink_form_mark(some[0].form).from, -7);
    assert_true(sink_form_mark(some[0].form).partial && !sink_form_mark(whole).partial);
    assert_true(sink_form_same(some[0].form, whole) && sink_form_readable(some[0].form, whole));
    rebuild_plan(some, 3, whole, 2, &plan);
    assert_int_equal(plan.need, REBUILD_NEED_START);
    assert_true(plan.partial && !plan.outdated);
    assert_int_equal(plan.serving, 4);
    assert_int_equal(plan.drop_count, 2);
    memcpy(some[2].form, whole, SINK_FORM_SIZE);
    rebuild_plan(some, 3, whole, 2, &plan);
    assert_int_equal(plan.need, REBUILD_NEED_RESUME);
    assert_int_equal(plan.resume, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan),
        cmocka_unit_test_setup_teardown(test_views, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sqlite, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_empty_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_appends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_recent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel_and_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_estimate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_carried, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_carried_is_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dropped, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
