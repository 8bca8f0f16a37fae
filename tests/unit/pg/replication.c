/* SPDX-License-Identifier: Apache-2.0 */
/* Identity and slots.  Case 3: a slot behind an open writer ends within its limit and leaves nothing behind. */
#include "pg/replication.h"
#include "os/thread.h"
#include "pg_test.h"

static const struct banyan_str slot_name = {"banyan_slot", 11};

static void identity(void **state)
{
    struct pg_conn *replication = test_connect(true), *conn = test_connect(false);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_system system;

    (void)state;
    OK(pg_identify(replication, &arena, &system, &err));
    test_value_is(conn, "SELECT system_identifier FROM pg_control_system()", system.id.data);
    assert_int_equal(system.timeline, 1);
    assert_true(system.lsn > 0);
    banyan_arena_release(&arena);
    pg_close(replication);
    pg_close(conn);
}

static void create_read_drop(void **state)
{
    struct pg_conn *replication = test_connect(true), *conn = test_connect(false), *reader = test_connect(false);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_slot_created created;
    char sql[200];
    struct pg_slot slot;

    (void)state;
    test_run(conn, "CREATE TABLE before (a int); INSERT INTO before VALUES (1)");
    OK(pg_slot_create(replication, slot_name, 1000000, &arena, &created, &err));
    test_run(conn, "INSERT INTO before VALUES (2)");
    (void)snprintf(sql, sizeof(sql), "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '%s'",
                   created.snapshot.data);
    test_run(reader, sql);
    test_value_is(reader, "SELECT string_agg(a::text, ',') FROM before", "1");
    OK(pg_slot_read(conn, slot_name, &arena, &slot, &err));
    assert_true(slot.exists);
    assert_false(slot.active);
    assert_true(banyan_str_equal(slot.plugin, BANYAN_STR("pgoutput")));
    assert_true(banyan_str_equal(slot.database, BANYAN_STR("postgres")));
    assert_true(banyan_str_equal(slot.wal_status, BANYAN_STR("reserved")));
    assert_int_equal(slot.confirmed_lsn, created.consistent_lsn);
    assert_true(slot.restart_lsn > 0 && slot.restart_lsn <= slot.confirmed_lsn);
    assert_true(slot.kept_bytes > 0);
    assert_int_equal(slot.safe_bytes, -1);
    assert_true(slot.catalog_xmin_age > 0);
    OK(pg_slot_read(replication, slot_name, &arena, &slot, &err)); /* also there; this ends the snapshot */
    FAILS(SLOT, pg_slot_create(replication, slot_name, 1000000, &arena, &created, &err));
    OK(pg_slot_read(conn, slot_name, &arena, &slot, &err));
    assert_true(slot.exists); /* a failed creation does not touch a slot of somebody else's */
    OK(pg_slot_drop(conn, slot_name, &err));
    OK(pg_slot_read(conn, slot_name, &arena, &slot, &err));
    assert_false(slot.exists);
    FAILS(SLOT, pg_slot_drop(conn, slot_name, &err));
    FAILS(CONFIG, pg_slot_create(replication, BANYAN_STR("Not-Allowed"), 1000000, &arena, &created, &err));
    FAILS(CONFIG, pg_slot_create(replication, BANYAN_STR(""), 1000000, &arena, &created, &err));
    test_run(reader, "ROLLBACK");
    test_run(conn, "DROP TABLE before");
    banyan_arena_release(&arena);
    pg_close(replication);
    pg_close(conn);
    pg_close(reader);
}

static void nothing_is_left(struct pg_conn *conn)
{
    test_wait_value(conn, "SELECT count(*) FROM pg_replication_slots", "0");
    test_wait_value(conn, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'", "0");
}

static void behind_an_open_writer(void **state)
{
    struct pg_conn *writer = test_connect(false), *conn = test_connect(false), *replication = test_connect(true);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_slot_created created;
    int64_t started_us, took_us;
    char text[60];

    (void)state;
    test_run(writer, "BEGIN; SELECT pg_current_xact_id()");
    started_us = os_clock_monotonic_us(os_clock_real());
    FAILS(TIMEOUT, pg_slot_create(replication, slot_name, 300000, &arena, &created, &err));
    took_us = os_clock_monotonic_us(os_clock_real()) - started_us;
    assert_string_equal(err.sqlstate, "55P03");
    if (took_us < 290000 || took_us > 5000000)
        fail_msg("it took %lld us", (long long)took_us);
    (void)snprintf(text, sizeof(text), "pid %d", pg_backend_pid(writer));
    assert_non_null(strstr(err.detail, text)); /* the blocker is named */
    test_value_is(conn, "SELECT count(*) FROM pg_replication_slots", "0");
    /* The same connection works once the writer is gone. */
    test_run(writer, "COMMIT");
    OK(pg_slot_create(replication, slot_name, 5000000, &arena, &created, &err));
    OK(pg_slot_drop(conn, slot_name, &err));
    pg_close(replication);
    nothing_is_left(conn);
    banyan_arena_release(&arena);
    pg_close(writer);
    pg_close(conn);
}

/* Pitfall 9: prepared transactions are writers, too. */
static void behind_a_prepared_transaction(void **state)
{
    struct pg_conn *conn = test_connect(false), *replication = test_connect(true);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_slot_created created;

    (void)state;
    test_run(conn, "BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'in between'");
    FAILS(TIMEOUT, pg_slot_create(replication, slot_name, 200000, &arena, &created, &err));
    assert_non_null(strstr(err.detail, "in between"));
    test_run(conn, "COMMIT PREPARED 'in between'");
    pg_close(replication);
    nothing_is_left(conn);
    banyan_arena_release(&arena);
    pg_close(conn);
}

static void request_stop(void *argument)
{
    struct pg_conn *watcher = test_connect(false);

    test_wait_value(watcher,
                    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' AND "
                    "query LIKE 'CREATE_REPLICATION_SLOT%' AND wait_event_type = 'Lock'",
                    "1");
    os_stop_request(argument);
    pg_close(watcher);
}

static void a_stop_while_creating(void **state)
{
    struct pg_conn *writer = test_connect(false), *conn = test_connect(false), *replication = NULL;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct os_stop stop;
    struct pg_options options = {.conninfo = test_conninfo(), .replication = true, .stop = &stop};
    struct os_thread thread = {0};
    struct pg_slot_created created;

    (void)state;
    OK(os_stop_open(&stop, &err));
    OK(pg_connect(&options, &replication, &err));
    test_run(writer, "BEGIN; SELECT pg_current_xact_id()");
    os_thread_start(&thread, "stopper", request_stop, &stop);
    FAILS(STOPPED, pg_slot_create(replication, slot_name, 60000000, &arena, &created, &err));
    os_thread_join(&thread);
    pg_close(replication);
    nothing_is_left(conn);
    test_run(writer, "COMMIT");
    os_stop_close(&stop);
    banyan_arena_release(&arena);
    pg_close(writer);
    pg_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity),
        cmocka_unit_test(create_read_drop),
        cmocka_unit_test(behind_an_open_writer),
        cmocka_unit_test(behind_a_prepared_transaction),
        cmocka_unit_test(a_stop_while_creating),
    };

    return cmocka_run_group_tests_name("pg/replication", tests, NULL, NULL);
}
