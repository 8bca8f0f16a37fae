/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A treap: the keys make it a search tree, a hash of the key a heap, so that it is balanced whatever the order of
 * insertion is, and the same rows always make the same tree.
 *
 * Invariants
 *   1. A node that more than one holds is never changed; own() copies it.
 *   2. A function that takes a root uses up one hold of it.
 */
#include "sink/memory_tree.h"

#include <stdlib.h>
#include <string.h>

#include "banyan/types.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "sink/sink_value.h"

struct memory_node {
    atomic_size_t count; /* holders: parents and roots */
    uint64_t priority;
    struct memory_node *left, *right; /* held */
    struct memory_row *row;           /* held */
};

/* ---- rows ---- */

static size_t string_bytes(const struct banyan_record *record, const void *value)
{
    size_t bytes = 0;
    for (size_t i = 0; i < record->field_count; i++)
        if (record->fields[i].kind == BANYAN_FIELD_STRING)
            bytes += ((const struct banyan_str *)((const char *)value + record->fields[i].offset))->size;
    return bytes;
}

struct memory_row *memory_row_new(const struct banyan_record *record, int64_t key, const void *value)
{
    const size_t head = (sizeof(struct memory_row) + 15) / 16 * 16;
    struct memory_row *row = alloc_zeroed(1, head + record->size + string_bytes(record, value) + 1);
    row->key = key;
    row->value = (char *)row + head;
    atomic_init(&row->count, 1);
    memcpy(row->value, value, record->size);
    char *at = (char *)row->value + record->size;
    for (size_t i = 0; i < record->field_count; i++) {
        if (record->fields[i].kind != BANYAN_FIELD_STRING)
            continue;
        struct banyan_str *text = (struct banyan_str *)((char *)row->value + record->fields[i].offset);
        if (text->size > 0)
            memcpy(at, text->data, text->size);
        if (text->data != NULL)
            text->data = at;
        at += text->size;
    }
    return row;
}

struct memory_row *memory_row_hold(struct memory_row *row)
{
    atomic_fetch_add_explicit(&row->count, 1, memory_order_relaxed);
    return row;
}

void memory_row_release(struct memory_row *row)
{
    if (row != NULL && atomic_fetch_sub_explicit(&row->count, 1, memory_order_acq_rel) == 1)
        free(row);
}

/* ---- nodes ---- */

static struct memory_node *node_new(struct memory_row *row)
{
    struct memory_node *node = alloc_zeroed(1, sizeof(*node));
    atomic_init(&node->count, 1);
    node->priority = hash_mix((uint64_t)row->key);
    node->row = memory_row_hold(row);
    return node;
}

struct memory_node *memory_tree_hold(struct memory_node *root)
{
    if (root != NULL)
        atomic_fetch_add_explicit(&root->count, 1, memory_order_relaxed);
    return root;
}

void memory_tree_release(struct memory_node *root)
{
    if (root == NULL || atomic_fetch_sub_explicit(&root->count, 1, memory_order_acq_rel) != 1)
        return;
    memory_tree_release(root->left);
    memory_tree_release(root->right);
    memory_row_release(root->row);
    free(root);
}

/* Take a node, give one with its content that only the caller holds. */
static struct memory_node *own(struct memory_node *node)
{
    if (atomic_load_explicit(&node->count, memory_order_acquire) == 1)
        return node;
    struct memory_node *copy = alloc_zeroed(1, sizeof(*copy));
    atomic_init(&copy->count, 1);
    copy->priority = node->priority;
    copy->left = memory_tree_hold(node->left);
    copy->right = memory_tree_hold(node->right);
    copy->row = memory_row_hold(node->row);
    memory_tree_release(node);
    return copy;
}

static int compare(const struct memory_sorting *order, const struct memory_row *a, const struct memory_row *b)
{
    if (order->equal == NULL)
        return (a->key > b->key) - (a->key < b->key);
    int by = sink_value_compare(order->equal, a->value, b->value);
    if (by == 0)
        by = sink_value_compare(order->range, b->value, a->value);
    return by != 0 ? by : (a->key < b->key) - (a->key > b->key);
}

struct memory_node *memory_tree_put(const struct memory_sorting *order, struct memory_node *root,
                                    struct memory_row *row)
{
    if (root == NULL)
        return node_new(row);
    root = own(root);
    int by = compare(order, row, root->row);
    if (by == 0) {
        struct memory_row *former = root->row;
        root->row = memory_row_hold(row);
        memory_row_release(former);
        return root;
    }
    struct memory_node **side = by < 0 ? &root->left : &root->right;
    struct memory_node *child = *side = memory_tree_put(order, *side, row);
    if (child->priority <= root->priority)
        return root;
    /* The child is on our way, so that nobody shares it: turn it to the top. */
    struct memory_node **middle = by < 0 ? &child->right : &child->left;
    *side = *middle;
    *middle = root;
    return child;
}

/* Take both, all of *left* before all of *right*; give one tree. */
static struct memory_node *join(struct memory_node *left, struct memory_node *right)
{
    if (left == NULL || right == NULL)
        return left == NULL ? right : left;
    if (left->priority >= right->priority) {
        left = own(left);
        left->right = join(left->right, right);
        return left;
    }
    right = own(right);
    right->left = join(left, right->left);
    return right;
}

struct memory_node *memory_tree_remove(const struct memory_sorting *order, struct memory_node *root,
                                       const struct memory_row *row)
{
    if (root == NULL)
        return NULL;
    int by = compare(order, row, root->row);
    if (by == 0) {
        struct memory_node *left = memory_tree_hold(root->left), *right = memory_tree_hold(root->right);
        memory_tree_release(root);
        return join(left, right);
    }
    root = own(root);
    struct memory_node **side = by < 0 ? &root->left : &root->right;
    *side = memory_tree_remove(order, *side, row);
    return root;
}

struct memory_row *memory_tree_get(const struct memory_node *root, int64_t key)
{
    while (root != NULL && root->row->key != key)
        root = key < root->row->key ? root->left : root->right;
    return root == NULL ? NULL : root->row;
}

static bool visit(const struct memory_sorting *order, const struct memory_node *node, const struct memory_row *from,
                  bool (*fn)(void *context, struct memory_row *row), void *context)
{
    if (node == NULL)
        return true;
    if ((from == NULL || compare(order, node->row, from) >= 0) &&
        (!visit(order, node->left, from, fn, context) || !fn(context, node->row)))
        return false;
    return visit(order, node->right, from, fn, context);
}

void memory_tree_each(const struct memory_sorting *order, const struct memory_node *root, const struct memory_row *from,
                      bool (*fn)(void *context, struct memory_row *row), void *context)
{
    (void)visit(order, root, from, fn, context); /* whether it ended early is known to fn */
}
