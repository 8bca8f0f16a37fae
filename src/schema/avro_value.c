/* SPDX-License-Identifier: Apache-2.0 */
/* What walks over values share: places, faults, output, blocks. */
#include "schema/avro_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "schema/avro_plan.h"

enum {
    PAIRWISE_MAX = 12, /* up to so many keys are compared each with each */
};

/* ---- places ---- */

void avro_spans_release(struct avro_spans *spans)
{
    free(spans->list);
    *spans = (struct avro_spans){NULL, 0, 0};
}

bool avro_spans_push(struct avro_spans *spans, size_t count)
{
    if (count > spans->capacity - spans->count) {
        size_t capacity = (spans->count + count) * 2;
        struct avro_span *list = reallocarray(spans->list, capacity, sizeof(*list));
        if (list == NULL)
            return false;
        spans->list = list;
        spans->capacity = capacity;
    }
    spans->count += count;
    return true;
}

static int compare_spans(const void *a, const void *b, void *data)
{
    const struct avro_span *x = a, *y = b;
    size_t common = x->size < y->size ? x->size : y->size;
    int order = common == 0 ? 0 : memcmp((const char *)data + x->at, (const char *)data + y->at, common);
    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

bool avro_spans_repeat(struct avro_spans *spans, size_t first, const char *data)
{
    struct avro_span *list = spans->list + first;
    size_t count = spans->count - first;
    if (count <= PAIRWISE_MAX) {
        for (size_t i = 1; i < count; i++) {
            for (size_t k = 0; k < i; k++) {
                if (list[i].size == list[k].size && memcmp(data + list[i].at, data + list[k].at, list[i].size) == 0)
                    return true;
            }
        }
        return false;
    }
    /* Sorted, not hashed: no choice of keys makes it slow. */
    qsort_r(list, count, sizeof(*list), compare_spans, (void *)(uintptr_t)data);
    for (size_t i = 1; i < count; i++) {
        if (compare_spans(&list[i - 1], &list[i], (void *)(uintptr_t)data) == 0)
            return true;
    }
    return false;
}

/* ---- faults ---- */

bool avro_fault_set(struct avro_fault *fault, enum banyan_status status, const char *reason)
{
    if (fault->status == BANYAN_OK) {
        fault->status = status;
        fault->reason = reason;
    }
    return false;
}

/* In front of the path; the beginning of a path that is too long is left out. */
static bool prepend(struct avro_fault *fault, const char *text, size_t size)
{
    size_t left = sizeof(fault->path) - fault->path_size;
    bool joined = fault->path_size > 0 && fault->path[sizeof(fault->path) - fault->path_size] != '[';
    if (size + joined > left)
        return false;
    if (joined)
        fault->path[sizeof(fault->path) - ++fault->path_size] = '.';
    fault->path_size += size;
    memcpy(fault->path + sizeof(fault->path) - fault->path_size, text, size);
    return false;
}

bool avro_fault_in_field(struct avro_fault *fault, struct banyan_str name)
{
    return prepend(fault, name.data, name.size);
}

bool avro_fault_in_item(struct avro_fault *fault, uint64_t index)
{
    char text[32];
    int size = snprintf(text, sizeof(text), "[%" PRIu64 "]", index);
    return prepend(fault, text, (size_t)size);
}

bool avro_fault_in_key(struct avro_fault *fault, struct banyan_str key)
{
    struct banyan_buf text = BANYAN_BUF_INIT(AVRO_PATH_MAX);
    bool cut = key.size > 40;
    banyan_buf_add_char(&text, '[');
    banyan_buf_add_json(&text, (struct banyan_str){key.data, cut ? 40 : key.size});
    banyan_buf_add_text(&text, cut ? "...]" : "]");
    (void)prepend(fault, text.data, text.size);
    banyan_buf_release(&text);
    return false;
}

struct banyan_str avro_fault_path(const struct avro_fault *fault)
{
    if (fault->path_size == 0)
        return BANYAN_STR("the value");
    return (struct banyan_str){fault->path + sizeof(fault->path) - fault->path_size, fault->path_size};
}

/* ---- output ---- */

void avro_out_open(struct avro_out *out, struct banyan_buf *buf)
{
    *out = (struct avro_out){buf, NULL, NULL};
    if (buf->data != NULL && !buf->overflow) {
        out->at = buf->data + buf->size;
        out->end = buf->data + buf->capacity - 1;
    }
}

void avro_out_close(struct avro_out *out, size_t size)
{
    if (out->at == NULL)
        return;
    out->buf->size = size != SIZE_MAX ? size : (size_t)(out->at - out->buf->data);
    out->buf->data[out->buf->size] = '\0';
}

bool avro_out_grow(struct avro_out *out, size_t size)
{
    struct banyan_buf *buf = out->buf;
    if (out->at != NULL)
        buf->size = (size_t)(out->at - buf->data);
    size_t before = buf->size;
    if (banyan_buf_extend(buf, size) == NULL)
        return false;
    buf->size = before;
    out->at = buf->data + before;
    out->end = buf->data + buf->capacity - 1;
    return true;
}

bool avro_out_patch_long(struct avro_out *out, struct avro_span place, int64_t value)
{
    unsigned char bytes[WIRE_LONG_BYTES_MAX];
    size_t size = (size_t)(wire_put_long(bytes, value) - bytes);
    size_t behind = avro_out_size(out) - place.at - place.size;
    if (size > place.size && size - place.size > (size_t)(out->end - out->at) && !avro_out_grow(out, size - place.size))
        return false;
    char *at = out->buf->data + place.at;
    if (size != place.size)
        memmove(at + size, at + place.size, behind);
    memcpy(at, bytes, size);
    out->at = at + size + behind;
    return true;
}

/* ---- the walk ---- */

void avro_walk_open(struct avro_walk *walk, struct banyan_str input)
{
    const unsigned char *at = (const unsigned char *)input.data;
    walk->in = (struct wire_input){at, at == NULL ? NULL : at + input.size, NULL};
    walk->input = input;
    walk->steps_left = AVRO_VALUE_STEPS_MIN + (uint64_t)input.size * AVRO_VALUE_STEPS_A_BYTE;
    walk->defaults_left = AVRO_DEFAULT_BYTES_MIN + (uint64_t)input.size * AVRO_DEFAULT_BYTES_A_BYTE;
    walk->strict = false;
    walk->spans = (struct avro_spans){NULL, 0, 0};
    walk->fault.status = BANYAN_OK;
    walk->fault.path_size = 0;
}

void avro_walk_release(struct avro_walk *walk)
{
    avro_spans_release(&walk->spans);
}

enum banyan_status avro_walk_error(const struct avro_walk *walk, struct banyan_error *err)
{
    struct banyan_str path = avro_fault_path(&walk->fault);
    return banyan_error_set(err, walk->fault.status, "%.*s (near byte %zu of %zu): %s", (int)path.size, path.data,
                            (size_t)(walk->in.at - (const unsigned char *)walk->input.data), walk->input.size,
                            walk->fault.reason);
}

/* ---- blocks ---- */

void avro_blocks_open(struct avro_walk *walk, struct avro_blocks *blocks)
{
    *blocks = (struct avro_blocks){.keys = walk->spans.count};
}

/* The head of the next block: its number of items, 0 at the end. */
static const char *read_head(struct avro_walk *walk, struct avro_blocks *blocks)
{
    int64_t count = 0, size = 0;
    const char *fault = wire_get_long(&walk->in, &count);
    if (fault != NULL)
        return fault;
    blocks->block_end = NULL;
    blocks->left = count < 0 ? -(uint64_t)count : (uint64_t)count;
    if (count != 0 && blocks->index > 0) {
        walk->in.irregular = "the items are in more than one block";
        blocks->several = true;
    }
    if (count >= 0)
        return NULL;
    walk->in.irregular = "the block names its size";
    fault = wire_get_long(&walk->in, &size);
    if (fault != NULL)
        return fault;
    if (size < 0 || size > walk->in.end - walk->in.at)
        return "the block's size passes the end";
    blocks->block_end = walk->in.at + size;
    return NULL;
}

bool avro_blocks_more(struct avro_walk *walk, struct avro_blocks *blocks)
{
    if (blocks->left == 0) {
        if (blocks->block_end != NULL && walk->in.at != blocks->block_end)
            return avro_accept(walk, "the block is not of the size that it names");
        if (!avro_accept(walk, read_head(walk, blocks)) || blocks->left == 0)
            return false;
    }
    blocks->left--;
    blocks->index++;
    return true;
}

bool avro_blocks_key(struct avro_walk *walk, struct avro_blocks *blocks, struct banyan_str *ret_key)
{
    const char *fault = wire_get_bytes(&walk->in, ret_key);
    if (fault == NULL && !utf8_valid(*ret_key))
        fault = "the key is not UTF-8";
    if (!avro_accept(walk, fault))
        return false;
    if (!avro_spans_push(&walk->spans, 1))
        return avro_fault_set(&walk->fault, BANYAN_LIMIT, "there is no memory for the keys");
    walk->spans.list[walk->spans.count - 1] =
        (struct avro_span){(size_t)(ret_key->data - walk->input.data), ret_key->size};
    return true;
}

bool avro_blocks_close(struct avro_walk *walk, struct avro_blocks *blocks)
{
    if (walk->fault.status != BANYAN_OK)
        return false;
    if (walk->spans.count > blocks->keys && avro_spans_repeat(&walk->spans, blocks->keys, walk->input.data))
        return avro_accept(walk, "the map has a key twice");
    walk->spans.count = blocks->keys;
    return true;
}

/* ---- records whose fields change places ---- */

bool avro_marks_open(struct avro_walk *walk, uint32_t count, size_t *ret)
{
    *ret = walk->spans.count;
    if (count > 0 && !avro_spans_push(&walk->spans, count))
        return avro_fault_set(&walk->fault, BANYAN_LIMIT, "there is no memory for the places of the fields");
    return true;
}

bool avro_marks_step(struct avro_walk *walk, const struct avro_step *step, size_t marks, unsigned depth)
{
    const unsigned char *start = (const unsigned char *)walk->input.data;
    if (step->kind == AVRO_STEP_GO) {
        walk->in.at = start + walk->spans.list[marks + step->mark].at;
        return true;
    }
    if (step->kind == AVRO_STEP_MARK)
        walk->spans.list[marks + step->mark].at = (size_t)(walk->in.at - start);
    return step->field == NULL || avro_step_over(walk, step->field->type, depth);
}
