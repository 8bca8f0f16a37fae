/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored form: published bytes, random records there and back, and hostile bytes, which must be refused without a
 * read outside of them (each input lies in memory of just its size, so that the sanitizer would see it).
 */
#include "banyan/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/seed.h"
#include "random_record.h"

enum {
    VALUE_SIZE = RANDOM_FIELDS_MAX * RANDOM_FIELD_SIZE,
    TEXT_SIZE = 1000,
};

/* One field of one kind, at offset 0. */
static struct banyan_field field_of(enum banyan_field_kind kind, unsigned flags, int32_t scale)
{
    return (struct banyan_field){"f", kind, flags, 0, scale};
}

static void assert_bytes(struct banyan_field field, const void *value, const char *bytes, size_t size)
{
    struct banyan_record record = {"One", RANDOM_FIELD_SIZE, &field, 1};
    struct banyan_buf buf = BANYAN_BUF_INIT(1000);
    assert_int_equal(banyan_record_encode(&record, value, &buf, NULL), BANYAN_OK);
    assert_int_equal(buf.size, size);
    assert_memory_equal(buf.data, bytes, size);
    _Alignas(16) char back[RANDOM_FIELD_SIZE];
    assert_int_equal(banyan_record_decode(&record, banyan_buf_str(&buf), back, NULL), BANYAN_OK);
    assert_int_equal(banyan_record_diff(&record, value, back), 0);
    banyan_buf_release(&buf);
}

