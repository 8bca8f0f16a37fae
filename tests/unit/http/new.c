/* SPDX-License-Identifier: Apache-2.0 */
/* Commands over HTTP that make aggregates of a mapped category, beside a server with the sequence of their keys. */
#include "../pg/pg_test.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/server.h"
#include "os/random.h"
#include "rollout/keys.h"
#include "store/aggregate.h"
#include "support/http_raw.h"
#include "support/test_domain.h"
#include "trading/trading.h"

enum {
    BLOCK = 4,
    REPEATS = 4,
};

#define JSON_TYPE "Content-Type: application/json\r\n"
#define PLACE                                                                                                          \
    "{\"trader_id\":2,\"symbol\":\"BTC\",\"side\":\"BUY\",\"quantity\":\"1.50000000\",\"price\":\"100.00000000\"}"

static const char tables[] = "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;"
                             "CREATE SEQUENCE orders_order_id_seq; CREATE TABLE orders (order_id bigint PRIMARY KEY)";

static struct {
    char *folder;
    char path[256];
    struct store *store;
    struct owner *owner;
    struct keys *keys;
    struct aggregates *aggregates;
    struct http_server *server;
    struct pg_conn *conn;
} world;

static enum banyan_status permit(void *context, struct banyan_str category, struct banyan_str key, bool creates,
                                 struct banyan_arena *arena, struct store_condition *ret, struct banyan_error *err)
{
    (void)context;
    return owner_permit(world.owner, category, key, creates, arena, ret, err);
}

static enum banyan_status begins(void *context, struct banyan_str category, struct banyan_str key,
                                 struct banyan_error *err)
{
    (void)context;
    return owner_may_begin(world.owner, category, key, err);
}

/* As `banyan serve` starts: the ownership is read from the log before the port takes the first request. */
static void start(void)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    OK(store_open(&(struct store_options){.folder = world.path}, &world.store, &err));
    OK(owner_open(&(struct owner_options){&banyan_domain_trading, "oms", world.store}, &world.owner, &err));
    OK(keys_open(&(struct keys_options){.domain = &banyan_domain_trading,
                                        .source = "oms",
                                        .conninfo = test_conninfo(),
                                        .store = world.store,
                                        .owner = world.owner,
                                        .block = BLOCK},
                 &world.keys, &err));
    world.aggregates = aggregates_new(&(struct aggregates_options){
        .store = world.store, .domain = &banyan_domain_trading, .permit = {.permit = permit, .begins = begins}});
    OK(http_start(&(struct http_options){.address = "127.0.0.1",
                                         .version = "1",
                                         .domain = &banyan_domain_trading,
                                         .store = world.store,
                                         .aggregates = world.aggregates,
                                         .owner = world.owner,
                                         .keys = world.keys},
                  &world.server, &err));
    http_raw_port = http_port(world.server);
}

static void stop(void)
{
    http_stop(world.server);
    aggregates_free(world.aggregates);
    keys_close(world.keys);
    owner_close(world.owner);
    store_close(world.store);
}

static int open_world(void **state)
{
    (void)state;
    world.conn = test_connect(false);
    test_run(world.conn, "SET client_min_messages = warning");
    test_run(world.conn, tables);
    world.folder = test_folder_new();
    snprintf(world.path, sizeof(world.path), "%s/store", world.folder);
    start();
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    stop();
    pg_close(world.conn);
    test_folder_remove(world.folder);
    return 0;
}

static void own(enum owner_mode mode)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t epoch;
    (void)owner_mode(world.owner, &epoch);
    OK(owner_change(world.owner, epoch, mode, "test", &epoch, &err));
}

static const char *command(const char *path, const char *headers, const char *body)
{
    char all[512];
    snprintf(all, sizeof(all), JSON_TYPE "%s", headers);
    return post_with("POST", path, all, body);
}

/* To a price that it never had. */
static int modify(long long key)
{
    static int price = 1000;
    char path[128], body[64];
    snprintf(path, sizeof(path), "/commands/order/%lld/ModifyOrder", key);
    snprintf(body, sizeof(body), "{\"price\":\"%d.00000000\"}", ++price);
    return code_of(command(path, "", body));
}

static int place(const char *key, const char *headers)
{
    char path[128];
    snprintf(path, sizeof(path), "/commands/order/%s/PlaceOrder", key);
    return code_of(command(path, headers, PLACE));
}

/* The key that it got. */
static long long place_new(const char *headers, int code)
{
    char location[64];
    const char *answer = command("/commands/order/new/PlaceOrder", headers, PLACE);
    snprintf(location, sizeof(location), "%s", code / 100 == 2 ? header_of(answer, "Location") : "");
    json_t *json = json_of(answer, code);
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "/aggregates/order/%s", text_at(json, "key"));
    assert_string_equal(location, wanted);
    assert_int_equal(code_of(get(location)), 200);
    long long key = strtoll(text_at(json, "key"), NULL, 10);
    json_decref(json);
    return key;
}

