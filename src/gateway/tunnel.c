/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After 101: bytes both ways, until both sides have ended or nothing came for long.  Only WebSocket gets here: with
 * another protocol (h2c) requests would pass that nobody looks at.
 */
#include "gateway/front.h"

static void move(struct bufferevent *from, struct bufferevent *to)
{
    struct evbuffer *input = bufferevent_get_input(from), *output = bufferevent_get_output(to);
    size_t held = evbuffer_get_length(output);
    if (held < GATEWAY_OUTPUT_HIGH && evbuffer_get_length(input) > 0)
        (void)evbuffer_remove_buffer(input, output, GATEWAY_OUTPUT_HIGH - held);
}

static bool is_over(struct bufferevent *from, bool ended, struct bufferevent *to)
{
    return ended && evbuffer_get_length(bufferevent_get_input(from)) == 0 &&
           evbuffer_get_length(bufferevent_get_output(to)) == 0;
}

void tunnel_move(struct front *front)
{
    struct bufferevent *near = front->bev, *far = front->tunnel->bev;
    timer_set(&front->timer, GATEWAY_TUNNEL_US);
    move(near, far);
    move(far, near);
    bool up = is_over(near, front->ended, far), down = is_over(far, front->tunnel_ended, near);
    if (up && !down)
        (void)shutdown(bufferevent_getfd(far), SHUT_WR); /* it may be gone already */
    if (down && !up)
        (void)shutdown(bufferevent_getfd(near), SHUT_WR); /* as above */
    if (up && down)
        timer_set(&front->timer, 0); /* not inside a handler */
}

static void on_moved(struct bufferevent *bev, void *context)
{
    (void)bev;
    tunnel_move(context);
}

static void on_event(struct bufferevent *bev, short what, void *context)
{
    struct front *front = context;
    (void)bev;
    if ((what & BEV_EVENT_EOF) == 0 || (what & BEV_EVENT_ERROR) != 0) {
        front_free(front);
        return;
    }
    front->tunnel_ended = true;
    tunnel_move(front);
}

void tunnel_begin(struct front *front, struct upstream *upstream)
{
    front->state = FRONT_TUNNEL;
    front->tunnel = upstream;
    front->tunnel_ended = false;
    timer_set(&upstream->timer, INT64_MAX);
    bufferevent_setcb(upstream->bev, on_moved, on_moved, on_event, front);
    bufferevent_setwatermark(upstream->bev, EV_WRITE, 0, 0);
    tunnel_move(front);
}

void tunnel_end(struct front *front)
{
    struct upstream *upstream = front->tunnel;
    front->tunnel = NULL;
    pool_give(upstream, false);
}
