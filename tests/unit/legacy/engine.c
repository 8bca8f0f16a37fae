/* SPDX-License-Identifier: Apache-2.0 */
/* Start, restart and hand-over of a source on a real server, by the numbers of docs/CAPTURE.md. */
#include "support/legacy_rig.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "legacy/records.h"
#include "os/clock.h"
#include "pg/replication.h"
#include "support/test_domain.h"

/* Plays with the throwaway server. */
static void control(const char *verb)
{
    char program[512];
    pid_t pid;
    int code = -1;
    snprintf(program, sizeof(program), "%s/ctl", getenv("BANYAN_TEST_PG"));
    char *const arguments[] = {program, (char *)verb, NULL};
    assert_int_equal(posix_spawn(&pid, program, NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_int_equal(code, 0);
}

/* After a stop of the server. */
static void reconnect(struct rig *rig)
{
    struct pg_options options = {.conninfo = rig->conninfo, .application_name = "application"};
    RIG_OK(rig, pg_connect(&options, &rig->db, &rig->err));
    options.conninfo = getenv("BANYAN_TEST_CONNINFO");
    RIG_OK(rig, pg_connect(&options, &rig->server, &rig->err));
}

static void test_backfill_then_capture(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "INSERT INTO docs (id, title, amount) SELECT i, 'row ' || i, i FROM generate_series(1, 2500) i;"
                     "INSERT INTO lines SELECT i, j, 'l' FROM generate_series(1, 2500) i, generate_series(1, 2) j");
    rig->options.chunk_rows = 300;
    rig_start(rig);
    rig_sql(rig->db, "UPDATE docs SET title = 'changed' WHERE id %% 7 = 0");
    rig_backfilled(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (9999, 'new')");
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "LinePut"), 5000);
    assert_string_equal(rig_story(rig, 5), "put(row 5,0,5.0000,-) line(1,l) line(2,l)");
    rig_equal(rig);
    struct legacy_status status;
    legacy_status(rig->legacy, &status);
    assert_true(status.chunks_done >= 8);
    assert_int_equal(status.state, LEGACY_CAPTURING);
    /* A second start goes on where the first ended. */
    rig_stop(rig);
    rig_sql(rig->db, "DELETE FROM docs WHERE id = 9999");
    rig_start(rig);
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 9999), "put(new,0,0.0000,-) del");
    assert_int_equal(rig_count(rig, "HandoverStarted"), 1);
    rig_equal(rig);
}

/* Case 5: killed in the middle of the backfill, again and again: the same history as if never. */
static void test_case_5_killed_while_backfilling(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, 'row ' || i FROM generate_series(1, 6000) i;"
                     "INSERT INTO lines SELECT i, j, 'l' FROM generate_series(1, 6000) i, generate_series(1, 2) j");
    rig->options.chunk_rows = 100;
    for (int i = 0; i < 5; i++) {
        pid_t child = rig_fork(rig);
        rig_wait_value(rig, "t", "SELECT active FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot);
        for (int j = 0; j < 40; j++)
            rig_sql(rig->db,
                    "BEGIN; UPDATE docs SET note = '%d' WHERE id = %d; SAVEPOINT a;"
                    "INSERT INTO lines VALUES (%d, %d, 'new'); ROLLBACK TO a; SAVEPOINT b;"
                    "INSERT INTO lines VALUES (%d, %d, 'new'); COMMIT",
                    i * 40 + j, 1 + (i * 40 + j) * 29, 1 + j * 149, 1000 + i * 40 + j, 1 + j * 149, 5000 + i * 40 + j);
        rig_kill(child);
        rig_wait_value(rig, "f", "SELECT active FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot);
    }
    rig_start(rig);
    rig_backfilled(rig);
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "LinePut"), 12000 + 200);
    assert_int_equal(rig_count(rig, "HandoverStarted"), 1);
    assert_int_equal(rig_count(rig, "BackfillCompleted"), 1);
    rig_equal(rig);
}

