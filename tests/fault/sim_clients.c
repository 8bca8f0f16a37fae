/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log, and who writes: see rollout_sim.h.
 *
 * The heart of the checks is here: a write that is accepted on one side must have been decided on all that the other
 * side accepted before.  A row that lacks an event of Banyan's, or a log that lacks a row's write, when the next write
 * of that key is accepted, is a history with two ends.
 */
#include "rollout_sim.h"

bool sim_fenced_mode(const struct sim *sim)
{
    return sim->mode == OWNER_BANYAN || (sim->mode == OWNER_CLOSING && sim->from == OWNER_BANYAN);
}

/* Now, or until a moment ago. */
bool sim_banyan_owns(const struct sim *sim, unsigned key)
{
    if (sim_fenced_mode(sim))
        return true;
    return (sim->mode == OWNER_SHARED || sim->mode == OWNER_CLOSING) && sim->owned[key];
}

static bool may_follow(const struct sim *sim, enum owner_mode mode)
{
    bool legacy = sim->mode == OWNER_NONE || sim->mode == OWNER_LEGACY, closing = sim->mode == OWNER_CLOSING;

    switch (mode) {
    case OWNER_LEGACY:
        return sim->mode == OWNER_NONE || closing;
    case OWNER_SHARED:
        return legacy || (closing && sim->from == OWNER_SHARED);
    case OWNER_CLOSING:
        return sim->mode == OWNER_SHARED || sim->mode == OWNER_BANYAN;
    case OWNER_BANYAN:
        return legacy || sim->mode == OWNER_SHARED || (closing && sim->from == OWNER_BANYAN);
    case OWNER_NONE:
        break;
    }
    return false;
}

/* owner_change() */
bool sim_own(struct sim *sim, uint64_t epoch, enum owner_mode mode)
{
    if (sim->epoch != epoch && sim->mutant != SIM_OWN_BLINDLY)
        return false;
    if (!may_follow(sim, mode))
        return false;
    if (mode == OWNER_LEGACY || sim->mode == OWNER_LEGACY || sim->mode == OWNER_NONE) {
        for (unsigned key = 0; key < SIM_KEYS; key++)
            sim->owned[key] = false;
    }
    sim->from = mode == OWNER_CLOSING ? sim->mode : OWNER_NONE;
    if (mode == OWNER_BANYAN && sim->mode != OWNER_CLOSING)
        sim->cutovers++;
    if (mode == OWNER_LEGACY)
        sim->handed_back++;
    sim->mode = mode;
    sim->epoch++;
    return true;
}

static void add(struct sim_list *list, uint16_t id)
{
    list->ids[list->count++] = id;
}

static bool is_prefix(const struct sim_list *list, const struct sim_list *of)
{
    if (list->count > of->count)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        if (list->ids[i] != of->ids[i])
            return false;
    }
    return true;
}

bool sim_equal(const struct sim *sim, unsigned key)
{
    return sim->rows[key].count == sim->lists[key].count && is_prefix(&sim->rows[key], &sim->lists[key]);
}

static bool held(const struct sim *sim)
{
    return sim->now_us < sim->hold_us;
}

static bool may_write(struct sim *sim)
{
    return sim->writing && sim->writes < SIM_WRITES_MAX && sim->log_count + 8 < SIM_WRITES_MAX;
}

static bool pick_key(struct sim *sim, uint8_t *ret)
{
    *ret = (uint8_t)sim_below(sim, sim->keys);
    if (sim->keys == SIM_KEYS || sim_below(sim, 12) != 0)
        return false;
    *ret = sim->keys++; /* of the sequence that both use */
    return true;
}

/* ---- the legacy application ---- */

static void legacy_begin(struct sim *sim, struct sim_client *client)
{
    uint8_t key;

    if (!may_write(sim))
        return;
    client->gateway = sim_below(sim, 3) != 0;
    if (client->gateway && (!sim_banyan_runs(sim) || held(sim) || sim_fenced_mode(sim)))
        return;
    (void)pick_key(sim, &key);
    /* In SHARED nothing but the routing keeps the application from Banyan's aggregates. */
    if (!sim_fenced_mode(sim) && sim_banyan_owns(sim, key))
        return;
    client->key = key;
    client->state = SIM_WAITS;
}

static void legacy_commit(struct sim *sim, struct sim_client *client)
{
    uint16_t id = sim->writes++;

    client->state = SIM_IDLE;
    if (sim_fenced_mode(sim))
        sim_violate(sim, "the legacy application committed a write of key %u while the owner was %s", client->key,
                    owner_mode_name(sim->mode));
    if (!is_prefix(&sim->lists[client->key], &sim->rows[client->key]))
        sim_violate(sim, "the legacy application wrote key %u without what Banyan had accepted", client->key);
    add(&sim->rows[client->key], id);
    sim->wal[sim->wal_count++] = (struct sim_wal){.id = id, .key = client->key};
    sim->acknowledged[id] = true;
    sim->accepted[0]++;
}

