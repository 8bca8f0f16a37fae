/* SPDX-License-Identifier: Apache-2.0 */
/* The event store over HTTP: appends, conditions, repeats, reads, bulk, subscriptions; without any domain. */
#include <inttypes.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/clock.h"
#include "support/http_raw.h"
#include "support/http_world.h"

enum {
    LIMIT_US = 30 * 1000 * 1000, /* for anything that must happen */
};

#define JSON_TYPE "Content-Type: application/json\r\n"
#define NDJSON_TYPE "Content-Type: application/x-ndjson\r\n"

static int open_world(void **state)
{
    int failed = http_world_open(state);
    http_raw_port = world.port;
    return failed;
}

static json_t *append(const char *stream, const char *headers, const char *body, int code)
{
    char path[256], all[1024];
    snprintf(path, sizeof(path), "/streams/%s", stream);
    snprintf(all, sizeof(all), JSON_TYPE "%s", headers);
    return json_of(post_with("POST", path, all, body), code);
}

static void append_ok(const char *stream, const char *body)
{
    json_decref(append(stream, "", body, 201));
}

/* ---- appends ---- */

static void an_event_is_appended_and_read(void **state)
{
    /* Bytes that a JSON library would write in another way. */
    const char *payload = "{ \"amount\" : 1.10, \"big\":12345678901234567890123, \"e\":1E5,\"u\":\"\\u00e4\"}";
    char body[512];
    snprintf(body, sizeof(body), "{\"type\":\"Paid\",\"payload\":%s,\"meta\":{\"by\":\"me\"}}", payload);
    const char *answer = post_with("POST", "/streams/pay-1", JSON_TYPE, body);
    assert_string_equal(header_of(answer, "ETag"), "\"1\"");
    char position[32];
    snprintf(position, sizeof(position), "%s", header_of(answer, "Banyan-Position"));
    json_t *json = json_of(answer, 201);
    assert_int_equal(number_at(json, "version"), 1);
    assert_int_equal(number_at(json, "first"), strtoll(position, NULL, 10));
    json_decref(json);
    answer = get("/streams/pay-1");
    assert_string_equal(header_of(answer, "ETag"), "\"1\"");
    assert_non_null(strstr(answer, payload)); /* the very bytes */
    answer = get("/streams/pay-1/1");
    assert_string_equal(header_of(answer, "Banyan-Position"), position);
    assert_non_null(strstr(answer, payload));
    assert_non_null(strstr(answer, "\"meta\":{\"by\":\"me\"}"));
    assert_int_equal(code_of(get("/streams/pay-1/2")), 404);
    assert_int_equal(code_of(get("/streams/pay-2")), 404);
    assert_int_equal(code_of(get("/streams/pay-1/0")), 400);
    assert_int_equal(code_of(get_with("/streams/pay-1", "If-None-Match: \"1\"\r\n")), 304);
    assert_int_equal(code_of(get_with("/streams/pay-1", "If-None-Match: \"2\"\r\n")), 200);
}

static void conditions_are_held_and_told(void **state)
{
    const char *event = "{\"type\":\"A\",\"payload\":{}}";
    json_t *json;
    append_ok("cond-1", event);
    json = append("cond-1", "If-None-Match: *\r\n", event, 412);
    assert_string_equal(text_at(json, "code"), "CONFLICT");
    const json_t *conflict = json_array_get(json_object_get(json, "conflicts"), 0);
    assert_string_equal(text_at(conflict, "stream"), "cond-1");
    assert_string_equal(text_at(conflict, "expect"), "absent");
    assert_int_equal(number_at(conflict, "actual"), 1);
    json_decref(json);
    json = append("cond-1", "If-Match: \"7\"\r\n", event, 412);
    conflict = json_array_get(json_object_get(json, "conflicts"), 0);
    assert_int_equal(number_at(conflict, "expected"), 7);
    assert_int_equal(number_at(conflict, "actual"), 1);
    json_decref(json);
    json = append("cond-1", "If-Match: \"1\"\r\n", event, 201);
    assert_int_equal(number_at(json, "version"), 2);
    json_decref(json);
    json_decref(append("cond-1", "If-Match: *\r\n", event, 201));
    json_decref(append("cond-2", "If-Match: *\r\n", event, 412));
    json_decref(append("cond-2", "If-None-Match: *\r\n", event, 201));
    json_decref(append("cond-2", "If-Match: 1\r\n", event, 400));
    json_decref(append("cond-2", "If-Match: \"1\"\r\nIf-None-Match: *\r\n", event, 400));
    assert_int_equal(code_of(get("/streams/cond-1/3")), 200);
    assert_int_equal(code_of(get("/streams/cond-1/4")), 404);
}

