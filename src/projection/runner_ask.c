/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One projection as other threads see it: status, waits, pause, a key tried again.
 *
 * That it is paused is an event in the stream "$projections-<name>", of type "$ProjectionPaused" or
 * "$ProjectionResumed" with an empty payload: durable, ordered and backed up like everything else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/random.h"
#include "projection/runner_int.h"

enum {
    SLICE_US = 1000 * 1000,
    SETTLE_US_MAX = 10 * 1000 * 1000,
    RETRY_US_MAX = 60 * 1000 * 1000,
    RETRY_FAILED_US_MAX = 2 * 1000 * 1000, /* who fails all the time is not waited for */
    NAME_BYTES_MAX = 512,
};

static const char *const state_names[] = {"unknown", "building", "catching up", "live", "paused", "failed", "stopped"};
static const char *const phase_names[REBUILD_PHASES] = {"none",  "waiting", "fold",     "load",
                                                        "index", "verify",  "catch up", "switch"};

const char *projection_state_name(enum projection_state state)
{
    return (size_t)state < sizeof(state_names) / sizeof(state_names[0]) ? state_names[state] : state_names[0];
}

const char *rebuild_phase_name(enum rebuild_phase phase)
{
    return (size_t)phase < REBUILD_PHASES ? phase_names[phase] : state_names[0];
}

static int64_t monotonic_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

/* Under the lock. */
static enum projection_state state_of(const struct runner *runner)
{
    if (runner->shared.stopped)
        return PROJECTION_STOPPED;
    if (runner->shared.failed)
        return PROJECTION_FAILED;
    if (runner->shared.paused)
        return PROJECTION_PAUSED;
    if (runner->shared.live)
        return PROJECTION_LIVE;
    return runner->shared.status.serves ? PROJECTION_CATCHING_UP : PROJECTION_BUILDING;
}

void runner_status(struct runner *runner, struct projection_status *ret)
{
    int64_t now_us = monotonic_us();
    struct progress *progress = alloc_zeroed(1, sizeof(*progress));

    pthread_mutex_lock(&runner->shared.lock);
    *ret = runner->shared.status;
    ret->state = state_of(runner);
    ret->paused = runner->shared.paused;
    *progress = runner->shared.progress;
    uint64_t passed = runner->shared.passed;
    uint64_t target = runner->shared.held ? UINT64_MAX : runner->shared.target.value;
    if (runner->shared.rebuild != NULL)
        rebuild_status(runner->shared.rebuild, &ret->rebuild);
    pthread_mutex_unlock(&runner->shared.lock);

    ret->tail = store_tail(runner->engine->options.store);
    ret->events_per_second = progress_rate(progress, now_us, passed);
    uint64_t position = ret->checkpoint.position.value;
    if (ret->state == PROJECTION_LIVE)
        ret->eta_us = 0;
    else if (!ret->serves && ret->rebuild.phase != REBUILD_NONE)
        ret->eta_us = ret->rebuild.eta_us;
    else if (target == UINT64_MAX || ret->state == PROJECTION_PAUSED)
        ret->eta_us = INT64_MAX; /* nobody has said how much is still to come, or when */
    else
        ret->eta_us = progress_eta_us(ret->events_per_second, target > position ? target - position : 1);
    progress_lags(progress, &ret->lag_us_p50, &ret->lag_us_p99, &ret->lag_us_max);
    free(progress);
}

/* Who waits is told of a checkpoint that moves over events that are not wanted, too, and at once. */
static void begin_waiting(struct runner *runner)
{
    if (runner->shared.waiting++ > 0)
        return;
    pthread_mutex_unlock(&runner->shared.lock);
    scan_reader_wake(runner->reader);
    pthread_mutex_lock(&runner->shared.lock);
}

enum banyan_status runner_wait(struct runner *runner, uint64_t position, uint64_t lsn, int64_t timeout_us,
                               struct banyan_error *err)
{
    int64_t began_us = monotonic_us();
    enum banyan_status st = BANYAN_OK;
    bool waits = false;

    pthread_mutex_lock(&runner->shared.lock);
    const struct projection_status *status = &runner->shared.status;
    /* A first generation that is there but does not serve yet answers nobody, however far it is. */
    while (status->checkpoint.position.value < position || status->checkpoint.source_lsn < lsn ||
           (runner->shared.serving == 0 && !runner->shared.held && (position > 0 || lsn > 0))) {
        if (runner->shared.stopped) {
            st = banyan_error_set(err, BANYAN_STOPPED, "view %s was stopped", runner->options.name);
            break;
        }
        int64_t left_us = timeout_us == INT64_MAX ? INT64_MAX / 2 : timeout_us - (monotonic_us() - began_us);
        if (left_us <= 0) {
            st = banyan_error_set(err, BANYAN_TIMEOUT, "view %s did not get there in time", runner->options.name);
            banyan_error_detail(err, "it is %s at position %llu", projection_state_name(state_of(runner)),
                                (unsigned long long)status->checkpoint.position.value);
            break;
        }
        if (!waits) {
            waits = true;
            begin_waiting(runner);
            continue;
        }
        (void)os_cond_wait(&runner->shared.moved, &runner->shared.lock,
                           left_us < SLICE_US ? left_us : SLICE_US); /* the loop looks at the clock */
    }
    if (waits)
        runner->shared.waiting--;
    pthread_mutex_unlock(&runner->shared.lock);
    return st;
}

