/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All projections of a process: see engine.h.  What one of them does is in runner.c and its sisters.
 *
 * Thread note: `shared.lock` guards the list, which only grows; a runner that is in it stays until projections_free().
 */
#include "projection/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/thread.h"
#include "projection/archive.h"
#include "projection/ready.h"
#include "projection/runner_int.h"

enum {
    NAME_BYTES_MAX = 255, /* it is part of a stream's name */
};

struct projections {
    struct runner_engine engine;
    struct archive *archive; /* owned; NULL: the domain archives nothing by itself */
    struct {
        pthread_mutex_t lock;
        struct runner **runners; /* owned */
        size_t count, capacity;
    } shared;
};

/* Nothing is marked while the history is not complete, or a critical projection is behind. */
static bool archive_waits(const void *context)
{
    const struct runner_engine *engine = context;
    return atomic_load(&engine->held) || atomic_load(&engine->critical_behind) > 0;
}

struct projections *projections_new(const struct projections_options *options)
{
    struct projections *projections = alloc_zeroed(1, sizeof(*projections));
    projections->engine.options = *options;
    projections->engine.scan = scan_new(options->store);
    atomic_store(&projections->engine.held, options->held);
    pthread_mutex_init(&projections->shared.lock, NULL);
    if (options->domain->archive != NULL)
        projections->archive = archive_new(&(struct archive_options){
            .domain = options->domain,
            .store = options->store,
            .scan = projections->engine.scan,
            .stop = options->stop,
            .waits = archive_waits,
            .context = &projections->engine,
        });
    return projections;
}

void projections_free(struct projections *projections)
{
    if (projections == NULL)
        return;
    for (size_t i = 0; i < projections->shared.count; i++)
        runner_stop(projections->shared.runners[i]);
    archive_free(projections->archive);
    free(projections->shared.runners);
    scan_free(projections->engine.scan);
    pthread_mutex_destroy(&projections->shared.lock);
    free(projections);
}

/* ---- add ---- */

static enum banyan_status check_table(const struct projection_options *options, const struct banyan_table *table,
                                      struct banyan_error *err)
{
    const struct banyan_field *key = banyan_record_field(table->row, banyan_str_of(table->key_column));
    if (key == NULL || key->kind != BANYAN_FIELD_INT)
        return banyan_error_set(err, BANYAN_INVALID, "view %s: the key column %s of table %s is no integer of its row",
                                options->name, table->key_column, table->name);
    if (banyan_record_refuse_lists(table->row, err) != BANYAN_OK) {
        banyan_error_context(err, "view %s", options->name);
        return BANYAN_INVALID;
    }
    for (size_t i = 0; i < table->index_count; i++) {
        const struct banyan_view_index *index = &table->indexes[i];
        const struct banyan_field *range = banyan_record_field(table->row, banyan_str_of(index->range));
        if (banyan_record_field(table->row, banyan_str_of(index->equal)) == NULL || range == NULL ||
            range->kind != BANYAN_FIELD_TIME)
            return banyan_error_set(err, BANYAN_INVALID, "view %s: index %s needs a column %s and a time %s",
                                    options->name, index->name, index->equal, index->range);
    }
    return BANYAN_OK;
}

static enum banyan_status check(const struct projection_options *options, struct banyan_error *err)
{
    const struct banyan_projection *projection = options->projection;
    if (strlen(options->name) > NAME_BYTES_MAX)
        return banyan_error_set(err, BANYAN_INVALID, "view %.20s…: its name is longer than %d bytes", options->name,
                                NAME_BYTES_MAX);
    if (projection->table_count == 0 || projection->table_count > BANYAN_PROJECTION_TABLES_MAX)
        return banyan_error_set(err, BANYAN_INVALID, "view %s: it has %zu tables; 1 to %d are possible", options->name,
                                projection->table_count, BANYAN_PROJECTION_TABLES_MAX);
    if (projection->archived == BANYAN_ARCHIVED_CARRIED && projection->spread != BANYAN_PARTITIONED)
        return banyan_error_set(err, BANYAN_INVALID,
                                "view %s: only a PARTITIONED projection carries archived rows over", options->name);
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < projection->table_count && st == BANYAN_OK; i++)
        st = check_table(options, &projection->tables[i], err);
    return st;
}

