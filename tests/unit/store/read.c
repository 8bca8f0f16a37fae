/* SPDX-License-Identifier: Apache-2.0 */
/* Reading backwards, filtered and by time, against a list of what was appended; seeded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "os/random.h"
#include "store/store.h"

enum {
    CATEGORIES = 12,
    KEYS = 5,
    TYPES = 9,
    EVENTS = 6000,
    SECOND_US = 1000000,
};

struct said {
    unsigned category, key, type;
    int64_t recorded_at;
    uint64_t version;
};

struct world {
    struct os_random random;
    char folder[FOLDER_PATH_MAX];
    struct os_clock_test clock;
    struct store *store;
    struct said events[EVENTS + 1]; /* by position */
    uint64_t count;
    uint64_t versions[CATEGORIES][KEYS];
};

static void open_store(struct world *world)
{
    struct store_options options = {
        .folder = world->folder, .clock = &world->clock.base, .segment_bytes = 256 * 1024, .index_events_max = 100};
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (store_open(&options, &world->store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

/* Some categories and types are rare, and some names begin with others. */
static unsigned skewed(struct world *world, unsigned count)
{
    unsigned most = (unsigned)os_random_below(&world->random, count) + 1;

    return (unsigned)os_random_below(&world->random, most == count ? count : most / 3 + 1);
}

static struct banyan_str stream_of(const struct said *said, char text[64])
{
    return (struct banyan_str){text, (size_t)snprintf(text, 64, "c%.*s%u-%u-x", (int)(said->category % 3), "__",
                                                      said->category / 3, said->key)};
}

static struct banyan_str type_of(unsigned type, char text[32])
{
    return (struct banyan_str){text, (size_t)snprintf(text, 32, "Type%.*s%u", (int)(type % 2), "s", type / 2)};
}

static void append_one(struct world *world)
{
    static char payload[600];
    struct said *said = &world->events[world->count + 1];
    char stream[64], type[32];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;

    *said =
        (struct said){.category = skewed(world, CATEGORIES), .key = (unsigned)os_random_below(&world->random, KEYS)};
    said->type = skewed(world, TYPES);
    /* The clock stands, jumps, and once in a while goes back. */
    if (os_random_below(&world->random, 8) == 0)
        os_clock_test_move(&world->clock, (int64_t)os_random_below(&world->random, 5 * SECOND_US) - SECOND_US);
    said->recorded_at = world->clock.now_us;
    said->version = ++world->versions[said->category][said->key];
    struct store_event event = {
        .id = os_uuid_new(),
        .stream = stream_of(said, stream),
        .type = type_of(said->type, type),
        .payload = {payload, os_random_below(&world->random, sizeof(payload))},
    };
    struct store_append append = {.events = &event, .event_count = 1};
    if (store_submit(world->store, &append, &appended, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    world->count++;
    if (os_random_below(&world->random, 50) == 0 &&
        store_wait(world->store, appended.last, INT64_MAX, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static int setup(void **state)
{
    struct world *world = alloc_zeroed(1, sizeof(*world));
    struct banyan_error err = BANYAN_ERROR_INIT;

    os_random_seed(&world->random, test_seed());
    folder_make_quick(world->folder);
    os_clock_test_init(&world->clock, (struct banyan_time){1700000000 * (int64_t)SECOND_US});
    open_store(world);
    while (world->count < EVENTS)
        append_one(world);
    assert_int_equal(store_wait(world->store, store_tail(world->store), INT64_MAX, &err), BANYAN_OK);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    store_close(world->store);
    folder_remove(world->folder);
    free(world);
    return 0;
}

static void reopen(struct world *world)
{
    store_close(world->store);
    open_store(world);
}

static void test_backward(void **state)
{
    struct world *world = *state;
    struct store_reader *reader = store_reader_open(world->store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    char text[64];

    for (unsigned i = 0; i < CATEGORIES * KEYS; i++) {
        struct said stream = {.category = i / KEYS, .key = i % KEYS};
        uint64_t last = world->versions[stream.category][stream.key];
        uint64_t from = last == 0 ? 0 : os_random_below(&world->random, last + 2), next;
        enum banyan_status status =
            store_reader_stream_backward(reader, stream_of(&stream, text), (struct banyan_version){from}, &err);

        if (last == 0) {
            assert_int_equal(status, BANYAN_NOT_FOUND);
            banyan_error_clear(&err);
            continue;
        }
        assert_int_equal(status, BANYAN_OK);
        next = from == 0 || from > last ? last : from;
        for (uint64_t position = world->count; position > 0; position--) {
            const struct said *said = &world->events[position];

            if (said->category != stream.category || said->key != stream.key || said->version > next)
                continue;
            assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_OK);
            assert_int_equal(event.position.value, position);
            assert_int_equal(event.version.value, said->version);
        }
        assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_NOT_FOUND);
    }
    store_reader_close(reader);
}

static bool wanted(const struct said *said, unsigned types, unsigned categories)
{
    return (types == 0 || (types >> said->type & 1) != 0) &&
           (categories == 0 || (categories >> said->category & 1) != 0);
}

/* Read with a filter from *from* on and compare with the list. */
static void check_filter(struct world *world, unsigned types, unsigned categories, uint64_t from)
{
    char type_texts[TYPES][32], stream_texts[CATEGORIES][64];
    struct banyan_str type_names[TYPES], category_names[CATEGORIES];
    struct store_filter filter = {.types = type_names, .categories = category_names};
    struct store_reader *reader = store_reader_open(world->store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;

    for (unsigned i = 0; i < TYPES; i++)
        if ((types >> i & 1) != 0)
            type_names[filter.type_count++] = type_of(i, type_texts[i]);
    for (unsigned i = 0; i < CATEGORIES; i++) {
        if ((categories >> i & 1) != 0) {
            struct said any = {.category = i};
            struct banyan_str name = stream_of(&any, stream_texts[i]);

            name.size = (size_t)((const char *)memchr(name.data, '-', name.size) - name.data);
            category_names[filter.category_count++] = name;
        }
    }
    store_reader_filter(reader, &filter);
    memset(type_texts, 'x', sizeof(type_texts)); /* it was copied */
    memset(stream_texts, 'x', sizeof(stream_texts));
    assert_int_equal(store_reader_seek(reader, (struct banyan_position){from}, &err), BANYAN_OK);
    assert_int_equal(store_reader_passed(reader).value, from - 1);
    for (uint64_t position = from; position <= world->count; position++) {
        if (!wanted(&world->events[position], types, categories))
            continue;
        assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_OK);
        assert_int_equal(event.position.value, position);
        assert_int_equal(store_reader_passed(reader).value, position);
    }
    assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_NOT_FOUND);
    assert_int_equal(store_reader_passed(reader).value, world->count);
    store_reader_close(reader);
}

static void test_filters(void **state)
{
    struct world *world = *state;

    for (int round = 0; round < 60; round++) {
        unsigned types = os_random_below(&world->random, 3) == 0 ? 0 : 1U << os_random_below(&world->random, TYPES);
        unsigned categories =
            os_random_below(&world->random, 3) == 0 ? 0 : 1U << os_random_below(&world->random, CATEGORIES);

        if (os_random_below(&world->random, 3) == 0)
            types |= 1U << os_random_below(&world->random, TYPES);
        if (os_random_below(&world->random, 3) == 0)
            categories |= 1U << os_random_below(&world->random, CATEGORIES);
        check_filter(world, types, categories, 1 + os_random_below(&world->random, world->count + 1));
        if (round % 20 == 19)
            reopen(world);
    }
}

/* What nobody wrote is passed over, and a new event of it is found by the same reader. */
static void test_filter_follows(void **state)
{
    struct world *world = *state;
    struct banyan_str type = BANYAN_STR("Type3"), rare = BANYAN_STR("rare");
    struct store_filter filter = {&type, 1, &rare, 1};
    struct store_reader *reader = store_reader_open(world->store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    struct store_read_event event;
    uint64_t end = store_durable(world->store).value;

    store_reader_filter(reader, &filter);
    assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_NOT_FOUND);
    assert_int_equal(store_reader_passed(reader).value, end);
    for (int i = 0; i < 3; i++) {
        struct store_event one = {.id = os_uuid_new(), .stream = BANYAN_STR("rare"), .type = type};
        struct store_append append = {.events = &one, .event_count = 1};

        assert_int_equal(store_append(world->store, &append, &appended, &err), BANYAN_OK);
        assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_OK);
        assert_int_equal(event.position.value, end + 1 + (uint64_t)i);
        assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_NOT_FOUND);
    }
    store_reader_filter(reader, NULL);
    assert_int_equal(store_reader_seek(reader, (struct banyan_position){end}, &err), BANYAN_OK);
    assert_int_equal(store_reader_next(reader, &event, &err), BANYAN_OK);
    store_reader_close(reader);
}

static void test_position_at(void **state)
{
    struct world *world = *state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_position found;
    uint64_t durable = store_durable(world->store).value;

    for (int round = 0; round < 40; round++) {
        int64_t time = world->events[1 + os_random_below(&world->random, EVENTS)].recorded_at +
                       (int64_t)os_random_below(&world->random, 3) - 1;
        uint64_t position = 1;

        while (position <= EVENTS && world->events[position].recorded_at < time)
            position++;
        assert_int_equal(store_position_at(world->store, (struct banyan_time){time}, &found, &err), BANYAN_OK);
        assert_int_equal(found.value, position);
    }
    assert_int_equal(store_position_at(world->store, (struct banyan_time){INT64_MIN}, &found, &err), BANYAN_OK);
    assert_int_equal(found.value, 1);
    assert_int_equal(store_position_at(world->store, (struct banyan_time){INT64_MAX}, &found, &err), BANYAN_OK);
    assert_int_equal(found.value, durable + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_position_at),
        cmocka_unit_test(test_backward),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_filter_follows),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
