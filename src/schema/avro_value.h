/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking over values in binary: what avro_check(), avro_resolve() and avro_to_json() share.
 *
 * Invariants:
 * 1. No byte outside the input is read, whatever the bytes are.  Depth is bounded, and so is work: a value may take no
 *    byte at all (null, a record of nulls, a record of such records …), so each value counts as a step, and there are
 *    only so many steps for so many bytes.  So it is with the reader's defaults, which such values may ask for again
 * and again: what they add to the result has a limit that follows from the size of the input.
 * 2. Nothing is allocated for a value.  Only maps of many keys and records whose fields change places use spans, which
 *    grow to the most that was needed.
 * 3. On failure each level puts its part in front of the path, so that a walk that succeeds pays nothing for it.
 */
#ifndef SCHEMA_AVRO_VALUE_H
#define SCHEMA_AVRO_VALUE_H

#include "banyan/buf.h"
#include "banyan/error.h"
#include "schema/avro_int.h"
#include "schema/wire.h"

enum {
    AVRO_VALUE_DEPTH_MAX = 128,               /* values within values */
    AVRO_VALUE_STEPS_MIN = 64 * 1024,         /* values in one call, whatever its size */
    AVRO_VALUE_STEPS_A_BYTE = 256,            /* and more of them for each byte */
    AVRO_DEFAULT_BYTES_MIN = 4 * 1024 * 1024, /* of defaults in one result, whatever the value's size */
    AVRO_DEFAULT_BYTES_A_BYTE = 256,          /* and more of them for each byte of it */
    AVRO_DEFAULT_STEPS_A_BYTE = 4,            /* values that a default may have beside those of its input */
    AVRO_PATH_MAX = 256,
};

/* ---- places in a text or in bytes: keys of a map, fields of a record ---- */

struct avro_span {
    size_t at, size;
};

struct avro_spans {
    struct avro_span *list; /* a stack; owned */
    size_t count, capacity;
};

void avro_spans_release(struct avro_spans *spans);
/* *count* more on top, their content undefined; false when there is no memory. */
bool avro_spans_push(struct avro_spans *spans, size_t count);
/* Do two of the spans from *first* on hold the same bytes of *data*?  Changes their order. */
bool avro_spans_repeat(struct avro_spans *spans, size_t first, const char *data);

/* ---- where a walk failed ---- */

struct avro_fault {
    enum banyan_status status; /* OK: nothing failed */
    const char *reason;        /* static text */
    size_t path_size;          /* of the end of *path* that is used */
    char path[AVRO_PATH_MAX];
};

/* The first fault counts.  Returns false. */
bool avro_fault_set(struct avro_fault *fault, enum banyan_status status, const char *reason);
/* Put a part in front of the path; both return false. */
bool avro_fault_in_field(struct avro_fault *fault, struct banyan_str name);
bool avro_fault_in_item(struct avro_fault *fault, uint64_t index);
bool avro_fault_in_key(struct avro_fault *fault, struct banyan_str key);
/* "items[3].price", or "the value" where it failed at the top. */
struct banyan_str avro_fault_path(const struct avro_fault *fault);

/* ---- output ---- */

/* The free end of a buffer, so that small writes need no call. */
struct avro_out {
    struct banyan_buf *buf;
    char *at, *end;
};

void avro_out_open(struct avro_out *out, struct banyan_buf *buf);
/* Give the buffer its size; cut it back to *size* when that is not SIZE_MAX. */
void avro_out_close(struct avro_out *out, size_t size);
/* Room for *size* more bytes; false when they do not fit. */
bool avro_out_grow(struct avro_out *out, size_t size);

static inline size_t avro_out_size(const struct avro_out *out)
{
    return out->at == NULL ? 0 : (size_t)(out->at - out->buf->data);
}

static inline bool avro_out_add(struct avro_out *out, const void *data, size_t size)
{
    if (size > (size_t)(out->end - out->at) && !avro_out_grow(out, size))
        return false;
    if (size > 0) {
        memcpy(out->at, data, size);
        out->at += size;
    }
    return true;
}

static inline bool avro_out_str(struct avro_out *out, struct banyan_str text)
{
    return avro_out_add(out, text.data, text.size);
}

static inline bool avro_out_char(struct avro_out *out, char c)
{
    if (out->at == out->end && !avro_out_grow(out, 1))
        return false;
    *out->at++ = c;
    return true;
}

static inline bool avro_out_long(struct avro_out *out, int64_t value)
{
    unsigned char bytes[WIRE_LONG_BYTES_MAX];
    if (out->end - out->at >= WIRE_LONG_BYTES_MAX) {
        out->at = (char *)wire_put_long((unsigned char *)out->at, value);
        return true;
    }
    return avro_out_add(out, bytes, (size_t)(wire_put_long(bytes, value) - bytes));
}

/* Replace the *size* bytes at *at*, all of them before the end, by a long; what follows moves. */
bool avro_out_patch_long(struct avro_out *out, struct avro_span place, int64_t value);

