/* SPDX-License-Identifier: Apache-2.0 */
/* src/migrate/books*.c on a real server: tables made by many at once, by who may not, adopted histories, marks. */
#include "books_test.h"
#include "os/thread.h"
#include "support/every_step.h"

enum {
    THREADS = 8,
};

static struct pg_conn *connect_weak(void)
{
    char conninfo[512];
    struct pg_options options = {.conninfo = conninfo, .application_name = "the weak one"};
    struct pg_conn *ret = NULL;

    (void)snprintf(conninfo, sizeof(conninfo), "%s user=weak", getenv("BANYAN_TEST_CONNINFO"));
    OK(pg_connect(&options, &ret, &err));
    return ret;
}

static int fresh(void **state)
{
    conn = connect_as("books test");
    OK(pg_run(conn,
              "DROP SCHEMA IF EXISTS banyan CASCADE; DROP TABLE IF EXISTS public.schema_migrations;"
              "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'weak') THEN CREATE ROLE weak LOGIN; "
              "END IF; END $$; REVOKE CREATE ON DATABASE postgres FROM weak",
              &err));
    return 0;
}

static int done(void **state)
{
    pg_close(conn);
    banyan_arena_release(&arena);
    return 0;
}

/* ---- tables ---- */

static void prepare(void *argument)
{
    struct pg_conn *own = connect_as("books test");
    struct banyan_error err = BANYAN_ERROR_INIT;

    for (int i = 0; i < 20 && *(enum banyan_status *)argument == BANYAN_OK; i++)
        *(enum banyan_status *)argument = books_prepare(own, &err);
    if (err.status != BANYAN_OK)
        (void)printf("# %s\n", err.message);
    pg_close(own);
}

static void test_made_by_many(void **state)
{
    for (int round = 0; round < 5; round++) {
        enum banyan_status results[THREADS] = {BANYAN_OK};
        struct os_thread threads[THREADS] = {{.started = false}};

        OK(pg_run(conn, "DROP SCHEMA IF EXISTS banyan CASCADE", &err));
        for (int i = 0; i < THREADS; i++)
            os_thread_start(&threads[i], "prepare", prepare, &results[i]);
        for (int i = 0; i < THREADS; i++) {
            os_thread_join(&threads[i]);
            assert_int_equal(results[i], BANYAN_OK);
        }
    }
    assert_int_equal(number("SELECT count(*) FROM pg_class WHERE relnamespace = 'banyan'::regnamespace "
                            "AND relkind = 'r'"),
                     2);
}

static void expect_hint(struct pg_conn *weak, const char *hint)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    assert_int_equal(books_prepare(weak, &err), BANYAN_PRIVILEGE);
    assert_non_null(strstr(err.hint, hint));
}

/* Each hint, followed, leads to the next one. */
static void test_no_right(void **state)
{
    struct pg_conn *weak = connect_weak();
    struct books_migration *list;
    size_t count = 1;

    expect_hint(weak, "GRANT CREATE ON DATABASE \"postgres\" TO \"weak\"");
    OK(books_list(weak, &arena, &list, &count, &err)); /* nothing there is no failure */
    assert_int_equal(count, 0);
    OK(pg_run(conn, "CREATE SCHEMA banyan", &err));
    expect_hint(weak, "GRANT USAGE, CREATE ON SCHEMA banyan TO \"weak\"");
    OK(books_prepare(conn, &err));
    expect_hint(weak, "GRANT SELECT, INSERT, UPDATE, DELETE ON banyan.schema_migrations");
    OK(pg_run(conn,
              "GRANT USAGE, CREATE ON SCHEMA banyan TO weak; GRANT SELECT, INSERT, UPDATE, DELETE ON "
              "banyan.schema_migrations, banyan.schema_migration_steps TO weak",
              &err));
    OK(books_prepare(weak, &err));
    OK(pg_run(conn, "DROP SCHEMA banyan CASCADE; GRANT CREATE ON DATABASE postgres TO weak", &err));
    OK(books_prepare(weak, &err));
    pg_close(weak);
    OK(pg_run(conn, "DROP SCHEMA banyan CASCADE", &err));
}

/* ---- adoption ---- */

