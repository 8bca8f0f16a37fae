/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kill -9 at seeded moments of a program that runs the checkout of the commerce domain, while orders are placed,
 * modified, paid, canceled, shipped, and while time passes.
 *
 * When a life has had its kills, time goes on until nothing waits any more, and the whole log is looked at:
 *
 *   1. what one event caused is in one batch: the process never acts twice on the same;
 *   2. every order ended confirmed, completed or compensated;
 *   3. no payment was captured twice, and what is kept of an order's money is its total, or nothing;
 *   4. every piece of stock is where the processes say that it is: none leaked, none sold twice.
 *
 * SEEDS, or the argument, says how many kills; BANYAN_TEST_SEED repeats a run, up to what the scheduler does.
 */
#include <inttypes.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "../unit/log/folder.h"
#include "base/hash.h"
#include "commerce/checkout.h"
#include "commerce/commerce.h"
#include "commerce/fulfillment.h"
#include "commerce/order.h"
#include "commerce/payment.h"
#include "commerce/stock.h"
#include "os/random.h"
#include "os/thread.h"
#include "process/process.h"
#include "store/aggregate.h"
#include "store/snapshot.h"
#include "support/seed.h"

enum {
    KILLS_A_LIFE = 50,
    ENOUGH_KILLS = 200, /* for every kind of end */
    WORKERS = 3,
    STOCKS = 12,
    LINES_MAX = 3,
    ORDERS_MAX = 4000, /* of one life */
    FAILURE_MAX = 1024,
    BEHIND_MAX = 100, /* positions that the process may be behind before the customers wait */
    SETTLE_US_MAX = 60 * 1000 * 1000,
};

#define MINUTE_US (60 * INT64_C(1000000))

/* What outlives a kill besides the log. */
struct ledger {
    int64_t now_us;
    int64_t orders; /* ids 1 … orders were given away */
    uint64_t opens, commands;
    uint64_t confirmed, completed, compensated, reactions; /* of the checks */
    char folder[FOLDER_PATH_MAX];
    char failure[FAILURE_MAX];
};

static struct ledger *ledger;

/* ---- the child's world ---- */

static struct {
    struct store *store;
    struct snapshots *snapshots;
    struct aggregates *aggregates;
    struct process *process;
    struct os_stop stop;
} world;

static void end_badly(const char *format, ...) BANYAN_PRINTF_LIKE(1, 2);
static void end_badly(const char *format, ...)
{
    va_list arguments;

    if (ledger->failure[0] == '\0') {
        va_start(arguments, format);
        (void)vsnprintf(ledger->failure, sizeof(ledger->failure), format, arguments); /* a cut text still tells */
        va_end(arguments);
    }
    _exit(1);
}

static void must(enum banyan_status status, const struct banyan_error *err, const char *what)
{
    if (status != BANYAN_OK)
        end_badly("%s: %s: %s", what, banyan_status_name(status), err->message);
}

static struct banyan_time ledger_now(struct os_clock *clock)
{
    (void)clock;
    return (struct banyan_time){__atomic_load_n(&ledger->now_us, __ATOMIC_RELAXED)};
}

static int64_t ledger_monotonic_us(struct os_clock *clock)
{
    (void)clock;
    return os_clock_monotonic_us(os_clock_real());
}

static void ledger_sleep_us(struct os_clock *clock, int64_t us)
{
    (void)clock;
    os_clock_real()->sleep_us(os_clock_real(), us);
}

/* Time is the ledger's: it does not go back over a kill, and minutes pass when we say so. */
static struct os_clock ledger_clock = {ledger_now, ledger_monotonic_us, ledger_sleep_us};

static void open_world(void)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char path[FOLDER_PATH_MAX + 32];

    must(os_stop_open(&world.stop, &err), &err, "stop");
    must(
        store_open(&(struct store_options){.folder = ledger->folder, .segment_bytes = 1024 * 1024}, &world.store, &err),
        &err, "open");
    (void)snprintf(path, sizeof(path), "%s/snapshots.sqlite", ledger->folder);
    world.snapshots = snapshots_open(path);
    world.aggregates = aggregates_new(&(struct aggregates_options){.store = world.store,
                                                                   .domain = &banyan_domain_commerce,
                                                                   .clock = &ledger_clock,
                                                                   .snapshots = world.snapshots,
                                                                   .states_max = 256});
    must(process_start(&(struct process_options){.domain = &banyan_domain_commerce,
                                                 .process = &commerce_checkout_process,
                                                 .store = world.store,
                                                 .aggregates = world.aggregates,
                                                 .stop = &world.stop,
                                                 .clock = &ledger_clock},
                       &world.process, &err),
         &err, "process");
    (void)__atomic_fetch_add(&ledger->opens, 1, __ATOMIC_SEQ_CST);
}

