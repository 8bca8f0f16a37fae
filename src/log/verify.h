/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying a log: every byte of every segment is read, in order, with bounded memory, offline or beside a running
 * writer; nothing is changed and no lock is taken.
 *
 * Reading goes on after a finding where it can: behind a damaged place it looks for the next whole frame, whose own
 * chain is then believed; of an archived segment whose file cannot be opened all is lost, and the next one is read.
 * What is found:
 *
 *     damage    something that was flushed is not as it was written
 *     derived   a file that is made from the log does not agree with it; it is made anew
 *     note      harmless: a torn tail, or a log that was not closed in good order (its process was killed, or it runs)
 *
 * The end beside a running writer is where reading met a place that was being written; segments that are made
 * meanwhile are not looked at.
 */
#ifndef LOG_VERIFY_H
#define LOG_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/error.h"
#include "banyan/uuid.h"
#include "log/frame.h"
#include "log/log.h"
#include "os/file.h"

enum {
    LOG_FINDING_TEXT_MAX = 256,
};

enum log_finding_class {
    LOG_FINDING_DAMAGE = 1,
    LOG_FINDING_DERIVED, /* in a file that is made anew from the log when it is needed */
    LOG_FINDING_NOTE,
};

struct log_finding {
    const char *kind; /* a stable word, static: docs/VERIFY.md lists them */
    enum log_finding_class class;
    const char *path;  /* of the file; borrowed for the call */
    uint64_t byte;     /* in the file */
    uint64_t position; /* of the event there, or the next one that was expected; 0: none */
    char text[LOG_FINDING_TEXT_MAX];
};

/* Between two segments: all that a resumed verification needs. */
struct log_verify_place {
    struct banyan_uuid log_id;
    bool log_id_known;
    uint64_t segment;        /* number of the next one, from 0 */
    uint64_t first_position; /* its name */
    uint64_t next_position;
    uint64_t offset;  /* in the log */
    uint64_t flushed; /* as the last frame said */
    uint8_t chain[LOG_CHAIN_BYTES];
    bool in_batch;                                      /* the last frame said that its batch goes on */
    bool position_known, offset_known, chain_known;     /* false behind damage */
    uint64_t segments, frames, records, batches, bytes; /* counted; bytes without the zeros behind the ends */
    uint64_t damages, derived, notes;
    uint64_t whole_position; /* last position of the last whole batch */
    uint64_t whole_offset;   /* in the log, behind its frame */
    bool closed;             /* the last frame says that the log was closed in good order */
};

void log_verify_place_init(struct log_verify_place *place);

/* Who is told; members may be NULL.  Called by the thread that calls log_verify(). */
struct log_verify_visitor {
    void *context;
    void (*finding)(void *context, const struct log_finding *finding);
    /* A frame whose checksum is right; *offset* is that of its end. */
    void (*frame)(void *context, const struct frame_header *frame, uint64_t offset);
    /* One of its records. */
    void (*record)(void *context, const struct log_record *record, const char *path, uint64_t byte);
    /* The positions from *first* to *last* cannot be read. */
    void (*lost)(void *context, uint64_t first, uint64_t last);
    /* The sealed segment that begins with *first_position* is read whole, and *place* is behind it.  Anything but OK
     * ends the verification with it. */
    enum banyan_status (*segment)(void *context, const struct log_verify_place *place, uint64_t first_position,
                                  struct banyan_error *err);
    /* Every few MiB.  Anything but OK ends the verification with it. */
    enum banyan_status (*progress)(void *context, uint64_t bytes_done, uint64_t bytes_total, struct banyan_error *err);
};

struct log_verify_options {
    const char *folder;      /* of the segments */
    const char *cold_folder; /* of archived ones; NULL: none */
    struct os_files *files;  /* borrowed */
    const struct log_verify_visitor *visitor;
    uint64_t until_offset; /* stop behind the frame that ends there; 0: the end of the log */
    bool one_thread;       /* do not hash in a thread of its own */
};

/* Verify from *place* on (a new one: everything).  OK also when there are findings: place->damages counts them.
 * NOT_FOUND when there is no log; IO; what a visitor returned. */
BANYAN_MUST_CHECK enum banyan_status log_verify(const struct log_verify_options *options,
                                                struct log_verify_place *place, struct banyan_error *err);

/* ---- one frame without its log: for proofs ---- */

/* Are these *size* bytes one whole frame, with the right checksum and the chain that follows from *chain_before*? */
bool log_frame_follows(const char *frame, size_t size, const uint8_t chain_before[LOG_CHAIN_BYTES]);
/* The record of *position* in a frame that log_frame_follows() found whole; false when it is not there. */
bool log_frame_record(const char *frame, uint64_t position, struct log_record *ret);

#endif
