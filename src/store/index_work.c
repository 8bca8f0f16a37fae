/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two threads of the index.
 *
 * The flusher writes frozen tables as runs, writes the manifest, and removes files that no manifest names.  The merger
 * merges runs.  Both put a new view in the place of the old one.
 *
 * Aborts: a table or a run that is being written or merged may be dropped meanwhile; then what was made of it is thrown
 * away.  What is durable is asked before the view is taken: an aborted batch, whose positions others may get, is either
 * not durable then or not in the view any more.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/index_int.h"

/* A run that nobody has seen. */
static void discard(struct index_run *run)
{
    (void)run->files->remove(run->files, run->path, NULL); /* else the next open removes it */
    index_run_close(run);
}

/* Take the filters into memory if the budget allows it; without them a lookup reads a block. */
static enum banyan_status load_filters(struct index *index, struct index_run *run, struct banyan_error *err)
{
    uint64_t bytes = index_run_filter_bytes(run), budget = 0;
    enum banyan_status status;

    (void)pthread_mutex_lock(&index->lock);
    if (bytes <= index->shared.filter_bytes)
        index->shared.filter_bytes -= budget = bytes;
    (void)pthread_mutex_unlock(&index->lock);
    status = index_run_load_filters(run, &budget, err);
    (void)pthread_mutex_lock(&index->lock);
    index->shared.filter_bytes += budget; /* what was not needed */
    (void)pthread_mutex_unlock(&index->lock);
    return status;
}

/* ---- the flusher ---- */

/* With the lock: the oldest table that waits; NULL: none. */
static struct index_table *next_table(const struct index *index)
{
    const struct index_view *view = index->shared.view;

    return view->waiting == 0 ? NULL : view->tables[view->waiting - 1];
}

/* The new run stands for *table*, unless that was dropped. */
static void install_table(struct index *index, struct index_table *table, struct index_run *run)
{
    struct index_view *old, view;

    (void)pthread_mutex_lock(&index->lock);
    if (next_table(index) != table) {
        (void)pthread_mutex_unlock(&index->lock);
        discard(run);
        return;
    }
    view = *index->shared.view;
    view.table_count = view.waiting--; /* *table* takes the place of the one that was flushed before */
    view.runs = alloc_zeroed(view.run_count + 1, sizeof(struct index_run *));
    view.runs[0] = run;
    memcpy(view.runs + 1, index->shared.view->runs, view.run_count++ * sizeof(struct index_run *));
    old = index_view_swap(index, index_view_new(&view));
    index->shared.publish = true;
    (void)pthread_mutex_unlock(&index->lock);
    free(view.runs);
    index_view_put(index, old);
}

static enum banyan_status flush_table(struct index *index, struct index_table *table, struct banyan_error *err)
{
    struct os_files *files = index->options.files;
    enum banyan_status status = BANYAN_OK;
    struct index_run *run = NULL;

    if (!table->provisional)
        status = log_wait_durable(index->log, (struct banyan_position){table->last}, INT64_MAX, err);
    if (status == BANYAN_OK)
        status = files->make_folder(files, index->options.folder, err);
    if (status == BANYAN_OK)
        status = index_write_table(index, table, &run, err);
    if (status != BANYAN_OK)
        return status;
    status = load_filters(index, run, err);
    if (status == BANYAN_OK)
        install_table(index, table, run);
    else
        discard(run);
    return status;
}

/* The durable runs of *view*, oldest first. */
static void name_runs(const struct index_view *view, uint64_t durable, struct index_manifest *manifest)
{
    manifest->runs = alloc_zeroed(view->run_count + 1, sizeof(*manifest->runs));
    for (size_t i = view->run_count; i > 0 && view->runs[i - 1]->header.last <= durable; i--) {
        const struct index_run *run = view->runs[i - 1];

        manifest->runs[manifest->run_count++] = (struct index_manifest_run){
            .sequence = run->header.sequence,
            .first = run->header.first,
            .last = run->header.last,
            .header_crc = run->header.crc,
            .level = run->header.level,
        };
        manifest->covered = run->header.last;
        manifest->stream_count = run->stream_count;
    }
    if (manifest->run_count > 0)
        cursors_copy(&manifest->cursors, &view->runs[view->run_count - manifest->run_count]->cursors);
}

static void remove_garbage(struct index *index, char **garbage, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)index->options.files->remove(index->options.files, garbage[i], NULL); /* else the next open does */
        free(garbage[i]);
    }
    free(garbage);
}

static enum banyan_status write_manifest(struct index *index, const struct index_view *view, uint64_t durable,
                                         struct banyan_error *err)
{
    struct index_manifest manifest = {.seeds = {index->seeds[0], index->seeds[1]}};
    enum banyan_status status = BANYAN_OK;

    name_runs(view, durable, &manifest);
    if (manifest.run_count > 0) {
        (void)pthread_mutex_lock(&index->lock);
        manifest.next_sequence = index->shared.next_sequence;
        (void)pthread_mutex_unlock(&index->lock);
        status = index_read_check(index, manifest.covered, &manifest.check, err);
        if (status == BANYAN_OK)
            status = index_manifest_save(index->options.files, index->options.folder, &manifest, err);
    }
    if (status == BANYAN_OK) {
        (void)pthread_mutex_lock(&index->lock);
        index->shared.covered = manifest.covered;
        (void)pthread_mutex_unlock(&index->lock);
    }
    index_manifest_release(&manifest);
    return status;
}

