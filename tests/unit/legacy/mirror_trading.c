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
#include "support/orders.h"
#include "support/test_domain.h"
#include "trading/trading.h"

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

static uint64_t differing(struct rig *rig)
{
    struct banyan_buf report = BANYAN_BUF_INIT(1 << 20);
    uint64_t rows, differences;
    RIG_OK(rig, log_rows_compare(rig->store, &banyan_domain_trading, rig->db, &report, &rows, &differences, &rig->err));
    banyan_buf_release(&report);
    return differences;
}

static void test_commands_come_back_as_rows(void **state)
{
    struct rig *rig = *state;
    struct os_random random;
    os_random_seed(&random, test_seed());
    rig->options.domain = &banyan_domain_trading;
    rig_sql(rig->db, "%s", orders_schema_sql);
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
        orders_command(rig, aggregates, &random, 300);
    RIG_OK(rig, legacy_mirror_wait(mirror, store_durable(rig->store), 30000000, &rig->err));
    struct legacy_mirror_status status;
    legacy_mirror_status(mirror, &status);
    printf("# %" PRIu64 " events, %" PRIu64 " rows, %" PRIu64 " transactions, lag p50 %" PRId64 " us, p99 %" PRId64
           " us\n",
           status.events, status.rows, status.transactions, status.lag_us_p50, status.lag_us_p99);
    assert_true(status.events > 300);
    orders_equal(rig, 300);
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
    orders_equal(rig, 320);
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
