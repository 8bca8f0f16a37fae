/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutovers and rollbacks in turn under 1,000 writes/s while, at a seeded step and moment, Banyan is killed, Banyan is
 * frozen for longer than a pause may be, or PostgreSQL is stopped at once and started again.
 *
 *   writers ──▶ door ──▶ the owner           each order counts 1, 2, 3 …; who lost an answer sends the same step again
 *   writers ──────────▶ PostgreSQL           past the door; refused while Banyan owns the tables
 *
 * After each fault Banyan goes on (or is started again, and recovers), and the same move is asked for until it is done.
 * Then the writers rest, and rows, log and read model have to be the same; at the end each order is where its writers
 * were told, each step is in the audit rows once and in the log once, and no key was given out twice.
 *
 *   cutover_kill [CYCLES [SEED]]     default 50; beside tools/with-postgres.  RATE: writes/s, default 1,000
 */
#include "cutover_kill.h"

#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/random.h"
#include "pg/conn.h"
#include "rollout/cutover.h"
#include "store/store.h"
#include "support/cutover_rig.h"
#include "support/seed.h"
#include "support/test_domain.h"

enum {
    WAIT_US = 60 * 1000 * 1000,
    FROZEN_US = 1500 * 1000,
};

static const enum cutover_step over_steps[] = {CUTOVER_PREFLIGHT, CUTOVER_HOLD,      CUTOVER_LOCK,
                                               CUTOVER_FENCE,     CUTOVER_CAUGHT_UP, CUTOVER_VERIFY,
                                               CUTOVER_COMMIT,    CUTOVER_OWN,       CUTOVER_RELEASE};
static const enum cutover_step back_steps[] = {CUTOVER_HOLD, CUTOVER_CLOSING, CUTOVER_DRAINED, CUTOVER_VERIFY,
                                               CUTOVER_OWN,  CUTOVER_UNFENCE, CUTOVER_RELEASE};
static const char *const kind_names[FAULT_KINDS] = {"none", "kill", "freeze", "server"};

struct run {
    const char *program, *conninfo;
    char *folder, socket_path[100];
    pid_t child;
    struct os_random random;
    struct kill_load load;
    uint64_t struck[FAULT_KINDS];
    uint64_t rests; /* of the writers, for a mirror that is behind */
    int64_t began_us;
    int64_t pauses_us[4096];
    unsigned pause_count;
};

#define MUST(condition, ...)                                                                                           \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            (void)fprintf(stderr, __VA_ARGS__);                                                                        \
            (void)fputc('\n', stderr);                                                                                 \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static void pass(int64_t us)
{
    os_clock_real()->sleep_us(os_clock_real(), us);
}

static struct pg_conn *connect_to_server(const struct run *run)
{
    struct pg_options options = {.conninfo = run->conninfo, .application_name = "test"};
    int64_t until_us = now_us() + WAIT_US;
    struct pg_conn *conn = NULL;

    for (;;) {
        struct banyan_error err = BANYAN_ERROR_INIT;

        if (pg_connect(&options, &conn, &err) == BANYAN_OK)
            return conn;
        MUST(now_us() < until_us, "the server does not come back: %s", err.message);
        pass(20000);
    }
}

static void count_is(struct pg_conn *conn, const char *what, const char *sql, int64_t expected)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;

    MUST(pg_exec(conn, sql, NULL, 0, &result, &err) == BANYAN_OK, "%s: %s", what, err.message);
    MUST(pg_int(result, 0, 0) == expected, "%s: %" PRId64 ", expected %" PRId64, what, pg_int(result, 0, 0), expected);
    pg_result_free(result);
}

/* ---- Banyan ---- */

static void start_child(struct run *run)
{
    const char *arguments[] = {run->program, "child", run->folder, run->conninfo, run->socket_path, NULL};

    pg_close(connect_to_server(run)); /* a server that starts is not what is tested */
    (void)unlink(run->socket_path);
    MUST(posix_spawn(&run->child, run->program, NULL, NULL, (char *const *)arguments, environ) == 0, "cannot start %s",
         run->program);
}

