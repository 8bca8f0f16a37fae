/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cells: for every type, the binary and the text form that a real server gives must become the same field, what is
 * written back must be the same value at the server, and what a field cannot hold exactly must be refused.
 */
#include <inttypes.h>

#include "os/random.h"
#include "pg/copy.h"
#include "pg_test.h"

struct any {
    struct banyan_str string;
    int64_t number;
    bool flag;
    struct banyan_time time;
    struct banyan_decimal decimal;
};

static const struct banyan_field string_field = BANYAN_FIELD_STRING(struct any, string, BANYAN_FIELD_OPTIONAL);
static const struct banyan_field int_field = BANYAN_FIELD_INT(struct any, number, 0);
static const struct banyan_field bool_field = BANYAN_FIELD_BOOL(struct any, flag, 0);
static const struct banyan_field time_field = BANYAN_FIELD_TIME(struct any, time, BANYAN_FIELD_OPTIONAL);
static const struct banyan_field decimal_field = BANYAN_FIELD_DECIMAL(struct any, decimal, BANYAN_FIELD_OPTIONAL, 8);
static const struct banyan_field cents_field = BANYAN_FIELD_DECIMAL(struct any, decimal, 0, 2);
static const struct banyan_field wide_field = BANYAN_FIELD_DECIMAL(struct any, decimal, 0, 38);

struct fixture {
    struct pg_conn *conn;
    struct banyan_arena arena;
};

/* The field's value from a one-cell COPY of *expression*. */
static enum banyan_status from_binary(struct fixture *fixture, const struct banyan_field *field, uint32_t oid,
                                      const char *expression, struct any *ret, struct banyan_error *err)
{
    struct banyan_record record = {"any", sizeof(struct any), field, 1};
    struct pg_copy_out copy;
    enum banyan_status st;
    char sql[2000];

    (void)snprintf(sql, sizeof(sql), "SELECT %s", expression);
    st = pg_copy_out_begin(&copy, fixture->conn, sql, &record, &oid, err);
    if (st != BANYAN_OK)
        return st;
    st = pg_copy_out_row(&copy, &fixture->arena, ret, err);
    pg_copy_out_end(&copy);
    return st;
}

static enum banyan_status from_text(struct fixture *fixture, const struct banyan_field *field, uint32_t oid,
                                    const char *expression, struct any *ret, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st;
    char sql[2000];

    (void)snprintf(sql, sizeof(sql), "SELECT %s", expression);
    st = pg_exec(fixture->conn, sql, NULL, 0, &result, err);
    if (st == BANYAN_OK)
        st = pg_cell_parse(field, oid, pg_text(result, 0, 0), &fixture->arena, ret, err);
    pg_result_free(result);
    return st;
}

/* What the server makes of the field when it is written into a column of the type. */
static void written_back(struct fixture *fixture, const struct banyan_field *field, uint32_t oid, const char *type,
                         const char *expression, const struct any *value)
{
    struct banyan_record record = {"any", sizeof(struct any), field, 1};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_copy_in copy;
    char sql[3000];

    (void)snprintf(sql, sizeof(sql), "CREATE TEMP TABLE back (v %s)", type);
    test_run(fixture->conn, sql);
    OK(pg_copy_in_begin(&copy, fixture->conn, "back (v)", &record, &oid, &err));
    OK(pg_copy_in_row(&copy, value, &err));
    OK(pg_copy_in_end(&copy, &err));
    (void)snprintf(sql, sizeof(sql), "SELECT v::text IS NOT DISTINCT FROM (%s)::%s::text FROM back", expression, type);
    if (field->kind == BANYAN_FIELD_DECIMAL) /* the scale becomes the field's: compare the value */
        (void)snprintf(sql, sizeof(sql), "SELECT v IS NOT DISTINCT FROM (%s)::%s FROM back", expression, type);
    test_value_is(fixture->conn, sql, "t");
    test_run(fixture->conn, "DROP TABLE back");
}