enum banyan_status projections_add(struct projections *projections, const struct projection_options *options,
                                   struct banyan_error *err)
{
    bool paused = false;
    enum banyan_status st = check(options, err);
    if (st == BANYAN_OK && projections_find(projections, banyan_str_of(options->name)) >= 0)
        st = banyan_error_set(err, BANYAN_INVALID, "there are two views %s", options->name);
    if (st == BANYAN_OK)
        st = runner_was_paused(projections->engine.options.store, options->name, &paused, err);
    if (st != BANYAN_OK) {
        sink_home_close(options->home);
        return st;
    }
    struct runner *runner = runner_start(&projections->engine, options, paused);
    pthread_mutex_lock(&projections->shared.lock);
    if (projections->shared.count == projections->shared.capacity) {
        projections->shared.capacity = projections->shared.capacity == 0 ? 8 : projections->shared.capacity * 2;
        projections->shared.runners =
            alloc_resized(projections->shared.runners, projections->shared.capacity, sizeof(struct runner *));
    }
    projections->shared.runners[projections->shared.count++] = runner;
    pthread_mutex_unlock(&projections->shared.lock);
    return BANYAN_OK;
}

/* ---- look ---- */

static struct runner *at(struct projections *projections, size_t index)
{
    pthread_mutex_lock(&projections->shared.lock);
    struct runner *runner = index < projections->shared.count ? projections->shared.runners[index] : NULL;
    pthread_mutex_unlock(&projections->shared.lock);
    if (runner == NULL)
        abort(); /* a bug of the caller's */
    return runner;
}

size_t projections_count(struct projections *projections)
{
    pthread_mutex_lock(&projections->shared.lock);
    size_t count = projections->shared.count;
    pthread_mutex_unlock(&projections->shared.lock);
    return count;
}

int projections_find(struct projections *projections, struct banyan_str name)
{
    size_t count = projections_count(projections);
    for (size_t i = 0; i < count; i++)
        if (banyan_str_equal(banyan_str_of(at(projections, i)->options.name), name))
            return (int)i;
    return -1;
}

const char *projections_name(struct projections *projections, size_t index)
{
    return at(projections, index)->options.name;
}

const struct banyan_projection *projections_spec(struct projections *projections, size_t index)
{
    return at(projections, index)->options.projection;
}

void projections_status(struct projections *projections, size_t index, struct projection_status *ret)
{
    runner_status(at(projections, index), ret);
}

bool projections_serving(struct projections *projections, size_t index, struct sink_checkpoint *ret)
{
    struct runner *runner = at(projections, index);
    pthread_mutex_lock(&runner->shared.lock);
    bool serves = runner->shared.status.serves;
    if (ret != NULL)
        *ret = runner->shared.status.checkpoint;
    pthread_mutex_unlock(&runner->shared.lock);
    return serves;
}

enum banyan_status projections_generations(struct projections *projections, size_t index, struct sink_generation *ret,
                                           size_t *ret_count, struct banyan_error *err)
{
    struct sink_home *home = at(projections, index)->options.home;
    return home->ops->generations(home, ret, ret_count, err);
}

enum banyan_status projections_view(struct projections *projections, size_t index, struct sink_view **ret,
                                    struct banyan_error *err)
{
    struct sink_home *home = at(projections, index)->options.home;
    struct sink_view *view = NULL;
    enum banyan_status st = home->ops->view(home, &view, err);
    if (st == BANYAN_OK)
        *ret = ready_view(view);
    return st;
}

void projections_archive(struct projections *projections, struct projections_archive_status *ret)
{
    *ret = (struct projections_archive_status){.position = {0}};
    if (projections->archive != NULL)
        archive_status(projections->archive, ret);
}

/* ---- wait ---- */

enum banyan_status projections_wait(struct projections *projections, size_t index, struct banyan_position position,
                                    int64_t timeout_us, struct banyan_error *err)
{
    return runner_wait(at(projections, index), position.value, 0, timeout_us, err);
}

enum banyan_status projections_wait_lsn(struct projections *projections, size_t index, uint64_t lsn, int64_t timeout_us,
                                        struct banyan_error *err)
{
    return runner_wait(at(projections, index), 0, lsn, timeout_us, err);
}

/* ---- act ---- */

