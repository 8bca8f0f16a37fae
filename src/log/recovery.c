/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a log: read the headers of all segments and the frames of the last one, tell a torn tail from damage, cut the
 * tail.
 *
 * A segment's header is written only after all before it was flushed.  So nothing before the last whole header can be
 * torn, and a process that ends in any way leaves work for recovery only behind it.  Older segments are not read: what
 * rots there is found by who reads it (every frame is checked) and by verification; looking at one or two of them here
 * would find no more of it than chance.  Their headers must be whole and their files long enough, each link to the one
 * before must hold; that finds what is missing.
 *
 * In the last segment frames are read until one is not what it must be (magic, CRC-32C, its offset, its first
 * position). Let O be the offset in the log of that place.  Each frame says up to which offset the log had been flushed
 * when it was written.  So
 *
 *     a whole frame behind O that says "flushed" > O   →  O was acknowledged: CORRUPT
 *     nothing of the kind                              →  O was being written: cut
 *
 * A batch may span segments; when no batch ends in the last one, the end of the last whole batch is looked for in those
 * before.
 *
 * What is cut goes last segment first, so that a crash in between leaves a log whose end is torn, never one with a
 * hole. A reader that opens beside a running writer can meet half-written frames: it looks again before it says
 * CORRUPT.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/log_int.h"

enum {
    WINDOW_BYTES = 1024 * 1024,
    READ_ONLY_ATTEMPTS = 5,
};

/* A piece of a file in memory. */
struct window {
    struct os_files *files;
    struct os_file *file;
    char *data; /* owned */
    size_t size, capacity;
    uint64_t at;         /* byte in the file of data[0] */
    uint64_t file_bytes; /* size of the file */
};

struct scan {
    struct log *log;
    struct window window;
    size_t last; /* segment with the last whole header; SIZE_MAX: none */
    uint64_t next_position;
    uint64_t at;   /* byte in that segment where the next frame must be */
    bool in_batch; /* the last frame said that its batch continues */
    struct log_end end;
    uint64_t dirty_end;   /* byte in the file searched last behind the last one that is not zero */
    uint64_t dirty_bytes; /* behind scan->at, over all files */
};

static void window_close(struct window *window)
{
    if (window->file != NULL)
        window->files->close(window->file);
    window->file = NULL;
    window->size = 0;
}

static enum banyan_status window_open(struct window *window, const char *path, struct banyan_error *err)
{
    enum banyan_status status;

    window_close(window);
    status = window->files->open(window->files, path, false, &window->file, err);
    if (status == BANYAN_OK)
        status = window->files->size(window->file, &window->file_bytes, err);
    return status;
}

/* *ret points to *size* bytes of the file from *at* on; NULL when the file has fewer. */
static enum banyan_status window_get(struct window *window, uint64_t at, size_t size, const char **ret,
                                     struct banyan_error *err)
{
    enum banyan_status status;
    size_t want = size > WINDOW_BYTES ? size : WINDOW_BYTES;

    *ret = NULL;
    if (at > window->file_bytes || window->file_bytes - at < size)
        return BANYAN_OK;
    if (at < window->at || at + size > window->at + window->size) {
        if (want > window->capacity) {
            window->data = alloc_resized(window->data, want, 1);
            window->capacity = want;
        }
        window->at = at;
        window->size = 0;
        status = window->files->read(window->file, at, window->data, want, &window->size, err);
        if (status != BANYAN_OK)
            return status;
        if (window->size < size)
            return BANYAN_OK;
    }
    *ret = window->data + (at - window->at);
    return BANYAN_OK;
}

/* *ret: the whole frame at *at* whose checksum is right; NULL when there is none. */
static enum banyan_status whole_frame(struct window *window, uint64_t at, const struct frame_header **ret,
                                      struct banyan_error *err)
{
    const char *data;
    struct frame_header header;
    enum banyan_status status = window_get(window, at, sizeof(header), &data, err);

