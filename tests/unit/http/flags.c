/* SPDX-License-Identifier: Apache-2.0 */
/* The flags over HTTP in each mode of the ownership: values, reasons, failures, ETags.  Trading maps one category. */
#include <inttypes.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/server.h"
#include "os/clock.h"
#include "rollout/owner.h"
#include "rollout/routing.h"
#include "support/http_raw.h"
#include "support/test_domain.h"
#include "trading/trading.h"

#define FLAGS "/ofrep/v1/evaluate/flags"
#define JSON_TYPE "Content-Type: application/json\r\n"
#define OWNED_KEY "4000"

static struct {
    char *folder;
    char path[256];
    struct store *store;
    struct owner *owner;
    struct routing *routing;
    struct http_server *server;
} world;

static void must(enum banyan_status st, const struct banyan_error *err)
{
    if (st != BANYAN_OK)
        fail_msg("%s: %s", banyan_status_name(st), err->message);
}

static void serve(bool with_rollout)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    must(http_start(&(struct http_options){.address = "127.0.0.1",
                                           .version = "1",
                                           .domain = &banyan_domain_trading,
                                           .store = world.store,
                                           .routing = with_rollout ? world.routing : NULL,
                                           .owner = with_rollout ? world.owner : NULL},
                    &world.server, &err),
         &err);
    http_raw_port = http_port(world.server);
}

static int open_world(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    (void)state;
    world.folder = test_folder_new();
    snprintf(world.path, sizeof(world.path), "%s/store", world.folder);
    must(store_open(&(struct store_options){.folder = world.path}, &world.store, &err), &err);
    must(owner_open(&(struct owner_options){.domain = &banyan_domain_trading, .source = "oms", .store = world.store},
                    &world.owner, &err),
         &err);
    world.routing = routing_new(5);
    serve(true);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    http_stop(world.server);
    routing_free(world.routing);
    owner_close(world.owner);
    store_close(world.store);
    test_folder_remove(world.folder);
    return 0;
}

static void own(enum owner_mode mode)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t epoch;
    (void)owner_mode(world.owner, &epoch);
    must(owner_change(world.owner, epoch, mode, "test", &epoch, &err), &err);
}

static void share(uint32_t of_new, uint32_t of_reads)
{
    routing_set(world.routing, &(struct routing_decisions){.new_share = of_new, .read_share = of_reads});
}

static const char *ask(const char *flag, const char *key)
{
    char path[128], body[128];
    snprintf(path, sizeof(path), FLAGS "/%s", flag);
    snprintf(body, sizeof(body), "{\"context\":{\"targetingKey\":\"%s\",\"plan\":[1,{}]},\"other\":null}", key);
    return post_with("POST", path, JSON_TYPE, body);
}

/* "value reason variant" of a flag. */
static const char *told(const char *flag, const char *key)
{
    static char text[128];
    json_t *json = json_of(ask(flag, key), 200);
    json_t *value = json_object_get(json, "value");
    assert_string_equal(text_at(json, "key"), flag);
    snprintf(text, sizeof(text), "%s %s %s",
             json_is_string(value)    ? json_string_value(value)
             : json_is_boolean(value) ? (json_is_true(value) ? "true" : "false")
                                      : "?",
             text_at(json, "reason"), text_at(json, "variant"));
    json_decref(json);
    return text;
}

static void each_mode_has_its_answers(void **state)
{
    (void)state;
    share(0, 0);
    assert_string_equal(told("trading.order.new", "trader-1"), "false STATIC legacy");
    assert_string_equal(told("trading.order.read", "1"), "false STATIC legacy");
    assert_string_equal(told("trading.order.owner", "1"), "legacy STATIC legacy");
    own(OWNER_SHARED);
    share(ROUTING_SHARE_ALL, ROUTING_SHARE_ALL);
    assert_string_equal(told("trading.order.new", "trader-1"), "true STATIC banyan");
    assert_string_equal(told("trading.order.read", "trader-1"), "true STATIC banyan");
    share(0, 0);
    assert_string_equal(told("trading.order.new", "trader-1"), "false STATIC legacy");
    assert_string_equal(told("trading.order.owner", "1"), "legacy TARGETING_MATCH legacy");
    /* A new aggregate of Banyan's. */
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_condition condition;
    must(owner_permit(world.owner, BANYAN_STR("order"), BANYAN_STR(OWNED_KEY), true, &arena, &condition, &err), &err);
    banyan_arena_release(&arena);
    assert_string_equal(told("trading.order.owner", OWNED_KEY), "banyan TARGETING_MATCH banyan");
    assert_string_equal(told("trading.order.read", OWNED_KEY), "true TARGETING_MATCH banyan");
    /* Handed back: nobody writes it, the newest is still here. */
    own(OWNER_CLOSING);
    assert_string_equal(told("trading.order.owner", OWNED_KEY), "held TARGETING_MATCH held");
    assert_string_equal(told("trading.order.read", OWNED_KEY), "true TARGETING_MATCH banyan");
    assert_string_equal(told("trading.order.new", "trader-1"), "false STATIC legacy");
    own(OWNER_LEGACY);
    assert_string_equal(told("trading.order.owner", OWNED_KEY), "legacy STATIC legacy");
    /* The pause. */
    routing_set(world.routing,
                &(struct routing_decisions){.hold_writes = true,
                                            .hold_until_us = os_clock_monotonic_us(os_clock_real()) + 60000000});
    assert_string_equal(told("trading.order.owner", "1"), "held STATIC held");
    share(0, 0);
    own(OWNER_BANYAN);
    assert_string_equal(told("trading.order.new", "x"), "true STATIC banyan");
    assert_string_equal(told("trading.order.read", "x"), "true STATIC banyan");
    assert_string_equal(told("trading.order.owner", "1"), "banyan STATIC banyan");
}

