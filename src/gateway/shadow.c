/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadows of reads: what the legacy application has answered is asked of Banyan, too, and compared, by a thread of its
 * own, after the client has its answer.
 *
 *   offered ─▶ queue ─▶ Banyan's answer ──equal──▶ counted
 *                ▲          └ differs: a race? ─▶ loop: the legacy application again ─▶ until the source is read ─┐
 *                └──────────────────────────────────────────────────────────────────────────────────────────────┘
 *
 * A race is no difference.  It counts when the legacy application gave the same answer (L) before and after Banyan's,
 * which was asked once the source had been read up to the first:
 *
 *   L1 ─ source read ─ Banyan's differs ─ L2 equal to L1: a difference       L2 another: again, from L2
 *
 * While the ownership is shared, lists lack in the legacy tables what the mirror is about to write: there it has to
 * last for seconds, too.  What moves all the time is counted as dropped.  Noise is the same with the legacy application
 * alone: how often does it differ from itself?  The queue is bounded by number and bytes; what does not fit is counted
 * as dropped.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "gateway/facade.h"
#include "os/random.h"

enum {
    LOOKS_MAX = 256, /* in the queue */
    BYTES_MAX = 32 * 1024 * 1024,
    ROUNDS_MAX = 12,
    ROUNDS_MIRROR = 10, /* with pauses in between */
    PAUSE_US = 250 * 1000,
    NOISE_ROUNDS_MAX = 3,
    WAIT_US = 250 * 1000,
    SOURCE_WAIT_US = 2 * 1000 * 1000,
};

struct look {
    struct message message; /* the first member */
    struct look *next;
    struct loop *loop;
    struct banyan_arena arena;
    struct banyan_request request; /* strings in the arena */
    struct banyan_str head;        /* as it goes to the upstream */
    struct banyan_route route;
    int code; /* of the legacy application */
    struct banyan_buf body;
    size_t bytes;
    unsigned round;
    bool noise;
    bool pauses;   /* before it is asked again: the mirror needs time */
    bool answered; /* the upstream answered again */
    int code_before;
    struct banyan_buf body_before; /* of noise: the answer before */
};

struct shadow {
    struct gateway *gateway;
    struct os_thread thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t more;
        struct look *first, **last;
        unsigned count; /* offered and not done */
        size_t bytes;
        struct os_random random;
        bool stop;
    } shared;
};

static void look_free(struct shadow *shadow, struct look *look)
{
    (void)pthread_mutex_lock(&shadow->shared.lock);
    shadow->shared.count--;
    shadow->shared.bytes -= look->bytes;
    (void)pthread_mutex_unlock(&shadow->shared.lock);
    banyan_arena_release(&look->arena);
    banyan_buf_release(&look->body);
    banyan_buf_release(&look->body_before);
    free(look);
}

static void enqueue(struct shadow *shadow, struct look *look)
{
    (void)pthread_mutex_lock(&shadow->shared.lock);
    look->next = NULL;
    *shadow->shared.last = look;
    shadow->shared.last = &look->next;
    (void)pthread_cond_signal(&shadow->shared.more);
    (void)pthread_mutex_unlock(&shadow->shared.lock);
}

/* ---- the legacy application again ---- */

static void on_head(struct exchange *exchange, const struct wire_head *head, struct banyan_str text)
{
    (void)exchange, (void)head, (void)text;
}

static void on_end(struct exchange *exchange, enum exchange_end end)
{
    struct look *look = exchange->context;
    look->answered = end == EXCHANGE_OK && !exchange->copy.overflow;
    if (look->answered) {
        banyan_buf_release(&look->body_before);
        look->body_before = look->body;
        look->code_before = look->code;
        look->body = exchange->copy;
        look->code = exchange->code;
        exchange->copy = (struct banyan_buf)BANYAN_BUF_INIT(0);
    }
    enqueue(look->loop->gateway->shadow, look);
    exchange_free(exchange);
}

static void ask_now(struct look *look)
{
    struct exchange *exchange = exchange_new(look->loop, BANYAN_STR("GET"));
    (void)evbuffer_add(exchange->request, look->head.data, look->head.size); /* out of memory: it is late */
    exchange->request_whole = true;
    exchange->copying = true;
    exchange->copy.size_max = look->loop->gateway->options.compare_body_max;
    exchange->context = look;
    exchange->on_head = on_head;
    exchange->on_end = on_end;
    exchange_start(exchange);
}

static void on_pause_over(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    ask_now(context);
}

static void run_ask(struct message *message)
{
    static const struct timeval pause = {PAUSE_US / 1000000, PAUSE_US % 1000000};
    struct look *look = (struct look *)message;
    if (!look->pauses || event_base_once(look->loop->base, -1, EV_TIMEOUT, on_pause_over, look, &pause) != 0)
        ask_now(look);
}

