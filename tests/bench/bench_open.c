/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a large store after kill -9 and after an orderly close; JSON lines on stdout.
 *
 *   bench_open [BUILD]            EVENTS (10,000,000) events in a tenth as many streams, in a folder below TMPDIR
 *   bench_open build|killed|closed FOLDER  the parts, each in a process of its own, so that memory and locks are its
 * own
 *
 * Streams are written as orders are: 20,000 at a time, ten events each; one event in a hundred goes to a stream of any
 * age.  The builder kills itself.  The bars are those for 100 M events: 5 s after the kill, 1 s after a close.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/log/folder.h"
#include "os/clock.h"
#include "os/random.h"
#include "store/store.h"

enum {
    BATCH_EVENTS = 1000,
    STREAM_EVENTS = 10,
    AT_ONCE = 20000, /* streams */
    QUESTIONS = 2000,
};

extern char **environ;

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static void must(bool ok, const char *what, const struct banyan_error *err)
{
    if (ok)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, err == NULL ? strerror(errno) : err->message);
    exit(1);
}

/* A field of /proc/self/status, in bytes. */
static uint64_t memory(const char *field)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    uint64_t bytes = 0;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0)
            bytes = strtoull(line + strlen(field) + 1, NULL, 10) * 1024;
    }
    if (file != NULL)
        (void)fclose(file);
    return bytes;
}

/* Of this process so far: on a loaded machine it says what a quiet one would take, but for the disk. */
static double processor_ms(void)
{
    struct rusage usage;

    must(getrusage(RUSAGE_SELF, &usage) == 0, "getrusage", NULL);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

/* *bar* 0: none. */
static void report(const char *name, double value, const char *unit, double bar, bool at_most)
{
    (void)printf("{\"name\":\"%s\",\"value\":%.1f,\"unit\":\"%s\",\"reference\":null,\"ratio\":null", name, value,
                 unit);
    if (bar > 0)
        (void)printf(",\"bar\":%g,\"ok\":%s}\n", bar, (at_most ? value <= bar : value >= bar) ? "true" : "false");
    else
        (void)printf(",\"bar\":null,\"ok\":null}\n");
    (void)fflush(stdout);
}

static struct store *open_store(const char *folder)
{
    struct store_options options = {.folder = folder};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store;

    must(store_open(&options, &store, &err) == BANYAN_OK, "open", &err);
    return store;
}

/* ---- build ---- */

static struct banyan_uuid id_of(uint64_t number)
{
    struct os_random random;
    struct banyan_uuid id;
    uint64_t bits[2];

    os_random_seed(&random, number);
    bits[0] = os_random_next(&random);
    bits[1] = os_random_next(&random);
    memcpy(id.bytes, bits, sizeof(id.bytes));
    return id;
}

static uint64_t stream_of(uint64_t number)
{
    uint64_t block = number / (STREAM_EVENTS * AT_ONCE), mixed = number * 0x9e3779b97f4a7c15u;

    if (number % 100 == 99 && block > 0)
        return (mixed >> 20) % (block * AT_ONCE);
    return block * AT_ONCE + number % AT_ONCE;
}

static struct store_event event_of(uint64_t number, const struct banyan_uuid *id, char name[32])
{
    return (struct store_event){
        .id = *id,
        .stream = {name, (size_t)snprintf(name, 32, "order-%llu", (unsigned long long)stream_of(number))},
        .type = BANYAN_STR("OrderModified"),
        .at = {1700000000000000 + (int64_t)number},
        .payload = BANYAN_STR("{\"price\":\"101.25\",\"quantity\":100}"),
    };
}

static int build(const char *folder, uint64_t count)
{
    static struct banyan_uuid ids[BATCH_EVENTS];
    static struct store_event events[BATCH_EVENTS];
    static char names[BATCH_EVENTS][32];
    struct store *store = open_store(folder);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    struct store_stats stats;
    int64_t started = now_us(), took;

    for (uint64_t number = 0; number < count; number += BATCH_EVENTS) {
        struct store_append append = {.events = events, .event_count = BATCH_EVENTS};

        for (uint64_t i = 0; i < BATCH_EVENTS; i++) {
            ids[i] = id_of(number + i);
            events[i] = event_of(number + i, &ids[i], names[i]);
        }
        must(store_submit(store, &append, &appended, &err) == BANYAN_OK, "append", &err);
    }
    must(store_wait(store, appended.last, INT64_MAX, &err) == BANYAN_OK, "wait", &err);
    took = now_us() - started;
    store_stats(store, &stats);
    report("open_build", (double)count * 1e6 / (double)took, "events/s", 0, false);
    report("open_build_resident_max", (double)memory("VmHWM:") / 1e6, "MB", 0, true);
    report("open_index_memory", (double)stats.index_bytes / 1e6, "MB", 0, true);
    report("open_index_disk", (double)stats.index_disk_bytes / (double)count, "bytes/event", 0, true);
    report("open_index_runs", (double)stats.index_runs, "files", 0, true);
    report("open_log_disk", (double)stats.log.bytes / (double)count, "bytes/event", 0, true);
    (void)raise(SIGKILL);
    return 1;
}

/* ---- open ---- */

static void ask(struct store *store, uint64_t count)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    int64_t started = now_us();
    struct os_random random;
    char name[32];

    os_random_seed(&random, count);
    for (int i = 0; i < QUESTIONS; i++) {
        uint64_t number = os_random_below(&random, count);
        struct banyan_uuid id = id_of(number);
        struct store_event event = event_of(number, &id, name);
        struct store_append append = {.events = &event, .event_count = 1};
        struct store_appended appended;
        struct store_head head;

        must(store_head(store, event.stream, &head, &err) == BANYAN_OK, "head", &err);
        must(head.position.value > number, "a head is wrong", &err);
        must(store_append(store, &append, &appended, &err) == BANYAN_OK, "repeat", &err);
        must(appended.repeated && appended.first.value == number + 1, "an id is wrong", &err);
    }
    report("open_question", (double)(now_us() - started) / QUESTIONS, "us (a head and an id, the event read)", 0, true);
}

