/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world for the rollout, small and deterministic: a database server with tables, locks, a fence and a journal; a log
 * with epoch-conditioned appends; capture, mirror, a gateway; clients of both sides; one or two controllers.
 *
 *   sim_server.c    the legacy database: rows, WAL, locks, the fence, the journal, sessions
 *   sim_clients.c   the log, those who write on either side, capture, mirror
 *   sim_world.c     struct cutover_world: every function may fail, be late, lie, or be the last one of its process
 *   rollout_sim.c   controllers, chaos, the checks
 *
 * One thread.  A controller is a coroutine: whatever it asks of the world gives the turn to somebody else, so that it
 * can be frozen or ended between any two steps, and go on in a world that has moved.  Time is a number.
 */
#ifndef FAULT_ROLLOUT_SIM_H
#define FAULT_ROLLOUT_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#include "os/random.h"
#include "rollout/cutover.h"
#include "rollout/machine.h"

enum {
    SIM_KEYS = 16,
    SIM_KEYS_AT_FIRST = 5,
    SIM_WRITES_MAX = 3000, /* of all keys */
    SIM_CONTROLLERS = 2,
    SIM_CLIENTS = 3, /* of each side */
    SIM_SESSIONS = 64,
    SIM_JOURNAL_MAX = 512,
    SIM_EVENTS_MAX = 2048, /* of the rollout */
    SIM_PAUSE_US = 400 * 1000,
    SIM_SESSION_LIMIT_US = 600 * 1000,
    SIM_LOCK_TIMEOUT_US = 50 * 1000,
};

/* What can be broken on purpose: the simulation has to find each. */
enum sim_mutant {
    SIM_SOUND = 0,
    SIM_NO_FENCE,         /* the locking transaction creates no trigger */
    SIM_LOCK_JUMPS,       /* the lock does not wait for open transactions */
    SIM_NO_EPOCH,         /* appends do not carry the epoch as a condition */
    SIM_OWN_BLINDLY,      /* changes of the owner do not carry it either */
    SIM_JOURNAL_EARLY,    /* the journal is read while an earlier session may still commit */
    SIM_NOT_CAUGHT_UP,    /* nobody waits for capture, and verify looks away */
    SIM_NOT_DRAINED,      /* nobody waits for the mirror, and verify looks away */
    SIM_JOURNAL_NO_KEY,   /* rows of the journal are not unique, and sessions are not ended */
    SIM_NO_SESSION_LIMIT, /* the server keeps an idle transaction for ever */
    SIM_COMMIT_LIES,      /* a commit says OK and was not made */
    SIM_UNFENCE_LIES,     /* so does unfence */
    SIM_FENCE_SHORT,      /* the fence message is reported before what was written ahead of it */
    SIM_NEW_SESSION,      /* who lost its session takes a new one, without a look */
    SIM_MUTANTS,
};

/* What a key holds, write by write. */
struct sim_list {
    uint16_t ids[SIM_WRITES_MAX];
    size_t count;
};

struct sim_wal {
    uint16_t id;
    uint8_t key;
    bool from_mirror;
};
struct sim_entry {
    uint16_t id;
    uint8_t key;
    bool from_source;
    uint32_t place; /* in the list of its key */
};

enum sim_pending {
    SIM_PENDING_NONE = 0,
    SIM_PENDING_COMMIT,
    SIM_PENDING_UNFENCE,
    SIM_PENDING_CLAIM,
};
/* Of a controller at the server. */
struct sim_session {
    bool alive, waits, locked, trigger;
    int64_t used_us, locked_us;
    enum sim_pending pending; /* sent, and not carried out yet */
    uint64_t pending_epoch;
    int64_t pending_us;
};

struct sim_row {
    uint64_t epoch;
    enum owner_mode owner;
};

enum sim_client_state {
    SIM_IDLE = 0,
    SIM_WAITS, /* for a lock */
    SIM_OPEN,  /* wrote, or was permitted; not committed or appended */
};
struct sim_client {
    enum sim_client_state state;
    bool gateway; /* else it goes around it */
    uint8_t key;
    uint64_t epoch; /* of the permit */
};

