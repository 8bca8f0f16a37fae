/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the legacy application answers: its JSON, member by member in its order, its texts of errors.
 *
 * One thing differs: the number of a trade.  The application takes it from a sequence; here it is the position of the
 * fill's event, which is as unique, and grows.  The row that the mirror writes has a number of the sequence.
 */
#include "facade.h"

#include "current_orders.h"
#include "order.h"
#include "values.h"

enum {
    ANSWER_BYTES_MAX = 16 * 1024 * 1024,
};

/* ---- pieces ---- */

/* A field of the order's row as the application prints it: numbers and NULL plain, all else a string. */
static void add_column(struct banyan_buf *out, const struct banyan_field *field, const struct order_row *row)
{
    struct banyan_buf text = BANYAN_BUF_INIT(ANSWER_BYTES_MAX);
    const char *value = (const char *)row + field->offset;

    banyan_field_text(field, row, &text);
    if (field->kind == BANYAN_FIELD_INT)
        banyan_buf_add_str(out, banyan_buf_str(&text));
    else if (text.size == 0 &&
             !(field->kind == BANYAN_FIELD_STRING && ((const struct banyan_str *)value)->data != NULL))
        banyan_buf_add_text(out, "null");
    else
        banyan_buf_add_json(out, banyan_buf_str(&text));
    banyan_buf_release(&text);
}

static const struct banyan_field *column(const char *name)
{
    return banyan_record_field(&order_row_record, banyan_str_of(name));
}

/* ,"<as>":<value> */
static void add_member(struct banyan_buf *out, const char *as, const char *name, const struct order_row *row)
{
    banyan_buf_add_text(out, ",\"");
    banyan_buf_add_text(out, as);
    banyan_buf_add_text(out, "\":");
    add_column(out, column(name), row);
}

static void add_order(struct banyan_buf *out, const struct order_row *row)
{
    for (size_t i = 0; i < order_row_record.field_count; i++) {
        const struct banyan_field *field = &order_row_record.fields[i];

        banyan_buf_add_text(out, i == 0 ? "{\"" : ",\"");
        banyan_buf_add_text(out, field->name);
        banyan_buf_add_text(out, "\":");
        add_column(out, field, row);
    }
    banyan_buf_add_char(out, '}');
}

/* Every answer is JSON and ends with a line end. */
static void finish(struct banyan_buf *body, int code, struct banyan_arena *arena, struct banyan_response *ret)
{
    banyan_buf_add_char(body, '\n');
    *ret = (struct banyan_response){code, "application/json", banyan_arena_str(arena, banyan_buf_str(body))};
    banyan_buf_release(body);
}

static void answer_error(int code, struct banyan_str text, struct banyan_arena *arena, struct banyan_response *ret)
{
    struct banyan_buf body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX);

    banyan_buf_add_text(&body, "{\"error\":");
    banyan_buf_add_json(&body, text);
    banyan_buf_add_char(&body, '}');
    finish(&body, code, arena, ret);
}

/* ---- writes ---- */

static struct banyan_str refusal_text(const struct banyan_outcome *outcome, struct banyan_arena *arena, int *ret_code)
{
    struct banyan_str code = banyan_str_of(outcome->refusal.code);
    const struct order *order = outcome->state;
    long long id = outcome->key;
    char filled[BANYAN_DECIMAL_TEXT_MAX];

    *ret_code = 409;
    if (banyan_str_equal(code, BANYAN_STR("order-unknown"))) {
        *ret_code = 404;
        return banyan_arena_printf(arena, "there is no order %lld", id);
    }
    if (banyan_str_equal(code, BANYAN_STR("order-filled")) || banyan_str_equal(code, BANYAN_STR("order-canceled")))
        return banyan_arena_printf(arena, "order %lld is %.*s", id, (int)order->row.status.size,
                                   order->row.status.data);
    if (banyan_str_equal(code, BANYAN_STR("quantity-filled"))) {
        (void)banyan_decimal_format(order->row.filled_quantity, filled);
        return banyan_arena_printf(arena, "%s of order %lld is already filled", filled, id);
    }
    if (banyan_str_equal(code, BANYAN_STR("quantity-exceeded")))
        return banyan_arena_printf(arena, "order %lld has less than that left to fill", id);
    if (banyan_str_equal(code, BANYAN_STR("order-exists")))
        return BANYAN_STR("duplicate key value violates unique constraint \"orders_pkey\" (SQLSTATE 23505)");
    return outcome->refusal.text;
}

