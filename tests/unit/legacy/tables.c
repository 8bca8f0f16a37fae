/* SPDX-License-Identifier: Apache-2.0 */
/* Tables as a real server has them: what is found, and what is refused with which words. */
#include "legacy/tables.h"
#include "legacy_tables.h"
#include "trading/rows.h"

static const struct banyan_legacy_mapping *mapping(void)
{
    return banyan_domain_trading.mappings;
}

/* Resolving ends with TABLE, and the message has both words. */
static void refused(const char *change, const char *word, const char *other)
{
    struct legacy_tables tables;
    struct banyan_error err = BANYAN_ERROR_INIT;

    test_run(conn, change);
    FAILS(TABLE, legacy_tables_resolve(conn, mapping(), &tables, &err));
    if (strstr(err.message, word) == NULL || strstr(err.message, other) == NULL)
        fail_msg("\"%s\" does not name %s and %s", err.message, word, other);
}

static void found_as_they_are(void **unused)
{
    struct legacy_tables tables;
    struct banyan_error err = BANYAN_ERROR_INIT;

    (void)unused;
    OK(legacy_tables_resolve(conn, mapping(), &tables, &err));
    assert_int_equal(tables.count, TABLE_COUNT);
    assert_int_equal(tables.tables[TABLE_ORDERS].column_oids[0], 20);
    assert_int_equal(tables.tables[TABLE_ORDERS].column_oids[4], 1700);
    assert_int_equal(tables.tables[TABLE_ORDERS].identity, 'd');
    assert_true(tables.tables[TABLE_ORDERS].key_in_identity);
    assert_int_equal(tables.tables[TABLE_TRADES].key_field, 1);
    assert_false(tables.tables[TABLE_TRADES].key_in_identity);
}

static void identity_kinds(void **unused)
{
    struct legacy_tables tables;
    struct banyan_error err = BANYAN_ERROR_INIT;

    (void)unused;
    test_run(conn,
             "ALTER TABLE trades REPLICA IDENTITY FULL; CREATE UNIQUE INDEX ident ON audit_log (entity_id, id);"
             "ALTER TABLE audit_log REPLICA IDENTITY USING INDEX ident; ALTER TABLE orders REPLICA IDENTITY NOTHING");
    OK(legacy_tables_resolve(conn, mapping(), &tables, &err));
    assert_true(tables.tables[TABLE_TRADES].key_in_identity);
    assert_true(tables.tables[TABLE_AUDIT_LOG].key_in_identity);
    assert_int_equal(tables.tables[TABLE_AUDIT_LOG].identity, 'i');
    assert_false(tables.tables[TABLE_ORDERS].key_in_identity);
}

static void domains_count_as_their_base(void **unused)
{
    struct legacy_tables tables;
    struct banyan_error err = BANYAN_ERROR_INIT;

    (void)unused;
    test_run(conn, "CREATE DOMAIN money8 AS numeric(18, 8); CREATE DOMAIN price8 AS money8;"
                   "ALTER TABLE trades ALTER COLUMN price TYPE price8;"
                   "CREATE TYPE side_t AS ENUM ('BUY', 'SELL');"
                   "ALTER TABLE orders ALTER COLUMN side TYPE side_t USING side::side_t");
    OK(legacy_tables_resolve(conn, mapping(), &tables, &err));
    assert_int_equal(tables.tables[TABLE_TRADES].column_oids[3], 1700);
}

/* The key is in the identity only when each partition has it there. */
static void partitions(void **unused)
{
    struct legacy_tables tables;
    struct banyan_error err = BANYAN_ERROR_INIT;

    (void)unused;
    test_run(conn, "DROP TABLE trades;"
                   "CREATE TABLE trades (id bigint, order_id bigint NOT NULL, quantity numeric(18, 8),"
                   " price numeric(18, 8), executed_at timestamptz, PRIMARY KEY (order_id, id))"
                   " PARTITION BY RANGE (order_id);"
                   "CREATE TABLE trades1 PARTITION OF trades FOR VALUES FROM (0) TO (10);"
                   "CREATE TABLE trades2 PARTITION OF trades FOR VALUES FROM (10) TO (20);");
    OK(legacy_tables_resolve(conn, mapping(), &tables, &err));
    assert_true(tables.tables[TABLE_TRADES].key_in_identity);
    test_run(conn, "ALTER TABLE trades2 REPLICA IDENTITY NOTHING");
    OK(legacy_tables_resolve(conn, mapping(), &tables, &err));
    assert_false(tables.tables[TABLE_TRADES].key_in_identity);
}

