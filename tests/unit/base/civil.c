/* SPDX-License-Identifier: Apache-2.0 */
/* The calendar: known days, days that are none, and there and back over 800 years and at the far ends. */
#include "base/civil.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_day(int64_t year, unsigned month, unsigned day, int64_t days)
{
    int64_t back;
    struct civil_day civil = civil_of_days(days);
    assert_int_equal(civil.year, year);
    assert_int_equal(civil.month, month);
    assert_int_equal(civil.day, day);
    assert_true(civil_to_days(civil, &back));
    assert_int_equal(back, days);
}

static void known_days(void **state)
{
    (void)state;
    assert_day(1970, 1, 1, 0);
    assert_day(1969, 12, 31, -1);
    assert_day(2000, 2, 29, 11016);
    assert_day(2000, 3, 1, 11017);
    assert_day(2015, 5, 1, 16556);
    assert_day(0, 1, 1, -719528);
    assert_day(1, 1, 1, -719162);
    assert_day(9999, 12, 31, 2932896);
}

static void days_that_are_none(void **state)
{
    (void)state;
    int64_t days;
    assert_false(civil_to_days((struct civil_day){2015, 2, 29}, &days));
    assert_false(civil_to_days((struct civil_day){1900, 2, 29}, &days));
    assert_false(civil_to_days((struct civil_day){2015, 4, 31}, &days));
    assert_false(civil_to_days((struct civil_day){2015, 0, 1}, &days));
    assert_false(civil_to_days((struct civil_day){2015, 13, 1}, &days));
    assert_false(civil_to_days((struct civil_day){2015, 1, 0}, &days));
}

static void each_day_follows_the_last(void **state)
{
    (void)state;
    struct civil_day last = civil_of_days(-146098);
    for (int64_t days = -146097; days < 146097; days++) {
        struct civil_day civil = civil_of_days(days);
        int64_t back;
        assert_true(civil_to_days(civil, &back));
        assert_int_equal(back, days);
        if (civil.day == 1)
            assert_true(civil.month == last.month + 1 || (civil.month == 1 && last.month == 12));
        else
            assert_true(civil.day == last.day + 1 && civil.month == last.month && civil.year == last.year);
        last = civil;
    }
    for (int64_t days = -106751991168; days < 106751991168; days += 999999937) {
        int64_t back;
        assert_true(civil_to_days(civil_of_days(days), &back));
        assert_int_equal(back, days);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_days),
        cmocka_unit_test(days_that_are_none),
        cmocka_unit_test(each_day_follows_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
