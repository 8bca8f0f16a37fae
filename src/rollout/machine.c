/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transitions.  The drawing is in machine.h; this is the table.
 *
 *   | from                 | verb            | to             | when                                    | event | |
 * none                 | tick, start     | prepared       | always (start goes on to backfilling)   | RolloutPrepared |
 *   | prepared             | start           | backfilling    | not paused                              |
 * BackfillStarted    | | backfilling          | tick            | shadow         | captured, backfilled, views live |
 * ShadowStarted      | | shadow               | next            | canary         | checks | CanaryStarted      | |
 * canary, ramp         | next            | ramp           | checks; there is another step           | RampStepped | |
 * canary, ramp         | next            | cutting over   | checks; it was the last step            | CutoverStarted |
 *   | cutting over         | cutover done    | event first    | always                                  |
 * EventFirstStarted  | | cutting over         | cutover failed  | canary or ramp | always | CutoverFailed      | |
 * event first          | complete        | completed      | checks, nothing left for the mirror     | RolloutCompleted
 * | | backfilling, shadow  | rollback        | prepared       | always: nothing is Banyan's             |
 * RolloutWithdrawn   | | canary … event first | rollback        | rolling back   | always | RollbackStarted    | |
 * canary, ramp, event  | tick            | rolling back   | a breach                                | RollbackStarted |
 *   | rolling back         | rollback done   | shadow         | always                                  | RolledBack |
 *   | all but completed    | pause, resume   | the same       | it is not, it is                        |
 * RolloutPaused, …Resumed |
 *
 * "Checks": guards_judge() says PASS; or HOLD or WAIT, and the request is forced; and it is not paused.  With an
 * automatic policy a tick is a `next` that does not complain; it never completes.
 */
#include "rollout/machine.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "banyan/attributes.h"

static const char actor_self[] = "banyan", actor_guard[] = "guard";

const char *machine_state_name(enum machine_state state)
{
    static const char *const names[MACHINE_STATES] = {
        [MACHINE_NONE] = "none",
        [MACHINE_PREPARED] = "prepared",
        [MACHINE_BACKFILLING] = "backfilling",
        [MACHINE_SHADOW] = "shadow",
        [MACHINE_CANARY] = "canary",
        [MACHINE_RAMP] = "ramp",
        [MACHINE_CUTTING_OVER] = "cutting-over",
        [MACHINE_EVENT_FIRST] = "event-first",
        [MACHINE_ROLLING_BACK] = "rolling-back",
        [MACHINE_COMPLETED] = "completed",
    };
    return (unsigned)state < MACHINE_STATES ? names[state] : "unknown";
}

void machine_policy_init(struct machine_policy *ret)
{
    *ret = (struct machine_policy){
        .steps = {ROUTING_SHARE_ALL / 20, ROUTING_SHARE_ALL / 4, ROUTING_SHARE_ALL / 2, ROUTING_SHARE_ALL},
        .step_count = 4,
    };
    guards_limits_init(&ret->limits);
}

/* ---- looking ---- */

/* One decision: what is known, and the answer that is being made. */
struct decision {
    const struct machine *machine;
    const struct machine_policy *policy;
    const struct guards_facts *facts;
    const struct machine_request *request;
    struct banyan_time now;
    struct machine_answer *ret;
};

static bool banyan_answers(enum machine_state state)
{
    return state == MACHINE_CANARY || state == MACHINE_RAMP || state == MACHINE_EVENT_FIRST;
}

static void judge(const struct decision *decision, const struct traffic_window *window,
                  const struct traffic_window *late)
{
    const struct machine *machine = decision->machine;
    struct guards_facts facts = *decision->facts;
    struct guards_stage stage = {
        .candidate_reads = banyan_answers(machine->state),
        .candidate_writes = banyan_answers(machine->state),
        .shadow = machine->state == MACHINE_SHADOW ||
                  ((machine->state == MACHINE_CANARY || machine->state == MACHINE_RAMP) &&
                   machine->share < ROUTING_SHARE_ALL), /* at 100 % no read is left to compare */
        .mirror = machine->state >= MACHINE_SHADOW && machine->state != MACHINE_COMPLETED,
        .in_step_us = decision->now.us > machine->since.us ? decision->now.us - machine->since.us : 0,
    };

    /* The legacy application may be switched off for good before `complete`. */
    if (machine->state == MACHINE_EVENT_FIRST)
        facts.upstream_up = true;
    guards_judge(&decision->policy->limits, &stage, window, late, &facts, &decision->ret->checks);
}