static void same_both_ways(struct fixture *fixture, const struct banyan_field *field, uint32_t oid, const char *type,
                           const char *value, struct any *ret)
{
    struct banyan_record record = {"any", sizeof(struct any), field, 1};
    struct any binary = {0}, text = {0};
    struct banyan_error err = BANYAN_ERROR_INIT;
    char expression[1000];

    (void)snprintf(expression, sizeof(expression), "(%s)::%s", value, type);
    OK(from_binary(fixture, field, oid, expression, &binary, &err));
    OK(from_text(fixture, field, oid, expression, &text, &err));
    if (banyan_record_diff(&record, &binary, &text) != 0)
        fail_msg("%s differs between binary and text", expression);
    written_back(fixture, field, oid, type, value, &binary);
    *ret = binary;
}

static void integers_and_bools(void **state)
{
    struct fixture *fixture = *state;
    struct any value;

    same_both_ways(fixture, &int_field, PG_TYPE_INT2, "int2", "-32768", &value);
    assert_int_equal(value.number, -32768);
    same_both_ways(fixture, &int_field, PG_TYPE_INT4, "int4", "2147483647", &value);
    assert_int_equal(value.number, 2147483647);
    same_both_ways(fixture, &int_field, PG_TYPE_INT8, "int8", "-9223372036854775808", &value);
    assert_true(value.number == INT64_MIN);
    same_both_ways(fixture, &int_field, PG_TYPE_INT8, "int8", "9223372036854775807", &value);
    assert_true(value.number == INT64_MAX);
    same_both_ways(fixture, &int_field, PG_TYPE_INT8, "int8", "0", &value);
    assert_int_equal(value.number, 0);
    same_both_ways(fixture, &bool_field, PG_TYPE_BOOL, "bool", "true", &value);
    assert_true(value.flag);
    same_both_ways(fixture, &bool_field, PG_TYPE_BOOL, "bool", "false", &value);
    assert_false(value.flag);
}

static void texts(void **state)
{
    static const struct {
        uint32_t oid;
        const char *type, *value, *expected;
    } cases[] = {
        {PG_TYPE_TEXT, "text", "''", ""},
        {PG_TYPE_TEXT, "text", "E'Ünï \\U0001F333 \\t\\\\'", "Ünï 🌳 \t\\"},
        {PG_TYPE_VARCHAR, "varchar(5)", "'abcde'", "abcde"},
        {PG_TYPE_BPCHAR, "char(5)", "'ab'", "ab   "},
        {PG_TYPE_NAME, "name", "'pg_class'", "pg_class"},
        {PG_TYPE_JSON, "json", "'{\"b\": 1.10, \"a\":[]}'", "{\"b\": 1.10, \"a\":[]}"},
        {PG_TYPE_JSONB, "jsonb", "'{\"b\": 1.10, \"a\":[]}'", "{\"a\": [], \"b\": 1.10}"},
        {PG_TYPE_UUID, "uuid", "'00112233-4455-6677-8899-AABBCCDDEEFF'", "00112233-4455-6677-8899-aabbccddeeff"},
        {99999, "mood", "'so so'", "so so"},
    };
    struct fixture *fixture = *state;
    struct any value;

    test_run(fixture->conn, "CREATE TYPE mood AS ENUM ('fine', 'so so')");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        same_both_ways(fixture, &string_field, cases[i].oid, cases[i].type, cases[i].value, &value);
        assert_int_equal(value.string.size, strlen(cases[i].expected));
        assert_memory_equal(value.string.data, cases[i].expected, value.string.size);
    }
    test_run(fixture->conn, "DROP TYPE mood");
    same_both_ways(fixture, &string_field, PG_TYPE_TEXT, "text", "NULL", &value);
    assert_null(value.string.data);
}

