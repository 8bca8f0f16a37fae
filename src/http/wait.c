/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read your writes: a request with Banyan-Min-Position that came too early is kept (struct waiting) and looked at again
 * by a timer until its time is over: the loop never blocks.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "http/http_int.h"
#include "os/clock.h"

enum {
    LOOK_AGAIN_US = 2000,
    WAITING_MAX = 1000,
};

/* A request that waits for a position; linked from the server. */
struct waiting {
    struct waiting *next;
    struct http_call *call;
    struct event *timer;
    int view; /* or HTTP_WAIT_LOG */
    void (*again)(struct http_call *call);
    uint64_t position;
    int64_t until_us;
};

static void waiting_unlink(struct waiting *waiting)
{
    struct http_server *server = waiting->call->server;
    for (struct waiting **link = &server->waiting; *link != NULL; link = &(*link)->next) {
        if (*link == waiting) {
            *link = waiting->next;
            server->waiting_count--;
            break;
        }
    }
    waiting->call->gone = NULL;
    event_free(waiting->timer);
    free(waiting);
}

static bool reached(struct http_server *server, int view, uint64_t position)
{
    struct sink_checkpoint checkpoint;
    if (view == HTTP_WAIT_LOG)
        return store_durable(server->options.store).value >= position;
    (void)projections_serving(server->options.projections, (size_t)view, &checkpoint); /* only its position matters */
    return checkpoint.position.value >= position;
}

static void too_early(struct http_call *call, int view, uint64_t position)
{
    http_problem(call, 503, "ask again, or wait with Prefer: wait=MS", "%s%s has not reached position %" PRIu64,
                 view == HTTP_WAIT_LOG ? "the log" : "view ",
                 view == HTTP_WAIT_LOG ? "" : projections_name(call->server->options.projections, (size_t)view),
                 position);
}

static void look_again(evutil_socket_t fd, short what, void *context)
{
    struct waiting *waiting = context, copy = *waiting;
    struct timeval pause = {0, LOOK_AGAIN_US};
    struct http_server *server = waiting->call->server;
    (void)fd, (void)what;
    bool there = reached(server, waiting->view, waiting->position);
    if (!there && os_clock_monotonic_us(server->clock) < waiting->until_us) {
        (void)event_add(waiting->timer, &pause); /* fails without memory only: the client gives up */
        return;
    }
    waiting_unlink(waiting);
    if (there)
        copy.again(copy.call);
    else
        too_early(copy.call, copy.view, copy.position);
}

/* The client went away: nobody waits any more. */
static void on_gone(struct http_call *call)
{
    for (struct waiting *waiting = call->server->waiting; waiting != NULL; waiting = waiting->next) {
        if (waiting->call == call) {
            waiting_unlink(waiting);
            return;
        }
    }
}

static void keep(struct http_call *call, int view, void (*again)(struct http_call *), uint64_t position,
                 uint64_t wait_ms)
{
    struct http_server *server = call->server;
    struct waiting *waiting = alloc_zeroed(1, sizeof(*waiting));
    struct timeval pause = {0, LOOK_AGAIN_US};
    *waiting = (struct waiting){.next = server->waiting,
                                .call = call,
                                .view = view,
                                .again = again,
                                .position = position,
                                .until_us = os_clock_monotonic_us(server->clock) + (int64_t)wait_ms * 1000};
    waiting->timer = evtimer_new(server->base, look_again, waiting);
    server->waiting = waiting;
    server->waiting_count++;
    call->gone = on_gone;
    (void)event_add(waiting->timer, &pause); /* fails without memory only: the client gives up */
}

/* "wait=250" of the Prefer header; 0 when there is none that can be understood: preferences are no demands. */
static uint64_t preferred_wait_ms(struct http_call *call)
{
    const char *prefer = http_asked(call, "Prefer");
    const char *wait = prefer == NULL ? NULL : strstr(prefer, "wait=");
    char digits[8] = "";
    uint64_t ms = 0;
    if (wait == NULL)
        return 0;
    size_t size = strspn(wait + 5, "0123456789");
    if (size >= sizeof(digits))
        return HTTP_WAIT_MS_MAX;
    memcpy(digits, wait + 5, size);
    if (!http_parse_number(digits, &ms))
        return 0;
    return ms > HTTP_WAIT_MS_MAX ? HTTP_WAIT_MS_MAX : ms;
}

bool http_await(struct http_call *call, int view, void (*again)(struct http_call *call))
{
    const char *wanted = http_asked(call, "Banyan-Min-Position");
    uint64_t position = 0, wait_ms = preferred_wait_ms(call);
    if (wanted == NULL)
        return true;
    if (!http_parse_number(wanted, &position))
        http_problem(call, 400, NULL, "Banyan-Min-Position is no number");
    else if (reached(call->server, view, position))
        return true;
    else if (wait_ms == 0 || call->server->waiting_count >= WAITING_MAX)
        too_early(call, view, position);
    else
        keep(call, view, again, position, wait_ms);
    return false;
}
