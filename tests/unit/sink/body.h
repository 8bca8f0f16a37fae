/* SPDX-License-Identifier: Apache-2.0 */
/* The tests that each sink must pass, whatever it stores its rows in. */
#ifndef UNIT_SINK_BODY_H
#define UNIT_SINK_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "projection/sink.h"

/* How the program under test opens a handle for writing on its one place; all handles meet the same read model. */
struct body_place {
    enum banyan_status (*open)(const struct banyan_projection *projection, struct sink **ret, struct banyan_error *err);
    void (*clear)(void); /* a new, empty place */
};

struct CMUnitTest;
/* Runs the common tests and the *count* ones of the program's own; the number of failed ones. */
int body_run(const struct body_place *place, const struct CMUnitTest *own, size_t count);

/* Open and start, or fail the test. */
struct sink *body_open(const struct banyan_projection *projection, struct sink_checkpoint *ret);
/* Flush *count* rows, all columns, at *position*; the status. */
enum banyan_status body_flush(struct sink *sink, const struct sink_row *rows, size_t count, uint64_t position,
                              struct banyan_error *err);

#endif