static void assert_refused(struct banyan_field field, const char *bytes, size_t size, const char *reason)
{
    struct banyan_record record = {"One", RANDOM_FIELD_SIZE, &field, 1};
    _Alignas(16) char back[RANDOM_FIELD_SIZE];
    struct banyan_error err = BANYAN_ERROR_INIT;
    char *exact = malloc(size == 0 ? 1 : size);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    assert_int_equal(banyan_record_decode(&record, (struct banyan_str){exact, size}, back, &err), BANYAN_CORRUPT);
    if (strstr(err.message, reason) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", reason, err.message);
    free(exact);
}

static void integers_are_those_of_the_specification(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        const char *bytes;
        size_t size;
    } cases[] = {
        {0, "\x00", 1},
        {-1, "\x01", 1},
        {1, "\x02", 1},
        {-2, "\x03", 1},
        {-64, "\x7f", 1},
        {64, "\x80\x01", 2},
        {8192, "\x80\x80\x01", 3},
        {INT64_MAX, "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10},
        {INT64_MIN, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_bytes(field_of(BANYAN_FIELD_INT, 0, 0), &cases[i].value, cases[i].bytes, cases[i].size);
}

static void other_kinds_are_those_of_the_specification(void **state)
{
    (void)state;
    struct banyan_str text = BANYAN_STR("foo"), none = {NULL, 0}, empty = BANYAN_STR("");
    assert_bytes(field_of(BANYAN_FIELD_STRING, 0, 0), &text,
                 "\x06"
                 "foo",
                 4);
    assert_bytes(field_of(BANYAN_FIELD_STRING, BANYAN_FIELD_OPTIONAL, 0), &text,
                 "\x02\x06"
                 "foo",
                 5);
    assert_bytes(field_of(BANYAN_FIELD_STRING, BANYAN_FIELD_OPTIONAL, 0), &none, "\x00", 1);
    assert_bytes(field_of(BANYAN_FIELD_STRING, BANYAN_FIELD_OPTIONAL, 0), &empty, "\x02\x00", 2);
    bool yes = true, no = false;
    assert_bytes(field_of(BANYAN_FIELD_BOOL, 0, 0), &yes, "\x01", 1);
    assert_bytes(field_of(BANYAN_FIELD_BOOL, 0, 0), &no, "\x00", 1);
    struct banyan_time at = {64}, never = {BANYAN_TIME_NULL};
    assert_bytes(field_of(BANYAN_FIELD_TIME, 0, 0), &at, "\x80\x01", 2);
    assert_bytes(field_of(BANYAN_FIELD_TIME, BANYAN_FIELD_OPTIONAL, 0), &at, "\x02\x80\x01", 3);
    assert_bytes(field_of(BANYAN_FIELD_TIME, BANYAN_FIELD_OPTIONAL, 0), &never, "\x00", 1);
}

static void decimals_are_shortest_twos_complement(void **state)
{
    (void)state;
    const __int128 two64 = (__int128)1 << 64;
    const struct {
        __int128 units;
        const char *bytes;
        size_t size;
    } cases[] = {
        {0, "\x02\x00", 2},
        {1, "\x02\x01", 2},
        {-1, "\x02\xff", 2},
        {127, "\x02\x7f", 2},
        {128, "\x04\x00\x80", 3},
        {-128, "\x02\x80", 2},
        {-129, "\x04\xff\x7f", 3},
        {0x123456, "\x06\x12\x34\x56", 4},
        {INT64_MAX, "\x10\x7f\xff\xff\xff\xff\xff\xff\xff", 9},
        {INT64_MIN, "\x10\x80\x00\x00\x00\x00\x00\x00\x00", 9},
        {(__int128)INT64_MAX + 1, "\x12\x00\x80\x00\x00\x00\x00\x00\x00\x00", 10},
        {(__int128)INT64_MIN - 1, "\x12\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10},
        {two64, "\x12\x01\x00\x00\x00\x00\x00\x00\x00\x00", 10},
        {-two64, "\x12\xff\x00\x00\x00\x00\x00\x00\x00\x00", 10},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _Alignas(16) struct banyan_decimal d = {cases[i].units, 4};
        assert_bytes(field_of(BANYAN_FIELD_DECIMAL, 0, 4), &d, cases[i].bytes, cases[i].size);
    }
    struct banyan_decimal nan = {0, BANYAN_DECIMAL_NAN}, null = banyan_decimal_null();
    assert_bytes(field_of(BANYAN_FIELD_DECIMAL, 0, 4), &nan, "\x00", 1);
    assert_bytes(field_of(BANYAN_FIELD_DECIMAL, BANYAN_FIELD_OPTIONAL, 4), &nan, "\x02\x00", 2);
    assert_bytes(field_of(BANYAN_FIELD_DECIMAL, BANYAN_FIELD_OPTIONAL, 4), &null, "\x00", 1);
}

static void values_that_are_not_allowed_are_invalid(void **state)
{
    (void)state;
    struct banyan_decimal none = banyan_decimal_null(), other_scale = {1, 3};
    struct banyan_decimal long_one = {(__int128)10000000000000000000u * 10000000000000000000u, 4};
    struct banyan_str null = {NULL, 0};
    struct banyan_time never = {BANYAN_TIME_NULL};
    const struct {
        struct banyan_field field;
        const void *value;
        const char *reason;
    } cases[] = {
        {field_of(BANYAN_FIELD_DECIMAL, 0, 4), &none, "record One, field f: a required field has no value"},
        {field_of(BANYAN_FIELD_STRING, 0, 0), &null, "a required field has no value"},
        {field_of(BANYAN_FIELD_TIME, 0, 0), &never, "a required field has no value"},
        {field_of(BANYAN_FIELD_DECIMAL, 0, 4), &other_scale, "the field's scale"},
        {field_of(BANYAN_FIELD_DECIMAL, 0, 4), &long_one, "more than 38 digits"},
        {field_of(BANYAN_FIELD_NONE, 0, 0), &never, "no kind"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_record record = {"One", RANDOM_FIELD_SIZE, &cases[i].field, 1};
        struct banyan_buf buf = BANYAN_BUF_INIT(1000);
        struct banyan_error err = BANYAN_ERROR_INIT;
        banyan_buf_add_text(&buf, "before");
        assert_int_equal(banyan_record_encode(&record, cases[i].value, &buf, &err), BANYAN_INVALID);
        assert_string_equal(buf.data, "before");
        if (strstr(err.message, cases[i].reason) == NULL)
            fail_msg("expected \"%s\" in \"%s\"", cases[i].reason, err.message);
        banyan_buf_release(&buf);
    }
}

static void bytes_that_were_never_written_are_corrupt(void **state)
{
    (void)state;
    struct banyan_field integer = field_of(BANYAN_FIELD_INT, 0, 0);
    assert_refused(integer, "", 0, "end inside");
    assert_refused(integer, "\x80", 1, "end inside");
    assert_refused(integer, "\x80\x00", 2, "shortest form");
    assert_refused(integer, "\x82\x80\x00", 3, "shortest form");
    assert_refused(integer, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10, "64 bits");
    assert_refused(integer, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 11, "64 bits");
    assert_refused(integer, "\x02\x02", 2, "follow its last field");
    struct banyan_field text = field_of(BANYAN_FIELD_STRING, 0, 0);
    assert_refused(text, "\x01", 1, "negative");
    assert_refused(text, "\x04x", 2, "end inside");
    assert_refused(text, "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, "end inside");
    assert_refused(field_of(BANYAN_FIELD_STRING, BANYAN_FIELD_OPTIONAL, 0), "\x04", 1, "no such branch");
    assert_refused(field_of(BANYAN_FIELD_STRING, BANYAN_FIELD_OPTIONAL, 0), "\x01", 1, "no such branch");
    assert_refused(field_of(BANYAN_FIELD_STRING, BANYAN_FIELD_OPTIONAL, 0), "", 0, "end inside");
    assert_refused(field_of(BANYAN_FIELD_BOOL, 0, 0), "\x02", 1, "truth value");
    assert_refused(field_of(BANYAN_FIELD_BOOL, 0, 0), "", 0, "end inside");
    assert_refused(field_of(BANYAN_FIELD_TIME, 0, 0), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, "no value");
    struct banyan_field decimal = field_of(BANYAN_FIELD_DECIMAL, 0, 4);
    assert_refused(decimal, "\x04\x00\x7f", 3, "shortest form");
    assert_refused(decimal, "\x04\xff\x80", 3, "shortest form");
    assert_refused(decimal, "\x22zzzzzzzzzzzzzzzzz", 18, "16 bytes");
    assert_refused(decimal, "\x20\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17, "38 digits");
    assert_refused(decimal, "\x20\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 17, "38 digits");
    assert_refused(decimal, "\x06\x01", 2, "end inside");
}

/* A slow copy of what the format says about one value, written independently of the coder. */
static size_t model_size(const struct banyan_record *record, const void *value)
{
    size_t size = 0;
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        const char *at = (const char *)value + field->offset;
        int64_t number = 0;
        bool absent = false;
        if (field->kind == BANYAN_FIELD_STRING) {
            absent = ((const struct banyan_str *)at)->data == NULL;
            number = (int64_t)((const struct banyan_str *)at)->size;
            size += absent ? 0 : (size_t)number;
        } else if (field->kind == BANYAN_FIELD_BOOL) {
            number = 0;
        } else if (field->kind == BANYAN_FIELD_DECIMAL) {
            struct banyan_decimal d = *(const struct banyan_decimal *)at;
            absent = banyan_decimal_is_null(d);
            for (int bits = 7; d.scale >= 0 && number == 0; bits += 8) {
                __int128 rest = bits >= 127 ? 0 : d.units >> bits;
                if (bits >= 127 || rest == 0 || rest == -1)
                    number = (bits + 1) / 8;
            }
            size += absent ? 0 : (size_t)number;
        } else {
            number = *(const int64_t *)at;
            absent = field->kind == BANYAN_FIELD_TIME && number == BANYAN_TIME_NULL;
        }
        size += (field->flags & BANYAN_FIELD_OPTIONAL) != 0;
        unsigned __int128 zigzag =
            number < 0 ? (unsigned __int128)(-(__int128)number) * 2 - 1 : (unsigned __int128)number * 2;
        for (size_t bytes = 1; !absent; bytes++, zigzag >>= 7) {
            if (zigzag < 128) {
                size += bytes;
                break;
            }
        }
    }
    return size;
}

static struct banyan_str random_text(struct os_random *random, char memory[TEXT_SIZE])
{
    for (int i = 0; i < TEXT_SIZE; i++)
        memory[i] = (char)os_random_next(random);
    return (struct banyan_str){memory, TEXT_SIZE};
}

static void random_records_come_back(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "random_records_come_back");
    char memory[TEXT_SIZE];
    struct banyan_str text = random_text(&random, memory);
    for (unsigned round = 0; round < seed_rounds(20000); round++) {
        struct random_record type;
        _Alignas(16) char value[VALUE_SIZE], back[VALUE_SIZE], again[VALUE_SIZE];
        random_record_type(&random, &type);
        random_record_value(&random, &type.record, text, value);
        size_t size = model_size(&type.record, value);

        /* A buffer of just the size takes it; one byte less does not, and stays as it was. */
        struct banyan_buf buf = BANYAN_BUF_INIT(round % 2 == 0 ? size : 100000);
        assert_int_equal(banyan_record_encode(&type.record, value, &buf, NULL), BANYAN_OK);
        assert_int_equal(buf.size, size);
        struct banyan_buf small = BANYAN_BUF_INIT(size == 0 ? 0 : size - 1);
        if (size > 0)
            assert_int_equal(banyan_record_encode(&type.record, value, &small, NULL), BANYAN_LIMIT);
        assert_int_equal(small.size, 0);

        memset(back, 0x55, sizeof(back));
        assert_int_equal(banyan_record_decode(&type.record, banyan_buf_str(&buf), back, NULL), BANYAN_OK);
        assert_int_equal(banyan_record_diff(&type.record, value, back), 0);
        /* Cut anywhere it is no record (except the empty one). */
        for (int i = 0; i < 3 && size > 0; i++) {
            size_t cut = os_random_below(&random, size);
            char *exact = malloc(cut == 0 ? 1 : cut);
            assert_non_null(exact);
            memcpy(exact, buf.data, cut);
            assert_int_equal(banyan_record_decode(&type.record, (struct banyan_str){exact, cut}, again, NULL),
                             BANYAN_CORRUPT);
            free(exact);
        }
        banyan_buf_release(&buf);
        banyan_buf_release(&small);
    }
}

static void hostile_bytes_are_refused_or_are_the_one_form(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "hostile_bytes_are_refused_or_are_the_one_form");
    char memory[TEXT_SIZE];
    struct banyan_str text = random_text(&random, memory);
    unsigned accepted = 0;
    for (unsigned round = 0; round < seed_rounds(50000); round++) {
        struct random_record type;
        _Alignas(16) char value[VALUE_SIZE], back[VALUE_SIZE];
        random_record_type(&random, &type);
        random_record_value(&random, &type.record, text, value);
        struct banyan_buf buf = BANYAN_BUF_INIT(100000);
        assert_int_equal(banyan_record_encode(&type.record, value, &buf, NULL), BANYAN_OK);
        size_t size = buf.size;
        if (round % 3 == 0)
            size = os_random_below(&random, 40);
        char *bytes = malloc(size == 0 ? 1 : size);
        assert_non_null(bytes);
        for (size_t i = 0; i < size; i++)
            bytes[i] = round % 3 == 0 ? (char)os_random_next(&random) : buf.data[i];
        for (uint64_t changes = os_random_below(&random, 4); changes > 0 && size > 0; changes--)
            bytes[os_random_below(&random, size)] =
                (char)(os_random_below(&random, 2) == 0 ? os_random_next(&random) : 0x7F + os_random_below(&random, 2));
        struct banyan_str data = {bytes, size};
        enum banyan_status st = banyan_record_decode(&type.record, data, back, NULL);
        assert_true(st == BANYAN_OK || st == BANYAN_CORRUPT);
        if (st == BANYAN_OK) {
            accepted++;
            banyan_buf_reset(&buf);
            assert_int_equal(banyan_record_encode(&type.record, back, &buf, NULL), BANYAN_OK);
            assert_int_equal(buf.size, size);
            assert_memory_equal(buf.data, bytes, size);
            banyan_buf_reset(&buf);
            banyan_record_json(&type.record, back, &buf);
            assert_false(buf.overflow);
        }
        free(bytes);
        banyan_buf_release(&buf);
    }
    assert_true(accepted > seed_rounds(50000) / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_those_of_the_specification),
        cmocka_unit_test(other_kinds_are_those_of_the_specification),
        cmocka_unit_test(decimals_are_shortest_twos_complement),
        cmocka_unit_test(values_that_are_not_allowed_are_invalid),
        cmocka_unit_test(bytes_that_were_never_written_are_corrupt),
        cmocka_unit_test(random_records_come_back),
        cmocka_unit_test(hostile_bytes_are_refused_or_are_the_one_form),
    };
    return cmocka_run_group_tests_name("schema-record_avro", tests, NULL, NULL);
}