static void ask_again(struct look *look)
{
    look->message.run = run_ask;
    loop_post(look->loop, &look->message);
}

/* ---- comparing ---- */

static bool is_same(const struct shadow *shadow, int code, struct banyan_str body, const struct look *look)
{
    const struct gateway_options *options = &shadow->gateway->options;
    return code == look->code &&
           compare_bodies(body, banyan_buf_str(&look->body), options->domain->facade->ignored, options->ignored);
}

static void tell(struct shadow *shadow, const struct look *look, bool equal)
{
    if (!equal && !look->noise)
        gateway_count(&shadow->gateway->counts.mismatches);
    if (shadow->gateway->options.traffic != NULL)
        traffic_compared(shadow->gateway->options.traffic, look->noise, equal);
}

static void drop(struct shadow *shadow, struct look *look)
{
    gateway_count(&shadow->gateway->counts.shadows_dropped);
    look_free(shadow, look);
}

static void look_at_noise(struct shadow *shadow, struct look *look)
{
    if (look->round > 0 && !look->answered) {
        drop(shadow, look);
        return;
    }
    bool same = look->round > 0 && is_same(shadow, look->code_before, banyan_buf_str(&look->body_before), look);
    if (!same && look->round < NOISE_ROUNDS_MAX) {
        look->round++;
        ask_again(look);
        return;
    }
    tell(shadow, look, same);
    look_free(shadow, look);
}

/* Does the legacy application's answer of now, equal to the one before, settle that Banyan's differs? */
static bool is_settled(const struct shadow *shadow, struct look *look)
{
    struct owner *owner = shadow->gateway->options.owner;
    uint64_t epoch;
    enum owner_mode mode = owner == NULL ? OWNER_LEGACY : owner_mode(owner, &epoch);
    look->pauses = look->route.key == 0 && mode != OWNER_LEGACY && mode != OWNER_NONE;
    return look->round >= (look->pauses ? ROUNDS_MIRROR : 2) && look->answered &&
           is_same(shadow, look->code_before, banyan_buf_str(&look->body_before), look);
}

/* Banyan's answer, at the latest moment; false: there is none. */
static bool read_here(struct shadow *shadow, struct here *here, struct look *look, bool *ret_same)
{
    struct gateway *gateway = shadow->gateway;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_response response = {.code = 0};
    struct banyan_error err = BANYAN_ERROR_INIT;
    int64_t began = gateway_now(gateway);
    enum banyan_status st = here_read(here, &look->request, &look->route, &arena, &response, &err);
    if (gateway->options.traffic != NULL && look->round == 0)
        traffic_answered(gateway->options.traffic, TRAFFIC_BANYAN, TRAFFIC_READ, gateway_now(gateway) - began,
                         st != BANYAN_OK || response.code >= 500);
    *ret_same = st == BANYAN_OK && is_same(shadow, response.code, response.body, look);
    banyan_arena_release(&arena);
    return st == BANYAN_OK;
}

static void look_at(struct shadow *shadow, struct here *here, struct look *look)
{
    const struct gateway_options *options = &shadow->gateway->options;
    struct banyan_error err = BANYAN_ERROR_INIT;
    bool same = false, caught_up = true;
    if (look->round == 0 && (!options->domain->facade->route(&look->request, &look->arena, &look->route) ||
                             look->route.kind != BANYAN_REQUEST_READ)) {
        drop(shadow, look);
        return;
    }
    if (is_settled(shadow, look)) {
        tell(shadow, look, false);
        look_free(shadow, look);
        return;
    }
    if (look->round > 0 && options->wait_source != NULL)
        caught_up = options->wait_source(options->wait_context, SOURCE_WAIT_US, &err) == BANYAN_OK;
    if ((look->round > 0 && !look->answered) || !caught_up || !read_here(shadow, here, look, &same)) {
        drop(shadow, look);
        return;
    }
    if (!same && look->round < ROUNDS_MAX) {
        look->round++;
        ask_again(look);
    } else if (!same) {
        drop(shadow, look); /* it never stood still */
    } else {
        tell(shadow, look, true);
        look_free(shadow, look);
    }
}

static void shadow_main(void *argument)
{
    struct shadow *shadow = argument;
    struct here here;
    here_init(&here, shadow->gateway);
    (void)pthread_mutex_lock(&shadow->shared.lock);
    while (!shadow->shared.stop) {
        struct look *look = shadow->shared.first;
        if (look == NULL) {
            (void)os_cond_wait(&shadow->shared.more, &shadow->shared.lock, WAIT_US);
            continue;
        }
        shadow->shared.first = look->next;
        if (shadow->shared.first == NULL)
            shadow->shared.last = &shadow->shared.first;
        (void)pthread_mutex_unlock(&shadow->shared.lock);
        if (look->noise)
            look_at_noise(shadow, look);
        else
            look_at(shadow, &here, look);
        (void)pthread_mutex_lock(&shadow->shared.lock);
    }
    (void)pthread_mutex_unlock(&shadow->shared.lock);
    here_release(&here);
}

