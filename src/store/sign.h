/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing the head of a store, offline or beside a running writer.
 *
 * What is signed is read and checked first, but for sealed segments whose roots are in <store>/roots: a derived file,
 * compared by verification and made anew when it is missing.  The signed part is flushed before it is signed, and a
 * head is flushed before it is given.
 */
#ifndef STORE_SIGN_H
#define STORE_SIGN_H

#include "banyan/error.h"
#include "store/signed_head.h"

#define SIGNED_ROOTS_FILE "roots"

/* Of a sealed segment; stored as it is. */
struct signed_root {
    uint32_t crc; /* CRC-32C of the bytes behind this field */
    uint32_t format;
    struct banyan_uuid log_id;
    uint64_t first_position;
    uint64_t frames;
    uint64_t next_position; /* of the segment behind it */
    uint64_t next_offset;
    struct merkle_hash root;        /* over its frames */
    uint8_t chain[LOG_CHAIN_BYTES]; /* behind it */
    uint64_t in_batch;              /* 1: a batch goes on behind it */
    uint8_t reserved[8];
} __attribute__((packed));
static_assert(sizeof(struct signed_root) == 136, "stored layout");

/* What the file has, as far as it is whole and one segment follows the other.  Gives *ret (free()); none is no error.
 * *ret_more: there is something behind them. */
BANYAN_MUST_CHECK enum banyan_status signed_roots_load(struct os_files *files, const char *folder,
                                                       struct signed_root **ret, size_t *ret_count, bool *ret_more,
                                                       struct banyan_error *err);
/* The root of a sealed segment that was read whole into *tree*. */
struct signed_root signed_root_make(const struct signed_tree *tree, const struct log_verify_place *place,
                                    uint64_t first_position);
/* Put *place* and *tree* behind the first *count* segments. */
void signed_roots_place(const struct signed_root *roots, size_t count, struct log_verify_place *place,
                        struct signed_tree *tree);

struct store_sign_options {
    const char *folder;            /* the store's */
    struct os_files *files;        /* NULL: the system's */
    struct os_clock *clock;        /* NULL: the system's */
    struct banyan_str private_key; /* PEM */
};
/* Sign all whole batches and add the head to <store>/heads.jsonl.  CORRUPT when there is damage: nothing is signed;
 * INVALID: the key, or an empty log. */
BANYAN_MUST_CHECK enum banyan_status store_sign(const struct store_sign_options *options, struct signed_head *ret,
                                                struct banyan_error *err);

#endif
