/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one process of a domain (struct banyan_process): reads the log from its cursor, reacts, appends.
 *
 *   start ──▶ catching up ──reached the end──▶ live ──▶ stopped
 *                 └────────── failed (retries with pauses; the reason is shown) ◀───┘
 *
 * The cursor is "process:<name>"; its value "<position> <timers from> <version of the state>" is of this room only.
 * What is put aside is told in the stream "$process-<name>".
 *
 * Threads: one thread of its own; all else here may be called by any.
 */
#ifndef PROCESS_PROCESS_H
#define PROCESS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "os/clock.h"
#include "os/stop.h"
#include "store/store.h"

struct aggregates;
struct process;

enum {
    PROCESS_ASIDE_MAX = 10000,           /* events aside and held; more: the process fails and tries again */
    PROCESS_REACTION_EVENTS_MAX = 10000, /* of one append */
    PROCESS_REACTION_STREAMS_MAX = 1000, /* that one reaction may look at */
};

enum process_state {
    PROCESS_NONE = 0,
    PROCESS_CATCHING_UP,
    PROCESS_LIVE,
    PROCESS_FAILED, /* trying again */
    PROCESS_STOPPED,
};

struct process_options {
    const struct banyan_domain *domain;
    const struct banyan_process *process;
    struct store *store;           /* borrowed */
    struct aggregates *aggregates; /* borrowed; of the same store and domain */
    struct os_stop *stop;          /* borrowed */
    struct os_clock *clock;        /* of time-outs; NULL: the system's */
    bool held;                     /* history is being brought in, which must not be acted on: see process_release() */
};

struct process_status {
    enum process_state state;
    struct banyan_position position; /* seen up to here, and appended what follows from it */
    struct banyan_position tail;     /* of the log */
    uint64_t reactions;              /* that appended something */
    uint64_t seen;                   /* events looked at */
    uint64_t wakes;                  /* reactions to a time-out */
    uint64_t events;                 /* appended */
    uint64_t commands, refused;      /* refused: of them */
    uint64_t conflicts;              /* somebody else was first: decided anew */
    uint64_t repeated;               /* had been appended before */
    uint64_t timers;                 /* instances that wait for a time */
    struct banyan_time next_wake;    /* the nearest of them; BANYAN_TIME_NULL: none */
    uint64_t aside;                  /* instances put aside */
    uint64_t held;                   /* events of theirs that wait */
    struct banyan_error error;       /* of the last failure; status OK: none */
};

/* One instance that is put aside. */
struct process_aside {
    struct banyan_str key;           /* empty: events whose instance is not known, as they cannot be decoded */
    struct banyan_position position; /* of the event that it stopped at; 0: a time-out */
    uint64_t events;                 /* that one and those held behind it */
    struct banyan_str error;
};

/* INVALID when the process makes no sense. */
BANYAN_MUST_CHECK enum banyan_status process_start(const struct process_options *options, struct process **ret,
                                                   struct banyan_error *err);
/* After os_stop_request(): joins.  NULL allowed. */
void process_stop(struct process *process);
/* The history is complete in the log: react from here on.  On the very first start a held process begins behind what
 * is in the log now; later it begins at its cursor. */
void process_release(struct process *process);
const char *process_name(const struct process *process);
void process_status(struct process *process, struct process_status *ret);
const char *process_state_name(enum process_state state); /* "live" */
/* What is put aside, at most *limit*, in *arena*. */
void process_list_aside(struct process *process, size_t limit, struct banyan_arena *arena, struct process_aside **ret,
                        size_t *ret_count);
/* Try again what is put aside, soon; a start does that too.  Returns how many instances there are. */
uint64_t process_retry(struct process *process);
/* Wait until *position* was seen and what follows from it is durable.  TIMEOUT, STOPPED. */
BANYAN_MUST_CHECK enum banyan_status process_wait(struct process *process, struct banyan_position position,
                                                  int64_t timeout_us, struct banyan_error *err);

#endif
