/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans that are held by files: a folder with schema.sql, and NAME.sql (a migration) beside NAME.plan (what it
 * becomes).
 *
 * Sizes are told, not measured: all tables are big but those of a short list, so that a plan is the same on every
 * machine.
 */
#ifndef TESTS_GOLDEN_PLAN_H
#define TESTS_GOLDEN_PLAN_H

#include "migrate/plan.h"

enum {
    GOLDEN_MAX = 512,
    GOLDEN_NAME_MAX = 100,
    GOLDEN_FILE_MAX = 1024 * 1024,
};

struct golden {
    const char *name;
    struct migration *migration;
    struct catalog *catalog;
    struct banyan_arena arena;
    struct plan plan;
    enum banyan_status st; /* of plan_make() */
    struct banyan_error err;
};

/* The migrations of a folder, sorted, without ".sql"; schema.sql is none.  BANYAN_PLANS_ONLY=TEXT: those with it. */
size_t golden_list(const char *folder, char names[GOLDEN_MAX][GOLDEN_NAME_MAX]);
/* *base* is conninfo that the name of a database is put behind; NULL where it cannot be reached. */
struct pg_conn *golden_connect(const char *base, const char *database);
/* The file's text, to be freed; NULL: there is none. */
char *golden_read(const char *folder, const char *name, const char *end);
bool golden_write(const char *folder, const char *name, const char *end, struct banyan_str text);
/* The plan of NAME.sql over the database of *conn*; false: the file cannot be read. */
bool golden_make(struct golden *golden, struct pg_conn *conn, const char *folder, const char *name);
void golden_release(struct golden *golden);

#endif
