/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions: volatile or not, and what a CHECK proves.  Trees are walked by the descriptors of protobuf-c, so that no
 * kind of node can be forgotten.
 */
#include <pg_query.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/effect_int.h"

/* ---- volatility ---- */

struct volatility {
    struct effect_work *work;
    enum effect_certainty certainty;
    unsigned depth;
};

static bool is_in(const char *name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

/* What is known by heart, for those who ask offline. */
static enum catalog_volatility well_known(const char *name)
{
    static const char *const wild[] = {"clock_timestamp", "timeofday",        "random",           "gen_random_uuid",
                                       "nextval",         "setval",           "currval",          "lastval",
                                       "pg_sleep",        "uuid_generate_v1", "uuid_generate_v4", NULL};
    static const char *const tame[] = {"now",
                                       "statement_timestamp",
                                       "transaction_timestamp",
                                       "txid_current",
                                       "current_setting",
                                       "md5",
                                       "lower",
                                       "upper",
                                       "jsonb_build_object",
                                       "json_build_object",
                                       "jsonb_build_array",
                                       "to_jsonb",
                                       "to_json",
                                       "date_trunc",
                                       "to_char",
                                       "to_date",
                                       "to_timestamp",
                                       "make_date",
                                       "make_interval",
                                       "concat",
                                       "length",
                                       "round",
                                       "abs",
                                       "timezone",
                                       "date_part",
                                       "trim",
                                       "btrim",
                                       "replace",
                                       "substr",
                                       "substring",
                                       "array_fill",
                                       "int4range",
                                       "encode",
                                       "decode",
                                       "make_timestamptz",
                                       NULL};

    if (is_in(name, wild))
        return CATALOG_VOLATILE;
    return is_in(name, tame) ? CATALOG_STABLE : CATALOG_VOLATILITY_UNKNOWN;
}

static void visit_call(void *context, const ProtobufCMessage *message);

/* A function in SQL whose body is one expression is put in its place by the planner. */
static enum effect_certainty volatile_body(struct volatility *all, struct banyan_str body)
{
    PgQueryProtobufParseResult result = pg_query_parse_protobuf(body.data);
    PgQuery__ParseResult *tree = NULL;
    enum effect_certainty certainty = EFFECT_YES;

    if (result.error == NULL)
        tree = pg_query__parse_result__unpack(NULL, result.parse_tree.len, (const uint8_t *)result.parse_tree.data);
    if (tree != NULL && tree->n_stmts == 1 && node_is_one_expression(tree->stmts[0]->stmt)) {
        struct volatility inner = {.work = all->work, .depth = all->depth + 1};

        node_walk(&tree->stmts[0]->stmt->base, visit_call, &inner);
        certainty = inner.certainty;
    }
    if (tree != NULL)
        pg_query__parse_result__free_unpacked(tree, NULL);
    pg_query_free_protobuf_parse_result(result);
    return certainty;
}

static enum effect_certainty volatile_call(struct volatility *all, const PgQuery__FuncCall *call)
{
    struct effect_work *work = all->work;
    struct catalog_function function = {.volatility = CATALOG_VOLATILITY_UNKNOWN};
    const char *name = call->funcname[call->n_funcname - 1]->string->sval;
    const char *schema = call->n_funcname > 1 ? call->funcname[0]->string->sval : "";

    if (work->st == BANYAN_OK)
        work->st = catalog_function(work->catalog, banyan_str_of(schema), banyan_str_of(name), (unsigned)call->n_args,
                                    &function, work->err);
    if (function.volatility == CATALOG_VOLATILITY_UNKNOWN)
        function.volatility = well_known(name);
    if (function.volatility == CATALOG_VOLATILITY_UNKNOWN)
        return EFFECT_PERHAPS;
    if (function.volatility != CATALOG_VOLATILE)
        return EFFECT_NO;
    return function.body.data != NULL && all->depth < 4 ? volatile_body(all, function.body) : EFFECT_YES;
}

static void visit_call(void *context, const ProtobufCMessage *message)
{
    struct volatility *all = context;
    enum effect_certainty one;

    if (message->descriptor != &pg_query__func_call__descriptor || all->certainty == EFFECT_YES)
        return;
    one = volatile_call(all, (const PgQuery__FuncCall *)message);
    if (one != EFFECT_NO)
        all->certainty = one;
}

enum effect_certainty effect_is_volatile(struct effect_work *work, const PgQuery__Node *expression)
{
    struct volatility all = {.work = work};

    node_walk(&expression->base, visit_call, &all);
    return all.certainty;
}

static void visit_nextval(void *context, const ProtobufCMessage *message)
{
    struct effect_work *work = context;
    const PgQuery__FuncCall *call = (const PgQuery__FuncCall *)message;
    const PgQuery__Node *argument;
    struct catalog_table *sequence = NULL;

    if (message->descriptor != &pg_query__func_call__descriptor || call->n_args != 1 || work->st != BANYAN_OK ||
        strcmp(call->funcname[call->n_funcname - 1]->string->sval, "nextval") != 0)
        return;
    argument = call->args[0];
    if (argument->node_case == PG_QUERY__NODE__NODE_TYPE_CAST)
        argument = argument->type_cast->arg;
    if (argument->node_case != PG_QUERY__NODE__NODE_A_CONST ||
        argument->a_const->val_case != PG_QUERY__A__CONST__VAL_SVAL)
        return;
    work->st = catalog_table(work->catalog, BANYAN_STR(""), banyan_str_of(argument->a_const->sval->sval), &sequence,
                             work->err);
    if (sequence != NULL)
        effect_lock(work, sequence, EFFECT_ROW_EXCLUSIVE);
}

void effect_lock_sequences(struct effect_work *work, const PgQuery__Node *expression)
{
    node_walk(&expression->base, visit_nextval, work);
}

/* ---- proofs ---- */

static bool is_column(const PgQuery__Node *node, struct banyan_str column)
{
    const PgQuery__ColumnRef *ref;

    if (node == NULL || node->node_case != PG_QUERY__NODE__NODE_COLUMN_REF)
        return false;
    ref = node->column_ref;
    return ref->n_fields > 0 && ref->fields[ref->n_fields - 1]->node_case == PG_QUERY__NODE__NODE_STRING &&
           banyan_str_equal(banyan_str_of(ref->fields[ref->n_fields - 1]->string->sval), column);
}

static bool proves(const PgQuery__Node *node, struct banyan_str column)
{
    if (node->node_case == PG_QUERY__NODE__NODE_NULL_TEST)
        return node->null_test->nulltesttype == PG_QUERY__NULL_TEST_TYPE__IS_NOT_NULL &&
               is_column(node->null_test->arg, column);
    if (node->node_case != PG_QUERY__NODE__NODE_BOOL_EXPR)
        return false;
    const PgQuery__BoolExpr *all = node->bool_expr;

    if (all->boolop == PG_QUERY__BOOL_EXPR_TYPE__NOT_EXPR)
        return all->n_args == 1 && all->args[0]->node_case == PG_QUERY__NODE__NODE_NULL_TEST &&
               all->args[0]->null_test->nulltesttype == PG_QUERY__NULL_TEST_TYPE__IS_NULL &&
               is_column(all->args[0]->null_test->arg, column);
    bool every = all->boolop == PG_QUERY__BOOL_EXPR_TYPE__OR_EXPR && all->n_args > 0;

    if (all->boolop != PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR && !every)
        return false;
    for (size_t i = 0; i < all->n_args; i++)
        if (proves(all->args[i], column) != every)
            return !every;
    return every;
}

bool effect_proves_not_null(const struct catalog_constraint *check, struct banyan_str column)
{
    struct banyan_str expression = check->expression;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_str query = banyan_arena_printf(&arena, "SELECT %.*s", (int)expression.size, expression.data);
    PgQueryProtobufParseResult result = pg_query_parse_protobuf(query.data);
    PgQuery__ParseResult *tree = NULL;
    bool found = check->tree != NULL && proves(check->tree, column);

    if (result.error == NULL)
        tree = pg_query__parse_result__unpack(NULL, result.parse_tree.len, (const uint8_t *)result.parse_tree.data);
    if (!found && tree != NULL && tree->n_stmts == 1 && node_is_one_expression(tree->stmts[0]->stmt)) {
        const PgQuery__Node *target = tree->stmts[0]->stmt->select_stmt->target_list[0];

        found = target->node_case == PG_QUERY__NODE__NODE_RES_TARGET && target->res_target->val != NULL &&
                proves(target->res_target->val, column);
    }
    if (tree != NULL)
        pg_query__parse_result__free_unpacked(tree, NULL);
    pg_query_free_protobuf_parse_result(result);
    banyan_arena_release(&arena);
    return found;
}

/* ---- what a query touches ---- */

struct reading {
    struct effect_work *work;
    const PgQuery__Node *node;
};

static bool is_cte(const PgQuery__Node *node, const char *name)
{
    const PgQuery__WithClause *with = NULL;

    if (node->node_case == PG_QUERY__NODE__NODE_SELECT_STMT)
        with = node->select_stmt->with_clause;
    else if (node->node_case == PG_QUERY__NODE__NODE_INSERT_STMT)
        with = node->insert_stmt->with_clause;
    else if (node->node_case == PG_QUERY__NODE__NODE_UPDATE_STMT)
        with = node->update_stmt->with_clause;
    else if (node->node_case == PG_QUERY__NODE__NODE_DELETE_STMT)
        with = node->delete_stmt->with_clause;
    for (size_t i = 0; with != NULL && i < with->n_ctes; i++)
        if (strcmp(with->ctes[i]->common_table_expr->ctename, name) == 0)
            return true;
    return false;
}

static void visit_range(void *context, const ProtobufCMessage *message)
{
    const struct reading *reading = context;
    const PgQuery__RangeVar *range = (const PgQuery__RangeVar *)message;
    struct catalog_table *table;

    if (message->descriptor != &pg_query__range_var__descriptor || !effect_goes_on(reading->work) ||
        (range->schemaname[0] == '\0' && is_cte(reading->node, range->relname)))
        return;
    if (strncmp(range->relname, "pg_", 3) == 0 || strcmp(range->schemaname, "information_schema") == 0)
        return; /* the system's own */
    table = effect_find(reading->work, range, false);
    if (table != NULL)
        effect_lock(reading->work, table, EFFECT_ACCESS_SHARE);
}

void effect_query(struct effect_work *work, const PgQuery__Node *node)
{
    struct reading reading = {.work = work, .node = node};

    node_walk(&node->base, visit_range, &reading);
}
