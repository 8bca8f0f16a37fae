/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Nth call of each kind on a file fails, for N = 1, 2, … until a run does not meet the failure any more: with a
 * full disk and with an I/O error, once and for good.
 *
 * A run opens a store, appends in every way, reads, closes, opens again.  Whatever fails says what happened; behind a
 * full disk the same call works again by itself; a broken store stays broken until it is opened anew; then everything
 * acknowledged is there, and everything else is repeated with success.
 *
 * Allocations: what the store itself needs is small, and when the machine refuses it the process ends
 * (base/alloc.h); so memory that runs out is one more way to be killed, and tested as such.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../unit/log/folder.h"
#include "crash.h"

/* The calls, each with the parameters behind which the error stands. */
enum call {
    CALL_OPEN = 0,
    CALL_READ,
    CALL_WRITE,
    CALL_SYNC,
    CALL_SIZE,
    CALL_ALLOCATE,
    CALL_TRUNCATE,
    CALL_LIST,
    CALL_REMOVE,
    CALL_RENAME,
    CALL_SYNC_FOLDER,
    CALL_MAKE_FOLDER,
    CALL_LOCK,
    CALLS,
};

static const char *const call_names[CALLS] = {"open",        "read",        "write", "sync",   "size",
                                              "allocate",    "truncate",    "list",  "remove", "rename",
                                              "sync_folder", "make_folder", "lock"};

/* One failure at a time; calls may come from several threads. */
static struct fault {
    enum call call;
    int code;        /* errno */
    uint64_t number; /* of the call that fails, from 1; 0: none */
    bool for_good;   /* all behind it fail, too */
    uint64_t calls;  /* atomic */
    uint64_t met;    /* atomic: failures */
} fault;

static bool fails(enum call call)
{
    uint64_t number, wanted = __atomic_load_n(&fault.number, __ATOMIC_SEQ_CST);

    if (call != fault.call || wanted == 0)
        return false;
    number = __atomic_add_fetch(&fault.calls, 1, __ATOMIC_SEQ_CST);
    if (number != wanted && (number < wanted || !fault.for_good))
        return false;
    __atomic_fetch_add(&fault.met, 1, __ATOMIC_SEQ_CST);
    return true;
}

static enum banyan_status failure(struct banyan_error *err)
{
    return banyan_error_errno(err, fault.code, "%s number %" PRIu64 " fails", call_names[fault.call], fault.number);
}

static enum banyan_status nth_open(struct os_files *files, const char *path, bool create, struct os_file **ret,
                                   struct banyan_error *err)
{
    return fails(CALL_OPEN) ? failure(err) : os_files_real()->open(files, path, create, ret, err);
}
static enum banyan_status nth_read(struct os_file *file, uint64_t offset, void *data, size_t size, size_t *ret_size,
                                   struct banyan_error *err)
{
    return fails(CALL_READ) ? failure(err) : os_files_real()->read(file, offset, data, size, ret_size, err);
}
/* Half of it is written: nobody may rely on the whole being missing. */
static enum banyan_status nth_write(struct os_file *file, uint64_t offset, const void *data, size_t size,
                                    struct banyan_error *err)
{
    enum banyan_status status;

