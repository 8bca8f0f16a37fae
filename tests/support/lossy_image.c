/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders in memory, and what of them survives a power cut.  See lossy_int.h. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/random.h"
#include "support/lossy_int.h"

enum {
    PAGE_BYTES = 4096,
    SECTOR_BYTES = 512,
};

/* ---- bytes ---- */

static void set_size(struct lossy_bytes *bytes, uint64_t size)
{
    if (size > bytes->capacity) {
        uint64_t capacity = bytes->capacity < PAGE_BYTES ? PAGE_BYTES : bytes->capacity;

        while (capacity < size)
            capacity *= 2;
        bytes->data = alloc_resized(bytes->data, capacity, 1);
        bytes->capacity = capacity;
    }
    if (size > bytes->size)
        memset(bytes->data + bytes->size, 0, size - bytes->size);
    bytes->size = size;
}

/* Apply a change within [begin, end) only; the size is not touched. */
static void apply_within(struct lossy_bytes *bytes, const struct lossy_change *change, uint64_t begin, uint64_t end)
{
    uint64_t from = change->offset > begin ? change->offset : begin, to = end < bytes->size ? end : bytes->size;

    if (change->kind == LOSSY_WRITE) {
        if (change->offset + change->size < to)
            to = change->offset + change->size;
        if (from < to)
            memcpy(bytes->data + from, change->data + (from - change->offset), to - from);
    } else if (from < to) { /* what lies behind a cut reads as zeros when the file grows again */
        memset(bytes->data + from, 0, to - from);
    }
}

static void apply(struct lossy_bytes *bytes, const struct lossy_change *change)
{
    if (change->kind == LOSSY_RESIZE) {
        set_size(bytes, change->offset);
        return;
    }
    if (change->offset + change->size > bytes->size)
        set_size(bytes, change->offset + change->size);
    apply_within(bytes, change, change->offset, change->offset + change->size);
}

static void copy_bytes(struct lossy_bytes *to, const struct lossy_bytes *from)
{
    to->size = 0;
    set_size(to, from->size);
    if (from->size > 0)
        memcpy(to->data, from->data, from->size);
}

/* ---- names ---- */

static struct lossy_entry *find_entry(const struct lossy_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i].name, name) == 0)
            return &names->items[i];
    }
    return NULL;
}

static void set_entry(struct lossy_names *names, const char *name, uint64_t node)
{
    struct lossy_entry *entry = find_entry(names, name);

    if (entry != NULL) {
        entry->node = node;
        return;
    }
    if (names->count == names->capacity) {
        names->capacity = names->capacity == 0 ? 16 : names->capacity * 2;
        names->items = alloc_resized(names->items, names->capacity, sizeof(*names->items));
    }
    names->items[names->count++] = (struct lossy_entry){alloc_text(name), node};
}

static void unset_entry(struct lossy_names *names, const char *name)
{
    struct lossy_entry *entry = find_entry(names, name);

    if (entry == NULL)
        return;
    free(entry->name);
    *entry = names->items[--names->count];
}

static void clear_names(struct lossy_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i].name);
    names->count = 0;
}

static void copy_names(struct lossy_names *to, const struct lossy_names *from)
{
    clear_names(to);
    for (size_t i = 0; i < from->count; i++)
        set_entry(to, from->items[i].name, from->items[i].node);
}

static void apply_name(struct lossy_names *names, const struct lossy_change *change)
{
    if (change->kind == LOSSY_RENAME)
        unset_entry(names, change->old_name);
    if (change->kind == LOSSY_UNSET)
        unset_entry(names, change->name);
    else
        set_entry(names, change->name, change->node);
}

/* ---- changes ---- */

static struct lossy_change *add_change(struct lossy_image *image, struct lossy_node *node, enum lossy_kind kind)
{
    if (node->change_count == node->change_capacity) {
        node->change_capacity = node->change_capacity == 0 ? 16 : node->change_capacity * 2;
        node->changes = alloc_resized(node->changes, node->change_capacity, sizeof(*node->changes));
    }
    node->changes[node->change_count] = (struct lossy_change){.kind = kind, .number = ++image->change_number};
    return &node->changes[node->change_count++];
}

