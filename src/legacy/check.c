/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-flight: the server, the role, the slot.  The tables and the publication are in check_tables.c.
 *
 * Each question is asked once and answered in the words of an operator: what is there, and what to do about it, as a
 * statement to run where one helps.  A failure is what would stop `banyan serve`; a warning is what may hurt later: the
 * application, the disk, or the completeness of what is captured.  Only SELECTs are run.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "legacy/check_int.h"

enum {
    VERSION_MIN = 140000, /* streaming of open transactions: protocol 2 */
    SLOT_NAME_MAX = 63,
};

/* ---- the report ---- */

static void add(struct check *check, struct check_finding finding)
{
    struct check_report *report = check->report;

    if (report->count == CHECK_FINDINGS_MAX)
        return;
    report->failures += finding.verdict == CHECK_FAILED;
    report->warnings += finding.verdict == CHECK_WARNING;
    finding.name = banyan_arena_str(check->arena, banyan_str_of(finding.name)).data;
    finding.found = banyan_arena_str(check->arena, banyan_str_of(finding.found)).data;
    finding.hint = banyan_arena_str(check->arena, banyan_str_of(finding.hint)).data;
    report->findings[report->count++] = finding;
}

void check_ok(struct check *check, const char *name, const char *found)
{
    add(check, (struct check_finding){CHECK_OK, BANYAN_OK, name, found, NULL});
}

void check_warn(struct check *check, const char *name, const char *found, const char *hint)
{
    add(check, (struct check_finding){CHECK_WARNING, BANYAN_OK, name, found, hint});
}

void check_fail(struct check *check, enum banyan_status status, const char *name, const char *found, const char *hint)
{
    add(check, (struct check_finding){CHECK_FAILED, status, name, found, hint});
}

const char *check_text(struct check *check, const char *format, ...)
{
    char text[BANYAN_ERROR_TEXT_MAX * 2];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* over-long texts are cut */
    va_end(arguments);
    return banyan_arena_str(check->arena, banyan_str_of(text)).data;
}

const char *check_cell(struct check *check, const struct pg_result *result, size_t row, size_t column)
{
    struct banyan_str text = pg_text(result, row, column);

    return text.data == NULL ? "" : banyan_arena_str(check->arena, text).data;
}

/* ---- server ---- */

static void check_version(struct check *check)
{
    int version = pg_server_version(check->conn);
    const char *found =
        check_text(check, "PostgreSQL %d.%d, %s", version / 10000, version % 10000, pg_describe(check->conn));

    if (version < VERSION_MIN)
        check_fail(check, BANYAN_SETTING, "server", found,
                   "Logical replication with streaming of open transactions needs PostgreSQL 14 or later.");
    else
        check_ok(check, "server", found);
}

static void check_wal_level(struct check *check, const char *wal_level, bool standby)
{
    if (strcmp(wal_level, "logical") != 0)
        check_fail(check, BANYAN_SETTING, "wal_level", wal_level,
                   "ALTER SYSTEM SET wal_level = 'logical'; then restart the server.");
    else
        check_ok(check, "wal_level", wal_level);
    if (standby)
        check_fail(check, BANYAN_SETTING, "primary", "the server is a standby",
                   "Connect to the primary: a slot on a standby can hang, and fences cannot be written there.");
    else
        check_ok(check, "primary", "yes");
}

/* Places for slots and for walsenders, of which one each is needed. */
static void check_places(struct check *check, const char *setting, int64_t max, int64_t used, bool have_ours)
{
    const char *found = check_text(check, "%" PRId64 " of %" PRId64 " in use", used, max);

    if (have_ours || used < max)
        check_ok(check, setting, found);
    else
        check_fail(check, BANYAN_SETTING, setting, found,
                   check_text(check, "ALTER SYSTEM SET %s = %" PRId64 "; then restart the server. Or free one.",
                              setting, max + 4));
}

static void check_replication_right(struct check *check, bool may, const char *role)
{
    if (may)
        check_ok(check, "replication right", check_text(check, "role %s has it", role));
    else
        check_fail(
            check, BANYAN_PRIVILEGE, "replication right", check_text(check, "role %s lacks it", role),
            check_text(check, "ALTER ROLE \"%s\" REPLICATION; (on a managed server: its replication role)", role));
}

static void check_retention(struct check *check, int64_t megabytes, const char *shown)
{
    if (megabytes < 0)
        check_warn(check, "max_slot_wal_keep_size",
                   "no limit: while capture is down, WAL is kept until the disk is full",
                   "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf(); beyond it the slot is "
                   "given up instead of the application.");
    else if (megabytes < 1024)
        check_warn(
            check, "max_slot_wal_keep_size", shown,
            "Little WAL is kept while capture is down: the slot may be lost within minutes, and the backfill has "
            "to start again. Some tens of GB are usual.");
    else
        check_ok(check, "max_slot_wal_keep_size", shown);
}

