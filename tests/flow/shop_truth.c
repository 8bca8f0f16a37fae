/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shop's façade against the shop: the same random requests, one after the other, to the real legacy-shop and to the
 * commerce domain over a store; every answer is compared as JSON, and its code.
 *
 *     shop_truth PORT FOLDER COUNT
 *
 * Both begin with the same stock.  Times differ: they have to be of one form, and to change with the same requests.
 * Orders are the shop's alone; what they reserve is reserved here by a command, so that the counts go on being equal.
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
#include <string.h>
#include <unistd.h>

#include "commerce/commerce.h"
#include "commerce/read_models.h"
#include "commerce/stock.h"
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

enum {
    ANSWER_BYTES_MAX = 1024 * 1024,
    STOCKS_MAX = 100,
    WRONG_SHOWN_MAX = 20,
    TIME_TEXT_SIZE = 64,
};

enum side { LEGACY, BANYAN };

static struct {
    struct store *store;
    struct aggregates *aggregates;
    struct projections *projections;
    struct sink_view *view;
    struct os_stop stop;
    struct os_random random;
    struct banyan_arena arena; /* of one request */
    char updated_at[2][STOCKS_MAX][TIME_TEXT_SIZE];
    unsigned long compared, left, wrong, codes[600];
} world;

struct ask {
    const char *method;
    char target[256], body[1024];
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

static void ask_legacy(const struct ask *ask, struct told *ret)
{
    char request[2048];
    int fd = dial();

    (void)snprintf(request, sizeof(request),
                   "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", ask->method,
                   ask->target, strlen(ask->body), ask->body);
    say(fd, request, strlen(request));
    const char *answer = hear(fd);
    ret->code = code_of(answer);
    (void)snprintf(ret->body, sizeof(ret->body), "%s", body_of(answer));
}

static void decide(int64_t key, enum stock_command type, const void *fields, struct banyan_outcome *ret)
{
    const struct banyan_aggregate *aggregate = &commerce_aggregates[AGGREGATE_STOCK];
    struct aggregate_command command = {.id = os_uuid_new(),
                                        .category = BANYAN_STR("stock"),
                                        .key = banyan_arena_printf(&world.arena, "%" PRId64, key),
                                        .name = banyan_str_of(aggregate->commands[type].name),
                                        .fields = fields};
    void *state = banyan_arena_zalloc(&world.arena, sizeof(struct stock));
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct aggregate_answer answer;
    bool accepted;

    must(aggregates_submit_all(world.aggregates, &command, 1, &world.arena, &answer, &state, &accepted, &err), &err);
    must(store_wait(world.store, store_tail(world.store), INT64_MAX, &err), &err);
    *ret = (struct banyan_outcome){.accepted = answer.accepted,
                                   .refusal = {answer.code, answer.text},
                                   .key = key,
                                   .state = state,
                                   .event_count = answer.event_count,
                                   .position = answer.position};
}

/* False: not understood, it would go to the shop. */
static bool ask_banyan(const struct ask *ask, struct told *ret)
{
    const struct banyan_facade *facade = banyan_domain_commerce.facade;
    const char *mark = strchr(ask->target, '?');
    struct banyan_request request = {
        .method = banyan_str_of(ask->method),
        .path = {ask->target, mark == NULL ? strlen(ask->target) : (size_t)(mark - ask->target)},
        .query = banyan_str_of(mark == NULL ? "" : mark + 1),
        .body = banyan_str_of(ask->body),
    };
    struct banyan_route *route = banyan_arena_zalloc(&world.arena, sizeof(*route));
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_response response;
    struct sink_checkpoint checkpoint;
    struct banyan_outcome outcome;

    if (!facade->route(&request, &world.arena, route) || route->kind == BANYAN_REQUEST_OTHER)
        return false;
    if (route->kind == BANYAN_REQUEST_WRITE) {
        decide(route->parts[0].key, route->parts[0].command, route->parts[0].fields, &outcome);
        facade->answer(&request, route, &outcome, &world.arena, &response);
    } else {
        must(projections_wait(world.projections, 0, store_durable(world.store), INT64_C(20000000), &err), &err);
        must(query_facade(world.view, &(struct query_facade){facade, &request, route}, &world.arena, &checkpoint,
                          &response, &err),
             &err);
    }
    ret->code = response.code;
    (void)snprintf(ret->body, sizeof(ret->body), "%.*s", (int)response.body.size, response.body.data);
    return true;
}

/* ---- comparing ---- */

/* "2026-11-22T09:07:11.123456+00:00": the fraction without zeros at its end, or none. */
static bool is_time(const char *text)
{
    int at = 0;

    if (sscanf(text, "%*4[0-9]-%*2[0-9]-%*2[0-9]T%*2[0-9]:%*2[0-9]:%*2[0-9]%n", &at) < 0 || at != 19)
        return false;
    if (text[at] == '.') {
        size_t digits = strspn(text + at + 1, "0123456789");

        if (digits < 1 || digits > 6 || text[at + digits] == '0')
            return false;
        at += 1 + (int)digits;
    }
    return strcmp(text + at, "+00:00") == 0;
}

/* The time becomes a word that has to be the same on both sides. */
static void map_stock(enum side side, json_t *stock)
{
    const char *updated = json_string_value(json_object_get(stock, "updated_at"));
    json_int_t id = json_integer_value(json_object_get(stock, "stock_id"));

    if (updated == NULL || id <= 0 || id >= STOCKS_MAX)
        return;
    char *last = world.updated_at[side][id];
    const char *word = !is_time(updated) ? "no time" : strcmp(last, updated) == 0 ? "same" : "changed";
    (void)snprintf(last, TIME_TEXT_SIZE, "%s", updated);
    json_object_set_new(stock, "updated_at", json_string(word));
}

static json_t *map(enum side side, const char *text)
{
    json_t *answer = json_loads(text, JSON_REJECT_DUPLICATES, NULL), *stock;
    size_t index;

    if (answer == NULL || text[strlen(text) - 1] != '\n')
        return NULL;
    map_stock(side, answer);
    json_array_foreach (json_object_get(answer, "stock"), index, stock) {
        map_stock(side, stock);
    }
    return answer;
}

static void compare(const struct ask *ask, const struct told *legacy, const struct told *banyan)
{
    json_t *a = map(LEGACY, legacy->body), *b = map(BANYAN, banyan->body);
    char *a_text = json_dumps(a, JSON_COMPACT), *b_text = json_dumps(b, JSON_COMPACT); /* in the order of members */

    world.compared++;
    world.codes[legacy->code % 600]++;
    if ((a == NULL || b == NULL || legacy->code != banyan->code || strcmp(a_text, b_text) != 0) &&
        world.wrong++ < WRONG_SHOWN_MAX)
        printf("# different: %s %s %s\n#   the shop %d %.600s#   façade   %d %.600s", ask->method, ask->target,
               ask->body, legacy->code, legacy->body, banyan->code, banyan->body);
    free(a_text);
    free(b_text);
    json_decref(a);
    json_decref(b);
}

/* ---- requests ---- */

static void make_receive(struct ask *ret)
{
    static const char *const forms[] = {"%" PRIu64,  "%" PRIu64,  "%" PRIu64, "00%" PRIu64,
                                        "+%" PRIu64, "-%" PRIu64, " %" PRIu64};
    static const char *const odd[] = {
        "",
        "{}",
        "[]",
        "{\"quantity\":0}",
        "{\"quantity\":-3}",
        "{\"quantity\":null}",
        "{\"quantity\":true}",
        "{\"quantity\":\"x\"}",
        "{\"quantity\":\"\"}",
        "{\"quantity\":\" 5\"}",
        "{\"quantity\":\"007\"}",
        "{\"quantity\":1.5}",
        "{\"quantity\":1e1}",
        "{\"quantity\":5,\"more\":1}",
        "{\"quantity\":1,\"quantity\":2}",
        "{\"quantity\":2147483648}",
        "{\"quantity\":99999999999999999999}",
        "{\"quantity\":[1]}",
        "{\"quantity\":\"\\u0031\"}",
        "{\"quantity\":\"1\\u0000\"}",
        "{\"Quantity\":1}",
        "{\"quantity\":3}x",
        " { \"quantity\" : 3 } ",
        "{\"quantity\":03}",
    };
    static const char *const ends[] = {"/receive", "/receive", "/receive", "/receive", "/receiv", "/receive/", ""};
    size_t form = below(8) == 0 ? below(sizeof(forms) / sizeof(forms[0])) : 0;
    size_t size;

    ret->method = "POST";
    size = (size_t)snprintf(ret->target, sizeof(ret->target), "/stock/");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size += (size_t)snprintf(ret->target + size, sizeof(ret->target) - size, forms[form],
                             below(10) == 0 ? below(STOCKS_MAX) : 1 + below(60));
#pragma GCC diagnostic pop
    (void)snprintf(ret->target + size, sizeof(ret->target) - size, "%s",
                   ends[below(10) == 0 ? below(sizeof(ends) / sizeof(ends[0])) : 0]);
    if (below(3) == 0)
        (void)snprintf(ret->body, sizeof(ret->body), "%s", odd[below(sizeof(odd) / sizeof(odd[0]))]);
    else
        (void)snprintf(ret->body, sizeof(ret->body),
                       below(4) == 0 ? "{\"quantity\":\"%" PRIu64 "\"}" : "{\"quantity\":%" PRIu64 "}",
                       1 + below(1000));
}

static void make_list(struct ask *ret)
{
    static const char *const odd[] = {
        "",
        "?",
        "?limit=0",
        "?limit=-1",
        "?limit=x",
        "?from=",
        "?from=5&",
        "?From=3",
        "?limit",
        "?more=1",
        "?from=1&from=50",
        "?limit=00005",
        "?limit=%35",
        "?from=+3",
        "?limit=10001",
        "?from=99999999999999999999",
        "?from=58&limit=5",
        "?limit=5&from=30",
        "?from=3&more=1",
    };

    ret->method = "GET";
    ret->body[0] = '\0';
    if (below(2) == 0)
        (void)snprintf(ret->target, sizeof(ret->target), "/stock%s", odd[below(sizeof(odd) / sizeof(odd[0]))]);
    else
        (void)snprintf(ret->target, sizeof(ret->target), "/stock?from=%" PRIu64 "&limit=%" PRIu64, below(70),
                       1 + below(70));
}

/* An order at the shop alone; its stock is reserved here, too. */
static void place(void)
{
    static struct told told;
    struct move_stock move = {.order_id = 1, .quantity = 1 + (int64_t)below(3)};
    int64_t stock = 1 + (int64_t)below(60);
    struct banyan_outcome outcome;
    struct ask ask = {.method = "POST", .target = "/orders"};

    (void)snprintf(ask.body, sizeof(ask.body),
                   "{\"customer\":\"c\",\"name\":\"n\",\"zip\":\"1\",\"city\":\"x\",\"state\":\"y\",\"items\":"
                   "[{\"stock_id\":%" PRId64 ",\"quantity\":%" PRId64 "}]}",
                   stock, move.quantity);
    ask_legacy(&ask, &told);
    if (told.code != 201) {
        (void)fprintf(stderr, "POST /orders: %d %s\n", told.code, told.body);
        exit(1);
    }
    decide(stock, STOCK_RESERVE, &move, &outcome);
    banyan_arena_reset(&world.arena);
}

/* What the façade left to the shop and the shop took: as capture would bring it. */
static void take_over(const struct told *told)
{
    json_t *row = json_loads(told->body, 0, NULL);
    int64_t stock = json_integer_value(json_object_get(row, "stock_id"));
    int64_t received = json_integer_value(json_object_get(row, "received"));
    struct receive_stock receive = {.quantity = 0};
    struct banyan_version version;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_outcome outcome;
    struct stock state;

    must(aggregates_state(world.aggregates, BANYAN_STR("stock"), banyan_arena_printf(&world.arena, "%" PRId64, stock),
                          &world.arena, &state, &version, &err),
         &err);
    receive.quantity = received - state.row.received;
    decide(stock, STOCK_RECEIVE, &receive, &outcome);
    json_decref(row);
}

static void run(unsigned long count)
{
    static struct told there, here;
    bool reads = false;

    for (unsigned long i = 0; i < count; i++) {
        struct ask ask;

        /* In turns, as the first read behind a write waits for the view. */
        if (below(12) == 0)
            reads = !reads;
        if (!reads && below(8) == 0) {
            place();
            continue;
        }
        if (reads)
            make_list(&ask);
        else
            make_receive(&ask);
        ask_legacy(&ask, &there);
        if (ask_banyan(&ask, &here)) {
            compare(&ask, &there, &here);
        } else {
            world.left++;
            if (!reads && there.code < 400)
                take_over(&there);
        }
        banyan_arena_reset(&world.arena);
    }
}

/* ---- */

static void seed_stock(void)
{
    static struct told told;
    struct ask ask = {.method = "GET", .target = "/stock?limit=10000"};
    json_t *row, *answer;
    size_t index;

    ask_legacy(&ask, &told);
    answer = json_loads(told.body, 0, NULL);
    json_array_foreach (json_object_get(answer, "stock"), index, row) {
        struct receive_stock receive = {
            .product_id = json_integer_value(json_object_get(row, "product_id")),
            .seller_id = json_integer_value(json_object_get(row, "seller_id")),
            .warehouse_id = json_integer_value(json_object_get(row, "warehouse_id")),
            .quantity = json_integer_value(json_object_get(row, "received")),
        };
        struct banyan_outcome outcome;

        decide(json_integer_value(json_object_get(row, "stock_id")), STOCK_RECEIVE, &receive, &outcome);
    }
    json_decref(answer);
    banyan_arena_reset(&world.arena);
}

static void open_world(const char *folder)
{
    static char path[512], views[512];
    const struct banyan_projection *projection = &commerce_projections[PROJECTION_LEGACY_STOCK];
    struct projection_options options = {.name = projection->name, .projection = projection};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;

    (void)snprintf(path, sizeof(path), "%s/store", folder);
    (void)snprintf(views, sizeof(views), "%s/views", folder);
    must(os_files_real()->make_folder(os_files_real(), views, &err), &err);
    must(os_stop_open(&world.stop, &err), &err);
    must(store_open(&(struct store_options){.folder = path}, &world.store, &err), &err);
    world.aggregates =
        aggregates_new(&(struct aggregates_options){.store = world.store, .domain = &banyan_domain_commerce});
    world.projections = projections_new(
        &(struct projections_options){.domain = &banyan_domain_commerce, .store = world.store, .stop = &world.stop});
    must(sink_sqlite_home(projection, views, options.name, &options.home, &err), &err);
    must(projections_add(world.projections, &options, &err), &err);
    for (int tries = 0; !projections_serving(world.projections, 0, &checkpoint) && tries < 20000; tries++)
        os_clock_real()->sleep_us(os_clock_real(), 1000);
    must(projections_view(world.projections, 0, &world.view, &err), &err);
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
    seed_start(&world.random, "shop_truth");
    http_raw_port = atoi(argv[1]);
    open_world(argv[2]);
    seed_stock();
    run(strtoul(argv[3], NULL, 10));
    close_world();
    printf("# %lu answers compared, %lu left to the shop, %lu different\n#", world.compared, world.left, world.wrong);
    for (int code = 0; code < 600; code++) {
        if (world.codes[code] > 0)
            printf("  %d: %lu", code, world.codes[code]);
    }
    printf("\n");
    return world.wrong == 0 ? 0 : 1;
}