static void test_backfill_only_leaves_the_slot(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, 'a' FROM generate_series(1, 1000) i");
    rig->options.backfill_only = true;
    rig_start(rig);
    rig_backfilled(rig);
    struct legacy_status status;
    legacy_status(rig->legacy, &status);
    assert_int_equal(status.state, LEGACY_STOPPED);
    rig_wait_value(rig, "f", "SELECT active FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot);
    rig_stop(rig);
    rig_sql(rig->db, "UPDATE docs SET title = 'b' WHERE id = 500");
    rig->options.backfill_only = false;
    rig_start(rig);
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 500), "put(a,0,0.0000,-) put(b,0,0.0000,-)");
    rig_equal(rig);
}

/* A large transaction while its keys are unread: held or dropped, but never in memory as a whole, and never twice. */
static void test_large_transaction_while_backfilling(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, 'a' FROM generate_series(1, 20000) i");
    rig->options.chunk_rows = 200;
    rig->options.spool_memory_bytes = 256 * 1024;
    rig_start(rig);
    rig_sql(rig->db, "BEGIN; UPDATE docs SET title = 'b'; INSERT INTO lines SELECT i, 1, 'l' FROM generate_series(1, "
                     "20000) i; COMMIT");
    rig_backfilled(rig);
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "LinePut"), 20000);
    rig_equal(rig);
}

/* Pitfall 4: a sub-transaction's id is in no snapshot; only that of its whole transaction is asked for. */
static void test_pitfall_4_open_sub_transactions(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, 'a' FROM generate_series(1, 3000) i");
    rig_start(rig); /* the slot exists, chunks are being read */
    rig_sql(rig->db, "BEGIN; SAVEPOINT a; UPDATE docs SET title = 'sub' WHERE id <= 100; RELEASE a;"
                     "SAVEPOINT b; UPDATE docs SET title = 'sub sub' WHERE id <= 50");
    rig_backfilled(rig); /* without waiting for the open transaction */
    rig_sql(rig->db, "COMMIT");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 10), "put(a,0,0.0000,-) put(sub,0,0.0000,-) put(sub sub,0,0.0000,-)");
    assert_string_equal(rig_story(rig, 70), "put(a,0,0.0000,-) put(sub,0,0.0000,-)");
    rig_equal(rig);
}

/* Pitfall 2, the stream's part: an immediate stop of the server in the middle of the backfill. */
static void test_pitfall_2_server_crash_while_backfilling(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, 'row ' || i FROM generate_series(1, 20000) i");
    rig->options.chunk_rows = 200;
    rig_start(rig);
    rig_sql(rig->db, "SET synchronous_commit = off");
    rig_sql(rig->db, "DO $$ BEGIN FOR i IN 1..500 LOOP"
                     " UPDATE docs SET note = 'n' WHERE id = i * 37; COMMIT; END LOOP; END $$");
    pg_close(rig->db);
    pg_close(rig->server);
    control("restart");
    reconnect(rig);
    rig_sql(rig->db, "UPDATE docs SET note = 'after' WHERE id %% 9 = 0");
    rig_backfilled(rig);
    rig_fence(rig);
    rig_equal(rig);
}

