/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index on disk: runs against a simple list, damage to any of its files, a death between any two steps, an index
 * that does not belong to its log, batches that spill.  The tables are small, so that runs and merges come soon.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/random.h"
#include "os/thread.h"
#include "store/index_run.h"
#include "store/store.h"
#include "support/head_version.h"

enum {
    STREAMS = 60,
    EVENTS_MAX = 100000,
    TABLE_EVENTS = 40,
    WAIT_MS_MAX = 20000,
};

/* ---- runs ---- */

enum {
    RUN_IDS = 3000,
    RUN_STREAMS = 900,
};

struct run_stream {
    uint64_t hash;
    char name[1025];
    uint64_t version, position;
    uint64_t jumps[INDEX_JUMPS_MAX];
    uint32_t jump_count;
};

static int compare_ids(const void *a, const void *b)
{
    const struct index_id *x = a, *y = b;

    return x->hash != y->hash ? (x->hash < y->hash ? -1 : 1)
                              : (x->position > y->position) - (x->position < y->position);
}

static int compare_streams(const void *a, const void *b)
{
    const struct run_stream *x = a, *y = b;

    return x->hash != y->hash ? (x->hash < y->hash ? -1 : 1) : strcmp(x->name, y->name);
}

static void fill(struct os_random *random, struct index_id *ids, struct run_stream *streams)
{
    uint64_t many = os_random_next(random); /* a hash that fills more than a block */

    for (size_t i = 0; i < RUN_IDS; i++)
        ids[i] = (struct index_id){i % 7 == 0 ? many : os_random_next(random), i + 1};
    ids[0].hash = 0;
    ids[1].hash = UINT64_MAX;
    for (size_t i = 0; i < RUN_STREAMS; i++) {
        struct run_stream *stream = &streams[i];
        int width = i % 50 == 0 ? 1000 : 1;

        stream->hash = i % 5 == 0 ? many : os_random_next(random);
        (void)snprintf(stream->name, sizeof(stream->name), "s-%0*zu", width, i);
        stream->version = 1 + (os_random_next(random) >> (i % 64));
        stream->position = os_random_next(random) >> (i % 64);
        stream->jump_count = (uint32_t)os_random_below(random, i % 90 == 0 ? INDEX_JUMPS_MAX + 1 : 4);
        for (uint32_t n = 0; n < stream->jump_count; n++)
            stream->jumps[n] = os_random_next(random);
    }
    qsort(ids, RUN_IDS, sizeof(*ids), compare_ids);
    qsort(streams, RUN_STREAMS, sizeof(*streams), compare_streams);
}

static struct index_run *write_run(const char *folder, const struct index_id *ids, const struct run_stream *streams)
{
    struct index_writer_options options = {
        .files = os_files_real(), .folder = folder, .sequence = 7, .first = 1, .last = RUN_IDS};
    struct banyan_error err = BANYAN_ERROR_INIT;
    static char entry[INDEX_ENTRY_BYTES_MAX];
    struct index_writer *writer = NULL;
    struct index_run *run = NULL;

