/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Archiving: a sealed segment becomes a cold one.
 *
 *     read the plain file, check every frame and the chain, compress ─▶ x.seg.zst.new ─sync─▶ renamed to x.seg.zst ─▶
 *     cold folder flushed ─▶ plain file removed ─▶ folder flushed
 *
 * A crash before the rename leaves a file that opening removes; between rename and removal both files are there and the
 * plain one counts, so that the next archiving makes the cold one anew.  Nothing is ever written to a file that counts.
 * A flush that fails is not repeated: the new file is removed, and the next archiving writes another one.
 *
 * Memory: one block, the samples of the dictionary, and zstd's own.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zdict.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/log_int.h"

enum {
    LEVEL = 7,
    BLOCK_BYTES = 32 * 1024, /* a block is closed when it has as many: what a random read decompresses */
    DICTIONARY_BYTES = 32 * 1024,
    SAMPLE_BYTES = 4096,
    SAMPLES = 512,
};

struct maker {
    struct log *log;
    struct marks_header facts; /* of the segment */
    uint64_t bytes;            /* of it */
    struct log_source *source;
    struct os_file *file; /* the new one */
    uint64_t file_at;
    struct cold_header header;
    struct cold_block *blocks; /* owned */
    size_t block_capacity;
    uint8_t chain[LOG_CHAIN_BYTES];
    uint64_t next_position;
    char *block, *packed, *check; /* owned */
    size_t block_size, block_room, packed_room, check_room;
    ZSTD_CCtx *packer;
    ZSTD_DCtx *unpacker;
    ZSTD_CDict *pack_with;
    ZSTD_DDict *unpack_with;
    EVP_MD_CTX *hash;
};

static void reserve(char **data, size_t *room, size_t size)
{
    if (size <= *room)
        return;
    *data = alloc_resized(*data, size, 1);
    *room = size;
}

/* ---- the dictionary ---- */

static enum banyan_status train(struct maker *maker, struct banyan_error *err)
{
    size_t sizes[SAMPLES], count = 0, filled = 0, made;
    char *samples = alloc_zeroed(SAMPLES, SAMPLE_BYTES), *dictionary = alloc_zeroed(1, DICTIONARY_BYTES);
    uint64_t step = maker->bytes / SAMPLES < SAMPLE_BYTES ? SAMPLE_BYTES : maker->bytes / SAMPLES;
    enum banyan_status status = BANYAN_OK;

    for (uint64_t at = sizeof(struct segment_header); at < maker->bytes && count < SAMPLES && status == BANYAN_OK;
         at += step) {
        size_t size = maker->bytes - at < SAMPLE_BYTES ? (size_t)(maker->bytes - at) : SAMPLE_BYTES;

        status = log_source_read(maker->source, at, samples + filled, size, size, &sizes[count], err);
        if (status == BANYAN_OK)
            filled += sizes[count++];
    }
    made = ZDICT_trainFromBuffer(dictionary, DICTIONARY_BYTES, samples, sizes, (unsigned)count);
    if (status == BANYAN_OK && !ZDICT_isError(made)) { /* too little to learn from: it goes without one */
        maker->header.dictionary_bytes = (uint32_t)made;
        maker->header.dictionary_crc = crc32c(0, dictionary, made);
        status = maker->log->options.files->write(maker->file, sizeof(maker->header), dictionary, made, err);
        maker->pack_with = ZSTD_createCDict(dictionary, made, LEVEL);
        maker->unpack_with = ZSTD_createDDict(dictionary, made);
    }
    maker->file_at = sizeof(maker->header) + maker->header.dictionary_bytes;
    free(samples);
    free(dictionary);
    return status;
}

/* ---- blocks ---- */

static enum banyan_status damaged(const struct maker *maker, uint64_t at, struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_CORRUPT, "%s is damaged at byte %" PRIu64 ", position %" PRIu64,
                           log_source_path(maker->source), at, maker->next_position);
    banyan_error_hint(err, "it was not archived; restore this file from a copy, or from a replica of the log");
    return BANYAN_CORRUPT;
}

