/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading events: all in order, or one stream from any version, either way.
 *
 * The log finds a stream's events from the last one backwards.  To give them oldest first, a window of versions is
 * located at its newest end by jumps, walked down to its oldest, and given out upwards; small events are kept from the
 * walk, others are read again.  Newest first is the walk itself.
 *
 * Many streams written in rounds have their versions in as many places of the log, one place a round.  Who reads such
 * streams one after the other comes to each place again and again, so the last few checked frames are kept.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/filter.h"
#include "store/store_int.h"

enum {
    WINDOW_EVENTS = 256,
    WINDOW_BYTES_MAX = 1024 * 1024,
    FRAMES_MAX = 16, /* kept of streams, usually 64 KiB each */
};

/* One event of the window. */
struct place {
    uint64_t position;
    struct banyan_str data; /* in the arena; NULL: read it again */
    struct banyan_time recorded_at;
    bool ends_batch;
};

enum reader_mode {
    READER_ALL = 0,
    READER_FORWARD, /* one stream */
    READER_BACKWARD,
};

struct store_reader {
    struct store *store;
    struct log_reader *log_reader;
    enum reader_mode mode;

    /* Of all events. */
    uint64_t passed;       /* last position given out or passed over */
    uint64_t end;          /* it gives out nothing behind this; 0: no end */
    uint64_t looks_max;    /* events passed over in one call; 0: no limit */
    struct filter *filter; /* owned; NULL: everything */
    uint64_t checked;      /* up to here the table of blocks has been asked; the end of a block */
    bool learning;         /* nothing is known of that block, and all of it was seen so far: */
    uint64_t types, categories;

    /* Of one stream.  Forward, next > last is the end; backward, next 0. */
    uint64_t next_version, last_version;
    uint64_t last_position; /* of last_version; backward: of next_version */
    uint64_t window_first;  /* version of places[0] */
    size_t window_count;
    struct place *places; /* owned */
    struct banyan_arena arena;
    struct log_reader *frames[FRAMES_MAX]; /* owned; one place each, the last used first */
    size_t frame_count;
};

struct store_reader *store_reader_open(struct store *store)
{
    struct store_reader *reader = alloc_zeroed(1, sizeof(*reader));

    reader->store = store;
    reader->log_reader = log_reader_open(store->log);
    return reader;
}

void store_reader_close(struct store_reader *reader)
{
    if (reader == NULL)
        return;
    log_reader_close(reader->log_reader);
    filter_free(reader->filter);
    for (size_t i = 0; i < reader->frame_count; i++)
        log_reader_close(reader->frames[i]);
    free(reader->places);
    banyan_arena_release(&reader->arena);
    free(reader);
}

enum banyan_status store_reader_seek(struct store_reader *reader, struct banyan_position position,
                                     struct banyan_error *err)
{
    enum banyan_status status = log_reader_seek(reader->log_reader, position, err);

    if (status != BANYAN_OK)
        return status;
    reader->mode = READER_ALL;
    reader->passed = reader->checked = position.value - 1;
    return BANYAN_OK;
}

void store_reader_filter(struct store_reader *reader, const struct store_filter *filter)
{
    filter_free(reader->filter);
    reader->filter = filter_new(filter);
    reader->checked = reader->passed;
}

struct banyan_position store_reader_passed(const struct store_reader *reader)
{
    return (struct banyan_position){reader->passed};
}

void store_reader_end(struct store_reader *reader, struct banyan_position last)
{
    reader->end = last.value;
}

void store_reader_look(struct store_reader *reader, uint64_t looks_max)
{
    reader->looks_max = looks_max;
}

/* The last durable event of *stream*; NOT_FOUND. */
static enum banyan_status find_stream(struct store *store, struct banyan_str stream, struct store_head *ret,
                                      struct banyan_error *err)
{
    enum banyan_status status = store_durable_head(store, stream, ret, err);

    if (status == BANYAN_OK && ret->version.value == 0)
        status = banyan_error_set(err, BANYAN_NOT_FOUND, "stream %.*s does not exist", (int)stream.size, stream.data);
    return status;
}

enum banyan_status store_reader_stream(struct store_reader *reader, struct banyan_str stream,
                                       struct banyan_version version, struct banyan_error *err)
{
    struct store_head at;
    enum banyan_status status = find_stream(reader->store, stream, &at, err);

    if (status != BANYAN_OK)
        return status;
    reader->mode = READER_FORWARD;
    reader->next_version = version.value == 0 ? 1 : version.value;
    reader->last_version = at.version.value;
    reader->last_position = at.position.value;
    reader->window_count = 0;
    return BANYAN_OK;
}

static enum banyan_status no_event(const struct log_record *record, struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_CORRUPT, "position %" PRIu64 " holds no event", record->position.value);
}

