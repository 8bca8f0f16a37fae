/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL's own programs (pg_dump, psql, initdb, pg_ctl, pg_restore), which know best what they do. */
#ifndef MIGRATE_PROGRAM_H
#define MIGRATE_PROGRAM_H

#include <stdbool.h>

#include "banyan/arena.h"
#include "banyan/error.h"

/* Run it to its end; *arguments* ends with NULL.  Its errors go to our standard error; *quiet*: what it says besides
 * goes nowhere.  QUERY when it fails. */
BANYAN_MUST_CHECK enum banyan_status program_run(const char *const *arguments, bool quiet, struct banyan_error *err);
/* The path of a program of the server: in PATH, or where packages put it (the newest).  NOT_FOUND. */
BANYAN_MUST_CHECK enum banyan_status program_of_server(const char *name, struct banyan_arena *arena, const char **ret,
                                                       struct banyan_error *err);
/* Does a connection string hold a password?  Programs get it as an argument, which everybody on the machine can
 * read. */
bool program_shows_password(const char *conninfo);

#endif
