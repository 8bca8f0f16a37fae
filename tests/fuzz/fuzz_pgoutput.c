/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz entry of the pgoutput decoder.  The input is a protocol (first byte), then messages, each with a length of two
 * bytes in front, to one decoder; every byte of what comes out is read, and tuples must keep to their relation.
 */
#include <stdlib.h>
#include <string.h>

#include "pg/pgoutput.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that the reads are not optimised away */

static void look_at(struct banyan_str text)
{
    for (size_t i = 0; i < text.size; i++)
        sink += (uint8_t)text.data[i];
}

static void look_at_tuple(const struct pgoutput_message *message, const struct pgoutput_tuple *tuple)
{
    if (tuple->cell_count != 0 && tuple->cell_count != message->relation->column_count)
        abort();
    for (size_t i = 0; i < tuple->cell_count; i++)
        look_at(tuple->cells[i].data);
}

static void decode_one(struct pgoutput *decoder, const uint8_t *data, size_t size)
{
    char *exact = malloc(size > 0 ? size : 1); /* of exact size, so that a read behind it is seen */
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pgoutput_message message;

    if (exact == NULL)
        abort();
    memcpy(exact, data, size);
    if (pgoutput_decode(decoder, (struct banyan_str){exact, size}, &message, &err) == BANYAN_OK) {
        look_at(message.prefix);
        look_at(message.content);
        look_at_tuple(&message, &message.old);
        look_at_tuple(&message, &message.new);
        for (uint32_t i = 0; i < message.truncated_count; i++)
            look_at(message.truncated[i]->name);
    } else if (err.status != BANYAN_PROTOCOL || err.message[0] == '\0') {
        abort();
    }
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pgoutput *decoder;

    if (size == 0)
        return 0;
    decoder = pgoutput_new(1 + data[0] % 2);
    for (size_t at = 1; at + 2 <= size;) {
        size_t length = (size_t)data[at] << 8 | data[at + 1];

        at += 2;
        if (length > size - at)
            length = size - at;
        decode_one(decoder, data + at, length);
        at += length;
    }
    pgoutput_free(decoder);
    return 0;
}
