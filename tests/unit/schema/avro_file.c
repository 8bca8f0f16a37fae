/* SPDX-License-Identifier: Apache-2.0 */
/* Avro container files: bytes by the specification, all codecs, damage and hostile lengths. */
#include "schema/avro_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/seed.h"

static const uint8_t sync_marker[AVRO_FILE_SYNC_BYTES] = "0123456789abcdef";

struct memory {
    struct banyan_str data;
    size_t at, piece; /* bytes given at once */
};

static enum banyan_status from_memory(void *context, void *data, size_t size, size_t *ret_size,
                                      struct banyan_error *err)
{
    struct memory *memory = context;
    size_t left = memory->data.size - memory->at;

    (void)err;
    *ret_size = size < left ? size : left;
    if (*ret_size > memory->piece)
        *ret_size = memory->piece;
    memcpy(data, memory->data.data + memory->at, *ret_size);
    memory->at += *ret_size;
    return BANYAN_OK;
}

/* Derived from the specification by hand: two longs, 1 and -2, without compression. */
static const char by_hand[] = "Obj\x01"
                              "\x04" /* two properties */
                              "\x16"
                              "avro.schema"
                              "\x0c"
                              "\"long\"" /* 11 and 6 bytes */
                              "\x14"
                              "avro.codec"
                              "\x08"
                              "null"
                              "\x00"
                              "0123456789abcdef"
                              "\x04"
                              "\x04"
                              "\x02\x03"
                              "0123456789abcdef"; /* two values in two bytes */

static void the_bytes_are_those_of_the_specification(void **state)
{
    (void)state;
    struct banyan_buf out = BANYAN_BUF_INIT(4096);
    struct avro_file_writer writer;

    avro_file_writer_begin(&writer, AVRO_CODEC_NULL, sync_marker, BANYAN_STR("\"long\""), NULL, 0, &out);
    assert_int_equal(avro_file_writer_block(&writer, 2, BANYAN_STR("\x02\x03"), &out, NULL), BANYAN_OK);
    avro_file_writer_end(&writer);
    assert_int_equal(out.size, sizeof(by_hand) - 1);
    assert_memory_equal(out.data, by_hand, out.size);
    banyan_buf_release(&out);
}

static enum banyan_status read_all(struct banyan_str data, size_t piece, struct banyan_buf *ret, uint64_t *ret_count)
{
    struct memory memory = {data, 0, piece};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct avro_file_reader *reader = NULL;
    struct banyan_str values;
    uint64_t count;
    enum banyan_status status = avro_file_reader_open(from_memory, &memory, &reader, &err);

    *ret_count = 0;
    while (status == BANYAN_OK) {
        status = avro_file_reader_next(reader, &count, &values, &err);
        if (status != BANYAN_OK)
            break;
        banyan_buf_add_str(ret, values);
        *ret_count += count;
    }
    assert_int_equal(status == BANYAN_NOT_FOUND, err.message[0] == '\0');
    avro_file_reader_close(reader);
    return status;
}

static void each_codec_gives_back_what_went_in(void **state)
{
    (void)state;
    struct os_random random;

    seed_start(&random, "avro_file");
    for (enum avro_codec codec = AVRO_CODEC_NULL; codec <= AVRO_CODEC_ZSTANDARD; codec++) {
        struct banyan_buf out = BANYAN_BUF_INIT(64 << 20), in = BANYAN_BUF_INIT(64 << 20),
                          back = BANYAN_BUF_INIT(64 << 20);
        struct avro_file_metadata metadata = {"banyan.note", BANYAN_STR("for you")};
        struct avro_file_writer writer;
        uint64_t count = 0, back_count = 0;

        avro_file_writer_begin(&writer, codec, sync_marker, BANYAN_STR("\"bytes\""), &metadata, 1, &out);
        for (int block = 0; block < 20; block++) {
            size_t before = in.size, size = os_random_below(&random, block == 7 ? 3000000 : 3000);
            uint64_t same = os_random_below(&random, 8);

            for (size_t i = 0; i < size; i++)
                banyan_buf_add_char(&in, (char)(os_random_next(&random) >> (same * 7)));
            count += size;
            assert_int_equal(
                avro_file_writer_block(&writer, size, (struct banyan_str){in.data + before, size}, &out, NULL),
                BANYAN_OK);
        }
        avro_file_writer_end(&writer);
        assert_int_equal(read_all(banyan_buf_str(&out), 1 + os_random_below(&random, 70000), &back, &back_count),
                         BANYAN_NOT_FOUND);
        assert_int_equal(back_count, count);
        assert_int_equal(back.size, in.size);
        assert_memory_equal(back.data, in.data, in.size);
        banyan_buf_release(&out);
        banyan_buf_release(&in);
        banyan_buf_release(&back);
    }
}

