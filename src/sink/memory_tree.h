/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows in memory, in an order, as a persistent tree: who holds a root sees it as it was, whatever is put or removed
 * later.  Nodes and rows are shared and counted; a change copies the nodes on its way, but those that nobody shares.
 *
 * Threads: a root's holder may read and release it while another thread changes the tree that it shares nodes with.
 */
#ifndef SINK_MEMORY_TREE_H
#define SINK_MEMORY_TREE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/record.h"

/* A copy of a row with its strings, in one piece; never changed. */
struct memory_row {
    atomic_size_t count; /* holders */
    int64_t key;
    void *value; /* behind the struct */
};

struct memory_node;

/* By key; or, where *equal* is not NULL, as a list has it: equal, newest *range* first ("no value" last), larger key
 * first. */
struct memory_sorting {
    const struct banyan_field *equal, *range; /* of the row */
};

/* Gives a row with one holder. */
struct memory_row *memory_row_new(const struct banyan_record *record, int64_t key, const void *value);
struct memory_row *memory_row_hold(struct memory_row *row);
void memory_row_release(struct memory_row *row); /* NULL allowed */

struct memory_node *memory_tree_hold(struct memory_node *root);
void memory_tree_release(struct memory_node *root); /* NULL allowed */
/* Take *root*, give the new one; *row* is held by it.  One that is equal in the order is replaced. */
struct memory_node *memory_tree_put(const struct memory_sorting *order, struct memory_node *root,
                                    struct memory_row *row);
struct memory_node *memory_tree_remove(const struct memory_sorting *order, struct memory_node *root,
                                       const struct memory_row *row);
/* The row of *key* in a tree by key, borrowed from the root; NULL: none. */
struct memory_row *memory_tree_get(const struct memory_node *root, int64_t key);
/* All that are not before *from* (NULL: all), in order, until *fn* returns false. */
void memory_tree_each(const struct memory_sorting *order, const struct memory_node *root, const struct memory_row *from,
                      bool (*fn)(void *context, struct memory_row *row), void *context);

#endif
