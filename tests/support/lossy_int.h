/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lossy_fs.c (the FUSE side) and lossy_image.c (files, folders and what survives) share.
 *
 * Each file and folder is there twice: as it is, and as it would be found if nothing unflushed survived.  Between the
 * two lie the changes since the last flush, oldest first.
 */
#ifndef SUPPORT_LOSSY_INT_H
#define SUPPORT_LOSSY_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/lossy_fs.h"

enum {
    LOSSY_ROOT = 1,
    LOSSY_NAME_MAX = 256,
};

enum lossy_kind {
    LOSSY_WRITE = 1,
    LOSSY_RESIZE, /* truncate, or reserve beyond the end */
    LOSSY_SET,    /* a name leads to a node from now on */
    LOSSY_UNSET,
    LOSSY_RENAME, /* both, in one folder */
};

struct lossy_change {
    enum lossy_kind kind;
    uint64_t number; /* order over all nodes */
    uint64_t offset; /* of WRITE; the size of RESIZE */
    uint64_t size;
    char *data;    /* owned */
    uint64_t node; /* of SET and RENAME */
    char *name, *old_name;
};

struct lossy_bytes {
    char *data; /* owned */
    uint64_t size, capacity;
};

struct lossy_entry {
    char *name; /* owned */
    uint64_t node;
};

struct lossy_names {
    struct lossy_entry *items;
    size_t count, capacity;
};

struct lossy_node {
    bool exists, folder;
    struct lossy_bytes now, kept;         /* of a file */
    struct lossy_names names, kept_names; /* of a folder */
    struct lossy_change *changes;         /* since the last flush */
    size_t change_count, change_capacity;
};

struct lossy_image {
    struct lossy_node **nodes; /* [number]; never used again */
    uint64_t node_count;
    uint64_t change_number;
};

void lossy_image_init(struct lossy_image *image);
struct lossy_node *lossy_node(struct lossy_image *image, uint64_t number); /* NULL: none */
uint64_t lossy_make(struct lossy_image *image, bool folder);
/* 0: no such name. */
uint64_t lossy_find(const struct lossy_node *folder, const char *name);
void lossy_write(struct lossy_image *image, struct lossy_node *file, uint64_t offset, const char *data, size_t size);
void lossy_resize(struct lossy_image *image, struct lossy_node *file, uint64_t size);
void lossy_set_name(struct lossy_image *image, struct lossy_node *folder, const char *name, uint64_t node);
void lossy_unset_name(struct lossy_image *image, struct lossy_node *folder, const char *name);
void lossy_rename(struct lossy_image *image, struct lossy_node *folder, const char *from, const char *to);
void lossy_flush(struct lossy_node *node);
struct lossy_report lossy_survive(struct lossy_image *image, enum lossy_cut cut, uint64_t seed);
void lossy_empty(struct lossy_image *image);

#endif
