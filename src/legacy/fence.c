/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fence.h.
 *
 * What keeps a session that nobody drives any more from harm:
 *   1. lock_timeout for one table, statement_timeout for all of them together: whoever queues behind our request waits
 *      no longer than that.  It is far below deadlock_timeout, so the server does not send autovacuum away for us;
 *      that is asked for here, with the same exceptions.
 *   2. idle_in_transaction_session_timeout: the server ends a session whose client is frozen.
 *   3. The advisory lock is taken before the tables and kept to the end of the transaction.  PostgreSQL releases locks
 *      after the commit is visible, so who gets it next sees what became of the transaction before.
 */
#include "legacy/fence.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/retry.h"

enum {
    SQL_MAX = 256 * 1024,
    TABLES_MAX = 4096, /* with partitions */
    LOCK_TIMEOUT_MS = 100,
    SESSION_LIMIT_MS = 1000,
    BLOCKERS_MAX = 8,
};

/* Text of the trigger function.  No function calls, so that no search_path can change what it does. */
static const char refuse_body[] =
    "\nBEGIN\n"
    "    RAISE EXCEPTION USING ERRCODE = '25006',\n"
    "        MESSAGE = 'table ' || TG_TABLE_NAME || ' cannot be written: Banyan owns its rows (source ' || TG_ARGV[0] "
    "|| "
    "')',\n"
    "        HINT = 'Send writes through the gateway, or as commands to Banyan; `banyan rollout rollback` hands the "
    "tables back.';\n"
    "END\n";

static int64_t milliseconds(int64_t us, int64_t otherwise)
{
    return us <= 0 ? otherwise : us < 1000 ? 1 : us / 1000;
}

/* ---- the tables ---- */

/* The mapped tables and all their partitions, parents first, each once. */
struct tables {
    struct pg_result
        *rows; /* oid, quoted name, mapped itself?, fenced (a trigger is there)?, owned by the role?, owner */
    size_t count;
};

static void add_names(struct banyan_buf *sql, const struct banyan_domain *domain)
{
    struct banyan_buf quoted = BANYAN_BUF_INIT(SQL_MAX);

    for (size_t m = 0; m < domain->mapping_count; m++)
        for (size_t t = 0; t < domain->mappings[m].table_count; t++) {
            banyan_buf_add_text(sql, m + t == 0 ? "(" : "), (");
            banyan_buf_reset(&quoted);
            pg_add_table(&quoted, banyan_str_of(domain->mappings[m].tables[t].name));
            pg_add_literal(sql, banyan_buf_str(&quoted));
        }
    banyan_buf_add_char(sql, ')');
    if (quoted.overflow)
        sql->overflow = true;
    banyan_buf_release(&quoted);
}

/* A statement that begins with the table expression "mapped (name, oid)". */
static void add_mapped(struct banyan_buf *sql, const struct banyan_domain *domain)
{
    banyan_buf_add_text(sql, "WITH RECURSIVE named (name) AS (VALUES ");
    add_names(sql, domain);
    banyan_buf_add_text(sql, "), mapped (name, oid) AS (SELECT name, pg_catalog.to_regclass(name)::oid FROM named),"
                             " every (oid, depth) AS (SELECT oid, 0 FROM mapped UNION"
                             " SELECT i.inhrelid, every.depth + 1 FROM every"
                             " JOIN pg_catalog.pg_inherits i ON i.inhparent = every.oid) ");
}

static enum banyan_status run_built(struct pg_conn *conn, const struct banyan_buf *sql, struct banyan_error *err)
{
    return sql->overflow ? banyan_error_set(err, BANYAN_LIMIT, "too many tables for one statement")
                         : pg_run(conn, sql->data, err);
}

static enum banyan_status query_built(struct pg_conn *conn, const struct banyan_buf *sql, struct pg_result **ret,
                                      struct banyan_error *err)
{
    return sql->overflow ? banyan_error_set(err, BANYAN_LIMIT, "too many tables for one statement")
                         : pg_exec(conn, sql->data, NULL, 0, ret, err);
}

