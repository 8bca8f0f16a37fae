/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Foreign keys that a migration is about to add.  Few rows of a table rarely have all their parents among few rows of
 * another: what is missing only because it was not copied must not look like a failure of the migration.  Whether the
 * real rows fit is counted by start, on the real database.
 */
#include "migrate/node.h"
#include "migrate/rehearse_int.h"
#include "migrate/sql.h"

struct finding {
    struct banyan_arena *arena;
    const PgQuery__RangeVar *table; /* of the ALTER TABLE at work */
    struct banyan_str *deletes;
    size_t count;
};

static struct banyan_str name_of(const PgQuery__RangeVar *table, struct banyan_arena *arena)
{
    if (table->schemaname != NULL && table->schemaname[0] != '\0')
        return sql_make(arena, "%i.%i", table->schemaname, table->relname);
    return sql_make(arena, "%i", table->relname);
}

static const char *string_of(const PgQuery__Node *node)
{
    return node->node_case == PG_QUERY__NODE__NODE_STRING ? node->string->sval : NULL;
}

/* Where the parent's columns are left out they are its primary key, which the catalog of the copy knows. */
static struct banyan_str parent_column(const PgQuery__Constraint *key, size_t at, struct banyan_arena *arena)
{
    if (key->n_pk_attrs == key->n_fk_attrs && string_of(key->pk_attrs[at]) != NULL)
        return sql_make(arena, "p.%i", string_of(key->pk_attrs[at]));
    return (struct banyan_str){NULL, 0};
}

static struct banyan_str primary_match(const PgQuery__Constraint *key, struct banyan_arena *arena)
{
    /* One column: the usual case.  The key of several, without names, is left to the server's verdict. */
    if (key->n_fk_attrs != 1 || string_of(key->fk_attrs[0]) == NULL)
        return (struct banyan_str){NULL, 0};
    return sql_make(arena,
                    "to_jsonb(p) ->> (SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = "
                    "i.indrelid AND a.attnum = i.indkey[0] WHERE i.indisprimary AND i.indrelid = %L::regclass) = "
                    "to_jsonb(c) ->> %L",
                    name_of(key->pktable, arena), banyan_str_of(string_of(key->fk_attrs[0])));
}

static void add_key(struct finding *all, const PgQuery__Constraint *key)
{
    struct banyan_str matches = {NULL, 0}, filled = BANYAN_STR("true"), child, parent;

    if (key->pktable == NULL || key->n_fk_attrs == 0)
        return;
    for (size_t i = 0; i < key->n_fk_attrs; i++) {
        const char *column = string_of(key->fk_attrs[i]);
        struct banyan_str of = parent_column(key, i, all->arena);

        if (column == NULL)
            return;
        filled = sql_make(all->arena, "%S AND c.%i IS NOT NULL", filled, column);
        if (of.data == NULL) {
            matches = primary_match(key, all->arena);
            break;
        }
        matches = matches.data == NULL ? sql_make(all->arena, "%S = c.%i", of, column)
                                       : sql_make(all->arena, "%S AND %S = c.%i", matches, of, column);
    }
    if (matches.data == NULL)
        return;
    child = name_of(all->table, all->arena);
    parent = name_of(key->pktable, all->arena);
    all->deletes[all->count++] =
        sql_make(all->arena, "DELETE FROM %S c WHERE %S AND NOT EXISTS (SELECT FROM %S p WHERE %S)", child, filled,
                 parent, matches);
}

void rehearse_keys_find(const struct migration *migration, struct banyan_arena *arena, struct banyan_str **ret,
                        size_t *ret_count)
{
    struct finding all = {.arena = arena};
    size_t commands = 0;

    for (size_t i = 0; i < migration->statement_count; i++) {
        const PgQuery__Node *tree = migration->statements[i].tree;

        if (tree != NULL && tree->node_case == PG_QUERY__NODE__NODE_ALTER_TABLE_STMT)
            commands += tree->alter_table_stmt->n_cmds;
    }
    all.deletes = banyan_arena_zalloc(arena, (commands + 1) * sizeof(*all.deletes));
    for (size_t i = 0; i < migration->statement_count; i++) {
        const PgQuery__Node *tree = migration->statements[i].tree;

        if (tree == NULL || tree->node_case != PG_QUERY__NODE__NODE_ALTER_TABLE_STMT)
            continue;
        all.table = tree->alter_table_stmt->relation;
        for (size_t k = 0; k < tree->alter_table_stmt->n_cmds; k++) {
            const PgQuery__Node *node = tree->alter_table_stmt->cmds[k];
            const PgQuery__Node *def =
                node->node_case == PG_QUERY__NODE__NODE_ALTER_TABLE_CMD ? node->alter_table_cmd->def : NULL;

            if (def != NULL && def->node_case == PG_QUERY__NODE__NODE_CONSTRAINT &&
                def->constraint->contype == PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN)
                add_key(&all, def->constraint);
        }
    }
    *ret = all.deletes;
    *ret_count = all.count;
}
