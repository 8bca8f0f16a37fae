/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random sequences of commands, good and bad ones, against a model of an order in a few numbers: which are accepted,
 * with which refusal the others end, and that the events add up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "harness.h"
#include "os/random.h"
#include "support/seed.h"
#include "trading/commands.h"
#include "trading/mapping.h"
#include "trading/trading.h"

enum {
    ORDERS = 4000,
    COMMANDS = 40, /* an order */
    KEY = 4711,
};

#define ONE INT64_C(100000000) /* units of 1 */

struct model {
    bool placed, canceled;
    __int128 quantity, price, filled, cost; /* cost: units of 10^-16 */
    unsigned fills;
};

static bool is_closed(const struct model *model)
{
    return model->canceled || (model->placed && model->filled == model->quantity);
}

/* Mostly sensible; sometimes nothing, too much or less than nothing. */
static struct banyan_decimal any_amount(struct os_random *random)
{
    int64_t units = 1 + (int64_t)os_random_below(random, 20 * ONE);

    switch (os_random_below(random, 14)) {
    case 0:
        return banyan_decimal_of(0, TRADING_SCALE);
    case 1:
        return banyan_decimal_of(-units, TRADING_SCALE);
    case 2:
        return banyan_decimal_of(INT64_C(1000000000000000000), TRADING_SCALE); /* one too many */
    case 3:
        return banyan_decimal_of(INT64_C(999999999999999999), TRADING_SCALE);
    case 4:
        return (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
    case 5:
    case 6:
    case 7:
        return banyan_decimal_of(units / ONE * ONE + ONE, TRADING_SCALE);
    default:
        return banyan_decimal_of(units, TRADING_SCALE);
    }
}

static bool fits(struct banyan_decimal d)
{
    return d.scale == TRADING_SCALE && d.units > 0 && d.units < INT64_C(1000000000000000000);
}

static const char *closed_code(const struct model *model)
{
    if (!model->placed)
        return "order-unknown";
    if (model->canceled)
        return "order-canceled";
    return model->filled == model->quantity ? "order-filled" : NULL;
}

/* The code that a fill must be refused with; NULL: it is accepted, and the model has it. */
static const char *model_fill(struct model *model, const struct fill_order *fill)
{
    const char *code = closed_code(model);

    if (code != NULL)
        return code;
    if (!fits(fill->quantity))
        return "quantity-invalid";
    if (!fits(fill->price))
        return "price-invalid";
    if (model->filled + fill->quantity.units > model->quantity)
        return "quantity-exceeded";
    model->filled += fill->quantity.units;
    model->cost += fill->quantity.units * fill->price.units;
    model->fills++;
    return NULL;
}

static const char *model_modify(struct model *model, const struct modify_order *modify)
{
    const char *code = closed_code(model);

    if (code != NULL)
        return code;
    if (!banyan_decimal_is_null(modify->quantity) && !fits(modify->quantity))
        return "quantity-invalid";
    if (!banyan_decimal_is_null(modify->price) && !fits(modify->price))
        return "price-invalid";
    if (!banyan_decimal_is_null(modify->quantity) && modify->quantity.units <= model->filled)
        return "quantity-filled";
    if (!banyan_decimal_is_null(modify->quantity))
        model->quantity = modify->quantity.units;
    if (!banyan_decimal_is_null(modify->price))
        model->price = modify->price.units;
    return NULL;
}

static const char *model_place(struct model *model, const struct place_order *place)
{
    if (model->placed)
        return "order-exists";
    if (place->symbol.size == 0 || place->symbol.size > 32)
        return "symbol-invalid";
    if (!banyan_str_equal(place->side, BANYAN_STR("BUY")) && !banyan_str_equal(place->side, BANYAN_STR("SELL")))
        return "side-invalid";
    if (!fits(place->quantity))
        return "quantity-invalid";
    if (!fits(place->price))
        return "price-invalid";
    *model = (struct model){.placed = true, .quantity = place->quantity.units, .price = place->price.units};
    return NULL;
}

/* One random command for the domain and for the model; the code that it must be refused with. */
static const char *any_command(struct os_random *random, struct model *model, struct banyan_command *command,
                               struct banyan_arena *arena)
{
    static const struct banyan_str symbols[] = {
        {"BTCUSD", 6}, {"", 0}, {"a-symbol-that-is-far-too-long-for-it", 36}, {"E", 1}};
    static const struct banyan_str sides[] = {{"BUY", 3}, {"SELL", 4}, {"buy", 3}, {"BUY", 3}};
    struct place_order *place = banyan_arena_zalloc(arena, sizeof(*place));
    struct modify_order *modify = banyan_arena_zalloc(arena, sizeof(*modify));
    struct fill_order *fill = banyan_arena_zalloc(arena, sizeof(*fill));

