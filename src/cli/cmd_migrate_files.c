/* SPDX-License-Identifier: Apache-2.0 */
/* Migrations that are named on the command line, by file, folder or version: see cmd_migrate.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "cli/cmd_migrate.h"
#include "cli/files.h"
#include "os/file.h"

enum {
    PATH_BYTES_MAX = 4096,
    NAMES_MAX = 16, /* in a message */
};

/* ---- files ---- */

static enum banyan_status add_file(const char *path, struct migrate_files *ret, struct banyan_error *err)
{
    struct banyan_buf source = BANYAN_BUF_INIT(MIGRATE_FILE_BYTES_MAX);
    enum banyan_status st;

    if (ret->count == MIGRATE_FILES_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "more than %d files", MIGRATE_FILES_MAX);
    st = files_read(path, &source, err);
    if (st == BANYAN_OK)
        st = migration_parse(path, banyan_buf_str(&source), &ret->items[ret->count], err);
    ret->count += st == BANYAN_OK;
    banyan_buf_release(&source);
    return st;
}

static bool is_sql(const char *name)
{
    size_t size = strlen(name);

    return size > 4 && name[0] != '.' && strcmp(name + size - 4, ".sql") == 0;
}

static enum banyan_status add_folder(const char *folder, struct migrate_files *ret, struct banyan_error *err)
{
    struct os_files *files = os_files_real();
    struct banyan_buf path = BANYAN_BUF_INIT(PATH_BYTES_MAX);
    size_t before = ret->count;
    char **names = NULL;
    enum banyan_status st = files->list(files, folder, &names, err);

    for (size_t i = 0; st == BANYAN_OK && names[i] != NULL; i++) {
        if (!is_sql(names[i]))
            continue;
        banyan_buf_reset(&path);
        banyan_buf_printf(&path, "%s/%s", folder, names[i]);
        st = path.overflow ? banyan_error_set(err, BANYAN_LIMIT, "a path in %s is too long", folder)
                           : add_file(path.data, ret, err);
    }
    for (size_t i = 0; names != NULL && names[i] != NULL; i++)
        free(names[i]);
    free(names);
    banyan_buf_release(&path);
    if (st == BANYAN_OK && ret->count == before)
        st = banyan_error_set(err, BANYAN_NOT_FOUND, "there is no *.sql in %s", folder);
    return st;
}

enum banyan_status migrate_files_read(const char *const *arguments, size_t count, struct migrate_files *ret,
                                      struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    ret->items = alloc_zeroed(MIGRATE_FILES_MAX, sizeof(struct migration *));
    ret->count = 0;
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        struct stat about;

        if (stat(arguments[i], &about) == 0 && S_ISDIR(about.st_mode))
            st = add_folder(arguments[i], ret, err);
        else
            st = add_file(arguments[i], ret, err);
    }
    for (size_t i = 0; i < ret->count && st == BANYAN_OK; i++)
        for (size_t before = 0; before < i && st == BANYAN_OK; before++)
            if (banyan_str_equal(ret->items[i]->version, ret->items[before]->version)) {
                st = banyan_error_set(err, BANYAN_INVALID, "%s and %s have the same version %.*s",
                                      ret->items[before]->path, ret->items[i]->path, (int)ret->items[i]->version.size,
                                      ret->items[i]->version.data);
                banyan_error_hint(err, "the version is what the name begins with, up to the first letter");
            }
    return st;
}

void migrate_files_release(struct migrate_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        migration_free(files->items[i]);
    free(files->items);
    *files = (struct migrate_files){.items = NULL};
}

/* ---- versions ---- */

bool migrate_is_unfinished(const struct books_migration *migration)
{
    return migration->state != BOOKS_DONE && migration->state != BOOKS_ROLLED_BACK;
}

/* Of a file: the one that was started has to be this one. */
static enum banyan_status find_file(struct pg_conn *conn, const char *path, struct banyan_arena *arena,
                                    struct books_migration *ret, struct banyan_error *err)
{
    struct migrate_files files = {.items = NULL};
    enum banyan_status st = migrate_files_read(&path, 1, &files, err);

