/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COPY … TO STDOUT in the binary format, row by row.
 *
 * Layout: signature (11 bytes), flags, length of an extension, the extension; then rows, each a number of columns and
 * that many cells (length, or -1 for NULL, and bytes); then -1 in place of a number of columns.  The server puts each
 * row into one message, the header in front of the first; here a message may hold any number of whole rows.
 */
#include "pg/copy.h"
#include "pg/pg_int.h"

enum {
    SIGNATURE_SIZE = 11,
    HEADER_SIZE = SIGNATURE_SIZE + 8,
};
static const char signature[SIGNATURE_SIZE] = "PGCOPY\n\377\r\n"; /* and the NUL */

static enum banyan_status malformed(const struct pg_copy_out *copy, const char *what, struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_PROTOCOL, "COPY from %s, row %llu: %s", pg_describe(copy->conn),
                            (unsigned long long)copy->rows + 1, what);
}

enum banyan_status pg_copy_out_begin(struct pg_copy_out *copy, struct pg_conn *conn, const char *select,
                                     const struct banyan_record *record, const uint32_t *oids, struct banyan_error *err)
{
    const struct pg_copy_start start = {"COPY (", select, ") TO STDOUT (FORMAT binary)", PGRES_COPY_OUT, record};
    enum banyan_status st;
    bool started;

    *copy = (struct pg_copy_out){.conn = conn, .record = record, .oids = oids};
    st = pg_copy_start(conn, &start, &started, err);
    copy->done = !started;
    if (st != BANYAN_OK)
        pg_copy_out_end(copy);
    return st;
}

/* The server has sent everything, or failed. */
static enum banyan_status finish(struct pg_copy_out *copy, struct banyan_error *err)
{
    enum banyan_status st = pg_finish(copy->conn, PG_CONTEXT_STATEMENT, NULL, err);

    copy->done = true;
    return st == BANYAN_OK ? BANYAN_NOT_FOUND : st;
}

/* The next message; NOT_FOUND at the end. */
static enum banyan_status next_message(struct pg_copy_out *copy, struct banyan_error *err)
{
    struct pg_conn *conn = copy->conn;

    PQfreemem(copy->message);
    copy->message = NULL;
    copy->message_size = copy->message_at = 0;
    for (;;) {
        int size = PQgetCopyData(conn->pq, &copy->message, 1);

        if (size > 0) {
            copy->message_size = (size_t)size;
            copy->bytes += (size_t)size;
            return BANYAN_OK;
        }
        if (size == -1)
            return finish(copy, err);
        if (size < -1) {
            enum banyan_status st = finish(copy, err); /* the result says why */

            return st == BANYAN_NOT_FOUND ? pg_link_error(conn, err) : st;
        }
        if (pg_wait(conn, POLLIN, 0, conn->stop) == PG_WAKE_STOPPED)
            return banyan_error_set(err, BANYAN_STOPPED, "stopped while reading from %s", conn->description);
        if (PQconsumeInput(conn->pq) == 0)
            return pg_link_error(conn, err);
    }
}

static enum banyan_status read_header(struct pg_copy_out *copy, struct banyan_error *err)
{
    uint32_t extension;

    if (copy->message_size < HEADER_SIZE || memcmp(copy->message, signature, SIGNATURE_SIZE) != 0)
        return malformed(copy, "the header is not that of the binary format", err);
    extension = pg_get_u32(copy->message + SIGNATURE_SIZE + 4);
    if (extension > copy->message_size - HEADER_SIZE)
        return malformed(copy, "the header is cut off", err);
    copy->message_at = HEADER_SIZE + extension;
    copy->header_seen = true;
    return BANYAN_OK;
}

/* The cells of one row, from message_at on. */
static enum banyan_status read_cells(struct pg_copy_out *copy, struct banyan_arena *arena, void *row,
                                     struct banyan_error *err)
{
    const char *at = copy->message + copy->message_at, *end = copy->message + copy->message_size;
    const struct banyan_field *fields = copy->record->fields;

    for (size_t i = 0; i < copy->record->field_count; i++) {
        struct banyan_arena *into = arena == NULL && copy->oids[i] == PG_TYPE_UUID ? &copy->scratch : arena;
        struct banyan_str cell = {NULL, 0};
        enum banyan_status st;
        uint32_t size;

        if (end - at < 4)
            return malformed(copy, "it is cut off", err);
        size = pg_get_u32(at);
        at += 4;
        if (size != UINT32_MAX) {
            if (size > (size_t)(end - at))
                return malformed(copy, "a value is cut off", err);
            cell = (struct banyan_str){at, size};
            at += size;
        }
        st = pg_cell_decode(&fields[i], copy->oids[i], cell, into, row, err);
        if (st != BANYAN_OK) {
            banyan_error_context(err, "%s, row %llu", copy->record->name, (unsigned long long)copy->rows + 1);
            return st;
        }
    }
    copy->message_at = (size_t)(at - copy->message);
    copy->rows++;
    return BANYAN_OK;
}

enum banyan_status pg_copy_out_row(struct pg_copy_out *copy, struct banyan_arena *arena, void *ret_row,
                                   struct banyan_error *err)
{
    enum banyan_status st;
    uint16_t columns;

    if (copy->done)
        return BANYAN_NOT_FOUND;
    if (copy->scratch.bytes > 0)
        banyan_arena_reset(&copy->scratch);
    for (;;) {
        while (copy->message_at == copy->message_size) {
            st = next_message(copy, err);
            if (st == BANYAN_OK && !copy->header_seen)
                st = read_header(copy, err);
            if (st != BANYAN_OK)
                return st;
        }
        if (copy->message_size - copy->message_at < 2)
            return malformed(copy, "it is cut off", err);
        columns = pg_get_u16(copy->message + copy->message_at);
        copy->message_at += 2;
        if (columns != UINT16_MAX)
            break;
        copy->message_at = copy->message_size; /* the trailer: nothing but the end follows */
    }
    if (columns != copy->record->field_count)
        return malformed(copy, "it has another number of columns", err);
    return read_cells(copy, arena, ret_row, err);
}

void pg_copy_out_end(struct pg_copy_out *copy)
{
    struct pg_conn *conn = copy->conn;
    struct banyan_error ignored = BANYAN_ERROR_INIT;

    PQfreemem(copy->message);
    copy->message = NULL;
    copy->message_size = copy->message_at = 0;
    if (!copy->done) {
        int64_t limit_us = pg_now_us() + PG_CANCEL_WAIT_US;

        /* What is under way has to be read before the connection is free again. */
        pg_cancel(conn);
        conn->cancel_cause = BANYAN_STOPPED;
        for (;;) {
            char *message = NULL;
            int size = PQgetCopyData(conn->pq, &message, 1);

            PQfreemem(message);
            if (size < 0)
                break;
            if (size == 0 &&
                (pg_wait(conn, POLLIN, limit_us, NULL) != PG_WAKE_READY || PQconsumeInput(conn->pq) == 0)) {
                conn->broken = true;
                break;
            }
        }
        if (!conn->broken && pg_finish(conn, PG_CONTEXT_STATEMENT, NULL, &ignored) != BANYAN_OK)
            banyan_error_clear(&ignored); /* it was cancelled: an error is expected */
        copy->done = true;
    }
    banyan_arena_release(&copy->scratch);
}
