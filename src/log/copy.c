/* SPDX-License-Identifier: Apache-2.0 */
/* See copy.h. */
#include "log/copy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "log/log_int.h"

/* Where the copy ends: behind a frame that ends a batch. */
struct place {
    size_t segment; /* number */
    uint64_t at;    /* byte in its file */
    uint64_t position;
    uint8_t chain[LOG_CHAIN_BYTES];
};

static struct log_segment *segment_of(struct log *log, size_t number)
{
    struct log_segment *segment;

    (void)pthread_mutex_lock(&log->lock);
    segment = log->shared.segments[number];
    (void)pthread_mutex_unlock(&log->lock);
    return segment;
}

/* Find in segment *number* the last frame that ends a batch at or before *until*.  *ret_found: there is one. */
static enum banyan_status find_in_segment(struct log *log, size_t number, uint64_t until, struct place *ret,
                                          bool *ret_found, struct banyan_error *err)
{
    struct log_segment *segment = segment_of(log, number);
    uint64_t at = sizeof(struct segment_header), next = segment->first_position;
    struct log_source *source = NULL;
    enum banyan_status status = log_source_open(&log->folders, segment->first_position, &source, err);
    struct frame_header frame;
    size_t got;

    *ret_found = false;
    while (status == BANYAN_OK && next <= until) {
        status = log_source_read(source, at, &frame, sizeof(frame), sizeof(frame), &got, err);
        if (status != BANYAN_OK || got < sizeof(frame))
            break; /* the segment ends */
        if (frame.magic != FRAME_MAGIC || frame.first_position != next || frame.offset != segment->base_offset + at)
            break; /* so does it with zeros behind its last frame; damage is found by verification */
        if (frame.first_position + frame.record_count > until + 1)
            break;
        at += sizeof(frame) + frame.size;
        next += frame.record_count;
        if ((frame.flags & (FRAME_CONTINUES | FRAME_CLOSED)) != 0)
            continue;
        *ret = (struct place){.segment = number, .at = at, .position = next - 1};
        memcpy(ret->chain, frame.chain, sizeof(ret->chain));
        *ret_found = true;
    }
    log_source_close(source);
    return status;
}

/* The end of a copy up to *until*; position 0: nothing is left. */
static enum banyan_status find_end(struct log *log, uint64_t until, struct place *ret, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    bool found = false;
    size_t number;

    *ret = (struct place){.position = 0};
    (void)pthread_mutex_lock(&log->lock);
    number = log_segments_find(log, until);
    (void)pthread_mutex_unlock(&log->lock);
    for (;; number--) {
        status = find_in_segment(log, number, until, ret, &found, err);
        if (status != BANYAN_OK || found || number == 0)
            return status;
    }
}

/* ---- files ---- */

/* Bytes of the file at *path*; UINT64_MAX: there is none. */
static uint64_t size_of(struct os_files *files, const char *path)
{
    struct os_file *file = NULL;
    uint64_t size = UINT64_MAX;

    if (files->open(files, path, false, &file, NULL) == BANYAN_OK && files->size(file, &size, NULL) != BANYAN_OK)
        size = UINT64_MAX;
    files->close(file);
    return size;
}

/* A file, from its first byte to its last. */
struct whole {
    struct os_files *files;
    struct os_file *in;
};

static enum banyan_status next_of_whole(void *context, uint64_t at, void *data, size_t room, size_t *ret_size,
                                        struct banyan_error *err)
{
    struct whole *whole = context;
    return whole->files->read(whole->in, at, data, room, ret_size, err);
}

/* Copy the file *from* as it is to *to*. */
static enum banyan_status copy_file(struct os_files *files, const char *from, const char *to, struct banyan_error *err)
{
    struct whole whole = {files, NULL};
    enum banyan_status status = files->open(files, from, false, &whole.in, err);

    if (status == BANYAN_OK)
        status = os_file_put(files, to, next_of_whole, &whole, err);
    files->close(whole.in);
    return status;
}

/* The beginning of a segment, hot or cold, as a hot one. */
struct beginning {
    struct log_source *source;
    uint64_t size;
};

static enum banyan_status next_of_beginning(void *context, uint64_t at, void *data, size_t room, size_t *ret_size,
                                            struct banyan_error *err)
{
    struct beginning *beginning = context;
    size_t want = beginning->size - at < room ? (size_t)(beginning->size - at) : room;
    enum banyan_status status = BANYAN_OK;

    *ret_size = 0;
    if (want > 0)
        status = log_source_read(beginning->source, at, data, want, want, ret_size, err);
    if (status == BANYAN_OK && want > 0 && *ret_size == 0)
        status =
            banyan_error_set(err, BANYAN_CORRUPT, "%s ends at byte %" PRIu64, log_source_path(beginning->source), at);
    return status;
}

/* Write the first *size* bytes of a segment to *to*. */
static enum banyan_status write_beginning(struct log *log, const struct log_segment *segment, uint64_t size,
                                          const char *to, struct banyan_error *err)
{
    struct beginning beginning = {NULL, size};
    enum banyan_status status = log_source_open(&log->folders, segment->first_position, &beginning.source, err);

    if (status == BANYAN_OK)
        status = os_file_put(log->options.files, to, next_of_beginning, &beginning, err);
    log_source_close(beginning.source);
    return status;
}