static void repeats_answer_the_first_positions(void **state)
{
    const char *events = "[{\"type\":\"A\",\"payload\":{\"n\":1}},{\"type\":\"B\",\"payload\":{\"n\":2}}]";
    json_t *first = append("idem-1", "Idempotency-Key: k1\r\n", events, 201), *again;
    append_ok("idem-1", "{\"type\":\"C\",\"payload\":{}}");
    again = append("idem-1", "Idempotency-Key: k1\r\n", events, 200);
    assert_int_equal(number_at(first, "first"), number_at(again, "first"));
    assert_int_equal(number_at(first, "last"), number_at(again, "last"));
    assert_int_equal(number_at(again, "version"), 2);
    json_decref(again);
    /* The condition was true for the first one: a repeat does not look at it. */
    again = append("idem-1", "Idempotency-Key: k1\r\nIf-None-Match: *\r\n", events, 200);
    json_decref(again);
    again = append("idem-1", "Idempotency-Key: k1\r\n", "[{\"type\":\"A\",\"payload\":{\"n\":9}}]", 409);
    assert_string_equal(text_at(again, "code"), "DUPLICATE");
    json_decref(again);
    json_decref(first);
    const char *id = "{\"type\":\"A\",\"id\":\"018f3b6e-7c1a-7d2e-9b0f-2a1c3d4e5f60\",\"payload\":1}";
    json_decref(append("idem-2", "", id, 201));
    json_decref(append("idem-2", "", id, 200));
}

static void one_append_over_several_streams(void **state)
{
    json_t *json = json_of(post_with("POST", "/events", JSON_TYPE,
                                     "{\"events\":[{\"stream\":\"many-1\",\"type\":\"A\",\"payload\":{}},"
                                     "{\"stream\":\"many-2\",\"type\":\"B\",\"payload\":{}},"
                                     "{\"stream\":\"many-1\",\"type\":\"C\",\"payload\":{}}],"
                                     "\"conditions\":[{\"stream\":\"many-3\",\"expect\":\"absent\"},"
                                     "{\"stream\":\"many-1\",\"version\":0}]}"),
                           201);
    const json_t *streams = json_object_get(json, "streams");
    assert_int_equal(json_array_size(streams), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *stream = json_array_get(streams, i);
        assert_int_equal(number_at(stream, "version"), strcmp(text_at(stream, "stream"), "many-1") == 0 ? 2 : 1);
    }
    assert_int_equal(number_at(json, "last") - number_at(json, "first"), 2);
    json_decref(json);
    json = json_of(
        post_with("POST", "/events", JSON_TYPE,
                  "{\"events\":[{\"stream\":\"many-4\",\"type\":\"A\",\"payload\":{}}],"
                  "\"conditions\":[{\"stream\":\"many-1\",\"expect\":\"version\",\"version\":2},"
                  "{\"stream\":\"many-2\",\"expect\":\"absent\"},{\"stream\":\"many-3\",\"expect\":\"exists\"}]}"),
        409);
    assert_int_equal(json_array_size(json_object_get(json, "conflicts")), 2);
    json_decref(json);
    assert_int_equal(code_of(get("/streams/many-4")), 404);
}

