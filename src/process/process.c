/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of one process, and what other threads may ask: see process.h.
 *
 * Threads: `shared` is guarded by its lock; all else belongs to the process's thread once it runs.
 */
#include "process/process.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "process/process_int.h"

enum {
    RETRY_FIRST_US = 50 * 1000,
    RETRY_PAUSE_US_MAX = 5 * 1000 * 1000,
    HELD_US = 100 * 1000,
    LISTED_MAX = 1000, /* instances aside that are told */
};

static const char *const state_names[] = {"unknown", "catching up", "live", "failed", "stopped"};

const char *process_state_name(enum process_state state)
{
    return (unsigned)state < sizeof(state_names) / sizeof(state_names[0]) ? state_names[state] : "unknown";
}

/* ---- the thread ---- */

/* With the lock. */
static void copy_aside(struct process *process)
{
    struct banyan_arena *arena = &process->shared.arena;
    struct instance **aside;
    size_t count;

    banyan_arena_reset(arena);
    count = instances_list_aside(&process->instances, LISTED_MAX, arena, &aside);
    process->shared.aside = banyan_arena_alloc(arena, (count + 1) * sizeof(*process->shared.aside));
    process->shared.aside_count = count;
    for (size_t i = 0; i < count; i++)
        process->shared.aside[i] = (struct process_aside){
            .key = banyan_arena_str(arena, instance_key(aside[i])),
            .position = {aside[i]->aside[0]},
            .events = aside[i]->aside_count,
            .error = banyan_arena_str(arena, banyan_str_of(aside[i]->error == NULL ? "" : aside[i]->error)),
        };
    process->aside_changed = false;
}

static void publish(struct process *process, enum process_state state, const struct banyan_error *err)
{
    const struct instance *first = instances_first(&process->instances);
    const struct figures *figures = &process->figures;
    struct process_status *status = &process->shared.status;

    (void)pthread_mutex_lock(&process->shared.lock);
    status->state = state;
    status->position.value = process->passed;
    status->reactions = figures->reactions;
    status->seen = figures->seen;
    status->wakes = figures->wakes;
    status->events = figures->events;
    status->commands = figures->commands;
    status->refused = figures->refused;
    status->conflicts = figures->conflicts;
    status->repeated = figures->repeated;
    status->timers = process->instances.heap_count;
    status->next_wake.us = first == NULL ? BANYAN_TIME_NULL : first->wake_us;
    status->aside = process->instances.aside_count;
    status->held = process->instances.held_count;
    if (err != NULL)
        status->error = *err;
    process->shared.submitted = process->submitted;
    if (process->aside_changed)
        copy_aside(process);
    (void)pthread_cond_broadcast(&process->shared.moved);
    (void)pthread_mutex_unlock(&process->shared.lock);
}

static bool retry_asked(struct process *process)
{
    bool asked;

    (void)pthread_mutex_lock(&process->shared.lock);
    asked = process->shared.retry;
    process->shared.retry = false;
    (void)pthread_mutex_unlock(&process->shared.lock);
    return asked;
}

/* Until stopped or a failure. */
static enum banyan_status session(struct process *process, struct banyan_error *err)
{
    enum banyan_status status = session_open(process, err);
    int64_t wait_us = 0;
    bool again = true;

    while (status == BANYAN_OK && !os_stop_requested(process->options.stop)) {
        if (again && process->instances.aside_count > 0)
            status = process_retry_aside(process, err);
        if (status == BANYAN_OK)
            status = session_step(process, &wait_us, err);
        if (status == BANYAN_OK) {
            publish(process, process->live ? PROCESS_LIVE : PROCESS_CATCHING_UP, NULL);
            os_retry_reset(&process->retry);
        }
        if (status == BANYAN_OK && wait_us > 0)
            status = session_wait(process, wait_us, err);
        again = retry_asked(process);
    }
    return status;
}

/* False: stopped. */
static bool wait_for_release(struct process *process)
{
    bool held = true;

    while (held && !os_stop_requested(process->options.stop)) {
        (void)pthread_mutex_lock(&process->shared.lock);
        if (process->shared.held)
            (void)os_cond_wait(&process->shared.moved, &process->shared.lock, HELD_US);
        held = process->shared.held;
        (void)pthread_mutex_unlock(&process->shared.lock);
    }
    return !held;
}

static void run(void *argument)
{
    struct process *process = argument;

    if (wait_for_release(process)) {
        do {
            struct banyan_error err = BANYAN_ERROR_INIT;
            enum banyan_status status = session(process, &err);

            if (status != BANYAN_OK && status != BANYAN_STOPPED)
                publish(process, PROCESS_FAILED, &err);
            session_close(process);
        } while (!os_stop_requested(process->options.stop) && os_retry_pause(&process->retry, process->options.stop));
    }
    (void)pthread_mutex_lock(&process->shared.lock);
    process->shared.status.state = PROCESS_STOPPED;
    (void)pthread_cond_broadcast(&process->shared.moved);
    (void)pthread_mutex_unlock(&process->shared.lock);
}

/* ---- life ---- */

static enum banyan_status check(const struct process_options *options, struct banyan_error *err)
{
    const struct banyan_process *definition = options->process;
    const struct banyan_aggregate *aggregate = definition->aggregate;