/* A connection to a child that has recovered. */
static int reach_child(struct run *run)
{
    int64_t until_us = now_us() + WAIT_US;

    for (;;) {
        int status, fd = kill_connect(run->socket_path);

        if (fd >= 0)
            return fd;
        MUST(now_us() < until_us, "Banyan does not answer");
        if (waitpid(run->child, &status, WNOHANG) == run->child) {
            MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "Banyan ended by itself: %d", status);
            start_child(run);
        }
        pass(10000);
    }
}

struct asked {
    const char *socket_path;
    char line[LINE_MAX_BYTES], answer[LINE_MAX_BYTES];
    int fd;
    bool answered;
    int over; /* atomic */
};

static void ask_main(void *argument)
{
    struct asked *asked = argument;

    asked->answered = kill_ask(asked->fd, asked->line, asked->answer);
    __atomic_store_n(&asked->over, 1, __ATOMIC_RELEASE);
}

/* Banyan stands still: writers past the door go on by themselves, where the tables are still the application's. */
static void while_frozen(struct run *run, enum cutover_direction direction, enum cutover_step step)
{
    int64_t began_us = now_us(), until_us = began_us + FROZEN_US, direct_us;

    do {
        pass(10000);
        pthread_mutex_lock(&run->load.shared.lock);
        direct_us = run->load.shared.direct_us;
        pthread_mutex_unlock(&run->load.shared.lock);
    } while (now_us() < until_us);
    if (direction == CUTOVER_OVER && step < CUTOVER_COMMIT)
        MUST(direct_us > began_us + PAUSE_US_MAX / 2, "frozen at %s: nobody could write for %" PRId64 " ms",
             cutover_step_name(step), (now_us() - direct_us) / 1000);
    (void)kill(run->child, SIGCONT); /* it is there: we have not waited for it */
}

/* A fault may strike when the answer is out already. */
static void late_fault(struct run *run)
{
    int status;

    pass(10000);
    if (waitpid(run->child, &status, WNOHANG | WUNTRACED) != run->child)
        return;
    if (WIFSTOPPED(status))
        (void)kill(run->child, SIGCONT); /* it is there */
    else
        start_child(run);
}

/* Ask for a move; true when it was done.  Looks after a child that stops or dies meanwhile. */
static bool ask_move(struct run *run, enum cutover_direction direction, enum fault_kind kind, enum cutover_step step,
                     int64_t delay_us, char answer[LINE_MAX_BYTES])
{
    struct asked asked = {.fd = reach_child(run)};
    struct os_thread thread;
    bool alive = true;
    int status;

    (void)snprintf(asked.line, sizeof(asked.line), "move %s %d %d %" PRId64 "\n",
                   direction == CUTOVER_OVER ? "over" : "back", (int)kind, (int)step, delay_us);
    os_thread_start(&thread, "ask", ask_main, &asked);
    while (!__atomic_load_n(&asked.over, __ATOMIC_ACQUIRE)) {
        if (alive && waitpid(run->child, &status, WNOHANG | WUNTRACED) == run->child) {
            if (WIFSTOPPED(status))
                while_frozen(run, direction, step);
            else
                alive = false;
        }
        pass(1000);
    }
    os_thread_join(&thread);
    (void)close(asked.fd);
    if (!asked.answered && alive)
        MUST(waitpid(run->child, &status, 0) == run->child, "no child");
    if (!asked.answered) {
        MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "Banyan ended by itself: %d", status);
        start_child(run);
    } else if (delay_us > 0) {
        late_fault(run);
    }
    (void)snprintf(answer, LINE_MAX_BYTES, "%s", asked.answered ? asked.answer : "killed");
    return asked.answered && strncmp(asked.answer, "done", 4) == 0;
}

static void must_be(struct run *run, const char *line, const char *expected, const char *when)
{
    char answer[LINE_MAX_BYTES] = "";
    int fd = reach_child(run);

    MUST(kill_ask(fd, line, answer), "%s: no answer to %s", when, line);
    MUST(strcmp(answer, expected) == 0, "%s: %s", when, answer);
    (void)close(fd);
}

/* ---- cycles ---- */

