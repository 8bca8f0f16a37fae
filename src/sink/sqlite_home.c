/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All generations of a view in SQLite files: see sqlite_home.h.
 *
 * Invariants
 *   1. A number is never used twice: the catalog counts.
 *   2. A file that the catalog does not know, or that is not sealed, means nothing: whoever claims it begins anew.
 *   3. The switch is one rename of a symbolic link, durable when serve() returns.
 *
 * Threads: any; each call opens the catalog for itself.
 */
#include "sink/sqlite_home.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "banyan/buf.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "os/file.h"
#include "sink/sink_value.h"
#include "sink/sinks.h"
#include "sink/sqlite_db.h"

enum {
    CATALOG_BUSY_MS = 10000,
    PATH_BYTES_MAX = 8192,
};

struct sqlite_home {
    struct sink_home base;
    struct sqlite_place place;
};

/* ---- names ---- */

struct sqlite_place sqlite_place_copy(const struct sqlite_place *place)
{
    return (struct sqlite_place){place->projection, alloc_text(place->folder), alloc_text(place->view)};
}

void sqlite_place_release(struct sqlite_place *place)
{
    free(place->folder);
    free(place->view);
}

/* "<folder>/<view><suffix>" */
static char *path_of(const struct sqlite_place *place, const char *suffix)
{
    struct banyan_buf name = BANYAN_BUF_INIT(PATH_BYTES_MAX);
    banyan_buf_printf(&name, "%s%s", place->view, suffix);
    char *path = alloc_path(place->folder, name.data);
    banyan_buf_release(&name);
    return path;
}

char *sqlite_place_link(const struct sqlite_place *place)
{
    return path_of(place, ".sqlite");
}

static char *file_with(const struct sqlite_place *place, uint32_t generation, const char *suffix)
{
    struct banyan_buf name = BANYAN_BUF_INIT(PATH_BYTES_MAX);
    banyan_buf_printf(&name, ".%u.sqlite%s", generation, suffix);
    char *path = path_of(place, name.data);
    banyan_buf_release(&name);
    return path;
}

char *sqlite_place_file(const struct sqlite_place *place, uint32_t generation)
{
    return file_with(place, generation, "");
}

/* The number in "<view>.<N>.sqlite…"; 0: it is no such name. */
static uint32_t number_of(const struct sqlite_place *place, const char *name)
{
    size_t size = strlen(place->view);
    if (strncmp(name, place->view, size) != 0 || name[size] != '.' || name[size + 1] < '1' || name[size + 1] > '9')
        return 0;
    char *end;
    unsigned long number = strtoul(name + size + 1, &end, 10);
    return strncmp(end, ".sqlite", 7) == 0 && number <= UINT32_MAX ? (uint32_t)number : 0;
}

uint32_t sqlite_place_serving(const struct sqlite_place *place)
{
    char target[PATH_BYTES_MAX];
    char *link = sqlite_place_link(place);
    ssize_t size = readlink(link, target, sizeof(target) - 1);
    free(link);
    if (size <= 0)
        return 0;
    target[size] = '\0';
    return number_of(place, target);
}

/* What the catalog's changes go by: a link to a file that somebody removed names none. */
static uint32_t serving_file(const struct sqlite_place *place)
{
    char *link = sqlite_place_link(place);
    bool there = access(link, F_OK) == 0 || errno != ENOENT; /* of what it names */
    free(link);
    return there ? sqlite_place_serving(place) : 0;
}

void sqlite_place_remove(const struct sqlite_place *place, uint32_t generation)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char *path = file_with(place, generation, suffixes[i]);
        (void)unlink(path); /* what stays is litter that make() looks for again */
        free(path);
    }
}

/* ---- the catalog ---- */

struct catalog {
    sqlite3 *db;
    char *path;
};

static void catalog_close(struct catalog *catalog)
{
    if (catalog->db != NULL && sqlite3_get_autocommit(catalog->db) == 0)
        (void)sqlite3_exec(catalog->db, "ROLLBACK", NULL, NULL, NULL); /* the first error is the one that is told */
    (void)sqlite3_close(catalog->db);                                  /* cannot fail: no statement is left */
    free(catalog->path);
}

