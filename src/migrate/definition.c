/* SPDX-License-Identifier: Apache-2.0 */
/* See definition.h. */
#include "migrate/definition.h"

#include <stdlib.h>
#include <string.h>

#include "migrate/definition_sql.h"
#include "migrate/node.h"

enum {
    NUMBERS_MAX = 4096,
    REPLACED_MAX = 256, /* names in one definition */
};

/* ---- reading ---- */

static struct banyan_str keep(struct catalog *catalog, const struct pg_result *result, size_t row, size_t column)
{
    return banyan_arena_str(catalog_arena(catalog), pg_text(result, row, column));
}

static struct banyan_str number_text(struct catalog *catalog, uint32_t number)
{
    return banyan_arena_printf(catalog_arena(catalog), "%u", (unsigned)number);
}

/* "{1,4}" */
static struct banyan_str numbers_text(struct catalog *catalog, const struct catalog_table *table,
                                      const struct catalog_columns *columns)
{
    struct banyan_buf text = BANYAN_BUF_INIT(NUMBERS_MAX);
    struct banyan_str ret;

    for (size_t i = 0; i < table->column_count; i++)
        if (catalog_columns_has(columns, table->columns[i].number))
            banyan_buf_printf(&text, "%s%d", text.size > 0 ? "," : "{", table->columns[i].number);
    banyan_buf_add_text(&text, text.size > 0 ? "}" : "{}");
    ret = banyan_arena_str(catalog_arena(catalog), banyan_buf_str(&text));
    banyan_buf_release(&text);
    return ret;
}

enum banyan_status definition_index(struct catalog *catalog, uint32_t oid, struct definition_index *ret,
                                    struct banyan_error *err)
{
    struct pg_param params[] = {{number_text(catalog, oid)}};
    struct pg_result *result = NULL;
    enum banyan_status st = catalog_query(catalog, definition_sql_index, params, 1, &result, err);

    if (st != BANYAN_OK)
        return st;
    if (pg_rows(result) != 1)
        st = banyan_error_set(err, BANYAN_NOT_FOUND, "an index went away while it was planned: plan again");
    else
        *ret = (struct definition_index){.schema = keep(catalog, result, 0, 0),
                                         .name = keep(catalog, result, 0, 1),
                                         .text = keep(catalog, result, 0, 2),
                                         .comment = keep(catalog, result, 0, 3),
                                         .clustered = pg_bool(result, 0, 4),
                                         .identity = pg_bool(result, 0, 5)};
    pg_result_free(result);
    return st;
}

enum banyan_status definition_constraint(struct catalog *catalog, uint32_t table, struct banyan_str name,
                                         struct definition_constraint *ret, struct banyan_error *err)
{
    struct pg_param params[] = {{number_text(catalog, table)}, {name}};
    struct pg_result *result = NULL;
    enum banyan_status st = catalog_query(catalog, definition_sql_constraint, params, 2, &result, err);

    if (st != BANYAN_OK)
        return st;
    if (pg_rows(result) != 1)
        st = banyan_error_set(err, BANYAN_NOT_FOUND, "the constraint %.*s went away while it was planned: plan again",
                              (int)name.size, name.data);
    else
        *ret = (struct definition_constraint){.text = keep(catalog, result, 0, 0),
                                              .comment = keep(catalog, result, 0, 1),
                                              .deferred = keep(catalog, result, 0, 2)};
    pg_result_free(result);
    return st;
}

static enum banyan_status read_grants(struct catalog *catalog, const struct pg_param *params,
                                      struct definition_column *column, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = catalog_query(catalog, definition_sql_grants, params, 2, &result, err);

    if (st != BANYAN_OK)
        return st;
    column->grant_count = pg_rows(result);
    column->grants = banyan_arena_zalloc(catalog_arena(catalog), (column->grant_count + 1) * sizeof(*column->grants));
    for (size_t i = 0; i < column->grant_count; i++)
        column->grants[i] = (struct definition_grant){.privilege = keep(catalog, result, i, 0),
                                                      .grantee = keep(catalog, result, i, 1),
                                                      .grantable = pg_bool(result, i, 2)};
    pg_result_free(result);
    return BANYAN_OK;
}

enum banyan_status definition_column(struct catalog *catalog, uint32_t table, int number, struct definition_column *ret,
                                     struct banyan_error *err)
{
    struct pg_param params[] = {{number_text(catalog, table)}, {number_text(catalog, (uint32_t)number)}};
    struct definition_column column = {.identity = 0};
    struct pg_result *result = NULL;
    enum banyan_status st = catalog_query(catalog, definition_sql_column, params, 2, &result, err);

