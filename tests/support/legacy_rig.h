/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A legacy source under test: a database of its own on the throwaway server with the tables of doc_domain.h, a store in
 * a folder of its own, and the engine between them.
 *
 * A document's stream is told as a story: one word an event, so that a test compares one text.
 *
 *     put(title,body bytes,amount,note)   del   line(id,text)   gone(id)
 */
#ifndef SUPPORT_LEGACY_RIG_H
#define SUPPORT_LEGACY_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "banyan/attributes.h"
#include "legacy/legacy.h"
#include "os/file.h"
#include "os/stop.h"
#include "pg/conn.h"
#include "store/store.h"

struct rig {
    char *folder, *store_folder, *spool_folder, *conninfo;
    char database[32], slot[32];
    struct pg_conn *server; /* to another database */
    struct pg_conn *db;     /* the application */
    struct os_files *files; /* of the store; NULL: the system's */
    struct store *store;
    struct os_stop stop;
    struct legacy_options options; /* may be changed before rig_start() */
    struct legacy *legacy;
    struct banyan_arena arena; /* stories */
    struct banyan_error err;
};

/* cmocka's set-up and tear-down. */
int rig_up(void **state);
int rig_down(void **state);

/* Fails the test with the error. */
void rig_ok(struct rig *rig, enum banyan_status status, const char *what);
#define RIG_OK(rig, call) rig_ok((rig), (call), #call)

void rig_open_store(struct rig *rig);
/* Opens the store where needed. */
enum banyan_status rig_try_start(struct rig *rig);
void rig_start(struct rig *rig);
/* The engine ends and the store is closed. */
void rig_stop(struct rig *rig);
/* A process of its own that captures until it is killed. */
pid_t rig_fork(struct rig *rig);
void rig_kill(pid_t pid);

struct pg_conn *rig_connect(struct rig *rig);
void rig_sql(struct pg_conn *conn, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
/* The first cell; in the rig's arena. */
const char *rig_value(struct rig *rig, struct pg_conn *conn, const char *format, ...) BANYAN_PRINTF_LIKE(3, 4);
/* Ask until it is *expected*, 30 s at most. */
void rig_wait_value(struct rig *rig, const char *expected, const char *format, ...) BANYAN_PRINTF_LIKE(3, 4);
/* Write a fence and wait until everything before it is in the log; fails the test when capture fails. */
void rig_fence(struct rig *rig);
/* Wait until the backfill is done. */
void rig_backfilled(struct rig *rig);
/* Wait until capture has failed; the error is in rig->err. */
void rig_failed(struct rig *rig);

const char *rig_story(struct rig *rig, int64_t key);
/* How many events of *type* are in the log. */
uint64_t rig_count(struct rig *rig, const char *type);
/* Only those whose payload holds *text*. */
uint64_t rig_count_saying(struct rig *rig, const char *type, const char *text);
/* Every document's last state is its row, and every row has a stream. */
void rig_equal(struct rig *rig);

#endif
