/* SPDX-License-Identifier: Apache-2.0 */
/* The server over a real store and real read models, asked through plain sockets. */
#include "http/server.h"

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
#include "os/file.h"
#include "sink/sinks.h"
#include "support/head_version.h"
#include "support/http_raw.h"
#include "support/test_domain.h"

enum {
    LIMIT_US = 30 * 1000 * 1000, /* for anything that must happen */
    ACCOUNTS = 200,
    EVENTS = 3000,
};

static struct {
    char *folder;
    struct store *store;
    struct os_stop stop;
    struct os_random random;
    struct projections *projections;
    struct http_server *server;
} world;

static void must(enum banyan_status st, const struct banyan_error *err)
{
    if (st != BANYAN_OK) {
        fprintf(stderr, "%s: %s\n", banyan_status_name(st), err->message);
        abort();
    }
}

static void start_view(size_t which)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char path[256];
    struct projection_options options = {.name = test_projections[which].name, .projection = &test_projections[which]};
    snprintf(path, sizeof(path), "%s/views", world.folder);
    must(os_files_real()->make_folder(os_files_real(), path, &err), &err);
    must(sink_sqlite_home(&test_projections[which], path, options.name, &options.home, &err), &err);
    must(projections_add(world.projections, &options, &err), &err);
}

/* The views are held until a test releases them. */
static int open_world(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char path[256];
    world.folder = test_folder_new();
    snprintf(path, sizeof(path), "%s/store", world.folder);
    os_random_seed(&world.random, test_seed());
    must(os_stop_open(&world.stop, &err), &err);
    must(store_open(&(struct store_options){.folder = path}, &world.store, &err), &err);
    test_append_random(world.store, &world.random, EVENTS, ACCOUNTS);
    world.projections = projections_new(
        &(struct projections_options){.domain = &test_domain, .store = world.store, .stop = &world.stop, .held = true});
    start_view(0);
    start_view(1);
    must(http_start(&(struct http_options){.address = "127.0.0.1",
                                           .port = 0,
                                           .version = "1.2.3",
                                           .domain = &test_domain,
                                           .store = world.store,
                                           .projections = world.projections},
                    &world.server, &err),
         &err);
    http_raw_port = http_port(world.server);
    return 0;
}

static int close_world(void **state)
{
    http_stop(world.server);
    os_stop_request(&world.stop);
    projections_free(world.projections);
    store_close(world.store);
    os_stop_close(&world.stop);
    test_folder_remove(world.folder);
    return 0;
}

/* ---- probes ---- */

static void ready_only_when_everything_is(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_equal(code_of(get("/livez")), 200);
    const char *answer = get("/readyz");
    assert_int_equal(code_of(answer), 503);
    assert_string_equal(header_of(answer, "Retry-After"), "1");
    json_t *json = json_at("/readyz", 503);
    assert_non_null(strstr(text_at(json, "detail"), "branches"));
    assert_non_null(strstr(text_at(json, "detail"), "accounts"));
    assert_int_equal(json_integer_value(json_object_get(json, "status")), 503);
    json_decref(json);

    answer = get("/views/branches/1"); /* its rows are there, but perhaps not all */
    assert_int_equal(code_of(answer), 503);
    assert_true(atoi(header_of(answer, "Retry-After")) >= 1);
    assert_null(strstr(answer, "total"));
    assert_int_equal(code_of(get("/views/accounts?owner=owner%201")), 503);

    projections_release(world.projections);
    int64_t began = os_clock_monotonic_us(os_clock_real());
    while (code_of(get("/readyz")) != 200)
        assert_true(os_clock_monotonic_us(os_clock_real()) - began < LIMIT_US);
    json = json_at("/views/branches/1", 200);
    assert_true(json_integer_value(json_object_get(json, "moves")) > 0);
    json_decref(json);
    must(err.status, &err);
}

