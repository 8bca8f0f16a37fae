/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is shown while a migration works, on standard error: on a terminal one line that is redrawn, elsewhere a line
 * for each step, for each reason to wait, and for a long step every few seconds.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/cmd_migrate.h"
#include "os/clock.h"

enum {
    WAITED_BYTES_MAX = 4096,
    BAR_CELLS = 20,
    DRAW_EVERY_US = 100 * 1000,
    LINE_EVERY_US = 5 * 1000 * 1000,
    TITLE_CELLS_MAX = 48, /* so that the line has one row on a terminal of 120 columns */
};

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

void migrate_progress_init(struct migrate_progress *progress, bool silent)
{
    *progress =
        (struct migrate_progress){.silent = silent, .step = SIZE_MAX, .waited = BANYAN_BUF_INIT(WAITED_BYTES_MAX)};
    output_progress_init(&progress->line, stderr);
}

static void leave_line(struct migrate_progress *progress)
{
    if (progress->line.drawn)
        fputs("\r\033[K", stderr);
    progress->line.drawn = false;
}

void migrate_progress_end(struct migrate_progress *progress)
{
    leave_line(progress);
    banyan_buf_release(&progress->waited);
}

/* A line that stays: which step begins. */
static void begin_step(struct migrate_progress *progress, const struct run_progress *now)
{
    const struct plan_step *step = &now->plan->steps[now->step];

    leave_line(progress);
    fprintf(stderr, "%s %zu/%zu  %s%s: %.*s\n", now->undoing ? "undo" : plan_phase_name(step->phase), now->step + 1,
            now->plan->step_count, now->undoing ? "of " : "", step->name, (int)step->title.size, step->title.data);
    progress->step = now->step;
    progress->undoing = now->undoing;
    progress->step_us = now_us();
    progress->line.printed_us = progress->step_us;
    banyan_buf_reset(&progress->waited);
}

static void draw_bar(double fraction)
{
    int cells = (int)(fraction * BAR_CELLS);
    bool color = output_colored(stderr);

    fputs(color ? " \033[32m" : " ", stderr);
    for (int i = 0; i < BAR_CELLS; i++)
        fputs(i < cells ? "\u2501" : "\u2500", stderr);
    fputs(color ? "\033[0m" : "", stderr);
}

/* What is never finished before the step is: 99 % at most. */
static unsigned percent_of(double fraction)
{
    return fraction >= 0.99 ? 99 : fraction <= 0 ? 0 : (unsigned)(fraction * 100);
}

static void draw_figures(const struct run_progress *now)
{
    char text[OUTPUT_TEXT_SIZE];

    if (now->fraction >= 0)
        fprintf(stderr, " %2u %%", percent_of(now->fraction));
    if (now->batches != NULL) {
        fprintf(stderr, "  %s rows", output_count((uint64_t)now->batches->step->rows, text));
        fprintf(stderr, "  %s/s", output_count((uint64_t)now->batches->rows_a_second, text));
        if (now->batches->eta_us >= 0)
            fprintf(stderr, "  ETA %s", output_duration(now->batches->eta_us, text));
        fprintf(stderr, "  batch %" PRIu32 " pages", now->batches->pages_a_batch);
        if (now->batches->step->pass > 1)
            fprintf(stderr, "  pass %" PRIu32, now->batches->step->pass);
    }
    if (now->tries > 1)
        fprintf(stderr, "  try %" PRIu32, now->tries);
}

/* Why it waits: said once where it stays (not on a terminal), else part of the line. */
static struct banyan_str reason_of(const struct run_progress *now)
{
    if (now->batches != NULL && now->batches->reason != NULL)
        return banyan_str_of(now->batches->reason);
    return now->waiting;
}

static void show_terminal(struct migrate_progress *progress, const struct run_progress *now)
{
    const struct plan_step *step = &now->plan->steps[now->step];
    struct banyan_str reason = reason_of(now);

    fprintf(stderr, "\r\033[K  %.*s", (int)(step->title.size > TITLE_CELLS_MAX ? TITLE_CELLS_MAX : step->title.size),
            step->title.data);
    if (now->fraction >= 0)
        draw_bar(now->fraction);
    draw_figures(now);
    if (reason.size > 0)
        fprintf(stderr, "  waits: %.*s", (int)reason.size, reason.data);
    progress->line.drawn = true;
}

static void show_plain(const struct run_progress *now, bool new_reason)
{
    struct banyan_str reason = reason_of(now);

    if (new_reason && reason.size > 0) {
        fprintf(stderr, "  waits: %.*s\n", (int)reason.size, reason.data);
        return;
    }
    fputs(" ", stderr);
    draw_figures(now);
    fputs("\n", stderr);
}

/* Digits are left out: "1.4 s behind" and "1.5 s behind" are one reason. */
static bool same_reason(struct banyan_str a, struct banyan_str b)
{
    size_t i = 0, j = 0;

    for (;;) {
        while (i < a.size && ((a.data[i] >= '0' && a.data[i] <= '9') || a.data[i] == '.'))
            i++;
        while (j < b.size && ((b.data[j] >= '0' && b.data[j] <= '9') || b.data[j] == '.'))
            j++;
        if (i == a.size || j == b.size)
            return i == a.size && j == b.size;
        if (a.data[i++] != b.data[j++])
            return false;
    }
}

/* The state of the migration changed: no step is at work. */
static bool is_over(const struct run_progress *now)
{
    return !now->undoing && now->step < now->migration->step_count &&
           now->migration->steps[now->step].state == BOOKS_STEP_DONE;
}

void migrate_progress_show(void *context, const struct run_progress *now)
{
    struct migrate_progress *progress = context;
    struct banyan_str reason = reason_of(now);
    int64_t at = now_us();
    bool new_reason = !same_reason(reason, banyan_buf_str(&progress->waited));

    if (progress->silent || now->step >= now->plan->step_count || is_over(now))
        return;
    if (progress->step != now->step || progress->undoing != now->undoing)
        begin_step(progress, now);
    if (at - progress->line.printed_us < (progress->line.terminal ? DRAW_EVERY_US : LINE_EVERY_US) && !new_reason)
        return;
    progress->line.printed_us = at;
    banyan_buf_reset(&progress->waited);
    banyan_buf_add_str(&progress->waited, reason);
    if (progress->line.terminal)
        show_terminal(progress, now);
    else
        show_plain(now, new_reason);
    (void)fflush(stderr);
}
