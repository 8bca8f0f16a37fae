/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a segment, wherever they are kept: what readers, marks and verification read through. */
#include <stdlib.h>

#include "base/alloc.h"
#include "log/log_int.h"

struct log_source {
    struct os_files *files;
    struct os_file *file; /* owned */
};

enum banyan_status log_source_open(struct log *log, const struct log_segment *segment, struct log_source **ret,
                                   struct banyan_error *err)
{
    struct os_file *file = NULL;
    enum banyan_status status = log->options.files->open(log->options.files, segment->path, false, &file, err);

    if (status != BANYAN_OK)
        return status;
    *ret = alloc_zeroed(1, sizeof(**ret));
    **ret = (struct log_source){.files = log->options.files, .file = file};
    return BANYAN_OK;
}

void log_source_close(struct log_source *source)
{
    if (source == NULL)
        return;
    source->files->close(source->file);
    free(source);
}

enum banyan_status log_source_read(struct log_source *source, uint64_t at, void *data, size_t size, size_t *ret_size,
                                   struct banyan_error *err)
{
    return source->files->read(source->file, at, data, size, ret_size, err);
}
