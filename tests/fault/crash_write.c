/* SPDX-License-Identifier: Apache-2.0 */
/* The process that writes until it is killed.  See crash.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"
#include "os/clock.h"
#include "os/thread.h"
#include "store/subscribe.h"

struct writer {
    struct crash_ledger *ledger;
    struct store *store;
    uint64_t seed;
    uint64_t before; /* attempts with smaller numbers are of former processes */
};

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
    uint64_t number = __atomic_load_n(&ledger->attempt_count, __ATOMIC_SEQ_CST);
    struct crash_attempt *attempt;
    char name[CRASH_NAME_MAX];

    do { /* a fast disk fills the ledger: then there is nothing to do but to be killed */
        while (number >= CRASH_ATTEMPTS_MAX) {
            os_clock_real()->sleep_us(os_clock_real(), 100000);
            number = __atomic_load_n(&ledger->attempt_count, __ATOMIC_SEQ_CST);
        }
    } while (!__atomic_compare_exchange_n(&ledger->attempt_count, &number, number + 1, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    attempt = &ledger->attempts[number];
    attempt->seed = os_random_next(random);
    attempt->kind = (uint8_t)any_kind(random);
    switch ((enum crash_kind)attempt->kind) {
    case CRASH_VERSION:
        attempt->event_count = 1 + (uint32_t)os_random_below(random, 3);
        attempt->stream = (uint16_t)os_random_below(random, 4); /* shared, so that some lose */
        attempt->expected = crash_version(ledger, writer->store, crash_stream(attempt->stream, name));
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
    struct crash_content *contents = crash_contents_new();
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

/* Whoever was given an event relies on it: the checker finds it again. */
static void believe(struct crash_ledger *ledger, const struct store_read_event *event, struct crash_content *content)
{
    const char *differs;
    uint64_t number;
    uint32_t index;

    if (!crash_identify(ledger, &event->event, &number, &index))
        crash_fail(ledger, "position %" PRIu64 " holds an event of nobody", event->position.value);
    differs = crash_compare(ledger, &event->event, number, index, content);
    if (differs != NULL)
        crash_fail(ledger, "position %" PRIu64 ": the %s differs", event->position.value, differs);
    raise_to(&ledger->read_position, event->position.value);
}

/* Follow the end of the log. */
static void read_for_ever(void *argument)
{
    struct writer *writer = argument;
    struct crash_ledger *ledger = writer->ledger;
    struct crash_content *contents = crash_contents_new();
    struct store_reader *reader = store_reader_open(writer->store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    struct os_random random;
    enum banyan_status status;
    uint64_t position;

    os_random_seed(&random, writer->seed);
    position = os_random_below(&random, store_durable(writer->store).value + 1);
    if (store_reader_seek(reader, (struct banyan_position){position + 1}, &err) != BANYAN_OK)
        crash_fail(ledger, "seeking: %s", err.message);
    for (;;) {
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
        believe(ledger, &event, contents);
    }
}

/* One type of one category, for ever: against a count of what should have come. */
static void subscribe_for_ever(void *argument)
{
    struct writer *writer = argument;
    struct crash_ledger *ledger = writer->ledger;
    struct crash_content *contents = crash_contents_new();
    struct banyan_str type = BANYAN_STR("Changed"), category = BANYAN_STR("order");
    struct store_filter filter = {.types = &type, .type_count = 1, .categories = &category, .category_count = 1};
    struct store_subscribe from = {.filter = &filter, .since = {BANYAN_TIME_NULL}};
    struct store_subscription *subscription = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_subscription_item item;

    from.after.value = writer->seed % (store_durable(writer->store).value + 1);
    if (store_subscription_open(writer->store, &from, &subscription, &err) != BANYAN_OK)
        crash_fail(ledger, "subscribing: %s", err.message);
    for (;;) {
        if (store_subscription_next(subscription, INT64_MAX, &item, &err) != BANYAN_OK)
            crash_fail(ledger, "a subscription: %s (%s)", err.message, err.detail);
        if (item.kind == STORE_SUBSCRIPTION_CAUGHT_UP)
            continue;
        if (!banyan_str_equal(item.event.event.type, type) ||
            strncmp(item.event.event.stream.data, "order-", strlen("order-")) != 0)
            crash_fail(ledger, "position %" PRIu64 " does not pass the filter", item.event.position.value);
        believe(ledger, &item.event, contents);
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
        uint64_t head = crash_version(writer->ledger, writer->store, stream);
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
    struct os_thread threads[CRASH_WRITERS_MAX + 3] = {{.started = false}};
    struct writer writers[CRASH_WRITERS_MAX + 3];
    struct os_random random;
    enum banyan_status status;
    struct store *store;
    uint64_t before;
    size_t writer_count, count = 0;
    const os_thread_main readers[] = {read_for_ever, read_streams_for_ever, subscribe_for_ever};

    (void)alarm(CRASH_PROCESS_SECONDS_MAX);
    os_random_seed(&random, seed);
    writer_count = 1 + os_random_below(&random, os_random_below(&random, 3) == 0 ? CRASH_WRITERS_MAX : 5);
    store = crash_open(ledger, files, false, &status, &err);
    if (store == NULL)
        crash_fail(ledger, "a writer cannot open: %s: %s", banyan_status_name(status), err.message);
    before = ledger->attempt_count;
    __atomic_fetch_add(&ledger->opens, 1, __ATOMIC_SEQ_CST);
    for (; count < writer_count + 3; count++) {
        os_thread_main main = count < writer_count ? write_for_ever : readers[count - writer_count];

        writers[count] = (struct writer){ledger, store, os_random_next(&random), before};
        os_thread_start(&threads[count], "worker", main, &writers[count]);
    }
    for (size_t i = 0; i < count; i++)
        os_thread_join(&threads[i]);
    crash_fail(ledger, "the threads have ended");
}
