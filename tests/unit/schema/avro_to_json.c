/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes and JSON of every type, derived by hand from the specification (and docs/FORMATS.md where that is our own):
 * each vector is checked, printed, parsed and resolved to itself.  Then spellings that other writers may use, and bytes
 * that are no value.
 */
#include "avro_codec.h"

static void both(const char *text, const char *hex, const char *json)
{
    struct avro_schema *schema = codec_schema(text);
    struct avro_plan *plan = codec_plan(schema, schema);
    struct banyan_str bytes = codec_bytes(hex);
    struct banyan_buf buf = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (avro_check(schema, bytes, &err) != BANYAN_OK || avro_to_json(plan, bytes, &buf, &err) != BANYAN_OK)
        fail_msg("%s of %s: %s", hex, text, err.message);
    codec_same_text(banyan_buf_str(&buf), json);
    banyan_buf_reset(&buf);
    if (avro_from_json(schema, banyan_str_of(json), &buf, &err) != BANYAN_OK)
        fail_msg("%s: %s", json, err.message);
    codec_same(banyan_buf_str(&buf), bytes, json);
    banyan_buf_reset(&buf);
    assert_int_equal(avro_resolve(plan, bytes, &buf, &err), BANYAN_OK);
    codec_same(banyan_buf_str(&buf), bytes, text);
    banyan_buf_release(&buf);
    codec_free(bytes);
    avro_plan_free(plan);
    avro_schema_free(schema);
}

/* Legal, but not in its one form: resolved to *one*. */
static void other_form(const char *text, const char *hex, const char *one)
{
    struct avro_schema *schema = codec_schema(text);
    struct avro_plan *plan = codec_plan(schema, schema);
    struct banyan_str bytes = codec_bytes(hex), wanted = codec_bytes(one);
    struct banyan_buf buf = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_equal(avro_check(schema, bytes, &err), BANYAN_CORRUPT);
    banyan_error_clear(&err);
    if (avro_resolve(plan, bytes, &buf, &err) != BANYAN_OK)
        fail_msg("%s of %s: %s", hex, text, err.message);
    codec_same(banyan_buf_str(&buf), wanted, text);
    assert_int_equal(avro_check(schema, banyan_buf_str(&buf), &err), BANYAN_OK);
    banyan_buf_reset(&buf);
    assert_int_equal(avro_to_json(plan, bytes, &buf, &err), BANYAN_OK);
    banyan_buf_release(&buf);
    codec_free(bytes);
    codec_free(wanted);
    avro_plan_free(plan);
    avro_schema_free(schema);
}

/* Neither resolved nor printed, and the buffer has what it had before. */
static void refused_block(const char *text, const char *hex, enum banyan_status status, const char *reason)
{
    struct avro_schema *schema = codec_schema(text);
    struct avro_plan *plan = codec_plan(schema, schema);
    struct banyan_str bytes = codec_bytes(hex);
    struct banyan_buf buf = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    banyan_buf_add_text(&buf, "before");
    assert_int_equal(avro_resolve(plan, bytes, &buf, &err), status);
    assert_non_null(strstr(err.message, reason));
    banyan_error_clear(&err);
    assert_int_equal(avro_to_json(plan, bytes, &buf, &err), status);
    assert_non_null(strstr(err.message, reason));
    codec_same_text(banyan_buf_str(&buf), "before");
    banyan_buf_release(&buf);
    codec_free(bytes);
    avro_plan_free(plan);
    avro_schema_free(schema);
}

static void refused_as(const char *text, const char *hex, enum banyan_status status, const char *reason)
{
    struct avro_schema *schema = codec_schema(text);
    struct banyan_str bytes = codec_bytes(hex);
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (avro_check(schema, bytes, &err) != status || strstr(err.message, reason) == NULL)
        fail_msg("%s of %s: \"%s\" is not in \"%s\"", hex, text, reason, err.message);
    codec_free(bytes);
    avro_schema_free(schema);
    refused_block(text, hex, status, reason);
}

static void refused(const char *text, const char *hex, const char *reason)
{
    refused_as(text, hex, BANYAN_CORRUPT, reason);
}

