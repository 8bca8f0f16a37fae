/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way back to the shop: what commands and the checkout did to orders that the shop placed, and to new ones, stands
 * in its tables; and the states that those tables tell of from scratch are those of the log, but for what they have no
 * columns for.
 */
#include "support/legacy_rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "commerce/checkout.h"
#include "commerce/commerce.h"
#include "commerce/fulfillment.h"
#include "commerce/order.h"
#include "commerce/payment.h"
#include "commerce/stock.h"
#include "legacy/backfill_rows.h"
#include "legacy/mapper.h"
#include "legacy/mirror.h"
#include "os/random.h"
#include "process/process.h"
#include "store/aggregate.h"
#include "store/state.h"
#include "support/log_rows.h"
#include "support/test_domain.h"

enum {
    OLD_ORDERS = 40, /* of the shop: order n has payment n, shipment n, and the items 2n - 1 and 2n */
    STOCKS = 10,     /* of each third seller, who has a warehouse of his own */
    NEW_FIRST = 1000,
    NEW_ORDERS = 60,
    STEPS = 4000,
    WAIT_US = 60000000,
};

extern const char shop_schema_sql[], shop_way_back_sql[];

struct world {
    struct rig *rig;
    struct os_random random;
    struct aggregates *aggregates;
    struct banyan_arena arena; /* of one command */
    int64_t placed;
    unsigned accepted;
};

/* ---- the shop ---- */

/* A third is as it was placed, a third is paid, a third is packed. */
static const char placed_sql[] =
    "INSERT INTO categories (name) VALUES ('home');"
    "INSERT INTO products (external_id, name, category_id, price) SELECT 'P' || n, 'lamp', 1, 10"
    " FROM generate_series(1, 10) n;"
    "INSERT INTO sellers (external_id, name, warehouse_id) SELECT 'S' || n, 'Shop', n FROM generate_series(1, 3) n;"
    "INSERT INTO stock (stock_id, product_id, seller_id, warehouse_id, available, received, updated_at)"
    " SELECT s, s, 1 + s %% 3, 1 + s %% 3, 500, 500, '2024-01-01Z' FROM generate_series(1, 10) s;"
    "INSERT INTO stock_movements (stock_id, kind, quantity, occurred_at)"
    " SELECT stock_id, 'receive', 500, updated_at FROM stock ORDER BY 1;"
    "INSERT INTO orders (external_id, customer_id, customer, address_id, zip, city, state, status, items_total,"
    " freight_total, placed_at, updated_at) SELECT 'shop-' || n, 0, 'Ana', 0, '1', 'santos', 'SP', 'created', 40, 16,"
    " timestamptz '2024-02-01Z' + n * interval '1 h', timestamptz '2024-02-01Z' + n * interval '1 h'"
    " FROM generate_series(1, %d) n;"
    "INSERT INTO order_status_history (order_id, status, changed_at) SELECT order_id, 'created', placed_at FROM orders;"
    "INSERT INTO shipments (shipment_id, order_id, seller_id, warehouse_id, status, created_at, updated_at)"
    " SELECT order_id, order_id, 1 + order_id %% 3, 1 + order_id %% 3, 'assigned', placed_at, placed_at FROM orders;"
    "INSERT INTO order_items (order_id, line, product_id, product, category, seller_id, stock_id, shipment_id,"
    " quantity, unit_price, freight) SELECT order_id, l, 1 + order_id %% 10, 'lamp', 'home', 1 + order_id %% 3,"
    " 1 + order_id %% 10, order_id, 2, 10, 8 FROM orders, generate_series(1, 2) l ORDER BY order_id, l;"
    "INSERT INTO payments (payment_id, order_id, sequence, method, installments, amount, status, created_at,"
    " updated_at) SELECT order_id, order_id, 1, 'boleto', 1, 56, 'requested', placed_at, placed_at FROM orders;"
    "INSERT INTO payment_events (payment_id, kind, amount, occurred_at) SELECT order_id, 'requested', 56, placed_at"
    " FROM orders;";