/* ---- what is asked ---- */

static const struct banyan_command_type *type_of(enum commerce_aggregate aggregate, unsigned type)
{
    return &commerce_aggregates[aggregate].commands[type];
}

static void command(enum commerce_aggregate aggregate, int64_t key, unsigned type, const void *fields)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct aggregate_answer answer;
    struct aggregate_command command = {
        .id = os_uuid_new(),
        .category = banyan_str_of(commerce_aggregates[aggregate].category),
        .key = banyan_arena_printf(&arena, "%" PRId64, key),
        .name = banyan_str_of(type_of(aggregate, type)->name),
        .fields = fields,
    };

    must(aggregates_execute(world.aggregates, &command, &arena, &answer, &err), &err, type_of(aggregate, type)->name);
    (void)__atomic_fetch_add(&ledger->commands, 1, __ATOMIC_RELAXED);
    banyan_arena_release(&arena);
}

static void receive(int64_t stock, int64_t quantity)
{
    struct receive_stock fields;

    banyan_record_init(type_of(AGGREGATE_STOCK, STOCK_RECEIVE)->record, &fields);
    fields.product_id = 100 + stock;
    fields.seller_id = 1 + stock % 3;
    fields.warehouse_id = 1 + stock % 2;
    fields.quantity = quantity;
    command(AGGREGATE_STOCK, stock, STOCK_RECEIVE, &fields);
}

static void place(struct os_random *random)
{
    int64_t key = __atomic_add_fetch(&ledger->orders, 1, __ATOMIC_SEQ_CST);
    struct order_line lines[LINES_MAX];
    struct place_order fields;

    if (key > ORDERS_MAX) {
        (void)__atomic_sub_fetch(&ledger->orders, 1, __ATOMIC_SEQ_CST);
        return;
    }
    banyan_record_init(type_of(AGGREGATE_ORDER, ORDER_PLACE)->record, &fields);
    fields.customer_id = 1 + (int64_t)os_random_below(random, 50);
    fields.customer = BANYAN_STR("Ada");
    fields.city = BANYAN_STR("Recife");
    fields.state = fields.address = fields.postal_code = fields.country = BANYAN_STR("x");
    fields.lines = (struct banyan_list){lines, 1 + os_random_below(random, LINES_MAX)};
    for (size_t i = 0; i < fields.lines.count; i++) {
        int64_t stock = 1 + (int64_t)os_random_below(random, STOCKS);

        banyan_record_init(&commerce_order_line, &lines[i]);
        lines[i].product_id = 100 + stock;
        lines[i].product = lines[i].category = BANYAN_STR("thing");
        lines[i].seller_id = 1 + stock % 3;
        lines[i].stock_id = stock;
        lines[i].quantity = 1 + (int64_t)os_random_below(random, 3);
        lines[i].unit_price = banyan_decimal_of(100 + (int64_t)os_random_below(random, 900), COMMERCE_SCALE);
        lines[i].freight = banyan_decimal_of((int64_t)os_random_below(random, 300), COMMERCE_SCALE);
    }
    command(AGGREGATE_ORDER, key, ORDER_PLACE, &fields);
}

static void pay(int64_t order, bool declines)
{
    struct authorize_payment authorize;
    struct payment_end decline = {BANYAN_STR("no money")};

    banyan_record_init(type_of(AGGREGATE_PAYMENT, PAYMENT_AUTHORIZE)->record, &authorize);
    if (declines)
        command(AGGREGATE_PAYMENT, checkout_payment_id(order), PAYMENT_DECLINE, &decline);
    else
        command(AGGREGATE_PAYMENT, checkout_payment_id(order), PAYMENT_AUTHORIZE, &authorize);
}

static void send(struct os_random *random, int64_t order)
{
    static const unsigned types[] = {FULFILLMENT_PACK, FULFILLMENT_SHIP, FULFILLMENT_DELIVER};
    int64_t fulfillment = checkout_fulfillment_id(order, 1 + (int64_t)os_random_below(random, 2));
    union {
        struct pack_fulfillment pack;
        struct ship_fulfillment ship;
    } fields;

    for (size_t i = 0, steps = 1 + os_random_below(random, 3); i < steps; i++) {
        const struct banyan_record *record = type_of(AGGREGATE_FULFILLMENT, types[i])->record;

        banyan_record_init(record, &fields);
        command(AGGREGATE_FULFILLMENT, fulfillment, types[i], &fields);
    }
}

