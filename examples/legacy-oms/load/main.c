// SPDX-License-Identifier: Apache-2.0
/* legacy-load: traffic for the order management system, made up or replayed from a file. */
#include "load.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "Usage: legacy-load --url URL [OPTION]...\n"
    "Sends orders and changes to legacy-oms and prints JSON lines: latencies, errors, and what happened in truth.\n"
    "  --url URL         http://127.0.0.1:PORT\n"
    "  --rate N          requests a second; 0 for as many as possible (default 200)\n"
    "  --seconds N       how long; without it until SIGTERM, SIGINT or the stop file\n"
    "  --stop-file FILE  stop when this file is there\n"
    "  --connections N   connections (default 16)\n"
    "  --seed N          seed of the traffic (default 1)\n"
    "  --mix LIST        shares, default place=35,fill=24,match=6,modify=15,cancel=12,get=5,list=3\n"
    "  --report-every N  a line of figures each N seconds; SIGUSR1 asks for one at any time\n"
    "  --replay FILE     replay the order messages of a .csv or .csv.xz file instead\n"
    "  --expected FILE   with --replay: write the history that each order should have\n";

int64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool mix_parse(char *text, int shares[OPERATION_COUNT])
{
    char *rest = text, *part;

    memset(shares, 0, OPERATION_COUNT * sizeof(shares[0]));
    while ((part = strsep(&rest, ","))) {
        char *equals = strchr(part, '=');
        int i = 0;

        if (!equals || atoi(equals + 1) < 0)
            return false;
        *equals = '\0';
        while (i < OPERATION_COUNT && strcmp(operation_names[i], part) != 0)
            i++;
        if (i == OPERATION_COUNT)
            return false;
        shares[i] = atoi(equals + 1);
    }
    for (int i = 0; i < OPERATION_COUNT; i++)
        if (shares[i] > 0)
            return true;
    return false;
}

/* Takes one option; false when its value is not understood. */
static bool option_take(struct load_options *options, int option, char *value)
{
    switch (option) {
    case 'u':
        return client_address_parse(value, &options->address);
    case 'r':
        options->rate = atof(value);
        return options->rate >= 0;
    case 't':
        options->seconds = atof(value);
        return options->seconds > 0;
    case 'f':
        options->stop_file = value;
        return true;
    case 'c':
        options->connections = atoi(value);
        return options->connections > 0 && options->connections <= 1024;
    case 's':
        options->seed = strtoull(value, NULL, 10);
        return true;
    case 'm':
        return mix_parse(value, options->shares);
    case 'e':
        options->report_every = atof(value);
        return options->report_every > 0;
    case 'p':
        options->replay = value;
        return true;
    case 'x':
        options->expected = value;
        return true;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"url", required_argument, NULL, 'u'},
        {"rate", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 't'},
        {"stop-file", required_argument, NULL, 'f'},
        {"connections", required_argument, NULL, 'c'},
        {"seed", required_argument, NULL, 's'},
        {"mix", required_argument, NULL, 'm'},
        {"report-every", required_argument, NULL, 'e'},
        {"replay", required_argument, NULL, 'p'},
        {"expected", required_argument, NULL, 'x'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct load_options options = {.rate = 200, .connections = 16, .seed = 1, .shares = {35, 24, 6, 15, 12, 5, 3}};
    int option;

    while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (!option_take(&options, option, optarg)) {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind < argc || options.address.length == 0) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    return options.replay ? replay_run(&options) : drive_run(&options);
}
