/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The projection's thread: see runner_int.h for its states.
 *
 *   step:  read a batch ──▶ fold it ──▶ flush when it is time ──┐
 *                ▲                                              │
 *                └────── wait for more, at the end of the log ◀─┘
 *
 * Invariants
 *   1. The sink's checkpoint and rows agree at every instant: one transaction writes both.
 *   2. After any failure memory is thrown away and the session resumes from what the sink says: a flush whose outcome
 *      is not known is no special case.
 *   3. A flush ends at the end of an appended batch, so that a view does not show half of a legacy transaction; only a
 *      batch above HARD_… is written in parts.
 *   4. While `shared.resting` nothing is pending and nothing is flushed.
 */
#include <stdlib.h>
#include <string.h>

#include "banyan/arena.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "projection/runner_int.h"

enum {
    BATCH_EVENTS_MAX = 4096, /* decoded at once */
    BATCH_BYTES_MAX = 8 * 1024 * 1024,
    FLUSH_EVENTS = 50000, /* soft, for each FLUSH_ROWS */
    FLUSH_CATCHING_UP_US = 500 * 1000,
    FLUSH_LIVE_US = 10 * 1000,  /* under a load that never lets us see the end of the log */
    FLUSH_EMPTY_US = 50 * 1000, /* a checkpoint alone is not worth a transaction at once */
    FLUSH_WANTED_US = 250 * 1000,
    FLUSH_WANTED_BACKGROUND_US = 50 * 1000, /* how late it may see that it has to yield */
    HARD_FACTOR = 4,                        /* of the soft limit of rows */
    HARD_EVENTS = 1000 * 1000,
    WAIT_US = 100 * 1000, /* for events; how late a stop may be seen */
    YIELD_US = 20 * 1000,
    RETRY_FIRST_US = 50 * 1000,
    RETRY_PAUSE_US_MAX = 5 * 1000 * 1000,
    NEAR_EVENTS = 8192,   /* from the end nothing is left out: the checkpoint tells of each position */
    BEHIND_EVENTS = 1000, /* a CRITICAL one with a larger backlog makes others wait */
};

static int64_t monotonic_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static bool stopping(const struct runner *runner)
{
    return os_stop_requested(runner->engine->options.stop);
}

/* ---- flush ---- */

/* Tell the world about a flush. */
static void publish(struct runner *runner, size_t rows)
{
    struct banyan_time now = os_clock_now(os_clock_real());
    pthread_mutex_lock(&runner->shared.lock);
    struct projection_status *status = &runner->shared.status;
    if (runner->read.position.value > status->checkpoint.position.value)
        runner->shared.passed += runner->read.position.value - status->checkpoint.position.value;
    status->checkpoint = runner->written;
    status->checkpoint.generation = runner->sink->generation;
    status->events_applied += runner->applied_pending;
    status->rows_written += rows;
    status->flushes++;
    status->aside = fold_aside_count(runner->fold);
    progress_sample(&runner->shared.progress, monotonic_us(), runner->shared.passed);
    if (runner->live) {
        size_t count = runner->recorded_count < PROGRESS_LAGS_MAX ? runner->recorded_count : PROGRESS_LAGS_MAX;
        for (size_t i = 0; i < count; i++)
            progress_lag(&runner->shared.progress, now.us - runner->recorded[i].us);
    }
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
}

enum banyan_status runner_flush(struct runner *runner, struct banyan_error *err)
{
    struct sink_flush flush = {.checkpoint = runner->read};
    int64_t began_us = monotonic_us();

    flush.rows = unit_rows(runner->unit, &flush.row_count);
    flush.asides = fold_asides(runner->fold, &flush.aside_count);
    flush.released = fold_released(runner->fold, &flush.released_count);
    enum banyan_status st = runner->sink->ops->flush(runner->sink, &flush, err);
    if (st != BANYAN_OK) {
        banyan_error_context(err, "view %s: flush", runner->options.name);
        return st;
    }
    bool background = runner->options.projection->priority == BANYAN_BACKGROUND;
    runner->rows_soft = flush_size_next(runner->rows_soft, flush.row_count, monotonic_us() - began_us,
                                        background ? FLUSH_WANTED_BACKGROUND_US : FLUSH_WANTED_US);
    unit_flushed(runner->unit);
    fold_flushed(runner->fold);
    os_retry_reset(&runner->retry);
    runner->written = runner->read;
    publish(runner, flush.row_count);
    runner->events_pending = runner->applied_pending = runner->recorded_count = 0;
    return BANYAN_OK;
}

