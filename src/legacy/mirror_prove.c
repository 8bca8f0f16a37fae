/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirror's session at the server, and the proof that it can do its work before anybody depends on it.
 *
 *   banyan.mirror (source text PRIMARY KEY, position bigint, at timestamptz)   everything up to there is in the tables
 *
 * A right is not asked for but used: one real row of each table is changed, removed and put back, in a transaction
 * that is rolled back.  Only where a table is empty the catalog has to be believed.
 */
#include "legacy/mirror_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "legacy/fence.h"

enum {
    CONNECT_TIMEOUT_US = 10 * 1000 * 1000,
};

/* Names the one who needs the right. */
static void needs(struct legacy_mirror *mirror, struct banyan_error *err, const char *right)
{
    struct pg_result *result = NULL;
    struct banyan_error ignored = BANYAN_ERROR_INIT;
    if (err == NULL || err->status != BANYAN_PRIVILEGE)
        return;
    /* The statement may have been in a transaction. */
    if (pg_run(mirror->conn, "ROLLBACK", &ignored) == BANYAN_OK &&
        pg_exec(mirror->conn, "SELECT quote_ident(current_user)", NULL, 0, &result, &ignored) == BANYAN_OK) {
        struct banyan_str user = pg_text(result, 0, 0);
        banyan_error_hint(err, "%s TO %.*s", right, (int)user.size, user.data);
    }
    pg_result_free(result);
}

/* ---- the schema ---- */

static enum banyan_status make_what_is_missing(struct legacy_mirror *mirror, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status status = fence_schema(mirror->conn, err);
    if (status != BANYAN_OK)
        return status;
    status = pg_exec(mirror->conn, "SELECT pg_catalog.to_regclass('banyan.mirror') IS NOT NULL", NULL, 0, &result, err);
    bool there = status == BANYAN_OK && pg_bool(result, 0, 0);
    pg_result_free(result);
    if (status == BANYAN_OK && !there)
        status = pg_run(mirror->conn,
                        "CREATE TABLE IF NOT EXISTS banyan.mirror (source text PRIMARY KEY, position bigint NOT NULL,"
                        " at timestamptz NOT NULL DEFAULT now())",
                        err);
    needs(mirror, err, "GRANT CREATE, USAGE ON SCHEMA banyan");
    return status;
}

/* IF NOT EXISTS does not see what another session, maybe one of ours that was killed, is making at the same time. */
static enum banyan_status make_table(struct legacy_mirror *mirror, struct banyan_error *err)
{
    struct banyan_error failure = BANYAN_ERROR_INIT;
    enum banyan_status status = make_what_is_missing(mirror, &failure);
    if (strcmp(failure.sqlstate, "23505") == 0) {
        banyan_error_clear(&failure);
        status = make_what_is_missing(mirror, &failure);
    }
    if (status == BANYAN_OK)
        return BANYAN_OK;
    banyan_error_context(&failure, "the table of the mirror's checkpoint");
    if (err != NULL)
        *err = failure;
    return status;
}

static enum banyan_status find_checkpoint(struct legacy_mirror *mirror, struct banyan_error *err)
{
    char from[32];
    struct pg_param params[] = {{banyan_str_of(mirror->options.source)}, {{from, 0}}};
    struct pg_result *result = NULL;
    params[1].text.size = (size_t)snprintf(from, sizeof(from), "%" PRIu64, mirror->options.from.value);
    /* A checkpoint before *from* is of another attempt: what is between belonged to the legacy application. */
    enum banyan_status status =
        pg_exec(mirror->conn,
                "INSERT INTO banyan.mirror AS m (source, position) VALUES ($1, $2) ON CONFLICT (source) DO UPDATE"
                " SET position = greatest(m.position, excluded.position) RETURNING position",
                params, 2, &result, err);
    if (status != BANYAN_OK) {
        needs(mirror, err, "GRANT USAGE ON SCHEMA banyan, and GRANT SELECT, INSERT, UPDATE ON banyan.mirror");
        banyan_error_context(err, "the mirror's checkpoint");
        return status;
    }
    mirror->checkpoint = (uint64_t)pg_int(result, 0, 0);
    pg_result_free(result);
    uint64_t durable = store_durable(mirror->options.store).value;
    if (mirror->checkpoint <= durable)
        return BANYAN_OK;
    banyan_error_set(err, BANYAN_INVALID,
                     "the server has the mirror of source %s at position %" PRIu64 ", but the log ends at %" PRIu64,
                     mirror->options.source, mirror->checkpoint, durable);
    banyan_error_hint(err,
                      "the log is another one, or was restored to a time before; where it is right, remove the row "
                      "from banyan.mirror after a full verification");
    return BANYAN_INVALID;
}

/* ---- the session ---- */

