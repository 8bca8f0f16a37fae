/* SPDX-License-Identifier: Apache-2.0 */
/* The index as its store uses it: opening, lookups, entering, batches; see index.h. */
#include "store/index.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "os/random.h"
#include "store/index_int.h"

enum {
    FOUND_FIRST = 16,
    READ_ATTEMPTS = 5,
};

/* ---- life ---- */

static struct index *new_index(const struct index_options *options)
{
    struct index *index = alloc_zeroed(1, sizeof(*index));

    index->options = *options;
    index->options.folder = alloc_text(options->folder);
    if (index->options.table_events_max == 0)
        index->options.table_events_max = INDEX_TABLE_EVENTS;
    if (index->options.filter_bytes_max == 0)
        index->options.filter_bytes_max = INDEX_FILTER_BYTES;
    (void)pthread_mutex_init(&index->lock, NULL);
    os_cond_init(&index->work);
    os_cond_init(&index->mergers);
    os_cond_init(&index->changed);
    index->found_capacity = FOUND_FIRST;
    index->found = alloc_zeroed(FOUND_FIRST, sizeof(*index->found));
    return index;
}

/* Begin with nothing. */
static void start_anew(struct index *index)
{
    struct index_view *old = index->shared.view;

    os_random_bytes(index->seeds, sizeof(index->seeds));
    index->loaded = 0;
    index->stream_count = 0;
    cursors_release(&index->cursors);
    index_table_free(index->active);
    index->active = index_table_new(index, 1);
    index->shared.next_sequence = 1;
    index->shared.covered = 0;
    index->shared.filter_bytes = index->options.filter_bytes_max;
    index->shared.view = index_view_new(&(struct index_view){.refs = 0});
    index_view_put(index, old);
    if (!index->options.read_only)
        index_manifest_clean(index->options.files, index->options.folder, NULL);
}

/* Open the runs of *manifest*. */
static enum banyan_status open_runs(struct index *index, const struct index_manifest *manifest,
                                    struct banyan_error *err)
{
    struct index_run **runs = alloc_zeroed(manifest->run_count + 1, sizeof(*runs));
    uint64_t filter_bytes = index->options.filter_bytes_max;
    enum banyan_status status = BANYAN_OK;
    size_t count = manifest->run_count;

    for (size_t i = 0; i < count && status == BANYAN_OK; i++) {
        const struct index_manifest_run *item = &manifest->runs[i];
        struct index_run *run = NULL;

        status = index_run_open(index->options.files, index->options.folder, item->sequence, &filter_bytes, &run, err);
        if (status != BANYAN_OK)
            break;
        runs[count - 1 - i] = run; /* newest first */
        if (run->header.crc != item->header_crc || run->header.first != item->first || run->header.last != item->last ||
            memcmp(run->header.seeds, manifest->seeds, sizeof(manifest->seeds)) != 0)
            status = banyan_error_set(err, BANYAN_CORRUPT, "%s is not the run that the manifest names", run->path);
    }
    if (status == BANYAN_OK) {
        memcpy(index->seeds, manifest->seeds, sizeof(index->seeds));
        index->loaded = index->shared.covered = manifest->covered;
        index->check = manifest->check;
        index->stream_count = manifest->stream_count;
        cursors_copy(&index->cursors, &manifest->cursors);
        index->shared.next_sequence = manifest->next_sequence;
        index->shared.filter_bytes = filter_bytes;
        if (count > 0) {
            runs[0]->stream_count = manifest->stream_count;
            cursors_copy(&runs[0]->cursors, &manifest->cursors);
        }
        index->active = index_table_new(index, manifest->covered + 1);
        index->shared.view = index_view_new(&(struct index_view){.runs = runs, .run_count = count});
    }
    for (size_t i = 0; i < count && status != BANYAN_OK; i++)
        index_run_close(runs[i]);
    free(runs);
    return status;
}

static enum banyan_status load(struct index *index, struct banyan_error *err)
{
    struct index_manifest manifest = {.runs = NULL};
    enum banyan_status status;
    bool named;