static const char paid_sql[] =
    "INSERT INTO payment_events (payment_id, kind, amount, occurred_at) SELECT order_id, k, 56, placed_at + interval"
    " '1 m' FROM orders, unnest('{authorized,captured}'::text[]) WITH ORDINALITY AS u (k, n) WHERE order_id % 3 > 0"
    " ORDER BY order_id, n;"
    "UPDATE payments SET status = 'captured', captured = amount, authorized_at = created_at + interval '1 m',"
    " captured_at = created_at + interval '1 m', updated_at = created_at + interval '1 m' WHERE order_id % 3 > 0;"
    "INSERT INTO order_status_history (order_id, status, changed_at) SELECT order_id, 'approved', placed_at +"
    " interval '1 m' FROM orders WHERE order_id % 3 > 0;"
    "UPDATE orders SET status = 'approved', approved_at = placed_at + interval '1 m', updated_at = placed_at +"
    " interval '1 m' WHERE order_id % 3 > 0;"
    "INSERT INTO order_status_history (order_id, status, changed_at) SELECT order_id, 'processing', placed_at +"
    " interval '2 m' FROM orders WHERE order_id % 3 = 2;"
    "UPDATE orders SET status = 'processing', updated_at = placed_at + interval '2 m' WHERE order_id % 3 = 2;"
    "UPDATE shipments SET status = 'packed', packed_at = created_at + interval '2 m', updated_at = created_at +"
    " interval '2 m' WHERE order_id % 3 = 2;";

static void make_shop(struct rig *rig)
{
    /* Not orders' own: the names are the shop's. */
    rig_sql(rig->db, "%s", shop_schema_sql);
    rig_sql(rig->db, "%s", shop_way_back_sql);
    rig_sql(rig->db, placed_sql, OLD_ORDERS);
    rig_sql(rig->db, "%s", paid_sql);
}

/* ---- commands ---- */

static int64_t below(struct world *world, int64_t limit)
{
    return (int64_t)os_random_below(&world->random, (uint64_t)limit);
}

static void send(struct world *world, enum commerce_aggregate aggregate, int64_t key, unsigned type, const void *fields)
{
    struct aggregate_command command = {
        .id = os_uuid_new(),
        .category = banyan_str_of(commerce_aggregates[aggregate].category),
        .key = banyan_arena_printf(&world->arena, "%" PRId64, key),
        .name = banyan_str_of(commerce_aggregates[aggregate].commands[type].name),
        .fields = fields,
    };
    struct aggregate_answer answer;
    RIG_OK(world->rig, aggregates_execute(world->aggregates, &command, &world->arena, &answer, &world->rig->err));
    world->accepted += answer.accepted;
    banyan_arena_reset(&world->arena);
}

static struct banyan_decimal some_money(struct world *world)
{
    return below(world, 2) == 0 ? banyan_decimal_null() : banyan_decimal_of(1 + below(world, 3000), 2);
}

/* Of the shop, or new. */
static int64_t some_order(struct world *world)
{
    return below(world, 2) == 0 || world->placed == 0 ? 1 + below(world, OLD_ORDERS)
                                                      : NEW_FIRST + below(world, world->placed);
}

static void place(struct world *world)
{
    struct order_line lines[3];
    struct place_order place = {.customer_id = 7,
                                .customer = BANYAN_STR("Bea"),
                                .city = BANYAN_STR("lima"),
                                .external_id = banyan_arena_printf(&world->arena, "new-%" PRId64, world->placed),
                                .address = BANYAN_STR("Calle 1"),
                                .lines = {lines, (size_t)below(world, 3) + 1}};
    if (world->placed == NEW_ORDERS)
        return;
    if (below(world, 3) == 0)
        place.authorization = BANYAN_STR("auth-1");
    for (size_t i = 0; i < place.lines.count; i++) {
        int64_t stock = 1 + below(world, STOCKS);
        lines[i] = (struct order_line){.product_id = stock,
                                       .product = BANYAN_STR("chair"),
                                       .category = BANYAN_STR("home"),
                                       .seller_id = 1 + stock % 3,
                                       .stock_id = stock,
                                       .quantity = below(world, 10) == 0 ? 5000 : 1 + below(world, 5), /* too many */
                                       .unit_price = banyan_decimal_of(below(world, 9000), 2),
                                       .freight = banyan_decimal_of(below(world, 900), 2)};
    }
    send(world, AGGREGATE_ORDER, NEW_FIRST + world->placed, ORDER_PLACE, &place);
    world->placed++;
}

