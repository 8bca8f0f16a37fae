/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Type changes and renames, as plans that are carried out step by step on a real server:
 *
 *   template ─┬─▶ plain      the DDL as it was written                       ─┐ pg_dump says the same,
 *             ├─▶ forward    start, complete, cleanup                        ─┤ but for the order of columns
 *             ├─▶ again      start, complete, back to ready, complete, cleanup ┘
 *             ├─▶ back       start, complete, all undone                     ─┐
 *             ├─▶ early      start, all undone                               ─┤ the same
 *             └─▶ template                                                   ─┘
 *
 * In "ready" and behind complete statements of both codes run; what they wrote is there at the end.
 *
 * Every third case goes "again" and "early"; with BANYAN_TEST_ALL=1 (make fault) each does.
 * BANYAN_SWAP_ONLY=NAME looks at one case, every way; BANYAN_SWAP_SHOW=1 prints its plan.
 */
#include "migrate/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "migrate/program.h"

enum {
    NAME_SIZE = 1024,
    DUMP_MAX = 1024 * 1024,
    LINES_MAX = 4096,
};

struct swap_case {
    const char *name;
    const char *schema, *migration;
    const char *plain;    /* where the DDL as written is refused by the server: what its author would do */
    const char *old_code; /* runs in ready */
    const char *new_code; /* runs in ready, and behind complete */
    const char *rows;     /* a question to forward and to back, and its answers behind all that */
    const char *forward_rows, *back_rows;
};

static struct pg_conn *admin;
static struct banyan_arena arena;
static char folder[] = "/tmp/banyan-swap.XXXXXX";

static const char *conninfo_of(const char *database)
{
    return banyan_arena_printf(&arena, "%s dbname=%s", getenv("BANYAN_TEST_CONNINFO"), database).data;
}

static struct pg_conn *connect_to(const char *database)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {.conninfo = conninfo_of(database)};
    struct pg_conn *conn = NULL;

    if (pg_connect(&options, &conn, &err) != BANYAN_OK)
        fail_msg("%s: %s", database, err.message);
    return conn;
}

static void run(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (pg_run(conn, sql, &err) != BANYAN_OK)
        fail_msg("%s\n%s %s", sql, err.message, err.detail);
}

static int prepare(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    admin = connect_to("postgres");
    run(admin, "CREATE ROLE reader; CREATE ROLE writer; CREATE ROLE owner");
    return 0;
}

static int end(void **state)
{
    (void)state;
    pg_close(admin);
    (void)rmdir(folder); /* files of failed tests stay */
    banyan_arena_release(&arena);
    return 0;
}

static struct pg_conn *copy_of(const char *template, const char *name)
{
    run(admin, banyan_arena_printf(&arena, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name).data);
    run(admin, banyan_arena_printf(&arena, "CREATE DATABASE %s TEMPLATE %s", name, template).data);
    return connect_to(name);
}

/* ---- doing ---- */

static void act(struct pg_conn *conn, const struct plan_action *action)
{
    bool together = action->kind == PLAN_TRANSACTION;

    if (action->kind == PLAN_BATCHES) {
        run(conn, banyan_arena_printf(&arena, "UPDATE %s AS t SET %s WHERE %s", action->batches.table.data,
                                      action->batches.set.data, action->batches.needs.data)
                      .data);
        return;
    }
    if (action->kind == PLAN_INDEX_DROP && action->statement_count == 0) {
        run(conn, banyan_arena_printf(&arena, "DROP INDEX CONCURRENTLY IF EXISTS %s", action->index.data).data);
        return;
    }
    if (together)
        run(conn, "BEGIN");
    for (size_t i = 0; i < action->statement_count; i++)
        run(conn, action->statements[i].data);
    if (together)
        run(conn, "COMMIT");
}

static void go(struct pg_conn *conn, const struct plan *plan, enum plan_phase first, enum plan_phase last)
{
    for (size_t i = 0; i < plan->step_count; i++)
        if (plan->steps[i].phase >= first && plan->steps[i].phase <= last)
            act(conn, &plan->steps[i].act);
}

