/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing a store, the replay of the log into its index, and plain questions.
 *
 * The folder holds `lock` (one writer), `log/` and `index/`.  What the index does not cover is replayed at open; every
 * event is checked against it then: a version that does not follow the one before is damage.  Where the index is
 * missing or was found damaged, that is the whole log.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/store_int.h"

/* An event on its way into the index.  The index is larger than the processor's caches: what an event touches is asked
 * for some events ahead. */
struct waiting {
    uint64_t position, version, prev, jump;
    uint64_t id_hash, stream_hash;
    size_t name_size;
    char name[STORE_STREAM_NAME_BYTES_MAX];
};

enum {
    WAITING_MAX = 16, /* a power of two */
};

static enum banyan_status take_in(struct store *store, const struct log_record *record, struct waiting *ret,
                                  struct banyan_error *err)
{
    uint64_t position = record->position.value;
    struct envelope envelope;

    if (!envelope_decode(record->data, position, &envelope) || envelope.event.stream.size == 0 ||
        envelope.event.stream.size > STORE_STREAM_NAME_BYTES_MAX) {
        (void)banyan_error_set(err, BANYAN_CORRUPT, "position %" PRIu64 " holds no event", position);
        banyan_error_hint(err, "the folder's log was written by another program, or by a newer one");
        return BANYAN_CORRUPT;
    }
    ret->position = position;
    ret->version = envelope.version;
    ret->prev = envelope.prev;
    ret->jump = envelope.jump;
    ret->id_hash = index_id_hash(store->index, envelope.event.id);
    ret->stream_hash = index_stream_hash(store->index, envelope.event.stream);
    ret->name_size = envelope.event.stream.size;
    memcpy(ret->name, envelope.event.stream.data, ret->name_size);
    index_prefetch_stream(store->index, ret->stream_hash);
    index_prefetch_enter(store->index, ret->id_hash);
    if (envelope.cursor.name.size > 0)
        cursors_put(&store->cursors, &envelope.cursor);
    return BANYAN_OK;
}

static enum banyan_status index_event(struct store *store, const struct waiting *event, struct banyan_error *err)
{
    struct banyan_str name = {event->name, event->name_size};
    struct head *head;
    enum banyan_status status = index_make_head(store->index, name, event->stream_hash, &head, err);

    if (status != BANYAN_OK)
        return status;
    if (event->version != head->version + 1 || event->prev != head->position ||
        event->jump != head_jump(head, event->version)) {
        (void)banyan_error_set(err, BANYAN_CORRUPT,
                               "position %" PRIu64 " is version %" PRIu64 " of its stream; %" PRIu64 " was expected",
                               event->position, event->version, head->version + 1);
        banyan_error_hint(err, "nothing was changed; restore the log from a copy");
        return BANYAN_CORRUPT;
    }
    index_enter(store->index, head, event->position, event->id_hash, NULL);
    return BANYAN_OK;
}

/* Enter events until *left* of them wait. */
static enum banyan_status index_waiting(struct store *store, struct waiting *waiting, uint64_t taken, uint64_t *done,
                                        uint64_t left, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    for (; status == BANYAN_OK && taken - *done > left; ++*done)
        status = index_event(store, &waiting[*done % WAITING_MAX], err);
    return status;
}

/* The table is full: all that was taken in is entered, so that the cursors are those at its last position. */
static enum banyan_status make_room(struct store *store, struct waiting *waiting, uint64_t taken, uint64_t *done,
                                    struct banyan_error *err)
{
    enum banyan_status status = index_waiting(store, waiting, taken, done, 0, err);

    index_end(store->index);
    if (status == BANYAN_OK)
        status = index_make_room(store->index, &store->cursors, err);
    index_begin(store->index);
    return status;
}

/* Bring the index up to the end of the log. */
static enum banyan_status replay(struct store *store, struct banyan_error *err)
{
    struct waiting *waiting = alloc_zeroed(WAITING_MAX, sizeof(*waiting));
    struct log_reader *reader = log_reader_open(store->log);
    struct banyan_position from = {index_covered(store->index) + 1};
    enum banyan_status status = log_reader_seek(reader, from, err);
    uint64_t taken = 0, done = 0;
    struct log_record record;

