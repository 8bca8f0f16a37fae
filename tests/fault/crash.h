/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store whose process ends at any instant: what the tests of kills and of power cuts share.
 *
 *     parent ──fork──▶ writer (crash_write: many threads) ──killed──▶ checker (crash_check: opens, reads all, repeats)
 *        └──────────────── the ledger, in memory that all of them share ────────────────┘
 *
 * An attempt is written into the ledger before the store hears of it, its answer after the store gave it.  All content
 * follows from the attempt's number and seed, so that the checker can tell each byte.  Invariants that are checked:
 *
 *   1. An acknowledged attempt is there, whole, at its positions, once.
 *   2. One without an answer is there whole or not at all, once at most; what was seen once stays.
 *   3. A refused or aborted one is not there.
 *   4. Positions and versions have no gap; heads, cursors and ids of the index say what the log says.
 *   5. Repeating an attempt gives its first answer, or does it now.
 *
 * The parent has one thread only, so it forks without exec: hundreds of processes a minute.
 */
#ifndef FAULT_CRASH_H
#define FAULT_CRASH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "os/file.h"
#include "os/random.h"
#include "store/store.h"

enum {
    CRASH_STREAMS = 24,
    CRASH_CURSORS = 4,
    CRASH_WRITERS_MAX = 16,
    CRASH_ATTEMPTS_MAX = 200000,
    CRASH_EVENTS_MAX = 12, /* of an append; large batches have more */
    CRASH_PAYLOAD_MAX = 1600 * 1024,
    CRASH_NAME_MAX = 24,
    CRASH_PROCESS_SECONDS_MAX = 120, /* a process that lasts longer hangs */
};

enum crash_kind {
    CRASH_KIND_NONE = 0,
    CRASH_SINGLE,  /* an event of some stream */
    CRASH_VERSION, /* events of one stream, which must be at a version */
    CRASH_MULTI,   /* events of several streams, perhaps a cursor */
    CRASH_BIG,     /* an event of up to 1.5 MiB */
    CRASH_LARGE,   /* store_batch_*, spilling; a cursor */
    CRASH_ABORTED, /* the same, given up before its commit */
};

enum crash_state {
    CRASH_STATE_NONE = 0, /* not filled in yet: the store never heard of it */
    CRASH_STARTED,
    CRASH_ACKNOWLEDGED, /* or seen */
    CRASH_REFUSED,
};

struct crash_attempt {
    uint64_t seed;
    uint64_t first;    /* position; 0: not known yet */
    uint64_t expected; /* version, of CRASH_VERSION */
    uint32_t event_count;
    uint16_t stream; /* of CRASH_VERSION */
    uint8_t kind;    /* enum crash_kind */
    uint8_t state;   /* enum crash_state; atomic */
};

/* Shared by all processes of a life: one folder from nothing through some crashes. */
struct crash_ledger {
    uint64_t seed;
    char folder[400];
    uint64_t segment_bytes, index_events_max;
    uint64_t acknowledged;  /* attempts; atomic */
    uint64_t read_position; /* the last one that a reader was given; atomic */
    uint64_t attempt_count; /* atomic */
    uint32_t opens;         /* that succeeded, of writers; atomic */
    uint64_t repeats;       /* answered as such; atomic */
    uint64_t events;        /* found by the last check */
    uint64_t rebuilt;       /* checks that found the index damaged: allowed, and slow */
    char failure[800];      /* the first one; empty: none */
    struct crash_attempt attempts[CRASH_ATTEMPTS_MAX];
};

struct crash_content {
    char stream[CRASH_NAME_MAX], cursor[CRASH_NAME_MAX], value[64];
    char *payload; /* CRASH_PAYLOAD_MAX bytes, of the caller */
};

/* crash_ledger.c */
struct crash_content *crash_contents_new(void); /* CRASH_EVENTS_MAX of them */
void crash_contents_free(struct crash_content *contents);
struct crash_ledger *crash_ledger_new(void); /* shared memory; never freed */
void crash_ledger_start(struct crash_ledger *ledger, uint64_t seed, const char *folder);
/* Event *index* of attempt *number*, in *content*. */
struct store_event crash_event(const struct crash_ledger *ledger, uint64_t number, uint32_t index,
                               struct crash_content *content);
/* Its cursor; the name is empty when it has none. */
struct store_cursor crash_cursor(const struct crash_ledger *ledger, uint64_t number, struct crash_content *content);
struct banyan_str crash_stream(uint32_t stream, char name[CRASH_NAME_MAX]);
struct banyan_str crash_cursor_name(uint32_t cursor, char name[CRASH_NAME_MAX]);
/* Read back which event this is; false when it is none of ours. */
bool crash_identify(const struct crash_ledger *ledger, const struct store_event *event, uint64_t *ret_number,
                    uint32_t *ret_index);
/* Is *got* exactly that event?  Otherwise says what differs. */
const char *crash_compare(const struct crash_ledger *ledger, const struct store_event *got, uint64_t number,
                          uint32_t index, struct crash_content *content);
/* Say why in the ledger and end this process. */
void crash_fail(struct crash_ledger *ledger, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* Send an attempt to the store and note the answer; the attempt may be a repeat. */
enum banyan_status crash_try(struct crash_ledger *ledger, struct store *store, uint64_t number,
                             struct crash_content *contents, struct banyan_error *err);
/* Is that an answer of a store that works? */
bool crash_expected(const struct crash_ledger *ledger, uint64_t number, enum banyan_status status);
/* Any other answer ends the process. */
void crash_send(struct crash_ledger *ledger, struct store *store, uint64_t number, struct crash_content *contents);
/* The version that the index says; a failure ends the process. */
uint64_t crash_version(struct crash_ledger *ledger, struct store *store, struct banyan_str stream);
struct store *crash_open(struct crash_ledger *ledger, struct os_files *files, bool read_only,
                         enum banyan_status *ret_status, struct banyan_error *err);

/* crash_write.c: write until killed. */
void crash_write(struct crash_ledger *ledger, struct os_files *files, uint64_t seed) __attribute__((noreturn));

/* crash_check.c: open, check, repeat what has no answer; ends the process with 0. */
struct crash_check {
    bool read_only; /* leaves the torn end to the next writer */
    bool repeat;    /* what has no answer */
    bool beside;    /* a writer is at work: it keeps a second one out, and a reader sees what was durable at open */
    uint64_t seed;
};
void crash_check(struct crash_ledger *ledger, struct os_files *files, struct crash_check check)
    __attribute__((noreturn));

/* crash_run.c: processes. */
pid_t crash_start_writer(struct crash_ledger *ledger, struct os_files *files, uint64_t seed);
/* Run a checker to its end; false with ledger->failure filled. */
bool crash_run_check(struct crash_ledger *ledger, struct os_files *files, struct crash_check check);
/* Kill -9 and wait; false when the writer had ended by itself. */
bool crash_kill(struct crash_ledger *ledger, pid_t pid);
/* SEEDS of the environment, at least *least*. */
unsigned crash_seeds(unsigned least);

#endif
