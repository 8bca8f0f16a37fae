/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing runs; see index_run.h.
 *
 * Memory: one buffer and the fences.  The filters are made in a second walk over what was written, because the number
 * of streams is not known before; lines come in the order of the hashes, so one line is enough.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/varint.h"
#include "store/index_block.h"
#include "store/index_run.h"

enum {
    BUFFER_BLOCKS = 128,
    SYNC_BYTES = 8 * 1024 * 1024, /* flushed in parts, so that a large run does not hold up the log's flushes */
};

struct index_writer {
    struct index_writer_options options;
    struct index_run *run; /* being made; owned */
    char *buffer;          /* owned */
    size_t buffered;       /* whole blocks in it */
    uint64_t number;       /* in the file, of the block that is being filled */
    size_t used;           /* bytes of that block; 0: not begun */
    uint16_t count;        /* its entries */
    enum index_section section;
    uint64_t written, synced; /* bytes */
    size_t fence_capacity[2];
    enum banyan_status status; /* the first failure */
    struct banyan_error err;
};

size_t index_entry_encode(char out[INDEX_ENTRY_BYTES_MAX], uint64_t hash, struct banyan_str name, uint64_t version,
                          uint64_t position, const uint64_t *jumps, uint32_t jump_count)
{
    char *at = out;

    memcpy(at, &hash, sizeof(hash));
    at += sizeof(hash);
    at += varint_put(at, version);
    at += varint_put(at, position);
    at += varint_put(at, jump_count);
    for (uint32_t i = 0; i < jump_count; i++)
        at += varint_put(at, jumps[i]);
    at += varint_put(at, name.size);
    memcpy(at, name.data, name.size);
    return (size_t)(at - out) + name.size;
}

enum banyan_status index_writer_new(const struct index_writer_options *options, struct index_writer **ret,
                                    struct banyan_error *err)
{
    struct index_writer *writer = alloc_zeroed(1, sizeof(*writer));
    struct index_run *run = alloc_zeroed(1, sizeof(*run));
    enum banyan_status status;

    run->files = options->files;
    run->path = index_run_path(options->folder, options->sequence);
    run->header = (struct index_run_header){
        .magic = INDEX_RUN_MAGIC,
        .format = INDEX_FORMAT,
        .sequence = options->sequence,
        .first = options->first,
        .last = options->last,
        .seeds = {options->seeds[0], options->seeds[1]},
        .level = options->level,
    };
    writer->options = *options;
    writer->run = run;
    status = options->files->open(options->files, run->path, true, &run->file, err);
    if (status == BANYAN_OK) /* what a killed process left under this name */
        status = options->files->truncate(run->file, 0, err);
    writer->buffer = alloc_zeroed(BUFFER_BLOCKS, INDEX_BLOCK_BYTES);
    writer->number = 1;
    if (status != BANYAN_OK) {
        index_writer_abort(writer);
        return status;
    }
    *ret = writer;
    return BANYAN_OK;
}

void index_writer_abort(struct index_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->run != NULL) {
        struct os_files *files = writer->options.files;

        if (writer->run->file != NULL)
            (void)files->remove(files, writer->run->path, NULL); /* else the next open removes it */
        index_run_close(writer->run);
    }
    free(writer->buffer);
    free(writer);
}

/* ---- blocks ---- */

/* Write the whole blocks that are buffered. */
static void write_out(struct index_writer *writer)
{
    struct os_files *files = writer->options.files;
    size_t size = writer->buffered * INDEX_BLOCK_BYTES;
    uint64_t at = (writer->number - writer->buffered) * INDEX_BLOCK_BYTES;

    if (size == 0 || writer->status != BANYAN_OK)
        return;
    writer->status = files->write(writer->run->file, at, writer->buffer, size, &writer->err);
    writer->written += size;
    writer->buffered = 0;
    if (writer->status == BANYAN_OK && writer->written - writer->synced >= SYNC_BYTES) {
        writer->status = files->sync(writer->run->file, &writer->err);
        writer->synced = writer->written;
    }
    if (writer->status == BANYAN_OK && writer->options.pace != NULL &&
        !writer->options.pace(writer->options.argument, size))
        writer->status = BANYAN_STOPPED;
}

static void end_block(struct index_writer *writer)
{
    char *block = writer->buffer + writer->buffered * INDEX_BLOCK_BYTES;
    struct index_block_header *header = (void *)block;

    if (writer->used == 0)
        return;
    memset(block + writer->used, 0, INDEX_BLOCK_BYTES - writer->used);
    *header = (struct index_block_header){
        .tag = (uint32_t)writer->options.sequence,
        .number = (uint32_t)writer->number,
        .section = (uint16_t)writer->section,
        .count = writer->count,
    };
    header->crc = crc32c(0, block + sizeof(header->crc), INDEX_BLOCK_BYTES - sizeof(header->crc));
    writer->run->header.blocks[writer->section]++;
    writer->number++;
    writer->used = 0;
    writer->count = 0;
    if (++writer->buffered == BUFFER_BLOCKS) {
        write_out(writer);
        writer->buffered = 0;
    }
}

