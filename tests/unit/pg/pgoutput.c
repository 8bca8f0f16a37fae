/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder on what a real server sends (the hard cases by number), and on what no server sends: recorded messages
 * with bytes changed, cut and joined.
 */
#include <inttypes.h>

#include "os/random.h"
#include "pg/copy.h"
#include "stream_test.h"

static int start_binary(void **state)
{
    *state = calloc(1, sizeof(struct feed));
    feed_start(*state, true);
    return 0;
}

static int start_text(void **state)
{
    *state = calloc(1, sizeof(struct feed));
    feed_start(*state, false);
    return 0;
}

static int end(void **state)
{
    feed_end(*state);
    free(*state);
    return 0;
}

struct item {
    int64_t id;
    struct banyan_str name;
    struct banyan_decimal price;
    struct banyan_time at;
};
static const struct banyan_field item_fields[] = {
    BANYAN_FIELD_INT(struct item, id, 0),
    BANYAN_FIELD_STRING(struct item, name, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_DECIMAL(struct item, price, BANYAN_FIELD_OPTIONAL, 4),
    BANYAN_FIELD_TIME(struct item, at, BANYAN_FIELD_OPTIONAL),
};

/* A tuple as a record, whichever form its cells have. */
static struct item item_of(const struct pgoutput_message *message, const struct pgoutput_tuple *tuple)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct item item;

    assert_int_equal(tuple->cell_count, 4);
    for (size_t i = 0; i < 4; i++) {
        const struct pgoutput_cell *cell = &tuple->cells[i];
        uint32_t oid = message->relation->columns[i].type;

        if (cell->kind == PGOUTPUT_CELL_TEXT)
            OK(pg_cell_parse(&item_fields[i], oid, cell->data, NULL, &item, &err));
        else
            OK(pg_cell_decode(&item_fields[i], oid, cell->data, NULL, &item, &err));
    }
    return item;
}

static void rows_of_all_kinds(void **state)
{
    struct feed *feed = *state;
    struct pgoutput_message message;
    struct item item;
    char *xid;
    uint32_t begin_xid;

    test_run(feed->admin, "CREATE TABLE item (id bigint PRIMARY KEY, name text, price numeric(10,4), at timestamptz)");
    test_run(feed->admin, "BEGIN");
    xid = test_value(feed->admin, "SELECT pg_current_xact_id()");
    test_run(feed->admin, "INSERT INTO item VALUES (1, 'one', 1.5, '1999-01-01 00:00:00+00'), (2, NULL, NULL, NULL)");
    test_run(feed->admin, "UPDATE item SET name = 'uno', price = -0.0001 WHERE id = 1");
    test_run(feed->admin, "DELETE FROM item WHERE id = 2");
    test_run(feed->admin, "COMMIT");
    message = feed_expect(feed, PGOUTPUT_BEGIN);
    begin_xid = message.xid;
    assert_int_equal(begin_xid, strtoull(xid, NULL, 10));
    assert_true(llabs(message.commit_time.us - os_clock_now(os_clock_real()).us) < INT64_C(60000000));
    message = feed_expect(feed, PGOUTPUT_RELATION);
    assert_true(banyan_str_equal(message.relation->schema, BANYAN_STR("public")));
    assert_true(banyan_str_equal(message.relation->name, BANYAN_STR("item")));
    assert_int_equal(message.relation->identity, 'd');
    assert_int_equal(message.relation->column_count, 4);
    assert_true(message.relation->columns[0].identity);
    assert_false(message.relation->columns[1].identity);
    assert_int_equal(message.relation->columns[2].type, PG_TYPE_NUMERIC);
    assert_int_equal(message.relation->generation, 1);
    message = feed_expect(feed, PGOUTPUT_INSERT);
    assert_int_equal(message.xid, 0);
    assert_int_equal(message.old.cell_count, 0);
    item = item_of(&message, &message.new);
    assert_int_equal(item.id, 1);
    assert_true(banyan_str_equal(item.name, BANYAN_STR("one")));
    assert_true(item.price.units == 15000 && item.price.scale == 4);
    assert_int_equal(item.at.us, INT64_C(915148800000000));
    message = feed_expect(feed, PGOUTPUT_INSERT);
    item = item_of(&message, &message.new);
    assert_true(item.name.data == NULL && banyan_decimal_is_null(item.price) && item.at.us == BANYAN_TIME_NULL);
    message = feed_expect(feed, PGOUTPUT_UPDATE);
    assert_int_equal(message.old_kind, 0);
    item = item_of(&message, &message.new);
    assert_true(banyan_str_equal(item.name, BANYAN_STR("uno")) && item.price.units == -1);
    message = feed_expect(feed, PGOUTPUT_DELETE);
    assert_int_equal(message.old_kind, 'K');
    assert_int_equal(message.new.cell_count, 0);
    assert_int_equal(message.old.cell_count, 4);
    cell_is(&message.old, 1, PGOUTPUT_CELL_NULL, NULL);
    message = feed_expect(feed, PGOUTPUT_COMMIT);
    assert_true(message.end_lsn > message.lsn);
    free(xid);
    test_run(feed->admin, "DROP TABLE item");
}

