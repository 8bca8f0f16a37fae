/* SPDX-License-Identifier: Apache-2.0 */
/* The file that names the runs; written anew under another name and renamed, so that it is the old or the new one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/buf.h"
#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/varint.h"
#include "store/index_int.h"
#include "store/store.h"

enum {
    MANIFEST_BYTES_MAX = 256 * 1024 * 1024,
    CRC_END = 12, /* the checksum is of the bytes from here on */
};

void index_manifest_release(struct index_manifest *manifest)
{
    free(manifest->runs);
    cursors_release(&manifest->cursors);
}

/* ---- save ---- */

static void add_text(struct banyan_buf *buf, const char *data, size_t size)
{
    char length[VARINT_BYTES_MAX];

    banyan_buf_add(buf, length, varint_put(length, size));
    banyan_buf_add(buf, data, size);
}

static enum banyan_status write_file(struct os_files *files, const char *path, struct banyan_str data,
                                     struct banyan_error *err)
{
    struct os_file *file = NULL;
    enum banyan_status status = files->open(files, path, true, &file, err);

    if (status == BANYAN_OK)
        status = files->truncate(file, 0, err);
    if (status == BANYAN_OK)
        status = files->write(file, 0, data.data, data.size, err);
    if (status == BANYAN_OK)
        status = files->sync(file, err);
    files->close(file);
    return status;
}

enum banyan_status index_manifest_save(struct os_files *files, const char *folder,
                                       const struct index_manifest *manifest, struct banyan_error *err)
{
    struct banyan_buf buf = BANYAN_BUF_INIT(MANIFEST_BYTES_MAX);
    struct index_manifest_header header = {
        .magic = INDEX_MANIFEST_MAGIC,
        .format = INDEX_FORMAT,
        .seeds = {manifest->seeds[0], manifest->seeds[1]},
        .covered = manifest->covered,
        .check = manifest->check,
        .next_sequence = manifest->next_sequence,
        .stream_count = manifest->stream_count,
        .run_count = (uint32_t)manifest->run_count,
        .cursor_count = (uint32_t)manifest->cursors.count,
    };
    char *path = alloc_path(folder, "manifest"), *new_path = alloc_path(folder, "manifest.new");
    enum banyan_status status;

    banyan_buf_add(&buf, &header, sizeof(header));
    banyan_buf_add(&buf, manifest->runs, manifest->run_count * sizeof(*manifest->runs));
    for (size_t i = 0; i < manifest->cursors.count; i++) {
        const struct cursor *cursor = &manifest->cursors.items[i];

        add_text(&buf, cursor->name, cursor->name_size);
        add_text(&buf, cursor->value, cursor->value_size);
    }
    if (buf.overflow) {
        status = banyan_error_set(err, BANYAN_LIMIT, "the store has too many cursors for its index");
        goto out;
    }
    header.size = buf.size;
    memcpy(buf.data, &header, sizeof(header));
    header.crc = crc32c(0, buf.data + CRC_END, buf.size - CRC_END);
    memcpy(buf.data, &header, sizeof(header));
    status = files->sync_folder(files, folder, err); /* the runs, before they are named */
    if (status == BANYAN_OK)
        status = write_file(files, new_path, banyan_buf_str(&buf), err);
    if (status == BANYAN_OK)
        status = files->rename(files, new_path, path, err);
    if (status == BANYAN_OK)
        status = files->sync_folder(files, folder, err);
out:
    banyan_buf_release(&buf);
    free(new_path);
    free(path);
    return status;
}

/* ---- load ---- */

static bool get_text(const char **next, const char *end, struct banyan_str *ret)
{
    uint64_t size;
    size_t used = varint_get(*next, end, &size);

    if (used == 0 || size > (uint64_t)(end - *next) - used)
        return false;
    *ret = (struct banyan_str){*next + used, (size_t)size};
    *next += used + size;
    return true;
}

