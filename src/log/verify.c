/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See verify.h.  Frames are taken in two steps, so that hashing can have a processor of its own:
 *
 *     window of the file ──▶ taken: frames that are whole (mark, place, checksum), until the window ends
 *                              ├─ helper: the chain of each, from the stored chain of the one before
 *                              └─ caller: fields, records, visitor
 *
 * A frame's chain needs only the stored chain before it, so the order in which they are computed does not matter.
 *
 * Where no whole frame is: if something behind proves that the place had been flushed (see recovery.c) and the place,
 * read anew after the proof was found, is still no frame, it is damage; else it is the torn tail, or the end.
 */
#include "log/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/log_int.h"
#include "log/varint.h"

enum {
    WINDOW_BYTES = 2 * 1024 * 1024,
    TAKEN_MAX = 4096,
    HELPER_BYTES_MIN = 16 * 1024 * 1024, /* of the log; below it a thread costs more than it saves */
    FRAME_FLAGS_KNOWN = FRAME_CONTINUED | FRAME_CONTINUES | FRAME_CLOSED,
};

struct taken {
    const struct frame_header *frame; /* in the window */
    uint64_t at;                      /* byte in the file */
    const uint8_t *chain_before;      /* NULL: not known */
    bool chain_ok;
};

struct verify {
    const struct log_verify_options *options;
    const struct log_verify_visitor *visitor;
    struct log_verify_place *place;

    uint64_t *names; /* first positions of the segments; owned */
    size_t count;
    size_t number;    /* of the one that is read */
    char *path;       /* owned */
    uint64_t base;    /* offset in the log of its first byte */
    bool header_good; /* of this segment */
    uint64_t damages; /* found before this segment */

    struct log_folders folders;
    struct log_source *source;
    uint64_t file_bytes;
    char *data; /* owned */
    size_t size, capacity;
    uint64_t data_at; /* byte in the file of data[0] */

    uint64_t at;    /* byte in the file of the next frame to take */
    bool found_any; /* a whole frame in this segment */
    bool stop;      /* until_offset was met */
    uint64_t bytes_done, bytes_total;

    struct log_mark *frames; /* of this segment, each; owned */
    size_t frame_count, frame_capacity;
    uint8_t chain_before[LOG_CHAIN_BYTES]; /* of this segment */

    struct taken taken[TAKEN_MAX];
    size_t taken_count;
    uint8_t first_chain[LOG_CHAIN_BYTES]; /* before taken[0] */
    EVP_MD *digest;
    EVP_MD_CTX *hash;

    struct os_thread helper;
    pthread_mutex_t lock;
    pthread_cond_t turned;
    struct {
        bool work, quit; /* guarded by lock */
    } shared;
};

void log_verify_place_init(struct log_verify_place *place)
{
    *place = (struct log_verify_place){
        .next_position = 1, .position_known = true, .offset_known = true, .chain_known = true};
}

BANYAN_PRINTF_LIKE(6, 7)
static void report(struct verify *verify, const char *kind, enum log_finding_class class, uint64_t byte,
                   uint64_t position, const char *format, ...)
{
    struct log_finding finding = {
        .kind = kind, .class = class, .path = verify->path, .byte = byte, .position = position};
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(finding.text, sizeof(finding.text), format, arguments); /* over-long texts are cut */
    va_end(arguments);
    verify->place->damages += class == LOG_FINDING_DAMAGE;
    verify->place->derived += class == LOG_FINDING_DERIVED;
    verify->place->notes += class == LOG_FINDING_NOTE;
    if (verify->visitor->finding != NULL)
        verify->visitor->finding(verify->visitor->context, &finding);
}

/* ---- the file ---- */

static enum banyan_status open_segment(struct verify *verify, size_t number, struct banyan_error *err)
{
    enum banyan_status status;

    log_source_close(verify->source);
    verify->source = NULL;
    verify->size = 0;
    free(verify->path);
    verify->path = log_segment_path(verify->options->folder, verify->names[number], LOG_SEGMENT_SUFFIX);
    verify->file_bytes = 0;
    status = log_source_open(&verify->folders, verify->names[number], &verify->source, err);
    if (status == BANYAN_CORRUPT && verify->folders.cold != NULL) { /* only a cold one says this */
        free(verify->path);
        verify->path = log_segment_path(verify->folders.cold, verify->names[number], LOG_COLD_SUFFIX);
    }
    if (status != BANYAN_OK)
        return status;
    free(verify->path);
    verify->path = alloc_text(log_source_path(verify->source));
    verify->file_bytes = log_source_bytes(verify->source);
    return BANYAN_OK;
}