static void tables_release(struct tables *tables)
{
    pg_result_free(tables->rows);
    tables->rows = NULL;
}

static enum banyan_status tables_find(struct pg_conn *conn, const struct banyan_domain *domain, struct tables *ret,
                                      struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    enum banyan_status st;

    ret->rows = NULL;
    add_mapped(&sql, domain);
    banyan_buf_add_text(&sql,
                        "SELECT every.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), min(every.depth) = 0,"
                        " EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = every.oid"
                        "  AND t.tgname = 'banyan_fence'),"
                        " pg_catalog.pg_has_role(c.relowner, 'USAGE'), pg_catalog.pg_get_userbyid(c.relowner),"
                        " current_user, (SELECT name FROM mapped WHERE mapped.oid IS NULL LIMIT 1)"
                        " FROM every LEFT JOIN pg_catalog.pg_class c ON c.oid = every.oid"
                        " LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                        " GROUP BY every.oid, n.nspname, c.relname, c.relowner ORDER BY min(every.depth), every.oid");
    st = query_built(conn, &sql, &ret->rows, err);
    banyan_buf_release(&sql);
    if (st != BANYAN_OK)
        return st;
    ret->count = pg_rows(ret->rows);
    if (ret->count > TABLES_MAX)
        st = banyan_error_set(err, BANYAN_LIMIT, "%zu tables and partitions are mapped, the most is %d", ret->count,
                              TABLES_MAX);
    else if (ret->count > 0 && pg_text(ret->rows, 0, 7).data != NULL)
        st = banyan_error_set(err, BANYAN_TABLE, "table %s does not exist", pg_text(ret->rows, 0, 7).data);
    else if (ret->count == 0)
        st = banyan_error_set(err, BANYAN_INVALID, "domain %s maps no tables", domain->name);
    if (st != BANYAN_OK)
        tables_release(ret);
    return st;
}

/* As the server quoted it. */
static void add_name(struct banyan_buf *sql, const struct tables *tables, size_t i)
{
    banyan_buf_add_str(sql, pg_text(tables->rows, i, 1));
}

/* ---- what has to be there ---- */

/* Say which right is missing: GRANT *right* *object* (NULL: the database) TO the role. */
static enum banyan_status missing_right(struct pg_conn *conn, const char *what, const char *right, const char *object,
                                        struct banyan_error *err)
{
    struct pg_result *result = NULL;

    if (pg_exec(conn, "SELECT pg_catalog.quote_ident(current_database()), pg_catalog.quote_ident(current_user)", NULL,
                0, &result, err) != BANYAN_OK)
        return BANYAN_PRIVILEGE;
    banyan_error_clear(err);
    (void)banyan_error_set(err, BANYAN_PRIVILEGE, "role %s may not %s", pg_text(result, 0, 1).data, what);
    banyan_error_hint(err, "Let an administrator run, in this database: GRANT %s %s TO %s;", right,
                      object == NULL ? pg_text(result, 0, 0).data : object, pg_text(result, 0, 1).data);
    pg_result_free(result);
    return BANYAN_PRIVILEGE;
}

enum banyan_status fence_schema(struct pg_conn *conn, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st =
        pg_exec(conn, "SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'banyan'", NULL, 0, &result, err);
    bool there = st == BANYAN_OK && pg_rows(result) > 0;

    pg_result_free(result);
    if (st != BANYAN_OK || there)
        return st;
    st = pg_run(conn, "CREATE SCHEMA IF NOT EXISTS banyan", err);
    if (st == BANYAN_QUERY) { /* somebody else made it in this moment: IF NOT EXISTS does not cover that */
        banyan_error_clear(err);
        st = pg_run(conn, "CREATE SCHEMA IF NOT EXISTS banyan", err);
    }
    if (st == BANYAN_PRIVILEGE)
        st = missing_right(conn, "create the schema banyan", "CREATE ON DATABASE", NULL, err);
    return st;
}

static enum banyan_status make_journal(struct pg_conn *conn, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st =
        pg_exec(conn,
                "SELECT pg_catalog.has_table_privilege(c.oid, 'SELECT')"
                " AND pg_catalog.has_table_privilege(c.oid, 'INSERT')"
                " FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass('banyan.journal')",
                NULL, 0, &result, err);
    bool there = st == BANYAN_OK && pg_rows(result) > 0, allowed = there && pg_bool(result, 0, 0);

    pg_result_free(result);
    if (st == BANYAN_OK && !there)
        st = pg_run(conn,
                    "CREATE TABLE IF NOT EXISTS banyan.journal (source text NOT NULL, epoch bigint NOT NULL,"
                    " owner text NOT NULL CHECK (owner IN ('banyan', 'legacy')), fence_lsn pg_lsn,"
                    " at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), PRIMARY KEY (source, epoch))",
                    err);
    else if (st == BANYAN_OK && !allowed)
        return missing_right(conn, "use the table banyan.journal", "SELECT, INSERT ON", "banyan.journal", err);
    if (st == BANYAN_PRIVILEGE)
        st = missing_right(conn, "make the table banyan.journal", "USAGE, CREATE ON SCHEMA", "banyan", err);
    return st;
}

static enum banyan_status make_function(struct pg_conn *conn, struct banyan_error *err)
{
    struct pg_param body = {.text = banyan_str_of(refuse_body)};
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn,
                                    "SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n"
                                    " ON n.oid = p.pronamespace WHERE n.nspname = 'banyan'"
                                    " AND p.proname = 'refuse_write' AND p.prosrc = $1",
                                    &body, 1, &result, err);
    bool there = st == BANYAN_OK && pg_rows(result) > 0;

    pg_result_free(result);
    if (st != BANYAN_OK || there)
        return st;
    banyan_buf_add_text(&sql, "CREATE OR REPLACE FUNCTION banyan.refuse_write() RETURNS trigger LANGUAGE plpgsql AS ");
    pg_add_literal(&sql, banyan_str_of(refuse_body));
    st = run_built(conn, &sql, err);
    banyan_buf_release(&sql);
    if (st == BANYAN_PRIVILEGE)
        st = missing_right(conn, "make the function banyan.refuse_write()", "USAGE, CREATE ON SCHEMA", "banyan", err);
    return st;
}