static void step_order(struct world *world)
{
    int64_t key = some_order(world);
    bool old = key < NEW_FIRST, moves = below(world, 2) == 0;
    struct modify_order modify = {.line_id = moves ? 0 : (old ? 2 * key : key * 1000 + 1) - (old ? below(world, 2) : 0),
                                  .quantity = old ? 1 + below(world, 5) : below(world, 5),
                                  .city = moves ? BANYAN_STR("quito") : (struct banyan_str){NULL, 0},
                                  .postal_code = moves ? BANYAN_STR("17") : (struct banyan_str){NULL, 0}};
    struct confirm_order confirm = {banyan_decimal_null()};
    struct order_end end = {BANYAN_STR("changed my mind")};
    const void *fields[] = {[ORDER_MODIFY] = &modify, [ORDER_CONFIRM] = &confirm, [ORDER_SHIP] = "",
                            [ORDER_COMPLETE] = "",    [ORDER_CANCEL] = &end,      [ORDER_REJECT] = &end};
    unsigned type = ORDER_MODIFY + (unsigned)below(world, 6);
    if (type >= ORDER_CANCEL && below(world, 4) != 0)
        type = ORDER_MODIFY;
    send(world, AGGREGATE_ORDER, key, type, fields[type]);
}

static void step_payment(struct world *world)
{
    int64_t order = some_order(world);
    int64_t key = order < NEW_FIRST ? (below(world, 3) == 0 ? 5000 + order : order) : checkout_payment_id(order);
    struct request_payment request = {order, 2, BANYAN_STR("voucher"), 1,
                                      banyan_decimal_of(100 + below(world, 900), 2)};
    struct authorize_payment authorize = {.order_id = order, .amount = some_money(world)};
    struct capture_payment capture = {some_money(world)};
    struct refund_payment refund = {some_money(world), {NULL, 0}};
    struct payment_end end = {{NULL, 0}};
    const void *fields[] = {[PAYMENT_REQUEST] = &request, [PAYMENT_AUTHORIZE] = &authorize, [PAYMENT_DECLINE] = &end,
                            [PAYMENT_CAPTURE] = &capture, [PAYMENT_REFUND] = &refund,       [PAYMENT_VOID] = &end};
    unsigned type = (unsigned)below(world, PAYMENT_COMMAND_COUNT);
    if (order >= NEW_FIRST && type == PAYMENT_AUTHORIZE)
        authorize.amount = banyan_decimal_null(); /* all that the checkout asked for */
    if (order >= NEW_FIRST && type == PAYMENT_REQUEST)
        return; /* the checkout does */
    if (authorize.amount.scale < 0)
        authorize.amount = order < NEW_FIRST ? banyan_decimal_of(500, 2) : authorize.amount;
    send(world, AGGREGATE_PAYMENT, key, type, fields[type]);
}

static void step_fulfillment(struct world *world)
{
    int64_t order = some_order(world),
            key = order < NEW_FIRST ? order : checkout_fulfillment_id(order, 1 + below(world, 2));
    struct assign_warehouse assign = {1 + below(world, 3)};
    struct pack_fulfillment pack = {below(world, 3)};
    struct ship_fulfillment ship = {BANYAN_STR("post"), {NULL, 0}};
    struct cancel_fulfillment cancel = {{NULL, 0}};
    struct lease_job lease = {BANYAN_STR("w1"), {INT64_C(4000000000000000) + below(world, 1000)}};
    struct acknowledge_job acknowledge = {BANYAN_STR("w1")};
    struct release_job release = {BANYAN_STR("w1"), {NULL, 0}, {BANYAN_TIME_NULL}};
    const void *fields[] = {
        [FULFILLMENT_ASSIGN] = &assign,   [FULFILLMENT_PACK] = &pack,     [FULFILLMENT_SHIP] = &ship,
        [FULFILLMENT_DELIVER] = "",       [FULFILLMENT_CANCEL] = &cancel, [JOB_LEASE] = &lease,
        [JOB_ACKNOWLEDGE] = &acknowledge, [JOB_RELEASE] = &release};
    unsigned type = FULFILLMENT_ASSIGN + (unsigned)below(world, FULFILLMENT_COMMAND_COUNT - FULFILLMENT_ASSIGN);
    if (type == FULFILLMENT_CANCEL && below(world, 5) != 0)
        type = FULFILLMENT_DELIVER;
    send(world, AGGREGATE_FULFILLMENT, key, type, fields[type]);
}

