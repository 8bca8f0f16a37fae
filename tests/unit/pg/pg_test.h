/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of this room share: connecting to the throwaway server, and failing with the error's text. */
#ifndef TESTS_UNIT_PG_TEST_H
#define TESTS_UNIT_PG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/clock.h"
#include "pg/conn.h"

/* Fails the test with the error's text when *call* (which fills `err`) did not succeed. */
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct banyan_error *checked = &err;                                                                           \
        banyan_error_clear(checked);                                                                                   \
        if ((call) != BANYAN_OK)                                                                                       \
            fail_msg("%s: %s: %s (%s) %s", #call, banyan_status_name(checked->status), checked->message,               \
                     checked->detail, checked->hint);                                                                  \
    } while (0)

/* Fails the test unless *call* ends with BANYAN_<status> and says so in `err`. */
#define FAILS(name, call)                                                                                              \
    do {                                                                                                               \
        enum banyan_status got;                                                                                        \
                                                                                                                       \
        banyan_error_clear(&err);                                                                                      \
        got = (call);                                                                                                  \
        if (got != BANYAN_##name || err.status != got || err.message[0] == '\0')                                       \
            fail_msg("%s: wanted %s, got %s: %s", #call, #name, banyan_status_name(got), err.message);                 \
    } while (0)

static inline const char *test_conninfo(void)
{
    const char *text = getenv("BANYAN_TEST_CONNINFO");

    if (text == NULL)
        fail_msg("BANYAN_TEST_CONNINFO is not set: run this through tools/with-postgres");
    return text;
}

static inline struct pg_conn *test_connect(bool replication)
{
    struct pg_options options = {
        .conninfo = test_conninfo(), .application_name = "banyan-test", .replication = replication};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;

    OK(pg_connect(&options, &conn, &err));
    return conn;
}

/* One statement that has to work. */
static inline void test_run(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    OK(pg_run(conn, sql, &err));
}

/* The first cell of a statement as text; free() it.  NULL is "(null)". */
static inline char *test_value(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    struct banyan_str text;
    char *ret;

    OK(pg_exec(conn, sql, NULL, 0, &result, &err));
    text = pg_rows(result) == 0 ? BANYAN_STR("(none)") : pg_text(result, 0, 0);
    ret = text.data == NULL ? strdup("(null)") : strndup(text.data, text.size);
    pg_result_free(result);
    return ret;
}

static inline void test_value_is(struct pg_conn *conn, const char *sql, const char *expected)
{
    char *value = test_value(conn, sql);

    assert_string_equal(value, expected);
    free(value);
}

/* Asks again and again until the statement gives *expected*; fails after 20 s. */
static inline void test_wait_value(struct pg_conn *conn, const char *sql, const char *expected)
{
    int64_t limit_us = os_clock_monotonic_us(os_clock_real()) + 20000000;

    for (;;) {
        char *value = test_value(conn, sql);
        bool same = strcmp(value, expected) == 0;

        if (!same && os_clock_monotonic_us(os_clock_real()) > limit_us)
            fail_msg("%s: is \"%s\", waited for \"%s\"", sql, value, expected);
        free(value);
        if (same)
            return;
        test_run(conn, "SELECT pg_sleep(0.005)"); /* the server waits, this process does not poll it empty */
    }
}

#endif