/* The reader that has the frame of *position*, else a new one or the one that was not used for longest. */
static struct log_reader *reader_of(struct store_reader *reader, struct banyan_position position)
{
    struct log_reader *found;
    size_t at = 0;

    while (at < reader->frame_count && !log_reader_holds(reader->frames[at], position))
        at++;
    if (at == reader->frame_count && at < FRAMES_MAX)
        reader->frames[reader->frame_count++] = log_reader_open(reader->store->log);
    else if (at == FRAMES_MAX)
        at--;
    found = reader->frames[at];
    memmove(&reader->frames[1], &reader->frames[0], at * sizeof(reader->frames[0]));
    reader->frames[0] = found;
    return found;
}

/* Read the event at *position* of a stream's *version*. */
static enum banyan_status read_at(struct store_reader *reader, uint64_t position, uint64_t version,
                                  struct log_record *ret, struct envelope *ret_envelope, struct banyan_error *err)
{
    struct log_reader *log_reader = reader_of(reader, (struct banyan_position){position});
    enum banyan_status status = log_reader_seek(log_reader, (struct banyan_position){position}, err);

    if (status == BANYAN_OK)
        status = log_reader_next(log_reader, ret, err);
    if (status == BANYAN_OK &&
        (!envelope_decode(ret->data, position, ret_envelope) || ret_envelope->version != version))
        status = no_event(ret, err);
    return status;
}

/* Find the position of *version*, from the end of the stream downwards. */
static enum banyan_status locate(struct store_reader *reader, uint64_t version, uint64_t *ret, struct banyan_error *err)
{
    uint64_t at = reader->last_version, position = reader->last_position;
    struct envelope envelope;
    struct log_record record;

    while (at > version) {
        uint64_t target = store_jump_target(at);
        enum banyan_status status = read_at(reader, position, at, &record, &envelope, err);

        if (status != BANYAN_OK)
            return status;
        if (target >= version && target != 0 && envelope.jump != 0) {
            at = target;
            position = envelope.jump;
        } else {
            at--;
            position = envelope.prev;
        }
    }
    *ret = position;
    return BANYAN_OK;
}

/* Learn where the next versions are. */
static enum banyan_status fill_window(struct store_reader *reader, struct banyan_error *err)
{
    uint64_t first = reader->next_version, last = reader->last_version, position = 0;
    struct envelope envelope;
    struct log_record record;
    enum banyan_status status;

    if (reader->places == NULL)
        reader->places = alloc_zeroed(WINDOW_EVENTS, sizeof(*reader->places));
    if (last - first >= WINDOW_EVENTS)
        last = first + WINDOW_EVENTS - 1;
    banyan_arena_reset(&reader->arena);
    reader->window_count = 0;
    status = locate(reader, last, &position, err);
    for (uint64_t version = last; version >= first && status == BANYAN_OK; version--) {
        struct place *place = &reader->places[version - first];

        *place = (struct place){.position = position};
        status = read_at(reader, position, version, &record, &envelope, err);
        if (status != BANYAN_OK)
            break;
        if (record.data.size <= WINDOW_BYTES_MAX / WINDOW_EVENTS) {
            place->data = banyan_arena_str(&reader->arena, record.data);
            place->recorded_at = record.recorded_at;
            place->ends_batch = record.ends_batch;
        }
        position = envelope.prev;
    }
    if (status == BANYAN_OK) {
        reader->window_first = first;
        reader->window_count = (size_t)(last - first + 1);
    }
    return status;
}

static enum banyan_status next_of_stream(struct store_reader *reader, struct log_record *ret, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    struct envelope envelope;
    const struct place *place;

    if (reader->next_version > reader->last_version)
        return BANYAN_NOT_FOUND;
    if (reader->window_count == 0 || reader->next_version - reader->window_first >= reader->window_count)
        status = fill_window(reader, err);
    if (status != BANYAN_OK)
        return status;
    place = &reader->places[reader->next_version - reader->window_first];
    if (place->data.data == NULL) {
        status = read_at(reader, place->position, reader->next_version, ret, &envelope, err);
    } else {
        ret->position.value = place->position;
        ret->recorded_at = place->recorded_at;
        ret->ends_batch = place->ends_batch;
        ret->data = place->data;
    }
    if (status == BANYAN_OK)
        reader->next_version++;
    return status;
}

/* ---- newest first ---- */

enum banyan_status store_reader_stream_backward(struct store_reader *reader, struct banyan_str stream,
                                                struct banyan_version version, struct banyan_error *err)
{
    uint64_t position = 0, from = version.value;
    struct store_head at;
    enum banyan_status status = find_stream(reader->store, stream, &at, err);