    /* A writer beside a reader may replace the manifest and its runs between the two steps. */
    for (int attempt = 0;; attempt++) {
        status = index_manifest_load(index->options.files, index->options.folder, &manifest, err);
        named = status == BANYAN_OK;
        if (status == BANYAN_OK)
            status = open_runs(index, &manifest, err);
        if (status == BANYAN_OK && !index->options.read_only)
            index_manifest_clean(index->options.files, index->options.folder, &manifest);
        index_manifest_release(&manifest);
        manifest = (struct index_manifest){.runs = NULL};
        if (status != BANYAN_NOT_FOUND || !named || !index->options.read_only || attempt == READ_ATTEMPTS)
            return status == BANYAN_NOT_FOUND && named ? BANYAN_CORRUPT : status;
        banyan_error_clear(err);
    }
}

enum banyan_status index_open(const struct index_options *options, struct index **ret, struct banyan_error *err)
{
    struct index *index = new_index(options);
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status status = options->discard ? BANYAN_CORRUPT : load(index, &why);

    if (status != BANYAN_OK && status != BANYAN_NOT_FOUND && status != BANYAN_CORRUPT) {
        *err = why;
        index_close(index);
        return status;
    }
    if (status != BANYAN_OK)
        start_anew(index);
    index->rebuilt = status == BANYAN_CORRUPT;
    *ret = index;
    return BANYAN_OK;
}

enum banyan_status index_read_check(const struct index *index, uint64_t position, uint64_t *ret,
                                    struct banyan_error *err)
{
    struct log_reader *reader = log_reader_open(index->log);
    struct log_record record;
    enum banyan_status status = log_reader_seek(reader, (struct banyan_position){position}, err);

    if (status == BANYAN_OK)
        status = log_reader_next(reader, &record, err);
    if (status == BANYAN_OK)
        *ret = XXH3_64bits_withSeed(record.data.data, record.data.size, index->seeds[1]);
    log_reader_close(reader);
    return status;
}

/* Does the log go on from where the index ends? */
static bool belongs(struct index *index)
{
    uint64_t check = 0;

    return index->loaded == 0 ||
           (index_read_check(index, index->loaded, &check, NULL) == BANYAN_OK && check == index->check);
}

/* Only what was durable ever came into the index, so a log that ends before it has lost events that were acknowledged,
 * or is another one. */
static enum banyan_status missing(const struct index *index, uint64_t durable, struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_CORRUPT,
                           "the log ends at position %" PRIu64 ", but position %" PRIu64 " was durable", durable,
                           index->loaded);
    banyan_error_hint(err,
                      "nothing was changed; restore the log from a copy, or, if it was replaced on purpose, remove "
                      "the folder index beside it");
    return BANYAN_CORRUPT;
}

enum banyan_status index_attach(struct index *index, struct log *log, struct banyan_error *err)
{
    uint64_t durable = log_durable(log).value;

    index->log = log;
    if (index->loaded > durable)
        return missing(index, durable, err);
    if (!belongs(index)) {
        start_anew(index);
        index->rebuilt = true;
    }
    if (index->options.read_only)
        return BANYAN_OK;
    os_thread_start(&index->flusher, "index-flush", index_flusher_main, index);
    os_thread_start(&index->merger, "index-merge", index_merger_main, index);
    return BANYAN_OK;
}

void index_close(struct index *index)
{
    if (index == NULL)
        return;
    (void)pthread_mutex_lock(&index->lock);
    index->shared.stopping = true;
    (void)pthread_cond_broadcast(&index->work);
    (void)pthread_cond_broadcast(&index->mergers);
    (void)pthread_mutex_unlock(&index->lock);
    os_thread_join(&index->merger);
    os_thread_join(&index->flusher);
    if (index->shared.damaged && !index->options.read_only)
        index_manifest_remove(index->options.files, index->options.folder);
    index_view_put(index, index->shared.view);
    index_table_free(index->active);
    cursors_release(&index->cursors);
    for (size_t i = 0; i < index->shared.garbage_count; i++)
        free(index->shared.garbage[i]);
    free(index->shared.garbage);
    free(index->found);
    (void)pthread_mutex_destroy(&index->lock);
    (void)pthread_cond_destroy(&index->work);
    (void)pthread_cond_destroy(&index->mergers);
    (void)pthread_cond_destroy(&index->changed);
    free((char *)index->options.folder);
    free(index);
}

uint64_t index_covered(const struct index *index)
{
    return index->loaded;
}

const struct cursors *index_cursors(const struct index *index)
{
    return &index->cursors;
}

