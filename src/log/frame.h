/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a segment file holds, byte by byte; docs/FORMATS.md explains it.  Numbers are little-endian.
 *
 *     segment: ┌ segment header ┬ frame ┬ frame ┬ … ┬ zeros up to the reserved size ┐
 *     frame:   ┌ frame header ┬ record ┬ record ┬ … ┐
 *     record:  ┌ varint: size << 1 | ends its batch ┬ bytes ┐
 *
 * An *offset in the log* counts the used bytes of all segments: the headers and the frames, not the zeros.  So it never
 * stands still and never jumps, and a frame that lies at another place than it says is not a frame.
 */
#ifndef LOG_FRAME_H
#define LOG_FRAME_H

#include <assert.h>
#include <stdint.h>

#include "banyan/uuid.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored numbers are little-endian");

#define SEGMENT_MAGIC "BANYLOG" /* with its NUL: 8 bytes */
#define FRAME_MAGIC 0x9d46594eu /* "NYF" and a byte that text never has */

enum {
    SEGMENT_FORMAT = 1,
    LOG_CHAIN_BYTES = 32,
};

struct segment_header {
    char magic[8];
    uint32_t crc;    /* CRC-32C of the bytes behind this field */
    uint32_t format; /* SEGMENT_FORMAT */
    struct banyan_uuid log_id;
    uint64_t first_position; /* of the first record; also the name of the file */
    uint64_t base_offset;    /* offset in the log of this header; all before it was flushed before it was written */
    uint8_t chain[LOG_CHAIN_BYTES]; /* of the last frame before this segment */
    uint64_t previous_position;     /* of the first record of the segment before; 0: the first one, or not kept */
    uint8_t reserved[40];
} __attribute__((packed));
static_assert(sizeof(struct segment_header) == 128, "stored layout");

enum frame_flag {
    FRAME_CONTINUED = 1 << 0, /* its records go on with a batch that the frame before began */
    FRAME_CONTINUES = 1 << 1, /* its last record is not the end of its batch */
    FRAME_CLOSED = 1 << 2,    /* no records: the log was closed in good order behind the frame before */
};

struct frame_header {
    uint32_t magic;
    uint32_t crc;  /* CRC-32C of all bytes of the frame behind this field */
    uint32_t size; /* bytes of records behind this header */
    uint32_t record_count;
    uint64_t first_position; /* of its first record; of the next one when it has none */
    uint64_t offset;         /* in the log, of this header */
    uint64_t flushed;        /* offset in the log before which all was flushed when this frame was written */
    int64_t recorded_at;     /* µs since 1970 */
    uint32_t flags;          /* enum frame_flag */
    uint32_t reserved;
    /* SHA-256 of the chain of the frame before and of this frame from *size* to *reserved* and its records */
    uint8_t chain[LOG_CHAIN_BYTES];
} __attribute__((packed));
static_assert(sizeof(struct frame_header) == 88, "stored layout");

/* ---- marks: where positions are in a sealed segment ---- */

#define MARKS_MAGIC "BANYIDX" /* with its NUL: 8 bytes */

enum {
    MARKS_FORMAT = 1,
};

/* Then mark_count marks. */
struct marks_header {
    char magic[8];
    uint32_t crc;    /* CRC-32C of all bytes behind this field */
    uint32_t format; /* MARKS_FORMAT */
    struct banyan_uuid log_id;
    uint64_t first_position, base_offset; /* of the segment */
    uint64_t next_position, next_offset;  /* of the segment behind it */
    uint8_t chain_before[LOG_CHAIN_BYTES], chain_after[LOG_CHAIN_BYTES];
    uint32_t mark_count;
    uint32_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct marks_header) == 136, "stored layout");

/* Where a frame begins; ascending. */
struct log_mark {
    uint64_t position;    /* first of the frame */
    uint64_t at;          /* byte in the segment */
    int64_t recorded_max; /* latest time of the records from here to the next mark, µs since 1970 */
};
static_assert(sizeof(struct log_mark) == 24, "stored layout");

/* ---- cold segments: sealed ones, compressed ---- */

#define COLD_MAGIC "BANYCLD" /* with its NUL: 8 bytes */

enum {
    COLD_FORMAT = 1,
};

/* Then the dictionary, the blocks one behind the other, the index: one cold_block for each. */
struct cold_header {
    char magic[8];
    uint32_t crc;                        /* CRC-32C of the bytes behind this field */
    uint32_t format;                     /* COLD_FORMAT */
    uint64_t next_position, next_offset; /* of the segment behind it */
    uint8_t chain_after[LOG_CHAIN_BYTES];
    uint64_t index_at; /* byte in this file */
    uint32_t block_count;
    uint32_t dictionary_bytes; /* 0: none */
    uint32_t dictionary_crc, index_crc;
    struct segment_header segment; /* as it was */
} __attribute__((packed));
static_assert(sizeof(struct cold_header) == 216, "stored layout");

/* Whole frames of the segment, in order, from behind its header to its end without a gap. */
struct cold_block {
    uint32_t stored; /* bytes in this file; as many as *bytes*: not compressed */
    uint32_t bytes;  /* in the segment */
    uint32_t crc;    /* CRC-32C of the stored bytes */
} __attribute__((packed));
static_assert(sizeof(struct cold_block) == 12, "stored layout");

#endif
