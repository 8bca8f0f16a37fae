/* SPDX-License-Identifier: Apache-2.0 */
/* The legacy database of the simulation: see rollout_sim.h. */
#include "rollout_sim.h"

int sim_session_new(struct sim *sim)
{
    unsigned session = sim->session_next++ % SIM_SESSIONS;

    if (sim->sessions[session].alive)
        sim_session_end(sim, (int)session);
    sim->sessions[session] = (struct sim_session){.alive = true, .used_us = sim->now_us};
    return (int)session;
}

struct sim_session *sim_session(struct sim *sim, int session)
{
    if (session < 0 || !sim->sessions[session].alive)
        return NULL;
    return &sim->sessions[session];
}

static void forget(struct sim_session *session)
{
    *session = (struct sim_session){.alive = false};
}

/* It is at its end: what it was sent is done first, or was not read any more. */
void sim_session_end(struct sim *sim, int number)
{
    struct sim_session *session = &sim->sessions[number];

    if (session->alive && session->pending != SIM_PENDING_NONE && sim_below(sim, 2) == 0)
        (void)sim_carry_out(sim, session, session->pending, session->pending_epoch);
    forget(session);
}

bool sim_locked(const struct sim *sim)
{
    for (unsigned i = 0; i < SIM_SESSIONS; i++) {
        if (sim->sessions[i].alive && (sim->sessions[i].locked || sim->sessions[i].waits))
            return true;
    }
    return false;
}

bool sim_lock_granted(const struct sim *sim, const struct sim_session *session)
{
    for (unsigned i = 0; i < SIM_SESSIONS; i++) {
        if (&sim->sessions[i] != session && sim->sessions[i].alive && sim->sessions[i].locked)
            return false;
    }
    for (unsigned i = 0; i < SIM_CLIENTS && sim->mutant != SIM_LOCK_JUMPS; i++) {
        if (sim->legacy[i].state == SIM_OPEN)
            return false;
    }
    return true;
}

static bool has_row(const struct sim *sim, uint64_t epoch)
{
    for (size_t i = 0; i < sim->journal_count; i++) {
        if (sim->journal[i].epoch == epoch)
            return true;
    }
    return false;
}

/* COMMIT of the locking transaction, or the one transaction of unfence.  False: rolled back. */
bool sim_carry_out(struct sim *sim, struct sim_session *session, enum sim_pending what, uint64_t epoch)
{
    bool commit = what == SIM_PENDING_COMMIT, trigger = session->trigger, locked = session->locked;

    session->pending = SIM_PENDING_NONE;
    session->locked = session->trigger = false;
    if (!sim->up || sim->journal_count == SIM_JOURNAL_MAX || (commit && !locked))
        return false;
    if (has_row(sim, epoch) && sim->mutant != SIM_JOURNAL_NO_KEY)
        return false;
    if (what == SIM_PENDING_UNFENCE && !sim_lock_granted(sim, session))
        return false;
    sim->journal[sim->journal_count++] =
        (struct sim_row){.epoch = epoch, .owner = what == SIM_PENDING_UNFENCE ? OWNER_LEGACY : OWNER_BANYAN};
    if (what == SIM_PENDING_UNFENCE)
        sim->fence = false;
    else if (trigger)
        sim->fence = true;
    return true;
}

/* Time-outs, and what was sent and is carried out late. */
void sim_server_step(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_SESSIONS && sim->up; i++) {
        struct sim_session *session = &sim->sessions[i];

        if (!session->alive)
            continue;
        if (session->pending != SIM_PENDING_NONE && sim->now_us >= session->pending_us) {
            (void)sim_carry_out(sim, session, session->pending, session->pending_epoch);
            forget(session); /* who sent it is gone */
        } else if (session->locked && session->pending == SIM_PENDING_NONE &&
                   sim->now_us - session->used_us > SIM_SESSION_LIMIT_US && sim->mutant != SIM_NO_SESSION_LIMIT) {
            forget(session);
        }
    }
    if (!sim->up && sim->now_us >= sim->down_us)
        sim->up = true;
}

/* An immediate stop: what is committed stays, everything else is gone. */
void sim_server_stop(struct sim *sim)
{
    sim->up = false;
    sim->outages++;
    for (unsigned i = 0; i < SIM_SESSIONS; i++)
        forget(&sim->sessions[i]);
    for (unsigned i = 0; i < SIM_CLIENTS; i++)
        sim->legacy[i].state = SIM_IDLE;
}
