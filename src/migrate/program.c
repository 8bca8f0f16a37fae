/* SPDX-License-Identifier: Apache-2.0 */
/* See program.h. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate/program.h"

extern char **environ;

enum {
    ARGUMENTS_MAX = 32,
    MAJOR_NEWEST = 40, /* of the versions that are looked for */
    MAJOR_OLDEST = 13,
};

/* pg_dump and psql get it as an argument, which everybody on the machine can read. */
bool program_shows_password(const char *conninfo)
{
    const char *host = strstr(conninfo, "://"), *at = host == NULL ? NULL : strchr(host, '@');

    return strcasestr(conninfo, "password") != NULL ||
           (at != NULL && memchr(host + 3, ':', (size_t)(at - host) - 3) != NULL);
}

static int start(pid_t *pid, char *const *arguments, bool quiet)
{
    posix_spawn_file_actions_t actions;
    int code = posix_spawn_file_actions_init(&actions);

    if (code != 0)
        return code;
    if (quiet)
        code = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (code == 0)
        code = posix_spawnp(pid, arguments[0], &actions, NULL, arguments, environ);
    (void)posix_spawn_file_actions_destroy(&actions); /* cannot fail on one that was made */
    return code;
}

enum banyan_status program_run(const char *const *arguments, bool quiet, struct banyan_error *err)
{
    pid_t pid;
    int state = 0, code;
    char *copies[ARGUMENTS_MAX];
    size_t count = 0;

    for (; arguments[count] != NULL && count < ARGUMENTS_MAX - 1; count++)
        copies[count] = (char *)(uintptr_t)arguments[count]; /* not written to */
    copies[count] = NULL;
    code = start(&pid, copies, quiet);
    if (code != 0)
        return banyan_error_errno(err, code, "%s", arguments[0]);
    while (waitpid(pid, &state, 0) < 0)
        if (errno != EINTR)
            return banyan_error_errno(err, errno, "waiting for %s", arguments[0]);
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0)
        return BANYAN_OK;
    banyan_error_set(err, BANYAN_QUERY, "%s failed; it told why above", arguments[0]);
    banyan_error_hint(err, "its version has to be that of the server, or newer");
    return BANYAN_QUERY;
}

static bool in_path(const char *name, struct banyan_arena *arena, const char **ret)
{
    const char *path = getenv("PATH");

    while (path != NULL && *path != '\0') {
        size_t size = strcspn(path, ":");
        const char *file = banyan_arena_printf(arena, "%.*s/%s", (int)size, path, name).data;

        if (size > 0 && access(file, X_OK) == 0) {
            *ret = file;
            return true;
        }
        path += size + (path[size] == ':');
    }
    return false;
}

enum banyan_status program_of_server(const char *name, struct banyan_arena *arena, const char **ret,
                                     struct banyan_error *err)
{
    if (in_path(name, arena, ret))
        return BANYAN_OK;
    for (int major = MAJOR_NEWEST; major >= MAJOR_OLDEST; major--) {
        const char *const files[] = {
            banyan_arena_printf(arena, "/usr/lib/postgresql/%d/bin/%s", major, name).data,
            banyan_arena_printf(arena, "/usr/pgsql-%d/bin/%s", major, name).data,
        };

        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
            if (access(files[i], X_OK) == 0) {
                *ret = files[i];
                return BANYAN_OK;
            }
    }
    banyan_error_set(err, BANYAN_NOT_FOUND, "there is no %s here", name);
    banyan_error_hint(err, "install PostgreSQL's server programs, or put their folder into PATH");
    return BANYAN_NOT_FOUND;
}
