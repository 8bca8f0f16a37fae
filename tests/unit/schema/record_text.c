/* SPDX-License-Identifier: Apache-2.0 */
/* JSON and plain text: known moments, exact decimals, and random times against the C library's calendar. */
#include "banyan/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "../../support/seed.h"
#include "random_record.h"

static void assert_texts(struct banyan_field field, const void *value, const char *json, const char *text)
{
    struct banyan_buf buf = BANYAN_BUF_INIT(1000);
    banyan_field_json(&field, value, &buf);
    assert_string_equal(buf.data, json);
    banyan_buf_reset(&buf);
    banyan_field_text(&field, value, &buf);
    assert_string_equal(banyan_buf_str(&buf).data, text);
    banyan_buf_release(&buf);
}

static void times(void **state)
{
    (void)state;
    /* The texts on the right were printed by PostgreSQL 15 with TimeZone UTC. */
    static const struct {
        int64_t us;
        const char *json, *text;
    } cases[] = {
        {0, "\"1970-01-01T00:00:00.000000Z\"", "1970-01-01 00:00:00+00"},
        {INT64_C(1430438404518000), "\"2015-05-01T00:00:04.518000Z\"", "2015-05-01 00:00:04.518+00"},
        {-1, "\"1969-12-31T23:59:59.999999Z\"", "1969-12-31 23:59:59.999999+00"},
        {INT64_C(951782400000010), "\"2000-02-29T00:00:00.000010Z\"", "2000-02-29 00:00:00.00001+00"},
        {INT64_C(253402300799999999), "\"9999-12-31T23:59:59.999999Z\"", "9999-12-31 23:59:59.999999+00"},
        {INT64_C(253402300800000000), "\"+010000-01-01T00:00:00.000000Z\"", "10000-01-01 00:00:00+00"},
        {INT64_C(-62135596800000000), "\"0001-01-01T00:00:00.000000Z\"", "0001-01-01 00:00:00+00"},
        {INT64_C(-62135596800000001), "\"0000-12-31T23:59:59.999999Z\"", "0001-12-31 23:59:59.999999+00 BC"},
        {INT64_C(-63517824000000000), "\"-000043-03-15T00:00:00.000000Z\"", "0044-03-15 00:00:00+00 BC"},
        {INT64_C(9224318015999999), "\"2262-04-22T22:33:35.999999Z\"", "2262-04-22 22:33:35.999999+00"},
        {BANYAN_TIME_INFINITY, "\"infinity\"", "infinity"},
        {BANYAN_TIME_MINUS_INFINITY, "\"-infinity\"", "-infinity"},
        {BANYAN_TIME_NULL, "null", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_time at = {cases[i].us};
        struct banyan_field field = {"at", BANYAN_FIELD_TIME, BANYAN_FIELD_OPTIONAL, 0, 0};
        assert_texts(field, &at, cases[i].json, cases[i].text);
    }
}

static void assert_as_the_c_library(int64_t us)
{
    struct banyan_field field = {"at", BANYAN_FIELD_TIME, 0, 0, 0};
    time_t seconds = (time_t)((us - (us % 1000000 + 1000000) % 1000000) / 1000000);
    struct tm tm;
    char expected[100];
    assert_non_null(gmtime_r(&seconds, &tm));
    int size =
        snprintf(expected, sizeof(expected), "\"%04d-%02d-%02dT%02d:%02d:%02d.%06dZ\"", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(us - (int64_t)seconds * 1000000));
    assert_in_range(size, 1, sizeof(expected) - 1);
    struct banyan_buf buf = BANYAN_BUF_INIT(100);
    struct banyan_time at = {us};
    banyan_field_json(&field, &at, &buf);
    assert_string_equal(buf.data, expected);
    banyan_buf_release(&buf);
}

static void times_match_the_c_library(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "times_match_the_c_library");
    for (unsigned round = 0; round < seed_rounds(20000); round++) /* from year 0 to 9999 */
        assert_as_the_c_library(INT64_C(-62167219200000000) +
                                (int64_t)os_random_below(&random, UINT64_C(315569520000000000)));
    /* Both sides of New Year and of the leap day in each year: random days miss most of them. */
    for (int year = 0; year <= 9999; year++) {
        struct tm new_year = {.tm_year = year - 1900, .tm_mday = 1};
        struct tm march = {.tm_year = year - 1900, .tm_mon = 2, .tm_mday = 1};
        int64_t us = (int64_t)timegm(&new_year) * 1000000;
        assert_as_the_c_library(us);
        if (year > 0)
            assert_as_the_c_library(us - 1);
        us = (int64_t)timegm(&march) * 1000000;
        assert_as_the_c_library(us);
        assert_as_the_c_library(us - 1);
    }
}

