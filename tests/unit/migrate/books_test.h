/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the books and of runs share: a connection and an arena for each program, and reading what is there. */
#ifndef TESTS_UNIT_MIGRATE_BOOKS_TEST_H
#define TESTS_UNIT_MIGRATE_BOOKS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "migrate/books.h"

static struct pg_conn *conn;
static struct banyan_arena arena;

/* Fails the test with the error's text when *call* (which is given `err`) did not succeed. */
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct banyan_error err = BANYAN_ERROR_INIT;                                                                   \
        if ((call) != BANYAN_OK)                                                                                       \
            fail_msg("%s: %s (%s) %s", #call, err.message, err.detail, err.hint);                                      \
    } while (0)

static inline struct pg_conn *connect_as(const char *application)
{
    struct pg_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO"), .application_name = application};
    struct pg_conn *ret = NULL;

    OK(pg_connect(&options, &ret, &err));
    return ret;
}

/* The first cell; no row is 0. */
static inline int64_t number(const char *sql)
{
    struct pg_result *result = NULL;
    int64_t ret;

    OK(pg_exec(conn, sql, NULL, 0, &result, &err));
    ret = pg_rows(result) == 0 ? 0 : pg_int(result, 0, 0);
    pg_result_free(result);
    return ret;
}

/* The first cell, until the arena is released. */
static inline struct banyan_str text(const char *sql)
{
    struct pg_result *result = NULL;
    struct banyan_str ret;

    OK(pg_exec(conn, sql, NULL, 0, &result, &err));
    ret = banyan_arena_str(&arena, pg_text(result, 0, 0));
    pg_result_free(result);
    return ret;
}

static inline enum books_state state_of(const char *version)
{
    struct books_migration books;

    OK(books_read(conn, banyan_str_of(version), &arena, &books, &err));
    return books.state;
}

#endif