/* Case 16: 501 rows, savepoint, 501 rows, roll back to it, 1 row: 502 remain, and only by dropping just the subxid. */
static void streamed_savepoint_rollback(void **state)
{
    struct feed *feed = *state;
    struct pgoutput_message message = {0};
    unsigned kept = 0, aborted = 0, segments = 0, others = 0;
    uint32_t top, sub = 0;
    char *xid;

    test_run(feed->admin, "CREATE TABLE big (id bigserial PRIMARY KEY, filler text)");
    test_run(feed->admin, "BEGIN");
    xid = test_value(feed->admin, "SELECT pg_current_xact_id()");
    top = (uint32_t)strtoull(xid, NULL, 10);
    free(xid);
    test_run(feed->admin, "INSERT INTO big (filler) SELECT repeat('a', 300) FROM generate_series(1, 501); SAVEPOINT s");
    test_run(feed->admin, "INSERT INTO big (filler) SELECT repeat('b', 300) FROM generate_series(1, 501)");
    test_run(feed->admin, "ROLLBACK TO s; INSERT INTO big (filler) VALUES ('c')");
    /* It is open and has been sent already. */
    message = feed_expect(feed, PGOUTPUT_STREAM_START);
    assert_int_equal(message.xid, top);
    assert_true(message.first_segment);
    test_run(feed->admin, "COMMIT");
    for (bool in_block = true; message.kind != PGOUTPUT_STREAM_COMMIT;) {
        struct pg_stream_message frame;

        feed_next(feed, &frame, &message);
        switch (message.kind) {
        case PGOUTPUT_STREAM_START:
            assert_int_equal(message.xid, top);
            assert_false(message.first_segment);
            in_block = true;
            break;
        case PGOUTPUT_STREAM_STOP:
            assert_int_equal(message.xid, top);
            in_block = false;
            segments++;
            break;
        case PGOUTPUT_STREAM_ABORT:
            assert_int_equal(message.xid, top);
            assert_int_not_equal(message.subxid, top);
            assert_int_equal(sub, message.subxid); /* after its rows */
            kept -= aborted;
            break;
        case PGOUTPUT_INSERT:
            assert_true(in_block);
            kept++;
            if (message.new.cells[1].data.data[0] == 'b') {
                aborted++;
                sub = message.xid;
                assert_int_not_equal(message.xid, top);
            } else {
                /* The rows before the savepoint carry the top id, the last one a third id. */
                assert_true((message.new.cells[1].data.data[0] == 'a') == (message.xid == top));
                assert_int_not_equal(message.xid, sub);
            }
            break;
        case PGOUTPUT_RELATION:
            break;
        default:
            others += message.kind != PGOUTPUT_STREAM_COMMIT;
        }
    }
    assert_int_equal(message.xid, top);
    assert_true(message.end_lsn > message.lsn);
    assert_int_equal(kept, 502);
    assert_true(aborted > 0);
    assert_true(segments > 1);
    assert_int_equal(others, 0);
    test_run(feed->admin, "DROP TABLE big");
}

