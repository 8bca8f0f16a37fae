// SPDX-License-Identifier: Apache-2.0
/* legacy-shop: an online shop over fourteen tables of PostgreSQL.  README.md tells how to run it. */
#include "server.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] = "Usage: legacy-shop [OPTION]...\n"
                            "Serves a shop over HTTP on the loopback address, from the tables of schema.sql.\n"
                            "  --port N        port; 0 takes a free one, which is printed (default 0)\n"
                            "  --port-file F   write the port to this file, too, once requests are taken\n"
                            "  --conninfo S    where the database is; the PG* variables count, too\n"
                            "  --workers N     threads, each with a connection to the database (default 8)\n";

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},     {"port-file", required_argument, NULL, 'o'},
        {"conninfo", required_argument, NULL, 'c'}, {"workers", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},           {0},
    };
    struct server_options options = {.conninfo = "", .workers = 8};
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
        case 'w':
            options.workers = atoi(optarg);
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind < argc || options.workers < 1 || options.workers > 256 || options.port < 0 || options.port > 65535) {
        fputs(usage, stderr);
        return 2;
    }
    return http_serve(&options);
}
