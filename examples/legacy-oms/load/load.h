// SPDX-License-Identifier: Apache-2.0
/* What the files of the load driver share. */
#ifndef LEGACY_OMS_LOAD_H
#define LEGACY_OMS_LOAD_H

#include <stdint.h>
#include <stdio.h>

#include "book.h"
#include "client.h"

#define CONNECT_SECONDS_MAX 10 /* how long the first connection may take */

struct load_options {
    struct client_address address;
    double rate; /* requests a second; 0 for as many as the server takes */
    double seconds;
    double report_every; /* seconds, 0 for never */
    const char *stop_file;
    const char *replay;
    const char *expected;
    int connections;
    uint64_t seed;
    int shares[OPERATION_COUNT];
};

int64_t monotonic_us(void);

/* Runs made-up traffic; prints reports; returns the exit code. */
int drive_run(const struct load_options *options);

/* Replays a file of order messages; prints the counts; returns the exit code. */
int replay_run(const struct load_options *options);

#endif
