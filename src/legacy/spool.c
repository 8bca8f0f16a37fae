/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File: u32 length, bytes, and so on.  Nothing is flushed to the disk: after a crash the server sends it all again.
 */
#include "legacy/spool.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char spool_prefix[] = "spool-";

enum {
    ITEM_BYTES_MAX = 1 << 30, /* PostgreSQL's own limit of a row is 1 GB a field */
    PATH_BYTES_MAX = 4096,
};

enum banyan_status spool_clean(const char *folder, struct banyan_error *err)
{
    struct os_files *files = os_files_real();
    char **names = NULL;
    enum banyan_status status = files->make_folder(files, folder, err);
    if (status == BANYAN_OK)
        status = files->list(files, folder, &names, err);
    if (status != BANYAN_OK)
        return status;
    for (size_t i = 0; names[i] != NULL; i++) {
        char path[PATH_BYTES_MAX];
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        if (status == BANYAN_OK && strncmp(names[i], spool_prefix, sizeof(spool_prefix) - 1) == 0)
            status = files->remove(files, path, err);
        free(names[i]);
    }
    free(names);
    return status;
}

enum banyan_status spool_open(struct spool *spool, const char *folder, size_t buffer_bytes, struct banyan_error *err)
{
    static unsigned counter;
    struct os_files *files = os_files_real();
    char path[PATH_BYTES_MAX];
    *spool = (struct spool){.buffer = BANYAN_BUF_INIT((size_t)ITEM_BYTES_MAX + buffer_bytes + sizeof(uint32_t)),
                            .buffer_bytes = buffer_bytes};
    snprintf(path, sizeof(path), "%s/%s%d-%u", folder, spool_prefix, (int)getpid(),
             __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED));
    enum banyan_status status = files->open(files, path, true, &spool->file, err);
    if (status == BANYAN_OK)
        status = files->remove(files, path, err);
    if (status != BANYAN_OK) {
        spool_close(spool);
        banyan_error_hint(err, "large transactions are kept in this folder until they end: it needs room and rights");
    }
    return status;
}

void spool_close(struct spool *spool)
{
    os_files_real()->close(spool->file);
    banyan_buf_release(&spool->buffer);
    *spool = (struct spool){0};
}

static enum banyan_status write_out(struct spool *spool, struct banyan_error *err)
{
    if (spool->buffer.size == 0)
        return BANYAN_OK;
    enum banyan_status status =
        os_files_real()->write(spool->file, spool->size, spool->buffer.data, spool->buffer.size, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "spool of a large transaction");
        return status;
    }
    spool->size += spool->buffer.size;
    banyan_buf_reset(&spool->buffer);
    return BANYAN_OK;
}

enum banyan_status spool_add(struct spool *spool, struct banyan_str item, struct banyan_error *err)
{
    if (item.size > ITEM_BYTES_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "a row change of %zu bytes is too large", item.size);
    if (spool->reading) {
        spool->reading = false;
        banyan_buf_reset(&spool->buffer);
    }
    uint32_t length = (uint32_t)item.size;
    banyan_buf_add(&spool->buffer, &length, sizeof(length));
    banyan_buf_add(&spool->buffer, item.data, item.size);
    assert(!spool->buffer.overflow);
    return spool->buffer.size >= spool->buffer_bytes ? write_out(spool, err) : BANYAN_OK;
}

enum banyan_status spool_rewind(struct spool *spool, struct banyan_error *err)
{
    enum banyan_status status = spool->reading ? BANYAN_OK : write_out(spool, err);
    banyan_buf_reset(&spool->buffer);
    spool->reading = true;
    spool->next = 0;
    spool->taken = 0;
    return status;
}

/* At least *size* bytes in the buffer behind what was given, if the file has them. */
static enum banyan_status fill(struct spool *spool, size_t size, struct banyan_error *err)
{
    size_t left = spool->buffer.size - spool->taken;
    if (left >= size)
        return BANYAN_OK;
    if (left > 0)
        memmove(spool->buffer.data, spool->buffer.data + spool->taken, left);
    spool->buffer.size = left;
    spool->taken = 0;
    size_t wanted = size - left > spool->buffer_bytes ? size - left : spool->buffer_bytes;
    if (wanted > spool->size - spool->next)
        wanted = spool->size - spool->next;
    if (wanted == 0)
        return BANYAN_OK;
    char *place = banyan_buf_extend(&spool->buffer, wanted);
    size_t got = 0;
    enum banyan_status status = os_files_real()->read(spool->file, spool->next, place, wanted, &got, err);
    if (status == BANYAN_OK && got != wanted)
        status = banyan_error_set(err, BANYAN_IO, "spool of a large transaction: the file is shorter than written");
    if (status == BANYAN_OK)
        spool->next += wanted;
    return status;
}

enum banyan_status spool_next(struct spool *spool, struct banyan_str *ret, struct banyan_error *err)
{
    uint32_t length;
    enum banyan_status status = fill(spool, sizeof(length), err);
    if (status != BANYAN_OK)
        return status;
    if (spool->buffer.size == spool->taken)
        return BANYAN_NOT_FOUND;
    if (spool->buffer.size - spool->taken < sizeof(length))
        return banyan_error_set(err, BANYAN_IO, "spool of a large transaction: it ends in the middle");
    memcpy(&length, spool->buffer.data + spool->taken, sizeof(length));
    status = fill(spool, sizeof(length) + length, err);
    if (status != BANYAN_OK)
        return status;
    if (spool->buffer.size - spool->taken < sizeof(length) + length)
        return banyan_error_set(err, BANYAN_IO, "spool of a large transaction: it ends in the middle");
    *ret = (struct banyan_str){spool->buffer.data + spool->taken + sizeof(length), length};
    spool->taken += sizeof(length) + length;
    return BANYAN_OK;
}
