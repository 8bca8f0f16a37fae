/* SPDX-License-Identifier: Apache-2.0 */
/* The process that opens the store behind a crash and looks.  See crash.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"

enum {
    OLD_REPEATS = 30, /* ids that the index must still know */
};

struct check {
    struct crash_ledger *ledger;
    struct store *store;
    struct crash_content content;
    uint64_t versions[CRASH_STREAMS];
    uint64_t cursors[CRASH_CURSORS]; /* number of the attempt plus one; 0: none */
    uint64_t current;                /* attempt whose events are coming */
    uint32_t next_index;             /* of them; 0: a new attempt */
    uint8_t *seen;                   /* [number of the attempt] */
    uint8_t *acknowledged;           /* the same, before the store was opened */
    uint64_t read_position;          /* also from then */
    uint64_t count;
    bool beside;
};

static void check_version(struct check *check, const struct store_read_event *event)
{
    char name[CRASH_NAME_MAX];

    for (uint32_t i = 0; i < CRASH_STREAMS; i++) {
        if (!banyan_str_equal(event->event.stream, crash_stream(i, name)))
            continue;
        if (event->version.value != ++check->versions[i])
            crash_fail(check->ledger, "position %" PRIu64 ": %s has version %" PRIu64 ", not %" PRIu64,
                       event->position.value, name, event->version.value, check->versions[i]);
    }
}

/* Events of an attempt follow each other, from its first to its last; the last ends the batch and has the cursor. */
static void check_batch(struct check *check, const struct store_read_event *event, uint64_t number, uint32_t index)
{
    struct crash_ledger *ledger = check->ledger;
    struct crash_attempt *attempt = &ledger->attempts[number];
    bool last = index + 1 == attempt->event_count;
    struct store_cursor cursor = crash_cursor(ledger, number, &check->content);

    if (check->next_index != index || (index > 0 && check->current != number))
        crash_fail(ledger, "position %" PRIu64 ": event %u of attempt %" PRIu64 " behind event %u of %" PRIu64,
                   event->position.value, index, number, check->next_index, check->current);
    if (event->ends_batch != last)
        crash_fail(ledger, "position %" PRIu64 ": the batch ends at event %u of %u", event->position.value, index,
                   attempt->event_count);
    check->current = number;
    check->next_index = last ? 0 : index + 1;
    if (index == 0 && check->seen[number]++ != 0)
        crash_fail(ledger, "attempt %" PRIu64 " is there twice, again at %" PRIu64, number, event->position.value);
    if (attempt->first != 0 && attempt->first + index != event->position.value)
        crash_fail(ledger, "attempt %" PRIu64 " was answered %" PRIu64 " and is at %" PRIu64, number, attempt->first,
                   event->position.value - index);
    if (!last || cursor.name.size == 0) {
        if (event->cursor.name.size > 0)
            crash_fail(ledger, "position %" PRIu64 " has a cursor", event->position.value);
        return;
    }
    if (!banyan_str_equal(event->cursor.name, cursor.name) || !banyan_str_equal(event->cursor.value, cursor.value))
        crash_fail(ledger, "position %" PRIu64 ": the cursor differs", event->position.value);
    check->cursors[attempt->seed / 3 % CRASH_CURSORS] = number + 1;
}

