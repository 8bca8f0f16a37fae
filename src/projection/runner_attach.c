/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which generation a projection works on, and what it does for a rebuild beside it.
 *
 *   the thread                       the rebuild's thread
 *   follows generation 1             … catches up
 *   step, step                       hold(): wants it still
 *   end of a batch, flush, rests ──▶ returns the checkpoint; last round; the row that says who serves
 *   adopts generation 2 ◀─────────── release(sink of generation 2)
 *   step, step
 *
 * When the old one does not follow (it is of another form) or there is none, hold() returns at once.
 *
 * A first build on a short log, or while the history is still being brought in, is no rebuild: its generation is made,
 * sealed empty, followed from the first event, and serves once it is live.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "projection/runner_int.h"

enum {
    SHORT_LOG_EVENTS = 50000,
    HOLD_US_MAX = 30 * 1000 * 1000,
    NAME_BYTES_MAX = 512,
};

static const struct rebuild_host host;

void runner_follow(struct runner *runner, struct sink *sink)
{
    unit_free(runner->unit);
    sink_close(runner->sink);
    runner->unit = NULL;
    runner->sink = sink;
    if (sink != NULL)
        runner->unit = unit_new(runner->options.projection, sink, false, 0);
}

static enum banyan_status claim(struct runner *runner, uint32_t generation, struct banyan_error *err)
{
    struct sink_home *home = runner->options.home;
    struct sink_checkpoint checkpoint;
    struct sink *sink = NULL;
    enum banyan_status st = home->ops->open(home, generation, &sink, err);
    if (st == BANYAN_OK)
        st = sink->ops->claim(sink, &checkpoint, err);
    if (st != BANYAN_OK) {
        sink_close(sink);
        return st;
    }
    runner_follow(runner, sink);
    return BANYAN_OK;
}

/* A generation that is filled by following the log. */
static enum banyan_status begin_empty(struct runner *runner, struct banyan_error *err)
{
    struct sink_home *home = runner->options.home;
    uint32_t generation = 0;
    enum banyan_status st = home->ops->make(home, (struct sink_mark){.partial = false}, &generation, err);
    if (st == BANYAN_OK)
        st = claim(runner, generation, err);
    if (st == BANYAN_OK)
        st = runner->sink->ops->seal(runner->sink, &(struct sink_flush){.row_count = 0}, err);
    return st;
}

static enum banyan_status plan_work(struct runner *runner, const struct rebuild_plan *plan, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    bool none = plan->serving == 0;
    bool by_following =
        none && (runner->held || (plan->need == REBUILD_NEED_START &&
                                  store_durable(runner->engine->options.store).value < SHORT_LOG_EVENTS));
    for (size_t i = 0; i < plan->drop_count && st == BANYAN_OK; i++) {
        st = runner->options.home->ops->drop(runner->options.home, plan->drop[i], err);
        if (st == BANYAN_NOT_FOUND) {
            banyan_error_clear(err);
            st = BANYAN_OK;
        }
    }
    if (st != BANYAN_OK)
        return st;
    if (by_following)
        return plan->need == REBUILD_NEED_RESUME ? claim(runner, plan->resume, err) : begin_empty(runner, err);
    if (!none && !plan->outdated)
        st = claim(runner, plan->serving, err);
    if (st == BANYAN_OK && plan->need != REBUILD_NEED_NONE) {
        runner->rebuild_due = true;
        runner->rebuild_resume = plan->need == REBUILD_NEED_RESUME ? plan->resume : 0;
        runner->rebuild_reason = plan->reason;
    }
    return st;
}

