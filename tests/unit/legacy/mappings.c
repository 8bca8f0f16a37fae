/* SPDX-License-Identifier: Apache-2.0 */
/* Several mappings in one source: one transaction is one append for all, each mapping is handed over for itself, and a
 * mapping may come later. */
#include "support/legacy_rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hung.h"
#include "legacy/check.h"
#include "legacy/records.h"
#include "support/market.h"
#include "support/test_domain.h"

enum {
    BATCH_MAX = 64,
    FRONT_SIZE = 25, /* of a held change, before the category */
};

static int up(void **state, int (*base)(void **state))
{
    if (base(state) != 0)
        return -1;
    struct rig *rig = *state;
    rig_sql(rig->db, "%s", market_schema_sql);
    rig->options.domain = &market_domain;
    return 0;
}

static int market_up(void **state)
{
    return up(state, rig_up);
}

static int market_ghost_up(void **state)
{
    return up(state, ghost_up);
}

/* ---- the log as text ---- */

static struct market_row payload_of(const struct store_event *event)
{
    struct market_row row;
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (banyan_record_decode(market_domain.events[MARKET_PUT].record, event->payload, &row, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return row;
}

/* "put(text) child(table,id,text) gone childgone(table,id)" */
static void tell(const struct store_event *event, struct banyan_buf *story)
{
    struct market_row row = payload_of(event);
    struct banyan_str text = row.text.data == NULL ? BANYAN_STR("-") : row.text;
    if (story->size > 0)
        banyan_buf_add_char(story, ' ');
    if (banyan_str_equal(event->type, BANYAN_STR("Put")))
        banyan_buf_printf(story, "put(%.*s)", (int)text.size, text.data);
    else if (banyan_str_equal(event->type, BANYAN_STR("Gone")))
        banyan_buf_add_text(story, "gone");
    else if (banyan_str_equal(event->type, BANYAN_STR("ChildPut")))
        banyan_buf_printf(story, "child(%" PRId64 ",%" PRId64 ",%.*s)", row.table, row.id, (int)text.size, text.data);
    else
        banyan_buf_printf(story, "childgone(%" PRId64 ",%" PRId64 ")", row.table, row.id);
}

static const char *story_of(struct rig *rig, const char *stream)
{
    struct banyan_buf story = BANYAN_BUF_INIT(16 << 20);
    struct store_reader *reader = store_reader_open(rig->store);
    struct store_read_event read;
    enum banyan_status status =
        store_reader_stream(reader, banyan_str_of(stream), (struct banyan_version){1}, &rig->err);
    while (status == BANYAN_OK && (status = store_reader_next(reader, &read, &rig->err)) == BANYAN_OK)
        tell(&read.event, &story);
    store_reader_close(reader);
    if (status != BANYAN_NOT_FOUND)
        rig_ok(rig, status, "reading a stream");
    const char *kept = banyan_arena_str(&rig->arena, banyan_buf_str(&story)).data;
    banyan_buf_release(&story);
    return kept;
}

/* The streams of the batch that the first event of *stream* is in, in the order of the log, with how many events each
 * has; system streams and batches before are left out. */
static const char *batch_of(struct rig *rig, const char *stream)
{
    struct banyan_buf text = BANYAN_BUF_INIT(1 << 20);
    struct store_reader *reader = store_reader_open(rig->store);
    struct store_read_event read;
    char last[64] = "";
    unsigned count = 0;
    bool found = false;
    RIG_OK(rig, store_reader_seek(reader, (struct banyan_position){1}, &rig->err));
    while (store_reader_next(reader, &read, &rig->err) == BANYAN_OK) {
        struct banyan_str name = read.event.stream;
        found |= banyan_str_equal(name, banyan_str_of(stream));
        if (name.size != strlen(last) || memcmp(name.data, last, name.size) != 0) {
            if (count > 0)
                banyan_buf_printf(&text, "%s%s:%u", text.size > 0 ? " " : "", last, count);
            snprintf(last, sizeof(last), "%.*s", (int)name.size, name.data);
            count = 0;
        }
        count++;
        if (!read.ends_batch)
            continue;
        banyan_buf_printf(&text, "%s%s:%u", text.size > 0 ? " " : "", last, count);
        if (found)
            break;
        banyan_buf_reset(&text);
        last[0] = '\0';
        count = 0;
    }
    store_reader_close(reader);
    const char *kept = banyan_arena_str(&rig->arena, banyan_buf_str(&text)).data;
    banyan_buf_release(&text);
    return kept;
}

/* Every row of the five tables is the last word of its stream, and nothing else is there. */
static void assert_equal_to_tables(struct rig *rig)
{
    static const char wanted_sql[] =
        "SELECT coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), '') FROM ("
        " SELECT 'order-' || id || ' 0 ' || coalesce(text, '-') AS line FROM orders"
        " UNION ALL SELECT 'order-' || order_id || ' 1 ' || id || ' ' || coalesce(text, '-') FROM items"
        " UNION ALL SELECT 'order-' || order_id || ' 2 ' || id || ' ' || coalesce(text, '-') FROM payments"
        " UNION ALL SELECT 'payment-' || id || ' 0 ' || coalesce(text, '-') FROM payments"
        " UNION ALL SELECT 'payment-' || payment_id || ' 1 ' || id || ' ' || coalesce(text, '-') FROM notes"
        " UNION ALL SELECT 'stock-' || id || ' 0 ' || coalesce(text, '-') FROM stock) lines";
    rig_sql(rig->db, "CREATE TEMP TABLE seen (n serial, place text, text text)");
    struct store_reader *reader = store_reader_open(rig->store);
    struct store_read_event read;
    struct banyan_buf sql = BANYAN_BUF_INIT(64 << 20);
    enum banyan_status status = store_reader_seek(reader, (struct banyan_position){1}, &rig->err);
    banyan_buf_add_text(&sql, "INSERT INTO seen (place, text) VALUES ('x', NULL)");
    while (status == BANYAN_OK && (status = store_reader_next(reader, &read, &rig->err)) == BANYAN_OK) {
        const struct store_event *event = &read.event;
        if (event->stream.data[0] == '$')
            continue;
        struct market_row row = payload_of(event);
        bool gone =
            banyan_str_equal(event->type, BANYAN_STR("Gone")) || banyan_str_equal(event->type, BANYAN_STR("ChildGone"));
        banyan_buf_printf(&sql, ", ('%.*s %" PRId64, (int)event->stream.size, event->stream.data, row.table);
        if (row.table > 0)
            banyan_buf_printf(&sql, " %" PRId64, row.id);
        if (gone)
            banyan_buf_add_text(&sql, "', NULL)");
        else
            banyan_buf_printf(&sql, "', '%.*s')", (int)(row.text.data == NULL ? 1 : row.text.size),
                              row.text.data == NULL ? "-" : row.text.data);
    }
    store_reader_close(reader);
    assert_false(sql.overflow);
    rig_sql(rig->db, "%s", sql.data);
    banyan_buf_release(&sql);
    const char *seen = rig_value(rig, rig->db,
                                 "SELECT coalesce(string_agg(place || ' ' || text, E'\\n' ORDER BY place || ' ' || text"
                                 " COLLATE \"C\"), '') FROM (SELECT DISTINCT ON (place) place, text FROM seen"
                                 " ORDER BY place, n DESC) last WHERE text IS NOT NULL");
    const char *wanted = rig_value(rig, rig->db, "%s", wanted_sql);
    if (strcmp(seen, wanted) != 0)
        fail_msg("seen:\n%s\nwanted:\n%s", seen, wanted);
    rig_sql(rig->db, "DROP TABLE seen");
}

static void fill(struct rig *rig, const char *count)
{
    rig_sql(rig->db,
            "INSERT INTO orders SELECT i, 'o' || i FROM generate_series(1, %s) i;"
            "INSERT INTO items SELECT i, j, 'i' FROM generate_series(1, %s) i, generate_series(1, 2) j;"
            "INSERT INTO payments SELECT i, i / 2 + 1, 'p' || i FROM generate_series(1, %s) i;"
            "INSERT INTO notes SELECT i, 1, NULL FROM generate_series(1, %s) i;"
            "INSERT INTO stock SELECT i, 's' || i FROM generate_series(1, %s) i",
            count, count, count, count, count);
}

/* ---- tests ---- */

static void test_all_mappings_are_backfilled_and_captured(void **state)
{
    struct rig *rig = *state;
    struct legacy_status status;
    fill(rig, "500");
    rig->options.chunk_rows = 60;
    rig_start(rig);
    rig_sql(rig->db,
            "UPDATE payments SET text = 'paid' WHERE id %% 3 = 0; UPDATE stock SET text = 'less' WHERE id < 50;"
            "UPDATE orders SET text = 'done' WHERE id > 400; DELETE FROM payments WHERE id %% 7 = 0");
    rig_backfilled(rig);
    rig_sql(rig->db, "INSERT INTO payments VALUES (1000, 3, 'new'); UPDATE payments SET order_id = 4 WHERE id = 1000;"
                     "INSERT INTO notes VALUES (1000, 9, 'why')");
    rig_fence(rig);
    assert_string_equal(story_of(rig, "payment-1000"), "put(new) put(new) child(1,9,why)");
    assert_non_null(strstr(story_of(rig, "order-3"), "child(2,1000,new) childgone(2,1000)"));
    assert_non_null(strstr(story_of(rig, "order-4"), "child(2,1000,new)"));
    assert_equal_to_tables(rig);
    legacy_status(rig->legacy, &status);
    assert_int_equal(status.mapping_count, 3);
    uint64_t roots = 0, chunks = 0;
    for (size_t m = 0; m < 3; m++) {
        assert_true(status.mappings[m].done);
        assert_true(status.mappings[m].chunks_done >= 7);
        roots += status.mappings[m].roots_read;
        chunks += status.mappings[m].chunks_done;
    }
    assert_string_equal(status.mappings[1].category, "payment");
    assert_int_equal(status.roots_read, roots);
    assert_int_equal(status.chunks_done, chunks);
}

/* One append, mapping by mapping, and in a mapping by the first change of the key. */
static void test_one_transaction_is_one_append(void **state)
{
    struct rig *rig = *state;
    rig_start(rig);
    rig_backfilled(rig);
    rig_sql(rig->db, "INSERT INTO stock VALUES (7, 'a'); INSERT INTO payments VALUES (5, 2, 'p');"
                     "INSERT INTO orders VALUES (2, 'x'), (1, 'y'); INSERT INTO items VALUES (1, 1, 'i');"
                     "INSERT INTO payments VALUES (4, 1, 'q'); UPDATE stock SET text = 'b'");
    rig_fence(rig);
    assert_string_equal(batch_of(rig, "stock-7"), "order-2:2 order-1:3 payment-5:1 payment-4:1 stock-7:2");
    assert_equal_to_tables(rig);
}

/* The same of a transaction that is streamed, rolled back in part, and larger than memory. */
static void test_large_transaction_is_one_append(void **state)
{
    struct rig *rig = *state;
    struct legacy_status status;
    rig_sql(rig->server, "ALTER DATABASE %s SET logical_decoding_work_mem = '64kB'", rig->database);
    rig->options.spool_memory_bytes = 256 * 1024;
    rig_start(rig);
    rig_backfilled(rig);
    fill(rig, "20");
    rig_fence(rig);
    rig_sql(rig->db,
            "BEGIN; INSERT INTO payments SELECT i, i / 2, 'p' FROM generate_series(1000, 4000) i;"
            "SAVEPOINT a; UPDATE payments SET text = 'gone'; ROLLBACK TO a;"
            "UPDATE stock SET text = 'large'; INSERT INTO orders SELECT i, 'l' FROM generate_series(1000, 2500) i;"
            "UPDATE payments SET text = 'large' WHERE id < 3000; COMMIT");
    rig_fence(rig);
    legacy_status(rig->legacy, &status);
    assert_int_equal(status.transactions_streamed, 1);
    const char *batch = batch_of(rig, "order-1000");
    const char *payment = strstr(batch, "payment-"), *stock = strstr(batch, "stock-");
    assert_non_null(payment);
    assert_non_null(stock);
    assert_memory_equal(batch, "order-", 6);
    assert_true(payment < stock);
    assert_null(strstr(payment, " order-"));
    assert_null(strstr(stock, " payment-"));
    assert_non_null(strstr(batch, "payment-4000:1"));
    assert_equal_to_tables(rig);
}

/* A TRUNCATE concerns the mappings of its table, and stops the source only where one has keys that it would take. */
static void test_truncate_of_any_mapping_stops(void **state)
{
    struct rig *rig = *state;
    rig_start(rig);
    rig_backfilled(rig);
    rig_sql(rig->db, "TRUNCATE stock");
    rig_failed(rig);
    assert_int_equal(rig->err.status, BANYAN_TABLE);
    assert_non_null(strstr(rig->err.message, "table stock was truncated"));
}

static const struct check_finding *finding_of(const struct check_report *report, const char *name)
{
    const struct check_finding *found = NULL;
    for (size_t i = 0; i < report->count; i++) {
        if (strcmp(report->findings[i].name, name) != 0)
            continue;
        assert_null(found); /* told once */
        found = &report->findings[i];
    }
    assert_non_null(found);
    return found;
}

/* What depends on the mapping is told for each, the rest once. */
static void test_check_looks_at_all_mappings(void **state)
{
    struct rig *rig = *state;
    struct check_report report;
    rig_sql(rig->db, "ALTER TABLE payments REPLICA IDENTITY DEFAULT; ALTER TABLE stock DROP CONSTRAINT stock_pkey");
    RIG_OK(rig, legacy_check(&rig->options, &rig->arena, &report, &rig->err));
    assert_int_equal(finding_of(&report, "table payments")->verdict, CHECK_OK);
    assert_int_equal(finding_of(&report, "table payments: right to read")->verdict, CHECK_OK);
    assert_int_equal(finding_of(&report, "table payments: identity")->verdict, CHECK_WARNING);
    assert_int_equal(finding_of(&report, "table payments (payment): identity")->verdict, CHECK_OK);
    assert_int_equal(finding_of(&report, "table notes")->verdict, CHECK_OK);
    assert_int_equal(finding_of(&report, "table stock")->verdict, CHECK_FAILED);
    rig_sql(rig->db,
            "ALTER TABLE stock ADD PRIMARY KEY (id); CREATE PUBLICATION \"banyan pub\" FOR TABLE orders, items,"
            " payments, stock");
    RIG_OK(rig, legacy_check(&rig->options, &rig->arena, &report, &rig->err));
    assert_int_equal(finding_of(&report, "publication: table payments")->verdict, CHECK_OK);
    assert_int_equal(finding_of(&report, "publication: table notes")->verdict, CHECK_FAILED);
}

/* ---- a log from before ---- */

/* Without what was not written when there was but one mapping. */
static struct banyan_str old_payload(struct rig *rig, const struct store_event *event)
{
    struct banyan_str payload = event->payload;
    const char *end;
    if (banyan_str_equal(event->type, BANYAN_STR("ChangeHeld"))) {
        struct records_held held;
        RIG_OK(rig, records_held_decode(payload, &held, &rig->err));
        assert_true(banyan_str_equal(held.category, BANYAN_STR("order")));
        struct banyan_buf old = BANYAN_BUF_INIT(1 << 20);
        banyan_buf_add(&old, payload.data, FRONT_SIZE);
        banyan_buf_add_str(&old, held.change);
        old.data[0] = 1;
        struct banyan_str kept = banyan_arena_str(&rig->arena, banyan_buf_str(&old));
        banyan_buf_release(&old);
        return kept;
    }
    end = memmem(payload.data, payload.size, ",\"categor", 9);
    if (event->stream.data[0] != '$' || end == NULL)
        return payload;
    char *text = banyan_arena_alloc(&rig->arena, payload.size + 1);
    size_t size = (size_t)(end - payload.data);
    memcpy(text, payload.data, size);
    text[size++] = '}';
    return (struct banyan_str){text, size};
}

/* The store is written anew as it was when a source had one mapping and no names for it. */
static void make_log_old(struct rig *rig)
{
    struct banyan_buf folder = BANYAN_BUF_INIT(4096);
    banyan_buf_printf(&folder, "%s/old", rig->folder);
    struct store_options options = {.folder = folder.data};
    struct store *old = NULL;
    struct store_reader *reader = store_reader_open(rig->store);
    struct store_read_event read;
    struct store_event events[BATCH_MAX];
    size_t count = 0, stripped = 0;
    RIG_OK(rig, store_open(&options, &old, &rig->err));
    RIG_OK(rig, store_reader_seek(reader, (struct banyan_position){1}, &rig->err));
    while (store_reader_next(reader, &read, &rig->err) == BANYAN_OK) {
        struct store_event *event = &events[count++];
        assert_true(count < BATCH_MAX);
        *event = read.event;
        event->payload = old_payload(rig, &read.event);
        stripped += event->payload.data != read.event.payload.data;
        event->stream = banyan_arena_str(&rig->arena, event->stream);
        event->type = banyan_arena_str(&rig->arena, event->type);
        event->meta = banyan_arena_str(&rig->arena, event->meta);
        event->payload = banyan_arena_str(&rig->arena, event->payload);
        if (!read.ends_batch)
            continue;
        struct store_appended appended;
        struct store_append append = {.events = events, .event_count = count, .cursor = read.cursor};
        RIG_OK(rig, store_append(old, &append, &appended, &rig->err));
        count = 0;
    }
    assert_true(stripped > 2); /* HandoverStarted, chunks, held changes */
    store_reader_close(reader);
    store_close(old);
    free(rig->store_folder);
    rig->store_folder = strdup(folder.data);
    banyan_buf_release(&folder);
}

static void wait_chunk(struct rig *rig)
{
    struct os_retry retry = {.first_us = 1000, .pause_us_max = 1000, .total_us_max = 30 * 1000 * 1000};
    struct legacy_status status;
    do
        legacy_status(rig->legacy, &status);
    while (status.chunks_done == 0 && os_retry_pause(&retry, NULL));
    assert_true(status.chunks_done > 0);
}

/* What has no category is of the first mapping: chunks, held changes, the beginning. */
static void test_log_without_categories_is_read(void **state)
{
    struct rig *rig = *state;
    struct hung hung = {.conn = NULL};
    struct pg_conn *locker = rig_connect(rig);
    rig_sql(rig->db, "INSERT INTO orders SELECT i, 'a' FROM generate_series(1, 2000) i");
    rig->options.domain = &market_orders_domain;
    rig->options.chunk_rows = 10;
    rig->options.workers = 1;
    rig_start(rig);
    wait_chunk(rig);
    rig_sql(locker, "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE");
    hung_start(rig, &hung, "UPDATE orders SET text = 'b' WHERE id = 1");
    wait_held(rig, 1);
    os_stop_request(&rig->stop);
    rig_sql(locker, "COMMIT");
    rig_stop(rig);
    rig_open_store(rig);
    make_log_old(rig);
    store_close(rig->store);
    rig->store = NULL;
    rig_start(rig);
    rig_backfilled(rig);
    hung_end(rig, &hung);
    rig_fence(rig);
    assert_string_equal(story_of(rig, "order-1"), "put(a) put(b)");
    assert_equal_to_tables(rig);
    assert_int_equal(rig_count(rig, "Put"), 2001);
    assert_int_equal(rig_count(rig, "ChangeHeld"), 1);
    pg_close(locker);
}

/* ---- mappings that come and go ---- */

static void test_new_mapping_is_backfilled_alone(void **state)
{
    struct rig *rig = *state;
    fill(rig, "100");
    rig->options.domain = &market_orders_domain;
    rig->options.chunk_rows = 30;
    rig_start(rig);
    rig_backfilled(rig);
    rig_sql(rig->db, "UPDATE payments SET text = 'old' WHERE id < 20; UPDATE stock SET text = 'old' WHERE id < 10");
    rig_fence(rig);
    uint64_t orders = rig_count_saying(rig, "Put", "");
    rig_stop(rig);
    rig_sql(rig->db, "UPDATE payments SET text = 'down' WHERE id > 90");

    rig->options.domain = &market_domain;
    assert_int_equal(rig_try_start(rig), BANYAN_SETTING); /* the tables are not published */
    assert_non_null(strstr(rig->err.hint, "ADD TABLE"));
    rig_sql(rig->db, "ALTER PUBLICATION \"banyan pub\" ADD TABLE notes, stock");
    rig_start(rig);
    rig_sql(rig->db, "UPDATE payments SET text = 'up' WHERE id = 50; DELETE FROM stock WHERE id = 60");
    rig_backfilled(rig);
    rig_sql(rig->db, "UPDATE orders SET text = 'up' WHERE id = 1; UPDATE stock SET text = 'up' WHERE id = 1");
    rig_fence(rig);
    assert_equal_to_tables(rig);
    assert_true(rig_count(rig, "Put") >= orders + 199 + 2);
    assert_int_equal(rig_count(rig, "MappingStarted"), 2);
    assert_int_equal(rig_count(rig, "BackfillCompleted"), 2);
    assert_string_equal(story_of(rig, "order-1"),
                        "put(o1) child(1,1,i) child(1,2,i) child(2,1,p1) child(2,1,old) put(up)");
    assert_string_equal(story_of(rig, "stock-1"), "put(old) put(up)");

    rig_stop(rig);
    rig_sql(rig->db, "UPDATE stock SET text = 'again' WHERE id = 2");
    rig_start(rig);
    rig_fence(rig);
    assert_string_equal(story_of(rig, "stock-2"), "put(old) put(again)");
    assert_int_equal(rig_count(rig, "MappingStarted"), 2);
}

/* Killed while the new mappings are read: the next start goes on with them. */
static void test_new_mapping_survives_a_kill(void **state)
{
    struct rig *rig = *state;
    fill(rig, "400");
    rig->options.domain = &market_orders_domain;
    rig_start(rig);
    rig_backfilled(rig);
    rig_stop(rig);
    rig_sql(rig->db, "ALTER PUBLICATION \"banyan pub\" ADD TABLE notes, stock");
    rig->options.domain = &market_domain;
    rig->options.chunk_rows = 3;
    for (unsigned i = 0; i < 3; i++) {
        pid_t pid = rig_fork(rig);
        struct os_retry pause = {.first_us = 60 * 1000, .pause_us_max = 60 * 1000};
        (void)os_retry_pause(&pause, NULL);
        rig_sql(rig->db,
                "UPDATE stock SET text = 'k' || id WHERE id %% 5 = %u;"
                "UPDATE payments SET text = 'k%u' WHERE id %% 7 = %u",
                i, i, i);
        (void)os_retry_pause(&pause, NULL);
        rig_kill(pid);
    }
    rig_start(rig);
    rig_backfilled(rig);
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "MappingStarted"), 2);
    assert_equal_to_tables(rig);
}

