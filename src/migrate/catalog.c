/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See catalog.h.  What one relation is comes by six statements, once a catalog; names are shown as the search path of
 * the connection finds them.
 */
#include "migrate/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "migrate/catalog_sql.h"

enum {
    NAME_SQL_MAX = 1024,
    VERSION_ASSUMED = 150000,
    ASK_PARAMS_MAX = 8,
};

struct entry {
    struct entry *next;
    struct catalog_table table;
    bool gone;
};

struct catalog {
    struct pg_conn *conn; /* borrowed; NULL: offline */
    int version;
    bool zone_is_utc;
    struct banyan_arena arena;
    struct entry *entries;
    uint32_t next_made;
};

void catalog_columns_add(struct catalog_columns *set, int number)
{
    unsigned bit;

    if (number < 1)
        return;
    bit = (unsigned)(number > CATALOG_COLUMNS_MAX ? CATALOG_COLUMNS_MAX : number) - 1;
    set->bits[bit / 64] |= (uint64_t)1 << (bit % 64);
}

bool catalog_columns_has(const struct catalog_columns *set, int number)
{
    unsigned bit;

    if (number < 1)
        return false;
    bit = (unsigned)(number > CATALOG_COLUMNS_MAX ? CATALOG_COLUMNS_MAX : number) - 1;
    return (set->bits[bit / 64] >> (bit % 64)) & 1;
}

/* Numbers between anything else: "1 2", "{1,2}". */
static struct catalog_columns columns_of(struct banyan_str text)
{
    struct catalog_columns set = {{0}};

    for (size_t i = 0; i < text.size;) {
        int number = 0;
        bool negative = i > 0 && text.data[i - 1] == '-', any = false;

        for (; i < text.size && text.data[i] >= '0' && text.data[i] <= '9'; i++, any = true)
            number = number < 100000 ? number * 10 + (text.data[i] - '0') : number;
        if (any && !negative)
            catalog_columns_add(&set, number);
        if (!any)
            i++;
    }
    return set;
}

/* ---- life ---- */

struct catalog *catalog_offline(int server_version)
{
    struct catalog *catalog = alloc_zeroed(1, sizeof(*catalog));

    catalog->version = server_version == 0 ? VERSION_ASSUMED : server_version;
    catalog->next_made = CATALOG_MADE;
    return catalog;
}

enum banyan_status catalog_open(struct pg_conn *conn, struct catalog **ret, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    struct catalog *catalog;
    enum banyan_status st =
        pg_exec(conn, "SELECT current_setting('TimeZone') IN ('UTC', 'GMT', 'Etc/UTC')", NULL, 0, &result, err);

    if (st != BANYAN_OK)
        return st;
    catalog = catalog_offline(pg_server_version(conn));
    catalog->conn = conn;
    catalog->zone_is_utc = pg_bool(result, 0, 0);
    pg_result_free(result);
    *ret = catalog;
    return BANYAN_OK;
}

void catalog_free(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    banyan_arena_release(&catalog->arena);
    free(catalog);
}

bool catalog_is_offline(const struct catalog *catalog)
{
    return catalog->conn == NULL;
}

int catalog_server_version(const struct catalog *catalog)
{
    return catalog->version;
}

bool catalog_zone_is_utc(const struct catalog *catalog)
{
    return catalog->zone_is_utc;
}

struct banyan_arena *catalog_arena(struct catalog *catalog)
{
    return &catalog->arena;
}

static void *copied(struct catalog *catalog, const void *items, size_t count, size_t size)
{
    char *ret = banyan_arena_zalloc(&catalog->arena, (count + 1) * size);

    if (count > 0)
        memcpy(ret, items, count * size);
    return ret;
}

struct catalog *catalog_copy(const struct catalog *catalog)
{
    struct catalog *copy = catalog_offline(catalog->version);
    struct entry **end = &copy->entries;

    copy->conn = catalog->conn;
    copy->zone_is_utc = catalog->zone_is_utc;
    copy->next_made = catalog->next_made;
    for (const struct entry *entry = catalog->entries; entry != NULL; entry = entry->next) {
        struct catalog_table *table;

        *end = banyan_arena_zalloc(&copy->arena, sizeof(**end));
        **end = (struct entry){.table = entry->table, .gone = entry->gone};
        table = &(*end)->table;
        table->columns = copied(copy, table->columns, table->column_count, sizeof(*table->columns));
        table->indexes = copied(copy, table->indexes, table->index_count, sizeof(*table->indexes));
        table->constraints = copied(copy, table->constraints, table->constraint_count, sizeof(*table->constraints));
        table->references = copied(copy, table->references, table->reference_count, sizeof(*table->references));
        end = &(*end)->next;
    }
    return copy;
}

