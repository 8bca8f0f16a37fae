// SPDX-License-Identifier: Apache-2.0
/* The rates of the faults are here alone, so that the server and the seeder leave the same traces. */
#include "faults.h"

#include "random.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned faults;
} fault_names[] = {
    {"none", 0},
    {"all", FAULT_ALL},
    {"audit", FAULT_AUDIT},
    {"cancel-time", FAULT_CANCEL_TIME},
    {"order", FAULT_ORDER},
    {"ties", FAULT_TIES},
};

bool faults_parse(const char *text, unsigned *ret_faults)
{
    unsigned faults = 0;

    while (*text) {
        size_t length = strcspn(text, ","), i;

        for (i = 0; i < sizeof(fault_names) / sizeof(fault_names[0]); i++)
            if (strlen(fault_names[i].name) == length && memcmp(fault_names[i].name, text, length) == 0)
                break;
        if (i == sizeof(fault_names) / sizeof(fault_names[0]))
            return false;
        faults |= fault_names[i].faults;
        text += length;
        if (*text == ',')
            text++;
    }
    *ret_faults = faults;
    return true;
}

bool faults_skip_audit(unsigned faults, struct rng *rng)
{
    return (faults & FAULT_AUDIT) && rng_chance(rng, 1.0 / 3);
}

unsigned faults_linger_us(unsigned faults, struct rng *rng)
{
    if (!(faults & FAULT_ORDER) || !rng_chance(rng, 0.2))
        return 0;
    return (unsigned)rng_between(rng, 1000, 8000);
}
