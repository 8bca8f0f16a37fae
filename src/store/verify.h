/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying a store: every byte of its log (log/verify.h) and what the events say of each other: envelopes in their one
 * form, versions dense, links to earlier events right, ids unique, cursors well-formed; and the signed heads.
 *
 * Memory is bounded: what does not fit (streams and ids) goes through files in a work folder (verify_ledger.h), which
 * may be given so that an interrupted verification goes on where it was.  Nothing of the store is changed, no lock is
 * taken, and a writer may be at work.
 *
 * Exact but for chance: streams and ids are told apart by 128 bits of a hash with a random key.
 */
#ifndef STORE_VERIFY_H
#define STORE_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/error.h"
#include "log/verify.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/stop.h"

struct store_verify_options {
    const char *folder;           /* the store's */
    const char *cold_folder;      /* of archived segments; NULL: cold/ in *folder* */
    struct os_files *files;       /* NULL: the system's */
    struct os_clock *clock;       /* NULL: the system's */
    const char *work_folder;      /* for what does not fit into memory; made; emptied at the end */
    bool resume;                  /* go on from what work_folder has, and keep there what is needed to go on */
    uint64_t memory_bytes;        /* of streams and ids; 0: 512 MiB */
    bool one_thread;              /* see log_verify_options */
    struct banyan_str public_key; /* PEM; empty: each signed head is checked with the key that it names */
    const char *heads_path;       /* signed heads that were kept elsewhere; NULL: none but the store's own */
    const struct os_stop *stop;   /* NULL: none; STOPPED when it is set */

    void *context; /* of the calls below, which may be NULL */
    void (*finding)(void *context, const struct log_finding *finding);
    void (*progress)(void *context, uint64_t bytes_done, uint64_t bytes_total, uint64_t events);
};

struct store_verify_report {
    struct log_verify_place log; /* counts of findings are those of the log alone */
    uint64_t events, streams;
    uint64_t cursors; /* batches that moved one */
    uint64_t payload_bytes;
    uint64_t heads;                   /* signed ones that agree */
    uint64_t damages, derived, notes; /* all */
    uint64_t unchecked;               /* events whose links lead into what is lost */
    uint64_t resumed_position;        /* 0: from the beginning */
    int64_t elapsed_us;
};

/* OK also when there are findings: *ret counts them.  STOPPED; NOT_FOUND without a log; IO; NO_SPACE. */
BANYAN_MUST_CHECK enum banyan_status store_verify(const struct store_verify_options *options,
                                                  struct store_verify_report *ret, struct banyan_error *err);

#endif
