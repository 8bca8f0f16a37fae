/* SPDX-License-Identifier: Apache-2.0 */
/* The domain's table of contents. */
#include "commerce.h"
#include "checkout.h"
#include "events.h"
#include "fulfillment.h"
#include "mapping_shop.h"
#include "order.h"
#include "payment.h"
#include "stock.h"

const struct banyan_aggregate commerce_aggregates[AGGREGATE_COUNT] = {
    [AGGREGATE_ORDER] = {.category = "order",
                         .state = &commerce_order_state,
                         .evolve = commerce_order_evolve,
                         .version = 1,
                         .commands = commerce_order_commands,
                         .command_count = ORDER_COMMAND_COUNT,
                         .decide = commerce_order_decide},
    [AGGREGATE_PAYMENT] = {.category = "payment",
                           .state = &commerce_payment_state,
                           .evolve = commerce_payment_evolve,
                           .version = 1,
                           .commands = commerce_payment_commands,
                           .command_count = PAYMENT_COMMAND_COUNT,
                           .decide = commerce_payment_decide},
    [AGGREGATE_FULFILLMENT] = {.category = "fulfillment",
                               .state = &commerce_fulfillment_state,
                               .evolve = commerce_fulfillment_evolve,
                               .version = 1,
                               .commands = commerce_fulfillment_commands,
                               .command_count = FULFILLMENT_COMMAND_COUNT,
                               .decide = commerce_fulfillment_decide},
    [AGGREGATE_STOCK] = {.category = "stock",
                         .state = &commerce_stock_state,
                         .evolve = commerce_stock_evolve,
                         .version = 1,
                         .commands = commerce_stock_commands,
                         .command_count = STOCK_COMMAND_COUNT,
                         .decide = commerce_stock_decide},
};

const struct banyan_domain banyan_domain_commerce = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "commerce",
    .events = commerce_events,
    .event_count = COMMERCE_EVENT_COUNT,
    .aggregates = commerce_aggregates,
    .aggregate_count = AGGREGATE_COUNT,
    .processes = &commerce_checkout_process,
    .process_count = 1,
    .mappings = shop_mappings,
    .mapping_count = SHOP_MAPPING_COUNT,
};
