/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands: the aggregates of a domain, decided over a store.
 *
 *     command ─▶ state (live, else snapshot and fold) ─▶ decide() ─▶ append at the state's version ─▶ durable ─▶ answer
 *                  ▲                                                     │ somebody else was first
 *                  └───────────── fold what is new ◀─────────────────────┘
 *
 * Invariants
 *   1. An answer, also a refusal, rests only on events that are durable when it is given.
 *   2. A command is executed at most once: its events' ids follow from its id, and the command that is sent again gets
 *      the answer of the first time.  A refused command leaves no trace and is decided anew.
 *   3. A live state is the fold of the first *version* events of its stream, all of them submitted.  When the store
 *      breaks, states may be ahead of what is durable; then nothing can be appended any more, and no answer is given.
 *
 * Threads: any; commands for one stream are decided one after the other.
 */
#ifndef STORE_AGGREGATE_H
#define STORE_AGGREGATE_H

#include "banyan/domain.h"
#include "os/clock.h"
#include "store/store.h"

struct aggregates;
struct snapshots;

enum {
    AGGREGATES_STATES_DEFAULT = 65536,
};

/* Asked before a command is decided, and again where the condition did not hold at the append: may it be appended, and
 * under which condition besides those of the command?  A command that was executed before is answered in any case.
 * *creates*: new_key of the command.  Condition's stream in *arena*; expect NONE: none.  Its failure is the command's.
 * begins(), NULL allowed, is asked where a command without new_key has left the first event of a stream: may an
 * aggregate be made under a key that its sender chose? */
struct aggregates_permit {
    enum banyan_status (*permit)(void *context, struct banyan_str category, struct banyan_str key, bool creates,
                                 struct banyan_arena *arena, struct store_condition *ret, struct banyan_error *err);
    void *context;
    enum banyan_status (*begins)(void *context, struct banyan_str category, struct banyan_str key,
                                 struct banyan_error *err);
};

struct aggregates_options {
    struct store *store;                /* borrowed */
    const struct banyan_domain *domain; /* borrowed */
    struct os_clock *clock;             /* NULL: the system's */
    struct snapshots *snapshots;        /* borrowed; NULL: long streams are folded from their first event */
    size_t states_max;                  /* live states; 0: AGGREGATES_STATES_DEFAULT */
    struct aggregates_permit permit;    /* NULL: everything may */
};

struct aggregates *aggregates_new(const struct aggregates_options *options);
void aggregates_free(struct aggregates *aggregates); /* NULL allowed */

struct aggregate_command {
    struct banyan_uuid id; /* of the command; the same again is a repeat */
    struct banyan_str category;
    struct banyan_str key;
    struct banyan_str name;        /* of the command's type */
    const void *fields;            /* struct of the type's record */
    enum store_expect expect;      /* besides what decide() says; NONE, or as in store_condition */
    struct banyan_version version; /* of STORE_EXPECT_VERSION */
    bool new_key;                  /* the key was made for this command: nobody else has it; with expect ABSENT */
};

struct aggregate_answer {
    bool accepted;                   /* else *code* and *text* say why not */
    bool repeated;                   /* it was executed before: this is the answer of then */
    size_t event_count;              /* 0: there was nothing to do */
    struct banyan_version version;   /* of the stream after it */
    struct banyan_position position; /* of the stream's last event then; it has to be durable before this is told */
    const char *code;                /* static */
    struct banyan_str text;          /* in the arena that was given */
};

/* The record of a command's fields, for who reads them from JSON; NULL when there is none of that name. */
const struct banyan_record *aggregates_record(const struct aggregates *aggregates, struct banyan_str category,
                                              struct banyan_str command);

/* Decide and append; the answer may be told after store_wait(ret->position) said OK.  So one thread can have many
 * commands under way.  A refusal is an answer: OK with accepted false.  NOT_FOUND: no such aggregate or command.
 * CONFLICT: *expect* does not hold.  DUPLICATE: the id was used for another command.  INVALID: the fields, the key, or
 * what the domain emitted.  LIMIT, NO_SPACE, BROKEN, IO, CORRUPT. */
