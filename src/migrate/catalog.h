/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the schema that a migration meets: read from a server, or nothing (offline), and changed by each
 * statement that was looked at before (effect_apply()), so that a table made two lines above is known to be empty.
 *
 * "Not known" is a value of its own everywhere: who judges has to take the worst case and say so.
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
};

enum catalog_volatility {
    CATALOG_VOLATILITY_UNKNOWN = 0,
    CATALOG_IMMUTABLE,
    CATALOG_STABLE,
    CATALOG_VOLATILE,
};

struct catalog_column {
    struct banyan_str name;
    struct banyan_str type; /* as format_type() says: "numeric(10,2)" */
    uint32_t type_oid;
    int32_t type_modifier;
    bool not_null, has_default, is_identity, is_generated, dropped;
    bool domain_constrained; /* a domain with a CHECK or NOT NULL */
    struct banyan_str collation;
};

struct catalog_index {
    struct banyan_str name;
    bool unique, primary, valid, ready, partial, has_expressions, exclusion;
    uint64_t columns[4];   /* bit: attribute number - 1 of the key, for tables of up to 256 columns */
    uint64_t mentioned[4]; /* in expressions or the predicate */
    int64_t bytes;
};

enum catalog_constraint_kind {
    CATALOG_CHECK = 'c',
    CATALOG_FOREIGN = 'f',
    CATALOG_PRIMARY = 'p',
    CATALOG_UNIQUE = 'u',
    CATALOG_EXCLUSION = 'x',
};
struct catalog_constraint {
    struct banyan_str name;
    enum catalog_constraint_kind kind;
    bool validated;
    uint64_t columns[4];
    struct banyan_str referenced; /* table, of a foreign key */
    struct banyan_str definition; /* pg_get_constraintdef() */
};

/* What stands in the way of a type change or a drop: a view, a rule, a policy, a trigger UPDATE OF, a generated column.
 */
struct catalog_dependent {
    struct banyan_str kind, name;
    uint64_t columns[4];
};

struct catalog_table {
    struct banyan_str schema, name;
    char kind;           /* pg_class.relkind */
    int64_t rows, bytes; /* estimate; CATALOG_UNKNOWN */
    bool made_here;      /* by an earlier statement of the same migration: empty and of nobody else's */
    bool has_row_security, has_triggers, is_partition, in_publication;
    struct banyan_str default_partition; /* of a partitioned table */
    struct banyan_str parent;            /* of a partition or child */
    struct catalog_column *columns;
    size_t column_count;
    struct catalog_index *indexes;
    size_t index_count;
    struct catalog_constraint *constraints;
    size_t constraint_count;
    struct catalog_constraint *references; /* foreign keys of others to this table; *referenced* is then the child */
    size_t reference_count;
    struct catalog_dependent *dependents;
    size_t dependent_count;
    struct banyan_str *partitions;
    size_t partition_count;
};

struct catalog;

/* Nothing is known but the version (150000 is assumed where 0). */
struct catalog *catalog_offline(int server_version);
/* Tables are read when they are asked for, over *conn* (borrowed). */
BANYAN_MUST_CHECK enum banyan_status catalog_open(struct pg_conn *conn, struct catalog **ret, struct banyan_error *err);
void catalog_free(struct catalog *catalog); /* NULL allowed */

bool catalog_is_offline(const struct catalog *catalog);
int catalog_server_version(const struct catalog *catalog);
/* TimeZone is UTC: timestamp and timestamptz can be changed into each other without a rewrite. */
bool catalog_zone_is_utc(const struct catalog *catalog);

/* *ret NULL: it is known not to exist.  Offline: NOT_FOUND without a text unless it was made here. */
BANYAN_MUST_CHECK enum banyan_status catalog_table(struct catalog *catalog, struct banyan_str schema,
                                                   struct banyan_str name, const struct catalog_table **ret,
                                                   struct banyan_error *err);
/* Of a function by name and number of arguments; the worst of the overloads. */
enum catalog_volatility catalog_volatility(struct catalog *catalog, struct banyan_str schema, struct banyan_str name,
                                           unsigned arguments);

#endif
