/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share.
 *
 * A frame's way:  staged (the appender's own) ──commit──▶ queue ──take──▶ in flight ──pwrite, fdatasync──▶ spare
 *
 * Whoever sets shared.flushing owns `out` until it clears it: the flusher thread, or a thread that waits for its own
 * append while nobody flushes (that saves a lone writer two switches of threads).
 *
 * Lock order: there is one lock, log.lock.  It is not held over a system call on a file.
 */
#ifndef LOG_LOG_INT_H
#define LOG_LOG_INT_H

#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log/frame.h"
#include "log/log.h"
#include "log/source.h"
#include "os/event.h"
#include "os/thread.h"

enum {
    LOG_FRAME_BYTES = 64 * 1024,   /* a frame is closed when it has more: the unit of a checked random read */
    LOG_MARK_BYTES = 32 * 1024,    /* distance of the marks that find a position */
    LOG_MARKED_SEGMENTS_MAX = 256, /* sealed ones whose marks are kept in memory: 12 MiB at 64 MiB each */
    LOG_PENDING_BYTES_MAX = 32 * 1024 * 1024, /* soft: appenders wait above it */
    LOG_SEGMENT_BYTES = 64 * 1024 * 1024,
    LOG_SPARE_FRAMES_MAX = 64,
    LOG_SPARE_BYTES_MAX = 4 * LOG_FRAME_BYTES, /* larger buffers are not kept */
    LOG_MERGE_US_MAX = 1000,                   /* batches share a frame, and so recorded_at, within this */
    LOG_SHARED_FRAMES = 64,                    /* kept for readers that follow the end */
    LOG_SHARED_POSITIONS = 65536,              /* so near the end a frame is shared */
    LOG_RETRY_US = 250000,                     /* pause of the flusher while the disk is full */
    LOG_GATHER_US_MAX = 2000,
};

struct log_marks {
    struct log_mark *items; /* owned */
    size_t count, capacity;
};

struct log_segment {
    uint64_t first_position;
    uint64_t base_offset;           /* in the log, of the file's first byte */
    char *path;                     /* owned */
    struct os_file *file;           /* owned; open while it is written to, NULL else */
    uint64_t capacity;              /* bytes reserved */
    uint64_t assigned;              /* bytes given to frames; the appender's */
    uint8_t chain[LOG_CHAIN_BYTES]; /* before its first frame; known once the header is written */

    /* Guarded by the log's lock. */
    struct log_marks marks;
    bool marked;      /* marks are in memory, and all of them; else in a file, or to be made */
    uint64_t touched; /* when somebody last looked for a position here: a count */
    bool cold;        /* there is no hot file any more */
    bool recorded_known;
    int64_t recorded_max; /* latest time of its records, where known */
};

/* A frame on its way to the disk. */
struct log_frame {
    struct log_frame *next;
    struct log_segment *segment;
    uint64_t at; /* byte in the segment's file, once written */
    char *data;  /* room for the header, then records; owned */
    size_t size, capacity;
    uint64_t first_position;
    uint32_t record_count;
    uint32_t batch_count; /* batches that end in it */
    uint32_t flags;
    int64_t recorded_at;
};

/* The end of the last whole batch that was written. */
struct log_end {
    struct log_segment *segment;
    uint64_t at;       /* byte in the file */
    uint64_t position; /* of its last record */
    uint8_t chain[LOG_CHAIN_BYTES];
};

/* A checked frame in memory, for several readers. */
struct log_shared_frame {
    unsigned holders; /* atomic */
    size_t segment;
    uint64_t at; /* byte in the segment's file */
    struct frame_header header;
    char records[];
};

struct log_shared_frames {
    pthread_mutex_t lock; /* guards the ring; taken alone */
    struct log_shared_frame *ring[LOG_SHARED_FRAMES];
    uint64_t next; /* frames ever added */
};

struct log {
    struct log_options options; /* folders are owned */
    struct log_folders folders; /* the same */
    struct banyan_uuid id;

    /* The appender's own (one thread at a time; callers see to it). */
    struct log_frame *staged;    /* records of the open batch that were not handed over */
    bool in_batch, handed_over;  /* handed_over: frames of the open batch are in the queue or written */
    size_t last_record;          /* in staged->data, of the last record */
    uint64_t next_position;      /* of the next record */
    uint64_t committed_position; /* next_position when the open batch began, minus 1 */
    struct log_segment *placing; /* takes the next frame; NULL before the first */

    /* Of the one who flushes (shared.flushing). */
    struct {
        struct log_segment *segment; /* written last; NULL before the first */
        uint64_t at;                 /* byte in its file behind the last frame */
        uint64_t flushed;            /* offset in the log */
        bool dirty;                  /* written but not flushed */
        bool folder_dirty;
        bool appended; /* anything since open */
        int64_t flush_us_total, flush_us_max;
        uint8_t chain[LOG_CHAIN_BYTES];
        struct log_end end;
        EVP_MD *digest;
        EVP_MD_CTX *hash;
    } out;

    /* How fast appends come and flushes go; guarded by lock, but flush_us is of the one who flushes. */
    struct {
        int64_t flush_us;   /* of late */
        int64_t each;       /* between the end of a group and the next appends, for one append: µs × PACE_UNIT */
        int64_t ended_us;   /* when the last group ended */
        int64_t arrived_us; /* the last append since */
        uint64_t arrivals;  /* batches since */
        uint64_t target;    /* batches of all who append */
    } pace;

