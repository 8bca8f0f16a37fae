/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work queue of a warehouse over a real store: many workers that read the list and lease, some of which vanish or
 * give back.  Every job is done once, and in the log no lease begins while another one has not run out.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../unit/log/folder.h"
#include "commerce/commerce.h"
#include "commerce/fulfillment.h"
#include "commerce/read_models.h"
#include "os/random.h"
#include "os/thread.h"
#include "projection/engine.h"
#include "sink/sinks.h"
#include "store/aggregate.h"
#include "support/seed.h"

enum {
    JOBS = 150,
    WORKERS = 8,
    LISTED = 20,
    LEASE_US = 150 * 1000,
    WORK_US_MAX = 3000,
    LIMIT_US = 60 * 1000 * 1000,
};

struct rig {
    char folder[FOLDER_PATH_MAX];
    struct store *store;
    struct aggregates *aggregates;
    struct projections *projections;
    struct os_stop stop;
    uint64_t done[JOBS + 1]; /* acknowledgements that were accepted; atomic */
    uint64_t done_count;     /* atomic */
    uint64_t vanished, released, refused;
};

struct worker {
    struct rig *rig;
    struct os_thread thread;
    struct os_random random;
    struct banyan_arena arena;
    char name[16];
    struct sink_view *view;
    int64_t seen[LISTED]; /* jobs of the last list that were free */
    size_t seen_count;
};

static void check(enum banyan_status status, const struct banyan_error *err)
{
    if (status != BANYAN_OK) {
        fprintf(stderr, "%s: %s\n", banyan_status_name(status), err->message);
        abort(); /* also in threads, where a failed assertion cannot leave */
    }
}

static bool send(struct rig *rig, struct banyan_arena *arena, int64_t key, unsigned type, const void *fields)
{
    struct aggregate_command command = {.id = os_uuid_new(),
                                        .category = BANYAN_STR("fulfillment"),
                                        .key = banyan_arena_printf(arena, "%" PRId64, key),
                                        .name = banyan_str_of(commerce_fulfillment_commands[type].name),
                                        .fields = fields};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct aggregate_answer answer;

    check(aggregates_execute(rig->aggregates, &command, arena, &answer, &err), &err);
    return answer.accepted;
}

/* ---- a worker ---- */

static enum banyan_status take(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct worker *worker = context;
    const struct queue_row *job = row;

    (void)err;
    if (text_is(job->state.job, JOB_STATUS_READY) || job->state.lease_until.us < os_clock_now(os_clock_real()).us)
        worker->seen[worker->seen_count++] = key;
    return BANYAN_OK;
}

static bool look(struct worker *worker)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct sink_list list = {.index = &commerce_fulfillment_queue_tables[0].indexes[0],
                             .equal = os_random_below(&worker->random, 2) == 0 ? BANYAN_STR("1") : BANYAN_STR("2"),
                             .from = {BANYAN_TIME_NULL},
                             .to = {BANYAN_TIME_NULL},
                             .limit = LISTED};

    worker->seen_count = 0;
    check(worker->view->ops->list(worker->view, &list, &checkpoint, take, worker, &err), &err);
    return worker->seen_count > 0;
}

static void work(struct worker *worker, int64_t key)
{
    struct rig *rig = worker->rig;
    struct banyan_str name = banyan_str_of(worker->name);
    struct lease_job lease = {name, {os_clock_now(os_clock_real()).us + LEASE_US}};
    struct release_job release = {name, {NULL, 0}, COMMERCE_NO_TIME};
    uint64_t chance = os_random_below(&worker->random, 100);

    if (!send(rig, &worker->arena, key, JOB_LEASE, &lease)) {
        (void)__atomic_add_fetch(&rig->refused, 1, __ATOMIC_RELAXED);
        return;
    }
    os_clock_real()->sleep_us(os_clock_real(), (int64_t)os_random_below(&worker->random, WORK_US_MAX));
    if (chance < 8) { /* vanishes: the lease runs out */
        (void)__atomic_add_fetch(&rig->vanished, 1, __ATOMIC_RELAXED);
    } else if (chance < 16) {
        (void)__atomic_add_fetch(&rig->released, 1, __ATOMIC_RELAXED);
        (void)send(rig, &worker->arena, key, JOB_RELEASE, &release); /* refused when it ran out meanwhile */
    } else if (send(rig, &worker->arena, key, JOB_ACKNOWLEDGE, &(struct acknowledge_job){name})) {
        (void)__atomic_add_fetch(&rig->done[key], 1, __ATOMIC_RELAXED);
        (void)__atomic_add_fetch(&rig->done_count, 1, __ATOMIC_RELEASE);
    }
}

static void worker_main(void *argument)
{
    struct worker *worker = argument;
    int64_t began_us = os_clock_monotonic_us(os_clock_real());

    while (__atomic_load_n(&worker->rig->done_count, __ATOMIC_ACQUIRE) < JOBS) {
        if (os_clock_monotonic_us(os_clock_real()) - began_us > LIMIT_US)
            return; /* the counts tell */
        if (look(worker))
            work(worker, worker->seen[os_random_below(&worker->random, worker->seen_count)]);
        else
            os_clock_real()->sleep_us(os_clock_real(), 1000);
        banyan_arena_reset(&worker->arena);
    }
}

