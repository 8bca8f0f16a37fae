/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading runs; see index_run.h.
 *
 * A filter is a row of lines of 64 bytes.  The high bits of a hash choose the line, so that a writer meets the lines in
 * order; six bits of the line are a key's.
 */
#include "store/index_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/varint.h"
#include "store/index_block.h"

enum {
    NAME_DIGITS = 20,
    ITERATOR_BLOCKS = 16,
};

/* ---- names ---- */

char *index_run_path(const char *folder, uint64_t sequence)
{
    size_t size = strlen(folder) + 1 + NAME_DIGITS + sizeof(".run");
    char *path = alloc_zeroed(1, size);

    (void)snprintf(path, size, "%s/%0*" PRIu64 ".run", folder, NAME_DIGITS, sequence); /* fits: counted above */
    return path;
}

bool index_run_parse_name(const char *name, uint64_t *ret_sequence)
{
    char *end;

    if (strspn(name, "0123456789") != NAME_DIGITS || strcmp(name + NAME_DIGITS, ".run") != 0)
        return false;
    *ret_sequence = strtoull(name, &end, 10);
    return true;
}

/* ---- blocks ---- */

static enum banyan_status damaged(const struct index_run *run, uint64_t block, struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_CORRUPT, "block %" PRIu64 " of %s is damaged", block, run->path);
    banyan_error_hint(err, "open the store again: its index is made anew from the log, which is not concerned");
    return BANYAN_CORRUPT;
}

bool index_block_check(const char *block, uint64_t sequence, uint64_t number, enum index_section section)
{
    const struct index_block_header *header = (const void *)block;

    return header->crc == crc32c(0, block + sizeof(header->crc), INDEX_BLOCK_BYTES - sizeof(header->crc)) &&
           header->tag == (uint32_t)sequence && header->number == (uint32_t)number && header->section == section;
}

/* The number in the file of the first block of *section*. */
static uint32_t section_begin(const struct index_run *run, enum index_section section)
{
    uint32_t begin = 1;

    for (int i = 0; i < (int)section; i++)
        begin += run->header.blocks[i];
    return begin;
}

static enum banyan_status read_blocks(const struct index_run *run, enum index_section section, uint32_t block,
                                      uint32_t count, char *out, struct banyan_error *err)
{
    uint64_t number = (uint64_t)section_begin(run, section) + block;
    size_t size = (size_t)count * INDEX_BLOCK_BYTES, got = 0;
    enum banyan_status status = run->files->read(run->file, number * INDEX_BLOCK_BYTES, out, size, &got, err);

    if (status != BANYAN_OK)
        return status;
    for (uint32_t i = 0; i < count; i++) {
        if ((i + 1) * (size_t)INDEX_BLOCK_BYTES > got ||
            !index_block_check(out + (size_t)i * INDEX_BLOCK_BYTES, run->header.sequence, number + i, section))
            return damaged(run, number + i, err);
    }
    return BANYAN_OK;
}

/* ---- open ---- */

static enum banyan_status check_header(const struct index_run *run, const char *block, uint64_t sequence,
                                       struct banyan_error *err)
{
    const struct index_run_header *header = &run->header;
    uint64_t blocks = 1, file_bytes = 0;
    enum banyan_status status;

    if (memcmp(header->magic, INDEX_RUN_MAGIC, sizeof(header->magic)) != 0 || header->format != INDEX_FORMAT ||
        header->crc != crc32c(0, block + 12, INDEX_BLOCK_BYTES - 12) || header->sequence != sequence ||
        header->first == 0 || header->first > header->last)
        return damaged(run, 0, err);
    status = run->files->size(run->file, &file_bytes, err);
    if (status != BANYAN_OK)
        return status;
    for (int i = 0; i < INDEX_SECTIONS; i++)
        blocks += header->blocks[i];
    if (file_bytes != blocks * INDEX_BLOCK_BYTES ||
        header->blocks[INDEX_IDS] != (header->id_count + INDEX_BLOCK_IDS - 1) / INDEX_BLOCK_IDS)
        return damaged(run, 0, err);
    return BANYAN_OK;
}

