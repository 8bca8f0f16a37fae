/* SPDX-License-Identifier: Apache-2.0 */
/* Capture of a real server: decoding and the stream, by the numbers of docs/CAPTURE.md.  No backfill. */
#include "support/legacy_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/retry.h"
#include "support/test_domain.h"

static struct rig *capturing(void **state)
{
    struct rig *rig = *state;
    rig->options.capture_only = true;
    rig_start(rig);
    return rig;
}

static void test_a_row_from_its_birth_to_its_end(void **state)
{
    struct rig *rig = capturing(state);
    rig_sql(rig->db, "INSERT INTO docs (id, title, amount) VALUES (1, 'a', 1.5)");
    rig_sql(rig->db, "UPDATE docs SET title = 'b', note = 'n' WHERE id = 1");
    rig_sql(rig->db, "INSERT INTO lines VALUES (1, 7, 'x')");
    rig_sql(rig->db, "DELETE FROM lines WHERE id = 7; DELETE FROM docs WHERE id = 1");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(a,0,1.5000,-) put(b,0,1.5000,n) line(7,x) gone(0) del");
    struct legacy_status status;
    legacy_status(rig->legacy, &status);
    assert_int_equal(status.changes, 5);
    assert_true(status.transactions >= 4);
    assert_true(status.lag_us_p99 > 0);
    assert_true(status.confirmed_lsn <= status.applied_lsn); /* it follows once the events are durable */
}

static void test_case_6_restart_at_every_boundary(void **state)
{
    struct rig *rig = capturing(state);
    for (int i = 0; i < 12; i++) {
        rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (%d, 'a')", i);
        rig_sql(rig->db, "UPDATE docs SET title = 'b' WHERE id = %d", i);
        if (i % 3 != 0)
            rig_fence(rig);
        rig_stop(rig);
        rig_sql(rig->db, "UPDATE docs SET title = 'c' WHERE id = %d", i);
        rig_start(rig);
    }
    rig_fence(rig);
    for (int i = 0; i < 12; i++)
        assert_string_equal(rig_story(rig, i), "put(a,0,0.0000,-) put(b,0,0.0000,-) put(c,0,0.0000,-)");
}

static void test_case_7_many_rows_under_one_position(void **state)
{
    struct rig *rig = *state;
    rig->options.capture_only = true;
    rig_start(rig);
    rig_stop(rig);
    pid_t child = rig_fork(rig);
    rig_wait_value(rig, "t", "SELECT active FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot);
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, 'row ' || i FROM generate_series(1, 3000) i");
    rig_kill(child);
    rig_start(rig);
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "DocPut"), 3000);
    rig_equal(rig);
}

static void test_case_8_first_writer_commits_last(void **state)
{
    struct rig *rig = capturing(state);
    struct pg_conn *other = rig_connect(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (1, 'x')");
    rig_sql(rig->db, "BEGIN; INSERT INTO lines VALUES (1, 1, 'first written')");
    rig_sql(other, "INSERT INTO lines VALUES (1, 2, 'first committed')");
    rig_sql(rig->db, "COMMIT");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(x,0,0.0000,-) line(2,first committed) line(1,first written)");
    pg_close(other);
}

static void test_case_15_streamed_transactions_interleave(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->server, "ALTER DATABASE %s SET logical_decoding_work_mem = '64kB'", rig->database);
    rig->options.spool_memory_bytes = 256 * 1024;
    rig = capturing(state);
    struct pg_conn *other = rig_connect(rig);
    rig_sql(rig->db, "BEGIN");
    rig_sql(other, "BEGIN");
    for (int i = 0; i < 10; i++) {
        rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, 'one' FROM generate_series(%d, %d) i", i * 400,
                i * 400 + 199);
        rig_sql(other, "INSERT INTO docs (id, title) SELECT i, 'two' FROM generate_series(%d, %d) i", i * 400 + 200,
                i * 400 + 399);
    }
    rig_sql(rig->db, "UPDATE docs SET note = 'n'");
    rig_sql(other, "COMMIT");
    rig_sql(rig->db, "COMMIT");
    rig_fence(rig);
    struct legacy_status status;
    legacy_status(rig->legacy, &status);
    assert_int_equal(status.transactions_streamed, 2);
    assert_int_equal(rig_count(rig, "DocPut"), 6000);
    assert_string_equal(rig_story(rig, 0), "put(one,0,0.0000,-) put(one,0,0.0000,n)");
    assert_string_equal(rig_story(rig, 200), "put(two,0,0.0000,-)");
    rig_equal(rig);
    pg_close(other);
}

