/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which side answers what the façade of the trading domain understands: ownership, shares, holds, splits, repeats, and
 * that who wrote reads what it wrote.  The upstream is a small one that says what the test wants; keys are
 * PostgreSQL's.
 */
#include "gateway/facade.h"
#include "../log/folder.h"
#include "../pg/pg_test.h"
#include "os/random.h"
#include "support/http_raw.h"
#include "trading/commands.h"
#include "trading/trading.h"
#include "upstream.h"

#include <signal.h>

static struct {
    char folder[FOLDER_PATH_MAX];
    struct os_files_test files;
    struct store *store;
    struct owner *owner;
    struct keys *keys;
    struct routing *routing;
    struct traffic *traffic;
    struct aggregates *aggregates;
    struct gateway *gateway;
    atomic_int waits; /* for the source */
    _Atomic bool source_fails;
} rig;

static const char order_text[] =
    "{\"trader_id\":7,\"symbol\":\"ALDR\",\"side\":\"BUY\",\"quantity\":\"10\",\"price\":\"5\"}";

static enum banyan_status permit(void *context, struct banyan_str category, struct banyan_str key, bool creates,
                                 struct banyan_arena *arena, struct store_condition *ret, struct banyan_error *err)
{
    return owner_permit(context, category, key, creates, arena, ret, err);
}

static enum banyan_status wait_source(void *context, int64_t timeout_us, struct banyan_error *err)
{
    (void)context, (void)timeout_us;
    atomic_fetch_add(&rig.waits, 1);
    return atomic_load(&rig.source_fails) ? banyan_error_set(err, BANYAN_TIMEOUT, "late") : BANYAN_OK;
}

static void start_gateway(bool split)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    static char url[64];
    static const char *const ignored[] = {"/served_by", NULL};
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", upstream.port);
    struct gateway_options options = {.address = "127.0.0.1",
                                      .upstream = url,
                                      .domain = &banyan_domain_trading,
                                      .store = rig.store,
                                      .aggregates = rig.aggregates,
                                      .owner = rig.owner,
                                      .keys = rig.keys,
                                      .routing = rig.routing,
                                      .traffic = rig.traffic,
                                      .wait_source = wait_source,
                                      .facade_body_max = 4096,
                                      .hold_us_max = 1500 * 1000,
                                      .loops = 2,
                                      .split = split,
                                      .tell_side = true,
                                      .ignored = ignored};
    OK(gateway_start(&options, &rig.gateway, &err));
    http_raw_port = gateway_port(rig.gateway);
}

static int setup(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = test_connect(false);
    (void)state;
    test_run(conn, "SET client_min_messages = warning; DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public; "
                   "CREATE TABLE orders (order_id bigserial PRIMARY KEY); SELECT setval('orders_order_id_seq', 1000)");
    pg_close(conn);
    memset(&rig, 0, sizeof(rig));
    folder_make_quick(rig.folder);
    os_files_test_init(&rig.files);
    OK(store_open(&(struct store_options){.folder = rig.folder, .files = &rig.files.base, .segment_bytes = 1024 * 1024},
                  &rig.store, &err));
    OK(owner_open(&(struct owner_options){&banyan_domain_trading, "oms", rig.store}, &rig.owner, &err));
    OK(keys_open(&(struct keys_options){.domain = &banyan_domain_trading,
                                        .source = "oms",
                                        .conninfo = test_conninfo(),
                                        .store = rig.store,
                                        .owner = rig.owner},
                 &rig.keys, &err));
    rig.routing = routing_new(7);
    rig.traffic = traffic_new(NULL);
    rig.aggregates = aggregates_new(&(struct aggregates_options){
        .store = rig.store, .domain = &banyan_domain_trading, .permit = {permit, rig.owner}});
    up_start();
    atomic_store(&upstream.gate, false);
    atomic_store(&upstream.slow, false);
    atomic_store(&upstream.writes, 0);
    up_answers(200, "{\"from\":\"legacy\"}\n");
    start_gateway(false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gateway_stop(rig.gateway, 0);
    up_wait(&upstream.open, 0);
    up_stop();
    aggregates_free(rig.aggregates);
    traffic_free(rig.traffic);
    routing_free(rig.routing);
    keys_close(rig.keys);
    owner_close(rig.owner);
    store_close(rig.store);
    folder_remove(rig.folder);
    return 0;
}

static void own(enum owner_mode mode)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t epoch;
    (void)owner_mode(rig.owner, &epoch);
    OK(owner_change(rig.owner, epoch, mode, "test", &epoch, &err));
}