static void primitives(void **state)
{
    (void)state;
    both("\"null\"", "", "null");
    both("\"boolean\"", "00", "false");
    both("\"boolean\"", "01", "true");
    both("\"int\"", "00", "0");
    both("\"int\"", "01", "-1");
    both("\"int\"", "02", "1");
    both("\"int\"", "03", "-2");
    both("\"int\"", "7f", "-64");
    both("\"int\"", "80 01", "64");
    both("\"int\"", "fe ff ff ff 0f", "2147483647");
    both("\"int\"", "ff ff ff ff 0f", "-2147483648");
    both("\"long\"", "fe ff ff ff ff ff ff ff ff 01", "9223372036854775807");
    both("\"long\"", "ff ff ff ff ff ff ff ff ff 01", "-9223372036854775808");
    both("\"long\"", "80 80 80 80 80 80 80 20", "9007199254740992"); /* 2^53, then what a double cannot hold */
    both("\"long\"", "82 80 80 80 80 80 80 20", "9007199254740993");
    both("\"float\"", "00 00 80 3f", "1.0");
    both("\"float\"", "cd cc cc 3d", "0.1");
    both("\"float\"", "00 00 00 80", "-0.0");
    both("\"float\"", "ff ff 7f 7f", "3.4028235e+38");
    both("\"float\"", "01 00 00 00", "1.4013e-45");
    both("\"double\"", "00 00 00 00 00 00 f8 bf", "-1.5");
    both("\"double\"", "9a 99 99 99 99 99 b9 3f", "0.1");
    both("\"double\"", "55 55 55 55 55 55 d5 3f", "0.3333333333333333");
    both("\"double\"", "00 00 00 00 00 00 00 80", "-0.0");
    both("\"double\"", "ff ff ff ff ff ff ef 7f", "1.7976931348623157e+308");
    both("\"double\"", "01 00 00 00 00 00 00 00", "4.94065645841247e-324");
    both("\"double\"", "9c 75 00 88 3c e4 37 7e", "1e+300");
    both("\"double\"", "00 00 00 00 00 00 f8 7f", "\"NaN\"");
    both("\"double\"", "00 00 00 00 00 00 f0 7f", "\"Infinity\"");
    both("\"float\"", "00 00 80 ff", "\"-Infinity\"");
    both("\"float\"", "00 00 c0 7f", "\"NaN\"");
    both("\"bytes\"", "00", "\"\"");
    both("\"bytes\"", "06 00 ff 80", "\"AP+A\"");
    both("\"string\"", "06 66 6f 6f", "\"foo\"");
    both("\"string\"", "00", "\"\"");
    both("\"string\"", "10 22 5c 0a 01 c3 a9 00 7f", "\"\\\"\\\\\\n\\u0001\u00e9\\u0000\x7f\"");
    both("\"string\"", "08 f0 9f 8c b3", "\"\U0001F333\"");
}

static void complex_types(void **state)
{
    (void)state;
    /* The examples of the specification: record, array and union. */
    both("{\"type\":\"record\",\"name\":\"test\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"},"
         "{\"name\":\"b\",\"type\":\"string\"}]}",
         "36 06 66 6f 6f", "{\"a\":27,\"b\":\"foo\"}");
    both("{\"type\":\"array\",\"items\":\"long\"}", "04 06 36 00", "[3,27]");
    both("{\"type\":\"array\",\"items\":\"long\"}", "00", "[]");
    both("[\"null\",\"string\"]", "00", "null");
    both("[\"null\",\"string\"]", "02 02 61", "\"a\"");
    both("[\"string\",\"null\"]", "00 02 61", "\"a\"");
    both("[\"string\"]", "00 02 61", "\"a\"");
    both("[\"null\"]", "00", "null");
    both("[\"null\",\"string\",\"long\"]", "00", "null");
    both("[\"null\",\"string\",\"long\"]", "02 02 61", "{\"string\":\"a\"}");
    both("[\"null\",\"string\",\"long\"]", "04 02", "{\"long\":1}");
    both("[\"int\",{\"type\":\"array\",\"items\":\"int\"},{\"type\":\"map\",\"values\":\"int\"}]", "02 02 0a 00",
         "{\"array\":[5]}");
    both("[\"int\",{\"type\":\"fixed\",\"name\":\"a.F\",\"size\":1},{\"type\":\"fixed\",\"name\":\"b.F\",\"size\":1}]",
         "04 ff", "{\"b.F\":\"/w==\"}");
    both("{\"type\":\"map\",\"values\":\"int\"}", "04 02 62 02 02 61 04 00", "{\"b\":1,\"a\":2}");
    both("{\"type\":\"map\",\"values\":\"int\"}", "00", "{}");
    both("{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\",\"C\",\"D\"]}", "00", "\"A\"");
    both("{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\",\"C\",\"D\"]}", "06", "\"D\"");
    both("{\"type\":\"fixed\",\"name\":\"F\",\"size\":4}", "de ad be ef", "\"3q2+7w==\"");
    both("{\"type\":\"record\",\"name\":\"Empty\",\"fields\":[]}", "", "{}");
    both("{\"type\":\"record\",\"name\":\"List\",\"fields\":[{\"name\":\"v\",\"type\":\"int\"},"
         "{\"name\":\"next\",\"type\":[\"null\",\"List\"]}]}",
         "02 02 04 02 06 00", "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3,\"next\":null}}}");
    both("{\"type\":\"array\",\"items\":{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":\"null\"}}}",
         "04 00 02 02 78 04 00 00 00", "[{},{\"x\":[null,null]}]");
}

