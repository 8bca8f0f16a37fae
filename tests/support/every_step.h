/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A migration with a step of every kind, made by hand: what runs it is tested without what plans it.
 *
 * Over every_step_schema: t (4 000 rows), c that refers to it, the partitioned p, the enum mood.
 */
#ifndef SUPPORT_EVERY_STEP_H
#define SUPPORT_EVERY_STEP_H

#include "migrate/plan_int.h"

struct every_step {
    struct banyan_arena arena;
    struct migration migration;
    struct plan plan;
    struct plan_work work;
};

extern const char every_step_schema[];
/* Another migration of that name, without steps; add some with plan_add(&every->work, …). */
void every_step_empty(struct every_step *every, const char *version);
void every_step_init(struct every_step *every, const char *version);
void every_step_release(struct every_step *every);
/* The schema as text, and the rows; without the books, oids, and enum labels (these stay). */
extern const char every_step_print[];

#endif
