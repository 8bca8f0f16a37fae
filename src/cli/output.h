/* SPDX-License-Identifier: Apache-2.0 */
/* What people see: errors, numbers, a progress line.  NO_COLOR and output that is no terminal are respected. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "banyan/error.h"

/* "banyan: message", detail and hint on lines of their own, on standard error. */
void output_error(const char *program, const struct banyan_error *err);
/* The same as a JSON object on standard error. */
void output_error_json(const struct banyan_error *err);
bool output_colored(FILE *out);

enum {
    OUTPUT_TEXT_SIZE = 32,
};
/* "1,234,567"; "12.3 MB"; "1.5 ms"; "2 min 05 s".  Written to *text*, which is returned. */
const char *output_count(uint64_t value, char text[OUTPUT_TEXT_SIZE]);
const char *output_bytes(int64_t bytes, char text[OUTPUT_TEXT_SIZE]);
const char *output_duration(int64_t us, char text[OUTPUT_TEXT_SIZE]);

/* One line that is redrawn on a terminal, or a plain line every few seconds elsewhere. */
struct output_progress {
    FILE *out;
    bool terminal;
    bool drawn;         /* a line is on the screen */
    int64_t printed_us; /* monotone time of the last line */
};
void output_progress_init(struct output_progress *progress, FILE *out);
/* "label ━━━━━━────── 62 %  124,000 of 200,000  198,412/s  ETA 4 s"; *done* never shows 100 % before *finished*. */
void output_progress_draw(struct output_progress *progress, const char *label, uint64_t done, uint64_t total,
                          double rate, int64_t eta_us, bool finished);
/* Leave the line. */
void output_progress_end(struct output_progress *progress);

#endif
