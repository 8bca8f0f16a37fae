/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resolution, each rule of the specification by a vector derived by hand: what the writer's bytes are to the reader, as
 * bytes and as JSON.
 */
#include "avro_codec.h"

static void reads(const char *writer_text, const char *hex, const char *reader_text, const char *wanted,
                  const char *json)
{
    struct avro_schema *writer = codec_schema(writer_text), *reader = codec_schema(reader_text);
    struct avro_plan *plan = codec_plan(writer, reader);
    struct banyan_str bytes = codec_bytes(hex), expected = codec_bytes(wanted);
    struct banyan_buf buf = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (avro_resolve(plan, bytes, &buf, &err) != BANYAN_OK)
        fail_msg("%s: %s", hex, err.message);
    codec_same(banyan_buf_str(&buf), expected, json);
    assert_int_equal(avro_check(reader, banyan_buf_str(&buf), &err), BANYAN_OK);
    banyan_buf_reset(&buf);
    assert_int_equal(avro_to_json(plan, bytes, &buf, &err), BANYAN_OK);
    codec_same_text(banyan_buf_str(&buf), json);
    banyan_buf_release(&buf);
    codec_free(bytes);
    codec_free(expected);
    avro_plan_free(plan);
    avro_schema_free(writer);
    avro_schema_free(reader);
}

/* A plan exists, but this value has no place in the reader. */
static void does_not_fit(const char *writer_text, const char *hex, const char *reader_text, const char *reason)
{
    struct avro_schema *writer = codec_schema(writer_text), *reader = codec_schema(reader_text);
    struct avro_plan *plan = codec_plan(writer, reader);
    struct banyan_str bytes = codec_bytes(hex);
    struct banyan_buf buf = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_equal(avro_resolve(plan, bytes, &buf, &err), BANYAN_CONFLICT);
    assert_non_null(strstr(err.message, reason));
    banyan_error_clear(&err);
    assert_int_equal(avro_to_json(plan, bytes, &buf, &err), BANYAN_CONFLICT);
    assert_int_equal(buf.size, 0);
    banyan_buf_release(&buf);
    codec_free(bytes);
    avro_plan_free(plan);
    avro_schema_free(writer);
    avro_schema_free(reader);
}

static void no_plan(const char *writer_text, const char *reader_text)
{
    struct avro_schema *writer = codec_schema(writer_text), *reader = codec_schema(reader_text);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct avro_plan *plan = NULL;
    assert_int_equal(avro_plan(writer, reader, &plan, &err), BANYAN_CONFLICT);
    assert_null(plan);
    assert_true(err.message[0] != '\0');
    avro_schema_free(writer);
    avro_schema_free(reader);
}

static void promotions(void **state)
{
    (void)state;
    reads("\"int\"", "03", "\"long\"", "03", "-2");
    reads("\"int\"", "04", "\"float\"", "00 00 00 40", "2.0");
    reads("\"int\"", "04", "\"double\"", "00 00 00 00 00 00 00 40", "2.0");
    reads("\"long\"", "04", "\"float\"", "00 00 00 40", "2.0");
    reads("\"long\"", "82 80 80 80 80 80 80 20", "\"double\"", "00 00 00 00 00 00 40 43", "9007199254740992.0");
    reads("\"float\"", "00 00 80 3f", "\"double\"", "00 00 00 00 00 00 f0 3f", "1.0");
    reads("\"float\"", "01 00 c0 7f", "\"double\"", "00 00 00 00 00 00 f8 7f", "\"NaN\"");
    reads("\"string\"", "06 66 6f 6f", "\"bytes\"", "06 66 6f 6f", "\"Zm9v\"");
    reads("\"bytes\"", "06 66 6f 6f", "\"string\"", "06 66 6f 6f", "\"foo\"");
    no_plan("\"long\"", "\"int\"");
    no_plan("\"double\"", "\"float\"");
    no_plan("\"int\"", "\"string\"");
    no_plan("\"int\"", "\"boolean\"");
}

static void meanings(void **state)
{
    (void)state;
    static const char micros[] = "{\"type\":\"long\",\"logicalType\":\"time-micros\"}";
    reads("\"int\"", "02", "{\"type\":\"int\",\"logicalType\":\"date\"}", "02", "\"1970-01-02\"");
    reads("{\"type\":\"int\",\"logicalType\":\"date\"}", "02", "\"int\"", "02", "1");
    reads("\"long\"", "02", micros, "02", "\"00:00:00.000001\"");
    does_not_fit("\"long\"", "01", micros, "within a day");
    does_not_fit("{\"type\":\"array\",\"items\":\"string\"}", "02 02 61 00",
                 "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"logicalType\":\"uuid\"}}", "[0] (near byte 3");
    no_plan("{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}",
            "{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}");
    no_plan("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":6,\"scale\":2}",
            "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":6,\"scale\":3}");
}