static bool over_soft_limit(const struct runner *runner)
{
    int64_t age_max_us = runner->live ? FLUSH_LIVE_US : FLUSH_CATCHING_UP_US;
    return unit_changed(runner->unit) >= runner->rows_soft ||
           runner->events_pending >= runner->rows_soft * (FLUSH_EVENTS / FLUSH_ROWS) ||
           monotonic_us() - runner->pending_since_us >= age_max_us;
}

/* Is there more to be written than the checkpoint, or somebody who waits for that? */
static bool worth_a_flush(struct runner *runner)
{
    size_t asides;
    if (unit_changed(runner->unit) > 0 || runner->applied_pending > 0 || !runner->live)
        return true;
    (void)fold_asides(runner->fold, &asides); /* the count is what matters */
    if (asides > 0 || monotonic_us() - runner->pending_since_us >= FLUSH_EMPTY_US)
        return true;
    pthread_mutex_lock(&runner->shared.lock);
    bool waiting = runner->shared.waiting > 0;
    pthread_mutex_unlock(&runner->shared.lock);
    return waiting;
}

static bool time_to_flush(struct runner *runner, bool at_end)
{
    if (runner->events_pending == 0)
        return false;
    if (unit_changed(runner->unit) >= HARD_FACTOR * runner->rows_soft || runner->events_pending >= HARD_EVENTS)
        return true;
    if (!runner->at_batch_end)
        return false;
    return runner->settle || over_soft_limit(runner) || (at_end && !runner->held && worth_a_flush(runner));
}

/* ---- read and fold ---- */

static void note_read(struct runner *runner, const struct store_read_event *event)
{
    if (runner->events_pending++ == 0)
        runner->pending_since_us = monotonic_us();
    runner->read.position = event->position;
    runner->read.at = event->recorded_at;
    runner->at_batch_end = event->ends_batch;
    if (runner->engine->options.cursor_lsn != NULL && event->cursor.name.size > 0) {
        uint64_t lsn = runner->engine->options.cursor_lsn(event->cursor);
        if (lsn > runner->read.source_lsn)
            runner->read.source_lsn = lsn;
    }
}

/* Read and fold one batch.  *ret_at_end*: the durable end of the log was reached. */
static enum banyan_status fold_batch(struct runner *runner, bool *ret_at_end, size_t *ret_events,
                                     struct banyan_error *err)
{
    bool to_batch_end = runner->settle || (runner->events_pending > 0 && over_soft_limit(runner));
    uint64_t durable = store_durable(runner->engine->options.store).value;
    /* Cursors come with events that need not be wanted: who waits for one must see all. */
    bool all = to_batch_end || runner->engine->options.cursor_lsn != NULL ||
               durable < runner->read.position.value + NEAR_EVENTS;
    size_t events = 0, applied = 0;
    enum banyan_status st = BANYAN_OK;

    while (events < BATCH_EVENTS_MAX && fold_bytes(runner->fold) < BATCH_BYTES_MAX &&
           (!to_batch_end || !runner->at_batch_end || events == 0)) {
        struct store_read_event event;
        st = scan_reader_next(runner->reader, all, &event, err);
        if (st != BANYAN_OK)
            break;
        if (fold_add(runner->fold, &event) && runner->live)
            runner->recorded[runner->recorded_count++ % PROGRESS_LAGS_MAX] = event.recorded_at;
        note_read(runner, &event);
        events++;
    }
    if (st != BANYAN_OK && st != BANYAN_NOT_FOUND)
        return st;
    *ret_at_end = st == BANYAN_NOT_FOUND && all;
    st = fold_apply(runner->fold, runner->unit, &applied, err);
    if (st != BANYAN_OK)
        return st;
    runner->applied_pending += applied;
    *ret_events = events;
    return BANYAN_OK;
}

/* ---- who waits for whom ---- */