    *ret = NULL;
    if (status != BANYAN_OK || data == NULL)
        return status;
    memcpy(&header, data, sizeof(header));
    if (header.magic != FRAME_MAGIC || header.size > window->file_bytes)
        return BANYAN_OK;
    status = window_get(window, at, sizeof(header) + header.size, &data, err);
    if (status != BANYAN_OK || data == NULL)
        return status;
    if (crc32c(0, data + offsetof(struct frame_header, size),
               sizeof(header) + header.size - offsetof(struct frame_header, size)) != header.crc)
        return BANYAN_OK;
    *ret = (const struct frame_header *)data;
    return BANYAN_OK;
}

/* Read frames of segment *number* until something is no frame of its place. */
static enum banyan_status scan_frames(struct scan *scan, size_t number, struct banyan_error *err)
{
    struct log_segment *segment = scan->log->shared.segments[number];
    const struct frame_header *frame;
    enum banyan_status status = window_open(&scan->window, segment->path, err);
    bool first = true;

    scan->at = sizeof(struct segment_header);
    scan->next_position = segment->first_position;
    scan->in_batch = false;
    for (; status == BANYAN_OK; first = false) {
        bool continued;

        status = whole_frame(&scan->window, scan->at, &frame, err);
        if (status != BANYAN_OK || frame == NULL)
            return status;
        continued = (frame->flags & FRAME_CONTINUED) != 0;
        if (frame->offset != segment->base_offset + scan->at || frame->first_position != scan->next_position ||
            (!first && continued != scan->in_batch))
            return BANYAN_OK;
        log_marks_add(&segment->marks, frame, scan->at);
        scan->at += sizeof(*frame) + frame->size;
        scan->next_position += frame->record_count;
        scan->in_batch = (frame->flags & FRAME_CONTINUES) != 0;
        if (scan->in_batch)
            continue;
        scan->end = (struct log_end){.segment = segment, .at = scan->at, .position = scan->next_position - 1};
        memcpy(scan->end.chain, frame->chain, LOG_CHAIN_BYTES);
    }
    return status;
}

static enum banyan_status corrupt(const struct log_segment *segment, uint64_t at, uint64_t position,
                                  struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_CORRUPT, "%s is damaged at byte %" PRIu64 ", position %" PRIu64, segment->path,
                           at, position);
    banyan_error_detail(err, "what follows was written after this place had been flushed, so it is no torn tail");
    banyan_error_hint(err, "nothing was changed; restore this file from a copy, or from a replica of the log");
    return BANYAN_CORRUPT;
}

