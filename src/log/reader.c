/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequential and random reads of durable records.
 *
 * A reader has a file handle and a buffer of its own; frames are checked before a record of theirs is given out.
 * Nothing is mapped: memory stays bounded, and a file that shrinks is an error and not a signal.
 *
 * Bytes in the buffer are believed only for frames that were durable when the buffer was filled: behind that the
 * writer may have been at work.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/log_int.h"
#include "log/varint.h"

enum {
    READ_BYTES_FIRST = LOG_FRAME_BYTES + 4096,
    READ_BYTES = 256 * 1024,
};

struct log_reader {
    struct log *log;
    struct log_source *source; /* of *segment* */
    size_t segment;            /* number of the open one; SIZE_MAX: none */
    uint64_t next_first;       /* first position of the next segment; 0: not known to exist */
    char *path_for_error;      /* borrowed from the segment table: segments with durable records stay */
    uint64_t base_offset;

    char *buffer; /* owned */
    size_t filled, capacity, read_bytes;
    uint64_t buffer_at; /* byte in the file of buffer[0] */
    uint64_t trusted;   /* last durable position when the buffer was filled */

    uint64_t frame_at;        /* byte in the file of the next frame */
    uint64_t next_frame;      /* first position of it */
    uint64_t position;        /* of the next record */
    const char *cursor, *end; /* records of the loaded frame that are still to come */
    const char *frame_begin;  /* its first record; NULL: none loaded */
    uint64_t frame_first;
    int64_t recorded_at;
    struct log_shared_frame *shared; /* held; where the records of the loaded frame are, or were before */
};

struct log_reader *log_reader_open(struct log *log)
{
    struct log_reader *reader = alloc_zeroed(1, sizeof(*reader));

    reader->log = log;
    reader->segment = SIZE_MAX;
    return reader;
}

void log_reader_close(struct log_reader *reader)
{
    if (reader == NULL)
        return;
    log_source_close(reader->source);
    log_shared_frame_give(reader->shared);
    free(reader->buffer);
    free(reader);
}

static enum banyan_status damaged(struct log_reader *reader, const char *what, struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_CORRUPT, "%s is damaged at byte %" PRIu64 ", position %" PRIu64 ": %s",
                           log_source_path(reader->source), reader->frame_at, reader->next_frame, what);
    banyan_error_hint(err, "restore this file from a copy, or from a replica of the log");
    reader->frame_begin = NULL;
    reader->cursor = reader->end = NULL;
    return BANYAN_CORRUPT;
}

/* Open the segment number *number*. */
static enum banyan_status open_segment(struct log_reader *reader, size_t number, struct banyan_error *err)
{
    struct log *log = reader->log;
    struct log_segment *segment;
    enum banyan_status status;

    (void)pthread_mutex_lock(&log->lock);
    segment = log->shared.segments[number];
    (void)pthread_mutex_unlock(&log->lock);
    log_source_close(reader->source);
    reader->source = NULL;
    reader->segment = SIZE_MAX;
    reader->filled = 0;
    status = log_source_open(&log->folders, segment->first_position, &reader->source, err);
    if (status != BANYAN_OK)
        return status;
    reader->segment = number;
    reader->base_offset = segment->base_offset;
    reader->next_first = 0;
    return BANYAN_OK;
}

/* *ret: *size* bytes of the file from *at* on, as they were when all up to reader->trusted was durable. */
static enum banyan_status need(struct log_reader *reader, uint64_t at, size_t size, const char **ret,
                               struct banyan_error *err)
{
    size_t want, keep = 0, got = 0;
    enum banyan_status status;

    if (at >= reader->buffer_at && at + size <= reader->buffer_at + reader->filled &&
        reader->next_frame <= reader->trusted) {
        *ret = reader->buffer + (at - reader->buffer_at);
        return BANYAN_OK;
    }
    want = size > reader->read_bytes ? size : reader->read_bytes;
    if (want > reader->capacity || (reader->capacity > READ_BYTES && want <= READ_BYTES)) {
        reader->buffer = alloc_resized(reader->buffer, want > READ_BYTES ? want : READ_BYTES, 1);
        reader->capacity = want > READ_BYTES ? want : READ_BYTES;
        if (reader->filled > reader->capacity)
            reader->filled = 0;
    }
    if (at >= reader->buffer_at && at < reader->buffer_at + reader->filled && reader->next_frame <= reader->trusted) {
        keep = (size_t)(reader->buffer_at + reader->filled - at);
        memmove(reader->buffer, reader->buffer + (at - reader->buffer_at), keep);
    }
    reader->trusted = log_durable(reader->log).value;
    reader->buffer_at = at;
    reader->filled = keep;
    if (keep < want) {
        status = log_source_read(reader->source, at + keep, reader->buffer + keep, size - keep, want - keep, &got, err);
        if (status != BANYAN_OK) {
            reader->filled = 0;
            return status;
        }
    }
    reader->filled = keep + got;
    reader->read_bytes = READ_BYTES;
    if (reader->filled < size)
        return damaged(reader, "the file ends", err);
    *ret = reader->buffer;
    return BANYAN_OK;
}

