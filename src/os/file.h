/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files as the log needs them: an interface that tests replace (full disk, failed flush, cut power).
 *
 * Nothing here retries a failed flush: after one the kernel may have dropped the pages.
 * Threads: calls on different files may run at once; reads of one file, too.
 */
#ifndef OS_FILE_H
#define OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/error.h"

struct os_file;

/* An implementation.  Every member is called any number of times. */
struct os_files {
    /* Open, or create with mode 0600 when *create*.  Gives *ret. */
    enum banyan_status (*open)(struct os_files *files, const char *path, bool create, struct os_file **ret,
                               struct banyan_error *err);
    void (*close)(struct os_file *file); /* NULL allowed */
    /* Whole or an error; a read past the end is cut short: *ret_size. */
    enum banyan_status (*read)(struct os_file *file, uint64_t offset, void *data, size_t size, size_t *ret_size,
                               struct banyan_error *err);
    enum banyan_status (*write)(struct os_file *file, uint64_t offset, const void *data, size_t size,
                                struct banyan_error *err);
    enum banyan_status (*sync)(struct os_file *file, struct banyan_error *err); /* fdatasync */
    enum banyan_status (*size)(struct os_file *file, uint64_t *ret, struct banyan_error *err);
    /* Reserve blocks so that later writes below *size* cannot meet a full disk; NO_SPACE when there are none. */
    enum banyan_status (*allocate)(struct os_file *file, uint64_t size, struct banyan_error *err);
    enum banyan_status (*truncate)(struct os_file *file, uint64_t size, struct banyan_error *err);
    /* Names in a folder, sorted; gives an array ended by NULL, one free() of each name and of the array. */
    enum banyan_status (*list)(struct os_files *files, const char *folder, char ***ret, struct banyan_error *err);
    enum banyan_status (*remove)(struct os_files *files, const char *path, struct banyan_error *err);
    /* Give the file another name in the same file system, in place of what had that name; atomic. */
    enum banyan_status (*rename)(struct os_files *files, const char *from, const char *to, struct banyan_error *err);
    /* A second name for the same file; BUSY when the name is taken. */
    enum banyan_status (*link)(struct os_files *files, const char *from, const char *to, struct banyan_error *err);
    /* Flush a folder, so that created and removed names survive a power cut. */
    enum banyan_status (*sync_folder)(struct os_files *files, const char *folder, struct banyan_error *err);
    enum banyan_status (*make_folder)(
        struct os_files *files, const char *folder,
        struct banyan_error *err); /* 0700; parents too; existing is fine; names flushed */
    /* Exclusive lock on a file for the life of the process; BUSY with the holder's pid in the message. */
    enum banyan_status (*lock)(struct os_files *files, const char *path, struct os_file **ret,
                               struct banyan_error *err);
};

/* The system's; a constant. */
struct os_files *os_files_real(void);

/* The bytes of a file that is being made, in order: up to *room* of them from *at* on; *ret_size* 0: that is all. */
typedef enum banyan_status os_file_next(void *context, uint64_t at, void *data, size_t room, size_t *ret_size,
                                        struct banyan_error *err);
/* Make the file *path*, in place of one of that name, whole or not at all: written as "<path>.part", flushed, renamed.
 * Its name is durable once the caller has flushed the folder. */
BANYAN_MUST_CHECK enum banyan_status os_file_put(struct os_files *files, const char *path, os_file_next *next,
                                                 void *context, struct banyan_error *err);

/* A wrapper with faults, for tests: after *bytes_left* bytes every write says the disk is full; the sync number
 * *sync_fails_at* (from 1; 0: never) fails once.  Every call that changes something is a step: from the step number
 * *dies_at* (from 1; 0: never) on, all of them fail with IO and change nothing, as if the process had been killed. */
struct os_files_test {
    struct os_files base;
    uint64_t bytes_left; /* UINT64_MAX: no limit; atomic */
    uint64_t sync_fails_at;
    uint64_t syncs; /* counted; atomic */
    uint64_t dies_at;
    uint64_t steps; /* counted; atomic */
};
void os_files_test_init(struct os_files_test *files);

#endif