static void decide(struct routing_decisions decisions)
{
    routing_set(rig.routing, &decisions);
}

static struct gateway_figures figures(void)
{
    struct gateway_figures figures;
    gateway_figures(rig.gateway, &figures);
    return figures;
}

static const char *side_of(const char *answer)
{
    return header_of(answer, "Banyan-Served-By");
}

static const char *post(const char *path, const char *headers, const char *body)
{
    return post_with("POST", path, headers, body);
}

/* An order that capture has brought, before anything was shared. */
static void capture_order(long long key)
{
    static const struct place_order place = {
        7, {"ALDR", 4}, {"BUY", 3}, {10 * (__int128)100000000, 8}, {5 * (__int128)100000000, 8}};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct aggregate_answer answer;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct aggregates *free_ones =
        aggregates_new(&(struct aggregates_options){.store = rig.store, .domain = &banyan_domain_trading});
    struct aggregate_command command = {.id = os_uuid_new(),
                                        .category = BANYAN_STR("order"),
                                        .key = banyan_arena_printf(&arena, "%lld", key),
                                        .name = BANYAN_STR("PlaceOrder"),
                                        .fields = &place};
    OK(aggregates_execute(free_ones, &command, &arena, &answer, &err));
    assert_true(answer.accepted);
    aggregates_free(free_ones);
    banyan_arena_release(&arena);
}

static long long place(const char *headers)
{
    const char *answer = post("/orders", headers, order_text);
    if (code_of(answer) != 201)
        fail_msg("%s", answer);
    json_t *json = json_of(answer, 201);
    long long id = number_at(json, "order_id");
    json_decref(json);
    return id;
}

/* ---- sides ---- */

static void test_legacy_owns(void **state)
{
    (void)state;
    own(OWNER_LEGACY);
    assert_string_equal(side_of(post("/orders", "", order_text)), "legacy");
    assert_string_equal(upstream.body, order_text);
    assert_string_equal(side_of(get("/orders/5")), "legacy");
    assert_string_equal(body_of(get("/orders?trader_id=7")), upstream.answer);
    assert_string_equal(side_of(post("/orders", "", "{\"x")), "legacy"); /* it says itself what is wrong */
    assert_string_equal(side_of(post("/other", "", "{}")), "legacy");
    struct gateway_figures now = figures();
    assert_int_equal(now.writes_legacy, 1);
    assert_int_equal(now.reads_legacy, 2);
    assert_int_equal(now.passed, 2);
    struct traffic_window window;
    traffic_window(rig.traffic, 10 * 1000 * 1000, &window);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_WRITE].requests, 1);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].requests, 2);
}

