/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log in segment files: open, append, wait, close.  The interface and its invariants are in log.h.
 *
 * A batch grows in a frame of the appender's own.  At commit its records join the open frame of the queue, or the frame
 * itself goes there; a batch that outgrows a frame hands full ones over before, so that it needs no memory.
 * Space is reserved by the appender, segment by segment, before a batch is accepted.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "log/log_int.h"
#include "log/varint.h"
#include "os/random.h"

/* ---- open and close ---- */

static void release(struct log *log)
{
    struct log_frame *lists[] = {log->shared.queue, log->shared.spare, log->staged};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (struct log_frame *frame = lists[i], *next; frame != NULL; frame = next) {
            next = frame->next;
            log_frame_free(frame);
        }
    }
    for (size_t i = 0; i < log->shared.segment_count; i++) {
        log->options.files->close(log->shared.segments[i]->file);
        log_segment_free(log->shared.segments[i]);
    }
    free(log->shared.segments);
    EVP_MD_CTX_free(log->out.hash);
    EVP_MD_free(log->out.digest);
    log_shared_frames_release(&log->frames);
    (void)pthread_mutex_destroy(&log->lock);
    (void)pthread_cond_destroy(&log->work);
    (void)pthread_cond_destroy(&log->gathered);
    (void)pthread_cond_destroy(&log->room);
    free((char *)log->options.folder);
    free((char *)log->options.cold_folder);
    free(log);
}

enum banyan_status log_open(const struct log_options *options, struct log **ret, struct banyan_error *err)
{
    struct log *log = alloc_zeroed(1, sizeof(*log));
    enum banyan_status status = BANYAN_OK;

    log->options = *options;
    log->options.folder = alloc_text(options->folder);
    if (options->cold_folder != NULL)
        log->options.cold_folder = alloc_text(options->cold_folder);
    log->folders =
        (struct log_folders){.files = options->files, .hot = log->options.folder, .cold = log->options.cold_folder};
    if (log->options.segment_bytes == 0)
        log->options.segment_bytes = LOG_SEGMENT_BYTES;
    (void)pthread_mutex_init(&log->lock, NULL);
    (void)pthread_mutex_init(&log->frames.lock, NULL);
    os_cond_init(&log->work);
    os_cond_init(&log->gathered);
    os_cond_init(&log->room);
    log->out.digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    log->out.hash = EVP_MD_CTX_new();
    assert(log->out.digest != NULL && log->out.hash != NULL);
    log->staged = log_frame_new();
    os_random_bytes(&log->id, sizeof(log->id)); /* of a new log; an old one knows its own */

    if (!options->read_only)
        status = options->files->make_folder(options->files, options->folder, err);
    if (status == BANYAN_OK)
        status = log_recover(log, err);
    if (status != BANYAN_OK) {
        release(log);
        return status;
    }
    log->committed_position = log->shared.durable;
    log->next_position = log->shared.durable + 1;
    log->placing = log->out.segment;
    if (!options->read_only)
        os_thread_start(&log->flusher, "log-flusher", log_flusher_main, log);
    *ret = log;
    return BANYAN_OK;
}

void log_close(struct log *log)
{
    if (log == NULL)
        return;
    if (log->in_batch)
        log_append_abort(log);
    (void)pthread_mutex_lock(&log->lock);
    log->shared.stopping = true;
    (void)pthread_cond_signal(&log->work);
    (void)pthread_mutex_unlock(&log->lock);
    os_thread_join(&log->flusher);
    if (log->out.appended && log->shared.health == BANYAN_OK && log->shared.queue == NULL) {
        enum banyan_status status = log_write_closed(log, NULL);

        (void)status; /* it helps to tell damage from a torn tail; without it only that is lost */
    }
    release(log);
}

/* ---- append ---- */

static enum banyan_status broken(struct log *log, struct banyan_error *err)
{
    struct banyan_error why;

    (void)pthread_mutex_lock(&log->lock);
    why = log->shared.why;
    (void)pthread_mutex_unlock(&log->lock);
    (void)banyan_error_set(err, BANYAN_BROKEN, "the log is broken: %s", why.message);
    banyan_error_hint(err, "what was acknowledged is safe; check the disk, then open the log again");
    return BANYAN_BROKEN;
}

static bool is_broken(struct log *log)
{
    return __atomic_load_n(&log->shared.health, __ATOMIC_ACQUIRE) != BANYAN_OK;
}

static enum banyan_status no_space(struct log *log, struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_NO_SPACE, "the disk of %s is full", log->options.folder);
    banyan_error_hint(err, "make room; the log goes on by itself, and appends may be repeated with the same ids");
    return BANYAN_NO_SPACE;
}

