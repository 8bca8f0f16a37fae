/* SPDX-License-Identifier: Apache-2.0 */
/* What cell.c, cell_text.c and cell_encode.c share: how a cell is refused, and the edges of times. */
#ifndef PG_CELL_H
#define PG_CELL_H

#include <stdint.h>

#include "pg/copy.h"

#define PG_DAY_US INT64_C(86400000000)

/* Each fills *err* and gives its status. */
enum banyan_status pg_cell_bad_size(const struct banyan_field *field, uint32_t oid, struct banyan_str cell,
                                    struct banyan_error *err);
enum banyan_status pg_cell_unfit(const struct banyan_field *field, uint32_t oid, struct banyan_error *err);
enum banyan_status pg_cell_inexact(const struct banyan_field *field, const char *what, struct banyan_error *err);

/* NULL into the field at *value*; INVALID where it is not optional. */
BANYAN_MUST_CHECK enum banyan_status pg_cell_null(const struct banyan_field *field, void *value,
                                                  struct banyan_error *err);
/* Microseconds of PostgreSQL's clock (INT64_MAX, INT64_MIN: infinities) into the field at *value*. */
BANYAN_MUST_CHECK enum banyan_status pg_cell_put_time(const struct banyan_field *field, int64_t us, void *value,
                                                      struct banyan_error *err);

#endif
