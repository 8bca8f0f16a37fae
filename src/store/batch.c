/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch larger than memory, as one atomic append.
 *
 * The last event is held back until the commit, because the cursor belongs into its record.  After a failure nothing
 * but abort is possible; abort takes everything back, on the disk too.
 *
 * The index of a small batch is as that of an append: entered, and remembered in `changes`.  A batch that does not fit
 * into the active table spills: what is in the table is taken out of it, what was there before goes to the flusher, and
 * the batch is entered anew into a table of its own; from then on it needs no `changes`.
 */
#include <stdlib.h>

#include "store/store_int.h"

enum banyan_status store_batch_begin(struct store *store, struct banyan_error *err)
{
    enum banyan_status status;

    if (store->options.read_only)
        return banyan_error_set(err, BANYAN_INVALID, "the store is open for reading only");
    (void)pthread_mutex_lock(&store->lock);
    while (store->batch_open)
        (void)pthread_cond_wait(&store->batch_ended, &store->lock);
    changes_settle(store);
    status = log_append_begin(store->log, err);
    if (status == BANYAN_OK) {
        store->batch_open = true;
        store->batch_failed = BANYAN_OK;
        store->batch_first = log_tail(store->log).value + 1;
        store->batch_last = store->batch_first - 1;
        banyan_buf_reset(&store->record);
    }
    (void)pthread_mutex_unlock(&store->lock);
    return status;
}

/* Hand the held event to the log. */
static enum banyan_status write_held(struct store *store, struct banyan_error *err)
{
    struct banyan_position position;

    return log_append_record(store->log, banyan_buf_str(&store->record), &position, err);
}

/* Enter again what was taken back; the names are still at their places. */
static enum banyan_status enter_again(struct store *store, const struct change *changes, size_t count,
                                      struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    struct head *head;

    index_begin(store->index);
    for (size_t i = 0; i < count && status == BANYAN_OK; i++) {
        status = index_make_head(store->index, head_name(changes[i].head), changes[i].head->hash, &head, err);
        if (status == BANYAN_OK)
            index_enter(store->index, head, store->batch_first + i, changes[i].id_hash, NULL);
    }
    index_end(store->index);
    return status;
}

static enum banyan_status spill(struct store *store, struct banyan_error *err)
{
    uint64_t before = store->batch_first - 1;
    struct index_view *kept = NULL;
    size_t count;
    struct change *changes = changes_from(&store->changes, store->batch_first, &count);
    enum banyan_status status = BANYAN_OK;

    changes_undo(store, before);
    if (before > 0)
        status = log_wait_durable(store->log, (struct banyan_position){before}, INT64_MAX, err);
    changes_settle(store);
    if (status == BANYAN_OK)
        status = index_begin_batch(store->index, store->batch_first, &store->cursors, &kept, err);
    if (status == BANYAN_OK)
        status = enter_again(store, changes, count, err);
    index_view_put(store->index, kept);
    free(changes);
    return status;
}

static enum banyan_status make_room(struct store *store, struct banyan_error *err)
{
    if (!index_is_full(store->index))
        return BANYAN_OK;
    if (index_in_batch(store->index))
        return index_make_room(store->index, &store->cursors, err);
    return store->batch_last < store->batch_first ? index_make_room(store->index, &store->cursors, err)
                                                  : spill(store, err);
}

/* Between begin and end. */
static enum banyan_status enter(struct store *store, const struct store_event *event, struct banyan_error *err)
{
    uint64_t hash = index_id_hash(store->index, event->id), position = 0;
    enum banyan_status status = store_find_id(store, event, hash, &position, err);

