/* SPDX-License-Identifier: Apache-2.0 */
/* The hash chain over frames: what a rewritten past is found by. */
#include "log/log_int.h"

#include <assert.h>

void log_chain(EVP_MD_CTX *hash, const EVP_MD *digest, const uint8_t before[LOG_CHAIN_BYTES], const void *frame,
               uint8_t ret[LOG_CHAIN_BYTES])
{
    const struct frame_header *header = frame;
    const char *bytes = frame;
    size_t from = offsetof(struct frame_header, size);
    int ok = EVP_DigestInit_ex2(hash, digest, NULL);

    ok &= EVP_DigestUpdate(hash, before, LOG_CHAIN_BYTES);
    ok &= EVP_DigestUpdate(hash, bytes + from, offsetof(struct frame_header, chain) - from);
    ok &= EVP_DigestUpdate(hash, bytes + sizeof(*header), header->size);
    ok &= EVP_DigestFinal_ex(hash, ret, NULL);
    assert(ok == 1); /* SHA-256 of memory cannot fail */
    (void)ok;
}
