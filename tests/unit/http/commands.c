/* SPDX-License-Identifier: Apache-2.0 */
/* Commands, states and processes over HTTP, with the small domain of support/transfers.h. */
#include <inttypes.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "banyan/client.h"
#include "http/server.h"
#include "os/clock.h"
#include "os/thread.h"
#include "process/process.h"
#include "store/aggregate.h"
#include "support/http_raw.h"
#include "support/test_domain.h"
#include "support/transfers.h"

enum {
    CLIENTS = 4,
    TRANSFERS = 100, /* of each */
};

static struct {
    char *folder;
    char path[256];
    struct os_stop stop;
    struct store *store;
    struct aggregates *aggregates;
    struct process *process;
    struct http_server *server;
} world;

#define JSON_TYPE "Content-Type: application/json\r\n"

static void must(enum banyan_status st, const struct banyan_error *err)
{
    if (st != BANYAN_OK) {
        fprintf(stderr, "%s: %s\n", banyan_status_name(st), err->message);
        abort();
    }
}

static int open_world(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    world.folder = test_folder_new();
    snprintf(world.path, sizeof(world.path), "%s/store", world.folder);
    must(os_stop_open(&world.stop, &err), &err);
    must(store_open(&(struct store_options){.folder = world.path}, &world.store, &err), &err);
    world.aggregates = aggregates_new(&(struct aggregates_options){.store = world.store, .domain = &transfers_domain});
    must(process_start(&(struct process_options){.domain = &transfers_domain,
                                                 .process = transfers_domain.processes,
                                                 .store = world.store,
                                                 .aggregates = world.aggregates,
                                                 .stop = &world.stop},
                       &world.process, &err),
         &err);
    must(http_start(&(struct http_options){.address = "127.0.0.1",
                                           .version = "1",
                                           .domain = &transfers_domain,
                                           .store = world.store,
                                           .aggregates = world.aggregates,
                                           .processes = &world.process,
                                           .process_count = 1},
                    &world.server, &err),
         &err);
    http_raw_port = http_port(world.server);
    return 0;
}

static int close_world(void **state)
{
    http_stop(world.server);
    os_stop_request(&world.stop);
    process_stop(world.process);
    aggregates_free(world.aggregates);
    store_close(world.store);
    os_stop_close(&world.stop);
    test_folder_remove(world.folder);
    return 0;
}

static const char *command(const char *path, const char *headers, const char *body)
{
    char all[512];
    snprintf(all, sizeof(all), JSON_TYPE "%s", headers);
    return post_with("POST", path, all, body);
}

/* ---- tests ---- */

static void a_command_is_decided_and_answered(void **state)
{
    char position[32];
    const char *answer = command("/commands/account/1/Open", "", "{\"balance\":100}");
    assert_string_equal(header_of(answer, "ETag"), "\"1\"");
    snprintf(position, sizeof(position), "%s", header_of(answer, "Banyan-Position"));
    json_t *json = json_of(answer, 201);
    assert_int_equal(number_at(json, "version"), 1);
    assert_int_equal(number_at(json, "events"), 1);
    assert_int_equal(number_at(json, "position"), strtoll(position, NULL, 10));
    json_decref(json);
    /* It is there, for who reads after it. */
    answer = get("/aggregates/account/1");
    assert_string_equal(header_of(answer, "ETag"), "\"1\"");
    assert_true(strtoll(header_of(answer, "Banyan-Position"), NULL, 10) >= strtoll(position, NULL, 10));
    json = json_of(answer, 200);
    assert_int_equal(number_at(json_object_get(json, "state"), "balance"), 100);
    json_decref(json);
    assert_int_equal(code_of(get_with("/aggregates/account/1", "If-None-Match: \"1\"\r\n")), 304);
    assert_int_equal(code_of(get("/aggregates/account/none")), 404);
    assert_int_equal(code_of(get("/aggregates/nothing/1")), 404);
    /* Nothing to do is an answer, too. */
    json = json_of(command("/commands/account/1/Open", "", "{\"balance\":7}"), 200);
    assert_int_equal(number_at(json, "events"), 0);
    json_decref(json);
}

static void a_refusal_says_why(void **state)
{
    json_decref(json_of(command("/commands/account/2/Open", "", "{\"balance\":10}"), 201));
    json_t *json = json_of(command("/commands/account/2/Withdraw", "", "{\"transfer\":1,\"amount\":11}"), 422);
    assert_string_equal(text_at(json, "code"), "REFUSED");
    assert_string_equal(text_at(json, "refusal"), "poor");
    assert_string_equal(text_at(json, "detail"), "poor");
    assert_int_equal(number_at(json, "version"), 1);
    json_decref(json);
}

