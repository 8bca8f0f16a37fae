/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a record of the log holds: an event, its place in its stream, and the links that find earlier events of it.
 *
 * Each event names the position of the one before it.  Every STORE_JUMP_STEP-th event also names the position of an
 * earlier such event (store_jump_target), so that any version is found with few reads, without a second index on disk.
 * docs/FORMATS.md has the bytes.
 */
#ifndef STORE_ENVELOPE_H
#define STORE_ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "store/store.h"

enum {
    STORE_JUMP_STEP = 16,
};

struct envelope {
    struct store_event event; /* texts borrowed */
    uint64_t version;
    uint64_t prev; /* position of version - 1; 0: none */
    uint64_t jump; /* position of version store_jump_target(); 0: none */
    struct store_cursor cursor;
};

/* Replace the content of *buf* by the record of *envelope* at *position*. */
void envelope_encode(struct banyan_buf *buf, const struct envelope *envelope, uint64_t position);
/* Add a cursor to a record that has none. */
void envelope_add_cursor(struct banyan_buf *buf, const struct store_cursor *cursor);
/* False when the record is no envelope.  Texts are borrowed from *record*. */
bool envelope_decode(struct banyan_str record, uint64_t position, struct envelope *ret);

/* The version that a jump from *version* leads to; 0: none. */
uint64_t store_jump_target(uint64_t version);

#endif