/* ---- the walk ---- */

struct avro_walk {
    struct wire_input in;
    struct banyan_str input;
    uint64_t steps_left;
    uint64_t defaults_left; /* bytes */
    bool strict;            /* what is not in its one form is corrupt */
    struct avro_spans spans;
    struct avro_fault fault;
};

void avro_walk_open(struct avro_walk *walk, struct banyan_str input);
void avro_walk_release(struct avro_walk *walk);
/* Fill *err* from the fault. */
enum banyan_status avro_walk_error(const struct avro_walk *walk, struct banyan_error *err);

/* What a reader of primitives said: NULL is fine, if the form is, too, where that counts. */
static inline bool avro_accept(struct avro_walk *walk, const char *fault)
{
    if (fault == NULL && walk->strict)
        fault = walk->in.irregular;
    return fault == NULL || avro_fault_set(&walk->fault, BANYAN_CORRUPT, fault);
}

static inline bool avro_walk_overflow(struct avro_walk *walk)
{
    return avro_fault_set(&walk->fault, BANYAN_LIMIT, "the result does not fit the buffer");
}

/* One more value, *depth* levels from the deepest that is allowed. */
static inline bool avro_enter(struct avro_walk *walk, unsigned depth)
{
    if (depth == 0)
        return avro_fault_set(&walk->fault, BANYAN_LIMIT, "the value is nested too deep");
    if (walk->steps_left-- == 0)
        return avro_fault_set(&walk->fault, BANYAN_LIMIT, "there are too many values that take no bytes");
    return true;
}

/* A default added *size* bytes to the result; one that adds none counts, too. */
static inline bool avro_charge_default(struct avro_walk *walk, size_t size)
{
    if (size >= walk->defaults_left)
        return avro_fault_set(&walk->fault, BANYAN_LIMIT,
                              "the reader's defaults take more than 4 MiB and 256 times the value's size");
    walk->defaults_left -= size + 1;
    return true;
}

/* Step over one value of *type*, checking it; *depth* levels are allowed.  Spellings that are legal but not the one
 * form are noted in walk->in.irregular. */
bool avro_step_over(struct avro_walk *walk, const struct avro_type *type, unsigned depth);

/* Read the branch of a union of *count*. */
bool avro_read_branch(struct avro_walk *walk, size_t count, size_t *ret);

/* ---- blocks of an array or a map ---- */

struct avro_blocks {
    uint64_t left;                  /* items of this block that are still to come */
    uint64_t index;                 /* of the next item */
    bool several;                   /* there was more than one block */
    const unsigned char *block_end; /* where the block says that it ends; NULL: it does not say */
    size_t keys;                    /* MAP: spans from here on are its keys */
};

void avro_blocks_open(struct avro_walk *walk, struct avro_blocks *blocks);
/* Is there one more item?  False at the end, and on failure (look at walk->fault.status). */
bool avro_blocks_more(struct avro_walk *walk, struct avro_blocks *blocks);
/* Read the key of a map's entry. */
bool avro_blocks_key(struct avro_walk *walk, struct avro_blocks *blocks, struct banyan_str *ret_key);
/* After the last item; also looks for repeated keys where keys were read. */
bool avro_blocks_close(struct avro_walk *walk, struct avro_blocks *blocks);

/* ---- records whose fields change places ---- */

struct avro_step;

/* Room for the places of *count* fields; *ret* is the first.  Close in the opposite order of opening. */
bool avro_marks_open(struct avro_walk *walk, uint32_t count, size_t *ret);
/* Do a step of a plan that only moves in the input: SKIP, MARK, GO. */
bool avro_marks_step(struct avro_walk *walk, const struct avro_step *step, size_t marks, unsigned depth);
static inline void avro_marks_close(struct avro_walk *walk, uint32_t count)
{
    walk->spans.count -= count;
}

/* ---- scalars ---- */

/* A value of a kind that contains no other. */
struct avro_scalar {
    union {
        int64_t integer; /* BOOLEAN INT LONG ENUM */
        float single;
        double number;
    };
    struct banyan_str bytes; /* BYTES STRING FIXED; borrowed from the input */
    __int128 units;          /* DECIMAL; when bytes.size is 0, it is not a number */
};

/* Read and check a value of *type*: no record, array, map or union. */
bool avro_read_scalar(struct avro_walk *walk, const struct avro_type *type, struct avro_scalar *ret);
/* Make a value of *writer* one of *reader* (other kind, other meaning).  CONFLICT when it does not fit. */
bool avro_convert_scalar(struct avro_walk *walk, const struct avro_type *writer, const struct avro_type *reader,
                         struct avro_scalar *value);
/* Write it in its one form; false when it does not fit the buffer. */
bool avro_put_scalar(struct avro_out *out, const struct avro_type *type, const struct avro_scalar *value);
/* What is wrong with an integer or text as a value of *type*'s logical type; NULL: nothing. */
const char *avro_scalar_fault(const struct avro_type *type, const struct avro_scalar *value);

#endif
