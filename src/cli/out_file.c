/* SPDX-License-Identifier: Apache-2.0 */
/* See out_file.h. */
#include "cli/out_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/file.h"

struct out_file {
    char *path, *part;    /* owned; NULL: standard output */
    struct os_file *file; /* owned; of *part* */
    uint64_t size;
    bool committed;
};

enum banyan_status out_file_open(const char *path, struct out_file **ret, struct banyan_error *err)
{
    struct os_files *files = os_files_real();
    struct out_file *file = alloc_zeroed(1, sizeof(*file));
    enum banyan_status status = BANYAN_OK;
    struct os_file *taken = NULL;
    size_t size;

    if (path != NULL && strcmp(path, "-") != 0) {
        size = strlen(path) + sizeof(".part");
        file->path = alloc_text(path);
        file->part = alloc_zeroed(1, size);
        (void)snprintf(file->part, size, "%s.part", path); /* fits: counted above */
        if (files->open(files, path, false, &taken, NULL) == BANYAN_OK) {
            files->close(taken);
            status = banyan_error_set(err, BANYAN_BUSY, "%s exists", path);
            banyan_error_hint(err, "take another name, or remove it first");
        }
        if (status == BANYAN_OK)
            status = files->open(files, file->part, true, &file->file, err);
        if (status == BANYAN_OK)
            status = files->truncate(file->file, 0, err);
    }
    if (status != BANYAN_OK) {
        out_file_close(file);
        return status;
    }
    *ret = file;
    return BANYAN_OK;
}

enum banyan_status out_file_write(struct out_file *file, struct banyan_str data, struct banyan_error *err)
{
    enum banyan_status status;

    if (file->path == NULL) {
        if (fwrite(data.data, 1, data.size, stdout) != data.size)
            return banyan_error_errno(err, errno, "cannot write to standard output");
        return BANYAN_OK;
    }
    status = os_files_real()->write(file->file, file->size, data.data, data.size, err);
    file->size += data.size;
    return status;
}

enum banyan_status out_file_commit(struct out_file *file, struct banyan_error *err)
{
    struct os_files *files = os_files_real();
    enum banyan_status status;

    if (file->path == NULL)
        return fflush(stdout) == 0 ? BANYAN_OK : banyan_error_errno(err, errno, "cannot write to standard output");
    status = files->sync(file->file, err);
    if (status == BANYAN_OK)
        status = files->rename(files, file->part, file->path, err);
    file->committed = status == BANYAN_OK;
    return status;
}

void out_file_close(struct out_file *file)
{
    struct os_files *files = os_files_real();

    if (file == NULL)
        return;
    if (file->file != NULL && !file->committed) {
        enum banyan_status status = files->remove(files, file->part, NULL);

        (void)status; /* it is nobody's file then: the next export begins it anew */
    }
    files->close(file->file);
    free(file->path);
    free(file->part);
    free(file);
}
