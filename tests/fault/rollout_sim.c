/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeded simulations of the rollout: the real machine, the real plan and the real cutover in a world that crashes,
 * freezes, delays, and lies (rollout_sim.h).
 *
 * Each seed: a time of chaos with an operator who asks for anything; then the faults end, and within bounded steps
 *   1. the rollout gets to shadow or event-first (resumable), and from there back, and over, and to the end;
 *   2. every acknowledged write is on both sides, in one order, once.
 * After every step:
 *   3. where Banyan owns everything the tables are fenced, and nobody has an open transaction behind the fence;
 *   4. no write is accepted on a side that lacks what the other side accepted (sim_clients.c);
 *   5. nothing captured belongs to an aggregate of Banyan's;
 *   6. nobody keeps the tables locked beyond the session's limit.
 *
 * In a quarter of the seeds a second controller begins while the first is alive or frozen.  The lock of the store rules
 * that out; should it fail, nothing is lost and nobody writes on two sides (2 to 5 hold), but log and journal may come
 * to contradict each other, which is told and waits for a person: 1 is not claimed then.
 *
 *   rollout_sim [SEEDS]             as many seeds from BANYAN_TEST_SEED on (or from 1)
 *   rollout_sim --mutants [SEEDS]   break the world's promises one by one: each has to be found within so many seeds
 *   rollout_sim --trace             one seed, told step by step
 */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/attributes.h"
#include "rollout/plan.h"
#include "rollout_sim.h"

enum {
    STACK_BYTES = 256 * 1024,
    CHAOS_STEPS = 12000,
    HEAL_STEPS = 60000,
    CALM_STEPS = 1500,
    STEP_US = 1500,
    TICK_US = 5000,
    LOCKED_US_MAX = SIM_SESSION_LIMIT_US + 4 * STEP_US,
};

void sim_violate(struct sim *sim, const char *format, ...)
{
    va_list arguments;

    if (sim->violation[0] != '\0')
        return;
    va_start(arguments, format);
    (void)vsnprintf(sim->violation, sizeof(sim->violation), format, arguments);
    va_end(arguments);
}

bool sim_chance(struct sim *sim, unsigned ppm)
{
    return os_random_below(&sim->random, 1000000) < ppm;
}

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return os_random_below(&sim->random, bound);
}

void sim_pause(struct sim_controller *controller, int64_t us)
{
    controller->ready_us = controller->sim->now_us + us;
    if (swapcontext(&controller->context, &controller->sim->home) != 0)
        abort();
}

static bool frozen(const struct sim *sim, const struct sim_controller *controller)
{
    return sim->now_us < controller->frozen_us;
}

/* Is there a process that captures, mirrors, takes commands? */
bool sim_banyan_runs(const struct sim *sim)
{
    for (unsigned i = 0; i < SIM_CONTROLLERS; i++) {
        const struct sim_controller *controller = &sim->controllers[i];

        if (controller->alive && !(controller->whole && frozen(sim, controller)))
            return true;
    }
    return false;
}

BANYAN_PRINTF_LIKE(2, 3) static void trace(const struct sim *sim, const char *format, ...)
{
    va_list arguments;

    if (!sim->trace)
        return;
    (void)printf("# %9.3f ms  owner %s/%" PRIu64 "%s  ", (double)sim->now_us / 1e3, owner_mode_name(sim->mode),
                 sim->epoch, sim->fence ? " fenced" : "");
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    (void)printf("\n");
}

/* ---- a controller ---- */

static void fold(struct sim_controller *controller)
{
    controller->machine = (struct machine){.state = MACHINE_NONE};
    for (size_t i = 0; i < controller->sim->event_count; i++)
        machine_evolve(&controller->machine, &controller->sim->events[i]);
}

static void facts_of(const struct sim *sim, struct guards_facts *ret)
{
    *ret = (struct guards_facts){.source_captures = sim->up,
                                 .backfilled = true,
                                 .views_live = true,
                                 .mirror_proven = true,
                                 .mirror_backlog = (int64_t)(sim->log_count - sim->mirrored),
                                 .gateway_up = true,
                                 .upstream_up = sim->up};
}

