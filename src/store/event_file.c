/* SPDX-License-Identifier: Apache-2.0 */
/* See event_file.h.  What a file holds is checked as input: the store checks the event once more when it is appended.
 */
#include "store/event_file.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "os/random.h"
#include "schema/avro.h"
#include "schema/wire.h"

enum {
    BLOCK_BYTES = 1024 * 1024,
    EVENT_OVERHEAD_BYTES = 256, /* all fields but the texts */
};

static const char schema_text[] =
    "{\"type\":\"record\",\"name\":\"Event\",\"namespace\":\"banyan\",\"fields\":["
    "{\"name\":\"position\",\"type\":\"long\"},"
    "{\"name\":\"stream\",\"type\":\"string\"},"
    "{\"name\":\"version\",\"type\":\"long\"},"
    "{\"name\":\"type\",\"type\":\"string\"},"
    "{\"name\":\"schema\",\"type\":\"int\"},"
    "{\"name\":\"id\",\"type\":{\"type\":\"fixed\",\"name\":\"EventId\",\"size\":16}},"
    "{\"name\":\"provenance\",\"type\":{\"type\":\"enum\",\"name\":\"Provenance\","
    "\"symbols\":[\"none\",\"exact\",\"inferred\",\"reconciled\"]}},"
    "{\"name\":\"at\",\"type\":[\"null\",{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}]},"
    "{\"name\":\"recorded_at\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}},"
    "{\"name\":\"payload\",\"type\":\"bytes\"},"
    "{\"name\":\"meta\",\"type\":[\"null\",\"string\"]},"
    "{\"name\":\"cursor\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Cursor\",\"fields\":["
    "{\"name\":\"name\",\"type\":\"string\"},{\"name\":\"value\",\"type\":\"bytes\"}]}]},"
    "{\"name\":\"ends_batch\",\"type\":\"boolean\"}]}";

/* ---- write ---- */

void event_file_writer_begin(struct event_file_writer *writer, enum avro_codec codec, struct banyan_buf *out)
{
    uint8_t sync[AVRO_FILE_SYNC_BYTES];

    os_random_bytes(sync, sizeof(sync));
    writer->values = (struct banyan_buf)BANYAN_BUF_INIT(AVRO_FILE_BLOCK_BYTES_MAX);
    writer->count = 0;
    avro_file_writer_begin(&writer->file, codec, sync, banyan_str_of(schema_text), NULL, 0, out);
}

static unsigned char *put_bytes(unsigned char *to, struct banyan_str bytes)
{
    to = wire_put_long(to, (int64_t)bytes.size);
    if (bytes.size > 0)
        memcpy(to, bytes.data, bytes.size);
    return to + bytes.size;
}

static unsigned char *put_event(unsigned char *to, const struct store_read_event *read)
{
    const struct store_event *event = &read->event;

    to = wire_put_long(to, (int64_t)read->position.value);
    to = put_bytes(to, event->stream);
    to = wire_put_long(to, (int64_t)read->version.value);
    to = put_bytes(to, event->type);
    to = wire_put_long(to, event->schema);
    memcpy(to, event->id.bytes, sizeof(event->id.bytes));
    to += sizeof(event->id.bytes);
    to = wire_put_long(to, (int64_t)event->provenance);
    to = wire_put_long(to, event->at.us != BANYAN_TIME_NULL);
    if (event->at.us != BANYAN_TIME_NULL)
        to = wire_put_long(to, event->at.us);
    to = wire_put_long(to, read->recorded_at.us);
    to = put_bytes(to, event->payload);
    to = wire_put_long(to, event->meta.size > 0);
    if (event->meta.size > 0)
        to = put_bytes(to, event->meta);
    to = wire_put_long(to, read->cursor.name.size > 0);
    if (read->cursor.name.size > 0) {
        to = put_bytes(to, read->cursor.name);
        to = put_bytes(to, read->cursor.value);
    }
    *to++ = read->ends_batch;
    return to;
}