static void test_shared(void **state)
{
    (void)state;
    char path[64];
    capture_order(5);
    own(OWNER_SHARED);
    assert_string_equal(side_of(post("/orders", "", order_text)), "legacy"); /* no share */
    decide((struct routing_decisions){.new_share = ROUTING_SHARE_ALL});
    const char *answer = post("/orders", "", order_text);
    assert_int_equal(code_of(answer), 201);
    assert_string_equal(side_of(answer), "banyan");
    assert_true(atoll(header_of(answer, "Banyan-Position")) > 0);
    long long id = place("");
    assert_true(id > 1000);
    snprintf(path, sizeof(path), "/orders/%lld", id);
    answer = get(path);
    assert_int_equal(code_of(answer), 200);
    assert_string_equal(side_of(answer), "banyan");
    assert_non_null(strstr(body_of(answer), "\"status\":\"NEW\""));
    snprintf(path, sizeof(path), "/orders/%lld/fill", id);
    answer = post(path, "", "{\"quantity\":\"10\",\"price\":\"5\"}");
    assert_int_equal(code_of(answer), 200);
    assert_non_null(strstr(body_of(answer), "FILLED"));
    answer = post(path, "", "{\"quantity\":\"1\",\"price\":\"5\"}"); /* refused, as the application would */
    assert_int_equal(code_of(answer), 409);
    assert_string_equal(side_of(answer), "banyan");
    assert_string_equal(side_of(post("/orders/5/fill", "", "{\"quantity\":\"1\",\"price\":\"5\"}")), "legacy");
    assert_string_equal(side_of(get("/orders/5")), "legacy");
}

static void test_all_is_ours(void **state)
{
    (void)state;
    capture_order(5);
    own(OWNER_SHARED);
    own(OWNER_BANYAN);
    int writes = atomic_load(&upstream.writes);
    assert_string_equal(side_of(post("/orders/5/fill", "", "{\"quantity\":\"1\",\"price\":\"5\"}")), "banyan");
    assert_string_equal(side_of(get("/orders/5")), "banyan");
    assert_true(place("") > 0);
    assert_int_equal(atomic_load(&upstream.writes), writes);
    assert_int_equal(code_of(get("/orders?trader_id=7")), 200); /* no read model here: the mirrored tables answer */
}

