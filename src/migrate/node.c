/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/node.h"

#include <pg_query.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum statement_kind node_statement_kind(const PgQuery__Node *node)
{
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE__NOT_SET:
        return STATEMENT_UNKNOWN;
    case PG_QUERY__NODE__NODE_SELECT_STMT:
        return node->select_stmt->into_clause == NULL ? STATEMENT_QUERY : STATEMENT_DDL;
    case PG_QUERY__NODE__NODE_INSERT_STMT:
    case PG_QUERY__NODE__NODE_UPDATE_STMT:
    case PG_QUERY__NODE__NODE_DELETE_STMT:
    case PG_QUERY__NODE__NODE_MERGE_STMT:
    case PG_QUERY__NODE__NODE_COPY_STMT:
        return STATEMENT_DML;
    case PG_QUERY__NODE__NODE_TRANSACTION_STMT:
        return STATEMENT_TRANSACTION;
    case PG_QUERY__NODE__NODE_VARIABLE_SET_STMT:
        return STATEMENT_SETTING;
    case PG_QUERY__NODE__NODE_VARIABLE_SHOW_STMT:
    case PG_QUERY__NODE__NODE_EXPLAIN_STMT:
    case PG_QUERY__NODE__NODE_PREPARE_STMT:
    case PG_QUERY__NODE__NODE_EXECUTE_STMT:
    case PG_QUERY__NODE__NODE_DEALLOCATE_STMT:
    case PG_QUERY__NODE__NODE_DECLARE_CURSOR_STMT:
    case PG_QUERY__NODE__NODE_FETCH_STMT:
    case PG_QUERY__NODE__NODE_CLOSE_PORTAL_STMT:
    case PG_QUERY__NODE__NODE_NOTIFY_STMT:
    case PG_QUERY__NODE__NODE_LISTEN_STMT:
    case PG_QUERY__NODE__NODE_UNLISTEN_STMT:
    case PG_QUERY__NODE__NODE_DO_STMT:
    case PG_QUERY__NODE__NODE_CALL_STMT:
    case PG_QUERY__NODE__NODE_CHECK_POINT_STMT:
    case PG_QUERY__NODE__NODE_DISCARD_STMT:
    case PG_QUERY__NODE__NODE_LOAD_STMT:
    case PG_QUERY__NODE__NODE_CONSTRAINTS_SET_STMT:
        return STATEMENT_OTHER;
    default:
        return STATEMENT_DDL;
    }
}

bool node_is_one_expression(const PgQuery__Node *node)
{
    const PgQuery__SelectStmt *select;

    if (node == NULL || node->node_case != PG_QUERY__NODE__NODE_SELECT_STMT)
        return false;
    select = node->select_stmt;
    return select->n_target_list == 1 && select->n_from_clause == 0 && select->where_clause == NULL &&
           select->n_group_clause == 0 && select->having_clause == NULL && select->n_sort_clause == 0 &&
           select->limit_count == NULL && select->limit_offset == NULL && select->with_clause == NULL &&
           select->larg == NULL && select->n_values_lists == 0;
}

/* ---- walking ---- */

void node_walk(const ProtobufCMessage *message, node_visit_fn visit, void *context)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;

    visit(context, message);
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const char *member = (const char *)message + field->offset;

        if (field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count;
            ProtobufCMessage *const *messages;

            memcpy(&count, (const char *)message + field->quantifier_offset, sizeof(count));
            memcpy(&messages, member, sizeof(messages));
            for (size_t k = 0; k < count; k++)
                node_walk(messages[k], visit, context);
            continue;
        }
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
            uint32_t chosen;

            memcpy(&chosen, (const char *)message + field->quantifier_offset, sizeof(chosen));
            if (chosen != field->id)
                continue;
        }
        ProtobufCMessage *one;

        memcpy(&one, member, sizeof(one));
        if (one != NULL)
            node_walk(one, visit, context);
    }
}

/* ---- back to SQL ---- */