/* As controller_decide(): the event under the condition of the stream's version; whoever comes late folds anew. */
static void decide(struct sim_controller *controller, enum machine_verb verb)
{
    struct sim *sim = controller->sim;
    struct machine_request request = {.verb = verb, .actor = "sim", .force = verb == MACHINE_NEXT};
    struct machine_answer *answer = &controller->answer;
    struct guards_facts facts;

    facts_of(sim, &facts);
    sim->late.by[TRAFFIC_BANYAN][TRAFFIC_WRITE].failures = sim->breach ? 300 : 0;
    machine_decide(&controller->machine, &sim->policy, &sim->window, &sim->late, &facts, &request,
                   (struct banyan_time){sim->now_us}, answer);
    if (!answer->moves)
        return;
    sim_pause(controller, (int64_t)sim_below(sim, 2000)); /* to the disk */
    if (sim->event_count == controller->machine.version && sim->event_count < SIM_EVENTS_MAX &&
        !sim_chance(sim, sim->fault_ppm)) {
        trace(sim, "controller %u: %s (%s)", controller->number, answer->event.type, answer->event.reason);
        sim->events[sim->event_count++] = answer->event;
        sim_pause(controller, (int64_t)sim_below(sim, 2000)); /* back from there */
    }
    fold(controller);
}

static void cut(struct sim_controller *controller, enum plan plan)
{
    struct sim *sim = controller->sim;
    enum machine_state state = controller->machine.state;
    struct cutover_options options = {
        .direction = plan_direction(plan, state), .from = OWNER_SHARED, .pause_us_max = SIM_PAUSE_US, .lock_tries = 5};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct cutover_world world;
    enum banyan_status st;
    enum machine_verb verb;

    sim_world(controller, &world);
    controller->session = -1;
    trace(sim, "controller %u: %s, direction %d", controller->number, plan == PLAN_RECOVER ? "recover" : "run",
          (int)options.direction);
    if (plan == PLAN_RECOVER)
        st = cutover_recover(&world, &options, &controller->report, &err);
    else
        st = cutover_run(&world, &options, &controller->report, &err);
    trace(sim, "controller %u: %s in %s, %s: %s", controller->number, banyan_status_name(st),
          cutover_step_name(controller->report.last), controller->report.done ? "done" : "not done", err.message);
    sim->step[controller->number] = CUTOVER_NOT_BEGUN;
    if (controller->session >= 0)
        sim_session_end(sim, controller->session); /* cutover_postgres_free() */
    verb = plan_outcome(plan, state, st, controller->report.done, &controller->recover);
    if (st == BANYAN_OK && plan != PLAN_RECOVER && !controller->report.done)
        sim_violate(sim, "a run is OK and not done");
    if (st == BANYAN_MISMATCH && strstr(err.message, "the log says") != NULL && sim->mutant == SIM_SOUND) {
        sim->contradicted = true;
        if (sim->doubles == 0)
            sim_violate(sim, "a contradiction, with one controller: %s", err.message);
    }
    if (verb != MACHINE_TICK)
        decide(controller, verb);
    else if (st != BANYAN_OK)
        sim_pause(controller, 20000);
}

static void act(struct sim_controller *controller)
{
    struct sim *sim = controller->sim;
    enum owner_mode mode = sim->mode;
    uint64_t epoch = sim->epoch;
    enum plan plan = plan_next(&controller->machine, mode, controller->recover);

    switch (plan) {
    case PLAN_NOTHING:
        return;
    case PLAN_RECOVER:
    case PLAN_CUT_OVER:
    case PLAN_BACK:
    case PLAN_BACK_SHARED:
        cut(controller, plan);
        return;
    case PLAN_SHARE:
        sim_pause(controller, (int64_t)sim_below(sim, 2000));
        if (sim->mutant != SIM_OWN_BLINDLY || sim->epoch == epoch)
            (void)sim_own(sim, epoch, OWNER_SHARED); /* refused: the next turn looks again */
        return;
    case PLAN_STUCK:
        fold(controller);
        if (plan_next(&controller->machine, sim->mode, controller->recover) != PLAN_STUCK)
            return;
        sim->stuck++;
        if (sim->doubles == 0)
            sim_violate(sim, "the state is %s, the owner is %s, with one controller",
                        machine_state_name(controller->machine.state), owner_mode_name(sim->mode));
        decide(controller, MACHINE_ROLLBACK); /* as the controller tells the operator */
        return;
    }
}

