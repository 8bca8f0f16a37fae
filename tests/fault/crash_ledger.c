/* SPDX-License-Identifier: Apache-2.0 */
/* What an attempt consists of, and sending it.  See crash.h. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crash.h"

enum {
    TYPES = 3,
    HEAD_BYTES = 16, /* of each payload: number of the attempt, number of the event, seed */
};

struct crash_ledger *crash_ledger_new(void)
{
    struct crash_ledger *ledger =
        mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (ledger == MAP_FAILED) {
        perror("mmap");
        abort();
    }
    return ledger;
}

void crash_ledger_start(struct crash_ledger *ledger, uint64_t seed, const char *folder)
{
    static const uint64_t index_events[] = {5, 40, 200, 1000, 0}; /* runs are written often, or never */
    struct os_random random;

    os_random_seed(&random, seed);
    memset(ledger->attempts, 0, sizeof(ledger->attempts[0]) * ledger->attempt_count);
    memset(ledger, 0, offsetof(struct crash_ledger, attempts));
    ledger->seed = seed;
    (void)snprintf(ledger->folder, sizeof(ledger->folder), "%s", folder);
    ledger->index_events_max = index_events[os_random_below(&random, sizeof(index_events) / sizeof(index_events[0]))];
    ledger->segment_bytes = (64 << os_random_below(&random, 4)) * 1024; /* 64 KiB … 512 KiB */
}

void crash_fail(struct crash_ledger *ledger, const char *format, ...)
{
    va_list arguments;

    if (__atomic_test_and_set(&ledger->failure[sizeof(ledger->failure) - 1], __ATOMIC_SEQ_CST) == 0) {
        va_start(arguments, format);
        (void)vsnprintf(ledger->failure, sizeof(ledger->failure) - 1, format, arguments);
        va_end(arguments);
    }
    _exit(9);
}

struct crash_content *crash_contents_new(void)
{
    struct crash_content *contents = calloc(CRASH_EVENTS_MAX, sizeof(*contents));

    for (size_t i = 0; i < CRASH_EVENTS_MAX; i++)
        contents[i].payload = malloc(CRASH_PAYLOAD_MAX);
    return contents;
}

void crash_contents_free(struct crash_content *contents)
{
    for (size_t i = 0; i < CRASH_EVENTS_MAX; i++)
        free(contents[i].payload);
    free(contents);
}

struct banyan_str crash_stream(uint32_t stream, char name[CRASH_NAME_MAX])
{
    static const char *const categories[] = {"order", "account", "o", "payment"};
    int size = snprintf(name, CRASH_NAME_MAX, "%s-%u", categories[stream % 4], stream);

    return (struct banyan_str){name, (size_t)size};
}

struct banyan_str crash_cursor_name(uint32_t cursor, char name[CRASH_NAME_MAX])
{
    return (struct banyan_str){name, (size_t)snprintf(name, CRASH_NAME_MAX, "source-%u", cursor)};
}

static size_t payload_size(const struct crash_attempt *attempt, struct os_random *random)
{
    if (attempt->kind == CRASH_BIG)
        return 100000 + os_random_below(random, CRASH_PAYLOAD_MAX - 100000);
    if (os_random_below(random, 60) == 0)
        return HEAD_BYTES + os_random_below(random, 20000);
    return HEAD_BYTES + os_random_below(random, 250);
}

struct store_event crash_event(const struct crash_ledger *ledger, uint64_t number, uint32_t index,
                               struct crash_content *content)
{
    static const char *const types[TYPES] = {"Created", "Changed", "Closed"};
    const struct crash_attempt *attempt = &ledger->attempts[number];
    struct os_random random;
    struct store_event event = {.at = {(int64_t)(number * 1000 + index)}};
    uint32_t seed = (uint32_t)ledger->seed;
    uint64_t bits;
    size_t size;

    os_random_seed(&random, attempt->seed + index * UINT64_C(0x9E3779B97F4A7C15));
    for (size_t i = 0; i < sizeof(event.id.bytes); i += sizeof(bits)) {
        bits = os_random_next(&random);
        memcpy(event.id.bytes + i, &bits, sizeof(bits));
    }
    event.stream = crash_stream(attempt->kind == CRASH_VERSION ? attempt->stream
                                                               : (uint32_t)os_random_below(&random, CRASH_STREAMS),
                                content->stream);
    event.type = banyan_str_of(types[os_random_below(&random, TYPES)]);
    event.schema = (uint16_t)os_random_below(&random, 3);
    event.provenance = (enum banyan_provenance)os_random_below(&random, BANYAN_RECONCILED + 1);
    if (os_random_below(&random, 5) == 0)
        event.meta = BANYAN_STR("{\"trace\":\"4bf92f3577b34da6\"}");
    size = payload_size(attempt, &random);
    memset(content->payload, (int)(os_random_next(&random) & 0xff), size);
    memcpy(content->payload, &number, sizeof(number));
    memcpy(content->payload + 8, &index, sizeof(index));
    memcpy(content->payload + 12, &seed, sizeof(seed));
    event.payload = (struct banyan_str){content->payload, size};
    return event;
}

