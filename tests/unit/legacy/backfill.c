/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backfill workers against a real server, with an engine of ours in the place of engine.c and apply.c: it keeps the
 * events in memory and can interfere between chunks.
 */
#include <inttypes.h>

#include "legacy/legacy_int.h"
#include "support/baskets.h"
#include "unit/pg/pg_test.h"

enum {
    EVENTS_MAX = 20000,
    WORKERS = 2,
};

struct seen {
    int64_t key;
    struct banyan_uuid id;
    char text[48]; /* "Opened 5 name", "Added label" */
};

/* What the engine in this test saw and does. */
static struct {
    struct legacy legacy;
    struct legacy_mapping mapping;
    struct legacy_tables tables;
    struct os_stop stop;
    struct seen events[EVENTS_MAX];
    size_t count, chunks, retries;
    uint64_t covered_lsn; /* has to be flushed before a chunk is committed; 0: not looked at */
    bool kill_worker;     /* terminate the workers' connections once, after two chunks */
    struct pg_conn *aside, *holder;
    struct banyan_error failure;
    bool failed;
} engine;

/* For the workers' threads, which cannot fail a test by themselves. */
static void claim(struct legacy *legacy, bool true_claim, const char *text)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (true_claim)
        return;
    (void)banyan_error_set(&err, BANYAN_INVALID, "not true: %s", text);
    legacy_fail(legacy, &err);
}

static uint64_t lsn_of(struct pg_conn *conn, const char *sql)
{
    char *text = test_value(conn, sql);
    uint64_t lsn = 0;
    assert_true(pg_lsn_parse(banyan_str_of(text), &lsn));
    free(text);
    return lsn;
}

static void keep(const struct store_event *event, int64_t key)
{
    assert_true(engine.count < EVENTS_MAX);
    struct seen *seen = &engine.events[engine.count++];
    struct banyan_error err = BANYAN_ERROR_INIT;
    *seen = (struct seen){.key = key, .id = event->id};
    if (banyan_str_equal(event->type, BANYAN_STR("Opened"))) {
        struct basket_opened opened;
        OK(banyan_record_decode(baskets_domain.events[BASKET_OPENED].record, event->payload, &opened, &err));
        snprintf(seen->text, sizeof(seen->text), "Opened %" PRId64 " %.*s", opened.id, (int)opened.name.size,
                 opened.name.data);
    } else {
        struct basket_added added;
        OK(banyan_record_decode(baskets_domain.events[BASKET_ADDED].record, event->payload, &added, &err));
        snprintf(seen->text, sizeof(seen->text), "Added %.*s", (int)added.label.size,
                 added.label.data == NULL ? "" : added.label.data);
    }
}

enum banyan_status legacy_chunk_commit(struct legacy *legacy, size_t mapping, const struct handover_chunk *chunk,
                                       const struct pg_snapshot *snapshot, struct mapper_events *events,
                                       struct banyan_arena *arena, struct banyan_error *err)
{
    size_t held;
    (void)arena;
    (void)err;
    pthread_mutex_lock(&legacy->order);
    handover_chunk_end(legacy->mappings[mapping].handover, chunk->id, snapshot, &held);
    for (size_t i = 0; i < events->span_count; i++) {
        int64_t key = events->spans[i].key;
        claim(legacy, key >= chunk->lo && (key < chunk->hi || chunk->hi == INT64_MAX), "keys are those of the chunk");
        claim(legacy, i == 0 || key > events->spans[i - 1].key, "keys ascend");
        for (size_t j = 0; j < events->spans[i].count; j++)
            keep(&events->items[events->spans[i].first + j], key);
    }
    engine.chunks++;
    if (engine.covered_lsn != 0)
        claim(legacy, lsn_of(engine.aside, "SELECT pg_current_wal_flush_lsn()") >= engine.covered_lsn,
              "what the chunk saw is flushed");
    if (engine.kill_worker && engine.chunks == 2) {
        engine.kill_worker = false;
        test_run(engine.aside, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                               " WHERE application_name = 'banyan/test'");
    }
    pthread_mutex_unlock(&legacy->order);
    return BANYAN_OK;
}

void legacy_fail(struct legacy *legacy, const struct banyan_error *err)
{
    pthread_mutex_lock(&legacy->shared.lock);
    engine.failure = *err;
    engine.failed = true;
    pthread_mutex_unlock(&legacy->shared.lock);
}