static enum banyan_status check_owned(struct pg_conn *conn, const struct banyan_domain *domain,
                                      struct banyan_error *err)
{
    struct tables tables;
    enum banyan_status st = tables_find(conn, domain, &tables, err);

    for (size_t i = 0; st == BANYAN_OK && i < tables.count; i++) {
        if (pg_bool(tables.rows, i, 4))
            continue;
        st = banyan_error_set(err, BANYAN_PRIVILEGE, "role %s may not put the fence on table %s: its owner is %s",
                              pg_text(tables.rows, i, 6).data, pg_text(tables.rows, i, 1).data,
                              pg_text(tables.rows, i, 5).data);
        banyan_error_hint(err, "GRANT \"%s\" TO \"%s\";", pg_text(tables.rows, i, 5).data,
                          pg_text(tables.rows, i, 6).data);
    }
    tables_release(&tables);
    return st;
}

static enum banyan_status check_sequences(struct pg_conn *conn, const struct banyan_domain *domain,
                                          struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    for (size_t m = 0; st == BANYAN_OK && m < domain->mapping_count; m++) {
        const char *name = domain->mappings[m].key_sequence;
        struct pg_param param = {.text = banyan_str_of(name == NULL ? "" : name)};
        struct pg_result *result = NULL;

        if (name == NULL)
            continue;
        st = pg_exec(conn,
                     "SELECT pg_catalog.has_sequence_privilege($1, 'UPDATE')"
                     " AND pg_catalog.has_sequence_privilege($1, 'SELECT'), pg_catalog.quote_ident(current_user)",
                     &param, 1, &result, err);
        if (st == BANYAN_OK && !pg_bool(result, 0, 0)) {
            st = banyan_error_set(err, BANYAN_PRIVILEGE, "role %s may not move the sequence %s",
                                  pg_text(result, 0, 1).data, name);
            banyan_error_hint(err, "GRANT SELECT, UPDATE ON SEQUENCE %s TO %s;", name, pg_text(result, 0, 1).data);
        } else if (st != BANYAN_OK) {
            banyan_error_context(err, "sequence %s", name);
        }
        pg_result_free(result);
    }
    return st;
}