static void change(struct os_random *random, int64_t order)
{
    struct modify_order modify;

    banyan_record_init(type_of(AGGREGATE_ORDER, ORDER_MODIFY)->record, &modify);
    modify.line_id = 1 + (int64_t)os_random_below(random, 3);
    modify.quantity = (int64_t)os_random_below(random, 4);
    command(AGGREGATE_ORDER, order, ORDER_MODIFY, &modify);
}

/* One thing that happens, to an order of late: the process may be behind. */
static void act(struct os_random *random)
{
    int64_t orders = __atomic_load_n(&ledger->orders, __ATOMIC_SEQ_CST);
    int64_t back = (int64_t)os_random_below(random, os_random_below(random, 2) == 0 ? 150 : 15);
    int64_t order = orders > back ? orders - back : 1;
    struct order_end end = {BANYAN_STR("changed my mind")};
    uint64_t dice = os_random_below(random, 100);

    if (dice < 16)
        place(random);
    else if (dice < 56)
        pay(order, os_random_below(random, 8) == 0);
    else if (dice < 59)
        command(AGGREGATE_ORDER, order, ORDER_CANCEL, &end);
    else if (dice < 87)
        send(random, order);
    else if (dice < 92)
        change(random, order);
    else if (dice < 96)
        receive(1 + (int64_t)os_random_below(random, STOCKS), (int64_t)os_random_below(random, 40) + 1);
    else
        (void)__atomic_fetch_add(&ledger->now_us, (int64_t)os_random_below(random, MINUTE_US / 2), __ATOMIC_RELAXED);
}

static void work(void *seed)
{
    struct process_status status;
    struct os_random random;

    os_random_seed(&random, (uintptr_t)seed);
    for (;;) {
        process_status(world.process, &status);
        if (status.tail.value > status.position.value + BEHIND_MAX) /* or nothing would be paid for in time */
            ledger_sleep_us(NULL, 100);
        else
            act(&random);
    }
}

static void child_works(uint64_t seed)
{
    static struct os_thread threads[WORKERS];

    open_world();
    for (int64_t stock = 1; stock <= STOCKS && store_tail(world.store).value < STOCKS; stock++)
        receive(stock, 100);
    for (size_t i = 0; i < WORKERS; i++)
        os_thread_start(&threads[i], "worker", work, (void *)(uintptr_t)(seed + i));
    for (;;)
        (void)pause();
}

/* ---- the end of a life ---- */

/* Until nothing is left that the process has not seen, and nothing waits for a time. */
static void settle(void)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_position tail = {0};
    struct process_status status = {.timers = 1};
    int64_t until_us = os_clock_monotonic_us(os_clock_real()) + SETTLE_US_MAX;

    while (tail.value != store_tail(world.store).value || status.timers > 0) {
        tail = store_tail(world.store);
        must(process_wait(world.process, tail, SETTLE_US_MAX, &err), &err, "settle");
        process_status(world.process, &status);
        if (status.aside > 0 || status.state == PROCESS_FAILED)
            end_badly("%" PRIu64 " aside, %s", status.aside, status.error.message);
        if (status.timers > 0) {
            (void)__atomic_fetch_add(&ledger->now_us, 20 * MINUTE_US, __ATOMIC_RELAXED);
            ledger_sleep_us(NULL, 1000);
        }
        if (os_clock_monotonic_us(os_clock_real()) > until_us)
            end_badly("%" PRIu64 " instances still wait", status.timers);
    }
    ledger->reactions += status.reactions;
}

