// SPDX-License-Identifier: Apache-2.0
/* legacy-oms: a small order management system over three tables of PostgreSQL.  README.md tells how to run it. */
#include "server.h"

#include "../common/faults.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] = "Usage: legacy-oms [OPTION]...\n"
                            "Serves orders over HTTP on the loopback address, from the tables of schema.sql.\n"
                            "  --port N        port; 0 takes a free one, which is printed (default 0)\n"
                            "  --port-file F   write the port to this file, too, once requests are taken\n"
                            "  --conninfo S    where the database is; the PG* variables count, too\n"
                            "  --pool N        connections to the database, one worker thread each (default 8)\n"
                            "  --faults LIST   none, all, or some of audit,cancel-time,order,ties (default all)\n"
                            "  --seed N        seed of the faults (default 1)\n";

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},
        {"conninfo", required_argument, NULL, 'c'},
        {"pool", required_argument, NULL, 'n'},
        {"faults", required_argument, NULL, 'f'},
        {"port-file", required_argument, NULL, 'o'},
        {"seed", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct server_options options = {.conninfo = "", .pool = 8, .faults = FAULT_ALL, .seed = 1};
    int option;

    while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        switch (option) {
        case 'p':
            options.port = atoi(optarg);
            break;
        case 'o':
            options.port_file = optarg;
            break;
        case 'c':
            options.conninfo = optarg;
            break;
        case 'n':
            options.pool = atoi(optarg);
            break;
        case 'f':
            if (!faults_parse(optarg, &options.faults)) {
                fprintf(stderr, "legacy-oms: --faults %s: use none, all, audit, cancel-time, order, ties\n", optarg);
                return 2;
            }
            break;
        case 's':
            options.seed = strtoull(optarg, NULL, 10);
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind < argc || options.pool < 1 || options.port < 0 || options.port > 65535) {
        fputs(usage, stderr);
        return 2;
    }
    return http_serve(&options);
}
