/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/node.h"

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