/* With the lock: true when the disk was full and still is. */
static bool still_full(struct log *log)
{
    while (log->shared.full && log->shared.flushing)
        (void)pthread_cond_wait(&log->room, &log->lock);
    if (log->shared.full && log->shared.queue != NULL && log->shared.health == BANYAN_OK)
        log_flush_group(log);
    if (log->shared.queue == NULL) /* what did not fit was given up */
        log->shared.full = false;
    return log->shared.full;
}

enum banyan_status log_append_begin(struct log *log, struct banyan_error *err)
{
    bool full;

    assert(!log->in_batch);
    if (log->options.read_only)
        return banyan_error_set(err, BANYAN_INVALID, "the log is open for reading only");
    if (is_broken(log))
        return broken(log, err);
    (void)pthread_mutex_lock(&log->lock);
    full = log->shared.full && still_full(log);
    (void)pthread_mutex_unlock(&log->lock);
    if (full)
        return no_space(log, err);
    if (is_broken(log))
        return broken(log, err);
    log->in_batch = true;
    log->handed_over = false;
    return BANYAN_OK;
}

/* Find *frame* a place in a segment; makes the next segment when it has to. */
static enum banyan_status place(struct log *log, struct log_frame *frame, struct banyan_error *err)
{
    struct log_segment *segment = log->placing, *next;
    uint64_t capacity = log->options.segment_bytes;
    enum banyan_status status;

    if (segment == NULL ||
        (segment->assigned + frame->size > segment->capacity && segment->assigned > sizeof(struct segment_header))) {
        next = log_segment_new(log->options.folder, frame->first_position,
                               segment == NULL ? 0 : segment->base_offset + segment->assigned);
        if (capacity < sizeof(struct segment_header) + frame->size)
            capacity = sizeof(struct segment_header) + frame->size;
        status = log_segment_create(log, next, capacity, err);
        if (status != BANYAN_OK) {
            log_segment_free(next);
            if (status == BANYAN_NO_SPACE) {
                banyan_error_clear(err);
                return no_space(log, err);
            }
            return status;
        }
        (void)pthread_mutex_lock(&log->lock);
        log_segments_add(log, next);
        next->marked = true; /* it has none yet */
        log->shared.marked_segments++;
        (void)pthread_mutex_unlock(&log->lock);
        log->placing = segment = next;
    }
    frame->segment = segment;
    segment->assigned += frame->size;
    return BANYAN_OK;
}

/* With the lock: may *frame* join the last one in the queue? */
static bool can_merge(struct log *log, const struct log_frame *frame)
{
    const struct log_frame *last = log->shared.queue_last;
    size_t body = frame->size - sizeof(struct frame_header);

    return last != NULL && last->flags == 0 && frame->flags == 0 && last->segment == log->placing &&
           last->size + body <= LOG_FRAME_BYTES && frame->recorded_at - last->recorded_at <= LOG_MERGE_US_MAX &&
           frame->recorded_at >= last->recorded_at && log->placing->assigned + body <= log->placing->capacity;
}

/* With the lock: move the records of *frame* into the last one of the queue. */
static void merge(struct log *log, struct log_frame *frame)
{
    struct log_frame *last = log->shared.queue_last;
    size_t body = frame->size - sizeof(struct frame_header);

    memcpy(log_frame_extend(last, body), frame->data + sizeof(struct frame_header), body);
    last->record_count += frame->record_count;
    last->batch_count += frame->batch_count;
    log->placing->assigned += body;
    log->shared.pending_bytes += body;
}

/* With the lock: the staged frame goes to the queue, a fresh one takes its place. */
static void push(struct log *log)
{
    struct log_frame *frame = log->staged;

    frame->next = NULL;
    if (log->shared.queue_last != NULL)
        log->shared.queue_last->next = frame;
    else
        log->shared.queue = frame;
    log->shared.queue_last = frame;
    log->shared.pending_bytes += frame->size;
    log->staged = log->shared.spare;
    if (log->staged != NULL) {
        log->shared.spare = log->staged->next;
        log->shared.spare_count--;
    }
}

static void renew_staged(struct log *log)
{
    if (log->staged == NULL)
        log->staged = log_frame_new();
    else
        log_frame_reset(log->staged);
}

/* With the lock: somebody has to flush soon.  A flusher at work sees the queue by itself. */
static void want_flush(struct log *log)
{
    log->shared.wanted = true;
    if (!log->shared.flushing)
        (void)pthread_cond_signal(&log->work);
}

/* With the lock: appenders are slowed down to the disk. */
static void wait_for_room(struct log *log)
{
    while (log->shared.pending_bytes > LOG_PENDING_BYTES_MAX && !log->shared.full && log->shared.health == BANYAN_OK) {
        want_flush(log);
        (void)pthread_cond_wait(&log->room, &log->lock);
    }
}

/* The staged frame of an open batch is full. */
static enum banyan_status hand_over(struct log *log, struct banyan_error *err)
{
    enum banyan_status status;
    bool full;