/* A CRITICAL one that is behind makes others yield. */
static void note_behind(struct runner *runner, bool behind)
{
    if (runner->options.projection->priority != BANYAN_CRITICAL || behind == runner->behind)
        return;
    if (behind)
        atomic_fetch_add(&runner->engine->critical_behind, 1);
    else
        atomic_fetch_sub(&runner->engine->critical_behind, 1);
    runner->behind = behind;
}

/* Give the processor to others for a while; it ends early when somebody wants something of this thread. */
static void pause_a_moment(struct runner *runner, int64_t us)
{
    pthread_mutex_lock(&runner->shared.lock);
    if (runner->shared.holds == 0 && runner->shared.asked == NULL && runner->shared.adopt == NULL)
        (void)os_cond_wait(&runner->shared.moved, &runner->shared.lock, us); /* too early is no harm */
    pthread_mutex_unlock(&runner->shared.lock);
}

static void yield_to_others(struct runner *runner, size_t events)
{
    if (runner->options.projection->priority == BANYAN_BACKGROUND)
        while (atomic_load(&runner->engine->critical_behind) > 0 && !runner->settle && !stopping(runner)) {
            pause_a_moment(runner, YIELD_US);
            pthread_mutex_lock(&runner->shared.lock);
            runner->settle = runner->shared.holds > 0 || runner->shared.asked != NULL || runner->shared.paused;
            pthread_mutex_unlock(&runner->shared.lock);
        }
    pthread_mutex_lock(&runner->shared.lock);
    uint64_t limit = runner->shared.events_per_second_max;
    pthread_mutex_unlock(&runner->shared.lock);
    if (limit == 0 || runner->live)
        return;
    int64_t now_us = monotonic_us();
    if (runner->free_at_us < now_us - WAIT_US)
        runner->free_at_us = now_us - WAIT_US; /* what was not used is lost */
    runner->free_at_us += (int64_t)((double)events * 1e6 / (double)limit);
    if (runner->free_at_us > now_us && !runner->settle)
        pause_a_moment(runner, runner->free_at_us - now_us < WAIT_US ? runner->free_at_us - now_us : WAIT_US);
}

/* ---- sessions ---- */

enum banyan_status runner_resume(struct runner *runner, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sink *sink = runner->sink;
    struct sink_aside *asides = NULL;
    size_t aside_count = 0;

    enum banyan_status st = sink->ops->checkpoint(sink, &runner->written, err);
    if (st == BANYAN_OK)
        st = sink->ops->asides(sink, &arena, &asides, &aside_count, err);
    if (st != BANYAN_OK)
        goto out;
    runner->target = store_durable(runner->engine->options.store);
    if (runner->written.position.value > runner->target.value) {
        st = banyan_error_set(err, BANYAN_MISMATCH, "its checkpoint %llu is beyond the end of the log, %llu",
                              (unsigned long long)runner->written.position.value,
                              (unsigned long long)runner->target.value);
        banyan_error_hint(err, "the read model belongs to another log: remove it, and it is built anew");
        goto out;
    }
    runner->written.ready = sink->ready;
    runner->read = runner->written;
    runner->events_pending = runner->applied_pending = runner->recorded_count = 0;
    runner->at_batch_end = true;
    runner->live = false;
    fold_ready(runner->fold, sink->ready);
    fold_restore(runner->fold, asides, aside_count);
    unit_forget(runner->unit, runner->written.position.value == 0);
    st = scan_reader_seek(runner->reader, (struct banyan_position){runner->written.position.value + 1}, err);
    if (st != BANYAN_OK)
        goto out;

    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.status.checkpoint = runner->written;
    runner->shared.status.checkpoint.generation = sink->generation;
    runner->shared.status.aside = aside_count;
    runner->shared.live = runner->shared.failed = false;
    runner->shared.target = runner->target;
    progress_sample(&runner->shared.progress, monotonic_us(), runner->shared.passed);
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
out:
    banyan_arena_release(&arena);
    if (st != BANYAN_OK)
        banyan_error_context(err, "view %s", runner->options.name);
    return st;
}