static bool all_zero(const char *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* Is there in *segment*, from byte *from* on, a frame that proves that *offset* had been flushed?  *ret_base: where it
 * says that its segment begins. */
static enum banyan_status search_proof(struct scan *scan, const struct log_segment *segment, uint64_t from,
                                       uint64_t offset, bool *ret, uint64_t *ret_base, struct banyan_error *err)
{
    struct window *window = &scan->window;
    const uint32_t magic = FRAME_MAGIC;
    enum banyan_status status = window_open(window, segment->path, err);

    scan->dirty_end = 0;
    for (uint64_t at = from; status == BANYAN_OK && at < window->file_bytes;) {
        size_t left = window->file_bytes - at < WINDOW_BYTES ? (size_t)(window->file_bytes - at) : WINDOW_BYTES;
        const struct frame_header *frame;
        const char *data, *found;

        status = window_get(window, at, left, &data, err);
        if (status != BANYAN_OK || data == NULL)
            return status;
        if (all_zero(data, left)) {
            at += left;
            continue;
        }
        for (size_t i = left; i > 0 && scan->dirty_end < at + i; i--) {
            if (data[i - 1] != 0)
                scan->dirty_end = at + i;
        }
        found = memmem(data, left, &magic, sizeof(magic));
        if (found == NULL) {
            at += left <= sizeof(magic) ? left : left - (sizeof(magic) - 1);
            continue;
        }
        at += (size_t)(found - data);
        status = whole_frame(window, at, &frame, err);
        if (status == BANYAN_OK && frame != NULL && frame->flushed > offset && frame->flushed <= frame->offset) {
            *ret = true;
            *ret_base = frame->offset - at;
            return BANYAN_OK;
        }
        at++;
    }
    return status;
}

/* Reading stopped at scan->at of the last segment with a whole header.  CORRUPT when that place had been
 * acknowledged. */
static enum banyan_status judge_tail(struct scan *scan, struct banyan_error *err)
{
    struct log *log = scan->log;
    size_t first = scan->last == SIZE_MAX ? 0 : scan->last;
    struct log_segment *segment = log->shared.segments[first];
    uint64_t offset = segment->base_offset + scan->at, base = 0;
    enum banyan_status status = BANYAN_OK;
    bool proof = false;

    for (size_t i = first; i < log->shared.segment_count; i++) {
        struct log_segment *other = log->shared.segments[i];
        uint64_t from = i == first ? scan->at : 0;

        status = search_proof(scan, other, from, offset, &proof, &base, err);
        if (status != BANYAN_OK)
            return status;
        if (proof && i != first && base == offset) /* all before it is there: its own header is not */
            return corrupt(other, 0, other->first_position, err);
        if (proof)
            return corrupt(segment, scan->at, scan->next_position, err);
        if (scan->dirty_end > from)
            scan->dirty_bytes += scan->dirty_end - from;
    }
    return BANYAN_OK;
}

/* ---- headers ---- */

/* *ret_whole: false when the header was never written, or is damaged. */
static enum banyan_status read_header(struct log *log, struct log_segment *segment, struct segment_header *ret,
                                      bool *ret_whole, struct banyan_error *err)
{
    struct log_source *source = NULL;
    enum banyan_status status = log_source_open(&log->folders, segment->first_position, &source, err);
    size_t got = 0;

    if (status == BANYAN_OK)
        status = log_source_read(source, 0, ret, sizeof(*ret), sizeof(*ret), &got, err);
    if (status == BANYAN_OK) {
        segment->capacity = log_source_bytes(source);
        segment->cold = log_source_is_cold(source);
    }
    log_source_close(source);
    *ret_whole = status == BANYAN_OK && got == sizeof(*ret) && log_segment_check_header(ret);
    if (*ret_whole && ret->format != SEGMENT_FORMAT)
        return banyan_error_set(err, BANYAN_INVALID, "%s has format %u; this program reads format %d", segment->path,
                                ret->format, SEGMENT_FORMAT);
    return status;
}

/* The whole header of segment *number*, seen beside those before. */
static enum banyan_status check_header(struct scan *scan, size_t number, const struct segment_header *header,
                                       struct banyan_error *err)
{
    struct log *log = scan->log;
    struct log_segment *segment = log->shared.segments[number], *before;
    uint64_t used;

    if (scan->last == SIZE_MAX && number == 0)
        log->id = header->log_id;
    if (number != 0 && scan->last != number - 1) { /* it was written after all before it had been flushed */
        before = log->shared.segments[scan->last == SIZE_MAX ? 0 : scan->last + 1];
        return corrupt(before, 0, before->first_position, err);
    }
    if (!banyan_uuid_equal(header->log_id, log->id) || header->first_position != segment->first_position) {
        (void)banyan_error_set(err, BANYAN_CORRUPT, "%s is a segment of another log or has another name",
                               segment->path);
        banyan_error_hint(err, "nothing was changed; take the file away");
        return BANYAN_CORRUPT;
    }
    segment->base_offset = header->base_offset;
    memcpy(segment->chain, header->chain, LOG_CHAIN_BYTES);
    if (number == 0)
        return header->base_offset == 0 ? BANYAN_OK : corrupt(segment, 0, segment->first_position, err);
    before = log->shared.segments[number - 1];
    used = header->base_offset - before->base_offset;
    if (header->previous_position != 0 && header->previous_position != before->first_position) {
        (void)banyan_error_set(err, BANYAN_CORRUPT, "%s: the segment with position %" PRIu64 " is missing",
                               log->options.folder, header->previous_position);
        banyan_error_hint(err, "nothing was changed; put the missing files back");
        return BANYAN_CORRUPT;
    }
    if (header->base_offset <= before->base_offset || used > before->capacity)
        return corrupt(before, used > before->capacity ? before->capacity : 0, before->first_position, err);
    return BANYAN_OK;
}

static enum banyan_status read_headers(struct scan *scan, struct banyan_error *err)
{
    struct log *log = scan->log;

    for (size_t i = 0; i < log->shared.segment_count; i++) {
        struct segment_header header;
        bool whole = false;
        enum banyan_status status = read_header(log, log->shared.segments[i], &header, &whole, err);

        if (status == BANYAN_OK && whole)
            status = check_header(scan, i, &header, err);
        if (status != BANYAN_OK)
            return status;
        if (whole)
            scan->last = i;
    }
    return BANYAN_OK;
}

/* No batch ends in the last segment: look in those before. */
static enum banyan_status find_end(struct scan *scan, struct banyan_error *err)
{
    struct log *log = scan->log;
    struct scan older = *scan;

    for (size_t i = scan->last; i > 0 && older.end.segment == NULL; i--) {
        struct log_segment *segment = log->shared.segments[i - 1], *next = log->shared.segments[i];
        enum banyan_status status = scan_frames(&older, i - 1, err);

        if (status == BANYAN_OK &&
            (segment->base_offset + older.at != next->base_offset || older.next_position != next->first_position))
            status = corrupt(segment, older.at, older.next_position, err);
        scan->window = older.window;
        if (status != BANYAN_OK)
            return status;
    }
    scan->end = older.end;
    return BANYAN_OK;
}

/* What an archiving that was interrupted left. */
static void remove_unfinished(struct log *log)
{
    struct os_files *files = log->options.files;
    char **names = NULL;

    if (log->options.read_only || log->folders.cold == NULL ||
        files->list(files, log->folders.cold, &names, NULL) != BANYAN_OK)
        return;
    for (size_t i = 0; names[i] != NULL; i++) {
        size_t size = strlen(names[i]), suffix = strlen(LOG_COLD_NEW_SUFFIX);

        if (size > suffix && strcmp(names[i] + size - suffix, LOG_COLD_NEW_SUFFIX) == 0) {
            size_t bytes = strlen(log->folders.cold) + size + 2;
            char *path = alloc_zeroed(1, bytes);

            (void)snprintf(path, bytes, "%s/%s", log->folders.cold, names[i]); /* fits: counted above */
            (void)files->remove(files, path, NULL);                            /* it is in nobody's way */
            free(path);
        }
        free(names[i]);
    }
    free(names);
}

/* Make the table of the segments. */
static enum banyan_status list_segments(struct log *log, struct banyan_error *err)
{
    uint64_t *firsts = NULL;
    size_t count = 0;
    enum banyan_status status = log_segments_list(&log->folders, &firsts, &count, err);

    for (size_t i = 0; i < count; i++)
        log_segments_add(log, log_segment_new(log->options.folder, firsts[i], 0));
    free(firsts);
    return status;
}

/* Only sealed segments are archived: the last one is missing. */
static enum banyan_status check_last(const struct scan *scan, struct banyan_error *err)
{
    const struct log_segment *last = scan->last == SIZE_MAX ? NULL : scan->log->shared.segments[scan->last];

    if (last == NULL || !last->cold)
        return BANYAN_OK;
    (void)banyan_error_set(err, BANYAN_CORRUPT,
                           "%s: the segment behind the archived one with position %" PRIu64 " is missing",
                           scan->log->options.folder, last->first_position);
    banyan_error_hint(err, "nothing was changed; put the missing files back");
    return BANYAN_CORRUPT;
}

static void forget_segments(struct log *log, size_t keep)
{
    while (log->shared.segment_count > keep) {
        struct log_segment *segment = log->shared.segments[log->shared.segment_count - 1];

        __atomic_store_n(&log->shared.segment_count, log->shared.segment_count - 1, __ATOMIC_RELEASE);
        log->options.files->close(segment->file);
        log_segment_unload(log, segment);
        log_segment_free(segment);
    }
    if (log->shared.saved >= keep)
        log->shared.saved = keep == 0 ? 0 : keep - 1;
}

/* Give the segment of *end* back its reserved zeros behind it, and put the writer there. */
static enum banyan_status cut_segment(struct log *log, const struct log_end *end, struct banyan_error *err)
{
    struct os_files *files = log->options.files;
    struct log_segment *segment = end->segment;
    enum banyan_status status = BANYAN_OK;

    if (segment->file == NULL)
        status = files->open(files, segment->path, false, &segment->file, err);
    if (status == BANYAN_OK)
        status = files->truncate(segment->file, end->at, err);
    if (status != BANYAN_OK)
        return status;
    if (files->allocate(segment->file, segment->capacity, NULL) != BANYAN_OK)
        segment->capacity = end->at; /* the disk is full: the next frame asks for a segment of its own */
    return files->sync(segment->file, err);
}

enum banyan_status log_cut(struct log *log, const struct log_end *end, struct banyan_error *err)
{
    struct os_files *files = log->options.files;
    enum banyan_status status = BANYAN_OK;
    size_t keep = 0;

    while (end->segment != NULL && log->shared.segments[keep++] != end->segment)
        ;
    for (size_t i = log->shared.segment_count; i > keep && status == BANYAN_OK; i--) {
        status = files->remove(files, log->shared.segments[i - 1]->path, err);
        if (status == BANYAN_OK)
            status = files->sync_folder(files, log->options.folder, err);
    }
    if (status == BANYAN_OK && end->segment != NULL && end->at != 0)
        status = cut_segment(log, end, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "cutting the torn end of the log");
        return status;
    }
    (void)pthread_mutex_lock(&log->lock);
    forget_segments(log, keep);
    if (end->segment != NULL && end->at != 0)
        log_marks_cut(&end->segment->marks, end->position + 1);
    (void)pthread_mutex_unlock(&log->lock);
    if (end->segment != NULL && end->at == 0)
        return BANYAN_OK; /* all that was written stays */
    log->out.segment = end->segment;
    log->out.at = end->at;
    log->out.dirty = false;
    log->out.flushed = end->segment == NULL ? 0 : end->segment->base_offset + end->at;
    memcpy(log->out.chain, end->chain, LOG_CHAIN_BYTES);
    if (end->segment != NULL)
        end->segment->assigned = end->at;
    return BANYAN_OK;
}

