/* SPDX-License-Identifier: Apache-2.0 */
/* Threads: they run, have their name, take no signals; timed waits end by a signal or by time. */
#include "os/thread.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "os/clock.h"

struct seen {
    char name[16];
    bool sigterm_blocked;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done; /* under the mutex */
};

static void look(void *argument)
{
    struct seen *seen = argument;
    sigset_t blocked;
    if (pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0)
        seen->sigterm_blocked = sigismember(&blocked, SIGTERM) == 1;
    (void)pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name)); /* compared below */
    pthread_mutex_lock(&seen->mutex);
    seen->done = true;
    pthread_cond_signal(&seen->cond);
    pthread_mutex_unlock(&seen->mutex);
}

static void a_thread_runs_without_signals(void **state)
{
    (void)state;
    struct seen seen = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct os_thread thread = {0};
    os_cond_init(&seen.cond);
    pthread_mutex_lock(&seen.mutex);
    os_thread_start(&thread, "a name that is too long", look, &seen);
    while (!seen.done)
        assert_true(os_cond_wait(&seen.cond, &seen.mutex, INT64_MAX));
    pthread_mutex_unlock(&seen.mutex);
    os_thread_join(&thread);
    os_thread_join(&thread); /* no-op */
    os_thread_join(NULL);
    assert_string_equal(seen.name, "a name that is ");
    assert_true(seen.sigterm_blocked);
    sigset_t blocked;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
    assert_int_equal(sigismember(&blocked, SIGTERM), 0); /* the starter's signals are as before */
    pthread_cond_destroy(&seen.cond);
}

static void waiting_has_a_limit(void **state)
{
    (void)state;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    os_cond_init(&cond);
    pthread_mutex_lock(&mutex);
    int64_t start = os_clock_monotonic_us(os_clock_real());
    while (os_cond_wait(&cond, &mutex, 3000))
        continue; /* a spurious wake-up */
    assert_true(os_clock_monotonic_us(os_clock_real()) - start >= 3000);
    while (os_cond_wait(&cond, &mutex, -1))
        continue; /* as above */
    pthread_mutex_unlock(&mutex);
    pthread_cond_destroy(&cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_runs_without_signals),
        cmocka_unit_test(waiting_has_a_limit),
    };
    return cmocka_run_group_tests_name("os-thread", tests, NULL, NULL);
}
