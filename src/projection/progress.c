/* SPDX-License-Identifier: Apache-2.0 */
/* Rate, ETA and lag percentiles: see progress.h. */
#include "projection/progress.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

void progress_sample(struct progress *progress, int64_t now_us, uint64_t count)
{
    size_t newest = (progress->sample_next + PROGRESS_SAMPLES_MAX - 1) % PROGRESS_SAMPLES_MAX;
    if (progress->sample_count > 0 && now_us - progress->samples[newest].at_us < PROGRESS_SAMPLE_US)
        return;
    progress->samples[progress->sample_next].at_us = now_us;
    progress->samples[progress->sample_next].count = count;
    progress->sample_next = (progress->sample_next + 1) % PROGRESS_SAMPLES_MAX;
    if (progress->sample_count < PROGRESS_SAMPLES_MAX)
        progress->sample_count++;
}

double progress_rate(const struct progress *progress, int64_t now_us, uint64_t count)
{
    if (progress->sample_count == 0)
        return 0;
    size_t oldest = (progress->sample_next + PROGRESS_SAMPLES_MAX - progress->sample_count) % PROGRESS_SAMPLES_MAX;
    int64_t elapsed_us = now_us - progress->samples[oldest].at_us;
    if (elapsed_us <= 0 || count <= progress->samples[oldest].count)
        return 0;
    return (double)(count - progress->samples[oldest].count) * 1e6 / (double)elapsed_us;
}

int64_t progress_eta_us(double rate, uint64_t remaining)
{
    if (remaining == 0)
        return 0;
    double us = rate > 0 ? (double)remaining / rate * 1e6 : 0;
    return us > 0 && us < 9e18 ? (int64_t)us : INT64_MAX;
}

void progress_lag(struct progress *progress, int64_t lag_us)
{
    progress->lags[progress->lag_next] = lag_us < 0 ? 0 : lag_us; /* the wall clock may have been set back */
    progress->lag_next = (progress->lag_next + 1) % PROGRESS_LAGS_MAX;
    if (progress->lag_count < PROGRESS_LAGS_MAX)
        progress->lag_count++;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void progress_lags(const struct progress *progress, int64_t *ret_p50, int64_t *ret_p99, int64_t *ret_max)
{
    *ret_p50 = *ret_p99 = *ret_max = 0;
    size_t count = progress->lag_count;
    if (count == 0)
        return;
    int64_t *sorted = alloc_zeroed(count, sizeof(*sorted));
    memcpy(sorted, progress->lags, count * sizeof(*sorted)); /* the ring is full or starts at 0 */
    qsort(sorted, count, sizeof(*sorted), compare);
    *ret_p50 = sorted[(count - 1) / 2];
    *ret_p99 = sorted[(count * 99 + 99) / 100 - 1];
    *ret_max = sorted[count - 1];
    free(sorted);
}