static void times(void **state)
{
    static const struct {
        uint32_t oid;
        const char *type, *value;
        int64_t us;
    } cases[] = {
        {PG_TYPE_TIMESTAMPTZ, "timestamptz", "'1970-01-01 00:00:00+00'", 0},
        {PG_TYPE_TIMESTAMPTZ, "timestamptz", "'2024-02-29 12:34:56.789012+05:30'", INT64_C(1709190296789012)},
        {PG_TYPE_TIMESTAMPTZ, "timestamptz", "'1999-12-31 23:59:59.999999+00'", INT64_C(946684799999999)},
        {PG_TYPE_TIMESTAMPTZ, "timestamptz", "'1900-03-01 00:00:00.5+00'", INT64_C(-2203891199500000)},
        {PG_TYPE_TIMESTAMPTZ, "timestamptz", "'infinity'", BANYAN_TIME_INFINITY},
        {PG_TYPE_TIMESTAMPTZ, "timestamptz", "'-infinity'", BANYAN_TIME_MINUS_INFINITY},
        {PG_TYPE_TIMESTAMPTZ, "timestamptz", "NULL", BANYAN_TIME_NULL},
        {PG_TYPE_TIMESTAMP, "timestamp", "'2001-02-03 04:05:06.1'", INT64_C(981173106100000)},
        {PG_TYPE_TIMESTAMP, "timestamp", "'0044-03-15 10:00:00 BC'", INT64_C(-63517788000000000)},
        {PG_TYPE_TIMESTAMP, "timestamp", "'-infinity'", BANYAN_TIME_MINUS_INFINITY},
        {PG_TYPE_DATE, "date", "'1970-01-01'", 0},
        {PG_TYPE_DATE, "date", "'1969-12-31'", INT64_C(-86400000000)},
        {PG_TYPE_DATE, "date", "'2000-02-29'", INT64_C(951782400000000)},
        {PG_TYPE_DATE, "date", "'4713-01-01 BC'", INT64_C(-210863520000000000)},
        {PG_TYPE_DATE, "date", "'12345-06-07'", INT64_C(327416947200000000)},
        {PG_TYPE_DATE, "date", "'infinity'", BANYAN_TIME_INFINITY},
    };
    struct fixture *fixture = *state;
    struct any value;
    char sql[200], expected[40];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        same_both_ways(fixture, &time_field, cases[i].oid, cases[i].type, cases[i].value, &value);
        if (value.time.us != cases[i].us)
            fail_msg("%s %s: %" PRId64 ", not %" PRId64, cases[i].type, cases[i].value, value.time.us, cases[i].us);
        if (strstr(cases[i].value, "infinity") != NULL || strcmp(cases[i].value, "NULL") == 0)
            continue;
        /* The server agrees about the number. */
        (void)snprintf(sql, sizeof(sql), "SELECT (extract(epoch FROM %s::%s) * 1000000)::numeric(30,0)", cases[i].value,
                       cases[i].type);
        (void)snprintf(expected, sizeof(expected), "%" PRId64, cases[i].us);
        test_value_is(fixture->conn, sql, expected);
    }
}

static void numerics(void **state)
{
    static const struct {
        const char *value;
        int64_t units;
        int exponent; /* units * 10^exponent at scale 8 */
    } cases[] = {
        {"0", 0, 0},
        {"0.00", 0, 0},
        {"1", 1, 8},
        {"-1.50", -15, 7},
        {"0.00000001", 1, 0},
        {"-0.00000001", -1, 0},
        {"0.0001", 1, 4},
        {"0.00010001", 10001, 0},
        {"12345.6789", 123456789, 4},
        {"10000", 1, 12},
        {"9999.99990000", 99999999, 4},
        {"100000000000000000", 1, 25},
        {"-99999999999999999.99999999", -1, -1}, /* checked below */
        {"123456789012345678.12345678", -1, -1},
        {"999999999999999999999999999999.99999999", -1, -1},
        {"1e29", 1, 37},
    };
    struct fixture *fixture = *state;
    struct any value;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_decimal expected;

        same_both_ways(fixture, &decimal_field, PG_TYPE_NUMERIC, "numeric", cases[i].value, &value);
        assert_true(banyan_decimal_parse(banyan_str_of(cases[i].value), &expected));
        assert_int_equal(value.decimal.scale, 8);
        if (banyan_decimal_compare(value.decimal, expected) != 0)
            fail_msg("%s was read as another value", cases[i].value);
        if (cases[i].exponent >= 0) {
            __int128 units = cases[i].units;

            for (int e = 0; e < cases[i].exponent; e++)
                units *= 10;
            assert_true(value.decimal.units == units);
        }
    }
    same_both_ways(fixture, &decimal_field, PG_TYPE_NUMERIC, "numeric", "'NaN'", &value);
    assert_int_equal(value.decimal.scale, BANYAN_DECIMAL_NAN);
    same_both_ways(fixture, &decimal_field, PG_TYPE_NUMERIC, "numeric", "NULL", &value);
    assert_true(banyan_decimal_is_null(value.decimal));
    same_both_ways(fixture, &decimal_field, PG_TYPE_INT8, "int8", "-9223372036854775807", &value);
    assert_true(value.decimal.units == (__int128)-9223372036854775807 * 100000000);
    same_both_ways(fixture, &decimal_field, PG_TYPE_INT4, "int4", "7", &value);
    assert_true(value.decimal.units == 700000000);
    same_both_ways(fixture, &cents_field, PG_TYPE_NUMERIC, "numeric", "-12.3400", &value);
    assert_true(value.decimal.units == -1234);
    same_both_ways(fixture, &wide_field, PG_TYPE_NUMERIC, "numeric", "0.00000000000000000000000000000000000001",
                   &value);
    assert_true(value.decimal.units == 1);
}