static void a_split_is_that_of_the_buckets(void **state)
{
    (void)state;
    int in[2] = {0, 0};
    own(OWNER_CLOSING);
    own(OWNER_LEGACY);
    own(OWNER_SHARED);
    share(2500, 5000);
    for (int i = 0; i < 400; i++) {
        static const char *const flags[] = {"trading.order.new", "trading.order.read"};
        char key[32];
        snprintf(key, sizeof(key), "trader-%d", i);
        for (enum routing_flag flag = ROUTING_NEW; flag <= ROUTING_READ; flag++) {
            json_t *json = json_of(ask(flags[flag], key), 200), *metadata = json_object_get(json, "metadata");
            struct banyan_str category = flag == ROUTING_NEW ? BANYAN_STR("order") : BANYAN_STR("user");
            bool wanted = routing_in(world.routing, flag, category, banyan_str_of(key));
            assert_int_equal(json_is_true(json_object_get(json, "value")), wanted);
            assert_int_equal(number_at(metadata, "bucket"),
                             routing_bucket(world.routing, flag, category, banyan_str_of(key)));
            assert_int_equal(number_at(metadata, "share"), flag == ROUTING_NEW ? 2500 : 5000);
            assert_string_equal(text_at(json, "reason"), "SPLIT");
            assert_string_equal(text_at(metadata, "ownership"), "shared");
            in[flag] += wanted;
            json_decref(json);
        }
    }
    json_t *json = json_of(ask("trading.order.read", "17"), 200); /* an aggregate, no user */
    assert_int_equal(number_at(json_object_get(json, "metadata"), "bucket"),
                     routing_bucket(world.routing, ROUTING_READ, BANYAN_STR("order"), BANYAN_STR("17")));
    json_decref(json);
    assert_in_range(in[0], 60, 140);
    assert_in_range(in[1], 150, 250);
}

static void assert_failure(const char *path, const char *body, int code, const char *name)
{
    json_t *json = json_of(post_with("POST", path, JSON_TYPE, body), code);
    assert_string_equal(text_at(json, "errorCode"), name);
    assert_true(strlen(text_at(json, "errorDetails")) > 0);
    if (strlen(path) > strlen(FLAGS))
        assert_string_equal(text_at(json, "key"), path + strlen(FLAGS) + 1);
    else
        assert_null(json_object_get(json, "key"));
    json_decref(json);
}

