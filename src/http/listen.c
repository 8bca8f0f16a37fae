/* SPDX-License-Identifier: Apache-2.0 */
/* A socket that listens: see listen.h. */
#include "http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24) == 127;
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

static enum banyan_status cannot_listen(const char *address, int port, int code, struct banyan_error *err)
{
    enum banyan_status st = code == EADDRINUSE ? BANYAN_BUSY : BANYAN_CONFIG;
    banyan_error_set(err, st, "cannot listen on %s:%d: %s", address, port, strerror(code));
    banyan_error_hint(err, "another program may have the port; `listen` in the configuration chooses it");
    return st;
}

enum banyan_status http_listen(const char *address, int port,
                               enum banyan_status (*check)(void *context, bool loopback, struct banyan_error *err),
                               void *context, int *ret_fd, int *ret_port, struct banyan_error *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    char text[16];
    int on = 1, fd = -1;
    (void)snprintf(text, sizeof(text), "%d", port); /* a number fits */
    int code = getaddrinfo(address, text, &hints, &found);
    if (code != 0)
        return banyan_error_set(err, BANYAN_CONFIG, "cannot listen on %s: %s", address, gai_strerror(code));
    enum banyan_status st = check == NULL ? BANYAN_OK : check(context, is_loopback(found->ai_addr), err);
    if (st != BANYAN_OK)
        goto out;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1024) != 0) {
        st = cannot_listen(address, port, errno, err);
        goto out;
    }
    /* Accepted connections inherit it; without it pipelined requests wait for each other's acknowledgement. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* slower where it fails */
    if (getsockname(fd, (struct sockaddr *)&bound, &size) != 0) {
        st = banyan_error_errno(err, errno, "cannot ask for the port");
        goto out;
    }
    *ret_port = bound.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&bound)->sin6_port)
                                            : ntohs(((struct sockaddr_in *)&bound)->sin_port);
    *ret_fd = fd;
    fd = -1;
out:
    if (fd >= 0)
        (void)close(fd); /* nothing was sent */
    freeaddrinfo(found);
    return st;
}