static void logical_types(void **state)
{
    (void)state;
    static const char price[] = "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":6,\"scale\":2}";
    both(price, "02 00", "\"0.00\"");
    both(price, "04 04 e2", "\"12.50\"");
    both(price, "02 ff", "\"-0.01\"");
    both(price, "04 00 80", "\"1.28\"");
    both(price, "06 0f 42 3f", "\"9999.99\"");
    both(price, "06 f0 bd c1", "\"-9999.99\"");
    both(price, "00", "\"NaN\"");
    both("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":38,\"scale\":0}",
         "20 4b 3b 4c a8 5a 86 c4 7a 09 8a 22 3f ff ff ff ff", "\"99999999999999999999999999999999999999\"");
    both("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":38,\"scale\":38}", "02 01",
         "\"0.00000000000000000000000000000000000001\"");
    both("{\"type\":\"fixed\",\"name\":\"P\",\"size\":4,\"logicalType\":\"decimal\",\"precision\":6,\"scale\":2}",
         "ff ff fb 1e", "\"-12.50\"");
    both("{\"type\":\"fixed\",\"name\":\"P\",\"size\":20,\"logicalType\":\"decimal\",\"precision\":6,\"scale\":2}",
         "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 04 e2", "\"12.50\"");
    both("{\"type\":\"int\",\"logicalType\":\"date\"}", "d8 82 02", "\"2015-05-01\"");
    both("{\"type\":\"int\",\"logicalType\":\"date\"}", "01", "\"1969-12-31\"");
    both("{\"type\":\"int\",\"logicalType\":\"date\"}", "fe ff ff ff 0f", "\"+5881580-07-11\"");
    both("{\"type\":\"int\",\"logicalType\":\"date\"}", "ff ff ff ff 0f", "\"-5877641-06-23\"");
    both("{\"type\":\"int\",\"logicalType\":\"time-millis\"}", "fe ef b2 52", "\"23:59:59.999\"");
    both("{\"type\":\"long\",\"logicalType\":\"time-micros\"}", "02", "\"00:00:00.000001\"");
    both("{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}", "cc 46", "\"1970-01-01T00:00:04.518Z\"");
    both("{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}", "01", "\"1969-12-31T23:59:59.999999Z\"");
    both("{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}", "fe ff ff ff ff ff ff ff ff 01", "\"infinity\"");
    both("{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}", "fd ff ff ff ff ff ff ff ff 01", "\"-infinity\"");
    both("{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}", "ff ff ff ff ff ff ff ff ff 01",
         "\"-290308-12-21T19:59:05.224192Z\"");
    both("{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}", "ff ff ff ff ff ff ff ff ff 01",
         "\"-292275055-05-16T16:47:04.192Z\"");
    both("{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}", "fe ff ff ff ff ff ff ff ff 01",
         "\"+292278994-08-17T07:12:55.807Z\"");
    both("{\"type\":\"long\",\"logicalType\":\"local-timestamp-millis\"}", "00", "\"1970-01-01T00:00:00.000\"");
    both("{\"type\":\"long\",\"logicalType\":\"local-timestamp-micros\"}", "01", "\"1969-12-31T23:59:59.999999\"");
    both("{\"type\":\"string\",\"logicalType\":\"uuid\"}",
         "48 30 31 38 66 31 65 34 63 2d 37 62 32 61 2d 37 33 63 34 2d 39 64 35 65 2d 30 30 30 30 30 30 30 30 30 30 "
         "30 31",
         "\"018f1e4c-7b2a-73c4-9d5e-000000000001\"");
}