enum banyan_status runner_attach(struct runner *runner, struct banyan_error *err)
{
    struct sink_home *home = runner->options.home;
    struct sink_generation generations[SINK_GENERATIONS_MAX];
    struct rebuild_plan plan;
    char form[SINK_FORM_SIZE];
    size_t count = 0;
    pthread_mutex_lock(&runner->shared.lock);
    runner->held = runner->shared.held;
    pthread_mutex_unlock(&runner->shared.lock);
    enum banyan_status st = home->ops->generations(home, generations, &count, err);
    if (st == BANYAN_OK) {
        sink_form(runner->options.projection, form);
        rebuild_plan(generations, count, form, runner->options.keep == 0 ? 1 : runner->options.keep, &plan);
        st = plan_work(runner, &plan, err);
    }
    if (st != BANYAN_OK) {
        banyan_error_context(err, "view %s", runner->options.name);
        runner_follow(runner, NULL);
        return st;
    }
    runner->attached = true;
    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.serving = plan.serving;
    runner->shared.failed = false;
    runner->shared.readable = false;
    for (size_t i = 0; i < count; i++)
        if (generations[i].number == plan.serving) {
            runner->shared.readable = sink_form_readable(generations[i].form, form);
            runner->shared.status.checkpoint = generations[i].checkpoint;
        }
    runner->shared.status.serves = runner->shared.readable && !runner->shared.held;
    runner->shared.status.outdated = plan.outdated;
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
    return BANYAN_OK;
}

/* While a rebuild runs, or its sink waits to be adopted, what is there is its business. */
void runner_forget_lost(struct runner *runner)
{
    struct sink_home *home = runner->options.home;
    struct sink_generation generations[SINK_GENERATIONS_MAX];
    size_t count = 0;
    if (runner->sink == NULL)
        return;
    pthread_mutex_lock(&runner->shared.lock);
    bool busy = runner_is_rebuilt(runner) || runner->shared.holds > 0 || runner->shared.adopt != NULL;
    pthread_mutex_unlock(&runner->shared.lock);
    if (busy || home->ops->generations(home, generations, &count, NULL) != BANYAN_OK)
        return;
    for (size_t i = 0; i < count; i++)
        if (generations[i].number == runner->sink->generation)
            return;
    runner_follow(runner, NULL);
    runner->attached = false;
    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.status.checkpoint = (struct sink_checkpoint){.position = {0}};
    runner->shared.status.serves = runner->shared.readable = false;
    pthread_mutex_unlock(&runner->shared.lock);
}

/* ---- rebuilds ---- */

bool runner_is_rebuilt(struct runner *runner)
{
    return runner->shared.rebuild != NULL && rebuild_outcome(runner->shared.rebuild, NULL) == REBUILD_RUNNING;
}

/* Where the rates of the phases are kept for the next rebuild's estimate; owned by the caller. */
static char *learned_path(const struct runner *runner)
{
    char name[NAME_BYTES_MAX];
    (void)snprintf(name, sizeof(name), "%s.learned", runner->options.name); /* names are checked when they are added */
    return alloc_path(runner->engine->options.folder == NULL ? "" : runner->engine->options.folder, name);
}

enum banyan_status runner_rebuild(struct runner *runner, uint32_t generation, const char *reason,
                                  struct banyan_error *err)
{
    const struct projections_options *engine = &runner->engine->options;
    enum banyan_status st = BANYAN_OK;
    struct rebuild *over = NULL;
    char *learned = learned_path(runner);
    pthread_mutex_lock(&runner->shared.lock);
    if (runner_is_rebuilt(runner)) {
        st = banyan_error_set(err, BANYAN_CONFLICT, "view %s is being rebuilt already", runner->options.name);
    } else if (runner->shared.held) {
        st = banyan_error_set(err, BANYAN_CONFLICT, "view %s: the history is still being brought in",
                              runner->options.name);
    } else {
        over = runner->shared.rebuild;
        runner->shared.rebuild = rebuild_new(&(struct rebuild_options){
            .domain = engine->domain,
            .projection = runner->options.projection,
            .store = engine->store,
            .home = runner->options.home,
            .stop = engine->stop,
            .cursor_lsn = engine->cursor_lsn,
            .workers = engine->workers,
            .memory_bytes = engine->memory_bytes,
            .events_per_second_max = runner->shared.events_per_second_max,
            .keep = runner->options.keep,
            .generation = generation,
            .reason = reason,
            .learned_path = engine->folder == NULL ? NULL : learned,
            .host = &host,
            .context = runner,
        });
        rebuild_start(runner->shared.rebuild);
    }
    pthread_mutex_unlock(&runner->shared.lock);
    rebuild_free(over);
    free(learned);
    return st;
}

