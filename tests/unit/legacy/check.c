/* SPDX-License-Identifier: Apache-2.0 */
/* The pre-flight against a real server: right as it is, then wrong in one way each. */
#include "legacy/check.h"
#include "legacy_tables.h"

static struct banyan_arena arena;
static struct check_report report;

static void run_as(const char *extra)
{
    struct legacy_options options = {
        .domain = &banyan_domain_trading, .name = "test", .slot = "banyan_check", .publication = "banyan"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_str conninfo;

    banyan_arena_reset(&arena);
    conninfo = banyan_arena_printf(&arena, "%s %s", test_conninfo(), extra);
    options.conninfo = conninfo.data;
    OK(legacy_check(&options, &arena, &report, &err));
}

static void run(void)
{
    run_as("");
}

static const struct check_finding *finding(const char *name)
{
    for (size_t i = 0; i < report.count; i++)
        if (strcmp(report.findings[i].name, name) == 0)
            return &report.findings[i];
    for (size_t i = 0; i < report.count; i++)
        printf("# %s: %d %s\n", report.findings[i].name, report.findings[i].verdict, report.findings[i].found);
    fail_msg("there is no finding %s", name);
    return NULL;
}

static void expect(const char *name, enum check_verdict verdict, enum banyan_status status)
{
    const struct check_finding *found = finding(name);

    if (found->verdict != verdict || found->status != status)
        fail_msg("%s: verdict %d, status %s: %s", name, found->verdict, banyan_status_name(found->status),
                 found->found);
    assert_true((found->hint == NULL) == (verdict == CHECK_OK));
}

static void all_is_well(void **unused)
{
    (void)unused;
    run();
    for (size_t i = 0; i < report.count; i++)
        if (report.findings[i].verdict == CHECK_FAILED)
            fail_msg("%s: %s", report.findings[i].name, report.findings[i].found);
    assert_int_equal(report.failures, 0);
    expect("server", CHECK_OK, BANYAN_OK);
    expect("wal_level", CHECK_OK, BANYAN_OK);
    expect("table orders: identity", CHECK_OK, BANYAN_OK);
    expect("table trades: identity", CHECK_WARNING, BANYAN_OK);
    expect("max_slot_wal_keep_size", CHECK_WARNING, BANYAN_OK);
    expect("publication", CHECK_OK, BANYAN_OK);
    expect("slot", CHECK_OK, BANYAN_OK);
    test_value_is(conn, "SELECT count(*) FROM pg_publication", "0");
    test_value_is(conn, "SELECT count(*) FROM pg_replication_slots", "0");
}

static void tables_that_are_wrong(void **unused)
{
    (void)unused;
    test_run(conn, "ALTER TABLE orders DROP COLUMN symbol; ALTER TABLE trades REPLICA IDENTITY NOTHING;"
                   "ALTER TABLE audit_log ALTER COLUMN id DROP DEFAULT, DROP CONSTRAINT audit_log_pkey;"
                   "ALTER TABLE audit_log ALTER COLUMN id DROP NOT NULL");
    run();
    expect("table orders", CHECK_FAILED, BANYAN_TABLE);
    expect("table trades: identity", CHECK_FAILED, BANYAN_TABLE);
    expect("table audit_log: identity", CHECK_FAILED, BANYAN_TABLE);
    expect("table audit_log: column id", CHECK_WARNING, BANYAN_OK);
    assert_int_equal(report.failures, 3);
}

static void identity_without_the_key(void **unused)
{
    (void)unused;
    test_run(conn,
             "ALTER TABLE orders ADD COLUMN code bigint NOT NULL DEFAULT 0; CREATE UNIQUE INDEX c ON orders (code);"
             "ALTER TABLE orders REPLICA IDENTITY USING INDEX c; ALTER TABLE trades REPLICA IDENTITY FULL");
    run();
    expect("table orders: identity", CHECK_FAILED, BANYAN_TABLE);
    expect("table trades: identity", CHECK_OK, BANYAN_OK);
}

static void a_role_without_rights(void **unused)
{
    (void)unused;
    test_run(conn,
             "DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA public TO poor;"
             "GRANT SELECT ON orders, trades TO poor; ALTER TABLE trades ENABLE ROW LEVEL SECURITY");
    run_as("user=poor password=secret");
    test_run(conn, "DROP OWNED BY poor; DROP ROLE poor");
    expect("replication right", CHECK_FAILED, BANYAN_PRIVILEGE);
    expect("table orders: right to read", CHECK_OK, BANYAN_OK);
    expect("table audit_log: right to read", CHECK_FAILED, BANYAN_PRIVILEGE);
    expect("table trades: right to read", CHECK_FAILED, BANYAN_PRIVILEGE);
    expect("publication", CHECK_FAILED, BANYAN_PRIVILEGE);
    assert_non_null(strstr(finding("publication")->hint, "CREATE PUBLICATION \"banyan\" FOR TABLE \"orders\", "));
}

static void publications(void **unused)
{
    (void)unused;
    test_run(conn, "CREATE PUBLICATION banyan FOR TABLE orders, audit_log, trades");
    run();
    assert_int_equal(report.failures, 0);
    expect("publication: table trades", CHECK_OK, BANYAN_OK);

    test_run(conn, "ALTER PUBLICATION banyan SET (publish = 'insert'); ALTER PUBLICATION banyan DROP TABLE trades;"
                   "ALTER PUBLICATION banyan SET TABLE orders WHERE (order_id > 5), audit_log (id, entity_id)");
    run();
    expect("publication", CHECK_FAILED, BANYAN_SETTING);
    expect("publication: table trades", CHECK_FAILED, BANYAN_SETTING);
    expect("publication: table orders", CHECK_FAILED, BANYAN_SETTING);
    expect("publication: table audit_log", CHECK_FAILED, BANYAN_SETTING);
    test_run(conn, "DROP PUBLICATION banyan; CREATE PUBLICATION banyan FOR ALL TABLES");
    run();
    assert_int_equal(report.failures, 0);
}

static void slots(void **unused)
{
    (void)unused;
    test_run(conn, "SELECT pg_create_logical_replication_slot('banyan_check', 'pgoutput')");
    run();
    expect("slot", CHECK_WARNING, BANYAN_OK);
    test_run(conn, "SELECT pg_drop_replication_slot('banyan_check');"
                   "SELECT pg_create_physical_replication_slot('banyan_check')");
    run();
    expect("slot", CHECK_FAILED, BANYAN_SLOT);
    test_run(conn, "SELECT pg_drop_replication_slot('banyan_check')");
}

static void prepared_and_long_transactions(void **unused)
{
    (void)unused;
    test_run(conn, "BEGIN; INSERT INTO orders VALUES (1, 1, 's', 'BUY', 1, 1, 'NEW', 0, NULL, now(), now());"
                   "PREPARE TRANSACTION 'left over'");
    run();
    expect("prepared transactions", CHECK_WARNING, BANYAN_OK);
    assert_non_null(strstr(finding("prepared transactions")->found, "left over"));
    test_run(conn, "ROLLBACK PREPARED 'left over'");
    run();
    expect("prepared transactions", CHECK_OK, BANYAN_OK);
    expect("long transactions", CHECK_OK, BANYAN_OK);
}

static void server_that_is_not_there(void **unused)
{
    struct legacy_options options = {.domain = &banyan_domain_trading,
                                     .name = "test",
                                     .conninfo = "host=/nonexistent port=1",
                                     .slot = "s",
                                     .publication = "p"};
    struct banyan_error err = BANYAN_ERROR_INIT;

    (void)unused;
    FAILS(UNAVAILABLE, legacy_check(&options, &arena, &report, &err));
    options.slot = NULL;
    FAILS(CONFIG, legacy_check(&options, &arena, &report, &err));
}

static void slot_names(void **unused)
{
    struct legacy_options options = {
        .domain = &banyan_domain_trading, .name = "test", .slot = "My-Slot", .publication = "banyan"};
    struct banyan_error err = BANYAN_ERROR_INIT;

    (void)unused;
    options.conninfo = test_conninfo();
    banyan_arena_reset(&arena);
    OK(legacy_check(&options, &arena, &report, &err));
    expect("slot", CHECK_FAILED, BANYAN_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_is_well, legacy_setup),
        cmocka_unit_test_setup(tables_that_are_wrong, legacy_setup),
        cmocka_unit_test_setup(identity_without_the_key, legacy_setup),
        cmocka_unit_test_setup(a_role_without_rights, legacy_setup),
        cmocka_unit_test_setup(publications, legacy_setup),
        cmocka_unit_test_setup(slots, legacy_setup),
        cmocka_unit_test_setup(prepared_and_long_transactions, legacy_setup),
        cmocka_unit_test_setup(server_that_is_not_there, legacy_setup),
        cmocka_unit_test_setup(slot_names, legacy_setup),
    };
    int failed = cmocka_run_group_tests(tests, NULL, legacy_finish);

    banyan_arena_release(&arena);
    return failed;
}
