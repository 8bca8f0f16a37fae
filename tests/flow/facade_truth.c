/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The façade against the application that it stands for: the same random requests, one after the other, to the real
 * legacy-oms and to the trading domain over a store; every answer is compared as JSON, and its code.
 *
 *     facade_truth PORT FOLDER COUNT
 *
 * Ids are the same on both sides, as keys here come from a counter that moves as the sequence does.  Times are not:
 * they have to be of one form, and to change with the same requests.  The number of a trade only has to grow.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/file.h"
#include "os/random.h"
#include "os/stop.h"
#include "projection/engine.h"
#include "projection/query.h"
#include "sink/sinks.h"
#include "store/aggregate.h"
#include "support/http_raw.h"
#include "support/seed.h"
#include "trading/order.h"
#include "trading/trading.h"

enum {
    ANSWER_BYTES_MAX = 4 * 1024 * 1024,
    BODY_BYTES_MAX = 64 * 1024,
    TIME_TEXT_SIZE = 64,
    ORDERS_MAX = 100000,
    WRONG_SHOWN_MAX = 20,
};

/* What is known of an order's times on one side. */
struct seen {
    char updated_at[TIME_TEXT_SIZE], created_at[TIME_TEXT_SIZE];
};

static struct {
    struct store *store;
    struct aggregates *aggregates;
    struct projections *projections;
    struct sink_view *view;
    struct os_stop stop;
    struct os_random random;
    struct banyan_arena arena; /* of one request */
    int64_t next_key;          /* as the sequence */
    int64_t trade[2];
    int fd;
    struct seen seen[2][ORDERS_MAX];
    unsigned long compared, refused_by_route, wrong, codes[600];
} world;

enum side { LEGACY, BANYAN };

struct ask {
    const char *method;
    char target[512];
    char body[BODY_BYTES_MAX];
};

struct told {
    int code;
    char body[ANSWER_BYTES_MAX];
};

static void must(enum banyan_status status, const struct banyan_error *err)
{
    if (status == BANYAN_OK)
        return;
    (void)fprintf(stderr, "%s: %s\n", banyan_status_name(status), err->message);
    exit(1);
}

static uint64_t below(uint64_t bound)
{
    return os_random_below(&world.random, bound);
}

/* ---- the two sides ---- */

/* Over a connection that stays. */
static void ask_legacy(const struct ask *ask, struct told *ret)
{
    char head[1024];
    size_t size = 0, length = strlen(ask->body), wanted;
    char *gap = NULL, *field;

    if (world.fd < 0)
        world.fd = dial();
    (void)snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", ask->method,
                   ask->target, length);
    say(world.fd, head, strlen(head));
    say(world.fd, ask->body, length);
    for (;;) {
        ssize_t got = read(world.fd, ret->body + size, sizeof(ret->body) - 1 - size);

        if (got <= 0) {
            (void)fprintf(stderr, "the application closed the connection: %s %s\n", ask->method, ask->target);
            exit(1);
        }
        size += (size_t)got;
        ret->body[size] = '\0';
        gap = strstr(ret->body, "\r\n\r\n");
        field = gap == NULL ? NULL : strcasestr(ret->body, "content-length:");
        if (field == NULL)
            continue;
        wanted = (size_t)(gap + 4 - ret->body) + strtoul(field + strlen("content-length:"), NULL, 10);
        if (size >= wanted)
            break;
    }
    ret->code = code_of(ret->body);
    memmove(ret->body, gap + 4, size - (size_t)(gap + 4 - ret->body) + 1);
}

