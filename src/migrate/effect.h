/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one statement does to the tables: which locks, which rewrites, scans and index builds, for how long.
 *
 * The facts were measured (PostgreSQL 15, a table of statements that a test measures again on the server in use) and
 * stand in effect_*.c, one file a family of statements.  Pure: tree and catalog in, effect out.
 *
 * Three answers to "is it heavy": no, yes, and not known.  Offline, what depends on the catalog is not known.
 */
#ifndef MIGRATE_EFFECT_H
#define MIGRATE_EFFECT_H

#include <stdbool.h>
#include <stddef.h>

#include "migrate/catalog.h"
#include "migrate/statement.h"

enum effect_lock { /* ascending */
                   EFFECT_LOCK_NONE = 0,
                   EFFECT_ACCESS_SHARE,
                   EFFECT_ROW_SHARE,
                   EFFECT_ROW_EXCLUSIVE,
                   EFFECT_SHARE_UPDATE_EXCLUSIVE,
                   EFFECT_SHARE,
                   EFFECT_SHARE_ROW_EXCLUSIVE,
                   EFFECT_EXCLUSIVE,
                   EFFECT_ACCESS_EXCLUSIVE,
};
const char *effect_lock_name(enum effect_lock lock); /* "ACCESS EXCLUSIVE" */
/* "reads and writes wait", "writes wait", "other DDL waits" */
const char *effect_lock_stops(enum effect_lock lock);

enum effect_certainty {
    EFFECT_NO = 0,
    EFFECT_YES,
    EFFECT_PERHAPS, /* depends on what is not known here */
};

enum {
    EFFECT_RELATIONS_MAX = 64,
};

struct effect_relation {
    struct banyan_str name; /* as it is found: "orders", "sales.orders" */
    bool is_index;
    bool made_here; /* made by this statement, or by one before it: nobody else waits */
    enum effect_lock lock;
    enum effect_certainty rewrite; /* a new file: the whole table or index is written */
    enum effect_certainty scan;    /* is read from end to end under the lock */
    bool scan_by_plan;             /* PERHAPS because the planner decides: whole or by an index */
    enum effect_certainty build;   /* an index: is built under the lock */
    int64_t rows, bytes;           /* CATALOG_UNKNOWN */
};

enum effect_verdict {
    EFFECT_UNDERSTOOD = 0,
    EFFECT_NOT_UNDERSTOOD, /* the parser or this room does not know it */
    EFFECT_FAILS,          /* the server will refuse it; *why* says for what */
};

struct effect {
    enum effect_verdict verdict;
    struct banyan_str why;
    struct effect_relation relations[EFFECT_RELATIONS_MAX];
    size_t relation_count;
    bool more_relations;         /* than fit; never silently */
    bool outside_transaction;    /* it cannot run in one */
    bool waits_for_transactions; /* CONCURRENTLY: for all older ones */
    bool leaves_invalid;         /* an index, where it fails */
    bool removes_data;
    bool breaks_old_code;       /* a name or a column that running code uses goes away or changes its type */
    struct banyan_str notes[8]; /* why it is heavy, or is not: "the CHECK orders_venue_check proves it" */
    size_t note_count;
};

/* Memory from *arena*; texts and places of the statement and of *catalog* are borrowed. */
BANYAN_MUST_CHECK enum banyan_status effect_of(const struct statement *statement, struct catalog *catalog,
                                               struct banyan_arena *arena, struct effect *ret,
                                               struct banyan_error *err);
/* The catalog as it is behind the statement: tables that are made, renamed and dropped, CHECKs and their proof, NOT
 * NULL. A table that was changed in another way is marked stale: nothing is refused on what is known of it.  Trees are
 * borrowed: *statement* has to outlive *catalog*. */
BANYAN_MUST_CHECK enum banyan_status effect_follow(const struct statement *statement, struct catalog *catalog,
                                                   struct banyan_error *err);
/* How long the heavy part holds its lock, from bytes and measured rates; 0: at once; CATALOG_UNKNOWN. */
int64_t effect_duration_us(const struct effect *effect);

#endif
