/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 heads and chunks as bytes: see wire.h.  Every byte is looked at once, and hostile sizes before their use. */
#include "http/wire.h"

#include <string.h>
#include <strings.h>

/* ---- characters ---- */

static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_value_char(unsigned char c)
{
    return c == '\t' || c == ' ' || (c > 0x20 && c != 0x7f);
}

static struct banyan_str trimmed(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    return (struct banyan_str){from, (size_t)(to - from)};
}

static bool is_text(struct banyan_str a, const char *text)
{
    return a.size == strlen(text) && strncasecmp(a.data, text, a.size) == 0;
}

bool wire_number(struct banyan_str text, uint64_t *ret)
{
    uint64_t value = 0;
    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value))
            return false;
    *ret = value;
    return true;
}

static int hex_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool wire_decode(struct banyan_str text, bool plus_is_space, char *to, size_t *ret_size)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.size ? hex_of(text.data[i + 1]) : -1;
            int low = i + 2 < text.size ? hex_of(text.data[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0))
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        to[size++] = c;
    }
    to[size] = '\0';
    *ret_size = size;
    return true;
}

/* ---- lines ---- */

/* The next line without its CRLF; WIRE_MORE when it has no end yet; WIRE_BAD for a lone CR or LF or a control. */
static enum wire_result next_line(struct banyan_str data, size_t *at, struct banyan_str *ret)
{
    for (size_t i = *at; i < data.size; i++) {
        unsigned char c = (unsigned char)data.data[i];
        if (c == '\r') {
            if (i + 1 == data.size)
                return WIRE_MORE;
            if (data.data[i + 1] != '\n')
                return WIRE_BAD;
            *ret = (struct banyan_str){data.data + *at, i - *at};
            *at = i + 2;
            return WIRE_OK;
        }
        if (!is_value_char(c))
            return WIRE_BAD;
    }
    return WIRE_MORE;
}

struct banyan_str wire_find(const struct wire_head *head, const char *name)
{
    for (size_t i = 0; i < head->header_count; i++)
        if (is_text(head->headers[i].name, name))
            return head->headers[i].value;
    return (struct banyan_str){NULL, 0};
}

size_t wire_count(const struct wire_head *head, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < head->header_count; i++)
        count += is_text(head->headers[i].name, name);
    return count;
}

bool wire_lists(struct banyan_str list, const char *token)
{
    const char *at = list.data, *end = list.data + list.size;
    while (list.data != NULL && at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma == NULL ? end : comma;
        if (is_text(trimmed(at, stop), token))
            return true;
        at = comma == NULL ? end : comma + 1;
    }
    return false;
}

static enum wire_result read_headers(struct banyan_str data, size_t at, struct wire_head *ret, const char **ret_fault)
{
    for (;;) {
        struct banyan_str line;
        enum wire_result result = next_line(data, &at, &line);
        if (result != WIRE_OK) {
            *ret_fault = "a header line ends with CR LF and holds no control characters";
            return result;
        }
        if (line.size == 0) {
            ret->size = at;
            return WIRE_OK;
        }
        const char *colon = memchr(line.data, ':', line.size);
        *ret_fault = "a header is a name, a colon and a value, without white space before the colon";
        if (colon == NULL || colon == line.data)
            return WIRE_BAD;
        for (const char *c = line.data; c < colon; c++)
            if (!is_token_char((unsigned char)*c))
                return WIRE_BAD;
        if (ret->header_count == WIRE_HEADERS_MAX) {
            *ret_fault = "there are too many headers";
            return WIRE_TOO_LARGE;
        }
        ret->headers[ret->header_count++] =
            (struct wire_header){{line.data, (size_t)(colon - line.data)}, trimmed(colon + 1, line.data + line.size)};
    }
}

/* How long is the body?  There must be one answer to that. */
static enum wire_result read_framing(struct wire_head *ret, const char **ret_fault)
{
    struct banyan_str length = wire_find(ret, "Content-Length"), encoding = wire_find(ret, "Transfer-Encoding");
    struct banyan_str connection = wire_find(ret, "Connection");
    ret->has_length = length.data != NULL;
    ret->chunked = encoding.data != NULL;
    if (wire_count(ret, "Content-Length") > 1) {
        *ret_fault = "more than one Content-Length";
        return WIRE_BAD;
    }
    if (ret->has_length && (length.size > 18 || !wire_number(length, &ret->length))) {
        *ret_fault = "Content-Length is no number";
        return WIRE_BAD;
    }
    if (ret->chunked && (ret->has_length || ret->minor == 0 || wire_count(ret, "Transfer-Encoding") > 1)) {
        *ret_fault = "Transfer-Encoding is there twice, beside a Content-Length, or in HTTP/1.0";
        return WIRE_BAD;
    }
    if (ret->chunked && !is_text(encoding, "chunked")) {
        *ret_fault = "the only Transfer-Encoding is chunked";
        return WIRE_NOT_IMPLEMENTED;
    }
    if (wire_count(ret, "Connection") > 1) {
        *ret_fault = "more than one Connection";
        return WIRE_BAD;
    }
    ret->keep_alive = ret->minor == 1 ? !wire_lists(connection, "close") : wire_lists(connection, "keep-alive");
    return WIRE_OK;
}