/* Case 15: two big open transactions; every row says whose it is. */
static void streamed_transactions_interleave(void **state)
{
    struct feed *feed = *state;
    struct pg_conn *conns[2] = {test_connect(false), test_connect(false)};
    unsigned rows[2] = {0, 0}, commits = 0, switches = 0;
    uint32_t xids[2], last = 0;

    test_run(feed->admin, "CREATE TABLE big (id bigserial PRIMARY KEY, who int, filler text)");
    for (int i = 0; i < 2; i++) {
        char *xid;

        test_run(conns[i], "BEGIN");
        xid = test_value(conns[i], "SELECT pg_current_xact_id()");
        xids[i] = (uint32_t)strtoull(xid, NULL, 10);
        free(xid);
    }
    for (int turn = 0; turn < 6; turn++) {
        char sql[200];

        (void)snprintf(sql, sizeof(sql),
                       "INSERT INTO big (who, filler) SELECT %d, repeat('a', 300) FROM generate_series(1, 400)",
                       turn % 2);
        test_run(conns[turn % 2], sql);
    }
    test_run(conns[1], "COMMIT");
    test_run(conns[0], "COMMIT");
    while (commits < 2) {
        struct pgoutput_message message;
        struct pg_stream_message frame;

        feed_next(feed, &frame, &message);
        switches += message.kind == PGOUTPUT_STREAM_START && message.xid != last;
        if (message.kind == PGOUTPUT_STREAM_START)
            last = message.xid;
        if (message.kind == PGOUTPUT_INSERT) {
            int who = message.new.cells[1].data.data[3]; /* int4, binary */

            assert_int_equal(message.xid, xids[who]);
            assert_int_equal(message.xid, last);
            rows[who]++;
        }
        if (message.kind == PGOUTPUT_STREAM_COMMIT)
            assert_int_equal(message.xid, xids[1 - commits++]); /* in the order of their commits */
    }
    assert_int_equal(rows[0], 1200);
    assert_int_equal(rows[1], 1200);
    assert_true(switches > 2);
    test_run(feed->admin, "DROP TABLE big");
    pg_close(conns[0]);
    pg_close(conns[1]);
}

/* Case 25: a transactional message arrives on an idle database; one that is not alone does not help. */
static void fence_on_an_idle_database(void **state)
{
    struct feed *feed = *state;
    struct pgoutput_message message;

    test_run(feed->admin, "SELECT pg_logical_emit_message(true, 'banyan', E'fence \\t 1')");
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    message = feed_expect(feed, PGOUTPUT_MESSAGE);
    assert_true(message.transactional);
    assert_true(message.lsn > 0);
    assert_true(banyan_str_equal(message.prefix, BANYAN_STR("banyan")));
    assert_true(banyan_str_equal(message.content, BANYAN_STR("fence \t 1")));
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    test_run(feed->admin, "SELECT pg_logical_emit_message(false, 'loose', ''), pg_logical_emit_message(true, 'x', '')");
    message = feed_expect(feed, PGOUTPUT_MESSAGE); /* before the BEGIN of its own transaction */
    assert_false(message.transactional);
    assert_true(banyan_str_equal(message.prefix, BANYAN_STR("loose")));
    assert_int_equal(message.content.size, 0);
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
}

