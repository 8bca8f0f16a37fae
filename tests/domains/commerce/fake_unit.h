/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's side of a projection, as small as can be: rows in an array, looked through from the front.  What
 * domain.h promises is checked: a PARTITIONED projection touches rows of the event's key only, and a row has its key.
 */
#ifndef TEST_COMMERCE_FAKE_UNIT_H
#define TEST_COMMERCE_FAKE_UNIT_H

#include "banyan/domain.h"

struct fake_row {
    unsigned table;
    int64_t key;
    void *row;
    bool present;
};

struct banyan_unit {
    const struct banyan_projection *projection;
    struct banyan_arena *arena; /* borrowed */
    struct fake_row *rows;
    size_t count, capacity;
    int64_t bound; /* partition key of the event that is applied */
};

/* Rows of an answer. */
struct banyan_answer {
    const struct banyan_record *record;
    struct banyan_arena *arena;
    void *rows[4096];
    size_t count;
    bool refused;
};

/* Show the event to the projection, if it wants it. */
void fake_apply(struct banyan_unit *unit, const struct banyan_seen *event, const char *category);
const void *fake_row(const struct banyan_unit *unit, unsigned table, int64_t key);
size_t fake_count(const struct banyan_unit *unit, unsigned table);
void fake_ask(struct banyan_unit *unit, const struct banyan_query *query, const void *arguments,
              struct banyan_answer *ret);

#endif