    if (!fails(CALL_WRITE))
        return os_files_real()->write(file, offset, data, size, err);
    status = os_files_real()->write(file, offset, data, size / 2, NULL);
    (void)status; /* it fails in any case */
    return failure(err);
}
static enum banyan_status nth_sync(struct os_file *file, struct banyan_error *err)
{
    return fails(CALL_SYNC) ? failure(err) : os_files_real()->sync(file, err);
}
static enum banyan_status nth_size(struct os_file *file, uint64_t *ret, struct banyan_error *err)
{
    return fails(CALL_SIZE) ? failure(err) : os_files_real()->size(file, ret, err);
}
static enum banyan_status nth_allocate(struct os_file *file, uint64_t size, struct banyan_error *err)
{
    return fails(CALL_ALLOCATE) ? failure(err) : os_files_real()->allocate(file, size, err);
}
static enum banyan_status nth_truncate(struct os_file *file, uint64_t size, struct banyan_error *err)
{
    return fails(CALL_TRUNCATE) ? failure(err) : os_files_real()->truncate(file, size, err);
}
static enum banyan_status nth_list(struct os_files *files, const char *folder, char ***ret, struct banyan_error *err)
{
    return fails(CALL_LIST) ? failure(err) : os_files_real()->list(files, folder, ret, err);
}
static enum banyan_status nth_remove(struct os_files *files, const char *path, struct banyan_error *err)
{
    return fails(CALL_REMOVE) ? failure(err) : os_files_real()->remove(files, path, err);
}
static enum banyan_status nth_rename(struct os_files *files, const char *from, const char *to, struct banyan_error *err)
{
    return fails(CALL_RENAME) ? failure(err) : os_files_real()->rename(files, from, to, err);
}
static enum banyan_status nth_sync_folder(struct os_files *files, const char *folder, struct banyan_error *err)
{
    return fails(CALL_SYNC_FOLDER) ? failure(err) : os_files_real()->sync_folder(files, folder, err);
}
static enum banyan_status nth_make_folder(struct os_files *files, const char *folder, struct banyan_error *err)
{
    return fails(CALL_MAKE_FOLDER) ? failure(err) : os_files_real()->make_folder(files, folder, err);
}
static enum banyan_status nth_lock(struct os_files *files, const char *path, struct os_file **ret,
                                   struct banyan_error *err)
{
    return fails(CALL_LOCK) ? failure(err) : os_files_real()->lock(files, path, ret, err);
}

static struct os_files *nth_files(void)
{
    static struct os_files files;

    files = *os_files_real();
    files.open = nth_open;
    files.read = nth_read;
    files.write = nth_write;
    files.sync = nth_sync;
    files.size = nth_size;
    files.allocate = nth_allocate;
    files.truncate = nth_truncate;
    files.list = nth_list;
    files.remove = nth_remove;
    files.rename = nth_rename;
    files.sync_folder = nth_sync_folder;
    files.make_folder = nth_make_folder;
    files.lock = nth_lock;
    return &files;
}

/* ---- a run ---- */

struct run {
    struct crash_ledger *ledger;
    struct crash_content *contents;
    struct store *store;
    struct os_random random;
    uint64_t recovered; /* steps that worked at the second try without opening anew */
};

static void heal(void)
{
    __atomic_store_n(&fault.number, 0, __ATOMIC_SEQ_CST);
}

static void must_say(enum banyan_status status, const struct banyan_error *err)
{
    if (status == BANYAN_OK || err->status != status || err->message[0] == '\0')
        fail_msg("%s: '%s'", banyan_status_name(status), err->message);
    if (status != BANYAN_IO && status != BANYAN_NO_SPACE && status != BANYAN_BROKEN)
        fail_msg("a failed %s became %s: %s", call_names[fault.call], banyan_status_name(status), err->message);
}

static void open_run(struct run *run)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status;

    run->store = crash_open(run->ledger, nth_files(), false, &status, &err);
    if (run->store != NULL)
        return;
    assert_true(fault.met > 0);
    must_say(status, &err);
    heal();
    banyan_error_clear(&err);
    run->store = crash_open(run->ledger, nth_files(), false, &status, &err);
    if (run->store == NULL)
        fail_msg("open after %s number %" PRIu64 ": %s", call_names[fault.call], fault.calls, err.message);
}

static uint64_t new_attempt(struct run *run, enum crash_kind kind, uint32_t event_count)
{
    uint64_t number = run->ledger->attempt_count++;
    struct crash_attempt *attempt = &run->ledger->attempts[number];

    *attempt = (struct crash_attempt){.seed = os_random_next(&run->random),
                                      .kind = (uint8_t)kind,
                                      .event_count = event_count,
                                      .state = CRASH_STARTED};
    return number;
}

