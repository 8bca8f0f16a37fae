/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text: what is accepted and what is not, by cases of the grammar; spans; escapes; depth. */
#include "base/jtext.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/seed.h"

static bool whole(const char *text, size_t size)
{
    char *copy = malloc(size == 0 ? 1 : size); /* exactly as long, so that a sanitizer sees reads behind it */
    struct banyan_str raw;

    assert_non_null(copy);
    memcpy(copy, text, size);
    struct jtext_input in = jtext_input((struct banyan_str){copy, size});
    bool good = jtext_skip(&in, &raw) && jtext_end(&in);
    assert_int_equal(good, in.fault == NULL);
    free(copy);
    return good;
}

static void the_grammar(void **state)
{
    (void)state;
    static const char *const good[] = {
        "null",
        "true",
        " false ",
        "0",
        "-0",
        "12.50",
        "1e5",
        "1E-05",
        "-1.25e+10",
        "\"\"",
        "\"a\\n\\u00e9\\\\\"",
        "[]",
        "[1]",
        "[1, [2], {}]",
        "{}",
        "{\"a\":1}",
        "{\"a\":{\"b\":[null,true]},\"c\":\"d\"}",
        "\t[\r\n1 ]",
        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
    };
    static const char *const bad[] = {
        "",
        " ",
        "nul",
        "nulll",
        "tru",
        "+1",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x10",
        "NaN",
        "Infinity",
        "\"",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u12\"",
        "\"a\nb\"",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "{1:1}",
        "]",
        "}",
        "1 2",
        "{}{}",
        "[}",
        "{]",
        "\"\xc3\"",
        "\"\xc0\xaf\"",
        "\"\xed\xa0\x80\"",
        "\"\xff\"",
        "'a'",
        "/**/1",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!whole(good[i], strlen(good[i])))
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (whole(bad[i], strlen(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    }
    assert_false(whole("\"a\0b\"", 5));
}

static void depth_is_bounded(void **state)
{
    (void)state;
    char text[2 * (JTEXT_DEPTH_MAX + 1)];

    for (size_t depth = JTEXT_DEPTH_MAX; depth <= JTEXT_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(whole(text, 2 * depth), depth == JTEXT_DEPTH_MAX);
    }
}

static void members_are_spans(void **state)
{
    (void)state;
    struct jtext_input in = jtext_input(BANYAN_STR("{ \"id\" : \"x\\u0041\", \"payload\": {\"p\": 1.10 , \"q\":[1, 2]},"
                                                   "\"n\":-12,\"list\":[ true,null ],\"\\u006eext\":0}"));
    struct banyan_buf text = BANYAN_BUF_INIT(100);
    struct banyan_str name, raw;
    bool truth;
    int seen = 0;

    assert_true(jtext_object(&in));
    while (jtext_member(&in, &name)) {
        seen++;
        if (jtext_is(name, "id")) {
            assert_true(jtext_string(&in, &raw));
            jtext_unescape(raw, &text);
            assert_string_equal(text.data, "xA");
        } else if (jtext_is(name, "payload")) {
            assert_true(jtext_skip(&in, &raw));
            assert_true(banyan_str_equal(raw, BANYAN_STR("{\"p\": 1.10 , \"q\":[1, 2]}")));
        } else if (jtext_is(name, "n")) {
            assert_true(jtext_number(&in, &raw));
            assert_true(banyan_str_equal(raw, BANYAN_STR("-12")));
        } else if (jtext_is(name, "list")) {
            assert_true(jtext_array(&in));
            assert_true(jtext_element(&in) && jtext_boolean(&in, &truth) && truth);
            assert_true(jtext_element(&in) && jtext_null(&in));
            assert_false(jtext_element(&in));
        } else {
            assert_true(jtext_is(name, "next"));
            assert_true(jtext_skip(&in, &raw));
        }
    }
    assert_true(jtext_end(&in));
    assert_int_equal(seen, 5);
    banyan_buf_release(&text);
}

static void escapes(void **state)
{
    (void)state;
    struct banyan_buf text = BANYAN_BUF_INIT(100);

    jtext_unescape(BANYAN_STR("a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u20AC\\ud83d\\ude00\\ud83dx\\ude00\\u0000"), &text);
    assert_int_equal(text.size, 24);
    assert_memory_equal(text.data, "a\"\\/\b\f\n\r\t\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbdx\xef\xbf\xbd\0", 24);
    banyan_buf_release(&text);
}

static void faults_have_a_place(void **state)
{
    (void)state;
    struct jtext_input in = jtext_input(BANYAN_STR("{\"a\": 1,\n \"b\": tru}"));
    struct banyan_str raw;
    unsigned line, column;

    assert_false(jtext_skip(&in, &raw));
    jtext_place(&in, &line, &column);
    assert_int_equal(line, 2);
    assert_int_equal(column, 7);
    assert_false(jtext_object(&in));
    assert_string_equal(in.fault, "no value");
}

/* Whatever jansson refuses is refused; what it takes is taken, but for what it limits itself (its integers). */
static void jansson_agrees(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "{",   "}",  "[",    "]",   ",",    ":", "\"a\"", "\"a\":", "1",    "-0",    "-",    "0",
        "1.5", "e3", "true", "nul", "null", " ", "\\n",   "\"",     "\"\\", "u00e9", "\xc3", "\"\xc3\xa9\""};
    struct os_random random;
    uint64_t taken = 0;
    char text[100];

    seed_start(&random, "jtext");
    for (unsigned round = 0; round < seed_rounds(100000); round++) {
        uint64_t count = os_random_below(&random, 9);
        size_t size = 0;
        json_error_t error;

        for (uint64_t i = 0; i < count; i++) {
            const char *piece = pieces[os_random_below(&random, sizeof(pieces) / sizeof(pieces[0]))];

            memcpy(text + size, piece, strlen(piece));
            size += strlen(piece);
        }
        json_t *tree = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        bool large = strstr(error.text, "too big") != NULL || strstr(error.text, "overflow") != NULL;

        if (whole(text, size) != (tree != NULL) && !large)
            fail_msg("round %u: jansson says %s of %.*s", round, tree != NULL ? "good" : error.text, (int)size, text);
        taken += tree != NULL;
        json_decref(tree);
    }
    assert_true(taken > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_grammar), cmocka_unit_test(depth_is_bounded),    cmocka_unit_test(members_are_spans),
        cmocka_unit_test(escapes),     cmocka_unit_test(faults_have_a_place), cmocka_unit_test(jansson_agrees),
    };
    return cmocka_run_group_tests_name("base-jtext", tests, NULL, NULL);
}
