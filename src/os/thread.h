/* SPDX-License-Identifier: Apache-2.0 */
/* Threads and locks: pthread with names, and without failure paths (running out of threads ends the process). */
#ifndef OS_THREAD_H
#define OS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef void (*os_thread_main)(void *argument);

struct os_thread {
    pthread_t id;
    bool started;
};

/* Signals are blocked in the new thread: the main thread takes them.  *name* has at most 15 bytes. */
void os_thread_start(struct os_thread *thread, const char *name, os_thread_main main, void *argument);
/* No-op when never started. */
void os_thread_join(struct os_thread *thread);

/* pthread_cond_t on the monotone clock. */
void os_cond_init(pthread_cond_t *cond);
/* Wait at most *timeout_us*; false on time-out.  The mutex is held before and after. */
bool os_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t timeout_us);

#endif