/* All that was found whole becomes durable before anybody sees it: the process that wrote it may have been killed
 * before its flush. */
static enum banyan_status keep_whole(struct log *log, struct scan *scan, struct banyan_error *err)
{
    struct os_files *files = log->options.files;
    struct log_segment *segment = scan->end.segment;
    enum banyan_status status = BANYAN_OK;

    if (segment != NULL) {
        status = files->open(files, segment->path, false, &segment->file, err);
        if (status == BANYAN_OK)
            status = files->sync(segment->file, err);
        if (status == BANYAN_OK)
            status = files->sync_folder(files, log->options.folder, err);
        if (status == BANYAN_OK)
            status = files->size(segment->file, &segment->capacity, err);
    }
    return status;
}

static enum banyan_status finish(struct log *log, struct scan *scan, struct banyan_error *err)
{
    struct log_segment *last =
        log->shared.segment_count == 0 ? NULL : log->shared.segments[log->shared.segment_count - 1];
    uint64_t end_offset = scan->end.segment == NULL ? 0 : scan->end.segment->base_offset + scan->end.at;
    uint64_t offset = scan->at + (scan->last == SIZE_MAX ? 0 : log->shared.segments[scan->last]->base_offset);
    bool torn = last != scan->end.segment || scan->dirty_bytes > 0 || offset != end_offset;
    enum banyan_status status = keep_whole(log, scan, err);

