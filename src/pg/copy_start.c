/* SPDX-License-Identifier: Apache-2.0 */
/* Begin of a COPY, in either direction: the statement is sent, and the answer must be that the COPY began. */
#include "pg/pg_int.h"

enum banyan_status pg_copy_start(struct pg_conn *conn, const struct pg_copy_start *start, bool *ret_started,
                                 struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(PG_SQL_MAX);
    PGresult *result = NULL;
    enum banyan_status st;

    *ret_started = false;
    banyan_buf_add_text(&sql, start->before);
    banyan_buf_add_text(&sql, start->text);
    banyan_buf_add_text(&sql, start->after);
    if (sql.overflow) {
        st = banyan_error_set(err, BANYAN_LIMIT, "the statement of a COPY is too long");
        goto out;
    }
    st = pg_simple_last(conn, sql.data, PG_CONTEXT_STATEMENT, &result, err);
    *ret_started = PQresultStatus(result) == start->answer;
    if (st == BANYAN_OK && !*ret_started)
        st = banyan_error_set(err, BANYAN_PROTOCOL, "%s did not start a COPY", conn->description);
    else if (st == BANYAN_OK && (size_t)PQnfields(result) != start->record->field_count)
        st = banyan_error_set(err, BANYAN_TABLE, "the COPY has %d columns, %s has %zu fields", PQnfields(result),
                              start->record->name, start->record->field_count);
out:
    PQclear(result);
    banyan_buf_release(&sql);
    return st;
}