/* The deparser writes the name of a constraint as it is; all other names it quotes where they need it. */
static bool needs_quotes(const char *name)
{
    PgQueryScanResult scan = pg_query_scan(name);
    PgQuery__ScanResult *words = NULL;
    bool plain = false;

    if (scan.error == NULL)
        words = pg_query__scan_result__unpack(NULL, scan.pbuf.len, (const uint8_t *)scan.pbuf.data);
    if (words != NULL && words->n_tokens == 1)
        plain = words->tokens[0]->token == PG_QUERY__TOKEN__IDENT &&
                words->tokens[0]->keyword_kind == PG_QUERY__KEYWORD_KIND__NO_KEYWORD && name[0] != '"' &&
                (size_t)words->tokens[0]->end == strlen(name);
    for (const char *at = name; plain && *at != '\0'; at++)
        plain = *at < 'A' || *at > 'Z';
    if (words != NULL)
        pg_query__scan_result__free_unpacked(words, NULL);
    pg_query_free_scan_result(scan);
    return !plain;
}

static void visit_constraint(void *context, const ProtobufCMessage *message)
{
    PgQuery__Constraint *constraint = (PgQuery__Constraint *)(uintptr_t)message; /* of the copy */
    char *quoted, *to;

    if (message->descriptor != &pg_query__constraint__descriptor || constraint->conname[0] == '\0' ||
        !needs_quotes(constraint->conname))
        return;
    quoted = to = alloc_zeroed(2 * strlen(constraint->conname) + 3, 1);
    *to++ = '"';
    for (const char *from = constraint->conname; *from != '\0'; *to++ = *from++)
        if (*from == '"')
            *to++ = '"';
    *to = '"';
    free(constraint->conname);
    constraint->conname = quoted; /* freed with the copy */
}

static PgQueryProtobuf packed(const PgQuery__ParseResult *result)
{
    PgQueryProtobuf ret;

    ret.len = pg_query__parse_result__get_packed_size(result);
    ret.data = alloc_zeroed(ret.len + 1, 1);
    pg_query__parse_result__pack(result, (uint8_t *)ret.data);
    return ret;
}

struct banyan_str node_deparse(const PgQuery__Node *statement, struct banyan_arena *arena)
{
    PgQuery__RawStmt raw = PG_QUERY__RAW_STMT__INIT;
    PgQuery__RawStmt *statements[1] = {&raw};
    PgQuery__ParseResult result = PG_QUERY__PARSE_RESULT__INIT, *copy;
    struct banyan_str ret = {.data = NULL};
    PgQueryProtobuf tree;
    PgQueryDeparseResult text;

    raw.stmt = (PgQuery__Node *)statement; /* it is only read */
    result.n_stmts = 1;
    result.stmts = statements;
    tree = packed(&result);
    copy = pg_query__parse_result__unpack(NULL, tree.len, (const uint8_t *)tree.data);
    free(tree.data);
    if (copy == NULL)
        return ret;
    node_walk(&copy->base, visit_constraint, NULL);
    tree = packed(copy);
    pg_query__parse_result__free_unpacked(copy, NULL);
    text = pg_query_deparse_protobuf(tree);
    if (text.error == NULL && text.query != NULL)
        ret = banyan_arena_str(arena, banyan_str_of(text.query));
    pg_query_free_deparse_result(text);
    free(tree.data);
    return ret;
}

/* What stands behind *head*; data NULL where the text does not begin so. */
static struct banyan_str behind(struct banyan_str text, const char *head)
{
    size_t size = strlen(head);

    if (text.size <= size || memcmp(text.data, head, size) != 0)
        return (struct banyan_str){.data = NULL};
    return (struct banyan_str){text.data + size, text.size - size};
}

/* Without the word in front: "SELECT ". */
static struct banyan_str deparse_target(PgQuery__Node *value, struct banyan_arena *arena)
{
    PgQuery__SelectStmt select = PG_QUERY__SELECT_STMT__INIT;
    PgQuery__ResTarget target = PG_QUERY__RES_TARGET__INIT;
    PgQuery__Node node = PG_QUERY__NODE__INIT, column = PG_QUERY__NODE__INIT;
    PgQuery__Node *columns[1] = {&column};

