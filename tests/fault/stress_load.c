/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load of the hand-over stress test: many writers that do what makes a hand-over hard.
 *
 * Updates of one and of several items, inserts with notes, deletes and inserts again, moves of keys (which cascade to
 * the notes), nested savepoints of which some are rolled back, two-phase commits and rollbacks, COPY, transactions of
 * hundreds of rows, and commits that hang after their flush: synchronous_standby_names names a server that does not
 * exist, so that a commit with synchronous_commit=on is in the WAL, hence in the stream, but stays invisible until the
 * releaser cancels its wait.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"
#include "pg/conn.h"
#include "pg/copy.h"
#include "stress.h"

enum {
    SQL_BYTES_MAX = 1 << 20,
    WRITERS_MAX = 32,
};

struct writer {
    struct load *load;
    struct os_thread thread;
    struct os_random random;
    unsigned number;
    uint64_t turn;
    struct load_counts counts;
};

/* A row of COPY items (id, v). */
struct copied {
    int64_t id, v;
};

struct load {
    struct load_options options;
    struct os_stop stop;     /* of the writers */
    struct os_stop released; /* of the releaser: later, so that no writer hangs for ever */
    struct writer writers[WRITERS_MAX];
    struct os_thread releaser;
};

static struct pg_conn *connect_or_die(const char *conninfo, const char *name)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;
    if (pg_connect(&(struct pg_options){.conninfo = conninfo, .application_name = name}, &conn, &err) != BANYAN_OK) {
        fprintf(stderr, "%s: %s\n", name, err.message);
        exit(1);
    }
    return conn;
}

static void run_or_die(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (pg_run(conn, sql, &err) != BANYAN_OK) {
        fprintf(stderr, "load: %s: %.200s\n", err.message, sql);
        exit(1);
    }
}

/* For statements whose failure is part of the load. */
static void run_anyway(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status st = pg_run(conn, sql, &err);
    (void)st; /* the truth knows what was committed */
}

void load_prepare(const char *conninfo, int64_t items)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_BYTES_MAX);
    struct pg_conn *conn = connect_or_die(conninfo, "prepare");
    run_or_die(conn, "SET synchronous_commit = local");
    run_or_die(conn, "DROP PUBLICATION IF EXISTS stress; DROP TABLE IF EXISTS notes, items, others, truth; "
                     "DROP SEQUENCE IF EXISTS versions CASCADE");
    run_or_die(
        conn,
        "CREATE SEQUENCE versions;"
        "CREATE TABLE items (id bigint PRIMARY KEY, v bigint NOT NULL, body text);"
        "CREATE TABLE others (id bigint PRIMARY KEY, v bigint NOT NULL, body text);"
        "CREATE TABLE notes (id bigserial PRIMARY KEY, item_id bigint NOT NULL REFERENCES items "
        "  ON UPDATE CASCADE ON DELETE CASCADE, body text);"
        "CREATE UNIQUE INDEX notes_item ON notes (item_id, id);"
        "ALTER TABLE notes REPLICA IDENTITY USING INDEX notes_item;"
        "CREATE TABLE truth (tid bigserial PRIMARY KEY, op text, v bigint, id bigint);"
        "CREATE OR REPLACE FUNCTION item_version() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  NEW.v := nextval('versions'); RETURN NEW; END $$;"
        "CREATE OR REPLACE FUNCTION item_truth() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  IF TG_OP = 'DELETE' THEN INSERT INTO truth (op, v, id) VALUES ('D', OLD.v, OLD.id); RETURN OLD; END IF;"
        "  IF TG_OP = 'UPDATE' AND OLD.id <> NEW.id THEN"
        "    INSERT INTO truth (op, v, id) VALUES ('D', OLD.v, OLD.id); END IF;"
        "  INSERT INTO truth (op, v, id) VALUES ('I', NEW.v, NEW.id); RETURN NEW; END $$;"
        "CREATE OR REPLACE FUNCTION item_other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  IF TG_OP = 'DELETE' THEN DELETE FROM others WHERE id = -OLD.id;"
        "  ELSIF TG_OP = 'INSERT' THEN INSERT INTO others VALUES (-NEW.id, NEW.v, NEW.body);"
        "  ELSE UPDATE others SET id = -NEW.id, v = NEW.v, body = NEW.body WHERE id = -OLD.id; END IF;"
        "  RETURN NULL; END $$;"
        "CREATE TRIGGER item_other AFTER INSERT OR UPDATE OR DELETE ON items FOR EACH ROW"
        "  EXECUTE FUNCTION item_other();"
        "CREATE TRIGGER item_version BEFORE INSERT OR UPDATE ON items FOR EACH ROW"
        "  EXECUTE FUNCTION item_version();"
        "CREATE TRIGGER item_truth AFTER INSERT OR UPDATE OR DELETE ON items FOR EACH ROW"
        "  EXECUTE FUNCTION item_truth();");
    banyan_buf_printf(
        &sql,
        "INSERT INTO items (id, v, body) SELECT i * 10, 0, 'first' FROM generate_series(1, %" PRId64
        ") i; INSERT INTO notes (item_id, body) SELECT i * 10, 'n' FROM generate_series(1, %" PRId64
        ") i; ANALYZE items; ANALYZE notes; ANALYZE others; CREATE PUBLICATION stress FOR TABLE items, notes, others",
        items, items);
    run_or_die(conn, sql.data);
    banyan_buf_release(&sql);
    pg_close(conn);
}

