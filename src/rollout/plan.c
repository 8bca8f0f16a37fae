/* SPDX-License-Identifier: Apache-2.0 */
/* See plan.h. */
#include "rollout/plan.h"

bool plan_recovers(enum machine_state state)
{
    return state == MACHINE_CUTTING_OVER || state == MACHINE_ROLLING_BACK;
}

static enum plan plan_back(enum owner_mode owner)
{
    switch (owner) {
    case OWNER_NONE:
    case OWNER_LEGACY:
        return PLAN_TELL_BACK;
    case OWNER_SHARED:
        return PLAN_BACK_SHARED;
    case OWNER_BANYAN:
        return PLAN_BACK;
    case OWNER_CLOSING:
        break;
    }
    return PLAN_RECOVER; /* a try of this process, or of another, that was not given up yet */
}

enum plan plan_next(const struct machine *machine, enum owner_mode owner, bool recover)
{
    struct machine_wants wants;

    machine_wants(machine, &wants);
    if ((wants.cut_over || wants.hand_back) && recover)
        return PLAN_RECOVER;
    if (wants.cut_over)
        return PLAN_CUT_OVER;
    if (wants.hand_back)
        return plan_back(owner);
    if (wants.owner == owner || (wants.owner == OWNER_LEGACY && owner == OWNER_NONE))
        return PLAN_NOTHING;
    if (wants.owner == OWNER_SHARED && (owner == OWNER_LEGACY || owner == OWNER_NONE))
        return PLAN_SHARE;
    return PLAN_STUCK;
}

enum cutover_direction plan_direction(enum plan plan, enum machine_state state)
{
    if (plan == PLAN_BACK_SHARED)
        return CUTOVER_BACK_SHARED;
    return plan == PLAN_BACK || (plan == PLAN_RECOVER && state == MACHINE_ROLLING_BACK) ? CUTOVER_BACK : CUTOVER_OVER;
}

enum machine_verb plan_outcome(enum plan plan, enum machine_state state, enum banyan_status status, bool done,
                               bool *recover)
{
    *recover = plan == PLAN_RECOVER ? status != BANYAN_OK : status == BANYAN_UNCERTAIN;
    if (*recover)
        return MACHINE_TICK;
    if (plan == PLAN_CUT_OVER || (plan == PLAN_RECOVER && state == MACHINE_CUTTING_OVER))
        return done ? MACHINE_CUTOVER_DONE : MACHINE_CUTOVER_FAILED;
    /* A rollback that failed is tried again; one that is done is told where the owner says so. */
    return done ? MACHINE_ROLLBACK_DONE : MACHINE_TICK;
}
