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

/* ---- cell_float.c ---- */

enum {
    PG_CELL_FLOAT_TEXT_MAX = 32,
};

bool pg_cell_is_float(uint32_t oid);
/* A real or double precision cell in binary form as its shortest decimal, NUL-terminated; "inf" and "nan" as they are.
 */
BANYAN_MUST_CHECK enum banyan_status pg_cell_float_text(const struct banyan_field *field, uint32_t oid,
                                                        struct banyan_str cell, char text[PG_CELL_FLOAT_TEXT_MAX],
                                                        struct banyan_error *err);
/* The same backwards: up to 8 bytes.  False where they would be read as another decimal. */
BANYAN_MUST_CHECK bool pg_cell_float_bytes(uint32_t oid, struct banyan_decimal value, char ret[8], size_t *ret_size);
/* The text of a number into the DECIMAL field at *value*. */
BANYAN_MUST_CHECK enum banyan_status pg_cell_put_decimal(const struct banyan_field *field, struct banyan_str text,
                                                         void *value, struct banyan_error *err);

#endif
