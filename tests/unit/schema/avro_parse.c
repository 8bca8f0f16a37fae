/* SPDX-License-Identifier: Apache-2.0 */
/* Avro schemas: what parses, to which canonical form and fingerprint, and what is refused with which words. */
#include "schema/avro.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "schema/avro_int.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static struct avro_schema *parsed(const char *text)
{
    struct avro_schema *schema = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (avro_parse(banyan_str_of(text), &schema, &err) != BANYAN_OK)
        fail_msg("%s\n  in %s", err.message, text);
    return schema;
}

static void expect_canonical(const char *text, const char *expected)
{
    struct avro_schema *schema = parsed(text);
    struct banyan_buf form = BANYAN_BUF_INIT(1 << 20);
    avro_canonical(schema, &form);
    assert_string_equal(form.data, expected);
    /* The form of the form is itself. */
    struct avro_schema *again = parsed(form.data);
    struct banyan_buf second = BANYAN_BUF_INIT(1 << 20);
    avro_canonical(again, &second);
    assert_string_equal(second.data, expected);
    assert_true(avro_fingerprint(schema) == avro_fingerprint(again));
    banyan_buf_release(&form);
    banyan_buf_release(&second);
    avro_schema_free(schema);
    avro_schema_free(again);
}

/* Each line follows from the eight rules of the specification's "Transforming into Parsing Canonical Form". */
static void canonical_forms(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"\"null\"", "\"null\""},
        {" { \"type\" : \"int\" } ", "\"int\""},
        {"{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,\"scale\":2}", "\"bytes\""},
        {"[ \"null\", {\"type\":\"string\"} ]", "[\"null\",\"string\"]"},
        {"{\"items\":{\"type\":\"long\"},\"type\":\"array\",\"doc\":\"x\"}", "{\"type\":\"array\",\"items\":\"long\"}"},
        {"{\"values\":\"double\",\"type\":\"map\"}", "{\"type\":\"map\",\"values\":\"double\"}"},
        {"{\"type\":\"fixed\",\"size\":16,\"namespace\":\"a.b\",\"name\":\"F\",\"aliases\":[\"G\"]}",
         "{\"name\":\"a.b.F\",\"type\":\"fixed\",\"size\":16}"},
        {"{\"type\":\"enum\",\"symbols\":[\"B\",\"A\"],\"name\":\"E\",\"default\":\"A\",\"doc\":\"d\"}",
         "{\"name\":\"E\",\"type\":\"enum\",\"symbols\":[\"B\",\"A\"]}"},
        /* Escapes of JSON are written as what they stand for. */
        {"{\"type\":\"enum\",\"name\":\"\\u0045\",\"symbols\":[\"\\u0041\"]}",
         "{\"name\":\"E\",\"type\":\"enum\",\"symbols\":[\"A\"]}"},
        {"{\"fields\":[{\"default\":1,\"order\":\"ignore\",\"type\":\"int\",\"name\":\"f\",\"aliases\":[\"g\"],\"x\":2}"
         "],"
         "\"doc\":\"\",\"type\":\"record\",\"name\":\"R\"}",
         "{\"name\":\"R\",\"type\":\"record\",\"fields\":[{\"name\":\"f\",\"type\":\"int\"}]}"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[]}", "{\"name\":\"R\",\"type\":\"record\",\"fields\":[]}"},
        /* A list of itself: defined once, named after. */
        {"{\"type\":\"record\",\"name\":\"L\",\"namespace\":\"n\",\"fields\":[{\"name\":\"v\",\"type\":\"long\"},"
         "{\"name\":\"next\",\"type\":[\"null\",\"L\"]}]}",
         "{\"name\":\"n.L\",\"type\":\"record\",\"fields\":[{\"name\":\"v\",\"type\":\"long\"},{\"name\":\"next\","
         "\"type\":"
         "[\"null\",\"n.L\"]}]}"},
        /* The specification's example of names: X, a.b.c.Y, and what "inner" and dotted names do. */
        {"{\"type\":\"record\",\"name\":\"X\",\"namespace\":\"a\",\"fields\":["
         "{\"name\":\"f1\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":1}},"
         "{\"name\":\"f2\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"namespace\":\"b\",\"size\":2}},"
         "{\"name\":\"f3\",\"type\":{\"type\":\"fixed\",\"name\":\"c.F\",\"namespace\":\"ignored\",\"size\":3}},"
         "{\"name\":\"f5\",\"type\":\"F\"},{\"name\":\"f6\",\"type\":\"b.F\"},{\"name\":\"f7\",\"type\":\"a.X\"}]}",
         "{\"name\":\"a.X\",\"type\":\"record\",\"fields\":["
         "{\"name\":\"f1\",\"type\":{\"name\":\"a.F\",\"type\":\"fixed\",\"size\":1}},"
         "{\"name\":\"f2\",\"type\":{\"name\":\"b.F\",\"type\":\"fixed\",\"size\":2}},"
         "{\"name\":\"f3\",\"type\":{\"name\":\"c.F\",\"type\":\"fixed\",\"size\":3}},"
         "{\"name\":\"f5\",\"type\":\"a.F\"},{\"name\":\"f6\",\"type\":\"b.F\"},{\"name\":\"f7\",\"type\":\"a.X\"}]}"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":\"R\"}}]}",
         "{\"name\":\"R\",\"type\":\"record\",\"fields\":[{\"name\":\"a\",\"type\":\"R\"}]}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        expect_canonical(cases[i][0], cases[i][1]);
}