enum banyan_status event_file_writer_finish(struct event_file_writer *writer, struct banyan_buf *out,
                                            struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    if (writer->count > 0)
        status = avro_file_writer_block(&writer->file, writer->count, banyan_buf_str(&writer->values), out, err);
    banyan_buf_reset(&writer->values);
    writer->count = 0;
    return status;
}

enum banyan_status event_file_writer_add(struct event_file_writer *writer, const struct store_read_event *event,
                                         struct banyan_buf *out, struct banyan_error *err)
{
    size_t size_max = EVENT_OVERHEAD_BYTES + event->event.stream.size + event->event.type.size +
                      event->event.payload.size + event->event.meta.size + event->cursor.name.size +
                      event->cursor.value.size;
    size_t before = writer->values.size;
    unsigned char *to = (unsigned char *)banyan_buf_extend(&writer->values, size_max);

    if (to == NULL)
        return banyan_error_set(err, BANYAN_LIMIT, "position %" PRIu64 " does not fit a block", event->position.value);
    writer->values.size = before + (size_t)(put_event(to, event) - to);
    writer->count++;
    return writer->values.size < BLOCK_BYTES ? BANYAN_OK : event_file_writer_finish(writer, out, err);
}

void event_file_writer_end(struct event_file_writer *writer)
{
    avro_file_writer_end(&writer->file);
    banyan_buf_release(&writer->values);
}

/* ---- read ---- */

struct event_file_reader {
    struct avro_file_reader *file;
    struct wire_input in; /* the rest of the block */
    uint64_t left;        /* events in it */
    uint64_t read;        /* events so far, for messages */
};

/* Is the schema *text* ours, but for what does not change the bytes? */
static enum banyan_status check_schema(struct banyan_str text, struct banyan_error *err)
{
    struct banyan_buf ours = BANYAN_BUF_INIT(64 * 1024), theirs = BANYAN_BUF_INIT(AVRO_FILE_METADATA_BYTES_MAX);
    struct avro_schema *our_schema = NULL, *their_schema = NULL;
    enum banyan_status status = avro_parse(banyan_str_of(schema_text), &our_schema, err);

    if (status == BANYAN_OK)
        status = avro_parse(text, &their_schema, err);
    if (status == BANYAN_OK) {
        avro_canonical(our_schema, &ours);
        avro_canonical(their_schema, &theirs);
        if (!banyan_str_equal(banyan_buf_str(&ours), banyan_buf_str(&theirs))) {
            status = banyan_error_set(err, BANYAN_INVALID, "the values of the Avro file are no events of banyan");
            banyan_error_hint(err, "`banyan store export` writes such files; other data comes in as NDJSON");
        }
    }
    avro_schema_free(our_schema);
    avro_schema_free(their_schema);
    banyan_buf_release(&ours);
    banyan_buf_release(&theirs);
    return status;
}

enum banyan_status event_file_reader_open(avro_file_source source, void *context, struct event_file_reader **ret,
                                          struct banyan_error *err)
{
    struct event_file_reader *reader = alloc_zeroed(1, sizeof(*reader));
    enum banyan_status status = avro_file_reader_open(source, context, &reader->file, err);

    if (status == BANYAN_OK)
        status = check_schema(avro_file_reader_schema(reader->file), err);
    if (status != BANYAN_OK) {
        event_file_reader_close(reader);
        return status;
    }
    *ret = reader;
    return BANYAN_OK;
}

void event_file_reader_close(struct event_file_reader *reader)
{
    if (reader == NULL)
        return;
    avro_file_reader_close(reader->file);
    free(reader);
}

/* A number from 0 to *max*. */
static const char *get_number(struct wire_input *in, int64_t max, uint64_t *ret)
{
    int64_t value = 0;
    const char *fault = wire_get_long(in, &value);

    if (fault == NULL && (value < 0 || value > max))
        fault = "a number is out of range";
    *ret = (uint64_t)value;
    return fault;
}