static void a_repeat_is_answered_as_the_first_time(void **state)
{
    static const char *const keys[] = {"Idempotency-Key: seven\r\n",
                                       "Idempotency-Key: 0190f3b6-0000-7000-8000-000000000007\r\n"};
    json_decref(json_of(command("/commands/account/3/Open", "", "{\"balance\":100}"), 201));
    for (size_t i = 0; i < 2; i++) {
        json_t *first =
            json_of(command("/commands/account/3/Withdraw", keys[i], "{\"transfer\":1,\"amount\":10}"), 201);
        json_t *again =
            json_of(command("/commands/account/3/Withdraw", keys[i], "{\"transfer\":1,\"amount\":10}"), 200);
        assert_int_equal(number_at(first, "position"), number_at(again, "position"));
        assert_int_equal(number_at(first, "version"), number_at(again, "version"));
        assert_true(json_is_true(json_object_get(again, "repeated")));
        json_decref(first);
        json_decref(again);
        json_t *other =
            json_of(command("/commands/account/3/Withdraw", keys[i], "{\"transfer\":1,\"amount\":20}"), 409);
        assert_string_equal(text_at(other, "code"), "DUPLICATE");
        json_decref(other);
    }
    json_t *json = json_of(get("/aggregates/account/3"), 200);
    assert_int_equal(number_at(json_object_get(json, "state"), "balance"), 80);
    json_decref(json);
}

static void conditions_are_held(void **state)
{
    assert_int_equal(code_of(command("/commands/account/4/Open", "If-Match: *\r\n", "{\"balance\":1}")), 412);
    assert_int_equal(code_of(command("/commands/account/4/Open", "If-None-Match: *\r\n", "{\"balance\":1}")), 201);
    assert_int_equal(code_of(command("/commands/account/4/Open", "If-None-Match: *\r\n", "{\"balance\":1}")), 412);
    assert_int_equal(code_of(command("/commands/account/4/Freeze", "If-Match: \"2\"\r\n", "{\"frozen\":true}")), 412);
    assert_int_equal(code_of(command("/commands/account/4/Freeze", "If-Match: \"1\"\r\n", "{\"frozen\":true}")), 201);
    assert_int_equal(code_of(command("/commands/account/4/Freeze", "If-Match: 1\r\n", "{\"frozen\":true}")), 400);
}

static void bad_requests_are_told(void **state)
{
    assert_int_equal(code_of(command("/commands/account/5/Close", "", "{}")), 404);
    assert_int_equal(code_of(command("/commands/nothing/5/Open", "", "{}")), 404);
    assert_int_equal(code_of(command("/commands/mover/5/Open", "", "{}")), 404);
    assert_int_equal(code_of(command("/commands/account/5/Open", "", "{\"balance\":\"x\"}")), 400);
    assert_int_equal(code_of(command("/commands/account/5/Open", "", "{\"balance\":1,\"more\":1}")), 400);
    assert_int_equal(code_of(command("/commands/account/5/Open", "", "{")), 400);
    assert_int_equal(code_of(command("/commands/account/5/Open", "", "[]")), 400);
    assert_int_equal(code_of(command("/commands/account/5/Open?a=1", "", "{\"balance\":1}")), 400);
    assert_int_equal(code_of(command("/commands/account/5/Open", "Idempotency-Key: \r\n", "{\"balance\":1}")), 400);
    assert_int_equal(
        code_of(post_with("POST", "/commands/account/5/Open", "Content-Type: text/plain\r\n", "{\"balance\":1}")), 415);
    assert_int_equal(code_of(get("/commands/account/5/Open")), 405);
    assert_int_equal(code_of(get("/aggregates/account/5")), 404); /* nothing of it did anything */
}

static void processes_are_told(void **state)
{
    json_t *json = json_of(get("/processes"), 200);
    const json_t *mover = json_array_get(json_object_get(json, "processes"), 0);
    assert_string_equal(text_at(mover, "name"), "mover");
    assert_true(json_is_null(json_object_get(mover, "next_wake")));
    assert_int_equal(json_array_size(json_object_get(mover, "aside")), 0);
    json_decref(json);
    json = json_of(post_with("POST", "/processes/mover/retry", "", ""), 202);
    assert_int_equal(number_at(json, "instances_aside"), 0);
    json_decref(json);
    assert_int_equal(code_of(post_with("POST", "/processes/none/retry", "", "")), 404);
    assert_non_null(strstr(get("/metrics"), "banyan_process_live{process=\"mover\"}"));
}

