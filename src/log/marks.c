/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks: where positions are in a segment, and how late its records are.
 *
 * The segment that is written to has its marks in memory.  Those of a sealed one are in a file beside it (`.idx`), made
 * when it was sealed and read when somebody first looks for a position there; of many segments only the last used stay
 * in memory.  The file is derived: it is never flushed, and where it is missing, torn or of other bytes (its checksum
 * and the chain at both ends of the segment say so) it is made anew from the headers of the segment's frames.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/log_int.h"

enum {
    SCAN_BYTES = 16 * 1024, /* read at once for headers: most frames are longer and are stepped over */
};

/* ---- in memory ---- */

void log_marks_add(struct log_marks *marks, const struct frame_header *frame, uint64_t at)
{
    struct log_mark *last = marks->count == 0 ? NULL : &marks->items[marks->count - 1];
    int64_t recorded_at = frame->record_count == 0 ? INT64_MIN : frame->recorded_at;

    if (last != NULL && at - last->at < LOG_MARK_BYTES) {
        if (recorded_at > last->recorded_max)
            last->recorded_max = recorded_at;
        return;
    }
    if (marks->count == marks->capacity) {
        marks->capacity = marks->capacity == 0 ? 16 : marks->capacity * 2;
        marks->items = alloc_resized(marks->items, marks->capacity, sizeof(*marks->items));
    }
    marks->items[marks->count++] = (struct log_mark){frame->first_position, at, recorded_at};
}

void log_marks_cut(struct log_marks *marks, uint64_t position)
{
    while (marks->count > 0 && marks->items[marks->count - 1].position >= position)
        marks->count--;
}

void log_marks_release(struct log_marks *marks)
{
    free(marks->items);
    *marks = (struct log_marks){.items = NULL};
}

static struct log_mark find(const struct log_segment *segment, uint64_t position)
{
    const struct log_marks *marks = &segment->marks;
    size_t low = 0, high = marks->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (marks->items[middle].position <= position)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return (struct log_mark){segment->first_position, sizeof(struct segment_header), INT64_MIN};
    return marks->items[low - 1];
}

/* ---- of a sealed segment ---- */

/* What a sealed segment's marks are about. */
struct sealed {
    const struct log_segment *segment;
    struct marks_header facts; /* all but crc and mark_count */
    uint64_t bytes;            /* of the segment: header and frames */
};

struct marks_header log_sealed_facts(struct log *log, size_t number)
{
    const struct log_segment *segment = log->shared.segments[number], *next = log->shared.segments[number + 1];
    struct marks_header facts = {
        .magic = MARKS_MAGIC,
        .format = MARKS_FORMAT,
        .log_id = log->id,
        .first_position = segment->first_position,
        .base_offset = segment->base_offset,
        .next_position = next->first_position,
        .next_offset = next->base_offset,
    };

    memcpy(facts.chain_before, segment->chain, LOG_CHAIN_BYTES);
    memcpy(facts.chain_after, next->chain, LOG_CHAIN_BYTES);
    return facts;
}

static struct sealed sealed_of(struct log *log, size_t number)
{
    struct sealed sealed = {.segment = log->shared.segments[number], .facts = log_sealed_facts(log, number)};

    sealed.bytes = sealed.facts.next_offset - sealed.facts.base_offset;
    return sealed;
}

static uint32_t checksum(const struct marks_header *header, const struct log_mark *marks)
{
    size_t from = offsetof(struct marks_header, format);
    uint32_t crc = crc32c(0, (const char *)header + from, sizeof(*header) - from);

    return crc32c(crc, marks, header->mark_count * sizeof(*marks));
}

/* Read *file*; false: it does not say what it must. */
static bool read_file(struct os_files *files, struct os_file *file, const struct sealed *sealed, struct log_marks *ret)
{
    struct marks_header header, wanted = sealed->facts;
    uint64_t size = 0;
    size_t got = 0, bytes;

    if (files->size(file, &size, NULL) != BANYAN_OK ||
        files->read(file, 0, &header, sizeof(header), &got, NULL) != BANYAN_OK || got != sizeof(header))
        return false;
    wanted.crc = header.crc;
    wanted.mark_count = header.mark_count;
    if (memcmp(&header, &wanted, sizeof(header)) != 0 || header.mark_count > sealed->bytes / LOG_MARK_BYTES + 1)
        return false;
    bytes = header.mark_count * sizeof(struct log_mark);
    if (size != sizeof(header) + bytes)
        return false;
    ret->items = alloc_zeroed(header.mark_count == 0 ? 1 : header.mark_count, sizeof(*ret->items));
    ret->count = ret->capacity = header.mark_count;
    if (files->read(file, sizeof(header), ret->items, bytes, &got, NULL) == BANYAN_OK && got == bytes &&
        checksum(&header, ret->items) == header.crc)
        return true;
    log_marks_release(ret);
    return false;
}