static void refusals(void **unused)
{
    refused("ALTER TABLE trades RENAME TO deals", "trades", "does not exist");
    legacy_setup(unused);
    refused("ALTER TABLE orders DROP COLUMN symbol", "orders", "symbol");
    legacy_setup(unused);
    refused("ALTER TABLE orders ALTER COLUMN price TYPE money", "price", "money");
    legacy_setup(unused);
    refused("ALTER TABLE orders ALTER COLUMN price TYPE numeric(20, 10)", "price", "8 decimal places");
    legacy_setup(unused);
    refused("ALTER TABLE orders ALTER COLUMN price TYPE numeric", "price", "8 decimal places");
    legacy_setup(unused);
    refused("ALTER TABLE trades ALTER COLUMN order_id DROP NOT NULL", "order_id", "NULL");
    legacy_setup(unused);
    refused("ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE", "order_id", "unique");
    legacy_setup(unused);
    refused("CREATE TABLE more () INHERITS (orders)", "orders", "inherit");
    legacy_setup(unused);
    refused("ALTER TABLE audit_log SET UNLOGGED", "audit_log", "unlogged");
    legacy_setup(unused);
    refused("ALTER TABLE audit_log RENAME TO a; CREATE VIEW audit_log AS SELECT * FROM a", "audit_log", "not a table");
    legacy_setup(unused);
    refused("ALTER TABLE orders DROP COLUMN status; ALTER TABLE orders ADD COLUMN status text"
            " GENERATED ALWAYS AS ('NEW') STORED",
            "status", "generated");
    legacy_setup(unused);
    refused("ALTER TABLE trades RENAME COLUMN id TO number", "trades", "id");
    legacy_setup(unused);
    refused("ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE;"
            "CREATE UNIQUE INDEX ON orders (order_id) WHERE order_id > 0",
            "order_id", "unique");
}

static void a_unique_index_is_enough(void **unused)
{
    struct legacy_tables tables;
    struct banyan_error err = BANYAN_ERROR_INIT;

    (void)unused;
    test_run(conn, "ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE; CREATE UNIQUE INDEX ON orders (order_id)");
    OK(legacy_tables_resolve(conn, mapping(), &tables, &err));
}

/* The statement that reads a range is one that the server takes, and it gives the range. */
static void select_reads_the_range(void **unused)
{
    static const struct {
        int64_t lo, hi;
        const char *keys;
    } cases[] = {{INT64_MIN, INT64_MAX, "-9223372036854775808,-5,0,1,7,9223372036854775807"},
                 {INT64_MIN, INT64_MIN, "(null)"},
                 {INT64_MIN, -5, "-9223372036854775808"},
                 {-5, 7, "-5,0,1"},
                 {7, INT64_MAX, "7,9223372036854775807"},
                 {INT64_MIN + 1, 1, "-5,0"}};
    struct legacy_tables tables;
    struct banyan_error err = BANYAN_ERROR_INIT;

    (void)unused;
    test_run(conn, "INSERT INTO orders SELECT k, 1, 's', 'BUY', 1, 1, 'NEW', 0, NULL, now(), now() FROM"
                   " unnest('{-9223372036854775808, -5, 0, 1, 7, 9223372036854775807}'::bigint[]) AS k");
    OK(legacy_tables_resolve(conn, mapping(), &tables, &err));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_buf sql = BANYAN_BUF_INIT(1 << 16);

        banyan_buf_add_text(&sql, "SELECT string_agg(order_id::text, ',') FROM (");
        legacy_tables_select(&tables.tables[TABLE_ORDERS], cases[i].lo, cases[i].hi, &sql);
        banyan_buf_add_text(&sql, ") AS r");
        test_value_is(conn, sql.data, cases[i].keys);
        banyan_buf_release(&sql);
    }
}

static void select_orders_children(void **unused)
{
    struct legacy_tables tables;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_buf sql = BANYAN_BUF_INIT(1 << 16);
    struct audit_row row = {.id = 3, .entity_id = 42};

    (void)unused;
    OK(legacy_tables_resolve(conn, mapping(), &tables, &err));
    legacy_tables_select(&tables.tables[TABLE_AUDIT_LOG], INT64_MIN, INT64_MAX, &sql);
    assert_non_null(strstr(sql.data, " ORDER BY \"entity_id\", \"timestamp\", \"id\""));
    banyan_buf_release(&sql);
    assert_int_equal(legacy_table_key(&tables.tables[TABLE_AUDIT_LOG], &row), 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(found_as_they_are, legacy_setup),
        cmocka_unit_test_setup(identity_kinds, legacy_setup),
        cmocka_unit_test_setup(domains_count_as_their_base, legacy_setup),
        cmocka_unit_test_setup(partitions, legacy_setup),
        cmocka_unit_test_setup(refusals, legacy_setup),
        cmocka_unit_test_setup(a_unique_index_is_enough, legacy_setup),
        cmocka_unit_test_setup(select_reads_the_range, legacy_setup),
        cmocka_unit_test_setup(select_orders_children, legacy_setup),
    };

    return cmocka_run_group_tests(tests, NULL, legacy_finish);
}