/* The canonical form has no way to say "the null namespace" inside another; it is as the specification has it, but does
 * not parse to itself. */
static void null_namespace_inside(void **state)
{
    (void)state;
    struct avro_schema *schema = parsed("{\"type\":\"record\",\"name\":\"n.R\",\"fields\":[{\"name\":\"f\",\"type\":"
                                        "{\"type\":\"fixed\",\"name\":\"F\",\"namespace\":\"\",\"size\":4}}]}");
    struct banyan_buf form = BANYAN_BUF_INIT(1000);
    avro_canonical(schema, &form);
    assert_string_equal(form.data, "{\"name\":\"n.R\",\"type\":\"record\",\"fields\":[{\"name\":\"f\",\"type\":"
                                   "{\"name\":\"F\",\"type\":\"fixed\",\"size\":4}}]}");
    banyan_buf_release(&form);
    avro_schema_free(schema);
}

/* CRC-64-AVRO, written the way the specification has it, beside ours. */
static uint64_t slow_rabin(const char *text)
{
    const uint64_t empty = UINT64_C(0xC15D213AA4D7A795);
    uint64_t table[256], value = empty;
    for (unsigned i = 0; i < 256; i++) {
        table[i] = i;
        for (int j = 0; j < 8; j++)
            table[i] = (table[i] >> 1) ^ (empty & -(table[i] & 1));
    }
    for (; *text != '\0'; text++)
        value = (value >> 8) ^ table[(value ^ (unsigned char)*text) & 0xFF];
    return value;
}

static void fingerprints(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t fingerprint;
    } cases[] = {
        {"\"null\"", 7195948357588979594},    {"\"boolean\"", -6970731678124411036}, {"\"int\"", 8247732601305521295},
        {"\"long\"", -3434872931120570953},   {"\"float\"", 5583340709985441680},    {"\"bytes\"", 5746618253357095269},
        {"\"double\"", -8181574048448539266}, {"\"string\"", -8142146995180207161},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct avro_schema *schema = parsed(cases[i].text);
        assert_true(avro_fingerprint(schema) == slow_rabin(cases[i].text));
        assert_true(avro_fingerprint(schema) == (uint64_t)cases[i].fingerprint);
        avro_schema_free(schema);
    }
    assert_true(avro_rabin(BANYAN_STR("a longer text with all kinds \xFF of bytes")) ==
                slow_rabin("a longer text with all kinds \xFF of bytes"));
}