    if (status == BANYAN_OK && position != 0) {
        char id[BANYAN_UUID_TEXT_SIZE];

        banyan_uuid_format(event->id, id);
        status =
            banyan_error_set(err, BANYAN_DUPLICATE, "event id %s was used before; a batch takes new ones only", id);
        banyan_error_hint(err, "give the batch up, and leave out what was appended before");
    }
    if (status == BANYAN_OK && store->batch_last >= store->batch_first)
        status = write_held(store, err);
    if (status == BANYAN_OK)
        status = store_enter_event(store, event, hash, index_stream_hash(store->index, event->stream),
                                   store->batch_last + 1, NULL, err);
    store->batch_last += status == BANYAN_OK;
    return status;
}

static enum banyan_status add(struct store *store, const struct store_event *event, struct banyan_error *err)
{
    enum banyan_status status = make_room(store, err);

    if (status != BANYAN_OK)
        return status;
    index_begin(store->index);
    status = enter(store, event, err);
    index_end(store->index);
    return status;
}

enum banyan_status store_batch_add(struct store *store, const struct store_event *event, struct banyan_error *err)
{
    enum banyan_status status = store_check_event(event, err);

    (void)pthread_mutex_lock(&store->lock);
    if (!store->batch_open)
        status = banyan_error_set(err, BANYAN_INVALID, "no batch is open");
    else if (store->batch_failed != BANYAN_OK)
        status = banyan_error_set(err, store->batch_failed, "the batch failed before; give it up");
    if (status == BANYAN_OK)
        status = add(store, event, err);
    if (store->batch_open)
        store->batch_failed = status;
    (void)pthread_mutex_unlock(&store->lock);
    return status;
}

/* With the lock.  Everybody who waits is woken: an appender that came first would not wake the next one. */
static void end_batch(struct store *store)
{
    store->batch_open = false;
    (void)pthread_cond_broadcast(&store->batch_ended);
}

enum banyan_status store_batch_commit(struct store *store, struct store_cursor cursor, struct store_appended *ret,
                                      struct banyan_error *err)
{
    struct store_appended appended = {.repeated = false};
    enum banyan_status status = store_check_cursor(&cursor, err);
    bool spilled = false;

    (void)pthread_mutex_lock(&store->lock);
    if (!store->batch_open)
        status = banyan_error_set(err, BANYAN_INVALID, "no batch is open");
    else if (store->batch_failed != BANYAN_OK)
        status = banyan_error_set(err, store->batch_failed, "the batch failed before; give it up");
    else if (store->batch_last < store->batch_first)
        status = banyan_error_set(err, BANYAN_INVALID, "an append needs at least one event");
    if (status == BANYAN_OK && cursor.name.size > 0)
        envelope_add_cursor(&store->record, &cursor);
    if (status == BANYAN_OK)
        status = write_held(store, err);
    if (status == BANYAN_OK)
        status = log_append_commit_quiet(store->log, err);
    if (status == BANYAN_OK) {
        if (cursor.name.size > 0)
            cursors_put(&store->cursors, &cursor);
        appended.first.value = store->batch_first;
        appended.last.value = store->batch_last;
        spilled = index_in_batch(store->index);
        index_end_batch(store->index);
        end_batch(store);
    } else if (store->batch_open) {
        store->batch_failed = status;
    }
    (void)pthread_mutex_unlock(&store->lock);
    if (status == BANYAN_OK)
        status = log_wait_durable(store->log, appended.last, INT64_MAX, err);
    if (status != BANYAN_OK)
        return status;
    /* What was remembered of so many events need not wait for the next append. */
    (void)pthread_mutex_lock(&store->lock);
    changes_settle(store);
    (void)pthread_mutex_unlock(&store->lock);
    if (spilled)
        index_publish(store->index);
    *ret = appended;
    return status;
}

void store_batch_abort(struct store *store)
{
    (void)pthread_mutex_lock(&store->lock);
    if (store->batch_open) {
        log_append_abort(store->log);
        changes_undo(store, store->batch_first - 1);
        index_drop_batch(store->index);
        end_batch(store);
    }
    (void)pthread_mutex_unlock(&store->lock);
}