static void step_stock(struct world *world)
{
    bool new = below(world, 10) == 0;
    int64_t key = new ? 100 + below(world, 5) : 1 + below(world, STOCKS);
    struct receive_stock receive = {.product_id = key, .seller_id = new ? 1 : 0, .quantity = 1 + below(world, 40)};
    struct move_stock move = {.order_id = some_order(world), .quantity = 1 + below(world, 4)};
    struct release_stock release = {.order_id = move.order_id, .quantity = move.quantity, .allocated = below(world, 2)};
    const void *fields[] = {[STOCK_RECEIVE] = &receive,
                            [STOCK_RESERVE] = &move,
                            [STOCK_ALLOCATE] = &move,
                            [STOCK_RELEASE] = &release,
                            [STOCK_SHIP] = &move};
    unsigned type = (unsigned)below(world, STOCK_COMMAND_COUNT);
    /* What the checkout holds is not the test's to give away. */
    if (!new &&type != STOCK_RECEIVE && type != STOCK_RESERVE)
        type = STOCK_RECEIVE;
    send(world, AGGREGATE_STOCK, key, type, fields[type]);
}

static void run_commands(struct world *world)
{
    for (int i = 0; i < STEPS; i++) {
        int64_t what = below(world, 20);
        if (what == 0)
            place(world);
        else if (what < 8)
            step_order(world);
        else if (what < 13)
            step_payment(world);
        else if (what < 18)
            step_fulfillment(world);
        else
            step_stock(world);
    }
}

/* ---- from scratch ---- */

/* What the tables have no columns for, taken from the log's state: this is all that a roll back loses of them. */
static void forgive(enum commerce_aggregate aggregate, void *state, const void *logged)
{
    struct order *order = state;
    const struct order *logged_order = logged;
    struct payment *payment = state;
    const struct payment *logged_payment = logged;
    struct fulfillment *fulfillment = state;
    const struct fulfillment *logged_fulfillment = logged;
    switch (aggregate) {
    case AGGREGATE_ORDER:
        order->address = logged_order->address;
        order->postal_code = logged_order->postal_code;
        order->country = logged_order->country;
        if (text_is(logged_order->row.status, ORDER_STATUS_REJECTED) &&
            text_is(order->row.status, ORDER_STATUS_CANCELED))
            order->row.status = logged_order->row.status;
        break;
    case AGGREGATE_PAYMENT:
        payment->reference = logged_payment->reference;
        if (text_is(logged_payment->row.status, PAYMENT_STATUS_DECLINED) &&
            text_is(payment->row.status, PAYMENT_STATUS_VOIDED))
            payment->row.status = logged_payment->row.status;
        break;
    case AGGREGATE_FULFILLMENT:
        fulfillment->packages = logged_fulfillment->packages;
        fulfillment->job = logged_fulfillment->job;
        fulfillment->ready_at = logged_fulfillment->ready_at;
        fulfillment->worker = logged_fulfillment->worker;
        fulfillment->lease_until = logged_fulfillment->lease_until;
        fulfillment->attempts = logged_fulfillment->attempts;
        /* The other way round: it does not hear of a line whose quantity changes later, the item does. */
        for (size_t i = 0; i < fulfillment->lines.count && i < logged_fulfillment->lines.count; i++)
            ((struct fulfillment_line *)fulfillment->lines.items)[i].quantity =
                ((const struct fulfillment_line *)logged_fulfillment->lines.items)[i].quantity;
        break;
    default:
        break;
    }
}