/* What the operator wants now. */
static enum machine_verb wish(struct sim *sim, const struct machine *machine)
{
    if (sim->goal == MACHINE_NONE) {
        static const enum machine_verb any[] = {MACHINE_TICK,  MACHINE_TICK,   MACHINE_TICK,   MACHINE_NEXT,
                                                MACHINE_NEXT,  MACHINE_NEXT,   MACHINE_NEXT,   MACHINE_START,
                                                MACHINE_PAUSE, MACHINE_RESUME, MACHINE_RESUME, MACHINE_ROLLBACK};

        return any[sim_below(sim, sizeof(any) / sizeof(any[0]))];
    }
    if (machine->paused)
        return MACHINE_RESUME;
    if (machine->state == sim->goal)
        return MACHINE_TICK;
    if (machine->state == MACHINE_PREPARED)
        return MACHINE_START;
    if (sim->goal == MACHINE_SHADOW)
        return machine->state == MACHINE_BACKFILLING ? MACHINE_TICK : MACHINE_ROLLBACK;
    return machine->state == MACHINE_EVENT_FIRST ? MACHINE_COMPLETE : MACHINE_NEXT;
}

static void controller_main(unsigned high, unsigned low)
{
    struct sim_controller *controller = (struct sim_controller *)((uintptr_t)high << 32 | low);

    fold(controller);
    controller->recover = plan_recovers(controller->machine.state);
    for (;;) {
        if (controller->sim->event_count != controller->machine.version)
            fold(controller);
        decide(controller, MACHINE_TICK);
        decide(controller, wish(controller->sim, &controller->machine));
        act(controller);
        sim_pause(controller, (int64_t)sim_below(controller->sim, TICK_US));
    }
}

static void controller_begin(struct sim *sim, unsigned number)
{
    struct sim_controller *controller = &sim->controllers[number];
    char *stack = controller->stack == NULL ? malloc(STACK_BYTES) : controller->stack;

    assert(stack != NULL);
    *controller = (struct sim_controller){
        .sim = sim, .number = number, .alive = true, .session = -1, .stack = stack, .ready_us = sim->now_us};
    if (getcontext(&controller->context) != 0)
        abort();
    controller->context.uc_stack.ss_sp = stack;
    controller->context.uc_stack.ss_size = STACK_BYTES;
    controller->context.uc_link = NULL;
    makecontext(&controller->context, (void (*)(void))controller_main, 2, (unsigned)((uintptr_t)controller >> 32),
                (unsigned)(uintptr_t)controller);
    trace(sim, "controller %u begins", number);
}

/* kill -9.  The server hears of it at once, or when its session times out. */
static void controller_kill(struct sim *sim, unsigned number)
{
    struct sim_controller *controller = &sim->controllers[number];

    if (!controller->alive)
        return;
    trace(sim, "controller %u is killed in %s", number, cutover_step_name(sim->step[number]));
    sim->crashes++;
    sim->crashed_at[sim->step[number]]++;
    sim->step[number] = CUTOVER_NOT_BEGUN;
    controller->alive = false;
    if (controller->session >= 0 && sim_below(sim, 2) == 0)
        sim_session_end(sim, controller->session);
    if (sim_banyan_runs(sim))
        return;
    sim->hold_us = 0; /* the gateway died with it, and what it had in hand; at the server it may still be under way */
    for (unsigned i = 0; i < SIM_CLIENTS; i++)
        sim->banyan[i].state = SIM_IDLE;
}

