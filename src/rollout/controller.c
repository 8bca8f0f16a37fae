/* SPDX-License-Identifier: Apache-2.0 */
/* Life, decisions and their events, routing, and the look thread: see controller.h and controller_int.h. */
#include "rollout/controller.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/random.h"
#include "rollout/controller_int.h"
#include "rollout/plan.h"

enum {
    LATE_US = 1000 * 1000,
    NOISE_SHARE = ROUTING_SHARE_ALL / 10, /* of shadowed reads are asked of the legacy application twice */
    DRAIN_US_MAX = 2 * 1000 * 1000,       /* `complete` waits so long for the mirror before it looks */
};

/* ---- what comes and goes ---- */

void controller_lend(struct controller *controller, struct controller_lent *ret)
{
    pthread_mutex_lock(&controller->shared.lock);
    *ret = controller->shared.lent;
    controller->shared.lent_count++;
    pthread_mutex_unlock(&controller->shared.lock);
}

void controller_return(struct controller *controller)
{
    pthread_mutex_lock(&controller->shared.lock);
    controller->shared.lent_count--;
    pthread_cond_broadcast(&controller->shared.changed);
    pthread_mutex_unlock(&controller->shared.lock);
}

/* With the lock: nobody uses what was lent before. */
static void wait_returned(struct controller *controller)
{
    while (controller->shared.lent_count > 0)
        (void)os_cond_wait(&controller->shared.changed, &controller->shared.lock, CONTROLLER_TICK_US);
    pthread_cond_broadcast(&controller->shared.changed);
}

void controller_lend_mirror(struct controller *controller, struct legacy_mirror *mirror)
{
    pthread_mutex_lock(&controller->shared.lock);
    controller->shared.lent.mirror = mirror;
    wait_returned(controller);
    pthread_mutex_unlock(&controller->shared.lock);
}

void controller_set_legacy(struct controller *controller, struct legacy *legacy)
{
    pthread_mutex_lock(&controller->shared.lock);
    controller->shared.lent.legacy = legacy;
    wait_returned(controller);
    pthread_mutex_unlock(&controller->shared.lock);
}

void controller_set_gateway(struct controller *controller, const struct controller_gateway *gateway)
{
    pthread_mutex_lock(&controller->shared.lock);
    controller->shared.lent.has_gateway = gateway != NULL;
    if (gateway != NULL)
        controller->shared.lent.gateway = *gateway;
    wait_returned(controller);
    pthread_mutex_unlock(&controller->shared.lock);
}

void controller_machine(struct controller *controller, struct machine *ret)
{
    pthread_mutex_lock(&controller->shared.lock);
    *ret = controller->shared.machine;
    pthread_mutex_unlock(&controller->shared.lock);
}

/* ---- the stream ---- */

/* The state as the log has it. */
static enum banyan_status fold(struct controller *controller, struct machine *ret, struct banyan_error *err)
{
    struct store_reader *reader = store_reader_open(controller->options.store);
    struct machine machine = {.state = MACHINE_NONE};
    struct store_read_event read;
    struct machine_event event;
    enum banyan_status st =
        store_reader_stream(reader, banyan_str_of(controller->stream), (struct banyan_version){0}, err);

    while (st == BANYAN_OK) {
        st = store_reader_next(reader, &read, err);
        if (st == BANYAN_OK)
            st = machine_event_parse(read.event.type, read.event.payload, &event, err);
        if (st == BANYAN_OK)
            machine_evolve(&machine, &event);
    }
    store_reader_close(reader);
    if (st != BANYAN_NOT_FOUND) {
        banyan_error_context(err, "stream %s", controller->stream);
        return st;
    }
    banyan_error_clear(err); /* that a stream does not exist is an error with a text */
    *ret = machine;
    return BANYAN_OK;
}

enum banyan_status controller_append(struct controller *controller, const char *stream, uint64_t expected,
                                     const char *type, struct banyan_time at, struct banyan_str payload,
                                     struct banyan_error *err)
{
    const struct store_event event = {
        .id = os_uuid_new(),
        .stream = banyan_str_of(stream),
        .type = banyan_str_of(type),
        .provenance = BANYAN_EXACT,
        .at = at,
        .payload = payload,
    };
    const struct store_condition condition = {event.stream, STORE_EXPECT_VERSION, {expected}};
    const struct store_append append = {
        .events = &event, .event_count = 1, .conditions = &condition, .condition_count = 1};
    struct store_appended appended;

    return store_append(controller->options.store, &append, &appended, err);
}

