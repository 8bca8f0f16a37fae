/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit: frames of the queue are written, flushed once, published.
 *
 * Invariants
 *   1. One thread flushes at a time: shared.flushing.
 *   2. `durable` moves only after fdatasync of all that lies before it, the file's name in its folder included.
 *   3. A segment is flushed before the header of the next one is written: that header proves it.
 *   4. A failed write leaves the frame in the queue: the same bytes are written to the same place later.  A failed
 *      flush breaks the log: the kernel may have dropped what was not flushed.
 *
 * When several threads append, the next group waits for those whose appends the last one made durable if that takes
 * less than a flush; a lone writer never waits.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/log_int.h"

enum {
    PACE_UNIT = 16,  /* of a µs */
    PACE_WEIGHT = 8, /* the last measurement counts for one of so many */
};

struct log_frame *log_frame_new(void)
{
    struct log_frame *frame = alloc_zeroed(1, sizeof(*frame));

    log_frame_reset(frame);
    return frame;
}

void log_frame_free(struct log_frame *frame)
{
    if (frame == NULL)
        return;
    free(frame->data);
    free(frame);
}

void log_frame_reset(struct log_frame *frame)
{
    char *data = frame->data;
    size_t capacity = frame->capacity;

    memset(frame, 0, sizeof(*frame));
    frame->data = data;
    frame->capacity = capacity;
    (void)log_frame_extend(frame, sizeof(struct frame_header)); /* filled when it is written */
}

char *log_frame_extend(struct log_frame *frame, size_t size)
{
    if (frame->capacity - frame->size < size) {
        size_t capacity = frame->capacity == 0 ? 4096 : frame->capacity;

        while (capacity - frame->size < size)
            capacity *= 2;
        frame->data = alloc_resized(frame->data, capacity, 1);
        frame->capacity = capacity;
    }
    frame->size += size;
    return frame->data + frame->size - size;
}

void log_break(struct log *log, const struct banyan_error *err)
{
    if (log->shared.health != BANYAN_OK)
        return;
    log->shared.why = *err;
    __atomic_store_n(&log->shared.health, BANYAN_BROKEN, __ATOMIC_RELEASE);
    os_event_wake(&log->done[0]);
    os_event_wake(&log->done[1]);
    os_event_wake(&log->progress);
    (void)pthread_cond_broadcast(&log->room);
}

/* Everything written so far is on the disk afterwards. */
static enum banyan_status flush_written(struct log *log, struct banyan_error *err)
{
    struct os_files *files = log->options.files;
    int64_t started = os_clock_monotonic_us(log->options.clock), took;
    enum banyan_status status = BANYAN_OK;

    if (log->out.dirty)
        status = files->sync(log->out.segment->file, err);
    if (status == BANYAN_OK && log->out.folder_dirty)
        status = files->sync_folder(files, log->options.folder, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "flushing %s", log->out.segment->path);
        banyan_error_hint(err, "what was acknowledged is safe; check the disk, then open the log again");
        return BANYAN_BROKEN;
    }
    log->out.dirty = false;
    log->out.folder_dirty = false;
    log->out.flushed = log->out.segment->base_offset + log->out.at;
    took = os_clock_monotonic_us(log->options.clock) - started;
    log->out.flush_us_total += took;
    if (took > log->out.flush_us_max)
        log->out.flush_us_max = took;
    log->pace.flush_us += (took - log->pace.flush_us) / PACE_WEIGHT;
    return BANYAN_OK;
}

/* Go on in *segment*. */
static enum banyan_status switch_segment(struct log *log, struct log_segment *segment, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    if (log->out.dirty)
        status = flush_written(log, err);
    if (status == BANYAN_OK)
        status = log_segment_write_header(log, segment, log->out.chain, err);
    if (status != BANYAN_OK)
        return status;
    if (log->out.segment != NULL && log->out.segment->file != NULL) {
        log->options.files->close(log->out.segment->file);
        log->out.segment->file = NULL;
    }
    log->out.segment = segment;
    log->out.at = sizeof(struct segment_header);
    log->out.dirty = true;
    log->out.folder_dirty = true;
    return BANYAN_OK;
}

static enum banyan_status write_frame(struct log *log, struct log_frame *frame, struct banyan_error *err)
{
    struct frame_header *header = (struct frame_header *)frame->data;
    enum banyan_status status = BANYAN_OK;