/* Case 20: a large value that an update does not touch is 'u'; the old row of FULL has it. */
static void unchanged_large_values(void **state)
{
    struct feed *feed = *state;
    struct pgoutput_message message;

    test_run(feed->admin, "CREATE TABLE doc (id int PRIMARY KEY, n int, body text)");
    test_run(feed->admin, "ALTER TABLE doc ALTER body SET STORAGE EXTERNAL");
    test_run(feed->admin, "INSERT INTO doc VALUES (1, 1, repeat('x', 9000))");
    test_run(feed->admin, "UPDATE doc SET n = 2");
    test_run(feed->admin, "ALTER TABLE doc REPLICA IDENTITY FULL");
    test_run(feed->admin, "UPDATE doc SET n = 3");
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    (void)feed_expect(feed, PGOUTPUT_RELATION);
    message = feed_expect(feed, PGOUTPUT_INSERT);
    assert_int_equal(message.new.cells[2].data.size, 9000);
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    message = feed_expect(feed, PGOUTPUT_UPDATE);
    assert_int_equal(message.old_kind, 0);
    cell_is(&message.new, 2, PGOUTPUT_CELL_UNCHANGED, NULL);
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    message = feed_expect(feed, PGOUTPUT_RELATION);
    assert_int_equal(message.relation->identity, 'f');
    assert_int_equal(message.relation->generation, 2);
    message = feed_expect(feed, PGOUTPUT_UPDATE);
    assert_int_equal(message.old_kind, 'O');
    assert_int_equal(message.old.cells[2].data.size, 9000);
    cell_is(&message.new, 2, PGOUTPUT_CELL_UNCHANGED, NULL);
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    test_run(feed->admin, "DROP TABLE doc");
}

/* Case 21: a changed key brings the old one; cells that are not part of it are 'n'.  Case 23: a no-op is sent. */
static void key_updates(void **state)
{
    struct feed *feed = *state;
    struct pgoutput_message message;

    test_run(feed->admin, "CREATE TABLE moved (id int PRIMARY KEY, note text)");
    test_run(feed->admin, "INSERT INTO moved VALUES (1, 'n')");
    test_run(feed->admin, "UPDATE moved SET id = 2");
    test_run(feed->admin, "UPDATE moved SET id = 2, note = 'n'");
    test_run(feed->admin, "UPDATE moved SET id = 3 WHERE false");
    test_run(feed->admin, "TRUNCATE moved");
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    (void)feed_expect(feed, PGOUTPUT_RELATION);
    (void)feed_expect(feed, PGOUTPUT_INSERT);
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    message = feed_expect(feed, PGOUTPUT_UPDATE);
    assert_int_equal(message.old_kind, 'K');
    cell_is(&message.old, 0, PGOUTPUT_CELL_TEXT, "1");
    cell_is(&message.old, 1, PGOUTPUT_CELL_NULL, NULL);
    cell_is(&message.new, 0, PGOUTPUT_CELL_TEXT, "2");
    cell_is(&message.new, 1, PGOUTPUT_CELL_TEXT, "n");
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    message = feed_expect(feed, PGOUTPUT_UPDATE);
    assert_int_equal(message.old_kind, 0);
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    message = feed_expect(feed, PGOUTPUT_TRUNCATE);
    assert_int_equal(message.truncated_count, 1);
    assert_true(banyan_str_equal(message.truncated[0]->name, BANYAN_STR("moved")));
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    test_run(feed->admin, "DROP TABLE moved");
}

/* Case 23: one message for several tables. */
static void truncate_of_several(void **state)
{
    struct feed *feed = *state;
    struct pgoutput_message message;

    test_run(feed->admin, "CREATE TABLE parent (id int PRIMARY KEY); "
                          "CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent)");
    test_run(feed->admin, "TRUNCATE parent RESTART IDENTITY CASCADE");
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    (void)feed_expect(feed, PGOUTPUT_RELATION);
    (void)feed_expect(feed, PGOUTPUT_RELATION);
    message = feed_expect(feed, PGOUTPUT_TRUNCATE);
    assert_int_equal(message.truncated_count, 2);
    assert_true(banyan_str_equal(message.truncated[0]->name, BANYAN_STR("parent")));
    assert_true(banyan_str_equal(message.truncated[1]->name, BANYAN_STR("child")));
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    test_run(feed->admin, "DROP TABLE child, parent");
}

/* Case 19: DDL between two inserts of one transaction; the earlier shape stays readable.  Sent again unchanged after
 * a reconnect it is the first generation of the new connection. */