/* A connection that breaks takes what is open with it; the server sends it again from its beginning. */
static void test_case_15_connection_breaks_in_mid_stream(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->server, "ALTER DATABASE %s SET logical_decoding_work_mem = '64kB'", rig->database);
    rig = capturing(state);
    rig_sql(rig->db, "BEGIN; INSERT INTO docs (id, title) SELECT i, 'a' FROM generate_series(1, 3000) i");
    rig_wait_value(rig, "t", "SELECT stream_txns > 0 FROM pg_stat_replication_slots WHERE slot_name = '%s'", rig->slot);
    const char *pid =
        rig_value(rig, rig->db, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = '%s'", rig->slot);
    rig_sql(rig->server, "SELECT pg_terminate_backend(%s)", pid);
    rig_wait_value(rig, "t", "SELECT active_pid <> %s FROM pg_replication_slots WHERE slot_name = '%s'", pid,
                   rig->slot);
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, 'b' FROM generate_series(3001, 6000) i; COMMIT");
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "DocPut"), 6000);
    rig_equal(rig);
}

/* Case 11: while the disk stands still nothing is confirmed, however much has arrived. */
static struct os_files stalling;
static bool stalled; /* atomic */

static enum banyan_status stalling_sync(struct os_file *file, struct banyan_error *err)
{
    struct os_retry retry = {.first_us = 2000, .pause_us_max = 2000};
    while (__atomic_load_n(&stalled, __ATOMIC_ACQUIRE) && os_retry_pause(&retry, NULL))
        continue;
    return os_files_real()->sync(file, err);
}

/* Also after a failure: nothing could be closed else. */
static int stalling_down(void **state)
{
    __atomic_store_n(&stalled, false, __ATOMIC_RELEASE);
    return rig_down(state);
}

static void test_case_11_only_what_is_durable_is_confirmed(void **state)
{
    struct rig *rig = *state;
    stalling = *os_files_real();
    stalling.sync = stalling_sync;
    rig->files = &stalling;
    rig = capturing(state);
    rig_fence(rig);
    __atomic_store_n(&stalled, true, __ATOMIC_RELEASE);
    const char *lsn = rig_value(rig, rig->db, "SELECT pg_current_wal_insert_lsn()");
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, 'a' FROM generate_series(1, 100) i");
    const char *end = rig_value(rig, rig->db, "SELECT pg_current_wal_insert_lsn()");
    /* The server hears of us: everything was received, and several answers passed. */
    rig_wait_value(rig, "t", "SELECT write_lsn >= '%s' FROM pg_stat_replication WHERE application_name = 'banyan/test'",
                   lsn);
    const char *heard = rig_value(rig, rig->db, "SELECT clock_timestamp()");
    rig_wait_value(rig, "t",
                   "SELECT reply_time > '%s'::timestamptz + interval '1.5 s' FROM pg_stat_replication WHERE "
                   "application_name = 'banyan/test'",
                   heard);
    assert_string_equal(rig_value(rig, rig->db,
                                  "SELECT confirmed_flush_lsn < '%s' FROM pg_replication_slots WHERE slot_name = '%s'",
                                  end, rig->slot),
                        "t");
    struct legacy_status status;
    legacy_status(rig->legacy, &status);
    assert_true(status.confirmed_lsn < status.applied_lsn);
    __atomic_store_n(&stalled, false, __ATOMIC_RELEASE);
    rig_fence(rig);
    rig_wait_value(rig, "t", "SELECT confirmed_flush_lsn >= '%s' FROM pg_replication_slots WHERE slot_name = '%s'", end,
                   rig->slot);
    assert_int_equal(rig_count(rig, "DocPut"), 100);
}

static void test_case_16_savepoint_rollback(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->server, "ALTER DATABASE %s SET logical_decoding_work_mem = '64kB'", rig->database);
    rig = capturing(state);
    rig_sql(rig->db, "BEGIN");
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, repeat('x', 500) FROM generate_series(1, 501) i");
    rig_sql(rig->db, "SAVEPOINT s");
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, repeat('y', 500) FROM generate_series(502, 1002) i");
    rig_sql(rig->db, "ROLLBACK TO s");
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (2000, 'last'); COMMIT");
    rig_sql(rig->db,
            "BEGIN; INSERT INTO docs (id, title) SELECT i, repeat('z', 500) FROM generate_series(5000, 5600) i;"
            "ROLLBACK");
    rig_fence(rig);
    struct legacy_status status;
    legacy_status(rig->legacy, &status);
    assert_int_equal(status.transactions_streamed, 1);
    assert_int_equal(rig_count(rig, "DocPut"), 502);
    rig_equal(rig);
}