#define FIELD(type, more) "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"f\",\"type\":" type more "}]}"
#define DEFAULT(type, value) FIELD(type, ",\"default\":" value)

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "schema: line 1, column 0: not JSON"},
        {"int", "not JSON"},
        {"{\"type\":\"int\",\"type\":\"int\"}", "not JSON: duplicate object key"},
        {"12", "schema: a schema is a string"},
        {"{}", "schema: \"type\" is missing"},
        {"{\"type\":7}", "schema: \"type\" must be a string"},
        {"{\"type\":{\"type\":\"int\"}}", "schema: \"type\" must be a name"},
        {"\"strng\"", "type \"strng\" is not defined"},
        {"\"a..b\"", "is no name"},
        {"{\"type\":\"error\",\"name\":\"E\",\"fields\":[]}", "an error is a type of protocols"},
        {"{\"type\":\"union\"}", "\"union\" is not written as a type"},
        {"{\"type\":\"array\"}", "\"items\" of the array is missing"},
        {"{\"type\":\"map\"}", "\"values\" of the map is missing"},
        {"{\"type\":\"array\",\"items\":\"x\"}", "items: type \"x\" is not defined"},
        {"[]", "at least one branch"},
        {"[\"int\",[\"null\"]]", "[1]: a union cannot be a branch"},
        {"[\"int\",\"null\",\"int\"]", "[2]: the union has two branches of int"},
        {"[\"bytes\",{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":3}]", "two branches of bytes"},
        {"{\"type\":\"record\",\"fields\":[]}", "\"name\" is missing"},
        {"{\"type\":\"record\",\"name\":\"1a\",\"fields\":[]}", "\"1a\" is no name"},
        {"{\"type\":\"record\",\"name\":\"a.int\",\"fields\":[]}", "int is a primitive type"},
        {"{\"type\":\"record\",\"name\":\"a\",\"namespace\":\"b c\",\"fields\":[]}", "\"b c\" is no namespace"},
        {"{\"type\":\"record\",\"name\":\"R\"}", "\"fields\" is missing"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":{}}", "\"fields\" must be a list"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[3]}", "fields[0]: a field is an object"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\"}]}",
         "fields[0]: field \"a\" has no \"type\""},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a b\",\"type\":\"int\"}]}",
         "fields[0]: \"a b\" is no name of a field"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"b\",\"type\":"
         "\"int\",\"aliases\":[\"a\"]}]}",
         "two fields of \"R\" have the name or alias \"a\""},
        {FIELD("\"int\"", ",\"order\":\"up\""), "fields[0]: \"order\" is ascending"},
        {FIELD("\"int\"", ",\"aliases\":[\"x.y\"]"), "\"aliases\"[0] is no name"},
        {FIELD("{\"type\":\"array\",\"items\":\"what\"}", ""), "fields[0].type.items: type \"what\" is not defined"},
        {FIELD("{\"type\":\"record\",\"name\":\"R\",\"fields\":[]}", ""), "type \"R\" is defined twice"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[]}", "has no symbol"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"A\"]}", "\"symbols\" has \"A\" twice"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"a-b\"]}", "\"symbols\"[0] is no name"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"],\"default\":\"B\"}", "\"B\" is no symbol"},
        {"{\"type\":\"fixed\",\"name\":\"F\"}", "\"size\" of fixed \"F\""},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":-1}", "\"size\" of fixed \"F\""},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":2.5}", "\"size\" of fixed \"F\""},
        {"{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":39}", "a decimal of 39 digits"},
        {DEFAULT("\"int\"", "2147483648"), "fields[0].default: the default 2147483648 is no int"},
        {DEFAULT("\"long\"", "1.5"), "the default is a real number and no value of type long"},
        {DEFAULT("\"string\"", "null"), "the default is null and no value of type string"},
        {DEFAULT("\"float\"", "1e300"), "too large for a float"},
        {DEFAULT("[\"null\",\"string\"]", "\"x\""), "the default is a string and no value of type null"},
        {DEFAULT("\"bytes\"", "\"\\u0100\""), "characters up to \\u00FF only"},
        {DEFAULT("{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}", "\"a\""), "the default has 1 bytes, fixed \"F\" 2"},
        {DEFAULT("{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}", "\"B\""), "\"B\" is no symbol"},
        {DEFAULT("{\"type\":\"array\",\"items\":\"int\"}", "[1,\"x\"]"),
         "fields[0].default[1]: the default is a string"},
        {DEFAULT("{\"type\":\"map\",\"values\":\"int\"}", "{\"k\":\"x\"}"),
         "fields[0].default.k: the default is a string"},
        {DEFAULT("{\"type\":\"record\",\"name\":\"S\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"}]}", "{}"),
         "the default has no field \"a\", which has no default of its own"},
        {DEFAULT("{\"type\":\"record\",\"name\":\"S\",\"fields\":[]}", "{\"a\":1}"),
         "a field that record \"S\" does not"},
        {DEFAULT("\"R\"", "{}"), "the default of field \"f\" contains itself"},
        {DEFAULT("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":2}", "\"d\""),
         "fields[0].default: the default is not allowed: the value"},
        {DEFAULT("{\"type\":\"string\",\"logicalType\":\"uuid\"}", "\"x\""), "the default is not allowed: the value"},
        {DEFAULT("{\"type\":\"int\",\"logicalType\":\"time-millis\"}", "86400000"), "the default is not allowed"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct avro_schema *schema = NULL;
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status st = avro_parse(banyan_str_of(cases[i].text), &schema, &err);
        if (st != BANYAN_INVALID && st != BANYAN_LIMIT)
            fail_msg("accepted: %s", cases[i].text);
        if (strstr(err.message, cases[i].message) == NULL)
            fail_msg("%s\n  says: %s\n  not: %s", cases[i].text, err.message, cases[i].message);
        assert_null(schema);
    }
}

