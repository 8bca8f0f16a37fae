/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heap memory that cannot be refused: small internal allocations end the process with a message when the machine has
 * none left.  Sizes that come from outside go through alloc_try().
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stddef.h>

void *alloc_zeroed(size_t count, size_t size) __attribute__((malloc, alloc_size(1, 2)));
void *alloc_resized(void *memory, size_t count, size_t size) __attribute__((alloc_size(2, 3)));
char *alloc_text(const char *text) __attribute__((malloc));
/* "folder/name". */
char *alloc_path(const char *folder, const char *name) __attribute__((malloc));
/* NULL when there is no memory. */
void *alloc_try(size_t size) __attribute__((malloc, alloc_size(1)));

#endif