/* ---- what the log says of a job ---- */

static void assert_one_at_a_time(struct rig *rig, struct store_reader *reader, int64_t key)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct store_read_event event;
    struct banyan_str stream = banyan_arena_printf(&arena, "fulfillment-%" PRId64, key);
    struct banyan_str holder = BANYAN_STR("");
    int64_t free_at_us = INT64_MIN;
    unsigned acknowledged = 0;

    (void)rig;
    check(store_reader_stream(reader, stream, (struct banyan_version){1}, &err), &err);
    while (store_reader_next(reader, &event, &err) == BANYAN_OK) {
        struct banyan_str type = event.event.type;

        if (text_is(type, "JobLeased")) {
            struct job_leased leased;

            assert_int_equal(acknowledged, 0);
            check(banyan_record_decode(banyan_domain_commerce.events[JOB_LEASED].record, event.event.payload, &leased,
                                       &err),
                  &err);
            /* Who has it may have it for longer: a list that is behind shows it as ready to its own worker, too. */
            if (event.event.at.us < free_at_us && !banyan_str_equal(leased.worker, holder))
                fail_msg("job %" PRId64 " was leased %" PRId64 " us too early", key, free_at_us - event.event.at.us);
            free_at_us = leased.until.us;
            holder = banyan_arena_str(&arena, leased.worker);
        } else if (text_is(type, "JobReleased")) {
            free_at_us = INT64_MIN;
        } else if (text_is(type, "JobAcknowledged")) {
            acknowledged++;
        }
    }
    assert_int_equal(acknowledged, 1);
    banyan_arena_release(&arena);
}

/* ---- the test ---- */

static void open_rig(struct rig *rig)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    const struct banyan_projection *projection = &commerce_projections[PROJECTION_FULFILLMENT_QUEUE];
    struct projection_options options = {.name = projection->name, .projection = projection};
    struct banyan_arena arena = BANYAN_ARENA_INIT;

    folder_make_quick(rig->folder);
    check(store_open(&(struct store_options){.folder = rig->folder}, &rig->store, &err), &err);
    rig->aggregates =
        aggregates_new(&(struct aggregates_options){.store = rig->store, .domain = &banyan_domain_commerce});
    check(os_stop_open(&rig->stop, &err), &err);
    for (int64_t key = 1; key <= JOBS; key++) {
        struct fulfillment_line line = {.line_id = 1, .quantity = 1};
        struct create_fulfillment create = {.order_id = key, .seller_id = 1, .lines = {&line, 1}};

        assert_true(send(rig, &arena, key, FULFILLMENT_CREATE, &create));
        assert_true(send(rig, &arena, key, FULFILLMENT_ASSIGN, &(struct assign_warehouse){1 + key % 2}));
    }
    rig->projections = projections_new(
        &(struct projections_options){.domain = &banyan_domain_commerce, .store = rig->store, .stop = &rig->stop});
    check(sink_memory_home(projection, &options.home, &err), &err);
    check(projections_add(rig->projections, &options, &err), &err);
    check(projections_wait(rig->projections, 0, store_tail(rig->store), LIMIT_US, &err), &err);
    for (int64_t waited_us = 0; !projections_serving(rig->projections, 0, NULL); waited_us += 1000) {
        assert_true(waited_us < LIMIT_US);
        os_clock_real()->sleep_us(os_clock_real(), 1000);
    }
    banyan_arena_release(&arena);
}

static void close_rig(struct rig *rig)
{
    os_stop_request(&rig->stop);
    projections_free(rig->projections);
    aggregates_free(rig->aggregates);
    store_close(rig->store);
    os_stop_close(&rig->stop);
    folder_remove(rig->folder);
}

static void every_job_is_done_once(void **context)
{
    static struct rig rig;
    static struct worker workers[WORKERS];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct os_random random;

    (void)context;
    seed_start(&random, "queue");
    open_rig(&rig);
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.rig = &rig};
        os_random_seed(&workers[i].random, os_random_next(&random));
        snprintf(workers[i].name, sizeof(workers[i].name), "worker-%zu", i);
        check(projections_view(rig.projections, 0, &workers[i].view, &err), &err);
        os_thread_start(&workers[i].thread, "worker", worker_main, &workers[i]);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        os_thread_join(&workers[i].thread);
        sink_view_close(workers[i].view);
        banyan_arena_release(&workers[i].arena);
    }
    struct store_reader *reader = store_reader_open(rig.store);
    for (int64_t key = 1; key <= JOBS; key++) {
        assert_int_equal(rig.done[key], 1);
        assert_one_at_a_time(&rig, reader, key);
    }
    store_reader_close(reader);
    assert_true(rig.vanished > 0 && rig.released > 0);
    printf("# %d jobs, %d workers: %" PRIu64 " vanished, %" PRIu64 " gave back, %" PRIu64 " came too late\n", JOBS,
           WORKERS, rig.vanished, rig.released, rig.refused);
    close_rig(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_job_is_done_once)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
