/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a read model a question that a domain has named (struct banyan_query): all that it reads is of one generation at
 * one checkpoint, which is told with the answer.
 *
 * Threads: the caller's, that of the view.
 */
#ifndef PROJECTION_QUERY_H
#define PROJECTION_QUERY_H

#include "banyan/domain.h"
#include "banyan/error.h"
#include "projection/sink.h"

enum {
    QUERY_ROWS_MAX = 100000, /* of one answer */
};

/* The query of that name, or NULL. */
const struct banyan_query *query_find(const struct banyan_projection *projection, struct banyan_str name);
/* Run it; *fn* is called for each row of the answer, in order, once the question was answered whole.  INVALID: the
 * query refused its arguments.  LIMIT: too many rows. */
BANYAN_MUST_CHECK enum banyan_status query_run(struct sink_view *view, const struct banyan_query *query,
                                               const void *arguments, struct sink_checkpoint *ret_checkpoint,
                                               sink_row_fn fn, void *context, struct banyan_error *err);

/* banyan_facade.read() of a routed request over the view, *ret* in *arena*. */
struct query_facade {
    const struct banyan_facade *facade;
    const struct banyan_request *request;
    const struct banyan_route *route;
};
BANYAN_MUST_CHECK enum banyan_status query_facade(struct sink_view *view, const struct query_facade *asked,
                                                  struct banyan_arena *arena, struct sink_checkpoint *ret_checkpoint,
                                                  struct banyan_response *ret, struct banyan_error *err);

#endif