/* ---- steps ---- */

static void check(struct sim *sim)
{
    if (sim_fenced_mode(sim) && !sim->fence)
        sim_violate(sim, "the owner is %s of epoch %" PRIu64 ", and the tables are not fenced",
                    owner_mode_name(sim->mode), sim->epoch);
    for (unsigned i = 0; i < SIM_CLIENTS; i++) {
        if (sim_fenced_mode(sim) && sim->legacy[i].state == SIM_OPEN)
            sim_violate(sim, "the owner is %s, and a transaction of the legacy application is open",
                        owner_mode_name(sim->mode));
    }
    for (unsigned i = 0; i < SIM_SESSIONS; i++) {
        const struct sim_session *session = &sim->sessions[i];

        if (session->alive && session->locked && session->pending == SIM_PENDING_NONE &&
            sim->now_us - session->locked_us > LOCKED_US_MAX + 100 * STEP_US)
            sim_violate(sim, "the tables are locked for %" PRId64 " ms", (sim->now_us - session->locked_us) / 1000);
    }
}

static void step(struct sim *sim)
{
    unsigned who = (unsigned)sim_below(sim, 16);

    sim->steps++;
    sim->now_us += 1 + (int64_t)sim_below(sim, STEP_US);
    if (who < 4) {
        struct sim_controller *controller = &sim->controllers[who % SIM_CONTROLLERS];

        if (controller->alive && !frozen(sim, controller) && sim->now_us >= controller->ready_us &&
            swapcontext(&sim->home, &controller->context) != 0)
            abort();
    } else if (who < 4 + SIM_CLIENTS) {
        sim_legacy_step(sim, &sim->legacy[who - 4]);
    } else if (who < 4 + 2 * SIM_CLIENTS) {
        sim_banyan_step(sim, &sim->banyan[who - 4 - SIM_CLIENTS]);
    } else if (who < 13) {
        if (!sim_chance(sim, sim->late_ppm))
            sim_capture_step(sim);
    } else if (who < 15) {
        if (!sim_chance(sim, sim->late_ppm))
            sim_mirror_step(sim);
    }
    sim_server_step(sim);
    check(sim);
}

static void freeze(struct sim *sim, unsigned number)
{
    struct sim_controller *controller = &sim->controllers[number];

    if (!controller->alive || frozen(sim, controller))
        return;
    controller->frozen_us = sim->now_us + (int64_t)sim_below(sim, 3000000);
    controller->whole = sim_below(sim, 2) == 0;
    sim->freezes++;
    trace(sim, "controller %u is frozen in %s", number, cutover_step_name(sim->step[number]));
}

/* Where a cutover is under way, trouble comes more often. */
static void trouble(struct sim *sim, unsigned seldom)
{
    bool busy = sim->step[0] != CUTOVER_NOT_BEGUN || sim->step[1] != CUTOVER_NOT_BEGUN;
    unsigned number = (unsigned)sim_below(sim, SIM_CONTROLLERS);

    if (sim_below(sim, busy ? seldom : 8 * (uint64_t)seldom) != 0)
        return;
    switch (sim_below(sim, 8)) {
    case 0:
    case 1:
    case 2:
        controller_kill(sim, number);
        break;
    case 3:
    case 4:
        freeze(sim, number);
        break;
    case 5:
        if (sim->up) {
            sim_server_stop(sim);
            sim->down_us = sim->now_us + (int64_t)sim_below(sim, 1000000);
            trace(sim, "the server stops");
        }
        break;
    case 6:
        sim->breach = !sim->breach;
        break;
    default: /* a second one beside the first, which may be frozen, or not */
        if (!sim->controllers[number].alive && sim->pairs && sim_below(sim, 2) == 0) {
            sim->doubles += sim->controllers[1 - number].alive;
            controller_begin(sim, number);
        }
        break;
    }
}