/* Room for an entry of *section*; *ret_begins: it is the first of its block. */
static char *add_entry(struct index_writer *writer, enum index_section section, size_t size, bool *ret_begins)
{
    char *at;

    if (writer->used > 0 && (writer->section != section || writer->used + size > INDEX_BLOCK_BYTES))
        end_block(writer);
    *ret_begins = writer->used == 0;
    if (writer->used == 0) {
        writer->section = section;
        writer->used = sizeof(struct index_block_header);
    }
    at = writer->buffer + writer->buffered * INDEX_BLOCK_BYTES + writer->used;
    writer->used += size;
    writer->count++;
    return at;
}

static void add_fence(struct index_writer *writer, int which, uint64_t hash)
{
    size_t count = writer->run->header.blocks[which];

    if (count == writer->fence_capacity[which]) {
        writer->fence_capacity[which] = count == 0 ? 64 : count * 2;
        writer->run->fences[which] =
            alloc_resized(writer->run->fences[which], writer->fence_capacity[which], sizeof(uint64_t));
    }
    writer->run->fences[which][count] = hash;
}

void index_writer_id(struct index_writer *writer, uint64_t hash, uint64_t position)
{
    struct index_id id = {hash, position};
    bool begins;

    memcpy(add_entry(writer, INDEX_IDS, sizeof(id), &begins), &id, sizeof(id));
    if (begins)
        add_fence(writer, 0, hash);
    writer->run->header.id_count++;
}

void index_writer_stream(struct index_writer *writer, uint64_t hash, struct banyan_str entry)
{
    bool begins;

    memcpy(add_entry(writer, INDEX_STREAMS, entry.size, &begins), entry.data, entry.size);
    if (begins)
        add_fence(writer, 1, hash);
    writer->run->header.stream_count++;
}

/* ---- the end ---- */

static void write_fences(struct index_writer *writer, int which)
{
    const uint64_t *fences = writer->run->fences[which];
    bool begins;

    for (uint32_t i = 0; i < writer->run->header.blocks[which]; i++)
        memcpy(add_entry(writer, INDEX_ID_FENCES + which, sizeof(fences[i]), &begins), &fences[i], sizeof(fences[i]));
}

static void write_line(struct index_writer *writer, int which, const unsigned char line[INDEX_FILTER_LINE_BYTES])
{
    bool begins;

    memcpy(add_entry(writer, INDEX_ID_FILTER + which, INDEX_FILTER_LINE_BYTES, &begins), line, INDEX_FILTER_LINE_BYTES);
}

static void write_filter(struct index_writer *writer, int which)
{
    struct index_run *run = writer->run;
    unsigned char line[INDEX_FILTER_LINE_BYTES] = {0};
    uint64_t line_count =
                 index_filter_lines(which == 0 ? run->header.id_count : run->header.stream_count, run->header.level),
             done = 0;
    struct index_iterator iterator;
    bool found = true;

    run->line_count[which] = line_count;
    index_iterator_init(&iterator, run, which == 0 ? INDEX_IDS : INDEX_STREAMS);
    while (writer->status == BANYAN_OK) {
        writer->status = index_iterator_next(&iterator, &found, &writer->err);
        if (writer->status != BANYAN_OK || !found)
            break;
        uint64_t hash = which == 0 ? iterator.at.id.hash : iterator.at.stream.hash, bits = index_filter_bits(hash);
        for (uint64_t at = index_filter_line(hash, line_count); done < at; done++) {
            write_line(writer, which, line);
            memset(line, 0, sizeof(line));
        }
        for (int i = 0; i < INDEX_FILTER_KEYS; i++, bits >>= 9)
            line[(bits & 511) >> 3] |= (unsigned char)(1u << (bits & 7));
    }
    for (; writer->status == BANYAN_OK && done < line_count; done++) {
        write_line(writer, which, line);
        memset(line, 0, sizeof(line));
    }
    index_iterator_release(&iterator);
}

static void write_header(struct index_writer *writer)
{
    char *block = writer->buffer; /* all before is written */
    struct index_run_header *header = &writer->run->header;

    memset(block, 0, INDEX_BLOCK_BYTES);
    memcpy(block, header, sizeof(*header));
    header->crc = crc32c(0, block + 12, INDEX_BLOCK_BYTES - 12);
    memcpy(block, header, sizeof(*header));
    if (writer->status == BANYAN_OK)
        writer->status = writer->options.files->write(writer->run->file, 0, block, INDEX_BLOCK_BYTES, &writer->err);
    if (writer->status == BANYAN_OK)
        writer->status = writer->options.files->sync(writer->run->file, &writer->err);
}

enum banyan_status index_writer_finish(struct index_writer *writer, struct index_run **ret, struct banyan_error *err)
{
    enum banyan_status status;

    end_block(writer);
    for (int i = 0; i < 2; i++) {
        write_fences(writer, i);
        end_block(writer);
    }
    write_out(writer);
    for (int i = 0; i < 2 && writer->status == BANYAN_OK; i++) {
        write_filter(writer, i);
        end_block(writer);
    }
    write_out(writer);
    write_header(writer);
    status = writer->status;
    if (status == BANYAN_OK) {
        writer->run->bytes = writer->number * INDEX_BLOCK_BYTES;
        *ret = writer->run;
        writer->run = NULL;
    } else if (err != NULL) {
        (void)banyan_error_set(err, status, "%s", writer->err.message);
        if (writer->err.hint[0] != '\0')
            banyan_error_hint(err, "%s", writer->err.hint);
    }
    index_writer_abort(writer);
    return status;
}