static enum banyan_status load_fences(struct index_run *run, int which, struct banyan_error *err)
{
    enum index_section section = which == 0 ? INDEX_ID_FENCES : INDEX_STREAM_FENCES;
    uint32_t count = run->header.blocks[which], done = 0;
    char *block = alloc_resized(NULL, INDEX_BLOCK_BYTES, 1);
    enum banyan_status status = BANYAN_OK;

    run->fences[which] = alloc_resized(NULL, (size_t)count + 1, sizeof(uint64_t));
    for (uint32_t i = 0; i < run->header.blocks[section] && status == BANYAN_OK; i++) {
        const struct index_block_header *header = (const void *)block;

        status = read_blocks(run, section, i, 1, block, err);
        if (status == BANYAN_OK && (header->count > INDEX_BLOCK_FENCES || header->count > count - done))
            status = damaged(run, i, err);
        if (status == BANYAN_OK) {
            memcpy(run->fences[which] + done, header + 1, header->count * sizeof(uint64_t));
            done += header->count;
        }
    }
    if (status == BANYAN_OK && done != count)
        status = damaged(run, section_begin(run, section), err);
    free(block);
    return status;
}

uint64_t index_filter_lines(uint64_t count, uint32_t level)
{
    uint64_t bits = INDEX_FILTER_LINE_BYTES * 8;

    return (count * (level <= INDEX_SMALL_LEVEL_MAX ? INDEX_FILTER_BITS_SMALL : INDEX_FILTER_BITS) + bits - 1) / bits;
}

uint64_t index_run_filter_bytes(const struct index_run *run)
{
    return (run->line_count[0] + run->line_count[1]) * INDEX_FILTER_LINE_BYTES;
}

uint64_t index_run_bytes(const struct index_run *run)
{
    uint64_t bytes = sizeof(*run) + ((uint64_t)run->header.blocks[INDEX_IDS] + run->header.blocks[INDEX_STREAMS]) * 8;

    return __atomic_load_n(&run->lines[0], __ATOMIC_ACQUIRE) != NULL ? bytes + index_run_filter_bytes(run) : bytes;
}

static enum banyan_status load_filter(struct index_run *run, int which, unsigned char *lines, struct banyan_error *err)
{
    enum index_section section = which == 0 ? INDEX_ID_FILTER : INDEX_STREAM_FILTER;
    char *blocks = alloc_resized(NULL, ITERATOR_BLOCKS, INDEX_BLOCK_BYTES);
    enum banyan_status status = BANYAN_OK;
    uint64_t left = run->line_count[which];

    for (uint32_t i = 0; i < run->header.blocks[section] && status == BANYAN_OK; i += ITERATOR_BLOCKS) {
        uint32_t count =
            run->header.blocks[section] - i < ITERATOR_BLOCKS ? run->header.blocks[section] - i : ITERATOR_BLOCKS;

        status = read_blocks(run, section, i, count, blocks, err);
        for (uint32_t n = 0; n < count && status == BANYAN_OK; n++) {
            uint64_t part = left < INDEX_BLOCK_LINES ? left : INDEX_BLOCK_LINES;

            memcpy(lines, blocks + (size_t)n * INDEX_BLOCK_BYTES + sizeof(struct index_block_header),
                   part * INDEX_FILTER_LINE_BYTES);
            lines += part * INDEX_FILTER_LINE_BYTES;
            left -= part;
        }
    }
    free(blocks);
    return status;
}

enum banyan_status index_run_load_filters(struct index_run *run, uint64_t *filter_bytes, struct banyan_error *err)
{
    uint64_t bytes = index_run_filter_bytes(run);
    unsigned char *lines;
    enum banyan_status status;

    if (run->lines[0] != NULL || bytes > *filter_bytes)
        return BANYAN_OK;
    run->lines_memory = alloc_resized(NULL, bytes + INDEX_FILTER_LINE_BYTES, 1);
    lines = run->lines_memory + (-(uintptr_t)run->lines_memory & (INDEX_FILTER_LINE_BYTES - 1));
    status = load_filter(run, 0, lines, err);
    if (status == BANYAN_OK)
        status = load_filter(run, 1, lines + run->line_count[0] * INDEX_FILTER_LINE_BYTES, err);
    if (status != BANYAN_OK) {
        free(run->lines_memory);
        run->lines_memory = NULL;
        return status;
    }
    __atomic_store_n(&run->lines[1], lines + run->line_count[0] * INDEX_FILTER_LINE_BYTES, __ATOMIC_RELEASE);
    __atomic_store_n(&run->lines[0], lines, __ATOMIC_RELEASE);
    *filter_bytes -= bytes;
    return BANYAN_OK;
}