    struct os_thread flusher;
    pthread_mutex_t lock;
    pthread_cond_t work;      /* the flusher has something to do */
    pthread_cond_t gathered;  /* enough batches came for the next group */
    pthread_cond_t room;      /* pending_bytes fell, or flushing ended */
    struct os_event done[2];  /* group number & 1 ended */
    struct os_event progress; /* durable moved: for those who wait for what is not appended yet */

    struct log_shared_frames frames;

    /* Guarded by lock; durable, tail and segment_count are also read without it (atomically). */
    struct {
        struct log_segment **segments; /* owned, ascending */
        size_t segment_count, segment_capacity;
        size_t saved;           /* segments whose marks need not be kept in memory: the first so many */
        size_t marked_segments; /* that have marks in memory */
        uint64_t touches;
        bool archiving;
        struct log_frame *queue, *queue_last;
        struct log_frame *spare;
        size_t spare_count;
        uint64_t pending_bytes, pending_batches;
        uint64_t tail, durable; /* positions */
        uint64_t in_flight;     /* last position of the group that is being flushed */
        uint64_t group;         /* its number */
        uint64_t gather_target; /* batches to wait for; 0: nobody waits */
        bool flushing, full, stopping, wanted;
        enum banyan_status health;
        struct banyan_error why;
        struct log_stats stats;
    } shared;
};

/* ---- segment.c ---- */

struct log_segment *log_segment_new(const char *folder, uint64_t first_position, uint64_t base_offset);
void log_segment_free(struct log_segment *segment);
/* Make the file and reserve *capacity*.  NO_SPACE leaves nothing behind. */
BANYAN_MUST_CHECK enum banyan_status log_segment_create(struct log *log, struct log_segment *segment, uint64_t capacity,
                                                        struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status log_segment_write_header(struct log *log, struct log_segment *segment,
                                                              const uint8_t chain[LOG_CHAIN_BYTES],
                                                              struct banyan_error *err);
bool log_segment_check_header(const struct segment_header *header);
/* Under the lock (or before threads run): */
void log_segment_unload(struct log *log, struct log_segment *segment);
void log_segments_add(struct log *log, struct log_segment *segment);
/* The segment of *position*: its number, or segment_count. */
size_t log_segments_find(struct log *log, uint64_t position);

/* ---- marks.c ---- */

/* A frame begins at *at*: remembered if the last mark is far enough away. */
void log_marks_add(struct log_marks *marks, const struct frame_header *frame, uint64_t at);
/* Forget marks of positions from *position* on. */
void log_marks_cut(struct log_marks *marks, uint64_t position);
void log_marks_release(struct log_marks *marks);
/* The segment of *position*, and its last mark at or before it.  Takes the lock; may read files. */
BANYAN_MUST_CHECK enum banyan_status log_marks_find(struct log *log, uint64_t position, size_t *ret_segment,
                                                    struct log_mark *ret, struct banyan_error *err);
/* With the lock: what is known of segment *number*, which must have a next one; crc and mark_count are 0. */
struct marks_header log_sealed_facts(struct log *log, size_t number);
/* With the lock: may the marks of the next sealed segment go to their file?  Then do it; the lock is released
 * meanwhile. For one thread. */
bool log_marks_can_save(const struct log *log);
void log_marks_save(struct log *log);

/* ---- flush.c ---- */

struct log_frame *log_frame_new(void);
void log_frame_free(struct log_frame *frame);
void log_frame_reset(struct log_frame *frame);
/* Room for *size* more bytes. */
char *log_frame_extend(struct log_frame *frame, size_t size);
/* With the lock held and flushing false: write and flush the queue; the lock is released meanwhile. */
void log_flush_group(struct log *log);
/* What a frame without records behind the last one says: the log was closed in good order. */
BANYAN_MUST_CHECK enum banyan_status log_write_closed(struct log *log, struct banyan_error *err);
void log_flusher_main(void *log);
/* With the lock held: nothing works any more. */
void log_break(struct log *log, const struct banyan_error *err);

/* ---- shared_frame.c ---- */

/* Hold a frame that begins with *first_position*; NULL when it is not there.  End it with log_shared_frame_give(). */
struct log_shared_frame *log_shared_frame_take(struct log_shared_frames *frames, uint64_t first_position);
void log_shared_frame_give(struct log_shared_frame *frame); /* NULL allowed */
/* Offer a checked durable frame with records, at byte *at* of segment number *segment*; copied. */
void log_shared_frame_add(struct log_shared_frames *frames, size_t segment, uint64_t at,
                          const struct frame_header *header, const char *records);
void log_shared_frames_release(struct log_shared_frames *frames);

/* ---- chain.c ---- */

/* The chain behind *frame* (header and records) when it was *before* in front of it. */
void log_chain(EVP_MD_CTX *hash, const EVP_MD *digest, const uint8_t before[LOG_CHAIN_BYTES], const void *frame,
               uint8_t ret[LOG_CHAIN_BYTES]);

/* ---- recovery.c ---- */

/* Read the headers of all segments and the frames of the last one, check them, fill the segment table and log->out; cut
 * a torn tail unless read only. */
BANYAN_MUST_CHECK enum banyan_status log_recover(struct log *log, struct banyan_error *err);
/* Remove all behind *end*: later segments, last first, then the rest of its own.  The chain and the table follow. */
BANYAN_MUST_CHECK enum banyan_status log_cut(struct log *log, const struct log_end *end, struct banyan_error *err);

#endif