bool index_is_damaged(struct index *index)
{
    bool damaged;

    (void)pthread_mutex_lock(&index->lock);
    damaged = index->shared.damaged;
    (void)pthread_mutex_unlock(&index->lock);
    return damaged;
}

/* ---- lookups ---- */

uint64_t index_stream_hash(const struct index *index, struct banyan_str name)
{
    return heads_hash(&index->active->heads, name);
}

uint64_t index_id_hash(const struct index *index, struct banyan_uuid id)
{
    return ids_hash(&index->active->ids, id);
}

void index_begin(struct index *index)
{
    assert(index->pinned == NULL);
    index->pinned = index_view_get(index);
}

void index_end(struct index *index)
{
    index_view_put(index, index->pinned);
    index->pinned = NULL;
}

void index_prefetch_stream(const struct index *index, uint64_t hash)
{
    const struct index_view *view = index->pinned;

    heads_prefetch(&index->active->heads, hash);
    for (size_t i = 0; i < view->table_count; i++)
        heads_prefetch(&view->tables[i]->heads, hash);
    for (size_t i = 0; i < view->run_count; i++)
        index_run_prefetch(view->runs[i], INDEX_STREAMS, hash);
}

void index_prefetch_head(const struct index *index, uint64_t hash)
{
    heads_prefetch_head(&index->active->heads, hash);
}

void index_prefetch_enter(const struct index *index, uint64_t id_hash)
{
    ids_prefetch(&index->active->ids, id_hash);
}

void index_prefetch_id(const struct index *index, uint64_t hash)
{
    const struct index_view *view = index->pinned;

    ids_prefetch(&index->active->ids, hash);
    for (size_t i = 0; i < view->waiting; i++)
        ids_prefetch(&view->tables[i]->ids, hash);
    for (size_t i = 0; i < view->run_count; i++)
        index_run_prefetch(view->runs[i], INDEX_IDS, hash);
}

/* A stream that is not in the active table: bring it there, if it is anywhere. */
static enum banyan_status load_head(struct index *index, struct banyan_str name, uint64_t hash, struct head **ret,
                                    struct banyan_error *err)
{
    const struct index_view *view = index->pinned;
    enum banyan_status status = BANYAN_OK;
    struct index_head found = {.version = 0};

    *ret = NULL;
    for (size_t i = 0; i < view->table_count; i++) {
        const struct head *head = heads_find(&view->tables[i]->heads, name, hash);

        if (head == NULL)
            continue;
        if (head->version > 0) /* else it was taken back, and no older one has it */
            *ret = heads_load(&index->active->heads, name, hash, head->version, head->position,
                              head->jumps == NULL ? NULL : head->jumps->positions,
                              head->jumps == NULL ? 0 : head->jumps->count);
        return BANYAN_OK;
    }
    for (size_t i = 0; i < view->run_count && status == BANYAN_OK && found.version == 0; i++)
        status = index_run_find_head(view->runs[i], hash, name, &found, err);
    index_note(index, status);
    if (status == BANYAN_OK && found.version > 0)
        *ret =
            heads_load(&index->active->heads, name, hash, found.version, found.position, found.jumps, found.jump_count);
    return status;
}

enum banyan_status index_find_head(struct index *index, struct banyan_str name, uint64_t hash, struct head **ret,
                                   struct banyan_error *err)
{
    *ret = heads_find(&index->active->heads, name, hash);
    return *ret != NULL ? BANYAN_OK : load_head(index, name, hash, ret, err);
}

enum banyan_status index_make_head(struct index *index, struct banyan_str name, uint64_t hash, struct head **ret,
                                   struct banyan_error *err)
{
    enum banyan_status status = index_find_head(index, name, hash, ret, err);

    if (status == BANYAN_OK && *ret == NULL)
        *ret = heads_make(&index->active->heads, name, hash);
    return status;
}

static void found_id(struct index *index, size_t count, uint64_t position)
{
    if (count == index->found_capacity) {
        index->found_capacity *= 2;
        index->found = alloc_resized(index->found, index->found_capacity, sizeof(*index->found));
    }
    index->found[count] = position;
}

static size_t find_in_table(struct index *index, const struct index_table *table, uint64_t hash, size_t count)
{
    uint64_t cursor = 0, position;

    while ((position = ids_next(&table->ids, hash, &cursor)) != 0)
        found_id(index, count++, position);
    return count;
}

