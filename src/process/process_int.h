/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: the process, its session, and one reaction. */
#ifndef PROCESS_PROCESS_INT_H
#define PROCESS_PROCESS_INT_H

#include <pthread.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "os/retry.h"
#include "os/thread.h"
#include "process/instances.h"
#include "process/process.h"
#include "store/aggregate.h"
#include "store/emitter.h"
#include "store/state.h"
#include "store/subscribe.h"

/* Figures of the process's thread; copied out under the lock. */
struct figures {
    uint64_t reactions, seen, wakes, events, commands, refused, conflicts, repeated;
};

struct process {
    struct process_options options;
    struct banyan_str name;
    struct banyan_str cursor_name;  /* "process:<name>" */
    struct banyan_str aside_stream; /* "$process-<name>" */
    struct banyan_arena forever;    /* as long as the process */
    struct states states;           /* types and decoders of the domain's events */
    struct os_thread thread;
    struct os_retry retry;

    /* The session: begun anew after any failure. */
    struct store_subscription *subscription;
    struct store_reader *reader;
    struct instances instances;
    struct banyan_arena arena; /* of one reaction */
    void *payload;             /* room for any */
    uint64_t passed;           /* looked at up to here */
    uint64_t committed;        /* of it in the last cursor */
    uint64_t timers_from;      /* no instance with a timer has its last event before this */
    uint64_t since_oldest;     /* appends since timers_from was looked at */
    uint64_t unmoved;          /* events seen since the cursor was written */
    uint64_t submitted;        /* position of the last append */
    bool live;
    bool aside_changed; /* since it was copied out */
    bool begin_at_end;  /* without a cursor: what is in the log by then is history, not to be acted on */
    struct figures figures;

    struct {
        pthread_mutex_t lock;
        pthread_cond_t moved;
        struct process_status status;
        uint64_t submitted; /* what has to be durable for status.position to hold */
        bool retry, held;
        struct banyan_arena arena; /* of the list */
        struct process_aside *aside;
        size_t aside_count;
    } shared;
};

/* ---- reaction.c ---- */

/* What causes a reaction. */
struct trigger {
    struct banyan_str key;          /* of the instance */
    const struct banyan_seen *seen; /* NULL: its time is over */
    uint64_t position;              /* of the event; 0: a time-out */
    uint64_t done;                  /* 1: what was put aside at *position* is done with this */
    int64_t due_us;                 /* of a time-out: what wake() has to say still */
};

enum reacted {
    REACTED_NOTHING = 1, /* there is nothing to append */
    REACTED_APPENDED,
    REACTED_REPEATED, /* it was appended before */
};

/* Decide and append, again when somebody was first.  INVALID, LIMIT, NOT_FOUND, CORRUPT, DUPLICATE: it cannot be done,
 * put it aside; other failures are of the world. */
BANYAN_MUST_CHECK enum banyan_status process_react(struct process *process, const struct trigger *trigger,
                                                   enum reacted *ret, struct banyan_error *err);
/* Is it the instance's fault, and not that of the world? */
bool process_is_poison(enum banyan_status status);
/* Id of event *index* that *cause* brought about; *kind* tells causes apart that share a number. */
struct banyan_uuid process_event_id(struct process *process, const char *kind, struct banyan_str text, uint64_t cause,
                                    uint64_t index);
/* The cursor's value as it is now, in the arena. */
struct store_cursor process_cursor(struct process *process, struct banyan_arena *arena);
/* The cursor was written. */
void process_committed(struct process *process, const struct store_appended *appended);

/* ---- aside.c ---- */

/* Put *trigger* aside: with *why*, or behind what its instance waits for (NULL). */
BANYAN_MUST_CHECK enum banyan_status process_put_aside(struct process *process, struct banyan_str key,
                                                       uint64_t position, const struct banyan_error *why,
                                                       struct banyan_error *err);
/* The event that says that *position* of *key* is not aside any more. */
struct store_event process_done_event(struct process *process, struct banyan_str key, uint64_t position,
                                      struct banyan_arena *arena);
/* Read what is aside from its stream. */
BANYAN_MUST_CHECK enum banyan_status process_load_aside(struct process *process, struct banyan_error *err);
/* Try everything again. */
BANYAN_MUST_CHECK enum banyan_status process_retry_aside(struct process *process, struct banyan_error *err);
/* Only move the cursor: an event that says so. */
BANYAN_MUST_CHECK enum banyan_status process_move(struct process *process, struct banyan_error *err);

/* ---- session.c ---- */

BANYAN_MUST_CHECK enum banyan_status session_open(struct process *process, struct banyan_error *err);
void session_close(struct process *process);
/* One round: time-outs that are due, and one event.  *ret_wait_us: how long there is nothing to do unless an event
 * comes; 0: there is more. */
BANYAN_MUST_CHECK enum banyan_status session_step(struct process *process, int64_t *ret_wait_us,
                                                  struct banyan_error *err);
/* Wait for an event of whomever, so that also what is not wanted is soon known to be passed. */
BANYAN_MUST_CHECK enum banyan_status session_wait(struct process *process, int64_t wait_us, struct banyan_error *err);
/* Decode *event* into the process's payload and find its instance; *ret_wanted false: it concerns none.  Failures are
 * poison. */
BANYAN_MUST_CHECK enum banyan_status session_look(struct process *process, const struct store_read_event *event,
                                                  struct banyan_arena *arena, struct banyan_seen *ret_seen,
                                                  struct banyan_str *ret_key, bool *ret_wanted,
                                                  struct banyan_error *err);
/* What the state of an instance, last written at *position* (0: where it was), says of its time. */
void session_set_timer(struct process *process, struct banyan_str key, const void *state, uint64_t position);

#endif