    if (st != BANYAN_OK)
        return st;
    if (pg_rows(result) == 1) {
        column = (struct definition_column){.expression = keep(catalog, result, 0, 0),
                                            .sequence_schema = keep(catalog, result, 0, 2),
                                            .sequence = keep(catalog, result, 0, 3),
                                            .sequence_options = keep(catalog, result, 0, 4),
                                            .comment = keep(catalog, result, 0, 7)};
        if (pg_text(result, 0, 1).size > 0)
            column.identity = pg_text(result, 0, 1).data[0];
        column.settings = banyan_arena_zalloc(catalog_arena(catalog), 2 * sizeof(*column.settings));
        for (size_t i = 5; i < 7; i++)
            if (pg_text(result, 0, i).data != NULL)
                column.settings[column.setting_count++] = keep(catalog, result, 0, i);
    } else {
        st = banyan_error_set(err, BANYAN_NOT_FOUND, "a column went away while it was planned: plan again");
    }
    pg_result_free(result);
    if (st == BANYAN_OK)
        st = read_grants(catalog, params, &column, err);
    if (st == BANYAN_OK)
        *ret = column;
    return st;
}

static enum banyan_status read_view(struct catalog *catalog, struct banyan_str oid, struct definition_view *view,
                                    struct banyan_error *err)
{
    struct pg_param params[] = {{oid}};
    struct pg_result *result = NULL;
    enum banyan_status st = catalog_query(catalog, definition_sql_view, params, 1, &result, err);

    if (st != BANYAN_OK)
        return st;
    view->statement_count = pg_rows(result);
    view->statements =
        banyan_arena_zalloc(catalog_arena(catalog), (view->statement_count + 1) * sizeof(*view->statements));
    for (size_t i = 0; i < view->statement_count; i++)
        view->statements[i] = keep(catalog, result, i, 2);
    pg_result_free(result);
    return BANYAN_OK;
}

enum banyan_status definition_views(struct catalog *catalog, const struct catalog_table *table,
                                    const struct catalog_columns *columns, struct definition_views *ret,
                                    struct banyan_error *err)
{
    struct pg_param params[] = {{number_text(catalog, table->oid)}, {numbers_text(catalog, table, columns)}};
    struct definition_views views = {.obstacle = BANYAN_STR("")};
    struct pg_result *result = NULL;
    enum banyan_status st = catalog_query(catalog, definition_sql_obstacles, params, 2, &result, err);

    if (st != BANYAN_OK)
        return st;
    if (pg_rows(result) > 0)
        views.obstacle = keep(catalog, result, 0, 0);
    pg_result_free(result);
    result = NULL;
    st = catalog_query(catalog, definition_sql_views, params, 2, &result, err);
    if (st != BANYAN_OK)
        return st;
    views.view_count = pg_rows(result);
    views.views = banyan_arena_zalloc(catalog_arena(catalog), (views.view_count + 1) * sizeof(*views.views));
    for (size_t i = 0; i < views.view_count && st == BANYAN_OK; i++) {
        views.views[i].schema = keep(catalog, result, i, 1);
        views.views[i].name = keep(catalog, result, i, 2);
        if (banyan_str_equal(pg_text(result, i, 3), BANYAN_STR("v")))
            st = read_view(catalog, keep(catalog, result, i, 0), &views.views[i], err);
    }
    pg_result_free(result);
    if (st == BANYAN_OK)
        *ret = views;
    return st;
}

enum banyan_status definition_statistics(struct catalog *catalog, const struct catalog_table *table,
                                         const struct catalog_columns *columns, struct definition_statistics **ret,
                                         size_t *ret_count, struct banyan_error *err)
{
    struct pg_param params[] = {{number_text(catalog, table->oid)}, {numbers_text(catalog, table, columns)}};
    struct pg_result *result = NULL;
    enum banyan_status st = catalog_query(catalog, definition_sql_statistics, params, 2, &result, err);

    if (st != BANYAN_OK)
        return st;
    *ret_count = pg_rows(result);
    *ret = banyan_arena_zalloc(catalog_arena(catalog), (*ret_count + 1) * sizeof(**ret));
    for (size_t i = 0; i < *ret_count; i++)
        (*ret)[i] = (struct definition_statistics){
            .schema = keep(catalog, result, i, 0),
            .name = keep(catalog, result, i, 1),
            .text = keep(catalog, result, i, 2),
            .more = {keep(catalog, result, i, 3),
                     pg_bool(result, i, 6) ? (struct banyan_str){.data = NULL} : keep(catalog, result, i, 4),
                     keep(catalog, result, i, 5)}};
    pg_result_free(result);
    return BANYAN_OK;
}

enum banyan_status definition_labels(struct catalog *catalog, struct banyan_str type, struct banyan_str **ret,
                                     size_t *ret_count, struct banyan_error *err)
{
    struct pg_param params[] = {{type}};
    struct pg_result *result = NULL;
    enum banyan_status st = catalog_query(catalog, definition_sql_labels, params, 1, &result, err);

    if (st != BANYAN_OK)
        return st;
    *ret_count = pg_rows(result);
    *ret = *ret_count == 0 ? NULL : banyan_arena_zalloc(catalog_arena(catalog), *ret_count * sizeof(**ret));
    for (size_t i = 0; i < *ret_count; i++)
        (*ret)[i] = keep(catalog, result, i, 0);
    pg_result_free(result);
    return BANYAN_OK;
}

/* ---- over other columns ---- */