static void chaos(struct sim *sim)
{
    unsigned seldom = 40 + (unsigned)sim_below(sim, 400);

    sim->fault_ppm = (unsigned)sim_below(sim, 4) * 15000;
    sim->goal = MACHINE_NONE;
    for (unsigned i = 0; i < CHAOS_STEPS && sim->violation[0] == '\0'; i++) {
        step(sim);
        trouble(sim, seldom);
        if (!sim->controllers[0].alive && !sim->controllers[1].alive && sim_below(sim, 200) == 0)
            controller_begin(sim, 0);
    }
}

/* ---- the end ---- */

static const struct machine *machine_now(struct sim *sim)
{
    fold(&sim->controllers[0]);
    return &sim->controllers[0].machine;
}

static void reach(struct sim *sim, enum machine_state goal)
{
    unsigned steps = 0;

    sim->goal = goal;
    while (sim->violation[0] == '\0' && !sim->contradicted && steps < HEAL_STEPS) {
        static const enum owner_mode owners[MACHINE_STATES] = {
            [MACHINE_SHADOW] = OWNER_LEGACY, [MACHINE_EVENT_FIRST] = OWNER_BANYAN, [MACHINE_COMPLETED] = OWNER_BANYAN};
        const struct sim_controller *controller = &sim->controllers[0];
        bool there = sim->event_count > 0 && sim->events[sim->event_count - 1].to == goal;

        if (there && controller->alive &&
            (sim->mode == owners[goal] || (goal == MACHINE_SHADOW && sim->mode == OWNER_NONE)))
            return;
        step(sim);
        steps++;
        if (steps == HEAL_STEPS / 16) /* two for ever would end each other's sessions for ever */
            controller_kill(sim, 1);
    }
    if (sim->violation[0] == '\0' && !sim->contradicted)
        sim_violate(sim, "it does not get to %s: it is %s, the owner is %s of epoch %" PRIu64, machine_state_name(goal),
                    machine_state_name(machine_now(sim)->state), owner_mode_name(sim->mode), sim->epoch);
}

/* Everybody stops writing, and what is under way ends. */
static void check_all(struct sim *sim, const char *when)
{
    static uint8_t seen[SIM_WRITES_MAX];
    unsigned steps = 0;

    if (sim->contradicted) /* and nobody writes on two sides: every step looked */
        return;
    sim->writing = false;
    while (sim->violation[0] == '\0' && steps++ < HEAL_STEPS &&
           (sim->captured < sim->wal_count || sim->mirrored < sim->log_count || steps < CALM_STEPS))
        step(sim);
    memset(seen, 0, sizeof(seen));
    for (unsigned key = 0; key < sim->keys && sim->violation[0] == '\0'; key++) {
        if (!sim_equal(sim, key))
            sim_violate(sim, "%s: key %u differs: %zu writes in the table, %zu in the log", when, key,
                        sim->rows[key].count, sim->lists[key].count);
        for (size_t i = 0; i < sim->lists[key].count; i++)
            seen[sim->lists[key].ids[i]]++;
    }
    for (unsigned id = 0; id < sim->writes && sim->violation[0] == '\0'; id++) {
        if (sim->acknowledged[id] && seen[id] != 1)
            sim_violate(sim, "%s: acknowledged write %u is there %u times", when, id, seen[id]);
    }
    sim->writing = true;
}

static void calm(struct sim *sim)
{
    for (unsigned i = 0; i < CALM_STEPS && sim->violation[0] == '\0'; i++)
        step(sim);
}

static void heal(struct sim *sim)
{
    static const enum machine_state way[] = {MACHINE_SHADOW, MACHINE_EVENT_FIRST, MACHINE_COMPLETED};
    bool first_forward = sim_below(sim, 2) == 0;

    sim->fault_ppm = sim->late_ppm = 0;
    sim->breach = false;
    sim->down_us = 0;
    if (!sim->controllers[0].alive)
        controller_begin(sim, 0);
    trace(sim, "the faults end");
    if (first_forward) {
        reach(sim, MACHINE_EVENT_FIRST);
        check_all(sim, "healed, event-first");
    }
    for (unsigned i = 0; i < 3; i++) {
        reach(sim, way[i]);
        check_all(sim, machine_state_name(way[i]));
        if (i < 2)
            calm(sim);
    }
}

