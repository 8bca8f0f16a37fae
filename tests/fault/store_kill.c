/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kill -9 at seeded moments: while many threads write, while the store is opened, while its end is repaired.
 *
 * Beside a writer at work others open the store: a second writer is kept out, a reader sees a whole store.
 *
 * SEEDS, or the argument if that is more, says how many kills; BANYAN_TEST_SEED repeats a run (up to what the scheduler
 * does).  Most lives are spent in memory, where files are fast and kills meet more states; some on the disk, where
 * flushes last.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "../unit/log/folder.h"
#include "crash.h"
#include "os/clock.h"

enum {
    KILLS_A_LIFE = 12,
    DISK_EVERY = 4, /* lives */
};

struct totals {
    uint64_t kills, before_open, events, acknowledged, repeats, checks, rebuilt, beside;
};

/* The moment of the kill: a time after the start, or a number of answers. */
static void wait_for_moment(struct crash_ledger *ledger, struct os_random *random)
{
    struct os_clock *clock = os_clock_real();
    int64_t until = os_clock_monotonic_us(clock) + 2000000;
    uint64_t answers = ledger->acknowledged + 1 + os_random_below(random, 200);

    if (os_random_below(random, 3) == 0) {
        clock->sleep_us(clock, (int64_t)os_random_below(random, os_random_below(random, 2) == 0 ? 3000 : 30000));
        return;
    }
    while (__atomic_load_n(&ledger->acknowledged, __ATOMIC_SEQ_CST) < answers && ledger->failure[0] == '\0' &&
           os_clock_monotonic_us(clock) < until)
        clock->sleep_us(clock, 500);
    clock->sleep_us(clock, (int64_t)os_random_below(random, 2000));
}

static void live(struct crash_ledger *ledger, struct os_random *random, unsigned kills, struct totals *totals)
{
    for (unsigned kill = 0; kill < kills; kill++) {
        uint32_t opens = ledger->opens;
        bool last = kill + 1 == kills || ledger->attempt_count > CRASH_ATTEMPTS_MAX / 2;
        pid_t pid = crash_start_writer(ledger, NULL, os_random_next(random));
        uint64_t dice;

        wait_for_moment(ledger, random);
        if (ledger->opens > opens && os_random_below(random, 4) == 0) {
            totals->beside++;
            if (!crash_run_check(
                    ledger, NULL,
                    (struct crash_check){.read_only = true, .beside = true, .seed = os_random_next(random)}))
                fail_msg("seed %llu, beside writer %u: %s", (unsigned long long)ledger->seed, kill, ledger->failure);
        }
        if (!crash_kill(ledger, pid))
            fail_msg("seed %llu, kill %u: %s", (unsigned long long)ledger->seed, kill, ledger->failure);
        totals->kills++;
        totals->before_open += ledger->opens == opens;
        dice = os_random_below(random, 5);
        if (dice == 0 && !last)
            continue; /* the next writer meets what this one left */
        totals->checks++;
        if (!crash_run_check(ledger, NULL,
                             (struct crash_check){
                                 .read_only = dice == 1 && !last, .repeat = dice > 2, .seed = os_random_next(random)}))
            fail_msg("seed %llu, kill %u: %s", (unsigned long long)ledger->seed, kill, ledger->failure);
        if (last)
            break;
    }
    totals->events += ledger->events;
    totals->rebuilt += ledger->rebuilt;
    totals->acknowledged += ledger->acknowledged;
    totals->repeats += ledger->repeats;
}

static unsigned kills_least = 24;

static void test_kills(void **state)
{
    struct crash_ledger *ledger = crash_ledger_new();
    unsigned kills = crash_seeds(kills_least);
    uint64_t seed = test_seed();
    struct totals totals = {.kills = 0};

    (void)state;
    for (unsigned life = 0; totals.kills < kills; life++) {
        struct os_random random;
        char folder[FOLDER_PATH_MAX];

        os_random_seed(&random, seed + life);
        if (life % DISK_EVERY == 0)
            folder_make(folder);
        else
            folder_make_quick(folder);
        crash_ledger_start(ledger, seed + life, folder);
        live(ledger, &random, kills - totals.kills < KILLS_A_LIFE ? (unsigned)(kills - totals.kills) : KILLS_A_LIFE,
             &totals);
        folder_remove(folder);
    }
    (void)printf("# %llu kills (%llu while opening), %llu checks and %llu beside the writer, %llu events, %llu "
                 "attempts acknowledged, %llu "
                 "repeats answered; index rebuilt %llu times: 0 lost, 0 twice\n",
                 (unsigned long long)totals.kills, (unsigned long long)totals.before_open,
                 (unsigned long long)totals.checks, (unsigned long long)totals.beside,
                 (unsigned long long)totals.events, (unsigned long long)totals.acknowledged,
                 (unsigned long long)totals.repeats, (unsigned long long)totals.rebuilt);
    assert_true(totals.events > 0 && totals.acknowledged > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kills),
    };

    if (argc > 1)
        kills_least = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
