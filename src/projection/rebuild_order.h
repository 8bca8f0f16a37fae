/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which rows are given to a store: that of their keys, or that of one of their lists, as the store wants
 * (`load_order` in sink.h).
 *
 *   by key ─▶ reversed ─▶ stable by time, newest first ─▶ stable by value: rank of a text, or the number itself
 *
 * A store sorts for its index what it was given; what comes in that order is only looked at.  Here rows are pointers
 * and a text that many rows have is ranked once, so that it costs a small part of what it costs there.
 *
 * Pure.  Threads: any, on their own rows.
 */
#ifndef PROJECTION_REBUILD_ORDER_H
#define PROJECTION_REBUILD_ORDER_H

#include <stddef.h>

#include "banyan/domain.h"
#include "projection/sink.h"

/* *rows*, and room for as many at *spare*, are swapped as is needed.  *list* NULL: by key. */
void rebuild_order(const struct banyan_table *table, const struct banyan_view_index *list, struct sink_row **rows,
                   struct sink_row **spare, size_t count);

#endif
