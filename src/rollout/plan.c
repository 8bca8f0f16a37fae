/* SPDX-License-Identifier: Apache-2.0 */
/* See plan.h. */
#include "rollout/plan.h"

bool plan_recovers(enum machine_state state)
{
    return state == MACHINE_CUTTING_OVER || state == MACHINE_ROLLING_BACK;
}

/* Where the log says that the legacy application is the owner its tables may still be fenced: the journal has to be
 * looked at before it is told.  CLOSING is a try of this process, or of another, that was not given up yet. */
static enum plan plan_back(enum owner_mode owner)
{
    if (owner == OWNER_SHARED)
        return PLAN_BACK_SHARED;
    return owner == OWNER_BANYAN ? PLAN_BACK : PLAN_RECOVER;
}

enum plan plan_next(const struct machine *machine, enum owner_mode owner, bool recover)
{
    struct machine_wants wants;

    machine_wants(machine, &wants);
    if ((wants.cut_over || wants.hand_back) && recover)
        return PLAN_RECOVER;
    if (wants.cut_over && owner == OWNER_BANYAN)
        return PLAN_RECOVER; /* it is done, and could not be recorded: no other run may fail and be taken for it */
    if (wants.cut_over && (owner == OWNER_LEGACY || owner == OWNER_NONE))
        return PLAN_SHARE; /* all steps were taken faster than anybody could act on the first */
    if (wants.cut_over)
        return PLAN_CUT_OVER;
    if (wants.hand_back)
        return plan_back(owner);
    if (wants.owner == owner || (wants.owner == OWNER_LEGACY && owner == OWNER_NONE))
        return PLAN_NOTHING;
    if (wants.owner == OWNER_SHARED && (owner == OWNER_LEGACY || owner == OWNER_NONE))
        return PLAN_SHARE;
    /* From here on only what another controller did meanwhile, or a copy that was restored, can explain it. */
    if (wants.owner == OWNER_LEGACY)
        return plan_back(owner);
    return owner == OWNER_CLOSING ? PLAN_RECOVER : PLAN_STUCK;
}

enum cutover_direction plan_direction(enum plan plan, enum machine_state state)
{
    if (plan == PLAN_BACK_SHARED)
        return CUTOVER_BACK_SHARED;
    return plan == PLAN_BACK || (plan == PLAN_RECOVER && state != MACHINE_CUTTING_OVER) ? CUTOVER_BACK : CUTOVER_OVER;
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
    return done && state == MACHINE_ROLLING_BACK ? MACHINE_ROLLBACK_DONE : MACHINE_TICK;
}