static void shape_changes_within_a_transaction(void **state)
{
    struct feed *feed = *state;
    const struct pgoutput_relation *first, *second;
    struct pgoutput_message message;

    test_run(feed->admin, "CREATE TABLE growing (id int PRIMARY KEY, note text)");
    test_run(feed->admin, "BEGIN; INSERT INTO growing VALUES (1, 'a');"
                          "ALTER TABLE growing ADD COLUMN extra int DEFAULT 7; INSERT INTO growing VALUES (2, 'b');"
                          "ALTER TABLE growing DROP COLUMN note; INSERT INTO growing VALUES (3, 8); COMMIT");
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    message = feed_expect(feed, PGOUTPUT_RELATION);
    first = message.relation;
    assert_int_equal(first->generation, 1);
    message = feed_expect(feed, PGOUTPUT_INSERT);
    assert_ptr_equal(message.relation, first);
    message = feed_expect(feed, PGOUTPUT_RELATION);
    second = message.relation;
    assert_int_equal(second->generation, 2);
    assert_int_equal(second->id, first->id);
    message = feed_expect(feed, PGOUTPUT_INSERT);
    assert_int_equal(message.new.cell_count, 3);
    cell_is(&message.new, 2, PGOUTPUT_CELL_TEXT, "7");
    message = feed_expect(feed, PGOUTPUT_RELATION);
    assert_int_equal(message.relation->generation, 3);
    assert_true(banyan_str_equal(message.relation->columns[1].name, BANYAN_STR("extra")));
    message = feed_expect(feed, PGOUTPUT_INSERT);
    assert_int_equal(message.new.cell_count, 2);
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    assert_int_equal(first->column_count, 2);
    assert_true(banyan_str_equal(first->columns[1].name, BANYAN_STR("note")));
    assert_int_equal(second->column_count, 3);
    test_run(feed->admin, "DROP TABLE growing");
}

/* Case 30: the origin comes right after BEGIN.  Case 27: it may date the transaction as it likes. */
static void origins(void **state)
{
    struct feed *feed = *state;
    struct pgoutput_message message;

    test_run(feed->admin, "CREATE TABLE mirrored (id int PRIMARY KEY)");
    test_value_is(feed->admin, "SELECT pg_replication_origin_create('banyan: mirror') > 0", "t");
    test_run(feed->admin, "SELECT pg_replication_origin_session_setup('banyan: mirror')");
    test_run(feed->admin, "BEGIN; SELECT pg_replication_origin_xact_setup('0/ABCDEF', '2001-02-03 04:05:06+00');"
                          "INSERT INTO mirrored VALUES (1); COMMIT");
    test_run(feed->admin, "SELECT pg_replication_origin_session_reset()");
    message = feed_expect(feed, PGOUTPUT_BEGIN);
    assert_int_equal(message.commit_time.us, INT64_C(981173106000000));
    message = feed_expect(feed, PGOUTPUT_ORIGIN);
    assert_true(banyan_str_equal(message.prefix, BANYAN_STR("banyan: mirror")));
    assert_int_equal(message.lsn, 0xABCDEF);
    (void)feed_expect(feed, PGOUTPUT_RELATION);
    (void)feed_expect(feed, PGOUTPUT_INSERT);
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    test_run(feed->admin, "SELECT pg_replication_origin_drop('banyan: mirror')");
    test_run(feed->admin, "DROP TABLE mirrored");
}

/* Case 18: a prepared transaction arrives at COMMIT PREPARED, under the xid that prepared it. */
static void prepared_transactions(void **state)
{
    struct feed *feed = *state;
    struct pgoutput_message message;
    char *xid;

    test_run(feed->admin, "CREATE TABLE prepared (id int PRIMARY KEY)");
    test_run(feed->admin, "BEGIN");
    xid = test_value(feed->admin, "SELECT pg_current_xact_id()");
    test_run(feed->admin, "INSERT INTO prepared VALUES (1); PREPARE TRANSACTION 'p'");
    test_run(feed->admin, "SELECT pg_logical_emit_message(true, 'between', '')");
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    (void)feed_expect(feed, PGOUTPUT_MESSAGE);
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    test_run(feed->admin, "COMMIT PREPARED 'p'");
    message = feed_expect(feed, PGOUTPUT_BEGIN);
    assert_int_equal(message.xid, strtoull(xid, NULL, 10));
    (void)feed_expect(feed, PGOUTPUT_RELATION);
    (void)feed_expect(feed, PGOUTPUT_INSERT);
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    free(xid);
    test_run(feed->admin, "DROP TABLE prepared");
}