static void status_and_metrics_agree_with_the_store(void **state)
{
    json_t *json = json_at("/status", 200);
    assert_string_equal(text_at(json, "version"), "1.2.3");
    assert_string_equal(text_at(json, "domain"), "accounts-test");
    assert_true(json_is_null(json_object_get(json, "legacy")));
    const json_t *log = json_object_get(json, "log");
    assert_int_equal(json_integer_value(json_object_get(log, "tail")), store_tail(world.store).value);
    const json_t *views = json_object_get(json, "views");
    assert_int_equal(json_array_size(views), 2);
    assert_string_equal(text_at(json_array_get(views, 0), "name"), "accounts");
    assert_string_equal(text_at(json_array_get(views, 0), "state"), "live");
    json_decref(json);

    const char *metrics = body_of(get("/metrics"));
    char wanted[128];
    snprintf(wanted, sizeof(wanted), "\nbanyan_log_events_total %" PRIu64 "\n", store_tail(world.store).value);
    assert_non_null(strstr(metrics, wanted));
    assert_non_null(strstr(metrics, "\nbanyan_view_live{view=\"accounts\"} 1\n"));
    /* Every sample's family was announced by TYPE. */
    char *copy = strdup(metrics), *rest = copy;
    size_t samples = 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        char name[128], type[160];
        if (line[0] == '#' || line[0] == '\0')
            continue;
        assert_int_equal(sscanf(line, "%127[a-z0-9_]", name), 1);
        snprintf(type, sizeof(type), "# TYPE %s ", name);
        if (strncmp(name, "banyan_", 7) != 0 || strstr(metrics, type) == NULL)
            fail_msg("no type of %s", name);
        samples++;
    }
    assert_true(samples > 20);
    free(copy);
}

/* ---- views ---- */

static void rows_are_exact_and_say_their_position(void **state)
{
    struct test_model *model = calloc(1, sizeof(*model));
    test_model_fold(model, world.store, store_tail(world.store));
    size_t found = 0;
    for (int64_t key = 0; key <= ACCOUNTS; key++) {
        char path[64];
        snprintf(path, sizeof(path), "/views/accounts/%" PRId64, key);
        const char *answer = get(path);
        if (model->accounts[key] == NULL) {
            assert_int_equal(code_of(answer), 404);
            continue;
        }
        struct banyan_buf wanted = BANYAN_BUF_INIT(65536);
        banyan_record_json(test_projections[0].tables[0].row, model->accounts[key], &wanted);
        assert_int_equal(code_of(answer), 200);
        assert_string_equal(body_of(answer), wanted.data);
        assert_int_equal(strtoull(header_of(answer, "Banyan-Position"), NULL, 10), store_tail(world.store).value);
        banyan_buf_release(&wanted);
        found++;
    }
    assert_true(found > 10);
    test_model_release(model);
    free(model);
}

