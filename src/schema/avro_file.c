/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See avro_file.h.
 *
 * A length in a file is believed only as far as bytes follow: what is read grows piece by piece, up to the limits.
 */
#include "schema/avro_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "schema/avro_codec.h"
#include "schema/wire.h"

static const char magic[4] = {'O', 'b', 'j', 1};

enum {
    PIECE_BYTES = 256 * 1024,
    METADATA_MAX = 1024,
};

/* ---- write ---- */

static void add_long(struct banyan_buf *out, int64_t value)
{
    unsigned char bytes[WIRE_LONG_BYTES_MAX];

    banyan_buf_add(out, bytes, (size_t)(wire_put_long(bytes, value) - bytes));
}

static void add_bytes(struct banyan_buf *out, struct banyan_str bytes)
{
    add_long(out, (int64_t)bytes.size);
    banyan_buf_add_str(out, bytes);
}

void avro_file_writer_begin(struct avro_file_writer *writer, enum avro_codec codec,
                            const uint8_t sync[AVRO_FILE_SYNC_BYTES], struct banyan_str schema,
                            const struct avro_file_metadata *metadata, size_t metadata_count, struct banyan_buf *out)
{
    *writer = (struct avro_file_writer){.codec = codec, .packed = BANYAN_BUF_INIT(AVRO_FILE_BLOCK_BYTES_MAX)};
    memcpy(writer->sync, sync, AVRO_FILE_SYNC_BYTES);
    banyan_buf_add(out, magic, sizeof(magic));
    add_long(out, (int64_t)metadata_count + 2);
    add_bytes(out, BANYAN_STR("avro.schema"));
    add_bytes(out, schema);
    add_bytes(out, BANYAN_STR("avro.codec"));
    add_bytes(out, banyan_str_of(avro_codec_name(codec)));
    for (size_t i = 0; i < metadata_count; i++) {
        add_bytes(out, banyan_str_of(metadata[i].key));
        add_bytes(out, metadata[i].value);
    }
    add_long(out, 0);
    banyan_buf_add(out, sync, AVRO_FILE_SYNC_BYTES);
}

enum banyan_status avro_file_writer_block(struct avro_file_writer *writer, uint64_t count, struct banyan_str values,
                                          struct banyan_buf *out, struct banyan_error *err)
{
    enum banyan_status status = avro_codec_pack(writer->codec, values, &writer->packed, err);

    if (status != BANYAN_OK)
        return status;
    add_long(out, (int64_t)count);
    add_bytes(out, banyan_buf_str(&writer->packed));
    banyan_buf_add(out, writer->sync, AVRO_FILE_SYNC_BYTES);
    if (out->overflow)
        return banyan_error_set(err, BANYAN_LIMIT, "a block has more than %zu bytes", out->size_max);
    return BANYAN_OK;
}

void avro_file_writer_end(struct avro_file_writer *writer)
{
    banyan_buf_release(&writer->packed);
}

/* ---- read ---- */

struct metadata {
    char *key; /* owned */
    struct banyan_buf value;
};

struct avro_file_reader {
    avro_file_source source;
    void *context;
    char buffer[16 * 1024]; /* from the source */
    size_t begin, end;
    uint64_t at; /* byte of the file that comes next */
    enum avro_codec codec;
    uint8_t sync[AVRO_FILE_SYNC_BYTES];
    struct metadata *metadata; /* owned */
    size_t metadata_count;
    size_t metadata_bytes;
    struct banyan_buf packed, values;
};

static enum banyan_status damaged(const struct avro_file_reader *reader, const char *what, struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_CORRUPT, "the Avro file is damaged before byte %" PRIu64 ": %s", reader->at,
                            what);
}

/* Up to *size* bytes; *ret_size* smaller only at the end. */
static enum banyan_status take(struct avro_file_reader *reader, void *data, size_t size, size_t *ret_size,
                               struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    *ret_size = 0;
    while (status == BANYAN_OK && *ret_size < size) {
        size_t piece = reader->end - reader->begin;

        if (piece == 0) {
            status = reader->source(reader->context, reader->buffer, sizeof(reader->buffer), &piece, err);
            if (status != BANYAN_OK || piece == 0)
                return status;
            reader->begin = 0;
            reader->end = piece;
        }
        if (piece > size - *ret_size)
            piece = size - *ret_size;
        memcpy((char *)data + *ret_size, reader->buffer + reader->begin, piece);
        reader->begin += piece;
        reader->at += piece;
        *ret_size += piece;
    }
    return status;
}

