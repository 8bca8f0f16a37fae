/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What verification remembers of streams and ids, in bounded memory.
 *
 * Facts come in the order of their positions, each under a key (128 bits of a keyed hash).  Those with one key are
 * checked against each other in that order; facts with different keys have nothing to do with each other.  So the keys
 * are divided into parts, and a part for which there is no memory is written to files and checked when the log has been
 * read:
 *
 *     fact ─▶ part in memory: its table, checked at once
 *        └──▶ part on disk:   <name>-<part>.facts, in order; before them <name>-<part>.table, what memory had when it
 *                             was given up
 *
 * Memory at the end is that of the largest part: a 256th of all keys.  Not for two threads.
 */
#ifndef STORE_VERIFY_LEDGER_H
#define STORE_VERIFY_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/error.h"
#include "os/file.h"

enum {
    LEDGER_PARTS = 256,
};

struct ledger_fact {
    uint64_t key[2];
    uint64_t position;
    uint64_t version; /* streams only, as the next two */
    uint64_t prev, jump;
};

/* What is remembered of a key. */
struct ledger_entry {
    uint64_t key[2];
    uint64_t position; /* of the last fact; 0: a free slot */
    uint64_t version;  /* streams only, as the next */
    uint64_t *path;    /* positions of the nodes on the way of jumps from the last one down, the last one at the end;
                          the first number is their count, UINT64_MAX when they are not known; owned; NULL: none */
};

enum ledger_kind {
    LEDGER_UNKNOWN = 0,
    LEDGER_IDS,
    LEDGER_STREAMS,
};

/* Compare *fact* with what its key's *entry* remembers (position 0: it is new), then change the entry. */
typedef void (*ledger_check_fn)(void *context, struct ledger_entry *entry, const struct ledger_fact *fact);

/* A file of a part: what was written to it. */
struct ledger_file {
    uint64_t bytes;
    uint32_t crc; /* CRC-32C of them */
    uint32_t reserved;
};

struct ledger_part {
    char *slots; /* owned */
    uint64_t slot_count, count;
    bool on_disk;
    char *buffer; /* owned; facts on their way to the file */
    size_t buffered;
    struct ledger_file facts, table;
};

struct ledger {
    enum ledger_kind kind;
    const char *folder; /* of the files; borrowed */
    struct os_files *files;
    ledger_check_fn check;
    void *context;
    uint64_t bytes, bytes_max;
    size_t entry_size, fact_size;
    struct ledger_part parts[LEDGER_PARTS];
};

void ledger_init(struct ledger *ledger, enum ledger_kind kind, struct os_files *files, const char *folder,
                 uint64_t bytes_max);
void ledger_release(struct ledger *ledger);
BANYAN_MUST_CHECK enum banyan_status ledger_add(struct ledger *ledger, const struct ledger_fact *fact,
                                                struct banyan_error *err);
/* Check what is on disk. */
BANYAN_MUST_CHECK enum banyan_status ledger_finish(struct ledger *ledger, struct banyan_error *err);
/* What of a ledger's files a resumed verification has to know. */
struct ledger_saved {
    struct ledger_file facts[LEDGER_PARTS], table[LEDGER_PARTS];
};
/* Write all of it to the files. */
BANYAN_MUST_CHECK enum banyan_status ledger_save(struct ledger *ledger, struct ledger_saved *ret,
                                                 struct banyan_error *err);
/* Go on from there; with zeros: everything goes to files from the beginning. */
void ledger_resume(struct ledger *ledger, const struct ledger_saved *saved);
/* Remove the files. */
void ledger_remove(struct ledger *ledger);

#endif