enum banyan_status fence_prepare(struct pg_conn *conn, const struct fence_options *options, struct banyan_error *err)
{
    enum banyan_status st = fence_schema(conn, err);

    if (st == BANYAN_OK)
        st = make_journal(conn, err);
    if (st == BANYAN_OK)
        st = make_function(conn, err);
    if (st == BANYAN_OK)
        st = check_owned(conn, options->domain, err);
    if (st == BANYAN_OK)
        st = check_sequences(conn, options->domain, err);
    return st;
}

/* ---- the transaction that locks ---- */

/* "hashtextextended('banyan cutover <source>', 0)" */
static void add_lock_key(struct banyan_buf *sql, const char *source)
{
    struct banyan_buf text = BANYAN_BUF_INIT(SQL_MAX);

    banyan_buf_printf(&text, "banyan cutover %s", source);
    banyan_buf_add_text(sql, "pg_catalog.hashtextextended(");
    pg_add_literal(sql, banyan_buf_str(&text));
    banyan_buf_add_text(sql, ", 0)");
    if (text.overflow)
        sql->overflow = true;
    banyan_buf_release(&text);
}

/* The session may be gone: then so is its transaction. */
static void roll_back(struct pg_conn *conn)
{
    if (pg_run(conn, "ROLLBACK", NULL) != BANYAN_OK)
        return;
}

/* BEGIN, the limits, and the advisory lock. */
static enum banyan_status begin(struct pg_conn *conn, const struct fence_options *options, struct banyan_error *err)
{
    int64_t lock_ms = milliseconds(options->lock_timeout_us, LOCK_TIMEOUT_MS);
    int64_t idle_ms = milliseconds(options->session_limit_us, SESSION_LIMIT_MS);
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_result *result = NULL;
    enum banyan_status st;

