/* SPDX-License-Identifier: Apache-2.0 */
/* Threads and timed waits.  What can fail here only fails for want of memory or by a bug, so it ends the process. */
#include "os/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"

struct start {
    os_thread_main main;
    void *argument;
    char name[16];
};

static void *run(void *argument)
{
    struct start start = *(struct start *)argument;
    free(argument);
    (void)pthread_setname_np(pthread_self(), start.name); /* a name is for people only */
    start.main(start.argument);
    return NULL;
}

void os_thread_start(struct os_thread *thread, const char *name, os_thread_main main, void *argument)
{
    struct start *start = alloc_zeroed(1, sizeof(*start));
    *start = (struct start){.main = main, .argument = argument};
    strncpy(start->name, name, sizeof(start->name) - 1);
    sigset_t all, before;
    (void)sigfillset(&all);                            /* cannot fail */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* cannot fail: arguments are valid */
    int code = pthread_create(&thread->id, NULL, run, start);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* as above */
    if (code != 0) {
        static const char message[] = "banyan: the system cannot start another thread; ending\n";
        ssize_t ignored = write(STDERR_FILENO, message, sizeof(message) - 1);
        (void)ignored; /* nobody is left to tell */
        abort();
    }
    thread->started = true;
}

void os_thread_join(struct os_thread *thread)
{
    if (thread == NULL || !thread->started)
        return;
    if (pthread_join(thread->id, NULL) != 0)
        abort(); /* joined twice or by itself: a bug */
    thread->started = false;
}

void os_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0 || pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(cond, &attributes) != 0)
        abort();                                 /* cannot happen on Linux */
    (void)pthread_condattr_destroy(&attributes); /* cannot fail */
}

bool os_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t timeout_us)
{
    struct timespec end;
    if (clock_gettime(CLOCK_MONOTONIC, &end) != 0)
        abort(); /* the clock exists on every supported kernel */
    if (timeout_us < 0)
        timeout_us = 0;
    const int64_t year_us = INT64_C(366) * 86400 * 1000000; /* enough for "for ever", and no overflow */
    if (timeout_us > year_us)
        timeout_us = year_us;
    end.tv_sec += timeout_us / 1000000;
    end.tv_nsec += timeout_us % 1000000 * 1000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    int code = pthread_cond_timedwait(cond, mutex, &end);
    if (code != 0 && code != ETIMEDOUT)
        abort(); /* a bug: the mutex is not held */
    return code == 0;
}
