/* SPDX-License-Identifier: Apache-2.0 */
/* Small files that a user names: keys, proofs.  Written whole or not at all, and never over what is there. */
#ifndef CLI_FILES_H
#define CLI_FILES_H

#include <stdbool.h>

#include "banyan/buf.h"
#include "banyan/error.h"

/* All of it into *ret; "-" is standard input.  NOT_FOUND; LIMIT when it has more than ret->size_max. */
BANYAN_MUST_CHECK enum banyan_status files_read(const char *path, struct banyan_buf *ret, struct banyan_error *err);
/* A new file; mode 0600 when *secret*, else what the umask leaves of 0666.  INVALID when there is one. */
BANYAN_MUST_CHECK enum banyan_status files_write_new(const char *path, struct banyan_str data, bool secret,
                                                     struct banyan_error *err);

#endif