/* Has it caught up?  Then make what readers need, once, and let it serve if none does. */
static enum banyan_status maybe_live(struct runner *runner, struct banyan_error *err)
{
    struct sink_home *home = runner->options.home;
    pthread_mutex_lock(&runner->shared.lock);
    runner->held = runner->shared.held;
    runner->target = runner->shared.target;
    uint32_t serving = runner->shared.serving;
    pthread_mutex_unlock(&runner->shared.lock);
    if (runner->live || runner->held || runner->written.position.value < runner->target.value)
        return BANYAN_OK;
    enum banyan_status st = runner->sink->ops->finish(runner->sink, err);
    if (st == BANYAN_OK && serving == 0)
        st = home->ops->serve(home, 0, runner->sink->generation, err);
    if (st != BANYAN_OK) {
        banyan_error_context(err, "view %s: finish", runner->options.name);
        return st;
    }
    runner->live = true;
    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.live = true;
    runner->shared.serving = runner->sink->generation;
    runner->shared.readable = runner->shared.status.serves = true;
    banyan_error_clear(&runner->shared.status.error);
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
    return BANYAN_OK;
}

/* Answer who asked for a key to be tried again. */
static enum banyan_status try_asked(struct runner *runner, struct runner_retry *asked, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    bool session_over = false;
    enum banyan_status st =
        runner->sink == NULL
            ? banyan_error_set(&why, BANYAN_NOT_FOUND, "view %s: no generation is followed", runner->options.name)
            : runner_try_again(runner, asked->key, asked->stream, &session_over, &why);
    pthread_mutex_lock(&runner->shared.lock);
    asked->status = st;
    asked->err = why;
    asked->done = true;
    runner->shared.asked = NULL;
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
    if (!session_over)
        return BANYAN_OK;
    if (err != NULL)
        *err = why;
    return st;
}

/* What do others want?  Rests as long as they want that.  STOPPED to end. */
static enum banyan_status rest(struct runner *runner, struct banyan_error *err)
{
    struct runner_retry *asked = NULL;
    struct sink *adopt = NULL;
    pthread_mutex_lock(&runner->shared.lock);
    for (;;) {
        bool still = runner->sink == NULL || runner->shared.paused || runner->shared.holds > 0;
        runner->settle = still || runner->shared.asked != NULL || stopping(runner);
        if (runner->events_pending > 0)
            break; /* first to the end of the batch */
        adopt = runner->shared.holds == 0 ? runner->shared.adopt : NULL;
        asked = runner->shared.holds == 0 ? runner->shared.asked : NULL;
        if (adopt != NULL || asked != NULL || !still || stopping(runner))
            break;
        runner->shared.resting = true;
        if (runner->shared.paused)
            runner->live = runner->shared.live = false;
        pthread_cond_broadcast(&runner->shared.moved);
        (void)os_cond_wait(&runner->shared.moved, &runner->shared.lock, WAIT_US); /* the loop looks */
        pthread_mutex_unlock(&runner->shared.lock);
        note_behind(runner, false);
        runner_tend_rebuild(runner);
        pthread_mutex_lock(&runner->shared.lock);
    }
    runner->shared.resting = false;
    runner->shared.adopt = adopt != NULL ? NULL : runner->shared.adopt;
    if (asked != NULL)
        asked->taken = true;
    pthread_mutex_unlock(&runner->shared.lock);
    if (adopt != NULL) {
        runner_follow(runner, adopt);
        return runner_resume(runner, err);
    }
    if (asked != NULL)
        return try_asked(runner, asked, err);
    return stopping(runner) && runner->events_pending == 0 ? BANYAN_STOPPED : BANYAN_OK;
}

/* Read, fold, flush; wait at the end. */
static enum banyan_status step(struct runner *runner, struct banyan_error *err)
{
    bool at_end = false, was_live = runner->live;
    size_t events = 0;
    enum banyan_status st = fold_batch(runner, &at_end, &events, err);
    if (st == BANYAN_OK && time_to_flush(runner, at_end))
        st = runner_flush(runner, err);
    if (st == BANYAN_OK)
        st = maybe_live(runner, err);
    if (st != BANYAN_OK)
        return st;
    if (runner->live && !was_live)
        return BANYAN_OK;
    uint64_t durable = store_durable(runner->engine->options.store).value;
    note_behind(runner, durable > runner->read.position.value + BEHIND_EVENTS ||
                            (runner->behind && durable > runner->read.position.value));
    yield_to_others(runner, events);
    if (!at_end || runner->settle)
        return BANYAN_OK;
    return scan_reader_wait(runner->reader, runner->events_pending > 0 ? FLUSH_EMPTY_US : WAIT_US, err);
}

