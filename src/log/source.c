/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hot and cold segments behind one interface.
 *
 * Of a cold segment the dictionary and the index are kept while it is open, and the block that was read last.
 */
#include "log/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/frame.h"
#include "log/log.h"

enum {
    NAME_DIGITS = 20,
    DICTIONARY_BYTES_MAX = 1024 * 1024,
    BLOCK_BYTES_MAX = LOG_RECORD_BYTES_MAX + 256 * 1024, /* a frame of one record, and smaller ones before it */
};

struct log_source {
    struct os_files *files;
    struct os_file *file; /* owned */
    char *path;           /* owned */
    uint64_t bytes;

    /* Of a cold one. */
    bool cold;
    struct cold_header header;
    struct cold_block *blocks; /* owned */
    uint64_t *ats;             /* owned; byte in the segment of each block, and of the end */
    uint64_t *file_ats;        /* owned; byte in the file of each block, and of the end */
    ZSTD_DDict *dictionary;    /* owned; NULL: none */
    ZSTD_DCtx *context;        /* owned */
    char *stored, *block;      /* owned */
    size_t stored_capacity, block_capacity;
    size_t loaded; /* number of the block in *block*; SIZE_MAX: none */
};

/* ---- names ---- */

char *log_segment_path(const char *folder, uint64_t first_position, const char *suffix)
{
    size_t size = strlen(folder) + 1 + NAME_DIGITS + strlen(suffix) + 1;
    char *path = alloc_zeroed(1, size);

    (void)snprintf(path, size, "%s/%0*llu%s", folder, NAME_DIGITS, (unsigned long long)first_position,
                   suffix); /* fits: counted above */
    return path;
}

static bool parse_name(const char *name, const char *suffix, uint64_t *ret_first_position)
{
    uint64_t value = 0;

    if (strlen(name) != NAME_DIGITS + strlen(suffix) || strcmp(name + NAME_DIGITS, suffix) != 0)
        return false;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(name[i] - '0');
    }
    *ret_first_position = value;
    return true;
}

bool log_segment_parse_name(const char *name, uint64_t *ret_first_position)
{
    return parse_name(name, LOG_SEGMENT_SUFFIX, ret_first_position);
}

struct positions {
    uint64_t *items;
    size_t count, capacity;
};

static enum banyan_status list_folder(struct os_files *files, const char *folder, const char *suffix,
                                      struct positions *ret, struct banyan_error *err)
{
    char **names = NULL;
    enum banyan_status status = files->list(files, folder, &names, err);

    for (size_t i = 0; status == BANYAN_OK && names[i] != NULL; i++) {
        if (ret->count == ret->capacity) {
            ret->capacity = ret->capacity == 0 ? 16 : ret->capacity * 2;
            ret->items = alloc_resized(ret->items, ret->capacity, sizeof(*ret->items));
        }
        if (parse_name(names[i], suffix, &ret->items[ret->count]))
            ret->count++;
        free(names[i]);
    }
    free(names);
    return status;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

enum banyan_status log_segments_list(const struct log_folders *folders, uint64_t **ret, size_t *ret_count,
                                     struct banyan_error *err)
{
    struct positions all = {.items = NULL};
    enum banyan_status status = BANYAN_OK;
    struct banyan_error none = BANYAN_ERROR_INIT;
    size_t kept = 0;

    /* The hot ones first: a segment that becomes cold meanwhile is seen in one place at least. */
    status = list_folder(folders->files, folders->hot, LOG_SEGMENT_SUFFIX, &all, err);
    if (status == BANYAN_OK && folders->cold != NULL) {
        status = list_folder(folders->files, folders->cold, LOG_COLD_SUFFIX, &all, &none);
        if (status == BANYAN_NOT_FOUND)
            status = BANYAN_OK;
        else if (status != BANYAN_OK && err != NULL)
            *err = none;
    }
    if (status != BANYAN_OK) {
        free(all.items);
        return status;
    }
    if (all.count > 0)
        qsort(all.items, all.count, sizeof(*all.items), ascending);
    for (size_t i = 0; i < all.count; i++) {
        if (kept == 0 || all.items[kept - 1] != all.items[i])
            all.items[kept++] = all.items[i];
    }
    *ret = all.items;
    *ret_count = kept;
    return BANYAN_OK;
}

/* ---- open ---- */

static enum banyan_status damaged(const struct log_source *source, const char *what, struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_CORRUPT, "%s is damaged: %s", source->path, what);
    banyan_error_hint(err, "nothing was changed; restore this file from a copy");
    return BANYAN_CORRUPT;
}

