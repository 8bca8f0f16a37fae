/* SPDX-License-Identifier: Apache-2.0 */
/* Printing for people: see output.h. */
#include "cli/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "banyan/buf.h"
#include "os/clock.h"

enum {
    BAR_CELLS = 24,
    PLAIN_LINE_EVERY_US = 5 * 1000 * 1000,
    DRAW_EVERY_US = 100 * 1000,
};

bool output_colored(FILE *out)
{
    const char *no = getenv("NO_COLOR");
    return (no == NULL || no[0] == '\0') && isatty(fileno(out)) == 1;
}

void output_error(const char *program, const struct banyan_error *err)
{
    bool color = output_colored(stderr);
    fprintf(stderr, "%s: %s%s%s", program, color ? "\033[31m" : "", err->message, color ? "\033[0m" : "");
    if (err->sqlstate[0] != '\0')
        fprintf(stderr, " (SQLSTATE %s)", err->sqlstate);
    fputc('\n', stderr);
    if (err->detail[0] != '\0')
        fprintf(stderr, "  detail: %s\n", err->detail);
    if (err->hint[0] != '\0')
        fprintf(stderr, "  hint: %s\n", err->hint);
}

void output_error_json(const struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(64 * 1024);
    banyan_buf_add_text(&text, "{\"error\":");
    banyan_buf_add_json(&text, banyan_str_of(banyan_status_name(err->status)));
    banyan_buf_add_text(&text, ",\"message\":");
    banyan_buf_add_json(&text, banyan_str_of(err->message));
    banyan_buf_add_text(&text, ",\"detail\":");
    banyan_buf_add_json(&text, banyan_str_of(err->detail));
    banyan_buf_add_text(&text, ",\"hint\":");
    banyan_buf_add_json(&text, banyan_str_of(err->hint));
    banyan_buf_printf(&text, ",\"sqlstate\":\"%s\",\"exit_code\":%d}", err->sqlstate,
                      banyan_status_exit_code(err->status));
    fprintf(stderr, "%s\n", text.data);
    banyan_buf_release(&text);
}

const char *output_count(uint64_t value, char text[OUTPUT_TEXT_SIZE])
{
    char digits[24];
    int size = snprintf(digits, sizeof(digits), "%" PRIu64, value);
    size_t used = 0;
    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
    return text;
}

const char *output_bytes(int64_t bytes, char text[OUTPUT_TEXT_SIZE])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t unit = 0;
    while ((value >= 1000 || value <= -1000) && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1000;
        unit++;
    }
    (void)snprintf(text, OUTPUT_TEXT_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

const char *output_duration(int64_t us, char text[OUTPUT_TEXT_SIZE])
{
    int64_t s = us / 1000000;
    if (us == INT64_MAX)
        (void)snprintf(text, OUTPUT_TEXT_SIZE, "unknown");
    else if (us < 1000)
        (void)snprintf(text, OUTPUT_TEXT_SIZE, "%" PRId64 " us", us);
    else if (us < 1000000)
        (void)snprintf(text, OUTPUT_TEXT_SIZE, "%.1f ms", (double)us / 1e3);
    else if (s < 60)
        (void)snprintf(text, OUTPUT_TEXT_SIZE, "%.1f s", (double)us / 1e6);
    else if (s < 3600)
        (void)snprintf(text, OUTPUT_TEXT_SIZE, "%" PRId64 " min %02" PRId64 " s", s / 60, s % 60);
    else
        (void)snprintf(text, OUTPUT_TEXT_SIZE, "%" PRId64 " h %02" PRId64 " min", s / 3600, s / 60 % 60);
    return text;
}

void output_progress_init(struct output_progress *progress, FILE *out)
{
    *progress = (struct output_progress){.out = out, .terminal = isatty(fileno(out)) == 1};
}

void output_progress_draw(struct output_progress *progress, const char *label, uint64_t done, uint64_t total,
                          double rate, int64_t eta_us, bool finished)
{
    char count[OUTPUT_TEXT_SIZE], of[OUTPUT_TEXT_SIZE], speed[OUTPUT_TEXT_SIZE], eta[OUTPUT_TEXT_SIZE];
    int64_t now = os_clock_monotonic_us(os_clock_real());
    int64_t pause = progress->terminal ? DRAW_EVERY_US : PLAIN_LINE_EVERY_US;
    if (!finished && progress->printed_us != 0 && now - progress->printed_us < pause)
        return;
    progress->printed_us = now;
    /* The total is an estimate: what is not finished is never shown as whole. */
    if (finished || total < done)
        total = done;
    unsigned percent = total == 0 ? 0 : (unsigned)(done * 100 / total);
    if (!finished && percent > 99)
        percent = 99;
    if (finished)
        percent = 100;
    if (progress->terminal) {
        bool color = output_colored(progress->out);
        fprintf(progress->out, "\r\033[K%s %s", label, color ? "\033[32m" : "");
        for (unsigned i = 0; i < BAR_CELLS; i++)
            fputs(i < percent * BAR_CELLS / 100 ? "\u2501" : "\u2500", progress->out);
        fprintf(progress->out, "%s", color ? "\033[0m" : "");
        progress->drawn = true;
    } else {
        fputs(label, progress->out);
    }
    fprintf(progress->out, " %3u %%  %s of %s  %s/s", percent, output_count(done, count), output_count(total, of),
            output_count((uint64_t)rate, speed));
    if (!finished)
        fprintf(progress->out, "  ETA %s", output_duration(eta_us, eta));
    if (!progress->terminal)
        fputc('\n', progress->out);
    fflush(progress->out);
}

void output_progress_end(struct output_progress *progress)
{
    if (progress->drawn)
        fputc('\n', progress->out);
    progress->drawn = false;
    fflush(progress->out);
}
