/* SPDX-License-Identifier: Apache-2.0 */
/* A file that appears whole or not at all: see os_file_put(). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/file.h"

enum {
    PIECE_BYTES = 1024 * 1024,
};

static enum banyan_status write_pieces(struct os_files *files, const char *path, os_file_next *next, void *context,
                                       struct banyan_error *err)
{
    char *piece = alloc_zeroed(1, PIECE_BYTES);
    struct os_file *out = NULL;
    enum banyan_status status = files->open(files, path, true, &out, err);
    size_t got = 1;

    if (status == BANYAN_OK)
        status = files->truncate(out, 0, err); /* one was left by a process that ended */
    for (uint64_t at = 0; status == BANYAN_OK && got > 0; at += got) {
        status = next(context, at, piece, PIECE_BYTES, &got, err);
        if (status == BANYAN_OK && got > 0)
            status = files->write(out, at, piece, got, err);
    }
    if (status == BANYAN_OK)
        status = files->sync(out, err);
    files->close(out);
    free(piece);
    return status;
}

enum banyan_status os_file_put(struct os_files *files, const char *path, os_file_next *next, void *context,
                               struct banyan_error *err)
{
    size_t room = strlen(path) + sizeof(".part");
    char *part = alloc_zeroed(1, room);
    enum banyan_status status;

    (void)snprintf(part, room, "%s.part", path); /* fits: counted above */
    status = write_pieces(files, part, next, context, err);
    if (status == BANYAN_OK)
        status = files->rename(files, part, path, err);
    free(part);
    return status;
}
