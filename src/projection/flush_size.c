/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many rows a flush should have.  A larger flush writes a row once that changed often, and a smaller one lets
 * others (readers behind a lock, a switch, a stop) wait less.  So the size follows the time that flushes take: it goes
 * towards what would have taken the wanted time, at most half or double at once, and not for flushes too small to tell.
 */
#include "projection/runner_int.h"

size_t flush_size_next(size_t rows_soft, size_t rows, int64_t took_us, int64_t wanted_us)
{
    if (took_us <= 0 || (rows < rows_soft / 2 && took_us <= wanted_us))
        return rows_soft; /* it ended for another reason: nothing is learnt about the limit */
    double fits = (double)rows * (double)wanted_us / (double)took_us;
    double least = (double)rows_soft / 2, most = (double)rows_soft * 2;
    double next = fits < least ? least : fits > most ? most : fits;
    if (next < FLUSH_ROWS_MIN)
        return FLUSH_ROWS_MIN;
    return next > FLUSH_ROWS_MAX ? FLUSH_ROWS_MAX : (size_t)next;
}