    if (frame->segment != log->out.segment)
        status = switch_segment(log, frame->segment, err);
    if (status != BANYAN_OK)
        return status;
    *header = (struct frame_header){
        .magic = FRAME_MAGIC,
        .size = (uint32_t)(frame->size - sizeof(*header)),
        .record_count = frame->record_count,
        .first_position = frame->first_position,
        .offset = log->out.segment->base_offset + log->out.at,
        .flushed = log->out.flushed,
        .recorded_at = frame->recorded_at,
        .flags = frame->flags,
    };
    log_chain(log->out.hash, log->out.digest, log->out.chain, frame->data, header->chain);
    header->crc =
        crc32c(0, frame->data + offsetof(struct frame_header, size), frame->size - offsetof(struct frame_header, size));
    status = log->options.files->write(log->out.segment->file, log->out.at, frame->data, frame->size, err);
    if (status != BANYAN_OK)
        return status;
    frame->at = log->out.at;
    log->out.at += frame->size;
    log->out.dirty = true;
    log->out.appended = true;
    memcpy(log->out.chain, header->chain, LOG_CHAIN_BYTES);
    if ((frame->flags & FRAME_CONTINUES) == 0) {
        log->out.end.segment = log->out.segment;
        log->out.end.at = log->out.at;
        log->out.end.position = frame->first_position + frame->record_count - 1;
        memcpy(log->out.end.chain, header->chain, LOG_CHAIN_BYTES);
    }
    return BANYAN_OK;
}

enum banyan_status log_write_closed(struct log *log, struct banyan_error *err)
{
    struct log_frame *frame = log_frame_new();
    enum banyan_status status;

    frame->flags = FRAME_CLOSED;
    frame->first_position = log->out.end.position + 1;
    frame->segment = log->out.segment;
    frame->recorded_at = os_clock_now(log->options.clock).us;
    status = write_frame(log, frame, err);
    if (status == BANYAN_OK)
        status = flush_written(log, err);
    log_frame_free(frame);
    return status;
}

/* Write *list* in order and flush it if a batch ended in it.  *ret_rest: the frames that were not written. */
static enum banyan_status write_group(struct log *log, struct log_frame *list, struct log_frame **ret_rest,
                                      struct banyan_error *err)
{
    uint64_t before = log->out.end.position;
    enum banyan_status status = BANYAN_OK, flushed = BANYAN_OK;

    while (list != NULL && status == BANYAN_OK) {
        status = write_frame(log, list, err);
        if (status == BANYAN_OK)
            list = list->next;
    }
    *ret_rest = list;
    if (status != BANYAN_OK && status != BANYAN_NO_SPACE)
        return BANYAN_BROKEN;
    if (log->out.end.position != before)
        flushed = flush_written(log, err);
    return flushed != BANYAN_OK ? flushed : status;
}

/* With the lock: the written frames become spare ones, and their places findable. */
static void retire(struct log *log, struct log_frame *frame)
{
    log_marks_add(&frame->segment->marks, (const struct frame_header *)frame->data, frame->at);
    log->shared.pending_bytes -= frame->size;
    log->shared.stats.batches += frame->batch_count;
    log->shared.stats.bytes += frame->size;
    if (log->shared.spare_count >= LOG_SPARE_FRAMES_MAX || frame->capacity > LOG_SPARE_BYTES_MAX) {
        log_frame_free(frame);
        return;
    }
    frame->next = log->shared.spare;
    log->shared.spare = frame;
    log->shared.spare_count++;
}

/* With the lock: learn from the appends since the last group ended. */
static void measure(struct log *log)
{
    if (log->pace.arrivals == 0)
        return;
    int64_t each = (log->pace.arrived_us - log->pace.ended_us) * PACE_UNIT / (int64_t)log->pace.arrivals;

    if (each > log->pace.flush_us * PACE_UNIT) /* a pause of theirs, say: nothing to wait for, however long it was */
        each = log->pace.flush_us * PACE_UNIT;
    log->pace.each += (each - log->pace.each) / PACE_WEIGHT;
    log->pace.arrivals = 0;
}

/* With the lock.  Those whose appends the last group made durable come again, and some are in the queue: all can share
 * a flush.  To wait until they came costs the processor's time for them; not to wait costs a second flush, but their
 * time passes during the first.  So the shorter one decides. */
