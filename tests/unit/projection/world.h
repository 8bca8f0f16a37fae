/* SPDX-License-Identifier: Apache-2.0 */
/* A store, some views and an engine over them, for tests of the engine: views live in homes that outlast it. */
#ifndef TEST_PROJECTION_WORLD_H
#define TEST_PROJECTION_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "faulty.h"
#include "projection/engine.h"
#include "support/test_domain.h"

enum {
    LIMIT_US = 30 * 1000 * 1000, /* for anything that must happen */
    ACCOUNTS = 300,
    VIEWS_MAX = 8,
};

struct fixture {
    char *folder; /* owned */
    struct store *store;
    struct os_stop stop;
    struct projections *engine;
    struct os_random random;
    struct banyan_arena arena;
    struct banyan_projection specs[VIEWS_MAX];
    struct faulty_home homes[VIEWS_MAX];
    char names[VIEWS_MAX][16];
    size_t count;
    projection_cursor_lsn_fn cursor_lsn;
    bool sqlite; /* homes are files, else they are in memory */
};

/* End the test when something did not work. */
void must(enum banyan_status st, const struct banyan_error *err, const char *what);
void open_store(struct fixture *f);
/* A view like that, with a home that stays when the engine ends. */
struct banyan_projection *add_view(struct fixture *f, const struct banyan_projection *like);
void setup(struct fixture *f);
/* Start the engine with all views. */
void start(struct fixture *f, bool held);
void stop(struct fixture *f);
void teardown(struct fixture *f);
struct projection_status status_of(struct fixture *f, size_t view);
void wait_state(struct fixture *f, size_t view, enum projection_state wanted);
/* All views have all events. */
void wait_tail(struct fixture *f);
void append(struct fixture *f, struct store_event *events, size_t count);
/* The rows equal the fold of all events up to their checkpoint, which is *position*. */
void check_view(struct fixture *f, size_t view, uint64_t position);
/* The owner that the row of an account says; "": there is none. */
void assert_owner(struct fixture *f, size_t view, int64_t key, const char *wanted);
/* Accounts, by key. */
struct banyan_projection partitioned(void);
/* Events of accounts 1 to 5 that cannot be applied, each for another reason. */
void append_bad(struct fixture *f);
/* Rename accounts 1 to *last*. */
void append_names(struct fixture *f, const char *owner, int64_t last);
/* Open accounts 1 to *last*. */
void append_opened(struct fixture *f, int64_t last);
/* What is aside in a view, in the arena. */
size_t asides_of(struct fixture *f, size_t view, struct sink_aside **ret);

#endif