static void bad_events_are_named(void **state)
{
    static const struct {
        const char *body, *said;
    } cases[] = {
        {"", ""},
        {"null", ""},
        {"{}", "type"},
        {"[]", "at least one"},
        {"{\"type\":\"A\",\"payload\":{}", ""},
        {"{\"type\":\"A\",\"payload\":{}} x", ""},
        {"{\"type\":\"A\",\"payload\":{,}}", "payload"},
        {"{\"type\":\"A\",\"payload\":01}", ""},
        {"{\"type\":\"A\",\"payload\":\"\xff\"}", ""},
        {"{\"type\":\"A\",\"payload\":1,\"payload\":2}", "twice"},
        {"{\"type\":\"A\",\"typ\":\"B\"}", "no such member"},
        {"{\"type\":1}", "text"},
        {"{\"type\":\"\"}", "type"},
        {"{\"type\":\"A\\u0000\"}", "type"},
        {"{\"type\":\"A\",\"id\":\"1\"}", "UUID"},
        {"{\"type\":\"A\\ud83d\"}", "surrogate"},
        {"{\"type\":\"A\\ude00\",\"payload\":1}", "surrogate"},
        {"{\"t\\ud800\":\"A\"}", "surrogate"},
        {"{\"type\":\"A\",\"at\":\"yesterday\"}", "time"},
        {"{\"type\":\"A\",\"stream\":\"x\"}", "path"},
        {"{\"type\":\"A\",\"schema\":1}", "schema"},
        {"{\"type\":\"A\",\"schema\":1.5}", "schema"},
        {"{\"type\":\"A\",\"meta\":[]}", "meta"},
        {"{\"type\":\"A\",\"payload_base64\":\"a\"}", "base64"},
        {"{\"type\":\"A\",\"payload_base64\":\"YQ=a\"}", "base64"},
        {"{\"type\":\"A\",\"payload_base64\":\"YR==\"}", "base64"},
        {"{\"type\":\"A\",\"payload_base64\":\"YQ\"}", "base64"},
        {"{\"type\":\"A\",\"payload_base64\":\"YWFh\\nYWFh\"}", "base64"},
        {"{\"type\":\"A\",\"payload\":1,\"payload_base64\":\"YQ==\"}", "not both"},
        {"[{\"type\":\"A\"},{\"type\":\"B\",\"at\":1}]", "events[1]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *json = append("bad-1", "", cases[i].body, 400);
        assert_string_equal(text_at(json, "code"), "INVALID");
        if (strcmp(cases[i].said, "payload") != 0 && strstr(text_at(json, "detail"), cases[i].said) == NULL)
            fail_msg("%s: %s", cases[i].body, text_at(json, "detail"));
        json_decref(json);
    }
    json_decref(append("%24schemas", "", "{\"type\":\"A\"}", 400));
    json_decref(json_of(post_with("POST", "/streams/bad-1", "Content-Type: text/plain\r\n", "{\"type\":\"A\"}"), 415));
    json_decref(json_of(post_with("POST", "/streams/bad-1", "", "{\"type\":\"A\"}"), 415));
    assert_int_equal(code_of(get("/streams/bad-1")), 404);
    assert_int_equal(code_of(raw("POST /streams/bad-1 HTTP/1.1\r\nHost: x\r\n" JSON_TYPE "\r\n")), 411);
    assert_int_equal(
        code_of(raw("POST /streams/bad-1 HTTP/1.1\r\nHost: x\r\n" JSON_TYPE "Content-Length: 999999999999\r\n\r\n")),
        413);
}

static void bytes_and_large_events(void **state)
{
    json_decref(append("bytes-1", "", "{\"type\":\"A\",\"payload_base64\":\"AP+AYQ==\"}", 201));
    assert_non_null(strstr(get("/streams/bytes-1"), "\"payload\":{\"base64\":\"AP+AYQ==\"}"));
    append_ok("half-1", "{\"type\":\"A\",\"payload\":\"\\ud800\"}"); /* no text of ours */
    assert_non_null(strstr(get("/streams/half-1"), "\"payload\":\"\\ud800\""));
    size_t size = 24 * 1024 * 1024;
    char *body = malloc(size + 64);
    int head = snprintf(body, size, "{\"type\":\"Large\",\"payload\":\"");
    memset(body + head, 'x', size);
    memcpy(body + head + size, "\"}", 3);
    append_ok("large-1", body);
    const char *answer = get("/streams/large-1/1");
    assert_int_equal(code_of(answer), 200);
    assert_true(strlen(body_of(answer)) > size);
    free(body);
}

static void cloudevents_go_in_and_out(void **state)
{
    const char *event = "{\"specversion\":\"1.0\",\"id\":\"a-17\",\"source\":\"/shop\",\"type\":\"com.shop.paid\","
                        "\"time\":\"2020-01-01T00:00:00Z\",\"data\":{\"n\":1.50},\"region\":\"eu\"}";
    const char *type = "Content-Type: application/cloudevents+json; charset=utf-8\r\n";
    json_decref(json_of(post_with("POST", "/streams/cloud-1", type, event), 201));
    json_decref(json_of(post_with("POST", "/streams/cloud-1", type, event), 200)); /* source and id are its identity */
    const char *answer = get_with("/streams/cloud-1/1", "Accept: application/cloudevents+json\r\n");
    assert_string_equal(header_of(answer, "Content-Type"), "application/cloudevents+json");
    assert_non_null(strstr(answer, "\"data\":{\"n\":1.50}"));
    json_t *json = json_of(answer, 200);
    assert_string_equal(text_at(json, "specversion"), "1.0");
    assert_string_equal(text_at(json, "source"), "/streams/cloud-1");
    assert_string_equal(text_at(json, "type"), "com.shop.paid");
    json_decref(json);
    assert_non_null(strstr(get("/streams/cloud-1"), "\"meta\":{\"source\":\"/shop\",\"region\":\"eu\"}"));
    /* Binary: attributes are headers, the body is the data. */
    json_decref(
        json_of(post_with("POST", "/streams/cloud-2",
                          "ce-specversion: 1.0\r\nCe-Id: 5\r\nce-source: /s\r\nce-type: T\r\n" JSON_TYPE, "[1.0]"),
                201));
    assert_non_null(strstr(get("/streams/cloud-2"), "\"payload\":[1.0]"));
    json_decref(json_of(post_with("POST", "/streams/cloud-1", type, "{\"specversion\":\"0.3\",\"id\":\"1\"}"), 400));
}

/* ---- reads ---- */

static void streams_are_read_both_ways(void **state)
{
    for (int i = 1; i <= 25; i++) {
        char body[128];
        snprintf(body, sizeof(body), "{\"type\":\"N%d\",\"payload\":%d}", i % 3, i);
        append_ok("way-1", body);
    }
    for (int backward = 0; backward < 2; backward++) {
        long long from = backward ? 0 : 1, seen = 0;
        do {
            char path[128];
            snprintf(path, sizeof(path), "/streams/way-1?limit=10&direction=%s", backward ? "backward" : "forward");
            if (from > 0)
                snprintf(path + strlen(path), 32, "&from=%lld", from);
            json_t *json = json_at(path, 200), *event;
            size_t i;
            json_array_foreach (json_object_get(json, "events"), i, event) {
                seen++;
                assert_int_equal(number_at(event, "version"), backward ? 26 - seen : seen);
                assert_int_equal(number_at(event, "payload"), backward ? 26 - seen : seen);
            }
            from = number_at(json, "next");
            json_decref(json);
        } while (from > 0);
        assert_int_equal(seen, 25);
    }
    assert_int_equal(code_of(get("/streams/way-1?direction=up")), 400);
    const char *lines = body_of(get_with("/streams/way-1?limit=2", "Accept: application/x-ndjson\r\n"));
    assert_int_equal(strncmp(lines, "{\"position\"", 11), 0);
    assert_non_null(strstr(lines, "\n{\"position\""));
}

static void all_events_are_read_filtered(void **state)
{
    long long from = 1, seen = 0, before = 0;
    while (from > 0) {
        char path[128];
        snprintf(path, sizeof(path), "/events?category=way&type=N0&type=N1&limit=4&from=%lld", from);
        json_t *json = json_at(path, 200), *event;
        size_t i;
        json_array_foreach (json_object_get(json, "events"), i, event) {
            assert_string_equal(text_at(event, "stream"), "way-1");
            assert_true(number_at(event, "payload") % 3 != 2);
            assert_true(number_at(event, "position") > before);
            before = number_at(event, "position");
            seen++;
        }
        from = number_at(json, "next");
        json_decref(json);
    }
    assert_int_equal(seen, 17);
    json_t *json = json_at("/events?since=2999-01-01T00:00:00Z", 200);
    assert_int_equal(json_array_size(json_object_get(json, "events")), 0);
    json_decref(json);
    json = json_at("/events?from=99999999", 200);
    assert_int_equal(json_array_size(json_object_get(json, "events")), 0);
    json_decref(json);
    assert_int_equal(code_of(get("/events?type=a&typ=b")), 400);
    char headers[128];
    snprintf(headers, sizeof(headers), "Banyan-Min-Position: %" PRIu64 "\r\n", store_tail(world.store).value + 1);
    assert_int_equal(code_of(get_with("/events", headers)), 503);
}

/* ---- bulk ---- */

static void add_line(struct banyan_buf *text, int number)
{
    banyan_buf_printf(
        text, "{\"stream\":\"bulk-%d\",\"type\":\"L\",\"id\":\"018f3b6e-7c1a-7d2e-9b0f-%012d\",\"payload\":%d}\n",
        number % 100, number, number);
}

static void many_lines_are_appended(void **state)
{
    struct banyan_buf lines = BANYAN_BUF_INIT(64 * 1024 * 1024);
    uint64_t before = store_tail(world.store).value;
    for (int i = 0; i < 5500; i++)
        add_line(&lines, i);
    lines.data[lines.size - 1] = ' '; /* the last line needs no end */
    json_t *json = json_of(post_with("POST", "/events", NDJSON_TYPE, lines.data), 200);
    assert_int_equal(number_at(json, "lines"), 5500);
    assert_int_equal(number_at(json, "appended"), 5500);
    assert_int_equal(number_at(json, "repeated"), 0);
    assert_int_equal(number_at(json, "batches"), 6);
    assert_int_equal(store_tail(world.store).value - before, 5500);
    json_decref(json);
    /* Again, with more and in other batches: chunked, in pieces that cut lines. */
    struct banyan_buf more = BANYAN_BUF_INIT(64 * 1024 * 1024), request = BANYAN_BUF_INIT(64 * 1024 * 1024);
    for (int i = 5999; i >= 5500; i--)
        add_line(&more, i);
    banyan_buf_add_str(&more, banyan_buf_str(&lines));
    banyan_buf_add_text(&request, "POST /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" NDJSON_TYPE
                                  "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0, size = 1; at < more.size; at += size, size = size * 7 % 4099 + 1) {
        if (size > more.size - at)
            size = more.size - at;
        banyan_buf_printf(&request, "%zx\r\n", size);
        banyan_buf_add(&request, more.data + at, size);
        banyan_buf_add_text(&request, "\r\n");
    }
    banyan_buf_add_text(&request, "0\r\n\r\n");
    int fd = dial();
    say(fd, request.data, request.size);
    json = json_of(hear(fd), 200);
    assert_int_equal(number_at(json, "appended"), 500);
    assert_int_equal(number_at(json, "repeated"), 5500);
    assert_int_equal(store_tail(world.store).value - before, 6000);
    json_decref(json);
    banyan_buf_release(&lines);
    banyan_buf_release(&more);
    banyan_buf_release(&request);
}

static void a_bad_line_is_named(void **state)
{
    struct banyan_buf lines = BANYAN_BUF_INIT(64 * 1024 * 1024);
    uint64_t before = store_tail(world.store).value;
    for (int i = 7000; i < 8500; i++)
        add_line(&lines, i);
    banyan_buf_add_text(&lines, "{\"stream\":\"bulk-1\",\"typ\":\"L\"}\n");
    add_line(&lines, 9000);
    json_t *json = json_of(post_with("POST", "/events", NDJSON_TYPE, lines.data), 400);
    assert_non_null(strstr(text_at(json, "detail"), "line 1501"));
    assert_int_equal(number_at(json, "appended"), 1000);
    assert_int_equal(store_tail(world.store).value - before, 1000);
    json_decref(json);
    banyan_buf_release(&lines);
}

/* ---- subscriptions ---- */

struct ear {
    int fd;
    char *text; /* not looked at yet */
    size_t size;
};

static struct ear subscribe(const char *path, const char *headers)
{
    char request[1024];
    struct ear ear = {.fd = dial()};
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, headers);
    say(ear.fd, request, strlen(request));
    return ear;
}

