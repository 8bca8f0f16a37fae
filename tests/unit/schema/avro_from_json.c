/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON that people write: other orders, spellings and defaults come to the one form; what is wrong is refused with its
 * path and reason, and the buffer has what it had before.  Vectors of every type are in avro_to_json.c.
 */
#include "avro_codec.h"

static const char order_schema[] =
    "{\"type\":\"record\",\"name\":\"x.Order\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"long\"},"
    "{\"name\":\"price\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":10,\"scale\":2}},"
    "{\"name\":\"note\",\"type\":[\"null\",\"string\"],\"default\":null},"
    "{\"name\":\"side\",\"type\":{\"type\":\"enum\",\"name\":\"Side\",\"symbols\":[\"BUY\",\"SELL\"]},"
    "\"default\":\"SELL\"},"
    "{\"name\":\"fills\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Fill\",\"fields\":["
    "{\"name\":\"qty\",\"type\":\"int\"},{\"name\":\"at\",\"type\":{\"type\":\"long\","
    "\"logicalType\":\"timestamp-micros\"}}]}},\"default\":[]}]}";

static void gives(const char *text, const char *json, const char *hex)
{
    struct avro_schema *schema = codec_schema(text);
    struct banyan_str bytes = codec_bytes(hex);
    struct banyan_buf buf = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (avro_from_json(schema, banyan_str_of(json), &buf, &err) != BANYAN_OK)
        fail_msg("%s: %s", json, err.message);
    codec_same(banyan_buf_str(&buf), bytes, json);
    assert_int_equal(avro_check(schema, bytes, &err), BANYAN_OK);
    banyan_buf_release(&buf);
    codec_free(bytes);
    avro_schema_free(schema);
}

static void refused_str(const char *text, struct banyan_str json, const char *reason, const char *hint)
{
    struct avro_schema *schema = codec_schema(text);
    struct banyan_buf buf = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    char *exact = malloc(json.size == 0 ? 1 : json.size); /* a read behind it is seen by the sanitizer */
    assert_non_null(exact);
    memcpy(exact, json.data, json.size);
    banyan_buf_add_text(&buf, "before");
    enum banyan_status st = avro_from_json(schema, (struct banyan_str){exact, json.size}, &buf, &err);
    if (st != BANYAN_INVALID || strstr(err.message, reason) == NULL)
        fail_msg("%.*s: \"%s\" is not in \"%s\" (%s)", (int)json.size, json.data, reason, err.message,
                 banyan_status_name(st));
    if (hint != NULL && strstr(err.hint, hint) == NULL)
        fail_msg("\"%s\" is not in the hint \"%s\"", hint, err.hint);
    codec_same_text(banyan_buf_str(&buf), "before");
    free(exact);
    banyan_buf_release(&buf);
    avro_schema_free(schema);
}

static void refused(const char *text, const char *json, const char *reason)
{
    refused_str(text, banyan_str_of(json), reason, NULL);
}

static void fields_in_any_order(void **state)
{
    (void)state;
    static const char all[] = "54 04 04 e2 02 04 68 69 00 02 0a cc 46 00";
    gives(order_schema,
          "{\"id\":42,\"price\":\"12.50\",\"note\":\"hi\",\"side\":\"BUY\",\"fills\":[{\"qty\":5,"
          "\"at\":\"1970-01-01T00:00:00.004518Z\"}]}",
          all);
    gives(order_schema,
          " { \"fills\" : [ { \"at\" : \"1970-01-01T01:00:00.004518+01:00\" , \"qty\" : 5 } ] ,\n\t\"side\":\"BUY\","
          "\"note\":\"h\\u0069\",\"pr\\u0069ce\":12.5,\"id\":42}\r\n",
          all);
    gives(order_schema, "{\"id\":42,\"price\":1250e-2}", "54 04 04 e2 00 02 00");
    gives(order_schema, "{\"price\":\"12.5\",\"id\":42}", "54 04 04 e2 00 02 00");
    gives(order_schema, "{\"id\":42,\"side\":\"BUY\",\"price\":\"12.50\"}", "54 04 04 e2 00 00 00");
}

