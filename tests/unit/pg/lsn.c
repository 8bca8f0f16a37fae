/* SPDX-License-Identifier: Apache-2.0 */
/* Positions in the WAL: text → number → text. */
#include "pg_test.h"

static void parses_and_formats(void **state)
{
    static const struct {
        const char *text;
        uint64_t lsn;
    } cases[] = {
        {"0/0", 0},
        {"0/1", 1},
        {"16/B374D848", UINT64_C(0x16B374D848)},
        {"1/0", UINT64_C(0x100000000)},
        {"FFFFFFFF/FFFFFFFF", UINT64_MAX},
    };
    char text[PG_LSN_TEXT_SIZE];
    uint64_t lsn;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(pg_lsn_parse(banyan_str_of(cases[i].text), &lsn));
        assert_int_equal(lsn, cases[i].lsn);
        pg_lsn_format(lsn, text);
        assert_string_equal(text, cases[i].text);
    }
    assert_true(pg_lsn_parse(BANYAN_STR("00000016/b374d848"), &lsn));
    assert_int_equal(lsn, UINT64_C(0x16B374D848));
}

static void refuses_what_is_none(void **state)
{
    static const char *const bad[] = {"",     "/",    "1",           "1/",          "/1",   "1/2/3", "G/1",  "1/G",
                                      "1/2 ", " 1/2", "123456789/1", "1/123456789", "-1/2", "0x1/2", "1/2\n"};
    uint64_t lsn = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (pg_lsn_parse(banyan_str_of(bad[i]), &lsn))
            fail_msg("\"%s\" was taken for a position", bad[i]);
    }
    assert_false(pg_lsn_parse((struct banyan_str){NULL, 0}, &lsn));
    assert_int_equal(lsn, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_and_formats),
        cmocka_unit_test(refuses_what_is_none),
    };

    return cmocka_run_group_tests_name("pg/lsn", tests, NULL, NULL);
}
