/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of new aggregates, beside a real server: unique among threads, from the sequence while the legacy application
 * may create, above all of it when it may not, and back.
 */
#include "rollout/keys.h"
#include "../log/folder.h"
#include "../pg/pg_test.h"
#include "os/thread.h"
#include "trading/trading.h"

enum {
    THREADS = 4,
    KEYS_EACH = 2000,
    BLOCK = 10,
};

#define ORDER BANYAN_STR("order")

static const char tables[] = "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;"
                             "CREATE SEQUENCE \"Order ids\"; CREATE TABLE orders (order_id bigint PRIMARY KEY)";

struct rig {
    char folder[FOLDER_PATH_MAX];
    struct os_files_test files;
    struct banyan_domain domain; /* trading, with a sequence */
    struct banyan_legacy_mapping mapping;
    struct store *store;
    struct owner *owner;
    struct keys *keys;
    struct pg_conn *conn;
};

static void open_rig(struct rig *rig, const char *conninfo)
{
    struct store_options options = {.folder = rig->folder, .files = &rig->files.base, .segment_bytes = 1024 * 1024};
    struct banyan_error err = BANYAN_ERROR_INIT;

    os_files_test_init(&rig->files);
    OK(store_open(&options, &rig->store, &err));
    OK(owner_open(&(struct owner_options){&rig->domain, "oms", rig->store}, &rig->owner, &err));
    OK(keys_open(&(struct keys_options){.domain = &rig->domain,
                                        .source = "oms",
                                        .conninfo = conninfo,
                                        .store = rig->store,
                                        .owner = rig->owner,
                                        .block = BLOCK},
                 &rig->keys, &err));
}

static void close_rig(struct rig *rig)
{
    keys_close(rig->keys);
    owner_close(rig->owner);
    store_close(rig->store);
}

static void start(struct rig *rig)
{
    *rig = (struct rig){.domain = banyan_domain_trading, .mapping = banyan_domain_trading.mappings[0]};
    rig->mapping.key_sequence = "\"Order ids\"";
    rig->domain.mappings = &rig->mapping;
    rig->conn = test_connect(false);
    test_run(rig->conn, "SET client_min_messages = warning");
    test_run(rig->conn, tables);
    folder_make_quick(rig->folder);
    open_rig(rig, test_conninfo());
}

static void finish(struct rig *rig)
{
    close_rig(rig);
    pg_close(rig->conn);
    folder_remove(rig->folder);
}

static void change(struct rig *rig, enum owner_mode mode)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t epoch;

    (void)owner_mode(rig->owner, &epoch);
    OK(owner_change(rig->owner, epoch, mode, "test", &epoch, &err));
}

static int64_t next(struct rig *rig)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    int64_t key = 0;

    OK(keys_next(rig->keys, ORDER, &key, &err));
    return key;
}

static int64_t highest(struct rig *rig)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    int64_t key = 0;

    OK(keys_highest(rig->keys, ORDER, &key, &err));
    return key;
}

static int64_t nextval(struct rig *rig)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    int64_t key;

    OK(pg_exec(rig->conn, "SELECT nextval('\"Order ids\"')", NULL, 0, &result, &err));
    key = pg_int(result, 0, 0);
    pg_result_free(result);
    return key;
}

/* More than a block behind: leftovers of other blocks are given first. */
static int64_t use_up(struct rig *rig)
{
    int64_t key = 0;

    for (int i = 0; i < 5 * BLOCK; i++)
        key = next(rig);
    return key;
}

