// SPDX-License-Identifier: Apache-2.0
/* HTTP as far as the shop speaks it: answers have a Content-Length. */
#include "load.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM_FIRST 65536
#define ROOM_MAX ((size_t)16 << 20)

void client_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    free(client->answer);
    client->answer = NULL;
    client->room = 0;
}

static bool client_open(struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)client->port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        return true;
    }
    close(client->fd);
    client->fd = -1;
    return false;
}

static bool send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Where the body begins and ends in the *size* bytes so far; false while the head is not whole. */
static bool head_read(const char *text, size_t *ret_begin, size_t *ret_end)
{
    const char *end = strstr(text, "\r\n\r\n");

    if (!end)
        return false;
    *ret_begin = *ret_end = (size_t)(end + 4 - text);
    for (const char *line = text; line < end; line = strstr(line, "\r\n") + 2)
        if (strncasecmp(line, "content-length:", 15) == 0)
            *ret_end = *ret_begin + strtoul(line + 15, NULL, 10);
    return true;
}

/* The HTTP code; 0 when the connection ended before the answer did. */
static int answer_read(struct client *client)
{
    size_t size = 0, begin = 0, end = 0;

    for (;;) {
        ssize_t got;
        int code;

        if (size + 1 >= client->room) {
            if (client->room >= ROOM_MAX)
                return 0;
            client->room = client->room ? client->room * 2 : ROOM_FIRST;
            client->answer = realloc(client->answer, client->room);
        }
        got = recv(client->fd, client->answer + size, client->room - size - 1, 0);
        if (got <= 0)
            return 0;
        size += (size_t)got;
        client->answer[size] = '\0';
        if (!head_read(client->answer, &begin, &end) || size < end)
            continue;
        code = atoi(client->answer + strlen("HTTP/1.1 "));
        memmove(client->answer, client->answer + begin, end - begin);
        client->answer[end - begin] = '\0';
        return code;
    }
}

int client_request(struct client *client, const char *path, const char *body)
{
    char head[1024];
    int length, code = 0;

    if (client->fd < 0 && !client_open(client))
        return 0;
    length = snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
                      body ? "POST" : "GET", path, body ? strlen(body) : 0);
    if (send_all(client->fd, head, (size_t)length) && (!body || send_all(client->fd, body, strlen(body))))
        code = answer_read(client);
    if (code == 0)
        client_close(client);
    return code;
}