/* What a broken store says, it says for ever. */
static void stay_broken(struct run *run)
{
    uint64_t number = new_attempt(run, CRASH_SINGLE, 1);
    struct banyan_error err = BANYAN_ERROR_INIT;

    assert_int_equal(crash_try(run->ledger, run->store, number, run->contents, &err), BANYAN_BROKEN);
    assert_true(err.hint[0] != '\0');
    assert_int_equal(store_health(run->store, NULL), BANYAN_BROKEN);
}

static void attempt(struct run *run, enum crash_kind kind, uint32_t event_count)
{
    uint64_t number = new_attempt(run, kind, event_count);
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = crash_try(run->ledger, run->store, number, run->contents, &err);

    if (crash_expected(run->ledger, number, status) && fault.met == 0)
        return;
    if (crash_expected(run->ledger, number, status))
        return; /* it met something that it could do without */
    assert_true(fault.met > 0);
    must_say(status, &err);
    if (status == BANYAN_BROKEN)
        stay_broken(run);
    heal();
    if (status == BANYAN_BROKEN)
        stay_broken(run);
    banyan_error_clear(&err);
    if (status != BANYAN_BROKEN) {
        status = crash_try(run->ledger, run->store, number, run->contents, &err);
        run->recovered += crash_expected(run->ledger, number, status);
        /* A full disk is left behind without opening anew. */
        if (fault.code == ENOSPC && status != BANYAN_BROKEN && !crash_expected(run->ledger, number, status))
            fail_msg("with room again: %s: %s", banyan_status_name(status), err.message);
    }
    if (store_health(run->store, NULL) != BANYAN_OK) {
        store_close(run->store);
        open_run(run);
        banyan_error_clear(&err);
        status = crash_try(run->ledger, run->store, number, run->contents, &err);
    }
    if (!crash_expected(run->ledger, number, status))
        fail_msg("again: %s: %s", banyan_status_name(status), err.message);
}