void projections_release(struct projections *projections)
{
    size_t count = projections_count(projections);
    atomic_store(&projections->engine.held, false);
    for (size_t i = 0; i < count; i++) {
        struct runner *runner = at(projections, i);
        pthread_mutex_lock(&runner->shared.lock);
        if (runner->shared.held)
            runner->shared.target = store_durable(projections->engine.options.store);
        runner->shared.held = false;
        runner->shared.status.serves |= runner->shared.readable;
        pthread_cond_broadcast(&runner->shared.moved);
        pthread_mutex_unlock(&runner->shared.lock);
        scan_reader_wake(runner->reader);
    }
}

enum banyan_status projections_rebuild(struct projections *projections, size_t index, struct banyan_error *err)
{
    return runner_rebuild(at(projections, index), 0, "asked for", err);
}

enum banyan_status projections_cancel(struct projections *projections, size_t index, struct banyan_error *err)
{
    struct runner *runner = at(projections, index);
    pthread_mutex_lock(&runner->shared.lock);
    bool runs = runner_is_rebuilt(runner);
    if (runs)
        rebuild_cancel(runner->shared.rebuild);
    pthread_mutex_unlock(&runner->shared.lock);
    return runs ? BANYAN_OK
                : banyan_error_set(err, BANYAN_NOT_FOUND, "view %s is not being rebuilt", runner->options.name);
}

enum banyan_status projections_rollback(struct projections *projections, size_t index, struct banyan_error *err)
{
    struct runner *runner = at(projections, index);
    struct sink_generation generations[SINK_GENERATIONS_MAX];
    char form[SINK_FORM_SIZE];
    size_t count = 0;
    uint32_t newest = 0;
    enum banyan_status st = projections_generations(projections, index, generations, &count, err);
    if (st != BANYAN_OK)
        return st;
    sink_form(runner->options.projection, form);
    for (size_t i = 0; i < count; i++)
        if (generations[i].state == SINK_KEPT && generations[i].sealed && strcmp(generations[i].form, form) == 0 &&
            generations[i].number > newest)
            newest = generations[i].number;
    if (newest == 0)
        return banyan_error_set(err, BANYAN_NOT_FOUND, "view %s: no generation of today's form is kept",
                                runner->options.name);
    return runner_rebuild(runner, newest, "roll back", err);
}

enum banyan_status projections_drop(struct projections *projections, size_t index, uint32_t generation,
                                    struct banyan_error *err)
{
    struct runner *runner = at(projections, index);
    struct sink_home *home = runner->options.home;
    struct sink_generation generations[SINK_GENERATIONS_MAX];
    size_t count = 0;
    bool found = generation == 0;
    enum banyan_status st = projections_generations(projections, index, generations, &count, err);
    pthread_mutex_lock(&runner->shared.lock);
    bool rebuilding = runner_is_rebuilt(runner);
    pthread_mutex_unlock(&runner->shared.lock);
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        const struct sink_generation *one = &generations[i];
        bool busy = one->state == SINK_SERVING || one->state == SINK_BUILDING || rebuilding;
        if (generation == 0 ? busy : one->number != generation)
            continue;
        found = true;
        if (busy)
            st = banyan_error_set(err, BANYAN_INVALID, "view %s: generation %u serves or is being built",
                                  runner->options.name, one->number);
        else
            st = home->ops->drop(home, one->number, err);
    }
    if (st == BANYAN_OK && !found)
        st = banyan_error_set(err, BANYAN_NOT_FOUND, "view %s has no generation %u", runner->options.name, generation);
    return st;
}

enum banyan_status projections_pause(struct projections *projections, size_t index, bool pause,
                                     struct banyan_error *err)
{
    return runner_pause(at(projections, index), pause, err);
}

enum banyan_status projections_retry(struct projections *projections, size_t index, int64_t key,
                                     struct banyan_str stream, struct banyan_error *err)
{
    return runner_ask_retry(at(projections, index), key, stream, err);
}

void projections_limit(struct projections *projections, size_t index, uint64_t events_per_second)
{
    struct runner *runner = at(projections, index);
    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.events_per_second_max = events_per_second;
    if (runner->shared.rebuild != NULL)
        rebuild_limit(runner->shared.rebuild, events_per_second);
    pthread_mutex_unlock(&runner->shared.lock);
}
