/* SPDX-License-Identifier: Apache-2.0 */
/* The way back of the trading domain: what commands did stands in the tables as the application would have written it.
 */
#include "support/legacy_rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "legacy/mirror.h"
#include "os/random.h"
#include "store/aggregate.h"
#include "support/log_rows.h"
#include "support/test_domain.h"
#include "trading/commands.h"
#include "trading/trading.h"

static const char schema[] =
    "CREATE SEQUENCE orders_order_id_seq;"
    "CREATE TABLE orders (order_id bigint PRIMARY KEY DEFAULT nextval('orders_order_id_seq'), trader_id bigint NOT "
    "NULL,"
    " symbol text NOT NULL, side text NOT NULL CHECK (side IN ('BUY', 'SELL')), quantity numeric(18, 8) NOT NULL,"
    " price numeric(18, 8) NOT NULL CHECK (price > 0),"
    " status text NOT NULL CHECK (status IN ('NEW', 'PARTIALLY_FILLED', 'FILLED', 'CANCELED')),"
    " filled_quantity numeric(18, 8) NOT NULL DEFAULT 0, avg_fill_price numeric(18, 8),"
    " created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL,"
    " CHECK (quantity > 0 AND filled_quantity BETWEEN 0 AND quantity));"
    "CREATE TABLE audit_log (id bigserial PRIMARY KEY, entity_id bigint NOT NULL, field_changed text NOT NULL,"
    " old_value text, new_value text, \"timestamp\" timestamptz NOT NULL);"
    "CREATE TABLE trades (id bigserial PRIMARY KEY, order_id bigint NOT NULL REFERENCES orders,"
    " quantity numeric(18, 8) NOT NULL, price numeric(18, 8) NOT NULL, executed_at timestamptz NOT NULL);";

/* What the application does, as it does it: twenty orders from *first* on. */
static void application(struct rig *rig, int first)
{
    rig_sql(rig->db,
            "INSERT INTO orders SELECT nextval('orders_order_id_seq'), i %% 5, 'BTC', 'BUY', 10, 100, 'NEW', 0, NULL,"
            " now(), now() FROM generate_series(1, 20) i");
    rig_sql(
        rig->db,
        "BEGIN; UPDATE orders SET price = 101, updated_at = now() + interval '1 s' WHERE order_id BETWEEN %d AND %d;"
        "INSERT INTO audit_log (entity_id, field_changed, old_value, new_value, \"timestamp\") SELECT order_id,"
        " 'price', '100.00000000', '101.00000000', now() + interval '1 s' FROM orders"
        " WHERE order_id BETWEEN %d AND %d; COMMIT",
        first, first + 9, first, first + 9);
    rig_sql(rig->db,
            "BEGIN; INSERT INTO trades (order_id, quantity, price, executed_at) SELECT order_id, 4, 99,"
            " now() + interval '2 s' FROM orders WHERE order_id BETWEEN %d AND %d;"
            "UPDATE orders SET filled_quantity = 4, avg_fill_price = 99, status = 'PARTIALLY_FILLED',"
            " updated_at = now() + interval '2 s' WHERE order_id BETWEEN %d AND %d; COMMIT",
            first, first + 4, first, first + 4);
}

static void equal(struct rig *rig, uint64_t rows_min)
{
    struct banyan_buf report = BANYAN_BUF_INIT(1 << 20);
    uint64_t rows, differences;
    RIG_OK(rig, log_rows_compare(rig->store, &banyan_domain_trading, rig->db, &report, &rows, &differences, &rig->err));
    if (differences > 0)
        fail_msg("%" PRIu64 " differences: %.*s", differences, (int)report.size, report.data);
    assert_true(rows >= rows_min);
    banyan_buf_release(&report);
}

static uint64_t differing(struct rig *rig)
{
    struct banyan_buf report = BANYAN_BUF_INIT(1 << 20);
    uint64_t rows, differences;
    RIG_OK(rig, log_rows_compare(rig->store, &banyan_domain_trading, rig->db, &report, &rows, &differences, &rig->err));
    banyan_buf_release(&report);
    return differences;
}

static struct banyan_decimal amount(struct os_random *random)
{
    return banyan_decimal_of((int64_t)os_random_below(random, 900000000000) + 1, 8);
}

