// SPDX-License-Identifier: Apache-2.0
/* The requests that change orders.  Each is one transaction with one timestamp, which goes to orders.updated_at,
 * audit_log."timestamp" and trades.executed_at alike.  Changes lock their orders first, in the order of their ids. */
#include "server.h"

#include "../common/faults.h"
#include "../common/money.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Columns of the statement "lock". */
enum { LOCK_ORDER_ID, LOCK_STATUS, LOCK_QUANTITY, LOCK_PRICE, LOCK_FILLED, LOCK_TIME };

struct fill {
    int64_t order_id;
    int64_t quantity;
    int64_t price;
};

static json_t *body_parse(const struct request *request, struct reply *reply)
{
    json_error_t error;
    json_t *body = json_loadb(request->body, request->body_length, JSON_REJECT_DUPLICATES, &error);

    if (!body)
        reply_error(reply, 400, "the body is not JSON: %s", error.text);
    else if (!json_is_object(body))
        reply_error(reply, 400, "the body must be a JSON object");
    if (reply->code) {
        json_decref(body);
        return NULL;
    }
    return body;
}

/* Amounts come as strings, or as whole numbers: a JSON number with decimals may not be exact. */
static bool amount_get(const json_t *body, const char *name, int64_t *ret_units, struct reply *reply)
{
    const json_t *value = json_object_get(body, name);
    int64_t units = 0;

    if (json_is_string(value) && money_parse(json_string_value(value), &units) && units > 0) {
        *ret_units = units;
        return true;
    }
    if (json_is_integer(value) && json_integer_value(value) > 0 && json_integer_value(value) <= 9999999999) {
        *ret_units = json_integer_value(value) * MONEY_ONE;
        return true;
    }
    reply_error(reply, 400, "%s must be above 0 and a string such as \"12.50\" with up to 8 decimals", name);
    return false;
}

static bool id_get(const json_t *body, const char *name, int64_t *ret_id, struct reply *reply)
{
    const json_t *value = json_object_get(body, name);

    if (json_is_integer(value) && json_integer_value(value) > 0) {
        *ret_id = json_integer_value(value);
        return true;
    }
    reply_error(reply, 400, "%s must be a whole number above 0", name);
    return false;
}

/* The application's clock is used only under the fault "order"; else the database's, under the row locks. */
static const char *application_time(const struct db *db, const struct request *request, char text[24])
{
    int64_t at_us = request->arrived_us;

    if (!(db->faults & FAULT_ORDER))
        return NULL;
    if (db->faults & FAULT_TIES)
        at_us -= at_us % 1000;
    snprintf(text, 24, "%" PRId64, at_us);
    return text;
}

void order_place(struct db *db, const struct request *request, struct reply *reply)
{
    json_t *body = body_parse(request, reply);
    PGresult *result = NULL;
    const char *symbol = NULL, *side = NULL;
    int64_t order_id = 0, trader_id = 0, quantity = 0, price = 0;
    char order_text[24], trader_text[24], quantity_text[MONEY_TEXT_MAX], price_text[MONEY_TEXT_MAX], time_text[24];

    if (!body || !id_get(body, "trader_id", &trader_id, reply) || !amount_get(body, "quantity", &quantity, reply) ||
        !amount_get(body, "price", &price, reply))
        goto out;
    if (json_object_get(body, "order_id") && !id_get(body, "order_id", &order_id, reply))
        goto out;
    symbol = json_string_value(json_object_get(body, "symbol"));
    side = json_string_value(json_object_get(body, "side"));
    if (!symbol || !*symbol || strlen(symbol) > 32) {
        reply_error(reply, 400, "symbol must have 1 to 32 characters");
        goto out;
    }
    if (!side || (strcmp(side, "BUY") != 0 && strcmp(side, "SELL") != 0)) {
        reply_error(reply, 400, "side must be BUY or SELL");
        goto out;
    }
    snprintf(order_text, sizeof(order_text), "%" PRId64, order_id);
    snprintf(trader_text, sizeof(trader_text), "%" PRId64, trader_id);
    money_format(quantity_text, quantity);
    money_format(price_text, price);
    const char *values[] = {order_id ? order_text : NULL,
                            trader_text,
                            symbol,
                            side,
                            quantity_text,
                            price_text,
                            application_time(db, request, time_text)};
    if (!db_begin(db, reply) || !(result = db_run(db, reply, "place", 7, values)) || !db_commit(db, reply))
        goto out;
    reply->code = 201;
    reply->body = json_pack("{s:I, s:s, s:s}", "order_id", (json_int_t)strtoll(PQgetvalue(result, 0, 0), NULL, 10),
                            "status", PQgetvalue(result, 0, 1), "created_at", PQgetvalue(result, 0, 2));
out:
    db_rollback(db);
    PQclear(result);
    json_decref(body);
}

