/* SPDX-License-Identifier: Apache-2.0 */
/* The domain's table of contents. */
#include "commerce.h"
#include "checkout.h"
#include "events.h"
#include "facade_shop.h"
#include "fulfillment.h"
#include "mapping_shop.h"
#include "order.h"
#include "payment.h"
#include "read_models.h"
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

/* ---- archive: an order with its payments, fulfillments and checkout ---- */

enum {
    KEEP_DAYS = 180, /* after the last of them ended: returns and complaints */
};

static int closes_order(const struct banyan_seen *event)
{
    const struct order_reconciled *reconciled = event->payload;

    switch ((enum commerce_event)event->type) {
    case ORDER_COMPLETED:
    case ORDER_CANCELED:
    case ORDER_REJECTED:
        return 1;
    case ORDER_RECONCILED:
        return reconciled->removed || text_is(reconciled->row.status, ORDER_STATUS_DELIVERED) ||
                       text_is(reconciled->row.status, ORDER_STATUS_CANCELED) ||
                       text_is(reconciled->row.status, ORDER_STATUS_REJECTED)
                   ? 1
                   : -1;
    case ORDER_ADDRESS_CHANGED:
    case ORDER_LINES_CHANGED:
    case ORDER_ANOMALY_NOTED:
        return 0;
    default:
        return -1;
    }
}

static int closes_payment(const struct banyan_seen *event)
{
    const struct payment_reconciled *reconciled = event->payload;

    switch ((enum commerce_event)event->type) {
    case PAYMENT_REQUESTED:
    case PAYMENT_AUTHORIZED:
        return -1;
    case PAYMENT_RECONCILED:
        return !reconciled->removed && (text_is(reconciled->row.status, PAYMENT_STATUS_REQUESTED) ||
                                        text_is(reconciled->row.status, PAYMENT_STATUS_AUTHORIZED))
                   ? -1
                   : 1;
    default:
        return 1;
    }
}

static int closes_fulfillment(const struct banyan_seen *event)
{
    const struct fulfillment_reconciled *reconciled = event->payload;

    switch ((enum commerce_event)event->type) {
    case FULFILLMENT_DELIVERED:
    case FULFILLMENT_CANCELED:
        return 1;
    case FULFILLMENT_RECONCILED:
        return reconciled->removed || text_is(reconciled->row.status, FULFILLMENT_STATUS_DELIVERED) ||
                       text_is(reconciled->row.status, FULFILLMENT_STATUS_CANCELED)
                   ? 1
                   : -1;
    default:
        return -1;
    }
}

static int closes(const struct banyan_seen *event)
{
    if (event->type <= ORDER_RECONCILED)
        return closes_order(event);
    if (event->type <= PAYMENT_RECONCILED)
        return closes_payment(event);
    if (event->type >= CHECKOUT_RESERVED)
        return event->type == CHECKOUT_COMPLETED || event->type == CHECKOUT_COMPENSATED ? 1 : -1;
    return event->type <= JOB_RELEASED ? closes_fulfillment(event) : 0;
}

static const struct banyan_archive_group archive = {
    .category = "order",
    .root = commerce_order_of,
    .closes = closes,
    .keep_days = KEEP_DAYS,
};

const struct banyan_domain banyan_domain_commerce = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "commerce",
    .events = commerce_events,
    .event_count = COMMERCE_EVENT_COUNT,
    .aggregates = commerce_aggregates,
    .aggregate_count = AGGREGATE_COUNT,
    .projections = commerce_projections,
    .projection_count = PROJECTION_COUNT,
    .processes = &commerce_checkout_process,
    .process_count = 1,
    .mappings = shop_mappings,
    .mapping_count = SHOP_MAPPING_COUNT,
    .archive = &archive,
    .facade = &shop_facade,
};
