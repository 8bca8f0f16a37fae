/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that a command makes: standard output, or a file that appears whole or not at all (mode 0600).
 *
 * It is written under "<name>.part", flushed, and renamed at the end.
 */
#ifndef CLI_OUT_FILE_H
#define CLI_OUT_FILE_H

#include "banyan/error.h"
#include "banyan/types.h"

struct out_file;

/* *path* NULL or "-": standard output.  BUSY when the file exists. */
BANYAN_MUST_CHECK enum banyan_status out_file_open(const char *path, struct out_file **ret, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status out_file_write(struct out_file *file, struct banyan_str data,
                                                    struct banyan_error *err);
/* All of it is there: give it its name. */
BANYAN_MUST_CHECK enum banyan_status out_file_commit(struct out_file *file, struct banyan_error *err);
/* Without a commit before nothing stays.  NULL allowed. */
void out_file_close(struct out_file *file);

#endif
