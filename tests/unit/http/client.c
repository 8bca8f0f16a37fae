/* SPDX-License-Identifier: Apache-2.0 */
/* The C client against a real server: appends, repeats, conflicts, reading, following over a restart. */
#include "banyan/client.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/http_world.h"

static struct banyan_client *client_new(void)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_client *client = NULL;
    must(banyan_client_open(&(struct banyan_client_options){.url = world.url}, &client, &err), &err);
    return client;
}

static const struct banyan_client_event paid = {
    .type = {"Paid", 4}, .payload = {"{\"cents\": 1.50}", 15}, .meta = {"{\"by\":\"me\"}", 11}};

static void appends_are_answered(void **state)
{
    struct banyan_client *client = client_new();
    struct banyan_client_appended appended;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_client_append append = {.stream = BANYAN_STR("pay-a/b c"),
                                          .events = &paid,
                                          .event_count = 1,
                                          .expect = BANYAN_CLIENT_ABSENT,
                                          .key = "k"};
    must(banyan_client_append(client, &append, &appended, &err), &err);
    assert_int_equal(appended.version.value, 1);
    assert_false(appended.repeated);
    must(banyan_client_append(client, &append, &appended, &err), &err);
    assert_true(appended.repeated);
    append.key = NULL;
    assert_int_equal(banyan_client_append(client, &append, &appended, &err), BANYAN_CONFLICT);
    assert_non_null(strstr(err.message, "pay-a/b c"));
    banyan_error_clear(&err);
    append.expect = BANYAN_CLIENT_VERSION;
    append.version.value = 1;
    must(banyan_client_append(client, &append, &appended, &err), &err);
    assert_int_equal(appended.version.value, 2);
    /* The server goes away and comes back: the connection is made again. */
    http_world_stop();
    http_world_start();
    append.expect = BANYAN_CLIENT_EXISTS;
    must(banyan_client_append(client, &append, &appended, &err), &err);
    assert_int_equal(appended.version.value, 3);
    append.event_count = 0;
    assert_int_equal(banyan_client_append(client, &append, &appended, &err), BANYAN_INVALID);
    banyan_client_close(client);
}

struct seen {
    uint64_t count, wanted, last_version;
    bool caught_up;
};

static bool see(void *context, const struct banyan_client_seen *event)
{
    struct seen *seen = context;
    if (event->caught_up) {
        seen->caught_up = true;
        return seen->count < seen->wanted;
    }
    assert_int_equal(event->version.value, seen->last_version + 1);
    assert_true(banyan_str_equal(event->payload, BANYAN_STR("{\"cents\": 1.50}")));
    assert_true(banyan_str_equal(event->meta, BANYAN_STR("{\"by\":\"me\"}")));
    assert_true(banyan_str_equal(event->type, BANYAN_STR("Paid")));
    seen->last_version = event->version.value;
    return ++seen->count < seen->wanted;
}

static void streams_are_read_and_followed(void **state)
{
    struct banyan_client *client = client_new(), *other = client_new();
    struct banyan_client_event events[700];
    struct banyan_client_appended appended;
    struct banyan_error err = BANYAN_ERROR_INIT;
    for (size_t i = 0; i < 700; i++)
        events[i] = paid;
    struct banyan_client_append append = {.stream = BANYAN_STR("long-1"), .events = events, .event_count = 700};
    must(banyan_client_append(client, &append, &appended, &err), &err);
    struct seen seen = {.wanted = UINT64_MAX};
    must(banyan_client_read(client, BANYAN_STR("long-1"), (struct banyan_version){0}, see, &seen, &err), &err);
    assert_int_equal(seen.count, 700);
    seen = (struct seen){.wanted = 10, .last_version = 600};
    must(banyan_client_read(client, BANYAN_STR("long-1"), (struct banyan_version){601}, see, &seen, &err), &err);
    assert_int_equal(seen.count, 10);
    assert_int_equal(banyan_client_read(client, BANYAN_STR("none-1"), (struct banyan_version){0}, see, &seen, &err),
                     BANYAN_NOT_FOUND);
    banyan_error_clear(&err);
    /* Followed in two goes, a restart between them. */
    uint64_t after = 0;
    seen = (struct seen){.wanted = 300};
    must(banyan_client_follow(client, BANYAN_STR("long-1"), &after, see, &seen, &err), &err);
    assert_int_equal(after, 300);
    http_world_stop();
    http_world_start();
    seen.wanted = 701;
    append.event_count = 1;
    must(banyan_client_append(other, &append, &appended, &err), &err);
    must(banyan_client_follow(client, BANYAN_STR("long-1"), &after, see, &seen, &err), &err);
    assert_int_equal(seen.count, 701);
    after = UINT64_MAX / 2;
    assert_int_equal(banyan_client_follow(client, (struct banyan_str){NULL, 0}, &after, see, &seen, &err),
                     BANYAN_INVALID);
    banyan_client_close(client);
    banyan_client_close(other);
}

static void bad_addresses_are_named(void **state)
{
    static const char *const bad[] = {"", "127.0.0.1:1", "ftp://x", "http://", "http://x/y", "http://x:1/?"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_client *client = NULL;
    struct banyan_client_answer answer;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        banyan_error_clear(&err);
        assert_int_equal(banyan_client_open(&(struct banyan_client_options){.url = bad[i]}, &client, &err),
                         BANYAN_INVALID);
    }
    banyan_error_clear(&err);
    must(banyan_client_open(&(struct banyan_client_options){.url = "http://127.0.0.1:1"}, &client, &err), &err);
    assert_int_equal(banyan_client_request(client, "GET", "/livez", NULL, (struct banyan_str){NULL, 0}, &answer, &err),
                     BANYAN_UNAVAILABLE);
    assert_true(err.hint[0] != '\0');
    banyan_client_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_are_answered),
        cmocka_unit_test(streams_are_read_and_followed),
        cmocka_unit_test(bad_addresses_are_named),
    };
    return cmocka_run_group_tests(tests, http_world_open, http_world_close);
}