static void other_forms_are_made_one(void **state)
{
    (void)state;
    other_form("\"long\"", "82 00", "02");
    other_form("\"string\"", "82 00 61", "02 61");
    other_form("[\"null\",\"string\"]", "80 00", "00");
    other_form("\"double\"", "01 00 00 00 00 00 f0 7f", "00 00 00 00 00 00 f8 7f");
    other_form("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":6,\"scale\":2}", "08 00 00 04 e2",
               "04 04 e2");
    other_form("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":6,\"scale\":2}",
               "26 ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff", "02 ff");
    other_form("{\"type\":\"array\",\"items\":\"int\"}", "02 02 02 04 00", "04 02 04 00"); /* two blocks */
    other_form("{\"type\":\"array\",\"items\":\"int\"}", "03 04 02 04 00", "04 02 04 00"); /* a block with its size */
    other_form("{\"type\":\"map\",\"values\":\"int\"}", "01 06 02 61 02 02 02 62 04 00", "04 02 61 02 02 62 04 00");
    /* 64 items in blocks of one: their number takes two bytes where the first block's took one. */
    struct banyan_buf in = BANYAN_BUF_INIT(1000), out = BANYAN_BUF_INIT(1000);
    banyan_buf_add_text(&out, "8001");
    for (int i = 0; i < 64; i++) {
        banyan_buf_add_text(&in, "0206");
        banyan_buf_add_text(&out, "06");
    }
    banyan_buf_add_text(&in, "00");
    banyan_buf_add_text(&out, "00");
    other_form("{\"type\":\"array\",\"items\":\"int\"}", in.data, out.data);
    banyan_buf_release(&in);
    banyan_buf_release(&out);
}

static void bytes_that_are_no_value(void **state)
{
    (void)state;
    refused("\"boolean\"", "02", "neither 0 nor 1");
    refused("\"boolean\"", "", "end inside");
    refused("\"null\"", "00", "follow the value");
    refused("\"int\"", "80 80 80 80 10", "more than 32 bits");
    refused("\"long\"", "ff ff ff ff ff ff ff ff ff 02", "more than 64 bits");
    refused("\"long\"", "ff ff ff ff ff ff ff ff ff ff 01", "more than 64 bits");
    refused("\"long\"", "80", "end inside");
    refused("\"double\"", "00 00 00 00 00 00 00", "end inside");
    refused("\"string\"", "01", "negative");
    refused("\"string\"", "fe ff ff ff ff ff ff ff ff 01 61", "end inside");
    refused("[\"null\",\"int\"]", "04", "no such branch");
    refused("[\"null\",\"int\"]", "01", "no such branch");
    refused("{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}", "02", "no such symbol");
    refused("{\"type\":\"fixed\",\"name\":\"F\",\"size\":4}", "de ad be", "end inside");
    refused("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":6,\"scale\":2}", "06 0f 42 40", "precision");
    refused("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":38,\"scale\":2}",
            "22 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", "38 digits");
    refused("{\"type\":\"int\",\"logicalType\":\"time-millis\"}", "80 f0 b2 52", "within a day");
    refused("{\"type\":\"int\",\"logicalType\":\"time-millis\"}", "01", "within a day");
    refused("{\"type\":\"string\",\"logicalType\":\"uuid\"}", "02 61", "UUID");
    refused("{\"type\":\"map\",\"values\":\"int\"}", "04 02 61 02 02 61 04 00", "twice");
    refused("{\"type\":\"map\",\"values\":\"int\"}", "02 02 ff 02 00", "UTF-8");
    refused("{\"type\":\"array\",\"items\":\"int\"}", "04 02", "end inside");
    refused_block("{\"type\":\"array\",\"items\":\"int\"}", "03 06 02 04 00", BANYAN_CORRUPT, "size that it names");
    refused_block("{\"type\":\"array\",\"items\":\"int\"}", "03 fe 02 02 04 00", BANYAN_CORRUPT, "passes the end");
    refused_block("{\"type\":\"array\",\"items\":\"int\"}", "03 01 02 04 00", BANYAN_CORRUPT, "passes the end");
    refused(
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"items\",\"type\":{\"type\":\"array\",\"items\":"
        "{\"type\":\"map\",\"values\":\"boolean\"}}}]}",
        "02 02 02 6b 05 00 00", "items[0][\"k\"] (near byte 5 of 7)");
}

