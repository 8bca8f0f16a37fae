/* SPDX-License-Identifier: Apache-2.0 */
/* Instances of a process against a plain model: times in order, what is aside, and nothing kept of what is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "os/random.h"
#include "process/instances.h"
#include "support/seed.h"

enum {
    KEYS = 500,
    STEPS = 200000,
    HELD = 8,
};

struct model {
    int64_t wake_us;
    uint64_t position;
    uint64_t held[HELD];
    size_t held_count;
};

static struct banyan_str key_of(char text[16], size_t number)
{
    (void)snprintf(text, 16, "key %zu", number);
    return banyan_str_of(text);
}

static void compare(const struct instances *instances, const struct model *models, struct banyan_arena *arena)
{
    size_t timers = 0, aside = 0, held = 0, known = 0;
    int64_t first = INT64_MAX;
    uint64_t oldest = UINT64_MAX;
    struct instance **list;

    for (size_t i = 0; i < KEYS; i++) {
        const struct model *model = &models[i];
        bool timed = model->wake_us != BANYAN_TIME_NULL;
        char text[16];
        const struct instance *instance = instances_find(instances, key_of(text, i));

        timers += timed;
        aside += model->held_count > 0;
        held += model->held_count;
        known += timed || model->held_count > 0;
        assert_int_equal(instance != NULL, timed || model->held_count > 0);
        if (timed && model->wake_us < first)
            first = model->wake_us;
        if (timed && model->position < oldest)
            oldest = model->position;
        if (instance == NULL)
            continue;
        assert_int_equal(instance->aside_count, model->held_count);
        for (size_t h = 0; h < model->held_count; h++)
            assert_int_equal(instance->aside[h], model->held[h]);
    }
    assert_int_equal(instances->count, known);
    assert_int_equal(instances->heap_count, timers);
    assert_int_equal(instances->aside_count, aside);
    assert_int_equal(instances->held_count, held);
    assert_int_equal(instances_oldest(instances, UINT64_MAX), oldest);
    assert_int_equal(instances_list_aside(instances, SIZE_MAX, arena, &list), aside);
    if (timers > 0)
        assert_int_equal(instances_first(instances)->wake_us, first);
    else
        assert_null(instances_first(instances));
}

static void as_the_model(void **context)
{
    static struct model models[KEYS];
    struct instances instances = {.buckets = NULL};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct os_random random;
    char text[16];

    (void)context;
    seed_start(&random, "as_the_model");
    for (size_t i = 0; i < KEYS; i++)
        models[i] = (struct model){.wake_us = BANYAN_TIME_NULL};
    for (uint64_t step = 1; step <= STEPS; step++) {
        size_t number = os_random_below(&random, KEYS);
        struct model *model = &models[number];
        struct banyan_str key = key_of(text, number);

        switch (os_random_below(&random, 4)) {
        case 0:
            model->wake_us = (int64_t)os_random_below(&random, 1000);
            model->position = step;
            instances_wake_at(&instances, key, model->wake_us, model->wake_us, step);
            break;
        case 1:
            model->wake_us = BANYAN_TIME_NULL;
            instances_wake_at(&instances, key, BANYAN_TIME_NULL, BANYAN_TIME_NULL, step);
            break;
        case 2:
            if (model->held_count == HELD)
                break;
            model->held[model->held_count++] = step;
            instances_put_aside(&instances, key, step, model->held_count == 1 ? "why" : NULL);
            break;
        default:
            if (model->held_count == 0)
                break;
            instances_done(&instances, key, model->held[0]);
            model->held_count--;
            memmove(model->held, model->held + 1, model->held_count * sizeof(model->held[0]));
            break;
        }
        if (step % 997 == 0) {
            compare(&instances, models, &arena);
            banyan_arena_reset(&arena);
        }
    }
    banyan_arena_release(&arena);
    instances_release(&instances);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_model)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