/* Begins the transaction and locks one order that is still open.  NULL when the reply already says why not. */
static PGresult *begin_and_lock(struct db *db, const struct request *request, int64_t order_id, struct reply *reply)
{
    char ids[32], time_text[24];
    const char *values[] = {ids, application_time(db, request, time_text)};
    PGresult *locked = NULL;
    const char *status;

    snprintf(ids, sizeof(ids), "{%" PRId64 "}", order_id);
    if (!db_begin(db, reply) || !(locked = db_run(db, reply, "lock", 2, values)))
        return NULL;
    if (PQntuples(locked) == 0) {
        reply_error(reply, 404, "there is no order %" PRId64, order_id);
    } else {
        status = PQgetvalue(locked, 0, LOCK_STATUS);
        if (strcmp(status, "FILLED") == 0 || strcmp(status, "CANCELED") == 0)
            reply_error(reply, 409, "order %" PRId64 " is %s", order_id, status);
    }
    if (reply->code) {
        PQclear(locked);
        return NULL;
    }
    return locked;
}

static bool audit_write(struct db *db, struct reply *reply, const char *order_id, const char *field, const char *before,
                        const char *after, const char *at)
{
    const char *values[] = {order_id, field, before, after, at};
    PGresult *result = db_run(db, reply, "audit", 5, values);

    PQclear(result);
    return result != NULL;
}

/* Writes the changes of a modification to the locked order; *ret_audited says whether the audit log has them. */
static bool modify_write(struct db *db, struct reply *reply, const PGresult *locked, const char *price,
                         const char *quantity, bool *ret_audited)
{
    const char *id = PQgetvalue(locked, 0, LOCK_ORDER_ID), *at = PQgetvalue(locked, 0, LOCK_TIME);
    const char *price_before = PQgetvalue(locked, 0, LOCK_PRICE);
    const char *quantity_before = PQgetvalue(locked, 0, LOCK_QUANTITY);
    const char *values[] = {id, price, quantity, at};
    bool audited = !faults_skip_audit(db->faults, &db->rng);
    PGresult *result = db_run(db, reply, "modify", 4, values);

    PQclear(result);
    if (!result)
        return false;
    if (audited && strcmp(price, price_before) != 0 && !audit_write(db, reply, id, "price", price_before, price, at))
        return false;
    if (audited && strcmp(quantity, quantity_before) != 0 &&
        !audit_write(db, reply, id, "quantity", quantity_before, quantity, at))
        return false;
    *ret_audited = audited;
    return true;
}

