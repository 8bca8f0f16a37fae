// SPDX-License-Identifier: Apache-2.0
/* Writes a past into the three tables by COPY. */
#ifndef LEGACY_OMS_SEED_COPY_H
#define LEGACY_OMS_SEED_COPY_H

#include <libpq-fe.h>
#include <stdbool.h>

struct past;

/* All in one transaction, then ANALYZE.  False after it has printed what went wrong. */
bool past_copy(PGconn *conn, const struct past *past);

#endif
