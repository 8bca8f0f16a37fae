// SPDX-License-Identifier: Apache-2.0
/* Orders sit in one array, so that one can be drawn at random, with a hash table from the id to the place in it.
 * An order is busy while a request about it is on its way; so the driver never gets in its own way.
 * Lists of a trader's orders bring in open orders of others, such as seeded ones, unless they ended meanwhile. */
#include "book.h"

#include "../common/market.h"
#include "../common/money.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENDED_KEPT 4096 /* how many ended orders are remembered against late lists */
#define TRIES_MAX 40

struct open_order {
    int64_t order_id;
    int64_t quantity, filled, price;
    char symbol[33];
    bool is_buy, busy;
};

struct book {
    struct rng rng;
    int shares[OPERATION_COUNT];
    int shares_sum;
    struct open_order *orders;
    size_t count, room;
    size_t *slots; /* place in orders + 1, 0 for free; slot_count is a power of two above 2 * count */
    size_t slot_count;
    int64_t ended[ENDED_KEPT];
    int64_t ended_count;
    struct truth truth;
};

const char *const operation_names[OPERATION_COUNT] = {"place", "fill", "match", "modify", "cancel", "get", "list"};

static size_t slot_home(const struct book *book, int64_t order_id)
{
    struct rng rng = {.state = (uint64_t)order_id};

    return rng_next(&rng) & (book->slot_count - 1);
}

/* The slot that holds the order, or the free one where it would go. */
static size_t slot_find(const struct book *book, int64_t order_id)
{
    size_t slot = slot_home(book, order_id);

    while (book->slots[slot] && book->orders[book->slots[slot] - 1].order_id != order_id)
        slot = (slot + 1) & (book->slot_count - 1);
    return slot;
}

static struct open_order *order_find(struct book *book, int64_t order_id)
{
    size_t place = book->slots[slot_find(book, order_id)];

    return place ? &book->orders[place - 1] : NULL;
}

static void book_grow(struct book *book)
{
    book->room = book->room ? book->room * 2 : 1024;
    book->slot_count = book->room * 4;
    book->orders = realloc(book->orders, book->room * sizeof(book->orders[0]));
    free(book->slots);
    book->slots = calloc(book->slot_count, sizeof(book->slots[0]));
    if (!book->orders || !book->slots)
        abort();
    for (size_t i = 0; i < book->count; i++)
        book->slots[slot_find(book, book->orders[i].order_id)] = i + 1;
}

static void order_add(struct book *book, struct open_order order)
{
    if (order_find(book, order.order_id))
        return;
    if (book->count == book->room)
        book_grow(book);
    book->orders[book->count++] = order;
    book->slots[slot_find(book, order.order_id)] = book->count;
}

/* Takes the entry out of the hash table and closes the gap: later entries of the run move to where they are found. */
static void slot_clear(struct book *book, size_t slot)
{
    size_t mask = book->slot_count - 1, next = slot;

    book->slots[slot] = 0;
    for (;;) {
        size_t place, home;

        next = (next + 1) & mask;
        place = book->slots[next];
        if (!place)
            return;
        home = slot_home(book, book->orders[place - 1].order_id);
        if (((next - home) & mask) >= ((next - slot) & mask)) {
            book->slots[slot] = place;
            book->slots[next] = 0;
            slot = next;
        }
    }
}

/* The order has ended, or its state is not known any more. */
static void order_end(struct book *book, struct open_order *order)
{
    size_t place = (size_t)(order - book->orders), last = book->count - 1;

    book->ended[book->ended_count++ % ENDED_KEPT] = order->order_id;
    slot_clear(book, slot_find(book, order->order_id));
    if (place != last) {
        book->slots[slot_find(book, book->orders[last].order_id)] = place + 1;
        *order = book->orders[last];
    }
    book->count--;
}

static bool has_ended_since(const struct book *book, int64_t order_id, int64_t ended_before)
{
    if (book->ended_count - ended_before > ENDED_KEPT)
        return true;
    for (int64_t i = ended_before; i < book->ended_count; i++)
        if (book->ended[i % ENDED_KEPT] == order_id)
            return true;
    return false;
}

struct book *book_new(uint64_t seed, const int shares[OPERATION_COUNT])
{
    struct book *book = calloc(1, sizeof(*book));

    book->rng = rng_fork(seed, 1);
    for (int i = 0; i < OPERATION_COUNT; i++)
        book->shares_sum += book->shares[i] = shares[i];
    book_grow(book);
    return book;
}

void book_free(struct book *book)
{
    if (!book)
        return;
    free(book->orders);
    free(book->slots);
    free(book);
}

const struct truth *book_truth(const struct book *book)
{
    return &book->truth;
}

static struct open_order *order_pick(struct book *book)
{
    for (int i = 0; i < TRIES_MAX && book->count; i++) {
        struct open_order *order = &book->orders[rng_next(&book->rng) % book->count];

        if (!order->busy)
            return order;
    }
    return NULL;
}

