/* SPDX-License-Identifier: Apache-2.0 */
/*
 * src/migrate/batches.c, on a real server: everything is filled, whatever others do meanwhile.
 */
#include "migrate/batches.h"

#include <pthread.h>

#include "../pg/pg_test.h"
#include "os/random.h"

#define TABLE "public.\"Odd t\""

static struct pg_conn *conn, *watch, *other;
static struct banyan_error err;

/* What a run tells. */
struct told {
    char reason[1024]; /* the last one */
    unsigned calls, reasons;
    uint32_t pages_max;
    void (*when_waiting)(void *context); /* once */
    void (*when_working)(void *context);
};

static void on_progress(void *context, const struct batches_progress *progress)
{
    struct told *told = context;
    void (*call)(void *) = progress->reason != NULL ? told->when_waiting : told->when_working;

    told->calls++;
    if (progress->pages_a_batch > told->pages_max)
        told->pages_max = progress->pages_a_batch;
    if (progress->reason != NULL) {
        told->reasons++;
        (void)snprintf(told->reason, sizeof(told->reason), "%s", progress->reason);
        told->when_waiting = NULL;
    } else {
        told->when_working = NULL;
    }
    if (call != NULL)
        call(told);
}

static const struct plan_batches fill = {
    .table = BANYAN_STR(TABLE), .set = BANYAN_STR("b = t.a + 1"), .needs = BANYAN_STR("t.b IS NULL")};

static enum banyan_status run(const struct plan_batches *plan, struct books_step *step, struct told *told)
{
    struct batches_options options = {.version = BANYAN_STR("v1"), .progress = on_progress, .context = told};

    banyan_error_clear(&err);
    return batches_run(conn, watch, plan, &options, step, &err);
}

static void run_ok(const struct plan_batches *plan, struct books_step *step, struct told *told)
{
    if (run(plan, step, told) != BANYAN_OK)
        fail_msg("%s (%s) %s", err.message, err.detail, err.hint);
}

static void make_table(int rows)
{
    char sql[1024];

    (void)snprintf(sql, sizeof(sql),
                   "DROP TABLE IF EXISTS " TABLE " CASCADE;"
                   "CREATE TABLE " TABLE " (id int PRIMARY KEY, a int, b int, pad text);"
                   "INSERT INTO " TABLE " SELECT i, i, NULL, repeat('x', 50) FROM generate_series(1, %d) i",
                   rows);
    test_run(conn, sql);
}

static void all_filled(const char *rows)
{
    test_value_is(conn, "SELECT count(*) FROM " TABLE " WHERE b IS DISTINCT FROM a + 1", "0");
    test_value_is(conn, "SELECT count(*) FROM " TABLE, rows);
}

/* ---- plain ---- */

static void test_fills(void **state)
{
    struct books_step step = {0};
    struct told told = {0};

    (void)state;
    make_table(50000);
    run_ok(&fill, &step, &told);
    all_filled("50000");
    assert_int_equal(step.rows, 50000);
    assert_int_equal(step.pass, 2); /* the second finds nothing */
    assert_true(told.calls > 0);
    assert_true(told.pages_max > 0); /* how many depends on the machine */
}

static void test_nothing_to_do(void **state)
{
    struct books_step step = {0};
    struct told told = {0};

    (void)state;
    make_table(0);
    run_ok(&fill, &step, &told);
    assert_int_equal(step.rows, 0);
    make_table(1000);
    test_run(conn, "UPDATE " TABLE " SET b = a + 1");
    step = (struct books_step){0};
    run_ok(&fill, &step, &told);
    assert_int_equal(step.rows, 0);
    all_filled("1000");
}

/* One row in a thousand: found without writing to the others' pages. */
static void test_sparse(void **state)
{
    struct books_step step = {0};
    struct told told = {0};

    (void)state;
    make_table(100000);
    test_run(conn, "UPDATE " TABLE " SET b = a + 1 WHERE id % 5000 <> 0");
    test_run(conn, "VACUUM FULL " TABLE);
    run_ok(&fill, &step, &told);
    assert_int_equal(step.rows, 20);
    all_filled("100000");
}

static void test_refuses(void **state)
{
    struct plan_batches plan = fill;
    struct books_step step = {0};
    struct told told = {0};

    (void)state;
    plan.table = BANYAN_STR("public.nowhere");
    assert_int_equal(run(&plan, &step, &told), BANYAN_TABLE);
    test_run(conn, "DROP TABLE IF EXISTS parent; CREATE TABLE parent (a int, b int) PARTITION BY RANGE (a)");
    plan.table = BANYAN_STR("public.parent");
    assert_int_equal(run(&plan, &step, &told), BANYAN_INVALID);
}

