/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stop tokens over an eventfd: a flag for loops, a descriptor for poll().
 *
 * Thread note: any thread and any signal handler may request; the flag is atomic and is never cleared.  The one global
 * of this room is the token that the signal handler knows; lower rooms are handed tokens instead.
 */
#include "os/stop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "os/clock.h"

static struct os_stop *signal_stop; /* atomic; set once by os_stop_on_signals() */

enum banyan_status os_stop_open(struct os_stop *stop, struct banyan_error *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return banyan_error_errno(err, errno, "cannot make an eventfd");
    *stop = (struct os_stop){.event_fd = fd};
    return BANYAN_OK;
}

void os_stop_close(struct os_stop *stop)
{
    if (stop == NULL || stop->event_fd <= 0)
        return;
    struct os_stop *expected = stop;
    __atomic_compare_exchange_n(&signal_stop, &expected, NULL, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    (void)close(stop->event_fd); /* nothing to flush */
    stop->event_fd = 0;
}

void os_stop_request(struct os_stop *stop)
{
    int saved = errno;
    uint64_t one = 1;
    __atomic_store_n(&stop->requested, 1, __ATOMIC_SEQ_CST);
    if (stop->event_fd > 0) {
        ssize_t ignored = write(stop->event_fd, &one, sizeof(one));
        (void)ignored; /* fails only when already readable */
    }
    errno = saved;
}

bool os_stop_requested(const struct os_stop *stop)
{
    return __atomic_load_n(&stop->requested, __ATOMIC_RELAXED) != 0;
}

bool os_stop_wait(struct os_stop *stop, int64_t timeout_us)
{
    struct os_clock *clock = os_clock_real();
    int64_t end_us;
    if (__builtin_add_overflow(os_clock_monotonic_us(clock), timeout_us, &end_us))
        end_us = INT64_MAX;
    while (!os_stop_requested(stop)) {
        int64_t left_us = end_us - os_clock_monotonic_us(clock);
        if (left_us <= 0)
            return false;
        struct pollfd fd = {.fd = stop->event_fd, .events = POLLIN};
        struct timespec left = {left_us / 1000000, left_us % 1000000 * 1000};
        (void)ppoll(&fd, 1, &left, NULL); /* interrupted or not, the loop looks again */
    }
    return true;
}

static void on_signal(int number)
{
    (void)number; /* all mean the same */
    struct os_stop *stop = __atomic_load_n(&signal_stop, __ATOMIC_SEQ_CST);
    if (stop != NULL)
        os_stop_request(stop);
}

enum banyan_status os_stop_on_signals(struct os_stop *stop, struct banyan_error *err)
{
    __atomic_store_n(&signal_stop, stop, __ATOMIC_SEQ_CST);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigemptyset(&action.sa_mask); /* cannot fail */
    if (sigaction(SIGINT, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0 ||
        sigaction(SIGPIPE, &ignore, NULL) != 0)
        return banyan_error_errno(err, errno, "cannot set signal handlers");
    return BANYAN_OK;
}
