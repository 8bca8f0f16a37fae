/* SPDX-License-Identifier: Apache-2.0 */
/* The table of failures: what a code means, and where its meaning depends on what was done. */
#include "pg/pg_int.h"
#include "pg_test.h"

static void codes(void **state)
{
    static const struct {
        const char *code;
        enum pg_context context;
        enum banyan_status status;
    } cases[] = {
        {"28P01", PG_CONTEXT_CONNECT, BANYAN_AUTH},
        {"28000", PG_CONTEXT_CONNECT, BANYAN_AUTH},
        {"3D000", PG_CONTEXT_CONNECT, BANYAN_CONFIG},
        {"42501", PG_CONTEXT_CONNECT, BANYAN_PRIVILEGE},
        {"42501", PG_CONTEXT_STATEMENT, BANYAN_PRIVILEGE},
        {"42501", PG_CONTEXT_STREAM, BANYAN_PRIVILEGE},
        {"53300", PG_CONTEXT_CONNECT, BANYAN_UNAVAILABLE},
        {"57P03", PG_CONTEXT_CONNECT, BANYAN_UNAVAILABLE},
        {"57P01", PG_CONTEXT_STATEMENT, BANYAN_UNAVAILABLE},
        {"08006", PG_CONTEXT_STATEMENT, BANYAN_UNAVAILABLE},
        {"25P03", PG_CONTEXT_STATEMENT, BANYAN_UNAVAILABLE},
        {"55000", PG_CONTEXT_SLOT, BANYAN_SETTING},
        {"55000", PG_CONTEXT_STREAM, BANYAN_SLOT},
        {"55000", PG_CONTEXT_STATEMENT, BANYAN_QUERY},
        {"42704", PG_CONTEXT_STREAM, BANYAN_SLOT},
        {"42704", PG_CONTEXT_STATEMENT, BANYAN_QUERY},
        {"58P01", PG_CONTEXT_STREAM, BANYAN_SLOT},
        {"53400", PG_CONTEXT_SLOT, BANYAN_SETTING},
        {"0A000", PG_CONTEXT_SLOT, BANYAN_SETTING},
        {"0A000", PG_CONTEXT_STATEMENT, BANYAN_QUERY},
        {"42710", PG_CONTEXT_SLOT, BANYAN_SLOT},
        {"55006", PG_CONTEXT_STREAM, BANYAN_BUSY},
        {"55P03", PG_CONTEXT_SLOT, BANYAN_TIMEOUT},
        {"57014", PG_CONTEXT_STATEMENT, BANYAN_TIMEOUT},
        {"40001", PG_CONTEXT_STATEMENT, BANYAN_BUSY},
        {"40P01", PG_CONTEXT_STATEMENT, BANYAN_BUSY},
        {"53100", PG_CONTEXT_STATEMENT, BANYAN_NO_SPACE},
        {"42P01", PG_CONTEXT_STATEMENT, BANYAN_TABLE},
        {"42703", PG_CONTEXT_STATEMENT, BANYAN_TABLE},
        {"25006", PG_CONTEXT_STATEMENT, BANYAN_SETTING},
        {"54001", PG_CONTEXT_STATEMENT, BANYAN_LIMIT},
        {"23505", PG_CONTEXT_STATEMENT, BANYAN_QUERY},
        {"XX000", PG_CONTEXT_STREAM, BANYAN_QUERY},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *hint;
        enum banyan_status got = pg_sqlstate_status(cases[i].code, cases[i].context, &hint);

        if (got != cases[i].status)
            fail_msg("%s: %s, not %s", cases[i].code, banyan_status_name(got), banyan_status_name(cases[i].status));
        if (got != BANYAN_QUERY && got != BANYAN_LIMIT && (hint == NULL || hint[0] == '\0'))
            fail_msg("%s has no hint", cases[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes),
    };

    return cmocka_run_group_tests_name("pg/sqlstate", tests, NULL, NULL);
}
