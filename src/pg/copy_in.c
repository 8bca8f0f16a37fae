/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COPY … FROM STDIN in the binary format.
 *
 * Rows gather in a buffer and go out in pieces of FLUSH_BYTES.  The server says only at the end whether it took them;
 * a failure before (a full disk, a violated constraint) is noticed at the next flush and told at the end.
 *
 * Invariant: between begin and end or abort the connection takes nothing else.
 */
#include "pg/copy.h"
#include "pg/pg_int.h"

enum {
    FLUSH_BYTES = 64 << 10,
    BUFFER_MAX = 1 << 30, /* one row must fit */
};

static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"; /* signature with its NUL, flags, extension */

enum banyan_status pg_copy_in_begin(struct pg_copy_in *copy, struct pg_conn *conn, const char *table_and_columns,
                                    const struct banyan_record *record, const uint32_t *oids, struct banyan_error *err)
{
    const struct pg_copy_start start = {"COPY ", table_and_columns, " FROM STDIN (FORMAT binary)", PGRES_COPY_IN,
                                        record};
    enum banyan_status st;
    bool started;

    *copy = (struct pg_copy_in){.conn = conn, .record = record, .oids = oids, .buf = BANYAN_BUF_INIT(BUFFER_MAX)};
    st = pg_copy_start(conn, &start, &started, err);
    if (st == BANYAN_OK)
        banyan_buf_add(&copy->buf, header, sizeof(header) - 1); /* not the NUL of C */
    else if (started)
        pg_copy_in_abort(copy);
    return st;
}

/* Send what has gathered. */
static enum banyan_status flush(struct pg_copy_in *copy, struct banyan_error *err)
{
    struct pg_conn *conn = copy->conn;
    int put;

    do {
        enum banyan_status st;

        put = PQputCopyData(conn->pq, copy->buf.data, (int)copy->buf.size);
        if (put < 0)
            return pg_link_error(conn, err);
        st = pg_flush(conn, err);
        if (st != BANYAN_OK)
            return st;
    } while (put == 0);
    banyan_buf_reset(&copy->buf);
    return BANYAN_OK;
}

enum banyan_status pg_copy_in_row(struct pg_copy_in *copy, const void *row, struct banyan_error *err)
{
    const struct banyan_record *record = copy->record;
    size_t before = copy->buf.size;
    char count[2];

    pg_put_u16(count, (uint16_t)record->field_count);
    banyan_buf_add(&copy->buf, count, sizeof(count));
    for (size_t i = 0; i < record->field_count; i++) {
        enum banyan_status st = pg_cell_encode(&record->fields[i], copy->oids[i], row, &copy->buf, err);

        if (st != BANYAN_OK) {
            copy->buf.size = before; /* the rows before stay whole */
            banyan_error_context(err, "%s, row %llu", record->name, (unsigned long long)copy->rows + 1);
            return st;
        }
    }
    if (copy->buf.overflow)
        return banyan_error_set(err, BANYAN_LIMIT, "%s, row %llu is too large", record->name,
                                (unsigned long long)copy->rows + 1);
    copy->rows++;
    return copy->buf.size < FLUSH_BYTES ? BANYAN_OK : flush(copy, err);
}

enum banyan_status pg_copy_in_end(struct pg_copy_in *copy, struct banyan_error *err)
{
    struct pg_conn *conn = copy->conn;
    enum banyan_status st;

    banyan_buf_add(&copy->buf, "\xff\xff", 2); /* in place of a number of columns */
    if (copy->buf.overflow) {
        pg_copy_in_abort(copy);
        return banyan_error_set(err, BANYAN_LIMIT, "a COPY has more data than fits");
    }
    st = flush(copy, err);
    if (st == BANYAN_OK && PQputCopyEnd(conn->pq, NULL) < 0)
        st = pg_link_error(conn, err);
    banyan_buf_release(&copy->buf);
    return st == BANYAN_OK ? pg_finish(conn, PG_CONTEXT_STATEMENT, NULL, err) : st;
}

void pg_copy_in_abort(struct pg_copy_in *copy)
{
    struct pg_conn *conn = copy->conn;
    struct banyan_error ignored = BANYAN_ERROR_INIT;

    banyan_buf_release(&copy->buf);
    if (PQputCopyEnd(conn->pq, "given up by the client") < 0) {
        conn->broken = true;
        return;
    }
    if (pg_finish(conn, PG_CONTEXT_STATEMENT, NULL, &ignored) != BANYAN_OK)
        banyan_error_clear(&ignored); /* our own words come back as an error */
}
