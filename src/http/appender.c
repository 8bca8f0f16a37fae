/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appends without waiting in the event loop.
 *
 *   loop: http_appender_submit() ─▶ queue ─▶ submitter: store_submit() ─▶ list of what is not durable yet ─┐
 *   loop: a job with run()       ─▶ works ─▶ worker:    run()          ─▶ ──────────────────────────────────┤
 *   loop: done() ◀── wake-up ◀── watcher: waits until the durable position moves ◀──────────────────────────┘
 *
 * Workers run what may have to read or wait (commands, states of aggregates), so that appends are not held up by it.
 *
 * The submitter does not wait for the disk, so that the appends of all connections meet in one flush.  The watcher also
 * wakes the subscribers, whoever appended.  A full disk fails what waits (it may still become durable: a repeat with
 * the same ids tells); a broken log fails everything.
 *
 * Where a rollout may move ownership, events of mapped categories are appended only while they are Banyan's, with the
 * epoch of the ownership as a condition, as commands are.  The submitter asks for it: that may wait for a change that
 * is being flushed, and then so do the appends behind it.
 *
 * Threads: shared is guarded by its lock; everything else belongs to the loop.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "http/http_int.h"
#include "os/clock.h"
#include "rollout/owner.h"

enum {
    WATCH_US = 250 * 1000,  /* how long the end of the server may have to wait for the watcher */
    UNWELL_US = 100 * 1000, /* between two looks at a full disk */
    WORKERS = 2,
};

struct job_list {
    struct http_job *first, **last;
};

struct http_appender {
    struct http_server *server;
    struct event *wake;
    struct os_thread submitter, watcher, workers[WORKERS];
    struct {
        pthread_mutex_t lock; /* guards the rest */
        pthread_cond_t more;  /* of queue, or stop */
        pthread_cond_t work;  /* of works, or stop */
        struct job_list queue, works, submitted, finished;
        bool stop;
        struct banyan_error unwell; /* why nothing becomes durable; status OK: it does */
    } shared;
};

