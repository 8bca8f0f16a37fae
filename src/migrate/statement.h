/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A migration as it was written: SQL statements and the comments that say what DDL cannot.
 *
 *   2024_11_01_001_add_execution_venue.sql ──▶ version "2024_11_01_001", description "add execution venue",
 *                                              statements, directives, the rollback of the user's own
 *
 *   -- banyan: backfill orders.execution_venue = CASE WHEN … END
 *   -- banyan: zone orders.execution_time = 'Europe/Berlin'       what a timestamp without a zone means
 *   -- banyan: lossy orders.price                                 a narrowing conversion is wanted
 *   -- banyan: allow                                              the next statement runs as it is written
 *   -- banyan: rollback                                           the statements behind it undo those before it
 *
 * Parsing is libpg_query's, with the grammar of PostgreSQL 15.  What it does not understand is kept as text with
 * STATEMENT_UNKNOWN: nobody may call it safe.  Splitting is its scanner's, so that a broken statement does not hide
 * those behind it.
 *
 * Threads: a parsed file is read-only.
 */
#ifndef MIGRATE_STATEMENT_H
#define MIGRATE_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/error.h"
#include "banyan/types.h"

enum statement_kind {
    STATEMENT_UNKNOWN = 0, /* not understood */
    STATEMENT_DDL,
    STATEMENT_DML, /* INSERT, UPDATE, DELETE, MERGE, COPY */
    STATEMENT_QUERY,
    STATEMENT_TRANSACTION, /* BEGIN, COMMIT, … */
    STATEMENT_SETTING,     /* SET, RESET */
    STATEMENT_OTHER,       /* understood and none of these */
};

struct PgQuery__Node; /* of pg_query.pb-c.h */

struct statement_place {
    unsigned line, column; /* from 1, in characters; of the first word */
    size_t offset, size;   /* bytes in the file */
};

struct statement {
    struct statement_place place;
    struct banyan_str text; /* without the semicolon */
    enum statement_kind kind;
    const struct PgQuery__Node *tree; /* NULL where unknown; node.h reads it */
    void *owned;                      /* what the tree lies in */
    struct banyan_str why;            /* where unknown: what the parser said */
    bool allowed;                     /* "allow" stands before it */
    bool of_rollback;
};

enum directive_kind {
    DIRECTIVE_NONE = 0,
    DIRECTIVE_BACKFILL,
    DIRECTIVE_ZONE,
    DIRECTIVE_LOSSY,
};
struct directive {
    struct statement_place place;
    enum directive_kind kind;
    struct banyan_str schema, table, column; /* schema may be empty */
    struct banyan_str value;                 /* the expression, the zone */
};

struct migration {
    const char *path;
    struct banyan_str version, description;
    uint8_t checksum[32]; /* SHA-256 of the file */
    struct banyan_str source;
    struct statement *statements;
    size_t statement_count;
    struct directive *directives;
    size_t directive_count;
    struct banyan_arena arena; /* holds all of it */
};

/* Parse *source* (copied).  INVALID, LIMIT for what is told in source.h, and for a directive that is not understood,
 * with its line.  End it with migration_free(). */
BANYAN_MUST_CHECK enum banyan_status migration_parse(const char *path, struct banyan_str source, struct migration **ret,
                                                     struct banyan_error *err);
void migration_free(struct migration *migration); /* NULL allowed */

#endif
