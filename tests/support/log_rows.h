/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The legacy tables as the log says that they are: every mapped stream folded, root rows by row(), children by
 * mirror(), compared with the tables as they stand, in every column but those that the database numbers by itself.
 *
 * Rows of children come from exact events.  An inferred event presupposes something that may have left no row: one that
 * fits is allowed, none is missed.
 */
#ifndef SUPPORT_LOG_ROWS_H
#define SUPPORT_LOG_ROWS_H

#include "banyan/buf.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "pg/conn.h"
#include "store/store.h"

/* *ret_differences*: rows that one side lacks; the first of them told in *report*, a line each. */
BANYAN_MUST_CHECK enum banyan_status log_rows_compare(struct store *store, const struct banyan_domain *domain,
                                                      struct pg_conn *conn, struct banyan_buf *report,
                                                      uint64_t *ret_rows, uint64_t *ret_differences,
                                                      struct banyan_error *err);

#endif
