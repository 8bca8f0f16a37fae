/* SPDX-License-Identifier: Apache-2.0 */
/* See world.h. */
#include "world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "sink/sinks.h"

void must(enum banyan_status st, const struct banyan_error *err, const char *what)
{
    if (st != BANYAN_OK)
        fail_msg("%s: %s: %s (%s)", what, banyan_status_name(st), err->message, err->detail);
}

void open_store(struct fixture *f)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char path[256];
    snprintf(path, sizeof(path), "%s/store", f->folder);
    must(store_open(&(struct store_options){.folder = path}, &f->store, &err), &err, "open the store");
}

struct banyan_projection *add_view(struct fixture *f, const struct banyan_projection *like)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *real = NULL;
    struct banyan_projection *spec = &f->specs[f->count];
    *spec = *like;
    snprintf(f->names[f->count], sizeof(f->names[0]), "%s%zu", like->name, f->count);
    spec->name = f->names[f->count];
    must(f->sqlite ? sink_sqlite_home(spec, f->folder, spec->name, &real, &err) : sink_memory_home(spec, &real, &err),
         &err, "home");
    faulty_home_init(&f->homes[f->count++], real);
    return spec;
}

void setup(struct fixture *f)
{
    *f = (struct fixture){.folder = test_folder_new()};
    os_random_seed(&f->random, test_seed());
    open_store(f);
}

void start(struct fixture *f, bool held)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    must(os_stop_open(&f->stop, &err), &err, "stop token");
    f->engine = projections_new(&(struct projections_options){
        .domain = &test_domain, .store = f->store, .stop = &f->stop, .cursor_lsn = f->cursor_lsn, .held = held});
    for (size_t i = 0; i < f->count; i++)
        must(projections_add(f->engine,
                             &(struct projection_options){
                                 .name = f->names[i], .projection = &f->specs[i], .home = &f->homes[i].base},
                             &err),
             &err, "add");
}

void stop(struct fixture *f)
{
    os_stop_request(&f->stop);
    projections_free(f->engine);
    os_stop_close(&f->stop);
    f->engine = NULL;
}

void teardown(struct fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        sink_home_close(f->homes[i].real);
    store_close(f->store);
    banyan_arena_release(&f->arena);
    test_folder_remove(f->folder);
}

struct projection_status status_of(struct fixture *f, size_t view)
{
    struct projection_status status;
    projections_status(f->engine, view, &status);
    return status;
}

void wait_state(struct fixture *f, size_t view, enum projection_state wanted)
{
    struct os_clock *clock = os_clock_real();
    int64_t began = os_clock_monotonic_us(clock);
    for (;;) {
        struct projection_status status = status_of(f, view);
        if (status.state == wanted)
            return;
        if (os_clock_monotonic_us(clock) - began > LIMIT_US)
            fail_msg("still %s, not %s: %s", projection_state_name(status.state), projection_state_name(wanted),
                     status.error.message);
        (void)os_stop_wait(&f->stop, 1000); /* it is not requested meanwhile */
    }
}

void wait_tail(struct fixture *f)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    for (size_t i = 0; i < f->count; i++)
        must(projections_wait(f->engine, i, store_tail(f->store), LIMIT_US, &err), &err, "wait");
}

void append(struct fixture *f, struct store_event *events, size_t count)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    must(store_append(f->store, &(struct store_append){.events = events, .event_count = count}, &appended, &err), &err,
         "append");
}

/* ---- what the view must say ---- */

struct compare {
    const struct banyan_projection *projection;
    const struct test_model *model;
    size_t seen;
};

static bool of_accounts(const struct banyan_projection *projection)
{
    return projection->tables[0].row->size == sizeof(struct test_account);
}

static enum banyan_status compare_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct compare *compare = context;
    const void *wanted = of_accounts(compare->projection) ? (const void *)compare->model->accounts[key]
                                                          : (const void *)compare->model->branches[key];
    if (wanted == NULL || banyan_record_diff(compare->projection->tables[0].row, row, wanted) != 0)
        return banyan_error_set(err, BANYAN_MISMATCH, "key %" PRId64 " %s", key,
                                wanted == NULL ? "should not be there" : "differs");
    compare->seen++;
    return BANYAN_OK;
}