static void lists_page_to_their_end(void **state)
{
    struct test_model *model = calloc(1, sizeof(*model));
    test_model_fold(model, world.store, store_tail(world.store));
    for (int limit = 1; limit <= 40; limit += 13) {
        size_t wanted = 0, seen = 0, pages = 0;
        bool was_seen[TEST_MODEL_KEYS] = {false};
        char path[256], opened[64] = "9999", after[128] = "";
        for (size_t key = 0; key < TEST_MODEL_KEYS; key++)
            wanted +=
                model->accounts[key] != NULL && banyan_str_equal(model->accounts[key]->owner, BANYAN_STR("owner 3"));
        do {
            snprintf(path, sizeof(path), "/views/accounts?owner=owner+3&limit=%d%s", limit, after);
            json_t *json = json_at(path, 200), *item;
            const json_t *items = json_object_get(json, "items");
            size_t i;
            assert_true(json_array_size(items) <= (size_t)limit && json_array_size(items) > 0);
            json_array_foreach (items, i, item) {
                size_t key = (size_t)json_integer_value(json_object_get(item, "id"));
                assert_string_equal(text_at(item, "owner"), "owner 3");
                assert_true(key < TEST_MODEL_KEYS && !was_seen[key]);
                assert_true(strcmp(text_at(item, "opened_at"), opened) <= 0);
                snprintf(opened, sizeof(opened), "%s", text_at(item, "opened_at"));
                was_seen[key] = true;
                seen++;
            }
            after[0] = '\0';
            if (json_object_get(json, "next") != NULL)
                snprintf(after, sizeof(after), "&after=%s", text_at(json, "next"));
            json_decref(json);
            pages++;
        } while (after[0] != '\0');
        assert_int_equal(seen, wanted);
        assert_int_equal(pages, (wanted + (size_t)limit - 1) / (size_t)limit);
    }
    test_model_release(model);
    free(model);
    json_t *json = json_at("/views/accounts?owner=nobody", 200);
    assert_int_equal(json_array_size(json_object_get(json, "items")), 0);
    json_decref(json);
    json = json_at("/views/accounts?owner=owner+3&from=2021-01-01T00:00:00Z", 200);
    assert_int_equal(json_array_size(json_object_get(json, "items")), 0);
    json_decref(json);
    json = json_at("/views/accounts?owner=owner+3&from=2020-09-13T00:00:00%2B00:00&to=2021-01-01T00:00:00Z", 200);
    assert_true(json_array_size(json_object_get(json, "items")) > 0);
    json_decref(json);
}

static void a_reader_may_wait_for_its_write(void **state)
{
    char headers[128];
    uint64_t tail = store_tail(world.store).value;
    snprintf(headers, sizeof(headers), "Banyan-Min-Position: %" PRIu64 "\r\n", tail + 1);
    const char *answer = get_with("/views/accounts/1", headers);
    assert_int_equal(code_of(answer), 503);
    assert_string_equal(header_of(answer, "Retry-After"), "1");
    snprintf(headers, sizeof(headers), "Banyan-Min-Position: %" PRIu64 "\r\nPrefer: wait=30\r\n", tail + 1);
    int64_t began = os_clock_monotonic_us(os_clock_real());
    assert_int_equal(code_of(get_with("/views/accounts/1", headers)), 503);
    assert_true(os_clock_monotonic_us(os_clock_real()) - began >= 30 * 1000);

    /* Asked before it is written: answered as soon as it is there, and others are answered meanwhile. */
    char request[512];
    snprintf(request, sizeof(request),
             "GET /views/accounts?owner=waited HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
             "Banyan-Min-Position: %" PRIu64 "\r\nPrefer: respond-async, wait=10000\r\n\r\n",
             tail + 1);
    int fds[20];
    for (size_t i = 0; i < 20; i++) {
        fds[i] = dial();
        say(fds[i], request, strlen(request));
    }
    close(fds[19]); /* one goes away */
    assert_int_equal(code_of(get("/livez")), 200);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct test_opened opened = {BANYAN_STR("waited"), {NULL, 0}, 1, banyan_decimal_null()};
    struct store_event event =
        test_event_of(TEST_OPENED, &opened, ACCOUNTS + 1, (struct banyan_time){0}, &world.random, &arena);
    struct store_appended appended;
    struct banyan_error err = BANYAN_ERROR_INIT;
    must(store_append(world.store, &(struct store_append){.events = &event, .event_count = 1}, &appended, &err), &err);
    for (size_t i = 0; i < 19; i++) {
        answer = hear(fds[i]);
        assert_int_equal(code_of(answer), 200);
        assert_non_null(strstr(answer, "\"waited\""));
        assert_true(strtoull(header_of(answer, "Banyan-Position"), NULL, 10) > tail);
    }
    banyan_arena_release(&arena);
}

