/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz entry of what a client sends: the first byte chooses the head of a request, chunks, or a body.
 *
 * A head that is taken has no lone line end before its last byte, one answer to how long its body is, and is taken in
 * the same way whatever follows it; every shorter piece of it is incomplete.  Chunks give the same bytes in any pieces.
 * A body that is taken has events with a stream and a type, and payloads that are parts of the body.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/body.h"
#include "http/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

static void head(struct banyan_str data)
{
    static struct wire_head head, again;
    const char *fault = NULL;
    enum wire_result result = wire_request(data, &head, &fault);
    must(result == WIRE_OK || fault != NULL);
    if (result != WIRE_OK)
        return;
    must(head.size <= data.size && head.size <= WIRE_HEAD_BYTES_MAX);
    must(!(head.chunked && head.has_length) && wire_count(&head, "Content-Length") <= 1);
    must(head.size >= 4 && memcmp(data.data + head.size - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < head.size; i++)
        must(data.data[i] != '\0' && (data.data[i] != '\n' || (i > 0 && data.data[i - 1] == '\r')));
    must(wire_request((struct banyan_str){data.data, head.size}, &again, &fault) == WIRE_OK && again.size == head.size);
    must(wire_request((struct banyan_str){data.data, head.size - 1}, &again, &fault) == WIRE_MORE);
}

static bool unchunk(struct banyan_str data, size_t step, struct banyan_buf *ret)
{
    struct wire_chunks chunks = {.state = WIRE_CHUNK_SIZE};
    size_t at = 0, there = 0;
    while (chunks.state != WIRE_CHUNK_DONE) {
        size_t used;
        struct banyan_str body;
        enum wire_result result = wire_chunk(&chunks, (struct banyan_str){data.data + at, there - at}, &used, &body);
        if (result == WIRE_MORE && there < data.size) {
            there = data.size - there > step ? there + step : data.size;
            continue;
        }
        if (result != WIRE_OK)
            return false;
        must(used <= there - at);
        banyan_buf_add_str(ret, body);
        at += used;
    }
    return true;
}

static void chunked(struct banyan_str data)
{
    struct banyan_buf whole = BANYAN_BUF_INIT(1 << 22), pieces = BANYAN_BUF_INIT(1 << 22);
    must(unchunk(data, data.size + 1, &whole) == unchunk(data, 1, &pieces));
    must(banyan_str_equal(banyan_buf_str(&whole), banyan_buf_str(&pieces)));
    banyan_buf_release(&whole);
    banyan_buf_release(&pieces);
}

static void body(struct banyan_str data, bool of_stream, bool cloud)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct body_batch batch;
    struct body_defaults defaults = {.stream = of_stream ? BANYAN_STR("a-1") : (struct banyan_str){NULL, 0},
                                     .idempotency_key = BANYAN_STR("key"),
                                     .cloud = cloud};
    enum banyan_status st = of_stream ? body_events(data, &defaults, &arena, &batch, &err)
                                      : body_batch(data, &defaults, &arena, &batch, &err);
    must(st == BANYAN_OK || err.message[0] != '\0');
    for (size_t i = 0; st == BANYAN_OK && i < batch.event_count; i++)
        must(batch.events[i].stream.size > 0 && batch.events[i].type.size > 0 && batch.events[i].schema == 0);
    banyan_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct banyan_str rest = {(const char *)data + 1, size - 1};
    switch (data[0] % 6) {
    case 0:
        head(rest);
        break;
    case 1:
        chunked(rest);
        break;
    default:
        body(rest, (data[0] & 1) != 0, data[0] % 6 >= 4);
        break;
    }
    return 0;
}
