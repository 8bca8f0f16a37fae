/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "commerce/commerce.h"
#include "commerce/read_models.h"
#include "follow.h"
#include "os/clock.h"
#include "projection/engine.h"
#include "sink/sinks.h"
#include "store/aggregate.h"

enum {
    LIMIT_US = 30 * 1000 * 1000,
    ROWS_BYTES_MAX = 16 * 1024 * 1024,
};

static const char over[] = "\"queue\":null";

static void must(enum banyan_status status, const struct banyan_error *err, const char *what)
{
    if (status != BANYAN_OK)
        fail_msg("%s: %s: %s", what, banyan_status_name(status), err->message);
}

static enum banyan_status add_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    const struct banyan_record **record = ((void **)context)[0];

    (void)key, (void)err;
    banyan_record_json(*record, row, ((void **)context)[1]);
    banyan_buf_add_text(((void **)context)[1], "\n");
    return BANYAN_OK;
}

/* All rows of all tables as text, in key order, each on a line. */
static void read_rows(struct projections *engine, size_t index, struct banyan_buf *ret)
{
    const struct banyan_projection *projection = projections_spec(engine, index);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct sink_view *view;

    must(projections_view(engine, index, &view, &err), &err, "open a view");
    for (unsigned t = 0; t < projection->table_count; t++) {
        const struct banyan_record *record = projection->tables[t].row;
        void *context[2] = {&record, ret};

        must(view->ops->range(view, t, 0, INT64_MAX, &checkpoint, add_row, context, &err), &err, projection->name);
    }
    sink_view_close(view);
}

static struct banyan_str next_line(struct banyan_str *text)
{
    const char *end = text->size == 0 ? NULL : memchr(text->data, '\n', text->size);
    struct banyan_str line = {text->data, end == NULL ? text->size : (size_t)(end + 1 - text->data)};

    text->data += line.size;
    text->size -= line.size;
    return line;
}

/* The same rows, but for those of jobs that are over where the projection drops what is archived. */
static void compare_rows(const struct banyan_projection *projection, struct banyan_str before, struct banyan_str after)
{
    struct banyan_str built = next_line(&after);

    while (before.size > 0) {
        struct banyan_str row = next_line(&before);

        if (banyan_str_equal(row, built))
            built = next_line(&after);
        else if (projection->archived != BANYAN_ARCHIVED_DROPPED ||
                 memmem(row.data, row.size, over, strlen(over)) == NULL)
            fail_msg("%s: %.*s is rebuilt as %.*s", projection->name, (int)row.size, row.data, (int)built.size,
                     built.data);
    }
    if (built.size > 0)
        fail_msg("%s: only the rebuild has %.*s", projection->name, (int)built.size, built.data);
}

struct mirrored {
    struct aggregates *aggregates;
    const struct banyan_legacy_mapping *mapping;
    const struct banyan_record *record;
    size_t rows;
};

static enum banyan_status compare_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct mirrored *mirrored = context;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_version version;
    const struct banyan_aggregate *aggregate = mirrored->mapping->aggregate;
    void *state = banyan_arena_zalloc(&arena, aggregate->state->size);
    void *told = banyan_arena_zalloc(&arena, mirrored->record->size);

    must(aggregates_state(mirrored->aggregates, banyan_str_of(aggregate->category),
                          banyan_arena_printf(&arena, "%" PRId64, key), &arena, state, &version, err),
         err, "read a state");
    if (!mirrored->mapping->row(state, told) || banyan_record_diff(mirrored->record, told, row) != 0)
        fail_msg("%s-%" PRId64 ": the mirror's row is not the state's", aggregate->category, key);
    mirrored->rows++;
    banyan_arena_release(&arena);
    return BANYAN_OK;
}

static void check_mirror(struct projections *engine, struct aggregates *aggregates, enum commerce_projection index,
                         enum commerce_aggregate aggregate)
{
    struct mirrored mirrored = {aggregates, &banyan_domain_commerce.mappings[aggregate],
                                commerce_projections[index].tables->row, 0};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct sink_view *view;

