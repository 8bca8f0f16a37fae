/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the real database into the throwaway one, without the rights of a superuser: foreign keys are dropped and
 * user triggers disabled there (its owner may), rows are passed on, what lost its parents is deleted, and all is put
 * back.  The real database is only read, in one snapshot.
 */
#include <inttypes.h>

#include "migrate/rehearse_int.h"
#include "pg/copy.h"

enum {
    SQL_MAX = 1 << 20,
    ROUNDS_MAX = 64, /* of deleting orphans: chains of tables are not longer */
};

#define OWN_TABLES                                                                                                     \
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"                                                   \
    " WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'banyan') AND n.nspname NOT LIKE 'pg\\_%'"           \
    " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid"              \
    " AND d.deptype = 'e')"

static const char tables_sql[] =
    "SELECT format('%I.%I', n.nspname, c.relname), (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)"
    " FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = "
    "'')" OWN_TABLES " AND c.relkind = 'r' AND c.relpersistence <> 't' ORDER BY c.oid";
/* Statements; the text is one column. */
static const char drop_keys_sql[] =
    "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint"
    " WHERE contype = 'f' AND conparentid = 0 ORDER BY oid";
static const char add_keys_sql[] =
    "SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))"
    " FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 ORDER BY oid";
static const char orphans_sql[] =
    "SELECT format('DELETE FROM %s c WHERE %s AND NOT EXISTS (SELECT FROM %s p WHERE %s)', k.conrelid::regclass,"
    " string_agg(format('c.%I IS NOT NULL', ca.attname), ' AND '), k.confrelid::regclass,"
    " string_agg(format('p.%I = c.%I', pa.attname, ca.attname), ' AND '))"
    " FROM pg_constraint k CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS u (child, parent)"
    " JOIN pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = u.child"
    " JOIN pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = u.parent"
    " WHERE k.contype = 'f' AND k.conparentid = 0 AND k.convalidated GROUP BY k.oid, k.conrelid, k.confrelid";
static const char disable_sql[] = "SELECT DISTINCT format('ALTER TABLE %s DISABLE TRIGGER USER', tgrelid::regclass)"
                                  " FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0";
static const char enable_sql[] = "SELECT format('ALTER TABLE %s ENABLE %s TRIGGER %I', tgrelid::regclass,"
                                 " CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, tgname)"
                                 " FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0 AND tgenabled <> 'D'";
static const char sequences_sql[] =
    "SELECT format('SELECT setval(%L, %s, %L)', format('%I.%I', schemaname, sequencename),"
    " coalesce(last_value, start_value), last_value IS NOT NULL) FROM pg_sequences"
    " WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'banyan')";
static const char refresh_sql[] = "SELECT format('REFRESH MATERIALIZED VIEW %I.%I', n.nspname, c.relname)" OWN_TABLES
                                  " AND c.relkind = 'm' AND c.relispopulated ORDER BY c.oid";

struct script {
    struct banyan_str *statements;
    size_t count;
};

static enum banyan_status read_script(struct pg_conn *conn, const char *sql, struct banyan_arena *arena,
                                      struct script *ret, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn, sql, NULL, 0, &result, err);

    if (st == BANYAN_OK) {
        ret->count = pg_rows(result);
        ret->statements = banyan_arena_alloc(arena, (ret->count + 1) * sizeof(struct banyan_str));
        for (size_t i = 0; i < ret->count; i++)
            ret->statements[i] = banyan_arena_str(arena, pg_text(result, i, 0));
    }
    pg_result_free(result);
    return st;
}

static enum banyan_status run_script(struct pg_conn *conn, const struct script *script, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    for (size_t i = 0; i < script->count && st == BANYAN_OK; i++)
        st = pg_exec(conn, script->statements[i].data, NULL, 0, NULL, err);
    return st;
}