/* The next block, without comments and retry; its id.  *ret_data: static memory. */
static long long hear_event(struct ear *ear, char *ret_name, char *ret_data, size_t size)
{
    for (;;) {
        char *end = ear->text == NULL ? NULL : strstr(ear->text, "\n\n"), *line, *rest;
        if (end == NULL) {
            ear->text = realloc(ear->text, ear->size + 65536 + 1);
            ssize_t got = recv(ear->fd, ear->text + ear->size, 65536, 0);
            if (got <= 0)
                fail_msg("the subscription ended or nothing came: %.*s", (int)ear->size, ear->text);
            ear->size += (size_t)got;
            ear->text[ear->size] = '\0';
            continue;
        }
        *end = '\0';
        long long id = -1;
        ret_name[0] = ret_data[0] = '\0';
        for (rest = ear->text; (line = strsep(&rest, "\n")) != NULL;) {
            sscanf(line, "id: %lld", &id);
            sscanf(line, "event: %31s", ret_name);
            if (strncmp(line, "data: ", 6) == 0)
                snprintf(ret_data, size, "%s", line + 6);
        }
        ear->size -= (size_t)(end + 2 - ear->text);
        memmove(ear->text, end + 2, ear->size + 1);
        if (ret_data[0] != '\0')
            return id;
    }
}