static void one_cycle(struct run *run, unsigned number)
{
    enum cutover_direction direction = number % 2 == 0 ? CUTOVER_OVER : CUTOVER_BACK;
    const enum cutover_step *steps = direction == CUTOVER_OVER ? over_steps : back_steps;
    uint64_t count = direction == CUTOVER_OVER ? sizeof(over_steps) / sizeof(over_steps[0])
                                               : sizeof(back_steps) / sizeof(back_steps[0]);
    enum fault_kind kind = (enum fault_kind)os_random_below(&run->random, FAULT_KINDS);
    enum cutover_step step = steps[os_random_below(&run->random, count)];
    int64_t delay_us = os_random_below(&run->random, 2) == 0 ? 0 : (int64_t)os_random_below(&run->random, 6000) + 1;
    char answer[LINE_MAX_BYTES], name[160];
    uint64_t refused = run->load.shared.refused;
    unsigned tries = 0;
    bool done;

    (void)snprintf(name, sizeof(name), "cycle %u, %s, %s at %s + %" PRId64 " us", number,
                   direction == CUTOVER_OVER ? "over" : "back", kind_names[kind], cutover_step_name(step), delay_us);
    done = ask_move(run, direction, kind, step, delay_us, answer);
    (void)printf("# %s: %s\n", name, answer);
    if (kind == FAULT_SERVER)
        pass(300000);                 /* it may be about to stop */
    pg_close(connect_to_server(run)); /* it may be starting */
    while (!done) {
        MUST(++tries < 20, "%s: not done: %s", name, answer);
        if (tries > 2) { /* a machine on which the mirror cannot keep up: as an operator would, in a quieter moment */
            kill_load_pause(&run->load);
            pass(1000000);
            kill_load_resume(&run->load);
            run->rests++;
        }
        done = ask_move(run, direction, FAULT_NONE, CUTOVER_NOT_BEGUN, 0, answer);
        if (!done)
            (void)printf("#    again: %s\n", answer);
        pass(100000);
    }
    (void)sscanf(answer, "done %" SCNd64, &run->pauses_us[run->pause_count++]); /* "done" has it */
    run->struck[kind]++;
    pass(200000); /* some load on the new side */
    kill_load_pause(&run->load);
    must_be(run, "owner\n", direction == CUTOVER_OVER ? "banyan" : "legacy", name);
    must_be(run, "equal\n", "ok", name);
    kill_load_resume(&run->load);
    if (kind != FAULT_SERVER)
        MUST(run->load.shared.refused == refused, "%s: a write failed: %s", name, run->load.shared.refusal);
}

/* ---- the end ---- */

static void check_rows(struct run *run)
{
    struct pg_conn *conn = connect_to_server(run);
    struct kill_load *load = &run->load;
    char sql[256];

    for (unsigned key = 1; key <= KEYS; key++) {
        (void)snprintf(sql, sizeof(sql), "SELECT quantity::bigint FROM orders WHERE order_id = %u", key);
        count_is(conn, "an order is where its writer was told", sql, load->shared.told[key]);
    }
    count_is(conn, "steps without an audit row, or with two",
             "SELECT count(*) FROM orders o WHERE (SELECT count(*) FROM audit_log a WHERE a.entity_id = o.order_id"
             " AND a.field_changed = 'quantity') <> o.quantity - 1",
             0);
    count_is(conn, "steps with two audit rows",
             "SELECT count(*) FROM (SELECT FROM audit_log WHERE field_changed = 'quantity'"
             " GROUP BY entity_id, new_value::numeric HAVING count(*) > 1) t",
             0);
    for (unsigned i = 0; i < load->shared.created_count; i++) {
        (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM orders WHERE order_id = %" PRId64 " AND trader_id = 99",
                       load->shared.created[i]);
        count_is(conn, "an order that was created", sql, 1);
    }
    pg_close(conn);
}

