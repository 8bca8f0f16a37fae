/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Atomic appends.
 *
 * Order of the checks: the input; ids (a repeat is answered before anything else can refuse it); conditions.  Only then
 * is anything changed, and what the log then refuses is taken back.
 *
 * An id that is found is only a hint: the event at its position is read and compared.  When it is not durable yet, we
 * wait until it is; that is rare, and exact.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/store_int.h"

enum {
    PREFETCH_DISTANCE = 16, /* events; some hundred ns ahead */
};

/* ---- the input ---- */

enum banyan_status store_check_event(const struct store_event *event, struct banyan_error *err)
{
    if (event->stream.size == 0 || event->type.size == 0)
        return banyan_error_set(err, BANYAN_INVALID, "an event needs a stream and a type");
    if (event->stream.size > STORE_STREAM_NAME_BYTES_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "the name of a stream has %zu bytes; at most %d are allowed",
                                event->stream.size, STORE_STREAM_NAME_BYTES_MAX);
    if (event->type.size > STORE_TYPE_NAME_BYTES_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "the name of an event type has %zu bytes; at most %d are allowed",
                                event->type.size, STORE_TYPE_NAME_BYTES_MAX);
    if (event->payload.size > STORE_PAYLOAD_BYTES_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "the payload of %.*s has %zu bytes; at most %d are allowed",
                                (int)event->type.size, event->type.data, event->payload.size, STORE_PAYLOAD_BYTES_MAX);
    if (event->meta.size > STORE_META_BYTES_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "the metadata of %.*s has %zu bytes; at most %d are allowed",
                                (int)event->type.size, event->type.data, event->meta.size, STORE_META_BYTES_MAX);
    if ((unsigned)event->provenance > BANYAN_RECONCILED)
        return banyan_error_set(err, BANYAN_INVALID, "%d is no provenance", (int)event->provenance);
    return BANYAN_OK;
}

enum banyan_status store_check_cursor(const struct store_cursor *cursor, struct banyan_error *err)
{
    if (cursor->name.size > STORE_STREAM_NAME_BYTES_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "the name of a cursor has %zu bytes; at most %d are allowed",
                                cursor->name.size, STORE_STREAM_NAME_BYTES_MAX);
    if (cursor->value.size > STORE_CURSOR_BYTES_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "the value of cursor %.*s has %zu bytes; at most %d are allowed",
                                (int)cursor->name.size, cursor->name.data, cursor->value.size, STORE_CURSOR_BYTES_MAX);
    return BANYAN_OK;
}

static enum banyan_status check_input(const struct store_append *append, struct banyan_error *err)
{
    enum banyan_status status = store_check_cursor(&append->cursor, err);

    if (append->event_count == 0)
        return banyan_error_set(err, BANYAN_INVALID, "an append needs at least one event");
    for (size_t i = 0; i < append->event_count && status == BANYAN_OK; i++)
        status = store_check_event(&append->events[i], err);
    for (size_t i = 0; i < append->condition_count && status == BANYAN_OK; i++) {
        if (append->conditions[i].stream.size == 0)
            status = banyan_error_set(err, BANYAN_INVALID, "a condition needs a stream");
    }
    return status;
}

/* ---- ids ---- */

