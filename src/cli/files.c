/* SPDX-License-Identifier: Apache-2.0 */
/* See files.h. */
#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024,
};

enum banyan_status files_read(const char *path, struct banyan_buf *ret, struct banyan_error *err)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    enum banyan_status status = BANYAN_OK;
    char data[READ_BYTES];

    if (fd < 0 && errno == ENOENT)
        return banyan_error_set(err, BANYAN_NOT_FOUND, "there is no %s", path);
    if (fd < 0)
        return banyan_error_errno(err, errno, "cannot open %s", path);
    for (;;) {
        ssize_t got = read(fd, data, sizeof(data));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = banyan_error_errno(err, errno, "cannot read %s", path);
        if (got <= 0)
            break;
        banyan_buf_add(ret, data, (size_t)got);
        if (ret->overflow) {
            status = banyan_error_set(err, BANYAN_LIMIT, "%s has more than %zu bytes", path, ret->size_max);
            break;
        }
    }
    if (!standard)
        (void)close(fd); /* only read */
    return status;
}

enum banyan_status files_write_new(const char *path, struct banyan_str data, bool secret, struct banyan_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, secret ? 0600 : 0666);
    enum banyan_status status = BANYAN_OK;

    if (fd < 0 && errno == EEXIST) {
        (void)banyan_error_set(err, BANYAN_INVALID, "%s is there already", path);
        banyan_error_hint(err, "it is not written over: move it away, or name another file");
        return BANYAN_INVALID;
    }
    if (fd < 0)
        return banyan_error_errno(err, errno, "cannot write %s", path);
    for (size_t done = 0; done < data.size && status == BANYAN_OK;) {
        ssize_t put = write(fd, data.data + done, data.size - done);

        if (put < 0 && errno != EINTR)
            status = banyan_error_errno(err, errno, "cannot write %s", path);
        done += put > 0 ? (size_t)put : 0;
    }
    if (status == BANYAN_OK && fsync(fd) != 0 && errno != EINVAL)
        status = banyan_error_errno(err, errno, "cannot flush %s", path);
    if (close(fd) != 0 && status == BANYAN_OK)
        status = banyan_error_errno(err, errno, "cannot write %s", path);
    if (status != BANYAN_OK)
        (void)unlink(path); /* half a file helps nobody; the first error is reported */
    return status;
}
