/* SPDX-License-Identifier: Apache-2.0 */
/* Orders of shops: see tally.h. */
#include "support/tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"

struct placed {
    int64_t shop;
    struct banyan_decimal amount;
    struct banyan_str note;
};
struct changed {
    struct banyan_decimal amount;
    struct banyan_str note; /* optional */
};
struct shipped {
    int64_t parcels;
};
struct removed {
    bool sure;
};

static const struct banyan_field placed_fields[] = {
    BANYAN_FIELD_INT(struct placed, shop, 0),
    BANYAN_FIELD_DECIMAL(struct placed, amount, 0, 2),
    BANYAN_FIELD_STRING(struct placed, note, 0),
};
static const struct banyan_field changed_fields[] = {
    BANYAN_FIELD_DECIMAL(struct changed, amount, 0, 2),
    BANYAN_FIELD_STRING(struct changed, note, BANYAN_FIELD_OPTIONAL),
};
static const struct banyan_field shipped_fields[] = {BANYAN_FIELD_INT(struct shipped, parcels, 0)};
static const struct banyan_field removed_fields[] = {BANYAN_FIELD_BOOL(struct removed, sure, 0)};

static const struct banyan_field order_fields[] = {
    BANYAN_FIELD_INT(struct tally_order, id, 0),
    BANYAN_FIELD_INT(struct tally_order, shop, 0),
    BANYAN_FIELD_DECIMAL(struct tally_order, amount, 0, 2),
    BANYAN_FIELD_STRING(struct tally_order, note, 0),
    BANYAN_FIELD_INT(struct tally_order, changes, 0),
    BANYAN_FIELD_TIME(struct tally_order, placed_at, 0),
    BANYAN_FIELD_TIME(struct tally_order, shipped_at, BANYAN_FIELD_OPTIONAL),
};
static const struct banyan_field parcels_fields[] = {
    BANYAN_FIELD_INT(struct tally_parcels, id, 0),
    BANYAN_FIELD_INT(struct tally_parcels, parcels, 0),
};
static const struct banyan_field shop_fields[] = {
    BANYAN_FIELD_INT(struct tally_shop, shop, 0),
    BANYAN_FIELD_INT(struct tally_shop, orders, 0),
    BANYAN_FIELD_DECIMAL(struct tally_shop, total, 0, 2),
};

#define RECORD(label, type, table)                                                                                     \
    {                                                                                                                  \
        .name = (label), .size = sizeof(type), .fields = (table), .field_count = sizeof(table) / sizeof((table)[0])    \
    }

static const struct banyan_record records[TALLY_EVENTS] = {
    [TALLY_PLACED] = RECORD("Placed", struct placed, placed_fields),
    [TALLY_CHANGED] = RECORD("Changed", struct changed, changed_fields),
    [TALLY_SHIPPED] = RECORD("Shipped", struct shipped, shipped_fields),
    [TALLY_REMOVED] = RECORD("Removed", struct removed, removed_fields),
};
static const struct banyan_record order_record = RECORD("order", struct tally_order, order_fields);
static const struct banyan_record parcels_record = RECORD("parcels", struct tally_parcels, parcels_fields);
static const struct banyan_record shop_record = RECORD("shop", struct tally_shop, shop_fields);

static const struct banyan_event_type events[TALLY_EVENTS] = {
    [TALLY_PLACED] = {"Placed", 1, &records[TALLY_PLACED]},
    [TALLY_CHANGED] = {"Changed", 1, &records[TALLY_CHANGED]},
    [TALLY_SHIPPED] = {"Shipped", 1, &records[TALLY_SHIPPED]},
    [TALLY_REMOVED] = {"Removed", 1, &records[TALLY_REMOVED]},
};

/* ---- the views ---- */

static struct banyan_decimal sum(struct banyan_decimal a, struct banyan_decimal b)
{
    struct banyan_decimal ret;
    return banyan_decimal_add(a, b, &ret) ? ret : a;
}

static struct tally_order fresh_order(int64_t key)
{
    struct tally_order order;
    banyan_record_init(&order_record, &order);
    order.id = key;
    order.amount = banyan_decimal_of(0, 2);
    return order;
}