/* What PostgreSQL prints of a floating point number is its value here; the bits would say something else. */
static void floats(void **state)
{
    static const struct {
        const char *type, *text;
        int64_t cents;
    } cases[] = {
        {"real", "9.8", 980},
        {"real", "9.80000019", 980},
        {"real", "-77.7799988", -7778},
        {"real", "0", 0},
        {"real", "-0", 0},
        {"real", "123456.79", 12345679},
        {"real", "1e+07", 1000000000},
        {"double precision", "0.1", 10},
        {"double precision", "1234567890123.45", 123456789012345},
    };
    struct fixture *fixture = *state;
    struct any value;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool is_real = strcmp(cases[i].type, "real") == 0;

        same_both_ways(fixture, &cents_field, is_real ? PG_TYPE_FLOAT4 : PG_TYPE_FLOAT8, cases[i].type, cases[i].text,
                       &value);
        assert_int_equal((int64_t)value.decimal.units, cases[i].cents);
    }
    same_both_ways(fixture, &decimal_field, PG_TYPE_FLOAT4, "real", "'NaN'", &value);
    assert_int_equal(value.decimal.scale, BANYAN_DECIMAL_NAN);
}

/* Random numerics of all shapes; at the server the value that was written must be the one that was read. */
static void random_numerics(void **state)
{
    struct fixture *fixture = *state;
    uint64_t seed = (uint64_t)os_clock_now(os_clock_real()).us;
    struct os_random random;

    print_message("# seed %" PRIu64 "\n", seed);
    os_random_seed(&random, seed);
    for (int turn = 0; turn < 150; turn++) {
        char text[80];
        size_t at = 0, whole = os_random_below(&random, 25), fraction = os_random_below(&random, 9);
        struct banyan_decimal expected;
        struct any value;

        if (os_random_below(&random, 2) == 1)
            text[at++] = '-';
        text[at++] = '0';
        for (size_t i = 0; i < whole; i++) /* zeros are frequent: they are where groups of digits vanish */
            text[at++] = os_random_below(&random, 2) ? '0' : (char)('0' + os_random_below(&random, 10));
        text[at++] = '.';
        for (size_t i = 0; i < fraction; i++)
            text[at++] = os_random_below(&random, 2) ? '0' : (char)('0' + os_random_below(&random, 10));
        text[at++] = '0';
        text[at] = '\0';
        same_both_ways(fixture, &decimal_field, PG_TYPE_NUMERIC, "numeric", text, &value);
        if (!banyan_decimal_parse(banyan_str_of(text), &expected) ||
            banyan_decimal_compare(value.decimal, expected) != 0)
            fail_msg("seed %" PRIu64 ": %s", seed, text);
    }
}

static void refused(struct fixture *fixture, const struct banyan_field *field, uint32_t oid, const char *expression,
                    enum banyan_status status)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct any value = {0};
    enum banyan_status got = from_binary(fixture, field, oid, expression, &value, &err);

    if (got != status || strstr(err.message, field->name) == NULL)
        fail_msg("binary %s: %s %s", expression, banyan_status_name(got), err.message);
    banyan_error_clear(&err);
    got = from_text(fixture, field, oid, expression, &value, &err);
    if (got != status || strstr(err.message, field->name) == NULL)
        fail_msg("text %s: %s %s", expression, banyan_status_name(got), err.message);
    test_value_is(fixture->conn, "SELECT 1", "1"); /* the connection survives a refused row */
}