static void damage_is_told(void **state)
{
    (void)state;
    for (enum avro_codec codec = AVRO_CODEC_NULL; codec <= AVRO_CODEC_ZSTANDARD; codec++) {
        struct banyan_buf out = BANYAN_BUF_INIT(4096), back = BANYAN_BUF_INIT(1 << 20);
        struct avro_file_writer writer;
        uint64_t count;

        avro_file_writer_begin(&writer, codec, sync_marker, BANYAN_STR("\"long\""), NULL, 0, &out);
        size_t empty = out.size;
        assert_int_equal(avro_file_writer_block(&writer, 3, BANYAN_STR("\x02\x04\x06"), &out, NULL), BANYAN_OK);
        size_t head = out.size;
        assert_int_equal(avro_file_writer_block(&writer, 3, BANYAN_STR("\x02\x04\x06"), &out, NULL), BANYAN_OK);
        avro_file_writer_end(&writer);
        /* Cut anywhere: whole blocks, or an error; never a part of a block. */
        for (size_t size = 0; size < out.size; size++) {
            banyan_buf_reset(&back);
            enum banyan_status status = read_all((struct banyan_str){out.data, size}, 4096, &back, &count);
            assert_int_equal(status, size == head || size == empty ? BANYAN_NOT_FOUND : BANYAN_CORRUPT);
            assert_int_equal(back.size % 3, 0);
        }
        out.data[out.size - 1] ^= 1; /* the last sync marker */
        banyan_buf_reset(&back);
        assert_int_equal(read_all(banyan_buf_str(&out), 4096, &back, &count), BANYAN_CORRUPT);
        assert_int_equal(back.size, 3);
        banyan_buf_release(&out);
        banyan_buf_release(&back);
    }
}

static void hostile_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t size;
        enum banyan_status status;
    } cases[] = {
        {"", 0, BANYAN_CORRUPT},
        {"Obj\x02", 4, BANYAN_CORRUPT},
        {"Obj\x01\x02\x16"
         "avro.schema\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
         27, BANYAN_LIMIT},
        {"Obj\x01\x02\x01", 6, BANYAN_CORRUPT},                                          /* a length of -1 */
        {"Obj\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00", 16, BANYAN_CORRUPT}, /* INT64_MIN properties */
        {"Obj\x01\x00"
         "0123456789abcdef",
         21, BANYAN_CORRUPT}, /* no schema */
        {"Obj\x01\x04\x16"
         "avro.schema\x0c\"long\"\x14"
         "avro.codec\x0csnappy\x00"
         "0123456789abcdef",
         60, BANYAN_INVALID},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_buf back = BANYAN_BUF_INIT(4096);
        uint64_t count;

        assert_int_equal(read_all((struct banyan_str){cases[i].data, cases[i].size}, 4096, &back, &count),
                         cases[i].status);
        banyan_buf_release(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_those_of_the_specification),
        cmocka_unit_test(each_codec_gives_back_what_went_in),
        cmocka_unit_test(damage_is_told),
        cmocka_unit_test(hostile_files_are_refused),
    };
    return cmocka_run_group_tests_name("schema-avro_file", tests, NULL, NULL);
}