static void gather(struct log *log)
{
    uint64_t all = log->pace.target;
    int64_t needed = (int64_t)all * log->pace.each / PACE_UNIT, timeout_us;

    if (all < 2 || log->shared.pending_batches >= all || needed >= log->pace.flush_us)
        return;
    timeout_us = log->pace.flush_us / 2 < LOG_GATHER_US_MAX ? log->pace.flush_us / 2 : LOG_GATHER_US_MAX;
    log->shared.gather_target = all;
    (void)os_cond_wait(&log->gathered, &log->lock, timeout_us); /* late ones go with the next group */
    log->shared.gather_target = 0;
}

void log_flush_group(struct log *log)
{
    struct log_frame *list, *rest = NULL, *next;
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status;
    bool moved = false, full;
    uint64_t group, batches;

    log->shared.flushing = true;
    measure(log);
    gather(log);
    list = log->shared.queue;
    log->shared.in_flight = log->shared.queue_last->first_position + log->shared.queue_last->record_count - 1;
    batches = log->shared.pending_batches;
    log->shared.queue = log->shared.queue_last = NULL;
    log->shared.pending_batches = 0;
    log->shared.wanted = false;
    log->shared.group++;
    (void)pthread_mutex_unlock(&log->lock);

    status = write_group(log, list, &rest, &err);

    (void)pthread_mutex_lock(&log->lock);
    for (; list != rest; list = next) {
        next = list->next;
        retire(log, list);
    }
    if (rest != NULL) { /* back to the front of the queue */
        struct log_frame *last = rest;

        for (; last->next != NULL; last = last->next)
            log->shared.pending_batches += last->batch_count;
        log->shared.pending_batches += last->batch_count;
        last->next = log->shared.queue;
        log->shared.queue = rest;
        if (log->shared.queue_last == NULL)
            log->shared.queue_last = last;
    }
    log->shared.stats.flush_us_total = log->out.flush_us_total;
    log->shared.stats.flush_us_max = log->out.flush_us_max;
    log->shared.full = status == BANYAN_NO_SPACE;
    if (status == BANYAN_BROKEN) {
        log_break(log, &err);
    } else if (log->out.end.position > log->shared.durable) {
        __atomic_store_n(&log->shared.durable, log->out.end.position, __ATOMIC_RELEASE);
        log->shared.stats.groups++;
        moved = true;
    }
    measure(log);
    log->pace.ended_us = os_clock_monotonic_us(log->options.clock);
    log->pace.target = batches + log->shared.pending_batches;
    log->shared.flushing = false;
    if (log->shared.queue != NULL) /* when the disk is full: to try again after a pause */
        log->shared.wanted = true;
    if (log->shared.queue != NULL || log_marks_can_save(log))
        (void)pthread_cond_signal(&log->work);
    (void)pthread_cond_broadcast(&log->room);
    group = log->shared.group;
    full = log->shared.full;
    (void)pthread_mutex_unlock(&log->lock);
    os_event_wake(&log->done[group & 1]);
    if (full)
        os_event_wake(&log->done[(group + 1) & 1]);
    if (moved)
        os_event_wake(&log->progress);
    (void)pthread_mutex_lock(&log->lock);
}

void log_flusher_main(void *argument)
{
    struct log *log = argument;

    (void)pthread_mutex_lock(&log->lock);
    for (;;) {
        bool ready = log->shared.queue != NULL && !log->shared.flushing && log->shared.health == BANYAN_OK;

        if (ready && log->shared.full && !log->shared.stopping) {
            /* The disk was full: try again after a pause. */
            if (!os_cond_wait(&log->work, &log->lock, LOG_RETRY_US) && log->shared.queue != NULL &&
                !log->shared.flushing && log->shared.full)
                log_flush_group(log);
            continue;
        }
        if (ready && (log->shared.wanted || log->shared.stopping)) {
            log_flush_group(log);
            if (log->shared.stopping && log->shared.full)
                break; /* what is left was never acknowledged */
            continue;
        }
        if (log_marks_can_save(log)) {
            log_marks_save(log);
            continue;
        }
        if (log->shared.stopping && !log->shared.flushing)
            break;
        (void)pthread_cond_wait(&log->work, &log->lock);
    }
    (void)pthread_mutex_unlock(&log->lock);
}