static void clear_changes(struct lossy_node *node)
{
    for (size_t i = 0; i < node->change_count; i++) {
        free(node->changes[i].data);
        free(node->changes[i].name);
        free(node->changes[i].old_name);
    }
    node->change_count = 0;
}

void lossy_write(struct lossy_image *image, struct lossy_node *file, uint64_t offset, const char *data, size_t size)
{
    struct lossy_change *change = add_change(image, file, LOSSY_WRITE);

    change->offset = offset;
    change->size = size;
    change->data = alloc_zeroed(size, 1);
    memcpy(change->data, data, size);
    apply(&file->now, change);
}

void lossy_resize(struct lossy_image *image, struct lossy_node *file, uint64_t size)
{
    struct lossy_change *change = add_change(image, file, LOSSY_RESIZE);

    change->offset = size;
    apply(&file->now, change);
}

void lossy_set_name(struct lossy_image *image, struct lossy_node *folder, const char *name, uint64_t node)
{
    struct lossy_change *change = add_change(image, folder, LOSSY_SET);

    change->name = alloc_text(name);
    change->node = node;
    apply_name(&folder->names, change);
}

void lossy_unset_name(struct lossy_image *image, struct lossy_node *folder, const char *name)
{
    struct lossy_change *change = add_change(image, folder, LOSSY_UNSET);

    change->name = alloc_text(name);
    apply_name(&folder->names, change);
}

void lossy_rename(struct lossy_image *image, struct lossy_node *folder, const char *from, const char *to)
{
    struct lossy_change *change = add_change(image, folder, LOSSY_RENAME);

    change->name = alloc_text(to);
    change->old_name = alloc_text(from);
    change->node = lossy_find(folder, from);
    apply_name(&folder->names, change);
}

void lossy_flush(struct lossy_node *node)
{
    for (size_t i = 0; i < node->change_count; i++) {
        if (node->folder)
            apply_name(&node->kept_names, &node->changes[i]);
        else
            apply(&node->kept, &node->changes[i]);
    }
    clear_changes(node);
}

/* ---- nodes ---- */

struct lossy_node *lossy_node(struct lossy_image *image, uint64_t number)
{
    struct lossy_node *node = number < image->node_count ? image->nodes[number] : NULL;

    return node != NULL && node->exists ? node : NULL;
}

uint64_t lossy_make(struct lossy_image *image, bool folder)
{
    if ((image->node_count & (image->node_count - 1)) == 0)
        image->nodes = alloc_resized(image->nodes, image->node_count * 2, sizeof(struct lossy_node *));
    image->nodes[image->node_count] = alloc_zeroed(1, sizeof(struct lossy_node));
    image->nodes[image->node_count]->exists = true;
    image->nodes[image->node_count]->folder = folder;
    return image->node_count++;
}

uint64_t lossy_find(const struct lossy_node *folder, const char *name)
{
    const struct lossy_entry *entry = find_entry(&folder->names, name);

    return entry == NULL ? 0 : entry->node;
}

void lossy_image_init(struct lossy_image *image)
{
    image->nodes = alloc_zeroed(1, sizeof(struct lossy_node *));
    image->node_count = LOSSY_ROOT;
    (void)lossy_make(image, true);
}

static void forget_node(struct lossy_node *node)
{
    clear_changes(node);
    clear_names(&node->names);
    clear_names(&node->kept_names);
    free(node->changes);
    free(node->now.data);
    free(node->kept.data);
    free(node->names.items);
    free(node->kept_names.items);
    memset(node, 0, sizeof(*node));
}

/* ---- the cut ---- */

struct survival {
    struct lossy_image *image;
    enum lossy_cut cut;
    struct os_random random;
    uint64_t last; /* of LOSSY_PREFIX: the last change that survives */
    struct lossy_report report;
};

static bool coin(struct survival *survival)
{
    return os_random_below(&survival->random, 2) == 0;
}

/* How many of *count* changes of one place survive: often all or none. */
static size_t some(struct survival *survival, size_t count)
{
    if (coin(survival))
        return coin(survival) ? count : 0;
    return (size_t)os_random_below(&survival->random, count + 1);
}