    banyan_buf_printf(&sql,
                      "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = %" PRId64
                      "; SET LOCAL statement_timeout = %" PRId64
                      "; SET LOCAL idle_in_transaction_session_timeout = %" PRId64,
                      lock_ms, lock_ms, idle_ms);
    if (pg_server_version(conn) >= 170000)
        banyan_buf_printf(&sql, "; SET LOCAL transaction_timeout = %" PRId64, idle_ms + 2 * lock_ms);
    st = run_built(conn, &sql, err);
    banyan_buf_reset(&sql);
    banyan_buf_add_text(&sql, "SELECT pg_catalog.pg_try_advisory_xact_lock(");
    add_lock_key(&sql, options->source);
    /* The journal row has to survive what the server survives. */
    banyan_buf_add_text(&sql, "), CASE WHEN pg_catalog.current_setting('synchronous_commit') IN ('off', 'local',"
                              " 'remote_write') THEN pg_catalog.set_config('synchronous_commit', 'on', true) END");
    if (st == BANYAN_OK)
        st = query_built(conn, &sql, &result, err);
    if (st == BANYAN_OK && !pg_bool(result, 0, 0)) {
        st = banyan_error_set(err, BANYAN_BUSY, "another session has begun a cutover of source %s", options->source);
        banyan_error_detail(err, "Its process holds an advisory lock (pg_locks, locktype advisory).");
    }
    pg_result_free(result);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status lock_tables(struct pg_conn *conn, const struct tables *tables, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    enum banyan_status st;
    const char *separator = "LOCK TABLE ";

    /* Partitions come with their parents. */
    for (size_t i = 0; i < tables->count; i++) {
        if (!pg_bool(tables->rows, i, 2))
            continue;
        banyan_buf_add_text(&sql, separator);
        add_name(&sql, tables, i);
        separator = ", ";
    }
    banyan_buf_add_text(&sql, " IN SHARE ROW EXCLUSIVE MODE");
    st = run_built(conn, &sql, err);
    banyan_buf_release(&sql);
    return st;
}

static void add_blockers_sql(struct banyan_buf *sql, const struct banyan_domain *domain, int64_t older_us)
{
    add_mapped(sql, domain);
    banyan_buf_printf(
        sql,
        ", held (pid, transaction, what) AS (SELECT l.pid, l.virtualtransaction,"
        " pg_catalog.string_agg(DISTINCT l.mode || ' on ' || l.relation::regclass::text, ', ')"
        " FROM pg_catalog.pg_locks l JOIN every ON every.oid = l.relation WHERE l.locktype = 'relation' AND l.granted"
        " AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
        " AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') GROUP BY l.pid, l.virtualtransaction)"
        " SELECT pg_catalog.format('process %%s (%%s, role %%s): %%s for %%s ms, holds %%s: %%s', a.pid,"
        " coalesce(nullif(a.application_name, ''), a.backend_type), coalesce(a.usename, '-'),"
        " coalesce(a.state, 'busy'), (1000 * extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start))::bigint,"
        " held.what, pg_catalog.left(pg_catalog.regexp_replace(a.query, '\\s+', ' ', 'g'), 80)),"
        " a.pid, a.backend_type = 'autovacuum worker' AND a.query NOT LIKE '%%to prevent wraparound%%'"
        " FROM held JOIN pg_catalog.pg_stat_activity a ON a.pid = held.pid"
        " WHERE a.pid <> pg_catalog.pg_backend_pid()"
        " AND a.xact_start <= pg_catalog.clock_timestamp() - %" PRId64 " * interval '1 microsecond'"
        " UNION ALL SELECT pg_catalog.format('prepared transaction %%L of role %%s, since %%s: holds %%s', p.gid, "
        "p.owner,"
        " pg_catalog.date_trunc('second', p.prepared), held.what), 0, false"
        " FROM held JOIN pg_catalog.pg_locks x ON x.pid IS NULL AND x.locktype = 'transactionid'"
        " AND x.virtualtransaction = held.transaction"
        " JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid"
        " WHERE held.pid IS NULL ORDER BY 2 LIMIT %d",
        older_us < 0 ? 0 : older_us, BLOCKERS_MAX);
}

/* Names who is in the way; *ret may be NULL.  Autovacuum that is in the way is asked to go, as the server itself asks
 * it when somebody waits for deadlock_timeout. */
static enum banyan_status find_blockers(struct pg_conn *conn, const struct fence_options *options, int64_t older_us,
                                        bool send_away, struct banyan_buf *ret, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_result *result = NULL;
    enum banyan_status st;

    add_blockers_sql(&sql, options->domain, older_us);
    st = query_built(conn, &sql, &result, err);
    for (size_t i = 0; st == BANYAN_OK && i < pg_rows(result); i++) {
        if (i > 0)
            banyan_buf_add_char(ret, '\n');
        banyan_buf_add_str(ret, pg_text(result, i, 0));
        if (!send_away || !pg_bool(result, i, 2))
            continue;
        banyan_buf_reset(&sql);
        banyan_buf_printf(&sql, "SELECT pg_catalog.pg_cancel_backend(%" PRId64 ")", pg_int(result, i, 1));
        (void)run_built(conn, &sql, NULL); /* only a superuser may; else it ends by itself */
    }
    pg_result_free(result);
    banyan_buf_release(&sql);
    return st;
}

enum banyan_status fence_blockers(struct pg_conn *conn, const struct fence_options *options, int64_t older_us,
                                  struct banyan_buf *ret, struct banyan_error *err)
{
    return find_blockers(conn, options, older_us, false, ret, err);
}

/* The locks were not to be had: say so, and who has them. */
static enum banyan_status busy(struct pg_conn *conn, const struct fence_options *options, struct banyan_error *err)
{
    struct banyan_buf who = BANYAN_BUF_INIT(SQL_MAX);
    enum banyan_status st;

