/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast a projection is and how late: a rate over the last seconds and the lag of the last events.  Pure: times are
 * given by the caller.  Threads: the caller's lock.
 */
#ifndef PROJECTION_PROGRESS_H
#define PROJECTION_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

enum {
    PROGRESS_LAGS_MAX = 10000,       /* newest that are kept */
    PROGRESS_SAMPLES_MAX = 16,       /* of the rate */
    PROGRESS_SAMPLE_US = 250 * 1000, /* at least this far apart */
};

struct progress {
    int64_t lags[PROGRESS_LAGS_MAX]; /* µs, a ring */
    size_t lag_count, lag_next;
    struct {
        int64_t at_us; /* monotone */
        uint64_t count;
    } samples[PROGRESS_SAMPLES_MAX]; /* a ring */
    size_t sample_count, sample_next;
};

/* *count* events are done at *now_us*; it never goes down. */
void progress_sample(struct progress *progress, int64_t now_us, uint64_t count);
/* Events a second since the oldest kept sample; 0: not known. */
double progress_rate(const struct progress *progress, int64_t now_us, uint64_t count);
/* µs for *remaining* events; 0 when there are none, INT64_MAX when the rate is not known. */
int64_t progress_eta_us(double rate, uint64_t remaining);
void progress_lag(struct progress *progress, int64_t lag_us);
/* Percentiles of the kept lags; zeros without any. */
void progress_lags(const struct progress *progress, int64_t *ret_p50, int64_t *ret_p99, int64_t *ret_max);

#endif