#define RECORD(fields) "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" fields "]}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"

static void records(void **state)
{
    (void)state;
    static const char abc[] = RECORD(FIELD("a", "\"int\"") "," FIELD("b", "\"string\"") "," FIELD("c", "\"boolean\""));
    /* Fields left out, at each place. */
    reads(abc, "02 02 78 01", RECORD(FIELD("b", "\"string\"")), "02 78", "{\"b\":\"x\"}");
    reads(abc, "02 02 78 01", RECORD(FIELD("a", "\"long\"") "," FIELD("c", "\"boolean\"")), "02 01",
          "{\"a\":1,\"c\":true}");
    reads(abc, "02 02 78 01", RECORD(""), "", "{}");
    /* In another order. */
    reads(abc, "02 02 78 01",
          RECORD(FIELD("c", "\"boolean\"") "," FIELD("b", "\"string\"") "," FIELD("a", "\"double\"")),
          "01 02 78 00 00 00 00 00 00 f0 3f", "{\"c\":true,\"b\":\"x\",\"a\":1.0}");
    reads(abc, "02 02 78 01", RECORD(FIELD("b", "\"string\"") "," FIELD("a", "\"int\"")), "02 78 02",
          "{\"b\":\"x\",\"a\":1}");
    /* Defaults. */
    reads(
        abc, "02 02 78 01",
        RECORD("{\"name\":\"d\",\"type\":\"int\",\"default\":7}," FIELD(
            "c", "\"boolean\"") ",{\"name\":\"e\",\"type\":{\"type\":\"array\",\"items\":\"int\"},\"default\":[1,2]}"),
        "0e 01 04 02 04 00", "{\"d\":7,\"c\":true,\"e\":[1,2]}");
    /* Aliases: of the field, and of the record. */
    reads(abc, "02 02 78 01",
          "{\"type\":\"record\",\"name\":\"New\",\"aliases\":[\"R\"],\"fields\":[{\"name\":\"z\",\"aliases\":[\"y\","
          "\"b\"],\"type\":\"string\"}]}",
          "02 78", "{\"z\":\"x\"}");
    no_plan(abc, RECORD(FIELD("d", "\"int\"")));
    no_plan(abc, "{\"type\":\"record\",\"name\":\"S\",\"fields\":[" FIELD("a", "\"int\"") "]}");
    /* What is left out may hold anything. */
    reads(
        RECORD(FIELD(
            "skip",
            "{\"type\":\"map\",\"values\":[\"null\",{\"type\":\"array\",\"items\":\"bytes\"}]}") "," FIELD("a",
                                                                                                           "\"int\"")),
        "04 02 6b 00 02 6c 02 04 02 ff 00 00 00 06", RECORD(FIELD("a", "\"int\"")), "06", "{\"a\":3}");
}

static void enums(void **state)
{
    (void)state;
    static const char abc[] = "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\",\"C\"]}";
    reads(abc, "04", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"C\",\"B\",\"A\"]}", "00", "\"C\"");
    reads(abc, "02", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\",\"C\",\"D\"]}", "02", "\"B\"");
    reads(abc, "04", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"X\"],\"default\":\"X\"}", "02", "\"X\"");
    no_plan(abc, "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}");
}

static void unions(void **state)
{
    (void)state;
    reads("\"int\"", "02", "[\"null\",\"int\"]", "02 02", "1");
    reads("[\"int\"]", "00 02", "\"int\"", "02", "1");
    reads("[\"int\",\"long\"]", "02 02", "\"double\"", "00 00 00 00 00 00 f0 3f", "1.0");
    reads("[\"int\",\"null\"]", "00 02", "[\"null\",\"int\"]", "02 02", "1");
    reads("[\"int\",\"null\"]", "02", "[\"null\",\"int\"]", "00", "null");
    reads("[\"null\",\"int\"]", "02 02", "[\"null\",\"string\",\"long\"]", "04 02", "{\"long\":1}");
    reads("\"int\"", "02", "[\"float\",\"int\"]", "02 02", "{\"int\":1}");
    reads("\"int\"", "02", "[\"string\",\"double\"]", "02 00 00 00 00 00 00 f0 3f", "{\"double\":1.0}");
    no_plan("[\"null\",\"int\"]", "\"int\"");
    no_plan("[\"int\",\"string\"]", "[\"int\",\"null\"]");
}