/* *ret: *size* bytes from *at* on; NULL when the file has fewer.  Moves the window: nothing may be taken from it. */
static enum banyan_status get(struct verify *verify, uint64_t at, size_t size, const char **ret,
                              struct banyan_error *err)
{
    size_t want = size > WINDOW_BYTES ? size : WINDOW_BYTES;
    enum banyan_status status;

    *ret = NULL;
    if (at > verify->file_bytes || verify->file_bytes - at < size)
        return BANYAN_OK;
    if (want > verify->file_bytes)
        want = (size_t)verify->file_bytes; /* not less than size */
    if (at < verify->data_at || at + size > verify->data_at + verify->size) {
        if (want > verify->capacity || (verify->capacity > WINDOW_BYTES && want <= WINDOW_BYTES)) {
            free(verify->data);
            verify->data = alloc_resized(NULL, want, 1);
            verify->capacity = want;
        }
        verify->data_at = at;
        verify->size = 0;
        status = log_source_read(verify->source, at, verify->data, want, want, &verify->size, err);
        if (status != BANYAN_OK || verify->size < size)
            return status;
    }
    *ret = verify->data + (at - verify->data_at);
    return BANYAN_OK;
}

/* Is what the window has at *data* a whole frame, once all of it is there?  Its size; 0: no. */
static size_t frame_size(const struct verify *verify, uint64_t at, const char *data)
{
    struct frame_header header;

    memcpy(&header, data, sizeof(header));
    if (header.magic != FRAME_MAGIC || header.size > verify->file_bytes - at - sizeof(header) ||
        header.size > LOG_RECORD_BYTES_MAX + LOG_FRAME_BYTES + VARINT_BYTES_MAX ||
        (verify->place->offset_known && header.offset != verify->base + at))
        return 0;
    return sizeof(header) + header.size;
}

/* *ret: the whole frame at *at*; NULL when there is none.  Moves the window. */
static enum banyan_status whole_frame(struct verify *verify, uint64_t at, const struct frame_header **ret,
                                      struct banyan_error *err)
{
    const struct frame_header *frame;
    const char *data;
    size_t size;
    enum banyan_status status = get(verify, at, sizeof(*frame), &data, err);

    *ret = NULL;
    if (status != BANYAN_OK || data == NULL)
        return status;
    size = frame_size(verify, at, data);
    if (size == 0)
        return BANYAN_OK;
    status = get(verify, at, size, &data, err);
    if (status != BANYAN_OK || data == NULL)
        return status;
    frame = (const struct frame_header *)data;
    if (crc32c(0, data + offsetof(struct frame_header, size), size - offsetof(struct frame_header, size)) == frame->crc)
        *ret = frame;
    return BANYAN_OK;
}

/* ---- the chain, in a thread of its own where it pays ---- */

static void hash_taken(struct verify *verify)
{
    uint8_t chain[LOG_CHAIN_BYTES];

    for (size_t i = 0; i < verify->taken_count; i++) {
        struct taken *taken = &verify->taken[i];

        taken->chain_ok = true;
        if (taken->chain_before == NULL)
            continue;
        log_chain(verify->hash, verify->digest, taken->chain_before, taken->frame, chain);
        taken->chain_ok = memcmp(chain, taken->frame->chain, LOG_CHAIN_BYTES) == 0;
    }
}