static void decide(const struct banyan_request *request, const struct banyan_route *route, struct banyan_response *ret)
{
    struct aggregate_command commands[BANYAN_ROUTE_PARTS_MAX];
    struct aggregate_answer answers[BANYAN_ROUTE_PARTS_MAX];
    struct banyan_outcome outcomes[BANYAN_ROUTE_PARTS_MAX];
    void *states[BANYAN_ROUTE_PARTS_MAX];
    struct banyan_error err = BANYAN_ERROR_INIT;
    bool accepted;

    for (size_t i = 0; i < route->part_count; i++) {
        const struct banyan_route_part *part = &route->parts[i];

        outcomes[i] = (struct banyan_outcome){.key = part->key != 0 ? part->key : world.next_key++};
        states[i] = banyan_arena_zalloc(&world.arena, sizeof(struct order));
        outcomes[i].state = states[i];
        commands[i] = (struct aggregate_command){
            .id = os_uuid_new(),
            .category = banyan_str_of(part->category),
            .key = banyan_arena_printf(&world.arena, "%" PRId64, outcomes[i].key),
            .name = banyan_str_of(order_aggregate.commands[part->command].name),
            .fields = part->fields,
        };
    }
    must(aggregates_submit_all(world.aggregates, commands, route->part_count, &world.arena, answers, states, &accepted,
                               &err),
         &err);
    must(store_wait(world.store, store_tail(world.store), INT64_MAX, &err), &err);
    for (size_t i = 0; i < route->part_count; i++) {
        outcomes[i].accepted = answers[i].accepted;
        outcomes[i].refusal = (struct banyan_refusal){answers[i].code, answers[i].text};
        outcomes[i].event_count = answers[i].event_count;
        outcomes[i].position = answers[i].position;
    }
    banyan_domain_trading.facade->answer(request, route, outcomes, &world.arena, ret);
}

static void look(const struct banyan_request *request, const struct banyan_route *route, struct banyan_response *ret)
{
    const struct banyan_facade *facade = banyan_domain_trading.facade;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_response newest;
    struct sink_checkpoint checkpoint;
    struct banyan_version version;
    struct order order;

    must(projections_wait(world.projections, 0, store_durable(world.store), INT64_C(20000000), &err), &err);
    must(query_facade(world.view, &(struct query_facade){facade, request, route}, &world.arena, &checkpoint, ret, &err),
         &err);
    if (route->key == 0)
        return;
    must(aggregates_state(world.aggregates, BANYAN_STR("order"),
                          banyan_arena_printf(&world.arena, "%" PRId64, route->key), &world.arena, &order, &version,
                          &err),
         &err);
    facade->read_state(request, route, &order, version.value > 0, &world.arena, &newest);
    if (newest.code != ret->code || !banyan_str_equal(newest.body, ret->body)) {
        world.wrong++;
        printf("# the state answers otherwise than the view: %.*s\n", (int)newest.body.size, newest.body.data);
    }
}

/* False: not understood, it would go to the application. */
static bool ask_banyan(const struct ask *ask, struct told *ret)
{
    const struct banyan_facade *facade = banyan_domain_trading.facade;
    struct banyan_str target = banyan_str_of(ask->target);
    const char *mark = memchr(target.data, '?', target.size);
    size_t path = mark == NULL ? target.size : (size_t)(mark - target.data);
    struct banyan_request request = {
        .method = banyan_str_of(ask->method),
        .path = {target.data, path},
        .query = mark == NULL ? BANYAN_STR("") : (struct banyan_str){mark + 1, target.size - path - 1},
        .body = banyan_str_of(ask->body),
    };
    struct banyan_route *route = banyan_arena_zalloc(&world.arena, sizeof(*route));
    struct banyan_response response;

    if (!facade->route(&request, &world.arena, route) || route->kind == BANYAN_REQUEST_OTHER)
        return false;
    if (route->kind == BANYAN_REQUEST_WRITE)
        decide(&request, route, &response);
    else
        look(&request, route, &response);
    ret->code = response.code;
    (void)snprintf(ret->body, sizeof(ret->body), "%.*s", (int)response.body.size, response.body.data);
    return true;
}

/* ---- comparing ---- */

/* "2026-11-22 09:07:11.123456+00": the fraction without zeros at its end, or none. */
static bool is_time(const char *text)
{
    int at = 0;

    if (sscanf(text, "%*4[0-9]-%*2[0-9]-%*2[0-9] %*2[0-9]:%*2[0-9]:%*2[0-9]%n", &at) < 0 || at != 19)
        return false;
    if (text[at] == '.') {
        size_t digits = strspn(text + at + 1, "0123456789");

        if (digits < 1 || digits > 6 || text[at + digits] == '0')
            return false;
        at += 1 + (int)digits;
    }
    return strcmp(text + at, "+00") == 0;
}

