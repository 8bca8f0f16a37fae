/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where domain functions put events: what each kind of taker has at the front of its own struct.
 *
 * A domain knows banyan_emit() only; who takes the events (the mapping of legacy rows, the execution of a command)
 * decides what becomes of them.
 */
#ifndef STORE_EMITTER_H
#define STORE_EMITTER_H

#include "banyan/domain.h"

struct banyan_emitter {
    /* Called once an event, in order, within the domain function. */
    void (*take)(struct banyan_emitter *emitter, const struct banyan_emit *event);
    struct banyan_arena *arena; /* borrowed */
};

/* INVALID when *event* lacks what every event must have. */
BANYAN_MUST_CHECK enum banyan_status emitter_check(const struct banyan_domain *domain, const struct banyan_emit *event,
                                                   struct banyan_error *err);

#endif