/* Add the frame at *at* to the block, checked as recovery and verification do. */
static enum banyan_status add_frame(struct maker *maker, uint64_t at, size_t *ret_size, struct banyan_error *err)
{
    struct frame_header header;
    size_t got = 0, size, from = offsetof(struct frame_header, size);
    uint8_t chain[LOG_CHAIN_BYTES];
    enum banyan_status status = log_source_read(maker->source, at, &header, sizeof(header), sizeof(header), &got, err);
    char *frame;

    if (status != BANYAN_OK)
        return status;
    if (got != sizeof(header) || header.magic != FRAME_MAGIC || header.offset != maker->facts.base_offset + at ||
        header.first_position != maker->next_position || header.size > maker->bytes - at - sizeof(header))
        return damaged(maker, at, err);
    size = sizeof(header) + header.size;
    reserve(&maker->block, &maker->block_room, maker->block_size + size);
    frame = maker->block + maker->block_size;
    status = log_source_read(maker->source, at, frame, size, size, &got, err);
    if (status != BANYAN_OK)
        return status;
    log_chain(maker->hash, maker->log->out.digest, maker->chain, frame, chain);
    if (got != size || memcmp(frame, &header, sizeof(header)) != 0 ||
        crc32c(0, frame + from, size - from) != header.crc || memcmp(chain, header.chain, LOG_CHAIN_BYTES) != 0)
        return damaged(maker, at, err);
    memcpy(maker->chain, chain, LOG_CHAIN_BYTES);
    maker->next_position += header.record_count;
    maker->block_size += size;
    *ret_size = size;
    return BANYAN_OK;
}

static size_t pack(struct maker *maker)
{
    size_t size;

    reserve(&maker->packed, &maker->packed_room, ZSTD_compressBound(maker->block_size));
    reserve(&maker->check, &maker->check_room, maker->block_size);
    if (maker->pack_with == NULL || maker->unpack_with == NULL)
        size =
            ZSTD_compressCCtx(maker->packer, maker->packed, maker->packed_room, maker->block, maker->block_size, LEVEL);
    else
        size = ZSTD_compress_usingCDict(maker->packer, maker->packed, maker->packed_room, maker->block,
                                        maker->block_size, maker->pack_with);
    return size;
}

/* Does what was packed give the block again? */
static bool unpacks(struct maker *maker, size_t packed_size)
{
    size_t size;

    if (maker->pack_with == NULL || maker->unpack_with == NULL)
        size = ZSTD_decompressDCtx(maker->unpacker, maker->check, maker->block_size, maker->packed, packed_size);
    else
        size = ZSTD_decompress_usingDDict(maker->unpacker, maker->check, maker->block_size, maker->packed, packed_size,
                                          maker->unpack_with);
    return size == maker->block_size && memcmp(maker->check, maker->block, size) == 0;
}

static enum banyan_status write_block(struct maker *maker, struct banyan_error *err)
{
    size_t size = pack(maker);
    const char *data = maker->packed;
    struct cold_block *block;
    enum banyan_status status;

    if (ZSTD_isError(size) || size >= maker->block_size || !unpacks(maker, size)) { /* as it is, then */
        data = maker->block;
        size = maker->block_size;
    }
    if (maker->header.block_count == maker->block_capacity) {
        maker->block_capacity = maker->block_capacity == 0 ? 256 : maker->block_capacity * 2;
        maker->blocks = alloc_resized(maker->blocks, maker->block_capacity, sizeof(*maker->blocks));
    }
    block = &maker->blocks[maker->header.block_count++];
    *block = (struct cold_block){(uint32_t)size, (uint32_t)maker->block_size, crc32c(0, data, size)};
    status = maker->log->options.files->write(maker->file, maker->file_at, data, size, err);
    maker->file_at += size;
    maker->block_size = 0;
    return status;
}

