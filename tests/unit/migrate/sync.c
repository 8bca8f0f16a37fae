/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trigger that holds columns equal, on a real server: random statements of old and new code at once, and then every
 * case that a trigger of this kind usually gets wrong.
 *
 * No write is lost: many of the concurrent statements add one to a row, by either name; what is there at the end has to
 * be the number of those that were committed.
 */
#include "migrate/sync.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "os/random.h"
#include "support/seed.h"

enum {
    SQL_SIZE = 2048,
    SESSIONS = 4, /* two of each code */
    SHARED_ROWS = 6,
    OWN_ROWS = 5,
    STATEMENTS = 300,
};

static struct pg_conn *plain;
static struct banyan_arena arena;
static struct catalog *catalog; /* what table_of() gave last lives in it */
static const struct banyan_str version = {"2024_11_01_001", 14};

static struct pg_conn *connect_new(void)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO")};
    struct pg_conn *conn = NULL;

    if (pg_connect(&options, &conn, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return conn;
}

static void run(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (pg_run(conn, sql, &err) != BANYAN_OK)
        fail_msg("%s: %s %s", sql, err.message, err.detail);
}

/* The rows as one text. */
static const char *rows_of(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_buf text = BANYAN_BUF_INIT(64 * 1024);
    struct pg_result *result = NULL;
    struct banyan_str ret;

    if (pg_exec(conn, sql, NULL, 0, &result, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
    for (size_t i = 0; i < pg_rows(result); i++)
        for (size_t k = 0; k < pg_columns(result); k++) {
            struct banyan_str cell = pg_text(result, i, k);

            banyan_buf_printf(&text, "%s%.*s",
                              text.size == 0 ? ""
                              : k > 0        ? "|"
                                             : " ",
                              cell.data == NULL ? 1 : (int)cell.size, cell.data == NULL ? "-" : cell.data);
        }
    ret = banyan_arena_str(&arena, banyan_buf_str(&text));
    banyan_buf_release(&text);
    pg_result_free(result);
    return ret.data;
}

static int prepare(void **state)
{
    (void)state;
    plain = connect_new();
    run(plain, "CREATE SCHEMA banyan");
    return 0;
}

static int end(void **state)
{
    (void)state;
    catalog_free(catalog);
    pg_close(plain);
    banyan_arena_release(&arena);
    return 0;
}

static const struct catalog_table *table_of(const char *schema, const char *name)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct catalog_table *table = NULL;

    catalog_free(catalog);
    assert_int_equal(catalog_open(plain, &catalog, &err), BANYAN_OK);
    assert_int_equal(catalog_table(catalog, banyan_str_of(schema), banyan_str_of(name), &table, &err), BANYAN_OK);
    assert_non_null(table);
    return table;
}

static void make_trigger(const struct sync *sync)
{
    run(plain, sync_function_sql(sync, version, BANYAN_STR("public"), &arena).data);
    run(plain, sync_trigger_sql(sync, version, &arena).data);
    run(plain, sync_always_sql(sync, version, &arena).data);
}

static struct sync_column both(const char *from, const char *to)
{
    return (struct sync_column){.kind = SYNC_BOTH,
                                .from = banyan_str_of(from),
                                .to = banyan_str_of(to),
                                .forth = BANYAN_STR("$"),
                                .back = BANYAN_STR("$")};
}

/* Both names of one column, in a table that is there. */
static void hold(const char *table, const char *from, const char *to)
{
    struct sync_column column = both(from, to);
    struct sync sync = {.table = table_of("", table), .columns = &column, .column_count = 1};

    make_trigger(&sync);
}

/* ---- many at once ---- */

struct session {
    pthread_t thread;
    struct pg_conn *conn;
    struct os_random random;
    const char *name; /* of the column that it writes */
    unsigned number;
    uint64_t added[SHARED_ROWS]; /* committed */
    int64_t own[OWN_ROWS];       /* model; INT64_MIN: no row; INT64_MAX: NULL */
    char failure[SQL_SIZE];
};

static bool try_run(struct session *session, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status st = pg_run(session->conn, sql, &err);

    if (st != BANYAN_OK && session->failure[0] == '\0')
        (void)snprintf(session->failure, sizeof(session->failure), "%s: %s", sql, err.message);
    return st == BANYAN_OK;
}

static void add_shared(struct session *session)
{
    unsigned row = (unsigned)os_random_below(&session->random, SHARED_ROWS),
             kind = (unsigned)os_random_below(&session->random, 5);
    bool committed = kind != 4;
    char sql[SQL_SIZE];

    if (kind == 0)
        (void)snprintf(sql, sizeof(sql),
                       "INSERT INTO many (id, %s) VALUES (%u, 1) ON CONFLICT (id) DO UPDATE SET %s = many.%s + 1",
                       session->name, row, session->name, session->name);
    else if (kind == 1) /* a statement of neither code's kind: both names */
        (void)snprintf(sql, sizeof(sql), "UPDATE many SET a = a + 1, b = b + 1 WHERE id = %u", row);
    else
        (void)snprintf(sql, sizeof(sql), "UPDATE many SET %s = %s + 1, other = other || 'x' WHERE id = %u",
                       session->name, session->name, row);
    if (!committed) {
        (void)try_run(session, "BEGIN");
        (void)try_run(session, sql);
        (void)try_run(session, "ROLLBACK");
        return;
    }
    if (try_run(session, sql))
        session->added[row]++;
}

/* Rows of one session: what they are is known exactly. */
static void write_own(struct session *session)
{
    unsigned row = (unsigned)os_random_below(&session->random, OWN_ROWS), id = 1000 + session->number * 100 + row;
    int64_t *model = &session->own[row], value = (int64_t)os_random_below(&session->random, 1000);
    bool null = os_random_below(&session->random, 4) == 0;
    char sql[SQL_SIZE], text[32] = "NULL";

    if (!null)
        (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    if (*model == INT64_MIN) {
        (void)snprintf(sql, sizeof(sql), "INSERT INTO many (id, %s) VALUES (%u, %s)", session->name, id, text);
    } else if (os_random_below(&session->random, 6) == 0) {
        (void)snprintf(sql, sizeof(sql), "DELETE FROM many WHERE id = %u", id);
        (void)try_run(session, sql);
        *model = INT64_MIN;
        return;
    } else if (os_random_below(&session->random, 3) == 0) {
        (void)snprintf(sql, sizeof(sql), "UPDATE many SET other = 'seen' WHERE id = %u", id);
        (void)try_run(session, sql);
        return;
    } else {
        (void)snprintf(sql, sizeof(sql), "UPDATE many SET %s = %s WHERE id = %u", session->name, text, id);
    }
    (void)try_run(session, sql);
    *model = null ? INT64_MAX : value;
}

static void *work(void *context)
{
    struct session *session = context;
    unsigned rounds = seed_rounds(STATEMENTS);

    for (unsigned i = 0; i < rounds; i++)
        if (os_random_below(&session->random, 2) == 0)
            add_shared(session);
        else
            write_own(session);
    return NULL;
}

static void compare_own(const struct session *session)
{
    for (unsigned row = 0; row < OWN_ROWS; row++) {
        char sql[SQL_SIZE], expected[64] = "";

        if (session->own[row] == INT64_MAX)
            (void)snprintf(expected, sizeof(expected), "-|-");
        else if (session->own[row] != INT64_MIN)
            (void)snprintf(expected, sizeof(expected), "%lld|%lld", (long long)session->own[row],
                           (long long)session->own[row]);
        (void)snprintf(sql, sizeof(sql), "SELECT a, b FROM many WHERE id = %u", 1000 + session->number * 100 + row);
        assert_string_equal(rows_of(plain, sql), expected);
    }
}

static void test_many_at_once(void **state)
{
    static struct session sessions[SESSIONS];
    struct os_random random;
    char sql[SQL_SIZE];

    (void)state;
    seed_start(&random, "sync");
    run(plain, "CREATE TABLE many (id int PRIMARY KEY, a int, other text DEFAULT '')");
    (void)snprintf(sql, sizeof(sql), "INSERT INTO many SELECT i, 0 FROM generate_series(0, %d) i", SHARED_ROWS - 1);
    run(plain, sql);
    run(plain, "ALTER TABLE many ADD COLUMN b int");
    hold("many", "a", "b");
    run(plain, "UPDATE many SET b = a WHERE b IS NULL"); /* the backfill */
    for (unsigned i = 0; i < SESSIONS; i++) {
        sessions[i] = (struct session){.conn = connect_new(), .name = i % 2 == 0 ? "a" : "b", .number = i};
        os_random_seed(&sessions[i].random, os_random_next(&random));
        for (unsigned k = 0; k < OWN_ROWS; k++)
            sessions[i].own[k] = INT64_MIN;
        assert_int_equal(pthread_create(&sessions[i].thread, NULL, work, &sessions[i]), 0);
    }
    for (unsigned i = 0; i < SESSIONS; i++) {
        assert_int_equal(pthread_join(sessions[i].thread, NULL), 0);
        pg_close(sessions[i].conn);
        assert_string_equal(sessions[i].failure, "");
    }
    assert_string_equal(rows_of(plain, "SELECT id, a, b FROM many WHERE a IS DISTINCT FROM b"), "");
    for (unsigned row = 0; row < SHARED_ROWS; row++) {
        uint64_t added = 0;

        for (unsigned i = 0; i < SESSIONS; i++)
            added += sessions[i].added[row];
        (void)snprintf(sql, sizeof(sql), "SELECT a = %llu AND b = %llu FROM many WHERE id = %u",
                       (unsigned long long)added, (unsigned long long)added, row);
        assert_string_equal(rows_of(plain, sql), "t");
    }
    for (unsigned i = 0; i < SESSIONS; i++)
        compare_own(&sessions[i]);
}

/* Old code and a backfill at once, over rows that are not filled yet. */
static void *fill(void *context)
{
    struct session *session = context;

    for (unsigned i = 0; i < 40; i++)
        (void)try_run(session, "UPDATE unfilled t SET b = t.a WHERE t.b IS NULL AND t.a IS NOT NULL AND id IN "
                               "(SELECT id FROM unfilled WHERE b IS NULL ORDER BY random() LIMIT 20 "
                               "FOR NO KEY UPDATE SKIP LOCKED)");
    return NULL;
}

static void test_unfilled(void **state)
{
    struct session session = {.conn = connect_new()};
    struct os_random random;

    (void)state;
    seed_start(&random, "unfilled");
    run(plain, "CREATE TABLE unfilled (id int PRIMARY KEY, a int)");
    run(plain, "INSERT INTO unfilled SELECT i, 0 FROM generate_series(1, 500) i");
    run(plain, "ALTER TABLE unfilled ADD COLUMN b int");
    hold("unfilled", "a", "b");
    assert_int_equal(pthread_create(&session.thread, NULL, fill, &session), 0);
    for (unsigned i = 0; i < 300; i++) {
        char sql[SQL_SIZE];

        (void)snprintf(sql, sizeof(sql), "UPDATE unfilled SET a = a + 1 WHERE id %% 50 = %u",
                       (unsigned)os_random_below(&random, 50));
        run(plain, sql);
    }
    assert_int_equal(pthread_join(session.thread, NULL), 0);
    assert_string_equal(session.failure, "");
    pg_close(session.conn);
    run(plain, "UPDATE unfilled SET b = a WHERE b IS NULL");
    assert_string_equal(rows_of(plain, "SELECT sum(a), sum(b), count(*) FILTER (WHERE a <> b) FROM unfilled"),
                        "3000|3000|0");
}

/* ---- one by one ---- */

static void test_one_session(void **state)
{
    (void)state;
    run(plain, "CREATE TABLE pooled (id int PRIMARY KEY, a int DEFAULT 7, b int)");
    hold("pooled", "a", "b");
    run(plain, "INSERT INTO pooled (id, a) VALUES (1, 10); INSERT INTO pooled (id, b) VALUES (2, 20); "
               "INSERT INTO pooled (id) VALUES (3); INSERT INTO pooled VALUES (4, 1, 2)");
    assert_string_equal(rows_of(plain, "SELECT id, a, b FROM pooled ORDER BY 1"), "1|10|10 2|20|20 3|7|7 4|2|2");
    run(plain, "UPDATE pooled SET b = 11 WHERE id = 1; UPDATE pooled SET a = 21 WHERE id = 2; "
               "UPDATE pooled SET a = 31, b = 32 WHERE id = 3; UPDATE pooled SET b = NULL WHERE id = 4");
    assert_string_equal(rows_of(plain, "SELECT id, a, b FROM pooled ORDER BY 1"), "1|11|11 2|21|21 3|32|32 4|-|-");
    run(plain, "INSERT INTO pooled (id, b) VALUES (1, 5), (5, 6) ON CONFLICT (id) DO UPDATE SET b = EXCLUDED.b * 2");
    run(plain, "INSERT INTO pooled (id, a) VALUES (2, 5) ON CONFLICT (id) DO UPDATE SET a = EXCLUDED.b * 3");
    assert_string_equal(rows_of(plain, "SELECT id, a, b FROM pooled WHERE id IN (1, 2, 5) ORDER BY 1"),
                        "1|10|10 2|15|15 5|6|6");
}

static void test_replica_role(void **state)
{
    (void)state;
    run(plain, "CREATE TABLE applied (id int PRIMARY KEY, a int, b int)");
    hold("applied", "a", "b");
    run(plain, "SET session_replication_role = replica; INSERT INTO applied (id, a) VALUES (1, 1), (2, 2); "
               "UPDATE applied SET b = 5 WHERE id = 2; RESET session_replication_role");
    assert_string_equal(rows_of(plain, "SELECT id, a, b FROM applied ORDER BY 1"), "1|1|1 2|5|5");
}

static void test_partitions(void **state)
{
    struct sync_column column = both("a", "b");
    struct sync sync = {.columns = &column, .column_count = 1};
    static const struct catalog_table leaves[] = {{.schema = {"public", 6}, .name = {"parted_1", 8}},
                                                  {.schema = {"public", 6}, .name = {"parted_2", 8}}};

    (void)state;
    run(plain, "CREATE TABLE parted (id int, day int, a int, b int) PARTITION BY RANGE (day); "
               "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10); "
               "CREATE TABLE parted_2 (b int, a int, day int, id int); "
               "ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (10) TO (20)");
    sync.table = table_of("", "parted");
    make_trigger(&sync);
    for (size_t i = 0; i < 2; i++)
        run(plain, sync_always_of_sql(&sync, &leaves[i], version, &arena).data);
    run(plain, "INSERT INTO parted (id, day, a) VALUES (1, 1, 10), (2, 11, 20); "
               "INSERT INTO parted_2 (id, day, b) VALUES (3, 12, 30)");
    run(plain, "UPDATE parted SET day = day + 10, b = 11 WHERE id = 1"); /* it moves */
    run(plain, "UPDATE parted SET day = 2 WHERE id = 2");
    run(plain, "SET session_replication_role = replica; UPDATE parted SET b = 33 WHERE id = 3; "
               "RESET session_replication_role");
    assert_string_equal(rows_of(plain, "SELECT id, a, b, tableoid::regclass FROM parted ORDER BY 1"),
                        "1|11|11|parted_2 2|20|20|parted_1 3|33|33|parted_2");
}

static void test_users_triggers(void **state)
{
    (void)state;
    run(plain, "CREATE TABLE touched (id int PRIMARY KEY, a int, b int); "
               "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
               "'BEGIN NEW.a := coalesce(NEW.a, 0) + 100; RETURN NEW; END'; "
               "CREATE TRIGGER zzzz_touch BEFORE INSERT OR UPDATE ON touched FOR EACH ROW EXECUTE FUNCTION touch()");
    hold("touched", "a", "b");
    run(plain, "INSERT INTO touched (id, a) VALUES (1, 1); UPDATE touched SET id = 2");
    assert_string_equal(rows_of(plain, "SELECT id, a, b FROM touched"), "2|201|201");
    run(plain, "ALTER TABLE touched DISABLE TRIGGER zzzz_touch; UPDATE touched SET b = 5");
    assert_string_equal(rows_of(plain, "SELECT id, a, b FROM touched"), "2|5|5");
}

static void test_quoted(void **state)
{
    struct sync_column columns[] = {both("Unit\"Price $", "new"), both("found", "tg_op")};
    struct sync_column fill_column = {.kind = SYNC_FILL,
                                      .to = BANYAN_STR("Sum"),
                                      .expression = BANYAN_STR("found || '$' || \"Order \"\"L\"\"\".tg_op")};
    struct sync_column all[] = {columns[0], columns[1], fill_column};
    struct sync sync = {.columns = all, .column_count = 3};

    (void)state;
    run(plain, "CREATE SCHEMA \"My Shop\"; CREATE TABLE \"My Shop\".\"Order \"\"L\"\"\" "
               "(id int, \"Unit\"\"Price $\" int, new int, found text, tg_op text, \"Sum\" text)");
    sync.table = table_of("My Shop", "Order \"L\"");
    make_trigger(&sync);
    run(plain, "INSERT INTO \"My Shop\".\"Order \"\"L\"\"\" (id, new, found) VALUES (1, 5, 'x'); "
               "UPDATE \"My Shop\".\"Order \"\"L\"\"\" SET \"Unit\"\"Price $\" = 6, tg_op = 'y'");
    assert_string_equal(rows_of(plain, "SELECT * FROM \"My Shop\".\"Order \"\"L\"\"\""), "1|6|6|y|y|x$x");
}

/* Equal, and not the same. */
static void test_same_bytes(void **state)
{
    struct sync_column columns[] = {both("a", "b"), both("c", "d"), both("e", "f"), both("g", "h")};
    struct sync sync = {.columns = columns, .column_count = 4};

    (void)state;
    run(plain, "CREATE TABLE bytes (a numeric, b numeric, c interval, d interval, e json, f json, g point, h point)");
    sync.table = table_of("", "bytes");
    make_trigger(&sync);
    run(plain, "INSERT INTO bytes (a, c, e, g) VALUES (1.0, '1 month', '{}', '(1,1)')");
    run(plain, "UPDATE bytes SET a = 1.00, d = '30 days', e = '{ }', h = '(1,2)'");
    assert_string_equal(rows_of(plain, "SELECT * FROM bytes"), "1.00|1.00|P30D|P30D|{ }|{ }|(1,2)|(1,2)");
}

static void test_back_never_fails(void **state)
{
    struct sync_column columns[] = {{.kind = SYNC_TO,
                                     .from = BANYAN_STR("id"),
                                     .to = BANYAN_STR("old_id"),
                                     .forth = BANYAN_STR("$"),
                                     .forth_fails = true},
                                    {.kind = SYNC_TO,
                                     .from = BANYAN_STR("price"),
                                     .to = BANYAN_STR("old_price"),
                                     .forth = BANYAN_STR("$"),
                                     .forth_fails = true}};
    struct sync sync = {.columns = columns, .column_count = 2, .turned = true};

    (void)state;
    run(plain, "CREATE TABLE wide (id bigint PRIMARY KEY, old_id int, price numeric(18,8), old_price numeric(10,2))");
    sync.table = table_of("", "wide");
    make_trigger(&sync);
    run(plain, "INSERT INTO wide (id, price) VALUES (1, 1.23456789), (3000000000, 2), (2, 1234567890.5)");
    assert_string_equal(rows_of(plain, "SELECT id, old_id, old_price FROM wide ORDER BY 1"),
                        "1|1|1.23 2|2|- 3000000000|-|2.00");
    run(plain, "UPDATE wide SET id = id + 3000000000 WHERE id = 1; UPDATE wide SET price = 7 WHERE id = 2");
    assert_string_equal(rows_of(plain, "SELECT id, old_id, old_price FROM wide ORDER BY 1"),
                        "2|2|7.00 3000000000|-|2.00 3000000001|-|1.23");
}

static void test_values(void **state)
{
    struct banyan_str text = sync_value(&arena, BANYAN_STR("f($, '$$5') + $"), "NEW.", BANYAN_STR("a\"b"));

    (void)state;
    assert_string_equal(text.data, "f(NEW.\"a\"\"b\", '$5') + NEW.\"a\"\"b\"");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_at_once), cmocka_unit_test(test_unfilled),   cmocka_unit_test(test_one_session),
        cmocka_unit_test(test_replica_role), cmocka_unit_test(test_partitions), cmocka_unit_test(test_users_triggers),
        cmocka_unit_test(test_quoted),       cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_back_never_fails),
        cmocka_unit_test(test_values),
    };

    return cmocka_run_group_tests(tests, prepare, end);
}