/* All *size* bytes. */
static enum banyan_status need(struct avro_file_reader *reader, void *data, size_t size, struct banyan_error *err)
{
    size_t got;
    enum banyan_status status = take(reader, data, size, &got, err);

    if (status == BANYAN_OK && got < size)
        status = damaged(reader, "it ends", err);
    return status;
}

/* NOT_FOUND when the file ends in front of it. */
static enum banyan_status need_long(struct avro_file_reader *reader, int64_t *ret, struct banyan_error *err)
{
    unsigned char bytes[WIRE_LONG_BYTES_MAX];
    struct wire_input in = {.at = bytes};
    enum banyan_status status;
    const char *fault;
    size_t size = 0, got;

    do {
        status = take(reader, &bytes[size], 1, &got, err);
        if (status != BANYAN_OK)
            return status;
        if (got == 0)
            return size == 0 ? BANYAN_NOT_FOUND : damaged(reader, "it ends in a number", err);
    } while (bytes[size++] >= 0x80 && size < sizeof(bytes));
    in.end = bytes + size;
    fault = wire_get_long(&in, ret);
    return fault == NULL ? BANYAN_OK : damaged(reader, fault, err);
}

/* The same, where the file may not end. */
static enum banyan_status need_more(struct avro_file_reader *reader, int64_t *ret, struct banyan_error *err)
{
    enum banyan_status status = need_long(reader, ret, err);

    return status == BANYAN_NOT_FOUND ? damaged(reader, "it ends", err) : status;
}

/* A length and that many bytes, in place of what is in *ret*. */
static enum banyan_status need_bytes(struct avro_file_reader *reader, struct banyan_buf *ret, struct banyan_error *err)
{
    int64_t size = 0;
    enum banyan_status status = need_more(reader, &size, err);

    banyan_buf_reset(ret);
    if (status == BANYAN_OK && size < 0)
        status = damaged(reader, "a length is negative", err);
    if (status == BANYAN_OK && (uint64_t)size > ret->size_max)
        status = banyan_error_set(err, BANYAN_LIMIT, "a part of the Avro file has %" PRId64 " bytes; at most %zu fit",
                                  size, ret->size_max);
    while (status == BANYAN_OK && ret->size < (size_t)size) {
        size_t piece = (size_t)size - ret->size < PIECE_BYTES ? (size_t)size - ret->size : PIECE_BYTES;

        status = need(reader, banyan_buf_extend(ret, piece), piece, err);
    }
    return status;
}

static enum banyan_status read_pair(struct avro_file_reader *reader, struct banyan_error *err)
{
    struct banyan_buf key = BANYAN_BUF_INIT(1024);
    enum banyan_status status = need_bytes(reader, &key, err);
    struct metadata *item;

    if (status == BANYAN_OK && reader->metadata_count == METADATA_MAX)
        status = damaged(reader, "it has too many properties", err);
    if (status == BANYAN_OK) {
        reader->metadata = alloc_resized(reader->metadata, reader->metadata_count + 1, sizeof(*reader->metadata));
        item = &reader->metadata[reader->metadata_count++];
        banyan_buf_add_char(&key, '\0');
        *item = (struct metadata){
            .key = alloc_text(key.data),
            .value = BANYAN_BUF_INIT(AVRO_FILE_METADATA_BYTES_MAX - reader->metadata_bytes),
        };
        status = need_bytes(reader, &item->value, err);
        reader->metadata_bytes += item->value.size;
    }
    banyan_buf_release(&key);
    return status;
}

static enum banyan_status read_head(struct avro_file_reader *reader, struct banyan_error *err)
{
    char start[sizeof(magic)];
    enum banyan_status status;
    struct banyan_str codec;
    int64_t count = 0, size;
    size_t got;

