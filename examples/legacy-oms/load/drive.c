// SPDX-License-Identifier: Apache-2.0
/* Made-up traffic at a given rate, open loop.
 *
 * Requests have intended times, exponentially spaced.  The next one is sent when its time has come and a connection is
 * free, and its latency counts from the intended time: when the server is slow, waiting for a connection counts, too.
 * With rate 0 each connection sends its next request after the answer, and latency counts from the sending. */
#include "load.h"

#include <event2/event.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "histogram.h"

#define DRAIN_SECONDS_MAX 5 /* how long the last answers may take */

struct figures {
    struct histogram latency[OPERATION_COUNT];
    int64_t errors[OPERATION_COUNT];
    struct truth truth;
    int64_t start_us;
};

struct drive {
    const struct load_options *options;
    struct event_base *base;
    struct client **clients;
    struct plan *plans;   /* by connection: what it is waiting for */
    int64_t *intended_us; /* by connection */
    struct book *book;
    struct rng rng;          /* spaces the requests */
    struct event *due;       /* fires at next_us */
    double next_us;          /* intended time of the next request */
    struct figures interval; /* since the last report; its truth is the truth at its start */
    struct figures total;
    int waiting;
    bool connected, stopping;
};

static int client_number(const struct drive *drive, const struct client *client)
{
    int i = 0;

    while (drive->clients[i] != client)
        i++;
    return i;
}

static void drive_finish_if_done(struct drive *drive)
{
    if (drive->stopping && drive->waiting == 0)
        event_base_loopbreak(drive->base);
}

static void request_send(struct drive *drive, int number, int64_t intended_us)
{
    struct plan *plan = &drive->plans[number];

    book_plan(drive->book, plan);
    drive->intended_us[number] = intended_us;
    drive->waiting++;
    client_send(drive->clients[number], plan->path, *plan->body ? plan->body : NULL);
}

/* Sends what is due, as far as connections are free. */
static void drive_send_due(struct drive *drive)
{
    int64_t now_us = monotonic_us();

    for (int i = 0; i < drive->options->connections && !drive->stopping; i++) {
        if (!drive->clients[i] || !client_is_ready(drive->clients[i]))
            continue;
        if (drive->options->rate <= 0) {
            request_send(drive, i, now_us);
        } else if (drive->next_us <= (double)now_us) {
            request_send(drive, i, (int64_t)drive->next_us);
            drive->next_us += rng_exponential(&drive->rng, 1e6 / drive->options->rate);
        } else {
            int64_t wait_us = (int64_t)drive->next_us - now_us;

            event_add(drive->due, &(struct timeval){.tv_sec = wait_us / 1000000, .tv_usec = wait_us % 1000000});
            break;
        }
    }
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
    drive_send_due(arg);
}

static void on_ready(struct client *client, void *arg)
{
    struct drive *drive = arg;

    drive->connected = true;
    drive_send_due(drive);
}

static void on_answer(struct client *client, int code, const char *body, size_t length, void *arg)
{
    struct drive *drive = arg;
    int number = client_number(drive, client);
    const struct plan *plan = &drive->plans[number];

    drive->waiting--;
    if (book_apply(drive->book, plan, code, body, length))
        histogram_add(&drive->interval.latency[plan->operation], monotonic_us() - drive->intended_us[number]);
    else
        drive->interval.errors[plan->operation]++;
    drive_finish_if_done(drive);
}

static json_t *latency_json(const struct histogram *latency, int64_t errors)
{
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f}", "count", (json_int_t)latency->count, "errors",
                     (json_int_t)errors, "p50_ms", (double)histogram_at(latency, 0.5) / 1000, "p95_ms",
                     (double)histogram_at(latency, 0.95) / 1000, "p99_ms", (double)histogram_at(latency, 0.99) / 1000,
                     "max_ms", (double)latency->max_us / 1000);
}

static json_t *truth_json(const struct truth *now, const struct truth *then)
{
    int64_t modified = now->modified - then->modified, audited = now->modified_audited - then->modified_audited;
    int64_t canceled = now->canceled - then->canceled, timed = now->canceled_audited - then->canceled_audited;
    int64_t fills = now->fills - then->fills, changes = modified + canceled + fills;

    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "placed", (json_int_t)(now->placed - then->placed),
        "modified", (json_int_t)modified, "modified_audited", (json_int_t)audited, "canceled", (json_int_t)canceled,
        "canceled_audited", (json_int_t)timed, "fills", (json_int_t)fills, "filled",
        (json_int_t)(now->filled - then->filled), "adopted", (json_int_t)(now->adopted - then->adopted), "conflicts",
        (json_int_t)(now->conflicts - then->conflicts), "unknown", (json_int_t)(now->unknown - then->unknown),
        "audit_completeness_percent", changes ? 100.0 * (double)(audited + timed + fills) / (double)changes : 100.0);
}

