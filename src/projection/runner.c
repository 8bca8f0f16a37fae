/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The projection's thread: see runner.h.
 *
 *   session:  resume ──▶ read a batch ──▶ fold it ──▶ flush when it is time ──┐
 *                             ▲                                               │
 *                             └── wait for more, at the end of the log ◀──────┘
 *
 * Invariants
 *   1. The sink's checkpoint and rows agree at every instant: one transaction writes both.
 *   2. After any failure memory is thrown away and the session resumes from what the sink says: a flush whose outcome
 *      is not known is no special case.
 *   3. A flush ends at the end of an appended batch, so that a view does not show half of a legacy transaction; only a
 *      batch above HARD_… is written in parts.
 *
 * Threads: `shared` is guarded by its lock; all else belongs to the projection's thread once it runs.
 */
#include "projection/runner.h"

#include <stdlib.h>
#include <string.h>

#include "banyan/arena.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "os/retry.h"
#include "os/thread.h"
#include "projection/fold.h"
#include "projection/progress.h"
#include "projection/unit.h"

enum {
    BATCH_EVENTS_MAX = 4096, /* decoded at once */
    BATCH_BYTES_MAX = 8 * 1024 * 1024,
    FLUSH_ROWS = 20000, /* soft: at the next end of a batch */
    FLUSH_EVENTS = 50000,
    FLUSH_CATCHING_UP_US = 500 * 1000,
    FLUSH_LIVE_US = 10 * 1000, /* under a load that never lets us see the end of the log */
    HARD_ROWS = 4 * FLUSH_ROWS,
    HARD_EVENTS = 20 * FLUSH_EVENTS,
    WAIT_US = 100 * 1000, /* for events; how late a stop may be seen */
    RETRY_FIRST_US = 50 * 1000,
    RETRY_PAUSE_US_MAX = 5 * 1000 * 1000,
};

struct projection_runner {
    struct projection_options options;
    struct banyan_unit *unit;
    struct fold *fold;
    struct store_reader *reader;
    struct os_retry retry;
    struct os_thread thread;
    /* the session */
    struct sink_checkpoint written; /* what the sink has */
    struct sink_checkpoint read;    /* what was read from the log */
    struct banyan_position target;  /* live from here on */
    bool live;
    bool held; /* as shared.held said last */
    bool at_batch_end;
    size_t events_pending;        /* read since the last flush, wanted or not */
    size_t applied_pending;       /* of them applied */
    int64_t pending_since_us;     /* monotone: when the first of them was read */
    struct banyan_time *recorded; /* of the newest pending events: PROGRESS_LAGS_MAX, a ring */
    size_t recorded_count;

    struct {
        pthread_mutex_t lock;
        pthread_cond_t moved; /* checkpoint or state changed */
        struct projection_status status;
        struct progress progress;
        uint64_t passed; /* events that the checkpoint moved over since the start */
        bool held;
        bool serves;
        struct banyan_position target;
    } shared;
};

static const char *const state_names[] = {"unknown", "catching up", "live", "failed", "stopped"};

const char *projection_state_name(enum projection_state state)
{
    return (size_t)state < sizeof(state_names) / sizeof(state_names[0]) ? state_names[state] : state_names[0];
}

static int64_t monotonic_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static void set_state(struct projection_runner *runner, enum projection_state state, const struct banyan_error *err)
{
    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.status.state = state;
    runner->shared.serves |= state == PROJECTION_LIVE;
    if (err != NULL)
        runner->shared.status.error = *err;
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
}

/* ---- flush ---- */

/* Tell the world about a flush. */
static void publish(struct projection_runner *runner, size_t rows)
{
    struct banyan_time now = os_clock_now(os_clock_real());
    pthread_mutex_lock(&runner->shared.lock);
    struct projection_status *status = &runner->shared.status;
    runner->shared.passed += runner->read.position.value - status->checkpoint.position.value;
    status->checkpoint = runner->written;
    status->events_applied += runner->applied_pending;
    status->rows_written += rows;
    status->flushes++;
    status->poisoned = fold_aside_count(runner->fold);
    progress_sample(&runner->shared.progress, monotonic_us(), runner->shared.passed);
    if (runner->live) {
        size_t count = runner->recorded_count < PROGRESS_LAGS_MAX ? runner->recorded_count : PROGRESS_LAGS_MAX;
        for (size_t i = 0; i < count; i++)
            progress_lag(&runner->shared.progress, now.us - runner->recorded[i].us);
    }
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
}

