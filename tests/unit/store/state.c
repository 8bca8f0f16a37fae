/* SPDX-License-Identifier: Apache-2.0 */
/* States with lists: events of old versions folded into them, and what is kept while they are folded into. */
#include "store/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/random.h"
#include "store/registry.h"

/* ---- a cart: version 1 of its event has lines of two fields, version 2 has three, in another order, and coupons ----
 */

struct line1 {
    int64_t product;
    struct banyan_str note;
};

struct filled1 {
    struct banyan_list lines;
    int64_t number;
};

struct part {
    struct banyan_str text;
};

struct line2 {
    struct banyan_str note;
    struct banyan_decimal price;
    struct banyan_list parts;
    int64_t product;
};

struct coupon {
    struct banyan_str code;
};

struct filled2 {
    int64_t number;
    struct banyan_list coupons;
    struct banyan_list lines;
};

static const struct banyan_field line1_fields[] = {
    BANYAN_FIELD_INT(struct line1, product, 0),
    BANYAN_FIELD_STRING(struct line1, note, BANYAN_FIELD_OPTIONAL),
};
static const struct banyan_record line1_record = {"Line", sizeof(struct line1), line1_fields, 2};
static const struct banyan_field filled1_fields[] = {
    BANYAN_FIELD_LIST_OF(struct filled1, lines, &line1_record),
    BANYAN_FIELD_INT(struct filled1, number, 0),
};
static const struct banyan_record filled1_record = {"Filled", sizeof(struct filled1), filled1_fields, 2};

static const struct banyan_field part_fields[] = {BANYAN_FIELD_STRING(struct part, text, 0)};
static const struct banyan_record part_record = {"Part", sizeof(struct part), part_fields, 1};
static const struct banyan_field line2_fields[] = {
    BANYAN_FIELD_STRING(struct line2, note, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_DECIMAL(struct line2, price, BANYAN_FIELD_OPTIONAL, 2),
    BANYAN_FIELD_LIST_OF(struct line2, parts, &part_record),
    BANYAN_FIELD_INT(struct line2, product, 0),
};
static const struct banyan_record line2_record = {"Line", sizeof(struct line2), line2_fields, 4};
static const struct banyan_field coupon_fields[] = {BANYAN_FIELD_STRING(struct coupon, code, 0)};
static const struct banyan_record coupon_record = {"Coupon", sizeof(struct coupon), coupon_fields, 1};
static const struct banyan_field filled2_fields[] = {
    BANYAN_FIELD_INT(struct filled2, number, 0),
    BANYAN_FIELD_LIST_OF(struct filled2, coupons, &coupon_record),
    BANYAN_FIELD_LIST_OF(struct filled2, lines, &line2_record),
};
static const struct banyan_record filled2_record = {"Filled", sizeof(struct filled2), filled2_fields, 3};

static const struct banyan_event_type types1[] = {{"Filled", 1, &filled1_record}};
static const struct banyan_event_type types2[] = {{"Filled", 2, &filled2_record}};
static const struct banyan_domain domain1 = {
    .abi = BANYAN_DOMAIN_ABI, .name = "carts", .events = types1, .event_count = 1};
static const struct banyan_domain domain2 = {
    .abi = BANYAN_DOMAIN_ABI, .name = "carts", .events = types2, .event_count = 1};

/* The state is the newest payload; an event without lines raises the products of those that are there, in place. */
static void evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    struct filled2 *cart = state;
    const struct filled2 *event = payload;
    (void)type, (void)at;
    if (event->lines.count > 0)
        *cart = *event;
    for (size_t i = 0; event->lines.count == 0 && i < cart->lines.count; i++)
        ((struct line2 *)cart->lines.items)[i].product++;
}

static const struct banyan_aggregate aggregate = {.category = "cart", .state = &filled2_record, .evolve = evolve};

struct rig {
    char folder[FOLDER_PATH_MAX];
    struct store *store;
    struct store_registry *registry;
    struct store_reader *reader;
    struct states states;
    struct banyan_arena arena;
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    folder_make(rig->folder);
    assert_int_equal(store_open(&(struct store_options){.folder = rig->folder}, &rig->store, NULL), BANYAN_OK);
    assert_int_equal(store_registry_open(rig->store, &rig->registry, NULL), BANYAN_OK);
    rig->reader = store_reader_open(rig->store);
    states_init(&rig->states, rig->store, &domain2, &aggregate, &rig->arena);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    states_release(&rig->states);
    store_reader_close(rig->reader);
    store_registry_close(rig->registry);
    store_close(rig->store);
    banyan_arena_release(&rig->arena);
    folder_remove(rig->folder);
    free(rig);
    return 0;
}

