/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System identity and replication slots.
 *
 * Creating a slot waits for every transaction that is older, prepared ones too, one after the other; lock_timeout
 * bounds each of these waits at the server, and a deadline of ours their sum.  What blocks is named in the error.
 *
 * Invariants:
 *   1. A failed creation leaves no slot of ours: the server drops its half-made one, and what it may have finished
 *      while we cancelled is dropped here.  A slot that existed before is never touched.
 *   2. Names go into statements through pg_add_identifier() and pg_add_literal() only.
 */
#include "pg/replication.h"

#include <inttypes.h>
#include <stdio.h>

#include "pg/pg_int.h"

enum {
    DEADLINE_SLACK_US = 500000, /* let the server's own time limit speak first: it says more */
};

/* A cell that has to be a position; NULL is 0. */
static bool read_lsn(const struct pg_result *result, size_t column, uint64_t *ret)
{
    struct banyan_str text = pg_text(result, 0, column);

    *ret = 0;
    return text.data == NULL || pg_lsn_parse(text, ret);
}

enum banyan_status pg_identify(struct pg_conn *replication, struct banyan_arena *arena, struct pg_system *ret,
                               struct banyan_error *err)
{
    struct pg_result *result = NULL;
    struct pg_system system;
    enum banyan_status st = pg_simple(replication, "IDENTIFY_SYSTEM", PG_CONTEXT_STATEMENT, &result, err);

    if (st != BANYAN_OK)
        return st;
    if (pg_rows(result) != 1 || pg_columns(result) < 3 || pg_text(result, 0, 0).size == 0 ||
        !read_lsn(result, 2, &system.lsn)) {
        st = banyan_error_set(err, BANYAN_PROTOCOL, "%s does not identify itself", replication->description);
        goto out;
    }
    system.id = banyan_arena_str(arena, pg_text(result, 0, 0));
    system.timeline = (uint32_t)pg_int(result, 0, 1);
    *ret = system;
out:
    pg_result_free(result);
    return st;
}

/* ---- creating ---- */

static enum banyan_status check_name(struct banyan_str slot, struct banyan_error *err)
{
    enum banyan_status st;
    bool good = slot.size > 0 && slot.size <= PG_NAME_MAX;

    for (size_t i = 0; i < slot.size && good; i++) {
        char c = slot.data[i];

        good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    }
    if (good)
        return BANYAN_OK;
    st = banyan_error_set(err, BANYAN_CONFIG, "\"%.*s\" is no name for a replication slot",
                          slot.size > 200 ? 200 : (int)slot.size, slot.data);
    banyan_error_hint(err, "Use 1 to %d lower-case letters, digits and underscores.", PG_NAME_MAX);
    return st;
}

/* Say in the error's detail who is older than the slot would be. */
static void name_blockers(struct pg_conn *conn, struct banyan_error *err)
{
    static const char sql[] =
        "SELECT coalesce(string_agg(who, '; '), '') FROM ("
        "(SELECT format('pid %s (%s, %s) in a transaction for %s s', pid, usename, application_name,"
        " round(extract(epoch FROM clock_timestamp() - xact_start))) AS who FROM pg_stat_activity"
        " WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 5)"
        " UNION ALL (SELECT format('prepared transaction %L since %s', gid, prepared) FROM pg_prepared_xacts"
        " ORDER BY prepared LIMIT 5)) AS blockers";
    struct pg_result *result = NULL;

    conn->deadline_us = pg_now_us() + PG_CANCEL_WAIT_US;
    if (pg_simple(conn, sql, PG_CONTEXT_STATEMENT, &result, NULL) == BANYAN_OK && pg_text(result, 0, 0).size > 0)
        banyan_error_detail(err, "Waited for: %.*s", (int)pg_text(result, 0, 0).size, pg_text(result, 0, 0).data);
    conn->deadline_us = 0;
    pg_result_free(result);
}

static enum banyan_status slot_exists(struct pg_conn *conn, struct banyan_str slot, bool *ret, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(1000);
    struct pg_result *result = NULL;
    enum banyan_status st;

    banyan_buf_add_text(&sql, "SELECT 1 FROM pg_catalog.pg_replication_slots WHERE slot_name = ");
    pg_add_literal(&sql, slot);
    st = pg_simple(conn, sql.data, PG_CONTEXT_SLOT, &result, err);
    if (st == BANYAN_OK)
        *ret = pg_rows(result) > 0;
    pg_result_free(result);
    banyan_buf_release(&sql);
    return st;
}

/* After a failure: drop what the server may have finished all the same.  Errors are second to the first one. */
static void drop_leftover(struct pg_conn *conn, struct banyan_str slot, struct banyan_error *err)
{
    struct os_stop *stop = conn->stop;
    bool exists = false;

    if (conn->broken || PQstatus(conn->pq) != CONNECTION_OK) {
        banyan_error_hint(err, "If pg_replication_slots shows a slot \"%.*s\", drop it: it would hold back WAL.",
                          (int)slot.size, slot.data);
        return;
    }
    conn->stop = NULL; /* cleaning up is not to be stopped */
    conn->deadline_us = pg_now_us() + PG_CANCEL_WAIT_US;
    if (slot_exists(conn, slot, &exists, NULL) == BANYAN_OK && exists && pg_slot_drop(conn, slot, NULL) != BANYAN_OK)
        banyan_error_hint(err, "Drop the slot \"%.*s\" by hand: it holds back WAL.", (int)slot.size, slot.data);
    conn->deadline_us = 0;
    conn->stop = stop;
}