bool legacy_ending(struct legacy *legacy)
{
    pthread_mutex_lock(&legacy->shared.lock);
    bool ending = engine.failed;
    pthread_mutex_unlock(&legacy->shared.lock);
    return ending || os_stop_requested(&engine.stop);
}

void legacy_retrying(struct legacy *legacy, const struct banyan_error *err)
{
    (void)err;
    pthread_mutex_lock(&legacy->shared.lock);
    engine.retries++;
    struct pg_conn *holder = engine.holder;
    engine.holder = NULL;
    pthread_mutex_unlock(&legacy->shared.lock);
    pg_close(holder); /* whoever held the lock lets go */
}

void legacy_working(struct legacy *legacy)
{
    (void)legacy;
}

/* ---- around each test ---- */

static int set_up(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    memset(&engine, 0, sizeof(engine));
    struct legacy *legacy = &engine.legacy;
    engine.aside = test_connect(false);
    test_run(engine.aside, "DROP TABLE IF EXISTS baskets, items; " BASKETS_SQL);
    OK(os_stop_open(&engine.stop, &err));
    pthread_mutex_init(&legacy->plan, NULL);
    pthread_mutex_init(&legacy->order, NULL);
    pthread_mutex_init(&legacy->shared.lock, NULL);
    legacy->options = (struct legacy_options){
        .domain = &baskets_domain, .conninfo = test_conninfo(), .chunk_rows = 7, .stop = &engine.stop};
    legacy->source_id = BANYAN_STR("1234/test");
    legacy->application_name = BANYAN_STR("banyan/test");
    legacy->mappings = &engine.mapping;
    legacy->tables = &engine.tables;
    legacy->mapping_count = 1;
    OK(legacy_tables_resolve(engine.aside, baskets_domain.mappings, &engine.tables, &err));
    return 0;
}

static int tear_down(void **state)
{
    struct legacy *legacy = &engine.legacy;
    handover_free(engine.mapping.handover);
    pg_close(engine.aside);
    pg_close(engine.holder);
    os_stop_close(&engine.stop);
    pthread_mutex_destroy(&legacy->plan);
    pthread_mutex_destroy(&legacy->order);
    pthread_mutex_destroy(&legacy->shared.lock);
    return 0;
}

static void run_workers(void)
{
    struct legacy *legacy = &engine.legacy;
    handover_free(engine.mapping.handover);
    engine.mapping.handover = handover_new();
    engine.count = engine.chunks = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        os_thread_start(&legacy->workers[i], "backfill", backfill_worker, legacy);
    for (unsigned i = 0; i < WORKERS; i++) {
        os_thread_join(&legacy->workers[i]);
        legacy->workers[i].started = false;
    }
    if (engine.failed)
        fail_msg("%s (%s) %s", engine.failure.message, engine.failure.detail, engine.failure.hint);
    assert_true(handover_complete(engine.mapping.handover));
    /* Keys came chunk by chunk, each once and in one piece: stable by key is all that is wanted. */
    for (size_t i = 1; i < engine.count; i++)
        for (size_t j = i; j > 0 && engine.events[j].key < engine.events[j - 1].key; j--) {
            struct seen moved = engine.events[j];
            engine.events[j] = engine.events[j - 1];
            engine.events[j - 1] = moved;
        }
}

/* What the tables hold, as the events should tell it. */
static const char expected_sql[] =
    "SELECT key, text FROM ("
    " SELECT id AS key, 0 AS kind, 0 AS item, 'Opened ' || id || ' ' || name AS text FROM baskets"
    " UNION ALL SELECT basket, 1, id, 'Added ' || coalesce(label, '') FROM items) all_rows ORDER BY key, kind, item";

static void assert_events_are_the_tables(void)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    OK(pg_exec(engine.aside, expected_sql, NULL, 0, &result, &err));
    assert_int_equal(pg_rows(result), engine.count);
    for (size_t i = 0; i < engine.count; i++) {
        struct banyan_str text = pg_text(result, i, 1);
        assert_int_equal(pg_int(result, i, 0), engine.events[i].key);
        assert_int_equal(text.size, strlen(engine.events[i].text));
        assert_memory_equal(text.data, engine.events[i].text, text.size);
    }
    pg_result_free(result);
}

/* ---- tests ---- */