static void streams_are_shown(void **state)
{
    size_t events = 0, pages = 0;
    for (uint64_t from = 1; from != 0; pages++) {
        char path[128];
        snprintf(path, sizeof(path), "/streams/account-1?from=%" PRIu64 "&limit=5", from);
        json_t *json = json_at(path, 200), *event;
        size_t i;
        assert_string_equal(text_at(json, "stream"), "account-1");
        json_array_foreach (json_object_get(json, "events"), i, event) {
            assert_int_equal(json_integer_value(json_object_get(event, "version")), ++events);
            assert_string_equal(text_at(event, "provenance"), "exact");
            assert_true(json_is_object(json_object_get(event, "payload")));
            assert_null(json_object_get(json_object_get(event, "payload"), "base64"));
        }
        from = (uint64_t)json_integer_value(json_object_get(json, "next"));
        json_decref(json);
    }
    assert_int_equal(events, head_version(world.store, BANYAN_STR("account-1")));
    assert_true(pages > 1);
    assert_int_equal(code_of(get("/streams/account-999999")), 404);
    assert_int_equal(code_of(get("/streams/account%2D1")), 200);
    assert_int_equal(code_of(get("/streams/account-1?from=0")), 400);
    assert_int_equal(code_of(get("/streams/account-1?limit=1001")), 400);
}

/* ---- the newest keys first ---- */

static struct sink_home_ops stuck_ops;

/* The rebuild that is due does not come to its end: it tries again and again. */
static enum banyan_status stuck_make(struct sink_home *home, struct sink_mark ready, uint32_t *ret_number,
                                     struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_BUSY, "not now");
}

/* A view whose rows are there from key 100 on: one, of key 150. */
static void start_partial_view(const struct banyan_projection *spec)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct test_account row = {.id = 150, .owner = BANYAN_STR("newest")};
    struct sink_row rows = {0, 150, &row, UINT64_MAX};
    struct sink_checkpoint at;
    struct projection_options options = {.name = spec->name, .projection = spec};
    struct sink *sink = NULL;
    uint32_t number = 0;
    must(sink_memory_home(spec, &options.home, &err), &err);
    must(options.home->ops->make(options.home, (struct sink_mark){true, 100}, &number, &err), &err);
    must(options.home->ops->open(options.home, number, &sink, &err), &err);
    must(sink->ops->claim(sink, &at, &err), &err);
    struct sink_flush flush = {.rows = &rows, .row_count = 1, .checkpoint = {.position = store_tail(world.store)}};
    must(sink->ops->flush(sink, &flush, &err), &err);
    must(options.home->ops->serve(options.home, 0, number, &err), &err);
    sink_close(sink);
    stuck_ops = *options.home->ops;
    stuck_ops.make = stuck_make;
    options.home->ops = &stuck_ops;
    must(projections_add(world.projections, &options, &err), &err);
}

static int open_partial_world(void **state)
{
    static struct banyan_projection spec;
    struct banyan_error err = BANYAN_ERROR_INIT;
    world.folder = test_folder_new();
    os_random_seed(&world.random, test_seed());
    must(os_stop_open(&world.stop, &err), &err);
    must(store_open(&(struct store_options){.folder = world.folder}, &world.store, &err), &err);
    test_append_random(world.store, &world.random, 50, 50);
    world.projections = projections_new(
        &(struct projections_options){.domain = &test_domain, .store = world.store, .stop = &world.stop});
    spec = test_projections[0];
    spec.spread = BANYAN_PARTITIONED;
    spec.recent_first = true;
    start_partial_view(&spec);
    must(http_start(&(struct http_options){.address = "127.0.0.1",
                                           .version = "1.2.3",
                                           .domain = &test_domain,
                                           .store = world.store,
                                           .projections = world.projections},
                    &world.server, &err),
         &err);
    http_raw_port = http_port(world.server);
    return 0;
}