static enum banyan_status create(struct pg_conn *conn, struct banyan_str slot, int64_t lock_timeout_us,
                                 struct pg_result **ret, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(1000);
    enum banyan_status st;

    banyan_buf_add_text(&sql, "CREATE_REPLICATION_SLOT ");
    pg_add_identifier(&sql, slot);
    banyan_buf_add_text(&sql, pg_server_version(conn) >= 150000 ? " LOGICAL pgoutput (SNAPSHOT 'export')"
                                                                : " LOGICAL pgoutput EXPORT_SNAPSHOT");
    conn->deadline_us = lock_timeout_us > 0 ? pg_now_us() + lock_timeout_us + DEADLINE_SLACK_US : 0;
    st = pg_simple(conn, sql.data, PG_CONTEXT_SLOT, ret, err);
    conn->deadline_us = 0;
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status set_lock_timeout(struct pg_conn *conn, int64_t lock_timeout_us, struct banyan_error *err)
{
    int64_t ms = lock_timeout_us <= 0 ? 0 : (lock_timeout_us + 999) / 1000;
    char sql[64];

    (void)snprintf(sql, sizeof(sql), "SET lock_timeout = %" PRId64, ms > INT32_MAX ? INT32_MAX : ms); /* fits */
    return pg_simple(conn, sql, PG_CONTEXT_SLOT, NULL, err);
}

enum banyan_status pg_slot_create(struct pg_conn *replication, struct banyan_str slot, int64_t lock_timeout_us,
                                  struct banyan_arena *arena, struct pg_slot_created *ret, struct banyan_error *err)
{
    struct pg_slot_created created = {0};
    struct pg_result *result = NULL;
    bool exists = false;
    enum banyan_status st = check_name(slot, err);

    if (st != BANYAN_OK)
        return st;
    st = slot_exists(replication, slot, &exists, err);
    if (st == BANYAN_OK && exists) {
        st = banyan_error_set(err, BANYAN_SLOT, "the replication slot \"%.*s\" exists already", (int)slot.size,
                              slot.data);
        banyan_error_hint(err, "Drop it if nothing needs it, or choose another name.");
    }
    if (st == BANYAN_OK)
        st = set_lock_timeout(replication, lock_timeout_us, err);
    if (st != BANYAN_OK)
        return st;
    st = create(replication, slot, lock_timeout_us, &result, err);
    if (st == BANYAN_OK && (pg_rows(result) != 1 || pg_columns(result) < 3 ||
                            !read_lsn(result, 1, &created.consistent_lsn) || pg_text(result, 0, 2).size == 0))
        st = banyan_error_set(err, BANYAN_PROTOCOL, "the server made the slot \"%.*s\" without a snapshot",
                              (int)slot.size, slot.data);
    if (st == BANYAN_OK) {
        created.snapshot = banyan_arena_str(arena, pg_text(result, 0, 2));
        *ret = created;
    } else {
        if (st == BANYAN_TIMEOUT && !replication->broken)
            name_blockers(replication, err);
        if (st != BANYAN_SLOT) /* somebody else was faster: it is theirs */
            drop_leftover(replication, slot, err);
    }
    pg_result_free(result);
    return st;
}

/* ---- reading and dropping ---- */

enum banyan_status pg_slot_read(struct pg_conn *conn, struct banyan_str slot, struct banyan_arena *arena,
                                struct pg_slot *ret, struct banyan_error *err)
{
    static const char select[] =
        "SELECT plugin, database, wal_status, active, active_pid, restart_lsn, confirmed_flush_lsn,"
        " pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,"
        " restart_lsn)::bigint, coalesce(safe_wal_size, -1), age(catalog_xmin)"
        " FROM pg_catalog.pg_replication_slots WHERE slot_name = ";
    struct banyan_buf sql = BANYAN_BUF_INIT(4000);
    struct pg_result *result = NULL;
    struct pg_slot read = {.safe_bytes = -1};
    enum banyan_status st;

    banyan_buf_add_text(&sql, select);
    pg_add_literal(&sql, slot);
    if (sql.overflow) {
        st = check_name(slot, err);
        goto out;
    }
    st = pg_simple(conn, sql.data, PG_CONTEXT_SLOT, &result, err);
    if (st != BANYAN_OK)
        goto out;
    read.exists = pg_rows(result) == 1;
    if (read.exists) {
        read.plugin = banyan_arena_str(arena, pg_text(result, 0, 0));
        read.database = banyan_arena_str(arena, pg_text(result, 0, 1));
        read.wal_status = banyan_arena_str(arena, pg_text(result, 0, 2));
        read.active = pg_bool(result, 0, 3);
        read.active_pid = (int)pg_int(result, 0, 4);
        read.kept_bytes = pg_int(result, 0, 7);
        read.safe_bytes = pg_int(result, 0, 8);
        read.catalog_xmin_age = pg_int(result, 0, 9);
        if (!read_lsn(result, 5, &read.restart_lsn) || !read_lsn(result, 6, &read.confirmed_lsn)) {
            st = banyan_error_set(err, BANYAN_PROTOCOL, "the slot's positions cannot be read");
            goto out;
        }
    }
    *ret = read;
out:
    pg_result_free(result);
    banyan_buf_release(&sql);
    return st;
}

enum banyan_status pg_slot_drop(struct pg_conn *conn, struct banyan_str slot, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(4000);
    enum banyan_status st;

    banyan_buf_add_text(&sql, "SELECT pg_catalog.pg_drop_replication_slot(");
    pg_add_literal(&sql, slot);
    banyan_buf_add_text(&sql, ")");
    st = sql.overflow ? check_name(slot, err) : pg_simple(conn, sql.data, PG_CONTEXT_SLOT, NULL, err);
    banyan_buf_release(&sql);
    return st;
}