static enum banyan_status set_origin(struct legacy_mirror *mirror, bool prove, struct banyan_error *err)
{
    struct pg_param name = {mirror->origin};
    struct banyan_error busy = BANYAN_ERROR_INIT;
    enum banyan_status status = pg_exec(mirror->conn,
                                        "SELECT pg_catalog.pg_replication_origin_create($1)"
                                        " WHERE pg_catalog.pg_replication_origin_oid($1) IS NULL",
                                        &name, 1, NULL, err);
    if (status == BANYAN_OK) {
        status =
            pg_exec(mirror->conn, "SELECT pg_catalog.pg_replication_origin_session_setup($1)", &name, 1, NULL, &busy);
        if (status == BANYAN_BUSY && prove)
            status = BANYAN_OK; /* a running mirror has it: that is proof enough */
        else if (status != BANYAN_OK && err != NULL)
            *err = busy;
    }
    if (status == BANYAN_OK)
        return BANYAN_OK;
    needs(mirror, err,
          "GRANT EXECUTE ON FUNCTION pg_catalog.pg_replication_origin_create(text), "
          "pg_catalog.pg_replication_origin_oid(text), pg_catalog.pg_replication_origin_session_setup(text)");
    banyan_error_context(err, "the replication origin %s, by which capture knows what the mirror wrote",
                         mirror->origin.data);
    return status;
}

static enum banyan_status set_role(struct legacy_mirror *mirror, struct banyan_error *err)
{
    enum banyan_status status = pg_run(mirror->conn, "SET session_replication_role = replica", err);
    /* What was told as written has to survive a crash of the server. */
    if (status == BANYAN_OK)
        return pg_run(mirror->conn,
                      "SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '60s';"
                      "SELECT pg_catalog.set_config('synchronous_commit', 'local', false)"
                      " WHERE pg_catalog.current_setting('synchronous_commit') = 'off'",
                      err);
    needs(mirror, err,
          pg_server_version(mirror->conn) >= 150000
              ? "GRANT SET ON PARAMETER session_replication_role"
              : "Before PostgreSQL 15 only a superuser may: ALTER ROLE … SUPERUSER,"
                " or connect as one.  It is needed to write");
    banyan_error_context(err, "writing without the application's triggers");
    return status;
}

static enum banyan_status resolve_types(struct legacy_mirror *mirror, struct banyan_error *err)
{
    struct legacy_tables *tables = banyan_arena_alloc(&mirror->batch.arena, sizeof(*tables));
    enum banyan_status status = BANYAN_OK;
    for (size_t m = 0; status == BANYAN_OK && m < mirror->mapping_count; m++) {
        struct mirror_mapping *mapping = &mirror->mappings[m];
        status = legacy_tables_resolve(mirror->conn, mapping->spec, tables, err);
        for (size_t t = 0; status == BANYAN_OK && t < tables->count; t++)
            memcpy(mapping->column_oids[t], tables->tables[t].column_oids, sizeof(mapping->column_oids[t]));
    }
    return status;
}

enum banyan_status mirror_connect(struct legacy_mirror *mirror, bool prove, struct banyan_error *err)
{
    struct pg_options options = {
        .conninfo = mirror->options.conninfo,
        .application_name = mirror->origin.data,
        .connect_timeout_us = CONNECT_TIMEOUT_US,
        .stop = mirror->options.stop,
    };
    enum banyan_status status = pg_connect(&options, &mirror->conn, err);
    if (status == BANYAN_OK)
        status = make_table(mirror, err);
    if (status == BANYAN_OK)
        status = set_origin(mirror, prove, err);
    if (status == BANYAN_OK)
        status = set_role(mirror, err);
    if (status == BANYAN_OK)
        status = resolve_types(mirror, err);
    if (status == BANYAN_OK)
        status = find_checkpoint(mirror, err);
    return status;
}

/* ---- rows ---- */

static enum banyan_status try_operation(struct legacy_mirror *mirror, const struct mirror_mapping *mapping,
                                        enum mirror_action action, unsigned table, const void *row,
                                        struct banyan_error *err)
{
    struct mirror_operation operation = {action, table, row, row};
    const struct banyan_legacy_table *spec = &mapping->spec->tables[table];
    const struct banyan_field *key = banyan_record_field(spec->row, banyan_str_of(spec->key_column));
    struct pg_param *params;
    size_t count;
    mirror_statement(mirror, mapping, *(const int64_t *)((const char *)row + key->offset), &operation,
                     &mirror->batch.arena, &params, &count);
    enum banyan_status status = pg_exec(mirror->conn, mirror->sql.data, params, count, NULL, err);
    if (status != BANYAN_OK)
        banyan_error_context(err, "table %s, a row as proof (%s)", spec->name,
                             action == MIRROR_UPDATE   ? "UPDATE"
                             : action == MIRROR_DELETE ? "DELETE"
                                                       : "INSERT");
    return status;
}

