/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the generations that a process finds ask for: see rebuild.h.  Pure.
 *
 *   found                                  │ need    why
 *   ───────────────────────────────────────┼─────────────────────────────────────────────────────────────
 *   one serves, of the program's form      │ NONE    unless a rebuild was going on:
 *     and one is BUILDING, sealed          │ RESUME  it goes on from its checkpoint
 *     and one is BUILDING, not sealed      │ START   somebody had asked for it
 *   one serves, of some keys only          │ START   the others are still to come; RESUME when they are sealed
 *   one serves, of another form            │ START   its apply() is gone; RESUME when a new one is sealed
 *   none serves                            │ START   or RESUME
 *
 * What is BUILDING and is not resumed goes, and what was KEPT of some keys only: nothing can come of it.
 */
#include <assert.h>
#include <string.h>

#include "projection/rebuild.h"

static void plan_drop(struct rebuild_plan *plan, uint32_t number)
{
    assert(plan->drop_count < SINK_GENERATIONS_MAX);
    plan->drop[plan->drop_count++] = number;
}

/* Kept ones of the right form that are newer than generations[index]. */
static unsigned newer_kept(const struct sink_generation *generations, size_t count, size_t index,
                           const char form[SINK_FORM_SIZE])
{
    unsigned newer = 0;
    for (size_t i = 0; i < count; i++)
        newer += generations[i].state == SINK_KEPT && strcmp(generations[i].form, form) == 0 &&
                 (generations[i].served_at.us > generations[index].served_at.us ||
                  (generations[i].served_at.us == generations[index].served_at.us &&
                   generations[i].number > generations[index].number));
    return newer;
}

void rebuild_plan(const struct sink_generation *generations, size_t count, const char form[SINK_FORM_SIZE],
                  unsigned keep, struct rebuild_plan *ret)
{
    bool was_building = false;
    *ret = (struct rebuild_plan){.need = REBUILD_NEED_NONE};
    for (size_t i = 0; i < count; i++) {
        const struct sink_generation *generation = &generations[i];
        bool right = sink_form_same(generation->form, form), partial = sink_form_mark(generation->form).partial;
        if (generation->state == SINK_SERVING) {
            ret->serving = generation->number;
            ret->outdated = !right;
            ret->partial = right && partial;
        } else if (generation->state == SINK_BUILDING) {
            was_building |= right;
            if (right && !partial && generation->sealed && generation->number > ret->resume)
                ret->resume = generation->number;
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct sink_generation *generation = &generations[i];
        bool right = strcmp(generation->form, form) == 0, partial = sink_form_mark(generation->form).partial;
        if (generation->state == SINK_BUILDING && generation->number != ret->resume)
            plan_drop(ret, generation->number);
        else if (generation->state == SINK_KEPT && (partial || (right ? newer_kept(generations, count, i, form) >= keep
                                                                      : ret->serving != 0 && !ret->outdated)))
            plan_drop(ret, generation->number);
    }
    if (ret->resume != 0)
        ret->need = REBUILD_NEED_RESUME;
    else if (ret->serving == 0 || ret->outdated || ret->partial || was_building)
        ret->need = REBUILD_NEED_START;
    ret->reason = ret->resume != 0    ? "going on"
                  : ret->serving == 0 ? "first build"
                  : ret->outdated     ? "form changed"
                  : ret->partial      ? "older keys"
                  : was_building      ? "begun before"
                                      : "asked for";
}