/* Runs until stopped (STOPPED, without text) or something fails. */
static enum banyan_status session(struct runner *runner, struct banyan_error *err)
{
    pthread_mutex_lock(&runner->shared.lock);
    struct sink *adopt = runner->shared.holds == 0 ? runner->shared.adopt : NULL;
    runner->shared.adopt = adopt != NULL ? NULL : runner->shared.adopt;
    pthread_mutex_unlock(&runner->shared.lock);
    if (adopt != NULL)
        runner_follow(runner, adopt); /* before the old one is looked at: it may be what fails */
    enum banyan_status st = runner->sink == NULL ? BANYAN_OK : runner_resume(runner, err);
    while (st == BANYAN_OK) {
        runner_tend_rebuild(runner);
        st = rest(runner, err);
        /* Without a batch's end in sight a stop does not wait: what is pending is folded again. */
        if (st == BANYAN_OK && stopping(runner) && !runner->at_batch_end)
            st = BANYAN_STOPPED;
        if (st == BANYAN_OK && runner->sink != NULL && stopping(runner))
            st = runner->events_pending > 0 ? runner_flush(runner, err) : BANYAN_STOPPED;
        else if (st == BANYAN_OK && runner->sink != NULL && (!runner->settle || runner->events_pending > 0))
            st = step(runner, err);
    }
    return st;
}

static void set_failed(struct runner *runner, enum banyan_status st, struct banyan_error *err)
{
    err->status = st;
    runner->events_pending = 0;
    runner->live = false;
    note_behind(runner, false);
    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.failed = runner->shared.resting = true;
    runner->shared.live = false;
    runner->shared.status.error = *err;
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
}

static void run(void *argument)
{
    struct runner *runner = argument;
    for (;;) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status st = runner->attached ? BANYAN_OK : runner_attach(runner, &err);
        if (st == BANYAN_OK)
            st = session(runner, &err);
        if (st == BANYAN_STOPPED)
            break;
        set_failed(runner, st, &err);
        runner_forget_lost(runner);
        if (!os_retry_pause(&runner->retry, runner->engine->options.stop))
            break;
    }
    note_behind(runner, false);
    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.stopped = runner->shared.resting = true;
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
}

/* ---- life ---- */

struct runner *runner_start(struct runner_engine *engine, const struct projection_options *options, bool paused)
{
    struct runner *runner = alloc_zeroed(1, sizeof(*runner));
    runner->engine = engine;
    runner->options = *options;
    runner->retry = (struct os_retry){.first_us = RETRY_FIRST_US, .pause_us_max = RETRY_PAUSE_US_MAX};
    runner->fold = fold_new(engine->options.store, engine->options.domain, options->projection);
    runner->reader = scan_reader_open(engine->scan, fold_filter(runner->fold));
    runner->recorded = alloc_zeroed(PROGRESS_LAGS_MAX, sizeof(*runner->recorded));
    runner->rows_soft = FLUSH_ROWS;
    pthread_mutex_init(&runner->shared.lock, NULL);
    os_cond_init(&runner->shared.moved);
    runner->held = runner->shared.held = engine->options.held;
    runner->shared.paused = paused;
    runner->shared.resting = true;
    runner->shared.events_per_second_max = options->events_per_second_max;
    runner->shared.target = store_durable(engine->options.store);
    char name[16] = "view ";
    strncat(name, options->name, sizeof(name) - strlen(name) - 1);
    os_thread_start(&runner->thread, name, run, runner);
    return runner;
}

void runner_stop(struct runner *runner)
{
    if (runner == NULL)
        return;
    os_thread_join(&runner->thread);
    rebuild_free(runner->shared.rebuild);
    sink_close(runner->shared.adopt);
    runner_follow(runner, NULL);
    scan_reader_close(runner->reader);
    fold_free(runner->fold);
    sink_home_close(runner->options.home);
    pthread_mutex_destroy(&runner->shared.lock);
    pthread_cond_destroy(&runner->shared.moved);
    free(runner->recorded);
    free(runner);
}