/* Hints tell what to write instead. */
static void hints(void **state)
{
    (void)state;
    struct avro_schema *schema = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_equal(avro_parse(BANYAN_STR(DEFAULT("[\"null\",\"string\"]", "\"x\"")), &schema, &err), BANYAN_INVALID);
    assert_non_null(strstr(err.hint, "put the branch of the default first"));
    banyan_error_clear(&err);
    assert_int_equal(
        avro_parse(BANYAN_STR("[{\"type\":\"fixed\",\"name\":\"F\",\"size\":1},{\"type\":\"record\",\"name\":"
                              "\"n.R\",\"fields\":[{\"name\":\"f\",\"type\":\"F\"}]}]"),
                   &schema, &err),
        BANYAN_INVALID);
    assert_non_null(strstr(err.hint, "\"F\" is in the null namespace"));
}

static const struct avro_type *only_field(const struct avro_schema *schema)
{
    assert_int_equal(schema->root->kind, AVRO_RECORD);
    assert_int_equal(schema->root->field_count, 1);
    return schema->root->fields[0].type;
}

static void logical_types(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum avro_logical logical;
    } cases[] = {
        {"{\"type\":\"int\",\"logicalType\":\"date\"}", AVRO_DATE},
        {"{\"type\":\"int\",\"logicalType\":\"time-millis\"}", AVRO_TIME_MILLIS},
        {"{\"type\":\"long\",\"logicalType\":\"time-micros\"}", AVRO_TIME_MICROS},
        {"{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}", AVRO_TIMESTAMP_MILLIS},
        {"{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}", AVRO_TIMESTAMP_MICROS},
        {"{\"type\":\"long\",\"logicalType\":\"local-timestamp-millis\"}", AVRO_LOCAL_TIMESTAMP_MILLIS},
        {"{\"type\":\"long\",\"logicalType\":\"local-timestamp-micros\"}", AVRO_LOCAL_TIMESTAMP_MICROS},
        {"{\"type\":\"string\",\"logicalType\":\"uuid\"}", AVRO_UUID},
        {"{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":38,\"scale\":38}", AVRO_DECIMAL},
        /* Two bytes hold 32767: four digits are safe, five are not. */
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":2,\"logicalType\":\"decimal\",\"precision\":4}", AVRO_DECIMAL},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":2,\"logicalType\":\"decimal\",\"precision\":5}", AVRO_PLAIN},
        {"{\"type\":\"bytes\",\"logicalType\":\"decimal\"}", AVRO_PLAIN},
        {"{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":0}", AVRO_PLAIN},
        {"{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":2,\"scale\":3}", AVRO_PLAIN},
        {"{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":2,\"scale\":-1}", AVRO_PLAIN},
        {"{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":\"2\"}", AVRO_PLAIN},
        {"{\"type\":\"long\",\"logicalType\":\"date\"}", AVRO_PLAIN},
        {"{\"type\":\"int\",\"logicalType\":\"fortnight\"}", AVRO_PLAIN},
        {"{\"type\":\"int\",\"logicalType\":7}", AVRO_PLAIN},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct avro_schema *schema = parsed(cases[i].text);
        if (schema->root->logical != cases[i].logical)
            fail_msg("%s: %d", cases[i].text, (int)schema->root->logical);
        avro_schema_free(schema);
    }
}