static void test_adopted(void **state)
{
    struct books_migration *list;
    struct every_step every;
    size_t count;

    OK(pg_run(
        conn,
        "CREATE TABLE public.schema_migrations (version varchar(50) PRIMARY KEY, description text, "
        "applied_at timestamp DEFAULT now(), applied_by varchar(100), execution_time_ms integer, "
        "rollback_script text);"
        "INSERT INTO public.schema_migrations VALUES ('001', 'first', '2024-01-02 03:04:05', 'ann', 17, 'DROP x'),"
        "('002', NULL, '2024-01-03', NULL, NULL, NULL)",
        &err));
    OK(books_prepare(conn, &err));
    OK(pg_run(conn, "INSERT INTO public.schema_migrations VALUES ('003', 'later')", &err));
    OK(books_prepare(conn, &err)); /* once */
    OK(books_list(conn, &arena, &list, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(list[0].version.data, "001");
    assert_string_equal(list[0].description.data, "first");
    assert_string_equal(list[0].applied_by.data, "ann");
    assert_int_equal(list[0].state, BOOKS_DONE);
    assert_int_equal(list[0].execution_ms, 17);
    assert_int_equal(list[0].applied_us, INT64_C(1704164645000000));
    assert_string_equal(list[1].version.data, "002");
    every_step_init(&every, "001"); /* applied is applied */
    assert_int_equal(books_start(conn, &every.migration, &every.plan, NULL), BANYAN_CONFLICT);
    every_step_release(&every);
}

static void test_adopted_forms(void **state)
{
    static const char *const forms[] = {
        "version bigint, description text, applied_at timestamptz, execution_time interval",
        "version text, description text, applied_at date, execution_time numeric",
        "version text, description text, applied_at timestamptz, execution_time_ms text",
    };
    static const char *const rows[] = {"7, 'd', now(), '1.5 s'", "'7', 'd', now(), 1500", "'7', 'd', now(), 'long'"};
    static const int64_t times[] = {1500, 1500, 0};

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        char sql[512];

        (void)snprintf(sql, sizeof(sql),
                       "DROP SCHEMA IF EXISTS banyan CASCADE; DROP TABLE IF EXISTS public.schema_migrations;"
                       "CREATE TABLE public.schema_migrations (%s); INSERT INTO public.schema_migrations VALUES (%s)",
                       forms[i], rows[i]);
        OK(pg_run(conn, sql, &err));
        OK(books_prepare(conn, &err));
        assert_int_equal(number("SELECT count(*) FROM banyan.schema_migrations WHERE version = '7'"), 1);
        assert_int_equal(number("SELECT execution_time_ms FROM banyan.schema_migrations"), times[i]);
    }
    /* Another tool's table of that name is not ours to read. */
    OK(pg_run(conn,
              "DROP SCHEMA banyan CASCADE; DROP TABLE public.schema_migrations;"
              "CREATE TABLE public.schema_migrations (version varchar PRIMARY KEY);"
              "INSERT INTO public.schema_migrations VALUES ('2024')",
              &err));
    OK(books_prepare(conn, &err));
    assert_int_equal(number("SELECT count(*) FROM banyan.schema_migrations"), 0);
}

/* ---- a migration ---- */

static void test_start_and_marks(void **state)
{
    struct every_step every;
    struct books_migration books;
    struct plan plan;
    struct books_step step = {.state = BOOKS_STEP_RUNNING,
                              .tries = 3,
                              .pass = 2,
                              .page = 77,
                              .pages = 99,
                              .rows = 12,
                              .message = BANYAN_STR("it waits")};

    OK(books_prepare(conn, &err));
    assert_int_equal(books_read(conn, BANYAN_STR("v1"), &arena, &books, NULL), BANYAN_NOT_FOUND);
    every_step_init(&every, "v1");
    OK(books_start(conn, &every.migration, &every.plan, &err));
    OK(books_step(conn, BANYAN_STR("v1"), 3, &step, &err));
    OK(books_state(conn, BANYAN_STR("v1"), BOOKS_BACKFILLING, &err));
    OK(books_pause(conn, BANYAN_STR("v1"), true, &err));
    OK(books_worked(conn, BANYAN_STR("v1"), 40, &err));
    OK(books_worked(conn, BANYAN_STR("v1"), 2, &err));
    OK(books_read(conn, BANYAN_STR("v1"), &arena, &books, &err));
    assert_int_equal(books.state, BOOKS_BACKFILLING);
    assert_true(books.paused);
    assert_int_equal(books.execution_ms, 42);
    assert_memory_equal(books.checksum, every.migration.checksum, 32);
    assert_string_equal(books.source.data, every.migration.source.data);
    assert_string_equal(books.applied_by.data, "postgres");
    assert_int_equal(books.step_count, every.plan.step_count);
    assert_int_equal(books.steps[2].state, BOOKS_STEP_OPEN);
    assert_int_equal(books.steps[3].state, BOOKS_STEP_RUNNING);
    assert_int_equal(books.steps[3].page, 77);
    assert_int_equal(books.steps[3].pages, 99);
    assert_int_equal(books.steps[3].rows, 12);
    assert_int_equal(books.steps[3].pass, 2);
    assert_int_equal(books.steps[3].tries, 3);
    assert_string_equal(books.steps[3].message.data, "it waits");
    assert_true(books.steps[3].started_us > INT64_C(1700000000000000));
    assert_int_equal(books.steps[3].ended_us, 0);
    assert_non_null(strstr(books.rollback_script.data, "DROP INDEX CONCURRENTLY IF EXISTS \"public\".\"t_b\";"));
    assert_null(strstr(books.rollback_script.data, "_kept_a TO _kept"));
    OK(plan_read(books.plan, &arena, &plan, &err));
    assert_int_equal(plan.step_count, every.plan.step_count);
    /* Times that are there stay as they are. */
    step = books.steps[3];
    step.state = BOOKS_STEP_DONE;
    OK(books_step(conn, BANYAN_STR("v1"), 3, &step, &err));
    OK(books_read(conn, BANYAN_STR("v1"), &arena, &books, &err));
    assert_int_equal(books.steps[3].started_us, step.started_us);
    assert_true(books.steps[3].ended_us >= step.started_us);
    assert_int_equal(books_step(conn, BANYAN_STR("v1"), 99, &step, NULL), BANYAN_NOT_FOUND);
    assert_int_equal(books_state(conn, BANYAN_STR("no"), BOOKS_READY, NULL), BANYAN_NOT_FOUND);
    every_step_release(&every);
}

static void test_conflicts(void **state)
{
    struct every_step every, other;
    struct books_migration books;
    struct banyan_error why = BANYAN_ERROR_INIT;

    OK(books_prepare(conn, &err));
    every_step_init(&every, "v1");
    every_step_init(&other, "v2");
    OK(books_start(conn, &every.migration, &every.plan, &err));
    assert_int_equal(books_start(conn, &every.migration, &every.plan, &why), BANYAN_CONFLICT);
    assert_non_null(strstr(why.hint, "resume v1"));
    banyan_error_clear(&why);
    assert_int_equal(books_start(conn, &other.migration, &other.plan, &why), BANYAN_CONFLICT);
    assert_non_null(strstr(why.message, "migration v1 is not finished (started)"));
    banyan_error_clear(&why);
    /* An edited file. */
    every.migration.source = BANYAN_STR("-- one\nALTER TABLE t ADD x int;\n");
    every.migration.checksum[0]++;
    assert_int_equal(books_start(conn, &every.migration, &every.plan, &why), BANYAN_CONFLICT);
    assert_non_null(strstr(why.detail, "-ALTER TABLE t;\n+ALTER TABLE t ADD x int;\n"));
    banyan_error_clear(&why);
    OK(books_read(conn, BANYAN_STR("v1"), &arena, &books, &err));
    assert_int_equal(books_same(&books, &every.migration, &why), BANYAN_MISMATCH);
    assert_non_null(strstr(why.detail, "--- as it was started\n+++ as it is now\n@@ -1,2 +1,2 @@\n -- one\n"));
    banyan_error_clear(&why);
    /* Completed counts while something is kept; done does not; rolled back makes room, also for an edited file. */
    OK(books_state(conn, BANYAN_STR("v1"), BOOKS_COMPLETED, &err));
    assert_int_equal(books_start(conn, &other.migration, &other.plan, &why), BANYAN_CONFLICT);
    assert_non_null(strstr(why.hint, "cleanup v1"));
    banyan_error_clear(&why);
    OK(books_state(conn, BANYAN_STR("v1"), BOOKS_ROLLED_BACK, &err));
    OK(books_start(conn, &every.migration, &every.plan, &err));
    OK(books_state(conn, BANYAN_STR("v1"), BOOKS_DONE, &err));
    OK(books_start(conn, &other.migration, &other.plan, &err));
    every_step_release(&other);
    every_step_release(&every);
}

static void test_lock(void **state)
{
    struct pg_conn *other = connect_as("books test");
    struct banyan_error why = BANYAN_ERROR_INIT;
    char pid[32];

    OK(books_lock(conn, &err));
    assert_int_equal(books_lock(other, &why), BANYAN_BUSY);
    (void)snprintf(pid, sizeof(pid), "pid %d (books test", pg_backend_pid(conn));
    assert_non_null(strstr(why.message, pid));
    pg_close(conn);
    conn = connect_as("books test");
    for (int i = 0; i < 500 && books_lock(other, NULL) != BANYAN_OK; i++)
        OK(pg_run(conn, "SELECT pg_sleep(0.01)", &err));
    assert_int_equal(books_lock(conn, NULL), BANYAN_BUSY);
    pg_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_by_many, fresh, done),
        cmocka_unit_test_setup_teardown(test_no_right, fresh, done),
        cmocka_unit_test_setup_teardown(test_adopted, fresh, done),
        cmocka_unit_test_setup_teardown(test_adopted_forms, fresh, done),
        cmocka_unit_test_setup_teardown(test_start_and_marks, fresh, done),
        cmocka_unit_test_setup_teardown(test_conflicts, fresh, done),
        cmocka_unit_test_setup_teardown(test_lock, fresh, done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