/* Are the numbers of the header such as a writer makes them?  They have a right checksum, but who knows whose. */
static bool header_good(const struct cold_header *header, uint64_t first_position, uint64_t file_bytes)
{
    uint64_t used = header->next_offset - header->segment.base_offset;

    return header->segment.first_position == first_position && header->next_position > first_position &&
           header->next_offset > header->segment.base_offset && used > sizeof(struct segment_header) &&
           header->dictionary_bytes <= DICTIONARY_BYTES_MAX && header->index_at <= file_bytes &&
           header->index_at >= sizeof(*header) + header->dictionary_bytes && header->block_count > 0 &&
           file_bytes - header->index_at == (uint64_t)header->block_count * sizeof(struct cold_block) &&
           header->block_count <= used / sizeof(struct frame_header);
}

/* Where the blocks are. */
static bool place_blocks(struct log_source *source)
{
    uint32_t count = source->header.block_count;
    uint64_t at = sizeof(struct segment_header), file_at = sizeof(source->header) + source->header.dictionary_bytes;

    source->ats = alloc_zeroed(count + 1u, sizeof(*source->ats));
    source->file_ats = alloc_zeroed(count + 1u, sizeof(*source->file_ats));
    for (uint32_t i = 0; i < count; i++) {
        const struct cold_block *block = &source->blocks[i];

        if (block->bytes == 0 || block->bytes > BLOCK_BYTES_MAX || block->stored == 0 || block->stored > block->bytes)
            return false;
        source->ats[i] = at;
        source->file_ats[i] = file_at;
        at += block->bytes;
        file_at += block->stored;
    }
    source->ats[count] = at;
    source->file_ats[count] = file_at;
    return at == source->bytes && file_at == source->header.index_at;
}

static enum banyan_status read_exactly(struct log_source *source, uint64_t at, void *data, size_t size,
                                       struct banyan_error *err)
{
    size_t got = 0;
    enum banyan_status status = source->files->read(source->file, at, data, size, &got, err);

    return status == BANYAN_OK && got != size ? damaged(source, "the file ends", err) : status;
}

static enum banyan_status open_cold(struct log_source *source, uint64_t first_position, struct banyan_error *err)
{
    struct cold_header *header = &source->header;
    size_t from = offsetof(struct cold_header, format), index_bytes;
    enum banyan_status status = read_exactly(source, 0, header, sizeof(*header), err);
    uint64_t file_bytes = source->bytes;
    char *dictionary = NULL;

    if (status != BANYAN_OK)
        return status;
    if (memcmp(header->magic, COLD_MAGIC, sizeof(header->magic)) != 0 ||
        header->crc != crc32c(0, (const char *)header + from, sizeof(*header) - from))
        return damaged(source, "its header", err);
    if (header->format != COLD_FORMAT)
        return banyan_error_set(err, BANYAN_INVALID, "%s has format %u; this program reads format %d", source->path,
                                header->format, COLD_FORMAT);
    if (!header_good(header, first_position, file_bytes))
        return damaged(source, "its sizes", err);
    source->bytes = header->next_offset - header->segment.base_offset;
    index_bytes = header->block_count * sizeof(*source->blocks);
    source->blocks = alloc_zeroed(1, index_bytes);
    dictionary = alloc_zeroed(1, header->dictionary_bytes + 1u);
    status = read_exactly(source, header->index_at, source->blocks, index_bytes, err);
    if (status == BANYAN_OK)
        status = read_exactly(source, sizeof(*header), dictionary, header->dictionary_bytes, err);
    if (status == BANYAN_OK && (crc32c(0, source->blocks, index_bytes) != header->index_crc || !place_blocks(source)))
        status = damaged(source, "its index", err);
    if (status == BANYAN_OK && crc32c(0, dictionary, header->dictionary_bytes) != header->dictionary_crc)
        status = damaged(source, "its dictionary", err);
    if (status == BANYAN_OK) {
        source->context = ZSTD_createDCtx();
        if (header->dictionary_bytes > 0)
            source->dictionary = ZSTD_createDDict(dictionary, header->dictionary_bytes);
        if (source->context == NULL || (header->dictionary_bytes > 0 && source->dictionary == NULL))
            status = banyan_error_set(err, BANYAN_LIMIT, "%s: no memory to read it", source->path);
    }
    free(dictionary);
    return status;
}

enum banyan_status log_source_open(const struct log_folders *folders, uint64_t first_position, struct log_source **ret,
                                   struct banyan_error *err)
{
    struct os_files *files = folders->files;
    struct log_source *source = alloc_zeroed(1, sizeof(*source));
    struct banyan_error cold_err = BANYAN_ERROR_INIT;
    enum banyan_status status, cold_status = BANYAN_NOT_FOUND;