/* A row that was not *removed* before may be refused as the second of its kind: what comes to that had the right. */
static enum banyan_status try_insert(struct legacy_mirror *mirror, const struct mirror_mapping *mapping, unsigned table,
                                     const void *row, bool removed, struct banyan_error *err)
{
    struct banyan_error failure = BANYAN_ERROR_INIT;
    enum banyan_status status = pg_run(mirror->conn, "SAVEPOINT row", err);
    if (status != BANYAN_OK)
        return status;
    status = try_operation(mirror, mapping, MIRROR_INSERT, table, row, &failure);
    if (status != BANYAN_OK && !removed && strcmp(failure.sqlstate, "23505") == 0)
        return pg_run(mirror->conn, "ROLLBACK TO row", err);
    if (status != BANYAN_OK && err != NULL)
        *err = failure;
    return status;
}

/* The table is empty, or all its rows are locked. */
static enum banyan_status believe_catalog(struct legacy_mirror *mirror, const char *table, struct banyan_error *err)
{
    struct banyan_buf quoted = BANYAN_BUF_INIT(4096);
    struct pg_result *result = NULL;
    pg_add_table(&quoted, banyan_str_of(table));
    struct pg_param param = {banyan_buf_str(&quoted)};
    enum banyan_status status =
        pg_exec(mirror->conn,
                "SELECT pg_catalog.has_table_privilege($1, 'SELECT') AND pg_catalog.has_table_privilege($1, 'INSERT')"
                " AND pg_catalog.has_table_privilege($1, 'UPDATE') AND pg_catalog.has_table_privilege($1, 'DELETE')",
                &param, 1, &result, err);
    if (status == BANYAN_OK && !pg_bool(result, 0, 0))
        status = banyan_error_set(err, BANYAN_PRIVILEGE, "table %s: rows may not be written", table);
    pg_result_free(result);
    banyan_buf_release(&quoted);
    return status;
}

static enum banyan_status prove_table(struct legacy_mirror *mirror, const struct mirror_mapping *mapping, unsigned at,
                                      struct banyan_error *err)
{
    const struct banyan_legacy_table *table = &mapping->spec->tables[at];
    void *row = banyan_arena_zalloc(&mirror->batch.arena, table->row->size);
    struct pg_result *result = NULL;
    mirror_select(mapping, at, NULL, &mirror->sql);
    enum banyan_status status = pg_exec(mirror->conn, mirror->sql.data, NULL, 0, &result, err);
    bool found = status == BANYAN_OK && pg_rows(result) > 0;
    if (found)
        status = mirror_row_parse(mapping, at, result, &mirror->batch.arena, row, err);
    pg_result_free(result);
    if (status == BANYAN_OK && !found)
        status = believe_catalog(mirror, table->name, err);
    bool changes = at == 0 || table->row_columns != NULL;
    if (status == BANYAN_OK && found && changes)
        status = try_operation(mirror, mapping, MIRROR_UPDATE, at, row, err);
    if (status == BANYAN_OK && found && changes)
        status = try_operation(mirror, mapping, MIRROR_DELETE, at, row, err);
    if (status == BANYAN_OK && found)
        status = try_insert(mirror, mapping, at, row, changes, err);
    if (status == BANYAN_OK)
        return BANYAN_OK;
    struct banyan_str right = banyan_arena_printf(
        &mirror->batch.arena,
        "GRANT SELECT, INSERT, UPDATE, DELETE ON %s (and USAGE ON its SEQUENCE, where it has one)", table->name);
    needs(mirror, err, right.data);
    return status;
}

enum banyan_status mirror_prove_rows(struct legacy_mirror *mirror, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    for (size_t m = 0; m < mirror->mapping_count; m++) {
        const struct mirror_mapping *mapping = &mirror->mappings[m];
        if (mapping->spec->mirror != NULL)
            continue;
        banyan_error_set(err, BANYAN_CONFIG, "domain %s does not say how events of %s are written back",
                         mirror->options.domain->name, mapping->category.data);
        banyan_error_hint(err,
                          "its mapping needs mirror() (banyan/domain.h); without it a rollout ends with the shadow");
        return BANYAN_CONFIG;
    }
    status = pg_run(mirror->conn, "BEGIN", err);
    for (size_t m = 0; status == BANYAN_OK && m < mirror->mapping_count; m++)
        for (unsigned t = 0; status == BANYAN_OK && t < mirror->mappings[m].spec->table_count; t++)
            if (!mirror->mappings[m].spec->tables[t].read_only)
                status = prove_table(mirror, &mirror->mappings[m], t, err);
    struct banyan_error ignored = BANYAN_ERROR_INIT;
    enum banyan_status undone = pg_run(mirror->conn, "ROLLBACK", status == BANYAN_OK ? err : &ignored);
    return status == BANYAN_OK ? undone : status;
}