void index_run_close(struct index_run *run)
{
    if (run == NULL)
        return;
    run->files->close(run->file);
    cursors_release(&run->cursors);
    free(run->fences[0]);
    free(run->fences[1]);
    free(run->lines_memory);
    free(run->path);
    free(run);
}

enum banyan_status index_run_open(struct os_files *files, const char *folder, uint64_t sequence, uint64_t *filter_bytes,
                                  struct index_run **ret, struct banyan_error *err)
{
    struct index_run *run = alloc_zeroed(1, sizeof(*run));
    char *block = alloc_zeroed(1, INDEX_BLOCK_BYTES);
    enum banyan_status status;
    size_t got = 0;

    run->files = files;
    run->path = index_run_path(folder, sequence);
    status = files->open(files, run->path, false, &run->file, err);
    if (status == BANYAN_OK)
        status = files->read(run->file, 0, block, INDEX_BLOCK_BYTES, &got, err);
    if (status == BANYAN_OK) {
        memcpy(&run->header, block, sizeof(run->header));
        status = got < INDEX_BLOCK_BYTES ? damaged(run, 0, err) : check_header(run, block, sequence, err);
    }
    for (int i = 0; i < INDEX_SECTIONS && status == BANYAN_OK; i++)
        run->bytes += (uint64_t)run->header.blocks[i] * INDEX_BLOCK_BYTES;
    run->bytes += INDEX_BLOCK_BYTES;
    for (int i = 0; i < 2 && status == BANYAN_OK; i++) {
        run->line_count[i] =
            index_filter_lines(i == 0 ? run->header.id_count : run->header.stream_count, run->header.level);
        if ((run->line_count[i] + INDEX_BLOCK_LINES - 1) / INDEX_BLOCK_LINES != run->header.blocks[INDEX_ID_FILTER + i])
            status = damaged(run, 0, err);
        if (status == BANYAN_OK)
            status = load_fences(run, i, err);
    }
    if (status == BANYAN_OK)
        status = index_run_load_filters(run, filter_bytes, err);
    free(block);
    if (status != BANYAN_OK) {
        index_run_close(run);
        return status;
    }
    *ret = run;
    return BANYAN_OK;
}

/* ---- filters ---- */

uint64_t index_filter_line(uint64_t hash, uint64_t line_count)
{
    return (uint64_t)(((unsigned __int128)hash * line_count) >> 64);
}

static bool line_has(const unsigned char *line, uint64_t hash)
{
    uint64_t bits = index_filter_bits(hash);

    for (int i = 0; i < INDEX_FILTER_KEYS; i++, bits >>= 9) {
        if ((line[(bits & 511) >> 3] & (1u << (bits & 7))) == 0)
            return false;
    }
    return true;
}

void index_run_prefetch(const struct index_run *run, enum index_section section, uint64_t hash)
{
    const unsigned char *lines = __atomic_load_n(&run->lines[section], __ATOMIC_ACQUIRE);

    if (lines != NULL)
        __builtin_prefetch(lines + index_filter_line(hash, run->line_count[section]) * INDEX_FILTER_LINE_BYTES);
}

/* A filter that is not in memory: one block of it is read. */
static enum banyan_status may_have_on_disk(const struct index_run *run, enum index_section section, uint64_t hash,
                                           bool *ret, struct banyan_error *err)
{
    uint64_t line = index_filter_line(hash, run->line_count[section]);
    _Alignas(8) char block[INDEX_BLOCK_BYTES];
    enum banyan_status status =
        read_blocks(run, INDEX_ID_FILTER + section, (uint32_t)(line / INDEX_BLOCK_LINES), 1, block, err);

    if (status == BANYAN_OK)
        *ret = line_has((unsigned char *)block + sizeof(struct index_block_header) +
                            line % INDEX_BLOCK_LINES * INDEX_FILTER_LINE_BYTES,
                        hash);
    return status;
}

