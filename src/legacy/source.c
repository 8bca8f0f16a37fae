/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publication, slot, proofs.  See source.h.
 *
 * The first barrier: after the slot was made, its exported snapshot E and an ordinary snapshot B are compared until B
 * sees everything that E sees.  From then on whatever is committed before the slot's start is visible to every chunk,
 * and whatever is not visible comes in the stream.
 */
#include "legacy/source.h"

#include <stdio.h>
#include <string.h>

#include "os/retry.h"

enum {
    SQL_BYTES_MAX = 256 * 1024,
    ACTIVE_WAIT_US = 5 * 1000 * 1000, /* for a reader of ours to notice that its client is gone */
    ACTIVE_KILL_WAIT_US = 5 * 1000 * 1000,
    BARRIER_PAUSE_US = 5 * 1000,
};

enum banyan_status source_connect(struct legacy *legacy, bool replication, struct pg_conn **ret,
                                  struct banyan_error *err)
{
    struct pg_options options = {
        .conninfo = legacy->options.conninfo,
        .application_name = legacy->application_name.data,
        .replication = replication,
        .stop = legacy->options.stop,
    };
    return pg_connect(&options, ret, err);
}

static enum banyan_status read_snapshot(struct pg_conn *conn, const char *sql, struct banyan_arena *arena,
                                        struct pg_snapshot *ret, uint64_t *ret_lsn, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    uint64_t lsn = 0;
    enum banyan_status status = pg_exec(conn, sql, NULL, 0, &result, err);
    if (status != BANYAN_OK)
        return status;
    if (pg_rows(result) != 1 || !pg_snapshot_parse(pg_text(result, 0, 0), arena, ret) ||
        (ret_lsn != NULL && !pg_lsn_parse(pg_text(result, 0, 1), &lsn)))
        status = banyan_error_set(err, BANYAN_PROTOCOL, "the server's snapshot is not readable");
    else if (ret_lsn != NULL)
        *ret_lsn = lsn;
    pg_result_free(result);
    return status;
}

enum banyan_status source_snapshot(struct pg_conn *conn, struct banyan_arena *arena, struct pg_snapshot *ret,
                                   uint64_t *ret_lsn, struct banyan_error *err)
{
    /* The statement's snapshot is taken before it runs, so the position is the later of the two. */
    return read_snapshot(conn, "SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_current_wal_insert_lsn()",
                         arena, ret, ret_lsn, err);
}

enum banyan_status source_emit(struct pg_conn *conn, const char *prefix, const char *token, uint64_t *ret_lsn,
                               struct banyan_error *err)
{
    struct pg_result *result = NULL;
    struct pg_param params[] = {{banyan_str_of(prefix)}, {banyan_str_of(token)}};
    uint64_t lsn = 0;
    enum banyan_status status =
        pg_exec(conn, "SELECT pg_catalog.pg_logical_emit_message(true, $1, $2)", params, 2, &result, err);
    if (status == BANYAN_OK && (pg_rows(result) != 1 || !pg_lsn_parse(pg_text(result, 0, 0), &lsn)))
        status = banyan_error_set(err, BANYAN_PROTOCOL, "the position of a message is not readable");
    if (status == BANYAN_OK && ret_lsn != NULL)
        *ret_lsn = lsn;
    pg_result_free(result);
    return status;
}

/* ---- publication ---- */

/* A walk over the tables of all mappings. */
struct each_table {
    const struct legacy *legacy;
    size_t mapping, index;
    bool started;
    const struct legacy_table *table;
};

static bool next_table(struct each_table *each)
{
    const struct legacy *legacy = each->legacy;
    if (each->started)
        each->index++;
    each->started = true;
    while (each->mapping < legacy->mapping_count && each->index == legacy->tables[each->mapping].count) {
        each->mapping++;
        each->index = 0;
    }
    if (each->mapping == legacy->mapping_count)
        return false;
    each->table = &legacy->tables[each->mapping].tables[each->index];
    return true;
}

