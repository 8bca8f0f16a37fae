/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys for new aggregates, never one that the other side may give out.
 *
 * While the legacy application may create aggregates, keys come from its own sequence, in blocks (nextval() many times
 * in one statement): what is not used is a gap, as a rolled back INSERT leaves one.  Once Banyan owns all of them, they
 * come from blocks that are reserved in the stream "$keys-<source>-<category>", above all that the sequence gave; a
 * rollback sets the sequence above all that was given (keys_highest()).
 *
 * Threads: any.
 */
#ifndef ROLLOUT_KEYS_H
#define ROLLOUT_KEYS_H

#include "rollout/owner.h"

struct keys;

struct keys_options {
    const struct banyan_domain *domain;
    const char *source;
    const char *conninfo; /* of the legacy database */
    struct store *store;  /* borrowed */
    struct owner *owner;  /* borrowed */
    uint32_t block;       /* 0: 256 */
};

BANYAN_MUST_CHECK enum banyan_status keys_open(const struct keys_options *options, struct keys **ret,
                                               struct banyan_error *err);
void keys_close(struct keys *keys); /* NULL allowed */
/* A key that nobody else has or gets.  May ask the server or the disk where a block is used up (a next block is fetched
 * before that by a thread of its own).  NOT_FOUND: the mapping has no sequence. */
BANYAN_MUST_CHECK enum banyan_status keys_next(struct keys *keys, struct banyan_str category, int64_t *ret,
                                               struct banyan_error *err);
/* Above the highest key that was given to anybody; for setval(). */
BANYAN_MUST_CHECK enum banyan_status keys_highest(struct keys *keys, struct banyan_str category, int64_t *ret,
                                                  struct banyan_error *err);

#endif
