/* SPDX-License-Identifier: Apache-2.0 */
/* The legacy order management system's own API; see banyan_facade. */
#ifndef TRADING_FACADE_H
#define TRADING_FACADE_H

#include "banyan/domain.h"

extern const struct banyan_facade trading_facade;

/* Which request of the API it is. */
enum facade_request {
    FACADE_NONE = 0,
    FACADE_PLACE,
    FACADE_MODIFY,
    FACADE_FILL,
    FACADE_FILLS,
    FACADE_CANCEL,
    FACADE_GET,
    FACADE_LIST_TRADER,
    FACADE_LIST_SYMBOL,
};

/* Arguments of a list. */
enum facade_argument {
    FACADE_TRADER,
    FACADE_SYMBOL,
    FACADE_FROM,
    FACADE_TO,
    FACADE_LIMIT,
    FACADE_ARGUMENTS,
};

/* banyan_route.context */
struct facade_context {
    enum facade_request kind;
    /* Of lists. */
    struct banyan_str equal;
    struct banyan_time from, to; /* BANYAN_TIME_NULL: open */
    size_t limit;
};

/* facade_request.c: what requests mean. */
bool facade_route(const struct banyan_request *request, struct banyan_arena *arena, struct banyan_route *ret);
bool facade_split(const struct banyan_request *request, const struct banyan_route *route, const bool *keep,
                  struct banyan_arena *arena, struct banyan_str *ret_body);

#endif