enum banyan_status index_find_id(struct index *index, uint64_t hash, const uint64_t **ret, size_t *ret_count,
                                 struct banyan_error *err)
{
    const struct index_view *view = index->pinned;
    size_t count = find_in_table(index, index->active, hash, 0), part;
    enum banyan_status status = BANYAN_OK;

    for (size_t i = 0; i < view->waiting; i++) /* of others the runs have the ids */
        count = find_in_table(index, view->tables[i], hash, count);
    for (size_t i = 0; i < view->run_count && status == BANYAN_OK; i++) {
        status =
            index_run_find_id(view->runs[i], hash, index->found + count, index->found_capacity - count, &part, err);
        if (status == BANYAN_OK && part > index->found_capacity - count) { /* so many never are; make room, again */
            index->found_capacity = (count + part) * 2;
            index->found = alloc_resized(index->found, index->found_capacity, sizeof(*index->found));
            i--;
            continue;
        }
        count += part;
    }
    index_note(index, status);
    *ret = index->found;
    *ret_count = count;
    return status;
}

/* ---- entering ---- */

void index_enter(struct index *index, struct head *head, uint64_t position, uint64_t id_hash,
                 struct head_jumps **ret_old_jumps)
{
    head_advance(&index->active->heads, head, position, ret_old_jumps);
    ids_add(&index->active->ids, id_hash, position);
    index->stream_count += head->version == 1;
    index->active->last = position;
    index->active->count++;
}

void index_take_back(struct index *index, struct head *head, uint64_t position, uint64_t id_hash, uint64_t old_position,
                     struct head_jumps *old_jumps)
{
    assert(head->position == position && index->active->last == position);
    if (head->version % STORE_JUMP_STEP == 0) {
        free(head->jumps);
        head->jumps = old_jumps;
    }
    index->stream_count -= head->version == 1;
    head->version--;
    head->position = old_position;
    ids_remove(&index->active->ids, id_hash, position);
    index->active->last--;
    index->active->count--;
}

bool index_is_full(const struct index *index)
{
    const struct index_table *table = index->active;

    return !index->options.read_only &&
           (table->count >= index->options.table_events_max || table->heads.count >= index->options.table_events_max ||
            table->heads.names.bytes + table->heads.jump_bytes > INDEX_NAME_BYTES_MAX);
}

static enum banyan_status cannot_write(const struct index *index, struct banyan_error *err)
{
    (void)banyan_error_set(err, index->shared.failed, "%s", index->shared.why.message);
    banyan_error_context(err, "the index cannot be written");
    if (index->shared.why.hint[0] != '\0')
        banyan_error_hint(err, "%s", index->shared.why.hint);
    return index->shared.failed;
}

/* With index.lock: wait until the flusher takes another table; what failed, if it cannot.  A failure counts only when
 * the flusher tried again for us: what was wrong may be over. */
static enum banyan_status wait_for_flusher(struct index *index, struct banyan_error *err)
{
    uint64_t tried = 0;

    for (;;) {
        const struct index_view *view = index->shared.view;
        bool merging = index->shared.merge_failed == BANYAN_OK && !index->shared.damaged;

        if (view->waiting < INDEX_FROZEN_MAX && (view->run_count < INDEX_RUNS_MAX || !merging))
            return BANYAN_OK;
        if (index->shared.failed != BANYAN_OK) {
            if (tried == 0) /* the one that may be going on began before */
                tried = index->shared.attempts + 2;
            if (index->shared.attempts >= tried)
                return cannot_write(index, err);
            (void)pthread_cond_signal(&index->work);
        }
        (void)pthread_cond_wait(&index->changed, &index->lock);
    }
}

/* The active table goes to the flusher. */
static enum banyan_status freeze(struct index *index, const struct cursors *cursors, bool provisional,
                                 struct banyan_error *err)
{
    struct index_table *table = index->active, *tables[INDEX_FROZEN_MAX + 2];
    struct index_view *old = NULL;
    enum banyan_status status;