static void what_a_field_cannot_hold(void **state)
{
    struct fixture *fixture = *state;

    refused(fixture, &decimal_field, PG_TYPE_NUMERIC, "0.000000001::numeric", BANYAN_INVALID);
    refused(fixture, &decimal_field, PG_TYPE_NUMERIC, "1.123456789::numeric", BANYAN_INVALID);
    refused(fixture, &cents_field, PG_TYPE_NUMERIC, "0.001::numeric", BANYAN_INVALID);
    refused(fixture, &cents_field, PG_TYPE_NUMERIC, "12345678901234567890.005::numeric", BANYAN_INVALID);
    refused(fixture, &decimal_field, PG_TYPE_NUMERIC, "1e30::numeric", BANYAN_INVALID);
    refused(fixture, &decimal_field, PG_TYPE_NUMERIC, "1e300::numeric", BANYAN_INVALID);
    refused(fixture, &decimal_field, PG_TYPE_NUMERIC, "1e-300::numeric", BANYAN_INVALID);
    refused(fixture, &decimal_field, PG_TYPE_NUMERIC, "repeat('9', 60)::numeric", BANYAN_INVALID);
    refused(fixture, &decimal_field, PG_TYPE_NUMERIC, "'Infinity'::numeric", BANYAN_INVALID);
    refused(fixture, &decimal_field, PG_TYPE_NUMERIC, "'-Infinity'::numeric", BANYAN_INVALID);
    refused(fixture, &cents_field, PG_TYPE_FLOAT4, "0.001::real", BANYAN_INVALID);
    refused(fixture, &cents_field, PG_TYPE_FLOAT8, "'Infinity'::float8", BANYAN_INVALID);
    refused(fixture, &wide_field, PG_TYPE_NUMERIC, "1::numeric", BANYAN_INVALID);
    refused(fixture, &wide_field, PG_TYPE_INT4, "1::int4", BANYAN_INVALID);
    refused(fixture, &cents_field, PG_TYPE_NUMERIC, "NULL::numeric", BANYAN_INVALID);
    refused(fixture, &int_field, PG_TYPE_INT4, "NULL::int4", BANYAN_INVALID);
    refused(fixture, &bool_field, PG_TYPE_BOOL, "NULL::bool", BANYAN_INVALID);
    refused(fixture, &time_field, PG_TYPE_TIMESTAMP, "'294276-12-31 23:59:59'::timestamp", BANYAN_INVALID);
    refused(fixture, &time_field, PG_TYPE_DATE, "'5000000-01-01'::date", BANYAN_INVALID);
    refused(fixture, &int_field, PG_TYPE_NUMERIC, "1::numeric", BANYAN_TABLE);
    refused(fixture, &time_field, PG_TYPE_INT8, "1::int8", BANYAN_TABLE);
    refused(fixture, &bool_field, PG_TYPE_TEXT, "'t'::text", BANYAN_TABLE);
    refused(fixture, &decimal_field, PG_TYPE_TEXT, "'1'::text", BANYAN_TABLE);
}

