/* SPDX-License-Identifier: Apache-2.0 */
/* Banyan's answer to a read: from the state of the aggregate, or from the read model. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "gateway/facade.h"
#include "projection/query.h"

void here_init(struct here *here, struct gateway *gateway)
{
    struct projections *projections = gateway->options.projections;
    here->gateway = gateway;
    here->view_count = projections == NULL ? 0 : projections_count(projections);
    here->views = alloc_zeroed(here->view_count + 1, sizeof(struct sink_view *));
}

void here_release(struct here *here)
{
    for (size_t i = 0; i < here->view_count; i++)
        sink_view_close(here->views[i]);
    free(here->views);
}

struct reading {
    const struct banyan_facade *facade;
    const struct banyan_request *request;
    const struct banyan_route *route;
    struct banyan_arena *arena;
    struct banyan_response *response;
};

static enum banyan_status read_state(struct here *here, const struct reading *reading, struct banyan_error *err)
{
    const struct banyan_route *route = reading->route;
    struct aggregates *aggregates = here->gateway->options.aggregates;
    const struct banyan_aggregate *aggregate = aggregates_find(aggregates, banyan_str_of(route->category));
    struct banyan_version version;
    if (aggregate == NULL)
        return banyan_error_set(err, BANYAN_NOT_FOUND, "there is no aggregate %s", route->category);
    void *state = banyan_arena_alloc(reading->arena, aggregate->state->size);
    enum banyan_status st = aggregates_state(aggregates, banyan_str_of(route->category),
                                             banyan_arena_printf(reading->arena, "%" PRId64, route->key),
                                             reading->arena, state, &version, err);
    if (st == BANYAN_OK)
        reading->facade->read_state(reading->request, route, state, version.value > 0, reading->arena,
                                    reading->response);
    return st;
}

enum banyan_status here_read(struct here *here, const struct banyan_request *request, const struct banyan_route *route,
                             struct banyan_arena *arena, struct banyan_response *ret, struct banyan_error *err)
{
    const struct gateway_options *options = &here->gateway->options;
    struct reading reading = {options->domain->facade, request, route, arena, ret};
    struct sink_checkpoint checkpoint;
    if (route->key != 0 && reading.facade->read_state != NULL && options->aggregates != NULL)
        return read_state(here, &reading, err);
    int index = here->view_count == 0 || route->projection == NULL
                    ? -1
                    : projections_find(options->projections, banyan_str_of(route->projection));
    if (index < 0 || !projections_serving(options->projections, (size_t)index, NULL))
        return banyan_error_set(err, BANYAN_UNAVAILABLE, "read model %s does not serve",
                                route->projection == NULL ? "none" : route->projection);
    enum banyan_status st = BANYAN_OK;
    if (here->views[index] == NULL)
        st = projections_view(options->projections, (size_t)index, &here->views[index], err);
    if (st == BANYAN_OK)
        st = query_facade(here->views[index], &(struct query_facade){reading.facade, request, route}, arena,
                          &checkpoint, ret, err);
    return st;
}