static int compare_keys(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

/* Each step is one event, whoever made it. */
static void check_log(struct run *run)
{
    static int64_t steps[KEYS + 1];
    struct kill_load *load = &run->load;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store = NULL;
    struct store_reader *reader;
    struct store_read_event event;
    struct banyan_str type = BANYAN_STR("OrderModified");
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/store", run->folder);
    MUST(store_open(&(struct store_options){.folder = path, .read_only = true}, &store, &err) == BANYAN_OK, "store: %s",
         err.message);
    reader = store_reader_open(store);
    store_reader_filter(reader, &(struct store_filter){.types = &type, .type_count = 1});
    MUST(store_reader_seek(reader, (struct banyan_position){1}, &err) == BANYAN_OK, "seek: %s", err.message);
    while (store_reader_next(reader, &event, &err) == BANYAN_OK) {
        long key = strtol(event.event.stream.data + strlen("order-"), NULL, 10);

        if (key >= 1 && key <= KEYS)
            steps[key]++;
    }
    store_reader_close(reader);
    store_close(store);
    for (unsigned key = 1; key <= KEYS; key++)
        MUST(steps[key] == load->shared.told[key] - 1, "order %u: %" PRId64 " steps in the log, %" PRId64 " were made",
             key, steps[key], load->shared.told[key] - 1);
    qsort(load->shared.created, load->shared.created_count, sizeof(load->shared.created[0]), compare_keys);
    for (unsigned i = 1; i < load->shared.created_count; i++)
        MUST(load->shared.created[i] != load->shared.created[i - 1], "key %" PRId64 " was given out twice",
             load->shared.created[i]);
}

static void finish(struct run *run, unsigned cycles)
{
    struct kill_load *load = &run->load;
    char answer[LINE_MAX_BYTES] = "";
    int fd, status;

    kill_load_stop(load);
    must_be(run, "equal\n", "ok", "at the end");
    fd = reach_child(run);
    (void)kill_ask(fd, "quit\n", answer); /* it ends without an answer */
    (void)close(fd);
    MUST(waitpid(run->child, &status, 0) == run->child && WIFEXITED(status) && WEXITSTATUS(status) == 0,
         "Banyan did not end well");
    check_rows(run);
    check_log(run);
    qsort(run->pauses_us, run->pause_count, sizeof(run->pauses_us[0]), compare_keys);
    (void)printf("# %u moves: %" PRIu64 " undisturbed, %" PRIu64 " kills, %" PRIu64 " freezes, %" PRIu64
                 " stops of the server; pauses p50 %.1f ms, longest %.1f ms\n",
                 cycles, run->struck[FAULT_NONE], run->struck[FAULT_KILL], run->struck[FAULT_FREEZE],
                 run->struck[FAULT_SERVER], (double)run->pauses_us[run->pause_count / 2] / 1000,
                 (double)run->pauses_us[run->pause_count - 1] / 1000);
    (void)printf("# %" PRIu64 " writes acknowledged (%" PRIu64 " past the door), %u orders created; %" PRIu64
                 " answers lost, %" PRIu64 " held too long, %" PRIu64 " refused in outages of the server, %" PRIu64
                 " past the door refused by the fence; %.0f writes/s over all, %" PRIu64 " rests\n",
                 load->shared.written, load->shared.direct, load->shared.created_count, load->shared.unknown,
                 load->shared.held, load->shared.refused, load->shared.fenced,
                 (double)load->shared.written * 1e6 / (double)(now_us() - run->began_us), run->rests);
}

int main(int argc, char **argv)
{
    static struct run run;
    const char *rate = getenv("RATE");
    unsigned cycles = argc > 1 ? (unsigned)atoi(argv[1]) : 50;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : test_seed();
    struct pg_conn *conn;

    if (argc == 5 && strcmp(argv[1], "child") == 0)
        return kill_child_main(argv[2], argv[3], argv[4]);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)signal(SIGPIPE, SIG_IGN);
    run.program = "/proc/self/exe";
    run.conninfo = getenv("BANYAN_TEST_CONNINFO");
    MUST(run.conninfo != NULL && cycles > 0 && cycles < 4096, "run this through tools/with-postgres");
    run.folder = test_folder_new();
    (void)snprintf(run.socket_path, sizeof(run.socket_path), "%s/door", run.folder);
    os_random_seed(&run.random, seed);
    (void)printf("# seed %" PRIu64 ", %u moves\n", seed, cycles);
    conn = connect_to_server(&run);
    cutover_rig_tables(conn, KEYS);
    pg_close(conn);
    start_child(&run);
    (void)close(reach_child(&run));
    run.load.conninfo = run.conninfo;
    run.load.socket_path = run.socket_path;
    run.load.rate = rate == NULL ? 1000 : (unsigned)atoi(rate);
    run.began_us = now_us();
    kill_load_start(&run.load);
    pass(500000);
    for (unsigned i = 0; i < cycles; i++)
        one_cycle(&run, i);
    finish(&run, cycles);
    test_folder_remove(run.folder);
    return 0;
}
