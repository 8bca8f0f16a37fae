/* SPDX-License-Identifier: Apache-2.0 */
/* An item: a fixed front, then stream, type, payload and meta, one behind the other. */
#include "legacy/event_spool.h"

#include <string.h>

struct front {
    struct banyan_uuid id;
    int64_t at_us;
    int64_t decided_on;
    uint32_t stream_size, type_size, payload_size, meta_size;
    uint16_t schema;
    uint8_t provenance;
};

enum banyan_status event_spool_add(struct spool *spool, const struct store_event *event, int64_t decided_on,
                                   struct banyan_error *err)
{
    struct front front = {
        .id = event->id,
        .at_us = event->at.us,
        .decided_on = decided_on,
        .stream_size = (uint32_t)event->stream.size,
        .type_size = (uint32_t)event->type.size,
        .payload_size = (uint32_t)event->payload.size,
        .meta_size = (uint32_t)event->meta.size,
        .schema = event->schema,
        .provenance = (uint8_t)event->provenance,
    };
    struct banyan_buf item = BANYAN_BUF_INIT(SIZE_MAX / 2);
    banyan_buf_add(&item, &front, sizeof(front));
    banyan_buf_add_str(&item, event->stream);
    banyan_buf_add_str(&item, event->type);
    banyan_buf_add_str(&item, event->payload);
    banyan_buf_add_str(&item, event->meta);
    enum banyan_status status = spool_add(spool, banyan_buf_str(&item), err);
    banyan_buf_release(&item);
    return status;
}

static struct banyan_str take(const char **next, uint32_t size)
{
    struct banyan_str text = {*next, size};
    *next += size;
    return text;
}

enum banyan_status event_spool_next(struct spool *spool, struct store_event *ret, int64_t *ret_decided_on,
                                    struct banyan_error *err)
{
    struct banyan_str item;
    struct front front;
    enum banyan_status status = spool_next(spool, &item, err);
    if (status != BANYAN_OK)
        return status;
    if (item.size >= sizeof(front))
        memcpy(&front, item.data, sizeof(front));
    if (item.size < sizeof(front) ||
        item.size - sizeof(front) != (size_t)front.stream_size + front.type_size + front.payload_size + front.meta_size)
        return banyan_error_set(err, BANYAN_IO, "spool of a large transaction is damaged");
    const char *next = item.data + sizeof(front);
    *ret = (struct store_event){
        .id = front.id,
        .schema = front.schema,
        .provenance = (enum banyan_provenance)front.provenance,
        .at = {front.at_us},
    };
    *ret_decided_on = front.decided_on;
    ret->stream = take(&next, front.stream_size);
    ret->type = take(&next, front.type_size);
    ret->payload = take(&next, front.payload_size);
    ret->meta = take(&next, front.meta_size);
    return BANYAN_OK;
}
