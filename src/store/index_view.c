/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and views; see index_int.h. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/index_int.h"

struct index_table *index_table_new(const struct index *index, uint64_t first)
{
    struct index_table *table = alloc_zeroed(1, sizeof(*table));

    heads_init(&table->heads, index->seeds[0]);
    ids_init(&table->ids, index->seeds[1]);
    table->first = first;
    return table;
}

void index_table_free(struct index_table *table)
{
    if (table == NULL)
        return;
    heads_release(&table->heads);
    ids_release(&table->ids);
    cursors_release(&table->cursors);
    free(table);
}

struct index_view *index_view_new(const struct index_view *parts)
{
    struct index_view *view = alloc_zeroed(1, sizeof(*view));

    *view = *parts;
    view->refs = 1;
    view->tables = alloc_zeroed(parts->table_count + 1, sizeof(struct index_table *));
    view->runs = alloc_zeroed(parts->run_count + 1, sizeof(struct index_run *));
    for (size_t i = 0; i < parts->table_count; i++)
        (view->tables[i] = parts->tables[i])->refs++;
    for (size_t i = 0; i < parts->run_count; i++)
        (view->runs[i] = parts->runs[i])->refs++;
    return view;
}

struct index_view *index_view_swap(struct index *index, struct index_view *view)
{
    struct index_view *old = index->shared.view;

    index->shared.view = view;
    (void)pthread_cond_broadcast(&index->changed);
    (void)pthread_cond_signal(&index->mergers);
    return old;
}

struct index_view *index_view_get(struct index *index)
{
    struct index_view *view;

    (void)pthread_mutex_lock(&index->lock);
    view = index->shared.view;
    view->refs++;
    (void)pthread_mutex_unlock(&index->lock);
    return view;
}

void index_view_put(struct index *index, struct index_view *view)
{
    bool last;

    if (view == NULL)
        return;
    (void)pthread_mutex_lock(&index->lock);
    last = --view->refs == 0;
    for (size_t i = 0; i < view->table_count && last; i++) {
        if (--view->tables[i]->refs > 0)
            view->tables[i] = NULL;
    }
    for (size_t i = 0; i < view->run_count && last; i++) {
        if (--view->runs[i]->refs > 0)
            view->runs[i] = NULL;
        else if (view->runs[i]->lines[0] != NULL)
            index->shared.filter_bytes += index_run_filter_bytes(view->runs[i]);
    }
    (void)pthread_mutex_unlock(&index->lock);
    if (!last)
        return;
    for (size_t i = 0; i < view->table_count; i++)
        index_table_free(view->tables[i]);
    for (size_t i = 0; i < view->run_count; i++)
        index_run_close(view->runs[i]);
    free(view->tables);
    free(view->runs);
    free(view);
}

void index_add_garbage(struct index *index, const char *path)
{
    if (index->shared.garbage_count == index->shared.garbage_capacity) {
        index->shared.garbage_capacity = index->shared.garbage_capacity * 2 + 16;
        index->shared.garbage =
            alloc_resized(index->shared.garbage, index->shared.garbage_capacity, sizeof(*index->shared.garbage));
    }
    index->shared.garbage[index->shared.garbage_count++] = alloc_text(path);
    index->shared.publish = true;
    (void)pthread_cond_signal(&index->work);
}

void index_note(struct index *index, enum banyan_status status)
{
    if (status != BANYAN_CORRUPT)
        return;
    (void)pthread_mutex_lock(&index->lock);
    index->shared.damaged = true;
    index->shared.publish = true;
    (void)pthread_cond_signal(&index->work);
    (void)pthread_mutex_unlock(&index->lock);
}

/* ---- readers ---- */

const struct head *index_view_table_head(const struct index *index, const struct index_view *view,
                                         struct banyan_str name, uint64_t hash, uint64_t limit)
{
    const struct head *head = NULL;

    if (index->active->first <= limit)
        head = heads_find(&index->active->heads, name, hash);
    for (size_t i = 0; i < view->table_count && head == NULL; i++) {
        if (view->tables[i]->first <= limit)
            head = heads_find(&view->tables[i]->heads, name, hash);
    }
    return head;
}

enum banyan_status index_view_run_head(struct index *index, const struct index_view *view, struct banyan_str name,
                                       uint64_t hash, uint64_t limit, struct index_head *ret, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    ret->version = 0;
    for (size_t i = 0; i < view->run_count && status == BANYAN_OK && ret->version == 0; i++) {
        if (view->runs[i]->header.first <= limit)
            status = index_run_find_head(view->runs[i], hash, name, ret, err);
    }
    index_note(index, status);
    return status;
}
