/* SPDX-License-Identifier: Apache-2.0 */
/* Does the file of blocks (blocks.h) agree with the log?  Each whole page, and that no set says too little.  One page
 * is in memory.  A page of another past is what a reader would not believe either; it is told, and made anew. */
#ifndef STORE_VERIFY_BLOCKS_H
#define STORE_VERIFY_BLOCKS_H

#include "banyan/error.h"
#include "log/verify.h"
#include "os/file.h"
#include "store/blocks_format.h"
#include "store/envelope.h"

struct verify_blocks {
    struct os_files *files;
    struct os_file *file; /* owned; NULL: there is none */
    char *path;           /* owned */
    void *context;
    void (*finding)(void *context, const struct log_finding *finding);
    struct blocks_stored_page page; /* covered 0: nothing to compare */
    uint64_t page_end;              /* last position of the page that is in memory; 0: none is */
};

/* *path* is copied.  Release it also after a failure. */
BANYAN_MUST_CHECK enum banyan_status verify_blocks_open(struct verify_blocks *blocks, const char *path,
                                                        struct banyan_error *err);
/* Each event of the log, in order; pages whose first event was not seen are only compared with what comes. */
void verify_blocks_event(struct verify_blocks *blocks, const struct envelope *envelope, uint64_t position);
/* When the log was read, whose last whole batch ends with *last*. */
void verify_blocks_finish(struct verify_blocks *blocks, uint64_t last);
void verify_blocks_release(struct verify_blocks *blocks);

#endif
