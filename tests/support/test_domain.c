/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts at branches: see test_domain.h. */
#include "support/test_domain.h"

#include <assert.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct banyan_field opened_fields[] = {
    BANYAN_FIELD_STRING(struct test_opened, owner, 0),
    BANYAN_FIELD_STRING(struct test_opened, note, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct test_opened, branch, 0),
    BANYAN_FIELD_DECIMAL(struct test_opened, credit, BANYAN_FIELD_OPTIONAL, 4),
};
static const struct banyan_field renamed_fields[] = {BANYAN_FIELD_STRING(struct test_renamed, owner, 0)};
static const struct banyan_field moved_fields[] = {
    BANYAN_FIELD_INT(struct test_moved, branch, 0),
    BANYAN_FIELD_DECIMAL(struct test_moved, amount, 0, 2),
};
static const struct banyan_field closed_fields[] = {BANYAN_FIELD_STRING(struct test_closed, note, 0)};
static const struct banyan_field purged_fields[] = {BANYAN_FIELD_BOOL(struct test_purged, sure, 0)};

static const struct banyan_field account_fields[] = {
    BANYAN_FIELD_INT(struct test_account, id, 0),
    BANYAN_FIELD_STRING(struct test_account, owner, 0),
    BANYAN_FIELD_STRING(struct test_account, note, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_DECIMAL(struct test_account, balance, 0, 2),
    BANYAN_FIELD_DECIMAL(struct test_account, credit, BANYAN_FIELD_OPTIONAL, 4),
    BANYAN_FIELD_INT(struct test_account, moves, 0),
    BANYAN_FIELD_BOOL(struct test_account, open, 0),
    BANYAN_FIELD_TIME(struct test_account, opened_at, 0),
    BANYAN_FIELD_TIME(struct test_account, closed_at, BANYAN_FIELD_OPTIONAL),
};
static const struct banyan_field branch_fields[] = {
    BANYAN_FIELD_INT(struct test_branch, branch, 0),
    BANYAN_FIELD_INT(struct test_branch, moves, 0),
    BANYAN_FIELD_DECIMAL(struct test_branch, total, 0, 2),
};

#define RECORD(label, type, table)                                                                                     \
    {                                                                                                                  \
        .name = (label), .size = sizeof(type), .fields = (table), .field_count = sizeof(table) / sizeof((table)[0])    \
    }

static const struct banyan_record records[] = {
    [TEST_OPENED] = RECORD("Opened", struct test_opened, opened_fields),
    [TEST_RENAMED] = RECORD("Renamed", struct test_renamed, renamed_fields),
    [TEST_MOVED] = RECORD("Moved", struct test_moved, moved_fields),
    [TEST_CLOSED] = RECORD("Closed", struct test_closed, closed_fields),
    [TEST_PURGED] = RECORD("Purged", struct test_purged, purged_fields),
};
static const struct banyan_record account_record = RECORD("account", struct test_account, account_fields);
static const struct banyan_record branch_record = RECORD("branch", struct test_branch, branch_fields);

static const struct banyan_event_type events[TEST_EVENTS] = {
    [TEST_OPENED] = {"Opened", 1, &records[TEST_OPENED]}, [TEST_RENAMED] = {"Renamed", 1, &records[TEST_RENAMED]},
    [TEST_MOVED] = {"Moved", 3, &records[TEST_MOVED]},    [TEST_CLOSED] = {"Closed", 1, &records[TEST_CLOSED]},
    [TEST_PURGED] = {"Purged", 1, &records[TEST_PURGED]},
};

/* ---- fold ---- */

bool test_account_fold(struct test_account *account, unsigned type, const void *payload, struct banyan_time at)
{
    switch (type) {
    case TEST_OPENED: {
        const struct test_opened *opened = payload;
        account->owner = opened->owner;
        account->note = opened->note;
        account->credit = opened->credit;
        account->open = true;
        account->opened_at = at;
        account->closed_at.us = BANYAN_TIME_NULL;
        return true;
    }
    case TEST_RENAMED:
        account->owner = ((const struct test_renamed *)payload)->owner;
        return true;
    case TEST_MOVED: {
        struct banyan_decimal sum;
        if (banyan_decimal_add(account->balance, ((const struct test_moved *)payload)->amount, &sum))
            account->balance = sum;
        account->moves++;
        return true;
    }
    case TEST_CLOSED:
        account->note = ((const struct test_closed *)payload)->note;
        account->open = false;
        account->closed_at = at;
        return true;
    default:
        return false;
    }
}

struct test_account test_account_fresh(int64_t key)
{
    struct test_account account;
    banyan_record_init(&account_record, &account);
    account.id = key;
    account.balance = banyan_decimal_of(0, 2);
    account.opened_at.us = 0;
    return account;
}

static void apply_account(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct test_account *old = banyan_unit_get(unit, 0, event->key);
    struct test_account account = old == NULL ? test_account_fresh(event->key) : *old;
    if (test_account_fold(&account, event->type, event->payload, event->at))
        banyan_unit_put(unit, 0, event->key, &account);
    else
        banyan_unit_delete(unit, 0, event->key);
}

void test_branch_fold(struct test_branch *branch, const struct test_moved *moved)
{
    struct banyan_decimal sum;
    if (banyan_decimal_add(branch->total, moved->amount, &sum))
        branch->total = sum;
    branch->moves++;
}

static void apply_branch(const struct banyan_seen *event, struct banyan_unit *unit)
{
    if (event->type != TEST_MOVED)
        return;
    const struct test_moved *moved = event->payload;
    const struct test_branch *old = banyan_unit_get(unit, 0, moved->branch);
    struct test_branch branch =
        old == NULL ? (struct test_branch){.branch = moved->branch, .total = banyan_decimal_of(0, 2)} : *old;
    test_branch_fold(&branch, moved);
    banyan_unit_put(unit, 0, moved->branch, &branch);
}

static const struct banyan_view_index account_indexes[] = {
    [TEST_BY_OWNER] = {"by_owner", "owner", "opened_at"},
    [TEST_BY_OWNER_CLOSED] = {"by_owner_closed", "owner", "closed_at"},
};

static const char *const account_search[] = {"owner", NULL};

/* The branches with at least so many moves. */
struct busy_arguments {
    int64_t at_least;
};

static const struct banyan_field busy_fields[] = {BANYAN_FIELD_INT(struct busy_arguments, at_least, 0)};
static const struct banyan_record busy_record = {"Busy", sizeof(struct busy_arguments), busy_fields, 1};

struct busy {
    int64_t at_least;
    struct banyan_answer *answer;
};

static bool take_busy(void *context, const void *row)
{
    const struct busy *busy = context;
    if (((const struct test_branch *)row)->moves >= busy->at_least)
        banyan_answer_row(busy->answer, row);
    return true;
}

static void answer_busy(const void *arguments, struct banyan_reader *reader, struct banyan_answer *answer)
{
    struct busy busy = {((const struct busy_arguments *)arguments)->at_least, answer};
    if (busy.at_least < 0)
        banyan_answer_refuse(answer, "at_least is negative");
    else
        banyan_reader_each(reader, &(struct banyan_reader_list){.table = 0}, take_busy, &busy);
}

static const struct banyan_query branch_queries[] = {{"busy", &busy_record, &branch_record, answer_busy}};

const struct banyan_projection test_projections[2] = {
    [TEST_VIEW_ACCOUNTS] = {.name = "accounts",
                            .version = 1,
                            .tables = &(const struct banyan_table){.name = "accounts",
                                                                   .row = &account_record,
                                                                   .key_column = "id",
                                                                   .indexes = account_indexes,
                                                                   .index_count = 2,
                                                                   .search = account_search},
                            .table_count = 1,
                            .categories = (const char *const[]){"account", NULL},
                            .apply = apply_account},
    [TEST_VIEW_BRANCHES] = {.name = "branches",
                            .version = 1,
                            .tables = &(const struct banyan_table){.name = "branches",
                                                                   .row = &branch_record,
                                                                   .key_column = "branch"},
                            .table_count = 1,
                            .categories = (const char *const[]){"account", NULL},
                            .apply = apply_branch,
                            .queries = branch_queries,
                            .query_count = 1},
};

static void evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    (void)test_account_fold(state, type, payload, at); /* a purged account keeps its last state */
}

