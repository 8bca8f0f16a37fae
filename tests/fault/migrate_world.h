/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests that disturb migrations share: databases of the server beside which they run, and what is in them as text.
 *
 * A failure of these ends the test.  Not for two threads.
 */
#ifndef TESTS_MIGRATE_WORLD_H
#define TESTS_MIGRATE_WORLD_H

#include "pg/conn.h"

/* Tables users, orders (24,000 rows), trades, and a view. */
extern const char world_orders_schema[];

/* The connection string of a database; valid until the next call. */
const char *world_conninfo(const char *database);
/* Gives; end it with pg_close(). */
struct pg_conn *world_connect(const char *database);
void world_run(const char *database, const char *sql);
/* Gives one value as text, "" where there is none; one free(). */
char *world_ask(const char *database, const char *sql);
/* Gives catalog and rows, of what is kept, too, line by line; one free(). */
char *world_print(const char *database);
/* An immediate stop, and a start. */
void world_restart(void);

#endif
