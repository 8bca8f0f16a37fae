/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The legacy application for one order, in memory: what each of its transactions does to the three tables, with the
 * faults of the real one.  It knows nothing of events.
 */
#ifndef TEST_TRADING_APPLICATION_H
#define TEST_TRADING_APPLICATION_H

#include <stdint.h>

#include "trading/rows.h"

enum {
    FAULT_AUDIT = 1 << 0,       /* a third of the modifications without audit rows */
    FAULT_CANCEL_TIME = 1 << 1, /* cancellations without audit row and with updated_at untouched */
    FAULT_ORDER = 1 << 2,       /* times that go back between transactions */
    FAULT_TIES = 1 << 3,        /* times cut to milliseconds */
    FAULT_MIXED = 1 << 4,       /* several requests in one transaction; trades before or behind the update */
    FAULT_REMOVALS = 1 << 5,    /* orders are deleted and come back */
    FAULTS_ALL = 15,

    APPLICATION_ROWS_MAX = 64,
    APPLICATION_CHANGES_MAX = 64,
};

struct application {
    uint64_t random;
    unsigned faults;
    int64_t now; /* µs */
    struct banyan_arena *arena;

    bool exists;
    struct order_row row;
    struct audit_row audits[APPLICATION_ROWS_MAX];
    size_t audit_count;
    struct trade_row trades[APPLICATION_ROWS_MAX];
    size_t trade_count;

    /* of the last transaction */
    struct banyan_change changes[APPLICATION_CHANGES_MAX];
    size_t change_count;
};

/* An application whose order is not placed yet. */
void application_init(struct application *application, uint64_t seed, int64_t order_id, unsigned faults,
                      struct banyan_arena *arena);
/* Place the order, or do something with it, in one transaction. */
void application_step(struct application *application);
/* The rows as the backfill reads them; memory of the arena. */
void application_history(struct application *application, struct banyan_history *ret);
uint64_t application_random(struct application *application, uint64_t below);

#endif
