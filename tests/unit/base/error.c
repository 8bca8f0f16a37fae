/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: the first wins, context goes in front, over-long texts are cut between characters. */
#include "banyan/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void setting_reports_and_returns(void **state)
{
    (void)state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_equal(banyan_error_set(&err, BANYAN_INVALID, "field %s is %d", "qty", 7), BANYAN_INVALID);
    assert_int_equal(err.status, BANYAN_INVALID);
    assert_string_equal(err.message, "field qty is 7");
    assert_string_equal(err.detail, "");
    assert_string_equal(err.hint, "");
    banyan_error_detail(&err, "detail %d", 1);
    banyan_error_hint(&err, "hint %d", 2);
    assert_string_equal(err.detail, "detail 1");
    assert_string_equal(err.hint, "hint 2");
}

static void the_first_error_wins(void **state)
{
    (void)state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    (void)banyan_error_set(&err, BANYAN_CORRUPT, "first"); /* looked at below */
    assert_int_equal(banyan_error_set(&err, BANYAN_IO, "second"), BANYAN_IO);
    assert_int_equal(banyan_error_errno(&err, ENOSPC, "third"), BANYAN_NO_SPACE);
    assert_int_equal(err.status, BANYAN_CORRUPT);
    assert_string_equal(err.message, "first");
    banyan_error_clear(&err);
    assert_int_equal(err.status, BANYAN_OK);
    assert_int_equal(banyan_error_set(&err, BANYAN_IO, "again"), BANYAN_IO);
    assert_string_equal(err.message, "again");
}

static void no_error_struct_is_fine(void **state)
{
    (void)state;
    assert_int_equal(banyan_error_set(NULL, BANYAN_IO, "x"), BANYAN_IO);
    assert_int_equal(banyan_error_errno(NULL, EDQUOT, "x"), BANYAN_NO_SPACE);
    banyan_error_detail(NULL, "x");
    banyan_error_hint(NULL, "x");
    banyan_error_context(NULL, "x");
    banyan_error_clear(NULL);
}

static void errno_gets_its_text(void **state)
{
    (void)state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_equal(banyan_error_errno(&err, EIO, "cannot read %s", "log"), BANYAN_IO);
    assert_string_equal(err.message, "cannot read log: Input/output error");
    banyan_error_clear(&err);
    assert_int_equal(banyan_error_errno(&err, ENOSPC, "cannot write"), BANYAN_NO_SPACE);
    assert_true(strlen(err.hint) > 0);
}

static void context_goes_in_front(void **state)
{
    (void)state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    (void)banyan_error_set(&err, BANYAN_IO, "inner"); /* looked at below */
    banyan_error_context(&err, "middle %d", 2);
    banyan_error_context(&err, "outer");
    assert_string_equal(err.message, "outer: middle 2: inner");
}

static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    char text[BANYAN_ERROR_TEXT_MAX * 2];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'a', shift);
        for (size_t at = shift; at + 3 < sizeof(text); at += 3)
            memcpy(text + at, "\xE2\x82\xAC", 4); /* the euro sign */
        struct banyan_error err = BANYAN_ERROR_INIT;
        (void)banyan_error_set(&err, BANYAN_IO, "%s", text); /* looked at below */
        size_t size = strlen(err.message);
        assert_true(size < BANYAN_ERROR_TEXT_MAX && size >= BANYAN_ERROR_TEXT_MAX - 4);
        assert_int_equal((size - shift) % 3, 0);
        banyan_error_context(&err, "%s", "xx");
        size = strlen(err.message);
        assert_true(size < BANYAN_ERROR_TEXT_MAX);
        assert_int_equal((size - shift - 4) % 3, 0);
    }
}

static void the_reason_survives_a_long_path(void **state)
{
    (void)state;
    char path[BANYAN_ERROR_TEXT_MAX + 50];
    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    struct banyan_error err = BANYAN_ERROR_INIT;
    (void)banyan_error_errno(&err, EIO, "cannot open %s", path); /* looked at below */
    const char reason[] = ": Input/output error";
    size_t size = strlen(err.message);
    assert_string_equal(err.message + size - (sizeof(reason) - 1), reason);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting_reports_and_returns),     cmocka_unit_test(the_first_error_wins),
        cmocka_unit_test(no_error_struct_is_fine),         cmocka_unit_test(errno_gets_its_text),
        cmocka_unit_test(context_goes_in_front),           cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(the_reason_survives_a_long_path),
    };
    return cmocka_run_group_tests_name("base-error", tests, NULL, NULL);
}
