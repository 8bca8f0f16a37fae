/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeded random operations on a store against a slow simple model in memory: appends with right and wrong conditions,
 * repeats, large batches, cursors, reads from anywhere either way and filtered, subscriptions, full disks, a clock that
 * jumps in both directions, openings after an orderly close and after a kill.
 *
 * BANYAN_TEST_SECONDS: go on with new seeds for so long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/clock.h"
#include "os/random.h"
#include "store/store.h"
#include "store/subscribe.h"
#include "support/head_version.h"

enum {
    CATEGORIES = 3,
    STREAMS = 40, /* number 0 gets half of the events: long enough for jumps over jumps */
    CURSORS = 4,
    EVENTS_MAX = 400000,
    APPENDS_MAX = 20000,
    APPEND_EVENTS_MAX = 6,
};

static const char *const categories[CATEGORIES] = {"s", "order", "o"};

struct model_event {
    struct banyan_uuid id;
    uint32_t stream;
    uint64_t version;
    uint64_t content; /* payload and type follow from it */
    int32_t cursor;   /* -1: none */
    uint64_t cursor_value;
};

struct model_append {
    uint64_t first;
    uint32_t count;
};

/* The wall clock is moved by the test, the other one is real. */
struct jumping_clock {
    struct os_clock base;
    int64_t now_us; /* atomic */
};

struct world {
    struct os_random random;
    char folder[FOLDER_PATH_MAX];
    struct os_files_test files; /* flushes do nothing: a killed process does not take the kernel with it */
    struct jumping_clock clock;
    struct store *store;
    struct model_event *events; /* [position - 1] */
    uint64_t count;
    struct model_append *appends;
    size_t append_count;
    uint64_t versions[STREAMS];
    uint64_t cursors[CURSORS]; /* 0: none */
    uint64_t next_content;
    char names[STREAMS][24];
    char payloads[APPEND_EVENTS_MAX][8192];
    char value[32];
};

static enum banyan_status no_sync(struct os_file *file, struct banyan_error *err)
{
    (void)file;
    (void)err;
    return BANYAN_OK;
}

static struct banyan_time jumping_now(struct os_clock *clock)
{
    return (struct banyan_time){__atomic_load_n(&((struct jumping_clock *)clock)->now_us, __ATOMIC_SEQ_CST)};
}

static uint64_t below(struct world *world, uint64_t bound)
{
    return os_random_below(&world->random, bound);
}