    if (status != BANYAN_OK)
        return status;
    log->out.end = scan->end;
    log->shared.durable = log->shared.tail = scan->end.position;
    if (torn && !log->options.read_only) {
        log->shared.stats.torn_bytes_cut = offset + scan->dirty_bytes - end_offset;
        return log_cut(log, &scan->end, err);
    }
    if (torn) {
        size_t keep = 0;

        while (scan->end.segment != NULL && log->shared.segments[keep++] != scan->end.segment)
            ;
        forget_segments(log, keep);
        if (scan->end.segment != NULL)
            log_marks_cut(&scan->end.segment->marks, scan->end.position + 1);
    }
    log->out.segment = scan->end.segment;
    log->out.at = scan->end.at;
    log->out.flushed = end_offset;
    log->shared.stats.bytes = end_offset;
    memcpy(log->out.chain, scan->end.chain, LOG_CHAIN_BYTES);
    if (scan->end.segment != NULL)
        scan->end.segment->assigned = scan->end.at;
    return BANYAN_OK;
}

/* The last segment has its marks in memory; the others are read when they are needed. */
static void settle_marks(struct log *log)
{
    size_t count = log->shared.segment_count;

    for (size_t i = 0; i + 1 < count; i++)
        log_segment_unload(log, log->shared.segments[i]);
    if (count == 0)
        return;
    log->shared.segments[count - 1]->marked = true;
    log->shared.marked_segments = 1;
    log->shared.saved = count - 1;
}