struct store_cursor crash_cursor(const struct crash_ledger *ledger, uint64_t number, struct crash_content *content)
{
    const struct crash_attempt *attempt = &ledger->attempts[number];
    struct store_cursor cursor = {.name = {NULL, 0}};
    int size;

    if (attempt->kind != CRASH_LARGE && (attempt->kind != CRASH_MULTI || attempt->seed % 3 != 0))
        return cursor;
    cursor.name = crash_cursor_name((uint32_t)(attempt->seed / 3 % CRASH_CURSORS), content->cursor);
    size = snprintf(content->value, sizeof(content->value), "%" PRIx64 "/%" PRIx64, number, attempt->seed);
    cursor.value = (struct banyan_str){content->value, (size_t)size};
    return cursor;
}

bool crash_identify(const struct crash_ledger *ledger, const struct store_event *event, uint64_t *ret_number,
                    uint32_t *ret_index)
{
    uint32_t seed;

    if (event->payload.size < HEAD_BYTES)
        return false;
    memcpy(ret_number, event->payload.data, sizeof(*ret_number));
    memcpy(ret_index, event->payload.data + 8, sizeof(*ret_index));
    memcpy(&seed, event->payload.data + 12, sizeof(seed));
    return seed == (uint32_t)ledger->seed && *ret_number < __atomic_load_n(&ledger->attempt_count, __ATOMIC_SEQ_CST) &&
           *ret_index < ledger->attempts[*ret_number].event_count;
}

const char *crash_compare(const struct crash_ledger *ledger, const struct store_event *got, uint64_t number,
                          uint32_t index, struct crash_content *content)
{
    struct store_event want = crash_event(ledger, number, index, content);

    if (!banyan_uuid_equal(got->id, want.id))
        return "id";
    if (!banyan_str_equal(got->stream, want.stream))
        return "stream";
    if (!banyan_str_equal(got->type, want.type) || got->schema != want.schema)
        return "type";
    if (got->payload.size != want.payload.size || memcmp(got->payload.data, want.payload.data, want.payload.size) != 0)
        return "payload";
    if (got->meta.size != want.meta.size ||
        (want.meta.size > 0 && memcmp(got->meta.data, want.meta.data, want.meta.size) != 0))
        return "metadata";
    if (got->at.us != want.at.us || got->provenance != want.provenance)
        return "time or provenance";
    return NULL;
}

struct store *crash_open(struct crash_ledger *ledger, struct os_files *files, bool read_only,
                         enum banyan_status *ret_status, struct banyan_error *err)
{
    struct store_options options = {
        .folder = ledger->folder,
        .files = files,
        .segment_bytes = ledger->segment_bytes,
        .index_events_max = ledger->index_events_max,
        .index_filter_bytes_max = ledger->index_events_max == 5 ? 64 : 0,
        .read_only = read_only,
    };
    struct store *store = NULL;

    *ret_status = store_open(&options, &store, err);
    return store;
}

uint64_t crash_version(struct crash_ledger *ledger, struct store *store, struct banyan_str stream)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_head head;

    if (store_head(store, stream, &head, &err) != BANYAN_OK)
        crash_fail(ledger, "the head of %.*s: %s", (int)stream.size, stream.data, err.message);
    return head.version.value;
}

/* The answer to attempt *number*, whose state was *before* when it was sent: others may repeat it at the same time. */
static void note(struct crash_ledger *ledger, uint64_t number, uint8_t before, const struct store_appended *appended)
{
    struct crash_attempt *attempt = &ledger->attempts[number];

    if (appended->last.value - appended->first.value + 1 != attempt->event_count)
        crash_fail(ledger, "attempt %" PRIu64 ": %u events got positions %" PRIu64 " to %" PRIu64, number,
                   attempt->event_count, appended->first.value, appended->last.value);
    if (before == CRASH_ACKNOWLEDGED && (!appended->repeated || appended->first.value != attempt->first))
        crash_fail(ledger, "attempt %" PRIu64 " was answered %" PRIu64 ", its repeat %" PRIu64 " (repeated: %d)",
                   number, attempt->first, appended->first.value, appended->repeated);
    if (appended->repeated)
        __atomic_fetch_add(&ledger->repeats, 1, __ATOMIC_SEQ_CST);
    attempt->first = appended->first.value;
    if (__atomic_exchange_n(&attempt->state, CRASH_ACKNOWLEDGED, __ATOMIC_SEQ_CST) != CRASH_ACKNOWLEDGED)
        __atomic_fetch_add(&ledger->acknowledged, 1, __ATOMIC_SEQ_CST);
}

