/* SPDX-License-Identifier: Apache-2.0 */
/* Random logs of the test domain, and the slow, simple fold of one: see test_domain.h. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_domain.h"

void test_append_random(struct store *store, struct os_random *random, size_t count, int64_t accounts)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    while (count > 0) {
        struct store_event batch[64];
        size_t size = 1 + os_random_below(random, 64);
        size = size < count ? size : count;
        for (size_t i = 0; i < size; i++)
            batch[i] = test_event_random(random, 1 + (int64_t)os_random_below(random, (uint64_t)accounts), &arena);
        struct store_appended appended;
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct store_append append = {.events = batch, .event_count = size};
        if (store_submit(store, &append, &appended, &err) != BANYAN_OK) {
            fprintf(stderr, "append: %s\n", err.message);
            abort();
        }
        count -= size;
        banyan_arena_reset(&arena);
    }
    if (store_wait(store, store_tail(store), 60 * 1000000, NULL) != BANYAN_OK)
        abort();
    banyan_arena_release(&arena);
}

/* ---- model ---- */

static unsigned type_of(struct banyan_str name)
{
    unsigned type = 0;
    while (type < TEST_EVENTS && !banyan_str_equal(banyan_str_of(test_domain.events[type].name), name))
        type++;
    return type;
}

static void model_event(struct test_model *model, const struct store_event *event)
{
    unsigned type = type_of(event->type);
    if (strncmp(event->stream.data, "account-", 8) != 0 || type == TEST_EVENTS)
        return;
    int64_t key = strtoll(event->stream.data + 8, NULL, 10);
    assert(key >= 0 && key < TEST_MODEL_KEYS);
    void *payload = banyan_arena_alloc(&model->arena, test_domain.events[type].record->size);
    struct banyan_str data = banyan_arena_str(&model->arena, event->payload);
    if (banyan_record_decode(test_domain.events[type].record, data, payload, NULL) != BANYAN_OK)
        abort();

    struct test_account *account = model->accounts[key];
    if (account == NULL) {
        account = banyan_arena_alloc(&model->arena, sizeof(*account));
        *account = test_account_fresh(key);
    }
    model->accounts[key] = test_account_fold(account, type, payload, event->at) ? account : NULL;
    if (type == TEST_MOVED) {
        const struct test_moved *moved = payload;
        struct test_branch **branch = &model->branches[moved->branch];
        if (*branch == NULL) {
            *branch = banyan_arena_alloc(&model->arena, sizeof(**branch));
            **branch = (struct test_branch){.branch = moved->branch, .total = banyan_decimal_of(0, 2)};
        }
        test_branch_fold(*branch, moved);
    }
}

void test_model_fold(struct test_model *model, struct store *store, struct banyan_position last)
{
    struct store_reader *reader = store_reader_open(store);
    struct store_read_event event;
    if (store_reader_seek(reader, (struct banyan_position){1}, NULL) != BANYAN_OK)
        abort();
    while (store_reader_next(reader, &event, NULL) == BANYAN_OK && event.position.value <= last.value) {
        struct store_event copy = event.event;
        copy.stream = banyan_arena_str(&model->arena, copy.stream); /* ends with a NUL */
        model_event(model, &copy);
    }
    store_reader_close(reader);
}

void test_model_release(struct test_model *model)
{
    banyan_arena_release(&model->arena);
    memset(model, 0, sizeof(*model));
}