static void read_all(struct run *run)
{
    struct store_reader *reader = store_reader_open(run->store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    enum banyan_status status;
    uint64_t position = 0;

    for (;;) {
        status = store_reader_next(reader, &event, &err);
        if (status == BANYAN_NOT_FOUND)
            break;
        if (status != BANYAN_OK) { /* the reader can be asked again from where it was */
            assert_true(fault.met > 0);
            must_say(status, &err);
            heal();
            banyan_error_clear(&err);
            status = store_reader_seek(reader, (struct banyan_position){position + 1}, &err);
            if (status != BANYAN_OK)
                fail_msg("reading again: %s", err.message);
            continue;
        }
        assert_int_equal(event.position.value, ++position);
    }
    assert_int_equal(position, store_durable(run->store).value);
    store_reader_close(reader);
}

static void go(struct run *run)
{
    open_run(run);
    for (int i = 0; i < 4; i++) {
        attempt(run, CRASH_SINGLE, 1);
        attempt(run, CRASH_MULTI, 5);
        attempt(run, CRASH_LARGE, 900); /* over the end of a segment */
        attempt(run, CRASH_ABORTED, i % 2 == 0 ? 1200 : 20);
        if (i == 2) {
            store_close(run->store);
            open_run(run);
        }
        if (i % 3 == 0)
            read_all(run);
    }
    store_close(run->store);
}

/* False when the failure was not met any more. */
static bool run_once(struct crash_ledger *ledger, uint64_t seed, uint64_t *recovered)
{
    struct run run = {.ledger = ledger};
    char folder[FOLDER_PATH_MAX];
    bool met;

    folder_make_quick(folder);
    crash_ledger_start(ledger, seed, folder);
    ledger->segment_bytes = 64 * 1024;
    os_random_seed(&run.random, seed);
    run.contents = crash_contents_new();
    fault.calls = fault.met = 0;
    go(&run);
    met = fault.met > 0;
    heal();
    crash_contents_free(run.contents);
    ledger->opens = 1;
    if (!crash_run_check(ledger, NULL, (struct crash_check){.repeat = true, .seed = seed}))
        fail_msg("seed %" PRIu64 ": %s", seed, ledger->failure);
    folder_remove(folder);
    *recovered += run.recovered;
    return met;
}

static unsigned stride_most = 40; /* between the Ns of a kind that is called often */

static void test_nth(void **state)
{
    struct crash_ledger *ledger = crash_ledger_new();
    uint64_t seed = test_seed(), runs = 0, met = 0, recovered = 0;
    struct os_random random;

    (void)state;
    os_random_seed(&random, seed);
    for (int call = 0; call < CALLS; call++) {
        for (int variant = 0; variant < 4; variant++) {
            uint64_t n = 1, last = 0;
            bool again = true;

            while (again) {
                fault = (struct fault){.call = (enum call)call,
                                       .code = variant % 2 == 0 ? ENOSPC : EIO,
                                       .number = n,
                                       .for_good = variant >= 2};
                again = run_once(ledger, seed, &recovered);
                runs++;
                met += again;
                last = n;
                /* The first ones each, then now and then. */
                n += n < 8 ? 1 : 1 + os_random_below(&random, stride_most < n ? stride_most : n);
            }
            (void)printf("# %s %s %s: until number %" PRIu64 "\n", call_names[call],
                         variant % 2 == 0 ? "ENOSPC" : "EIO", variant < 2 ? "once" : "for good", last);
        }
    }
    (void)printf("# %" PRIu64 " runs, %" PRIu64 " with a failure, %" PRIu64 " steps recovered in place\n", runs, met,
                 recovered);
    assert_true(recovered > 0);
}

/* ---- memory ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool sanitized = true; /* a sanitizer needs the address space itself */
#else
static const bool sanitized = false;
#endif

enum {
    POOR_RUNS = 6,
    POOR_BYTES_MAX = 6 * 1024 * 1024, /* more than the open store has */
};

/* Append until an allocation is refused: the ids of an open batch are in memory. */
static void write_until_poor(struct crash_ledger *ledger, uint64_t seed)
{
    struct run run = {.ledger = ledger, .contents = crash_contents_new()};
    FILE *sizes = fopen("/proc/self/statm", "re");
    unsigned long pages = 0;
    enum banyan_status status;
    struct rlimit limit;

    (void)alarm(CRASH_PROCESS_SECONDS_MAX);
    os_random_seed(&run.random, seed);
    run.store = crash_open(ledger, NULL, false, &status, NULL);
    if (run.store == NULL || sizes == NULL || fscanf(sizes, "%lu", &pages) != 1)
        _exit(7);
    (void)fclose(sizes);
    (void)close(STDERR_FILENO); /* the last words are expected */
    limit.rlim_cur = pages * (unsigned long)getpagesize() + os_random_below(&run.random, POOR_BYTES_MAX);
    limit.rlim_max = limit.rlim_cur;
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        _exit(8);
    for (;;)
        crash_send(ledger, run.store, new_attempt(&run, CRASH_LARGE, 20000), run.contents);
}

static void test_no_memory(void **state)
{
    struct crash_ledger *ledger = crash_ledger_new();
    uint64_t seed = test_seed();
    int ended = 0;

    (void)state;
    if (sanitized)
        skip();
    for (int i = 0; i < POOR_RUNS; i++) {
        char folder[FOLDER_PATH_MAX];
        int status;
        pid_t pid;

        folder_make_quick(folder);
        crash_ledger_start(ledger, seed + (uint64_t)i, folder);
        (void)fflush(NULL);
        pid = fork();
        if (pid == 0)
            write_until_poor(ledger, seed + (uint64_t)i);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
            fail_msg("without memory a process ended with status %x: %s", status, ledger->failure);
        ended++;
        ledger->opens = 1;
        if (!crash_run_check(ledger, NULL, (struct crash_check){.seed = seed}))
            fail_msg("seed %" PRIu64 ": %s", seed, ledger->failure);
        folder_remove(folder);
    }
    assert_int_equal(ended, POOR_RUNS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nth),
        cmocka_unit_test(test_no_memory),
    };

    if (argc > 1)
        stride_most = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
