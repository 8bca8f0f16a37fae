/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies: see body.h.  Bytes are moved between the buffers, not copied. */
#include "gateway/body.h"

void body_init(struct body *body, enum body_kind kind, uint64_t length, bool chunk)
{
    *body = (struct body){.kind = kind,
                          .chunk = chunk,
                          .done = kind == BODY_NONE || (kind == BODY_LENGTH && length == 0),
                          .left = length,
                          .chunks = {.state = WIRE_CHUNK_SIZE}};
}

static void copy_out(struct evbuffer *from, size_t size, struct banyan_buf *copy)
{
    if (copy->overflow || copy->size + size > copy->size_max) {
        copy->overflow = true;
        return;
    }
    char *at = banyan_buf_extend(copy, size);
    if (at != NULL)
        (void)evbuffer_copyout(from, at, size); /* as many as are there */
}

/* *size* bytes of the plain body are at the start of *from*. */
static void pass(struct body *body, struct evbuffer *from, struct evbuffer *to, size_t size, struct banyan_buf *copy)
{
    if (copy != NULL)
        copy_out(from, size, copy);
    if (to == NULL) {
        (void)evbuffer_drain(from, size); /* they are there */
        return;
    }
    if (body->chunk)
        (void)evbuffer_add_printf(to, "%zx\r\n", size); /* out of memory: the peer finds a broken body */
    (void)evbuffer_remove_buffer(from, to, size);
    if (body->chunk)
        (void)evbuffer_add(to, "\r\n", 2);
}

static void finish(struct body *body, struct evbuffer *to)
{
    body->done = true;
    if (body->chunk && to != NULL)
        (void)evbuffer_add(to, "0\r\n\r\n", 5); /* as above */
}

/* One step of a chunked body. */
static enum wire_result step(struct body *body, struct evbuffer *from, struct evbuffer *to, size_t room,
                             struct banyan_buf *copy)
{
    size_t there = evbuffer_get_length(from), size = evbuffer_get_contiguous_space(from), used = 0;
    struct banyan_str piece;
    if (body->chunks.state == WIRE_CHUNK_DATA) {
        size = there < room ? there : room;
        if (size == 0)
            return WIRE_MORE;
        if (size > body->chunks.left)
            size = (size_t)body->chunks.left;
        pass(body, from, to, size, copy);
        body->chunks.left -= size;
        if (body->chunks.left == 0)
            body->chunks.state = WIRE_CHUNK_END;
        return WIRE_OK;
    }
    if (size < WIRE_CHUNK_LINE_MAX)
        size = there < WIRE_CHUNK_LINE_MAX ? there : WIRE_CHUNK_LINE_MAX;
    const char *data = (const char *)evbuffer_pullup(from, (ssize_t)size);
    enum wire_result result = wire_chunk(&body->chunks, (struct banyan_str){data, size}, &used, &piece);
    if (result == WIRE_OK)
        (void)evbuffer_drain(from, used); /* they are there */
    if (result == WIRE_OK && body->chunks.state == WIRE_CHUNK_DONE)
        finish(body, to);
    return result;
}

enum wire_result body_move(struct body *body, struct evbuffer *from, struct evbuffer *to, size_t room,
                           struct banyan_buf *copy)
{
    while (!body->done) {
        size_t held = to == NULL ? 0 : evbuffer_get_length(to), there = evbuffer_get_length(from);
        size_t left = held < room ? room - held : 0;
        if (left == 0 || there == 0)
            return WIRE_MORE;
        if (body->kind == BODY_CHUNKED) {
            enum wire_result result = step(body, from, to, left, copy);
            if (result != WIRE_OK)
                return result;
            continue;
        }
        size_t size = there < left ? there : left;
        if (body->kind == BODY_LENGTH && size > body->left)
            size = (size_t)body->left;
        pass(body, from, to, size, copy);
        if (body->kind == BODY_LENGTH) {
            body->left -= size;
            if (body->left == 0)
                finish(body, to);
        }
    }
    return WIRE_OK;
}

enum wire_result body_end(struct body *body, struct evbuffer *to)
{
    if (body->kind != BODY_TO_END && !body->done)
        return WIRE_BAD;
    if (!body->done)
        finish(body, to);
    return WIRE_OK;
}