    log->staged->flags = FRAME_CONTINUES | (log->handed_over ? FRAME_CONTINUED : 0);
    status = place(log, log->staged, err);
    if (status != BANYAN_OK)
        return status;
    (void)pthread_mutex_lock(&log->lock);
    push(log);
    want_flush(log);
    wait_for_room(log);
    full = log->shared.full;
    (void)pthread_mutex_unlock(&log->lock);
    renew_staged(log);
    log->handed_over = true;
    if (is_broken(log))
        return broken(log, err);
    return full ? no_space(log, err) : BANYAN_OK;
}

enum banyan_status log_append_record(struct log *log, struct banyan_str record, struct banyan_position *ret,
                                     struct banyan_error *err)
{
    char length[VARINT_BYTES_MAX];
    size_t length_size;
    char *out;

    assert(log->in_batch);
    if (record.size > LOG_RECORD_BYTES_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "a record has %zu bytes; at most %d fit", record.size,
                                LOG_RECORD_BYTES_MAX);
    length_size = varint_put(length, (uint64_t)record.size << 1);
    if (log->staged->record_count > 0 && log->staged->size + length_size + record.size > LOG_FRAME_BYTES) {
        enum banyan_status status = hand_over(log, err);

        if (status != BANYAN_OK)
            return status;
    }
    if (log->staged->record_count == 0) {
        log->staged->first_position = log->next_position;
        log->staged->recorded_at = os_clock_now(log->options.clock).us;
    }
    log->last_record = log->staged->size;
    out = log_frame_extend(log->staged, length_size + record.size);
    memcpy(out, length, length_size);
    if (record.size > 0)
        memcpy(out + length_size, record.data, record.size);
    log->staged->record_count++;
    ret->value = log->next_position++;
    return BANYAN_OK;
}

static enum banyan_status commit(struct log *log, bool quiet, struct banyan_error *err)
{
    struct log_frame *frame = log->staged;
    enum banyan_status status = BANYAN_OK;
    bool merged;

    assert(log->in_batch && frame->record_count > 0);
    frame->data[log->last_record] |= 1;
    frame->flags = log->handed_over ? FRAME_CONTINUED : 0;
    frame->batch_count = 1;

    (void)pthread_mutex_lock(&log->lock);
    merged = can_merge(log, frame);
    if (!merged) {
        (void)pthread_mutex_unlock(&log->lock);
        status = place(log, frame, err);
        if (status != BANYAN_OK) {
            frame->data[log->last_record] &= (char)~1;
            return status;
        }
        (void)pthread_mutex_lock(&log->lock);
    }
    if (merged)
        merge(log, frame);
    else
        push(log);
    log->shared.pending_batches++;
    log->pace.arrivals++;
    log->pace.arrived_us = os_clock_monotonic_us(log->options.clock);
    log->committed_position = log->next_position - 1;
    __atomic_store_n(&log->shared.tail, log->committed_position, __ATOMIC_RELEASE);
    if (!quiet || log->shared.flushing)
        want_flush(log);
    if (log->shared.gather_target != 0 && log->shared.pending_batches >= log->shared.gather_target)
        (void)pthread_cond_signal(&log->gathered);
    wait_for_room(log);
    (void)pthread_mutex_unlock(&log->lock);
    renew_staged(log);
    log->in_batch = false;
    return BANYAN_OK;
}

enum banyan_status log_append_commit(struct log *log, struct banyan_error *err)
{
    return commit(log, false, err);
}

enum banyan_status log_append_commit_quiet(struct log *log, struct banyan_error *err)
{
    return commit(log, true, err);
}

/* ---- abort ---- */

/* With the lock: take the frames of the open batch out of the queue. */
static void drop_queued(struct log *log)
{
    struct log_frame **link = &log->shared.queue, *frame, *next;
    struct log_frame *last = NULL;

    while (*link != NULL && (*link)->first_position <= log->committed_position) {
        last = *link;
        link = &last->next;
    }
    frame = *link;
    *link = NULL;
    log->shared.queue_last = last;
    for (; frame != NULL; frame = next) {
        next = frame->next;
        frame->segment->assigned -= frame->size;
        log->shared.pending_bytes -= frame->size;
        log_frame_free(frame);
    }
}

