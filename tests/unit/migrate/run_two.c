/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two programs and one database: whoever comes second waits a moment, is told who is at work, and changes nothing; and
 * a program whose session was ended so that somebody else could go on does not go on as well.
 */
#include <unistd.h>

#include "os/thread.h"
#include "run_test.h"

static struct every_step other;

static int fresh_with_books(void **state)
{
    (void)fresh(state);
    OK(books_prepare(conn, &err));
    return 0;
}

static void fill(struct every_step *ret, const char *version, const char *table)
{
    struct plan_step *step;

    every_step_empty(ret, version);
    step = plan_add(&ret->work, PLAN_EXPAND, "add-column", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    plan_sql(&ret->work, &step->act,
             banyan_arena_printf(&ret->arena, "ALTER TABLE %s ADD COLUMN by_%s int", table, version).data);
    plan_sql(&ret->work, plan_undo(&ret->work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT),
             banyan_arena_printf(&ret->arena, "ALTER TABLE %s DROP COLUMN by_%s", table, version).data);
    ret->plan.tables = banyan_arena_zalloc(&ret->arena, sizeof(struct banyan_str));
    ret->plan.tables[0] = banyan_str_of(table);
    ret->plan.table_count = 1;
    ret->plan.steps[0].title = BANYAN_STR("a column");
}

/* ---- somebody took over ---- */

struct taker {
    const char *place;
    int times; /* until it happens there */
    enum books_state wanted;
    char *print; /* what the other one left behind */
};

/* As the message of a migrator that finds another one at work says. */
static void end_runner(void)
{
    OK(pg_run(conn,
              "SELECT pg_terminate_backend(l.pid, 10000) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted "
              "AND l.pid <> pg_backend_pid()",
              &err));
}

static void take_over(void *context, const char *place)
{
    struct taker *taker = context;
    struct run_options options = plain();

    if (strcmp(place, taker->place) != 0 || --taker->times != 0)
        return;
    end_runner();
    if (taker->wanted == BOOKS_ROLLED_BACK || taker->wanted == BOOKS_STARTED)
        OK(run_rollback(&options, BANYAN_STR("v1"), &err));
    if (taker->wanted == BOOKS_STARTED) { /* the same version, of fewer steps */
        fill(&other, "v1", "c");
        OK(run_start(&options, &other.migration, &other.plan, &err));
        every_step_release(&other);
    }
    if (taker->wanted == BOOKS_COMPLETED || taker->wanted == BOOKS_DONE) {
        OK(run_resume(&options, BANYAN_STR("v1"), &err));
        OK(run_complete(&options, BANYAN_STR("v1"), &err));
    }
    if (taker->wanted == BOOKS_DONE)
        OK(run_cleanup(&options, BANYAN_STR("v1"), &err));
    taker->print = strdup(text("SELECT string_agg(to_jsonb(m)::text || to_jsonb(s)::text, ',' ORDER BY s.number) "
                               "FROM banyan.schema_migrations m JOIN banyan.schema_migration_steps s USING (version)")
                              .data);
}

static void expect_left_alone(struct taker taker)
{
    struct run_hooks hooks = {.at = take_over, .context = &taker};
    struct run_options options = plain();
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status st;

    options.hooks = &hooks;
    (void)done(NULL);
    (void)fresh_with_books(NULL);
    st = run_start(&options, &every.migration, &every.plan, &why);
    if (taker.print == NULL)
        fail_msg("it never came to '%s'", taker.place);
    if (st != BANYAN_CONFLICT || strstr(why.message, "somebody else") == NULL)
        fail_msg("'%s' to %s: %d %s", taker.place, books_state_name(taker.wanted), (int)st, why.message);
    assert_string_equal(text("SELECT string_agg(to_jsonb(m)::text || to_jsonb(s)::text, ',' ORDER BY s.number) "
                             "FROM banyan.schema_migrations m JOIN banyan.schema_migration_steps s USING (version)")
                            .data,
                        taker.print);
    free(taker.print);
}

static void test_taken_over(void **state)
{
    static const struct {
        const char *place;
        int times;
    } places[] = {{"in the books", 1}, {"state", 1}, {"statement", 1},    {"before commit", 1},
                  {"after commit", 1}, {"batch", 1}, {"index begins", 1}, {"before mark", 2}};
    static const enum books_state states[] = {BOOKS_ROLLED_BACK, BOOKS_STARTED, BOOKS_COMPLETED, BOOKS_DONE};

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        for (size_t k = 0; k < sizeof(states) / sizeof(states[0]); k++)
            if (getenv("BANYAN_TEST_ALL") != NULL || i % 4 == k)
                expect_left_alone(
                    (struct taker){.place = places[i].place, .times = places[i].times, .wanted = states[k]});
}

/* ---- at the same time ---- */

enum deed { START_ALL, START_T, START_C, COMPLETE, ROLLBACK, PAUSE };
struct racer {
    enum deed deed;
    useconds_t after_us;
    struct os_thread thread;
    enum banyan_status st;
    struct banyan_error err;
};

static void race_start(struct racer *racer, const struct run_options *options, const char *version, const char *table)
{
    struct every_step own;

    if (table == NULL)
        every_step_init(&own, version);
    else
        fill(&own, version, table);
    racer->st = run_start(options, &own.migration, &own.plan, &racer->err);
    every_step_release(&own);
}

/* Until there is something to pause. */
static void race_pause(struct racer *racer)
{
    struct pg_options at = {.conninfo = getenv("BANYAN_TEST_CONNINFO"), .application_name = "pause"};
    struct pg_conn *own = NULL;

    OK(pg_connect(&at, &own, &err));
    for (int i = 0; i < 1000; i++) {
        banyan_error_clear(&racer->err);
        racer->st = books_pause(own, BANYAN_STR("v1"), true, &racer->err);
        if (racer->st != BANYAN_NOT_FOUND)
            break;
        usleep(1000);
    }
    pg_close(own);
}

static void race_one(void *argument)
{
    struct racer *racer = argument;
    struct run_options options = plain();

    usleep(racer->after_us);
    switch (racer->deed) {
    case START_ALL:
        race_start(racer, &options, "v1", NULL);
        break;
    case START_T:
        race_start(racer, &options, "v2", "t");
        break;
    case START_C:
        race_start(racer, &options, "v3", "p");
        break;
    case COMPLETE:
        racer->st = run_complete(&options, BANYAN_STR("v1"), &racer->err);
        break;
    case ROLLBACK:
        racer->st = run_rollback(&options, BANYAN_STR("v1"), &racer->err);
        break;
    case PAUSE:
        race_pause(racer);
    }
}

/* The two of *racers*; each of them did it, or ends with one of what *may* says.  How many did it. */
static int race(struct racer racers[2], const enum banyan_status may[3])
{
    int won = 0;

    for (int i = 0; i < 2; i++) {
        racers[i].st = BANYAN_OK;
        racers[i].err = (struct banyan_error)BANYAN_ERROR_INIT;
        os_thread_start(&racers[i].thread, "racer", race_one, &racers[i]);
    }
    for (int i = 0; i < 2; i++)
        os_thread_join(&racers[i].thread);
    for (int i = 0; i < 2; i++) {
        bool expected = racers[i].st == BANYAN_OK;

        for (int k = 0; k < 3; k++)
            expected = expected || racers[i].st == may[k];
        if (!expected)
            fail_msg("%d: %d %s (%s)", i, (int)racers[i].st, racers[i].err.message, racers[i].err.detail);
        if (racers[i].st != BANYAN_OK && racers[i].err.hint[0] == '\0')
            fail_msg("%s: what to do?", racers[i].err.message);
        won += racers[i].st == BANYAN_OK;
    }
    return won;
}

/* BANYAN_TEST_ALL=1: more often. */
static int rounds(int usual)
{
    return getenv("BANYAN_TEST_ALL") != NULL ? 5 * usual : usual;
}

static void again(void)
{
    (void)done(NULL);
    (void)fresh_with_books(NULL);
}

static void test_same_version(void **state)
{
    static const enum banyan_status may[3] = {BANYAN_CONFLICT, BANYAN_BUSY};
    struct banyan_str ready = {.data = NULL};

    for (int i = 0; i < rounds(2); i++) {
        struct racer racers[2] = {{.deed = START_ALL}, {.deed = START_ALL, .after_us = (useconds_t)(i % 10) * 2000}};

        again();
        assert_int_equal(race(racers, may), 1);
        assert_int_equal(state_of("v1"), BOOKS_READY);
        if (ready.data == NULL)
            ready = banyan_str_of(strdup(text(every_step_print).data));
        assert_string_equal(text(every_step_print).data, ready.data);
    }
    free((char *)ready.data);
}

static void test_same_table(void **state)
{
    static const enum banyan_status may[3] = {BANYAN_CONFLICT, BANYAN_BUSY};

    for (int i = 0; i < rounds(2); i++) {
        struct racer racers[2] = {{.deed = START_ALL}, {.deed = START_T, .after_us = (useconds_t)(i % 10) * 2000}};

        again();
        assert_int_equal(race(racers, may), 1);
        assert_string_equal(text("SELECT string_agg(state, ',') FROM banyan.schema_migrations").data, "ready");
        assert_string_equal(text("SELECT count(*) FROM pg_attribute WHERE attname IN ('b', 'by_v2') AND attrelid = "
                                 "'t'::regclass")
                                .data,
                            "1");
    }
}

static void test_other_table(void **state)
{
    static const enum banyan_status may[3] = {BANYAN_BUSY};
    struct racer racers[2] = {{.deed = START_ALL}, {.deed = START_C}};

    if (race(racers, may) == 1) { /* it waits a moment only: now it is alone */
        struct racer alone = {.deed = racers[0].st == BANYAN_OK ? START_C : START_ALL};

        race_one(&alone);
        assert_int_equal(alone.st, BANYAN_OK);
    }
    assert_string_equal(text("SELECT string_agg(state, ',') FROM banyan.schema_migrations").data, "ready,ready");
}

static void test_rollback_meanwhile(void **state)
{
    static const enum banyan_status may[3] = {BANYAN_NOT_FOUND, BANYAN_BUSY, BANYAN_CONFLICT};
    struct banyan_str before = banyan_str_of(strdup(text(every_step_print).data));

    for (int i = 0; i < rounds(3); i++) {
        struct racer racers[2] = {{.deed = START_ALL, .after_us = i % 2 == 0 ? 0 : 3000},
                                  {.deed = ROLLBACK, .after_us = (useconds_t)(i % 10) * 5000}};
        struct run_options options = plain();

        again();
        assert_true(race(racers, may) >= 1);
        if (racers[1].st != BANYAN_OK)
            OK(run_rollback(&options, BANYAN_STR("v1"), &err));
        assert_int_equal(state_of("v1"), BOOKS_ROLLED_BACK);
        assert_string_equal(text(every_step_print).data, before.data);
    }
    free((char *)before.data);
}

static void test_complete_twice(void **state)
{
    static const enum banyan_status may[3] = {BANYAN_BUSY};
    struct racer racers[2] = {{.deed = COMPLETE}, {.deed = COMPLETE}};
    struct run_options options = plain();

    OK(run_start(&options, &every.migration, &every.plan, &err));
    assert_true(race(racers, may) >= 1);
    assert_int_equal(state_of("v1"), BOOKS_COMPLETED);
    OK(run_rollback(&options, BANYAN_STR("v1"), &err));
}

static void test_pause_meanwhile(void **state)
{
    static const enum banyan_status may[3] = {BANYAN_BUSY};

    for (int i = 0; i < rounds(2); i++) {
        struct racer racers[2] = {{.deed = START_ALL}, {.deed = PAUSE, .after_us = (useconds_t)(i % 10) * 20000}};
        struct run_options options = plain();

        again();
        assert_true(race(racers, may) >= 1);
        assert_int_equal(racers[1].st, BANYAN_OK);
        if (racers[0].st == BANYAN_BUSY)
            assert_non_null(strstr(racers[0].err.message, "paused"));
        OK(run_resume(&options, BANYAN_STR("v1"), &err));
        assert_int_equal(state_of("v1"), BOOKS_READY);
    }
}

/* ---- readers of views ---- */

/* Who reads through a view locks it, and then its table: in that order complete does, too, or each would hold what the
 * other waits for. */
struct reader {
    struct pg_conn *conn;
    const char *sql;
    bool reads;
    int behind; /* statements that were done with a reader on its way */
};

static void read_behind(void *context, const char *place)
{
    struct reader *reader = context;
    char waits[256];

    if (strcmp(place, "statement") != 0 || reader->reads)
        return;
    reader->reads = true;
    reader->behind++;
    OK(pg_send(reader->conn, reader->sql, &err));
    (void)snprintf(waits, sizeof(waits), "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %d",
                   pg_backend_pid(reader->conn)); /* fits */
    for (int i = 0; i < 500 && !pg_ended(reader->conn, 10000); i++)
        if (strcmp(text(waits).data, "t") == 0)
            return;
}

static void started(const char *sql)
{
    struct run_options options = plain();
    struct migration *migration = NULL;
    struct catalog *catalog = NULL;
    struct plan plan = {.step_count = 0};

    OK(migration_parse("v1.sql", banyan_str_of(sql), &migration, &err));
    OK(catalog_open(conn, &catalog, &err));
    OK(plan_make(migration, catalog, &arena, &plan, &err));
    assert_int_equal(plan.refusal_count, 0);
    OK(run_start(&options, migration, &plan, &err));
    catalog_free(catalog);
    migration_free(migration);
}

static void test_views_first(void **state)
{
    static const struct {
        const char *sql, *read;
    } cases[] = {{"ALTER TABLE c RENAME TO renamed;", "SELECT count(*) FROM renamed"},
                 {"ALTER TABLE c ALTER COLUMN t_id TYPE numeric(30,5);", "SELECT count(*) FROM seen"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pg_options at = {.conninfo = getenv("BANYAN_TEST_CONNINFO"), .application_name = "reader"};
        struct reader reader = {.conn = NULL, .sql = cases[i].read};
        struct run_hooks hooks = {.at = read_behind, .context = &reader};
        struct run_options options = plain();

        again();
        OK(pg_run(conn, "DROP TABLE IF EXISTS renamed CASCADE; CREATE VIEW seen AS SELECT t_id FROM c", &err));
        started(cases[i].sql);
        OK(pg_connect(&at, &reader.conn, &err));
        options.hooks = &hooks;
        OK(run_complete(&options, BANYAN_STR("v1"), &err));
        OK(pg_receive(reader.conn, NULL, &err));
        assert_string_equal(text("SELECT sum(tries) FROM banyan.schema_migration_steps").data, "0");
        assert_int_equal(reader.behind, 1);
        reader = (struct reader){.conn = reader.conn, .sql = cases[i].read};
        OK(run_rollback(&options, BANYAN_STR("v1"), &err));
        OK(pg_receive(reader.conn, NULL, &err));
        assert_string_equal(text("SELECT sum(tries) FROM banyan.schema_migration_steps").data, "0");
        pg_close(reader.conn);
    }
    OK(pg_run(conn, "DROP TABLE IF EXISTS renamed CASCADE", &err));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_taken_over, fresh_with_books, done),
        cmocka_unit_test_setup_teardown(test_same_version, fresh_with_books, done),
        cmocka_unit_test_setup_teardown(test_same_table, fresh_with_books, done),
        cmocka_unit_test_setup_teardown(test_other_table, fresh_with_books, done),
        cmocka_unit_test_setup_teardown(test_rollback_meanwhile, fresh_with_books, done),
        cmocka_unit_test_setup_teardown(test_complete_twice, fresh_with_books, done),
        cmocka_unit_test_setup_teardown(test_pause_meanwhile, fresh_with_books, done),
        cmocka_unit_test_setup_teardown(test_views_first, fresh_with_books, done),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