static enum banyan_status check_identity(const struct legacy_table *table, bool is_root, struct pg_conn *conn,
                                         struct banyan_error *err)
{
    char oid[16];
    snprintf(oid, sizeof(oid), "%u", table->oid);
    struct pg_param params[] = {{banyan_str_of(oid)}};
    struct pg_result *result = NULL;
    enum banyan_status status = pg_exec(
        conn,
        "WITH leaf (oid) AS (SELECT $1::oid WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_partitioned_table WHERE"
        " partrelid = $1::oid) UNION SELECT relid FROM pg_catalog.pg_partition_tree($1::oid::regclass) WHERE isleaf)"
        "SELECT coalesce(bool_and(c.relreplident = 'f' OR EXISTS (SELECT FROM pg_catalog.pg_index i"
        " WHERE i.indrelid = c.oid AND i.indisvalid AND"
        " CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)), true)"
        " FROM leaf JOIN pg_catalog.pg_class c ON c.oid = leaf.oid",
        params, 1, &result, err);
    if (status != BANYAN_OK)
        return status;
    bool has_identity = pg_bool(result, 0, 0);
    pg_result_free(result);
    if (!has_identity) {
        banyan_error_set(err, BANYAN_TABLE,
                         "table %s has no replica identity: once published, every UPDATE and DELETE of the "
                         "application would fail",
                         table->spec->name);
        banyan_error_hint(err, "give it a primary key, or ALTER TABLE %s REPLICA IDENTITY FULL", table->spec->name);
        return BANYAN_TABLE;
    }
    if (is_root && !table->key_in_identity) {
        banyan_error_set(err, BANYAN_TABLE,
                         "table %s: its replica identity does not contain the key %s, so that a "
                         "DELETE would not say which one is gone",
                         table->spec->name, table->spec->key_column);
        banyan_error_hint(err, "ALTER TABLE %s REPLICA IDENTITY USING INDEX a unique index with %s, or FULL",
                          table->spec->name, table->spec->key_column);
        return BANYAN_TABLE;
    }
    return BANYAN_OK;
}

static enum banyan_status create_publication(struct legacy *legacy, struct pg_conn *conn, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_BYTES_MAX);
    banyan_buf_add_text(&sql, "CREATE PUBLICATION ");
    pg_add_identifier(&sql, banyan_str_of(legacy->options.publication));
    /* The server takes a table that is in several mappings once. */
    for (struct each_table each = {.legacy = legacy}; next_table(&each);) {
        banyan_buf_add_text(&sql, each.mapping == 0 && each.index == 0 ? " FOR TABLE " : ", ");
        pg_add_table(&sql, banyan_str_of(each.table->spec->name));
    }
    banyan_buf_add_text(&sql,
                        " WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)");
    enum banyan_status status =
        sql.overflow ? banyan_error_set(err, BANYAN_LIMIT, "too many table names") : pg_run(conn, sql.data, err);
    banyan_buf_release(&sql);
    if (status == BANYAN_PRIVILEGE) {
        banyan_error_clear(err);
        banyan_error_set(err, status, "publication %s is missing, and this role may not make it",
                         legacy->options.publication);
        banyan_error_hint(err,
                          "the owner of the tables makes it: CREATE PUBLICATION \"%s\" FOR TABLE …, with every "
                          "table that `banyan legacy check` lists",
                          legacy->options.publication);
    } else if (status != BANYAN_OK) {
        banyan_error_context(err, "publication %s", legacy->options.publication);
    }
    return status;
}

/* Better now than in the middle of the backfill, when the slot is there. */
static enum banyan_status check_readable(const struct legacy_table *table, struct pg_conn *conn,
                                         struct banyan_error *err)
{
    char oid[16];
    snprintf(oid, sizeof(oid), "%u", table->oid);
    struct pg_param params[] = {{banyan_str_of(oid)}};
    struct pg_result *result = NULL;
    enum banyan_status status = pg_exec(conn, "SELECT pg_catalog.has_table_privilege($1::oid, 'SELECT'), current_user",
                                        params, 1, &result, err);
    if (status == BANYAN_OK && !pg_bool(result, 0, 0)) {
        struct banyan_str user = pg_text(result, 0, 1);
        status = banyan_error_set(err, BANYAN_PRIVILEGE, "role %.*s may not read table %s", (int)user.size, user.data,
                                  table->spec->name);
        banyan_error_hint(err, "GRANT SELECT ON %s TO \"%.*s\"", table->spec->name, (int)user.size, user.data);
    }
    pg_result_free(result);
    return status;
}

