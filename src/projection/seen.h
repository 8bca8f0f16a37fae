/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a stored event to what apply() sees: is it wanted, what does it say, whose rows does it change.
 *
 *   stored event ─▶ category and type ─▶ decode ─▶ key() ─▶ seen
 *                         │                 └────────┴────▶ not understood: its key, where it is known, goes aside
 *                         └▶ not wanted
 *
 * One answer for all who fold: the live engine, a rebuild, and whoever checks them.
 *
 * Threads: any, at once.
 */
#ifndef PROJECTION_SEEN_H
#define PROJECTION_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "store/store.h"

struct seen_rules;

enum seen_kind {
    SEEN_UNWANTED = 0,
    SEEN_WANTED,
    SEEN_POISON, /* wanted, and not understood */
};

/* All are borrowed.  *store*: where the schemas of old versions are; NULL: there are none. */
struct seen_rules *seen_rules_new(struct store *store, const struct banyan_domain *domain,
                                  const struct banyan_projection *projection);
void seen_rules_free(struct seen_rules *rules); /* NULL allowed */

/* WANTED fills *ret; payload and texts lie in *arena*, but for the stream where *borrow* is true (then it is the
 * event's).  POISON fills *err and, of *ret*, stream, position, version, at and, where *ret_keyed*, the key: else the
 * whole stream has to go aside (always so for JOINED projections). */
enum seen_kind seen_event(const struct seen_rules *rules, const struct store_read_event *event,
                          struct banyan_arena *arena, bool borrow, struct banyan_seen *ret, bool *ret_keyed,
                          struct banyan_error *err);
/* What a reader of the log may leave out; borrowed from the rules. */
const struct store_filter *seen_filter(const struct seen_rules *rules);
/* The key of a stream: its number, or banyan_key_of_text() of what stands behind the '-' (*ret_number false). */
int64_t seen_stream_key(struct banyan_str stream, bool *ret_number);

#endif