static void test_case_18_prepared_transaction(void **state)
{
    struct rig *rig = capturing(state);
    rig_sql(rig->db, "BEGIN; INSERT INTO docs (id, title) VALUES (1, 'prepared'); PREPARE TRANSACTION 'p%s'",
            rig->slot);
    rig_sql(rig->db, "BEGIN; INSERT INTO docs (id, title) VALUES (2, 'never'); PREPARE TRANSACTION 'q%s'", rig->slot);
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "");
    rig_stop(rig);
    rig_start(rig);
    rig_sql(rig->db, "COMMIT PREPARED 'p%s'", rig->slot);
    rig_sql(rig->db, "ROLLBACK PREPARED 'q%s'", rig->slot);
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(prepared,0,0.0000,-)");
    assert_string_equal(rig_story(rig, 2), "");
}

static void test_case_19_ddl_in_mid_transaction(void **state)
{
    struct rig *rig = capturing(state);
    rig_sql(rig->db, "BEGIN; INSERT INTO docs (id, title) VALUES (1, 'a');"
                     "ALTER TABLE docs ADD COLUMN more int DEFAULT 5, DROP COLUMN changed_at,"
                     " ADD COLUMN changed_at timestamptz NOT NULL DEFAULT '2020-01-01 00:00:00Z';"
                     "ALTER TABLE docs ALTER title TYPE varchar(100);"
                     "INSERT INTO docs (id, title, note) VALUES (2, 'b', 'n'); COMMIT");
    rig_sql(rig->db, "UPDATE docs SET note = 'late' WHERE id = 1");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(a,0,0.0000,-) put(a,0,0.0000,late)");
    assert_string_equal(rig_story(rig, 2), "put(b,0,0.0000,n)");
    rig_equal(rig);
    /* A column that is gone is not guessed. */
    rig_sql(rig->db, "ALTER TABLE docs RENAME note TO remark");
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (3, 'c')");
    rig_failed(rig);
    assert_int_equal(rig->err.status, BANYAN_TABLE);
    assert_non_null(strstr(rig->err.message, "note"));
    assert_string_equal(rig_story(rig, 3), "");
}

static void test_case_20_unchanged_toast(void **state)
{
    static const char *const identities[] = {"DEFAULT", "FULL", "USING INDEX docs_title_id"};
    struct rig *rig = *state;
    rig_sql(rig->db, "CREATE UNIQUE INDEX docs_title_id ON docs (id, title)");
    rig = capturing(state);
    for (int i = 0; i < 3; i++) {
        rig_sql(rig->db, "ALTER TABLE docs REPLICA IDENTITY %s", identities[i]);
        rig_sql(rig->db, "INSERT INTO docs (id, title, body) VALUES (%d, 'a', repeat('x', 9000))", i);
        rig_sql(rig->db, "UPDATE docs SET note = 'n' WHERE id = %d", i);
        /* Twice in one transaction: the value in between is the transaction's own. */
        rig_sql(rig->db,
                "BEGIN; UPDATE docs SET body = repeat('y', 8000) WHERE id = %d;"
                "UPDATE docs SET note = 'm' WHERE id = %d; UPDATE docs SET title = 'b' WHERE id = %d; COMMIT",
                i, i, i);
        rig_fence(rig);
        assert_string_equal(rig_story(rig, i), "put(a,9000,0.0000,-) put(a,9000,0.0000,n) put(a,8000,0.0000,n) "
                                               "put(a,8000,0.0000,m) put(b,8000,0.0000,m)");
    }
    rig_stop(rig);
    rig_start(rig); /* and when the state comes from the log */
    rig_sql(rig->db, "UPDATE docs SET note = 'again'");
    rig_fence(rig);
    rig_equal(rig);
}