static void helper_main(void *argument)
{
    struct verify *verify = argument;

    (void)pthread_mutex_lock(&verify->lock);
    while (!verify->shared.quit) {
        if (!verify->shared.work) {
            (void)pthread_cond_wait(&verify->turned, &verify->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&verify->lock);
        hash_taken(verify);
        (void)pthread_mutex_lock(&verify->lock);
        verify->shared.work = false;
        (void)pthread_cond_signal(&verify->turned);
    }
    (void)pthread_mutex_unlock(&verify->lock);
}

static void hash_begin(struct verify *verify)
{
    if (!verify->helper.started) {
        hash_taken(verify);
        return;
    }
    (void)pthread_mutex_lock(&verify->lock);
    verify->shared.work = true;
    (void)pthread_cond_signal(&verify->turned);
    (void)pthread_mutex_unlock(&verify->lock);
}

static void hash_end(struct verify *verify)
{
    if (!verify->helper.started)
        return;
    (void)pthread_mutex_lock(&verify->lock);
    while (verify->shared.work)
        (void)pthread_cond_wait(&verify->turned, &verify->lock);
    (void)pthread_mutex_unlock(&verify->lock);
}

static void helper_stop(struct verify *verify)
{
    if (!verify->helper.started)
        return;
    (void)pthread_mutex_lock(&verify->lock);
    verify->shared.quit = true;
    (void)pthread_cond_signal(&verify->turned);
    (void)pthread_mutex_unlock(&verify->lock);
    os_thread_join(&verify->helper);
}

/* ---- frames and records ---- */

static size_t varint_size(uint64_t value)
{
    size_t size = 1;

    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

static void lose(struct verify *verify, uint64_t first, uint64_t last)
{
    if (verify->visitor->lost != NULL && first <= last)
        verify->visitor->lost(verify->visitor->context, first, last);
}

/* The records of a frame, and whether they fill it and end their batches as it says. */
static void visit_records(struct verify *verify, const struct frame_header *frame, uint64_t at)
{
    const char *begin = (const char *)frame, *data = begin + sizeof(*frame), *end = data + frame->size;
    struct log_record record = {.recorded_at = {frame->recorded_at}, .ends_batch = !verify->place->in_batch};
    uint64_t count = 0, length = 0;

    for (; data < end && count < frame->record_count; count++) {
        size_t used = varint_get(data, end, &length);
        uint64_t byte = at + (uint64_t)(data - begin), position = frame->first_position + count;

        if (used == 0 || length >> 1 > (uint64_t)(end - data) - used || length >> 1 > LOG_RECORD_BYTES_MAX) {
            report(verify, "record_size", LOG_FINDING_DAMAGE, byte, position, "a record is longer than its frame");
            lose(verify, position, frame->first_position + frame->record_count - 1);
            return;
        }
        if (used != varint_size(length))
            report(verify, "record_size", LOG_FINDING_DAMAGE, byte, position,
                   "the size of a record is not in its shortest form");
        record.position.value = position;
        record.data = (struct banyan_str){data + used, (size_t)(length >> 1)};
        record.ends_batch = (length & 1) != 0;
        if (verify->visitor->record != NULL)
            verify->visitor->record(verify->visitor->context, &record, verify->path, byte);
        verify->place->batches += record.ends_batch;
        data += used + record.data.size;
    }
    verify->place->records += count;
    if (data != end || count != frame->record_count)
        report(verify, "record_count", LOG_FINDING_DAMAGE, at, frame->first_position,
               "a frame says %" PRIu32 " records in %" PRIu32 " bytes and has %" PRIu64 " in %zu", frame->record_count,
               frame->size, count, (size_t)(data - begin) - sizeof(*frame));
    if (frame->record_count > 0 && record.ends_batch == ((frame->flags & FRAME_CONTINUES) != 0))
        report(verify, "batch", LOG_FINDING_DAMAGE, at, frame->first_position,
               "the flags do not say how the last record ends");
}

static void check_fields(struct verify *verify, const struct frame_header *frame, uint64_t at)
{
    struct log_verify_place *place = verify->place;
    uint64_t first = frame->first_position;

    if (place->position_known && first != place->next_position) {
        report(verify, "position", LOG_FINDING_DAMAGE, at, place->next_position,
               "position %" PRIu64 " was expected and %" PRIu64 " found", place->next_position, first);
        lose(verify, place->next_position, first - 1);
    }
    if (place->position_known && ((frame->flags & FRAME_CONTINUED) != 0) != place->in_batch)
        report(verify, "batch", LOG_FINDING_DAMAGE, at, first,
               place->in_batch ? "a batch does not go on in the frame behind it"
                               : "the beginning of a batch is missing");
    if (frame->flushed > frame->offset || frame->flushed < place->flushed || frame->flushed < verify->base)
        report(verify, "flushed", LOG_FINDING_DAMAGE, at, first,
               "offset %" PRIu64 " cannot have been the flushed one: %" PRIu64 " was, and the frame is at %" PRIu64,
               frame->flushed, place->flushed, frame->offset);
    if ((frame->flags & ~(uint32_t)FRAME_FLAGS_KNOWN) != 0 || frame->reserved != 0 ||
        ((frame->flags & FRAME_CLOSED) != 0 && (frame->record_count != 0 || frame->flags != FRAME_CLOSED)) ||
        ((frame->flags & FRAME_CLOSED) == 0 && frame->record_count == 0))
        report(verify, "frame_fields", LOG_FINDING_DAMAGE, at, first,
               "flags %#" PRIx32 ", reserved %#" PRIx32 " are not known", frame->flags, frame->reserved);
}

static void remember_frame(struct verify *verify, const struct frame_header *frame, uint64_t at)
{
    int64_t recorded_at = frame->record_count == 0 ? INT64_MIN : frame->recorded_at;

    if (verify->frame_count == verify->frame_capacity) {
        verify->frame_capacity = verify->frame_capacity == 0 ? 256 : verify->frame_capacity * 2;
        verify->frames = alloc_resized(verify->frames, verify->frame_capacity, sizeof(*verify->frames));
    }
    verify->frames[verify->frame_count++] = (struct log_mark){frame->first_position, at, recorded_at};
}

/* Everything about the taken frames but their chain; then their chain. */
static void finish_taken(struct verify *verify)
{
    struct log_verify_place *place = verify->place;

    if (verify->taken_count == 0)
        return;
    hash_begin(verify);
    for (size_t i = 0; i < verify->taken_count; i++) {
        const struct frame_header *frame = verify->taken[i].frame;
        uint64_t end = frame->offset + sizeof(*frame) + frame->size;

        check_fields(verify, frame, verify->taken[i].at);
        visit_records(verify, frame, verify->taken[i].at);
        place->position_known = true;
        place->next_position = frame->first_position + frame->record_count;
        place->flushed = frame->flushed;
        place->in_batch = (frame->flags & FRAME_CONTINUES) != 0;
        place->closed = (frame->flags & FRAME_CLOSED) != 0;
        remember_frame(verify, frame, verify->taken[i].at);
        place->frames++;
        place->bytes += sizeof(*frame) + frame->size;
        if (!place->in_batch) {
            place->whole_position = place->next_position - 1;
            place->whole_offset = end;
        }
        if (verify->visitor->frame != NULL)
            verify->visitor->frame(verify->visitor->context, frame, end);
    }
    hash_end(verify);
    for (size_t i = 0; i < verify->taken_count; i++) {
        const struct taken *taken = &verify->taken[i];

        if (!taken->chain_ok)
            report(verify, "chain", LOG_FINDING_DAMAGE, taken->at, taken->frame->first_position,
                   "the chain does not follow from the frame before: history was changed");
    }
    memcpy(place->chain, verify->taken[verify->taken_count - 1].frame->chain, LOG_CHAIN_BYTES);
    place->chain_known = true;
    verify->taken_count = 0;
}

/* Take the frame that begins at verify->at, if it is whole and in the window.  False: finish first, or none is there.
 */
static bool take_from_window(struct verify *verify)
{
    uint64_t left = verify->data_at + verify->size - verify->at;
    const char *data = verify->data + (verify->at - verify->data_at);
    const struct frame_header *frame = (const struct frame_header *)data;
    struct taken *taken = &verify->taken[verify->taken_count];
    size_t size;

    if (verify->taken_count == TAKEN_MAX || verify->at < verify->data_at ||
        verify->at > verify->data_at + verify->size || left < sizeof(*frame))
        return false;
    size = frame_size(verify, verify->at, data);
    if (size == 0 || size > left ||
        crc32c(0, data + offsetof(struct frame_header, size), size - offsetof(struct frame_header, size)) != frame->crc)
        return false;
    *taken = (struct taken){.frame = frame, .at = verify->at};
    if (verify->taken_count > 0)
        taken->chain_before = taken[-1].frame->chain;
    else if (verify->place->chain_known)
        taken->chain_before = memcpy(verify->first_chain, verify->place->chain, LOG_CHAIN_BYTES);
    if (!verify->place->offset_known) {
        verify->base = frame->offset - verify->at;
        verify->place->offset_known = true;
    }
    verify->taken_count++;
    verify->found_any = true;
    verify->at += size;
    verify->stop = verify->options->until_offset != 0 && verify->base + verify->at >= verify->options->until_offset;
    return !verify->stop;
}

/* Read whole frames from verify->at on until something else is there. */
static enum banyan_status read_frames(struct verify *verify, struct banyan_error *err)
{
    const struct frame_header *frame;
    enum banyan_status status;

    for (;;) {
        while (take_from_window(verify))
            ;
        finish_taken(verify);
        if (verify->stop)
            return BANYAN_OK;
        if (verify->visitor->progress != NULL) {
            status = verify->visitor->progress(verify->visitor->context, verify->bytes_done + verify->at,
                                               verify->bytes_total, err);
            if (status != BANYAN_OK)
                return status;
        }
        status = whole_frame(verify, verify->at, &frame, err);
        if (status != BANYAN_OK || frame == NULL)
            return status;
    }
}

/* ---- where no whole frame is ---- */

/* Bytes from *from* on that are zeros only, up to the end of the file?  *ret_dirty: the first that is not; UINT64_MAX.
 */
static enum banyan_status first_not_zero(struct verify *verify, uint64_t from, uint64_t *ret_dirty,
                                         struct banyan_error *err)
{
    *ret_dirty = UINT64_MAX;
    for (uint64_t at = from; at < verify->file_bytes;) {
        uint64_t left = verify->file_bytes - at;
        size_t size = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        const char *data;
        enum banyan_status status = get(verify, at, size, &data, err);

        if (status != BANYAN_OK || data == NULL)
            return status;
        if (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0) {
            at += size;
            continue;
        }
        while (*data == 0) {
            data++;
            at++;
        }
        *ret_dirty = at;
        break;
    }
    return BANYAN_OK;
}

/* The next whole frame behind verify->at; *ret NULL: none in this file. */
static enum banyan_status next_frame(struct verify *verify, uint64_t *ret_at, const struct frame_header **ret,
                                     struct banyan_error *err)
{
    const uint32_t magic = FRAME_MAGIC;

    *ret = NULL;
    for (uint64_t at = verify->at + 1; at + sizeof(struct frame_header) <= verify->file_bytes;) {
        uint64_t left = verify->file_bytes - at;
        size_t size = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        const char *data, *found;
        enum banyan_status status = get(verify, at, size, &data, err);

        if (status != BANYAN_OK || data == NULL)
            return status;
        found = memmem(data, size, &magic, sizeof(magic));
        if (found == NULL) {
            at += size - (sizeof(magic) - 1);
            continue;
        }
        at += (uint64_t)(found - data);
        status = whole_frame(verify, at, ret, err);
        *ret_at = at;
        if (status != BANYAN_OK || *ret != NULL)
            return status;
        at++;
    }
    return BANYAN_OK;
}

/* Does the segment behind this one prove that all of this one was flushed?  *ret_end: where it then ends; 0: no. */
static enum banyan_status end_by_successor(struct verify *verify, uint64_t *ret_end, struct banyan_error *err)
{
    struct log_source *source = NULL;
    struct segment_header header;
    size_t got = 0;
    enum banyan_status status;

    *ret_end = 0;
    if (verify->number + 1 >= verify->count)
        return BANYAN_OK;
    status = log_source_open(&verify->folders, verify->names[verify->number + 1], &source, err);
    if (status == BANYAN_OK)
        status = log_source_read(source, 0, &header, sizeof(header), sizeof(header), &got, err);
    log_source_close(source);
    if (status == BANYAN_CORRUPT) { /* a finding of its own, when its turn comes */
        banyan_error_clear(err);
        return BANYAN_OK;
    }
    if (status == BANYAN_OK && got == sizeof(header) && log_segment_check_header(&header) &&
        header.base_offset > verify->base &&
        (header.previous_position == 0 || header.previous_position == verify->names[verify->number]))
        *ret_end = header.base_offset - verify->base;
    return status;
}

/* What the place says when nothing behind it was flushed after it: the end, clean or torn. */
static enum banyan_status judge_end(struct verify *verify, struct banyan_error *err)
{
    struct log_verify_place *place = verify->place;
    uint64_t dirty;
    bool last = verify->number + 1 >= verify->count;
    enum banyan_status status = first_not_zero(verify, verify->at, &dirty, err);

    if (status != BANYAN_OK)
        return status;
    if (dirty != UINT64_MAX && !last)
        report(verify, "not_zero", LOG_FINDING_DAMAGE, dirty, place->next_position,
               "a byte behind the last frame is not zero");
    else if (dirty != UINT64_MAX)
        report(verify, "torn_tail", LOG_FINDING_NOTE, dirty, place->next_position,
               "the end is torn: never acknowledged, cut when the log is opened; or a writer is at work");
    if (last && dirty == UINT64_MAX && !place->closed && !place->in_batch)
        report(verify, "not_closed", LOG_FINDING_NOTE, verify->at, place->next_position,
               "the log was not closed in good order: its process was killed, or it is at work");
    if (last && place->in_batch)
        report(verify, "torn_tail", LOG_FINDING_NOTE, verify->at, place->next_position,
               "the last batch is not whole: never acknowledged, cut when the log is opened");
    return BANYAN_OK;
}

/* Reading stopped at verify->at.  *ret_go_on: there are more frames in this segment. */
static enum banyan_status judge(struct verify *verify, bool *ret_go_on, struct banyan_error *err)
{
    struct log_verify_place *place = verify->place;
    const struct frame_header *frame = NULL, *again;
    uint64_t found_at = 0, end, first;
    enum banyan_status status = end_by_successor(verify, &end, err);

    *ret_go_on = false;
    if (status == BANYAN_OK && (end != verify->at || end == 0))
        status = next_frame(verify, &found_at, &frame, err);
    if (status != BANYAN_OK)
        return status;
    if (end == verify->at || (frame == NULL && end < verify->at))
        return judge_end(verify, err);
    if (frame != NULL && end == 0 && verify->number + 1 >= verify->count && place->offset_known &&
        frame->flushed <= verify->base + verify->at)
        return judge_end(verify, err);
    first = frame == NULL ? 0 : frame->first_position;
    verify->size = 0; /* a writer may have been at work: the place itself is read anew */
    status = whole_frame(verify, verify->at, &again, err);
    if (status != BANYAN_OK)
        return status;
    *ret_go_on = again != NULL || frame != NULL;
    if (again != NULL)
        return BANYAN_OK;
    report(verify, "frame", LOG_FINDING_DAMAGE, verify->at, place->next_position,
           "no whole frame, up to byte %" PRIu64 "; what follows was written after this place had been flushed",
           frame != NULL ? found_at : end);
    if (frame != NULL)
        lose(verify, place->next_position, first - 1);
    place->chain_known = false;
    place->position_known = false;
    place->closed = false;
    verify->at = frame != NULL ? found_at : end;
    return BANYAN_OK;
}

/* ---- marks ---- */

/* Is each mark a frame of the segment, and are the times between two marks not later than the first says?  A mark may
 * say a later time than its records have: that of a batch that was taken back. */
static bool marks_agree(const struct verify *verify, const struct log_mark *marks, size_t count)
{
    size_t mark = 0;

    for (size_t i = 0; i < verify->frame_count; i++) {
        const struct log_mark *frame = &verify->frames[i];

        if (mark < count && marks[mark].at == frame->at) {
            if (marks[mark].position != frame->position)
                return false;
            mark++;
        }
        if (mark == 0 || marks[mark - 1].recorded_max < frame->recorded_max)
            return false;
    }
    return mark == count;
}

static const char *check_marks(const struct verify *verify, const char *data, size_t size)
{
    const struct log_verify_place *place = verify->place;
    size_t from = offsetof(struct marks_header, format);
    struct marks_header header, wanted = {
                                    .magic = MARKS_MAGIC,
                                    .format = MARKS_FORMAT,
                                    .log_id = place->log_id,
                                    .first_position = verify->names[verify->number],
                                    .base_offset = verify->base,
                                    .next_position = place->next_position,
                                    .next_offset = place->offset,
                                };

    if (size < sizeof(header))
        return "the file is too short";
    memcpy(&header, data, sizeof(header));
    memcpy(wanted.chain_before, verify->chain_before, LOG_CHAIN_BYTES);
    memcpy(wanted.chain_after, place->chain, LOG_CHAIN_BYTES);
    wanted.crc = header.crc;
    wanted.mark_count = header.mark_count;
    if (memcmp(&header, &wanted, sizeof(header)) != 0)
        return "the header is not of this segment";
    if (size != sizeof(header) + header.mark_count * sizeof(struct log_mark))
        return "the file has another size than its number of marks asks for";
    if (crc32c(0, data + from, size - from) != header.crc)
        return "the checksum is wrong";
    if (!marks_agree(verify, (const struct log_mark *)(const void *)(data + sizeof(header)), header.mark_count))
        return "the marks are not those of the segment's frames";
    return NULL;
}

/* The marks file of a sealed segment that was read whole; a missing one is made when it is needed. */
static enum banyan_status verify_marks(struct verify *verify, struct banyan_error *err)
{
    struct os_files *files = verify->options->files;
    char *path = log_segment_path(verify->options->folder, verify->names[verify->number], LOG_MARKS_SUFFIX);
    struct os_file *file = NULL;
    uint64_t bytes = 0;
    size_t size = 0;
    char *data = NULL, *segment = verify->path;
    const char *wrong;
    enum banyan_status status = files->open(files, path, false, &file, NULL);

    if (status == BANYAN_NOT_FOUND) {
        free(path);
        return BANYAN_OK;
    }
    if (status == BANYAN_OK)
        status = files->size(file, &bytes, err);
    if (status == BANYAN_OK && bytes <= sizeof(struct marks_header) + verify->file_bytes) {
        data = alloc_zeroed(1, (size_t)bytes + 1);
        status = files->read(file, 0, data, (size_t)bytes, &size, err);
    }
    if (status == BANYAN_OK) {
        wrong = data == NULL ? "the file is too long" : check_marks(verify, data, size);
        verify->path = path;
        if (wrong != NULL)
            report(verify, "marks", LOG_FINDING_DERIVED, 0, verify->names[verify->number],
                   "%s; it is made anew when it is needed", wrong);
        verify->path = segment;
    }
    files->close(file);
    free(data);
    free(path);
    return status;
}

/* ---- segments ---- */

/* The header of the open segment: what it says is believed where nothing is known. */
static void check_header(struct verify *verify, const struct segment_header *header)
{
    struct log_verify_place *place = verify->place;
    static const char zeros[sizeof(header->reserved)];

    if (header->format != SEGMENT_FORMAT || memcmp(header->reserved, zeros, sizeof(zeros)) != 0)
        report(verify, "segment_fields", LOG_FINDING_DAMAGE, 12, verify->names[verify->number],
               "format %" PRIu32 ", or bytes that have to be zero are not", header->format);
    if (!place->log_id_known)
        place->log_id = header->log_id;
    place->log_id_known = true;
    if (!banyan_uuid_equal(header->log_id, place->log_id))
        report(verify, "log_id", LOG_FINDING_DAMAGE, 16, verify->names[verify->number], "a segment of another log");
    if (header->first_position != verify->names[verify->number])
        report(verify, "segment_name", LOG_FINDING_DAMAGE, 32, verify->names[verify->number],
               "the file is named after position %" PRIu64 " and begins with %" PRIu64, verify->names[verify->number],
               header->first_position);
    if (header->previous_position != 0 &&
        (verify->number == 0 || header->previous_position != verify->names[verify->number - 1]))
        report(verify, "segment_before", LOG_FINDING_DAMAGE, 80, verify->names[verify->number],
               "the segment before it begins with position %" PRIu64 ", says the header", header->previous_position);
    if (place->offset_known && header->base_offset != place->offset)
        report(verify, "offset", LOG_FINDING_DAMAGE, 40, place->next_position,
               "offset %" PRIu64 " was expected and %" PRIu64 " found: something before is missing", place->offset,
               header->base_offset);
    if (place->chain_known && memcmp(header->chain, place->chain, LOG_CHAIN_BYTES) != 0)
        report(verify, "chain", LOG_FINDING_DAMAGE, 48, place->next_position,
               "the chain does not follow from the segment before: history was changed");
    verify->base = header->base_offset;
    memcpy(place->chain, header->chain, LOG_CHAIN_BYTES);
    memcpy(verify->chain_before, header->chain, LOG_CHAIN_BYTES);
    place->offset_known = place->chain_known = true;
}

/* A segment that begins behind what was expected, or before. */
static void check_name(struct verify *verify)
{
    struct log_verify_place *place = verify->place;
    uint64_t name = verify->names[verify->number];

    if (name == place->next_position)
        return;
    report(verify, "position", LOG_FINDING_DAMAGE, 0, place->next_position,
           "position %" PRIu64 " was expected and the segment begins with %" PRIu64, place->next_position, name);
    lose(verify, place->next_position, name - 1);
    place->chain_known = place->offset_known = false;
    place->position_known = true;
    place->next_position = name;
    place->in_batch = false;
}

static enum banyan_status begin_segment(struct verify *verify, struct banyan_error *err)
{
    struct log_verify_place *place = verify->place;
    struct segment_header header;
    const char *data;
    enum banyan_status status = get(verify, 0, sizeof(header), &data, err);

    if (status != BANYAN_OK)
        return status;
    verify->base = place->offset;
    verify->at = sizeof(header);
    verify->found_any = false;
    verify->frame_count = 0;
    verify->damages = place->damages;
    if (data != NULL)
        memcpy(&header, data, sizeof(header));
    verify->header_good = data != NULL && log_segment_check_header(&header);
    check_name(verify);
    if (verify->header_good)
        check_header(verify, &header);
    return BANYAN_OK;
}

/* The end of a segment is not known: all up to the next file's name is lost. */
static void lose_rest(struct verify *verify)
{
    struct log_verify_place *place = verify->place;

    if (place->position_known || place->segment >= verify->count)
        return;
    lose(verify, place->next_position, verify->names[place->segment] - 1);
    place->next_position = verify->names[place->segment];
}

/* A cold file that cannot be opened: its header, its index or its dictionary is damaged, so no frame of it is found.
 * What follows is read as behind any damage. */
static void skip_segment(struct verify *verify, const struct banyan_error *why)
{
    struct log_verify_place *place = verify->place;

    check_name(verify);
    report(verify, "cold_file", LOG_FINDING_DAMAGE, 0, place->next_position,
           "nothing of the archived segment can be read: %s", why->message);
    place->position_known = place->offset_known = place->chain_known = false;
    place->closed = place->in_batch = false;
    place->segment = verify->number + 1;
    lose_rest(verify);
}

static enum banyan_status read_segment(struct verify *verify, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status status = open_segment(verify, verify->number, &why);
    struct log_verify_place *place = verify->place;
    bool go_on = true;

    if (status == BANYAN_CORRUPT) {
        skip_segment(verify, &why);
        return BANYAN_OK;
    }
    if (status == BANYAN_OK)
        status = begin_segment(verify, err);
    else if (err != NULL)
        *err = why;
    while (status == BANYAN_OK && go_on) {
        status = read_frames(verify, err);
        if (status != BANYAN_OK || verify->stop)
            break;
        status = judge(verify, &go_on, err);
    }
    if (status != BANYAN_OK)
        return status;
    if (!verify->header_good) {
        /* Made but never used: the process ended before the header was whole. */
        bool torn = !verify->found_any && verify->number + 1 >= verify->count;

        report(verify, torn ? "torn_tail" : "segment_header", torn ? LOG_FINDING_NOTE : LOG_FINDING_DAMAGE, 0,
               verify->names[verify->number],
               torn ? "the last segment was never begun" : "the header of the segment is damaged");
        if (torn)
            return BANYAN_OK;
    }
    place->segments++;
    place->bytes += sizeof(struct segment_header);
    place->segment = verify->number + 1;
    place->offset = verify->base + verify->at;
    lose_rest(verify);
    verify->bytes_done += verify->file_bytes;
    if (place->segment < verify->count && verify->header_good && place->damages == verify->damages)
        return verify_marks(verify, err);
    return BANYAN_OK;
}

static enum banyan_status list_segments(struct verify *verify, struct banyan_error *err)
{
    enum banyan_status status = log_segments_list(&verify->folders, &verify->names, &verify->count, err);

    for (size_t i = 0; i < verify->count && status == BANYAN_OK; i++) {
        status = open_segment(verify, i, err);
        if (status == BANYAN_CORRUPT) { /* a finding, when its turn comes */
            banyan_error_clear(err);
            status = BANYAN_OK;
        }
        verify->bytes_total += verify->file_bytes;
        if (i < verify->place->segment)
            verify->bytes_done += verify->file_bytes;
    }
    return status;
}

static enum banyan_status read_all(struct verify *verify, struct banyan_error *err)
{
    const struct log_verify_visitor *visitor = verify->visitor;
    struct log_verify_place *place = verify->place;
    enum banyan_status status = BANYAN_OK;

    if (place->segment > 0 &&
        (place->segment > verify->count || verify->names[place->segment - 1] != place->first_position))
        return banyan_error_set(err, BANYAN_INVALID, "%s is not the log that the verification began with",
                                verify->options->folder);
    while (place->segment < verify->count && status == BANYAN_OK && !verify->stop) {
        uint64_t before = place->segment;

        verify->number = (size_t)place->segment;
        status = read_segment(verify, err);
        if (status == BANYAN_OK && place->segment == before)
            break; /* the last one was never begun */
        if (status == BANYAN_OK)
            place->first_position = verify->names[verify->number];
        if (status == BANYAN_OK && !verify->stop && place->segment < verify->count && visitor->segment != NULL)
            status = visitor->segment(visitor->context, place, place->first_position, err);
    }
    return status;
}

enum banyan_status log_verify(const struct log_verify_options *options, struct log_verify_place *place,
                              struct banyan_error *err)
{
    struct verify *verify = alloc_zeroed(1, sizeof(*verify));
    enum banyan_status status;

    verify->options = options;
    verify->folders =
        (struct log_folders){.files = options->files, .hot = options->folder, .cold = options->cold_folder};
    verify->visitor = options->visitor;
    verify->place = place;
    verify->digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    verify->hash = EVP_MD_CTX_new();
    (void)pthread_mutex_init(&verify->lock, NULL);
    (void)pthread_cond_init(&verify->turned, NULL);
    status = list_segments(verify, err);
    if (status == BANYAN_OK && verify->digest == NULL)
        status = banyan_error_set(err, BANYAN_BROKEN, "OpenSSL has no SHA-256");
    if (status == BANYAN_OK && !options->one_thread && verify->bytes_total - verify->bytes_done >= HELPER_BYTES_MIN)
        os_thread_start(&verify->helper, "verify-hash", helper_main, verify);
    if (status == BANYAN_OK)
        status = read_all(verify, err);
    helper_stop(verify);
    log_source_close(verify->source);
    (void)pthread_cond_destroy(&verify->turned);
    (void)pthread_mutex_destroy(&verify->lock);
    EVP_MD_CTX_free(verify->hash);
    EVP_MD_free(verify->digest);
    free(verify->names);
    free(verify->frames);
    free(verify->path);
    free(verify->data);
    free(verify);
    return status;
}