/* Defaults in binary, bytes worked out by hand from "Binary Encoding" of the specification. */
static void defaults(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *bytes;
        size_t size;
    } cases[] = {
        {DEFAULT("\"null\"", "null"), "", 0},
        {DEFAULT("\"boolean\"", "true"), "\x01", 1},
        {DEFAULT("\"int\"", "-1"), "\x01", 1},
        {DEFAULT("\"int\"", "64"), "\x80\x01", 2},
        {DEFAULT("\"long\"", "-64"), "\x7F", 1},
        {DEFAULT("\"float\"", "1"), "\x00\x00\x80\x3F", 4},
        {DEFAULT("\"double\"", "-2.5"), "\x00\x00\x00\x00\x00\x00\x04\xC0", 8},
        {DEFAULT("\"string\"", "\"foo\""), "\x06\x66\x6F\x6F", 4},
        {DEFAULT("\"bytes\"", "\"\\u00FF\\u0000\\u0080a\""), "\x08\xFF\x00\x80\x61", 5},
        {DEFAULT("{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}", "\"\\u00FFa\""), "\xFF\x61", 2},
        {DEFAULT("{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}", "\"B\""), "\x02", 1},
        {DEFAULT("{\"type\":\"array\",\"items\":\"long\"}", "[3,27]"), "\x04\x06\x36\x00", 4},
        {DEFAULT("{\"type\":\"array\",\"items\":\"long\"}", "[]"), "\x00", 1},
        {DEFAULT("{\"type\":\"map\",\"values\":\"int\"}", "{\"b\":1,\"a\":2}"), "\x04\x02\x62\x02\x02\x61\x04\x00", 8},
        {DEFAULT("[\"string\",\"null\"]", "\"x\""), "\x00\x02\x78", 3},
        {DEFAULT("{\"type\":\"record\",\"name\":\"S\",\"fields\":[{\"name\":\"a\",\"type\":\"int\",\"default\":7},{"
                 "\"name\":"
                 "\"b\",\"type\":\"int\"}]}",
                 "{\"b\":8}"),
         "\x0E\x10", 2},
        /* 0x0064 is 100 in two bytes; one is enough. */
        {DEFAULT("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":3}", "\"\\u0000d\""), "\x02\x64", 2},
        {DEFAULT("{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":3}", "\"\\u00FF\\u00FF\""), "\x02\xFF",
         2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct avro_schema *schema = parsed(cases[i].text);
        (void)only_field(schema);
        struct banyan_str binary = schema->root->fields[0].default_binary;
        assert_true(schema->root->fields[0].has_default);
        if (binary.size != cases[i].size || memcmp(binary.data, cases[i].bytes, binary.size) != 0)
            fail_msg("%s: %zu bytes", cases[i].text, binary.size);
        avro_schema_free(schema);
    }
}

