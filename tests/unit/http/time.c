/* SPDX-License-Identifier: Apache-2.0 */
/* Moments in a URL: what the engine writes can be read back, and nothing else that is no moment. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "banyan/record.h"
#include "http/http_int.h"
#include "support/test_domain.h"

static void what_is_written_is_read_back(void **state)
{
    static const struct banyan_field field = {"time", BANYAN_FIELD_TIME, 0, 0, 0};
    struct os_random random;
    os_random_seed(&random, test_seed());
    for (int i = 0; i < 100000; i++) {
        /* years 0000 to 9999 */
        int64_t span = INT64_C(253402300799999999) + INT64_C(62167219200000000);
        struct banyan_time time = {(int64_t)os_random_below(&random, (uint64_t)span) - INT64_C(62167219200000000)};
        struct banyan_time read = {0};
        struct banyan_buf json = BANYAN_BUF_INIT(256);
        banyan_field_json(&field, &time, &json);
        json.data[json.size - 1] = '\0';
        if (!http_parse_time(json.data + 1, &read) || read.us != time.us)
            fail_msg("%s: %" PRId64 ", not %" PRId64, json.data + 1, read.us, time.us);
        banyan_buf_release(&json);
    }
}

static void zones_and_fractions_count(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1970-01-01T01:00:00 01:00", 0},
        {"1969-12-31T23:30:00-00:30", 0},
        {"1970-01-01T00:00:00.5Z", 500000},
        {"1970-01-01T00:00:00.1234569Z", 123456},
        {"1970-01-01T00:00:00.12345678901234567890123456789012345678901234567890+00:00", 123456},
        {"2000-02-29T00:00:00Z", INT64_C(951782400000000)},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_time time = {-1};
        assert_true(http_parse_time(cases[i].text, &time));
        assert_int_equal(time.us, cases[i].us);
    }
}

static void what_is_no_moment_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "2015",
        "2015-05-01",
        "2015-05-01T00:00:00",
        "2015-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2015-04-31T00:00:00Z",
        "2015-00-01T00:00:00Z",
        "2015-13-01T00:00:00Z",
        "2015-01-00T00:00:00Z",
        "2015-01-01T24:00:00Z",
        "2015-01-01T00:60:00Z",
        "2015-01-01T00:00:60Z",
        "2015-01-01T00:00:00.Z",
        "2015-01-01T00:00:00Zx",
        "2015-01-01T00:00:00+1:00",
        "2015-01-01T00:00:00+24:00",
        "2015-01-01T00:00:00+01:60",
        "2015-01-01T00:00:00+01:00x",
        "2015-01-01T00:00:00+",
        "2015-01-01T00:00:00+01",
        "-015-01-01T00:00:00Z",
        "+2015-01-01T00:00:00Z",
        " 2015-01-01T00:00:00Z",
        "2015-1-01T00:00:000Z",
        "2015-01-01 00:00:00Z",
        "2015-01-01T00:00:00..5Z",
        "2015-01-01T00:00:00.5.5Z",
        "2015-01-01T00:00:00.123456789.5Z",
        "2015-01-01T00:00:00.5",
        "12015-01-01T00:00:00Z",
        "+012015-01-01T00:00:00Z",
        "-000001-01-01T00:00:00Z",
        "2015-01-01T00:00:00Zaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "infinity",
        "-infinity",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct banyan_time time = {42};
        if (http_parse_time(texts[i], &time))
            fail_msg("\"%s\" was taken for a moment", texts[i]);
        assert_int_equal(time.us, 42);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(zones_and_fractions_count),
        cmocka_unit_test(what_is_no_moment_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
