/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the controller share.
 *
 *   look thread     ten times a second: figures ▶ machine ▶ event ▶ routing; never waits for a server
 *   act thread      mirror, ownership, cutover: whatever may take long
 *   verify thread   the full verification in the background
 *
 * Locks, in this order: *order* is held from a decision until its event is durable, so that decisions are one after the
 * other; *shared.lock* guards what all threads see, and nobody waits for anything under it.  What comes and goes while
 * others may be using it (source, gateway, mirror) is lent: who takes it away waits until all of it was given back.
 */
#ifndef ROLLOUT_CONTROLLER_INT_H
#define ROLLOUT_CONTROLLER_INT_H

#include <pthread.h>

#include "os/thread.h"
#include "rollout/controller.h"

enum {
    CONTROLLER_TICK_US = 100 * 1000,
    CONTROLLER_PAYLOAD_BYTES_MAX = 64 * 1024,
};

/* What comes and goes; any may be missing. */
struct controller_lent {
    struct legacy *legacy;
    struct legacy_mirror *mirror;
    struct controller_gateway gateway;
    bool has_gateway;
};

/* A full verification. */
struct controller_verification {
    bool known;
    struct banyan_time at; /* it ended */
    int64_t differences;
    struct banyan_position position; /* of the log when it began */
    /* The last one without differences. */
    bool clean_known;
    struct banyan_time clean_at;
    struct banyan_position clean_position;
};

struct controller {
    struct controller_options options; /* .source points at the copy */
    struct legacy_options source;
    char *stream, *verify_stream, *conflict_stream;
    struct os_thread look, act, verify;
    pthread_mutex_t order;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct controller_lent lent;
        unsigned lent_count;
        struct machine machine;
        /* As of the last look. */
        struct traffic_window window, late;
        struct guards_facts facts;
        struct machine_answer next;
        struct cutover_report cutover;
        struct controller_verification verification;
        bool verifying;
        bool settled;          /* the world is as the state wants it, as far as the act thread has seen */
        int64_t pause_us_max;  /* of the request that set the cutover going; 0: as configured */
        int64_t drained_at_us; /* monotone: the mirror had written everything, for `complete`; 0: never */
        struct banyan_error look_error, act_error, verify_error;
    } shared;
    /* The look thread's own, but for what the start reads. */
    uint64_t transactions_seen; /* of capture */
    int64_t transactions_at_us; /* monotone: when they last moved */
    uint64_t conflicts_before;  /* events of the conflict stream that belong to earlier attempts */
    uint64_t conflicts_attempt; /* that the number above is for; 0: not counted yet */
    int64_t attempt_from_us;    /* wall clock: when the shadow of this attempt began */
    /* The act thread's own. */
    bool recover;         /* an earlier process may have stopped in the middle */
    uint64_t act_version; /* of the machine when it was last tried */
    int64_t act_again_us; /* monotone: not before */
    int64_t act_pause_us;
};

/* controller.c */
void controller_lend(struct controller *controller, struct controller_lent *ret);
void controller_return(struct controller *controller);
void controller_lend_mirror(struct controller *controller, struct legacy_mirror *mirror); /* NULL: take it away */
void controller_machine(struct controller *controller, struct machine *ret);
/* Decide, and append what comes of it; *dry*: only decide. */
BANYAN_MUST_CHECK enum banyan_status controller_decide(struct controller *controller,
                                                       const struct machine_request *request, bool dry,
                                                       struct machine_answer *ret, struct banyan_error *err);
/* Append one event to one of the rollout's streams; *expected*: its version before. */
BANYAN_MUST_CHECK enum banyan_status controller_append(struct controller *controller, const char *stream,
                                                       uint64_t expected, const char *type, struct banyan_time at,
                                                       struct banyan_str payload, struct banyan_error *err);
/* What the routing should say, by the state and by who owns; any thread. */
void controller_route(struct controller *controller);

/* controller_facts.c: the look thread. */
void controller_facts(struct controller *controller, struct guards_facts *ret);

/* controller_act.c: the act thread. */
void controller_act_main(void *argument);

/* controller_verify.c: read what the last ones found; the verify thread. */
BANYAN_MUST_CHECK enum banyan_status controller_verify_load(struct controller *controller, struct banyan_error *err);
void controller_verify_main(void *argument);

#endif