/* Name the durable runs; then what nobody names any more can go. */
static enum banyan_status publish(struct index *index, struct banyan_error *err)
{
    uint64_t durable = log_durable(index->log).value;
    struct index_view *view = index_view_get(index);
    enum banyan_status status;
    bool damaged;
    char **garbage;
    size_t count;

    (void)pthread_mutex_lock(&index->lock);
    damaged = index->shared.damaged;
    index->shared.publish = false;
    garbage = index->shared.garbage;
    count = index->shared.garbage_count;
    index->shared.garbage = NULL;
    index->shared.garbage_count = index->shared.garbage_capacity = 0;
    (void)pthread_mutex_unlock(&index->lock);
    if (damaged) {
        index_manifest_remove(index->options.files, index->options.folder);
        status = BANYAN_OK;
    } else {
        status = write_manifest(index, view, durable, err);
    }
    if (status == BANYAN_OK) {
        remove_garbage(index, garbage, count);
    } else {
        (void)pthread_mutex_lock(&index->lock);
        for (size_t i = 0; i < count; i++) {
            index_add_garbage(index, garbage[i]);
            free(garbage[i]);
        }
        index->shared.publish = true;
        (void)pthread_mutex_unlock(&index->lock);
        free(garbage);
    }
    index_view_put(index, view);
    return status;
}

/* With the lock, which is released meanwhile. */
static void work_once(struct index *index)
{
    struct index_table *table = next_table(index);
    struct index_view *view = index->shared.view;
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_OK;

    view->refs++;
    (void)pthread_mutex_unlock(&index->lock);
    if (table != NULL)
        status = flush_table(index, table, &err);
    index_view_put(index, view);
    if (status == BANYAN_OK)
        status = publish(index, &err);
    (void)pthread_mutex_lock(&index->lock);
    index->shared.failed = status;
    index->shared.attempts++;
    if (status == BANYAN_OK)
        return;
    index->shared.why = err;
    (void)pthread_cond_broadcast(&index->changed);
    if (!index->shared.stopping)
        (void)os_cond_wait(&index->work, &index->lock, INDEX_RETRY_US);
}

void index_flusher_main(void *argument)
{
    struct index *index = argument;

    (void)pthread_mutex_lock(&index->lock);
    while (!index->shared.stopping) {
        if (next_table(index) != NULL || index->shared.publish)
            work_once(index);
        else
            (void)pthread_cond_wait(&index->work, &index->lock);
    }
    (void)pthread_mutex_unlock(&index->lock);
}

/* ---- the merger ---- */

static size_t find_run(const struct index_view *view, const struct index_run *run)
{
    size_t i = 0;

    while (i < view->run_count && view->runs[i] != run)
        i++;
    return i;
}

/* The new run stands for those that it was made of, unless they were dropped. */
static void install_merged(struct index *index, const struct index_view *view, struct index_merge merge,
                           struct index_run *run)
{
    struct index_view *old, merged;
    size_t at;

    (void)pthread_mutex_lock(&index->lock);
    old = index->shared.view;
    at = find_run(old, view->runs[merge.first]);
    if (at == old->run_count) {
        (void)pthread_mutex_unlock(&index->lock);
        discard(run);
        return;
    }
    merged = *old;
    merged.runs = alloc_zeroed(old->run_count, sizeof(struct index_run *));
    merged.run_count = 0;
    for (size_t i = 0; i < old->run_count; i++) {
        if (i == at)
            merged.runs[merged.run_count++] = run;
        if (i >= at && i < at + merge.count)
            index_add_garbage(index, old->runs[i]->path);
        else
            merged.runs[merged.run_count++] = old->runs[i];
    }
    old = index_view_swap(index, index_view_new(&merged));
    (void)pthread_mutex_unlock(&index->lock);
    free(merged.runs);
    index_view_put(index, old);
}

/* With the lock, which is released meanwhile; false: there is nothing to merge. */
static bool merge_once(struct index *index)
{
    uint64_t durable = log_durable(index->log).value;
    struct index_view *view = index->shared.view;
    struct index_merge merge = index_choose_merge(view, durable);
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status;
    struct index_run *run;

    if (merge.count == 0 || index->shared.damaged)
        return false;
    view->refs++;
    (void)pthread_mutex_unlock(&index->lock);
    status = index_write_merged(index, view, merge, &run, &err);
    if (status == BANYAN_OK)
        install_merged(index, view, merge, run);
    index_view_put(index, view); /* the old runs' filters leave the memory before the new ones come */
    index_note(index, status);
    if (status == BANYAN_OK) {
        view = index_view_get(index);
        if (find_run(view, run) < view->run_count)
            status = load_filters(index, run, &err);
        index_view_put(index, view);
        index_note(index, status);
    }
    (void)pthread_mutex_lock(&index->lock);
    index->shared.merge_failed = status;
    if (status != BANYAN_OK && !index->shared.stopping) {
        (void)pthread_cond_broadcast(&index->changed);
        (void)os_cond_wait(&index->mergers, &index->lock, INDEX_RETRY_US);
    }
    return true;
}

void index_merger_main(void *argument)
{
    struct index *index = argument;

    (void)pthread_mutex_lock(&index->lock);
    while (!index->shared.stopping) {
        if (!merge_once(index))
            (void)pthread_cond_wait(&index->mergers, &index->lock);
    }
    (void)pthread_mutex_unlock(&index->lock);
}