static enum banyan_status recover_once(struct log *log, struct banyan_error *err)
{
    struct scan scan = {.log = log, .window = {.files = log->options.files}, .last = SIZE_MAX, .next_position = 1};
    enum banyan_status status = list_segments(log, err);

    if (status == BANYAN_OK && log->shared.segment_count > 0 && log->shared.segments[0]->first_position != 1) {
        status =
            banyan_error_set(err, BANYAN_CORRUPT, "%s: the segment with position 1 is missing", log->options.folder);
        banyan_error_hint(err, "nothing was changed; put the missing files back, or the folder of archived segments");
    }
    if (status == BANYAN_OK)
        status = read_headers(&scan, err);
    if (status == BANYAN_OK)
        status = check_last(&scan, err);
    if (status == BANYAN_OK && scan.last != SIZE_MAX)
        status = scan_frames(&scan, scan.last, err);
    if (status == BANYAN_OK && log->shared.segment_count > 0)
        status = judge_tail(&scan, err);
    if (status == BANYAN_OK && scan.last != SIZE_MAX && scan.end.segment == NULL)
        status = find_end(&scan, err);
    if (status == BANYAN_OK)
        status = finish(log, &scan, err);
    if (status == BANYAN_OK)
        remove_unfinished(log);
    if (status == BANYAN_OK)
        settle_marks(log);
    window_close(&scan.window);
    free(scan.window.data);
    return status;
}

enum banyan_status log_recover(struct log *log, struct banyan_error *err)
{
    enum banyan_status status = recover_once(log, err);

    for (int i = 1;
         i < READ_ONLY_ATTEMPTS && (status == BANYAN_CORRUPT || status == BANYAN_NOT_FOUND) && log->options.read_only;
         i++) {
        banyan_error_clear(err);
        forget_segments(log, 0);
        status = recover_once(log, err);
    }
    return status;
}
