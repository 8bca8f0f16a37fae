/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers against a plain array; the overflow sticks; JSON strings are read back by an independent parser. */
#include "banyan/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "../../support/seed.h"

static void appends_match_a_plain_array(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "appends_match_a_plain_array");
    static char model[1 << 16];
    for (unsigned round = 0; round < seed_rounds(200); round++) {
        size_t size_max = 1 + os_random_below(&random, sizeof(model) - 1);
        struct banyan_buf buf = BANYAN_BUF_INIT(size_max);
        size_t size = 0;
        bool overflow = false;
        for (int step = 0; step < 200; step++) {
            char piece[700];
            size_t piece_size = os_random_below(&random, 600);
            memset(piece, 'a' + step % 26, piece_size);
            piece[piece_size] = '\0';
            switch (os_random_below(&random, 4)) {
            case 0:
                banyan_buf_add(&buf, piece, piece_size);
                break;
            case 1:
                banyan_buf_printf(&buf, "%s", piece);
                break;
            case 2: {
                char *room = banyan_buf_extend(&buf, piece_size);
                if (room != NULL)
                    memcpy(room, piece, piece_size);
                break;
            }
            default:
                piece_size = 1;
                banyan_buf_add_char(&buf, piece[0] = 'z');
                break;
            }
            overflow = overflow || size + piece_size > size_max;
            if (!overflow) {
                memcpy(model + size, piece, piece_size);
                size += piece_size;
            }
            assert_int_equal(buf.overflow, overflow);
            assert_int_equal(buf.size, size);
            assert_true(buf.data == NULL || buf.data[buf.size] == '\0');
        }
        assert_memory_equal(banyan_buf_str(&buf).data, model, size);
        banyan_buf_reset(&buf);
        assert_false(buf.overflow);
        assert_int_equal(buf.size, 0);
        banyan_buf_release(&buf);
    }
}

static void an_untouched_buffer_is_an_empty_text(void **state)
{
    (void)state;
    struct banyan_buf buf = BANYAN_BUF_INIT(10);
    assert_string_equal(banyan_buf_str(&buf).data, "");
    banyan_buf_add(&buf, NULL, 0);
    banyan_buf_add_str(&buf, (struct banyan_str){NULL, 0});
    assert_int_equal(buf.size, 0);
    banyan_buf_release(&buf);
    banyan_buf_release(NULL);
}

static void the_maximum_is_exact(void **state)
{
    (void)state;
    struct banyan_buf buf = BANYAN_BUF_INIT(3);
    banyan_buf_add_text(&buf, "abc");
    assert_false(buf.overflow);
    banyan_buf_add_char(&buf, 'd');
    assert_true(buf.overflow);
    assert_string_equal(buf.data, "abc");
    assert_null(banyan_buf_extend(&buf, 0));
    banyan_buf_reset(&buf);
    assert_null(banyan_buf_extend(&buf, SIZE_MAX));
    assert_true(buf.overflow);
    banyan_buf_release(&buf);
}

static void json_strings_read_back(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "", "plain", "q\"b\\s/", "\b\f\n\r\t\x01\x1f\x7f", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x8C\xB3", "mix\xC3\xA9\n\"end",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_buf buf = BANYAN_BUF_INIT(1000);
        banyan_buf_add_json(&buf, banyan_str_of(cases[i]));
        json_t *json = json_loads(buf.data, JSON_DECODE_ANY, NULL);
        assert_non_null(json);
        assert_string_equal(json_string_value(json), cases[i]);
        json_decref(json);
        banyan_buf_release(&buf);
    }
}

static void json_replaces_what_is_not_utf8(void **state)
{
    (void)state;
    static const struct {
        struct banyan_str text;
        const char *json;
    } cases[] = {
        {{"a\0b", 3}, "\"a\\u0000b\""},
        {{"\xFF", 1}, "\"\xEF\xBF\xBD\""},
        {{"\x80x", 2}, "\"\xEF\xBF\xBDx\""},
        {{"\xC0\xAF", 2}, "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},                                 /* over-long */
        {{"\xED\xA0\x80", 3}, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},                 /* a surrogate */
        {{"\xF4\x90\x80\x80", 4}, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""}, /* above U+10FFFF */
        {{"\xE2\x82", 2}, "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},                                 /* cut off */
        {{"\xF4\x8F\xBF\xBF", 4}, "\"\xF4\x8F\xBF\xBF\""},                                 /* U+10FFFF itself */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_buf buf = BANYAN_BUF_INIT(1000);
        banyan_buf_add_json(&buf, cases[i].text);
        assert_string_equal(buf.data, cases[i].json);
        banyan_buf_release(&buf);
    }
}

static void json_of_random_bytes_is_json(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "json_of_random_bytes_is_json");
    for (unsigned round = 0; round < seed_rounds(5000); round++) {
        size_t size = os_random_below(&random, 30);
        char *exact = malloc(size + 1); /* of just this size, so that the sanitizer sees any read past it */
        assert_non_null(exact);
        for (size_t i = 0; i < size; i++)
            exact[i] =
                (char)(os_random_below(&random, 3) == 0 ? os_random_next(&random) : 0x80 | os_random_next(&random));
        char *text = realloc(exact, size == 0 ? 1 : size);
        struct banyan_buf buf = BANYAN_BUF_INIT(1000);
        banyan_buf_add_json(&buf, (struct banyan_str){text, size});
        json_error_t error;
        json_t *json = json_loadb(buf.data, buf.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        if (json == NULL)
            fail_msg("%s: %s", error.text, buf.data);
        json_decref(json);
        banyan_buf_release(&buf);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_match_a_plain_array),    cmocka_unit_test(an_untouched_buffer_is_an_empty_text),
        cmocka_unit_test(the_maximum_is_exact),           cmocka_unit_test(json_strings_read_back),
        cmocka_unit_test(json_replaces_what_is_not_utf8), cmocka_unit_test(json_of_random_bytes_is_json),
    };
    return cmocka_run_group_tests_name("base-buf", tests, NULL, NULL);
}