/* The next frame, which is durable, is in the next segment when that begins with its position.  A segment that begins
 * behind the durable end is not believed: an open batch made it, and may be given up; another one takes its place then.
 */
static enum banyan_status cross_segment(struct log_reader *reader, struct banyan_error *err)
{
    struct log *log = reader->log;

    if (reader->next_first == 0 &&
        __atomic_load_n(&log->shared.segment_count, __ATOMIC_ACQUIRE) > reader->segment + 1) {
        (void)pthread_mutex_lock(&log->lock);
        if (log->shared.segment_count > reader->segment + 1 &&
            log->shared.segments[reader->segment + 1]->first_position <= log->shared.durable)
            reader->next_first = log->shared.segments[reader->segment + 1]->first_position;
        (void)pthread_mutex_unlock(&log->lock);
    }
    if (reader->next_first != reader->next_frame)
        return BANYAN_OK;
    reader->frame_at = sizeof(struct segment_header);
    return open_segment(reader, reader->segment + 1, err);
}

/* Read the header of the next frame, which must be durable. */
static enum banyan_status read_header(struct log_reader *reader, struct frame_header *ret, struct banyan_error *err)
{
    enum banyan_status status = cross_segment(reader, err);
    const char *data;

    if (status == BANYAN_OK)
        status = need(reader, reader->frame_at, sizeof(*ret), &data, err);
    if (status != BANYAN_OK)
        return status;
    memcpy(ret, data, sizeof(*ret));
    if (ret->magic != FRAME_MAGIC || ret->offset != reader->base_offset + reader->frame_at ||
        ret->first_position != reader->next_frame || ret->size > LOG_RECORD_BYTES_MAX + LOG_FRAME_BYTES) {
        status = damaged(reader, "no frame of this place", err);
        banyan_error_detail(err,
                            "it says mark %08x, offset %" PRIu64 ", position %" PRIu64
                            ", %u bytes; expected offset %" PRIu64 ", and up to position %" PRIu64
                            " was durable when it was read",
                            ret->magic, ret->offset, ret->first_position, ret->size,
                            reader->base_offset + reader->frame_at, reader->trusted);
    }
    return status;
}

/* The frame that begins at byte *at* is the loaded one. */
static void use_frame(struct log_reader *reader, uint64_t at, const struct frame_header *header, const char *records)
{
    reader->frame_at = at + sizeof(*header) + header->size;
    reader->frame_first = header->first_position;
    reader->frame_begin = reader->cursor = records;
    reader->end = records + header->size;
    reader->recorded_at = header->recorded_at;
    reader->next_frame = header->first_position + header->record_count;
    reader->position = header->first_position;
}

/* Load the next frame from what another reader has checked. */
static bool load_shared(struct log_reader *reader)
{
    struct log_shared_frame *frame = log_shared_frame_take(&reader->log->frames, reader->next_frame);

    if (frame == NULL)
        return false;
    if (frame->segment != reader->segment) { /* we have to cross over first */
        log_shared_frame_give(frame);
        return false;
    }
    log_shared_frame_give(reader->shared);
    reader->shared = frame;
    use_frame(reader, frame->at, &frame->header, frame->records);
    return true;
}

/* Load the next frame that has records, checked. */
static enum banyan_status load_frame(struct log_reader *reader, struct banyan_error *err)
{
    struct frame_header header;
    enum banyan_status status;
    const char *data;
    uint32_t crc;

    do {
        status = read_header(reader, &header, err);
        if (status == BANYAN_OK)
            status = need(reader, reader->frame_at, sizeof(header) + header.size, &data, err);
        if (status != BANYAN_OK)
            return status;
        crc = crc32c(0, data + offsetof(struct frame_header, size),
                     sizeof(header) + header.size - offsetof(struct frame_header, size));
        if (crc != header.crc)
            return damaged(reader, "the checksum is wrong", err);
        reader->frame_at += sizeof(header) + header.size;
    } while (header.record_count == 0);
    use_frame(reader, reader->frame_at - sizeof(header) - header.size, &header, data + sizeof(header));
    return BANYAN_OK;
}

