/* SPDX-License-Identifier: Apache-2.0 */
/* See orders.h. */
#include "support/orders.h"

#include <inttypes.h>
#include <string.h>

#include "support/log_rows.h"
#include "trading/commands.h"
#include "trading/trading.h"

const char orders_schema_sql[] =
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

static struct banyan_decimal amount(struct os_random *random)
{
    return banyan_decimal_of((int64_t)os_random_below(random, 900000000000) + 1, 8);
}

void orders_command(struct rig *rig, struct aggregates *aggregates, struct os_random *random, int keys)
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
        .key = banyan_arena_printf(&arena, "%d", (int)os_random_below(random, (uint64_t)keys) + 1),
        .name = banyan_str_of(names[which]),
        .fields = fields[which],
    };
    struct aggregate_answer answer;
    RIG_OK(rig, aggregates_execute(aggregates, &command, &arena, &answer, &rig->err));
    banyan_arena_release(&arena);
}

void orders_equal(struct rig *rig, uint64_t rows_min)
{
    struct banyan_buf report = BANYAN_BUF_INIT(1 << 20);
    uint64_t rows, differences;
    RIG_OK(rig, log_rows_compare(rig->store, &banyan_domain_trading, rig->db, &report, &rows, &differences, &rig->err));
    if (differences > 0)
        fail_msg("%" PRIu64 " differences: %.*s", differences, (int)report.size, report.data);
    assert_true(rows >= rows_min);
    banyan_buf_release(&report);
}