static enum banyan_status check_published(struct legacy *legacy, struct pg_conn *conn, const struct legacy_table *table,
                                          struct banyan_error *err)
{
    char oid[16];
    snprintf(oid, sizeof(oid), "%u", table->oid);
    struct pg_param params[] = {{banyan_str_of(legacy->options.publication)}, {banyan_str_of(oid)}};
    struct pg_result *result = NULL;
    /* Row filters came with version 15; the row as JSON has no such member before. */
    enum banyan_status status =
        pg_exec(conn,
                "SELECT FROM pg_catalog.pg_publication_tables t JOIN pg_catalog.pg_class c ON c.relname = t.tablename"
                " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = t.schemaname"
                " WHERE t.pubname = $1 AND c.oid = $2::oid AND pg_catalog.to_jsonb(t) ->> 'rowfilter' IS NULL",
                params, 2, &result, err);
    if (status != BANYAN_OK)
        return status;
    bool found = pg_rows(result) > 0;
    pg_result_free(result);
    if (found)
        return BANYAN_OK;
    banyan_error_set(err, BANYAN_SETTING, "publication %s does not have the whole table %s",
                     legacy->options.publication, table->spec->name);
    banyan_error_hint(err,
                      "ALTER PUBLICATION \"%s\" ADD TABLE %s (without a row filter), or name a publication that "
                      "does not exist: it is made",
                      legacy->options.publication, table->spec->name);
    return BANYAN_SETTING;
}

enum banyan_status source_publication(struct legacy *legacy, struct pg_conn *conn, struct banyan_error *err)
{
    struct pg_param params[] = {{banyan_str_of(legacy->options.publication)}};
    struct pg_result *result = NULL;
    enum banyan_status status = pg_exec(conn,
                                        "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate"
                                        " FROM pg_catalog.pg_publication WHERE pubname = $1",
                                        params, 1, &result, err);
    if (status != BANYAN_OK)
        return status;
    bool exists = pg_rows(result) > 0;
    bool complete = exists && pg_bool(result, 0, 0);
    pg_result_free(result);
    for (struct each_table each = {.legacy = legacy}; status == BANYAN_OK && next_table(&each);)
        status = check_identity(each.table, each.index == 0, conn, err);
    for (struct each_table each = {.legacy = legacy}; status == BANYAN_OK && next_table(&each);)
        status = check_readable(each.table, conn, err);
    if (status != BANYAN_OK)
        return status;
    if (!exists)
        return create_publication(legacy, conn, err);
    if (!complete) {
        banyan_error_set(err, BANYAN_SETTING, "publication %s leaves out some operations", legacy->options.publication);
        banyan_error_hint(err, "ALTER PUBLICATION \"%s\" SET (publish = 'insert, update, delete, truncate')",
                          legacy->options.publication);
        return BANYAN_SETTING;
    }
    for (struct each_table each = {.legacy = legacy}; status == BANYAN_OK && next_table(&each);)
        status = check_published(legacy, conn, each.table, err);
    return status;
}

/* ---- making the slot ---- */

