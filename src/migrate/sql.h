/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL text from parts.  Whatever comes from a catalog or a user goes through one of the quoting conversions; nothing
 * else in this room puts names into SQL.
 *
 *   %I  struct banyan_str, or %i const char *     an identifier, quoted
 *   %T  const struct catalog_table *              "schema"."name", both quoted; just "name" where it has no schema
 *   %L  struct banyan_str                         a literal, quoted
 *   %S  struct banyan_str                         SQL as it is: an expression or type that was deparsed or came from
 * the server %s  const char *                              SQL of our own %d  int64_t
 */
#ifndef MIGRATE_SQL_H
#define MIGRATE_SQL_H

#include <stdarg.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "migrate/catalog.h"

/* Text in *arena*; a format that is not known is a mistake of the programmer and aborts. */
struct banyan_str sql_make(struct banyan_arena *arena, const char *format, ...);
struct banyan_str sql_make_list(struct banyan_arena *arena, const char *format, va_list list);

#endif
