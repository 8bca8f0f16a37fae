// SPDX-License-Identifier: Apache-2.0
/* What the files of the load driver share. */
#ifndef LEGACY_SHOP_LOAD_H
#define LEGACY_SHOP_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One keep-alive HTTP connection to 127.0.0.1, used by one thread, one request at a time. */
struct client {
    int fd; /* -1: not connected */
    int port;
    char *answer; /* the body of the last answer, NUL-terminated */
    size_t room;
};

/* Sends a request and reads its answer.  *body* NULL: GET.  The HTTP code; 0 when the connection was lost, and nobody
 * knows what happened. */
int client_request(struct client *client, const char *path, const char *body);
void client_close(struct client *client);

/* What one thread did. */
struct tally {
    int64_t placed, modified, paid, canceled, packed, shipped, delivered, received;
    int64_t refused; /* 4xx: two who wanted the same, stock that ran out */
    int64_t errors;
};

/* One customer service after the other: places orders and takes them on their way. */
struct life;

struct life *life_new(int port, uint64_t seed, int number);
/* Places an order and moves some of those that are open. */
void life_turn(struct life *life);
const struct tally *life_tally(const struct life *life);
void life_free(struct life *life);

#endif