static void figures_print(const struct drive *drive, const char *type, const struct figures *figures)
{
    struct histogram *writes = calloc(2, sizeof(*writes)), *reads = writes + 1;
    double seconds = (double)(monotonic_us() - figures->start_us) / 1e6;
    json_t *operations = json_object(), *report;
    int64_t write_errors = 0, read_errors = 0;
    char *text;

    for (int i = 0; i < OPERATION_COUNT; i++) {
        histogram_merge(i < OPERATION_GET ? writes : reads, &figures->latency[i]);
        *(i < OPERATION_GET ? &write_errors : &read_errors) += figures->errors[i];
        json_object_set_new(operations, operation_names[i], latency_json(&figures->latency[i], figures->errors[i]));
    }
    report =
        json_pack("{s:s, s:f, s:I, s:f, s:I, s:o, s:o, s:o, s:o}", "type", type, "seconds", seconds, "requests",
                  (json_int_t)(writes->count + reads->count), "per_second",
                  (double)(writes->count + reads->count) / seconds, "errors", (json_int_t)(write_errors + read_errors),
                  "writes", latency_json(writes, write_errors), "reads", latency_json(reads, read_errors), "operations",
                  operations, "truth", truth_json(book_truth(drive->book), &figures->truth));
    text = json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(6));
    puts(text);
    fflush(stdout);
    free(text);
    json_decref(report);
    free(writes);
}

static void interval_close(struct drive *drive)
{
    for (int i = 0; i < OPERATION_COUNT; i++) {
        histogram_merge(&drive->total.latency[i], &drive->interval.latency[i]);
        drive->total.errors[i] += drive->interval.errors[i];
    }
    memset(&drive->interval, 0, sizeof(drive->interval));
    drive->interval.start_us = monotonic_us();
    drive->interval.truth = *book_truth(drive->book);
}

static void on_report(evutil_socket_t fd, short what, void *arg)
{
    struct drive *drive = arg;

    figures_print(drive, "interval", &drive->interval);
    interval_close(drive);
}

static void drive_stop(struct drive *drive)
{
    if (drive->stopping)
        return;
    drive->stopping = true;
    event_base_loopexit(drive->base, &(struct timeval){.tv_sec = DRAIN_SECONDS_MAX});
    drive_finish_if_done(drive);
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    drive_stop(arg);
}

/* Every 100 ms: whether to stop, and a server that is not there. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct drive *drive = arg;
    int64_t ran_us = monotonic_us() - drive->total.start_us;

    if (drive->options->stop_file && access(drive->options->stop_file, F_OK) == 0)
        drive_stop(drive);
    if (!drive->connected && ran_us > CONNECT_SECONDS_MAX * INT64_C(1000000))
        event_base_loopbreak(drive->base);
}

static void drive_loop(struct drive *drive)
{
    const struct load_options *options = drive->options;
    struct timeval report_every = {.tv_sec = (time_t)options->report_every};
    struct event *events[6] = {
        evsignal_new(drive->base, SIGTERM, on_stop, drive),
        evsignal_new(drive->base, SIGINT, on_stop, drive),
        evsignal_new(drive->base, SIGUSR1, on_report, drive),
        event_new(drive->base, -1, EV_PERSIST, on_tick, drive),
        event_new(drive->base, -1, EV_PERSIST, on_report, drive),
        evtimer_new(drive->base, on_stop, drive),
    };

    report_every.tv_usec = (suseconds_t)((options->report_every - (double)report_every.tv_sec) * 1e6);
    for (int i = 0; i < 3; i++)
        event_add(events[i], NULL);
    event_add(events[3], &(struct timeval){.tv_usec = 100000});
    if (options->report_every > 0)
        event_add(events[4], &report_every);
    if (options->seconds > 0)
        event_add(events[5], &(struct timeval){.tv_sec = (time_t)options->seconds,
                                               .tv_usec = (suseconds_t)(options->seconds * 1e6) % 1000000});
    event_base_dispatch(drive->base);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        event_free(events[i]);
}

int drive_run(const struct load_options *options)
{
    static const struct client_handlers handlers = {.on_ready = on_ready, .on_answer = on_answer};
    struct event_config *config = event_config_new();
    struct drive *drive = calloc(1, sizeof(*drive));
    int code = 0;

    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    drive->options = options;
    drive->base = event_base_new_with_config(config);
    drive->book = book_new(options->seed, options->shares);
    drive->rng = rng_fork(options->seed, 2);
    drive->due = evtimer_new(drive->base, on_due, drive);
    drive->clients = calloc((size_t)options->connections, sizeof(drive->clients[0]));
    drive->plans = calloc((size_t)options->connections, sizeof(drive->plans[0]));
    drive->intended_us = calloc((size_t)options->connections, sizeof(drive->intended_us[0]));
    drive->interval.start_us = drive->total.start_us = monotonic_us();
    drive->next_us = (double)drive->total.start_us;
    for (int i = 0; i < options->connections; i++)
        drive->clients[i] = client_new(drive->base, &options->address, &handlers, drive);
    drive_loop(drive);
    if (!drive->connected) {
        fprintf(stderr, "legacy-load: nobody answers at %s\n", options->address.host);
        code = 1;
    }
    interval_close(drive);
    figures_print(drive, "total", &drive->total);
    for (int i = 0; i < options->connections; i++)
        client_free(drive->clients[i]);
    event_free(drive->due);
    book_free(drive->book);
    event_base_free(drive->base);
    event_config_free(config);
    free(drive->clients);
    free(drive->plans);
    free(drive->intended_us);
    free(drive);
    return code;
}