/* Times become words that have to be the same on both sides. */
static void map_order(enum side side, json_t *order)
{
    const char *created = json_string_value(json_object_get(order, "created_at"));
    const char *updated = json_string_value(json_object_get(order, "updated_at"));
    json_int_t id = json_integer_value(json_object_get(order, "order_id"));
    json_int_t trade = json_integer_value(json_object_get(order, "trade_id"));
    struct seen *seen = id > 0 && id < ORDERS_MAX ? &world.seen[side][id] : NULL;

    if (trade != 0) {
        json_object_set_new(order, "trade_id", json_string(trade > world.trade[side] ? "grows" : "does not grow"));
        world.trade[side] = trade;
    }
    if (created != NULL && seen != NULL) {
        bool same = seen->created_at[0] == '\0' || strcmp(seen->created_at, created) == 0;

        (void)snprintf(seen->created_at, TIME_TEXT_SIZE, "%s", created);
        json_object_set_new(order, "created_at", json_string(!is_time(created) ? "no time" : same ? "same" : "other"));
    }
    if (updated != NULL && seen != NULL) {
        int change = strcmp(updated, seen->updated_at);

        (void)snprintf(seen->updated_at, TIME_TEXT_SIZE, "%s", updated);
        json_object_set_new(order, "updated_at",
                            json_string(!is_time(updated) ? "no time"
                                        : change == 0     ? "same"
                                                          : "changed"));
    }
}

static json_t *map(enum side side, const char *text)
{
    json_t *answer = json_loads(text, JSON_REJECT_DUPLICATES, NULL), *order;
    size_t index;

    if (answer == NULL || text[strlen(text) - 1] != '\n')
        return NULL;
    map_order(side, answer);
    json_array_foreach (json_object_get(answer, "orders"), index, order) {
        map_order(side, order);
    }
    return answer;
}

static void compare(const struct ask *ask, const struct told *legacy, const struct told *banyan)
{
    json_t *a = map(LEGACY, legacy->body), *b = map(BANYAN, banyan->body);
    char *a_text = json_dumps(a, JSON_COMPACT), *b_text = json_dumps(b, JSON_COMPACT); /* in the order of members */

    world.compared++;
    world.codes[legacy->code % 600]++;
    if (a == NULL || b == NULL || legacy->code != banyan->code || strcmp(a_text, b_text) != 0) {
        if (world.wrong++ < WRONG_SHOWN_MAX)
            printf("# different: %s %s %s\n#   application %d %s#   façade      %d %s#   %s\n#   %s\n", ask->method,
                   ask->target, ask->body, legacy->code, legacy->body, banyan->code, banyan->body,
                   a_text == NULL ? "" : a_text, b_text == NULL ? "" : b_text);
    }
    free(a_text);
    free(b_text);
    json_decref(a);
    json_decref(b);
}

/* ---- requests ---- */

static const char *random_amount(char *text, size_t size)
{
    static const char *const odd[] = {
        "\"0\"",
        "\"-1\"",
        "\"12.\"",
        "\".5\"",
        "\"1e3\"",
        "\"\"",
        "1.5",
        "0",
        "null",
        "true",
        "\"10000000000\"",
        "\"9999999999.99999999\"",
        "\"0.00000001\"",
        "\"0.000000001\"",
        "\"1.000000000\"",
        "9999999999",
        "10000000000",
        "\"00012.5\"",
        "99999999999999999999",
        "-0",
        "1.0",
        "\" 1\"",
        "[1]",
        "\"00000000012\"",
        "1e400",
        "\"1\\u0030\"",
    };

    if (below(6) == 0)
        (void)snprintf(text, size, "%s", odd[below(sizeof(odd) / sizeof(odd[0]))]);
    else if (below(3) == 0)
        (void)snprintf(text, size, "%" PRIu64, 1 + below(20));
    else if (below(2) == 0)
        (void)snprintf(text, size, "\"%" PRIu64 ".%" PRIu64 "\"", below(20), below(1000));
    else
        (void)snprintf(text, size, "\"%" PRIu64 ".%08" PRIu64 "\"", below(1000), below(100000000));
    return text;
}

