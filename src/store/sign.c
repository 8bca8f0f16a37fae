/* SPDX-License-Identifier: Apache-2.0 */
/* See sign.h. */
#include "store/sign.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"

enum {
    ROOT_FORMAT = 1,
};

static char *join(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = alloc_zeroed(1, size);

    (void)snprintf(path, size, "%s/%s", folder, name); /* fits: counted above */
    return path;
}

/* ---- roots of sealed segments ---- */

static uint32_t root_crc(const struct signed_root *root)
{
    size_t from = offsetof(struct signed_root, format);

    return crc32c(0, (const char *)root + from, sizeof(*root) - from);
}

struct signed_root signed_root_make(const struct signed_tree *tree, const struct log_verify_place *place,
                                    uint64_t first_position)
{
    struct signed_root root = {
        .format = ROOT_FORMAT,
        .log_id = place->log_id,
        .first_position = first_position,
        .frames = tree->frames.count,
        .next_position = place->next_position,
        .next_offset = place->offset,
        .root = merkle_root(&tree->frames),
        .in_batch = place->in_batch,
    };

    memcpy(root.chain, place->chain, LOG_CHAIN_BYTES);
    root.crc = root_crc(&root);
    return root;
}

enum banyan_status signed_roots_load(struct os_files *files, const char *folder, struct signed_root **ret,
                                     size_t *ret_count, bool *ret_more, struct banyan_error *err)
{
    char *path = join(folder, SIGNED_ROOTS_FILE);
    struct signed_root *roots = NULL;
    struct os_file *file = NULL;
    uint64_t bytes = 0, position = 1;
    size_t size = 0, count = 0;
    enum banyan_status status = files->open(files, path, false, &file, NULL);

    free(path);
    *ret = NULL;
    *ret_count = 0;
    *ret_more = false;
    if (status == BANYAN_NOT_FOUND)
        return BANYAN_OK;
    if (status == BANYAN_OK)
        status = files->size(file, &bytes, err);
    if (status == BANYAN_OK) {
        roots = alloc_try((size_t)bytes + 1);
        status = roots == NULL ? banyan_error_set(err, BANYAN_LIMIT, "%s/" SIGNED_ROOTS_FILE " is too long", folder)
                               : files->read(file, 0, roots, (size_t)bytes, &size, err);
    }
    files->close(file);
    if (status != BANYAN_OK) {
        free(roots);
        return status;
    }
    while ((count + 1) * sizeof(*roots) <= size && roots[count].crc == root_crc(&roots[count]) &&
           roots[count].format == ROOT_FORMAT && roots[count].first_position == position &&
           banyan_uuid_equal(roots[count].log_id, roots[0].log_id))
        position = roots[count++].next_position;
    *ret = roots;
    *ret_count = count;
    *ret_more = count * sizeof(*roots) != size;
    return BANYAN_OK;
}

void signed_roots_place(const struct signed_root *roots, size_t count, struct log_verify_place *place,
                        struct signed_tree *tree)
{
    const struct signed_root *last;

    log_verify_place_init(place);
    *tree = (struct signed_tree){.first_position = 0};
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        struct merkle_hash leaf = signed_segment_leaf(roots[i].first_position, roots[i].frames, &roots[i].root);

        merkle_add(&tree->segments, &leaf);
    }
    last = &roots[count - 1];
    place->log_id = last->log_id;
    place->log_id_known = true;
    place->segment = count;
    place->first_position = last->first_position;
    place->next_position = last->next_position;
    place->offset = last->next_offset;
    place->in_batch = last->in_batch != 0;
    memcpy(place->chain, last->chain, LOG_CHAIN_BYTES);
}

/* ---- signing ---- */

struct sign {
    const struct store_sign_options *options;
    struct os_files *files;
    char *log_folder; /* owned */
    struct signed_tree tree;
    struct signed_head head; /* as of the last whole batch */
    struct signed_tree head_tree;
    struct signed_root *roots; /* owned; those of the file, then new ones */
    size_t root_count, from_file;
    struct log_finding damage; /* the first one; kind NULL: none */
    char damaged[256];         /* its file */
};

