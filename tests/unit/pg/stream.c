/* SPDX-License-Identifier: Apache-2.0 */
/* The stream: positions, feedback, ends. */
#include <inttypes.h>

#include "os/thread.h"
#include "stream_test.h"

static uint64_t confirmed_lsn(struct feed *feed)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_slot slot;

    OK(pg_slot_read(feed->admin, test_slot, &feed->arena, &slot, &err));
    return slot.confirmed_lsn;
}

/* One row in a transaction of its own; gives its commit message. */
static struct pgoutput_message insert_one(struct feed *feed)
{
    struct pgoutput_message message;

    test_run(feed->admin, "INSERT INTO rows_ (note) VALUES ('x')");
    do {
        struct pg_stream_message frame;

        feed_next(feed, &frame, &message);
    } while (message.kind != PGOUTPUT_COMMIT);
    return message;
}

/* What the server has heard: asked for with a keepalive that answers our feedback. */
static void wait_heard(struct feed *feed, const char *column, uint64_t lsn)
{
    char sql[200], text[PG_LSN_TEXT_SIZE];

    pg_lsn_format(lsn, text);
    (void)snprintf(sql, sizeof(sql), "SELECT %s >= '%s' FROM pg_stat_replication WHERE application_name = 'feed'",
                   column, text);
    test_wait_value(feed->admin, sql, "t");
}

/* Case 11: the slot moves when told, never before, however much was received. */
static void confirmed_only_when_told(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pgoutput_message first, last = {0};
    struct feed feed;
    uint64_t before;

    (void)state;
    feed_start(&feed, true);
    test_run(feed.admin, "CREATE TABLE rows_ (id bigserial PRIMARY KEY, note text)");
    before = confirmed_lsn(&feed);
    first = insert_one(&feed);
    for (int i = 0; i < 20; i++)
        last = insert_one(&feed);
    assert_true(first.end_lsn > first.lsn && last.lsn >= first.end_lsn);
    OK(pg_stream_feedback(feed.stream, &err));
    wait_heard(&feed, "write_lsn", last.lsn); /* received is told … */
    assert_int_equal(confirmed_lsn(&feed), before);
    pg_stream_confirm(feed.stream, first.end_lsn);
    OK(pg_stream_feedback(feed.stream, &err));
    wait_heard(&feed, "flush_lsn", first.end_lsn);
    assert_int_equal(confirmed_lsn(&feed), first.end_lsn); /* … but this is all that is durable */
    pg_stream_confirm(feed.stream, before);                /* does not go back */
    OK(pg_stream_feedback(feed.stream, &err));
    pg_stream_confirm(feed.stream, last.end_lsn);
    OK(pg_stream_feedback(feed.stream, &err));
    wait_heard(&feed, "flush_lsn", last.end_lsn);
    assert_int_equal(confirmed_lsn(&feed), last.end_lsn);
    test_run(feed.admin, "DROP TABLE rows_");
    feed_end(&feed);
}

/* Pitfall 8, case 6: end_lsn as the cursor brings nothing twice and loses nothing; commit_lsn brings it again. */
static void restart_at_each_boundary(void **state)
{
    struct pgoutput_message commits[6], message;
    struct pg_stream_options options;
    struct feed feed;

    (void)state;
    feed_start(&feed, true);
    test_run(feed.admin, "CREATE TABLE rows_ (id bigserial PRIMARY KEY, note text)");
    for (int i = 0; i < 6; i++)
        commits[i] = insert_one(&feed);
    for (int i = 0; i < 5; i++) {
        feed_close(&feed);
        test_wait_value(feed.admin, "SELECT active FROM pg_replication_slots", "f");
        options = feed_options(commits[i].end_lsn);
        feed_open(&feed, &options);
        message = feed_expect(&feed, PGOUTPUT_BEGIN);
        assert_int_equal(message.lsn, commits[i + 1].lsn);
    }
    feed_close(&feed);
    test_wait_value(feed.admin, "SELECT active FROM pg_replication_slots", "f");
    options = feed_options(commits[2].lsn);
    feed_open(&feed, &options);
    message = feed_expect(&feed, PGOUTPUT_BEGIN);
    assert_int_equal(message.lsn, commits[2].lsn);
    test_run(feed.admin, "DROP TABLE rows_");
    feed_end(&feed);
}

