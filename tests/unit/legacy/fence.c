/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fence at a real server: who is refused and who passes, who waits and how long, what is left of a session that is
 * frozen, and what a role without rights is told.
 */
#include "legacy/fence.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "legacy_tables.h"
#include "os/retry.h"
#include "os/thread.h"

enum {
    LOCK_MS = 100,
    LONG_MS = 5000, /* of waits that have to end by themselves long before */
};

static struct banyan_legacy_mapping mapping;
static struct banyan_domain domain;
static struct fence_options options;
static struct banyan_error err;

static const char insert_order[] =
    "INSERT INTO orders VALUES (1, 7, 'BTC', 'buy', 1, 2, 'open', 0, NULL, now(), now())";

static int set_up(void **state)
{
    legacy_setup(state);
    test_run(conn, "DROP SCHEMA IF EXISTS banyan CASCADE; DROP SEQUENCE IF EXISTS public.order_keys;"
                   "CREATE SEQUENCE public.order_keys");
    mapping = banyan_domain_trading.mappings[0];
    mapping.key_sequence = "public.order_keys";
    domain = banyan_domain_trading;
    domain.mappings = &mapping;
    options = (struct fence_options){.domain = &domain, .source = "o'ms"};
    banyan_error_clear(&err);
    return 0;
}

static struct pg_conn *connect_as(const char *extra)
{
    struct banyan_arena arena = {0};
    struct pg_options how = {.conninfo = banyan_arena_printf(&arena, "%s %s", test_conninfo(), extra).data,
                             .application_name = "app"};
    struct pg_conn *ret = NULL;

    OK(pg_connect(&how, &ret, &err));
    banyan_arena_release(&arena);
    return ret;
}

static int64_t now_ms(void)
{
    return os_clock_monotonic_us(os_clock_real()) / 1000;
}

/* ---- a writer that may have to wait ---- */

struct writer {
    struct pg_conn *conn;
    const char *sql;
    struct os_thread thread;
    struct banyan_error err;
    enum banyan_status status;
    int64_t took_ms;
};

static void write_main(void *argument)
{
    struct writer *writer = argument;
    int64_t began = now_ms();

    writer->status = pg_run(writer->conn, writer->sql, &writer->err);
    writer->took_ms = now_ms() - began;
}

static void wait_value(const char *sql, const char *expected)
{
    struct os_retry retry = {.first_us = 2000, .pause_us_max = 20000, .total_us_max = 10000000};

    for (;;) {
        char *value = test_value(conn, sql);
        bool same = strcmp(value, expected) == 0;

        free(value);
        if (same)
            return;
        if (!os_retry_pause(&retry, NULL))
            fail_msg("%s: never became %s", sql, expected);
    }
}

static void writer_start(struct writer *writer, struct pg_conn *with, const char *sql, bool will_wait)
{
    char text[128];

    *writer = (struct writer){.conn = with, .sql = sql};
    os_thread_start(&writer->thread, "writer", write_main, writer);
    snprintf(text, sizeof(text), "SELECT count(*) FROM pg_locks WHERE pid = %d AND NOT granted", pg_backend_pid(with));
    if (will_wait)
        wait_value(text, "1");
}

static void expect_fenced(struct writer *writer)
{
    os_thread_join(&writer->thread);
    if (strcmp(writer->err.sqlstate, "25006") != 0)
        fail_msg("%s: %s %s", writer->sql, banyan_status_name(writer->status), writer->err.message);
    assert_non_null(strstr(writer->err.message, "Banyan owns its rows (source o'ms)"));
    assert_non_null(strstr(writer->err.hint, "banyan rollout rollback"));
}

static void refused(struct pg_conn *with, const char *sql)
{
    struct writer writer;

    writer_start(&writer, with, sql, false);
    expect_fenced(&writer);
}

/* ---- tests ---- */