/* A value that does not fit: told with its page, and the rows before it are done. */
static void test_bad_value(void **state)
{
    struct plan_batches plan = fill;
    struct books_step step = {0};
    struct told told = {0};

    (void)state;
    make_table(20000);
    plan.set = BANYAN_STR("b = t.a / (t.id - 15000)");
    assert_int_equal(run(&plan, &step, &told), BANYAN_QUERY);
    assert_string_equal(err.sqlstate, "22012");
    test_value_is(conn, "SELECT count(*) > 14000 FROM " TABLE " WHERE b IS NOT NULL", "t");
    test_value_is(conn, "SELECT count(*) FROM " TABLE " WHERE id > 15200 AND b IS NOT NULL", "0");
}

/* ---- others ---- */

static void commit_other(void *context)
{
    (void)context;
    test_run(other, "COMMIT");
}

static void test_held_row(void **state)
{
    struct books_step step = {0};
    struct told told = {.when_waiting = commit_other};

    (void)state;
    make_table(50000);
    test_run(other, "BEGIN; SELECT FROM " TABLE " WHERE id = 20000 FOR UPDATE");
    run_ok(&fill, &step, &told);
    all_filled("50000");
    assert_int_equal(step.rows, 50000);
    if (strstr(told.reason, "of public.\"Odd t\" is locked by pid") == NULL ||
        strstr(told.reason, "banyan-test, idle in transaction for") == NULL)
        fail_msg("told: %s", told.reason);
}

static void roll_other_back(void *context)
{
    (void)context;
    test_run(other, "ROLLBACK PREPARED 'held'");
}

static void test_held_by_a_prepared_transaction(void **state)
{
    struct books_step step = {0};
    struct told told = {.when_waiting = roll_other_back};

    (void)state;
    make_table(5000);
    test_run(other, "BEGIN; UPDATE " TABLE " SET a = 0 WHERE id = 77; PREPARE TRANSACTION 'held'");
    run_ok(&fill, &step, &told);
    all_filled("5000");
    if (strstr(told.reason, "the prepared transaction held") == NULL)
        fail_msg("told: %s", told.reason);
}

static void test_held_table(void **state)
{
    struct books_step step = {0};
    struct told told = {.when_waiting = commit_other};

    (void)state;
    make_table(5000);
    test_run(other, "BEGIN; LOCK TABLE " TABLE " IN SHARE MODE");
    run_ok(&fill, &step, &told);
    all_filled("5000");
    if (strstr(told.reason, "public.\"Odd t\" is locked by pid") == NULL)
        fail_msg("told: %s", told.reason);
}

static void rewrite(void *context)
{
    (void)context;
    test_run(other, "VACUUM FULL " TABLE);
}

static void test_rewritten_meanwhile(void **state)
{
    struct books_step step = {0};
    struct told told = {.when_working = rewrite};

    (void)state;
    make_table(100000);
    test_run(conn, "DELETE FROM " TABLE " WHERE id % 3 = 0"); /* so that pages move forward */
    run_ok(&fill, &step, &told);
    test_value_is(conn, "SELECT count(*) FROM " TABLE " WHERE b IS DISTINCT FROM a + 1", "0");
}

/* As tools do that write a table anew beside it, and then change their names. */
static void swap(void *context)
{
    (void)context;
    test_run(other, "BEGIN; LOCK TABLE " TABLE "; CREATE TABLE copied (LIKE " TABLE " INCLUDING ALL); "
                    "INSERT INTO copied SELECT * FROM " TABLE " ORDER BY id DESC; ALTER TABLE " TABLE
                    " RENAME TO gone; ALTER TABLE copied RENAME TO \"Odd t\"; COMMIT");
}

static void test_swapped_meanwhile(void **state)
{
    struct books_step step = {0};
    struct told told = {.when_working = swap}, after = {0};

    (void)state;
    make_table(50000);
    test_run(conn, "DROP TABLE IF EXISTS gone");
    assert_int_equal(run(&fill, &step, &told), BANYAN_TABLE);
    run_ok(&fill, &step, &after); /* it is found to be the right one */
    all_filled("50000");
    test_run(conn, "DROP TABLE gone");
}

