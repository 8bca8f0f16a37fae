/* SPDX-License-Identifier: Apache-2.0 */
/* Files: bytes against an array in memory, folders, locks, and the faults of the test implementation. */
#include "os/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../support/seed.h"

enum {
    MODEL_SIZE = 1 << 16,
    PATH_SIZE = 400,
};

static char folder[200];

static const char *path_of(const char *name)
{
    static char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name); /* both are short */
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    (void)snprintf(folder, sizeof(folder), "%s/banyan-os-file-XXXXXX", base == NULL ? "/tmp" : base);
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    struct os_files *files = os_files_real();
    char **names = NULL;
    if (files->list(files, folder, &names, NULL) != BANYAN_OK)
        return -1;
    for (size_t i = 0; names[i] != NULL; i++) {
        if (unlink(path_of(names[i])) != 0)
            return -1;
        free(names[i]);
    }
    free(names);
    return rmdir(folder);
}

static struct os_file *open_new(struct os_files *files, const char *name)
{
    struct os_file *file = NULL;
    assert_int_equal(files->open(files, path_of(name), true, &file, NULL), BANYAN_OK);
    return file;
}

static void bytes_match_an_array(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "bytes_match_an_array");
    struct os_files *files = os_files_real();
    struct os_file *file = open_new(files, "bytes");
    static char model[MODEL_SIZE], bytes[MODEL_SIZE];
    uint64_t size = 0, got_size = 0;
    for (unsigned round = 0; round < seed_rounds(2000); round++) {
        uint64_t at = os_random_below(&random, MODEL_SIZE / 2);
        size_t part = os_random_below(&random, 5000);
        switch (os_random_below(&random, 4)) {
        case 0:
        case 1:
            for (size_t i = 0; i < part; i++)
                model[at + i] = bytes[i] = (char)os_random_next(&random);
            assert_int_equal(files->write(file, at, bytes, part, NULL), BANYAN_OK);
            size = part > 0 && at + part > size ? at + part : size;
            break;
        case 2:
            if (os_random_below(&random, 10) > 0)
                break;
            assert_int_equal(files->truncate(file, at, NULL), BANYAN_OK);
            memset(model + at, 0, sizeof(model) - at);
            size = at;
            break;
        default:
            assert_int_equal(files->allocate(file, at, NULL), BANYAN_OK);
            size = at > size ? at : size;
            break;
        }
        assert_int_equal(files->size(file, &got_size, NULL), BANYAN_OK);
        assert_int_equal(got_size, size);
        size_t read_size = 12345;
        at = os_random_below(&random, MODEL_SIZE / 2);
        assert_int_equal(files->read(file, at, bytes, part, &read_size, NULL), BANYAN_OK);
        assert_int_equal(read_size, at >= size ? 0 : size - at < part ? size - at : part);
        assert_memory_equal(bytes, model + at, read_size);
    }
    assert_int_equal(files->sync(file, NULL), BANYAN_OK);
    files->close(file);
    files->close(NULL);
}