/* Who made the slot wait: the oldest writers, prepared transactions first. */
static void name_blockers(struct pg_conn *conn, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    struct banyan_error ignored = BANYAN_ERROR_INIT;
    enum banyan_status status = pg_exec(
        conn,
        "SELECT pg_catalog.string_agg(who, ', ') FROM ("
        "(SELECT 'prepared transaction ' || pg_catalog.quote_literal(gid) FROM pg_catalog.pg_prepared_xacts"
        " ORDER BY prepared LIMIT 5) UNION ALL "
        "(SELECT 'pid ' || pid || ' (' || usename || ', ' || application_name || ', since ' || xact_start || ')'"
        " FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()"
        " ORDER BY xact_start LIMIT 5)) AS blockers (who)",
        NULL, 0, &result, &ignored);
    if (status == BANYAN_OK && pg_rows(result) == 1 && pg_text(result, 0, 0).size > 0) {
        struct banyan_str who = pg_text(result, 0, 0);
        banyan_error_detail(err, "open: %.*s", (int)who.size, who.data);
    }
    pg_result_free(result);
    banyan_error_hint(err,
                      "what is to be captured anew can begin only when every transaction that wrote before has ended: "
                      "end or wait for those, then start again");
}

enum banyan_status source_slot_free(struct legacy *legacy, struct pg_conn *conn, bool is_ours, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_str name = banyan_str_of(legacy->options.slot);
    struct pg_slot slot = {.exists = false};
    enum banyan_status status = pg_slot_read(conn, name, &arena, &slot, err);
    bool exists = slot.exists;
    banyan_arena_release(&arena);
    if (status != BANYAN_OK || !exists)
        return status;
    if (is_ours)
        return pg_slot_drop(conn, name, err);
    banyan_error_set(err, BANYAN_SLOT, "the replication slot %s exists, and this store knows nothing of it",
                     legacy->options.slot);
    banyan_error_hint(err,
                      "it belongs to somebody else, or to another store: choose another name for the slot, or drop "
                      "it when nobody needs it: SELECT pg_drop_replication_slot('%s')",
                      legacy->options.slot);
    return BANYAN_SLOT;
}

static bool running(const struct pg_snapshot *snapshot, uint64_t xid)
{
    for (size_t i = 0; i < snapshot->xip_count; i++)
        if (snapshot->xip[i] == xid)
            return true;
    return false;
}

/* Does an ordinary snapshot see everything that the exported one sees? */
static bool sees_all(const struct pg_snapshot *ordinary, const struct pg_snapshot *exported)
{
    if (ordinary->xmax < exported->xmax)
        return false;
    for (size_t i = 0; i < ordinary->xip_count; i++)
        if (ordinary->xip[i] < exported->xmax && !running(exported, ordinary->xip[i]))
            return false;
    return true;
}

static enum banyan_status import_snapshot(struct pg_conn *conn, struct banyan_str exported, struct banyan_arena *arena,
                                          struct pg_snapshot *ret, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_BYTES_MAX);
    banyan_buf_add_text(&sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ");
    pg_add_literal(&sql, exported);
    enum banyan_status status = pg_run(conn, sql.data, err);
    banyan_buf_release(&sql);
    if (status == BANYAN_OK)
        status = read_snapshot(conn, "SELECT pg_catalog.pg_current_snapshot()::text", arena, ret, NULL, err);
    struct banyan_error ignored = BANYAN_ERROR_INIT;
    enum banyan_status ended = pg_run(conn, "COMMIT", status == BANYAN_OK ? err : &ignored);
    return status == BANYAN_OK ? ended : status;
}

static enum banyan_status first_barrier(struct legacy *legacy, struct pg_conn *conn, const struct pg_snapshot *exported,
                                        struct banyan_arena *arena, struct banyan_error *err)
{
    struct os_retry retry = {.first_us = BARRIER_PAUSE_US, .pause_us_max = 20 * BARRIER_PAUSE_US};
    for (;;) {
        struct pg_snapshot ordinary;
        enum banyan_status status = source_snapshot(conn, arena, &ordinary, NULL, err);
        if (status != BANYAN_OK || sees_all(&ordinary, exported))
            return status;
        if (!os_retry_pause(&retry, legacy->options.stop))
            return banyan_error_set(err, BANYAN_STOPPED, "stopped while waiting for the slot's snapshot");
    }
}

