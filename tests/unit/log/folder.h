/* SPDX-License-Identifier: Apache-2.0 */
/* Throwaway folders and whole files, for the tests of log and store. */
#ifndef TESTS_UNIT_LOG_FOLDER_H
#define TESTS_UNIT_LOG_FOLDER_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER_PATH_MAX 400

static inline void folder_check(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static inline void folder_make(char path[FOLDER_PATH_MAX])
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(path, FOLDER_PATH_MAX, "%s/banyan-test-XXXXXX", base == NULL ? "/tmp" : base);
    folder_check(mkdtemp(path) != NULL, path);
}

/* In memory where the machine has such a place: for tests that make thousands of files. */
static inline void folder_make_quick(char path[FOLDER_PATH_MAX])
{
    if (access("/dev/shm", W_OK) != 0) {
        folder_make(path);
        return;
    }
    (void)snprintf(path, FOLDER_PATH_MAX, "/dev/shm/banyan-test-XXXXXX");
    folder_check(mkdtemp(path) != NULL, path);
}

static inline int folder_remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void folder_remove(const char *path)
{
    (void)nftw(path, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline char *file_load(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    char *data;

    folder_check(fd >= 0 && fstat(fd, &info) == 0, path);
    data = malloc((size_t)info.st_size + 1);
    folder_check(read(fd, data, (size_t)info.st_size) == info.st_size, path);
    (void)close(fd);
    *ret_size = (size_t)info.st_size;
    return data;
}

static inline void file_save(const char *path, const char *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    folder_check(fd >= 0, path);
    folder_check(write(fd, data, size) == (ssize_t)size, path);
    (void)close(fd);
}

/* One bit of the file is wrong. */
static inline void file_flip(const char *path, size_t byte)
{
    size_t size;
    char *data = file_load(path, &size);

    folder_check(byte < size, path);
    data[byte] ^= 0x10;
    file_save(path, data, size);
    free(data);
}

/* As it is at some moment; NULL when it went away. */
static inline char *file_try_load(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    ssize_t size;
    char *data;

    if (fd < 0 && errno == ENOENT)
        return NULL;
    folder_check(fd >= 0 && fstat(fd, &info) == 0, path);
    data = malloc((size_t)info.st_size + 1);
    size = read(fd, data, (size_t)info.st_size);
    folder_check(size >= 0, path);
    (void)close(fd);
    *ret_size = (size_t)size;
    return data;
}

/* Copy the plain files of one folder into another, which is made; they may be in use. */
static inline void folder_copy(const char *from, const char *to)
{
    DIR *dir = opendir(from);
    struct dirent *entry;

    folder_check(dir != NULL, from);
    (void)mkdir(to, 0700);
    while ((entry = readdir(dir)) != NULL) {
        char source[FOLDER_PATH_MAX + 300], target[FOLDER_PATH_MAX + 300];
        size_t size;
        char *data;

        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(source, sizeof(source), "%s/%s", from, entry->d_name);
        (void)snprintf(target, sizeof(target), "%s/%s", to, entry->d_name);
        if (entry->d_type == DT_DIR) {
            folder_copy(source, target);
            continue;
        }
        data = file_try_load(source, &size);
        if (data != NULL)
            file_save(target, data, size);
        free(data);
    }
    (void)closedir(dir);
}

static inline void folder_file(char path[FOLDER_PATH_MAX + 64], const char *folder, unsigned long long first_position)
{
    (void)snprintf(path, FOLDER_PATH_MAX + 64, "%s/%020llu.seg", folder, first_position);
}

/* Seed of a random test: BANYAN_TEST_SEED, or the clock; printed. */
static inline uint64_t test_seed(void)
{
    const char *given = getenv("BANYAN_TEST_SEED");
    struct timespec now;
    uint64_t seed;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20;
    (void)fprintf(stderr, "# seed %llu (BANYAN_TEST_SEED)\n", (unsigned long long)seed);
    return seed;
}

#endif