static void check_log(struct check *check)
{
    struct crash_ledger *ledger = check->ledger;
    struct store_reader *reader = store_reader_open(check->store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    enum banyan_status status;
    uint64_t number;
    uint32_t index;

    while ((status = store_reader_next(reader, &event, &err)) == BANYAN_OK) {
        const char *differs;

        if (event.position.value != ++check->count)
            crash_fail(ledger, "position %" PRIu64 " where %" PRIu64 " was expected", event.position.value,
                       check->count);
        if (!crash_identify(ledger, &event.event, &number, &index))
            crash_fail(ledger, "position %" PRIu64 " holds an event of nobody", check->count);
        differs = crash_compare(ledger, &event.event, number, index, &check->content);
        if (differs != NULL)
            crash_fail(ledger, "position %" PRIu64 ": the %s differs", check->count, differs);
        check_version(check, &event);
        check_batch(check, &event, number, index);
    }
    store_reader_close(reader);
    if (status != BANYAN_NOT_FOUND)
        crash_fail(ledger, "reading behind %" PRIu64 ": %s", check->count, err.message);
    if (check->next_index != 0)
        crash_fail(ledger, "the log ends inside of attempt %" PRIu64, check->current);
    if (check->count != store_durable(check->store).value)
        crash_fail(ledger, "%" PRIu64 " events are read, %" PRIu64 " are durable", check->count,
                   store_durable(check->store).value);
    if (check->count < check->read_position)
        crash_fail(ledger, "a reader was given position %" PRIu64 "; %" PRIu64 " are there", check->read_position,
                   check->count);
}

/* What is there must be there, and what must not be is not.  Whatever was seen stays from now on. */
static void check_attempts(struct check *check)
{
    struct crash_ledger *ledger = check->ledger;

    for (uint64_t number = 0; number < ledger->attempt_count; number++) {
        struct crash_attempt *attempt = &ledger->attempts[number];
        bool seen = check->seen[number] != 0;

        if (check->acknowledged[number] && !seen)
            crash_fail(ledger, "LOST: attempt %" PRIu64 " (kind %d) was acknowledged at %" PRIu64, number,
                       attempt->kind, attempt->first);
        if (seen && (attempt->state == CRASH_REFUSED || attempt->kind == CRASH_ABORTED))
            crash_fail(ledger, "attempt %" PRIu64 " (kind %d) is there though it was refused or aborted", number,
                       attempt->kind);
    }
}

static void keep_seen(struct check *check)
{
    struct crash_ledger *ledger = check->ledger;
    struct store_reader *reader = store_reader_open(check->store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    uint64_t number;
    uint32_t index;

    while (store_reader_next(reader, &event, &err) == BANYAN_OK) {
        if (!crash_identify(ledger, &event.event, &number, &index) || index != 0)
            continue;
        ledger->attempts[number].first = event.position.value;
        ledger->attempts[number].state = CRASH_ACKNOWLEDGED;
    }
    store_reader_close(reader);
    ledger->read_position = check->count;
    ledger->events = check->count;
}

static void check_stream(struct check *check, uint32_t stream)
{
    struct store_reader *reader = store_reader_open(check->store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    enum banyan_status status;
    char name[CRASH_NAME_MAX];
    struct banyan_str text = crash_stream(stream, name);
    uint64_t version = 0;

    status = store_reader_stream(reader, text, (struct banyan_version){0}, &err);
    while (status == BANYAN_OK && (status = store_reader_next(reader, &event, &err)) == BANYAN_OK) {
        if (event.version.value != ++version || !banyan_str_equal(event.event.stream, text))
            crash_fail(check->ledger, "stream %s: version %" PRIu64 " where %" PRIu64 " was expected", name,
                       event.version.value, version);
    }
    if (status != BANYAN_NOT_FOUND || version != check->versions[stream])
        crash_fail(check->ledger, "stream %s ends at version %" PRIu64 ", the log has %" PRIu64 ": %s", name, version,
                   check->versions[stream], err.message);
    if (version > 0)
        status = store_reader_stream_backward(reader, text, (struct banyan_version){0}, &err);
    while (status == BANYAN_OK && (status = store_reader_next(reader, &event, &err)) == BANYAN_OK) {
        if (event.version.value != version-- || !banyan_str_equal(event.event.stream, text))
            crash_fail(check->ledger, "stream %s backwards: version %" PRIu64 " where %" PRIu64 " was expected", name,
                       event.version.value, version + 1);
    }
    if (status != BANYAN_NOT_FOUND || version != 0)
        crash_fail(check->ledger, "stream %s backwards ends at version %" PRIu64 ": %s", name, version + 1,
                   err.message);
    store_reader_close(reader);
}

static void check_index(struct check *check, struct os_random *random)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    char name[CRASH_NAME_MAX];

    for (uint32_t i = 0; i < CRASH_STREAMS; i++) {
        uint64_t head = crash_version(check->ledger, check->store, crash_stream(i, name));

        if (head != check->versions[i])
            crash_fail(check->ledger, "stream %s: the index says version %" PRIu64 ", the log %" PRIu64, name, head,
                       check->versions[i]);
    }
    check_stream(check, (uint32_t)os_random_below(random, CRASH_STREAMS));
    for (uint32_t i = 0; i < CRASH_CURSORS; i++) {
        struct banyan_str got = store_cursor(check->store, crash_cursor_name(i, name), &arena);
        struct store_cursor want = {.name = {NULL, 0}};

        if (check->cursors[i] != 0)
            want = crash_cursor(check->ledger, check->cursors[i] - 1, &check->content);
        if (!banyan_str_equal(got, want.value))
            crash_fail(check->ledger, "cursor %s is %.*s, the log says %.*s", name, (int)got.size, got.data,
                       (int)want.value.size, want.value.data);
    }
    banyan_arena_release(&arena);
}

/* All ids without an answer, and some that have one. */
static void repeat(struct check *check, struct os_random *random)
{
    struct crash_ledger *ledger = check->ledger;
    struct crash_content *contents = crash_contents_new();
    uint64_t count = ledger->attempt_count;

    for (uint64_t number = 0; number < count; number++) {
        struct crash_attempt *attempt = &ledger->attempts[number];

        if (attempt->state == CRASH_STARTED && attempt->kind != CRASH_ABORTED)
            crash_send(ledger, check->store, number, contents);
    }
    for (int i = 0; i < OLD_REPEATS && count > 0; i++) {
        uint64_t number = os_random_below(random, count);
        struct crash_attempt *attempt = &ledger->attempts[number];

        if (attempt->state == CRASH_ACKNOWLEDGED)
            crash_send(ledger, check->store, number, contents);
    }
    crash_contents_free(contents);
}

/* What must be found when the store is opened from now on. */
static void remember(struct check *check)
{
    uint64_t count = __atomic_load_n(&check->ledger->attempt_count, __ATOMIC_SEQ_CST);

    check->read_position = __atomic_load_n(&check->ledger->read_position, __ATOMIC_SEQ_CST);
    for (uint64_t i = 0; i < count; i++)
        check->acknowledged[i] =
            __atomic_load_n(&check->ledger->attempts[i].state, __ATOMIC_SEQ_CST) == CRASH_ACKNOWLEDGED;
}

/* One process at a time writes. */
static void must_be_busy(struct crash_ledger *ledger, struct os_files *files)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status;

    if (crash_open(ledger, files, false, &status, &err) != NULL || status != BANYAN_BUSY || err.hint[0] == '\0')
        crash_fail(ledger, "a second writer: %s: %s", banyan_status_name(status), err.message);
}

/* From nothing: an answer is wrong that was right before what was repeated. */
static void look(struct check *check, struct os_random *random)
{
    check->count = 0;
    check->next_index = 0;
    memset(check->versions, 0, sizeof(check->versions));
    memset(check->cursors, 0, sizeof(check->cursors));
    memset(check->seen, 0, CRASH_ATTEMPTS_MAX);
    check_log(check);
    check_attempts(check);
    check_index(check, random);
    if (!check->beside)
        keep_seen(check);
}

void crash_check(struct crash_ledger *ledger, struct os_files *files, struct crash_check how)
{
    struct check check = {.ledger = ledger, .content = {.payload = malloc(CRASH_PAYLOAD_MAX)}};
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status;
    struct store_stats stats;
    struct os_random random;

    (void)alarm(CRASH_PROCESS_SECONDS_MAX);
    os_random_seed(&random, how.seed);
    check.seen = calloc(CRASH_ATTEMPTS_MAX, 1);
    check.acknowledged = calloc(CRASH_ATTEMPTS_MAX, 1);
    check.beside = how.beside;
    if (how.beside)
        must_be_busy(ledger, files);
    remember(&check);
    check.store = crash_open(ledger, files, how.read_only, &status, &err);
    if (check.store == NULL) {
        if (how.read_only && !how.beside && ledger->opens == 0)
            _exit(0); /* no writer has made the store yet */
        crash_fail(ledger, "opening: %s: %s; %s", banyan_status_name(status), err.message, err.hint);
    }
    store_stats(check.store, &stats);
    ledger->rebuilt += stats.index_rebuilt;
    look(&check, &random);
    if (how.repeat && !how.read_only) {
        repeat(&check, &random);
        remember(&check);
        look(&check, &random);
    }
    if (os_random_below(&random, 2) == 0) /* else it ends like a killed one */
        store_close(check.store);
    _exit(0);
}