static void test_there_and_back(void **unused)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    int64_t shared, legacy, banyan, none;
    struct rig rig;

    (void)unused;
    start(&rig);
    change(&rig, OWNER_SHARED);
    shared = use_up(&rig);
    assert_true(shared >= 5 * BLOCK);
    legacy = nextval(&rig);
    assert_true(legacy > shared);
    assert_true(highest(&rig) > legacy);
    test_run(rig.conn, "INSERT INTO orders VALUES (5000)"); /* somebody did not ask the sequence */
    change(&rig, OWNER_BANYAN);
    banyan = use_up(&rig);
    assert_true(banyan > 5000);
    for (int i = 0; i < 1000; i++)
        legacy = nextval(&rig); /* of inserts that the fence refuses */
    assert_true(use_up(&rig) > banyan);
    assert_true(highest(&rig) > use_up(&rig) - 5 * BLOCK);

    /* Behind a start the server is not needed. */
    close_rig(&rig);
    open_rig(&rig, "host=/nowhere");
    assert_true(next(&rig) > banyan);
    banyan = use_up(&rig);
    FAILS(UNAVAILABLE, keys_highest(rig.keys, ORDER, &none, &err));
    close_rig(&rig);
    open_rig(&rig, test_conninfo());

    change(&rig, OWNER_CLOSING);
    FAILS(BUSY, keys_next(rig.keys, ORDER, &none, &err));
    FAILS(NOT_FOUND, keys_next(rig.keys, BANYAN_STR("basket"), &none, &err));
    assert_true(highest(&rig) > banyan);
    {
        char text[128];

        (void)snprintf(text, sizeof(text), "SELECT setval('\"Order ids\"', %lld)", (long long)highest(&rig));
        test_run(rig.conn, text);
    }
    change(&rig, OWNER_LEGACY);
    legacy = nextval(&rig);
    assert_true(legacy > banyan);
    change(&rig, OWNER_SHARED);
    assert_true(next(&rig) > legacy);
    finish(&rig);
}

/* A pooled sequence: an application uses fifty keys for each of its values. */
static void test_increment(void **unused)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct rig rig;
    int64_t key, value;

    (void)unused;
    start(&rig);
    test_run(rig.conn, "ALTER SEQUENCE \"Order ids\" INCREMENT BY 50 START WITH 1000 RESTART");
    change(&rig, OWNER_BANYAN);
    assert_int_equal(next(&rig), 1000);
    change(&rig, OWNER_CLOSING);
    change(&rig, OWNER_BANYAN);
    value = nextval(&rig);
    key = use_up(&rig);
    assert_true(key > value);
    close_rig(&rig);
    open_rig(&rig, test_conninfo());
    value = nextval(&rig);
    change(&rig, OWNER_CLOSING);
    change(&rig, OWNER_BANYAN);
    assert_true(next(&rig) >= value + 50 || next(&rig) > key);
    close_rig(&rig);
    test_run(rig.conn, "ALTER SEQUENCE \"Order ids\" INCREMENT BY -1 MINVALUE -1000");
    open_rig(&rig, test_conninfo());
    change(&rig, OWNER_CLOSING);
    change(&rig, OWNER_BANYAN);
    FAILS(INVALID, keys_next(rig.keys, ORDER, &key, &err));
    finish(&rig);
}

/* ---- threads ---- */

struct taker {
    struct rig *rig;
    struct os_thread thread;
    int64_t keys[KEYS_EACH];
};

static void take(void *argument)
{
    struct taker *taker = argument;

    for (int i = 0; i < KEYS_EACH; i++)
        taker->keys[i] = next(taker->rig);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Threads take keys while the ownership moves and the server gives keys out, too. */
static void test_unique(void **unused)
{
    static struct taker takers[THREADS];
    static int64_t all[THREADS * KEYS_EACH + 100];
    size_t count = 0;
    struct rig rig;

    (void)unused;
    start(&rig);
    change(&rig, OWNER_SHARED);
    for (int i = 0; i < THREADS; i++) {
        takers[i].rig = &rig;
        os_thread_start(&takers[i].thread, "taker", take, &takers[i]);
    }
    for (int i = 0; i < 100; i++)
        all[count++] = nextval(&rig);
    change(&rig, OWNER_BANYAN);
    for (int i = 0; i < THREADS; i++) {
        os_thread_join(&takers[i].thread);
        memcpy(all + count, takers[i].keys, sizeof(takers[i].keys));
        count += KEYS_EACH;
    }
    qsort(all, count, sizeof(*all), compare);
    for (size_t i = 1; i < count; i++)
        assert_true(all[i - 1] < all[i]);
    finish(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_increment),
        cmocka_unit_test(test_unique),
    };
    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