/* Each unit of *unit* bytes has got its own part of the changes, and so has the size. */
static void survive_units(struct survival *survival, struct lossy_node *file, uint64_t unit)
{
    size_t count = file->change_count, sizes = some(survival, count);
    uint64_t size = file->kept.size, size_max = size;

    for (size_t i = 0; i < count; i++) {
        const struct lossy_change *change = &file->changes[i];
        uint64_t end = change->offset + change->size; /* of RESIZE: the size */

        if (i < sizes)
            size = change->kind == LOSSY_RESIZE || end > size ? end : size;
        size_max = end > size_max ? end : size_max;
    }
    set_size(&file->kept, size_max);
    for (uint64_t at = 0; at < size_max; at += unit) {
        size_t touching = 0, keep;

        for (size_t i = 0; i < count; i++) {
            const struct lossy_change *change = &file->changes[i];

            touching += change->kind == LOSSY_RESIZE ? change->offset < at + unit
                                                     : change->offset < at + unit && change->offset + change->size > at;
        }
        if (touching == 0)
            continue;
        keep = some(survival, touching);
        survival->report.lost += touching - keep;
        for (size_t i = 0; i < count && keep > 0; i++) {
            const struct lossy_change *change = &file->changes[i];
            bool touches = change->kind == LOSSY_RESIZE
                               ? change->offset < at + unit
                               : change->offset < at + unit && change->offset + change->size > at;

            if (!touches)
                continue;
            apply_within(&file->kept, change, at, at + unit);
            keep--;
        }
    }
    set_size(&file->kept, size);
}

static void survive_node(struct survival *survival, struct lossy_node *node)
{
    enum lossy_cut cut = survival->cut;

    survival->report.dirty += node->change_count;
    if (!node->folder && node->change_count > 0 && (cut == LOSSY_PAGES || cut == LOSSY_SECTORS)) {
        survive_units(survival, node, cut == LOSSY_PAGES ? PAGE_BYTES : SECTOR_BYTES);
    } else {
        for (size_t i = 0; i < node->change_count; i++) {
            const struct lossy_change *change = &node->changes[i];
            bool survives = cut == LOSSY_ALL || (cut == LOSSY_PREFIX && change->number <= survival->last) ||
                            ((cut == LOSSY_PAGES || cut == LOSSY_SECTORS) && coin(survival));

            survival->report.lost += !survives;
            if (survives && node->folder)
                apply_name(&node->kept_names, change);
            else if (survives)
                apply(&node->kept, change);
        }
    }
    clear_changes(node);
    copy_bytes(&node->now, &node->kept);
    copy_names(&node->names, &node->kept_names);
}

/* Mark what is found from *number* on. */
static void reach(struct lossy_image *image, uint64_t number, bool *reached)
{
    struct lossy_node *node = lossy_node(image, number);

    if (node == NULL || reached[number])
        return;
    reached[number] = true;
    for (size_t i = 0; i < node->names.count; i++)
        reach(image, node->names.items[i].node, reached);
}

struct lossy_report lossy_survive(struct lossy_image *image, enum lossy_cut cut, uint64_t seed)
{
    struct survival survival = {.image = image, .cut = cut};
    uint64_t oldest = image->change_number;
    bool *reached = alloc_zeroed(image->node_count, sizeof(*reached));

    os_random_seed(&survival.random, seed);
    for (uint64_t i = LOSSY_ROOT; i < image->node_count; i++) {
        if (image->nodes[i]->change_count > 0 && image->nodes[i]->changes[0].number < oldest)
            oldest = image->nodes[i]->changes[0].number;
    }
    if (oldest > 0)
        survival.last = oldest - 1 + os_random_below(&survival.random, image->change_number - oldest + 2);
    for (uint64_t i = LOSSY_ROOT; i < image->node_count; i++) {
        if (image->nodes[i]->exists)
            survive_node(&survival, image->nodes[i]);
    }
    reach(image, LOSSY_ROOT, reached);
    for (uint64_t i = LOSSY_ROOT; i < image->node_count; i++) {
        if (image->nodes[i]->exists && !reached[i])
            forget_node(image->nodes[i]);
    }
    free(reached);
    return survival.report;
}

void lossy_empty(struct lossy_image *image)
{
    for (uint64_t i = LOSSY_ROOT; i < image->node_count; i++)
        forget_node(image->nodes[i]);
    image->nodes[LOSSY_ROOT]->exists = true;
    image->nodes[LOSSY_ROOT]->folder = true;
}
