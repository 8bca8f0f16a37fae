/* SPDX-License-Identifier: Apache-2.0 */
/* Banyan with a door: see cutover_kill.h. */
#include "cutover_kill.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/retry.h"
#include "pg/conn.h"
#include "support/cutover_rig.h"

static struct {
    enum fault_kind kind;
    enum cutover_step step;
    int64_t delay_us;
    bool done;
} fault;

static struct cutover_rig rig;

static void pass(int64_t us)
{
    if (us > 0)
        os_clock_real()->sleep_us(os_clock_real(), us);
}

/* ---- faults ---- */

static void restart_server(void)
{
    char path[512];
    const char *const arguments[] = {path, "restart", NULL};
    pid_t pid;

    (void)snprintf(path, sizeof(path), "%s/ctl", getenv("BANYAN_TEST_PG"));
    if (posix_spawn(&pid, path, NULL, NULL, (char *const *)arguments, environ) != 0)
        abort();
}

static void strike(void *unused)
{
    (void)unused;
    pass(fault.delay_us);
    if (fault.kind == FAULT_SERVER)
        restart_server();
    else
        (void)kill(getpid(), fault.kind == FAULT_KILL ? SIGKILL : SIGSTOP); /* cannot fail */
}

/* At once and in this thread, or a little later while it goes on. */
static void at_step(void *context, enum cutover_step step)
{
    static struct os_thread thread; /* one fault a process that lives on */

    (void)context;
    if (fault.kind == FAULT_NONE || fault.done || step != fault.step)
        return;
    fault.done = true;
    if (fault.delay_us == 0)
        strike(NULL);
    else
        os_thread_start(&thread, "fault", strike, NULL);
}

/* ---- requests ---- */

static void say(FILE *out, enum rig_wrote wrote, int64_t key, const struct banyan_error *err)
{
    static const char *const names[] = {"?", "ok", "held", "refused", "unknown", "held"};

    if (wrote == RIG_WROTE)
        (void)fprintf(out, "ok %lld\n", (long long)key);
    else
        (void)fprintf(out, "%s %s %.300s\n", names[wrote], err->sqlstate, err->message);
}

static void recover(const struct cutover_options *options, struct cutover_report *report)
{
    for (;;) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status st = cutover_rig_move(&rig, options, true, report, &err);

        if (st == BANYAN_OK)
            return;
        (void)fprintf(stderr, "# recover: %s %s\n", banyan_status_name(st), err.message);
        if (st == BANYAN_MISMATCH)
            abort();
        pass(50000);
    }
}

static void move(const char *line, FILE *out)
{
    struct cutover_options options = {.direction = CUTOVER_OVER, .pause_us_max = PAUSE_US_MAX};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct cutover_report report;
    char direction[16] = "";
    int kind = 0, step = 0;
    long long delay_us = 0;
    enum banyan_status st;

    if (sscanf(line, "move %15s %d %d %lld", direction, &kind, &step, &delay_us) != 4)
        abort();
    if (strcmp(direction, "back") == 0)
        options.direction = CUTOVER_BACK;
    fault.step = (enum cutover_step)step;
    fault.delay_us = delay_us;
    fault.done = false;
    fault.kind = (enum fault_kind)kind;
    st = cutover_rig_move(&rig, &options, false, &report, &err);
    if (st == BANYAN_UNCERTAIN) {
        (void)fprintf(stderr, "# uncertain: %s\n", err.message);
        recover(&options, &report);
        st = report.done ? BANYAN_OK : BANYAN_UNAVAILABLE;
    }
    if (st == BANYAN_OK)
        (void)fprintf(out, "done %lld %lld %u\n", (long long)report.pause_us, (long long)report.locked_us,
                      report.lock_tries);
    else
        (void)fprintf(out, "failed %s in step %s: %.300s (%.200s)\n", banyan_status_name(st),
                      cutover_step_name(report.last), err.message, err.detail);
}

static struct pg_conn *connect_to_server(void)
{
    struct pg_options options = {.conninfo = rig.conninfo, .application_name = "oms"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;

    return pg_connect(&options, &conn, &err) == BANYAN_OK ? conn : NULL;
}

static void write_or_create(const char *line, struct pg_conn **conn, FILE *out)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    long long key = 0, number = 0;
    int64_t waited_us, made = 0;
    enum rig_wrote wrote;

    if (*conn == NULL && (*conn = connect_to_server()) == NULL) {
        (void)fputs("unknown no server\n", out);
        return;
    }
    if (sscanf(line, "write %lld %lld", &key, &number) == 2)
        wrote = rig_door_write(&rig, *conn, key, number, &waited_us, &err);
    else
        wrote = rig_door_create(&rig, *conn, &made, &err);
    say(out, wrote, made, &err);
    if (wrote != RIG_UNKNOWN)
        return;
    pg_close(*conn);
    *conn = NULL;
}

static void serve_main(void *argument)
{
    FILE *stream = argument;
    struct pg_conn *conn = NULL;
    char line[LINE_MAX_BYTES];

    while (fgets(line, sizeof(line), stream) != NULL) {
        struct banyan_error err = BANYAN_ERROR_INIT;

        if (strncmp(line, "move", 4) == 0)
            move(line, stream);
        else if (strncmp(line, "equal", 5) == 0) {
            bool equal = cutover_rig_equal(&rig, &err) == BANYAN_OK;

            (void)fprintf(stream, equal ? "ok\n" : "differ %.300s (%.300s)\n", err.message, err.detail);
        } else if (strncmp(line, "owner", 5) == 0)
            (void)fprintf(stream, "%s\n", owner_mode_name(owner_mode(rig.owner, NULL)));
        else if (strncmp(line, "quit", 4) == 0) {
            cutover_rig_close(&rig);
            exit(0);
        } else
            write_or_create(line, &conn, stream);
        if (fflush(stream) != 0)
            break;
    }
    pg_close(conn);
    (void)fclose(stream); /* nothing of it is kept */
}

int kill_child_main(const char *folder, const char *conninfo, const char *socket_path)
{
    struct cutover_options options = {.direction = CUTOVER_OVER, .pause_us_max = PAUSE_US_MAX};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct cutover_report report;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return 1; /* nobody would end it when the test fails */
    (void)signal(SIGPIPE, SIG_IGN);
    if (cutover_rig_open(&rig, conninfo, folder, &err) != BANYAN_OK)
        goto failed;
    recover(&options, &report);
    if (cutover_rig_start(&rig, &err) != BANYAN_OK)
        goto failed;
    rig.at = at_step;
    (void)unlink(socket_path);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 64) != 0)
        goto failed;
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        struct os_thread thread;

        if (fd >= 0)
            os_thread_start(&thread, "serve", serve_main, fdopen(fd, "r+"));
    }
failed:
    (void)fprintf(stderr, "# child: %s (%s)\n", err.message, err.detail);
    return 1;
}