static int open_again(const char *folder, const char *name, double bar_ms)
{
    int64_t started = now_us();
    struct store *store = open_store(folder);
    double took = (double)(now_us() - started) / 1000, busy = processor_ms();
    struct store_stats stats;
    char part[64];

    store_stats(store, &stats);
    report(name, took, "ms", bar_ms, true);
    (void)snprintf(part, sizeof(part), "%s_processor", name);
    report(part, busy, "ms", 0, true);
    (void)snprintf(part, sizeof(part), "%s_resident", name);
    report(part, (double)memory("VmRSS:") / 1e6, "MB", 0, true);
    (void)fprintf(stderr, "%llu events, %llu streams, %llu replayed\n", (unsigned long long)stats.events,
                  (unsigned long long)stats.streams, (unsigned long long)(stats.events - stats.index_covered.value));
    ask(store, stats.events);
    store_close(store);
    return 0;
}

/* ---- all ---- */

static void run(const char *program, const char *part, const char *folder, bool is_killed)
{
    char *arguments[] = {(char *)program, (char *)part, (char *)folder, NULL};
    pid_t child;
    int end = 0;

    must(posix_spawn(&child, program, NULL, NULL, arguments, environ) == 0, program, NULL);
    must(waitpid(child, &end, 0) == child, "wait", NULL);
    must(is_killed ? WIFSIGNALED(end) && WTERMSIG(end) == SIGKILL : WIFEXITED(end) && WEXITSTATUS(end) == 0, part,
         NULL);
}

int main(int argc, char **argv)
{
    const char *given = getenv("EVENTS");
    uint64_t count = given == NULL ? 10000000 : strtoull(given, NULL, 10);
    char folder[FOLDER_PATH_MAX], program[4096] = "";

    count = (count + BATCH_EVENTS - 1) / BATCH_EVENTS * BATCH_EVENTS;
    if (argc == 3 && strcmp(argv[1], "build") == 0)
        return build(argv[2], count);
    if (argc == 3 && strcmp(argv[1], "killed") == 0)
        return open_again(argv[2], "open_after_kill", 5000);
    if (argc == 3 && strcmp(argv[1], "closed") == 0)
        return open_again(argv[2], "open_after_close", 1000);
    must(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0, "readlink", NULL);
    folder_make(folder);
    run(program, "build", folder, true);
    run(program, "killed", folder, false);
    run(program, "closed", folder, false);
    folder_remove(folder);
    return 0;
}