static void recursion_is_a_cycle(void **state)
{
    (void)state;
    struct avro_schema *schema = parsed(FIELD("[\"null\",\"R\"]", ",\"default\":null"));
    assert_ptr_equal(only_field(schema)->branches[1], schema->root);
    for (size_t i = 0; i < schema->type_count; i++)
        assert_int_equal(schema->types[i]->index, i);
    avro_schema_free(schema);
}

static char *nested(size_t depth)
{
    const char *open = "{\"type\":\"array\",\"items\":";
    char *text = malloc(depth * (strlen(open) + 1) + 16), *to = text;
    for (size_t i = 0; i < depth; i++)
        to = stpcpy(to, open);
    to = stpcpy(to, "\"int\"");
    for (size_t i = 0; i < depth; i++)
        *to++ = '}';
    *to = '\0';
    return text;
}

static void limits(void **state)
{
    (void)state;
    struct avro_schema *schema = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    char *text = nested(AVRO_DEPTH_MAX - 1);
    avro_schema_free(parsed(text));
    free(text);
    text = nested(AVRO_DEPTH_MAX);
    assert_int_equal(avro_parse(banyan_str_of(text), &schema, &err), BANYAN_LIMIT);
    free(text);
    /* A name and a namespace that are too long together. */
    text = malloc(2048);
    (void)snprintf(text, 2048, "{\"type\":\"fixed\",\"size\":1,\"name\":\"%0*d\",\"namespace\":\"n%0*d\"}", 300, 0, 300,
                   0);
    strstr(text, "\"0")[1] = 'n';
    banyan_error_clear(&err);
    assert_int_equal(avro_parse(banyan_str_of(text), &schema, &err), BANYAN_LIMIT);
    assert_non_null(strstr(err.message, "full name"));
    free(text);
    /* More symbols than a list may have. */
    text = malloc(16 * AVRO_LIST_MAX);
    char *to = stpcpy(text, "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"");
    for (int i = 0; i < AVRO_LIST_MAX; i++)
        to += snprintf(to, 16, ",\"S%d\"", i);
    (void)stpcpy(to, "]}");
    assert_int_equal(avro_parse(banyan_str_of(text), &schema, NULL), BANYAN_LIMIT);
    free(text);
    text = calloc(1, AVRO_TEXT_BYTES_MAX + 2);
    memset(text, ' ', AVRO_TEXT_BYTES_MAX + 1);
    assert_int_equal(avro_parse(banyan_str_of(text), &schema, NULL), BANYAN_LIMIT);
    free(text);
}

static void sameness(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {FIELD("\"int\"", ""), FIELD("\"int\"", ",\"doc\":\"words\""), true},
        {FIELD("\"int\"", ""), FIELD("{\"type\":\"int\"}", ",\"unknown\":1"), true},
        {FIELD("\"int\"", ""), FIELD("\"int\"", ",\"default\":0"), false},
        {FIELD("\"int\"", ",\"default\":1"), FIELD("\"int\"", ",\"default\":0"), false},
        {FIELD("\"int\"", ""), FIELD("\"int\"", ",\"aliases\":[\"g\"]"), false},
        {FIELD("\"int\"", ""), FIELD("{\"type\":\"int\",\"logicalType\":\"date\"}", ""), false},
        {FIELD("\"int\"", ""), FIELD("\"long\"", ""), false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct avro_schema *a = parsed(cases[i].a), *b = parsed(cases[i].b);
        if (avro_same(a, b) != cases[i].same)
            fail_msg("%s and %s", cases[i].a, cases[i].b);
        avro_schema_free(a);
        avro_schema_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_forms), cmocka_unit_test(null_namespace_inside),
        cmocka_unit_test(fingerprints),    cmocka_unit_test(refusals),
        cmocka_unit_test(hints),           cmocka_unit_test(logical_types),
        cmocka_unit_test(defaults),        cmocka_unit_test(limits),
        cmocka_unit_test(sameness),        cmocka_unit_test(recursion_is_a_cycle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
