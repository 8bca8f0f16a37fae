/* SPDX-License-Identifier: Apache-2.0 */
/* What the façade does not understand goes through: bodies of all kinds, heads, refusals, an upstream that is unwell.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/gateway.h"
#include "support/http_raw.h"
#include "upstream.h"

static struct gateway *gateway;

static void start_with(struct gateway_options options)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", upstream.port);
    options.address = "127.0.0.1";
    options.upstream = url;
    if (gateway_start(&options, &gateway, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    http_raw_port = gateway_port(gateway);
}

static int setup(void **state)
{
    (void)state;
    up_start();
    atomic_store(&upstream.gate, false);
    atomic_store(&upstream.connections, 0);
    atomic_store(&upstream.requests, 0);
    start_with((struct gateway_options){.tell_side = true});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gateway_stop(gateway, 0);
    up_wait(&upstream.open, 0);
    up_stop();
    return 0;
}

static struct gateway_figures figures(void)
{
    struct gateway_figures figures;
    gateway_figures(gateway, &figures);
    return figures;
}

static void tell(int fd, const char *text)
{
    say(fd, text, strlen(text));
}

/* One answer of an open connection: head and a body with a length. */
static const char *next_answer(int fd)
{
    static char answer[65536];
    size_t size = 0, wanted = 0;
    answer[0] = '\0';
    while (wanted == 0 || size < wanted) {
        ssize_t got = recv(fd, answer + size, wanted == 0 ? 1 : wanted - size, 0);
        if (got <= 0)
            return answer;
        size += (size_t)got;
        answer[size] = '\0';
        if (wanted == 0 && strstr(answer, "\r\n\r\n") != NULL) {
            wanted = size + strtoul(header_of(answer, "Content-Length"), NULL, 10);
        }
    }
    return answer;
}

/* ---- through ---- */

static void test_get(void **state)
{
    (void)state;
    const char *answer = get_with("/a?b=%20c", "X-Forwarded-For: 10.0.0.1\r\ntraceparent: 00-1-2-01\r\nX-Mine: 1\r\n");
    assert_int_equal(code_of(answer), 200);
    assert_string_equal(header_of(answer, "X-From"), "upstream");
    assert_string_equal(header_of(answer, "Banyan-Served-By"), "legacy");
    assert_non_null(strstr(upstream.head, "GET /a?b=%20c HTTP/1.1\r\n"));
    assert_non_null(strstr(upstream.head, "Host: localhost\r\n"));
    assert_non_null(strstr(upstream.head, "X-Forwarded-For: 10.0.0.1, 127.0.0.1\r\n"));
    assert_non_null(strstr(upstream.head, "Forwarded: for=127.0.0.1\r\n"));
    assert_non_null(strstr(upstream.head, "traceparent: 00-1-2-01\r\n"));
    assert_non_null(strstr(upstream.head, "X-Mine: 1\r\n"));
    assert_null(strstr(upstream.head, "Connection:"));
}

