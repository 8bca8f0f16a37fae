// SPDX-License-Identifier: Apache-2.0
/* The lives of orders: placed, perhaps modified or canceled, paid, packed, shipped, delivered.  Which order is moved,
 * and how, is drawn from the seed; what the server answers decides how it goes on. */
#include "load.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_MAX 512 /* orders that one life keeps in mind */
#define MOVES 5      /* of open orders in one turn */
#define SHIPMENTS_MAX 4
#define STOCK_MAX 10000

struct shipment {
    int64_t id;
    int step; /* 0 to be packed, 1 shipped, 2 delivered, 3 done */
};

struct open_order {
    int64_t id;
    int64_t item_id;
    bool paid;
    struct shipment shipments[SHIPMENTS_MAX];
    int shipment_count;
};

struct life {
    struct client client;
    uint64_t random;
    int number;
    int64_t *stock;
    size_t stock_count;
    struct open_order open[OPEN_MAX];
    int open_count;
    struct tally tally;
};

static uint64_t draw(struct life *life, uint64_t below)
{
    uint64_t z = (life->random += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

/* The answer as JSON where the request was done; else counted, and NULL. */
static json_t *request(struct life *life, const char *path, const char *body)
{
    int code = client_request(&life->client, path, body);

    if (code == 200 || code == 201)
        return json_loads(life->client.answer, 0, NULL);
    if (code >= 400 && code < 500)
        life->tally.refused++;
    else
        life->tally.errors++;
    return NULL;
}

/* True when it was done. */
static bool act(struct life *life, int64_t *count, const char *what, int64_t id, const char *verb, const char *body)
{
    char path[128];
    json_t *answer;

    snprintf(path, sizeof(path), "/%s/%" PRId64 "/%s", what, id, verb);
    answer = request(life, path, body);
    if (!answer)
        return false;
    ++*count;
    json_decref(answer);
    return true;
}

static void stock_read(struct life *life)
{
    json_t *answer = request(life, "/stock?limit=10000", NULL), *stock;
    size_t i;

    life->stock = calloc(STOCK_MAX, sizeof(life->stock[0]));
    json_array_foreach (json_object_get(answer, "stock"), i, stock)
        life->stock[life->stock_count++] = json_integer_value(json_object_get(stock, "stock_id"));
    json_decref(answer);
}

static void order_keep(struct life *life, const json_t *answer)
{
    struct open_order order = {.id = json_integer_value(json_object_get(answer, "order_id"))};
    const json_t *shipments = json_object_get(answer, "shipments");

    if (life->open_count == OPEN_MAX)
        return;
    order.item_id = json_integer_value(json_array_get(json_object_get(answer, "items"), 0));
    for (size_t i = 0; i < json_array_size(shipments) && i < SHIPMENTS_MAX; i++)
        order.shipments[order.shipment_count++].id = json_integer_value(json_array_get(shipments, i));
    life->open[life->open_count++] = order;
}

static void order_forget(struct life *life, struct open_order *order)
{
    *order = life->open[--life->open_count];
}

static void place(struct life *life)
{
    static const char *const cities[][3] = {{"sao paulo", "SP", "01000"},      {"rio de janeiro", "RJ", "20000"},
                                            {"belo horizonte", "MG", "30000"}, {"curitiba", "PR", "80000"},
                                            {"porto alegre", "RS", "90000"},   {"salvador", "BA", "40000"}};
    const char *const *city = cities[draw(life, 6)];
    uint64_t customer = draw(life, 1000), items = 1 + draw(life, 3);
    json_t *answer, *body, *list = json_array();
    int64_t stock = 0;
    char *text, name[64];

    for (uint64_t i = 0; i < items; i++) {
        stock = life->stock[draw(life, life->stock_count)];
        json_array_append_new(
            list, json_pack("{s:I, s:I}", "stock_id", (json_int_t)stock, "quantity", (json_int_t)(1 + draw(life, 3))));
    }
    snprintf(name, sizeof(name), "Customer %" PRIu64, customer);
    body = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "customer", name, "name", name, "zip", city[2], "city", city[0],
                     "state", city[1], "items", list);
    if (draw(life, 20) == 0)
        json_object_set_new(
            body, "payments",
            json_pack("[{s:s},{s:s,s:i}]", "method", "voucher", "method", "credit_card", "installments", 3));
    text = json_dumps(body, JSON_COMPACT);
    answer = request(life, "/orders", text);
    if (answer) {
        life->tally.placed++;
        order_keep(life, answer);
    } else {
        (void)act(life, &life->tally.received, "stock", stock, "receive", "{\"quantity\":200}");
    }
    json_decref(answer);
    json_decref(body);
    free(text);
}

static void ship(struct life *life, struct open_order *order)
{
    struct tally *tally = &life->tally;
    struct shipment *shipment = order->shipments;
    struct shipment *end = order->shipments + order->shipment_count;
    bool done = false;

    while (shipment < end && shipment->step == 3)
        shipment++;
    if (shipment == end) {
        order_forget(life, order);
        return;
    }
    if (shipment->step == 0)
        done = act(life, &tally->packed, "shipments", shipment->id, "pack", "{}");
    else if (shipment->step == 1)
        done =
            act(life, &tally->shipped, "shipments", shipment->id, "ship", "{\"carrier\":\"truck\",\"tracking\":\"T\"}");
    else
        done = act(life, &tally->delivered, "shipments", shipment->id, "deliver", "{}");
    if (done)
        shipment->step++;
    else
        order_forget(life, order);
}

static void move(struct life *life)
{
    struct open_order *order;
    uint64_t luck = draw(life, 100);
    char body[128];

    if (life->open_count == 0)
        return;
    order = &life->open[draw(life, (uint64_t)life->open_count)];
    if (luck < 4) {
        (void)act(life, &life->tally.canceled, "orders", order->id, "cancel", "{}");
        order_forget(life, order);
    } else if (order->paid) {
        ship(life, order);
    } else if (luck < 20) {
        snprintf(body, sizeof(body), "{\"item_id\":%" PRId64 ",\"quantity\":%d}", order->item_id,
                 1 + (int)draw(life, 4));
        (void)act(life, &life->tally.modified, "orders", order->id, "modify",
                  luck < 7 ? "{\"city\":\"manaus\"}" : body);
    } else {
        order->paid = act(life, &life->tally.paid, "orders", order->id, "pay", "{}");
        if (!order->paid)
            order_forget(life, order);
    }
}

struct life *life_new(int port, uint64_t seed, int number)
{
    struct life *life = calloc(1, sizeof(*life));

    life->client = (struct client){.fd = -1, .port = port};
    life->random = seed * UINT64_C(0x2545f4914f6cdd1d) + (uint64_t)number;
    life->number = number;
    return life;
}

void life_turn(struct life *life)
{
    if (life->stock == NULL)
        stock_read(life);
    if (life->stock_count == 0) {
        life->tally.errors++;
        return;
    }
    place(life);
    for (int i = 0; i < MOVES; i++)
        move(life);
}

const struct tally *life_tally(const struct life *life)
{
    return &life->tally;
}

void life_free(struct life *life)
{
    client_close(&life->client);
    free(life->stock);
    free(life);
}
