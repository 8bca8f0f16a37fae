/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A temporary file of byte strings: written at its end, read from its front.  It has no name (it is
 * removed as soon as it is open), so that nothing is left behind by a crash but what a crash between the two calls
 * leaves; spool_clean() removes that.
 *
 * Threads: one spool, one thread.
 */
#ifndef LEGACY_SPOOL_H
#define LEGACY_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "banyan/error.h"
#include "os/file.h"

struct spool {
    struct os_file *file; /* NULL: not open */
    struct banyan_buf buffer;
    size_t buffer_bytes; /* written out when it holds that much */
    uint64_t size;       /* bytes in the file */
    uint64_t next;       /* reading: offset in the file of what follows the buffer */
    size_t taken;        /* reading: bytes of the buffer that were given */
    bool reading;        /* the buffer holds what was read; writing goes on behind the end */
};

/* Make *folder*, and remove what a crash left in it. */
BANYAN_MUST_CHECK enum banyan_status spool_clean(const char *folder, struct banyan_error *err);

BANYAN_MUST_CHECK enum banyan_status spool_open(struct spool *spool, const char *folder, size_t buffer_bytes,
                                                struct banyan_error *err);
void spool_close(struct spool *spool); /* all zero allowed */
BANYAN_MUST_CHECK enum banyan_status spool_add(struct spool *spool, struct banyan_str item, struct banyan_error *err);
/* Write out what is buffered; reading starts at the front. */
BANYAN_MUST_CHECK enum banyan_status spool_rewind(struct spool *spool, struct banyan_error *err);
/* The next item, borrowed until the next call; NOT_FOUND (no error text) at the end. */
BANYAN_MUST_CHECK enum banyan_status spool_next(struct spool *spool, struct banyan_str *ret, struct banyan_error *err);

#endif
