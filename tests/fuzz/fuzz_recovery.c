/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz entry of opening a store: the input is the bytes of its only segment file.
 *
 * Opening either refuses, with a reason, or gives whole batches only: positions without a gap, the last event ends its
 * batch.  A store that was opened is opened again with the same events.  Checksums stand in the way of a
 * fuzzer, so with the first byte of the input they are put right before: what passes them has to be checked itself.
 * Then a frame may contradict its records about the end of a batch, which is a matter of verification.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/log/folder.h"
#include "base/crc32c.h"
#include "log/frame.h"
#include "store/store.h"

enum {
    FRAMES_MAX = 64,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Give the header of the segment and each frame behind it the checksum that fits. */
static void put_right(char *bytes, size_t size)
{
    size_t at = sizeof(struct segment_header);
    struct segment_header *segment = (struct segment_header *)bytes;

    if (size < sizeof(*segment))
        return;
    memcpy(segment->magic, SEGMENT_MAGIC, sizeof(segment->magic));
    segment->format = SEGMENT_FORMAT;
    segment->first_position = 1;
    segment->base_offset = 0;
    segment->previous_position = 0;
    segment->crc = crc32c(0, bytes + offsetof(struct segment_header, format),
                          sizeof(*segment) - offsetof(struct segment_header, format));
    for (int i = 0; i < FRAMES_MAX && size - at >= sizeof(struct frame_header); i++) {
        struct frame_header frame;

        memcpy(&frame, bytes + at, sizeof(frame));
        frame.magic = FRAME_MAGIC;
        frame.offset = at;
        if (frame.size > size - at - sizeof(frame))
            frame.size = (uint32_t)(size - at - sizeof(frame));
        memcpy(bytes + at, &frame, sizeof(frame));
        frame.crc = crc32c(0, bytes + at + offsetof(struct frame_header, size),
                           sizeof(frame) + frame.size - offsetof(struct frame_header, size));
        memcpy(bytes + at, &frame, sizeof(frame));
        at += sizeof(frame) + frame.size;
    }
}

/* Events of the store; UINT64_MAX when it was refused. */
static uint64_t open_and_read(const char *folder, bool forged)
{
    struct store_options options = {.folder = folder, .segment_bytes = 65536};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store = NULL;
    struct store_reader *reader;
    struct store_read_event event = {.ends_batch = true};
    enum banyan_status status = store_open(&options, &store, &err);
    uint64_t count = 0;

    if (status != BANYAN_OK) {
        if (store != NULL || err.message[0] == '\0')
            abort();
        return UINT64_MAX;
    }
    reader = store_reader_open(store);
    while ((status = store_reader_next(reader, &event, &err)) == BANYAN_OK) {
        if (event.position.value != ++count)
            abort();
    }
    if (status == BANYAN_NOT_FOUND && (count != store_durable(store).value || (!forged && !event.ends_batch)))
        abort();
    if (status != BANYAN_NOT_FOUND && err.message[0] == '\0')
        abort();
    store_reader_close(reader);
    store_close(store);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char folder[FOLDER_PATH_MAX], log[FOLDER_PATH_MAX + 16], path[FOLDER_PATH_MAX + 80];
    bool forged = size > 0 && data[0] % 4 != 0;
    uint64_t first;
    char *bytes;

    if (size == 0)
        return 0;
    bytes = malloc(size);
    memcpy(bytes, data + 1, size - 1);
    if (forged)
        put_right(bytes, size - 1);
    folder_make_quick(folder);
    (void)snprintf(log, sizeof(log), "%s/log", folder);
    (void)snprintf(path, sizeof(path), "%s/%020d.seg", log, 1);
    (void)mkdir(log, 0700);
    file_save(path, bytes, size - 1);
    first = open_and_read(folder, forged);
    if (first != UINT64_MAX && open_and_read(folder, forged) != first)
        abort();
    folder_remove(folder);
    free(bytes);
    return 0;
}