static enum banyan_status flush(struct projection_runner *runner, struct banyan_error *err)
{
    struct sink *sink = runner->options.sink;
    struct sink_flush flush = {.checkpoint = runner->read};

    flush.rows = unit_rows(runner->unit, &flush.row_count);
    flush.asides = fold_asides(runner->fold, &flush.aside_count);
    enum banyan_status st = sink->ops->flush(sink, &flush, err);
    if (st != BANYAN_OK) {
        banyan_error_context(err, "view %s: flush", runner->options.projection->name);
        return st;
    }
    unit_flushed(runner->unit);
    fold_flushed(runner->fold);
    os_retry_reset(&runner->retry);
    runner->written = runner->read;
    publish(runner, flush.row_count);
    runner->events_pending = runner->applied_pending = runner->recorded_count = 0;
    return BANYAN_OK;
}

static bool over_soft_limit(const struct projection_runner *runner)
{
    int64_t age_max_us = runner->live ? FLUSH_LIVE_US : FLUSH_CATCHING_UP_US;
    return unit_changed(runner->unit) >= FLUSH_ROWS || runner->events_pending >= runner->options.flush_events ||
           monotonic_us() - runner->pending_since_us >= age_max_us;
}

static bool time_to_flush(const struct projection_runner *runner, bool at_end)
{
    if (runner->events_pending == 0)
        return false;
    if ((at_end && !runner->held) || unit_changed(runner->unit) >= HARD_ROWS || runner->events_pending >= HARD_EVENTS)
        return true;
    return runner->at_batch_end && over_soft_limit(runner);
}

/* ---- read and fold ---- */

static void note_read(struct projection_runner *runner, const struct store_read_event *event)
{
    if (runner->events_pending++ == 0)
        runner->pending_since_us = monotonic_us();
    runner->read.position = event->position;
    runner->read.at = event->recorded_at;
    runner->at_batch_end = event->ends_batch;
    if (runner->options.cursor_lsn != NULL && event->cursor.name.size > 0) {
        uint64_t lsn = runner->options.cursor_lsn(event->cursor);
        if (lsn > runner->read.source_lsn)
            runner->read.source_lsn = lsn;
    }
}

/* Read and fold one batch.  *ret_at_end*: the durable end of the log was reached. */
static enum banyan_status fold_batch(struct projection_runner *runner, bool *ret_at_end, struct banyan_error *err)
{
    bool to_batch_end = runner->events_pending > 0 && over_soft_limit(runner);
    size_t events = 0, applied = 0;
    enum banyan_status st = BANYAN_OK;
    bool at_end = false;

    size_t events_max =
        runner->options.flush_events < BATCH_EVENTS_MAX ? runner->options.flush_events : BATCH_EVENTS_MAX;
    while (events < events_max && fold_bytes(runner->fold) < BATCH_BYTES_MAX) {
        struct store_read_event event;
        st = store_reader_next(runner->reader, &event, err);
        if (st != BANYAN_OK)
            break;
        size_t before = fold_count(runner->fold);
        fold_add(runner->fold, &event);
        note_read(runner, &event);
        if (runner->live && fold_count(runner->fold) > before)
            runner->recorded[runner->recorded_count++ % PROGRESS_LAGS_MAX] = event.recorded_at;
        events++;
        if (to_batch_end && event.ends_batch)
            break;
    }
    if (st == BANYAN_NOT_FOUND) {
        at_end = true;
        st = BANYAN_OK;
    }
    if (st != BANYAN_OK)
        return st;
    st = fold_apply(runner->fold, runner->unit, &applied, err);
    if (st != BANYAN_OK)
        return st;
    runner->applied_pending += applied;
    *ret_at_end = at_end;
    return BANYAN_OK;
}