/* What `complete` asks for besides: the legacy tables are left behind complete. */
static void judge_drained(const struct decision *decision)
{
    struct guards_result *checks = &decision->ret->checks;
    int64_t backlog = decision->facts->mirror_backlog;
    struct guards_check *check = &checks->checks[checks->check_count];

    if (checks->check_count == GUARDS_CHECKS_MAX)
        return;
    *check = (struct guards_check){.name = "mirror-drained", .verdict = GUARDS_PASS};
    if (backlog < 0)
        (void)snprintf(check->text, sizeof(check->text), "how far the mirror is behind is not known");
    else
        (void)snprintf(check->text, sizeof(check->text), "the mirror has %" PRId64 " events to write: none may be left",
                       backlog);
    if (backlog != 0) {
        check->verdict = GUARDS_WAIT;
        if (checks->verdict != GUARDS_BREACH)
            checks->verdict = GUARDS_WAIT;
    }
    checks->check_count++;
}

/* The first check with the worst verdict, and how many others are not passed. */
static void name_worst(const struct guards_result *checks, char *ret, size_t size)
{
    const struct guards_check *worst = NULL;
    size_t others = 0;

    for (size_t i = 0; i < checks->check_count; i++) {
        if (checks->checks[i].verdict == checks->verdict && worst == NULL)
            worst = &checks->checks[i];
        else if (checks->checks[i].verdict != GUARDS_PASS)
            others++;
    }
    if (worst == NULL)
        (void)snprintf(ret, size, "no check was made");
    else if (others == 0)
        (void)snprintf(ret, size, "%s: %s", worst->name, worst->text);
    else
        (void)snprintf(ret, size, "%s: %s; and %zu more", worst->name, worst->text, others);
}

/* ---- answering ---- */

BANYAN_PRINTF_LIKE(2, 3)
static void refuse(const struct decision *decision, const char *format, ...)
{
    struct machine_answer *ret = decision->ret;
    va_list arguments;

    if (decision->request->verb == MACHINE_TICK)
        return; /* nobody asked */
    ret->refused = true;
    va_start(arguments, format);
    (void)vsnprintf(ret->refusal, sizeof(ret->refusal), format, arguments);
    va_end(arguments);
}

/* Who asked, and why; a tick speaks for itself. */
static void move(const struct decision *decision, const char *type, enum machine_state to)
{
    const struct machine *machine = decision->machine;
    const struct machine_request *request = decision->request;
    struct machine_event *event = &decision->ret->event;
    bool asked = request->verb != MACHINE_TICK;

    decision->ret->moves = true;
    event->type = type;
    event->to = to;
    event->paused = machine->paused;
    event->step = machine->step;
    event->share = machine->share;
    event->attempt = machine->attempt;
    event->at = decision->now;
    (void)snprintf(event->actor, sizeof(event->actor), "%s",
                   asked && request->actor != NULL ? request->actor : actor_self);
    (void)snprintf(event->reason, sizeof(event->reason), "%s%s", asked && request->force ? "forced: " : "",
                   asked && request->reason != NULL ? request->reason : "");
}

static void say(const struct decision *decision, const char *reason)
{
    struct machine_event *event = &decision->ret->event;

    if (event->reason[0] == '\0')
        (void)snprintf(event->reason, sizeof(event->reason), "%s", reason);
}

/* May the step be left forwards?  Says why not. */
static bool may_go_on(const struct decision *decision)
{
    const struct machine_request *request = decision->request;
    const struct guards_result *checks = &decision->ret->checks;
    char worst[MACHINE_REASON_MAX];

    if (decision->machine->paused) {
        refuse(decision, "the rollout is paused: resume it first");
        return false;
    }
    if (checks->verdict == GUARDS_PASS)
        return true;
    if (request->force && request->verb != MACHINE_TICK && checks->verdict != GUARDS_BREACH)
        return true;
    name_worst(checks, worst, sizeof(worst));
    refuse(decision, "%s", worst);
    return false;
}

static void step_to(const struct decision *decision, size_t step)
{
    struct machine_event *event = &decision->ret->event;

    event->step = step;
    event->share = decision->policy->steps[step];
    event->checks = decision->ret->checks;
    say(decision, "all checks pass");
}

static void go_on(const struct decision *decision)
{
    const struct machine *machine = decision->machine;

    if (decision->policy->shadow_only && machine->state == MACHINE_SHADOW) {
        refuse(decision, "the façade of this domain does not understand all of the application's writes: the rollout "
                         "ends with the shadow");
        return;
    }
    if (!may_go_on(decision))
        return;
    if (machine->state == MACHINE_SHADOW && decision->policy->step_count > 0) {
        move(decision, "CanaryStarted", MACHINE_CANARY);
        step_to(decision, 0);
    } else if (machine->state != MACHINE_SHADOW && machine->step + 1 < decision->policy->step_count) {
        move(decision, "RampStepped", MACHINE_RAMP);
        step_to(decision, machine->step + 1);
    } else if (machine->state == MACHINE_SHADOW) {
        refuse(decision, "the policy has no steps: name at least one share");
    } else {
        move(decision, "CutoverStarted", MACHINE_CUTTING_OVER);
        decision->ret->event.checks = decision->ret->checks;
        say(decision, "all checks pass");
    }
}