static void on_finding(void *context, const struct log_finding *finding)
{
    struct sign *sign = context;

    if (finding->class != LOG_FINDING_DAMAGE || sign->damage.kind != NULL)
        return;
    sign->damage = *finding;
    (void)snprintf(sign->damaged, sizeof(sign->damaged), "%s", finding->path); /* over-long ones are cut */
}

static void on_frame(void *context, const struct frame_header *frame, uint64_t offset)
{
    struct sign *sign = context;

    signed_tree_add(&sign->tree, frame);
    if ((frame->flags & FRAME_CONTINUES) != 0)
        return;
    sign->head.position = frame->first_position + frame->record_count - 1;
    sign->head.offset = offset;
    sign->head.segments = sign->tree.segments.count + 1;
    sign->head.frames = sign->tree.frames.count;
    memcpy(sign->head.chain, frame->chain, LOG_CHAIN_BYTES);
    sign->head_tree = sign->tree;
}

static enum banyan_status on_segment(void *context, const struct log_verify_place *place, uint64_t first_position,
                                     struct banyan_error *err)
{
    struct sign *sign = context;

    (void)err;
    sign->roots = alloc_resized(sign->roots, sign->root_count + 1, sizeof(*sign->roots));
    sign->roots[sign->root_count++] = signed_root_make(&sign->tree, place, first_position);
    signed_tree_seal(&sign->tree, first_position);
    return BANYAN_OK;
}

/* Read and check all behind the first *count* segments of the roots file. */
static enum banyan_status read_log(struct sign *sign, size_t count, struct banyan_error *err)
{
    const struct log_verify_visitor visitor = {
        .context = sign, .finding = on_finding, .frame = on_frame, .segment = on_segment};
    struct log_verify_options options = {.folder = sign->log_folder, .files = sign->files, .visitor = &visitor};
    struct log_verify_place place;
    enum banyan_status status;

    sign->root_count = sign->from_file = count;
    sign->head.offset = 0;
    sign->damage.kind = NULL;
    signed_roots_place(sign->roots, count, &place, &sign->tree);
    status = log_verify(&options, &place, err);
    sign->head.log_id = place.log_id;
    return status;
}

/* The part that was read is on the disk afterwards: a writer flushes a segment before it begins the next one. */
static enum banyan_status flush_log(struct sign *sign, struct banyan_error *err)
{
    struct os_file *file = NULL;
    char **names = NULL, *last = NULL;
    enum banyan_status status = sign->files->list(sign->files, sign->log_folder, &names, err);

    for (size_t i = 0; status == BANYAN_OK && names[i] != NULL; i++) {
        if (strstr(names[i], ".seg") != NULL) {
            free(last);
            last = join(sign->log_folder, names[i]);
        }
        free(names[i]);
    }
    free(names);
    if (status == BANYAN_OK && last != NULL)
        status = sign->files->open(sign->files, last, false, &file, err);
    if (status == BANYAN_OK && last != NULL)
        status = sign->files->sync(file, err);
    if (status == BANYAN_OK)
        status = sign->files->sync_folder(sign->files, sign->log_folder, err);
    sign->files->close(file);
    free(last);
    return status;
}

/* Write *data* to *name* at *at*, or at its end (UINT64_MAX), flushed. */
static enum banyan_status put(struct sign *sign, const char *name, uint64_t at, struct banyan_str data,
                              struct banyan_error *err)
{
    char *path = join(sign->options->folder, name);
    struct os_file *file = NULL;
    enum banyan_status status = sign->files->open(sign->files, path, true, &file, err);

    if (status == BANYAN_OK && at == UINT64_MAX)
        status = sign->files->size(file, &at, err);
    if (status == BANYAN_OK)
        status = sign->files->write(file, at, data.data, data.size, err);
    if (status == BANYAN_OK)
        status = sign->files->truncate(file, at + data.size, err);
    if (status == BANYAN_OK)
        status = sign->files->sync(file, err);
    if (status == BANYAN_OK)
        status = sign->files->sync_folder(sign->files, sign->options->folder, err);
    sign->files->close(file);
    free(path);
    return status;
}

/* New roots of what the head covers: behind it a batch may still be taken back. */
static enum banyan_status save_roots(struct sign *sign, bool more, struct banyan_error *err)
{
    size_t count = sign->root_count;
    struct banyan_str data;