static void containers_and_recursion(void **state)
{
    (void)state;
    reads("{\"type\":\"array\",\"items\":\"int\"}", "04 02 04 00", "{\"type\":\"array\",\"items\":\"long\"}",
          "04 02 04 00", "[1,2]");
    reads("{\"type\":\"array\",\"items\":\"int\"}", "01 02 02 03 04 04 06 00",
          "{\"type\":\"array\",\"items\":\"long\"}", "06 02 04 06 00", "[1,2,3]");
    reads("{\"type\":\"map\",\"values\":\"int\"}", "02 02 61 02 00",
          "{\"type\":\"map\",\"values\":[\"string\",\"int\"]}", "02 02 61 02 02 00", "{\"a\":{\"int\":1}}");
    reads("{\"type\":\"record\",\"name\":\"L\",\"fields\":[" FIELD("v", "\"int\"") "," FIELD("n",
                                                                                             "[\"null\",\"L\"]") "]}",
          "02 02 04 02 06 00",
          "{\"type\":\"record\",\"name\":\"L\",\"fields\":[" FIELD("n", "[\"null\",\"L\"]") "," FIELD("v",
                                                                                                      "\"long\"") "]}",
          "02 02 00 06 04 02", "{\"n\":{\"n\":{\"n\":null,\"v\":3},\"v\":2},\"v\":1}");
    reads("{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}", "01 02", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}",
          "01 02", "\"AQI=\"");
    no_plan("{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}");
}

/* An array of *count* records that take no byte, each of which asks for the default of *size* bytes. */
static enum banyan_status amplify(bool json, unsigned count, size_t size, const char *padding, size_t *ret_size,
                                  struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(CODEC_BYTES_MAX), hex = BANYAN_BUF_INIT(CODEC_BYTES_MAX),
                      out = BANYAN_BUF_INIT(4 * (size_t)CODEC_BYTES_MAX);
    banyan_buf_add_text(&text, "{\"type\":\"record\",\"name\":\"O\",\"fields\":[" FIELD("p", "\"bytes\""));
    banyan_buf_add_text(&text, ",{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":");
    size_t shared = text.size;
    banyan_buf_add_text(&text, RECORD("") "}}]}");
    struct avro_schema *writer = codec_schema(text.data);
    text.size = shared;
    banyan_buf_add_text(&text, "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
                               "{\"name\":\"d\",\"type\":\"string\",\"default\":\"");
    for (size_t i = 0; i < size; i++)
        banyan_buf_add_char(&text, 'x');
    banyan_buf_add_text(&text, "\"}]}}}]}");
    struct avro_schema *reader = codec_schema(text.data);
    banyan_buf_add_text(&hex, padding);
    for (uint64_t bits = (uint64_t)count << 1;; bits >>= 7) {
        banyan_buf_printf(&hex, "%02x", (unsigned)(bits & 0x7f) | (bits > 0x7f ? 0x80u : 0));
        if (bits <= 0x7f)
            break;
    }
    banyan_buf_add_text(&hex, "00");
    struct banyan_str bytes = codec_bytes(hex.data);
    struct avro_plan *plan = codec_plan(writer, reader);
    enum banyan_status st = json ? avro_to_json(plan, bytes, &out, err) : avro_resolve(plan, bytes, &out, err);
    *ret_size = out.size;
    avro_plan_free(plan);
    avro_schema_free(writer);
    avro_schema_free(reader);
    codec_free(bytes);
    banyan_buf_release(&text);
    banyan_buf_release(&hex);
    banyan_buf_release(&out);
    return st;
}

/* A few bytes do not become hundreds of megabytes, though the buffer would hold them. */
static void defaults_have_a_limit(void **state)
{
    (void)state;
    for (int json = 0; json < 2; json++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        size_t size = 0;
        if (amplify(json == 1, 60000, 50, "00", &size, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        assert_true(size >= 60000 * 51);
        assert_int_equal(amplify(json == 1, 60000, 80, "00", &size, &err), BANYAN_LIMIT);
        assert_non_null(strstr(err.message, "defaults"));
        assert_non_null(strstr(err.message, "].d"));
        assert_int_equal(size, 0);
        assert_int_equal(amplify(json == 1, 60000, 200000, "00", &size, &err), BANYAN_LIMIT);
        /* Who brings more bytes may have more of them. */
        struct banyan_buf padding = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
        banyan_buf_add_text(&padding, "8080 02"); /* 16,384 bytes */
        for (int i = 0; i < 16384; i++)
            banyan_buf_add_text(&padding, "aa");
        banyan_error_clear(&err);
        if (amplify(json == 1, 60000, 80, padding.data, &size, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        banyan_buf_release(&padding);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promotions),
        cmocka_unit_test(meanings),
        cmocka_unit_test(records),
        cmocka_unit_test(enums),
        cmocka_unit_test(unions),
        cmocka_unit_test(containers_and_recursion),
        cmocka_unit_test(defaults_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
