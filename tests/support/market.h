/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small legacy application with several aggregates in five tables, and the domain with a mapping for each:
 *
 *   order     orders (id, text)                 items (order_id, id, text), payments (id, order_id, text) by order_id
 *   payment   payments (id, order_id, text)     notes (payment_id, id, text)
 *   stock     stock (id, text)
 *
 * Table payments is in two mappings: the root of one, with another key in the other.  Every event says what the row is,
 * so that a lost, doubled or reordered change shows.
 */
#ifndef SUPPORT_MARKET_H
#define SUPPORT_MARKET_H

#include "banyan/domain.h"

enum market_event {
    MARKET_PUT,
    MARKET_GONE,
    MARKET_CHILD_PUT,
    MARKET_CHILD_GONE,
    MARKET_EVENTS,
};

/* All rows and payloads. */
struct market_row {
    int64_t key, id;        /* id, table: of children */
    int64_t table;          /* index in the mapping */
    struct banyan_str text; /* optional */
};

extern const char market_schema_sql[];
extern const struct banyan_domain market_domain;
/* The same when it had but the first mapping. */
extern const struct banyan_domain market_orders_domain;

#endif