static void each_key_once_with_its_children(void **state)
{
    test_run(engine.aside,
             "INSERT INTO baskets SELECT g * 3, 'b' || g FROM generate_series(-30, 100) g;"
             "INSERT INTO items (basket, label) SELECT g % 330, nullif('i' || g, 'i7') FROM generate_series(1, 999) g");
    run_workers();
    assert_events_are_the_tables();
    assert_true(engine.chunks >= 131 / 7);
    const struct legacy_status *status = &engine.legacy.shared.status;
    assert_int_equal(status->roots_read, 131);
    assert_int_equal(status->rows_read, 131 + 999);
}

static void keys_at_the_ends_of_the_range(void **state)
{
    engine.legacy.options.chunk_rows = 1;
    test_run(engine.aside, "INSERT INTO baskets VALUES (9223372036854775807, 'max'), (9223372036854775806, 'below'),"
                           " (0, 'zero'), (-9223372036854775808, 'min');"
                           "INSERT INTO items (basket, label) VALUES (9223372036854775807, 'last'),"
                           " (-9223372036854775808, 'first'), (9223372036854775805, 'lost')");
    run_workers();
    assert_events_are_the_tables();
}

static void empty_tables_are_one_chunk(void **state)
{
    run_workers();
    assert_int_equal(engine.count, 0);
    assert_int_equal(engine.chunks, 1);
}

static void killed_connection_costs_a_chunk(void **state)
{
    test_run(engine.aside, "INSERT INTO baskets SELECT g, 'b' || g FROM generate_series(1, 200) g;"
                           "INSERT INTO items (basket, label) SELECT g % 220, 'i' || g FROM generate_series(1, 900) g");
    engine.kill_worker = true;
    run_workers();
    assert_true(engine.retries > 0);
    assert_events_are_the_tables();
}

static void repeated_backfill_gives_the_same_ids(void **state)
{
    test_run(engine.aside, "INSERT INTO baskets SELECT g, 'b' || g FROM generate_series(1, 50) g;"
                           "INSERT INTO items (basket, label) SELECT g % 60, 'i' || g FROM generate_series(1, 300) g");
    run_workers();
    assert_int_equal(engine.count, 350);
    struct banyan_uuid *first = calloc(engine.count, sizeof(*first));
    assert_non_null(first);
    for (size_t i = 0; i < engine.count; i++)
        first[i] = engine.events[i].id;
    engine.legacy.options.chunk_rows = 5;
    run_workers();
    assert_int_equal(engine.count, 350);
    for (size_t i = 0; i < engine.count; i++) {
        assert_true(banyan_uuid_equal(first[i], engine.events[i].id));
        for (size_t j = 0; j < i; j++)
            assert_false(banyan_uuid_equal(first[i], first[j]));
    }
    free(first);
}

static void locked_table_is_waited_for(void **state)
{
    test_run(engine.aside, "INSERT INTO baskets SELECT g, 'b' || g FROM generate_series(1, 20) g");
    engine.holder = test_connect(false);
    test_run(engine.holder, "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE");
    run_workers(); /* the first retry closes the holder's connection */
    assert_true(engine.retries > 0);
    assert_events_are_the_tables();
}

/* Barrier 2: with a WAL writer that sleeps, only the worker itself can have flushed what its snapshot saw. */
static void chunk_waits_until_what_it_saw_is_flushed(void **state)
{
    test_run(engine.aside, "ALTER SYSTEM SET wal_writer_delay = '10s'");
    test_run(engine.aside, "SELECT pg_reload_conf()");
    test_wait_value(engine.aside, "SHOW wal_writer_delay", "10s");
    test_run(engine.aside, "SET synchronous_commit = off");
    test_run(engine.aside, "INSERT INTO baskets SELECT g, 'b' || g FROM generate_series(1, 30) g");
    engine.covered_lsn = lsn_of(engine.aside, "SELECT pg_current_wal_insert_lsn()");
    run_workers();
    assert_events_are_the_tables();
    test_run(engine.aside, "ALTER SYSTEM RESET wal_writer_delay");
    test_run(engine.aside, "SELECT pg_reload_conf()");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_key_once_with_its_children, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_at_the_ends_of_the_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(empty_tables_are_one_chunk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_connection_costs_a_chunk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(repeated_backfill_gives_the_same_ids, set_up, tear_down),
        cmocka_unit_test_setup_teardown(locked_table_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(chunk_waits_until_what_it_saw_is_flushed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