static void other_spellings(void **state)
{
    (void)state;
    gives("\"double\"", "1", "00 00 00 00 00 00 f0 3f");
    gives("\"double\"", "10E-1", "00 00 00 00 00 00 f0 3f");
    gives("\"double\"", "1.00000000000000000000000000000000000000000000000001", "00 00 00 00 00 00 f0 3f");
    gives("\"double\"", "0.1000000000000000055511151231257827021181583404541015625", "9a 99 99 99 99 99 b9 3f");
    gives("\"double\"", "1e-400", "00 00 00 00 00 00 00 00");
    /* Rounding first to a double and then to a float would give 0x3f800000: the text lies just above half way. */
    gives("\"float\"", "1.00000005960464477539062500000000000000000000000001", "01 00 80 3f");
    gives("\"int\"", "-0", "00");
    gives("\"string\"", "\"\\ud83c\\udf33\\u00e9\\/\\b\\f\"", "12 f0 9f 8c b3 c3 a9 2f 08 0c");
    gives("{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}", "\"1970-01-01T00:00:00Z\"", "00");
    gives("{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}", "\"1970-01-01T00:00:00.0010000-00:00\"", "02");
    gives("{\"type\":\"map\",\"values\":\"int\"}", "{\"b\":1,\"a\":2}", "04 02 62 02 02 61 04 00");
    gives("[\"null\",\"int\",\"string\"]", "{ \"string\" : \"a\" }", "04 02 61");
}

static void values_that_do_not_fit(void **state)
{
    (void)state;
    static const char price[] = "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":6,\"scale\":2}";
    refused("\"int\"", "2147483648", "32 bits");
    refused("\"long\"", "9223372036854775808", "64 bits");
    refused("\"long\"", "-9223372036854775809", "64 bits");
    refused("\"long\"", "1.0", "fraction");
    refused("\"long\"", "1e2", "fraction");
    refused("\"long\"", "\"1\"", "number is expected");
    refused("\"double\"", "1e400", "too large");
    refused("\"float\"", "1e39", "too large");
    refused("\"double\"", "\"nan\"", "number is expected");
    refused(price, "\"12.505\"", "behind the point");
    refused(price, "12.505", "behind the point");
    refused(price, "\"10000.00\"", "precision");
    refused(price, "\"100000000000000000000000000000000000000000\"", "digits");
    refused(price, "\"+1\"", "decimal is expected");
    refused(price, "\"\"", "decimal is expected");
    refused(price, "\"1 \"", "decimal is expected");
    refused(price, "null", "decimal is expected");
    refused("{\"type\":\"fixed\",\"name\":\"P\",\"size\":4,\"logicalType\":\"decimal\",\"precision\":6,\"scale\":2}",
            "\"NaN\"", "decimal is expected");
    refused("\"boolean\"", "1", "true or false");
    refused("\"boolean\"", "\"true\"", "true or false");
    refused("\"null\"", "false", "null");
    refused("\"string\"", "null", "string is expected");
    refused("{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}", "\"a\"", "no such symbol");
    refused("{\"type\":\"fixed\",\"name\":\"F\",\"size\":4}", "\"3q2+\"", "as many bytes");
    refused("\"bytes\"", "\"3q2\"", "base64");
    refused("{\"type\":\"int\",\"logicalType\":\"date\"}", "\"2015-02-29\"", "date");
    refused("{\"type\":\"int\",\"logicalType\":\"date\"}", "\"+5881580-07-12\"", "date");
    refused("{\"type\":\"int\",\"logicalType\":\"date\"}", "16556", "string is expected");
    refused("{\"type\":\"int\",\"logicalType\":\"time-millis\"}", "\"24:00:00\"", "time of day");
    refused("{\"type\":\"int\",\"logicalType\":\"time-millis\"}", "\"00:00:00.0001\"", "time of day");
    refused("{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}", "\"2015-05-01T00:00:00\"", "time");
    refused("{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}", "\"2015-05-01T00:00:60Z\"", "time");
    refused("{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}", "\"+999999999-01-01T00:00:00Z\"", "time");
    refused("{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}", "\"+294247-01-10T04:00:54.775807Z\"", "time");
    refused("{\"type\":\"long\",\"logicalType\":\"local-timestamp-micros\"}", "\"2015-05-01T00:00:00Z\"", "zone");
    refused("{\"type\":\"string\",\"logicalType\":\"uuid\"}", "\"018f1e4c\"", "UUID");
    refused("[\"null\",\"int\",\"string\"]", "1", "name of a branch");
    refused("[\"null\",\"int\",\"string\"]", "{}", "name of a branch");
    refused("[\"null\",\"int\",\"string\"]", "{\"long\":1}", "[\"long\"] (line 1, column 9): the union has no such");
    refused("[\"null\",\"int\",\"string\"]", "{\"null\":null}", "no such branch");
    refused("[\"null\",\"int\",\"string\"]", "{\"int\":1,\"int\":1}", "one branch");
    refused("[\"int\",\"string\"]", "null", "name of a branch");
}

