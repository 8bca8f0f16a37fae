/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns that are held equal while old and new code both write: one BEFORE trigger a table.
 *
 * The direction is told by what changed, OLD against NEW; nobody has to say which code he is.  That works behind a
 * pooler, and a statement that touches neither column costs one comparison.
 *
 *   | written       | INSERT                       | UPDATE                                                        |
 *   | both names    | new is not NULL: old := new  | new changed: old := new · else old changed: new := old        |
 *   | (SYNC_BOTH)   | else new := old              | · else new is NULL, old not (not filled yet): new := old      |
 *   | one name      | to := from                   | from changed, or to not filled: to := from                    |
 *   | (SYNC_TO)     |                              |                                                               |
 *   | filled        | NULL: to := expression       | NULL: to := expression                                        |
 *   | (SYNC_FILL)   |                              |                                                               |
 *
 * Both changed in one UPDATE: the new name wins, the old one follows it.
 *
 * The trigger is ENABLE ALWAYS (also where a replica writes), and its name sorts behind all names of ASCII letters: it
 * sees what the user's own triggers made of the row.  Expressions of the user see the row as the table itself:
 * SELECT (expression) FROM (SELECT NEW.*) AS table, under the search_path of the one who planned it; own ones read
 * NEW."column".  A value that does not go into the other type must not fail the statement: where that can be, an
 * exception block gives NULL.
 *
 * Changed is what has other bytes, not what is unequal: 1.0 and 1.00, or 1 month and 30 days, are two values.
 *
 * The turned trigger has SYNC_TO columns only: *from* is the live one, *to* the one that is kept aside.
 *
 * Lives in plpgsql, in the schema banyan; dropped with the migration.
 */
#ifndef MIGRATE_SYNC_H
#define MIGRATE_SYNC_H

#include "migrate/sql.h"

enum sync_kind {
    SYNC_BOTH = 1,
    SYNC_TO,
    SYNC_FILL,
};

struct sync_column {
    enum sync_kind kind;
    struct banyan_str from, to;   /* columns; from empty: FILL */
    struct banyan_str forth;      /* value of *to*; $ stands for the value of *from*: "$::numeric(18,8)", "$" */
    struct banyan_str back;       /* BOTH: value of *from*; $ stands for the value of *to* */
    struct banyan_str expression; /* FILL: of the user */
    bool forth_fails, back_fails; /* for some values: those become NULL, and the statement goes on */
};

struct sync {
    const struct catalog_table *table;
    struct sync_column *columns;
    size_t column_count;
    bool turned; /* the one that follows the swap: what is live fills what is kept aside; has a name of its own */
};

/* The value with $ replaced by *prefix* and the quoted column: for the trigger "NEW.", for a batch "t.".  "$$" is "$".
 */
struct banyan_str sync_value(struct banyan_arena *arena, struct banyan_str expression, const char *prefix,
                             struct banyan_str column);
/* What makes the function and its trigger, and what removes both; *version* makes their names.  Making the function
 * again with other columns is harmless.  *search_path*: quoted schemas, for what the user wrote; empty: every type and
 * function is of the system or qualified, and each call saves the setting. */
struct banyan_str sync_function_sql(const struct sync *sync, struct banyan_str version, struct banyan_str search_path,
                                    struct banyan_arena *arena);
struct banyan_str sync_trigger_sql(const struct sync *sync, struct banyan_str version, struct banyan_arena *arena);
/* CREATE TRIGGER and ENABLE ALWAYS are two statements. */
struct banyan_str sync_always_sql(const struct sync *sync, struct banyan_str version, struct banyan_arena *arena);
/* The same on a partition, whose trigger is a copy of the parent's; on a child by INHERITS, which has its own. */
struct banyan_str sync_always_of_sql(const struct sync *sync, const struct catalog_table *child,
                                     struct banyan_str version, struct banyan_arena *arena);
struct banyan_str sync_trigger_of_sql(const struct sync *sync, const struct catalog_table *child,
                                      struct banyan_str version, struct banyan_arena *arena);
struct banyan_str sync_drop_trigger_of_sql(const struct sync *sync, const struct catalog_table *child,
                                           struct banyan_str version, struct banyan_arena *arena);
struct banyan_str sync_drop_trigger_sql(const struct sync *sync, struct banyan_str version, struct banyan_arena *arena);
struct banyan_str sync_drop_function_sql(const struct sync *sync, struct banyan_str version,
                                         struct banyan_arena *arena);
/* How many of its triggers are gone or were switched off, also where they are on again: ENABLE TRIGGER ALL makes no
 * ALWAYS.  0 where the function is not there (yet). */
struct banyan_str sync_broken_sql(const struct sync *sync, struct banyan_str version, struct banyan_arena *arena);

#endif
