/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for people and JSON for scripts, from the same rows. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stdio.h>

struct table;

/* Columns are named for JSON; people see them in capitals. */
struct table *table_new(const char *name, const char *const *columns, size_t count);
/* One row; *cells* are copied. */
void table_add(struct table *table, const char *const *cells);
void table_print(struct table *table, FILE *out, bool json);
void table_free(struct table *table); /* NULL allowed */

#endif