static void hang_up(struct ear *ear)
{
    close(ear->fd);
    free(ear->text);
}

static void subscribers_get_everything_once(void **state)
{
    char name[32], data[4096], headers[64];
    long long last = 0, events = 0;
    /* Connect again and again in the middle, over a restart, and while events are written. */
    for (int round = 0; round < 6; round++) {
        snprintf(headers, sizeof(headers), "Last-Event-ID: %lld\r\n", last);
        struct ear ear = subscribe("/events/subscribe?category=way&category=bulk", headers);
        for (int i = 0; i < 1400; i++) {
            long long id = hear_event(&ear, name, data, sizeof(data));
            if (strcmp(name, "caught-up") == 0) {
                last = id;
                break;
            }
            assert_true(id > last);
            last = id;
            events++;
        }
        hang_up(&ear);
        if (round == 2) {
            http_world_stop();
            http_world_start();
        }
        append_ok("way-9", "{\"type\":\"During\",\"payload\":{}}");
    }
    /* All of them: what the filter lets pass, counted by pages. */
    long long wanted = 0, from = 1;
    while (from > 0) {
        char path[128];
        snprintf(path, sizeof(path), "/events?category=way&category=bulk&limit=1000&from=%lld", from);
        json_t *json = json_at(path, 200);
        wanted += (long long)json_array_size(json_object_get(json, "events"));
        from = number_at(json, "next");
        json_decref(json);
    }
    snprintf(headers, sizeof(headers), "Last-Event-ID: %lld\r\n", last);
    struct ear ear = subscribe("/events/subscribe?category=way&category=bulk", headers);
    while (hear_event(&ear, name, data, sizeof(data)) > 0 && strcmp(name, "caught-up") != 0)
        events++;
    assert_int_equal(events, wanted);
    /* Live: told without being asked. */
    for (int i = 0; i < 20; i++) {
        append_ok("other-1", "{\"type\":\"Not wanted\",\"payload\":{}}");
        append_ok("way-9", "{\"type\":\"Live\",\"payload\":{\"a\":\n1}}");
        (void)hear_event(&ear, name, data, sizeof(data));
        assert_non_null(strstr(data, "\"Live\""));
    }
    hang_up(&ear);
}

