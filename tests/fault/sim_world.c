/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct cutover_world of the simulation.  Before and behind each effect the turn is given away: there the process may
 * be ended or frozen, the server may stop, the other controller may act.  Answers get lost; commits are carried out
 * late.
 */
#include "rollout_sim.h"

enum {
    STEP_US = 3000,
    WAIT_US = 200 * 1000,
    LATE_US = 2 * 1000 * 1000,
};

static enum banyan_status fault(struct sim *sim, enum banyan_status status, struct banyan_error *err, const char *what)
{
    sim->faults++;
    return banyan_error_set(err, status, "%s", what);
}

/* The way there. */
static enum banyan_status enter(struct sim_controller *controller, bool server, struct banyan_error *err)
{
    struct sim *sim = controller->sim;

    sim_pause(controller, (int64_t)sim_below(sim, STEP_US));
    if (server && !sim->up)
        return banyan_error_set(err, BANYAN_UNAVAILABLE, "the server is down");
    if (sim_chance(sim, sim->fault_ppm)) {
        static const enum banyan_status how[] = {BANYAN_UNAVAILABLE, BANYAN_TIMEOUT, BANYAN_QUERY, BANYAN_PRIVILEGE};

        return fault(sim, how[sim_below(sim, 4)], err, "refused");
    }
    return BANYAN_OK;
}

/* The way back. */
static enum banyan_status leave(struct sim_controller *controller, enum banyan_status lost, struct banyan_error *err)
{
    struct sim *sim = controller->sim;

    sim_pause(controller, (int64_t)sim_below(sim, STEP_US));
    return sim_chance(sim, sim->fault_ppm) ? fault(sim, lost, err, "the answer was lost") : BANYAN_OK;
}

/* The session that looked at the journal: there is no other way to act at the server. */
static struct sim_session *session_of(struct sim_controller *controller, struct banyan_error *err)
{
    struct sim *sim = controller->sim;
    struct sim_session *session = sim_session(sim, controller->session);

    if (session == NULL && sim->mutant == SIM_NEW_SESSION) {
        controller->session = sim_session_new(sim);
        session = sim_session(sim, controller->session);
    }
    if (session == NULL)
        (void)banyan_error_set(err, BANYAN_UNAVAILABLE, "the session is gone");
    else
        session->used_us = sim->now_us;
    return session;
}

static enum banyan_status world_preflight(void *context, enum cutover_direction direction, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    enum banyan_status st = enter(controller, true, err);

    (void)direction;
    return st;
}

static enum banyan_status world_hold(void *context, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    struct sim *sim = controller->sim;
    enum banyan_status st = enter(controller, false, err);

    if (st != BANYAN_OK)
        return st;
    sim->hold_us = sim->now_us + SIM_PAUSE_US;
    while (sim_in_flight(sim)) {
        if (sim->now_us >= sim->hold_us)
            return banyan_error_set(err, BANYAN_TIMEOUT, "writes are under way");
        sim_pause(controller, 1000);
    }
    return BANYAN_OK;
}

static void world_release(void *context)
{
    struct sim_controller *controller = context;

    sim_pause(controller, (int64_t)sim_below(controller->sim, STEP_US));
    controller->sim->hold_us = 0;
}

static enum banyan_status world_lock(void *context, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    struct sim *sim = controller->sim;
    enum banyan_status st = enter(controller, true, err);
    int64_t until_us = sim->now_us + SIM_LOCK_TIMEOUT_US;
    struct sim_session *session;

    if (st != BANYAN_OK)
        return st;
    session = session_of(controller, err);
    if (session == NULL)
        return BANYAN_UNAVAILABLE;
    session->waits = true;
    while (!sim_lock_granted(sim, session)) {
        sim_pause(controller, 1000);
        session = session_of(controller, err);
        if (session == NULL)
            return BANYAN_UNAVAILABLE;
        if (sim->now_us >= until_us) {
            session->waits = false;
            return banyan_error_set(err, BANYAN_BUSY, "somebody writes");
        }
    }
    session->waits = false;
    session->locked = true;
    session->trigger = sim->mutant != SIM_NO_FENCE;
    session->used_us = session->locked_us = sim->now_us;
    return leave(controller, BANYAN_UNAVAILABLE, err);
}