static enum banyan_status copy_table(struct pg_conn *from, struct pg_conn *to, const struct pg_result *tables,
                                     size_t row, int64_t rows_max, int64_t *rows, struct banyan_error *err)
{
    struct banyan_buf out = BANYAN_BUF_INIT(SQL_MAX), in = BANYAN_BUF_INIT(SQL_MAX);
    struct banyan_str table = pg_text(tables, row, 0), columns = pg_text(tables, row, 1);
    uint64_t copied = 0;
    enum banyan_status st;

    if (columns.data == NULL)
        return BANYAN_OK; /* a table without columns has nothing to copy */
    banyan_buf_printf(&out, "COPY (SELECT %.*s FROM ONLY %.*s LIMIT %" PRId64 ") TO STDOUT", (int)columns.size,
                      columns.data, (int)table.size, table.data, rows_max);
    banyan_buf_printf(&in, "COPY %.*s (%.*s) FROM STDIN", (int)table.size, table.data, (int)columns.size, columns.data);
    st = out.overflow || in.overflow ? banyan_error_set(err, BANYAN_LIMIT, "the names of its columns are too long")
                                     : pg_copy_pass(from, out.data, to, in.data, &copied, err);
    if (st != BANYAN_OK)
        banyan_error_context(err, "copying %.*s", (int)table.size, table.data);
    *rows += (int64_t)copied;
    banyan_buf_release(&in);
    banyan_buf_release(&out);
    return st;
}

static enum banyan_status copy_tables(struct pg_conn *from, struct pg_conn *to, int64_t rows_max, int64_t *rows,
                                      struct banyan_error *err)
{
    struct pg_result *tables = NULL;
    enum banyan_status st = pg_exec(from, tables_sql, NULL, 0, &tables, err);

    for (size_t i = 0; st == BANYAN_OK && i < pg_rows(tables); i++)
        st = copy_table(from, to, tables, i, rows_max, rows, err);
    pg_result_free(tables);
    return st;
}

static enum banyan_status delete_some(struct pg_conn *to, const struct banyan_str *deletes, size_t count,
                                      int64_t *deleted, struct banyan_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct pg_result *result = NULL;
        enum banyan_status st = pg_exec(to, deletes[i].data, NULL, 0, &result, err);

        if (st != BANYAN_OK)
            return st;
        *deleted += (int64_t)pg_affected(result);
        pg_result_free(result);
    }
    return BANYAN_OK;
}

/* The keys to come may be of columns or tables to come: what cannot be said now is left to the migration. */
static enum banyan_status delete_by_new_keys(struct pg_conn *to, const struct rehearse_copy_options *options,
                                             int64_t *deleted, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    for (size_t i = 0; i < options->delete_count && st == BANYAN_OK; i++) {
        struct banyan_error ignored = BANYAN_ERROR_INIT;

        st = pg_run(to, "SAVEPOINT key", err);
        if (st == BANYAN_OK && delete_some(to, &options->deletes[i], 1, deleted, &ignored) != BANYAN_OK)
            st = pg_run(to, "ROLLBACK TO key", err);
    }
    return st;
}

/* Until nobody is left: a deleted row may have had children. */
static enum banyan_status delete_orphans(struct pg_conn *to, const struct script *orphans,
                                         const struct rehearse_copy_options *options, int64_t *rows,
                                         struct banyan_error *err)
{
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        int64_t deleted = 0;
        enum banyan_status st = delete_some(to, orphans->statements, orphans->count, &deleted, err);

        if (st == BANYAN_OK)
            st = delete_by_new_keys(to, options, &deleted, err);
        if (st != BANYAN_OK)
            return st;
        *rows -= deleted;
        if (deleted == 0)
            break;
    }
    return BANYAN_OK;
}

/* What the throwaway database needs in its own order; one transaction. */
static enum banyan_status fill(struct pg_conn *from, struct pg_conn *to, const struct rehearse_copy_options *options,
                               struct banyan_arena *arena, int64_t *rows, struct banyan_error *err)
{
    struct script drop_keys, add_keys, orphans, disable, enable, sequences;
    enum banyan_status st = read_script(to, drop_keys_sql, arena, &drop_keys, err);

    if (st == BANYAN_OK)
        st = read_script(to, add_keys_sql, arena, &add_keys, err);
    if (st == BANYAN_OK)
        st = read_script(to, orphans_sql, arena, &orphans, err);
    if (st == BANYAN_OK)
        st = read_script(to, disable_sql, arena, &disable, err);
    if (st == BANYAN_OK)
        st = read_script(to, enable_sql, arena, &enable, err);
    if (st == BANYAN_OK)
        st = read_script(from, sequences_sql, arena, &sequences, err);
    if (st == BANYAN_OK)
        st = pg_run(to, "BEGIN", err);
    if (st == BANYAN_OK)
        st = run_script(to, &disable, err);
    if (st == BANYAN_OK)
        st = run_script(to, &drop_keys, err);
    if (st == BANYAN_OK)
        st = copy_tables(from, to, options->rows, rows, err);
    if (st == BANYAN_OK)
        st = delete_orphans(to, &orphans, options, rows, err);
    if (st == BANYAN_OK)
        st = run_script(to, &add_keys, err);
    if (st == BANYAN_OK)
        st = run_script(to, &enable, err);
    if (st == BANYAN_OK)
        st = run_script(to, &sequences, err);
    return st == BANYAN_OK ? pg_run(to, "COMMIT", err) : st;
}