static void append(struct rig *rig, const struct banyan_domain *domain, const void *value)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_buf payload = BANYAN_BUF_INIT(10000);
    if (store_registry_use_domain(rig->registry, domain, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    assert_int_equal(banyan_record_encode(domain->events[0].record, value, &payload, NULL), BANYAN_OK);
    struct store_event event = {.id = os_uuid_new(),
                                .stream = BANYAN_STR("cart-1"),
                                .type = BANYAN_STR("Filled"),
                                .schema = domain->events[0].version,
                                .provenance = BANYAN_EXACT,
                                .at = {1},
                                .payload = banyan_buf_str(&payload)};
    struct store_append one = {.events = &event, .event_count = 1};
    struct store_appended appended;
    assert_int_equal(store_append(rig->store, &one, &appended, NULL), BANYAN_OK);
    banyan_buf_release(&payload);
}

static void fold(struct rig *rig, uint64_t after, uint64_t to, struct filled2 *cart)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char scratch[sizeof(struct filled2)] __attribute__((aligned(16)));
    assert_true(rig->states.payload_size_max <= sizeof(scratch));
    if (states_fold_stream(&rig->states, cart, scratch, rig->reader, BANYAN_STR("cart-1"),
                           (struct banyan_version){after}, (struct banyan_version){to}, &rig->arena, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void old_lists_are_read_as_new_ones(void **state)
{
    struct rig *rig = *state;
    struct line1 lines[] = {{7, {NULL, 0}}, {8, BANYAN_STR("red")}};
    struct filled2 cart;
    struct banyan_buf json = BANYAN_BUF_INIT(10000);
    append(rig, &domain1, &(struct filled1){{lines, 2}, 5});
    append(rig, &domain1, &(struct filled1){{NULL, 0}, 6});
    append(rig, &domain2, &(struct filled2){0}); /* from here on the registry has both versions */
    banyan_record_init(&filled2_record, &cart);
    fold(rig, 0, 1, &cart);
    banyan_record_json(&filled2_record, &cart, &json);
    assert_string_equal(json.data, "{\"number\":5,\"coupons\":[],\"lines\":["
                                   "{\"note\":null,\"price\":null,\"parts\":[],\"product\":7},"
                                   "{\"note\":\"red\",\"price\":null,\"parts\":[],\"product\":8}]}");
    fold(rig, 1, 3, &cart);
    assert_int_equal(((struct line2 *)cart.lines.items)[1].product, 10);
    banyan_buf_release(&json);
}

static void what_is_kept_stays_as_it_is(void **state)
{
    struct rig *rig = *state;
    struct part parts[] = {{BANYAN_STR("handle")}, {BANYAN_STR("")}};
    struct line2 lines[] = {{{NULL, 0}, banyan_decimal_of(1999, 2), {parts, 2}, 7},
                            {BANYAN_STR("red"), banyan_decimal_null(), {NULL, 0}, 8}};
    struct coupon coupons[] = {{BANYAN_STR("SPRING")}};
    struct filled2 event = {5, {coupons, 1}, {lines, 2}}, cart, copy;
    append(rig, &domain2, &event);
    append(rig, &domain2, &(struct filled2){0});
    banyan_record_init(&filled2_record, &cart);
    fold(rig, 0, 1, &cart);
    void *kept = malloc(banyan_record_packed_size(&filled2_record, &cart));
    assert_non_null(kept);
    banyan_record_pack(&filled2_record, &cart, kept);
    assert_int_equal(banyan_record_diff(&filled2_record, kept, &event), 0);
    states_begin(&rig->states, &copy, kept, &rig->arena);
    fold(rig, 1, 2, &copy);
    assert_int_equal(((struct line2 *)copy.lines.items)[0].product, 8);
    assert_int_equal(banyan_record_diff(&filled2_record, kept, &event), 0);
    free(kept);
}

/* Found at the start, not at the first event. */
static void records_that_cannot_be_stored_are_refused(void **state)
{
    static const struct banyan_record nothing = {"Nothing", 16, NULL, 0};
    static const struct banyan_field fields[] = {{"all", BANYAN_FIELD_LIST, 0, 0, 0, &nothing}};
    static const struct banyan_record bag = {"Bag", sizeof(struct banyan_list), fields, 1};
    static const struct banyan_aggregate bags = {.category = "bag", .state = &bag, .evolve = evolve};
    struct banyan_domain domain = domain1;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct rig *rig = *state;
    domain.aggregates = &bags;
    domain.aggregate_count = 1;
    assert_int_equal(store_registry_use_domain(rig->registry, &domain, &err), BANYAN_INVALID);
    assert_non_null(strstr(err.message, "domain carts: record Bag, field all: the items of the list have no fields"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(old_lists_are_read_as_new_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_kept_stays_as_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(records_that_cannot_be_stored_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests_name("store-state", tests, NULL, NULL);
}