static enum banyan_status try_large(struct crash_ledger *ledger, struct store *store, uint64_t number,
                                    struct crash_content *content, struct store_appended *ret, struct banyan_error *err)
{
    struct crash_attempt *attempt = &ledger->attempts[number];
    enum banyan_status status = store_batch_begin(store, err);

    if (status != BANYAN_OK)
        return status;
    for (uint32_t i = 0; i < attempt->event_count && status == BANYAN_OK; i++) {
        struct store_event event = crash_event(ledger, number, i, content);

        status = store_batch_add(store, &event, err);
    }
    if (status == BANYAN_OK && attempt->kind == CRASH_LARGE)
        status = store_batch_commit(store, crash_cursor(ledger, number, content), ret, err);
    if (status != BANYAN_OK || attempt->kind == CRASH_ABORTED)
        store_batch_abort(store); /* nothing where the commit had closed it */
    return status;
}

static enum banyan_status try_append(struct crash_ledger *ledger, struct store *store, uint64_t number,
                                     struct crash_content *contents, struct store_appended *ret,
                                     struct banyan_error *err)
{
    struct crash_attempt *attempt = &ledger->attempts[number];
    struct store_event events[CRASH_EVENTS_MAX];
    struct store_condition condition = {.expect = STORE_EXPECT_VERSION, .version = {attempt->expected}};
    struct store_append append = {.events = events, .event_count = attempt->event_count};
    enum banyan_status status;
    char name[CRASH_NAME_MAX];

    for (uint32_t i = 0; i < attempt->event_count; i++)
        events[i] = crash_event(ledger, number, i, &contents[i]);
    append.cursor = crash_cursor(ledger, number, &contents[0]);
    if (attempt->kind == CRASH_VERSION) {
        condition.stream = crash_stream(attempt->stream, name);
        append.conditions = &condition;
        append.condition_count = 1;
    }
    if (attempt->seed % 7 != 0)
        return store_append(store, &append, ret, err);
    status = store_submit(store, &append, ret, err); /* as one does who has more to send before he waits */
    return status == BANYAN_OK ? store_wait(store, ret->last, INT64_MAX, err) : status;
}

enum banyan_status crash_try(struct crash_ledger *ledger, struct store *store, uint64_t number,
                             struct crash_content *contents, struct banyan_error *err)
{
    struct crash_attempt *attempt = &ledger->attempts[number];
    uint8_t before = __atomic_load_n(&attempt->state, __ATOMIC_SEQ_CST);
    struct store_appended appended = {.repeated = false};
    bool large = attempt->kind == CRASH_LARGE || attempt->kind == CRASH_ABORTED;
    enum banyan_status status = large ? try_large(ledger, store, number, contents, &appended, err)
                                      : try_append(ledger, store, number, contents, &appended, err);

    if (status == BANYAN_OK && attempt->kind != CRASH_ABORTED)
        note(ledger, number, before, &appended);
    if (status == BANYAN_CONFLICT && attempt->kind == CRASH_VERSION && before != CRASH_ACKNOWLEDGED)
        __atomic_store_n(&attempt->state, CRASH_REFUSED, __ATOMIC_SEQ_CST);
    return status;
}

bool crash_expected(const struct crash_ledger *ledger, uint64_t number, enum banyan_status status)
{
    const struct crash_attempt *attempt = &ledger->attempts[number];

    if (status == BANYAN_OK)
        return true;
    /* A batch takes new ids only: it is there already, and the checker looks at it. */
    if (status == BANYAN_DUPLICATE)
        return attempt->kind == CRASH_LARGE;
    return status == BANYAN_CONFLICT && attempt->kind == CRASH_VERSION && attempt->state == CRASH_REFUSED;
}

void crash_send(struct crash_ledger *ledger, struct store *store, uint64_t number, struct crash_content *contents)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = crash_try(ledger, store, number, contents, &err);

    if (!crash_expected(ledger, number, status))
        crash_fail(ledger, "attempt %" PRIu64 " (kind %d, state %d): %s: %s", number, ledger->attempts[number].kind,
                   ledger->attempts[number].state, banyan_status_name(status), err.message);
}
