/* SPDX-License-Identifier: Apache-2.0 */
/* What `banyan rollout` prints for people, from the answers of /rollout. */
#ifndef CLI_ROLLOUT_TEXT_H
#define CLI_ROLLOUT_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

void rollout_print_status(const json_t *status);
/* One line of `banyan status`, from its "rollout"; nothing where there is none. */
void rollout_print_line(const json_t *rollout);
void rollout_print_plan(const json_t *plan);
void rollout_print_history(const json_t *history);
/* Of an act, or of its dry run. */
void rollout_print_answer(const json_t *answer);
/* A table of checks, those that stand in the way first, and those that *passed* where wanted; nothing where there are
 * none. */
void rollout_print_checks(const json_t *checks, bool passed, FILE *out);

#endif
