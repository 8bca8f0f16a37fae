/* SPDX-License-Identifier: Apache-2.0 */
/* An order as its events say that it is. */
#ifndef TRADING_ORDER_H
#define TRADING_ORDER_H

#include "banyan/domain.h"
#include "rows.h"

struct order {
    struct order_row row;
    bool exists; /* placed, and not removed since */
};

extern const struct banyan_aggregate order_aggregate;

/* Fold one event; see banyan_aggregate.evolve. */
void order_evolve(void *state, unsigned type, const void *payload, struct banyan_time at);

#endif
