/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small application behind the gateway: blocking sockets, a thread a connection; the path says how it answers.  It
 * keeps what it was sent last, and how often it was connected to.
 */
#ifndef GATEWAY_UPSTREAM_H
#define GATEWAY_UPSTREAM_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    int fd, port;
    pthread_t thread;
    atomic_int connections, requests, open;
    atomic_int ending;        /* connections that were asked for /last, until they are closed */
    atomic_ullong body_bytes; /* of the last request */
    atomic_ullong sent_bytes; /* of big answers */
    _Atomic bool gate;        /* /wait answers once it is set */
    _Atomic bool stopping;
    pthread_mutex_t lock; /* of head and of answer with its code */
    char head[32768];     /* of the last request */
    char body[4096];      /* of the last request to /orders or /fills, and how they are answered */
    char answer[4096];
    int answer_code;
    atomic_int writes;
    _Atomic bool slow; /* writes are answered once gate is set */
} upstream = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void up_send(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void up_answer(int fd, const char *headers, const char *body)
{
    char head[1024];
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n%s\r\n", strlen(body), headers);
    up_send(fd, head);
    up_send(fd, body);
}

static void up_big(int fd, unsigned long long size, bool chunked)
{
    static char block[65536];
    char line[128];
    memset(block, 'x', sizeof(block));
    snprintf(line, sizeof(line), "HTTP/1.1 200 OK\r\n%s: ", chunked ? "Transfer-Encoding" : "Content-Length");
    up_send(fd, line);
    snprintf(line, sizeof(line), chunked ? "chunked\r\n\r\n" : "%llu\r\n\r\n", size);
    up_send(fd, line);
    atomic_store(&upstream.sent_bytes, 0);
    while (size > 0) {
        size_t piece = size < sizeof(block) ? (size_t)size : sizeof(block);
        if (chunked) {
            snprintf(line, sizeof(line), "%zx\r\n", piece);
            up_send(fd, line);
        }
        for (size_t at = 0; at < piece;) {
            ssize_t sent = send(fd, block + at, piece - at, MSG_NOSIGNAL);
            if (sent <= 0)
                return;
            at += (size_t)sent;
        }
        if (chunked)
            up_send(fd, "\r\n");
        size -= piece;
        atomic_fetch_add(&upstream.sent_bytes, piece);
    }
    if (chunked)
        up_send(fd, "0\r\n\r\n");
}

/* Until it is at most *value*. */
static void up_wait(atomic_int *what, int value)
{
    for (int i = 0; i < 20000 && atomic_load(what) > value; i++)
        usleep(1000); /* a condition, with a limit */
}

/* How /orders and /fills are answered from now on. */
__attribute__((unused)) static void up_answers(int code, const char *text)
{
    pthread_mutex_lock(&upstream.lock);
    upstream.answer_code = code;
    snprintf(upstream.answer, sizeof(upstream.answer), "%s", text);
    pthread_mutex_unlock(&upstream.lock);
}

static void up_gate(void)
{
    for (int i = 0; i < 20000 && !atomic_load(&upstream.gate) && !atomic_load(&upstream.stopping); i++)
        usleep(1000); /* as above */
}

/* False: the connection ends. */
static bool up_respond(int fd, const char *path, const char *body, size_t size)
{
    if (strncmp(path, "/big/", 5) == 0) {
        up_big(fd, strtoull(path + 5, NULL, 10), false);
    } else if (strncmp(path, "/bigchunks/", 11) == 0) {
        up_big(fd, strtoull(path + 11, NULL, 10), true);
    } else if (strcmp(path, "/close") == 0) {
        up_send(fd, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
        return false;
    } else if (strcmp(path, "/old") == 0) {
        up_send(fd, "HTTP/1.0 200 Fine\r\nContent-Length: 3\r\n\r\nold");
        return false;
    } else if (strcmp(path, "/none") == 0) {
        up_send(fd, "HTTP/1.1 204 No Content\r\n\r\n");
    } else if (strcmp(path, "/same") == 0) {
        up_send(fd, "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 99\r\n\r\n");
    } else if (strcmp(path, "/hints") == 0) {
        up_send(fd, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        up_answer(fd, "", "after hints");
    } else if (strcmp(path, "/hop") == 0) {
        up_answer(fd, "Connection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nX-Public: 2\r\n", "hop");
    } else if (strcmp(path, "/die") == 0) {
        return false;
    } else if (strcmp(path, "/half") == 0) {
        up_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
        return false;
    } else if (strcmp(path, "/garbage") == 0) {
        up_send(fd, "220 mail.example.org ESMTP\r\n\r\n");
    } else if (strcmp(path, "/two") == 0) {
        up_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nfour");
    } else if (strcmp(path, "/wait") == 0) {
        up_gate();
        up_answer(fd, "", "waited");
    } else if (strcmp(path, "/last") == 0) {
        up_answer(fd, "", "last"); /* and ends, without saying so */
        return false;
    } else if (strcmp(path, "/socket") == 0) {
        char line[256];
        up_send(fd, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello ");
        ssize_t got;
        while ((got = recv(fd, line, sizeof(line), 0)) > 0)
            (void)!send(fd, line, (size_t)got, MSG_NOSIGNAL);
        return false;
    } else if (strncmp(path, "/orders", 7) == 0 || strcmp(path, "/fills") == 0) {
        char head[256], answer[sizeof(upstream.answer)];
        bool write = strncmp(upstream.head, "POST", 4) == 0;
        snprintf(upstream.body, sizeof(upstream.body), "%.*s", (int)size, body);
        if (write)
            atomic_fetch_add(&upstream.writes, 1);
        if (write && atomic_load(&upstream.slow))
            up_gate();
        pthread_mutex_lock(&upstream.lock);
        memcpy(answer, upstream.answer, sizeof(answer));
        snprintf(head, sizeof(head),
                 "HTTP/1.1 %d Answer\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                 upstream.answer_code, strlen(answer));
        pthread_mutex_unlock(&upstream.lock);
        up_send(fd, head);
        up_send(fd, answer);
    } else {
        char head[256];
        snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nX-From: upstream\r\n\r\n", size);
        up_send(fd, head);
        (void)!send(fd, body, size, MSG_NOSIGNAL);
    }
    return true;
}

static const char *up_header(const char *head, const char *name)
{
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, strlen(name)) == 0 && line[2 + strlen(name)] == ':')
            return line + 3 + strlen(name);
    return NULL;
}

/* More bytes into *buffer*; false at the end. */
static bool up_more(int fd, char *buffer, size_t max, size_t *size)
{
    ssize_t got = *size < max ? recv(fd, buffer + *size, max - *size, 0) : 0;
    if (got <= 0)
        return false;
    *size += (size_t)got;
    buffer[*size] = '\0';
    return true;
}

/* The body of a request; its first bytes stay in the buffer. */
static bool up_body(int fd, char *buffer, size_t max, size_t *size, size_t head, unsigned long long *ret)
{
    const char *length = up_header(buffer, "Content-Length");
    unsigned long long total = length == NULL ? 0 : strtoull(length, NULL, 10), got = *size - head;
    if (up_header(buffer, "Transfer-Encoding") != NULL) {
        char *at;
        while ((at = strstr(buffer + head, "0\r\n\r\n")) == NULL)
            if (!up_more(fd, buffer, max, size))
                return false;
        *ret = (unsigned long long)(at + 5 - (buffer + head));
        return true;
    }
    while (got < total && *size < max) {
        if (!up_more(fd, buffer, max, size))
            return false;
        got = *size - head;
    }
    for (char sink[65536]; got < total;) {
        ssize_t more = recv(fd, sink, total - got < sizeof(sink) ? (size_t)(total - got) : sizeof(sink), 0);
        if (more <= 0)
            return false;
        got += (unsigned long long)more;
        atomic_store(&upstream.body_bytes, got);
    }
    *ret = total;
    return true;
}

static void *up_connection(void *argument)
{
    enum { MAX = 4 * 1024 * 1024 };
    int fd = (int)(long)argument;
    char *buffer = malloc(MAX + 1);
    bool go_on = true, ending = false;
    for (size_t size = 0; go_on;) {
        char path[1024], *end;
        unsigned long long body = 0;
        buffer[size] = '\0';
        while ((end = strstr(buffer, "\r\n\r\n")) == NULL && (go_on = up_more(fd, buffer, MAX, &size)))
            ;
        if (!go_on)
            break;
        size_t head = (size_t)(end + 4 - buffer);
        bool quiet = strncmp(buffer, "HEAD / ", 7) == 0; /* is it there? */
        if (!quiet) {
            size_t kept = head < sizeof(upstream.head) ? head : sizeof(upstream.head) - 1;
            pthread_mutex_lock(&upstream.lock);
            memcpy(upstream.head, buffer, kept);
            upstream.head[kept] = '\0';
            pthread_mutex_unlock(&upstream.lock);
            atomic_fetch_add(&upstream.requests, 1);
        }
        if (up_header(buffer, "Expect") != NULL)
            up_send(fd, "HTTP/1.1 100 Continue\r\n\r\n");
        if (!up_body(fd, buffer, MAX, &size, head, &body))
            break;
        atomic_store(&upstream.body_bytes, body);
        sscanf(buffer, "%*s %1000s", path);
        if (!ending && (ending = strcmp(path, "/last") == 0))
            atomic_fetch_add(&upstream.ending, 1); /* before whoever asked can know the answer */
        if (strncmp(buffer, "HEAD", 4) == 0)
            up_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n");
        else
            go_on = up_respond(fd, path, buffer + head, body < MAX - head ? (size_t)body : 0);
        size_t used = head + (size_t)(body < MAX - head ? body : MAX - head);
        memmove(buffer, buffer + used, size - used);
        size -= used;
    }
    free(buffer);
    close(fd);
    atomic_fetch_sub(&upstream.ending, ending);
    atomic_fetch_sub(&upstream.open, 1);
    return NULL;
}

static void *up_main(void *argument)
{
    (void)argument;
    for (;;) {
        int fd = accept(upstream.fd, NULL, NULL);
        pthread_t thread;
        if (fd < 0 || atomic_load(&upstream.stopping)) {
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        atomic_fetch_add(&upstream.connections, 1);
        atomic_fetch_add(&upstream.open, 1);
        pthread_create(&thread, NULL, up_connection, (void *)(long)fd);
        pthread_detach(thread);
    }
}

/* On the same port again after the first time. */
static void up_start(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)upstream.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int on = 1;
    upstream.fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(upstream.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(upstream.fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(upstream.fd, 128) != 0)
        abort();
    getsockname(upstream.fd, (struct sockaddr *)&address, &size);
    upstream.port = ntohs(address.sin_port);
    atomic_store(&upstream.stopping, false);
    pthread_create(&upstream.thread, NULL, up_main, NULL);
}

/* Takes no more connections; those that are open end when their peer does. */
static void up_stop(void)
{
    atomic_store(&upstream.stopping, true);
    shutdown(upstream.fd, SHUT_RDWR);
    close(upstream.fd);
    pthread_join(upstream.thread, NULL);
}

#endif