static enum banyan_status world_fence(void *context, uint64_t *ret_lsn, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    struct sim *sim = controller->sim;
    enum banyan_status st = enter(controller, true, err);

    if (st == BANYAN_OK)
        *ret_lsn = sim->mutant == SIM_FENCE_SHORT && sim->wal_count > 2 ? sim->wal_count - 2 : sim->wal_count;
    return st == BANYAN_OK ? leave(controller, BANYAN_UNAVAILABLE, err) : st;
}

static enum banyan_status wait_for(struct sim_controller *controller, const size_t *place, size_t at_least,
                                   struct banyan_error *err)
{
    int64_t until_us = controller->sim->now_us + WAIT_US;

    while (*place < at_least) {
        if (controller->sim->now_us >= until_us)
            return banyan_error_set(err, BANYAN_TIMEOUT, "it did not get there in time");
        sim_pause(controller, 500);
    }
    return BANYAN_OK;
}

static enum banyan_status world_caught_up(void *context, uint64_t lsn, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    enum banyan_status st = enter(controller, false, err);

    if (st != BANYAN_OK || controller->sim->mutant == SIM_NOT_CAUGHT_UP)
        return st;
    return wait_for(controller, &controller->sim->captured, lsn, err);
}

static enum banyan_status world_verify(void *context, enum cutover_direction direction, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    struct sim *sim = controller->sim;
    enum banyan_status st = enter(controller, true, err);
    bool blind = sim->mutant == SIM_NOT_CAUGHT_UP || sim->mutant == SIM_NOT_DRAINED || sim->mutant == SIM_FENCE_SHORT;

    for (unsigned key = 0; st == BANYAN_OK && key < sim->keys && !blind; key++) {
        if (direction == CUTOVER_OVER && sim_banyan_owns(sim, key))
            continue; /* the mirror may be behind */
        if (!sim_equal(sim, key))
            st = banyan_error_set(err, BANYAN_MISMATCH, "key %u differs", key);
    }
    return st == BANYAN_OK ? leave(controller, BANYAN_UNAVAILABLE, err) : st;
}

/* Send it: at once, late, or never; and the answer may be lost. */
static enum banyan_status send_commit(struct sim_controller *controller, enum sim_pending what, uint64_t epoch,
                                      struct banyan_error *err)
{
    struct sim *sim = controller->sim;
    struct sim_session *session = sim_session(sim, controller->session);
    bool lies = (what == SIM_PENDING_COMMIT && sim->mutant == SIM_COMMIT_LIES) ||
                (what == SIM_PENDING_UNFENCE && sim->mutant == SIM_UNFENCE_LIES);

    if (session == NULL || (what == SIM_PENDING_COMMIT && !session->locked))
        return banyan_error_set(err, BANYAN_UNAVAILABLE, "the session is gone");
    if (lies && sim_below(sim, 3) == 0) {
        sim_session_end(sim, controller->session);
        return BANYAN_OK;
    }
    if (sim_chance(sim, 4 * sim->fault_ppm)) { /* nobody hears of it any more */
        session->pending = what;
        session->pending_epoch = epoch;
        session->pending_us = sim->now_us + (int64_t)sim_below(sim, LATE_US);
        sim->late_commits++;
        controller->session = -1;
        sim_pause(controller, (int64_t)sim_below(sim, STEP_US));
        return fault(sim, BANYAN_UNCERTAIN, err, "the connection broke");
    }
    if (!sim_carry_out(sim, session, what, epoch))
        return banyan_error_set(err, sim->up ? BANYAN_QUERY : BANYAN_UNAVAILABLE, "rolled back");
    return leave(controller, BANYAN_UNCERTAIN, err);
}

static enum banyan_status world_commit(void *context, uint64_t epoch, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    enum banyan_status st = enter(controller, true, err);

    return st == BANYAN_OK ? send_commit(controller, SIM_PENDING_COMMIT, epoch, err) : st;
}

