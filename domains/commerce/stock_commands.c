/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions on stock; stock.h has the drawing.
 *
 * Invariant: available + reserved + allocated + shipped = received, and none is ever below 0: so nothing is sold that
 * is not there.
 */
#include <assert.h>
#include <inttypes.h>

#include "stock.h"

#define QUANTITY_MAX INT64_C(1000000000)
#define RECEIVED_MAX INT64_C(1000000000000000)

static const struct banyan_field receive_fields[] = {
    BANYAN_FIELD_INT(struct receive_stock, product_id, 0),
    BANYAN_FIELD_INT(struct receive_stock, seller_id, 0),
    BANYAN_FIELD_INT(struct receive_stock, warehouse_id, 0),
    BANYAN_FIELD_INT(struct receive_stock, quantity, 0),
    BANYAN_FIELD_STRING(struct receive_stock, reference, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field move_fields[] = {
    BANYAN_FIELD_INT(struct move_stock, order_id, 0),
    BANYAN_FIELD_INT(struct move_stock, line_id, 0),
    BANYAN_FIELD_INT(struct move_stock, quantity, 0),
};

static const struct banyan_field release_fields[] = {
    BANYAN_FIELD_INT(struct release_stock, order_id, 0),
    BANYAN_FIELD_INT(struct release_stock, line_id, 0),
    BANYAN_FIELD_INT(struct release_stock, quantity, 0),
    BANYAN_FIELD_BOOL(struct release_stock, allocated, 0),
};

#define RECORD(name, type, fields)                                                                                     \
    {                                                                                                                  \
        name, sizeof(type), fields, COMMERCE_COUNT(fields)                                                             \
    }

static const struct banyan_record records[STOCK_COMMAND_COUNT] = {
    [STOCK_RECEIVE] = RECORD("ReceiveStock", struct receive_stock, receive_fields),
    [STOCK_RESERVE] = RECORD("ReserveStock", struct move_stock, move_fields),
    [STOCK_ALLOCATE] = RECORD("AllocateStock", struct move_stock, move_fields),
    [STOCK_RELEASE] = RECORD("ReleaseStock", struct release_stock, release_fields),
    [STOCK_SHIP] = RECORD("ShipStock", struct move_stock, move_fields),
};

const struct banyan_command_type commerce_stock_commands[STOCK_COMMAND_COUNT] = {
    [STOCK_RECEIVE] = {"ReceiveStock", &records[STOCK_RECEIVE]},
    [STOCK_RESERVE] = {"ReserveStock", &records[STOCK_RESERVE]},
    [STOCK_ALLOCATE] = {"AllocateStock", &records[STOCK_ALLOCATE]},
    [STOCK_RELEASE] = {"ReleaseStock", &records[STOCK_RELEASE]},
    [STOCK_SHIP] = {"ShipStock", &records[STOCK_SHIP]},
};

static bool check_quantity(int64_t quantity, struct banyan_refusal *ret)
{
    return (quantity > 0 && quantity <= QUANTITY_MAX) ||
           commerce_refuse(ret, "quantity-invalid", "the quantity is between 1 and 1,000,000,000");
}

/* What a command may leave out where it is known; false when it says something else than what is known. */
static bool fill_in(int64_t known, int64_t *asked)
{
    if (*asked == 0)
        *asked = known;
    return known == 0 || *asked == known;
}

static bool receive(const struct stock *stock, const struct banyan_command *command, struct banyan_emitter *out,
                    struct banyan_refusal *ret)
{
    const struct receive_stock *receive = command->fields;
    const struct stock_row *row = &stock->row;
    struct stock_received received = {
        .product_id = receive->product_id,
        .seller_id = receive->seller_id,
        .warehouse_id = receive->warehouse_id,
        .quantity = receive->quantity,
        .reference = receive->reference,
    };

    if (!commerce_parse_key(command->key, &received.stock_id))
        return commerce_refuse(ret, "stock-id-invalid", "the id of stock is a positive number of 64 bits");
    if (!check_quantity(receive->quantity, ret))
        return false;
    if (stock->exists &&
        (!fill_in(row->product_id, &received.product_id) || !fill_in(row->seller_id, &received.seller_id) ||
         !fill_in(row->warehouse_id, &received.warehouse_id)))
        return commerce_refuse(ret, "stock-different", "this stock is of another product, seller or warehouse");
    if (received.product_id <= 0 || received.seller_id < 0 || received.warehouse_id < 0)
        return commerce_refuse(ret, "stock-invalid", "stock is of a product, and of a seller in a warehouse");
    if (count_add(row->received, receive->quantity) > RECEIVED_MAX)
        return commerce_refuse(ret, "quantity-invalid", "that is more than can be counted");
    commerce_emit(out, command, STOCK_RECEIVED, &received);
    return true;
}

/* There are *quantity* pieces in the place that has *there*. */
static bool check_there(int64_t there, int64_t quantity, const char *place, struct banyan_emitter *out,
                        struct banyan_refusal *ret)
{
    if (!check_quantity(quantity, ret))
        return false;
    if (there >= quantity)
        return true;
    *ret = (struct banyan_refusal){"stock-insufficient", banyan_arena_printf(banyan_emitter_arena(out),
                                                                             "%" PRId64 " asked for, %" PRId64 " %s",
                                                                             quantity, there, place)};
    return false;
}

static bool release(const struct stock_row *row, const struct banyan_command *command, struct banyan_emitter *out,
                    struct banyan_refusal *ret)
{
    const struct release_stock *release = command->fields;
    struct stock_released released = {row->stock_id, release->order_id, release->line_id, release->quantity,
                                      release->allocated};

    if (!check_there(release->allocated ? row->allocated : row->reserved, release->quantity,
                     release->allocated ? "allocated" : "reserved", out, ret))
        return false;
    commerce_emit(out, command, STOCK_RELEASED, &released);
    return true;
}

bool commerce_stock_decide(const void *state, bool exists, const struct banyan_command *command,
                           struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct stock *stock = state;
    const struct stock_row *row = &stock->row;
    const struct move_stock *move = command->fields;
    struct stock_reserved moved; /* reserved, allocated and shipped say the same */

    static_assert(sizeof(struct stock_reserved) == sizeof(struct stock_allocated) &&
                      sizeof(struct stock_reserved) == sizeof(struct stock_shipped),
                  "one payload for three events");
    if (command->type == STOCK_RECEIVE)
        return receive(stock, command, out, ret);
    if (!stock->exists)
        return commerce_refuse(ret, "stock-unknown", "there is no such stock");
    if (command->type == STOCK_RELEASE)
        return release(row, command, out, ret);
    moved = (struct stock_reserved){row->stock_id, move->order_id, move->line_id, move->quantity};
    switch ((enum stock_command)command->type) {
    case STOCK_RESERVE:
        if (!check_there(row->available, move->quantity, "available", out, ret))
            return false;
        commerce_emit(out, command, STOCK_RESERVED, &moved);
        return true;
    case STOCK_ALLOCATE:
        if (!check_there(row->reserved, move->quantity, "reserved", out, ret))
            return false;
        commerce_emit(out, command, STOCK_ALLOCATED, &moved);
        return true;
    case STOCK_SHIP:
        if (!check_there(row->allocated, move->quantity, "allocated", out, ret))
            return false;
        commerce_emit(out, command, STOCK_SHIPPED, &moved);
        return true;
    default:
        return commerce_refuse(ret, "command-unknown", "stock has no such command");
    }
}