static void apply_order(const struct banyan_seen *event, struct banyan_unit *unit)
{
    if (event->type == TALLY_REMOVED) {
        banyan_unit_delete(unit, 0, event->key);
        banyan_unit_delete(unit, 1, event->key);
        return;
    }
    if (event->type == TALLY_SHIPPED) {
        const struct tally_parcels *old = banyan_unit_get(unit, 1, event->key);
        struct tally_parcels parcels = {.id = event->key, .parcels = old == NULL ? 0 : old->parcels};
        parcels.parcels += ((const struct shipped *)event->payload)->parcels;
        banyan_unit_put(unit, 1, event->key, &parcels);
    }
    const struct tally_order *old = banyan_unit_get(unit, 0, event->key);
    struct tally_order order = old == NULL ? fresh_order(event->key) : *old;
    if (event->type == TALLY_PLACED) {
        const struct placed *placed = event->payload;
        order.shop = placed->shop;
        order.amount = placed->amount;
        order.note = placed->note;
        order.placed_at = event->at;
    } else if (event->type == TALLY_CHANGED) {
        const struct changed *changed = event->payload;
        /* Before the row that may be refused, so that a half applied event shows. */
        banyan_unit_put(unit, 1, event->key, &(struct tally_parcels){.id = event->key, .parcels = -1});
        order.amount = sum(order.amount, changed->amount);
        if (changed->note.data != NULL)
            order.note = changed->note;
        order.changes++;
    } else {
        order.shipped_at = event->at;
    }
    banyan_unit_put(unit, 0, event->key, &order);
}

static bool shop_key(const struct banyan_seen *event, int64_t *ret_key)
{
    if (event->type != TALLY_PLACED || ((const struct placed *)event->payload)->shop == 0)
        return false;
    *ret_key = ((const struct placed *)event->payload)->shop;
    return true;
}

static void add_to_shop(struct banyan_unit *unit, unsigned table, int64_t key, struct banyan_decimal amount, int orders)
{
    const struct tally_shop *old = banyan_unit_get(unit, table, key);
    struct tally_shop shop = old == NULL ? (struct tally_shop){.shop = key, .total = banyan_decimal_of(0, 2)} : *old;
    shop.total = sum(shop.total, amount);
    shop.orders += orders;
    banyan_unit_put(unit, table, key, &shop);
}

static void apply_shop(const struct banyan_seen *event, struct banyan_unit *unit)
{
    add_to_shop(unit, 0, event->key, ((const struct placed *)event->payload)->amount, 1);
}

static void apply_joined(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct tally_order *old = banyan_unit_get(unit, 0, event->key);
    struct tally_order order = old == NULL ? fresh_order(event->key) : *old;
    struct banyan_decimal amount = banyan_decimal_of(0, 2);
    if (event->type == TALLY_PLACED) {
        const struct placed *placed = event->payload;
        amount = placed->amount;
        order.shop = placed->shop;
        order.note = placed->note;
    } else if (event->type == TALLY_CHANGED) {
        const struct changed *changed = event->payload;
        amount = changed->amount;
        if (changed->note.data != NULL)
            order.note = changed->note;
    } else if (event->type == TALLY_REMOVED) {
        add_to_shop(unit, 1, order.shop, amount, -1);
        banyan_unit_delete(unit, 0, event->key);
        return;
    }
    add_to_shop(unit, 1, order.shop, amount, event->type == TALLY_PLACED);
    order.amount = sum(order.amount, amount);
    banyan_unit_put(unit, 0, event->key, &order);
}

static const struct banyan_view_index order_indexes[] = {{"by_note", "note", "placed_at"}};
static const struct banyan_table order_tables[] = {
    {.name = "orders", .row = &order_record, .key_column = "id", .indexes = order_indexes, .index_count = 1},
    {.name = "parcels", .row = &parcels_record, .key_column = "id"},
};
static const struct banyan_table shop_tables[] = {{.name = "shops", .row = &shop_record, .key_column = "shop"}};
static const struct banyan_table joined_tables[] = {
    {.name = "joined", .row = &order_record, .key_column = "id"},
    {.name = "joined_shops", .row = &shop_record, .key_column = "shop"},
};
static const char *const categories[] = {"order", NULL};
static const unsigned shop_types[] = {TALLY_PLACED};

const struct banyan_projection tally_projections[TALLY_VIEWS] = {
    [TALLY_VIEW_ORDERS] = {.name = "orders",
                           .version = 1,
                           .tables = order_tables,
                           .table_count = 2,
                           .categories = categories,
                           .apply = apply_order,
                           .spread = BANYAN_PARTITIONED},
    [TALLY_VIEW_SHOPS] = {.name = "shops",
                          .version = 1,
                          .tables = shop_tables,
                          .table_count = 1,
                          .categories = categories,
                          .types = shop_types,
                          .type_count = 1,
                          .key = shop_key,
                          .apply = apply_shop,
                          .spread = BANYAN_PARTITIONED},
    [TALLY_VIEW_JOINED] = {.name = "joined",
                           .version = 1,
                           .tables = joined_tables,
                           .table_count = 2,
                           .categories = categories,
                           .apply = apply_joined},
};

const struct banyan_domain tally_domain = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "tally",
    .events = events,
    .event_count = TALLY_EVENTS,
    .projections = tally_projections,
    .projection_count = TALLY_VIEWS,
};

/* ---- events ---- */