static void drop(void *context)
{
    (void)context;
    test_run(other, "DROP TABLE " TABLE);
}

static void test_dropped_meanwhile(void **state)
{
    struct books_step step = {0};
    struct told told = {.when_working = drop};

    (void)state;
    make_table(100000);
    run_ok(&fill, &step, &told);
    assert_true(step.rows < 100000);
}

static void pause_it(void *context)
{
    (void)context;
    test_run(other, "UPDATE banyan.schema_migrations SET paused = true");
}

static void test_paused_and_resumed(void **state)
{
    struct books_step step = {0};
    struct told told = {.when_working = pause_it};
    int64_t rows;

    (void)state;
    make_table(100000);
    assert_int_equal(run(&fill, &step, &told), BANYAN_BUSY);
    rows = step.rows;
    assert_true(rows > 0 && rows < 100000);
    test_value_is(conn,
                  "SELECT rows = (SELECT count(*) FROM " TABLE " WHERE b IS NOT NULL) AND page > 0"
                  " FROM banyan.schema_migration_steps",
                  "t");
    test_run(other, "UPDATE banyan.schema_migrations SET paused = false");
    run_ok(&fill, &step, &told);
    assert_int_equal(step.rows, 100000);
    all_filled("100000");
}

/* ---- triggers, rights, shapes ---- */

static void make_triggers(void)
{
    test_run(conn, "CREATE OR REPLACE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS"
                   " $$ BEGIN NEW.pad := 'touched'; RETURN NEW; END $$;"
                   "CREATE TRIGGER touch BEFORE UPDATE ON " TABLE " FOR EACH ROW EXECUTE FUNCTION touched()");
}

static void test_user_triggers_do_not_fire(void **state)
{
    struct books_step step = {0};
    struct told told = {0};

    (void)state;
    make_table(1000);
    make_triggers();
    run_ok(&fill, &step, &told);
    test_value_is(conn, "SELECT count(*) FROM " TABLE " WHERE pad = 'touched'", "0");
    all_filled("1000");
    test_value_is(conn, "SHOW session_replication_role", "origin");
}

/* Where rows are changed, not filled, they fire as for any UPDATE. */
static void test_kept_values(void **state)
{
    struct plan_batches plan = fill;
    struct books_step step = {0};
    struct told told = {0};

    (void)state;
    make_table(30000);
    make_triggers();
    test_run(conn, "DROP TABLE IF EXISTS kept; CREATE TABLE kept (id int PRIMARY KEY, a int)");
    plan.set = BANYAN_STR("a = t.a + 1"); /* not idempotent: exactly once */
    plan.needs = BANYAN_STR("NOT EXISTS (SELECT FROM kept k WHERE k.id = t.id)");
    plan.keep = BANYAN_STR("INSERT INTO kept SELECT t.id, t.a FROM " TABLE
                           " t JOIN due ON t.ctid = due.at ON CONFLICT DO NOTHING");
    test_run(other, "BEGIN; SELECT FROM " TABLE " WHERE id = 200 FOR UPDATE");
    told.when_waiting = commit_other;
    run_ok(&plan, &step, &told);
    test_value_is(conn,
                  "SELECT count(*) FROM " TABLE " t JOIN kept k USING (id) WHERE t.a = t.id + 1 AND k.a = t.id"
                  " AND t.pad = 'touched'",
                  "30000");
    test_run(conn, "DROP TABLE kept");
}

/* A valid foreign key is proven by triggers: they fire where its column is written. */
static void test_foreign_key_is_checked(void **state)
{
    struct plan_batches plan = fill;
    struct books_step step = {0};
    struct told told = {0};

    (void)state;
    make_table(2000);
    test_run(conn,
             "DROP TABLE IF EXISTS ref CASCADE; CREATE TABLE ref (id int PRIMARY KEY); INSERT INTO ref VALUES (1);"
             "ALTER TABLE " TABLE " ADD FOREIGN KEY (b) REFERENCES ref (id)");
    plan.set = BANYAN_STR("\"b\" = 1 + (t.id = 1500)::int");
    assert_int_equal(run(&plan, &step, &told), BANYAN_QUERY);
    assert_string_equal(err.sqlstate, "23503");
    test_run(conn, "INSERT INTO ref VALUES (2)");
    run_ok(&plan, &step, &told);
    test_value_is(conn, "SELECT sum(b) FROM " TABLE, "2001");
}