static void failures_are_those_of_the_protocol(void **state)
{
    (void)state;
    static const struct {
        const char *body, *name;
    } bad[] = {
        {"", "PARSE_ERROR"},
        {"[]", "PARSE_ERROR"},
        {"{\"context\":", "PARSE_ERROR"},
        {"{\"context\":{\"targetingKey\":\"a\"}", "PARSE_ERROR"},
        {"{\"context\":{\"targetingKey\":\"a\"}} x", "PARSE_ERROR"},
        {"{\"context\":{\"targetingKey\":\"a\"},\"context\":{}}", "PARSE_ERROR"},
        {"{\"context\":{\"targetingKey\":", "PARSE_ERROR"},
        {"{}", "TARGETING_KEY_MISSING"},
        {"{\"context\":{}}", "TARGETING_KEY_MISSING"},
        {"{\"context\":{\"targetingKey\":\"\"}}", "TARGETING_KEY_MISSING"},
        {"{\"context\":{\"user\":\"a\"}}", "TARGETING_KEY_MISSING"},
        {"{\"context\":null}", "INVALID_CONTEXT"},
        {"{\"context\":[]}", "INVALID_CONTEXT"},
        {"{\"context\":{\"targetingKey\":17}}", "INVALID_CONTEXT"},
        {"{\"context\":{\"targetingKey\":\"\\ud800\"}}", "INVALID_CONTEXT"},
        {"{\"context\":{\"targetingKey\":\"a\",\"targetingKey\":\"b\"}}", "INVALID_CONTEXT"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_failure(FLAGS "/trading.order.new", bad[i].body, 400, bad[i].name);
        assert_failure(FLAGS, bad[i].body, 400, bad[i].name);
    }
    assert_failure(FLAGS "/trading.order", "{\"context\":{\"targetingKey\":\"a\"}}", 404, "FLAG_NOT_FOUND");
    assert_failure(FLAGS "/trading.order.new2", "{\"context\":{\"targetingKey\":\"a\"}}", 404, "FLAG_NOT_FOUND");
    assert_failure(FLAGS "/trading.order.owner", "{\"context\":{\"targetingKey\":\"a\"}}", 400, "INVALID_CONTEXT");
    assert_failure(FLAGS "/trading.order.owner", "{\"context\":{\"targetingKey\":\"1\\u0000\"}}", 400,
                   "INVALID_CONTEXT");
    assert_int_equal(code_of(post_with("POST", FLAGS, "Content-Type: text/plain\r\n", "{}")), 415);
    assert_int_equal(code_of(post_with("POST", FLAGS "?a=1", JSON_TYPE, "{}")), 400);
    assert_int_equal(code_of(get(FLAGS)), 405);
}

static const char *bulk(const char *headers)
{
    char all[512];
    snprintf(all, sizeof(all), JSON_TYPE "%s", headers);
    return post_with("POST", FLAGS, all, "{\"context\":{\"targetingKey\":\"" OWNED_KEY "\"}}");
}

static void all_at_once_and_only_when_they_changed(void **state)
{
    (void)state;
    char tag[64], header[256];
    share(2500, 5000);
    const char *answer = bulk("");
    snprintf(tag, sizeof(tag), "%s", header_of(answer, "ETag"));
    json_t *json = json_of(answer, 200), *flags = json_object_get(json, "flags");
    assert_int_equal(json_array_size(flags), 3);
    assert_string_equal(text_at(json_array_get(flags, 0), "key"), "trading.order.new");
    assert_string_equal(text_at(json_array_get(flags, 1), "key"), "trading.order.read");
    assert_string_equal(text_at(json_array_get(flags, 2), "value"), "legacy");
    json_decref(json);
    static const char *const around[][2] = {{"", ""}, {"W/", ""}, {"\"a\", ", " ,\"b\""}};
    for (size_t i = 0; i < 3; i++) {
        snprintf(header, sizeof(header), "If-None-Match: %s%s%s\r\n", around[i][0], tag, around[i][1]);
        answer = bulk(header);
        assert_int_equal(code_of(answer), 304);
        assert_string_equal(header_of(answer, "ETag"), tag);
    }
    assert_int_equal(code_of(bulk("If-None-Match: *\r\n")), 304);
    assert_int_equal(code_of(bulk("If-None-Match: \"0123456789abcdef\"\r\n")), 200);
    snprintf(header, sizeof(header), "If-None-Match: %s\r\n", tag);
    share(2500, 5000); /* nothing changes */
    assert_int_equal(code_of(bulk(header)), 304);
    share(2501, 5000);
    assert_int_equal(code_of(bulk(header)), 200);
    share(2500, 5000);
    assert_int_equal(code_of(bulk(header)), 304);
    /* For a user, the owner of no aggregate can be told: the others can. */
    json = json_of(post_with("POST", FLAGS, JSON_TYPE, "{\"context\":{\"targetingKey\":\"trader\"}}"), 200);
    flags = json_object_get(json, "flags");
    assert_string_equal(text_at(json_array_get(flags, 2), "errorCode"), "INVALID_CONTEXT");
    assert_string_equal(text_at(json_array_get(flags, 0), "reason"), "SPLIT");
    json_decref(json);
}

static void without_a_rollout_they_are_disabled(void **state)
{
    (void)state;
    http_stop(world.server);
    serve(false);
    assert_string_equal(told("trading.order.new", "x"), "false DISABLED legacy");
    assert_string_equal(told("trading.order.read", "1"), "false DISABLED legacy");
    assert_string_equal(told("trading.order.owner", "1"), "legacy DISABLED legacy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mode_has_its_answers),           cmocka_unit_test(a_split_is_that_of_the_buckets),
        cmocka_unit_test(failures_are_those_of_the_protocol),  cmocka_unit_test(all_at_once_and_only_when_they_changed),
        cmocka_unit_test(without_a_rollout_they_are_disabled),
    };
    return cmocka_run_group_tests_name("http/flags", tests, open_world, close_world);
}