/* The state that the rows tell of is the log's. */
static void same_state(struct world *world, enum commerce_aggregate at, const struct states *states,
                       const struct mapper_events *events, int64_t key)
{
    const struct banyan_aggregate *aggregate = &commerce_aggregates[at];
    struct banyan_arena *arena = &world->arena;
    void *state = banyan_arena_zalloc(arena, aggregate->state->size);
    void *logged = banyan_arena_zalloc(arena, aggregate->state->size);
    void *scratch = banyan_arena_alloc(arena, states->payload_size_max);
    struct banyan_version version;
    banyan_record_init(aggregate->state, state);
    for (size_t i = 0; i < events->count; i++)
        RIG_OK(world->rig, states_fold(states, state, scratch, &events->items[i], arena, &world->rig->err));
    RIG_OK(world->rig,
           aggregates_state(world->aggregates, banyan_str_of(aggregate->category),
                            banyan_arena_printf(arena, "%" PRId64, key), arena, logged, &version, &world->rig->err));
    forgive(at, state, logged);
    if (banyan_record_diff(aggregate->state, state, logged) == 0)
        return;
    struct banyan_buf text = BANYAN_BUF_INIT(1 << 20);
    banyan_record_json(aggregate->state, logged, &text);
    banyan_buf_add_text(&text, "\nis told as\n");
    banyan_record_json(aggregate->state, state, &text);
    banyan_buf_add_char(&text, '\0');
    fail_msg("%s-%" PRId64 ": %s", aggregate->category, key, text.data);
}

static void same_from_scratch(struct world *world, enum commerce_aggregate at)
{
    struct rig *rig = world->rig;
    struct legacy_tables *tables = alloc_zeroed(1, sizeof(*tables));
    const struct banyan_legacy_mapping *spec = &banyan_domain_commerce.mappings[at];
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct mapper_origin origin = {.time = {1}};
    struct backfill_rows rows;
    struct banyan_history history;
    struct states states;
    uint64_t keys = 0, reconciled = 0;
    RIG_OK(rig, legacy_tables_resolve(rig->db, spec, tables, &rig->err));
    backfill_rows_init(&rows, tables, &arena);
    for (size_t t = 0; t < tables->count; t++)
        RIG_OK(rig, backfill_rows_read(&rows, t, rig->db, INT64_MIN, INT64_MAX, &rig->err));
    states_init(&states, NULL, &banyan_domain_commerce, spec->aggregate, &arena);
    struct mapper *mapper = mapper_new(&(struct mapper_options){
        .domain = &banyan_domain_commerce, .mapping = at, .store = rig->store, .source_id = BANYAN_STR("again")});
    while (backfill_rows_next(&rows, &history)) {
        struct mapper_events events = {.items = NULL};
        if (history.root == NULL)
            continue; /* items that no shipment has: key 0 */
        RIG_OK(rig, mapper_history(mapper, &history, &origin, &world->arena, &events, &rig->err));
        same_state(world, at, &states, &events, history.key);
        keys++;
        reconciled += events.reconciled;
        banyan_arena_reset(&world->arena);
    }
    printf("# %s: %" PRIu64 " states from scratch, %" PRIu64 " reconciled\n", spec->aggregate->category, keys,
           reconciled);
    assert_true(keys >= 10);
    mapper_free(mapper);
    states_release(&states);
    banyan_arena_release(&arena);
    free(tables);
}

/* ---- */

static uint64_t differing(struct rig *rig, bool tell)
{
    struct banyan_buf report = BANYAN_BUF_INIT(1 << 20);
    uint64_t rows, differences;
    RIG_OK(rig,
           log_rows_compare(rig->store, &banyan_domain_commerce, rig->db, &report, &rows, &differences, &rig->err));
    if (tell)
        printf("# %" PRIu64 " rows compared, %" PRIu64 " differ\n%.*s", rows, differences, (int)report.size,
               report.data == NULL ? "" : report.data);
    banyan_buf_release(&report);
    return differences;
}

