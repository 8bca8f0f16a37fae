/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making the world as the state wants it, again and again: what is done is not looked at, only what is lacking.  So
 * there is no other code for going on after a crash, but for one thing: a process that died in a cutover left it
 * half-way, and cutover_recover() comes first then.
 *
 *   mirror runs?  ─▶  cutover to run?  ─▶  ownership to hand back?  ─▶  ownership as wanted?  ─▶  settled
 *
 * What fails is tried again with pauses; a new event of the machine ends the pause.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "rollout/controller_int.h"
#include "rollout/cutover_postgres.h"
#include "rollout/plan.h"

enum {
    PAUSE_FIRST_US = 200 * 1000,
    PAUSE_US_MAX = 5 * 1000 * 1000,
    DRAIN_US = 10 * 1000 * 1000,
};

/* ---- mirror ---- */

static enum banyan_status start_mirror(struct controller *controller, struct banyan_error *err)
{
    struct owner *owner = controller->options.owner;
    enum owner_mode mode = owner_mode(owner, NULL);
    bool owned = mode == OWNER_SHARED || mode == OWNER_CLOSING || mode == OWNER_BANYAN;
    struct legacy_mirror_options options = {
        .domain = controller->options.domain,
        .source = controller->source.name,
        .conninfo = controller->source.conninfo,
        .store = controller->options.store,
        /* While the legacy application owns everything there is nothing to write. */
        .from = owned ? owner_since(owner) : store_durable(controller->options.store),
        .stop = controller->options.stop,
    };
    struct legacy_mirror *mirror = NULL;
    enum banyan_status st = legacy_mirror_prove(&options, err);

    if (st == BANYAN_OK)
        st = legacy_mirror_start(&options, &mirror, err);
    if (st != BANYAN_OK)
        banyan_error_context(err, "mirror");
    else
        controller_lend_mirror(controller, mirror);
    return st;
}

/* Behind `complete` the legacy tables are left as the log has them at that moment. */
static enum banyan_status end_mirror(struct controller *controller, struct legacy_mirror *mirror, bool drain,
                                     struct banyan_error *err)
{
    if (drain) {
        enum banyan_status st = legacy_mirror_wait(mirror, store_durable(controller->options.store), DRAIN_US, err);

        if (st != BANYAN_OK) {
            banyan_error_context(err, "the mirror's last events");
            return st;
        }
    }
    controller_lend_mirror(controller, NULL);
    legacy_mirror_stop(mirror);
    return BANYAN_OK;
}

static enum banyan_status act_mirror(struct controller *controller, const struct machine *machine,
                                     const struct machine_wants *wants, struct banyan_error *err)
{
    struct legacy_mirror *mirror;

    pthread_mutex_lock(&controller->shared.lock);
    mirror = controller->shared.lent.mirror; /* only this thread changes it */
    pthread_mutex_unlock(&controller->shared.lock);
    if (wants->mirror && mirror == NULL)
        return start_mirror(controller, err);
    if (!wants->mirror && mirror != NULL)
        return end_mirror(controller, mirror, machine->state == MACHINE_COMPLETED, err);
    return BANYAN_OK;
}

/* ---- cutover, either way ---- */

/* Nobody may meet a gateway that lets writes go on by the routing of before. */
static void at_step(void *context, enum cutover_step step)
{
    struct controller *controller = context;

    if (step == CUTOVER_RELEASE)
        controller_route(controller);
    pthread_mutex_lock(&controller->shared.lock);
    controller->shared.cutover.last = step;
    pthread_mutex_unlock(&controller->shared.lock);
}

