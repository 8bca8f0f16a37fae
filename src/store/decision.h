/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One decision on several aggregates: copies of the states as they are submitted are looked at, events are folded into
 * them, so that what is decided later sees it; all events become one append, on the condition that every stream that
 * was looked at is still at the version of its copy, and that who permitted a command still does.
 *
 *   look at a state ──▶ part {version, copy} ──emit, command──▶ events, new copy ──▶ append at all versions
 *                                                                                     │ CONFLICT: from the start
 *
 * Invariants
 *   1. Copies are never changed in place: the states that the domain holds stay what they were when it got them.
 *   2. The first failure stays, and nothing is appended after it.
 *
 * Threads: one decision, one thread.
 */
#ifndef STORE_DECISION_H
#define STORE_DECISION_H

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/domain.h"
#include "store/aggregate.h"

/* One stream that was looked at. */
struct decision_part {
    const struct banyan_aggregate *aggregate;
    struct banyan_str category, key, stream;
    struct banyan_version version;   /* when it was looked at */
    struct banyan_position position; /* of its last event then */
    uint64_t emitted;                /* events of this decision */
    size_t last_event;               /* index of the newest of them */
    const void *state;               /* after them */
    bool permitted;                  /* *permit* was asked for */
    bool new_key;                    /* of the command that it was asked for */
    struct store_condition permit;
};

struct decision_options {
    struct aggregates *aggregates;
    const struct banyan_domain *domain;
    struct banyan_arena *arena; /* of everything that comes out */
    size_t streams_max, events_max;
    const char *what; /* "a reaction": for messages */
    /* The id of event *index* of the decision. */
    struct banyan_uuid (*event_id)(void *context, size_t index);
    void *context;
};

struct decision {
    struct decision_options options;
    struct decision_part **parts; /* each stays where it is */
    size_t part_count, part_capacity;
    struct store_event *events;
    size_t event_count, event_capacity;
    struct banyan_buf bytes;
    enum banyan_status status; /* the first failure */
    struct banyan_error err;
};

void decision_init(struct decision *decision, const struct decision_options *options);
void decision_release(struct decision *decision);
/* A failure of the caller's own. */
void decision_fail(struct decision *decision, enum banyan_status status, const struct banyan_error *err);

/* The part of that stream, looked at now if it was not before; NULL after a failure. */
struct decision_part *decision_look(struct decision *decision, struct banyan_str category, struct banyan_str key);
/* May a command of it be appended?  The condition becomes one of the append.  The failure is the answer's, not the
 * decision's. */
BANYAN_MUST_CHECK enum banyan_status decision_permit(struct decision *decision, struct decision_part *part,
                                                     bool creates, struct banyan_error *err);
/* Add one event to the stream of *part*; *meta* in the decision's arena. */
void decision_emit(struct decision *decision, struct decision_part *part, struct banyan_str meta,
                   const struct banyan_emit *event);
/* Decide a command on the part.  False: refused, with nothing left of it, and *ret* says why; or the decision failed
 * (decision->status). */
bool decision_command(struct decision *decision, struct decision_part *part, const struct banyan_command *command,
                      struct banyan_str meta, struct banyan_refusal *ret);

/* The append of all of it, with *extra* events of the caller's behind.  CONFLICT: decide anew.  As store_submit(). */
struct decision_append {
    struct store *store;
    const struct store_event *extra;
    size_t extra_count;
    struct store_cursor cursor;
};
BANYAN_MUST_CHECK enum banyan_status decision_submit(struct decision *decision, const struct decision_append *append,
                                                     struct store_appended *ret, struct banyan_error *err);
/* After it: the states that came out need not be folded again by whoever looks at them next. */
void decision_learn(struct decision *decision, const struct store_appended *appended);

#endif