    target.val = value;
    column.node_case = PG_QUERY__NODE__NODE_RES_TARGET;
    column.res_target = &target;
    select.n_target_list = 1;
    select.target_list = columns;
    select.limit_option = PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_DEFAULT;
    select.op = PG_QUERY__SET_OPERATION__SETOP_NONE;
    node.node_case = PG_QUERY__NODE__NODE_SELECT_STMT;
    node.select_stmt = &select;
    return behind(node_deparse(&node, arena), "SELECT ");
}

struct banyan_str node_deparse_expression(const PgQuery__Node *expression, struct banyan_arena *arena)
{
    return deparse_target((PgQuery__Node *)expression, arena);
}

struct banyan_str node_deparse_type(PgQuery__TypeName *type, struct banyan_arena *arena)
{
    PgQuery__AConst none = PG_QUERY__A__CONST__INIT;
    PgQuery__TypeCast cast = PG_QUERY__TYPE_CAST__INIT;
    PgQuery__Node constant = PG_QUERY__NODE__INIT, node = PG_QUERY__NODE__INIT;

    none.isnull = true;
    constant.node_case = PG_QUERY__NODE__NODE_A_CONST;
    constant.a_const = &none;
    cast.arg = &constant;
    cast.type_name = type;
    node.node_case = PG_QUERY__NODE__NODE_TYPE_CAST;
    node.type_cast = &cast;
    return behind(deparse_target(&node, arena), "NULL::");
}

struct banyan_str node_deparse_command(PgQuery__AlterTableCmd *command, const char *head, struct banyan_arena *arena)
{
    PgQuery__RangeVar range = PG_QUERY__RANGE_VAR__INIT;
    PgQuery__AlterTableStmt alter = PG_QUERY__ALTER_TABLE_STMT__INIT;
    PgQuery__Node node = PG_QUERY__NODE__INIT, one = PG_QUERY__NODE__INIT;
    PgQuery__Node *commands[1] = {&one};

    range.relname = (char *)"t"; /* it is only read */
    range.inh = true;
    range.relpersistence = (char *)"p"; /* it is only read */
    one.node_case = PG_QUERY__NODE__NODE_ALTER_TABLE_CMD;
    one.alter_table_cmd = command;
    alter.relation = &range;
    alter.cmds = commands;
    alter.n_cmds = 1;
    alter.objtype = PG_QUERY__OBJECT_TYPE__OBJECT_TABLE;
    node.node_case = PG_QUERY__NODE__NODE_ALTER_TABLE_STMT;
    node.alter_table_stmt = &alter;
    return behind(behind(node_deparse(&node, arena), "ALTER TABLE t "), head);
}

/* ---- what is mentioned ---- */

struct mention {
    struct banyan_str name;
    bool found;
};

static void visit_name(void *context, const ProtobufCMessage *message)
{
    struct mention *mention = context;
    const char *name = NULL;

    if (message->descriptor == &pg_query__column_ref__descriptor) {
        const PgQuery__ColumnRef *ref = (const PgQuery__ColumnRef *)message;
        const PgQuery__Node *last = ref->fields[ref->n_fields - 1];

        if (last->node_case == PG_QUERY__NODE__NODE_STRING)
            name = last->string->sval;
    } else if (message->descriptor == &pg_query__index_elem__descriptor) {
        name = ((const PgQuery__IndexElem *)message)->name;
    }
    if (name != NULL && banyan_str_equal(banyan_str_of(name), mention->name))
        mention->found = true;
}

bool node_mentions(const ProtobufCMessage *message, struct banyan_str column)
{
    struct mention mention = {.name = column};

    node_walk(message, visit_name, &mention);
    return mention.found;
}

static void visit_relation(void *context, const ProtobufCMessage *message)
{
    struct mention *mention = context;

    if (message->descriptor == &pg_query__range_var__descriptor &&
        banyan_str_equal(banyan_str_of(((const PgQuery__RangeVar *)message)->relname), mention->name))
        mention->found = true;
}

bool node_reads(const ProtobufCMessage *message, struct banyan_str relation)
{
    struct mention mention = {.name = relation};

    node_walk(message, visit_relation, &mention);
    return mention.found;
}
