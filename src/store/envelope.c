/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of the log, written and read.
 *
 * Jumps: number the events of a stream whose version is a multiple of STORE_JUMP_STEP 1, 2, 3, …  Node k jumps over a
 * whole tree of the skew-binary decomposition of k, so that any node is reached in O(log k) steps with one link each
 * (Myers, "An applicative random-access stack", 1983).
 */
#include "store/envelope.h"

#include <string.h>

#include "log/varint.h"

enum flag {
    FLAG_META = 1 << 0,
    FLAG_CURSOR = 1 << 1,
    FLAG_JUMP = 1 << 2,
    FLAG_PROVENANCE_SHIFT = 3, /* two bits */
    FLAGS_KNOWN = 0x1f,
};

/* Bytes of an envelope besides its texts, at most. */
enum {
    FIXED_BYTES_MAX = 1 + 16 + 8 + 8 * VARINT_BYTES_MAX,
};

uint64_t store_jump_target(uint64_t version)
{
    uint64_t node = version / STORE_JUMP_STEP, rest = node, tree;

    if (version % STORE_JUMP_STEP != 0 || version == 0)
        return 0;
    for (;;) {
        /* The largest 2^i - 1 that is not above rest. */
        tree = (UINT64_MAX >> __builtin_clzll(rest + 1)) >> 1;
        if (tree == rest)
            return (node - tree) * STORE_JUMP_STEP;
        rest -= tree;
    }
}

static char *put_str(char *out, struct banyan_str text)
{
    out += varint_put(out, text.size);
    if (text.size > 0)
        memcpy(out, text.data, text.size);
    return out + text.size;
}

void envelope_encode(struct banyan_buf *buf, const struct envelope *envelope, uint64_t position)
{
    const struct store_event *event = &envelope->event;
    size_t size_max = FIXED_BYTES_MAX + event->stream.size + event->type.size + event->meta.size + event->payload.size;
    unsigned flags = (unsigned)event->provenance << FLAG_PROVENANCE_SHIFT;
    char *begin, *out;

    banyan_buf_reset(buf);
    begin = out = banyan_buf_extend(buf, size_max);
    if (begin == NULL) /* limits are checked before; the buffer remembers */
        return;
    flags |= event->meta.size > 0 ? FLAG_META : 0;
    flags |= envelope->jump != 0 ? FLAG_JUMP : 0;
    *out++ = (char)flags;
    memcpy(out, event->id.bytes, sizeof(event->id.bytes));
    out += sizeof(event->id.bytes);
    memcpy(out, &event->at.us, sizeof(event->at.us));
    out += sizeof(event->at.us);
    out += varint_put(out, envelope->version);
    if (envelope->version > 1)
        out += varint_put(out, position - envelope->prev);
    if (envelope->jump != 0)
        out += varint_put(out, position - envelope->jump);
    out += varint_put(out, event->schema);
    out = put_str(out, event->stream);
    out = put_str(out, event->type);
    if (event->meta.size > 0)
        out = put_str(out, event->meta);
    out = put_str(out, event->payload);
    buf->size = (size_t)(out - begin);
    if (envelope->cursor.name.size > 0)
        envelope_add_cursor(buf, &envelope->cursor);
}

void envelope_add_cursor(struct banyan_buf *buf, const struct store_cursor *cursor)
{
    char length[VARINT_BYTES_MAX];

    buf->data[0] |= FLAG_CURSOR;
    banyan_buf_add(buf, length, varint_put(length, cursor->name.size));
    banyan_buf_add(buf, cursor->name.data, cursor->name.size);
    banyan_buf_add(buf, length, varint_put(length, cursor->value.size));
    banyan_buf_add(buf, cursor->value.data, cursor->value.size);
}

/* What is left of a record. */
struct input {
    const char *next, *end;
    bool bad;
};

/* Inlined, so that where we are stays in a register: each event of a rebuild is read here. */
static inline __attribute__((always_inline)) uint64_t get_number(struct input *input)
{
    uint64_t value = 0;
    size_t used = varint_get(input->next, input->end, &value);

    input->bad |= used == 0;
    input->next += used;
    return value;
}

static inline __attribute__((always_inline)) const char *get_bytes(struct input *input, uint64_t size)
{
    const char *data = input->next;

    if (input->bad || size > (uint64_t)(input->end - input->next)) {
        input->bad = true;
        return data;
    }
    input->next += size;
    return data;
}

static inline __attribute__((always_inline)) struct banyan_str get_str(struct input *input)
{
    uint64_t size = get_number(input);
    const char *data = get_bytes(input, size);

    return (struct banyan_str){data, input->bad ? 0 : (size_t)size};
}

bool envelope_decode(struct banyan_str record, uint64_t position, struct envelope *ret)
{
    struct input input = {record.data, record.data + record.size, record.size < 25};
    struct store_event *event = &ret->event;
    unsigned flags;

    if (input.bad)
        return false;
    flags = (unsigned char)*get_bytes(&input, 1);
    memcpy(event->id.bytes, get_bytes(&input, 16), 16);
    memcpy(&event->at.us, get_bytes(&input, 8), 8);
    ret->version = get_number(&input);
    ret->prev = ret->version > 1 ? position - get_number(&input) : 0;
    ret->jump = (flags & FLAG_JUMP) != 0 ? position - get_number(&input) : 0;
    event->schema = (uint16_t)get_number(&input);
    event->provenance = (enum banyan_provenance)(flags >> FLAG_PROVENANCE_SHIFT & 3);
    event->stream = get_str(&input);
    event->type = get_str(&input);
    event->meta = (flags & FLAG_META) != 0 ? get_str(&input) : (struct banyan_str){"", 0};
    event->payload = get_str(&input);
    ret->cursor = (struct store_cursor){.name = {NULL, 0}};
    if ((flags & FLAG_CURSOR) != 0) {
        ret->cursor.name = get_str(&input);
        ret->cursor.value = get_str(&input);
    }
    return !input.bad && input.next == input.end && (flags & ~(unsigned)FLAGS_KNOWN) == 0 && ret->version > 0 &&
           ret->prev < position && ret->jump < position;
}
