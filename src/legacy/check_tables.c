/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-flight: the mapped tables and the publication.
 *
 * Publishing a table changes what its application may do: without a replica identity every UPDATE and DELETE fails from
 * then on.  So that is a failure here, before anything is published.  A key outside the identity of a child table is a
 * warning: an append-only child works, only its deletions would not say whose they are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "legacy/check_int.h"

/* ---- one table ---- */

struct table_facts {
    bool may_read, filtered, has_identity, is_owner;
    int64_t rows; /* estimated; -1: never analyzed */
    const char *size;
};

static enum banyan_status read_facts(struct check *check, const struct legacy_table *table, struct table_facts *ret,
                                     struct banyan_error *err)
{
    static const char sql[] =
        "WITH leaf (oid) AS (SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid = $1::oid AND c.relkind = 'r'"
        " UNION SELECT p.relid FROM pg_catalog.pg_partition_tree($1::oid::regclass) p WHERE p.isleaf)"
        "SELECT pg_catalog.has_table_privilege(t.oid, 'SELECT'), pg_catalog.row_security_active(t.oid),"
        " (SELECT coalesce(bool_and(c.relreplident = 'f' OR EXISTS (SELECT FROM pg_catalog.pg_index i"
        "   WHERE i.indrelid = c.oid AND i.indisvalid AND CASE c.relreplident WHEN 'd' THEN i.indisprimary"
        "   WHEN 'i' THEN i.indisreplident ELSE false END)), true)"
        "  FROM leaf JOIN pg_catalog.pg_class c ON c.oid = leaf.oid),"
        " pg_catalog.pg_has_role(t.relowner, 'USAGE'),"
        " (SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM leaf"
        "  JOIN pg_catalog.pg_class c ON c.oid = leaf.oid),"
        " (SELECT pg_catalog.pg_size_pretty(coalesce(sum(pg_catalog.pg_table_size(leaf.oid)), 0)) FROM leaf)"
        " FROM pg_catalog.pg_class t WHERE t.oid = $1::oid";
    char oid[16] = "";
    struct pg_param param = {{oid, (size_t)snprintf(oid, sizeof(oid), "%" PRIu32, table->oid)}};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(check->conn, sql, &param, 1, &result, err);

    if (st != BANYAN_OK)
        return st;
    if (pg_rows(result) == 0)
        st = banyan_error_set(err, BANYAN_TABLE, "table %s was dropped just now", table->spec->name);
    else
        *ret = (struct table_facts){pg_bool(result, 0, 0), pg_bool(result, 0, 1), pg_bool(result, 0, 2),
                                    pg_bool(result, 0, 3), pg_int(result, 0, 4),  check_cell(check, result, 0, 5)};
    pg_result_free(result);
    return st;
}

static void judge_right(struct check *check, const char *name, const struct table_facts *facts)
{
    const char *title = check_text(check, "table %s: right to read", name);

    if (!facts->may_read)
        check_fail(check, BANYAN_PRIVILEGE, title, "no",
                   check_text(check, "GRANT SELECT ON %s TO the role of the connection.", name));
    else if (facts->filtered)
        check_fail(check, BANYAN_PRIVILEGE, title, "row-level security hides rows from this role",
                   "ALTER ROLE … BYPASSRLS: a history with holes would look complete.");
    else
        check_ok(check, title, "yes");
}

/* "table orders", and for another mapping of it "table orders (customer)". */
static const char *title_of(struct check *check, const struct check_place *place)
{
    return place->again ? check_text(check, "table %s (%s)", place->spec->name, place->category)
                        : check_text(check, "table %s", place->spec->name);
}

static void judge_identity(struct check *check, const struct check_place *place, const struct table_facts *facts)
{
    const struct legacy_table *table = &place->table;
    const char *name = table->spec->name, *key = table->spec->key_column;
    const char *title = check_text(check, "%s: identity", title_of(check, place));
    bool root = place->root;

    if (!facts->has_identity)
        check_fail(check, BANYAN_TABLE, title, "none: once published, every UPDATE and DELETE of the application fails",
                   check_text(check, "Give it a primary key, or ALTER TABLE %s REPLICA IDENTITY FULL.", name));
    else if (table->key_in_identity)
        check_ok(check, title, check_text(check, "contains %s", key));
    else if (root)
        check_fail(check, BANYAN_TABLE, title,
                   check_text(check, "without %s: a DELETE would not say which row is gone", key),
                   check_text(check, "ALTER TABLE %s REPLICA IDENTITY USING INDEX a unique index on (%s), or FULL.",
                              name, key));
    else
        check_warn(check, title,
                   check_text(check,
                              "without %s: fine while rows are only added; a deleted or moved row does not say "
                              "whose it was",
                              key),
                   check_text(check,
                              "Where rows are deleted: ALTER TABLE %s REPLICA IDENTITY FULL; or CREATE UNIQUE "
                              "INDEX CONCURRENTLY … (%s, its primary key) and REPLICA IDENTITY USING INDEX it.",
                              name, key));
}