/* ---- sessions ---- */

/* Begin from what the sink says, with nothing in memory. */
static enum banyan_status resume(struct projection_runner *runner, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sink *sink = runner->options.sink;
    struct sink_aside *asides = NULL;
    size_t aside_count = 0;

    enum banyan_status st = sink->ops->checkpoint(sink, &runner->written, err);
    if (st != BANYAN_OK)
        goto out;
    st = sink->ops->asides(sink, &arena, &asides, &aside_count, err);
    if (st != BANYAN_OK)
        goto out;
    runner->target = store_durable(runner->options.store);
    if (runner->written.position.value > runner->target.value) {
        st = banyan_error_set(err, BANYAN_MISMATCH, "its checkpoint %llu is beyond the end of the log, %llu",
                              (unsigned long long)runner->written.position.value,
                              (unsigned long long)runner->target.value);
        banyan_error_hint(err, "the read model belongs to another log: remove it, and it is built anew");
        goto out;
    }
    runner->read = runner->written;
    runner->events_pending = runner->applied_pending = runner->recorded_count = 0;
    runner->at_batch_end = true;
    runner->live = false;
    fold_restore(runner->fold, asides, aside_count);
    unit_forget(runner->unit, runner->written.position.value == 0);
    st = store_reader_seek(runner->reader, (struct banyan_position){runner->written.position.value + 1}, err);
    if (st != BANYAN_OK)
        goto out;

    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.status.checkpoint = runner->written;
    runner->shared.status.state = PROJECTION_CATCHING_UP;
    runner->shared.status.poisoned = aside_count;
    runner->shared.target = runner->target;
    progress_sample(&runner->shared.progress, monotonic_us(), runner->shared.passed);
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
out:
    banyan_arena_release(&arena);
    if (st != BANYAN_OK)
        banyan_error_context(err, "view %s", runner->options.projection->name);
    return st;
}

/* Has it caught up?  Then make what readers need, once. */
static enum banyan_status maybe_live(struct projection_runner *runner, struct banyan_error *err)
{
    struct sink *sink = runner->options.sink;
    pthread_mutex_lock(&runner->shared.lock);
    runner->held = runner->shared.held;
    runner->target = runner->shared.target;
    pthread_mutex_unlock(&runner->shared.lock);
    if (runner->live || runner->held || runner->written.position.value < runner->target.value)
        return BANYAN_OK;
    enum banyan_status st = sink->ops->finish(sink, err);
    if (st != BANYAN_OK) {
        banyan_error_context(err, "view %s: finish", runner->options.projection->name);
        return st;
    }
    runner->live = true;
    set_state(runner, PROJECTION_LIVE, &(struct banyan_error){.status = BANYAN_OK});
    return BANYAN_OK;
}

/* Runs until stopped (STOPPED, without text) or something fails. */
static enum banyan_status session(struct projection_runner *runner, struct banyan_error *err)
{
    enum banyan_status st = resume(runner, err);
    while (st == BANYAN_OK) {
        bool at_end = false;
        bool stopping = os_stop_requested(runner->options.stop);
        if (!stopping) {
            st = fold_batch(runner, &at_end, err);
            if (st != BANYAN_OK)
                break;
        }
        if (time_to_flush(runner, at_end) || (stopping && runner->at_batch_end && runner->events_pending > 0))
            st = flush(runner, err);
        if (st == BANYAN_OK && !stopping)
            st = maybe_live(runner, err);
        if (st != BANYAN_OK)
            break;
        if (stopping)
            return BANYAN_STOPPED;
        if (!at_end)
            continue;
        st = store_wait(runner->options.store, (struct banyan_position){runner->read.position.value + 1}, WAIT_US, err);
        if (st == BANYAN_TIMEOUT) {
            banyan_error_clear(err);
            st = BANYAN_OK;
        }
    }
    return st;
}