static void queued_writers_meet_the_fence(void **unused)
{
    struct pg_conn *locker = test_connect(false), *first = test_connect(false), *second = test_connect(false);
    struct writer insert, update;
    uint64_t lsn = 0;

    (void)unused;
    OK(fence_prepare(locker, &options, &err));
    OK(fence_prepare(locker, &options, &err)); /* again changes nothing */
    test_run(conn, insert_order);
    test_run(second, "PREPARE change AS UPDATE orders SET quantity = 5 WHERE order_id = $1");
    test_run(second, "EXECUTE change (1)");
    OK(fence_lock(locker, &options, &err));
    writer_start(&insert, first, "INSERT INTO trades (order_id, quantity, price, executed_at) VALUES (1, 1, 1, now())",
                 true);
    writer_start(&update, second, "EXECUTE change (1)", true);
    test_value_is(conn, "SELECT quantity::int FROM orders", "5"); /* who only reads does not wait */
    OK(fence_message(conn, options.source, &lsn, &err));
    assert_true(lsn > 0);
    OK(fence_commit(locker, &options, 3, lsn, &err));
    expect_fenced(&insert);
    expect_fenced(&update);
    test_value_is(conn, "SELECT count(*) FROM trades", "0");
    pg_close(first);
    pg_close(second);
    pg_close(locker);
}

static void every_kind_of_write_is_refused_but_a_replicas(void **unused)
{
    struct pg_conn *mirror = test_connect(false);
    struct fence_journal journal;

    (void)unused;
    test_run(conn, insert_order);
    OK(fence_prepare(conn, &options, &err));
    OK(fence_journal_read(conn, options.source, &journal, &err));
    assert_int_equal(journal.epoch, 0);
    OK(fence_lock(conn, &options, &err));
    OK(fence_commit(conn, &options, 2, 0x1000, &err));
    refused(conn, "UPDATE orders SET quantity = 9 WHERE order_id = 12345");
    refused(conn, "DELETE FROM orders");
    refused(conn, "TRUNCATE audit_log");
    refused(conn, "COPY trades FROM PROGRAM 'true'");
    refused(conn, "INSERT INTO audit_log (entity_id, field_changed, timestamp) SELECT 1, 'x', now() WHERE false");
    test_run(mirror, "SET session_replication_role = replica; UPDATE orders SET quantity = 9 WHERE order_id = 1");
    test_value_is(conn, "SELECT quantity::int FROM orders", "9");
    OK(fence_journal_read(conn, options.source, &journal, &err));
    assert_int_equal(journal.epoch, 2);
    assert_true(journal.banyan);
    OK(fence_journal_read(conn, "another", &journal, &err));
    assert_int_equal(journal.epoch, 0);

    OK(fence_remove(conn, &options, 4, NULL, &err));
    OK(fence_journal_read(conn, options.source, &journal, &err));
    assert_int_equal(journal.epoch, 4);
    assert_false(journal.banyan);
    test_run(conn, "UPDATE orders SET quantity = 8");
    /* And again, over the trigger that is there. */
    OK(fence_lock(conn, &options, &err));
    OK(fence_commit(conn, &options, 5, 0, &err));
    refused(conn, "UPDATE orders SET quantity = 7");
    /* An epoch counts once: what is repeated in error changes nothing. */
    FAILS(QUERY, fence_remove(conn, &options, 5, NULL, &err));
    refused(conn, "UPDATE orders SET quantity = 7");
    test_run(conn, "DROP SCHEMA banyan CASCADE");
    test_run(conn, "UPDATE orders SET quantity = 6");
    pg_close(mirror);
}

static void what_is_rolled_back_was_never_there(void **unused)
{
    struct pg_conn *locker = test_connect(false), *other = test_connect(false);
    struct fence_journal journal;
    struct writer writer;

    (void)unused;
    OK(fence_prepare(locker, &options, &err));
    OK(fence_lock(locker, &options, &err));
    writer_start(&writer, other, insert_order, true);
    test_run(locker, "ROLLBACK");
    os_thread_join(&writer.thread);
    assert_int_equal(writer.status, BANYAN_OK);
    OK(fence_journal_read(conn, options.source, &journal, &err));
    assert_int_equal(journal.epoch, 0);
    pg_close(other);
    pg_close(locker);
}