static void add_fill(struct banyan_buf *out, const struct banyan_outcome *outcome)
{
    const struct order *order = outcome->state;
    struct banyan_decimal left = value_sub(order->row.quantity, order->row.filled_quantity);
    char remaining[BANYAN_DECIMAL_TEXT_MAX];

    (void)banyan_decimal_format(left, remaining);
    banyan_buf_printf(out, "{\"order_id\":%lld,\"trade_id\":%llu", (long long)outcome->key,
                      (unsigned long long)outcome->position.value);
    add_member(out, "status", "status", &order->row);
    add_member(out, "filled_quantity", "filled_quantity", &order->row);
    add_member(out, "avg_fill_price", "avg_fill_price", &order->row);
    banyan_buf_printf(out, ",\"remaining\":\"%s\"}", remaining);
}

static void add_accepted(struct banyan_buf *out, enum facade_request kind, const struct banyan_outcome *outcomes,
                         size_t count)
{
    const struct order *order = outcomes[0].state;

    if (kind == FACADE_FILL) {
        add_fill(out, &outcomes[0]);
        return;
    }
    if (kind == FACADE_FILLS) {
        banyan_buf_add_text(out, "{\"orders\":[");
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                banyan_buf_add_char(out, ',');
            add_fill(out, &outcomes[i]);
        }
        banyan_buf_add_text(out, "]}");
        return;
    }
    banyan_buf_printf(out, "{\"order_id\":%lld", (long long)outcomes[0].key);
    add_member(out, "status", "status", &order->row);
    if (kind == FACADE_PLACE)
        add_member(out, "created_at", "created_at", &order->row);
    if (kind == FACADE_CANCEL)
        banyan_buf_add_text(out, ",\"audited\":true");
    if (kind == FACADE_MODIFY) {
        banyan_buf_printf(out, ",\"changed\":%zu,\"audited\":%s", outcomes[0].event_count,
                          outcomes[0].event_count > 0 ? "true" : "false");
        add_member(out, "price", "price", &order->row);
        add_member(out, "quantity", "quantity", &order->row);
    }
    banyan_buf_add_char(out, '}');
}

static void answer(const struct banyan_request *request, const struct banyan_route *route,
                   const struct banyan_outcome *outcomes, struct banyan_arena *arena, struct banyan_response *ret)
{
    const struct facade_context *context = route->context;
    struct banyan_buf body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX);

    (void)request;
    for (size_t i = 0; i < route->part_count; i++) {
        if (!outcomes[i].accepted && outcomes[i].refusal.code != NULL) {
            int code;
            struct banyan_str text = refusal_text(&outcomes[i], arena, &code);

            answer_error(code, text, arena, ret);
            return;
        }
    }
    add_accepted(&body, context->kind, outcomes, route->part_count);
    finish(&body, context->kind == FACADE_PLACE ? 201 : 200, arena, ret);
}

/* ---- reads ---- */

static void answer_order(const struct order_row *row, int64_t key, struct banyan_arena *arena,
                         struct banyan_response *ret)
{
    struct banyan_buf body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX);

    if (row == NULL) {
        answer_error(404, banyan_arena_printf(arena, "there is no order %lld", (long long)key), arena, ret);
        return;
    }
    add_order(&body, row);
    finish(&body, 200, arena, ret);
}

static void read_state(const struct banyan_request *request, const struct banyan_route *route, const void *state,
                       bool exists, struct banyan_arena *arena, struct banyan_response *ret)
{
    const struct order *order = state;

    (void)request;
    answer_order(exists && order->exists ? &order->row : NULL, route->key, arena, ret);
}

static bool list_row(void *context, const void *row)
{
    struct banyan_buf *body = context;

    if (body->data[body->size - 1] != '[')
        banyan_buf_add_char(body, ',');
    add_order(body, row);
    return !body->overflow;
}

static void read(const struct banyan_request *request, const struct banyan_route *route, struct banyan_reader *reader,
                 struct banyan_arena *arena, struct banyan_response *ret)
{
    const struct facade_context *context = route->context;
    struct banyan_buf body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX);
    struct order_row row;

    (void)request;
    if (context->kind == FACADE_GET) {
        answer_order(banyan_reader_get(reader, 0, route->key, &row) ? &row : NULL, route->key, arena, ret);
        return;
    }
    banyan_buf_add_text(&body, "{\"orders\":[");
    banyan_reader_each(reader,
                       &(struct banyan_reader_list){
                           .table = 0,
                           .index = &current_orders.tables[0].indexes[context->kind == FACADE_LIST_TRADER ? 0 : 1],
                           .equal = context->equal,
                           .from = context->from,
                           .to = context->to,
                           .limit = context->limit,
                       },
                       list_row, &body);
    banyan_buf_add_text(&body, "]}");
    finish(&body, 200, arena, ret);
}

const struct banyan_facade trading_facade = {
    .route = facade_route,
    .split = facade_split,
    .answer = answer,
    .read = read,
    .read_state = read_state,
};