/* "HTTP/1.0" or "HTTP/1.1" */
static enum wire_result read_version(struct banyan_str text, unsigned *ret)
{
    if (text.size != 8 || memcmp(text.data, "HTTP/", 5) != 0)
        return WIRE_BAD;
    if (memcmp(text.data + 5, "1.1", 3) != 0 && memcmp(text.data + 5, "1.0", 3) != 0)
        return WIRE_VERSION;
    *ret = (unsigned)(text.data[7] - '0');
    return WIRE_OK;
}

static enum wire_result read_request_line(struct banyan_str line, struct wire_head *ret, const char **ret_fault)
{
    const char *end = line.data + line.size;
    const char *space = memchr(line.data, ' ', line.size);
    const char *second = space == NULL ? NULL : memchr(space + 1, ' ', (size_t)(end - space - 1));
    *ret_fault = "a request begins with METHOD /path HTTP/1.1";
    if (second == NULL || space == line.data)
        return WIRE_BAD;
    ret->method = (struct banyan_str){line.data, (size_t)(space - line.data)};
    ret->target = (struct banyan_str){space + 1, (size_t)(second - space - 1)};
    for (size_t i = 0; i < ret->method.size; i++)
        if (!is_token_char((unsigned char)ret->method.data[i]))
            return WIRE_BAD;
    for (size_t i = 0; i < ret->target.size; i++)
        if ((unsigned char)ret->target.data[i] <= ' ' || (unsigned char)ret->target.data[i] >= 0x7f ||
            ret->target.data[i] == '#')
            return WIRE_BAD;
    if (ret->target.size == 0 || ret->target.data[0] != '/')
        return WIRE_BAD;
    return read_version((struct banyan_str){second + 1, (size_t)(end - second - 1)}, &ret->minor);
}

/* The first line of a head; *ret_at is behind it. */
static enum wire_result begin_head(struct banyan_str data, struct wire_head *ret, struct banyan_str *ret_line,
                                   size_t *ret_at)
{
    ret->header_count = 0;
    ret->length = 0;
    ret->size = 0;
    *ret_at = 0;
    return next_line(data, ret_at, ret_line);
}

/* What reading the lines came to; is the head too long, or will it be, and how is its body framed? */
static enum wire_result end_head(enum wire_result result, struct banyan_str data, struct wire_head *ret,
                                 const char **ret_fault)
{
    if ((result == WIRE_MORE && data.size >= WIRE_HEAD_BYTES_MAX) ||
        (result == WIRE_OK && ret->size > WIRE_HEAD_BYTES_MAX)) {
        *ret_fault = "the head is too long";
        return WIRE_TOO_LARGE;
    }
    return result == WIRE_OK ? read_framing(ret, ret_fault) : result;
}

enum wire_result wire_request(struct banyan_str data, struct wire_head *ret, const char **ret_fault)
{
    struct banyan_str line;
    size_t at;
    enum wire_result result = begin_head(data, ret, &line, &at);
    *ret_fault = "a line ends with CR LF and holds no control characters";
    if (result == WIRE_OK)
        result = read_request_line(line, ret, ret_fault);
    if (result == WIRE_OK)
        result = read_headers(data, at, ret, ret_fault);
    result = end_head(result, data, ret, ret_fault);
    if (result != WIRE_OK)
        return result;
    size_t hosts = wire_count(ret, "Host");
    if (hosts > 1 || (hosts == 0 && ret->minor == 1)) {
        *ret_fault = "a request has one Host";
        return WIRE_BAD;
    }
    struct banyan_str expect = wire_find(ret, "Expect");
    ret->expects_continue = expect.data != NULL && is_text(expect, "100-continue");
    if (expect.data != NULL && !ret->expects_continue) {
        *ret_fault = "the only expectation is 100-continue";
        return WIRE_EXPECTATION;
    }
    return WIRE_OK;
}