enum banyan_status catalog_query(struct catalog *catalog, const char *sql, const struct pg_param *params,
                                 size_t param_count, struct pg_result **ret, struct banyan_error *err)
{
    if (catalog->conn == NULL)
        return banyan_error_set(err, BANYAN_INVALID, "the schema is not known without a database");
    return pg_exec(catalog->conn, sql, params, param_count, ret, err);
}

enum banyan_status catalog_search_path(struct catalog *catalog, struct banyan_str *ret, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st;

    *ret = BANYAN_STR("");
    if (catalog->conn == NULL)
        return BANYAN_OK;
    st = pg_exec(catalog->conn,
                 "SELECT coalesce(string_agg(quote_ident(name), ', ' ORDER BY place), 'pg_catalog') "
                 "FROM unnest(current_schemas(false)) WITH ORDINALITY all_of_them(name, place)",
                 NULL, 0, &result, err);
    if (st != BANYAN_OK)
        return st;
    *ret = banyan_arena_str(&catalog->arena, pg_text(result, 0, 0));
    pg_result_free(result);
    return BANYAN_OK;
}

void catalog_settle(struct catalog *catalog)
{
    for (struct entry *entry = catalog->entries; entry != NULL; entry = entry->next) {
        entry->table.made_here = false;
        for (size_t i = 0; i < entry->table.column_count; i++)
            entry->table.columns[i].made_here = entry->table.columns[i].changed_here = false;
    }
}

/* ---- reading one relation ---- */

static struct banyan_str keep(struct catalog *catalog, const struct pg_result *result, size_t row, size_t column)
{
    return banyan_arena_str(&catalog->arena, pg_text(result, row, column));
}

static char letter(const struct pg_result *result, size_t row, size_t column)
{
    struct banyan_str text = pg_text(result, row, column);

    return text.size > 0 ? text.data[0] : '\0';
}

static enum banyan_status query(struct catalog *catalog, const char *sql, uint32_t oid, struct pg_result **ret,
                                struct banyan_error *err)
{
    struct pg_param param = {banyan_arena_printf(&catalog->arena, "%u", (unsigned)oid)};

    return pg_exec(catalog->conn, sql, &param, 1, ret, err);
}

static enum banyan_status read_columns(struct catalog *catalog, struct catalog_table *table, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = query(catalog, catalog_sql_columns, table->oid, &result, err);

    if (st != BANYAN_OK)
        return st;
    table->column_count = pg_rows(result);
    table->columns = banyan_arena_zalloc(&catalog->arena, (table->column_count + 1) * sizeof(*table->columns));
    for (size_t i = 0; i < table->column_count; i++)
        table->columns[i] = (struct catalog_column){
            .number = (int)pg_int(result, i, 0),
            .name = keep(catalog, result, i, 1),
            .shown = keep(catalog, result, i, 2),
            .type = {.name = keep(catalog, result, i, 3),
                     .modifier = (int32_t)pg_int(result, i, 4),
                     .known = true,
                     .is_domain = pg_bool(result, i, 5),
                     .constrained = pg_bool(result, i, 6),
                     .is_array = pg_bool(result, i, 7)},
            .not_null = pg_bool(result, i, 8),
            .has_default = pg_bool(result, i, 9),
            .is_identity = pg_bool(result, i, 10),
            .is_generated = pg_bool(result, i, 11),
            .inherited = pg_bool(result, i, 12),
            .collation = keep(catalog, result, i, 13),
            .sequence = (uint32_t)pg_int(result, i, 14),
            .default_value = keep(catalog, result, i, 15),
            .identity_always = pg_bool(result, i, 16),
            .is_virtual = pg_bool(result, i, 17),
        };
    pg_result_free(result);
    return BANYAN_OK;
}

