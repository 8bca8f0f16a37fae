/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of plan.h share: a plan at work.
 *
 *   plan.c             dispatch, order of phases
 *   plan_work.c        what a plan is put together with: steps, SQL, checks, refusals, names, directives
 *   plan_effect.c      locks and estimates of each step by effect.h, the rules' own check
 *   plan_column.c      commands on one column: defaults, NOT NULL
 *   plan_add_column.c  ADD COLUMN in all its forms
 *   plan_drop.c        DROP COLUMN, DROP TABLE: kept aside until cleanup
 *   plan_rename.c      RENAME COLUMN, RENAME TABLE
 *   plan_type.c        ALTER TYPE: metadata only, or shadow column and swap
 *   plan_swap.c        the trigger of each table (sync.h), and the one transaction of contract in which its columns
 *                      change places
 *   plan_hang.c        what hangs on them: indexes, constraints, foreign keys to them, defaults, views; plan_swap.h
 *   plan_constraint.c  CHECK, UNIQUE, PRIMARY KEY, FOREIGN KEY, EXCLUDE; drop of them
 *   plan_index.c       CREATE, DROP, REINDEX
 *   plan_partition.c   ATTACH, DETACH, PARTITION OF
 *   plan_rows.c        backfill directives and UPDATE as batches, with values kept; INSERT
 *   plan_ask.c         questions to the catalog; one thing made either as a step or as an undo
 *   plan_replace.c     dropped and made again under the same name
 *   plan_other.c       new objects, views, enum values; everything else as written
 *   plan_print.c, plan_json.c
 *
 * A failure of the world stays in *st*; a refusal does not end the work: all of them are told.
 */
#ifndef MIGRATE_PLAN_INT_H
#define MIGRATE_PLAN_INT_H

#include "banyan/attributes.h"
#include "migrate/node.h"
#include "migrate/plan.h"
#include "migrate/sql.h"
#include "migrate/sync.h"

struct plan_work {
    const struct migration *migration;
    const struct statement *statement; /* at work */
    size_t of;                         /* its index */
    struct catalog *catalog;           /* as it is before the statement, in the eyes of the user */
    struct banyan_arena *arena;
    struct plan *ret;
    struct plan_swap *swaps; /* one a table; they become steps when all statements are known */
    size_t swap_count;
    const struct plan_name *names; /* that were given out */
    const struct plan_gone *gone;  /* what was dropped */
    bool *directive_used;          /* one each; an unused one is an error */
    struct banyan_error *err;
    enum banyan_status st; /* sticky */
};

/* ---- plan_work.c, plan.c ---- */

bool plan_goes_on(const struct plan_work *work);
/* A new step at the end of its phase; fill it at once, the next call may move it. */
struct plan_step *plan_add(struct plan_work *work, enum plan_phase phase, const char *name, enum plan_kind kind,
                           enum plan_retry retry);
/* Of no statements yet; plan_add() and plan_undo() do so. */
void plan_action_init(struct plan_action *action, enum plan_kind kind, enum plan_retry retry);
/* sql_make() onto an action. */
void plan_sql(struct plan_work *work, struct plan_action *action, const char *format, ...);
/* Before what the action does now. */
void plan_sql_first(struct plan_work *work, struct plan_action *action, struct banyan_str sql);
/* One more action that undoes the step. */
struct plan_action *plan_undo(struct plan_work *work, struct plan_step *step, enum plan_kind kind,
                              enum plan_retry retry);
/* "LOCK TABLE … IN ACCESS EXCLUSIVE MODE" in front, for a transaction over more than one table. */
void plan_lock_tables(struct plan_work *work, struct plan_action *action, const struct catalog_table *const *tables,
                      size_t count, const char *mode);
