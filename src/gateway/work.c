/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the loops must not wait for.
 *
 *   loop ─▶ sources ─▶ source thread: until the legacy application's writes are in the read models ─┐
 *     └───────────────────────────────────────────────────────────────────────────────────────────┴▶ queue
 *   queue ─▶ worker: ask->run() ─▶ submitted ─▶ watcher: until durable ─▶ loop: ask->done()
 *
 * Many asks wait for the source at once: one look serves all that came before it began.  Workers do not wait for the
 * disk, so that the commands of all clients meet in one flush.  Threads: shared is guarded by its lock.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "gateway/facade.h"

enum {
    WORKERS = 4,
    WAIT_US = 250 * 1000,         /* how long the end may have to wait for the watcher */
    UNWELL_US = 100 * 1000,       /* between two looks at a full disk */
    SOURCE_WAIT_US = 1000 * 1000, /* for the legacy application's writes */
};

struct list {
    struct ask *first, **last;
};

struct work {
    struct gateway *gateway;
    struct os_thread workers[WORKERS], watcher, source;
    _Atomic int64_t source_us;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t more, asked, watched; /* of queue, sources, submitted; or stop */
        struct list queue, sources, submitted;
        bool stop;
    } shared;
};

static void list_init(struct list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void list_add(struct list *list, struct ask *ask)
{
    ask->next = NULL;
    *list->last = ask;
    list->last = &ask->next;
}

static struct ask *list_pop(struct list *list)
{
    struct ask *ask = list->first;
    if (ask != NULL) {
        list->first = ask->next;
        if (list->first == NULL)
            list_init(list);
    }
    return ask;
}

static struct ask *list_take(struct list *list)
{
    struct ask *first = list->first;
    list_init(list);
    return first;
}

static void run_done(struct message *message)
{
    struct ask *ask = (struct ask *)message;
    ask->done(ask);
}

static void to_loop(struct ask *ask)
{
    ask->message.run = run_done;
    loop_post(ask->loop, &ask->message);
}

/* ---- threads ---- */

static void worker_main(void *argument)
{
    struct work *work = argument;
    struct here here;
    here_init(&here, work->gateway);
    (void)pthread_mutex_lock(&work->shared.lock);
    while (!work->shared.stop) {
        struct ask *ask = list_pop(&work->shared.queue);
        if (ask == NULL) {
            (void)os_cond_wait(&work->shared.more, &work->shared.lock, WAIT_US);
            continue;
        }
        (void)pthread_mutex_unlock(&work->shared.lock);
        if (ask->status == BANYAN_OK) /* else waiting for the source failed */
            ask->status = ask->run(ask, &here);
        bool durable = ask->status != BANYAN_OK || ask->position.value == 0 ||
                       store_durable(work->gateway->options.store).value >= ask->position.value;
        if (durable)
            to_loop(ask);
        (void)pthread_mutex_lock(&work->shared.lock);
        if (!durable) {
            list_add(&work->shared.submitted, ask);
            (void)pthread_cond_signal(&work->shared.watched);
        }
    }
    (void)pthread_mutex_unlock(&work->shared.lock);
    here_release(&here);
}

/* Those that are durable, or can never be told; the others go back. */
static void hand_back(struct work *work, struct ask *asks, enum banyan_status unwell, const struct banyan_error *err)
{
    uint64_t durable = store_durable(work->gateway->options.store).value;
    for (struct ask *ask = asks, *next; ask != NULL; ask = next) {
        next = ask->next;
        if (ask->position.value > durable && unwell == BANYAN_OK) {
            (void)pthread_mutex_lock(&work->shared.lock);
            list_add(&work->shared.submitted, ask);
            (void)pthread_mutex_unlock(&work->shared.lock);
            continue;
        }
        if (ask->position.value > durable) {
            ask->status = unwell;
            ask->err = *err;
        }
        to_loop(ask);
    }
}

static void watcher_main(void *argument)
{
    struct work *work = argument;
    (void)pthread_mutex_lock(&work->shared.lock);
    while (!work->shared.stop) {
        struct ask *asks = list_take(&work->shared.submitted);
        struct banyan_error err = BANYAN_ERROR_INIT;
        if (asks == NULL) {
            (void)os_cond_wait(&work->shared.watched, &work->shared.lock, WAIT_US);
            continue;
        }
        (void)pthread_mutex_unlock(&work->shared.lock);
        uint64_t first = asks->position.value;
        for (struct ask *ask = asks; ask != NULL; ask = ask->next)
            first = ask->position.value < first ? ask->position.value : first;
        enum banyan_status st =
            store_wait(work->gateway->options.store, (struct banyan_position){first}, WAIT_US, &err);
        hand_back(work, asks, st == BANYAN_TIMEOUT ? BANYAN_OK : st, &err);
        (void)pthread_mutex_lock(&work->shared.lock);
    }
    (void)pthread_mutex_unlock(&work->shared.lock);
}

static void source_main(void *argument)
{
    struct work *work = argument;
    const struct gateway_options *options = &work->gateway->options;
    (void)pthread_mutex_lock(&work->shared.lock);
    while (!work->shared.stop) {
        struct ask *asks = list_take(&work->shared.sources);
        if (asks == NULL) {
            (void)os_cond_wait(&work->shared.asked, &work->shared.lock, WAIT_US);
            continue;
        }
        (void)pthread_mutex_unlock(&work->shared.lock);
        struct banyan_error err = BANYAN_ERROR_INIT;
        int64_t began = gateway_now(work->gateway);
        enum banyan_status st = options->wait_source == NULL
                                    ? banyan_error_set(&err, BANYAN_UNAVAILABLE, "there is no source to wait for")
                                    : options->wait_source(options->wait_context, SOURCE_WAIT_US, &err);
        if (st == BANYAN_OK)
            atomic_store(&work->source_us, began);
        (void)pthread_mutex_lock(&work->shared.lock);
        for (struct ask *ask = asks, *next; ask != NULL; ask = next) {
            next = ask->next;
            ask->status = st;
            if (st != BANYAN_OK)
                ask->err = err;
            list_add(&work->shared.queue, ask);
        }
        (void)pthread_cond_broadcast(&work->shared.more);
    }
    (void)pthread_mutex_unlock(&work->shared.lock);
}

/* ---- for the loops ---- */

void work_submit(struct ask *ask, bool source)
{
    struct work *work = ask->loop->gateway->work;
    ask->place = ASK_AT_WORK;
    ask->status = BANYAN_OK;
    banyan_error_clear(&ask->err);
    ask->position = (struct banyan_position){0};
    if (ask->front != NULL && !source) /* how long the source takes is its own guard's matter */
        timer_set(&ask->front->timer, GATEWAY_LATE_US);
    (void)pthread_mutex_lock(&work->shared.lock);
    list_add(source ? &work->shared.sources : &work->shared.queue, ask);
    (void)pthread_cond_signal(source ? &work->shared.asked : &work->shared.more);
    (void)pthread_mutex_unlock(&work->shared.lock);
}

int64_t work_source_us(struct work *work)
{
    return atomic_load(&work->source_us);
}

/* ---- life ---- */

struct work *work_new(struct gateway *gateway)
{
    struct work *work = alloc_zeroed(1, sizeof(*work));
    work->gateway = gateway;
    (void)pthread_mutex_init(&work->shared.lock, NULL);
    os_cond_init(&work->shared.more);
    os_cond_init(&work->shared.asked);
    os_cond_init(&work->shared.watched);
    list_init(&work->shared.queue);
    list_init(&work->shared.sources);
    list_init(&work->shared.submitted);
    for (size_t i = 0; i < WORKERS; i++)
        os_thread_start(&work->workers[i], "gateway-work", worker_main, work);
    os_thread_start(&work->watcher, "gateway-durable", watcher_main, work);
    os_thread_start(&work->source, "gateway-source", source_main, work);
    return work;
}

void work_stop(struct work *work)
{
    if (work == NULL)
        return;
    (void)pthread_mutex_lock(&work->shared.lock);
    work->shared.stop = true;
    (void)pthread_cond_broadcast(&work->shared.more);
    (void)pthread_cond_broadcast(&work->shared.asked);
    (void)pthread_cond_broadcast(&work->shared.watched);
    (void)pthread_mutex_unlock(&work->shared.lock);
    for (size_t i = 0; i < WORKERS; i++)
        os_thread_join(&work->workers[i]);
    os_thread_join(&work->watcher);
    os_thread_join(&work->source);
}

void work_free(struct work *work)
{
    if (work == NULL)
        return;
    struct list *const lists[] = {&work->shared.queue, &work->shared.sources, &work->shared.submitted};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        for (struct ask *ask; (ask = list_pop(lists[i])) != NULL;)
            ask_free(ask); /* its client has gone: what was submitted becomes durable all the same */
    (void)pthread_cond_destroy(&work->shared.more);
    (void)pthread_cond_destroy(&work->shared.asked);
    (void)pthread_cond_destroy(&work->shared.watched);
    (void)pthread_mutex_destroy(&work->shared.lock);
    free(work);
}