static enum banyan_status write_blocks(struct maker *maker, struct banyan_error *err)
{
    uint64_t at = sizeof(struct segment_header);
    enum banyan_status status = BANYAN_OK;
    size_t size = 0;

    maker->next_position = maker->facts.first_position;
    memcpy(maker->chain, maker->facts.chain_before, LOG_CHAIN_BYTES);
    while (at < maker->bytes && status == BANYAN_OK) {
        status = add_frame(maker, at, &size, err);
        at += size;
        if (status == BANYAN_OK && (maker->block_size >= BLOCK_BYTES || at == maker->bytes))
            status = write_block(maker, err);
    }
    if (status == BANYAN_OK && (at != maker->bytes || maker->next_position != maker->facts.next_position ||
                                memcmp(maker->chain, maker->facts.chain_after, LOG_CHAIN_BYTES) != 0))
        status = damaged(maker, at, err);
    return status;
}

/* ---- the file ---- */

static enum banyan_status write_header(struct maker *maker, struct banyan_error *err)
{
    struct os_files *files = maker->log->options.files;
    struct cold_header *header = &maker->header;
    size_t from = offsetof(struct cold_header, format), index_bytes = header->block_count * sizeof(*maker->blocks);
    size_t got = 0;
    enum banyan_status status = log_source_read(maker->source, 0, &header->segment, sizeof(header->segment),
                                                sizeof(header->segment), &got, err);

    if (status == BANYAN_OK && (got != sizeof(header->segment) || !log_segment_check_header(&header->segment) ||
                                header->segment.first_position != maker->facts.first_position ||
                                header->segment.base_offset != maker->facts.base_offset))
        status = damaged(maker, 0, err);
    memcpy(header->magic, COLD_MAGIC, sizeof(header->magic));
    header->format = COLD_FORMAT;
    header->next_position = maker->facts.next_position;
    header->next_offset = maker->facts.next_offset;
    memcpy(header->chain_after, maker->facts.chain_after, LOG_CHAIN_BYTES);
    header->index_at = maker->file_at;
    header->index_crc = crc32c(0, maker->blocks, index_bytes);
    header->crc = crc32c(0, (const char *)header + from, sizeof(*header) - from);
    if (status == BANYAN_OK)
        status = files->write(maker->file, maker->file_at, maker->blocks, index_bytes, err);
    if (status == BANYAN_OK)
        status = files->write(maker->file, 0, header, sizeof(*header), err);
    maker->file_at += index_bytes;
    return status;
}

static enum banyan_status write_file(struct maker *maker, const char *path, struct banyan_error *err)
{
    struct log *log = maker->log;
    struct os_files *files = log->options.files;
    enum banyan_status status = log_source_open(&log->folders, maker->facts.first_position, &maker->source, err);

    if (status == BANYAN_OK)
        status = files->open(files, path, true, &maker->file, err);
    if (status == BANYAN_OK)
        status = files->truncate(maker->file, 0, err); /* what an earlier attempt left */
    if (status == BANYAN_OK)
        status = train(maker, err);
    if (status == BANYAN_OK)
        status = write_blocks(maker, err);
    if (status == BANYAN_OK)
        status = write_header(maker, err);
    if (status == BANYAN_OK)
        status = files->sync(maker->file, err);
    return status;
}

static void release(struct maker *maker)
{
    maker->log->options.files->close(maker->file);
    log_source_close(maker->source);
    (void)ZSTD_freeCCtx(maker->packer); /* cannot fail, as those below */
    (void)ZSTD_freeDCtx(maker->unpacker);
    (void)ZSTD_freeCDict(maker->pack_with);
    (void)ZSTD_freeDDict(maker->unpack_with);
    EVP_MD_CTX_free(maker->hash);
    free(maker->blocks);
    free(maker->block);
    free(maker->packed);
    free(maker->check);
}