/* The next frame of a reader that goes through the log; near the end it is shared with those that do the same. */
static enum banyan_status follow_frame(struct log_reader *reader, uint64_t durable, struct banyan_error *err)
{
    bool near_end = durable - reader->next_frame < LOG_SHARED_POSITIONS;
    const struct frame_header *header;
    enum banyan_status status;

    if (near_end && load_shared(reader))
        return BANYAN_OK;
    status = load_frame(reader, err);
    if (status == BANYAN_OK && near_end) {
        header = (const struct frame_header *)(reader->frame_begin - sizeof(*header)); /* packed, in the buffer */
        log_shared_frame_add(&reader->log->frames, reader->segment, reader->frame_at - sizeof(*header) - header->size,
                             header, reader->frame_begin);
    }
    return status;
}

/* Step over one record of the loaded frame. */
static bool next_record(struct log_reader *reader, struct log_record *ret)
{
    uint64_t length = 0;
    size_t used = varint_get(reader->cursor, reader->end, &length);

    if (used == 0 || length >> 1 > (uint64_t)(reader->end - reader->cursor) - used)
        return false;
    ret->data.data = reader->cursor + used;
    ret->data.size = (size_t)(length >> 1);
    ret->ends_batch = (length & 1) != 0;
    ret->position.value = reader->position++;
    ret->recorded_at.us = reader->recorded_at;
    reader->cursor += used + ret->data.size;
    return true;
}

/* Put the reader in front of the frame that holds *position*. */
static enum banyan_status find_frame(struct log_reader *reader, uint64_t position, struct banyan_error *err)
{
    struct frame_header header;
    struct log_mark mark;
    size_t number = 0;
    enum banyan_status status = log_marks_find(reader->log, position, &number, &mark, err);

    if (status == BANYAN_OK && number != reader->segment)
        status = open_segment(reader, number, err);
    if (status != BANYAN_OK)
        return status;
    reader->frame_begin = reader->cursor = reader->end = NULL;
    reader->frame_at = mark.at;
    reader->next_frame = mark.position;
    reader->read_bytes = READ_BYTES_FIRST;
    for (;;) {
        status = read_header(reader, &header, err);
        if (status != BANYAN_OK || header.first_position + header.record_count > position)
            return status;
        reader->frame_at += sizeof(header) + header.size;
        reader->next_frame = header.first_position + header.record_count;
    }
}

bool log_reader_holds(const struct log_reader *reader, struct banyan_position position)
{
    return reader->frame_begin != NULL && position.value >= reader->frame_first && position.value < reader->next_frame;
}

enum banyan_status log_reader_seek(struct log_reader *reader, struct banyan_position position, struct banyan_error *err)
{
    uint64_t durable = log_durable(reader->log).value;
    enum banyan_status status = BANYAN_OK;
    struct log_record skipped;

    if (position.value == 0 || position.value > durable + 1)
        return banyan_error_set(err, BANYAN_INVALID, "position %" PRIu64 " is not between 1 and %" PRIu64,
                                position.value, durable + 1);
    if (position.value == durable + 1) { /* found when it is there */
        reader->frame_begin = reader->cursor = reader->end = NULL;
        reader->position = position.value;
        reader->next_frame = 0;
        return BANYAN_OK;
    }
    if (log_reader_holds(reader, position)) {
        if (position.value < reader->position) {
            reader->cursor = reader->frame_begin;
            reader->position = reader->frame_first;
        }
    } else {
        status = find_frame(reader, position.value, err);
        if (status == BANYAN_OK)
            status = load_frame(reader, err);
    }
    while (status == BANYAN_OK && reader->position < position.value) {
        if (!next_record(reader, &skipped))
            status = damaged(reader, "a record is longer than its frame", err);
    }
    return status;
}

enum banyan_status log_reader_next(struct log_reader *reader, struct log_record *ret, struct banyan_error *err)
{
    enum banyan_status status;
    uint64_t durable;

    if (reader->cursor == reader->end) {
        if (reader->position == 0)
            reader->position = 1;
        durable = log_durable(reader->log).value;
        if (reader->position > durable) {
            reader->read_bytes = READ_BYTES_FIRST; /* what comes will be little at a time */
            return BANYAN_NOT_FOUND;
        }
        /* next_frame 0: no place yet, the reader stood behind the last position. */
        status = reader->next_frame == 0 ? log_reader_seek(reader, (struct banyan_position){reader->position}, err)
                                         : follow_frame(reader, durable, err);
        if (status != BANYAN_OK)
            return status;
    }
    if (!next_record(reader, ret))
        return damaged(reader, "a record is longer than its frame", err);
    return BANYAN_OK;
}
