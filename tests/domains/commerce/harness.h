/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One aggregate and its commands, without a store: each decision is made twice and has to be the same, the state that
 * it was made on has to be untouched, and every event is stored and read back before it is folded.
 */
#ifndef TEST_COMMERCE_HARNESS_H
#define TEST_COMMERCE_HARNESS_H

#include "commerce/commerce.h"
#include "os/random.h"

enum {
    HARNESS_EVENTS_MAX = 8, /* of one decision */
};

struct subject {
    enum commerce_aggregate aggregate;
    int64_t key;
    void *state;
    size_t version;             /* events so far */
    struct banyan_arena *arena; /* borrowed */
    struct banyan_time now;
};

struct decided {
    const char *code; /* NULL: accepted */
    struct banyan_str text;
    size_t count;
    unsigned types[HARNESS_EVENTS_MAX];
    void *payloads[HARNESS_EVENTS_MAX];
};

void subject_init(struct subject *subject, enum commerce_aggregate aggregate, int64_t key, struct banyan_arena *arena);
/* Decide, and fold what comes out. */
struct decided subject_send(struct subject *subject, unsigned command, const void *fields);
/* The same, accepted with *count* events, or the test fails. */
void subject_expect(struct subject *subject, unsigned command, const void *fields, size_t count);
/* The same, refused with *code*, or the test fails. */
void subject_refused(struct subject *subject, unsigned command, const void *fields, const char *code);

/* Fold any event. */
void subject_fold(struct subject *subject, unsigned type, const void *payload);
/* The state can be stored, and comes back as it was. */
void subject_check(struct subject *subject);

/* A value of the record with random fields, small numbers and absurd ones; strings and lists in *arena*. */
void random_value(const struct banyan_record *record, void *ret, struct os_random *random, struct banyan_arena *arena);

#endif