static bool same_text(struct banyan_str a, struct banyan_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* What an id stands for: the stream, the type and the payload; not when or under which circumstances it was sent. */
static bool same_content(const struct store_event *a, const struct store_event *b)
{
    return same_text(a->stream, b->stream) && same_text(a->type, b->type) && a->schema == b->schema &&
           same_text(a->payload, b->payload);
}

enum banyan_status store_twice(const struct store_event *event, struct banyan_error *err)
{
    char id[BANYAN_UUID_TEXT_SIZE];

    banyan_uuid_format(event->id, id);
    (void)banyan_error_set(err, BANYAN_DUPLICATE, "event id %s is twice in one append", id);
    banyan_error_hint(err, "give each event an id of its own");
    return BANYAN_DUPLICATE;
}

/* Read the event at *position*, waiting until it is durable.  Texts are borrowed until the next call. */
static enum banyan_status read_event(struct store *store, uint64_t position, struct envelope *ret,
                                     struct banyan_error *err)
{
    struct banyan_position at = {position};
    enum banyan_status status = log_wait_durable(store->log, at, INT64_MAX, err);
    struct log_record record;

    if (status == BANYAN_OK)
        status = log_reader_seek(store->checker, at, err);
    if (status == BANYAN_OK)
        status = log_reader_next(store->checker, &record, err);
    if (status == BANYAN_OK && !envelope_decode(record.data, position, ret))
        status = banyan_error_set(err, BANYAN_CORRUPT, "position %" PRIu64 " holds no event", position);
    return status;
}

/* With the lock: where the event with *id* is; position 0: nowhere.  *ret_event: the event, borrowed. */
static enum banyan_status find_event(struct store *store, struct banyan_uuid id, uint64_t hash, uint64_t *ret,
                                     struct envelope *ret_event, struct banyan_error *err)
{
    const uint64_t *positions;
    size_t count;
    enum banyan_status status = index_find_id(store->index, hash, &positions, &count, err);

    *ret = 0;
    for (size_t i = 0; i < count && status == BANYAN_OK; i++) {
        uint64_t position = positions[i];

        if (position > log_tail(store->log).value) { /* of the open batch, which cannot be read yet */
            ret_event->event.id = id;
            return store_twice(&ret_event->event, err);
        }
        status = read_event(store, position, ret_event, err);
        if (status != BANYAN_OK)
            return status;
        if (banyan_uuid_equal(ret_event->event.id, id)) {
            *ret = position;
            break;
        }
    }
    return status;
}

enum banyan_status store_find_id(struct store *store, const struct store_event *event, uint64_t hash, uint64_t *ret,
                                 struct banyan_error *err)
{
    struct envelope found;
    enum banyan_status status = find_event(store, event->id, hash, ret, &found, err);
    char id[BANYAN_UUID_TEXT_SIZE];

    if (status != BANYAN_OK || *ret == 0 || same_content(&found.event, event))
        return status;
    banyan_uuid_format(event->id, id);
    (void)banyan_error_set(err, BANYAN_DUPLICATE,
                           "event id %s was used before, at position %" PRIu64 ", with other content", id, *ret);
    banyan_error_hint(err, "use a new id for a new event; repeat an old one unchanged");
    return BANYAN_DUPLICATE;
}

enum banyan_status store_find(struct store *store, struct banyan_uuid id, struct banyan_position *ret,
                              struct banyan_error *err)
{
    struct envelope found;
    uint64_t position = 0;
    enum banyan_status status;

    (void)pthread_mutex_lock(&store->lock);
    while (store->batch_open)
        (void)pthread_cond_wait(&store->batch_ended, &store->lock);
    index_begin(store->index);
    status = find_event(store, id, index_id_hash(store->index, id), &position, &found, err);
    index_end(store->index);
    (void)pthread_mutex_unlock(&store->lock);
    if (status == BANYAN_OK)
        ret->value = position;
    return status;
}

/* Fetch what is looked at soon, but not so early that a large append throws it out of the cache again. */
static void prefetch_id(const struct store *store, size_t at, size_t count)
{
    if (at + PREFETCH_DISTANCE < count)
        index_prefetch_id(store->index, store->hashes[at + PREFETCH_DISTANCE]);
}

static void prefetch_stream(const struct store *store, size_t at, size_t count)
{
    if (at + PREFETCH_DISTANCE < count)
        index_prefetch_stream(store->index, store->hashes[count + at + PREFETCH_DISTANCE]);
    if (at + PREFETCH_DISTANCE / 2 < count)
        index_prefetch_head(store->index, store->hashes[count + at + PREFETCH_DISTANCE / 2]);
}

static void hash_events(struct store *store, const struct store_append *append)
{
    size_t count = append->event_count;

    if (count * 2 > store->hashes_capacity) {
        store->hashes = alloc_resized(store->hashes, count * 2, sizeof(*store->hashes));
        store->hashes_capacity = count * 2;
    }
    for (size_t i = 0; i < count; i++) {
        store->hashes[i] = index_id_hash(store->index, append->events[i].id);
        store->hashes[count + i] = index_stream_hash(store->index, append->events[i].stream);
    }
}

/* The number of an event whose id an earlier one of the append has; event_count: none. */
static size_t find_twice(struct store *store, const struct store_append *append)
{
    size_t count = append->event_count, slot_count = 16, twice = count;
    uint32_t *slots;

    if (count == 1)
        return count;
    while (slot_count < count * 2)
        slot_count *= 2;
    slots = alloc_zeroed(slot_count, sizeof(*slots)); /* number + 1 */
    for (size_t i = 0; i < count && twice == count; i++) {
        size_t at = store->hashes[i] & (slot_count - 1);

        for (; slots[at] != 0; at = (at + 1) & (slot_count - 1)) {
            if (banyan_uuid_equal(append->events[slots[at] - 1].id, append->events[i].id))
                twice = i;
        }
        slots[at] = (uint32_t)i + 1;
    }
    free(slots);
    return twice;
}

/* Is the append a repeat?  Then ret->repeated with the original positions. */
static enum banyan_status check_ids(struct store *store, const struct store_append *append, struct store_appended *ret,
                                    struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    uint64_t position = 0;
    size_t known = 0, first_new = 0, twice;

    hash_events(store, append);
    twice = find_twice(store, append);
    if (twice < append->event_count)
        return store_twice(&append->events[twice], err);
    for (size_t i = 0; i < append->event_count; i++) {
        prefetch_id(store, i, append->event_count);
        status = store_find_id(store, &append->events[i], store->hashes[i], &position, err);
        if (status != BANYAN_OK)
            return status;
        if (position == 0) {
            first_new = i;
            continue;
        }
        if (known == 0)
            ret->first.value = position;
        ret->last.value = position;
        known++;
    }
    ret->repeated = known == append->event_count;
    if (known > 0 && !ret->repeated) {
        char id[BANYAN_UUID_TEXT_SIZE];

        banyan_uuid_format(append->events[first_new].id, id);
        status = banyan_error_set(err, BANYAN_DUPLICATE, "%zu of the %zu events were appended before, but not id %s",
                                  known, append->event_count, id);
        banyan_error_hint(err, "repeat an append as it was, or append only the new events");
    }
    return status;
}

/* ---- conditions ---- */

static enum banyan_status check_condition(struct store *store, const struct store_condition *condition,
                                          struct banyan_error *err)
{
    struct banyan_str stream = condition->stream;
    struct head *head;
    enum banyan_status status =
        index_find_head(store->index, stream, index_stream_hash(store->index, stream), &head, err);
    if (status != BANYAN_OK)
        return status;
    uint64_t version = head == NULL ? 0 : head->version;

    switch (condition->expect) {
    case STORE_EXPECT_NONE:
        break;
    case STORE_EXPECT_VERSION:
        if (version != condition->version.value)
            status = banyan_error_set(err, BANYAN_CONFLICT, "stream %.*s is at version %" PRIu64 ", expected %" PRIu64,
                                      (int)stream.size, stream.data, version, condition->version.value);
        break;
    case STORE_EXPECT_EXISTS:
        if (version == 0)
            status = banyan_error_set(err, BANYAN_CONFLICT, "stream %.*s does not exist, expected that it does",
                                      (int)stream.size, stream.data);
        break;
    case STORE_EXPECT_ABSENT:
        if (version != 0)
            status = banyan_error_set(err, BANYAN_CONFLICT,
                                      "stream %.*s is at version %" PRIu64 ", expected that it does not exist",
                                      (int)stream.size, stream.data, version);
        break;
    default:
        return banyan_error_set(err, BANYAN_INVALID, "%d is no condition", (int)condition->expect);
    }
    if (status != BANYAN_OK)
        banyan_error_hint(err, "read the stream again and decide again");
    return status;
}

/* ---- writing ---- */

enum banyan_status store_enter_event(struct store *store, const struct store_event *event, uint64_t id_hash,
                                     uint64_t stream_hash, uint64_t position, const struct store_cursor *cursor,
                                     struct banyan_error *err)
{
    struct envelope envelope = {.event = *event};
    struct head *head;
    enum banyan_status status = index_make_head(store->index, event->stream, stream_hash, &head, err);

    if (status != BANYAN_OK)
        return status;
    envelope.version = head->version + 1;
    envelope.prev = head->position;
    envelope.jump = head_jump(head, head->version + 1);
    if (cursor != NULL)
        envelope.cursor = *cursor;
    envelope_encode(&store->record, &envelope, position);
    if (index_in_batch(store->index))
        index_enter(store->index, head, position, id_hash, NULL);
    else
        changes_apply(store, head, position, id_hash);
    blocks_add(&store->blocks, position, event);
    return BANYAN_OK;
}

static enum banyan_status write_events(struct store *store, const struct store_append *append, bool waits,
                                       struct store_appended *ret, struct banyan_error *err)
{
    uint64_t before = log_tail(store->log).value;
    enum banyan_status status = log_append_begin(store->log, err);
    struct banyan_position position;

    if (status != BANYAN_OK)
        return status;
    for (size_t i = 0; i < append->event_count && status == BANYAN_OK; i++) {
        bool last = i + 1 == append->event_count;

        prefetch_stream(store, i, append->event_count);
        status = store_enter_event(store, &append->events[i], store->hashes[i], store->hashes[append->event_count + i],
                                   before + 1 + i, last ? &append->cursor : NULL, err);
        if (status == BANYAN_OK)
            status = log_append_record(store->log, banyan_buf_str(&store->record), &position, err);
    }
    if (status == BANYAN_OK)
        status = waits ? log_append_commit_quiet(store->log, err) : log_append_commit(store->log, err);
    if (status != BANYAN_OK) {
        log_append_abort(store->log);
        changes_undo(store, before);
        return status;
    }
    if (append->cursor.name.size > 0)
        cursors_put(&store->cursors, &append->cursor);
    ret->first.value = before + 1;
    ret->last.value = before + append->event_count;
    return BANYAN_OK;
}

static enum banyan_status check_and_write(struct store *store, const struct store_append *append, bool waits,
                                          struct store_appended *ret, struct banyan_error *err)
{
    enum banyan_status status;

    index_begin(store->index);
    status = check_ids(store, append, ret, err);
    if (status == BANYAN_OK && !ret->repeated) {
        for (size_t i = 0; i < append->condition_count && status == BANYAN_OK; i++)
            status = check_condition(store, &append->conditions[i], err);
        if (status == BANYAN_OK)
            status = write_events(store, append, waits, ret, err);
    }
    index_end(store->index);
    return status;
}

static enum banyan_status submit(struct store *store, const struct store_append *append, bool waits,
                                 struct store_appended *ret, struct banyan_error *err)
{
    struct store_appended appended = {.repeated = false};
    enum banyan_status status = check_input(append, err);

    if (status != BANYAN_OK)
        return status;
    if (store->options.read_only)
        return banyan_error_set(err, BANYAN_INVALID, "the store is open for reading only");
    (void)pthread_mutex_lock(&store->lock);
    while (store->batch_open)
        (void)pthread_cond_wait(&store->batch_ended, &store->lock);
    changes_settle(store);
    status = index_make_room(store->index, &store->cursors, err);
    if (status == BANYAN_OK)
        status = check_and_write(store, append, waits, &appended, err);
    (void)pthread_mutex_unlock(&store->lock);
    if (status == BANYAN_OK)
        *ret = appended;
    return status;
}

enum banyan_status store_submit(struct store *store, const struct store_append *append, struct store_appended *ret,
                                struct banyan_error *err)
{
    return submit(store, append, false, ret, err);
}

enum banyan_status store_append(struct store *store, const struct store_append *append, struct store_appended *ret,
                                struct banyan_error *err)
{
    struct store_appended appended;
    enum banyan_status status = submit(store, append, true, &appended, err);

    if (status == BANYAN_OK)
        status = log_wait_durable(store->log, appended.last, INT64_MAX, err);
    if (status == BANYAN_OK)
        *ret = appended;
    return status;
}