    status = take(reader, start, sizeof(start), &got, err);
    if (status == BANYAN_OK && (got < sizeof(start) || memcmp(start, magic, sizeof(magic)) != 0))
        status = banyan_error_set(err, BANYAN_CORRUPT, "it is no Avro object container file");
    do {
        if (status == BANYAN_OK)
            status = need_more(reader, &count, err);
        if (status == BANYAN_OK && count < 0) { /* a block that says its size in bytes, too */
            count = count == INT64_MIN ? INT64_MAX : -count;
            status = need_more(reader, &size, err);
        }
        for (int64_t i = 0; i < count && status == BANYAN_OK; i++)
            status = read_pair(reader, err);
    } while (status == BANYAN_OK && count != 0);
    if (status == BANYAN_OK)
        status = need(reader, reader->sync, sizeof(reader->sync), err);
    if (status != BANYAN_OK)
        return status;
    codec = avro_file_reader_metadata(reader, "avro.codec");
    reader->codec = codec.data == NULL ? AVRO_CODEC_NULL : avro_codec_of(codec);
    if (reader->codec == 0) {
        (void)banyan_error_set(err, BANYAN_INVALID, "the codec \"%.*s\" of the Avro file is not known",
                               (int)(codec.size < 64 ? codec.size : 64), codec.data);
        banyan_error_hint(err, "write it with null, deflate or zstandard");
        return BANYAN_INVALID;
    }
    if (avro_file_reader_schema(reader).data == NULL)
        return damaged(reader, "it has no schema", err);
    return BANYAN_OK;
}

enum banyan_status avro_file_reader_open(avro_file_source source, void *context, struct avro_file_reader **ret,
                                         struct banyan_error *err)
{
    struct avro_file_reader *reader = alloc_zeroed(1, sizeof(*reader));
    enum banyan_status status;

    reader->source = source;
    reader->context = context;
    reader->packed.size_max = reader->values.size_max = AVRO_FILE_BLOCK_BYTES_MAX;
    status = read_head(reader, err);
    if (status != BANYAN_OK) {
        avro_file_reader_close(reader);
        return status;
    }
    *ret = reader;
    return BANYAN_OK;
}

void avro_file_reader_close(struct avro_file_reader *reader)
{
    if (reader == NULL)
        return;
    for (size_t i = 0; i < reader->metadata_count; i++) {
        free(reader->metadata[i].key);
        banyan_buf_release(&reader->metadata[i].value);
    }
    free(reader->metadata);
    banyan_buf_release(&reader->packed);
    banyan_buf_release(&reader->values);
    free(reader);
}

struct banyan_str avro_file_reader_metadata(const struct avro_file_reader *reader, const char *key)
{
    for (size_t i = 0; i < reader->metadata_count; i++) {
        if (strcmp(reader->metadata[i].key, key) == 0)
            return banyan_buf_str(&reader->metadata[i].value);
    }
    return (struct banyan_str){NULL, 0};
}

struct banyan_str avro_file_reader_schema(const struct avro_file_reader *reader)
{
    return avro_file_reader_metadata(reader, "avro.schema");
}

enum banyan_status avro_file_reader_next(struct avro_file_reader *reader, uint64_t *ret_count,
                                         struct banyan_str *ret_values, struct banyan_error *err)
{
    uint8_t sync[AVRO_FILE_SYNC_BYTES];
    int64_t count = 0;
    enum banyan_status status = need_long(reader, &count, err);

    if (status == BANYAN_OK && count < 0)
        status = damaged(reader, "a block has a negative count", err);
    if (status == BANYAN_OK)
        status = need_bytes(reader, &reader->packed, err);
    if (status == BANYAN_OK)
        status = need(reader, sync, sizeof(sync), err);
    if (status == BANYAN_OK && memcmp(sync, reader->sync, sizeof(sync)) != 0)
        status = damaged(reader, "the sync marker behind a block is another", err);
    if (status == BANYAN_OK)
        status = avro_codec_unpack(reader->codec, banyan_buf_str(&reader->packed), &reader->values, err);
    if (status != BANYAN_OK)
        return status;
    *ret_count = (uint64_t)count;
    *ret_values = banyan_buf_str(&reader->values);
    return BANYAN_OK;
}
