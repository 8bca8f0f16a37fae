/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite sink: the common body, and what is particular to files. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "body.h"
#include "sink/sinks.h"
#include "support/test_domain.h"

static char *folder;
static char path[256];

static void clear_place(void)
{
    test_folder_remove(folder);
    folder = test_folder_new();
    snprintf(path, sizeof(path), "%s/view.db", folder);
}

static enum banyan_status open_place(const struct banyan_projection *projection, struct sink **ret,
                                     struct banyan_error *err)
{
    return sink_sqlite_open(projection, path, ret, err);
}

static const struct body_place place = {open_place, clear_place};

static void files_are_the_owners_alone(void **state)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    clear_place();
    struct sink *sink = body_open(&test_projections[0], NULL);
    for (size_t i = 0; i < 3; i++) {
        char name[300];
        struct stat info;
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        assert_int_equal(stat(name, &info), 0);
        assert_int_equal(info.st_mode & 07777, 0600);
    }
    sink_close(sink);
}

static void a_file_that_is_no_database_is_named(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink *sink = NULL;
    struct sink_checkpoint checkpoint;
    clear_place();
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database ", file);
    fclose(file);
    enum banyan_status st = sink_sqlite_open(&test_projections[0], path, &sink, &err);
    if (st == BANYAN_OK)
        st = sink->ops->start(sink, &checkpoint, &err);
    assert_int_equal(st, BANYAN_CORRUPT);
    assert_non_null(strstr(err.message, path));
    assert_true(err.hint[0] != '\0');
    sink_close(sink);
}

static void a_folder_that_is_missing_is_named(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink *sink = NULL;
    assert_int_equal(sink_sqlite_open(&test_projections[0], "/nonexistent/view.db", &sink, &err), BANYAN_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent/view.db"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_the_owners_alone),
        cmocka_unit_test(a_file_that_is_no_database_is_named),
        cmocka_unit_test(a_folder_that_is_missing_is_named),
    };
    clear_place();
    int failed = body_run(&place, tests, sizeof(tests) / sizeof(tests[0]));
    test_folder_remove(folder);
    return failed;
}