static void no_data_within_the_limit(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_stream_message frame;
    struct feed feed;
    int64_t started_us;
    bool quiet = false;

    (void)state;
    feed_start(&feed, true);
    for (int i = 0; i < 1000 && !quiet; i++) {
        started_us = os_clock_monotonic_us(os_clock_real());
        OK(pg_stream_next(feed.stream, 100000, &frame, &err));
        quiet = frame.kind == PG_STREAM_NONE;
    }
    assert_true(quiet);
    assert_true(os_clock_monotonic_us(os_clock_real()) - started_us >= 100000);
    OK(pg_stream_next(feed.stream, 0, &frame, &err));
    feed_end(&feed);
}

/* wal_sender_timeout asks for a sign of life; without our answer the server would end the stream. */
static void keepalives_are_answered(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_stream_message frame;
    struct feed feed;
    int64_t limit_us;
    bool asked = false;

    (void)state;
    feed_start(&feed, true);
    test_run(feed.admin, "ALTER SYSTEM SET wal_sender_timeout = '400ms'");
    test_run(feed.admin, "SELECT pg_reload_conf()");
    limit_us = os_clock_monotonic_us(os_clock_real()) + 1500000;
    while (os_clock_monotonic_us(os_clock_real()) < limit_us) {
        OK(pg_stream_next(feed.stream, 100000, &frame, &err));
        asked |= frame.kind == PG_STREAM_KEEPALIVE && frame.reply_requested;
        if (frame.kind == PG_STREAM_KEEPALIVE)
            assert_true(llabs(frame.sent.us - os_clock_now(os_clock_real()).us) < INT64_C(60000000));
    }
    assert_true(asked);
    test_run(feed.admin, "ALTER SYSTEM RESET wal_sender_timeout");
    test_run(feed.admin, "SELECT pg_reload_conf()");
    feed_end(&feed);
}

/* Case 13: what cannot be streamed from says so by its class. */
static void starts_that_fail(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_stream_options options = feed_options(0);
    struct pg_stream *stream = NULL;
    struct pg_conn *second;
    struct feed feed;

    (void)state;
    feed_start(&feed, true);
    second = feed_connect();
    FAILS(BUSY, pg_stream_open(second, &options, &stream, &err)); /* the first one reads it */
    assert_non_null(strstr(err.message, "stream_slot"));
    options.slot = BANYAN_STR("no_such_slot");
    FAILS(SLOT, pg_stream_open(second, &options, &stream, &err));
    options.slot = BANYAN_STR("x\"; DROP_REPLICATION_SLOT stream_slot; --");
    /* Servers before 15.19 refuse the quoted quote itself, later ones the name: the one thing that matters is below. */
    enum banyan_status hostile = pg_stream_open(second, &options, &stream, &err);
    assert_true(hostile == BANYAN_SLOT || hostile == BANYAN_QUERY);
    banyan_error_clear(&err);
    FAILS(INVALID, pg_stream_open(feed.admin, &options, &stream, &err));
    options.protocol = 1;
    FAILS(INVALID, pg_stream_open(second, &options, &stream, &err)); /* streaming needs protocol 2 */
    pg_close(second);
    test_value_is(feed.admin, "SELECT count(*) FROM pg_replication_slots", "1");
    feed_end(&feed);
}

/* A missing publication is noticed at the first change. */
static void missing_publication(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_stream_message frame = {0};
    struct pg_stream_options options;
    enum banyan_status st = BANYAN_OK;
    struct feed feed;

    (void)state;
    feed_start(&feed, true);
    feed_close(&feed);
    test_wait_value(feed.admin, "SELECT active FROM pg_replication_slots", "f");
    options = feed_options(feed.created.consistent_lsn);
    options.publication = BANYAN_STR("no_such_publication");
    feed_open(&feed, &options);
    test_run(feed.admin, "CREATE TABLE rows_ (id int PRIMARY KEY); INSERT INTO rows_ VALUES (1)");
    for (int i = 0; i < 200 && st == BANYAN_OK; i++)
        st = pg_stream_next(feed.stream, 100000, &frame, &err);
    assert_int_equal(st, BANYAN_SLOT);
    assert_string_equal(err.sqlstate, "42704");
    FAILS(BROKEN, pg_stream_next(feed.stream, 0, &frame, &err));
    test_run(feed.admin, "DROP TABLE rows_");
    feed_end(&feed);
}

