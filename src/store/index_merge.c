/* SPDX-License-Identifier: Apache-2.0 */
/* Writing runs: from a table, and from several runs into one.  In memory there are a few blocks of each run. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/index_int.h"

static struct index_writer_options writer_options(struct index *index, uint64_t first, uint64_t last, uint32_t level)
{
    struct index_writer_options options = {
        .files = index->options.files,
        .folder = index->options.folder,
        .first = first,
        .last = last,
        .seeds = {index->seeds[0], index->seeds[1]},
        .level = level,
    };

    (void)pthread_mutex_lock(&index->lock);
    options.sequence = index->shared.next_sequence++;
    (void)pthread_mutex_unlock(&index->lock);
    return options;
}

/* Ends *writer*; what the run says about the store comes from the newest part. */
static enum banyan_status finish(struct index_writer *writer, uint64_t stream_count, const struct cursors *cursors,
                                 struct index_run **ret, struct banyan_error *err)
{
    enum banyan_status status = index_writer_finish(writer, ret, err);

    if (status == BANYAN_OK) {
        (*ret)->stream_count = stream_count;
        cursors_copy(&(*ret)->cursors, cursors);
    }
    return status;
}

/* ---- from a table ---- */

static int compare_ids(const void *a, const void *b)
{
    const struct ids_slot *x = a, *y = b;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

static void write_ids(struct index_writer *writer, const struct ids *ids)
{
    struct ids_slot *sorted = NULL;
    uint64_t capacity = 0;

    for (int i = 0; i < IDS_TABLES; i++) { /* by the highest byte of the hash: in order */
        const struct ids_table *table = &ids->tables[i];
        size_t count = 0;

        if (table->count > capacity) {
            capacity = table->count * 2;
            sorted = alloc_resized(sorted, capacity, sizeof(*sorted));
        }
        for (uint64_t n = 0; n < table->slot_count; n++) {
            if (table->slots[n].position != 0)
                sorted[count++] = table->slots[n];
        }
        if (count > 0)
            qsort(sorted, count, sizeof(*sorted), compare_ids);
        for (size_t n = 0; n < count; n++)
            index_writer_id(writer, sorted[n].hash, sorted[n].position);
    }
    free(sorted);
}

static int compare_names(struct banyan_str a, struct banyan_str b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

    return order != 0 || a.size == b.size ? order : a.size < b.size ? -1 : 1;
}

static int compare_heads(const void *a, const void *b)
{
    const struct head *x = *(const struct head *const *)a, *y = *(const struct head *const *)b;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return compare_names(head_name(x), head_name(y));
}

static void write_streams(struct index_writer *writer, const struct index_table *table)
{
    const struct heads *heads = &table->heads;
    const struct head **sorted = alloc_resized(NULL, heads->count + 1, sizeof(*sorted));
    char entry[INDEX_ENTRY_BYTES_MAX];
    size_t count = 0;

    for (uint64_t i = 0; i < heads->count; i++) { /* without those that were only looked at, or taken back */
        if (heads_number(heads, i)->position >= table->first)
            sorted[count++] = heads_number(heads, i);
    }
    qsort(sorted, count, sizeof(struct head *), compare_heads);
    for (size_t i = 0; i < count; i++) {
        const struct head *head = sorted[i];
        const struct head_jumps *jumps = head->jumps;
        size_t size = index_entry_encode(entry, head->hash, head_name(head), head->version, head->position,
                                         jumps == NULL ? NULL : jumps->positions, jumps == NULL ? 0 : jumps->count);

        index_writer_stream(writer, head->hash, (struct banyan_str){entry, size});
    }
    free(sorted);
}

enum banyan_status index_write_table(struct index *index, const struct index_table *table, struct index_run **ret,
                                     struct banyan_error *err)
{
    struct index_writer_options options = writer_options(index, table->first, table->last, 0);
    struct index_writer *writer = NULL;
    enum banyan_status status = index_writer_new(&options, &writer, err);

    if (status != BANYAN_OK)
        return status;
    write_ids(writer, &table->ids);
    write_streams(writer, table);
    return finish(writer, table->streams, &table->cursors, ret, err);
}

/* ---- from runs ---- */

struct source {
    struct index_iterator iterator;
    bool found; /* iterator.at counts */
};

static enum banyan_status advance(struct source *source, struct banyan_error *err)
{
    return index_iterator_next(&source->iterator, &source->found, err);
}

static enum banyan_status open_sources(struct source *sources, struct index_run *const *runs, size_t count,
                                       enum index_section section, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    for (size_t i = 0; i < count; i++) {
        index_iterator_init(&sources[i].iterator, runs[i], section);
        sources[i].found = false;
        if (status == BANYAN_OK)
            status = advance(&sources[i], err);
    }
    return status;
}

static void close_sources(struct source *sources, size_t count)
{
    for (size_t i = 0; i < count; i++)
        index_iterator_release(&sources[i].iterator);
}

static enum banyan_status merge_ids(struct index_writer *writer, struct source *sources, size_t count,
                                    struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    while (status == BANYAN_OK) {
        struct source *least = NULL;

        for (size_t i = 0; i < count; i++) { /* among equal ones the oldest: its position is smaller */
            if (sources[i].found && (least == NULL || sources[i].iterator.at.id.hash <= least->iterator.at.id.hash))
                least = &sources[i];
        }
        if (least == NULL)
            break;
        index_writer_id(writer, least->iterator.at.id.hash, least->iterator.at.id.position);
        status = advance(least, err);
    }
    return status;
}

static int compare_entries(const struct index_stream_entry *a, const struct index_stream_entry *b)
{
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return compare_names(a->name, b->name);
}

static enum banyan_status merge_streams(struct index_writer *writer, struct source *sources, size_t count,
                                        struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    while (status == BANYAN_OK) {
        struct source *least = NULL;

        for (size_t i = 0; i < count; i++) { /* among equal ones the newest */
            if (sources[i].found &&
                (least == NULL || compare_entries(&sources[i].iterator.at.stream, &least->iterator.at.stream) < 0))
                least = &sources[i];
        }
        if (least == NULL)
            break;
        index_writer_stream(writer, least->iterator.at.stream.hash, least->iterator.at.stream.data);
        for (struct source *other = sources; other < sources + count && status == BANYAN_OK; other++) {
            if (other != least && other->found &&
                compare_entries(&other->iterator.at.stream, &least->iterator.at.stream) == 0)
                status = advance(other, err);
        }
        if (status == BANYAN_OK)
            status = advance(least, err);
    }
    return status;
}

/* The merger's pauses keep disk and processor free for appends; false when it has to stop. */
static bool pace(void *argument, size_t bytes)
{
    struct index *index = argument;
    bool stopping;

    (void)pthread_mutex_lock(&index->lock);
    if (!index->shared.stopping && index->shared.view->run_count < INDEX_RUNS_MAX / 2)
        (void)os_cond_wait(&index->mergers, &index->lock, (int64_t)(bytes * 1000000 / INDEX_PACE_BYTES));
    stopping = index->shared.stopping;
    (void)pthread_mutex_unlock(&index->lock);
    return !stopping;
}

enum banyan_status index_write_merged(struct index *index, const struct index_view *view, struct index_merge merge,
                                      struct index_run **ret, struct banyan_error *err)
{
    struct index_run *const *runs = view->runs + merge.first;
    size_t count = merge.count;
    struct index_writer_options options =
        writer_options(index, runs[count - 1]->header.first, runs[0]->header.last, merge.level);
    struct source sources[INDEX_MERGE_MAX];
    struct index_writer *writer = NULL;
    enum banyan_status status;

    options.pace = pace;
    options.argument = index;
    status = index_writer_new(&options, &writer, err);
    if (status != BANYAN_OK)
        return status;
    status = open_sources(sources, runs, count, INDEX_IDS, err);
    if (status == BANYAN_OK)
        status = merge_ids(writer, sources, count, err);
    close_sources(sources, count);
    if (status == BANYAN_OK) {
        status = open_sources(sources, runs, count, INDEX_STREAMS, err);
        if (status == BANYAN_OK)
            status = merge_streams(writer, sources, count, err);
        close_sources(sources, count);
    }
    if (status != BANYAN_OK) {
        index_writer_abort(writer);
        return status;
    }
    return finish(writer, runs[0]->stream_count, &runs[0]->cursors, ret, err);
}

/* Neighbours from view->runs[*i - 1] on towards the newest, of *level* and all durable or none. */
static size_t row(const struct index_view *view, size_t i, uint32_t level, uint64_t durable)
{
    bool is_durable = view->runs[i - 1]->header.last <= durable;
    size_t count = 0;

    while (count < i && count < INDEX_MERGE_MAX && view->runs[i - 1 - count]->header.level == level &&
           (view->runs[i - 1 - count]->header.last <= durable) == is_durable)
        count++;
    return count;
}

struct index_merge index_choose_merge(const struct index_view *view, uint64_t durable)
{
    for (size_t i = view->run_count; i > 0; i--) {
        uint32_t level = view->runs[i - 1]->header.level;
        size_t count = row(view, i, level, durable);

        if (count >= INDEX_MERGE_RATIO)
            return (struct index_merge){i - count, count, level + 1};
        /* A row that a larger run follows would never grow: it goes into that one. */
        if (count < i && count < INDEX_MERGE_MAX && view->runs[i - 1 - count]->header.level > level &&
            view->runs[i - 1 - count]->header.last <= durable)
            return (struct index_merge){i - 1 - count, count + 1, view->runs[i - 1 - count]->header.level};
    }
    return (struct index_merge){.count = 0};
}