static void test_case_21_key_move(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "CREATE UNIQUE INDEX lines_unique ON lines (doc_id, id); ALTER TABLE lines REPLICA IDENTITY USING "
                     "INDEX lines_unique");
    rig = capturing(state);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (1, 'a'); INSERT INTO lines VALUES (1, 5, 'l')");
    rig_sql(rig->db, "BEGIN; UPDATE docs SET id = 10 WHERE id = 1; UPDATE lines SET doc_id = 10; COMMIT");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(a,0,0.0000,-) line(5,l) del gone(0)");
    assert_string_equal(rig_story(rig, 10), "put(a,0,0.0000,-) line(5,l)");
    rig_equal(rig);
}

/* Pitfall 6: with the whole old row a large value moves with its key; without it, it is refused, not guessed. */
static void test_pitfall_6_key_move_with_toast(void **state)
{
    struct rig *rig = capturing(state);
    rig_sql(rig->db,
            "INSERT INTO docs (id, title, body) VALUES (1, 'a', repeat('x', 9000)), (2, 'b', repeat('y', 7000))");
    rig_sql(rig->db, "ALTER TABLE docs REPLICA IDENTITY FULL");
    rig_sql(rig->db, "UPDATE docs SET id = 10 WHERE id = 1");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 10), "put(a,9000,0.0000,-)");
    rig_sql(rig->db, "ALTER TABLE docs REPLICA IDENTITY DEFAULT");
    rig_sql(rig->db, "UPDATE docs SET id = 20 WHERE id = 2");
    rig_failed(rig);
    assert_int_equal(rig->err.status, BANYAN_TABLE);
    assert_non_null(strstr(rig->err.hint, "REPLICA IDENTITY FULL"));
}

/* Pitfall 5: a DELETE that does not tell its key is counted, not guessed. */
static void test_pitfall_5_delete_without_the_key(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "ALTER TABLE lines DROP CONSTRAINT lines_pkey, ADD PRIMARY KEY (id)");
    rig = capturing(state);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (1, 'a'); INSERT INTO lines VALUES (1, 5, 'l')");
    rig_sql(rig->db, "DELETE FROM lines");
    rig_fence(rig);
    struct legacy_status status;
    legacy_status(rig->legacy, &status);
    assert_int_equal(status.changes_without_key, 1);
    assert_string_equal(status.without_key_table, "lines");
    assert_string_equal(rig_story(rig, 1), "put(a,0,0.0000,-) line(5,l)");
}

static void test_case_22_odd_server_settings(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->server,
            "ALTER DATABASE %s SET TimeZone = 'Asia/Kathmandu'; ALTER DATABASE %s SET DateStyle = 'SQL, DMY';"
            "ALTER DATABASE %s SET extra_float_digits = -5; ALTER DATABASE %s SET bytea_output = 'escape'",
            rig->database, rig->database, rig->database, rig->database);
    rig_sql(rig->db, "INSERT INTO docs (id, title, amount, changed_at) VALUES"
                     " (1, 'a', -0.0001, '2024-03-04 05:06:07.123456Z')");
    rig_start(rig);
    rig_backfilled(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title, amount, changed_at) VALUES"
                     " (2, 'a', -0.0001, '2024-03-04 05:06:07.123456Z')");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(a,0,-0.0001,-)");
    assert_string_equal(rig_story(rig, 2), rig_story(rig, 1));
    rig_equal(rig);
}

static void test_case_23_changes_that_change_nothing(void **state)
{
    struct rig *rig = capturing(state);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (1, 'a')");
    rig_sql(rig->db, "UPDATE docs SET title = 'a' WHERE id = 1");
    rig_sql(rig->db, "UPDATE docs SET title = 'b' WHERE id = 99");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(a,0,0.0000,-)");
    /* TRUNCATE has no rows: a stop, never silence. */
    rig_sql(rig->db, "TRUNCATE other");
    rig_fence(rig);
    rig_sql(rig->db, "TRUNCATE docs");
    rig_failed(rig);
    assert_int_equal(rig->err.status, BANYAN_TABLE);
    assert_non_null(strstr(rig->err.message, "docs was truncated"));
}

static void test_case_25_fence_on_an_idle_database(void **state)
{
    struct rig *rig = capturing(state);
    rig_fence(rig);
    rig_fence(rig); /* the position of a fence is reached before its own transaction ends: the first is there now */
    uint64_t fences = rig_count_saying(rig, "Fence", "\"test\"");
    assert_true(fences >= 1);
    rig_sql(rig->db, "BEGIN; SELECT pg_logical_emit_message(true, 'banyan.fence', 'gone'); ROLLBACK;"
                     "SELECT pg_logical_emit_message(false, 'banyan.fence', 'not transactional')");
    rig_fence(rig);
    rig_fence(rig);
    assert_true(rig_count_saying(rig, "Fence", "\"test\"") > fences);
    assert_int_equal(rig_count_saying(rig, "Fence", "gone"), 0);
    assert_int_equal(rig_count_saying(rig, "Fence", "not transactional"), 0);
}