/* Columns that may be NULL where the mapping has no place for it. */
static enum banyan_status judge_nulls(struct check *check, const struct check_place *place, struct banyan_error *err)
{
    const struct legacy_table *table = &place->table;
    const struct banyan_record *row = table->spec->row;
    char oid[16] = "";
    struct pg_param param = {{oid, (size_t)snprintf(oid, sizeof(oid), "%" PRIu32, table->oid)}};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(check->conn,
                                    "SELECT attname::text FROM pg_catalog.pg_attribute WHERE attrelid = $1::oid"
                                    " AND attnum > 0 AND NOT attisdropped AND NOT attnotnull",
                                    &param, 1, &result, err);

    for (size_t i = 0; st == BANYAN_OK && i < pg_rows(result); i++) {
        const struct banyan_field *field = banyan_record_field(row, pg_text(result, i, 0));

        if (field != NULL && (field->flags & BANYAN_FIELD_OPTIONAL) == 0)
            check_warn(
                check, check_text(check, "%s: column %s", title_of(check, place), field->name),
                "may be NULL, but the mapping needs a value: the first NULL stops the migration",
                check_text(check, "ALTER TABLE %s ALTER COLUMN %s SET NOT NULL.", table->spec->name, field->name));
    }
    pg_result_free(result);
    return st;
}

static enum banyan_status check_table(struct check *check, struct check_place *place, struct banyan_error *err)
{
    const struct banyan_legacy_table *spec = place->spec;
    const char *title = title_of(check, place);
    struct banyan_error found = BANYAN_ERROR_INIT;
    struct table_facts facts;
    enum banyan_status st = legacy_table_resolve(check->conn, spec, place->root, &place->table, &found);

    if (st == BANYAN_TABLE || st == BANYAN_INVALID || st == BANYAN_PRIVILEGE) {
        check_fail(check, st, title, found.message, found.hint[0] != '\0' ? found.hint : "See docs/ERRORS.md.");
        return BANYAN_OK;
    }
    if (st != BANYAN_OK) {
        if (err != NULL)
            *err = found;
        return st;
    }
    place->resolved = true;
    st = read_facts(check, &place->table, &facts, err);
    if (st != BANYAN_OK)
        return st;
    check_ok(check, title,
             check_text(check, "%zu columns as needed, key %s, about %" PRId64 " rows, %s", spec->row->field_count,
                        spec->key_column, facts.rows, facts.size));
    if (!place->again)
        judge_right(check, spec->name, &facts);
    judge_identity(check, place, &facts);
    return judge_nulls(check, place, err);
}

static void list_places(struct check *check)
{
    const struct banyan_domain *domain = check->options->domain;
    size_t count = 0, at = 0;

    for (size_t m = 0; m < domain->mapping_count; m++)
        count += domain->mappings[m].table_count;
    check->places = banyan_arena_zalloc(check->arena, count * sizeof(*check->places));
    check->place_count = count;
    for (size_t m = 0; m < domain->mapping_count; m++)
        for (size_t t = 0; t < domain->mappings[m].table_count; t++, at++) {
            struct check_place *place = &check->places[at];

            *place = (struct check_place){.spec = &domain->mappings[m].tables[t],
                                          .category = domain->mappings[m].aggregate->category,
                                          .root = t == 0};
            for (size_t i = 0; i < at; i++)
                place->again |= strcmp(check->places[i].spec->name, place->spec->name) == 0;
        }
}

enum banyan_status check_tables(struct check *check, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    list_places(check);
    for (size_t i = 0; st == BANYAN_OK && i < check->place_count; i++)
        st = check_table(check, &check->places[i], err);
    return st;
}

/* ---- publication ---- */

/* The statement that makes it, for an owner to run. */
static const char *create_statement(struct check *check)
{
    const char *joint = " FOR TABLE ";
    struct banyan_buf sql = BANYAN_BUF_INIT(CHECK_SQL_MAX);
    const char *ret;

    banyan_buf_add_text(&sql, "CREATE PUBLICATION ");
    pg_add_identifier(&sql, banyan_str_of(check->options->publication));
    for (size_t i = 0; i < check->place_count; i++) {
        if (check->places[i].again)
            continue;
        banyan_buf_add_text(&sql, joint);
        pg_add_table(&sql, banyan_str_of(check->places[i].spec->name));
        joint = ", ";
    }
    banyan_buf_add_text(&sql, " WITH (publish_via_partition_root = true);");
    ret = check_text(check, "Have the owner of the tables run: %s", sql.data == NULL ? "" : sql.data);
    banyan_buf_release(&sql);
    return ret;
}

