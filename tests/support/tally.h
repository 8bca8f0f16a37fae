/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain for tests and measurements of rebuilds: orders of shops.
 *
 *   order-<key>:  Placed, Changed*, Shipped*, Removed
 *       view orders   PARTITIONED by stream: an order a row, and a row of a second table for its parcels
 *       view shops    PARTITIONED by what Placed says: a shop a row
 *       view joined   JOINED: order and shop rows in two tables, the shop found through the order's row
 *
 * Poison in two ways: a note with a NUL byte makes a row that no sink takes; a payload may be cut.
 */
#ifndef SUPPORT_TALLY_H
#define SUPPORT_TALLY_H

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "os/random.h"
#include "projection/sink.h"
#include "store/store.h"

enum tally_event {
    TALLY_PLACED,
    TALLY_CHANGED,
    TALLY_SHIPPED,
    TALLY_REMOVED,
    TALLY_EVENTS,
};

enum {
    TALLY_VIEW_ORDERS,
    TALLY_VIEW_SHOPS,
    TALLY_VIEW_JOINED,
    TALLY_VIEWS,
    TALLY_SHOPS = 50,
};

struct tally_order {
    int64_t id;
    int64_t shop;
    struct banyan_decimal amount;
    struct banyan_str note;
    int64_t changes;
    struct banyan_time placed_at;
    struct banyan_time shipped_at; /* optional */
};
struct tally_parcels {
    int64_t id;
    int64_t parcels;
};
struct tally_shop {
    int64_t shop;
    int64_t orders;
    struct banyan_decimal total;
};

extern const struct banyan_domain tally_domain;
extern const struct banyan_projection tally_projections[TALLY_VIEWS];

struct tally_append {
    size_t count;
    int64_t keys;       /* orders 1 … keys */
    unsigned poison;    /* of 10,000 events */
    unsigned batch;     /* events an append; 0: 1000 */
    unsigned elsewhere; /* of 100 events: of streams that no view wants */
};
/* Append random events.  Ends the process when that fails. */
void tally_append(struct store *store, struct os_random *random, const struct tally_append *how);

/* ---- the slow, simple way ---- */

/* Rows and asides as a plain loop over the log up to *last* gives them. */
struct tally_plain;
struct tally_plain *tally_plain_new(struct store *store, const struct banyan_projection *projection,
                                    struct banyan_position last);
void tally_plain_free(struct tally_plain *plain);
size_t tally_plain_count(const struct tally_plain *plain, unsigned table);
/* NULL: there is none. */
const void *tally_plain_row(const struct tally_plain *plain, unsigned table, int64_t key);
const struct sink_aside *tally_plain_asides(const struct tally_plain *plain, size_t *ret_count);

#endif
