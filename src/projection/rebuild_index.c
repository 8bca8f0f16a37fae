/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indexes of a generation that is being loaded: several at once, and while other tables are still loaded.
 *
 *   a table's loads are closed ─▶ its steps wait ─▶ workers take them ─▶ the last step, when the others are done
 *
 * A step is one statement of a server, which is not stopped in the middle: after a failure or a request to end, steps
 * that wait are left out, and those that run are waited for.
 *
 * Threads: what is called is called by the rebuild's thread; `shared` is guarded by its lock.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "projection/rebuild_int.h"

enum {
    INDEX_WORKERS_MAX = 4, /* each has the server sort, which takes memory there */
};

/* The steps of a table. */
struct steps {
    unsigned count, taken, done;
    bool waiting; /* its loads are closed */
};

struct rebuild_indexing {
    struct rebuild *rebuild;
    struct os_thread threads[INDEX_WORKERS_MAX];
    unsigned thread_count;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t moved;
        struct steps tables[BANYAN_PROJECTION_TABLES_MAX];
        bool complete; /* no more tables come */
        enum banyan_status status;
        struct banyan_error err;
    } shared;
};

/* ---- workers ---- */

/* A step that can be taken now.  The lock is held. */
static bool take_step(struct rebuild_indexing *indexing, unsigned *ret_table, unsigned *ret_step)
{
    for (unsigned i = 0; i < indexing->rebuild->options.projection->table_count; i++) {
        struct steps *steps = &indexing->shared.tables[i];
        bool last = steps->taken + 1 == steps->count;
        if (!steps->waiting || steps->taken == steps->count || (last && steps->done < steps->taken))
            continue;
        *ret_table = i;
        *ret_step = steps->taken++;
        return true;
    }
    return false;
}

/* Will there be nothing more to take?  The lock is held. */
static bool nothing_left(const struct rebuild_indexing *indexing)
{
    bool left = !indexing->shared.complete;
    for (unsigned i = 0; i < indexing->rebuild->options.projection->table_count; i++)
        left |=
            indexing->shared.tables[i].waiting && indexing->shared.tables[i].taken < indexing->shared.tables[i].count;
    return !left || indexing->shared.status != BANYAN_OK;
}

/* Without the lock. */
static enum banyan_status make_step(struct rebuild *rebuild, unsigned table, unsigned step, struct banyan_error *err)
{
    if (rebuild_ends(rebuild))
        return BANYAN_STOPPED;
    enum banyan_status st = rebuild->sink->ops->index_step(rebuild->sink, table, step, err);
    if (st != BANYAN_OK)
        banyan_error_context(err, "index of table %s", rebuild->options.projection->tables[table].name);
    return st;
}

static void work(void *argument)
{
    struct rebuild_indexing *indexing = argument;
    unsigned table, step;
    pthread_mutex_lock(&indexing->shared.lock);
    while (!nothing_left(indexing)) {
        if (!take_step(indexing, &table, &step)) {
            pthread_cond_wait(&indexing->shared.moved, &indexing->shared.lock);
            continue;
        }
        pthread_mutex_unlock(&indexing->shared.lock);
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status st = make_step(indexing->rebuild, table, step, &err);
        pthread_mutex_lock(&indexing->shared.lock);
        indexing->shared.tables[table].done++;
        if (st != BANYAN_OK && indexing->shared.status == BANYAN_OK) {
            indexing->shared.status = st;
            indexing->shared.err = err;
        }
        pthread_cond_broadcast(&indexing->shared.moved);
    }
    pthread_mutex_unlock(&indexing->shared.lock);
}

/* ---- for the rebuild ---- */

struct rebuild_indexing *rebuild_index_begin(struct rebuild *rebuild)
{
    const struct sink_ops *ops = rebuild->sink->ops;
    if (ops->index_steps == NULL)
        return NULL;
    struct rebuild_indexing *indexing = alloc_zeroed(1, sizeof(*indexing));
    unsigned workers = rebuild->options.workers;
    indexing->rebuild = rebuild;
    indexing->thread_count = workers < INDEX_WORKERS_MAX ? workers : INDEX_WORKERS_MAX;
    pthread_mutex_init(&indexing->shared.lock, NULL);
    pthread_cond_init(&indexing->shared.moved, NULL);
    for (unsigned i = 0; i < rebuild->options.projection->table_count; i++)
        indexing->shared.tables[i].count = ops->index_steps(rebuild->sink, i);
    for (unsigned i = 0; i < indexing->thread_count; i++)
        os_thread_start(&indexing->threads[i], "rebuild-index", work, indexing);
    return indexing;
}

void rebuild_index_table(struct rebuild_indexing *indexing, unsigned table)
{
    if (indexing == NULL)
        return;
    pthread_mutex_lock(&indexing->shared.lock);
    indexing->shared.tables[table].waiting = true;
    pthread_cond_broadcast(&indexing->shared.moved);
    pthread_mutex_unlock(&indexing->shared.lock);
}

enum banyan_status rebuild_index_end(struct rebuild_indexing *indexing, enum banyan_status so_far,
                                     struct banyan_error *err)
{
    if (indexing == NULL)
        return so_far;
    pthread_mutex_lock(&indexing->shared.lock);
    indexing->shared.complete = true;
    if (so_far != BANYAN_OK)
        indexing->shared.status = so_far;
    pthread_cond_broadcast(&indexing->shared.moved);
    pthread_mutex_unlock(&indexing->shared.lock);
    for (unsigned i = 0; i < indexing->thread_count; i++)
        os_thread_join(&indexing->threads[i]);
    enum banyan_status st = indexing->shared.status;
    if (st != BANYAN_OK && st != BANYAN_STOPPED && so_far == BANYAN_OK)
        *err = indexing->shared.err;
    pthread_mutex_destroy(&indexing->shared.lock);
    pthread_cond_destroy(&indexing->shared.moved);
    free(indexing);
    return st;
}
