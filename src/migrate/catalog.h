/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the schema that a migration meets: read from a server, or nothing (offline), and changed by who
 * follows a migration, so that a table made two lines above is known to be empty.
 *
 * "Not known" is a value of its own everywhere: who judges has to take the worst case and say so.  Tables refer to each
 * other by oid; tables that the migration makes have oids from CATALOG_MADE on.
 *
 * Threads: one at a time.
 */
#ifndef MIGRATE_CATALOG_H
#define MIGRATE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/error.h"
#include "banyan/types.h"
#include "pg/conn.h"

enum {
    CATALOG_UNKNOWN = -1,
    CATALOG_COLUMNS_MAX = 256, /* of a set; those behind share the last bit */
};
#define CATALOG_MADE 0xF0000000U

enum catalog_volatility {
    CATALOG_VOLATILITY_UNKNOWN = 0,
    CATALOG_IMMUTABLE,
    CATALOG_STABLE,
    CATALOG_VOLATILE,
};

/* Bit: attribute number - 1. */
struct catalog_columns {
    uint64_t bits[CATALOG_COLUMNS_MAX / 64];
};
void catalog_columns_add(struct catalog_columns *set, int number);
bool catalog_columns_has(const struct catalog_columns *set, int number);

/* A type as pg_type has it: "varchar", 24; of a domain its base type. */
struct catalog_type {
    struct banyan_str name;
    int32_t modifier; /* -1: none */
    bool known, is_array, is_domain;
    bool constrained; /* a domain with a CHECK or NOT NULL */
};

struct catalog_column {
    struct banyan_str name;
    struct banyan_str shown; /* as format_type() says: "numeric(10,2)" */
    int number;
    struct catalog_type type;
    bool not_null, has_default, is_identity, is_generated, inherited;
    bool is_virtual;                 /* generated, from 18 on: nothing of it is stored */
    struct banyan_str collation;     /* where it is not the type's own */
    uint32_t sequence;               /* owned by it; 0: none */
    struct banyan_str default_value; /* as SQL; of a generated column its expression; data NULL: none */
    bool identity_always;
    bool made_here;    /* by an earlier statement of the same migration */
    bool changed_here; /* its type or its name, by one */
};

struct catalog_index {
    uint32_t oid;
    struct banyan_str name; /* as it is found */
    bool unique, primary, valid, partial, has_expressions, exclusion;
    bool of_constraint;
    struct catalog_columns columns; /* of the key; and what expressions and the predicate mention */
    struct catalog_columns keys;
    int64_t bytes;
    struct banyan_str definition; /* pg_get_indexdef(); data NULL: not known */
};

enum catalog_constraint_kind {
    CATALOG_CHECK = 'c',
    CATALOG_FOREIGN = 'f',
    CATALOG_PRIMARY = 'p',
    CATALOG_UNIQUE = 'u',
    CATALOG_EXCLUSION = 'x',
    CATALOG_TRIGGER = 't',
    CATALOG_NOT_NULL = 'n', /* from 18 on */
};
struct PgQuery__Node; /* of pg_query.pb-c.h */
struct catalog_constraint {
    struct banyan_str name;
    char kind; /* enum catalog_constraint_kind */
    bool validated;
    bool unenforced; /* NOT ENFORCED, from 18 on: nobody checks it */
    bool inherited;  /* from a parent: cannot be dropped alone */
    struct catalog_columns columns, referenced_columns;
    uint32_t table, referenced;   /* referenced: of a foreign key */
    uint32_t index;               /* that it is made of, or rests on */
    struct banyan_str expression; /* of a CHECK, as text; or, of the migration's own, as */
    const struct PgQuery__Node *tree;
    struct banyan_str definition; /* pg_get_constraintdef(): "CHECK ((a > 0)) NOT VALID"; data NULL: not known */
};

/* What stands in the way of a type change or a drop. */
struct catalog_dependent {
    char kind;              /* v: view, m: materialized view, u: rule, p: policy, t: trigger UPDATE OF, g: generated */
    struct banyan_str name; /* as it is found */
    uint32_t oid;           /* of a view; column number of a generated column */
    struct catalog_columns columns;
    bool whole; /* of the table, not only of columns */
};

struct catalog_table {
    uint32_t oid;
    struct banyan_str schema, name;
    struct banyan_str shown; /* "orders", or "sales.orders" where the search path does not find it */
    bool known;              /* false: offline, nothing below is known */
    bool stale;              /* changed by a statement of the migration in a way that was not followed */
    bool made_here;          /* by an earlier statement of the same migration: empty and of nobody else's */
    char kind;               /* pg_class.relkind; 0 where not known */
    char persistence;        /* p, u, t */
    char identity;           /* pg_class.relreplident */
    int64_t rows, bytes;     /* estimate; CATALOG_UNKNOWN */
    bool is_partition;
    uint32_t default_partition; /* of a partitioned table; 0: none */
    uint32_t parent;            /* of a partition or child, or the table of an index */
    struct banyan_str partition_condition;
    struct catalog_columns partition_keys;
    struct catalog_column *columns;
    size_t column_count;
    struct catalog_index *indexes;
    size_t index_count;
    struct catalog_constraint *constraints; /* its own */
    size_t constraint_count;
    struct catalog_constraint *references; /* foreign keys of others to this table */
    size_t reference_count;
    struct catalog_dependent *dependents;
    size_t dependent_count;
    uint32_t *children; /* partitions, inheritance */
    size_t child_count;
    struct banyan_str *triggers;
    size_t trigger_count;
    uint32_t *sources; /* of a view, once catalog_view_sources() was asked: what it reads */
    size_t source_count;
};