static int64_t random_order(void)
{
    return below(20) == 0 ? (int64_t)below(ORDERS_MAX - 100) : 1 + (int64_t)below((uint64_t)world.next_key + 1);
}

static void make_place(struct ask *ret)
{
    static const char *const symbols[] = {"\"BTCUSD\"",
                                          "\"ETHUSD\"",
                                          "\"A/B \\\"c\\\" \\\\\"",
                                          "\"\\u00e9\\ud83d\\ude00\"",
                                          "\"a\\tb\\u0001\"",
                                          "\"é€\"",
                                          "\"\"",
                                          "\"123456789012345678901234567890123\"",
                                          "\"12345678901234567890123456789012\"",
                                          "5",
                                          "null",
                                          "\"a\\u0000b\"",
                                          "\"\\ud83d\"",
                                          "\"\x7f\""};
    static const char *const sides[] = {"\"BUY\"", "\"SELL\"", "\"BUY\"",      "\"SELL\"",
                                        "\"buy\"", "null",     "\"B\\u0055Y\""};
    char quantity[64], price[64], order[64] = "";
    size_t symbol = below(3) == 0 ? below(sizeof(symbols) / sizeof(symbols[0])) : below(2);

    if (below(10) == 0)
        (void)snprintf(order, sizeof(order), ",\"order_id\":%" PRId64,
                       below(5) == 0 ? -(int64_t)below(2) : random_order() + (int64_t)below(30));
    ret->method = "POST";
    (void)snprintf(ret->target, sizeof(ret->target), "/orders");
    (void)snprintf(ret->body, sizeof(ret->body),
                   "{\"trader_id\": %s%" PRIu64 ",\"symbol\":%s,\"side\":%s,\"quantity\":%s,\"price\":%s%s%s}",
                   below(40) == 0 ? "-" : "", below(40) == 0 ? 0 : 1 + below(5), symbols[symbol],
                   sides[below(20) == 0 ? below(sizeof(sides) / sizeof(sides[0])) : below(2)],
                   random_amount(quantity, sizeof(quantity)), random_amount(price, sizeof(price)), order,
                   below(30) == 0 ? ",\"more\":[{\"a\":1,\"a\":2}]" : "");
}

static void make_change(struct ask *ret)
{
    static const char *const forms[] = {"%" PRId64,   "%" PRId64,  "%" PRId64,     "+%" PRId64,
                                        "00%" PRId64, "-%" PRId64, "%" PRId64 "x", "99999999999999999999%" PRId64};
    static const char *const spoilt[] = {
        "",    "[]",    "{",
        "{}x", "\"a\"", "{\"price\":\"1\",\"price\":\"2\"}",
        "{}",  " ",     "{\"quantity\":\"1\",\"price\":\"1\",\"a\":123456789012345678901234567890}"};
    char quantity[64], price[64], id[64];
    unsigned what = (unsigned)below(4);

    (void)snprintf(id, sizeof(id), "%" PRId64, random_order());
    if (below(12) == 0) {
        const char *form = forms[below(sizeof(forms) / sizeof(forms[0]))];
        const char *end = strchr(form, '%') + strlen("%" PRId64);

        (void)snprintf(id, sizeof(id), "%.*s%" PRId64 "%s", (int)(strchr(form, '%') - form), form, random_order(), end);
    }
    ret->method = "POST";
    (void)random_amount(quantity, sizeof(quantity));
    (void)random_amount(price, sizeof(price));
    (void)snprintf(ret->target, sizeof(ret->target), "/orders/%s/%s", id,
                   what == 0   ? "modify"
                   : what == 1 ? "cancel"
                               : "fill");
    if (what == 0 && below(3) > 0)
        (void)snprintf(ret->body, sizeof(ret->body), "{\"%s\":%s}", below(2) == 0 ? "price" : "quantity", price);
    else
        (void)snprintf(ret->body, sizeof(ret->body), "{\"quantity\":%s,\"price\":%s}", quantity, price);
    if (below(12) == 0)
        (void)snprintf(ret->body, sizeof(ret->body), "%s", spoilt[below(sizeof(spoilt) / sizeof(spoilt[0]))]);
    if (what == 1 && below(2) == 0)
        ret->body[0] = '\0';
}