/* Names in a tree that is not ours to free: each is put back behind the deparsing. */
struct replacing {
    struct definition_names names;
    struct banyan_arena *arena;
    struct {
        char **at, *was;
    } replaced[REPLACED_MAX];
    size_t count;
    bool full;
};

static void replace(struct replacing *all, char **name)
{
    for (size_t i = 0; i < all->names.count; i++) {
        if (*name == NULL || !banyan_str_equal(banyan_str_of(*name), all->names.names[i].from))
            continue;
        if (all->count == REPLACED_MAX) {
            all->full = true;
            return;
        }
        all->replaced[all->count].at = name;
        all->replaced[all->count++].was = *name;
        *name = (char *)banyan_arena_str(all->arena, all->names.names[i].to).data; /* only read by the deparser */
        return;
    }
}

static void put_back(struct replacing *all)
{
    while (all->count > 0) {
        all->count--;
        *all->replaced[all->count].at = all->replaced[all->count].was;
    }
}

static void visit(void *context, const ProtobufCMessage *message)
{
    if (message->descriptor == &pg_query__column_ref__descriptor) {
        const PgQuery__ColumnRef *column = (const void *)message;

        if (column->n_fields == 1 && column->fields[0]->node_case == PG_QUERY__NODE__NODE_STRING)
            replace(context, &column->fields[0]->string->sval);
    } else if (message->descriptor == &pg_query__index_elem__descriptor) {
        PgQuery__IndexElem *element = (PgQuery__IndexElem *)(void *)message;

        replace(context, &element->name);
    }
}

static void replace_list(struct replacing *all, PgQuery__Node *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (names[i]->node_case == PG_QUERY__NODE__NODE_STRING)
            replace(all, &names[i]->string->sval);
}

/* What is behind *head*, where it begins with it. */
static struct banyan_str behind(struct banyan_str text, const char *head)
{
    size_t size = strlen(head);

    if (text.data == NULL || text.size <= size || memcmp(text.data, head, size) != 0)
        return (struct banyan_str){.data = NULL};
    return (struct banyan_str){text.data + size, text.size - size};
}

static struct migration *parse(struct banyan_str text)
{
    struct migration *migration = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (migration_parse("definition", text, &migration, &err) != BANYAN_OK)
        return NULL;
    if (migration->statement_count != 1 || migration->statements[0].tree == NULL) {
        migration_free(migration);
        return NULL;
    }
    return migration;
}

struct banyan_str definition_index_over(struct banyan_str text, struct definition_names names,
                                        struct banyan_arena *arena)
{
    struct replacing all = {.names = names, .arena = arena};
    PgQuery__RangeVar relation = PG_QUERY__RANGE_VAR__INIT;
    PgQuery__Node node = PG_QUERY__NODE__INIT;
    struct migration *migration = parse(text);
    struct banyan_str ret = {.data = NULL};
    char table[] = "x", index[] = "x", persistence[] = "p";
    PgQuery__IndexStmt copy;

    if (migration == NULL || migration->statements[0].tree->node_case != PG_QUERY__NODE__NODE_INDEX_STMT)
        goto out;
    copy = *migration->statements[0].tree->index_stmt;
    relation.relname = table;
    relation.relpersistence = persistence;
    relation.inh = true;
    copy.relation = &relation;
    copy.idxname = index;
    copy.unique = false;
    copy.concurrent = false;
    node.node_case = PG_QUERY__NODE__NODE_INDEX_STMT;
    node.index_stmt = &copy;
    node_walk(&node.base, visit, &all);
    if (!all.full)
        ret = behind(node_deparse(&node, arena), "CREATE INDEX x ON x ");
    put_back(&all);
out:
    migration_free(migration);
    return ret;
}

struct banyan_str definition_constraint_over(struct banyan_str text, struct definition_names own,
                                             struct definition_names referenced, struct banyan_arena *arena)
{
    static const char head[] = "ALTER TABLE x ADD ";
    struct replacing all = {.names = own, .arena = arena}, others = {.names = referenced, .arena = arena};
    struct migration *migration = parse(banyan_arena_printf(arena, "%s%.*s", head, (int)text.size, text.data));
    struct banyan_str ret = {.data = NULL};
    PgQuery__Constraint *constraint;

    if (migration == NULL || migration->statements[0].tree->node_case != PG_QUERY__NODE__NODE_ALTER_TABLE_STMT)
        goto out;
    constraint = migration->statements[0].tree->alter_table_stmt->cmds[0]->alter_table_cmd->def->constraint;
    constraint->skip_validation = false;
    node_walk(&constraint->base, visit, &all);
    replace_list(&all, constraint->keys, constraint->n_keys);
    replace_list(&all, constraint->fk_attrs, constraint->n_fk_attrs);
    replace_list(&all, constraint->fk_del_set_cols, constraint->n_fk_del_set_cols);
    replace_list(&others, constraint->pk_attrs, constraint->n_pk_attrs);
    if (!all.full && !others.full)
        ret = behind(node_deparse(migration->statements[0].tree, arena), head);
    put_back(&others);
    put_back(&all);
out:
    migration_free(migration);
    return ret;
}