/* What one event caused, in one batch; how often each payment was captured. */
static void check_causes(struct hash *captures)
{
    struct hash batches = HASH_INIT;
    struct store_reader *reader = store_reader_open(world.store);
    struct store_read_event event;
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t batch = 1;
    enum banyan_status status = store_reader_seek(reader, (struct banyan_position){1}, &err);

    for (; status == BANYAN_OK; batch += event.ends_batch) {
        status = store_reader_next(reader, &event, &err);
        if (status != BANYAN_OK)
            break;
        json_t *meta = json_loadb(event.event.meta.data, event.event.meta.size, 0, NULL);
        int64_t cause = json_integer_value(json_object_get(meta, "cause"));
        bool by_process = json_object_get(meta, "process") != NULL;

        json_decref(meta);
        if (by_process && cause > 0) {
            void *before = hash_put(&batches, cause, (void *)(uintptr_t)batch);

            if (before != NULL && (uintptr_t)before != batch)
                end_badly("position %" PRId64 " caused two batches, the second at %" PRIu64, cause,
                          event.position.value);
        }
        if (banyan_str_equal(event.event.type, BANYAN_STR("PaymentCaptured"))) {
            int64_t payment = strtoll(event.event.stream.data + strlen("payment-"), NULL, 10);
            uintptr_t times = (uintptr_t)hash_get(captures, payment) + 1;

            (void)hash_put(captures, payment, (void *)times);
            if (!by_process)
                end_badly("payment %" PRId64 " was captured by somebody else", payment);
        }
    }
    if (status != BANYAN_NOT_FOUND)
        end_badly("reading: %s", err.message);
    store_reader_close(reader);
    hash_release(&batches);
}

static uint64_t state_of(const char *category, int64_t key, struct banyan_arena *arena, void *ret)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_version version = {0};

    must(aggregates_state(world.aggregates, banyan_str_of(category), banyan_arena_printf(arena, "%" PRId64, key), arena,
                          ret, &version, &err),
         &err, category);
    return version.value;
}

struct held {
    int64_t reserved, allocated, shipped;
};

static bool is(struct banyan_str text, const char *word)
{
    return banyan_str_equal(text, banyan_str_of(word));
}

/* Returns cents kept of the order's money. */
static int64_t check_payment(int64_t key, const struct checkout *checkout, const struct hash *captures,
                             struct banyan_arena *arena)
{
    struct payment payment;
    uintptr_t times = (uintptr_t)hash_get(captures, checkout_payment_id(key));

    (void)checkout;
    if (times > 1)
        end_badly("order %" PRId64 ": its payment was captured %zu times", key, (size_t)times);
    if (state_of("payment", checkout_payment_id(key), arena, &payment) == 0)
        return 0;
    if (is(payment.row.status, PAYMENT_STATUS_REQUESTED) || is(payment.row.status, PAYMENT_STATUS_AUTHORIZED))
        end_badly("order %" PRId64 ": its payment is still %.*s", key, (int)payment.row.status.size,
                  payment.row.status.data);
    return (int64_t)(payment.row.captured.units - payment.row.refunded.units);
}

static void check_order(int64_t key, const struct hash *captures, struct held *held)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct checkout checkout;
    struct order order;
    int64_t kept;
    bool paid;

    if (state_of("order", key, &arena, &order) == 0) {
        banyan_arena_release(&arena);
        return; /* the kill came before it was placed */
    }
    if (state_of("checkout", key, &arena, &checkout) == 0)
        end_badly("order %" PRId64 " has no checkout", key);
    paid = is(checkout.step, CHECKOUT_STEP_CONFIRMED) || is(checkout.step, CHECKOUT_STEP_COMPLETED);
    if (!paid && !is(checkout.step, CHECKOUT_STEP_COMPENSATED))
        end_badly("order %" PRId64 " ends as %.*s", key, (int)checkout.step.size, checkout.step.data);
    ledger->confirmed += is(checkout.step, CHECKOUT_STEP_CONFIRMED);
    ledger->completed += is(checkout.step, CHECKOUT_STEP_COMPLETED);
    ledger->compensated += !paid;
    kept = check_payment(key, &checkout, captures, &arena);
    if (kept != (paid ? (int64_t)checkout.total.units : 0))
        end_badly("order %" PRId64 ", %.*s: %" PRId64 " cents are kept, its total is %" PRId64, key,
                  (int)checkout.step.size, checkout.step.data, kept, (int64_t)checkout.total.units);
    for (size_t i = 0; i < checkout.lines.count; i++) {
        const struct checkout_line *line = (const struct checkout_line *)checkout.lines.items + i;

        held[line->stock_id].reserved += is(line->held, CHECKOUT_HELD_RESERVED) ? line->quantity : 0;
        held[line->stock_id].allocated += is(line->held, CHECKOUT_HELD_ALLOCATED) ? line->quantity : 0;
        held[line->stock_id].shipped += is(line->held, CHECKOUT_HELD_SHIPPED) ? line->quantity : 0;
    }
    banyan_arena_release(&arena);
}