    if (status != BANYAN_OK)
        return status;
    if (from == 0 || from > at.version.value)
        from = at.version.value;
    reader->last_version = at.version.value;
    reader->last_position = at.position.value;
    status = locate(reader, from, &position, err);
    if (status != BANYAN_OK)
        return status;
    reader->mode = READER_BACKWARD;
    reader->next_version = from;
    reader->last_position = position;
    return BANYAN_OK;
}

static enum banyan_status next_backward(struct store_reader *reader, struct log_record *ret,
                                        struct envelope *ret_envelope, struct banyan_error *err)
{
    enum banyan_status status;

    if (reader->next_version == 0)
        return BANYAN_NOT_FOUND;
    status = read_at(reader, reader->last_position, reader->next_version, ret, ret_envelope, err);
    if (status != BANYAN_OK)
        return status;
    reader->next_version--;
    reader->last_position = ret_envelope->prev;
    return BANYAN_OK;
}

/* ---- all events ---- */

/* Go to the next block that may hold what the filter lets pass. */
static enum banyan_status skip(struct store_reader *reader, struct banyan_error *err)
{
    struct blocks *blocks = &reader->store->blocks;
    uint64_t next = reader->passed + 1, durable = log_durable(reader->store->log).value, to;
    enum banyan_status status = BANYAN_OK;

    if (reader->end != 0 && reader->end < durable)
        durable = reader->end;
    if (next > durable)
        return BANYAN_OK; /* the log reader says that it is the end */
    to = blocks_next(blocks, reader->filter, next, durable);
    if (to != next)
        status = log_reader_seek(reader->log_reader, (struct banyan_position){to}, err);
    if (status != BANYAN_OK)
        return status;
    reader->passed = to - 1;
    reader->checked = to > durable ? durable : ((to - 1) / BLOCK_POSITIONS + 1) * BLOCK_POSITIONS;
    reader->learning = to <= durable && (to - 1) % BLOCK_POSITIONS == 0 && blocks_unknown(blocks, to);
    reader->types = reader->categories = 0;
    return BANYAN_OK;
}

/* Remember what is in a block of which nothing is known. */
static void learn(struct store_reader *reader, const struct store_event *event)
{
    reader->types |= filter_bits(event->type);
    reader->categories |= filter_bits(filter_category(event->stream));
    if (reader->passed == reader->checked)
        blocks_learn(&reader->store->blocks, reader->passed, reader->types, reader->categories);
}

static enum banyan_status next_of_all(struct store_reader *reader, struct log_record *ret,
                                      struct envelope *ret_envelope, struct banyan_error *err)
{
    enum banyan_status status;
    uint64_t looks = 0;

    do {
        if (looks == reader->looks_max && looks > 0)
            return BANYAN_TIMEOUT;
        looks++;
        status = reader->filter != NULL && reader->passed >= reader->checked ? skip(reader, err) : BANYAN_OK;
        if (status == BANYAN_OK && reader->end != 0 && reader->passed >= reader->end)
            return BANYAN_NOT_FOUND;
        if (status == BANYAN_OK)
            status = log_reader_next(reader->log_reader, ret, err);
        if (status != BANYAN_OK)
            return status;
        if (!envelope_decode(ret->data, ret->position.value, ret_envelope))
            return no_event(ret, err);
        reader->passed = ret->position.value;
        if (reader->filter != NULL && reader->learning)
            learn(reader, &ret_envelope->event);
    } while (reader->filter != NULL && !filter_passes(reader->filter, &ret_envelope->event));
    return BANYAN_OK;
}

enum banyan_status store_reader_next(struct store_reader *reader, struct store_read_event *ret,
                                     struct banyan_error *err)
{
    struct log_record record;
    struct envelope envelope;
    enum banyan_status status;

    switch (reader->mode) {
    case READER_FORWARD:
        status = next_of_stream(reader, &record, err);
        if (status == BANYAN_OK && !envelope_decode(record.data, record.position.value, &envelope))
            status = no_event(&record, err);
        break;
    case READER_BACKWARD:
        status = next_backward(reader, &record, &envelope, err);
        break;
    default:
        status = next_of_all(reader, &record, &envelope, err);
    }
    if (status != BANYAN_OK)
        return status;
    ret->event = envelope.event;
    ret->position = record.position;
    ret->version.value = envelope.version;
    ret->recorded_at = record.recorded_at;
    ret->cursor = envelope.cursor;
    ret->ends_batch = record.ends_batch;
    return BANYAN_OK;
}

/* ---- by time ---- */

enum banyan_status store_position_at(struct store *store, struct banyan_time time, struct banyan_position *ret,
                                     struct banyan_error *err)
{
    return log_position_at(store->log, time, ret, err);
}