    roll_back(conn);
    banyan_error_clear(err);
    st = banyan_error_set(err, BANYAN_BUSY, "the tables could not be locked within %" PRId64 " ms",
                          milliseconds(options->lock_timeout_us, LOCK_TIMEOUT_MS));
    if (find_blockers(conn, options, 0, true, &who, NULL) == BANYAN_OK && who.size > 0)
        banyan_error_detail(err, "%s", banyan_buf_str(&who).data);
    banyan_error_hint(err, "Wait for the transactions named above, or end them: SELECT pg_terminate_backend(pid).");
    banyan_buf_release(&who);
    return st;
}

/* What the servers of a statement that waits for locks answer when it took too long. */
static bool took_too_long(enum banyan_status st)
{
    return st == BANYAN_TIMEOUT || st == BANYAN_BUSY;
}

static enum banyan_status create_triggers(struct pg_conn *conn, const struct fence_options *options,
                                          const struct tables *tables, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    enum banyan_status st;

    /* Nobody is kept waiting by a lock that is not there yet: from here on the session's limit counts. */
    banyan_buf_printf(&sql, "SET LOCAL statement_timeout = %" PRId64 "; ",
                      milliseconds(options->session_limit_us, SESSION_LIMIT_MS));
    for (size_t i = 0; i < tables->count; i++) {
        banyan_buf_add_text(&sql, "CREATE OR REPLACE TRIGGER banyan_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE"
                                  " ON ");
        add_name(&sql, tables, i);
        banyan_buf_add_text(&sql, " FOR EACH STATEMENT EXECUTE FUNCTION banyan.refuse_write(");
        pg_add_literal(&sql, banyan_str_of(options->source));
        banyan_buf_add_text(&sql, "); ");
        /* The one that is replaced may be disabled. */
        banyan_buf_add_text(&sql, "ALTER TABLE ");
        add_name(&sql, tables, i);
        banyan_buf_add_text(&sql, " ENABLE TRIGGER banyan_fence; ");
    }
    st = run_built(conn, &sql, err);
    banyan_buf_release(&sql);
    return st;
}

enum banyan_status fence_lock(struct pg_conn *conn, const struct fence_options *options, struct banyan_error *err)
{
    struct tables tables;
    enum banyan_status st = tables_find(conn, options->domain, &tables, err);
    bool locking = false;

    if (st != BANYAN_OK)
        return st;
    st = begin(conn, options, err);
    if (st == BANYAN_OK) {
        locking = true;
        st = lock_tables(conn, &tables, err);
    }
    if (st == BANYAN_OK)
        st = create_triggers(conn, options, &tables, err);
    if (locking && took_too_long(st))
        st = busy(conn, options, err);
    else if (st != BANYAN_OK)
        roll_back(conn);
    tables_release(&tables);
    return st;
}

enum banyan_status fence_message(struct pg_conn *conn, const char *source, uint64_t *ret_lsn, struct banyan_error *err)
{
    struct pg_param param = {.text = banyan_str_of(source)};
    struct pg_result *result = NULL;
    enum banyan_status st =
        pg_exec(conn, "SELECT pg_catalog.pg_logical_emit_message(true, 'banyan.fence', 'cutover ' || $1)", &param, 1,
                &result, err);

