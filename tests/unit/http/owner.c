/* SPDX-License-Identifier: Apache-2.0 */
/* Raw appends over HTTP to aggregates of a mapped category, in each mode of the ownership and while it changes. */
#include <jansson.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "banyan/client.h"
#include "http/server.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"
#include "rollout/owner.h"
#include "support/http_raw.h"
#include "support/test_domain.h"
#include "trading/trading.h"

enum {
    CLIENTS = 4,
    ROUNDS = 12,
    WAIT_US_MAX = 60 * 1000 * 1000,
};

#define JSON_TYPE "Content-Type: application/json\r\n"
#define LINES_TYPE "Content-Type: application/x-ndjson\r\n"
#define OWNED_KEY "4000"
#define EVENT "\"type\":\"OrderCanceled\",\"payload\":{}"

static struct {
    char *folder;
    char path[256];
    struct store *store;
    struct owner *owner;
    struct http_server *server;
} world;

static void must(enum banyan_status st, const struct banyan_error *err)
{
    if (st != BANYAN_OK) {
        fprintf(stderr, "%s: %s\n", banyan_status_name(st), err->message);
        abort();
    }
}

static void own(enum owner_mode mode)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t epoch;
    (void)owner_mode(world.owner, &epoch);
    must(owner_change(world.owner, epoch, mode, "test", &epoch, &err), &err);
}

/* An event as capture or a command leaves it. */
static void put(const char *stream, const char *meta)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    struct store_event event = {.id = os_uuid_new(),
                                .stream = banyan_str_of(stream),
                                .type = BANYAN_STR("OrderCreated"),
                                .provenance = BANYAN_EXACT,
                                .payload = BANYAN_STR("{}"),
                                .meta = banyan_str_of(meta)};
    must(store_append(world.store, &(struct store_append){.events = &event, .event_count = 1}, &appended, &err), &err);
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
    must(http_start(&(struct http_options){.address = "127.0.0.1",
                                           .version = "1",
                                           .domain = &banyan_domain_trading,
                                           .store = world.store,
                                           .owner = world.owner},
                    &world.server, &err),
         &err);
    http_raw_port = http_port(world.server);
    put("order-1", "{\"xid\":7,\"lsn\":\"0/1\"}");
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    http_stop(world.server);
    owner_close(world.owner);
    store_close(world.store);
    test_folder_remove(world.folder);
    return 0;
}

static int append(const char *stream)
{
    char path[128];
    snprintf(path, sizeof(path), "/streams/%s", stream);
    return code_of(post_with("POST", path, JSON_TYPE, "{" EVENT "}"));
}

/* The same by each way; they have to agree. */
static int append_each(const char *stream)
{
    char body[512];
    int code = append(stream);
    uint64_t tail = store_tail(world.store).value;
    snprintf(body, sizeof(body), "{\"events\":[{\"stream\":\"basket-1\"," EVENT "},{\"stream\":\"%s\"," EVENT "}]}",
             stream);
    assert_int_equal(code_of(post_with("POST", "/events", JSON_TYPE, body)), code);
    assert_int_equal(store_tail(world.store).value, tail + (code == 201 ? 2 : 0));
    snprintf(body, sizeof(body), "{\"stream\":\"basket-1\"," EVENT "}\n{\"stream\":\"%s\"," EVENT "}\n", stream);
    assert_int_equal(code_of(post_with("POST", "/events", LINES_TYPE, body)), code == 201 ? 200 : code);
    assert_int_equal(store_tail(world.store).value, tail + (code == 201 ? 4 : 0));
    return code;
}

/* An aggregate of Banyan's in SHARED. */
static void make_owned(void)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_condition condition;
    must(owner_permit(world.owner, BANYAN_STR("order"), BANYAN_STR(OWNED_KEY), true, &arena, &condition, &err), &err);
    banyan_arena_release(&arena);
    put("order-" OWNED_KEY, "{\"command\":\"PlaceOrder\"}");
}

static void each_mode_takes_what_is_banyans(void **state)
{
    (void)state;
    assert_int_equal(append_each("order-1"), 409); /* no rollout yet: the legacy application's */
    own(OWNER_SHARED);
    make_owned();
    assert_int_equal(append_each("order-1"), 409);
    assert_int_equal(append_each("order-5000"), 409); /* a new one, with a key that the sequence may give */
    assert_int_equal(append_each("order-" OWNED_KEY), 201);
    own(OWNER_CLOSING);
    assert_int_equal(append_each("order-" OWNED_KEY), 503);
    assert_int_equal(append_each("order-1"), 409);
    own(OWNER_SHARED);
    assert_int_equal(append_each("order-" OWNED_KEY), 201);
    own(OWNER_BANYAN);
    assert_int_equal(append_each("order-" OWNED_KEY), 201);
    assert_int_equal(append_each("order-1"), 201);
    assert_int_equal(append_each("order-5000"), 400); /* keys come from the sequence */
    own(OWNER_CLOSING);
    assert_int_equal(append_each("order-1"), 503);
    own(OWNER_LEGACY);
    assert_int_equal(append_each("order-1"), 409);
    assert_int_equal(append_each("basket-2"), 201); /* not mapped */
}