static void next(const struct decision *decision)
{
    switch (decision->machine->state) {
    case MACHINE_SHADOW:
    case MACHINE_CANARY:
    case MACHINE_RAMP:
        go_on(decision);
        break;
    case MACHINE_NONE:
    case MACHINE_PREPARED:
        refuse(decision, "nothing was started: start it first");
        break;
    case MACHINE_BACKFILLING:
        refuse(decision, "the shadow begins by itself once the history is in the log and the read models are live");
        break;
    case MACHINE_CUTTING_OVER:
        refuse(decision, "a cutover is under way");
        break;
    case MACHINE_ROLLING_BACK:
        refuse(decision, "a rollback is under way");
        break;
    case MACHINE_EVENT_FIRST:
        refuse(decision, "Banyan owns everything: complete it, or roll it back");
        break;
    case MACHINE_COMPLETED:
    case MACHINE_STATES:
        refuse(decision, "the rollout is completed");
        break;
    }
}

static void start(const struct decision *decision)
{
    const struct machine *machine = decision->machine;

    if (machine->state != MACHINE_NONE && machine->state != MACHINE_PREPARED) {
        refuse(decision, "it was started already: it is %s", machine_state_name(machine->state));
    } else if (machine->paused) {
        refuse(decision, "the rollout is paused: resume it first");
    } else {
        move(decision, "BackfillStarted", MACHINE_BACKFILLING);
        decision->ret->event.attempt = machine->attempt + 1;
        say(decision, "asked for");
    }
}

static void pause_or_resume(const struct decision *decision, bool paused)
{
    const struct machine *machine = decision->machine;

    if (machine->state == MACHINE_COMPLETED || machine->state == MACHINE_NONE) {
        refuse(decision, "there is nothing to %s: it is %s", paused ? "pause" : "resume",
               machine_state_name(machine->state));
    } else if (machine->paused == paused) {
        refuse(decision, paused ? "it is paused already" : "it is not paused");
    } else {
        move(decision, paused ? "RolloutPaused" : "RolloutResumed", machine->state);
        decision->ret->event.paused = paused;
        say(decision, "asked for");
    }
}

static void withdraw(const struct decision *decision)
{
    move(decision, "RolloutWithdrawn", MACHINE_PREPARED);
    say(decision, "asked for; the legacy application owned everything");
}

static void roll_back(const struct decision *decision)
{
    switch (decision->machine->state) {
    case MACHINE_BACKFILLING:
    case MACHINE_SHADOW:
        withdraw(decision);
        break;
    case MACHINE_CANARY:
    case MACHINE_RAMP:
    case MACHINE_CUTTING_OVER:
    case MACHINE_EVENT_FIRST:
        move(decision, "RollbackStarted", MACHINE_ROLLING_BACK);
        decision->ret->event.checks = decision->ret->checks;
        say(decision, "asked for");
        break;
    case MACHINE_ROLLING_BACK:
        refuse(decision, "a rollback is under way");
        break;
    case MACHINE_COMPLETED:
        refuse(decision, "it is completed: the legacy tables do not follow any more, so there is no way back");
        break;
    case MACHINE_NONE:
    case MACHINE_PREPARED:
    case MACHINE_STATES:
        refuse(decision, "nothing was started: there is nothing to roll back");
        break;
    }
}

static void complete(const struct decision *decision)
{
    if (decision->machine->state != MACHINE_EVENT_FIRST) {
        refuse(decision, "only event-first can be completed: it is %s", machine_state_name(decision->machine->state));
        return;
    }
    judge_drained(decision);
    if (!may_go_on(decision))
        return;
    move(decision, "RolloutCompleted", MACHINE_COMPLETED);
    decision->ret->event.checks = decision->ret->checks;
    say(decision, "asked for");
}

static void end_cutover(const struct decision *decision, bool done)
{
    const struct machine *machine = decision->machine;

    if (machine->state != MACHINE_CUTTING_OVER) {
        refuse(decision, "no cutover is under way: it is %s", machine_state_name(machine->state));
    } else if (done) {
        move(decision, "EventFirstStarted", MACHINE_EVENT_FIRST);
        say(decision, "the cutover is done");
    } else {
        move(decision, "CutoverFailed", machine->step == 0 ? MACHINE_CANARY : MACHINE_RAMP);
        say(decision, "the cutover failed; everything is as it was");
    }
}