    if (st == BANYAN_OK && !pg_lsn_parse(pg_text(result, 0, 0), ret_lsn))
        st = banyan_error_set(err, BANYAN_PROTOCOL, "the position of a fence is not readable");
    pg_result_free(result);
    return st;
}

/* The journal row and COMMIT.  What fails before COMMIT is sent was not done. */
static enum banyan_status write_journal(struct pg_conn *conn, const char *source, uint64_t epoch, const char *owner,
                                        uint64_t fence_lsn, struct banyan_error *err)
{
    struct banyan_buf number = BANYAN_BUF_INIT(32);
    char lsn[PG_LSN_TEXT_SIZE];
    struct pg_param params[4];
    enum banyan_status st;

    pg_lsn_format(fence_lsn, lsn);
    banyan_buf_printf(&number, "%" PRIu64, epoch);
    params[0].text = banyan_str_of(source);
    params[1].text = banyan_buf_str(&number);
    params[2].text = banyan_str_of(owner);
    params[3].text = fence_lsn == 0 ? (struct banyan_str){NULL, 0} : banyan_str_of(lsn);
    st = pg_exec(conn,
                 "INSERT INTO banyan.journal (source, epoch, owner, fence_lsn, at)"
                 " VALUES ($1, $2::bigint, $3, $4::pg_lsn, pg_catalog.clock_timestamp())",
                 params, 4, NULL, err);
    banyan_buf_release(&number);
    if (st != BANYAN_OK) {
        roll_back(conn);
        return st;
    }
    if (pg_run(conn, "COMMIT", err) == BANYAN_OK)
        return BANYAN_OK;
    banyan_error_context(err, "the answer to the commit was lost");
    if (err != NULL)
        err->status = BANYAN_UNCERTAIN;
    return BANYAN_UNCERTAIN;
}

enum banyan_status fence_commit(struct pg_conn *conn, const struct fence_options *options, uint64_t epoch,
                                uint64_t fence_lsn, struct banyan_error *err)
{
    return write_journal(conn, options->source, epoch, "banyan", fence_lsn, err);
}

/* ---- the fence down ---- */

static enum banyan_status move_sequence(struct pg_conn *conn, const char *sequence, int64_t key,
                                        struct banyan_error *err)
{
    struct banyan_buf number = BANYAN_BUF_INIT(32);
    struct pg_param params[2] = {{.text = banyan_str_of(sequence)}};
    enum banyan_status st;

    banyan_buf_printf(&number, "%" PRId64, key);
    params[1].text = banyan_buf_str(&number);
    st = pg_exec(conn,
                 "SELECT pg_catalog.setval($1::regclass, greatest($2::bigint,"
                 " coalesce(pg_catalog.pg_sequence_last_value($1::regclass), $2::bigint)), true)",
                 params, 2, NULL, err);
    if (st != BANYAN_OK)
        banyan_error_context(err, "sequence %s", sequence);
    banyan_buf_release(&number);
    return st;
}

static enum banyan_status disable_triggers(struct pg_conn *conn, const struct fence_options *options,
                                           const struct tables *tables, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    enum banyan_status st;

    banyan_buf_printf(&sql, "SET LOCAL statement_timeout = %" PRId64,
                      milliseconds(options->session_limit_us, SESSION_LIMIT_MS));
    for (size_t i = 0; i < tables->count; i++) {
        if (!pg_bool(tables->rows, i, 3))
            continue;
        banyan_buf_add_text(&sql, "; ALTER TABLE ");
        add_name(&sql, tables, i);
        banyan_buf_add_text(&sql, " DISABLE TRIGGER banyan_fence");
    }
    st = run_built(conn, &sql, err);
    banyan_buf_release(&sql);
    return st;
}

enum banyan_status fence_remove(struct pg_conn *conn, const struct fence_options *options, uint64_t epoch,
                                const int64_t *keys, struct banyan_error *err)
{
    const struct banyan_domain *domain = options->domain;
    struct tables tables;
    enum banyan_status st = tables_find(conn, domain, &tables, err);

    if (st != BANYAN_OK)
        return st;
    st = begin(conn, options, err);
    if (st == BANYAN_OK) {
        st = lock_tables(conn, &tables, err);
        if (took_too_long(st))
            st = busy(conn, options, err);
    }
    for (size_t m = 0; st == BANYAN_OK && keys != NULL && m < domain->mapping_count; m++)
        if (keys[m] > 0 && domain->mappings[m].key_sequence != NULL)
            st = move_sequence(conn, domain->mappings[m].key_sequence, keys[m], err);
    if (st == BANYAN_OK)
        st = disable_triggers(conn, options, &tables, err);
    if (st == BANYAN_OK)
        st = write_journal(conn, options->source, epoch, "legacy", 0, err);
    else
        roll_back(conn);
    tables_release(&tables);
    return st;
}

/* ---- the journal ---- */

static enum banyan_status end_holders(struct pg_conn *conn, const char *source, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    enum banyan_status st;

    banyan_buf_add_text(&sql, "SELECT pg_catalog.pg_terminate_backend(l.pid) FROM pg_catalog.pg_locks l,"
                              " (SELECT ");
    add_lock_key(&sql, source);
    banyan_buf_add_text(&sql, " AS key) k WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
                              " AND l.classid = ((k.key >> 32) & 4294967295)::oid"
                              " AND l.objid = (k.key & 4294967295)::oid"
                              " AND l.pid <> pg_catalog.pg_backend_pid()"
                              " AND l.database = (SELECT oid FROM pg_catalog.pg_database"
                              " WHERE datname = current_database())");
    st = run_built(conn, &sql, err);
    banyan_buf_release(&sql);
    return st;
}

/* *function* takes the advisory lock, when it is to be had. */
static enum banyan_status settle(struct pg_conn *conn, const char *function, const char *source, int64_t timeout_us,
                                 struct banyan_error *err)
{
    struct os_retry retry = {.first_us = 2000, .pause_us_max = 50000, .total_us_max = timeout_us};
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    enum banyan_status st;
    bool free = false;

