/* SPDX-License-Identifier: Apache-2.0 */
#include "support/golden_plan.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_BYTES = 1024,
    BIG_ROWS = 5 * 1000 * 1000,
    SMALL_ROWS = 100,
    SMALL_BYTES = 16 * 1024,
};
static const int64_t big_bytes = 1024LL * 1024 * 1024, index_bytes = 128LL * 1024 * 1024;

static const char *const small_tables[] = {"archive", "regions"};

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

size_t golden_list(const char *folder, char names[GOLDEN_MAX][GOLDEN_NAME_MAX])
{
    const char *only = getenv("BANYAN_PLANS_ONLY");
    DIR *open = opendir(folder);
    size_t count = 0;

    for (struct dirent *entry; open != NULL && (entry = readdir(open)) != NULL && count < GOLDEN_MAX;) {
        size_t size = strlen(entry->d_name);

        if (size <= 4 || size - 4 >= GOLDEN_NAME_MAX || strcmp(entry->d_name + size - 4, ".sql") != 0 ||
            strcmp(entry->d_name, "schema.sql") == 0 || (only != NULL && strstr(entry->d_name, only) == NULL))
            continue;
        memcpy(names[count], entry->d_name, size - 4);
        names[count++][size - 4] = '\0';
    }
    if (open != NULL)
        (void)closedir(open);
    qsort(names, count, GOLDEN_NAME_MAX, by_name);
    return count;
}

struct pg_conn *golden_connect(const char *base, const char *database)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char conninfo[PATH_BYTES];
    struct pg_options options = {.conninfo = conninfo};
    struct pg_conn *conn = NULL;

    (void)snprintf(conninfo, sizeof(conninfo), "%s%s%s", base == NULL ? "" : base,
                   database[0] == '\0' ? "" : " dbname=", database);
    if (pg_connect(&options, &conn, &err) != BANYAN_OK)
        (void)fprintf(stderr, "%s: %s\n", database, err.message);
    return conn;
}

char *golden_read(const char *folder, const char *name, const char *end)
{
    char path[PATH_BYTES];
    char *text = NULL;
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s%s", folder, name, end);
    file = fopen(path, "r");
    if (file == NULL)
        return NULL;
    text = calloc(1, GOLDEN_FILE_MAX);
    if (text != NULL)
        text[fread(text, 1, GOLDEN_FILE_MAX - 1, file)] = '\0';
    (void)fclose(file);
    return text;
}

bool golden_write(const char *folder, const char *name, const char *end, struct banyan_str text)
{
    char path[PATH_BYTES];
    FILE *file;
    bool ok;

    (void)snprintf(path, sizeof(path), "%s/%s%s", folder, name, end);
    file = fopen(path, "w");
    if (file == NULL)
        return false;
    ok = fwrite(text.data, 1, text.size, file) == text.size;
    return fclose(file) == 0 && ok;
}

static bool is_small(struct banyan_str name)
{
    for (size_t i = 0; i < sizeof(small_tables) / sizeof(small_tables[0]); i++)
        if (banyan_str_equal(name, banyan_str_of(small_tables[i])))
            return true;
    return false;
}

static enum banyan_status tell_sizes(struct catalog *catalog, struct pg_conn *conn, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn,
                                    "SELECT c.oid FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p') AND "
                                    "c.relnamespace::regnamespace::text NOT IN ('pg_toast', 'banyan') ORDER BY 1",
                                    NULL, 0, &result, err);

    for (size_t i = 0; st == BANYAN_OK && i < pg_rows(result); i++) {
        struct catalog_table *table = NULL;

        st = catalog_by_oid(catalog, (uint32_t)pg_int(result, i, 0), &table, err);
        if (st != BANYAN_OK || table == NULL)
            break;
        table->rows = is_small(table->name) ? SMALL_ROWS : table->kind == 'p' ? -1 : BIG_ROWS;
        table->bytes = is_small(table->name) ? SMALL_BYTES : table->kind == 'p' ? 0 : big_bytes;
        for (size_t k = 0; k < table->index_count; k++)
            table->indexes[k].bytes = is_small(table->name) ? SMALL_BYTES : table->kind == 'p' ? 0 : index_bytes;
    }
    pg_result_free(result);
    return st;
}

bool golden_make(struct golden *golden, struct pg_conn *conn, const char *folder, const char *name)
{
    char file[GOLDEN_NAME_MAX + 8];
    char *source = golden_read(folder, name, ".sql");
    bool ok;

    *golden = (struct golden){.name = name};
    (void)snprintf(file, sizeof(file), "%s.sql", name);
    ok = source != NULL &&
         migration_parse(file, banyan_str_of(source), &golden->migration, &golden->err) == BANYAN_OK &&
         catalog_open(conn, &golden->catalog, &golden->err) == BANYAN_OK &&
         tell_sizes(golden->catalog, conn, &golden->err) == BANYAN_OK;
    free(source);
    if (!ok) {
        (void)fprintf(stderr, "%s: %s\n", name, golden->err.message);
        golden_release(golden);
        return false;
    }
    golden->st = plan_make(golden->migration, golden->catalog, &golden->arena, &golden->plan, &golden->err);
    return true;
}

void golden_release(struct golden *golden)
{
    catalog_free(golden->catalog);
    migration_free(golden->migration);
    banyan_arena_release(&golden->arena);
}
