/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See blockers.h.
 *
 * pg_blocking_pids() knows who holds and who stands before in the queue, for locks of tables and for the snapshots that
 * CONCURRENTLY waits for; a prepared transaction is pid 0 there, and is found by its locks.
 *
 * A session is ended by one statement that looks at it once more: what was idle when it was asked for may be at work
 * now, and a pid may be somebody else's.
 */
#include "migrate/blockers.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    SQL_MAX = 1024 * 1024,
};

#define SESSION                                                                                                        \
    "a.pid, coalesce(a.usename, ''), coalesce(nullif(a.application_name, ''), a.backend_type, ''), "                   \
    "coalesce(a.state, ''), left(regexp_replace(coalesce(a.query, ''), '\\s+', ' ', 'g'), 200), "                      \
    "coalesce((extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.state_change, a.backend_start)) "       \
    "* 1000000)::bigint, 0), coalesce(a.state LIKE 'idle in transaction%', false), false"
#define PREPARED                                                                                                       \
    "0, p.owner::text, '', 'prepared', p.gid, (extract(epoch FROM clock_timestamp() - p.prepared) * 1000000)::bigint," \
    " false, true"

/* Its locks have no pid, and the virtual transaction of the session that prepared it, or of none behind a restart: its
 * lock of its own number tells whose they are. */
#define OF_PREPARED(lock)                                                                                              \
    "x.pid IS NULL AND x.locktype = 'transactionid' AND x.transactionid = p.transaction "                              \
    "AND x.virtualtransaction = " lock ".virtualtransaction"

static enum banyan_status read_them(struct pg_conn *conn, const char *sql, const struct pg_param *param,
                                    struct banyan_arena *arena, struct blocker **ret, size_t *ret_count,
                                    struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn, sql, param, 1, &result, err);
    struct blocker *list;
    size_t count;

    if (st != BANYAN_OK)
        return st;
    count = pg_rows(result);
    list = banyan_arena_zalloc(arena, (count + 1) * sizeof(*list));
    for (size_t i = 0; i < count; i++)
        list[i] = (struct blocker){
            .pid = (int)pg_int(result, i, 0),
            .user = banyan_arena_str(arena, pg_text(result, i, 1)),
            .application = banyan_arena_str(arena, pg_text(result, i, 2)),
            .state = banyan_arena_str(arena, pg_text(result, i, 3)),
            .query = banyan_arena_str(arena, pg_text(result, i, 4)),
            .age_us = pg_int(result, i, 5),
            .idle_in_transaction = pg_bool(result, i, 6),
            .prepared = pg_bool(result, i, 7),
        };
    pg_result_free(result);
    *ret = list;
    *ret_count = count;
    return BANYAN_OK;
}

enum banyan_status blockers_of(struct pg_conn *conn, int pid, struct banyan_arena *arena, struct blocker **ret,
                               size_t *ret_count, struct banyan_error *err)
{
    static const char sql[] =
        "WITH waited AS MATERIALIZED (SELECT DISTINCT unnest(pg_blocking_pids($1::int)) AS pid) "
        "SELECT " SESSION " FROM waited w JOIN pg_stat_activity a ON a.pid = w.pid "
        "UNION ALL SELECT " PREPARED " FROM pg_prepared_xacts p WHERE EXISTS (SELECT FROM waited WHERE pid = 0) "
        "AND EXISTS (SELECT FROM pg_locks mine JOIN pg_locks held ON held.pid IS NULL AND held.granted "
        "AND held.locktype = mine.locktype AND held.database IS NOT DISTINCT FROM mine.database "
        "AND (held.relation = mine.relation OR held.transactionid = mine.transactionid) "
        "JOIN pg_locks x ON " OF_PREPARED("held") " WHERE mine.pid = $1::int AND NOT mine.granted) "
                                                  "ORDER BY 6 DESC";
    char text[16];
    struct pg_param param;

    (void)snprintf(text, sizeof(text), "%d", pid); /* fits */
    param.text = banyan_str_of(text);
    return read_them(conn, sql, &param, arena, ret, ret_count, err);
}