/* A transaction that is in the stream, and behind the cursor, while no snapshot sees it: the mapping that comes later
 * has to wait for it, or its chunks would not have it either. */
static void test_new_mapping_waits_for_what_is_not_visible(void **state)
{
    struct rig *rig = *state;
    struct hung hung = {.conn = NULL};
    fill(rig, "10");
    rig->options.domain = &market_orders_domain;
    rig_start(rig);
    rig_backfilled(rig);
    rig_sql(rig->db, "ALTER PUBLICATION \"banyan pub\" ADD TABLE notes, stock");
    hung_start(rig, &hung,
               "BEGIN; INSERT INTO stock VALUES (77, 'hung'); UPDATE orders SET text = 'hung' WHERE id = 1;"
               "COMMIT");
    rig_fence(rig);
    assert_non_null(strstr(story_of(rig, "order-1"), "put(hung)")); /* the cursor is past it */
    rig_stop(rig);

    rig->options.domain = &market_domain;
    rig->options.lock_timeout_us = 300 * 1000;
    assert_int_equal(rig_try_start(rig), BANYAN_TIMEOUT);
    assert_non_null(strstr(rig->err.detail, hung.pid));
    assert_int_equal(rig_count(rig, "MappingStarted"), 0);
    hung_end(rig, &hung);
    rig_start(rig);
    rig_backfilled(rig);
    rig_fence(rig);
    assert_string_equal(story_of(rig, "stock-77"), "put(hung)");
    assert_equal_to_tables(rig);
}