static enum banyan_status read_indexes(struct catalog *catalog, struct catalog_table *table, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = query(catalog, catalog_sql_indexes, table->oid, &result, err);

    if (st != BANYAN_OK)
        return st;
    table->index_count = pg_rows(result);
    table->indexes = banyan_arena_zalloc(&catalog->arena, (table->index_count + 1) * sizeof(*table->indexes));
    for (size_t i = 0; i < table->index_count; i++) {
        struct catalog_index *index = &table->indexes[i];
        struct catalog_columns mentioned = columns_of(pg_text(result, i, 9));

        *index = (struct catalog_index){
            .oid = (uint32_t)pg_int(result, i, 0),
            .name = keep(catalog, result, i, 1),
            .unique = pg_bool(result, i, 2),
            .primary = pg_bool(result, i, 3),
            .valid = pg_bool(result, i, 4),
            .partial = pg_bool(result, i, 5),
            .has_expressions = pg_bool(result, i, 6),
            .exclusion = pg_bool(result, i, 7),
            .keys = columns_of(pg_text(result, i, 8)),
            .bytes = pg_int(result, i, 10),
            .of_constraint = pg_bool(result, i, 11),
            .definition = keep(catalog, result, i, 12),
        };
        for (size_t word = 0; word < sizeof(mentioned.bits) / sizeof(mentioned.bits[0]); word++)
            index->columns.bits[word] = index->keys.bits[word] | mentioned.bits[word];
    }
    pg_result_free(result);
    return BANYAN_OK;
}

static enum banyan_status read_constraints(struct catalog *catalog, struct catalog_table *table,
                                           struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = query(catalog, catalog_sql_constraints, table->oid, &result, err);
    size_t rows;

    if (st != BANYAN_OK)
        return st;
    rows = pg_rows(result);
    table->constraints = banyan_arena_zalloc(&catalog->arena, (rows + 1) * sizeof(*table->constraints));
    table->references = banyan_arena_zalloc(&catalog->arena, (rows + 1) * sizeof(*table->references));
    for (size_t i = 0; i < rows; i++) {
        struct catalog_constraint constraint = {
            .name = keep(catalog, result, i, 0),
            .kind = letter(result, i, 1),
            .validated = pg_bool(result, i, 2),
            .table = (uint32_t)pg_int(result, i, 3),
            .referenced = (uint32_t)pg_int(result, i, 4),
            .columns = columns_of(pg_text(result, i, 5)),
            .referenced_columns = columns_of(pg_text(result, i, 6)),
            .index = (uint32_t)pg_int(result, i, 7),
            .expression = keep(catalog, result, i, 8),
            .inherited = pg_bool(result, i, 9),
            .definition = keep(catalog, result, i, 10),
            .unenforced = pg_bool(result, i, 11),
        };

        if (constraint.table == table->oid)
            table->constraints[table->constraint_count++] = constraint;
        if (constraint.kind == CATALOG_FOREIGN && constraint.referenced == table->oid)
            table->references[table->reference_count++] = constraint;
    }
    pg_result_free(result);
    return BANYAN_OK;
}

static enum banyan_status read_dependents(struct catalog *catalog, struct catalog_table *table,
                                          struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = query(catalog, catalog_sql_dependents, table->oid, &result, err);

    if (st != BANYAN_OK)
        return st;
    table->dependent_count = pg_rows(result);
    table->dependents = banyan_arena_zalloc(&catalog->arena, (table->dependent_count + 1) * sizeof(*table->dependents));
    for (size_t i = 0; i < table->dependent_count; i++)
        table->dependents[i] = (struct catalog_dependent){
            .kind = letter(result, i, 0),
            .name = keep(catalog, result, i, 1),
            .oid = (uint32_t)pg_int(result, i, 2),
            .columns = columns_of(pg_text(result, i, 3)),
            .whole = true,
        };
    pg_result_free(result);
    return BANYAN_OK;
}

static enum banyan_status read_children(struct catalog *catalog, struct catalog_table *table, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = query(catalog, catalog_sql_children, table->oid, &result, err);

    if (st != BANYAN_OK)
        return st;
    table->child_count = pg_rows(result);
    table->children = banyan_arena_zalloc(&catalog->arena, (table->child_count + 1) * sizeof(*table->children));
    for (size_t i = 0; i < table->child_count; i++)
        table->children[i] = (uint32_t)pg_int(result, i, 0);
    pg_result_free(result);
    st = query(catalog, catalog_sql_triggers, table->oid, &result, err);
    if (st != BANYAN_OK)
        return st;
    table->trigger_count = pg_rows(result);
    table->triggers = banyan_arena_zalloc(&catalog->arena, (table->trigger_count + 1) * sizeof(*table->triggers));
    for (size_t i = 0; i < table->trigger_count; i++)
        table->triggers[i] = keep(catalog, result, i, 0);
    pg_result_free(result);
    return BANYAN_OK;
}