static void must(enum banyan_status st, const char *what, const struct banyan_error *err)
{
    if (st == BANYAN_OK)
        return;
    (void)fprintf(stderr, "tally: %s: %s\n", what, err->message);
    abort();
}

static struct banyan_str random_note(struct os_random *random, bool poison, struct banyan_arena *arena)
{
    static const char *const notes[] = {"",
                                        "to the door",
                                        "a gift, wrapped",
                                        "O'Neill \"x\"",
                                        "\xc3\xa4\n\t\\N",
                                        "call",
                                        "with a note that is rather longer than the others are"};
    if (poison)
        return (struct banyan_str){"bad\0note", 8};
    struct banyan_str note = banyan_str_of(notes[os_random_below(random, sizeof(notes) / sizeof(notes[0]))]);
    return os_random_below(random, 4) == 0
               ? banyan_arena_printf(arena, "%.*s %u", (int)note.size, note.data, (unsigned)os_random_below(random, 99))
               : note;
}

static void random_payload(struct os_random *random, unsigned type, bool poison, struct banyan_arena *arena, void *ret)
{
    struct banyan_decimal amount = banyan_decimal_of((int64_t)os_random_below(random, 100000) - 20000, 2);
    switch (type) {
    case TALLY_PLACED:
        *(struct placed *)ret =
            (struct placed){(int64_t)os_random_below(random, TALLY_SHOPS), amount, random_note(random, poison, arena)};
        return;
    case TALLY_CHANGED:
        *(struct changed *)ret = (struct changed){amount, {NULL, 0}};
        if (poison || os_random_below(random, 3) == 0)
            ((struct changed *)ret)->note = random_note(random, poison, arena);
        return;
    case TALLY_SHIPPED:
        *(struct shipped *)ret = (struct shipped){1 + (int64_t)os_random_below(random, 3)};
        return;
    default:
        *(struct removed *)ret = (struct removed){true};
    }
}

static struct store_event random_event(struct os_random *random, const struct tally_append *how,
                                       struct banyan_arena *arena, struct banyan_buf *data)
{
    static int64_t second;
    union {
        struct placed placed;
        struct changed changed;
        struct shipped shipped;
        struct removed removed;
    } payload;
    uint64_t dice = os_random_below(random, 100);
    unsigned type = dice < 25 ? TALLY_PLACED : dice < 75 ? TALLY_CHANGED : dice < 97 ? TALLY_SHIPPED : TALLY_REMOVED;
    bool poison = how->poison > 0 && os_random_below(random, 10000) < how->poison;
    bool cut = poison && os_random_below(random, 2) == 0;
    bool elsewhere = how->elsewhere > 0 && os_random_below(random, 100) < how->elsewhere;
    uint8_t id[16];
    struct banyan_error err = BANYAN_ERROR_INIT;
    random_payload(random, type, poison && !cut, arena, &payload);
    banyan_buf_reset(data);
    must(banyan_record_encode(&records[type], &payload, data, &err), "encode", &err);
    for (size_t i = 0; i < sizeof(id); i += 8) {
        uint64_t bits = os_random_next(random);
        memcpy(id + i, &bits, 8);
    }
    struct banyan_str bytes = banyan_arena_str(arena, banyan_buf_str(data));
    return (struct store_event){
        .id = banyan_uuid_v8(id),
        .stream = banyan_arena_printf(arena, "%s-%" PRIu64, elsewhere ? "elsewhere" : "order",
                                      1 + os_random_below(random, (uint64_t)how->keys)),
        .type = banyan_str_of(events[type].name),
        .schema = 1,
        .provenance = BANYAN_EXACT,
        .at = {INT64_C(1600000000000000) + 1000003 * __atomic_fetch_add(&second, 1, __ATOMIC_RELAXED)},
        .payload = cut ? (struct banyan_str){bytes.data, bytes.size / 2} : bytes,
    };
}

void tally_append(struct store *store, struct os_random *random, const struct tally_append *how)
{
    size_t batch = how->batch == 0 ? 1000 : how->batch;
    struct store_event *list = calloc(batch, sizeof(*list));
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_buf data = BANYAN_BUF_INIT(1 << 20);
    struct store_appended appended = {.last = {0}};
    struct banyan_error err = BANYAN_ERROR_INIT;
    for (size_t done = 0, size; done < how->count; done += size) {
        size = how->count - done < batch ? how->count - done : batch;
        banyan_arena_reset(&arena);
        for (size_t i = 0; i < size; i++)
            list[i] = random_event(random, how, &arena, &data);
        must(store_submit(store, &(struct store_append){.events = list, .event_count = size}, &appended, &err),
             "append", &err);
    }
    must(store_wait(store, appended.last, INT64_MAX, &err), "wait", &err);
    banyan_buf_release(&data);
    banyan_arena_release(&arena);
    free(list);
}
