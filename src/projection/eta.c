/* SPDX-License-Identifier: Apache-2.0 */
/* Estimates of a rebuild: see eta.h. */
#include "projection/eta.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is assumed of a store and a machine that nothing is known of: on the slow side. */
static const struct eta_learned assumed = {
    .fold_event_s = 1.0e-6,
    .order_row_s = 0.2e-6,
    .load_row_s = 2.0e-6,
    .index_row_s = 0.08e-6,
    .verify_row_s = 0.2e-6,
    .apply_event_s = 20e-6,
    .switch_s = 0.05,
    .rows_per_event = 0.2,
};

enum {
    BLEND_PERCENT = 5, /* of a phase, after which what is measured weighs as much as what was learned */
};

static const double spread_measured = 0.15, spread_learned = 0.3, spread_assumed = 0.7;
static const double overdue = 0.1; /* of the time that a phase has taken is left, where it takes longer than thought */
static const double folding_says = 0.5; /* of the slowness of what the store does, as a power */
static const double ending = 0.02;      /* of loading is left when all rows are given: the stores end it */

/* Seconds, and how sure they are. */
struct part {
    double s, spread;
};

struct sum {
    double s, variance;
};

static void add(struct sum *sum, struct part part)
{
    sum->s += part.s;
    sum->variance += part.s * part.spread * part.s * part.spread;
}

static struct part known(double learned, double fallback)
{
    return learned > 0 ? (struct part){learned, spread_learned} : (struct part){fallback, spread_assumed};
}

/* Seconds for each of *done* that took *us*, blended with what was known before. */
static struct part rate_of(struct part before, uint64_t done, uint64_t expected, int64_t us)
{
    if (done == 0 || us <= 0)
        return before;
    double measured = (double)us / 1e6 / (double)done;
    double part = expected == 0 ? 1 : (double)done / (double)expected;
    double weight = part / (part + BLEND_PERCENT / 100.0);
    /* Of seconds, not of speeds: a rate that was far off would else stay far off. */
    return (struct part){before.s * (1 - weight) + measured * weight,
                         before.spread * (1 - weight) + spread_measured * weight};
}

/* What is left of a phase of which nothing can be seen but the time. */
static struct part unseen(struct part whole, bool runs, int64_t phase_us)
{
    if (!runs)
        return whole;
    double elapsed = (double)phase_us / 1e6;
    double left = whole.s - elapsed, least = elapsed * overdue;
    return (struct part){left > least ? left : least, whole.spread};
}

static double rows_expected(const struct eta_learned *learned, const struct eta_now *now)
{
    if (now->rows_expected > 0)
        return (double)now->rows_expected;
    /* The truth is between all rows having been seen and their number growing on as it did. */
    if (learned->rows_per_event <= 0 && now->rows_seen > 0 && now->events_done > 0 &&
        now->events_done <= now->events_expected)
        return (double)now->rows_seen * sqrt((double)now->events_expected / (double)now->events_done);
    return (double)now->events_expected * known(learned->rows_per_event, assumed.rows_per_event).s;
}

static struct part fold_part(const struct eta_learned *learned, const struct eta_now *now)
{
    struct part rate = rate_of(known(learned->fold_event_s, assumed.fold_event_s), now->events_done,
                               now->events_expected, now->fold_us);
    double left = now->events_expected > now->events_done ? (double)(now->events_expected - now->events_done) : 0;
    if (now->events_per_second_max > 0 && rate.s < 1.0 / (double)now->events_per_second_max)
        rate.s = 1.0 / (double)now->events_per_second_max;
    return (struct part){rate.s * left, rate.spread};
}

/* How much slower this run is than those that taught: a machine that is busy loads and indexes slowly alike.  Folding
 * is our own work and loading the store's, so that the one says only half of the other; and the first rows are slow, as
 * connections are made for them. */
static double slowness(const struct eta_learned *learned, const struct eta_now *now, bool by_load)
{
    double slower = 1, weight = folding_says, rows = rows_expected(learned, now);
    if (by_load && learned->load_row_s > 0 && now->load_us > 0 && (double)now->rows_done > rows / 5) {
        slower = (double)(now->load_us - now->order_us) / 1e6 / (double)now->rows_done / learned->load_row_s;
        weight = (double)now->rows_done < rows ? (double)now->rows_done / rows : 1;
    } else if (learned->fold_event_s > 0 && now->events_done > now->events_expected / 20 && now->fold_us > 0 &&
               now->events_per_second_max == 0) {
        slower = (double)now->fold_us / 1e6 / (double)now->events_done / learned->fold_event_s;
    }
    slower = slower < 0.25 ? 0.25 : slower > 4 ? 4 : slower;
    return pow(slower, weight);
}

/* Nothing is loaded while rows are put in order, once for each slice. */
static struct part order_part(const struct eta_learned *learned, const struct eta_now *now)
{
    struct part whole = known(learned->order_row_s, assumed.order_row_s);
    whole.s *= rows_expected(learned, now) * slowness(learned, now, false);
    if (now->rows_done == 0)
        return unseen(whole, now->phase == REBUILD_LOAD, now->order_us);
    bool folded = now->events_done >= now->events_expected;
    whole.s *= folded ? 0 : 1 - (double)now->events_done / (double)now->events_expected;
    return whole;
}

