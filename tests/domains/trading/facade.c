/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The façade, without its application: what is understood and what is not, and the answers to the letter.  That the
 * application answers the same is tests/flow/440-facade.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trading/commands.h"
#include "trading/facade.h"
#include "trading/order.h"
#include "trading/trading.h"

static struct banyan_arena arena = BANYAN_ARENA_INIT;
static struct banyan_route route;

static bool ask(const char *method, const char *path, const char *query, const char *body)
{
    struct banyan_request request = {
        banyan_str_of(method), banyan_str_of(path), banyan_str_of(query), banyan_str_of(body), {0}};

    return trading_facade.route(&request, &arena, &route);
}

#define PLACE "{\"trader_id\":7,\"symbol\":\"BTCUSD\",\"side\":\"BUY\",\"quantity\":\"3\",\"price\":\"250.5\""

static void understands_writes(void **unused)
{
    const struct place_order *place;
    const struct modify_order *modify;
    const struct fill_order *fill;

    (void)unused;
    assert_true(ask("POST", "/orders", "", PLACE "}"));
    assert_int_equal(route.kind, BANYAN_REQUEST_WRITE);
    assert_true(route.part_count == 1 && route.parts[0].key == 0 && route.parts[0].creates);
    place = route.parts[0].fields;
    assert_true(place->trader_id == 7 && place->price.units == INT64_C(25050000000));
    assert_true(ask("POST", "/orders", "", PLACE ",\"order_id\":12}"));
    assert_int_equal(route.parts[0].key, 12);
    assert_true(ask("POST", "/orders/+0012/modify", "", "{\"price\":9999999999}"));
    modify = route.parts[0].fields;
    assert_true(route.parts[0].key == 12 && banyan_decimal_is_null(modify->quantity));
    assert_true(modify->price.units == INT64_C(999999999900000000));
    assert_true(ask("POST", "/orders/5/cancel", "", "not JSON"));
    assert_int_equal(route.parts[0].command, ORDER_CANCEL);
    assert_true(ask("POST", "/fills", "",
                    "{\"fills\":[{\"order_id\":9,\"quantity\":\"1\",\"price\":\"2\"},"
                    "{\"order_id\":3,\"quantity\":\"0.00000001\",\"price\":\"4\"}]}"));
    assert_int_equal(route.part_count, 2);
    fill = route.parts[0].fields;
    assert_true(route.parts[0].key == 3 && fill->quantity.units == 1);
    assert_int_equal(route.parts[1].key, 9);
}

/* What the application refuses by itself, and what is not its orders' at all. */
static void leaves_the_rest(void **unused)
{
    static const char *const bodies[] = {"",
                                         "[]",
                                         "{}",
                                         PLACE,
                                         PLACE "}x",
                                         PLACE ",\"price\":\"1\"}",
                                         PLACE ",\"order_id\":0}",
                                         PLACE ",\"a\":99999999999999999999}",
                                         PLACE ",\"a\":1e999}"};
    static const char *const amounts[] = {"\"0\"",           "\"1.\"",      "\".5\"", "1.5",  "\"0.000000001\"",
                                          "\"12345678901\"", "10000000000", "-1",     "null", "\" 1\""};
    static const char *const paths[] = {"/orders/0/cancel",
                                        "/orders/-1/cancel",
                                        "/orders/x/cancel",
                                        "/orders//cancel",
                                        "/orders/9223372036854775808/cancel",
                                        "/orders/1/eat"};
    static const char *const queries[] = {"",
                                          "trader_id=1&symbol=a",
                                          "trader_id=",
                                          "trader_id",
                                          "trader_id=1&limit=0",
                                          "trader_id=1&limit=1001",
                                          "trader_id=1&from=2026-02-30T00:00:00Z",
                                          "trader_id=1&from=tomorrow",
                                          "symbol=%C3%A9"};

    (void)unused;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        assert_false(ask("POST", "/orders", "", bodies[i]));
    for (size_t i = 0; i < sizeof(amounts) / sizeof(amounts[0]); i++) {
        struct banyan_str body = banyan_arena_printf(&arena, "{\"price\":%s}", amounts[i]);

        assert_false(ask("POST", "/orders/1/modify", "", body.data));
    }
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        assert_false(ask("POST", paths[i], "", ""));
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
        assert_false(ask("GET", "/orders", queries[i], ""));
    assert_false(ask("POST", "/fills", "",
                     "{\"fills\":[{\"order_id\":9,\"quantity\":\"1\",\"price\":\"2\"},"
                     "{\"order_id\":9,\"quantity\":\"1\",\"price\":\"2\"}]}"));
    assert_true(ask("GET", "/health", "", "") && route.kind == BANYAN_REQUEST_OTHER);
    assert_true(ask("DELETE", "/orders/1", "", "") && route.kind == BANYAN_REQUEST_OTHER);
}

static void understands_reads(void **unused)
{
    const struct facade_context *context;

    (void)unused;
    assert_true(ask("GET", "/orders/17", "", ""));
    assert_true(route.kind == BANYAN_REQUEST_READ && route.key == 17);
    assert_true(
        ask("GET", "/orders", "limit=5&Symbol=A%2fB+c&from=2026-01-02T03:04:05.5Z&to=2026-01-02%2003:04:06", ""));
    context = route.context;
    assert_int_equal(context->kind, FACADE_LIST_SYMBOL);
    assert_true(banyan_str_equal(context->equal, BANYAN_STR("A/B c")));
    assert_int_equal(context->from.us, INT64_C(1767323045500000));
    assert_int_equal(context->to.us, INT64_C(1767323046000000));
    assert_int_equal(context->limit, 5);
    assert_true(banyan_str_equal(route.user, BANYAN_STR("symbol-A/B c")));
}

