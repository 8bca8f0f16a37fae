/* SPDX-License-Identifier: Apache-2.0 */
/* Events in Avro files: back without loss, whatever they hold; other files refused. */
#include "store/event_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/random_event.h"
#include "../../support/seed.h"

struct memory {
    struct banyan_str data;
    size_t at;
};

static enum banyan_status from_memory(void *context, void *data, size_t size, size_t *ret_size,
                                      struct banyan_error *err)
{
    struct memory *memory = context;
    size_t left = memory->data.size - memory->at;

    (void)err;
    *ret_size = size < left ? size : left;
    memcpy(data, memory->data.data + memory->at, *ret_size);
    memory->at += *ret_size;
    return BANYAN_OK;
}

enum {
    EVENTS = 500,
};

static void events_come_back(void **state)
{
    (void)state;
    struct banyan_buf out = BANYAN_BUF_INIT(64 << 20);
    struct os_random random, again;
    struct event_file_writer writer;
    struct event_file_reader *reader = NULL;
    static char texts[6][RANDOM_EVENT_TEXT_BYTES];
    struct store_read_event expected, got;

    seed_start(&random, "event_file");
    again = random;
    event_file_writer_begin(&writer, AVRO_CODEC_ZSTANDARD, &out);
    for (uint64_t i = 0; i < EVENTS; i++) {
        struct store_read_event event = random_event(&random, i, texts);
        assert_int_equal(event_file_writer_add(&writer, &event, &out, NULL), BANYAN_OK);
    }
    assert_int_equal(event_file_writer_finish(&writer, &out, NULL), BANYAN_OK);
    event_file_writer_end(&writer);

    struct memory memory = {banyan_buf_str(&out), 0};
    assert_int_equal(event_file_reader_open(from_memory, &memory, &reader, NULL), BANYAN_OK);
    for (uint64_t i = 0; i < EVENTS; i++) {
        expected = random_event(&again, i, texts);
        assert_int_equal(event_file_reader_next(reader, &got, NULL), BANYAN_OK);
        assert_same_event(&expected, &got);
    }
    assert_int_equal(event_file_reader_next(reader, &got, NULL), BANYAN_NOT_FOUND);
    event_file_reader_close(reader);
    banyan_buf_release(&out);
}

static void other_values_are_refused(void **state)
{
    (void)state;
    struct banyan_buf out = BANYAN_BUF_INIT(4096);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct event_file_reader *reader = NULL;
    struct avro_file_writer writer;

    avro_file_writer_begin(&writer, AVRO_CODEC_NULL, (const uint8_t *)"0123456789abcdef", BANYAN_STR("\"long\""), NULL,
                           0, &out);
    avro_file_writer_end(&writer);
    struct memory memory = {banyan_buf_str(&out), 0};
    assert_int_equal(event_file_reader_open(from_memory, &memory, &reader, &err), BANYAN_INVALID);
    assert_non_null(strstr(err.hint, "export"));
    banyan_buf_release(&out);
}

/* No bytes of a block make the reader read outside of it, nor give an event that is none. */
static void damaged_values_are_refused(void **state)
{
    (void)state;
    struct banyan_buf out = BANYAN_BUF_INIT(1 << 20);
    struct event_file_writer writer;
    static char texts[6][RANDOM_EVENT_TEXT_BYTES];
    struct os_random random;
    size_t head, refused = 0;

    seed_start(&random, "event_file damage");
    event_file_writer_begin(&writer, AVRO_CODEC_NULL, &out);
    head = out.size;
    for (uint64_t i = 0; i < 3; i++) {
        struct store_read_event event = random_event(&random, i, texts);
        event.event.payload.size = event.event.payload.size % 40;
        assert_int_equal(event_file_writer_add(&writer, &event, &out, NULL), BANYAN_OK);
    }
    assert_int_equal(event_file_writer_finish(&writer, &out, NULL), BANYAN_OK);
    event_file_writer_end(&writer);
    for (size_t at = head; at < out.size; at++) {
        struct event_file_reader *reader = NULL;
        struct store_read_event event;
        enum banyan_status status;
        char before = out.data[at];

        out.data[at] = (char)os_random_next(&random);
        struct memory memory = {banyan_buf_str(&out), 0};
        assert_int_equal(event_file_reader_open(from_memory, &memory, &reader, NULL), BANYAN_OK);
        do
            status = event_file_reader_next(reader, &event, NULL);
        while (status == BANYAN_OK);
        refused += status != BANYAN_NOT_FOUND;
        event_file_reader_close(reader);
        out.data[at] = before;
    }
    assert_true(refused > 0);
    banyan_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_back),
        cmocka_unit_test(other_values_are_refused),
        cmocka_unit_test(damaged_values_are_refused),
    };
    return cmocka_run_group_tests_name("store-event_file", tests, NULL, NULL);
}
