/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may write an aggregate: the one place that everybody asks, and a durable fact.
 *
 *   LEGACY ──canary begins──▶ SHARED ──cutover──▶ BANYAN
 *      ▲                        │                   │
 *      └──── CLOSING ◀──────────┴──── hand back ────┘      CLOSING ──gone wrong──▶ what it was before
 *
 *   LEGACY    the legacy application owns every mapped aggregate
 *   SHARED    Banyan owns those that a command created since this mode began, the legacy application all others
 *   CLOSING   what was Banyan's is handed back: nobody writes it until the mirror has written all of it
 *   BANYAN    Banyan owns all of them; the legacy tables are fenced
 *
 * Each change is one event OwnerChanged in the stream "$owner-<source>"; the stream's version is the *epoch*.  A
 * command for a mapped aggregate is appended under the condition that the stream is still at the epoch under which it
 * was permitted (owner_permit()): so no write of Banyan's is accepted after it gave the ownership up, whatever any
 * thread believes.  Which aggregates are Banyan's in SHARED is not stored either: those whose stream began, by a
 * command, behind the position of OwnerChanged; it is folded from the log at the start.
 *
 * Threads: any.
 */
#ifndef ROLLOUT_OWNER_H
#define ROLLOUT_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "store/store.h"

enum owner_mode {
    OWNER_NONE = 0, /* no such event yet: as LEGACY */
    OWNER_LEGACY,
    OWNER_SHARED,
    OWNER_CLOSING,
    OWNER_BANYAN,
};
const char *owner_mode_name(enum owner_mode mode); /* "legacy" */

/* Whose is one aggregate now? */
enum owner_side {
    OWNER_SIDE_NONE = 0, /* not of a mapped category: always Banyan's */
    OWNER_SIDE_LEGACY,
    OWNER_SIDE_BANYAN,
    OWNER_SIDE_HELD, /* it is being handed back: wait for the next mode */
};

struct owner;

struct owner_options {
    const struct banyan_domain *domain;
    const char *source;  /* its name */
    struct store *store; /* borrowed */
};

/* Reads the stream, and in SHARED (or CLOSING from it) the log behind it. */
BANYAN_MUST_CHECK enum banyan_status owner_open(const struct owner_options *options, struct owner **ret,
                                                struct banyan_error *err);
void owner_close(struct owner *owner); /* NULL allowed */

enum owner_mode owner_mode(struct owner *owner, uint64_t *ret_epoch);
/* Where the log stood when the present ownership began: what the mirror has to write is behind it. */
struct banyan_position owner_since(struct owner *owner);
enum owner_side owner_side(struct owner *owner, struct banyan_str category, int64_t key);
/* How many aggregates are Banyan's in SHARED. */
uint64_t owner_count(struct owner *owner);

/* Change the mode when the epoch is still *epoch*; durable when it returns.  CONFLICT. */
BANYAN_MUST_CHECK enum banyan_status owner_change(struct owner *owner, uint64_t epoch, enum owner_mode mode,
                                                  const char *reason, uint64_t *ret_epoch, struct banyan_error *err);
/* Wait until the epoch is above *epoch*; TIMEOUT. */
BANYAN_MUST_CHECK enum banyan_status owner_wait(struct owner *owner, uint64_t epoch, int64_t timeout_us,
                                                struct banyan_error *err);

/* May a command for this aggregate be appended?  *ret* is the condition that its append has to carry (stream in
 * *arena*; expect NONE: none).  *creates*: the aggregate is new, with a key of keys_next().  In SHARED such a key
 * becomes Banyan's here, before its first event: a request that follows finds its way.  CONFLICT with a hint: it is the
 * legacy application's; BUSY: it is being handed back. */
BANYAN_MUST_CHECK enum banyan_status owner_permit(struct owner *owner, struct banyan_str category,
                                                  struct banyan_str key, bool creates, struct banyan_arena *arena,
                                                  struct store_condition *ret, struct banyan_error *err);

/* May a command begin an aggregate under a key that is not of keys_next()?  INVALID, with a hint, where there is none
 * of this key and keys of the category come from a sequence: the sequence may give the same key to somebody else later,
 * and what is far above it could end it. */
BANYAN_MUST_CHECK enum banyan_status owner_may_begin(struct owner *owner, struct banyan_str category,
                                                     struct banyan_str key, struct banyan_error *err);

/* owner_permit() for an event that no command made.  It begins no aggregate whose keys come from a sequence, and
 * neither looks as if capture had written it, nor is unknown to the domain: the mirror has to write it back. */
BANYAN_MUST_CHECK enum banyan_status owner_permit_event(struct owner *owner, const struct store_event *event,
                                                        struct banyan_arena *arena, struct store_condition *ret,
                                                        struct banyan_error *err);

#endif