static void list_init(struct job_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void list_add(struct job_list *list, struct http_job *job)
{
    job->next = NULL;
    *list->last = job;
    list->last = &job->next;
}

static struct http_job *list_take(struct job_list *list)
{
    struct http_job *first = list->first;
    list_init(list);
    return first;
}

/* ---- the submitter ---- */

/* The versions after the append, where the heads still say them; the loop reads the others. */
static void note_versions(struct store *store, struct http_job *job)
{
    for (size_t i = 0; i < job->written_count && !job->appended.repeated; i++) {
        struct http_written *written = &job->written[i];
        struct store_head head;
        if (store_head(store, written->stream, &head, NULL) == BANYAN_OK &&
            head.position.value == job->appended.first.value + written->last_event)
            written->version = head.version;
    }
}

/* With the lock: what was submitted waits for the disk, what failed for the loop. */
static void hand_over(struct http_appender *appender, struct job_list *done)
{
    uint64_t durable = store_durable(appender->server->options.store).value;
    bool finished = false;
    for (struct http_job *job = list_take(done), *next; job != NULL; job = next) {
        next = job->next;
        /* What was flushed before it came to the list was not seen by the wake-up of that flush. */
        finished =
            finished || job->status != BANYAN_OK || job->appended.repeated || job->appended.last.value <= durable;
        list_add(job->status == BANYAN_OK ? &appender->shared.submitted : &appender->shared.finished, job);
    }
    if (finished)
        event_active(appender->wake, EV_TIMEOUT, 0);
}

/* ---- who may write ---- */

enum {
    PERMIT_TRIES = 8, /* of an append that met another epoch of the ownership */
};

/* One condition says it for all events of an append: the ownership has one epoch.  *ret_moved: it did not. */
static enum banyan_status permit(struct owner *owner, const struct store_append *append, struct banyan_arena *arena,
                                 struct store_condition *ret, bool *ret_moved, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    *ret = (struct store_condition){.expect = STORE_EXPECT_NONE};
    *ret_moved = false;
    for (size_t i = 0; i < append->event_count && st == BANYAN_OK; i++) {
        struct store_condition one;
        st = owner_permit_event(owner, &append->events[i], arena, &one, err);
        if (st != BANYAN_OK || one.expect == STORE_EXPECT_NONE)
            continue;
        *ret_moved = *ret_moved || (ret->expect != STORE_EXPECT_NONE && ret->version.value != one.version.value);
        *ret = one;
    }
    return st;
}

/* Was it appended before?  Then it is answered as the first time, whoever owns its streams now; and nothing can come of
 * it, as an append with an id that is there is a repeat of all of it or refused. */
static bool is_known(struct store *store, const struct store_append *append)
{
    struct banyan_position position = {0};
    return append->event_count > 0 && store_find(store, append->events[0].id, &position, NULL) == BANYAN_OK &&
           position.value != 0;
}

static enum banyan_status submit_once(struct store *store, const struct store_append *append,
                                      const struct store_condition *permit, struct banyan_arena *arena,
                                      struct store_appended *ret, struct banyan_error *err)
{
    struct store_append with = *append;
    if (permit->expect == STORE_EXPECT_NONE)
        return store_submit(store, append, ret, err);
    struct store_condition *conditions = banyan_arena_alloc(arena, (append->condition_count + 1) * sizeof(*conditions));
    if (append->condition_count > 0)
        memcpy(conditions, append->conditions, append->condition_count * sizeof(*conditions));
    conditions[append->condition_count] = *permit;
    with.conditions = conditions;
    with.condition_count++;
    return store_submit(store, &with, ret, err);
}

/* Append what the owner permits, under the condition that it still does. */
static enum banyan_status submit_job(struct http_server *server, struct http_job *job)
{
    struct owner *owner = server->options.owner;
    struct store *store = server->options.store;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    enum banyan_status st = BANYAN_CONFLICT;
    bool moved = true;
    if (owner == NULL)
        return store_submit(store, &job->append, &job->appended, &job->err);
    for (int tries = 0; moved && tries < PERMIT_TRIES; tries++) {
        struct store_condition condition;
        uint64_t epoch = 0;
        banyan_error_clear(&job->err);
        st = permit(owner, &job->append, &arena, &condition, &moved, &job->err);
        if (st != BANYAN_OK && is_known(store, &job->append)) {
            banyan_error_clear(&job->err);
            st = store_submit(store, &job->append, &job->appended, &job->err);
            break;
        }
        if (st != BANYAN_OK || moved)
            continue;
        st = submit_once(store, &job->append, &condition, &arena, &job->appended, &job->err);
        if (st == BANYAN_CONFLICT && condition.expect != STORE_EXPECT_NONE)
            moved = owner_mode(owner, &epoch) != OWNER_NONE && epoch != condition.version.value;
    }
    banyan_arena_release(&arena);
    return st;
}

static void worker_main(void *argument)
{
    struct http_appender *appender = argument;
    (void)pthread_mutex_lock(&appender->shared.lock);
    while (!appender->shared.stop) {
        struct http_job *job = appender->shared.works.first;
        struct job_list done;
        if (job == NULL) {
            (void)os_cond_wait(&appender->shared.work, &appender->shared.lock, 1000 * 1000);
            continue;
        }
        appender->shared.works.first = job->next;
        if (job->next == NULL)
            list_init(&appender->shared.works);
        (void)pthread_mutex_unlock(&appender->shared.lock);
        job->status = job->run(job);
        list_init(&done);
        list_add(&done, job);
        (void)pthread_mutex_lock(&appender->shared.lock);
        hand_over(appender, &done);
    }
    (void)pthread_mutex_unlock(&appender->shared.lock);
}

static void submitter_main(void *argument)
{
    struct http_appender *appender = argument;
    struct store *store = appender->server->options.store;
    (void)pthread_mutex_lock(&appender->shared.lock);
    while (!appender->shared.stop) {
        struct http_job *job = list_take(&appender->shared.queue), *next;
        if (job == NULL) {
            (void)os_cond_wait(&appender->shared.more, &appender->shared.lock, 1000 * 1000);
            continue;
        }
        (void)pthread_mutex_unlock(&appender->shared.lock);
        struct job_list done;
        list_init(&done);
        for (; job != NULL; job = next) {
            next = job->next;
            job->status = submit_job(appender->server, job);
            if (job->status == BANYAN_OK)
                note_versions(store, job);
            list_add(&done, job);
        }
        (void)pthread_mutex_lock(&appender->shared.lock);
        hand_over(appender, &done);
    }
    (void)pthread_mutex_unlock(&appender->shared.lock);
}

/* ---- the watcher ---- */

static void watcher_main(void *argument)
{
    struct http_appender *appender = argument;
    struct store *store = appender->server->options.store;
    uint64_t told = 0; /* the loop was woken after this position was durable; what moves since then is not missed */
    bool stop = false;
    while (!stop) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct banyan_position next = {told + 1};
        enum banyan_status st = store_wait(store, next, WATCH_US, &err);
        uint64_t durable = store_durable(store).value;
        (void)pthread_mutex_lock(&appender->shared.lock);
        bool unwell = st != BANYAN_OK && st != BANYAN_TIMEOUT;
        if (unwell)
            appender->shared.unwell = err;
        else
            banyan_error_clear(&appender->shared.unwell);
        if (unwell || durable > told)
            event_active(appender->wake, EV_TIMEOUT, 0);
        told = durable;
        if (unwell && !appender->shared.stop)
            (void)os_cond_wait(&appender->shared.more, &appender->shared.lock, UNWELL_US);
        stop = appender->shared.stop;
        (void)pthread_mutex_unlock(&appender->shared.lock);
    }
}

/* ---- the loop ---- */