/* Cases 27 and 30: an origin may date its commits as it likes; what came from us does not come back. */
static void test_case_27_and_30_origins(void **state)
{
    struct rig *rig = capturing(state);
    struct pg_conn *other = rig_connect(rig);
    rig_sql(rig->db, "SELECT pg_replication_origin_create('banyan/%s'), pg_replication_origin_create('elsewhere%s')",
            rig->slot, rig->slot);
    rig_sql(rig->db, "SELECT pg_replication_origin_session_setup('banyan/%s')", rig->slot);
    for (int i = 0; i < 100; i++)
        rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (%d, 'ours')", i);
    rig_sql(other, "SELECT pg_replication_origin_session_setup('elsewhere%s')", rig->slot);
    rig_sql(other, "INSERT INTO docs (id, title) VALUES (1000, 'now')");
    rig_sql(other, "BEGIN; SELECT pg_replication_origin_xact_setup('0/1', '2001-01-01 00:00:00Z');"
                   "UPDATE docs SET title = 'dated' WHERE id = 1000; COMMIT");
    rig_sql(rig->db, "SELECT pg_replication_origin_session_reset()");
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "DocPut"), 2);
    assert_string_equal(rig_story(rig, 1000), "put(now,0,0.0000,-) put(dated,0,0.0000,-)");
    rig_sql(other, "SELECT pg_replication_origin_session_reset()");
    rig_sql(rig->db, "SELECT pg_replication_origin_drop('banyan/%s'), pg_replication_origin_drop('elsewhere%s')",
            rig->slot, rig->slot);
    pg_close(other);
}

/* One transaction of many rows, in bounded memory: more than fits is spooled, partitioned, appended as one batch. */
static void test_large_transaction_is_one_batch(void **state)
{
    struct rig *rig = *state;
    rig->options.spool_memory_bytes = 256 * 1024;
    rig = capturing(state);
    rig_sql(rig->db, "BEGIN; INSERT INTO docs (id, title) SELECT i, 'row ' || i FROM generate_series(1, 20000) i;"
                     "INSERT INTO lines SELECT i %% 1000 + 1, i, 'line' FROM generate_series(1, 20000) i;"
                     "UPDATE docs SET note = 'n' WHERE id %% 2 = 0; COMMIT");
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "DocPut"), 30000);
    assert_int_equal(rig_count(rig, "LinePut"), 20000);
    rig_equal(rig);
    struct store_reader *reader = store_reader_open(rig->store);
    struct store_read_event read;
    size_t ends = 0, events = 0;
    RIG_OK(rig, store_reader_seek(reader, (struct banyan_position){1}, &rig->err));
    while (store_reader_next(reader, &read, &rig->err) == BANYAN_OK) {
        if (read.event.stream.data[0] == '$')
            continue;
        events++;
        ends += read.ends_batch;
    }
    store_reader_close(reader);
    assert_int_equal(events, 50000);
    assert_int_equal(ends, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_up, rig_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_row_from_its_birth_to_its_end),
        TEST(test_case_6_restart_at_every_boundary),
        TEST(test_case_7_many_rows_under_one_position),
        TEST(test_case_8_first_writer_commits_last),
        TEST(test_case_15_streamed_transactions_interleave),
        cmocka_unit_test_setup_teardown(test_case_11_only_what_is_durable_is_confirmed, rig_up, stalling_down),
        TEST(test_case_15_connection_breaks_in_mid_stream),
        TEST(test_case_16_savepoint_rollback),
        TEST(test_case_18_prepared_transaction),
        TEST(test_case_19_ddl_in_mid_transaction),
        TEST(test_case_20_unchanged_toast),
        TEST(test_case_21_key_move),
        TEST(test_case_22_odd_server_settings),
        TEST(test_case_23_changes_that_change_nothing),
        TEST(test_case_25_fence_on_an_idle_database),
        TEST(test_case_27_and_30_origins),
        TEST(test_pitfall_5_delete_without_the_key),
        TEST(test_pitfall_6_key_move_with_toast),
        TEST(test_large_transaction_is_one_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
