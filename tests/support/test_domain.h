/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small domain for tests: accounts at branches.
 *
 *   account-<key>:  Opened, Renamed, Moved*, Closed, Purged        view accounts: one row an account, lists by owner
 *                                                                  view branches: one row a branch, keyed by no stream
 *
 * Closed leaves a time, Purged deletes the row; everything is accepted in any order, as history must be.
 */
#ifndef SUPPORT_TEST_DOMAIN_H
#define SUPPORT_TEST_DOMAIN_H

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "os/random.h"
#include "store/store.h"

enum test_event {
    TEST_OPENED,
    TEST_RENAMED,
    TEST_MOVED,
    TEST_CLOSED,
    TEST_PURGED,
    TEST_EVENTS,
};

struct test_opened {
    struct banyan_str owner;
    struct banyan_str note; /* optional */
    int64_t branch;
    struct banyan_decimal credit; /* optional */
};
struct test_renamed {
    struct banyan_str owner;
};
struct test_moved {
    int64_t branch;
    struct banyan_decimal amount;
};
struct test_closed {
    struct banyan_str note;
};
struct test_purged {
    bool sure;
};

struct test_account {
    int64_t id;
    struct banyan_str owner;
    struct banyan_str note; /* optional */
    struct banyan_decimal balance;
    struct banyan_decimal credit; /* optional */
    int64_t moves;
    bool open;
    struct banyan_time opened_at;
    struct banyan_time closed_at; /* optional */
};
struct test_branch {
    int64_t branch;
    int64_t moves;
    struct banyan_decimal total;
};

enum {
    TEST_VIEW_ACCOUNTS,
    TEST_VIEW_BRANCHES,
    TEST_BY_OWNER = 0,        /* index of accounts: newest opened first */
    TEST_BY_OWNER_CLOSED = 1, /* newest closed first, those not closed last */
    TEST_OWNERS = 7,
    TEST_BRANCHES = 5,
};

extern const struct banyan_domain test_domain;
extern const struct banyan_projection test_projections[2];

/* A random event of account *key*, everything in *arena*; a little time passes with each (many ties). */
struct store_event test_event_random(struct os_random *random, int64_t key, struct banyan_arena *arena);
/* The event of a payload struct. */
struct store_event test_event_of(enum test_event type, const void *payload, int64_t key, struct banyan_time at,
                                 struct os_random *random, struct banyan_arena *arena);
/* Append *count* random events of accounts 1 … *accounts* in batches of random size. */
void test_append_random(struct store *store, struct os_random *random, size_t count, int64_t accounts);

/* ---- the slow, simple model ---- */

struct test_account test_account_fresh(int64_t key);
/* One event into one account; false: the account is gone. */
bool test_account_fold(struct test_account *account, unsigned type, const void *payload, struct banyan_time at);
void test_branch_fold(struct test_branch *branch, const struct test_moved *moved);

enum {
    TEST_MODEL_KEYS = 4096,
};

/* The views as a plain fold over the log up to *last* gives them. */
struct test_model {
    struct banyan_arena arena;
    struct test_account *accounts[TEST_MODEL_KEYS]; /* by key; NULL: none */
    struct test_branch *branches[TEST_BRANCHES];
};

void test_model_fold(struct test_model *model, struct store *store, struct banyan_position last);
void test_model_release(struct test_model *model);

/* ---- around tests ---- */

/* A new folder under /tmp, owned by the caller; test_folder_remove() removes it with all that is in it. */
char *test_folder_new(void);
void test_folder_remove(char *folder);
/* The seed of this run: from BANYAN_TEST_SEED, else random; printed as a TAP comment. */
uint64_t test_seed(void);

#endif