/* ---- many clients ---- */

struct worker {
    unsigned number;
    struct os_thread thread;
};

static void transfer(void *argument)
{
    const struct worker *worker = argument;
    char url[64], key[32], fields[128];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_client *client;
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", http_raw_port);
    must(banyan_client_open(&(struct banyan_client_options){.url = url}, &client, &err), &err);
    for (unsigned i = 0; i < TRANSFERS; i++) {
        struct banyan_client_decided decided;
        snprintf(key, sizeof(key), "%u", 1000 * (worker->number + 1) + i);
        snprintf(fields, sizeof(fields), "{\"from\":%u,\"to\":%u,\"amount\":1}", 10 + (worker->number + i) % CLIENTS,
                 10 + (worker->number + i + 1) % CLIENTS);
        must(banyan_client_command(client,
                                   &(struct banyan_client_command){.category = BANYAN_STR("transfer"),
                                                                   .key = banyan_str_of(key),
                                                                   .name = BANYAN_STR("Ask"),
                                                                   .fields = banyan_str_of(fields)},
                                   &decided, &err),
             &err);
        if (!decided.accepted || decided.version.value != 1)
            abort();
    }
    banyan_client_close(client);
}

static void many_clients_and_a_process(void **state)
{
    struct worker workers[CLIENTS];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_position tail = {0};
    char path[64];
    long long sum = 0, done = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        snprintf(path, sizeof(path), "/commands/account/%u/Open", 10 + i);
        json_decref(json_of(command(path, "", "{\"balance\":1000}"), 201));
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        workers[i] = (struct worker){i, {.started = false}};
        os_thread_start(&workers[i].thread, "worker", transfer, &workers[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        os_thread_join(&workers[i].thread);
    while (tail.value != store_tail(world.store).value) {
        tail = store_tail(world.store);
        must(process_wait(world.process, tail, 20 * 1000 * 1000, &err), &err);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        snprintf(path, sizeof(path), "/aggregates/account/%u", 10 + i);
        json_t *json = json_of(get(path), 200);
        sum += number_at(json_object_get(json, "state"), "balance");
        done += number_at(json_object_get(json, "state"), "deposits");
        json_decref(json);
    }
    assert_int_equal(sum, 1000 * CLIENTS);
    assert_int_equal(done, TRANSFERS * CLIENTS);
    json_t *json = json_of(get("/aggregates/mover/1000"), 200); /* the state of an instance explains it */
    assert_string_equal(text_at(json_object_get(json, "state"), "outcome"), "done");
    json_decref(json);
}

static void the_client_tells_a_refusal(void **state)
{
    char url[64];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_client *client;
    struct banyan_client_decided decided;
    struct banyan_client_command asked = {.category = BANYAN_STR("account"),
                                          .key = BANYAN_STR("a/b ä"),
                                          .name = BANYAN_STR("Withdraw"),
                                          .fields = BANYAN_STR("{\"transfer\":1,\"amount\":2}")};
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", http_raw_port);
    must(banyan_client_open(&(struct banyan_client_options){.url = url}, &client, &err), &err);
    must(banyan_client_command(client, &asked, &decided, &err), &err);
    assert_false(decided.accepted);
    assert_string_equal(decided.refusal, "closed");
    asked.name = BANYAN_STR("Open");
    asked.fields = BANYAN_STR("{\"balance\":5}");
    asked.expect = BANYAN_CLIENT_EXISTS;
    assert_int_equal(banyan_client_command(client, &asked, &decided, &err), BANYAN_CONFLICT);
    banyan_error_clear(&err);
    asked.expect = BANYAN_CLIENT_ABSENT;
    asked.idempotency_key = "one";
    must(banyan_client_command(client, &asked, &decided, &err), &err);
    assert_true(decided.accepted);
    assert_false(decided.repeated);
    must(banyan_client_command(client, &asked, &decided, &err), &err);
    assert_true(decided.repeated);
    assert_int_equal(decided.version.value, 1);
    assert_true(decided.position.value > 0);
    banyan_client_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_is_decided_and_answered),
        cmocka_unit_test(a_refusal_says_why),
        cmocka_unit_test(a_repeat_is_answered_as_the_first_time),
        cmocka_unit_test(conditions_are_held),
        cmocka_unit_test(bad_requests_are_told),
        cmocka_unit_test(processes_are_told),
        cmocka_unit_test(many_clients_and_a_process),
        cmocka_unit_test(the_client_tells_a_refusal),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
