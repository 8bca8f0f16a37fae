/* SPDX-License-Identifier: Apache-2.0 */
/* See store_content.h. */
#include "support/store_content.h"

#include <openssl/evp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/log/folder.h"
#include "base/crc32c.h"
#include "log/frame.h"
#include "os/random.h"
#include "store/store.h"

static void must(enum banyan_status status, const struct banyan_error *err)
{
    if (status == BANYAN_OK)
        return;
    (void)fprintf(stderr, "store_content: %s\n", err->message);
    abort();
}

static struct banyan_uuid random_id(struct os_random *random)
{
    struct banyan_uuid id;
    uint64_t words[2] = {os_random_next(random), os_random_next(random)};

    memcpy(id.bytes, words, sizeof(id.bytes));
    return id;
}

static struct store_event make_event(struct os_random *random, char stream[64], char *payload, size_t payload_size)
{
    bool meta = os_random_below(random, 3) == 0;

    (void)snprintf(stream, 64, "thing-%llu",
                   (unsigned long long)os_random_below(random, 5) * os_random_below(random, 12));
    for (size_t i = 0; i < payload_size; i++)
        payload[i] = (char)os_random_below(random, 256);
    return (struct store_event){
        .id = random_id(random),
        .stream = banyan_str_of(stream),
        .type = BANYAN_STR("Changed"),
        .schema = (uint16_t)os_random_below(random, 300),
        .provenance = (enum banyan_provenance)os_random_below(random, 4),
        .at = {os_random_below(random, 5) == 0 ? BANYAN_TIME_NULL : (int64_t)os_random_below(random, 1000000000)},
        .payload = {payload, payload_size},
        .meta = meta ? BANYAN_STR("{\"who\":\"test\"}") : BANYAN_STR(""),
    };
}

static void append_small(struct store *store, struct os_random *random)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_append append = {.event_count = 1 + os_random_below(random, 6)};
    struct store_event events[6];
    struct store_appended appended;
    char streams[6][64], payloads[6][300], value[32];

    for (size_t i = 0; i < append.event_count; i++)
        events[i] = make_event(random, streams[i], payloads[i], os_random_below(random, sizeof(payloads[i])));
    append.events = events;
    if (os_random_below(random, 2) == 0) {
        (void)snprintf(value, sizeof(value), "%llu", (unsigned long long)os_random_next(random));
        append.cursor = (struct store_cursor){BANYAN_STR("source"), banyan_str_of(value)};
    }
    must(store_append(store, &append, &appended, &err), &err);
}

static void append_large(struct store *store, struct os_random *random, const struct store_content *content)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    char stream[64], *payload = malloc(content->large_record + 200);
    struct store_event event;

    if (content->large_record > 0) {
        event = make_event(random, stream, payload, content->large_record);
        must(store_append(store, &(struct store_append){.events = &event, .event_count = 1}, &appended, &err), &err);
    }
    if (content->large_batch > 0) {
        must(store_batch_begin(store, &err), &err);
        for (unsigned i = 0; i < content->large_batch; i++) {
            event = make_event(random, stream, payload, os_random_below(random, 200));
            must(store_batch_add(store, &event, &err), &err);
        }
        must(store_batch_commit(store, (struct store_cursor){BANYAN_STR("bulk"), BANYAN_STR("all")}, &appended, &err),
             &err);
        must(store_wait(store, appended.last, INT64_MAX, &err), &err);
    }
    free(payload);
}

void store_content_build(const char *folder, const struct store_content *content, uint64_t seed)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct os_random random;
    struct store *store;

    os_random_seed(&random, seed);
    for (unsigned round = 0; round < content->rounds; round++) {
        struct store_options options = {
            .folder = folder, .segment_bytes = content->segment_bytes, .index_events_max = content->index_events};

        must(store_open(&options, &store, &err), &err);
        for (unsigned i = 0; i < content->batches; i++)
            append_small(store, &random);
        if (round == content->rounds / 2)
            append_large(store, &random, content);
        store_close(store);
    }
}

static void rehash(char *data, uint64_t size, uint8_t chain[LOG_CHAIN_BYTES])
{
    struct segment_header *segment = (struct segment_header *)(void *)data;

    memcpy(segment->chain, chain, LOG_CHAIN_BYTES);
    segment->crc = crc32c(0, &segment->format, sizeof(*segment) - offsetof(struct segment_header, format));
    for (uint64_t at = sizeof(*segment); at + sizeof(struct frame_header) <= size;) {
        struct frame_header *frame = (struct frame_header *)(void *)(data + at);
        EVP_MD_CTX *hash;

        if (frame->magic != FRAME_MAGIC)
            break;
        hash = EVP_MD_CTX_new();
        (void)EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
        (void)EVP_DigestUpdate(hash, chain, LOG_CHAIN_BYTES);
        (void)EVP_DigestUpdate(hash, &frame->size, offsetof(struct frame_header, chain) - 8);
        (void)EVP_DigestUpdate(hash, frame + 1, frame->size);
        (void)EVP_DigestFinal_ex(hash, chain, NULL);
        EVP_MD_CTX_free(hash);
        memcpy(frame->chain, chain, LOG_CHAIN_BYTES);
        frame->crc = crc32c(0, &frame->size, sizeof(*frame) - 8 + frame->size);
        at += sizeof(*frame) + frame->size;
    }
}

void store_content_rewrite(const char *log_folder, store_content_change_fn change, void *context)
{
    struct os_files *files = os_files_real();
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint8_t chain[LOG_CHAIN_BYTES] = {0};
    uint64_t number = 0;
    char **names;

    must(files->list(files, log_folder, &names, &err), &err);
    for (size_t i = 0; names[i] != NULL; i++) {
        char path[FOLDER_PATH_MAX + 300];
        size_t length = strlen(names[i]), size;
        char *data;

        (void)snprintf(path, sizeof(path), "%s/%s", log_folder, names[i]);
        if (length > 4 && strcmp(names[i] + length - 4, ".idx") == 0)
            must(files->remove(files, path, &err), &err); /* derived */
        if (length > 4 && strcmp(names[i] + length - 4, ".seg") == 0) {
            data = file_load(path, &size);
            if (change != NULL)
                change(context, data, size, number);
            rehash(data, size, chain);
            file_save(path, data, size);
            free(data);
            number++;
        }
        free(names[i]);
    }
    free(names);
}