void order_modify(struct db *db, const struct request *request, int64_t order_id, struct reply *reply)
{
    json_t *body = body_parse(request, reply);
    PGresult *locked = NULL;
    int64_t price = 0, quantity = 0, filled = 0;
    char price_text[MONEY_TEXT_MAX], quantity_text[MONEY_TEXT_MAX];
    bool audited = false;
    int changed;

    if (!body)
        goto out;
    if ((json_object_get(body, "price") && !amount_get(body, "price", &price, reply)) ||
        (json_object_get(body, "quantity") && !amount_get(body, "quantity", &quantity, reply)))
        goto out;
    if (!price && !quantity) {
        reply_error(reply, 400, "give price, quantity or both");
        goto out;
    }
    if (!(locked = begin_and_lock(db, request, order_id, reply)))
        goto out;
    if (!money_parse(PQgetvalue(locked, 0, LOCK_FILLED), &filled) || (quantity && quantity <= filled)) {
        reply_error(reply, 409, "%s of order %" PRId64 " is already filled", PQgetvalue(locked, 0, LOCK_FILLED),
                    order_id);
        goto out;
    }
    snprintf(price_text, sizeof(price_text), "%s", PQgetvalue(locked, 0, LOCK_PRICE));
    snprintf(quantity_text, sizeof(quantity_text), "%s", PQgetvalue(locked, 0, LOCK_QUANTITY));
    if (price)
        money_format(price_text, price);
    if (quantity)
        money_format(quantity_text, quantity);
    changed = (strcmp(price_text, PQgetvalue(locked, 0, LOCK_PRICE)) != 0) +
              (strcmp(quantity_text, PQgetvalue(locked, 0, LOCK_QUANTITY)) != 0);
    if (changed && !modify_write(db, reply, locked, price_text, quantity_text, &audited))
        goto out;
    if (!db_commit(db, reply))
        goto out;
    reply->code = 200;
    reply->body = json_pack("{s:I, s:s, s:i, s:b, s:s, s:s}", "order_id", (json_int_t)order_id, "status",
                            PQgetvalue(locked, 0, LOCK_STATUS), "changed", changed, "audited", audited, "price",
                            price_text, "quantity", quantity_text);
out:
    db_rollback(db);
    PQclear(locked);
    json_decref(body);
}

void order_cancel(struct db *db, const struct request *request, int64_t order_id, struct reply *reply)
{
    PGresult *locked = begin_and_lock(db, request, order_id, reply), *result = NULL;
    bool timed = !(db->faults & FAULT_CANCEL_TIME);

    if (!locked)
        goto out;
    const char *values[] = {PQgetvalue(locked, 0, LOCK_ORDER_ID), PQgetvalue(locked, 0, LOCK_TIME)};
    if (!(result = db_run(db, reply, timed ? "cancel" : "cancel-untimed", timed ? 2 : 1, values)))
        goto out;
    if (timed &&
        !audit_write(db, reply, values[0], "status", PQgetvalue(locked, 0, LOCK_STATUS), "CANCELED", values[1]))
        goto out;
    if (!db_commit(db, reply))
        goto out;
    reply->code = 200;
    reply->body =
        json_pack("{s:I, s:s, s:b}", "order_id", (json_int_t)order_id, "status", "CANCELED", "audited", timed);
out:
    db_rollback(db);
    PQclear(result);
    PQclear(locked);
}

static int fill_compare(const void *a, const void *b)
{
    const struct fill *x = a, *y = b;

    return (x->order_id > y->order_id) - (x->order_id < y->order_id);
}

/* Locks all orders of the fills, which are sorted by order id, and refuses what cannot be filled. */
static PGresult *lock_for_fills(struct db *db, const struct request *request, const struct fill *fills, int count,
                                struct reply *reply)
{
    char ids[FILLS_MAX * 21 + 3], time_text[24];
    const char *values[] = {ids, application_time(db, request, time_text)};
    PGresult *locked;
    size_t length = 0;
    int row = 0;

    for (int i = 0; i < count; i++)
        length += (size_t)snprintf(ids + length, sizeof(ids) - length, "%c%" PRId64, i ? ',' : '{', fills[i].order_id);
    snprintf(ids + length, sizeof(ids) - length, "}");
    if (!db_begin(db, reply) || !(locked = db_run(db, reply, "lock", 2, values)))
        return NULL;
    for (int i = 0; i < count && !reply->code; i++, row++) {
        int64_t quantity = 0, filled = 0;
        const char *status;

        if (row >= PQntuples(locked) ||
            strtoll(PQgetvalue(locked, row, LOCK_ORDER_ID), NULL, 10) != fills[i].order_id) {
            reply_error(reply, 404, "there is no order %" PRId64, fills[i].order_id);
            break;
        }
        status = PQgetvalue(locked, row, LOCK_STATUS);
        if (strcmp(status, "FILLED") == 0 || strcmp(status, "CANCELED") == 0)
            reply_error(reply, 409, "order %" PRId64 " is %s", fills[i].order_id, status);
        else if (!money_parse(PQgetvalue(locked, row, LOCK_QUANTITY), &quantity) ||
                 !money_parse(PQgetvalue(locked, row, LOCK_FILLED), &filled) || fills[i].quantity > quantity - filled)
            reply_error(reply, 409, "order %" PRId64 " has less than that left to fill", fills[i].order_id);
    }
    if (reply->code) {
        PQclear(locked);
        return NULL;
    }
    return locked;
}