void check_view(struct fixture *f, size_t view, uint64_t position)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint = {.source_lsn = 0};
    struct sink_home *home = f->homes[view].real;
    struct sink_view *asker = NULL;
    struct test_model *model = calloc(1, sizeof(*model));
    struct compare compare = {.projection = &f->specs[view], .model = model};
    must(home->ops->view(home, &asker, &err), &err, "view");
    test_model_fold(model, f->store, (struct banyan_position){position});
    must(asker->ops->range(asker, 0, INT64_MIN, INT64_MAX, &checkpoint, compare_row, &compare, &err), &err, "compare");
    assert_int_equal(checkpoint.position.value, position);
    size_t wanted = 0;
    for (size_t i = 0; i < TEST_MODEL_KEYS; i++)
        wanted +=
            of_accounts(&f->specs[view]) ? model->accounts[i] != NULL : i < TEST_BRANCHES && model->branches[i] != NULL;
    assert_int_equal(compare.seen, wanted);
    test_model_release(model);
    free(model);
    sink_view_close(asker);
}

/* The owner that the row of an account says; empty: there is none. */
static enum banyan_status note_owner(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct fixture *f = ((void **)context)[0];
    *(struct banyan_str *)((void **)context)[1] =
        banyan_arena_str(&f->arena, ((const struct test_account *)row)->owner);
    return BANYAN_OK;
}

static struct banyan_str owner_of(struct fixture *f, size_t view, int64_t key)
{
    struct sink_home *home = f->homes[view].real;
    struct sink_view *asker = NULL;
    struct sink_checkpoint checkpoint;
    struct banyan_str owner = BANYAN_STR("");
    void *context[2] = {f, &owner};
    assert_int_equal(home->ops->view(home, &asker, NULL), BANYAN_OK);
    assert_int_equal(asker->ops->get(asker, 0, key, &checkpoint, note_owner, context, NULL), BANYAN_OK);
    sink_view_close(asker);
    return owner;
}

void assert_owner(struct fixture *f, size_t view, int64_t key, const char *wanted)
{
    struct banyan_str owner = owner_of(f, view, key);
    if (!banyan_str_equal(owner, banyan_str_of(wanted)))
        fail_msg("account %" PRId64 " of view %zu: %.*s, not %s", key, view, (int)owner.size, owner.data, wanted);
}

struct banyan_projection partitioned(void)
{
    struct banyan_projection spec = test_projections[TEST_VIEW_ACCOUNTS];
    spec.name = "parts";
    spec.spread = BANYAN_PARTITIONED;
    return spec;
}

/* ---- asides ---- */

void append_bad(struct fixture *f)
{
    struct test_renamed renamed = {BANYAN_STR("y")};
    struct store_event bad[5];
    for (int64_t key = 1; key <= 5; key++)
        bad[key - 1] = test_event_of(TEST_RENAMED, &renamed, key, (struct banyan_time){2}, &f->random, &f->arena);
    bad[0].payload.size--;                    /* a cut payload */
    bad[1].schema = 9;                        /* a version of the future */
    bad[2].type = BANYAN_STR("Invented");     /* an unknown type */
    bad[3].stream = BANYAN_STR("account-4x"); /* no key */
    bad[4].payload = BANYAN_STR("\x06"
                                "a\0b"); /* text that no sink keeps */
    append(f, bad, 5);
}

void append_names(struct fixture *f, const char *owner, int64_t last)
{
    for (int64_t key = 1; key <= last; key++) {
        struct test_renamed renamed = {banyan_str_of(owner)};
        struct store_event event =
            test_event_of(TEST_RENAMED, &renamed, key, (struct banyan_time){3}, &f->random, &f->arena);
        append(f, &event, 1);
    }
}

void append_opened(struct fixture *f, int64_t last)
{
    struct test_opened opened = {BANYAN_STR("x"), {NULL, 0}, 1, banyan_decimal_null()};
    for (int64_t key = 1; key <= last; key++) {
        struct store_event event =
            test_event_of(TEST_OPENED, &opened, key, (struct banyan_time){1}, &f->random, &f->arena);
        append(f, &event, 1);
    }
}

size_t asides_of(struct fixture *f, size_t view, struct sink_aside **ret)
{
    struct sink_home *home = f->homes[view].real;
    struct sink_view *asker = NULL;
    size_t count = 0;
    assert_int_equal(home->ops->view(home, &asker, NULL), BANYAN_OK);
    assert_int_equal(asker->ops->asides(asker, &f->arena, ret, &count, NULL), BANYAN_OK);
    sink_view_close(asker);
    return count;
}
