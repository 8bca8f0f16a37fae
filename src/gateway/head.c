/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads as they go on (RFC 9110, 7.6): hop-by-hop headers end here, what says where the request came from is added,
 * and the length of the body is said in one way only, by us.
 */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "gateway/gateway_int.h"

static bool is_named(const struct wire_header *header, const char *name)
{
    return header->name.size == strlen(name) && strncasecmp(header->name.data, name, header->name.size) == 0;
}

static bool is_any(const struct wire_header *header, const char *const *names)
{
    for (; *names != NULL; names++)
        if (is_named(header, *names))
            return true;
    return false;
}

/* Of one connection only, or said anew. */
static bool is_hop(const struct wire_header *header, struct banyan_str connection)
{
    static const char *const names[] = {
        "Connection", "Keep-Alive",        "Proxy-Connection", "Proxy-Authorization", "TE",
        "Trailer",    "Transfer-Encoding", "Upgrade",          "Content-Length",      NULL};
    char name[128];
    if (is_any(header, names))
        return true;
    if (connection.size == 0 || header->name.size >= sizeof(name))
        return false;
    memcpy(name, header->name.data, header->name.size);
    name[header->name.size] = '\0';
    return wire_lists(connection, name);
}

static void add_header(const struct wire_header *header, struct banyan_buf *ret)
{
    banyan_buf_add_str(ret, header->name);
    banyan_buf_add(ret, ": ", 2);
    banyan_buf_add_str(ret, header->value);
    banyan_buf_add(ret, "\r\n", 2);
}

/* "Name: all values that came, text CR LF" */
static void add_joined(const struct wire_head *head, const char *name, const char *before, struct banyan_str text,
                       const char *after, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, name);
    banyan_buf_add(ret, ": ", 2);
    for (size_t i = 0; i < head->header_count; i++) {
        if (!is_named(&head->headers[i], name) || head->headers[i].value.size == 0)
            continue;
        banyan_buf_add_str(ret, head->headers[i].value);
        banyan_buf_add(ret, ", ", 2);
    }
    banyan_buf_add_text(ret, before);
    banyan_buf_add_str(ret, text);
    banyan_buf_add_text(ret, after);
    banyan_buf_add(ret, "\r\n", 2);
}

bool head_is_tunnel(const struct wire_head *head)
{
    struct banyan_str upgrade = wire_find(head, "Upgrade");
    return head->minor == 1 && wire_lists(wire_find(head, "Connection"), "upgrade") && upgrade.size == 9 &&
           strncasecmp(upgrade.data, "websocket", 9) == 0 && banyan_str_equal(head->method, BANYAN_STR("GET")) &&
           !head->chunked && head->length == 0;
}

void head_request(const struct wire_head *head, const struct head_request *how, struct banyan_buf *ret)
{
    static const char *const ours[] = {"X-Forwarded-For", "Forwarded", "Via", "Expect", NULL};
    struct banyan_str connection = wire_find(head, "Connection");
    bool colon = memchr(how->client.data, ':', how->client.size) != NULL;
    banyan_buf_add_str(ret, head->method);
    banyan_buf_add_char(ret, ' ');
    banyan_buf_add_str(ret, head->target);
    banyan_buf_add_text(ret, " HTTP/1.1\r\n");
    if (wire_count(head, "Host") == 0) /* HTTP/1.0 */
        banyan_buf_add_text(ret, "Host: \r\n");
    for (size_t i = 0; i < head->header_count; i++) {
        const struct wire_header *header = &head->headers[i];
        if (is_named(header, "Host") || (!is_hop(header, connection) && !is_any(header, ours)))
            add_header(header, ret);
    }
    if (head->expects_continue && !how->whole)
        banyan_buf_add_text(ret, "Expect: 100-continue\r\n");
    add_joined(head, "X-Forwarded-For", "", how->client, "", ret);
    add_joined(head, "Forwarded", colon ? "for=\"[" : "for=", how->client, colon ? "]\"" : "", ret);
    add_joined(head, "Via", "", BANYAN_STR("1.1 banyan"), "", ret);
    if (wire_count(head, "X-Forwarded-Proto") == 0)
        banyan_buf_add_text(ret, "X-Forwarded-Proto: http\r\n");
    if (how->tunnel)
        banyan_buf_add_text(ret, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    if (how->whole && (how->whole_bytes > 0 || head->has_length || head->chunked))
        banyan_buf_printf(ret, "Content-Length: %" PRIu64 "\r\n", how->whole_bytes);
    else if (head->chunked)
        banyan_buf_add_text(ret, "Transfer-Encoding: chunked\r\n");
    else if (head->has_length)
        banyan_buf_printf(ret, "Content-Length: %" PRIu64 "\r\n", head->length);
    banyan_buf_add(ret, "\r\n", 2);
}

void head_answer(const struct wire_head *head, const struct head_answer *how, struct banyan_buf *ret)
{
    struct banyan_str connection = wire_find(head, "Connection");
    bool bodiless = head->code < 200 || head->code == 204;
    banyan_buf_add_text(ret, "HTTP/1.1");
    banyan_buf_add(ret, how->line.data + 8, how->line.size - 8);
    banyan_buf_add(ret, "\r\n", 2);
    for (size_t i = 0; i < head->header_count; i++)
        if (!is_hop(&head->headers[i], connection) && !is_named(&head->headers[i], "Banyan-Served-By"))
            add_header(&head->headers[i], ret);
    if (how->tunnel)
        banyan_buf_add_text(ret, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    else if (how->close)
        banyan_buf_add_text(ret, "Connection: close\r\n");
    else if (how->old)
        banyan_buf_add_text(ret, "Connection: keep-alive\r\n");
    if (how->chunked || (how->to_head && head->chunked && !how->old))
        banyan_buf_add_text(ret, "Transfer-Encoding: chunked\r\n");
    else if (head->has_length && !bodiless)
        banyan_buf_printf(ret, "Content-Length: %" PRIu64 "\r\n", head->length);
    if (how->served_by != NULL)
        banyan_buf_printf(ret, "Banyan-Served-By: %s\r\n", how->served_by);
    banyan_buf_add(ret, "\r\n", 2);
}

struct banyan_str head_peek(struct evbuffer *input)
{
    size_t size = evbuffer_get_length(input);
    if (size > WIRE_HEAD_BYTES_MAX)
        size = WIRE_HEAD_BYTES_MAX;
    return (struct banyan_str){size == 0 ? "" : (const char *)evbuffer_pullup(input, (ssize_t)size), size};
}