static void what_the_mirror_could_not_write_is_refused(void **state)
{
    (void)state;
    own(OWNER_BANYAN);
    assert_int_equal(append("order-x"), 400);
    assert_int_equal(append("order-01"), 400);
    assert_int_equal(append("order"), 400);
    assert_int_equal(code_of(post_with("POST", "/streams/order-1", JSON_TYPE, "{\"type\":\"Unheard\",\"payload\":{}}")),
                     400);
    /* As if capture had written it: the mirror would leave it out. */
    assert_int_equal(code_of(post_with("POST", "/streams/order-1", JSON_TYPE, "{" EVENT ",\"meta\":{\"xid\":1}}")),
                     400);
    assert_int_equal(
        code_of(post_with("POST", "/streams/order-1", JSON_TYPE, "{" EVENT ",\"meta\":{\"by\":{\"xid\":1}}}")), 201);
    own(OWNER_CLOSING);
    own(OWNER_LEGACY);
}

/* What was appended is answered as the first time, whoever owns it now; with more in it, it is nothing. */
static void a_repeat_outlives_the_ownership(void **state)
{
    static const char twice[] =
        "{\"events\":[{\"stream\":\"order-1\",\"id\":\"0190f3b6-0000-7000-8000-000000000001\"," EVENT
        "},{\"stream\":\"order-1\"," EVENT "}]}";
    static const char once[] = "{\"id\":\"0190f3b6-0000-7000-8000-000000000001\"," EVENT "}";
    (void)state;
    own(OWNER_BANYAN);
    assert_int_equal(code_of(post_with("POST", "/streams/order-1", JSON_TYPE, once)), 201);
    own(OWNER_CLOSING);
    own(OWNER_LEGACY);
    uint64_t tail = store_tail(world.store).value;
    assert_int_equal(code_of(post_with("POST", "/streams/order-1", JSON_TYPE, once)), 200);
    assert_int_equal(code_of(post_with("POST", "/events", JSON_TYPE, twice)), 409);
    assert_int_equal(store_tail(world.store).value, tail);
}

/* ---- while the ownership changes ---- */

struct racer {
    unsigned number;
    bool *stop; /* atomic */
    uint64_t accepted;
    struct os_thread thread;
};

static void race(void *argument)
{
    struct racer *racer = argument;
    struct banyan_client *client;
    struct banyan_error err = BANYAN_ERROR_INIT;
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", http_raw_port);
    must(banyan_client_open(&(struct banyan_client_options){.url = url}, &client, &err), &err);
    while (!__atomic_load_n(racer->stop, __ATOMIC_RELAXED)) {
        struct banyan_client_event event = {.type = BANYAN_STR("OrderCanceled"), .payload = BANYAN_STR("{}")};
        struct banyan_client_appended appended;
        banyan_error_clear(&err);
        if (banyan_client_append(
                client,
                &(struct banyan_client_append){.stream = BANYAN_STR("order-1"), .events = &event, .event_count = 1},
                &appended, &err) == BANYAN_OK)
            racer->accepted++;
    }
    banyan_client_close(client);
}

static void await_append(void)
{
    int64_t began_us = os_clock_monotonic_us(os_clock_real());
    uint64_t tail = store_tail(world.store).value;
    while (store_tail(world.store).value == tail) {
        assert_true(os_clock_monotonic_us(os_clock_real()) - began_us < WAIT_US_MAX);
        (void)sched_yield();
    }
}

static void nothing_is_appended_behind_closing(void **state)
{
    struct racer racers[CLIENTS];
    bool stop = false;
    uint64_t accepted = 0, first = store_tail(world.store).value, changes = 0;
    (void)state;
    for (unsigned i = 0; i < CLIENTS; i++) {
        racers[i] = (struct racer){.number = i, .stop = &stop};
        os_thread_start(&racers[i].thread, "racer", race, &racers[i]);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        own(OWNER_BANYAN);
        await_append();
        own(OWNER_CLOSING);
        uint64_t tail = store_tail(world.store).value;
        for (int look = 0; look < 1000; look++) {
            assert_int_equal(store_tail(world.store).value, tail);
            (void)sched_yield();
        }
        own(OWNER_LEGACY);
        assert_int_equal(store_tail(world.store).value, tail + 1);
        changes += 3;
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < CLIENTS; i++) {
        os_thread_join(&racers[i].thread);
        accepted += racers[i].accepted;
    }
    assert_true(accepted > 0);
    assert_int_equal(store_tail(world.store).value, first + changes + accepted);
    print_message("# %llu appends, %llu changes\n", (unsigned long long)accepted, (unsigned long long)changes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mode_takes_what_is_banyans),
        cmocka_unit_test(what_the_mirror_could_not_write_is_refused),
        cmocka_unit_test(a_repeat_outlives_the_ownership),
        cmocka_unit_test(nothing_is_appended_behind_closing),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