    if (st == BANYAN_OK && files.count != 1)
        st = banyan_error_set(err, BANYAN_USAGE, "one migration at a time: %s has %zu", path, files.count);
    if (st == BANYAN_OK)
        st = books_read(conn, files.items[0]->version, arena, ret, err);
    if (st == BANYAN_OK)
        st = books_same(ret, files.items[0], err);
    migrate_files_release(&files);
    return st;
}

/* The only one that *fits*. */
static enum banyan_status find_only(struct pg_conn *conn, bool (*fits)(const struct books_migration *migration),
                                    struct banyan_arena *arena, struct books_migration *ret, struct banyan_error *err)
{
    struct books_migration *all = NULL, *found = NULL;
    struct banyan_buf names = BANYAN_BUF_INIT(BANYAN_ERROR_TEXT_MAX);
    size_t count = 0, fitting = 0;
    enum banyan_status st = books_list(conn, arena, &all, &count, err);

    if (st != BANYAN_OK)
        return st;
    for (size_t i = 0; i < count; i++) {
        if (!fits(&all[i]))
            continue;
        found = &all[i];
        if (++fitting <= NAMES_MAX)
            banyan_buf_printf(&names, "%s%.*s (%s)", fitting > 1 ? ", " : "", (int)all[i].version.size,
                              all[i].version.data, books_state_name(all[i].state));
    }
    if (fitting == 1) {
        st = books_read(conn, found->version, arena, ret, err);
    } else if (fitting == 0) {
        st = banyan_error_set(err, BANYAN_NOT_FOUND, "no migration is in a state in which this can be done");
        banyan_error_hint(err, "`banyan migrate history` lists them");
    } else {
        st = banyan_error_set(err, BANYAN_USAGE, "which one?  %s", names.data == NULL ? "" : names.data);
        banyan_error_hint(err, "name its version or its file");
    }
    banyan_buf_release(&names);
    return st;
}

enum banyan_status migrate_find(const struct migrate_command *command, struct pg_conn *conn,
                                bool (*fits)(const struct books_migration *migration), struct banyan_arena *arena,
                                struct books_migration *ret, struct banyan_error *err)
{
    const char *name = command->argument_count == 0 ? NULL : command->arguments[0];

    if (name == NULL)
        return find_only(conn, fits, arena, ret, err);
    if (strchr(name, '/') != NULL || is_sql(name))
        return find_file(conn, name, arena, ret, err);
    return books_read(conn, banyan_str_of(name), arena, ret, err);
}

/* ---- output ---- */

static void add_member(struct banyan_buf *json, const char *name, struct banyan_str text)
{
    banyan_buf_printf(json, ",\"%s\":", name);
    if (text.data == NULL)
        banyan_buf_add_text(json, "null");
    else
        banyan_buf_add_json(json, text);
}

void migrate_add_json(struct banyan_buf *json, const struct books_migration *migration)
{
    banyan_buf_add_text(json, "\"version\":");
    banyan_buf_add_json(json, migration->version);
    add_member(json, "description", migration->description);
    banyan_buf_add_text(json, ",\"checksum\":\"");
    for (size_t i = 0; i < sizeof(migration->checksum); i++)
        banyan_buf_printf(json, "%02x", migration->checksum[i]);
    banyan_buf_printf(json, "\",\"state\":\"%s\",\"paused\":%s,\"applied_us\":%" PRId64,
                      books_state_name(migration->state), migration->paused ? "true" : "false", migration->applied_us);
    add_member(json, "applied_by", migration->applied_by);
    banyan_buf_printf(json, ",\"execution_ms\":%" PRId64, migration->execution_ms);
    add_member(json, "rollback_script", migration->rollback_script);
}

enum banyan_status migrate_print(const struct banyan_buf *text, struct banyan_error *err)
{
    if (text->overflow)
        return banyan_error_set(err, BANYAN_LIMIT, "the report is longer than %zu bytes", text->size_max);
    (void)fwrite(text->data == NULL ? "" : text->data, 1, text->size, stdout); /* nobody else to tell */
    (void)fflush(stdout);
    return BANYAN_OK;
}
