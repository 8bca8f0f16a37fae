/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment files and their table.
 *
 * A segment is named after its first position and reserved whole when it is made, so that a full disk is met before a
 * batch is accepted and not in its middle.
 */
#include "log/log_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"

struct log_segment *log_segment_new(const char *folder, uint64_t first_position, uint64_t base_offset)
{
    struct log_segment *segment = alloc_zeroed(1, sizeof(*segment));

    segment->first_position = first_position;
    segment->base_offset = base_offset;
    segment->path = log_segment_path(folder, first_position, LOG_SEGMENT_SUFFIX);
    return segment;
}

void log_segment_free(struct log_segment *segment)
{
    if (segment == NULL)
        return;
    log_marks_release(&segment->marks);
    free(segment->path);
    free(segment);
}

enum banyan_status log_segment_create(struct log *log, struct log_segment *segment, uint64_t capacity,
                                      struct banyan_error *err)
{
    struct os_files *files = log->options.files;
    struct os_file *file = NULL;
    enum banyan_status status = files->open(files, segment->path, true, &file, err);

    if (status != BANYAN_OK)
        return status;
    status = files->allocate(file, capacity, err);
    if (status != BANYAN_OK) {
        files->close(file);
        (void)files->remove(files, segment->path, NULL); /* the first error wins; an empty file does no harm */
        return status;
    }
    segment->file = file;
    segment->capacity = capacity;
    segment->assigned = sizeof(struct segment_header);
    return BANYAN_OK;
}

enum banyan_status log_segment_write_header(struct log *log, struct log_segment *segment,
                                            const uint8_t chain[LOG_CHAIN_BYTES], struct banyan_error *err)
{
    struct segment_header header = {
        .magic = SEGMENT_MAGIC,
        .format = SEGMENT_FORMAT,
        .log_id = log->id,
        .first_position = segment->first_position,
        .base_offset = segment->base_offset,
        .previous_position = log->out.segment == NULL ? 0 : log->out.segment->first_position,
    };

    memcpy(segment->chain, chain, LOG_CHAIN_BYTES);
    memcpy(header.chain, chain, LOG_CHAIN_BYTES);
    header.crc = crc32c(0, (const char *)&header + offsetof(struct segment_header, format),
                        sizeof(header) - offsetof(struct segment_header, format));
    return log->options.files->write(segment->file, 0, &header, sizeof(header), err);
}

bool log_segment_check_header(const struct segment_header *header)
{
    return memcmp(header->magic, SEGMENT_MAGIC, sizeof(header->magic)) == 0 &&
           header->crc == crc32c(0, (const char *)header + offsetof(struct segment_header, format),
                                 sizeof(*header) - offsetof(struct segment_header, format));
}

void log_segment_unload(struct log *log, struct log_segment *segment)
{
    if (segment->marked)
        log->shared.marked_segments--;
    segment->marked = false;
    log_marks_release(&segment->marks);
}

void log_segments_add(struct log *log, struct log_segment *segment)
{
    size_t count = log->shared.segment_count;

    if (count == log->shared.segment_capacity) {
        log->shared.segment_capacity = count == 0 ? 16 : count * 2;
        log->shared.segments =
            alloc_resized(log->shared.segments, log->shared.segment_capacity, sizeof(*log->shared.segments));
    }
    log->shared.segments[count] = segment;
    __atomic_store_n(&log->shared.segment_count, count + 1, __ATOMIC_RELEASE);
}

size_t log_segments_find(struct log *log, uint64_t position)
{
    size_t low = 0, high = log->shared.segment_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (log->shared.segments[middle]->first_position <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? log->shared.segment_count : low - 1;
}