static void adopt(struct controller *controller, const struct machine *machine)
{
    pthread_mutex_lock(&controller->shared.lock);
    controller->shared.machine = *machine;
    controller->shared.settled = false;
    pthread_cond_broadcast(&controller->shared.changed);
    pthread_mutex_unlock(&controller->shared.lock);
}

/* With *order*.  Where the append failed it may have been made nevertheless: the log is asked. */
static enum banyan_status take(struct controller *controller, struct machine *machine,
                               const struct machine_event *event, struct banyan_error *err)
{
    struct banyan_buf json = BANYAN_BUF_INIT(CONTROLLER_PAYLOAD_BYTES_MAX);
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status st;

    machine_event_json(event, &json);
    st = controller_append(controller, controller->stream, machine->version, event->type, event->at,
                           banyan_buf_str(&json), err);
    banyan_buf_release(&json);
    if (st == BANYAN_OK)
        machine_evolve(machine, event);
    if (st == BANYAN_OK || fold(controller, machine, &why) == BANYAN_OK)
        adopt(controller, machine);
    if (st != BANYAN_OK)
        banyan_error_context(err, "%s was decided", event->type);
    return st;
}

/* ---- decisions ---- */

enum banyan_status controller_decide(struct controller *controller, const struct machine_request *request, bool dry,
                                     struct machine_answer *ret, struct banyan_error *err)
{
    struct traffic_window *windows = alloc_zeroed(2, sizeof(*windows)); /* too large for a stack */
    struct guards_facts facts;
    struct machine machine;
    enum banyan_status st = BANYAN_OK;

    pthread_mutex_lock(&controller->order);
    pthread_mutex_lock(&controller->shared.lock);
    machine = controller->shared.machine;
    windows[0] = controller->shared.window;
    windows[1] = controller->shared.late;
    facts = controller->shared.facts;
    if (request->verb == MACHINE_COMPLETE && controller->shared.drained_at_us != 0 &&
        os_clock_monotonic_us(os_clock_real()) - controller->shared.drained_at_us < CONTROLLER_TICK_US)
        facts.mirror_backlog = 0;
    pthread_mutex_unlock(&controller->shared.lock);
    machine_decide(&machine, &controller->options.policy, &windows[0], &windows[1], &facts, request,
                   os_clock_now(os_clock_real()), ret);
    if (ret->moves && !dry) {
        st = take(controller, &machine, &ret->event, err);
        if (st == BANYAN_OK)
            controller_route(controller);
    }
    pthread_mutex_unlock(&controller->order);
    free(windows);
    return st;
}

/* What a person would ask next. */
static enum machine_verb verb_next(enum machine_state state)
{
    if (state == MACHINE_EVENT_FIRST)
        return MACHINE_COMPLETE;
    return state == MACHINE_NONE || state == MACHINE_PREPARED ? MACHINE_START : MACHINE_NEXT;
}

void controller_route(struct controller *controller)
{
    struct routing_decisions old, new;
    struct machine_wants wants;
    struct machine machine;
    enum owner_mode mode;

    controller_machine(controller, &machine);
    machine_wants(&machine, &wants);
    mode = owner_mode(controller->options.owner, NULL);
    routing_get(controller->options.routing, &old);
    new = old;
    /* Nobody is sent where nothing would be accepted: a share begins once the ownership is shared, and where Banyan
     * owns everything it gets everything, whatever the state has come to know of it. */
    if (mode == OWNER_BANYAN)
        new.new_share = ROUTING_SHARE_ALL;
    else if (mode != OWNER_CLOSING)
        new.new_share = mode == OWNER_SHARED ? wants.new_share : 0;
    new.read_share = wants.read_share;
    new.shadow_reads = wants.shadow_reads;
    new.noise_share = wants.shadow_reads ? NOISE_SHARE : 0;
    if (new.new_share != old.new_share || new.read_share != old.read_share || new.shadow_reads != old.shadow_reads ||
        new.noise_share != old.noise_share)
        routing_set(controller->options.routing, &new);
}

/* ---- the look thread ---- */

/* What was seen before the shadow of this attempt says nothing about it: a fault that led back would lead back again.
 */
static int64_t within_attempt(struct controller *controller, int64_t window_us)
{
    struct machine machine;
    int64_t in_attempt_us;

    controller_machine(controller, &machine);
    if (machine.state <= MACHINE_SHADOW)
        controller->attempt_from_us = machine.since.us;
    in_attempt_us = os_clock_now(os_clock_real()).us - controller->attempt_from_us;
    if (in_attempt_us < CONTROLLER_TICK_US)
        return CONTROLLER_TICK_US;
    return in_attempt_us < window_us ? in_attempt_us : window_us;
}

