/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hangs on a column, as the SQL that makes it: read from the server, and said again over other columns.
 *
 *   pg_get_indexdef()      CREATE UNIQUE INDEX orders_ref ON orders USING btree (ref) WHERE open
 *   definition_index_over  USING btree ("_banyan_ref") WHERE open
 *
 * Names are replaced in the parser's tree, never in text: a column may be called like a function or a type.
 *
 * Threads: as the catalog.
 */
#ifndef MIGRATE_DEFINITION_H
#define MIGRATE_DEFINITION_H

#include "migrate/catalog.h"

struct definition_index {
    struct banyan_str schema, name; /* as they are, not quoted */
    struct banyan_str text;         /* CREATE INDEX … */
    struct banyan_str comment;      /* data NULL: none */
    bool clustered;                 /* the table is CLUSTERed ON it */
    bool identity;                  /* REPLICA IDENTITY USING INDEX */
};
struct definition_constraint {
    struct banyan_str text; /* "CHECK (price > 0)" */
    struct banyan_str comment;
    struct banyan_str deferred; /* " DEFERRABLE INITIALLY DEFERRED", or empty */
};
struct definition_column {
    struct banyan_str expression;                /* of its default; data NULL: none */
    char identity;                               /* 'a' always, 'd' by default; 0: none */
    struct banyan_str sequence_schema, sequence; /* that it owns; data NULL: none */
    struct banyan_str sequence_options;          /* "START WITH 1 INCREMENT BY 1 …" */
    /* What follows ALTER TABLE table ALTER column: SET STATISTICS 500, SET (n_distinct=5). */
    struct banyan_str *settings;
    size_t setting_count;
    struct banyan_str comment;
    struct definition_grant {
        struct banyan_str privilege, grantee; /* quoted, or PUBLIC */
        bool grantable;
    } * grants;
    size_t grant_count;
};
/* Views that read the columns, and views that read those: first those that come first. */
struct definition_view {
    struct banyan_str schema, name;
    struct banyan_str *statements; /* that make it again, with grants, comments, rules, triggers, owner */
    size_t statement_count;
};
struct definition_views {
    struct definition_view *views;
    size_t view_count;
    struct banyan_str obstacle; /* what depends on one of them and cannot be made again; empty: nothing */
};
/* Extended statistics. */
struct definition_statistics {
    struct banyan_str schema, name, text;
    struct banyan_str more[3]; /* statements behind it: its target, comment, owner; data NULL: none */
};

BANYAN_MUST_CHECK enum banyan_status definition_index(struct catalog *catalog, uint32_t oid,
                                                      struct definition_index *ret, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status definition_constraint(struct catalog *catalog, uint32_t table,
                                                           struct banyan_str name, struct definition_constraint *ret,
                                                           struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status definition_column(struct catalog *catalog, uint32_t table, int number,
                                                       struct definition_column *ret, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status definition_views(struct catalog *catalog, const struct catalog_table *table,
                                                      const struct catalog_columns *columns,
                                                      struct definition_views *ret, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status definition_statistics(struct catalog *catalog, const struct catalog_table *table,
                                                           const struct catalog_columns *columns,
                                                           struct definition_statistics **ret, size_t *ret_count,
                                                           struct banyan_error *err);
/* Labels of an enum, NULL where *type* (as to_regtype() takes it) is none or is not there. */
BANYAN_MUST_CHECK enum banyan_status definition_labels(struct catalog *catalog, struct banyan_str type,
                                                       struct banyan_str **ret, size_t *ret_count,
                                                       struct banyan_error *err);

/* ---- over other columns; pure ---- */

struct definition_name {
    struct banyan_str from, to;
};
struct definition_names {
    const struct definition_name *names;
    size_t count;
};
/* What follows the table: "USING btree (a, b) WHERE c".  data NULL: the parser does not know it. */
struct banyan_str definition_index_over(struct banyan_str text, struct definition_names names,
                                        struct banyan_arena *arena);
/* *referenced*: columns of the other table of a foreign key.  Without NOT VALID. */
struct banyan_str definition_constraint_over(struct banyan_str text, struct definition_names own,
                                             struct definition_names referenced, struct banyan_arena *arena);

#endif