    source->files = files;
    source->loaded = SIZE_MAX;
    source->path = log_segment_path(folders->hot, first_position, LOG_SEGMENT_SUFFIX);
    status = files->open(files, source->path, false, &source->file, err);
    if (status == BANYAN_NOT_FOUND && folders->cold != NULL) {
        free(source->path);
        source->path = log_segment_path(folders->cold, first_position, LOG_COLD_SUFFIX);
        cold_status = files->open(files, source->path, false, &source->file, &cold_err);
        if (cold_status != BANYAN_NOT_FOUND) { /* what was said of the hot one is no error then */
            banyan_error_clear(err);
            if (cold_status != BANYAN_OK && err != NULL)
                *err = cold_err;
            status = cold_status;
            source->cold = true;
        }
    }
    if (status == BANYAN_OK)
        status = files->size(source->file, &source->bytes, err);
    if (status == BANYAN_OK && source->cold)
        status = open_cold(source, first_position, err);
    if (status == BANYAN_OK)
        *ret = source;
    else
        log_source_close(source);
    return status;
}

void log_source_close(struct log_source *source)
{
    if (source == NULL)
        return;
    source->files->close(source->file);
    (void)ZSTD_freeDCtx(source->context); /* cannot fail */
    (void)ZSTD_freeDDict(source->dictionary);
    free(source->path);
    free(source->blocks);
    free(source->ats);
    free(source->file_ats);
    free(source->stored);
    free(source->block);
    free(source);
}

const char *log_source_path(const struct log_source *source)
{
    return source->path;
}

bool log_source_is_cold(const struct log_source *source)
{
    return source->cold;
}

uint64_t log_source_bytes(const struct log_source *source)
{
    return source->bytes;
}

/* ---- read ---- */

static void reserve(char **data, size_t *capacity, size_t size)
{
    if (size <= *capacity)
        return;
    free(*data);
    *data = alloc_zeroed(1, size);
    *capacity = size;
}

/* Load block *number*; zeros where it is damaged. */
static enum banyan_status load_block(struct log_source *source, size_t number, struct banyan_error *err)
{
    const struct cold_block *block = &source->blocks[number];
    enum banyan_status status;
    size_t got = 0, made = 0;

    if (source->loaded == number)
        return BANYAN_OK;
    source->loaded = SIZE_MAX;
    reserve(&source->stored, &source->stored_capacity, block->stored);
    reserve(&source->block, &source->block_capacity, block->bytes);
    status = source->files->read(source->file, source->file_ats[number], source->stored, block->stored, &got, err);
    if (status != BANYAN_OK)
        return status;
    if (got == block->stored && crc32c(0, source->stored, got) == block->crc) {
        if (block->stored == block->bytes) {
            memcpy(source->block, source->stored, got);
            made = got;
        } else if (source->dictionary != NULL) {
            made = ZSTD_decompress_usingDDict(source->context, source->block, block->bytes, source->stored, got,
                                              source->dictionary);
        } else {
            made = ZSTD_decompressDCtx(source->context, source->block, block->bytes, source->stored, got);
        }
    }
    if (made != block->bytes)
        memset(source->block, 0, block->bytes);
    source->loaded = number;
    return BANYAN_OK;
}

static size_t find_block(const struct log_source *source, uint64_t at)
{
    size_t low = 0, high = source->header.block_count;

    if (source->loaded != SIZE_MAX && at >= source->ats[source->loaded] && at < source->ats[source->loaded + 1])
        return source->loaded;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (source->ats[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static enum banyan_status read_cold(struct log_source *source, uint64_t at, char *data, size_t least, size_t size,
                                    size_t *ret_size, struct banyan_error *err)
{
    size_t done = 0;

    if (at < sizeof(struct segment_header)) {
        done = sizeof(struct segment_header) - (size_t)at;
        if (done > size)
            done = size;
        memcpy(data, (const char *)&source->header.segment + at, done);
    }
    while (done < size && at + done < source->bytes) {
        size_t number = find_block(source, at + done), inside, part;
        enum banyan_status status;

        if (done >= least && number != source->loaded)
            break;
        status = load_block(source, number, err);
        if (status != BANYAN_OK)
            return status;
        inside = (size_t)(at + done - source->ats[number]);
        part = source->blocks[number].bytes - inside;
        if (part > size - done)
            part = size - done;
        memcpy(data + done, source->block + inside, part);
        done += part;
    }
    *ret_size = done;
    return BANYAN_OK;
}

enum banyan_status log_source_read(struct log_source *source, uint64_t at, void *data, size_t least, size_t size,
                                   size_t *ret_size, struct banyan_error *err)
{
    if (source->cold)
        return read_cold(source, at, data, least, size, ret_size, err);
    return source->files->read(source->file, at, data, size, ret_size, err);
}
