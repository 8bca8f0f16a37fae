/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What plan_swap.c, plan_hang.c, plan_type.c and plan_rename.c share: the columns of one table that change places, and
 * the two transactions (there and back) that grow while all that hangs on them is looked at.
 *
 *   backfill   fill ▶ NOT NULL ▶ helper indexes ▶ helper constraints, over the shadow columns
 *   contract   one transaction: forward[0], forward[1], …
 *   undo       indexes ▶ NOT NULL ▶ one transaction: backward[0], backward[1], … ▶ VALIDATE
 *
 * Statements of a section run before those of the next, whoever added them.
 */
#ifndef MIGRATE_PLAN_SWAP_H
#define MIGRATE_PLAN_SWAP_H

#include "migrate/definition.h"
#include "migrate/plan_int.h"

enum swap_section {
    SWAP_VIEWS_OFF = 0, /* before the tables are locked, the others behind that */
    SWAP_TRIGGER_OFF,
    SWAP_NAMES_BACK, /* renames of the user's, undone: what follows knows the old names */
    SWAP_FOREIGN_OFF,
    SWAP_CONSTRAINTS_OFF,
    SWAP_ASIDE,   /* names that are needed for others */
    SWAP_COLUMNS, /* of a new type, and the old one's */
    SWAP_MAKE,    /* defaults, sequences, NOT NULL */
    SWAP_KEYS,    /* indexes and what rests on them */
    SWAP_FOREIGN,
    SWAP_SMALL, /* comments, marks */
    SWAP_VIEWS,
    SWAP_NAMES, /* renames of the user's: views follow them by themselves */
    SWAP_TRIGGER,
    SWAP_SECTIONS,
};

struct swap_list {
    struct banyan_str *items;
    size_t count, capacity;
};
struct swap_index { /* to be built before the way back */
    struct banyan_str schema, name, definition;
};
struct swap_validation { /* behind the way back */
    const struct catalog_table *table;
    struct banyan_str name;
};

struct swap_column {
    struct sync_column sync;
    struct banyan_str kept; /* empty: filled only */
    /* Of a type change; the rest is empty for a rename. */
    const struct catalog_column *column;
    struct banyan_str type;
    struct banyan_str back;        /* value of the kept one from the live one, $ stands for it */
    struct banyan_str zone;        /* that a time of the old type is in, as a literal; empty: another change */
    struct banyan_str fits;        /* function that tells whether a value goes into the new type; empty: all do */
    struct definition_column hang; /* default, sequence, … */
    bool user_wrote;               /* names that need the search path */
};

struct plan_swap {
    const struct catalog_table *table;
    struct swap_column *columns;
    size_t column_count;
    size_t of;       /* the statement of the last column */
    bool finished;   /* is in contract already */
    bool needs_path; /* a column's user_wrote */
    struct swap_list forward[SWAP_SECTIONS], backward[SWAP_SECTIONS];
    struct swap_index *indexes;
    size_t index_count;
    struct swap_validation *validations;
    size_t validation_count;
    const struct catalog_table **others; /* locked together with the table */
    size_t other_count;
};

/* ---- plan_swap.c ---- */

void swap_add(struct plan_work *work, const struct catalog_table *table, const struct swap_column *column);
struct plan_swap *swap_find(struct plan_work *work, uint32_t table);
/* Statement *at* of the migration, where it is an ALTER TABLE of *table*; NULL. */
const PgQuery__AlterTableStmt *swap_alter_of(struct plan_work *work, size_t at, const struct catalog_table *table);
/* sql_make() onto a section. */
void swap_sql(struct plan_work *work, struct swap_list *section, const char *format, ...);
static inline bool swap_is_type(const struct swap_column *column)
{
    return column->type.size > 0;
}

/* ---- plan_hang.c ---- */

/* All that hangs on the columns of the swap: backfill steps at once, the rest into the sections. */
void hang_all(struct plan_work *work, struct plan_swap *swap);
/* Behind contract: NOT NULL of the column that was kept aside, which is proven. */
void swap_not_null_back(struct plan_work *work, const struct plan_swap *swap, const struct swap_column *column,
                        struct plan_action *action);
/* A foreign key of another swap's table has both its ends in swaps. */
bool hang_is_double(struct plan_work *work, const struct catalog_constraint *foreign);

#endif