static void look_at_figures(struct controller *controller)
{
    struct traffic_window *windows = alloc_zeroed(2, sizeof(*windows));
    const struct guards_limits *limits = &controller->options.policy.limits;
    struct guards_facts facts;

    traffic_window(controller->options.traffic, within_attempt(controller, limits->window_us), &windows[0]);
    traffic_window(controller->options.traffic, within_attempt(controller, LATE_US), &windows[1]);
    controller_facts(controller, &facts);
    pthread_mutex_lock(&controller->shared.lock);
    controller->shared.window = windows[0];
    controller->shared.late = windows[1];
    controller->shared.facts = facts;
    pthread_mutex_unlock(&controller->shared.lock);
    free(windows);
}

static void look_once(struct controller *controller)
{
    struct machine_request tick = {.verb = MACHINE_TICK};
    struct machine_request next = {.verb = MACHINE_NEXT};
    struct machine_answer *answer = alloc_zeroed(1, sizeof(*answer));
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct machine machine;
    enum banyan_status st;

    look_at_figures(controller);
    st = controller_decide(controller, &tick, false, answer, &why);
    controller_route(controller);
    controller_machine(controller, &machine);
    next.verb = verb_next(machine.state);
    if (st == BANYAN_OK) /* else *why* is shown, and the next look tries again */
        st = controller_decide(controller, &next, true, answer, &why);
    pthread_mutex_lock(&controller->shared.lock);
    if (st == BANYAN_OK)
        controller->shared.next = *answer;
    controller->shared.look_error = why;
    pthread_mutex_unlock(&controller->shared.lock);
    free(answer);
}

static void look_main(void *argument)
{
    struct controller *controller = argument;

    do {
        look_once(controller);
    } while (!os_stop_wait(controller->options.stop, CONTROLLER_TICK_US));
}

/* ---- life ---- */

static char *stream_name(const char *prefix, const char *source)
{
    size_t size = strlen(prefix) + strlen(source) + 1;
    char *name = alloc_zeroed(1, size);

    memcpy(name, prefix, strlen(prefix));
    memcpy(name + strlen(prefix), source, strlen(source));
    return name;
}

static void release(struct controller *controller)
{
    pthread_mutex_destroy(&controller->order);
    pthread_mutex_destroy(&controller->shared.lock);
    pthread_cond_destroy(&controller->shared.changed);
    free(controller->stream);
    free(controller->verify_stream);
    free(controller->conflict_stream);
    free(controller);
}

enum banyan_status controller_start(const struct controller_options *options, struct controller **ret,
                                    struct banyan_error *err)
{
    struct controller *controller = alloc_zeroed(1, sizeof(*controller));
    enum banyan_status st;

    controller->options = *options;
    controller->source = *options->source;
    controller->options.source = &controller->source;
    controller->stream = stream_name("$rollout-", controller->source.name);
    controller->verify_stream = stream_name("$verify-", controller->source.name);
    controller->conflict_stream = stream_name("$conflict-", controller->source.name);
    pthread_mutex_init(&controller->order, NULL);
    pthread_mutex_init(&controller->shared.lock, NULL);
    os_cond_init(&controller->shared.changed);
    controller->shared.facts = (struct guards_facts){.capture_lag_us = GUARDS_UNKNOWN,
                                                     .view_lag_us = GUARDS_UNKNOWN,
                                                     .mirror_backlog = GUARDS_UNKNOWN,
                                                     .verify_age_us = GUARDS_UNKNOWN,
                                                     .verify_differences = GUARDS_UNKNOWN};
    st = fold(controller, &controller->shared.machine, err);
    if (st == BANYAN_OK)
        st = controller_verify_load(controller, err);
    if (st != BANYAN_OK) {
        release(controller);
        return st;
    }
    controller->recover = plan_recovers(controller->shared.machine.state);
    controller_route(controller);
    os_thread_start(&controller->look, "rollout-look", look_main, controller);
    os_thread_start(&controller->act, "rollout-act", controller_act_main, controller);
    os_thread_start(&controller->verify, "rollout-verify", controller_verify_main, controller);
    *ret = controller;
    return BANYAN_OK;
}

void controller_stop(struct controller *controller)
{
    if (controller == NULL)
        return;
    pthread_mutex_lock(&controller->shared.lock);
    pthread_cond_broadcast(&controller->shared.changed);
    pthread_mutex_unlock(&controller->shared.lock);
    os_thread_join(&controller->look);
    os_thread_join(&controller->act);
    os_thread_join(&controller->verify);
    legacy_mirror_stop(controller->shared.lent.mirror);
    release(controller);
}