static void test_mapping_that_is_gone_is_refused(void **state)
{
    struct rig *rig = *state;
    rig_start(rig);
    rig_backfilled(rig);
    rig_stop(rig);
    rig->options.domain = &market_orders_domain;
    assert_int_equal(rig_try_start(rig), BANYAN_CONFIG);
    assert_non_null(strstr(rig->err.message, "payment"));
    assert_true(rig->err.hint[0] != '\0');
    rig->options.domain = &market_domain;
    rig_start(rig);
}

int main(void)
{
#define TEST(name, before, after) cmocka_unit_test_setup_teardown(name, before, after)
    const struct CMUnitTest tests[] = {
        TEST(test_all_mappings_are_backfilled_and_captured, market_up, rig_down),
        TEST(test_one_transaction_is_one_append, market_up, rig_down),
        TEST(test_large_transaction_is_one_append, market_up, rig_down),
        TEST(test_truncate_of_any_mapping_stops, market_up, rig_down),
        TEST(test_check_looks_at_all_mappings, market_up, rig_down),
        TEST(test_log_without_categories_is_read, market_ghost_up, ghost_down),
        TEST(test_new_mapping_is_backfilled_alone, market_up, rig_down),
        TEST(test_new_mapping_survives_a_kill, market_up, rig_down),
        TEST(test_new_mapping_waits_for_what_is_not_visible, market_ghost_up, ghost_down),
        TEST(test_mapping_that_is_gone_is_refused, market_up, rig_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
