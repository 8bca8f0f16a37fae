/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last frames that were read at the end of the log, checked: many readers follow it, one of them reads each frame.
 *
 * A frame stays as long as somebody holds it, and until newer ones take its place; a durable frame never changes, so
 * there is nothing to invalidate.  Threads: any; the lock is held for a look through a few pointers.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "log/log_int.h"

static void drop(struct log_shared_frame *frame)
{
    if (frame != NULL && __atomic_sub_fetch(&frame->holders, 1, __ATOMIC_ACQ_REL) == 0)
        free(frame);
}

void log_shared_frames_release(struct log_shared_frames *frames)
{
    for (size_t i = 0; i < LOG_SHARED_FRAMES; i++)
        drop(frames->ring[i]);
    (void)pthread_mutex_destroy(&frames->lock);
}

/* With the lock, newest first. */
static struct log_shared_frame *find(struct log_shared_frames *frames, uint64_t first_position)
{
    for (size_t i = 1; i <= LOG_SHARED_FRAMES; i++) {
        struct log_shared_frame *frame = frames->ring[(frames->next - i) % LOG_SHARED_FRAMES];

        if (frame == NULL)
            break;
        if (frame->header.first_position == first_position)
            return frame;
    }
    return NULL;
}

struct log_shared_frame *log_shared_frame_take(struct log_shared_frames *frames, uint64_t first_position)
{
    struct log_shared_frame *frame;

    (void)pthread_mutex_lock(&frames->lock);
    frame = find(frames, first_position);
    if (frame != NULL)
        (void)__atomic_add_fetch(&frame->holders, 1, __ATOMIC_RELAXED);
    (void)pthread_mutex_unlock(&frames->lock);
    return frame;
}

void log_shared_frame_give(struct log_shared_frame *frame)
{
    drop(frame);
}

void log_shared_frame_add(struct log_shared_frames *frames, size_t segment, uint64_t at,
                          const struct frame_header *header, const char *records)
{
    struct log_shared_frame *frame, *old = NULL;

    if (header->size > LOG_SPARE_BYTES_MAX)
        return;
    frame = alloc_resized(NULL, sizeof(*frame) + header->size, 1);
    frame->segment = segment;
    frame->at = at;
    frame->header = *header;
    frame->holders = 1;
    memcpy(frame->records, records, header->size);
    (void)pthread_mutex_lock(&frames->lock);
    if (find(frames, header->first_position) != NULL) {
        old = frame; /* somebody was faster */
    } else {
        old = frames->ring[frames->next % LOG_SHARED_FRAMES];
        frames->ring[frames->next++ % LOG_SHARED_FRAMES] = frame;
    }
    (void)pthread_mutex_unlock(&frames->lock);
    drop(old);
}
