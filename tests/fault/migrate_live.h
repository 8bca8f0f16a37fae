/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations of a table that old and new code use all the time.
 *
 *   migrate_live.c    the six cases; the program is run, killed, resumed; what must hold at each stage
 *   live_load.c       threads that are old and new code at once; every statement timed
 *   live_model.c      what each row has to be: what the server acknowledged last
 *   live_schema.c     the table, and a text of all that a schema is
 *
 * Old and new code are two faces of each thread: the same rows are written under one and read under the other.  A row
 * belongs to one thread, so that what it reads is known; the HOT first rows belong to all and are only counted up.
 */
#ifndef MIGRATE_LIVE_H
#define MIGRATE_LIVE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "os/random.h"
#include "os/thread.h"

enum {
    LIVE_HOT = 64,
    LIVE_ACCOUNTS = 1000,
    LIVE_THREADS_MAX = 16,
    LIVE_UNIT_E8 = 100000000, /* prices are scaled by 10^8 */
    LIVE_ADDED = 1000000,     /* by the UPDATE of all rows */
};

/* Which case: what new code calls things, and what a row may look like. */
enum live_case_id {
    LIVE_VENUE = 1, /* ADD COLUMN execution_venue NOT NULL, filled */
    LIVE_RENAME,    /* execution_time TO execution_timestamp */
    LIVE_TYPE,      /* price numeric(10,2) → numeric(18,8) */
    LIVE_INDEX,
    LIVE_UPDATE, /* every row */
    LIVE_FOREIGN,
};
enum live_face { LIVE_OLD = 0, LIVE_NEW, LIVE_FACES };
enum live_mode { LIVE_PAUSED = 1, LIVE_ONLY_OLD, LIVE_BOTH, LIVE_ONLY_NEW };

/* Of latencies; LIVE_ALONE is the reference, without a migration. */
enum live_stage {
    LIVE_ALONE = 0,
    LIVE_START,
    LIVE_READY,
    LIVE_COMPLETE,
    LIVE_COMPLETED,
    LIVE_ROLLBACK,
    LIVE_CLEANUP,
    LIVE_STAGES,
};
const char *live_stage_name(enum live_stage stage);

/* ---- live_model.c ---- */

struct live_row {
    int64_t price_e8;
    int32_t seconds, quantity, fills;
    uint16_t account;
    uint8_t venue;     /* 0 … 3 */
    uint8_t execution; /* what new code wrote; 0: what the directive gives */
    bool exists;
    bool touched; /* by a client, ever: its updated_at has moved */
    bool since;   /* its quantity was written since the UPDATE of all rows began */
};
struct live_model {
    struct live_row *rows; /* [1 … room] */
    int64_t loaded, room;
};
void live_model_init(struct live_model *model, int64_t rows);
void live_model_free(struct live_model *model);
const char *live_venue(unsigned venue);
const char *live_execution(const struct live_row *row);
/* "123.45" */
int64_t live_price(const char *text);
void live_price_text(int64_t price_e8, char text[32]);
int64_t live_round(int64_t price_e8); /* to two decimals, half away from zero, as numeric does */
/* A price with eight decimals does not come back through numeric(10,2). */
void live_model_round(struct live_model *model);
void live_model_forget_execution(struct live_model *model);
void live_model_since(struct live_model *model);

enum live_added { LIVE_NOT_ADDED = 0, LIVE_PERHAPS_ADDED, LIVE_IS_ADDED };
struct live_expect {
    const char *time;      /* column that is read */
    const char *second;    /* has to be equal to it; NULL: there is one name */
    bool execution;        /* the new column is there and full */
    bool fired;            /* an UPDATE of the migration's own: the table's triggers fire, as for any other */
    enum live_added added; /* to rows that were there before; those since may have it or not */
};
/* Every row of the table against the model; gives how many are wrong, told on stdout (some of them). */
int64_t live_model_compare(const struct live_model *model, PGconn *conn, const struct live_expect *expect);

/* ---- live_schema.c ---- */

/* The table without rows. */
void live_schema_make(PGconn *conn);
/* The views alone, again. */
void live_schema_views(PGconn *conn);
void live_schema_drop(PGconn *conn);
void live_schema_fill(PGconn *conn, int64_t rows);
/* Columns, constraints, indexes, triggers, views, rights, comments of schema public; malloc()ed.  Columns by number or
 * by name. */
char *live_schema_text(PGconn *conn, bool by_number);
void live_run_sql(PGconn *conn, const char *sql); /* or end the process */
PGconn *live_connect(const char *database, const char *application);
/* One number; ends the process when there is none. */
int64_t live_number(PGconn *conn, const char *sql);

/* ---- live_load.c ---- */

struct live_load;
struct live_load *live_load_start(struct live_model *model, enum live_case_id id, unsigned threads, unsigned rate,
                                  uint64_t seed);
/* Returns when no statement of the mode before is under way. */
void live_load_mode(struct live_load *load, enum live_mode mode);
void live_load_stage(struct live_load *load, enum live_stage stage);
/* Every price that is written has to come back with all its decimals. */
void live_load_exact(struct live_load *load, bool exact);
struct live_figures {
    uint64_t statements, failed, wrong, prepared_again;
    int64_t p50_us[LIVE_STAGES], p99_us[LIVE_STAGES], max_us[LIVE_STAGES];
    uint64_t count[LIVE_STAGES];
    int64_t lock_wait_us_max; /* that was seen, by asking every few ms */
};
/* Of all that was done so far; the load is best paused. */
void live_load_figures(const struct live_load *load, struct live_figures *ret);
void live_load_stop(struct live_load *load);

#endif
