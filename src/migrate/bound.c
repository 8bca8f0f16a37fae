/* SPDX-License-Identifier: Apache-2.0 */
/* See bound.h. */
#include "migrate/bound.h"

#include <pg_query.h>
#include <string.h>

#include "migrate/sql.h"

enum {
    KEYS_MAX = 32,
};

struct bound_key {
    struct banyan_str name, type; /* of the parent's column; its type as the server shows it */
    bool collates;
};
struct bound {
    struct catalog *catalog;
    struct banyan_arena *arena;
    const struct catalog_table *parent;
    struct bound_key keys[KEYS_MAX];
    size_t count;
    struct banyan_error *err;
    enum banyan_status st;
    struct banyan_str text; /* ends as the condition; data NULL: it cannot be told */
};

static bool read_keys(struct bound *bound)
{
    static const char sql[] = "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation <> 0 FROM "
                              "pg_partitioned_table p, "
                              "unnest(p.partattrs::int2[], p.partcollation::oid[]) WITH ORDINALITY k (number, wanted, "
                              "place) LEFT JOIN pg_attribute a ON a.attnum = k.number AND a.attrelid = $1::oid AND "
                              "a.attnum > 0 AND a.attcollation = k.wanted WHERE p.partrelid = $1::oid ORDER BY k.place";
    struct banyan_str oid = banyan_arena_printf(bound->arena, "%u", (unsigned)bound->parent->oid), *cells = NULL;

    bound->st = catalog_ask(bound->catalog, sql, &oid, 1, &cells, &bound->count, bound->err);

    if (bound->count == 0 || bound->count > KEYS_MAX)
        return false;
    for (size_t i = 0; i < bound->count; i++) {
        if (cells[3 * i].data == NULL) /* an expression, or another collation: no CHECK can say that */
            return false;
        bound->keys[i] =
            (struct bound_key){cells[3 * i], cells[3 * i + 1], banyan_str_equal(cells[3 * i + 2], BANYAN_STR("t"))};
    }
    return true;
}

static void also(struct bound *bound, struct banyan_str part)
{
    bound->text = bound->text.size == 0 ? part : sql_make(bound->arena, "%S AND %S", bound->text, part);
}

static struct banyan_str value_of(struct bound *bound, const PgQuery__Node *datum, size_t key)
{
    struct banyan_str text = node_deparse_expression(datum, bound->arena);

    return text.data == NULL ? text : sql_make(bound->arena, "(%S)::%S", text, bound->keys[key].type);
}

/* MINVALUE and MAXVALUE are column names to the grammar. */
static const char *infinity_of(const PgQuery__Node *datum)
{
    const char *name;

    if (datum->node_case != PG_QUERY__NODE__NODE_COLUMN_REF || datum->column_ref->n_fields != 1 ||
        datum->column_ref->fields[0]->node_case != PG_QUERY__NODE__NODE_STRING)
        return NULL;
    name = datum->column_ref->fields[0]->string->sval;
    return strcmp(name, "minvalue") == 0 || strcmp(name, "maxvalue") == 0 ? name : NULL;
}

static struct banyan_str either(struct banyan_arena *arena, struct banyan_str arms, struct banyan_str arm)
{
    if (arm.size == 0)
        return arms;
    return arms.size == 0 ? sql_make(arena, "(%S)", arm) : sql_make(arena, "%S OR (%S)", arms, arm);
}

struct side {
    PgQuery__Node *const *datums;
    const char *less, *last, *endless; /* operators, and the infinity that lets the next column be anything */
    bool needed;
    struct banyan_str arm, arms;
};

/* Column *j* of an arm that has *arm* columns of equality in front. */
static void side_column(struct bound *bound, struct side *side, size_t first, size_t j, size_t arm)
{
    const PgQuery__Node *datum = side->datums[j];
    const PgQuery__Node *next = j + 1 < bound->count ? side->datums[j + 1] : NULL;
    bool has_value = infinity_of(datum) == NULL;
    const char *sign;

    if (side->needed && has_value) {
        const char *infinity = next == NULL ? NULL : infinity_of(next);

        if (j - first < arm)
            sign = "=";
        else if (side->last[1] == '=' && (next == NULL || (infinity != NULL && strcmp(infinity, side->endless) == 0)))
            sign = side->last;
        else if (infinity != NULL && strcmp(infinity, side->endless) == 0)
            sign = "<=";
        else
            sign = side->less;
        side->arm = sql_make(bound->arena, "%S%s%I %s %S", side->arm, side->arm.size > 0 ? " AND " : "",
                             bound->keys[j].name, sign, value_of(bound, datum, j));
    }
    if (j - first >= arm && (!has_value || next == NULL || infinity_of(next) != NULL))
        side->needed = false;
}

