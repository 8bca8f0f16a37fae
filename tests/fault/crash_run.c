/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and ending the processes of a crash test.  See crash.h. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"

static pid_t start(void)
{
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    if (pid < 0) {
        perror("fork");
        abort();
    }
    if (pid == 0)
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody is left behind */
    return pid;
}

pid_t crash_start_writer(struct crash_ledger *ledger, struct os_files *files, uint64_t seed)
{
    pid_t pid = start();

    if (pid == 0)
        crash_write(ledger, files, seed);
    return pid;
}

static int wait_for(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) != pid) {
        if (errno != EINTR)
            abort();
    }
    return status;
}

/* Say how a process ended that said nothing itself. */
static void say_end(struct crash_ledger *ledger, const char *who, int status)
{
    if (ledger->failure[0] != '\0')
        return;
    if (WIFSIGNALED(status))
        (void)snprintf(ledger->failure, sizeof(ledger->failure) - 1, "a %s ended with signal %d (%s)", who,
                       WTERMSIG(status), WTERMSIG(status) == SIGALRM ? "it hung" : strsignal(WTERMSIG(status)));
    else
        (void)snprintf(ledger->failure, sizeof(ledger->failure) - 1, "a %s ended with code %d", who,
                       WEXITSTATUS(status));
}

bool crash_run_check(struct crash_ledger *ledger, struct os_files *files, struct crash_check check)
{
    pid_t pid = start();
    int status;

    if (pid == 0)
        crash_check(ledger, files, check);
    status = wait_for(pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    say_end(ledger, "checker", status);
    return false;
}

bool crash_kill(struct crash_ledger *ledger, pid_t pid)
{
    int status;

    (void)kill(pid, SIGKILL);
    status = wait_for(pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    say_end(ledger, "writer", status);
    return false;
}

unsigned crash_seeds(unsigned least)
{
    const char *given = getenv("SEEDS");
    unsigned long seeds = given == NULL ? 0 : strtoul(given, NULL, 10);

    return seeds < least ? least : (unsigned)seeds;
}
