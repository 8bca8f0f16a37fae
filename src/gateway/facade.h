/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request that the domain's façade understands: its way to the side that answers it.
 *
 *   COLLECT ──whole──▶ read ──▶ LEGACY, or HERE (else LEGACY)              LEGACY: an exchange with the upstream
 *                └───▶ write ──▶ gate ──▶ LEGACY, or HERE, or one after the other     HERE: a worker
 *                                  └ held: waits there
 */
#ifndef GATEWAY_FACADE_H
#define GATEWAY_FACADE_H

#include "banyan/uuid.h"
#include "gateway/front.h"

struct here;

enum ask_place {
    ASK_COLLECT = 1, /* its body is not whole yet */
    ASK_GATE,        /* a write that is held */
    ASK_AT_LEGACY,
    ASK_AT_WORK, /* with a worker, or waiting until durable */
};

enum {
    ASK_KEY_MAX = 255, /* bytes of an Idempotency-Key */
    ASK_TRIES_MAX = 8,
};

/* All of it belongs to its loop, but while it is with the gate, a worker or the shadow. */
struct ask {
    struct message message; /* the first member */
    struct ask *next;       /* in the gate, or in a queue of work.c */
    struct loop *loop;
    struct front *front; /* NULL: the client is gone */
    enum ask_place place;
    struct banyan_arena arena;
    struct wire_head head; /* spans of a copy in the arena */
    struct banyan_buf body;
    struct banyan_request request;
    struct banyan_route route;
    struct exchange *exchange; /* NULL: none */
    int64_t began_us;
    bool late; /* it was counted as not answered in time */
    /* reads */
    bool wants_source;            /* the legacy application may have written it just now */
    struct banyan_position wants; /* the read model has to be there; 0: anywhere */
    bool may_fall_back;           /* legacy may answer, too */
    /* writes */
    struct banyan_str idempotency_key; /* no value: none */
    bool looked;                       /* whether it was executed before is known */
    bool executed;
    int64_t executed_key; /* of the aggregate that it made then */
    bool in_gate;         /* counted as under way */
    bool in_busy;         /* of the gate: it was held, others wait for its aggregates */
    int64_t held_us;      /* since when; 0: was not held */
    unsigned tries;
    bool keep[BANYAN_ROUTE_PARTS_MAX]; /* parts of the legacy application, where it is split */
    bool is_split;
    /* with a worker */
    enum banyan_status (*run)(struct ask *ask, struct here *here);
    void (*done)(struct ask *ask); /* in the loop */
    enum banyan_status status;
    struct banyan_error err;
    struct banyan_position position; /* has to be durable before it is done; 0: nothing */
    struct banyan_outcome *outcomes; /* one a part */
    struct banyan_response response;
};

/* Is the request the façade's?  True: it was taken. */
bool facade_begin(struct front *front, const struct wire_head *head);
/* More of its body came. */
void facade_push(struct front *front);
/* Its time is over. */
void facade_late(struct front *front);
/* The client has gone; front->ask is. */
void facade_gone(struct front *front);
/* From the gate: the write may go on. */
void facade_go(struct ask *ask);
void ask_free(struct ask *ask);
/* The answer of Banyan, to the client if it is still there; ends the ask. */
void ask_answer(struct ask *ask);
void ask_problem(struct ask *ask, int code, const char *headers, const char *name, const char *detail);
/* To the upstream, with this body; *ended* when it is over: the exchange is the caller's then. */
void ask_legacy(struct ask *ask, struct banyan_str body, bool streams,
                void (*ended)(struct exchange *exchange, enum exchange_end end));

/* ---- reads.c, writes.c ---- */

void read_begin(struct ask *ask);
void write_begin(struct ask *ask);

/* ---- gate.c ---- */

struct gate;

struct gate *gate_new(struct gateway *gateway);
void gate_free(struct gate *gate);
/* A write comes: true: it may go on, and is under way until gate_leave().  False: facade_go() is called later. */
bool gate_enter(struct ask *ask);
/* It is under way, but the aggregates are being handed over: as if it had come just now, before those that wait. */
void gate_again(struct ask *ask);
void gate_leave(struct ask *ask);
/* It waits no more; false: it was let go a moment ago. */
bool gate_cancel(struct ask *ask);
/* Now and then: has a hold ended by its clock? */
void gate_poll(struct gate *gate);

/* ---- recent.c: what was written shortly before ---- */

struct recent;

struct recent *recent_new(void);
void recent_free(struct recent *recent);
uint64_t recent_key(struct banyan_str category, int64_t key);
uint64_t recent_user(struct banyan_str user);
void recent_wrote_legacy(struct recent *recent, uint64_t what, int64_t now_us);
void recent_wrote_here(struct recent *recent, uint64_t what, struct banyan_position position);
/* The last write, or one that happens to have the same place; 0: none. */
int64_t recent_legacy_us(struct recent *recent, uint64_t what);
struct banyan_position recent_position(struct recent *recent, uint64_t what);

/* ---- work.c ---- */

/* What a thread that answers for Banyan has of its own. */
struct here {
    struct gateway *gateway;
    struct sink_view **views; /* one a projection; opened when first asked */
    size_t view_count;
};
void here_init(struct here *here, struct gateway *gateway);
void here_release(struct here *here);
/* Answer a read from the state or the read model, in *arena*. */
BANYAN_MUST_CHECK enum banyan_status here_read(struct here *here, const struct banyan_request *request,
                                               const struct banyan_route *route, struct banyan_arena *arena,
                                               struct banyan_response *ret, struct banyan_error *err);

struct work;

struct work *work_new(struct gateway *gateway);
/* Ends its threads; then the loops are closed, then it is freed with what is left in it. */
void work_stop(struct work *work);
void work_free(struct work *work);
/* ask->run by a worker (when *source*: once the legacy application's writes of before are in the read models), then
 * until durable, then ask->done by the loop. */
void work_submit(struct ask *ask, bool source);
/* Since when everything that the legacy application had committed is known to be in the read models. */
int64_t work_source_us(struct work *work);

/* ---- compare.c: pure ---- */

/* Do two bodies mean the same?  As JSON where both are, without what *ignored* (two lists, each NULL-terminated or
 * NULL) points to; in a pointer '*' stands for any member or element. */
bool compare_bodies(struct banyan_str a, struct banyan_str b, const char *const *ignored, const char *const *more);

/* ---- shadow.c ---- */

struct shadow;

struct shadow *shadow_new(struct gateway *gateway);
/* As those of work. */
void shadow_stop(struct shadow *shadow);
void shadow_free(struct shadow *shadow);
/* The legacy application answered a read: is Banyan's answer the same?  Never waits. */
void shadow_offer(const struct ask *ask, const struct exchange *exchange);

#endif