    banyan_buf_printf(&sql, "SELECT pg_catalog.%s(", function);
    add_lock_key(&sql, source);
    banyan_buf_add_char(&sql, ')');
    for (;;) {
        struct pg_result *result = NULL;

        st = query_built(conn, &sql, &result, err);
        free = st == BANYAN_OK && pg_bool(result, 0, 0);
        pg_result_free(result);
        if (st == BANYAN_OK && !free)
            st = end_holders(conn, source, err);
        if (st != BANYAN_OK || free || !os_retry_pause(&retry, NULL))
            break;
    }
    if (st == BANYAN_OK && !free) {
        st = banyan_error_set(err, BANYAN_TIMEOUT, "a session of an earlier cutover of source %s does not end", source);
        banyan_error_hint(err, "Look for its process in pg_locks (locktype advisory) and end it: "
                               "SELECT pg_terminate_backend(pid).");
    }
    banyan_buf_release(&sql);
    return st;
}

enum banyan_status fence_settle(struct pg_conn *conn, const char *source, int64_t timeout_us, struct banyan_error *err)
{
    /* Taken and given back at once, in a transaction of its own. */
    return settle(conn, "pg_try_advisory_xact_lock", source, timeout_us, err);
}

enum banyan_status fence_take(struct pg_conn *conn, const char *source, int64_t timeout_us, struct banyan_error *err)
{
    return settle(conn, "pg_try_advisory_lock", source, timeout_us, err); /* the session's */
}

enum banyan_status fence_claim(struct pg_conn *conn, const struct fence_options *options, uint64_t epoch,
                               struct banyan_error *err)
{
    enum banyan_status st = begin(conn, options, err);

    if (st == BANYAN_OK)
        return write_journal(conn, options->source, epoch, "banyan", 0, err);
    roll_back(conn);
    return st;
}

enum banyan_status fence_journal_read(struct pg_conn *conn, const char *source, struct fence_journal *ret,
                                      struct banyan_error *err)
{
    struct pg_param param = {.text = banyan_str_of(source)};
    struct pg_result *result = NULL;
    enum banyan_status st =
        pg_exec(conn, "SELECT pg_catalog.to_regclass('banyan.journal') IS NOT NULL", NULL, 0, &result, err);
    bool there = st == BANYAN_OK && pg_bool(result, 0, 0);

    pg_result_free(result);
    result = NULL;
    if (st == BANYAN_OK && there)
        st = pg_exec(conn,
                     "SELECT epoch, owner = 'banyan' FROM banyan.journal WHERE source = $1 ORDER BY epoch DESC LIMIT 1",
                     &param, 1, &result, err);
    if (st != BANYAN_OK) {
        banyan_error_context(err, "reading the journal of cutovers");
        return st;
    }
    *ret = (struct fence_journal){.epoch = 0};
    if (there && pg_rows(result) > 0) {
        ret->epoch = (uint64_t)pg_int(result, 0, 0);
        ret->banyan = pg_bool(result, 0, 1);
    }
    pg_result_free(result);
    return BANYAN_OK;
}