/* The other side for a match. */
static struct open_order *order_pick_against(struct book *book, const struct open_order *order)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct open_order *other = &book->orders[rng_next(&book->rng) % book->count];

        if (!other->busy && other->is_buy != order->is_buy && strcmp(other->symbol, order->symbol) == 0)
            return other;
    }
    return NULL;
}

static void plan_place(struct book *book, struct plan *plan)
{
    char quantity[MONEY_TEXT_MAX], price[MONEY_TEXT_MAX];

    plan->operation = OPERATION_PLACE;
    plan->symbol = market_symbol_pick(&book->rng);
    plan->is_buy = rng_chance(&book->rng, 0.5);
    plan->quantities[0] = market_quantity_pick(&book->rng);
    plan->price = market_price_near(&book->rng, market_symbol_price(plan->symbol), 100);
    money_format(quantity, plan->quantities[0]);
    money_format(price, plan->price);
    snprintf(plan->path, sizeof(plan->path), "/orders");
    snprintf(plan->body, sizeof(plan->body),
             "{\"trader_id\":%" PRId64 ",\"symbol\":\"%s\",\"side\":\"%s\",\"quantity\":\"%s\",\"price\":\"%s\"}",
             market_trader_pick(&book->rng), market_symbol_name(plan->symbol), plan->is_buy ? "BUY" : "SELL", quantity,
             price);
}

/* A third of the fills completes the order. */
static int64_t fill_quantity(struct book *book, int64_t left)
{
    return rng_chance(&book->rng, 1.0 / 3) ? left : market_part_pick(&book->rng, left);
}

static void plan_fill(struct book *book, struct plan *plan, struct open_order *order)
{
    char quantity[MONEY_TEXT_MAX], price[MONEY_TEXT_MAX];

    plan->quantities[0] = fill_quantity(book, order->quantity - order->filled);
    money_format(quantity, plan->quantities[0]);
    money_format(price, market_price_near(&book->rng, order->price, 5));
    snprintf(plan->path, sizeof(plan->path), "/orders/%" PRId64 "/fill", order->order_id);
    snprintf(plan->body, sizeof(plan->body), "{\"quantity\":\"%s\",\"price\":\"%s\"}", quantity, price);
}

static void plan_match(struct book *book, struct plan *plan, struct open_order *order, struct open_order *other)
{
    char quantity[MONEY_TEXT_MAX], price[MONEY_TEXT_MAX];
    int64_t left = order->quantity - order->filled, other_left = other->quantity - other->filled;
    int64_t matched = fill_quantity(book, left < other_left ? left : other_left);

    plan->quantities[0] = plan->quantities[1] = matched;
    plan->order_ids[1] = other->order_id;
    other->busy = true;
    money_format(quantity, matched);
    money_format(price, order->price);
    snprintf(plan->path, sizeof(plan->path), "/fills");
    snprintf(plan->body, sizeof(plan->body),
             "{\"fills\":[{\"order_id\":%" PRId64 ",\"quantity\":\"%s\",\"price\":\"%s\"},"
             "{\"order_id\":%" PRId64 ",\"quantity\":\"%s\",\"price\":\"%s\"}]}",
             order->order_id, quantity, price, other->order_id, quantity, price);
}

static void plan_modify(struct book *book, struct plan *plan, struct open_order *order)
{
    char quantity[MONEY_TEXT_MAX], price[MONEY_TEXT_MAX];
    double kind = rng_unit(&book->rng);

    plan->price = order->price;
    plan->quantities[0] = order->quantity;
    while (kind < 0.75 && plan->price == order->price)
        plan->price = market_price_near(&book->rng, order->price, 20);
    while (kind >= 0.5 && plan->quantities[0] == order->quantity)
        plan->quantities[0] = order->filled + market_quantity_pick(&book->rng);
    money_format(quantity, plan->quantities[0]);
    money_format(price, plan->price);
    snprintf(plan->path, sizeof(plan->path), "/orders/%" PRId64 "/modify", order->order_id);
    if (kind < 0.5)
        snprintf(plan->body, sizeof(plan->body), "{\"price\":\"%s\"}", price);
    else if (kind >= 0.75)
        snprintf(plan->body, sizeof(plan->body), "{\"quantity\":\"%s\"}", quantity);
    else
        snprintf(plan->body, sizeof(plan->body), "{\"price\":\"%s\",\"quantity\":\"%s\"}", price, quantity);
}

static void plan_list(struct book *book, struct plan *plan)
{
    if (rng_chance(&book->rng, 0.5))
        snprintf(plan->path, sizeof(plan->path), "/orders?trader_id=%" PRId64 "&limit=20",
                 market_trader_pick(&book->rng));
    else
        snprintf(plan->path, sizeof(plan->path), "/orders?symbol=%s&limit=20",
                 market_symbol_name(market_symbol_pick(&book->rng)));
}

