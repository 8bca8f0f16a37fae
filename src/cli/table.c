/* SPDX-License-Identifier: Apache-2.0 */
/* Tables through libsmartcols, which also prints JSON. */
#include "cli/table.h"

#include <libsmartcols.h>
#include <stdlib.h>

#include "base/alloc.h"

struct table {
    struct libscols_table *table;
    size_t columns;
};

struct table *table_new(const char *name, const char *const *columns, size_t count)
{
    struct table *table = alloc_zeroed(1, sizeof(*table));
    table->table = scols_new_table();
    table->columns = count;
    scols_table_set_name(table->table, name);
    for (size_t i = 0; i < count; i++)
        scols_table_new_column(table->table, columns[i], 0, i + 1 == count ? SCOLS_FL_WRAP : 0);
    return table;
}

void table_add(struct table *table, const char *const *cells)
{
    struct libscols_line *line = scols_table_new_line(table->table, NULL);
    for (size_t i = 0; i < table->columns; i++)
        scols_line_set_data(line, i, cells[i] == NULL ? "" : cells[i]);
}

void table_print(struct table *table, FILE *out, bool json)
{
    scols_table_set_stream(table->table, out);
    scols_table_enable_json(table->table, json);
    scols_print_table(table->table);
    if (json)
        fputc('\n', out);
}

void table_free(struct table *table)
{
    if (table == NULL)
        return;
    scols_unref_table(table->table);
    free(table);
}