static void other_kinds(void **state)
{
    (void)state;
    int64_t smallest = INT64_MIN, seven = 7;
    assert_texts((struct banyan_field){"n", BANYAN_FIELD_INT, 0, 0, 0}, &smallest, "-9223372036854775808",
                 "-9223372036854775808");
    assert_texts((struct banyan_field){"n", BANYAN_FIELD_INT, 0, 0, 0}, &seven, "7", "7");
    bool yes = true, no = false;
    assert_texts((struct banyan_field){"b", BANYAN_FIELD_BOOL, 0, 0, 0}, &yes, "true", "t");
    assert_texts((struct banyan_field){"b", BANYAN_FIELD_BOOL, 0, 0, 0}, &no, "false", "f");
    struct banyan_field decimal = {"d", BANYAN_FIELD_DECIMAL, BANYAN_FIELD_OPTIONAL, 0, 2};
    struct banyan_decimal price = {-1050, 2}, nan = {0, BANYAN_DECIMAL_NAN}, null = banyan_decimal_null();
    assert_texts(decimal, &price, "\"-10.50\"", "-10.50");
    assert_texts(decimal, &nan, "\"NaN\"", "NaN");
    assert_texts(decimal, &null, "null", "");
    struct banyan_field string = {"s", BANYAN_FIELD_STRING, BANYAN_FIELD_OPTIONAL, 0, 0};
    struct banyan_str text = BANYAN_STR("a\"b"), empty = BANYAN_STR(""), none = {NULL, 0};
    assert_texts(string, &text, "\"a\\\"b\"", "a\"b");
    assert_texts(string, &empty, "\"\"", "");
    assert_texts(string, &none, "null", "");
}

static void random_records_are_exact_in_json(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "random_records_are_exact_in_json");
    const struct banyan_str text = BANYAN_STR("plain \xC3\xA9\xE2\x82\xAC text with \"quotes\" and \n more of it");
    for (unsigned round = 0; round < seed_rounds(3000); round++) {
        struct random_record type;
        _Alignas(16) char value[RANDOM_FIELDS_MAX * RANDOM_FIELD_SIZE];
        random_record_type(&random, &type);
        random_record_value(&random, &type.record, text, value);
        struct banyan_buf buf = BANYAN_BUF_INIT(100000);
        banyan_record_json(&type.record, value, &buf);
        json_error_t error;
        json_t *json = json_loadb(buf.data, buf.size, 0, &error);
        if (json == NULL)
            fail_msg("%s: %s", error.text, buf.data);
        assert_int_equal(json_object_size(json), type.record.field_count);
        for (size_t i = 0; i < type.record.field_count; i++) {
            const struct banyan_field *field = &type.fields[i];
            const json_t *member = json_object_get(json, field->name);
            const char *at = value + field->offset;
            assert_non_null(member);
            if (field->kind == BANYAN_FIELD_INT)
                assert_true(json_integer_value(member) == *(const int64_t *)at);
            if (field->kind == BANYAN_FIELD_BOOL)
                assert_int_equal(json_is_true(member), *(const bool *)at);
            if (field->kind == BANYAN_FIELD_DECIMAL && !json_is_null(member)) {
                struct banyan_decimal back;
                assert_true(banyan_decimal_parse(banyan_str_of(json_string_value(member)), &back));
                assert_true(back.units == ((const struct banyan_decimal *)at)->units);
                assert_int_equal(back.scale, ((const struct banyan_decimal *)at)->scale);
            }
        }
        json_decref(json);
        banyan_buf_release(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),
        cmocka_unit_test(times_match_the_c_library),
        cmocka_unit_test(other_kinds),
        cmocka_unit_test(random_records_are_exact_in_json),
    };
    return cmocka_run_group_tests_name("schema-record_text", tests, NULL, NULL);
}