static void finish(struct http_server *server, struct http_job *job)
{
    int64_t took_us = os_clock_monotonic_us(server->clock) - job->began_us;
    struct http_figures *figures = &server->figures;
    if (job->run != NULL) {
        job->took_us = took_us;
    } else if (job->status == BANYAN_OK) {
        figures->appends++;
        figures->append_events += job->append.event_count;
        figures->append_us_sum += took_us;
        if (took_us > figures->append_us_max)
            figures->append_us_max = took_us;
    } else if (job->status == BANYAN_CONFLICT) {
        figures->append_conflicts++;
    } else if (job->status == BANYAN_DUPLICATE) {
        figures->append_duplicates++;
    }
    job->done(job);
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    struct http_server *server = context;
    struct http_appender *appender = server->appender;
    uint64_t durable = store_durable(server->options.store).value;
    struct job_list ready, waiting;
    struct http_job *job, *next;
    (void)fd, (void)what;
    list_init(&ready);
    list_init(&waiting);
    (void)pthread_mutex_lock(&appender->shared.lock);
    for (job = list_take(&appender->shared.finished); job != NULL; job = next) {
        next = job->next;
        list_add(&ready, job);
    }
    for (job = list_take(&appender->shared.submitted); job != NULL; job = next) {
        next = job->next;
        bool is_durable = job->appended.last.value <= durable;
        if (!is_durable && appender->shared.unwell.status != BANYAN_OK) {
            job->status = appender->shared.unwell.status;
            job->err = appender->shared.unwell;
        }
        list_add(is_durable || job->status != BANYAN_OK ? &ready : &waiting, job);
    }
    while ((job = waiting.first) != NULL) {
        waiting.first = job->next;
        list_add(&appender->shared.submitted, job);
    }
    (void)pthread_mutex_unlock(&appender->shared.lock);
    for (job = ready.first; job != NULL; job = next) {
        next = job->next;
        finish(server, job);
    }
    http_subscribers_wake(server);
}

void http_appender_submit(struct http_server *server, struct http_job *job)
{
    struct http_appender *appender = server->appender;
    job->began_us = os_clock_monotonic_us(server->clock);
    (void)pthread_mutex_lock(&appender->shared.lock);
    struct job_list *list = job->run != NULL ? &appender->shared.works : &appender->shared.queue;
    bool first = list->first == NULL;
    list_add(list, job);
    if (job->run != NULL)
        (void)pthread_cond_signal(&appender->shared.work);
    else if (first)
        (void)pthread_cond_broadcast(&appender->shared.more);
    (void)pthread_mutex_unlock(&appender->shared.lock);
}

enum banyan_status http_appender_open(struct http_server *server, struct banyan_error *err)
{
    struct http_appender *appender = alloc_zeroed(1, sizeof(*appender));
    server->appender = appender;
    appender->server = server;
    (void)pthread_mutex_init(&appender->shared.lock, NULL);
    os_cond_init(&appender->shared.more);
    os_cond_init(&appender->shared.work);
    list_init(&appender->shared.queue);
    list_init(&appender->shared.works);
    list_init(&appender->shared.submitted);
    list_init(&appender->shared.finished);
    appender->wake = event_new(server->base, -1, 0, on_wake, server);
    if (appender->wake == NULL)
        return banyan_error_set(err, BANYAN_LIMIT, "cannot make an event");
    os_thread_start(&appender->submitter, "http-append", submitter_main, appender);
    os_thread_start(&appender->watcher, "http-durable", watcher_main, appender);
    for (size_t i = 0; i < WORKERS && server->options.aggregates != NULL; i++)
        os_thread_start(&appender->workers[i], "http-command", worker_main, appender);
    return BANYAN_OK;
}

void http_appender_close(struct http_server *server)
{
    struct http_appender *appender = server->appender;
    if (appender == NULL)
        return;
    (void)pthread_mutex_lock(&appender->shared.lock);
    appender->shared.stop = true;
    (void)pthread_cond_broadcast(&appender->shared.more);
    (void)pthread_cond_broadcast(&appender->shared.work);
    (void)pthread_mutex_unlock(&appender->shared.lock);
    os_thread_join(&appender->submitter);
    os_thread_join(&appender->watcher);
    for (size_t i = 0; i < WORKERS; i++)
        os_thread_join(&appender->workers[i]);
    struct job_list *const lists[] = {&appender->shared.queue, &appender->shared.works, &appender->shared.submitted,
                                      &appender->shared.finished};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (struct http_job *job = list_take(lists[i]), *next; job != NULL; job = next) {
            next = job->next;
            job->status = banyan_error_set(&job->err, BANYAN_STOPPED, "the server ends");
            job->done(job);
        }
    }
    if (appender->wake != NULL)
        event_free(appender->wake);
    (void)pthread_cond_destroy(&appender->shared.more);
    (void)pthread_cond_destroy(&appender->shared.work);
    (void)pthread_mutex_destroy(&appender->shared.lock);
    free(appender);
    server->appender = NULL;
}
