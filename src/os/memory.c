/* SPDX-License-Identifier: Apache-2.0 */
/* Memory in large pages: see memory.h. */
#include "os/memory.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/alloc.h"

static const size_t large_page = (size_t)2 << 20;

void *os_memory_scattered(size_t *bytes)
{
    if (*bytes < large_page)
        return alloc_resized(NULL, 1, *bytes);
    *bytes = (*bytes + large_page - 1) / large_page * large_page;
    void *memory = aligned_alloc(large_page, *bytes);
    if (memory == NULL)
        abort();                                  /* as alloc_resized() does */
    (void)madvise(memory, *bytes, MADV_HUGEPAGE); /* without it, it is only slower */
    return memory;
}
