/* SPDX-License-Identifier: Apache-2.0 */
/* What an order can be asked for, and the decision. */
#ifndef TRADING_COMMANDS_H
#define TRADING_COMMANDS_H

#include "banyan/domain.h"

/* Index in order_aggregate.commands. */
enum order_command {
    ORDER_PLACE,
    ORDER_MODIFY,
    ORDER_CANCEL,
    ORDER_FILL,
    ORDER_COMMAND_COUNT,
};

struct place_order {
    int64_t trader_id;
    struct banyan_str symbol;
    struct banyan_str side; /* BUY, SELL */
    struct banyan_decimal quantity;
    struct banyan_decimal price;
};

struct modify_order {
    struct banyan_decimal quantity; /* "no value": stays */
    struct banyan_decimal price;    /* "no value": stays */
};

/* CancelOrder has no fields. */

struct fill_order {
    struct banyan_decimal quantity;
    struct banyan_decimal price;
};

extern const struct banyan_command_type order_commands[ORDER_COMMAND_COUNT];

/* See banyan_aggregate.decide. */
bool order_decide(const void *state, bool exists, const struct banyan_command *command, struct banyan_emitter *out,
                  struct banyan_refusal *ret);

#endif