static bool parse(const char *data, size_t size, struct index_manifest *ret)
{
    struct index_manifest_header header;
    const char *next = data + sizeof(header), *end = data + size;

    if (size < sizeof(header))
        return false;
    memcpy(&header, data, sizeof(header));
    if (memcmp(header.magic, INDEX_MANIFEST_MAGIC, sizeof(header.magic)) != 0 || header.format != INDEX_FORMAT ||
        header.size != size || header.crc != crc32c(0, data + CRC_END, size - CRC_END) ||
        header.run_count > (size - sizeof(header)) / sizeof(struct index_manifest_run))
        return false;
    ret->seeds[0] = header.seeds[0];
    ret->seeds[1] = header.seeds[1];
    ret->covered = header.covered;
    ret->check = header.check;
    ret->next_sequence = header.next_sequence;
    ret->stream_count = header.stream_count;
    ret->run_count = header.run_count;
    ret->runs = alloc_zeroed(header.run_count + (size_t)1, sizeof(*ret->runs));
    memcpy(ret->runs, next, header.run_count * sizeof(*ret->runs));
    next += header.run_count * sizeof(*ret->runs);
    for (uint32_t i = 0; i < header.cursor_count; i++) {
        struct store_cursor cursor;

        if (!get_text(&next, end, &cursor.name) || !get_text(&next, end, &cursor.value))
            return false;
        cursors_put(&ret->cursors, &cursor);
    }
    return next == end;
}

/* Do the runs cover what they should, without gap? */
static bool is_whole(const struct index_manifest *manifest)
{
    uint64_t next = 1;

    for (size_t i = 0; i < manifest->run_count; i++) {
        const struct index_manifest_run *run = &manifest->runs[i];

        if (run->first != next || run->last < run->first || run->sequence >= manifest->next_sequence)
            return false;
        next = run->last + 1;
    }
    return next == manifest->covered + 1;
}

enum banyan_status index_manifest_load(struct os_files *files, const char *folder, struct index_manifest *ret,
                                       struct banyan_error *err)
{
    struct index_manifest manifest = {.runs = NULL};
    char *path = alloc_path(folder, "manifest"), *data = NULL;
    struct os_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;
    enum banyan_status status = files->open(files, path, false, &file, err);

    if (status == BANYAN_OK)
        status = files->size(file, &size, err);
    if (status == BANYAN_OK && size <= MANIFEST_BYTES_MAX) {
        data = alloc_resized(NULL, (size_t)size + 1, 1);
        status = files->read(file, 0, data, (size_t)size, &got, err);
    }
    if (status == BANYAN_OK &&
        (size > MANIFEST_BYTES_MAX || got != size || !parse(data, got, &manifest) || !is_whole(&manifest)))
        status = banyan_error_set(err, BANYAN_CORRUPT, "%s is damaged", path);
    files->close(file);
    free(data);
    free(path);
    if (status == BANYAN_OK)
        *ret = manifest;
    else
        index_manifest_release(&manifest);
    return status;
}

/* ---- clean ---- */

void index_manifest_remove(struct os_files *files, const char *folder)
{
    char *path = alloc_path(folder, "manifest");

    (void)files->remove(files, path, NULL); /* each block is checked when it is read, then as now */
    (void)files->sync_folder(files, folder, NULL);
    free(path);
}

static bool is_kept(const struct index_manifest *kept, uint64_t sequence)
{
    for (size_t i = 0; kept != NULL && i < kept->run_count; i++) {
        if (kept->runs[i].sequence == sequence)
            return true;
    }
    return false;
}

void index_manifest_clean(struct os_files *files, const char *folder, const struct index_manifest *kept)
{
    char **names = NULL;

    if (files->list(files, folder, &names, NULL) != BANYAN_OK)
        return; /* there is none, or writing will say what is wrong */
    for (size_t i = 0; names[i] != NULL; i++) {
        bool manifest = strcmp(names[i], "manifest") == 0, new_one = strcmp(names[i], "manifest.new") == 0;
        uint64_t sequence;

        if ((manifest && kept == NULL) || new_one ||
            (index_run_parse_name(names[i], &sequence) && !is_kept(kept, sequence))) {
            char *path = alloc_path(folder, names[i]);

            (void)files->remove(files, path, NULL); /* a file that stays takes room and nothing else */
            free(path);
        }
    }
    for (size_t i = 0; names[i] != NULL; i++)
        free(names[i]);
    free(names);
}