/* ---- pause ---- */

static struct banyan_str pause_stream(const char *name, char text[NAME_BYTES_MAX])
{
    (void)snprintf(text, NAME_BYTES_MAX, "$projections-%s", name); /* names are checked when they are added */
    return banyan_str_of(text);
}

enum banyan_status runner_was_paused(struct store *store, const char *name, bool *ret, struct banyan_error *err)
{
    char text[NAME_BYTES_MAX];
    struct store_read_event event;
    struct store_reader *reader = store_reader_open(store);
    enum banyan_status st =
        store_reader_stream_backward(reader, pause_stream(name, text), (struct banyan_version){0}, err);
    if (st == BANYAN_OK)
        st = store_reader_next(reader, &event, err);
    if (st == BANYAN_OK)
        *ret = banyan_str_equal(event.event.type, BANYAN_STR("$ProjectionPaused"));
    if (st == BANYAN_NOT_FOUND) {
        banyan_error_clear(err);
        *ret = false;
        st = BANYAN_OK;
    }
    store_reader_close(reader);
    return st;
}

enum banyan_status runner_pause(struct runner *runner, bool pause, struct banyan_error *err)
{
    char text[NAME_BYTES_MAX];
    struct store_appended appended;
    struct store_event event = {
        .id = os_uuid_new(),
        .stream = pause_stream(runner->options.name, text),
        .type = pause ? BANYAN_STR("$ProjectionPaused") : BANYAN_STR("$ProjectionResumed"),
        .provenance = BANYAN_EXACT,
        .at = os_clock_now(os_clock_real()),
        .payload = BANYAN_STR("{}"),
    };
    pthread_mutex_lock(&runner->shared.lock);
    bool is = runner->shared.paused;
    pthread_mutex_unlock(&runner->shared.lock);
    if (is == pause)
        return BANYAN_OK;
    enum banyan_status st = store_append(runner->engine->options.store,
                                         &(struct store_append){.events = &event, .event_count = 1}, &appended, err);
    if (st != BANYAN_OK) {
        banyan_error_context(err, "view %s: %s", runner->options.name, pause ? "pause" : "resume");
        return st;
    }
    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.paused = pause;
    if (!pause)
        runner->shared.target = store_durable(runner->engine->options.store);
    pthread_cond_broadcast(&runner->shared.moved);
    pthread_mutex_unlock(&runner->shared.lock);
    scan_reader_wake(runner->reader);

    pthread_mutex_lock(&runner->shared.lock);
    for (int64_t left_us = SETTLE_US_MAX; pause && !runner->shared.resting && left_us > 0; left_us -= 100 * 1000)
        (void)os_cond_wait(&runner->shared.moved, &runner->shared.lock, 100 * 1000); /* the loop looks */
    pthread_mutex_unlock(&runner->shared.lock);
    return BANYAN_OK;
}

/* ---- again ---- */

enum banyan_status runner_ask_retry(struct runner *runner, int64_t key, struct banyan_str stream,
                                    struct banyan_error *err)
{
    struct runner_retry asked = {.key = key, .stream = stream};
    int64_t began_us = monotonic_us();
    bool posted = false, woken = false;

    pthread_mutex_lock(&runner->shared.lock);
    while (!asked.done && !(runner->shared.stopped && !asked.taken)) {
        if (!posted && runner->shared.asked == NULL) {
            runner->shared.asked = &asked;
            posted = true;
            pthread_cond_broadcast(&runner->shared.moved);
        }
        if (posted && !woken) {
            woken = true;
            pthread_mutex_unlock(&runner->shared.lock);
            scan_reader_wake(runner->reader);
            pthread_mutex_lock(&runner->shared.lock);
            continue;
        }
        if (!asked.taken && monotonic_us() - began_us >= (runner->shared.failed ? RETRY_FAILED_US_MAX : RETRY_US_MAX))
            break;
        (void)os_cond_wait(&runner->shared.moved, &runner->shared.lock, 100 * 1000); /* the loop looks */
    }
    if (posted && runner->shared.asked == &asked)
        runner->shared.asked = NULL;
    bool stopped = runner->shared.stopped;
    pthread_mutex_unlock(&runner->shared.lock);
    if (asked.done) {
        if (asked.status != BANYAN_OK && err != NULL)
            *err = asked.err;
        return asked.status;
    }
    return banyan_error_set(err, stopped ? BANYAN_STOPPED : BANYAN_TIMEOUT, "view %s: %s", runner->options.name,
                            stopped ? "was stopped" : "it is busy, or failing; nothing was tried");
}
