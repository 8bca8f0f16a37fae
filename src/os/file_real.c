/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the system: pread and pwrite in loops, fdatasync, fallocate, one lock.
 *
 * Invariants:
 * 1. Every descriptor is closed on exec.
 * 2. A flush that failed is reported and never tried again: the kernel may have dropped the dirty pages, and a second
 *    call would answer success for data that is gone.
 * 3. Interrupted calls are repeated; short reads and writes are continued.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/file_int.h"

enum {
    ZEROS_SIZE = 1 << 16,          /* written at once where blocks cannot be reserved */
    IO_SIZE_MAX = 1 << 30,         /* of one system call; Linux itself stops below 2 GiB */
    LOCK_TEXT_MAX = 32,            /* bytes of a lock file */
    FOLDER_MODE = S_IRWXU,         /* 0700 */
    FILE_MODE = S_IRUSR | S_IWUSR, /* 0600 */
};

/* A missing file is its own status, since callers decide by it. */
static enum banyan_status path_error(struct banyan_error *err, int code, const char *what, const char *path)
{
    if (code == ENOENT)
        return banyan_error_set(err, BANYAN_NOT_FOUND, "%s %s: %s", what, path, strerror(code));
    enum banyan_status status = banyan_error_errno(err, code, "%s %s", what, path);
    if (code == EACCES || code == EPERM)
        banyan_error_hint(err, "Run as the user who owns the data folder, or correct the owner of %s.", path);
    else if (code == EMFILE || code == ENFILE)
        banyan_error_hint(err, "Raise the limit of open files (ulimit -n, LimitNOFILE).");
    return status;
}

static int open_again(const char *path, int flags)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, FILE_MODE);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static enum banyan_status real_open(struct os_files *files, const char *path, bool create, struct os_file **ret,
                                    struct banyan_error *err)
{
    (void)files; /* stateless */
    int fd = open_again(path, O_RDWR | (create ? O_CREAT : 0));
    /* A reader of an archived or foreign log may lack the right to write. */
    if (fd < 0 && !create && (errno == EACCES || errno == EROFS || errno == EPERM))
        fd = open_again(path, O_RDONLY);
    if (fd < 0)
        return path_error(err, errno, "cannot open", path);
    struct os_file *file = alloc_zeroed(1, sizeof(*file));
    file->fd = fd;
    file->path = alloc_text(path);
    *ret = file;
    return BANYAN_OK;
}

static void real_close(struct os_file *file)
{
    if (file == NULL)
        return;
    (void)close(file->fd); /* what matters was flushed before by sync() */
    free(file->path);
    free(file);
}

