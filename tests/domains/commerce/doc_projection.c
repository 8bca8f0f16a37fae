/* SPDX-License-Identifier: Apache-2.0 */
/* The projection that docs/PROJECTIONS.md shows, compiled from the page as it stands, does what the page says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "banyan/buf.h"
#include "commerce/events.h"
#include "fake_unit.h"

extern const struct banyan_projection product_sales; /* in the page */

static void place(struct banyan_unit *unit, int64_t order_id, int64_t product_id, int64_t quantity)
{
    struct order_line lines[] = {
        {.product_id = product_id,
         .product = BANYAN_STR("Lamp"),
         .category = BANYAN_STR("light"),
         .quantity = quantity,
         .unit_price = banyan_decimal_of(1050, 2)},
        {.product_id = 9,
         .product = BANYAN_STR("Bulb"),
         .category = BANYAN_STR("light"),
         .quantity = 1,
         .unit_price = banyan_decimal_of(199, 2)},
    };
    struct order_placed placed = {.order_id = order_id, .lines = {lines, 2}};
    struct banyan_seen seen = {.type = ORDER_PLACED, .payload = &placed, .key = order_id, .at = {1000 + order_id}};

    fake_apply(unit, &seen, "order");
}

static void assert_json(struct banyan_unit *unit, int64_t key, const char *json)
{
    struct banyan_buf text = BANYAN_BUF_INIT(4096);

    assert_non_null(fake_row(unit, 0, key));
    banyan_record_json(unit->projection->tables[0].row, fake_row(unit, 0, key), &text);
    assert_int_equal(text.size, strlen(json));
    assert_memory_equal(text.data, json, text.size);
    banyan_buf_release(&text);
}

static void adds_up_and_answers(void **context)
{
    static struct banyan_answer answer;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_unit unit = {.projection = &product_sales, .arena = &arena};
    int64_t at_least[2] = {5, 0}; /* units, and room for what is no field */

    (void)context;
    place(&unit, 1, 7, 2);
    place(&unit, 2, 7, 3);
    place(&unit, 3, 8, 4);
    assert_int_equal(fake_count(&unit, 0), 3);
    assert_json(&unit, 7,
                "{\"product_id\":7,\"product\":\"Lamp\",\"category\":\"light\",\"units\":5,\"revenue\":\"52.50\","
                "\"sold_at\":\"1970-01-01T00:00:00.001002Z\"}");
    assert_json(&unit, 9,
                "{\"product_id\":9,\"product\":\"Bulb\",\"category\":\"light\",\"units\":3,\"revenue\":\"5.97\","
                "\"sold_at\":\"1970-01-01T00:00:00.001003Z\"}");
    fake_ask(&unit, &product_sales.queries[0], at_least, &answer);
    assert_int_equal(answer.count, 1);
    assert_int_equal(*(const int64_t *)answer.rows[0], 7);
    banyan_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(adds_up_and_answers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