struct catalog_function {
    enum catalog_volatility volatility; /* the worst of the overloads */
    struct banyan_str body;             /* of a function in SQL that the planner may inline; data NULL: none */
};

struct catalog;

/* Nothing is known but the version (150000 is assumed where 0). */
struct catalog *catalog_offline(int server_version);
/* Tables are read when they are asked for, over *conn* (borrowed). */
BANYAN_MUST_CHECK enum banyan_status catalog_open(struct pg_conn *conn, struct catalog **ret, struct banyan_error *err);
/* As it is now, to be changed on its own; texts are borrowed from *catalog*. */
struct catalog *catalog_copy(const struct catalog *catalog);
/* What was made and changed so far is there now, for everybody: another migration begins. */
void catalog_settle(struct catalog *catalog);
void catalog_free(struct catalog *catalog); /* NULL allowed */

bool catalog_is_offline(const struct catalog *catalog);
int catalog_server_version(const struct catalog *catalog);
/* TimeZone is UTC in the session that migrates: timestamp and timestamptz change into each other without a rewrite. */
bool catalog_zone_is_utc(const struct catalog *catalog);
/* What the catalog gives lives in it. */
struct banyan_arena *catalog_arena(struct catalog *catalog);

/* Quoted schemas of the search path, those that are there: "\"sales\", public".  Empty: offline. */
BANYAN_MUST_CHECK enum banyan_status catalog_search_path(struct catalog *catalog, struct banyan_str *ret,
                                                         struct banyan_error *err);
/* A question of one's own.  INVALID: offline. */
BANYAN_MUST_CHECK enum banyan_status catalog_query(struct catalog *catalog, const char *sql,
                                                   const struct pg_param *params, size_t param_count,
                                                   struct pg_result **ret, struct banyan_error *err);

/* Any relation, also an index or a view.  *ret NULL: it is known not to exist.  Offline: one that is not known, unless
 * it was made here.  May be changed by who applies a statement. */
BANYAN_MUST_CHECK enum banyan_status catalog_table(struct catalog *catalog, struct banyan_str schema,
                                                   struct banyan_str name, struct catalog_table **ret,
                                                   struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status catalog_by_oid(struct catalog *catalog, uint32_t oid, struct catalog_table **ret,
                                                    struct banyan_error *err);
/* A table that a statement makes: known, empty, without columns. */
struct catalog_table *catalog_make(struct catalog *catalog, struct banyan_str schema, struct banyan_str name);
/* It is gone. */
void catalog_forget(struct catalog *catalog, struct catalog_table *table);
/* It has another name; its oid stays. */
void catalog_rename(struct catalog *catalog, struct catalog_table *table, struct banyan_str name);

BANYAN_MUST_CHECK enum banyan_status catalog_function(struct catalog *catalog, struct banyan_str schema,
                                                      struct banyan_str name, unsigned arguments,
                                                      struct catalog_function *ret, struct banyan_error *err);
/* A type that the parser does not know by heart. *ret->known false: not known, or none. */
BANYAN_MUST_CHECK enum banyan_status catalog_type(struct catalog *catalog, struct banyan_str schema,
                                                  struct banyan_str name, struct catalog_type *ret,
                                                  struct banyan_error *err);
enum catalog_cast {
    CATALOG_CAST_UNKNOWN = 0,
    CATALOG_CAST_NONE,     /* no assignment without USING */
    CATALOG_CAST_BINARY,   /* same bytes */
    CATALOG_CAST_FUNCTION, /* values are computed */
};
/* What an assignment of one to the other does, by names of pg_type. */
BANYAN_MUST_CHECK enum banyan_status catalog_cast(struct catalog *catalog, struct banyan_str from, struct banyan_str to,
                                                  bool explicit_cast, enum catalog_cast *ret, struct banyan_error *err);
/* Fills the sources of *view*. */
BANYAN_MUST_CHECK enum banyan_status catalog_view_sources(struct catalog *catalog, struct catalog_table *view,
                                                          struct banyan_error *err);
/* Oids of the tables that have a column of the domain. */
BANYAN_MUST_CHECK enum banyan_status catalog_domain_users(struct catalog *catalog, struct banyan_str schema,
                                                          struct banyan_str name, uint32_t **ret, size_t *ret_count,
                                                          struct banyan_error *err);

/* Any query of the catalogs: its cells, row by row, in *ret; data NULL is NULL.  No rows offline. */
BANYAN_MUST_CHECK enum banyan_status catalog_ask(struct catalog *catalog, const char *sql,
                                                 const struct banyan_str *params, size_t param_count,
                                                 struct banyan_str **ret, size_t *ret_rows, struct banyan_error *err);

const struct catalog_column *catalog_column(const struct catalog_table *table, struct banyan_str name);
const struct catalog_constraint *catalog_constraint(const struct catalog_table *table, struct banyan_str name);

#endif
