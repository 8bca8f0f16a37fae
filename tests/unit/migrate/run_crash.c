/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches whose commit does not wait for the disk, and a server that is stopped at once: what was not written is lost,
 * rows together with the place in the books and with the kept values; then it is done again, once.
 *
 * The server's writer is made slow, so that something is lost.
 */
#include <unistd.h>

#include "books_test.h"
#include "migrate/run.h"
#include "os/clock.h"

enum {
    CRASHES = 3,
    UP_TRIES = 200,
};

static void connect_up(void)
{
    pg_close(conn);
    conn = NULL; /* connecting may fail */
    conn = connect_as("crash test");
}

static void set_up(void)
{
    connect_up();
    OK(pg_run(conn, "DROP SCHEMA IF EXISTS banyan CASCADE; DROP TABLE IF EXISTS item", &err));
    OK(pg_run(conn, "ALTER SYSTEM SET wal_writer_delay = '10s'", &err));
    OK(pg_run(conn, "ALTER SYSTEM SET wal_writer_flush_after = '1GB'", &err));
    OK(pg_run(conn, "SELECT pg_reload_conf()", &err));
    OK(pg_run(conn,
              "CREATE TABLE item (id int PRIMARY KEY, n int NOT NULL, was int NOT NULL, filler text NOT NULL);"
              "INSERT INTO item SELECT i, i, i, repeat('x', 400) FROM generate_series(1, 12000) i;",
              &err));
}

static int done(void **state)
{
    OK(pg_run(conn, "ALTER SYSTEM RESET wal_writer_delay", &err));
    OK(pg_run(conn, "ALTER SYSTEM RESET wal_writer_flush_after", &err));
    pg_close(conn);
    conn = NULL;
    banyan_arena_release(&arena);
    return 0;
}

/* ---- crashes ---- */

struct crash {
    const char *rows_sql; /* how many are done */
    int64_t seen;         /* rows at the last crash */
    int count;
    int64_t lost; /* rows, by all crashes */
};

static const char place_sql[] = "SELECT max(rows) FROM banyan.schema_migration_steps";

static void stop_at_once(void *context, const char *place)
{
    struct crash *crash = context;
    char command[512];
    int64_t before, after;

    if (strcmp(place, "batch") != 0 || crash->count == CRASHES)
        return;
    before = number(crash->rows_sql);
    assert_int_equal(number(place_sql), before);
    if (before <= crash->seen) /* where it goes on it finds its place first */
        return;
    (void)snprintf(command, sizeof(command), "%s/ctl restart", getenv("BANYAN_TEST_PG")); /* fits */
    assert_int_equal(system(command), 0);
    connect_up();
    after = number(crash->rows_sql);
    assert_int_equal(number(place_sql), after);
    assert_true(after <= before);
    crash->lost += before - after;
    crash->seen = after;
    crash->count++;
}

static void migrate(const char *sql, struct crash *crash)
{
    struct run_hooks hooks = {.at = stop_at_once, .context = crash};
    struct run_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO"),
                                  .throttle = {.replica_lag_us_max = -1},
                                  .batch_us = 5000,
                                  .hooks = &hooks};
    struct migration *migration = NULL;
    struct catalog *catalog = NULL;
    struct plan plan = {.step_count = 0};

    OK(migration_parse("v1_crash.sql", banyan_str_of(sql), &migration, &err));
    OK(catalog_open(conn, &catalog, &err));
    OK(plan_make(migration, catalog, &arena, &plan, &err));
    OK(run_start(&options, migration, &plan, &err));
    catalog_free(catalog);
    migration_free(migration);
    connect_up();
    (void)printf("# %d crashes, %lld rows lost and done again\n", crash->count, (long long)crash->lost);
    assert_true(crash->count > 0);
    assert_true(crash->lost > 0);
}

static void test_filled(void **state)
{
    struct crash crash = {.rows_sql = "SELECT count(*) FROM item WHERE doubled IS NOT NULL"};

    set_up();
    migrate("-- banyan: backfill item.doubled = 2 * n\nALTER TABLE item ADD COLUMN doubled bigint;", &crash);
    assert_int_equal(number("SELECT count(*) FROM item WHERE doubled = 2 * was AND n = was"), 12000);
    assert_int_equal(number(place_sql), 12000);
}

/* Exactly once a row; what it was is kept, once. */
static void test_updated(void **state)
{
    struct crash crash = {.rows_sql = "SELECT count(*) FROM item WHERE n <> was"};

    set_up();
    migrate("UPDATE item SET n = n + 1;", &crash);
    assert_int_equal(number("SELECT count(*) FROM item WHERE n = was + 1"), 12000);
    assert_int_equal(number(place_sql), 12000);
    {
        struct run_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO"),
                                      .throttle = {.replica_lag_us_max = -1}};

        OK(run_rollback(&options, BANYAN_STR("v1_crash"), &err));
    }
    assert_int_equal(number("SELECT count(*) FROM item WHERE n = was"), 12000);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_filled, done),
        cmocka_unit_test_teardown(test_updated, done),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