static void types_of_the_users_own(void **state)
{
    struct feed *feed = *state;
    struct pgoutput_message message;

    test_run(feed->admin, "CREATE TYPE colour AS ENUM ('red', 'green')");
    test_run(feed->admin, "CREATE TABLE painted (id int PRIMARY KEY, c colour)");
    test_run(feed->admin, "INSERT INTO painted VALUES (1, 'green')");
    (void)feed_expect(feed, PGOUTPUT_BEGIN);
    (void)feed_expect(feed, PGOUTPUT_TYPE);
    (void)feed_expect(feed, PGOUTPUT_RELATION);
    message = feed_expect(feed, PGOUTPUT_INSERT);
    cell_is(&message.new, 1, PGOUTPUT_CELL_BINARY, "green");
    (void)feed_expect(feed, PGOUTPUT_COMMIT);
    test_run(feed->admin, "DROP TABLE painted; DROP TYPE colour");
}

/* ---- what no server sends ---- */

enum {
    RECORDED_MAX = 4000,
    MUTANT_MAX = 8192, /* bytes */
};

struct recording {
    struct banyan_str messages[RECORDED_MAX];
    size_t count;
};

/* A bit of everything, streamed and not. */
static void record(struct feed *feed, struct recording *recording)
{
    struct pgoutput_message message = {0};
    struct pg_stream_message frame;

    test_run(feed->admin, "CREATE TYPE colour AS ENUM ('red'); CREATE TABLE a (id int PRIMARY KEY, c colour, t text);"
                          "CREATE TABLE b (id int PRIMARY KEY, t text); ALTER TABLE b REPLICA IDENTITY FULL");
    test_run(feed->admin,
             "BEGIN; INSERT INTO a VALUES (1, 'red', 'x'), (2, NULL, NULL); UPDATE a SET id = 3 WHERE id = 1;"
             "INSERT INTO b VALUES (1, repeat('y', 3000)); UPDATE b SET id = 2; DELETE FROM b; COMMIT");
    test_run(feed->admin, "TRUNCATE a, b");
    test_run(feed->admin,
             "BEGIN; INSERT INTO b SELECT i, repeat('z', 200) FROM generate_series(1, 600) AS i; SAVEPOINT s;"
             "INSERT INTO b SELECT i, repeat('z', 200) FROM generate_series(1001, 1600) AS i;"
             "ROLLBACK TO s; ALTER TABLE b ADD COLUMN more int; INSERT INTO b VALUES (0); COMMIT");
    test_run(feed->admin, "SELECT pg_logical_emit_message(true, 'end', 'of it')");
    while (recording->count < RECORDED_MAX && message.kind != PGOUTPUT_MESSAGE) {
        feed_next(feed, &frame, &message);
        recording->messages[recording->count++] = banyan_arena_str(&feed->arena, frame.data);
    }
    test_run(feed->admin, "DROP TABLE a, b; DROP TYPE colour");
}

/* Every byte of what was decoded can be read, and the tuples keep to their relation. */
static uint64_t look_at(const struct pgoutput_message *message)
{
    const struct pgoutput_tuple *tuples[] = {&message->old, &message->new};
    uint64_t sum = message->prefix.size + message->content.size;

    for (size_t i = 0; i < message->content.size; i++)
        sum += (uint8_t)message->content.data[i];
    for (size_t t = 0; t < 2; t++) {
        assert_true(tuples[t]->cell_count == 0 || tuples[t]->cell_count == message->relation->column_count);
        for (size_t c = 0; c < tuples[t]->cell_count; c++) {
            for (size_t i = 0; i < tuples[t]->cells[c].data.size; i++)
                sum += (uint8_t)tuples[t]->cells[c].data.data[i];
        }
    }
    for (uint32_t i = 0; i < message->truncated_count; i++)
        sum += message->truncated[i]->column_count;
    return sum;
}