static void range_of(struct bound *bound, const PgQuery__PartitionBoundSpec *spec)
{
    struct banyan_arena *arena = bound->arena;
    struct side low = {.datums = spec->lowerdatums, .less = ">", .last = ">=", .endless = "minvalue", .needed = true};
    struct side high = {.datums = spec->upperdatums, .less = "<", .last = "<", .endless = "maxvalue", .needed = true};
    size_t first = 0;

    low.arms = high.arms = BANYAN_STR("");
    for (size_t i = 0; i < bound->count; i++)
        also(bound, sql_make(arena, "%I IS NOT NULL", bound->keys[i].name));
    for (; first < bound->count; first++) {
        struct banyan_str a = value_of(bound, low.datums[first], first), b = value_of(bound, high.datums[first], first);

        if (infinity_of(low.datums[first]) != NULL || infinity_of(high.datums[first]) != NULL ||
            !banyan_str_equal(a, b))
            break;
        also(bound, sql_make(arena, "%I = %S", bound->keys[first].name, a));
    }
    for (size_t arm = 0; arm < bound->count && (low.needed || high.needed); arm++) {
        low.arm = high.arm = BANYAN_STR("");
        for (size_t j = first; j < bound->count && j - first <= arm; j++) {
            side_column(bound, &low, first, j, arm);
            side_column(bound, &high, first, j, arm);
        }
        low.arms = either(arena, low.arms, low.arm);
        high.arms = either(arena, high.arms, high.arm);
    }
    if (low.arms.size > 0)
        also(bound, sql_make(arena, "(%S)", low.arms));
    if (high.arms.size > 0)
        also(bound, sql_make(arena, "(%S)", high.arms));
}

static void list_of(struct bound *bound, const PgQuery__PartitionBoundSpec *spec)
{
    struct banyan_arena *arena = bound->arena;
    struct banyan_str values = BANYAN_STR("");
    const struct bound_key *key = &bound->keys[0];
    bool null = false;

    for (size_t i = 0; i < spec->n_listdatums; i++) {
        const PgQuery__Node *datum = spec->listdatums[i];

        if (datum->node_case == PG_QUERY__NODE__NODE_A_CONST && datum->a_const->isnull)
            null = true;
        else
            values = sql_make(arena, "%S%s%S", values, values.size > 0 ? ", " : "", value_of(bound, datum, 0));
    }
    if (values.size > 0)
        values = sql_make(arena, "%I = ANY (ARRAY[%S])", key->name, values);
    if (!null)
        bound->text = sql_make(arena, "%I IS NOT NULL AND %S", key->name, values);
    else
        bound->text = sql_make(arena, "(%I IS NULL%s%S)", key->name, values.size > 0 ? " OR " : "", values);
}

enum banyan_status bound_condition(struct catalog *catalog, const struct catalog_table *parent,
                                   const PgQuery__PartitionBoundSpec *spec, struct banyan_arena *arena,
                                   struct banyan_str *ret, struct banyan_error *err)
{
    struct bound bound = {.catalog = catalog, .arena = arena, .parent = parent, .err = err, .text = BANYAN_STR("")};

    *ret = (struct banyan_str){NULL, 0};
    if (spec->is_default || !read_keys(&bound))
        return bound.st;
    if (spec->strategy[0] == 'h') {
        struct banyan_str columns = BANYAN_STR("");

        for (size_t i = 0; i < bound.count; i++)
            if (bound.keys[i].collates) /* the server's own call has no collation, one in a CHECK always has */
                return BANYAN_OK;
        for (size_t i = 0; i < bound.count; i++)
            columns = sql_make(arena, "%S, %I", columns, bound.keys[i].name);
        *ret = sql_make(arena, "satisfies_hash_partition('%d'::oid, %d, %d%S)", (int64_t)parent->oid,
                        (int64_t)spec->modulus, (int64_t)spec->remainder, columns);
        return BANYAN_OK;
    }
    if (spec->strategy[0] == 'l' && banyan_str_equal(bound.keys[0].type, BANYAN_STR("boolean")))
        return BANYAN_OK; /* the server makes "k" and "NOT k" of it */
    if (spec->strategy[0] == 'l' && bound.count == 1)
        list_of(&bound, spec);
    else if (spec->n_lowerdatums == bound.count && spec->n_upperdatums == bound.count)
        range_of(&bound, spec);
    if (bound.text.size > 0)
        *ret = bound.text;
    return BANYAN_OK;
}

/* As the deparser writes it. */
static struct banyan_str normal(struct banyan_str condition, struct banyan_arena *arena)
{
    struct banyan_str sql = sql_make(arena, "SELECT %S", condition), ret = {NULL, 0};
    PgQueryProtobufParseResult result = pg_query_parse_protobuf(sql.data);
    PgQuery__ParseResult *tree = NULL;

    if (result.error == NULL)
        tree = pg_query__parse_result__unpack(NULL, result.parse_tree.len, (const uint8_t *)result.parse_tree.data);
    if (tree != NULL && tree->n_stmts == 1 && node_is_one_expression(tree->stmts[0]->stmt))
        ret = node_deparse_expression(tree->stmts[0]->stmt->select_stmt->target_list[0]->res_target->val, arena);
    if (tree != NULL)
        pg_query__parse_result__free_unpacked(tree, NULL);
    pg_query_free_protobuf_parse_result(result);
    return ret;
}

bool bound_is_checked(const struct catalog_table *table, struct banyan_str condition, struct banyan_arena *arena)
{
    struct banyan_str wanted = condition.data == NULL ? condition : normal(condition, arena);

    for (size_t i = 0; i < table->constraint_count && wanted.data != NULL; i++)
        if (table->constraints[i].kind == CATALOG_CHECK && table->constraints[i].validated &&
            table->constraints[i].tree != NULL &&
            banyan_str_equal(node_deparse_expression(table->constraints[i].tree, arena), wanted))
            return true;
    return false;
}
