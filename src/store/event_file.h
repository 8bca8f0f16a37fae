/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events in an Avro object container file: all that a store knows of them, for any program that reads Avro, and back
 * without loss.  docs/FORMATS.md has the schema.
 *
 * Threads: one at a time.
 */
#ifndef STORE_EVENT_FILE_H
#define STORE_EVENT_FILE_H

#include "schema/avro_file.h"
#include "store/store.h"

/* ---- write ---- */

struct event_file_writer {
    struct avro_file_writer file;
    struct banyan_buf values; /* of the block that grows */
    uint64_t count;           /* events in it */
};

/* Add the head of a file to *out*.  End with event_file_writer_end(). */
void event_file_writer_begin(struct event_file_writer *writer, enum avro_codec codec, struct banyan_buf *out);
/* Add one event; a full block goes to *out*. */
BANYAN_MUST_CHECK enum banyan_status event_file_writer_add(struct event_file_writer *writer,
                                                           const struct store_read_event *event, struct banyan_buf *out,
                                                           struct banyan_error *err);
/* The last block goes to *out*. */
BANYAN_MUST_CHECK enum banyan_status event_file_writer_finish(struct event_file_writer *writer, struct banyan_buf *out,
                                                              struct banyan_error *err);
void event_file_writer_end(struct event_file_writer *writer);

/* ---- read ---- */

struct event_file_reader;

/* INVALID when the file's values are no events of Banyan's. */
BANYAN_MUST_CHECK enum banyan_status event_file_reader_open(avro_file_source source, void *context,
                                                            struct event_file_reader **ret, struct banyan_error *err);
void event_file_reader_close(struct event_file_reader *reader); /* NULL allowed */
/* The next event, borrowed until the next call.  NOT_FOUND at the end (no error text); CORRUPT. */
BANYAN_MUST_CHECK enum banyan_status event_file_reader_next(struct event_file_reader *reader,
                                                            struct store_read_event *ret, struct banyan_error *err);

#endif