/* A command for a random order: of the application's, or a new one.  Refused ones are left out. */
static void command(struct rig *rig, struct aggregates *aggregates, struct os_random *random)
{
    static const char *const names[] = {"PlaceOrder", "ModifyOrder", "FillOrder", "CancelOrder", "FillOrder"};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    size_t which = os_random_below(random, 5);
    bool halves = os_random_below(random, 2) == 0;
    struct place_order place = {7, BANYAN_STR("ETH"), BANYAN_STR("SELL"), amount(random), amount(random)};
    struct modify_order modify = {halves ? banyan_decimal_null() : amount(random), amount(random)};
    struct fill_order fill = {banyan_decimal_of((int64_t)os_random_below(random, 500000000) + 1, 8), amount(random)};
    const void *const fields[] = {&place, &modify, &fill, "", &fill};
    struct aggregate_command command = {
        .id = os_uuid_new(),
        .category = BANYAN_STR("order"),
        .key = banyan_arena_printf(&arena, "%d", (int)os_random_below(random, 300) + 1),
        .name = banyan_str_of(names[which]),
        .fields = fields[which],
    };
    struct aggregate_answer answer;
    RIG_OK(rig, aggregates_execute(aggregates, &command, &arena, &answer, &rig->err));
    banyan_arena_release(&arena);
}

static void test_commands_come_back_as_rows(void **state)
{
    struct rig *rig = *state;
    struct os_random random;
    os_random_seed(&random, test_seed());
    rig->options.domain = &banyan_domain_trading;
    rig_sql(rig->db, "%s", schema);
    application(rig, 1);
    rig_start(rig);
    rig_backfilled(rig);
    application(rig, 21); /* now captured */
    rig_fence(rig);
    struct legacy_mirror_options options = {.domain = &banyan_domain_trading,
                                            .source = "test",
                                            .conninfo = rig->conninfo,
                                            .store = rig->store,
                                            .stop = &rig->stop};
    struct legacy_mirror *mirror = NULL;
    RIG_OK(rig, legacy_mirror_start(&options, &mirror, &rig->err));
    struct aggregates *aggregates =
        aggregates_new(&(struct aggregates_options){.store = rig->store, .domain = &banyan_domain_trading});
    for (int i = 0; i < 1500; i++)
        command(rig, aggregates, &random);
    RIG_OK(rig, legacy_mirror_wait(mirror, store_durable(rig->store), 30000000, &rig->err));
    struct legacy_mirror_status status;
    legacy_mirror_status(mirror, &status);
    printf("# %" PRIu64 " events, %" PRIu64 " rows, %" PRIu64 " transactions, lag p50 %" PRId64 " us, p99 %" PRId64
           " us\n",
           status.events, status.rows, status.transactions, status.lag_us_p50, status.lag_us_p99);
    assert_true(status.events > 300);
    equal(rig, 300);
    /* Handed back: the application goes on, its ids clash with nothing, and capture takes it over. */
    legacy_mirror_stop(mirror);
    aggregates_free(aggregates);
    rig_sql(rig->db, "SELECT setval('orders_order_id_seq', (SELECT max(order_id) FROM orders))");
    rig_sql(rig->db,
            "INSERT INTO orders SELECT nextval('orders_order_id_seq'), 1, 'BTC', 'BUY', 10, 100, 'NEW', 0, NULL,"
            " clock_timestamp(), clock_timestamp() FROM generate_series(1, 20)");
    rig_sql(rig->db,
            "BEGIN; CREATE TEMP TABLE open ON COMMIT DROP AS SELECT order_id, status FROM orders"
            " WHERE status IN ('NEW', 'PARTIALLY_FILLED');"
            "UPDATE orders SET status = 'CANCELED', updated_at = now() + interval '1 day' WHERE order_id IN"
            " (SELECT order_id FROM open);"
            "INSERT INTO audit_log (entity_id, field_changed, old_value, new_value, \"timestamp\") SELECT order_id,"
            " 'status', status, 'CANCELED', now() + interval '1 day' FROM open; COMMIT");
    rig_fence(rig);
    equal(rig, 320);
    /* And the comparison sees a difference; rolled back, or capture would take it over. */
    rig_sql(rig->db, "BEGIN; DELETE FROM audit_log WHERE id = (SELECT max(id) FROM audit_log)");
    assert_int_equal(differing(rig), 1);
    rig_sql(rig->db, "UPDATE orders SET updated_at = updated_at + interval '1 microsecond' WHERE order_id = 1");
    assert_int_equal(differing(rig), 3);
    rig_sql(rig->db, "ROLLBACK");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_commands_come_back_as_rows, rig_up, rig_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