static size_t mutate(struct os_random *random, const struct recording *recording, char *bytes, size_t max)
{
    struct banyan_str base = recording->messages[os_random_below(random, recording->count)];
    size_t size = base.size < max ? base.size : max;

    memcpy(bytes, base.data, size);
    for (uint64_t i = os_random_below(random, 4); i > 0 && size > 0; i--) {
        size_t at = os_random_below(random, os_random_below(random, 2) ? size : size < 40 ? size : 40);
        struct banyan_str other = recording->messages[os_random_below(random, recording->count)];
        size_t part = other.size < max - at ? other.size : max - at;

        switch (os_random_below(random, 5)) {
        case 0:
            bytes[at] = (char)os_random_next(random);
            break;
        case 1:
            bytes[at] ^= (char)(1 << os_random_below(random, 8));
            break;
        case 2:
            size = at;
            break;
        case 3:
            bytes[at] = os_random_below(random, 2) ? '\xff' : '\0';
            break;
        default:
            memcpy(bytes + at, other.data, part);
            size = at + part;
        }
    }
    return size;
}

static void hostile_bytes(void **state)
{
    static struct recording recording;
    struct feed *feed = *state;
    uint64_t seed = (uint64_t)os_clock_now(os_clock_real()).us, sum = 0, refused = 0, taken = 0;
    struct os_random random;
    char *bytes = malloc(MUTANT_MAX);

    record(feed, &recording);
    assert_true(recording.count > 1000);
    print_message("# seed %" PRIu64 "\n", seed);
    os_random_seed(&random, seed);
    for (int round = 0; round < 200; round++) {
        struct pgoutput *decoder = pgoutput_new(1 + os_random_below(&random, 2));
        size_t known = os_random_below(&random, recording.count);

        for (size_t i = 0; i < known; i++) { /* so that relations are known and a block may be open */
            struct pgoutput_message message;

            (void)!pgoutput_decode(decoder, recording.messages[i], &message, NULL);
        }
        for (int turn = 0; turn < 1000; turn++) {
            size_t size = mutate(&random, &recording, bytes, MUTANT_MAX);
            char *exact = malloc(size > 0 ? size : 1); /* so that a read behind it is seen */
            struct pgoutput_message message;
            struct banyan_error err = BANYAN_ERROR_INIT;

            memcpy(exact, bytes, size);
            switch (pgoutput_decode(decoder, (struct banyan_str){exact, size}, &message, &err)) {
            case BANYAN_OK:
                taken++;
                sum += look_at(&message);
                break;
            case BANYAN_PROTOCOL:
                refused++;
                assert_true(err.message[0] != '\0');
                break;
            default:
                fail_msg("seed %" PRIu64 ": another status", seed);
            }
            free(exact);
        }
        pgoutput_free(decoder);
    }
    print_message("# taken %" PRIu64 ", refused %" PRIu64 "\n", taken, refused);
    assert_true(taken > 10000 && refused > 10000 && sum > 0);
    free(bytes);
}

/* Where every prefix of a good message ends early, and a byte too many. */
static void cut_and_padded(void **state)
{
    static struct recording recording;
    struct feed *feed = *state;
    struct pgoutput *decoder = pgoutput_new(2);

    record(feed, &recording);
    for (size_t i = 0; i < recording.count; i++) {
        struct banyan_str whole = recording.messages[i];
        struct pgoutput_message message;
        char padded[MUTANT_MAX];

        for (size_t size = 0; size < whole.size && i < 60; size++) {
            char *exact = malloc(size + 1);
            enum banyan_status st;

            exact = realloc(exact, size > 0 ? size : 1);
            memcpy(exact, whole.data, size);
            st = pgoutput_decode(decoder, (struct banyan_str){exact, size}, &message, NULL);
            if (st != BANYAN_PROTOCOL)
                fail_msg("message %zu, cut to %zu of %zu bytes, was taken", i, size, whole.size);
            free(exact);
        }
        assert_true(whole.size < sizeof(padded));
        memcpy(padded, whole.data, whole.size);
        padded[whole.size] = '\0';
        assert_int_equal(pgoutput_decode(decoder, (struct banyan_str){padded, whole.size + 1}, &message, NULL),
                         BANYAN_PROTOCOL);
        assert_int_equal(pgoutput_decode(decoder, whole, &message, NULL), BANYAN_OK);
    }
    pgoutput_free(decoder);
}