static struct catalog_table *push(struct catalog *catalog)
{
    struct entry *entry = banyan_arena_zalloc(&catalog->arena, sizeof(*entry));

    entry->next = catalog->entries;
    catalog->entries = entry;
    return &entry->table;
}

static enum banyan_status read_parts(struct catalog *catalog, struct catalog_table *table, struct banyan_error *err)
{
    enum banyan_status st = read_columns(catalog, table, err);

    if (st == BANYAN_OK)
        st = read_indexes(catalog, table, err);
    if (st == BANYAN_OK)
        st = read_constraints(catalog, table, err);
    if (st == BANYAN_OK)
        st = read_dependents(catalog, table, err);
    return st == BANYAN_OK ? read_children(catalog, table, err) : st;
}

static enum banyan_status read_table(struct catalog *catalog, uint32_t oid, struct catalog_table **ret,
                                     struct banyan_error *err)
{
    struct pg_result *result = NULL;
    struct catalog_table table = {.oid = oid, .known = true};
    enum banyan_status st = query(catalog, catalog_sql_table, oid, &result, err);
    bool found;

    if (st != BANYAN_OK)
        return st;
    *ret = NULL;
    found = pg_rows(result) == 1;
    if (found) {
        table.schema = keep(catalog, result, 0, 0);
        table.name = keep(catalog, result, 0, 1);
        table.shown = keep(catalog, result, 0, 2);
        table.kind = letter(result, 0, 3);
        table.persistence = letter(result, 0, 4);
        table.rows = pg_int(result, 0, 5);
        table.bytes = pg_int(result, 0, 6);
        table.is_partition = pg_bool(result, 0, 7);
        table.default_partition = (uint32_t)pg_int(result, 0, 8);
        table.parent = (uint32_t)pg_int(result, 0, 9);
        table.partition_condition = keep(catalog, result, 0, 10);
        table.partition_keys = columns_of(pg_text(result, 0, 11));
        table.identity = letter(result, 0, 12);
    }
    pg_result_free(result);
    if (!found)
        return BANYAN_OK;
    st = read_parts(catalog, &table, err);
    if (st != BANYAN_OK)
        return st;
    *ret = push(catalog);
    **ret = table;
    return BANYAN_OK;
}

enum banyan_status catalog_by_oid(struct catalog *catalog, uint32_t oid, struct catalog_table **ret,
                                  struct banyan_error *err)
{
    *ret = NULL;
    for (struct entry *entry = catalog->entries; entry != NULL; entry = entry->next)
        if (entry->table.oid == oid) {
            *ret = entry->gone ? NULL : &entry->table;
            return BANYAN_OK;
        }
    return catalog->conn == NULL ? BANYAN_OK : read_table(catalog, oid, ret, err);
}

/* ---- by name ---- */

static bool is_named(const struct catalog_table *table, struct banyan_str schema, struct banyan_str name)
{
    return banyan_str_equal(table->name, name) &&
           (schema.size == 0 ? table->shown.size == table->name.size || !table->known
                             : banyan_str_equal(table->schema, schema));
}

static struct banyan_str shown_of(struct catalog *catalog, struct banyan_str schema, struct banyan_str name)
{
    if (schema.size == 0 || banyan_str_equal(schema, BANYAN_STR("public")))
        return banyan_arena_str(&catalog->arena, name);
    return banyan_arena_printf(&catalog->arena, "%.*s.%.*s", (int)schema.size, schema.data, (int)name.size, name.data);
}

static enum banyan_status oid_of(struct catalog *catalog, const char *sql, struct banyan_str schema,
                                 struct banyan_str name, struct pg_result **ret, struct banyan_error *err)
{
    struct banyan_buf quoted = BANYAN_BUF_INIT(NAME_SQL_MAX);
    enum banyan_status st;

    if (schema.size > 0) {
        pg_add_identifier(&quoted, schema);
        banyan_buf_add_char(&quoted, '.');
    }
    pg_add_identifier(&quoted, name);
    if (quoted.overflow) {
        st = banyan_error_set(err, BANYAN_INVALID, "a name is too long");
    } else {
        struct pg_param param = {banyan_buf_str(&quoted)};

        st = pg_exec(catalog->conn, sql, &param, 1, ret, err);
    }
    banyan_buf_release(&quoted);
    return st;
}

