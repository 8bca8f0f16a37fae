/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which events a reader wants: a copy of a store_filter, and the bits under which the table of blocks knows its names.
 *
 * Thread-safe once made.
 */
#ifndef STORE_FILTER_H
#define STORE_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "store/store.h"

struct filter {
    struct store_filter wanted; /* texts in the arena */
    struct banyan_arena arena;
    uint64_t *type_bits; /* filter_bits() of each type, in the arena */
    uint64_t *category_bits;
};

/* Copies *wanted*; NULL where it wants everything. */
struct filter *filter_new(const struct store_filter *wanted);
void filter_free(struct filter *filter); /* NULL allowed */

/* The part of *stream* before its first '-'; all of it where there is none. */
struct banyan_str filter_category(struct banyan_str stream);
/* Two of 64 bits that stand for *name*. */
uint64_t filter_bits(struct banyan_str name);

bool filter_passes(const struct filter *filter, const struct store_event *event);
/* May there be one that passes among events whose types and categories have these bits? */
bool filter_may_pass(const struct filter *filter, uint64_t types, uint64_t categories);

#endif