static void a_stream_is_followed(void **state)
{
    char name[32], data[4096];
    struct ear ear = subscribe("/streams/follow-1/subscribe", "");
    (void)hear_event(&ear, name, data, sizeof(data)); /* it does not exist yet */
    assert_string_equal(name, "caught-up");
    for (int i = 1; i <= 10; i++) {
        append_ok("follow-1", "{\"type\":\"F\",\"payload\":{}}");
        assert_int_equal(hear_event(&ear, name, data, sizeof(data)), i);
    }
    hang_up(&ear);
    ear = subscribe("/streams/follow-1/subscribe", "Last-Event-ID: 7\r\n");
    assert_int_equal(hear_event(&ear, name, data, sizeof(data)), 8);
    hang_up(&ear);
    assert_int_equal(code_of(get_with("/events/subscribe", "Last-Event-ID: x\r\n")), 400);
    assert_int_equal(code_of(get("/events/subscribe?after=999999999")), 400);
}

static uint64_t metric(const char *name)
{
    const char *text = body_of(get("/metrics"));
    char line[128];
    snprintf(line, sizeof(line), "\n%s ", name);
    const char *at = strstr(text, line);
    assert_non_null(at);
    return strtoull(at + strlen(line), NULL, 10);
}

/* Somebody who does not read costs nobody else anything, and gets everything once it reads. */
static void slow_subscribers_are_waited_for(void **state)
{
    char name[32], data[4096], payload[2100];
    struct ear slow = subscribe("/events/subscribe?category=slow", "");
    memset(payload, 'p', 2000);
    payload[2000] = '\0';
    struct banyan_buf lines = BANYAN_BUF_INIT(64 * 1024 * 1024);
    enum { MANY = 8000 };
    for (int i = 0; i < MANY; i++)
        banyan_buf_printf(&lines, "{\"stream\":\"slow-1\",\"type\":\"S\",\"payload\":\"%s\"}\n", payload);
    uint64_t sent = metric("banyan_http_sent_bytes_total");
    json_decref(json_of(post_with("POST", "/events", NDJSON_TYPE, lines.data), 200));
    append_ok("quick-1", "{\"type\":\"Q\",\"payload\":{}}");                      /* others are served meanwhile */
    assert_true(metric("banyan_http_sent_bytes_total") - sent < 8 * 1024 * 1024); /* of 16 MB */
    for (int i = 0; i < MANY;) {
        (void)hear_event(&slow, name, data, sizeof(data));
        i += strcmp(name, "caught-up") != 0;
    }
    hang_up(&slow);
    banyan_buf_release(&lines);
}