static bool read_marks(struct log *log, const struct sealed *sealed, struct log_marks *ret)
{
    struct os_files *files = log->options.files;
    char *path = log_segment_path(log->options.folder, sealed->facts.first_position, LOG_MARKS_SUFFIX);
    struct os_file *file = NULL;
    bool ok = files->open(files, path, false, &file, NULL) == BANYAN_OK && read_file(files, file, sealed, ret);

    files->close(file);
    free(path);
    return ok;
}

/* Not flushed, and allowed to fail: without it the marks are made anew. */
static void write_marks(struct log *log, const struct sealed *sealed, const struct log_marks *marks)
{
    struct os_files *files = log->options.files;
    char *path = log_segment_path(log->options.folder, sealed->facts.first_position, LOG_MARKS_SUFFIX);
    struct marks_header header = sealed->facts;
    size_t bytes = marks->count * sizeof(*marks->items);
    enum banyan_status status;
    struct os_file *file = NULL;

    header.mark_count = (uint32_t)marks->count;
    header.crc = checksum(&header, marks->items);
    status = files->open(files, path, true, &file, NULL);
    if (status == BANYAN_OK)
        status = files->write(file, 0, &header, sizeof(header), NULL);
    if (status == BANYAN_OK)
        status = files->write(file, sizeof(header), marks->items, bytes, NULL);
    if (status == BANYAN_OK)
        status = files->truncate(file, sizeof(header) + bytes, NULL);
    files->close(file);
    if (status != BANYAN_OK)
        (void)files->remove(files, path, NULL); /* half a file is as good as none */
    free(path);
}

/* Frames of a sealed segment, by their headers alone. */
struct walk {
    const struct sealed *sealed;
    struct log_source *source;
    char *data; /* owned; SCAN_BYTES */
    uint64_t at;
    size_t size;
};

static enum banyan_status walk_get(struct walk *walk, uint64_t at, size_t size, const char **ret,
                                   struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    if (at < walk->at || at + size > walk->at + walk->size) {
        walk->at = at;
        status = log_source_read(walk->source, at, walk->data, size, SCAN_BYTES, &walk->size, err);
    }
    *ret = status == BANYAN_OK && walk->size >= size ? walk->data + (at - walk->at) : NULL;
    return status;
}

/* *ret_frame: the header of the frame at *at*; false where none says that it lies there. */
static bool frame_here(const struct walk *walk, const char *data, uint64_t at, struct frame_header *ret_frame)
{
    if (data == NULL)
        return false;
    memcpy(ret_frame, data, sizeof(*ret_frame));
    return ret_frame->magic == FRAME_MAGIC && ret_frame->offset == walk->sealed->facts.base_offset + at &&
           ret_frame->size <= walk->sealed->bytes - at;
}

/* Behind a damaged header: the next place at or behind *at* that has a frame; the end where there is none.  Who reads
 * the damaged frame is told; the others are found. */
static enum banyan_status next_frame(struct walk *walk, uint64_t *at, struct banyan_error *err)
{
    const uint32_t magic = FRAME_MAGIC;
    struct frame_header frame;
    const char *data, *found;

    for (; *at + sizeof(frame) <= walk->sealed->bytes; ++*at) {
        enum banyan_status status = walk_get(walk, *at, sizeof(frame), &data, err);

        if (status != BANYAN_OK || data == NULL)
            return status;
        found = memmem(data, walk->size - (size_t)(*at - walk->at), &magic, sizeof(magic));
        if (found == NULL) {
            *at = walk->at + walk->size - sizeof(magic);
            continue;
        }
        *at += (uint64_t)(found - data);
        status = walk_get(walk, *at, sizeof(frame), &data, err);
        if (status != BANYAN_OK || frame_here(walk, data, *at, &frame))
            return status;
    }
    *at = walk->sealed->bytes;
    return BANYAN_OK;
}

static enum banyan_status make_marks(struct log *log, const struct sealed *sealed, struct log_marks *ret,
                                     struct banyan_error *err)
{
    struct walk walk = {.sealed = sealed};
    enum banyan_status status = log_source_open(&log->folders, sealed->facts.first_position, &walk.source, err);
    uint64_t at = sizeof(struct segment_header);

    walk.data = alloc_zeroed(1, SCAN_BYTES);
    while (status == BANYAN_OK && at + sizeof(struct frame_header) <= sealed->bytes) {
        struct frame_header frame;
        const char *data;

        status = walk_get(&walk, at, sizeof(frame), &data, err);
        if (status != BANYAN_OK)
            break;
        if (data == NULL || !frame_here(&walk, data, at, &frame)) {
            at++;
            status = next_frame(&walk, &at, err);
            continue;
        }
        log_marks_add(ret, &frame, at);
        at += sizeof(frame) + frame.size;
    }
    log_source_close(walk.source);
    free(walk.data);
    if (status != BANYAN_OK)
        log_marks_release(ret);
    return status;
}

/* With the lock: bring memory back to its bound.  What was not saved is not given up. */
static void forget_some(struct log *log)
{
    while (log->shared.marked_segments > LOG_MARKED_SEGMENTS_MAX) {
        struct log_segment *oldest = NULL;

        for (size_t i = 0; i < log->shared.saved; i++) {
            struct log_segment *segment = log->shared.segments[i];

            if (segment->marked && (oldest == NULL || segment->touched < oldest->touched))
                oldest = segment;
        }
        if (oldest == NULL)
            return;
        log_marks_release(&oldest->marks);
        oldest->marked = false;
        log->shared.marked_segments--;
    }
}

