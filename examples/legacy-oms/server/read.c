// SPDX-License-Identifier: Apache-2.0
/* The requests that read orders, and the routing of all requests. */
#include "server.h"

#include "../common/faults.h"

#include <errno.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A row of orders: ids are numbers, amounts are strings. */
static json_t *order_json(const PGresult *result, int row)
{
    json_t *order = json_object();

    for (int column = 0; column < PQnfields(result); column++) {
        const char *value = PQgetvalue(result, row, column);

        if (PQgetisnull(result, row, column))
            json_object_set_new(order, PQfname(result, column), json_null());
        else if (column < 2)
            json_object_set_new(order, PQfname(result, column), json_integer(strtoll(value, NULL, 10)));
        else
            json_object_set_new(order, PQfname(result, column), json_string(value));
    }
    return order;
}

void order_get(struct db *db, int64_t order_id, struct reply *reply)
{
    char id[24];
    const char *values[] = {id};
    PGresult *result;

    snprintf(id, sizeof(id), "%lld", (long long)order_id);
    result = db_run(db, reply, "get", 1, values);
    if (!result)
        return;
    if (PQntuples(result) == 0) {
        reply_error(reply, 404, "there is no order %s", id);
    } else {
        reply->code = 200;
        reply->body = order_json(result, 0);
    }
    PQclear(result);
}

void orders_list(struct db *db, const struct request *request, struct reply *reply)
{
    const char *trader = evhttp_find_header(request->query, "trader_id");
    const char *symbol = evhttp_find_header(request->query, "symbol");
    const char *limit = evhttp_find_header(request->query, "limit");
    char limit_text[24];
    const char *values[] = {trader ? trader : symbol, evhttp_find_header(request->query, "from"),
                            evhttp_find_header(request->query, "to"), limit_text};
    long rows = limit ? strtol(limit, NULL, 10) : 100;
    PGresult *result;
    json_t *list;

    if (!trader == !symbol) {
        reply_error(reply, 400, "give trader_id or symbol");
        return;
    }
    if (rows < 1 || rows > LIST_MAX) {
        reply_error(reply, 400, "limit must be 1 to %d", LIST_MAX);
        return;
    }
    snprintf(limit_text, sizeof(limit_text), "%ld", rows);
    result = db_run(db, reply, trader ? "list-trader" : "list-symbol", 4, values);
    if (!result)
        return;
    list = json_array();
    for (int row = 0; row < PQntuples(result); row++)
        json_array_append_new(list, order_json(result, row));
    reply->code = 200;
    reply->body = json_pack("{s:o}", "orders", list);
    PQclear(result);
}

void health_get(struct db *db, struct reply *reply)
{
    PGresult *result = db_run(db, reply, "health", 0, NULL);

    if (result) {
        reply->code = 200;
        reply->body = json_pack("{s:s}", "status", "ok");
    }
    PQclear(result);
}

static void route_order(struct db *db, const struct request *request, const char *rest, struct reply *reply)
{
    char *verb;
    int64_t order_id;

    errno = 0;
    order_id = strtoll(rest, &verb, 10);
    if (verb == rest || errno || order_id <= 0)
        reply_error(reply, 404, "there is no such order");
    else if (request->method == METHOD_GET && *verb == '\0')
        order_get(db, order_id, reply);
    else if (request->method == METHOD_POST && strcmp(verb, "/modify") == 0)
        order_modify(db, request, order_id, reply);
    else if (request->method == METHOD_POST && strcmp(verb, "/cancel") == 0)
        order_cancel(db, request, order_id, reply);
    else if (request->method == METHOD_POST && strcmp(verb, "/fill") == 0)
        order_fill(db, request, order_id, reply);
    else
        reply_error(reply, 404, "there is nothing at this path for this method");
}

void route(struct db *db, const struct request *request, struct reply *reply)
{
    const char *path = request->path;

    if (strncmp(path, "/orders/", 8) == 0)
        route_order(db, request, path + 8, reply);
    else if (strcmp(path, "/orders") == 0 && request->method == METHOD_POST)
        order_place(db, request, reply);
    else if (strcmp(path, "/orders") == 0 && request->method == METHOD_GET)
        orders_list(db, request, reply);
    else if (strcmp(path, "/fills") == 0 && request->method == METHOD_POST)
        orders_fill(db, request, reply);
    else if (strcmp(path, "/health") == 0 && request->method == METHOD_GET)
        health_get(db, reply);
    else
        reply_error(reply, 404, "there is nothing at this path for this method");
}