static enum banyan_status catalog_run(struct catalog *catalog, const char *sql, struct banyan_error *err)
{
    int rc = sqlite3_exec(catalog->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? BANYAN_OK : sqlite_db_fail(catalog->db, catalog->path, rc, "catalog", err);
}

/* Opens it and begins a transaction: to write, where *writes*.  catalog_close() in any case. */
static enum banyan_status catalog_open(const struct sqlite_place *place, bool writes, struct catalog *ret,
                                       struct banyan_error *err)
{
    struct os_file *file = NULL;
    *ret = (struct catalog){NULL, path_of(place, ".catalog.sqlite")};
    enum banyan_status st = os_files_real()->open(os_files_real(), ret->path, true, &file, err); /* mode 0600 */
    if (st != BANYAN_OK)
        return st;
    os_files_real()->close(file);
    int rc = sqlite3_open_v2(ret->path, &ret->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return sqlite_db_fail(ret->db, ret->path, rc, "open", err);
    (void)sqlite3_busy_timeout(ret->db, CATALOG_BUSY_MS); /* cannot fail */
    st = catalog_run(ret,
                     "PRAGMA synchronous = EXTRA; CREATE TABLE IF NOT EXISTS generation (number INTEGER PRIMARY KEY "
                     "AUTOINCREMENT, form TEXT NOT NULL, version INTEGER NOT NULL, sealed INTEGER NOT NULL DEFAULT 0, "
                     "epoch INTEGER NOT NULL DEFAULT 0, made_at INTEGER NOT NULL, served_at INTEGER, "
                     "served INTEGER NOT NULL DEFAULT 0)",
                     err);
    return st == BANYAN_OK ? catalog_run(ret, writes ? "BEGIN IMMEDIATE" : "BEGIN", err) : st;
}

/* One statement with whole numbers as parameters; *ret_changes may be NULL. */
static enum banyan_status catalog_change(struct catalog *catalog, const char *sql, const int64_t *numbers, int count,
                                         int *ret_changes, struct banyan_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(catalog->db, sql, -1, &stmt, NULL);
    for (int i = 0; i < count; i++)
        sqlite_bind_int(stmt, i + 1, numbers[i]);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    (void)sqlite3_finalize(stmt); /* repeats rc */
    if (rc != SQLITE_DONE)
        return sqlite_db_fail(catalog->db, catalog->path, rc, "catalog", err);
    if (ret_changes != NULL)
        *ret_changes = sqlite3_changes(catalog->db);
    return BANYAN_OK;
}

static void read_generation(sqlite3_stmt *stmt, uint32_t serving, struct sink_generation *ret)
{
    uint32_t number = (uint32_t)sqlite3_column_int64(stmt, 0);
    *ret = (struct sink_generation){
        .number = number,
        .state = number == serving                    ? SINK_SERVING
                 : sqlite3_column_int64(stmt, 6) != 0 ? SINK_KEPT
                                                      : SINK_BUILDING,
        .version = (unsigned)sqlite3_column_int64(stmt, 2),
        .sealed = sqlite3_column_int64(stmt, 3) != 0,
        .made_at = {sqlite3_column_int64(stmt, 4)},
        .served_at = {BANYAN_TIME_NULL},
        .checkpoint = {.generation = number},
    };
    const char *form = (const char *)sqlite3_column_text(stmt, 1);
    if (form != NULL)
        (void)stpncpy(ret->form, form, SINK_FORM_SIZE - 1); /* the rest is zero */
    if (number == serving && sqlite3_column_type(stmt, 5) != SQLITE_NULL)
        ret->served_at.us = sqlite3_column_int64(stmt, 5);
}

static enum banyan_status catalog_list(struct catalog *catalog, uint32_t serving, struct sink_generation *ret,
                                       size_t *ret_count, struct banyan_error *err)
{
    sqlite3_stmt *stmt = NULL;
    size_t count = 0;
    int rc = sqlite3_prepare_v2(catalog->db,
                                "SELECT number, form, version, sealed, made_at, served_at, served FROM generation "
                                "ORDER BY number",
                                -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && count < SINK_GENERATIONS_MAX)
            read_generation(stmt, serving, &ret[count++]);
    (void)sqlite3_finalize(stmt); /* repeats rc */
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        return sqlite_db_fail(catalog->db, catalog->path, rc, "catalog", err);
    *ret_count = count;
    return BANYAN_OK;
}

enum banyan_status sqlite_place_claim(const struct sqlite_place *place, uint32_t generation, int64_t *ret_epoch,
                                      bool *ret_sealed, struct sink_mark *ret_ready, struct banyan_error *err)
{
    struct catalog catalog;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    size_t count = 0, at = 0;
    enum banyan_status st = catalog_open(place, true, &catalog, err);
    if (st == BANYAN_OK)
        st = catalog_list(&catalog, 0, all, &count, err);
    while (at < count && all[at].number != generation)
        at++;
    if (st == BANYAN_OK)
        st = at == count ? sink_no_generation(place->projection, generation, err)
                         : sink_form_check(place->projection, generation, all[at].form, err);
    if (st == BANYAN_OK)
        st = catalog_change(&catalog, "UPDATE generation SET epoch = epoch + 1 WHERE number = ?1",
                            &(int64_t){generation}, 1, NULL, err);
    if (st == BANYAN_OK) {
        sqlite3_stmt *stmt = NULL;
        int rc = sqlite3_prepare_v2(catalog.db, "SELECT epoch FROM generation WHERE number = ?1", -1, &stmt, NULL);
        sqlite_bind_int(stmt, 1, generation);
        if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
            *ret_epoch = sqlite3_column_int64(stmt, 0);
        else
            st = sqlite_db_fail(catalog.db, catalog.path, rc, "catalog", err);
        (void)sqlite3_finalize(stmt); /* repeats rc */
    }
    if (st == BANYAN_OK)
        st = catalog_run(&catalog, "COMMIT", err);
    if (st == BANYAN_OK) {
        *ret_sealed = all[at].sealed;
        *ret_ready = sink_form_mark(all[at].form);
    }
    catalog_close(&catalog);
    return st;
}

enum banyan_status sqlite_place_seal(const struct sqlite_place *place, uint32_t generation, int64_t epoch,
                                     struct banyan_error *err)
{
    struct catalog catalog;
    int changes = 0;
    enum banyan_status st = os_files_real()->sync_folder(os_files_real(), place->folder, err);
    if (st != BANYAN_OK)
        return st;
    st = catalog_open(place, true, &catalog, err);
    if (st == BANYAN_OK)
        st = catalog_change(&catalog, "UPDATE generation SET sealed = 1 WHERE number = ?1 AND epoch = ?2",
                            (int64_t[]){generation, epoch}, 2, &changes, err);
    if (st == BANYAN_OK && changes != 1)
        st = sink_taken_over(place->projection, generation, err);
    if (st == BANYAN_OK)
        st = catalog_run(&catalog, "COMMIT", err);
    catalog_close(&catalog);
    return st;
}

/* ---- generations ---- */

/* The checkpoint of a sealed one, as it stands in its file. */
static enum banyan_status read_checkpoint(const struct sqlite_place *place, struct sink_generation *generation,
                                          struct banyan_error *err)
{
    struct sqlite_db *db = NULL;
    char *path = sqlite_place_file(place, generation->number);
    if (access(path, F_OK) != 0 && errno == ENOENT) { /* removed by hand: nothing of it is left */
        generation->sealed = false;
        free(path);
        return BANYAN_OK;
    }
    enum banyan_status st = sqlite_db_open(place->projection, path, SQLITE_READING, &db, err);
    if (st == BANYAN_OK)
        st = sqlite_db_checkpoint(db, generation->number, &generation->checkpoint, NULL, err);
    sqlite_db_close(db);
    free(path);
    return st;
}

static enum banyan_status home_generations(struct sink_home *base, struct sink_generation *ret, size_t *ret_count,
                                           struct banyan_error *err)
{
    const struct sqlite_place *place = &((struct sqlite_home *)base)->place;
    struct catalog catalog;
    size_t count = 0;
    enum banyan_status st = catalog_open(place, false, &catalog, err);
    if (st == BANYAN_OK)
        st = catalog_list(&catalog, serving_file(place), ret, &count, err);
    /* Within the transaction of the catalog nobody can drop one. */
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        if (ret[i].sealed)
            st = read_checkpoint(place, &ret[i], err);
        ret[i].checkpoint.ready = sink_form_mark(ret[i].form);
    }
    catalog_close(&catalog);
    if (st == BANYAN_OK)
        *ret_count = count;
    return st;
}

/* Files of generations that the catalog does not know: left by a crash. */
static void remove_strays(const struct sqlite_place *place, const struct sink_generation *all, size_t count)
{
    char **names = NULL;
    if (os_files_real()->list(os_files_real(), place->folder, &names, NULL) != BANYAN_OK)
        return; /* they harm nobody */
    for (char **name = names; *name != NULL; name++) {
        uint32_t number = number_of(place, *name);
        bool known = number == 0;
        for (size_t i = 0; i < count; i++)
            known = known || all[i].number == number;
        if (!known)
            sqlite_place_remove(place, number);
        free(*name);
    }
    free(names);
}

static enum banyan_status insert_generation(struct catalog *catalog, const struct sqlite_place *place,
                                            struct sink_mark ready, struct banyan_error *err)
{
    char form[SINK_FORM_SIZE];
    struct banyan_buf sql = BANYAN_BUF_INIT(4096);
    sink_form_marked(place->projection, ready, form);
    banyan_buf_printf(&sql, "INSERT INTO generation (form, version, made_at) VALUES ('%s', ?1, ?2)", form);
    enum banyan_status st = catalog_change(
        catalog, sql.data, (int64_t[]){place->projection->version, os_clock_now(os_clock_real()).us}, 2, NULL, err);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status home_make(struct sink_home *base, struct sink_mark ready, uint32_t *ret_number,
                                    struct banyan_error *err)
{
    const struct sqlite_place *place = &((struct sqlite_home *)base)->place;
    struct catalog catalog;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    size_t count = 0;
    uint32_t number = 0;
    enum banyan_status st = catalog_open(place, true, &catalog, err);
    if (st == BANYAN_OK)
        st = catalog_list(&catalog, 0, all, &count, err);
    if (st == BANYAN_OK)
        st = sink_make_check(base->projection, count, err);
    if (st == BANYAN_OK)
        st = insert_generation(&catalog, place, ready, err);
    if (st == BANYAN_OK) {
        number = (uint32_t)sqlite3_last_insert_rowid(catalog.db);
        if (sqlite_place_serving(place) == number) { /* of a catalog that somebody removed */
            char *link = sqlite_place_link(place);
            (void)unlink(link); /* if it stays, a file that is empty is told to be one */
            free(link);
        }
        sqlite_place_remove(place, number);
        remove_strays(place, all, count);
        st = catalog_run(&catalog, "COMMIT", err);
    }
    catalog_close(&catalog);
    if (st == BANYAN_OK)
        *ret_number = number;
    return st;
}

/* ---- the switch ---- */

static enum banyan_status replace_link(const struct sqlite_place *place, uint32_t number, struct banyan_error *err)
{
    struct banyan_buf target = BANYAN_BUF_INIT(PATH_BYTES_MAX);
    enum banyan_status st = BANYAN_OK;
    char *link = sqlite_place_link(place), *next = path_of(place, ".next");
    char *wal = path_of(place, ".sqlite-wal"), *shm = path_of(place, ".sqlite-shm");
    banyan_buf_printf(&target, "%s.%u.sqlite", place->view, number);
    (void)unlink(next); /* of a crash; usually there is none */
    if (symlink(target.data, next) != 0)
        st = banyan_error_errno(err, errno, "make the link %s", next);
    if (st == BANYAN_OK)
        st = os_files_real()->rename(os_files_real(), next, link, err);
    if (st == BANYAN_OK)
        st = os_files_real()->sync_folder(os_files_real(), place->folder, err);
    if (st == BANYAN_OK) {
        /* A file of that name (versions before generations) is gone by now; so must be what belonged to it. */
        (void)unlink(wal);
        (void)unlink(shm);
    }
    free(shm);
    free(wal);
    free(next);
    free(link);
    banyan_buf_release(&target);
    return st;
}

static enum banyan_status home_serve(struct sink_home *base, uint32_t expected, uint32_t number,
                                     struct banyan_error *err)
{
    const struct sqlite_place *place = &((struct sqlite_home *)base)->place;
    struct catalog catalog;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    size_t count = 0;
    enum banyan_status st = catalog_open(place, true, &catalog, err);
    if (st == BANYAN_OK)
        st = catalog_list(&catalog, serving_file(place), all, &count, err);
    if (st == BANYAN_OK)
        st = sink_serve_check(base->projection, all, count, expected, number, err);
    if (st == BANYAN_OK && expected != number) {
        /* That the old one served is written before it does so no more, so that no crash makes it one that never did;
         * so is when the new one began. */
        st = catalog_change(&catalog, "UPDATE generation SET served = 1 WHERE number = ?1", &(int64_t){expected}, 1,
                            NULL, err);
        if (st == BANYAN_OK)
            st = catalog_change(&catalog, "UPDATE generation SET served_at = ?2 WHERE number = ?1",
                                (int64_t[]){number, os_clock_now(os_clock_real()).us}, 2, NULL, err);
        if (st == BANYAN_OK)
            st = catalog_run(&catalog, "COMMIT; BEGIN IMMEDIATE", err);
        if (st == BANYAN_OK && serving_file(place) != expected)
            st = banyan_error_set(err, BANYAN_CONFLICT, "view %s: another generation was switched to meanwhile",
                                  base->projection->name);
        if (st == BANYAN_OK)
            st = replace_link(place, number, err);
    }
    catalog_close(&catalog);
    return st;
}

/* Whoever still writes into it shall know that it is for nothing. */
static void fence(const struct sqlite_place *place, uint32_t number)
{
    struct sqlite_db *db = NULL;
    char *path = sqlite_place_file(place, number);
    static const char change[] = "PRAGMA synchronous = OFF; UPDATE banyan_checkpoint SET epoch = epoch + 1";
    if (sqlite_db_open(place->projection, path, change, &db, NULL) != BANYAN_OK)
        db = NULL; /* it goes away in any case */
    sqlite_db_close(db);
    free(path);
}

static enum banyan_status home_drop(struct sink_home *base, uint32_t number, struct banyan_error *err)
{
    const struct sqlite_place *place = &((struct sqlite_home *)base)->place;
    struct catalog catalog;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    size_t count = 0;
    enum banyan_status st = catalog_open(place, true, &catalog, err);
    if (st == BANYAN_OK)
        st = catalog_list(&catalog, serving_file(place), all, &count, err);
    if (st == BANYAN_OK)
        st = sink_drop_check(base->projection, all, count, number, err);
    if (st == BANYAN_OK)
        st = catalog_change(&catalog, "DELETE FROM generation WHERE number = ?1", &(int64_t){number}, 1, NULL, err);
    if (st == BANYAN_OK)
        st = catalog_run(&catalog, "COMMIT", err);
    if (st == BANYAN_OK) {
        fence(place, number);
        sqlite_place_remove(place, number);
    }
    catalog_close(&catalog);
    return st;
}

/* ---- handles ---- */

static enum banyan_status home_open(struct sink_home *base, uint32_t number, struct sink **ret,
                                    struct banyan_error *err)
{
    const struct sqlite_place *place = &((struct sqlite_home *)base)->place;
    struct catalog catalog;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    size_t count = 0;
    enum banyan_status st = catalog_open(place, false, &catalog, err);
    if (st == BANYAN_OK)
        st = catalog_list(&catalog, 0, all, &count, err);
    catalog_close(&catalog);
    for (size_t i = 0; i < count && st == BANYAN_OK; i++)
        if (all[i].number == number)
            return sqlite_sink_open(place, number, ret);
    return st == BANYAN_OK ? sink_no_generation(base->projection, number, err) : st;
}

static enum banyan_status home_view(struct sink_home *base, struct sink_view **ret, struct banyan_error *err)
{
    return sqlite_view_open(&((struct sqlite_home *)base)->place, ret);
}

static void home_close(struct sink_home *base)
{
    sqlite_place_release(&((struct sqlite_home *)base)->place);
    free(base);
}

static const struct sink_home_ops sqlite_home_ops = {
    .name = "sqlite",
    .durable = true,
    .close = home_close,
    .generations = home_generations,
    .make = home_make,
    .open = home_open,
    .serve = home_serve,
    .drop = home_drop,
    .view = home_view,
};

enum banyan_status sink_sqlite_home(const struct banyan_projection *projection, const char *folder, const char *view,
                                    struct sink_home **ret, struct banyan_error *err)
{
    enum banyan_status st = sink_check(projection, err);
    if (st != BANYAN_OK)
        return st;
    if (view[0] == '\0' || view[0] == '.' || strchr(view, '/') != NULL)
        return banyan_error_set(err, BANYAN_INVALID, "%s is no name for files", view);
    if (access(folder, W_OK | X_OK) != 0)
        return banyan_error_set(err, errno == ENOENT ? BANYAN_NOT_FOUND : BANYAN_IO, "the folder %s of view %s: %s",
                                folder, view, strerror(errno));
    struct sqlite_home *home = alloc_zeroed(1, sizeof(*home));
    home->base = (struct sink_home){&sqlite_home_ops, projection};
    home->place = (struct sqlite_place){projection, alloc_text(folder), alloc_text(view)};
    *ret = &home->base;
    return BANYAN_OK;
}
