/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rollout as a pure state machine: state, figures and a request in; an event, or a reasoned refusal, out.  Nothing
 * here acts; the controller makes the world agree with what the state wants (machine_wants()).
 *
 *              start                (by itself)            next (5 %)        next (25, 50, 100 %)     next
 *   prepared ──────▶ backfilling ────────▶ shadow ──────▶ canary ──────▶ ramp ──────▶ cutting over ──▶ event first
 *      ▲                  │ rollback         ▲ │ rollback     │             │  ▲ failed      │             │     │
 *      └──────────────────┴──────────────────┼─┘              ▼             ▼  └─────────────┤             │     │
 * complete └───────── rolling back ◀──────┴────────────────┴─────────────┘     ▼ completed
 *
 *   | state        | writes of new aggregates   | of existing ones         | reads                  | mirror       |
 *   | backfilling  | legacy                     | legacy                   | legacy                 | off          |
 *   | shadow       | legacy                     | legacy                   | legacy, compared       | on, and idle |
 *   | canary, ramp | Banyan: a share, by bucket | their owner              | a share, by bucket     | on           |
 *   | cutting over | held                       | held                     | as before              | on           |
 *   | event first  | Banyan                     | Banyan                   | Banyan                 | on           |
 *   | rolling back | legacy                     | held where Banyan's      | legacy                 | on           |
 *   | completed    | Banyan                     | Banyan                   | Banyan                 | off          |
 *
 * Every state but completed can be paused: it stays in its step, guards go on to look, and going back is never held up.
 * After a rollback it is paused where the policy is automatic: what went wrong has to be looked at by somebody.  Each
 * event has who, why, and the checks that justified it; the stream "$rollout-<source>" is the history.
 *
 * Invariants
 *   1. No step forward without every check passed; no traffic is no pass.
 *   2. A breach begins a rollback from canary, ramp and event first, without being asked.
 *   3. What changes ownership is journaled by the server or by the owner stream first (cutover.h); the machine follows
 *      it and never claims it.
 *
 * Threads: values only.
 */
#ifndef ROLLOUT_MACHINE_H
#define ROLLOUT_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/error.h"
#include "rollout/guards.h"
#include "rollout/owner.h"
#include "rollout/routing.h"

enum machine_state {
    MACHINE_NONE = 0, /* nothing was prepared */
    MACHINE_PREPARED,
    MACHINE_BACKFILLING,
    MACHINE_SHADOW,
    MACHINE_CANARY,
    MACHINE_RAMP,
    MACHINE_CUTTING_OVER,
    MACHINE_EVENT_FIRST,
    MACHINE_ROLLING_BACK,
    MACHINE_COMPLETED,
    MACHINE_STATES,
};
const char *machine_state_name(enum machine_state state); /* "cutting-over" */

enum machine_verb {
    MACHINE_TICK = 0, /* nobody asked: look at the figures */
    MACHINE_START,
    MACHINE_NEXT,
    MACHINE_PAUSE,
    MACHINE_RESUME,
    MACHINE_ROLLBACK,
    MACHINE_COMPLETE,
    /* What the acting part has to tell. */
    MACHINE_CUTOVER_DONE,
    MACHINE_CUTOVER_FAILED,
    MACHINE_ROLLBACK_DONE,
};

enum {
    MACHINE_STEPS_MAX = 8,
    MACHINE_ACTOR_MAX = 64,
    MACHINE_REASON_MAX = 256,
};

struct machine_policy {
    uint32_t
        steps[MACHINE_STEPS_MAX]; /* shares: the first is the canary, the others the ramp; default 5, 25, 50, 100 % */
    size_t step_count;
    bool shadow_only; /* the domain's façade is (banyan_facade.shadow_only): no step behind the shadow */
    bool automatic;   /* next without being asked, where all checks pass; default no */
    struct guards_limits limits;
};
void machine_policy_init(struct machine_policy *ret); /* the defaults */

/* Folded from the stream's events. */
struct machine {
    enum machine_state state;
    bool paused;
    size_t step;              /* of the policy, in canary and ramp */
    uint32_t share;           /* as its event said: a policy that changed meanwhile changes the next step */
    uint64_t attempt;         /* counts starts: after a rollback the next one begins anew */
    struct banyan_time since; /* of this state or step */
    struct banyan_time started_at;
    enum machine_state came_from; /* of rolling back: where it was */
    uint64_t version;             /* of the stream */
};

/* An event of the stream: its name is the type, the rest is JSON. */
struct machine_event {
    const char *type; /* "CanaryStarted"; docs/ROLLOUT.md lists them */
    enum machine_state to;
    bool paused;
    size_t step;
    uint32_t share;
    uint64_t attempt;
    struct banyan_time at;
    char actor[MACHINE_ACTOR_MAX]; /* a token's name, "guard", "banyan" */
    char reason[MACHINE_REASON_MAX];
    struct guards_result checks; /* empty where none was needed */
};

struct machine_request {
    enum machine_verb verb;
    const char *actor, *reason; /* may be NULL */
    bool force;                 /* go on in spite of HOLD and WAIT, never of BREACH; is part of the event's reason */
    int64_t pause_us_max; /* of the cutover, either way, that it sets going; 0: as configured (controller_options) */
};

struct machine_answer {
    bool moves; /* *event* is to be appended */
    struct machine_event event;
    bool refused; /* of a request: *refusal* says why, *checks* what is not met */
    char refusal[MACHINE_REASON_MAX];
    struct guards_result checks; /* as looked at now: also for status and dry runs */
};

/* Pure. */
void machine_decide(const struct machine *machine, const struct machine_policy *policy,
                    const struct traffic_window *window, const struct traffic_window *late,
                    const struct guards_facts *facts, const struct machine_request *request, struct banyan_time now,
                    struct machine_answer *ret);
void machine_evolve(struct machine *machine, const struct machine_event *event);

/* What the world should be like in a state: the controller makes it so, again and again, after any crash. */
struct machine_wants {
    enum owner_mode owner; /* NONE: leave it; CUTTING_OVER and ROLLING_BACK change it by their own protocol */
    uint32_t new_share, read_share;
    bool shadow_reads;
    bool mirror;              /* runs */
    bool cut_over, hand_back; /* the protocol of cutover.h has to be run, or to be recovered */
};
void machine_wants(const struct machine *machine, struct machine_wants *ret);

/* JSON of an event (its type is not in it) and back; CORRUPT. */
void machine_event_json(const struct machine_event *event, struct banyan_buf *ret);
BANYAN_MUST_CHECK enum banyan_status machine_event_parse(struct banyan_str type, struct banyan_str json,
                                                         struct machine_event *ret, struct banyan_error *err);

#endif