    while (count > sign->from_file && sign->roots[count - 1].next_offset > sign->head.offset)
        count--;
    if (count == sign->from_file && !more)
        return BANYAN_OK;
    data = (struct banyan_str){(const char *)(sign->roots + sign->from_file),
                               (count - sign->from_file) * sizeof(*sign->roots)};
    return put(sign, SIGNED_ROOTS_FILE, sign->from_file * sizeof(*sign->roots), data, err);
}

/* Where a line was cut off while it was written, the next one must not go on in it. */
static enum banyan_status end_of_lines(struct sign *sign, uint64_t *ret, struct banyan_error *err)
{
    char *path = join(sign->options->folder, SIGNED_HEADS_FILE), data[SIGNED_LINE_BYTES_MAX];
    struct os_file *file = NULL;
    uint64_t bytes = 0;
    size_t size = 0;
    enum banyan_status status = sign->files->open(sign->files, path, true, &file, err);

    if (status == BANYAN_OK)
        status = sign->files->size(file, &bytes, err);
    *ret = bytes < sizeof(data) ? 0 : bytes - sizeof(data);
    if (status == BANYAN_OK)
        status = sign->files->read(file, *ret, data, sizeof(data), &size, err);
    while (size > 0 && data[size - 1] != '\n')
        size--;
    *ret += size;
    sign->files->close(file);
    free(path);
    return status;
}

static enum banyan_status run(struct sign *sign, struct signed_head *ret, struct banyan_error *err)
{
    struct banyan_buf line = BANYAN_BUF_INIT(SIGNED_LINE_BYTES_MAX);
    struct os_clock *clock = sign->options->clock == NULL ? os_clock_real() : sign->options->clock;
    size_t count;
    uint64_t at = 0;
    bool more;
    enum banyan_status status = signed_roots_load(sign->files, sign->options->folder, &sign->roots, &count, &more, err);

    if (status == BANYAN_OK)
        status = read_log(sign, count, err);
    /* A batch that began before them may be all that there is; and if they do not fit the log, the log is asked. */
    if (status != BANYAN_OK || (count > 0 && (sign->damage.kind != NULL || sign->head.offset == 0))) {
        banyan_error_clear(err);
        status = read_log(sign, 0, err);
    }
    if (status == BANYAN_OK && sign->damage.kind != NULL) {
        status = banyan_error_set(err, BANYAN_CORRUPT, "%s is damaged at byte %" PRIu64 ", position %" PRIu64 ": %s",
                                  sign->damaged, sign->damage.byte, sign->damage.position, sign->damage.text);
        banyan_error_hint(err, "nothing was signed; banyan store verify lists all damage");
    }
    if (status == BANYAN_OK && sign->head.position == 0)
        status = banyan_error_set(err, BANYAN_INVALID, "there is no event to sign");
    if (status == BANYAN_OK)
        status = flush_log(sign, err);
    if (status != BANYAN_OK)
        goto out;
    sign->head.root = signed_tree_root(&sign->head_tree);
    sign->head.time = os_clock_now(clock);
    status = signed_head_sign(&sign->head, sign->options->private_key, err);
    if (status == BANYAN_OK)
        status = save_roots(sign, more || sign->from_file < count, err);
    if (status == BANYAN_OK)
        status = end_of_lines(sign, &at, err);
    if (status != BANYAN_OK)
        goto out;
    signed_head_format(&sign->head, &line);
    banyan_buf_add_char(&line, '\n');
    status = put(sign, SIGNED_HEADS_FILE, at, banyan_buf_str(&line), err);
    if (status == BANYAN_OK)
        *ret = sign->head;
out:
    banyan_buf_release(&line);
    return status;
}

enum banyan_status store_sign(const struct store_sign_options *options, struct signed_head *ret,
                              struct banyan_error *err)
{
    struct sign *sign = alloc_zeroed(1, sizeof(*sign));
    enum banyan_status status;

    sign->options = options;
    sign->files = options->files == NULL ? os_files_real() : options->files;
    sign->log_folder = join(options->folder, "log");
    status = run(sign, ret, err);
    free(sign->roots);
    free(sign->log_folder);
    free(sign);
    return status;
}