static const struct banyan_aggregate aggregates[] = {{"account", &account_record, evolve}};

const struct banyan_domain test_domain = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "accounts-test",
    .events = events,
    .event_count = TEST_EVENTS,
    .aggregates = aggregates,
    .aggregate_count = 1,
    .projections = test_projections,
    .projection_count = 2,
};

/* ---- events ---- */

struct store_event test_event_of(enum test_event type, const void *payload, int64_t key, struct banyan_time at,
                                 struct os_random *random, struct banyan_arena *arena)
{
    struct banyan_buf data = BANYAN_BUF_INIT(1 << 20);
    enum banyan_status st = banyan_record_encode(&records[type], payload, &data, NULL);
    assert(st == BANYAN_OK);
    (void)st; /* looked at by the assertion */
    uint8_t hash[16];
    for (size_t i = 0; i < sizeof(hash); i += 8) {
        uint64_t bits = os_random_next(random);
        memcpy(hash + i, &bits, 8);
    }
    struct store_event event = {
        .id = banyan_uuid_v8(hash),
        .stream = banyan_arena_printf(arena, "account-%" PRId64, key),
        .type = banyan_str_of(events[type].name),
        .schema = events[type].version,
        .provenance = BANYAN_EXACT,
        .at = at,
        .payload = banyan_arena_str(arena, banyan_buf_str(&data)),
    };
    banyan_buf_release(&data);
    return event;
}