static void run(void *argument)
{
    struct projection_runner *runner = argument;
    for (;;) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status st = session(runner, &err);
        if (st == BANYAN_STOPPED)
            break;
        err.status = st;
        set_state(runner, PROJECTION_FAILED, &err);
        if (!os_retry_pause(&runner->retry, runner->options.stop))
            break;
    }
    set_state(runner, PROJECTION_STOPPED, NULL);
}

/* ---- life ---- */

static enum banyan_status check_projection(const struct banyan_projection *projection, struct banyan_error *err)
{
    const struct banyan_field *key =
        banyan_record_field(projection->tables[0].row, banyan_str_of(projection->tables[0].key_column));
    if (key == NULL || key->kind != BANYAN_FIELD_INT)
        return banyan_error_set(err, BANYAN_INVALID, "view %s: the key column %s is no integer of its row",
                                projection->name, projection->tables[0].key_column);
    if (banyan_record_refuse_lists(projection->tables[0].row, err) != BANYAN_OK) {
        banyan_error_context(err, "view %s", projection->name);
        return BANYAN_INVALID;
    }
    for (size_t i = 0; i < projection->tables[0].index_count; i++) {
        const struct banyan_view_index *index = &projection->tables[0].indexes[i];
        const struct banyan_field *range = banyan_record_field(projection->tables[0].row, banyan_str_of(index->range));
        if (banyan_record_field(projection->tables[0].row, banyan_str_of(index->equal)) == NULL || range == NULL ||
            range->kind != BANYAN_FIELD_TIME)
            return banyan_error_set(err, BANYAN_INVALID, "view %s: index %s needs a column %s and a time %s",
                                    projection->name, index->name, index->equal, index->range);
    }
    return BANYAN_OK;
}

static void release(struct projection_runner *runner)
{
    unit_free(runner->unit);
    fold_free(runner->fold);
    store_reader_close(runner->reader);
    sink_close(runner->options.sink);
    pthread_mutex_destroy(&runner->shared.lock);
    pthread_cond_destroy(&runner->shared.moved);
    free(runner->recorded);
    free(runner);
}

enum banyan_status projection_start(const struct projection_options *options, struct projection_runner **ret,
                                    struct banyan_error *err)
{
    struct sink *sink = options->sink;
    struct sink_checkpoint checkpoint;
    enum banyan_status st = check_projection(options->projection, err);
    if (st == BANYAN_OK)
        st = sink->ops->start(sink, &checkpoint, err);
    if (st != BANYAN_OK) {
        sink_close(sink);
        return st;
    }
    struct projection_runner *runner = alloc_zeroed(1, sizeof(*runner));
    runner->options = *options;
    if (options->flush_events == 0)
        runner->options.flush_events = FLUSH_EVENTS;
    runner->retry = (struct os_retry){.first_us = RETRY_FIRST_US, .pause_us_max = RETRY_PAUSE_US_MAX};
    runner->unit = unit_new(options->projection, sink, false, 0);
    runner->fold = fold_new(options->store, options->domain, options->projection);
    runner->reader = store_reader_open(options->store);
    runner->recorded = alloc_zeroed(PROGRESS_LAGS_MAX, sizeof(*runner->recorded));
    pthread_mutex_init(&runner->shared.lock, NULL);
    os_cond_init(&runner->shared.moved);
    runner->held = runner->shared.held = options->held;
    runner->shared.status.state = PROJECTION_CATCHING_UP;
    runner->shared.status.checkpoint = checkpoint;
    runner->shared.target = store_durable(options->store);
    char name[16] = "view ";
    strncat(name, options->projection->name, sizeof(name) - strlen(name) - 1);
    os_thread_start(&runner->thread, name, run, runner);
    *ret = runner;
    return BANYAN_OK;
}

void projection_stop(struct projection_runner *runner)
{
    if (runner == NULL)
        return;
    os_thread_join(&runner->thread);
    release(runner);
}

/* ---- for other threads ---- */

bool projection_serves(struct projection_runner *runner)
{
    pthread_mutex_lock(&runner->shared.lock);
    bool serves = runner->shared.serves;
    pthread_mutex_unlock(&runner->shared.lock);
    return serves;
}

