/* SPDX-License-Identifier: Apache-2.0 */
/* Every status has its own name and a text; exit codes are those that scripts rely on. */
#include "banyan/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void every_status_has_its_own_name_and_text(void **state)
{
    (void)state;
    for (int i = 0; i < BANYAN_STATUS_COUNT; i++) {
        assert_true(strlen(banyan_status_name((enum banyan_status)i)) > 0);
        assert_true(strlen(banyan_status_text((enum banyan_status)i)) > 0);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(banyan_status_name((enum banyan_status)i),
                                    banyan_status_name((enum banyan_status)j));
            assert_int_not_equal(banyan_status_exit_code((enum banyan_status)i),
                                 banyan_status_exit_code((enum banyan_status)j));
        }
    }
}

static void exit_codes_stay(void **state)
{
    (void)state;
    assert_int_equal(banyan_status_exit_code(BANYAN_OK), 0);
    assert_int_equal(banyan_status_exit_code(BANYAN_USAGE), 2);
    assert_int_equal(banyan_status_exit_code(BANYAN_CONFLICT), 6);
    assert_int_equal(banyan_status_exit_code(BANYAN_MISMATCH), 8);
    assert_int_equal(banyan_status_exit_code(BANYAN_CORRUPT), 22);
    assert_int_equal(banyan_status_exit_code(BANYAN_STOPPED), 25);
}

static void only_success_is_in_no_class(void **state)
{
    (void)state;
    for (int i = 0; i < BANYAN_STATUS_COUNT; i++)
        assert_int_equal(banyan_status_class((enum banyan_status)i) == BANYAN_CLASS_NONE, i == BANYAN_OK);
    assert_int_equal(banyan_status_class(BANYAN_NO_SPACE), BANYAN_CLASS_RETRY);
    assert_int_equal(banyan_status_class(BANYAN_DUPLICATE), BANYAN_CLASS_CONFLICT);
}

static void a_number_outside_the_list_is_a_failure(void **state)
{
    (void)state;
    assert_string_equal(banyan_status_name((enum banyan_status)9999), "UNKNOWN");
    assert_int_not_equal(banyan_status_exit_code((enum banyan_status)9999), 0);
    assert_int_equal(banyan_status_class((enum banyan_status) - 1), BANYAN_CLASS_STOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_own_name_and_text),
        cmocka_unit_test(exit_codes_stay),
        cmocka_unit_test(only_success_is_in_no_class),
        cmocka_unit_test(a_number_outside_the_list_is_a_failure),
    };
    return cmocka_run_group_tests_name("base-status", tests, NULL, NULL);
}