/* One process with its controller. */
struct sim_controller {
    struct sim *sim;
    unsigned number;
    bool alive, whole; /* *whole*: the process is frozen, not only the controller */
    int64_t ready_us, frozen_us;
    int session; /* -1: none */
    ucontext_t context;
    char *stack;
    struct machine machine;
    struct machine_answer answer;
    struct cutover_report report;
    bool recover;
};

struct sim {
    struct os_random random;
    uint64_t seed;
    bool pairs;        /* two controllers at a time may be */
    bool contradicted; /* log and journal: somebody has to look */
    enum sim_mutant mutant;
    int64_t now_us;
    uint64_t steps;
    unsigned fault_ppm; /* chance of each fault at each call */
    unsigned late_ppm;  /* how often capture and mirror do nothing when it is their turn */
    char violation[512];
    bool trace;
    /* server */
    bool up;
    int64_t down_us; /* until then */
    bool fence;
    struct sim_list rows[SIM_KEYS];
    struct sim_wal wal[2 * SIM_WRITES_MAX];
    size_t wal_count;
    struct sim_row journal[SIM_JOURNAL_MAX];
    size_t journal_count;
    struct sim_session sessions[SIM_SESSIONS];
    unsigned session_next;
    /* log */
    struct sim_list lists[SIM_KEYS];
    struct sim_entry log[SIM_WRITES_MAX];
    size_t log_count;
    uint64_t epoch;
    enum owner_mode mode, from;
    bool owned[SIM_KEYS]; /* Banyan's in SHARED */
    struct machine_event events[SIM_EVENTS_MAX];
    size_t event_count;
    /* the processes */
    struct sim_controller controllers[SIM_CONTROLLERS];
    struct sim_client legacy[SIM_CLIENTS], banyan[SIM_CLIENTS];
    ucontext_t home;
    int64_t hold_us; /* the gateway holds writes until then */
    size_t captured, mirrored;
    /* clients */
    uint8_t keys;
    uint16_t writes; /* ids given out */
    bool acknowledged[SIM_WRITES_MAX];
    bool writing;
    /* what is wanted of the machine */
    struct machine_policy policy;
    struct traffic_window window, late;
    bool breach;
    enum machine_state goal; /* NONE: anything */
    /* figures */
    uint64_t crashes, freezes, doubles, stuck, outages, faults, late_commits, cutovers, handed_back, refused,
        accepted[2];
    uint64_t at[CUTOVER_STEPS], crashed_at[CUTOVER_STEPS];
    enum cutover_step step[SIM_CONTROLLERS];
};

/* rollout_sim.c */
__attribute__((format(printf, 2, 3))) void sim_violate(struct sim *sim, const char *format, ...);
bool sim_chance(struct sim *sim, unsigned ppm);
uint64_t sim_below(struct sim *sim, uint64_t bound);
/* Give the turn away, and go on *us* later at the earliest. */
void sim_pause(struct sim_controller *controller, int64_t us);
bool sim_banyan_runs(const struct sim *sim);

/* sim_server.c */
int sim_session_new(struct sim *sim);
struct sim_session *sim_session(struct sim *sim, int session); /* NULL: it is not alive any more */
void sim_session_end(struct sim *sim, int session);            /* what was sent may still be carried out, or not */
bool sim_locked(const struct sim *sim);
bool sim_lock_granted(const struct sim *sim, const struct sim_session *session);
bool sim_carry_out(struct sim *sim, struct sim_session *session, enum sim_pending what, uint64_t epoch);
void sim_server_step(struct sim *sim);
void sim_server_stop(struct sim *sim);

/* sim_clients.c */
bool sim_banyan_owns(const struct sim *sim, unsigned key);
bool sim_fenced_mode(const struct sim *sim); /* Banyan owns everything, or hands everything back */
bool sim_own(struct sim *sim, uint64_t epoch, enum owner_mode mode);
void sim_legacy_step(struct sim *sim, struct sim_client *client);
void sim_banyan_step(struct sim *sim, struct sim_client *client);
void sim_capture_step(struct sim *sim);
void sim_mirror_step(struct sim *sim);
bool sim_in_flight(const struct sim *sim); /* through the gateway */
bool sim_equal(const struct sim *sim, unsigned key);

/* sim_world.c */
void sim_world(struct sim_controller *controller, struct cutover_world *ret);

#endif