static void check_work_memory(struct check *check, int64_t kilobytes, const char *shown)
{
    if (kilobytes < 4096)
        check_warn(check, "logical_decoding_work_mem", shown,
                   "Small: transactions are streamed or spilled early. The default is 64MB.");
    else
        check_ok(check, "logical_decoding_work_mem", shown);
}

static enum banyan_status check_server(struct check *check, struct banyan_error *err)
{
    static const char sql[] =
        "SELECT current_setting('wal_level'), pg_catalog.pg_is_in_recovery(),"
        " current_setting('max_replication_slots')::bigint, (SELECT count(*) FROM pg_catalog.pg_replication_slots),"
        " current_setting('max_wal_senders')::bigint, (SELECT count(*) FROM pg_catalog.pg_stat_replication),"
        " r.rolsuper OR r.rolreplication OR EXISTS (SELECT FROM pg_catalog.pg_roles m WHERE m.rolname ="
        "  'rds_replication' AND pg_catalog.pg_has_role(m.oid, 'MEMBER')),"
        " current_user::text,"
        " (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'),"
        " current_setting('max_slot_wal_keep_size'),"
        " (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'logical_decoding_work_mem'),"
        " current_setting('logical_decoding_work_mem'),"
        " pg_catalog.has_function_privilege('pg_catalog.pg_logical_emit_message(boolean, text, text)', 'EXECUTE'),"
        " (SELECT pg_catalog.pg_encoding_to_char(encoding) FROM pg_catalog.pg_database"
        "  WHERE datname = current_database()),"
        " EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND active)"
        " FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";
    struct pg_param param = {banyan_str_of(check->options->slot)};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(check->conn, sql, &param, 1, &result, err);

    if (st != BANYAN_OK)
        return st;
    check_wal_level(check, check_cell(check, result, 0, 0), pg_bool(result, 0, 1));
    check_places(check, "max_replication_slots", pg_int(result, 0, 2), pg_int(result, 0, 3), check->slot_exists);
    check_places(check, "max_wal_senders", pg_int(result, 0, 4), pg_int(result, 0, 5), pg_bool(result, 0, 14));
    check_replication_right(check, pg_bool(result, 0, 6), check_cell(check, result, 0, 7));
    check_retention(check, pg_int(result, 0, 8), check_cell(check, result, 0, 9));
    check_work_memory(check, pg_int(result, 0, 10), check_cell(check, result, 0, 11));
    if (!pg_bool(result, 0, 12))
        check_fail(check, BANYAN_PRIVILEGE, "fence right", "the role may not call pg_logical_emit_message()",
                   "GRANT EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) TO the role.");
    if (strcmp(check_cell(check, result, 0, 13), "SQL_ASCII") == 0)
        check_warn(check, "encoding", "SQL_ASCII: the server does not know what its texts are",
                   "Texts that are not UTF-8 cannot be captured.");
    pg_result_free(result);
    return BANYAN_OK;
}

/* ---- slot ---- */

static bool slot_name_valid(const char *name)
{
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

    return size > 0 && size <= SLOT_NAME_MAX && name[size] == '\0';
}

/* A slot of our name that nobody uses: does the store know it? */
static void judge_idle_slot(struct check *check)
{
    struct banyan_str cursor, value;

    if (check->options->store == NULL) {
        check_warn(check, "slot", "it exists and is not in use",
                   "Capture goes on with it if this store made it; else choose another name, or drop it: "
                   "SELECT pg_drop_replication_slot(…).");
        return;
    }
    cursor = banyan_arena_printf(check->arena, "legacy/%s", check->options->name);
    value = store_cursor(check->options->store, cursor, check->arena);
    if (value.data != NULL)
        check_ok(check, "slot", "ours, not in use");
    else
        check_fail(check, BANYAN_SLOT, "slot", "it exists, and this store knows nothing of it",
                   check_text(check,
                              "Choose another name, or drop it when nobody needs it: "
                              "SELECT pg_drop_replication_slot('%s');",
                              check->options->slot));
}

static void judge_slot(struct check *check, const struct pg_result *result)
{
    const char *plugin = check_cell(check, result, 0, 0), *wal_status = check_cell(check, result, 0, 4);

    if (strcmp(plugin, "pgoutput") != 0 || !pg_bool(result, 0, 1))
        check_fail(check, BANYAN_SLOT, "slot", "another slot has this name: not pgoutput, or of another database",
                   "Choose another name for the slot.");
    else if (strcmp(wal_status, "lost") == 0)
        check_fail(check, BANYAN_SLOT, "slot", "its WAL is lost: nothing can be captured with it any more",
                   "Drop it and start the backfill again into a new store; raise max_slot_wal_keep_size first.");
    else if (pg_bool(result, 0, 2))
        check_fail(
            check, BANYAN_BUSY, "slot",
            check_text(check, "in use by pid %" PRId64 " (%s)", pg_int(result, 0, 3), check_cell(check, result, 0, 5)),
            "Stop that process; a connection that is gone is noticed after wal_sender_timeout.");
    else
        judge_idle_slot(check);
}