enum projection_state projection_state(struct projection_runner *runner, struct sink_checkpoint *ret)
{
    pthread_mutex_lock(&runner->shared.lock);
    enum projection_state state = runner->shared.status.state;
    if (ret != NULL)
        *ret = runner->shared.status.checkpoint;
    pthread_mutex_unlock(&runner->shared.lock);
    return state;
}

void projection_release(struct projection_runner *runner)
{
    pthread_mutex_lock(&runner->shared.lock);
    if (runner->shared.held)
        runner->shared.target = store_durable(runner->options.store);
    runner->shared.held = false;
    pthread_mutex_unlock(&runner->shared.lock);
}

void projection_status(struct projection_runner *runner, struct projection_status *ret)
{
    struct banyan_position tail = store_tail(runner->options.store);
    int64_t now_us = monotonic_us();
    struct progress *progress = alloc_zeroed(1, sizeof(*progress));

    pthread_mutex_lock(&runner->shared.lock);
    *ret = runner->shared.status;
    *progress = runner->shared.progress;
    uint64_t passed = runner->shared.passed;
    uint64_t target = runner->shared.held ? UINT64_MAX : runner->shared.target.value;
    pthread_mutex_unlock(&runner->shared.lock);

    ret->tail = tail;
    ret->events_per_second = progress_rate(progress, now_us, passed);
    uint64_t position = ret->checkpoint.position.value;
    if (ret->state == PROJECTION_LIVE)
        ret->eta_us = 0;
    else if (target == UINT64_MAX)
        ret->eta_us = INT64_MAX; /* nobody has said how much is still to come */
    else
        ret->eta_us = progress_eta_us(ret->events_per_second, target > position ? target - position : 1);
    progress_lags(progress, &ret->lag_us_p50, &ret->lag_us_p99, &ret->lag_us_max);
    free(progress);
}

/* Wait until position and lsn are both reached. */
static enum banyan_status wait_for(struct projection_runner *runner, uint64_t position, uint64_t lsn,
                                   int64_t timeout_us, struct banyan_error *err)
{
    const char *name = runner->options.projection->name;
    int64_t began_us = monotonic_us();
    enum banyan_status st = BANYAN_OK;

    pthread_mutex_lock(&runner->shared.lock);
    const struct projection_status *status = &runner->shared.status;
    for (;;) {
        if (status->checkpoint.position.value >= position && status->checkpoint.source_lsn >= lsn)
            break;
        if (status->state == PROJECTION_STOPPED) {
            st = banyan_error_set(err, BANYAN_STOPPED, "view %s was stopped", name);
            break;
        }
        int64_t left_us = timeout_us == INT64_MAX ? INT64_MAX / 2 : timeout_us - (monotonic_us() - began_us);
        if (left_us <= 0) {
            st = banyan_error_set(err, BANYAN_TIMEOUT, "view %s did not get there in time", name);
            banyan_error_detail(err, "it is %s at position %llu", projection_state_name(status->state),
                                (unsigned long long)status->checkpoint.position.value);
            break;
        }
        int64_t slice_us = left_us < 1000 * 1000 ? left_us : 1000 * 1000;
        (void)os_cond_wait(&runner->shared.moved, &runner->shared.lock, slice_us); /* the loop looks at the clock */
    }
    pthread_mutex_unlock(&runner->shared.lock);
    return st;
}

enum banyan_status projection_wait(struct projection_runner *runner, struct banyan_position position,
                                   int64_t timeout_us, struct banyan_error *err)
{
    return wait_for(runner, position.value, 0, timeout_us, err);
}

enum banyan_status projection_wait_lsn(struct projection_runner *runner, uint64_t lsn, int64_t timeout_us,
                                       struct banyan_error *err)
{
    return wait_for(runner, 0, lsn, timeout_us, err);
}

enum banyan_status projection_reader(struct projection_runner *runner, struct sink **ret, struct banyan_error *err)
{
    return runner->options.sink->ops->reader(runner->options.sink, ret, err);
}