/* With the lock, which is released meanwhile: the marks of segment *number* are in memory afterwards. */
static enum banyan_status load_marks(struct log *log, size_t number, struct banyan_error *err)
{
    struct log_segment *segment = log->shared.segments[number];
    struct log_marks marks = {.items = NULL};
    enum banyan_status status = BANYAN_OK;
    struct sealed sealed;

    segment->touched = ++log->shared.touches;
    if (segment->marked)
        return BANYAN_OK;
    sealed = sealed_of(log, number);
    (void)pthread_mutex_unlock(&log->lock);
    if (!read_marks(log, &sealed, &marks)) {
        status = make_marks(log, &sealed, &marks, err);
        if (status == BANYAN_OK && !log->options.read_only)
            write_marks(log, &sealed, &marks);
    }
    (void)pthread_mutex_lock(&log->lock);
    if (status != BANYAN_OK || segment->marked) {
        log_marks_release(&marks);
        return status;
    }
    segment->marks = marks;
    segment->marked = true;
    log->shared.marked_segments++;
    forget_some(log);
    return BANYAN_OK;
}

bool log_marks_can_save(const struct log *log)
{
    size_t next = log->shared.saved + 1;

    /* A durable record in the next one: no abort takes that away again. */
    return next < log->shared.segment_count && log->shared.segments[next]->first_position <= log->shared.durable;
}

void log_marks_save(struct log *log)
{
    struct sealed sealed = sealed_of(log, log->shared.saved);
    const struct log_marks *marks =
        &sealed.segment->marks; /* complete, and nobody gives them up before they are saved */

    (void)pthread_mutex_unlock(&log->lock);
    write_marks(log, &sealed, marks);
    (void)pthread_mutex_lock(&log->lock);
    log->shared.saved++;
    forget_some(log);
}

/* ---- questions ---- */

enum banyan_status log_marks_find(struct log *log, uint64_t position, size_t *ret_segment, struct log_mark *ret,
                                  struct banyan_error *err)
{
    enum banyan_status status;
    size_t number;

    (void)pthread_mutex_lock(&log->lock);
    number = log_segments_find(log, position);
    status = load_marks(log, number, err);
    if (status == BANYAN_OK) {
        *ret_segment = number;
        *ret = find(log->shared.segments[number], position);
    }
    (void)pthread_mutex_unlock(&log->lock);
    return status;
}

/* With the lock: the first place at or behind segment *number* whose records may be of *time* or later.
 * *ret_segment: segment_count where there is none. */
static enum banyan_status find_time(struct log *log, int64_t time, size_t *ret_segment, struct log_mark *ret,
                                    struct banyan_error *err)
{
    for (size_t i = *ret_segment; i < log->shared.segment_count; i++) {
        struct log_segment *segment = log->shared.segments[i];
        enum banyan_status status;
        size_t mark = 0;

        *ret_segment = i;
        if (segment->recorded_known && segment->recorded_max < time)
            continue;
        status = load_marks(log, i, err);
        if (status != BANYAN_OK)
            return status;
        while (mark < segment->marks.count && segment->marks.items[mark].recorded_max < time)
            mark++;
        if (mark < segment->marks.count) {
            *ret = segment->marks.items[mark];
            return BANYAN_OK;
        }
        if (i < log->shared.saved) { /* its marks change no more */
            segment->recorded_max = INT64_MIN;
            for (mark = 0; mark < segment->marks.count; mark++) {
                if (segment->marks.items[mark].recorded_max > segment->recorded_max)
                    segment->recorded_max = segment->marks.items[mark].recorded_max;
            }
            segment->recorded_known = true;
        }
    }
    *ret_segment = log->shared.segment_count;
    return BANYAN_OK;
}

enum banyan_status log_position_at(struct log *log, struct banyan_time time, struct banyan_position *ret,
                                   struct banyan_error *err)
{
    struct log_reader *reader = log_reader_open(log);
    uint64_t durable = log_durable(log).value, found = durable + 1;
    struct log_mark mark = {.position = durable + 1};
    enum banyan_status status;
    struct log_record record;
    size_t number = 0;

    (void)pthread_mutex_lock(&log->lock);
    status = find_time(log, time.us, &number, &mark, err);
    (void)pthread_mutex_unlock(&log->lock);
    if (status == BANYAN_OK && mark.position <= durable) {
        status = log_reader_seek(reader, (struct banyan_position){mark.position}, err);
        found = mark.position;
        while (status == BANYAN_OK) {
            status = log_reader_next(reader, &record, err);
            if (status != BANYAN_OK || record.recorded_at.us >= time.us)
                break;
            found = record.position.value + 1;
        }
    }
    if (status == BANYAN_NOT_FOUND) /* what the mark promised is not durable yet */
        status = BANYAN_OK;
    if (status == BANYAN_OK)
        ret->value = found;
    log_reader_close(reader);
    return status;
}
