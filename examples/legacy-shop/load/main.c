// SPDX-License-Identifier: Apache-2.0
/* legacy-shop-load: traffic for the shop.  Each thread leads the lives of its own orders. */
#include "load.h"

#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char usage[] =
    "Usage: legacy-shop-load --port N [OPTION]...\n"
    "Places orders at legacy-shop, moves them on, and prints what was done as a line of JSON.\n"
    "  --port N      of the shop, on the loopback address\n"
    "  --rate N      orders placed a second, by all threads; 0 for as many as possible (default 20)\n"
    "  --seconds N   how long; without it until SIGTERM or SIGINT\n"
    "  --threads N   (default 4)\n"
    "  --seed N      seed of the traffic (default 1)\n";

#define THREADS_MAX 64

struct options {
    int port, threads;
    double rate, seconds;
    uint64_t seed;
};

struct worker {
    pthread_t thread;
    const struct options *options;
    struct life *life;
};

static atomic_bool stop_asked;

static double now_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    const struct options *options = worker->options;
    double begin = now_seconds(), due = begin, every = options->rate > 0 ? options->threads / options->rate : 0;

    while (!atomic_load(&stop_asked)) {
        double now = now_seconds();

        if (options->seconds > 0 && now - begin >= options->seconds)
            break;
        if (now < due) {
            double wait = due - now < 0.1 ? due - now : 0.1; /* so that it hears of the end */

            nanosleep(&(struct timespec){.tv_nsec = (long)(wait * 1e9)}, NULL);
            continue;
        }
        life_turn(worker->life);
        due += every;
    }
    return NULL;
}

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stop_asked, true);
}

static void tally_add(struct tally *sum, const struct tally *tally)
{
    sum->placed += tally->placed;
    sum->modified += tally->modified;
    sum->paid += tally->paid;
    sum->canceled += tally->canceled;
    sum->packed += tally->packed;
    sum->shipped += tally->shipped;
    sum->delivered += tally->delivered;
    sum->received += tally->received;
    sum->refused += tally->refused;
    sum->errors += tally->errors;
}

static int run(const struct options *options)
{
    struct worker workers[THREADS_MAX];
    struct tally sum = {0};

    for (int i = 0; i < options->threads; i++) {
        workers[i] = (struct worker){.options = options, .life = life_new(options->port, options->seed, i)};
        if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0)
            abort();
    }
    for (int i = 0; i < options->threads; i++) {
        pthread_join(workers[i].thread, NULL);
        tally_add(&sum, life_tally(workers[i].life));
        life_free(workers[i].life);
    }
    printf("{\"placed\":%" PRId64 ",\"modified\":%" PRId64 ",\"paid\":%" PRId64 ",\"canceled\":%" PRId64
           ",\"packed\":%" PRId64 ",\"shipped\":%" PRId64 ",\"delivered\":%" PRId64 ",\"received\":%" PRId64
           ",\"refused\":%" PRId64 ",\"errors\":%" PRId64 "}\n",
           sum.placed, sum.modified, sum.paid, sum.canceled, sum.packed, sum.shipped, sum.delivered, sum.received,
           sum.refused, sum.errors);
    return sum.errors > 0;
}

static bool option_take(struct options *options, int option, const char *value)
{
    switch (option) {
    case 'p':
        options->port = atoi(value);
        return options->port > 0 && options->port < 65536;
    case 'r':
        options->rate = atof(value);
        return options->rate >= 0;
    case 't':
        options->seconds = atof(value);
        return options->seconds > 0;
    case 'n':
        options->threads = atoi(value);
        return options->threads > 0 && options->threads <= THREADS_MAX;
    case 's':
        options->seed = strtoull(value, NULL, 10);
        return true;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", required_argument, NULL, 'p'},
        {"rate", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 't'},
        {"threads", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options options = {.threads = 4, .rate = 20, .seed = 1};
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
    if (optind < argc || options.port == 0) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    return run(&options);
}
