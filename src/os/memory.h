/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is read all over: in pages of 2 MiB where the system has them to give, so that finding a page costs
 * nothing beside reading from it.
 */
#ifndef OS_MEMORY_H
#define OS_MEMORY_H

#include <stddef.h>

/* *bytes or more, and *bytes says how many; not zeroed; for free().  Ends the process when there is none. */
void *os_memory_scattered(size_t *bytes) __attribute__((malloc));

#endif