static void each_mode_makes_what_it_may(void **state)
{
    static const char once[] = "Idempotency-Key: once\r\n";
    (void)state;
    assert_int_equal(place("new", ""), 409);
    assert_int_equal(place("17", "If-None-Match: *\r\n"), 412);
    own(OWNER_SHARED);
    /* The sequence did not give it, and will. */
    assert_int_equal(place("17", "If-None-Match: *\r\n"), 412);
    assert_int_equal(place("17", ""), 409);
    assert_int_equal(owner_side(world.owner, BANYAN_STR("order"), 17), OWNER_SIDE_LEGACY);
    long long first = place_new("", 201);
    assert_true(first > 0 && first <= BLOCK); /* nothing was used up while it was refused */
    long long second = place_new(once, 201);
    assert_int_not_equal(first, second);
    assert_int_equal(place_new(once, 200), second);
    assert_int_equal(modify(first), 201);
    assert_int_equal(place("new", "If-Match: *\r\n"), 400);
    assert_int_equal(code_of(command("/commands/order/new/PlaceOrder", once,
                                     "{\"trader_id\":3,\"symbol\":\"BTC\",\"side\":\"BUY\","
                                     "\"quantity\":\"1\",\"price\":\"100\"}")),
                     409);
    own(OWNER_CLOSING);
    assert_int_equal(place("new", ""), 503);
    assert_int_equal(place_new(once, 200), second); /* it was executed before */
    own(OWNER_SHARED);
    own(OWNER_BANYAN);
    assert_int_equal(place("100000", ""), 400);
    assert_int_equal(place("9223372036854775807", "If-None-Match: *\r\n"), 400);
    assert_int_equal(code_of(command("/commands/order/100000/CancelOrder", "", "{}")), 422); /* the domain's refusal */
    assert_true(place_new("", 201) > second);
    assert_int_equal(place_new(once, 200), second);
}

/* Whoever got an event in under a key that was not given out yet: the key is left out. */
static void keys_that_are_taken_are_left_out(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char stream[64];
    (void)state;
    long long key = place_new("", 201);
    for (int i = 1; i <= BLOCK; i++) {
        struct store_appended appended;
        snprintf(stream, sizeof(stream), "order-%lld", key + i);
        struct store_event event = {.id = os_uuid_new(),
                                    .stream = banyan_str_of(stream),
                                    .type = BANYAN_STR("Other"),
                                    .provenance = BANYAN_EXACT,
                                    .payload = BANYAN_STR("{}")};
        OK(store_append(world.store, &(struct store_append){.events = &event, .event_count = 1}, &appended, &err));
    }
    assert_true(place_new("", 201) > key + BLOCK);
}

/* ---- the same request many times at once ---- */

static void repeats_at_once_make_one(void **state)
{
    int repeats[REPEATS];
    char request[1024], keys[REPEATS][32];
    (void)state;
    snprintf(request, sizeof(request),
             "POST /commands/order/new/PlaceOrder HTTP/1.1\r\nHost: a\r\n" JSON_TYPE
             "Idempotency-Key: at-once\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(PLACE), PLACE);
    for (int i = 0; i < REPEATS; i++)
        repeats[i] = dial();
    for (int i = 0; i < REPEATS; i++)
        say(repeats[i], request, strlen(request));
    for (int i = 0; i < REPEATS; i++) {
        const char *answer = hear(repeats[i]);
        assert_true(code_of(answer) == 201 || code_of(answer) == 200);
        snprintf(keys[i], sizeof(keys[i]), "%s", header_of(answer, "Location"));
        assert_string_equal(keys[i], keys[0]);
    }
}

/* ---- a start in each state ---- */

static void a_start_knows_the_owner(void **state)
{
    (void)state;
    own(OWNER_CLOSING);
    own(OWNER_LEGACY);
    stop(), start();
    assert_int_equal(modify(1), 409);
    assert_int_equal(place("new", ""), 409);
    own(OWNER_SHARED);
    long long mine = place_new("", 201);
    stop(), start();
    assert_int_equal(modify(mine), 201);
    assert_int_equal(modify(1), 409); /* of the first time: it was handed back */
    long long other = place_new("", 201);
    assert_true(other > mine);
    own(OWNER_CLOSING);
    stop(), start();
    assert_int_equal(modify(mine), 503);
    assert_int_equal(modify(1), 409);
    assert_int_equal(place("new", ""), 503);
    own(OWNER_SHARED);
    own(OWNER_BANYAN);
    stop(), start();
    assert_int_equal(modify(mine), 201);
    assert_true(place_new("", 201) > other);
    own(OWNER_CLOSING);
    stop(), start();
    assert_int_equal(modify(mine), 503);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mode_makes_what_it_may),
        cmocka_unit_test(keys_that_are_taken_are_left_out),
        cmocka_unit_test(repeats_at_once_make_one),
        cmocka_unit_test(a_start_knows_the_owner),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
