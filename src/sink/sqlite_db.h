/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to the SQLite file of one generation, for its writer and its readers: statements that are prepared once,
 * rows in and out, errors in our words.
 *
 * Threads: one a connection.
 */
#ifndef SINK_SQLITE_DB_H
#define SINK_SQLITE_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "projection/sink.h"
#include "sink/sink_sql.h"

enum sqlite_db_statement {
    DB_BEGIN_WRITE,
    DB_BEGIN_READ,
    DB_COMMIT,
    DB_CHECKPOINT, /* () → position, at, lsn, epoch */
    DB_MOVE,       /* (epoch, position, at, lsn) */
    DB_ASIDES,     /* () → by_stream, key, stream, position, at, held, reason */
    DB_PUT_ASIDE,  /* the same as parameters */
    DB_RELEASE,    /* (by_stream, key, stream) */
    DB_TABLES,     /* from here on those of table 0, then of table 1, … */
    DB_UPSERT = 0,
    DB_UPSERT_PLAIN, /* leaves indexed columns alone */
    DB_DELETE,
    DB_GET,
    DB_RANGE,
    DB_COUNT,
    DB_LISTS, /* SINK_SQL_LIST_FORMS a list */
};

struct sqlite_db {
    const struct banyan_projection *projection;
    char *path; /* owned */
    sqlite3 *db;
    sqlite3_stmt **statements; /* made when needed */
    size_t statement_count;
    size_t table_at[BANYAN_PROJECTION_TABLES_MAX + 1]; /* where a table's begin */
    uint64_t indexed[BANYAN_PROJECTION_TABLES_MAX];    /* fields that lists and searches need */
};

/* An existing file, or a new one of mode 0600.  *pragmas* are run first. */
BANYAN_MUST_CHECK enum banyan_status sqlite_db_open(const struct banyan_projection *projection, const char *path,
                                                    const char *pragmas, struct sqlite_db **ret,
                                                    struct banyan_error *err);
void sqlite_db_close(struct sqlite_db *db); /* NULL allowed */

/* What SQLite's *rc* is in our words. */
enum banyan_status sqlite_db_fail(sqlite3 *db, const char *path, int rc, const char *what, struct banyan_error *err);
struct sink_sql sqlite_db_sql(const struct sqlite_db *db, unsigned table);
/* Several statements without results. */
BANYAN_MUST_CHECK enum banyan_status sqlite_db_execute(struct sqlite_db *db, const char *sql, const char *what,
                                                       struct banyan_error *err);
/* The prepared statement, reset; NULL after a failure. */
sqlite3_stmt *sqlite_db_statement(struct sqlite_db *db, size_t which, struct banyan_error *err,
                                  enum banyan_status *ret_status);
static inline size_t sqlite_db_of_table(const struct sqlite_db *db, unsigned table, size_t which)
{
    return db->table_at[table] + which;
}
/* Step a statement that gives no rows, and reset it. */
BANYAN_MUST_CHECK enum banyan_status sqlite_db_step(struct sqlite_db *db, sqlite3_stmt *stmt, const char *what,
                                                    struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status sqlite_db_run(struct sqlite_db *db, size_t which, const char *what,
                                                   struct banyan_error *err);
/* End a transaction that failed or was only for reading; nothing where there is none. */
void sqlite_db_roll_back(struct sqlite_db *db);

void sqlite_bind_text(sqlite3_stmt *stmt, int at, struct banyan_str text); /* borrowed until the reset */
void sqlite_bind_int(sqlite3_stmt *stmt, int at, int64_t value);
void sqlite_bind_field(sqlite3_stmt *stmt, int at, const struct banyan_field *field, const void *row);
/* The current row; strings are copied to *arena*, or borrow until the next step where it is NULL. */
BANYAN_MUST_CHECK enum banyan_status sqlite_db_row(struct sqlite_db *db, sqlite3_stmt *stmt, unsigned table,
                                                   struct banyan_arena *arena, void *row, struct banyan_error *err);
/* The checkpoint and the owner's epoch (may be NULL); CORRUPT where there is none. */
BANYAN_MUST_CHECK enum banyan_status sqlite_db_checkpoint(struct sqlite_db *db, uint32_t generation,
                                                          struct sink_checkpoint *ret, int64_t *ret_epoch,
                                                          struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status sqlite_db_asides(struct sqlite_db *db, struct banyan_arena *arena,
                                                      struct sink_aside **ret, size_t *ret_count,
                                                      struct banyan_error *err);

#endif