    index_begin(store->index);
    while (status == BANYAN_OK) {
        status = log_reader_next(reader, &record, err);
        if (status == BANYAN_OK)
            status = take_in(store, &record, &waiting[taken % WAITING_MAX], err);
        if (status == BANYAN_OK && ++taken - done > WAITING_MAX / 2)
            index_prefetch_head(store->index, waiting[(taken - WAITING_MAX / 2) % WAITING_MAX].stream_hash);
        if (status == BANYAN_OK)
            status = index_waiting(store, waiting, taken, &done, WAITING_MAX - 1, err);
        if (status == BANYAN_OK && index_is_full(store->index))
            status = make_room(store, waiting, taken, &done, err);
    }
    if (status == BANYAN_NOT_FOUND)
        status = index_waiting(store, waiting, taken, &done, 0, err);
    index_end(store->index);
    log_reader_close(reader);
    free(waiting);
    return status;
}

/* Load the index, or begin it anew. */
static enum banyan_status load_index(struct store *store, bool anew, struct banyan_error *err)
{
    char *folder = alloc_path(store->options.folder, "index");
    struct index_options options = {
        .folder = folder,
        .files = store->options.files,
        .table_events_max = store->options.index_events_max,
        .filter_bytes_max = store->options.index_filter_bytes_max,
        .read_only = store->options.read_only,
        .discard = anew,
    };
    enum banyan_status status = index_open(&options, &store->index, err);

    free(folder);
    return status;
}

/* Bring the index up to the end of the log. */
static enum banyan_status catch_up(struct store *store, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status status = index_attach(store->index, store->log, err);

    if (status != BANYAN_OK)
        return status;
    cursors_copy(&store->cursors, index_cursors(store->index));
    status = replay(store, &why);
    /* What was loaded may be the damaged part; the log decides. */
    if (status == BANYAN_CORRUPT && index_covered(store->index) > 0) {
        index_close(store->index);
        store->index = NULL;
        banyan_error_clear(&why);
        status = load_index(store, true, &why);
        if (status == BANYAN_OK)
            status = index_attach(store->index, store->log, &why);
        if (status == BANYAN_OK) {
            cursors_copy(&store->cursors, index_cursors(store->index));
            status = replay(store, &why);
        }
    }
    if (status != BANYAN_OK && err != NULL)
        *err = why;
    return status;
}

static void release(struct store *store)
{
    log_reader_close(store->checker);
    blocks_release(&store->blocks);
    index_close(store->index);
    log_close(store->log);
    store->options.files->close(store->lock_file);
    cursors_release(&store->cursors);
    changes_release(&store->changes);
    banyan_buf_release(&store->record);
    free(store->hashes);
    (void)pthread_mutex_destroy(&store->lock);
    (void)pthread_cond_destroy(&store->batch_ended);
    watch_release(&store->watch);
    free((char *)store->options.folder);
    free((char *)store->options.cold_folder);
    free(store);
}

/* The index before the log: beside a running writer the log is then at least as long as what the index knows. */
static enum banyan_status open_files(struct store *store, struct banyan_error *err)
{
    struct os_files *files = store->options.files;
    char *log_folder = alloc_path(store->options.folder, "log"), *lock_path = alloc_path(store->options.folder, "lock");
    char *cold_folder = store->options.cold_folder == NULL ? alloc_path(store->options.folder, "cold")
                                                           : alloc_text(store->options.cold_folder);
    struct log_options log_options = {
        .folder = log_folder,
        .cold_folder = cold_folder,
        .files = files,
        .clock = store->options.clock,
        .segment_bytes = store->options.segment_bytes,
        .read_only = store->options.read_only,
    };
    enum banyan_status status = BANYAN_OK;

    if (!store->options.read_only) {
        status = files->make_folder(files, store->options.folder, err);
        if (status == BANYAN_OK)
            status = files->lock(files, lock_path, &store->lock_file, err);
        if (status == BANYAN_BUSY)
            banyan_error_hint(err, "one process at a time may write to a store; stop the other, or open for reading");
    }
    if (status == BANYAN_OK)
        status = load_index(store, false, err);
    if (status == BANYAN_OK)
        status = log_open(&log_options, &store->log, err);
    free(log_folder);
    free(cold_folder);
    free(lock_path);
    return status;
}

static void open_blocks(struct store *store)
{
    char *path = alloc_path(store->options.folder, "blocks");

    blocks_init(&store->blocks, store->log, store->options.files, path, store->options.read_only);
    free(path);
}

enum banyan_status store_open(const struct store_options *options, struct store **ret, struct banyan_error *err)
{
    struct store *store = alloc_zeroed(1, sizeof(*store));
    enum banyan_status status;