static void test_empty_tables(void **state)
{
    struct rig *rig = *state;
    rig_start(rig);
    rig_backfilled(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (-5, 'x')");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, -5), "put(x,0,0.0000,-)");
}

static void test_cursor_lsn(void **state)
{
    (void)state;
    struct store_cursor cursor = {.value = BANYAN_STR("{\"system\":\"7\",\"lsn\":\"1/A\",\"xid\":3}")};
    assert_int_equal(legacy_cursor_lsn(cursor), 0x10000000aULL);
    cursor.value = BANYAN_STR("{\"lsn\":\"1/");
    assert_int_equal(legacy_cursor_lsn(cursor), 0);
    cursor.value.data = NULL;
    assert_int_equal(legacy_cursor_lsn(cursor), 0);
}

/* Case 3: an open writer: an error within the limit that names it; no slot and no reader stay behind. */
static void test_case_3_slot_waits_for_writers(void **state)
{
    struct rig *rig = *state;
    rig->options.lock_timeout_us = 300 * 1000;
    rig_sql(rig->db, "BEGIN; INSERT INTO docs (id, title) VALUES (1, 'open')");
    const char *pid = rig_value(rig, rig->db, "SELECT pg_backend_pid()");
    assert_int_equal(rig_try_start(rig), BANYAN_TIMEOUT);
    assert_non_null(strstr(rig->err.detail, pid));
    rig_wait_value(rig, "0", "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot);
    rig_wait_value(rig, "0",
                   "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' AND datname = '%s'",
                   rig->database);
    rig_sql(rig->db, "COMMIT");
    rig_start(rig);
    rig_fence(rig);
    rig_backfilled(rig);
    assert_string_equal(rig_story(rig, 1), "put(open,0,0.0000,-)");
}

/* Case 9: the slot goes back when the server crashes after it was told a position. */
static void test_case_9_server_crash_takes_the_slot_back(void **state)
{
    struct rig *rig = *state;
    rig->options.capture_only = true;
    rig_start(rig);
    rig_sql(rig->db, "CHECKPOINT");
    for (int i = 0; i < 50; i++)
        rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (%d, 'a')", i);
    rig_fence(rig);
    /* The server has heard of it, and forgets it. */
    rig_wait_value(rig, "t",
                   "SELECT confirmed_flush_lsn >= (SELECT pg_current_wal_lsn() - 1000) FROM pg_replication_slots"
                   " WHERE slot_name = '%s'",
                   rig->slot);
    pg_close(rig->db);
    pg_close(rig->server);
    control("restart");
    reconnect(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (100, 'after')");
    rig_fence(rig); /* the same engine found its way back */
    assert_int_equal(rig_count(rig, "DocPut"), 51);
    rig_equal(rig);
}

static void test_case_10_advanced_slot_is_refused(void **state)
{
    struct rig *rig = *state;
    rig->options.capture_only = true;
    rig_start(rig);
    rig_fence(rig);
    rig_stop(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (1, 'lost')");
    rig_wait_value(rig, "f", "SELECT active FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot);
    const char *there = rig_value(
        rig, rig->db, "SELECT end_lsn FROM pg_replication_slot_advance('%s', pg_current_wal_flush_lsn())", rig->slot);
    assert_int_equal(rig_try_start(rig), BANYAN_SLOT);
    assert_non_null(strstr(rig->err.message, there));
}

/* Cases 11 and 28: nothing of ours happens, and the slot moves over the traffic of others. */
static void test_case_11_and_28_idle_source_moves(void **state)
{
    struct rig *rig = *state;
    rig->options.capture_only = true;
    rig->options.heartbeat_us = 200 * 1000;
    rig_start(rig);
    rig_sql(rig->db, "INSERT INTO other SELECT i, repeat('x', 500) FROM generate_series(1, 20000) i");
    const char *lsn = rig_value(rig, rig->db, "SELECT pg_current_wal_lsn()");
    rig_wait_value(rig, "t", "SELECT confirmed_flush_lsn >= '%s' FROM pg_replication_slots WHERE slot_name = '%s'", lsn,
                   rig->slot);
    struct legacy_status status;
    legacy_status(rig->legacy, &status);
    assert_string_equal(status.wal_status, "reserved");
    assert_false(status.alarm);
}

/* A server that shuts down waits for its readers to have everything, also what is of no interest to us. */
static void test_case_11_server_can_shut_down(void **state)
{
    struct rig *rig = *state;
    rig->options.capture_only = true;
    rig_start(rig);
    rig_fence(rig);
    rig_sql(rig->db, "INSERT INTO other SELECT i, repeat('x', 500) FROM generate_series(1, 1000) i");
    pg_close(rig->db);
    pg_close(rig->server);
    int64_t start_us = os_clock_monotonic_us(os_clock_real());
    control("stop");
    assert_true(os_clock_monotonic_us(os_clock_real()) - start_us < 20 * 1000 * 1000);
    control("start");
    reconnect(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (1, 'after')");
    rig_fence(rig);
    rig_stop(rig);
    rig_start(rig); /* the slot is not ahead of the cursor */
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(after,0,0.0000,-)");
}

static void test_case_12_stop_under_load(void **state)
{
    struct rig *rig = *state;
    rig->options.capture_only = true;
    rig_start(rig);
    rig_sql(rig->db, "DO $$ BEGIN FOR i IN 1..2000 LOOP INSERT INTO docs (id, title) VALUES (i, 'a'); COMMIT;"
                     " END LOOP; END $$");
    rig_fence(rig);
    rig_stop(rig);
    rig_open_store(rig);
    assert_int_equal(rig_count(rig, "DocPut"), 2000);
    struct store_reader *reader = store_reader_open(rig->store);
    struct store_read_event read;
    RIG_OK(rig, store_reader_seek(reader, store_durable(rig->store), &rig->err));
    RIG_OK(rig, store_reader_next(reader, &read, &rig->err));
    assert_true(banyan_str_equal(read.event.type, BANYAN_STR("Fence")));
    store_reader_close(reader);
}

static void test_case_13_slot_of_another(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", rig->slot);
    assert_int_equal(rig_try_start(rig), BANYAN_SLOT);
    assert_int_equal(rig_try_start(rig), BANYAN_SLOT); /* trying did not make it ours */
    assert_string_equal(
        rig_value(rig, rig->db, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot), "1");
}

static void test_case_13_slot_made_anew(void **state)
{
    struct rig *rig = *state;
    rig->options.capture_only = true;
    rig_start(rig);
    rig_fence(rig);
    rig_stop(rig);
    rig_wait_value(rig, "f", "SELECT active FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot);
    rig_sql(rig->db, "SELECT pg_drop_replication_slot('%s')", rig->slot);
    assert_int_equal(rig_try_start(rig), BANYAN_SLOT);
    assert_non_null(strstr(rig->err.message, "is gone"));
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (1, 'lost')");
    rig_sql(rig->db, "SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", rig->slot);
    assert_int_equal(rig_try_start(rig), BANYAN_SLOT);
    rig_sql(rig->db,
            "SELECT pg_drop_replication_slot('%s'); SELECT pg_create_logical_replication_slot('%s', "
            "'test_decoding')",
            rig->slot, rig->slot);
    assert_int_equal(rig_try_start(rig), BANYAN_SLOT);
    assert_non_null(strstr(rig->err.message, "test_decoding"));
}

/* A crash between making the slot and saying so: the slot is ours, and it is made anew. */
static void test_slot_left_by_a_crash(void **state)
{
    struct rig *rig = *state;
    rig_open_store(rig);
    struct store_event event = {.id = {.bytes = {1}},
                                .stream = BANYAN_STR("$legacy-test"),
                                .type = BANYAN_STR("SlotCreating"),
                                .provenance = BANYAN_EXACT,
                                .payload = BANYAN_STR("{\"slot\":\"x\",\"system\":\"1\"}"),
                                .meta = BANYAN_STR("")};
    struct store_append append = {.events = &event, .event_count = 1};
    struct store_appended appended;
    RIG_OK(rig, store_append(rig->store, &append, &appended, &rig->err));
    rig_sql(rig->db, "SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", rig->slot);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (1, 'a')");
    rig_start(rig);
    rig_backfilled(rig);
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(a,0,0.0000,-)");
}

/* Cases 13 and 14: the log knows another system, or another timeline. */
static void test_case_14_other_system(void **state)
{
    struct rig *rig = *state;
    rig->options.capture_only = true;
    rig_start(rig);
    rig_fence(rig);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_str value = store_cursor(rig->store, BANYAN_STR("legacy/test"), &arena);
    struct records_cursor cursor;
    RIG_OK(rig, records_cursor_parse(value, &arena, &cursor, &rig->err));
    struct banyan_str texts[2] = {
        banyan_arena_printf(&arena, "{\"system\":\"1%.*s\",\"timeline\":1,\"slot\":\"%s\",\"lsn\":\"0/1\",\"xid\":900}",
                            (int)cursor.system.size, cursor.system.data, rig->slot),
        banyan_arena_printf(&arena, "{\"system\":\"%.*s\",\"timeline\":9,\"slot\":\"%s\",\"lsn\":\"0/1\",\"xid\":900}",
                            (int)cursor.system.size, cursor.system.data, rig->slot)};
    for (uint8_t i = 0; i < 2; i++) {
        rig_stop(rig);
        rig_open_store(rig);
        struct store_event event = {.id = {.bytes = {2, i}},
                                    .stream = BANYAN_STR("$fence-test"),
                                    .type = BANYAN_STR("Fence"),
                                    .provenance = BANYAN_EXACT,
                                    .payload = BANYAN_STR("{}"),
                                    .meta = BANYAN_STR("")};
        struct store_append append = {
            .events = &event, .event_count = 1, .cursor = {BANYAN_STR("legacy/test"), texts[i]}};
        struct store_appended appended;
        RIG_OK(rig, store_append(rig->store, &append, &appended, &rig->err));
        assert_int_equal(rig_try_start(rig), BANYAN_SLOT);
        assert_non_null(strstr(rig->err.message, i == 0 ? "another server" : "timeline"));
    }
    banyan_arena_release(&arena);
}

/* Case 21: a table without identity: refused before the publication exists, and the application goes on. */
static void test_case_21_no_identity(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "ALTER TABLE lines REPLICA IDENTITY NOTHING; INSERT INTO lines VALUES (1, 1, 'a')");
    assert_int_equal(rig_try_start(rig), BANYAN_TABLE);
    assert_string_equal(rig_value(rig, rig->db, "SELECT count(*) FROM pg_publication"), "0");
    rig_sql(rig->db, "UPDATE lines SET text = 'b'");
    rig_sql(rig->db, "ALTER TABLE lines REPLICA IDENTITY DEFAULT; CREATE PUBLICATION \"banyan pub\" FOR TABLE docs");
    assert_int_equal(rig_try_start(rig), BANYAN_SETTING);
    assert_non_null(strstr(rig->err.message, "lines"));
    rig_sql(rig->db, "ALTER PUBLICATION \"banyan pub\" ADD TABLE lines");
    rig_start(rig);
    rig_backfilled(rig);
}

/* Case 29: a reader of ours that was left behind is ended; one of somebody else's is named. */
static void test_case_29_slot_is_being_read(void **state)
{
    struct rig *rig = *state;
    static const char *const names[] = {"banyan/test", "stranger"};
    rig->options.capture_only = true;
    rig_start(rig);
    rig_fence(rig);
    rig_stop(rig);
    for (int i = 0; i < 2; i++) {
        struct pg_options options = {.conninfo = rig->conninfo, .application_name = names[i], .replication = true};
        struct pg_stream_options stream_options = {
            .slot = banyan_str_of(rig->slot), .publication = BANYAN_STR("banyan pub"), .protocol = 2};
        struct pg_conn *conn = NULL;
        struct pg_stream *stream = NULL;
        RIG_OK(rig, pg_connect(&options, &conn, &rig->err));
        rig_wait_value(rig, "f", "SELECT active FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot);
        RIG_OK(rig, pg_stream_open(conn, &stream_options, &stream, &rig->err));
        rig_wait_value(rig, "t", "SELECT active FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot);
        const char *pid =
            rig_value(rig, rig->db, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot);
        if (i == 0) {
            rig_start(rig);
            rig_fence(rig);
            rig_stop(rig);
        } else {
            assert_int_equal(rig_try_start(rig), BANYAN_BUSY);
            assert_non_null(strstr(rig->err.message, pid));
        }
        pg_stream_close(stream);
        pg_close(conn);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_up, rig_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor_lsn),
        TEST(test_backfill_then_capture),
        TEST(test_empty_tables),
        TEST(test_backfill_only_leaves_the_slot),
        TEST(test_case_5_killed_while_backfilling),
        TEST(test_pitfall_2_server_crash_while_backfilling),
        TEST(test_large_transaction_while_backfilling),
        TEST(test_pitfall_4_open_sub_transactions),
        TEST(test_case_3_slot_waits_for_writers),
        TEST(test_case_9_server_crash_takes_the_slot_back),
        TEST(test_case_10_advanced_slot_is_refused),
        TEST(test_case_11_and_28_idle_source_moves),
        TEST(test_case_11_server_can_shut_down),
        TEST(test_case_12_stop_under_load),
        TEST(test_case_13_slot_of_another),
        TEST(test_case_13_slot_made_anew),
        TEST(test_slot_left_by_a_crash),
        TEST(test_case_14_other_system),
        TEST(test_case_21_no_identity),
        TEST(test_case_29_slot_is_being_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
