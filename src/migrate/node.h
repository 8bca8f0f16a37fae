/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the trees of libpg_query: names, kinds, small questions.  The only files that include its headers are those
 * that include this one, and statement.c.
 */
#ifndef MIGRATE_NODE_H
#define MIGRATE_NODE_H

#include <pg_query/pg_query.pb-c.h>

#include "banyan/arena.h"
#include "migrate/statement.h"

enum statement_kind node_statement_kind(const PgQuery__Node *node);
/* Is it SELECT of one target and of nothing else?  For expressions that came as text. */
bool node_is_one_expression(const PgQuery__Node *node);

/* Every message of a tree, parents first: by the descriptors of protobuf-c, so that no kind of node is forgotten. */
typedef void (*node_visit_fn)(void *context, const ProtobufCMessage *message);
void node_walk(const ProtobufCMessage *message, node_visit_fn visit, void *context);
/* Is a column, or a relation, of that name mentioned anywhere below? */
bool node_mentions(const ProtobufCMessage *message, struct banyan_str column);
bool node_reads(const ProtobufCMessage *message, struct banyan_str relation);

/* The tree as SQL again, by libpg_query's deparser; in *arena*.  data NULL: it cannot.  A tree may be a shallow copy
 * with parts left out.  Of names it keeps what was written: without a schema they depend on search_path. */
struct banyan_str node_deparse(const PgQuery__Node *statement, struct banyan_arena *arena);
struct banyan_str node_deparse_expression(const PgQuery__Node *expression, struct banyan_arena *arena);
struct banyan_str node_deparse_type(PgQuery__TypeName *type, struct banyan_arena *arena);
/* One command of ALTER TABLE on a table named t, behind the words *head* ("ADD CONSTRAINT c "). */
struct banyan_str node_deparse_command(PgQuery__AlterTableCmd *command, const char *head, struct banyan_arena *arena);

#endif