static void test_row_level_security(void **state)
{
    struct books_step step = {0};
    struct told told = {0};

    (void)state;
    make_table(1000);
    test_run(conn, "DROP ROLE IF EXISTS keeper; CREATE ROLE keeper; GRANT USAGE ON SCHEMA banyan TO keeper;"
                   "GRANT ALL ON ALL TABLES IN SCHEMA banyan TO keeper; ALTER TABLE " TABLE " OWNER TO keeper;"
                   "ALTER TABLE " TABLE " ENABLE ROW LEVEL SECURITY; ALTER TABLE " TABLE " FORCE ROW LEVEL SECURITY;"
                   "CREATE POLICY half ON " TABLE " USING (id <= 500)");
    make_triggers();
    test_run(conn, "SET ROLE keeper");
    assert_int_equal(run(&fill, &step, &told), BANYAN_PRIVILEGE); /* not: half of the rows, silently */
    test_run(conn, "ALTER TABLE " TABLE " NO FORCE ROW LEVEL SECURITY");
    run_ok(&fill, &step, &told);
    all_filled("1000");
    /* It may not set session_replication_role. */
    test_value_is(conn, "SELECT count(*) FROM " TABLE " WHERE pad = 'touched'", "1000");
    test_run(conn, "RESET ROLE; DROP TABLE " TABLE "; REVOKE ALL ON ALL TABLES IN SCHEMA banyan FROM keeper;"
                   "REVOKE ALL ON SCHEMA banyan FROM keeper; DROP ROLE keeper");
}

/* Children are tables of their own; wide values lie elsewhere; an index on what is needed does not lead astray. */
static void test_shapes(void **state)
{
    struct books_step step = {0};
    struct told told = {0};

    (void)state;
    test_run(conn, "DROP TABLE IF EXISTS " TABLE " CASCADE; CREATE TABLE " TABLE " (id int, a int, b int, pad text);"
                   "CREATE TABLE child () INHERITS (" TABLE ");"
                   "ALTER TABLE " TABLE " ALTER pad SET STORAGE EXTERNAL;"
                   "INSERT INTO " TABLE " SELECT i, i, NULL, repeat('x', 20000) FROM generate_series(1, 1000) i;"
                   "INSERT INTO child SELECT i, i FROM generate_series(1, 1000) i;"
                   "CREATE INDEX ON " TABLE " (id) WHERE b IS NULL; ANALYZE " TABLE);
    run_ok(&fill, &step, &told);
    test_value_is(conn, "SELECT count(*) FROM ONLY " TABLE " WHERE b = a + 1 AND pad = repeat('x', 20000)", "1000");
    test_value_is(conn, "SELECT count(*) FROM child WHERE b IS NULL", "1000");
    step = (struct books_step){0};
    test_run(conn, "CREATE TABLE leaf_of (a int, b int) PARTITION BY RANGE (a);"
                   "CREATE TABLE leaf PARTITION OF leaf_of FOR VALUES FROM (0) TO (5000);"
                   "INSERT INTO leaf_of SELECT i FROM generate_series(1, 4000) i");
    struct plan_batches leaf = fill;
    leaf.table = BANYAN_STR("public.leaf");
    run_ok(&leaf, &step, &told);
    test_value_is(conn, "SELECT count(*) FROM leaf_of WHERE b = a + 1", "4000");
    test_run(conn, "DROP TABLE leaf_of, child, " TABLE);
}

/* ---- a live table ---- */

struct client {
    pthread_t thread;
    uint64_t seed;
    int failed; /* statements */
    int64_t waited_us_max;
    const int *stop; /* atomic */
};

/* Transactions that lock many rows in random order; those of one client never meet those of another. */
static void *lock_rows(void *context)
{
    struct client *client = context;
    struct pg_conn *mine = test_connect(false);
    struct os_random random;
    char sql[256];

    os_random_seed(&random, client->seed);
    while (__atomic_load_n(client->stop, __ATOMIC_RELAXED) == 0) {
        struct banyan_error why = BANYAN_ERROR_INIT;
        enum banyan_status st = pg_run(mine, "BEGIN", &why);

        for (int i = 0; i < 20 && st == BANYAN_OK; i++) {
            int64_t start_us = os_clock_monotonic_us(os_clock_real()), us;

            (void)snprintf(sql, sizeof(sql),
                           i % 2 == 0 ? "UPDATE " TABLE " SET a = a + 10 WHERE id = %d"
                                      : "SELECT FROM " TABLE " WHERE id = %d FOR UPDATE",
                           (int)(os_random_below(&random, 5000) * 4 + client->seed + 1));
            st = pg_run(mine, sql, &why);
            us = os_clock_monotonic_us(os_clock_real()) - start_us;
            client->waited_us_max = us > client->waited_us_max ? us : client->waited_us_max;
        }
        if (st == BANYAN_OK)
            st = pg_run(mine, "COMMIT", &why);
        if (st == BANYAN_OK)
            continue;
        client->failed++;
        fprintf(stderr, "# a client's statement failed: %s\n", why.message);
        if (pg_run(mine, "ROLLBACK", NULL) != BANYAN_OK)
            break;
    }
    pg_close(mine);
    return NULL;
}

