/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutovers and rollbacks under load while processes die; see cutover_kill.c.
 *
 *   cutover_kill.c          the parent: cycles, faults, what has to hold after each
 *   cutover_kill_child.c    Banyan: support/cutover_rig behind a Unix socket
 *   cutover_kill_load.c     writers, and the ledger of what they were told
 */
#ifndef FAULT_CUTOVER_KILL_H
#define FAULT_CUTOVER_KILL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "os/thread.h"

enum fault_kind {
    FAULT_NONE = 0,
    FAULT_KILL,   /* kill -9 of Banyan */
    FAULT_FREEZE, /* SIGSTOP of Banyan, for longer than the pause may be */
    FAULT_SERVER, /* immediate stop and start of PostgreSQL */
    FAULT_KINDS,
};

enum {
    PAUSE_US_MAX = 1000000,
    LINE_MAX_BYTES = 1024,
};

/* Lines over the socket, one answer each:
 *     write KEY NUMBER | create                  → ok [KEY] | held … | refused … | unknown …
 *     move over|back KIND STEP DELAY_US          → done PAUSE_US LOCKED_US TRIES | failed …
 *     equal | owner | quit                       → ok | differ … | legacy … */
int kill_child_main(const char *folder, const char *conninfo, const char *socket_path);

/* Connected to the child's socket; -1: nobody is there. */
int kill_connect(const char *socket_path);
/* Send a line and read the answer; false: the connection was lost. */
bool kill_ask(int fd, const char *line, char answer[LINE_MAX_BYTES]);

/* ---- the load ---- */

enum {
    DOOR_WRITERS = 16,
    DIRECT_WRITERS = 4, /* past the door, straight to the server */
    KEYS_EACH = 20,
    KEYS = (DOOR_WRITERS + DIRECT_WRITERS) * KEYS_EACH,
    CREATED_MAX = 1 << 16,
};

struct kill_load {
    const char *socket_path, *conninfo;
    unsigned rate; /* writes/s of all */
    struct os_thread threads[DOOR_WRITERS + DIRECT_WRITERS];
    int stop; /* atomic */
    struct {
        pthread_mutex_t lock; /* guards all of this */
        pthread_cond_t changed;
        bool paused;
        unsigned writing;
        int64_t told[KEYS + 1]; /* the last step of each key that was acknowledged */
        bool pending[KEYS + 1]; /* the step behind it was tried, and its answer lost */
        int64_t created[CREATED_MAX];
        unsigned created_count;
        uint64_t written, direct, fenced, unknown, held, refused;
        char refusal[LINE_MAX_BYTES]; /* the last one */
        int64_t direct_us;            /* when a direct writer last got through; monotone */
    } shared;
};

void kill_load_start(struct kill_load *load);
/* Nobody writes when it returns. */
void kill_load_pause(struct kill_load *load);
void kill_load_resume(struct kill_load *load);
/* All lost answers are resolved by trying again, then the threads end. */
void kill_load_stop(struct kill_load *load);

#endif
