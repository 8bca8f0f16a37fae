/* SPDX-License-Identifier: Apache-2.0 */
/* How to open each kind of read model store. */
#ifndef SINK_SINKS_H
#define SINK_SINKS_H

#include "banyan/error.h"
#include "projection/sink.h"

/* One SQLite file a projection (WAL mode); made when missing, mode 0600. */
BANYAN_MUST_CHECK enum banyan_status sink_sqlite_open(const struct banyan_projection *projection, const char *path,
                                                      struct sink **ret, struct banyan_error *err);
/* A table in a PostgreSQL schema, made when missing. */
BANYAN_MUST_CHECK enum banyan_status sink_postgres_open(const struct banyan_projection *projection,
                                                        const char *conninfo, const char *schema, struct sink **ret,
                                                        struct banyan_error *err);

#endif