static enum banyan_status check_slot(struct check *check, struct banyan_error *err)
{
    static const char sql[] =
        "SELECT coalesce(s.plugin::text, ''), s.database IS NOT DISTINCT FROM current_database(), s.active,"
        " s.active_pid, s.wal_status, (SELECT a.application_name FROM pg_catalog.pg_stat_activity a"
        "  WHERE a.pid = s.active_pid) FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1";
    struct pg_param param = {banyan_str_of(check->options->slot)};
    struct pg_result *result = NULL;
    enum banyan_status st;

    if (!slot_name_valid(check->options->slot)) {
        check_fail(check, BANYAN_CONFIG, "slot",
                   check_text(check, "\"%s\" is no name for a slot", check->options->slot),
                   "Use 1 to 63 lower-case letters, digits and underscores.");
        return BANYAN_OK;
    }
    st = pg_exec(check->conn, sql, &param, 1, &result, err);
    if (st != BANYAN_OK)
        return st;
    check->slot_exists = pg_rows(result) > 0;
    if (check->slot_exists)
        judge_slot(check, result);
    else
        check_ok(check, "slot", check_text(check, "%s is free", check->options->slot));
    pg_result_free(result);
    return BANYAN_OK;
}

/* ---- what blocks the making of a slot ---- */

static enum banyan_status check_blockers(struct check *check, struct banyan_error *err)
{
    static const char sql[] =
        "SELECT (SELECT count(*) FROM pg_catalog.pg_prepared_xacts),"
        " (SELECT string_agg(pg_catalog.quote_literal(gid) || ' since ' || prepared::timestamp(0), ', ') FROM ("
        "  SELECT gid, prepared FROM pg_catalog.pg_prepared_xacts ORDER BY prepared LIMIT 5) p),"
        " (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL"
        "  AND xact_start < now() - interval '10 s' AND pid <> pg_catalog.pg_backend_pid()),"
        " (SELECT string_agg(who, ', ') FROM (SELECT 'pid ' || pid || ' (' || coalesce(usename, '') || ', ' ||"
        "  coalesce(state, '') || ', since ' || xact_start::timestamp(0) || ')' FROM pg_catalog.pg_stat_activity"
        "  WHERE backend_xid IS NOT NULL AND xact_start < now() - interval '10 s'"
        "  AND pid <> pg_catalog.pg_backend_pid() ORDER BY xact_start LIMIT 5) AS old (who))";
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(check->conn, sql, NULL, 0, &result, err);

    if (st != BANYAN_OK)
        return st;
    if (pg_int(result, 0, 0) == 0)
        check_ok(check, "prepared transactions", "none");
    else
        check_warn(check, "prepared transactions",
                   check_text(check, "%" PRId64 " open: %s", pg_int(result, 0, 0), check_cell(check, result, 0, 1)),
                   "Each blocks the making of a slot, and the cutover: COMMIT PREPARED or ROLLBACK PREPARED them.");
    if (pg_int(result, 0, 2) == 0)
        check_ok(check, "long transactions", "none that this role can see");
    else
        check_warn(check, "long transactions",
                   check_text(check, "%" PRId64 " open: %s", pg_int(result, 0, 2), check_cell(check, result, 0, 3)),
                   check->slot_exists ? "They hold back VACUUM and the cutover."
                                      : "The slot can be made only when they have ended.");
    pg_result_free(result);
    return BANYAN_OK;
}

/* ---- all ---- */

enum banyan_status legacy_check(const struct legacy_options *options, struct banyan_arena *arena,
                                struct check_report *ret, struct banyan_error *err)
{
    struct pg_options connect = {
        .conninfo = options->conninfo, .application_name = "banyan check", .stop = options->stop};
    struct check_report report = {.count = 0};
    struct check check = {.options = options, .arena = arena, .report = &report};
    enum banyan_status st;

    if (options->domain->mapping_count == 0)
        return banyan_error_set(err, BANYAN_CONFIG, "domain %s has no legacy mapping", options->domain->name);
    if (options->slot == NULL || options->publication == NULL)
        return banyan_error_set(err, BANYAN_CONFIG, "source %s needs a slot and a publication", options->name);
    report.findings = banyan_arena_alloc(arena, CHECK_FINDINGS_MAX * sizeof(*report.findings));
    st = pg_connect(&connect, &check.conn, err);
    if (st != BANYAN_OK)
        return st;
    check_version(&check);
    st = check_slot(&check, err);
    if (st == BANYAN_OK)
        st = check_server(&check, err);
    if (st == BANYAN_OK)
        st = check_tables(&check, err);
    if (st == BANYAN_OK)
        st = check_publication(&check, err);
    if (st == BANYAN_OK)
        st = check_blockers(&check, err);
    if (st == BANYAN_OK)
        *ret = report;
    pg_close(check.conn);
    return st;
}