/* It does not exist: may we make it? */
static enum banyan_status judge_creation(struct check *check, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    struct table_facts facts;
    enum banyan_status st = pg_exec(
        check->conn, "SELECT pg_catalog.has_database_privilege(current_database(), 'CREATE')", NULL, 0, &result, err);
    bool may;

    if (st != BANYAN_OK)
        return st;
    may = pg_bool(result, 0, 0);
    pg_result_free(result);
    for (size_t i = 0; st == BANYAN_OK && i < check->place_count; i++) {
        if (!check->places[i].resolved)
            continue;
        st = read_facts(check, &check->places[i].table, &facts, err);
        may = may && st == BANYAN_OK && facts.is_owner;
    }
    if (st != BANYAN_OK)
        return st;
    if (may)
        check_ok(check, "publication", check_text(check, "%s will be made", check->options->publication));
    else
        check_fail(check, BANYAN_PRIVILEGE, "publication",
                   check_text(check, "%s does not exist, and the role may not make it", check->options->publication),
                   create_statement(check));
    return BANYAN_OK;
}

/* Is the whole of the table in it, under its own name? */
static enum banyan_status judge_covered(struct check *check, const struct legacy_table *table, struct banyan_error *err)
{
    /* Row filters and column lists came with version 15. */
    static const char sql_14[] = "SELECT false, false, EXISTS (SELECT FROM pg_catalog.pg_publication_tables t"
                                 " JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname"
                                 " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename"
                                 " WHERE t.pubname = $1 AND c.oid = $2::oid)";
    static const char sql_15[] = "SELECT coalesce(bool_or(r.prqual IS NOT NULL), false),"
                                 " coalesce(bool_or(r.prattrs IS NOT NULL), false),"
                                 " EXISTS (SELECT FROM pg_catalog.pg_publication_tables t"
                                 " JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname"
                                 " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename"
                                 " WHERE t.pubname = $1 AND c.oid = $2::oid)"
                                 " FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p"
                                 " ON p.oid = r.prpubid WHERE p.pubname = $1 AND r.prrelid = $2::oid";
    const char *name = table->spec->name, *publication = check->options->publication;
    const char *title = check_text(check, "publication: table %s", name);
    char oid[16] = "";
    struct pg_param params[] = {{banyan_str_of(publication)},
                                {{oid, (size_t)snprintf(oid, sizeof(oid), "%" PRIu32, table->oid)}}};
    struct pg_result *result = NULL;
    enum banyan_status st =
        pg_exec(check->conn, pg_server_version(check->conn) < 150000 ? sql_14 : sql_15, params, 2, &result, err);

    if (st != BANYAN_OK)
        return st;
    if (!pg_bool(result, 0, 2))
        check_fail(check, BANYAN_SETTING, title, "not published under its own name",
                   check_text(check,
                              "ALTER PUBLICATION \"%s\" ADD TABLE %s; of a partitioned table: ALTER PUBLICATION "
                              "\"%s\" SET (publish_via_partition_root = true).",
                              publication, name, publication));
    else if (pg_bool(result, 0, 0) || pg_bool(result, 0, 1))
        check_fail(check, BANYAN_SETTING, title,
                   pg_bool(result, 0, 0) ? "a row filter leaves out rows" : "a column list may leave out columns",
                   "Publish the whole table, or name a publication that does not exist: it is made.");
    else
        check_ok(check, title, "whole");
    pg_result_free(result);
    return BANYAN_OK;
}

enum banyan_status check_publication(struct check *check, struct banyan_error *err)
{
    struct pg_param param = {banyan_str_of(check->options->publication)};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(check->conn,
                                    "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate"
                                    " FROM pg_catalog.pg_publication WHERE pubname = $1",
                                    &param, 1, &result, err);
    bool exists, complete;

    if (st != BANYAN_OK)
        return st;
    exists = pg_rows(result) > 0;
    complete = exists && pg_bool(result, 0, 0);
    pg_result_free(result);
    if (!exists)
        return judge_creation(check, err);
    if (complete)
        check_ok(check, "publication", check_text(check, "%s exists", check->options->publication));
    else
        check_fail(check, BANYAN_SETTING, "publication", "some operations are left out",
                   check_text(check, "ALTER PUBLICATION \"%s\" SET (publish = 'insert, update, delete, truncate');",
                              check->options->publication));
    for (size_t i = 0; st == BANYAN_OK && i < check->place_count; i++)
        if (check->places[i].resolved && !check->places[i].again)
            st = judge_covered(check, &check->places[i].table, err);
    return st;
}
