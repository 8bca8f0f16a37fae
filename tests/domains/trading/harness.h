/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's side of the domain interface, small enough to see through: takes what the domain emits, folds it, and
 * has the domain reconcile what is left.  The real one is legacy/mapper.c; this one needs no store.
 */
#ifndef TEST_TRADING_HARNESS_H
#define TEST_TRADING_HARNESS_H

#include "trading/events.h"
#include "trading/order.h"

struct harness_event {
    unsigned type;
    void *payload;
    struct banyan_time at;
    enum banyan_provenance provenance;
    const char *reason;
};

/* The read model, of one key. */
struct banyan_unit {
    struct banyan_arena *arena;
    struct order_row row;
    bool present;
};

struct banyan_emitter {
    struct banyan_arena *arena;
    struct order state;
    struct banyan_unit view;
    int64_t key;
    struct harness_event *events;
    size_t count, capacity;
    size_t exact, inferred, reconciled;
};

void harness_init(struct banyan_emitter *out, struct banyan_arena *arena);
/* Run history() and the proof; fails the test when the state is not the row in the end. */
void harness_history(struct banyan_emitter *out, const struct banyan_history *history);
/* Run changes() and the proof against *row* (NULL: removed). */
void harness_changes(struct banyan_emitter *out, int64_t key, const struct banyan_change *changes, size_t count,
                     const struct order_row *row);
/* Type, payload and time of both lists are the same. */
void harness_assert_same(const struct banyan_emitter *a, const struct banyan_emitter *b);
void harness_print(const struct banyan_emitter *out);

/* A decimal with eight places from text. */
struct banyan_decimal amount(const char *text);

#endif
