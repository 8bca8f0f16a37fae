/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See avro_codec.h.  What is unpacked may claim any size: the buffer grows piece by piece with what really comes, up to
 * its limit.
 */
#include "schema/avro_codec.h"

#include <zlib.h>
#include <zstd.h>

enum {
    PIECE_BYTES = 256 * 1024,
    DEFLATE_WINDOW_BITS = -15, /* raw deflate, as Avro wants it: without zlib's header */
    DEFLATE_MEMORY_LEVEL = 8,
    ZSTD_LEVEL = 3,
};

const char *avro_codec_name(enum avro_codec codec)
{
    switch (codec) {
    case AVRO_CODEC_NULL:
        return "null";
    case AVRO_CODEC_DEFLATE:
        return "deflate";
    case AVRO_CODEC_ZSTANDARD:
        return "zstandard";
    }
    return NULL;
}

enum avro_codec avro_codec_of(struct banyan_str name)
{
    for (enum avro_codec codec = AVRO_CODEC_NULL; codec <= AVRO_CODEC_ZSTANDARD; codec++) {
        if (banyan_str_equal(name, banyan_str_of(avro_codec_name(codec))))
            return codec;
    }
    return 0;
}

static enum banyan_status too_large(const struct banyan_buf *ret, struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_LIMIT, "a block has more than %zu bytes", ret->size_max);
}

/* ---- deflate ---- */

static enum banyan_status deflate_pack(struct banyan_str data, struct banyan_buf *ret, struct banyan_error *err)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data.data, .avail_in = (uInt)data.size};
    uLong bound;
    char *out;
    int code;

    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, DEFLATE_WINDOW_BITS, DEFLATE_MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return banyan_error_set(err, BANYAN_LIMIT, "no memory for compressing a block");
    bound = deflateBound(&stream, (uLong)data.size);
    out = banyan_buf_extend(ret, bound);
    if (out == NULL) {
        (void)deflateEnd(&stream);
        return too_large(ret, err);
    }
    stream.next_out = (Bytef *)out;
    stream.avail_out = (uInt)bound;
    code = deflate(&stream, Z_FINISH);
    ret->size -= stream.avail_out;
    (void)deflateEnd(&stream);
    return code == Z_STREAM_END ? BANYAN_OK : banyan_error_set(err, BANYAN_LIMIT, "a block cannot be compressed");
}

static enum banyan_status deflate_unpack(struct banyan_str data, struct banyan_buf *ret, struct banyan_error *err)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data.data, .avail_in = (uInt)data.size};
    enum banyan_status status = BANYAN_OK;
    int code = Z_OK;

    if (inflateInit2(&stream, DEFLATE_WINDOW_BITS) != Z_OK)
        return banyan_error_set(err, BANYAN_LIMIT, "no memory for unpacking a block");
    while (status == BANYAN_OK && code == Z_OK) {
        size_t room = ret->size_max - ret->size < PIECE_BYTES ? ret->size_max - ret->size : PIECE_BYTES;
        char *out = room == 0 ? NULL : banyan_buf_extend(ret, room);

        if (out == NULL) {
            status = too_large(ret, err);
            break;
        }
        stream.next_out = (Bytef *)out;
        stream.avail_out = (uInt)room;
        code = inflate(&stream, Z_NO_FLUSH);
        ret->size -= stream.avail_out;
    }
    if (status == BANYAN_OK && (code != Z_STREAM_END || stream.avail_in > 0))
        status = banyan_error_set(err, BANYAN_CORRUPT, "a deflated block is damaged");
    (void)inflateEnd(&stream);
    return status;
}

/* ---- zstandard ---- */

static enum banyan_status zstd_pack(struct banyan_str data, struct banyan_buf *ret, struct banyan_error *err)
{
    size_t bound = ZSTD_compressBound(data.size), size;
    char *out = banyan_buf_extend(ret, bound);

    if (out == NULL)
        return too_large(ret, err);
    size = ZSTD_compress(out, bound, data.data, data.size, ZSTD_LEVEL);
    if (ZSTD_isError(size))
        return banyan_error_set(err, BANYAN_LIMIT, "a block cannot be compressed: %s", ZSTD_getErrorName(size));
    ret->size -= bound - size;
    return BANYAN_OK;
}

static enum banyan_status zstd_unpack(struct banyan_str data, struct banyan_buf *ret, struct banyan_error *err)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = {data.data, data.size, 0};
    enum banyan_status status = BANYAN_OK;
    size_t left = 1;

    if (stream == NULL)
        return banyan_error_set(err, BANYAN_LIMIT, "no memory for unpacking a block");
    while (status == BANYAN_OK && left != 0) {
        size_t room = ret->size_max - ret->size < PIECE_BYTES ? ret->size_max - ret->size : PIECE_BYTES;
        char *out = room == 0 ? NULL : banyan_buf_extend(ret, room);
        ZSTD_outBuffer piece = {out, room, 0};
        size_t before = in.pos;

        if (out == NULL) {
            status = too_large(ret, err);
            break;
        }
        left = ZSTD_decompressStream(stream, &piece, &in);
        ret->size -= room - (ZSTD_isError(left) ? 0 : piece.pos);
        if (ZSTD_isError(left) || (left != 0 && piece.pos == 0 && in.pos == before))
            status = banyan_error_set(err, BANYAN_CORRUPT, "a block of zstandard is damaged");
    }
    if (status == BANYAN_OK && in.pos < in.size)
        status = banyan_error_set(err, BANYAN_CORRUPT, "a block of zstandard has bytes behind its end");
    (void)ZSTD_freeDStream(stream);
    return status;
}

/* ---- all ---- */

enum banyan_status avro_codec_pack(enum avro_codec codec, struct banyan_str data, struct banyan_buf *ret,
                                   struct banyan_error *err)
{
    banyan_buf_reset(ret);
    if (codec == AVRO_CODEC_DEFLATE)
        return deflate_pack(data, ret, err);
    if (codec == AVRO_CODEC_ZSTANDARD)
        return zstd_pack(data, ret, err);
    banyan_buf_add_str(ret, data);
    return ret->overflow ? too_large(ret, err) : BANYAN_OK;
}

enum banyan_status avro_codec_unpack(enum avro_codec codec, struct banyan_str data, struct banyan_buf *ret,
                                     struct banyan_error *err)
{
    banyan_buf_reset(ret);
    if (codec == AVRO_CODEC_DEFLATE)
        return deflate_unpack(data, ret, err);
    if (codec == AVRO_CODEC_ZSTANDARD)
        return zstd_unpack(data, ret, err);
    banyan_buf_add_str(ret, data);
    return ret->overflow ? too_large(ret, err) : BANYAN_OK;
}