/* ---- what a writer does ---- */

static int64_t any_item(struct writer *writer)
{
    return 10 * (1 + (int64_t)os_random_below(&writer->random, (uint64_t)writer->load->options.items));
}

/* Ids between and above those of the start. */
static int64_t new_item(struct writer *writer)
{
    int64_t span = writer->load->options.items * 12;
    return 1 + (int64_t)os_random_below(&writer->random, (uint64_t)span);
}

static void add_update(struct writer *writer, struct banyan_buf *sql)
{
    banyan_buf_printf(sql, "UPDATE items SET body = 'u%" PRIu64 "' WHERE id = %" PRId64 ";", writer->turn,
                      any_item(writer));
}

static void add_insert(struct writer *writer, struct banyan_buf *sql)
{
    int64_t id = new_item(writer);
    banyan_buf_printf(sql,
                      "INSERT INTO items (id, v, body) VALUES (%" PRId64 ", 0, 'new') ON CONFLICT DO NOTHING;"
                      "INSERT INTO notes (item_id, body) SELECT id, 'x' FROM items WHERE id = %" PRId64 ";",
                      id, id);
}

static void add_savepoints(struct writer *writer, struct banyan_buf *sql)
{
    add_update(writer, sql);
    banyan_buf_add_text(sql, "SAVEPOINT a;");
    add_update(writer, sql);
    add_insert(writer, sql);
    banyan_buf_add_text(sql, "SAVEPOINT b;");
    add_update(writer, sql);
    if (os_random_below(&writer->random, 2) == 0)
        banyan_buf_add_text(sql, "ROLLBACK TO b;");
    add_insert(writer, sql);
    if (os_random_below(&writer->random, 2) == 0)
        banyan_buf_add_text(sql, "ROLLBACK TO a;");
    add_update(writer, sql);
    writer->counts.savepoints++;
}

static void add_large(struct writer *writer, struct banyan_buf *sql)
{
    int64_t from = any_item(writer);
    banyan_buf_printf(
        sql,
        "UPDATE items SET body = repeat('large', 10) WHERE id IN (SELECT id FROM items WHERE id >= %" PRId64
        " ORDER BY id LIMIT %d FOR UPDATE);",
        from, 400 + (int)os_random_below(&writer->random, 500));
    writer->counts.large++;
}

/* Ids that nobody else takes, above all others, and their rows by COPY: many rows under one LSN. */
static enum banyan_status copy_items(struct writer *writer, struct pg_conn *conn, struct banyan_error *err)
{
    static const struct banyan_field fields[] = {
        {"id", BANYAN_FIELD_INT, 0, offsetof(struct copied, id), 0},
        {"v", BANYAN_FIELD_INT, 0, offsetof(struct copied, v), 0},
    };
    static const struct banyan_record record = {"copied", sizeof(struct copied), fields, 2};
    static const uint32_t oids[] = {20, 20}; /* int8 */
    struct pg_copy_in copy;
    struct copied row = {.id = (int64_t)(1 + writer->number) * 1000000000 + (int64_t)writer->turn * 1000};
    enum banyan_status st = pg_copy_in_begin(&copy, conn, "items (id, v)", &record, oids, err);
    if (st != BANYAN_OK)
        return st;
    for (uint64_t i = 20 + os_random_below(&writer->random, 200); i > 0 && st == BANYAN_OK; i--, row.id++)
        st = pg_copy_in_row(&copy, &row, err);
    writer->counts.copies++;
    if (st == BANYAN_OK)
        return pg_copy_in_end(&copy, err);
    pg_copy_in_abort(&copy);
    return st;
}

/* Many rows of one statement, between the others. */
static void add_many(struct writer *writer, struct banyan_buf *sql)
{
    int64_t from = new_item(writer);
    banyan_buf_printf(sql,
                      "INSERT INTO items (id, v, body) SELECT i, 0, 'many' FROM generate_series(%" PRId64 ", %" PRId64
                      ") i ON CONFLICT DO NOTHING;",
                      from, from + 20 + (int64_t)os_random_below(&writer->random, 200));
}

static void add_body(struct writer *writer, struct banyan_buf *sql)
{
    uint64_t dice = os_random_below(&writer->random, 100);
    if (dice < 30) {
        add_update(writer, sql);
    } else if (dice < 42) {
        for (int i = 0; i < 3; i++)
            add_update(writer, sql);
    } else if (dice < 57) {
        add_insert(writer, sql);
    } else if (dice < 70) {
        add_savepoints(writer, sql);
    } else if (dice < 78) {
        banyan_buf_printf(sql, "DELETE FROM items WHERE id = %" PRId64 ";", any_item(writer));
        if (dice < 74)
            add_insert(writer, sql);
    } else if (dice < 85) {
        banyan_buf_printf(sql, "UPDATE items SET id = %" PRId64 " WHERE id = %" PRId64 ";", new_item(writer),
                          any_item(writer));
        writer->counts.moves++;
    } else if (dice < 90) {
        add_many(writer, sql);
    } else if (dice < 93) {
        add_large(writer, sql);
    } else {
        banyan_buf_printf(sql, "INSERT INTO notes (item_id, body) SELECT id, 'y' FROM items WHERE id = %" PRId64 ";",
                          any_item(writer));
    }
}

