/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the common body share: see body.h. */
#ifndef UNIT_SINK_BODY_INT_H
#define UNIT_SINK_BODY_INT_H

#include "body.h"
#include "support/test_domain.h"

enum {
    COLLECTED_MAX = 4096,
};

struct collected {
    struct banyan_arena arena;
    unsigned table; /* of the rows */
    size_t count, stop_after;
    int64_t keys[COLLECTED_MAX];
    void *rows[COLLECTED_MAX];
};

extern const struct body_place *body_place; /* under test */

int body_clear(void **state);
void body_must(enum banyan_status st, const struct banyan_error *err);
struct sink_home *body_home_of(const struct banyan_projection *of);
void body_must_flush(struct sink *sink, const struct sink_row *rows, size_t count, uint64_t position);
struct sink_view *body_view(struct sink_home *home);
struct test_account body_account(int64_t key);

struct collected *body_collected(unsigned table);
void body_release(struct collected *all);
enum banyan_status body_collect(void *context, int64_t key, const void *row, struct banyan_error *err);
/* Rows of a range, in order, at *position*. */
struct collected *body_range(struct sink_view *view, unsigned table, int64_t lo, int64_t hi, uint64_t position);

/* A home with one generation that serves, at position 0. */
struct sink_home *body_served(struct sink **ret_sink, struct sink_view **ret_view);
void body_close(struct sink_home *home, struct sink *sink, struct sink_view *view);

/* body_questions.c */
void lists_page_without_loss_or_repeat(void **state);
void a_list_refuses_what_is_no_value(void **state);
void searches_rank_page_and_refuse(void **state);

/* body_world.c */
void switches_under_readers(void **state);
void questions_of_one_instant(void **state);
void a_crash_between_two_statements(void **state);
void a_crash_at_any_moment(void **state);

#endif
