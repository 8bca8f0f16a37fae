/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump_log FOLDER [DOMAIN]   every event of the domain's streams (trading unless told) as one line, for comparing
 * histories:
 *
 *     stream  version  type  at  provenance  payload as JSON  meta  batch
 *
 * separated by tabs, in the order of the log; batch counts what was appended atomically.  `sort -t TAB -k1,1 -k2,2n`
 * gives it by stream.  Fails where positions have a gap.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "commerce/commerce.h"
#include "store/store.h"
#include "trading/trading.h"

static const char *const provenances[] = {"none", "exact", "inferred", "reconciled"};

static const struct banyan_domain *domain = &banyan_domain_trading;

static const struct banyan_event_type *type_of(struct banyan_str name)
{
    for (size_t i = 0; i < domain->event_count; i++)
        if (banyan_str_equal(name, banyan_str_of(domain->events[i].name)))
            return &domain->events[i];
    return NULL;
}

static enum banyan_status print_event(const struct store_read_event *event, uint64_t batch, struct banyan_arena *arena,
                                      struct banyan_buf *line, struct banyan_error *err)
{
    _Alignas(16) char payload[4096];
    const struct banyan_event_type *type = type_of(event->event.type);
    if (type == NULL || type->record->size > sizeof(payload))
        return banyan_error_set(err, BANYAN_INVALID, "unknown type %.*s", (int)event->event.type.size,
                                event->event.type.data);
    enum banyan_status st = banyan_record_decode_in(type->record, event->event.payload, arena, payload, err);
    if (st != BANYAN_OK)
        return st;
    banyan_buf_reset(line);
    banyan_record_json(type->record, payload, line);
    printf("%.*s\t%" PRIu64 "\t%s\t%" PRId64 "\t%s\t%s\t%.*s\t%" PRIu64 "\n", (int)event->event.stream.size,
           event->event.stream.data, event->version.value, type->name, event->event.at.us,
           provenances[event->event.provenance], line->data, (int)event->event.meta.size, event->event.meta.data,
           batch);
    return BANYAN_OK;
}

int main(int argc, char **argv)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = {0};
    struct banyan_buf line = BANYAN_BUF_INIT((size_t)1 << 28);
    struct store_reader *reader = NULL;
    struct store_read_event event;
    struct store *store = NULL;
    uint64_t position = 0, batch = 1;
    if (argc != 2 && argc != 3) {
        fputs("usage: dump_log FOLDER [DOMAIN]\n", stderr);
        return 2;
    }
    if (argc == 3 && strcmp(argv[2], banyan_domain_commerce.name) == 0)
        domain = &banyan_domain_commerce;
    enum banyan_status st = store_open(&(struct store_options){.folder = argv[1], .read_only = true}, &store, &err);
    if (st != BANYAN_OK)
        goto out;
    reader = store_reader_open(store);
    st = store_reader_seek(reader, (struct banyan_position){1}, &err);
    while (st == BANYAN_OK && (st = store_reader_next(reader, &event, &err)) == BANYAN_OK) {
        if (event.position.value != ++position)
            st = banyan_error_set(&err, BANYAN_CORRUPT, "position %" PRIu64 " follows %" PRIu64, event.position.value,
                                  position - 1);
        else if (event.event.stream.data[0] != '$')
            st = print_event(&event, batch, &arena, &line, &err);
        banyan_arena_reset(&arena);
        batch += event.ends_batch;
    }
    if (st == BANYAN_NOT_FOUND)
        st = BANYAN_OK;
out:
    if (st != BANYAN_OK)
        fprintf(stderr, "dump_log: %s\n", err.message);
    store_reader_close(reader);
    store_close(store);
    banyan_arena_release(&arena);
    banyan_buf_release(&line);
    return banyan_status_exit_code(st);
}