/* Is there a value behind the branch of a union with null? */
static const char *get_present(struct wire_input *in, bool *ret)
{
    uint64_t branch = 0;
    const char *fault = get_number(in, 1, &branch);

    *ret = fault == NULL && branch == 1;
    return fault;
}

static const char *get_head(struct wire_input *in, struct store_read_event *ret)
{
    struct store_event *event = &ret->event;
    struct banyan_str id;
    uint64_t schema = 0, provenance = 0;
    const char *fault = get_number(in, INT64_MAX, &ret->position.value);

    if (fault == NULL)
        fault = wire_get_bytes(in, &event->stream);
    if (fault == NULL)
        fault = get_number(in, INT64_MAX, &ret->version.value);
    if (fault == NULL)
        fault = wire_get_bytes(in, &event->type);
    if (fault == NULL)
        fault = get_number(in, UINT16_MAX, &schema);
    if (fault == NULL)
        fault = wire_get_raw(in, sizeof(event->id.bytes), &id);
    if (fault != NULL)
        return fault;
    memcpy(event->id.bytes, id.data, sizeof(event->id.bytes));
    fault = get_number(in, BANYAN_RECONCILED, &provenance);
    event->schema = (uint16_t)schema;
    event->provenance = (enum banyan_provenance)provenance;
    return fault;
}

static const char *get_rest(struct wire_input *in, struct store_read_event *ret)
{
    struct store_event *event = &ret->event;
    bool present = false;
    const char *fault = get_present(in, &present);

    event->at.us = BANYAN_TIME_NULL;
    if (fault == NULL && present)
        fault = wire_get_long(in, &event->at.us);
    if (fault == NULL)
        fault = wire_get_long(in, &ret->recorded_at.us);
    if (fault == NULL)
        fault = wire_get_bytes(in, &event->payload);
    if (fault == NULL)
        fault = get_present(in, &present);
    if (fault == NULL && present)
        fault = wire_get_bytes(in, &event->meta);
    if (fault == NULL)
        fault = get_present(in, &present);
    if (fault == NULL && present)
        fault = wire_get_bytes(in, &ret->cursor.name);
    if (fault == NULL && present)
        fault = wire_get_bytes(in, &ret->cursor.value);
    return fault == NULL ? wire_get_boolean(in, &ret->ends_batch) : fault;
}

/* A block that has events. */
static enum banyan_status next_block(struct event_file_reader *reader, struct banyan_error *err)
{
    struct banyan_str values;
    enum banyan_status status;

    if (reader->in.at != reader->in.end)
        return banyan_error_set(err, BANYAN_CORRUPT, "bytes follow event %" PRIu64 " of the file in its block",
                                reader->read);
    do {
        status = avro_file_reader_next(reader->file, &reader->left, &values, err);
        if (status != BANYAN_OK)
            return status;
        reader->in = (struct wire_input){
            .at = (const unsigned char *)values.data,
            .end = (const unsigned char *)values.data + values.size,
        };
    } while (reader->left == 0);
    return BANYAN_OK;
}

enum banyan_status event_file_reader_next(struct event_file_reader *reader, struct store_read_event *ret,
                                          struct banyan_error *err)
{
    enum banyan_status status = reader->left > 0 ? BANYAN_OK : next_block(reader, err);
    const char *fault;

    if (status != BANYAN_OK)
        return status;
    *ret = (struct store_read_event){.position = {0}};
    fault = get_head(&reader->in, ret);
    if (fault == NULL)
        fault = get_rest(&reader->in, ret);
    if (fault != NULL)
        return banyan_error_set(err, BANYAN_CORRUPT, "event %" PRIu64 " of the file: %s", reader->read + 1, fault);
    reader->read++;
    reader->left--;
    return BANYAN_OK;
}
