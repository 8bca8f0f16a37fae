/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of a client, for the files that answer it. */
#ifndef GATEWAY_FRONT_H
#define GATEWAY_FRONT_H

#include "gateway/gateway_int.h"

enum {
    FRONT_ADDRESS_SIZE = 46, /* INET6_ADDRSTRLEN */
};

enum front_state {
    FRONT_HEAD = 1, /* between requests, or in the middle of a head */
    FRONT_COLLECT,  /* the body of a request for the façade */
    FRONT_THINK,    /* it is held, or with a worker */
    FRONT_PASS,     /* an exchange runs, its bytes go through */
    FRONT_TUNNEL,
    FRONT_ENDING, /* what is left to send is sent, then it lingers */
};

struct ask;

struct front {
    struct front *next, **link;
    struct loop *loop;
    struct bufferevent *bev;
    struct timer timer;
    enum front_state state;
    char address[FRONT_ADDRESS_SIZE];
    bool advancing;   /* inside advance(): do not nest */
    bool close_after; /* this answer is the last one */
    bool ended;       /* the client sends no more */
    bool shut;        /* our side is closed: lingering */
    bool old;         /* the request is of HTTP/1.0 */
    bool is_head;     /* it is HEAD */
    bool told;        /* the head of its answer went out */
    bool pushing;
    struct exchange *exchange;       /* that passes; NULL: none */
    struct ask *ask;                 /* that the façade has; NULL: none */
    struct upstream *tunnel;         /* NULL: none */
    int64_t legacy_us;               /* last write of this client that the legacy application got; 0: none */
    struct banyan_position position; /* of its last write here */
    bool tunnel_ended;               /* the upstream sends no more */
    struct body body;                /* of the request */
    struct banyan_buf text;          /* heads are written here */
};

/* Look at what there is to do; never from inside a handler of the same front. */
void front_advance(struct front *front);
/* An answer of our own, whole; *headers*: further lines, each with its end, or NULL. */
void front_answer(struct front *front, int code, const char *headers, const char *content_type, struct banyan_str body);
/* application/problem+json */
void front_problem(struct front *front, int code, const char *headers, const char *name, const char *detail);
/* The answer is over: the next request, or the end. */
void front_answered(struct front *front);
void front_free(struct front *front);

/* ---- pass.c: a request that goes through ---- */

void pass_begin(struct front *front, const struct wire_head *head);
/* Write the head of an answer to the client. */
void pass_head(struct front *front, struct exchange *exchange, const struct wire_head *head, struct banyan_str text);
/* The exchange is over: the client is told where it failed, and the next request may come.  Frees the exchange. */
void pass_over(struct front *front, struct exchange *exchange, enum exchange_end end);
/* More of the request's body came, or there is room for it. */
void pass_push(struct front *front);
/* The client has gone. */
void pass_abandon(struct front *front);

/* ---- tunnel.c ---- */

void tunnel_begin(struct front *front, struct upstream *upstream);
void tunnel_move(struct front *front);
void tunnel_end(struct front *front);

#endif
