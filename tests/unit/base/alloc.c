/* SPDX-License-Identifier: Apache-2.0 */
/* The heap that cannot be refused ends the process; the form that can be refused returns. */
#include "base/alloc.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void memory_is_zeroed_and_grows(void **state)
{
    (void)state;
    char *memory = alloc_zeroed(10, 10);
    for (int i = 0; i < 100; i++)
        assert_int_equal(memory[i], 0);
    memset(memory, 7, 100);
    memory = alloc_resized(memory, 1000, 10);
    for (int i = 0; i < 100; i++)
        assert_int_equal(memory[i], 7);
    free(memory);
    char *text = alloc_text("abc");
    assert_string_equal(text, "abc");
    free(text);
    void *empty = alloc_try(0);
    assert_non_null(empty);
    free(empty);
}

static void a_product_that_overflows_ends_the_process(void **state)
{
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core); /* only tidiness */
        (void)signal(SIGABRT, SIG_DFL);         /* cmocka's handler would go on */
        (void)dup2(pipe_fds[1], STDERR_FILENO); /* the parent sees what is missing */
        volatile size_t count = SIZE_MAX / 2;
        free(alloc_resized(NULL, count, 16));
        _exit(0);
    }
    (void)close(pipe_fds[1]); /* so that the read ends */
    char text[200] = "";
    size_t size = 0;
    for (ssize_t got; size < sizeof(text) - 1 && (got = read(pipe_fds[0], text + size, sizeof(text) - 1 - size)) > 0;)
        size += (size_t)got;
    (void)close(pipe_fds[0]); /* only read */
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "no memory left"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_grows),
        cmocka_unit_test(a_product_that_overflows_ends_the_process),
    };
    return cmocka_run_group_tests_name("base-alloc", tests, NULL, NULL);
}