void book_plan(struct book *book, struct plan *ret_plan)
{
    struct plan *plan = ret_plan;
    int at = (int)rng_between(&book->rng, 0, book->shares_sum - 1), operation = 0;
    struct open_order *order = NULL, *other = NULL;

    *plan = (struct plan){.ended_before = book->ended_count};
    while (at >= book->shares[operation])
        at -= book->shares[operation++];
    plan->operation = (enum operation)operation;
    if (operation == OPERATION_LIST) {
        plan_list(book, plan);
        return;
    }
    if (operation == OPERATION_PLACE || !(order = order_pick(book))) {
        plan_place(book, plan);
        return;
    }
    plan->order_ids[0] = order->order_id;
    order->busy = operation != OPERATION_GET;
    if (operation == OPERATION_MATCH && !(other = order_pick_against(book, order)))
        plan->operation = OPERATION_FILL;
    switch (plan->operation) {
    case OPERATION_FILL:
        plan_fill(book, plan, order);
        break;
    case OPERATION_MATCH:
        plan_match(book, plan, order, other);
        break;
    case OPERATION_MODIFY:
        plan_modify(book, plan, order);
        break;
    case OPERATION_CANCEL:
        snprintf(plan->path, sizeof(plan->path), "/orders/%" PRId64 "/cancel", order->order_id);
        snprintf(plan->body, sizeof(plan->body), "{}");
        break;
    default:
        snprintf(plan->path, sizeof(plan->path), "/orders/%" PRId64, order->order_id);
        break;
    }
}

static bool json_money(const json_t *object, const char *name, int64_t *ret_units)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text && money_parse(text, ret_units);
}

static void adopt(struct book *book, const struct plan *plan, const json_t *list)
{
    size_t i;
    json_t *item;

    json_array_foreach (list, i, item) {
        struct open_order order = {.order_id = json_integer_value(json_object_get(item, "order_id"))};
        const char *symbol = json_string_value(json_object_get(item, "symbol"));
        const char *side = json_string_value(json_object_get(item, "side"));
        const char *status = json_string_value(json_object_get(item, "status"));

        if (!symbol || !side || !status || (strcmp(status, "NEW") != 0 && strcmp(status, "PARTIALLY_FILLED") != 0))
            continue;
        if (!json_money(item, "quantity", &order.quantity) || !json_money(item, "filled_quantity", &order.filled) ||
            !json_money(item, "price", &order.price) || order_find(book, order.order_id) ||
            has_ended_since(book, order.order_id, plan->ended_before))
            continue;
        snprintf(order.symbol, sizeof(order.symbol), "%s", symbol);
        order.is_buy = strcmp(side, "BUY") == 0;
        order_add(book, order);
        book->truth.adopted++;
    }
}

static void apply_fill(struct book *book, const struct plan *plan)
{
    for (int i = 0; i < 2 && plan->order_ids[i]; i++) {
        struct open_order *order = order_find(book, plan->order_ids[i]);

        book->truth.fills++;
        order->filled += plan->quantities[i];
        if (order->filled >= order->quantity) {
            book->truth.filled++;
            order_end(book, order);
        }
    }
}

static void apply_place(struct book *book, const struct plan *plan, const json_t *answer)
{
    struct open_order order = {.order_id = json_integer_value(json_object_get(answer, "order_id")),
                               .quantity = plan->quantities[0],
                               .price = plan->price,
                               .is_buy = plan->is_buy};

    snprintf(order.symbol, sizeof(order.symbol), "%s", market_symbol_name(plan->symbol));
    book->truth.placed++;
    order_add(book, order);
}

static void apply_done(struct book *book, const struct plan *plan, const json_t *answer)
{
    bool audited = json_is_true(json_object_get(answer, "audited"));
    struct open_order *order = plan->order_ids[0] ? order_find(book, plan->order_ids[0]) : NULL;

    switch (plan->operation) {
    case OPERATION_PLACE:
        apply_place(book, plan, answer);
        break;
    case OPERATION_FILL:
    case OPERATION_MATCH:
        apply_fill(book, plan);
        break;
    case OPERATION_MODIFY:
        order->price = plan->price;
        order->quantity = plan->quantities[0];
        book->truth.modified++;
        book->truth.modified_audited += audited;
        break;
    case OPERATION_CANCEL:
        book->truth.canceled++;
        book->truth.canceled_audited += audited;
        order_end(book, order);
        break;
    case OPERATION_LIST:
        adopt(book, plan, json_object_get(answer, "orders"));
        break;
    default:
        break;
    }
}

bool book_apply(struct book *book, const struct plan *plan, int code, const char *body, size_t length)
{
    bool writes = plan->operation < OPERATION_GET, done = code == 200 || code == 201;
    json_t *answer = done ? json_loadb(body, length, 0, NULL) : NULL;

    for (int i = 0; i < 2 && plan->order_ids[i] && writes; i++)
        order_find(book, plan->order_ids[i])->busy = false;
    if (answer) {
        apply_done(book, plan, answer);
        json_decref(answer);
        return true;
    }
    if (code == 503)
        return false;
    for (int i = 0; i < 2 && plan->order_ids[i] && writes; i++)
        order_end(book, order_find(book, plan->order_ids[i]));
    if (code == 404 || code == 409)
        book->truth.conflicts++;
    else if (writes)
        book->truth.unknown++;
    return code == 404 || code == 409;
}