enum banyan_status rehearse_copy_rows(struct pg_conn *from, struct pg_conn *to,
                                      const struct rehearse_copy_options *options, struct banyan_arena *arena,
                                      int64_t *ret_rows, struct banyan_error *err)
{
    struct script refresh = {.count = 0};
    struct banyan_error ignored = BANYAN_ERROR_INIT;
    int64_t copied = 0;
    enum banyan_status st = pg_run(from, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);

    if (st != BANYAN_OK)
        return st;
    st = fill(from, to, options, arena, &copied, err);
    if (st == BANYAN_OK)
        st = read_script(from, refresh_sql, arena, &refresh, err);
    if (st == BANYAN_OK)
        st = pg_run(from, "COMMIT", err);
    for (size_t i = 0; i < refresh.count && st == BANYAN_OK; i++)
        if (pg_exec(to, refresh.statements[i].data, NULL, 0, NULL, &ignored) != BANYAN_OK)
            banyan_error_clear(&ignored); /* one that rests on another stays empty; code that asks it will say so */
    if (st == BANYAN_OK)
        st = pg_run(to, "ANALYZE", err);
    if (st == BANYAN_OK)
        *ret_rows = copied;
    return st;
}

/* ---- values ---- */

static enum banyan_status sum_of(struct pg_conn *conn, struct banyan_str table, struct banyan_arena *arena,
                                 struct banyan_str *ret, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    const char *sql =
        banyan_arena_printf(arena,
                            "SELECT count(*)::text || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)"
                            " FROM ONLY %.*s t",
                            (int)table.size, table.data)
            .data;
    enum banyan_status st = pg_exec(conn, sql, NULL, 0, &result, err);

    if (st == BANYAN_OK)
        *ret = banyan_arena_str(arena, pg_text(result, 0, 0));
    pg_result_free(result);
    return st;
}

enum banyan_status rehearse_values_read(struct pg_conn *conn, struct banyan_arena *arena, struct rehearse_values **ret,
                                        size_t *ret_count, struct banyan_error *err)
{
    struct pg_result *tables = NULL;
    struct rehearse_values *values;
    enum banyan_status st = pg_exec(conn, tables_sql, NULL, 0, &tables, err);

    if (st != BANYAN_OK)
        return st;
    values = banyan_arena_zalloc(arena, (pg_rows(tables) + 1) * sizeof(*values));
    for (size_t i = 0; i < pg_rows(tables) && st == BANYAN_OK; i++) {
        values[i].table = banyan_arena_str(arena, pg_text(tables, i, 0));
        st = sum_of(conn, values[i].table, arena, &values[i].sum, err);
    }
    if (st == BANYAN_OK) {
        *ret = values;
        *ret_count = pg_rows(tables);
    }
    pg_result_free(tables);
    return st;
}

enum banyan_status rehearse_values_compare(struct pg_conn *conn, const struct rehearse_values *before, size_t count,
                                           struct banyan_arena *arena, struct banyan_str *ret, struct banyan_error *err)
{
    struct banyan_buf names = BANYAN_BUF_INIT(SQL_MAX);

    for (size_t i = 0; i < count; i++) {
        struct banyan_error reading = BANYAN_ERROR_INIT;
        struct banyan_str sum = {NULL, 0};
        enum banyan_status st = sum_of(conn, before[i].table, arena, &sum, &reading);

        if (st == BANYAN_STOPPED || st == BANYAN_UNAVAILABLE) {
            banyan_buf_release(&names);
            *err = reading;
            return st;
        }
        if (st != BANYAN_OK || !banyan_str_equal(sum, before[i].sum)) /* a table that is gone differs, too */
            banyan_buf_printf(&names, "%s%.*s", names.size > 0 ? ", " : "", (int)before[i].table.size,
                              before[i].table.data);
    }
    *ret = banyan_arena_str(arena, banyan_buf_str(&names));
    banyan_buf_release(&names);
    return BANYAN_OK;
}