    assert(index->pinned == NULL);
    (void)pthread_mutex_lock(&index->lock);
    status = wait_for_flusher(index, err);
    if (status == BANYAN_OK) {
        struct index_view view = *index->shared.view;

        cursors_copy(&table->cursors, cursors);
        table->streams = index->stream_count;
        table->provisional = provisional;
        tables[0] = table;
        memcpy(tables + 1, view.tables, view.table_count * sizeof(struct index_table *));
        view.tables = tables;
        view.table_count++;
        view.waiting++;
        old = index_view_swap(index, index_view_new(&view));
        (void)pthread_cond_signal(&index->work);
        index->active = index_table_new(index, table->last + 1);
    }
    (void)pthread_mutex_unlock(&index->lock);
    index_view_put(index, old);
    return status;
}

enum banyan_status index_make_room(struct index *index, const struct cursors *cursors, struct banyan_error *err)
{
    struct index_table *table = index->active;
    struct banyan_error why;
    enum banyan_status status;

    if (!index_is_full(index))
        return BANYAN_OK;
    banyan_error_clear(&why);
    if (table->count == 0) { /* only looked at */
        index->active = index_table_new(index, table->first);
        index_table_free(table);
        return BANYAN_OK;
    }
    status = freeze(index, cursors, index->batch_first != 0, &why);
    /* An append is not refused for what may be over soon. */
    if (status != BANYAN_OK && table->count < INDEX_TABLE_SLACK * index->options.table_events_max)
        return BANYAN_OK;
    if (status != BANYAN_OK && err != NULL)
        *err = why;
    return status;
}

/* ---- batches that spill ---- */

enum banyan_status index_begin_batch(struct index *index, uint64_t first, const struct cursors *cursors,
                                     struct index_view **ret_kept, struct banyan_error *err)
{
    *ret_kept = NULL;
    if (index->active->count > 0) {
        enum banyan_status status = freeze(index, cursors, false, err);

        if (status != BANYAN_OK)
            return status;
        *ret_kept = index_view_get(index); /* the table stays in it: no other was frozen since */
    }
    assert(index->active->first == first);
    index->batch_first = first;
    index->batch_streams = index->stream_count;
    return BANYAN_OK;
}

void index_drop_batch(struct index *index)
{
    struct index_view *old, view;

    if (index->batch_first == 0)
        return;
    (void)pthread_mutex_lock(&index->lock);
    view = *index->shared.view;
    for (; view.table_count > 0 && view.tables[0]->first >= index->batch_first; view.tables++, view.table_count--)
        view.waiting -= view.waiting > 0;
    for (; view.run_count > 0 && view.runs[0]->header.first >= index->batch_first; view.runs++, view.run_count--)
        index_add_garbage(index, view.runs[0]->path);
    old = index_view_swap(index, index_view_new(&view));
    (void)pthread_mutex_unlock(&index->lock);
    index_view_put(index, old);
    index_table_free(index->active);
    index->active = index_table_new(index, index->batch_first);
    index->stream_count = index->batch_streams;
    index->batch_first = 0;
}

void index_end_batch(struct index *index)
{
    index->batch_first = 0;
}

void index_publish(struct index *index)
{
    (void)pthread_mutex_lock(&index->lock);
    index->shared.publish = true;
    (void)pthread_cond_signal(&index->work);
    (void)pthread_cond_signal(&index->mergers);
    (void)pthread_mutex_unlock(&index->lock);
}

bool index_in_batch(const struct index *index)
{
    return index->batch_first != 0;
}

/* ---- facts ---- */

static uint64_t table_bytes(const struct index_table *table)
{
    return sizeof(*table) - sizeof(table->ids) + heads_bytes(&table->heads) + ids_bytes(&table->ids);
}

void index_stats(struct index *index, struct index_stats *ret)
{
    const struct index_view *view;

    *ret = (struct index_stats){
        .memory_bytes = table_bytes(index->active),
        .streams = index->stream_count,
        .rebuilt = index->rebuilt,
    };
    (void)pthread_mutex_lock(&index->lock);
    view = index->shared.view;
    ret->covered = index->shared.covered;
    ret->runs = view->run_count;
    for (size_t i = 0; i < view->table_count; i++)
        ret->memory_bytes += table_bytes(view->tables[i]);
    for (size_t i = 0; i < view->run_count; i++) {
        ret->memory_bytes += index_run_bytes(view->runs[i]);
        ret->disk_bytes += view->runs[i]->bytes;
    }
    (void)pthread_mutex_unlock(&index->lock);
}