static void test_bodies(void **state)
{
    (void)state;
    own(OWNER_LEGACY);
    char large[8192];
    memset(large, ' ', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    assert_int_equal(code_of(post("/orders", "", large)), 413);
    assert_int_equal(figures().too_large, 1);
    assert_int_equal(code_of(post("/blob", "", large)), 200);
    const char *answer =
        raw("POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            "5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n");
    assert_int_equal(code_of(answer), 200);
    assert_string_equal(upstream.body, "{\"a\":1}");
    assert_non_null(strstr(upstream.head, "Content-Length: 7\r\n"));
}

/* ---- repeats ---- */

static void test_idempotency(void **state)
{
    (void)state;
    own(OWNER_SHARED);
    decide((struct routing_decisions){.new_share = ROUTING_SHARE_ALL});
    long long id = place("Idempotency-Key: one\r\n");
    assert_int_equal(place("Idempotency-Key: one\r\n"), id);
    assert_true(place("Idempotency-Key: two\r\n") != id);
    decide((struct routing_decisions){.new_share = 0});
    assert_int_equal(place("Idempotency-Key: one\r\n"), id); /* whatever the share is by now */
    const char *answer = post("/orders", "Idempotency-Key: one\r\n",
                              "{\"trader_id\":8,\"symbol\":\"X\",\"side\":\"BUY\",\"quantity\":\"1\",\"price\":\"5\"}");
    assert_int_equal(code_of(answer), 422);
    char path[64];
    snprintf(path, sizeof(path), "/orders/%lld/fill", id);
    static const char fill[] = "{\"quantity\":\"4\",\"price\":\"5\"}";
    assert_non_null(strstr(post(path, "Idempotency-Key: f\r\n", fill), "\"remaining\":\"6.00000000\""));
    assert_non_null(strstr(post(path, "Idempotency-Key: f\r\n", fill), "\"remaining\":\"6.00000000\""));
    assert_non_null(strstr(post(path, "Idempotency-Key: g\r\n", fill), "\"remaining\":\"2.00000000\""));
}

/* ---- holds ---- */

struct later {
    pthread_t thread;
    const char *path, *body;
    int code;
    _Atomic bool done;
};

static void *post_it(void *argument)
{
    struct later *later = argument;
    char request[1024], answer[4096];
    int fd = dial();
    int size = snprintf(request, sizeof(request),
                        "POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                        later->path, strlen(later->body), later->body);
    say(fd, request, (size_t)size);
    ssize_t got = recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL);
    answer[got < 0 ? 0 : got] = '\0';
    close(fd);
    later->code = code_of(answer);
    atomic_store(&later->done, true);
    return NULL;
}

static void post_later(struct later *later, const char *path, const char *body)
{
    *later = (struct later){.path = path, .body = body};
    pthread_create(&later->thread, NULL, post_it, later);
}

static void wait_for(bool (*is)(void))
{
    for (int i = 0; i < 10000 && !is(); i++)
        usleep(1000); /* a condition, with a limit */
    assert_true(is());
}

static bool one_held(void)
{
    return figures().held >= 1;
}
static bool two_held(void)
{
    return figures().held >= 2;
}
static bool one_at_upstream(void)
{
    return atomic_load(&upstream.writes) >= 1;
}

static int64_t from_now(int64_t us)
{
    return os_clock_monotonic_us(os_clock_real()) + us;
}

static void test_hold(void **state)
{
    (void)state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct later one, two;
    capture_order(5);
    own(OWNER_SHARED);
    OK(gateway_hold(rig.gateway, from_now(10 * 1000 * 1000), &err));
    post_later(&one, "/orders/5/fill", "{\"quantity\":\"1\",\"price\":\"5\"}");
    wait_for(one_held);
    post_later(&two, "/orders/5/fill", "{\"quantity\":\"2\",\"price\":\"5\"}");
    wait_for(two_held);
    assert_int_equal(code_of(get("/orders/5")), 200); /* reads go on */
    assert_int_equal(atomic_load(&upstream.writes), 0);
    atomic_store(&upstream.slow, true);
    gateway_release(rig.gateway);
    wait_for(one_at_upstream);
    usleep(50 * 1000); /* the second waits for the first to be answered, however long that takes */
    assert_int_equal(atomic_load(&upstream.writes), 1);
    atomic_store(&upstream.gate, true);
    pthread_join(one.thread, NULL);
    pthread_join(two.thread, NULL);
    assert_int_equal(one.code, 200);
    assert_int_equal(two.code, 200);
    assert_string_equal(upstream.body, "{\"quantity\":\"2\",\"price\":\"5\"}"); /* in the order of their arrival */
    struct traffic_window window;
    traffic_window(rig.traffic, 10 * 1000 * 1000, &window);
    assert_int_equal(window.held, 2);
    assert_int_equal(window.held_refused, 0);
}

/* A hold waits for what is under way, also where its client has gone. */
static void test_hold_waits(void **state)
{
    (void)state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct linger hard = {1, 0};
    static const char request[] = "POST /orders/5/cancel HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    own(OWNER_LEGACY);
    atomic_store(&upstream.slow, true);
    int fd = dial();
    say(fd, request, sizeof(request) - 1);
    wait_for(one_at_upstream);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
    FAILS(TIMEOUT, gateway_hold(rig.gateway, from_now(200 * 1000), &err));
    atomic_store(&upstream.gate, true);
    OK(gateway_hold(rig.gateway, from_now(5 * 1000 * 1000), &err));
    gateway_release(rig.gateway);
    assert_int_equal(code_of(post("/orders/5/cancel", "", "")), 200);
}

static void test_hold_is_bounded(void **state)
{
    (void)state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    own(OWNER_LEGACY);
    OK(gateway_hold(rig.gateway, from_now(60 * 1000 * 1000), &err));
    const char *answer = post("/orders/5/cancel", "", "");
    assert_int_equal(code_of(answer), 503);
    assert_string_equal(header_of(answer, "Retry-After"), "1");
    assert_int_equal(atomic_load(&upstream.writes), 0);
    assert_int_equal(figures().held_refused, 1);
    OK(gateway_hold(rig.gateway, from_now(100 * 1000), &err)); /* nobody releases it: it ends by its clock */
    assert_int_equal(code_of(post("/orders/5/cancel", "", "")), 200);
    decide((struct routing_decisions){.hold_writes = true, .hold_until_us = from_now(100 * 1000)});
    assert_int_equal(code_of(post("/orders/5/cancel", "", "")), 200);
    assert_int_equal(figures().held, 3);
}

static void test_handed_back(void **state)
{
    (void)state;
    struct later later;
    char path[64];
    own(OWNER_SHARED);
    decide((struct routing_decisions){.new_share = ROUTING_SHARE_ALL});
    long long id = place("");
    own(OWNER_CLOSING);
    snprintf(path, sizeof(path), "/orders/%lld/cancel", id);
    post_later(&later, path, "");
    usleep(100 * 1000); /* it is tried again and again meanwhile, and must not get anywhere */
    assert_false(atomic_load(&later.done));
    assert_int_equal(atomic_load(&upstream.writes), 0);
    own(OWNER_LEGACY);
    pthread_join(later.thread, NULL);
    assert_int_equal(later.code, 200);
    assert_int_equal(atomic_load(&upstream.writes), 1);
}

/* ---- both sides ---- */

static void test_split(void **state)
{
    (void)state;
    char body[256];
    capture_order(5);
    own(OWNER_SHARED);
    decide((struct routing_decisions){.new_share = ROUTING_SHARE_ALL});
    long long id = place("");
    snprintf(body, sizeof(body),
             "{\"fills\":[{\"order_id\":5,\"quantity\":\"1\",\"price\":\"5\"},"
             "{\"order_id\":%lld,\"quantity\":\"2\",\"price\":\"5\"}]}",
             id);
    assert_int_equal(code_of(post("/fills", "", body)), 409);
    gateway_stop(rig.gateway, 0);
    start_gateway(true);
    const char *answer = post("/fills", "", body);
    assert_int_equal(code_of(answer), 200);
    assert_non_null(strstr(upstream.body, "\"order_id\":5"));
    assert_null(strstr(upstream.body, "\"quantity\":\"2\""));
    assert_non_null(strstr(body_of(answer), "\"remaining\":\"8.00000000\""));
    assert_int_equal(figures().split, 1);
    up_answers(409, "{\"error\":\"no\"}\n"); /* the first half is refused: nothing of the second is done */
    answer = post("/fills", "", body);
    assert_int_equal(code_of(answer), 409);
    assert_string_equal(body_of(answer), upstream.answer);
    char path[64];
    snprintf(path, sizeof(path), "/orders/%lld", id);
    assert_non_null(strstr(get(path), "\"filled_quantity\":\"2.00000000\""));
}

/* ---- read your writes ---- */

static void test_read_your_writes(void **state)
{
    (void)state;
    capture_order(5);
    own(OWNER_LEGACY);
    decide((struct routing_decisions){.read_share = ROUTING_SHARE_ALL});
    assert_string_equal(side_of(get("/orders/5")), "banyan");
    assert_int_equal(atomic_load(&rig.waits), 0);
    assert_string_equal(side_of(post("/orders/5/cancel", "", "")), "legacy");
    assert_string_equal(side_of(get("/orders/5")), "banyan");
    assert_int_equal(atomic_load(&rig.waits), 1);
    assert_string_equal(side_of(get("/orders/5")), "banyan"); /* it is known to be there */
    assert_int_equal(atomic_load(&rig.waits), 1);
    atomic_store(&rig.source_fails, true);
    assert_string_equal(side_of(post("/orders/5/cancel", "", "")), "legacy");
    assert_string_equal(side_of(get("/orders/5")), "legacy");
    assert_string_equal(side_of(get("/orders/6")), "banyan"); /* another aggregate, another client */
}

/* ---- shadows ---- */

static bool looked_at_once(void)
{
    struct traffic_window window;
    traffic_window(rig.traffic, 30 * 1000 * 1000, &window);
    return window.answers.compared >= 1 && window.noise.compared >= 1;
}
static bool looked_at_twice(void)
{
    struct traffic_window window;
    traffic_window(rig.traffic, 30 * 1000 * 1000, &window);
    return window.answers.compared >= 2;
}

static void test_shadow(void **state)
{
    (void)state;
    struct traffic_window window;
    capture_order(5);
    own(OWNER_LEGACY);
    decide((struct routing_decisions){.read_share = ROUTING_SHARE_ALL});
    char own_answer[sizeof(upstream.answer)];
    snprintf(own_answer, sizeof(own_answer), "%s", body_of(get("/orders/5"))); /* Banyan's own */
    char *end = strrchr(own_answer, '}');
    memcpy(end, ",\"served_by\":\"host-1\"}\n", sizeof(",\"served_by\":\"host-1\"}\n"));
    up_answers(200, own_answer);
    decide((struct routing_decisions){.shadow_reads = true, .noise_share = ROUTING_SHARE_ALL});
    assert_string_equal(side_of(get("/orders/5")), "legacy");
    wait_for(looked_at_once);
    traffic_window(rig.traffic, 30 * 1000 * 1000, &window);
    assert_int_equal(window.answers.different, 0);
    assert_int_equal(window.noise.different, 0);
    up_answers(200, "{\"order_id\":5,\"status\":\"LOST\"}\n");
    decide((struct routing_decisions){.shadow_reads = true});
    assert_string_equal(side_of(get("/orders/5")), "legacy");
    wait_for(looked_at_twice);
    traffic_window(rig.traffic, 30 * 1000 * 1000, &window);
    assert_int_equal(window.answers.different, 1);
    assert_int_equal(figures().mismatches, 1);
    assert_true(atomic_load(&rig.waits) >= 1); /* it was looked at again, with both sides caught up */
    assert_true(window.by[TRAFFIC_BANYAN][TRAFFIC_READ].requests >= 2);
}

/* ---- comparing ---- */

static void test_compare(void **state)
{
    (void)state;
    static const char *const ignored[] = {"/at", "/list/*/at", "/list/0/x", "/a~1b", NULL};
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"{\"a\":1,\"b\":[1,2]}", "{ \"b\": [1, 2], \"a\": 1 }", true},
        {"{\"a\":1}", "{\"a\":2}", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":null}", false},
        {"{\"a\":1,\"b\":null}", "{\"a\":1}", false},
        {"{\"a\":1,\"at\":1}", "{\"a\":1,\"at\":2}", true},
        {"{\"a\":1,\"at\":1}", "{\"a\":1}", true},
        {"{\"list\":[{\"at\":1},{\"at\":2}]}", "{\"list\":[{\"at\":3},{}]}", true},
        {"{\"list\":[{\"x\":1},{\"x\":2}]}", "{\"list\":[{\"x\":9},{\"x\":2}]}", true},
        {"{\"list\":[{\"x\":1},{\"x\":2}]}", "{\"list\":[{\"x\":1},{\"x\":9}]}", false},
        {"{\"a/b\":1}", "{\"a/b\":2}", true},
        {"[1,2]", "[2,1]", false},
        {"[1]", "[1,1]", false},
        {"1.0", "1", true},
        {"\"1\"", "1", false},
        {"text", "text", true},
        {"text", "texts", false},
        {"", "", true},
        {"{\"a\":1}", "", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (compare_bodies(banyan_str_of(cases[i].a), banyan_str_of(cases[i].b), ignored, NULL) != cases[i].equal)
            fail_msg("case %zu: %s, %s", i, cases[i].a, cases[i].b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),
        cmocka_unit_test_setup_teardown(test_legacy_owns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_is_ours, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idempotency, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hold_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hold_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_handed_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_split, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_your_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shadow, setup, teardown),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as serve does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
