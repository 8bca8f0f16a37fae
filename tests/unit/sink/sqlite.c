/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite sink: the common body, and what is particular to files. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "body.h"
#include "sink/sinks.h"
#include "support/test_domain.h"

static char *folder;
static unsigned left; /* statements until the process dies; 0: never */

static void clear_place(void)
{
    test_folder_remove(folder);
    folder = test_folder_new();
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static enum banyan_status open_home(const struct banyan_projection *projection, struct sink_home **ret,
                                    struct banyan_error *err)
{
    return sink_sqlite_home(projection, folder, "it's", ret, err);
}

static int count_statement(unsigned event, void *context, void *statement, void *text)
{
    if (left > 0 && --left == 0)
        (void)raise(SIGKILL);
    return 0;
}

static int watch_connection(sqlite3 *db, char **problem, const struct sqlite3_api_routines *api)
{
    return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, count_statement, NULL);
}

static void die_at(unsigned at)
{
    left = at;
    (void)sqlite3_auto_extension((void (*)(void))watch_connection);
}

static void files_are_the_owners_alone(void **state)
{
    static const char *const names[] = {"it's.1.sqlite", "it's.1.sqlite-wal", "it's.1.sqlite-shm",
                                        "it's.catalog.sqlite"};
    clear_place();
    struct sink_home *home = body_home();
    struct sink *sink = body_claim(home, 0, NULL);
    assert_int_equal(body_flush(sink, NULL, 0, 1, NULL), BANYAN_OK);
    for (size_t i = 0; i < 4; i++) {
        struct stat info;
        assert_int_equal(stat(path_of(names[i]), &info), 0);
        assert_int_equal(info.st_mode & 07777, 0600);
    }
    sink_close(sink);
    sink_home_close(home);
}

static void a_file_of_before_is_replaced_by_the_link(void **state)
{
    struct sink_checkpoint checkpoint;
    char target[64] = "";
    clear_place();
    FILE *file = fopen(path_of("it's.sqlite"), "w");
    fputs("a file of a version before generations", file);
    fclose(file);
    struct sink_home *home = body_home();
    struct sink_view *view = NULL;
    assert_int_equal(home->ops->view(home, &view, NULL), BANYAN_OK);
    assert_int_equal(view->ops->checkpoint(view, &checkpoint, NULL), BANYAN_NOT_FOUND);
    struct sink *sink = body_claim(home, 0, NULL);
    assert_int_equal(body_flush(sink, NULL, 0, 1, NULL), BANYAN_OK);
    body_serve(home, 0, 1);
    assert_true(readlink(path_of("it's.sqlite"), target, sizeof(target) - 1) > 0);
    assert_string_equal(target, "it's.1.sqlite");
    assert_int_equal(view->ops->checkpoint(view, &checkpoint, NULL), BANYAN_OK);
    sqlite3 *db = NULL; /* people's own tools go through the link */
    assert_int_equal(sqlite3_open_v2(path_of("it's.sqlite"), &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "SELECT count(*) FROM accounts", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    sink_view_close(view);
    sink_close(sink);
    sink_home_close(home);
}

static void dropped_files_are_gone(void **state)
{
    clear_place();
    struct sink_home *home = body_home();
    sink_close(body_claim(home, 0, NULL));
    FILE *stray = fopen(path_of("it's.77.sqlite"), "w");
    fclose(stray);
    assert_int_equal(home->ops->drop(home, 1, NULL), BANYAN_OK);
    assert_int_equal(access(path_of("it's.1.sqlite"), F_OK), -1);
    sink_close(body_claim(home, 0, NULL));
    assert_int_equal(access(path_of("it's.77.sqlite"), F_OK), -1); /* what a crash left is found */
    sink_home_close(home);
}

static void a_file_that_is_no_database_is_named(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink *sink = NULL;
    struct sink_checkpoint checkpoint;
    clear_place();
    struct sink_home *home = body_home();
    sink = body_claim(home, 0, NULL);
    assert_int_equal(body_flush(sink, NULL, 0, 1, NULL), BANYAN_OK);
    sink_close(sink);
    FILE *file = fopen(path_of("it's.1.sqlite"), "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database ", file);
    fclose(file);
    assert_int_equal(home->ops->open(home, 1, &sink, NULL), BANYAN_OK);
    assert_int_equal(sink->ops->claim(sink, &checkpoint, &err), BANYAN_CORRUPT);
    assert_non_null(strstr(err.message, "it's.1.sqlite"));
    assert_true(err.hint[0] != '\0');
    sink_close(sink);
    sink_home_close(home);
}

/* As errors advise: remove the file, and it is built anew; with or without what says which there were. */
static void a_file_that_was_removed_is_built_anew(void **state)
{
    for (int catalog = 0; catalog < 2; catalog++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct sink_generation all[SINK_GENERATIONS_MAX];
        size_t count = 0;
        uint32_t number = 0;
        clear_place();
        struct sink_home *home = body_home();
        struct sink *sink = body_claim(home, 0, NULL);
        assert_int_equal(body_flush(sink, NULL, 0, 1, NULL), BANYAN_OK);
        body_serve(home, 0, 1);
        sink_close(sink);
        assert_int_equal(unlink(path_of("it's.1.sqlite")), 0);
        if (catalog)
            assert_int_equal(unlink(path_of("it's.catalog.sqlite")), 0);
        assert_int_equal(home->ops->generations(home, all, &count, &err), BANYAN_OK);
        for (size_t i = 0; i < count; i++)
            assert_true(!all[i].sealed && all[i].state != SINK_SERVING);
        assert_int_equal(home->ops->make(home, (struct sink_mark){.partial = false}, &number, &err), BANYAN_OK);
        sink = body_claim(home, number, NULL);
        assert_int_equal(body_flush(sink, NULL, 0, 1, NULL), BANYAN_OK);
        assert_int_equal(home->ops->serve(home, 0, number, &err), BANYAN_OK);
        sink_close(sink);
        sink_home_close(home);
    }
}

static void a_folder_that_is_missing_is_named(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = NULL;
    assert_int_equal(sink_sqlite_home(body_projection(), "/nonexistent/views", "v", &home, &err), BANYAN_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent/views"));
    assert_int_equal(sink_sqlite_home(body_projection(), "/tmp", "../v", &home, NULL), BANYAN_INVALID);
}

int main(void)
{
    static const struct body_place place = {.home = open_home, .clear = clear_place, .die_at = die_at, .search = true};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_the_owners_alone),
        cmocka_unit_test(a_file_of_before_is_replaced_by_the_link),
        cmocka_unit_test(dropped_files_are_gone),
        cmocka_unit_test(a_file_that_is_no_database_is_named),
        cmocka_unit_test(a_file_that_was_removed_is_built_anew),
        cmocka_unit_test(a_folder_that_is_missing_is_named),
    };
    clear_place();
    int failed = body_run(&place, tests, sizeof(tests) / sizeof(tests[0]));
    test_folder_remove(folder);
    return failed;
}