    if (definition->name == NULL || definition->name[0] == '\0' || aggregate == NULL || definition->key == NULL ||
        definition->react == NULL || definition->categories == NULL || definition->categories[0] == NULL)
        return banyan_error_set(err, BANYAN_INVALID,
                                "process %s: a process needs a name, an aggregate, categories, key() and react()",
                                definition->name == NULL ? "?" : definition->name);
    if (aggregates_find(options->aggregates, banyan_str_of(aggregate->category)) != aggregate)
        return banyan_error_set(err, BANYAN_INVALID, "process %s: category %s is that of another aggregate",
                                definition->name, aggregate->category);
    for (size_t i = 0; definition->types != NULL && i < definition->type_count; i++) {
        if (definition->types[i] >= options->domain->event_count)
            return banyan_error_set(err, BANYAN_INVALID, "process %s: the domain has no event type %u",
                                    definition->name, definition->types[i]);
    }
    return BANYAN_OK;
}

enum banyan_status process_start(const struct process_options *options, struct process **ret, struct banyan_error *err)
{
    const char *name = options->process->name;
    enum banyan_status status = check(options, err);
    struct process *process;
    char thread[16] = "process ";

    if (status != BANYAN_OK)
        return status;
    process = alloc_zeroed(1, sizeof(*process));
    process->options = *options;
    if (process->options.clock == NULL)
        process->options.clock = os_clock_real();
    process->name = banyan_str_of(name);
    process->cursor_name = banyan_arena_printf(&process->forever, "process:%s", name);
    process->aside_stream = banyan_arena_printf(&process->forever, "$process-%s", name);
    process->retry = (struct os_retry){.first_us = RETRY_FIRST_US, .pause_us_max = RETRY_PAUSE_US_MAX};
    process->begin_at_end = options->held;
    states_init(&process->states, options->store, options->domain, options->process->aggregate, &process->forever);
    process->payload = alloc_zeroed(1, process->states.payload_size_max);
    (void)pthread_mutex_init(&process->shared.lock, NULL);
    os_cond_init(&process->shared.moved);
    process->shared.held = options->held;
    process->shared.status.state = PROCESS_CATCHING_UP;
    process->shared.status.next_wake.us = BANYAN_TIME_NULL;
    strncat(thread, name, sizeof(thread) - strlen(thread) - 1);
    os_thread_start(&process->thread, thread, run, process);
    *ret = process;
    return BANYAN_OK;
}

void process_stop(struct process *process)
{
    if (process == NULL)
        return;
    os_thread_join(&process->thread);
    states_release(&process->states);
    banyan_arena_release(&process->forever);
    banyan_arena_release(&process->arena);
    banyan_arena_release(&process->shared.arena);
    (void)pthread_mutex_destroy(&process->shared.lock);
    (void)pthread_cond_destroy(&process->shared.moved);
    free(process->payload);
    free(process);
}

/* ---- for other threads ---- */

void process_release(struct process *process)
{
    (void)pthread_mutex_lock(&process->shared.lock);
    process->shared.held = false;
    (void)pthread_cond_broadcast(&process->shared.moved);
    (void)pthread_mutex_unlock(&process->shared.lock);
}

const char *process_name(const struct process *process)
{
    return process->options.process->name;
}

void process_status(struct process *process, struct process_status *ret)
{
    struct banyan_position tail = store_tail(process->options.store);

    (void)pthread_mutex_lock(&process->shared.lock);
    *ret = process->shared.status;
    (void)pthread_mutex_unlock(&process->shared.lock);
    ret->tail = tail;
}

void process_list_aside(struct process *process, size_t limit, struct banyan_arena *arena, struct process_aside **ret,
                        size_t *ret_count)
{
    (void)pthread_mutex_lock(&process->shared.lock);
    *ret_count = process->shared.aside_count < limit ? process->shared.aside_count : limit;
    *ret = banyan_arena_alloc(arena, (*ret_count + 1) * sizeof(**ret));
    for (size_t i = 0; i < *ret_count; i++) {
        (*ret)[i] = process->shared.aside[i];
        (*ret)[i].key = banyan_arena_str(arena, process->shared.aside[i].key);
        (*ret)[i].error = banyan_arena_str(arena, process->shared.aside[i].error);
    }
    (void)pthread_mutex_unlock(&process->shared.lock);
}

uint64_t process_retry(struct process *process)
{
    uint64_t aside;

    (void)pthread_mutex_lock(&process->shared.lock);
    process->shared.retry = true;
    aside = process->shared.status.aside;
    (void)pthread_mutex_unlock(&process->shared.lock);
    return aside;
}

enum banyan_status process_wait(struct process *process, struct banyan_position position, int64_t timeout_us,
                                struct banyan_error *err)
{
    struct os_clock *clock = os_clock_real();
    int64_t began_us = os_clock_monotonic_us(clock), left_us = timeout_us;
    struct banyan_position submitted = {0};
    enum banyan_status status = BANYAN_OK;
    const char *name = process_name(process);

    (void)pthread_mutex_lock(&process->shared.lock);
    while (process->shared.status.position.value < position.value && status == BANYAN_OK) {
        if (process->shared.status.state == PROCESS_STOPPED)
            status = banyan_error_set(err, BANYAN_STOPPED, "process %s was stopped", name);
        else if (left_us <= 0)
            status = banyan_error_set(err, BANYAN_TIMEOUT, "process %s did not get there in time", name);
        else
            (void)os_cond_wait(&process->shared.moved, &process->shared.lock,
                               left_us < HELD_US ? left_us : HELD_US); /* the loop looks at the clock */
        if (timeout_us < INT64_MAX / 2)
            left_us = timeout_us - (os_clock_monotonic_us(clock) - began_us);
    }
    submitted.value = process->shared.submitted;
    (void)pthread_mutex_unlock(&process->shared.lock);
    if (status == BANYAN_OK && submitted.value > 0)
        status = store_wait(process->options.store, submitted, timeout_us, err);
    return status;
}