void runner_tend_rebuild(struct runner *runner)
{
    struct rebuild *over = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    pthread_mutex_lock(&runner->shared.lock);
    struct rebuild *rebuild = runner->shared.rebuild;
    if (rebuild != NULL && !runner_is_rebuilt(runner)) {
        over = rebuild;
        if (rebuild_outcome(rebuild, &err) == REBUILD_FAILED)
            runner->shared.status.error = err;
        runner->shared.rebuild = NULL;
    }
    bool begin = runner->rebuild_due && !runner->shared.held && runner->shared.rebuild == NULL;
    pthread_mutex_unlock(&runner->shared.lock);
    rebuild_free(over);
    if (!begin || os_stop_requested(runner->engine->options.stop))
        return;
    runner->rebuild_due = false;
    if (runner_rebuild(runner, runner->rebuild_resume, runner->rebuild_reason, &err) != BANYAN_OK)
        banyan_error_clear(&err); /* somebody asked for one in the same moment: that is as good */
}

/* ---- what a rebuild asks for ---- */

static bool yields(void *context)
{
    const struct runner *runner = context;
    return runner->options.projection->priority != BANYAN_CRITICAL && atomic_load(&runner->engine->critical_behind) > 0;
}

/* The checkpoint that readers see: that of a flush whose outcome its owner does not know, too. */
static enum banyan_status committed(struct runner *runner, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_view *view = NULL;
    enum banyan_status st = runner->options.home->ops->view(runner->options.home, &view, err);
    if (st == BANYAN_OK)
        st = view->ops->checkpoint(view, ret, err);
    sink_view_close(view);
    return st;
}

static enum banyan_status hold(void *context, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct runner *runner = context;
    int64_t left_us = HOLD_US_MAX;
    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.holds++;
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
    scan_reader_wake(runner->reader);

    pthread_mutex_lock(&runner->shared.lock);
    for (; !runner->shared.resting && left_us > 0; left_us -= 100 * 1000)
        (void)os_cond_wait(&runner->shared.moved, &runner->shared.lock, 100 * 1000); /* the loop looks */
    bool resting = runner->shared.resting, failed = runner->shared.failed;
    struct sink_checkpoint checkpoint = runner->shared.status.checkpoint;
    if (runner->shared.serving == 0 || runner->shared.status.outdated)
        checkpoint = (struct sink_checkpoint){.position = {0}};
    uint32_t serving = runner->shared.serving;
    pthread_mutex_unlock(&runner->shared.lock);
    if (!resting)
        return banyan_error_set(err, BANYAN_TIMEOUT, "view %s does not stand still", runner->options.name);
    enum banyan_status st = failed && serving != 0 ? committed(runner, &checkpoint, err) : BANYAN_OK;
    if (st == BANYAN_OK)
        *ret = checkpoint;
    return st;
}

static void release(void *context, struct sink *sink, const struct sink_checkpoint *checkpoint,
                    const struct sink_aside *asides, size_t aside_count)
{
    struct runner *runner = context;
    struct sink *unused = NULL;
    pthread_mutex_lock(&runner->shared.lock);
    if (sink != NULL) {
        unused = runner->shared.adopt;
        runner->shared.adopt = sink;
        runner->shared.serving = sink->generation;
        runner->shared.readable = runner->shared.status.serves = true;
        runner->shared.status.outdated = false;
        runner->shared.status.aside = aside_count; /* it reads them from the sink when it adopts it */
        runner->shared.status.checkpoint = *checkpoint;
        runner->shared.status.checkpoint.generation = sink->generation;
    }
    runner->shared.holds--;
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
    sink_close(unused);
}

static const struct rebuild_host host = {.yields = yields, .hold = hold, .release = release};
