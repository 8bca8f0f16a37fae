/* SPDX-License-Identifier: Apache-2.0 */
/* The sink in memory: the common body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "body.h"
#include "sink/sinks.h"

static void clear_place(void)
{
    /* each home is a place of its own */
}

int main(void)
{
    static const struct body_place place = {.home = sink_memory_home, .clear = clear_place, .search = true};
    return body_run(&place, NULL, 0);
}
