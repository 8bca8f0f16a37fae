/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with faults: the real ones behind a disk that fills up and a flush that fails.
 *
 * A full disk takes what still fits and refuses the rest, as a real one does: the file then ends in a torn write.
 * Reserving does not use bytes up, but is refused when the growth would not fit.  Setting bytes_left anew makes room.
 *
 * A process that dies between two steps: each call that changes something is counted, and from a given one on none
 * does anything any more.  What comes after is what a killed process leaves (the kernel keeps what was written).
 */
#include <errno.h>

#include "os/file_int.h"

static struct os_files *real(void)
{
    return os_files_real();
}

static struct os_files_test *faults_of(struct os_files *files)
{
    return (struct os_files_test *)files;
}

/* Take up to *size* bytes from what is left; returns how many. */
static size_t take(struct os_files_test *faults, size_t size)
{
    uint64_t left = __atomic_load_n(&faults->bytes_left, __ATOMIC_SEQ_CST);
    for (;;) {
        if (left == UINT64_MAX)
            return size;
        size_t taken = size < left ? size : (size_t)left;
        if (__atomic_compare_exchange_n(&faults->bytes_left, &left, left - taken, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            return taken;
    }
}

/* Count a step; IO when the process is dead. */
static enum banyan_status step(struct os_files_test *faults, const char *what, const char *path,
                               struct banyan_error *err)
{
    uint64_t number = __atomic_add_fetch(&faults->steps, 1, __ATOMIC_SEQ_CST);
    uint64_t dies_at = __atomic_load_n(&faults->dies_at, __ATOMIC_SEQ_CST);

    if (dies_at == 0 || number < dies_at)
        return BANYAN_OK;
    return banyan_error_errno(err, EIO, "cannot %s %s", what, path);
}

static enum banyan_status test_open(struct os_files *files, const char *path, bool create, struct os_file **ret,
                                    struct banyan_error *err)
{
    enum banyan_status st = create ? step(faults_of(files), "create", path, err) : BANYAN_OK;
    if (st == BANYAN_OK)
        st = real()->open(real(), path, create, ret, err);
    if (st == BANYAN_OK)
        (*ret)->faults = faults_of(files);
    return st;
}

static enum banyan_status test_write(struct os_file *file, uint64_t offset, const void *data, size_t size,
                                     struct banyan_error *err)
{
    enum banyan_status st = step(file->faults, "write to", file->path, err);
    if (st != BANYAN_OK)
        return st;
    size_t taken = take(file->faults, size);
    st = real()->write(file, offset, data, taken, err);
    if (st == BANYAN_OK && taken < size)
        st = banyan_error_errno(err, ENOSPC, "cannot write %zu bytes at %llu of %s", size, (unsigned long long)offset,
                                file->path);
    return st;
}

static enum banyan_status test_sync(struct os_file *file, struct banyan_error *err)
{
    enum banyan_status st = step(file->faults, "flush", file->path, err);
    if (st != BANYAN_OK)
        return st;
    uint64_t number = __atomic_add_fetch(&file->faults->syncs, 1, __ATOMIC_SEQ_CST);
    if (number == __atomic_load_n(&file->faults->sync_fails_at, __ATOMIC_SEQ_CST))
        return banyan_error_errno(err, EIO, "cannot flush %s", file->path);
    return real()->sync(file, err);
}

static enum banyan_status test_allocate(struct os_file *file, uint64_t size, struct banyan_error *err)
{
    uint64_t before;
    enum banyan_status st = step(file->faults, "reserve", file->path, err);
    if (st == BANYAN_OK)
        st = real()->size(file, &before, err);
    if (st != BANYAN_OK)
        return st;
    if (size > before && size - before > __atomic_load_n(&file->faults->bytes_left, __ATOMIC_SEQ_CST))
        return banyan_error_errno(err, ENOSPC, "cannot reserve %llu bytes for %s", (unsigned long long)size,
                                  file->path);
    return real()->allocate(file, size, err);
}

static enum banyan_status test_truncate(struct os_file *file, uint64_t size, struct banyan_error *err)
{
    enum banyan_status st = step(file->faults, "cut", file->path, err);
    return st == BANYAN_OK ? real()->truncate(file, size, err) : st;
}

static enum banyan_status test_list(struct os_files *files, const char *folder, char ***ret, struct banyan_error *err)
{
    (void)files; /* no faults here */
    return real()->list(real(), folder, ret, err);
}

static enum banyan_status test_remove(struct os_files *files, const char *path, struct banyan_error *err)
{
    enum banyan_status st = step(faults_of(files), "remove", path, err);
    return st == BANYAN_OK ? real()->remove(real(), path, err) : st;
}

static enum banyan_status test_rename(struct os_files *files, const char *from, const char *to,
                                      struct banyan_error *err)
{
    enum banyan_status st = step(faults_of(files), "rename", from, err);
    return st == BANYAN_OK ? real()->rename(real(), from, to, err) : st;
}

static enum banyan_status test_link(struct os_files *files, const char *from, const char *to, struct banyan_error *err)
{
    enum banyan_status st = step(faults_of(files), "link", from, err);
    return st == BANYAN_OK ? real()->link(real(), from, to, err) : st;
}

static enum banyan_status test_sync_folder(struct os_files *files, const char *folder, struct banyan_error *err)
{
    enum banyan_status st = step(faults_of(files), "flush", folder, err);
    return st == BANYAN_OK ? real()->sync_folder(real(), folder, err) : st;
}

static enum banyan_status test_make_folder(struct os_files *files, const char *folder, struct banyan_error *err)
{
    enum banyan_status st = step(faults_of(files), "make", folder, err);
    return st == BANYAN_OK ? real()->make_folder(real(), folder, err) : st;
}

static enum banyan_status test_lock(struct os_files *files, const char *path, struct os_file **ret,
                                    struct banyan_error *err)
{
    enum banyan_status st = real()->lock(real(), path, ret, err);
    if (st == BANYAN_OK)
        (*ret)->faults = faults_of(files);
    return st;
}

void os_files_test_init(struct os_files_test *files)
{
    *files = (struct os_files_test){
        .base = *real(), /* close, read and size have no faults */
        .bytes_left = UINT64_MAX,
    };
    files->base.open = test_open;
    files->base.write = test_write;
    files->base.sync = test_sync;
    files->base.allocate = test_allocate;
    files->base.list = test_list;
    files->base.truncate = test_truncate;
    files->base.remove = test_remove;
    files->base.rename = test_rename;
    files->base.link = test_link;
    files->base.sync_folder = test_sync_folder;
    files->base.make_folder = test_make_folder;
    files->base.lock = test_lock;
}