enum wire_result wire_answer(struct banyan_str data, struct wire_head *ret, const char **ret_fault)
{
    struct banyan_str line;
    size_t at;
    *ret_fault = "the answer does not begin with HTTP/1.1 and a code";
    enum wire_result result = begin_head(data, ret, &line, &at);
    if (result == WIRE_OK) {
        uint64_t code = 0;
        if (line.size < 12 || read_version((struct banyan_str){line.data, 8}, &ret->minor) != WIRE_OK ||
            line.data[8] != ' ' || !wire_number((struct banyan_str){line.data + 9, 3}, &code) ||
            (line.size > 12 && line.data[12] != ' '))
            return WIRE_BAD;
        ret->code = (int)code;
        result = read_headers(data, at, ret, ret_fault);
    }
    return end_head(result, data, ret, ret_fault);
}

const char *wire_reason(int code)
{
    static const struct {
        int code;
        const char *reason;
    } reasons[] = {{200, "OK"},
                   {201, "Created"},
                   {202, "Accepted"},
                   {204, "No Content"},
                   {304, "Not Modified"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {408, "Request Timeout"},
                   {409, "Conflict"},
                   {411, "Length Required"},
                   {412, "Precondition Failed"},
                   {413, "Content Too Large"},
                   {415, "Unsupported Media Type"},
                   {417, "Expectation Failed"},
                   {422, "Unprocessable Content"},
                   {431, "Request Header Fields Too Large"},
                   {501, "Not Implemented"},
                   {502, "Bad Gateway"},
                   {503, "Service Unavailable"},
                   {504, "Gateway Timeout"},
                   {505, "HTTP Version Not Supported"},
                   {507, "Insufficient Storage"}};
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].code == code)
            return reasons[i].reason;
    return code < 400 ? "OK" : code < 500 ? "Bad Request" : "Internal Server Error";
}

/* ---- chunks ---- */

/* "1f" CR LF.  No extensions: nobody needs them, and they are where parsers differ. */
static enum wire_result read_size(struct wire_chunks *chunks, struct banyan_str data, size_t *ret_used)
{
    uint64_t size = 0;
    for (size_t i = 0; i < data.size && i < WIRE_CHUNK_LINE_MAX; i++) {
        int digit = hex_of(data.data[i]);
        if (digit >= 0 && i < 16) {
            size = size << 4 | (unsigned)digit;
            continue;
        }
        if (data.data[i] != '\r' || i == 0)
            return WIRE_BAD;
        if (i + 1 == data.size)
            return WIRE_MORE;
        if (data.data[i + 1] != '\n')
            return WIRE_BAD;
        *ret_used = i + 2;
        chunks->left = size;
        chunks->state = size == 0 ? WIRE_CHUNK_LAST : WIRE_CHUNK_DATA;
        return size >> 62 == 0 ? WIRE_OK : WIRE_BAD;
    }
    return data.size < WIRE_CHUNK_LINE_MAX ? WIRE_MORE : WIRE_BAD;
}

enum wire_result wire_chunk(struct wire_chunks *chunks, struct banyan_str data, size_t *ret_used,
                            struct banyan_str *ret_body)
{
    *ret_used = 0;
    *ret_body = (struct banyan_str){data.data, 0};
    switch (chunks->state) {
    case WIRE_CHUNK_SIZE:
        return data.size == 0 ? WIRE_MORE : read_size(chunks, data, ret_used);
    case WIRE_CHUNK_DATA:
        if (data.size == 0)
            return WIRE_MORE;
        *ret_used = data.size < chunks->left ? data.size : (size_t)chunks->left;
        ret_body->size = *ret_used;
        chunks->left -= *ret_used;
        if (chunks->left == 0)
            chunks->state = WIRE_CHUNK_END;
        return WIRE_OK;
    case WIRE_CHUNK_END:
    case WIRE_CHUNK_LAST: /* an empty line; behind the last chunk it also says that there are no trailers */
        if ((data.size >= 1 && data.data[0] != '\r') || (data.size >= 2 && data.data[1] != '\n'))
            return WIRE_BAD;
        if (data.size < 2)
            return WIRE_MORE;
        *ret_used = 2;
        chunks->state = chunks->state == WIRE_CHUNK_LAST ? WIRE_CHUNK_DONE : WIRE_CHUNK_SIZE;
        return WIRE_OK;
    default:
        return WIRE_OK;
    }
}
