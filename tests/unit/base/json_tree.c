/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as a tree: what is taken, what is refused, numbers that fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "banyan/json.h"

static bool taken(const char *text)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_json json;
    bool valid = banyan_json_parse(banyan_str_of(text), &arena, &json);

    banyan_arena_release(&arena);
    return valid;
}

static void test_tree(void **unused)
{
    static const char text[] = " {\"a\":[1,\"x\\u00e9\\n\",null],\"b\\u0062\":{\"c\":true},\"d\":false} ";
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    const struct banyan_json *a, *item;
    struct banyan_json json;

    (void)unused;
    assert_true(banyan_json_parse(banyan_str_of(text), &arena, &json));
    assert_int_equal(json.kind, BANYAN_JSON_OBJECT);
    assert_int_equal(json.count, 3);
    a = banyan_json_member(&json, "a");
    assert_int_equal(a->count, 3);
    item = a->first;
    assert_true(banyan_str_equal(item->text, BANYAN_STR("1")));
    item = item->next;
    assert_true(banyan_str_equal(item->text, BANYAN_STR("x\xc3\xa9\n")));
    assert_int_equal(item->next->kind, BANYAN_JSON_NULL);
    assert_null(item->next->next);
    assert_int_equal(banyan_json_member(banyan_json_member(&json, "bb"), "c")->kind, BANYAN_JSON_TRUE);
    assert_int_equal(banyan_json_member(&json, "d")->kind, BANYAN_JSON_FALSE);
    assert_null(banyan_json_member(&json, "e"));
    assert_null(banyan_json_member(a, "a"));
    assert_null(banyan_json_member(NULL, "a"));
    banyan_arena_release(&arena);
}

static void test_refused(void **unused)
{
    static const char *const good[] = {
        "{}",       "[]",       "0",       "\"\"", "null", "[{\"a\":1},{\"a\":2}]", "\"\\ud83d\\ude00\"",
        "-0.5e+10", "[[[[]]]]", "\t\r\n 1"};
    static const char *const bad[] = {"",
                                      "{",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":1,\"\\u0061\":2}",
                                      "[1,]",
                                      "01",
                                      "1.",
                                      "\"\\u0000\"",
                                      "\"\\ud83d\"",
                                      "\"\x80\"",
                                      "\"\n\"",
                                      "{} x",
                                      "nul",
                                      "{a:1}",
                                      "+1",
                                      "[{\"a\":{\"b\":1,\"c\":2,\"b\":3}}]"};

    (void)unused;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(taken(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (taken(bad[i]))
            fail_msg("taken: %s", bad[i]);
    }
}

static void test_integers(void **unused)
{
    static const struct {
        const char *text;
        bool fits;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-1", true, -1},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"1.0", false, 0},
        {"1e2", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_arena arena = BANYAN_ARENA_INIT;
        struct banyan_json json;
        int64_t value = 0;

        assert_true(banyan_json_parse(banyan_str_of(cases[i].text), &arena, &json));
        assert_int_equal(banyan_json_int(&json, &value), cases[i].fits);
        if (cases[i].fits)
            assert_int_equal(value, cases[i].value);
        banyan_arena_release(&arena);
    }
    assert_false(banyan_json_int(NULL, &(int64_t){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_integers),
    };

    return cmocka_run_group_tests_name("json_tree", tests, NULL, NULL);
}