static void test_bodies(void **state)
{
    (void)state;
    const char *answer = post_with("POST", "/echo", "", "hello");
    assert_string_equal(body_of(answer), "hello");
    answer = raw("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                 "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    assert_non_null(strstr(body_of(answer), "abc"));
    assert_non_null(strstr(body_of(answer), "defg"));
    assert_non_null(strstr(upstream.head, "Transfer-Encoding: chunked\r\n"));
    answer = raw("GET /bigchunks/10 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_string_equal(body_of(answer), "a\r\nxxxxxxxxxx\r\n0\r\n\r\n");
    answer = raw("GET /bigchunks/10 HTTP/1.0\r\n\r\n");
    assert_string_equal(body_of(answer), "xxxxxxxxxx");
    answer = get("/close");
    assert_string_equal(header_of(answer, "Transfer-Encoding"), "chunked");
    assert_string_equal(body_of(answer), "d\r\nuntil the end\r\n0\r\n\r\n");
    answer = get("/old");
    assert_non_null(strstr(answer, "HTTP/1.1 200 Fine\r\n"));
    assert_string_equal(body_of(answer), "old");
}

static void test_no_body(void **state)
{
    (void)state;
    const char *answer = raw("HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_string_equal(header_of(answer, "Content-Length"), "42");
    assert_string_equal(body_of(answer), "");
    answer = get("/none");
    assert_int_equal(code_of(answer), 204);
    assert_string_equal(header_of(answer, "Content-Length"), "");
    answer = get("/same");
    assert_int_equal(code_of(answer), 304);
    assert_string_equal(header_of(answer, "ETag"), "\"1\"");
    assert_string_equal(body_of(answer), "");
}

static void test_interim(void **state)
{
    (void)state;
    const char *answer = get("/hints");
    assert_int_equal(code_of(answer), 103);
    assert_non_null(strstr(answer, "Link: </a.css>\r\n"));
    assert_non_null(strstr(answer, "after hints"));
    int fd = dial();
    const char *head = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
                       "Connection: close\r\n\r\n";
    char got[26] = "";
    say(fd, head, strlen(head));
    assert_int_equal(recv(fd, got, 25, MSG_WAITALL), 25);
    assert_string_equal(got, "HTTP/1.1 100 Continue\r\n\r\n");
    tell(fd, "ok");
    assert_string_equal(body_of(hear(fd)), "ok");
}

static void test_hop_by_hop(void **state)
{
    (void)state;
    const char *answer = get_with("/hop", "TE: trailers\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nProxy-Connection: x\r\n");
    assert_string_equal(header_of(answer, "X-Private"), "");
    assert_string_equal(header_of(answer, "Keep-Alive"), "");
    assert_string_equal(header_of(answer, "X-Public"), "2");
    assert_null(strstr(upstream.head, "TE:"));
    assert_null(strstr(upstream.head, "Upgrade:"));
    assert_null(strstr(upstream.head, "Keep-Alive:"));
}

static void test_keep_alive(void **state)
{
    (void)state;
    static const char two[] = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: "
                              "3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    int fd = dial();
    say(fd, two, sizeof(two) - 1); /* pipelined */
    assert_int_equal(code_of(next_answer(fd)), 200);
    assert_string_equal(body_of(next_answer(fd)), "abc");
    assert_int_equal(code_of(next_answer(fd)), 200);
    close(fd);
    assert_int_equal(atomic_load(&upstream.requests), 3);
    for (int i = 0; i < 20; i++)
        assert_int_equal(code_of(get("/x")), 200);
    assert_in_range(atomic_load(&upstream.connections), 1, 3); /* one more asks whether it is there */
}

static void test_tunnel(void **state)
{
    (void)state;
    static const char up[] = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    int fd = dial();
    say(fd, up, sizeof(up) - 1);
    assert_int_equal(code_of(next_answer(fd)), 101);
    tell(fd, "you");
    char got[10] = "";
    assert_int_equal(recv(fd, got, 9, MSG_WAITALL), 9);
    assert_string_equal(got, "hello you");
    shutdown(fd, SHUT_WR);
    assert_string_equal(hear(fd), "");
}

/* ---- refused ---- */

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int code;
    } cases[] = {
        {"GARBAGE\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *answer = raw(cases[i].request);
        if (code_of(answer) != cases[i].code)
            fail_msg("case %zu: %d, not %d", i, code_of(answer), cases[i].code);
    }
    char *large = malloc(40000);
    int size = snprintf(large, 40000, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    memset(large + size, 'x', 20000);
    memcpy(large + size + 20000, "\r\n\r\n", 5);
    assert_int_equal(code_of(raw(large)), 431);
    free(large);
}

static void test_unwell_upstream(void **state)
{
    (void)state;
    assert_int_equal(code_of(get("/garbage")), 502);
    assert_int_equal(code_of(get("/two")), 502);
    assert_int_equal(code_of(post_with("POST", "/die", "", "x")), 502);
    assert_int_equal(code_of(get("/x")), 200); /* so that there is a connection that was used before */
    int requests = atomic_load(&upstream.requests);
    assert_int_equal(code_of(post_with("POST", "/die", "", "x")), 502);
    assert_int_equal(atomic_load(&upstream.requests), requests + 1); /* a write is never sent again */
    const char *answer = get("/half");
    assert_int_equal(code_of(answer), 200);
    assert_string_equal(body_of(answer), "only this"); /* and the connection ends: cut short */
    assert_true(figures().upstream_failures >= 4);
}

/* The upstream ends a connection without saying so: the next request takes another one. */
static void test_ended_connection(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(code_of(get("/last")), 200);
        assert_int_equal(code_of(get("/x")), 200);
        assert_int_equal(code_of(get("/last")), 200);
        up_wait(&upstream.ending, 0);
        assert_int_equal(code_of(post_with("POST", "/x", "", "abc")), 200);
    }
}

static void test_restarted_upstream(void **state)
{
    (void)state;
    assert_int_equal(code_of(get("/x")), 200);
    up_stop();
    const char *answer = NULL;
    for (int i = 0; i < 100 && (answer == NULL || code_of(answer) != 503); i++)
        answer = get("/last"); /* the connections that are open end one by one */
    assert_int_equal(code_of(answer), 503);
    assert_string_equal(header_of(answer, "Retry-After"), "1");
    assert_int_equal(code_of(get("/.well-known/banyan-gateway")), 503);
    up_start();
    assert_int_equal(code_of(get("/x")), 200);
    assert_int_equal(code_of(get("/.well-known/banyan-gateway")), 200);
}

static void test_timeout(void **state)
{
    (void)state;
    gateway_stop(gateway, 0);
    start_with((struct gateway_options){.upstream_timeout_us = 1000 * 1000}); /* enough for an answer, anywhere */
    assert_int_equal(code_of(get("/wait")), 504);
    atomic_store(&upstream.gate, true);
    assert_int_equal(code_of(get("/wait")), 200);
}

/* Two requests, one connection to the upstream: the second waits for it. */
static void test_pool_is_bounded(void **state)
{
    (void)state;
    gateway_stop(gateway, 0);
    start_with((struct gateway_options){.upstream_max = 1});
    int one = dial(), two = dial();
    static const char request[] = "GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    say(one, request, sizeof(request) - 1);
    say(two, request, sizeof(request) - 1);
    atomic_store(&upstream.gate, true);
    assert_int_equal(code_of(hear(one)), 200);
    assert_int_equal(code_of(hear(two)), 200);
    assert_in_range(figures().upstream_connections, 0, 1);
}

static void test_connections_are_bounded(void **state)
{
    (void)state;
    gateway_stop(gateway, 0);
    start_with((struct gateway_options){.connections_max = 1});
    int fd = dial();
    tell(fd, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(code_of(next_answer(fd)), 200);
    assert_int_equal(code_of(get("/x")), 503);
    close(fd);
}

/* ---- large bodies, little memory ---- */

extern void __asan_init(void) __attribute__((weak)); /* NULL: not instrumented */
extern void __tsan_init(void) __attribute__((weak));

static long resident_kb(void)
{
    char line[256];
    long kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "VmRSS: %ld", &kb) == 1)
            break;
    fclose(file);
    return kb;
}

static void test_large_bodies(void **state)
{
    (void)state;
    enum { SIZE = 200 * 1024 * 1024 };
    static char block[65536];
    long before = resident_kb(), most = 0;
    int fd = dial();
    tell(fd, "GET /big/209715200 HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 20; i++) {
        usleep(10 * 1000); /* nobody reads: what does the gateway take meanwhile? */
        most = resident_kb() > most ? resident_kb() : most;
    }
    assert_true(atomic_load(&upstream.sent_bytes) < SIZE / 2);
    unsigned long long got = 0;
    while (got < SIZE) {
        ssize_t more = recv(fd, block, sizeof(block), 0);
        assert_true(more > 0);
        got += (unsigned long long)more;
        if (got % 1000 == 0)
            most = resident_kb() > most ? resident_kb() : most;
    }
    close(fd);
    fd = dial();
    tell(fd, "PUT /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 209715200\r\nConnection: close\r\n\r\n");
    for (got = 0; got < SIZE; got += sizeof(block))
        say(fd, block, sizeof(block));
    assert_int_equal(code_of(hear(fd)), 200);
    assert_true(atomic_load(&upstream.body_bytes) == SIZE);
    most = resident_kb() > most ? resident_kb() : most;
    if (__asan_init == NULL && __tsan_init == NULL && most - before > 16 * 1024) /* it keeps what was freed */
        fail_msg("%ld KiB for a body of 200 MiB", most - before);
}

/* ---- clients that go, a gateway that goes ---- */

static void test_client_disappears(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        int fd = dial();
        struct linger hard = {1, 0};
        tell(fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        close(fd);
    }
    for (int i = 0; i < 5000 && figures().connections > 0; i++)
        usleep(1000); /* a condition, with a limit */
    assert_int_equal(figures().connections, 0);
    atomic_store(&upstream.gate, true);
    assert_int_equal(code_of(get("/x")), 200);
}

static void *stop_it(void *argument)
{
    (void)argument;
    gateway_stop(gateway, 5 * 1000 * 1000);
    gateway = NULL;
    return NULL;
}

static void test_drain(void **state)
{
    (void)state;
    pthread_t thread;
    int fd = dial();
    tell(fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    while (atomic_load(&upstream.requests) == 0)
        usleep(1000); /* it comes: what is said is received */
    pthread_create(&thread, NULL, stop_it, NULL);
    usleep(50 * 1000); /* the stop has most likely begun; the answer is whole either way */
    atomic_store(&upstream.gate, true);
    const char *answer = hear(fd);
    assert_int_equal(code_of(answer), 200);
    assert_string_equal(body_of(answer), "waited");
    assert_string_equal(header_of(answer, "Connection"), "close");
    pthread_join(thread, NULL);
}

static void test_bad_options(void **state)
{
    (void)state;
    static const char *const urls[] = {"https://a", "127.0.0.1:1", "http://", "http://a/path", "http://a b"};
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct gateway *none = NULL;
        struct gateway_options options = {.address = "127.0.0.1", .upstream = urls[i]};
        assert_int_equal(gateway_start(&options, &none, &err), BANYAN_CONFIG);
        assert_null(none);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hop_by_hop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keep_alive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tunnel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unwell_upstream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ended_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restarted_upstream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pool_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connections_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_disappears, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_options, setup, teardown),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as serve does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