static void who_is_in_the_way_is_named(void **unused)
{
    struct pg_conn *locker = test_connect(false), *app = connect_as("application_name=oms"), *other;
    struct banyan_buf who = BANYAN_BUF_INIT(1 << 16);
    struct writer writer;
    int64_t began;

    (void)unused;
    other = test_connect(false);
    OK(fence_prepare(locker, &options, &err));
    OK(fence_blockers(locker, &options, 0, &who, &err));
    assert_int_equal(who.size, 0);
    test_run(app, "BEGIN");
    test_run(app, insert_order);
    began = now_ms();
    FAILS(BUSY, fence_lock(locker, &options, &err));
    assert_in_range(now_ms() - began, LOCK_MS - 10, LOCK_MS + 1000);
    assert_non_null(strstr(err.detail, "(app, role postgres): idle in transaction"));
    assert_non_null(strstr(err.detail, "RowExclusiveLock on orders: INSERT INTO orders"));
    test_value_is(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0");
    /* Nobody has to wait behind a lock that is not to be had for longer than the time-out. */
    writer_start(&writer, other,
                 "SELECT pg_sleep(0.02); INSERT INTO audit_log (entity_id, field_changed, timestamp)"
                 " SELECT 1, 'x', now()",
                 false);
    FAILS(BUSY, fence_lock(locker, &options, &err));
    os_thread_join(&writer.thread);
    assert_int_equal(writer.status, BANYAN_OK);
    assert_in_range(writer.took_ms, 0, LOCK_MS + 1000);

    OK(fence_blockers(locker, &options, 60000000, &who, &err));
    assert_int_equal(who.size, 0);
    test_run(app, "ROLLBACK");
    OK(fence_lock(locker, &options, &err));
    OK(fence_commit(locker, &options, 2, 0, &err));
    /* What is open on other tables, or only reads, is in nobody's way. */
    test_run(app, "BEGIN; SELECT count(*) FROM orders; CREATE TABLE own (id int)");
    OK(fence_remove(locker, &options, 3, NULL, &err));
    test_run(app, "ROLLBACK");
    banyan_buf_release(&who);
    pg_close(other);
    pg_close(app);
    pg_close(locker);
}

static void a_prepared_transaction_is_named(void **unused)
{
    struct banyan_buf who = BANYAN_BUF_INIT(1 << 16);
    char *allowed = test_value(conn, "SHOW max_prepared_transactions");
    bool possible = strcmp(allowed, "0") != 0;

    (void)unused;
    free(allowed);
    if (!possible)
        skip();
    test_run(conn, "BEGIN");
    test_run(conn, insert_order);
    test_run(conn, "PREPARE TRANSACTION 'half'");
    OK(fence_blockers(conn, &options, 60000000, &who, &err));
    test_run(conn, "ROLLBACK PREPARED 'half'");
    assert_true(who.size > 0);
    assert_non_null(strstr(who.data, "prepared transaction 'half' of role postgres"));
    assert_non_null(strstr(who.data, "RowExclusiveLock on orders"));
    banyan_buf_release(&who);
}

/* The child locks, stops itself, and when it is woken tries to commit; its exit code says how that ended. */
static pid_t frozen_locker(void)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        struct pg_conn *own = test_connect(false);
        enum banyan_status st = fence_lock(own, &options, &err);

        if (st == BANYAN_OK) {
            raise(SIGSTOP);
            st = fence_commit(own, &options, 9, 0, &err);
        }
        _exit((int)st);
    }
    return child;
}

static void a_frozen_session_is_ended_by_the_server(void **unused)
{
    struct pg_conn *app = test_connect(false);
    struct fence_journal journal;
    struct writer writer;
    int status = 0;
    pid_t child;

    (void)unused;
    options.session_limit_us = 300000;
    OK(fence_prepare(conn, &options, &err));
    child = frozen_locker();
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    writer_start(&writer, app, insert_order, false);
    os_thread_join(&writer.thread);
    assert_int_equal(writer.status, BANYAN_OK);
    assert_in_range(writer.took_ms, 0, LONG_MS);
    kill(child, SIGCONT);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), BANYAN_UNAVAILABLE);
    OK(fence_journal_read(conn, options.source, &journal, &err));
    assert_int_equal(journal.epoch, 0);
    test_run(app, "UPDATE orders SET quantity = 3");
    pg_close(app);
}

