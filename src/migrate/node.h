/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the trees of libpg_query: names, kinds, small questions.  The only files that include its headers are those
 * that include this one, and statement.c.
 */
#ifndef MIGRATE_NODE_H
#define MIGRATE_NODE_H

#include <pg_query/pg_query.pb-c.h>

#include "migrate/statement.h"

enum statement_kind node_statement_kind(const PgQuery__Node *node);
/* Is it SELECT of one target and of nothing else?  For expressions that came as text. */
bool node_is_one_expression(const PgQuery__Node *node);

#endif