static struct cutover_postgres *make_world(struct controller *controller, const struct controller_lent *lent,
                                           int64_t pause_us_max, struct cutover_world *ret)
{
    const struct controller_options *options = &controller->options;
    struct cutover_postgres_options world = {
        .domain = options->domain,
        .source = controller->source.name,
        .conninfo = controller->source.conninfo,
        .store = options->store,
        .projections = options->projections,
        .aggregates = options->aggregates,
        .owner = options->owner,
        .keys = options->keys,
        .legacy = lent->legacy,
        .mirror = lent->mirror,
        .gateway = lent->has_gateway ? &lent->gateway : NULL,
        .pause_us_max = pause_us_max,
        .lag_us_max = options->policy.limits.lag_us_max,
        .mirror_backlog_max = options->policy.limits.mirror_backlog_max,
        .at = at_step,
        .at_context = controller,
        .stop = options->stop,
    };
    struct cutover_postgres *postgres;

    pthread_mutex_lock(&controller->shared.lock);
    if (controller->shared.verification.clean_known)
        world.verified = controller->shared.verification.clean_position;
    pthread_mutex_unlock(&controller->shared.lock);
    postgres = cutover_postgres_new(&world);
    cutover_postgres_world(postgres, ret);
    return postgres;
}

/* Run it, or find out what became of an earlier one. */
static enum banyan_status cut(struct controller *controller, enum cutover_direction direction, bool recover,
                              struct cutover_report *ret, struct banyan_error *err)
{
    struct cutover_options options = controller->options.cutover;
    struct cutover_postgres *postgres;
    struct controller_lent lent;
    struct cutover_world world;
    enum banyan_status st;

    options.direction = direction;
    options.from = OWNER_SHARED; /* the canary made it so */
    pthread_mutex_lock(&controller->shared.lock);
    if (controller->shared.pause_us_max > 0)
        options.pause_us_max = controller->shared.pause_us_max;
    pthread_mutex_unlock(&controller->shared.lock);
    controller_lend(controller, &lent);
    postgres = make_world(controller, &lent, options.pause_us_max, &world);
    st = recover ? cutover_recover(&world, &options, ret, err) : cutover_run(&world, &options, ret, err);
    cutover_postgres_free(postgres);
    controller_return(controller);
    controller_route(controller);
    pthread_mutex_lock(&controller->shared.lock);
    if (!recover)
        controller->shared.cutover = *ret;
    pthread_mutex_unlock(&controller->shared.lock);
    return st;
}

static enum banyan_status tell(struct controller *controller, enum machine_verb verb, const char *reason,
                               struct banyan_error *err)
{
    struct machine_request request = {.verb = verb, .actor = "banyan", .reason = reason};
    struct machine_answer *answer;
    enum banyan_status st;

    answer = alloc_zeroed(1, sizeof(*answer));
    /* Refused: somebody asked for a rollback meanwhile, which is begun from where things are. */
    st = controller_decide(controller, &request, false, answer, err);
    free(answer);
    if (st == BANYAN_OK) {
        pthread_mutex_lock(&controller->shared.lock);
        controller->shared.pause_us_max = 0;
        pthread_mutex_unlock(&controller->shared.lock);
    }
    return st;
}

static void say_pause(const struct cutover_report *report, char *ret, size_t size)
{
    (void)snprintf(ret, size,
                   "writes waited %" PRId64 ".%03" PRId64 " ms at most; tables locked %" PRId64 ".%03" PRId64
                   " ms; %u tries to lock; epoch %" PRIu64,
                   report->pause_us / 1000, report->pause_us % 1000, report->locked_us / 1000, report->locked_us % 1000,
                   report->lock_tries, report->epoch);
}

/* Run a cutover, or find out what became of an earlier one, and tell the machine. */
static enum banyan_status act_cut(struct controller *controller, const struct machine *machine, enum plan plan,
                                  struct banyan_error *err)
{
    struct cutover_report report = {.done = false};
    struct banyan_error why = BANYAN_ERROR_INIT;
    char reason[MACHINE_REASON_MAX];
    enum banyan_status st = cut(controller, plan_direction(plan, machine->state), plan == PLAN_RECOVER, &report, &why);
    enum machine_verb verb = plan_outcome(plan, machine->state, st, report.done, &controller->recover);