static void open_store(struct world *world)
{
    static const uint64_t events_max[] = {0, 5, 40, 200, 1000}, filter_bytes_max[] = {0, 64, 4096};
    struct store_options options = {
        .folder = world->folder,
        .files = &world->files.base,
        .clock = &world->clock.base,
        .segment_bytes = 1024 * 1024,
        .index_events_max = events_max[below(world, 5)],
        .index_filter_bytes_max = filter_bytes_max[below(world, 3)],
    };
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (store_open(&options, &world->store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    assert_int_equal(store_durable(world->store).value, world->count);
}

static struct banyan_str payload_of(uint64_t content, char out[8192])
{
    size_t size = content % 97 == 0 ? 5000 + content % 3000 : content % 61;

    memset(out, 'a' + (int)(content % 26), size);
    if (size >= 8)
        memcpy(out, &content, 8);
    return (struct banyan_str){out, size};
}

static struct banyan_str cursor_name(int32_t cursor)
{
    static const char *const names[CURSORS] = {"wal", "backfill-orders", "b", "backfill-order"};

    return banyan_str_of(names[cursor]);
}

static struct banyan_str cursor_value(uint64_t value, char out[32])
{
    return (struct banyan_str){out, (size_t)snprintf(out, 32, "0/%llX", (unsigned long long)value)};
}

static uint32_t any_stream(struct world *world)
{
    return below(world, 2) == 0 ? 0 : (uint32_t)below(world, STREAMS);
}

static struct store_event event_from(struct world *world, const struct model_event *model, char buffer[8192])
{
    return (struct store_event){
        .id = model->id,
        .stream = banyan_str_of(world->names[model->stream]),
        .type = model->content % 3 == 0 ? BANYAN_STR("Created") : BANYAN_STR("Changed"),
        .schema = (uint16_t)(model->content % 5),
        .provenance = (enum banyan_provenance)(model->content % 4),
        .at = {(int64_t)model->content - 1000},
        .payload = payload_of(model->content, buffer),
        .meta = model->content % 7 == 0 ? BANYAN_STR("{\"k\":\"v\"}") : (struct banyan_str){NULL, 0},
    };
}

static struct model_event new_event(struct world *world, uint32_t stream)
{
    struct model_event event = {.stream = stream, .content = ++world->next_content, .cursor = -1};

    for (size_t i = 0; i < sizeof(event.id.bytes); i += 8) {
        uint64_t bits = os_random_next(&world->random);

        memcpy(event.id.bytes + i, &bits, 8);
    }
    return event;
}

/* Take new events into the model. */
static void accept(struct world *world, struct model_event *events, uint32_t count, int32_t cursor, uint64_t value)
{
    for (uint32_t i = 0; i < count; i++) {
        assert_true(world->count < EVENTS_MAX);
        events[i].version = ++world->versions[events[i].stream];
        events[i].cursor = i + 1 == count ? cursor : -1;
        events[i].cursor_value = value;
        world->events[world->count++] = events[i];
    }
    if (cursor >= 0)
        world->cursors[cursor] = value;
}

static void check_event(struct world *world, const struct store_read_event *got, uint64_t position)
{
    static char buffer[8192], value[32];
    const struct model_event *model = &world->events[position - 1];
    struct store_event want = event_from(world, model, buffer);

    assert_int_equal(got->position.value, position);
    assert_int_equal(got->version.value, model->version);
    assert_memory_equal(&got->event.id, &want.id, sizeof(want.id));
    assert_true(banyan_str_equal(got->event.stream, want.stream));
    assert_true(banyan_str_equal(got->event.type, want.type));
    assert_int_equal(got->event.payload.size, want.payload.size);
    assert_memory_equal(got->event.payload.data, want.payload.data, want.payload.size);
    assert_int_equal(got->event.meta.size, want.meta.size);
    assert_int_equal(got->event.schema, want.schema);
    assert_int_equal(got->event.provenance, want.provenance);
    assert_int_equal(got->event.at.us, want.at.us);
    if (model->cursor < 0) {
        assert_int_equal(got->cursor.name.size, 0);
    } else {
        assert_true(banyan_str_equal(got->cursor.name, cursor_name(model->cursor)));
        assert_true(banyan_str_equal(got->cursor.value, cursor_value(model->cursor_value, value)));
    }
}

/* ---- operations ---- */

/* Conditions, some of which may not hold; returns whether all do. */
static bool make_conditions(struct world *world, struct store_condition *conditions, size_t count)
{
    bool all = true;

    for (size_t i = 0; i < count; i++) {
        uint32_t stream = any_stream(world);
        uint64_t version = world->versions[stream];

        conditions[i] = (struct store_condition){.stream = banyan_str_of(world->names[stream])};
        switch (below(world, 8)) {
        case 0:
            conditions[i].expect = STORE_EXPECT_ABSENT;
            all &= version == 0;
            break;
        case 1:
        case 2:
            conditions[i].expect = STORE_EXPECT_EXISTS;
            all &= version > 0;
            break;
        case 3:
            conditions[i].expect = STORE_EXPECT_NONE;
            break;
        default:
            conditions[i].expect = STORE_EXPECT_VERSION;
            conditions[i].version.value = version + (below(world, 10) == 0);
            all &= conditions[i].version.value == version;
        }
    }
    return all;
}

static void do_append(struct world *world)
{
    struct model_event models[APPEND_EVENTS_MAX];
    struct store_event events[APPEND_EVENTS_MAX];
    struct store_condition conditions[3];
    uint32_t count = 1 + (uint32_t)below(world, APPEND_EVENTS_MAX);
    struct store_append append = {.events = events, .event_count = count, .conditions = conditions};
    int32_t cursor = below(world, 3) == 0 ? (int32_t)below(world, CURSORS) : -1;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    enum banyan_status status;
    bool holds;

    append.condition_count = below(world, 4);
    holds = make_conditions(world, conditions, append.condition_count);
    for (uint32_t i = 0; i < count; i++) {
        models[i] = new_event(world, any_stream(world));
        events[i] = event_from(world, &models[i], world->payloads[i]);
    }
    if (cursor >= 0)
        append.cursor = (struct store_cursor){cursor_name(cursor), cursor_value(world->next_content, world->value)};
    if (below(world, 30) == 0 && count > 1) { /* the same id twice */
        events[count - 1].id = events[0].id;
        assert_int_equal(store_append(world->store, &append, &appended, &err), BANYAN_DUPLICATE);
        return;
    }
    status = below(world, 8) == 0 ? store_append(world->store, &append, &appended, &err)
                                  : store_submit(world->store, &append, &appended, &err);
    if (!holds) {
        assert_int_equal(status, BANYAN_CONFLICT);
        assert_true(err.hint[0] != 0);
        return;
    }
    if (status != BANYAN_OK)
        fail_msg("%s", err.message);
    assert_false(appended.repeated);
    assert_int_equal(appended.first.value, world->count + 1);
    assert_int_equal(appended.last.value, world->count + count);
    assert_true(world->append_count < APPENDS_MAX);
    world->appends[world->append_count++] = (struct model_append){appended.first.value, count};
    accept(world, models, count, cursor, world->next_content);
}

static void do_repeat(struct world *world)
{
    struct store_event events[APPEND_EVENTS_MAX];
    struct store_condition never = {.stream = BANYAN_STR("no-stream"), .expect = STORE_EXPECT_EXISTS};
    struct store_append append = {.events = events, .conditions = &never, .condition_count = 1};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct model_append *before;
    struct store_appended appended;
    struct model_event fresh;

    if (world->append_count == 0)
        return;
    /* Often one of the last: it may not be durable yet. */
    before = &world->appends[below(world, 2) == 0 ? world->append_count - 1 : below(world, world->append_count)];
    append.event_count = before->count;
    for (uint32_t i = 0; i < before->count; i++)
        events[i] = event_from(world, &world->events[before->first - 1 + i], world->payloads[i]);
    switch (below(world, 5)) {
    case 0: /* other content */
        if (below(world, 2) == 0)
            events[before->count - 1].type = BANYAN_STR("Other");
        else
            events[before->count - 1].payload = BANYAN_STR("something else");
        assert_int_equal(store_append(world->store, &append, &appended, &err), BANYAN_DUPLICATE);
        assert_true(err.hint[0] != 0);
        return;
    case 1: /* some known, some new */
        if (before->count == APPEND_EVENTS_MAX)
            return;
        fresh = new_event(world, 0);
        events[append.event_count] = event_from(world, &fresh, world->payloads[append.event_count]);
        append.event_count++;
        assert_int_equal(store_append(world->store, &append, &appended, &err), BANYAN_DUPLICATE);
        return;
    case 2: /* what does not belong to the content may differ */
        events[0].at.us += 1;
        events[0].meta = BANYAN_STR("{}");
        break;
    default:
        break;
    }
    assert_int_equal(store_submit(world->store, &append, &appended, &err), BANYAN_OK);
    assert_true(appended.repeated);
    assert_int_equal(appended.first.value, before->first);
    assert_int_equal(appended.last.value, before->first + before->count - 1);
}

/* Add events to the open batch; at its end, sometimes, an id that was used before. */
static void add_events(struct world *world, const struct model_event *models, uint64_t count, bool spoil)
{
    struct store_cursor cursor = {.name = {NULL, 0}};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    struct store_event event;

    for (uint64_t i = 0; i < count; i++) {
        event = event_from(world, &models[i], world->payloads[0]);
        if (store_batch_add(world->store, &event, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
    }
    assert_int_equal(store_tail(world->store).value, world->count);
    assert_int_equal(head_version(world->store, banyan_str_of(world->names[0])), world->versions[0]);
    if (!spoil)
        return;
    if (world->count > 0 && below(world, 2) == 0) /* in the batch, or before it */
        event = event_from(world, &world->events[below(world, world->count)], world->payloads[0]);
    assert_int_equal(store_batch_add(world->store, &event, &err), BANYAN_DUPLICATE);
    assert_int_equal(store_batch_commit(world->store, cursor, &appended, NULL), BANYAN_DUPLICATE);
}

static void do_batch(struct world *world)
{
    uint64_t count = 1 + below(world, below(world, 10) == 0 ? 6000 : 200);
    struct model_event *models = malloc(count * sizeof(*models));
    struct store_cursor cursor = {.name = {NULL, 0}};
    struct banyan_error err = BANYAN_ERROR_INIT;
    int32_t cursor_number = below(world, 2) == 0 ? (int32_t)below(world, CURSORS) : -1;
    struct store_appended appended;

    for (uint64_t i = 0; i < count; i++)
        models[i] = new_event(world, any_stream(world));
    if (below(world, 3) == 0) { /* given up, and perhaps tried again with the same ids */
        assert_int_equal(store_batch_begin(world->store, &err), BANYAN_OK);
        add_events(world, models, count, below(world, 2) == 0);
        store_batch_abort(world->store);
        assert_int_equal(store_tail(world->store).value, world->count);
        if (below(world, 2) == 0)
            goto out;
    }
    assert_int_equal(store_batch_begin(world->store, &err), BANYAN_OK);
    add_events(world, models, count, false);
    if (cursor_number >= 0)
        cursor = (struct store_cursor){cursor_name(cursor_number), cursor_value(world->next_content, world->value)};
    if (store_batch_commit(world->store, cursor, &appended, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    assert_int_equal(appended.first.value, world->count + 1);
    assert_int_equal(appended.last.value, world->count + count);
    accept(world, models, (uint32_t)count, cursor_number, world->next_content);
    assert_int_equal(store_tail(world->store).value, world->count);
out:
    free(models);
}

static void do_read_all(struct world *world)
{
    struct store_reader *reader = store_reader_open(world->store);
    uint64_t durable = store_durable(world->store).value, position = 1 + below(world, durable + 1), read = 0;
    uint64_t limit = below(world, 3000);
    struct store_read_event event;
    enum banyan_status status = BANYAN_OK;

    assert_true(durable <= world->count);
    assert_int_equal(store_reader_seek(reader, (struct banyan_position){position}, NULL), BANYAN_OK);
    for (; read < limit && (status = store_reader_next(reader, &event, NULL)) == BANYAN_OK; read++)
        check_event(world, &event, position + read);
    if (status != BANYAN_OK) {
        assert_int_equal(status, BANYAN_NOT_FOUND);
        assert_true(position + read > durable);
    }
    assert_int_equal(store_reader_seek(reader, (struct banyan_position){world->count + 2}, NULL), BANYAN_INVALID);
    store_reader_close(reader);
}

static void do_read_stream(struct world *world)
{
    struct store_reader *reader = store_reader_open(world->store);
    uint32_t stream = any_stream(world);
    uint64_t durable = store_durable(world->store).value, version = below(world, world->versions[stream] + 2);
    uint64_t limit = below(world, 3) == 0 ? 2000 : 5, position = 0, seen = 0;
    struct store_read_event event;
    enum banyan_status status;

    status = store_reader_stream(reader, banyan_str_of(world->names[stream]), (struct banyan_version){version}, NULL);
    if (status == BANYAN_NOT_FOUND) { /* none of it may be durable then */
        for (uint64_t i = 0; i < durable; i++)
            assert_int_not_equal(world->events[i].stream, stream);
        limit = 0;
    } else {
        assert_int_equal(status, BANYAN_OK);
    }
    if (version == 0)
        version = 1;
    while (seen < limit && (status = store_reader_next(reader, &event, NULL)) == BANYAN_OK) {
        assert_int_equal(event.version.value, version + seen);
        assert_true(event.position.value > position);
        position = event.position.value;
        assert_int_equal(world->events[position - 1].stream, stream);
        check_event(world, &event, position);
        seen++;
    }
    if (limit > 0 && status != BANYAN_OK) { /* the end: all that was durable before was given */
        assert_int_equal(status, BANYAN_NOT_FOUND);
        for (uint64_t i = position; i < durable; i++) {
            if (world->events[i].stream == stream)
                assert_true(world->events[i].version < version);
        }
    }
    store_reader_close(reader);
}

/* The disk is full for a moment: the append says so or does without, and its repeat succeeds. */
static void do_full_disk(struct world *world)
{
    struct model_event models[APPEND_EVENTS_MAX];
    struct store_event events[APPEND_EVENTS_MAX];
    uint32_t count = 1 + (uint32_t)below(world, APPEND_EVENTS_MAX);
    struct store_append append = {.events = events, .event_count = count};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    enum banyan_status status;

    for (uint32_t i = 0; i < count; i++) {
        models[i] = new_event(world, any_stream(world));
        events[i] = event_from(world, &models[i], world->payloads[i]);
    }
    __atomic_store_n(&world->files.bytes_left, below(world, 3000), __ATOMIC_SEQ_CST);
    status = store_append(world->store, &append, &appended, &err);
    __atomic_store_n(&world->files.bytes_left, UINT64_MAX, __ATOMIC_SEQ_CST);
    if (status != BANYAN_OK) {
        if (status != BANYAN_NO_SPACE)
            fail_msg("a full disk: %s: %s", banyan_status_name(status), err.message);
        assert_true(err.hint[0] != 0);
        banyan_error_clear(&err);
        if (store_append(world->store, &append, &appended, &err) != BANYAN_OK)
            fail_msg("with room again: %s", err.message);
    }
    assert_int_equal(appended.first.value, world->count + 1);
    assert_int_equal(appended.last.value, world->count + count);
    accept(world, models, count, -1, 0);
}

static void do_read_backward(struct world *world)
{
    struct store_reader *reader = store_reader_open(world->store);
    uint32_t stream = any_stream(world);
    uint64_t version = below(world, world->versions[stream] + 1), limit = below(world, 3) == 0 ? 2000 : 5;
    uint64_t durable = store_durable(world->store).value, last = 0;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    enum banyan_status status;

    for (uint64_t i = 0; i < durable; i++) {
        if (world->events[i].stream == stream)
            last = world->events[i].version;
    }
    status = store_reader_stream_backward(reader, banyan_str_of(world->names[stream]), (struct banyan_version){version},
                                          &err);
    if (status == BANYAN_NOT_FOUND) {
        assert_int_equal(last, 0);
        limit = 0;
    } else if (status != BANYAN_OK) {
        fail_msg("%s", err.message);
    }
    for (uint64_t seen = 0, next = version; seen < limit; seen++) {
        status = store_reader_next(reader, &event, &err);
        if (status == BANYAN_NOT_FOUND) {
            assert_true(next == 1 || (seen == 0 && last < (version == 0 ? 1 : version)));
            break;
        }
        assert_int_equal(status, BANYAN_OK);
        if (seen == 0) /* more may have become durable since */
            assert_true(event.version.value >= (version == 0 || version > last ? last : version));
        else
            assert_int_equal(event.version.value, next - 1);
        next = event.version.value;
        check_event(world, &event, event.position.value);
        assert_int_equal(world->events[event.position.value - 1].stream, stream);
    }
    store_reader_close(reader);
}

/* ---- filters ---- */

struct wanted {
    struct banyan_str types[2], categories[2];
    struct store_filter filter;
};

static void make_filter(struct world *world, struct wanted *wanted)
{
    const struct banyan_str types[] = {BANYAN_STR("Created"), BANYAN_STR("Changed"), BANYAN_STR("Never")};

    for (int i = 0; i < 2; i++) {
        wanted->types[i] = types[below(world, 3)];
        wanted->categories[i] = banyan_str_of(categories[below(world, CATEGORIES)]);
    }
    wanted->filter = (struct store_filter){
        .types = wanted->types,
        .type_count = below(world, 3),
        .categories = wanted->categories,
        .category_count = below(world, 3),
    };
}

static bool among(struct banyan_str text, const struct banyan_str *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (banyan_str_equal(text, list[i]))
            return true;
    }
    return count == 0;
}

static bool passes(const struct world *world, const struct wanted *wanted, uint64_t position)
{
    const struct model_event *model = &world->events[position - 1];
    struct banyan_str type = model->content % 3 == 0 ? BANYAN_STR("Created") : BANYAN_STR("Changed");

    return among(type, wanted->filter.types, wanted->filter.type_count) &&
           among(banyan_str_of(categories[model->stream % CATEGORIES]), wanted->filter.categories,
                 wanted->filter.category_count);
}

/* The next position from *position* on that passes; behind the durable end: 0. */
static uint64_t next_passing(const struct world *world, const struct wanted *wanted, uint64_t position, uint64_t end)
{
    for (; position <= end; position++) {
        if (passes(world, wanted, position))
            return position;
    }
    return 0;
}

static void do_read_filtered(struct world *world)
{
    struct store_reader *reader = store_reader_open(world->store);
    uint64_t durable = store_durable(world->store).value, position = 1 + below(world, durable + 1);
    uint64_t limit = below(world, 2000);
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_OK;
    struct store_read_event event;
    struct wanted wanted;

    make_filter(world, &wanted);
    store_reader_filter(reader, &wanted.filter);
    assert_int_equal(store_reader_seek(reader, (struct banyan_position){position}, NULL), BANYAN_OK);
    while (limit-- > 0 && (status = store_reader_next(reader, &event, &err)) == BANYAN_OK) {
        position = next_passing(world, &wanted, position, world->count);
        assert_int_equal(event.position.value, position);
        check_event(world, &event, position);
        assert_true(store_reader_passed(reader).value >= position);
        position++;
    }
    if (status != BANYAN_OK) {
        if (status != BANYAN_NOT_FOUND)
            fail_msg("%s", err.message);
        assert_int_equal(next_passing(world, &wanted, position, durable), 0);
        assert_true(store_reader_passed(reader).value >= durable);
    }
    store_reader_close(reader);
}

static void do_subscribe(struct world *world)
{
    uint64_t durable = store_durable(world->store).value;
    struct store_subscribe from = {.after = {below(world, durable + 1)}, .since = {BANYAN_TIME_NULL}};
    struct store_subscription *subscription = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_subscription_item item;
    uint64_t position = from.after.value + 1, limit = below(world, 2000), caught_up = 0;
    enum banyan_status status = BANYAN_OK;
    struct wanted wanted;

    make_filter(world, &wanted);
    from.filter = &wanted.filter;
    if (store_subscription_open(world->store, &from, &subscription, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    while (limit-- > 0 && (status = store_subscription_next(subscription, 0, &item, &err)) == BANYAN_OK) {
        if (item.kind == STORE_SUBSCRIPTION_CAUGHT_UP) {
            assert_int_equal(next_passing(world, &wanted, position, item.position.value), 0);
            position = item.position.value + 1;
            caught_up = item.position.value;
            continue;
        }
        position = next_passing(world, &wanted, position, world->count);
        assert_int_equal(item.event.position.value, position);
        assert_int_equal(item.position.value, position);
        check_event(world, &item.event, position);
        position++;
    }
    if (status != BANYAN_OK) {
        if (status != BANYAN_TIMEOUT)
            fail_msg("%s", err.message);
        assert_true(caught_up >= durable);
    }
    store_subscription_close(subscription);
}

/* ---- time ---- */

/* The clock goes on, and now and then back. */
static void move_clock(struct world *world)
{
    int64_t by = (int64_t)below(world, 3000);

    if (below(world, 40) == 0)
        by = (int64_t)below(world, 20000000) - 10000000;
    __atomic_fetch_add(&world->clock.now_us, by, __ATOMIC_SEQ_CST);
}

static void do_find_time(struct world *world)
{
    struct store_reader *reader = store_reader_open(world->store);
    struct banyan_time time = {world->clock.now_us - (int64_t)below(world, 30000000) + 10000000};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_position got, last = {world->count};
    struct store_read_event event;
    uint64_t want = 0, count = 0;

    assert_int_equal(store_wait(world->store, last, INT64_MAX, NULL), BANYAN_OK);
    if (store_position_at(world->store, time, &got, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    while (want == 0 && store_reader_next(reader, &event, &err) == BANYAN_OK) {
        count++;
        if (event.recorded_at.us >= time.us)
            want = event.position.value;
    }
    assert_int_equal(got.value, want == 0 ? count + 1 : want);
    store_reader_close(reader);
}

static void check_index(struct world *world)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    char value[32];

    for (uint32_t i = 0; i < STREAMS; i++)
        assert_int_equal(head_version(world->store, banyan_str_of(world->names[i])), world->versions[i]);
    for (int32_t i = 0; i < CURSORS; i++) {
        struct banyan_str got = store_cursor(world->store, cursor_name(i), &arena);

        if (world->cursors[i] == 0)
            assert_null(got.data);
        else
            assert_true(banyan_str_equal(got, cursor_value(world->cursors[i], value)));
    }
    banyan_arena_release(&arena);
}

static void do_reopen(struct world *world)
{
    struct banyan_position last = {world->count};

    if (below(world, 2) == 0) {
        store_close(world->store);
    } else { /* as after a kill: a copy of the files while they are in use */
        char copy[FOLDER_PATH_MAX];

        assert_int_equal(store_wait(world->store, last, INT64_MAX, NULL), BANYAN_OK);
        folder_make_quick(copy);
        folder_copy(world->folder, copy);
        store_close(world->store);
        folder_remove(world->folder);
        memcpy(world->folder, copy, sizeof(copy));
    }
    open_store(world);
    check_index(world);
}

static void run_model(uint64_t seed, int steps)
{
    struct world *world = calloc(1, sizeof(*world));

    os_random_seed(&world->random, seed);
    world->events = malloc(EVENTS_MAX * sizeof(*world->events));
    world->appends = malloc(APPENDS_MAX * sizeof(*world->appends));
    os_files_test_init(&world->files);
    world->files.base.sync = no_sync;
    world->clock.base = *os_clock_real();
    world->clock.base.now = jumping_now;
    world->clock.now_us = 1000000000;
    folder_make_quick(world->folder);
    for (uint32_t i = 0; i < STREAMS; i++)
        (void)snprintf(world->names[i], sizeof(world->names[i]), "%s-%0*u", categories[i % CATEGORIES],
                       (int)(i % 12) + 1, i);
    open_store(world);
    for (int step = 0; step < steps; step++) {
        uint64_t dice = below(world, 1000);

        move_clock(world);
        if (dice < 560)
            do_append(world);
        else if (dice < 600)
            do_full_disk(world);
        else if (dice < 720)
            do_repeat(world);
        else if (dice < 750)
            do_batch(world);
        else if (dice < 800)
            do_read_all(world);
        else if (dice < 850)
            do_read_filtered(world);
        else if (dice < 880)
            do_subscribe(world);
        else if (dice < 940)
            do_read_stream(world);
        else if (dice < 980)
            do_read_backward(world);
        else if (dice < 985)
            do_find_time(world);
        else if (dice < 995)
            check_index(world);
        else
            do_reopen(world);
    }
    check_index(world);
    do_reopen(world);
    store_close(world->store);
    folder_remove(world->folder);
    free(world->events);
    free(world->appends);
    free(world);
}

static void test_model(void **state)
{
    const char *seconds = getenv("BANYAN_TEST_SECONDS");
    int64_t until = os_clock_monotonic_us(os_clock_real());
    uint64_t seed = test_seed(), runs;

    (void)state;
    if (seconds != NULL)
        until += strtoll(seconds, NULL, 10) * 1000000;
    for (runs = 0; runs < 4 || os_clock_monotonic_us(os_clock_real()) < until; runs++)
        run_model(seed + runs, 3000);
    (void)fprintf(stderr, "# %llu runs of 3000 operations\n", (unsigned long long)runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