static void subscribers_are_bounded(void **state)
{
    char name[32], data[4096];
    http_world_stop();
    world.subscribers_max = 3;
    http_world_start();
    struct ear ears[3];
    for (int i = 0; i < 3; i++) {
        ears[i] = subscribe("/streams/none-1/subscribe", "");
        (void)hear_event(&ears[i], name, data, sizeof(data));
    }
    assert_int_equal(code_of(get("/events/subscribe")), 503);
    hang_up(&ears[0]);
    int64_t began = os_clock_monotonic_us(os_clock_real());
    while (metric("banyan_http_subscribers") == 3)
        assert_true(os_clock_monotonic_us(os_clock_real()) - began < LIMIT_US);
    ears[0] = subscribe("/streams/none-1/subscribe", "");
    (void)hear_event(&ears[0], name, data, sizeof(data));
    for (int i = 0; i < 3; i++)
        hang_up(&ears[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_appended_and_read),
        cmocka_unit_test(conditions_are_held_and_told),
        cmocka_unit_test(repeats_answer_the_first_positions),
        cmocka_unit_test(one_append_over_several_streams),
        cmocka_unit_test(bad_events_are_named),
        cmocka_unit_test(bytes_and_large_events),
        cmocka_unit_test(cloudevents_go_in_and_out),
        cmocka_unit_test(streams_are_read_both_ways),
        cmocka_unit_test(all_events_are_read_filtered),
        cmocka_unit_test(many_lines_are_appended),
        cmocka_unit_test(a_bad_line_is_named),
        cmocka_unit_test(subscribers_get_everything_once),
        cmocka_unit_test(a_stream_is_followed),
        cmocka_unit_test(slow_subscribers_are_waited_for),
        cmocka_unit_test(subscribers_are_bounded),
    };
    return cmocka_run_group_tests(tests, open_world, http_world_close);
}