static void make_fills(struct ask *ret)
{
    size_t count = below(20) == 0 ? below(110) : 1 + below(5), size;

    ret->method = "POST";
    (void)snprintf(ret->target, sizeof(ret->target), "/fills");
    (void)snprintf(ret->body, sizeof(ret->body), "{\"fills\":[");
    for (size_t i = 0; i < count; i++) {
        char quantity[64] = "\"0.01\"", price[64] = "\"7.5\"";

        if (below(8) == 0)
            (void)random_amount(quantity, sizeof(quantity));
        if (below(8) == 0)
            (void)random_amount(price, sizeof(price));
        size = strlen(ret->body);
        (void)snprintf(ret->body + size, sizeof(ret->body) - size,
                       "%s{\"order_id\":%" PRId64 ",\"quantity\":%s,\"price\":%s}", i == 0 ? "" : ",", random_order(),
                       quantity, price);
    }
    size = strlen(ret->body);
    (void)snprintf(ret->body + size, sizeof(ret->body) - size, "]}");
}

/* A time that an order has, which differs from side to side; the second form of it here, the first there. */
static void add_time(struct ask *legacy, struct ask *banyan, const char *name)
{
    int64_t order = 1 + (int64_t)below((uint64_t)world.next_key);
    const char *const created[] = {world.seen[LEGACY][order].created_at, world.seen[BANYAN][order].created_at};
    struct ask *const asks[] = {legacy, banyan};

    if (created[LEGACY][0] == '\0' || created[BANYAN][0] == '\0')
        return;
    for (int side = LEGACY; side <= BANYAN; side++) {
        size_t size = strlen(asks[side]->target), length = strlen(created[side]) - strlen("+00");

        (void)snprintf(asks[side]->target + size, sizeof(legacy->target) - size, "&%s=%.10s%s%.*s%s", name,
                       created[side], size % 2 == 0 ? "T" : "%20", (int)length - 11, created[side] + 11,
                       size % 3 == 0 ? "Z" : "");
    }
}

static void make_read(struct ask *ret, struct ask *banyan)
{
    static const char *const queries[] = {"",
                                          "?",
                                          "?trader_id=1&symbol=BTCUSD",
                                          "?trader_id",
                                          "?trader_id=",
                                          "?trader_id=x",
                                          "?trader_id=1&limit=0",
                                          "?trader_id=1&limit=1001",
                                          "?Trader_ID=2",
                                          "?symbol=nothing",
                                          "?trader_id=1&limit=5x",
                                          "?symbol=A%2fB+%22c%22+%5c",
                                          "?trader_id=1&from=yesterday",
                                          "?trader_id=1&to=2026-02-30T00:00:00Z",
                                          "?trader_id=99999999999999999999",
                                          "?limit=5&trader_id=1&trader_id=2",
                                          "?trader_id=1&from=infinity",
                                          "?symbol=%42TCUSD&limit=+7",
                                          "?=1&trader_id=1"};

    ret->method = "GET";
    ret->body[0] = '\0';
    if (below(3) > 0) {
        (void)snprintf(ret->target, sizeof(ret->target), "/orders/%" PRId64, random_order());
        *banyan = *ret;
        return;
    }
    if (below(2) == 0) {
        (void)snprintf(ret->target, sizeof(ret->target), "/orders%s",
                       queries[below(sizeof(queries) / sizeof(queries[0]))]);
        *banyan = *ret;
        return;
    }
    (void)snprintf(ret->target, sizeof(ret->target),
                   below(2) == 0 ? "/orders?trader_id=%" PRIu64 : "/orders?symbol=BTCUSD", 1 + below(5));
    if (below(2) == 0)
        (void)snprintf(ret->target + strlen(ret->target), 32, "&limit=%" PRIu64, 1 + below(30));
    *banyan = *ret;
    if (below(2) == 0)
        add_time(ret, banyan, "from");
    if (below(2) == 0)
        add_time(ret, banyan, "to");
}

