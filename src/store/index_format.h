/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the index hold, byte by byte; docs/FORMATS.md explains it.  Numbers are little-endian.
 *
 *     run: ┌ header ┬ ids … ┬ streams … ┬ fences of ids … ┬ of streams … ┬ filter of ids … ┬ of streams … ┐
 *
 * All in blocks of INDEX_BLOCK_BYTES.  Each block says which block of which run it is, under its checksum, so that a
 * block at the wrong place is as visible as a damaged one.
 */
#ifndef STORE_INDEX_FORMAT_H
#define STORE_INDEX_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define INDEX_RUN_MAGIC "BANYRUN"      /* with its NUL: 8 bytes */
#define INDEX_MANIFEST_MAGIC "BANYIDX" /* the same */

enum {
    INDEX_FORMAT = 1,
    INDEX_BLOCK_BYTES = 4096,
    INDEX_FILTER_LINE_BYTES = 64, /* what one key touches */
    INDEX_FILTER_BITS = 10,       /* a key … */
    INDEX_FILTER_BITS_SMALL = 20, /* … and in the many small runs, which hold a small part of the keys: */
    INDEX_SMALL_LEVEL_MAX = 1,    /* those of levels up to this one */
    INDEX_JUMPS_MAX = 72,         /* more than any 64-bit version has on its way */
};

enum index_section {
    INDEX_IDS = 0,
    INDEX_STREAMS,
    INDEX_ID_FENCES,
    INDEX_STREAM_FENCES,
    INDEX_ID_FILTER,
    INDEX_STREAM_FILTER,
    INDEX_SECTIONS,
};

struct index_block_header {
    uint32_t crc;    /* CRC-32C of the bytes of the block behind this field */
    uint32_t tag;    /* low bits of the run's sequence number */
    uint32_t number; /* of the block in the file */
    uint16_t section;
    uint16_t count; /* of entries */
} __attribute__((packed));
static_assert(sizeof(struct index_block_header) == 16, "stored layout");

/* Sorted by hash, then position. */
struct index_id {
    uint64_t hash;
    uint64_t position;
} __attribute__((packed));

enum {
    INDEX_BODY_BYTES = INDEX_BLOCK_BYTES - (int)sizeof(struct index_block_header),
    INDEX_BLOCK_IDS = INDEX_BODY_BYTES / (int)sizeof(struct index_id),
    INDEX_BLOCK_FENCES = INDEX_BODY_BYTES / (int)sizeof(uint64_t),
    INDEX_BLOCK_LINES = INDEX_BODY_BYTES / INDEX_FILTER_LINE_BYTES,
};

/* Block 0. */
struct index_run_header {
    char magic[8];
    uint32_t crc;    /* CRC-32C of the block behind this field */
    uint32_t format; /* INDEX_FORMAT */
    uint64_t sequence;
    uint64_t first, last; /* positions */
    uint64_t seeds[2];    /* of the hashes of streams and of ids */
    uint64_t id_count, stream_count;
    uint32_t blocks[INDEX_SECTIONS];
    uint32_t level; /* how often its entries were merged */
    uint32_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct index_run_header) == 104, "stored layout");

struct index_manifest_header {
    char magic[8];
    uint32_t crc;    /* CRC-32C of the file behind this field */
    uint32_t format; /* INDEX_FORMAT */
    uint64_t size;   /* of the file */
    uint64_t seeds[2];
    uint64_t covered;       /* position */
    uint64_t check;         /* hash of the log's record there, seeded */
    uint64_t next_sequence; /* of a run */
    uint64_t stream_count;
    uint32_t run_count, cursor_count;
} __attribute__((packed));
static_assert(sizeof(struct index_manifest_header) == 80, "stored layout");

/* Oldest first; then the cursors: varint and bytes of the name, varint and bytes of the value. */
struct index_manifest_run {
    uint64_t sequence;
    uint64_t first, last;
    uint32_t header_crc;
    uint32_t level;
} __attribute__((packed));
static_assert(sizeof(struct index_manifest_run) == 32, "stored layout");

#endif
