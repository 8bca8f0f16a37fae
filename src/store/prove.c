/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a proof.  Roots of sealed segments come from the roots file where it has them; the event's segment is read,
 * and what lies behind the file's segments, up to the head.  See proof.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/proof.h"
#include "store/sign.h"

struct prove {
    const struct store_prove_options *options;
    struct os_files *files;
    char *log_folder; /* owned */
    struct proof *proof;
    struct signed_root *roots; /* owned */
    size_t root_count;

    struct merkle_hash *segments; /* leaves; owned */
    size_t segment_count;
    struct signed_tree tree;    /* of the segment that is read */
    struct merkle_hash *frames; /* leaves of the event's segment, or of the one that is read while none is; owned */
    size_t frame_count, frame_capacity;
    uint8_t chain[LOG_CHAIN_BYTES]; /* of the last frame */
    uint64_t number;                /* of the segment that is read */
    bool found, complete;           /* the event's frame; all of its segment */
    struct banyan_error damage;     /* the first one */
};

static void on_finding(void *context, const struct log_finding *finding)
{
    struct prove *prove = context;

    if (finding->class == LOG_FINDING_DAMAGE)
        (void)banyan_error_set(&prove->damage, BANYAN_CORRUPT,
                               "%s is damaged at byte %" PRIu64 ", position %" PRIu64 ": %s", finding->path,
                               finding->byte, finding->position, finding->text); /* the first one stays */
}

static void on_frame(void *context, const struct frame_header *frame, uint64_t offset)
{
    struct prove *prove = context;
    struct proof *proof = prove->proof;
    uint64_t position = prove->options->position;

    (void)offset;
    signed_tree_add(&prove->tree, frame);
    if (!prove->complete) {
        if (prove->frame_count == prove->frame_capacity) {
            prove->frame_capacity = prove->frame_capacity == 0 ? 1024 : prove->frame_capacity * 2;
            prove->frames = alloc_resized(prove->frames, prove->frame_capacity, sizeof(*prove->frames));
        }
        prove->frames[prove->frame_count++] = signed_frame_leaf(frame->chain);
        if (position >= frame->first_position && position - frame->first_position < frame->record_count) {
            proof->frame = prove->frame_count - 1;
            proof->segment = prove->number;
            memcpy(proof->chain_before, prove->chain, LOG_CHAIN_BYTES);
            banyan_buf_reset(&proof->bytes);
            banyan_buf_add(&proof->bytes, frame, sizeof(*frame) + frame->size);
            prove->found = true;
        }
    }
    memcpy(prove->chain, frame->chain, LOG_CHAIN_BYTES);
}

/* The segment that was read is over. */
static void end_segment(struct prove *prove, uint64_t first_position)
{
    struct merkle_hash root = merkle_root(&prove->tree.frames);

    if (prove->found && !prove->complete) {
        prove->complete = true;
        prove->proof->segment_position = first_position;
        prove->proof->segment_frames = prove->tree.frames.count;
    }
    if (!prove->complete)
        prove->frame_count = 0;
    if (prove->number == prove->segment_count) { /* else it came from the roots file */
        prove->segments = alloc_resized(prove->segments, prove->segment_count + 1, sizeof(*prove->segments));
        prove->segments[prove->segment_count++] = signed_segment_leaf(first_position, prove->tree.frames.count, &root);
    }
    prove->number++;
    prove->tree.frames.count = 0;
}

static enum banyan_status on_segment(void *context, const struct log_verify_place *place, uint64_t first_position,
                                     struct banyan_error *err)
{
    (void)place;
    (void)err;
    end_segment(context, first_position);
    return BANYAN_OK;
}

/* Read from behind the first *count* segments up to *offset*, where a frame of the last segment that is read ends. */
static enum banyan_status read_from(struct prove *prove, size_t count, uint64_t offset, struct banyan_error *err)
{
    const struct log_verify_visitor visitor = {
        .context = prove, .finding = on_finding, .frame = on_frame, .segment = on_segment};
    struct log_verify_options options = {
        .folder = prove->log_folder, .files = prove->files, .visitor = &visitor, .until_offset = offset};
    struct log_verify_place place;
    enum banyan_status status;

    signed_roots_place(prove->roots, count, &place, &prove->tree);
    memcpy(prove->chain, place.chain, LOG_CHAIN_BYTES);
    prove->number = count;
    status = log_verify(&options, &place, err);
    if (status == BANYAN_OK && prove->damage.status != BANYAN_OK) {
        *err = prove->damage;
        return BANYAN_CORRUPT;
    }
    if (status == BANYAN_OK && (place.whole_offset != offset && !place.in_batch))
        return banyan_error_set(err, BANYAN_MISMATCH, "the log has no frame that ends at offset %" PRIu64, offset);
    if (status == BANYAN_OK)
        end_segment(prove, prove->tree.first_position);
    return status;
}

