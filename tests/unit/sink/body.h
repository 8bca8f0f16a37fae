/* SPDX-License-Identifier: Apache-2.0 */
/* The tests that each store of read models must pass, whatever it keeps its rows in. */
#ifndef UNIT_SINK_BODY_H
#define UNIT_SINK_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "projection/sink.h"

/* How the program under test reaches its one place; all homes of one place meet the same generations. */
struct body_place {
    enum banyan_status (*home)(const struct banyan_projection *projection, struct sink_home **ret,
                               struct banyan_error *err);
    void (*clear)(void); /* a new, empty place */
    void (*die_at)(
        unsigned at);  /* in a child process: be killed in front of statement number *at*; NULL: not durable */
    bool search;       /* texts can be searched */
    bool no_snapshots; /* what moved on between begin and end is told with BUSY */
};

struct CMUnitTest;
/* Runs the common tests and the *count* ones of the program's own; the number of failed ones. */
int body_run(const struct body_place *place, const struct CMUnitTest *own, size_t count);

/* Two tables: accounts (with lists and search) and branches. */
const struct banyan_projection *body_projection(void);

/* All of these fail the test when the call fails. */
struct sink_home *body_home(void);
/* A handle that has claimed a generation; *number* 0: a new one. */
struct sink *body_claim(struct sink_home *home, uint32_t number, struct sink_checkpoint *ret);
void body_serve(struct sink_home *home, uint32_t expected, uint32_t number);
/* Flush *count* rows, all columns, at *position*; the status. */
enum banyan_status body_flush(struct sink *sink, const struct sink_row *rows, size_t count, uint64_t position,
                              struct banyan_error *err);

#endif