enum banyan_status source_slot_create(struct legacy *legacy, struct pg_conn *conn, struct pg_conn *replication,
                                      bool leftover_is_ours, struct banyan_arena *arena,
                                      struct pg_snapshot *ret_snapshot, struct banyan_error *err)
{
    struct banyan_str name = banyan_str_of(legacy->options.slot);
    struct pg_slot_created created;
    enum banyan_status status = source_slot_free(legacy, conn, leftover_is_ours, err);
    if (status != BANYAN_OK)
        return status;
    status = pg_slot_create(replication, name, legacy->options.lock_timeout_us, arena, &created, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "slot %s", legacy->options.slot);
        if (status == BANYAN_TIMEOUT || status == BANYAN_BUSY)
            name_blockers(conn, err);
        return status;
    }
    /* The replication connection must stay idle until the import: its next command ends the snapshot. */
    status = import_snapshot(conn, created.snapshot, arena, ret_snapshot, err);
    if (status == BANYAN_OK)
        status = first_barrier(legacy, conn, ret_snapshot, arena, err);
    if (status == BANYAN_OK) {
        legacy->consistent_lsn = created.consistent_lsn;
        return BANYAN_OK;
    }
    struct banyan_error ignored = BANYAN_ERROR_INIT;
    enum banyan_status dropped = pg_slot_drop(conn, name, &ignored);
    (void)dropped; /* else the next start does it */
    return status;
}

/* ---- a mapping that comes later ---- */

enum banyan_status source_wait_settled(struct legacy *legacy, struct pg_conn *conn, struct banyan_arena *arena,
                                       struct pg_snapshot *ret_snapshot, struct banyan_error *err)
{
    struct os_retry retry = {.first_us = BARRIER_PAUSE_US,
                             .pause_us_max = 20 * BARRIER_PAUSE_US,
                             .total_us_max = legacy->options.lock_timeout_us};
    struct pg_snapshot first, later;
    enum banyan_status status = source_snapshot(conn, arena, &first, NULL, err);
    for (;;) {
        if (status == BANYAN_OK)
            status = source_snapshot(conn, arena, &later, NULL, err);
        if (status != BANYAN_OK)
            return status;
        if (later.xmin >= first.xmax) {
            *ret_snapshot = later;
            return BANYAN_OK;
        }
        if (!os_retry_pause(&retry, legacy->options.stop))
            break;
    }
    if (os_stop_requested(legacy->options.stop))
        return banyan_error_set(err, BANYAN_STOPPED, "stopped while waiting for older transactions to end");
    banyan_error_set(err, BANYAN_TIMEOUT, "transactions that began before are still open");
    name_blockers(conn, err);
    return BANYAN_TIMEOUT;
}

/* ---- proofs ---- */

enum banyan_status source_prove_system(struct legacy *legacy, struct pg_conn *replication, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct pg_system system;
    enum banyan_status status = pg_identify(replication, &arena, &system, err);
    if (status != BANYAN_OK)
        goto out;
    if (!banyan_str_equal(system.id, legacy->system_id)) {
        status =
            banyan_error_set(err, BANYAN_SLOT, "this is another server: its system identifier is %.*s, we know %.*s",
                             (int)system.id.size, system.id.data, (int)legacy->system_id.size, legacy->system_id.data);
        banyan_error_hint(err, "connect to the server of the last start, or begin anew with another source name");
    } else if (system.timeline != legacy->timeline) {
        status = banyan_error_set(err, BANYAN_SLOT, "the server is on timeline %u, we know %u", system.timeline,
                                  legacy->timeline);
        banyan_error_hint(err, "%s",
                          system.timeline > legacy->timeline
                              ? "a standby was promoted: whether the slot still has everything cannot be "
                                "proven, begin anew with another source name and slot"
                              : "this is an old primary: connect to the present one");
    }
out:
    banyan_arena_release(&arena);
    return status;
}