static void paths_and_hints(void **state)
{
    (void)state;
    refused(order_schema,
            "{\"id\":1,\"price\":\"1\",\"fills\":[{\"qty\":1,\"at\":\"2015-05-01T00:00:00Z\"},\n{\"qty\":x}]}",
            "fills[1].qty (line 2, column 8)");
    refused(order_schema, "{\"id\":1}", "price");
    refused(order_schema, "{\"price\":1}", "id (line 1, column 12): the field is missing");
    refused(order_schema, "{\"id\":1,\"price\":1,\"id\":2}", "id (line 1, column 24): the field is there twice");
    refused_str(order_schema, BANYAN_STR("{\"id\":1,\"prise\":1}"),
                "[\"prise\"] (line 1, column 17): the record has no",
                "fields of x.Order are: id, price, note, side, fills.");
    refused("{\"type\":\"map\",\"values\":\"int\"}", "{\"a\":1,\"\\u0061\":2}", "twice");
    refused("{\"type\":\"map\",\"values\":\"int\"}", "{\"a b\":null}", "[\"a b\"]");
}

static void text_that_is_no_json(void **state)
{
    (void)state;
    static const char *const texts[] = {"",     " ",     "[",    "[1",   "[1,",   "[1,]",           "[,1]",   "[1 2]",
                                        "[01]", "[1.]",  "[.5]", "[+1]", "[-]",   "[0x1]",          "[1]]",   "[1] x",
                                        "{1}",  "[1;2]", "1",    "[1e]", "[NaN]", "\xEF\xBB\xBF[]", "// \n[]"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        refused("{\"type\":\"array\",\"items\":\"double\"}", texts[i], "");
    static const char *const strings[] = {"\"",
                                          "\"a",
                                          "\"\\\"",
                                          "\"\\x\"",
                                          "\"\\u12\"",
                                          "\"\\u12g4\"",
                                          "\"\\ud800\"",
                                          "\"\\udc00\"",
                                          "\"\\ud800\\u0041\"",
                                          "\"\n\"",
                                          "\"\xff\"",
                                          "\"\xc3\"",
                                          "\"\xed\xa0\x80\"",
                                          "'a'"};
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
        refused("\"string\"", strings[i], "");
    refused_str("\"string\"", BANYAN_STR("\"a\"\0"), "behind", NULL);
    refused_str("\"string\"", BANYAN_STR("\"a\0\""), "control", NULL);
}

static void nesting_has_a_limit(void **state)
{
    (void)state;
    struct avro_schema *schema = codec_schema("{\"type\":\"record\",\"name\":\"L\",\"fields\":[{\"name\":\"n\","
                                              "\"type\":{\"type\":\"array\",\"items\":\"L\"}}]}");
    struct banyan_buf json = BANYAN_BUF_INIT(CODEC_BYTES_MAX), ret = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    for (int i = 0; i < 63; i++)
        banyan_buf_add_text(&json, "{\"n\":[");
    banyan_buf_add_text(&json, "{\"n\":[]}");
    for (int i = 0; i < 63; i++)
        banyan_buf_add_text(&json, "]}");
    assert_int_equal(avro_from_json(schema, banyan_buf_str(&json), &ret, &err), BANYAN_OK);
    assert_int_equal(avro_check(schema, banyan_buf_str(&ret), &err), BANYAN_OK);
    banyan_buf_reset(&json);
    for (int i = 0; i < 100000; i++)
        banyan_buf_add_text(&json, "{\"n\":[");
    assert_int_equal(avro_from_json(schema, banyan_buf_str(&json), &ret, &err), BANYAN_LIMIT);
    assert_non_null(strstr(err.message, "too deep"));
    banyan_buf_release(&json);
    banyan_buf_release(&ret);
    avro_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_in_any_order),    cmocka_unit_test(other_spellings),
        cmocka_unit_test(values_that_do_not_fit), cmocka_unit_test(paths_and_hints),
        cmocka_unit_test(text_that_is_no_json),   cmocka_unit_test(nesting_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