/* Frames of the open batch were handed over: take them back, on the disk too. */
static void roll_back(struct log *log)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_OK;
    struct log_end end;

    (void)pthread_mutex_lock(&log->lock);
    while (log->shared.flushing)
        (void)pthread_cond_wait(&log->room, &log->lock);
    drop_queued(log);
    if (log->shared.health == BANYAN_OK) {
        log->shared.flushing = true;
        (void)pthread_mutex_unlock(&log->lock);
        /* Frames that wait before the batch (the disk is full) keep their segment; nothing of the batch is written. */
        end = log->out.end;
        if (log->shared.queue != NULL)
            end = (struct log_end){.segment = log->shared.queue_last->segment};
        status = log_cut(log, &end, &err);
        (void)pthread_mutex_lock(&log->lock);
        log->shared.flushing = false;
        if (status != BANYAN_OK)
            log_break(log, &err);
        (void)pthread_cond_broadcast(&log->room);
        (void)pthread_cond_signal(&log->work);
    }
    log->placing = log->shared.segment_count == 0 ? NULL : log->shared.segments[log->shared.segment_count - 1];
    (void)pthread_mutex_unlock(&log->lock);
}

void log_append_abort(struct log *log)
{
    if (!log->in_batch)
        return;
    log->in_batch = false;
    log_frame_reset(log->staged);
    if (log->handed_over)
        roll_back(log);
    log->handed_over = false;
    log->next_position = log->committed_position + 1;
}

/* ---- wait ---- */

struct banyan_position log_tail(struct log *log)
{
    return (struct banyan_position){__atomic_load_n(&log->shared.tail, __ATOMIC_ACQUIRE)};
}

struct banyan_position log_durable(struct log *log)
{
    return (struct banyan_position){__atomic_load_n(&log->shared.durable, __ATOMIC_ACQUIRE)};
}

/* With the lock: which event tells the end of the group that *position* belongs to? */
static struct os_event *group_end(struct log *log, uint64_t position)
{
    if (position > log->shared.tail)
        return &log->progress;
    if (log->shared.flushing && position <= log->shared.in_flight)
        return &log->done[log->shared.group & 1];
    return &log->done[(log->shared.group + 1) & 1];
}

/* With the lock, which is released meanwhile: wait for *event*; false when the time is over.  Takes the lock again only
 * when *position* is not durable: *ret_locked. */
static bool wait_once(struct log *log, struct os_event *event, uint64_t position, int64_t deadline_us, bool *ret_locked)
{
    uint32_t seen = os_event_now(event);
    int64_t left = INT64_MAX;
    bool in_time;

    (void)pthread_mutex_unlock(&log->lock);
    if (deadline_us != INT64_MAX)
        left = deadline_us - os_clock_monotonic_us(log->options.clock);
    in_time = os_event_wait(event, seen, left);
    *ret_locked = log_durable(log).value < position;
    if (*ret_locked)
        (void)pthread_mutex_lock(&log->lock);
    return in_time;
}

enum banyan_status log_wait_durable(struct log *log, struct banyan_position position, int64_t timeout_us,
                                    struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    int64_t deadline_us = INT64_MAX;
    bool in_time = true, locked = true;

    if (log_durable(log).value >= position.value)
        return BANYAN_OK;
    if (timeout_us < INT64_MAX / 2)
        deadline_us = os_clock_monotonic_us(log->options.clock) + timeout_us;
    (void)pthread_mutex_lock(&log->lock);
    if (log->shared.full)
        (void)still_full(log); /* there may be room by now; the loop looks */
    while (locked && log->shared.durable < position.value) {
        if (log->shared.health != BANYAN_OK)
            status = BANYAN_BROKEN;
        else if (log->shared.full && !log->shared.flushing && position.value <= log->shared.tail)
            status = BANYAN_NO_SPACE;
        else if (!in_time)
            status = BANYAN_TIMEOUT;
        if (status != BANYAN_OK)
            break;
        if (!log->shared.flushing && position.value <= log->shared.tail && log->shared.queue != NULL)
            log_flush_group(log);
        else
            in_time = wait_once(log, group_end(log, position.value), position.value, deadline_us, &locked);
    }
    if (locked)
        (void)pthread_mutex_unlock(&log->lock);
    if (status == BANYAN_BROKEN)
        return broken(log, err);
    if (status == BANYAN_NO_SPACE)
        return no_space(log, err);
    if (status == BANYAN_TIMEOUT)
        return banyan_error_set(err, BANYAN_TIMEOUT, "position %llu is not durable yet",
                                (unsigned long long)position.value);
    return BANYAN_OK;
}

enum banyan_status log_health(struct log *log, struct banyan_error *err)
{
    return is_broken(log) ? broken(log, err) : BANYAN_OK;
}

void log_stats(struct log *log, struct log_stats *ret)
{
    (void)pthread_mutex_lock(&log->lock);
    *ret = log->shared.stats;
    ret->records = log->shared.durable;
    ret->segments = log->shared.segment_count;
    ret->pending_bytes = log->shared.pending_bytes;
    ret->cold_segments = 0;
    for (size_t i = 0; i < log->shared.segment_count; i++)
        ret->cold_segments += log->shared.segments[i]->cold;
    (void)pthread_mutex_unlock(&log->lock);
}