static void go_back(struct pg_conn *conn, const struct plan *plan, enum plan_phase first, enum plan_phase last)
{
    for (size_t i = plan->step_count; i-- > 0;) {
        const struct plan_step *step = &plan->steps[i];

        for (size_t k = 0; step->phase >= first && step->phase <= last && k < step->undo_count; k++)
            act(conn, &step->undo[k]);
    }
}

static struct migration *parse(const struct swap_case *one)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct migration *migration = NULL;

    if (migration_parse(banyan_arena_printf(&arena, "2024_11_01_001_%s.sql", one->name).data,
                        banyan_str_of(one->migration), &migration, &err) != BANYAN_OK)
        fail_msg("%s: %s", one->name, err.message);
    return migration;
}

static struct plan plan_of(struct pg_conn *conn, const struct migration *migration)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct catalog *catalog = NULL;
    struct plan plan = {.step_count = 0};
    struct banyan_buf json = BANYAN_BUF_INIT(4 * DUMP_MAX), text = BANYAN_BUF_INIT(4 * DUMP_MAX);

    assert_int_equal(catalog_open(conn, &catalog, &err), BANYAN_OK);
    if (plan_make(migration, catalog, &arena, &plan, &err) != BANYAN_OK)
        fail_msg("%s %s", err.message, err.hint);
    if (getenv("BANYAN_SWAP_SHOW") != NULL) {
        plan_text(&plan, migration, &text);
        (void)printf("%s\n", text.data);
    }
    /* What runs is what was stored: nothing may hang on the catalog that is gone. */
    plan_json(&plan, &json);
    catalog_free(catalog);
    plan = (struct plan){.step_count = 0};
    if (plan_read(banyan_buf_str(&json), &arena, &plan, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    banyan_buf_release(&json);
    banyan_buf_release(&text);
    return plan;
}

/* ---- comparing ---- */

static int by_letter(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Its lines in the order of their text, those within a statement behind its first one: neither the order of columns
 * nor that of objects matters. */
static const char *arranged(char *dump)
{
    static const char *lines[LINES_MAX];
    char *rest = NULL, *head = NULL;
    struct banyan_buf text = BANYAN_BUF_INIT(DUMP_MAX);
    size_t count = 0;
    struct banyan_str ret;

    for (char *line = strtok_r(dump, "\n", &rest); line != NULL && count < LINES_MAX;
         line = strtok_r(NULL, "\n", &rest)) {
        size_t size = strlen(line);
        bool ends = size > 0 && line[size - 1] == ';';

        if (strncmp(line, "--", 2) == 0 || strncmp(line, "\\", 1) == 0 || size == 0)
            continue;
        if (strncmp(line, "CREATE STATISTICS ", 18) == 0) /* names its columns in the table's order */
            qsort(line, size, 1, by_letter);
        if (line[size - 1] == ',')
            line[size - 1] = '\0';
        lines[count++] = head == NULL ? line : banyan_arena_printf(&arena, "%s %s", head, line).data;
        if (head == NULL && !ends)
            head = line;
        else if (ends)
            head = NULL;
    }
    qsort(lines, count, sizeof(*lines), by_text);
    for (size_t i = 0; i < count; i++)
        banyan_buf_printf(&text, "%s\n", lines[i]);
    ret = banyan_arena_str(&arena, banyan_buf_str(&text));
    banyan_buf_release(&text);
    return ret.data;
}

static const char *dump_of(const char *database)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    const char *program = NULL, *path = banyan_arena_printf(&arena, "%s/%s.sql", folder, database).data;
    const char *arguments[] = {NULL, "--schema-only", "--exclude-schema=banyan", "--file",
                               path, "--dbname",      conninfo_of(database),     NULL};
    static char dump[DUMP_MAX];
    FILE *file;

    assert_int_equal(program_of_server("pg_dump", &arena, &program, &err), BANYAN_OK);
    arguments[0] = program;
    if (program_run(arguments, true, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    file = fopen(path, "r");
    assert_non_null(file);
    dump[fread(dump, 1, sizeof(dump) - 1, file)] = '\0';
    (void)fclose(file);
    (void)unlink(path);
    return arranged(dump);
}

/* Only the lines that differ are told. */
static void compare(const char *what, const char *is, const char *should)
{
    if (strcmp(is, should) == 0)
        return;
    for (const char *texts[2] = {is, should}, *other[2] = {should, is}, *const *all = texts; all < texts + 2; all++) {
        char *copy = strdup(*all), *rest = NULL;

        for (char *line = strtok_r(copy, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
            if (strstr(other[all - texts], line) == NULL)
                (void)printf("# %s %s\n", all == texts ? "is:    " : "should:", line);
        free(copy);
    }
    fail_msg("%s: the schema is another one", what);
}

static const char *rows_of(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_buf text = BANYAN_BUF_INIT(DUMP_MAX);
    struct pg_result *result = NULL;
    struct banyan_str ret;

    if (pg_exec(conn, sql, NULL, 0, &result, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
    for (size_t i = 0; i < pg_rows(result); i++)
        for (size_t k = 0; k < pg_columns(result); k++)
            banyan_buf_printf(&text, "%s%.*s",
                              text.size == 0 ? ""
                              : k > 0        ? "|"
                                             : " ",
                              pg_text(result, i, k).data == NULL ? 1 : (int)pg_text(result, i, k).size,
                              pg_text(result, i, k).data == NULL ? "-" : pg_text(result, i, k).data);
    ret = banyan_arena_str(&arena, banyan_buf_str(&text));
    banyan_buf_release(&text);
    pg_result_free(result);
    return ret.data;
}

/* ---- the cases ---- */

static void check_early(const struct swap_case *one, const struct plan *plan, const char *start)
{
    struct pg_conn *conn = copy_of("template_of_it", "early");

    go(conn, plan, PLAN_EXPAND, PLAN_BACKFILL);
    run(conn, one->old_code);
    run(conn, one->new_code);
    go_back(conn, plan, PLAN_EXPAND, PLAN_BACKFILL);
    pg_close(conn);
    compare("undone before complete", dump_of("early"), start);
}

static void check_again(const struct swap_case *one, const struct plan *plan, const char *plain)
{
    struct pg_conn *conn = copy_of("template_of_it", "again");

    go(conn, plan, PLAN_EXPAND, PLAN_CONTRACT);
    go_back(conn, plan, PLAN_CONTRACT, PLAN_CONTRACT);
    run(conn, one->old_code);
    run(conn, one->new_code);
    go(conn, plan, PLAN_CONTRACT, PLAN_CLEANUP);
    assert_string_equal(rows_of(conn, one->rows), one->forward_rows);
    pg_close(conn);
    compare("completed again", dump_of("again"), plain);
}

static void check_case(const struct swap_case *one, bool every_way)
{
    struct migration *migration = parse(one);
    struct pg_conn *conn;
    const char *start, *plain;
    struct plan plan;

    run(admin, "DROP DATABASE IF EXISTS template_of_it WITH (FORCE)");
    run(admin, "CREATE DATABASE template_of_it");
    conn = connect_to("template_of_it");
    run(conn, one->schema);
    run(conn, "CREATE SCHEMA banyan");
    plan = plan_of(conn, migration);
    pg_close(conn);
    for (size_t i = 0; i < plan.refusal_count; i++)
        fail_msg("%s: refused: %s", one->name, plan.refusals[i].data);
    start = dump_of("template_of_it");

    conn = copy_of("template_of_it", "plain");
    run(conn, one->plain != NULL ? one->plain : one->migration);
    pg_close(conn);
    plain = dump_of("plain");

    if (every_way)
        check_early(one, &plan, start);
    conn = copy_of("template_of_it", "forward");
    go(conn, &plan, PLAN_EXPAND, PLAN_BACKFILL);
    run(conn, one->old_code);
    run(conn, one->new_code);
    for (size_t i = 0; i < plan.check_count; i++)
        assert_string_equal(rows_of(conn, plan.checks[i].sql.data), "0");
    go(conn, &plan, PLAN_CONTRACT, PLAN_CLEANUP);
    assert_string_equal(rows_of(conn, one->rows), one->forward_rows);
    run(conn, one->new_code);
    pg_close(conn);
    compare("completed", dump_of("forward"), plain);

    if (every_way)
        check_again(one, &plan, plain);
    conn = copy_of("template_of_it", "back");
    go(conn, &plan, PLAN_EXPAND, PLAN_BACKFILL);
    run(conn, one->old_code);
    go(conn, &plan, PLAN_CONTRACT, PLAN_CONTRACT);
    run(conn, one->new_code);
    go_back(conn, &plan, PLAN_EXPAND, PLAN_CONTRACT);
    run(conn, one->old_code);
    assert_string_equal(rows_of(conn, one->rows), one->back_rows);
    pg_close(conn);
    compare("undone behind complete", dump_of("back"), start);
    migration_free(migration);
}

static const struct swap_case cases[] = {
    {.name = "statistics",
     .schema =
         "CREATE TABLE orders (id int PRIMARY KEY, a int, b int); CREATE STATISTICS ab (mcv) ON a, b FROM orders; "
         "ALTER STATISTICS ab SET STATISTICS 77; COMMENT ON STATISTICS ab IS 'it''s'; "
         "INSERT INTO orders SELECT i, i, i FROM generate_series(1, 20) i",
     .migration = "ALTER TABLE orders ALTER COLUMN a TYPE bigint;",
     .plain = "ALTER TABLE orders ALTER COLUMN a TYPE bigint; ALTER STATISTICS ab SET STATISTICS 77; "
              "COMMENT ON STATISTICS ab IS 'it''s'", /* the server forgets them */
     .old_code = "UPDATE orders SET a = 7 WHERE id = 1",
     .new_code = "UPDATE orders SET a = 8 WHERE id = 2",
     .rows = "SELECT sum(a), count(*) FROM orders",
     .forward_rows = "222|20",
     .back_rows = "222|20"},
    {.name = "renamed_domain",
     .schema =
         "CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE > 0); CREATE DOMAIN fair AS price CHECK (VALUE < 999); "
         "CREATE TABLE orders (id int PRIMARY KEY, a fair); "
         "INSERT INTO orders SELECT i, i FROM generate_series(1, 20) i",
     .migration = "ALTER TABLE orders RENAME COLUMN a TO b;",
     .old_code = "UPDATE orders SET id = -1 WHERE id = 1",
     .new_code = "UPDATE orders SET b = 8.125 WHERE id = 2",
     .rows = "SELECT count(*) FROM orders WHERE to_jsonb(orders) @> '{\"id\": 2}' AND to_jsonb(orders)::text LIKE "
             "'%8.13%'",
     .forward_rows = "1",
     .back_rows = "1"},
    {.name = "numeric",
     .schema =
         "CREATE TABLE orders (id int PRIMARY KEY, price numeric(10,2) NOT NULL DEFAULT 0.00 CHECK (price >= 0), "
         "note text); CREATE INDEX orders_price ON orders (price DESC, id) WHERE price > 10; "
         "COMMENT ON COLUMN orders.price IS 'each'; ALTER TABLE orders ALTER price SET STATISTICS 500; "
         "GRANT SELECT (price), UPDATE (price) ON orders TO reader WITH GRANT OPTION; "
         "COMMENT ON INDEX orders_price IS 'dear ones'; COMMENT ON CONSTRAINT orders_price_check ON orders IS 'x'; "
         "INSERT INTO orders SELECT i, i FROM generate_series(1, 20) i",
     .migration = "ALTER TABLE orders ALTER COLUMN price TYPE numeric(18,8);",
     .old_code = "UPDATE orders SET price = 1.25 WHERE id = 1",
     .new_code = "UPDATE orders SET price = 2.5, note = 'n' WHERE id = 2",
     .rows = "SELECT sum(price), count(*) FROM orders",
     .forward_rows = "210.75000000|20",
     .back_rows = "210.75|20"},
    {.name = "bigint_key",
     .schema =
         "CREATE TABLE orders (id serial PRIMARY KEY, ref int UNIQUE, parent int REFERENCES orders); "
         "CREATE TABLE fills (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id int NOT NULL REFERENCES orders "
         "ON DELETE CASCADE, at text); "
         "CREATE TABLE audits (order_id int, CONSTRAINT of_order FOREIGN KEY (order_id) REFERENCES orders (id) "
         "ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED); "
         "CREATE VIEW open_orders WITH (security_barrier=true) AS SELECT id, ref FROM orders WHERE ref > 0; "
         "CREATE VIEW counted AS SELECT count(id) AS number FROM open_orders; "
         "GRANT SELECT ON open_orders TO reader, owner; GRANT SELECT ON counted TO PUBLIC; "
         "COMMENT ON VIEW counted IS 'how many'; COMMENT ON COLUMN counted.number IS 'so many'; "
         "ALTER VIEW counted OWNER TO owner; CREATE STATISTICS seen ON id, ref FROM orders; "
         "CREATE INDEX orders_ref ON orders (ref, (id + 1)) INCLUDE (id) WITH (fillfactor = 70); "
         "INSERT INTO orders (ref) SELECT i FROM generate_series(1, 20) i; UPDATE orders SET parent = 1 WHERE id > 1; "
         "INSERT INTO fills (order_id) SELECT id FROM orders; INSERT INTO audits SELECT id FROM orders",
     .migration = "ALTER TABLE orders ALTER COLUMN id TYPE bigint;",
     .plain = "DROP VIEW counted; DROP VIEW open_orders; ALTER TABLE orders ALTER COLUMN id TYPE bigint; "
              "CREATE VIEW open_orders WITH (security_barrier=true) AS SELECT id, ref FROM orders WHERE ref > 0; "
              "CREATE VIEW counted AS SELECT count(id) AS number FROM open_orders; "
              "GRANT SELECT ON open_orders TO reader, owner; GRANT SELECT ON counted TO PUBLIC; "
              "COMMENT ON VIEW counted IS 'how many'; COMMENT ON COLUMN counted.number IS 'so many'; "
              "ALTER VIEW counted OWNER TO owner",
     .old_code = "INSERT INTO orders (ref) VALUES (NULL); INSERT INTO fills (order_id) SELECT max(id) FROM orders; "
                 "DELETE FROM orders WHERE id = 20 AND NOT EXISTS (SELECT FROM audits WHERE order_id = 20)",
     .new_code = "INSERT INTO orders (ref) VALUES (NULL); UPDATE orders SET id = 100 WHERE id = 10 AND NOT EXISTS "
                 "(SELECT FROM fills WHERE order_id = 10) AND NOT EXISTS (SELECT FROM orders WHERE parent = 10)",
     .rows = "SELECT count(*), max(id), (SELECT count(*) FROM fills), (SELECT number FROM counted) FROM orders",
     .forward_rows = "22|22|21|20",
     .back_rows = "23|23|22|20"},
    {.name = "bigint_both",
     .schema =
         "CREATE TABLE orders (id int GENERATED BY DEFAULT AS IDENTITY (START 5 INCREMENT 3) PRIMARY KEY, v text); "
         "CREATE TABLE fills (id int PRIMARY KEY, order_id int NOT NULL, "
         "FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE); CREATE INDEX ON fills (order_id); "
         "INSERT INTO orders (v) SELECT 'x' FROM generate_series(1, 20); "
         "INSERT INTO fills SELECT id, id FROM orders",
     .migration =
         "ALTER TABLE fills ALTER COLUMN order_id TYPE bigint; ALTER TABLE orders ALTER COLUMN id TYPE bigint;",
     .old_code =
         "INSERT INTO orders (v) VALUES ('y'); INSERT INTO fills (id, order_id) SELECT max(id), max(id) FROM orders",
     .new_code =
         "INSERT INTO orders (v) VALUES ('z'); INSERT INTO fills (id, order_id) SELECT max(id), max(id) FROM orders",
     .rows = "SELECT count(*), max(id), (SELECT count(*) FROM fills JOIN orders o ON o.id = order_id) FROM orders",
     .forward_rows = "22|68|22",
     .back_rows = "23|71|23"},
    {.name = "zone",
     .schema =
         "CREATE TABLE trades (id int PRIMARY KEY, at timestamp NOT NULL DEFAULT '2024-01-01 00:00:00'); "
         "CREATE INDEX ON trades (at); INSERT INTO trades VALUES (1, '2024-07-01 12:00'), (2, '2024-12-01 12:00')",
     .migration = "-- banyan: zone trades.at = 'Europe/Berlin'\nALTER TABLE trades ALTER COLUMN at TYPE timestamptz;",
     .plain = "ALTER TABLE trades ALTER COLUMN at TYPE timestamptz USING at AT TIME ZONE 'Europe/Berlin', "
              "ALTER at SET DEFAULT timestamp '2024-01-01 00:00:00' AT TIME ZONE 'Europe/Berlin'",
     .old_code = "UPDATE trades SET at = '2024-07-02 12:00' WHERE id = 1",
     .new_code = "UPDATE trades SET id = 3 WHERE id = 2",
     .rows = "SELECT id, at FROM trades ORDER BY id",
     .forward_rows = "1|2024-07-02 10:00:00+00 3|2024-12-01 11:00:00+00",
     .back_rows = "1|2024-07-02 12:00:00 3|2024-12-01 12:00:00"},
    {.name = "enum",
     .schema = "CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL DEFAULT 'new'); "
               "CREATE INDEX orders_status ON orders (status); CREATE UNIQUE INDEX one_each ON orders (id, status); "
               "INSERT INTO orders VALUES (1, 'new'), (2, 'done')",
     .migration = "CREATE TYPE state AS ENUM ('new', 'done', 'gone'); "
                  "ALTER TABLE orders ALTER COLUMN status TYPE state USING status::state;",
     .plain = "CREATE TYPE state AS ENUM ('new', 'done', 'gone'); ALTER TABLE orders ALTER status DROP DEFAULT; "
              "ALTER TABLE orders ALTER COLUMN status TYPE state USING status::state; "
              "ALTER TABLE orders ALTER status SET DEFAULT 'new'",
     .old_code = "UPDATE orders SET status = 'strange' WHERE id = 1; UPDATE orders SET status = 'gone' WHERE id = 1",
     .new_code = "UPDATE orders SET status = 'gone' WHERE id = 2",
     .rows = "SELECT id, status FROM orders ORDER BY id",
     .forward_rows = "1|gone 2|gone",
     .back_rows = "1|gone 2|gone"},
    {.name = "defaults",
     .schema =
         "CREATE TYPE state AS ENUM ('new', 'done'); CREATE TABLE orders (id int PRIMARY KEY, status text DEFAULT "
         "'old', rank int DEFAULT 3); INSERT INTO orders VALUES (1, 'new')",
     .migration = "ALTER TABLE orders ALTER status DROP DEFAULT, ALTER status TYPE state USING status::state, "
                  "ALTER status SET DEFAULT 'done', ALTER rank TYPE bigint, ALTER rank DROP DEFAULT;",
     .old_code = "UPDATE orders SET status = 'done'",
     .new_code = "UPDATE orders SET status = 'new'",
     .rows = "SELECT id, status FROM orders",
     .forward_rows = "1|new",
     .back_rows = "1|done"},
    {.name = "narrow",
     .schema =
         "CREATE TABLE orders (id int PRIMARY KEY, ref varchar(20), CONSTRAINT ref_once UNIQUE (ref) DEFERRABLE); "
         "INSERT INTO orders VALUES (1, 'short'), (2, NULL)",
     .migration = "-- banyan: lossy orders.ref\nALTER TABLE orders ALTER COLUMN ref TYPE varchar(8);",
     .old_code =
         "UPDATE orders SET ref = 'much too long' WHERE id = 1; UPDATE orders SET ref = 'eight888' WHERE id = 1",
     .new_code = "UPDATE orders SET ref = 'b' WHERE id = 2",
     .rows = "SELECT id, ref FROM orders ORDER BY id",
     .forward_rows = "1|eight888 2|b",
     .back_rows = "1|eight888 2|b"},
    {.name = "rename_column",
     .schema =
         "CREATE TABLE venues (name text PRIMARY KEY); INSERT INTO venues VALUES ('a'), ('b'); "
         "CREATE TABLE orders (id int PRIMARY KEY, venue text NOT NULL DEFAULT 'a' REFERENCES venues, "
         "CONSTRAINT one UNIQUE (venue, id), CHECK (venue <> '')); CREATE INDEX orders_lower ON orders (lower(venue)); "
         "CREATE VIEW v AS SELECT id, venue FROM orders; GRANT SELECT (venue) ON orders TO reader; "
         "COMMENT ON COLUMN orders.venue IS 'where'; INSERT INTO orders VALUES (1, 'a'), (2, 'b')",
     .migration = "ALTER TABLE orders RENAME COLUMN venue TO \"Execution Venue\";",
     .old_code = "INSERT INTO orders (id) SELECT max(id) + 1 FROM orders",
     .new_code = "INSERT INTO orders (id, \"Execution Venue\") SELECT max(id) + 1, 'b' FROM orders; "
                 "UPDATE orders SET \"Execution Venue\" = 'b' WHERE id = 1",
     .rows = "SELECT id, venue FROM v ORDER BY id",
     .forward_rows = "1|b 2|b 3|a 4|b",
     .back_rows = "1|b 2|b 3|a 4|b 5|a"},
    {.name = "rename_table",
     .schema =
         "CREATE TABLE orders (id serial PRIMARY KEY, v int DEFAULT 3); GRANT SELECT, INSERT ON orders TO reader; "
         "GRANT UPDATE (v) ON orders TO writer; ALTER TABLE orders OWNER TO owner",
     .migration = "ALTER TABLE orders RENAME TO \"Trade Orders\";",
     .old_code = "SELECT 1",
     .new_code = "INSERT INTO \"Trade Orders\" (v) VALUES (4); UPDATE \"Trade Orders\" SET v = 5",
     .rows = "SELECT n.v FROM (SELECT * FROM pg_class WHERE relname IN ('orders', 'Trade Orders')) c, LATERAL "
             "(SELECT (xpath('//v/text()', query_to_xml(format('SELECT sum(v) AS v FROM %I', relname), true, true, "
             "'')))[1]::text AS v) n",
     .forward_rows = "5",
     .back_rows = "5"},
    {.name = "at_once",
     .schema = "CREATE TABLE orders (id int PRIMARY KEY, ref varchar(10)); CREATE VIEW v AS SELECT ref FROM orders; "
               "CREATE INDEX ON orders (ref); GRANT SELECT ON v TO reader",
     .migration = "ALTER TABLE orders ALTER COLUMN ref TYPE varchar(40);",
     .plain = "DROP VIEW v; ALTER TABLE orders ALTER COLUMN ref TYPE varchar(40); CREATE VIEW v AS SELECT ref FROM "
              "orders; GRANT SELECT ON v TO reader",
     .old_code = "INSERT INTO orders SELECT count(*) + 1, 'x' FROM orders",
     .new_code = "SELECT 1",
     .rows = "SELECT count(*) FROM v",
     .forward_rows = "1",
     .back_rows = "2"},
    {.name = "two_columns",
     .schema =
         "CREATE TABLE orders (id int PRIMARY KEY, a int, b int NOT NULL, c text, UNIQUE (a, b)); "
         "CREATE INDEX abc ON orders (a, b, c); INSERT INTO orders SELECT i, i, i, i FROM generate_series(1, 9) i",
     .migration = "ALTER TABLE orders ALTER a TYPE bigint, ALTER b TYPE numeric(12,0); "
                  "ALTER TABLE orders RENAME c TO d;",
     .old_code = "UPDATE orders SET c = 'o' WHERE id = 1",
     .new_code = "UPDATE orders SET d = 'n', a = 50 WHERE id = 2",
     .rows = "SELECT sum(a), sum(b), count(*) FROM orders",
     .forward_rows = "93|45|9",
     .back_rows = "93|45|9"},
    {.name = "partitioned",
     .schema = "CREATE TABLE trades (id int, day int NOT NULL, price numeric(10,2), PRIMARY KEY (id, day)) "
               "PARTITION BY RANGE (day); CREATE TABLE trades_1 PARTITION OF trades FOR VALUES FROM (0) TO (10); "
               "CREATE TABLE trades_2 PARTITION OF trades FOR VALUES FROM (10) TO (20); "
               "INSERT INTO trades SELECT i, i, i FROM generate_series(0, 19) i",
     .migration = "ALTER TABLE trades ALTER price TYPE numeric(18,8);",
     .old_code = "UPDATE trades SET price = 100 WHERE id = 1",
     .new_code = "UPDATE trades SET day = 11, price = 101 WHERE id = 2",
     .rows = "SELECT sum(price) FROM trades",
     .forward_rows = "388.00000000",
     .back_rows = "388.00"},
};

static void test_case(void **state)
{
    const struct swap_case *one = *state;
    const char *only = getenv("BANYAN_SWAP_ONLY");

    if (only != NULL && strcmp(only, one->name) != 0)
        skip();
    check_case(one, only != NULL || getenv("BANYAN_TEST_ALL") != NULL || (one - cases) % 3 == 0);
}

/* ---- refusals ---- */

static void check_refused(const char *schema, const char *sql, const char *why)
{
    struct swap_case one = {.name = "refused", .schema = schema, .migration = sql};
    struct migration *migration = parse(&one);
    struct pg_conn *conn;
    struct plan plan;

    run(admin, "DROP DATABASE IF EXISTS template_of_it WITH (FORCE)");
    run(admin, "CREATE DATABASE template_of_it");
    conn = connect_to("template_of_it");
    run(conn, schema);
    plan = plan_of(conn, migration);
    pg_close(conn);
    migration_free(migration);
    assert_int_equal(plan.refusal_count, 1);
    if (strstr(plan.refusals[0].data, why) == NULL)
        fail_msg("%s: refused otherwise: %s", sql, plan.refusals[0].data);
}

static void test_refusals(void **state)
{
    (void)state;
    check_refused("CREATE TABLE t (a numeric(18,8))", "ALTER TABLE t ALTER a TYPE numeric(10,2)", "lossy t.a");
    check_refused("CREATE TABLE t (a bigint)", "ALTER TABLE t ALTER a TYPE int", "lossy t.a");
    check_refused("CREATE TABLE t (a timestamp)", "ALTER TABLE t ALTER a TYPE timestamptz", "zone t.a");
    check_refused("CREATE TABLE t (a text, b text)", "ALTER TABLE t ALTER a TYPE int USING a::int + b::int",
                  "USING reads");
    check_refused("CREATE TABLE t (a int); CREATE MATERIALIZED VIEW m AS SELECT a FROM t",
                  "ALTER TABLE t ALTER a TYPE bigint", "materialized view m");
    check_refused("CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a + 1) STORED)",
                  "ALTER TABLE t ALTER a TYPE bigint", "generated column b");
    check_refused("CREATE TABLE t (a int) PARTITION BY RANGE (a)", "ALTER TABLE t RENAME a TO b", "partition key");
    check_refused("CREATE TABLE t (a int)", "ALTER TABLE t RENAME a TO b; CREATE INDEX ON t (lower(b::text))",
                  "the same migration");
    check_refused("CREATE TABLE t (a int)", "CREATE UNIQUE INDEX i ON t (a); ALTER TABLE t ALTER a TYPE bigint",
                  "the same migration");
    check_refused("CREATE TABLE t (a int)", "ALTER TABLE t ALTER a TYPE bigint, ADD UNIQUE (a)", "the same migration");
    check_refused("CREATE TABLE t (a int, EXCLUDE (a WITH =))", "ALTER TABLE t ALTER a TYPE bigint", "EXCLUDE");
}

int main(void)
{
    struct CMUnitTest tests[sizeof(cases) / sizeof(cases[0]) + 1];
    size_t count = 0;

    for (; count < sizeof(cases) / sizeof(cases[0]); count++)
        tests[count] = (struct CMUnitTest){
            .name = cases[count].name, .test_func = test_case, .initial_state = (void *)&cases[count]};
    tests[count] = (struct CMUnitTest)cmocka_unit_test(test_refusals);
    return cmocka_run_group_tests(tests, prepare, end);
}