enum banyan_status catalog_table(struct catalog *catalog, struct banyan_str schema, struct banyan_str name,
                                 struct catalog_table **ret, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = BANYAN_OK;
    uint32_t oid;

    bool gone = false;

    *ret = NULL;
    for (struct entry *entry = catalog->entries; entry != NULL; entry = entry->next)
        if (is_named(&entry->table, schema, name)) {
            gone |= entry->gone;
            if (entry->gone)
                continue; /* another one may have its name now */
            *ret = &entry->table;
            return BANYAN_OK;
        }
    if (gone)
        return BANYAN_OK;
    if (catalog->conn == NULL) {
        *ret = push(catalog);
        **ret = (struct catalog_table){.oid = catalog->next_made++,
                                       .schema = banyan_arena_str(&catalog->arena, schema),
                                       .name = banyan_arena_str(&catalog->arena, name),
                                       .shown = shown_of(catalog, schema, name),
                                       .rows = CATALOG_UNKNOWN,
                                       .bytes = CATALOG_UNKNOWN};
        return BANYAN_OK;
    }
    st = oid_of(catalog, "SELECT to_regclass($1)::oid", schema, name, &result, err);
    if (st != BANYAN_OK)
        return st;
    oid = (uint32_t)pg_int(result, 0, 0);
    pg_result_free(result);
    return oid == 0 ? BANYAN_OK : catalog_by_oid(catalog, oid, ret, err);
}

struct catalog_table *catalog_make(struct catalog *catalog, struct banyan_str schema, struct banyan_str name)
{
    struct catalog_table *table = push(catalog);

    *table = (struct catalog_table){.oid = catalog->next_made++,
                                    .schema = banyan_arena_str(&catalog->arena, schema),
                                    .name = banyan_arena_str(&catalog->arena, name),
                                    .shown = shown_of(catalog, schema, name),
                                    .known = true,
                                    .made_here = true,
                                    .kind = 'r',
                                    .persistence = 'p'};
    return table;
}

void catalog_forget(struct catalog *catalog, struct catalog_table *table)
{
    for (struct entry *entry = catalog->entries; entry != NULL; entry = entry->next)
        if (&entry->table == table)
            entry->gone = true;
}

void catalog_rename(struct catalog *catalog, struct catalog_table *table, struct banyan_str name)
{
    struct catalog_table *old = push(catalog);

    *old = (struct catalog_table){.schema = table->schema, .name = table->name, .shown = table->shown, .known = true};
    catalog_forget(catalog, old);
    table->shown = table->shown.size == table->name.size
                       ? banyan_arena_str(&catalog->arena, name)
                       : banyan_arena_printf(&catalog->arena, "%.*s.%.*s", (int)table->schema.size, table->schema.data,
                                             (int)name.size, name.data);
    table->name = banyan_arena_str(&catalog->arena, name);
}

const struct catalog_column *catalog_column(const struct catalog_table *table, struct banyan_str name)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (banyan_str_equal(table->columns[i].name, name))
            return &table->columns[i];
    return NULL;
}

const struct catalog_constraint *catalog_constraint(const struct catalog_table *table, struct banyan_str name)
{
    for (size_t i = 0; i < table->constraint_count; i++)
        if (banyan_str_equal(table->constraints[i].name, name))
            return &table->constraints[i];
    return NULL;
}

/* ---- functions and types ---- */

enum banyan_status catalog_function(struct catalog *catalog, struct banyan_str schema, struct banyan_str name,
                                    unsigned arguments, struct catalog_function *ret, struct banyan_error *err)
{
    struct pg_param params[] = {
        {schema.size == 0 ? BANYAN_STR("") : schema}, {name}, {banyan_arena_printf(&catalog->arena, "%u", arguments)}};
    struct pg_result *result = NULL;
    enum banyan_status st;

    *ret = (struct catalog_function){.volatility = CATALOG_VOLATILITY_UNKNOWN};
    if (catalog->conn == NULL)
        return BANYAN_OK;
    st = pg_exec(catalog->conn, catalog_sql_function, params, 3, &result, err);
    if (st != BANYAN_OK)
        return st;
    for (size_t i = 0; i < pg_rows(result); i++) {
        char kind = letter(result, i, 0);
        enum catalog_volatility one = kind == 'i' ? CATALOG_IMMUTABLE : kind == 's' ? CATALOG_STABLE : CATALOG_VOLATILE;

        if (one > ret->volatility)
            ret->volatility = one;
    }
    if (pg_rows(result) == 1)
        ret->body = keep(catalog, result, 0, 1);
    pg_result_free(result);
    return BANYAN_OK;
}