/* Whatever touches keys that are not ready is told so, and when to come again. */
static void refused(const char *path)
{
    const char *answer = get(path);
    assert_int_equal(code_of(answer), 503);
    assert_true(atoi(header_of(answer, "Retry-After")) >= 1);
    assert_string_equal(header_of(answer, "Banyan-Ready-From"), "100");
    assert_non_null(strstr(answer, "those from 100 on are ready"));
    assert_null(strstr(answer, "newest\""));
}

static void the_newest_keys_answer_alone(void **state)
{
    int64_t began = os_clock_monotonic_us(os_clock_real());
    while (!projections_serving(world.projections, 0, NULL))
        assert_true(os_clock_monotonic_us(os_clock_real()) - began < LIMIT_US);
    const char *answer = get("/views/accounts/150");
    assert_int_equal(code_of(answer), 200);
    assert_string_equal(header_of(answer, "Banyan-Ready-From"), "100");
    answer = get("/views/accounts/160");
    assert_int_equal(code_of(answer), 404);
    assert_string_equal(header_of(answer, "Banyan-Ready-From"), "100");
    refused("/views/accounts/99");
    refused("/views/accounts/1"); /* there are events of it */
    refused("/views/accounts?owner=newest");
    refused("/views/accounts?owner=newest&partial=false");
    refused("/views/accounts/search?q=newest");
    assert_int_equal(code_of(get("/views/accounts?owner=newest&partial=maybe")), 400);
    static const char *const partly[] = {"/views/accounts?owner=newest&partial=true",
                                         "/views/accounts/search?q=newest&partial=true"};
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(header_of(get(partly[i]), "Banyan-Ready-From"), "100");
        json_t *json = json_at(partly[i], 200);
        assert_int_equal(json_array_size(json_object_get(json, "items")), 1);
        json_decref(json);
    }
    json_t *json = json_at("/projections", 200);
    const json_t *view = json_array_get(json_object_get(json, "projections"), 0);
    assert_int_equal(json_integer_value(json_object_get(view, "ready_from")), 100);
    json_decref(json);
}

/* ---- bad requests ---- */

static void a_search_and_a_query(void **state)
{
    json_t *json = json_at("/views/accounts/search?q=owner&limit=1000", 200);
    assert_true(json_array_size(json_object_get(json, "items")) > 0);
    json_decref(json);
    json = json_at("/views/accounts/search?q=nobodyatall", 200);
    assert_int_equal(json_array_size(json_object_get(json, "items")), 0);
    json_decref(json);
    json = json_at("/views/branches/queries/busy?at_least=1", 200);
    size_t busy = json_array_size(json_object_get(json, "items"));
    assert_true(busy > 0);
    json_decref(json);
    json = json_at("/views/branches/queries/busy?at_least=1000000", 200);
    assert_int_equal(json_array_size(json_object_get(json, "items")), 0);
    json_decref(json);
    json_decref(json_at("/views/branches/queries/busy?at_least=-1", 400));
    json_decref(json_at("/views/branches/queries/busy?at_least=x", 400));
    json_decref(json_at("/views/branches/queries/busy?wrong=1", 400));
    json = json_at("/views/branches/tables/branches/1", 200);
    assert_true(json_integer_value(json_object_get(json, "moves")) > 0);
    json_decref(json);
    const char *answer = get("/views/branches/1");
    assert_string_equal(header_of(answer, "Banyan-Generation"), "1");
    assert_non_null(strchr(header_of(answer, "Banyan-Last-Event"), 'T'));
}

static const char *post(const char *path, const char *body)
{
    char request[512];
    (void)snprintf(request, sizeof(request),
                   "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", path,
                   strlen(body), body);
    return raw(request);
}

/* Until *generation* of the view serves, and no rebuild runs. */
static void until_serves(int64_t generation)
{
    int64_t began = os_clock_monotonic_us(os_clock_real());
    for (bool there = false; !there;) {
        json_t *json = json_at("/projections/branches", 200);
        there = json_integer_value(json_object_get(json, "generation")) == generation &&
                json_is_null(json_object_get(json, "rebuild"));
        json_decref(json);
        assert_true(os_clock_monotonic_us(os_clock_real()) - began < LIMIT_US);
    }
}

