/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quoting: the one place where a name or a text becomes part of a statement.
 *
 * Invariants:
 *   1. Whatever bytes a name holds, the result is one identifier (or one per part), never more.
 *   2. A literal means the same with standard_conforming_strings on and off.
 *   3. A NUL byte cannot be sent: it sets the buffer's overflow bit, so that the statement is refused as a whole.
 */
#include "pg/conn.h"

/* *text* between *quote*s, inner ones doubled; backslashes too where *escapes*. */
static void add_quoted(struct banyan_buf *sql, struct banyan_str text, char quote, bool escapes)
{
    size_t start = 0;

    banyan_buf_add_char(sql, quote);
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];

        if (c == '\0') {
            sql->overflow = true;
            return;
        }
        if (c == quote || (escapes && c == '\\')) {
            banyan_buf_add(sql, text.data + start, i - start);
            banyan_buf_add_char(sql, c);
            start = i;
        }
    }
    if (text.size > start)
        banyan_buf_add(sql, text.data + start, text.size - start);
    banyan_buf_add_char(sql, quote);
}

void pg_add_identifier(struct banyan_buf *sql, struct banyan_str name)
{
    add_quoted(sql, name, '"', false);
}

/* Bytes of a part in double quotes at *at*, both quotes included; 0 when it does not end or something other than a
 * point follows it, so that it is no quoted part. */
static size_t quoted_part(struct banyan_str name, size_t at)
{
    for (size_t i = at + 1; i < name.size; i++) {
        if (name.data[i] != '"')
            continue;
        if (i + 1 < name.size && name.data[i + 1] == '"') {
            i++;
            continue;
        }
        return i + 1 == name.size || name.data[i + 1] == '.' ? i + 1 - at : 0;
    }
    return 0;
}

void pg_add_table(struct banyan_buf *sql, struct banyan_str name)
{
    size_t at = 0;

    for (;;) {
        size_t size = at < name.size && name.data[at] == '"' ? quoted_part(name, at) : 0;

        if (size > 0) {
            /* It is an identifier as it stands, but for a NUL byte. */
            if (memchr(name.data + at, '\0', size) != NULL)
                sql->overflow = true;
            banyan_buf_add(sql, name.data + at, size);
        } else {
            while (at + size < name.size && name.data[at + size] != '.')
                size++;
            add_quoted(sql, (struct banyan_str){name.data + at, size}, '"', false);
        }
        at += size;
        if (at >= name.size)
            return;
        banyan_buf_add_char(sql, '.');
        at++;
    }
}

void pg_add_literal(struct banyan_buf *sql, struct banyan_str text)
{
    bool escapes;

    if (text.data == NULL) {
        banyan_buf_add_text(sql, "NULL");
        return;
    }
    escapes = memchr(text.data, '\\', text.size) != NULL;
    if (escapes)
        banyan_buf_add_text(sql, " E"); /* the space keeps it apart from a word before it */
    add_quoted(sql, text, '\'', escapes);
}