static enum banyan_status choose_head(const struct prove *prove, struct signed_head *ret, struct banyan_error *err)
{
    const struct store_prove_options *options = prove->options;
    struct signed_heads_options load = {
        .files = prove->files, .folder = options->folder, .more_path = options->heads_path};
    struct signed_heads heads;
    enum banyan_status status = signed_heads_load(&load, &heads, err);
    bool found = false;

    for (size_t i = 0; status == BANYAN_OK && i < heads.count && !found; i++) {
        found = options->head_position == 0 ? heads.items[i].position >= options->position
                                            : heads.items[i].position == options->head_position;
        *ret = heads.items[i];
    }
    signed_heads_release(&heads);
    if (status != BANYAN_OK)
        return status;
    if (found && ret->position >= options->position)
        return BANYAN_OK;
    if (found)
        return banyan_error_set(err, BANYAN_INVALID, "the head at position %" PRIu64 " does not reach %" PRIu64,
                                ret->position, options->position);
    (void)banyan_error_set(err, BANYAN_NOT_FOUND, "there is no signed head that reaches position %" PRIu64,
                           options->head_position != 0 ? options->head_position : options->position);
    banyan_error_hint(err, "banyan store sign makes one");
    return BANYAN_NOT_FOUND;
}

static enum banyan_status finish(struct prove *prove, struct banyan_error *err)
{
    struct proof *proof = prove->proof;
    struct merkle_hash root;

    if (!prove->found)
        return banyan_error_set(err, BANYAN_NOT_FOUND, "there is no event at position %" PRIu64,
                                prove->options->position);
    proof->frame_path_count = merkle_path(prove->frames, prove->frame_count, proof->frame, proof->frame_path);
    proof->segment_path_count = merkle_path(prove->segments, prove->segment_count, proof->segment, proof->segment_path);
    if (!merkle_follow(&prove->segments[proof->segment], prove->segment_count, proof->segment, proof->segment_path,
                       proof->segment_path_count, &root) ||
        memcmp(root.bytes, proof->head.root.bytes, sizeof(root.bytes)) != 0) {
        (void)banyan_error_set(err, BANYAN_MISMATCH, "the log is not what was signed at position %" PRIu64,
                               proof->head.position);
        banyan_error_hint(err,
                          "banyan store verify says more; where it finds nothing, remove the derived file `roots`");
        return BANYAN_MISMATCH;
    }
    return BANYAN_OK;
}

static enum banyan_status run(struct prove *prove, struct banyan_error *err)
{
    uint64_t position = prove->options->position;
    struct signed_head *head = &prove->proof->head;
    size_t count, target;
    bool more;
    enum banyan_status status = choose_head(prove, head, err);

    if (status == BANYAN_OK)
        status = signed_roots_load(prove->files, prove->options->folder, &prove->roots, &count, &more, err);
    if (status != BANYAN_OK)
        return status;
    while (count > 0 && (count >= head->segments || prove->roots[count - 1].next_offset > head->offset))
        count--;
    prove->segments = alloc_zeroed(count + 1, sizeof(*prove->segments));
    prove->segment_count = count;
    for (size_t i = 0; i < count; i++)
        prove->segments[i] =
            signed_segment_leaf(prove->roots[i].first_position, prove->roots[i].frames, &prove->roots[i].root);
    for (target = 0; target < count && position >= prove->roots[target].next_position; target++)
        ;
    if (target < count)
        status = read_from(prove, target, prove->roots[target].next_offset, err);
    if (status == BANYAN_OK)
        status = read_from(prove, count, head->offset, err);
    return status == BANYAN_OK ? finish(prove, err) : status;
}

enum banyan_status store_prove(const struct store_prove_options *options, struct proof *ret, struct banyan_error *err)
{
    struct prove *prove = alloc_zeroed(1, sizeof(*prove));
    enum banyan_status status;
    size_t size = strlen(options->folder) + sizeof("/log");

    proof_init(ret);
    ret->position = options->position;
    prove->options = options;
    prove->files = options->files == NULL ? os_files_real() : options->files;
    prove->log_folder = alloc_zeroed(1, size);
    (void)snprintf(prove->log_folder, size, "%s/log", options->folder); /* fits: counted above */
    prove->proof = ret;
    status = run(prove, err);
    if (status != BANYAN_OK)
        proof_release(ret);
    free(prove->frames);
    free(prove->segments);
    free(prove->roots);
    free(prove->log_folder);
    free(prove);
    return status;
}
