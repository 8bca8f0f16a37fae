/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Avro object container files: values of one schema in compressed blocks, readable by any Avro library.
 * https://avro.apache.org/docs/1.11.1/specification/#object-container-files
 *
 *     ┌ "Obj" 1 ┬ metadata: avro.schema, avro.codec, … ┬ sync ┐ ┌ count ┬ size ┬ values, compressed ┬ sync ┐ …
 *
 * Writing goes into a buffer that the caller empties; reading takes bytes from a function of the caller's, so that the
 * room needs no files.
 *
 * Threads: one at a time.
 */
#ifndef SCHEMA_AVRO_FILE_H
#define SCHEMA_AVRO_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "banyan/error.h"
#include "banyan/types.h"

enum {
    AVRO_FILE_SYNC_BYTES = 16,
    AVRO_FILE_BLOCK_BYTES_MAX = 256 * 1024 * 1024, /* of one block, compressed or not */
    AVRO_FILE_METADATA_BYTES_MAX = 64 * 1024 * 1024,
};

enum avro_codec {
    AVRO_CODEC_NULL = 1,
    AVRO_CODEC_DEFLATE,
    AVRO_CODEC_ZSTANDARD,
};

/* "null", "deflate", "zstandard"; NULL and 0 for others. */
const char *avro_codec_name(enum avro_codec codec);
enum avro_codec avro_codec_of(struct banyan_str name);

struct avro_file_metadata {
    const char *key; /* not beginning with "avro." */
    struct banyan_str value;
};

/* ---- write ---- */

struct avro_file_writer {
    enum avro_codec codec;
    uint8_t sync[AVRO_FILE_SYNC_BYTES];
    struct banyan_buf packed;
};

/* Add the head of a file to *out*.  *sync*: 16 random bytes, new for each file.  End with avro_file_writer_end(). */
void avro_file_writer_begin(struct avro_file_writer *writer, enum avro_codec codec,
                            const uint8_t sync[AVRO_FILE_SYNC_BYTES], struct banyan_str schema,
                            const struct avro_file_metadata *metadata, size_t metadata_count, struct banyan_buf *out);
/* Add a block of *count* values to *out*.  LIMIT. */
BANYAN_MUST_CHECK enum banyan_status avro_file_writer_block(struct avro_file_writer *writer, uint64_t count,
                                                            struct banyan_str values, struct banyan_buf *out,
                                                            struct banyan_error *err);
void avro_file_writer_end(struct avro_file_writer *writer);

/* ---- read ---- */

/* Up to *size* bytes into *data*; *ret_size* 0 at the end. */
typedef enum banyan_status (*avro_file_source)(void *context, void *data, size_t size, size_t *ret_size,
                                               struct banyan_error *err);

struct avro_file_reader;

/* Read the head.  CORRUPT when it is no Avro file, INVALID when its codec is not known. */
BANYAN_MUST_CHECK enum banyan_status avro_file_reader_open(avro_file_source source, void *context,
                                                           struct avro_file_reader **ret, struct banyan_error *err);
void avro_file_reader_close(struct avro_file_reader *reader); /* NULL allowed */
/* Live as long as the reader. */
struct banyan_str avro_file_reader_schema(const struct avro_file_reader *reader);
struct banyan_str avro_file_reader_metadata(const struct avro_file_reader *reader, const char *key); /* NULL: none */
/* The next block: its values, unpacked, borrowed until the next call.  NOT_FOUND at the end (no error text); CORRUPT
 * names the byte. */
BANYAN_MUST_CHECK enum banyan_status avro_file_reader_next(struct avro_file_reader *reader, uint64_t *ret_count,
                                                           struct banyan_str *ret_values, struct banyan_error *err);

#endif