enum banyan_status blockers_on(struct pg_conn *conn, const struct banyan_str *relations, size_t count,
                               struct banyan_arena *arena, struct blocker **ret, size_t *ret_count,
                               struct banyan_error *err)
{
    static const char sql[] =
        "WITH wanted AS MATERIALIZED (SELECT to_regclass(name)::oid AS oid FROM jsonb_array_elements_text($1::jsonb) "
        "name), held AS MATERIALIZED (SELECT DISTINCT l.pid, l.virtualtransaction FROM pg_locks l "
        "JOIN wanted w ON w.oid = l.relation WHERE l.locktype = 'relation' AND l.database = "
        "(SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) "
        "SELECT " SESSION " FROM (SELECT DISTINCT pid FROM held) h JOIN pg_stat_activity a ON a.pid = h.pid "
        "WHERE a.pid <> pg_backend_pid() "
        "UNION ALL SELECT " PREPARED " FROM pg_prepared_xacts p WHERE EXISTS (SELECT FROM held "
        "JOIN pg_locks x ON " OF_PREPARED("held") " WHERE held.pid IS NULL) ORDER BY 6 DESC";
    struct banyan_buf json = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_param param;
    enum banyan_status st;

    banyan_buf_add_text(&json, "[");
    for (size_t i = 0; i < count; i++) {
        banyan_buf_add_text(&json, i == 0 ? "" : ",");
        banyan_buf_add_json(&json, relations[i]);
    }
    banyan_buf_add_text(&json, "]");
    param.text = banyan_buf_str(&json);
    st = read_them(conn, sql, &param, arena, ret, ret_count, err);
    banyan_buf_release(&json);
    return st;
}

enum banyan_status blockers_end_idle(struct pg_conn *conn, const struct blocker *blockers, size_t count, int64_t age_us,
                                     size_t *ret, struct banyan_error *err)
{
    static const char sql[] = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1::int "
                              "AND state LIKE 'idle in transaction%' AND pid <> pg_backend_pid() AND state_change < "
                              "clock_timestamp() - $2::bigint * interval '1 microsecond'";
    enum banyan_status st = BANYAN_OK;
    size_t ended = 0;

    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        char pid[16], age[24];
        struct pg_param params[2];
        struct pg_result *result = NULL;

        if (!blockers[i].idle_in_transaction || blockers[i].prepared)
            continue;
        (void)snprintf(pid, sizeof(pid), "%d", blockers[i].pid); /* fits */
        (void)snprintf(age, sizeof(age), "%" PRId64, age_us);    /* fits */
        params[0].text = banyan_str_of(pid);
        params[1].text = banyan_str_of(age);
        st = pg_exec(conn, sql, params, 2, &result, err);
        if (st == BANYAN_OK && pg_rows(result) > 0 && pg_bool(result, 0, 0))
            ended++;
        pg_result_free(result);
    }
    if (st == BANYAN_OK)
        *ret = ended;
    else
        banyan_error_context(err, "an idle blocker cannot be ended");
    return st;
}

struct banyan_str blocker_text(const struct blocker *blocker, struct banyan_arena *arena)
{
    int64_t tenths = blocker->age_us / 100000;

    if (blocker->prepared)
        return banyan_arena_printf(arena, "prepared transaction '%.*s' of %.*s (for %" PRId64 ".%d s)",
                                   (int)blocker->query.size, blocker->query.data, (int)blocker->user.size,
                                   blocker->user.data, tenths / 10, (int)(tenths % 10));
    return banyan_arena_printf(arena, "pid %d (%.*s, user %.*s, %.*s for %" PRId64 ".%d s): %.*s", blocker->pid,
                               (int)blocker->application.size, blocker->application.data, (int)blocker->user.size,
                               blocker->user.data, (int)blocker->state.size, blocker->state.data, tenths / 10,
                               (int)(tenths % 10), (int)blocker->query.size, blocker->query.data);
}