static void hostile_sizes(void **state)
{
    (void)state;
    /* 2^62 nulls take no bytes. */
    refused_as("{\"type\":\"array\",\"items\":\"null\"}", "fe ff ff ff ff ff ff ff 7f 00", BANYAN_LIMIT, "no bytes");
    refused_block("{\"type\":\"array\",\"items\":\"null\"}", "ff ff ff ff ff ff ff ff ff 01 00 00", BANYAN_LIMIT,
                  "no bytes");
    refused("{\"type\":\"array\",\"items\":\"int\"}", "fe ff ff ff ff ff ff ff ff 01 00", "end inside");
    struct banyan_buf hex = BANYAN_BUF_INIT(10000);
    for (int i = 0; i < 500; i++)
        banyan_buf_add_text(&hex, "02");
    banyan_buf_add_text(&hex, "00");
    refused_as("{\"type\":\"record\",\"name\":\"L\",\"fields\":[{\"name\":\"n\",\"type\":[\"null\",\"L\"]}]}", hex.data,
               BANYAN_LIMIT, "too deep");
    banyan_buf_release(&hex);
    /* 2^40 records of records of … nothing. */
    struct banyan_buf text = BANYAN_BUF_INIT(10000);
    banyan_buf_add_text(&text, "{\"type\":\"record\",\"name\":\"R0\",\"fields\":[");
    for (int i = 1; i <= 40; i++)
        banyan_buf_printf(&text, "{\"name\":\"a\",\"type\":{\"type\":\"record\",\"name\":\"R%d\",\"fields\":[", i);
    for (int i = 40; i >= 1; i--)
        banyan_buf_printf(&text, "]}},{\"name\":\"b\",\"type\":\"R%d\"}", i);
    banyan_buf_add_text(&text, "]}");
    refused_as(text.data, "", BANYAN_LIMIT, "no bytes");
    banyan_buf_release(&text);
}

static void text_that_is_not_utf8_becomes_marks(void **state)
{
    (void)state;
    struct avro_schema *schema = codec_schema("\"string\"");
    struct avro_plan *plan = codec_plan(schema, schema);
    struct banyan_buf buf = BANYAN_BUF_INIT(100);
    assert_int_equal(avro_to_json(plan,
                                  BANYAN_STR("\x06"
                                             "a\xff\xc3"),
                                  &buf, NULL),
                     BANYAN_OK);
    codec_same_text(banyan_buf_str(&buf), "\"a\xEF\xBF\xBD\xEF\xBF\xBD\"");
    banyan_buf_release(&buf);
    avro_plan_free(plan);
    avro_schema_free(schema);
}

static void a_full_buffer_is_a_limit(void **state)
{
    (void)state;
    struct avro_schema *schema = codec_schema("{\"type\":\"array\",\"items\":\"string\"}");
    struct avro_plan *plan = codec_plan(schema, schema);
    struct banyan_str bytes = codec_bytes("04 04 61 62 02 63 00"); /* ["ab","c"]: 10 bytes of JSON */
    for (size_t max = 0; max <= 12; max++) {
        struct banyan_buf json = BANYAN_BUF_INIT(max), binary = BANYAN_BUF_INIT(max), parsed = BANYAN_BUF_INIT(max);
        assert_int_equal(avro_to_json(plan, bytes, &json, NULL), max < 10 ? BANYAN_LIMIT : BANYAN_OK);
        assert_int_equal(avro_resolve(plan, bytes, &binary, NULL), max < 7 ? BANYAN_LIMIT : BANYAN_OK);
        assert_int_equal(avro_from_json(schema, BANYAN_STR("[\"ab\",\"c\"]"), &parsed, NULL),
                         max < 7 ? BANYAN_LIMIT : BANYAN_OK);
        banyan_buf_release(&json);
        banyan_buf_release(&binary);
        banyan_buf_release(&parsed);
    }
    codec_free(bytes);
    avro_plan_free(plan);
    avro_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(primitives),
        cmocka_unit_test(complex_types),
        cmocka_unit_test(logical_types),
        cmocka_unit_test(other_forms_are_made_one),
        cmocka_unit_test(bytes_that_are_no_value),
        cmocka_unit_test(hostile_sizes),
        cmocka_unit_test(text_that_is_not_utf8_becomes_marks),
        cmocka_unit_test(a_full_buffer_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
