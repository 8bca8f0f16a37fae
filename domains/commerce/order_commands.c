/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions on orders; order.h has the drawing.
 *
 * Invariants
 *   1. An order has at least one line, each with a quantity above 0, and its totals are the sums over its lines.
 *   2. Lines change only before it is approved, the address only before it is shipped.
 *   3. What has happened already gives no event: a command may be repeated.
 */
#include "order.h"

enum {
    LINES_MAX = 500,
    TEXT_BYTES_MAX = 1000,
    LINE_IDS_PER_ORDER = 1000, /* lines without an id get order_id * this + place */
};

#define QUANTITY_MAX INT64_C(1000000)

static const struct banyan_field place_fields[] = {
    BANYAN_FIELD_INT(struct place_order, customer_id, 0),
    BANYAN_FIELD_STRING(struct place_order, customer, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct place_order, city, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct place_order, state, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct place_order, address, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct place_order, postal_code, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct place_order, country, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct place_order, external_id, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct place_order, authorization, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct place_order, promised_at, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_LIST_OF(struct place_order, lines, &commerce_order_line),
};

static const struct banyan_field modify_fields[] = {
    BANYAN_FIELD_INT(struct modify_order, line_id, 0),
    BANYAN_FIELD_INT(struct modify_order, quantity, 0),
    BANYAN_FIELD_STRING(struct modify_order, customer, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct modify_order, city, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct modify_order, state, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct modify_order, address, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct modify_order, postal_code, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct modify_order, country, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field confirm_fields[] = {
    BANYAN_FIELD_DECIMAL(struct confirm_order, paid, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
};

static const struct banyan_field end_fields[] = {
    BANYAN_FIELD_STRING(struct order_end, reason, BANYAN_FIELD_OPTIONAL),
};

#define RECORD(name, type, fields)                                                                                     \
    {                                                                                                                  \
        name, sizeof(type), fields, COMMERCE_COUNT(fields)                                                             \
    }

static const struct banyan_record records[ORDER_COMMAND_COUNT] = {
    [ORDER_PLACE] = RECORD("PlaceOrder", struct place_order, place_fields),
    [ORDER_MODIFY] = RECORD("ModifyOrder", struct modify_order, modify_fields),
    [ORDER_CONFIRM] = RECORD("ConfirmOrder", struct confirm_order, confirm_fields),
    [ORDER_SHIP] = {"ShipOrder", 0, NULL, 0},
    [ORDER_COMPLETE] = {"CompleteOrder", 0, NULL, 0},
    [ORDER_CANCEL] = RECORD("CancelOrder", struct order_end, end_fields),
    [ORDER_REJECT] = RECORD("RejectOrder", struct order_end, end_fields),
};

const struct banyan_command_type commerce_order_commands[ORDER_COMMAND_COUNT] = {
    [ORDER_PLACE] = {"PlaceOrder", &records[ORDER_PLACE]},
    [ORDER_MODIFY] = {"ModifyOrder", &records[ORDER_MODIFY]},
    [ORDER_CONFIRM] = {"ConfirmOrder", &records[ORDER_CONFIRM]},
    [ORDER_SHIP] = {"ShipOrder", &records[ORDER_SHIP]},
    [ORDER_COMPLETE] = {"CompleteOrder", &records[ORDER_COMPLETE]},
    [ORDER_CANCEL] = {"CancelOrder", &records[ORDER_CANCEL]},
    [ORDER_REJECT] = {"RejectOrder", &records[ORDER_REJECT]},
};

/* ---- sums ---- */

bool order_line_price(const struct order_line *line, struct banyan_decimal *ret)
{
    __int128 units;

    if (!money_is_number(line->unit_price) || __builtin_mul_overflow(line->unit_price.units, line->quantity, &units) ||
        units >= MONEY_UNITS_LIMIT || units <= -MONEY_UNITS_LIMIT)
        return false;
    *ret = money_from_units(units);
    return true;
}

bool order_totals(const struct banyan_list *lines, struct banyan_decimal *ret_items, struct banyan_decimal *ret_freight)
{
    struct banyan_decimal items = money_of(0), freight = money_of(0), price;

    for (size_t i = 0; i < lines->count; i++) {
        const struct order_line *line = (const struct order_line *)lines->items + i;

        if (!order_line_price(line, &price) || !money_is_number(line->freight))
            return false;
        items = money_add(items, price);
        freight = money_add(freight, line->freight);
    }
    *ret_items = items;
    *ret_freight = freight;
    return true;
}

static bool check_totals(const struct banyan_list *lines, struct banyan_decimal *ret_items,
                         struct banyan_decimal *ret_freight, struct banyan_refusal *ret)
{
    if (order_totals(lines, ret_items, ret_freight) &&
        money_units(*ret_items) + money_units(*ret_freight) < MONEY_UNITS_END)
        return true;
    return commerce_refuse(ret, "total-too-large", "the order's total has to be less than 10,000,000,000");
}

/* ---- how far it got ---- */

enum phase {
    PHASE_NONE = 0,
    PHASE_CREATED,
    PHASE_APPROVED,
    PHASE_SHIPPED,
    PHASE_DELIVERED,
    PHASE_CANCELED,
    PHASE_REJECTED,
};

/* Of the statuses that only history has, those after the payment stand for approved. */
static enum phase phase_of(const struct order *order)
{
    static const struct {
        const char *status;
        enum phase phase;
    } phases[] = {
        {ORDER_STATUS_CREATED, PHASE_CREATED},      {ORDER_STATUS_APPROVED, PHASE_APPROVED},
        {ORDER_STATUS_SHIPPED, PHASE_SHIPPED},      {ORDER_STATUS_DELIVERED, PHASE_DELIVERED},
        {ORDER_STATUS_CANCELED, PHASE_CANCELED},    {ORDER_STATUS_REJECTED, PHASE_REJECTED},
        {ORDER_STATUS_PROCESSING, PHASE_APPROVED},  {ORDER_STATUS_INVOICED, PHASE_APPROVED},
        {ORDER_STATUS_UNAVAILABLE, PHASE_APPROVED},
    };

    for (size_t i = 0; order->exists && i < COMMERCE_COUNT(phases); i++) {
        if (text_is(order->row.status, phases[i].status))
            return phases[i].phase;
    }
    return PHASE_NONE;
}

/* The order is in *phase*, which does not allow the command. */
static bool refuse_phase(const struct order *order, enum phase phase, struct banyan_refusal *ret)
{
    if (!order->exists)
        return commerce_refuse(ret, "order-unknown", "there is no such order");
    switch (phase) {
    case PHASE_CREATED:
        return commerce_refuse(ret, "order-not-approved", "the order is not approved yet");
    case PHASE_APPROVED:
        return commerce_refuse(ret, "order-approved", "the order is approved already, and not shipped yet");
    case PHASE_SHIPPED:
        return commerce_refuse(ret, "order-shipped", "the order is shipped already");
    case PHASE_DELIVERED:
        return commerce_refuse(ret, "order-delivered", "the order is delivered already");
    case PHASE_CANCELED:
        return commerce_refuse(ret, "order-canceled", "the order is canceled");
    case PHASE_REJECTED:
        return commerce_refuse(ret, "order-rejected", "the order was rejected");
    case PHASE_NONE:
        break;
    }
    return commerce_refuse(ret, "order-status-unknown", "the order has a status that this program does not know");
}

/* ---- PlaceOrder ---- */

static bool check_texts(const struct banyan_str *const *texts, size_t count, struct banyan_refusal *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (texts[i]->size > TEXT_BYTES_MAX)
            return commerce_refuse(ret, "text-too-long", "a text of an order has at most 1000 bytes");
    }
    return true;
}

static bool check_line(const struct order_line *line, struct banyan_refusal *ret)
{
    const struct banyan_str *texts[] = {&line->product, &line->category};

    if (line->quantity <= 0 || line->quantity > QUANTITY_MAX)
        return commerce_refuse(ret, "quantity-invalid", "the quantity of a line is between 1 and 1,000,000");
    if (!money_is_number(line->unit_price) || line->unit_price.units < 0 || line->unit_price.units >= MONEY_UNITS_END ||
        !money_is_number(line->freight) || line->freight.units < 0 || line->freight.units >= MONEY_UNITS_END)
        return commerce_refuse(ret, "price-invalid", "price and freight are not below 0 and less than 10,000,000,000");
    if (line->line_id < 0 || line->product_id <= 0 || line->stock_id <= 0)
        return commerce_refuse(ret, "line-invalid", "a line names its product and the stock that it is taken from");
    return check_texts(texts, COMMERCE_COUNT(texts), ret);
}

/* The lines of the command, checked, each with an id. */
static bool take_lines(const struct place_order *place, int64_t order_id, struct banyan_emitter *out,
                       struct banyan_list *ret_lines, struct banyan_refusal *ret)
{
    const struct order_line *asked = place->lines.items;
    size_t count = place->lines.count;
    struct order_line *lines;

    if (count == 0)
        return commerce_refuse(ret, "lines-missing", "an order has at least one line");
    if (count > LINES_MAX)
        return commerce_refuse(ret, "lines-too-many", "an order has at most 500 lines");
    lines = banyan_arena_alloc(banyan_emitter_arena(out), count * sizeof(*lines));
    for (size_t i = 0; i < count; i++) {
        if (!check_line(&asked[i], ret))
            return false;
        lines[i] = asked[i];
        lines[i].product = text_or_empty(asked[i].product);
        lines[i].category = text_or_empty(asked[i].category);
        if (lines[i].line_id == 0 && (__builtin_mul_overflow(order_id, LINE_IDS_PER_ORDER, &lines[i].line_id) ||
                                      __builtin_add_overflow(lines[i].line_id, (int64_t)i + 1, &lines[i].line_id)))
            return commerce_refuse(ret, "line-invalid", "the id of the order is so large that its lines need own ids");
        for (size_t j = 0; j < i; j++) {
            if (lines[j].line_id == lines[i].line_id)
                return commerce_refuse(ret, "line-repeated", "two lines of the order have the same id");
        }
    }
    *ret_lines = (struct banyan_list){lines, count};
    return true;
}

static bool same_lines(const struct banyan_list *a, const struct banyan_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (banyan_record_diff(&commerce_order_line, (const struct order_line *)a->items + i,
                               (const struct order_line *)b->items + i) != 0)
            return false;
    }
    return true;
}

static bool is_repeat(const struct order *order, const struct place_order *place, const struct banyan_list *lines)
{
    return order->row.customer_id == place->customer_id &&
           banyan_str_equal(order->row.external_id, place->external_id) && same_lines(&order->lines, lines);
}

static bool place(const struct order *order, bool exists, const struct banyan_command *command,
                  struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct place_order *place = command->fields;
    const struct banyan_str *texts[] = {&place->customer,    &place->city,         &place->state,
                                        &place->address,     &place->country,      &place->postal_code,
                                        &place->external_id, &place->authorization};
    struct order_placed placed = {
        .customer_id = place->customer_id,
        .customer = text_or_empty(place->customer),
        .city = text_or_empty(place->city),
        .state = text_or_empty(place->state),
        .address = text_or_empty(place->address),
        .postal_code = text_or_empty(place->postal_code),
        .country = text_or_empty(place->country),
        .external_id = place->external_id,
        .authorization = place->authorization,
        .placed_at = command->now,
        .promised_at = place->promised_at,
        .checkout = true,
    };

    if (!commerce_parse_key(command->key, &placed.order_id))
        return commerce_refuse(ret, "order-id-invalid", "the id of an order is a positive number of 64 bits");
    if (place->customer_id <= 0)
        return commerce_refuse(ret, "customer-invalid", "an order has a customer");
    if (!check_texts(texts, COMMERCE_COUNT(texts), ret) ||
        !take_lines(place, placed.order_id, out, &placed.lines, ret) ||
        !check_totals(&placed.lines, &placed.items_total, &placed.freight_total, ret))
        return false;
    if (order->exists && is_repeat(order, place, &placed.lines))
        return true;
    if (exists)
        return commerce_refuse(ret, "order-exists", "another order with this id was placed before");
    commerce_emit(out, command, ORDER_PLACED, &placed);
    return true;
}

/* ---- ModifyOrder ---- */

static const struct order_line *find_line(const struct order *order, int64_t line_id)
{
    const struct order_line *lines = order->lines.items;

    for (size_t i = 0; i < order->lines.count; i++) {
        if (lines[i].line_id == line_id)
            return &lines[i];
    }
    return NULL;
}

static bool modify_line(const struct order *order, enum phase phase, const struct banyan_command *command,
                        struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct modify_order *modify = command->fields;
    const struct order_line *lines = order->lines.items, *line = find_line(order, modify->line_id);
    struct order_lines_changed changed = {.order_id = order->row.order_id};
    struct order_line *after, removed;
    size_t count = 0;

    if (line == NULL)
        return commerce_refuse(ret, "line-unknown", "the order has no such line");
    if (line->quantity == modify->quantity)
        return true;
    if (phase != PHASE_CREATED)
        return refuse_phase(order, phase, ret);
    if (modify->quantity < 0 || modify->quantity > QUANTITY_MAX)
        return commerce_refuse(ret, "quantity-invalid", "the quantity of a line is between 0 and 1,000,000");
    if (modify->quantity == 0 && order->lines.count == 1)
        return commerce_refuse(ret, "lines-missing", "the last line cannot be removed; cancel the order");
    after = banyan_arena_alloc(banyan_emitter_arena(out), order->lines.count * sizeof(*after));
    for (size_t i = 0; i < order->lines.count; i++) {
        after[count] = lines[i];
        if (&lines[i] == line)
            after[count].quantity = modify->quantity;
        count += after[count].quantity != 0 || &lines[i] != line;
    }
    changed.lines = (struct banyan_list){after, count};
    if (modify->quantity == 0) {
        removed = *line;
        changed.removed = (struct banyan_list){&removed, 1};
    }
    if (!check_totals(&changed.lines, &changed.items_total, &changed.freight_total, ret))
        return false;
    commerce_emit(out, command, ORDER_LINES_CHANGED, &changed);
    return true;
}

/* *new* where it is given. */
static struct banyan_str changed_text(struct banyan_str old, struct banyan_str new, bool *changed)
{
    struct banyan_str before = text_or_empty(old);

    if (new.data == NULL)
        return before;
    *changed |= !banyan_str_equal(before, new);
    return new;
}

static bool modify_address(const struct order *order, enum phase phase, const struct banyan_command *command,
                           struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct modify_order *modify = command->fields;
    const struct banyan_str *texts[] = {&modify->customer, &modify->city,        &modify->state,
                                        &modify->address,  &modify->postal_code, &modify->country};
    bool changed = false;
    struct order_address_changed address = {
        .order_id = order->row.order_id,
        .customer = changed_text(order->row.customer, modify->customer, &changed),
        .city = changed_text(order->row.city, modify->city, &changed),
        .state = changed_text(order->row.state, modify->state, &changed),
        .address = changed_text(order->address, modify->address, &changed),
        .postal_code = changed_text(order->postal_code, modify->postal_code, &changed),
        .country = changed_text(order->country, modify->country, &changed),
    };

    if (!changed)
        return true;
    if (phase != PHASE_CREATED && phase != PHASE_APPROVED)
        return refuse_phase(order, phase, ret);
    if (!check_texts(texts, COMMERCE_COUNT(texts), ret))
        return false;
    commerce_emit(out, command, ORDER_ADDRESS_CHANGED, &address);
    return true;
}

/* ---- the steps ---- */

static bool confirm(const struct order *order, const struct banyan_command *command, enum phase phase,
                    struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct confirm_order *confirm = command->fields;
    struct order_confirmed confirmed = {order->row.order_id, confirm->paid};

    if (phase == PHASE_APPROVED || phase == PHASE_SHIPPED || phase == PHASE_DELIVERED)
        return true;
    if (phase != PHASE_CREATED)
        return refuse_phase(order, phase, ret);
    commerce_emit(out, command, ORDER_CONFIRMED, &confirmed);
    return true;
}

static bool ship(const struct order *order, const struct banyan_command *command, enum phase phase,
                 struct banyan_emitter *out, struct banyan_refusal *ret)
{
    struct order_shipped shipped = {order->row.order_id};

    if (phase == PHASE_SHIPPED || phase == PHASE_DELIVERED)
        return true;
    if (phase != PHASE_APPROVED)
        return refuse_phase(order, phase, ret);
    commerce_emit(out, command, ORDER_SHIPPED, &shipped);
    return true;
}

static bool complete(const struct order *order, const struct banyan_command *command, enum phase phase,
                     struct banyan_emitter *out, struct banyan_refusal *ret)
{
    struct order_completed completed = {order->row.order_id};

    if (phase == PHASE_DELIVERED)
        return true;
    if (phase != PHASE_SHIPPED)
        return refuse_phase(order, phase, ret);
    commerce_emit(out, command, ORDER_COMPLETED, &completed);
    return true;
}

/* CancelOrder and RejectOrder. */
static bool end(const struct order *order, const struct banyan_command *command, enum phase phase,
                struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct order_end *end = command->fields;
    const struct banyan_str *texts[] = {&end->reason};
    struct order_canceled canceled = {order->row.order_id, text_or_empty(end->reason)};
    struct order_rejected rejected = {order->row.order_id, text_or_empty(end->reason)};
    bool cancel = command->type == ORDER_CANCEL;

    if (phase == (cancel ? PHASE_CANCELED : PHASE_REJECTED))
        return true;
    if (phase != PHASE_CREATED && (phase != PHASE_APPROVED || !cancel))
        return refuse_phase(order, phase, ret);
    if (!check_texts(texts, COMMERCE_COUNT(texts), ret))
        return false;
    commerce_emit(out, command, cancel ? ORDER_CANCELED : ORDER_REJECTED,
                  cancel ? (const void *)&canceled : (const void *)&rejected);
    return true;
}

bool commerce_order_decide(const void *state, bool exists, const struct banyan_command *command,
                           struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct order *order = state;
    enum phase phase = phase_of(order);

    if (command->type != ORDER_PLACE && phase == PHASE_NONE)
        return refuse_phase(order, phase, ret);
    switch ((enum order_command)command->type) {
    case ORDER_PLACE:
        return place(order, exists, command, out, ret);
    case ORDER_MODIFY:
        return (((const struct modify_order *)command->fields)->line_id == 0 ||
                modify_line(order, phase, command, out, ret)) &&
               modify_address(order, phase, command, out, ret);
    case ORDER_CONFIRM:
        return confirm(order, command, phase, out, ret);
    case ORDER_SHIP:
        return ship(order, command, phase, out, ret);
    case ORDER_COMPLETE:
        return complete(order, command, phase, out, ret);
    case ORDER_CANCEL:
    case ORDER_REJECT:
        return end(order, command, phase, out, ret);
    case ORDER_COMMAND_COUNT:
        break;
    }
    return commerce_refuse(ret, "command-unknown", "orders have no such command");
}