static void files_are_private_and_close_on_exec(void **state)
{
    (void)state;
    struct os_files *files = os_files_real();
    struct os_file *file = open_new(files, "private");
    struct stat facts;
    assert_int_equal(stat(path_of("private"), &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
    int found = 0;
    for (int fd = 3; fd < 256; fd++) {
        struct stat other;
        if (fstat(fd, &other) == 0 && other.st_ino == facts.st_ino && other.st_dev == facts.st_dev) {
            assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
            found++;
        }
    }
    assert_int_equal(found, 1);
    files->close(file);
}

static void missing_things_are_not_found(void **state)
{
    (void)state;
    struct os_files *files = os_files_real();
    struct os_file *file = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    char **names = NULL;
    assert_int_equal(files->open(files, path_of("missing"), false, &file, &err), BANYAN_NOT_FOUND);
    assert_non_null(strstr(err.message, "missing"));
    assert_null(file);
    assert_int_equal(files->remove(files, path_of("missing"), NULL), BANYAN_NOT_FOUND);
    assert_int_equal(files->list(files, path_of("missing"), &names, NULL), BANYAN_NOT_FOUND);
    assert_int_equal(files->sync_folder(files, path_of("missing"), NULL), BANYAN_NOT_FOUND);
}

static void folders_are_made_listed_and_flushed(void **state)
{
    (void)state;
    struct os_files *files = os_files_real();
    char **names = NULL;
    assert_int_equal(files->make_folder(files, path_of("a/b//c/"), NULL), BANYAN_OK);
    assert_int_equal(files->make_folder(files, path_of("a/b/c"), NULL), BANYAN_OK);
    files->close(open_new(files, "a/z"));
    files->close(open_new(files, "a/m"));
    assert_int_equal(files->sync_folder(files, path_of("a"), NULL), BANYAN_OK);
    assert_int_equal(files->list(files, path_of("a"), &names, NULL), BANYAN_OK);
    assert_string_equal(names[0], "b");
    assert_string_equal(names[1], "m");
    assert_string_equal(names[2], "z");
    assert_null(names[3]);
    for (size_t i = 0; names[i] != NULL; i++)
        free(names[i]);
    free(names);
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_equal(files->make_folder(files, path_of("a/z"), &err), BANYAN_IO);
    assert_non_null(strstr(err.message, "not a folder"));
    assert_int_equal(files->remove(files, path_of("a/z"), NULL), BANYAN_OK);
    assert_int_equal(files->remove(files, path_of("a/m"), NULL), BANYAN_OK);
    assert_int_equal(rmdir(path_of("a/b/c")), 0);
    assert_int_equal(rmdir(path_of("a/b")), 0);
    assert_int_equal(rmdir(path_of("a")), 0);
}

/* Another process tries the lock; its exit code is the status. */
static enum banyan_status lock_elsewhere(void)
{
    pid_t child = fork();
    if (child == 0) {
        struct os_file *lock = NULL;
        struct os_files *files = os_files_real();
        _exit((int)files->lock(files, path_of("lock"), &lock, NULL));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return (enum banyan_status)WEXITSTATUS(status);
}

static void a_lock_is_exclusive_and_names_its_holder(void **state)
{
    (void)state;
    struct os_files *files = os_files_real();
    struct os_file *lock = NULL, *second = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_equal(files->lock(files, path_of("lock"), &lock, NULL), BANYAN_OK);
    /* Opening and closing the file otherwise does not drop it. */
    files->close(open_new(files, "lock"));
    assert_int_equal(lock_elsewhere(), BANYAN_BUSY);
    assert_int_equal(files->lock(files, path_of("lock"), &second, &err), BANYAN_BUSY);
    char pid[40];
    (void)snprintf(pid, sizeof(pid), "process %ld", (long)getpid()); /* short */
    assert_non_null(strstr(err.message, pid));
    assert_true(strlen(err.hint) > 0);
    files->close(lock);
    assert_int_equal(lock_elsewhere(), BANYAN_OK);
}

static void a_full_disk_tears_the_write_and_recovers(void **state)
{
    (void)state;
    struct os_files_test test;
    os_files_test_init(&test);
    struct os_files *files = &test.base;
    struct os_file *file = open_new(files, "full");
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t size = 0;
    test.bytes_left = 10;
    assert_int_equal(files->write(file, 0, "123456", 6, &err), BANYAN_OK);
    assert_int_equal(files->write(file, 6, "123456", 6, &err), BANYAN_NO_SPACE);
    assert_true(strlen(err.hint) > 0);
    assert_int_equal(files->size(file, &size, NULL), BANYAN_OK);
    assert_int_equal(size, 10);
    assert_int_equal(files->write(file, 0, "1", 1, NULL), BANYAN_NO_SPACE);
    assert_int_equal(files->allocate(file, 4096, NULL), BANYAN_NO_SPACE);
    assert_int_equal(files->allocate(file, 10, NULL), BANYAN_OK);
    test.bytes_left = 4096;
    assert_int_equal(files->allocate(file, 4096, NULL), BANYAN_OK);
    assert_int_equal(files->write(file, 6, "123456", 6, NULL), BANYAN_OK);
    files->close(file);
}

static void a_flush_fails_once(void **state)
{
    (void)state;
    struct os_files_test test;
    os_files_test_init(&test);
    struct os_files *files = &test.base;
    struct os_file *file = open_new(files, "flush");
    test.sync_fails_at = 2;
    assert_int_equal(files->sync(file, NULL), BANYAN_OK);
    assert_int_equal(files->sync(file, NULL), BANYAN_IO);
    assert_int_equal(files->sync(file, NULL), BANYAN_OK);
    assert_int_equal(test.syncs, 3);
    files->close(file);
}

static void files_are_renamed_and_linked(void **state)
{
    (void)state;
    struct os_files *files = os_files_real();
    struct os_file *file = open_new(files, "renamed");
    char from[PATH_SIZE], to[PATH_SIZE], data[2];
    size_t size;
    (void)snprintf(from, sizeof(from), "%s", path_of("renamed"));
    (void)snprintf(to, sizeof(to), "%s", path_of("linked"));
    assert_int_equal(files->write(file, 0, "ab", 2, NULL), BANYAN_OK);
    files->close(file);
    assert_int_equal(files->link(files, from, to, NULL), BANYAN_OK);
    assert_int_equal(files->link(files, from, to, NULL), BANYAN_BUSY);
    assert_int_equal(files->rename(files, to, from, NULL), BANYAN_OK); /* two names of one file: nothing to do */
    assert_int_equal(files->remove(files, to, NULL), BANYAN_OK);
    assert_int_equal(files->rename(files, from, to, NULL), BANYAN_OK);
    assert_int_equal(files->rename(files, from, to, NULL), BANYAN_NOT_FOUND);
    assert_int_equal(files->open(files, to, false, &file, NULL), BANYAN_OK);
    assert_int_equal(files->read(file, 0, data, sizeof(data), &size, NULL), BANYAN_OK);
    assert_int_equal(size, 2);
    files->close(file);
}

static void a_dead_process_changes_nothing(void **state)
{
    (void)state;
    struct os_files_test test;
    os_files_test_init(&test);
    struct os_files *files = &test.base;
    struct os_file *file = open_new(files, "dead");
    uint64_t size;
    assert_int_equal(files->write(file, 0, "abc", 3, NULL), BANYAN_OK);
    test.dies_at = test.steps + 2;
    assert_int_equal(files->write(file, 3, "d", 1, NULL), BANYAN_OK);
    assert_int_equal(files->write(file, 4, "e", 1, NULL), BANYAN_IO);
    assert_int_equal(files->truncate(file, 0, NULL), BANYAN_IO);
    assert_int_equal(files->sync_folder(files, folder, NULL), BANYAN_IO);
    assert_int_equal(files->size(file, &size, NULL), BANYAN_OK);
    assert_int_equal(size, 4);
    files->close(file);
}

struct pieces {
    const char *text;
    size_t piece; /* bytes at a time */
    bool fails;   /* in the middle */
};

static enum banyan_status next_piece(void *context, uint64_t at, void *data, size_t room, size_t *ret_size,
                                     struct banyan_error *err)
{
    struct pieces *pieces = context;
    size_t left = strlen(pieces->text) - (size_t)at;
    assert_true(room >= pieces->piece);
    if (pieces->fails && at > 0)
        return banyan_error_set(err, BANYAN_CORRUPT, "no more of it");
    *ret_size = left < pieces->piece ? left : pieces->piece;
    memcpy(data, pieces->text + at, *ret_size);
    return BANYAN_OK;
}

static void assert_content(const char *name, const char *text)
{
    struct os_files *files = os_files_real();
    struct os_file *file = NULL;
    char bytes[100];
    size_t size;
    assert_int_equal(files->open(files, path_of(name), false, &file, NULL), BANYAN_OK);
    assert_int_equal(files->read(file, 0, bytes, sizeof(bytes), &size, NULL), BANYAN_OK);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(bytes, text, size);
    files->close(file);
}

static void a_file_is_put_whole_or_not_at_all(void **state)
{
    (void)state;
    struct os_files_test test;
    os_files_test_init(&test);
    struct os_files *files = &test.base;
    struct pieces first = {"the first one, a long text", 7, false}, second = {"the second", 3, false};
    assert_int_equal(os_file_put(files, path_of("put"), next_piece, &first, NULL), BANYAN_OK);
    assert_content("put", first.text);
    second.fails = true;
    assert_int_equal(os_file_put(files, path_of("put"), next_piece, &second, NULL), BANYAN_CORRUPT);
    assert_content("put", first.text);
    second.fails = false;
    uint64_t before = test.steps;
    assert_int_equal(os_file_put(files, path_of("put"), next_piece, &second, NULL), BANYAN_OK);
    uint64_t steps = test.steps - before;
    assert_content("put", second.text);
    /* Killed at each step of the way: the old one stays; what the try before left is no part of the next. */
    for (uint64_t step = 1; step <= steps; step++) {
        test.dies_at = test.steps + step;
        assert_int_equal(os_file_put(files, path_of("put"), next_piece, &first, NULL), BANYAN_IO);
        assert_content("put", second.text);
    }
    test.dies_at = 0;
    assert_int_equal(os_file_put(files, path_of("put"), next_piece, &(struct pieces){"", 5, false}, NULL), BANYAN_OK);
    assert_content("put", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_renamed_and_linked),
        cmocka_unit_test(a_dead_process_changes_nothing),
        cmocka_unit_test(a_file_is_put_whole_or_not_at_all),
        cmocka_unit_test(bytes_match_an_array),
        cmocka_unit_test(files_are_private_and_close_on_exec),
        cmocka_unit_test(missing_things_are_not_found),
        cmocka_unit_test(folders_are_made_listed_and_flushed),
        cmocka_unit_test(a_lock_is_exclusive_and_names_its_holder),
        cmocka_unit_test(a_full_disk_tears_the_write_and_recovers),
        cmocka_unit_test(a_flush_fails_once),
    };
    return cmocka_run_group_tests_name("os-file", tests, make_folder, remove_folder);
}