static enum banyan_status check_slot(struct legacy *legacy, const struct pg_slot *slot, struct banyan_str database,
                                     uint64_t cursor_lsn, struct banyan_error *err)
{
    static const char anew[] = "changes are lost for good: begin anew with another source name and slot";
    const char *name = legacy->options.slot;
    if (!slot->exists) {
        banyan_error_set(err, BANYAN_SLOT, "the replication slot %s is gone", name);
        banyan_error_hint(err, "%s", anew);
    } else if (!banyan_str_equal(slot->plugin, BANYAN_STR("pgoutput")) || !banyan_str_equal(slot->database, database)) {
        banyan_error_set(err, BANYAN_SLOT, "the replication slot %s is not ours: plugin %.*s, database %.*s", name,
                         (int)slot->plugin.size, slot->plugin.data, (int)slot->database.size, slot->database.data);
        banyan_error_hint(err, "somebody dropped it and made another one; %s", anew);
    } else if (banyan_str_equal(slot->wal_status, BANYAN_STR("lost"))) {
        banyan_error_set(err, BANYAN_SLOT,
                         "the replication slot %s was invalidated: the server removed WAL that we "
                         "did not have",
                         name);
        banyan_error_hint(err, "raise max_slot_wal_keep_size; %s", anew);
    } else if (slot->confirmed_lsn > cursor_lsn) {
        char there[PG_LSN_TEXT_SIZE], here[PG_LSN_TEXT_SIZE];
        pg_lsn_format(slot->confirmed_lsn, there);
        pg_lsn_format(cursor_lsn, here);
        banyan_error_set(err, BANYAN_SLOT,
                         "the replication slot %s starts at %s, but the log ends at %s: what is in "
                         "between is lost",
                         name, there, here);
        banyan_error_hint(err, "somebody advanced or re-made the slot, or the store is an old copy; %s", anew);
    } else
        return BANYAN_OK;
    return BANYAN_SLOT;
}

/* The reader is one of ours whose client is gone: this store is open once only. */
static enum banyan_status end_reader(struct legacy *legacy, struct pg_conn *conn, int pid, struct banyan_error *err)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", pid);
    struct pg_param params[] = {{banyan_str_of(text)}, {legacy->application_name}};
    return pg_exec(conn,
                   "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
                   " WHERE pid = $1::int AND application_name = $2",
                   params, 2, NULL, err);
}

static enum banyan_status read_slot(struct legacy *legacy, struct pg_conn *conn, uint64_t cursor_lsn,
                                    struct banyan_arena *arena, int *ret_pid, struct banyan_error *err)
{
    struct pg_slot slot;
    struct pg_result *result = NULL;
    enum banyan_status status = pg_slot_read(conn, banyan_str_of(legacy->options.slot), arena, &slot, err);
    if (status == BANYAN_OK)
        status = pg_exec(conn, "SELECT pg_catalog.current_database()::text", NULL, 0, &result, err);
    if (status == BANYAN_OK)
        status = check_slot(legacy, &slot, pg_text(result, 0, 0), cursor_lsn, err);
    if (status == BANYAN_OK)
        *ret_pid = slot.active ? slot.active_pid : 0;
    pg_result_free(result);
    return status;
}

enum banyan_status source_prove_slot(struct legacy *legacy, struct pg_conn *conn, uint64_t cursor_lsn,
                                     struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    enum banyan_status status = BANYAN_OK;
    int pid = 0;
    for (unsigned round = 0; round < 2 && status == BANYAN_OK; round++) {
        struct os_retry retry = {.first_us = 20 * 1000,
                                 .pause_us_max = 500 * 1000,
                                 .total_us_max = round == 0 ? ACTIVE_WAIT_US : ACTIVE_KILL_WAIT_US};
        do {
            banyan_arena_reset(&arena);
            status = read_slot(legacy, conn, cursor_lsn, &arena, &pid, err);
        } while (status == BANYAN_OK && pid != 0 && os_retry_pause(&retry, legacy->options.stop));
        if (status != BANYAN_OK || pid == 0)
            goto out;
        if (round == 0)
            status = end_reader(legacy, conn, pid, err);
    }
    if (status == BANYAN_OK) {
        status = banyan_error_set(err, BANYAN_BUSY, "the replication slot %s is being read by process %d of the server",
                                  legacy->options.slot, pid);
        banyan_error_hint(err, "stop the other reader; SELECT pg_terminate_backend(%d) ends one that was left behind",
                          pid);
    }
out:
    banyan_arena_release(&arena);
    return status;
}