static void what_a_column_cannot_hold(void **state)
{
    struct banyan_buf buf = BANYAN_BUF_INIT(1000);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct any value = {.number = 32768};

    (void)state;
    FAILS(INVALID, pg_cell_encode(&int_field, PG_TYPE_INT2, &value, &buf, &err));
    value.number = INT64_C(1) << 31;
    FAILS(INVALID, pg_cell_encode(&int_field, PG_TYPE_INT4, &value, &buf, &err));
    value.decimal = banyan_decimal_of(150, 2);
    FAILS(INVALID, pg_cell_encode(&cents_field, PG_TYPE_INT4, &value, &buf, &err));
    value.decimal = (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
    FAILS(INVALID, pg_cell_encode(&cents_field, PG_TYPE_INT4, &value, &buf, &err));
    value.time.us = 1;
    FAILS(INVALID, pg_cell_encode(&time_field, PG_TYPE_DATE, &value, &buf, &err));
    value.string = BANYAN_STR("no uuid");
    FAILS(INVALID, pg_cell_encode(&string_field, PG_TYPE_UUID, &value, &buf, &err));
    value.string = (struct banyan_str){"a\0b", 3};
    FAILS(INVALID, pg_cell_encode(&string_field, PG_TYPE_TEXT, &value, &buf, &err));
    value.string = BANYAN_STR("1");
    FAILS(TABLE, pg_cell_encode(&string_field, PG_TYPE_INT4, &value, &buf, &err));
    banyan_buf_release(&buf);
}

/* Bytes that no server sends: refused or taken, but never read past their end (run with the address sanitizer). */
static void hostile_bytes(void **state)
{
    static const uint32_t oids[] = {16, 19, 20, 21, 23, 25, 114, 1042, 1043, 1082, 1114, 1184, 1700, 2950, 3802, 7};
    static const struct banyan_field *const fields[] = {&string_field, &int_field,     &bool_field,
                                                        &time_field,   &decimal_field, &wide_field};
    struct fixture *fixture = *state;
    uint64_t seed = 4711;
    struct os_random random;

    print_message("# seed %" PRIu64 "\n", seed);
    os_random_seed(&random, seed);
    for (int turn = 0; turn < 200000; turn++) {
        const struct banyan_field *field = fields[os_random_below(&random, 6)];
        uint32_t oid = oids[os_random_below(&random, 16)];
        size_t size = os_random_below(&random, 25);
        char *cell = malloc(size + 1); /* of exact size, so that a read behind it is seen */
        struct any value = {0};

        for (size_t i = 0; i < size; i++)
            cell[i] = os_random_below(&random, 3) ? (char)os_random_below(&random, 3) : (char)os_random_next(&random);
        cell = realloc(cell, size == 0 ? 1 : size);
        (void)!pg_cell_decode(field, oid, (struct banyan_str){cell, size}, &fixture->arena, &value, NULL);
        (void)!pg_cell_parse(field, oid, (struct banyan_str){cell, size}, &fixture->arena, &value, NULL);
        free(cell);
        if (turn % 1000 == 0)
            banyan_arena_reset(&fixture->arena);
    }
}

static void fits(void **state)
{
    (void)state;
    assert_true(pg_type_fits(PG_TYPE_TEXT, false, BANYAN_FIELD_STRING));
    assert_true(pg_type_fits(99999, true, BANYAN_FIELD_STRING));
    assert_false(pg_type_fits(99999, false, BANYAN_FIELD_STRING));
    assert_false(pg_type_fits(99999, true, BANYAN_FIELD_INT));
    assert_false(pg_type_fits(PG_TYPE_NUMERIC, false, BANYAN_FIELD_INT));
    assert_true(pg_type_fits(PG_TYPE_FLOAT8, false, BANYAN_FIELD_DECIMAL));
    assert_false(pg_type_fits(PG_TYPE_FLOAT8, false, BANYAN_FIELD_INT));
    assert_true(pg_type_fits(PG_TYPE_INT8, false, BANYAN_FIELD_DECIMAL));
    assert_true(pg_scale_fits(PG_TYPE_NUMERIC, 8, &decimal_field));
    assert_true(pg_scale_fits(PG_TYPE_NUMERIC, 2, &decimal_field));
    assert_false(pg_scale_fits(PG_TYPE_NUMERIC, 9, &decimal_field));
    assert_false(pg_scale_fits(PG_TYPE_NUMERIC, -1, &decimal_field));
    assert_true(pg_scale_fits(PG_TYPE_INT4, -1, &decimal_field));
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    fixture->conn = test_connect(false);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    banyan_arena_release(&fixture->arena);
    pg_close(fixture->conn);
    free(fixture);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_and_bools),
        cmocka_unit_test(texts),
        cmocka_unit_test(times),
        cmocka_unit_test(numerics),
        cmocka_unit_test(floats),
        cmocka_unit_test(random_numerics),
        cmocka_unit_test(what_a_field_cannot_hold),
        cmocka_unit_test(what_a_column_cannot_hold),
        cmocka_unit_test(hostile_bytes),
        cmocka_unit_test(fits),
    };

    return cmocka_run_group_tests_name("pg/cell", tests, setup, teardown);
}
