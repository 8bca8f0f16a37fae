/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the trading domain at the throwaway server, made anew for each test. */
#ifndef TESTS_UNIT_LEGACY_TABLES_H
#define TESTS_UNIT_LEGACY_TABLES_H

#include "../pg/pg_test.h"
#include "trading/trading.h"

static const char legacy_schema[] =
    "DROP PUBLICATION IF EXISTS banyan; DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;"
    "CREATE TABLE orders (order_id bigint PRIMARY KEY, trader_id bigint NOT NULL, symbol text NOT NULL,"
    " side text NOT NULL, quantity numeric(18, 8) NOT NULL, price numeric(18, 8) NOT NULL, status text NOT NULL,"
    " filled_quantity numeric(18, 8) NOT NULL DEFAULT 0, avg_fill_price numeric(18, 8),"
    " created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);"
    "CREATE TABLE audit_log (id bigserial PRIMARY KEY, entity_id bigint NOT NULL, field_changed text NOT NULL,"
    " old_value text, new_value text, \"timestamp\" timestamptz NOT NULL);"
    "CREATE INDEX ON audit_log (entity_id, \"timestamp\");"
    "CREATE TABLE trades (id bigserial PRIMARY KEY, order_id bigint NOT NULL REFERENCES orders,"
    " quantity numeric(18, 8) NOT NULL, price numeric(18, 8) NOT NULL, executed_at timestamptz NOT NULL);"
    "CREATE INDEX ON trades (order_id);";

static struct pg_conn *conn;

static inline int legacy_setup(void **unused)
{
    (void)unused;
    if (conn == NULL)
        conn = test_connect(false);
    test_run(conn, "SET client_min_messages = warning");
    test_run(conn, legacy_schema);
    return 0;
}

static inline int legacy_finish(void **unused)
{
    (void)unused;
    pg_close(conn);
    conn = NULL;
    return 0;
}

#endif