BANYAN_MUST_CHECK enum banyan_status aggregates_submit(struct aggregates *aggregates,
                                                       const struct aggregate_command *command,
                                                       struct banyan_arena *arena, struct aggregate_answer *ret,
                                                       struct banyan_error *err);
/* aggregates_submit() and wait until durable. */
BANYAN_MUST_CHECK enum banyan_status aggregates_execute(struct aggregates *aggregates,
                                                        const struct aggregate_command *command,
                                                        struct banyan_arena *arena, struct aggregate_answer *ret,
                                                        struct banyan_error *err);
/* The state of an aggregate as it is durable now, into *ret_state* (a struct of its record), strings in *arena*;
 * version 0: it does not exist and the state is a fresh one.  NOT_FOUND: no such aggregate. */
BANYAN_MUST_CHECK enum banyan_status aggregates_state(struct aggregates *aggregates, struct banyan_str category,
                                                      struct banyan_str key, struct banyan_arena *arena,
                                                      void *ret_state, struct banyan_version *ret_version,
                                                      struct banyan_error *err);

/* ---- deciding on several aggregates at once ---- */

/* Several commands, each for another aggregate, as one atomic append: all are accepted, or none.  *ret* has one answer
 * a command; where one was refused only its answer says why, those behind it were not looked at, and *ret_accepted* is
 * false.  *ret_states*, when not NULL: the states after it (each room for its record, strings in *arena*); where it was
 * refused as they are, fresh ones where not looked at; of a repeat as they were then.  The highest position of the
 * answers has to be durable before they are told.  Otherwise as aggregates_submit(); *ids* of the commands have to be
 * different. */
BANYAN_MUST_CHECK enum banyan_status aggregates_submit_all(struct aggregates *aggregates,
                                                           const struct aggregate_command *commands, size_t count,
                                                           struct banyan_arena *arena, struct aggregate_answer *ret,
                                                           void *const *ret_states, bool *ret_accepted,
                                                           struct banyan_error *err);

/* Was a command with this id executed, and left events?  *ret_stream: to which it wrote, in *arena*; else no value. */
BANYAN_MUST_CHECK enum banyan_status aggregates_executed(struct aggregates *aggregates, struct banyan_uuid id,
                                                         struct banyan_arena *arena, struct banyan_str *ret_stream,
                                                         struct banyan_error *err);

/* The aggregate of a category, those of processes too; NULL when there is none. */
const struct banyan_aggregate *aggregates_find(const struct aggregates *aggregates, struct banyan_str category);
/* The same as aggregates_state() of what is submitted now, which may not be durable yet: for who appends what was
 * decided on it at *ret_version*, and so learns of any change in between. */
BANYAN_MUST_CHECK enum banyan_status aggregates_submitted(struct aggregates *aggregates, struct banyan_str category,
                                                          struct banyan_str key, struct banyan_arena *arena,
                                                          void *ret_state, struct banyan_version *ret_version,
                                                          struct banyan_error *err);

/* What an append by somebody else made of a state. */
struct aggregate_learnt {
    struct banyan_str category, key;
    struct banyan_version before, after; /* the events in between are the append's */
    struct banyan_position position;     /* of the stream's last event */
    const void *state;                   /* the fold of all up to *after*; copied */
};
/* Such an append was submitted: the live state need not be folded again.  It is only a help: without it, or when the
 * live state is at another version than *before*, the next command folds what is new. */
void aggregates_learn(struct aggregates *aggregates, const struct aggregate_learnt *learnt);

struct aggregates_stats {
    uint64_t commands, refused, repeated;
    uint64_t conflicts; /* somebody else wrote to the stream in between */
    uint64_t loads;     /* states folded from the store */
    uint64_t folded;    /* events folded for them */
    size_t states;      /* live */
};
void aggregates_stats(struct aggregates *aggregates, struct aggregates_stats *ret);

#endif