static void server_goes_away(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_stream_message frame;
    enum banyan_status st = BANYAN_OK;
    struct feed feed;

    (void)state;
    feed_start(&feed, true);
    test_run(feed.admin,
             "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'walsender'");
    for (int i = 0; i < 200 && st == BANYAN_OK; i++)
        st = pg_stream_next(feed.stream, 100000, &frame, &err);
    assert_int_equal(st, BANYAN_UNAVAILABLE);
    assert_int_equal(banyan_status_class(st), BANYAN_CLASS_RETRY);
    feed_end(&feed);
}

static void request_stop(void *argument)
{
    struct os_stop never;
    struct banyan_error err = BANYAN_ERROR_INIT;

    OK(os_stop_open(&never, &err));
    (void)os_stop_wait(&never, 50000);
    os_stop_request(argument);
    os_stop_close(&never);
}

/* A stop ends the wait at once, the last feedback still goes out, and the slot is free after the close. */
static void a_stop_ends_the_wait(void **state)
{
    char text[400];
    struct os_stop stop;
    struct pg_options connect = {.conninfo = text, .replication = true, .application_name = "feed", .stop = &stop};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_stream_message frame;
    struct pg_stream_options options;
    struct os_thread thread = {0};
    enum banyan_status st = BANYAN_OK;
    struct pgoutput_message commit;
    struct feed feed;

    (void)state;
    feed_start(&feed, true);
    feed_close(&feed);
    test_wait_value(feed.admin, "SELECT active FROM pg_replication_slots", "f");
    OK(os_stop_open(&stop, &err));
    (void)snprintf(text, sizeof(text), "%s", test_conninfo());
    OK(pg_connect(&connect, &feed.replication, &err));
    options = feed_options(feed.created.consistent_lsn);
    feed_open(&feed, &options);
    test_run(feed.admin, "CREATE TABLE rows_ (id bigserial PRIMARY KEY, note text)");
    commit = insert_one(&feed);
    os_thread_start(&thread, "stopper", request_stop, &stop);
    while (st == BANYAN_OK)
        st = pg_stream_next(feed.stream, 20000000, &frame, &err);
    assert_int_equal(st, BANYAN_STOPPED);
    os_thread_join(&thread);
    banyan_error_clear(&err);
    pg_stream_confirm(feed.stream, commit.end_lsn);
    OK(pg_stream_feedback(feed.stream, &err));
    feed_close(&feed);
    test_value_is(feed.admin, "SELECT active FROM pg_replication_slots", "f");
    assert_int_equal(confirmed_lsn(&feed), commit.end_lsn);
    test_run(feed.admin, "DROP TABLE rows_");
    os_stop_close(&stop);
    feed_end(&feed);
}

/* Feedback goes out while a flood never lets the reader wait. */
static void feedback_during_a_flood(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_stream_options options;
    struct pgoutput_message message = {0}, first;
    struct pg_stream_message frame;
    struct feed feed;
    uint64_t rows = 0;

    (void)state;
    feed_start(&feed, true);
    feed_close(&feed);
    test_wait_value(feed.admin, "SELECT active FROM pg_replication_slots", "f");
    options = feed_options(feed.created.consistent_lsn);
    options.status_interval_us = 1000;
    options.streaming = false;
    feed_open(&feed, &options);
    test_run(feed.admin, "CREATE TABLE rows_ (id bigserial PRIMARY KEY, note text)");
    first = insert_one(&feed);
    pg_stream_confirm(feed.stream, first.end_lsn);
    test_run(feed.admin, "INSERT INTO rows_ (note) SELECT 'flood' FROM generate_series(1, 50000)");
    while (message.kind != PGOUTPUT_COMMIT) { /* pg_stream_feedback() is never called */
        feed_next(&feed, &frame, &message);
        rows += message.kind == PGOUTPUT_INSERT;
    }
    assert_int_equal(rows, 50000);
    OK(pg_stream_next(feed.stream, 10000, &frame, &err));
    wait_heard(&feed, "flush_lsn", first.end_lsn);
    test_run(feed.admin, "DROP TABLE rows_");
    feed_end(&feed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(confirmed_only_when_told), cmocka_unit_test(restart_at_each_boundary),
        cmocka_unit_test(no_data_within_the_limit), cmocka_unit_test(keepalives_are_answered),
        cmocka_unit_test(starts_that_fail),         cmocka_unit_test(missing_publication),
        cmocka_unit_test(server_goes_away),         cmocka_unit_test(a_stop_ends_the_wait),
        cmocka_unit_test(feedback_during_a_flood),
    };

    return cmocka_run_group_tests_name("pg/stream", tests, NULL, NULL);
}