/* One transaction.  Failures (unique keys, deadlocks) are part of the load. */
static void transact(struct writer *writer, struct pg_conn *conn, struct banyan_buf *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    const struct load_options *options = &writer->load->options;
    bool two_phase = os_random_below(&writer->random, 100) < 8;
    bool hangs = options->hung_every > 0 && os_random_below(&writer->random, options->hung_every) == 0;
    char name[64];
    writer->turn++;
    (void)snprintf(name, sizeof(name), "p%u_%" PRIu64, writer->number, writer->turn); /* fits */
    banyan_buf_reset(sql);
    banyan_buf_printf(sql, "BEGIN; SET LOCAL synchronous_commit = %s;",
                      hangs                                      ? "on"
                      : os_random_below(&writer->random, 3) == 0 ? "off"
                                                                 : "local");
    add_body(writer, sql);
    enum banyan_status st = pg_run(conn, sql->data, &err);
    if (st == BANYAN_OK && os_random_below(&writer->random, 100) < 5)
        st = copy_items(writer, conn, &err);
    banyan_buf_reset(sql);
    if (st != BANYAN_OK) {
        writer->counts.failed++;
        run_anyway(conn, "ROLLBACK");
        return;
    }
    if (two_phase) {
        banyan_buf_printf(sql, "PREPARE TRANSACTION '%s'", name);
        st = pg_run(conn, sql->data, &err);
        banyan_buf_reset(sql);
        banyan_buf_printf(sql, "%s PREPARED '%s'", os_random_below(&writer->random, 10) < 7 ? "COMMIT" : "ROLLBACK",
                          name);
        writer->counts.prepared++;
    } else {
        banyan_buf_add_text(sql, "COMMIT");
    }
    writer->counts.hung += hangs;
    writer->counts.transactions++;
    run_anyway(conn, sql->data);
}

static void writer_main(void *argument)
{
    struct writer *writer = argument;
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_BYTES_MAX);
    struct pg_conn *conn = connect_or_die(writer->load->options.conninfo, "writer");
    run_or_die(conn, "SET deadlock_timeout = '50ms'");
    /* Where writers leave no time to the reader it lags behind, and a lagging reader hides what a hand-over gets wrong.
     */
    while (!os_stop_wait(&writer->load->stop,
                         (int64_t)os_random_below(&writer->random, writer->load->options.pause_us + 1)))
        transact(writer, conn, &sql);
    banyan_buf_release(&sql);
    pg_close(conn);
}

/* Cancels the wait of commits that have hung long enough. */
static void releaser_main(void *argument)
{
    struct load *load = argument;
    struct banyan_error err = BANYAN_ERROR_INIT;
    char sql[400];
    struct pg_conn *conn = connect_or_die(load->options.conninfo, "releaser");
    (void)snprintf(sql, sizeof(sql),
                   "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND "
                   "clock_timestamp() - state_change > random() * interval '%" PRId64 " ms'",
                   load->options.hung_ms_max); /* fits */
    while (!os_stop_wait(&load->released, 20000))
        if (pg_run(conn, sql, &err) != BANYAN_OK) {
            fprintf(stderr, "releaser: %s\n", err.message);
            exit(1);
        }
    pg_close(conn);
}

struct load *load_start(const struct load_options *options)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct load *load = alloc_zeroed(1, sizeof(*load));
    load->options = *options;
    if (os_stop_open(&load->stop, &err) != BANYAN_OK || os_stop_open(&load->released, &err) != BANYAN_OK)
        exit(1);
    for (unsigned i = 0; i < options->writers; i++) {
        struct writer *writer = &load->writers[i];
        writer->load = load;
        writer->number = i;
        os_random_seed(&writer->random, options->seed * 1000 + i);
        os_thread_start(&writer->thread, "writer", writer_main, writer);
    }
    os_thread_start(&load->releaser, "releaser", releaser_main, load);
    return load;
}

struct load_counts load_stop(struct load *load)
{
    struct load_counts sum = {.transactions = 0};
    os_stop_request(&load->stop);
    for (unsigned i = 0; i < load->options.writers; i++) {
        const struct load_counts *counts = &load->writers[i].counts;
        os_thread_join(&load->writers[i].thread);
        sum.transactions += counts->transactions;
        sum.failed += counts->failed;
        sum.hung += counts->hung;
        sum.prepared += counts->prepared;
        sum.savepoints += counts->savepoints;
        sum.copies += counts->copies;
        sum.moves += counts->moves;
        sum.large += counts->large;
    }
    os_stop_request(&load->released);
    os_thread_join(&load->releaser);
    os_stop_close(&load->stop);
    os_stop_close(&load->released);
    free(load);
    return sum;
}