/* ---- runs ---- */

static void sim_init(struct sim *sim, uint64_t seed, enum sim_mutant mutant)
{
    char *stacks[SIM_CONTROLLERS];

    for (unsigned i = 0; i < SIM_CONTROLLERS; i++)
        stacks[i] = sim->controllers[i].stack;
    memset(sim, 0, sizeof(*sim));
    for (unsigned i = 0; i < SIM_CONTROLLERS; i++)
        sim->controllers[i] = (struct sim_controller){.sim = sim, .session = -1, .stack = stacks[i]};
    os_random_seed(&sim->random, seed);
    sim->seed = seed;
    sim->mutant = mutant;
    sim->up = sim->writing = true;
    sim->mode = OWNER_NONE;
    sim->keys = SIM_KEYS_AT_FIRST;
    machine_policy_init(&sim->policy);
    sim->policy.limits.step_us_min = 0;
    sim->pairs = sim_below(sim, 4) == 0;
    sim->late_ppm = (unsigned)sim_below(sim, 4) * 250000;
    sim->policy.automatic = sim_below(sim, 4) == 0;
    sim->window.seconds_us = sim->policy.limits.window_us;
    sim->late.seconds_us = 1000000;
    for (int side = 0; side < TRAFFIC_SIDES; side++) {
        for (int kind = 0; kind < TRAFFIC_KINDS; kind++)
            sim->window.by[side][kind].requests = sim->late.by[side][kind].requests = 1000;
    }
    sim->window.answers.compared = sim->window.noise.compared = 1000;
    controller_begin(sim, 0);
}

struct totals {
    uint64_t steps, crashes, freezes, doubles, stuck, contradictions, outages, faults, late, cutovers, back, refused,
        legacy, banyan, events;
    uint64_t at[CUTOVER_STEPS], crashed_at[CUTOVER_STEPS];
};

static void add_up(struct totals *totals, const struct sim *sim)
{
    totals->steps += sim->steps;
    totals->crashes += sim->crashes;
    totals->freezes += sim->freezes;
    totals->doubles += sim->doubles;
    totals->stuck += sim->stuck;
    totals->contradictions += sim->contradicted;
    totals->outages += sim->outages;
    totals->faults += sim->faults;
    totals->late += sim->late_commits;
    totals->cutovers += sim->cutovers;
    totals->back += sim->handed_back;
    totals->refused += sim->refused;
    totals->legacy += sim->accepted[0];
    totals->banyan += sim->accepted[1];
    totals->events += sim->event_count;
    for (unsigned i = 0; i < CUTOVER_STEPS; i++) {
        totals->at[i] += sim->at[i];
        totals->crashed_at[i] += sim->crashed_at[i];
    }
}

static void print_totals(const struct totals *totals)
{
    (void)printf(
        "# %" PRIu64 " steps, %" PRIu64 " cutovers, %" PRIu64 " handed back, %" PRIu64 " events of the rollout\n"
        "# %" PRIu64 " crashes, %" PRIu64 " freezes, %" PRIu64 " second controllers (%" PRIu64 " times stuck, %" PRIu64
        " contradictions), %" PRIu64 " outages, %" PRIu64 " faults, %" PRIu64 " late commits\n"
        "# writes accepted: legacy %" PRIu64 ", Banyan %" PRIu64 "; refused %" PRIu64 "\n# killed in:",
        totals->steps, totals->cutovers, totals->back, totals->events, totals->crashes, totals->freezes,
        totals->doubles, totals->stuck, totals->contradictions, totals->outages, totals->faults, totals->late,
        totals->legacy, totals->banyan, totals->refused);
    for (unsigned i = 1; i < CUTOVER_STEPS; i++)
        (void)printf(" %s %" PRIu64, cutover_step_name((enum cutover_step)i), totals->crashed_at[i]);
    (void)printf("\n");
}

