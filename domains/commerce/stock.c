/* SPDX-License-Identifier: Apache-2.0 */
/* The fold of stock.  Any event is accepted at any time; counts stop at the ends of 64 bits. */
#include "stock.h"

#define STATE_FIELD(kind, name, flags, scale)                                                                          \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct stock, row.name), scale, NULL},

static const struct banyan_field state_fields[] = {
    STOCK_ROW_COLUMNS(STATE_FIELD) BANYAN_FIELD_BOOL(struct stock, exists, 0),
};

const struct banyan_record commerce_stock_state = {"StockState", sizeof(struct stock), state_fields,
                                                   COMMERCE_COUNT(state_fields)};

static void receive(struct stock *stock, const struct stock_received *received)
{
    struct stock_row *row = &stock->row;

    row->stock_id = received->stock_id;
    row->product_id = received->product_id;
    row->seller_id = received->seller_id;
    row->warehouse_id = received->warehouse_id;
    row->available = count_add(row->available, received->quantity);
    row->received = count_add(row->received, received->quantity);
    stock->exists = true;
}

static void move(int64_t *from, int64_t *to, int64_t quantity)
{
    *from = count_sub(*from, quantity);
    *to = count_add(*to, quantity);
}

void commerce_stock_evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    struct stock *stock = state;
    struct stock_row *row = &stock->row;
    const struct stock_released *released;
    const struct stock_reconciled *reconciled;

    switch ((enum commerce_event)type) {
    case STOCK_RECEIVED:
        receive(stock, payload);
        break;
    case STOCK_RESERVED:
        move(&row->available, &row->reserved, ((const struct stock_reserved *)payload)->quantity);
        break;
    case STOCK_ALLOCATED:
        move(&row->reserved, &row->allocated, ((const struct stock_allocated *)payload)->quantity);
        break;
    case STOCK_RELEASED:
        released = payload;
        move(released->allocated ? &row->allocated : &row->reserved, &row->available, released->quantity);
        break;
    case STOCK_SHIPPED:
        move(&row->allocated, &row->shipped, ((const struct stock_shipped *)payload)->quantity);
        break;
    case STOCK_RECONCILED:
        reconciled = payload;
        *row = reconciled->row;
        stock->exists = !reconciled->removed;
        return;
    default:
        return;
    }
    row->updated_at = at;
}
