/* SPDX-License-Identifier: Apache-2.0 */
/* See emitter.h. */
#include "store/emitter.h"

#include "banyan/error.h"

void banyan_emit(struct banyan_emitter *emitter, const struct banyan_emit *event)
{
    emitter->take(emitter, event);
}

struct banyan_arena *banyan_emitter_arena(struct banyan_emitter *emitter)
{
    return emitter->arena;
}

enum banyan_status emitter_check(const struct banyan_domain *domain, const struct banyan_emit *event,
                                 struct banyan_error *err)
{
    const char *name;

    if (event->type >= domain->event_count)
        return banyan_error_set(err, BANYAN_INVALID, "the domain emitted event type %u, it has only %zu", event->type,
                                domain->event_count);
    name = domain->events[event->type].name;
    if (event->at.us == BANYAN_TIME_NULL)
        return banyan_error_set(err, BANYAN_INVALID, "the domain emitted %s without a time", name);
    if (event->provenance == BANYAN_PROVENANCE_NONE)
        return banyan_error_set(err, BANYAN_INVALID, "the domain emitted %s without a provenance", name);
    return BANYAN_OK;
}
