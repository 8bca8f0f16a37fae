/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random tables under random migrations and random writes, beside an oracle of plain SQL.
 *
 *   real    migrated by steps, while old and new code write
 *   twin    the same writes and the same DDL, one after the other and nobody else there
 *   still   the same writes, never migrated
 *
 * When it is ready real is both, by the names of either code; behind complete it is what twin is; behind a rollback,
 * from wherever, what still is.
 *
 *   migrate_random.c          rounds: which migration, how far, where it is interrupted; the comparison
 *   migrate_random_schema.c   tables, values, changes: as a migration and as plain DDL
 *   migrate_random_keeper.c   VACUUM FULL and the like, by hand
 *   migrate_random_load.c     writers, what they did, and doing it again
 */
#ifndef TESTS_MIGRATE_RANDOM_H
#define TESTS_MIGRATE_RANDOM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "os/random.h"
#include "os/thread.h"
#include "pg/conn.h"

enum {
    COLUMNS_MAX = 24,
    NAME_SIZE = 72,
    TEXT_SIZE = 32 * 1024,
    WRITERS = 3,
    KEYS_A_WRITER = 1 << 20, /* a writer's own keys: (1 + its number) << 20 … */
};

enum value_kind { VALUE_INT = 0, VALUE_MONEY, VALUE_WORD, VALUE_STAMP, VALUE_KINDS };
enum column_use {
    USE_KEY = 0,
    USE_STABLE,  /* written at INSERT only */
    USE_WRITTEN, /* and by UPDATE */
};
struct column {
    char name[NAME_SIZE], after[NAME_SIZE]; /* quoted; as old and as new code know it */
    char type[48], type_after[48];
    enum value_kind kind;
    enum column_use use;
    bool in_old, in_new; /* it is there for old, for new code */
    bool taken;          /* by a change of this migration */
    bool nullable;
};
struct table {
    char name[NAME_SIZE], after[NAME_SIZE]; /* quoted */
    bool has_key, parts;
    struct column columns[COLUMNS_MAX]; /* [0] the key */
    unsigned column_count;
    unsigned made; /* columns so far: names are never used twice */
    int64_t rows;
    bool update_third; /* this migration updates rows of keys that 3 divides */
};
struct change {
    char migration[TEXT_SIZE]; /* the file */
    char plain[TEXT_SIZE];     /* the same for nobody else there */
};

#define MUST(condition, ...)                                                                                           \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            (void)printf("not ok - ");                                                                                 \
            (void)printf(__VA_ARGS__);                                                                                 \
            (void)printf("\n");                                                                                        \
            (void)fflush(stdout);                                                                                      \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

__attribute__((format(printf, 2, 3))) void text_add(char *text, const char *format, ...);
struct pg_conn *random_connect(const char *conninfo, const char *database);
void random_run(struct pg_conn *conn, const char *sql);

/* ---- migrate_random_schema.c ---- */

void table_random(struct table *table, struct os_random *random);
/* CREATE TABLE, rows, indexes. */
void table_make(const struct table *table, struct pg_conn *conn, struct os_random *random);
/* The literal of the *n*-th value of a kind. */
void value_text(enum value_kind kind, uint64_t n, char ret[64]);
/* One to three changes; the table's *after*s and *in*s tell what they do. */
void change_random(struct table *table, struct os_random *random, struct change *ret);
/* The migration is over: the new form is the table, or the old one still is. */
void change_done(struct table *table, bool kept);
/* SELECT of all columns of one form as one text a row, in order; when it is ready the types are still the old ones. */
void table_select(const struct table *table, bool is_new, char ret[TEXT_SIZE]);

/* ---- migrate_random_load.c ---- */

enum load_form {
    LOAD_OLD = 0,
    LOAD_BOTH,
    LOAD_NEW,
    LOAD_REST, /* nobody writes */
};
struct load;
/* *number*: of the migration in the chain; each has keys of its own. */
struct load *load_start(const char *conninfo, const struct table *table, unsigned number, uint64_t seed);
/* From now on; what was under way in another form is done when it returns. */
void load_form(struct load *load, enum load_form form);
/* Everything from here on came behind the DDL. */
void load_mark(struct load *load);
/* Do it again on a database that is alone: the part before the mark, or behind it.  *is_new*: by the new names.
 * *extra*: only values of columns that old code does not know. */
void load_replay(const struct load *load, struct pg_conn *conn, bool behind, bool is_new, bool extra);
uint64_t load_count(const struct load *load);
void load_end(struct load *load);

/* ---- migrate_random_keeper.c ---- */

struct keeper;
struct keeper *keeper_start(const char *conninfo, uint64_t seed);
/* Gives what it did; NULL: nothing. */
uint64_t keeper_end(struct keeper *keeper);

#endif