static void end_rollback(const struct decision *decision)
{
    struct machine_event *event = &decision->ret->event;

    if (decision->machine->state != MACHINE_ROLLING_BACK) {
        refuse(decision, "no rollback is under way: it is %s", machine_state_name(decision->machine->state));
        return;
    }
    move(decision, "RolledBack", MACHINE_SHADOW);
    event->step = 0;
    event->share = 0;
    event->attempt++;
    event->paused = decision->machine->paused || decision->policy->automatic;
    say(decision, "the legacy application owns everything again");
}

static void tick(const struct decision *decision)
{
    const struct machine *machine = decision->machine;
    const struct guards_facts *facts = decision->facts;
    struct machine_event *event = &decision->ret->event;

    if (machine->state == MACHINE_NONE) {
        move(decision, "RolloutPrepared", MACHINE_PREPARED);
        say(decision, "a source and a rollout are configured");
    } else if (machine->state == MACHINE_BACKFILLING) {
        if (machine->paused || !facts->source_captures || !facts->backfilled || !facts->views_live)
            return;
        move(decision, "ShadowStarted", MACHINE_SHADOW);
        event->checks = decision->ret->checks;
        say(decision, "the history is in the log, changes are captured, the read models are live");
    } else if (banyan_answers(machine->state) && decision->ret->checks.verdict == GUARDS_BREACH) {
        move(decision, "RollbackStarted", MACHINE_ROLLING_BACK);
        (void)snprintf(event->actor, sizeof(event->actor), "%s", actor_guard);
        name_worst(&decision->ret->checks, event->reason, sizeof(event->reason));
        event->checks = decision->ret->checks;
    } else if (decision->policy->automatic && machine->state != MACHINE_EVENT_FIRST) {
        next(decision);
    }
}

void machine_decide(const struct machine *machine, const struct machine_policy *policy,
                    const struct traffic_window *window, const struct traffic_window *late,
                    const struct guards_facts *facts, const struct machine_request *request, struct banyan_time now,
                    struct machine_answer *ret)
{
    const struct decision decision = {machine, policy, facts, request, now, ret};

    memset(ret, 0, sizeof(*ret));
    judge(&decision, window, late);
    switch (request->verb) {
    case MACHINE_TICK:
        tick(&decision);
        break;
    case MACHINE_START:
        start(&decision);
        break;
    case MACHINE_NEXT:
        next(&decision);
        break;
    case MACHINE_PAUSE:
    case MACHINE_RESUME:
        pause_or_resume(&decision, request->verb == MACHINE_PAUSE);
        break;
    case MACHINE_ROLLBACK:
        roll_back(&decision);
        break;
    case MACHINE_COMPLETE:
        complete(&decision);
        break;
    case MACHINE_CUTOVER_DONE:
    case MACHINE_CUTOVER_FAILED:
        end_cutover(&decision, request->verb == MACHINE_CUTOVER_DONE);
        break;
    case MACHINE_ROLLBACK_DONE:
        end_rollback(&decision);
        break;
    }
}

/* ---- folding ---- */

void machine_evolve(struct machine *machine, const struct machine_event *event)
{
    if (event->to == MACHINE_ROLLING_BACK && machine->state != MACHINE_ROLLING_BACK)
        machine->came_from = machine->state;
    if (event->to != machine->state || event->step != machine->step)
        machine->since = event->at;
    if (event->attempt != machine->attempt)
        machine->started_at = event->at;
    machine->state = event->to;
    machine->paused = event->paused;
    machine->step = event->step;
    machine->share = event->share;
    machine->attempt = event->attempt;
    machine->version++;
}

void machine_wants(const struct machine *machine, struct machine_wants *ret)
{
    *ret = (struct machine_wants){.owner = OWNER_LEGACY};
    switch (machine->state) {
    case MACHINE_SHADOW:
        ret->mirror = true; /* idle, and known to work before anybody needs it */
        ret->shadow_reads = true;
        break;
    case MACHINE_CANARY:
    case MACHINE_RAMP:
    case MACHINE_CUTTING_OVER:
        ret->owner = machine->state == MACHINE_CUTTING_OVER ? OWNER_NONE : OWNER_SHARED;
        ret->new_share = machine->share;
        ret->read_share = machine->share;
        ret->shadow_reads = true;
        ret->mirror = true;
        ret->cut_over = machine->state == MACHINE_CUTTING_OVER;
        break;
    case MACHINE_EVENT_FIRST:
    case MACHINE_COMPLETED:
        ret->owner = OWNER_BANYAN;
        ret->new_share = ROUTING_SHARE_ALL;
        ret->read_share = ROUTING_SHARE_ALL;
        ret->mirror = machine->state == MACHINE_EVENT_FIRST;
        break;
    case MACHINE_ROLLING_BACK:
        ret->owner = OWNER_NONE;
        ret->mirror = true;
        ret->hand_back = true;
        break;
    case MACHINE_NONE:
    case MACHINE_PREPARED:
    case MACHINE_BACKFILLING:
    case MACHINE_STATES:
        break;
    }
}