struct plan_check *plan_check_add(struct plan_work *work, enum plan_phase phase);
void plan_refuse(struct plan_work *work, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
void plan_note(struct plan_work *work, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
/* The statement itself, as it was written: expand, or contract where it breaks old code.  Needs --allow unless effect.h
 * says that nobody waits. */
void plan_as_written(struct plan_work *work, const char *why);
/* The same without an undo, for who knows one; NULL: the server would refuse it. */
struct plan_step *plan_written(struct plan_work *work, const char *why);
/* Its leaf partitions, or itself. */
void plan_leaves(struct plan_work *work, const struct catalog_table *table, const struct catalog_table ***ret,
                 size_t *ret_count);
/* A name of ours for *part*, never longer than 63 bytes, the same in each run: _banyan_<part>, cut with a hash of the
 * version where it is too long or taken.  plan_kept_name(): of what is kept aside until cleanup. */
struct banyan_str plan_new_name(struct plan_work *work, const struct catalog_table *table, struct banyan_str part);
struct banyan_str plan_kept_name(struct plan_work *work, const struct catalog_table *table, struct banyan_str part);
/* The name that the server would give: table_columns_label, cut to 63 bytes, with a number where it is taken. */
struct banyan_str plan_server_name(struct plan_work *work, const struct catalog_table *table, struct banyan_str columns,
                                   const char *label);
/* NULL: none; marks it as used. */
const struct directive *plan_directive(struct plan_work *work, enum directive_kind kind,
                                       const struct catalog_table *table, struct banyan_str column);
/* Small enough to be read and written under a lock (rule 2). */
bool plan_is_small(const struct catalog_table *table);
/* It goes into plan.tables; plan.c does so for the table that a statement names. */
void plan_changes(struct plan_work *work, const struct catalog_table *table);
/* The same of what two tables have in common: only one unfinished migration may make it anew. */
void plan_changes_foreign(struct plan_work *work, const struct catalog_table *child, struct banyan_str name);
/* NULL: there is none; then it is refused, unless *missing_ok*. */
struct catalog_table *plan_find(struct plan_work *work, const PgQuery__RangeVar *name, bool missing_ok);
struct catalog_table *plan_by_oid(struct plan_work *work, uint32_t oid);

/* ---- plan_effect.c ---- */

/* What a statement does to the tables as the user sees them now. */
bool plan_effect(struct plan_work *work, const struct statement *statement, struct effect *ret);
/* The same of SQL of our own. */
bool plan_effect_sql(struct plan_work *work, struct banyan_str sql, struct effect *ret);
/* The same behind *before*, one statement or more of ours. */
bool plan_effect_behind(struct plan_work *work, struct banyan_str before, struct banyan_str sql, struct effect *ret);
/* The table is written anew, or read from end to end, while its writers wait; *perhaps*: or that is not known. */
const struct effect_relation *plan_heavy(const struct effect *effect, bool perhaps);
/* Locks and estimates of all steps, followed in the order in which they run over *catalog*, as it was at the start. */
void plan_measure(struct plan_work *work, struct catalog *catalog);

/* ---- one family each; false: not theirs ---- */

bool plan_column(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command);
bool plan_type(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command);
bool plan_constraint(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command);
bool plan_partition(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command);
bool plan_rename(struct plan_work *work, const PgQuery__RenameStmt *statement);
bool plan_index(struct plan_work *work);
bool plan_rows(struct plan_work *work);
bool plan_other(struct plan_work *work);
/* DROP TABLE (plan_drop.c), CREATE TABLE … PARTITION OF (plan_partition.c). */
bool plan_drop_table(struct plan_work *work);
bool plan_create_partition(struct plan_work *work);

/* ---- pieces that several families use ---- */

/* plan_swap.c: a column that the trigger of *table* holds from expand on.  *kept* not empty: in contract *from*
 * (SYNC_TO) or *to* (SYNC_BOTH) goes aside under that name and is held equal by the turned trigger until cleanup drops
 * it.  Several columns of one table have one trigger and one swap. */
void plan_sync(struct plan_work *work, const struct catalog_table *table, const struct sync_column *column,
               struct banyan_str kept);
/* The column gets another type by a swap, which sets the default that the migration says last. */
bool plan_swap_has_type(struct plan_work *work, const struct catalog_table *table, struct banyan_str column);
/* Behind the last statement: the triggers' steps and the swaps; called by plan.c. */
void plan_swap_finish(struct plan_work *work);

/* plan_column.c: NOT NULL, proven by a CHECK: NOT VALID in *check_in* (contract for columns that are there, backfill
 * for one that a trigger fills: triggers are made in expand), VALIDATE, SET NOT NULL, the CHECK dropped.  Less where
 * less will do. */
void plan_not_null(struct plan_work *work, const struct catalog_table *table, struct banyan_str column,
                   enum plan_phase check_in, enum plan_phase set_in);
/* From 18 on it is a constraint with a name of its own, and one that is NOT VALID proves nothing.  NULL: there is none,
 * or the server is older. */
const struct catalog_constraint *plan_not_null_of(const struct catalog_table *table, struct banyan_str column);
/* The same as plan_not_null(), as a constraint of that name; *like* gives NO INHERIT.  Both NULL or empty: neither. */
void plan_not_null_named(struct plan_work *work, const struct catalog_table *table, struct banyan_str column,
                         struct banyan_str name, const struct catalog_constraint *like, enum plan_phase check_in,
                         enum plan_phase set_in);
/* Adds it to *action*: "ADD CONSTRAINT name NOT NULL column", or SET NOT NULL where *name* is empty. */
void plan_not_null_sql(struct plan_work *work, struct plan_action *action, const struct catalog_table *table,
                       struct banyan_str column, struct banyan_str name, const struct catalog_constraint *like);
/* The same as actions that undo *step*; *value* fills NULLs first, as SQL over the table's columns; may be empty. */
void plan_not_null_undo(struct plan_work *work, struct plan_step *step, const struct catalog_table *table,
                        struct banyan_str column, struct banyan_str value);
/* DROP NOT NULL, however it was said; on a column of the server's. */
void plan_drop_not_null(struct plan_work *work, struct catalog_table *table, const struct catalog_column *column);
/* An expression of the user over the columns of *table*, as SQL over t: names mean what they mean to him. */
struct banyan_str plan_value(struct plan_work *work, const struct catalog_table *table, struct banyan_str expression);
/* plan_add_column.c: refuses a directive whose value is not assigned to *type*; false: rows cannot be asked for it
 * before expand, for it needs what the migration makes. */
bool plan_value_fits(struct plan_work *work, const struct catalog_table *table, const struct directive *directive,
                     struct banyan_str type);
/* ADD COLUMN, DROP COLUMN. */
void plan_add_column(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command);
void plan_drop_column(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command);
/* plan_rows.c: fill *column* of every leaf, batch by batch. */
void plan_fill(struct plan_work *work, const struct catalog_table *table, struct banyan_str set,
               struct banyan_str needs);
/* Backfill directives that no statement used: NULLs of a column that is there; called by plan.c behind the last
 * statement. */
void plan_rows_finish(struct plan_work *work);
/* plan_constraint.c: the steps of one constraint, its definition as SQL ("FOREIGN KEY (a) REFERENCES b (c)"). */
void plan_constraint_checked(struct plan_work *work, const struct catalog_table *table, struct banyan_str name,
                             struct banyan_str definition, enum plan_phase add_in, enum plan_phase validate_in);
/* VALIDATE CONSTRAINT. */
void plan_validate(struct plan_work *work, const struct catalog_table *table, struct banyan_str name);
/* plan_index.c: an index CONCURRENTLY, on a partitioned table leaf by leaf; undone by dropping it.  *definition* is
 * what follows the table: "USING btree (a, b) WHERE c". */
void plan_index_build(struct plan_work *work, const struct catalog_table *table, struct banyan_str name, bool unique,
                      struct banyan_str definition, enum plan_phase phase);

/* ---- plan_replace.c ---- */

/* The step made last drops it; *table* may be empty, *name* quoted, of a function with its arguments. */
void plan_gone(struct plan_work *work, const char *kind, struct banyan_str name, struct banyan_str table);
/* NULL: no step of the migration drops it. */
struct plan_step *plan_dropped_by(struct plan_work *work, const char *kind, struct banyan_str name,
                                  struct banyan_str table);
/* True: the statement at work makes again what was dropped; it is part of that step now, or was refused. */
bool plan_replaces(struct plan_work *work, const char *kind, struct banyan_str name, struct banyan_str table,
                   struct banyan_str undo);
/* The same of an index, which is to be built as *ret_name*. */
bool plan_replaces_index(struct plan_work *work, const struct catalog_table *table, struct banyan_str name,
                         struct banyan_str *ret_name);

/* ---- plan_ask.c ---- */

/* Cells of a query of the catalogs, row by row; none offline or after a failure.  plan_ask_one(): the first cell. */
struct banyan_str *plan_ask(struct plan_work *work, const char *sql, const struct banyan_str *params, size_t count,
                            size_t *ret_rows);
struct banyan_str plan_ask_one(struct plan_work *work, const char *sql, struct banyan_str param);
/* What depends on the column (empty: on the table or its row type), and neither goes with it nor is made again: the
 * body of a function, a publication's list of columns.  Empty: nothing. */
struct banyan_str plan_dependent(struct plan_work *work, const struct catalog_table *table, struct banyan_str column);
/* The index of REPLICA IDENTITY that the column is part of.  Empty: none. */
struct banyan_str plan_identity_index(struct plan_work *work, const struct catalog_table *table, int column);
/* Refuses batches where a rule is in the way of *event*: '2' UPDATE, '3' INSERT. */
void plan_rules(struct plan_work *work, const struct catalog_table *table, char event);
/* The undo of *step* ends with the comment of the constraint, where it has one. */
void plan_comment_again(struct plan_work *work, struct plan_step *step, const struct catalog_table *table,
                        struct banyan_str constraint);
/* By a relation or a constraint of the schema, or by a step of the plan. */
bool plan_name_is_used(struct plan_work *work, const struct catalog_table *table, struct banyan_str name);

/* "schema"."name": of an index or a sequence beside *table*. */
struct banyan_str plan_relation(struct plan_work *work, const struct catalog_table *table, struct banyan_str name);

/* Where actions go: each a step of *phase*, or all of them behind those that undo *undoes*.  So one function makes a
 * thing, and brings it back where it was dropped. */
struct plan_sink {
    struct plan_work *work;
    struct plan_step *undoes; /* NULL: steps */
    enum plan_phase phase;
};
struct plan_action *plan_emit(struct plan_sink *sink, const char *name, enum plan_kind kind, enum plan_retry retry,
                              struct banyan_str title);
/* An action that undoes the step made last; NULL where the sink undoes itself. */
struct plan_action *plan_emit_undo(struct plan_sink *sink, enum plan_kind kind, enum plan_retry retry);

/* plan_index.c: one index CONCURRENTLY; the same of the server's own text of it. */
void plan_emit_index(struct plan_sink *sink, const struct catalog_table *table, struct banyan_str name, bool unique,
                     struct banyan_str definition);
void plan_restore_index(struct plan_sink *sink, const struct catalog_table *table, struct banyan_str name,
                        struct banyan_str definition);
struct banyan_str plan_index_concurrently(struct plan_work *work, struct banyan_str definition);

#endif