/* Can *hash* be in *section*? */
static enum banyan_status may_have(const struct index_run *run, enum index_section section, uint64_t hash, bool *ret,
                                   struct banyan_error *err)
{
    const unsigned char *lines = __atomic_load_n(&run->lines[section], __ATOMIC_ACQUIRE);
    uint64_t line_count = run->line_count[section];

    *ret = false;
    if (line_count == 0)
        return BANYAN_OK;
    if (lines == NULL)
        return may_have_on_disk(run, section, hash, ret, err);
    *ret = line_has(lines + index_filter_line(hash, line_count) * INDEX_FILTER_LINE_BYTES, hash);
    return BANYAN_OK;
}

/* The first block of *section* that can hold *hash*. */
static uint32_t first_block(const struct index_run *run, enum index_section section, uint64_t hash)
{
    const uint64_t *fences = run->fences[section];
    uint32_t low = 0, high = run->header.blocks[section];

    while (low < high) { /* the first fence that is not below the hash */
        uint32_t middle = low + (high - low) / 2;

        if (fences[middle] < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? 0 : low - 1;
}

static bool goes_on(const struct index_run *run, enum index_section section, uint32_t block, uint64_t hash)
{
    return block < run->header.blocks[section] && run->fences[section][block] <= hash;
}

/* ---- lookups ---- */

static enum banyan_status read_id(const struct index_run *run, uint64_t hash, uint64_t *positions, size_t max,
                                  size_t *ret_count, struct banyan_error *err)
{
    _Alignas(8) char data[INDEX_BLOCK_BYTES];
    const struct index_block_header *header = (const void *)data;
    const struct index_id *ids = (const void *)(data + sizeof(*header));
    enum banyan_status status;
    size_t count = 0;

    for (uint32_t block = first_block(run, INDEX_IDS, hash); goes_on(run, INDEX_IDS, block, hash); block++) {
        uint16_t low = 0, high;

        status = read_blocks(run, INDEX_IDS, block, 1, data, err);
        if (status != BANYAN_OK)
            return status;
        if (header->count > INDEX_BLOCK_IDS)
            return damaged(run, 1 + (uint64_t)block, err);
        for (high = header->count; low < high;) {
            uint16_t middle = (uint16_t)(low + (high - low) / 2);

            if (ids[middle].hash < hash)
                low = (uint16_t)(middle + 1);
            else
                high = middle;
        }
        for (; low < header->count && ids[low].hash == hash; low++, count++) {
            if (count < max)
                positions[count] = ids[low].position;
        }
    }
    *ret_count = count;
    return BANYAN_OK;
}

enum banyan_status index_run_find_id(const struct index_run *run, uint64_t hash, uint64_t *positions, size_t max,
                                     size_t *ret_count, struct banyan_error *err)
{
    bool may;
    enum banyan_status status = may_have(run, INDEX_IDS, hash, &may, err);

    *ret_count = 0;
    return status != BANYAN_OK || !may ? status : read_id(run, hash, positions, max, ret_count, err);
}

/* An entry, read; false when it is none.  *next moves behind it. */
static bool decode_entry(const char **next, const char *end, uint64_t *ret_hash, struct banyan_str *ret_name,
                         struct index_head *ret)
{
    const char *at = *next;
    uint64_t numbers[3], name_size;
    size_t used = 1;

    if (end - at < 8)
        return false;
    memcpy(ret_hash, at, 8);
    at += 8;
    for (int i = 0; i < 3 && used > 0; i++)
        at += used = varint_get(at, end, &numbers[i]);
    if (used == 0 || numbers[2] > INDEX_JUMPS_MAX)
        return false;
    ret->version = numbers[0];
    ret->position = numbers[1];
    ret->jump_count = (uint32_t)numbers[2];
    for (uint32_t i = 0; i < ret->jump_count && used > 0; i++)
        at += used = varint_get(at, end, &ret->jumps[i]);
    if (used == 0 || (used = varint_get(at, end, &name_size)) == 0)
        return false;
    at += used;
    if (name_size > (uint64_t)(end - at))
        return false;
    *ret_name = (struct banyan_str){at, (size_t)name_size};
    *next = at + name_size;
    return true;
}

/* Look for a stream in one block. */
static bool search_block(const char *data, uint64_t hash, struct banyan_str name, struct index_head *ret)
{
    const struct index_block_header *header = (const void *)data;
    const char *next = data + sizeof(*header), *end = data + INDEX_BLOCK_BYTES;
    struct index_head head;
    struct banyan_str found;
    uint64_t found_hash;

    ret->version = 0;
    for (uint16_t i = 0; i < header->count; i++) {
        if (!decode_entry(&next, end, &found_hash, &found, &head))
            return false;
        if (found_hash > hash)
            break;
        if (found_hash == hash && found.size == name.size && memcmp(found.data, name.data, name.size) == 0) {
            *ret = head;
            break;
        }
    }
    return true;
}

static enum banyan_status read_head(const struct index_run *run, uint64_t hash, struct banyan_str name,
                                    struct index_head *ret, struct banyan_error *err)
{
    _Alignas(8) char data[INDEX_BLOCK_BYTES];
    enum banyan_status status;

    for (uint32_t block = first_block(run, INDEX_STREAMS, hash);
         ret->version == 0 && goes_on(run, INDEX_STREAMS, block, hash); block++) {
        status = read_blocks(run, INDEX_STREAMS, block, 1, data, err);
        if (status == BANYAN_OK && !search_block(data, hash, name, ret))
            status = damaged(run, (uint64_t)section_begin(run, INDEX_STREAMS) + block, err);
        if (status != BANYAN_OK)
            return status;
    }
    return BANYAN_OK;
}

enum banyan_status index_run_find_head(const struct index_run *run, uint64_t hash, struct banyan_str name,
                                       struct index_head *ret, struct banyan_error *err)
{
    bool may;
    enum banyan_status status = may_have(run, INDEX_STREAMS, hash, &may, err);

    ret->version = 0;
    return status != BANYAN_OK || !may ? status : read_head(run, hash, name, ret, err);
}

/* ---- walking ---- */

void index_iterator_init(struct index_iterator *iterator, const struct index_run *run, enum index_section section)
{
    *iterator = (struct index_iterator){
        .run = run,
        .section = section,
        .block_end = run->header.blocks[section],
        .buffer = alloc_resized(NULL, ITERATOR_BLOCKS, INDEX_BLOCK_BYTES),
    };
}

void index_iterator_release(struct index_iterator *iterator)
{
    free(iterator->buffer);
}

static enum banyan_status next_block(struct index_iterator *iterator, struct banyan_error *err)
{
    const struct index_block_header *header;

    if (iterator->used == iterator->buffered) {
        uint32_t left = iterator->block_end - iterator->block;
        uint32_t count = left < ITERATOR_BLOCKS ? left : ITERATOR_BLOCKS;
        enum banyan_status status =
            read_blocks(iterator->run, iterator->section, iterator->block, count, iterator->buffer, err);

        if (status != BANYAN_OK)
            return status;
        iterator->block += count;
        iterator->buffered = count;
        iterator->used = 0;
    }
    header = (const void *)(iterator->buffer + iterator->used * INDEX_BLOCK_BYTES);
    iterator->used++;
    iterator->next = (const char *)(header + 1);
    iterator->end = (const char *)header + INDEX_BLOCK_BYTES;
    iterator->left = header->count;
    if (iterator->section == INDEX_IDS && header->count > INDEX_BLOCK_IDS)
        return damaged(iterator->run, header->number, err);
    return BANYAN_OK;
}

enum banyan_status index_iterator_next(struct index_iterator *iterator, bool *ret_found, struct banyan_error *err)
{
    while (iterator->left == 0) {
        enum banyan_status status;

        if (iterator->used == iterator->buffered && iterator->block == iterator->block_end) {
            *ret_found = false;
            return BANYAN_OK;
        }
        status = next_block(iterator, err);
        if (status != BANYAN_OK)
            return status;
    }
    if (iterator->section == INDEX_IDS) {
        memcpy(&iterator->at.id, iterator->next, sizeof(iterator->at.id));
        iterator->next += sizeof(iterator->at.id);
    } else {
        struct index_stream_entry *entry = &iterator->at.stream;
        const char *begin = iterator->next;
        struct index_head head;

        if (!decode_entry(&iterator->next, iterator->end, &entry->hash, &entry->name, &head))
            return damaged(iterator->run, iterator->block, err);
        entry->data = (struct banyan_str){begin, (size_t)(iterator->next - begin)};
    }
    iterator->left--;
    *ret_found = true;
    return BANYAN_OK;
}
