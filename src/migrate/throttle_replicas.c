/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far replicas are behind, and how far they will be.
 *
 * Each question remembers when which WAL position was flushed here, and where each replica was; so the age of what one
 * has not replayed is told by this process's clock alone.  How fast it replays is measured while it has something to
 * replay; a replica that is bored says nothing about it.
 *
 *   flushed here   ──────────●─────────●─────────●  now      age: since the first ● behind what is replayed
 *   replayed there ───────▲                                  time to drain: (● now − ▲) / speed
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "migrate/throttle_int.h"
#include "os/clock.h"

enum {
    MOMENTS = 256, /* some 25 s at one question each 100 ms; what is older counts as that old */
    REPLICAS_MAX = 32,
    SPEED_KNOWN_US = 200000,  /* of replaying, before its speed is believed */
    SPEED_BYTES = 256 * 1024, /* with less to replay it waits for us, not we for it */
    SPEED_WINDOW_US = 1000000,
};

struct moment {
    int64_t at_us, lsn;
};
struct replica {
    int64_t pid; /* of its walsender; another one is another replica */
    int64_t at_us, replayed;
    bool behind;
    double busy_bytes, busy_us; /* replayed, while it had something to replay; of late */
    bool seen;
};
struct throttle_memory {
    struct moment moments[MOMENTS]; /* oldest first */
    size_t moment_count;
    struct replica replicas[REPLICAS_MAX];
    size_t replica_count;
};

void throttle_memory_free(struct throttle_memory *memory)
{
    free(memory);
}

/* ---- what was ---- */

static void remember_moment(struct throttle_memory *memory, int64_t at_us, int64_t lsn)
{
    if (memory->moment_count == MOMENTS) {
        memmove(memory->moments, memory->moments + 1, sizeof(memory->moments[0]) * (MOMENTS - 1));
        memory->moment_count--;
    }
    memory->moments[memory->moment_count++] = (struct moment){.at_us = at_us, .lsn = lsn};
}

/* How long the oldest WAL behind *replayed* has been there, at least. */
static int64_t age_us(const struct throttle_memory *memory, int64_t replayed, int64_t at_us)
{
    for (size_t i = 0; i < memory->moment_count; i++)
        if (memory->moments[i].lsn > replayed)
            return at_us - memory->moments[i].at_us;
    return 0;
}

static struct replica *find_replica(struct throttle_memory *memory, int64_t pid)
{
    for (size_t i = 0; i < memory->replica_count; i++)
        if (memory->replicas[i].pid == pid)
            return &memory->replicas[i];
    if (memory->replica_count == REPLICAS_MAX)
        return NULL;
    memory->replicas[memory->replica_count] = (struct replica){.pid = pid};
    return &memory->replicas[memory->replica_count++];
}

static void forget_the_gone(struct throttle_memory *memory)
{
    size_t kept = 0;

    for (size_t i = 0; i < memory->replica_count; i++)
        if (memory->replicas[i].seen)
            memory->replicas[kept++] = memory->replicas[i];
    memory->replica_count = kept;
}

/* Learn its speed from where it is now. */
static void remember_replica(struct replica *replica, int64_t at_us, int64_t replayed, bool behind)
{
    double bytes = (double)(replayed - replica->replayed), us = (double)(at_us - replica->at_us);
    bool faster = replica->busy_us > 0 && bytes * replica->busy_us > replica->busy_bytes * us;

    /* Where it is through, it took less than this time: that can only show that it is faster than was thought. */
    if (replica->at_us > 0 && replica->behind && us > 0 && (behind || faster)) {
        replica->busy_bytes += bytes;
        replica->busy_us += us;
        if (replica->busy_us > SPEED_WINDOW_US) {
            replica->busy_bytes *= SPEED_WINDOW_US / replica->busy_us;
            replica->busy_us = SPEED_WINDOW_US;
        }
    }
    replica->at_us = at_us;
    replica->replayed = replayed;
    replica->behind = behind;
}

/* The time that it needs for what it has not replayed; 0: not known. */
static int64_t drain_us(const struct replica *replica, int64_t bytes)
{
    if (bytes < SPEED_BYTES || replica->busy_us < SPEED_KNOWN_US || replica->busy_bytes <= 0)
        return 0;
    return (int64_t)((double)bytes * replica->busy_us / replica->busy_bytes);
}

/* ---- what is ---- */

struct row {
    struct banyan_str name, state;
    int64_t pid, replayed, replay_lag_us;
    bool visible;
};