    assert_int_equal(index_writer_new(&options, &writer, &err), BANYAN_OK);
    for (size_t i = 0; i < RUN_IDS; i++)
        index_writer_id(writer, ids[i].hash, ids[i].position);
    for (size_t i = 0; i < RUN_STREAMS; i++) {
        const struct run_stream *stream = &streams[i];
        size_t size = index_entry_encode(entry, stream->hash, banyan_str_of(stream->name), stream->version,
                                         stream->position, stream->jumps, stream->jump_count);

        index_writer_stream(writer, stream->hash, (struct banyan_str){entry, size});
    }
    if (index_writer_finish(writer, &run, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return run;
}

static void check_run(const struct index_run *run, struct os_random *random, const struct index_id *ids,
                      const struct run_stream *streams)
{
    static uint64_t positions[RUN_IDS];
    struct index_head head;
    size_t count;

    for (size_t i = 0; i < RUN_IDS;) {
        size_t same = 1;

        while (i + same < RUN_IDS && ids[i + same].hash == ids[i].hash)
            same++;
        assert_int_equal(index_run_find_id(run, ids[i].hash, positions, RUN_IDS, &count, NULL), BANYAN_OK);
        assert_int_equal(count, same);
        for (size_t n = 0; n < same; n++)
            assert_int_equal(positions[n], ids[i + n].position);
        i += same;
    }
    for (size_t i = 0; i < RUN_STREAMS; i++) {
        const struct run_stream *stream = &streams[i];

        assert_int_equal(index_run_find_head(run, stream->hash, banyan_str_of(stream->name), &head, NULL), BANYAN_OK);
        assert_int_equal(head.version, stream->version);
        assert_int_equal(head.position, stream->position);
        assert_int_equal(head.jump_count, stream->jump_count);
        assert_memory_equal(head.jumps, stream->jumps, stream->jump_count * sizeof(stream->jumps[0]));
        assert_int_equal(index_run_find_head(run, stream->hash, BANYAN_STR("another"), &head, NULL), BANYAN_OK);
        assert_int_equal(head.version, 0);
    }
    for (int i = 0; i < 2000; i++) { /* neither is there; the next hash to one that is, neither */
        uint64_t hash = i % 2 == 0 ? os_random_next(random) : ids[os_random_below(random, RUN_IDS)].hash + 1;

        if (hash == 0)
            continue;
        assert_int_equal(index_run_find_id(run, hash, positions, RUN_IDS, &count, NULL), BANYAN_OK);
        assert_int_equal(count, 0);
    }
}

static void test_run(void **state)
{
    struct index_id *ids = calloc(RUN_IDS, sizeof(*ids));
    struct run_stream *streams = calloc(RUN_STREAMS, sizeof(*streams));
    char folder[FOLDER_PATH_MAX];
    struct os_random random;

    (void)state;
    os_random_seed(&random, test_seed());
    folder_make_quick(folder);
    for (int round = 0; round < 3; round++) {
        uint64_t filter_bytes = round == 0 ? 0 : UINT64_MAX;
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct index_run *run;

        fill(&random, ids, streams);
        run = write_run(folder, ids, streams);
        check_run(run, &random, ids, streams);
        index_run_close(run);
        if (index_run_open(os_files_real(), folder, 7, &filter_bytes, &run, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        assert_true((run->lines[0] != NULL) == (round > 0));
        check_run(run, &random, ids, streams);
        index_run_close(run);
    }
    folder_remove(folder);
    free(ids);
    free(streams);
}

/* ---- a store beside what it should hold ---- */

struct expected {
    struct banyan_uuid ids[EVENTS_MAX]; /* [position - 1] */
    uint32_t streams[EVENTS_MAX];
    uint64_t count; /* acknowledged */
    uint64_t versions[STREAMS];
    uint64_t next; /* makes ids */
};

static struct store *open_with(const char *folder, struct os_files *files, enum banyan_status *ret_status)
{
    struct store_options options = {
        .folder = folder, .files = files, .segment_bytes = 64 * 1024, .index_events_max = TABLE_EVENTS};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store = NULL;
    enum banyan_status status = store_open(&options, &store, &err);

    if (ret_status != NULL)
        *ret_status = status;
    else if (status != BANYAN_OK)
        fail_msg("%s", err.message);
    return store;
}

static struct store_event event_of(const struct banyan_uuid *id, uint32_t stream, char name[24])
{
    return (struct store_event){
        .id = *id,
        .stream = {name, (size_t)snprintf(name, 24, "s-%u", stream)},
        .type = BANYAN_STR("T"),
        .payload = BANYAN_STR("{}"),
    };
}

static struct banyan_uuid new_id(struct expected *expected)
{
    struct banyan_uuid id = {{0}};

    expected->next++;
    memcpy(id.bytes, &expected->next, sizeof(expected->next));
    return id;
}

static struct store_cursor cursor_of(uint64_t position, char value[24])
{
    return (struct store_cursor){BANYAN_STR("c"),
                                 {value, (size_t)snprintf(value, 24, "%llu", (unsigned long long)position)}};
}

/* One more event; the model learns of it when it is acknowledged. */
static enum banyan_status append_one(struct store *store, struct expected *expected, uint32_t stream)
{
    struct banyan_uuid id = new_id(expected);
    char name[24], value[24];
    struct store_event event = event_of(&id, stream, name);
    struct store_append append = {.events = &event, .event_count = 1, .cursor = cursor_of(expected->count + 1, value)};
    struct store_appended appended;
    enum banyan_status status = store_append(store, &append, &appended, NULL);

    if (status != BANYAN_OK)
        return status;
    assert_false(appended.repeated);
    assert_int_equal(appended.first.value, expected->count + 1);
    expected->ids[expected->count] = id;
    expected->streams[expected->count++] = stream;
    expected->versions[stream]++;
    return BANYAN_OK;
}

static void append_many(struct store *store, struct expected *expected, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(append_one(store, expected, (uint32_t)(expected->next * 7 % STREAMS)), BANYAN_OK);
}

/* Are heads, ids and the cursor right?  CORRUPT is an answer, a wrong answer is none. */
static enum banyan_status check_store(struct store *store, const struct expected *expected)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_str cursor = store_cursor(store, BANYAN_STR("c"), &arena);
    enum banyan_status status = BANYAN_OK;
    char name[24], value[24];
    struct store_head head;

    if (expected->count > 0)
        assert_true(banyan_str_equal(cursor, cursor_of(expected->count, value).value));
    banyan_arena_release(&arena);
    for (uint32_t i = 0; i < STREAMS && status == BANYAN_OK; i++) {
        struct banyan_str stream = {name, (size_t)snprintf(name, sizeof(name), "s-%u", i)};

        status = store_head(store, stream, &head, NULL);
        if (status == BANYAN_OK)
            assert_int_equal(head.version.value, expected->versions[i]);
    }
    for (uint64_t i = 0; i < expected->count && status == BANYAN_OK; i++) {
        struct store_event event = event_of(&expected->ids[i], expected->streams[i], name);
        struct store_append append = {.events = &event, .event_count = 1};
        struct store_appended appended;

        status = store_append(store, &append, &appended, NULL);
        if (status == BANYAN_OK) {
            assert_true(appended.repeated);
            assert_int_equal(appended.first.value, i + 1);
        }
    }
    if (status != BANYAN_OK)
        assert_int_equal(status, BANYAN_CORRUPT);
    return status;
}

/* Until all full tables are runs of the manifest. */
static void wait_for_index(struct store *store, uint64_t covered)
{
    struct timespec pause = {.tv_nsec = 1000000};
    struct store_stats stats = {.events = 0};

    for (int i = 0; i < WAIT_MS_MAX; i++) {
        store_stats(store, &stats);
        if (stats.index_covered.value >= covered)
            return;
        (void)nanosleep(&pause, NULL);
    }
    fail_msg("the index covers %llu of %llu", (unsigned long long)stats.index_covered.value,
             (unsigned long long)covered);
}

static uint64_t runs_of(struct store *store)
{
    struct store_stats stats;

    store_stats(store, &stats);
    return stats.index_runs;
}

static void index_path(char path[FOLDER_PATH_MAX + 300], const char *folder, const char *name)
{
    (void)snprintf(path, FOLDER_PATH_MAX + 300, "%s/index%s%s", folder, *name == '\0' ? "" : "/", name);
}

/* ---- open ---- */

static void test_open(void **state)
{
    struct expected *expected = calloc(1, sizeof(*expected));
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 300];
    struct store_stats stats;
    struct store *store;

    (void)state;
    folder_make_quick(folder);
    store = open_with(folder, NULL, NULL);
    append_many(store, expected, 2000);
    wait_for_index(store, 2000 - 2 * TABLE_EVENTS);
    assert_in_range(runs_of(store), 2, 40); /* merged: 50 tables were written */
    store_close(store);

    store = open_with(folder, NULL, NULL); /* goes on from where it was */
    store_stats(store, &stats);
    assert_true(stats.index_covered.value >= 2000 - 2 * TABLE_EVENTS);
    assert_false(stats.index_rebuilt);
    assert_int_equal(stats.streams, STREAMS);
    assert_int_equal(check_store(store, expected), BANYAN_OK);
    append_many(store, expected, 500);
    store_close(store);

    index_path(path, folder, ""); /* deleted: only time is lost */
    folder_remove(path);
    store = open_with(folder, NULL, NULL);
    assert_int_equal(check_store(store, expected), BANYAN_OK);
    append_many(store, expected, 100);
    store_close(store);
    store = open_with(folder, NULL, NULL);
    assert_int_equal(check_store(store, expected), BANYAN_OK);
    store_close(store);
    folder_remove(folder);
    free(expected);
}

/* ---- damage ---- */

static char **list_index(const char *folder, size_t *ret_count)
{
    char path[FOLDER_PATH_MAX + 300], **names = NULL;

    index_path(path, folder, "");
    assert_int_equal(os_files_real()->list(os_files_real(), path, &names, NULL), BANYAN_OK);
    for (*ret_count = 0; names[*ret_count] != NULL; ++*ret_count)
        continue;
    return names;
}

/* Flip a bit, cut the file, or remove it. */
static void damage(struct os_random *random, const char *path)
{
    size_t size;
    char *data = file_load(path, &size);

    switch (os_random_below(random, 8)) {
    case 0:
        folder_check(unlink(path) == 0, path);
        break;
    case 1:
        file_save(path, data, os_random_below(random, size));
        break;
    default:
        data[os_random_below(random, size)] ^= (char)(1 << os_random_below(random, 8));
        file_save(path, data, size);
    }
    free(data);
}

static void test_damage(void **state)
{
    struct expected *expected = calloc(1, sizeof(*expected)), *grown = malloc(sizeof(*grown));
    char folder[FOLDER_PATH_MAX], copy[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 300];
    struct os_random random;
    struct store *store;
    unsigned refused = 0, rebuilt = 0;

    (void)state;
    os_random_seed(&random, test_seed());
    folder_make_quick(folder);
    store = open_with(folder, NULL, NULL);
    append_many(store, expected, 1500);
    wait_for_index(store, 1500 - 2 * TABLE_EVENTS);
    store_close(store);
    for (int round = 0; round < 120; round++) {
        struct store_stats stats;
        size_t count;
        char **names;

        folder_make_quick(copy);
        folder_copy(folder, copy);
        names = list_index(copy, &count);
        index_path(path, copy, names[os_random_below(&random, count)]);
        damage(&random, path);
        for (size_t i = 0; i < count; i++)
            free(names[i]);
        free(names);
        memcpy(grown, expected, sizeof(*grown));
        store = open_with(copy, NULL, NULL);
        store_stats(store, &stats);
        rebuilt += stats.index_rebuilt;
        if (check_store(store, grown) != BANYAN_OK) {
            refused++;
            store_close(store);
            store = open_with(copy, NULL, NULL); /* made anew */
            assert_int_equal(check_store(store, grown), BANYAN_OK);
        }
        append_many(store, grown, 60);
        assert_int_equal(check_store(store, grown), BANYAN_OK);
        store_close(store);
        folder_remove(copy);
    }
    assert_true(refused > 0 && rebuilt > 0);
    folder_remove(folder);
    free(expected);
    free(grown);
}

/* ---- deaths ---- */

/* Appends, an aborted and a committed batch that spill, until the process is dead. */
static void work_until_dead(struct store *store, struct expected *expected)
{
    enum { BATCH = 3 * TABLE_EVENTS };
    struct store_appended appended;
    char name[24], value[24];

    for (int i = 0; i < 2 * TABLE_EVENTS + 7; i++) {
        if (append_one(store, expected, (uint32_t)i % STREAMS) != BANYAN_OK)
            return;
    }
    for (int round = 0; round < 2; round++) {
        enum banyan_status status = store_batch_begin(store, NULL);
        uint64_t first = expected->count;

        for (uint64_t i = 0; i < BATCH && status == BANYAN_OK; i++) {
            expected->ids[first + i] = new_id(expected);
            expected->streams[first + i] = (uint32_t)i * 3 % STREAMS;
            struct store_event event = event_of(&expected->ids[first + i], expected->streams[first + i], name);
            status = store_batch_add(store, &event, NULL);
        }
        if (status == BANYAN_OK && round == 1)
            status = store_batch_commit(store, cursor_of(first + BATCH, value), &appended, NULL);
        if (round == 0 || status != BANYAN_OK)
            store_batch_abort(store);
        if (status != BANYAN_OK)
            return;
        for (uint64_t i = 0; i < BATCH && round == 1; i++)
            expected->versions[expected->streams[expected->count++]]++;
    }
    for (int i = 0; i < 9 * TABLE_EVENTS; i++) {
        if (append_one(store, expected, (uint32_t)i % STREAMS) != BANYAN_OK)
            return;
    }
}

/* What was not acknowledged may be there all the same. */
static void learn_rest(struct store *store, struct expected *expected)
{
    struct store_reader *reader = store_reader_open(store);
    struct store_read_event read;

    assert_true(store_durable(store).value >= expected->count);
    assert_int_equal(store_reader_seek(reader, (struct banyan_position){expected->count + 1}, NULL), BANYAN_OK);
    while (store_reader_next(reader, &read, NULL) == BANYAN_OK) {
        uint32_t stream = (uint32_t)strtoul(read.event.stream.data + 2, NULL, 10);

        expected->ids[expected->count] = read.event.id;
        expected->streams[expected->count++] = stream;
        expected->versions[stream]++;
    }
    store_reader_close(reader);
}

static void test_deaths(void **state)
{
    uint64_t steps = UINT64_MAX;
    struct os_random random;

    (void)state;
    os_random_seed(&random, test_seed());
    for (uint64_t dies_at = 1; dies_at <= steps; dies_at += 1 + os_random_below(&random, 12)) {
        struct expected *expected = calloc(1, sizeof(*expected));
        struct os_files_test files;
        char folder[FOLDER_PATH_MAX];
        enum banyan_status status;
        struct store *store;

        folder_make_quick(folder);
        os_files_test_init(&files);
        files.dies_at = dies_at;
        store = open_with(folder, &files.base, &status);
        if (status == BANYAN_OK) {
            work_until_dead(store, expected);
            store_close(store);
        }
        if (files.steps < dies_at)
            steps = files.steps; /* it lived: enough */
        store = open_with(folder, NULL, NULL);
        learn_rest(store, expected);
        assert_int_equal(check_store(store, expected), BANYAN_OK);
        append_many(store, expected, TABLE_EVENTS);
        store_close(store);
        store = open_with(folder, NULL, NULL);
        assert_int_equal(check_store(store, expected), BANYAN_OK);
        store_close(store);
        folder_remove(folder);
        free(expected);
    }
}

/* ---- another log ---- */

static void test_other_log(void **state)
{
    struct expected *early = calloc(1, sizeof(*early)), *late = calloc(1, sizeof(*late));
    char folder[FOLDER_PATH_MAX], other[FOLDER_PATH_MAX], from[FOLDER_PATH_MAX + 300], to[FOLDER_PATH_MAX + 300];
    struct store_stats stats;
    struct store *store;

    (void)state;
    for (int grow = 0; grow < 2; grow++) {
        memset(late, 0, sizeof(*late));
        folder_make_quick(folder);
        folder_make_quick(other);
        store = open_with(folder, NULL, NULL);
        append_many(store, late, 300);
        store_close(store);
        folder_copy(folder, other);
        memcpy(early, late, sizeof(*early));
        store = open_with(folder, NULL, NULL);
        append_many(store, late, 300);
        wait_for_index(store, 600 - 2 * TABLE_EVENTS);
        store_close(store);
        if (grow == 1) { /* the older log goes on with other events in the same streams: all versions fit */
            early->next += 1000000 * STREAMS;
            store = open_with(other, NULL, NULL);
            append_many(store, early, 400);
            store_close(store);
        }
        index_path(from, folder, "");
        index_path(to, other, "");
        folder_remove(to);
        folder_copy(from, to);
        if (grow == 0) { /* events are missing, as far as anybody can tell */
            struct banyan_error err = BANYAN_ERROR_INIT;

            assert_int_equal(store_open(&(struct store_options){.folder = other}, &store, &err), BANYAN_CORRUPT);
            assert_non_null(strstr(err.message, "was durable"));
            folder_remove(to);
        }
        store = open_with(other, NULL, NULL);
        store_stats(store, &stats);
        assert_int_equal(stats.index_rebuilt, grow == 1);
        assert_int_equal(check_store(store, early), BANYAN_OK);
        store_close(store);
        folder_remove(folder);
        folder_remove(other);
    }
    free(early);
    free(late);
}

/* ---- a batch that is not ended ---- */

static void test_unended_batch(void **state)
{
    struct expected *expected = calloc(1, sizeof(*expected));
    char folder[FOLDER_PATH_MAX], copy[FOLDER_PATH_MAX], name[24];
    struct store *store;

    (void)state;
    folder_make_quick(folder);
    store = open_with(folder, NULL, NULL);
    append_many(store, expected, 5 * TABLE_EVENTS + 3);
    assert_int_equal(store_batch_begin(store, NULL), BANYAN_OK);
    for (uint64_t i = 0; i < 20 * TABLE_EVENTS; i++) {
        struct banyan_uuid id = new_id(expected);
        struct store_event event = event_of(&id, (uint32_t)i % STREAMS, name);

        assert_int_equal(store_batch_add(store, &event, NULL), BANYAN_OK);
        if (i % 50 == 0) { /* nobody sees it */
            struct store_reader *reader = store_reader_open(store);

            assert_int_equal(head_version(store, BANYAN_STR("s-7")), expected->versions[7]);
            assert_int_equal(store_reader_stream(reader, BANYAN_STR("s-7"), (struct banyan_version){1}, NULL),
                             BANYAN_OK);
            store_reader_close(reader);
        }
    }
    assert_true(runs_of(store) > 5);
    folder_make_quick(copy); /* as a kill would leave it */
    folder_copy(folder, copy);
    store_batch_abort(store);
    assert_int_equal(check_store(store, expected), BANYAN_OK);
    append_many(store, expected, 3 * TABLE_EVENTS);
    assert_int_equal(check_store(store, expected), BANYAN_OK);
    store_close(store);
    store = open_with(folder, NULL, NULL);
    assert_int_equal(check_store(store, expected), BANYAN_OK);
    store_close(store);
    folder_remove(folder);

    store = open_with(copy, NULL, NULL);
    memset(expected, 0, sizeof(*expected));
    learn_rest(store, expected);
    assert_int_equal(expected->count, 5 * TABLE_EVENTS + 3);
    assert_int_equal(check_store(store, expected), BANYAN_OK);
    store_close(store);
    folder_remove(copy);
    free(expected);
}

/* ---- a reader beside the writer ---- */

struct beside {
    const char *folder;
    struct store *writer;
    uint64_t acknowledged; /* atomic */
    bool done;             /* atomic */
    uint64_t opens;
};

static void open_beside(void *argument)
{
    struct beside *beside = argument;

    while (!__atomic_load_n(&beside->done, __ATOMIC_SEQ_CST) || beside->opens < 3) {
        struct store_options options = {.folder = beside->folder, .read_only = true};
        uint64_t before = __atomic_load_n(&beside->acknowledged, __ATOMIC_SEQ_CST);
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct store *store = NULL;

        if (store_open(&options, &store, &err) != BANYAN_OK) {
            (void)fprintf(stderr, "# %s\n", err.message);
            abort();
        }
        if (head_version(store, BANYAN_STR("s-1")) < before || head_version(store, BANYAN_STR("none")) != 0)
            abort();
        store_close(store);
        beside->opens++;
    }
}

static void test_reader_beside(void **state)
{
    struct expected *expected = calloc(1, sizeof(*expected));
    char folder[FOLDER_PATH_MAX];
    struct beside beside = {.folder = folder};
    struct os_thread thread = {.started = false};
    struct store *store;

    (void)state;
    folder_make_quick(folder);
    store = open_with(folder, NULL, NULL);
    assert_int_equal(append_one(store, expected, 1), BANYAN_OK);
    os_thread_start(&thread, "beside", open_beside, &beside);
    for (uint32_t i = 0; i < 4000; i++) {
        assert_int_equal(append_one(store, expected, i % STREAMS), BANYAN_OK);
        __atomic_store_n(&beside.acknowledged, expected->versions[1], __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&beside.done, true, __ATOMIC_SEQ_CST);
    os_thread_join(&thread);
    store_close(store);
    folder_remove(folder);
    free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),           cmocka_unit_test(test_open),          cmocka_unit_test(test_damage),
        cmocka_unit_test(test_other_log),     cmocka_unit_test(test_unended_batch), cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_reader_beside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
