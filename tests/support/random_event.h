/* SPDX-License-Identifier: Apache-2.0 */
/* Events of all kinds for tests that take them somewhere and back. */
#ifndef SUPPORT_RANDOM_EVENT_H
#define SUPPORT_RANDOM_EVENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/random.h"
#include "store/store.h"

enum {
    RANDOM_EVENT_TEXT_BYTES = 5000,
};

static inline struct banyan_str random_text(struct os_random *random, char *out, size_t size_max)
{
    size_t size = os_random_below(random, size_max + 1);

    for (size_t i = 0; i < size; i++)
        out[i] = (char)os_random_next(random);
    return (struct banyan_str){out, size};
}

/* The event number *i* of a seed; texts are in *texts*. */
static inline struct store_read_event random_event(struct os_random *random, uint64_t i,
                                                   char texts[6][RANDOM_EVENT_TEXT_BYTES])
{
    struct store_read_event read = {.position = {i + 1}};
    struct store_event *event = &read.event;

    event->stream = random_text(random, texts[0], 60);
    event->type = random_text(random, texts[1], 30);
    event->payload = random_text(random, texts[2], RANDOM_EVENT_TEXT_BYTES);
    if (os_random_below(random, 2) == 0)
        event->meta = random_text(random, texts[3], 300);
    if (os_random_below(random, 3) == 0) {
        read.cursor.name = random_text(random, texts[4], 20);
        read.cursor.value = random_text(random, texts[5], 200);
    }
    for (size_t byte = 0; byte < sizeof(event->id.bytes); byte++)
        event->id.bytes[byte] = (uint8_t)os_random_next(random);
    event->schema = (uint16_t)os_random_next(random);
    event->provenance = (enum banyan_provenance)os_random_below(random, 4);
    event->at.us = os_random_below(random, 4) == 0 ? BANYAN_TIME_NULL : (int64_t)os_random_next(random);
    read.recorded_at.us = (int64_t)os_random_next(random);
    read.version.value = os_random_next(random) >> 1;
    read.ends_batch = os_random_below(random, 2) == 0;
    return read;
}

static inline bool same_text(struct banyan_str a, struct banyan_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline void assert_same_event(const struct store_read_event *a, const struct store_read_event *b)
{
    assert_int_equal(a->position.value, b->position.value);
    assert_int_equal(a->version.value, b->version.value);
    assert_true(same_text(a->event.stream, b->event.stream));
    assert_true(same_text(a->event.type, b->event.type));
    assert_true(same_text(a->event.payload, b->event.payload));
    assert_true(same_text(a->event.meta, b->event.meta));
    assert_true(banyan_uuid_equal(a->event.id, b->event.id));
    assert_int_equal(a->event.schema, b->event.schema);
    assert_int_equal(a->event.provenance, b->event.provenance);
    assert_int_equal(a->event.at.us, b->event.at.us);
    assert_int_equal(a->recorded_at.us, b->recorded_at.us);
    assert_int_equal(a->ends_batch, b->ends_batch);
    assert_true(a->cursor.name.size == 0 || same_text(a->cursor.value, b->cursor.value));
    assert_true(same_text(a->cursor.name, b->cursor.name));
}

#endif