/* Case 17: a stray abort in protocol 1 is a message like any other; what is out of place is refused. */
static void strays(void **state)
{
    static const char abort_[] = {'A', 0, 0, 1, 2, 0, 0, 1, 3}, start[] = {'S', 0, 0, 1, 2, 1}, stop[] = {'E'},
                      begin[21] = {'B'}, insert[] = {'I', 0, 0, 0, 9, 'N', 0, 0}, unknown[] = {'z'};
    struct pgoutput *one = pgoutput_new(1), *two = pgoutput_new(2);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pgoutput_message message;

    (void)state;
    OK(pgoutput_decode(one, (struct banyan_str){abort_, sizeof(abort_)}, &message, &err));
    assert_int_equal(message.kind, PGOUTPUT_STREAM_ABORT);
    assert_int_equal(message.xid, 0x102);
    assert_int_equal(message.subxid, 0x103);
    FAILS(PROTOCOL, pgoutput_decode(one, (struct banyan_str){start, sizeof(start)}, &message, &err));
    FAILS(PROTOCOL, pgoutput_decode(two, (struct banyan_str){stop, sizeof(stop)}, &message, &err));
    FAILS(PROTOCOL, pgoutput_decode(two, (struct banyan_str){insert, sizeof(insert)}, &message, &err));
    FAILS(PROTOCOL, pgoutput_decode(two, (struct banyan_str){unknown, sizeof(unknown)}, &message, &err));
    FAILS(PROTOCOL, pgoutput_decode(two, (struct banyan_str){"", 0}, &message, &err));
    banyan_error_clear(&err);
    OK(pgoutput_decode(two, (struct banyan_str){start, sizeof(start)}, &message, &err));
    FAILS(PROTOCOL, pgoutput_decode(two, (struct banyan_str){start, sizeof(start)}, &message, &err));
    FAILS(PROTOCOL, pgoutput_decode(two, (struct banyan_str){begin, sizeof(begin)}, &message, &err));
    banyan_error_clear(&err);
    OK(pgoutput_decode(two, (struct banyan_str){stop, sizeof(stop)}, &message, &err));
    assert_int_equal(message.xid, 0x102);
    OK(pgoutput_decode(two, (struct banyan_str){begin, sizeof(begin)}, &message, &err));
    pgoutput_free(one);
    pgoutput_free(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"rows_of_all_kinds, binary", rows_of_all_kinds, start_binary, end, NULL},
        {"rows_of_all_kinds, text", rows_of_all_kinds, start_text, end, NULL},
        cmocka_unit_test_setup_teardown(streamed_savepoint_rollback, start_binary, end),
        cmocka_unit_test_setup_teardown(streamed_transactions_interleave, start_binary, end),
        cmocka_unit_test_setup_teardown(fence_on_an_idle_database, start_binary, end),
        cmocka_unit_test_setup_teardown(unchanged_large_values, start_binary, end),
        cmocka_unit_test_setup_teardown(key_updates, start_text, end),
        cmocka_unit_test_setup_teardown(truncate_of_several, start_binary, end),
        cmocka_unit_test_setup_teardown(shape_changes_within_a_transaction, start_text, end),
        cmocka_unit_test_setup_teardown(origins, start_binary, end),
        cmocka_unit_test_setup_teardown(prepared_transactions, start_binary, end),
        cmocka_unit_test_setup_teardown(types_of_the_users_own, start_binary, end),
        cmocka_unit_test_setup_teardown(hostile_bytes, start_binary, end),
        cmocka_unit_test_setup_teardown(cut_and_padded, start_text, end),
        cmocka_unit_test(strays),
    };

    return cmocka_run_group_tests_name("pg/pgoutput", tests, NULL, NULL);
}