static void world_abort(void *context)
{
    struct sim_controller *controller = context;
    struct sim_session *session;

    sim_pause(controller, (int64_t)sim_below(controller->sim, STEP_US));
    session = sim_session(controller->sim, controller->session);
    if (session != NULL)
        session->locked = session->trigger = session->waits = false;
}

static enum banyan_status world_drained(void *context, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    struct sim *sim = controller->sim;
    enum banyan_status st = enter(controller, false, err);

    if (st != BANYAN_OK || sim->mutant == SIM_NOT_DRAINED)
        return st;
    return wait_for(controller, &sim->mirrored, sim->log_count, err);
}

static enum banyan_status world_unfence(void *context, uint64_t epoch, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    struct sim *sim = controller->sim;
    enum banyan_status st = enter(controller, true, err);

    if (st != BANYAN_OK)
        return st;
    if (sim_chance(sim, sim->fault_ppm))
        return fault(sim, BANYAN_BUSY, err, "somebody reads");
    if (session_of(controller, err) == NULL)
        return BANYAN_UNAVAILABLE;
    return send_commit(controller, SIM_PENDING_UNFENCE, epoch, err);
}

static enum banyan_status world_claim(void *context, uint64_t epoch, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    enum banyan_status st = enter(controller, true, err);

    if (st != BANYAN_OK)
        return st;
    if (session_of(controller, err) == NULL)
        return BANYAN_UNAVAILABLE;
    return send_commit(controller, SIM_PENDING_CLAIM, epoch, err);
}

static enum banyan_status world_journal(void *context, struct cutover_journal *ret, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    struct sim *sim = controller->sim;
    enum banyan_status st = enter(controller, true, err);
    struct sim_row last = {.epoch = 0};

    if (st != BANYAN_OK)
        return st;
    for (int i = 0; i < SIM_SESSIONS; i++) {
        if (sim->mutant != SIM_JOURNAL_EARLY && sim->mutant != SIM_JOURNAL_NO_KEY)
            sim_session_end(sim, i);
    }
    controller->session = sim_session_new(sim);
    for (size_t i = 0; i < sim->journal_count; i++) {
        if (sim->journal[i].epoch >= last.epoch)
            last = sim->journal[i];
    }
    st = leave(controller, BANYAN_UNAVAILABLE, err);
    if (st == BANYAN_OK)
        *ret = (struct cutover_journal){.epoch = last.epoch, .owner = last.owner};
    return st;
}

static enum owner_mode world_owner(void *context, uint64_t *ret_epoch)
{
    const struct sim_controller *controller = context;

    *ret_epoch = controller->sim->epoch;
    return controller->sim->mode;
}

static enum banyan_status world_own(void *context, uint64_t epoch, enum owner_mode mode, struct banyan_error *err)
{
    struct sim_controller *controller = context;
    enum banyan_status st = enter(controller, false, err);

    if (st != BANYAN_OK)
        return st;
    if (!sim_own(controller->sim, epoch, mode))
        return banyan_error_set(err, BANYAN_CONFLICT, "the owner is not of epoch %d", (int)epoch);
    return leave(controller, BANYAN_IO, err);
}

static void world_wait(void *context, int64_t us)
{
    sim_pause(context, us);
}

static void world_at(void *context, enum cutover_step step)
{
    struct sim_controller *controller = context;

    controller->sim->at[step]++;
    controller->sim->step[controller->number] = step;
    sim_pause(controller, (int64_t)sim_below(controller->sim, STEP_US));
}

static int64_t world_now(void *context)
{
    const struct sim_controller *controller = context;

    return controller->sim->now_us;
}

void sim_world(struct sim_controller *controller, struct cutover_world *ret)
{
    *ret = (struct cutover_world){
        .context = controller,
        .preflight = world_preflight,
        .hold = world_hold,
        .release = world_release,
        .lock = world_lock,
        .fence = world_fence,
        .caught_up = world_caught_up,
        .verify = world_verify,
        .commit = world_commit,
        .abort = world_abort,
        .drained = world_drained,
        .unfence = world_unfence,
        .claim = world_claim,
        .journal = world_journal,
        .owner = world_owner,
        .own = world_own,
        .wait = world_wait,
        .at = world_at,
        .now_us = world_now,
    };
}