static enum banyan_status real_read(struct os_file *file, uint64_t offset, void *data, size_t size, size_t *ret_size,
                                    struct banyan_error *err)
{
    size_t done = 0;
    while (done < size) {
        size_t part = size - done < IO_SIZE_MAX ? size - done : IO_SIZE_MAX;
        ssize_t got = pread(file->fd, (char *)data + done, part, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return banyan_error_errno(err, errno, "cannot read %zu bytes at %llu of %s", size,
                                      (unsigned long long)offset, file->path);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *ret_size = done;
    return BANYAN_OK;
}

static enum banyan_status real_write(struct os_file *file, uint64_t offset, const void *data, size_t size,
                                     struct banyan_error *err)
{
    size_t done = 0;
    while (done < size) {
        size_t part = size - done < IO_SIZE_MAX ? size - done : IO_SIZE_MAX;
        ssize_t put = pwrite(file->fd, (const char *)data + done, part, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return banyan_error_errno(err, put == 0 ? ENOSPC : errno, "cannot write %zu bytes at %llu of %s", size,
                                      (unsigned long long)offset, file->path);
        done += (size_t)put;
    }
    return BANYAN_OK;
}

static enum banyan_status real_sync(struct os_file *file, struct banyan_error *err)
{
    if (fdatasync(file->fd) == 0)
        return BANYAN_OK;
    return banyan_error_errno(err, errno, "cannot flush %s", file->path);
}

static enum banyan_status real_size(struct os_file *file, uint64_t *ret, struct banyan_error *err)
{
    struct stat facts;
    if (fstat(file->fd, &facts) != 0)
        return banyan_error_errno(err, errno, "cannot look at %s", file->path);
    *ret = (uint64_t)facts.st_size;
    return BANYAN_OK;
}

static enum banyan_status write_zeros(struct os_file *file, uint64_t size, struct banyan_error *err)
{
    static const char zeros[ZEROS_SIZE];
    uint64_t at;
    enum banyan_status st = real_size(file, &at, err);
    while (st == BANYAN_OK && at < size) {
        size_t part = size - at < ZEROS_SIZE ? (size_t)(size - at) : ZEROS_SIZE;
        st = real_write(file, at, zeros, part, err);
        at += part;
    }
    return st;
}

static enum banyan_status real_allocate(struct os_file *file, uint64_t size, struct banyan_error *err)
{
    if (size == 0)
        return BANYAN_OK;
    int code;
    do
        code = fallocate(file->fd, 0, 0, (off_t)size) == 0 ? 0 : errno;
    while (code == EINTR);
    if (code == EOPNOTSUPP || code == ENOSYS)
        return write_zeros(file, size, err);
    if (code != 0)
        return banyan_error_errno(err, code, "cannot reserve %llu bytes for %s", (unsigned long long)size, file->path);
    return BANYAN_OK;
}

static enum banyan_status real_truncate(struct os_file *file, uint64_t size, struct banyan_error *err)
{
    int code;
    do
        code = ftruncate(file->fd, (off_t)size) == 0 ? 0 : errno;
    while (code == EINTR);
    if (code != 0)
        return banyan_error_errno(err, code, "cannot cut %s to %llu bytes", file->path, (unsigned long long)size);
    return BANYAN_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static enum banyan_status real_list(struct os_files *files, const char *folder, char ***ret, struct banyan_error *err)
{
    (void)files; /* stateless */
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return path_error(err, errno, "cannot list", folder);
    size_t count = 0;
    size_t capacity = 16;
    char **names = alloc_zeroed(capacity, sizeof(*names));
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (count + 1 == capacity) {
            capacity *= 2;
            names = alloc_resized(names, capacity, sizeof(*names));
        }
        names[count++] = alloc_text(entry->d_name);
    }
    int code = errno;
    (void)closedir(dir); /* only read */
    if (code != 0) {
        free_names(names, count);
        return path_error(err, code, "cannot list", folder);
    }
    names[count] = NULL;
    qsort(names, count, sizeof(*names), by_name);
    *ret = names;
    return BANYAN_OK;
}

static enum banyan_status real_remove(struct os_files *files, const char *path, struct banyan_error *err)
{
    (void)files; /* stateless */
    if (unlink(path) == 0)
        return BANYAN_OK;
    return path_error(err, errno, "cannot remove", path);
}

static enum banyan_status real_rename(struct os_files *files, const char *from, const char *to,
                                      struct banyan_error *err)
{
    (void)files; /* stateless */
    if (rename(from, to) == 0)
        return BANYAN_OK;
    return path_error(err, errno, "cannot rename", from);
}

static enum banyan_status real_link(struct os_files *files, const char *from, const char *to, struct banyan_error *err)
{
    (void)files; /* stateless */
    if (link(from, to) == 0)
        return BANYAN_OK;
    if (errno == EEXIST)
        return banyan_error_set(err, BANYAN_BUSY, "%s exists", to);
    return path_error(err, errno, "cannot link", from);
}

static enum banyan_status real_sync_folder(struct os_files *files, const char *folder, struct banyan_error *err)
{
    (void)files; /* stateless */
    int fd = open_again(folder, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return path_error(err, errno, "cannot open the folder", folder);
    int code = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd); /* only read */
    /* Some network file systems cannot flush a folder and write names through instead. */
    if (code != 0 && code != EINVAL)
        return banyan_error_errno(err, code, "cannot flush the folder %s", folder);
    return BANYAN_OK;
}

/* Flush the folder that holds *path*, so that its name survives a power cut.  Who may not read that folder cannot flush
 * it: it is not ours then, and was there before. */
static enum banyan_status sync_parent(struct os_files *files, const char *path, struct banyan_error *err)
{
    char *parent = alloc_text(path);
    char *slash = strrchr(parent, '/');
    enum banyan_status st = BANYAN_OK;
    if (slash != NULL)
        slash[slash == parent] = '\0';
    const char *name = slash == NULL ? "." : parent;
    if (access(name, R_OK) == 0)
        st = real_sync_folder(files, name, err);
    free(parent);
    return st;
}

/* Make *path*, whose bytes are changed and put back.  Its name is flushed, and that of the folder that was there: an
 * earlier call may have died between making that one and flushing it. */
static enum banyan_status make_path(struct os_files *files, char *path, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    int code = mkdir(path, FOLDER_MODE) == 0 ? 0 : errno;
    char *slash = strrchr(path, '/');
    if (slash == path || code == EEXIST)
        slash = NULL;
    if (slash != NULL) {
        *slash = '\0';
        st = code == ENOENT ? make_path(files, path, err) : sync_parent(files, path, err);
        *slash = '/';
        if (st == BANYAN_OK && code == ENOENT)
            code = mkdir(path, FOLDER_MODE) == 0 ? 0 : errno;
    }
    if (st == BANYAN_OK && code != 0 && code != EEXIST)
        st = path_error(err, code, "cannot make the folder", path);
    return st == BANYAN_OK ? sync_parent(files, path, err) : st;
}

static enum banyan_status real_make_folder(struct os_files *files, const char *folder, struct banyan_error *err)
{
    char *path = alloc_text(folder);
    for (size_t size = strlen(path); size > 1 && path[size - 1] == '/'; size--)
        path[size - 1] = '\0';
    enum banyan_status st = make_path(files, path, err);
    free(path);
    struct stat facts;
    if (st == BANYAN_OK && (stat(folder, &facts) != 0 || !S_ISDIR(facts.st_mode)))
        st = banyan_error_set(err, BANYAN_IO, "%s exists but is not a folder", folder);
    return st;
}

/* Who holds the lock, in words; the holder may not have written its number yet. */
static enum banyan_status lock_busy(struct os_file *file, struct banyan_error *err)
{
    char text[LOCK_TEXT_MAX];
    ssize_t size = pread(file->fd, text, sizeof(text) - 1, 0);
    text[size < 0 ? 0 : size] = '\0';
    long pid = strtol(text, NULL, 10);
    enum banyan_status st;
    if (pid > 0)
        st = banyan_error_set(err, BANYAN_BUSY, "%s is held by process %ld", file->path, pid);
    else
        st = banyan_error_set(err, BANYAN_BUSY, "%s is held by another process", file->path);
    banyan_error_hint(err, "Only one process may use a data folder: stop the other one, or talk to it over HTTP. "
                           "The lock ends with its process; do not remove the file.");
    return st;
}

static enum banyan_status real_lock(struct os_files *files, const char *path, struct os_file **ret,
                                    struct banyan_error *err)
{
    struct os_file *file = NULL;
    enum banyan_status st = real_open(files, path, true, &file, err);
    if (st != BANYAN_OK)
        return st;
    /* A lock of the open file description: closing another descriptor of the same file does not drop it. */
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file->fd, F_OFD_SETLK, &lock) != 0) {
        st = errno == EAGAIN || errno == EACCES ? lock_busy(file, err)
                                                : banyan_error_errno(err, errno, "cannot lock %s", path);
        goto out;
    }
    char text[LOCK_TEXT_MAX];
    int size = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    /* The number is for messages only: on a full disk the lock holds without it. */
    if (real_truncate(file, 0, NULL) == BANYAN_OK)
        (void)real_write(file, 0, text, (size_t)size, NULL); /* as above */
    *ret = file;
    file = NULL;
out:
    real_close(file);
    return st;
}

struct os_files *os_files_real(void)
{
    static struct os_files files = {
        .open = real_open,
        .close = real_close,
        .read = real_read,
        .write = real_write,
        .sync = real_sync,
        .size = real_size,
        .allocate = real_allocate,
        .truncate = real_truncate,
        .list = real_list,
        .remove = real_remove,
        .rename = real_rename,
        .link = real_link,
        .sync_folder = real_sync_folder,
        .make_folder = real_make_folder,
        .lock = real_lock,
    };
    return &files;
}