/* One fill of a locked order: the trade and the new state of the order.  Gives what the order is now, or NULL. */
static json_t *fill_write(struct db *db, struct reply *reply, const struct fill *fill, const char *at)
{
    char id[24], quantity[MONEY_TEXT_MAX], price[MONEY_TEXT_MAX];
    const char *values[] = {id, quantity, price, at};
    PGresult *trade = NULL, *order = NULL;
    json_t *state = NULL;

    snprintf(id, sizeof(id), "%" PRId64, fill->order_id);
    money_format(quantity, fill->quantity);
    money_format(price, fill->price);
    if ((trade = db_run(db, reply, "trade", 4, values)) && (order = db_run(db, reply, "fill", 4, values)))
        state = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s}", "order_id", (json_int_t)fill->order_id, "trade_id",
                          (json_int_t)strtoll(PQgetvalue(trade, 0, 0), NULL, 10), "status", PQgetvalue(order, 0, 1),
                          "filled_quantity", PQgetvalue(order, 0, 2), "avg_fill_price", PQgetvalue(order, 0, 3),
                          "remaining", PQgetvalue(order, 0, 4));
    PQclear(order);
    PQclear(trade);
    return state;
}

/* All fills in one transaction.  Gives the array of the orders' new states, or NULL. */
static json_t *fills_run(struct db *db, const struct request *request, struct fill *fills, int count,
                         struct reply *reply)
{
    PGresult *locked = NULL;
    json_t *states = json_array();

    qsort(fills, (size_t)count, sizeof(fills[0]), fill_compare);
    for (int i = 1; i < count; i++)
        if (fills[i].order_id == fills[i - 1].order_id)
            reply_error(reply, 400, "order %" PRId64 " is named twice", fills[i].order_id);
    if (reply->code || !(locked = lock_for_fills(db, request, fills, count, reply)))
        goto out;
    for (int i = 0; i < count; i++) {
        json_t *state = fill_write(db, reply, &fills[i], PQgetvalue(locked, 0, LOCK_TIME));

        if (!state)
            goto out;
        json_array_append_new(states, state);
    }
    (void)db_commit(db, reply); /* a failure shows in the reply */
out:
    db_rollback(db);
    PQclear(locked);
    if (reply->code) {
        json_decref(states);
        return NULL;
    }
    return states;
}

void order_fill(struct db *db, const struct request *request, int64_t order_id, struct reply *reply)
{
    json_t *body = body_parse(request, reply), *states = NULL;
    struct fill fill = {.order_id = order_id};

    if (body && amount_get(body, "quantity", &fill.quantity, reply) && amount_get(body, "price", &fill.price, reply))
        states = fills_run(db, request, &fill, 1, reply);
    if (states) {
        reply->code = 200;
        reply->body = json_incref(json_array_get(states, 0));
    }
    json_decref(states);
    json_decref(body);
}

void orders_fill(struct db *db, const struct request *request, struct reply *reply)
{
    json_t *body = body_parse(request, reply), *list, *states = NULL;
    struct fill fills[FILLS_MAX];
    size_t count;

    if (!body)
        return;
    list = json_object_get(body, "fills");
    count = json_array_size(list);
    if (count == 0 || count > FILLS_MAX)
        reply_error(reply, 400, "fills must be an array of 1 to %d fills", FILLS_MAX);
    for (size_t i = 0; i < count && !reply->code; i++) {
        const json_t *item = json_array_get(list, i);

        if (id_get(item, "order_id", &fills[i].order_id, reply) &&
            amount_get(item, "quantity", &fills[i].quantity, reply))
            (void)amount_get(item, "price", &fills[i].price, reply); /* a failure shows in the reply */
    }
    if (!reply->code)
        states = fills_run(db, request, fills, (int)count, reply);
    if (states) {
        reply->code = 200;
        reply->body = json_pack("{s:o}", "orders", states);
    }
    json_decref(body);
}
