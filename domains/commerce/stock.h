/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stock of one product of one seller in one warehouse.
 *
 *     ─Receive─▶ available ─Reserve─▶ reserved ─Allocate─▶ allocated ─Ship─▶ shipped
 *                    ▲─────────Release───┴──────────Release──┘
 *
 * Every piece is in one of the four places: available + reserved + allocated + shipped = received, none below zero.
 *
 * The stream of a product that sells well is the busiest of all, so its state is counts only: which order holds how
 * much is known by who took it (checkout.h, whose step and the stock's event are one append).  The command that is sent
 * again with its id is answered by the engine.
 */
#ifndef COMMERCE_STOCK_H
#define COMMERCE_STOCK_H

#include "banyan/domain.h"
#include "events.h"

struct stock {
    struct stock_row row;
    bool exists;
};

/* Index in the commands of commerce_aggregates[AGGREGATE_STOCK]. */
enum stock_command {
    STOCK_RECEIVE,
    STOCK_RESERVE,
    STOCK_ALLOCATE,
    STOCK_RELEASE,
    STOCK_SHIP,
    STOCK_COMMAND_COUNT,
};

/* Of stock that exists, product_id, seller_id and warehouse_id may be 0: they stay. */
struct receive_stock {
    int64_t product_id;
    int64_t seller_id;
    int64_t warehouse_id;
    int64_t quantity;
    struct banyan_str reference; /* optional */
};

/* ReserveStock, AllocateStock, ShipStock. */
struct move_stock {
    int64_t order_id;
    int64_t line_id; /* 0: not told */
    int64_t quantity;
};

struct release_stock {
    int64_t order_id;
    int64_t line_id;
    int64_t quantity;
    bool allocated; /* it is allocated already */
};

extern const struct banyan_record commerce_stock_state;
extern const struct banyan_command_type commerce_stock_commands[STOCK_COMMAND_COUNT];

/* See banyan_aggregate. */
void commerce_stock_evolve(void *state, unsigned type, const void *payload, struct banyan_time at);
bool commerce_stock_decide(const void *state, bool exists, const struct banyan_command *command,
                           struct banyan_emitter *out, struct banyan_refusal *ret);

#endif
