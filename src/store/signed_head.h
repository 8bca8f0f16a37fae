/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed heads: at a moment, somebody who had a private key signed all that the log held.  Whoever has the public key
 * and a head finds any later change of that history, also one that recomputes every checksum and the chain.
 *
 *     frame ─▶ leaf (its chain) ┐
 *     frame ─▶ leaf             ├─▶ root of its segment ─▶ leaf ┐
 *     …                         ┘                               ├─▶ root: signed with position, offset and chain
 *                                   segments before it ─▶ leaf  ┘
 *
 * Two levels, so that a proof (proof.h) needs the frames of one segment only, and the next signature those of the last.
 * Heads are lines of <store>/heads.jsonl, of one form each; they may be copied and kept elsewhere.  docs/FORMATS.md has
 * the bytes that are signed.
 */
#ifndef STORE_SIGNED_HEAD_H
#define STORE_SIGNED_HEAD_H

#include <stddef.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "banyan/error.h"
#include "banyan/types.h"
#include "banyan/uuid.h"
#include "log/frame.h"
#include "log/merkle.h"
#include "log/verify.h"
#include "os/clock.h"
#include "os/file.h"
#include "store/line.h"

#define SIGNED_HEADS_FILE "heads.jsonl"

enum {
    SIGNED_KEY_BYTES = 32,
    SIGNED_SIGNATURE_BYTES = 64,
    SIGNED_LINE_BYTES_MAX = 1024,
    SIGNED_PEM_BYTES_MAX = 16 * 1024,
};

struct signed_head {
    struct banyan_uuid log_id;
    uint64_t position; /* of the last event that is signed: the end of a batch */
    uint64_t offset;   /* in the log, behind its frame */
    uint64_t segments; /* that hold it; the last one may have grown since */
    uint64_t frames;   /* of the last one that are signed */
    uint8_t chain[LOG_CHAIN_BYTES];
    struct merkle_hash root;
    struct banyan_time time; /* when it was signed, as the signer's clock said */
    uint8_t key[SIGNED_KEY_BYTES];
    uint8_t signature[SIGNED_SIGNATURE_BYTES];

    const char *path; /* where it was read from; borrowed from who loaded it */
    uint64_t byte;
};

/* ---- the tree ---- */

/* Grows with the frames of a log; all zeros is empty. */
struct signed_tree {
    struct merkle segments;  /* leaves: the sealed ones */
    struct merkle frames;    /* leaves: those of the last one */
    uint64_t first_position; /* of it */
};
void signed_tree_add(struct signed_tree *tree, const struct frame_header *frame);
/* No more frames come into the segment that begins with *first_position*. */
void signed_tree_seal(struct signed_tree *tree, uint64_t first_position);
struct merkle_hash signed_tree_root(const struct signed_tree *tree);
struct merkle_hash signed_frame_leaf(const uint8_t chain[LOG_CHAIN_BYTES]);
struct merkle_hash signed_segment_leaf(uint64_t first_position, uint64_t frames, const struct merkle_hash *root);

/* ---- a head and its line ---- */

/* One line without its end. */
void signed_head_format(const struct signed_head *head, struct banyan_buf *buf);
/* What signed_head_format() wrote, as a part of a longer line; the caller compares. */
void signed_head_read(struct line *line, struct signed_head *ret);
/* The whole of *text* and nothing else; INVALID. */
BANYAN_MUST_CHECK enum banyan_status signed_head_parse(struct banyan_str text, struct signed_head *ret,
                                                       struct banyan_error *err);
/* MISMATCH when the signature is not that of head->key over what the head says. */
BANYAN_MUST_CHECK enum banyan_status signed_head_check(const struct signed_head *head, struct banyan_error *err);
/* Fill key and signature.  INVALID when *pem* is no Ed25519 private key. */
BANYAN_MUST_CHECK enum banyan_status signed_head_sign(struct signed_head *head, struct banyan_str pem,
                                                      struct banyan_error *err);

/* ---- keys ---- */

/* A new pair, PEM; *private* is to be wiped by the caller. */
BANYAN_MUST_CHECK enum banyan_status signed_keys_new(struct banyan_buf *private, struct banyan_buf *public,
                                                     struct banyan_error *err);
/* The raw key of a PEM public key; INVALID. */
BANYAN_MUST_CHECK enum banyan_status signed_key_of(struct banyan_str pem, uint8_t ret[SIGNED_KEY_BYTES],
                                                   struct banyan_error *err);

/* ---- the heads of a store ---- */

struct signed_heads {
    struct signed_head *items; /* owned; by offset */
    size_t count;
    char *paths[2]; /* owned */
};

struct signed_heads_options {
    struct os_files *files;
    const char *folder;           /* the store's */
    const char *more_path;        /* another file of heads, which must be there; NULL */
    struct banyan_str public_key; /* PEM; empty: any key */
    void *context;
    void (*finding)(void *context, const struct log_finding *finding); /* lines that are no head, or of a wrong key */
};
/* Those whose signature is right.  No file is no heads.  INVALID: the public key; IO. */
BANYAN_MUST_CHECK enum banyan_status signed_heads_load(const struct signed_heads_options *options,
                                                       struct signed_heads *ret, struct banyan_error *err);
void signed_heads_release(struct signed_heads *heads);

#endif