/* A file that never changes any more, linked or copied unless it is there. */
static enum banyan_status put_file(struct log *log, const struct log_copy_options *options, const char *from,
                                   const char *to, struct log_copied *copied, struct banyan_error *err)
{
    struct os_files *files = log->options.files;
    uint64_t size = size_of(files, from);
    enum banyan_status status = BANYAN_OK;

    if (size_of(files, to) == size) {
        copied->present++;
        return BANYAN_OK;
    }
    if (options->link) {
        /* An older copy of what was the last segment then is in the way. */
        if (size_of(files, to) != UINT64_MAX)
            status = files->remove(files, to, err);
        if (status == BANYAN_OK && files->link(files, from, to, NULL) == BANYAN_OK) {
            copied->linked++;
            return BANYAN_OK;
        }
    }
    if (status == BANYAN_OK) { /* another file system, or copies are wanted */
        status = copy_file(files, from, to, err);
        copied->bytes += size;
    }
    return status;
}

/* A segment that is whole in the copy; a cold one stays cold. */
static enum banyan_status put_whole(struct log *log, const struct log_copy_options *options,
                                    const struct log_segment *segment, struct log_copied *copied,
                                    struct banyan_error *err)
{
    struct os_files *files = log->options.files;
    struct log_source *source = NULL;
    enum banyan_status status = log_source_open(&log->folders, segment->first_position, &source, err);
    char *hot = log_segment_path(options->folder, segment->first_position, LOG_SEGMENT_SUFFIX);
    char *cold = log_segment_path(options->cold_folder, segment->first_position, LOG_COLD_SUFFIX);
    bool is_cold = status == BANYAN_OK && log_source_is_cold(source);

    copied->segments++;
    if (is_cold)
        status = files->make_folder(files, options->cold_folder, err);
    if (status == BANYAN_OK)
        status = put_file(log, options, log_source_path(source), is_cold ? cold : hot, copied, err);
    /* It was hot in an older copy: the plain file would count. */
    if (status == BANYAN_OK && is_cold && size_of(files, hot) != UINT64_MAX) {
        status = files->sync_folder(files, options->cold_folder, err);
        if (status == BANYAN_OK)
            status = files->remove(files, hot, err);
    }
    log_source_close(source);
    free(hot);
    free(cold);
    return status;
}

/* Is one of the first *count* segments cold? */
static bool any_cold(struct log *log, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (segment_of(log, i)->cold)
            return true;
    }
    return false;
}

/* What the folder holds already has to be the beginning of this log. */
static enum banyan_status check_folder(struct log *log, const struct log_copy_options *options, const struct place *end,
                                       struct banyan_error *err)
{
    struct os_files *files = log->options.files;
    struct log_options there_options = {
        .folder = options->folder,
        .cold_folder = options->cold_folder,
        .files = files,
        .clock = log->options.clock,
        .read_only = true,
    };
    enum banyan_status status = files->make_folder(files, options->folder, err);
    struct log *there = NULL;

    if (status == BANYAN_OK)
        status = log_open(&there_options, &there, err);
    if (status != BANYAN_OK)
        return status;
    if (there->shared.durable > 0 &&
        (!banyan_uuid_equal(there->id, log->id) || there->shared.durable > end->position)) {
        status = banyan_error_set(err, BANYAN_CONFLICT, "%s holds %s", options->folder,
                                  banyan_uuid_equal(there->id, log->id) ? "a longer copy of this log" : "another log");
        banyan_error_hint(err, "take an empty folder");
    }
    log_close(there);
    return status;
}

enum banyan_status log_copy(struct log *log, const struct log_copy_options *options, struct log_copied *ret,
                            struct banyan_error *err)
{
    uint64_t durable = log_durable(log).value, until = options->until.value == 0 ? durable : options->until.value;
    struct os_files *files = log->options.files;
    struct log_copied copied = {.log_id = log->id};
    enum banyan_status status = BANYAN_OK;
    struct place end = {.position = 0};

    if (until > durable)
        return banyan_error_set(err, BANYAN_INVALID, "the log ends at position %" PRIu64 ", before %" PRIu64, durable,
                                until);
    if (until > 0)
        status = find_end(log, until, &end, err);
    if (status == BANYAN_OK)
        status = check_folder(log, options, &end, err);
    for (size_t i = 0; status == BANYAN_OK && end.position > 0 && i < end.segment; i++)
        status = put_whole(log, options, segment_of(log, i), &copied, err);
    if (status == BANYAN_OK && end.position > 0) {
        struct log_segment *last = segment_of(log, end.segment);
        char *to = log_segment_path(options->folder, last->first_position, LOG_SEGMENT_SUFFIX);

        status = write_beginning(log, last, end.at, to, err);
        copied.segments++;
        copied.bytes += end.at;
        copied.offset = last->base_offset + end.at;
        free(to);
    }
    if (status == BANYAN_OK)
        status = files->sync_folder(files, options->folder, err);
    if (status == BANYAN_OK && any_cold(log, end.segment))
        status = files->sync_folder(files, options->cold_folder, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "copying the log to %s", options->folder);
        return status;
    }
    copied.last.value = end.position;
    memcpy(copied.chain, end.chain, sizeof(copied.chain));
    *ret = copied;
    return BANYAN_OK;
}