void sim_legacy_step(struct sim *sim, struct sim_client *client)
{
    if (!sim->up)
        return;
    switch (client->state) {
    case SIM_IDLE:
        legacy_begin(sim, client);
        break;
    case SIM_WAITS:
        if (sim_locked(sim))
            break;
        if (sim->fence)
            sim->refused++;
        client->state = sim->fence ? SIM_IDLE : SIM_OPEN;
        break;
    case SIM_OPEN:
        if (sim_below(sim, 4) == 0 && sim->writes < SIM_WRITES_MAX)
            legacy_commit(sim, client);
        break;
    }
}

/* ---- commands ---- */

static void banyan_permit(struct sim *sim, struct sim_client *client)
{
    uint8_t key;
    bool creates;

    if (!may_write(sim))
        return;
    client->gateway = sim_below(sim, 3) != 0;
    if ((client->gateway && held(sim)) || (sim->mode != OWNER_SHARED && sim->mode != OWNER_BANYAN))
        return;
    creates = pick_key(sim, &key);
    if (creates)
        sim->owned[key] = sim->mode == OWNER_SHARED;
    if (!sim_banyan_owns(sim, key))
        return;
    client->key = key;
    client->epoch = sim->epoch;
    client->state = SIM_OPEN;
}

static void banyan_append(struct sim *sim, struct sim_client *client)
{
    struct sim_list *list = &sim->lists[client->key];
    uint16_t id;

    client->state = SIM_IDLE;
    if (client->epoch != sim->epoch && sim->mutant != SIM_NO_EPOCH) {
        sim->refused++;
        return;
    }
    if (sim->mode != OWNER_BANYAN && !(sim->mode == OWNER_SHARED && sim->owned[client->key]))
        sim_violate(sim, "Banyan accepted a write of key %u while the owner was %s", client->key,
                    owner_mode_name(sim->mode));
    if (!is_prefix(&sim->rows[client->key], list))
        sim_violate(sim, "Banyan wrote key %u without what the legacy application had accepted", client->key);
    id = sim->writes++;
    sim->log[sim->log_count++] = (struct sim_entry){.id = id, .key = client->key, .place = (uint32_t)list->count};
    add(list, id);
    sim->acknowledged[id] = true;
    sim->accepted[1]++;
}

void sim_banyan_step(struct sim *sim, struct sim_client *client)
{
    if (!sim_banyan_runs(sim))
        return;
    if (client->state == SIM_IDLE)
        banyan_permit(sim, client);
    else if (sim_below(sim, 3) == 0 && sim->writes < SIM_WRITES_MAX)
        banyan_append(sim, client);
}

bool sim_in_flight(const struct sim *sim)
{
    for (unsigned i = 0; i < SIM_CLIENTS; i++) {
        if (sim->legacy[i].gateway && sim->legacy[i].state != SIM_IDLE)
            return true;
        if (sim->banyan[i].gateway && sim->banyan[i].state != SIM_IDLE)
            return true;
    }
    return false;
}

/* ---- capture and mirror ---- */

void sim_capture_step(struct sim *sim)
{
    const struct sim_wal *change = &sim->wal[sim->captured];

    if (!sim->up || !sim_banyan_runs(sim) || sim->captured == sim->wal_count || sim->log_count == SIM_WRITES_MAX)
        return;
    sim->captured++;
    if (change->from_mirror)
        return;
    if (sim_banyan_owns(sim, change->key))
        sim_violate(sim, "captured: a write of key %u by the legacy application, which is Banyan's (owner %s)",
                    change->key, owner_mode_name(sim->mode));
    sim->log[sim->log_count++] = (struct sim_entry){change->id, change->key, true, 0};
    add(&sim->lists[change->key], change->id);
}

void sim_mirror_step(struct sim *sim)
{
    const struct sim_entry *entry = &sim->log[sim->mirrored];

    if (!sim->up || !sim_banyan_runs(sim) || sim->mirrored == sim->log_count)
        return;
    if (!entry->from_source) {
        if (sim_locked(sim))
            return;
        if (sim->rows[entry->key].count != entry->place)
            sim_violate(sim, "the mirror found a row of key %u that is not as it was before", entry->key);
        add(&sim->rows[entry->key], entry->id);
        sim->wal[sim->wal_count++] = (struct sim_wal){entry->id, entry->key, true};
    }
    sim->mirrored++;
}
