/* SPDX-License-Identifier: Apache-2.0 */
/* One frame without its log: what a proof shows.  See verify.h. */
#include <string.h>

#include "base/crc32c.h"
#include "log/log_int.h"
#include "log/varint.h"
#include "log/verify.h"

bool log_frame_follows(const char *frame, size_t size, const uint8_t chain_before[LOG_CHAIN_BYTES])
{
    size_t from = offsetof(struct frame_header, size);
    struct frame_header header;
    uint8_t chain[LOG_CHAIN_BYTES];
    EVP_MD_CTX *hash;
    EVP_MD *digest;

    if (size < sizeof(header))
        return false;
    memcpy(&header, frame, sizeof(header));
    if (header.magic != FRAME_MAGIC || header.size != size - sizeof(header) ||
        crc32c(0, frame + from, size - from) != header.crc)
        return false;
    digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    hash = EVP_MD_CTX_new();
    log_chain(hash, digest, chain_before, frame, chain);
    EVP_MD_CTX_free(hash);
    EVP_MD_free(digest);
    return memcmp(chain, header.chain, LOG_CHAIN_BYTES) == 0;
}

bool log_frame_record(const char *frame, uint64_t position, struct log_record *ret)
{
    const char *data = frame + sizeof(struct frame_header), *end;
    struct frame_header header;

    memcpy(&header, frame, sizeof(header));
    end = data + header.size;
    if (position < header.first_position || position - header.first_position >= header.record_count)
        return false;
    for (uint64_t at = header.first_position;; at++) {
        uint64_t length = 0;
        size_t used = varint_get(data, end, &length);

        if (used == 0 || length >> 1 > (uint64_t)(end - data) - used)
            return false;
        if (at == position) {
            *ret = (struct log_record){.position = {position},
                                       .recorded_at = {header.recorded_at},
                                       .data = {data + used, (size_t)(length >> 1)},
                                       .ends_batch = (length & 1) != 0};
            return true;
        }
        data += used + (length >> 1);
    }
}
