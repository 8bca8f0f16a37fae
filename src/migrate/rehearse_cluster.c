/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A throwaway cluster made of a dump: initdb, pg_ctl and psql or pg_restore in a folder of its own, reached over a Unix
 * socket in that folder only.
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrate/program.h"
#include "migrate/rehearse_int.h"

enum {
    FOLDERS_OPEN_MAX = 16,
};

/* pg_restore's own formats: a file that says so, or a folder. */
static bool is_archive(const char *dump)
{
    char magic[5] = "";
    struct stat about;
    FILE *file;
    bool archive;

    if (stat(dump, &about) == 0 && S_ISDIR(about.st_mode))
        return true;
    file = fopen(dump, "re");
    if (file == NULL)
        return false;
    archive = fread(magic, 1, sizeof(magic), file) == sizeof(magic) && memcmp(magic, "PGDMP", sizeof(magic)) == 0;
    (void)fclose(file); /* only read */
    return archive;
}

static enum banyan_status load(const char *dump, const struct rehearse_cluster *cluster, struct banyan_error *err)
{
    const char *const restore[] = {
        "pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--dbname", cluster->conninfo, dump, NULL};
    const char *const run[] = {"psql",      "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o",
                               "/dev/null", "-f", dump, "-d", cluster->conninfo, NULL};
    enum banyan_status st = program_run(is_archive(dump) ? restore : run, false, err);

    if (st != BANYAN_OK) {
        banyan_error_context(err, "loading %s", dump);
        banyan_error_hint(err, "roles of the dump are not there: make it with pg_dump --no-owner --no-privileges");
    }
    return st;
}

static enum banyan_status start(struct rehearse_cluster *cluster, struct banyan_arena *arena, struct banyan_error *err)
{
    const char *data = banyan_arena_printf(arena, "%s/data", cluster->folder).data;
    const char *log = banyan_arena_printf(arena, "%s/log", cluster->folder).data;
    const char *settings = banyan_arena_printf(arena,
                                               "-k '%s' -c listen_addresses='' -c fsync=off -c autovacuum=off "
                                               "-c max_prepared_transactions=10",
                                               cluster->folder)
                               .data;
    const char *initdb = NULL;
    enum banyan_status st = program_of_server("initdb", arena, &initdb, err);

    if (st == BANYAN_OK)
        st = program_of_server("pg_ctl", arena, &cluster->pg_ctl, err);
    if (st != BANYAN_OK)
        return st;
    const char *const make[] = {initdb, "-D", data, "-U", "banyan", "--auth=trust", "--no-sync", "-E", "UTF8", NULL};
    const char *const run[] = {cluster->pg_ctl, "-D", data, "-w", "-s", "-l", log, "-o", settings, "start", NULL};

    st = program_run(make, true, err);
    return st == BANYAN_OK ? program_run(run, true, err) : st;
}

enum banyan_status rehearse_cluster_start(const char *dump, struct banyan_arena *arena, struct rehearse_cluster *ret,
                                          struct banyan_error *err)
{
    const char *parent = getenv("TMPDIR");
    char *folder;
    enum banyan_status st;

    *ret = (struct rehearse_cluster){.folder = NULL};
    if (geteuid() == 0) {
        banyan_error_set(err, BANYAN_CONFIG, "PostgreSQL does not run as root, so there is no throwaway cluster");
        banyan_error_hint(err, "run this as another user, or rehearse beside a server (--conninfo)");
        return BANYAN_CONFIG;
    }
    if (access(dump, R_OK) != 0)
        return banyan_error_errno(err, errno, "cannot read %s", dump);
    folder = (char *)(uintptr_t)banyan_arena_printf(arena, "%s/banyan-rehearse-XXXXXX",
                                                    parent == NULL || parent[0] == '\0' ? "/tmp" : parent)
                 .data; /* ours to write */
    if (mkdtemp(folder) == NULL)
        return banyan_error_errno(err, errno, "cannot make %s", folder);
    ret->folder = folder;
    ret->conninfo = banyan_arena_printf(arena, "host='%s' user=banyan dbname=postgres port=5432", folder).data;
    st = start(ret, arena, err);
    if (st == BANYAN_OK)
        st = load(dump, ret, err);
    if (st != BANYAN_OK)
        rehearse_cluster_stop(ret);
    return st;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

void rehearse_cluster_stop(struct rehearse_cluster *cluster)
{
    struct banyan_error ignored = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;

    if (cluster->folder == NULL)
        return;
    if (cluster->pg_ctl != NULL) {
        const char *data = banyan_arena_printf(&arena, "%s/data", cluster->folder).data;
        const char *pid = banyan_arena_printf(&arena, "%s/postmaster.pid", data).data;
        const char *const stop[] = {cluster->pg_ctl, "-D", data, "-m", "immediate", "-w", "-s", "stop", NULL};

        if (access(pid, F_OK) == 0 && program_run(stop, true, &ignored) != BANYAN_OK)
            banyan_error_clear(&ignored); /* what is thrown away may end as it likes */
    }
    (void)nftw(cluster->folder, remove_one, FOLDERS_OPEN_MAX, FTW_DEPTH | FTW_PHYS); /* the same */
    cluster->folder = NULL;
    banyan_arena_release(&arena);
}