static void an_earlier_session_is_ended_before_the_journal_counts(void **unused)
{
    struct pg_conn *one = test_connect(false), *two = test_connect(false);

    (void)unused;
    OK(fence_prepare(conn, &options, &err));
    OK(fence_settle(conn, options.source, 1000000, &err));
    OK(fence_lock(one, &options, &err));
    FAILS(BUSY, fence_lock(two, &options, &err));
    OK(fence_settle(two, "another", 1000000, &err)); /* that is nobody's */
    OK(fence_settle(two, options.source, 5000000, &err));
    assert_int_equal(fence_commit(one, &options, 2, 0, &err), BANYAN_UNAVAILABLE);
    OK(fence_lock(two, &options, &err));
    OK(fence_commit(two, &options, 2, 0, &err));
    pg_close(two);
    pg_close(one);
}

static void an_answer_that_is_lost_is_uncertain(void **unused)
{
    struct pg_conn *locker = test_connect(false);
    struct fence_journal journal;

    (void)unused;
    OK(fence_prepare(conn, &options, &err));
    /* The commit waits for a standby that there is not; its session is ended meanwhile. */
    test_run(locker, "SET synchronous_commit = on");
    OK(fence_lock(locker, &options, &err));
    test_run(conn, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    test_run(conn, "SELECT pg_reload_conf()");
    wait_value("SHOW synchronous_standby_names", "nobody");
    test_run(conn, "SET synchronous_commit = local");
    /* Commits begin to wait when the checkpointer has read it too; it does so before it works. */
    test_run(conn, "CHECKPOINT");
    test_run(conn, "CHECKPOINT");
    if (fork() == 0) {
        struct pg_conn *own = test_connect(false);

        conn = own; /* the parent's is not ours */
        wait_value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", "1");
        test_run(own, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
        _exit(0);
    }
    banyan_error_clear(&err);
    assert_int_equal(fence_commit(locker, &options, 2, 0, &err), BANYAN_UNCERTAIN);
    assert_true(wait(NULL) > 0);
    test_run(conn, "ALTER SYSTEM RESET synchronous_standby_names");
    test_run(conn, "SELECT pg_reload_conf()");
    /* It was done nevertheless, and only the journal can tell. */
    OK(fence_settle(conn, options.source, 5000000, &err));
    OK(fence_journal_read(conn, options.source, &journal, &err));
    assert_int_equal(journal.epoch, 2);
    wait_value("SHOW synchronous_standby_names", "");
    test_run(conn, "RESET synchronous_commit");
    pg_close(locker);
}

static void sequences_move_up_and_never_back(void **unused)
{
    int64_t keys[1] = {500};

    (void)unused;
    OK(fence_prepare(conn, &options, &err));
    OK(fence_remove(conn, &options, 2, keys, &err));
    test_value_is(conn, "SELECT nextval('order_keys')", "501");
    keys[0] = 100;
    OK(fence_remove(conn, &options, 3, keys, &err));
    test_value_is(conn, "SELECT nextval('order_keys')", "502");
    keys[0] = 0;
    OK(fence_remove(conn, &options, 4, keys, &err));
    test_value_is(conn, "SELECT nextval('order_keys')", "503");
}

static void partitions_are_fenced_too(void **unused)
{
    (void)unused;
    test_run(conn, "DROP TABLE trades; CREATE TABLE trades (id bigserial, order_id bigint NOT NULL, quantity"
                   " numeric(18, 8) NOT NULL, price numeric(18, 8) NOT NULL, executed_at timestamptz NOT NULL)"
                   " PARTITION BY RANGE (executed_at);"
                   "CREATE TABLE \"trades \"\"old\" PARTITION OF trades DEFAULT");
    OK(fence_prepare(conn, &options, &err));
    OK(fence_lock(conn, &options, &err));
    OK(fence_commit(conn, &options, 2, 0, &err));
    refused(conn, "DELETE FROM \"trades \"\"old\"");
    refused(conn, "DELETE FROM trades");
    OK(fence_remove(conn, &options, 3, NULL, &err));
    test_run(conn, "DELETE FROM trades; DELETE FROM \"trades \"\"old\"");
}

static void a_role_without_rights_is_told_which(void **unused)
{
    struct pg_conn *poor;

    (void)unused;
    test_run(conn, "DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN; GRANT USAGE ON SCHEMA public TO poor;"
                   "GRANT SELECT, INSERT, UPDATE, TRIGGER ON orders, trades, audit_log TO poor");
    poor = connect_as("user=poor");
    FAILS(PRIVILEGE, fence_prepare(poor, &options, &err));
    assert_non_null(strstr(err.hint, "GRANT CREATE ON DATABASE postgres TO poor;"));
    test_run(conn, "CREATE SCHEMA banyan");
    FAILS(PRIVILEGE, fence_prepare(poor, &options, &err));
    assert_non_null(strstr(err.hint, "GRANT USAGE, CREATE ON SCHEMA banyan TO poor;"));
    test_run(conn, "GRANT USAGE, CREATE ON SCHEMA banyan TO poor");
    FAILS(PRIVILEGE, fence_prepare(poor, &options, &err));
    assert_non_null(strstr(err.hint, "GRANT \"postgres\" TO \"poor\";"));
    test_run(conn, "ALTER TABLE orders OWNER TO poor; ALTER TABLE trades OWNER TO poor;"
                   "ALTER TABLE audit_log OWNER TO poor");
    FAILS(PRIVILEGE, fence_prepare(poor, &options, &err));
    assert_non_null(strstr(err.hint, "GRANT SELECT, UPDATE ON SEQUENCE public.order_keys TO poor;"));
    test_run(conn, "GRANT SELECT, UPDATE ON SEQUENCE order_keys TO poor");
    /* With these it goes all the way, without being a superuser. */
    OK(fence_prepare(poor, &options, &err));
    OK(fence_lock(poor, &options, &err));
    OK(fence_commit(poor, &options, 2, 0, &err));
    refused(conn, "DELETE FROM orders");
    OK(fence_remove(poor, &options, 3, (const int64_t[]){10}, &err));
    pg_close(poor);
    test_run(conn, "DROP SCHEMA banyan CASCADE; DROP OWNED BY poor CASCADE; DROP ROLE poor");
}

static void the_journal_survives_a_crash_of_the_server(void **unused)
{
    struct fence_journal journal;
    char command[512];

    (void)unused;
    OK(fence_prepare(conn, &options, &err));
    test_run(conn, "SET synchronous_commit = off"); /* of the session: the fence's transaction has its own */
    OK(fence_lock(conn, &options, &err));
    OK(fence_commit(conn, &options, 2, 0x42, &err));
    snprintf(command, sizeof(command), "%s/ctl restart", getenv("BANYAN_TEST_PG"));
    assert_int_equal(system(command), 0);
    pg_close(conn);
    conn = test_connect(false);
    OK(fence_journal_read(conn, options.source, &journal, &err));
    assert_int_equal(journal.epoch, 2);
    assert_true(journal.banyan);
    refused(conn, "DELETE FROM orders");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(queued_writers_meet_the_fence, set_up),
        cmocka_unit_test_setup(every_kind_of_write_is_refused_but_a_replicas, set_up),
        cmocka_unit_test_setup(what_is_rolled_back_was_never_there, set_up),
        cmocka_unit_test_setup(who_is_in_the_way_is_named, set_up),
        cmocka_unit_test_setup(a_prepared_transaction_is_named, set_up),
        cmocka_unit_test_setup(a_frozen_session_is_ended_by_the_server, set_up),
        cmocka_unit_test_setup(an_earlier_session_is_ended_before_the_journal_counts, set_up),
        cmocka_unit_test_setup(an_answer_that_is_lost_is_uncertain, set_up),
        cmocka_unit_test_setup(sequences_move_up_and_never_back, set_up),
        cmocka_unit_test_setup(partitions_are_fenced_too, set_up),
        cmocka_unit_test_setup(a_role_without_rights_is_told_which, set_up),
        cmocka_unit_test_setup(the_journal_survives_a_crash_of_the_server, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, legacy_finish);
}