enum banyan_status catalog_type(struct catalog *catalog, struct banyan_str schema, struct banyan_str name,
                                struct catalog_type *ret, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st;

    *ret = (struct catalog_type){.name = name, .modifier = -1};
    if (catalog->conn == NULL)
        return BANYAN_OK;
    st = oid_of(catalog, catalog_sql_type, schema, name, &result, err);
    if (st == BANYAN_OK && pg_rows(result) == 1)
        *ret = (struct catalog_type){.name = keep(catalog, result, 0, 0),
                                     .modifier = (int32_t)pg_int(result, 0, 1),
                                     .known = true,
                                     .is_domain = pg_bool(result, 0, 2),
                                     .constrained = pg_bool(result, 0, 3),
                                     .is_array = pg_bool(result, 0, 4)};
    pg_result_free(result);
    return st;
}

enum banyan_status catalog_cast(struct catalog *catalog, struct banyan_str from, struct banyan_str to,
                                bool explicit_cast, enum catalog_cast *ret, struct banyan_error *err)
{
    struct pg_param params[] = {{from}, {to}, {explicit_cast ? BANYAN_STR("t") : BANYAN_STR("f")}};
    struct pg_result *result = NULL;
    enum banyan_status st;
    char found;

    *ret = CATALOG_CAST_UNKNOWN;
    if (catalog->conn == NULL)
        return BANYAN_OK;
    st = pg_exec(catalog->conn, catalog_sql_cast, params, 3, &result, err);
    if (st != BANYAN_OK)
        return st;
    found = pg_rows(result) == 0 ? '?' : letter(result, 0, 0);
    pg_result_free(result);
    *ret = found == 'b'   ? CATALOG_CAST_BINARY
           : found == '-' ? CATALOG_CAST_NONE
           : found == '?' ? CATALOG_CAST_UNKNOWN
                          : CATALOG_CAST_FUNCTION;
    return BANYAN_OK;
}

enum banyan_status catalog_domain_users(struct catalog *catalog, struct banyan_str schema, struct banyan_str name,
                                        uint32_t **ret, size_t *ret_count, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st;

    *ret = NULL;
    *ret_count = 0;
    if (catalog->conn == NULL)
        return BANYAN_OK;
    st = oid_of(catalog, catalog_sql_domain_users, schema, name, &result, err);
    if (st != BANYAN_OK)
        return st;
    *ret_count = pg_rows(result);
    *ret = banyan_arena_zalloc(&catalog->arena, (*ret_count + 1) * sizeof(**ret));
    for (size_t i = 0; i < *ret_count; i++)
        (*ret)[i] = (uint32_t)pg_int(result, i, 0);
    pg_result_free(result);
    return BANYAN_OK;
}

enum banyan_status catalog_view_sources(struct catalog *catalog, struct catalog_table *view, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = query(catalog, catalog_sql_view_sources, view->oid, &result, err);

    if (st != BANYAN_OK)
        return st;
    view->source_count = pg_rows(result);
    view->sources = banyan_arena_zalloc(&catalog->arena, (view->source_count + 1) * sizeof(*view->sources));
    for (size_t i = 0; i < view->source_count; i++)
        view->sources[i] = (uint32_t)pg_int(result, i, 0);
    pg_result_free(result);
    return BANYAN_OK;
}

enum banyan_status catalog_ask(struct catalog *catalog, const char *sql, const struct banyan_str *params,
                               size_t param_count, struct banyan_str **ret, size_t *ret_rows, struct banyan_error *err)
{
    struct pg_param texts[ASK_PARAMS_MAX];
    struct pg_result *result = NULL;
    enum banyan_status st;
    size_t columns;

    *ret = NULL;
    *ret_rows = 0;
    if (catalog->conn == NULL)
        return BANYAN_OK;
    for (size_t i = 0; i < param_count && i < ASK_PARAMS_MAX; i++)
        texts[i] = (struct pg_param){params[i]};
    st = pg_exec(catalog->conn, sql, texts, param_count, &result, err);
    if (st != BANYAN_OK)
        return st;
    columns = pg_columns(result);
    *ret_rows = pg_rows(result);
    *ret = banyan_arena_zalloc(&catalog->arena, (*ret_rows * columns + 1) * sizeof(**ret));
    for (size_t i = 0; i < *ret_rows * columns; i++)
        (*ret)[i] = keep(catalog, result, i / columns, i % columns);
    pg_result_free(result);
    return BANYAN_OK;
}