    store->options = *options;
    store->options.folder = alloc_text(options->folder);
    if (options->cold_folder != NULL)
        store->options.cold_folder = alloc_text(options->cold_folder);
    if (store->options.files == NULL)
        store->options.files = os_files_real();
    if (store->options.clock == NULL)
        store->options.clock = os_clock_real();
    (void)pthread_mutex_init(&store->lock, NULL);
    (void)pthread_cond_init(&store->batch_ended, NULL);
    watch_init(&store->watch);
    store->record.size_max = LOG_RECORD_BYTES_MAX + STORE_CURSOR_BYTES_MAX;
    status = open_files(store, err);
    if (status == BANYAN_OK)
        status = catch_up(store, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "opening the store in %s", options->folder);
        release(store);
        return status;
    }
    store->checker = log_reader_open(store->log);
    open_blocks(store);
    *ret = store;
    return BANYAN_OK;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    if (store->batch_open)
        store_batch_abort(store);
    if (!store->options.read_only) {
        enum banyan_status status = log_wait_durable(store->log, log_tail(store->log), INT64_MAX, NULL);

        (void)status; /* what cannot become durable is not saved */
        blocks_save(&store->blocks);
    }
    release(store);
}

/* ---- questions ---- */

struct banyan_position store_tail(struct store *store)
{
    return log_tail(store->log);
}

struct banyan_position store_durable(struct store *store)
{
    return log_durable(store->log);
}

enum banyan_status store_wait(struct store *store, struct banyan_position position, int64_t timeout_us,
                              struct banyan_error *err)
{
    return log_wait_durable(store->log, position, timeout_us, err);
}

enum banyan_status store_health(struct store *store, struct banyan_error *err)
{
    return log_health(store->log, err);
}

/* The last event of *stream* at or before what the log says is its *end*.  Tables are searched with the lock, runs
 * without: they do not change.  The view is taken before the end is asked for, so that no run lies partly behind it. */
static enum banyan_status head_at(struct store *store, struct banyan_str stream,
                                  struct banyan_position (*end)(struct log *log), struct store_head *ret,
                                  struct banyan_error *err)
{
    struct store_head at = {{0}, {0}};
    enum banyan_status status = BANYAN_OK;
    struct index_head found = {.version = 0};
    struct index_view *view;
    const struct head *head;
    uint64_t hash, limit;

    (void)pthread_mutex_lock(&store->lock);
    hash = index_stream_hash(store->index, stream);
    view = index_view_get(store->index);
    limit = end(store->log).value;
    head = index_view_table_head(store->index, view, stream, hash, limit);
    if (head != NULL)
        at = changes_head_at(store, head, limit);
    (void)pthread_mutex_unlock(&store->lock);
    if (head == NULL) {
        status = index_view_run_head(store->index, view, stream, hash, limit, &found, err);
        if (found.version > 0)
            at = (struct store_head){{found.version}, {found.position}};
    }
    index_view_put(store->index, view);
    if (status == BANYAN_OK)
        *ret = at;
    return status;
}

enum banyan_status store_head(struct store *store, struct banyan_str stream, struct store_head *ret,
                              struct banyan_error *err)
{
    return head_at(store, stream, log_tail, ret, err);
}

enum banyan_status store_durable_head(struct store *store, struct banyan_str stream, struct store_head *ret,
                                      struct banyan_error *err)
{
    return head_at(store, stream, log_durable, ret, err);
}

struct banyan_str store_cursor(struct store *store, struct banyan_str name, struct banyan_arena *arena)
{
    struct banyan_str value = {NULL, 0};
    size_t at;

    (void)pthread_mutex_lock(&store->lock);
    if (cursors_find(&store->cursors, name, &at)) {
        const struct cursor *cursor = &store->cursors.items[at];

        value = banyan_arena_str(arena, (struct banyan_str){cursor->value, cursor->value_size});
    }
    (void)pthread_mutex_unlock(&store->lock);
    return value;
}

void store_stats(struct store *store, struct store_stats *ret)
{
    struct index_stats index;

    log_stats(store->log, &ret->log);
    (void)pthread_mutex_lock(&store->lock);
    index_stats(store->index, &index);
    ret->events = log_tail(store->log).value;
    ret->cursors = store->cursors.count;
    ret->index_bytes = index.memory_bytes + changes_bytes(&store->changes);
    (void)pthread_mutex_unlock(&store->lock);
    ret->streams = index.streams;
    ret->index_runs = index.runs;
    ret->index_disk_bytes = index.disk_bytes;
    ret->index_covered.value = index.covered;
    ret->index_rebuilt = index.rebuilt;
}
