/* SPDX-License-Identifier: Apache-2.0 */
/* A real Redis server for one test program: on a free loopback port, in a folder of its own, gone with the program. */
#ifndef SUPPORT_REDIS_SERVER_H
#define SUPPORT_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct redis_server {
    char *folder;
    char address[64]; /* "redis://127.0.0.1:<port>" */
    int port;
    pid_t pid;
};

/* False, with a line on stderr, when there is none to start (package redis-server). */
bool redis_server_start(struct redis_server *server);
void redis_server_stop(struct redis_server *server);

#endif