static void under_load(const char *deadlock_timeout)
{
    struct client clients[4];
    struct books_step step = {0};
    struct told told = {0};
    int stop = 0;
    char sql[128];

    make_table(20000);
    test_run(conn, "CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
                   " $$ BEGIN NEW.b := NEW.a + 1; RETURN NEW; END $$;"
                   "CREATE TRIGGER \"~hold\" BEFORE INSERT OR UPDATE ON " TABLE
                   " FOR EACH ROW EXECUTE FUNCTION hold(); ALTER TABLE " TABLE " ENABLE ALWAYS TRIGGER \"~hold\"");
    (void)snprintf(sql, sizeof(sql), "ALTER SYSTEM SET deadlock_timeout = '%s'", deadlock_timeout);
    test_run(conn, sql);
    test_run(conn, "SELECT pg_reload_conf()");
    test_wait_value(conn, "SELECT current_setting('deadlock_timeout')", deadlock_timeout);
    for (size_t i = 0; i < 4; i++) {
        clients[i] = (struct client){.seed = i, .stop = &stop};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, lock_rows, &clients[i]), 0);
    }
    test_run(other, "BEGIN; SELECT FROM " TABLE " WHERE id = 19999 FOR UPDATE; SELECT pg_sleep(0.3); COMMIT");
    run_ok(&fill, &step, &told);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
        assert_int_equal(clients[i].failed, 0);
        fprintf(stderr, "# longest statement of client %zu: %.1f ms\n", i, (double)clients[i].waited_us_max / 1e3);
        assert_true(clients[i].waited_us_max < 5000000); /* it is measured by bench_migrate; here others run beside */
    }
    all_filled("20000");
    test_value_is(conn, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()", "0");
    test_run(conn, "ALTER SYSTEM RESET deadlock_timeout");
    test_run(conn, "SELECT pg_reload_conf()");
}

static void test_no_deadlock(void **state)
{
    (void)state;
    under_load("1s");
}

static void test_no_deadlock_where_they_are_found_soon(void **state)
{
    (void)state;
    under_load("10ms");
}

/* ---- set-up ---- */

static int up(void **state)
{
    (void)state;
    conn = test_connect(false);
    watch = test_connect(false);
    other = test_connect(false);
    banyan_error_clear(&err);
    OK(books_prepare(conn, &err));
    test_run(conn, "INSERT INTO banyan.schema_migrations (version, description, state, rollback_script, tables, source,"
                   " plan) VALUES ('v1', '', 'backfilling', '', '[]', '', '');"
                   "INSERT INTO banyan.schema_migration_steps (version, number, phase, name, title)"
                   " VALUES ('v1', 0, 'backfill', 'fill', '')");
    return 0;
}

static int down(void **state)
{
    (void)state;
    pg_close(conn);
    pg_close(watch);
    pg_close(other);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fills),
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_bad_value),
        cmocka_unit_test(test_held_row),
        cmocka_unit_test(test_held_by_a_prepared_transaction),
        cmocka_unit_test(test_held_table),
        cmocka_unit_test(test_rewritten_meanwhile),
        cmocka_unit_test(test_swapped_meanwhile),
        cmocka_unit_test(test_dropped_meanwhile),
        cmocka_unit_test(test_paused_and_resumed),
        cmocka_unit_test(test_user_triggers_do_not_fire),
        cmocka_unit_test(test_kept_values),
        cmocka_unit_test(test_foreign_key_is_checked),
        cmocka_unit_test(test_row_level_security),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_no_deadlock),
        cmocka_unit_test(test_no_deadlock_where_they_are_found_soon),
    };

    return cmocka_run_group_tests(tests, up, down);
}
