/* SPDX-License-Identifier: Apache-2.0 */
/* Stop tokens: from a thread, from a signal, with poll() and with a limit. */
#include "os/stop.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/clock.h"
#include "os/thread.h"

static void request(void *argument)
{
    os_stop_request(argument);
}

static void a_thread_wakes_the_waiter(void **state)
{
    (void)state;
    struct os_stop stop;
    struct os_thread thread = {0};
    assert_int_equal(os_stop_open(&stop, NULL), BANYAN_OK);
    assert_false(os_stop_requested(&stop));
    os_thread_start(&thread, "request", request, &stop);
    assert_true(os_stop_wait(&stop, 60 * INT64_C(1000000)));
    assert_true(os_stop_wait(&stop, INT64_MAX));
    assert_true(os_stop_requested(&stop));
    struct pollfd fd = {.fd = stop.event_fd, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 1);
    os_thread_join(&thread);
    os_stop_close(&stop);
    os_stop_close(&stop);
    os_stop_close(NULL);
}

static void waiting_has_a_limit(void **state)
{
    (void)state;
    struct os_stop stop;
    assert_int_equal(os_stop_open(&stop, NULL), BANYAN_OK);
    int64_t before = os_clock_monotonic_us(os_clock_real());
    assert_false(os_stop_wait(&stop, 3000));
    assert_true(os_clock_monotonic_us(os_clock_real()) - before >= 3000);
    assert_false(os_stop_wait(&stop, 0));
    struct pollfd fd = {.fd = stop.event_fd, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    os_stop_close(&stop);
}

static void signals_stop(void **state)
{
    (void)state;
    static const int numbers[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        struct os_stop stop;
        assert_int_equal(os_stop_open(&stop, NULL), BANYAN_OK);
        assert_int_equal(os_stop_on_signals(&stop, NULL), BANYAN_OK);
        assert_int_equal(kill(getpid(), SIGPIPE), 0);
        assert_false(os_stop_requested(&stop));
        assert_int_equal(kill(getpid(), numbers[i]), 0);
        assert_true(os_stop_wait(&stop, 60 * INT64_C(1000000)));
        os_stop_close(&stop);
        assert_int_equal(kill(getpid(), numbers[i]), 0); /* a closed token is forgotten */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_wakes_the_waiter),
        cmocka_unit_test(waiting_has_a_limit),
        cmocka_unit_test(signals_stop),
    };
    return cmocka_run_group_tests_name("os-stop", tests, NULL, NULL);
}
