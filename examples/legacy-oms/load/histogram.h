// SPDX-License-Identifier: Apache-2.0
/* Latencies in logarithmic buckets: each power of two of microseconds in 64 parts, so at most 1.6 % off. */
#ifndef LEGACY_OMS_HISTOGRAM_H
#define LEGACY_OMS_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_PARTS 64
#define HISTOGRAM_BUCKETS (HISTOGRAM_PARTS * 32) /* up to 2^37 µs, more than a day */

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t count;
    int64_t max_us;
};

void histogram_add(struct histogram *histogram, int64_t us);

/* The upper end of the bucket that holds this share (0 to 1) of the values, in µs; never above the maximum. */
int64_t histogram_at(const struct histogram *histogram, double share);

/* Adds the values of *from*. */
void histogram_merge(struct histogram *histogram, const struct histogram *from);

#endif
