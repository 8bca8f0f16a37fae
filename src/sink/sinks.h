/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to open each kind of read model store.
 *
 * Each gives *ret, to be ended by sink_home_close() after all its sinks and views.  INVALID when the store cannot keep
 * the projection at all; failures of the world may come here or at the first use.  Text is copied.
 */
#ifndef SINK_SINKS_H
#define SINK_SINKS_H

#include "banyan/error.h"
#include "projection/sink.h"

/* A SQLite file a generation, "<folder>/<view>.<generation>.sqlite" (WAL mode, mode 0600), and a symbolic link
 * "<folder>/<view>.sqlite" to the one that serves.  The folder must exist. */
BANYAN_MUST_CHECK enum banyan_status sink_sqlite_home(const struct banyan_projection *projection, const char *folder,
                                                      const char *view, struct sink_home **ret,
                                                      struct banyan_error *err);
/* Tables "<table>_g<generation>" in a schema, made when missing ("banyan" where NULL), and a VIEW "<table>" on those
 * that serve. */
BANYAN_MUST_CHECK enum banyan_status sink_postgres_home(const struct banyan_projection *projection,
                                                        const char *conninfo, const char *schema, const char *view,
                                                        struct sink_home **ret, struct banyan_error *err);
/* Keys "banyan:{<view>}:…" of a Redis server: "redis://[user:password@]host[:port][/database]", "host:port" or the
 * path of a Unix socket. */
BANYAN_MUST_CHECK enum banyan_status sink_redis_home(const struct banyan_projection *projection, const char *address,
                                                     const char *view, struct sink_home **ret,
                                                     struct banyan_error *err);
/* In the memory of this process, empty at first; two homes share nothing. */
BANYAN_MUST_CHECK enum banyan_status sink_memory_home(const struct banyan_projection *projection,
                                                      struct sink_home **ret, struct banyan_error *err);

#endif