    if (verb == MACHINE_TICK) {
        if (st != BANYAN_OK && err != NULL)
            *err = why;
        return st;
    }
    if (plan == PLAN_RECOVER)
        (void)snprintf(reason, sizeof(reason), "it was interrupted; found %s", report.done ? "done" : "as before");
    else if (report.done)
        say_pause(&report, reason, sizeof(reason));
    else
        (void)snprintf(reason, sizeof(reason), "%s: %.220s", cutover_step_name(report.last), why.message);
    return tell(controller, verb, reason, err);
}

static enum banyan_status act_share(struct controller *controller, struct banyan_error *err)
{
    uint64_t epoch = 0;
    enum banyan_status st;

    (void)owner_mode(controller->options.owner, &epoch); /* a change meanwhile is a CONFLICT */
    st = owner_change(controller->options.owner, epoch, OWNER_SHARED, "the canary begins", NULL, err);
    controller_route(controller);
    return st;
}

static enum banyan_status act_once(struct controller *controller, const struct machine *machine,
                                   struct banyan_error *err)
{
    enum owner_mode mode = owner_mode(controller->options.owner, NULL);
    enum plan plan = plan_next(machine, mode, controller->recover);
    struct machine_wants wants;
    enum banyan_status st;

    machine_wants(machine, &wants);
    st = act_mirror(controller, machine, &wants, err);
    if (st != BANYAN_OK && plan != PLAN_RECOVER) /* what was interrupted is settled also where no mirror can be had */
        return st;
    switch (plan) {
    case PLAN_NOTHING:
        return st;
    case PLAN_RECOVER:
    case PLAN_CUT_OVER:
    case PLAN_BACK:
    case PLAN_BACK_SHARED:
        banyan_error_clear(err);
        return act_cut(controller, machine, plan, err);
    case PLAN_SHARE:
        return act_share(controller, err);
    case PLAN_STUCK:
        break;
    }
    st = banyan_error_set(err, BANYAN_MISMATCH, "the state is %s, but the owner is %s",
                          machine_state_name(machine->state), owner_mode_name(mode));
    banyan_error_hint(err, "one of them was restored from an old copy; a rollback hands back whatever is Banyan's");
    return st;
}

/* ---- the thread ---- */

static void note(struct controller *controller, const struct machine *machine, enum banyan_status st,
                 const struct banyan_error *why)
{
    pthread_mutex_lock(&controller->shared.lock);
    controller->shared.act_error = *why;
    controller->shared.settled = st == BANYAN_OK && controller->shared.machine.version == machine->version;
    pthread_cond_broadcast(&controller->shared.changed);
    pthread_mutex_unlock(&controller->shared.lock);
    if (st == BANYAN_OK) {
        controller->act_pause_us = 0;
    } else {
        controller->act_pause_us = controller->act_pause_us == 0 ? PAUSE_FIRST_US : controller->act_pause_us * 2;
        if (controller->act_pause_us > PAUSE_US_MAX)
            controller->act_pause_us = PAUSE_US_MAX;
    }
    controller->act_version = machine->version;
    controller->act_again_us = os_clock_monotonic_us(os_clock_real()) + controller->act_pause_us;
}

/* Until something moved, or a look is due anyway. */
static void wait_a_tick(struct controller *controller, uint64_t version)
{
    pthread_mutex_lock(&controller->shared.lock);
    if (controller->shared.machine.version == version && !os_stop_requested(controller->options.stop))
        (void)os_cond_wait(&controller->shared.changed, &controller->shared.lock, CONTROLLER_TICK_US);
    pthread_mutex_unlock(&controller->shared.lock);
}

void controller_act_main(void *argument)
{
    struct controller *controller = argument;

    while (!os_stop_requested(controller->options.stop)) {
        struct banyan_error why = BANYAN_ERROR_INIT;
        struct machine machine;
        enum banyan_status st;

        controller_machine(controller, &machine);
        if (machine.version == controller->act_version &&
            os_clock_monotonic_us(os_clock_real()) < controller->act_again_us) {
            wait_a_tick(controller, machine.version);
            continue;
        }
        if (machine.version != controller->act_version)
            controller->act_pause_us = 0;
        st = act_once(controller, &machine, &why);
        note(controller, &machine, st, &why);
        wait_a_tick(controller, machine.version);
    }
}