/* ---- asking ---- */

void controller_status(struct controller *controller, struct controller_status *ret)
{
    struct controller_lent lent;

    memset(ret, 0, sizeof(*ret));
    controller_lend(controller, &lent);
    if (lent.mirror != NULL)
        legacy_mirror_status(lent.mirror, &ret->mirror);
    controller_return(controller);
    ret->owner = owner_mode(controller->options.owner, &ret->epoch);
    ret->owned = ret->owner == OWNER_SHARED ? owner_count(controller->options.owner) : 0;
    pthread_mutex_lock(&controller->shared.lock);
    ret->machine = controller->shared.machine;
    ret->next = controller->shared.next;
    ret->window = controller->shared.window;
    ret->facts = controller->shared.facts;
    ret->cutover = controller->shared.cutover;
    ret->verifying = controller->shared.verifying;
    /* What keeps the rollout from being recorded comes first, then what keeps it from acting. */
    ret->error = controller->shared.look_error;
    if (ret->error.status == BANYAN_OK)
        ret->error = controller->shared.act_error;
    if (ret->error.status == BANYAN_OK)
        ret->error = controller->shared.verify_error;
    pthread_mutex_unlock(&controller->shared.lock);
    machine_wants(&ret->machine, &ret->wants);
}

/* `complete` asks that nothing is left for the mirror; under way there always is something. */
static void drain(struct controller *controller)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct controller_lent lent;
    bool drained = false;

    controller_lend(controller, &lent);
    if (lent.mirror != NULL)
        drained = legacy_mirror_wait(lent.mirror, store_durable(controller->options.store), DRAIN_US_MAX, &why) ==
                  BANYAN_OK; /* why not is seen in the check */
    controller_return(controller);
    pthread_mutex_lock(&controller->shared.lock);
    controller->shared.drained_at_us = drained ? os_clock_monotonic_us(os_clock_real()) : 0;
    pthread_mutex_unlock(&controller->shared.lock);
}

enum banyan_status controller_ask(struct controller *controller, const struct machine_request *request, bool dry,
                                  struct machine_answer *ret, struct banyan_error *err)
{
    enum banyan_status st;
    int64_t before_us;

    if (request->verb < MACHINE_START || request->verb > MACHINE_COMPLETE)
        return banyan_error_set(err, BANYAN_INVALID, "nobody can ask the rollout for that");
    if (request->verb == MACHINE_COMPLETE)
        drain(controller);
    if (dry)
        return controller_decide(controller, request, true, ret, err);
    pthread_mutex_lock(&controller->shared.lock);
    before_us = controller->shared.pause_us_max;
    controller->shared.pause_us_max = request->pause_us_max; /* the act thread may begin before we are back */
    pthread_mutex_unlock(&controller->shared.lock);
    st = controller_decide(controller, request, false, ret, err);
    if (st == BANYAN_OK && ret->moves &&
        (ret->event.to == MACHINE_CUTTING_OVER || ret->event.to == MACHINE_ROLLING_BACK))
        return st;
    pthread_mutex_lock(&controller->shared.lock);
    controller->shared.pause_us_max = before_us;
    pthread_mutex_unlock(&controller->shared.lock);
    return st;
}

static bool in_progress(const struct controller *controller)
{
    enum machine_state state = controller->shared.machine.state;

    return state == MACHINE_BACKFILLING || state == MACHINE_CUTTING_OVER || state == MACHINE_ROLLING_BACK ||
           !controller->shared.settled;
}

enum banyan_status controller_wait(struct controller *controller, int64_t timeout_us, struct banyan_error *err)
{
    struct os_clock *clock = os_clock_real();
    int64_t until_us = os_clock_monotonic_us(clock) + timeout_us, left_us = timeout_us;
    enum machine_state state;
    bool over;

    pthread_mutex_lock(&controller->shared.lock);
    while (in_progress(controller) && left_us > 0 && !os_stop_requested(controller->options.stop)) {
        (void)os_cond_wait(&controller->shared.changed, &controller->shared.lock,
                           left_us < CONTROLLER_TICK_US ? left_us : CONTROLLER_TICK_US);
        left_us = until_us - os_clock_monotonic_us(clock);
    }
    over = in_progress(controller);
    state = controller->shared.machine.state;
    pthread_mutex_unlock(&controller->shared.lock);
    if (!over)
        return BANYAN_OK;
    return banyan_error_set(err, os_stop_requested(controller->options.stop) ? BANYAN_STOPPED : BANYAN_TIMEOUT,
                            "the rollout is still busy: %s", machine_state_name(state));
}