/* A rebuild through HTTP: the generation changes, the rows do not, and what served is kept. */
static void a_rebuild_and_back(void **state)
{
    json_t *before = json_at("/views/branches/1", 200);
    assert_int_equal(code_of(post("/projections/branches/rebuild", "")), 200);
    until_serves(2);
    json_t *after = json_at("/views/branches/1", 200);
    assert_true(json_equal(before, after));
    json_t *json = json_at("/projections/branches", 200);
    assert_int_equal(json_array_size(json_object_get(json, "generations")), 2);
    json_decref(json);
    assert_int_equal(code_of(post("/projections/branches/rollback", "")), 200);
    until_serves(1); /* once it has caught up */
    assert_string_equal(header_of(get("/views/branches/1"), "Banyan-Generation"), "1");
    assert_int_equal(code_of(post("/projections/branches/drop", "")), 200);
    json = json_at("/projections/branches", 200);
    assert_int_equal(json_array_size(json_object_get(json, "generations")), 1);
    json_decref(json);
    assert_int_equal(code_of(post("/projections/branches/retry?key=1", "")), 404);
    assert_int_equal(code_of(post("/projections/branches/retry", "")), 400);
    assert_int_equal(code_of(post("/projections/branches/nothing", "")), 404);
    assert_int_equal(json_integer_value(json_object_get(json = json_at("/projections/branches/asides", 200), "count")),
                     0);
    json_decref(json);
    json_decref(before);
    json_decref(after);
}

