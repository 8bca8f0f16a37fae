// SPDX-License-Identifier: Apache-2.0
/* legacy-seed: fills the empty tables with a month of invented orders, as the server would have left them, and prints
 * one JSON line with the truth about them. */
#include "../common/faults.h"
#include "copy.h"
#include "model.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char usage[] =
    "Usage: legacy-seed [OPTION]...\n"
    "Fills the empty tables of schema.sql with past orders and prints the truth about them as JSON.\n"
    "  --orders N      how many orders (default 200000)\n"
    "  --conninfo S    where the database is; the PG* variables count, too\n"
    "  --faults LIST   none, all, or some of audit,cancel-time,order,ties (default all)\n"
    "  --seed N        seed of the past (default 1)\n"
    "  --end SECONDS   when the past ends, in seconds since 1970 (default now)\n";

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void truth_print(const struct past *past, struct past_options options, double seconds)
{
    const struct past_truth *truth = &past->truth;
    int64_t changes = truth->modifications + truth->cancellations + truth->fills;
    int64_t recorded = truth->modifications_audited + truth->cancellations_timed + truth->fills;

    printf("{\"orders\":%zu,\"new\":%" PRId64 ",\"partially_filled\":%" PRId64 ",\"filled\":%" PRId64
           ",\"canceled\":%" PRId64 ",\"modifications\":%" PRId64 ",\"modifications_audited\":%" PRId64
           ",\"cancellations\":%" PRId64 ",\"cancellations_timed\":%" PRId64 ",\"fills\":%" PRId64
           ",\"audit_rows\":%" PRId64 ",\"audit_completeness_percent\":%.2f,\"seed\":%" PRIu64 ",\"seconds\":%.2f}\n",
           past->order_count, truth->by_status[STATUS_NEW], truth->by_status[STATUS_PARTIALLY_FILLED],
           truth->by_status[STATUS_FILLED], truth->by_status[STATUS_CANCELED], truth->modifications,
           truth->modifications_audited, truth->cancellations, truth->cancellations_timed, truth->fills,
           (int64_t)past->row_count - truth->fills, changes ? 100.0 * (double)recorded / (double)changes : 100.0,
           options.seed, seconds);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"orders", required_argument, NULL, 'n'},
        {"conninfo", required_argument, NULL, 'c'},
        {"faults", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},
        {"end", required_argument, NULL, 'e'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct past_options options = {.orders = 200000, .faults = FAULT_ALL, .seed = 1};
    struct past past = {0};
    const char *conninfo = "";
    double start = seconds_now();
    PGconn *conn;
    int option, code = 1;

    options.end_us = (int64_t)time(NULL) * 1000000;
    while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (option == 'n')
            options.orders = strtoll(optarg, NULL, 10);
        else if (option == 'c')
            conninfo = optarg;
        else if (option == 's')
            options.seed = strtoull(optarg, NULL, 10);
        else if (option == 'e')
            options.end_us = strtoll(optarg, NULL, 10) * 1000000;
        else if (option != 'f' || !faults_parse(optarg, &options.faults)) {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    if (optind < argc || options.orders < 1) {
        fputs(usage, stderr);
        return 2;
    }
    conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK) {
        fprintf(stderr, "legacy-seed: %s", PQerrorMessage(conn));
    } else {
        past_make(&past, options);
        if (past_copy(conn, &past)) {
            truth_print(&past, options, seconds_now() - start);
            code = 0;
        }
    }
    past_release(&past);
    PQfinish(conn);
    return code;
}
