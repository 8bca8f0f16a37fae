/* SPDX-License-Identifier: Apache-2.0 */
/* The process that writes until it is killed.  See crash.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"
#include "os/thread.h"

struct writer {
    struct crash_ledger *ledger;
    struct store *store;
    uint64_t seed;
    uint64_t before; /* attempts with smaller numbers are of former processes */
};

static struct crash_content *contents_new(void)
{
    struct crash_content *contents = calloc(CRASH_EVENTS_MAX, sizeof(*contents));

    for (size_t i = 0; i < CRASH_EVENTS_MAX; i++)
        contents[i].payload = malloc(CRASH_PAYLOAD_MAX);
    return contents;
}

static enum crash_kind any_kind(struct os_random *random)
{
    uint64_t dice = os_random_below(random, 1000);

    if (dice < 400)
        return CRASH_SINGLE;
    if (dice < 650)
        return CRASH_VERSION;
    if (dice < 970)
        return CRASH_MULTI;
    if (dice < 977)
        return CRASH_BIG;
    if (dice < 990)
        return CRASH_LARGE;
    return CRASH_ABORTED;
}

/* A new attempt, written into the ledger before the store hears of it. */
static uint64_t begin_attempt(struct writer *writer, struct os_random *random)
{
    struct crash_ledger *ledger = writer->ledger;
    uint64_t number = __atomic_fetch_add(&ledger->attempt_count, 1, __ATOMIC_SEQ_CST);
    struct crash_attempt *attempt;
    char name[CRASH_NAME_MAX];

    if (number >= CRASH_ATTEMPTS_MAX)
        crash_fail(ledger, "the ledger is full");
    attempt = &ledger->attempts[number];
    attempt->seed = os_random_next(random);
    attempt->kind = (uint8_t)any_kind(random);
    switch ((enum crash_kind)attempt->kind) {
    case CRASH_VERSION:
        attempt->event_count = 1 + (uint32_t)os_random_below(random, 3);
        attempt->stream = (uint16_t)os_random_below(random, 4); /* shared, so that some lose */
        attempt->expected = store_head(writer->store, crash_stream(attempt->stream, name)).version.value;
        break;
    case CRASH_MULTI:
        attempt->event_count = 2 + (uint32_t)os_random_below(random, CRASH_EVENTS_MAX - 1);
        break;
    case CRASH_LARGE:
    case CRASH_ABORTED:
        attempt->event_count = 1 + (uint32_t)os_random_below(random, 1500);
        break;
    default:
        attempt->event_count = 1;
    }
    __atomic_store_n(&attempt->state, CRASH_STARTED, __ATOMIC_SEQ_CST);
    return number;
}

/* Repeat something: an answered one as if its answer had been lost, or one of a process that was killed. */
static void repeat_one(struct writer *writer, struct os_random *random, struct crash_content *contents)
{
    struct crash_ledger *ledger = writer->ledger;
    uint64_t count = __atomic_load_n(&ledger->attempt_count, __ATOMIC_SEQ_CST), number;
    struct crash_attempt *attempt;
    uint8_t state;

    if (count == 0)
        return;
    number = os_random_below(random, count);
    attempt = &ledger->attempts[number];
    state = __atomic_load_n(&attempt->state, __ATOMIC_SEQ_CST);
    if (state == CRASH_ACKNOWLEDGED && attempt->kind != CRASH_LARGE && attempt->kind != CRASH_BIG)
        crash_send(ledger, writer->store, number, contents);
    else if (state == CRASH_STARTED && number < writer->before && attempt->kind != CRASH_ABORTED)
        crash_send(ledger, writer->store, number, contents);
}

static void write_for_ever(void *argument)
{
    struct writer *writer = argument;
    struct crash_content *contents = contents_new();
    struct os_random random;

    os_random_seed(&random, writer->seed);
    for (;;) {
        if (os_random_below(&random, 12) == 0)
            repeat_one(writer, &random, contents);
        else
            crash_send(writer->ledger, writer->store, begin_attempt(writer, &random), contents);
    }
}

