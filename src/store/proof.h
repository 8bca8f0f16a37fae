/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A proof that one event belongs to a signed head, for somebody who has neither the store nor trust in who keeps it:
 *
 *     event ⊂ frame ─chain─▶ leaf ─path─▶ root of its segment ─▶ leaf ─path─▶ root in the head ◀─signature─ public key
 *
 * One line of JSON in one form (docs/FORMATS.md): the frame's bytes, two audit paths, the head.
 */
#ifndef STORE_PROOF_H
#define STORE_PROOF_H

#include "banyan/buf.h"
#include "banyan/error.h"
#include "store/envelope.h"
#include "store/signed_head.h"

enum {
    PROOF_BYTES_MAX = 128 * 1024 * 1024,
};

struct proof {
    uint64_t position; /* of the event */
    struct signed_head head;
    uint64_t segment; /* number, from 0 */
    uint64_t segment_position, segment_frames;
    uint64_t frame; /* number in the segment, from 0 */
    uint8_t chain_before[LOG_CHAIN_BYTES];
    struct merkle_hash frame_path[MERKLE_PATH_MAX], segment_path[MERKLE_PATH_MAX];
    size_t frame_path_count, segment_path_count;
    struct banyan_buf bytes; /* of the frame; owned */
};

void proof_init(struct proof *proof);
void proof_release(struct proof *proof);

/* One line without its end. */
void proof_format(const struct proof *proof, struct banyan_buf *buf);
/* The whole of *text*, which may end with one line feed; INVALID. */
BANYAN_MUST_CHECK enum banyan_status proof_parse(struct banyan_str text, struct proof *ret, struct banyan_error *err);
/* MISMATCH with the reason when it proves nothing, or was signed with another key than *public_key* (PEM).  What *ret*
 * and *ret_record* name is borrowed from *proof*. */
BANYAN_MUST_CHECK enum banyan_status proof_check(const struct proof *proof, struct banyan_str public_key,
                                                 struct envelope *ret, struct log_record *ret_record,
                                                 struct banyan_error *err);

struct store_prove_options {
    const char *folder;     /* the store's */
    struct os_files *files; /* NULL: the system's */
    uint64_t position;
    uint64_t head_position; /* of the signed head; 0: the first that covers the event */
    const char *heads_path; /* signed heads that were kept elsewhere; NULL */
};
/* Reads the event's segment and those behind it whose roots are not in <store>/roots.  NOT_FOUND without such a head;
 * MISMATCH when the log is not what was signed; CORRUPT. */
BANYAN_MUST_CHECK enum banyan_status store_prove(const struct store_prove_options *options, struct proof *ret,
                                                 struct banyan_error *err);

#endif
