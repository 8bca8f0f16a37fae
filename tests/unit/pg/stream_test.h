/* SPDX-License-Identifier: Apache-2.0 */
/* A slot, a publication of all tables, and a stream over them, for the tests of stream.c and pgoutput.c. */
#ifndef TESTS_UNIT_PG_STREAM_TEST_H
#define TESTS_UNIT_PG_STREAM_TEST_H

#include "pg/pgoutput.h"
#include "pg/replication.h"
#include "pg_test.h"

static const struct banyan_str test_slot = {"stream_slot", 11};
static const struct banyan_str test_publication = {"All \"of', it", 12};

struct feed {
    struct pg_conn *admin, *replication;
    struct pg_stream *stream;
    struct pgoutput *decoder;
    struct banyan_arena arena;
    struct pg_slot_created created;
    unsigned keepalives;
};

static inline struct pg_stream_options feed_options(uint64_t start_lsn)
{
    return (struct pg_stream_options){.slot = test_slot,
                                      .publication = test_publication,
                                      .start_lsn = start_lsn,
                                      .protocol = 2,
                                      .streaming = true,
                                      .binary = true,
                                      .messages = true,
                                      .status_interval_us = 10000000};
}

/* Walsenders with a small decoding memory, so that open transactions are streamed. */
static inline struct pg_conn *feed_connect(void)
{
    char text[400];
    struct pg_options options = {.conninfo = text, .application_name = "feed", .replication = true};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;

    (void)snprintf(text, sizeof(text), "%s options='-c logical_decoding_work_mem=64kB'", test_conninfo());
    OK(pg_connect(&options, &conn, &err));
    return conn;
}

static inline void feed_open(struct feed *feed, const struct pg_stream_options *options)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (feed->replication == NULL)
        feed->replication = feed_connect();
    feed->decoder = pgoutput_new(options->protocol);
    OK(pg_stream_open(feed->replication, options, &feed->stream, &err));
}

static inline void feed_close(struct feed *feed)
{
    pg_stream_close(feed->stream);
    pgoutput_free(feed->decoder);
    pg_close(feed->replication);
    feed->stream = NULL;
    feed->decoder = NULL;
    feed->replication = NULL;
}

static inline void feed_start(struct feed *feed, bool binary)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_stream_options options;

    *feed = (struct feed){.admin = test_connect(false)};
    test_run(feed->admin, "CREATE PUBLICATION \"All \"\"of', it\" FOR ALL TABLES");
    feed->replication = feed_connect();
    OK(pg_slot_create(feed->replication, test_slot, 20000000, &feed->arena, &feed->created, &err));
    options = feed_options(feed->created.consistent_lsn);
    options.binary = binary;
    feed_open(feed, &options);
}

static inline void feed_end(struct feed *feed)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    feed_close(feed);
    test_wait_value(feed->admin, "SELECT active FROM pg_replication_slots WHERE slot_name = 'stream_slot'", "f");
    OK(pg_slot_drop(feed->admin, test_slot, &err));
    test_run(feed->admin, "DROP PUBLICATION \"All \"\"of', it\"");
    banyan_arena_release(&feed->arena);
    pg_close(feed->admin);
}

/* The next message that is no keepalive; fails after 20 s. */
static inline void feed_next(struct feed *feed, struct pg_stream_message *frame, struct pgoutput_message *message)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    int64_t limit_us = os_clock_monotonic_us(os_clock_real()) + 20000000;

    do {
        OK(pg_stream_next(feed->stream, 1000000, frame, &err));
        feed->keepalives += frame->kind == PG_STREAM_KEEPALIVE;
        if (os_clock_monotonic_us(os_clock_real()) > limit_us)
            fail_msg("no message within 20 s");
    } while (frame->kind != PG_STREAM_DATA);
    OK(pgoutput_decode(feed->decoder, frame->data, message, &err));
}

/* The next message, which has to be of *kind*.  RELATION may come again at any time: the server's caches decide. */
static inline struct pgoutput_message feed_expect(struct feed *feed, enum pgoutput_kind kind)
{
    struct pg_stream_message frame;
    struct pgoutput_message message;

    do {
        feed_next(feed, &frame, &message);
    } while (message.kind == PGOUTPUT_RELATION && kind != PGOUTPUT_RELATION);
    if (message.kind != kind)
        fail_msg("message of kind %d, wanted %d", message.kind, kind);
    return message;
}

static inline void cell_is(const struct pgoutput_tuple *tuple, size_t column, char kind, const char *text)
{
    const struct pgoutput_cell *cell;

    assert_true(column < tuple->cell_count);
    cell = &tuple->cells[column];
    assert_int_equal(cell->kind, kind);
    if (text != NULL && (cell->data.size != strlen(text) || memcmp(cell->data.data, text, strlen(text)) != 0))
        fail_msg("cell %zu is \"%.*s\", not \"%s\"", column, (int)cell->data.size, cell->data.data, text);
}

#endif
