/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain made for attacking the hand-over: items whose every row version has an identity of its own, and notes.
 *
 * Table items(id, v, body): v is unique over all versions of all rows (a trigger takes it from a sequence).
 * Table notes(id, item_id, body).  Each version and each note becomes exactly one event, so that a lost or doubled
 * change can be seen by counting.
 *
 *   mapping item    items, notes       streams item-<id>
 *   mapping other   others, items      streams other-<id>; a trigger does to others, with the negative id, what is done
 *                                      to items, so that one truth is that of both
 */
#ifndef FAULT_STRESS_DOMAIN_H
#define FAULT_STRESS_DOMAIN_H

#include "banyan/domain.h"

enum stress_event {
    STRESS_ITEM_BASE = 0, /* the version that the backfill found */
    STRESS_ITEM_SET,      /* a captured version */
    STRESS_ITEM_GONE,
    STRESS_NOTE_BASE,
    STRESS_NOTE_ADDED,
    STRESS_NOTE_GONE,
    STRESS_OTHER_BASE, /* of others */
    STRESS_OTHER_SET,
    STRESS_OTHER_GONE,
    STRESS_COPY_BASE, /* of items, as the child of the second mapping */
    STRESS_COPY_SET,
    STRESS_COPY_GONE,
    STRESS_RECONCILED, /* must never happen */
    STRESS_EVENTS,
};

/* Payload of all of them. */
struct stress_payload {
    int64_t id; /* of the item; 0 for notes and where it is gone */
    int64_t v;  /* version of an item, id of a note */
    struct banyan_str body;
};

extern const struct banyan_domain stress_domain;
/* The same before the second mapping came. */
extern const struct banyan_domain stress_early_domain;

#endif
