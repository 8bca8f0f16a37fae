/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a request or an answer, moved from one buffer to another and framed anew where it has to be. */
#ifndef GATEWAY_BODY_H
#define GATEWAY_BODY_H

#include <event2/buffer.h>

#include "banyan/buf.h"
#include "http/wire.h"

enum body_kind {
    BODY_NONE = 0,
    BODY_LENGTH,
    BODY_CHUNKED,
    BODY_TO_END, /* of the connection; answers only */
};

struct body {
    enum body_kind kind;
    bool chunk; /* what goes out is chunked */
    bool done;
    uint64_t left; /* BODY_LENGTH */
    struct wire_chunks chunks;
};

void body_init(struct body *body, enum body_kind kind, uint64_t length, bool chunk);
/* Move what is there, until *to* (NULL: nowhere) holds *room* bytes; *copy* (may be NULL) gets the plain bytes, too.
 * OK: done; MORE; BAD. */
enum wire_result body_move(struct body *body, struct evbuffer *from, struct evbuffer *to, size_t room,
                           struct banyan_buf *copy);
/* The connection ended: BODY_TO_END is done (OK), others are cut short (BAD). */
enum wire_result body_end(struct body *body, struct evbuffer *to);

#endif