static struct part load_part(const struct eta_learned *learned, const struct eta_now *now)
{
    double rows = rows_expected(learned, now);
    struct part before = known(learned->load_row_s, assumed.load_row_s);
    before.s *= slowness(learned, now, false);
    struct part rate = rate_of(before, now->rows_done, (uint64_t)rows, now->load_us - now->order_us);
    double left = rows > (double)now->rows_done ? rows - (double)now->rows_done : 0;
    double least = now->phase == REBUILD_LOAD ? (double)now->load_us / 1e6 * ending : 0;
    return (struct part){rate.s * left > least ? rate.s * left : least,
                         now->rows_expected > 0 ? rate.spread : rate.spread + 0.2};
}

static struct part index_part(const struct eta_learned *learned, const struct eta_now *now)
{
    double rows = rows_expected(learned, now);
    struct part constant = known(learned->index_row_s, assumed.index_row_s);
    return unseen((struct part){rows * log2(rows + 2) * constant.s * slowness(learned, now, true), constant.spread},
                  now->phase == REBUILD_INDEX, now->phase_us);
}

static struct part verify_part(const struct eta_learned *learned, const struct eta_now *now)
{
    struct part constant = known(learned->verify_row_s, assumed.verify_row_s);
    return unseen(
        (struct part){rows_expected(learned, now) * constant.s * slowness(learned, now, true), constant.spread},
        now->phase == REBUILD_VERIFY, now->phase_us);
}

/* *before*: seconds until it begins.  Infinite: appends outrun it. */
static struct part catch_up_part(const struct eta_learned *learned, const struct eta_now *now, double before)
{
    struct part event = known(learned->apply_event_s, assumed.apply_event_s);
    double apply = 1 / event.s;
    if (now->apply_rate > 0) {
        apply = now->apply_rate;
        event.spread = spread_measured;
    }
    if (now->events_per_second_max > 0 && apply > (double)now->events_per_second_max)
        apply = (double)now->events_per_second_max;
    double backlog = (double)now->backlog + now->append_rate * before;
    if (apply <= now->append_rate)
        return (struct part){backlog < 1 ? 0 : INFINITY, event.spread};
    return (struct part){backlog / (apply - now->append_rate), event.spread};
}

static int64_t to_us(double s)
{
    if (!(s < 9e12))
        return INT64_MAX;
    return s * 1e6 < 1 ? 1 : (int64_t)(s * 1e6);
}

void eta_estimate(const struct eta_learned *learned, const struct eta_now *now, struct eta *ret)
{
    struct sum sum = {0, 0};
    enum rebuild_phase phase = now->phase == REBUILD_WAITING ? REBUILD_FOLD : now->phase;
    if (phase <= REBUILD_LOAD) {
        add(&sum, fold_part(learned, now));
        add(&sum, order_part(learned, now));
        add(&sum, load_part(learned, now));
    }
    if (phase <= REBUILD_INDEX)
        add(&sum, index_part(learned, now));
    if (phase <= REBUILD_VERIFY)
        add(&sum, verify_part(learned, now));
    if (phase <= REBUILD_CATCH_UP)
        add(&sum, catch_up_part(learned, now, sum.s));
    struct part last = known(learned->switch_s, assumed.switch_s);
    add(&sum, unseen(last, phase == REBUILD_SWITCH, now->phase_us));

    double deviation = isfinite(sum.variance) ? 1.3 * sqrt(sum.variance) : 0;
    ret->us = to_us(sum.s);
    ret->us_low = to_us(sum.s - deviation > sum.s / 4 ? sum.s - deviation : sum.s / 4);
    ret->us_high = to_us(sum.s + deviation);
    ret->done = ret->us == INT64_MAX ? 0 : (double)now->elapsed_us / ((double)now->elapsed_us + (double)ret->us);
    if (ret->done > 0.999)
        ret->done = 0.999;
}

/* ---- what is kept ---- */

#define ETA_FIELDS(X)                                                                                                  \
    X(fold_event_s)                                                                                                    \
    X(order_row_s) X(load_row_s) X(index_row_s) X(verify_row_s) X(apply_event_s) X(switch_s) X(rows_per_event)

void eta_learn(struct eta_learned *learned, const struct eta_learned *run)
{
    /* Half of the newest: a machine changes, and one run may have been disturbed. */
#define LEARN(field)                                                                                                   \
    if (run->field > 0)                                                                                                \
        learned->field = learned->field > 0 ? (learned->field + run->field) / 2 : run->field;
    ETA_FIELDS(LEARN)
#undef LEARN
}

void eta_learned_write(const struct eta_learned *learned, struct banyan_buf *ret)
{
#define WRITE(field) banyan_buf_printf(ret, #field " %.9g\n", learned->field);
    ETA_FIELDS(WRITE)
#undef WRITE
}

static void read_line(const char *line, struct eta_learned *ret)
{
    char *end = NULL;
    const char *space = strchr(line, ' ');
    double value = space == NULL ? -1 : strtod(space + 1, &end);
    if (space == NULL || end == space + 1 || !(value >= 0 && value < 1e6))
        return;
    size_t size = (size_t)(space - line);
#define READ(field)                                                                                                    \
    if (size == strlen(#field) && memcmp(line, #field, size) == 0)                                                     \
        ret->field = value;
    ETA_FIELDS(READ)
#undef READ
}

void eta_learned_read(struct banyan_str text, struct eta_learned *ret)
{
    char line[64];
    *ret = (struct eta_learned){0};
    for (size_t at = 0, size; at < text.size; at += size + 1) {
        const char *end = memchr(text.data + at, '\n', text.size - at);
        size = end == NULL ? text.size - at : (size_t)(end - (text.data + at));
        if (size == 0 || size >= sizeof(line))
            continue;
        memcpy(line, text.data + at, size);
        line[size] = '\0';
        read_line(line, ret);
    }
}
