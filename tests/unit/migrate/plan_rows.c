/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows under somebody else's writes: UPDATE in batches touches each row once, and its rollback leaves alone what others
 * wrote since; a partition is attached beside a default one while others insert, and nobody's statement fails.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "migrate/run.h"

static struct pg_conn *conn;

static void run(const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (pg_run(conn, sql, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
}

static int64_t ask(const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    int64_t value;

    if (pg_exec(conn, sql, NULL, 0, &result, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
    value = pg_int(result, 0, 0);
    pg_result_free(result);
    return value;
}

static struct run_options options_of(void)
{
    return (struct run_options){.conninfo = getenv("BANYAN_TEST_CONNINFO")};
}

static void start(const char *path, const char *source)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct run_options options = options_of();
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct migration *migration = NULL;
    struct catalog *catalog = NULL;
    struct plan plan;

    if (migration_parse(path, banyan_str_of(source), &migration, &err) != BANYAN_OK ||
        catalog_open(conn, &catalog, &err) != BANYAN_OK ||
        plan_make(migration, catalog, &arena, &plan, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    if (plan.refusal_count > 0)
        fail_msg("%.*s", (int)plan.refusals[0].size, plan.refusals[0].data);
    if (run_start(&options, migration, &plan, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    catalog_free(catalog);
    migration_free(migration);
    banyan_arena_release(&arena);
}

static void roll_back(const char *version)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct run_options options = options_of();

    if (run_rollback(&options, banyan_str_of(version), &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void what_others_wrote_stays(void **state)
{
    (void)state;
    run("CREATE TABLE acc (\"I d\" int PRIMARY KEY, v numeric(10,2), j json)");
    run("INSERT INTO acc SELECT i, i, '{}' FROM generate_series(1, 5000) i");
    start("11_update.sql", "UPDATE acc SET v = v * 1.5 + 0.005, j = '[1]' WHERE \"I d\" <= 4000");
    assert_int_equal(ask("SELECT count(*) FROM acc WHERE \"I d\" <= 4000 AND v = round(\"I d\" * 1.5 + 0.005, 2) AND "
                         "j::text = '[1]'"),
                     4000);
    run("UPDATE acc SET v = -1 WHERE \"I d\" = 7");
    run("DELETE FROM acc WHERE \"I d\" = 8");
    run("INSERT INTO acc VALUES (9001, 1, '{}')");
    roll_back("11");
    assert_int_equal(ask("SELECT count(*) FROM acc WHERE \"I d\" <= 5000 AND v = \"I d\" AND j::text = '{}'"), 4998);
    assert_int_equal(ask("SELECT v FROM acc WHERE \"I d\" = 7"), -1);
    assert_int_equal(ask("SELECT count(*) FROM acc WHERE \"I d\" = 8"), 0);
    assert_int_equal(ask("SELECT count(*) FROM acc WHERE \"I d\" = 9001 AND v = 1"), 1);
    assert_int_equal(ask("SELECT count(*) FROM pg_class WHERE relname LIKE 'kept_%'"), 0);
}

static void inserted_rows_go_and_others_stay(void **state)
{
    (void)state;
    run("CREATE TABLE lst (id serial PRIMARY KEY, t text)");
    run("INSERT INTO lst (t) VALUES ('old')");
    start("12_insert.sql", "INSERT INTO lst (t) VALUES ('a'), ('b'); INSERT INTO lst (t) SELECT 'c'");
    run("INSERT INTO lst (t) VALUES ('mine')");
    assert_int_equal(ask("SELECT count(*) FROM lst"), 5);
    roll_back("12");
    assert_int_equal(ask("SELECT count(*) FROM lst WHERE t IN ('old', 'mine')"), 2);
    assert_int_equal(ask("SELECT count(*) FROM lst"), 2);
}

static void a_value_is_computed_for_each_row(void **state)
{
    (void)state;
    run("CREATE TABLE tokens (id int PRIMARY KEY, old uuid); INSERT INTO tokens SELECT generate_series(1, 3000)");
    start("18_uuid.sql", "-- banyan: backfill tokens.token = gen_random_uuid()\n"
                         "-- banyan: backfill tokens.old = gen_random_uuid()\n"
                         "ALTER TABLE tokens ADD COLUMN token uuid NOT NULL UNIQUE");
    run("INSERT INTO tokens SELECT generate_series(3001, 3010)");
    assert_int_equal(ask("SELECT count(DISTINCT token) FROM tokens"), 3010);
    assert_int_equal(ask("SELECT count(DISTINCT old) FROM tokens"), 3000);
    roll_back("18");
}

/* Rows of children do not meet the trigger of their parent: each has its own.  And the table may be called t. */
static void children_by_inheritance_are_filled(void **state)
{
    (void)state;
    run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE kid () INHERITS (t); CREATE TABLE grandkid () INHERITS "
        "(kid, t); INSERT INTO t SELECT generate_series(1, 500); INSERT INTO kid SELECT generate_series(1, 400); "
        "INSERT INTO grandkid SELECT generate_series(1, 300)");
    start("22_kids.sql", "-- banyan: backfill t.a = id + 1\nALTER TABLE t ADD COLUMN a int NOT NULL");
    run("INSERT INTO t VALUES (1001); INSERT INTO kid VALUES (1001); INSERT INTO grandkid VALUES (1001)");
    assert_int_equal(ask("SELECT count(*) FROM t WHERE a = id + 1"), 1203);
    roll_back("22");
    assert_int_equal(ask("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%banyan%'"), 0);
    run("DROP TABLE t CASCADE");
}

/* A trigger that fails would fail whatever old code writes: refused before there is one. */
static void a_value_that_cannot_be_assigned_is_refused(void **state)
{
    static const struct {
        const char *type, *value, *why;
        const char *before; /* another change of the same table, above it */
    } given[] = {
        {"int", "b", "gives text, which is not assigned to int without a cast", ""},
        {"int", "b", "gives text, which is not assigned to int without a cast", "ADD COLUMN z int, "},
        {"int", "z", "gives uuid, which is not assigned to int without a cast", "ADD COLUMN z uuid, "},
        {"int", "z", "gives uuid, which is not assigned to int without a cast",
         "ADD COLUMN z uuid, ALTER b TYPE varchar, "},
        {"int", "nothing", "\"nothing\" does not exist", "ADD COLUMN z int, "},
        {"uuid", "'0'", "gives text, which is not assigned to uuid without a cast", ""},
        {"int", "count(*)", "aggregate functions are not allowed", ""},
        {"int", "rank() OVER ()", "window functions are not allowed", ""},
        {"int", "generate_series(1, 2)", "set-returning functions are not allowed", ""},
        {"tid", "ctid", "\"ctid\" does not exist", ""},
        {"int", "nothing", "\"nothing\" does not exist", ""},
        {"smallint", "id * 1000", "smallint out of range", ""},
        {"smallint", "id + 1 -- said so", "", ""},
    };

    (void)state;
    run("CREATE TABLE given (id int PRIMARY KEY, b text); INSERT INTO given SELECT g, 'x' FROM generate_series(1, 99) "
        "g");
    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct run_options options = options_of();
        struct banyan_arena arena = BANYAN_ARENA_INIT;
        struct migration *migration = NULL;
        struct catalog *catalog = NULL;
        struct plan plan = {.refusal_count = 0};
        struct banyan_str source = banyan_arena_printf(
            &arena, "-- banyan: backfill given.c = %s\nALTER TABLE given %sADD COLUMN c %s NOT NULL", given[i].value,
            given[i].before, given[i].type);

        if (migration_parse("19_given.sql", source, &migration, &err) != BANYAN_OK ||
            catalog_open(conn, &catalog, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        if (plan_make(migration, catalog, &arena, &plan, &err) == BANYAN_OK) {
            if (plan.refusal_count > 0)
                (void)snprintf(err.message, sizeof(err.message), "%.*s", (int)plan.refusals[0].size,
                               plan.refusals[0].data);
            else
                (void)!run_start(&options, migration, &plan, &err); /* what it says is looked at */
        }
        if (given[i].why[0] == '\0' ? err.message[0] != '\0' : strstr(err.message, given[i].why) == NULL)
            fail_msg("%s: %s", given[i].value, err.message);
        if (given[i].why[0] != '\0')
            run("INSERT INTO given VALUES (1000, 'y'); DELETE FROM given WHERE id = 1000");
        catalog_free(catalog);
        migration_free(migration);
        banyan_arena_release(&arena);
    }
    roll_back("19");
}

/* What the server does not have yet is not asked for. */
static void a_value_may_need_what_is_made_above(void **state)
{
    (void)state;
    run("CREATE TABLE above (id int PRIMARY KEY, b text); INSERT INTO above SELECT g, 'x' FROM generate_series(1, 99) "
        "g");
    start("23_above.sql", "CREATE FUNCTION plus(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';\n"

                          "-- banyan: backfill above.z = id\n"
                          "-- banyan: backfill above.c = plus(z)\n"
                          "-- banyan: backfill above.d = z\n"
                          "ALTER TABLE above ADD COLUMN z int NOT NULL, ADD COLUMN c int NOT NULL, "
                          "ADD COLUMN d bigint NOT NULL");
    run("INSERT INTO above VALUES (100)");
    assert_int_equal(ask("SELECT count(*) FROM above WHERE c = id + 1 AND d = id"), 100);
    roll_back("23");
    run("DROP TABLE above");
}

/* Rows that were written without the trigger would have their old value behind the swap. */
static void a_trigger_that_was_off_stops_complete(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct run_options options = options_of();

    (void)state;
    run("CREATE TABLE off (id int PRIMARY KEY, a int); INSERT INTO off SELECT g, g FROM generate_series(1, 99) g");
    start("21_off.sql", "ALTER TABLE off ALTER COLUMN a TYPE bigint");
    run("ALTER TABLE off DISABLE TRIGGER ALL; UPDATE off SET a = -1 WHERE id = 7; ALTER TABLE off ENABLE TRIGGER ALL");
    assert_int_equal(run_complete(&options, BANYAN_STR("21"), &err), BANYAN_NOT_MET);
    assert_non_null(strstr(err.message, "switched off"));
    roll_back("21");
    start("21_off.sql", "ALTER TABLE off ALTER COLUMN a TYPE bigint");
    run("UPDATE off SET a = -2 WHERE id = 8");
    assert_int_equal(run_complete(&options, BANYAN_STR("21"), &err), BANYAN_OK);
    assert_int_equal(ask("SELECT sum(a) FROM off WHERE id IN (7, 8)"), -3);
}

/* What somebody dropped by hand is passed over where that is allowed, or the migration would be in the way for ever. */
static void what_is_gone_can_be_passed_over(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct run_options options = options_of();

    (void)state;
    run("CREATE TABLE gone (id int PRIMARY KEY, a int)");
    start("22_gone.sql", "ALTER TABLE gone ALTER COLUMN a TYPE bigint USING a::bigint + 1");
    run("DROP TABLE gone");
    assert_int_not_equal(run_rollback(&options, BANYAN_STR("22"), &err), BANYAN_OK);
    assert_non_null(strstr(err.hint, "--allow 22"));
    options.allow = true;
    assert_int_equal(run_rollback(&options, BANYAN_STR("22"), &err), BANYAN_OK);
    run("CREATE TABLE gone (id int PRIMARY KEY, a int)");
    start("22_gone.sql", "ALTER TABLE gone ALTER COLUMN a TYPE bigint USING a::bigint + 1");
    roll_back("22");
}

/* Killed while DETACH CONCURRENTLY waits for a reader: the partition is pending, which only FINALIZE ends. */
static void a_detach_half_way_is_rolled_back(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO")};
    struct pg_conn *reader = NULL;

    (void)state;
    run("CREATE TABLE half (k int) PARTITION BY RANGE (k);"
        "CREATE TABLE half_1 PARTITION OF half FOR VALUES FROM (0) TO (100); INSERT INTO half VALUES (7)");
    start("23_half.sql", "ALTER TABLE half DETACH PARTITION half_1");
    assert_int_equal(pg_connect(&options, &reader, &err), BANYAN_OK);
    assert_int_equal(pg_run(reader, "BEGIN; SELECT FROM half", &err), BANYAN_OK);
    run("SET lock_timeout = '100ms'");
    assert_int_not_equal(pg_run(conn, "ALTER TABLE half DETACH PARTITION half_1 CONCURRENTLY", NULL), BANYAN_OK);
    run("SET lock_timeout = 0");
    pg_close(reader);
    assert_int_equal(ask("SELECT count(*) FROM pg_inherits WHERE inhdetachpending"), 1);
    run("UPDATE banyan.schema_migrations SET state = 'contracting' WHERE version = '23'");
    run("UPDATE banyan.schema_migration_steps SET state = 'running' WHERE version = '23' AND number = "
        "(SELECT min(number) FROM banyan.schema_migration_steps WHERE version = '23')");
    roll_back("23");
    assert_int_equal(
        ask("SELECT count(*) FROM pg_inherits WHERE inhparent = 'half'::regclass AND NOT inhdetachpending"), 1);
    assert_int_equal(ask("SELECT count(*) FROM half"), 1);
}

static void an_enum_value_stays(void **state)
{
    (void)state;
    run("CREATE TYPE \"Mo od\" AS ENUM ('a', 'c')");
    start("14_enum.sql", "ALTER TYPE \"Mo od\" ADD VALUE 'it''s' BEFORE 'c'");
    assert_int_equal(ask("SELECT count(*) FROM pg_enum WHERE enumlabel = 'it''s' AND enumtypid = '\"Mo od\"'::regtype"),
                     1);
    roll_back("14");
    start("15_enum.sql", "ALTER TYPE \"Mo od\" ADD VALUE 'it''s'");
    assert_int_equal(ask("SELECT count(*) FROM pg_enum WHERE enumtypid = '\"Mo od\"'::regtype"), 3);
}

/* ---- inserts meanwhile ---- */

struct inserting {
    atomic_bool stop;
    atomic_uint rows, failed;
};

static void *insert(void *context)
{
    struct inserting *inserting = context;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO")};
    struct pg_conn *own = NULL;

    if (pg_connect(&options, &own, &err) != BANYAN_OK) {
        atomic_fetch_add(&inserting->failed, 1);
        return NULL;
    }
    for (unsigned i = 0; !atomic_load(&inserting->stop); i++) {
        char sql[128];

        (void)snprintf(sql, sizeof(sql), "INSERT INTO pm VALUES (%u, %u)", i % 2 == 0 ? i % 100 : 5000 + i % 100, i);
        if (pg_run(own, sql, &err) == BANYAN_OK)
            atomic_fetch_add(&inserting->rows, 1);
        else if (atomic_fetch_add(&inserting->failed, 1) == 0)
            (void)fprintf(stderr, "# %s: %s\n", sql, err.message);
    }
    pg_close(own);
    return NULL;
}

static void attach_beside_a_default_partition(void **state)
{
    struct inserting inserting = {.stop = false};
    pthread_t thread;

    (void)state;
    run("CREATE TABLE pm (k int NOT NULL, v int) PARTITION BY RANGE (k)");
    run("CREATE TABLE pm1 PARTITION OF pm FOR VALUES FROM (0) TO (100)");
    run("CREATE TABLE pmd PARTITION OF pm DEFAULT");
    run("INSERT INTO pm SELECT 5000 + i % 1000, i FROM generate_series(1, 200000) i");
    run("CREATE TABLE pmn (k int NOT NULL, v int)");
    run("INSERT INTO pmn SELECT 100 + i % 100, i FROM generate_series(1, 200000) i");
    run("CREATE INDEX ON pm (v)");
    run("ANALYZE");
    assert_int_equal(pthread_create(&thread, NULL, insert, &inserting), 0);
    start("13_attach.sql", "ALTER TABLE pm ATTACH PARTITION pmn FOR VALUES FROM (100) TO (200)");
    assert_int_equal(ask("SELECT count(*) FROM pm WHERE k BETWEEN 100 AND 199"), 200000);
    run("INSERT INTO pm VALUES (150, -1)");
    assert_int_equal(ask("SELECT count(*) FROM pg_constraint WHERE contype <> 'n' AND conrelid IN "
                         "('pmn'::regclass, 'pmd'::regclass)"),
                     0);
    roll_back("13");
    atomic_store(&inserting.stop, true);
    (void)pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&inserting.failed), 0);
    assert_true(atomic_load(&inserting.rows) > 0);
    assert_int_equal(ask("SELECT count(*) FROM pm"), 200000 + atomic_load(&inserting.rows));
    assert_int_equal(ask("SELECT count(*) FROM pmn"), 200001);
    assert_int_equal(ask("SELECT count(*) FROM pg_index WHERE indrelid = 'pmn'::regclass"), 0);
}

static int prepare(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO")};

    (void)state;
    return pg_connect(&options, &conn, &err) == BANYAN_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    pg_close(conn);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_others_wrote_stays),
        cmocka_unit_test(inserted_rows_go_and_others_stay),
        cmocka_unit_test(a_value_is_computed_for_each_row),
        cmocka_unit_test(children_by_inheritance_are_filled),
        cmocka_unit_test(a_value_that_cannot_be_assigned_is_refused),
        cmocka_unit_test(a_value_may_need_what_is_made_above),
        cmocka_unit_test(a_trigger_that_was_off_stops_complete),
        cmocka_unit_test(what_is_gone_can_be_passed_over),
        cmocka_unit_test(a_detach_half_way_is_rolled_back),
        cmocka_unit_test(an_enum_value_stays),
        cmocka_unit_test(attach_beside_a_default_partition),
    };

    return cmocka_run_group_tests(tests, prepare, end);
}