static void check_stock(int64_t key, const struct held *held)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct stock stock;

    (void)state_of("stock", key, &arena, &stock);
    if (held->reserved != 0 || stock.row.reserved != 0 || held->allocated != stock.row.allocated ||
        held->shipped != stock.row.shipped ||
        stock.row.available + stock.row.allocated + stock.row.shipped != stock.row.received)
        end_badly("stock %" PRId64 ": reserved %" PRId64 " (orders hold %" PRId64 "), allocated %" PRId64 " (%" PRId64
                  "), shipped %" PRId64 " (%" PRId64 "), available %" PRId64 ", received %" PRId64,
                  key, stock.row.reserved, held->reserved, stock.row.allocated, held->allocated, stock.row.shipped,
                  held->shipped, stock.row.available, stock.row.received);
    banyan_arena_release(&arena);
}

static void child_checks(void)
{
    struct hash captures = HASH_INIT;
    struct held held[STOCKS + 1] = {{0, 0, 0}};

    open_world();
    settle();
    check_causes(&captures);
    for (int64_t key = 1; key <= ledger->orders; key++)
        check_order(key, &captures, held);
    for (int64_t key = 1; key <= STOCKS; key++)
        check_stock(key, &held[key]);
    hash_release(&captures);
    _exit(0);
}

/* ---- the parent ---- */

static pid_t start_child(bool checks, uint64_t seed)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid != 0)
        return pid;
    if (checks)
        child_checks();
    child_works(seed);
    _exit(2);
}

static void wait_for_moment(struct os_random *random)
{
    uint64_t opens = ledger->opens, commands = ledger->commands + os_random_below(random, 60);
    int64_t until_us = os_clock_monotonic_us(os_clock_real()) + 2 * 1000 * 1000;

    if (os_random_below(random, 6) == 0) { /* maybe while it opens */
        ledger_sleep_us(NULL, (int64_t)os_random_below(random, 10000));
        return;
    }
    while (os_clock_monotonic_us(os_clock_real()) < until_us && ledger->failure[0] == '\0' &&
           (__atomic_load_n(&ledger->opens, __ATOMIC_SEQ_CST) == opens ||
            __atomic_load_n(&ledger->commands, __ATOMIC_SEQ_CST) < commands))
        ledger_sleep_us(NULL, 200);
    ledger_sleep_us(NULL, (int64_t)os_random_below(random, 3000));
}

static void live(struct os_random *random, unsigned kills)
{
    int status;
    pid_t pid;

    folder_make_quick(ledger->folder);
    ledger->now_us = INT64_C(1700000000000000);
    ledger->orders = 0;
    for (unsigned kill_number = 0; kill_number < kills; kill_number++) {
        pid = start_child(false, os_random_next(random));
        wait_for_moment(random);
        (void)kill(pid, SIGKILL); /* it may have ended by itself, which is told below */
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fail_msg("kill %u: it ended by itself (%x): %s; see %s", kill_number, status, ledger->failure,
                     ledger->folder);
    }
    pid = start_child(true, 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("after %u kills (%x): %s; see %s", kills, status, ledger->failure, ledger->folder);
    folder_remove(ledger->folder);
}

static unsigned wanted_kills;

static void survives_kills(void **context)
{
    struct os_random random;
    int64_t orders = 0;

    (void)context;
    seed_start(&random, "survives_kills");
    ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(ledger != MAP_FAILED);
    for (unsigned done = 0; done < wanted_kills; done += KILLS_A_LIFE) {
        live(&random, wanted_kills - done < KILLS_A_LIFE ? wanted_kills - done : KILLS_A_LIFE);
        orders += ledger->orders;
    }
    (void)printf("# %u kills, %" PRIu64 " commands, %" PRId64 " orders: %" PRIu64 " confirmed, %" PRIu64
                 " completed, %" PRIu64 " compensated\n",
                 wanted_kills, ledger->commands, orders, ledger->confirmed, ledger->completed, ledger->compensated);
    if (wanted_kills >= ENOUGH_KILLS) { /* else a slow machine may not get so far */
        assert_true(ledger->confirmed + ledger->completed > 0);
        assert_true(ledger->compensated > 0);
    }
    (void)munmap(ledger, sizeof(*ledger)); /* nothing depends on it */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(survives_kills)};
    const char *seeds = getenv("SEEDS");

    wanted_kills = seeds != NULL ? (unsigned)strtoul(seeds, NULL, 10) : KILLS_A_LIFE;
    if (argc > 1 && strtoul(argv[1], NULL, 10) > wanted_kills)
        wanted_kills = (unsigned)strtoul(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
