/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as lines of JSON (NDJSON): all that a store knows of them, for people and any program, and back without loss.
 * docs/FORMATS.md has the members.
 *
 * A payload that is JSON without line breaks stands as it is, byte for byte; any other one as base64.
 *
 * Thread-safe.
 */
#ifndef STORE_EVENT_LINE_H
#define STORE_EVENT_LINE_H

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "store/store.h"

/* Append one line, its line break included. */
void event_line_write(const struct store_read_event *event, struct banyan_buf *ret);
/* Read one line; texts point into it or into *arena*.  INVALID names the column and what is wrong. */
BANYAN_MUST_CHECK enum banyan_status event_line_read(struct banyan_str line, struct banyan_arena *arena,
                                                     struct store_read_event *ret, struct banyan_error *err);

#endif
