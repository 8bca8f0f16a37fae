/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place where running out of memory ends the process.
 *
 * A refused small allocation leaves nothing sensible to do: the log is safe against a death at any instant, so the
 * process says why with a plain write() (formatting could allocate) and aborts.
 */
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void end_process(void) __attribute__((noreturn, cold));

static void end_process(void)
{
    static const char message[] = "banyan: the machine has no memory left; ending (acknowledged data is safe)\n";
    ssize_t ignored = write(STDERR_FILENO, message, sizeof(message) - 1);
    (void)ignored; /* nobody is left to tell */
    abort();
}

void *alloc_zeroed(size_t count, size_t size)
{
    void *memory = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
    if (memory == NULL)
        end_process();
    return memory;
}

void *alloc_resized(void *memory, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        end_process();
    memory = realloc(memory, bytes == 0 ? 1 : bytes);
    if (memory == NULL)
        end_process();
    return memory;
}

char *alloc_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = alloc_zeroed(size, 1);
    memcpy(copy, text, size);
    return copy;
}

char *alloc_path(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = alloc_zeroed(size, 1);
    (void)snprintf(path, size, "%s/%s", folder, name); /* fits: counted above */
    return path;
}

void *alloc_try(size_t size)
{
    return malloc(size == 0 ? 1 : size);
}