static void judge(const struct throttle_options *options, struct throttle_state *state, const struct row *row,
                  int64_t at_us, int64_t flushed)
{
    int64_t limit_us = options->replica_lag_us_max == 0 ? THROTTLE_REPLICA_LAG_US : options->replica_lag_us_max;
    struct replica *replica = find_replica(state->memory, row->pid);
    int64_t lag_us = 0, drain = 0;

    if (flushed > row->replayed) {
        lag_us = age_us(state->memory, row->replayed, at_us);
        if (row->replay_lag_us > lag_us)
            lag_us = row->replay_lag_us;
    }
    if (replica != NULL) {
        replica->seen = true;
        remember_replica(replica, at_us, row->replayed, flushed - row->replayed >= SPEED_BYTES);
        drain = drain_us(replica, flushed - row->replayed);
    }
    if (lag_us > state->replica_lag_us)
        state->replica_lag_us = lag_us;
    if (flushed - row->replayed > state->replica_behind_bytes)
        state->replica_behind_bytes = flushed - row->replayed;
    if (limit_us < 0)
        return;
    /* What is under way already makes it later still: half of the limit is for that. */
    if (lag_us > limit_us / 2)
        throttle_hold(state, "replica %.*s is %.1f s behind (limit %.1f s, held from half of it)", (int)row->name.size,
                      row->name.data, (double)lag_us / 1e6, (double)limit_us / 1e6);
    else if (drain > limit_us / 2)
        throttle_hold(
            state,
            "replica %.*s needs %.1f s for the WAL that it has not replayed (limit %.1f s, held from half of it)",
            (int)row->name.size, row->name.data, (double)drain / 1e6, (double)limit_us / 1e6);
}

/* Those that have to be there. */
static void judge_names(const struct throttle_options *options, struct throttle_state *state,
                        const struct pg_result *result)
{
    for (size_t i = 0; i < options->replica_count; i++) {
        struct banyan_str name = banyan_str_of(options->replicas[i]), found = {NULL, 0};

        for (size_t row = 0; row < pg_rows(result); row++)
            if (banyan_str_equal(pg_text(result, row, 2), name))
                found = pg_text(result, row, 3);
        if (found.data == NULL)
            throttle_hold(state, "replica %s is not connected", options->replicas[i]);
        else if (!banyan_str_equal(found, BANYAN_STR("streaming")))
            throttle_hold(state, "replica %s does not stream: its state is %.*s", options->replicas[i], (int)found.size,
                          found.data);
    }
}

static bool is_wanted(const struct throttle_options *options, struct banyan_str name)
{
    for (size_t i = 0; i < options->replica_count; i++)
        if (banyan_str_equal(banyan_str_of(options->replicas[i]), name))
            return true;
    return options->replica_count == 0;
}

static void judge_all(const struct throttle_options *options, struct throttle_state *state,
                      const struct pg_result *result)
{
    int64_t at_us = os_clock_monotonic_us(os_clock_real()), flushed = pg_int(result, 0, 0);

    remember_moment(state->memory, at_us, flushed);
    for (size_t i = 0; i < state->memory->replica_count; i++)
        state->memory->replicas[i].seen = false;
    for (size_t i = 0; i < pg_rows(result); i++) {
        struct row row = {.name = pg_text(result, i, 2),
                          .state = pg_text(result, i, 3),
                          .pid = pg_int(result, i, 1),
                          .replayed = pg_int(result, i, 4),
                          .replay_lag_us = pg_int(result, i, 5)};

        if (row.pid == 0) /* there is none: the row is there for the position */
            continue;
        if (row.state.data == NULL) {
            state->replicas_hidden = true;
            throttle_hold(state, "replicas cannot be seen: the role needs pg_read_all_stats");
        } else if (row.replayed > 0 && is_wanted(options, row.name))
            judge(options, state, &row, at_us, flushed);
    }
    forget_the_gone(state->memory);
}

/* So that the replicas answer, though nothing else is written. */
static void write_something(struct pg_conn *conn)
{
    enum banyan_status ignored =
        pg_run(conn,
               "BEGIN; SET LOCAL synchronous_commit = off;"
               " SELECT pg_catalog.pg_logical_emit_message(true, 'banyan-throttle', ''); COMMIT",
               NULL);

    (void)ignored; /* without it the next look is at an older answer */
}

void throttle_ask_replicas(const struct throttle_options *options, struct pg_conn *conn, struct throttle_state *state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;

    if (!options->look && (state->hold || (options->replica_lag_us_max < 0 && options->replica_count == 0)))
        return;
    if (state->memory == NULL)
        state->memory = alloc_zeroed(1, sizeof(*state->memory));
    /* A receiver that does not replay (an archive) counts by what it has flushed. */
    if (pg_exec(conn,
                "SELECT (pg_catalog.pg_current_wal_flush_lsn() - '0/0')::bigint, r.pid, r.application_name, r.state,"
                " (coalesce(r.replay_lsn, r.flush_lsn, r.write_lsn) - '0/0')::bigint,"
                " (extract(epoch FROM r.replay_lag) * 1000000)::bigint"
                " FROM (VALUES (1)) AS one (x) LEFT JOIN (SELECT * FROM pg_catalog.pg_stat_replication w"
                " WHERE w.state IS DISTINCT FROM 'backup' AND w.state IS DISTINCT FROM 'startup'"
                " AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = w.pid"
                " AND s.slot_type = 'logical')) r ON true",
                NULL, 0, &result, &err) != BANYAN_OK) {
        throttle_unknown(state, "replicas", &err);
        return;
    }
    judge_names(options, state, result);
    judge_all(options, state, result);
    pg_result_free(result);
    if (state->hold && !options->look)
        write_something(conn);
}