static struct banyan_str random_text(struct os_random *random, struct banyan_arena *arena)
{
    static const char *const texts[] = {
        "",        "O'Neill \"x\"", "a\\b",       "\xc3\xa4\xe2\x82\xac",
        "line\nl", "NULL",          "\\N\t{1,2}", "a rather longer text than the others"};
    return banyan_arena_str(arena, banyan_str_of(texts[os_random_below(random, 8)]));
}

static struct banyan_str random_owner(struct os_random *random, struct banyan_arena *arena)
{
    return banyan_arena_printf(arena, "owner %u", (unsigned)os_random_below(random, TEST_OWNERS));
}

struct store_event test_event_random(struct os_random *random, int64_t key, struct banyan_arena *arena)
{
    /* Few distinct times: ties are what lists get wrong. */
    struct banyan_time at = {INT64_C(1600000000000000) + (int64_t)os_random_below(random, 50) * 1000001};
    int64_t branch = (int64_t)os_random_below(random, TEST_BRANCHES);
    int64_t units = (int64_t)os_random_below(random, 2000001) - 1000000;
    uint64_t dice = os_random_below(random, 100);

    if (dice < 25) {
        struct test_opened opened = {random_owner(random, arena), {NULL, 0}, branch, banyan_decimal_null()};
        if (os_random_below(random, 2) == 0)
            opened.note = random_text(random, arena);
        if (os_random_below(random, 2) == 0)
            opened.credit = banyan_decimal_of(units * ((__int128)1 << 60) + 7, 4); /* more than 64 bits hold */
        return test_event_of(TEST_OPENED, &opened, key, at, random, arena);
    }
    if (dice < 35) {
        struct test_renamed renamed = {random_owner(random, arena)};
        return test_event_of(TEST_RENAMED, &renamed, key, at, random, arena);
    }
    if (dice < 45) {
        struct test_closed closed = {random_text(random, arena)};
        return test_event_of(TEST_CLOSED, &closed, key, at, random, arena);
    }
    if (dice < 50) {
        struct test_purged purged = {true};
        return test_event_of(TEST_PURGED, &purged, key, at, random, arena);
    }
    struct test_moved moved = {branch, banyan_decimal_of(units, 2)};
    return test_event_of(TEST_MOVED, &moved, key, at, random, arena);
}

/* ---- around tests ---- */

char *test_folder_new(void)
{
    char *folder = strdup("/tmp/banyan-test-XXXXXX");
    if (folder == NULL || mkdtemp(folder) == NULL)
        abort();
    return folder;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where)
{
    return remove(path);
}

void test_folder_remove(char *folder)
{
    if (folder != NULL)
        (void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS); /* what is left is only litter */
    free(folder);
}

uint64_t test_seed(void)
{
    uint64_t seed;
    const char *given = getenv("BANYAN_TEST_SEED");
    if (given != NULL)
        seed = strtoull(given, NULL, 10);
    else
        os_random_bytes(&seed, sizeof(seed));
    printf("# BANYAN_TEST_SEED=%" PRIu64 "\n", seed);
    return seed;
}