    command->type = model->placed ? (unsigned)os_random_below(random, 20) : 0;
    command->type = command->type < 1 ? ORDER_PLACE : command->type < 7 ? ORDER_MODIFY : ORDER_FILL;
    if (os_random_below(random, 40) == 0)
        command->type = ORDER_CANCEL;
    switch (command->type) {
    case ORDER_PLACE:
        *place = (struct place_order){(int64_t)os_random_below(random, 9), symbols[os_random_below(random, 4)],
                                      sides[os_random_below(random, 4)], any_amount(random), any_amount(random)};
        command->fields = place;
        return model_place(model, place);
    case ORDER_MODIFY:
        modify->quantity = os_random_below(random, 2) == 0 ? banyan_decimal_null() : any_amount(random);
        modify->price = os_random_below(random, 2) == 0 ? banyan_decimal_null() : any_amount(random);
        command->fields = modify;
        return model_modify(model, modify);
    case ORDER_FILL:
        *fill = (struct fill_order){any_amount(random), any_amount(random)};
        if (os_random_below(random, 6) == 0 && model->filled < model->quantity)
            fill->quantity = (struct banyan_decimal){model->quantity - model->filled, TRADING_SCALE}; /* the rest */
        command->fields = fill;
        return model_fill(model, fill);
    default: {
        const char *code = closed_code(model);

        command->fields = NULL;
        model->canceled |= code == NULL;
        return code;
    }
    }
}

static __int128 absolute(__int128 value)
{
    return value < 0 ? -value : value;
}

static void check_state(const struct order *order, const struct model *model)
{
    const struct order_row *row = &order->row;
    const char *status = model->canceled                    ? "CANCELED"
                         : model->filled == model->quantity ? "FILLED"
                         : model->filled > 0                ? "PARTIALLY_FILLED"
                                                            : "NEW";

    assert_int_equal(order->exists, model->placed);
    if (!model->placed)
        return;
    assert_true(banyan_str_equal(row->status, banyan_str_of(status)));
    assert_true(row->quantity.units == model->quantity && row->price.units == model->price);
    assert_true(row->filled_quantity.units == model->filled && model->filled <= model->quantity);
    assert_int_equal(banyan_decimal_is_null(row->avg_fill_price), model->fills == 0);
    /* Rounded at each fill, by half of a unit. */
    if (model->fills > 0)
        assert_true(absolute(row->avg_fill_price.units * model->filled - model->cost) <=
                    model->fills * (model->filled / 2 + 1));
}

static void check_order(struct os_random *random, struct banyan_arena *arena)
{
    struct banyan_emitter out;
    struct model model = {.placed = false};
    struct banyan_time now = {1700000000000000};

    harness_init(&out, arena);
    out.key = KEY;
    for (int i = 0; i < COMMANDS; i++) {
        struct order before = out.state;
        struct banyan_refusal refusal = {.code = NULL};
        struct banyan_command command = {.key = BANYAN_STR("4711"), .now = now};
        size_t count = out.count;
        bool closed = is_closed(&model);
        const char *code = any_command(random, &model, &command, arena);
        bool accepted = order_decide(&before, out.count > 0, &command, &out, &refusal);

        if (accepted != (code == NULL) || (code != NULL && strcmp(code, refusal.code) != 0))
            fail_msg("command %u: %s, expected %s", command.type, accepted ? "accepted" : refusal.code,
                     code == NULL ? "accepted" : code);
        assert_true(accepted || (out.count == count && refusal.text.size > 0));
        assert_true(!closed || out.count == count);
        for (size_t e = count; e < out.count; e++)
            assert_true(out.events[e].at.us == now.us && out.events[e].provenance == BANYAN_EXACT);
        check_state(&out.state, &model);
        now.us += 1000;
    }
}

static void test_random_commands(void **state)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct os_random random;

    (void)state;
    seed_start(&random, "trading-commands");
    for (int i = 0; i < ORDERS; i++) {
        check_order(&random, &arena);
        banyan_arena_reset(&arena);
    }
    banyan_arena_release(&arena);
}

/* The key becomes the id of the order, so it has to be one. */
static void test_keys(void **state)
{
    static const struct {
        const char *key;
        int64_t id; /* 0: refused */
    } cases[] = {{"1", 1},
                 {"9223372036854775807", INT64_MAX},
                 {"9223372036854775808", 0},
                 {"0", 0},
                 {"01", 0},
                 {"", 0},
                 {"-1", 0},
                 {"1a", 0}};
    struct place_order place = {1, BANYAN_STR("BTCUSD"), BANYAN_STR("BUY"), banyan_decimal_of(ONE, TRADING_SCALE),
                                banyan_decimal_of(ONE, TRADING_SCALE)};
    struct banyan_arena arena = BANYAN_ARENA_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_command command = {ORDER_PLACE, banyan_str_of(cases[i].key), &place, {1700000000000000}};
        struct banyan_refusal refusal = {.code = NULL};
        struct banyan_emitter out;
        struct order before;

        harness_init(&out, &arena);
        out.key = cases[i].id;
        before = out.state;
        assert_int_equal(order_decide(&before, false, &command, &out, &refusal), cases[i].id != 0);
        if (cases[i].id != 0)
            assert_int_equal(out.state.row.order_id, cases[i].id);
        else
            assert_string_equal(refusal.code, "order-id-invalid");
    }
    banyan_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_random_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