/* Make the cold file of maker->facts, whole and flushed under its name. */
static enum banyan_status make_cold(struct maker *maker, struct banyan_error *err)
{
    const struct log_folders *folders = &maker->log->folders;
    struct os_files *files = folders->files;
    char *path = log_segment_path(folders->cold, maker->facts.first_position, LOG_COLD_SUFFIX);
    char *path_new = log_segment_path(folders->cold, maker->facts.first_position, LOG_COLD_NEW_SUFFIX);
    enum banyan_status status;

    maker->packer = ZSTD_createCCtx();
    maker->unpacker = ZSTD_createDCtx();
    maker->hash = EVP_MD_CTX_new();
    maker->bytes = maker->facts.next_offset - maker->facts.base_offset;
    if (maker->packer == NULL || maker->unpacker == NULL || maker->hash == NULL)
        status = banyan_error_set(err, BANYAN_LIMIT, "no memory to compress a segment");
    else
        status = files->make_folder(files, folders->cold, err);
    if (status == BANYAN_OK) {
        status = write_file(maker, path_new, err);
        if (status == BANYAN_OK)
            status = files->rename(files, path_new, path, err);
        if (status != BANYAN_OK)
            (void)files->remove(files, path_new, NULL); /* the first error wins; opening removes it else */
    }
    if (status == BANYAN_OK)
        status = files->sync_folder(files, folders->cold, err);
    release(maker);
    free(path);
    free(path_new);
    return status;
}

/* With the lock: the number of the segment to archive, or segment_count. */
static size_t choose(const struct log *log, uint64_t limit)
{
    for (size_t i = 0; i < log->shared.saved; i++) {
        if (log->shared.segments[i + 1]->first_position - 1 > limit)
            break;
        if (!log->shared.segments[i]->cold)
            return i;
    }
    return log->shared.segment_count;
}

static enum banyan_status archive(struct log *log, struct log_segment *segment, struct maker *maker,
                                  struct log_archived *ret, struct banyan_error *err)
{
    struct os_files *files = log->options.files;
    enum banyan_status status = make_cold(maker, err);

    if (status == BANYAN_OK)
        status = files->remove(files, segment->path, err);
    if (status == BANYAN_OK)
        *ret = (struct log_archived){
            .segments = 1,
            .first_position = maker->facts.first_position,
            .last_position = maker->facts.next_position - 1,
            .bytes_before = maker->bytes,
            .bytes_after = maker->file_at,
        };
    (void)pthread_mutex_lock(&log->lock);
    segment->cold = segment->cold || status == BANYAN_OK;
    (void)pthread_mutex_unlock(&log->lock);
    if (status == BANYAN_OK) /* undone by a power cut, both are there, which is as good */
        status = files->sync_folder(files, log->options.folder, err);
    return status;
}

enum banyan_status log_segment_archive(struct log *log, struct banyan_position limit, struct log_archived *ret,
                                       struct banyan_error *err)
{
    struct maker maker = {.log = log};
    struct log_segment *segment = NULL;
    enum banyan_status status = BANYAN_OK;
    bool busy;
    size_t number;

    if (log->folders.cold == NULL || log->options.read_only)
        return banyan_error_set(err, BANYAN_INVALID, "the log has no folder for archived segments, or is read only");
    (void)pthread_mutex_lock(&log->lock);
    busy = log->shared.archiving;
    number = busy ? log->shared.segment_count : choose(log, limit.value);
    if (number < log->shared.segment_count) {
        log->shared.archiving = true;
        segment = log->shared.segments[number];
        maker.facts = log_sealed_facts(log, number);
    }
    (void)pthread_mutex_unlock(&log->lock);
    if (busy)
        return banyan_error_set(err, BANYAN_BUSY, "another thread is archiving a segment");
    if (segment == NULL) {
        *ret = (struct log_archived){.segments = 0};
        return BANYAN_OK;
    }
    status = archive(log, segment, &maker, ret, err);
    if (status != BANYAN_OK)
        banyan_error_context(err, "archiving the segment with position %" PRIu64, segment->first_position);
    (void)pthread_mutex_lock(&log->lock);
    log->shared.archiving = false;
    (void)pthread_mutex_unlock(&log->lock);
    return status;
}