/* False: something was found. */
static bool run(struct sim *sim, uint64_t seed, enum sim_mutant mutant, bool told)
{
    sim_init(sim, seed, mutant);
    sim->trace = told;
    chaos(sim);
    if (sim->violation[0] == '\0')
        heal(sim);
    return sim->violation[0] == '\0';
}

static int run_seeds(struct sim *sim, uint64_t first, uint64_t count)
{
    struct totals totals = {.steps = 0};

    for (uint64_t seed = first; seed < first + count; seed++) {
        if (!run(sim, seed, SIM_SOUND, false)) {
            (void)printf("not ok 1 - simulated rollouts\n# seed %" PRIu64 " (BANYAN_TEST_SEED=%" PRIu64
                         " rollout_sim --trace): %s\n",
                         seed, seed, sim->violation);
            return 1;
        }
        add_up(&totals, sim);
    }
    print_totals(&totals);
    (void)printf("ok 1 - %" PRIu64 " simulated rollouts\n", count);
    return 0;
}

static int run_mutants(struct sim *sim, uint64_t first, uint64_t count)
{
    static const char *const names[SIM_MUTANTS] = {
        [SIM_SOUND] = "sound",
        [SIM_NO_FENCE] = "no trigger in the locking transaction",
        [SIM_LOCK_JUMPS] = "the lock does not wait for open transactions",
        [SIM_NO_EPOCH] = "appends without the epoch",
        [SIM_OWN_BLINDLY] = "changes of the owner without the epoch",
        [SIM_JOURNAL_EARLY] = "the journal is read while an earlier session may commit",
        [SIM_NOT_CAUGHT_UP] = "nobody waits for capture",
        [SIM_NOT_DRAINED] = "nobody waits for the mirror",
        [SIM_JOURNAL_NO_KEY] = "the journal has no key",
        [SIM_NO_SESSION_LIMIT] = "idle transactions are not ended",
        [SIM_COMMIT_LIES] = "a commit that was not made",
        [SIM_UNFENCE_LIES] = "an unfence that was not made",
        [SIM_NEW_SESSION] = "a session that was ended is replaced",
        [SIM_FENCE_SHORT] = "a fence that is too early",
    };
    int missed = 0;

    for (unsigned mutant = SIM_SOUND + 1; mutant < SIM_MUTANTS; mutant++) {
        uint64_t seed = first;

        while (seed < first + count && run(sim, seed, (enum sim_mutant)mutant, false))
            seed++;
        if (seed == first + count)
            missed++;
        (void)printf("%s %u - mutant: %s%s", seed == first + count ? "not ok" : "ok", mutant, names[mutant],
                     seed == first + count ? " (not found)\n" : "");
        if (seed < first + count)
            (void)printf("\n# found by seed %" PRIu64 ": %s\n", seed, sim->violation);
    }
    return missed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *given = getenv("BANYAN_TEST_SEED"), *seeds = getenv("SEEDS");
    uint64_t first = given == NULL ? 1 : strtoull(given, NULL, 10), count;
    bool mutants = argc > 1 && strcmp(argv[1], "--mutants") == 0, told = argc > 1 && strcmp(argv[1], "--trace") == 0;
    const char *argument = argc > 1 + (mutants || told) ? argv[1 + (mutants || told)] : seeds;
    struct sim *sim = calloc(1, sizeof(*sim));
    int code;

    assert(sim != NULL);
    count = argument == NULL ? 100 : strtoull(argument, NULL, 10);
    if (told) {
        bool sound = run(sim, first, argument == NULL ? SIM_SOUND : (enum sim_mutant)count, true);

        (void)printf("# seed %" PRIu64 ": %s\n", first, sound ? "nothing was found" : sim->violation);
        code = sound ? 0 : 1;
    } else if (mutants) {
        code = run_mutants(sim, first, count);
    } else {
        code = run_seeds(sim, first, count);
    }
    for (unsigned i = 0; i < SIM_CONTROLLERS; i++)
        free(sim->controllers[i].stack);
    free(sim);
    return code;
}
