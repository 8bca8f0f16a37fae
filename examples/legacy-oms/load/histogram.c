// SPDX-License-Identifier: Apache-2.0
/* Bucket of v: v itself below 64; else the leading bit chooses the power and the next six bits the part. */
#include "histogram.h"

static int bucket_of(int64_t us)
{
    int shift, bucket;

    if (us < HISTOGRAM_PARTS)
        return us < 0 ? 0 : (int)us;
    shift = 63 - __builtin_clzll((unsigned long long)us) - 6;
    bucket = (shift + 1) * HISTOGRAM_PARTS + (int)((us >> shift) - HISTOGRAM_PARTS);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static int64_t bucket_end(int bucket)
{
    int shift = bucket / HISTOGRAM_PARTS - 1;

    if (shift < 0)
        return bucket;
    return ((int64_t)(bucket % HISTOGRAM_PARTS + HISTOGRAM_PARTS + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, int64_t us)
{
    histogram->counts[bucket_of(us)]++;
    histogram->count++;
    if (us > histogram->max_us)
        histogram->max_us = us;
}

int64_t histogram_at(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count + 0.5), seen = 0;

    if (wanted == 0)
        wanted = 1;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= wanted)
            return bucket_end(i) < histogram->max_us ? bucket_end(i) : histogram->max_us;
    }
    return histogram->max_us;
}

void histogram_merge(struct histogram *histogram, const struct histogram *from)
{
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram->counts[i] += from->counts[i];
    histogram->count += from->count;
    if (from->max_us > histogram->max_us)
        histogram->max_us = from->max_us;
}