/* ---- offering ---- */

/* Room for one more of so many bytes? */
static bool reserve(struct shadow *shadow, size_t bytes, bool *ret_noise, uint32_t noise_share)
{
    (void)pthread_mutex_lock(&shadow->shared.lock);
    bool room = shadow->shared.count < LOOKS_MAX && shadow->shared.bytes + bytes <= BYTES_MAX;
    if (room) {
        shadow->shared.count++;
        shadow->shared.bytes += bytes;
    }
    *ret_noise = noise_share > 0 && os_random_below(&shadow->shared.random, ROUTING_SHARE_ALL) < noise_share;
    (void)pthread_mutex_unlock(&shadow->shared.lock);
    return room;
}

static struct look *look_new(const struct ask *ask, const struct exchange *exchange, size_t bytes, bool noise)
{
    struct look *look = alloc_zeroed(1, sizeof(*look));
    struct banyan_buf head = BANYAN_BUF_INIT(GATEWAY_HEAD_BYTES);
    struct head_request how = {.client = banyan_str_of(ask->front == NULL ? "unknown" : ask->front->address),
                               .whole = true};
    look->loop = ask->loop;
    look->bytes = bytes;
    look->noise = noise;
    look->code = exchange->code;
    look->body.size_max = exchange->copy.size_max;
    banyan_buf_add(&look->body, exchange->copy.data, exchange->copy.size);
    head_request(&ask->head, &how, &head);
    look->head = banyan_arena_str(&look->arena, banyan_buf_str(&head));
    banyan_buf_release(&head);
    look->request.method = banyan_arena_str(&look->arena, ask->request.method);
    look->request.path = banyan_arena_str(&look->arena, ask->request.path);
    look->request.query = banyan_arena_str(&look->arena, ask->request.query);
    look->request.body = BANYAN_STR("");
    look->request.now = ask->request.now;
    return look;
}

void shadow_offer(const struct ask *ask, const struct exchange *exchange)
{
    struct gateway *gateway = ask->loop->gateway;
    struct routing_decisions decisions = {.shadow_reads = false};
    size_t bytes = exchange->copy.size + sizeof(struct look);
    bool noise = false;
    if (gateway->options.routing != NULL)
        routing_get(gateway->options.routing, &decisions);
    if (!decisions.shadow_reads || gateway->shadow == NULL || ask->body.size > 0)
        return;
    gateway_count(&gateway->counts.shadows);
    if (exchange->copy.overflow) {
        gateway_count(&gateway->counts.too_large);
        return;
    }
    if (!reserve(gateway->shadow, bytes, &noise, decisions.noise_share)) {
        gateway_count(&gateway->counts.shadows_dropped);
        return;
    }
    enqueue(gateway->shadow, look_new(ask, exchange, bytes, false));
    if (noise && reserve(gateway->shadow, bytes, &noise, 0))
        enqueue(gateway->shadow, look_new(ask, exchange, bytes, true));
}

/* ---- life ---- */

struct shadow *shadow_new(struct gateway *gateway)
{
    struct shadow *shadow = alloc_zeroed(1, sizeof(*shadow));
    shadow->gateway = gateway;
    shadow->shared.last = &shadow->shared.first;
    os_random_seed(&shadow->shared.random, (uint64_t)gateway_now(gateway));
    (void)pthread_mutex_init(&shadow->shared.lock, NULL);
    os_cond_init(&shadow->shared.more);
    os_thread_start(&shadow->thread, "gateway-shadow", shadow_main, shadow);
    return shadow;
}

void shadow_stop(struct shadow *shadow)
{
    if (shadow == NULL)
        return;
    (void)pthread_mutex_lock(&shadow->shared.lock);
    shadow->shared.stop = true;
    (void)pthread_cond_broadcast(&shadow->shared.more);
    (void)pthread_mutex_unlock(&shadow->shared.lock);
    os_thread_join(&shadow->thread);
}

void shadow_free(struct shadow *shadow)
{
    if (shadow == NULL)
        return;
    for (struct look *look; (look = shadow->shared.first) != NULL;) {
        shadow->shared.first = look->next;
        look_free(shadow, look);
    }
    (void)pthread_cond_destroy(&shadow->shared.more);
    (void)pthread_mutex_destroy(&shadow->shared.lock);
    free(shadow);
}
