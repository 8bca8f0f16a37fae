/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli): SSE4.2 where the processor has it, a table else.  Thread-safe. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue *crc* (0 at first) over *size* bytes. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);
/* The table version, for tests. */
uint32_t crc32c_table(uint32_t crc, const void *data, size_t size);

#endif
