/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system in memory that loses at a power cut what was not flushed, as POSIX allows: bytes and size of a file are
 * safe after fsync or fdatasync of the file; a created, renamed or removed name only after fsync of its folder.
 *
 * It runs in a process of its own (FUSE).  The order of a cut:
 *
 *     lossy_fs_arm ─▶ … the armed operation comes: nothing is answered any more ─▶ lossy_fs_wait_frozen
 *     kill -9 of whoever uses it ─▶ lossy_fs_release (what hangs is answered with an error) ─▶ wait for the dead
 *     lossy_fs_power: the image that survived becomes the file system
 */
#ifndef SUPPORT_LOSSY_FS_H
#define SUPPORT_LOSSY_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lossy_fs;

/* What becomes of all that was not flushed. */
enum lossy_cut {
    LOSSY_DROP = 1, /* none of it survives */
    LOSSY_PREFIX,   /* the older part of it does, in the order in which it was done */
    LOSSY_PAGES,    /* any pages of 4 KiB and any changes of names, in any order */
    LOSSY_SECTORS,  /* the same with sectors of 512 bytes */
    LOSSY_ALL,      /* everything: as a killed process */
};

struct lossy_report {
    uint64_t lost;  /* operations that were not flushed and have no effect, or a part of it */
    uint64_t dirty; /* operations that were not flushed */
};

/* Mount on *folder*.  Returns NULL and says in *why* when that is impossible here. */
struct lossy_fs *lossy_fs_start(const char *folder, char *why, size_t why_size);
/* Unmount and end; NULL allowed.  Also done when the process that started it dies. */
void lossy_fs_stop(struct lossy_fs *fs);
/* Freeze before the changing operation number *operations* from now (from 1). */
void lossy_fs_arm(struct lossy_fs *fs, uint64_t operations);
/* Freeze now, whatever was armed, unless it is frozen already. */
void lossy_fs_freeze(struct lossy_fs *fs);
/* False when it did not freeze in time. */
bool lossy_fs_wait_frozen(struct lossy_fs *fs, int64_t timeout_us);
/* Answer all that hangs, and all that still comes, with EIO. */
void lossy_fs_release(struct lossy_fs *fs);
struct lossy_report lossy_fs_power(struct lossy_fs *fs, enum lossy_cut cut, uint64_t seed);
/* An empty file system. */
void lossy_fs_wipe(struct lossy_fs *fs);

#endif