/* Until the process has nothing left to do, then until all of it is in the tables. */
static void settle(struct world *world, struct process *process, struct legacy_mirror *mirror)
{
    struct rig *rig = world->rig;
    struct banyan_position tail = {0};
    while (tail.value != store_tail(rig->store).value) {
        tail = store_tail(rig->store);
        RIG_OK(rig, process_wait(process, tail, WAIT_US, &rig->err));
    }
    enum banyan_status status = legacy_mirror_wait(mirror, store_durable(rig->store), WAIT_US, &rig->err);
    struct legacy_conflict *conflicts;
    size_t count;
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (status == BANYAN_CONFLICT &&
        legacy_mirror_conflicts(rig->store, "test", &rig->arena, &conflicts, &count, &err) == BANYAN_OK)
        fail_msg("%zu conflicts; %.*s-%" PRId64 ": %.*s", count, (int)conflicts[0].category.size,
                 conflicts[0].category.data, conflicts[0].key, (int)conflicts[0].details.size,
                 conflicts[0].details.data);
    rig_ok(rig, status, "legacy_mirror_wait");
}

static void test_commands_come_back_as_rows(void **state)
{
    struct rig *rig = *state;
    struct world world = {.rig = rig};
    struct legacy_mirror *mirror = NULL;
    struct process *process = NULL;
    struct legacy_mirror_status status;
    os_random_seed(&world.random, test_seed());
    rig->options.domain = &banyan_domain_commerce;
    make_shop(rig);
    rig_start(rig);
    rig_backfilled(rig);
    rig_fence(rig);
    assert_int_equal(differing(rig, true), 0);
    struct legacy_mirror_options options = {.domain = &banyan_domain_commerce,
                                            .source = "test",
                                            .conninfo = rig->conninfo,
                                            .store = rig->store,
                                            .stop = &rig->stop};
    RIG_OK(rig, legacy_mirror_prove(&options, &rig->err));
    RIG_OK(rig, legacy_mirror_start(&options, &mirror, &rig->err));
    world.aggregates =
        aggregates_new(&(struct aggregates_options){.store = rig->store, .domain = &banyan_domain_commerce});
    RIG_OK(rig, process_start(&(struct process_options){.domain = &banyan_domain_commerce,
                                                        .process = &commerce_checkout_process,
                                                        .store = rig->store,
                                                        .aggregates = world.aggregates,
                                                        .stop = &rig->stop},
                              &process, &rig->err));
    run_commands(&world);
    settle(&world, process, mirror);
    legacy_mirror_status(mirror, &status);
    printf("# %u commands accepted, %" PRId64 " orders placed; %" PRIu64 " events, %" PRIu64 " rows, %" PRIu64
           " transactions\n",
           world.accepted, world.placed, status.events, status.rows, status.transactions);
    assert_true(status.events > 500);
    assert_int_equal(differing(rig, true), 0);
    for (enum commerce_aggregate at = AGGREGATE_ORDER; at < AGGREGATE_COUNT; at++)
        same_from_scratch(&world, at);
    /* The comparisons see a difference. */
    rig_sql(rig->db, "BEGIN; DELETE FROM stock_movements WHERE movement_id = (SELECT max(movement_id) FROM"
                     " stock_movements); UPDATE order_items SET quantity = quantity + 1 WHERE item_id = 1");
    assert_int_equal(differing(rig, false), 3);
    rig_sql(rig->db, "ROLLBACK");
    os_stop_request(&rig->stop);
    process_stop(process);
    legacy_mirror_stop(mirror);
    aggregates_free(world.aggregates);
    banyan_arena_release(&world.arena);
}

/* Without the defaults of shop_way_back.sql there is no way back, and that is said before anything happens. */
static void test_refused_without_defaults(void **state)
{
    struct rig *rig = *state;
    rig->options.domain = &banyan_domain_commerce;
    make_shop(rig);
    rig_sql(rig->db, "ALTER TABLE orders ALTER COLUMN zip DROP DEFAULT");
    rig_start(rig);
    rig_backfilled(rig);
    struct legacy_mirror_options options = {.domain = &banyan_domain_commerce,
                                            .source = "test",
                                            .conninfo = rig->conninfo,
                                            .store = rig->store,
                                            .stop = &rig->stop};
    assert_int_not_equal(legacy_mirror_prove(&options, &rig->err), BANYAN_OK);
    assert_non_null(strstr(rig->err.message, "zip"));
    banyan_error_clear(&rig->err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_commands_come_back_as_rows, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_refused_without_defaults, rig_up, rig_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