static void splits(void **unused)
{
    struct banyan_request request = {BANYAN_STR("POST"), BANYAN_STR("/fills"), BANYAN_STR(""), BANYAN_STR(""), {0}};
    const bool keep[] = {true, false, true};
    struct banyan_str body;

    (void)unused;
    assert_true(
        ask("POST", "/fills", "",
            "{\"fills\":[{\"order_id\":3,\"quantity\":1,\"price\":2},{\"order_id\":2,\"quantity\":1,\"price\":2},"
            "{\"order_id\":1,\"quantity\":\"1.5\",\"price\":2}]}"));
    assert_true(trading_facade.split(&request, &route, keep, &arena, &body));
    assert_true(banyan_str_equal(
        body, BANYAN_STR("{\"fills\":[{\"order_id\":1,\"quantity\":\"1.50000000\",\"price\":\"2.00000000\"},"
                         "{\"order_id\":3,\"quantity\":\"1.00000000\",\"price\":\"2.00000000\"}]}")));
}

/* ---- answers ---- */

static struct order order = {
    .exists = true,
    .row = {17,
            7,
            {"A\"B", 3},
            {"BUY", 3},
            {300000000, 8},
            {25050000000, 8},
            {"PARTIALLY_FILLED", 16},
            {100000000, 8},
            {24975000000, 8},
            {INT64_C(1767323045120000)},
            {INT64_C(1767323046000000)}},
};

static void answers(int code, const struct banyan_outcome *outcomes, const char *body)
{
    struct banyan_request request = {BANYAN_STR("POST"), BANYAN_STR(""), BANYAN_STR(""), BANYAN_STR(""), {0}};
    struct banyan_response response;

    trading_facade.answer(&request, &route, outcomes, &arena, &response);
    assert_int_equal(response.code, code);
    assert_string_equal(banyan_arena_printf(&arena, "%.*s", (int)response.body.size, response.body.data).data, body);
}

static void answers_writes(void **unused)
{
    struct banyan_outcome outcome = {.accepted = true, .key = 17, .state = &order, .position = {99}};
    struct banyan_outcome refused = {.key = 17, .state = &order};

    (void)unused;
    assert_true(ask("POST", "/orders", "", PLACE "}"));
    answers(201, &outcome,
            "{\"order_id\":17,\"status\":\"PARTIALLY_FILLED\",\"created_at\":\"2026-01-02 03:04:05.12+00\"}\n");
    assert_true(ask("POST", "/orders/17/modify", "", "{\"price\":\"1\"}"));
    answers(200, &outcome,
            "{\"order_id\":17,\"status\":\"PARTIALLY_FILLED\",\"changed\":0,\"audited\":false,"
            "\"price\":\"250.50000000\",\"quantity\":\"3.00000000\"}\n");
    refused.refusal.code = "quantity-filled";
    answers(409, &refused, "{\"error\":\"1.00000000 of order 17 is already filled\"}\n");
    refused.refusal.code = "order-unknown";
    answers(404, &refused, "{\"error\":\"there is no order 17\"}\n");
    assert_true(ask("POST", "/orders/17/fill", "", "{\"quantity\":\"1\",\"price\":\"1\"}"));
    answers(200, &outcome,
            "{\"order_id\":17,\"trade_id\":99,\"status\":\"PARTIALLY_FILLED\",\"filled_quantity\":\"1.00000000\","
            "\"avg_fill_price\":\"249.75000000\",\"remaining\":\"2.00000000\"}\n");
    refused.refusal.code = "quantity-exceeded";
    answers(409, &refused, "{\"error\":\"order 17 has less than that left to fill\"}\n");
    assert_true(ask("POST", "/orders/17/cancel", "", ""));
    answers(200, &outcome, "{\"order_id\":17,\"status\":\"PARTIALLY_FILLED\",\"audited\":true}\n");
    refused.refusal.code = "order-filled";
    answers(409, &refused, "{\"error\":\"order 17 is PARTIALLY_FILLED\"}\n");
}

static void answers_reads(void **unused)
{
    struct banyan_request request = {BANYAN_STR("GET"), BANYAN_STR("/orders/17"), BANYAN_STR(""), BANYAN_STR(""), {0}};
    struct banyan_response response;

    (void)unused;
    assert_true(ask("GET", "/orders/17", "", ""));
    order.row.avg_fill_price = banyan_decimal_null();
    trading_facade.read_state(&request, &route, &order, true, &arena, &response);
    assert_int_equal(response.code, 200);
    assert_true(banyan_str_equal(
        response.body,
        BANYAN_STR(
            "{\"order_id\":17,\"trader_id\":7,\"symbol\":\"A\\\"B\",\"side\":\"BUY\",\"quantity\":\"3.00000000\","
            "\"price\":\"250.50000000\",\"status\":\"PARTIALLY_FILLED\",\"filled_quantity\":\"1.00000000\","
            "\"avg_fill_price\":null,\"created_at\":\"2026-01-02 03:04:05.12+00\","
            "\"updated_at\":\"2026-01-02 03:04:06+00\"}\n")));
    trading_facade.read_state(&request, &route, &order, false, &arena, &response);
    assert_int_equal(response.code, 404);
}

static int release(void **unused)
{
    (void)unused;
    banyan_arena_release(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(understands_writes), cmocka_unit_test(leaves_the_rest),
        cmocka_unit_test(understands_reads),  cmocka_unit_test(splits),
        cmocka_unit_test(answers_writes),     cmocka_unit_test(answers_reads),
    };

    return cmocka_run_group_tests_name("facade", tests, NULL, release);
}
