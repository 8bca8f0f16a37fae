/* SPDX-License-Identifier: Apache-2.0 */
/* A throwaway Redis server: see redis_server.h. */
#include "support/redis_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "support/test_domain.h"

enum {
    TRIES = 8,
    WAIT_MS_MAX = 10000,
};

/* A port that was free a moment ago; when another takes it meanwhile the server ends, and we try another. */
static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int port = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &size) == 0)
        port = ntohs(address.sin_port);
    if (fd >= 0)
        (void)close(fd);
    return port;
}

static bool answers(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons((uint16_t)port)};
    char reply[8] = "";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
              write(fd, "PING\r\n", 6) == 6 && read(fd, reply, sizeof(reply) - 1) > 0 &&
              strncmp(reply, "+PONG", 5) == 0;
    if (fd >= 0)
        (void)close(fd);
    return is;
}

static void run_server(const struct redis_server *server)
{
    char port[16], log[512];
    (void)snprintf(port, sizeof(port), "%d", server->port);
    (void)snprintf(log, sizeof(log), "%s/redis.log", server->folder);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", server->folder,
                 "--save", "", "--appendonly", "no", "--logfile", log, "--daemonize", "no", (char *)NULL);
    _exit(127);
}

bool redis_server_start(struct redis_server *server)
{
    *server = (struct redis_server){.folder = test_folder_new()};
    for (int attempt = 0; attempt < TRIES; attempt++) {
        server->port = free_port();
        server->pid = fork();
        if (server->pid == 0)
            run_server(server);
        for (int waited = 0; waited < WAIT_MS_MAX; waited += 10) {
            int status = 0;
            if (answers(server->port)) {
                (void)snprintf(server->address, sizeof(server->address), "redis://127.0.0.1:%d", server->port);
                return true;
            }
            if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
                server->pid = 0;
                break;
            }
            os_clock_real()->sleep_us(os_clock_real(), 10000);
        }
        redis_server_stop(server);
        server->folder = test_folder_new();
    }
    (void)fprintf(stderr, "no Redis server could be started (package redis-server)\n");
    return false;
}

void redis_server_stop(struct redis_server *server)
{
    if (server->pid > 0) {
        (void)kill(server->pid, SIGKILL);
        (void)waitpid(server->pid, NULL, 0);
    }
    test_folder_remove(server->folder);
    *server = (struct redis_server){.pid = 0};
}
