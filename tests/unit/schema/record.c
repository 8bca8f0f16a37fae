/* SPDX-License-Identifier: Apache-2.0 */
/* Records in memory: empty values, copies, differences, schema. */
#include "banyan/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

struct sample {
    struct banyan_str symbol;
    struct banyan_str note;
    int64_t count;
    bool open;
    struct banyan_time at;
    struct banyan_time closed_at;
    struct banyan_decimal price;
    struct banyan_decimal limit_price;
};

static const struct banyan_field fields[] = {
    BANYAN_FIELD_STRING(struct sample, symbol, 0),
    BANYAN_FIELD_STRING(struct sample, note, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct sample, count, 0),
    BANYAN_FIELD_BOOL(struct sample, open, 0),
    BANYAN_FIELD_TIME(struct sample, at, 0),
    BANYAN_FIELD_TIME(struct sample, closed_at, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_DECIMAL(struct sample, price, 0, 8),
    BANYAN_FIELD_DECIMAL(struct sample, limit_price, BANYAN_FIELD_OPTIONAL, 2),
};

static const struct banyan_record record = {"Sample", sizeof(struct sample), fields,
                                            sizeof(fields) / sizeof(fields[0])};

static void an_empty_value(void **state)
{
    (void)state;
    struct sample value;
    memset(&value, 0xAA, sizeof(value));
    banyan_record_init(&record, &value);
    assert_non_null(value.symbol.data);
    assert_int_equal(value.symbol.size, 0);
    assert_null(value.note.data);
    assert_int_equal(value.count, 0);
    assert_false(value.open);
    assert_int_equal(value.at.us, 0);
    assert_true(value.closed_at.us == BANYAN_TIME_NULL);
    assert_int_equal(value.price.scale, 8);
    assert_true(banyan_decimal_is_null(value.limit_price));
    /* It can be stored as it is. */
    struct banyan_buf buf = BANYAN_BUF_INIT(1000);
    assert_int_equal(banyan_record_encode(&record, &value, &buf, NULL), BANYAN_OK);
    banyan_buf_release(&buf);
}

static void copies_own_their_strings(void **state)
{
    (void)state;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sample value, copy;
    char text[] = "EURUSD";
    banyan_record_init(&record, &value);
    value.symbol = banyan_str_of(text);
    value.count = 5;
    banyan_record_copy(&record, &copy, &value, &arena);
    assert_int_equal(banyan_record_diff(&record, &value, &copy), 0);
    text[0] = 'X';
    assert_int_equal(banyan_record_diff(&record, &value, &copy), 1);
    assert_memory_equal(copy.symbol.data, "EURUSD", 6);
    assert_null(copy.note.data);
    banyan_arena_release(&arena);
}

static void each_field_has_its_bit(void **state)
{
    (void)state;
    struct sample a, b;
    banyan_record_init(&record, &a);
    struct sample changed[8];
    for (int i = 0; i < 8; i++)
        banyan_record_init(&record, &changed[i]);
    changed[0].symbol = BANYAN_STR("x");
    changed[1].note = BANYAN_STR("");
    changed[2].count = 1;
    changed[3].open = true;
    changed[4].at.us = 1;
    changed[5].closed_at.us = 0;
    changed[6].price.units = 1;
    changed[7].limit_price = banyan_decimal_of(0, 2);
    for (int i = 0; i < 8; i++)
        assert_int_equal(banyan_record_diff(&record, &a, &changed[i]), 1u << i);
    b = a;
    b.price = banyan_decimal_of(0, 3); /* the same value */
    assert_int_equal(banyan_record_diff(&record, &a, &b), 0);
    b.price = (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
    assert_int_equal(banyan_record_diff(&record, &a, &b), 1u << 6);
}

static void fields_are_found_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(banyan_record_field(&record, BANYAN_STR("at")), &fields[4]);
    assert_null(banyan_record_field(&record, BANYAN_STR("a")));
    assert_null(banyan_record_field(&record, BANYAN_STR("att")));
    assert_null(banyan_record_field(&record, (struct banyan_str){NULL, 0}));
}

static void the_schema_is_avro(void **state)
{
    (void)state;
    struct banyan_buf buf = BANYAN_BUF_INIT(4000);
    banyan_record_schema(&record, &buf);
    json_t *schema = json_loads(buf.data, 0, NULL);
    json_t *expected = json_loads(
        "{\"type\":\"record\",\"name\":\"Sample\",\"fields\":["
        "{\"name\":\"symbol\",\"type\":\"string\"},"
        "{\"name\":\"note\",\"type\":[\"null\",\"string\"],\"default\":null},"
        "{\"name\":\"count\",\"type\":\"long\"},"
        "{\"name\":\"open\",\"type\":\"boolean\"},"
        "{\"name\":\"at\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}},"
        "{\"name\":\"closed_at\",\"type\":[\"null\",{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}],"
        "\"default\":null},"
        "{\"name\":\"price\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":38,\"scale\":8}},"
        "{\"name\":\"limit_price\",\"type\":[\"null\",{\"type\":\"bytes\",\"logicalType\":\"decimal\","
        "\"precision\":38,\"scale\":2}],\"default\":null}]}",
        0, NULL);
    assert_non_null(schema);
    assert_non_null(expected);
    assert_true(json_equal(schema, expected));
    json_decref(schema);
    json_decref(expected);
    banyan_buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_value),         cmocka_unit_test(copies_own_their_strings),
        cmocka_unit_test(each_field_has_its_bit), cmocka_unit_test(fields_are_found_by_name),
        cmocka_unit_test(the_schema_is_avro),
    };
    return cmocka_run_group_tests_name("schema-record", tests, NULL, NULL);
}
