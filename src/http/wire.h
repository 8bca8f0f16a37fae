/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 as bytes (RFC 9112), read strictly: what two programs could read in two ways is no request.
 *
 * Pure: bytes in, spans of the same bytes out; nothing is copied, nothing is allocated.  The same parser serves the
 * server (requests) and the client (answers).
 *
 * Refused, though some servers take it: a bare LF or CR, folded headers, white space around a header's name, two
 * Content-Length, a length with a sign or a list, Transfer-Encoding beside Content-Length or other than "chunked",
 * chunk extensions and trailers, a request without or with two Host, control characters, an absolute target.
 */
#ifndef HTTP_WIRE_H
#define HTTP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/attributes.h"
#include "banyan/types.h"

enum {
    WIRE_HEAD_BYTES_MAX = 16 * 1024,
    WIRE_HEADERS_MAX = 100,
    WIRE_CHUNK_LINE_MAX = 18, /* 16 digits and the end of the line */
};

struct wire_header {
    struct banyan_str name, value; /* borrowed; the value without white space around it */
};

struct wire_head {
    struct banyan_str method, target; /* of a request */
    int code;                         /* of an answer */
    unsigned minor;                   /* HTTP/1.minor: 0 or 1 */
    struct wire_header headers[WIRE_HEADERS_MAX];
    size_t header_count;
    bool has_length, chunked;
    uint64_t length; /* of the body */
    bool keep_alive; /* by version and Connection */
    bool expects_continue;
    size_t size; /* bytes of the head, its empty line included */
};

/* How a parse ended; what is no OK and no MORE is the code of the answer. */
enum wire_result {
    WIRE_OK = 0,
    WIRE_MORE = 1, /* the head is not complete yet */
    WIRE_BAD = 400,
    WIRE_EXPECTATION = 417,
    WIRE_TOO_LARGE = 431,
    WIRE_NOT_IMPLEMENTED = 501,
    WIRE_VERSION = 505,
};

/* Parse the head of a request at the start of *data*; *ret_fault says what is wrong (a static text). */
enum wire_result wire_request(struct banyan_str data, struct wire_head *ret, const char **ret_fault);
/* The same for an answer. */
enum wire_result wire_answer(struct banyan_str data, struct wire_head *ret, const char **ret_fault);
/* The value of the first header of that name; data NULL when there is none. */
struct banyan_str wire_find(const struct wire_head *head, const char *name);
/* How often it is there. */
size_t wire_count(const struct wire_head *head, const char *name);
/* Is *token* in a comma separated list, letters of any case? */
bool wire_lists(struct banyan_str list, const char *token);
/* "Not Found" */
const char *wire_reason(int code);

/* ---- chunked bodies ---- */

struct wire_chunks {
    uint64_t left; /* bytes of the present chunk that are still to come */
    enum { WIRE_CHUNK_SIZE = 0, WIRE_CHUNK_DATA, WIRE_CHUNK_END, WIRE_CHUNK_LAST, WIRE_CHUNK_DONE } state;
};

/* Take what can be taken of *data*: *ret_used bytes are consumed, *ret_body (within them) is body.  WIRE_OK: call again
 * while something is left and state is not DONE; WIRE_MORE; WIRE_BAD. */
enum wire_result wire_chunk(struct wire_chunks *chunks, struct banyan_str data, size_t *ret_used,
                            struct banyan_str *ret_body);

/* ---- targets ---- */

/* Undo %XX in place of a copy at *to* (room for text.size + 1); false for a broken escape or a NUL. */
bool wire_decode(struct banyan_str text, bool plus_is_space, char *to, size_t *ret_size);
/* Digits only, and nothing else; no overflow. */
bool wire_number(struct banyan_str text, uint64_t *ret);

#endif