static void raise_to(uint64_t *value, uint64_t to)
{
    uint64_t now = __atomic_load_n(value, __ATOMIC_SEQ_CST);

    while (now < to && !__atomic_compare_exchange_n(value, &now, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

/* Follow the end of the log.  Whoever was given a position relies on it: the checker finds it again. */
static void read_for_ever(void *argument)
{
    struct writer *writer = argument;
    struct crash_ledger *ledger = writer->ledger;
    struct crash_content *contents = contents_new();
    struct store_reader *reader = store_reader_open(writer->store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    struct os_random random;
    enum banyan_status status;
    uint64_t position, number;
    uint32_t index;

    os_random_seed(&random, writer->seed);
    position = os_random_below(&random, store_durable(writer->store).value + 1);
    if (store_reader_seek(reader, (struct banyan_position){position + 1}, &err) != BANYAN_OK)
        crash_fail(ledger, "seeking: %s", err.message);
    for (;;) {
        const char *differs;

        status = store_reader_next(reader, &event, &err);
        if (status == BANYAN_NOT_FOUND) {
            status = store_wait(writer->store, (struct banyan_position){position + 1}, INT64_MAX, &err);
            if (status != BANYAN_OK)
                crash_fail(ledger, "waiting: %s", err.message);
            continue;
        }
        if (status != BANYAN_OK)
            crash_fail(ledger, "reading behind %" PRIu64 ": %s", position, err.message);
        if (event.position.value != position + 1)
            crash_fail(ledger, "behind position %" PRIu64 " came %" PRIu64, position, event.position.value);
        position++;
        if (!crash_identify(ledger, &event.event, &number, &index))
            crash_fail(ledger, "position %" PRIu64 " holds an event of nobody", position);
        differs = crash_compare(ledger, &event.event, number, index, contents);
        if (differs != NULL)
            crash_fail(ledger, "position %" PRIu64 ": the %s differs", position, differs);
        raise_to(&ledger->read_position, position);
    }
}

/* Read streams from the middle, either way. */
static void read_streams_for_ever(void *argument)
{
    struct writer *writer = argument;
    struct store_reader *reader = store_reader_open(writer->store);
    struct store_read_event event;
    struct os_random random;
    char name[CRASH_NAME_MAX];

    os_random_seed(&random, writer->seed);
    for (;;) {
        struct banyan_str stream = crash_stream((uint32_t)os_random_below(&random, CRASH_STREAMS), name);
        uint64_t head = store_head(writer->store, stream).version.value;
        uint64_t version = head == 0 ? 1 : 1 + os_random_below(&random, head);
        uint64_t limit = 1 + os_random_below(&random, 50);
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status status = store_reader_stream(reader, stream, (struct banyan_version){version}, &err);

        while (status == BANYAN_OK && limit-- > 0) {
            status = store_reader_next(reader, &event, &err);
            if (status != BANYAN_OK)
                break;
            if (event.version.value != version || !banyan_str_equal(event.event.stream, stream))
                crash_fail(writer->ledger, "stream %s: version %" PRIu64 " where %" PRIu64 " was expected", name,
                           event.version.value, version);
            version++;
            raise_to(&writer->ledger->read_position, event.position.value);
        }
        if (status != BANYAN_OK && status != BANYAN_NOT_FOUND)
            crash_fail(writer->ledger, "stream %s: %s", name, err.message);
        if (status == BANYAN_NOT_FOUND) { /* nothing to do before something comes */
            status = store_wait(writer->store, (struct banyan_position){store_durable(writer->store).value + 1},
                                INT64_MAX, &err);
            if (status != BANYAN_OK)
                crash_fail(writer->ledger, "waiting: %s", err.message);
        }
    }
}

void crash_write(struct crash_ledger *ledger, struct os_files *files, uint64_t seed)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct os_thread threads[CRASH_WRITERS_MAX + 2] = {{.started = false}};
    struct writer writers[CRASH_WRITERS_MAX + 2];
    struct os_random random;
    enum banyan_status status;
    struct store *store;
    size_t writer_count, count = 0;

    (void)alarm(CRASH_PROCESS_SECONDS_MAX);
    os_random_seed(&random, seed);
    writer_count = 1 + os_random_below(&random, os_random_below(&random, 3) == 0 ? CRASH_WRITERS_MAX : 5);
    store = crash_open(ledger, files, false, &status, &err);
    if (store == NULL)
        crash_fail(ledger, "a writer cannot open: %s: %s", banyan_status_name(status), err.message);
    __atomic_fetch_add(&ledger->opens, 1, __ATOMIC_SEQ_CST);
    for (; count < writer_count + 2; count++) {
        os_thread_main main = count < writer_count    ? write_for_ever
                              : count == writer_count ? read_for_ever
                                                      : read_streams_for_ever;

        writers[count] = (struct writer){ledger, store, os_random_next(&random), ledger->attempt_count};
        os_thread_start(&threads[count], "worker", main, &writers[count]);
    }
    for (size_t i = 0; i < count; i++)
        os_thread_join(&threads[i]);
    crash_fail(ledger, "the threads have ended");
}
