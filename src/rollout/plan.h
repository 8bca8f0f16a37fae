/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the acting part does next, and what it tells the machine afterwards.  Pure, so that the controller and the
 * simulation of the tests do the same.
 *
 * *recover*: a cutover may have been left half-way, by a process that died or by a run that ended UNCERTAIN.  Nothing
 * else is done before that is settled.
 */
#ifndef ROLLOUT_PLAN_H
#define ROLLOUT_PLAN_H

#include <stdbool.h>

#include "banyan/error.h"
#include "rollout/cutover.h"
#include "rollout/machine.h"

enum plan {
    PLAN_NOTHING = 0, /* the world is as wanted */
    PLAN_RECOVER,     /* cutover_recover() */
    PLAN_CUT_OVER,    /* cutover_run() */
    PLAN_BACK,
    PLAN_BACK_SHARED,
    PLAN_SHARE, /* owner_change() to SHARED */
    PLAN_STUCK, /* the owner is not what the state can have: somebody has to look */
};

enum plan plan_next(const struct machine *machine, enum owner_mode owner, bool recover);
/* Does a process that finds this state have to recover first? */
bool plan_recovers(enum machine_state state);
/* Of cutover_recover() or cutover_run(): the direction to give it. */
enum cutover_direction plan_direction(enum plan plan, enum machine_state state);
/* What became of it: the verb to tell the machine, TICK: nothing yet.  *recover* is set. */
enum machine_verb plan_outcome(enum plan plan, enum machine_state state, enum banyan_status status, bool done,
                               bool *recover);

#endif