    must(projections_view(engine, index, &view, &err), &err, "open a view");
    must(view->ops->range(view, 0, 0, INT64_MAX, &checkpoint, compare_row, &mirrored, &err), &err, "read the mirror");
    assert_true(mirrored.rows > 0);
    sink_view_close(view);
}

static void wait_rebuilt(struct projections *engine, size_t index)
{
    struct projection_status status;

    for (int64_t waited_us = 0; waited_us < LIMIT_US; waited_us += 1000) {
        projections_status(engine, index, &status);
        if (status.rebuild.phase == REBUILD_NONE && status.checkpoint.generation > 1)
            return;
        os_clock_real()->sleep_us(os_clock_real(), 1000);
    }
    fail_msg("%s is not rebuilt: %s", projections_name(engine, index), status.error.message);
}

static void wait_live(struct projections *engine, size_t index)
{
    struct projection_status status = {.state = PROJECTION_NONE};

    for (int64_t waited_us = 0; status.state != PROJECTION_LIVE; waited_us += 1000) {
        if (waited_us > LIMIT_US)
            fail_msg("%s is not live: %s", projections_name(engine, index), status.error.message);
        os_clock_real()->sleep_us(os_clock_real(), 1000);
        projections_status(engine, index, &status);
    }
}

static void follow(struct projections *engine, struct store *store, struct aggregates *aggregates)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    for (size_t i = 0; i < PROJECTION_COUNT; i++) {
        struct banyan_buf before = BANYAN_BUF_INIT(ROWS_BYTES_MAX), after = BANYAN_BUF_INIT(ROWS_BYTES_MAX);
        struct projection_status status;

        wait_live(engine, i);
        must(projections_wait(engine, i, store_tail(store), LIMIT_US, &err), &err, commerce_projections[i].name);
        projections_status(engine, i, &status);
        assert_int_equal(status.aside, 0);
        read_rows(engine, i, &before);
        assert_true(before.size > 0);
        must(projections_rebuild(engine, i, &err), &err, commerce_projections[i].name);
        wait_rebuilt(engine, i);
        read_rows(engine, i, &after);
        compare_rows(&commerce_projections[i], (struct banyan_str){before.data, before.size},
                     (struct banyan_str){after.data, after.size});
        banyan_buf_release(&before);
        banyan_buf_release(&after);
    }
    check_mirror(engine, aggregates, PROJECTION_LEGACY_ORDERS, AGGREGATE_ORDER);
    check_mirror(engine, aggregates, PROJECTION_LEGACY_PAYMENTS, AGGREGATE_PAYMENT);
    check_mirror(engine, aggregates, PROJECTION_LEGACY_SHIPMENTS, AGGREGATE_FULFILLMENT);
    check_mirror(engine, aggregates, PROJECTION_LEGACY_STOCK, AGGREGATE_STOCK);
}

void follow_all(struct store *store, struct aggregates *aggregates, const char *folder)
{
    for (int files = 0; files < 2; files++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct projections *engine;
        struct os_stop stop;

        must(os_stop_open(&stop, &err), &err, "make a stop");
        engine = projections_new(
            &(struct projections_options){.domain = &banyan_domain_commerce, .store = store, .stop = &stop});
        for (size_t i = 0; i < PROJECTION_COUNT; i++) {
            const struct banyan_projection *projection = &commerce_projections[i];
            struct projection_options options = {.name = projection->name, .projection = projection};

            must(files ? sink_sqlite_home(projection, folder, projection->name, &options.home, &err)
                       : sink_memory_home(projection, &options.home, &err),
                 &err, projection->name);
            must(projections_add(engine, &options, &err), &err, projection->name);
        }
        follow(engine, store, aggregates);
        os_stop_request(&stop);
        projections_free(engine);
        os_stop_close(&stop);
    }
}
