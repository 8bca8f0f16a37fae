/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the hand-over stress test share: handover_stress.c has the story. */
#ifndef FAULT_STRESS_H
#define FAULT_STRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/stop.h"

/* ---- the load (stress_load.c) ---- */

struct load;

struct load_options {
    const char *conninfo;
    unsigned writers;
    uint64_t seed;
    int64_t items;       /* at the start; their ids are multiples of 10 */
    unsigned hung_every; /* one transaction in so many hangs after its flush; 0: none */
    int64_t hung_ms_max;
    uint64_t pause_us; /* of a writer between transactions, at most */
};

struct load_counts {
    uint64_t transactions, failed, hung, prepared, savepoints, copies, moves, large;
};

/* Tables, triggers, items, publication "stress".  Ends the process on failure, as all of the load does. */
void load_prepare(const char *conninfo, int64_t items);
struct load *load_start(const struct load_options *options);
/* Ends the writers, releases every hung commit, ends open prepared transactions. */
struct load_counts load_stop(struct load *load);

/* ---- the judgement (stress_check.c) ---- */

enum seen_kind {
    SEEN_NONE = 0,
    SEEN_BASE,
    SEEN_SET,
    SEEN_GONE,
};

/* One thing that a capture says about a key, in its order. */
struct seen {
    int64_t key;
    uint64_t order;
    enum seen_kind kind;
    int64_t v;
};

struct seen_list {
    struct seen *items;
    size_t count, capacity;
};

struct verdict {
    uint64_t keys, versions; /* looked at */
    uint64_t lost, doubled, disordered;
};

void seen_add(struct seen_list *list, struct seen seen);
void seen_release(struct seen_list *list);
/* Compare with the truth that the triggers wrote; *list* is sorted by it. */
struct verdict check_items(const char *conninfo, struct seen_list *list, bool explain);

#endif