static void bad_input_is_named(void **state)
{
    static const struct {
        const char *path;
        int code;
        const char *said;
    } cases[] = {
        {"/", 404, "nothing"},
        {"/views", 404, "nothing"},
        {"/views/", 404, "nothing"},
        {"/views/nothing", 404, "no view"},
        {"/views/accountsx/1", 404, "no view"},
        {"/views/accounts/", 404, "nothing"},
        {"/views/accounts/1/2", 404, "nothing"},
        {"/views/accounts/tables/nothing", 404, "no table"},
        {"/views/accounts/tables/accounts/x", 400, "no key"},
        {"/views/accounts/queries/nothing", 404, "no query"},
        {"/views/branches/search?q=x", 404, "no search"},
        {"/views/accounts/search?q=x&wrong=1", 400, "no column"},
        {"/views/accounts/search?q=x&skip=10001", 400, "skip"},
        {"/projections/nothing", 404, "no projection"},
        {"/projections/accounts/rebuild", 405, "POST"},
        {"/views/accounts/1%2F2", 400, "no key"},
        {"/views/accounts/x", 400, "no key"},
        {"/views/accounts/+1", 400, "no key"},
        {"/views/accounts/%201", 400, "no key"},
        {"/views/accounts/1.0", 400, "no key"},
        {"/views/accounts/99999999999999999999", 400, "no key"},
        {"/views/accounts/-5", 404, "no row"},
        {"/views/accounts/1?x=1", 400, "unknown parameter"},
        {"/views/accounts", 400, "needs a column"},
        {"/views/accounts?balance=1", 400, "needs a column"},
        {"/views/branches?branch=1", 400, "needs a column"},
        {"/views/accounts?owner=a&wrong=1", 400, "unknown parameter"},
        {"/views/accounts?owner=a&owner=b", 400, "more than once"},
        {"/views/accounts?owner=a&limit=0", 400, "limit"},
        {"/views/accounts?owner=a&limit=1001", 400, "limit"},
        {"/views/accounts?owner=a&limit=-1", 400, "limit"},
        {"/views/accounts?owner=a&limit=1x", 400, "limit"},
        {"/views/accounts?owner=a&limit=", 400, "limit"},
        {"/views/accounts?owner=a&from=yesterday", 400, "from"},
        {"/views/accounts?owner=a&to=2015-02-30T00:00:00Z", 400, "to"},
        {"/views/accounts?owner=a&after=1", 400, "after"},
        {"/views/accounts?owner=a&after=1.", 400, "after"},
        {"/views/accounts?owner=a&after=.1", 400, "after"},
        {"/views/accounts?owner=a&after=1.2.3", 400, "after"},
        {"/views/accounts?owner=a&after=99999999999999999999.1", 400, "after"},
        {"/views/accounts?owner=%zz", 400, "decoded"},
        {"/views/accounts?owner=a%00b", 400, "decoded"},
        {"/views/accounts?owner=%", 400, "decoded"},
        {"/views/acc%00ounts/1", 400, "decoded"},
        {"/views/accounts/%4", 400, "decoded"},
        {"/status?x=1", 400, "unknown parameter"},
        {"/../../etc/passwd", 404, "nothing"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *json = json_at(cases[i].path, cases[i].code);
        if (strstr(text_at(json, "detail"), cases[i].said) == NULL)
            fail_msg("%s: %s", cases[i].path, text_at(json, "detail"));
        assert_int_equal(json_integer_value(json_object_get(json, "status")), cases[i].code);
        json_decref(json);
    }
    static const char *const positions[] = {"-1", "x", "1x", " ", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
        char header[64];
        snprintf(header, sizeof(header), "Banyan-Min-Position: %s\r\n", positions[i]);
        assert_int_equal(code_of(get_with("/views/accounts/1", header)), 400);
    }
}

static void other_methods_are_refused(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        char request[256];
        snprintf(request, sizeof(request),
                 "%s /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", methods[i]);
        const char *answer = raw(request);
        assert_int_equal(code_of(answer), 405);
        assert_string_equal(header_of(answer, "Allow"), "GET, HEAD");
    }
    const char *answer = raw("HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_int_equal(code_of(answer), 200);
    assert_string_equal(body_of(answer), "");
    assert_true(code_of(raw("BREW /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) >= 400);
}

static size_t answers_in(const char *text)
{
    size_t count = 0;
    for (; (text = strstr(text, "HTTP/1.1 ")) != NULL; text++)
        count++;
    return count;
}

/* What two programs could read in two ways is refused, and what follows on the connection is not looked at. */
static void ambiguous_requests_are_refused(void **state)
{
    static const char *const frames[] = {
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: identity\r\n",
    };
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        char request[512];
        snprintf(request, sizeof(request),
                 "GET /livez HTTP/1.1\r\nHost: x\r\n%s\r\n0\r\n\r\nGET /status HTTP/1.1\r\nHost: x\r\n\r\n", frames[i]);
        const char *answer = raw(request);
        if (answers_in(answer) > 1 || strstr(answer, "\"version\"") != NULL || code_of(answer) == 200)
            fail_msg("%s: %.600s", frames[i], answer);
    }
}

static void hostile_bytes_do_no_harm(void **state)
{
    size_t size = 200 * 1024;
    char *large = malloc(size + 1);
    memset(large, 'a', size);
    large[size] = '\0';
    char *request = malloc(size + 256);
    snprintf(request, size + 256, "GET /views/accounts/%s HTTP/1.1\r\nHost: x\r\n\r\n", large);
    assert_true(code_of(raw(request)) != 200);
    snprintf(request, size + 256, "GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", large);
    assert_true(code_of(raw(request)) != 200);
    snprintf(request, size + 256, "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", size, large);
    assert_true(code_of(raw(request)) != 200);
    free(request);
    free(large);

    static const char *const parts[] = {"GET ",
                                        "/views/accounts",
                                        "?owner=",
                                        "%",
                                        "\r\n",
                                        "\n",
                                        " HTTP/1.1",
                                        ":",
                                        "Content-Length: 1",
                                        "\t",
                                        "\xff",
                                        "1",
                                        "&",
                                        "\r\n\r\n",
                                        "Host: x",
                                        "POST ",
                                        "Transfer-Encoding: chunked"};
    for (int round = 0; round < 400; round++) {
        char noise[1024];
        size_t used = 0;
        while (used < 600 && os_random_below(&world.random, 30) > 0) {
            const char *part = parts[os_random_below(&world.random, sizeof(parts) / sizeof(parts[0]))];
            memcpy(noise + used, part, strlen(part));
            used += strlen(part);
        }
        int fd = dial();
        say(fd, noise, used);
        shutdown(fd, SHUT_WR);
        (void)hear(fd); /* whatever it says, it must end and live on */
    }
    assert_int_equal(code_of(get("/livez")), 200);
}

static void requests_may_be_pipelined(void **state)
{
    char requests[4096] = "";
    for (int i = 0; i < 10; i++)
        snprintf(requests + strlen(requests), sizeof(requests) - strlen(requests),
                 "GET /views/accounts/%d HTTP/1.1\r\nHost: x\r\n%s\r\n", 100000 + i,
                 i == 9 ? "Connection: close\r\n" : "");
    int fd = dial();
    say(fd, requests, strlen(requests));
    const char *answer = hear(fd);
    assert_int_equal(answers_in(answer), 10);
    for (int i = 0; i < 10; i++) { /* in order */
        char wanted[64];
        snprintf(wanted, sizeof(wanted), "no row %d", 100000 + i);
        answer = strstr(answer, wanted);
        assert_non_null(answer);
    }
}

static void a_taken_port_is_named(void **state)
{
    struct http_server *second = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct http_options options = {.address = "127.0.0.1",
                                   .port = http_port(world.server),
                                   .version = "1",
                                   .domain = &test_domain,
                                   .store = world.store};
    assert_int_equal(http_start(&options, &second, &err), BANYAN_BUSY);
    assert_non_null(strstr(err.message, "127.0.0.1"));
    assert_true(err.hint[0] != '\0');
}

/* The last test: the server ends while somebody waits, and nothing is left behind. */
static void stopping_ends_the_waiting(void **state)
{
    int fd = dial();
    const char *request = "GET /views/accounts/1 HTTP/1.1\r\nHost: x\r\nBanyan-Min-Position: 999999999\r\n"
                          "Prefer: wait=10000\r\n\r\n";
    say(fd, request, strlen(request));
    assert_int_equal(code_of(get("/livez")), 200); /* the loop has seen the one above by now, or ends with it unread */
    int64_t began = os_clock_monotonic_us(os_clock_real());
    http_stop(world.server);
    world.server = NULL;
    assert_true(os_clock_monotonic_us(os_clock_real()) - began < 5 * 1000 * 1000);
    (void)hear(fd); /* it was hung up */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready_only_when_everything_is),
        cmocka_unit_test(status_and_metrics_agree_with_the_store),
        cmocka_unit_test(rows_are_exact_and_say_their_position),
        cmocka_unit_test(lists_page_to_their_end),
        cmocka_unit_test(a_search_and_a_query),
        cmocka_unit_test(a_reader_may_wait_for_its_write),
        cmocka_unit_test(streams_are_shown),
        cmocka_unit_test(bad_input_is_named),
        cmocka_unit_test(other_methods_are_refused),
        cmocka_unit_test(ambiguous_requests_are_refused),
        cmocka_unit_test(hostile_bytes_do_no_harm),
        cmocka_unit_test(requests_may_be_pipelined),
        cmocka_unit_test(a_rebuild_and_back),
        cmocka_unit_test(a_taken_port_is_named),
        cmocka_unit_test(stopping_ends_the_waiting),
    };
    const struct CMUnitTest partial[] = {cmocka_unit_test(the_newest_keys_answer_alone)};
    int failed = cmocka_run_group_tests(tests, open_world, close_world);
    return failed + cmocka_run_group_tests(partial, open_partial_world, close_world);
}
