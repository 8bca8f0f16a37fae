/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts: the store runs on a file system that loses what was not flushed, in several ways (support/lossy_fs.h).
 * The cut comes before a seeded operation on a file: while writing, while opening, while repairing.  Nothing that was
 * acknowledged may be missing afterwards, nothing may be there twice, and the store opens by itself.
 *
 * The same is done with stores that are wrong on purpose (flushes left out): they have to be caught, or this test
 * would prove nothing.  SEEDS, or the argument if that is more, says how many cuts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include <signal.h>

#include "../unit/log/folder.h"
#include "crash.h"
#include "support/lossy_fs.h"

enum {
    CUTS_A_LIFE = 8,
    OPERATIONS_MAX = 1500, /* before the cut */
    FREEZE_US_MAX = 3000000,
    MUTANT_CUTS_MAX = 200, /* a mutant that survives more is not caught */
};

static struct lossy_fs *lossy;
static char mount_point[FOLDER_PATH_MAX], why_not[300];
static unsigned cuts_least = 16;

struct totals {
    uint64_t cuts, checks, events, acknowledged, lost, dirty, rebuilt;
};

static enum lossy_cut any_cut(struct os_random *random)
{
    return (enum lossy_cut)(LOSSY_DROP + os_random_below(random, LOSSY_ALL - LOSSY_DROP + 1));
}

/* One life of a store; false with ledger->failure filled. */
static bool live(struct crash_ledger *ledger, struct os_files *files, struct os_random *random, unsigned cuts,
                 struct totals *totals)
{
    for (unsigned i = 0; i < cuts; i++) {
        uint64_t operations = os_random_below(random, 4) == 0 ? 60 : OPERATIONS_MAX;
        struct lossy_report report;
        pid_t pid;

        lossy_fs_arm(lossy, 1 + os_random_below(random, operations));
        pid = crash_start_writer(ledger, files, os_random_next(random));
        if (!lossy_fs_wait_frozen(lossy, FREEZE_US_MAX))
            lossy_fs_freeze(lossy);
        (void)kill(pid, SIGKILL);
        lossy_fs_release(lossy); /* whoever hangs in a call can die now */
        if (!crash_kill(ledger, pid))
            return false;
        report = lossy_fs_power(lossy, any_cut(random), os_random_next(random));
        totals->cuts++;
        totals->lost += report.lost;
        totals->dirty += report.dirty;
        if (os_random_below(random, 4) == 0 && i + 1 < cuts)
            continue; /* the next cut meets what this one left */
        totals->checks++;
        if (!crash_run_check(
                ledger, NULL,
                (struct crash_check){.repeat = os_random_below(random, 2) == 0, .seed = os_random_next(random)}))
            return false;
    }
    totals->events += ledger->events;
    totals->rebuilt += ledger->rebuilt;
    totals->acknowledged += ledger->acknowledged;
    return true;
}

/* Lives until *cuts* cuts; returns the cuts done before one was not survived, or *cuts*. */
static uint64_t run(struct crash_ledger *ledger, struct os_files *files, uint64_t seed, unsigned cuts,
                    struct totals *totals)
{
    char folder[FOLDER_PATH_MAX + 16];

    (void)snprintf(folder, sizeof(folder), "%s/data/store", mount_point);
    for (uint64_t life = 0; totals->cuts < cuts; life++) {
        unsigned left = cuts - (unsigned)totals->cuts;
        struct os_random random;

        os_random_seed(&random, seed + life);
        lossy_fs_wipe(lossy);
        crash_ledger_start(ledger, seed + life, folder);
        if (!live(ledger, files, &random, left < CUTS_A_LIFE ? left : CUTS_A_LIFE, totals))
            break;
    }
    return totals->cuts;
}

static void test_cuts(void **state)
{
    struct crash_ledger *ledger = crash_ledger_new();
    unsigned cuts = crash_seeds(cuts_least);
    struct totals totals = {.cuts = 0};

    (void)state;
    if (lossy == NULL) {
        (void)printf("# skipped: %s\n", why_not);
        skip();
    }
    if (run(ledger, NULL, test_seed(), cuts, &totals) < cuts || ledger->failure[0] != '\0')
        fail_msg("BANYAN_TEST_SEED=%llu, cut %llu: %s", (unsigned long long)ledger->seed,
                 (unsigned long long)totals.cuts, ledger->failure);
    (void)printf("# %llu cuts, %llu checks, %llu events, %llu attempts acknowledged; %llu operations were not flushed, "
                 "%llu parts of them lost; index rebuilt %llu times: 0 acknowledged events lost, 0 twice\n",
                 (unsigned long long)totals.cuts, (unsigned long long)totals.checks, (unsigned long long)totals.events,
                 (unsigned long long)totals.acknowledged, (unsigned long long)totals.dirty,
                 (unsigned long long)totals.lost, (unsigned long long)totals.rebuilt);
    assert_true(totals.lost > 0 && totals.events > 0);
}

/* ---- stores that are wrong on purpose ---- */

static enum banyan_status sync_nothing(struct os_file *file, struct banyan_error *err)
{
    (void)file;
    (void)err;
    return BANYAN_OK;
}

/* As if the answer were given before the flush: it comes with that of the next one. */
static enum banyan_status sync_late(struct os_file *file, struct banyan_error *err)
{
    static uint64_t calls; /* atomic */

    if (__atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST) % 2 == 0)
        return BANYAN_OK;
    return os_files_real()->sync(file, err);
}

static enum banyan_status sync_no_folder(struct os_files *files, const char *folder, struct banyan_error *err)
{
    (void)files;
    (void)folder;
    (void)err;
    return BANYAN_OK;
}

static void check_mutant(const char *name, struct os_files *files)
{
    struct crash_ledger *ledger = crash_ledger_new();
    struct totals totals = {.cuts = 0};

    if (lossy == NULL) {
        (void)printf("# skipped: %s\n", why_not);
        skip();
    }
    if (run(ledger, files, test_seed(), MUTANT_CUTS_MAX, &totals) == MUTANT_CUTS_MAX && ledger->failure[0] == '\0')
        fail_msg("a store with %s survived %d cuts: the test sees nothing", name, MUTANT_CUTS_MAX);
    (void)printf("# a store with %s was caught at cut %llu: %s\n", name, (unsigned long long)totals.cuts,
                 ledger->failure);
}

static void test_mutant_no_flush(void **state)
{
    struct os_files files = *os_files_real();

    (void)state;
    files.sync = sync_nothing;
    check_mutant("no flush of files", &files);
}

static void test_mutant_late_flush(void **state)
{
    struct os_files files = *os_files_real();

    (void)state;
    files.sync = sync_late;
    check_mutant("an answer before the flush", &files);
}

static void test_mutant_no_folder_flush(void **state)
{
    struct os_files files = *os_files_real();

    (void)state;
    files.sync_folder = sync_no_folder;
    check_mutant("no flush of folders", &files);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_mutant_no_flush),
        cmocka_unit_test(test_mutant_late_flush),
        cmocka_unit_test(test_mutant_no_folder_flush),
    };
    int failed;

    if (argc > 1)
        cuts_least = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    folder_make(mount_point);
    lossy = lossy_fs_start(mount_point, why_not, sizeof(why_not));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    lossy_fs_stop(lossy);
    (void)rmdir(mount_point);
    return failed;
}
