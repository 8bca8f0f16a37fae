/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of effect.h share: one statement at work.  A failure of the world stays in *st*. */
#ifndef MIGRATE_EFFECT_INT_H
#define MIGRATE_EFFECT_INT_H

#include "banyan/attributes.h"
#include "migrate/effect.h"
#include "migrate/node.h"

struct effect_work {
    const struct statement *statement;
    struct catalog *catalog;
    struct banyan_arena *arena;
    struct effect *ret;
    struct banyan_error *err;
    enum banyan_status st; /* sticky */
};

/* ---- effect.c ---- */

void effect_fails(struct effect_work *work, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
void effect_not_understood(struct effect_work *work, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
void effect_note(struct effect_work *work, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
bool effect_goes_on(const struct effect_work *work); /* no failure of any kind so far */

struct effect_relation *effect_named(struct effect_work *work, struct banyan_str name);
struct effect_relation *effect_lock(struct effect_work *work, const struct catalog_table *table, enum effect_lock lock);
struct effect_relation *effect_lock_index(struct effect_work *work, const struct catalog_table *table,
                                          const struct catalog_index *index, enum effect_lock lock);
/* All indexes of it. */
void effect_lock_indexes(struct effect_work *work, const struct catalog_table *table, enum effect_lock lock);
void effect_scan(struct effect_work *work, const struct catalog_table *table, enum effect_certainty certainty);
/* It is read, whole or by an index, as the planner likes. */
void effect_scan_by_plan(struct effect_work *work, const struct catalog_table *table);
/* A new index: it has no lock of its own, its table is read. */
void effect_build(struct effect_work *work, const struct catalog_table *table, struct banyan_str name);
/* The whole table and those of its indexes that stay the same are written. */
void effect_rewrite(struct effect_work *work, const struct catalog_table *table, enum effect_certainty certainty);

/* NULL: there is none; then the statement fails, unless *missing_ok*. */
struct catalog_table *effect_find(struct effect_work *work, const PgQuery__RangeVar *name, bool missing_ok);
struct catalog_table *effect_by_oid(struct effect_work *work, uint32_t oid);
/* The same by a list of names: [schema,] name. */
struct catalog_table *effect_find_list(struct effect_work *work, PgQuery__Node *const *names, size_t count,
                                       bool missing_ok);
/* The name that the server would choose: table_column_label. */
struct banyan_str effect_new_name(struct effect_work *work, const struct catalog_table *table,
                                  struct banyan_str columns, const char *label);
/* May it hold rows?  PERHAPS where that is not known. */
enum effect_certainty effect_has_rows(const struct catalog_table *table);
/* Servers from 18 on take some locks less, and some more. */
static inline bool effect_is_18(const struct effect_work *work)
{
    return catalog_server_version(work->catalog) >= 180000;
}
static inline bool effect_is_partitioned(const struct catalog_table *table)
{
    return table->kind == 'p';
}

/* ---- effect_expression.c ---- */

/* Does its value differ from row to row? */
enum effect_certainty effect_is_volatile(struct effect_work *work, const PgQuery__Node *expression);
/* Locks that follow from what the expression does when it is looked at: sequences. */
void effect_lock_sequences(struct effect_work *work, const PgQuery__Node *expression);
/* "a IS NOT NULL" is a part of it that has to hold. */
bool effect_proves_not_null(const struct catalog_constraint *check, struct banyan_str column);

/* ---- effect_type.c ---- */

struct effect_type_change {
    enum effect_certainty rewrite;
    bool same_operators; /* an index on the column can be kept */
    bool refused;        /* there is no cast without USING */
};
struct catalog_type effect_type(struct effect_work *work, const PgQuery__TypeName *name);
struct effect_type_change effect_type_change(struct effect_work *work, const struct catalog_column *column,
                                             const PgQuery__ColumnDef *definition);

/* ---- families ---- */

void effect_alter_table(struct effect_work *work, const PgQuery__AlterTableStmt *statement);
/* ALTER TABLE … ALTER TYPE of one column. */
void effect_alter_type(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command);
void effect_add_constraint(struct effect_work *work, struct catalog_table *table, const PgQuery__Constraint *constraint,
                           bool recurse);
/* A foreign key to *constraint*->pktable; *validate*: rows are there to be checked. */
void effect_add_foreign(struct effect_work *work, struct catalog_table *table, const PgQuery__Constraint *constraint,
                        enum effect_certainty validate);
/* Read both sides of a foreign key. */
void effect_check_foreign(struct effect_work *work, const struct catalog_table *table,
                          const struct catalog_table *referenced);
void effect_attach(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command);
void effect_detach(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command);
void effect_create_table(struct effect_work *work, const PgQuery__CreateStmt *statement);
void effect_drop(struct effect_work *work, const PgQuery__DropStmt *statement);
/* One relation goes, with what it drags along. */
void effect_drop_table(struct effect_work *work, const struct catalog_table *table, bool cascade);
void effect_drop_dependents(struct effect_work *work, const struct catalog_table *table,
                            const struct catalog_columns *columns, bool cascade);
/* Of a unique index: at each level all columns that its rows are told apart by.  *keys*: names, or elements of an
 * index. */
void effect_needs_partition_keys(struct effect_work *work, const struct catalog_table *table,
                                 PgQuery__Node *const *keys, size_t count, bool recurse);
void effect_create_index(struct effect_work *work, const PgQuery__IndexStmt *statement);
void effect_reindex(struct effect_work *work, const PgQuery__ReindexStmt *statement);
void effect_cluster(struct effect_work *work, const PgQuery__ClusterStmt *statement);
void effect_rename(struct effect_work *work, const PgQuery__RenameStmt *statement);
void effect_domain(struct effect_work *work, const PgQuery__AlterDomainStmt *statement);
void effect_data(struct effect_work *work, const PgQuery__Node *node);
/* Tables that a query reads or writes. */
void effect_query(struct effect_work *work, const PgQuery__Node *node);
void effect_other(struct effect_work *work, const PgQuery__Node *node);

#endif
