/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rollout that acts: looks at the figures ten times a second, asks the machine, appends what it says to the stream
 * "$rollout-<source>", and makes the world as the state wants it: routing, ownership, mirror, cutover.
 *
 * After a start the state is folded from the stream; what the world lacks is made good, an interrupted cutover is
 * recovered first.
 *
 * Threads: three of its own (controller_int.h); the functions below may be called by any.
 */
#ifndef ROLLOUT_CONTROLLER_H
#define ROLLOUT_CONTROLLER_H

#include "legacy/legacy.h"
#include "legacy/mirror.h"
#include "os/stop.h"
#include "projection/engine.h"
#include "rollout/cutover.h"
#include "rollout/keys.h"
#include "rollout/machine.h"
#include "rollout/owner.h"
#include "rollout/routing.h"
#include "rollout/traffic.h"
#include "store/aggregate.h"

struct controller;

/* What the gateway does for it; rooms below cannot call it otherwise. */
struct controller_gateway {
    void *context;
    /* Keep writes until *until_us* (monotone) at most, and wait until none is under way; TIMEOUT. */
    enum banyan_status (*hold)(void *context, int64_t until_us, struct banyan_error *err);
    void (*release)(void *context);
    bool (*upstream_up)(void *context);
};

struct controller_options {
    const struct banyan_domain *domain;
    const struct legacy_options *source; /* copied; strings borrowed */
    struct store *store;                 /* borrowed, as all below */
    struct projections *projections;
    struct aggregates *aggregates;
    struct owner *owner;
    struct keys *keys;
    struct routing *routing;
    struct traffic *traffic;
    struct machine_policy policy;
    struct cutover_options cutover;
    int64_t verify_every_us; /* full verification in the background; 0: 1 h, and before each step where it is older */
    struct os_stop *stop;
};

BANYAN_MUST_CHECK enum banyan_status controller_start(const struct controller_options *options, struct controller **ret,
                                                      struct banyan_error *err);
void controller_stop(struct controller *controller); /* after os_stop_request(); NULL allowed */
/* The source and the gateway come later than the controller, and go before it (NULL). */
void controller_set_legacy(struct controller *controller, struct legacy *legacy);
void controller_set_gateway(struct controller *controller, const struct controller_gateway *gateway);

struct controller_status {
    struct machine machine;
    struct machine_answer next; /* what `next` would do now, and what stands in its way */
    struct machine_wants wants;
    struct traffic_window window;
    struct guards_facts facts;
    enum owner_mode owner;
    uint64_t epoch, owned; /* aggregates that are Banyan's in SHARED */
    struct legacy_mirror_status mirror;
    struct cutover_report cutover; /* of the last one */
    bool verifying;
    struct banyan_error error; /* what it is trying again; status OK: nothing */
};
void controller_status(struct controller *controller, struct controller_status *ret);

/* start, next, pause, resume, rollback, complete.  *dry*: only say what would happen.  OK also when refused: look at
 * *ret.  Returns once the event is durable; what it sets going is seen in the status. */
BANYAN_MUST_CHECK enum banyan_status controller_ask(struct controller *controller,
                                                    const struct machine_request *request, bool dry,
                                                    struct machine_answer *ret, struct banyan_error *err);
/* Wait until nothing is in progress (cutting over, rolling back, backfilling) or the time is over: TIMEOUT. */
BANYAN_MUST_CHECK enum banyan_status controller_wait(struct controller *controller, int64_t timeout_us,
                                                     struct banyan_error *err);

#endif
