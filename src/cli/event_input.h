/* SPDX-License-Identifier: Apache-2.0 */
/* Events from a file or standard input, NDJSON or Avro: what it is, its first bytes say. */
#ifndef CLI_EVENT_INPUT_H
#define CLI_EVENT_INPUT_H

#include "banyan/arena.h"
#include "store/store.h"

struct event_input;

/* *path* NULL or "-": standard input. */
BANYAN_MUST_CHECK enum banyan_status event_input_open(const char *path, struct event_input **ret,
                                                      struct banyan_error *err);
void event_input_close(struct event_input *input); /* NULL allowed */
/* The next event, its texts in *arena*.  NOT_FOUND at the end (no error text); errors name the line. */
BANYAN_MUST_CHECK enum banyan_status event_input_next(struct event_input *input, struct banyan_arena *arena,
                                                      struct store_read_event *ret, struct banyan_error *err);
/* Bytes taken so far, and of the whole input (0: not known). */
uint64_t event_input_done(const struct event_input *input);
uint64_t event_input_size(const struct event_input *input);

#endif