/* ---- */

static void step(struct ask *legacy, struct ask *banyan)
{
    static struct told here, there;
    int64_t key = world.next_key;

    ask_legacy(legacy, &there);
    if (ask_banyan(banyan, &here)) {
        compare(legacy, &there, &here);
    } else {
        world.refused_by_route++;
        if (there.code < 400 && legacy->method[0] == 'P' && world.wrong++ < WRONG_SHOWN_MAX)
            printf("# not understood, but taken: %s %s %s\n#   %d %s", legacy->method, legacy->target, legacy->body,
                   there.code, there.body);
        if (there.code < 400 && legacy->method[0] == 'P' && strcmp(legacy->target, "/orders") == 0)
            world.next_key = key + 1; /* so that not all that follows is different, too */
    }
    banyan_arena_reset(&world.arena);
}

static void run(unsigned long count)
{
    static struct ask legacy, banyan;

    bool reads = false;

    for (unsigned long i = 0; i < count; i++) {
        unsigned what = (unsigned)below(6);

        /* In turns, as the first read behind a write waits for the view. */
        if (below(12) == 0)
            reads = !reads;

        if (reads)
            make_read(&legacy, &banyan);
        else if (what < 2)
            make_place(&legacy);
        else if (what < 5)
            make_change(&legacy);
        else
            make_fills(&legacy);
        if (!reads)
            banyan = legacy;
        step(&legacy, &banyan);
    }
}

static void open_world(const char *folder)
{
    static char path[512], views[512];
    struct projection_options options = {.name = "current_orders", .projection = banyan_domain_trading.projections};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;

    (void)snprintf(path, sizeof(path), "%s/store", folder);
    (void)snprintf(views, sizeof(views), "%s/views", folder);
    must(os_files_real()->make_folder(os_files_real(), views, &err), &err);
    must(os_stop_open(&world.stop, &err), &err);
    must(store_open(&(struct store_options){.folder = path}, &world.store, &err), &err);
    world.aggregates =
        aggregates_new(&(struct aggregates_options){.store = world.store, .domain = &banyan_domain_trading});
    world.projections = projections_new(
        &(struct projections_options){.domain = &banyan_domain_trading, .store = world.store, .stop = &world.stop});
    must(sink_sqlite_home(options.projection, views, options.name, &options.home, &err), &err);
    must(projections_add(world.projections, &options, &err), &err);
    for (int tries = 0; !projections_serving(world.projections, 0, &checkpoint) && tries < 20000; tries++)
        os_clock_real()->sleep_us(os_clock_real(), 1000);
    must(projections_view(world.projections, 0, &world.view, &err), &err);
    world.next_key = 1;
    world.fd = -1;
}

static void close_world(void)
{
    sink_view_close(world.view);
    os_stop_request(&world.stop);
    projections_free(world.projections);
    aggregates_free(world.aggregates);
    store_close(world.store);
    os_stop_close(&world.stop);
    banyan_arena_release(&world.arena);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    seed_start(&world.random, "facade_truth");
    http_raw_port = atoi(argv[1]);
    open_world(argv[2]);
    run(strtoul(argv[3], NULL, 10));
    close_world();
    printf("# %lu answers compared, %lu left to the application, %lu different\n#", world.compared,
           world.refused_by_route, world.wrong);
    for (int code = 0; code < 600; code++) {
        if (world.codes[code] > 0)
            printf("  %d: %lu", code, world.codes[code]);
    }
    printf("\n");
    return world.wrong == 0 ? 0 : 1;
}
